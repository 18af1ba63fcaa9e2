// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// series holds the values of one measurement, one for each run or each resource.
type series []float64

func (s series) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	if n == 0 {
		return math.NaN()
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// percentile returns the least value that so many per cent of the values are no greater than (the nearest-rank method).
func (s series) percentile(percent float64) float64 {
	sorted := slices.Sorted(slices.Values(s))
	if len(sorted) == 0 {
		return math.NaN()
	}
	return sorted[max(0, int(math.Ceil(percent/100*float64(len(sorted))))-1)]
}

// in writes the median, and the spread if there is any, as in "402 (395–410) /s".
func (s series) in(unit string) string {
	text := number(s.median())
	if len(s) > 1 && slices.Min(s) != slices.Max(s) {
		text += fmt.Sprintf(" (%s–%s)", number(slices.Min(s)), number(slices.Max(s)))
	}
	return text + unit
}

// distribution counts the values, by what is written for them.
func (s series) distribution() map[string]int {
	counts := map[string]int{}
	for _, value := range s {
		counts[number(value)]++
	}
	return counts
}

// number writes three digits, or all of them before the point.
func number(f float64) string {
	if math.Abs(f) >= 100 {
		return strconv.FormatFloat(f, 'f', 0, 64)
	}
	return strconv.FormatFloat(f, 'g', 3, 64)
}

// keepsUp says whether something is as fast as what it is compared with: 0.95 of its median, or no slower than its slowest run.
func keepsUp(rates, limit series) bool {
	return rates.median() >= 0.95*limit.median() || rates.median() >= slices.Min(limit)
}

// The proportional schedule, as the README tells users: after an eighth of the time waited already, never sooner than a second nor
// later than ten minutes, give or take a tenth.
const (
	minDelay = time.Second
	maxDelay = 10 * time.Minute
)

// scheduledCalls returns the least and the most calls of Reporter that the schedule has for a deletion whose job ends after it has
// waited for so long. The last one is the one that succeeds. The wait is written down in whole seconds, so it may seem up to a second
// longer than it is, and an attempt may be late by what the machine has to do at the time.
func scheduledCalls(wait time.Duration) (least, most int) {
	const late = 250 * time.Millisecond
	return callsWithin(wait, 1.1, time.Second, late), callsWithin(wait, 0.9, 0, 0)
}

func callsWithin(wait time.Duration, jitter float64, ahead, late time.Duration) int {
	calls := 1
	for at := time.Duration(0); at < wait; calls++ {
		pause := min(max((at+ahead)/8, minDelay), maxDelay)
		at += time.Duration(float64(pause)*jitter) + late
	}
	return calls
}

// peakRate is the greatest rate, per second, of any so many events in a row; 0 if there are not that many.
func peakRate(times []time.Time, inRow int) float64 {
	peak := 0.0
	for i := inRow - 1; i < len(times); i++ {
		peak = max(peak, float64(inRow-1)/times[i].Sub(times[i-inRow+1]).Seconds())
	}
	return peak
}

// usedOf is the share of what a limiter with fixed windows allows that was used for deletions, until the last window began: nobody had to
// fill that one. A window begins with the first call after the last one's end, so whoever comes late has used less of the time.
func usedOf(passed []exchange, limit int, window time.Duration) float64 {
	var first, last time.Time // the beginnings of windows
	done, before := 0, 0
	for _, e := range passed {
		if !e.at.Before(last.Add(window)) {
			last, before = e.at, done
			if first.IsZero() {
				first = e.at
			}
		}
		if isDone(e) {
			done++
		}
	}
	if last.Equal(first) {
		return 0
	}
	return float64(before) / (float64(limit) * float64(last.Sub(first)) / float64(window))
}
