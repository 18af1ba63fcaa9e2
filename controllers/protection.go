// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// The finalizer on either is put on and taken off. RBAC knows no fields, so config/admission refuses any other change:
// +kubebuilder:rbac:groups=reporter.lerian.studio,resources=reporterendpoints,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=patch

// What the deletion of a connection needs is deleted together with it, in any order, by whoever prunes or deletes a namespace.
// So endpoints and marked Secrets carry a finalizer from the start, as nothing that is being deleted can get one, and it goes
// when nothing needs them any more. The caches may decide to keep; before anything goes, the API server is asked.

// endpointProtector holds a deleted ReporterEndpoint for the connections whose deletion will need it.
type endpointProtector struct {
	client.Client
	live   client.Reader
	access *accessor

	mu   sync.Mutex
	told map[types.UID]time.Time // when the users of a deleted endpoint were last listed in its status
}

// listInterval is the least time between two lists of an endpoint's users in its status.
const listInterval = time.Minute

// Reconcile makes one pass over one endpoint.
func (r *endpointProtector) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var endpoint v1alpha1.ReporterEndpoint
	if err := r.Get(ctx, req.NamespacedName, &endpoint); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if endpoint.DeletionTimestamp.IsZero() {
		return settle(ensureInUse(ctx, r.Client, &endpoint))
	}
	if !controllerutil.ContainsFinalizer(&endpoint, v1alpha1.InUseFinalizer) {
		return ctrl.Result{}, nil
	}
	users, err := r.access.usersOf(ctx, r, &endpoint, cachedUsers(&endpoint)...)
	if err == nil && len(users) == 0 {
		users, err = r.access.usersOf(ctx, r.live, &endpoint, liveUsers(&endpoint)...)
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	if len(users) > 0 {
		return r.tell(ctx, &endpoint, users)
	}
	r.forget(&endpoint)
	_, err = dropFinalizer(ctx, r.Client, &endpoint, v1alpha1.InUseFinalizer)
	return settle(err)
}

// tell lists the users in the status, at most once a listInterval.
func (r *endpointProtector) tell(ctx context.Context, endpoint *v1alpha1.ReporterEndpoint, users []v1alpha1.ReporterConnection) (ctrl.Result, error) {
	if wait := r.wait(endpoint, time.Now()); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	base := endpoint.DeepCopy()
	apimeta.SetStatusCondition(&endpoint.Status.Conditions, metav1.Condition{
		Type:               v1alpha1.ConditionDeletionBlocked,
		Status:             metav1.ConditionTrue,
		Reason:             v1alpha1.ReasonInUse,
		Message:            listUsers(users),
		ObservedGeneration: endpoint.Generation,
	})
	if !equality.Semantic.DeepEqual(base.Status, endpoint.Status) {
		err := r.Status().Patch(ctx, endpoint, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
		if err != nil {
			r.forget(endpoint)
			return settle(err)
		}
	}
	return ctrl.Result{RequeueAfter: jitter(listInterval)}, nil
}

func (r *endpointProtector) wait(endpoint *v1alpha1.ReporterEndpoint, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if wait := r.told[endpoint.UID].Add(listInterval).Sub(now); wait > 0 {
		return wait
	}
	r.told[endpoint.UID] = now
	return 0
}

func (r *endpointProtector) forget(endpoint *v1alpha1.ReporterEndpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.told, endpoint.UID)
}

// listUsers names the first of them, and says how many there are.
func listUsers(users []v1alpha1.ReporterConnection) string {
	const most = 10
	names := make([]string, len(users))
	for i := range users {
		names[i] = client.ObjectKeyFromObject(&users[i]).String()
	}
	slices.Sort(names)
	more := ""
	if len(names) > most {
		more, names = fmt.Sprintf(" and %d more", len(names)-most), names[:most]
	}
	return fmt.Sprintf("needed for the deletion of ReporterConnections %s%s. It goes by itself when they are gone, name another endpoint, "+
		"or have spec.deletionPolicy Retain", strings.Join(names, ", "), more)
}

// secretProtector holds a deleted Secret for the connections whose deletion will need it.
type secretProtector struct {
	client.Client
	live   client.Reader
	access *accessor
	events events.EventRecorder
}

// Reconcile makes one pass over one Secret.
func (r *secretProtector) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var secret corev1.Secret
	err := r.Get(ctx, req.NamespacedName, &secret)
	if apierrors.IsNotFound(err) {
		return settle(r.releaseUnmarked(ctx, req.NamespacedName))
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	if secret.DeletionTimestamp.IsZero() {
		return settle(ensureInUse(ctx, r.Client, &secret))
	}
	if !controllerutil.ContainsFinalizer(&secret, v1alpha1.InUseFinalizer) {
		return ctrl.Result{}, nil
	}
	release, missed, comeBack, err := judgeHeld(&secret,
		func() (use, error) { return r.useOf(ctx, r, &secret, cachedUsers) },
		func() (use, error) { return r.useOf(ctx, r.live, &secret, liveUsers) })
	if err != nil || !release {
		return ctrl.Result{RequeueAfter: comeBack}, err
	}
	dropped, err := dropFinalizer(ctx, r.Client, &secret, v1alpha1.InUseFinalizer)
	if dropped && missed {
		log.FromContext(ctx).Info("Released Secret although live resources use it")
		r.events.Eventf(&secret, nil, corev1.EventTypeWarning, "ReleasedInUse", "Delete",
			"ReporterEndpoints of live ReporterConnections name this Secret: until it is created again, they cannot be looked up or deleted")
	}
	return settle(err)
}

// judgeHeld is judgeRelease for a deleted object, by what the cache says of its use, and before it is released, by what the API server
// says.
func judgeHeld(object client.Object, cached, live func() (use, error)) (release, missed bool, comeBack time.Duration, err error) {
	deletedFor := time.Since(object.GetDeletionTimestamp().Time)
	for _, ask := range []func() (use, error){cached, live} {
		use, err := ask()
		if err != nil {
			return false, false, 0, err
		}
		if release, missed, comeBack = judgeRelease(use, deletedFor); !release {
			break
		}
	}
	return release, missed, comeBack, nil
}

// releaseUnmarked takes our finalizer off a Secret that is no longer marked for us, and so no longer watched.
func (r *secretProtector) releaseUnmarked(ctx context.Context, key types.NamespacedName) error {
	var metadata metav1.PartialObjectMetadata
	metadata.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	if err := r.live.Get(ctx, key, &metadata); err != nil {
		return client.IgnoreNotFound(err)
	}
	if metadata.Labels[v1alpha1.CredentialsLabel] == "true" {
		return nil // marked again: its event is on the way
	}
	_, err := dropFinalizer(ctx, r.Client, &metadata, v1alpha1.InUseFinalizer)
	return err
}

// useOf finds out what a Secret is needed for, from the cache or live.
func (r *secretProtector) useOf(ctx context.Context, reader client.Reader, secret *corev1.Secret,
	narrow func(*v1alpha1.ReporterEndpoint) []client.ListOption) (use, error) {
	var use use
	var endpoints v1alpha1.ReporterEndpointList
	if err := reader.List(ctx, &endpoints, client.InNamespace(secret.Namespace)); err != nil {
		return use, fmt.Errorf("listing the endpoints of a Secret: %w", err)
	}
	for i := range endpoints.Items {
		endpoint := &endpoints.Items[i]
		if !slices.Contains(secretsOf(endpoint), secret.Name) || endpoint.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain {
			continue // it takes no credentials to leave a connection alone
		}
		users, err := r.access.usersOf(ctx, reader, endpoint, narrow(endpoint)...)
		if err != nil {
			return use, err
		}
		use.needed = use.needed || len(users) > 0
		use.pending = use.pending || slices.ContainsFunc(users, func(rc v1alpha1.ReporterConnection) bool {
			return !rc.DeletionTimestamp.IsZero() || !endpoint.DeletionTimestamp.IsZero()
		})
	}
	return use.in(ctx, reader, secret.Namespace)
}

// in is the use in a namespace: where that terminates, what is needed at all is needed now.
func (u use) in(ctx context.Context, reader client.Reader, namespace string) (use, error) {
	if !u.needed || u.pending {
		return u, nil
	}
	terminating, err := isTerminating(ctx, reader, namespace)
	u.pending = terminating
	return u, err
}

// usersOf lists the connections whose deletion will need an endpoint: it lets them in, they name it, their deletion is one in
// Reporter, and they were there before the endpoint was deleted or are being deleted themselves.
func (a *accessor) usersOf(ctx context.Context, reader client.Reader, endpoint *v1alpha1.ReporterEndpoint, which ...client.ListOption) ([]v1alpha1.ReporterConnection, error) {
	var connections v1alpha1.ReporterConnectionList
	if err := reader.List(ctx, &connections, which...); err != nil {
		return nil, fmt.Errorf("listing the connections of an endpoint: %w", err)
	}
	var users []v1alpha1.ReporterConnection
	for _, rc := range connections.Items {
		switch {
		case endpointKey(&rc) != client.ObjectKeyFromObject(endpoint),
			rc.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain,
			!rc.DeletionTimestamp.IsZero() && !controllerutil.ContainsFinalizer(&rc, v1alpha1.ConnectionFinalizer),
			rc.DeletionTimestamp.IsZero() && !endpoint.DeletionTimestamp.IsZero() && endpoint.DeletionTimestamp.Before(&rc.CreationTimestamp):
			continue
		}
		allowed, err := a.allows(ctx, reader, endpoint, rc.Namespace)
		if err != nil {
			return nil, err
		}
		if allowed {
			users = append(users, rc)
		}
	}
	return users, nil
}

// cachedUsers narrows a list of the cache to an endpoint's users.
func cachedUsers(endpoint *v1alpha1.ReporterEndpoint) []client.ListOption {
	return []client.ListOption{ofEndpoint(endpoint)}
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

func ensureInUse(ctx context.Context, c client.Client, object client.Object) error {
	base := object.DeepCopyObject().(client.Object)
	if !controllerutil.AddFinalizer(object, v1alpha1.InUseFinalizer) {
		return nil
	}
	if err := patchMetadata(ctx, c, object, base); err != nil {
		return fmt.Errorf("setting the finalizer: %w", err)
	}
	return nil
}

// secretsOf names the Secrets of an endpoint.
func secretsOf(endpoint *v1alpha1.ReporterEndpoint) []string {
	auth := endpoint.Spec.Auth
	switch {
	case auth == nil:
		return nil
	case auth.BearerToken != nil:
		return []string{auth.BearerToken.SecretRef.Name}
	case auth.AccessManager != nil:
		return []string{auth.AccessManager.SecretRef.Name}
	}
	return nil
}
