// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// pace is how many requests a server asks for, whichever client it was that it said so to. A 429 is about all of them. A 503 is about
// requests of its kind: that a DELETE is to wait says nothing of the list that a Check asks for.
type pace struct {
	limit     pause // of 429
	checks    pause // of 503 to Checks
	others    pause // of 503 to the rest
	allowance allowance
}

// admit lets a request be sent, after which observe must be called. Otherwise it returns the reason, with how long to wait. An
// urgent request is admitted whatever the server asked for.
func (p *pace) admit(method, path string, now time.Time, urgent, check bool) *Error {
	if urgent {
		p.allowance.takeAnyway()
		return nil
	}
	if held := p.paused(method, path, now, check); held != nil {
		return held
	}
	return p.allowance.take(method, path, now)
}

// hold returns why such a request would not be admitted without urgency, nil if it would be.
func (p *pace) hold(method, path string, now time.Time, check bool) *Error {
	if held := p.paused(method, path, now, check); held != nil {
		return held
	}
	return p.allowance.hold(method, path, now)
}

// paused returns the answer by which the server asked that such a request wait, nil if there is none.
func (p *pace) paused(method, path string, now time.Time, check bool) *Error {
	if held := p.limit.hold(method, path, now); held != nil {
		return held
	}
	return p.unavailable(check).hold(method, path, now)
}

// unavailable is the pause of a kind of requests.
func (p *pace) unavailable(check bool) *pause {
	if check {
		return &p.checks
	}
	return &p.others
}

// observe takes note of an answer to a request that was sent at a time, nil where there was none. A Check that is answered early, as
// somebody asked for it, ends the pause of Checks: the next one would find the opposite of what this one has.
func (p *pace) observe(a *answer, sent, now time.Time, check bool) {
	if a == nil {
		p.allowance.giveBack(nil, now)
		return
	}
	switch {
	case a.status == http.StatusTooManyRequests:
		p.limit.begin(a.asError(), a.received)
	case a.status == http.StatusServiceUnavailable:
		p.unavailable(check).begin(a.asError(), a.received)
	case check && a.status < http.StatusInternalServerError:
		p.checks.end(sent)
	}
	p.allowance.giveBack(a.header, now)
}

// pause holds back what would be sent to a server that asked to be left alone for a while (Retry-After).
type pause struct {
	mu           sync.Mutex
	began, until time.Time
	cause        Error
}

// maxPause bounds what a server can ask for.
const maxPause = 10 * time.Minute

func (p *pause) begin(answer *Error, now time.Time) {
	if answer.retryAfter == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began, p.until, p.cause = now, now.Add(min(answer.retryAfter, maxPause)), *answer
	p.cause.failed = answer.operation()
}

// end ends the pause because of an answer to a request that was sent after it had begun.
func (p *pause) end(sent time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !sent.Before(p.began) {
		p.until = time.Time{}
	}
}

// namedWait is the shortest wait whose end messages name: each end makes another message.
const namedWait = time.Minute

// hold returns the answer that began the pause, with the rest of it to wait, or nil if there is none.
func (p *pause) hold(method, path string, now time.Time) *Error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !now.Before(p.until) {
		return nil
	}
	held := p.cause
	held.Method, held.Path, held.retryAfter, held.mayHaveActed, held.paced = method, path, p.until.Sub(now), false, true
	return &held
}

// allowance keeps the requests within what the server says that it still takes, as Reporter does where an administrator switched its
// limit on: X-RateLimit-Remaining requests until X-RateLimit-Reset.
type allowance struct {
	mu sync.Mutex
	// left is the least that an answer named for the time before renewal; while that is in the past, nothing is known.
	left     int
	renewal  time.Time
	until    time.Time // the renewal, where messages name it
	underWay int
}

// renewalMargin is by how much the times of a server, which are in whole seconds, may be off.
const renewalMargin = time.Second

var errAllowanceUsedUp = errors.New("the requests that it allows for now are used up")

// take lets one request be sent, unless it and those under way may be more than what is left.
func (l *allowance) take(method, path string, now time.Time) *Error {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.held(method, path, now)
	if held == nil {
		l.underWay++
	}
	return held
}

// hold returns why take would not admit a request, nil if it would.
func (l *allowance) hold(method, path string, now time.Time) *Error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held(method, path, now)
}

// held is hold for who has the lock.
func (l *allowance) held(method, path string, now time.Time) *Error {
	if now.Before(l.renewal) && l.left <= l.underWay {
		wait, until := l.renewal.Sub(now), l.until
		if l.left > 0 {
			wait, until = min(wait, time.Second), time.Time{} // the answers to those under way say how many are left
		}
		return &Error{Method: method, Path: path, kind: kindRateLimited, Err: errAllowanceUsedUp, retryAfter: wait, until: until, paced: true}
	}
	return nil
}

// takeAnyway counts a request that is sent whatever is left.
func (l *allowance) takeAnyway() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.underWay++
}

// giveBack takes note of what an answer says, if there was one. Answers overtake each other: of the same time, the least counts.
func (l *allowance) giveBack(header http.Header, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.underWay--
	left, renewedIn, limited := parseRateLimit(header, now)
	if !limited {
		return
	}
	renewal := now.Add(renewedIn + renewalMargin)
	if now.Before(l.renewal) && renewal.Before(l.renewal.Add(2*renewalMargin)) {
		l.left = min(l.left, left)
		return
	}
	l.left, l.renewal, l.until = left, renewal, time.Time{}
	if renewal.Sub(now) >= namedWait {
		l.until = renewal
	}
}

// parseRateLimit reads how many more requests a server takes, and in how long that is renewed. It says so in Unix seconds by its own
// clock, which the Date header shows. A time that is past, or further away than any limit's renewal, means nothing.
func parseRateLimit(header http.Header, now time.Time) (left int, renewedIn time.Duration, limited bool) {
	left, err := strconv.Atoi(header.Get("X-RateLimit-Remaining")) //nolint:canonicalheader // as Reporter's documentation writes it
	if err != nil || left < 0 {
		return 0, 0, false
	}
	reset, err := strconv.ParseInt(header.Get("X-RateLimit-Reset"), 10, 64) //nolint:canonicalheader // likewise
	if err != nil {
		return 0, 0, false
	}
	renewedIn = time.Unix(reset, 0).Sub(serverTime(header, now))
	if renewedIn <= 0 || renewedIn > longestWait {
		return 0, 0, false
	}
	return left, min(renewedIn, maxPause), true
}

// serverTime returns the time by the clock of the server, as the Date header of its answer shows it, or else ours.
func serverTime(header http.Header, now time.Time) time.Time {
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		return date
	}
	return now
}
