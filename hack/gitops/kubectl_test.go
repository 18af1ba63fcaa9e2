// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// applySet does what somebody does with `kubectl apply --prune --applyset` and `kubectl wait`.
type applySet struct {
	*cluster
	app     string
	applied []*unstructured.Unstructured
}

func newApplySet(c *cluster, app string) engine { return &applySet{cluster: c, app: app} }

// An ApplySet that spans namespaces has a parent of a kind of its own, which kubectl does not create.
const (
	parentKind = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: applysets.example.com, labels: {applyset.kubernetes.io/is-parent-type: "true"}}
spec:
  group: example.com
  names: {kind: ApplySet, plural: applysets}
  scope: Cluster
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
`
	parent = `
apiVersion: example.com/v1
kind: ApplySet
metadata:
  name: %s
  labels: {applyset.kubernetes.io/id: applyset-%s-v1}
  annotations: {applyset.kubernetes.io/tooling: kubectl/v1.37, applyset.kubernetes.io/contains-group-kinds: ""}
`
)

func (a *applySet) createParent(ctx context.Context) error {
	if _, err := a.Kubectl(ctx, parentKind, "apply", "-f", "-"); err != nil {
		return err
	}
	if _, err := a.Kubectl(ctx, "", "wait", "--for=condition=Established", "crd/applysets.example.com"); err != nil {
		return err
	}
	id := sha256.Sum256([]byte(a.app + "..ApplySet.example.com"))
	_, err := a.Kubectl(ctx, fmt.Sprintf(parent, a.app, base64.RawURLEncoding.EncodeToString(id[:])), "create", "-f", "-")
	return err
}

// rest is what is left of an application that is removed, as kubectl applies no empty set.
func (a *applySet) rest() *unstructured.Unstructured {
	rest := &unstructured.Unstructured{}
	rest.SetAPIVersion("v1")
	rest.SetKind("ConfigMap")
	rest.SetNamespace("default")
	rest.SetName(a.app)
	return rest
}

func (a *applySet) sync(ctx context.Context, declared []*unstructured.Unstructured) (different []string, err error) {
	different, err = a.apply(ctx, declared)
	if err != nil {
		return nil, err
	}
	for _, object := range declared {
		if strings.HasPrefix(object.GetKind(), "Reporter") {
			if _, err := a.wait(ctx, object, "condition=Ready"); err != nil {
				return nil, err
			}
		}
	}
	return different, nil
}

// apply waits for what it prunes, and not for what it applies.
func (a *applySet) apply(ctx context.Context, declared []*unstructured.Unstructured) (different []string, err error) {
	if a.applied == nil {
		if err := a.createParent(ctx); err != nil {
			return nil, err
		}
	}
	declared = append(slices.Clone(declared), a.rest())
	manifests, err := text(declared)
	if err != nil {
		return nil, err
	}
	output, err := a.Kubectl(ctx, manifests, "apply", "-f", "-", "--prune", "--applyset=applysets.example.com/"+a.app)
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(strings.TrimSpace(output), "\n") {
		if !strings.HasSuffix(line, " unchanged") {
			different = append(different, line)
		}
	}
	before := a.applied
	a.applied = declared
	for _, object := range before {
		if !slices.ContainsFunc(declared, func(o *unstructured.Unstructured) bool { return name(o) == name(object) }) {
			if _, err := a.wait(ctx, object, "delete"); err != nil {
				return nil, err
			}
		}
	}
	return different, nil
}

func name(object *unstructured.Unstructured) string {
	return strings.ToLower(object.GetKind()) + "/" + object.GetNamespace() + "/" + object.GetName()
}

func (a *applySet) wait(ctx context.Context, object *unstructured.Unstructured, what string) (string, error) {
	return a.Kubectl(ctx, "", "wait", "--for="+what, "--timeout="+patience.String(), "--namespace="+object.GetNamespace(), strings.ToLower(object.GetKind()), object.GetName())
}

func (a *applySet) revert(ctx context.Context, before []*unstructured.Unstructured) error {
	_, err := a.sync(ctx, before)
	return err
}

func (a *applySet) remove(ctx context.Context) error {
	_, err := a.apply(ctx, nil)
	return err
}
