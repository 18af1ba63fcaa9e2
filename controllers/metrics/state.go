// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"cmp"
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// State shows what there is: endpoints, connections and what waits. It reads that from the cache when it is scraped and keeps none of it, so
// that what is gone is gone from the metrics.
type State struct {
	// Cache lists without asking the API server.
	Cache client.Reader
	// Outages says of each endpoint, by its key, whether its Reporter is known not to answer.
	Outages  func() map[string]bool
	Requests *Requests
}

// Start shows the state until the context ends. The manager calls it once it is elected: of two replicas that stand by for each other, one
// shows what there is.
func (s *State) Start(ctx context.Context) error {
	if err := metrics.Registry.Register(s); err != nil {
		return err
	}
	defer metrics.Registry.Unregister(s)
	<-ctx.Done()
	return nil
}

var (
	buildInfo = prometheus.NewDesc(namespace+"_build_info", "Always 1; the labels say what the operator was built from.",
		[]string{"version", "revision", "goversion"}, nil)
	endpointUp = prometheus.NewDesc(namespace+"_endpoint_up", "Whether a ReporterEndpoint is Ready: 1 if its Reporter answers and accepts the credentials. The reason is that of Ready.",
		[]string{endpointNamespace, endpointName, "reason"}, nil)
	breakerOpen = prometheus.NewDesc(namespace+"_endpoint_breaker_open", "Whether requests are held back, as the Reporter of a ReporterEndpoint does not answer.",
		[]string{endpointNamespace, endpointName}, nil)
	connections = prometheus.NewDesc(namespace+"_connections", "ReporterConnections that are not being deleted, by the reason of Ready.",
		[]string{endpointNamespace, endpointName, "reason"}, nil)
	pending = prometheus.NewDesc(namespace+"_pending_deletions", "ReporterConnections whose deletion waits, by what it waits for.",
		[]string{endpointNamespace, endpointName, "reason"}, nil)
	oldest = prometheus.NewDesc(namespace+"_oldest_pending_deletion_timestamp_seconds",
		"Since when the deletion waits that has waited longest of those of an endpoint and a reason, and which it is, once that is a minute.",
		[]string{endpointNamespace, endpointName, "reason", "connection_namespace", "connection_name"}, nil)
)

// namedAfter is how long a deletion has waited before it is named. Most do not wait for so long, and each name is a series of its own.
const namedAfter = time.Minute

// Describe says which metrics there are.
func (s *State) Describe(descriptions chan<- *prometheus.Desc) {
	for _, description := range []*prometheus.Desc{buildInfo, endpointUp, breakerOpen, connections, pending, oldest} {
		descriptions <- description
	}
	s.Requests.total.Describe(descriptions)
	s.Requests.duration.Describe(descriptions)
}

// Collect shows what there is now.
func (s *State) Collect(shown chan<- prometheus.Metric) {
	gauge := func(description *prometheus.Desc, value float64, labels ...string) {
		shown <- prometheus.MustNewConstMetric(description, prometheus.GaugeValue, value, labels...)
	}
	gauge(buildInfo, 1, builtFrom()...)
	var endpoints v1alpha1.ReporterEndpointList
	var all v1alpha1.ReporterConnectionList
	for _, list := range []client.ObjectList{&endpoints, &all} {
		if err := s.Cache.List(context.Background(), list, client.UnsafeDisableDeepCopy); err != nil {
			shown <- prometheus.NewInvalidMetric(pending, err)
			return
		}
	}
	there := make(map[types.NamespacedName]bool, len(endpoints.Items))
	for i := range endpoints.Items {
		endpoint := &endpoints.Items[i]
		there[client.ObjectKeyFromObject(endpoint)] = true
		up := 0.0
		if apimeta.IsStatusConditionTrue(endpoint.Status.Conditions, v1alpha1.ConditionReady) {
			up = 1
		}
		gauge(endpointUp, up, endpoint.Namespace, endpoint.Name, reasonOf(endpoint.Status.Conditions))
	}
	s.Requests.forgetGone(func(endpoint types.NamespacedName) bool { return there[endpoint] })
	s.Requests.total.Collect(shown)
	s.Requests.duration.Collect(shown)
	for user, isDown := range s.Outages() {
		if endpoint := keyOf(user); there[endpoint] {
			open := 0.0
			if isDown {
				open = 1
			}
			gauge(breakerOpen, open, endpoint.Namespace, endpoint.Name)
		}
	}
	live, waiting := count(all.Items, there)
	for at, n := range live {
		gauge(connections, float64(n), at.endpoint.Namespace, at.endpoint.Name, at.reason)
	}
	for at, w := range waiting {
		gauge(pending, float64(w.count), at.endpoint.Namespace, at.endpoint.Name, at.reason)
		if time.Since(w.since) >= namedAfter {
			gauge(oldest, float64(w.since.Unix()), at.endpoint.Namespace, at.endpoint.Name, at.reason, w.oldest.Namespace, w.oldest.Name)
		}
	}
}

// place is where something is counted. The endpoint is empty where there is none of that name: anybody may name as many of those as he likes.
type place struct {
	endpoint types.NamespacedName
	reason   string
}

// wait is what waits at one place.
type wait struct {
	count  int
	oldest types.NamespacedName
	since  time.Time
}

func count(all []v1alpha1.ReporterConnection, there map[types.NamespacedName]bool) (live map[place]int, waiting map[place]wait) {
	live, waiting = map[place]int{}, map[place]wait{}
	for i := range all {
		rc := &all[i]
		at := place{reason: reasonOf(rc.Status.Conditions)}
		if endpoint := rc.EndpointKey(); there[endpoint] {
			at.endpoint = endpoint
		}
		if rc.DeletionTimestamp.IsZero() {
			live[at]++
			continue
		}
		since := rc.DeletionTimestamp.Time
		if blocked := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionDeletionBlocked); blocked != nil {
			since = blocked.LastTransitionTime.Time
		} else {
			at.reason = reasonNone // what it said while it was live is no reason to wait
		}
		w := waiting[at]
		if w.count == 0 || since.Before(w.since) {
			w.oldest, w.since = client.ObjectKeyFromObject(rc), since
		}
		w.count++
		waiting[at] = w
	}
	return live, waiting
}

// reasonNone is the reason where none is known yet.
const reasonNone = "Unknown"

func reasonOf(conditions []metav1.Condition) string {
	if ready := apimeta.FindStatusCondition(conditions, v1alpha1.ConditionReady); ready != nil {
		return cmp.Or(ready.Reason, reasonNone)
	}
	return reasonNone
}
