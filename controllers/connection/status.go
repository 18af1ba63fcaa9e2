// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// patchStatus writes the status, if it says anything new, and comes back after the given time. What holds for all that use the same
// Reporter is written at a pace: there may be thousands to say it.
func (r *Reconciler) patchStatus(ctx context.Context, base, rc *v1alpha1.ReporterConnection, retryIn time.Duration) (ctrl.Result, error) {
	rc.Status.ObservedGeneration = rc.Generation
	if equality.Semantic.DeepEqual(base.Status, rc.Status) {
		return ctrl.Result{RequeueAfter: retryIn}, nil
	}
	ready := orZero(apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionReady))
	if decision.TraitsOf(ready.Reason).Shared && saysTheSame(base, rc) &&
		!r.sharedWrites.Take(rc.EndpointKey(), kube.RequestFor(rc)) {
		return ctrl.Result{RequeueAfter: retryIn}, nil
	}
	// A pass that a late cache has misled, or that goes on after another process took over, says nothing any more.
	if err := r.Status().Patch(ctx, rc, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		result, err := kube.ResultOf(err)
		if result.RequeueAfter > 0 { // another pass asks Reporter again
			known := r.recordOf(rc)
			result.RequeueAfter = max(result.RequeueAfter, decision.Proportional(known.waited(time.Now())))
		}
		return result, err
	}
	logTransition(ctx, base, rc)
	return ctrl.Result{RequeueAfter: retryIn}, nil
}

// saysTheSame says whether a status says nothing new but in its conditions: those another pass finds out again.
func saysTheSame(base, rc *v1alpha1.ReporterConnection) bool {
	status := *rc.Status.DeepCopy()
	status.Conditions, status.ObservedGeneration = base.Status.Conditions, base.Status.ObservedGeneration
	return equality.Semantic.DeepEqual(base.Status, status)
}

// setBlocked puts a block into the conditions of a deleted resource. DeletionBlocked keeps its lastTransitionTime through changes of
// reason, as it is the start of the wait, but where the wait so far says nothing about the one that follows.
func setBlocked(rc *v1alpha1.ReporterConnection, block decision.Block) {
	apimeta.RemoveStatusCondition(&rc.Status.Conditions, v1alpha1.ConditionStalled) // that was of the resource while it lived
	setCondition(rc, v1alpha1.ConditionReady, metav1.ConditionFalse, block)
	before := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionDeletionBlocked)
	if before != nil && decision.TraitsOf(before.Reason).NotReportersDoing && !decision.TraitsOf(block.Reason).NotReportersDoing {
		apimeta.RemoveStatusCondition(&rc.Status.Conditions, v1alpha1.ConditionDeletionBlocked)
	}
	setCondition(rc, v1alpha1.ConditionDeletionBlocked, metav1.ConditionTrue, block)
}

// setCondition keeps the message where it may be another from try to try although the reason is the same: each new text would be a new
// write.
func setCondition(rc *v1alpha1.ReporterConnection, conditionType string, status metav1.ConditionStatus, block decision.Block) {
	apimeta.SetStatusCondition(&rc.Status.Conditions, metav1.Condition{
		Type:               conditionType,
		Status:             status,
		Reason:             block.Reason,
		Message:            block.MessageOver(apimeta.FindStatusCondition(rc.Status.Conditions, conditionType), rc.Generation),
		ObservedGeneration: rc.Generation,
	})
}

// observe notes what Reporter shows of a connection, and where.
func observe(rc *v1alpha1.ReporterConnection, shown *reporter.Connection, place v1alpha1.ObservedIn) {
	rc.Status.ObservedIn = &place
	rc.Status.NotShownAt = ""
	rc.Status.ConnectionID = shown.ID
	rc.Status.Connection = &v1alpha1.ObservedConnection{
		ConfigName:   shown.ConfigName,
		ProductName:  shown.ProductName,
		Type:         shown.Type,
		Host:         shown.Host,
		Port:         shown.Port,
		DatabaseName: shown.DatabaseName,
		CreatedAt:    timeOrNil(shown.CreatedAt),
		UpdatedAt:    timeOrNil(shown.UpdatedAt),
	}
	if described := rc.Spec.Connection; described != nil {
		showDescribed(rc.Status.Connection, described, shown.Settings)
	}
}

// showDescribed notes what is as described in the very words of the description: they are no secret, though the password may be among them.
func showDescribed(noted *v1alpha1.ObservedConnection, described *v1alpha1.ConnectionDescription, shown reporter.Settings) {
	for _, text := range []struct {
		noted     *string
		described string
		shown     *string
	}{
		{&noted.ConfigName, described.ConfigName, shown.ConfigName}, {&noted.Type, string(described.Type), shown.Type},
		{&noted.Host, described.Host, shown.Host}, {&noted.DatabaseName, described.DatabaseName, shown.DatabaseName},
	} {
		if text.shown != nil && *text.shown == text.described {
			*text.noted = text.described
		}
	}
}

// timeOrNil drops what Kubernetes does not keep, so that the same time read twice is no change.
func timeOrNil(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	kept := metav1.NewTime(t).Rfc3339Copy()
	return &kept
}

func isReady(endpoint *v1alpha1.ReporterEndpoint) bool {
	return apimeta.IsStatusConditionTrue(endpoint.Status.Conditions, v1alpha1.ConditionReady)
}

func orZero[T any](pointer *T) T {
	if pointer == nil {
		return *new(T)
	}
	return *pointer
}

// setStalled says whether only a person can end what keeps a resource from being Ready.
func setStalled(rc *v1alpha1.ReporterConnection) {
	ready := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Status == metav1.ConditionTrue || !decision.TraitsOf(ready.Reason).Stalled {
		apimeta.RemoveStatusCondition(&rc.Status.Conditions, v1alpha1.ConditionStalled)
		return
	}
	setCondition(rc, v1alpha1.ConditionStalled, metav1.ConditionTrue, decision.Block{Reason: ready.Reason, Message: ready.Message})
}
