// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"reflect"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// instance is one process of the operator: the real reconcilers and event handlers over a cache of its own, which lags behind.
type instance struct {
	h    *history
	name string
	// dead processes have no effect any more: whatever they still call fails at once.
	dead  bool
	began time.Time
	// aborted is why a process has asked to be ended, nil while it has not.
	aborted error
	// paused processes stand still; what they sent before goes its way.
	paused bool

	// cutOff are the kinds whose watches ended with an API server that was restored: nothing comes until they are listed anew.
	cutOff      map[string]bool
	seen        map[string]int // by kind: how many of the API server's changes the cache has seen
	cache       map[string]map[client.ObjectKey]client.Object
	controllers []*simulatedController
}

// simulatedController is a controller of an instance, with what its event handlers have not been told yet.
type simulatedController struct {
	controllers.Controller
	i     *instance
	queue *simulatedQueue
	// untold are, for each source, the notifications on their way. A real informer tells its handlers after it changed the cache, each
	// in its own time.
	untold map[string][]func()
	busy   int
}

// pass is one run of a Reconcile.
type pass struct {
	controller *simulatedController
	request    reconcile.Request
	revision   int64 // of the API server then
	// heard is when the pass last had an answer of Reporter or the Access Manager, or began.
	heard time.Time
	// restores is how often the API server had been restored then, and cutOff says that not all watches had shown that yet.
	restores int
	cutOff   bool
	// rc is the ReporterConnection that the pass has read.
	rc *v1alpha1.ReporterConnection
	// looked says that the pass has asked Reporter to show the connection.
	looked bool
	// answers are Reporter's own, by method, as far as they arrived.
	answers map[string]int
	// seen is how much of the changes the cache had seen when the pass began.
	seen map[string]int
}

type passKey struct{}

func (p *pass) String() string {
	return fmt.Sprintf("%s %s %s", p.controller.i.name, p.controller.Name, p.request)
}

func newInstance(h *history, name string) *instance {
	i := &instance{h: h, name: name, began: time.Now(), cutOff: map[string]bool{}, seen: map[string]int{}, cache: map[string]map[client.ObjectKey]client.Object{}}
	env := controllers.Environment{Client: &simulatedClient{i: i, cached: true}, Live: &simulatedClient{i: i}, Events: recorder{i}, Random: h.random,
		RequestCheck: func(endpoint *v1alpha1.ReporterEndpoint) {
			h.mu.Lock()
			defer h.mu.Unlock()
			if !i.dead {
				h.requestedChecks = append(h.requestedChecks, requestedCheck{i, endpoint})
			}
		},
		GoOn:       i.goOn,
		Pool:       &reporter.Pool{Network: reporter.Network{InPlace: network{i}, GoOn: i.goOn}},
		ServerTime: func() time.Time { return time.Now().Add(-time.Second) }, // it may be that far behind
		Abort: func(reason error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			i.aborted = reason
		},
	}
	options := controllers.Options{MaxConcurrentReconciles: 8, CheckInterval: time.Hour}
	for _, wired := range controllers.New(env, options) {
		c := &simulatedController{Controller: wired, i: i, untold: map[string][]func(){}, queue: newSimulatedQueue(h, wired.RateLimiter)}
		if wired.OnQueue != nil {
			wired.OnQueue(c.queue)
		}
		i.controllers = append(i.controllers, c)
	}
	// Informers list first, and no worker starts before its handlers have been told of what there is.
	for _, kind := range simulatedKinds {
		i.seen[kind] = len(h.api.changes[kind])
		i.cache[kind] = map[client.ObjectKey]client.Object{}
		var listed []client.Object
		for _, object := range h.api.list(kind) {
			if watched(kind, object) {
				i.cache[kind][client.ObjectKeyFromObject(object)] = object
				listed = append(listed, object)
			}
		}
		for n := range listed { // an informer gives no order to those
			other := n + h.draw(len(listed)-n)
			listed[n], listed[other] = listed[other], listed[n]
		}
		for _, object := range listed {
			i.notify(kind, change{nil, object}, true)
		}
	}
	for _, c := range i.controllers {
		for _, kind := range simulatedKinds {
			for _, tell := range c.untold[kind] {
				tell()
			}
			delete(c.untold, kind)
		}
	}
	return i
}

// watched says whether the cache holds an object: of Secrets, the marked ones alone.
func watched(kind string, object client.Object) bool {
	return object != nil && (kind != secretKind || object.GetLabels()[v1alpha1.CredentialsLabel] != "")
}

// catchUp has the cache see the next change of a kind.
func (i *instance) catchUp(kind string) {
	c := i.h.api.changes[kind][i.seen[kind]]
	i.seen[kind]++
	i.see(kind, c)
}

// relist is what happens when a watch has broken off: the cache jumps to what there is, and what was in between is never seen.
func (i *instance) relist(kind string) {
	i.seen[kind] = len(i.h.api.changes[kind])
	delete(i.cutOff, kind)
	for _, old := range inOrder(i.cache[kind]) {
		if now, found := i.h.api.objects[kind][client.ObjectKeyFromObject(old)]; !found || !watched(kind, now) {
			i.see(kind, change{old, nil})
		}
	}
	for _, object := range i.h.api.list(kind) {
		if watched(kind, object) && i.cache[kind][client.ObjectKeyFromObject(object)] != object {
			i.see(kind, change{object, object})
		}
	}
}

func (i *instance) see(kind string, c change) {
	var key client.ObjectKey
	if c.after != nil {
		key = client.ObjectKeyFromObject(c.after)
	} else {
		key = client.ObjectKeyFromObject(c.before)
	}
	old := i.cache[kind][key]
	switch {
	case watched(kind, c.after):
		i.cache[kind][key] = c.after
		i.notify(kind, change{old, c.after}, false)
	case old != nil:
		delete(i.cache[kind], key)
		last := c.before
		if c.after != nil {
			last = c.after
		}
		i.notify(kind, change{last, nil}, false)
	}
}

// notify puts a change on its way to the handlers.
func (i *instance) notify(kind string, c change, initial bool) {
	for _, controller := range i.controllers {
		tell := controller.teller(kind)
		if tell == nil {
			continue
		}
		controller.untold[kind] = append(controller.untold[kind], func() { tell(c, initial) })
	}
}

func (c *simulatedController) teller(kind string) func(change, bool) {
	ctx := log.IntoContext(context.Background(), logr.New(trails{i: c.i}))
	switch kind {
	case connectionKind:
		return tellerOf(ctx, c.Connections, c.queue)
	case endpointKind:
		return tellerOf(ctx, c.Endpoints, c.queue)
	case secretKind:
		return tellerOf(ctx, c.Secrets, c.queue)
	default:
		tell := tellerOf(ctx, c.Namespaces, c.queue)
		if tell == nil {
			return nil
		}
		return func(ch change, initial bool) { tell(change{metadataOf(ch.before), metadataOf(ch.after)}, initial) }
	}
}

func metadataOf(object client.Object) client.Object {
	if object == nil {
		return nil
	}
	metadata := &metav1.PartialObjectMetadata{}
	metadata.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kindOf(object)))
	copyMetadata(metadata, object)
	return metadata
}

func copyMetadata(to *metav1.PartialObjectMetadata, from client.Object) {
	copied := clone(from)
	to.Name, to.Namespace, to.UID, to.ResourceVersion, to.Generation = copied.GetName(), copied.GetNamespace(), copied.GetUID(), copied.GetResourceVersion(), copied.GetGeneration()
	to.Labels, to.Annotations, to.Finalizers = copied.GetLabels(), copied.GetAnnotations(), copied.GetFinalizers()
	to.CreationTimestamp, to.DeletionTimestamp = copied.GetCreationTimestamp(), copied.GetDeletionTimestamp()
}

func tellerOf[T client.Object](ctx context.Context, h handler.TypedEventHandler[T, reconcile.Request], q *simulatedQueue) func(change, bool) {
	if h == nil {
		return nil
	}
	return func(c change, initial bool) {
		switch {
		case c.before == nil:
			h.Create(ctx, event.TypedCreateEvent[T]{Object: clone(c.after.(T)), IsInInitialList: initial}, q)
		case c.after == nil:
			h.Delete(ctx, event.TypedDeleteEvent[T]{Object: clone(c.before.(T))}, q)
		default:
			h.Update(ctx, event.TypedUpdateEvent[T]{ObjectOld: clone(c.before.(T)), ObjectNew: clone(c.after.(T))}, q)
		}
	}
}

// start has a worker take a request up.
func (c *simulatedController) start(request reconcile.Request) {
	c.queue.take(request)
	c.busy++
	p := &pass{controller: c, request: request, heard: time.Now(), revision: c.i.h.api.revision, restores: c.i.h.restores, cutOff: len(c.i.cutOff) > 0, seen: maps.Clone(c.i.seen), answers: map[string]int{}}
	c.i.h.latest = p
	ctx := context.WithValue(log.IntoContext(context.Background(), logr.Discard()), passKey{}, p)
	go func() {
		var end finished
		defer func() {
			if r := recover(); r != nil {
				end.panicked = fmt.Sprintf("%v\n%s", r, debug.Stack())
			}
			c.i.h.mu.Lock()
			defer c.i.h.mu.Unlock()
			c.i.h.finished = append(c.i.h.finished, end)
		}()
		end.pass = p
		end.result, end.err = c.Reconciler.Reconcile(ctx, request)
	}()
}

// finished is a pass that is over.
type finished struct {
	pass     *pass
	result   reconcile.Result
	err      error
	panicked string
}

// settle does what controller-runtime does with the result of a pass.
func (f finished) settle() {
	c := f.pass.controller
	c.busy--
	c.queue.Done(f.pass.request)
	switch {
	case f.err != nil:
		c.queue.AddRateLimited(f.pass.request)
	case f.result.RequeueAfter > 0:
		c.queue.Forget(f.pass.request)
		c.queue.AddAfter(f.pass.request, f.result.RequeueAfter)
	default:
		c.queue.Forget(f.pass.request)
	}
}

// simulatedQueue is controller-runtime's priority queue, but for who takes the next request, and when: the scheduler says so.
type simulatedQueue struct {
	workqueue.TypedRateLimitingInterface[reconcile.Request] // nil: nobody calls the rest

	h       *history
	items   map[reconcile.Request]*queued
	busy    map[reconcile.Request]bool
	limiter *kube.RateLimiter
}

type queued struct {
	ready time.Time // zero for now
	turn  int       // of all that happened: what came in the same moment is in the order of the names
}

func newSimulatedQueue(h *history, limiter *kube.RateLimiter) *simulatedQueue {
	return &simulatedQueue{h: h, limiter: limiter, items: map[reconcile.Request]*queued{}, busy: map[reconcile.Request]bool{}}
}

var _ priorityqueue.PriorityQueue[reconcile.Request] = &simulatedQueue{}

func (q *simulatedQueue) AddWithOpts(o priorityqueue.AddOpts, requests ...reconcile.Request) {
	q.h.mu.Lock() // the operator calls who is next in a line
	defer q.h.mu.Unlock()
	for _, request := range requests {
		after := o.After
		if o.RateLimited {
			backoff := q.limiter.When(request)
			if after == 0 || backoff < after {
				after = backoff
			}
		}
		ready := time.Time{}
		if after > 0 {
			ready = time.Now().Add(after)
		}
		if item, found := q.items[request]; found {
			if ready.Before(item.ready) {
				item.ready = ready
			}
			continue
		}
		q.items[request] = &queued{ready, q.h.turn}
	}
}

func (q *simulatedQueue) Add(request reconcile.Request) {
	q.AddWithOpts(priorityqueue.AddOpts{}, request)
}

func (q *simulatedQueue) AddAfter(request reconcile.Request, after time.Duration) {
	q.AddWithOpts(priorityqueue.AddOpts{After: after}, request)
}

func (q *simulatedQueue) AddRateLimited(request reconcile.Request) {
	q.AddWithOpts(priorityqueue.AddOpts{RateLimited: true}, request)
}

func (q *simulatedQueue) GetWithPriority() (reconcile.Request, int, bool) {
	panic("the scheduler takes")
}
func (q *simulatedQueue) Forget(request reconcile.Request) { q.limiter.Forget(request) }
func (q *simulatedQueue) Done(request reconcile.Request)   { delete(q.busy, request) }

func (q *simulatedQueue) take(request reconcile.Request) {
	delete(q.items, request)
	q.busy[request] = true
}

// ready lists what a worker could take up now, in the order in which it came.
func (q *simulatedQueue) ready(now time.Time) []reconcile.Request {
	var requests []reconcile.Request
	for request, item := range q.items {
		if !item.ready.After(now) && !q.busy[request] {
			requests = append(requests, request)
		}
	}
	slices.SortFunc(requests, func(a, b reconcile.Request) int {
		return cmp.Or(q.items[a].turn-q.items[b].turn, cmp.Compare(a.String(), b.String()))
	})
	return requests
}

// call is one request of the operator's, which waits for the scheduler: first to be carried out, then to be answered.
type call struct {
	i     *instance
	pass  *pass // nil for what no single pass asked for
	what  string
	local bool // nothing can go wrong, as with the cache
	write bool
	http  bool
	// method, to and id say what an HTTP request is about; at, when it was sent.
	method string
	to     place
	id     string
	at     time.Time
	body   string
	act    func() (any, error)

	fresh     bool // not looked at by the scheduler yet
	acted     bool
	hangs     bool // it is never answered
	abandoned bool // nobody waits for the answer any more
	value     any
	err       error
	resume    chan struct{}
}

var errDead = errors.New("the process has ended")

// do has the scheduler carry a call out. It returns early, with the context's error, where the caller does not wait any longer.
func (i *instance) do(ctx context.Context, c *call) (any, error) {
	// Who has woken by the clock alone reads and writes nothing before this lock hands over what the scheduler has done.
	i.h.mu.Lock()
	dead := i.dead
	i.h.mu.Unlock()
	if dead {
		return nil, errDead
	}
	c.i = i
	c.pass, _ = ctx.Value(passKey{}).(*pass)
	i.h.park(c)
	select {
	case <-c.resume:
		return c.value, c.err
	case <-ctx.Done():
	}
	// Many may time out in the same moment. They go on one by one.
	late := &call{i: i, pass: c.pass, what: c.what + " is given up", body: c.body, local: true, act: func() (any, error) { return nil, ctx.Err() }}
	i.h.mu.Lock()
	c.abandoned = true
	i.h.mu.Unlock()
	i.h.park(late)
	<-late.resume
	return late.value, late.err
}

// goOn lets those who have waited for the same thing go on one by one.
func (i *instance) goOn(ctx context.Context) {
	_, err := i.do(ctx, &call{what: "goes on", local: true, act: func() (any, error) { return nil, nil }})
	_ = err // whoever has died or given up notices by itself
}

// park leaves a call to the scheduler.
func (h *history) park(c *call) {
	c.fresh, c.at, c.resume = true, time.Now(), make(chan struct{})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, c)
}

// simulatedClient reads from an instance's cache, or from the API server, and writes to that.
type simulatedClient struct {
	client.Client // nil: nobody calls the rest
	i             *instance
	cached        bool
}

func (c *simulatedClient) Get(ctx context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	kind := kindOf(object)
	found, err := c.read(ctx, "get "+kind+" "+key.String(), func() (any, error) {
		if !c.cached {
			return c.i.h.api.get(kind, key)
		}
		found, is := c.i.cache[kind][key]
		if !is {
			return nil, apierrors.NewNotFound(schema.GroupResource{Resource: kind}, key.Name)
		}
		return found, nil
	})
	if err != nil {
		return err
	}
	read := found.(client.Object)
	if p, is := ctx.Value(passKey{}).(*pass); is && kind == connectionKind && p.rc == nil && p.request.NamespacedName == key {
		p.rc, _ = read.(*v1alpha1.ReporterConnection)
	}
	into(object, read)
	return nil
}

// read is a read of a pass. An event handler reads the cache without the scheduler, which runs it.
func (c *simulatedClient) read(ctx context.Context, what string, act func() (any, error)) (any, error) {
	if _, inPass := ctx.Value(passKey{}).(*pass); c.cached && !inPass {
		return act()
	}
	return c.i.do(ctx, &call{what: what, local: c.cached, act: act})
}

func into(object, read client.Object) {
	if metadata, is := object.(*metav1.PartialObjectMetadata); is {
		copyMetadata(metadata, read)
		return
	}
	reflect.ValueOf(object).Elem().Set(reflect.ValueOf(clone(read)).Elem())
}

func (c *simulatedClient) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	kind := kindOf(list)
	options := (&client.ListOptions{}).ApplyOptions(opts)
	objects, err := c.read(ctx, "list "+kind, func() (any, error) {
		list.SetResourceVersion(strconv.FormatInt(c.i.h.api.revision, 10))
		if c.cached {
			return selected(inOrder(c.i.cache[kind]), options), nil
		}
		return selected(c.i.h.api.list(kind), options), nil
	})
	if err != nil {
		return err
	}
	for _, object := range objects.([]client.Object) {
		switch list := list.(type) {
		case *v1alpha1.ReporterConnectionList:
			list.Items = append(list.Items, *clone(object.(*v1alpha1.ReporterConnection)))
		case *metav1.PartialObjectMetadataList:
			list.Items = append(list.Items, *metadataOf(object).(*metav1.PartialObjectMetadata))
		case *v1alpha1.ReporterEndpointList:
			list.Items = append(list.Items, *clone(object.(*v1alpha1.ReporterEndpoint)))
		}
	}
	return nil
}

func selected(objects []client.Object, options *client.ListOptions) []client.Object {
	return slices.DeleteFunc(objects, func(object client.Object) bool {
		if options.Namespace != "" && object.GetNamespace() != options.Namespace {
			return true
		}
		if options.FieldSelector == nil {
			return false
		}
		for _, requirement := range options.FieldSelector.Requirements() {
			if !slices.Contains(kube.IndexKeys(object, requirement.Field), requirement.Value) {
				return true
			}
		}
		return false
	})
}

func (c *simulatedClient) Patch(ctx context.Context, object client.Object, patch client.Patch, _ ...client.PatchOption) error {
	return c.patch(ctx, object, patch, false)
}

func (c *simulatedClient) patch(ctx context.Context, object client.Object, patch client.Patch, status bool) error {
	data, err := patch.Data(object)
	if err != nil {
		return err
	}
	kind, key := kindOf(object), client.ObjectKeyFromObject(object)
	p, _ := ctx.Value(passKey{}).(*pass)
	what := "patch "
	if status {
		what = "patch the status of "
		c.i.h.noteHeld(c.i, object)
		c.i.h.judgeQuote(object, string(data))
	}
	patched, err := c.i.do(ctx, &call{what: what + kind + " " + key.String() + ": " + string(data), write: true, act: func() (any, error) {
		return c.i.h.api.patch(kind, key, data, status, p)
	}})
	if err != nil {
		return err
	}
	into(object, patched.(client.Object))
	return nil
}

func (c *simulatedClient) Status() client.SubResourceWriter { return &statusWriter{c: c} }

type statusWriter struct {
	client.SubResourceWriter // nil: nobody calls the rest
	c                        *simulatedClient
}

func (w *statusWriter) Patch(ctx context.Context, object client.Object, patch client.Patch, _ ...client.SubResourcePatchOption) error {
	return w.c.patch(ctx, object, patch, true)
}

// trails takes the log lines that tell of a release.
type trails struct {
	i      *instance
	values []any
}

func (trails) Init(logr.RuntimeInfo)          {}
func (trails) Enabled(level int) bool         { return level == 0 }
func (trails) Error(error, string, ...any)    {}
func (t trails) WithName(string) logr.LogSink { return t }
func (t trails) WithValues(more ...any) logr.LogSink {
	return trails{t.i, slices.Concat(t.values, more)}
}

func (t trails) Info(_ int, message string, _ ...any) {
	if message == "Deleted connection in Reporter" || message == "Released resource without deleting in Reporter" {
		value := func(of string) string { return fmt.Sprint(t.values[slices.Index(t.values, any(of))+1]) }
		t.i.h.judgeLine(t.i, client.ObjectKey{Namespace: value("namespace"), Name: value("name")})
	}
}

// recorder takes the events of an instance. They are queued in its memory, so none of a dead one arrives.
type recorder struct{ i *instance }

func (r recorder) Eventf(regarding, _ runtime.Object, eventType, reason, _, note string, args ...any) {
	r.i.h.mu.Lock()
	defer r.i.h.mu.Unlock()
	text := eventType + " " + reason + ": " + fmt.Sprintf(note, args...)
	r.i.h.notes = append(r.i.h.notes, text)
	r.i.h.judgeQuote(regarding.(client.Object), text)
	r.i.h.count("event " + reason)
	if rc, is := regarding.(*v1alpha1.ReporterConnection); is && !r.i.dead {
		r.i.h.judgeEvent(r.i, rc, eventType, reason)
	}
}

// network takes an instance's requests to the simulated Reporters and Access Managers.
type network struct{ i *instance }

// sent is a request that was sent, and answered.
type response struct {
	status int
	header http.Header
	body   []byte
}

// isOfReporter says whether an answer is one that Reporter itself gives about a connection.
func (r *response) isOfReporter() bool {
	switch r.status {
	case http.StatusNoContent, http.StatusConflict:
		return true
	case http.StatusUnauthorized, http.StatusForbidden:
		return r.header.Get("Content-Type") != "text/html"
	case http.StatusOK:
		return r.header.Get("Content-Type") == "application/json"
	case http.StatusNotFound:
		return bytes.Contains(r.body, []byte("FET-1001"))
	}
	return false
}

// isWrite says whether a request changes something in Reporter.
func isWrite(request *http.Request) bool {
	return request.Method != http.MethodGet && strings.Contains(request.URL.Path, "/v1/management/connections") && !strings.HasSuffix(request.URL.Path, "/test")
}

func (n network) RoundTrip(request *http.Request) (*http.Response, error) {
	var body []byte
	if request.Body != nil {
		body, _ = io.ReadAll(request.Body)
		request.Body.Close()
	}
	base, rest, _ := strings.Cut(request.URL.Path, "/v1/management/connections")
	id := strings.TrimPrefix(rest, "/")
	to := place{"http://" + request.URL.Host + base, n.i.h.tenantOf(strings.TrimPrefix(request.Header.Get("Authorization"), "Bearer "))}
	c := &call{what: request.Method + " " + request.URL.Host + request.URL.Path, http: true, write: isWrite(request), body: string(body),
		method: request.Method, to: to, id: id}
	c.act = func() (any, error) { return n.i.h.exchange(c, request, body), nil }
	value, err := n.i.do(request.Context(), c)
	if c.pass != nil {
		c.pass.heard = time.Now()
		c.pass.looked = c.pass.looked || id != "" && c.method == http.MethodGet
	}
	if trace := httptrace.ContextClientTrace(request.Context()); trace != nil && !errors.Is(err, errRefused) {
		trace.WroteRequest(httptrace.WroteRequestInfo{})
	}
	if err != nil {
		return nil, err
	}
	answer := value.(*response)
	n.i.h.learn(c, answer)
	return &http.Response{StatusCode: answer.status, Header: answer.header, Body: io.NopCloser(bytes.NewReader(answer.body)), Request: request}, nil
}
