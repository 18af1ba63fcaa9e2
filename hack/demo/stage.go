// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/reporter-operator/reporter-operator/hack/internal/play"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
	"github.com/reporter-operator/reporter-operator/internal/testenv"
)

// hero is the ReporterConnection whose life is shown.
const hero = "ledger"

// heroConnection is what Reporter calls its connection.
const heroConnection = hero + "-db"

// Connections that are in Reporter before anything is described. The ids stay the same, so that two runs read alike.
var (
	// bystander is one that somebody made by hand.
	bystander = reportertest.Connection{ID: "019996b9-83f6-7e90-9c12-5d3a7f1b4e68", ConfigName: "byhand-db", ProductName: "ledger"}
	// remote is in a Reporter of its own.
	remote = reportertest.Connection{ID: "019996b9-5f0a-7c1e-8a4d-2b6f0e9d7c35", ConfigName: "remote-db"}
)

// stage is where the play goes on: a control plane with the operator, and a Reporter for each endpoint.
type stage struct {
	screen   *screen
	timeline *timeline
	world    *testenv.World
	operator *testenv.Process
	// reporters and servers are by endpoint.
	reporters map[string]*reportertest.Reporter
	servers   map[string]*reportertest.Server
	jobs      *play.Jobs // of the Reporter of the endpoint `default`
	stopWatch context.CancelFunc
	// namespaces is the part of Kubernetes that empties deleted namespaces; only the playground has it.
	namespaces *testenv.Process
}

func newStage(s *screen) *stage {
	stage := &stage{screen: s, reporters: map[string]*reportertest.Reporter{}, servers: map[string]*reportertest.Server{}}
	stage.timeline = newTimeline(s, stage.alive)
	return stage
}

// alive says whether a connection is alive in any of the Reporters.
func (s *stage) alive(connectionID string) bool {
	for _, reporter := range s.reporters {
		if reporter.Alive(connectionID) {
			return true
		}
	}
	return false
}

// setUp builds the stage up to the point where the operator waits for something to do. tearDown must be called even after an error.
func (s *stage) setUp(ctx context.Context) error {
	s.screen.say(`Describe a connection of Lerian's Reporter in a ReporterConnection, and the operator creates it, keeps it as described, and ` +
		`soft-deletes it with its resource.`)
	s.screen.title("A Kubernetes control plane, the operator, and a Reporter in memory")
	s.screen.say("etcd and kube-apiserver start, get the operator's manifests; the operator is built meanwhile ...")
	start := time.Now()
	var err error
	if s.world, err = testenv.Start(ctx); err != nil {
		return err
	}
	log, err := os.Create(s.logPath())
	if err != nil {
		return fmt.Errorf("opening the operator's log: %w", err)
	}
	defer log.Close() //nolint:errcheck // the operator has its own handle
	s.operator, err = s.world.StartOperator(ctx, log, "--zap-encoder=console", "--zap-stacktrace-level=panic")
	if err != nil {
		return err
	}
	s.screen.say("... done in %.1f s. The operator runs as a process of its own, as its own ServiceAccount.", time.Since(start).Seconds())
	if err := s.serveReporter("default", bystander); err != nil {
		return err
	}
	s.screen.say("Reporter listens at %s.", s.servers["default"].URL)
	watching, stop := context.WithCancel(ctx)
	s.stopWatch = stop
	return s.timeline.follow(watching, s.world)
}

// serveReporter opens the Reporter of an endpoint, with a connection that somebody made.
func (s *stage) serveReporter(endpoint string, made reportertest.Connection) error {
	reporter := reportertest.New()
	reporter.Add(made)
	s.reporters[endpoint] = reporter
	var handler http.Handler = reporter
	if endpoint == "default" {
		s.jobs = play.NewJobs(reporter)
		handler = play.WithJobs(reporter, s.jobs)
	}
	server, err := reportertest.Start(play.Watched(handler, func(e play.Exchange) { s.timeline.call(endpoint, e) }), "127.0.0.1:0")
	s.servers[endpoint] = server
	return err
}

// endpointManifest says where a Reporter is.
func (s *stage) endpointManifest(name string) string {
	return fmt.Sprintf(`apiVersion: reporter.lerian.studio/v1alpha1
kind: ReporterEndpoint
metadata: {name: %s}
spec: {url: %q}
`, name, s.servers[name].URL)
}

const (
	// host is that of the databases.
	host = "ledger-rw.billing.svc.cluster.local"
	// firstPassword and secondPassword are what they want one after the other.
	firstPassword  = "correct-horse"
	secondPassword = "battery-staple"
)

func secretManifest(resource string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Secret
metadata:
  name: %s-password
  labels: {reporter.lerian.studio/credentials: database}
stringData: {password: %s}
`, resource, firstPassword)
}

// description describes a connection.
func description(resource, configName string) string {
	return fmt.Sprintf(`apiVersion: reporter.lerian.studio/v1alpha1
kind: ReporterConnection
metadata: {name: %[1]s}
spec:
  connection:
    configName: %[2]s
    productName: ledger
    type: POSTGRESQL
    host: %[3]s
    port: 5432
    databaseName: ledger
    userName: reporter
    passwordSecretRef: {name: %[1]s-password, key: password}
`, resource, configName, host)
}

// documents joins manifests to one.
func documents(manifests ...string) string { return strings.Join(manifests, "---\n") }

// kubectl runs kubectl and shows it, as if it had been typed.
func (s *stage) kubectl(ctx context.Context, stdin string, args ...string) error {
	resume := s.timeline.pause()
	defer resume()
	output, err := s.run(ctx, stdin, args...)
	if ctx.Err() != nil {
		return err
	}
	s.screen.command("kubectl "+asTyped(args), stdin, output)
	if s.timeline.isOn() {
		s.screen.print("\n")
	}
	return err
}

// asTyped is how one types arguments in a shell.
func asTyped(args []string) string {
	typed := slices.Clone(args)
	for i, arg := range typed {
		if strings.ContainsAny(arg, `{}"$ `) {
			typed[i] = "'" + arg + "'"
		}
	}
	return strings.Join(typed, " ")
}

// run runs the control plane's own kubectl and returns all that it prints.
func (s *stage) run(ctx context.Context, stdin string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, kubectlPath(), args...) //nolint:gosec // the user's own binary
	command.Env = append(os.Environ(), "KUBECONFIG="+s.world.Kubeconfig,
		// Nothing of the user's own settings, and nothing into the home directory.
		"KUBERC=off", "KUBECACHEDIR="+filepath.Join(s.world.Dir, "kubectl-cache"))
	command.Stdin = strings.NewReader(stdin)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C in a terminal is for this process alone
	output, err := command.CombinedOutput()
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		return string(output), fmt.Errorf("running kubectl %s: %w", strings.Join(args, " "), err)
	}
	return string(output), nil
}

func kubectlPath() string { return filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl") }

func (s *stage) logPath() string { return filepath.Join(s.world.Dir, "operator.log") }

// showTrouble prints what helps to find out why something went wrong.
func (s *stage) showTrouble(ctx context.Context, failed error) {
	if s.operator == nil {
		return
	}
	s.timeline.end()
	var late *stuck
	if errors.As(failed, &late) {
		s.kubectl(ctx, "", "describe", "rconn", hero) //nolint:errcheck // what can be shown is shown
	}
	if log, err := os.ReadFile(s.logPath()); err == nil {
		s.screen.title("The operator's log ends with")
		lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
		s.screen.print(string(bytes.Join(lines[max(0, len(lines)-30):], []byte("\n"))) + "\n")
	}
}

// tearDown ends everything and removes all files, however far setUp came.
func (s *stage) tearDown() error {
	var errs []error
	if s.stopWatch != nil {
		s.stopWatch()
	}
	if s.operator != nil {
		if err := s.operator.Stop(); err != nil && !endedBySignal(err) {
			errs = append(errs, fmt.Errorf("stopping the operator: %w", err))
		}
	}
	if s.namespaces != nil {
		s.namespaces.Kill() // it keeps nothing
	}
	for _, server := range s.servers {
		if server != nil {
			server.Close()
		}
	}
	if s.world != nil {
		if err := s.world.Stop(); err != nil {
			errs = append(errs, fmt.Errorf("stopping the control plane: %w", err))
		}
	}
	return errors.Join(errs...)
}

// endedBySignal says whether a process ended by SIGTERM, as one does that has only just begun.
func endedBySignal(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGTERM
}
