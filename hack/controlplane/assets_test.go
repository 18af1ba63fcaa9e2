package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// assetsDir makes a directory with executables of the given names.
func assetsDir(t *testing.T, names ...string) string {
	dir := t.TempDir()
	for _, name := range names {
		script := "#!/bin/sh\necho Kubernetes v1.36.1\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCheckAssets(t *testing.T) {
	for name, c := range map[string]struct {
		programs []string
		lacksKCM bool
	}{
		"all four":          {[]string{"etcd", "kube-apiserver", "kubectl", "kube-controller-manager"}, false},
		"envtest's archive": {[]string{"etcd", "kube-apiserver", "kubectl"}, true},
	} {
		lacksKCM, err := checkAssets(assetsDir(t, c.programs...))
		if err != nil || lacksKCM != c.lacksKCM {
			t.Errorf("%s: lacks the controller manager: %t, %v; want %t", name, lacksKCM, err, c.lacksKCM)
		}
	}
}

func TestCheckAssetsNamesWhatIsMissing(t *testing.T) {
	dir := assetsDir(t, "etcd", "kubectl")
	if err := os.Chmod(filepath.Join(dir, "etcd"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "kube-apiserver"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := checkAssets(dir)
	if err == nil || !strings.Contains(err.Error(), "no executable etcd, kube-apiserver;") {
		t.Errorf("got error %v; want one that names etcd and kube-apiserver only", err)
	}
}

func TestCheckAssetsRefusesRelativePath(t *testing.T) {
	t.Chdir(filepath.Dir(assetsDir(t, "etcd", "kube-apiserver", "kubectl")))
	if _, err := checkAssets("001"); err == nil || !strings.Contains(err.Error(), "absolute") {
		t.Errorf("got error %v; want one that asks for an absolute path", err)
	}
}

func TestAssetsVersion(t *testing.T) {
	v, err := assetsVersion(t.Context(), assetsDir(t, "kube-apiserver"))
	if err != nil || v != "v1.36.1" {
		t.Errorf("got %q, %v; want v1.36.1", v, err)
	}
}
