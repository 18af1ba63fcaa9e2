// SPDX-License-Identifier: Apache-2.0

package protection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/access"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
)

// The finalizer is put on and taken off. RBAC knows no fields, so config/admission refuses any other change:
// +kubebuilder:rbac:groups=reporter.lerian.studio,resources=reporterendpoints,verbs=patch

// EndpointReconciler holds a deleted ReporterEndpoint for the connections whose deletion will need it.
type EndpointReconciler struct {
	client.Client
	Live   client.Reader
	Access *access.Accessor
	// Random returns a number from 0 up to 1.
	Random func() float64

	mu     sync.Mutex
	listed map[types.UID]time.Time // when the users of a deleted endpoint were last listed in its status
}

// listInterval is the least time between two lists of an endpoint's users in its status.
const listInterval = time.Minute

// Reconcile makes one pass over one endpoint.
func (r *EndpointReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var endpoint v1alpha1.ReporterEndpoint
	if err := r.Get(ctx, req.NamespacedName, &endpoint); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if endpoint.DeletionTimestamp.IsZero() {
		return kube.ResultOf(kube.EnsureFinalizer(ctx, r.Client, &endpoint, v1alpha1.InUseFinalizer))
	}
	if !controllerutil.ContainsFinalizer(&endpoint, v1alpha1.InUseFinalizer) {
		return ctrl.Result{}, nil
	}
	users, err := usersOf(ctx, r.Access, r, &endpoint, cachedUsers(&endpoint))
	if err == nil && len(users) == 0 {
		users, err = usersOf(ctx, r.Access, r.Live, &endpoint, liveUsers(&endpoint))
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	if len(users) > 0 {
		return r.listUsers(ctx, &endpoint, users)
	}
	r.forget(&endpoint)
	return kube.ResultOf(r.release(ctx, &endpoint))
}

// release takes our finalizer off. Before, the status says which finalizers of others hold the endpoint; afterwards, if it is so, that the
// API server refuses it.
func (r *EndpointReconciler) release(ctx context.Context, endpoint *v1alpha1.ReporterEndpoint) error {
	const done = "no ReporterConnection needs this endpoint"
	others, held := decision.JudgeFinalizers(endpoint.Finalizers, v1alpha1.InUseFinalizer, done)
	if held {
		if err := r.say(ctx, endpoint, others); err != nil && !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) {
			return err
		}
	}
	_, err := kube.DropFinalizer(ctx, r.Client, endpoint, v1alpha1.InUseFinalizer)
	if refusal := kube.RefusalOf(err); refusal != "" && !held {
		err = errors.Join(err, r.say(ctx, endpoint, decision.RefusedRelease(done, refusal)))
	}
	return err
}

// say writes into the status, if it is new, why a deleted endpoint is still there.
func (r *EndpointReconciler) say(ctx context.Context, endpoint *v1alpha1.ReporterEndpoint, block decision.Block) error {
	base := endpoint.DeepCopy()
	before := apimeta.FindStatusCondition(endpoint.Status.Conditions, v1alpha1.ConditionDeletionBlocked)
	if block.Unstable && before != nil && before.Reason == block.Reason {
		return nil
	}
	apimeta.SetStatusCondition(&endpoint.Status.Conditions, metav1.Condition{
		Type:               v1alpha1.ConditionDeletionBlocked,
		Status:             metav1.ConditionTrue,
		Reason:             block.Reason,
		Message:            block.Message,
		ObservedGeneration: endpoint.Generation,
	})
	if equality.Semantic.DeepEqual(base.Status, endpoint.Status) {
		return nil
	}
	return r.Status().Patch(ctx, endpoint, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
}

// listUsers lists the users in the status, at most once a listInterval.
func (r *EndpointReconciler) listUsers(ctx context.Context, endpoint *v1alpha1.ReporterEndpoint, users []v1alpha1.ReporterConnection) (ctrl.Result, error) {
	if wait := r.wait(endpoint, time.Now()); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	if err := r.say(ctx, endpoint, inUse(users)); err != nil {
		r.forget(endpoint)
		return kube.ResultOf(err)
	}
	return ctrl.Result{RequeueAfter: decision.Jitter(listInterval, r.Random())}, nil
}

func (r *EndpointReconciler) wait(endpoint *v1alpha1.ReporterEndpoint, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if wait := r.listed[endpoint.UID].Add(listInterval).Sub(now); wait > 0 {
		return wait
	}
	if r.listed == nil {
		r.listed = map[types.UID]time.Time{}
	}
	r.listed[endpoint.UID] = now
	return 0
}

func (r *EndpointReconciler) forget(endpoint *v1alpha1.ReporterEndpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.listed, endpoint.UID)
}

// inUse names the first of the users, and says how many there are.
func inUse(users []v1alpha1.ReporterConnection) decision.Block {
	const most = 10
	names := make([]string, len(users))
	for i := range users {
		names[i] = client.ObjectKeyFromObject(&users[i]).String()
	}
	slices.Sort(names)
	more := ""
	if len(names) > most {
		more, names = fmt.Sprintf(" and %d more", len(names)-most), names[:most]
	}
	return decision.BlockFor(v1alpha1.ReasonInUse, fmt.Sprintf("ReporterConnections %s%s", strings.Join(names, ", "), more), 0)
}
