// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"testing"
)

// What the benchmark counts is the same on any machine, so some of it is checked here, and that the rest of it still runs: on a real
// API server, with few objects, and without a look at how long anything takes.
func TestOnControlPlane(t *testing.T) {
	b := &bench{options: options{runs: 1}}
	t.Cleanup(func() {
		if err := b.tearDown(); err != nil {
			t.Errorf("tearing down: %v", err)
		}
	})
	if err := b.setUp(t.Context()); err != nil {
		t.Fatalf("setting up: %v", err)
	}
	for _, test := range []struct {
		row   string
		scale float64 // another than that of the rest
		// each is the one value that was counted for each resource, runs how many there were of what was measured.
		each map[string]string
		runs map[string]int
	}{
		{row: "drain-1000", runs: map[string]int{"noop drains/s": 1, "http drains/s": 1, "operator drains/s": 1}},
		{row: "drain-bare", runs: map[string]int{"bare drains/s": 1, "http drains/s": 1, "operator drains/s": 1, "bare ms": 1, "operator ms": 1}},
		{row: "idle", each: map[string]string{
			"as they come: finalizer writes": "1", "as they come: status writes": "0", "as they come: calls of Reporter": "1",
			"marked beforehand: finalizer writes": "1", "marked beforehand: status writes": "0", "marked beforehand: calls of Reporter": "1"}},
		{row: "creation", each: map[string]string{
			"with the policy: finalizer writes": "0", "with the policy: status writes": "1",
			"without it: finalizer writes": "1", "without it: status writes": "1"}},
		{row: "described", each: map[string]string{"finalizer writes": "0"}, runs: map[string]int{"POSTs": 1, "lists": 1, "events": 1}},
		{row: "change", each: map[string]string{"finalizer writes": "0"}},
		{row: "checks", scale: 0.002, runs: map[string]int{"GETs": 1}},
	} {
		chosen, err := selected(test.row)
		if err != nil {
			t.Fatal(err)
		}
		b.scale = cmp.Or(test.scale, 0.05)
		o, err := chosen[0].run(t.Context(), b)
		if err != nil {
			t.Fatalf("%s: %v", test.row, err)
		}
		for name, want := range test.each {
			if got := o.each[name].distribution(); len(got) != 1 || got[want] == 0 {
				t.Errorf("%s: %s are %v, not %s for each resource", test.row, name, got, want)
			}
		}
		for name, want := range test.runs {
			if got := o.series[name]; len(got) != want || got.percentile(1) <= 0 {
				t.Errorf("%s: %s are %v, not of %d runs", test.row, name, got, want)
			}
		}
	}
}
