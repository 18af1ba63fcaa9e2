// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"golang.org/x/sync/singleflight"
)

// confirmTimeout bounds how long an API server that does not answer keeps a worker.
const confirmTimeout = 10 * time.Second

// confirmingReader reads single objects from the API server. All who want the same one in the same moment share one request.
type confirmingReader struct {
	reader client.Reader
	group  singleflight.Group

	mu   sync.Mutex
	read map[string]readObject
}

// readObject is what the API server said of an object, nil for none, when it was asked at a time.
type readObject struct {
	object client.Object
	at     time.Time
}

func newConfirmingReader(reader client.Reader) *confirmingReader {
	return &confirmingReader{reader: reader, read: map[string]readObject{}}
}

// notBefore returns a reader that is content with what the API server said at a time or later, if that was a moment ago.
func (c *confirmingReader) notBefore(t time.Time) client.Reader {
	if recently := time.Now().Add(-moment); recently.After(t) {
		t = recently
	}
	return &readerSince{c, t}
}

// moment is how long an answer of the API server is shared.
const moment = time.Second

// readerSince reads single objects. It lists nothing: each list is one of its own.
type readerSince struct {
	*confirmingReader
	since time.Time
}

func (r *readerSince) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	return r.reader.List(ctx, list, options...)
}

func (r *readerSince) Get(ctx context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	name := fmt.Sprintf("%T %s", object, key)
	for {
		r.mu.Lock()
		known, found := r.read[name]
		r.mu.Unlock()
		if found && !known.at.Before(r.since) {
			if known.object == nil {
				return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
			}
			reflect.ValueOf(object).Elem().Set(reflect.ValueOf(known.object.DeepCopyObject()).Elem())
			return nil
		}
		if err := r.share(ctx, name, key, object); err != nil {
			return err
		}
	}
}

// share reads an object once for all who want it. The request does not end with the caller that happened to be the first.
func (r *readerSince) share(ctx context.Context, name string, key client.ObjectKey, object client.Object) error {
	done := r.group.DoChan(name, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), confirmTimeout)
		defer cancel()
		answer := readObject{object: object.DeepCopyObject().(client.Object), at: time.Now()}
		if err := r.reader.Get(ctx, key, answer.object); apierrors.IsNotFound(err) {
			answer.object = nil
		} else if err != nil {
			return nil, err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		maps.DeleteFunc(r.read, func(_ string, old readObject) bool { return answer.at.Sub(old.at) > moment })
		r.read[name] = answer
		return nil, nil
	})
	select {
	case result := <-done:
		return result.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}
