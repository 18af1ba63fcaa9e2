// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"net/http"
	"strconv"
	"testing"
	"time"
)

// limits are the headers of an answer at a time of the server's clock.
func limits(left string, reset, date time.Time) http.Header {
	return http.Header{"X-Ratelimit-Remaining": {left}, "X-Ratelimit-Reset": {strconv.FormatInt(reset.Unix(), 10)}, "Date": {date.UTC().Format(http.TimeFormat)}}
}

// A server that takes few requests a minute. Its clock is an hour behind.
func TestAllowance(t *testing.T) {
	var l allowance
	server := func(at time.Duration) time.Time { return noon.Add(at - time.Hour) }
	take := func(at, want time.Duration) {
		t.Helper()
		held := l.take("DELETE", "/asked", noon.Add(at))
		switch {
		case want == 0 && held != nil:
			t.Errorf("at %s it is held: %+v", at, *held)
		case want != 0 && held == nil:
			t.Errorf("at %s it is not held", at)
		case want == time.Second && !held.until.IsZero():
			t.Errorf("at %s it is held until %s, which the answers under way may change", at, held.until)
		case want > time.Second && (*held != Error{Method: "DELETE", Path: "/asked", Err: errAllowanceUsedUp, kind: kindRateLimited, retryAfter: want, until: noon.Add(at + want), paced: true}):
			t.Errorf("at %s it is held with %+v, not for %s", at, *held, want)
		}
	}
	giveBack := func(at time.Duration, left string, reset time.Duration) {
		l.giveBack(limits(left, server(reset), server(at)), noon.Add(at))
	}

	for range 3 {
		take(0, 0) // nothing is known
	}
	giveBack(0, "2", time.Minute)
	take(0, time.Second) // the two that are under way may be all
	giveBack(0, "3", time.Minute)
	take(0, 0) // an older answer, and one under way: there is one more
	take(0, time.Second)
	l.giveBack(nil, noon) // no answer: it may have counted
	take(0, 0)
	giveBack(10*time.Second, "1", time.Minute)
	take(10*time.Second, time.Second)
	giveBack(10*time.Second, "0", time.Minute)
	take(10*time.Second, 51*time.Second)
	take(59*time.Second, 2*time.Second)
	take(61*time.Second, 0)
	giveBack(61*time.Second, "1", 121*time.Second) // a new minute
	take(62*time.Second, 0)
	take(62*time.Second, time.Second)
	giveBack(62*time.Second, "7", 181*time.Second) // the next one began early
	take(62*time.Second, 0)
	if l.underWay != 1 {
		t.Errorf("%d requests are under way, not 1", l.underWay)
	}
}

// What is no limit of Reporter's is none.
func TestNoAllowance(t *testing.T) {
	reset := noon.Add(time.Minute)
	for name, header := range map[string]http.Header{
		"none":              nil,
		"a negative rest":   limits("-1", reset, noon),
		"a rest in words":   limits("none", reset, noon),
		"no end":            {"X-Ratelimit-Remaining": {"0"}},
		"an end in words":   {"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"soon"}},
		"an end in seconds": limits("0", time.Unix(60, 0), noon),
		"an end just now":   limits("0", noon, noon),
		"an end in a year":  limits("0", noon.Add(24*365*time.Hour), noon),
		"an end in ms":      {"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {strconv.FormatInt(noon.Add(time.Minute).UnixMilli(), 10)}},
		"an end in days":    limits("0", noon.Add(24*time.Hour+time.Second), noon),
	} {
		l := allowance{underWay: 1}
		l.giveBack(header, noon)
		if held := l.take("GET", "/", noon); held != nil {
			t.Errorf("%s: it is held with %+v", name, *held)
		}
	}
	l := allowance{underWay: 1}
	l.giveBack(limits("0", noon.Add(time.Hour), noon), noon)
	if held := l.take("GET", "/", noon); held == nil || held.retryAfter != 10*time.Minute+time.Second {
		t.Errorf("an hour is held with %v", held)
	}
}
