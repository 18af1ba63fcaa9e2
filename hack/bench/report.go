// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/reporter-operator/reporter-operator/hack/internal/words"
)

// outcome is what a scenario measured.
type outcome struct {
	met      bool
	measured string
	ratio    float64 // to what the target compares with; 0 where it compares with a count
	// series holds the values of the runs, each those of the resources, by what was measured.
	series, each map[string]series
}

func (o outcome) verdict() string {
	if o.met {
		return "met"
	}
	return "NOT MET"
}

func (o outcome) row(s scenario, took time.Duration) row {
	r := row{Name: s.name, What: s.what, Target: s.target, Measured: o.measured, Ratio: o.ratio, Met: o.met, Seconds: int(took.Seconds()), Runs: o.series}
	for name, values := range o.each {
		if r.Resources == nil {
			r.Resources = map[string]map[string]int{}
		}
		r.Resources[name] = values.distribution()
	}
	return r
}

// report is what the JSON file holds.
type report struct {
	Command string    `json:"command"`
	Started time.Time `json:"started"`
	Seconds int       `json:"seconds"`
	Machine machine   `json:"machine"`
	Runs    int       `json:"runs"`
	Scale   float64   `json:"scale"`
	Rows    []row     `json:"rows"`
}

type machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	MemoryMB   int    `json:"memoryMB"`
	OS         string `json:"os"`
	Go         string `json:"go"`
	Kubernetes string `json:"kubernetes"`
}

type row struct {
	Name     string  `json:"name"`
	What     string  `json:"what"`
	Target   string  `json:"target"`
	Measured string  `json:"measured"`
	Ratio    float64 `json:"ratio,omitempty"`
	Met      bool    `json:"met"`
	Seconds  int     `json:"seconds"`
	// Runs holds the value of every single run, by what was measured.
	Runs map[string]series `json:"runs,omitempty"`
	// Resources says of how many resources each value is, by what was counted for each of them.
	Resources map[string]map[string]int `json:"resources,omitempty"`
}

func (r row) verdict() string { return outcome{met: r.Met}.verdict() }

func (r row) ratio() string {
	if r.Ratio == 0 {
		return ""
	}
	return number(r.Ratio)
}

// write prints the table for people, and writes the files that were asked for.
func (r report) write(out io.Writer, o options) error {
	if _, err := io.WriteString(out, r.text()); err != nil {
		return err
	}
	if o.markdown != "" {
		if err := os.WriteFile(o.markdown, []byte(r.asMarkdown()), 0o644); err != nil {
			return err
		}
	}
	if o.json == "" {
		return nil
	}
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(content, '\n'), 0o644)
}

// circumstances says where and how it was measured.
func (r report) circumstances() string {
	scale := ""
	if r.Scale != 1 {
		scale = fmt.Sprintf(", **at %s of the scale that the targets are for**", number(r.Scale))
	}
	return fmt.Sprintf("%#q, %s: %d cores (%s), %d MB of memory, %s, Kubernetes %s, %s, %s, %s in all%s.",
		r.Command, r.Started.Format("2006-01-02"), r.Machine.Cores, cmp.Or(r.Machine.CPU, "of an unknown kind"), r.Machine.MemoryMB,
		r.Machine.OS, r.Machine.Kubernetes, r.Machine.Go, words.Plural(r.Runs, "run"), words.Plural((r.Seconds+30)/60, "minute"), scale)
}

func (r report) asMarkdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n| row | what | target | measured | ratio | |\n|---|---|---|---|---|---|\n", r.circumstances())
	for _, row := range r.Rows {
		verdict := row.verdict()
		if !row.Met {
			verdict = "**" + strings.ToLower(verdict) + "**"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", row.Name, row.What, row.Target, row.Measured, row.ratio(), verdict)
	}
	return b.String()
}

// text is the table for a terminal.
func (r report) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s\n\n", strings.Join(words.Wrap(strings.NewReplacer("`", "", "**", "").Replace(r.circumstances()), 120), "\n"))
	line := func(name, verdict, ratio, target, measured string) {
		targets, measurements := words.Wrap(target, 38), words.Wrap(measured, 52)
		for i := range max(len(targets), len(measurements)) {
			cell := func(rows []string) string {
				if i < len(rows) {
					return rows[i]
				}
				return ""
			}
			row := fmt.Sprintf("%-11s %-7s %-5s %s %s", cell([]string{name}), cell([]string{verdict}), cell([]string{ratio}), words.Pad(cell(targets), 38), cell(measurements))
			b.WriteString(strings.TrimRight(row, " ") + "\n")
		}
	}
	line("ROW", "VERDICT", "RATIO", "TARGET", "MEASURED")
	for _, row := range r.Rows {
		line(row.Name, row.verdict(), row.ratio(), row.Target, row.Measured)
	}
	return b.String()
}
