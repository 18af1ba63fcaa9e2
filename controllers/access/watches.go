// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
)

// EndpointsOf lists the endpoints that name a Secret, as the cache has them.
func EndpointsOf(ctx context.Context, cached client.Reader, secret *corev1.Secret) []v1alpha1.ReporterEndpoint {
	var endpoints v1alpha1.ReporterEndpointList
	if err := cached.List(ctx, &endpoints, client.MatchingFields{kube.BySecret: client.ObjectKeyFromObject(secret).String()}); err != nil {
		log.FromContext(ctx).Error(err, "Listing the endpoints of a Secret", "secret", client.ObjectKeyFromObject(secret))
	}
	return endpoints.Items
}

// SecretEvents wakes the users of a Secret that appears in the cache, which it also does when it is labelled, vanishes from it,
// has other contents, or is labelled otherwise or lists other hosts or endpoints.
func SecretEvents(wakeUsers func(context.Context, *corev1.Secret, kube.Queue)) handler.TypedFuncs[*corev1.Secret, reconcile.Request] {
	return handler.TypedFuncs[*corev1.Secret, reconcile.Request]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[*corev1.Secret], q kube.Queue) {
			if !e.IsInInitialList {
				wakeUsers(ctx, e.Object, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*corev1.Secret], q kube.Queue) {
			if !reflect.DeepEqual(e.ObjectOld.Data, e.ObjectNew.Data) || e.ObjectOld.Labels[v1alpha1.CredentialsLabel] != e.ObjectNew.Labels[v1alpha1.CredentialsLabel] ||
				e.ObjectOld.Annotations[v1alpha1.HostsAnnotation] != e.ObjectNew.Annotations[v1alpha1.HostsAnnotation] ||
				e.ObjectOld.Annotations[v1alpha1.EndpointsAnnotation] != e.ObjectNew.Annotations[v1alpha1.EndpointsAnnotation] {
				wakeUsers(ctx, e.ObjectNew, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*corev1.Secret], q kube.Queue) {
			wakeUsers(ctx, e.Object, q)
		},
	}
}
