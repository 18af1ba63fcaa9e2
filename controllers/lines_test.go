// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// calls is a queue that notes who is called, and how urgently.
type calls struct {
	priorityqueue.PriorityQueue[reconcile.Request]
	names []string
}

func (c *calls) AddWithOpts(o priorityqueue.AddOpts, requests ...reconcile.Request) {
	for _, request := range requests {
		c.names = append(c.names, fmt.Sprintf("%s at %d", request.Name, *o.Priority))
	}
}

func (c *calls) take() []string {
	names := c.names
	c.names = nil
	return names
}

func requestOf(name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "billing", Name: name}}
}

// identities are those of two Reporters.
func identities(t *testing.T) (a, b reporter.Identity) {
	t.Helper()
	var pool reporter.Pool
	var found []reporter.Identity
	for _, url := range []string{"http://a", "http://b"} {
		c, err := pool.Client(reporter.Config{BaseURL: url, Timeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, c.Identity())
	}
	return found[0], found[1]
}

// A day at the counter of two Reporters with room for two each.
func TestLines(t *testing.T) {
	queue, l := &calls{}, newLines()
	l.callInto(queue)
	a, b := identities(t)
	start := time.Unix(1000, 0)
	enter := func(to reporter.Identity, name string, deleting bool, after time.Duration, want bool, wantStood time.Duration) {
		t.Helper()
		ok, stood := l.enter(to, 2, requestOf(name), deleting, start.Add(after))
		if ok != want || stood != wantStood {
			t.Errorf("%s enters: %t after %s, want %t after %s", name, ok, stood, want, wantStood)
		}
	}
	called := func(want ...string) {
		t.Helper()
		if got := queue.take(); !slices.Equal(got, want) {
			t.Errorf("called are %q, want %q", got, want)
		}
	}

	enter(a, "first", true, 0, true, 0)
	enter(a, "second", true, 0, true, 0)
	enter(b, "elsewhere", true, 0, true, 0) // another Reporter has room of its own
	enter(a, "live", false, 0, false, 0)
	enter(a, "third", true, time.Second, false, 0)
	enter(a, "fourth", true, time.Second, false, 0)
	enter(a, "third", true, 3*time.Second, false, 2*time.Second) // whoever comes again stays where they are
	called()

	l.leave(a)
	called("third at 0") // deletions go first
	enter(a, "fifth", true, 4*time.Second, false, 0)
	l.passed(requestOf("fifth"))
	called() // the room is kept for who was called
	enter(a, "third", true, 4*time.Second, true, 0)
	l.passed(requestOf("third"))
	l.leave(a)
	called("fourth at 0")
	l.passed(requestOf("fourth")) // it had something else to do
	called("fifth at 0")
	l.leave(a)
	called("live at -100")
	l.forget(requestOf("live")) // gone while it was called
	l.passed(requestOf("live"))
	l.passed(requestOf("fifth"))
	called()

	// A live resource that is deleted goes before the others.
	enter(a, "first", true, 5*time.Second, true, 0)
	enter(a, "second", true, 5*time.Second, true, 0)
	enter(a, "live", false, 5*time.Second, false, 0)
	enter(a, "deleted", false, 5*time.Second, false, 0)
	enter(a, "deleted", true, 6*time.Second, false, 0)
	l.leave(a)
	called("deleted at 0")
	// Whose turn it is changes over to another Reporter, and makes room at the first.
	enter(b, "deleted", true, 7*time.Second, true, 0)
	called("live at -100")
	enter(b, "live", false, 8*time.Second, false, 0)
	called()
	if l.stands(requestOf("deleted")) || !l.stands(requestOf("live")) {
		t.Errorf("it is forgotten who stands in line")
	}
	l.forget(requestOf("live"))
	for range 2 {
		l.leave(b)
	}
	l.leave(a)
	called()
	if len(l.byReporter)+len(l.places)+len(l.called) != 0 {
		t.Errorf("in the evening there are %v", l)
	}
}

func TestLinesOfAReporterThatIsDown(t *testing.T) {
	queue, l := &calls{}, newLines()
	l.callInto(queue)
	a, _ := identities(t)
	down := true
	await := func(name string, deleting bool) bool {
		return l.await(a, 2, func() bool { return down }, requestOf(name), deleting, time.Unix(1000, 0))
	}
	for i := range 3 {
		if !await(fmt.Sprintf("deletion-%d", i), true) {
			t.Error("it answers")
		}
	}
	if ok, _ := l.enter(a, 2, requestOf("late"), true, time.Unix(1000, 0)); !ok { // it was on its way
		t.Error("there is no room")
	}
	l.leave(a)
	l.passed(requestOf("late"))
	l.forget(requestOf("deletion-1"))
	await("live", false)
	if got := queue.take(); got != nil {
		t.Errorf("%q are called while it is down", got)
	}
	down = false
	l.recovered(a)
	if got, want := queue.take(), []string{"deletion-0 at 0", "deletion-2 at 0"}; !slices.Equal(got, want) {
		t.Errorf("%q are called, want %q: no more than there is room for", got, want)
	}
	if await("deletion-3", true) {
		t.Error("somebody waits for what is over")
	}
	l.passed(requestOf("deletion-0"))
	if got, want := queue.take(), []string{"live at -100"}; !slices.Equal(got, want) {
		t.Errorf("%q are called, want %q", got, want)
	}
}

// Whatever they do, nobody who stands in line is left standing while there is room, and there are never more than that.
func TestLinesAtRandom(t *testing.T) {
	a, b := identities(t)
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 0))
		queue, l := &calls{}, newLines()
		l.callInto(queue)
		isDown := map[reporter.Identity]bool{}
		var inside []reporter.Identity
		for range 200 {
			to := []reporter.Identity{a, b}[random.IntN(2)]
			request := requestOf(fmt.Sprint(random.IntN(6)))
			switch random.IntN(6) {
			case 0, 1:
				if ok, _ := l.enter(to, 2, request, random.IntN(2) == 0, time.Unix(0, 0)); ok {
					inside = append(inside, to)
				}
				l.passed(request)
			case 2:
				if len(inside) > 0 {
					l.leave(inside[0])
					inside = inside[1:]
				}
			case 3:
				isDown[to] = true
				l.await(to, 2, func() bool { return isDown[to] }, request, random.IntN(2) == 0, time.Unix(0, 0))
				l.passed(request)
			case 4:
				isDown[to] = false
				l.recovered(to)
			case 5:
				l.passed(request)
			}
			for _, of := range []reporter.Identity{a, b} {
				in := l.line(of)
				standing := in.deleting.Len() + in.live.Len()
				turns := 0
				for _, turn := range l.called {
					if turn.reporter == of {
						turns++
					}
				}
				if in.called != turns || in.underWay+in.called > 2 || (standing > 0 && !in.down && in.underWay+in.called < 2) {
					t.Fatalf("seed %d: %d are inside, %d called (%d), %d stand in line, down: %t", seed, in.underWay, in.called, turns, standing, in.down)
				}
			}
		}
	}
}
