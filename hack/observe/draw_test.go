// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql"
)

// drawing is a picture of the dashboard: its panels where they are, each with the answers to its queries. It has the look of none of Grafana's
// themes, and of a panel's options those alone that change what it says.
type drawing struct {
	strings.Builder
	*cluster
	from, to time.Time
}

const (
	column, row = 50, 30 // the size of one unit of the dashboard's grid
	gap         = 4
)

var (
	palette = []string{"#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#c4162a"}
	colours = map[string]string{"green": "#56a64b", "yellow": "#c29b08", "red": "#e02f44", "blue": "#1f60c4"}
)

// box is a place in the picture.
type box struct{ x, y, w, h float64 }

func (c *cluster) draw(from, to time.Time) string {
	c.t.Helper()
	its, _ := readDashboard(c.t)
	d := &drawing{cluster: c, from: from, to: to}
	height := 0
	for _, p := range its.Panels {
		height = max(height, (p.GridPos.Y+p.GridPos.H)*row)
	}
	fmt.Fprintf(d, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d" font-family="Helvetica, Arial, sans-serif" font-size="12" fill="#ccccdc">`+"\n",
		24*column, height)
	fmt.Fprintf(d, `<rect width="%d" height="%d" fill="#111217"/>`+"\n", 24*column, height)
	for _, p := range its.Panels {
		b := box{float64(p.GridPos.X * column), float64(p.GridPos.Y * row), float64(p.GridPos.W * column), float64(p.GridPos.H * row)}
		if p.Type == "row" {
			d.text(b.x+8, b.y+20, `font-size="15" font-weight="bold"`, p.Title)
			continue
		}
		b = box{b.x + gap, b.y + gap, b.w - 2*gap, b.h - 2*gap}
		d.rect(b, "#1e2128")
		d.text(b.x+8, b.y+18, `font-weight="bold"`, p.Title)
		inner := box{b.x + 8, b.y + 28, b.w - 16, b.h - 34}
		switch p.Type {
		case "stat":
			d.stat(p, inner)
		case "table":
			d.table(p, inner)
		case "timeseries":
			d.graph(p, inner)
		case "state-timeline":
			d.timeline(p, inner)
		default:
			c.t.Errorf("%s: nobody knows how to draw a panel of type %s", p.Title, p.Type)
		}
	}
	d.WriteString("</svg>\n")
	return d.String()
}

func (d *drawing) text(x, y float64, attributes, content string) {
	fmt.Fprintf(d, `<text x="%.1f" y="%.1f" %s>%s</text>`+"\n", x, y, attributes, html.EscapeString(content))
}

func (d *drawing) rect(b box, colour string) {
	fmt.Fprintf(d, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", b.x, b.y, b.w, b.h, colour)
}

// stat is one value on a ground that says how bad it is.
func (d *drawing) stat(p panel, b box) {
	content, colour := p.FieldConfig.Defaults.NoValue, colours["green"]
	if shown := d.ask(p.Targets[0].Expr, d.to); len(shown) > 0 {
		content = written(p.FieldConfig.Defaults.Unit, shown[0].F)
		if text, _, found := mapped(p.FieldConfig.Defaults.Mappings, shown[0].F); found {
			content = text
		}
		for _, step := range p.FieldConfig.Defaults.Thresholds.Steps {
			if shown[0].F >= step.Value {
				colour = colours[step.Color]
			}
		}
	}
	d.rect(b, colour)
	d.text(b.x+b.w/2, b.y+b.h/2+12, `font-size="34" text-anchor="middle" fill="#ffffff"`, content)
}

// table has the labels of the answer in columns, under the names and in the order that the panel gives them.
func (d *drawing) table(p panel, b box) {
	organized := p.Transformations[0].Options
	var columns []string
	for name := range organized.IndexByName {
		columns = append(columns, name)
	}
	slices.SortFunc(columns, func(a, b string) int {
		return cmp.Compare(organized.IndexByName[a].(float64), organized.IndexByName[b].(float64))
	})
	width := b.w / float64(len(columns))
	for i, name := range columns {
		title, y := organized.RenameByName[name].(string), b.y+14
		d.text(b.x+width*float64(i), y, `fill="#6e9fff"`, title)
		for _, one := range d.ask(p.Targets[0].Expr, d.to) {
			if y += 22; y > b.y+b.h {
				break
			}
			content, colour := one.Metric.Get(name), "#ccccdc"
			if name == "Value" {
				content, colour = d.cell(p, title, one.F)
			}
			d.text(b.x+width*float64(i), y, `fill="`+colour+`"`, content)
		}
	}
}

// cell is how a column shows a value.
func (d *drawing) cell(p panel, title string, value float64) (content, colour string) {
	var unit string
	var mappings []mapping
	for _, override := range p.FieldConfig.Overrides {
		for _, property := range override.Properties {
			into, known := map[string]any{"unit": &unit, "mappings": &mappings}[property.ID]
			if override.Matcher.Options != title || !known {
				continue
			}
			if err := json.Unmarshal(property.Value, into); err != nil {
				d.t.Fatal(err)
			}
		}
	}
	if text, colour, found := mapped(mappings, value); found {
		return text, colour
	}
	return written(unit, value), "#ccccdc"
}

func mapped(mappings []mapping, value float64) (text, colour string, found bool) {
	for _, one := range mappings {
		if to, is := one.Options[strconv.FormatFloat(value, 'f', -1, 64)]; is {
			return to.Text, colours[to.Color], true
		}
	}
	return "", "", false
}

// written is a value in a unit of Grafana's.
func written(unit string, value float64) string {
	short := func(value float64, of string) string {
		digits := 0
		if math.Abs(value) < 100 && value != math.Trunc(value) {
			digits = 1
		}
		if math.Abs(value) < 1 && value != 0 {
			digits = 3
		}
		return strings.TrimSpace(strconv.FormatFloat(value, 'f', digits, 64) + " " + of)
	}
	switch {
	case unit == "s" && value != 0 && value < 1:
		return short(value*1000, "ms")
	case unit == "s" && value >= 60:
		return short(value/60, "min")
	case unit == "s":
		return short(value, "s")
	case unit == "bytes":
		return short(value/(1<<20), "MiB")
	case unit == "reqps" || unit == "ops":
		return short(value, "/s")
	default:
		return short(value, "")
	}
}

// curve is one of a graph.
type curve struct {
	name   string
	points []promql.FPoint
}

// curves are those of all queries of a panel. Where they are stacked, each has those below it in its values.
func (d *drawing) curves(p panel) []curve {
	var all []curve
	for _, target := range p.Targets {
		for _, one := range d.askRange(target.Expr, d.from, d.to, scrapeInterval) {
			name := legend.ReplaceAllStringFunc(target.LegendFormat, func(found string) string { return one.Metric.Get(legend.FindStringSubmatch(found)[1]) })
			all = append(all, curve{name, one.Floats})
		}
	}
	slices.SortStableFunc(all, func(a, b curve) int { return strings.Compare(a.name, b.name) })
	if p.FieldConfig.Defaults.Custom.Stacking.Mode == "normal" {
		below := map[int64]float64{}
		for _, one := range all {
			for i := range one.points {
				below[one.points[i].T] += one.points[i].F
				one.points[i].F = below[one.points[i].T]
			}
		}
	}
	return all
}

func (d *drawing) graph(p panel, b box) {
	all, top := d.curves(p), 0.0
	for _, one := range all {
		for _, point := range one.points {
			if !math.IsNaN(point.F) {
				top = max(top, point.F)
			}
		}
	}
	unit := 1.0
	if p.FieldConfig.Defaults.Unit == "bytes" {
		unit = 1 << 20
	}
	top = unit * roundedUp(top/unit)
	plot := box{b.x + 58, b.y + 2, b.w - 62, b.h - 48}
	for i := range 5 {
		y := plot.y + plot.h*float64(i)/4
		d.rect(box{plot.x, y, plot.w, 0.5}, "#44474f")
		d.text(plot.x-6, y+4, `text-anchor="end" font-size="10"`, written(p.FieldConfig.Defaults.Unit, top*float64(4-i)/4))
	}
	d.hours(plot)
	stacked := p.FieldConfig.Defaults.Custom.Stacking.Mode == "normal"
	for i, one := range slices.Backward(all) { // what is below is drawn over what is above
		d.curve(plot, one, top, palette[i%len(palette)], stacked)
	}
	d.legend(all, box{plot.x, plot.y + plot.h + 22, plot.w, 2 * 12})
}

// legend names curves. Those that have no room go without.
func (d *drawing) legend(all []curve, b box) {
	x, y := b.x, b.y
	for i, one := range all {
		width := 26 + 5.5*float64(len(one.name))
		if x > b.x && x+width > b.x+b.w {
			x, y = b.x, y+12
		}
		if y < b.y+b.h {
			d.rect(box{x, y, 10, 4}, palette[i%len(palette)])
			d.text(x+14, y+6, `font-size="10"`, one.name)
		}
		x += width
	}
}

// roundedUp is a number that four equal parts of are easy to read.
func roundedUp(top float64) float64 {
	if top <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(top)))
	for _, times := range []float64{1, 2, 4, 6, 8} {
		if times*unit >= top {
			return times * unit
		}
	}
	return 10 * unit
}

func (d *drawing) x(b box, at int64) float64 {
	return b.x + b.w*float64(at-d.from.UnixMilli())/float64(d.to.UnixMilli()-d.from.UnixMilli())
}

// hours writes the time below a plot.
func (d *drawing) hours(b box) {
	for at := d.from.Truncate(time.Minute).Add(time.Minute); at.Before(d.to); at = at.Add(3 * time.Minute) {
		d.text(d.x(b, at.UnixMilli()), b.y+b.h+14, `text-anchor="middle" font-size="10"`, at.UTC().Format("15:04"))
	}
}

// curve is a line, broken where there is nothing to say.
func (d *drawing) curve(b box, one curve, top float64, colour string, filled bool) {
	var points []string
	var first, last float64
	flush := func() {
		if len(points) > 0 {
			line := strings.Join(points, " ")
			if filled {
				fmt.Fprintf(d, `<polygon points="%.1f,%.1f %s %.1f,%.1f" fill="%s"/>`+"\n", first, b.y+b.h, line, last, b.y+b.h, colour)
			}
			fmt.Fprintf(d, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", line, colour)
		}
		points = nil
	}
	before := int64(0)
	for _, point := range one.points {
		if math.IsNaN(point.F) || point.T-before > scrapeInterval.Milliseconds() {
			flush()
		}
		if before = point.T; math.IsNaN(point.F) {
			continue
		}
		if last = d.x(b, point.T); len(points) == 0 {
			first = last
		}
		points = append(points, fmt.Sprintf("%.1f,%.1f", last, b.y+b.h*(1-point.F/top)))
	}
	flush()
}

// timeline has a bar for each answer, in the colours of its values.
func (d *drawing) timeline(p panel, b box) {
	all := d.curves(p)
	height := min(30, (b.h-20)/float64(max(1, len(all))))
	for i, one := range all {
		bar := box{b.x + 110, b.y + height*float64(i), b.w - 114, height - 4}
		d.text(b.x, bar.y+bar.h/2+4, `font-size="11"`, one.name)
		points := slices.CompactFunc(one.points, func(a, b promql.FPoint) bool { return a.F == b.F })
		for j, point := range points {
			end := d.to.UnixMilli()
			if j+1 < len(points) {
				end = points[j+1].T
			}
			_, colour, _ := mapped(p.FieldConfig.Defaults.Mappings, point.F)
			d.rect(box{d.x(bar, point.T), bar.y, d.x(bar, end) - d.x(bar, point.T), bar.h}, colour)
		}
	}
	d.hours(box{b.x + 110, b.y, b.w - 114, height * float64(len(all))})
}
