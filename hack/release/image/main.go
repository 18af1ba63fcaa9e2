// SPDX-License-Identifier: Apache-2.0

// Command image builds the operator's container image for linux/amd64 and linux/arm64, without a container engine, writes it to an archive, and
// pushes it to a registry:
//
//	go -C hack/release run ./image -version v0.1.0 -output ../../bin/image.tar
//	go -C hack/release run ./image -version v0.1.0 -name registry.example.com/reporter-operator:v0.1.0 -push
//
// Two builds of the same sources, by the same Go, have the same digest. It is printed on standard output, after the name.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/reporter-operator/reporter-operator/hack/release/internal/build"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to stop
	}
}

func run(ctx context.Context, arguments []string, stdout *os.File) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	root := flags.String("root", "../..", "Directory of the operator's sources.")
	version := flags.String("version", "(devel)", "What the operator says with --version.")
	image := flags.String("name", "controller:latest", "Name of the image.")
	output := flags.String("output", "", "File to write the image to, as an archive of the OCI image layout.")
	push := flags.Bool("push", false, "Push the image to the registry of its name, with the credentials that `docker login` and the like have stored.")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	reference, err := name.ParseReference(*image)
	if err != nil {
		return fmt.Errorf("reading the name: %w", err)
	}
	index, err := compiled(ctx, *root, *version)
	if err != nil {
		return err
	}
	if *output != "" {
		if err := save(index, reference.Name(), *output); err != nil {
			return fmt.Errorf("writing the archive: %w", err)
		}
	}
	if *push {
		if err := remote.WriteIndex(reference, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
			return fmt.Errorf("pushing the image: %w", err)
		}
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, reference.Context().Digest(digest.String()).Name())
	return err
}

// compiled is the image of the operator, compiled from the sources below root.
func compiled(ctx context.Context, root, version string) (v1.ImageIndex, error) {
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what the machine keeps of it is its own affair
	operator := build.Program{Module: root, Package: ".", Version: version}
	binaries := map[string][]byte{}
	for _, architecture := range build.Architectures {
		path := filepath.Join(dir, architecture)
		if err := operator.Compile(ctx, architecture, path); err != nil {
			return nil, err
		}
		if binaries[architecture], err = os.ReadFile(path); err != nil { //nolint:gosec // just written
			return nil, err
		}
	}
	return assemble(version, binaries, build.Architectures)
}
