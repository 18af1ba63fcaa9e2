// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// Endpoints tell whether Reporter answers, and who holds them:
// +kubebuilder:rbac:groups=reporter.lerian.studio,resources=reporterendpoints/status,verbs=patch

// endpointReconciler keeps the Ready condition of a ReporterEndpoint true to its Reporter.
type endpointReconciler struct {
	client.Client
	access        *accessor
	checkInterval time.Duration
	// suspected is when an endpoint was last to be checked because of a connection, by namespace/name.
	suspected sync.Map
}

// suspicionInterval is the least time between two checks of an endpoint for which connections gave cause. What is wrong with one
// connection need not be wrong with the Reporter, and must not double the calls.
const suspicionInterval = 3 * time.Second

// suspicionDelay is how long a suspicion of an endpoint has to wait. One that waits already serves for all that come meanwhile.
func (r *endpointReconciler) suspicionDelay(endpoint client.ObjectKey, now time.Time) time.Duration {
	next := now
	if last, found := r.suspected.Load(endpoint); found {
		next = last.(time.Time)
		if !next.After(now) {
			next = next.Add(suspicionInterval)
		}
	}
	if next.Before(now) {
		next = now
	}
	r.suspected.Store(endpoint, next)
	return next.Sub(now)
}

// slowestProbe bounds how long the recovery of a Reporter goes unnoticed: one request a minute for all its connections.
const slowestProbe = time.Minute

// Reconcile checks the Reporter of one endpoint.
func (r *endpointReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var endpoint v1alpha1.ReporterEndpoint
	if err := r.Get(ctx, req.NamespacedName, &endpoint); err != nil {
		r.suspected.Delete(req.NamespacedName)
		r.access.forget(req.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	base := endpoint.DeepCopy()
	found, err := r.check(ctx, &endpoint)
	if err != nil {
		return ctrl.Result{}, err
	}
	comeBack := r.tell(&endpoint, found)

	endpoint.Status.ObservedGeneration = endpoint.Generation
	if !equality.Semantic.DeepEqual(base.Status, endpoint.Status) {
		// Its protector writes to the same list of conditions.
		err := r.Status().Patch(ctx, &endpoint, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
		if err != nil {
			return settle(err)
		}
		ready := apimeta.FindStatusCondition(endpoint.Status.Conditions, v1alpha1.ConditionReady)
		log.FromContext(ctx).Info("Status changed", "ready", ready.Status, "reason", ready.Reason)
	}
	return ctrl.Result{RequeueAfter: jitter(comeBack)}, nil
}

func (r *endpointReconciler) check(ctx context.Context, endpoint *v1alpha1.ReporterEndpoint) (finding, error) {
	c, err := r.access.clientFor(ctx, endpoint)
	if err != nil {
		var o *obstacle
		if errors.As(err, &o) {
			return o.finding, nil
		}
		return finding{}, err
	}
	return findingOf(c.Check(ctx)), nil
}

// tell puts what was found into the Ready condition and returns when to look again.
func (r *endpointReconciler) tell(endpoint *v1alpha1.ReporterEndpoint, found finding) time.Duration {
	ready := metav1.Condition{
		Type:               v1alpha1.ConditionReady,
		Status:             metav1.ConditionTrue,
		Reason:             v1alpha1.ReasonAvailable,
		Message:            "Reporter answers, and accepts the credentials if there are any",
		ObservedGeneration: endpoint.Generation,
	}
	comeBack := r.checkInterval
	if found.answer != answerDone {
		waited := time.Duration(0)
		if !apimeta.IsStatusConditionTrue(endpoint.Status.Conditions, v1alpha1.ConditionReady) {
			waited = waitedSince(endpoint.Status.Conditions, v1alpha1.ConditionReady)
		}
		found.heldBack = false // the one who looks is not called
		h := judgeHold(found, "", waited)
		comeBack = min(h.comeBack, slowestProbe)
		known := apimeta.FindStatusCondition(endpoint.Status.Conditions, v1alpha1.ConditionReady)
		if found.answer == answerRateLimited && known != nil && known.ObservedGeneration == endpoint.Generation {
			return comeBack // it answers, and has not looked at the credentials: what is known stands
		}
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, h.reason, h.message
		if h.fickle && known != nil && known.Reason == h.reason && known.ObservedGeneration == endpoint.Generation {
			ready.Message = known.Message
		}
	}
	apimeta.SetStatusCondition(&endpoint.Status.Conditions, ready)
	return comeBack
}
