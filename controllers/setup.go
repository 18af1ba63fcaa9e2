// SPDX-License-Identifier: Apache-2.0

// Package controllers reconciles ReporterConnections and ReporterEndpoints with the Reporters they name.
package controllers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// Options are what an administrator may turn.
type Options struct {
	// MaxConcurrentReconciles is how many ReporterConnections are worked on at once.
	MaxConcurrentReconciles int
	// CheckInterval is how often a live connection, and a Reporter that answers, is looked at again, give or take a tenth.
	CheckInterval time.Duration
}

// CacheOptions are those of the manager's cache: of all Secrets it holds the marked ones alone.
func CacheOptions() cache.Options {
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Label: labels.SelectorFromSet(labels.Set{v1alpha1.CredentialsLabel: "true"})},
		},
	}
}

// Indexes of the cache.
const (
	byEndpoint = "spec.endpointRef" // ReporterConnections by the namespace/name of their endpoint
	bySecret   = "spec.auth.secret" // ReporterEndpoints by the namespace/name of their Secret
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// Setup adds the controllers to a manager that was made with CacheOptions.
func Setup(ctx context.Context, mgr ctrl.Manager, options Options) error {
	if err := index(ctx, mgr); err != nil {
		return fmt.Errorf("indexing the cache: %w", err)
	}
	access := &accessor{cached: mgr.GetClient(), live: mgr.GetAPIReader(), pool: &reporter.Pool{}}
	suspects := make(chan event.TypedGenericEvent[*v1alpha1.ReporterEndpoint])

	endpoints := &endpointReconciler{Client: mgr.GetClient(), access: access, checkInterval: options.CheckInterval}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("reporterendpoint").
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &v1alpha1.ReporterEndpoint{}, endpointEvents())).
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &corev1.Secret{}, secretEvents(endpoints.usersOf))).
		WatchesRawSource(source.TypedChannel(suspects, handler.TypedEnqueueRequestsFromMapFunc(
			func(_ context.Context, endpoint *v1alpha1.ReporterEndpoint) []reconcile.Request {
				return []reconcile.Request{requestFor(endpoint)}
			}))).
		Complete(endpoints)
	if err != nil {
		return fmt.Errorf("setting up the controller of ReporterEndpoints: %w", err)
	}

	connections := &connectionReconciler{
		Client:        mgr.GetClient(),
		live:          mgr.GetAPIReader(),
		access:        access,
		events:        mgr.GetEventRecorder("reporter-operator"),
		routine:       newPacer(),
		checkInterval: options.CheckInterval,
		suspect: func(endpoint *v1alpha1.ReporterEndpoint) {
			select {
			case suspects <- event.TypedGenericEvent[*v1alpha1.ReporterEndpoint]{Object: endpoint}:
			case <-ctx.Done():
			}
		},
	}
	err = ctrl.NewControllerManagedBy(mgr).
		Named("reporterconnection").
		WithOptions(controller.Options{MaxConcurrentReconciles: options.MaxConcurrentReconciles}).
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &v1alpha1.ReporterConnection{}, connectionEvents(connections.routine))).
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &v1alpha1.ReporterEndpoint{}, connections.endpointEvents())).
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &corev1.Secret{}, secretEvents(connections.usersOf))).
		Complete(connections)
	if err != nil {
		return fmt.Errorf("setting up the controller of ReporterConnections: %w", err)
	}
	return nil
}

func index(ctx context.Context, mgr ctrl.Manager) error {
	indexer := mgr.GetFieldIndexer()
	err := indexer.IndexField(ctx, &v1alpha1.ReporterConnection{}, byEndpoint, func(object client.Object) []string {
		return []string{endpointKey(object.(*v1alpha1.ReporterConnection)).String()}
	})
	if err != nil {
		return err
	}
	return indexer.IndexField(ctx, &v1alpha1.ReporterEndpoint{}, bySecret, func(object client.Object) []string {
		endpoint := object.(*v1alpha1.ReporterEndpoint)
		if endpoint.Spec.Auth == nil || endpoint.Spec.Auth.BearerToken == nil {
			return nil
		}
		return []string{client.ObjectKey{Namespace: endpoint.Namespace, Name: endpoint.Spec.Auth.BearerToken.SecretRef.Name}.String()}
	})
}

// connectionEvents wakes for what changes a resource's claim, and not for our own writes: a status changes no generation, and
// a finalizer of ours is of interest only when it is missing.
func connectionEvents(routine *pacer) handler.TypedFuncs[*v1alpha1.ReporterConnection, reconcile.Request] {
	return handler.TypedFuncs[*v1alpha1.ReporterConnection, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*v1alpha1.ReporterConnection], q queue) {
			if e.IsInInitialList && heldByReporter(e.Object) {
				// All that waited when the operator started would ask Reporter in the same moment.
				waited := waitedSince(e.Object.Status.Conditions, v1alpha1.ConditionDeletionBlocked)
				q.AddAfter(requestFor(e.Object), time.Duration(rand.Int64N(int64(proportional(waited))))) //nolint:gosec // nothing secret about it
				return
			}
			q.Add(requestFor(e.Object))
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[*v1alpha1.ReporterConnection], q queue) {
			stripped := e.ObjectNew.DeletionTimestamp.IsZero() && e.ObjectNew.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain &&
				!controllerutil.ContainsFinalizer(e.ObjectNew, v1alpha1.ConnectionFinalizer)
			if stripped || changed(e.ObjectOld, e.ObjectNew) {
				routine.now(e.ObjectNew.UID)
				q.Add(requestFor(e.ObjectNew))
			}
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[*v1alpha1.ReporterConnection], _ queue) {
			routine.forget(e.Object.UID)
		},
	}
}

// heldByReporter says whether a deletion was held, when its status was written, by something that only Reporter can tell the
// end of, and that nobody has touched since.
func heldByReporter(rc *v1alpha1.ReporterConnection) bool {
	blocked := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionDeletionBlocked)
	if blocked == nil || blocked.ObservedGeneration != rc.Generation {
		return false
	}
	switch blocked.Reason {
	case v1alpha1.ReasonEndpointNotFound, v1alpha1.ReasonInvalidEndpoint, v1alpha1.ReasonSecretNotFound, v1alpha1.ReasonSecretNotGranted:
		return false
	}
	return true
}

// endpointEvents wakes an endpoint for what changes what it says.
func endpointEvents() handler.TypedFuncs[*v1alpha1.ReporterEndpoint, reconcile.Request] {
	return handler.TypedFuncs[*v1alpha1.ReporterEndpoint, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*v1alpha1.ReporterEndpoint], q queue) {
			q.Add(requestFor(e.Object))
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[*v1alpha1.ReporterEndpoint], q queue) {
			if changed(e.ObjectOld, e.ObjectNew) {
				q.Add(requestFor(e.ObjectNew))
			}
		},
	}
}

// endpointEvents wakes the connections of an endpoint that appears, says something else, or is Ready again.
func (r *connectionReconciler) endpointEvents() handler.TypedFuncs[*v1alpha1.ReporterEndpoint, reconcile.Request] {
	return handler.TypedFuncs[*v1alpha1.ReporterEndpoint, reconcile.Request]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[*v1alpha1.ReporterEndpoint], q queue) {
			if !e.IsInInitialList { // else each connection comes by itself
				r.wake(ctx, e.Object, q, unsettled)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*v1alpha1.ReporterEndpoint], q queue) {
			wasReady := apimeta.IsStatusConditionTrue(e.ObjectOld.Status.Conditions, v1alpha1.ConditionReady)
			isReady := apimeta.IsStatusConditionTrue(e.ObjectNew.Status.Conditions, v1alpha1.ConditionReady)
			switch {
			case e.ObjectOld.Generation != e.ObjectNew.Generation:
				r.wake(ctx, e.ObjectNew, q, every)
			case isReady && !wasReady:
				r.wake(ctx, e.ObjectNew, q, unsettled)
			}
		},
	}
}

func every(*v1alpha1.ReporterConnection) bool { return true }

// unsettled says whether a connection waits for something: its deletion, or to be found.
func unsettled(rc *v1alpha1.ReporterConnection) bool {
	return !rc.DeletionTimestamp.IsZero() || !isSettled(rc)
}

func (r *connectionReconciler) wake(ctx context.Context, endpoint *v1alpha1.ReporterEndpoint, q queue, which func(*v1alpha1.ReporterConnection) bool) {
	var connections v1alpha1.ReporterConnectionList
	if err := r.List(ctx, &connections, client.MatchingFields{byEndpoint: client.ObjectKeyFromObject(endpoint).String()}, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Listing the connections of an endpoint", "endpoint", client.ObjectKeyFromObject(endpoint))
		return
	}
	for i := range connections.Items {
		if which(&connections.Items[i]) {
			q.Add(requestFor(&connections.Items[i]))
		}
	}
}

// secretEvents wakes the users of a Secret that appears in the cache, which it also does when it is labelled, vanishes from it,
// or has other contents.
func secretEvents(wakeUsers func(context.Context, *corev1.Secret, queue)) handler.TypedFuncs[*corev1.Secret, reconcile.Request] {
	return handler.TypedFuncs[*corev1.Secret, reconcile.Request]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[*corev1.Secret], q queue) {
			if !e.IsInInitialList {
				wakeUsers(ctx, e.Object, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*corev1.Secret], q queue) {
			if !reflect.DeepEqual(e.ObjectOld.Data, e.ObjectNew.Data) {
				wakeUsers(ctx, e.ObjectNew, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*corev1.Secret], q queue) {
			wakeUsers(ctx, e.Object, q)
		},
	}
}

func (r *endpointReconciler) usersOf(ctx context.Context, secret *corev1.Secret, q queue) {
	for _, endpoint := range endpointsOf(ctx, r, secret) {
		q.Add(requestFor(&endpoint))
	}
}

func (r *connectionReconciler) usersOf(ctx context.Context, secret *corev1.Secret, q queue) {
	for _, endpoint := range endpointsOf(ctx, r, secret) {
		r.wake(ctx, &endpoint, q, unsettled)
	}
}

func endpointsOf(ctx context.Context, reader client.Reader, secret *corev1.Secret) []v1alpha1.ReporterEndpoint {
	var endpoints v1alpha1.ReporterEndpointList
	if err := reader.List(ctx, &endpoints, client.MatchingFields{bySecret: client.ObjectKeyFromObject(secret).String()}); err != nil {
		log.FromContext(ctx).Error(err, "Listing the endpoints of a Secret", "secret", client.ObjectKeyFromObject(secret))
	}
	return endpoints.Items
}

// changed says whether an object says something else or somebody asks for an attempt. A deletion counts: the API server gives
// it a generation of its own.
func changed(before, after client.Object) bool {
	return before.GetGeneration() != after.GetGeneration() ||
		before.GetAnnotations()[v1alpha1.RequestedAtAnnotation] != after.GetAnnotations()[v1alpha1.RequestedAtAnnotation]
}

func requestFor(object client.Object) reconcile.Request {
	return reconcile.Request{NamespacedName: client.ObjectKeyFromObject(object)}
}
