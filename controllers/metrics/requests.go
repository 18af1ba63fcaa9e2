// SPDX-License-Identifier: Apache-2.0

// Package metrics shows what the operator does and what it waits for, to whoever scrapes its metrics. No label is bounded by the number of
// ReporterConnections: each is one of a closed set, or of an endpoint.
package metrics

import (
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

const namespace = "reporter_operator"

// The labels of what is of an endpoint. Prometheus has labels of its own for what it scrapes, and namespace and endpoint are among them.
const (
	endpointNamespace = "endpoint_namespace"
	endpointName      = "endpoint_name"
)

// Requests counts the requests to Reporters and to the Access Managers before them.
type Requests struct {
	total    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	// endpoints are those that there are series of.
	endpoints sync.Map
}

// NewRequests returns one without any.
func NewRequests() *Requests {
	return &Requests{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "requests_total",
			Help: "Requests to Reporter, and logins with its Access Manager, by operation and by what the answer means."},
			[]string{endpointNamespace, endpointName, "operation", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: "request_duration_seconds",
			Help:    "Time from dialling to the last byte of the answer, or to giving up.",
			Buckets: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}}, // a timeout is at most 60 seconds
			[]string{endpointNamespace, endpointName, "operation"}),
	}
}

// Count counts a request that was sent for an endpoint.
func (r *Requests) Count(e reporter.Exchange) {
	endpoint := keyOf(e.User)
	r.endpoints.Store(endpoint, nil)
	r.total.WithLabelValues(endpoint.Namespace, endpoint.Name, e.Operation, e.Outcome).Inc()
	r.duration.WithLabelValues(endpoint.Namespace, endpoint.Name, e.Operation).Observe(e.Took.Seconds())
}

// keyOf is the endpoint that the clients of a user are made for.
func keyOf(user string) types.NamespacedName {
	namespace, name, _ := strings.Cut(user, string(types.Separator))
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// forgetGone drops the series of endpoints that are not there.
func (r *Requests) forgetGone(isThere func(types.NamespacedName) bool) {
	r.endpoints.Range(func(key, _ any) bool {
		endpoint := key.(types.NamespacedName)
		if !isThere(endpoint) {
			r.endpoints.Delete(endpoint)
			labels := prometheus.Labels{endpointNamespace: endpoint.Namespace, endpointName: endpoint.Name}
			r.total.DeletePartialMatch(labels)
			r.duration.DeletePartialMatch(labels)
		}
		return true
	})
}
