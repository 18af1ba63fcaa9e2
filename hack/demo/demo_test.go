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

// expectationOf is that of the act with a name.
func expectationOf(t *testing.T, name string) expectation {
	t.Helper()
	for _, a := range acts {
		if a.name == name {
			return a.expected
		}
	}
	t.Fatalf("there is no act %q", name)
	return expectation{}
}

// A demo that cannot fail shows nothing.
func TestDifferences(t *testing.T) {
	asExpected := outcome{said: []string{"JobInProgress"}, calls: "7 × DELETE 409 FET-1021, DELETE 204", writes: 2}
	expected := expectationOf(t, "deleted")
	for name, test := range map[string]struct {
		change func(*outcome)
		want   []string
	}{
		"as expected":  {func(*outcome) {}, nil},
		"one conflict": {func(o *outcome) { o.calls = "DELETE 409 FET-1021, DELETE 204" }, nil},
		"it said nothing": {func(o *outcome) { o.said, o.writes = nil, 1 },
			[]string{`deleted: the status said "", which does not match ^(JobInProgress)$`}},
		"it said something else too": {func(o *outcome) { o.said, o.writes = []string{"JobInProgress", "ReporterUnavailable"}, 3 },
			[]string{`deleted: the status said "JobInProgress, ReporterUnavailable", which does not match ^(JobInProgress)$`}},
		"deleted twice": {func(o *outcome) { o.calls += ", DELETE 404 FET-1001" },
			[]string{`deleted: Reporter was asked "7 × DELETE 409 FET-1021, DELETE 204, DELETE 404 FET-1001", which does not match ^(` + expected.calls + `)$`}},
		"too many writes": {func(o *outcome) { o.writes = 9 }, []string{"deleted: the operator wrote to the API server 9 times, not 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := asExpected
			test.change(&o)
			if got := expected.differences("deleted", o); !slices.Equal(got, test.want) {
				t.Errorf("got %q, not %q", got, test.want)
			}
		})
	}
	twice := outcome{said: []string{"Creating", "Available", "TestSucceeded"}, calls: "2 × POST 201, test 200", writes: 3}
	if got := expectationOf(t, "created").differences("created", twice); len(got) != 1 {
		t.Errorf("a connection that is created twice differs in %q", got)
	}
}

func TestTimeline(t *testing.T) {
	var printed strings.Builder
	tl := newTimeline(&screen{out: &printed}, func(string) bool { return false })
	const id = "019996b9-174d-7a23-9f87-f7336d5ad98c"
	callOf := func(agent, method, path, answer string) {
		tl.call("default", play.Exchange{Method: method, URI: "/v1/management/connections" + path, Agent: agent, Answer: answer})
	}
	call := func(method, path, answer string) { callOf("reporter-operator", method, path, answer) }
	resource := func(deleted bool, conditions ...metav1.Condition) *v1alpha1.ReporterConnection {
		rc := &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Name: "busy"}}
		rc.Status.ConnectionID, rc.Status.Conditions = id, conditions
		if deleted {
			rc.DeletionTimestamp = new(metav1.Now())
		}
		return rc
	}
	ready := metav1.Condition{Type: "Ready", Status: "True", Reason: "Available", Message: "Reporter shows the connection"}
	stalled := metav1.Condition{Type: "Stalled", Status: "True", Reason: "NameTaken", Message: "is not told twice"}
	blocked := metav1.Condition{Type: "DeletionBlocked", Status: "True", Reason: "JobInProgress", Message: "jobs in Reporter, pending or processing, read from connection busy-db"}

	call("GET", "/"+id, "404 FET-1001") // is not printed before begin, and forgotten then
	tl.begin("WHEN", func(time.Time) string { return "now" })
	call("POST", "", "201")
	tl.seen(nil, resource(false, ready, stalled), false)
	callOf("curl/8", "PATCH", "/"+id, "200")
	call("GET", "/"+id, "200")
	call("DELETE", "/"+id, "409 FET-1021")
	tl.seen(resource(false, ready), resource(true, blocked), false)
	tl.seen(resource(true, blocked), resource(true, blocked), false)
	resume := tl.pause()
	call("GET", "/"+id, "200") // one before each DELETE
	call("DELETE", "/"+id, "409 FET-1021")
	call("DELETE", "/"+id, "409 FET-1021")
	tl.note("busy", "the job ends")
	printed.WriteString("-- meanwhile\n")
	resume()
	call("POST", "/"+id+"/test", "200")
	call("DELETE", "/"+id, "204")
	tl.vanished(resource(true, blocked))

	if want := `    WHEN  RESOURCE     SEEN IN     WHAT
     now  rep/default  Reporter    POST /connections → 201
     now  busy         Kubernetes  Ready=True Available: Reporter shows the connection
     now  you          Reporter    PATCH busy → 200
     now  busy         Reporter    DELETE → 409 FET-1021
     now  busy         Kubernetes  DeletionBlocked=True JobInProgress: jobs in Reporter, pending or
                                   processing, read from connection busy-db
-- meanwhile
     now  busy         Reporter    DELETE → 409 FET-1021, 2 more times until now
     now  busy         Reporter    the job ends
     now  busy         Reporter    POST test → 200
     now  busy         Reporter    DELETE → 204
     now  busy         Kubernetes  gone; its connection is soft-deleted in Reporter
`; printed.String() != want {
		t.Errorf("printed is\n%s\nnot\n%s", printed.String(), want)
	}
	seen := tl.seenInScene()
	if got := callsInWords(seen.calls); got != "POST 201, 3 × DELETE 409 FET-1021, test 200, DELETE 204" {
		t.Errorf("the operator's calls are %q", got)
	}
	if want := []string{"Available", "JobInProgress"}; !slices.Equal(seen.said, want) {
		t.Errorf("the conditions said %q, not %q", seen.said, want)
	}
	if tl.resource("busy") != nil {
		t.Error("what has vanished is still there")
	}
}
