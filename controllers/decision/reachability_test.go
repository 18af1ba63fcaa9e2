// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What Reporter has answered is believed, and not asked for again; what it has not answered says nothing of the database.
func TestJudgeTest(t *testing.T) {
	tests := map[string]struct {
		outcome     Outcome
		unreachable bool
		status      metav1.ConditionStatus
		reason      string
		isDue       bool // to be tested once more by itself
	}{
		"it succeeded":              {outcome: Outcome{Reason: "Available"}, status: "True", reason: "TestSucceeded"},
		"the database is not there": {outcome: Outcome{Reason: "UnexpectedResponse"}, unreachable: true, status: "False", reason: "TestFailed"},
		"too many tests":            {outcome: Outcome{Reason: "RateLimited"}, status: "Unknown", reason: "RateLimited", isDue: true},
		"no answer":                 {outcome: Outcome{Reason: "ReporterUnavailable", Unanswered: true}, status: "Unknown", reason: "ReporterUnavailable", isDue: true},
		"it may not be tested":      {outcome: Outcome{Reason: "Forbidden"}, status: "Unknown", reason: "Forbidden"},
		"the connection is gone":    {outcome: Outcome{Reason: "ConnectionNotFound"}, status: "Unknown", reason: "ConnectionNotFound"},
		"an odd answer":             {outcome: Outcome{Reason: "UnexpectedResponse"}, status: "Unknown", reason: "UnexpectedResponse"},
	}
	for name, test := range tests {
		got := JudgeTest(test.outcome, test.unreachable, time.Hour)
		if got.Status != test.status || got.Reason != test.reason || got.Message == "" {
			t.Errorf("%s: %s %s %q, want %s %s", name, got.Status, got.Reason, got.Message, test.status, test.reason)
		}
		if isDue := IsTestDue([]metav1.Condition{{Type: "DatabaseReachable", Status: got.Status, Reason: got.Reason}}); isDue != test.isDue || (got.RetryIn > 0) != test.isDue {
			t.Errorf("%s: a test is due: %t, in %s; want %t", name, isDue, got.RetryIn, test.isDue)
		}
	}
	if !IsTestDue(nil) {
		t.Error("no test is due of what was never tested")
	}
}
