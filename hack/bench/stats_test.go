// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSeries(t *testing.T) {
	for _, test := range []struct {
		values               series
		median, p99, p50     float64
		inWords, distributed string
	}{
		{series{402}, 402, 402, 402, "402/s", "402: 1"},
		{series{3, 1, 2}, 2, 3, 2, "2 (1–3)/s", "1: 1, 2: 1, 3: 1"},
		{series{4, 1, 2, 10}, 3, 10, 2, "3 (1–10)/s", "1: 1, 10: 1, 2: 1, 4: 1"},
		{series{2, 2, 2}, 2, 2, 2, "2/s", "2: 3"},
		{series{0.12345, 1234.56}, 617.341725, 1234.56, 0.12345, "617 (0.123–1235)/s", "0.123: 1, 1235: 1"},
	} {
		var counts []string
		for _, key := range slices.Sorted(maps.Keys(test.values.distribution())) {
			counts = append(counts, key+": "+number(float64(test.values.distribution()[key])))
		}
		if got := test.values.median(); math.Abs(got-test.median) > 1e-9 {
			t.Errorf("the median of %v is %v, not %v", test.values, got, test.median)
		}
		if got := test.values.percentile(99); got != test.p99 {
			t.Errorf("the 99th percentile of %v is %v, not %v", test.values, got, test.p99)
		}
		if got := test.values.percentile(50); got != test.p50 {
			t.Errorf("the 50th percentile of %v is %v, not %v", test.values, got, test.p50)
		}
		if got := test.values.in("/s"); got != test.inWords {
			t.Errorf("%v is written %q, not %q", test.values, got, test.inWords)
		}
		if got := strings.Join(counts, ", "); got != test.distributed {
			t.Errorf("%v is distributed %q, not %q", test.values, got, test.distributed)
		}
	}
	hundred := series{}
	for i := range 1000 {
		hundred = append(hundred, float64(i+1))
	}
	if got := hundred.percentile(99); got != 990 {
		t.Errorf("the 99th percentile of 1 to 1000 is %v, not 990", got)
	}
	if !math.IsNaN(series{}.median()) || !math.IsNaN(series{}.percentile(99)) {
		t.Error("nothing was measured, yet there is a median or percentile of it")
	}
}

func TestKeepsUp(t *testing.T) {
	for _, test := range []struct {
		rates, limit series
		want         bool
	}{
		{series{95}, series{100}, true},
		{series{94}, series{100}, false},
		{series{80, 120, 90}, series{88, 100, 101}, true},  // no slower than the slowest run
		{series{80, 120, 87}, series{88, 100, 101}, false}, // though it was faster once
		{series{0}, series{100}, false},
	} {
		if got := keepsUp(test.rates, test.limit); got != test.want {
			t.Errorf("%v keeps up with %v: %t, not %t", test.rates, test.limit, got, test.want)
		}
	}
}

func TestScheduledCalls(t *testing.T) {
	for _, test := range []struct {
		wait        time.Duration
		least, most int
	}{
		{0, 1, 1},
		{500 * time.Millisecond, 2, 2},
		{5 * time.Second, 5, 7},
		{20 * time.Second, 13, 19},
		{time.Minute, 21, 29},
		{24 * time.Hour, 178, 222}, // every ten minutes in the end
	} {
		if least, most := scheduledCalls(test.wait); least != test.least || most != test.most {
			t.Errorf("in %s %d to %d calls are scheduled, not %d to %d", test.wait, least, most, test.least, test.most)
		}
	}
}

func TestPeakRate(t *testing.T) {
	start := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	var steady, burst []time.Time
	for i := range 20 {
		steady = append(steady, start.Add(time.Duration(i)*time.Second))
		burst = append(burst, start.Add(time.Duration(i)*2*time.Second))
	}
	if got := peakRate(steady, 10); got != 1 {
		t.Errorf("one a second is %v/s", got)
	}
	burst[19] = burst[18].Add(time.Millisecond)
	if got := peakRate(burst, 2); got != 1000 {
		t.Errorf("two within a millisecond are %v/s", got)
	}
	if got := peakRate(steady[:9], 10); got != 0 {
		t.Errorf("nine in all are %v/s of ten in a row", got)
	}
}

func TestUsedOf(t *testing.T) {
	start := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	const window = time.Minute
	// passed is so many deletions at each of some times, in seconds.
	passed := func(n int, seconds ...float64) (calls []exchange) {
		for _, at := range seconds {
			for range n {
				calls = append(calls, exchange{at: start.Add(time.Duration(at * float64(time.Second))), method: "DELETE", id: "id", answer: "204"})
			}
		}
		return calls
	}
	check := append(passed(499, 0), exchange{at: start, method: "GET", answer: "200"})
	for name, test := range map[string]struct {
		calls []exchange
		want  float64
	}{
		"all of it, in bursts":       {passed(500, 0, 60, 120), 1},
		"all of it, spread":          {passed(50, 0, 6, 12, 18, 24, 30, 36, 42, 48, 54, 60), 1},
		"half of it":                 {passed(250, 0, 60, 120), 0.5},
		"a second late each time":    {passed(500, 0, 61, 122), 60.0 / 61},
		"a whole window left out":    {passed(500, 0, 120), 0.5},
		"a call for something else":  {append(check, passed(500, 60)...), 499.0 / 500},
		"too little to tell":         {passed(500, 0, 30), 0},
		"nothing":                    {nil, 0},
		"the last one need not fill": {passed(500, 0, 60)[:501], 1},
	} {
		if got := usedOf(test.calls, 500, window); math.Abs(got-test.want) > 1e-9 {
			t.Errorf("%s: %v was used, not %v", name, got, test.want)
		}
	}
}

func TestRateOf(t *testing.T) {
	start := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	times := []time.Time{start, start.Add(time.Second), start.Add(1500 * time.Millisecond), start.Add(2 * time.Second)}
	if got := rateOf(times); got != 1.5 {
		t.Errorf("four in two seconds are %v/s, not 1.5", got)
	}
	if got := rateOf(times[:1]); got != 0 {
		t.Errorf("one alone has the rate %v", got)
	}
}

func TestParseCPU(t *testing.T) {
	const stat = "4211 (man) ager (x)) S 1 4211 4211 0 -1 4194304 5340 0 0 0 123 45 7 8 20 0 9 0 1 2 3"
	if got, err := parseCPU(stat); err != nil || got != 1680*time.Millisecond {
		t.Errorf("got %s, %v, not 1.68s", got, err)
	}
	for _, bad := range []string{"", "1 (x) S 1", strings.Replace(stat, "123", "many", 1)} {
		if _, err := parseCPU(bad); err == nil || !strings.Contains(err.Error(), "reading the CPU time of a process") {
			t.Errorf("reading %q returns %v", bad, err)
		}
	}
}

func TestParseReconciles(t *testing.T) {
	const metrics = `# TYPE controller_runtime_reconcile_total counter
controller_runtime_reconcile_total{controller="reporterconnection",result="error"} 1
controller_runtime_reconcile_total{controller="reporterconnection",result="requeue_after"} 20
controller_runtime_reconcile_total{controller="reporterconnection",result="success"} 5.0e+03
controller_runtime_reconcile_total{controller="reporterendpoint",result="success"} 40000
controller_runtime_reconcile_errors_total{controller="reporterconnection"} 600000
`
	if got, err := parseReconciles(bufio.NewScanner(strings.NewReader(metrics))); err != nil || got != 5021 {
		t.Errorf("got %d, %v, not 5021", got, err)
	}
	if _, err := parseReconciles(bufio.NewScanner(strings.NewReader("up 1\n"))); err == nil {
		t.Error("metrics without any reconciles are taken for none")
	}
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 100)
	var seen []string
	err := lines(bufio.NewReaderSize(strings.NewReader("a"+long+"\nb\n\nc"+long+long), 16), func(start []byte) {
		seen = append(seen, string(bytes.TrimSpace(start[:min(3, len(start))])))
	})
	if want := []string{"axx", "b", "", "cxx"}; !slices.Equal(seen, want) || err == nil {
		t.Errorf("seen are %q and %v, not %q and the end", seen, err, want)
	}
}
