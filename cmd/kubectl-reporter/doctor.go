// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/config"
)

func newDoctorCommand(c *cluster) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check an installation, and say how to mend what is wrong",
		Long:  "Check an installation, and say how to mend what is wrong. It compares kinds and policies with those of the version of this program.",
		Args:  cobra.NoArgs,
		RunE:  func(command *cobra.Command, _ []string) error { return c.examine(command.Context()) },
	}
}

// problem is something that is wrong, and the way back.
type problem struct{ wrong, remedy string }

// examine prints the outcome of each check.
func (c *cluster) examine(ctx context.Context) error {
	found := 0
	for _, check := range []struct {
		of  string
		run func(context.Context) ([]problem, error)
	}{
		{"the definitions of the kinds", c.examineDefinitions},
		{"the admission policies", c.examinePolicies},
		{"the operator", c.examineOperator},
		{"the operator's rights", c.examineRights},
		{"the Secrets that resources name", c.examineSecrets},
		{"the use of the endpoints", c.examineUse},
		{"what is held", c.examineHeld},
	} {
		problems, err := check.run(ctx)
		switch {
		case err != nil:
			problems = []problem{{"checking it: " + err.Error(), "Try again, or as somebody who may read it."}}
		case len(problems) == 0:
			c.say("ok     %s", check.of)
		}
		for _, f := range problems {
			c.say("WRONG  %s: %s\n       %s", check.of, strings.ReplaceAll(f.wrong, "\n", "\n       "), strings.ReplaceAll(f.remedy, "\n", "\n       "))
		}
		found += len(problems)
	}
	if found > 0 {
		return fmt.Errorf("%d things are wrong", found)
	}
	return nil
}

const reinstall = "Install the version of this program (`kubectl reporter --version`) again."

// shipped are the objects of a file that is installed, under the names that they get.
func (c *cluster) shipped(file string) ([]*unstructured.Unstructured, error) {
	content, err := fs.ReadFile(config.Files, file)
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for document := range bytes.SplitSeq(append([]byte("\n"), content...), []byte("\n---")) {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &object.Object); err != nil {
			return nil, err
		}
		if object.Object == nil {
			continue
		}
		if object.GetKind() != "CustomResourceDefinition" {
			object.SetName(c.operator.Name + "-" + object.GetName())
		}
		objects = append(objects, object)
	}
	return objects, nil
}

// compared compares a part of what is installed with what this version would install. What the API server adds is no difference.
func (c *cluster) compared(ctx context.Context, files ...string) ([]problem, error) {
	var problems []problem
	for _, file := range files {
		objects, err := c.shipped(file)
		if err != nil {
			return nil, err
		}
		for _, want := range objects {
			got := &unstructured.Unstructured{}
			got.SetGroupVersionKind(want.GroupVersionKind())
			err := c.Get(ctx, client.ObjectKeyFromObject(want), got)
			switch {
			case meta.IsNoMatchError(err): // the cluster does not serve it
			case client.IgnoreNotFound(err) != nil:
				return nil, err
			case err != nil:
				problems = append(problems, problem{c.named(want) + " is missing", reinstall})
			case strings.HasSuffix(want.GetKind(), "Binding"): // what it names is renamed
			case !contains(got.Object["spec"], want.Object["spec"]):
				problems = append(problems, problem{c.named(want) + " is of another version", reinstall})
			}
		}
	}
	return problems, nil
}

// contains says whether a value has all that another one has.
func contains(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		in, ok := got.(map[string]any)
		for key, value := range want {
			if !ok || !contains(in[key], value) {
				return false
			}
		}
		return true
	case []any:
		in, ok := got.([]any)
		if !ok || len(in) != len(want) {
			return false
		}
		for i := range want {
			if !contains(in[i], want[i]) {
				return false
			}
		}
		return true
	case string:
		in, ok := got.(string)
		return ok && strings.TrimSpace(in) == strings.TrimSpace(want)
	}
	return reflect.DeepEqual(got, want)
}

func (c *cluster) examineDefinitions(ctx context.Context) ([]problem, error) {
	return c.compared(ctx, "crd/bases/reporter.lerian.studio_reporterconnections.yaml", "crd/bases/reporter.lerian.studio_reporterendpoints.yaml")
}

func (c *cluster) examinePolicies(ctx context.Context) ([]problem, error) {
	return c.compared(ctx, "admission/validating.yaml", "admission/mutating.yaml")
}

func (c *cluster) examineOperator(ctx context.Context) ([]problem, error) {
	deployment, err := c.deployment(ctx)
	if err != nil {
		return nil, err
	}
	if deployment == nil {
		return []problem{{fmt.Sprintf("there is no Deployment %s-controller-manager in namespace %s", c.operator.Name, c.operator.Namespace),
			"Say where it is with --operator-namespace and --operator-name, or install it again."}}, nil
	}
	who, at, err := c.leader(ctx)
	if err != nil || leads(who, at) {
		return nil, err
	}
	return []problem{{fmt.Sprintf("no replica works: %d of %d are available, and none leads", deployment.Status.AvailableReplicas, *deployment.Spec.Replicas),
		fmt.Sprintf("See why: kubectl describe pods --namespace %[1]s; kubectl logs --namespace %[1]s deployment/%[2]s", deployment.Namespace, deployment.Name)}}, nil
}

// examineRights asks the API server whether the operator may do what its role says: in the whole cluster, or in the namespaces with its
// RoleBinding.
func (c *cluster) examineRights(ctx context.Context) ([]problem, error) {
	objects, err := c.shipped("rbac/role.yaml")
	if err != nil {
		return nil, err
	}
	if len(objects) != 1 {
		return nil, fmt.Errorf("there are %d roles", len(objects))
	}
	role := &rbacv1.ClusterRole{}
	if err := c.Get(ctx, client.ObjectKeyFromObject(objects[0]), role); apierrors.IsNotFound(err) {
		return []problem{{c.named(objects[0]) + " is missing", reinstall}}, nil
	} else if err != nil {
		return nil, err
	}
	bindings, err := c.heldBindings(ctx)
	if err != nil {
		return nil, err
	}
	namespaces := []string{""}
	if len(bindings) > 0 {
		namespaces = nil
	}
	for _, binding := range bindings {
		namespaces = append(namespaces, binding.GetNamespace())
	}
	var problems []problem
	for _, namespace := range namespaces {
		denied, err := c.denied(ctx, namespace, role.Rules)
		if err != nil {
			return nil, err
		}
		if len(denied) > 0 {
			where := "in the cluster"
			if namespace != "" {
				where = "in namespace " + namespace
			}
			problems = append(problems, problem{fmt.Sprintf("%s, it may not %s", where, strings.Join(denied, ", ")), reinstall})
		}
	}
	return problems, nil
}

// denied is what the operator may not do of some rules.
func (c *cluster) denied(ctx context.Context, namespace string, rules []rbacv1.PolicyRule) ([]string, error) {
	var denied []string
	for _, rule := range rules {
		for _, resource := range rule.Resources {
			resource, subresource, _ := strings.Cut(resource, "/")
			for _, verb := range rule.Verbs {
				review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
					User: fmt.Sprintf("system:serviceaccount:%s:%s-controller-manager", c.operator.Namespace, c.operator.Name),
					ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb, Group: rule.APIGroups[0], Resource: resource,
						Subresource: subresource, Name: strings.Join(rule.ResourceNames, ",")},
				}}
				if err := c.Create(ctx, review); err != nil {
					return nil, err
				}
				if !review.Status.Allowed {
					denied = append(denied, verb+" "+resource)
				}
			}
		}
	}
	return denied, nil
}

// need is a Secret that a resource names, and the label without which the operator does not read it.
type need struct {
	of     client.Object
	secret types.NamespacedName
	label  string
}

// needs are all Secrets that resources name.
func (c *cluster) needs(ctx context.Context) ([]need, error) {
	connections, endpoints, err := c.resources(ctx)
	var needs []need
	add := func(of client.Object, names []string, label string) {
		for _, name := range names {
			needs = append(needs, need{of, types.NamespacedName{Namespace: of.GetNamespace(), Name: name}, label})
		}
	}
	for i := range endpoints {
		add(&endpoints[i], endpoints[i].SecretNames(), v1alpha1.CredentialsOfEndpoint)
	}
	for i := range connections {
		add(&connections[i], connections[i].DatabaseSecretNames(), v1alpha1.CredentialsOfDatabase)
	}
	return needs, err
}

// examineSecrets looks for Secrets that an endpoint or a described connection needs, and that the operator does not read.
func (c *cluster) examineSecrets(ctx context.Context) ([]problem, error) {
	needs, err := c.needs(ctx)
	if err != nil {
		return nil, err
	}
	var problems []problem
	for _, n := range needs {
		secret := &metav1.PartialObjectMetadata{}
		secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
		err := c.Get(ctx, n.secret, secret)
		switch {
		case client.IgnoreNotFound(err) != nil:
			return nil, err
		case err != nil:
			problems = append(problems, problem{fmt.Sprintf("%s needs Secret %s, which does not exist", c.named(n.of), n.secret.Name),
				fmt.Sprintf("Create it, labelled %s=%s.", v1alpha1.CredentialsLabel, n.label)})
		case secret.Labels[v1alpha1.CredentialsLabel] != n.label:
			problems = append(problems, problem{fmt.Sprintf("%s needs Secret %s, which is not labelled for it", c.named(n.of), n.secret.Name),
				fmt.Sprintf("kubectl label --overwrite secret --namespace %s %s %s=%s", n.secret.Namespace, n.secret.Name, v1alpha1.CredentialsLabel, n.label)})
		}
	}
	return problems, nil
}

// examineUse looks for connections without an endpoint, and endpoints without a connection.
func (c *cluster) examineUse(ctx context.Context) ([]problem, error) {
	connections, endpoints, err := c.resources(ctx)
	if err != nil {
		return nil, err
	}
	used := map[types.NamespacedName]bool{}
	for i := range connections {
		used[connections[i].EndpointKey()] = true
	}
	var problems []problem
	for i := range endpoints {
		if e := &endpoints[i]; !used[client.ObjectKeyFromObject(e)] && e.DeletionTimestamp.IsZero() {
			problems = append(problems, problem{c.named(e) + " is used by nobody",
				fmt.Sprintf("Delete it, if it is not wanted: kubectl delete rep --namespace %s %s", e.Namespace, e.Name)})
		}
	}
	return problems, nil
}

// examineHeld looks for what is held where no operator is at work that would release it.
func (c *cluster) examineHeld(ctx context.Context) ([]problem, error) {
	who, at, err := c.leader(ctx)
	if err != nil {
		return nil, err
	}
	held, err := c.held(ctx)
	bindings, more := c.heldBindings(ctx)
	if err := errors.Join(err, more); err != nil {
		return nil, err
	}
	if leads(who, at) {
		return c.examineHeldElsewhere(ctx, held, bindings)
	}
	deployment, err := c.deployment(ctx)
	if err != nil {
		return nil, err
	}
	stranded := slices.DeleteFunc(append(held, bindings...), func(object client.Object) bool {
		return deployment != nil && object.GetDeletionTimestamp().IsZero()
	})
	if len(stranded) == 0 {
		return nil, nil
	}
	slices.SortStableFunc(stranded, func(a, b client.Object) int { // what is deleted comes first
		return cmp.Compare(rank(a), rank(b))
	})
	return []problem{{"an operator that does not work holds these:\n" + c.listed(stranded),
		"Install the operator again, and it goes on. Or have all go and keep the connections in Reporter:\nkubectl reporter uninstall --keep-connections --operator-is-gone"}}, nil
}

// rank is 0 for what is deleted, and 1 for the rest.
func rank(object client.Object) int {
	if object.GetDeletionTimestamp().IsZero() {
		return 1
	}
	return 0
}

// examineHeldElsewhere looks for namespaces in which something is held, by a policy or from before, and an operator that leads does not work.
func (c *cluster) examineHeldElsewhere(ctx context.Context, held, bindings []client.Object) ([]problem, error) {
	err := c.Get(ctx, types.NamespacedName{Name: c.operator.Name + "-manager-rolebinding"}, &rbacv1.ClusterRoleBinding{})
	if !apierrors.IsNotFound(err) {
		return nil, err // it works everywhere
	}
	works, err := c.namespacesOfOthers(ctx)
	if err != nil {
		return nil, err
	}
	for _, binding := range bindings {
		works = append(works, binding.GetNamespace())
	}
	counts := map[string]int{}
	for _, object := range held {
		if !slices.Contains(works, object.GetNamespace()) {
			counts[object.GetNamespace()]++
		}
	}
	var problems []problem
	for _, namespace := range slices.Sorted(maps.Keys(counts)) {
		problems = append(problems, problem{fmt.Sprintf("in namespace %s, where no operator works, objects are held: %d", namespace, counts[namespace]),
			"Have the operator work there: its --watch-namespaces, and the RoleBinding of config/watched-namespace."})
	}
	return problems, nil
}
