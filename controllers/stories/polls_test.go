// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"errors"
	"fmt"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// conditioned is a kind of ours.
type conditioned interface {
	*v1alpha1.ReporterConnection | *v1alpha1.ReporterEndpoint
	client.Object
}

func conditionsOf(object client.Object) []metav1.Condition {
	switch o := object.(type) {
	case *v1alpha1.ReporterConnection:
		return o.Status.Conditions
	case *v1alpha1.ReporterEndpoint:
		return o.Status.Conditions
	}
	return nil
}

// conditionOf polls a condition of an object, nil while there is none.
func conditionOf[T conditioned](object T, conditionType string) func(context.Context) (*metav1.Condition, error) {
	return func(ctx context.Context) (*metav1.Condition, error) {
		err := world.Get(ctx, client.ObjectKeyFromObject(object), object)
		return apimeta.FindStatusCondition(conditionsOf(object), conditionType), err
	}
}

func mustCondition[T conditioned](ctx context.Context, object T, conditionType string) *metav1.Condition {
	GinkgoHelper()
	condition, err := conditionOf(object, conditionType)(ctx)
	Expect(err).NotTo(HaveOccurred())
	Expect(condition).NotTo(BeNil())
	return condition
}

// reasonOf polls the reason of a condition that describes the object as it is, "" while there is none.
func reasonOf[T conditioned](object T, conditionType string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		condition, err := conditionOf(object, conditionType)(ctx)
		if condition == nil || condition.ObservedGeneration != object.GetGeneration() {
			return "", err
		}
		return condition.Reason, err
	}
}

// blockedReasons polls for what the deletions of a namespace are held.
func blockedReasons(namespace string) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		var all v1alpha1.ReporterConnectionList
		err := world.List(ctx, &all, client.InNamespace(namespace))
		var reasons []string
		for i := range all.Items {
			for _, condition := range all.Items[i].Status.Conditions {
				if condition.Type == "DeletionBlocked" {
					reasons = append(reasons, condition.Reason)
				}
			}
		}
		return reasons, err
	}
}

// finalizersOf polls the finalizers of an object.
func finalizersOf[T conditioned](object T) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		err := world.Get(ctx, client.ObjectKeyFromObject(object), object)
		return object.GetFinalizers(), err
	}
}

// connections polls the names of the ReporterConnections that are left.
func (s *stage) connections(ctx context.Context) ([]string, error) {
	var all v1alpha1.ReporterConnectionList
	err := world.List(ctx, &all, client.InNamespace(s.namespace))
	var names []string
	for i := range all.Items {
		names = append(names, all.Items[i].Name)
	}
	return names, err
}

// left polls which of some objects have not vanished, by kind and name.
func left(objects ...client.Object) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		var names []string
		for _, object := range objects {
			object = object.DeepCopyObject().(client.Object)
			err := world.Get(ctx, client.ObjectKeyFromObject(object), object)
			if client.IgnoreNotFound(err) != nil {
				return names, err
			}
			if err == nil {
				names = append(names, fmt.Sprintf("%T %s", object, object.GetName()))
			}
		}
		return names, nil
	}
}

// held polls what a namespace holds that the operator has to let go of, by kind and name.
func held(namespace string) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		var names []string
		for _, list := range []client.ObjectList{&v1alpha1.ReporterConnectionList{}, &v1alpha1.ReporterEndpointList{}, &corev1.SecretList{}, &rbacv1.RoleBindingList{}} {
			if err := world.List(ctx, list, client.InNamespace(namespace)); err != nil {
				return names, err
			}
			err := apimeta.EachListItem(list, func(item runtime.Object) error {
				names = append(names, fmt.Sprintf("%T %s", item, item.(client.Object).GetName()))
				return nil
			})
			if err != nil {
				return names, err
			}
		}
		return names, nil
	}
}

// seen polls whether the operator has seen every connection of a namespace, and holds what their deletion needs.
func seen(namespace string) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		var all v1alpha1.ReporterConnectionList
		err := world.List(ctx, &all, client.InNamespace(namespace))
		if err != nil || slices.ContainsFunc(all.Items, func(rc v1alpha1.ReporterConnection) bool { return rc.Status.ObservedIn == nil }) {
			return false, err
		}
		free, err := unheld(namespace)(ctx)
		return len(free) == 0, err
	}
}

// unheld polls what the operator does not hold yet, by kind and name: there, a deletion goes past it. Where policies put finalizers on, there is
// nothing at any time.
func unheld(namespace string) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		if world.Mutates {
			return nil, nil
		}
		var names []string
		collect := func(item runtime.Object) error {
			object := item.(client.Object)
			rc, isConnection := item.(*v1alpha1.ReporterConnection)
			retained := isConnection && rc.Spec.DeletionPolicy == "Retain"
			if len(object.GetFinalizers()) == 0 && !retained {
				names = append(names, fmt.Sprintf("%T %s", object, object.GetName()))
			}
			return nil
		}
		ofEndpoints := client.MatchingLabels{"reporter.lerian.studio/credentials": "true"}
		var secrets corev1.SecretList
		err := errors.Join(world.List(ctx, &secrets, client.InNamespace(namespace), ofEndpoints), apimeta.EachListItem(&secrets, collect))
		for _, list := range []client.ObjectList{&v1alpha1.ReporterEndpointList{}, &v1alpha1.ReporterConnectionList{}} {
			err = errors.Join(err, world.List(ctx, list, client.InNamespace(namespace)), apimeta.EachListItem(list, collect))
		}
		return names, err
	}
}

// gone polls whether an object has vanished.
func gone[T conditioned](object T) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		err := world.Get(ctx, client.ObjectKeyFromObject(object), object)
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	}
}

// namespaceGone polls whether a namespace has vanished.
func namespaceGone(name string) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		err := world.Get(ctx, client.ObjectKey{Name: name}, &corev1.Namespace{})
		return err != nil, client.IgnoreNotFound(err)
	}
}

// eventsAbout polls the events about an object.
func eventsAbout(object client.Object) func(context.Context) ([]eventsv1.Event, error) {
	return func(ctx context.Context) ([]eventsv1.Event, error) {
		var all eventsv1.EventList
		if err := world.List(ctx, &all, client.InNamespace(object.GetNamespace())); err != nil {
			return nil, err
		}
		var about []eventsv1.Event
		for _, event := range all.Items {
			if event.Regarding.UID == object.GetUID() {
				about = append(about, event)
			}
		}
		return about, nil
	}
}
