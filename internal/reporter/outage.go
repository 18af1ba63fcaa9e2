// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"context"
	"errors"
	"sync"
	"time"
)

// outage is a circuit breaker: it keeps requests from a Reporter that does not answer. It begins with a Check that gets no answer, and
// ends with one that does. Meanwhile one Check a second is let through at most, one at a time, and nothing else.
type outage struct {
	ended func() // is called after the end of one

	mu      sync.Mutex
	cause   *Error // what the last Check found, nil while there is no outage
	probing bool
	probed  time.Time
}

// probeInterval is the least time between two Checks of a Reporter that does not answer.
const probeInterval = time.Second

// hold returns why nothing is to be sent, which is what the last Check found, or nil if all is well.
func (o *outage) hold() *Error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.held()
}

func (o *outage) held() *Error {
	if o.cause == nil {
		return nil
	}
	held := *o.cause
	held.retryAfter, held.mayHaveActed, held.heldBack = 0, false, true
	return &held
}

// probe makes a check. In an outage, it returns what the last one found if that is not long ago, or one is under way.
func (o *outage) probe(check func() error) error {
	probing, held := o.begin(time.Now())
	if held != nil {
		return held
	}
	proof, cause := proofOfNothing, (*Error)(nil)
	defer func() { o.end(probing, proof, cause) }()
	err := check()
	proof, cause = proofOf(err)
	return err
}

func (o *outage) begin(now time.Time) (probing bool, held *Error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cause == nil {
		return false, nil
	}
	if o.probing || now.Before(o.probed.Add(probeInterval)) {
		return false, o.held()
	}
	o.probing = true
	return true, nil
}

func (o *outage) end(probing bool, proof proof, cause *Error) {
	o.mu.Lock()
	ends := proof == proofOfAnswer && o.cause != nil
	switch proof {
	case proofOfAnswer:
		o.cause = nil
	case proofOfSilence:
		o.cause = cause
	case proofOfNothing:
	}
	o.probed = time.Now()
	if probing {
		o.probing = false
	}
	o.mu.Unlock()
	if ends {
		o.ended()
	}
}

// proof is what a Check shows of a Reporter.
type proof int

const (
	proofOfNothing proof = iota // it was not asked
	proofOfAnswer               // whatever the answer says
	proofOfSilence
)

func proofOf(err error) (proof, *Error) {
	var e *Error
	switch {
	case err == nil:
		return proofOfAnswer, nil
	case !errors.As(err, &e), e.paced, e.kind == kindNotAllowed, errors.Is(err, context.Canceled):
		return proofOfNothing, nil
	case e.kind == kindUnavailable:
		return proofOfSilence, e
	case e.Login:
		return proofOfNothing, nil
	default:
		return proofOfAnswer, nil
	}
}
