// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// rateLimit measures what the operator makes of what a Reporter allows. The runs are side by side, each with a Reporter of its own, as
// what bounds them is no machine.
func rateLimit(ctx context.Context, b *bench) (outcome, error) {
	limit, window := b.sized(1500)/3, b.shortened(time.Minute)
	herds := make([]*herd, b.runs)
	for i := range herds {
		h, err := b.newMarkedHerd(ctx, 1500, true)
		if err != nil {
			return outcome{}, err
		}
		h.reporter.SetRateLimit(limit, window)
		herds[i] = h
	}
	p, err := b.startOperator(ctx)
	if err != nil {
		return outcome{}, err
	}
	b.say(b.row, "%d runs side by side, for three windows of %s", b.runs, window)
	_, err = poll(ctx, 6*window, func() (bool, error) { // what is not deleted by then is seen in the share
		done := !slices.ContainsFunc(herds, func(h *herd) bool { return len(h.calls(isDone)) < len(h.claimed) })
		return done, p.alive()
	})
	if err != nil {
		return outcome{}, err
	}
	if err := p.end(); err != nil {
		return outcome{}, err
	}
	var used, refused, seconds series
	for _, h := range herds {
		all := h.calls(anyCall)
		used = append(used, usedOf(h.calls(func(e exchange) bool { return !isTooMany(e) }), limit, window))
		refused = append(refused, 100*float64(len(h.calls(isTooMany)))/float64(len(all)))
		seconds = append(seconds, all[len(all)-1].at.Sub(all[0].at).Seconds())
		h.reporter.SetRateLimit(0, 0)
		if err := h.clear(ctx); err != nil {
			return outcome{}, err
		}
	}
	return outcome{
		met: used.median() >= 0.95 && slices.Max(refused) < 1,
		measured: fmt.Sprintf("%s of what it allows until the last window, %s answered 429; the last call after %s",
			used.in(""), refused.in(" %"), seconds.in(" s")),
		ratio:  used.median(),
		series: map[string]series{"share used": used, "% answered 429": refused, "seconds until the last call": seconds},
	}, nil
}
