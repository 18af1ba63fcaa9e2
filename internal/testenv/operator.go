// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Process is a part of the world that can be stopped and killed by itself.
type Process struct {
	command *exec.Cmd
	// done is closed when the process has ended, for whatever reason; err says how.
	done chan struct{}
	err  error
}

// Build builds a program from a package of this module, such as ./hack/demo, into the world's directory and returns its path. With the
// race detector, if whoever builds it has that: what it sees is printed, and ends the program.
func (w *World) Build(ctx context.Context, name, pkg string) (string, error) {
	path := w.path(name)
	build := exec.CommandContext(ctx, "go", "build", "-race="+strconv.FormatBool(raceDetector), "-o", path, pkg) //nolint:gosec // nothing of it comes from outside
	build.Dir = w.root
	build.Env = append(os.Environ(), "GOTMPDIR="+w.Dir) // go leaves its files behind when it is interrupted
	build.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	build.Cancel = func() error { return syscall.Kill(-build.Process.Pid, syscall.SIGKILL) } // its compilers as well
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", name, err, output)
	}
	return path, nil
}

// StartOperator starts the operator, built from this tree when the world began, as its own ServiceAccount. What it logs goes to
// log.
func (w *World) StartOperator(ctx context.Context, log io.Writer, args ...string) (*Process, error) {
	defer context.AfterFunc(ctx, w.stopBuild)()
	path, err := w.build()
	if err != nil {
		return nil, err
	}
	return w.StartAsOperator(ctx, log, path, append([]string{"--health-probe-bind-address=0", "--allow-loopback-endpoints"}, args...)...)
}

// StartAsOperator starts any program as the operator's ServiceAccount, so that what it asks of the API server is allowed, judged and
// logged as if the operator had asked.
func (w *World) StartAsOperator(ctx context.Context, log io.Writer, path string, args ...string) (*Process, error) {
	kubeconfig, err := w.OperatorKubeconfig(ctx)
	if err != nil {
		return nil, err
	}
	return start(log, []string{"KUBECONFIG=" + kubeconfig}, path, args...)
}

// StartControllers starts kube-controller-manager with the controller that empties deleted namespaces, the one that makes the roles view, edit
// and admin out of their parts, and more of its controllers.
func (w *World) StartControllers(log io.Writer, more ...string) (*Process, error) {
	names := append([]string{"namespace-controller", "clusterrole-aggregation-controller"}, more...)
	binary := filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kube-controller-manager")
	return start(log, nil, binary, "--kubeconfig="+w.Kubeconfig, "--authentication-kubeconfig="+w.Kubeconfig, "--authorization-kubeconfig="+w.Kubeconfig,
		"--controllers="+strings.Join(names, ","), "--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port=0")
}

// start starts a process in a process group of its own, so that Ctrl-C in a terminal does not reach it: whoever started it ends
// it.
func start(log io.Writer, env []string, path string, args ...string) (*Process, error) {
	p := &Process{command: exec.Command(path, args...), done: make(chan struct{})} //nolint:gosec,noctx // ours; it ends with Stop or Kill
	p.command.Env = append(append(os.Environ(), "GORACE=halt_on_error=1"), env...)
	p.command.Stdout, p.command.Stderr = log, log
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", filepath.Base(path), err)
	}
	go func() {
		p.err = p.command.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID is the process's id.
func (p *Process) PID() int { return p.command.Process.Pid }

// Done is closed when the process has ended, whoever ended it.
func (p *Process) Done() <-chan struct{} { return p.done }

// Terminate tells the process to end, with SIGTERM, as Kubernetes would.
func (p *Process) Terminate() {
	p.signal(syscall.SIGTERM)
}

// Stop terminates the process and waits for it. The error says that it did not end well.
func (p *Process) Stop() error {
	p.Terminate()
	<-p.done
	return p.err
}

// Kill ends the process at once, wherever it is.
func (p *Process) Kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// signal sends a signal to the process, if it has not ended.
func (p *Process) signal(signal os.Signal) {
	p.command.Process.Signal(signal) //nolint:errcheck // it is our own child, so the only error is that it has ended
}
