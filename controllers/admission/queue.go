// SPDX-License-Identifier: Apache-2.0

// Package admission decides when a request to a server may be sent: no more at the same time than a limit, none while the server is down
// or has asked to be left alone, and routine ones at a pace. Whoever has to wait costs neither a worker nor a timer of its own: another reconcile is
// dispatched for it when it is granted. What is held here is worth nothing after a restart: everybody asks anew.
package admission

import (
	"cmp"
	"container/list"
	"sync"
	"time"
)

// Dispatch has a request reconciled after a time.
type Dispatch[R comparable] func(request R, after time.Duration)

// Queues hold the requests that wait for servers, a queue for each.
type Queues[S, R comparable] struct {
	mu       sync.Mutex
	dispatch Dispatch[R]
	queues   map[S]*queue
	// waiting are all that wait in some queue, each in one.
	waiting map[R]*waiter[S, R]
	// granted were dequeued and dispatched, with a slot reserved for them until their reconcile ends.
	granted map[R]*waiter[S, R]
}

// queue is that of one server.
type queue struct {
	inFlight, granted int
	until             time.Time // nothing is sent before
	paced             bool      // until is kept although nobody waits
	// slot are those that wait for a slot; recovery, those that wait until the server is up again.
	slot, recovery line
}

// isIdle says whether nobody needs it. A pause that a server has asked for is no need: whoever asks gets it as the reason.
func (q *queue) isIdle() bool {
	return q.inFlight+q.granted == 0 && q.slot.front() == nil && q.recovery.front() == nil && (!q.paced || !time.Now().Before(q.until))
}

// line holds waiters. Preferred ones go before the rest.
type line struct{ preferred, rest list.List }

func (l *line) of(preferred bool) *list.List {
	if preferred {
		return &l.preferred
	}
	return &l.rest
}

func (l *line) front() *list.Element { return cmp.Or(l.preferred.Front(), l.rest.Front()) }

// Waiter is a request for a slot.
type Waiter[S, R comparable] struct {
	// Request is reconciled again when the slot is granted.
	Request R
	Server  S
	// Limit is how many requests to the server may be in flight.
	Limit int
	// Preferred requests go before the rest. One that is to be sent AtOnce goes before them, and does not wait for the end of a pause.
	Preferred, AtOnce bool
	Now               time.Time
}

type waiter[S, R comparable] struct {
	Waiter[S, R]
	isDown  bool // it waits until the server is up again
	in      *list.List
	element *list.Element
	// onTrial says that it was granted although the server is down.
	onTrial bool
}

// NewQueues returns empty queues. OnDispatch must be called before anybody waits in one.
func NewQueues[S, R comparable]() *Queues[S, R] {
	return &Queues[S, R]{queues: map[S]*queue{}, waiting: map[R]*waiter[S, R]{}, granted: map[R]*waiter[S, R]{}}
}

// OnDispatch says how a granted request is reconciled.
func (q *Queues[S, R]) OnDispatch(dispatch Dispatch[R]) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dispatch = dispatch
}

// Begin must be called when the reconcile of a request begins, and the function it returns when it ends: a grant that was not used is
// then returned, and the next waiter gets it.
func (q *Queues[S, R]) Begin(request R) (end func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	grant := q.granted[request]
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if grant != nil && q.granted[request] == grant {
			q.passOn(grant)
		}
	}
}

// Acquire returns the function that gives the slot back if there is one. Otherwise it returns nil, and for how long the request has
// waited: it is dispatched when it is granted.
func (q *Queues[S, R]) Acquire(w Waiter[S, R]) (release func(), waited time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	in := q.queue(w.Server)
	grant := q.grantAt(w.Server, w.Request)
	isFirst := w.AtOnce || in.slot.preferred.Len() == 0 && (w.Preferred || in.slot.rest.Len() == 0)
	isFree := in.inFlight+in.granted < w.Limit && isFirst
	if in.inFlight < w.Limit && (w.AtOnce || !w.Now.Before(in.until)) && (grant != nil || isFree) {
		q.returnGrant(grant)
		in.inFlight++
		q.withdraw(w.Request)
		q.grantNext(w.Server)
		return func() { q.release(w.Server) }, 0
	}
	at := q.enqueue(w, false)
	q.grantNext(w.Server)
	return nil, w.Now.Sub(at.Now)
}

func (q *Queues[S, R]) release(server S) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue(server).inFlight--
	q.grantNext(server)
}

// pace has a server left alone for an interval, and remembers that for as long.
func (q *Queues[S, R]) pace(server S, interval time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	in := q.queue(server)
	in.until, in.paced = time.Now().Add(interval), true
	time.AfterFunc(interval, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.grantNext(server) // which removes the queue, if nobody waits
	})
}

// Blockage is why a server cannot be asked.
type Blockage struct {
	// IsDown is asked again before the request waits: it does not where the server is up again, as nobody would unblock it.
	IsDown func() bool
	// For is how long the server is to be left alone, if it is not down.
	For time.Duration
}

// Block has a request wait until its server can be asked again. It returns false where it already can.
func (q *Queues[S, R]) Block(w Waiter[S, R], b Blockage) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if b.IsDown != nil && !b.IsDown() { // otherwise Unblock comes after this
		return false
	}
	in := q.queue(w.Server)
	if until := w.Now.Add(b.For); b.IsDown == nil && until.After(in.until) {
		in.until = until
	}
	q.enqueue(w, b.IsDown != nil)
	q.grantNext(w.Server)
	return true
}

// Unblock has those wait for a slot who have waited until the server is up again.
func (q *Queues[S, R]) Unblock(server S) {
	q.mu.Lock()
	defer q.mu.Unlock()
	in := q.queue(server)
	for front := in.recovery.front(); front != nil; front = in.recovery.front() {
		at := front.Value.(*waiter[S, R])
		q.remove(at)
		at.isDown = false
		q.add(at)
	}
	q.grantNext(server)
}

// Try grants a slot, if there is one, to the first of those who wait until the server is up again, to find out whether it is. It returns
// false where nobody waits for that.
func (q *Queues[S, R]) Try(server S) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	in := q.queue(server)
	front := in.recovery.front()
	if front != nil {
		if at := front.Value.(*waiter[S, R]); in.inFlight+in.granted < at.Limit {
			at.onTrial = true
			q.grant(at, 0)
		}
	}
	q.grantNext(server)
	return front != nil
}

// IsOnTrial says whether a request was granted by Try.
func (q *Queues[S, R]) IsOnTrial(request R) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	grant := q.granted[request]
	return grant != nil && grant.onTrial
}

// IsGranted says whether a request is dispatched as its slot is free.
func (q *Queues[S, R]) IsGranted(request R) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.granted[request] != nil
}

// IsWaiting says whether a request waits or is granted, so that a reconcile is dispatched for it anyway.
func (q *Queues[S, R]) IsWaiting(request R) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting[request] != nil || q.granted[request] != nil
}

// Forget takes a request out of its queue that is gone, or needs no slot any more. If it was granted, the next waiter gets the slot.
func (q *Queues[S, R]) Forget(request R) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.withdraw(request)
	if grant := q.granted[request]; grant != nil {
		q.passOn(grant)
	}
}

// grantNext grants as many slots as there are. While the server is to be left alone, it grants one for the time after that, whose
// holder lets the others through then.
func (q *Queues[S, R]) grantNext(server S) {
	in := q.queue(server)
	for front := in.slot.front(); front != nil; front = in.slot.front() {
		w, wait := front.Value.(*waiter[S, R]), max(0, time.Until(in.until))
		if w.AtOnce {
			wait = 0
		}
		if in.inFlight+in.granted >= w.Limit || (wait > 0 && in.granted > 0) {
			break
		}
		q.grant(w, wait)
	}
	if in.isIdle() {
		delete(q.queues, server)
	}
}

// grant reserves a slot for a waiter, and dispatches it.
func (q *Queues[S, R]) grant(w *waiter[S, R], wait time.Duration) {
	q.remove(w)
	q.granted[w.Request] = w
	q.queue(w.Server).granted++
	q.dispatch(w.Request, wait)
}

// enqueue puts a request at the end of its line, or leaves it where it is. One that was granted goes to the front again, unless it was on
// trial: that is another's turn now.
func (q *Queues[S, R]) enqueue(w Waiter[S, R], isDown bool) *waiter[S, R] {
	if at := q.waiting[w.Request]; at != nil {
		if at.Server == w.Server && at.Preferred == w.Preferred && at.AtOnce == w.AtOnce && at.isDown == isDown {
			at.Limit = w.Limit
			return at
		}
		q.withdraw(w.Request)
	}
	at := &waiter[S, R]{Waiter: w, isDown: isDown}
	grant := q.grantAt(w.Server, w.Request)
	if grant != nil {
		at.Now = grant.Now
		q.returnGrant(grant)
	}
	q.add(at)
	if w.AtOnce || grant != nil && !grant.onTrial {
		at.in.MoveToFront(at.element)
	}
	return at
}

// add puts a waiter at the end of its line.
func (q *Queues[S, R]) add(at *waiter[S, R]) {
	in := q.queue(at.Server)
	if at.isDown {
		at.in = in.recovery.of(at.Preferred)
	} else {
		at.in = in.slot.of(at.Preferred)
	}
	at.element = at.in.PushBack(at)
	q.waiting[at.Request] = at
}

// grantAt returns the grant of a request at a server, nil if there is none. A grant for another server is returned: the endpoint
// changed, and that server is no longer needed.
func (q *Queues[S, R]) grantAt(server S, request R) *waiter[S, R] {
	grant := q.granted[request]
	if grant == nil || grant.Server == server {
		return grant
	}
	q.passOn(grant)
	return nil
}

// passOn gives a grant to the next waiter.
func (q *Queues[S, R]) passOn(grant *waiter[S, R]) {
	q.returnGrant(grant)
	q.grantNext(grant.Server)
}

func (q *Queues[S, R]) returnGrant(grant *waiter[S, R]) {
	if grant != nil {
		delete(q.granted, grant.Request)
		q.queue(grant.Server).granted--
	}
}

// withdraw takes a request out of its queue, which may have been held up by it.
func (q *Queues[S, R]) withdraw(request R) {
	if at := q.waiting[request]; at != nil {
		q.remove(at)
		q.grantNext(at.Server)
	}
}

func (q *Queues[S, R]) remove(at *waiter[S, R]) {
	delete(q.waiting, at.Request)
	at.in.Remove(at.element)
}

func (q *Queues[S, R]) queue(server S) *queue {
	in := q.queues[server]
	if in == nil {
		in = &queue{}
		q.queues[server] = in
	}
	return in
}
