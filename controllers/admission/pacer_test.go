// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// lanes is a Pacer of a second in virtual time, with what it has dispatched.
type lanes struct {
	*Pacer[string, string]
	*testing.T
	dispatched []string
}

func atLanes(t *testing.T, story func(*lanes)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &lanes{Pacer: NewPacer[string, string](time.Second), T: t}
		p.OnDispatch(func(request string, after time.Duration) {
			p.dispatched = append(p.dispatched, fmt.Sprintf("%s in %s", request, after))
		})
		story(p)
	})
}

func (p *lanes) after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// takes has a request ask for its turn in a reconcile of its own.
func (p *lanes) takes(lane, request string, want bool, dispatched ...string) {
	p.Helper()
	p.reconciles(request, func() {
		if got := p.Take(lane, request); got != want {
			p.Errorf("%s takes its turn: %t, want %t", request, got, want)
		}
	}, dispatched...)
}

func (p *lanes) reconciles(request string, what func(), dispatched ...string) {
	p.Helper()
	end := p.Begin(request)
	what()
	end()
	p.hasDispatched(dispatched...)
}

func (p *lanes) forgets(request string, dispatched ...string) {
	p.Helper()
	p.Forget(request)
	p.hasDispatched(dispatched...)
}

func (p *lanes) hasDispatched(want ...string) {
	p.Helper()
	if fmt.Sprint(p.dispatched) != fmt.Sprint(want) {
		p.Errorf("dispatched are %v, want %v", p.dispatched, want)
	}
	p.dispatched = nil
}

func TestPacerGivesTurnsInOrder(t *testing.T) {
	atLanes(t, func(p *lanes) {
		p.takes("r", "a", true)
		p.takes("r", "b", false, "b in 1s")
		p.takes("r", "c", false)
		p.takes("other", "d", true) // another lane has a pace of its own
		p.after(400 * time.Millisecond)
		p.takes("r", "b", false, "b in 600ms") // too early: what woke it took the place of what was dispatched
		p.after(600 * time.Millisecond)
		p.takes("r", "b", true, "c in 1s")
		p.takes("r", "b", false) // its turn is used up: behind c
		p.after(time.Second)
		p.takes("r", "c", true, "b in 1s")
		p.after(5 * time.Second)
		p.takes("r", "b", true)
		p.after(999 * time.Millisecond)
		p.takes("r", "e", false, "e in 1ms")
	})
}

func TestPacerLetsThroughWhatIsExempt(t *testing.T) {
	atLanes(t, func(p *lanes) {
		p.takes("r", "a", true)
		p.takes("r", "b", false, "b in 1s")
		p.takes("r", "c", false)
		p.Exempt("c")
		p.takes("r", "c", true)
		p.takes("r", "c", false) // once
		p.Exempt("b")
		p.takes("r", "b", true, "c in 1s") // its turn goes to the next
		p.Exempt("e")
		p.forgets("e")
		p.takes("r", "e", false)
	})
}

func TestPacerLeavesNoGapBehind(t *testing.T) {
	atLanes(t, func(p *lanes) {
		p.takes("r", "first", true)
		for n := range 10000 {
			p.Take("r", fmt.Sprint(n))
		}
		p.takes("r", "last", false, "0 in 1s")
		for n := range 10000 {
			p.dispatched = nil
			p.Forget(fmt.Sprint(n))
		}
		p.hasDispatched("last in 1s")
		p.forgets("last")
		p.after(time.Second)
		p.takes("r", "another", true)
	})
}

func TestPacerGivesOnATurnThatIsNotTaken(t *testing.T) {
	atLanes(t, func(p *lanes) {
		p.takes("r", "a", true)
		p.takes("r", "b", false, "b in 1s")
		p.takes("r", "c", false)
		p.reconciles("b", func() {}, "c in 1s") // something else woke it, and it has nothing to do
		p.takes("r", "b", false)
		p.after(time.Second)
		p.reconciles("c", func() {}, "b in 0s")
		p.takes("r", "c", false)
		p.reconciles("b", func() { p.Exempt("b") }, "c in 0s")
		p.takes("r", "b", true) // and is let through later all the same
		p.takes("r", "c", true)
		p.takes("r", "c", false, "c in 1s") // a turn that begins in a reconcile is for the next one
		p.after(time.Second)
		p.takes("r", "c", true)
	})
}

func TestPacerForgetsItsLanes(t *testing.T) {
	atLanes(t, func(p *lanes) {
		for n := range 100 {
			p.takes(fmt.Sprint("lane-", n), "a", true)
		}
		p.takes("lane-0", "b", false, "b in 1s")
		p.Exempt("a")
		p.after(time.Second)
		p.takes("lane-0", "b", true)
		p.forgets("a")
		p.after(time.Second)
		if len(p.exempt)+len(p.lanes.queues)+len(p.lanes.waiting)+len(p.lanes.granted) > 0 {
			t.Errorf("left are %v, and %v are exempt", p.lanes, p.exempt)
		}
	})
}
