// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"log/slog"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	promql "github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// rules returns the rules of config/prometheus, and the file of them that Prometheus reads.
func rules(t *testing.T) (all []rule, file []byte) {
	t.Helper()
	manifest, err := os.ReadFile("../../config/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var resource struct{ Spec any }
	if err := yaml.Unmarshal(manifest, &resource); err != nil {
		t.Fatal(err)
	}
	if file, err = yaml.Marshal(resource.Spec); err != nil {
		t.Fatal(err)
	}
	var spec struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(file, &spec); err != nil || len(spec.Groups) != 1 || len(spec.Groups[0].Rules) == 0 {
		t.Fatalf("%v: %+v", err, spec)
	}
	return spec.Groups[0].Rules, file
}

// Each alert fires in its case and stays quiet in its counter-cases.
func TestAlerts(t *testing.T) {
	all, file := rules(t)
	cases, err := os.ReadFile("testdata/alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var tests ruleTests
	if err := yaml.UnmarshalStrict(cases, &tests); err != nil {
		t.Fatal(err)
	}
	parsed, errs := rulefmt.Parse(file, false, model.UTF8Validation, promql.NewParser(promql.Options{}), slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	fires, isQuiet := map[string]int{}, map[string]int{}
	for _, test := range tests.Tests {
		t.Run(test.Name, func(t *testing.T) {
			storage := test.storage(t)
			for _, expected := range test.Alerts {
				if len(expected.Alerts) > 0 {
					fires[expected.Name]++
				} else {
					isQuiet[expected.Name]++
				}
				i := slices.IndexFunc(parsed.Groups[0].Rules, func(r rulefmt.Rule) bool { return r.Alert == expected.Name })
				if i < 0 {
					t.Fatalf("there is no alert %s", expected.Name)
				}
				got := firing(t, storage, parsed.Groups[0].Rules[i], tests.Interval.of(t), expected.At.of(t))
				if len(got)+len(expected.Alerts) > 0 && !reflect.DeepEqual(got, expected.Alerts) {
					t.Errorf("at %s %s fires as\n%+v\nnot as\n%+v", expected.At, expected.Name, got, expected.Alerts)
				}
			}
		})
	}
	for _, one := range all {
		if fires[one.Alert] == 0 || isQuiet[one.Alert] == 0 {
			t.Errorf("%s is tested to fire %d times, and to be quiet %d times", one.Alert, fires[one.Alert], isQuiet[one.Alert])
		}
	}
}

var label = regexp.MustCompile(`\$labels\.(\w+)`)

// Alerts name what there is, in their queries and in their texts.
func TestAlertsNameWhatThereIs(t *testing.T) {
	c := newChecker(t)
	all, _ := rules(t)
	for _, one := range all {
		wrong, its := c.check(one.Expr)
		for _, complaint := range wrong {
			t.Errorf("%s: %s", one.Alert, complaint)
		}
		for _, named := range label.FindAllStringSubmatch(one.Annotations["summary"], -1) {
			if !slices.Contains(its, named[1]) {
				t.Errorf("%s: its text names a label %s", one.Alert, named[1])
			}
		}
		if severity := one.Labels["severity"]; !slices.Contains([]string{"critical", "warning", "info"}, severity) {
			t.Errorf("%s has the severity %q", one.Alert, severity)
		}
	}
}

// repository is where the links of the alerts lead, from whatever place they are shown in.
const repository = "https://github.com/reporter-operator/reporter-operator/blob/main/"

// The link of each alert leads to a heading of a page that is there, of the alert's name; and each page has its alert.
func TestRunbooks(t *testing.T) {
	all, _ := rules(t)
	page, err := os.ReadFile("../../docs/runbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	var headings, alerts []string
	for line := range strings.Lines(string(page)) {
		if heading, is := strings.CutPrefix(line, "## "); is {
			headings = append(headings, strings.TrimSpace(heading))
		}
	}
	for _, one := range all {
		alerts = append(alerts, one.Alert)
		if want := repository + "docs/runbooks.md#" + strings.ToLower(one.Alert); one.Annotations["runbook_url"] != want {
			t.Errorf("the link of %s is %q, not %q", one.Alert, one.Annotations["runbook_url"], want)
		}
	}
	if !slices.Equal(alerts, headings) {
		t.Errorf("the alerts are %q, and the page has %q", alerts, headings)
	}
}
