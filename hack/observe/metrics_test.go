// SPDX-License-Identifier: Apache-2.0

package observe

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
	crmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/metrics"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// cache holds one endpoint, a connection, and one whose deletion waits.
type cache struct{ client.Reader }

func (cache) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	named := metav1.ObjectMeta{Namespace: "billing", Name: "default"}
	switch list := list.(type) {
	case *v1alpha1.ReporterEndpointList:
		list.Items = []v1alpha1.ReporterEndpoint{{ObjectMeta: named}}
	case *v1alpha1.ReporterConnectionList:
		deleted := *named.DeepCopy()
		deleted.DeletionTimestamp = new(metav1.NewTime(time.Now().Add(-time.Hour)))
		list.Items = []v1alpha1.ReporterConnection{{ObjectMeta: named}, {ObjectMeta: deleted}}
	}
	return nil
}

// The metrics of the operator follow Prometheus' conventions, says `promtool check metrics`.
func TestMetricsFollowTheConventions(t *testing.T) {
	requests := metrics.NewRequests()
	requests.Count(reporter.Exchange{User: "billing/default", Operation: reporter.OperationGet, Outcome: reporter.OutcomeOK})
	own := prometheus.NewPedanticRegistry()
	own.MustRegister(&metrics.State{Cache: cache{}, Outages: func() map[string]bool { return map[string]bool{"billing/default": false} }, Requests: requests})
	families, err := prometheus.Gatherers{own, crmetrics.Registry}.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var exposition bytes.Buffer
	shown := 0
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "reporter_operator_") {
			continue
		}
		shown++
		if _, err := expfmt.MetricFamilyToText(&exposition, family); err != nil {
			t.Fatal(err)
		}
	}
	all := 0
	for name := range known(t) {
		if strings.HasPrefix(name, "reporter_operator_") && !strings.HasSuffix(name, "_bucket") && !strings.HasSuffix(name, "_sum") && !strings.HasSuffix(name, "_count") {
			all++
		}
	}
	if shown != all {
		t.Errorf("%d metrics of %d are checked", shown, all)
	}
	promtool(t, exposition.Bytes(), "check", "metrics")
}
