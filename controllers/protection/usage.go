// SPDX-License-Identifier: Apache-2.0

// Package protection holds what the deletion of connections needs: endpoints, marked Secrets and, where the operator works in some
// namespaces alone, its RoleBindings.
//
// What a deletion needs is deleted together with it, in any order, by whoever prunes or deletes a namespace. So it carries a finalizer
// from the start, as nothing that is being deleted can get one, and that goes when nothing needs it any more. The caches may decide to
// keep; before anything goes, the API server is asked.
package protection

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/access"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
)

// eventReleasedInUse is the reason of the event that something was released although live resources use it.
const eventReleasedInUse = "ReleasedInUse"

// refusedNote is what an event says of an object that nothing needs any more, and that the API server refuses to release.
func refusedNote(refusal string) string {
	return decision.RefusedRelease("no deletion in Reporter needs it any more", refusal).Message
}

// judgeHeld is decision.JudgeRelease for a deleted object, by what the cache says of its usage, and before it is released, by what the API
// server says.
func judgeHeld(object client.Object, cached, live func() (decision.Usage, error)) (release, stillInUse bool, retryIn time.Duration, err error) {
	deletedFor := time.Since(object.GetDeletionTimestamp().Time)
	for _, ask := range []func() (decision.Usage, error){cached, live} {
		usage, err := ask()
		if err != nil {
			return false, false, 0, err
		}
		if release, stillInUse, retryIn = decision.JudgeRelease(usage, deletedFor); !release {
			break
		}
	}
	return release, stillInUse, retryIn, nil
}

// usageIn is a usage in a namespace: where that terminates, what is needed at all is needed now.
func usageIn(ctx context.Context, reader client.Reader, namespace string, usage decision.Usage) (decision.Usage, error) {
	if !usage.Needed || usage.Pending {
		return usage, nil
	}
	var err error
	usage.Pending, err = kube.IsTerminating(ctx, reader, namespace)
	return usage, err
}

// usersOf lists the users of an endpoint.
func usersOf(ctx context.Context, a *access.Accessor, reader client.Reader, endpoint *v1alpha1.ReporterEndpoint, which []client.ListOption) ([]v1alpha1.ReporterConnection, error) {
	connections, err := list(ctx, reader, which)
	if err != nil {
		return nil, err
	}
	return usersAmong(ctx, a, reader, endpoint, connections)
}

func list(ctx context.Context, reader client.Reader, which []client.ListOption) ([]v1alpha1.ReporterConnection, error) {
	var connections v1alpha1.ReporterConnectionList
	if err := reader.List(ctx, &connections, which...); err != nil {
		return nil, fmt.Errorf("listing the connections of an endpoint: %w", err)
	}
	return connections.Items, nil
}

// usersAmong returns the connections whose deletion will need an endpoint: it lets them in, they name it, their deletion is one in
// Reporter, and they were there before the endpoint was deleted or are being deleted themselves.
func usersAmong(ctx context.Context, a *access.Accessor, reader client.Reader, endpoint *v1alpha1.ReporterEndpoint, connections []v1alpha1.ReporterConnection) ([]v1alpha1.ReporterConnection, error) {
	var users []v1alpha1.ReporterConnection
	for _, rc := range connections {
		if !needs(&rc, endpoint) {
			continue
		}
		allowed, err := a.Allows(ctx, reader, endpoint, rc.Namespace)
		if err != nil {
			return nil, err
		}
		if allowed {
			users = append(users, rc)
		}
	}
	return users, nil
}

// needs says whether the deletion of a connection needs an endpoint, if that lets it in.
func needs(rc *v1alpha1.ReporterConnection, endpoint *v1alpha1.ReporterEndpoint) bool {
	switch {
	case rc.EndpointKey() != client.ObjectKeyFromObject(endpoint), rc.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain:
		return false
	case !rc.DeletionTimestamp.IsZero():
		return controllerutil.ContainsFinalizer(rc, v1alpha1.ConnectionFinalizer)
	default:
		return endpoint.DeletionTimestamp.IsZero() || !endpoint.DeletionTimestamp.Before(&rc.CreationTimestamp)
	}
}

// cachedUsers narrows a list of the cache to an endpoint's users.
func cachedUsers(endpoint *v1alpha1.ReporterEndpoint) []client.ListOption {
	return []client.ListOption{kube.UsersOf(endpoint)}
}

// liveUsers narrows a live list to where an endpoint's users can be.
func liveUsers(endpoint *v1alpha1.ReporterEndpoint) []client.ListOption {
	switch endpoint.Spec.AllowedNamespaces.From {
	case v1alpha1.FromAll, v1alpha1.FromSelector:
		return nil
	default:
		return []client.ListOption{client.InNamespace(endpoint.Namespace)}
	}
}
