// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// snapshot is what the API server had of all ReporterConnections at one time: which there were, and in which version. All deletions that
// were seen before share it, so that a thousand of them cost one list of metadata a second, and not a thousand reads. What the cache has
// in the same version is as good as read; the rest, which is what the cache is late with, is read one by one.
type snapshot struct {
	resourceVersion string
	versions        map[types.UID]string
	// newcomers are live, and not in the cache yet.
	newcomers []v1alpha1.ReporterConnection
}

// readSnapshot asks the API server.
func (r *Reconciler) readSnapshot(ctx context.Context) (*snapshot, error) {
	var cached v1alpha1.ReporterConnectionList
	if err := r.List(ctx, &cached, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing all ReporterConnections of the cache: %w", err)
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("ReporterConnectionList"))
	if err := r.Live.List(ctx, list); err != nil {
		return nil, fmt.Errorf("listing all ReporterConnections: %w", err)
	}
	for i := range cached.Items {
		if err := r.abortIfOlder(list.ResourceVersion, cached.Items[i].ResourceVersion); err != nil {
			return nil, err
		}
	}
	cached = v1alpha1.ReporterConnectionList{} // what came meanwhile need not be read
	if err := r.List(ctx, &cached, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing all ReporterConnections of the cache: %w", err)
	}
	known := make(map[types.UID]bool, len(cached.Items))
	for i := range cached.Items {
		known[cached.Items[i].UID] = true
	}
	s := &snapshot{resourceVersion: list.ResourceVersion, versions: make(map[types.UID]string, len(list.Items))}
	for i := range list.Items {
		item := &list.Items[i]
		s.versions[item.UID] = item.ResourceVersion
		if known[item.UID] || !item.DeletionTimestamp.IsZero() {
			continue
		}
		newcomer, err := r.readLive(ctx, client.ObjectKeyFromObject(item), item.UID)
		if err != nil {
			return nil, err
		}
		if newcomer != nil {
			s.newcomers = append(s.newcomers, *newcomer)
		}
	}
	return s, nil
}

// current returns a resource of the cache as the API server has it, nil if it has gone. One that is newer than the snapshot may have changed
// since, or be of before the API server was restored: it is read.
func (r *Reconciler) current(ctx context.Context, s *snapshot, cached *v1alpha1.ReporterConnection) (*v1alpha1.ReporterConnection, error) {
	version := s.versions[cached.UID]
	order, err := resourceversion.CompareResourceVersion(cached.ResourceVersion, s.resourceVersion)
	if err != nil {
		return nil, fmt.Errorf("comparing resource versions: %w", err)
	}
	switch {
	case version == cached.ResourceVersion:
		return cached, nil
	case version == "" && order <= 0:
		return nil, nil //nolint:nilnil // there is none
	default:
		return r.readLive(ctx, client.ObjectKeyFromObject(cached), cached.UID)
	}
}

// readLive reads a resource from the API server, nil if it is gone.
func (r *Reconciler) readLive(ctx context.Context, key client.ObjectKey, uid types.UID) (*v1alpha1.ReporterConnection, error) {
	var live v1alpha1.ReporterConnection
	err := r.Live.Get(ctx, key, &live)
	switch {
	case apierrors.IsNotFound(err), err == nil && live.UID != uid:
		return nil, nil //nolint:nilnil // there is none
	case err != nil:
		return nil, fmt.Errorf("reading ReporterConnection %s: %w", key, err)
	}
	return &live, nil
}
