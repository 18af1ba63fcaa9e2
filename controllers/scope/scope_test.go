// SPDX-License-Identifier: Apache-2.0

package scope

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// namesByNamespace answers a list as the API server does: into what it is given, with whatever memory that has.
type namesByNamespace map[string][]string

func (r namesByNamespace) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return nil
}

func (r namesByNamespace) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	namespace := new(client.ListOptions).ApplyOptions(options).Namespace
	names, allowed := r[namespace]
	if !allowed {
		return fmt.Errorf("namespace %q: forbidden", namespace)
	}
	items := []map[string]any{}
	for _, name := range names {
		items = append(items, map[string]any{"metadata": map[string]any{"namespace": namespace, "name": name}})
	}
	content, err := json.Marshal(map[string]any{"items": items})
	if err != nil {
		return err
	}
	return json.Unmarshal(content, list)
}

func TestOneByOne(t *testing.T) {
	server := namesByNamespace{"billing": {"a", "b", "c"}, "empty": {}, "ledger": {"d", "e"}}
	list := func(namespaces []string, options ...client.ListOption) ([]string, error) {
		var connections v1alpha1.ReporterConnectionList
		err := oneByOne{Reader: server, namespaces: namespaces}.List(t.Context(), &connections, options...)
		var names []string
		for _, rc := range connections.Items {
			names = append(names, rc.Namespace+"/"+rc.Name)
		}
		return names, err
	}
	all := []string{"billing", "ledger", "empty"}
	want := []string{"billing/a", "billing/b", "billing/c", "ledger/d", "ledger/e"}
	if got, err := list(all); err != nil || !slices.Equal(got, want) {
		t.Errorf("all: %v, %v", got, err)
	}
	if got, err := list(all, client.InNamespace("ledger")); err != nil || !slices.Equal(got, want[3:]) {
		t.Errorf("one: %v, %v", got, err)
	}
	if got, err := list([]string{"billing", "theirs"}); err == nil {
		t.Errorf("what may not be listed is left out: %v", got)
	}
}
