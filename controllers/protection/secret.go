// SPDX-License-Identifier: Apache-2.0

package protection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/access"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
)

// The finalizer is put on and taken off. RBAC knows no fields, so config/admission refuses any other change:
// +kubebuilder:rbac:groups="",resources=secrets,verbs=patch

// SecretReconciler holds a deleted Secret for the connections whose deletion will need it.
type SecretReconciler struct {
	client.Client
	Live   client.Reader
	Access *access.Accessor
	Events events.EventRecorder

	// refused has, by name, the UIDs of the Secrets of which an event has said that the API server refuses their release.
	refused sync.Map
}

// sweep is the request to look for Secrets that have lost their mark while nobody watched: no event comes of those.
var sweep = reconcile.Request{}

// OnQueue has the Secrets swept once, when the controller starts.
func (r *SecretReconciler) OnQueue(q kube.Queue) { q.Add(sweep) }

// Reconcile makes one pass over one Secret, or the sweep.
func (r *SecretReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if req == sweep {
		return ctrl.Result{}, r.releaseAllUnmarked(ctx)
	}
	var secret corev1.Secret
	err := r.Get(ctx, req.NamespacedName, &secret)
	if apierrors.IsNotFound(err) {
		return kube.ResultOf(r.releaseUnmarked(ctx, req.NamespacedName))
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	if !isOfEndpoint(&secret) {
		_, err := r.release(ctx, &secret) // no deletion needs the credentials of a database
		return kube.ResultOf(err)
	}
	if secret.DeletionTimestamp.IsZero() {
		return kube.ResultOf(kube.EnsureFinalizer(ctx, r.Client, &secret, v1alpha1.InUseFinalizer))
	}
	if !controllerutil.ContainsFinalizer(&secret, v1alpha1.InUseFinalizer) {
		return ctrl.Result{}, nil
	}
	release, stillInUse, retryIn, err := judgeHeld(&secret,
		func() (decision.Usage, error) { return r.usageOf(ctx, r, &secret, r.listCached) },
		func() (decision.Usage, error) { return r.usageOf(ctx, r.Live, &secret, r.listLive) })
	if err != nil || !release {
		return ctrl.Result{RequeueAfter: retryIn}, err
	}
	dropped, err := r.release(ctx, &secret)
	if dropped && stillInUse {
		log.FromContext(ctx).Info("Released Secret although live resources use it")
		r.Events.Eventf(&secret, nil, corev1.EventTypeWarning, eventReleasedInUse, "Delete",
			"ReporterEndpoints of live ReporterConnections name this Secret: until it is created again, they cannot be looked up or deleted")
	}
	return kube.ResultOf(err)
}

// isOfEndpoint says whether a Secret is marked as one that holds the credentials of an endpoint.
func isOfEndpoint(secret client.Object) bool {
	return secret.GetLabels()[v1alpha1.CredentialsLabel] == v1alpha1.CredentialsOfEndpoint
}

// release takes our finalizer off. If the API server refuses it, an event says so, once: a Secret has no status.
func (r *SecretReconciler) release(ctx context.Context, secret client.Object) (bool, error) {
	key := client.ObjectKeyFromObject(secret)
	dropped, err := kube.DropFinalizer(ctx, r.Client, secret, v1alpha1.InUseFinalizer)
	if dropped {
		r.refused.Delete(key)
	}
	if refusal := kube.RefusalOf(err); refusal != "" {
		if said, _ := r.refused.Swap(key, secret.GetUID()); said != secret.GetUID() {
			r.Events.Eventf(secret, nil, corev1.EventTypeWarning, v1alpha1.ReasonFinalizerRemovalFailed, "Delete", "%s", refusedNote(refusal))
		}
	}
	return dropped, err
}

// releaseUnmarked takes our finalizer off a Secret that is no longer marked for us, and so no longer watched.
func (r *SecretReconciler) releaseUnmarked(ctx context.Context, key types.NamespacedName) error {
	var metadata metav1.PartialObjectMetadata
	metadata.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := r.Live.Get(ctx, key, &metadata)
	if apierrors.IsNotFound(err) {
		r.refused.Delete(key) // nobody else works on it now
		return nil
	}
	if err != nil {
		return err
	}
	if isOfEndpoint(&metadata) {
		return nil // marked again: its event is on the way
	}
	_, err = r.release(ctx, &metadata)
	return err
}

// releaseAllUnmarked takes our finalizer off every Secret that is not marked for us. It reads their metadata alone.
func (r *SecretReconciler) releaseAllUnmarked(ctx context.Context) error {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	if err := r.Live.List(ctx, list); err != nil {
		return fmt.Errorf("listing all Secrets: %w", err)
	}
	var failed []error
	for i := range list.Items {
		if secret := &list.Items[i]; controllerutil.ContainsFinalizer(secret, v1alpha1.InUseFinalizer) && !isOfEndpoint(secret) {
			failed = append(failed, r.releaseUnmarked(ctx, client.ObjectKeyFromObject(secret)))
		}
	}
	return errors.Join(failed...)
}

// listCached lists the connections that name one of some endpoints, as the cache has them.
func (r *SecretReconciler) listCached(ctx context.Context, endpoints []v1alpha1.ReporterEndpoint) ([]v1alpha1.ReporterConnection, error) {
	var all []v1alpha1.ReporterConnection
	for i := range endpoints {
		connections, err := list(ctx, r, cachedUsers(&endpoints[i]))
		if err != nil {
			return nil, err
		}
		all = append(all, connections...)
	}
	return all, nil
}

// listLive lists, once, the connections among which the users of some endpoints are: many that are open to all namespaces must not be as many
// lists of everything.
func (r *SecretReconciler) listLive(ctx context.Context, endpoints []v1alpha1.ReporterEndpoint) ([]v1alpha1.ReporterConnection, error) {
	if len(endpoints) == 0 {
		return nil, nil
	}
	widest := &endpoints[0]
	for i := range endpoints {
		if len(liveUsers(&endpoints[i])) == 0 {
			widest = &endpoints[i]
		}
	}
	return list(ctx, r.Live, liveUsers(widest))
}

// usageOf finds out what a Secret is needed for, from the cache or live.
func (r *SecretReconciler) usageOf(ctx context.Context, reader client.Reader, secret *corev1.Secret,
	listFor func(context.Context, []v1alpha1.ReporterEndpoint) ([]v1alpha1.ReporterConnection, error)) (decision.Usage, error) {
	var usage decision.Usage
	var all v1alpha1.ReporterEndpointList
	if err := reader.List(ctx, &all, client.InNamespace(secret.Namespace)); err != nil {
		return usage, fmt.Errorf("listing the endpoints of a Secret: %w", err)
	}
	endpoints := slices.DeleteFunc(all.Items, func(endpoint v1alpha1.ReporterEndpoint) bool {
		// It takes no credentials to leave a connection alone.
		return !slices.Contains(endpoint.SecretNames(), secret.Name) || endpoint.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain
	})
	connections, err := listFor(ctx, endpoints)
	if err != nil {
		return usage, err
	}
	for i := range endpoints {
		endpoint := &endpoints[i]
		users, err := usersAmong(ctx, r.Access, reader, endpoint, connections)
		if err != nil {
			return usage, err
		}
		usage.Needed = usage.Needed || len(users) > 0
		usage.Pending = usage.Pending || slices.ContainsFunc(users, func(rc v1alpha1.ReporterConnection) bool {
			return !rc.DeletionTimestamp.IsZero() || !endpoint.DeletionTimestamp.IsZero()
		})
	}
	return usageIn(ctx, reader, secret.Namespace, usage)
}
