// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/hack/internal/play"
	"github.com/reporter-operator/reporter-operator/hack/internal/words"
	"github.com/reporter-operator/reporter-operator/internal/testenv"
)

// Where something is seen.
const (
	inKubernetes = "Kubernetes"
	inReporter   = "Reporter"
)

// timeline prints what is seen of the world, a line for each change, and keeps account of it. Calls that repeat themselves
// become one line.
type timeline struct {
	screen *screen
	// alive says whether a connection is alive in the Reporter that has it.
	alive func(connectionID string) bool

	mu       sync.Mutex
	changed  chan struct{}          // closed, and made anew, with each thing seen
	heading  string                 // of the first column, until it is printed
	stamp    func(time.Time) string // writes the first column; nothing is printed while it is nil
	first    time.Time              // when the first thing was seen since begin
	paused   bool
	pending  []line
	last     map[string]*repeated // by resource: the last call about it
	accounts map[string]*account  // by connectionID
}

// repeated is a call, and how often it came again since it was printed.
type repeated struct {
	what  string
	again int
}

// account is what was seen of one ReporterConnection and its connection.
type account struct {
	name          string // of the resource
	existed       bool   // Reporter had the connection at some time
	gone          time.Time
	aliveWhenGone bool
	held          []string // the reasons its deletion was held for, in order
	calls         []play.Exchange
}

func newTimeline(s *screen, alive func(string) bool) *timeline {
	return &timeline{screen: s, alive: alive, changed: make(chan struct{}), last: map[string]*repeated{}, accounts: map[string]*account{}}
}

// follow watches the world's resources until the context ends. What is there already is taken for known.
func (t *timeline) follow(ctx context.Context, world *testenv.World) error {
	config, err := clientcmd.BuildConfigFromFlags("", world.Kubeconfig)
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	watches, err := cache.New(config, cache.Options{
		Scheme: world.Scheme(),
		// It tries again by itself, and would tell of it on stderr.
		DefaultWatchErrorHandler: func(context.Context, *toolscache.Reflector, error) {},
	})
	if err != nil {
		return fmt.Errorf("watching the API server: %w", err)
	}
	go watches.Start(ctx) //nolint:errcheck // fails only when started twice
	for _, kind := range []client.Object{&v1alpha1.ReporterEndpoint{}, &v1alpha1.ReporterConnection{}, &eventsv1.Event{}} {
		informer, err := watches.GetInformer(ctx, kind)
		if err != nil {
			return fmt.Errorf("watching the API server: %w", err)
		}
		handler, err := informer.AddEventHandler(toolscache.ResourceEventHandlerDetailedFuncs{
			AddFunc:    func(object any, isInInitialList bool) { t.seen(nil, object, isInInitialList) },
			UpdateFunc: func(before, after any) { t.seen(before, after, false) },
			DeleteFunc: t.vanished,
		})
		if err != nil {
			return fmt.Errorf("watching the API server: %w", err)
		}
		if !toolscache.WaitForCacheSync(ctx.Done(), handler.HasSynced) {
			return context.Cause(ctx)
		}
	}
	return nil
}

// begin starts printing. The calls seen so far are forgotten.
func (t *timeline) begin(heading string, stamp func(time.Time) string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heading, t.stamp = heading, stamp
	for _, a := range t.accounts {
		a.calls = nil
	}
	clear(t.last)
}

// end stops printing, once what was kept back is told.
func (t *timeline) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for who := range t.last {
		t.tellRepeated(who, time.Now())
	}
	t.stamp = nil
}

// isOn says whether there is a timeline on the screen.
func (t *timeline) isOn() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stamp != nil
}

// sinceFirst is how long after the first thing seen a time is.
func (t *timeline) sinceFirst(at time.Time) time.Duration { return at.Sub(t.first) }

// waitUntil waits until so much time has passed since the first thing seen.
func (t *timeline) waitUntil(ctx context.Context, d time.Duration) error {
	t.mu.Lock()
	left := time.Until(t.first.Add(d))
	t.mu.Unlock()
	select {
	case <-time.After(left):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// pause has lines wait while something else is printed, until resume.
func (t *timeline) pause() (resume func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.paused = true
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.paused = false
		pending := t.pending
		t.pending = nil
		for _, l := range pending {
			t.put(l)
		}
	}
}

// await waits for something to become true of what was seen.
func (t *timeline) await(ctx context.Context, done func() bool) error {
	for {
		t.mu.Lock()
		isDone, changed := done(), t.changed
		t.mu.Unlock()
		if isDone {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// account returns what was seen of a connection; the caller holds the lock.
func (t *timeline) account(connectionID string) *account {
	a := t.accounts[connectionID]
	if a == nil {
		a = &account{name: connectionID[:min(8, len(connectionID))] + "…"}
		t.accounts[connectionID] = a
	}
	return a
}

// note tells what the demo itself does in a Reporter.
func (t *timeline) note(who, what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tell(line{who: who, where: inReporter, what: what, tone: strong})
}

// tell prints a line now or later, and before it what was kept back about the same resource; the caller holds the lock.
func (t *timeline) tell(l line) {
	l.at = t.happened()
	if t.stamp == nil {
		return
	}
	t.tellRepeated(l.who, l.at)
	t.put(l)
}

// tellRepeated prints how often the last call about a resource was repeated; the caller holds the lock.
func (t *timeline) tellRepeated(who string, at time.Time) {
	r := t.last[who]
	if r == nil || r.again == 0 || t.stamp == nil {
		return
	}
	t.put(line{at: at, who: who, where: inReporter, what: fmt.Sprintf("%s, %s until now", r.what, words.Plural(r.again, "more time")), tone: waiting})
	r.again = 0
}

// happened wakes who awaits something and returns the time; the caller holds the lock.
func (t *timeline) happened() time.Time {
	close(t.changed)
	t.changed = make(chan struct{})
	now := time.Now()
	if t.stamp != nil && t.first.IsZero() {
		t.first = now
	}
	return now
}

func (t *timeline) put(l line) {
	if t.paused {
		t.pending = append(t.pending, l)
		return
	}
	if t.heading != "" {
		t.screen.timelineHead(t.heading)
		t.heading = ""
	}
	t.screen.timelineLine(t.stamp(l.at), l)
}

// call takes note of a request that the Reporter of an endpoint has answered.
func (t *timeline) call(endpoint string, e play.Exchange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	path, _, _ := strings.Cut(e.URI, "?")
	who, what := "rep/"+endpoint, e.Method+" "+path
	id, aboutOne := strings.CutPrefix(path, "/v1/management/connections/")
	switch {
	case aboutOne:
		a := t.account(id)
		a.calls = append(a.calls, e)
		who, what = a.name, e.Method
	case strings.HasPrefix(path, "/_play/"):
		who = "you"
	}
	what = strings.TrimSpace(what + " → " + e.Answer + " " + e.Title)
	if r := t.last[who]; r != nil && r.what == what {
		if aboutOne { // how often the operator looks whether Reporter is there is of no interest
			r.again++
		}
		t.happened()
		return
	}
	tone := waiting
	if strings.HasPrefix(e.Answer, "2") {
		tone = good
	}
	t.tell(line{who: who, where: inReporter, what: what, tone: tone})
	t.last[who] = &repeated{what: what}
}

// seen takes note of an object that appears, or changes.
func (t *timeline) seen(before, after any, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch after := after.(type) {
	case *v1alpha1.ReporterConnection:
		t.seenConnection(before, after)
	case *v1alpha1.ReporterEndpoint:
		var was []metav1.Condition
		if before, ok := before.(*v1alpha1.ReporterEndpoint); ok {
			was = before.Status.Conditions
		}
		if ready := news(was, after.Status.Conditions, v1alpha1.ConditionReady); ready != nil && !known {
			t.tell(conditionLine("rep/"+after.Name, ready))
		}
	case *eventsv1.Event:
		if after.Regarding.Kind == "ReporterConnection" && !known {
			t.tell(line{who: after.Regarding.Name, where: inKubernetes, what: fmt.Sprintf("%s event %s: %s", after.Type, after.Reason, after.Note)})
		}
	}
}

func (t *timeline) seenConnection(before any, after *v1alpha1.ReporterConnection) {
	a := t.account(after.Spec.ConnectionID)
	a.name, a.existed = after.Name, a.existed || t.alive(after.Spec.ConnectionID)
	var was []metav1.Condition
	if before, ok := before.(*v1alpha1.ReporterConnection); ok {
		was = before.Status.Conditions
	}
	if after.DeletionTimestamp.IsZero() {
		if ready := news(was, after.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
			t.tell(conditionLine(after.Name, ready))
		}
		return
	}
	t.happened()
	if blocked := news(was, after.Status.Conditions, v1alpha1.ConditionDeletionBlocked); blocked != nil {
		a.held = append(a.held, blocked.Reason)
		t.tell(conditionLine(after.Name, blocked))
	}
}

// news returns a condition that says something else than before.
func news(before, after []metav1.Condition, conditionType string) *metav1.Condition {
	is, was := apimeta.FindStatusCondition(after, conditionType), apimeta.FindStatusCondition(before, conditionType)
	if is == nil || was != nil && is.Status == was.Status && is.Reason == was.Reason && is.Message == was.Message {
		return nil
	}
	return is
}

func conditionLine(who string, c *metav1.Condition) line {
	tone := waiting
	if c.Type == v1alpha1.ConditionReady && c.Status == metav1.ConditionTrue {
		tone = good
	}
	return line{who: who, where: inKubernetes, what: fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message), tone: tone}
}

// vanished takes note of an object that is gone.
func (t *timeline) vanished(object any) {
	if unknown, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	rc, ok := object.(*v1alpha1.ReporterConnection)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.account(rc.Spec.ConnectionID)
	a.gone, a.aliveWhenGone = time.Now(), t.alive(rc.Spec.ConnectionID)
	switch {
	case a.aliveWhenGone:
		t.tell(line{who: rc.Name, where: inKubernetes, what: "gone; its connection stays alive in Reporter", tone: waiting})
	case a.existed:
		t.tell(line{who: rc.Name, where: inKubernetes, what: "gone; its connection is soft-deleted in Reporter", tone: good})
	default:
		t.tell(line{who: rc.Name, where: inKubernetes, what: "gone; Reporter never had its connection", tone: waiting})
	}
}
