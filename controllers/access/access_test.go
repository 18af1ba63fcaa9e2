// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"errors"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/scope"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// endpoints has an endpoint under every name that lets everybody in, and remembers which were asked for. It also has every RoleBinding.
type endpoints struct {
	client.Client
	asked []string
}

func (e *endpoints) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	if endpoint, is := object.(*v1alpha1.ReporterEndpoint); is {
		e.asked = append(e.asked, key.String())
		endpoint.Namespace, endpoint.Name = key.Namespace, key.Name
		endpoint.Spec = v1alpha1.ReporterEndpointSpec{URL: "http://reporter.internal:4006", Timeout: new(metav1.Duration{Duration: 1}),
			AllowedNamespaces: v1alpha1.AllowedNamespaces{From: v1alpha1.FromAll}}
	}
	return nil
}

func TestEndpointsOutsideOfTheScopeAreNotRead(t *testing.T) {
	errDone := errors.New("done")
	server := &endpoints{}
	err := scope.RunInNamespaces(t.Context(), server, []string{"billing", "ledger"}, func(ctx context.Context, s scope.Scope) error {
		a := New(server, server, &reporter.Pool{}, s, nil)
		for namespace, reason := range map[string]string{"billing": "Available", "ledger": "Available", "elsewhere": "EndpointNotFound"} {
			rc := &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "billing", Name: "ledger"},
				Spec: v1alpha1.ReporterConnectionSpec{EndpointRef: v1alpha1.EndpointReference{Namespace: namespace, Name: "default"}}}
			if to, err := a.Target(ctx, rc); err != nil || to.Obstacle.Reason != reason {
				t.Errorf("an endpoint in namespace %s: %s, %v; want %s", namespace, to.Obstacle.Reason, err, reason)
			}
		}
		return errDone
	})
	if !errors.Is(err, errDone) {
		t.Fatal(err)
	}
	slices.Sort(server.asked)
	asked := slices.Compact(server.asked)
	if want := []string{"billing/default", "ledger/default"}; !slices.Equal(asked, want) {
		t.Errorf("read were %v, want %v", asked, want)
	}
}
