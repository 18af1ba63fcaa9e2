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
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
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
	command.Flags().BoolVar(&u.operatorIsGone, "operator-is-gone", false, "Take the finalizers off, as there is no operator any more that would. Needs --keep-connections or --operator-only")
	command.Flags().DurationVar(&timeout, "timeout", 0, "How long to wait in all; for as long as it takes, if it is 0")
	command.MarkFlagsMutuallyExclusive("keep-connections", "operator-only")
	return command
}

func (u *uninstall) run(ctx context.Context) error {
	deployment, err := u.deployment(ctx)
	if err != nil {
		return err
	}
	steps := []func(context.Context) error{u.refuseLive, u.drain, u.releaseEndpoints, u.refuseNew, u.releaseBindings,
		u.removePolicies, u.removeOperator, u.awaitEnd, u.releaseSecrets, u.removeDefinitions}
	switch {
	case u.operatorOnly:
		steps = []func(context.Context) error{u.releaseBindings, u.removePolicies, u.removeOperator}
	case u.keepConnections:
		steps = slices.Concat([]func(context.Context) error{u.deleteConnections}, steps)
	case u.operatorIsGone:
		return errors.New("--operator-is-gone needs --keep-connections or --operator-only: without the operator, nothing is deleted in Reporter")
	}
	first := u.warnOfAbsence
	if u.operatorIsGone {
		first = u.refuseRunning
	}
	steps = slices.Concat([]func(context.Context) error{u.refuseOthers, first}, steps)
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

// refuseOthers refuses where another installation is found: not to remove what that one needs, or as that is the one that is meant.
func (u *uninstall) refuseOthers(ctx context.Context) error {
	others, err := u.others(ctx)
	if err != nil || len(others) == 0 {
		return err
	}
	deployment, err := u.deployment(ctx)
	switch {
	case err != nil:
		return err
	case deployment == nil:
		return fmt.Errorf("there is no operator in namespace %s, but elsewhere. Say with --operator-namespace and --operator-name which one is meant:\n%s",
			u.operator.Namespace, u.listed(others))
	case !u.operatorOnly:
		return fmt.Errorf("the kinds are those of other installations, too. Remove those first, or this one alone with --operator-only:\n%s", u.listed(others))
	}
	return nil
}

// refuseRunning refuses to do the work of an operator that does it itself.
func (u *uninstall) refuseRunning(ctx context.Context) error {
	who, at, err := u.leader(ctx)
	if err == nil && leads(who, at) {
		return fmt.Errorf("the operator is not gone: %s works as its leader. Leave --operator-is-gone out", who)
	}
	if err != nil {
		return err
	}
	pods, err := u.pods(ctx)
	if err == nil && len(pods) > 0 {
		return fmt.Errorf("the operator is not gone, as it has pods: scale its Deployment to 0 first, or leave --operator-is-gone out:\n%s", u.listed(pods))
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
		gone, err := u.deleteRetained(ctx, rc)
		if err != nil {
			return err
		}
		kept := fmt.Sprintf("connection %s stays in Reporter", rc.ConnectionID())
		if rc.ConnectionID() == "" {
			kept = "it has no connection in Reporter that is known"
		}
		if gone || !rc.DeletionTimestamp.IsZero() {
			kept += ", unless the deletion that was under way has just taken place"
		}
		u.say("%s goes; %s.", u.named(rc), kept)
	}
	return nil
}

// deleteRetained deletes a resource with the policy to retain its connection: only that version of it, as somebody might set the policy back in
// between. The resource is then as it was right before that, and says whether it was deleted already. It may be gone.
func (u *uninstall) deleteRetained(ctx context.Context, rc *v1alpha1.ReporterConnection) (gone bool, _ error) {
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if err := u.Get(ctx, client.ObjectKeyFromObject(rc), rc); err != nil {
			return err
		}
		if rc.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain || rc.Spec.DeletionProtection {
			before := rc.DeepCopy()
			rc.Spec.DeletionPolicy, rc.Spec.DeletionProtection = v1alpha1.DeletionPolicyRetain, false
			if err := u.Patch(ctx, rc, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
				return err
			}
		}
		if !rc.DeletionTimestamp.IsZero() {
			return nil
		}
		return u.Delete(ctx, rc.DeepCopy(), client.Preconditions{UID: &rc.UID, ResourceVersion: &rc.ResourceVersion})
	})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("deleting %s: %w", u.named(rc), err)
	}
	return false, nil
}

// refuseLive refuses while there are resources whose deletion nobody has asked for.
func (u *uninstall) refuseLive(ctx context.Context) error {
	connections, _, err := u.resources(ctx)
	if err != nil {
		return err
	}
	var live []client.Object
	for i := range connections {
		if connections[i].DeletionTimestamp.IsZero() {
			live = append(live, &connections[i])
		}
	}
	if len(live) > 0 {
		return fmt.Errorf("nobody has deleted these:\n%s\nDelete them, and their connections in Reporter, or keep those with --keep-connections", u.listed(live))
	}
	return nil
}

// warnOfAbsence says what to do where no operator seems to be there for what this waits for.
func (u *uninstall) warnOfAbsence(ctx context.Context) error {
	who, at, err := u.leader(ctx)
	if err != nil || leads(who, at) {
		return err
	}
	held, err := u.held(ctx)
	if u.operatorOnly {
		held, err = u.heldBindings(ctx)
	}
	if err == nil && len(held) > 0 {
		instead := "or have all resources go and keep the connections in Reporter:\nkubectl reporter uninstall --keep-connections --operator-is-gone"
		if u.operatorOnly {
			instead = "or have this release what the operator holds:\nkubectl reporter uninstall --operator-only --operator-is-gone"
		}
		u.say("No replica of the operator leads in namespace %s. Unless it works somewhere else, install it again; %s", u.operator.Namespace, instead)
	}
	return err
}

// drain waits for the deletions that are under way, and for no others: what somebody creates meanwhile has it end. With keepConnections, one whose
// policy is set back is retained again.
func (u *uninstall) drain(ctx context.Context) error {
	return u.awaitRelease(ctx, "Waiting for deletions", func(ctx context.Context) ([]client.Object, error) {
		if err := u.refuseLive(ctx); err != nil {
			return nil, err
		}
		connections, _, err := u.resources(ctx)
		left := make([]client.Object, 0, len(connections))
		for i := range connections {
			rc := &connections[i]
			if u.keepConnections && rc.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain {
				_, retained := u.deleteRetained(ctx, rc)
				err = errors.Join(err, retained)
			}
			left = append(left, rc)
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
	return u.await(ctx, "Waiting for the operator to end", u.pods)
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
func (c *cluster) listed(objects []client.Object) string {
	const shown = 10
	var lines []string
	for _, object := range objects[:min(shown, len(objects))] {
		line := "  " + c.named(object)
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
		if _, isSecret := object.(*corev1.Secret); !isSecret && object.GetDeletionTimestamp().IsZero() {
			continue // a policy would put it on again
		}
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
	monitoring := func(kind string) client.ObjectList {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(schema.GroupVersionKind{Group: "monitoring.coreos.com", Version: "v1", Kind: kind})
		return list
	}
	err := u.remove(ctx, []client.ObjectList{
		&appsv1.DeploymentList{}, &policyv1.PodDisruptionBudgetList{}, &corev1.ServiceList{}, &networkingv1.NetworkPolicyList{},
		monitoring("ServiceMonitorList"), monitoring("PrometheusRuleList"), &corev1.ConfigMapList{},
		&rbacv1.ClusterRoleBindingList{}, &rbacv1.RoleBindingList{}, &rbacv1.ClusterRoleList{}, &rbacv1.RoleList{}, &corev1.ServiceAccountList{},
	})
	if err != nil {
		return err
	}
	return u.removeNamespace(ctx)
}

// removeNamespace deletes the operator's namespace if that was made for it and nothing of anybody else's is in it.
func (u *uninstall) removeNamespace(ctx context.Context) error {
	namespace := &corev1.Namespace{}
	if err := u.Get(ctx, client.ObjectKey{Name: u.operator.Namespace}, namespace); err != nil {
		return client.IgnoreNotFound(err)
	}
	if namespace.Labels["app.kubernetes.io/name"] != "reporter-operator" {
		return nil // it was there before the operator
	}
	for _, list := range []client.ObjectList{&v1alpha1.ReporterConnectionList{}, &v1alpha1.ReporterEndpointList{}, &corev1.SecretList{}, &corev1.ConfigMapList{},
		&corev1.PersistentVolumeClaimList{}, &appsv1.DeploymentList{}, &appsv1.StatefulSetList{}} {
		err := u.List(ctx, list, client.InNamespace(namespace.Name))
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		var others []client.Object
		err = meta.EachListItem(list, func(item runtime.Object) error {
			object := item.(client.Object)
			if object.GetName() != "kube-root-ca.crt" && object.GetDeletionTimestamp().IsZero() { // which each namespace has
				others = append(others, object)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if len(others) > 0 {
			u.say("Namespace %s stays, as it has these:\n%s", namespace.Name, u.listed(others))
			return nil
		}
	}
	u.say("Deleting %s.", u.named(namespace))
	return client.IgnoreNotFound(u.Delete(ctx, namespace, client.Preconditions{UID: &namespace.UID}))
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

// removeDefinitions deletes the CRDs, with which all their objects would go: so there must be none, and no operator that has been installed again.
func (u *uninstall) removeDefinitions(ctx context.Context) error {
	if deployment, err := u.deployment(ctx); err != nil {
		return err
	} else if deployment != nil {
		return fmt.Errorf("%s was installed again meanwhile: stop whatever does that, and run this again", u.named(deployment))
	}
	if err := u.refuseNew(ctx); err != nil {
		return err
	}
	definitions, err := u.definitions(ctx)
	if err != nil {
		return err
	}
	for _, definition := range definitions {
		u.say("Deleting %s.", u.named(definition))
		err := u.Delete(ctx, definition)
		if apierrors.IsForbidden(err) { // by a policy that was there a moment ago, without this label
			patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"reporter.lerian.studio/allow-deletion":"true"}}}`))
			if err = u.Patch(ctx, definition, patch); err == nil {
				err = u.Delete(ctx, definition)
			}
		}
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting %s: %w", u.named(definition), err)
		}
	}
	return u.await(ctx, "Waiting for the kinds to go", u.definitions)
}

// definitions are those of the operator's kinds.
func (u *uninstall) definitions(ctx context.Context) ([]client.Object, error) {
	var all apiextensionsv1.CustomResourceDefinitionList
	err := u.List(ctx, &all)
	var ours []client.Object
	for i := range all.Items {
		if all.Items[i].Spec.Group == v1alpha1.GroupVersion.Group {
			ours = append(ours, &all.Items[i])
		}
	}
	return ours, err
}
