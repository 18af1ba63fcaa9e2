// SPDX-License-Identifier: Apache-2.0

// Package kube holds what the reconcilers need of Kubernetes itself: finalizers, the results of writes, requests and their priorities.
package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

// EnsureFinalizer puts a finalizer on an object that lacks it. It returns a conflict where the object has changed since it was read.
func EnsureFinalizer(ctx context.Context, c client.Client, object client.Object, finalizer string) error {
	base := object.DeepCopyObject().(client.Object)
	if !controllerutil.AddFinalizer(object, finalizer) {
		return nil
	}
	if err := patchMetadata(ctx, c, object, base); err != nil {
		return fmt.Errorf("setting the finalizer: %w", err)
	}
	return nil
}

// DropFinalizer removes one finalizer and no other, unless the object has changed since the decision to do so: then it returns a
// conflict, and the decision is to be made anew. It returns false where the finalizer was gone already: the cache may show an
// object for a moment longer than it exists, and another pass than this one released it.
func DropFinalizer(ctx context.Context, c client.Client, object client.Object, finalizer string) (bool, error) {
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

// DropFinalizerRetrying is DropFinalizer for a decision that no change of the object can undo, as what it rests on has happened in
// Reporter. After a conflict it reads the object anew and tries again. Before each attempt it calls prepare with the object.
func DropFinalizerRetrying[T client.Object](ctx context.Context, c client.Client, live client.Reader, object T, finalizer string,
	prepare func(T) error) (dropped bool, err error) {
	current := object.DeepCopyObject().(T)
	attempt := func() error {
		if err := prepare(current); err != nil {
			return err
		}
		dropped, err = DropFinalizer(ctx, c, current, finalizer)
		if !apierrors.IsConflict(err) {
			return err
		}
		conflict := err
		if err := live.Get(ctx, client.ObjectKeyFromObject(object), current); err != nil {
			return client.IgnoreNotFound(err)
		}
		if current.GetUID() != object.GetUID() {
			return nil // another object of the same name
		}
		return conflict
	}
	if conflict := retry.RetryOnConflict(conflictBackoff, func() error {
		err = attempt()
		return err
	}); conflict != nil {
		// It is the one before, where the last attempt ended in a deadline: that one may have had its effect.
		return dropped, err
	}
	return dropped, nil
}

// conflictBackoff has no jitter: few write to one object.
var conflictBackoff = wait.Backoff{Steps: 4, Duration: 10 * time.Millisecond, Factor: 5}

// RefusalOf is what the API server says of a write that an admission policy, a webhook or missing rights refuse, on one line and bounded.
// It is empty where a write failed for another reason: the object has changed or is gone, the API server is busy, or gave no answer.
func RefusalOf(err error) string {
	const most = 512
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return ""
	}
	switch status.Status().Code {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusUnprocessableEntity:
	case http.StatusInternalServerError: // where a webhook fails, and for much that passes by itself
		if !strings.Contains(status.Status().Message, "webhook") {
			return ""
		}
	default:
		return ""
	}
	text := strings.Join(strings.FieldsFunc(status.Status().Message, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return strings.TrimSuffix(text, ".")
}

// patchMetadata writes a change of an object's metadata, unless the object has changed since it was read.
func patchMetadata(ctx context.Context, c client.Client, object, base client.Object) error {
	return c.Patch(ctx, object, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
}
