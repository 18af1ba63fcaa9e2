// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Histories of the operator, its API server and Reporter are simulated, each from a seed that makes it the same every time:
// docs/simulation.md says how, and what is checked.
var (
	simulationSeed      = flag.Uint64("simulation.seed", 0, "simulate the one history of this seed, and print it")
	simulationHistories = flag.Int("simulation.histories", 0, "how many histories to simulate, from the first seed on")
	simulationTheme     = flag.String("simulation.theme", "", "the theme of all histories, in place of one that each draws")
	simulationShorten   = flag.Bool("simulation.shorten", true, "shorten a history that fails")
	simulationDuration  = flag.Duration("simulation.duration", 0, "simulate histories of new seeds for so long")
)

func TestSimulation(t *testing.T) {
	if *simulationSeed != 0 {
		h := simulate(t, *simulationSeed, nil, true)
		t.Log("\n" + strings.Join(h.trace, "\n"))
		if h.failure != "" {
			t.Fatal(h.failure)
		}
		return
	}
	first, histories := uint64(1), 3000/share
	if testing.Short() {
		histories = 300
	}
	if *simulationHistories > 0 {
		histories = *simulationHistories
	}
	if *simulationDuration > 0 {
		first, histories = rand.Uint64()>>16, 0 // few digits to type
	}
	var (
		mu     sync.Mutex
		next   = first
		start  = time.Now()
		failed uint64
		total  = map[string]int{}
		all    sync.WaitGroup
	)
	// The next seed, unless enough were simulated.
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		if failed != 0 || histories > 0 && next-first >= uint64(histories) || histories == 0 && time.Since(start) > *simulationDuration {
			return 0, false
		}
		next++
		return next - 1, true
	}
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for {
				seed, more := take()
				if !more {
					return
				}
				h := simulate(t, seed, nil, false)
				mu.Lock()
				for what, n := range h.counts {
					total[what] += n
				}
				if h.failure != "" && (failed == 0 || seed < failed) {
					failed = seed
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	t.Logf("%d histories from seed %d on, in %s", next-first, first, time.Since(start).Round(time.Second))
	for _, what := range slices.Sorted(maps.Keys(total)) {
		t.Logf("%8d  %s", total[what], what)
	}
	if failed != 0 {
		t.Error(explain(t, failed))
	}
}

// TestSimulationReplays proves that a history depends on nothing but its seed.
func TestSimulationReplays(t *testing.T) {
	for seed := range uint64(50) {
		first, second := simulate(t, seed+1, nil, true), simulate(t, seed+1, nil, true)
		if !slices.Equal(first.drawn, second.drawn) || !slices.Equal(first.trace, second.trace) {
			for n := range min(len(first.trace), len(second.trace)) {
				if first.trace[n] != second.trace[n] {
					t.Fatalf("seed %d plays differently the second time:\n%s\n\nor\n%s", seed+1,
						strings.Join(first.trace[max(0, n-20):min(n+3, len(first.trace))], "\n"), strings.Join(second.trace[n:min(n+3, len(second.trace))], "\n"))
				}
			}
			t.Fatalf("seed %d plays differently the second time", seed+1)
		}
	}
}

// simulate plays one history: from its seed, or with the numbers of a tape in place of what it would draw.
func simulate(t *testing.T, seed uint64, tape []int, tracing bool) *history {
	if seed == 0 && tape == nil {
		tape = []int{}
	}
	h := &history{source: rand.New(rand.NewPCG(seed, 0)), tape: tape, tracing: tracing}
	// Outside of the bubble time is real: a history takes milliseconds, and one without an end would take all the memory.
	endless := time.AfterFunc(2*time.Minute, func() { panic(fmt.Sprintf("the history of seed %d, or its tape, does not end", seed)) })
	defer endless.Stop()
	synctest.Test(t, func(*testing.T) { h.play() })
	return h
}

// explain shortens a history that fails, and tells it.
func explain(t *testing.T, seed uint64) string {
	h := simulate(t, seed, nil, false)
	if h.failure == "" {
		return fmt.Sprintf("seed %d failed, but not again: something in it is left to chance", seed)
	}
	if !*simulationShorten {
		return fmt.Sprintf("seed %d: %s", seed, h.failure)
	}
	t.Logf("seed %d: %s; it is being shortened", seed, h.failure) // which may not come to an end either
	short := shorten(t, h)
	short = simulate(t, 0, short.drawn, true)
	return fmt.Sprintf("seed %d: %s\n\nShortened to %d of %d choices that are not the calm one: %s\n%s\n\n"+
		"Play all of it again: go test ./controllers/simulation -run '^TestSimulation$' -simulation.seed %d -v",
		seed, h.failure, restless(short.drawn), restless(h.drawn), short.failure, strings.Join(short.trace, "\n"), seed)
}

func restless(drawn []int) int {
	n := 0
	for _, value := range drawn {
		if value != 0 {
			n++
		}
	}
	return n
}

// shorten looks for a history that fails in the same way, and in which less happens: it makes one stretch of choices after the other
// calm, ever shorter ones, and cuts off what comes after the failure.
func shorten(t *testing.T, h *history) *history {
	invariant, _, _ := strings.Cut(h.failure, ":")
	deadline := time.Now().Add(20 * time.Second)
	for length := len(h.drawn); length > 0; length /= 2 {
		for at := 0; at < len(h.drawn) && time.Now().Before(deadline); at += length {
			stretch := h.drawn[at:min(at+length, len(h.drawn))]
			if restless(stretch) == 0 {
				continue
			}
			for _, tape := range [][]int{
				slices.Concat(h.drawn[:at], h.drawn[at+len(stretch):]),
				slices.Concat(h.drawn[:at], make([]int, len(stretch)), h.drawn[at+len(stretch):]),
			} {
				if other := simulate(t, 0, tape, false); strings.HasPrefix(other.failure, invariant) && restless(other.drawn) < restless(h.drawn) {
					h = other
					break
				}
			}
		}
	}
	return h
}
