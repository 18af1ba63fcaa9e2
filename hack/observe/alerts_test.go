// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

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

// Each alert fires in its case and stays quiet in its counter-cases, says `promtool test rules`.
func TestAlerts(t *testing.T) {
	all, file := rules(t)
	cases, err := os.ReadFile("testdata/alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"alerts.yaml": file, "alerts_test.yaml": cases} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	promtool(t, nil, "check", "rules", "--lint-fatal", filepath.Join(dir, "alerts.yaml"))
	promtool(t, nil, "test", "rules", filepath.Join(dir, "alerts_test.yaml"))

	var tests struct {
		Tests []struct {
			Alerts []struct {
				Name   string `json:"alertname"`
				Alerts []any  `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal(cases, &tests); err != nil {
		t.Fatal(err)
	}
	fires, isQuiet := map[string]int{}, map[string]int{}
	for _, test := range tests.Tests {
		for _, expected := range test.Alerts {
			if len(expected.Alerts) > 0 {
				fires[expected.Name]++
			} else {
				isQuiet[expected.Name]++
			}
		}
	}
	for _, one := range all {
		if fires[one.Alert] == 0 || isQuiet[one.Alert] == 0 {
			t.Errorf("%s is tested to fire %d times, and to be quiet %d times", one.Alert, fires[one.Alert], isQuiet[one.Alert])
		}
	}
}

// promtool runs Prometheus' own tool, which has to be content.
func promtool(t *testing.T, stdin []byte, arguments ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", append([]string{"tool", "promtool"}, arguments...)...)
	command.Env = append(os.Environ(), "GOFLAGS=-tags=remove_all_sd") // without the clients of every cloud, which it would find targets with
	command.Stdin = bytes.NewReader(stdin)
	if output, err := command.CombinedOutput(); err != nil {
		t.Errorf("promtool %q: %v\n%s", arguments, err, output)
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
