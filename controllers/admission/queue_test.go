// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// counter is where two servers have slots for two requests each, in virtual time.
type counter struct {
	*Queues[string, string]
	*testing.T
	dispatched []string
	slots      map[string][]func() // by server: how the requests in flight give their slots back
}

const a, b = "a", "b"

func atCounter(t *testing.T, story func(*counter)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &counter{Queues: NewQueues[string, string](), T: t, slots: map[string][]func(){}}
		c.OnDispatch(func(request string, after time.Duration) {
			if after > 0 {
				request = fmt.Sprintf("%s in %s", request, after)
			}
			c.dispatched = append(c.dispatched, request)
		})
		story(c)
	})
}

func waiting(server, name string, urgent bool) Waiter[string, string] {
	return Waiter[string, string]{Request: name, Server: server, Limit: 2, Preferred: urgent, Now: time.Now()}
}

// acquire asks for a slot in whatever reconcile is under way.
func (c *counter) acquire(w Waiter[string, string]) (bool, time.Duration) {
	release, waited := c.Acquire(w)
	if release != nil {
		c.slots[w.Server] = append(c.slots[w.Server], release)
	}
	return release != nil, waited
}

// release gives the slot of the request back that has been in flight for the longest.
func (c *counter) release(server string) {
	c.Helper()
	release := c.slots[server][0]
	c.slots[server] = c.slots[server][1:]
	release()
}

// expect has a request ask for a slot in a reconcile of its own, and says for how long it must have waited otherwise.
func (c *counter) expect(server, name string, urgent, want bool, wantWaited time.Duration) {
	c.Helper()
	defer c.Begin(name)()
	ok, waited := c.acquire(waiting(server, name, urgent))
	if ok != want || waited != wantWaited {
		c.Errorf("%s gets a slot: %t after %s, want %t after %s", name, ok, waited, want, wantWaited)
	}
}

func (c *counter) sends(server, name string) {
	c.Helper()
	c.expect(server, name, true, true, 0)
}

func (c *counter) waits(server, name string, waited time.Duration) {
	c.Helper()
	c.expect(server, name, true, false, waited)
}

// passes has a request do something else in its reconcile.
func (c *counter) passes(name string) { c.Begin(name)() }

func (c *counter) granted(want ...string) {
	c.Helper()
	if !slices.Equal(c.dispatched, want) {
		c.Errorf("dispatched are %q, want %q", c.dispatched, want)
	}
	c.dispatched = nil
}

func (c *counter) isEmpty() {
	c.Helper()
	if len(c.queues)+len(c.waiting)+len(c.Queues.granted) != 0 {
		c.Errorf("at the end there are %v", c.Queues)
	}
}

func TestQueues(t *testing.T) {
	atCounter(t, func(c *counter) {
		c.sends(a, "first")
		c.sends(a, "second")
		c.sends(b, "elsewhere") // another server has slots of its own
		c.expect(a, "live", false, false, 0)
		c.waits(a, "third", 0)
		c.waits(a, "fourth", 0)
		<-time.After(2 * time.Second)
		c.waits(a, "third", 2*time.Second) // whatever comes again stays where it is
		c.granted()

		c.release(a)
		c.granted("third") // urgent ones go first
		c.waits(a, "fifth", 0)
		c.granted() // the slot is kept for what was granted
		c.sends(a, "third")
		c.release(a)
		c.granted("fourth")
		c.passes("fourth") // it had something else to do
		c.granted("fifth")
		c.release(a)
		c.granted("live")
		c.passes("live")
		c.passes("fifth")
		c.granted()
		c.release(b)
		c.isEmpty()
	})
}

func TestRequestThatChangesItsServer(t *testing.T) {
	atCounter(t, func(c *counter) {
		c.sends(a, "first")
		c.sends(a, "second")
		c.sends(b, "elsewhere")
		// A routine request that becomes urgent goes before the others.
		c.expect(a, "live", false, false, 0)
		c.expect(a, "deleted", false, false, 0)
		c.waits(a, "deleted", 0)
		c.release(a)
		c.granted("deleted")
		// What was granted changes over to another server, and gives its slot at the first back.
		c.sends(b, "deleted")
		c.granted("live")
		c.expect(b, "live", false, false, 0)
		c.granted()
		if c.IsWaiting("deleted") || !c.IsWaiting("live") {
			c.Error("it is not known what waits")
		}
		c.Forget("live")
		c.release(b)
		c.release(b)
		c.release(a)
		c.granted()
		c.isEmpty()
	})
}

// A grant that comes in the middle of a reconcile is for the next one.
func TestGrantDuringAReconcile(t *testing.T) {
	atCounter(t, func(c *counter) {
		c.sends(a, "first")
		c.sends(a, "second")
		c.waits(a, "third", 0)
		c.waits(a, "fourth", 0)
		end := c.Begin("third")
		c.release(a)
		c.granted("third")
		end()
		c.granted()
		c.sends(a, "third")
		c.release(a)
		c.granted("fourth")
	})
}

func TestSlotIsKeptForWhatWasGranted(t *testing.T) {
	atCounter(t, func(c *counter) {
		c.sends(a, "first")
		c.sends(a, "second")
		c.waits(a, "third", 0)
		c.release(a)
		c.granted("third")
		c.waits(a, "fourth", 0)
		c.sends(a, "third")
		c.release(a)
		c.granted("fourth")
	})
}

// The same server may be asked under different limits.
func TestDifferentLimitsOfOneServer(t *testing.T) {
	atCounter(t, func(c *counter) {
		c.sends(a, "first")
		small, large := waiting(a, "small", true), waiting(a, "large", true)
		small.Limit, large.Limit = 1, 3
		if ok, _ := c.acquire(small); ok {
			t.Error("there are two where there is a slot for one")
		}
		if ok, _ := c.acquire(large); ok {
			t.Error("a later one goes first")
		}
		c.granted()
		c.release(a)
		c.granted("small", "large")
	})
}

func TestServerThatIsDown(t *testing.T) {
	atCounter(t, func(c *counter) {
		down := true
		waits := func(name string, deleting bool) bool {
			return c.Block(waiting(a, name, deleting), Blockage{IsDown: func() bool { return down }})
		}
		for i := range 3 {
			if !waits(fmt.Sprintf("deletion-%d", i), true) {
				t.Error("it answers")
			}
		}
		c.Forget("deletion-1")
		waits("live", false)
		c.passes("deletion-2")
		c.granted()
		c.Try(a) // one is granted all the same, and goes behind the others if it was in vain
		c.granted("deletion-0")
		if !c.IsOnTrial("deletion-0") || c.IsOnTrial("deletion-2") {
			t.Error("it is not known who is on trial")
		}
		end := c.Begin("deletion-0")
		if ok, _ := c.acquire(waiting(a, "deletion-0", true)); !ok {
			t.Error("who is on trial gets no slot")
		}
		waits("deletion-0", true)
		c.release(a)
		end()
		c.granted()
		c.Try(a)
		c.granted("deletion-2")
		c.passes("deletion-2") // it had something else to do
		waits("deletion-2", true)
		c.sends(a, "patient") // what does not wait for that is held by nobody who does
		c.release(a)
		c.granted()
		down = false
		c.Unblock(a)
		c.granted("deletion-0", "deletion-2") // no more than there are slots
		if waits("deletion-3", true) {
			t.Error("something waits for what is over")
		}
		c.passes("deletion-0")
		c.granted("live")
		c.passes("live")
		c.passes("deletion-2")
		c.isEmpty()

		down = true
		waits("deletion-4", true)
		c.sends(a, "early") // has seen that it answers, before Unblock
		c.Unblock(a)
		c.granted("deletion-4")
		c.Try("nobody waits here")
		c.passes("deletion-4")
		c.release(a)
		c.isEmpty()
	})
}

func TestServerThatIsLeftAlone(t *testing.T) {
	atCounter(t, func(c *counter) {
		c.sends(a, "first")
		c.sends(a, "second")
		c.waits(a, "third", 0)
		c.waits(a, "fourth", 0)
		c.Block(waiting(a, "first", true), Blockage{For: time.Minute})
		c.release(a)
		c.release(a)
		c.granted("third in 1m0s") // which lets the others through then
		<-time.After(20 * time.Second)
		c.waits(a, "fifth", 0)
		c.Block(waiting(a, "second", true), Blockage{For: time.Second}) // the longer one counts
		c.waits(a, "third", 20*time.Second)                             // something woke it
		atOnce := waiting(a, "asked for", true)
		atOnce.AtOnce = true
		if ok, _ := c.acquire(atOnce); !ok {
			t.Fatal("what somebody asks for waits for the end of the pause")
		}
		c.release(a)
		c.granted("third in 40s")
		<-time.After(40 * time.Second)
		c.sends(a, "third")
		c.granted("fourth")
		c.sends(a, "fourth")
		c.release(a)
		c.release(a)
		c.granted("first", "fifth")
	})
}

// Whatever they do, nothing waits while there is a slot, there are never more in flight than slots, and whatever is granted has a reconcile
// to come.
func TestQueuesAtRandom(t *testing.T) {
	for seed := range uint64(500) {
		atCounter(t, func(c *counter) {
			random := rand.New(rand.NewPCG(seed, 0))
			isDown := map[string]bool{}
			reconciles := map[string]func(){} // under way
			for range 200 {
				server, name := []string{a, b}[random.IntN(2)], strconv.Itoa(random.IntN(6))
				w := waiting(server, name, random.IntN(2) == 0)
				w.Limit = 1 + random.IntN(3)
				end, busy := reconciles[name]
				switch random.IntN(9) {
				case 0, 1:
					if !busy {
						reconciles[name] = c.Begin(name)
					}
				case 2:
					if busy {
						delete(reconciles, name)
						end()
					}
				case 3:
					if release, _ := c.Acquire(w); busy && release != nil {
						c.slots[server] = append(c.slots[server], release)
					} else if release != nil {
						release()
					}
				case 4:
					if len(c.slots[server]) > 0 {
						c.release(server)
					}
				case 5:
					isDown[server] = true
					c.Block(w, Blockage{IsDown: func() bool { return isDown[server] }})
				case 6:
					isDown[server] = false
					c.Unblock(server)
				case 7:
					c.Try(server)
				case 8:
					c.Forget(name)
					c.Block(w, Blockage{For: time.Duration(random.IntN(3)) * time.Second})
					<-time.After(time.Duration(random.IntN(3)) * time.Second)
				}
				for _, of := range []string{a, b} {
					c.check(seed, of)
				}
			}
		})
	}
}

func (c *counter) check(seed uint64, server string) {
	c.Helper()
	in := c.queue(server)
	next := in.slot.front()
	grants := 0
	for request, grant := range c.Queues.granted {
		if grant.Server == server {
			grants++
		}
		if c.waiting[request] != nil {
			c.Fatalf("seed %d: %s is granted and waits", seed, request)
		}
	}
	// One that is granted for the time after a pause lets the others through.
	free := next != nil && in.inFlight+in.granted < next.Value.(*waiter[string, string]).Limit && (in.granted == 0 || in.until.IsZero())
	if in.granted != grants || in.inFlight != len(c.slots[server]) || in.inFlight+in.granted > 3 || free {
		c.Fatalf("seed %d: %d are in flight (%d), %d granted (%d), something waits for a free slot: %t", seed, in.inFlight, len(c.slots[server]), in.granted, grants, free)
	}
}
