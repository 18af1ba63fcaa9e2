// SPDX-License-Identifier: Apache-2.0

// Package controllers reconciles ReporterConnections and ReporterEndpoints with the Reporters they name.
package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// Options are what an administrator may turn.
type Options struct {
	// MaxConcurrentReconciles is how many ReporterConnections, and how many ReporterEndpoints, are worked on at once.
	MaxConcurrentReconciles int
	// CheckInterval is how often a live connection, and a Reporter that answers, is looked at again, give or take a tenth.
	CheckInterval time.Duration
	// Network is what endpoints may reach.
	Network reporter.Network
}

// CacheOptions are those of the manager's cache: of all Secrets it holds the marked ones alone.
func CacheOptions() cache.Options {
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Label: labels.SelectorFromSet(labels.Set{v1alpha1.CredentialsLabel: "true"})},
		},
	}
}

// Indexes of the cache.
const (
	byEndpoint     = "spec.endpointRef"  // ReporterConnections by the namespace/name of their endpoint
	byConnectionID = "spec.connectionID" // ReporterConnections by the connection they claim
	bySecret       = "spec.auth.secret"  // ReporterEndpoints by the namespace/name of their Secrets
)

// Setup adds the controllers to a manager that was made with CacheOptions.
func Setup(ctx context.Context, mgr ctrl.Manager, options Options) error {
	if err := index(ctx, mgr); err != nil {
		return fmt.Errorf("indexing the cache: %w", err)
	}
	access := &accessor{cached: mgr.GetClient(), live: mgr.GetAPIReader(), pool: &reporter.Pool{Network: options.Network}}
	suspects := make(chan event.TypedGenericEvent[*v1alpha1.ReporterEndpoint])

	endpoints := &endpointReconciler{Client: mgr.GetClient(), access: access, checkInterval: options.CheckInterval}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("reporterendpoint").
		WithOptions(controller.Options{MaxConcurrentReconciles: options.MaxConcurrentReconciles}). // one that hangs must not hold up others
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &v1alpha1.ReporterEndpoint{}, endpointEvents())).
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &corev1.Secret{}, secretEvents(endpoints.wakeUsers))).
		WatchesRawSource(source.TypedChannel(suspects, endpoints.suspicions())).
		Complete(endpoints)
	if err != nil {
		return fmt.Errorf("setting up the controller of ReporterEndpoints: %w", err)
	}

	namespaces := &metav1.PartialObjectMetadata{}
	namespaces.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	connections := &connectionReconciler{
		Client:        mgr.GetClient(),
		live:          mgr.GetAPIReader(),
		access:        access,
		events:        mgr.GetEventRecorder(eventSource),
		routine:       newPacer(),
		checkInterval: options.CheckInterval,
		suspect: func(endpoint *v1alpha1.ReporterEndpoint) {
			select {
			case suspects <- event.TypedGenericEvent[*v1alpha1.ReporterEndpoint]{Object: endpoint}:
			case <-ctx.Done():
			}
		},
	}
	err = ctrl.NewControllerManagedBy(mgr).
		Named("reporterconnection").
		WithOptions(controller.Options{MaxConcurrentReconciles: options.MaxConcurrentReconciles}).
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &v1alpha1.ReporterConnection{}, connections.connectionEvents())).
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &v1alpha1.ReporterEndpoint{}, connections.endpointEvents())).
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &corev1.Secret{}, secretEvents(connections.wakeUsers))).
		WatchesRawSource(source.TypedKind(mgr.GetCache(), namespaces, connections.namespaceEvents())).
		Complete(connections)
	if err != nil {
		return fmt.Errorf("setting up the controller of ReporterConnections: %w", err)
	}
	return setupProtection(mgr)
}

func setupProtection(mgr ctrl.Manager) error {
	endpoints := &endpointProtector{Client: mgr.GetClient(), live: mgr.GetAPIReader(), told: map[types.UID]time.Time{}}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("reporterendpoint-protection").
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &v1alpha1.ReporterEndpoint{}, protectedEvents(
			func(endpoint *v1alpha1.ReporterEndpoint, _ queue) { endpoints.forget(endpoint) }))).
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &v1alpha1.ReporterConnection{}, needEvents(endpoints.needEnded))).
		Complete(endpoints)
	if err != nil {
		return fmt.Errorf("setting up the protection of ReporterEndpoints: %w", err)
	}
	secrets := &secretProtector{Client: mgr.GetClient(), live: mgr.GetAPIReader(), events: mgr.GetEventRecorder(eventSource)}
	err = ctrl.NewControllerManagedBy(mgr).
		Named("secret-protection").
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &corev1.Secret{}, protectedEvents(
			func(secret *corev1.Secret, q queue) { q.Add(requestFor(secret)) }))). // it may only have lost its label
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &v1alpha1.ReporterEndpoint{}, secrets.endpointEvents())).
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &v1alpha1.ReporterConnection{}, needEvents(secrets.needEnded))).
		Complete(secrets)
	if err != nil {
		return fmt.Errorf("setting up the protection of Secrets: %w", err)
	}
	return nil
}

// eventSource names the operator in its events.
const eventSource = "reporter-operator"

func index(ctx context.Context, mgr ctrl.Manager) error {
	indexer := mgr.GetFieldIndexer()
	connections := map[string]func(*v1alpha1.ReporterConnection) string{
		byEndpoint:     func(rc *v1alpha1.ReporterConnection) string { return endpointKey(rc).String() },
		byConnectionID: func(rc *v1alpha1.ReporterConnection) string { return rc.Spec.ConnectionID },
	}
	for name, value := range connections {
		err := indexer.IndexField(ctx, &v1alpha1.ReporterConnection{}, name, func(object client.Object) []string {
			return []string{value(object.(*v1alpha1.ReporterConnection))}
		})
		if err != nil {
			return err
		}
	}
	return indexer.IndexField(ctx, &v1alpha1.ReporterEndpoint{}, bySecret, func(object client.Object) []string {
		endpoint := object.(*v1alpha1.ReporterEndpoint)
		var keys []string
		for _, name := range secretsOf(endpoint) {
			keys = append(keys, client.ObjectKey{Namespace: endpoint.Namespace, Name: name}.String())
		}
		return keys
	})
}
