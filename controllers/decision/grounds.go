// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"fmt"
	"slices"
	"time"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// Grounds are all that a deletion rests on before Reporter is asked for it.
type Grounds struct {
	// Connection is the deleted resource, nil if there is no such object any more.
	Connection *v1alpha1.ReporterConnection
	// Endpoint is the one that it names and may use, nil if there is none.
	Endpoint *v1alpha1.ReporterEndpoint
	// Obstacle says why Reporter cannot be asked, where a user can mend that; its reason is Available where it can be asked.
	Obstacle Outcome
	// Claims are those of the other live resources that name the connection.
	Claims []Claim
	// ServerTime is the time by the clock of the API server, which says when the resource was deleted.
	ServerTime time.Time
	// IsPatient says whether unverified claims may still hold the deletion.
	IsPatient bool
}

// Step is the next step of a deletion.
type Step int

// The zero value waits.
const (
	// StepWait: the deletion is blocked.
	StepWait Step = iota
	// StepNone: the resource is not ours to release any more, or is not deleted.
	StepNone
	// StepRetain: the resource goes, and the connection stays.
	StepRetain
	// StepHandOver: the resource goes, and another one goes on claiming the connection.
	StepHandOver
	// StepDelete: nothing is in the way of a DELETE.
	StepDelete
)

// GroundsVerdict is the next step of a deletion, with what there is to say about it.
type GroundsVerdict struct {
	Step Step
	// Block is why the deletion waits.
	Block
	// RetainedBy says whose deletionPolicy has the connection stay.
	RetainedBy string
	// Successor goes on claiming the connection.
	Successor *v1alpha1.ReporterConnection
}

// JudgeGrounds decides about the steps of a deletion before the DELETE. It is asked twice: with what the caches show, which may block a
// deletion, and with what the API server says, right before anything is done that cannot be undone.
func JudgeGrounds(g Grounds, now time.Time) GroundsVerdict {
	rc, endpoint := g.Connection, g.Endpoint
	if rc == nil || rc.DeletionTimestamp.IsZero() || !slices.Contains(rc.Finalizers, v1alpha1.ConnectionFinalizer) {
		return GroundsVerdict{Step: StepNone}
	}
	if rc.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain {
		return GroundsVerdict{Step: StepRetain, RetainedBy: "spec.deletionPolicy"}
	}
	if endpoint != nil && endpoint.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain {
		return GroundsVerdict{Step: StepRetain, RetainedBy: fmt.Sprintf("spec.deletionPolicy of ReporterEndpoint %q", endpoint.Name)}
	}
	if block, blocked := judgeBrakes(rc, endpoint, g.ServerTime); blocked {
		return GroundsVerdict{Block: block}
	}
	if successor := successorOf(g.Claims); successor != nil {
		return GroundsVerdict{Step: StepHandOver, Successor: successor}
	}
	if i := slices.IndexFunc(g.Claims, func(claim Claim) bool { return claim.Standing == Creating }); i >= 0 {
		return GroundsVerdict{Block: BlockFor(v1alpha1.ReasonCreating, fmt.Sprintf("ReporterConnection %q, which goes on with it, waits for what came of that",
			g.Claims[i].Connection.Name), createdDelay)}
	}
	if !g.Obstacle.IsDone() {
		return GroundsVerdict{Block: JudgeBlock(g.Obstacle, WaitedForReporter(rc, now))}
	}
	if g.IsPatient && slices.ContainsFunc(g.Claims, func(claim Claim) bool { return claim.Standing == Unverified }) {
		return GroundsVerdict{Block: BlockFor(v1alpha1.ReasonClaimUnverified, "", Proportional(WaitedSince(rc.Status.Conditions, v1alpha1.ConditionDeletionBlocked, now)))}
	}
	return GroundsVerdict{Step: StepDelete}
}

// judgeBrakes says whether a person blocks the deletion, or it is not yet due.
func judgeBrakes(rc *v1alpha1.ReporterConnection, endpoint *v1alpha1.ReporterEndpoint, now time.Time) (block Block, blocked bool) {
	if rc.Spec.DeletionProtection {
		return BlockFor(v1alpha1.ReasonDeletionProtected, "", 0), true
	}
	if block, suspended := judgeSuspension(rc, endpoint); suspended {
		return block, true
	}
	if endpoint == nil {
		return Block{}, false
	}
	// The server's time is known to a second only, so a deletion may seem to be in the future: that must not make a delay of what has none.
	if delay := endpoint.Spec.DeletionDelay; delay != nil && delay.Duration > 0 {
		due := rc.DeletionTimestamp.Add(delay.Duration)
		if wait := due.Sub(now); wait > 0 {
			return BlockFor(v1alpha1.ReasonDeletionDelayed, fmt.Sprintf("%s (spec.deletionDelay of ReporterEndpoint %q)",
				due.UTC().Format(time.RFC3339), endpoint.Name), wait), true
		}
	}
	return Block{}, false
}

func judgeSuspension(rc *v1alpha1.ReporterConnection, endpoint *v1alpha1.ReporterEndpoint) (block Block, suspended bool) {
	switch {
	case rc.Spec.Suspend:
		return BlockFor(v1alpha1.ReasonSuspended, "", 0), true
	case endpoint != nil && endpoint.Spec.Suspend:
		return BlockFor(v1alpha1.ReasonSuspended, fmt.Sprintf(" of ReporterEndpoint %q", endpoint.Name), 0), true
	default:
		return Block{}, false
	}
}

// JudgeManagement says whether a connection may be created or changed.
func JudgeManagement(rc *v1alpha1.ReporterConnection, endpoint *v1alpha1.ReporterEndpoint) (block Block, forbidden bool) {
	if block, suspended := judgeSuspension(rc, endpoint); suspended {
		return block, true
	}
	if endpoint.Spec.ManagementPolicy == v1alpha1.ManagementPolicyDeleteOnly {
		return BlockFor(v1alpha1.ReasonManagementForbidden, fmt.Sprintf("%q", endpoint.Name), 0), true
	}
	return Block{}, false
}
