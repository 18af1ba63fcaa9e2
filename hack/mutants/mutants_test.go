// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"
)

// What they change has to be there, or they say nothing. make mutants, which takes minutes, does the rest.
func TestMutantsAreOfThisTree(t *testing.T) {
	t.Chdir("../..")
	for _, m := range mutants {
		source, err := os.ReadFile(m.file)
		if err != nil {
			t.Fatal(err)
		}
		if count := strings.Count(string(source), m.old); count != 1 {
			t.Errorf("%s: what it changes is in %s %d times", m.name, m.file, count)
		}
	}
}
