// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// calls is a queue that notes who is called, and for when.
type calls struct {
	priorityqueue.PriorityQueue[reconcile.Request]
	names []string
}

func (c *calls) AddWithOpts(o priorityqueue.AddOpts, requests ...reconcile.Request) {
	for _, request := range requests {
		name := request.Name
		if o.After > 0 {
			name = fmt.Sprintf("%s in %s", name, o.After)
		}
		if *o.Priority <= 0 {
			name += " behind all that is new"
		}
		c.names = append(c.names, name)
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

// counter is where two Reporters have room for two each, in virtual time.
type counter struct {
	*lines
	*testing.T
	queue *calls
	a, b  reporter.Identity
}

func atCounter(t *testing.T, story func(*counter)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &counter{lines: newLines(), T: t, queue: &calls{}}
		c.callInto(c.queue)
		c.a, c.b = identities(t)
		story(c)
	})
}

func (c *counter) place(to reporter.Identity, name string, deleting bool) place {
	return place{request: requestOf(name), reporter: to, room: 2, deleting: deleting, since: time.Now()}
}

// expect lets somebody try to enter in a pass of their own, and says for how long they must have stood otherwise.
func (c *counter) expect(to reporter.Identity, name string, deleting, want bool, wantStood time.Duration) {
	c.Helper()
	defer c.begin(requestOf(name))()
	ok, stood := c.enter(c.place(to, name, deleting))
	if ok != want || stood != wantStood {
		c.Errorf("%s enters: %t after %s, want %t after %s", name, ok, stood, want, wantStood)
	}
}

func (c *counter) enters(to reporter.Identity, name string) {
	c.Helper()
	c.expect(to, name, true, true, 0)
}

func (c *counter) stands(to reporter.Identity, name string, stood time.Duration) {
	c.Helper()
	c.expect(to, name, true, false, stood)
}

// passes lets somebody do something else in their pass.
func (c *counter) passes(name string) { c.begin(requestOf(name))() }

func (c *counter) called(want ...string) {
	c.Helper()
	if got := c.queue.take(); !slices.Equal(got, want) {
		c.Errorf("called are %q, want %q", got, want)
	}
}

func (c *counter) isEmpty() {
	c.Helper()
	if len(c.byReporter)+len(c.places)+len(c.lines.called) != 0 {
		c.Errorf("in the evening there are %v", c.lines)
	}
}

func TestLines(t *testing.T) {
	atCounter(t, func(c *counter) {
		c.enters(c.a, "first")
		c.enters(c.a, "second")
		c.enters(c.b, "elsewhere") // another Reporter has room of its own
		c.expect(c.a, "live", false, false, 0)
		c.stands(c.a, "third", 0)
		c.stands(c.a, "fourth", 0)
		<-time.After(2 * time.Second)
		c.stands(c.a, "third", 2*time.Second) // whoever comes again stays where they are
		c.called()

		c.leave(c.a)
		c.called("third") // deletions go first
		c.stands(c.a, "fifth", 0)
		c.called() // the room is kept for who was called
		c.enters(c.a, "third")
		c.leave(c.a)
		c.called("fourth")
		c.passes("fourth") // it had something else to do
		c.called("fifth")
		c.leave(c.a)
		c.called("live")
		c.passes("live")
		c.passes("fifth")
		c.called()
		c.leave(c.b)
		c.isEmpty()
	})
}

func TestLinesOfWhoChanges(t *testing.T) {
	atCounter(t, func(c *counter) {
		c.enters(c.a, "first")
		c.enters(c.a, "second")
		c.enters(c.b, "elsewhere")
		// A live resource that is deleted goes before the others.
		c.expect(c.a, "live", false, false, 0)
		c.expect(c.a, "deleted", false, false, 0)
		c.stands(c.a, "deleted", 0)
		c.leave(c.a)
		c.called("deleted")
		// Whose turn it is changes over to another Reporter, and makes room at the first.
		c.enters(c.b, "deleted")
		c.called("live")
		c.expect(c.b, "live", false, false, 0)
		c.called()
		if c.lines.stands(requestOf("deleted")) || !c.lines.stands(requestOf("live")) {
			c.Error("it is not known who stands in line")
		}
		c.forget(requestOf("live"))
		c.leave(c.b)
		c.leave(c.b)
		c.leave(c.a)
		c.called()
		c.isEmpty()
	})
}

// A turn that comes in the middle of a pass is for the next one.
func TestTurnDuringAPass(t *testing.T) {
	atCounter(t, func(c *counter) {
		c.enters(c.a, "first")
		c.enters(c.a, "second")
		c.stands(c.a, "third", 0)
		c.stands(c.a, "fourth", 0)
		end := c.begin(requestOf("third"))
		c.leave(c.a)
		c.called("third")
		end()
		c.called()
		c.enters(c.a, "third")
		c.leave(c.a)
		c.called("fourth")
	})
}

// Endpoints of the same Reporter may have more or less room than others.
func TestLinesOfDifferentRoom(t *testing.T) {
	atCounter(t, func(c *counter) {
		c.enters(c.a, "first")
		small, large := c.place(c.a, "small", true), c.place(c.a, "large", true)
		small.room, large.room = 1, 3
		if ok, _ := c.enter(small); ok {
			t.Error("there are two where there is room for one")
		}
		if ok, _ := c.enter(large); ok {
			t.Error("somebody jumps the line")
		}
		c.called()
		c.leave(c.a)
		c.called("small", "large")
	})
}

func TestLinesOfAReporterThatIsDown(t *testing.T) {
	atCounter(t, func(c *counter) {
		down := true
		waits := func(name string, deleting bool) bool {
			return c.await(c.place(c.a, name, deleting), func() bool { return down })
		}
		for i := range 3 {
			if !waits(fmt.Sprintf("deletion-%d", i), true) {
				t.Error("it answers")
			}
		}
		c.forget(requestOf("deletion-1"))
		waits("live", false)
		c.passes("deletion-2")
		c.called()
		down = false
		c.recovered(c.a)
		c.called("deletion-0", "deletion-2") // no more than there is room for
		if waits("deletion-3", true) {
			t.Error("somebody waits for what is over")
		}
		c.passes("deletion-0")
		c.called("live")
		c.passes("live")
		c.passes("deletion-2")
		c.isEmpty()

		down = true
		waits("deletion-4", true)
		c.stands(c.a, "early", 0) // has seen that it answers, before anybody was told
		c.called("deletion-4", "early")
	})
}

func TestLinesOfAReporterThatIsLeftAlone(t *testing.T) {
	atCounter(t, func(c *counter) {
		c.enters(c.a, "first")
		c.enters(c.a, "second")
		c.stands(c.a, "third", 0)
		c.stands(c.a, "fourth", 0)
		c.postpone(c.place(c.a, "first", true), time.Minute)
		c.leave(c.a)
		c.leave(c.a)
		c.called("third in 1m0s") // who makes room for the others then
		<-time.After(20 * time.Second)
		c.stands(c.a, "fifth", 0)
		c.postpone(c.place(c.a, "second", true), time.Second) // what was told before counts
		c.stands(c.a, "third", 20*time.Second)                // somebody asked for it
		c.called("third in 40s")
		<-time.After(40 * time.Second)
		c.enters(c.a, "third")
		c.called("fourth")
		c.enters(c.a, "fourth")
		c.leave(c.a)
		c.leave(c.a)
		c.called("first", "fifth")
	})
}

// Whatever they do, nobody who stands in line is left standing while there is room, there are never more inside than that, and whoever
// is called has a pass to come.
func TestLinesAtRandom(t *testing.T) {
	for seed := range uint64(500) {
		atCounter(t, func(c *counter) {
			random := rand.New(rand.NewPCG(seed, 0))
			isDown := map[reporter.Identity]bool{}
			passes := map[string]func(){} // under way
			var inside []place
			for range 200 {
				to, name := []reporter.Identity{c.a, c.b}[random.IntN(2)], strconv.Itoa(random.IntN(6))
				p := c.place(to, name, random.IntN(2) == 0)
				p.room = 1 + random.IntN(3)
				end, busy := passes[name]
				switch random.IntN(8) {
				case 0, 1:
					if !busy {
						passes[name] = c.begin(p.request)
					}
				case 2:
					if busy {
						delete(passes, name)
						end()
					}
				case 3:
					if ok, _ := c.enter(p); busy && ok {
						inside = append(inside, p)
					} else if ok {
						c.leave(to)
					}
				case 4:
					if len(inside) > 0 {
						c.leave(inside[0].reporter)
						inside = inside[1:]
					}
				case 5:
					isDown[to] = true
					c.await(p, func() bool { return isDown[to] })
				case 6:
					isDown[to] = false
					c.recovered(to)
				case 7:
					c.forget(p.request)
					c.postpone(p, time.Duration(random.IntN(3))*time.Second)
					<-time.After(time.Duration(random.IntN(3)) * time.Second)
				}
				for _, of := range []reporter.Identity{c.a, c.b} {
					c.check(seed, of)
				}
			}
		})
	}
}

func (c *counter) check(seed uint64, of reporter.Identity) {
	c.Helper()
	in := c.line(of)
	next := in.deleting.Front()
	if next == nil {
		next = in.live.Front()
	}
	turns := 0
	for request, turn := range c.lines.called {
		if turn.reporter == of {
			turns++
		}
		if c.places[request] != nil {
			c.Fatalf("seed %d: %s is called and stands in line", seed, request)
		}
	}
	// One that was called for the time after a pause calls the others.
	room := next != nil && in.underWay+in.called < next.Value.(*place).room && (in.called == 0 || in.until.IsZero())
	if in.called != turns || in.underWay+in.called > 3 || (room && !in.down) {
		c.Fatalf("seed %d: %d are inside, %d called (%d), somebody waits for room that there is: %t", seed, in.underWay, in.called, turns, room)
	}
}
