// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// uninstall removes an installation, in an order in which nothing is left that nobody could release.
type uninstall struct {
	*cluster
	keepConnections, operatorOnly, operatorIsGone bool
}

func newUninstallCommand(c *cluster) *cobra.Command {
	u := uninstall{cluster: c}
	var timeout time.Duration
	command := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove the operator, its kinds and all that it holds",
		Long: "Remove the operator, its kinds and all that it holds. It waits for the deletions that are under way, and refuses while there are ReporterConnections " +
			"that nobody has deleted. It may be interrupted at any point, and run again.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			ctx := command.Context()
			if timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not done within %s: run it again to go on", timeout))
				defer cancel()
			}
			return u.run(ctx)
		},
	}
	command.Flags().BoolVar(&u.keepConnections, "keep-connections", false, "Delete all ReporterConnections, and keep every connection in Reporter")
	command.Flags().BoolVar(&u.operatorOnly, "operator-only", false, "Keep the kinds and their resources, whose deletion waits until the operator is back")
	command.Flags().BoolVar(&u.operatorIsGone, "operator-is-gone", false, "Take the finalizers off, as there is no operator any more that would. Needs --keep-connections")
	command.Flags().DurationVar(&timeout, "timeout", 0, "How long to wait in all; for as long as it takes, if it is 0")
	command.MarkFlagsMutuallyExclusive("keep-connections", "operator-only")
	return command
}

func (u *uninstall) run(ctx context.Context) error {
	deployment, err := u.deployment(ctx)
	if err != nil {
		return err
	}
	steps := []func(context.Context) error{u.refuseLive, u.warnOfAbsence, u.drain, u.releaseEndpoints, u.releaseBindings, u.refuseNew,
		u.removePolicies, u.removeOperator, u.awaitEnd, u.releaseSecrets, u.removeDefinitions}
	switch {
	case u.operatorIsGone && !u.keepConnections:
		return errors.New("--operator-is-gone needs --keep-connections: without the operator, nothing is deleted in Reporter")
	case u.operatorIsGone:
		steps = slices.Concat([]func(context.Context) error{u.refuseRunning, u.deleteConnections}, steps)
	case u.keepConnections:
		steps = slices.Concat([]func(context.Context) error{u.deleteConnections}, steps)
	case u.operatorOnly:
		steps = []func(context.Context) error{u.releaseBindings, u.removePolicies, u.removeOperator}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if deployment != nil && deployment.Labels["app.kubernetes.io/managed-by"] == "Helm" {
		u.say("Helm still has its record of the installation, which this removes:\nhelm uninstall --namespace %s %s",
			deployment.Namespace, deployment.Annotations["meta.helm.sh/release-name"])
	}
	return nil
}

// refuseRunning refuses to do the work of an operator that does it itself.
func (u *uninstall) refuseRunning(ctx context.Context) error {
	who, at, err := u.leader(ctx)
	if err == nil && leads(who, at) {
		return fmt.Errorf("the operator is not gone: %s works as its leader. Leave --operator-is-gone out", who)
	}
	return err
}

// deleteConnections deletes all ReporterConnections without a deletion in Reporter, and says which connections stay there.
func (u *uninstall) deleteConnections(ctx context.Context) error {
	connections, _, err := u.resources(ctx)
	if err != nil {
		return err
	}
	for i := range connections {
		rc := &connections[i]
		pending := !rc.DeletionTimestamp.IsZero()
		if err := u.deleteRetained(ctx, rc); err != nil {
			return fmt.Errorf("deleting %s: %w", u.named(rc), err)
		}
		kept := fmt.Sprintf("connection %s stays in Reporter", rc.ConnectionID())
		if rc.ConnectionID() == "" {
			kept = "it has no connection in Reporter that is known"
		}
		if pending {
			kept += ", unless the deletion that was under way has just taken place"
		}
		u.say("%s goes; %s.", u.named(rc), kept)
	}
	return nil
}

// deleteRetained deletes a resource with the policy to retain its connection: only that version of it, as somebody might set the policy back in
// between.
func (u *uninstall) deleteRetained(ctx context.Context, rc *v1alpha1.ReporterConnection) error {
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if err := u.Get(ctx, client.ObjectKeyFromObject(rc), rc); err != nil {
			return err
		}
		before := rc.DeepCopy()
		rc.Spec.DeletionPolicy, rc.Spec.DeletionProtection = v1alpha1.DeletionPolicyRetain, false
		if err := u.Patch(ctx, rc, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
			return err
		}
		return u.Delete(ctx, rc, client.Preconditions{UID: &rc.UID, ResourceVersion: &rc.ResourceVersion})
	})
	return client.IgnoreNotFound(err)
}

// refuseLive refuses while there are resources whose deletion nobody has asked for.
func (u *uninstall) refuseLive(ctx context.Context) error {
	connections, _, err := u.resources(ctx)
	if err != nil {
		return err
	}
	var live []string
	for i := range connections {
		if connections[i].DeletionTimestamp.IsZero() {
			live = append(live, "  "+u.named(&connections[i]))
		}
	}
	if len(live) > 0 {
		return fmt.Errorf("nobody has deleted these:\n%s\nDelete them, and their connections in Reporter, or keep those with --keep-connections", strings.Join(live, "\n"))
	}
	return nil
}

// warnOfAbsence says what to do where no operator seems to be there for what this waits for.
func (u *uninstall) warnOfAbsence(ctx context.Context) error {
	deployment, err := u.deployment(ctx)
	if err != nil || deployment != nil || u.operatorIsGone {
		return err
	}
	who, at, err := u.leader(ctx)
	if err != nil || leads(who, at) {
		return err
	}
	connections, endpoints, err := u.resources(ctx)
	if err == nil && len(connections)+len(endpoints) > 0 {
		u.say("The operator is not in namespace %s. Unless it is somewhere else, install it again; or have all resources go and keep the connections in Reporter:\n"+
			"kubectl reporter uninstall --keep-connections --operator-is-gone", u.operator.Namespace)
	}
	return err
}

// drain waits for the deletions that are under way.
func (u *uninstall) drain(ctx context.Context) error {
	return u.awaitRelease(ctx, "Waiting for deletions", func(ctx context.Context) ([]client.Object, error) {
		connections, _, err := u.resources(ctx)
		left := make([]client.Object, 0, len(connections))
		for i := range connections {
			left = append(left, &connections[i])
		}
		return left, err
	})
}

// releaseEndpoints deletes the endpoints, which no connection needs any more.
func (u *uninstall) releaseEndpoints(ctx context.Context) error {
	return u.awaitRelease(ctx, "Waiting for endpoints", func(ctx context.Context) ([]client.Object, error) {
		_, endpoints, err := u.resources(ctx)
		left := make([]client.Object, 0, len(endpoints))
		for i := range endpoints {
			left = append(left, &endpoints[i])
			if endpoints[i].DeletionTimestamp.IsZero() {
				err = errors.Join(err, client.IgnoreNotFound(u.Delete(ctx, &endpoints[i])))
			}
		}
		return left, err
	})
}

// awaitEnd waits until no replica of the operator is left, which would hold a Secret again.
func (u *uninstall) awaitEnd(ctx context.Context) error {
	return u.await(ctx, "Waiting for the operator to end", func(ctx context.Context) ([]client.Object, error) {
		var pods corev1.PodList
		err := u.List(ctx, &pods, client.InNamespace(u.operator.Namespace),
			client.MatchingLabels{"app.kubernetes.io/name": "reporter-operator", "control-plane": "controller-manager"})
		left := make([]client.Object, 0, len(pods.Items))
		for i := range pods.Items {
			left = append(left, &pods.Items[i])
		}
		return left, err
	})
}

// releaseSecrets takes the operator's finalizer off the Secrets, which nothing needs any more. They keep the label: it is their owner's, and an
// operator that is installed later on holds them again.
func (u *uninstall) releaseSecrets(ctx context.Context) error {
	return u.await(ctx, "Releasing Secrets", u.releasing(u.heldSecrets))
}

// releaseBindings deletes the RoleBindings of an operator that works in some namespaces alone, and waits until it has released them: at once
// where it holds nothing, after a minute where live resources are, and not while a deletion waits.
func (u *uninstall) releaseBindings(ctx context.Context) error {
	return u.awaitRelease(ctx, "Waiting for RoleBindings, which the operator holds while a deletion waits in their namespace", func(ctx context.Context) ([]client.Object, error) {
		bindings, err := u.heldBindings(ctx)
		for _, binding := range bindings {
			if binding.GetDeletionTimestamp().IsZero() && err == nil {
				err = client.IgnoreNotFound(u.Delete(ctx, binding))
			}
		}
		return bindings, err
	})
}

// lister lists objects.
type lister func(context.Context) ([]client.Object, error)

// awaitRelease waits until the operator has released what is listed. Where it is gone, this releases it.
func (u *uninstall) awaitRelease(ctx context.Context, what string, list lister) error {
	if u.operatorIsGone {
		list = u.releasing(list)
	}
	return u.await(ctx, what, list)
}

// releasing lists the same objects, and takes the operator's finalizers off them.
func (u *uninstall) releasing(list lister) lister {
	return func(ctx context.Context) ([]client.Object, error) {
		objects, err := list(ctx)
		if err != nil {
			return nil, err
		}
		return objects, u.takeFinalizersOff(ctx, objects)
	}
}

// await waits until nothing is left, and says what is whenever that changes.
func (u *uninstall) await(ctx context.Context, what string, list lister) error {
	ticks := time.NewTicker(200 * time.Millisecond)
	defer ticks.Stop()
	for said := ""; ; {
		left, err := list(ctx)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			return nil
		}
		if now := u.listed(left); now != said {
			u.say("%s:\n%s", what, now)
			said = now
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticks.C:
		}
	}
}

// listed are the first of some objects, each with what it waits for.
func (u *uninstall) listed(objects []client.Object) string {
	const shown = 10
	var lines []string
	for _, object := range objects[:min(shown, len(objects))] {
		line := "  " + u.named(object)
		if reason, since := blocked(object); reason != "" {
			line += fmt.Sprintf(" (%s since %s)", reason, since.UTC().Format(time.RFC3339))
		}
		lines = append(lines, line)
	}
	if more := len(objects) - shown; more > 0 {
		lines = append(lines, fmt.Sprintf("  and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// takeFinalizersOff does what the operator would, for objects as they were listed. One that has been deleted or has lost its label
// since is listed again.
func (u *uninstall) takeFinalizersOff(ctx context.Context, objects []client.Object) error {
	for _, object := range objects {
		released := object.DeepCopyObject().(client.Object)
		released.SetFinalizers(slices.DeleteFunc(released.GetFinalizers(), isOurs))
		if err := u.Patch(ctx, released, client.MergeFromWithOptions(object, client.MergeFromWithOptimisticLock{})); client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
			return fmt.Errorf("taking the finalizer off %s: %w", u.named(object), err)
		}
	}
	return nil
}

// removePolicies goes before removeOperator, as what a policy puts on a new object only the operator takes off.
func (u *uninstall) removePolicies(ctx context.Context) error { return u.remove(ctx, policyLists()) }

// removeOperator deletes what runs first, then what it runs as.
func (u *uninstall) removeOperator(ctx context.Context) error {
	monitors := &unstructured.UnstructuredList{}
	monitors.SetGroupVersionKind(schema.GroupVersionKind{Group: "monitoring.coreos.com", Version: "v1", Kind: "ServiceMonitorList"})
	err := u.remove(ctx, []client.ObjectList{
		&appsv1.DeploymentList{}, &policyv1.PodDisruptionBudgetList{}, &corev1.ServiceList{}, monitors, &networkingv1.NetworkPolicyList{},
		&rbacv1.ClusterRoleBindingList{}, &rbacv1.RoleBindingList{}, &rbacv1.ClusterRoleList{}, &rbacv1.RoleList{}, &corev1.ServiceAccountList{},
	})
	if err != nil {
		return err
	}
	namespace := &corev1.Namespace{}
	if err := u.Get(ctx, client.ObjectKey{Name: u.operator.Namespace}, namespace); err != nil {
		return client.IgnoreNotFound(err)
	}
	if namespace.Labels["app.kubernetes.io/name"] != "reporter-operator" {
		return nil // it was there before the operator
	}
	u.say("Deleting %s.", u.named(namespace))
	return client.IgnoreNotFound(u.Delete(ctx, namespace))
}

func (u *uninstall) remove(ctx context.Context, lists []client.ObjectList) error {
	objects, err := u.ours(ctx, lists)
	if err != nil {
		return err
	}
	for _, object := range objects {
		u.say("Deleting %s.", u.named(object))
		if err := u.Delete(ctx, object, client.PropagationPolicy("Background")); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting %s: %w", u.named(object), err)
		}
	}
	return nil
}

// refuseNew refuses to go on if somebody has created resources since the others were waited for.
func (u *uninstall) refuseNew(ctx context.Context) error {
	connections, endpoints, err := u.resources(ctx)
	if err == nil && len(connections)+len(endpoints) > 0 {
		err = fmt.Errorf("%d ReporterConnections and %d ReporterEndpoints were created meanwhile: run this again", len(connections), len(endpoints))
	}
	return err
}

// removeDefinitions deletes the CRDs, with which all their objects would go: so there must be none.
func (u *uninstall) removeDefinitions(ctx context.Context) error {
	if err := u.refuseNew(ctx); err != nil {
		return err
	}
	var definitions apiextensionsv1.CustomResourceDefinitionList
	if err := u.List(ctx, &definitions); err != nil {
		return err
	}
	for i := range definitions.Items {
		definition := &definitions.Items[i]
		if definition.Spec.Group != v1alpha1.GroupVersion.Group {
			continue
		}
		// A policy that is there, or was a moment ago, lets it be deleted with this label alone.
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"reporter.lerian.studio/allow-deletion":"true"}}}`))
		if err := u.Patch(ctx, definition, patch); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("allowing the deletion of %s: %w", u.named(definition), err)
		}
		u.say("Deleting %s.", u.named(definition))
		if err := u.Delete(ctx, definition); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting %s: %w", u.named(definition), err)
		}
	}
	return nil
}
