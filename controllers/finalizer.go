// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

// patchMetadata writes a change of an object's metadata, unless the object has changed since it was read.
func patchMetadata(ctx context.Context, c client.Client, object, base client.Object) error {
	return c.Patch(ctx, object, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
}

// dropFinalizer removes one finalizer and no other. What led here is known only now, so a conflict is settled here and does not
// send the deletion back to its start. It returns false where the finalizer was gone already: the cache may show an object for a
// moment longer than it exists, and another pass than this one released it.
func dropFinalizer(ctx context.Context, c client.Client, live client.Reader, object client.Object, finalizer string) (bool, error) {
	released := object.DeepCopyObject().(client.Object)
	dropped := false
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		base := released.DeepCopyObject().(client.Object)
		dropped = controllerutil.RemoveFinalizer(released, finalizer)
		if !dropped {
			return nil
		}
		err := patchMetadata(ctx, c, released, base)
		if apierrors.IsConflict(err) {
			if err := live.Get(ctx, client.ObjectKeyFromObject(object), released); err != nil {
				return err
			}
		}
		return err
	})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("removing the finalizer: %w", err)
	}
	return dropped, nil
}
