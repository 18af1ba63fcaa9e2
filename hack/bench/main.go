// SPDX-License-Identifier: Apache-2.0

// Command bench measures the operator against the limit of the machine: on a Kubernetes control plane of its own, with Reporters in
// memory, and beside controllers that do the least there is to do. docs/benchmarks.md says what is measured and how to read it.
//
//	make bench                           # all rows
//	make bench ROWS=drain,idle RUNS=3    # some, and fewer runs of each
//	go run ./hack/bench -list
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// scenario is one row of the table.
type scenario struct {
	name         string
	what, target string
	run          func(context.Context, *bench) (outcome, error)
	takes        time.Duration // about, with 5 runs at full scale
}

var scenarios = []scenario{
	{"drain-1000", "drain of 1,000 idle connections, all marked deleted beforehand, Reporter at 20 ms",
		"≥ 0.95 of http's rate, or no slower than its slowest run", drain(1000), 100 * time.Second},
	{"drain-5000", "drain of 5,000 idle connections, all marked deleted beforehand, Reporter at 20 ms",
		"≥ 0.95 of http's rate, or no slower than its slowest run", drain(5000), 500 * time.Second},
	{"drain-bare", "drain of 1,000 idle connections, as in drain-1000, and of 1,000 objects of a bare CRD with a finalizer",
		"≥ 0.95 of the rate of the bare ones", drainBare, 100 * time.Second},
	{"idle", "calls for each idle deletion, of 200 as they come and of 200 that were marked beforehand",
		"exactly 1 API write, 0 API reads, 1 call of Reporter", idle, 15 * time.Second},
	{"waiting", "calls for each of 90 deletions that wait for a job, for 5, 20 and 60 s",
		"exactly 2 API writes, and the calls of Reporter that the schedule has", waiting, 75 * time.Second},
	{"job-end", "after a job ends, until its resource is gone, 1,000 waiting at once, for 40 s",
		"p99 ≤ 12.5 % of the wait + 1.5 s", jobEnd, 300 * time.Second},
	{"creation", "API writes for each of 200 resources from its creation until it is Ready",
		"1 status write, and 1 of the finalizer unless the admission policy sets it", creation, 15 * time.Second},
	{"described", "calls for each of 200 resources that describe a connection, from its creation until that is created and its database tested",
		"exactly 1 POST, 2 status writes until it is Ready, then 1 test and 1 status write; 1 event", described, 20 * time.Second},
	{"change", "calls for each of 200 described connections whose description changes",
		"exactly 1 GET, 1 PATCH and 1 test, 2 status writes", change, 25 * time.Second},
	{"memory", "resident memory with 10,000 live resources",
		"≤ 1.3 × a bare manager that watches the same objects", memory, 180 * time.Second},
	{"restart", "restart with 10,000 live resources, 100 deleted meanwhile",
		"the 100 gone within 2 × of what they take on an idle operator; routine GETs never above 1/s", restart, 210 * time.Second},
	{"checks", "routine checks of 10,000 described connections that are as described, after a restart, for a minute",
		"1 GET each and no write; never above 1/s", checks, 400 * time.Second},
	{"fairness", "a Reporter that never answers with 1,000 deleting, beside a healthy one with 1,000",
		"the healthy one drains at ≥ 0.9 of its rate alone", fairness, 150 * time.Second},
	{"down", "a Reporter that is down with 5,000 deleting, and recovers",
		"≤ 1 request/s once settled, < 5 % of a core, 1 status write each; then ≥ 0.9 of the normal rate", down, 600 * time.Second},
	{"rate-limit", "a Reporter that allows 500 requests in 60 s, 1,500 deleting",
		"≥ 0.95 of what it allows, < 1 % of the calls answered 429", rateLimit, 180 * time.Second},
	{"reconciles", "reconciles for each deletion, of 5,000 marked beforehand, at most 16 calls in flight",
		"≤ 3", reconciles, 60 * time.Second},
}

func main() {
	var o options
	flag.StringVar(&o.names, "rows", "", "which `rows` to run, by name or the beginning of it, separated by commas; all if empty")
	flag.IntVar(&o.runs, "runs", 5, "how many `runs` of what is measured in time, interleaved with those it is compared with")
	flag.Float64Var(&o.scale, "scale", 1, "`share` of the objects, and of the longer waits, to try things out with; the targets are for 1")
	flag.StringVar(&o.json, "json", "", "`file` to write the results to, with those of every single run")
	flag.StringVar(&o.markdown, "markdown", "", "`file` to write the table to, as Markdown")
	list := flag.Bool("list", false, "list the rows and what they are to reach")
	flag.Parse()
	var err error
	if o.rows, err = selected(o.names); err == nil {
		err = o.check(flag.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if *list {
		for _, s := range o.rows {
			fmt.Printf("%-11s %s: %s\n", s.name, s.what, s.target)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "\nbench:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

type options struct {
	names          string
	rows           []scenario
	runs           int
	scale          float64
	json, markdown string
}

func (o options) check(args []string) error {
	switch {
	case len(args) > 0:
		return fmt.Errorf("unexpected argument %q: flags start with -", args[0])
	case o.runs < 1:
		return errors.New("-runs must be 1 or more")
	case o.scale <= 0:
		return errors.New("-scale must be above 0")
	}
	return nil
}

// selected returns the scenarios of the names, in the order of the table.
func selected(names string) ([]scenario, error) {
	if names == "" {
		return scenarios, nil
	}
	chosen := map[string]bool{}
	for name := range strings.SplitSeq(names, ",") {
		known := false
		for _, s := range scenarios {
			if strings.HasPrefix(s.name, strings.TrimSpace(name)) {
				chosen[s.name], known = true, true
			}
		}
		if !known {
			return nil, fmt.Errorf("there is no row %q: -list lists them", name)
		}
	}
	return slices.DeleteFunc(slices.Clone(scenarios), func(s scenario) bool { return !chosen[s.name] }), nil
}

// estimate is about how long the scenarios take.
func (o options) estimate() time.Duration {
	sum := 15 * time.Second // for the control plane
	for _, s := range o.rows {
		sum += max(15*time.Second, time.Duration(float64(s.takes)*o.scale*float64(o.runs)/5))
	}
	return sum
}

// run measures row by row. What was measured until something fails, or Ctrl-C, is reported as well.
func run(ctx context.Context, o options) (err error) {
	began := time.Now()
	b := &bench{options: o}
	defer func() { err = errors.Join(err, b.tearDown()) }()
	b.say("", "%d rows, about %s. Starting the control plane, building the operator ...", len(o.rows), o.estimate().Round(time.Minute))
	if err := b.setUp(ctx); err != nil {
		return fmt.Errorf("setting up: %w", err)
	}
	r := report{Command: o.command(), Started: began.UTC().Truncate(time.Second), Machine: b.machine(), Runs: o.runs, Scale: o.scale}
	for _, s := range o.rows {
		started := time.Now()
		b.row = s.name
		var failed error
		if !amongCrowd[s.name] {
			failed = b.disperse(ctx)
		}
		var measured outcome
		if failed == nil {
			measured, failed = s.run(ctx, b)
		}
		if failed != nil {
			err = fmt.Errorf("measuring %s: %w", s.name, failed)
			if ctx.Err() != nil {
				err = errors.New("interrupted")
			}
			break
		}
		b.say(s.name, "%s: %s (%.0f s)", measured.verdict(), measured.measured, time.Since(started).Seconds())
		r.Rows = append(r.Rows, measured.row(s, time.Since(started)))
	}
	if len(r.Rows) == 0 {
		return err
	}
	r.Seconds = int(time.Since(began).Seconds())
	return errors.Join(err, r.write(os.Stdout, o))
}

// command is what to type to measure the same again.
func (o options) command() string {
	command := "make bench"
	if o.names != "" {
		command += " ROWS=" + strings.ReplaceAll(o.names, " ", "")
	}
	if o.runs != 5 {
		command += fmt.Sprintf(" RUNS=%d", o.runs)
	}
	if o.scale != 1 {
		command += fmt.Sprintf(" BENCH_FLAGS='-scale %g'", o.scale)
	}
	return command
}
