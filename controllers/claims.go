// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// heirOf returns a live resource that claims the connection of a deleted one too, nil if there is none. It prefers one that
// will delete the connection in its turn. In the resource's own namespace every claim counts, whatever it says otherwise. One
// elsewhere counts if its endpoint lets it in, leads to the same place, and it was shown the connection there: anybody may write an
// id down. If it was not yet, it is looked up now; if that gives no answer, it is unclear whether the connection may be deleted.
//
// The cache shows resources of one kind in the order in which they changed. So whoever sees this one deleted sees every claim
// that was made before, and of two that are deleted at the same time the one that was first sees the other alive at most once:
// the last one always deletes.
func (r *connectionReconciler) heirOf(ctx context.Context, rc *v1alpha1.ReporterConnection, to reach) (heir *v1alpha1.ReporterConnection, unclear *finding, err error) {
	claims, err := r.otherClaims(ctx, rc)
	if err != nil {
		return nil, nil, err
	}
	prefer := func(claim *v1alpha1.ReporterConnection) {
		if heir == nil || claim.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain {
			heir = claim
		}
	}
	for i := range claims {
		if claims[i].Namespace == rc.Namespace {
			prefer(&claims[i])
		}
	}
	if heir != nil {
		return heir, nil, nil
	}
	var open []types.UID // the claims of which it is unclear
	if to.client == nil {
		r.deletions.isPatient(rc.UID, open, time.Now())
		return nil, nil, nil
	}
	// Endpoints of others may be slow, or made to be: they get little time in all, and cannot hold a deletion for long.
	proving, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	for i := range claims {
		found, err := r.prove(proving, &claims[i], to)
		switch {
		case err != nil:
			return nil, nil, err
		case found.answer == answerDone:
			prefer(&claims[i])
		case found.answer != answerAbsent:
			found.heldBack, found.paced = false, false // nobody calls this one when the other's credentials can be used again
			found.detail = "whether a ReporterConnection in another namespace is shown the connection as well cannot be found out: " + found.detail
			unclear, open = &found, append(open, claims[i].UID)
		}
	}
	if !r.deletions.isPatient(rc.UID, open, time.Now()) {
		unclear = nil
	}
	return heir, unclear, nil
}

const (
	// proofTimeout bounds what looking claims up may add to one attempt of a deletion.
	proofTimeout = 5 * time.Second
	// proofPatience is how long a deletion is held for claims that cannot be looked up. A restart begins it anew.
	proofPatience = 10 * time.Minute
)

// prove finds out whether a claim elsewhere holds at a place: done, if it does; absent, if it does not; anything else, if no answer
// of Reporter's tells. What it was shown there before counts, whatever has become of its credentials.
func (r *connectionReconciler) prove(ctx context.Context, claim *v1alpha1.ReporterConnection, at reach) (finding, error) {
	absent := finding{answer: answerAbsent}
	by, err := r.reach(ctx, claim)
	if err != nil || by.endpoint == nil || (by.client != nil && by.client.URL() != at.in.URL) {
		return absent, err
	}
	in := claim.Status.ObservedIn
	if in != nil && *in == at.in {
		return finding{answer: answerDone}, nil
	}
	// It may not have been looked up yet, or without an answer, or not since its endpoint leads here. One that Reporter answered, and
	// did not show the connection, is nobody's claim.
	if by.client == nil || (in == nil && isRefused(claim)) {
		return absent, nil
	}
	tenantID, err := by.client.Login(ctx)
	if err == nil && tenantID != at.in.TenantID {
		return absent, nil
	}
	if err == nil {
		_, err = by.client.Get(ctx, claim.Spec.ConnectionID)
	}
	switch found := findingOf(err); found.answer {
	case answerAbsent, answerInvalidID, answerUnauthorized, answerInvalidEndpoint:
		return absent, nil // what its credentials do not show it, it has no claim on
	default:
		return found, nil
	}
}

// isRefused says whether Reporter has answered a look-up under the spec as it is now, and did not show the connection. A 403 proves
// nothing: Reporter sends it also while its Access Manager fails, and proxies do.
func isRefused(rc *v1alpha1.ReporterConnection) bool {
	ready := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.ObservedGeneration != rc.Generation {
		return false
	}
	switch ready.Reason {
	case v1alpha1.ReasonConnectionNotFound, v1alpha1.ReasonUnauthorized, v1alpha1.ReasonInvalidConnectionID:
		return true
	}
	return false
}

// elderOf returns the oldest live resource that claims the connection of a younger one too, as far as their status tells, nil if
// there is none.
func (r *connectionReconciler) elderOf(ctx context.Context, rc *v1alpha1.ReporterConnection) (*v1alpha1.ReporterConnection, error) {
	claims, err := r.otherClaims(ctx, rc)
	elder := rc
	for i := range claims {
		in := claims[i].Status.ObservedIn
		if isOlder(&claims[i], elder) && (claims[i].Namespace == rc.Namespace || (in != nil && *in == *rc.Status.ObservedIn)) {
			elder = &claims[i]
		}
	}
	if elder == rc {
		return nil, err
	}
	return elder, err
}

// otherClaims lists the live resources that name the connection of another.
func (r *connectionReconciler) otherClaims(ctx context.Context, rc *v1alpha1.ReporterConnection) ([]v1alpha1.ReporterConnection, error) {
	var all v1alpha1.ReporterConnectionList
	if err := r.List(ctx, &all, client.MatchingFields{byConnectionID: rc.Spec.ConnectionID}); err != nil {
		return nil, fmt.Errorf("listing the claims on a connection: %w", err)
	}
	return slices.DeleteFunc(all.Items, func(other v1alpha1.ReporterConnection) bool {
		return other.UID == rc.UID || !other.DeletionTimestamp.IsZero()
	}), nil
}

func isOlder(a, b *v1alpha1.ReporterConnection) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Namespace+"/"+a.Name < b.Namespace+"/"+b.Name
}

// nameFor names a resource to the readers of another's status and events, who need not know what there is elsewhere.
func nameFor(reader, other *v1alpha1.ReporterConnection) string {
	if other.Namespace != reader.Namespace {
		return "a ReporterConnection in another namespace"
	}
	return fmt.Sprintf("ReporterConnection %q", other.Name)
}
