// SPDX-License-Identifier: Apache-2.0

// Command yardstick runs a controller that does the least there is to do, for the benchmark to compare the operator with:
//
//	yardstick noop                          releases each deleted ReporterConnection, and does nothing else
//	yardstick http http://127.0.0.1:4006    the same, after one DELETE in the Reporter at that address
//	yardstick plain http://127.0.0.1:4006   the same for objects of the kind Plain, which has nothing that it need not have
//	yardstick bare                          watches what the operator watches, and does nothing at all
//
// It honours KUBECONFIG. It is no example of an operator: it reads no endpoint, writes no status, and leaves each error
// to the queue.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/scope"
	"github.com/reporter-operator/reporter-operator/hack/bench/plain"
)

// workers is how many ReporterConnections are worked on at once, enough to have no part in the result.
const workers = 32

func main() {
	if err := run(ctrl.SetupSignalHandler(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "yardstick:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	ctrl.SetLogger(zap.New())
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return fmt.Errorf("building the scheme: %w", err)
		}
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the cluster: %w", err)
	}
	config.QPS = -1 // the API server's priority and fairness limits it
	mgr, err := ctrl.NewManager(config, ctrl.Options{Scheme: scheme, Cache: scope.Scope{}.CacheOptions(), Metrics: metricsserver.Options{BindAddress: "0"}})
	if err != nil {
		return fmt.Errorf("making the manager: %w", err)
	}
	switch {
	case len(args) == 1 && args[0] == "noop":
		err = release(mgr, &v1alpha1.ReporterConnection{}, func(context.Context, client.Object) error { return nil })
	case len(args) == 2 && args[0] == "http":
		err = release(mgr, &v1alpha1.ReporterConnection{}, deleteAt(args[1]))
	case len(args) == 2 && args[0] == "plain":
		err = release(mgr, plain.New(), deleteAt(args[1]))
	case len(args) == 1 && args[0] == "bare":
		err = watch(ctx, mgr)
	default:
		err = fmt.Errorf("unexpected arguments %q: give one of noop, http URL, plain URL and bare", args)
	}
	if err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// release adds a controller that takes the finalizer off deleted objects of a kind, after something else is done.
func release(mgr ctrl.Manager, kind client.Object, first func(context.Context, client.Object) error) error {
	isDeleted := predicate.NewPredicateFuncs(func(object client.Object) bool { return !object.GetDeletionTimestamp().IsZero() })
	return ctrl.NewControllerManagedBy(mgr).
		For(kind, builder.WithPredicates(isDeleted)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(reconciler{mgr.GetClient(), kind, first})
}

type reconciler struct {
	client.Client
	kind  client.Object
	first func(context.Context, client.Object) error
}

func (r reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	object := r.kind.DeepCopyObject().(client.Object)
	if err := r.Get(ctx, req.NamespacedName, object); err != nil || !controllerutil.ContainsFinalizer(object, v1alpha1.ConnectionFinalizer) {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if err := r.first(ctx, object); err != nil {
		return ctrl.Result{}, err
	}
	base := object.DeepCopyObject().(client.Object)
	controllerutil.RemoveFinalizer(object, v1alpha1.ConnectionFinalizer)
	err := r.Patch(ctx, object, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
	return ctrl.Result{}, client.IgnoreNotFound(err)
}

// connectionID is the id of the connection that an object is for.
func connectionID(object client.Object) string {
	if rc, is := object.(*v1alpha1.ReporterConnection); is {
		return rc.Spec.ConnectionID
	}
	return plain.ConnectionID(object)
}

// deleteAt returns what deletes a connection in the Reporter at a URL.
func deleteAt(url string) func(context.Context, client.Object) error {
	reporter := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	return func(ctx context.Context, object client.Object) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodDelete, url+"/v1/management/connections/"+connectionID(object), nil)
		if err != nil {
			return err
		}
		resp, err := reporter.Do(req)
		if err != nil {
			return err
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusNoContent {
			return fmt.Errorf("deleting in Reporter: status %d: %w", resp.StatusCode, err)
		}
		return nil
	}
}

// watch fills the manager's cache with the kinds that the operator's holds.
func watch(ctx context.Context, mgr ctrl.Manager) error {
	namespaces := &metav1.PartialObjectMetadata{}
	namespaces.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	for _, kind := range []client.Object{&v1alpha1.ReporterConnection{}, &v1alpha1.ReporterEndpoint{}, &corev1.Secret{}, namespaces} {
		if _, err := mgr.GetCache().GetInformer(ctx, kind); err != nil {
			return fmt.Errorf("watching %T: %w", kind, err)
		}
	}
	return nil
}
