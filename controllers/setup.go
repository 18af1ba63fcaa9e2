// SPDX-License-Identifier: Apache-2.0

// Package controllers wires the operator: its reconcilers, what they share, and who watches what.
package controllers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/access"
	"github.com/reporter-operator/reporter-operator/controllers/connection"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/controllers/endpoint"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
	"github.com/reporter-operator/reporter-operator/controllers/metrics"
	"github.com/reporter-operator/reporter-operator/controllers/protection"
	"github.com/reporter-operator/reporter-operator/controllers/scope"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// Options are what an administrator may turn.
type Options struct {
	// MaxConcurrentReconciles is how many ReporterConnections are worked on at once, those that wait for an answer of Reporter among them.
	MaxConcurrentReconciles int
	// CheckInterval is how often a live connection, and a Reporter that answers, is looked at again, give or take a tenth.
	CheckInterval time.Duration
	// Network is what endpoints may reach.
	Network reporter.Network
	// Scope is where the operator works.
	Scope scope.Scope
}

// Environment is what the operator's reconcilers are given of the process that they run in.
type Environment struct {
	// Client reads from a cache and writes to the API server; Live reads from the API server.
	Client client.Client
	Live   client.Reader
	Events events.EventRecorder
	// Pool makes the clients of Reporters.
	Pool *reporter.Pool
	// RequestCheck has an endpoint reconciled by the controller that takes Requested.
	RequestCheck func(*v1alpha1.ReporterEndpoint)
	// Abort ends the process.
	Abort func(reason error)
	// ServerTime is the time by the clock of the API server; ours, if it is nil.
	ServerTime func() time.Time
	// Random returns a number from 0 up to 1.
	Random func() float64
	// GoOn, if it is not nil, is called by each of those who have shared a read, before they go on: the simulation lets them go on one by one.
	GoOn func(context.Context)
}

// Controller is one controller of the operator: who reconciles, and what wakes it. What it does not watch is nil.
type Controller struct {
	Name       string
	Reconciler reconcile.Reconciler
	// Workers is how many requests are reconciled at the same time.
	Workers int
	// RateLimiter says when a pass that failed is repeated.
	RateLimiter *kube.RateLimiter

	Connections  handler.TypedEventHandler[*v1alpha1.ReporterConnection, reconcile.Request]
	Endpoints    handler.TypedEventHandler[*v1alpha1.ReporterEndpoint, reconcile.Request]
	Secrets      handler.TypedEventHandler[*corev1.Secret, reconcile.Request]
	Namespaces   handler.TypedEventHandler[*metav1.PartialObjectMetadata, reconcile.Request]
	RoleBindings handler.TypedEventHandler[*rbacv1.RoleBinding, reconcile.Request]
	// Requested are the endpoints of RequestCheck.
	Requested handler.TypedEventHandler[*v1alpha1.ReporterEndpoint, reconcile.Request]
	// OnQueue is given the queue before it is used, to dispatch into it what has waited elsewhere.
	OnQueue func(kube.Queue)
}

// endpointWorkers is how many ReporterEndpoints are checked at the same time, a few of each namespace. They do nothing but wait.
const endpointWorkers = 256

// New returns the operator's controllers. It knows nothing of managers: Setup adds them to one.
func New(env Environment, options Options) []Controller {
	accessor := access.New(env.Client, env.Live, env.Pool, options.Scope, env.GoOn)
	connections := (&connection.Reconciler{Client: env.Client, Live: env.Live, Access: accessor, Events: env.Events, CheckInterval: options.CheckInterval,
		RequestCheck: env.RequestCheck, Abort: env.Abort, ServerTime: env.ServerTime, Random: env.Random, GoOn: env.GoOn}).Init()
	env.Pool.Recovered, env.Pool.Tried = connections.Recovered, connections.Tried
	endpoints := (&endpoint.Reconciler{Client: env.Client, Access: accessor, CheckInterval: options.CheckInterval, Random: env.Random}).Init()
	heldEndpoints := &protection.EndpointReconciler{Client: env.Client, Live: env.Live, Access: accessor, Random: env.Random}
	heldSecrets := &protection.SecretReconciler{Client: env.Client, Live: env.Live, Access: accessor, Events: env.Events}
	all := []Controller{
		{
			Name: "reporterendpoint", Reconciler: endpoints, Workers: endpointWorkers,
			Endpoints: endpoints.EndpointEvents(),
			Secrets:   endpoints.SecretEvents(),
			Requested: endpoints.RequestedChecks(),
			OnQueue:   endpoints.OnQueue,
		},
		{
			Name: "reporterconnection", Reconciler: connections, Workers: options.MaxConcurrentReconciles,
			Connections: connections.ConnectionEvents(),
			Endpoints:   connections.EndpointEvents(),
			Secrets:     connections.SecretEvents(),
			Namespaces:  connections.NamespaceEvents(),
			OnQueue:     connections.OnQueue,
		},
		{
			Name: "reporterendpoint-protection", Reconciler: heldEndpoints, Workers: 1,
			Endpoints:   heldEndpoints.EndpointEvents(),
			Connections: heldEndpoints.ConnectionEvents(),
		},
		{
			Name: "secret-protection", Reconciler: heldSecrets, Workers: 1,
			Secrets:     heldSecrets.SecretEvents(),
			Endpoints:   heldSecrets.EndpointEvents(),
			Connections: heldSecrets.ConnectionEvents(),
			OnQueue:     heldSecrets.OnQueue,
		},
	}
	if options.Scope.IsNamespaced() {
		all = append(all, roleBindingProtection(env, options.Scope))
	}
	for i := range all {
		all[i].limit(env.Random)
	}
	return all
}

// roleBindingProtection is the controller that an operator has which works in some namespaces alone.
func roleBindingProtection(env Environment, s scope.Scope) Controller {
	held := &protection.RoleBindingReconciler{Client: env.Client, Live: env.Live}
	return Controller{
		Name: "rolebinding-protection", Reconciler: held, Workers: 1,
		RoleBindings: held.RoleBindingEvents(s),
		Secrets:      protection.ReleaseEvents[*corev1.Secret](held),
		Endpoints:    protection.ReleaseEvents[*v1alpha1.ReporterEndpoint](held),
		Connections:  protection.ReleaseEvents[*v1alpha1.ReporterConnection](held),
	}
}

// limit bounds how long a pass takes, and how soon one that failed is repeated.
func (c *Controller) limit(random func() float64) {
	c.Reconciler = kube.Bounded{Reconciler: c.Reconciler}
	c.RateLimiter = &kube.RateLimiter{Delay: func(failing time.Duration) time.Duration {
		return decision.Jitter(decision.Proportional(failing), random())
	}}
}

// Setup adds the controllers to a manager that was made with the CacheOptions and ClientOptions of the scope, and whose answers of the API
// server set the clock. Abort ends the process.
func Setup(ctx context.Context, mgr ctrl.Manager, options Options, clock *kube.Clock, abort func(reason error)) error {
	if options.Scope.IsEmpty() {
		return nil // and a cache without namespaces would be one of all
	}
	if err := kube.Index(ctx, mgr.GetFieldIndexer()); err != nil {
		return fmt.Errorf("indexing the cache: %w", err)
	}
	requested := make(chan event.TypedGenericEvent[*v1alpha1.ReporterEndpoint])
	requests := metrics.NewRequests()
	env := Environment{Client: mgr.GetClient(), Live: options.Scope.Live(mgr.GetAPIReader()), Events: mgr.GetEventRecorder(protection.EventSource),
		RequestCheck: func(endpoint *v1alpha1.ReporterEndpoint) {
			select {
			case requested <- event.TypedGenericEvent[*v1alpha1.ReporterEndpoint]{Object: endpoint}:
			case <-ctx.Done():
			}
		},
		Pool: &reporter.Pool{Network: options.Network, Exchanged: func(ctx context.Context, e reporter.Exchange) {
			requests.Count(e)
			access.LogExchange(ctx, e)
		}},
		Abort: abort, ServerTime: clock.Now, Random: rand.Float64,
	}
	if err := mgr.Add(&metrics.State{Cache: mgr.GetCache(), Outages: env.Pool.Outages, Requests: requests}); err != nil {
		return fmt.Errorf("adding the metrics: %w", err)
	}
	for _, c := range New(env, options) {
		if err := c.addTo(mgr, options.Scope, requested); err != nil {
			return fmt.Errorf("setting up the controller %s: %w", c.Name, err)
		}
	}
	return nil
}

func (c *Controller) options() controller.Options {
	return controller.Options{MaxConcurrentReconciles: c.Workers, RateLimiter: c.RateLimiter}
}

func (c *Controller) addTo(mgr ctrl.Manager, s scope.Scope, requested chan event.TypedGenericEvent[*v1alpha1.ReporterEndpoint]) error {
	builder := ctrl.NewControllerManagedBy(mgr).Named(c.Name).WithOptions(c.options())
	if c.Connections != nil {
		builder.WatchesRawSource(source.TypedKind(mgr.GetCache(), &v1alpha1.ReporterConnection{}, c.Connections))
	}
	if c.Endpoints != nil {
		builder.WatchesRawSource(source.TypedKind(mgr.GetCache(), &v1alpha1.ReporterEndpoint{}, c.Endpoints))
	}
	if c.Secrets != nil {
		builder.WatchesRawSource(source.TypedKind(mgr.GetCache(), &corev1.Secret{}, c.Secrets))
	}
	if c.Namespaces != nil && !s.IsNamespaced() { // no RoleBinding allows to watch them, and nothing selects by their labels
		namespaces := &metav1.PartialObjectMetadata{}
		namespaces.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
		builder.WatchesRawSource(source.TypedKind(mgr.GetCache(), namespaces, c.Namespaces))
	}
	if c.RoleBindings != nil {
		builder.WatchesRawSource(source.TypedKind(mgr.GetCache(), &rbacv1.RoleBinding{}, c.RoleBindings))
	}
	if c.Requested != nil {
		builder.WatchesRawSource(source.TypedChannel(requested, c.Requested))
	}
	if c.OnQueue != nil {
		builder.WatchesRawSource(source.Func(func(_ context.Context, q kube.Queue) error {
			c.OnQueue(q)
			return nil
		}))
	}
	return builder.Complete(c.Reconciler)
}
