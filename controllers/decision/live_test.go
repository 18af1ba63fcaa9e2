// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestJudgeLive(t *testing.T) {
	const waited = 80 * time.Second // proportionally: 10s
	tests := map[string]struct {
		look    Look
		status  metav1.ConditionStatus
		reason  string
		retryIn time.Duration
	}{
		"shown":                          {look: Look{Outcome: done}, status: "True", reason: "Available"},
		"shown, and claimed for longer":  {look: Look{Outcome: done, OlderClaim: `ReporterConnection "older"`}, status: "True", reason: "Duplicate"},
		"absent":                         {look: Look{Outcome: absent}, status: "False", reason: "ConnectionNotFound"},
		"absent, and found before":       {look: Look{Outcome: absent, Settled: true}, status: "False", reason: "ConnectionNotFound"},
		"unavailable, and never found":   {look: Look{Outcome: Outcome{Reason: "ReporterUnavailable"}}, status: "Unknown", reason: "ReporterUnavailable", retryIn: 10 * time.Second},
		"unavailable, and found before":  {look: Look{Outcome: Outcome{Reason: "ReporterUnavailable"}, Settled: true}},
		"rate limited, and never found":  {look: Look{Outcome: Outcome{Reason: "RateLimited"}}, status: "Unknown", reason: "RateLimited", retryIn: 10 * time.Second},
		"rate limited, and found before": {look: Look{Outcome: Outcome{Reason: "RateLimited"}, Settled: true}},
		"something else answers":         {look: Look{Outcome: Outcome{}, Settled: true}, status: "Unknown", reason: "UnexpectedResponse", retryIn: 10 * time.Second},
		"a conflict, which GET has not":  {look: Look{Outcome: Outcome{Reason: "Conflict"}}, status: "Unknown", reason: "Conflict", retryIn: 10 * time.Second},
		"unauthorized":                   {look: Look{Outcome: Outcome{Reason: "Unauthorized"}, Settled: true}, status: "False", reason: "Unauthorized", retryIn: 10 * time.Minute},
		"forbidden":                      {look: Look{Outcome: Outcome{Reason: "Forbidden"}}, status: "False", reason: "Forbidden", retryIn: 10 * time.Second},
		"an invalid id":                  {look: Look{Outcome: Outcome{Reason: "InvalidConnectionID"}}, status: "False", reason: "InvalidConnectionID", retryIn: 10 * time.Minute},
		"the endpoint is not there":      {look: Look{Outcome: Outcome{Reason: "EndpointNotFound"}, Settled: true}, status: "False", reason: "EndpointNotFound", retryIn: 10 * time.Minute},
		"the Secret is not marked":       {look: Look{Outcome: Outcome{Reason: "SecretNotGranted"}}, status: "False", reason: "SecretNotGranted", retryIn: 10 * time.Minute},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.look.Waited = waited
			got := JudgeLive(test.look)
			if got.Status != test.status || got.Reason != test.reason || got.RetryIn != test.retryIn {
				t.Errorf("%s %s, again in %s; want %s %s, %s", got.Status, got.Reason, got.RetryIn, test.status, test.reason, test.retryIn)
			}
		})
	}
}
