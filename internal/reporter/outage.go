// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"sync"
	"time"
)

// outage is a circuit breaker: it keeps requests from a Reporter that does not answer. It opens when any request gets no answer, or
// a Check an error of the server's, and closes with the next answer to any request that is none. Meanwhile one Check a second is let
// through at most, one at a time, and now and then a request on trial: a list that fails says little of a DELETE. The methods of a nil one
// do nothing.
type outage struct {
	recovered func()      // is called after it has closed
	tried     func() bool // is called when a request on trial is due, and says whether there is one to send

	mu       sync.Mutex
	cause    *Error    // why it is open, nil while it is closed
	byCheck  bool      // a Check found the cause
	answered time.Time // when the last answer came
	probing  bool
	probed   time.Time
	trialDue time.Time
	owed     bool // a trial that was due found nothing to send
	// alone says that other requests were answered where a Check was not: what a Check finds says nothing of them.
	alone bool
}

// probeInterval is the least time between two Checks of a Reporter that does not answer.
const probeInterval = time.Second

// hold returns why a request of a client with that timeout is not to be sent, or nil if it is. An outage that was found by running out
// of a shorter timeout says nothing to such a client: Reporter may just be slow.
func (o *outage) hold(method, path string, timeout time.Duration) *Error {
	if o == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.held(method, path, timeout)
}

func (o *outage) held(method, path string, timeout time.Duration) *Error {
	if o.cause == nil || (o.cause.within > 0 && o.cause.within < timeout) {
		return nil
	}
	held := *o.cause
	if !held.Login { // the failed login is still what the error is about
		held.failed = held.operation()
		held.Method, held.Path = method, path
	}
	if held.within > 0 {
		held.Err = noAnswerWithin(timeout) // nor within the longer one that the cause was found with
	}
	held.retryAfter, held.until, held.mayHaveActed, held.heldBack = 0, time.Time{}, false, true
	return &held
}

func (o *outage) isOpen() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.cause != nil
}

// begin opens the breaker because of a request that was sent at a time and found the cause, unless an answer has come since: then what
// it found is old. Running out of a timeout does not replace running out of a longer one.
func (o *outage) begin(cause *Error, sent time.Time, check bool) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.alone = o.alone && check
	if o.alone || o.answered.After(sent) || (o.cause != nil && cause.within > 0 && cause.within < o.cause.within) {
		return
	}
	o.cause, o.byCheck = cause, check
}

// end closes the breaker because of an answer.
func (o *outage) end(now time.Time, check bool) {
	if o == nil {
		return
	}
	o.mu.Lock()
	ends := o.cause != nil
	o.alone = !check && (o.alone || ends && o.byCheck)
	o.cause, o.answered, o.owed = nil, now, false
	o.mu.Unlock()
	if ends {
		o.recovered()
	}
}

// fail takes note of an error of the server's to a request that is no Check. It says nothing of others, but that they fail as well is
// possible again.
func (o *outage) fail() {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.alone = false
}

// trialRatio is how much more rarely there are requests on trial than a Check takes: many servers that hang must not keep all workers busy.
const trialRatio = 10

// try has a request sent on trial after a Check that failed, if one is due.
func (o *outage) try(now time.Time, took time.Duration) {
	o.mu.Lock()
	due := o.cause != nil && !now.Before(o.trialDue)
	if due {
		o.trialDue = now.Add(trialRatio * took)
	}
	o.mu.Unlock()
	if due {
		o.sendOnTrial()
	}
}

// offerTrial has a request sent on trial if there was none when one was due: somebody waits now. The next Check may be long in coming, where
// the server asked for that.
func (o *outage) offerTrial() {
	if o == nil {
		return
	}
	o.mu.Lock()
	owed := o.owed
	o.owed = false
	o.mu.Unlock()
	if owed {
		o.sendOnTrial()
	}
}

func (o *outage) sendOnTrial() {
	if o.tried() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.owed = o.cause != nil
}

// probe makes a check by a client with that timeout. While the breaker is open, it returns why if the last check is not long ago, or
// one is under way, and there is no urgency.
func (o *outage) probe(timeout time.Duration, urgent bool, check func() error) error {
	probing, held := o.beginProbe(time.Now(), timeout, urgent)
	if held != nil {
		return held
	}
	defer o.endProbe(probing)
	return check()
}

func (o *outage) beginProbe(now time.Time, timeout time.Duration, urgent bool) (probing bool, held *Error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	held = o.held(checkMethod, connectionsPath, timeout)
	if held == nil || urgent {
		return false, nil
	}
	if o.probing || now.Before(o.probed.Add(probeInterval)) {
		return false, held
	}
	o.probing = true
	return true, nil
}

func (o *outage) endProbe(probing bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cause != nil {
		o.probed = time.Now()
	}
	if probing {
		o.probing = false
	}
}
