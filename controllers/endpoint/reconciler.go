// SPDX-License-Identifier: Apache-2.0

// Package endpoint keeps the Ready condition of ReporterEndpoints true to their Reporters.
package endpoint

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/access"
	"github.com/reporter-operator/reporter-operator/controllers/admission"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// Endpoints say whether Reporter answers, and who holds them:
// +kubebuilder:rbac:groups=reporter.lerian.studio,resources=reporterendpoints/status,verbs=patch

// Reconciler keeps the Ready condition of a ReporterEndpoint true to its Reporter.
type Reconciler struct {
	client.Client
	Access        *access.Accessor
	CheckInterval time.Duration
	// Random returns a number from 0 up to 1.
	Random func() float64

	mu sync.Mutex
	// requested is when an endpoint was last to be checked because of a connection.
	requested map[client.ObjectKey]time.Time
	// urgent are the endpoints for which somebody has asked for a check now.
	urgent map[client.ObjectKey]bool
	// checks has those of one namespace wait for each other.
	checks *admission.Queues[string, reconcile.Request]
}

// checksPerNamespace is how many endpoints of one namespace are checked at the same time: many that hang must not keep those of others
// waiting.
const checksPerNamespace = 16

// Init makes a Reconciler ready for use.
func (r *Reconciler) Init() *Reconciler {
	r.checks = admission.NewQueues[string, reconcile.Request]()
	return r
}

// OnQueue gives the reconciler the queue of its controller before it is used: checks that waited are dispatched into it.
func (r *Reconciler) OnQueue(q kube.Queue) {
	r.checks.OnDispatch(func(request reconcile.Request, after time.Duration) {
		kube.Enqueue(q, request, kube.PriorityGranted, after)
	})
}

const (
	// requestedCheckInterval is the least time between two checks of an endpoint for which connections gave cause. What is wrong with
	// one connection need not be wrong with the Reporter, and must not double the calls.
	requestedCheckInterval = 3 * time.Second
	// maxProbeInterval bounds how long the recovery of a Reporter goes unnoticed: one request a minute for all its connections.
	maxProbeInterval = time.Minute
)

// requestedCheckDelay is how long a requested check of an endpoint has to wait. One that waits already serves for all that are requested
// meanwhile.
func (r *Reconciler) requestedCheckDelay(endpoint client.ObjectKey, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := now
	if last, found := r.requested[endpoint]; found {
		next = last
		if !next.After(now) {
			next = next.Add(requestedCheckInterval)
		}
	}
	if next.Before(now) {
		next = now
	}
	if r.requested == nil {
		r.requested = map[client.ObjectKey]time.Time{}
	}
	r.requested[endpoint] = next
	return next.Sub(now)
}

// forget drops what is known of an endpoint that is gone.
func (r *Reconciler) forget(endpoint client.ObjectKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.requested, endpoint)
	delete(r.urgent, endpoint)
	r.Access.Release(endpoint)
	r.checks.Forget(reconcile.Request{NamespacedName: endpoint})
}

// markUrgent has the next check of an endpoint made whatever its Reporter has asked for.
func (r *Reconciler) markUrgent(endpoint client.ObjectKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.urgent == nil {
		r.urgent = map[client.ObjectKey]bool{}
	}
	r.urgent[endpoint] = true
}

func (r *Reconciler) isUrgent(endpoint client.ObjectKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.urgent[endpoint]
}

func (r *Reconciler) takeUrgent(endpoint client.ObjectKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	urgent := r.urgent[endpoint]
	delete(r.urgent, endpoint)
	return urgent
}

// Reconcile checks the Reporter of one endpoint.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	defer r.checks.Begin(req)()
	var endpoint v1alpha1.ReporterEndpoint
	if err := r.Get(ctx, req.NamespacedName, &endpoint); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	free, _ := r.checks.Acquire(admission.Waiter[string, reconcile.Request]{Request: req, Server: req.Namespace, Limit: checksPerNamespace,
		Preferred: isHopeful(&endpoint) || r.isUrgent(req.NamespacedName), Now: time.Now()})
	if free == nil {
		return ctrl.Result{}, nil // it is dispatched in its turn
	}
	if r.takeUrgent(req.NamespacedName) {
		ctx = reporter.WithUrgency(ctx)
	}
	base := endpoint.DeepCopy()
	outcome, err := r.check(ctx, &endpoint, free)
	if err != nil {
		return ctrl.Result{}, err
	}
	retryIn := r.setReady(&endpoint, outcome)

	endpoint.Status.ObservedGeneration = endpoint.Generation
	if !equality.Semantic.DeepEqual(base.Status, endpoint.Status) {
		// Its protector writes to the same list of conditions.
		err := r.Status().Patch(ctx, &endpoint, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
		if err != nil {
			return kube.ResultOf(err)
		}
		ready := apimeta.FindStatusCondition(endpoint.Status.Conditions, v1alpha1.ConditionReady)
		log.FromContext(ctx).Info("Status changed", "ready", ready.Status, "reason", ready.Reason)
	}
	return ctrl.Result{RequeueAfter: decision.Jitter(retryIn, r.Random())}, nil
}

// isHopeful says whether an endpoint was Ready, or was changed since it was not: such ones go before those that failed, and before new ones,
// of which there may be many.
func isHopeful(endpoint *v1alpha1.ReporterEndpoint) bool {
	ready := apimeta.FindStatusCondition(endpoint.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && (ready.Status == metav1.ConditionTrue || ready.ObservedGeneration != endpoint.Generation)
}

// check asks the Reporter of an endpoint, and frees the slot for others then.
func (r *Reconciler) check(ctx context.Context, endpoint *v1alpha1.ReporterEndpoint, free func()) (decision.Outcome, error) {
	defer free()
	c, err := r.Access.ClientFor(ctx, endpoint)
	var o *access.ObstacleError
	switch {
	case errors.As(err, &o):
		return o.Outcome, nil
	case err != nil:
		return decision.Outcome{}, err
	}
	return access.OutcomeOf(c.Check(ctx)), nil
}

// setReady puts what was found into the conditions Ready and Stalled and returns when to check again.
func (r *Reconciler) setReady(endpoint *v1alpha1.ReporterEndpoint, outcome decision.Outcome) time.Duration {
	ready := metav1.Condition{
		Type:               v1alpha1.ConditionReady,
		Status:             metav1.ConditionTrue,
		Reason:             v1alpha1.ReasonAvailable,
		Message:            "Reporter answers, and accepts the credentials if there are any",
		ObservedGeneration: endpoint.Generation,
	}
	retryIn := r.CheckInterval
	if !outcome.IsDone() {
		outcome.HeldBack = false // nobody wakes the one who checks
		block := decision.JudgeBlock(outcome, decision.WaitedNotReady(endpoint.Status.Conditions, time.Now()))
		retryIn = min(block.RetryIn, maxProbeInterval)
		known := apimeta.FindStatusCondition(endpoint.Status.Conditions, v1alpha1.ConditionReady)
		isCurrent := known != nil && known.ObservedGeneration == endpoint.Generation
		if isCurrent && block.Reason == v1alpha1.ReasonRateLimited {
			return retryIn // it answers, and has not looked at the credentials: what is known stands
		}
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, block.Reason, block.MessageOver(known, endpoint.Generation)
	}
	apimeta.SetStatusCondition(&endpoint.Status.Conditions, ready)
	if decision.TraitsOf(ready.Reason).StallsEndpoint {
		ready.Type, ready.Status = v1alpha1.ConditionStalled, metav1.ConditionTrue
		apimeta.SetStatusCondition(&endpoint.Status.Conditions, ready)
	} else {
		apimeta.RemoveStatusCondition(&endpoint.Status.Conditions, v1alpha1.ConditionStalled)
	}
	return retryIn
}
