// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

// patchMetadata writes a change of an object's metadata, unless the object has changed since it was read.
func patchMetadata(ctx context.Context, c client.Client, object, base client.Object) error {
	return c.Patch(ctx, object, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
}

// dropFinalizer removes one finalizer and no other, unless the object has changed since it was decided: then it returns a
// conflict, and the decision is to be made anew. It returns false where the finalizer was gone already: the cache may show an
// object for a moment longer than it exists, and another pass than this one released it.
func dropFinalizer(ctx context.Context, c client.Client, object client.Object, finalizer string) (bool, error) {
	base := object.DeepCopyObject().(client.Object)
	if !controllerutil.RemoveFinalizer(object, finalizer) {
		return false, nil
	}
	err := patchMetadata(ctx, c, object, base)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("removing the finalizer: %w", err)
	}
	return true, nil
}

// dropFinalizerAnyway is dropFinalizer for a decision that no change of the object can undo, as what it rests on has happened in
// Reporter. It settles conflicts by itself: what led here is known only now.
func dropFinalizerAnyway(ctx context.Context, c client.Client, live client.Reader, object client.Object, finalizer string) (dropped bool, err error) {
	current := object.DeepCopyObject().(client.Object)
	err = retry.RetryOnConflict(conflictBackoff, func() error {
		if dropped, err = dropFinalizer(ctx, c, current, finalizer); !apierrors.IsConflict(err) {
			return err
		}
		if err := live.Get(ctx, client.ObjectKeyFromObject(object), current); err != nil {
			return client.IgnoreNotFound(err)
		}
		if current.GetUID() != object.GetUID() {
			return nil // another object of the same name
		}
		return err
	})
	return dropped, err
}

// conflictBackoff has no jitter: there are few who write to one object.
var conflictBackoff = wait.Backoff{Steps: 4, Duration: 10 * time.Millisecond, Factor: 5}

// settle turns the error of a write into what to do about it: nothing where the object is gone, and another look where it has
// changed.
func settle(err error) (ctrl.Result, error) {
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: soonest}, nil
	}
	return ctrl.Result{}, client.IgnoreNotFound(err)
}
