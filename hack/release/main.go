// SPDX-License-Identifier: Apache-2.0

// Command release writes what is published of a version to a directory: one manifest to install the operator with, the CRDs, the chart, the
// programs for linux/amd64 and linux/arm64, the image, and the checksums of all.
//
//	go -C hack/release run . -version v0.1.0 -image registry.example.com/reporter-operator@sha256:… -output ../../dist
//
// The image has to be built before: its name, with its digest, is what the manifest installs.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/reporter-operator/reporter-operator/hack/release/chart"
	"github.com/reporter-operator/reporter-operator/hack/release/internal/build"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// release is what is published of a version.
type release struct {
	// root and output are the directories of the sources and of what is written.
	root, output string
	// version is like v0.1.0, and image the name of the image, with its digest.
	version, image string
}

func run(ctx context.Context, arguments []string) error {
	var r release
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.StringVar(&r.root, "root", "../..", "Directory of the project.")
	flags.StringVar(&r.output, "output", "../../dist", "Directory to write to. It must be empty, or not be there.")
	flags.StringVar(&r.version, "version", "", "The version, such as v0.1.0.")
	flags.StringVar(&r.image, "image", "", "Name of the image to install, with its digest.")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{r.writeManifests, r.writeChart, r.writePrograms, r.writeChecksums} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// check says what cannot be released, and makes the directory to write to.
func (r *release) check() error {
	if !regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`).MatchString(r.version) {
		return fmt.Errorf("%q is no version like v0.1.0", r.version)
	}
	if !strings.Contains(r.image, "@sha256:") {
		return fmt.Errorf("%q is no image with a digest", r.image)
	}
	if err := os.MkdirAll(r.output, 0o755); err != nil { //nolint:gosec // for everybody
		return err
	}
	there, err := os.ReadDir(r.output)
	if err != nil {
		return err
	}
	for _, entry := range there {
		if entry.Name() != "image.tar" {
			return fmt.Errorf("%s is not empty: it has %s, which may be of another version", r.output, entry.Name())
		}
	}
	return nil
}

// writeManifests writes what `kubectl apply` installs, for both ages of Kubernetes, and the CRDs alone.
func (r *release) writeManifests(context.Context) error {
	for file, base := range map[string]string{"install.yaml": "default", "install-before-1.36.yaml": "default-before-1.36", "crds.yaml": "crd"} {
		manifest, err := r.kustomized(base)
		if err != nil {
			return fmt.Errorf("building config/%s: %w", base, err)
		}
		if err := os.WriteFile(filepath.Join(r.output, file), manifest, 0o644); err != nil { //nolint:gosec // for everybody
			return err
		}
	}
	return nil
}

// kustomized builds a directory of config/ with the image of the release, without a change to the tree.
func (r *release) kustomized(base string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "release-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what the machine keeps of it is its own affair
	config, err := filepath.Abs(filepath.Join(r.root, "config", base))
	if err != nil {
		return nil, err
	}
	if config, err = filepath.Rel(dir, config); err != nil {
		return nil, err
	}
	name, digest, _ := strings.Cut(r.image, "@")
	kustomization, err := yaml.Marshal(types.Kustomization{
		Resources: []string{config}, Images: []types.Image{{Name: "controller", NewName: name, Digest: digest}},
		Labels: []types.Label{{Pairs: map[string]string{"app.kubernetes.io/version": r.version}}},
	})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), kustomization, 0o600); err != nil {
		return nil, err
	}
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionLegacy // namespaces first, as `kubectl apply` goes from top to bottom
	built, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, err
	}
	return built.AsYaml()
}

func (r *release) writeChart(context.Context) error {
	if _, err := chart.Package(filepath.Join(r.root, "charts", "reporter-operator"), strings.TrimPrefix(r.version, "v"), r.output); err != nil {
		return fmt.Errorf("packaging the chart: %w", err)
	}
	return nil
}

// writePrograms compiles what people run.
func (r *release) writePrograms(ctx context.Context) error {
	for name, program := range map[string]build.Program{
		"manager":          {Module: r.root, Package: ".", Version: r.version},
		"kubectl-reporter": {Module: filepath.Join(r.root, "cmd", "kubectl-reporter"), Package: ".", Version: r.version},
	} {
		for _, architecture := range build.Architectures {
			if err := program.Compile(ctx, architecture, filepath.Join(r.output, name+"-linux-"+architecture)); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeChecksums writes those of all files, in the form that sha256sum --check reads.
func (r *release) writeChecksums(context.Context) (err error) {
	files, err := os.ReadDir(r.output)
	if err != nil {
		return err
	}
	var checksums strings.Builder
	for _, file := range files {
		sum, err := checksum(filepath.Join(r.output, file.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&checksums, "%x  %s\n", sum, file.Name())
	}
	return os.WriteFile(filepath.Join(r.output, "checksums.txt"), []byte(checksums.String()), 0o644) //nolint:gosec // for everybody
}

func checksum(path string) (sum []byte, err error) {
	file, err := os.Open(path) //nolint:gosec // just written
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	_, err = io.Copy(hash, file)
	return hash.Sum(nil), errors.Join(err, file.Close())
}
