// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/v2/loader"

	"github.com/reporter-operator/reporter-operator/internal/testenv"
)

const image = "registry.example.com/reporter-operator@sha256:0123456789012345678901234567890123456789012345678901234567890123"

func TestReleaseOnControlPlane(t *testing.T) {
	output := filepath.Join(t.TempDir(), "dist")
	arguments := []string{"-version", "v0.0.1", "-image", image, "-output", output}
	if err := run(t.Context(), arguments); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(output)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		names = append(names, file.Name())
	}
	want := []string{"checksums.txt", "crds.yaml", "install-before-1.36.yaml", "install.yaml", "kubectl-reporter-linux-amd64", "kubectl-reporter-linux-arm64",
		"manager-linux-amd64", "manager-linux-arm64", "reporter-operator-0.0.1.tgz"}
	if !slices.Equal(names, want) {
		t.Errorf("it has %q, want %q", names, want)
	}
	t.Run("has the checksum of every other file", func(t *testing.T) { checkChecksums(t, output, names) })
	t.Run("has the chart of its version", func(t *testing.T) {
		chart, err := loader.LoadFile(filepath.Join(output, "reporter-operator-0.0.1.tgz"))
		if err != nil || chart.Metadata.Version != "0.0.1" || chart.Metadata.AppVersion != "0.0.1" {
			t.Errorf("%v: %+v", err, chart.Metadata)
		}
	})
	t.Run("has a program that tells its version", func(t *testing.T) {
		said, err := exec.CommandContext(t.Context(), filepath.Join(output, "manager-linux-"+runtime.GOARCH), "--version").Output()
		if err != nil || !strings.HasPrefix(string(said), "reporter-operator v0.0.1\n") {
			t.Errorf("%v: %s", err, said)
		}
	})
	t.Run("has manifests that install its image", func(t *testing.T) { checkManifests(t, output) })
	t.Run("is not mixed with another", func(t *testing.T) {
		if err := run(t.Context(), arguments); err == nil || !strings.Contains(err.Error(), "is not empty") {
			t.Errorf("a second time: %v", err)
		}
	})
}

func checkChecksums(t *testing.T, output string, names []string) {
	t.Helper()
	checksums, err := os.ReadFile(filepath.Join(output, "checksums.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, name := range names {
		if name == "checksums.txt" {
			continue
		}
		content, err := os.ReadFile(filepath.Join(output, name))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&want, "%x  %s\n", sha256.Sum256(content), name)
	}
	if string(checksums) != want.String() {
		t.Errorf("it says\n%s\nand they are\n%s", checksums, want.String())
	}
}

func checkManifests(t *testing.T, output string) {
	t.Helper()
	world := testenv.StartFor(t, testenv.StartBare)
	kubectl := func(arguments ...string) string {
		t.Helper()
		said, err := world.Kubectl(t.Context(), "", arguments...)
		if err != nil {
			t.Fatal(err)
		}
		return said
	}
	kubectl("apply", "-f", filepath.Join(output, "crds.yaml"))
	kubectl("apply", "-f", filepath.Join(output, "install-before-1.36.yaml"))
	if world.Mutates {
		if policies := kubectl("get", "mutatingadmissionpolicies", "-o", "name"); policies != "" {
			t.Errorf("the manifest for an older Kubernetes has %s", policies)
		}
		kubectl("apply", "-f", filepath.Join(output, "install.yaml"))
		if policies := kubectl("get", "mutatingadmissionpolicies", "-o", "name"); strings.Count(policies, "\n") != 3 {
			t.Errorf("the manifest has %q", policies)
		}
	}
	said := kubectl("get", "deployment", "--namespace=reporter-operator-system", "-o=jsonpath={.items[*].spec.template.spec.containers[*].image} {.items[*].metadata.labels.app\\.kubernetes\\.io/version}")
	if said != image+" v0.0.1" {
		t.Errorf("it installs %s", said)
	}
}

func TestWhatCannotBeReleased(t *testing.T) {
	for want, arguments := range map[string][]string{
		`"" is no version like v0.1.0`:      {"-image", image},
		`"0.1.0" is no version like v0.1.0`: {"-version", "0.1.0", "-image", image},
		`is no image with a digest`:         {"-version", "v0.1.0", "-image", "registry.example.com/reporter-operator:v0.1.0"},
	} {
		if err := run(t.Context(), append(arguments, "-output", t.TempDir())); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", arguments, err, want)
		}
	}
}
