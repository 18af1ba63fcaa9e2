// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const ours, others = "example.com/ours", "example.com/others"

var (
	secretResource = schema.GroupResource{Resource: "secrets"}
	errConflict    = apierrors.NewConflict(secretResource, "credentials", errors.New("somebody was faster"))
	errNotFound    = apierrors.NewNotFound(secretResource, "credentials")
	errForbidden   = apierrors.NewForbidden(secretResource, "credentials", errors.New("no"))
)

// server is an API server that holds one object and answers the first patches with errors.
type server struct {
	client.Client
	uid     types.UID
	answers []error
	patches []string // what each of them names as the UID and resource version
}

func (s *server) Patch(_ context.Context, object client.Object, patch client.Patch, _ ...client.PatchOption) error {
	data, err := patch.Data(object)
	if err != nil {
		return err
	}
	var sent struct {
		Metadata struct {
			ResourceVersion string
			Finalizers      []string
		}
	}
	if err := json.Unmarshal(data, &sent); err != nil {
		return err
	}
	s.patches = append(s.patches, string(object.GetUID())+" "+sent.Metadata.ResourceVersion)
	if len(s.answers) == 0 {
		return nil
	}
	answer := s.answers[0]
	s.answers = s.answers[1:]
	return answer
}

// Get shows the object in its next version.
func (s *server) Get(_ context.Context, _ client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	*object.(*corev1.Secret) = *heldBy(ours, others)
	object.SetUID(s.uid)
	object.SetResourceVersion("8")
	return nil
}

func heldBy(finalizers ...string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "billing", Name: "credentials", UID: "one", ResourceVersion: "7", Finalizers: finalizers}}
}

func TestDropFinalizer(t *testing.T) {
	tests := map[string]struct {
		object  *corev1.Secret
		answers []error
		dropped bool
		err     error
		patches []string
	}{
		"it is there":              {object: heldBy(ours, others), dropped: true, patches: []string{"one 7"}},
		"it is not there":          {object: heldBy(others)},
		"the object is gone":       {object: heldBy(ours), answers: []error{errNotFound}, patches: []string{"one 7"}},
		"the object has changed":   {object: heldBy(ours), answers: []error{errConflict}, err: errConflict, patches: []string{"one 7"}},
		"the patch is not allowed": {object: heldBy(ours), answers: []error{errForbidden}, err: errForbidden, patches: []string{"one 7"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := &server{uid: "one", answers: test.answers}
			dropped, err := DropFinalizer(t.Context(), s, test.object, ours)
			if dropped != test.dropped || !errors.Is(err, test.err) || !slices.Equal(s.patches, test.patches) {
				t.Errorf("dropped %t, %v, by %q; want %t, %v, by %q", dropped, err, s.patches, test.dropped, test.err, test.patches)
			}
			if slices.Contains(test.object.Finalizers, ours) {
				t.Error("the object still has it")
			}
		})
	}
}

func TestDropFinalizerRetrying(t *testing.T) {
	tests := map[string]struct {
		uid     types.UID
		answers []error
		dropped bool
		err     error
		patches []string
	}{
		"at the first attempt":             {uid: "one", dropped: true, patches: []string{"one 7"}},
		"after three conflicts":            {uid: "one", answers: []error{errConflict, errConflict, errConflict}, dropped: true, patches: []string{"one 7", "one 8", "one 8", "one 8"}},
		"after too many conflicts":         {uid: "one", answers: []error{errConflict, errConflict, errConflict, errConflict}, err: errConflict, patches: []string{"one 7", "one 8", "one 8", "one 8"}},
		"not after another error":          {uid: "one", answers: []error{errForbidden}, err: errForbidden, patches: []string{"one 7"}},
		"no answer after a conflict":       {uid: "one", answers: []error{errConflict, context.DeadlineExceeded}, err: context.DeadlineExceeded, patches: []string{"one 7", "one 8"}},
		"not of another of the same name":  {uid: "two", answers: []error{errConflict}, patches: []string{"one 7"}},
		"it is gone after the first patch": {uid: "one", answers: []error{errConflict, errNotFound}, patches: []string{"one 7", "one 8"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{uid: test.uid, answers: test.answers}
				var prepared []string
				dropped, err := DropFinalizerRetrying(t.Context(), s, s, heldBy(ours), ours, func(secret *corev1.Secret) error {
					prepared = append(prepared, string(secret.UID)+" "+secret.ResourceVersion)
					return nil
				})
				if !slices.Equal(prepared, test.patches) {
					t.Errorf("prepared for %q, want %q", prepared, test.patches)
				}
				if dropped != test.dropped || !errors.Is(err, test.err) || !slices.Equal(s.patches, test.patches) {
					t.Errorf("dropped %t, %v, by %q; want %t, %v, by %q", dropped, err, s.patches, test.dropped, test.err, test.patches)
				}
			})
		})
	}
}

func TestRefusalOf(t *testing.T) {
	webhook := apierrors.NewInternalError(errors.New("failed calling webhook \"guard.example.com\":\n\tno answer.")) //nolint:revive // as the API server says it
	tests := map[string]struct {
		err  error
		want string
	}{
		"none":                       {},
		"a policy's":                 {errForbidden, `secrets "credentials" is forbidden: no`},
		"a policy's by default":      {apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "credentials", nil), `Secret "credentials" is invalid`},
		"a webhook that fails":       {fmt.Errorf("removing the finalizer: %w", webhook), `Internal error occurred: failed calling webhook "guard.example.com": no answer`},
		"a conflict":                 {err: errConflict},
		"of what is gone":            {err: errNotFound},
		"an API server that is busy": {err: apierrors.NewTooManyRequests("later", 1)},
		"an API server without etcd": {err: apierrors.NewInternalError(errors.New("etcdserver: no leader"))},
		"an API server in trouble":   {err: apierrors.NewServerTimeout(schema.GroupResource{Resource: "secrets"}, "patch", 1)},
		"no answer":                  {err: errors.New("connection refused")},
		"an endless one":             {apierrors.NewBadRequest(strings.Repeat("é", 500)), strings.Repeat("é", 256) + "…"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := RefusalOf(test.err); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestResultOf(t *testing.T) {
	if result, err := ResultOf(errConflict); err != nil || result.RequeueAfter <= 0 {
		t.Errorf("a conflict: %v, %v", result, err)
	}
	if result, err := ResultOf(errNotFound); err != nil || !result.IsZero() {
		t.Errorf("of what is gone: %v, %v", result, err)
	}
	if result, err := ResultOf(errForbidden); !errors.Is(err, errForbidden) || !result.IsZero() {
		t.Errorf("another error: %v, %v", result, err)
	}
}

// namespaces answers every Get with an error, or with a namespace of that deletion.
type namespaces struct {
	client.Reader
	deleted bool
	err     error
}

func (n namespaces) Get(_ context.Context, _ client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	if n.deleted {
		object.SetDeletionTimestamp(new(metav1.Now()))
	}
	return n.err
}

func TestIsTerminating(t *testing.T) {
	errInternal := apierrors.NewInternalError(errors.New("etcd has no leader"))
	tests := map[string]struct {
		reader namespaces
		want   bool
		err    error
	}{
		"it is there":         {},
		"it is being deleted": {reader: namespaces{deleted: true}, want: true},
		"it is gone":          {reader: namespaces{err: errNotFound}, want: true},
		"its RoleBinding is":  {reader: namespaces{err: errForbidden}, want: true},
		"nobody knows":        {reader: namespaces{err: errInternal}, err: errInternal},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := IsTerminating(t.Context(), test.reader, "billing"); got != test.want || !errors.Is(err, test.err) {
				t.Errorf("%t, %v; want %t, %v", got, err, test.want, test.err)
			}
		})
	}
}
