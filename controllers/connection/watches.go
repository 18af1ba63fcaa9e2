// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"fmt"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/access"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
)

// ConnectionEvents wakes for what changes a resource's claim, and not for our own writes: a status changes no generation, and
// a finalizer of ours is of interest only when it is missing.
func (r *Reconciler) ConnectionEvents() handler.TypedFuncs[*v1alpha1.ReporterConnection, reconcile.Request] {
	return handler.TypedFuncs[*v1alpha1.ReporterConnection, reconcile.Request]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[*v1alpha1.ReporterConnection], q kube.Queue) {
			if !e.Object.DeletionTimestamp.IsZero() {
				r.beginRecord(e.Object)
			}
			if !e.IsInInitialList {
				r.wakeClaims(ctx, e.Object, false, q)
			}
			if e.IsInInitialList && decision.WaitsForReporter(e.Object) {
				// All that waited when the operator started would ask Reporter in the same moment.
				waited := decision.WaitedSince(e.Object.Status.Conditions, v1alpha1.ConditionDeletionBlocked, time.Now())
				q.AddAfter(kube.RequestFor(e.Object), time.Duration(r.Random()*float64(decision.Proportional(waited))))
				return
			}
			enqueue(q, e.Object, e.IsInInitialList)
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*v1alpha1.ReporterConnection], q kube.Queue) {
			r.connectionChanged(ctx, e.ObjectOld, e.ObjectNew, q)
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*v1alpha1.ReporterConnection], q kube.Queue) {
			r.wakeClaims(ctx, e.Object, true, q)
			r.connectionGone(ctx, e.Object)
			q.Add(kube.RequestFor(e.Object)) // to forget what a pass under way adds
		},
	}
}

func (r *Reconciler) connectionChanged(ctx context.Context, before, after *v1alpha1.ReporterConnection, q kube.Queue) {
	if before.UID != after.UID {
		r.connectionGone(ctx, before) // another one of the same name came while the watch was broken off
	} else if r.abortIfOlder(after.ResourceVersion, before.ResourceVersion) != nil {
		return
	}
	if !after.DeletionTimestamp.IsZero() {
		r.beginRecord(after)
		if before.UID == after.UID && controllerutil.ContainsFinalizer(before, v1alpha1.ConnectionFinalizer) && !controllerutil.ContainsFinalizer(after, v1alpha1.ConnectionFinalizer) {
			r.leaveTrail(ctx, after, false)
		}
	}
	if before.Generation != after.Generation || !reflect.DeepEqual(before.Status.ObservedIn, after.Status.ObservedIn) || before.Status.NotShownAt != after.Status.NotShownAt {
		r.wakeClaims(ctx, after, false, q)
	}
	if !isDuplicate(before) && isDuplicate(after) && r.isAlone(ctx, after) {
		enqueue(q, after, true) // the older claim went while this was written, and found no duplicate to wake
	}
	stripped := after.DeletionTimestamp.IsZero() && after.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain &&
		!controllerutil.ContainsFinalizer(after, v1alpha1.ConnectionFinalizer)
	if stripped || kube.Changed(before, after) || kube.Wiped(before.Status.Conditions, after.Status.Conditions) {
		if kube.Requested(before, after) {
			r.urgent.LoadOrStore(kube.RequestFor(after), false)
		}
		r.lookups.Exempt(kube.RequestFor(after))
		q.Add(kube.RequestFor(after))
	}
}

// connectionGone forgets a resource that is gone, after it has left its trail.
func (r *Reconciler) connectionGone(ctx context.Context, rc *v1alpha1.ReporterConnection) {
	r.leaveTrail(ctx, rc, true)
	r.forget(kube.RequestFor(rc))
	r.records.forget(rc)
	r.memories.forget(rc)
}

// forget drops what waits for a turn, or was asked for, under the name of a resource that is gone.
func (r *Reconciler) forget(request reconcile.Request) {
	for _, wait := range r.waits {
		wait.queue.Forget(request)
	}
	r.urgent.Delete(request)
}

// abortIfOlder ends the process where the API server shows an older state than it has shown before, as after a restore of its store:
// nothing that is in the caches may be believed any more. The error says so; it is nil where all is well.
func (r *Reconciler) abortIfOlder(now, before string) error {
	order, err := resourceversion.CompareResourceVersion(now, before)
	if err != nil || order >= 0 {
		return nil //nolint:nilerr // versions that have no order say nothing
	}
	err = fmt.Errorf("the API server has gone back from resource version %s to %s", before, now)
	r.Abort(err)
	return err
}

// wakeClaims wakes the other resources that claim a connection, where a change of one changes what they say or wait for: one that may
// succeed a deleted one releases it; one that goes may leave a duplicate as the only one.
func (r *Reconciler) wakeClaims(ctx context.Context, changed *v1alpha1.ReporterConnection, gone bool, q kube.Queue) {
	var all v1alpha1.ReporterConnectionList
	if err := r.List(ctx, &all, client.MatchingFields{kube.ByConnectionID: changed.ConnectionID()}, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Listing claims to wake")
		return
	}
	if changed.Describes() {
		r.wakeDescribed(ctx, changed, gone, q)
	}
	gone = gone || !changed.DeletionTimestamp.IsZero()
	for i := range all.Items {
		other := &all.Items[i]
		switch {
		case other.UID == changed.UID:
		case !other.DeletionTimestamp.IsZero():
			if decision.MayRelease(changed, gone, other) {
				r.lookups.Exempt(kube.RequestFor(other))
				enqueue(q, other, true)
			}
		case isDuplicate(other) && other.Status.ObservedIn != nil && oldestBefore(other, all.Items) == nil:
			enqueue(q, other, true)
		}
	}
}

// wakeDescribed wakes the other resources that describe the same connection: a new one may be the heir of one that is being deleted, and one that
// goes may leave it to another.
func (r *Reconciler) wakeDescribed(ctx context.Context, changed *v1alpha1.ReporterConnection, gone bool, q kube.Queue) {
	var all v1alpha1.ReporterConnectionList
	if err := r.List(ctx, &all, client.InNamespace(changed.Namespace), client.MatchingFields{kube.ByDescription: kube.DescriptionKey(changed)},
		client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Listing who describes a connection")
		return
	}
	for i := range all.Items {
		other := &all.Items[i]
		if other.UID != changed.UID && (decision.IsHeir(changed, other) && !other.DeletionTimestamp.IsZero() || gone && isDuplicate(other)) {
			r.lookups.Exempt(kube.RequestFor(other))
			enqueue(q, other, true)
		}
	}
}

func isDuplicate(rc *v1alpha1.ReporterConnection) bool {
	ready := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Reason == v1alpha1.ReasonDuplicate
}

// isAlone says whether no older resource claims the connection of one that Reporter has shown it to.
func (r *Reconciler) isAlone(ctx context.Context, rc *v1alpha1.ReporterConnection) bool {
	if rc.Status.ObservedIn == nil {
		return false
	}
	older, err := r.olderClaimOf(ctx, rc)
	return err == nil && older == ""
}

// NamespaceEvents wakes what is in a namespace that gets other labels: an endpoint elsewhere may allow it by them, or no longer.
func (r *Reconciler) NamespaceEvents() handler.TypedFuncs[*metav1.PartialObjectMetadata, reconcile.Request] {
	return handler.TypedFuncs[*metav1.PartialObjectMetadata, reconcile.Request]{
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*metav1.PartialObjectMetadata], q kube.Queue) {
			if !reflect.DeepEqual(e.ObjectOld.Labels, e.ObjectNew.Labels) {
				r.wake(ctx, client.InNamespace(e.ObjectNew.Name), q, every)
			}
		},
	}
}

// EndpointEvents wakes the connections of an endpoint that appears, says something else, or is Ready again.
func (r *Reconciler) EndpointEvents() handler.TypedFuncs[*v1alpha1.ReporterEndpoint, reconcile.Request] {
	return handler.TypedFuncs[*v1alpha1.ReporterEndpoint, reconcile.Request]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[*v1alpha1.ReporterEndpoint], q kube.Queue) {
			if !e.IsInInitialList { // else each connection comes by itself
				r.wake(ctx, kube.UsersOf(e.Object), q, unsettled)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*v1alpha1.ReporterEndpoint], q kube.Queue) {
			switch {
			case e.ObjectOld.Generation != e.ObjectNew.Generation:
				r.wake(ctx, kube.UsersOf(e.ObjectNew), q, every)
			case !isReady(e.ObjectOld) && isReady(e.ObjectNew):
				r.wake(ctx, kube.UsersOf(e.ObjectNew), q, func(rc *v1alpha1.ReporterConnection) bool {
					return unsettled(rc) && !decision.IsBlockedInReporter(rc) && !r.requests.IsWaiting(kube.RequestFor(rc)) // else it is dispatched in turn
				})
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*v1alpha1.ReporterEndpoint], q kube.Queue) {
			r.wake(ctx, kube.UsersOf(e.Object), q, every)
		},
	}
}

// SecretEvents wakes the connections of the endpoints that name a Secret which appears, vanishes, or has other contents, and those that are
// described with it.
func (r *Reconciler) SecretEvents() handler.TypedFuncs[*corev1.Secret, reconcile.Request] {
	return access.SecretEvents(func(ctx context.Context, secret *corev1.Secret, q kube.Queue) {
		r.wake(ctx, kube.DescribedWith(secret), q, (*v1alpha1.ReporterConnection).Describes)
		for _, endpoint := range access.EndpointsOf(ctx, r, secret) {
			r.wake(ctx, kube.UsersOf(&endpoint), q, unsettled)
		}
	})
}

func every(*v1alpha1.ReporterConnection) bool { return true }

// unsettled says whether a connection waits for something: its deletion, to be found, or what somebody has asked for.
func unsettled(rc *v1alpha1.ReporterConnection) bool {
	return !rc.DeletionTimestamp.IsZero() || !decision.IsSettled(rc) || rc.Describes() && isAskedFor(rc, v1alpha1.RequestedAtAnnotation)
}

// wake adds those of the connections listed that wait for what has happened.
func (r *Reconciler) wake(ctx context.Context, listed client.ListOption, q kube.Queue, which func(*v1alpha1.ReporterConnection) bool) {
	var connections v1alpha1.ReporterConnectionList
	if err := r.List(ctx, &connections, listed, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Listing connections to wake")
		return
	}
	for i := range connections.Items {
		if rc := &connections.Items[i]; which(rc) {
			if unsettled(rc) || rc.Describes() {
				r.lookups.Exempt(kube.RequestFor(rc))
			}
			enqueue(q, rc, true)
		}
	}
}

// enqueue has a resource reconciled. Deletions go before what lives, where many are woken by a common cause.
func enqueue(q kube.Queue, rc *v1alpha1.ReporterConnection, common bool) {
	kube.Enqueue(q, kube.RequestFor(rc), kube.PriorityOf(!common || !rc.DeletionTimestamp.IsZero()), 0)
}
