package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	heartbeat  = 30 * time.Second
	tailLength = 30 // lines of a failed command's output
)

// goCommand runs the go command in dir and returns its standard output. Every
// now and then it says that the work on the subject goes on; the output of the
// command itself is only shown, from its end, when it fails.
func goCommand(ctx context.Context, dir, subject string, args ...string) (string, error) {
	// An interrupted go command leaves its temporary files, gigabytes of them.
	tmp, err := os.MkdirTemp(os.Getenv("GOTMPDIR"), "controlplane-")
	if err != nil {
		return "", fmt.Errorf("making a folder for temporary files: %w", err)
	}
	defer os.RemoveAll(tmp)

	var stdout bytes.Buffer
	var output transcript
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOTMPDIR="+tmp)
	cmd.Stdout, cmd.Stderr = &stdout, &output
	// A process group of its own lets the go command and all the compilers that
	// it started be ended together. They write their caches so that they may be.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

	start := time.Now()
	if err := cmd.Start(); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", fmt.Errorf("starting the go command: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-beat.C:
			log.Printf("%s: %s after %s", subject, output.doing(), time.Since(start).Round(time.Second))
		case err := <-ended:
			if ctx.Err() != nil {
				return "", context.Cause(ctx)
			}
			if err != nil {
				return "", explain(args[0], err, output.tail())
			}
			return stdout.String(), nil
		}
	}
}

// transcript takes what the go command says and tells progress from the rest.
type transcript struct {
	mu          sync.Mutex
	line        []byte // not ended yet
	lines       []string
	compiled    int
	downloading bool
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.line = append(t.line, p...)
	for {
		line, rest, found := bytes.Cut(t.line, []byte("\n"))
		if !found {
			return len(p), nil
		}
		t.line = rest
		t.take(string(line))
	}
}

func (t *transcript) take(line string) {
	t.downloading = strings.HasPrefix(line, "go: downloading ")
	switch {
	case t.downloading:
	case line != "" && !strings.ContainsAny(line, " \t:"): // the import path of a package
		t.compiled++
	default:
		t.lines = append(t.lines, line)
	}
}

// doing describes what the command was busy with when it last said something.
func (t *transcript) doing() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.downloading:
		return "downloading modules"
	case t.compiled > 0:
		return fmt.Sprintf("%d packages compiled", t.compiled)
	}
	return "still busy"
}

func (t *transcript) tail() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := t.lines[max(0, len(t.lines)-tailLength):]
	return strings.TrimSpace(strings.Join(lines, "\n") + "\n" + string(t.line))
}

// hints says what to do about the failures that are not the program's fault,
// by a piece of the message that they come with.
var hints = []struct{ symptom, advice string }{
	{"no space left on device", "the disk is full: the binaries, Go's caches and temporary files take up to 9 GB"},
	{"signal: killed", "the compiler was killed, usually for want of memory"},
	{"requires go >=", "this Kubernetes needs a newer Go: install it, or allow its download with GOTOOLCHAIN=auto"},
	{"checksum mismatch", "a module is not the one that go.sum records: find out why before using either"},
	{"403 Forbidden", "the module proxy refuses to hand it out: ask who runs it, or set another GOPROXY"},
	{"407 Proxy Authentication", "the HTTP proxy wants a login: put it into HTTPS_PROXY"},
	{"module lookup disabled", "Go may not download modules: GOPROXY is off"},
	{"dial tcp", "the module proxy cannot be reached: check the network, GOPROXY and HTTPS_PROXY"},
	{"i/o timeout", "the module proxy does not answer: check the network, GOPROXY and HTTPS_PROXY"},
}

// explain makes one error of a failed go command: the advice, if there is any,
// and what the command said last.
func explain(command string, err error, output string) error {
	err = fmt.Errorf("running go %s: %w", command, err)
	for _, h := range hints {
		if strings.Contains(output, h.symptom) {
			err = fmt.Errorf("%s (%w)", h.advice, err)
			break
		}
	}
	if output == "" {
		return err
	}
	return fmt.Errorf("%w\n%s", err, output)
}
