// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"container/list"
	"maps"
	"sync"
	"time"
)

// Pacer gives turns that are at least an interval apart, in each lane by itself and in the order in which they were asked for. Nothing is
// booked ahead: whoever goes away leaves no gap behind.
type Pacer[L, R comparable] struct {
	interval time.Duration
	mu       sync.Mutex
	dispatch Dispatch[R]
	lanes    map[L]*lane[L, R]
	swept    time.Time // when the lanes that nobody needs were last removed
	waiting  map[R]*turn[L, R]
	// exempt do not wait for their next turn.
	exempt map[R]bool
}

type lane[L, R comparable] struct {
	last    time.Time   // the last turn that was taken
	granted *turn[L, R] // was dispatched for the time due, and has not taken its turn yet
	due     time.Time
	waiters list.List // of *turn
}

type turn[L, R comparable] struct {
	lane    L
	request R
	element *list.Element // nil while it is granted
}

// NewPacer returns a pacer of that interval. OnDispatch must be called before it is used.
func NewPacer[L, R comparable](interval time.Duration) *Pacer[L, R] {
	return &Pacer[L, R]{interval: interval, lanes: map[L]*lane[L, R]{}, waiting: map[R]*turn[L, R]{}, exempt: map[R]bool{}}
}

// OnDispatch says how a request whose turn comes is reconciled.
func (p *Pacer[L, R]) OnDispatch(dispatch Dispatch[R]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dispatch = dispatch
}

// Begin must be called when the reconcile of a request begins, and the function it returns when it ends: a turn that had come by then, and
// was not taken, goes to the next waiter.
func (p *Pacer[L, R]) Begin(request R, now func() time.Time) (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.waiting[request]
	if at == nil || p.lanes[at.lane].granted != at || now().Before(p.lanes[at.lane].due) {
		return func() {}
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.waiting[request] == at {
			p.withdraw(at, now())
		}
	}
}

// Take says whether it is a request's turn, which is then used up. Otherwise the request waits, and is dispatched when its turn comes.
func (p *Pacer[L, R]) Take(in L, request R, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.exempt[request] {
		p.leave(request, now)
		return true
	}
	at := p.waiting[request]
	if at != nil && at.lane != in {
		p.leave(request, now)
		at = nil
	}
	l := p.lane(in, now)
	isDue := !now.Before(l.last.Add(p.interval))
	switch {
	case at != nil && l.granted == at && !now.Before(l.due):
		l.last = now
		p.leave(request, now)
		return true
	case at == nil && l.granted == nil && l.waiters.Len() == 0 && isDue:
		l.last = now
		return true
	case at != nil && l.granted == at:
		// Something else woke the request, and took what was dispatched for its turn out of the queue: without another, it would keep
		// its turn, and all who wait behind it, until it is woken again.
		p.dispatch(request, l.due.Sub(now))
		return false
	case at == nil:
		at = &turn[L, R]{lane: in, request: request}
		at.element = l.waiters.PushBack(at)
		p.waiting[request] = at
	}
	p.grantNext(l, now)
	return false
}

// Exempt lets a request through at once the next time: somebody asked for it, or there is something new to see.
func (p *Pacer[L, R]) Exempt(request R) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.exempt[request] = true
}

// Forget drops what is known of a request: it is gone, or no longer in need of a turn. If it was its turn, the next one gets it.
func (p *Pacer[L, R]) Forget(request R, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leave(request, now)
	p.sweep(now)
}

// leave takes a request out of its lane, and its exemption with it.
func (p *Pacer[L, R]) leave(request R, now time.Time) {
	delete(p.exempt, request)
	if at := p.waiting[request]; at != nil {
		p.withdraw(at, now)
	}
}

// withdraw takes a turn out of its lane, whose next waiter gets it if it was granted.
func (p *Pacer[L, R]) withdraw(at *turn[L, R], now time.Time) {
	delete(p.waiting, at.request)
	l := p.lanes[at.lane]
	if at.element != nil {
		l.waiters.Remove(at.element)
		return
	}
	l.granted = nil
	p.grantNext(l, now)
}

// grantNext dispatches the next waiter for when its turn comes.
func (p *Pacer[L, R]) grantNext(l *lane[L, R], now time.Time) {
	front := l.waiters.Front()
	if l.granted != nil || front == nil {
		return
	}
	next := l.waiters.Remove(front).(*turn[L, R])
	next.element, l.granted = nil, next
	if l.due = l.last.Add(p.interval); l.due.Before(now) {
		l.due = now
	}
	p.dispatch(next.request, l.due.Sub(now))
}

func (p *Pacer[L, R]) lane(name L, now time.Time) *lane[L, R] {
	p.sweep(now)
	l := p.lanes[name]
	if l == nil {
		l = &lane[L, R]{}
		p.lanes[name] = l
	}
	return l
}

// sweep removes the lanes that nobody needs any more, once an interval.
func (p *Pacer[L, R]) sweep(now time.Time) {
	if now.Before(p.swept.Add(p.interval)) {
		return
	}
	p.swept = now
	maps.DeleteFunc(p.lanes, func(_ L, l *lane[L, R]) bool {
		return l.granted == nil && l.waiters.Len() == 0 && !now.Before(l.last.Add(p.interval))
	})
}
