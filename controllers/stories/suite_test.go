// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/reporter-operator/reporter-operator/internal/testenv"
)

// The stories run on a real API server, with the operator as a process of its own under its own ServiceAccount: what they
// see is what a user would. Each has a namespace and a Reporter to itself. Run in parallel, each of Ginkgo's processes has a control plane
// and an operator to itself, so a story may restart the operator.
func TestStories(t *testing.T) {
	log.SetLogger(GinkgoLogr)
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(time.Minute)
	SetDefaultEventuallyPollingInterval(20 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	RunSpecs(t, "ReporterConnections and ReporterEndpoints")
}

var (
	world    *testenv.World
	operator *testenv.Process
	// ending says that the story has the operator end.
	ending bool
	// logs are the paths of what each operator logged, the last one's at the end.
	logs []string
)

var _ = BeforeSuite(func(ctx context.Context) {
	var err error
	world, err = testenv.Start(ctx)
	DeferCleanup(world.Stop)
	Expect(err).NotTo(HaveOccurred())
	namespaces, err := world.StartControllers(io.Discard)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(namespaces.Kill)
	startOperator(ctx)
	DeferCleanup(func() {
		operator.Kill() // that it ends well when it is told to has a story of its own; this one may have just begun
		all, err := allLogs()
		Expect(err).NotTo(HaveOccurred())
		Expect(strings.Contains(all, "WARNING: DATA RACE")).To(BeFalse(), "the operator has a data race:\n%s", all)
	})
})

// startOperator starts the operator, with more arguments for the stories that need them. The one before must have ended.
func startOperator(ctx context.Context, args ...string) {
	GinkgoHelper()
	if namespaced {
		args = append(args, "--watch-namespaces="+strings.Join(watched, ","))
	}
	path := filepath.Join(world.Dir, fmt.Sprintf("operator-%d.log", len(logs)))
	output, err := os.Create(path)
	Expect(err).NotTo(HaveOccurred())
	logs = append(logs, path)
	ending = false
	operator, err = world.StartOperator(ctx, output, args...)
	Expect(errors.Join(err, output.Close())).To(Succeed(), "the process has its own handle")
}

// killOperator kills the operator. The story may start it again; where it does not come to that, it is started when the story ends.
func killOperator() {
	ending = true
	operator.Kill()
	DeferCleanup(func(ctx context.Context) {
		if hasEnded(operator) {
			startOperator(ctx)
		}
	})
}

func restartOperator(ctx context.Context, args ...string) {
	GinkgoHelper()
	operator.Kill()
	startOperator(ctx, args...)
}

func hasEnded(process *testenv.Process) bool {
	select {
	case <-process.Done():
		return true
	default:
		return false
	}
}

// operatorLog is what the operator has logged that was started last.
func operatorLog() (string, error) {
	log, err := os.ReadFile(logs[len(logs)-1])
	return string(log), err
}

// allLogs is what every operator has logged.
func allLogs() (string, error) {
	var all strings.Builder
	for _, path := range logs {
		log, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		all.Write(log)
	}
	return all.String(), nil
}

// The operator does not end by itself. Where it did, that fails the story it did it in, and no other.
var _ = AfterEach(func(ctx context.Context) {
	if hasEnded(operator) && !ending {
		log, err := operatorLog()
		startOperator(ctx)
		Expect(err).NotTo(HaveOccurred())
		Fail("The operator has ended by itself. Its log ends with:\n" + log[max(0, len(log)-2<<10):])
	}
})

var _ = ReportAfterEach(func(report SpecReport) {
	if !report.Failed() || len(logs) == 0 {
		return
	}
	log, err := operatorLog()
	if err != nil {
		log = err.Error()
	}
	fmt.Fprintf(GinkgoWriter, "The operator's log ends with:\n%s\n", log[max(0, len(log)-16<<10):])
})
