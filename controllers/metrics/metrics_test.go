// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// cache is one that holds these.
type cache struct {
	client.Reader
	endpoints   []v1alpha1.ReporterEndpoint
	connections []v1alpha1.ReporterConnection
}

func (c *cache) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	switch list := list.(type) {
	case *v1alpha1.ReporterEndpointList:
		list.Items = c.endpoints
	case *v1alpha1.ReporterConnectionList:
		list.Items = c.connections
	}
	return nil
}

func condition(conditionType string, status metav1.ConditionStatus, reason string, since time.Time) metav1.Condition {
	return metav1.Condition{Type: conditionType, Status: status, Reason: reason, LastTransitionTime: metav1.NewTime(since)}
}

func endpoint(namespace, name string, ready ...metav1.Condition) v1alpha1.ReporterEndpoint {
	return v1alpha1.ReporterEndpoint{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Status: v1alpha1.ReporterEndpointStatus{Conditions: ready}}
}

// connection is one of namespace billing that names the endpoint default there.
func connection(name string, conditions ...metav1.Condition) v1alpha1.ReporterConnection {
	return v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "billing", Name: name},
		Spec:   v1alpha1.ReporterConnectionSpec{EndpointRef: v1alpha1.EndpointReference{Name: "default"}},
		Status: v1alpha1.ReporterConnectionStatus{Conditions: conditions}}
}

func deleted(rc v1alpha1.ReporterConnection, at time.Time) v1alpha1.ReporterConnection {
	rc.DeletionTimestamp = new(metav1.NewTime(at))
	return rc
}

func at(rc v1alpha1.ReporterConnection, endpoint v1alpha1.EndpointReference) v1alpha1.ReporterConnection {
	rc.Spec.EndpointRef = endpoint
	return rc
}

// scrape returns what whoever scrapes gets of the metrics of these names, without the comments.
func scrape(t *testing.T, s *State, names ...string) string {
	t.Helper()
	var shown strings.Builder
	for line := range strings.Lines(exposition(t, s)) {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, namespace+"_"), "{")
		for _, wanted := range names {
			if name == wanted {
				shown.WriteString(strings.TrimPrefix(line, namespace+"_"))
			}
		}
	}
	return shown.String()
}

func exposition(t *testing.T, s *State) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n%s\nnot\n%s", what, got, want)
	}
}

func stateOf(c *cache) *State {
	return &State{Cache: c, Outages: func() map[string]bool { return nil }, Requests: NewRequests()}
}

// What waits is counted by endpoint and by reason, and the one that has waited longest is named.
func TestPendingDeletions(t *testing.T) {
	monday := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	blocked := func(reason string, since time.Time) []metav1.Condition {
		return []metav1.Condition{condition("Ready", "False", reason, since), condition("DeletionBlocked", "True", reason, since)}
	}
	c := &cache{
		endpoints: []v1alpha1.ReporterEndpoint{endpoint("billing", "default"), endpoint("shared", "default")},
		connections: []v1alpha1.ReporterConnection{
			connection("alive", condition("Ready", "True", "Available", monday)),
			connection("alive-too", condition("Ready", "True", "Available", monday)),
			connection("new"),
			deleted(connection("b", blocked("JobInProgress", monday.Add(2*time.Hour))...), monday),
			deleted(connection("a", blocked("JobInProgress", monday.Add(time.Hour))...), monday.Add(time.Minute)),
			deleted(connection("c", blocked("Suspended", monday)...), monday),
			deleted(connection("just-now", condition("Ready", "True", "Available", monday)), time.Now()),
			deleted(at(connection("d", blocked("ReporterUnavailable", time.Now())...), v1alpha1.EndpointReference{Namespace: "shared", Name: "default"}), monday),
		},
	}
	names := []string{"connections", "pending_deletions", "oldest_pending_deletion_timestamp_seconds"}
	s := stateOf(c)
	expect(t, "with all of them", scrape(t, s, names...), `connections{endpoint_name="default",endpoint_namespace="billing",reason="Available"} 2
connections{endpoint_name="default",endpoint_namespace="billing",reason="Unknown"} 1
oldest_pending_deletion_timestamp_seconds{connection_name="a",connection_namespace="billing",endpoint_name="default",endpoint_namespace="billing",reason="JobInProgress"} 1.7803188e+09
oldest_pending_deletion_timestamp_seconds{connection_name="c",connection_namespace="billing",endpoint_name="default",endpoint_namespace="billing",reason="Suspended"} 1.7803152e+09
pending_deletions{endpoint_name="default",endpoint_namespace="billing",reason="JobInProgress"} 2
pending_deletions{endpoint_name="default",endpoint_namespace="billing",reason="Suspended"} 1
pending_deletions{endpoint_name="default",endpoint_namespace="billing",reason="Unknown"} 1
pending_deletions{endpoint_name="default",endpoint_namespace="shared",reason="ReporterUnavailable"} 1
`)
	c.connections = c.connections[:3]
	expect(t, "when they are gone", scrape(t, s, names[1:]...), "")
}

// Whoever may write resources may name as many endpoints in them as he likes: those that are not there make no series.
func TestLabelsAreBoundedByEndpoints(t *testing.T) {
	c := &cache{}
	notFound := condition("Ready", "False", "EndpointNotFound", time.Now())
	for _, name := range []string{"a", "b", "c"} {
		c.connections = append(c.connections, at(connection("live-"+name, notFound), v1alpha1.EndpointReference{Name: name}),
			deleted(at(connection("deleted-"+name, notFound, condition("DeletionBlocked", "True", "EndpointNotFound", time.Now())), v1alpha1.EndpointReference{Name: name}), time.Now()))
	}
	expect(t, "three endpoints that are not there", scrape(t, stateOf(c), "connections", "pending_deletions"),
		`connections{endpoint_name="",endpoint_namespace="",reason="EndpointNotFound"} 3
pending_deletions{endpoint_name="",endpoint_namespace="",reason="EndpointNotFound"} 3
`)
}

// An endpoint is up while it is Ready, and its breaker is open while its Reporter does not answer.
func TestEndpoints(t *testing.T) {
	c := &cache{endpoints: []v1alpha1.ReporterEndpoint{
		endpoint("billing", "default", condition("Ready", "True", "Available", time.Now())),
		endpoint("billing", "new"),
		endpoint("ledger", "default", condition("Ready", "False", "Unauthorized", time.Now())),
	}}
	s := stateOf(c)
	s.Outages = func() map[string]bool {
		return map[string]bool{"billing/default": false, "ledger/default": true, "gone/default": true, "confirming billing/default": true}
	}
	expect(t, "three endpoints", scrape(t, s, "endpoint_up", "endpoint_breaker_open"), `endpoint_breaker_open{endpoint_name="default",endpoint_namespace="billing"} 0
endpoint_breaker_open{endpoint_name="default",endpoint_namespace="ledger"} 1
endpoint_up{endpoint_name="default",endpoint_namespace="billing",reason="Available"} 1
endpoint_up{endpoint_name="default",endpoint_namespace="ledger",reason="Unauthorized"} 0
endpoint_up{endpoint_name="new",endpoint_namespace="billing",reason="Unknown"} 0
`)
}

// Requests are counted by endpoint, operation and outcome, until the endpoint is gone.
func TestRequests(t *testing.T) {
	c := &cache{endpoints: []v1alpha1.ReporterEndpoint{endpoint("billing", "default"), endpoint("billing", "other")}}
	s := stateOf(c)
	for _, e := range []reporter.Exchange{
		{User: "billing/default", Operation: "delete", Outcome: "ok", Took: 20 * time.Millisecond},
		{User: "billing/default", Operation: "delete", Outcome: "ok", Took: 2 * time.Second},
		{User: "billing/default", Operation: "delete", Outcome: "job_in_progress", Took: time.Millisecond},
		{User: "billing/other", Operation: "login", Outcome: "unauthorized", Took: time.Minute},
	} {
		s.Requests.Count(e)
	}
	names := []string{"requests_total", "request_duration_seconds_count", "request_duration_seconds_sum"}
	other := `request_duration_seconds_sum{endpoint_name="other",endpoint_namespace="billing",operation="login"} 60
request_duration_seconds_count{endpoint_name="other",endpoint_namespace="billing",operation="login"} 1
`
	expect(t, "four requests", scrape(t, s, names...), `request_duration_seconds_sum{endpoint_name="default",endpoint_namespace="billing",operation="delete"} 2.021
request_duration_seconds_count{endpoint_name="default",endpoint_namespace="billing",operation="delete"} 3
`+other+`requests_total{endpoint_name="default",endpoint_namespace="billing",operation="delete",outcome="job_in_progress"} 1
requests_total{endpoint_name="default",endpoint_namespace="billing",operation="delete",outcome="ok"} 2
requests_total{endpoint_name="other",endpoint_namespace="billing",operation="login",outcome="unauthorized"} 1
`)
	c.endpoints = c.endpoints[1:]
	expect(t, "when the endpoint is gone", scrape(t, s, names...), other+`requests_total{endpoint_name="other",endpoint_namespace="billing",operation="login",outcome="unauthorized"} 1
`)
}

// The build is one series, and says the version of Go at least.
func TestBuild(t *testing.T) {
	got := scrape(t, stateOf(&cache{}), "build_info")
	if !strings.HasPrefix(got, `build_info{goversion="go1.`) || !strings.HasSuffix(got, "} 1\n") || !strings.Contains(got, `version="dev"`) {
		t.Errorf("it shows %s", got)
	}
}
