// SPDX-License-Identifier: Apache-2.0

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// A mutant that matches nothing, and one whose killer is no test, would prove nothing. make mutants, which takes minutes, does the rest.
func TestMutantsAreOfThisTree(t *testing.T) {
	tree, names, tests := newTree("../.."), map[string]bool{}, map[string][]string{}
	for _, m := range mutants {
		if names[m.name] {
			t.Errorf("%s: there is another of this name", m.name)
		}
		names[m.name] = true
		if _, err := tree.apply(m.in, m.change); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		if _, found := tests[m.killer.pkg]; !found {
			tests[m.killer.pkg] = testsIn(t, filepath.Join("../..", m.killer.pkg))
		}
		if !slices.ContainsFunc(tests[m.killer.pkg], regexp.MustCompile(m.killer.run).MatchString) {
			t.Errorf("%s: no test matches %s", m.name, m.killer)
		}
	}
}

func testsIn(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			if function, ok := declaration.(*ast.FuncDecl); ok && function.Recv == nil {
				names = append(names, function.Name.Name)
			}
		}
	}
	return names
}
