// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reporter-operator/reporter-operator/internal/testenv"
)

// version is one of the operator's, with its sources and its binary.
type version struct{ name, dir, manager string }

// The versions that are upgraded, by their commits, from the oldest on.
const (
	beforeDescribed = "5a7b3623" // knows connections by their ids alone
	beforeChart     = "aeba2308" // describes connections, and has no chart yet
)

// current is the version of this tree.
const current = ""

// build gets the sources of a version from the repository's history, and builds the operator.
func build(t *testing.T, commit string) version {
	t.Helper()
	root, err := testenv.ProjectRoot()
	if err != nil {
		t.Fatal(err)
	}
	v := version{name: commit, dir: root}
	if commit == current {
		v.name = "current"
	} else {
		if run(t, root, nil, "git", "rev-parse", "--is-shallow-repository") == "true\n" {
			t.Skip("this clone has no history to upgrade from: git fetch --unshallow")
		}
		v.dir = t.TempDir()
		run(t, v.dir, strings.NewReader(run(t, root, nil, "git", "archive", commit)), "tar", "-x")
	}
	v.manager = filepath.Join(t.TempDir(), "manager-"+v.name)
	run(t, v.dir, nil, "go", "build", "-o", v.manager, ".")
	return v
}

// run runs a program, and returns what it prints.
func run(t *testing.T, dir string, stdin *strings.Reader, name string, arguments ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, arguments...)
	command.Dir = dir
	if stdin != nil {
		command.Stdin = stdin
	}
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, arguments, err, stderr.String())
	}
	return string(output)
}
