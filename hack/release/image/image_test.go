// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/x509"
	"debug/elf"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
	"github.com/reporter-operator/reporter-operator/internal/testenv"
)

// sources are what the operator is compiled from.
var sources = []string{"go.mod", "go.sum", "main.go", "api", "controllers", "internal"}

// built runs the command and returns what it prints.
func built(t *testing.T, arguments ...string) string {
	t.Helper()
	stdout, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	if err := run(t.Context(), append([]string{"-version", "v0.0.1", "-root", "../../.."}, arguments...), stdout); err != nil {
		t.Fatal(err)
	}
	printed, err := os.ReadFile(stdout.Name())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(printed))
}

// The image is pushed to a registry and pulled from there, as a cluster would.
func TestImageOnControlPlane(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	repository := strings.TrimPrefix(server.URL, "http://") + "/reporter-operator"
	archive := filepath.Join(t.TempDir(), "image.tar")
	printed := built(t, "-name", repository+":v0.0.1", "-push", "-output", archive)
	if !strings.HasPrefix(printed, repository+"@sha256:") {
		t.Fatalf("printed %q", printed)
	}
	byDigest, err := name.ParseReference(printed)
	if err != nil {
		t.Fatal(err)
	}
	for _, architecture := range []string{"amd64", "arm64"} {
		image, err := remote.Image(byDigest, remote.WithContext(t.Context()), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: architecture}))
		if err != nil {
			t.Fatal(err)
		}
		t.Run("is for "+architecture, func(t *testing.T) { checkContents(t, image, architecture) })
	}
	t.Run("is in the archive too", func(t *testing.T) { checkArchive(t, archive, printed) })
	t.Run("has the same digest when it is built elsewhere, at another time", func(t *testing.T) {
		elsewhere := t.TempDir()
		for _, source := range sources {
			if output, err := exec.CommandContext(t.Context(), "cp", "-r", filepath.Join("../../..", source), elsewhere).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, output)
			}
		}
		if again := built(t, "-name", repository+":v0.0.1", "-root", elsewhere); again != printed {
			t.Errorf("%s, and %s elsewhere", printed, again)
		}
	})
	t.Run("runs as its user against a control plane, with nothing but what is in it", func(t *testing.T) {
		image, err := remote.Image(byDigest, remote.WithContext(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		runUnpacked(t, image)
	})
}

// unpack writes the image's files to a directory and returns their names.
func unpack(t *testing.T, image v1.Image, dir string) []string {
	t.Helper()
	stream := mutate.Extract(image)
	defer stream.Close()
	var names []string
	for archive := tar.NewReader(stream); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, strings.TrimSuffix(header.Name, "/"))
		path := filepath.Join(dir, filepath.Clean("/"+header.Name))
		if header.Typeflag == tar.TypeDir {
			if err := os.Mkdir(path, header.FileInfo().Mode().Perm()); err != nil {
				t.Fatal(err)
			}
			continue
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, header.FileInfo().Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
}

func checkContents(t *testing.T, image v1.Image, architecture string) {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != "linux" || config.Architecture != architecture || config.Config.User != "65532:65532" || !slices.Equal(config.Config.Entrypoint, []string{"/manager"}) {
		t.Errorf("its configuration is %+v", config)
	}
	dir := t.TempDir()
	names := unpack(t, image, dir)
	slices.Sort(names)
	if want := []string{"etc", "etc/group", "etc/passwd", "etc/ssl", "etc/ssl/certs", "etc/ssl/certs/ca-certificates.crt", "manager"}; !slices.Equal(names, want) {
		t.Errorf("it has %q, want %q", names, want)
	}
	binary, err := elf.Open(filepath.Join(dir, "manager"))
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()
	if machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[architecture]; binary.Machine != machine {
		t.Errorf("its binary is for %s", binary.Machine)
	}
	if slices.ContainsFunc(binary.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		t.Error("its binary is linked with libraries that are not there")
	}
	authorities, err := os.ReadFile(filepath.Join(dir, "etc/ssl/certs/ca-certificates.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authorities) || bytes.Count(authorities, []byte("BEGIN CERTIFICATE")) < 100 {
		t.Error("it trusts too few authorities")
	}
}

// checkArchive looks for the image's manifest, whose name in the archive is its digest.
func checkArchive(t *testing.T, path, image string) {
	t.Helper()
	archive, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	var names []string
	reader := tar.NewReader(archive)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
	}
	_, digest, _ := strings.Cut(image, "@sha256:")
	for _, want := range []string{"oci-layout", "index.json", "blobs/sha256/" + digest} {
		if !slices.Contains(names, want) {
			t.Errorf("it has %q, and no %s", names, want)
		}
	}
}

// runUnpacked runs the image's entry point. Root can become another user and leave the rest of the machine's files behind; others run it as
// they are.
func runUnpacked(t *testing.T, image v1.Image) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	world := testenv.StartFor(t, testenv.Start)
	root := t.TempDir()
	unpack(t, image, root)
	kubeconfig, err := world.OperatorKubeconfig(ctx)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "kubeconfig"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	inImage := func(ctx context.Context, arguments ...string) *exec.Cmd {
		if os.Geteuid() != 0 {
			command := exec.CommandContext(ctx, filepath.Join(root, "manager"), arguments...)
			command.Env = []string{"KUBECONFIG=" + filepath.Join(root, "kubeconfig")}
			return command
		}
		command := exec.CommandContext(ctx, "/manager", arguments...)
		command.Env, command.Dir = []string{"KUBECONFIG=/kubeconfig"}, "/"
		command.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
		return command
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	version, err := inImage(ctx, "--version").CombinedOutput()
	if want := regexp.MustCompile(`^reporter-operator v0\.0\.1\ngo1\S+ linux/amd64\nk8s.io/client-go v\S+\nsigs.k8s.io/controller-runtime v\S+\n$`); err != nil || !want.Match(version) {
		t.Errorf("--version: %v: %s", err, version)
	}

	running, stop := context.WithCancel(ctx)
	operator := inImage(running, "--health-probe-bind-address=0", "--allow-loopback-endpoints")
	var output bytes.Buffer
	operator.Stdout, operator.Stderr = &output, &output
	if err := operator.Start(); err != nil {
		t.Fatal(err)
	}
	endpoint := &v1alpha1.ReporterEndpoint{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "default"},
		Spec:       v1alpha1.ReporterEndpointSpec{URL: v1alpha1.BaseURL(reportertest.Serve(t, reportertest.New()).URL)},
	}
	if err := world.Create(ctx, endpoint); err != nil {
		t.Fatal(err)
	}
	err = wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		err := world.Get(ctx, client.ObjectKeyFromObject(endpoint), endpoint)
		return slices.ContainsFunc(endpoint.Status.Conditions, func(c metav1.Condition) bool { return c.Type == "Ready" && c.Reason == "Available" }), err
	})
	stop()
	if ended := operator.Wait(); err != nil {
		t.Errorf("the endpoint does not become Ready: %v; %v: %s", err, ended, output.String())
	}
}
