// SPDX-License-Identifier: Apache-2.0

package protection

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// namespace holds a deleted RoleBinding, and ReporterConnections. It notes what is written.
type namespace struct {
	client.Client
	deleted     time.Time
	terminating bool
	connections []v1alpha1.ReporterConnection
	writes      []string
	// refusal is the answer to each patch.
	refusal error
}

func (n *namespace) Get(_ context.Context, _ client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	switch object := object.(type) {
	case *rbacv1.RoleBinding:
		object.Finalizers, object.DeletionTimestamp = []string{"reporter.lerian.studio/in-use"}, new(metav1.NewTime(n.deleted))
	case *metav1.PartialObjectMetadata:
		if n.terminating {
			object.DeletionTimestamp = new(metav1.NewTime(n.deleted))
		}
	}
	return nil
}

func (n *namespace) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	switch list := list.(type) {
	case *v1alpha1.ReporterConnectionList:
		list.Items = n.connections
	case *metav1.PartialObjectMetadataList:
		if list.Kind == "ReporterConnectionList" {
			for _, rc := range n.connections {
				list.Items = append(list.Items, metav1.PartialObjectMetadata{ObjectMeta: rc.ObjectMeta})
			}
		}
	}
	return nil
}

func (n *namespace) Patch(context.Context, client.Object, client.Patch, ...client.PatchOption) error {
	n.writes = append(n.writes, "release")
	return n.refusal
}

func (n *namespace) Create(_ context.Context, object client.Object, _ ...client.CreateOption) error {
	n.writes = append(n.writes, object.(*eventsv1.Event).Reason)
	return nil
}

func TestRoleBindingIsHeldForWhatIsHeld(t *testing.T) {
	held := v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Name: "ledger", Finalizers: []string{"reporter.lerian.studio/connection"}}}
	released := v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Name: "ledger"}}
	deleted := held
	deleted.DeletionTimestamp = new(metav1.Now())
	tests := map[string]struct {
		connection  v1alpha1.ReporterConnection
		deletedFor  time.Duration
		terminating bool
		writes      []string
	}{
		"nothing is held":                      {connection: released, writes: []string{"release"}},
		"something is held":                    {connection: held},
		"something is held, and for long":      {connection: held, deletedFor: 2 * time.Minute, writes: []string{"ReleasedInUse", "release"}},
		"something is being deleted":           {connection: deleted, deletedFor: 24 * time.Hour},
		"something is held, and all is to end": {connection: held, deletedFor: 24 * time.Hour, terminating: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			n := &namespace{deleted: time.Now().Add(-test.deletedFor), terminating: test.terminating, connections: []v1alpha1.ReporterConnection{test.connection}}
			result, err := (&RoleBindingReconciler{Client: n, Live: n}).Reconcile(t.Context(), reconcile.Request{})
			if err != nil || !slices.Equal(n.writes, test.writes) || (result.RequeueAfter > 0) != (len(test.writes) == 0) {
				t.Errorf("written was %v, again in %s, %v; want %v", n.writes, result.RequeueAfter, err, test.writes)
			}
		})
	}
}

func TestRefusedReleaseOfARoleBindingIsTold(t *testing.T) {
	n := &namespace{deleted: time.Now(), refusal: apierrors.NewForbidden(schema.GroupResource{Resource: "rolebindings"}, "reporter-operator", errors.New("no"))}
	_, err := (&RoleBindingReconciler{Client: n, Live: n}).Reconcile(t.Context(), reconcile.Request{})
	if !errors.Is(err, n.refusal) || !slices.Equal(n.writes, []string{"release", "FinalizerRemovalFailed"}) {
		t.Errorf("written was %v, %v", n.writes, err)
	}
}
