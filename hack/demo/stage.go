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
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/reporter-operator/reporter-operator/hack/internal/play"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
	"github.com/reporter-operator/reporter-operator/internal/testenv"
)

// actor is one ReporterConnection of the play, and the connection in Reporter that it claims.
type actor struct {
	name, id string
	endpoint string
	expected expectation
}

// configName is what Reporter calls the actor's connection.
func (a actor) configName() string { return a.name + "-db" }

// The cast. The ids stay the same, so that two runs read alike.
var (
	idle = actor{
		name: "idle", id: "019996b8-f3d1-7d2b-a192-6e91464d82fc", endpoint: "default",
		expected: expectation{calls: regexp.MustCompile(`^DELETE 204$`), writes: 1},
	}
	busy = actor{
		name: "busy", id: "019996b9-174d-7a23-9f87-f7336d5ad98c", endpoint: "default",
		expected: expectation{calls: regexp.MustCompile(`^(\d+ × )?DELETE 409 FET-1021, DELETE 204$`), held: []string{"JobInProgress"}, writes: 2},
	}
	vanished = actor{
		name: "vanished", id: "019996b9-3b1e-7475-bb50-c81bbb553432", endpoint: "default",
		expected: expectation{calls: regexp.MustCompile(`^DELETE 404 FET-1001, GET 404 FET-1001$`), writes: 1},
	}
	remote = actor{
		name: "remote", id: "019996b9-5f0a-7c1e-8a4d-2b6f0e9d7c35", endpoint: "remote",
		expected: expectation{calls: regexp.MustCompile(`^DELETE 204$`),
			held: []string{"ReporterUnavailable"}, writes: 2},
	}
	actors = []actor{idle, busy, vanished, remote}

	// bystander is a connection that no resource claims.
	bystander = actor{name: "bystander", id: "019996b9-83f6-7e90-9c12-5d3a7f1b4e68", endpoint: "default"}
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

// setUp builds the stage up to the point where all actors are Ready. tearDown must be called even after an error.
func (s *stage) setUp(ctx context.Context) error {
	s.screen.say(`Delete a ReporterConnection, and the operator soft-deletes the connection in Lerian's Reporter. The resource goes ` +
		`when that is proven, and says what it waits for until then.`)
	s.screen.title("A Kubernetes control plane, the operator, and two Reporters in memory")
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

	for _, endpoint := range []string{"default", "remote"} {
		if err := s.serveReporter(endpoint); err != nil {
			return err
		}
	}
	s.screen.say("The Reporters listen at %s and %s.", s.servers["default"].URL, s.servers["remote"].URL)
	watching, stop := context.WithCancel(ctx)
	s.stopWatch = stop
	if err := s.timeline.follow(watching, s.world); err != nil {
		return err
	}

	s.screen.title("Connections that exist in Reporter are claimed by resources")
	if err := s.kubectl(ctx, s.manifests(), "apply", "-f", "-"); err != nil {
		return err
	}
	if output, err := s.run(ctx, "", "wait", "--for=condition=Ready", "rep,rconn", "--all", "--timeout=60s"); err != nil {
		s.kubectl(ctx, "", "get", "rep,rconn") //nolint:errcheck // for people; what is wrong is known
		return fmt.Errorf("waiting for the resources to be Ready: %w\n%s", err, output)
	}
	return s.kubectl(ctx, "", "get", "rconn")
}

// serveReporter opens the Reporter of an endpoint, with the connections of the actors that name it.
func (s *stage) serveReporter(endpoint string) error {
	reporter := reportertest.New()
	for _, a := range append([]actor{bystander}, actors...) {
		if a.endpoint == endpoint {
			reporter.Add(reportertest.Connection{ID: a.id, ConfigName: a.configName()})
		}
	}
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

// manifests is what a user would write.
func (s *stage) manifests() string {
	var documents []string
	for _, endpoint := range []string{"default", "remote"} {
		documents = append(documents, fmt.Sprintf(`apiVersion: reporter.lerian.studio/v1alpha1
kind: ReporterEndpoint
metadata: {name: %s}
spec: {url: %q}
`, endpoint, s.servers[endpoint].URL))
	}
	for _, a := range actors {
		spec := "connectionID: " + a.id
		if a.endpoint != "default" {
			spec += ", endpointRef: {name: " + a.endpoint + "}"
		}
		documents = append(documents, fmt.Sprintf(`apiVersion: reporter.lerian.studio/v1alpha1
kind: ReporterConnection
metadata: {name: %s}
spec: {%s}
`, a.name, spec))
	}
	return strings.Join(documents, "---\n")
}

// kubectl runs kubectl and shows it, as if it had been typed.
func (s *stage) kubectl(ctx context.Context, stdin string, args ...string) error {
	resume := s.timeline.pause()
	defer resume()
	output, err := s.run(ctx, stdin, args...)
	if ctx.Err() != nil {
		return err
	}
	s.screen.command("kubectl "+strings.Join(args, " "), stdin, output)
	if s.timeline.isOn() {
		s.screen.print("\n")
	}
	return err
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
		for _, resource := range late.resources {
			s.kubectl(ctx, "", "describe", "rconn", resource) //nolint:errcheck // what can be shown is shown
		}
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
