// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"flag"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/reporter-operator/reporter-operator/controllers/kube"
)

// find returns what a file says, which a pattern captures.
func find(t *testing.T, file, pattern string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(pattern).FindSubmatch(text)
	if found == nil {
		t.Fatalf("%s has no %s", file, pattern)
	}
	return string(found[1])
}

func TestEndOfTheProcessWaitsForThePassesUnderWay(t *testing.T) {
	grace, err := time.ParseDuration(find(t, "config/manager/manager.yaml", `terminationGracePeriodSeconds: (\d+)`) + "s")
	if err != nil {
		t.Fatal(err)
	}
	if longest := find(t, "config/crd/bases/reporter.lerian.studio_reporterendpoints.yaml", `must be a duration from 1s to (\w+), for example 10s`); longest != "60s" || kube.MaxTimeout != time.Minute {
		t.Errorf("a request may take %s, and the operator counts on %s", longest, kube.MaxTimeout)
	}
	if least := 3 * kube.MaxTimeout; kube.PassTimeout <= least || gracefulShutdown <= kube.PassTimeout || grace <= gracefulShutdown {
		t.Errorf("three requests take %s, a pass %s, the manager waits %s, and Kubernetes %s: each has to be longer than the one before",
			least, kube.PassTimeout, gracefulShutdown, grace)
	}
}

func TestSettingsThatCannotBeRight(t *testing.T) {
	for said, arguments := range map[string][]string{
		`unexpected argument "leader-elect": flags start with --`: {"leader-elect"},
		"must be above 0":                     {"--check-interval=0s"},
		"--max-concurrent-reconciles must be": {"--max-concurrent-reconciles=0"},
		"needs --allowed-endpoint-hosts":      {"--use-proxy-from-environment"},
		"a host name is empty: write them like reporter.internal,*.svc.cluster.local": {"--allowed-endpoint-hosts=reporter.internal,,"},
		"a namespace is empty, or has a name that none can have":                      {"--watch-namespaces=billing,Ledger"},
		"": {"--watch-namespaces=billing, ledger", "--use-proxy-from-environment", "--allowed-endpoint-hosts=*.example.com"},
	} {
		var s settings
		flags := flag.NewFlagSet("manager", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		s.bind(flags)
		err := flags.Parse(arguments)
		if err == nil {
			err = s.check(flags.Args())
		}
		if (err == nil) != (said == "") || err != nil && !strings.Contains(err.Error(), said) {
			t.Errorf("%q: %v, want %q", arguments, err, said)
		}
	}
}

// Logs that no terminal shows are JSON, one object a line, and verbosities are levels.
func TestLogsAreJSON(t *testing.T) {
	var s settings
	flags := flag.NewFlagSet("manager", flag.ContinueOnError)
	s.bind(flags)
	if err := flags.Parse([]string{"--zap-log-level=2"}); err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	s.log.DestWriter = &logged
	logger := newLogger(&s.log)
	logger.Info("Status changed", "reason", "JobInProgress")
	logger.V(1).Info("Deletion waits")
	logger.V(2).Info("Request to Reporter")
	logger.V(3).Info("More than anybody asked for")
	var messages []string
	for line := range strings.Lines(logged.String()) {
		var entry struct {
			Level, Msg string
			Time       string `json:"ts"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Time == "" {
			t.Errorf("%s is no JSON with a time: %v", line, err)
		}
		messages = append(messages, entry.Level+": "+entry.Msg)
	}
	if want := []string{"info: Status changed", "debug: Deletion waits", "debug: Request to Reporter"}; !slices.Equal(messages, want) {
		t.Errorf("logged is %q, not %q", messages, want)
	}
}

// No line is dropped when a thousand resources say the same at once.
func TestLogsAreWhole(t *testing.T) {
	var s settings
	s.bind(flag.NewFlagSet("manager", flag.ContinueOnError))
	var logged strings.Builder
	s.log.DestWriter = &logged
	logger := newLogger(&s.log)
	for range 1000 {
		logger.Info("Deleted connection in Reporter")
	}
	if got := strings.Count(logged.String(), "Deleted connection in Reporter"); got != 1000 {
		t.Errorf("%d of 1,000 lines are logged", got)
	}
}

// In a terminal they are text.
func TestLogsAreReadable(t *testing.T) {
	var logged strings.Builder
	zap.New(func(o *zap.Options) { o.NewEncoder = readable }, zap.WriteTo(&logged)).Info("Status changed", "reason", "JobInProgress")
	if got := logged.String(); !strings.Contains(got, "INFO\tStatus changed\t{\"reason\": \"JobInProgress\"}") {
		t.Errorf("logged is %q", got)
	}
}
