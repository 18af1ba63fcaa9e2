// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/reporter-operator/reporter-operator/internal/testenv"
)

// process is the operator or a yardstick.
type process struct {
	*testenv.Process
	metrics string // the URL of its metrics, if it has any
	started time.Time
}

// contender is one of those that drain the same herd. They are told apart by what they do, and are alike in all else: each is a process
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
	theOperator = contender{"operator", func(b *bench, ctx context.Context, _ *herd) (*process, error) { return b.startOperator(ctx) }}
)

func (b *bench) startYardstick(ctx context.Context, args ...string) (*process, error) {
	started := time.Now()
	p, err := b.StartAsOperator(ctx, b.log, b.yardstick, args...)
	if err != nil {
		return nil, err
	}
	return b.remember(&process{Process: p, started: started}), nil
}

func (b *bench) startOperator(ctx context.Context) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	started := time.Now()
	p, err := b.StartOperator(ctx, b.log, "--metrics-bind-address="+address, "--metrics-secure=false")
	if err != nil {
		return nil, err
	}
	return b.remember(&process{Process: p, metrics: "http://" + address + "/metrics", started: started}), nil
}

func (b *bench) remember(p *process) *process {
	b.processes = append(b.processes, p)
	return p
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
		return fmt.Errorf("the process ended by itself")
	default:
		return nil
	}
}

// cpu is how much time of a core the process has used so far.
func (p *process) cpu() (time.Duration, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return 0, err
	}
	return parseCPU(string(content))
}

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

// megabytes is how much memory the process has resident, now and at most so far.
func (p *process) megabytes() (now, peak float64) {
	status := fmt.Sprintf("/proc/%d/status", p.PID())
	return float64(kilobytes(fieldOf(status, "VmRSS"))) / 1024, float64(kilobytes(fieldOf(status, "VmHWM"))) / 1024
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
		return fmt.Errorf("stopping what was measured: %w", err)
	}
	time.Sleep(100 * time.Millisecond)
	return nil
}
