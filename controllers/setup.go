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
	"k8s.io/client-go/tools/events"
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

// operator is all that reconciles, and what it shares. It knows nothing of managers and queues: Setup connects it to those.
type operator struct {
	connections       *connectionReconciler
	endpoints         *endpointReconciler
	endpointProtector *endpointProtector
	secretProtector   *secretProtector
}

// newOperator makes an operator that reads from c, which may be a cache, and from live where it must not be one. It calls suspect
// to have an endpoint checked.
func newOperator(c client.Client, live client.Reader, recorder events.EventRecorder, suspect func(*v1alpha1.ReporterEndpoint), options Options) *operator {
	access := &accessor{cached: c, live: live, pool: &reporter.Pool{Network: options.Network}}
	return &operator{
		connections: &connectionReconciler{Client: c, live: live, access: access, events: recorder, routine: newPacer(),
			checkInterval: options.CheckInterval, suspect: suspect},
		endpoints:         &endpointReconciler{Client: c, access: access, checkInterval: options.CheckInterval},
		endpointProtector: &endpointProtector{Client: c, live: live, told: map[types.UID]time.Time{}},
		secretProtector:   &secretProtector{Client: c, live: live, events: recorder},
	}
}

// Setup adds the controllers to a manager that was made with CacheOptions.
func Setup(ctx context.Context, mgr ctrl.Manager, options Options) error {
	if err := index(ctx, mgr.GetFieldIndexer()); err != nil {
		return fmt.Errorf("indexing the cache: %w", err)
	}
	suspects := make(chan event.TypedGenericEvent[*v1alpha1.ReporterEndpoint])
	suspect := func(endpoint *v1alpha1.ReporterEndpoint) {
		select {
		case suspects <- event.TypedGenericEvent[*v1alpha1.ReporterEndpoint]{Object: endpoint}:
		case <-ctx.Done():
		}
	}
	o := newOperator(mgr.GetClient(), mgr.GetAPIReader(), mgr.GetEventRecorder(eventSource), suspect, options)
	namespaces := &metav1.PartialObjectMetadata{}
	namespaces.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))

	err := ctrl.NewControllerManagedBy(mgr).
		Named("reporterendpoint").
		WithOptions(controller.Options{MaxConcurrentReconciles: options.MaxConcurrentReconciles}). // one that hangs must not hold up others
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &v1alpha1.ReporterEndpoint{}, endpointEvents())).
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &corev1.Secret{}, secretEvents(o.endpoints.wakeUsers))).
		WatchesRawSource(source.TypedChannel(suspects, o.endpoints.suspicions())).
		Complete(o.endpoints)
	if err != nil {
		return fmt.Errorf("setting up the controller of ReporterEndpoints: %w", err)
	}
	err = ctrl.NewControllerManagedBy(mgr).
		Named("reporterconnection").
		WithOptions(controller.Options{MaxConcurrentReconciles: options.MaxConcurrentReconciles}).
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &v1alpha1.ReporterConnection{}, o.connections.connectionEvents())).
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &v1alpha1.ReporterEndpoint{}, o.connections.endpointEvents())).
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &corev1.Secret{}, secretEvents(o.connections.wakeUsers))).
		WatchesRawSource(source.TypedKind(mgr.GetCache(), namespaces, o.connections.namespaceEvents())).
		Complete(o.connections)
	if err != nil {
		return fmt.Errorf("setting up the controller of ReporterConnections: %w", err)
	}
	err = ctrl.NewControllerManagedBy(mgr).
		Named("reporterendpoint-protection").
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &v1alpha1.ReporterEndpoint{}, o.endpointProtector.endpointEvents())).
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &v1alpha1.ReporterConnection{}, needEvents(o.endpointProtector.needEnded))).
		Complete(o.endpointProtector)
	if err != nil {
		return fmt.Errorf("setting up the protection of ReporterEndpoints: %w", err)
	}
	err = ctrl.NewControllerManagedBy(mgr).
		Named("secret-protection").
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &corev1.Secret{}, o.secretProtector.secretEvents())).
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &v1alpha1.ReporterEndpoint{}, o.secretProtector.endpointEvents())).
		WatchesRawSource(source.TypedKind(mgr.GetCache(), &v1alpha1.ReporterConnection{}, needEvents(o.secretProtector.needEnded))).
		Complete(o.secretProtector)
	if err != nil {
		return fmt.Errorf("setting up the protection of Secrets: %w", err)
	}
	return nil
}

// eventSource names the operator in its events.
const eventSource = "reporter-operator"

func index(ctx context.Context, indexer client.FieldIndexer) error {
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
