package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestInstall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bin", "etcd")
	for _, content := range []string{"first", "second"} {
		err := install(path, func(partial string) error {
			if filepath.Dir(partial) != filepath.Dir(path) {
				t.Errorf("%s is not next to %s, so renaming it could fail", partial, path)
			}
			return os.WriteFile(partial, []byte(content), 0o755)
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("got %q, %v; want %q", got, err, content)
		}
	}
	wantFiles(t, filepath.Dir(path), "etcd")
}

func TestInstallLeavesNothingBehindOnFailure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etcd")
	failure := errors.New("interrupted")
	err := install(path, func(partial string) error {
		if err := os.WriteFile(partial, []byte("half"), 0o755); err != nil {
			t.Fatal(err)
		}
		wantFiles(t, filepath.Dir(path), filepath.Base(partial))
		return failure
	})
	if !errors.Is(err, failure) {
		t.Errorf("got error %v; want %v", err, failure)
	}
	wantFiles(t, filepath.Dir(path))
}

func TestInstallClearsAnEarlierAttempt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "module")
	leftover := filepath.Join(filepath.Dir(path), ".module.partial")
	if err := os.MkdirAll(filepath.Join(leftover, "old"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := install(path, func(partial string) error { return os.Mkdir(partial, 0o755) }); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, filepath.Dir(path), "module")
	wantFiles(t, path)
}

func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s has %q; want %q", dir, got, want)
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".lock")
	unlock, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}

	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := lock(short, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("locking it again: error %v; want %v", err, context.DeadlineExceeded)
	}

	unlock()
	unlock, err = lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestTranscript(t *testing.T) {
	var out transcript
	says := func(text, doing string) {
		t.Helper()
		fmt.Fprint(&out, text)
		if got := out.doing(); got != doing {
			t.Errorf("after %q: doing %q; want %q", text, got, doing)
		}
	}
	says("", "still busy")
	says("go: downloading k8s.io/api v0.37.2\n", "downloading modules")
	says("k8s.io/api/core/v1\nk8s.io/a", "1 packages compiled")
	says("pi/apps/v1\n", "2 packages compiled")
	says("# k8s.io/api\nbad.go:1:2: undefined: x\n", "2 packages compiled")
	says("exit", "2 packages compiled")
	if got, want := out.tail(), "# k8s.io/api\nbad.go:1:2: undefined: x\nexit"; got != want {
		t.Errorf("tail %q; want %q", got, want)
	}

	fmt.Fprint(&out, strings.Repeat("one more line\n", 3*tailLength))
	if got := strings.Count(out.tail(), "\n") + 1; got != tailLength {
		t.Errorf("tail of %d lines; want %d", got, tailLength)
	}
}

func TestExplain(t *testing.T) {
	failure := errors.New("exit status 1")
	err := explain("build", failure, "link: write a.out: no space left on device")
	for _, want := range []string{"the disk is full", "go build", "write a.out"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q; want %q in it", err, want)
		}
	}
	if !errors.Is(err, failure) {
		t.Errorf("error %q does not wrap its cause", err)
	}
	if got, want := explain("build", failure, "").Error(), "running go build: exit status 1"; got != want {
		t.Errorf("error %q; want %q", got, want)
	}
}

func TestGoCommand(t *testing.T) {
	out, err := goCommand(t.Context(), t.TempDir(), "version", "version")
	if err != nil || !strings.HasPrefix(out, "go version") {
		t.Errorf("got %q, %v; want Go's version", out, err)
	}
	if _, err = goCommand(t.Context(), t.TempDir(), "nothing", "no-such-command"); err == nil || !strings.Contains(err.Error(), "unknown command") {
		t.Errorf("got error %v; want what the go command said", err)
	}
	stopped, cancel := context.WithCancelCause(t.Context())
	cancel(errInterrupted)
	if _, err = goCommand(stopped, t.TempDir(), "version", "version"); !errors.Is(err, errInterrupted) {
		t.Errorf("got error %v; want %v", err, errInterrupted)
	}
}
