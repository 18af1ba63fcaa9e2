// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func exampleReport() report {
	slow := outcome{measured: "operator 200 (190–210)/s, http 402/s", ratio: 200.0 / 402, series: map[string]series{"operator/s": {190, 200, 210}}}
	exact := outcome{met: true, measured: "1 write each", each: map[string]series{"finalizer writes": {1, 1, 1}, "reads": {0, 1, 0}}}
	return report{
		Command: "make bench", Started: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC), Seconds: 1470, Runs: 3, Scale: 1,
		Machine: machine{CPU: "Example", Cores: 2, MemoryMB: 8000, OS: "linux/amd64", Go: "go1.26", Kubernetes: "v1.37.2"},
		Rows: []row{
			slow.row(scenario{name: "drain-1000", what: "drain of many", target: "≥ 0.95 of http's rate, or no slower than its slowest run"}, 90*time.Second),
			exact.row(scenario{name: "idle", what: "calls", target: "exactly 1"}, 2500*time.Millisecond),
		},
	}
}

func TestReport(t *testing.T) {
	dir := t.TempDir()
	o := options{json: filepath.Join(dir, "bench.json"), markdown: filepath.Join(dir, "bench.md")}
	var printed strings.Builder
	if err := exampleReport().write(&printed, o); err != nil {
		t.Fatal(err)
	}
	const circumstances = "2026-06-01: 2 cores (Example), 8000 MB of memory, linux/amd64, Kubernetes v1.37.2, go1.26, 3 runs, 25 minutes in all."
	for _, test := range []struct{ name, got, want string }{
		{"the text", strings.Join(strings.Fields(printed.String()), " "), "make bench, " + circumstances +
			" ROW VERDICT RATIO TARGET MEASURED" +
			" drain-1000 NOT MET 0.498 ≥ 0.95 of http's rate, or no slower operator 200 (190–210)/s, http 402/s than its slowest run" +
			" idle met exactly 1 1 write each"},
		{"the Markdown", content(t, o.markdown), "`make bench`, " + circumstances + `

| row | what | target | measured | ratio | |
|---|---|---|---|---|---|
| ` + "`drain-1000`" + ` | drain of many | ≥ 0.95 of http's rate, or no slower than its slowest run | operator 200 (190–210)/s, http 402/s | 0.498 | **not met** |
| ` + "`idle`" + ` | calls | exactly 1 | 1 write each |  | met |
`},
		{"the JSON", compact(t, content(t, o.json)), `{"command":"make bench","started":"2026-06-01T12:00:00Z","seconds":1470,` +
			`"machine":{"cpu":"Example","cores":2,"memoryMB":8000,"os":"linux/amd64","go":"go1.26","kubernetes":"v1.37.2"},"runs":3,"scale":1,"rows":[` +
			`{"name":"drain-1000","what":"drain of many","target":"≥ 0.95 of http's rate, or no slower than its slowest run",` +
			`"measured":"operator 200 (190–210)/s, http 402/s","ratio":0.4975124378109453,"met":false,"seconds":90,"runs":{"operator/s":[190,200,210]}},` +
			`{"name":"idle","what":"calls","target":"exactly 1","measured":"1 write each","met":true,"seconds":2,` +
			`"resources":{"finalizer writes":{"1":3},"reads":{"0":2,"1":1}}}]}`},
	} {
		if test.got != test.want {
			t.Errorf("%s is\n%s\nnot\n%s", test.name, test.got, test.want)
		}
	}
}

// Whoever reads numbers of a smaller scale must not take them for those that the targets are for.
func TestReportTellsOfItsScale(t *testing.T) {
	r := exampleReport()
	r.Scale = 0.1
	if got := r.asMarkdown(); !strings.Contains(got, "25 minutes in all, **at 0.1 of the scale that the targets are for**.\n") {
		t.Errorf("the scale is not told:\n%s", got)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func compact(t *testing.T, text string) string {
	t.Helper()
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(json.RawMessage(text)); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

func TestSelected(t *testing.T) {
	for rows, want := range map[string]string{
		"drain":           "drain-1000, drain-5000, drain-bare",
		"idle, drain-5":   "drain-5000, idle",
		"reconciles,down": "down, reconciles",
		"re":              "restart, reconciles",
	} {
		chosen, err := selected(rows)
		var names []string
		for _, s := range chosen {
			names = append(names, s.name)
		}
		if got := strings.Join(names, ", "); err != nil || got != want {
			t.Errorf("%q selects %q, %v, not %q", rows, got, err, want)
		}
	}
	if all, err := selected(""); err != nil || len(all) != len(scenarios) {
		t.Errorf("by default %d rows are selected, %v, not all", len(all), err)
	}
	if _, err := selected("drain,dragon"); err == nil || err.Error() != `there is no row "dragon": -list lists them` {
		t.Errorf("an unknown row is %v", err)
	}
}

func TestCommand(t *testing.T) {
	for want, o := range map[string]options{
		"make bench": {runs: 5, scale: 1},
		"make bench ROWS=drain,idle RUNS=3 BENCH_FLAGS='-scale 0.1'": {names: "drain, idle", runs: 3, scale: 0.1},
	} {
		if got := o.command(); got != want {
			t.Errorf("the command is %q, not %q", got, want)
		}
	}
}

func TestCheckOptions(t *testing.T) {
	good := options{runs: 5, scale: 1}
	for _, test := range []struct {
		change func(*options)
		args   []string
		want   string
	}{
		{func(*options) {}, nil, ""},
		{func(*options) {}, []string{"drain"}, `unexpected argument "drain": flags start with -`},
		{func(o *options) { o.runs = 0 }, nil, "-runs must be 1 or more"},
		{func(o *options) { o.scale = 0 }, nil, "-scale must be above 0"},
	} {
		o := good
		test.change(&o)
		got := ""
		if err := o.check(test.args); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%+v with %q: %q, not %q", o, test.args, got, test.want)
		}
	}
}
