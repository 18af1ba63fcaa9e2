// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The tree in docs/architecture.md is the real one: what it names is there, and it names every room of the operator.
func TestArchitectureShowsTheTree(t *testing.T) {
	page, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```\n")
	tree, _, found := strings.Cut(rest, "```\n")
	if !found {
		t.Fatal("the page has no tree")
	}
	var shown []string
	parent := ""
	for line := range strings.Lines(tree) {
		name := strings.Fields(line)[0]
		if strings.HasPrefix(line, "  ") {
			name = parent + name
		} else {
			parent = name
		}
		shown = append(shown, strings.TrimSuffix(name, "/"))
		if _, err := os.Stat(filepath.Join("..", name)); err != nil {
			t.Errorf("the page shows %s: %v", name, err)
		}
	}
	for _, parent := range []string{"controllers", "internal", "internal/reporter"} {
		entries, err := os.ReadDir(filepath.Join("..", parent))
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if path := filepath.Join(parent, entry.Name()); entry.IsDir() && entry.Name() != "testdata" && !slices.Contains(shown, path) {
				t.Errorf("the page does not show %s", path)
			}
		}
	}
}
