// SPDX-License-Identifier: Apache-2.0

package scope

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// roleBindings answers for the RoleBinding of each namespace.
type roleBindings struct {
	client.Client
	answers map[string]error
	user    string // who asks; if it is empty, the API server does not say
}

func (r roleBindings) Create(_ context.Context, object client.Object, _ ...client.CreateOption) error {
	if r.user == "" {
		return errors.New("no answer")
	}
	object.(*authenticationv1.SelfSubjectReview).Status.UserInfo.Username = r.user
	return nil
}

func (r roleBindings) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	if key.Name != "reporter-operator" {
		return errors.New("not the name of the RoleBinding")
	}
	return r.answers[key.Namespace]
}

func TestGrants(t *testing.T) { synctest.Test(t, testGrants) }

func testGrants(t *testing.T) {
	resource := schema.GroupResource{Resource: "rolebindings"}
	forbidden := apierrors.NewForbidden(resource, "reporter-operator", errors.New("no"))
	missing := apierrors.NewNotFound(resource, "reporter-operator")
	down := apierrors.NewInternalError(errors.New("etcd has no leader"))
	server := roleBindings{answers: map[string]error{}}
	g := &grants{server: server, namespaces: []string{"a", "b", "c"}, logged: map[string]bool{}, refused: map[string]time.Time{}}
	for _, step := range []struct {
		what    string
		wait    time.Duration
		a, b, c error
		all     bool
		changed bool
		unsure  bool
		granted []string
	}{
		{what: "it still loads what is allowed", a: forbidden, b: forbidden, c: forbidden, all: true, unsure: true},
		{what: "at first", b: forbidden, c: missing, all: true, changed: true, unsure: true, granted: []string{"a"}},
		{what: "it stays so", wait: 6 * time.Second, b: forbidden, c: missing, all: true, granted: []string{"a"}},
		{what: "nothing is new", b: forbidden, c: missing, all: true, granted: []string{"a"}},
		{what: "one more", c: missing, changed: true, granted: []string{"a", "b"}},
		{what: "one is lost, which nobody looks for", a: forbidden, c: missing, granted: []string{"a", "b"}},
		{what: "nobody knows", a: down, c: down, all: true, unsure: true, granted: []string{"a", "b"}},
		{what: "one may be lost", a: forbidden, c: missing, all: true, unsure: true, granted: []string{"a", "b"}},
		{what: "one may still be lost", wait: 4 * time.Second, a: forbidden, c: missing, all: true, unsure: true, granted: []string{"a", "b"}},
		{what: "one is lost", wait: time.Second, a: forbidden, c: missing, all: true, changed: true, granted: []string{"b"}},
		{what: "one is deleted", a: forbidden, b: missing, c: missing, all: true, changed: true},
	} {
		server.answers["a"], server.answers["b"], server.answers["c"] = step.a, step.b, step.c
		<-time.After(step.wait)
		changed := g.check(t.Context(), step.all)
		if changed != step.changed || g.unsure != step.unsure || !slices.Equal(g.granted, step.granted) {
			t.Errorf("%s: changed %t, unsure %t, %v; want %t, %t, %v", step.what, changed, g.unsure, g.granted, step.changed, step.unsure, step.granted)
		}
	}
}

// versions answers a list of each namespace with a resource version.
type versions struct {
	client.Reader
	of map[string]string
}

func (v versions) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	list.SetResourceVersion(v.of[new(client.ListOptions).ApplyOptions(options).Namespace])
	return nil
}

func TestListOfAllIsAsOldAsItsFirstPart(t *testing.T) {
	for _, of := range []map[string]string{{"a": "9", "b": "10", "c": "11"}, {"a": "11", "b": "9", "c": "10"}} {
		var list v1alpha1.ReporterConnectionList
		err := oneByOne{Reader: versions{of: of}, namespaces: []string{"a", "b", "c"}}.List(t.Context(), &list)
		if err != nil || list.ResourceVersion != "9" {
			t.Errorf("%v: resource version %s, %v; want 9", of, list.ResourceVersion, err)
		}
	}
}

func TestNamespaceThatIsNamedTwiceIsOne(t *testing.T) {
	done := errors.New("done")
	err := RunInNamespaces(t.Context(), roleBindings{}, []string{"b", "a", "b"}, func(_ context.Context, s Scope) error {
		if !slices.Equal(s.granted, []string{"a", "b"}) {
			t.Errorf("it works in %v", s.granted)
		}
		return done
	})
	if !errors.Is(err, done) {
		t.Error(err)
	}
}

func TestCommandToGrantNamesThisOperator(t *testing.T) {
	for user, want := range map[string]string{
		"": "--clusterrole=reporter-operator-manager-role --serviceaccount=reporter-operator-system:reporter-operator-controller-manager",
		"system:serviceaccount:reports:ledger-controller-manager": "--clusterrole=ledger-manager-role --serviceaccount=reports:ledger-controller-manager",
		"system:serviceaccount:reports:other":                     "--clusterrole=reporter-operator-manager-role --serviceaccount=reporter-operator-system:reporter-operator-controller-manager",
		"reports:ledger-controller-manager":                       "--clusterrole=reporter-operator-manager-role --serviceaccount=reporter-operator-system:reporter-operator-controller-manager",
		"kubernetes-admin":                                        "--clusterrole=reporter-operator-manager-role --serviceaccount=reporter-operator-system:reporter-operator-controller-manager",
	} {
		g := grants{server: roleBindings{user: user}}
		if got := g.commandToGrant(t.Context(), "billing"); got != "kubectl create rolebinding reporter-operator --namespace billing "+want {
			t.Errorf("for %q it is %s", user, got)
		}
	}
}
