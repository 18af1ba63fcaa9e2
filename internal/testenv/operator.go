// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Operator is the operator as a process.
type Operator struct {
	command *exec.Cmd
	// done is closed when the process has ended, for whatever reason; err says how.
	done chan struct{}
	err  error
}

// StartOperator builds the operator, once, and starts it as its own ServiceAccount. What it logs goes to log.
func (w *World) StartOperator(ctx context.Context, log io.Writer, args ...string) (*Operator, error) {
	binary := w.path("manager")
	if _, err := os.Stat(binary); err != nil {
		build := exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
		build.Dir = w.root
		if output, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building the operator: %w\n%s", err, output)
		}
	}
	kubeconfig, err := w.operatorKubeconfig(ctx)
	if err != nil {
		return nil, err
	}
	args = append([]string{"--health-probe-bind-address=0"}, args...)
	o := &Operator{command: exec.Command(filepath.Clean(binary), args...), done: make(chan struct{})} //nolint:gosec,noctx // ends with Stop or Kill
	o.command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	o.command.Stdout, o.command.Stderr = log, log
	// In a process group of its own, Ctrl-C in a terminal does not reach it: whoever started it ends it.
	o.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := o.command.Start(); err != nil {
		return nil, fmt.Errorf("starting the operator: %w", err)
	}
	go func() {
		o.err = o.command.Wait()
		close(o.done)
	}()
	return o, nil
}

// Done is closed when the process has ended, whoever ended it.
func (o *Operator) Done() <-chan struct{} { return o.done }

// Terminate tells the operator to end, with SIGTERM, as Kubernetes would.
func (o *Operator) Terminate() {
	_ = o.command.Process.Signal(syscall.SIGTERM) // it may have ended by itself
}

// Stop terminates the operator and waits for it. The error says that it did not end well.
func (o *Operator) Stop() error {
	o.Terminate()
	<-o.done
	return o.err
}

// Kill ends the operator at once, wherever it is.
func (o *Operator) Kill() {
	_ = o.command.Process.Kill()
	<-o.done
}
