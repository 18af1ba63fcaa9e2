// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"sync"
	"time"
)

// Pacer gives turns that are at least an interval apart, in each lane by itself and in the order in which they were asked for. A lane is a
// queue with one slot, which is left alone for the interval after each turn. Nothing is booked ahead: whoever goes away leaves no gap behind.
type Pacer[L, R comparable] struct {
	lanes    *Queues[L, R]
	interval time.Duration

	mu     sync.Mutex
	exempt map[R]bool // they do not wait for their next turn
}

// NewPacer returns a pacer of that interval. OnDispatch must be called before it is used.
func NewPacer[L, R comparable](interval time.Duration) *Pacer[L, R] {
	return &Pacer[L, R]{lanes: NewQueues[L, R](), interval: interval, exempt: map[R]bool{}}
}

// OnDispatch says how a request whose turn comes is reconciled.
func (p *Pacer[L, R]) OnDispatch(dispatch Dispatch[R]) { p.lanes.OnDispatch(dispatch) }

// Begin must be called when the reconcile of a request begins, and the function it returns when it ends: the turn of a request that was
// dispatched, or woken before its turn, and did not ask for it, goes to the next waiter.
func (p *Pacer[L, R]) Begin(request R) (end func()) { return p.lanes.Begin(request) }

// Take says whether it is a request's turn, which is then used up. Otherwise the request waits, and is dispatched when its turn comes.
func (p *Pacer[L, R]) Take(lane L, request R) bool {
	if p.endExemption(request) {
		p.lanes.Forget(request)
		return true
	}
	release, _ := p.lanes.Acquire(Waiter[L, R]{Request: request, Server: lane, Limit: 1, Now: time.Now()})
	if release == nil {
		return false
	}
	p.lanes.pace(lane, p.interval)
	release()
	return true
}

// Exempt lets a request through at once the next time: somebody asked for it, or there is something new to see.
func (p *Pacer[L, R]) Exempt(request R) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.exempt[request] = true
}

func (p *Pacer[L, R]) endExemption(request R) (was bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was = p.exempt[request]
	delete(p.exempt, request)
	return was
}

// Forget drops what is known of a request: it is gone, or no longer in need of a turn. If it was its turn, the next one gets it.
func (p *Pacer[L, R]) Forget(request R) {
	p.endExemption(request)
	p.lanes.Forget(request)
}
