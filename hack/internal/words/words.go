// SPDX-License-Identifier: Apache-2.0

// Package words lays words out for terminals.
package words

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Pad fills a text up with spaces.
func Pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

// Wrap breaks a text at spaces into rows of at most so many runes; a longer word has a row to itself.
func Wrap(text string, width int) []string {
	rows := []string{""}
	for _, word := range strings.Fields(text) {
		row := &rows[len(rows)-1]
		switch {
		case *row == "":
			*row = word
		case utf8.RuneCountInString(*row)+1+utf8.RuneCountInString(word) <= width:
			*row += " " + word
		default:
			rows = append(rows, word)
		}
	}
	return rows
}

// Plural writes a number with its noun.
func Plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}
