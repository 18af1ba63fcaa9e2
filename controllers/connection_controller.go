// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/retry"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// +kubebuilder:rbac:groups=reporter.lerian.studio,resources=reporterconnections,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=reporter.lerian.studio,resources=reporterconnections/status,verbs=patch
// +kubebuilder:rbac:groups=reporter.lerian.studio,resources=reporterendpoints,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Why a deleted resource was released without a deletion in Reporter: the reasons of its events, and the values of the
// metric's label.
const (
	causeRetained       = "Retained"
	causeAlreadyDeleted = "AlreadyDeleted"
)

// connectionReconciler keeps a ReporterConnection and the connection it claims in step.
type connectionReconciler struct {
	client.Client
	live          client.Reader
	access        *accessor
	events        events.EventRecorder
	routine       *pacer
	checkInterval time.Duration
	// suspect has the Reporter of an endpoint checked that behaves otherwise than the endpoint's status says.
	suspect func(*v1alpha1.ReporterEndpoint)
}

// Reconcile makes one pass over one resource.
func (r *connectionReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	// Once a request is sent, its answer is read and acted upon, even while the process is told to end. Every request is
	// bounded by the endpoint's timeout, and the manager waits for longer than that.
	ctx = context.WithoutCancel(ctx)

	var rc v1alpha1.ReporterConnection
	if err := r.Get(ctx, req.NamespacedName, &rc); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !rc.DeletionTimestamp.IsZero() {
		return r.reconcileDeletion(ctx, &rc)
	}
	if err := r.ensureFinalizer(ctx, &rc); err != nil {
		return ctrl.Result{}, ignoreGone(err)
	}
	return r.reconcileLive(ctx, &rc)
}

// ensureFinalizer makes the finalizer say what the deletion policy says, before anything is asked of Reporter: from then on
// the resource cannot go without its connection.
func (r *connectionReconciler) ensureFinalizer(ctx context.Context, rc *v1alpha1.ReporterConnection) error {
	base := rc.DeepCopy()
	changed := false
	if rc.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain {
		changed = controllerutil.RemoveFinalizer(rc, v1alpha1.ConnectionFinalizer)
	} else {
		changed = controllerutil.AddFinalizer(rc, v1alpha1.ConnectionFinalizer)
	}
	if !changed {
		return nil
	}
	if err := r.Patch(ctx, rc, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("setting the finalizer: %w", err)
	}
	return nil
}

// reconcileLive looks the connection up and tells what was found.
func (r *connectionReconciler) reconcileLive(ctx context.Context, rc *v1alpha1.ReporterConnection) (ctrl.Result, error) {
	base := rc.DeepCopy()
	endpoint, c, err := r.clientFor(ctx, rc)
	if err != nil {
		var o *obstacle
		if !errors.As(err, &o) {
			return ctrl.Result{}, err
		}
		return r.told(ctx, base, rc, r.tellLive(rc, o.finding))
	}

	if isSettled(rc) {
		if wait := r.routine.wait(c.URL(), rc.UID, time.Now()); wait > 0 {
			return ctrl.Result{RequeueAfter: wait}, nil
		}
	}
	connection, err := c.Get(ctx, rc.Spec.ConnectionID)
	found := findingOf(err)
	r.compare(endpoint, found)
	if found.answer == answerDone {
		observe(rc, connection, c)
	}
	return r.told(ctx, base, rc, r.tellLive(rc, found))
}

// tellLive puts what was found into the conditions and returns when to look again.
func (r *connectionReconciler) tellLive(rc *v1alpha1.ReporterConnection, found finding) time.Duration {
	if found.answer == answerDone {
		setReady(rc, metav1.ConditionTrue, v1alpha1.ReasonAvailable, "Reporter shows the connection")
		return r.checkInterval
	}
	h := judgeHold(found, "", waitedSince(rc.Status.Conditions, v1alpha1.ConditionReady))
	switch found.answer {
	case answerUnavailable, answerRateLimited:
		if isSettled(rc) {
			return r.checkInterval // the endpoint tells of it; what is known of the connection stands
		}
		setReady(rc, metav1.ConditionUnknown, h.reason, h.message)
	case answerUnexpected, answerWrongPath, answerConflict, answerJobInProgress:
		setReady(rc, metav1.ConditionUnknown, h.reason, h.message)
	case answerAbsent:
		setReady(rc, metav1.ConditionFalse, h.reason, h.message)
		return r.checkInterval
	default:
		setReady(rc, metav1.ConditionFalse, h.reason, h.message)
	}
	return h.comeBack
}

// reconcileDeletion walks a deletion: it either ends with the finalizer gone, or is held with a reason and comes back.
func (r *connectionReconciler) reconcileDeletion(ctx context.Context, rc *v1alpha1.ReporterConnection) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(rc, v1alpha1.ConnectionFinalizer) {
		return ctrl.Result{}, nil
	}
	if rc.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain {
		return ctrl.Result{}, r.leaveBehind(ctx, rc, corev1.EventTypeNormal, causeRetained, "the connection stays in Reporter, as spec.deletionPolicy says")
	}

	base := rc.DeepCopy()
	waited := waitedSince(rc.Status.Conditions, v1alpha1.ConditionDeletionBlocked)
	endpoint, c, err := r.clientFor(ctx, rc)
	if err != nil {
		var o *obstacle
		if !errors.As(err, &o) {
			return ctrl.Result{}, err
		}
		return r.told(ctx, base, rc, tellHeld(rc, judgeHold(o.finding, "", waited)))
	}

	tried := attemptDeletion(ctx, rc, c)
	r.compare(endpoint, tried.deletion)
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
		return r.told(ctx, base, rc, tellHeld(rc, v.hold))
	}
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
	if _, err := r.dropFinalizer(ctx, rc); err != nil {
		return err
	}
	connectionsDeleted.Inc()
	log.FromContext(ctx).Info("Deleted connection in Reporter", "connectionID", rc.Spec.ConnectionID, "configName", configName(rc))
	return nil
}

// leaveBehind releases a resource without a deletion in Reporter, and leaves a trail of it: the resource can no longer tell.
func (r *connectionReconciler) leaveBehind(ctx context.Context, rc *v1alpha1.ReporterConnection, eventType, cause, note string) error {
	dropped, err := r.dropFinalizer(ctx, rc)
	if err != nil || !dropped {
		return err
	}
	connectionsLeftBehind.WithLabelValues(cause).Inc()
	log.FromContext(ctx).Info("Released resource without deleting in Reporter",
		"cause", cause, "connectionID", rc.Spec.ConnectionID, "configName", configName(rc))
	r.events.Eventf(rc, nil, eventType, cause, "Delete", "connection %s: %s", rc.Spec.ConnectionID, note)
	return nil
}

// dropFinalizer removes our finalizer and no other. What led here is known only now, so a conflict is settled here and does
// not send the deletion back to its start. It returns false where the finalizer was gone already: the cache may show a resource
// for a moment longer than it exists, and another pass than this one released it.
func (r *connectionReconciler) dropFinalizer(ctx context.Context, rc *v1alpha1.ReporterConnection) (bool, error) {
	released := rc.DeepCopy()
	dropped := false
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		base := released.DeepCopy()
		dropped = controllerutil.RemoveFinalizer(released, v1alpha1.ConnectionFinalizer)
		if !dropped {
			return nil
		}
		err := r.Patch(ctx, released, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
		if apierrors.IsConflict(err) {
			if err := r.live.Get(ctx, client.ObjectKeyFromObject(rc), released); err != nil {
				return err
			}
		}
		return err
	})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("removing the finalizer: %w", err)
	}
	return dropped, nil
}

// told writes the status, if it says anything new, and comes back after about the given time.
func (r *connectionReconciler) told(ctx context.Context, base, rc *v1alpha1.ReporterConnection, comeBack time.Duration) (ctrl.Result, error) {
	rc.Status.ObservedGeneration = rc.Generation
	if !equality.Semantic.DeepEqual(base.Status, rc.Status) {
		if err := r.Status().Patch(ctx, rc, client.MergeFrom(base)); err != nil {
			return ctrl.Result{}, ignoreGone(err)
		}
		ready := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionReady)
		log.FromContext(ctx).Info("Status changed", "ready", ready.Status, "reason", ready.Reason, "deleting", !rc.DeletionTimestamp.IsZero())
	}
	return ctrl.Result{RequeueAfter: jitter(comeBack)}, nil
}

// clientFor returns the endpoint of a connection and a client for it. The error is an *obstacle where a user can mend it.
func (r *connectionReconciler) clientFor(ctx context.Context, rc *v1alpha1.ReporterConnection) (*v1alpha1.ReporterEndpoint, *reporter.Client, error) {
	var endpoint v1alpha1.ReporterEndpoint
	key := endpointKey(rc)
	err := r.Get(ctx, key, &endpoint)
	if apierrors.IsNotFound(err) {
		return nil, nil, &obstacle{finding{answer: answerEndpointNotFound, detail: fmt.Sprintf(
			"ReporterEndpoint %q does not exist in namespace %q. Create it, or name another in spec.endpointRef", key.Name, key.Namespace)}}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading ReporterEndpoint %s: %w", key, err)
	}
	c, err := r.access.clientFor(ctx, &endpoint)
	return &endpoint, c, err
}

// compare has the endpoint looked at where what was just found of its Reporter is not what its status says.
func (r *connectionReconciler) compare(endpoint *v1alpha1.ReporterEndpoint, found finding) {
	trouble := found.answer == answerUnavailable || found.answer == answerUnauthorized
	if trouble == apimeta.IsStatusConditionTrue(endpoint.Status.Conditions, v1alpha1.ConditionReady) {
		r.suspect(endpoint)
	}
}

// tellHeld puts a hold into the conditions and returns when to come back. DeletionBlocked keeps its lastTransitionTime through
// changes of reason: it is the start of the wait.
func tellHeld(rc *v1alpha1.ReporterConnection, h hold) time.Duration {
	setReady(rc, metav1.ConditionFalse, h.reason, h.message)
	apimeta.SetStatusCondition(&rc.Status.Conditions, metav1.Condition{
		Type:               v1alpha1.ConditionDeletionBlocked,
		Status:             metav1.ConditionTrue,
		Reason:             h.reason,
		Message:            h.message,
		ObservedGeneration: rc.Generation,
	})
	return h.comeBack
}

func setReady(rc *v1alpha1.ReporterConnection, status metav1.ConditionStatus, reason, message string) {
	apimeta.SetStatusCondition(&rc.Status.Conditions, metav1.Condition{
		Type:               v1alpha1.ConditionReady,
		Status:             status,
		Reason:             reason,
		Message:            message,
		ObservedGeneration: rc.Generation,
	})
}

// isSettled says whether the connection was found under the spec as it is now, so that looking again is routine.
func isSettled(rc *v1alpha1.ReporterConnection) bool {
	ready := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == rc.Generation
}

// waitedSince is how long a condition has been what it is.
func waitedSince(conditions []metav1.Condition, conditionType string) time.Duration {
	condition := apimeta.FindStatusCondition(conditions, conditionType)
	if condition == nil {
		return 0
	}
	return time.Since(condition.LastTransitionTime.Time)
}

func observe(rc *v1alpha1.ReporterConnection, connection *reporter.Connection, c *reporter.Client) {
	in := observedIn(c)
	rc.Status.ObservedIn = &in
	rc.Status.Connection = &v1alpha1.ObservedConnection{
		ConfigName:   connection.ConfigName,
		ProductName:  connection.ProductName,
		Type:         connection.Type,
		Host:         connection.Host,
		Port:         connection.Port,
		DatabaseName: connection.DatabaseName,
		CreatedAt:    timeOrNil(connection.CreatedAt),
		UpdatedAt:    timeOrNil(connection.UpdatedAt),
	}
}

func observedIn(c *reporter.Client) v1alpha1.ObservedIn {
	return v1alpha1.ObservedIn{URL: c.URL(), TenantID: c.TenantID()}
}

// timeOrNil drops what Kubernetes does not keep, so that the same time read twice is no change.
func timeOrNil(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	kept := metav1.NewTime(t).Rfc3339Copy()
	return &kept
}

func configName(rc *v1alpha1.ReporterConnection) string {
	if rc.Status.Connection == nil {
		return ""
	}
	return rc.Status.Connection.ConfigName
}

func endpointKey(rc *v1alpha1.ReporterConnection) client.ObjectKey {
	return client.ObjectKey{Namespace: rc.Namespace, Name: rc.Spec.EndpointRef.Name}
}

// jitter spreads by a tenth to either side what would otherwise come back together.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64())) //nolint:gosec // nothing secret about it
}

// ignoreGone drops the errors of a write to what has vanished or changed meanwhile: an event of it is on its way.
func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
