// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// The kinds that the operator reads.
const (
	connectionKind = "ReporterConnection"
	endpointKind   = "ReporterEndpoint"
	secretKind     = "Secret"
	namespaceKind  = "Namespace"
)

var simulatedKinds = []string{connectionKind, endpointKind, secretKind, namespaceKind}

// apiServer does what a Kubernetes API server does to the objects of these kinds: resource versions, generations, finalizers,
// optimistic locks, merge patches, the operator's admission policies, and namespaces that end. Objects in it are never changed in
// place.
type apiServer struct {
	// admission says whether the policies put finalizers on, as from Kubernetes 1.36 on.
	admission bool
	revision  int64
	// stride is how many revisions lie between two changes, if it is more than one: those of an API server that was restored come in
	// between, so that none is like one of before.
	stride  int64
	eras    int64
	uids    int
	objects map[string]map[client.ObjectKey]client.Object
	changes map[string][]change
	// versions are all that an object of a name has ever been, the oldest first.
	versions map[string]map[client.ObjectKey][]version
	// released is told of an object that goes because its last finalizer was taken off.
	released func(last client.Object, by *pass)
}

// change is what a watch tells of: before is nil where an object was created, after where it is gone.
type change struct{ before, after client.Object }

type version struct {
	revision int64
	since    time.Time
	object   client.Object // nil while there is none
}

func newAPIServer(admission bool) *apiServer {
	s := &apiServer{admission: admission, objects: map[string]map[client.ObjectKey]client.Object{}, changes: map[string][]change{},
		versions: map[string]map[client.ObjectKey][]version{}}
	for _, kind := range simulatedKinds {
		s.objects[kind] = map[client.ObjectKey]client.Object{}
		s.versions[kind] = map[client.ObjectKey][]version{}
	}
	return s
}

func kindOf(object any) string {
	switch o := object.(type) {
	case *v1alpha1.ReporterConnection, *v1alpha1.ReporterConnectionList:
		return connectionKind
	case *v1alpha1.ReporterEndpoint, *v1alpha1.ReporterEndpointList:
		return endpointKind
	case *corev1.Secret:
		return secretKind
	case *corev1.Namespace:
		return namespaceKind
	case *metav1.PartialObjectMetadata:
		return o.Kind
	case *metav1.PartialObjectMetadataList:
		return strings.TrimSuffix(o.Kind, "List")
	}
	panic(fmt.Sprintf("the simulation has no %T", object))
}

func clone[T client.Object](object T) T { return object.DeepCopyObject().(T) }

func (s *apiServer) get(kind string, key client.ObjectKey) (client.Object, error) {
	if object, found := s.objects[kind][key]; found {
		return object, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: kind}, key.Name)
}

// list returns the objects of a kind in the order of their keys, as a real one does.
func (s *apiServer) list(kind string) []client.Object { return inOrder(s.objects[kind]) }

func inOrder(objects map[client.ObjectKey]client.Object) []client.Object {
	ordered := slices.Collect(maps.Values(objects))
	slices.SortFunc(ordered, byKey)
	return ordered
}

func byKey(a, b client.Object) int {
	return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
}

func (s *apiServer) create(object client.Object) error {
	kind, key := kindOf(object), client.ObjectKeyFromObject(object)
	if _, found := s.objects[kind][key]; found {
		return apierrors.NewAlreadyExists(schema.GroupResource{Resource: kind}, key.Name)
	}
	if kind != namespaceKind {
		namespace, found := s.objects[namespaceKind][client.ObjectKey{Name: key.Namespace}]
		if !found || !namespace.GetDeletionTimestamp().IsZero() {
			return apierrors.NewForbidden(schema.GroupResource{Resource: kind}, key.Name, fmt.Errorf("namespace %s is being terminated", key.Namespace))
		}
	}
	object = clone(object)
	s.uids++
	object.SetUID(types.UID("uid-" + strconv.Itoa(s.uids)))
	object.SetCreationTimestamp(metav1.NewTime(time.Now().Truncate(time.Second)))
	if kind == connectionKind || kind == endpointKind {
		object.SetGeneration(1)
	}
	s.admit(object)
	s.store(kind, key, nil, object, nil)
	return nil
}

// admit is what the mutating admission policies do to an object that is created or updated.
func (s *apiServer) admit(object client.Object) {
	if !s.admission {
		return
	}
	live := object.GetDeletionTimestamp().IsZero()
	switch o := object.(type) {
	case *v1alpha1.ReporterConnection:
		if live && o.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain {
			controllerutil.AddFinalizer(o, v1alpha1.ConnectionFinalizer)
		}
	case *v1alpha1.ReporterEndpoint:
		if live {
			controllerutil.AddFinalizer(o, v1alpha1.InUseFinalizer)
		}
	case *corev1.Secret:
		marked := o.Labels[v1alpha1.CredentialsLabel] == "true"
		if live && marked {
			controllerutil.AddFinalizer(o, v1alpha1.InUseFinalizer)
		}
		if !marked {
			controllerutil.RemoveFinalizer(o, v1alpha1.InUseFinalizer)
		}
	}
}

// update is what anybody but the operator does to an object.
func (s *apiServer) update(object client.Object, alter func(client.Object)) error {
	kind, key := kindOf(object), client.ObjectKeyFromObject(object)
	before, err := s.get(kind, key)
	if err != nil {
		return err
	}
	after := clone(before)
	alter(after)
	return s.replace(kind, key, before, after, nil)
}

// delete is a DELETE with the foreground that Kubernetes has for finalizers.
func (s *apiServer) delete(kind string, key client.ObjectKey) error {
	before, err := s.get(kind, key)
	if err != nil {
		return err
	}
	if !before.GetDeletionTimestamp().IsZero() {
		return nil
	}
	if rc, is := before.(*v1alpha1.ReporterConnection); is && rc.Spec.DeletionProtection {
		return apierrors.NewForbidden(schema.GroupResource{Resource: kind}, key.Name, fmt.Errorf("it is protected from deletion"))
	}
	if len(before.GetFinalizers()) == 0 && kind != namespaceKind {
		s.store(kind, key, before, nil, nil)
		return nil
	}
	after := clone(before)
	after.SetDeletionTimestamp(new(metav1.NewTime(time.Now().Truncate(time.Second))))
	if after.GetGeneration() > 0 {
		after.SetGeneration(after.GetGeneration() + 1)
	}
	s.store(kind, key, before, after, nil)
	return nil
}

// endNamespace lets a namespace go that is being deleted and empty.
func (s *apiServer) endNamespace(key client.ObjectKey) {
	s.store(namespaceKind, key, s.objects[namespaceKind][key], nil, nil)
}

// patch applies a JSON merge patch (RFC 7396) to an object or, alone, to its status.
func (s *apiServer) patch(kind string, key client.ObjectKey, data []byte, status bool, by *pass) (client.Object, error) {
	before, err := s.get(kind, key)
	if err != nil {
		return nil, err
	}
	var patch map[string]any
	if err := json.Unmarshal(data, &patch); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	metadata, _ := patch["metadata"].(map[string]any)
	if asked, given := metadata["resourceVersion"]; given && asked != before.GetResourceVersion() {
		return nil, apierrors.NewConflict(schema.GroupResource{Resource: kind}, key.Name, fmt.Errorf("the object has been modified"))
	}
	if asked, given := metadata["uid"]; given && asked != string(before.GetUID()) {
		return nil, apierrors.NewConflict(schema.GroupResource{Resource: kind}, key.Name, fmt.Errorf("the object has another UID"))
	}
	raw, err := json.Marshal(before)
	if err != nil {
		panic(err)
	}
	var tree map[string]any
	if err := json.Unmarshal(raw, &tree); err != nil {
		panic(err)
	}
	if raw, err = json.Marshal(merge(tree, patch)); err != nil {
		panic(err)
	}
	patched := reflect.New(reflect.TypeOf(before).Elem()).Interface().(client.Object)
	if err := json.Unmarshal(raw, patched); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	after := clone(before)
	switch {
	case status:
		switch after := after.(type) {
		case *v1alpha1.ReporterConnection:
			after.Status = patched.(*v1alpha1.ReporterConnection).Status
		case *v1alpha1.ReporterEndpoint:
			after.Status = patched.(*v1alpha1.ReporterEndpoint).Status
		}
	default:
		after.SetFinalizers(patched.GetFinalizers()) // the admission policy refuses all else of the operator's
	}
	if err := s.replace(kind, key, before, after, by); err != nil {
		return nil, err
	}
	return after, nil
}

func merge(target, patch map[string]any) map[string]any {
	if target == nil {
		target = map[string]any{}
	}
	for name, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(target, name)
		case map[string]any:
			below, _ := target[name].(map[string]any)
			target[name] = merge(below, value)
		default:
			target[name] = value
		}
	}
	return target
}

// replace stores what an object has become, where that is anything new.
func (s *apiServer) replace(kind string, key client.ObjectKey, before, after client.Object, by *pass) error {
	s.admit(after)
	if !before.GetDeletionTimestamp().IsZero() {
		for _, finalizer := range after.GetFinalizers() {
			if !slices.Contains(before.GetFinalizers(), finalizer) {
				return apierrors.NewInvalid(schema.GroupKind{Kind: kind}, key.Name, nil)
			}
		}
	}
	if reflect.DeepEqual(before, after) {
		return nil
	}
	if specChanged(before, after) {
		after.SetGeneration(after.GetGeneration() + 1)
	}
	if !after.GetDeletionTimestamp().IsZero() && len(after.GetFinalizers()) == 0 && kind != namespaceKind {
		s.store(kind, key, before, nil, by)
		return nil
	}
	s.store(kind, key, before, after, by)
	return nil
}

func specChanged(before, after client.Object) bool {
	switch before := before.(type) {
	case *v1alpha1.ReporterConnection:
		return !reflect.DeepEqual(before.Spec, after.(*v1alpha1.ReporterConnection).Spec)
	case *v1alpha1.ReporterEndpoint:
		return !reflect.DeepEqual(before.Spec, after.(*v1alpha1.ReporterEndpoint).Spec)
	}
	return false
}

func (s *apiServer) store(kind string, key client.ObjectKey, before, after client.Object, by *pass) {
	s.revision += max(1, s.stride)
	if after != nil {
		after.SetResourceVersion(strconv.FormatInt(s.revision, 10))
		s.objects[kind][key] = after
	} else {
		delete(s.objects[kind], key)
		if by != nil {
			s.released(before, by)
		}
	}
	s.changes[kind] = append(s.changes[kind], change{before, after})
	s.versions[kind][key] = append(s.versions[kind][key], version{s.revision, time.Now(), after})
}

// since returns what there was under a name at any moment from a revision on until now, nil for nothing.
func (s *apiServer) since(kind string, key client.ObjectKey, revision int64) []client.Object {
	return s.from(kind, key, func(v version) bool { return v.revision <= revision })
}

// sinceTime is since for a time, which goes on also where the revisions of a restored API server go back.
func (s *apiServer) sinceTime(kind string, key client.ObjectKey, from time.Time) []client.Object {
	return s.from(kind, key, func(v version) bool { return !v.since.After(from) })
}

// during is sinceTime, but that what ended in that very moment counts as well.
func (s *apiServer) during(kind string, key client.ObjectKey, from time.Time) []client.Object {
	return s.from(kind, key, func(v version) bool { return v.since.Before(from) })
}

func (s *apiServer) from(kind string, key client.ObjectKey, began func(version) bool) []client.Object {
	objects := []client.Object{nil}
	for _, v := range s.versions[kind][key] {
		if began(v) {
			objects = objects[:0]
		}
		objects = append(objects, v.object)
	}
	return objects
}
