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
	followed := make([]*ends, b.runs)
	for i := range herds {
		h, err := b.newMarkedHerd(ctx, 1500, false)
		if err != nil {
			return outcome{}, err
		}
		h.reporter.SetRateLimit(limit, window)
		if followed[i], err = h.follow(ctx); err != nil {
			return outcome{}, err
		}
		defer followed[i].stop() //nolint:revive // a few, and all of them until the end
		herds[i] = h
	}
	p, err := b.startOperator(ctx)
	if err != nil {
		return outcome{}, err
	}
	b.say(b.row, "%d runs side by side, for three windows of %s", b.runs, window)
	deadline := time.Now().Add(6 * window)
	for i, h := range herds {
		_, err := poll(ctx, time.Until(deadline), func() (bool, error) {
			gone, err := followed[i].seen()
			if alive := p.alive(); alive != nil {
				return false, alive
			}
			return len(gone) >= len(h.claimed), err
		})
		if err != nil {
			return outcome{}, err
		}
	}
	var used, refused, minutes series
	for _, h := range herds {
		done, all := h.calls(isDone), h.calls(anyCall)
		used = append(used, usedOf(h.calls(func(e exchange) bool { return !isTooMany(e) }), limit, window))
		refused = append(refused, 100*float64(len(h.calls(isTooMany)))/float64(len(all)))
		if len(done) > 0 {
			minutes = append(minutes, done[len(done)-1].at.Sub(all[0].at).Seconds())
		}
		if len(done) < len(h.claimed) {
			b.say(b.row, "only %d of %d were deleted in %s", len(done), len(h.claimed), 6*window)
		}
	}
	if err := p.end(); err != nil {
		return outcome{}, err
	}
	for i, h := range herds {
		followed[i].stop()
		h.reporter.SetRateLimit(0, 0)
		if err := h.clear(ctx); err != nil {
			return outcome{}, err
		}
	}
	return outcome{
		met: used.median() >= 0.95 && slices.Max(refused) < 1,
		measured: fmt.Sprintf("%s of what full windows allow, %s answered 429; all gone in %s",
			used.in(""), refused.in(" %"), minutes.in(" s")),
		ratio:  used.median(),
		series: map[string]series{"share used": used, "% answered 429": refused, "seconds until all are deleted": minutes},
	}, nil
}
