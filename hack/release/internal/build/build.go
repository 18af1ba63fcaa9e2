// SPDX-License-Identifier: Apache-2.0

// Package build compiles the project's programs for a release: static, and the same bytes from the same sources, wherever these lie.
package build

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Architectures are those that a release is for. Its system is linux.
var Architectures = []string{"amd64", "arm64"}

// Program is one to compile.
type Program struct {
	// Module is the directory of the program's Go module, and Package the directory of its main package in there.
	Module, Package string
	// Version is what the program says of itself, in its variable main.version.
	Version string
}

// Compile compiles a program for linux and an architecture, and writes it to a file.
func (p Program) Compile(ctx context.Context, architecture, file string) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	// The digest must not depend on where the sources are, nor on what the machine's git says about them.
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -X 'main.version="+p.Version+"'", "-o", file, p.Package) //nolint:gosec // ours
	command.Dir = p.Module
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+architecture, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=-mod=readonly", "GOWORK=off")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("compiling %s for %s: %w\n%s", p.Package, architecture, err, output)
	}
	return nil
}
