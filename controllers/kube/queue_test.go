// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

func TestChanged(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*v1alpha1.ReporterConnection)
		want   bool
	}{
		"nothing":                     {func(*v1alpha1.ReporterConnection) {}, false},
		"the status":                  {func(rc *v1alpha1.ReporterConnection) { rc.Status.ObservedGeneration, rc.ResourceVersion = 1, "2" }, false},
		"labels":                      {func(rc *v1alpha1.ReporterConnection) { rc.Labels = map[string]string{"team": "ledger"} }, false},
		"the spec, or it was deleted": {func(rc *v1alpha1.ReporterConnection) { rc.Generation = 2 }, true},
		"somebody asks for an attempt": {func(rc *v1alpha1.ReporterConnection) {
			rc.Annotations = map[string]string{v1alpha1.RequestedAtAnnotation: "now"}
		}, true},
		"it is another of the same name": {func(rc *v1alpha1.ReporterConnection) { rc.UID = "two" }, true},
	} {
		t.Run(name, func(t *testing.T) {
			before := &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{UID: "one", Generation: 1, ResourceVersion: "1"}}
			after := before.DeepCopy()
			test.change(after)
			if got := Changed(before, after); got != test.want {
				t.Errorf("%t, want %t", got, test.want)
			}
		})
	}
}
