// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// Bounds of the delay before another attempt.
const (
	MinDelay = time.Second
	MaxDelay = 10 * time.Minute
)

// Proportional is how long to wait after having waited so long already: an eighth of it, within the bounds. The clock of whoever wrote
// the start of the wait down may be ahead of ours, so a wait may seem negative.
func Proportional(waited time.Duration) time.Duration {
	return min(max(waited/8, MinDelay), MaxDelay)
}

// retryIn is when Reporter said, within the bounds, or else in proportion. What is held back is woken when Reporter answers again.
func retryIn(o Outcome, waited time.Duration) time.Duration {
	switch {
	case o.HeldBack:
		return MaxDelay
	case o.RetryAfter == 0:
		return Proportional(waited)
	default:
		return min(max(o.RetryAfter, MinDelay), MaxDelay)
	}
}

// Jitter spreads a delay by a tenth to either side, by a random number from 0 up to 1.
func Jitter(delay time.Duration, random float64) time.Duration {
	return time.Duration(float64(delay) * (0.9 + 0.2*random))
}

// WaitedSince is how long a condition has been what it is, 0 if there is none.
func WaitedSince(conditions []metav1.Condition, conditionType string, now time.Time) time.Duration {
	condition := apimeta.FindStatusCondition(conditions, conditionType)
	if condition == nil {
		return 0
	}
	return now.Sub(condition.LastTransitionTime.Time)
}

// WaitedNotReady is how long Ready has not been True, 0 while it is.
func WaitedNotReady(conditions []metav1.Condition, now time.Time) time.Duration {
	if apimeta.IsStatusConditionTrue(conditions, v1alpha1.ConditionReady) {
		return 0
	}
	return WaitedSince(conditions, v1alpha1.ConditionReady, now)
}

// WaitedForReporter is how long a deletion has been blocked by Reporter, or by what is in the way to it. Holds by people do not count.
func WaitedForReporter(rc *v1alpha1.ReporterConnection, now time.Time) time.Duration {
	blocked := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionDeletionBlocked)
	if blocked == nil || TraitsOf(blocked.Reason).NotReportersDoing {
		return 0
	}
	return now.Sub(blocked.LastTransitionTime.Time)
}

// WaitsForReporter says whether a deletion was blocked, when its status was written, by something that only Reporter can tell the end
// of, and whether nobody has touched it since.
func WaitsForReporter(rc *v1alpha1.ReporterConnection) bool {
	blocked := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionDeletionBlocked)
	if blocked == nil || blocked.ObservedGeneration != rc.Generation {
		return false
	}
	traits := TraitsOf(blocked.Reason)
	return !traits.Local && !traits.NotReportersDoing
}

// IsBlockedInReporter says whether a deletion waits for something inside a Reporter that has answered.
func IsBlockedInReporter(rc *v1alpha1.ReporterConnection) bool {
	ready := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.ObservedGeneration == rc.Generation && TraitsOf(ready.Reason).InReporter
}
