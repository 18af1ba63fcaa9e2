// SPDX-License-Identifier: Apache-2.0

package protection

import (
	"context"
	"errors"
	"fmt"
	"strings"

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
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
)

// The right to its RoleBindings is in config/namespaced: an operator that works everywhere has none.

// EventSource names the operator in its events.
const EventSource = "reporter-operator"

// RoleBindingReconciler holds the deleted RoleBinding that the operator has its rights in a namespace by, for as long as there is something
// to release. A terminating namespace deletes it with all the rest, which nobody could release any more. While a finalizer holds it, it
// goes on to authorise.
type RoleBindingReconciler struct {
	client.Client
	Live client.Reader
}

// Reconcile makes one pass over the RoleBinding of one namespace.
func (r *RoleBindingReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var binding rbacv1.RoleBinding
	if err := r.Get(ctx, req.NamespacedName, &binding); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if binding.DeletionTimestamp.IsZero() {
		return kube.ResultOf(kube.EnsureFinalizer(ctx, r.Client, &binding, v1alpha1.InUseFinalizer))
	}
	if !controllerutil.ContainsFinalizer(&binding, v1alpha1.InUseFinalizer) {
		return ctrl.Result{}, nil
	}
	release, stillInUse, retryIn, err := judgeHeld(&binding,
		func() (decision.Usage, error) { return r.usageOf(ctx, r, binding.Namespace, cachedHeld()) },
		func() (decision.Usage, error) { return r.usageOf(ctx, r.Live, binding.Namespace, liveHeld()) })
	if err != nil || !release {
		return ctrl.Result{RequeueAfter: retryIn}, err
	}
	if stillInUse {
		if err := r.warn(ctx, &binding, eventReleasedInUse, "without this RoleBinding the operator works here no longer: "+
			"until it is created again, live resources are not looked up, and no deleted one is released"); err != nil {
			return ctrl.Result{}, err
		}
	}
	dropped, err := kube.DropFinalizer(ctx, r.Client, &binding, v1alpha1.InUseFinalizer)
	if dropped {
		log.FromContext(ctx).Info("Released RoleBinding, and with it all rights in its namespace", "neededByLiveResources", stillInUse)
	}
	if refusal := kube.RefusalOf(err); refusal != "" {
		err = errors.Join(err, r.warn(ctx, &binding, v1alpha1.ReasonFinalizerRemovalFailed, refusedNote(refusal)))
	}
	return kube.ResultOf(err)
}

// usageOf finds out what there is to release in a namespace, from the cache or live.
func (r *RoleBindingReconciler) usageOf(ctx context.Context, reader client.Reader, namespace string, kinds []client.ObjectList) (decision.Usage, error) {
	var usage decision.Usage
	for _, list := range kinds {
		if err := reader.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return usage, fmt.Errorf("listing what is held in a namespace: %w", err)
		}
		err := apimeta.EachListItem(list, func(item runtime.Object) error {
			object := item.(client.Object)
			if controllerutil.ContainsFinalizer(object, v1alpha1.ConnectionFinalizer) || controllerutil.ContainsFinalizer(object, v1alpha1.InUseFinalizer) {
				usage.Needed = true
				usage.Pending = usage.Pending || !object.GetDeletionTimestamp().IsZero()
			}
			return nil
		})
		if err != nil {
			return usage, err
		}
	}
	return usageIn(ctx, reader, namespace, usage)
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

// warn sends an event about a RoleBinding, once for each reason. It does not use the recorder, which sends later: once the RoleBinding is
// gone, the operator may write no event there.
func (r *RoleBindingReconciler) warn(ctx context.Context, binding *rbacv1.RoleBinding, reason, note string) error {
	err := r.Create(ctx, &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: binding.Namespace, Name: fmt.Sprintf("%s.%s.%s", binding.Name, strings.ToLower(reason), binding.UID)},
		EventTime:           metav1.NowMicro(),
		ReportingController: EventSource,
		ReportingInstance:   EventSource,
		Type:                corev1.EventTypeWarning,
		Reason:              reason,
		Action:              "Delete",
		Regarding: corev1.ObjectReference{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "RoleBinding",
			Namespace: binding.Namespace, Name: binding.Name, UID: binding.UID},
		Note: note,
	})
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
		log.FromContext(ctx).Error(err, "Warning about a RoleBinding", "reason", reason) // by a quota, say: no reason to hold it for ever
		return nil
	}
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("warning about the RoleBinding: %w", err)
	}
	return nil
}
