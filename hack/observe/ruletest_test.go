// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/template"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// ruleTests has the form of a file for `promtool test rules`, as far as it is needed here. It is run with Prometheus' own parser, engine and
// templates: to compile promtool takes far longer than all else, as it comes with the clients of every cloud.
type ruleTests struct {
	RuleFiles []string   `json:"rule_files"`
	Interval  duration   `json:"evaluation_interval"`
	Tests     []ruleTest `json:"tests"`
}

type ruleTest struct {
	Name     string   `json:"name"`
	Interval duration `json:"interval"`
	Series   []struct {
		Series string `json:"series"`
		Values string `json:"values"`
	} `json:"input_series"`
	Alerts []struct {
		Name   string   `json:"alertname"`
		At     duration `json:"eval_time"`
		Alerts []alert  `json:"exp_alerts"`
	} `json:"alert_rule_test"`
}

type alert struct {
	Labels      map[string]string `json:"exp_labels"`
	Annotations map[string]string `json:"exp_annotations"`
}

// duration is a time as Prometheus writes it, such as 24h10m.
type duration string

func (d duration) of(t *testing.T) time.Duration {
	t.Helper()
	parsed, err := model.ParseDuration(string(d))
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(parsed)
}

func (r ruleTest) storage(t *testing.T) storage.Queryable {
	t.Helper()
	var all series
	for _, one := range r.Series {
		its, values, err := parser.NewParser(parser.Options{}).ParseSeriesDesc(one.Series + " " + one.Values)
		if err != nil {
			t.Fatal(err)
		}
		var samples []chunks.Sample
		for i, value := range values {
			if !value.Omitted {
				samples = append(samples, sample{(time.Duration(i) * r.Interval.of(t)).Milliseconds(), value.Value})
			}
		}
		all = append(all, storage.NewListSeries(its, samples))
	}
	return all.queryable()
}

// firing evaluates a rule as time goes on, and returns the alerts that fire at a time: those whose labels were there all the while.
func firing(t *testing.T, from storage.Queryable, rule rulefmt.Rule, interval, at time.Duration) []alert {
	t.Helper()
	engine := newEngine()
	active := map[string]time.Duration{}
	var alerts []alert
	for now := time.Duration(0); now <= at; now += interval {
		query, err := engine.NewInstantQuery(t.Context(), from, nil, rule.Expr, time.UnixMilli(now.Milliseconds()))
		if err != nil {
			t.Fatal(err)
		}
		result, err := query.Exec(t.Context()).Vector()
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]time.Duration{}
		alerts = nil
		for _, one := range result {
			key := one.Metric.String()
			since, before := active[key]
			if !before {
				since = now
			}
			found[key] = since
			if now-since >= time.Duration(rule.For) {
				alerts = append(alerts, alertOf(t, rule, one))
			}
		}
		active = found
	}
	slices.SortFunc(alerts, func(a, b alert) int { return cmp.Compare(a.Annotations["summary"], b.Annotations["summary"]) })
	return alerts
}

// alertOf is what goes out: the labels of a result with those of the rule, and the texts.
func alertOf(t *testing.T, rule rulefmt.Rule, result promql.Sample) alert {
	t.Helper()
	its := result.Metric.Map()
	delete(its, model.MetricNameLabel)
	a := alert{Labels: maps.Clone(its), Annotations: map[string]string{}}
	maps.Copy(a.Labels, rule.Labels)
	for name, text := range rule.Annotations {
		noQuery := func(context.Context, string, time.Time) (promql.Vector, error) { return nil, nil }
		text = "{{$labels := .Labels}}{{$value := .Value}}" + text
		expanded, err := template.NewTemplateExpander(t.Context(), text, rule.Alert, template.AlertTemplateData(its, nil, "", result), 0, noQuery, nil, nil).Expand()
		if err != nil {
			t.Fatal(err)
		}
		a.Annotations[name] = expanded
	}
	return a
}
