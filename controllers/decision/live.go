// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// Look is all that the decision about a live resource looks at.
type Look struct {
	// Outcome is that of the GET, or of what failed on the way to it.
	Outcome Outcome
	// Settled says whether the connection was found before, under the spec as it is now.
	Settled bool
	// OlderClaim names an older resource that claims the connection too, empty if there is none.
	OlderClaim string
	// Waited is how long the resource has not been Ready.
	Waited time.Duration
}

// LiveVerdict is what Ready says of a live resource, and when to look again.
type LiveVerdict struct {
	// Status is that of Ready. If it is empty, what the condition says stands: the endpoint tells that Reporter cannot be asked.
	Status metav1.ConditionStatus
	Block
}

// JudgeLive decides what a look-up says about a live resource. A RetryIn of 0 is the next routine check.
func JudgeLive(l Look) LiveVerdict {
	switch {
	case l.Outcome.IsDone() && l.OlderClaim != "":
		return LiveVerdict{metav1.ConditionTrue, BlockFor(v1alpha1.ReasonDuplicate, "Reporter shows the connection, and "+l.OlderClaim+
			" claims it too and is older. The connection is deleted with the last resource that claims it", 0)}
	case l.Outcome.IsDone():
		return LiveVerdict{metav1.ConditionTrue, BlockFor(v1alpha1.ReasonAvailable, "", 0)}
	}
	block := JudgeBlock(l.Outcome, l.Waited)
	traits := TraitsOf(block.Reason)
	switch {
	case traits.Shared && l.Settled:
		return LiveVerdict{"", Block{}}
	case traits.Inconclusive:
		return LiveVerdict{metav1.ConditionUnknown, block}
	case l.Outcome.IsAbsent():
		block.RetryIn = 0
	}
	return LiveVerdict{metav1.ConditionFalse, block}
}

// IsLookedUp says whether the status describes the spec as it is now, so that looking the connection up again is routine.
func IsLookedUp(rc *v1alpha1.ReporterConnection) bool {
	ready := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.ObservedGeneration == rc.Generation
}

// IsSettled says whether the connection was found under the spec as it is now.
func IsSettled(rc *v1alpha1.ReporterConnection) bool {
	return IsLookedUp(rc) && apimeta.IsStatusConditionTrue(rc.Status.Conditions, v1alpha1.ConditionReady)
}

// readyReason is the reason of Ready, empty if there is none.
func readyReason(rc *v1alpha1.ReporterConnection) string {
	ready := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return ""
	}
	return ready.Reason
}
