// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

var simulationDifferential = flag.Int("simulation.differential", 300/share, "how many histories to compare with what a fresh operator comes to")

// The rules of the operator are not in this file. It compares what the operator has come to in a history with what a fresh one comes to
// that finds the same, and so knows no more than that neither may depend on how it came about.

// judgeFixpoint checks that a fresh operator has nothing to change, except what follows from a deletion of somebody's in Reporter that
// nobody can have noticed yet. The one of the history has had that long since the last thing that happened, and so has the fresh one.
// What the fresh one finds has no status but that of a deletion under way, and no finalizers that an operator puts on.
func (h *history) judgeFixpoint(after time.Duration) {
	h.calm = true
	h.wait(after)
	soon := after < aRoutine
	before := h.shown(soon)
	for len(h.instances) > 0 {
		h.kill(h.instances[0])
	}
	h.wipe()
	h.launch()
	h.wait(after)
	h.judgeSame("Fixpoint: a fresh operator says otherwise after "+after.String(), before, h.shown(soon))
}

// judgeAnew checks that a fresh operator comes to the same in a fresh cluster, in which what lives is created anew, in the same order,
// over the same Reporters.
func (h *history) judgeAnew(after time.Duration) {
	h.calm = true
	h.wait(after)
	before := h.shown(false)
	for len(h.instances) > 0 {
		h.kill(h.instances[0])
	}
	old := h.api
	h.api = newAPIServer(old.admission)
	h.api.uids, h.api.released = old.uids, h.judgeRelease
	for _, kind := range slices.Backward(simulatedKinds) {
		objects := old.list(kind)
		slices.SortStableFunc(objects, func(a, b client.Object) int { return a.GetCreationTimestamp().Compare(b.GetCreationTimestamp().Time) })
		for n, object := range objects {
			if n > 0 && objects[n-1].GetCreationTimestamp() != object.GetCreationTimestamp() {
				h.pass(time.Second)
			}
			h.must(h.api.create(unborn(object)))
		}
	}
	h.launch()
	h.wait(after)
	h.judgeSame("Anew: in a fresh cluster the operator says otherwise", before, h.shown(false))
}

// unborn is an object as it was before anybody but its author had a hand in it.
func unborn(object client.Object) client.Object {
	object = clone(object)
	object.SetFinalizers(nil)
	object.SetGeneration(0)
	object.SetResourceVersion("")
	switch o := object.(type) {
	case *v1alpha1.ReporterConnection:
		o.Status = v1alpha1.ReporterConnectionStatus{}
	case *v1alpha1.ReporterEndpoint:
		o.Status = v1alpha1.ReporterEndpointStatus{}
	}
	return object
}

// aRoutine is more than the time in which everything is looked at again that nothing wakes.
const aRoutine = 75 * time.Minute

// TestDifferential compares the operator with a fresh one at the end of histories, when all is put right: it may not matter what happened
// before.
func TestDifferential(t *testing.T) {
	histories := *simulationDifferential
	if testing.Short() {
		histories = min(histories, 50)
	}
	if *simulationSeed != 0 {
		h := compareAtTheEnd(t, *simulationSeed, true)
		t.Log("\n" + strings.Join(h.trace, "\n"))
		if h.failure != "" {
			t.Error(h.failure)
		}
		return
	}
	var next atomic.Uint64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for seed := next.Add(1); seed <= uint64(histories) && !t.Failed(); seed = next.Add(1) {
				if h := compareAtTheEnd(t, seed, false); h.failure != "" {
					t.Errorf("seed %d: %s\n\nPlay it again: go test ./controllers/simulation -run '^TestDifferential$' -simulation.seed %d -v", seed, h.failure, seed)
				}
			}
		})
	}
	all.Wait()
}

func compareAtTheEnd(t *testing.T, seed uint64, tracing bool) *history {
	h := &history{source: rand.New(rand.NewPCG(seed, 0)), tracing: tracing}
	h.then = func(h *history) {
		if h.theme.hostile || h.theme.described {
			return // the neighbour never comes to rest, and whose a connection is that was created or taken over only its status may say
		}
		h.judgeFixpoint(aRoutine)
		if h.failure == "" {
			h.judgeAnew(aRoutine)
		}
	}
	synctest.Test(t, func(*testing.T) { h.play() })
	return h
}

// wipe takes off what the operator has put on.
func (h *history) wipe() {
	for _, kind := range simulatedKinds[:3] {
		for _, object := range h.api.list(kind) {
			h.must(h.api.update(object, func(o client.Object) {
				live := o.GetDeletionTimestamp().IsZero()
				if live {
					o.SetFinalizers(nil)
				}
				switch o := o.(type) {
				case *v1alpha1.ReporterConnection:
					o.Status.Conditions = nil
					if live {
						o.Status = v1alpha1.ReporterConnectionStatus{}
					}
				case *v1alpha1.ReporterEndpoint:
					o.Status = v1alpha1.ReporterEndpointStatus{}
				}
			}))
		}
	}
}

// shown is all that the operator has to say for itself, by what it is said of: soon after what happened last, or later.
func (h *history) shown(soon bool) map[string]string {
	all := map[string]string{}
	for _, kind := range simulatedKinds[:3] {
		for _, object := range h.api.list(kind) {
			said := []string{"finalizers " + strings.Join(slices.Sorted(slices.Values(object.GetFinalizers())), " ")}
			switch o := object.(type) {
			case *v1alpha1.ReporterConnection:
				conditions := conditionsIn(o.Status.Conditions)
				if h.hasUnknowable(o) {
					conditions = strings.Replace(conditions, "Duplicate", "Available", 1)
				}
				said = append(said, conditions)
				if in := o.Status.ObservedIn; in != nil && apimeta.IsStatusConditionTrue(o.Status.Conditions, v1alpha1.ConditionReady) {
					said = append(said, "observed in "+in.URL+" "+in.TenantID)
				}
				if soon && !h.alive(o.Spec.ConnectionID) && o.DeletionTimestamp.IsZero() {
					said = said[:1] // that it has gone is noticed when it is looked up the next time
				}
			case *v1alpha1.ReporterEndpoint:
				said = append(said, conditionsIn(o.Status.Conditions))
			}
			all[kind+" "+client.ObjectKeyFromObject(object).String()] = strings.Join(said, ", ")
		}
	}
	for _, id := range h.ids {
		all["connection "+id] = fmt.Sprintf("alive %t", h.alive(id))
	}
	return all
}

// hasUnknowable says whether a claim elsewhere cannot be looked up now: what it was shown before makes a duplicate of another, and a fresh
// operator cannot know of it.
func (h *history) hasUnknowable(rc *v1alpha1.ReporterConnection) bool {
	return slices.ContainsFunc(h.api.list(connectionKind), func(object client.Object) bool {
		other := object.(*v1alpha1.ReporterConnection)
		return other.Namespace != rc.Namespace && other.Spec.ConnectionID == rc.Spec.ConnectionID && other.DeletionTimestamp.IsZero() &&
			!apimeta.IsStatusConditionTrue(other.Status.Conditions, v1alpha1.ConditionReady)
	})
}

func conditionsIn(conditions []metav1.Condition) string {
	var all []string
	for _, c := range conditions {
		all = append(all, c.Type+"="+string(c.Status)+" "+c.Reason)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func (h *history) judgeSame(what string, before, now map[string]string) {
	names := maps.Clone(before)
	maps.Copy(names, now)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if before[name] != now[name] {
			h.fail("%s: %s: %q, and before: %q", what, name, now[name], before[name])
		}
	}
}
