// SPDX-License-Identifier: Apache-2.0

package endpoint

import (
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
)

func TestRequestedCheckDelay(t *testing.T) {
	r := &Reconciler{}
	endpoint, other := client.ObjectKey{Name: "default"}, client.ObjectKey{Name: "other"}
	began := time.Now()
	for _, step := range []struct {
		what     string
		endpoint client.ObjectKey
		at, want time.Duration
	}{
		{"the first request", endpoint, 0, 0},
		{"one right after it", endpoint, 0, 3 * time.Second},
		{"one for the check that waits", endpoint, time.Second, 2 * time.Second},
		{"one of another endpoint", other, time.Second, 0},
		{"one when that check was made", endpoint, 4 * time.Second, 2 * time.Second},
		{"one long after", endpoint, time.Minute, 0},
	} {
		if got := r.requestedCheckDelay(step.endpoint, began.Add(step.at)); got != step.want {
			t.Errorf("%s: after %s, want %s", step.what, got, step.want)
		}
	}
}

func TestSetReady(t *testing.T) {
	now := metav1.Now()
	ready := func(status metav1.ConditionStatus, reason, message string, generation int64) *metav1.Condition {
		return &metav1.Condition{Type: "Ready", Status: status, Reason: reason, Message: message, ObservedGeneration: generation, LastTransitionTime: now}
	}
	const generation = 2
	available := ready("True", "Available", "as before", generation)
	tests := map[string]struct {
		before  *metav1.Condition
		outcome decision.Outcome
		status  metav1.ConditionStatus
		reason  string
		message string // empty where it does not matter
		retryIn time.Duration
	}{
		"all is well":                   {outcome: decision.Outcome{Reason: "Available"}, status: "True", reason: "Available", retryIn: time.Hour},
		"the credentials are refused":   {before: available, outcome: decision.Outcome{Reason: "Unauthorized"}, status: "False", reason: "Unauthorized", retryIn: time.Minute},
		"it does not answer":            {before: available, outcome: decision.Outcome{Reason: "ReporterUnavailable"}, status: "False", reason: "ReporterUnavailable", retryIn: time.Second},
		"it is known not to answer":     {before: available, outcome: decision.Outcome{Reason: "ReporterUnavailable", HeldBack: true}, status: "False", reason: "ReporterUnavailable", retryIn: time.Second},
		"it is limited":                 {before: available, outcome: decision.Outcome{Reason: "RateLimited"}, status: "True", reason: "Available", message: "as before", retryIn: time.Second},
		"it is limited for long":        {before: available, outcome: decision.Outcome{Reason: "RateLimited", RetryAfter: time.Hour}, status: "True", reason: "Available", message: "as before", retryIn: time.Minute},
		"it is limited, and is new":     {outcome: decision.Outcome{Reason: "RateLimited"}, status: "False", reason: "RateLimited", retryIn: time.Second},
		"it is limited, and leads on":   {before: ready("True", "Available", "as before", 1), outcome: decision.Outcome{Reason: "RateLimited"}, status: "False", reason: "RateLimited", retryIn: time.Second},
		"it fails in another way":       {before: ready("False", "ReporterUnavailable", "as before", generation), outcome: decision.Outcome{Reason: "ReporterUnavailable", Detail: "reset"}, status: "False", reason: "ReporterUnavailable", message: "as before", retryIn: time.Second},
		"it fails under another spec":   {before: ready("False", "ReporterUnavailable", "as before", 1), outcome: decision.Outcome{Reason: "ReporterUnavailable", Detail: "reset"}, status: "False", reason: "ReporterUnavailable", message: "Reporter is not available: reset", retryIn: time.Second},
		"it fails for another reason":   {before: ready("False", "Forbidden", "as before", generation), outcome: decision.Outcome{Reason: "ReporterUnavailable", Detail: "reset"}, status: "False", reason: "ReporterUnavailable", message: "Reporter is not available: reset", retryIn: time.Second},
		"a Secret is missing by itself": {before: ready("False", "SecretNotFound", "as before", generation), outcome: decision.Outcome{Reason: "SecretNotFound", Detail: "create it"}, status: "False", reason: "SecretNotFound", message: "create it", retryIn: time.Minute},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			endpoint := &v1alpha1.ReporterEndpoint{ObjectMeta: metav1.ObjectMeta{Generation: generation}}
			if test.before != nil {
				endpoint.Status.Conditions = []metav1.Condition{*test.before}
			}
			retryIn := (&Reconciler{CheckInterval: time.Hour}).setReady(endpoint, test.outcome)
			got := apimeta.FindStatusCondition(endpoint.Status.Conditions, "Ready")
			if got.Status != test.status || got.Reason != test.reason || test.message != "" && got.Message != test.message || retryIn != test.retryIn {
				t.Errorf("%s %s (%s), again in %s; want %s %s (%s), %s", got.Status, got.Reason, got.Message, retryIn, test.status, test.reason, test.message, test.retryIn)
			}
		})
	}
}

// Stalled is there, and says what Ready says, while only a person can end what is wrong.
func TestStalled(t *testing.T) {
	endpoint := &v1alpha1.ReporterEndpoint{ObjectMeta: metav1.ObjectMeta{Generation: 2}}
	r := &Reconciler{CheckInterval: time.Hour}
	for _, step := range []struct {
		outcome decision.Outcome
		want    string // the reason, empty if it is not stalled
	}{
		{decision.Outcome{Reason: "Unauthorized", Detail: "expired"}, "Unauthorized"},
		{decision.Outcome{Reason: "RateLimited"}, "Unauthorized"}, // it has not looked at the credentials
		{decision.Outcome{Reason: "InvalidEndpoint", Detail: "not a host"}, "InvalidEndpoint"},
		{decision.Outcome{Reason: "ReporterUnavailable"}, ""},
		{decision.Outcome{Reason: "Unauthorized"}, "Unauthorized"},
		{decision.Outcome{Reason: "SecretNotFound"}, ""},
		{decision.Outcome{Reason: "InvalidEndpoint"}, "InvalidEndpoint"},
		{decision.Outcome{Reason: "Available"}, ""},
		{decision.Outcome{Reason: "Forbidden"}, ""}, // Reporter says so too while its Access Manager fails
	} {
		r.setReady(endpoint, step.outcome)
		ready, stalled := apimeta.FindStatusCondition(endpoint.Status.Conditions, "Ready"), apimeta.FindStatusCondition(endpoint.Status.Conditions, "Stalled")
		switch {
		case step.want == "" && stalled == nil:
		case step.want == "" || stalled == nil || stalled.Status != "True" || stalled.Reason != step.want || stalled.Message != ready.Message || stalled.ObservedGeneration != 2:
			t.Errorf("after %s it says %+v, want %q", step.outcome.Reason, stalled, step.want)
		}
	}
}
