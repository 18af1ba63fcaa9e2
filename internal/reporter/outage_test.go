// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

var (
	errNoAnswer = &Error{Method: "GET", Path: "/checked", Err: errors.New("connection refused"), kind: kindUnavailable, retryAfter: time.Minute}
	errRefused  = &Error{Method: "GET", Path: "/checked", Status: 401, kind: kindUnauthorized}
	errPaced    = &Error{Method: "GET", Path: "/checked", Err: errAllowanceUsedUp, kind: kindRateLimited, paced: true}
	errLogin    = &Error{Method: "POST", Path: "/login", Status: 401, Login: true, kind: kindUnauthorized}
	errLeft     = &Error{Method: "GET", Path: "/checked", Err: context.Canceled, kind: kindUnavailable}
)

// Told second by second. A Check decides whether anything is sent.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := 0
		o := &outage{ended: func() { ended++ }}
		checked := 0
		probe := func(found *Error) error {
			return o.probe(func() error {
				checked++
				if found == nil {
					return nil
				}
				return found
			})
		}
		expect := func(what string, holds bool, checks, ends int) {
			t.Helper()
			held := o.hold()
			if (held != nil) != holds || checked != checks || ended != ends {
				t.Errorf("%s: held %v, %d checks made, %d outages ended; not %t, %d, %d", what, held, checked, ended, holds, checks, ends)
			}
			if held != nil && (!held.heldBack || held.retryAfter != 0 || held.Error() != errNoAnswer.Error()) {
				t.Errorf("%s: it is held with %+v", what, *held)
			}
		}
		expect("at first", false, 0, 0)
		_ = probe(errRefused)
		expect("after an answer, whatever it says", false, 1, 0)
		_ = probe(errLeft)
		expect("after a Check that was broken off", false, 2, 0)
		if err := probe(errNoAnswer); err != errNoAnswer { //nolint:errorlint // this very one
			t.Errorf("a Check without an answer returns %v", err)
		}
		expect("after no answer", true, 3, 0)
		if err := probe(nil); !IsHeldBack(err) || !IsUnavailable(err) {
			t.Errorf("a Check right after it returns %v", err)
		}
		expect("right after it", true, 3, 0)

		<-time.After(time.Second)
		_ = probe(errLeft)
		expect("after a probe that was broken off", true, 4, 0)
		<-time.After(time.Second)
		_ = probe(errNoAnswer)
		expect("after a probe without an answer", true, 5, 0)
		for _, unasked := range []*Error{errPaced, errLogin} {
			<-time.After(time.Second)
			_ = probe(unasked)
			checked--
			expect("after a probe in which Reporter was not asked: "+unasked.Error(), true, 5, 0)
		}
		<-time.After(time.Second)
		inside := o.probe(func() error {
			checked++
			return probe(nil) // while another is under way
		})
		if !IsHeldBack(inside) {
			t.Errorf("a second probe at the same time returns %v", inside)
		}
		expect("after a probe that held another back", true, 6, 0)
		<-time.After(time.Second)
		_ = probe(errRefused)
		expect("after a probe that was answered", false, 7, 1)
		_ = probe(nil)
		expect("in the end", false, 8, 1)
	})
}
