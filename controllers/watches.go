// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// connectionEvents wakes for what changes a resource's claim, and not for our own writes: a status changes no generation, and
// a finalizer of ours is of interest only when it is missing.
func (r *connectionReconciler) connectionEvents() handler.TypedFuncs[*v1alpha1.ReporterConnection, reconcile.Request] {
	return handler.TypedFuncs[*v1alpha1.ReporterConnection, reconcile.Request]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[*v1alpha1.ReporterConnection], q queue) {
			if !e.Object.DeletionTimestamp.IsZero() {
				r.deletions.begin(e.Object.UID)
			}
			if !e.IsInInitialList {
				r.wakeClaims(ctx, e.Object, q)
			}
			if e.IsInInitialList && heldByReporter(e.Object) {
				// All that waited when the operator started would ask Reporter in the same moment.
				waited := waitedSince(e.Object.Status.Conditions, v1alpha1.ConditionDeletionBlocked)
				q.AddAfter(requestFor(e.Object), time.Duration(random()*float64(proportional(waited))))
				return
			}
			enqueue(q, e.Object, e.IsInInitialList)
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*v1alpha1.ReporterConnection], q queue) {
			if !e.ObjectNew.DeletionTimestamp.IsZero() {
				r.deletions.begin(e.ObjectNew.UID)
			}
			if e.ObjectOld.Generation != e.ObjectNew.Generation || !reflect.DeepEqual(e.ObjectOld.Status.ObservedIn, e.ObjectNew.Status.ObservedIn) {
				r.wakeClaims(ctx, e.ObjectNew, q)
			}
			stripped := e.ObjectNew.DeletionTimestamp.IsZero() && e.ObjectNew.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain &&
				!controllerutil.ContainsFinalizer(e.ObjectNew, v1alpha1.ConnectionFinalizer)
			if stripped || changed(e.ObjectOld, e.ObjectNew) {
				r.routine.now(e.ObjectNew.UID)
				q.Add(requestFor(e.ObjectNew))
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*v1alpha1.ReporterConnection], q queue) {
			r.wakeClaims(ctx, e.Object, q)
			r.routine.forget(e.Object.UID)
			r.telling.forget(e.Object.UID)
			r.lines.forget(requestFor(e.Object))
			released := r.deletions.get(e.Object.UID).released
			r.deletions.forget(e.Object.UID)
			if !released && e.Object.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain {
				countLeftBehind(log.FromContext(ctx).WithValues("namespace", e.Object.Namespace, "name", e.Object.Name), e.Object, causeRetained)
			}
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
	return !isApart(blocked.Reason)
}

// wakeClaims wakes the other resources that claim a connection, where a change of one changes what they say or wait for: a new
// claim releases deletions that wait; a claim that goes may leave a duplicate as the only one.
func (r *connectionReconciler) wakeClaims(ctx context.Context, rc *v1alpha1.ReporterConnection, q queue) {
	r.wake(ctx, client.MatchingFields{byConnectionID: rc.Spec.ConnectionID}, q, func(other *v1alpha1.ReporterConnection) bool {
		if other.UID == rc.UID {
			return false
		}
		ready := apimeta.FindStatusCondition(other.Status.Conditions, v1alpha1.ConditionReady)
		if ready != nil && ready.Reason == v1alpha1.ReasonDuplicate {
			r.routine.now(other.UID)
			return true
		}
		return !other.DeletionTimestamp.IsZero()
	})
}

// namespaceEvents wakes what is in a namespace that gets other labels: an endpoint elsewhere may allow it by them, or no longer.
func (r *connectionReconciler) namespaceEvents() handler.TypedFuncs[*metav1.PartialObjectMetadata, reconcile.Request] {
	return handler.TypedFuncs[*metav1.PartialObjectMetadata, reconcile.Request]{
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*metav1.PartialObjectMetadata], q queue) {
			if !reflect.DeepEqual(e.ObjectOld.Labels, e.ObjectNew.Labels) {
				r.wake(ctx, client.InNamespace(e.ObjectNew.Name), q, every)
			}
		},
	}
}

// suspicions has endpoints checked, though not right after a check.
func (r *endpointReconciler) suspicions() handler.TypedFuncs[*v1alpha1.ReporterEndpoint, reconcile.Request] {
	return handler.TypedFuncs[*v1alpha1.ReporterEndpoint, reconcile.Request]{
		GenericFunc: func(_ context.Context, e event.TypedGenericEvent[*v1alpha1.ReporterEndpoint], q queue) {
			q.AddAfter(requestFor(e.Object), r.suspicionDelay(client.ObjectKeyFromObject(e.Object), time.Now()))
		},
	}
}

// endpointEvents wakes an endpoint for what changes what it says, and when another one with its URL is Ready again.
func (r *endpointReconciler) endpointEvents() handler.TypedFuncs[*v1alpha1.ReporterEndpoint, reconcile.Request] {
	return handler.TypedFuncs[*v1alpha1.ReporterEndpoint, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*v1alpha1.ReporterEndpoint], q queue) {
			q.Add(requestFor(e.Object))
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*v1alpha1.ReporterEndpoint], q queue) {
			if changed(e.ObjectOld, e.ObjectNew) {
				q.Add(requestFor(e.ObjectNew))
			}
			if isReadyAgain(e) {
				r.wakeSiblings(ctx, e.ObjectNew, q)
			}
		},
	}
}

// wakeSiblings wakes the endpoints that have not noticed yet that their Reporter answers again.
func (r *endpointReconciler) wakeSiblings(ctx context.Context, endpoint *v1alpha1.ReporterEndpoint, q queue) {
	var endpoints v1alpha1.ReporterEndpointList
	if err := r.List(ctx, &endpoints, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Listing endpoints to wake")
		return
	}
	for i := range endpoints.Items {
		sibling := &endpoints.Items[i]
		ready := apimeta.FindStatusCondition(sibling.Status.Conditions, v1alpha1.ConditionReady)
		if sibling.Spec.URL == endpoint.Spec.URL && ready != nil && ready.Reason == v1alpha1.ReasonReporterUnavailable {
			q.Add(requestFor(sibling))
		}
	}
}

// endpointEvents wakes the connections of an endpoint that appears, says something else, or is Ready again.
func (r *connectionReconciler) endpointEvents() handler.TypedFuncs[*v1alpha1.ReporterEndpoint, reconcile.Request] {
	return handler.TypedFuncs[*v1alpha1.ReporterEndpoint, reconcile.Request]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[*v1alpha1.ReporterEndpoint], q queue) {
			if !e.IsInInitialList { // else each connection comes by itself
				r.wake(ctx, ofEndpoint(e.Object), q, unsettled)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*v1alpha1.ReporterEndpoint], q queue) {
			switch {
			case e.ObjectOld.Generation != e.ObjectNew.Generation:
				r.wake(ctx, ofEndpoint(e.ObjectNew), q, every)
			case isReadyAgain(e):
				r.wake(ctx, ofEndpoint(e.ObjectNew), q, func(rc *v1alpha1.ReporterConnection) bool {
					return unsettled(rc) && !waitsInside(rc) && !r.lines.stands(requestFor(rc)) // who is in line is called in turn
				})
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*v1alpha1.ReporterEndpoint], q queue) {
			r.wake(ctx, ofEndpoint(e.Object), q, every)
		},
	}
}

// waitsInside says whether a deletion waits for something in a Reporter that has answered.
func waitsInside(rc *v1alpha1.ReporterConnection) bool {
	ready := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.ObservedGeneration != rc.Generation {
		return false
	}
	switch ready.Reason {
	case v1alpha1.ReasonJobInProgress, v1alpha1.ReasonConflict, v1alpha1.ReasonNotDeletable, v1alpha1.ReasonInvalidConnectionID:
		return true
	}
	return false
}

// isReadyAgain says whether an endpoint is Ready that was not.
func isReadyAgain(e event.TypedUpdateEvent[*v1alpha1.ReporterEndpoint]) bool {
	return !apimeta.IsStatusConditionTrue(e.ObjectOld.Status.Conditions, v1alpha1.ConditionReady) &&
		apimeta.IsStatusConditionTrue(e.ObjectNew.Status.Conditions, v1alpha1.ConditionReady)
}

func every(*v1alpha1.ReporterConnection) bool { return true }

// unsettled says whether a connection waits for something: its deletion, or to be found.
func unsettled(rc *v1alpha1.ReporterConnection) bool {
	return !rc.DeletionTimestamp.IsZero() || !isSettled(rc)
}

// wake adds those of the connections listed that wait for what has happened.
func (r *connectionReconciler) wake(ctx context.Context, listed client.ListOption, q queue, which func(*v1alpha1.ReporterConnection) bool) {
	var connections v1alpha1.ReporterConnectionList
	if err := r.List(ctx, &connections, listed, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Listing connections to wake")
		return
	}
	for i := range connections.Items {
		if rc := &connections.Items[i]; which(rc) {
			if unsettled(rc) {
				r.routine.now(rc.UID)
			}
			enqueue(q, rc, true)
		}
	}
}

func ofEndpoint(endpoint *v1alpha1.ReporterEndpoint) client.ListOption {
	return client.MatchingFields{byEndpoint: client.ObjectKeyFromObject(endpoint).String()}
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

func (r *endpointReconciler) wakeUsers(ctx context.Context, secret *corev1.Secret, q queue) {
	for _, endpoint := range endpointsOf(ctx, r, secret) {
		q.Add(requestFor(&endpoint))
	}
}

func (r *connectionReconciler) wakeUsers(ctx context.Context, secret *corev1.Secret, q queue) {
	for _, endpoint := range endpointsOf(ctx, r, secret) {
		r.wake(ctx, ofEndpoint(&endpoint), q, unsettled)
	}
}

func endpointsOf(ctx context.Context, reader client.Reader, secret *corev1.Secret) []v1alpha1.ReporterEndpoint {
	var endpoints v1alpha1.ReporterEndpointList
	if err := reader.List(ctx, &endpoints, client.MatchingFields{bySecret: client.ObjectKeyFromObject(secret).String()}); err != nil {
		log.FromContext(ctx).Error(err, "Listing the endpoints of a Secret", "secret", client.ObjectKeyFromObject(secret))
	}
	return endpoints.Items
}

// protectedEvents wakes a protector for its own kind: for a finalizer that is missing, and for a deletion.
func protectedEvents[T client.Object](deleted func(T, queue)) handler.TypedFuncs[T, reconcile.Request] {
	return handler.TypedFuncs[T, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[T], q queue) { q.Add(requestFor(e.Object)) },
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[T], q queue) {
			isDeleting := !e.ObjectNew.GetDeletionTimestamp().IsZero()
			if isDeleting != !e.ObjectOld.GetDeletionTimestamp().IsZero() || changed(e.ObjectOld, e.ObjectNew) ||
				(!isDeleting && !controllerutil.ContainsFinalizer(e.ObjectNew, v1alpha1.InUseFinalizer)) {
				q.Add(requestFor(e.ObjectNew))
			}
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[T], q queue) { deleted(e.Object, q) },
	}
}

// endpointEvents wakes the protector for its endpoints, until they are gone.
func (r *endpointProtector) endpointEvents() handler.TypedFuncs[*v1alpha1.ReporterEndpoint, reconcile.Request] {
	return protectedEvents(func(endpoint *v1alpha1.ReporterEndpoint, _ queue) { r.forget(endpoint) })
}

// secretEvents wakes the protector for its Secrets, also when one vanishes: it may only have lost its label.
func (r *secretProtector) secretEvents() handler.TypedFuncs[*corev1.Secret, reconcile.Request] {
	return protectedEvents(func(secret *corev1.Secret, q queue) { q.Add(requestFor(secret)) })
}

// needEvents wakes a protector where the need of a connection for its endpoint ends.
func needEvents(ended func(context.Context, client.ObjectKey, queue)) handler.TypedFuncs[*v1alpha1.ReporterConnection, reconcile.Request] {
	return handler.TypedFuncs[*v1alpha1.ReporterConnection, reconcile.Request]{
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*v1alpha1.ReporterConnection], q queue) {
			if e.ObjectOld.Generation != e.ObjectNew.Generation || len(e.ObjectOld.Finalizers) != len(e.ObjectNew.Finalizers) {
				ended(ctx, endpointKey(e.ObjectOld), q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*v1alpha1.ReporterConnection], q queue) {
			ended(ctx, endpointKey(e.Object), q)
		},
	}
}

// needEnded wakes a deleted endpoint.
func (r *endpointProtector) needEnded(ctx context.Context, endpoint client.ObjectKey, q queue) {
	var found v1alpha1.ReporterEndpoint
	if r.Get(ctx, endpoint, &found) == nil && !found.DeletionTimestamp.IsZero() {
		q.Add(reconcile.Request{NamespacedName: endpoint})
	}
}

// needEnded wakes the deleted Secrets of an endpoint.
func (r *secretProtector) needEnded(ctx context.Context, endpoint client.ObjectKey, q queue) {
	var found v1alpha1.ReporterEndpoint
	if r.Get(ctx, endpoint, &found) == nil {
		r.endpointEnded(ctx, &found, q)
	}
}

func (r *secretProtector) endpointEnded(ctx context.Context, endpoint *v1alpha1.ReporterEndpoint, q queue) {
	for _, name := range secretsOf(endpoint) {
		key := client.ObjectKey{Namespace: endpoint.Namespace, Name: name}
		var found corev1.Secret
		if r.Get(ctx, key, &found) == nil && !found.DeletionTimestamp.IsZero() {
			q.Add(reconcile.Request{NamespacedName: key})
		}
	}
}

// endpointEvents wakes the deleted Secrets of an endpoint that goes or names others. When an endpoint is first seen, its Secrets are
// looked at as well: they may have lost their mark while nobody watched, and still be held.
func (r *secretProtector) endpointEvents() handler.TypedFuncs[*v1alpha1.ReporterEndpoint, reconcile.Request] {
	return handler.TypedFuncs[*v1alpha1.ReporterEndpoint, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*v1alpha1.ReporterEndpoint], q queue) {
			for _, name := range secretsOf(e.Object) {
				q.Add(reconcile.Request{NamespacedName: client.ObjectKey{Namespace: e.Object.Namespace, Name: name}})
			}
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*v1alpha1.ReporterEndpoint], q queue) {
			if e.ObjectOld.Generation != e.ObjectNew.Generation {
				r.endpointEnded(ctx, e.ObjectOld, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*v1alpha1.ReporterEndpoint], q queue) {
			r.endpointEnded(ctx, e.Object, q)
		},
	}
}

// changed says whether an object says something else or somebody asks for an attempt. A deletion counts: the API server gives
// it a generation of its own. So does another object of the same name, whose creation may be seen as an update.
func changed(before, after client.Object) bool {
	return before.GetUID() != after.GetUID() || before.GetGeneration() != after.GetGeneration() ||
		before.GetAnnotations()[v1alpha1.RequestedAtAnnotation] != after.GetAnnotations()[v1alpha1.RequestedAtAnnotation]
}

// enqueue has a resource looked at. Deletions go before what lives, where many are looked at for a common cause.
func enqueue(q queue, rc *v1alpha1.ReporterConnection, common bool) {
	enqueueAt(q, requestFor(rc), priorityOf(!common || !rc.DeletionTimestamp.IsZero()), 0)
}

// priorityOf is that of what somebody waits for, or of the rest.
func priorityOf(urgent bool) int {
	if urgent {
		return 0
	}
	return handler.LowPriority
}

func enqueueAt(q queue, request reconcile.Request, priority int, after time.Duration) {
	if byPriority, ok := q.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		byPriority.AddWithOpts(priorityqueue.AddOpts{Priority: &priority, After: after}, request)
		return
	}
	q.AddAfter(request, after)
}

func requestFor(object client.Object) reconcile.Request {
	return reconcile.Request{NamespacedName: client.ObjectKeyFromObject(object)}
}
