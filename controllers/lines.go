// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"container/list"
	"context"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// crew bounds how many passes work at the same time. Who waits for an answer of Reporter leaves it meanwhile, so that one that hangs
// keeps nobody from working on the others.
type crew interface {
	join(context.Context) // waits for a place, even if the context has ended
	leave()
}

// places is a crew of as many as it has room for.
type places chan struct{}

func (p places) join(context.Context) { p <- struct{}{} }
func (p places) leave()               { <-p }

// lines lets no more requests to a Reporter be under way than its endpoints allow, and none while it does not answer or has asked to be
// left alone. Who finds no room stands in line, which costs neither a worker nor a look now and then, and is called when it is their
// turn. What it holds is worth nothing after a restart: all line up anew.
type lines struct {
	mu         sync.Mutex
	queue      queue // to call into
	byReporter map[reporter.Identity]*line
	// places are those of all who stand in some line, each in one.
	places map[reconcile.Request]*place
	// called are those whose turn it is, until the pass is over that is made for it. Their room is kept for them.
	called map[reconcile.Request]*place
}

// line is that of one Reporter. Deletions go before looks at what lives.
type line struct {
	underWay, called int
	down             bool      // until recovered
	until            time.Time // it is left alone
	deleting, live   list.List // of *place
}

// place is where somebody stands, or stood before they were called.
type place struct {
	request  reconcile.Request
	reporter reporter.Identity
	room     int // for how many requests at the same time, as their endpoint says
	deleting bool
	since    time.Time
	element  *list.Element
}

// calledPriority is above those of the rest: there are never more of these than there is room for, and it is kept for them.
const calledPriority = 1

func newLines() *lines {
	return &lines{byReporter: map[reporter.Identity]*line{}, places: map[reconcile.Request]*place{}, called: map[reconcile.Request]*place{}}
}

// callInto says where to call whose turn it is. It must be called before anybody stands in line.
func (l *lines) callInto(q queue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = q
}

// begin must be called at the beginning of each pass, and the function it returns at the end: whose turn it was, and did not enter, makes
// room for the next.
func (l *lines) begin(request reconcile.Request) (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	turn := l.called[request]
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if turn != nil && l.called[request] == turn {
			l.endTurn(turn)
			l.advance(turn.reporter)
		}
	}
}

// enter says whether there is room for one more request; then leave must be called after it. Otherwise another pass is made when it
// is its turn, and stood is for how long it has waited for that.
func (l *lines) enter(p place) (ok bool, stood time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	in := l.line(p.reporter)
	in.down = false // whoever wants to enter has just seen that it is not
	turn := l.turnAt(p.reporter, p.request)
	isFree := in.underWay+in.called < p.room && in.deleting.Len() == 0 && (p.deleting || in.live.Len() == 0)
	if in.underWay < p.room && !p.since.Before(in.until) && (turn != nil || isFree) {
		l.endTurn(turn)
		in.underWay++
		l.withdraw(p.request)
		l.advance(p.reporter)
		return true, 0
	}
	at := l.stand(p)
	l.advance(p.reporter)
	return false, p.since.Sub(at.since)
}

// leave makes room for the next.
func (l *lines) leave(to reporter.Identity) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line(to).underWay--
	l.advance(to)
}

// await has another pass made when a Reporter answers again, in its turn. It says false where it does so already.
func (l *lines) await(p place, isDown func() bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !isDown() { // otherwise, recovered will come after this
		return false
	}
	l.stand(p)
	l.line(p.reporter).down = true
	return true
}

// postpone has another pass made after the time until which a Reporter is to be left alone, in its turn.
func (l *lines) postpone(p place, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	in := l.line(p.reporter)
	if until := p.since.Add(wait); until.After(in.until) {
		in.until = until
	}
	l.stand(p)
	l.advance(p.reporter)
}

// recovered calls those who stand in line for a Reporter that answers again.
func (l *lines) recovered(to reporter.Identity) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line(to).down = false
	l.advance(to)
}

// stands says whether somebody is in line or called, so that a pass is made for them anyway.
func (l *lines) stands(request reconcile.Request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.places[request] != nil || l.called[request] != nil
}

// forget takes somebody who is gone out of the line.
func (l *lines) forget(request reconcile.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.withdraw(request)
}

// advance calls as many as there is room for. While the Reporter is to be left alone, it calls one for the time after that, who makes
// room for the others then.
func (l *lines) advance(to reporter.Identity) {
	in := l.line(to)
	for !in.down {
		next := in.deleting.Front()
		if next == nil {
			next = in.live.Front()
		}
		if next == nil {
			break
		}
		p, wait := next.Value.(*place), max(0, time.Until(in.until))
		if in.underWay+in.called >= p.room || (wait > 0 && in.called > 0) {
			break
		}
		l.remove(p.request)
		l.called[p.request] = p
		in.called++
		enqueueAt(l.queue, p.request, calledPriority, wait)
	}
	if in.underWay+in.called+in.deleting.Len()+in.live.Len() == 0 && time.Until(in.until) <= 0 {
		delete(l.byReporter, to)
	}
}

// stand puts somebody at the end of a line, or leaves them where they are. Whose turn it was goes to the front again.
func (l *lines) stand(p place) *place {
	if at := l.places[p.request]; at != nil {
		if at.reporter == p.reporter && at.deleting == p.deleting {
			at.room = p.room
			return at
		}
		l.withdraw(p.request)
	}
	in := l.line(p.reporter)
	queue := &in.live
	if p.deleting {
		queue = &in.deleting
	}
	at := &p
	if turn := l.turnAt(p.reporter, p.request); turn != nil {
		l.endTurn(turn)
		at.since, at.element = turn.since, queue.PushFront(at)
	} else {
		at.element = queue.PushBack(at)
	}
	l.places[p.request] = at
	return at
}

// turnAt returns the place of whose turn it is at a Reporter, nil if it is not. Whose turn it is at another has changed over, and no
// longer needs that one.
func (l *lines) turnAt(to reporter.Identity, request reconcile.Request) *place {
	turn := l.called[request]
	if turn == nil || turn.reporter == to {
		return turn
	}
	l.endTurn(turn)
	l.advance(turn.reporter)
	return nil
}

func (l *lines) endTurn(turn *place) {
	if turn != nil {
		delete(l.called, turn.request)
		l.line(turn.reporter).called--
	}
}

// withdraw takes somebody out of their line, which may have been held up by them.
func (l *lines) withdraw(request reconcile.Request) {
	if at := l.places[request]; at != nil {
		l.remove(request)
		l.advance(at.reporter)
	}
}

func (l *lines) remove(request reconcile.Request) {
	at := l.places[request]
	if at == nil {
		return
	}
	delete(l.places, request)
	in := l.line(at.reporter)
	if at.deleting {
		in.deleting.Remove(at.element)
	} else {
		in.live.Remove(at.element)
	}
}

func (l *lines) line(of reporter.Identity) *line {
	in := l.byReporter[of]
	if in == nil {
		in = &line{}
		l.byReporter[of] = in
	}
	return in
}
