// SPDX-License-Identifier: Apache-2.0

// Package plain is a kind of objects that has no more than a deletion needs: an id, and a finalizer. It has no status, no validation and no
// admission policy, so that a drain of its objects is the limit that Kubernetes itself sets.
package plain

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Kind is that of the objects.
var Kind = schema.GroupVersionKind{Group: "bench.example.com", Version: "v1", Kind: "Plain"}

// Manifests define the kind, and let the operator's ServiceAccount do with it what the yardstick needs.
const Manifests = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: plains.bench.example.com}
spec:
  group: bench.example.com
  scope: Namespaced
  names: {kind: Plain, listKind: PlainList, plural: plains, singular: plain}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {connectionID: {type: string}}}}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: plains}
rules:
- {apiGroups: [bench.example.com], resources: [plains], verbs: [get, list, watch, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: plains}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: plains}
subjects:
- {kind: ServiceAccount, namespace: reporter-operator-system, name: reporter-operator-controller-manager}
`

// New is an object of the kind, empty.
func New() *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(Kind)
	return object
}

// For is an object that is held by a finalizer, for the connection of an id.
func For(namespace, name, id, finalizer string) *unstructured.Unstructured {
	object := New()
	object.SetNamespace(namespace)
	object.SetName(name)
	object.SetFinalizers([]string{finalizer})
	object.Object["spec"] = map[string]any{"connectionID": id}
	return object
}

// ConnectionID is the id that an object of the kind is for, empty if it is of another kind.
func ConnectionID(object client.Object) string {
	held, is := object.(*unstructured.Unstructured)
	if !is {
		return ""
	}
	id, _, _ := unstructured.NestedString(held.Object, "spec", "connectionID") //nolint:errcheck // the schema says that it is a string
	return id
}
