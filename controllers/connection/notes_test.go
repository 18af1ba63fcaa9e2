// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// What a pass learns of a resource goes with it, and says nothing of the next of its name.
func TestNotes(t *testing.T) {
	var known notes[string]
	first := &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "ledger", UID: "first"}}
	second := first.DeepCopy()
	second.UID = "second"
	known.update(first, func(what *string) { *what = "changed before it began" })
	if got := known.begin(first, "first"); got != "first" {
		t.Errorf("it begins with %q", got)
	}
	known.update(first, func(what *string) { *what += ", changed" })
	if got := known.begin(first, "again"); got != "first, changed" {
		t.Errorf("after a change it is %q", got)
	}
	if got, found := known.get(second); found {
		t.Errorf("of another of its name it is known that it is %q", got)
	}
	known.begin(second, "second")
	known.forget(first)
	if got, found := known.get(second); !found || got != "second" {
		t.Errorf("of the second it is known that it is %q", got)
	}
	known.update(first, func(*string) { t.Error("what is forgotten is changed") }) // by a pass that was under way
	known.begin(first, "first, seen by a late pass")
	known.forgetGone(client.ObjectKeyFromObject(first), func(what string) bool { return what == "second" })
	if _, found := known.get(first); found {
		t.Error("what a late pass has noted is kept")
	}
	if _, found := known.get(second); !found {
		t.Error("what is needed is forgotten")
	}
	known.forget(second)
	if len(known.known) != 0 {
		t.Errorf("at the end there are %v", known.known)
	}
}
