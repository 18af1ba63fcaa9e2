// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/reporter-operator/reporter-operator/hack/internal/words"
)

// width is what the lines of this program fit in; what kubectl prints may be wider.
const width = 100

// tone is the style of a text on a terminal.
type tone string

const (
	plain   tone = ""
	strong  tone = "1"
	faint   tone = "2"
	good    tone = "32"
	waiting tone = "33"
	bad     tone = "31"
)

// screen prints for people. It is safe for concurrent use; one call is never torn apart by another.
type screen struct {
	mu     sync.Mutex
	out    io.Writer
	colour bool
	// broken is called when there is nobody left to print for.
	broken func(error)
}

func newScreen(out *os.File, broken func(error)) *screen {
	info, err := out.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &screen{out: out, broken: broken, colour: terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

func (s *screen) print(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := io.WriteString(s.out, text); err != nil && s.broken != nil {
		s.broken(err)
	}
}

func (s *screen) paint(t tone, text string) string {
	if !s.colour || t == plain || text == "" {
		return text
	}
	return "\x1b[" + string(t) + "m" + text + "\x1b[0m"
}

// title opens a part of the play.
func (s *screen) title(text string) {
	s.print("\n" + s.paint(strong, "==> "+text) + "\n")
}

// say prints a paragraph.
func (s *screen) say(format string, args ...any) {
	s.print(strings.Join(words.Wrap(fmt.Sprintf(format, args...), width), "\n") + "\n")
}

// command prints a command as it would be typed, with what it reads, and what it printed.
func (s *screen) command(line, stdin, output string) {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s", s.paint(strong, "$ "+line))
	if stdin != "" {
		fmt.Fprintf(&b, "%s\n%s\n%s", s.paint(strong, " <<EOF"), s.paint(faint, strings.TrimSpace(stdin)), s.paint(strong, "EOF"))
	}
	fmt.Fprintf(&b, "\n%s\n", strings.TrimRight(output, "\n"))
	s.print(b.String())
}

// line is one line of a timeline: when, about which resource, where it was seen and what.
type line struct {
	at               time.Time
	who, where, what string
	tone             tone
}

// Columns of a timeline.
const (
	whenWidth  = 8
	whoWidth   = 11
	whereWidth = 10
	whatIndent = whenWidth + 2 + whoWidth + 2 + whereWidth + 2
)

func (s *screen) timelineHead(when string) {
	s.print(s.paint(faint, fmt.Sprintf("%*s  %-*s  %-*s  %s", whenWidth, when, whoWidth, "RESOURCE", whereWidth, "SEEN IN", "WHAT")) + "\n")
}

func (s *screen) timelineLine(when string, l line) {
	rows := words.Wrap(l.what, width-whatIndent)
	var b strings.Builder
	fmt.Fprintf(&b, "%*s  %s  %-*s  %s\n", whenWidth, when, s.paint(strong, words.Pad(l.who, whoWidth)), whereWidth, l.where, s.paint(l.tone, rows[0]))
	for _, row := range rows[1:] {
		fmt.Fprintf(&b, "%*s%s\n", whatIndent, "", s.paint(l.tone, row))
	}
	s.print(b.String())
}

// table prints rows in columns; the first row is the head.
func (s *screen) table(rows [][]string, toneOf func(row int) tone) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for n, row := range rows {
		var text strings.Builder
		for i, cell := range row {
			text.WriteString(words.Pad(cell, widths[i]) + "  ")
		}
		b.WriteString(s.paint(toneOf(n), strings.TrimRight(text.String(), " ")) + "\n")
	}
	s.print(b.String())
}
