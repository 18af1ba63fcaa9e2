// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/reporter-operator/reporter-operator/internal/testenv"
)

// process is the operator or a yardstick.
type process struct {
	*testenv.Process
	metrics string // the URL of its metrics, if it has any
	log     string // the path of what it prints
	started time.Time
}

// contender is one of those that drain the same herd. They differ in what they do, and in nothing else: each is a process
// of its own with the operator's ServiceAccount, so that the API server has the same to do for each request.
type contender struct {
	name  string
	start func(*bench, context.Context, *herd) (*process, error)
}

var (
	noopYardstick = contender{"noop", func(b *bench, ctx context.Context, _ *herd) (*process, error) { return b.startYardstick(ctx, "noop") }}
	httpYardstick = contender{"http", func(b *bench, ctx context.Context, h *herd) (*process, error) {
		return b.startYardstick(ctx, "http", h.server.URL)
	}}
	plainYardstick = contender{"plain", func(b *bench, ctx context.Context, h *herd) (*process, error) {
		return b.startYardstick(ctx, "plain", h.server.URL)
	}}
	theOperator = contender{"operator", func(b *bench, ctx context.Context, _ *herd) (*process, error) { return b.startOperator(ctx) }}
)

func (b *bench) startYardstick(ctx context.Context, args ...string) (*process, error) {
	return b.start("", func(log io.Writer) (*testenv.Process, error) {
		return b.StartAsOperator(ctx, log, b.yardstick, args...)
	})
}

func (b *bench) startOperator(ctx context.Context) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	return b.start("http://"+address+"/metrics", func(log io.Writer) (*testenv.Process, error) {
		return b.StartOperator(ctx, log, "--metrics-bind-address="+address, "--metrics-secure=false")
	})
}

// start starts a process with a log of its own, and remembers it.
func (b *bench) start(metrics string, start func(log io.Writer) (*testenv.Process, error)) (*process, error) {
	log, err := os.Create(filepath.Join(b.Dir, fmt.Sprintf("process-%d.log", len(b.processes))))
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // the process has its own handle
	p := &process{metrics: metrics, log: log.Name(), started: time.Now()}
	if p.Process, err = start(log); err != nil {
		return nil, err
	}
	b.processes = append(b.processes, p)
	return p, nil
}

// freeAddress returns an address of this machine that nobody listens at.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// alive returns an error if the process has ended, which it was not to do.
func (p *process) alive() error {
	select {
	case <-p.Done():
		return p.tell(errors.New("what was measured ended by itself"))
	default:
		return nil
	}
}

// tell adds the end of what the process printed to an error.
func (p *process) tell(err error) error {
	log, readErr := os.ReadFile(p.log)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	return fmt.Errorf("%w. It printed at last:\n%s", err, log[max(0, len(log)-4<<10):])
}

// cpu is how much time of a core the process has used so far.
func (p *process) cpu() (time.Duration, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return 0, err
	}
	return parseCPU(string(content))
}

// apiServerCPU is how much time of a core the API server has used so far.
func apiServerCPU() (time.Duration, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	ours := fmt.Sprintf("(kube-apiserver) S %d ", os.Getpid())
	for _, path := range stats {
		if stat, err := os.ReadFile(path); err == nil && strings.Contains(runningAsSleeping.Replace(string(stat)), ours) {
			return parseCPU(string(stat))
		}
	}
	return 0, errors.New("finding the API server among the processes: there is none of ours")
}

// runningAsSleeping gives all processes that are alive the same state in /proc/PID/stat.
var runningAsSleeping = strings.NewReplacer(") R ", ") S ", ") D ", ") S ")

// parseCPU reads /proc/PID/stat (man proc_pid_stat): the 14th and 15th field are user and system time, in hundredths of a second. The
// second one is a name in parentheses, which may hold anything.
func parseCPU(stat string) (time.Duration, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("reading the CPU time of a process: unexpected %q", stat)
	}
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("reading the CPU time of a process: unexpected %q", stat)
	}
	return time.Duration(user+system) * 10 * time.Millisecond, nil
}

// megabytes is how much memory the process has resident, and how much of that it has itself filled: the rest is its program, as the
// kernel has read it from the file so far.
func (p *process) megabytes() (resident, own float64) {
	status := fmt.Sprintf("/proc/%d/status", p.PID())
	return float64(kilobytes(fieldOf(status, "VmRSS"))) / 1024, float64(kilobytes(fieldOf(status, "RssAnon"))) / 1024
}

// reconciles is how many ReporterConnections the operator has reconciled so far, whatever came of it.
func (p *process) reconciles(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.metrics, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("reading the operator's metrics: %w", err)
	}
	defer resp.Body.Close()
	return parseReconciles(bufio.NewScanner(resp.Body))
}

func parseReconciles(metrics *bufio.Scanner) (int, error) {
	sum, found := 0.0, false
	for metrics.Scan() {
		if !strings.HasPrefix(metrics.Text(), `controller_runtime_reconcile_total{controller="reporterconnection",`) {
			continue
		}
		value, err := strconv.ParseFloat(metrics.Text()[strings.LastIndexByte(metrics.Text(), ' ')+1:], 64)
		if err != nil {
			return 0, fmt.Errorf("reading the operator's metrics: %w", err)
		}
		sum, found = sum+value, true
	}
	if err := metrics.Err(); err != nil || !found {
		return 0, fmt.Errorf("reading the operator's metrics: no reconciles of ReporterConnections in them: %w", err)
	}
	return int(sum), nil
}

// end stops the process in good order, and has the API server finish what it logs of it.
func (p *process) end() error {
	if err := p.Stop(); err != nil {
		return p.tell(fmt.Errorf("stopping what was measured: %w", err))
	}
	time.Sleep(100 * time.Millisecond)
	return nil
}
