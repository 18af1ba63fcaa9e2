// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// Standing is what another resource's claim on a connection counts for when one is deleted.
type Standing int

// The zero value holds nothing up.
const (
	// ClaimsNothing: whoever was never shown a connection does not claim it.
	ClaimsNothing Standing = iota
	// Unverified: it is not known yet whether Reporter shows it the connection.
	Unverified
	// Creating: it is not known yet what came of its request to create the connection.
	Creating
	// Successor: it goes on claiming the connection.
	Successor
)

// Claim is a live resource that names the connection of a deleted one, and what it counts for.
type Claim struct {
	Connection *v1alpha1.ReporterConnection
	Standing   Standing
}

// IsClaim says whether a resource claims the connection of another one: it is live, and names it or is its heir.
func IsClaim(claim, on *v1alpha1.ReporterConnection) bool {
	id := on.ConnectionID()
	return claim.UID != on.UID && claim.DeletionTimestamp.IsZero() && id != "" && (claim.ConnectionID() == id || IsHeir(claim, on))
}

// IsHeir says whether a live resource describes the connection that was created for another one of its namespace, or that this one took over and
// still has, and has none of its own: it is the same resource under another name.
func IsHeir(heir, of *v1alpha1.ReporterConnection) bool {
	if heir.UID == of.UID || !heir.DeletionTimestamp.IsZero() || heir.Namespace != of.Namespace || heir.ConnectionID() != "" || !heir.Describes() ||
		!of.Describes() || !of.IsTaken() || of.ConnectionID() == "" || of.Status.TakenOverBy != "" {
		return false
	}
	is, was := heir.Spec.Connection, of.Spec.Connection
	return is.ConfigName == was.ConfigName && is.ProductName == was.ProductName && heir.EndpointKey() == of.EndpointKey()
}

// JudgeClaim decides what a live claim counts for when another resource is deleted whose endpoint leads to here. In the same namespace
// every claim counts, whatever it says otherwise. One elsewhere counts by its own look-up: leadsTo is the URL of the endpoint that it
// names and that lets it in, empty if there is none.
//
// Nobody is asked about a claim in the pass of another: a claim that was made before the deletion and has not been looked up since it or
// its endpoint last changed is unverified, and its own pass looks it up first of all.
func JudgeClaim(claim, deleted *v1alpha1.ReporterConnection, leadsTo string, here v1alpha1.ObservedIn) Standing {
	seen := claim.Status.ObservedIn
	switch {
	case claim.Namespace == deleted.Namespace:
		return Successor
	case leadsTo == "" || leadsTo != here.URL:
		return ClaimsNothing
	case seen != nil && seen.MayBe(here):
		return Successor
	case claim.Status.NotShownAt == leadsTo && IsLookedUp(claim) && TraitsOf(readyReason(claim)).RefusesClaim:
		return ClaimsNothing // it was looked up where its endpoint leads, and was not shown the connection
	case seen != nil && seen.URL == leadsTo && IsSettled(claim):
		return ClaimsNothing // it was shown a connection of that id in another tenant
	case deleted.DeletionTimestamp.Before(&claim.CreationTimestamp):
		return ClaimsNothing
	default:
		return Unverified
	}
}

// MayRelease says whether a change of one claim can change what another resource's deletion waits for: it may be its successor now, or the
// one that it could not be sure of. Whoever names a connection that it was never shown wakes nobody.
func MayRelease(changed *v1alpha1.ReporterConnection, gone bool, deleted *v1alpha1.ReporterConnection) bool {
	if changed.Namespace == deleted.Namespace {
		return !gone
	}
	if readyReason(deleted) == v1alpha1.ReasonClaimUnverified {
		return true
	}
	in, seen := changed.Status.ObservedIn, deleted.Status.ObservedIn
	return !gone && in != nil && (seen == nil || in.MayBe(*seen))
}

// successorOf returns the claim that goes on, nil if there is none. It prefers one that has the connection already, and of several one that will
// delete it in its turn.
func successorOf(claims []Claim) *v1alpha1.ReporterConnection {
	var successor *v1alpha1.ReporterConnection
	rank := func(rc *v1alpha1.ReporterConnection) (rank int) {
		if rc.ConnectionID() != "" {
			rank += 2
		}
		if rc.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain {
			rank++
		}
		return rank
	}
	for _, claim := range claims {
		if claim.Standing == Successor && (successor == nil || rank(claim.Connection) >= rank(successor)) {
			successor = claim.Connection
		}
	}
	return successor
}
