// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
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

	mu        sync.Mutex
	changed   chan struct{}          // closed, and made anew, with each thing seen
	heading   string                 // of the first column, until it is printed
	stamp     func(time.Time) string // writes the first column; nothing is printed while it is nil
	paused    bool
	pending   []line
	last      map[string]*repeated                    // by resource: the last call about it
	resources map[string]*v1alpha1.ReporterConnection // by name: as they are now
	names     map[string]string                       // of resources, by the ids of the connections that they have, or had
	scene     scene
}

// repeated is a call, and how often it came again since it was printed.
type repeated struct {
	what  string
	again int
}

// scene is what was seen since begin.
type scene struct {
	first time.Time // when the first thing was seen
	took  time.Duration
	said  []string        // the reasons that conditions gave, in order
	calls []play.Exchange // the operator's, of Reporter
}

func newTimeline(s *screen, alive func(string) bool) *timeline {
	return &timeline{screen: s, alive: alive, changed: make(chan struct{}), last: map[string]*repeated{},
		resources: map[string]*v1alpha1.ReporterConnection{}, names: map[string]string{}}
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

// begin starts printing. What was seen so far is forgotten.
func (t *timeline) begin(heading string, stamp func(time.Time) string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heading, t.stamp, t.scene = heading, stamp, scene{}
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

// seenInScene is what was seen since begin.
func (t *timeline) seenInScene() scene {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.scene
}

// resource is a ReporterConnection as it is now, nil if there is none of the name.
func (t *timeline) resource(name string) *v1alpha1.ReporterConnection {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.resources[name]
}

// sinceFirst is how long after the first thing seen a time is.
func (t *timeline) sinceFirst(at time.Time) time.Duration { return at.Sub(t.scene.first) }

// waitUntil waits until so much time has passed since the first thing seen.
func (t *timeline) waitUntil(ctx context.Context, d time.Duration) error {
	t.mu.Lock()
	left := time.Until(t.scene.first.Add(d))
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
	if t.stamp != nil && t.scene.first.IsZero() {
		t.scene.first = now
	}
	t.scene.took = now.Sub(t.scene.first)
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

// operator is how the operator's client names itself.
const operator = "reporter-operator"

// call takes note of a request that the Reporter of an endpoint has answered.
func (t *timeline) call(endpoint string, e play.Exchange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	path, _, _ := strings.Cut(e.URI, "?")
	who, what := "rep/"+endpoint, e.Method+" "+strings.TrimPrefix(path, "/v1/management")
	id, aboutOne := strings.CutPrefix(path, "/v1/management/connections/")
	id, rest, _ := strings.Cut(id, "/")
	name := cmp.Or(t.names[id], id[:min(8, len(id))]+"…")
	switch {
	case e.Agent != operator:
		who = "you"
		if aboutOne {
			what = e.Method + " " + name
		}
	case aboutOne:
		who, what = name, strings.TrimSpace(e.Method+" "+rest)
	}
	if e.Agent == operator {
		t.scene.calls = append(t.scene.calls, e)
		if aboutOne && e.Method == http.MethodGet && e.Answer == "200" { // there is one before each change
			t.happened()
			return
		}
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

// timelineConditions are the conditions of a live resource whose changes are shown. Stalled says the same as Ready.
var timelineConditions = []string{v1alpha1.ConditionReady, v1alpha1.ConditionDatabaseReachable, v1alpha1.ConditionDuplicateInReporter}

func (t *timeline) seenConnection(before any, after *v1alpha1.ReporterConnection) {
	t.resources[after.Name] = after
	if id := after.ConnectionID(); id != "" {
		t.names[id] = after.Name
	}
	var was []metav1.Condition
	if before, ok := before.(*v1alpha1.ReporterConnection); ok {
		was = before.Status.Conditions
	}
	types := timelineConditions
	if !after.DeletionTimestamp.IsZero() {
		types = []string{v1alpha1.ConditionDeletionBlocked}
	}
	t.happened()
	for _, conditionType := range types {
		if c := news(was, after.Status.Conditions, conditionType); c != nil {
			t.scene.said = append(t.scene.said, c.Reason)
			t.tell(conditionLine(after.Name, c))
		}
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
	delete(t.resources, rc.Name)
	id := rc.ConnectionID()
	switch {
	case id == "":
		t.tell(line{who: rc.Name, where: inKubernetes, what: "gone; it had no connection", tone: good})
	case t.alive(id):
		t.tell(line{who: rc.Name, where: inKubernetes, what: "gone; its connection stays alive in Reporter", tone: waiting})
	default:
		t.tell(line{who: rc.Name, where: inKubernetes, what: "gone; its connection is soft-deleted in Reporter", tone: good})
	}
}

// isKept says whether a resource says that its connection is as it is described now, and that Reporter reaches the database with that.
func isKept(rc *v1alpha1.ReporterConnection) bool {
	if rc == nil {
		return false
	}
	ready := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == rc.Generation &&
		apimeta.IsStatusConditionTrue(rc.Status.Conditions, v1alpha1.ConditionDatabaseReachable)
}
