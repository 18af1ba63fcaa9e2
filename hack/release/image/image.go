// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user is who the operator runs as, by number, as runAsNonRoot cannot check a name.
const user = "65532:65532"

// epoch is the time of everything in the image, so that it does not depend on when it is built.
var epoch = time.Unix(0, 0).UTC()

// file is one in a tar archive: a directory, if it has no content.
type file struct {
	name    string
	content []byte
	mode    int64
}

// base is what a static program needs around itself to speak TLS, and to have a name.
func base() []file {
	return []file{
		{name: "etc/", mode: 0o755},
		{name: "etc/group", content: []byte("nonroot:x:65532:\n"), mode: 0o644},
		{name: "etc/passwd", content: []byte("nonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"), mode: 0o644},
		{name: "etc/ssl/", mode: 0o755},
		{name: "etc/ssl/certs/", mode: 0o755},
		{name: "etc/ssl/certs/ca-certificates.crt", content: authorities(), mode: 0o644},
	}
}

// authorities are those that Mozilla trusts, without those that it trusts under a condition, which a file cannot express.
func authorities() []byte {
	var all bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			all.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	return all.Bytes()
}

// assemble makes one image for several architectures, of the compiled operator for each.
func assemble(version string, binaries map[string][]byte, architectures []string) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, architecture := range architectures {
		image, err := imageOf(version, binaries[architecture], architecture)
		if err != nil {
			return nil, fmt.Errorf("assembling the image for %s: %w", architecture, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}}})
	}
	return index, nil
}

func imageOf(version string, binary []byte, architecture string) (v1.Image, error) {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.ConfigFile(image, &v1.ConfigFile{
		OS: "linux", Architecture: architecture, Created: v1.Time{Time: epoch}, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			User: user, Entrypoint: []string{"/manager"}, WorkingDir: "/", Env: []string{"PATH=/"},
			Labels: map[string]string{
				"org.opencontainers.image.title":    "reporter-operator",
				"org.opencontainers.image.version":  version,
				"org.opencontainers.image.licenses": "Apache-2.0",
			},
		},
	})
	if err != nil {
		return nil, err
	}
	// The operator has a layer of its own: the other one is the same from version to version.
	for _, layer := range []struct {
		of    string
		files []file
	}{{"authorities and the user", base()}, {"the operator", []file{{name: "manager", content: binary, mode: 0o755}}}} {
		if image, err = appendLayer(image, layer.of, layer.files); err != nil {
			return nil, err
		}
	}
	return image, nil
}

func appendLayer(image v1.Image, of string, files []file) (v1.Image, error) {
	var archive bytes.Buffer
	if err := writeTar(&archive, files); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
	if err != nil {
		return nil, err
	}
	return mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "hack/release/image: " + of}})
}

func writeTar(to io.Writer, files []file) error {
	archive := tar.NewWriter(to)
	for _, f := range files {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.content)), ModTime: epoch, Format: tar.FormatPAX}
		if f.content == nil {
			header.Typeflag = tar.TypeDir
		}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(f.content); err != nil {
			return err
		}
	}
	return archive.Close()
}

// save writes an image as an archive of the OCI image layout, under a name that whoever loads it may give it.
func save(index v1.ImageIndex, name, path string) error {
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what the machine keeps of it is its own affair
	at, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	if err := at.AppendIndex(index, layout.WithAnnotations(map[string]string{"io.containerd.image.name": name})); err != nil {
		return err
	}
	var files []file
	err = fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if entry.IsDir() {
			files = append(files, file{name: name + "/", mode: 0o755})
			return nil
		}
		content, err := os.ReadFile(filepath.Join(dir, name)) //nolint:gosec // just written
		files = append(files, file{name: name, content: content, mode: 0o644})
		return err
	})
	if err != nil {
		return err
	}
	archive, err := os.Create(path) //nolint:gosec // where the user says
	if err != nil {
		return err
	}
	err = writeTar(archive, files)
	if closing := archive.Close(); err == nil {
		err = closing
	}
	return err
}
