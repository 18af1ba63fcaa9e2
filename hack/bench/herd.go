// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/hack/internal/play"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
	"github.com/reporter-operator/reporter-operator/internal/testenv"
)

// latency is how long a Reporter takes for each answer. The real one was seen to take 6 ms when idle and 30 to 80 ms under load.
const latency = 20 * time.Millisecond

// herd is a namespace full of ReporterConnections, which claim what a Reporter of their own holds through the endpoint `default`; or of
// plain objects.
type herd struct {
	*bench
	*tally
	kind      schema.GroupVersionKind
	namespace string
	reporter  *reportertest.Reporter
	server    *reportertest.Server
	claimed   []reportertest.Connection
	place     int64          // how far the audit log was read for it
	asked     []testenv.Call // what was found there
}

// newHerd makes a namespace with an endpoint that is Ready, and so many ReporterConnections. If they are to be ready, they say what the
// operator would have said of them. Otherwise that is left to an operator that runs, or to nobody where it makes no difference: it takes
// longer than their creation.
func (b *bench) newHerd(ctx context.Context, size int, ready bool) (*herd, error) {
	h, err := b.newEmptyHerd(ctx, v1alpha1.GroupVersion.WithKind("ReporterConnection"))
	if err != nil {
		return nil, err
	}
	endpoint := &v1alpha1.ReporterEndpoint{
		ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "default"},
		Spec:       v1alpha1.ReporterEndpointSpec{URL: v1alpha1.BaseURL(h.server.URL)},
	}
	if err := b.api.Create(ctx, endpoint); err != nil {
		return nil, err
	}
	endpoint.Status = v1alpha1.ReporterEndpointStatus{ObservedGeneration: endpoint.Generation, Conditions: []metav1.Condition{
		available(endpoint.Generation, "Reporter answers, and accepts the credentials if there are any")}}
	if err := b.api.Status().Update(ctx, endpoint); err != nil && !apierrors.IsConflict(err) { // an operator that runs was first
		return nil, err
	}
	if h.place, err = b.auditEnd(); err != nil {
		return nil, err
	}
	return h, h.grow(ctx, size, ready)
}

// newEmptyHerd makes a namespace and a Reporter.
func (b *bench) newEmptyHerd(ctx context.Context, kind schema.GroupVersionKind) (*herd, error) {
	h := &herd{bench: b, tally: &tally{}, kind: kind, reporter: reportertest.New()}
	h.reporter.SetLatency(latency)
	var err error
	if h.server, err = reportertest.Start(play.Watched(h.reporter, h.see), "127.0.0.1:0"); err != nil {
		return nil, err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-"}}
	err = b.api.Create(ctx, namespace)
	h.namespace = namespace.Name
	return h, err
}

// newMarkedHerd makes a herd of a size that the table names and marks it deleted while nothing runs.
func (b *bench) newMarkedHerd(ctx context.Context, size int, ready bool) (*herd, error) {
	h, err := b.newHerd(ctx, b.sized(size), ready)
	if err != nil {
		return nil, err
	}
	return h, h.markDeleted(ctx)
}

// grow adds so many ReporterConnections.
func (h *herd) grow(ctx context.Context, n int, ready bool) error {
	first := len(h.claimed)
	for range n {
		h.claimed = append(h.claimed, h.reporter.Add(reportertest.Connection{}))
	}
	return parallel(ctx, n, func(ctx context.Context, i int) error {
		claimed := h.claimed[first+i]
		rc := &v1alpha1.ReporterConnection{
			ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: nameOf(claimed)},
			Spec:       v1alpha1.ReporterConnectionSpec{ConnectionID: claimed.ID},
		}
		if err := h.api.Create(ctx, rc); err != nil || !ready {
			return err
		}
		at := metav1.NewTime(claimed.CreatedAt).Rfc3339Copy()
		rc.Status = v1alpha1.ReporterConnectionStatus{
			ObservedGeneration: rc.Generation,
			ObservedIn:         &v1alpha1.ObservedIn{URL: h.server.URL},
			Connection: &v1alpha1.ObservedConnection{ConfigName: claimed.ConfigName, ProductName: claimed.ProductName, Type: claimed.Type,
				Host: claimed.Host, Port: int32(claimed.Port), DatabaseName: claimed.DatabaseName, CreatedAt: &at, UpdatedAt: &at},
			Conditions: []metav1.Condition{available(rc.Generation, "Reporter shows the connection")},
		}
		return h.api.Status().Update(ctx, rc)
	})
}

// nameOf is the resource's name.
func nameOf(c reportertest.Connection) string { return c.ConfigName }

func available(generation int64, message string) metav1.Condition {
	return metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAvailable, Message: message,
		ObservedGeneration: generation, LastTransitionTime: metav1.Now().Rfc3339Copy()}
}

// markDeleted deletes all resources in one request, which is the quickest. They stay until their finalizer is gone.
func (h *herd) markDeleted(ctx context.Context) error {
	kind := &metav1.PartialObjectMetadata{}
	kind.SetGroupVersionKind(h.kind)
	return h.api.DeleteAllOf(ctx, kind, client.InNamespace(h.namespace))
}

// deleteOneByOne deletes the resources of some connections as many users would.
func (h *herd) deleteOneByOne(ctx context.Context, claimed []reportertest.Connection) error {
	return parallel(ctx, len(claimed), func(ctx context.Context, i int) error {
		return h.api.Delete(ctx, &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: nameOf(claimed[i])}})
	})
}

// clear removes what is left of the herd, and its Reporter. No operator may run meanwhile.
func (h *herd) clear(ctx context.Context) error {
	defer h.server.Close()
	ends, err := h.follow(ctx)
	if err != nil {
		return err
	}
	defer ends.stop()
	var left v1alpha1.ReporterConnectionList
	if err := h.api.List(ctx, &left, client.InNamespace(h.namespace)); err != nil {
		return err
	}
	if len(left.Items) > 0 {
		if err := h.markDeleted(ctx); err != nil {
			return err
		}
		p, err := h.startYardstick(ctx, "noop")
		if err != nil {
			return err
		}
		if err := ends.awaitAll(ctx, p, len(left.Items)); err != nil {
			return fmt.Errorf("clearing up: %w", err)
		}
		if err := p.Stop(); err != nil {
			return fmt.Errorf("stopping the yardstick: %w", err)
		}
	}
	endpoint := &v1alpha1.ReporterEndpoint{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "default"}}
	if err := h.api.Delete(ctx, endpoint); err != nil {
		return err
	}
	return client.IgnoreNotFound(h.api.Patch(ctx, endpoint, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))))
}

// ends is when resources of a namespace vanished, as the API server tells whoever watches.
type ends struct {
	cancel context.CancelFunc
	mu     sync.Mutex
	times  []time.Time
	// version is that of the last event.
	version string
	err     error
}

// follow notes the ends of the herd's resources from now on, until stop. Nothing of an event is decoded, so that watching takes as little
// as it can from what is measured.
func (h *herd) follow(ctx context.Context) (*ends, error) {
	config := rest.CopyConfig(h.config)
	config.GroupVersion = new(h.kind.GroupVersion())
	config.APIPath = "/apis"
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	api, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, err
	}
	now := &metav1.PartialObjectMetadataList{}
	now.SetGroupVersionKind(h.kind.GroupVersion().WithKind(h.kind.Kind + "List"))
	if err := h.api.List(ctx, now, client.InNamespace(h.namespace), client.Limit(1)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	e := &ends{cancel: cancel, version: now.ResourceVersion}
	open := func(version string) (io.ReadCloser, error) {
		return api.Get().Namespace(h.namespace).Resource(strings.ToLower(h.kind.Kind)+"s").SetHeader("Accept", "application/json").
			Param("watch", "true").Param("resourceVersion", version).Stream(ctx)
	}
	events, err := open(e.version)
	if err != nil {
		cancel()
		return nil, err
	}
	go e.watch(ctx, events, open)
	return e, nil
}

// watch notes the events of a watch until the context ends. Where the API server ends the watch, as it may when its events are read too slowly,
// it is opened again after the last event.
func (e *ends) watch(ctx context.Context, events io.ReadCloser, open func(version string) (io.ReadCloser, error)) {
	for {
		err := lines(bufio.NewReaderSize(events, 64<<10), e.see)
		events.Close()
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, io.EOF) {
			events, err = open(e.version)
		}
		e.mu.Lock()
		if e.err == nil && err != nil {
			e.err = fmt.Errorf("watching resources vanish: %w", err)
		}
		failed := e.err != nil
		e.mu.Unlock()
		if failed {
			return
		}
	}
}

func (e *ends) see(event []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, rest, found := bytes.Cut(event, []byte(`"resourceVersion":"`)); found {
		version, _, _ := bytes.Cut(rest, []byte(`"`))
		e.version = string(version)
	}
	switch {
	case bytes.HasPrefix(event, []byte(`{"type":"DELETED"`)):
		e.times = append(e.times, time.Now())
	case bytes.HasPrefix(event, []byte(`{"type":"ERROR"`)):
		e.err = fmt.Errorf("watching resources vanish: %s", event)
	}
}

func (e *ends) stop() { e.cancel() }

// seen returns when resources vanished so far.
func (e *ends) seen() ([]time.Time, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clip(e.times), e.err
}

// patience is how long a drain may stand still before it is given up.
const patience = 90 * time.Second

// await waits until so many resources have vanished, and returns when they did: fewer, if nothing has happened for too long.
func (e *ends) await(ctx context.Context, p *process, n int) ([]time.Time, error) {
	count, last := 0, time.Now()
	for {
		times, err := e.seen()
		if err = errors.Join(err, p.alive()); err != nil || len(times) >= n {
			return times, err
		}
		if len(times) > count {
			count, last = len(times), time.Now()
		}
		if time.Since(last) > patience {
			return times, nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// awaitAll is await, with an error if not all vanish.
func (e *ends) awaitAll(ctx context.Context, p *process, n int) error {
	times, err := e.await(ctx, p, n)
	if err == nil && len(times) < n {
		err = p.tell(fmt.Errorf("of %d resources %d are left, and none has gone for %s", n, n-len(times), patience))
	}
	return err
}

// auditEnd is where the audit log ends now.
func (b *bench) auditEnd() (int64, error) {
	_, end, err := b.OperatorCallsFrom(b.audited)
	b.audited = end
	return end, err
}

// apiCalls returns what the operator, or whoever ran in its place, has asked of the API server about the herd's namespace since the herd
// was made, or since skipCalls. Calls that were answered just now may not have been logged.
func (h *herd) apiCalls() ([]testenv.Call, error) {
	calls, next, err := h.OperatorCallsFrom(h.place)
	h.place = next
	for _, call := range calls {
		if call.Namespace == h.namespace {
			h.asked = append(h.asked, call)
		}
	}
	return h.asked, err
}

// skipCalls has apiCalls leave out what was asked so far.
func (h *herd) skipCalls() (err error) {
	h.asked = nil
	h.place, err = h.auditEnd()
	return err
}
