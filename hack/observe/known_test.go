// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	promql "github.com/prometheus/prometheus/promql/parser"
	crmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	_ "github.com/reporter-operator/reporter-operator/controllers" // registers the metrics of all its rooms, and those of controller-runtime
	"github.com/reporter-operator/reporter-operator/controllers/metrics"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// targetLabels are those that Prometheus adds to what it scrapes as config/prometheus has it.
var targetLabels = []string{"namespace", "pod", "job", "instance", "container", "endpoint", "service"}

var described = regexp.MustCompile(`fqName: "([^"]*)".*variableLabels: \{([^}]*)\}`)

// known returns the labels of each metric that the operator may show, by name.
func known(t *testing.T) map[string][]string {
	t.Helper()
	descriptions := make(chan *prometheus.Desc)
	go func() {
		defer close(descriptions)
		crmetrics.Registry.(*prometheus.Registry).Describe(descriptions)
		(&metrics.State{Requests: metrics.NewRequests()}).Describe(descriptions)
	}()
	all := map[string][]string{}
	for description := range descriptions {
		found := described.FindStringSubmatch(description.String())
		if found == nil {
			t.Fatalf("%s is not understood", description)
		}
		name, its := found[1], strings.FieldsFunc(found[2], func(r rune) bool { return r == ',' || r == ' ' })
		all[name] = its
		for _, suffix := range []string{"_bucket", "_sum", "_count"} { // of a histogram
			all[name+suffix] = append(slices.Clone(its), "le")
		}
	}
	if len(all) < 50 {
		t.Fatalf("there are %d metrics", len(all))
	}
	return all
}

// values are those that some labels may have, where the operator has a closed set of them.
func values(t *testing.T) map[string][]string {
	t.Helper()
	return map[string][]string{
		"operation":  reporter.Operations,
		"outcome":    reporter.Outcomes(),
		"reason":     append(constantsOf(t, "../../api/v1alpha1/condition_types.go", "Reason"), "Unknown"),
		"cause":      append(constantsOf(t, "../../controllers/connection/record.go", "cause"), constantsOf(t, "../../controllers/connection/described.go", "eventLost")...),
		"controller": {"reporterconnection", "reporterendpoint", "reporterendpoint-protection", "secret-protection", "rolebinding-protection"},
		"name":       {"reporter-operator.reporter.lerian.studio", "reporterconnection", "reporterendpoint"},
	}
}

// constantsOf returns the values of the text constants of a file whose names begin so.
func constantsOf(t *testing.T, file, prefix string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	ast.Inspect(parsed, func(node ast.Node) bool {
		spec, is := node.(*ast.ValueSpec)
		if !is || !strings.HasPrefix(spec.Names[0].Name, prefix) || len(spec.Values) != 1 {
			return true
		}
		if literal, is := spec.Values[0].(*ast.BasicLit); is {
			text, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, text)
		}
		return true
	})
	if len(found) == 0 {
		t.Fatalf("%s has no constant %s", file, prefix)
	}
	return found
}

// checker looks for what queries name and the operator does not show.
type checker struct {
	known, values map[string][]string
}

func newChecker(t *testing.T) *checker { return &checker{known(t), values(t)} }

// check returns what is wrong with a query, and the labels that its result may have.
func (c *checker) check(query string) (wrong, its []string) {
	expression, err := promql.NewParser(promql.Options{}).ParseExpr(query)
	if err != nil {
		return []string{err.Error()}, nil
	}
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	its = slices.Clone(targetLabels)
	promql.Inspect(expression, func(node promql.Node, _ []promql.Node) error {
		if selector, is := node.(*promql.VectorSelector); is {
			has, exists := c.known[selector.Name]
			if !exists {
				complain("there is no metric %s", selector.Name)
				return nil
			}
			its = append(its, has...)
			for _, matcher := range selector.LabelMatchers {
				c.checkMatcher(selector.Name, append(slices.Clone(targetLabels), has...), matcher, complain)
			}
		}
		return nil
	})
	promql.Inspect(expression, func(node promql.Node, _ []promql.Node) error {
		var grouping []string
		switch node := node.(type) {
		case *promql.AggregateExpr:
			grouping = node.Grouping
		case *promql.BinaryExpr:
			if node.VectorMatching != nil {
				grouping = append(slices.Clone(node.VectorMatching.MatchingLabels), node.VectorMatching.Include...)
			}
		}
		for _, label := range grouping {
			if !slices.Contains(its, label) {
				complain("nothing there has a label %s", label)
			}
		}
		return nil
	})
	return wrong, its
}

func (c *checker) checkMatcher(metric string, has []string, matcher *labels.Matcher, complain func(string, ...any)) {
	if matcher.Name == model.MetricNameLabel {
		return
	}
	if !slices.Contains(has, matcher.Name) {
		complain("%s has no label %s", metric, matcher.Name)
	}
	isOurs := strings.HasPrefix(metric, "reporter_operator_") || matcher.Name == "name" || matcher.Name == "controller"
	if len(c.values[matcher.Name]) == 0 || !isOurs || strings.Contains(matcher.Value, "$") {
		return
	}
	for value := range strings.SplitSeq(matcher.Value, "|") {
		if !slices.Contains(c.values[matcher.Name], value) {
			complain("%s never has %s=%q", metric, matcher.Name, value)
		}
	}
}

// The checker finds what it is there for.
func TestChecker(t *testing.T) {
	c := newChecker(t)
	for query, want := range map[string]string{
		`sum(`:                               "1:5: parse error: unclosed left parenthesis",
		`reporter_operator_pending_deletion`: "there is no metric reporter_operator_pending_deletion",
		`reporter_operator_pending_deletions{pod="a",operation="delete"}`: "reporter_operator_pending_deletions has no label operation",
		`reporter_operator_pending_deletions{reason=~"Suspended|Job"}`:    `reporter_operator_pending_deletions never has reason="Job"`,
		`reporter_operator_requests_total{outcome!="succeeded"}`:          `reporter_operator_requests_total never has outcome="succeeded"`,
		`sum by (connection) (reporter_operator_pending_deletions)`:       "nothing there has a label connection",
		`up_total`: "there is no metric up_total",
		`reporter_operator_endpoint_up and on (nothing) reporter_operator_pending_deletions`:                           "nothing there has a label nothing",
		`sum by (reason, pod) (rate(reporter_operator_requests_total{operation="delete",outcome=~"ok|$outcome"}[5m]))`: "nothing there has a label reason",
		`histogram_quantile(0.9, sum by (le) (rate(reporter_operator_request_duration_seconds_bucket[5m])))`:           "",
		`leader_election_master_status{name="reporter-operator.reporter.lerian.studio"}`:                               "",
	} {
		wrong, _ := c.check(query)
		if got := strings.Join(wrong, "; "); got != want {
			t.Errorf("%s: %q, not %q", query, got, want)
		}
	}
}
