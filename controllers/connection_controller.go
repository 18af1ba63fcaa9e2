// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
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
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

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
	if err := patchMetadata(ctx, r.Client, rc, base); err != nil {
		return fmt.Errorf("setting the finalizer: %w", err)
	}
	return nil
}

// reconcileLive looks the connection up and tells what was found.
func (r *connectionReconciler) reconcileLive(ctx context.Context, rc *v1alpha1.ReporterConnection) (ctrl.Result, error) {
	base := rc.DeepCopy()
	to, err := r.reach(ctx, rc)
	if err != nil {
		return ctrl.Result{}, err
	}
	if to.client == nil {
		return r.told(ctx, base, rc, jitter(r.tellLive(rc, to.obstacle, nil)))
	}
	if isSettled(rc) {
		if wait := r.routine.wait(to.client.URL(), rc.UID, time.Now()); wait > 0 {
			return ctrl.Result{RequeueAfter: wait}, nil
		}
	}
	connection, err := to.client.Get(ctx, rc.Spec.ConnectionID)
	found := findingOf(err)
	r.compare(to.endpoint, found)
	var elder *v1alpha1.ReporterConnection
	if found.answer == answerDone {
		observe(rc, connection, to.client)
		if elder, err = r.elderOf(ctx, rc); err != nil {
			return ctrl.Result{}, err
		}
	}
	return r.told(ctx, base, rc, jitter(r.tellLive(rc, found, elder)))
}

// tellLive puts what was found into the conditions and returns when to look again.
func (r *connectionReconciler) tellLive(rc *v1alpha1.ReporterConnection, found finding, elder *v1alpha1.ReporterConnection) time.Duration {
	if found.answer == answerDone && elder != nil {
		setReady(rc, metav1.ConditionTrue, v1alpha1.ReasonDuplicate, fmt.Sprintf(
			"Reporter shows the connection, and %s claims it too, for longer. It is deleted with the last resource that claims it", nameFor(rc, elder)))
		return r.checkInterval
	}
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

// told writes the status, if it says anything new, and comes back after the given time.
func (r *connectionReconciler) told(ctx context.Context, base, rc *v1alpha1.ReporterConnection, comeBack time.Duration) (ctrl.Result, error) {
	rc.Status.ObservedGeneration = rc.Generation
	if !equality.Semantic.DeepEqual(base.Status, rc.Status) {
		if err := r.Status().Patch(ctx, rc, client.MergeFrom(base)); err != nil {
			return ctrl.Result{}, ignoreGone(err)
		}
		ready := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionReady)
		log.FromContext(ctx).Info("Status changed", "ready", ready.Status, "reason", ready.Reason, "deleting", !rc.DeletionTimestamp.IsZero())
	}
	return ctrl.Result{RequeueAfter: comeBack}, nil
}

// reach is how a connection is reached right now. Without a client there is an obstacle, which a user can mend.
type reach struct {
	endpoint *v1alpha1.ReporterEndpoint // nil where there is none, or none that may be used
	client   *reporter.Client
	obstacle finding
}

func (r *connectionReconciler) reach(ctx context.Context, rc *v1alpha1.ReporterConnection) (reach, error) {
	var to reach
	var err error
	if to.endpoint, err = r.access.endpointFor(ctx, rc); err == nil {
		to.client, err = r.access.clientFor(ctx, to.endpoint)
	}
	var o *obstacle
	if errors.As(err, &o) {
		to.obstacle, err = o.finding, nil
	}
	return to, err
}

// compare has the endpoint looked at where what was just found of its Reporter is not what its status says.
func (r *connectionReconciler) compare(endpoint *v1alpha1.ReporterEndpoint, found finding) {
	trouble := found.answer == answerUnavailable || found.answer == answerUnauthorized
	if trouble == apimeta.IsStatusConditionTrue(endpoint.Status.Conditions, v1alpha1.ConditionReady) {
		r.suspect(endpoint)
	}
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
	return client.ObjectKey{Namespace: cmp.Or(rc.Spec.EndpointRef.Namespace, rc.Namespace), Name: rc.Spec.EndpointRef.Name}
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
