// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"fmt"
	"testing"
	"time"
)

// lanes is a Pacer of a second in a time of its own, with what it has dispatched.
type lanes struct {
	*Pacer[string, string]
	*testing.T
	now        time.Time
	dispatched []string
}

func atLanes(t *testing.T) *lanes {
	p := &lanes{Pacer: NewPacer[string, string](time.Second), T: t, now: time.Unix(1000, 0)}
	p.OnDispatch(func(request string, after time.Duration) {
		p.dispatched = append(p.dispatched, fmt.Sprintf("%s in %s", request, after))
	})
	return p
}

func (p *lanes) after(d time.Duration) { p.now = p.now.Add(d) }

func (p *lanes) takes(lane, request string, want bool, dispatched ...string) {
	p.Helper()
	if got := p.Take(lane, request, p.now); got != want {
		p.Errorf("%s takes its turn: %t, want %t", request, got, want)
	}
	p.hasDispatched(dispatched...)
}

func (p *lanes) forgets(request string, dispatched ...string) {
	p.Helper()
	p.Forget(request, p.now)
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
	p := atLanes(t)
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
}

func TestPacerLetsThroughWhatIsExempt(t *testing.T) {
	p := atLanes(t)
	p.takes("r", "a", true)
	p.takes("r", "b", false, "b in 1s")
	p.takes("r", "c", false)
	p.Exempt("c")
	p.takes("r", "c", true)
	p.takes("r", "c", false) // once
	p.Exempt("b")
	p.takes("r", "b", true, "c in 1s") // its turn goes to the next
}

func TestPacerLeavesNoGapBehind(t *testing.T) {
	p := atLanes(t)
	p.takes("r", "first", true)
	for n := range 10000 {
		p.Take("r", fmt.Sprint(n), p.now)
	}
	p.takes("r", "last", false, "0 in 1s")
	for n := range 10000 {
		p.dispatched = nil
		p.Forget(fmt.Sprint(n), p.now)
	}
	p.dispatched = nil
	p.after(time.Hour)
	p.forgets("last")
	p.takes("r", "another", true)
}

func TestPacerGivesOnATurnThatIsNotTaken(t *testing.T) {
	p := atLanes(t)
	reconcile := func(request string, what func()) {
		end := p.Begin(request, func() time.Time { return p.now })
		what()
		end()
	}
	p.takes("r", "a", true)
	p.takes("r", "b", false, "b in 1s")
	p.takes("r", "c", false)
	reconcile("b", func() {}) // something else woke it, before its turn
	p.hasDispatched()
	p.after(time.Second)
	reconcile("b", func() { p.Exempt("b") }) // it has nothing to do now
	p.hasDispatched("c in 0s")
	p.takes("r", "b", true) // and is let through later all the same
	reconcile("c", func() { p.takes("r", "c", true) })
	reconcile("c", func() { p.takes("r", "c", false, "c in 1s") }) // a turn that begins in a reconcile is for the next one
	p.after(time.Second)
	p.takes("r", "c", true)
}

func TestPacerForgetsItsLanes(t *testing.T) {
	p := atLanes(t)
	for n := range 100 {
		p.takes(fmt.Sprint("lane-", n), "a", true)
		p.after(2 * time.Second)
	}
	p.forgets("a")
	if len(p.lanes) > 0 || len(p.waiting) > 0 || len(p.exempt) > 0 {
		t.Errorf("%d lanes, %d that wait and %d exempt are left", len(p.lanes), len(p.waiting), len(p.exempt))
	}
}
