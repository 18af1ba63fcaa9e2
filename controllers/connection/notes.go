// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// notes are what this process knows of resources beside what is on the objects, from when it begins to note it until they are gone. Another
// resource of the same name has notes of its own.
type notes[T any] struct {
	mu    sync.Mutex
	known map[client.ObjectKey][]note[T]
}

type note[T any] struct {
	of   types.UID
	what T
}

// begin returns what is noted of a resource, which is the given at first.
func (n *notes[T]) begin(resource client.Object, first T) T {
	n.mu.Lock()
	defer n.mu.Unlock()
	if known := n.find(resource); known != nil {
		return known.what
	}
	if n.known == nil {
		n.known = map[client.ObjectKey][]note[T]{}
	}
	name := client.ObjectKeyFromObject(resource)
	n.known[name] = append(n.known[name], note[T]{resource.GetUID(), first})
	return first
}

// get returns what is noted of a resource, if anything is.
func (n *notes[T]) get(resource client.Object) (what T, found bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if known := n.find(resource); known != nil {
		return known.what, true
	}
	return what, false
}

// update changes what is noted of a resource, unless it is forgotten already: the event of an object's end may overtake the answer to the
// request that ended it.
func (n *notes[T]) update(resource client.Object, change func(*T)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if known := n.find(resource); known != nil {
		change(&known.what)
	}
}

// forget drops what is noted of a resource that is gone.
func (n *notes[T]) forget(resource client.Object) {
	n.drop(client.ObjectKeyFromObject(resource), func(known note[T]) bool { return known.of == resource.GetUID() })
}

// forgetGone drops what a pass has noted of a name that was gone meanwhile, but for what is still needed.
func (n *notes[T]) forgetGone(name client.ObjectKey, isNeeded func(T) bool) {
	n.drop(name, func(known note[T]) bool { return !isNeeded(known.what) })
}

func (n *notes[T]) drop(name client.ObjectKey, which func(note[T]) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if left := slices.DeleteFunc(n.known[name], which); len(left) > 0 {
		n.known[name] = left
	} else {
		delete(n.known, name)
	}
}

// find is for who has the lock. What it returns is there until the lock is given back.
func (n *notes[T]) find(resource client.Object) *note[T] {
	known := n.known[client.ObjectKeyFromObject(resource)]
	for i := range known {
		if known[i].of == resource.GetUID() {
			return &known[i]
		}
	}
	return nil
}
