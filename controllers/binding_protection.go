// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// The right to its RoleBindings is in config/namespaced: an operator that works everywhere has none.

// bindingProtector holds the deleted RoleBinding that the operator has its rights in a namespace by, for as long as there is something
// to release. A terminating namespace deletes it with all the rest, which nobody could release any more. While a finalizer holds it, it
// goes on to authorise.
type bindingProtector struct {
	client.Client
	live client.Reader
}

// Reconcile makes one pass over the RoleBinding of one namespace.
func (r *bindingProtector) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var binding rbacv1.RoleBinding
	if err := r.Get(ctx, req.NamespacedName, &binding); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if binding.DeletionTimestamp.IsZero() {
		return settle(ensureInUse(ctx, r.Client, &binding))
	}
	if !controllerutil.ContainsFinalizer(&binding, v1alpha1.InUseFinalizer) {
		return ctrl.Result{}, nil
	}
	release, missed, comeBack, err := judgeHeld(&binding,
		func() (use, error) { return r.useOf(ctx, r, binding.Namespace, cachedHeld()) },
		func() (use, error) { return r.useOf(ctx, r.live, binding.Namespace, liveHeld()) })
	if err != nil || !release {
		return ctrl.Result{RequeueAfter: comeBack}, err
	}
	if missed {
		if err := r.warn(ctx, &binding); err != nil {
			return ctrl.Result{}, err
		}
	}
	dropped, err := dropFinalizer(ctx, r.Client, &binding, v1alpha1.InUseFinalizer)
	if dropped {
		log.FromContext(ctx).Info("Released RoleBinding, and with it all rights in its namespace", "neededByLiveResources", missed)
	}
	return settle(err)
}

// useOf finds out what there is to release in a namespace, from the cache or live.
func (r *bindingProtector) useOf(ctx context.Context, reader client.Reader, namespace string, kinds []client.ObjectList) (use, error) {
	var use use
	for _, list := range kinds {
		if err := reader.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return use, fmt.Errorf("listing what is held in a namespace: %w", err)
		}
		err := apimeta.EachListItem(list, func(item runtime.Object) error {
			object := item.(client.Object)
			if controllerutil.ContainsFinalizer(object, v1alpha1.ConnectionFinalizer) || controllerutil.ContainsFinalizer(object, v1alpha1.InUseFinalizer) {
				use.needed = true
				use.pending = use.pending || !object.GetDeletionTimestamp().IsZero()
			}
			return nil
		})
		if err != nil {
			return use, err
		}
	}
	return use.in(ctx, reader, namespace)
}

// cachedHeld are the kinds that carry finalizers of ours, as the cache holds them.
func cachedHeld() []client.ObjectList {
	return []client.ObjectList{&v1alpha1.ReporterConnectionList{}, &v1alpha1.ReporterEndpointList{}, &corev1.SecretList{}}
}

// liveHeld are the same kinds as metadata alone, with Secrets that have lost their mark and are still held.
func liveHeld() []client.ObjectList {
	var lists []client.ObjectList
	for _, kind := range []schema.GroupVersionKind{
		v1alpha1.GroupVersion.WithKind("ReporterConnectionList"), v1alpha1.GroupVersion.WithKind("ReporterEndpointList"),
		corev1.SchemeGroupVersion.WithKind("SecretList"),
	} {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kind)
		lists = append(lists, list)
	}
	return lists
}

// warn tells of a RoleBinding that live resources will miss, before it goes: afterwards the operator may write no event there. That is
// why it does not use the recorder, which sends later.
func (r *bindingProtector) warn(ctx context.Context, binding *rbacv1.RoleBinding) error {
	err := r.Create(ctx, &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: binding.Namespace, Name: fmt.Sprintf("%s.%s", binding.Name, binding.UID)},
		EventTime:           metav1.NowMicro(),
		ReportingController: eventSource,
		ReportingInstance:   eventSource,
		Type:                corev1.EventTypeWarning,
		Reason:              "ReleasedInUse",
		Action:              "Delete",
		Regarding: corev1.ObjectReference{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "RoleBinding",
			Namespace: binding.Namespace, Name: binding.Name, UID: binding.UID},
		Note: "without this RoleBinding the operator works here no longer: until it is created again, live resources are not looked up, and none that is deleted goes",
	})
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
		log.FromContext(ctx).Error(err, "Warning of the release of a RoleBinding") // by a quota, say: no reason to hold it for ever
		return nil
	}
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("warning of the release: %w", err)
	}
	return nil
}

// bindingEvents wakes the protector for the RoleBindings, and tells of those that are gone.
func bindingEvents(gone func()) handler.TypedFuncs[*rbacv1.RoleBinding, reconcile.Request] {
	return protectedEvents(func(*rbacv1.RoleBinding, queue) { gone() })
}

// releaseEvents wakes the protector for a deleted RoleBinding where something was released in its namespace.
func releaseEvents[T client.Object](r *bindingProtector) handler.TypedFuncs[T, reconcile.Request] {
	return handler.TypedFuncs[T, reconcile.Request]{
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[T], q queue) {
			if len(e.ObjectOld.GetFinalizers()) != len(e.ObjectNew.GetFinalizers()) {
				r.released(ctx, e.ObjectNew.GetNamespace(), q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[T], q queue) {
			r.released(ctx, e.Object.GetNamespace(), q)
		},
	}
}

func (r *bindingProtector) released(ctx context.Context, namespace string, q queue) {
	key := client.ObjectKey{Namespace: namespace, Name: roleBindingName}
	var binding rbacv1.RoleBinding
	if r.Get(ctx, key, &binding) == nil && !binding.DeletionTimestamp.IsZero() {
		q.Add(reconcile.Request{NamespacedName: key})
	}
}
