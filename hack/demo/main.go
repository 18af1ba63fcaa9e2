// SPDX-License-Identifier: Apache-2.0

// Command demo shows the operator at work, on this machine alone: a Kubernetes control plane of its own, Reporters in memory,
// and the operator as a process between them. It shows the life of a connection from its description to its deletion, checks that
// what happens is what should happen, and cleans up.
//
//	make demo         # exits with 0 if all went as it should
//	make playground   # the same world, for you to play with
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

func main() {
	playground := flag.Bool("playground", false, "leave the world standing to play with, until Ctrl-C")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "demo: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	ctrl.SetLogger(zap.New(zap.WriteTo(io.Discard))) // its libraries' logs are not shown
	os.Exit(run(*playground))
}

// run returns the exit status.
func run(playground bool) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	s := newScreen(os.Stdout, func(err error) { cancel(fmt.Errorf("printing: %w", err)) })
	catchSignals(s, cancel)

	start := time.Now()
	failed, uncleaned := perform(ctx, s, playground)
	var by interruption
	interrupted := errors.As(context.Cause(ctx), &by)
	if failed != nil && !interrupted {
		fmt.Fprintln(os.Stderr, "\ndemo:", failed)
	}
	if uncleaned != nil && !forced.Load() {
		fmt.Fprintln(os.Stderr, "demo: cleaning up:", uncleaned)
		return 1
	}
	switch {
	case interrupted:
		s.say("Cleaned up.")
		if playground {
			return 0
		}
		return 128 + int(by.signal)
	case failed != nil:
		return 1
	}
	s.say("Cleaned up. It took %.0f seconds in all.", time.Since(start).Seconds())
	return 0
}

// perform gives the play and cleans up after it.
func perform(ctx context.Context, s *screen, playground bool) (failed, uncleaned error) {
	stage := newStage(s)
	defer func() { uncleaned = stage.tearDown() }()
	failed = stage.setUp(ctx)
	if failed == nil {
		staged, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		go func() {
			<-stage.operator.Done()
			cancel(errors.New("running the operator: it ended by itself"))
		}()
		if playground {
			failed = stage.standBy(staged)
		} else {
			failed = stage.tellStory(staged)
		}
	}
	if failed == nil {
		return nil, nil
	}
	select {
	case <-ctx.Done(): // what failed did so because of an interruption, whose signal may have reached a child first
	case <-time.After(100 * time.Millisecond):
		stage.showTrouble(ctx, failed)
	}
	return failed, nil
}

// interruption is a signal that ends the play.
type interruption struct{ signal syscall.Signal }

func (i interruption) Error() string { return "interrupted: " + i.signal.String() }

// forced is set when cleaning up was cut short: then some processes may not have ended in good order.
var forced atomic.Bool

// catchSignals has the first signal end the play in good order, and the second one at once.
func catchSignals(s *screen, cancel context.CancelCauseFunc) {
	// Without this, SIGPIPE would end the process when the reader of stdout ends. So printing fails, and that ends the play in good order.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	caught := make(chan os.Signal, 2)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		first, _ := (<-caught).(syscall.Signal) // there are no others
		cancel(interruption{first})
		s.print("\nCleaning up. Ctrl-C again forces it.\n")
		<-caught
		forced.Store(true)
		killChildren()
	}()
}
