// SPDX-License-Identifier: Apache-2.0

// Package controllers reconciles ReporterConnections and ReporterEndpoints with the Reporters they name.
package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// Options are what an administrator may turn.
type Options struct {
	// MaxConcurrentReconciles is how many ReporterConnections are worked on at once, apart from those that wait for an answer of
	// Reporter.
	MaxConcurrentReconciles int
	// CheckInterval is how often a live connection, and a Reporter that answers, is looked at again, give or take a tenth.
	CheckInterval time.Duration
	// Network is what endpoints may reach.
	Network reporter.Network
	// Scope is where the operator works.
	Scope Scope
}

// Indexes of the cache.
const (
	byEndpoint     = "spec.endpointRef"  // ReporterConnections by the namespace/name of their endpoint
	byConnectionID = "spec.connectionID" // ReporterConnections by the connection they claim
	bySecret       = "spec.auth.secret"  // ReporterEndpoints by the namespace/name of their Secrets
)

// operator is all that reconciles, and what it shares. It knows nothing of managers and queues: Setup connects it to those.
type operator struct {
	connections       *connectionReconciler
	endpoints         *endpointReconciler
	endpointProtector *endpointProtector
	secretProtector   *secretProtector
	bindingProtector  *bindingProtector // at work in a namespaced scope alone
}

// newOperator makes an operator that reads from c, which may be a cache, and from live where it must not be one. It calls suspect
// to have an endpoint checked.
func newOperator(c client.Client, live client.Reader, recorder events.EventRecorder, suspect func(*v1alpha1.ReporterEndpoint), options Options) *operator {
	lines := newLines()
	access := &accessor{cached: c, live: live, pool: &reporter.Pool{Network: options.Network, Recovered: lines.recovered}, scope: options.Scope}
	return &operator{
		connections: &connectionReconciler{Client: c, live: live, access: access, events: recorder,
			crew: make(places, options.MaxConcurrentReconciles), lines: lines, routine: newPacer(routinePace), telling: newPacer(tellingPace),
			checkInterval: options.CheckInterval, suspect: suspect},
		endpoints:         &endpointReconciler{Client: c, access: access, checkInterval: options.CheckInterval},
		endpointProtector: &endpointProtector{Client: c, live: live, access: access, told: map[types.UID]time.Time{}},
		secretProtector:   &secretProtector{Client: c, live: live, access: access, events: recorder},
		bindingProtector:  &bindingProtector{Client: c, live: live},
	}
}

// Setup adds the controllers to a manager that was made with the CacheOptions and ClientOptions of the scope.
func Setup(ctx context.Context, mgr ctrl.Manager, options Options) error {
	if options.Scope.isEmpty() {
		return nil // and a cache without namespaces would be one of all
	}
	if err := index(ctx, mgr.GetFieldIndexer()); err != nil {
		return fmt.Errorf("indexing the cache: %w", err)
	}
	suspects := make(chan event.TypedGenericEvent[*v1alpha1.ReporterEndpoint])
	suspect := func(endpoint *v1alpha1.ReporterEndpoint) {
		select {
		case suspects <- event.TypedGenericEvent[*v1alpha1.ReporterEndpoint]{Object: endpoint}:
		case <-ctx.Done():
		}
	}
	o := newOperator(mgr.GetClient(), options.Scope.live(mgr.GetAPIReader()), mgr.GetEventRecorder(eventSource), suspect, options)
	for _, w := range o.controllers(options) {
		builder := ctrl.NewControllerManagedBy(mgr).Named(w.name).
			WithOptions(controller.Options{MaxConcurrentReconciles: w.workers})
		if w.connections != nil {
			builder.WatchesRawSource(source.TypedKind(mgr.GetCache(), &v1alpha1.ReporterConnection{}, w.connections))
		}
		if w.endpoints != nil {
			builder.WatchesRawSource(source.TypedKind(mgr.GetCache(), &v1alpha1.ReporterEndpoint{}, w.endpoints))
		}
		if w.secrets != nil {
			builder.WatchesRawSource(source.TypedKind(mgr.GetCache(), &corev1.Secret{}, w.secrets))
		}
		if w.namespaces != nil && !options.Scope.isNamespaced() { // no RoleBinding allows to watch them, and nothing selects by their labels
			namespaces := &metav1.PartialObjectMetadata{}
			namespaces.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
			builder.WatchesRawSource(source.TypedKind(mgr.GetCache(), namespaces, w.namespaces))
		}
		if w.bindings != nil {
			builder.WatchesRawSource(source.TypedKind(mgr.GetCache(), &rbacv1.RoleBinding{}, w.bindings))
		}
		if w.suspects != nil {
			builder.WatchesRawSource(source.TypedChannel(suspects, w.suspects))
		}
		if w.calls != nil {
			builder.WatchesRawSource(source.Func(func(_ context.Context, q queue) error {
				w.calls(q)
				return nil
			}))
		}
		if err := builder.Complete(w.reconciler); err != nil {
			return fmt.Errorf("setting up the controller %s: %w", w.name, err)
		}
	}
	return nil
}

// wiring is one controller: who reconciles, and what wakes it. What it does not watch is nil.
type wiring struct {
	name       string
	reconciler reconcile.Reconciler
	workers    int

	connections handler.TypedEventHandler[*v1alpha1.ReporterConnection, reconcile.Request]
	endpoints   handler.TypedEventHandler[*v1alpha1.ReporterEndpoint, reconcile.Request]
	secrets     handler.TypedEventHandler[*corev1.Secret, reconcile.Request]
	namespaces  handler.TypedEventHandler[*metav1.PartialObjectMetadata, reconcile.Request]
	bindings    handler.TypedEventHandler[*rbacv1.RoleBinding, reconcile.Request]
	suspects    handler.TypedEventHandler[*v1alpha1.ReporterEndpoint, reconcile.Request]
	calls       func(queue) // is given the queue before it is used, to call whose turn it is
}

const (
	// waitersPerWorker is how many passes over connections may wait for answers of Reporters, for each that may work. One that hangs
	// has maxInFlight of them, until its endpoint says that it does not answer.
	waitersPerWorker = 8
	// endpointWorkers is how many ReporterEndpoints are checked at the same time. They do nothing but wait.
	endpointWorkers = 64
)

// controllers lists the operator's controllers, for the manager and for the simulation alike.
func (o *operator) controllers(options Options) []wiring {
	wirings := []wiring{
		{
			name: "reporterendpoint", reconciler: o.endpoints,
			workers:   endpointWorkers,
			endpoints: o.endpoints.endpointEvents(),
			secrets:   secretEvents(o.endpoints.wakeUsers),
			suspects:  o.endpoints.suspicions(),
		},
		{
			name: "reporterconnection", reconciler: o.connections,
			workers:     options.MaxConcurrentReconciles * waitersPerWorker,
			connections: o.connections.connectionEvents(),
			endpoints:   o.connections.endpointEvents(),
			secrets:     secretEvents(o.connections.wakeUsers),
			namespaces:  o.connections.namespaceEvents(),
			calls:       o.connections.lines.callInto,
		},
		{
			name: "reporterendpoint-protection", reconciler: o.endpointProtector, workers: 1,
			endpoints:   o.endpointProtector.endpointEvents(),
			connections: needEvents(o.endpointProtector.needEnded),
		},
		{
			name: "secret-protection", reconciler: o.secretProtector, workers: 1,
			secrets:     o.secretProtector.secretEvents(),
			endpoints:   o.secretProtector.endpointEvents(),
			connections: needEvents(o.secretProtector.needEnded),
		},
	}
	if options.Scope.isNamespaced() {
		wirings = append(wirings, wiring{
			name: "rolebinding-protection", reconciler: o.bindingProtector, workers: 1,
			bindings:    bindingEvents(options.Scope.recheck),
			secrets:     releaseEvents[*corev1.Secret](o.bindingProtector),
			endpoints:   releaseEvents[*v1alpha1.ReporterEndpoint](o.bindingProtector),
			connections: releaseEvents[*v1alpha1.ReporterConnection](o.bindingProtector),
		})
	}
	return wirings
}

// eventSource names the operator in its events.
const eventSource = "reporter-operator"

func index(ctx context.Context, indexer client.FieldIndexer) error {
	for name, keys := range connectionIndexes {
		if err := indexer.IndexField(ctx, &v1alpha1.ReporterConnection{}, name, keys); err != nil {
			return err
		}
	}
	return indexer.IndexField(ctx, &v1alpha1.ReporterEndpoint{}, bySecret, secretKeys)
}

var connectionIndexes = map[string]client.IndexerFunc{
	byEndpoint: func(object client.Object) []string {
		return []string{endpointKey(object.(*v1alpha1.ReporterConnection)).String()}
	},
	byConnectionID: func(object client.Object) []string {
		return []string{object.(*v1alpha1.ReporterConnection).Spec.ConnectionID}
	},
}

func secretKeys(object client.Object) []string {
	endpoint := object.(*v1alpha1.ReporterEndpoint)
	var keys []string
	for _, name := range secretsOf(endpoint) {
		keys = append(keys, client.ObjectKey{Namespace: endpoint.Namespace, Name: name}.String())
	}
	return keys
}
