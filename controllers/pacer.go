// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// routinePace is the least time between two routine checks of connections in the same Reporter. It is more than a second, as a pass
	// may be late and the next one in time, and there is to be no more than one a second.
	routinePace = 1100 * time.Millisecond
	// tellingPace is the least time between two writes that say of resources of the same endpoint what holds for all of them.
	tellingPace = 20 * time.Millisecond
)

// pacer gives each resource its turn, so that neither many of them nor a restart make a burst of what is done for each. What it holds
// is worth nothing after a restart: every resource then books a turn again.
type pacer struct {
	pace   time.Duration
	mu     sync.Mutex
	last   map[string]time.Time    // by lane: the last turn given
	booked map[types.UID]time.Time // by resource: the turn it waits for
}

func newPacer(pace time.Duration) *pacer {
	return &pacer{pace: pace, last: map[string]time.Time{}, booked: map[types.UID]time.Time{}}
}

// wait returns how long a resource has to wait for its turn, 0 if it is now. A turn that has come is used up.
func (p *pacer) wait(lane string, resource types.UID, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	turn, waits := p.booked[resource]
	if !waits {
		turn = now
		if next := p.last[lane].Add(p.pace); next.After(now) {
			turn = next
		}
		p.last[lane] = turn
	}
	if turn.After(now) {
		p.booked[resource] = turn
		return turn.Sub(now)
	}
	delete(p.booked, resource)
	return 0
}

// now gives a resource its turn at once: somebody asked for it, or there is something new to see.
func (p *pacer) now(resource types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.booked[resource] = time.Time{}
}

// forget drops what is booked for a resource that is gone.
func (p *pacer) forget(resource types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.booked, resource)
}
