// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

type dashboard struct {
	Templating struct {
		List []struct {
			Name  string
			Type  string
			Query json.RawMessage
		}
	}
	Panels []panel
}

type panel struct {
	ID              int
	Type, Title     string
	GridPos         struct{ X, Y, W, H int }
	Targets         []struct{ Expr, LegendFormat string }
	Transformations []struct {
		Options struct {
			IndexByName, RenameByName map[string]any
		}
	}
	FieldConfig struct {
		Defaults struct {
			Unit, NoValue string
			Thresholds    struct {
				Steps []struct {
					Color string
					Value float64
				}
			}
			Mappings []mapping
			Custom   struct{ Stacking struct{ Mode string } }
		}
		Overrides []struct {
			Matcher    struct{ Options string }
			Properties []struct {
				ID    string
				Value json.RawMessage
			}
		}
	}
}

// mapping has the texts and colours of values.
type mapping struct {
	Options map[string]struct{ Text, Color string }
}

func readDashboard(t *testing.T) (d dashboard, text string) {
	t.Helper()
	content, err := os.ReadFile("../../config/grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Panels) == 0 {
		t.Fatal("there is no panel")
	}
	return d, string(content)
}

var (
	legend   = regexp.MustCompile(`\{\{(\w+)\}\}`)
	variable = regexp.MustCompile(`\$\{?(\w+)`)
	valuesOf = regexp.MustCompile(`label_values\((\w+), (\w+)\)`)
)

// The dashboard asks for metrics and labels that the operator shows, and shows columns that the answers have.
func TestDashboardAsksForWhatThereIs(t *testing.T) {
	c := newChecker(t)
	d, text := readDashboard(t)
	variables := []string{"__rate_interval", "__all"}
	for _, one := range d.Templating.List {
		variables = append(variables, one.Name)
		if one.Type != "query" {
			continue
		}
		asked := valuesOf.FindStringSubmatch(string(one.Query))
		if asked == nil || !slices.Contains(c.known[asked[1]], asked[2]) {
			t.Errorf("the variable %s asks for %s", one.Name, one.Query)
		}
	}
	for _, used := range variable.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(variables, used[1]) {
			t.Errorf("there is no variable %s", used[1])
		}
	}
	for _, p := range d.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%s asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			wrong, its := c.check(strings.ReplaceAll(target.Expr, "$__rate_interval", "5m"))
			for _, complaint := range wrong {
				t.Errorf("%s: %s", p.Title, complaint)
			}
			for _, named := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
				if !slices.Contains(its, named[1]) {
					t.Errorf("%s: the legend names a label %s", p.Title, named[1])
				}
			}
			checkColumns(t, p, append(its, "Value"))
		}
	}
}

func checkColumns(t *testing.T, p panel, its []string) {
	t.Helper()
	var shown []string
	for _, transformation := range p.Transformations {
		for _, names := range []map[string]any{transformation.Options.IndexByName, transformation.Options.RenameByName} {
			for name := range names {
				if !slices.Contains(its, name) {
					t.Errorf("%s: there is no column %s", p.Title, name)
				}
			}
		}
		for _, name := range transformation.Options.RenameByName {
			shown = append(shown, name.(string))
		}
	}
	for _, override := range p.FieldConfig.Overrides {
		if !slices.Contains(shown, override.Matcher.Options) {
			t.Errorf("%s: there is no column %s to format", p.Title, override.Matcher.Options)
		}
	}
}

// No panel lies over another one, and none has the id of another one.
func TestDashboardIsLaidOut(t *testing.T) {
	d, _ := readDashboard(t)
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%q lies over %q at %d, %d", p.Title, other, x, y)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

// Whoever looks finds which deletion has waited longest, and for what.
func TestDashboardNamesTheLongestWait(t *testing.T) {
	d, _ := readDashboard(t)
	for _, p := range d.Panels {
		if p.Type == "table" && len(p.Targets) == 1 && strings.HasPrefix(p.Targets[0].Expr, "sort_desc(time() - min by (connection_namespace, connection_name, reason, ") {
			return
		}
	}
	t.Error("no table names it")
}
