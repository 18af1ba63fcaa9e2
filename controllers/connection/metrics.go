// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	connectionsDeleted = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "reporter_operator",
		Name:      "connections_deleted_total",
		Help:      "Connections soft-deleted in Reporter because their resource was deleted.",
	})
	connectionsCreated = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "reporter_operator",
		Name:      "connections_created_total",
		Help:      "Connections created in Reporter as a resource describes them.",
	})
	connectionsChanged = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "reporter_operator",
		Name:      "connections_changed_total",
		Help:      "Changes of connections in Reporter to what a resource describes.",
	})
	connectionsLeftBehind = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "reporter_operator",
		Name:      "connections_left_behind_total",
		Help:      "Deleted resources that were released without a deletion in Reporter, by cause.",
	}, []string{"cause"})
)

func init() {
	metrics.Registry.MustRegister(connectionsCreated, connectionsChanged, connectionsDeleted, connectionsLeftBehind)
	for _, cause := range []string{causeRetained, causeHandedOver, causeAlreadyDeleted, causeNeverCreated, eventLost} {
		connectionsLeftBehind.WithLabelValues(cause)
	}
}
