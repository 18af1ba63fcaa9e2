// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

func TestWaitedForReporter(t *testing.T) {
	began := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for reason, want := range map[string]time.Duration{
		"":                    0, // it is not blocked
		"JobInProgress":       time.Hour,
		"ReporterUnavailable": time.Hour,
		"EndpointNotFound":    time.Hour,
		"DeletionProtected":   0,
		"Suspended":           0,
		"DeletionDelayed":     0,
		"Queued":              0,
		"ClaimUnverified":     0,
	} {
		rc := &v1alpha1.ReporterConnection{}
		if reason != "" {
			rc.Status.Conditions = []metav1.Condition{{Type: "DeletionBlocked", Status: "True", Reason: reason, LastTransitionTime: metav1.NewTime(began)}}
		}
		if got := WaitedForReporter(rc, began.Add(time.Hour)); got != want {
			t.Errorf("blocked as %q: %s, want %s", reason, got, want)
		}
	}
}
