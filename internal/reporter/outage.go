// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
)

// outage keeps requests from a Reporter that does not answer. It begins with a Check that gets no answer, and ends with one that
// does. Meanwhile a Check is let through now and then, and nothing else.
type outage struct {
	breaker circuitbreaker.CircuitBreaker[any]

	mu    sync.Mutex
	cause Error
}

// probeInterval is the least time between two Checks of a Reporter that does not answer.
const probeInterval = time.Second

func newOutage(ended func()) *outage {
	return &outage{breaker: circuitbreaker.NewBuilder[any]().
		WithFailureThreshold(1).
		WithDelay(probeInterval).
		OnClose(func(circuitbreaker.StateChangedEvent) { ended() }).
		Build()}
}

// hold returns why nothing is to be sent, which is what the last Check found, or nil if all is well.
func (o *outage) hold() *Error {
	if o.breaker.IsClosed() {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	held := o.cause
	held.retryAfter, held.mayHaveActed, held.heldBack = 0, false, true
	return &held
}

// probe makes a check, unless there was one just now or there is one under way: then it returns what the last one found.
func (o *outage) probe(check func() error) error {
	for !o.breaker.TryAcquirePermit() {
		if held := o.hold(); held != nil {
			return held
		} // or it has just ended
	}
	err := check()
	left := errors.Is(err, context.Canceled) // which says nothing of Reporter
	switch {
	case !IsUnavailable(err), left && o.breaker.IsClosed():
		o.breaker.RecordSuccess() // it answers, whatever it says
	case left:
		o.breaker.RecordFailure()
	default:
		o.remember(err)
		o.breaker.RecordFailure()
	}
	return err
}

func (o *outage) remember(err error) {
	var cause *Error
	if errors.As(err, &cause) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.cause = *cause
	}
}
