// SPDX-License-Identifier: Apache-2.0

package protection

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
	"github.com/reporter-operator/reporter-operator/controllers/scope"
)

// ownEvents wakes a reconciler for its own kind: for a finalizer that is missing, for a deletion, and for a mark that becomes another.
func ownEvents[T client.Object](gone func(T, kube.Queue)) handler.TypedFuncs[T, reconcile.Request] {
	return handler.TypedFuncs[T, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[T], q kube.Queue) { q.Add(kube.RequestFor(e.Object)) },
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[T], q kube.Queue) {
			isDeleting := !e.ObjectNew.GetDeletionTimestamp().IsZero()
			if isDeleting != !e.ObjectOld.GetDeletionTimestamp().IsZero() || kube.Changed(e.ObjectOld, e.ObjectNew) ||
				e.ObjectOld.GetLabels()[v1alpha1.CredentialsLabel] != e.ObjectNew.GetLabels()[v1alpha1.CredentialsLabel] ||
				(!isDeleting && !controllerutil.ContainsFinalizer(e.ObjectNew, v1alpha1.InUseFinalizer)) {
				q.Add(kube.RequestFor(e.ObjectNew))
			}
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[T], q kube.Queue) { gone(e.Object, q) },
	}
}

// needEvents wakes a reconciler where the need of a connection for its endpoint ends.
func needEvents(ended func(context.Context, client.ObjectKey, kube.Queue)) handler.TypedFuncs[*v1alpha1.ReporterConnection, reconcile.Request] {
	return handler.TypedFuncs[*v1alpha1.ReporterConnection, reconcile.Request]{
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*v1alpha1.ReporterConnection], q kube.Queue) {
			if e.ObjectOld.Generation != e.ObjectNew.Generation || len(e.ObjectOld.Finalizers) != len(e.ObjectNew.Finalizers) {
				ended(ctx, e.ObjectOld.EndpointKey(), q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*v1alpha1.ReporterConnection], q kube.Queue) {
			ended(ctx, e.Object.EndpointKey(), q)
		},
	}
}

// EndpointEvents wakes the reconciler for its endpoints, until they are gone.
func (r *EndpointReconciler) EndpointEvents() handler.TypedFuncs[*v1alpha1.ReporterEndpoint, reconcile.Request] {
	return ownEvents(func(endpoint *v1alpha1.ReporterEndpoint, _ kube.Queue) { r.forget(endpoint) })
}

// ConnectionEvents wakes a deleted endpoint where a connection no longer needs it.
func (r *EndpointReconciler) ConnectionEvents() handler.TypedFuncs[*v1alpha1.ReporterConnection, reconcile.Request] {
	return needEvents(func(ctx context.Context, endpoint client.ObjectKey, q kube.Queue) {
		var found v1alpha1.ReporterEndpoint
		if r.Get(ctx, endpoint, &found) == nil && !found.DeletionTimestamp.IsZero() {
			q.Add(reconcile.Request{NamespacedName: endpoint})
		}
	})
}

// SecretEvents wakes the reconciler for its Secrets, also when one vanishes: it may only have lost its label.
func (r *SecretReconciler) SecretEvents() handler.TypedFuncs[*corev1.Secret, reconcile.Request] {
	return ownEvents(func(secret *corev1.Secret, q kube.Queue) { q.Add(kube.RequestFor(secret)) })
}

// ConnectionEvents wakes the deleted Secrets of an endpoint that a connection no longer needs.
func (r *SecretReconciler) ConnectionEvents() handler.TypedFuncs[*v1alpha1.ReporterConnection, reconcile.Request] {
	return needEvents(func(ctx context.Context, endpoint client.ObjectKey, q kube.Queue) {
		var found v1alpha1.ReporterEndpoint
		if r.Get(ctx, endpoint, &found) == nil {
			r.wakeDeleted(ctx, &found, q)
		}
	})
}

// EndpointEvents wakes the deleted Secrets of an endpoint that goes or names others. When an endpoint is first seen, its Secrets are
// looked at as well: they may have lost their mark while nobody watched, and still be held.
func (r *SecretReconciler) EndpointEvents() handler.TypedFuncs[*v1alpha1.ReporterEndpoint, reconcile.Request] {
	return handler.TypedFuncs[*v1alpha1.ReporterEndpoint, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*v1alpha1.ReporterEndpoint], q kube.Queue) {
			for _, name := range e.Object.SecretNames() {
				q.Add(reconcile.Request{NamespacedName: client.ObjectKey{Namespace: e.Object.Namespace, Name: name}})
			}
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*v1alpha1.ReporterEndpoint], q kube.Queue) {
			if e.ObjectOld.Generation != e.ObjectNew.Generation {
				r.wakeDeleted(ctx, e.ObjectOld, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*v1alpha1.ReporterEndpoint], q kube.Queue) {
			r.wakeDeleted(ctx, e.Object, q)
		},
	}
}

// wakeDeleted wakes the deleted Secrets of an endpoint.
func (r *SecretReconciler) wakeDeleted(ctx context.Context, endpoint *v1alpha1.ReporterEndpoint, q kube.Queue) {
	for _, name := range endpoint.SecretNames() {
		key := client.ObjectKey{Namespace: endpoint.Namespace, Name: name}
		var found corev1.Secret
		if r.Get(ctx, key, &found) == nil && !found.DeletionTimestamp.IsZero() {
			q.Add(reconcile.Request{NamespacedName: key})
		}
	}
}

// RoleBindingEvents wakes the reconciler for its RoleBindings. That one is gone is a reason to look at the rights again.
func (r *RoleBindingReconciler) RoleBindingEvents(s scope.Scope) handler.TypedFuncs[*rbacv1.RoleBinding, reconcile.Request] {
	return ownEvents(func(*rbacv1.RoleBinding, kube.Queue) { s.Recheck() })
}

// ReleaseEvents wakes the reconciler for a deleted RoleBinding where something was released in its namespace.
func ReleaseEvents[T client.Object](r *RoleBindingReconciler) handler.TypedFuncs[T, reconcile.Request] {
	return handler.TypedFuncs[T, reconcile.Request]{
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[T], q kube.Queue) {
			if len(e.ObjectOld.GetFinalizers()) != len(e.ObjectNew.GetFinalizers()) {
				r.wakeDeleted(ctx, e.ObjectNew.GetNamespace(), q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[T], q kube.Queue) {
			r.wakeDeleted(ctx, e.Object.GetNamespace(), q)
		},
	}
}

// wakeDeleted wakes the RoleBinding of a namespace, if it is deleted.
func (r *RoleBindingReconciler) wakeDeleted(ctx context.Context, namespace string, q kube.Queue) {
	key := client.ObjectKey{Namespace: namespace, Name: scope.RoleBindingName}
	var binding rbacv1.RoleBinding
	if r.Get(ctx, key, &binding) == nil && !binding.DeletionTimestamp.IsZero() {
		q.Add(reconcile.Request{NamespacedName: key})
	}
}
