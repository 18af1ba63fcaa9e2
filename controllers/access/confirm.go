// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"fmt"
	"reflect"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/controllers/kube"
)

// confirmingReader reads single objects from the API server, as they were at a time or later. Whoever wants the same one in the same moment
// shares the request. It lists nothing.
type confirmingReader struct {
	client.Reader
	reads     *kube.SharedReads[client.Object]
	notBefore time.Time
}

// Get reads an object.
func (r confirmingReader) Get(ctx context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	read, err := r.reads.Get(ctx, fmt.Sprintf("%T %s %s", object, object.GetObjectKind().GroupVersionKind().Kind, key), r.notBefore, func(ctx context.Context) (client.Object, error) {
		fresh := object.DeepCopyObject().(client.Object)
		err := r.Reader.Get(ctx, key, fresh)
		if apierrors.IsNotFound(err) {
			return nil, nil //nolint:nilnil // there is no such object
		}
		return fresh, err
	})
	switch {
	case err != nil:
		return err
	case read == nil:
		return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
	}
	reflect.ValueOf(object).Elem().Set(reflect.ValueOf(read.DeepCopyObject()).Elem())
	return nil
}
