// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// scraper keeps what the replicas show, as a Prometheus does that config/prometheus has scrape them.
type scraper struct {
	t       *testing.T
	targets map[string]string // the addresses of the replicas, by the names of their pods
	samples map[string]*line  // by the text of their labels
}

// line are the samples of one series.
type line struct {
	labels  labels.Labels
	pod     string
	samples []chunks.Sample
}

// scrape asks all replicas. What one no longer shows, or would show if it answered, ends there.
func (s *scraper) scrape() time.Time {
	s.t.Helper()
	now := time.Now()
	for pod, address := range s.targets {
		shown, err := exposition(s.t.Context(), address)
		up := model.SampleValue(1)
		if err != nil { // it has not begun to listen, or has ended
			up = 0
		}
		shown = append(shown, &model.Sample{Metric: model.Metric{model.MetricNameLabel: "up"}, Value: up})
		for _, one := range shown {
			its := maps.Clone(one.Metric)
			maps.Copy(its, model.Metric{"pod": model.LabelValue(pod), "instance": model.LabelValue(address), "job": "reporter-operator",
				"namespace": "reporter-operator-system", "endpoint": "https", "service": "controller-manager-metrics", "container": "manager"})
			s.add(pod, its, sample{now.UnixMilli(), float64(one.Value)})
		}
		for _, one := range s.samples {
			if last := one.samples[len(one.samples)-1]; one.pod == pod && last.T() != now.UnixMilli() && !value.IsStaleNaN(last.F()) {
				one.samples = append(one.samples, sample{now.UnixMilli(), math.Float64frombits(value.StaleNaN)})
			}
		}
	}
	return now
}

func (s *scraper) add(pod string, metric model.Metric, its sample) {
	key := metric.String()
	one := s.samples[key]
	if one == nil {
		all := map[string]string{}
		for name, text := range metric {
			all[string(name)] = string(text)
		}
		one = &line{labels: labels.FromMap(all), pod: pod}
		s.samples[key] = one
	}
	one.samples = append(one.samples, its)
}

func exposition(ctx context.Context, address string) (model.Vector, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %w", response.Status, err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
	if err != nil {
		return nil, err
	}
	return expfmt.ExtractSamples(&expfmt.DecodeOptions{}, slices.Collect(maps.Values(families))...)
}

func (s *scraper) series() series {
	var all series
	for _, one := range s.samples {
		all = append(all, storage.NewListSeries(one.labels, one.samples))
	}
	return all
}

// ask evaluates a query of the dashboard, with all endpoints chosen, or of an alert at a time.
func (s *scraper) ask(query string, at time.Time) promql.Vector {
	s.t.Helper()
	asked, err := newEngine().NewInstantQuery(s.t.Context(), s.series().queryable(), nil, chosen(query), at)
	if err != nil {
		s.t.Fatal(err)
	}
	result, err := asked.Exec(s.t.Context()).Vector()
	if err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	return result
}

// askRange evaluates a query of the dashboard for a graph.
func (s *scraper) askRange(query string, from, to time.Time, step time.Duration) promql.Matrix {
	s.t.Helper()
	asked, err := newEngine().NewRangeQuery(s.t.Context(), s.series().queryable(), nil, chosen(query), from, to, step)
	if err != nil {
		s.t.Fatal(err)
	}
	result, err := asked.Exec(s.t.Context()).Matrix()
	if err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	return result
}

// chosen has the variables of the dashboard replaced, as Grafana does it at first sight for targets that are scraped every 15 seconds.
func chosen(query string) string {
	return strings.NewReplacer("$endpoint_namespace", ".*", "$__rate_interval", "1m").Replace(query)
}
