// SPDX-License-Identifier: Apache-2.0

package endpoint

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/access"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
)

// RequestedChecks has endpoints checked that connections gave cause for, though not right after a check.
func (r *Reconciler) RequestedChecks() handler.TypedFuncs[*v1alpha1.ReporterEndpoint, reconcile.Request] {
	return handler.TypedFuncs[*v1alpha1.ReporterEndpoint, reconcile.Request]{
		GenericFunc: func(_ context.Context, e event.TypedGenericEvent[*v1alpha1.ReporterEndpoint], q kube.Queue) {
			q.AddAfter(kube.RequestFor(e.Object), r.requestedCheckDelay(client.ObjectKeyFromObject(e.Object), time.Now()))
		},
	}
}

// EndpointEvents wakes an endpoint for what changes what it says, and when another one with its URL is Ready again.
func (r *Reconciler) EndpointEvents() handler.TypedFuncs[*v1alpha1.ReporterEndpoint, reconcile.Request] {
	return handler.TypedFuncs[*v1alpha1.ReporterEndpoint, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*v1alpha1.ReporterEndpoint], q kube.Queue) {
			q.Add(kube.RequestFor(e.Object))
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*v1alpha1.ReporterEndpoint], q kube.Queue) {
			if kube.Requested(e.ObjectOld, e.ObjectNew) {
				r.markUrgent(client.ObjectKeyFromObject(e.ObjectNew))
			}
			if kube.Changed(e.ObjectOld, e.ObjectNew) || kube.Wiped(e.ObjectOld.Status.Conditions, e.ObjectNew.Status.Conditions) {
				q.Add(kube.RequestFor(e.ObjectNew))
			}
			if !isReady(e.ObjectOld) && isReady(e.ObjectNew) {
				r.wakeSiblings(ctx, e.ObjectNew, q)
			}
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[*v1alpha1.ReporterEndpoint], q kube.Queue) {
			q.Add(kube.RequestFor(e.Object)) // to forget it
		},
	}
}

// SecretEvents wakes the endpoints that name a Secret which appears, vanishes, or has other contents.
func (r *Reconciler) SecretEvents() handler.TypedFuncs[*corev1.Secret, reconcile.Request] {
	return access.SecretEvents(func(ctx context.Context, secret *corev1.Secret, q kube.Queue) {
		for _, endpoint := range access.EndpointsOf(ctx, r, secret) {
			q.Add(kube.RequestFor(&endpoint))
		}
	})
}

// wakeSiblings wakes the endpoints that have not noticed yet that their Reporter answers again.
func (r *Reconciler) wakeSiblings(ctx context.Context, endpoint *v1alpha1.ReporterEndpoint, q kube.Queue) {
	var endpoints v1alpha1.ReporterEndpointList
	if err := r.List(ctx, &endpoints, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Listing endpoints to wake")
		return
	}
	for i := range endpoints.Items {
		sibling := &endpoints.Items[i]
		ready := apimeta.FindStatusCondition(sibling.Status.Conditions, v1alpha1.ConditionReady)
		if sibling.Spec.URL == endpoint.Spec.URL && ready != nil && ready.Reason == v1alpha1.ReasonReporterUnavailable {
			q.Add(kube.RequestFor(sibling))
		}
	}
}

func isReady(endpoint *v1alpha1.ReporterEndpoint) bool {
	return apimeta.IsStatusConditionTrue(endpoint.Status.Conditions, v1alpha1.ConditionReady)
}
