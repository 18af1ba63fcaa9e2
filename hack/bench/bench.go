// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/reporter-operator/reporter-operator/internal/testenv"
)

// bench is where the scenarios are run: one control plane for all of them. Each makes its own namespaces and Reporters, and clears them
// when it is done.
type bench struct {
	options
	*testenv.World
	// api acts as administrator, as fast as it can.
	api       client.Client
	config    *rest.Config
	yardstick string // the path of its binary
	row       string // that is being measured
	audited   int64  // how far the audit log was read
	processes []*process
	// crowd is the 10,000 live resources, once there are any.
	crowd *herd
	// drained is what was measured of the operator's drains, by size.
	drained map[int][]drained
}

func (b *bench) setUp(ctx context.Context) error {
	ctrl.SetLogger(zap.New(zap.WriteTo(io.Discard))) // the libraries' logs are not shown
	var err error
	if b.World, err = testenv.Start(ctx); err != nil {
		return err
	}
	b.config = b.Config()
	b.config.QPS = -1
	if b.api, err = client.New(b.config, client.Options{Scheme: b.Scheme()}); err != nil {
		return err
	}
	b.drained = map[int][]drained{}
	b.yardstick, err = b.Build(ctx, "yardstick", "./hack/bench/yardstick")
	return err
}

func (b *bench) tearDown() error {
	for _, p := range b.processes {
		p.Kill()
	}
	if b.World == nil {
		return nil
	}
	return b.Stop()
}

// say shows progress, on stderr: stdout is for the table.
func (b *bench) say(row, format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %-11s %s\n", time.Now().Format("15:04:05"), row, fmt.Sprintf(format, args...))
}

// progress tells of one run of the row that is being measured.
func (b *bench) progress(round int, format string, args ...any) {
	b.say(b.row, "run %d of %d: %s", round+1, b.runs, fmt.Sprintf(format, args...))
}

// sized returns how many objects to take for a number that the table names.
func (b *bench) sized(n int) int { return max(5, int(float64(n)*b.scale)) }

// shortened returns how long to wait for a time that the table names: at a tenth of the scale, a third of it.
func (b *bench) shortened(d time.Duration) time.Duration {
	return max(time.Second, time.Duration(float64(d)*min(1, math.Sqrt(b.scale))).Round(time.Second))
}

// parallel calls do for each number below n, a few at the same time.
func parallel(ctx context.Context, n int, do func(context.Context, int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

// poll asks until done says so, and returns false if that takes longer than patience.
func poll(ctx context.Context, patience time.Duration, done func() (bool, error)) (bool, error) {
	deadline := time.Now().Add(patience)
	for {
		if ok, err := done(); ok || err != nil {
			return ok, err
		}
		if time.Now().After(deadline) {
			return false, nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return false, err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// machine says what all this was measured on, as far as it can be told.
func (b *bench) machine() machine {
	m := machine{
		CPU:      fieldOf("/proc/cpuinfo", "model name"),
		Cores:    runtime.NumCPU(),
		MemoryMB: kilobytes(fieldOf("/proc/meminfo", "MemTotal")) >> 10,
		OS:       runtime.GOOS + "/" + runtime.GOARCH,
		Go:       runtime.Version(),
	}
	if discoverer, err := discovery.NewDiscoveryClientForConfig(b.config); err == nil {
		if version, err := discoverer.ServerVersion(); err == nil {
			m.Kubernetes = version.GitVersion
		}
	}
	return m
}

// fieldOf returns what a file like /proc/meminfo has after the first "name:", "" if there is no such file.
func fieldOf(path, name string) string {
	content, _ := os.ReadFile(path) //nolint:errcheck // there are machines without such a file
	for line := range bytes.Lines(content) {
		if key, value, found := strings.Cut(string(line), ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// kilobytes reads a size like "41220 kB".
func kilobytes(size string) int {
	n, _ := strconv.Atoi(strings.TrimSuffix(size, " kB")) //nolint:errcheck // 0 stands for what this machine does not tell
	return n
}

// lines calls see for each line of what is read until that ends.
func lines(reader *bufio.Reader, see func(start []byte)) error {
	for {
		line, err := reader.ReadSlice('\n')
		if len(line) > 0 {
			see(line)
		}
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a long line is of no interest
			_, err = reader.ReadSlice('\n')
		}
		if err != nil {
			return err
		}
	}
}
