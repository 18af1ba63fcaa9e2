// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/hack/internal/play"
)

// A demo that cannot fail shows nothing.
func TestDifferences(t *testing.T) {
	asExpected := outcome{held: []string{"JobInProgress"}, calls: "7 × DELETE 409 FET-1021, DELETE 204", writes: 2}
	for name, test := range map[string]struct {
		change func(*outcome)
		want   []string
	}{
		"as expected":    {func(*outcome) {}, nil},
		"one conflict":   {func(o *outcome) { o.calls = "DELETE 409 FET-1021, DELETE 204" }, nil},
		"alive":          {func(o *outcome) { o.alive = true }, []string{"busy: its connection is still alive in Reporter"}},
		"gone too early": {func(o *outcome) { o.aliveWhenGone = true }, []string{"busy: the resource was gone before its connection was deleted in Reporter"}},
		"never held":     {func(o *outcome) { o.held = nil }, []string{`busy: it was held for [], not ["JobInProgress"]`}},
		"held for something else": {func(o *outcome) { o.held = []string{"JobInProgress", "ReporterUnavailable"} },
			[]string{`busy: it was held for ["JobInProgress" "ReporterUnavailable"], not ["JobInProgress"]`}},
		"deleted twice": {func(o *outcome) { o.calls += ", DELETE 404 FET-1001" },
			[]string{`busy: Reporter was asked "7 × DELETE 409 FET-1021, DELETE 204, DELETE 404 FET-1001", which does not match ` + busy.expected.calls.String()}},
		"too many writes": {func(o *outcome) { o.writes = 9 }, []string{"busy: the operator wrote to the API server 9 times, not 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := asExpected
			test.change(&o)
			if got := busy.expected.differences("busy", o); !slices.Equal(got, test.want) {
				t.Errorf("got %q, not %q", got, test.want)
			}
		})
	}
	if !idle.expected.calls.MatchString("DELETE 204") || idle.expected.calls.MatchString("2 × DELETE 204") {
		t.Error("an idle connection is to be deleted with exactly one call")
	}
}

func TestTimeline(t *testing.T) {
	var printed strings.Builder
	alive := true
	tl := newTimeline(&screen{out: &printed}, func(string) bool { return alive })
	call := func(method, answer string) {
		tl.call("default", play.Exchange{Method: method, URI: "/v1/management/connections/019996b9-174d-7a23-9f87-f7336d5ad98c", Answer: answer})
	}
	resource := func(conditions ...metav1.Condition) *v1alpha1.ReporterConnection {
		deleted := metav1.Now()
		rc := &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Name: "busy", DeletionTimestamp: &deleted}}
		rc.Spec.ConnectionID, rc.Status.Conditions = "019996b9-174d-7a23-9f87-f7336d5ad98c", conditions
		return rc
	}
	blocked := metav1.Condition{Type: "DeletionBlocked", Status: "True", Reason: "JobInProgress", Message: "jobs in Reporter, pending or processing, read from connection busy-db"}

	call("GET", "200") // is not printed before begin, and forgotten then
	tl.seen(nil, resource(), true)
	tl.begin("WHEN", func(time.Time) string { return "now" })
	call("DELETE", "409 FET-1021")
	tl.seen(resource(), resource(blocked), false)
	tl.seen(resource(blocked), resource(blocked), false)
	resume := tl.pause()
	call("DELETE", "409 FET-1021")
	call("DELETE", "409 FET-1021")
	tl.note("busy", "the job ends")
	printed.WriteString("-- meanwhile\n")
	resume()
	call("DELETE", "204")
	alive = false
	tl.vanished(resource(blocked))

	if want := `    WHEN  RESOURCE     SEEN IN     WHAT
     now  busy         Reporter    DELETE → 409 FET-1021
     now  busy         Kubernetes  DeletionBlocked=True JobInProgress: jobs in Reporter, pending or
                                   processing, read from connection busy-db
-- meanwhile
     now  busy         Reporter    DELETE → 409 FET-1021, 2 more times until now
     now  busy         Reporter    the job ends
     now  busy         Reporter    DELETE → 204
     now  busy         Kubernetes  gone; its connection is soft-deleted in Reporter
`; printed.String() != want {
		t.Errorf("printed is\n%s\nnot\n%s", printed.String(), want)
	}
	if got := callsInWords(tl.account("019996b9-174d-7a23-9f87-f7336d5ad98c")); got != "3 × DELETE 409 FET-1021, DELETE 204" {
		t.Errorf("the calls are %q", got)
	}
}
