// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
)

const (
	// claimPatience is how long in all a deletion is held for claims elsewhere that have not been looked up. A restart begins it anew.
	claimPatience = 10 * time.Minute
	// claimReads bounds how many endpoints are read live for claims elsewhere, so that nobody makes another's deletion slow with many. Those
	// of resources that were shown the connection are read all the same: who may not delete it cannot make any.
	claimReads = 8
)

// currentClaims lists the other resources that claim the connection of a deleted one, as the API server had them.
func (d *deletion) currentClaims(ctx context.Context, s *snapshot, rc *v1alpha1.ReporterConnection) ([]v1alpha1.ReporterConnection, error) {
	cached, err := d.otherClaims(ctx, rc)
	if err != nil {
		return nil, err
	}
	var claims []v1alpha1.ReporterConnection
	for i := range cached {
		claim, err := d.current(ctx, s, &cached[i])
		if err != nil {
			return nil, err
		}
		if claim != nil && decision.IsClaim(claim, rc) {
			claims = append(claims, *claim)
		}
	}
	for i := range s.newcomers {
		if decision.IsClaim(&s.newcomers[i], rc) {
			claims = append(claims, s.newcomers[i])
		}
	}
	return claims, nil
}

// judgeClaims says what the other live claims on the connection of a deleted resource count for. Those elsewhere are left out where it is
// not known in which place Reporter is asked.
//
// The cache shows resources of one kind in the order in which they changed. So whoever sees this one deleted sees every claim
// that was made before, and of two that are deleted at the same time the one that was first sees the other alive at most once:
// the last one always deletes.
func (d *deletion) judgeClaims(ctx context.Context, rc *v1alpha1.ReporterConnection, others []v1alpha1.ReporterConnection, here *v1alpha1.ObservedIn) []decision.Claim {
	var claims []decision.Claim
	destinations := map[destinationKey]destination{}
	for i := range others {
		other := &others[i]
		switch {
		case decision.IsHeir(other, rc) && other.Status.Creation != nil:
			claims = append(claims, decision.Claim{Connection: other, Standing: decision.Creating})
		case other.Namespace == rc.Namespace:
			claims = append(claims, decision.Claim{Connection: other, Standing: decision.Successor})
		case here != nil:
			claims = append(claims, decision.Claim{Connection: other, Standing: d.judgeClaimElsewhere(ctx, rc, other, *here, destinations)})
		}
	}
	return claims
}

// judgeClaimElsewhere judges a claim in another namespace. Where it cannot be found out where its endpoint leads, it is unverified:
// another's objects never fail this pass.
func (d *deletion) judgeClaimElsewhere(ctx context.Context, rc, claim *v1alpha1.ReporterConnection, here v1alpha1.ObservedIn,
	destinations map[destinationKey]destination) decision.Standing {
	standing := decision.JudgeClaim(claim, rc, here.URL, here)
	if standing == decision.ClaimsNothing {
		return standing // wherever its endpoint leads
	}
	key := destinationKey{claim.Namespace, claim.EndpointKey()}
	to, known := destinations[key]
	if !known && (standing == decision.Successor || len(destinations) < claimReads) {
		url, err := d.Access.LeadsTo(ctx, claim, here.URL, d.recordOf(d.rc).since)
		to = destination{url, err == nil}
		destinations[key] = to
	}
	if !to.known {
		return decision.Unverified
	}
	return decision.JudgeClaim(claim, rc, to.url, here)
}

// destination is where an endpoint leads the resources of a namespace, if that is known.
type destination struct {
	url   string
	known bool
}

type destinationKey struct {
	namespace string
	endpoint  client.ObjectKey
}

// olderClaimOf names the oldest live resource that claims the connection of a younger one too, as far as their status shows; empty if
// there is none.
func (r *Reconciler) olderClaimOf(ctx context.Context, rc *v1alpha1.ReporterConnection) (string, error) {
	claims, err := r.otherClaims(ctx, rc)
	if oldest := oldestBefore(rc, claims); oldest != nil {
		return nameFor(rc, oldest), err
	}
	return "", err
}

// oldestBefore returns the oldest live claim that is older than another, nil if there is none.
func oldestBefore(rc *v1alpha1.ReporterConnection, claims []v1alpha1.ReporterConnection) *v1alpha1.ReporterConnection {
	oldest := rc
	for i := range claims {
		claim, in := &claims[i], claims[i].Status.ObservedIn
		if claim.UID != rc.UID && claim.DeletionTimestamp.IsZero() && isOlder(claim, oldest) &&
			(claim.Namespace == rc.Namespace || (in != nil && in.MayBe(*rc.Status.ObservedIn))) {
			oldest = claim
		}
	}
	if oldest == rc {
		return nil
	}
	return oldest
}

// otherClaims lists the live resources that name the connection of another, or are its heirs, as the cache has them.
func (r *Reconciler) otherClaims(ctx context.Context, rc *v1alpha1.ReporterConnection) ([]v1alpha1.ReporterConnection, error) {
	var all v1alpha1.ReporterConnectionList
	if err := r.List(ctx, &all, client.MatchingFields{kube.ByConnectionID: rc.ConnectionID()}); err != nil {
		return nil, fmt.Errorf("listing the claims on a connection: %w", err)
	}
	if rc.Describes() {
		var heirs v1alpha1.ReporterConnectionList
		if err := r.List(ctx, &heirs, client.InNamespace(rc.Namespace), client.MatchingFields{kube.ByDescription: kube.DescriptionKey(rc)}); err != nil {
			return nil, fmt.Errorf("listing who describes a connection: %w", err)
		}
		for _, other := range heirs.Items {
			if decision.IsHeir(&other, rc) {
				all.Items = append(all.Items, other)
			}
		}
	}
	return slices.DeleteFunc(all.Items, func(other v1alpha1.ReporterConnection) bool { return !decision.IsClaim(&other, rc) }), nil
}

func isOlder(a, b *v1alpha1.ReporterConnection) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Namespace+"/"+a.Name < b.Namespace+"/"+b.Name
}
