// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func newPreflightCommand(c *cluster) *cobra.Command {
	var namespaces []string
	command := &cobra.Command{
		Use:   "preflight",
		Short: "Say whether the operator may be installed to work in some namespaces, or in all",
		Long: "Say whether the operator may be installed to work in --watch-namespaces alone, or in all namespaces without them. It may not where it would no " +
			"longer work in a namespace in which it holds something: nobody would ever release that.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return c.preflight(command.Context(), namespaces) },
	}
	command.Flags().StringSliceVar(&namespaces, "watch-namespaces", nil, "The namespaces, separated by commas; all if it is not set")
	return command
}

func (c *cluster) preflight(ctx context.Context, namespaces []string) error {
	bindings, err := c.heldBindings(ctx)
	if err != nil {
		return err
	}
	for _, binding := range bindings {
		if !slices.Contains(namespaces, binding.GetNamespace()) {
			return fmt.Errorf("the operator works in namespace %[1]s, which --watch-namespaces leaves out. Have it release that one first, while it runs:\n"+
				"kubectl delete rolebinding --namespace %[1]s %[2]s\n"+
				"If it is gone: kubectl reporter uninstall --operator-only --operator-is-gone", binding.GetNamespace(), roleBindingName)
		}
	}
	if len(namespaces) == 0 {
		return nil
	}
	held, err := c.held(ctx)
	if err != nil {
		return err
	}
	elsewhere, err := c.namespacesOfOthers(ctx)
	if err != nil {
		return err
	}
	held = slices.DeleteFunc(held, func(object client.Object) bool {
		return slices.Contains(namespaces, object.GetNamespace()) || slices.Contains(elsewhere, object.GetNamespace())
	})
	if len(held) == 0 {
		return nil
	}
	const way = "Add its namespace, or delete what is held there while the operator works there: kubectl get rconn,rep,secret --namespace %s"
	err = c.Get(ctx, types.NamespacedName{Name: c.operator.Name + "-manager-rolebinding"}, &rbacv1.ClusterRoleBinding{})
	switch {
	case err == nil:
		return fmt.Errorf("the operator works in all namespaces so far, and holds %s, whose namespace --watch-namespaces leaves out: nobody would ever release it.\n"+way,
			c.named(held[0]), held[0].GetNamespace())
	case apierrors.IsNotFound(err): // whoever may create a resource somewhere must not keep the operator from being installed
		c.say("%s is held, and --watch-namespaces leaves its namespace out: nobody will release it.\n"+way, c.named(held[0]), held[0].GetNamespace())
		return nil
	}
	return err
}

// namespacesOfOthers are those in which an operator of another installation works.
func (c *cluster) namespacesOfOthers(ctx context.Context) ([]string, error) {
	var bindings rbacv1.RoleBindingList
	if err := c.List(ctx, &bindings, client.MatchingFields{"metadata.name": roleBindingName}); err != nil {
		return nil, fmt.Errorf("listing RoleBindings: %w", err)
	}
	var namespaces []string
	for _, binding := range bindings.Items {
		if binding.RoleRef.Name != c.operator.Name+"-manager-role" {
			namespaces = append(namespaces, binding.Namespace)
		}
	}
	return namespaces, nil
}

// held are all objects with a finalizer of the operator's, but for RoleBindings.
func (c *cluster) held(ctx context.Context) ([]client.Object, error) {
	connections, endpoints, err := c.resources(ctx)
	if err != nil {
		return nil, err
	}
	held, err := c.heldSecrets(ctx)
	for i := range endpoints {
		if isHeld(&endpoints[i]) {
			held = append(held, &endpoints[i])
		}
	}
	for i := range connections {
		if isHeld(&connections[i]) {
			held = append(held, &connections[i])
		}
	}
	return held, err
}

// isHeld says whether an object has a finalizer of the operator's.
func isHeld(object client.Object) bool {
	return slices.ContainsFunc(object.GetFinalizers(), isOurs)
}

func isOurs(finalizer string) bool { return strings.HasPrefix(finalizer, "reporter.lerian.studio/") }
