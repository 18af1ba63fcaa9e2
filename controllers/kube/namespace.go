// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// NamespaceMetadata reads the metadata of a namespace, and no more of it.
func NamespaceMetadata(ctx context.Context, reader client.Reader, name string) (*metav1.PartialObjectMetadata, error) {
	metadata := &metav1.PartialObjectMetadata{}
	metadata.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return metadata, reader.Get(ctx, client.ObjectKey{Name: name}, metadata)
}

// IsTerminating says whether a namespace is being deleted, or is gone. If it was a RoleBinding that allowed to read it, that is gone too.
func IsTerminating(ctx context.Context, reader client.Reader, namespace string) (bool, error) {
	metadata, err := NamespaceMetadata(ctx, reader, namespace)
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return true, nil
	}
	return err == nil && !metadata.DeletionTimestamp.IsZero(), err
}
