// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/config"
)

const (
	// roleBindingName is that of the RoleBindings by which an operator has its rights that works in some namespaces alone.
	roleBindingName = "reporter-operator"
	leaseName       = "reporter-operator.reporter.lerian.studio"
)

// cluster is the one that kubectl's flags name, and what the commands print.
type cluster struct {
	client.Client
	genericiooptions.IOStreams
	// operator has the operator's namespace, and what the names of its objects begin with.
	operator types.NamespacedName
	// namespace is the current one.
	namespace string
}

func (c *cluster) connect(flags *genericclioptions.ConfigFlags) error {
	connection, err := flags.ToRESTConfig()
	if err != nil {
		return err
	}
	connection.QPS = -1 // the API server has its own ways to be fair
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), apiextensionsv1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	if c.namespace, _, err = flags.ToRawKubeConfigLoader().Namespace(); err != nil {
		return err
	}
	c.Client, err = client.New(connection, client.Options{Scheme: scheme})
	return err
}

// say prints a line.
func (c *cluster) say(format string, arguments ...any) {
	fmt.Fprintf(c.Out, format+"\n", arguments...)
}

// resources are those of the operator's kinds. There are none where the kinds are not installed.
func (c *cluster) resources(ctx context.Context, options ...client.ListOption) ([]v1alpha1.ReporterConnection, []v1alpha1.ReporterEndpoint, error) {
	var connections v1alpha1.ReporterConnectionList
	var endpoints v1alpha1.ReporterEndpointList
	for _, list := range []client.ObjectList{&connections, &endpoints} {
		// A kind that has just gone may still be known.
		if err := c.List(ctx, list, options...); err != nil && !meta.IsNoMatchError(err) && !apierrors.IsNotFound(err) {
			return nil, nil, fmt.Errorf("listing resources: %w", err)
		}
	}
	return connections.Items, endpoints.Items, nil
}

// heldSecrets are those that the operator holds.
func (c *cluster) heldSecrets(ctx context.Context) ([]client.Object, error) {
	var secrets corev1.SecretList
	if err := c.List(ctx, &secrets); err != nil {
		return nil, fmt.Errorf("listing Secrets: %w", err)
	}
	var held []client.Object
	for i := range secrets.Items {
		if slices.Contains(secrets.Items[i].Finalizers, v1alpha1.InUseFinalizer) {
			held = append(held, &secrets.Items[i])
		}
	}
	return held, nil
}

// heldBindings are the RoleBindings that this operator holds, where it works in some namespaces alone. Those of another one give another role.
func (c *cluster) heldBindings(ctx context.Context) ([]client.Object, error) {
	var bindings rbacv1.RoleBindingList
	if err := c.List(ctx, &bindings, client.MatchingFields{"metadata.name": roleBindingName}); err != nil {
		return nil, fmt.Errorf("listing RoleBindings: %w", err)
	}
	var held []client.Object
	for i := range bindings.Items {
		if binding := &bindings.Items[i]; isHeld(binding) && binding.RoleRef.Name == c.operator.Name+"-manager-role" {
			held = append(held, binding)
		}
	}
	return held, nil
}

// deployment is the operator's, or nil if there is none.
func (c *cluster) deployment(ctx context.Context) (*appsv1.Deployment, error) {
	deployment := &appsv1.Deployment{}
	err := c.Get(ctx, types.NamespacedName{Namespace: c.operator.Namespace, Name: c.operator.Name + "-controller-manager"}, deployment)
	if err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	return deployment, nil
}

// leader is who works, and when it said so last: nobody, if there is no lease.
func (c *cluster) leader(ctx context.Context) (who string, at time.Time, err error) {
	lease := &coordinationv1.Lease{}
	if err := c.Get(ctx, types.NamespacedName{Namespace: c.operator.Namespace, Name: leaseName}, lease); err != nil {
		return "", at, client.IgnoreNotFound(err)
	}
	if lease.Spec.HolderIdentity != nil && lease.Spec.RenewTime != nil {
		who, at = *lease.Spec.HolderIdentity, lease.Spec.RenewTime.Time
	}
	return who, at, nil
}

// leads says whether a leader that was heard of at a time still works: it says so every few seconds.
func leads(who string, at time.Time) bool { return who != "" && time.Since(at) < 30*time.Second }

// policyLists are empty lists of all that makes an admission policy, bindings first: without those a policy does nothing.
func policyLists() []client.ObjectList {
	return []client.ObjectList{
		&admissionregistrationv1.MutatingAdmissionPolicyBindingList{}, &admissionregistrationv1.ValidatingAdmissionPolicyBindingList{},
		&admissionregistrationv1.MutatingAdmissionPolicyList{}, &admissionregistrationv1.ValidatingAdmissionPolicyList{},
	}
}

// pods are those of the operator.
func (c *cluster) pods(ctx context.Context) ([]client.Object, error) {
	var pods corev1.PodList
	err := c.List(ctx, &pods, client.InNamespace(c.operator.Namespace), runs)
	left := make([]client.Object, 0, len(pods.Items))
	for i := range pods.Items {
		left = append(left, &pods.Items[i])
	}
	return left, err
}

// runs are the labels of what runs the operator.
var runs = client.MatchingLabels{"app.kubernetes.io/name": "reporter-operator", "control-plane": "controller-manager"}

// others are the Deployments of other installations in the same cluster.
func (c *cluster) others(ctx context.Context) ([]client.Object, error) {
	var deployments appsv1.DeploymentList
	err := c.List(ctx, &deployments, runs)
	var others []client.Object
	for i := range deployments.Items {
		if d := &deployments.Items[i]; d.Namespace != c.operator.Namespace || d.Name != c.operator.Name+"-controller-manager" {
			others = append(others, d)
		}
	}
	return others, err
}

// ours are the objects of the given lists that belong to the operator: by their label, and by their names, as another installation may have names
// that begin like those of this one.
func (c *cluster) ours(ctx context.Context, lists []client.ObjectList) ([]client.Object, error) {
	names, err := c.names()
	if err != nil {
		return nil, err
	}
	var found []client.Object
	for _, list := range lists {
		err := c.List(ctx, list, client.MatchingLabels{"app.kubernetes.io/name": "reporter-operator"})
		if meta.IsNoMatchError(err) {
			continue // the cluster does not serve it
		}
		if err != nil {
			return nil, err
		}
		err = meta.EachListItem(list, func(item runtime.Object) error {
			object := item.(client.Object)
			if in := object.GetNamespace(); (in == c.operator.Namespace || in == "") && names[object.GetName()] {
				found = append(found, object)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// names are those of the operator's objects.
func (c *cluster) names() (map[string]bool, error) {
	names := map[string]bool{c.operator.Name: true, c.operator.Name + "-dashboard": true}
	for _, pattern := range []string{"admission/*.yaml", "rbac/*.yaml", "manager/*.yaml"} {
		files, err := fs.Glob(config.Files, pattern)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			objects, err := c.shipped(file)
			if err != nil {
				return nil, err
			}
			for _, object := range objects {
				names[object.GetName()] = true
			}
		}
	}
	return names, nil
}

// named is how people call an object.
func (c *cluster) named(object client.Object) string {
	kind := "object"
	if gvk, err := c.GroupVersionKindFor(object); err == nil {
		kind = gvk.Kind
	}
	if object.GetNamespace() == "" {
		return kind + " " + object.GetName()
	}
	return kind + " " + object.GetNamespace() + "/" + object.GetName()
}
