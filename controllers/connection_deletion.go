// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// Why a deleted resource was released without a deletion in Reporter: the reasons of its events, and the values of the
// metric's label.
const (
	causeRetained       = "Retained"
	causeHandedOver     = "HandedOver"
	causeAlreadyDeleted = "AlreadyDeleted"
)

// reconcileDeletion walks a deletion: it either ends with the finalizer gone, or is held with a reason and comes back.
func (r *connectionReconciler) reconcileDeletion(ctx context.Context, rc *v1alpha1.ReporterConnection) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(rc, v1alpha1.ConnectionFinalizer) {
		return ctrl.Result{}, nil
	}
	if rc.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain {
		return ctrl.Result{}, r.leaveBehind(ctx, rc, corev1.EventTypeNormal, causeRetained, "the connection stays in Reporter, as spec.deletionPolicy says")
	}
	to, err := r.reach(ctx, rc)
	if err != nil {
		return ctrl.Result{}, err
	}
	if to.endpoint != nil && to.endpoint.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain {
		return ctrl.Result{}, r.leaveBehind(ctx, rc, corev1.EventTypeNormal, causeRetained,
			fmt.Sprintf("the connection stays in Reporter, as spec.deletionPolicy of ReporterEndpoint %q says", to.endpoint.Name))
	}
	base := rc.DeepCopy()
	if h, held := judgeBrakes(rc, to.endpoint, time.Now()); held {
		return r.told(ctx, base, rc, tellHeld(rc, h))
	}
	heir, err := r.heirOf(ctx, rc, to.client)
	if err != nil {
		return ctrl.Result{}, err
	}
	if heir != nil {
		return r.handOver(ctx, rc, heir)
	}
	waited := waitedFor(rc)
	if to.client == nil {
		return r.told(ctx, base, rc, jitter(tellHeld(rc, judgeHold(to.obstacle, "", waited))))
	}

	tried := attemptDeletion(ctx, rc, to.client)
	r.compare(to.endpoint, tried.deletion)
	v := judgeDeletion(tried, waited)
	switch {
	case v.release && v.neverSeen:
		return ctrl.Result{}, r.leaveBehind(ctx, rc, corev1.EventTypeWarning, causeAlreadyDeleted,
			"Reporter has no such connection, and this resource never saw it: if spec.connectionID is wrong, the right connection is still there")
	case v.release && tried.deletion.answer == answerAbsent:
		return ctrl.Result{}, r.leaveBehind(ctx, rc, corev1.EventTypeNormal, causeAlreadyDeleted, "the connection was already deleted in Reporter")
	case v.release:
		return ctrl.Result{}, r.finish(ctx, rc)
	default:
		return r.told(ctx, base, rc, jitter(tellHeld(rc, v.hold)))
	}
}

// handOver releases a resource whose connection another one goes on claiming. That one is held first, so that its own deletion
// cannot be missed.
func (r *connectionReconciler) handOver(ctx context.Context, rc, heir *v1alpha1.ReporterConnection) (ctrl.Result, error) {
	if err := r.ensureFinalizer(ctx, heir); err != nil {
		if ignoreGone(err) == nil { // it has changed: look again who claims the connection
			return ctrl.Result{RequeueAfter: soonest}, nil
		}
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, r.leaveBehind(ctx, rc, corev1.EventTypeNormal, causeHandedOver,
		fmt.Sprintf("the connection stays in Reporter, as %s claims it", nameFor(rc, heir)))
}

// attemptDeletion asks Reporter to delete, and where it does not find the connection, whether it really is not there.
func attemptDeletion(ctx context.Context, rc *v1alpha1.ReporterConnection, c *reporter.Client) attempt {
	in := rc.Status.ObservedIn
	a := attempt{
		deletion: findingOf(c.Delete(ctx, rc.Spec.ConnectionID)),
		seen:     in != nil,
		seenHere: in != nil && *in == observedIn(c),
	}
	switch {
	case a.deletion.answer == answerAbsent:
		_, err := c.Get(ctx, rc.Spec.ConnectionID)
		a.confirmation = findingOf(err)
	case a.deletion.answer == answerJobInProgress && rc.Status.Connection == nil:
		// Jobs name connections by configName. What was deleted before it was ever looked at still needs one to tell.
		if connection, err := c.Get(ctx, rc.Spec.ConnectionID); err == nil {
			observe(rc, connection, c)
		}
	}
	if rc.Status.Connection != nil {
		a.configName = rc.Status.Connection.ConfigName
	}
	return a
}

// finish releases a resource whose connection was soft-deleted just now.
func (r *connectionReconciler) finish(ctx context.Context, rc *v1alpha1.ReporterConnection) error {
	if _, err := dropFinalizer(ctx, r.Client, r.live, rc, v1alpha1.ConnectionFinalizer); err != nil {
		return err
	}
	connectionsDeleted.Inc()
	log.FromContext(ctx).Info("Deleted connection in Reporter", "connectionID", rc.Spec.ConnectionID, "configName", configName(rc))
	return nil
}

// leaveBehind releases a resource without a deletion in Reporter, and leaves a trail of it: the resource can no longer tell.
func (r *connectionReconciler) leaveBehind(ctx context.Context, rc *v1alpha1.ReporterConnection, eventType, cause, note string) error {
	dropped, err := dropFinalizer(ctx, r.Client, r.live, rc, v1alpha1.ConnectionFinalizer)
	if err != nil || !dropped {
		return err
	}
	connectionsLeftBehind.WithLabelValues(cause).Inc()
	log.FromContext(ctx).Info("Released resource without deleting in Reporter",
		"cause", cause, "connectionID", rc.Spec.ConnectionID, "configName", configName(rc))
	if terminating, err := isTerminating(ctx, r, rc.Namespace); err != nil || terminating {
		return err // nothing can be created there any more
	}
	r.events.Eventf(rc, nil, eventType, cause, "Delete", "connection %s: %s", rc.Spec.ConnectionID, note)
	return nil
}

// tellHeld puts a hold into the conditions and returns when to come back. DeletionBlocked keeps its lastTransitionTime through
// changes of reason, as it is the start of the wait, but for one: a wait for a person says nothing about the one that follows.
func tellHeld(rc *v1alpha1.ReporterConnection, h hold) time.Duration {
	setReady(rc, metav1.ConditionFalse, h.reason, h.message)
	before := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionDeletionBlocked)
	if before != nil && isBrake(before.Reason) && !isBrake(h.reason) {
		apimeta.RemoveStatusCondition(&rc.Status.Conditions, v1alpha1.ConditionDeletionBlocked)
	}
	apimeta.SetStatusCondition(&rc.Status.Conditions, metav1.Condition{
		Type:               v1alpha1.ConditionDeletionBlocked,
		Status:             metav1.ConditionTrue,
		Reason:             h.reason,
		Message:            h.message,
		ObservedGeneration: rc.Generation,
	})
	return h.comeBack
}

// waitedFor is how long a deletion has been held by anything but a person.
func waitedFor(rc *v1alpha1.ReporterConnection) time.Duration {
	blocked := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionDeletionBlocked)
	if blocked == nil || isBrake(blocked.Reason) {
		return 0
	}
	return time.Since(blocked.LastTransitionTime.Time)
}

// isBrake says whether a reason is a person's doing.
func isBrake(reason string) bool {
	switch reason {
	case v1alpha1.ReasonDeletionProtected, v1alpha1.ReasonSuspended, v1alpha1.ReasonDeletionDelayed:
		return true
	}
	return false
}
