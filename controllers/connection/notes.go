// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"maps"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// notes are what this process knows of resources beside what is on the objects, from when it begins to note it until they are gone. Another
// resource of the same name has notes of its own.
type notes[T any] struct {
	mu    sync.Mutex
	known map[types.UID]note[T]
}

type note[T any] struct {
	name client.ObjectKey
	what T
}

// begin returns what is noted of a resource, which is the given at first.
func (n *notes[T]) begin(resource client.Object, first T) T {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil {
		n.known = map[types.UID]note[T]{}
	}
	of, found := n.known[resource.GetUID()]
	if !found {
		of = note[T]{client.ObjectKeyFromObject(resource), first}
		n.known[resource.GetUID()] = of
	}
	return of.what
}

// get returns what is noted of a resource, if anything is.
func (n *notes[T]) get(resource client.Object) (T, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	of, found := n.known[resource.GetUID()]
	return of.what, found
}

// update changes what is noted of a resource, unless it is forgotten already: the event of an object's end may overtake the answer to the
// request that ended it.
func (n *notes[T]) update(resource client.Object, change func(*T)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if of, found := n.known[resource.GetUID()]; found {
		change(&of.what)
		n.known[resource.GetUID()] = of
	}
}

// forget drops what is noted of a resource that is gone.
func (n *notes[T]) forget(resource client.Object) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.known, resource.GetUID())
}

// forgetGone drops what a pass has noted of a name that was gone meanwhile, but for what is still needed, if anything can be.
func (n *notes[T]) forgetGone(name client.ObjectKey, isNeeded func(T) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(n.known, func(_ types.UID, of note[T]) bool { return of.name == name && (isNeeded == nil || !isNeeded(of.what)) })
}
