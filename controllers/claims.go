// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// heirOf returns a live resource that claims the connection of a deleted one too, nil if there is none. It prefers one that
// will delete the connection in its turn. Without a client, only the resource's own namespace counts.
//
// The cache shows resources of one kind in the order in which they changed. So whoever sees this one deleted sees every claim
// that was made before, and of two that are deleted at the same time the one that was first sees the other alive at most once:
// the last one always deletes.
func (r *connectionReconciler) heirOf(ctx context.Context, rc *v1alpha1.ReporterConnection, c *reporter.Client) (*v1alpha1.ReporterConnection, error) {
	var in *v1alpha1.ObservedIn
	if c != nil {
		in = new(observedIn(c))
	}
	claims, err := r.otherClaims(ctx, rc, in)
	var heir *v1alpha1.ReporterConnection
	for i := range claims {
		if heir == nil || claims[i].Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain {
			heir = &claims[i]
		}
	}
	return heir, err
}

// elderOf returns the oldest live resource that claims the connection of a younger one too, nil if there is none.
func (r *connectionReconciler) elderOf(ctx context.Context, rc *v1alpha1.ReporterConnection) (*v1alpha1.ReporterConnection, error) {
	claims, err := r.otherClaims(ctx, rc, rc.Status.ObservedIn)
	elder := rc
	for i := range claims {
		if isOlder(&claims[i], elder) {
			elder = &claims[i]
		}
	}
	if elder == rc {
		return nil, err
	}
	return elder, err
}

// otherClaims lists the live resources that claim the connection of another: those in its namespace, whatever they say
// otherwise, and those elsewhere that were shown the connection in the same place and may still use their endpoint. A claim
// elsewhere that never was shown it could come from anybody.
func (r *connectionReconciler) otherClaims(ctx context.Context, rc *v1alpha1.ReporterConnection, in *v1alpha1.ObservedIn) ([]v1alpha1.ReporterConnection, error) {
	var all v1alpha1.ReporterConnectionList
	if err := r.List(ctx, &all, client.MatchingFields{byConnectionID: rc.Spec.ConnectionID}); err != nil {
		return nil, fmt.Errorf("listing the claims on a connection: %w", err)
	}
	var claims []v1alpha1.ReporterConnection
	for _, other := range all.Items {
		if other.UID == rc.UID || !other.DeletionTimestamp.IsZero() {
			continue
		}
		if other.Namespace == rc.Namespace || (in != nil && other.Status.ObservedIn != nil && *other.Status.ObservedIn == *in && !isShutOut(&other)) {
			claims = append(claims, other)
		}
	}
	return claims, nil
}

// isShutOut says whether a resource was last found to have no endpoint that it may use.
func isShutOut(rc *v1alpha1.ReporterConnection) bool {
	ready := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Reason == v1alpha1.ReasonEndpointNotFound
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
