// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// logTransition leaves a line where Ready changes: what it says now, what it said before, and for how long it had been as it was, ready or
// not. Where Ready stays as it is, the line is for who asks for more.
func logTransition(ctx context.Context, base, rc *v1alpha1.ReporterConnection) {
	before := orZero(apimeta.FindStatusCondition(base.Status.Conditions, v1alpha1.ConditionReady))
	now := orZero(apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionReady))
	logger := log.FromContext(ctx)
	if before.Status == now.Status && before.Reason == now.Reason {
		logger = logger.V(1)
	}
	var after time.Duration
	if !before.LastTransitionTime.IsZero() {
		after = time.Since(before.LastTransitionTime.Time)
	}
	logger.Info("Status changed", "connectionID", rc.ConnectionID(), "endpoint", rc.EndpointKey().String(), "ready", now.Status, "reason", now.Reason,
		"before", before.Reason, "after", rounded(after), "deleting", !rc.DeletionTimestamp.IsZero())
}

// sinceDeletion is how long ago a resource was deleted, 0 if it was not.
func sinceDeletion(rc *v1alpha1.ReporterConnection) time.Duration {
	if rc.DeletionTimestamp.IsZero() {
		return 0
	}
	return time.Since(rc.DeletionTimestamp.Time)
}

// rounded is a duration as logs have it: the times of Kubernetes have no fractions of seconds.
func rounded(d time.Duration) string { return d.Round(time.Second).String() }
