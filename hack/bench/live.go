// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// amongCrowd are the rows that share 10,000 live resources.
var amongCrowd = map[string]bool{"memory": true, "restart": true}

// crowded returns the 10,000 live resources.
func (b *bench) crowded(ctx context.Context) (*herd, error) {
	if b.crowd == nil {
		b.say(b.row, "creating %d resources", b.sized(10000))
		h, err := b.newHerd(ctx, b.sized(10000), true)
		if err != nil {
			return nil, err
		}
		b.crowd = h
	}
	return b.crowd, nil
}

// disperse clears the crowd, if there is one.
func (b *bench) disperse(ctx context.Context) error {
	if b.crowd == nil {
		return nil
	}
	h := b.crowd
	b.crowd = nil
	return h.clear(ctx)
}

// memory compares the operator with a manager that only watches, side by side.
func memory(ctx context.Context, b *bench) (outcome, error) {
	if _, err := b.crowded(ctx); err != nil {
		return outcome{}, err
	}
	var operator, bare, operatorOwn, bareOwn series
	for round := range b.runs {
		limit, err := b.startYardstick(ctx, "bare")
		if err != nil {
			return outcome{}, err
		}
		p, err := b.startOperator(ctx)
		if err != nil {
			return outcome{}, err
		}
		if err := pause(ctx, 20*time.Second); err != nil {
			return outcome{}, err
		}
		if err := errors.Join(p.alive(), limit.alive()); err != nil {
			return outcome{}, err
		}
		resident, own := p.megabytes()
		limitResident, limitOwn := limit.megabytes()
		operator, operatorOwn = append(operator, resident), append(operatorOwn, own)
		bare, bareOwn = append(bare, limitResident), append(bareOwn, limitOwn)
		b.progress(round, "operator %s MB, bare manager %s MB", number(resident), number(limitResident))
		for _, p := range []*process{p, limit} {
			if err := p.end(); err != nil {
				return outcome{}, err
			}
		}
	}
	ratio := operator.median() / bare.median()
	return outcome{
		met: ratio <= 1.3,
		measured: fmt.Sprintf("operator %s, bare manager %s; without what is mapped of their programs %s and %s",
			operator.in(" MB"), bare.in(" MB"), operatorOwn.in(" MB"), bareOwn.in(" MB")),
		ratio:  ratio,
		series: map[string]series{"operator MB": operator, "bare MB": bare, "operator RssAnon MB": operatorOwn, "bare RssAnon MB": bareOwn},
	}, nil
}

// restart measures how long a few deletions take when the operator starts among many live resources.
func restart(ctx context.Context, b *bench) (outcome, error) {
	h, err := b.crowded(ctx)
	if err != nil {
		return outcome{}, err
	}
	var idle, restarted, sinceStart, routine series
	for round := range b.runs {
		took, err := h.deleteSome(ctx)
		if err != nil {
			return outcome{}, err
		}
		idle = append(idle, took)
		r, err := h.deleteSomeAndRestart(ctx)
		if err != nil {
			return outcome{}, err
		}
		restarted, sinceStart, routine = append(restarted, r.took), append(sinceStart, r.sinceStart), append(routine, r.routine)
		b.progress(round, "100 go in %s s on an idle operator, in %s s after a restart; routine GETs %s/s", number(took), number(r.took), number(r.routine))
	}
	ratio := restarted.median() / idle.median()
	return outcome{
		// Two calls are never less than a second apart when they are sent, and may be when they arrive.
		met: ratio <= 2 && slices.Max(routine) <= 1.05,
		measured: fmt.Sprintf("%s after the restart (%s with the start of the process and its caches), %s on an idle operator; at most %s routine GETs/s",
			restarted.in(" s"), sinceStart.in(" s"), idle.in(" s"), number(slices.Max(routine))),
		ratio: ratio,
		series: map[string]series{"idle: seconds": idle, "restart: seconds": restarted, "restart: seconds since the process was started": sinceStart,
			"routine GETs/s": routine},
	}, nil
}

// victims is how many resources are deleted among the crowd.
const victims = 100

// takeVictims returns the youngest of the crowd, which no longer counts them.
func (h *herd) takeVictims() []reportertest.Connection {
	rest := len(h.claimed) - h.sized(victims)
	taken := h.claimed[rest:]
	h.claimed = h.claimed[:rest]
	return taken
}

// deleteSome has users delete some resources on an operator that has nothing else to do, and returns how long it takes in seconds, from
// the first call of Reporter until the last resource is gone.
func (h *herd) deleteSome(ctx context.Context) (float64, error) {
	p, err := h.startOperator(ctx)
	if err != nil {
		return 0, err
	}
	if err := h.grow(ctx, h.sized(victims), true); err != nil {
		return 0, err
	}
	if err := pause(ctx, 10*time.Second); err != nil { // so that it is idle
		return 0, err
	}
	ends, err := h.follow(ctx)
	if err != nil {
		return 0, err
	}
	defer ends.stop()
	h.tally.reset()
	if err := h.deleteOneByOne(ctx, h.takeVictims()); err != nil {
		return 0, err
	}
	if err := ends.awaitAll(ctx, p, h.sized(victims)); err != nil {
		return 0, err
	}
	gone, err := ends.seen()
	if err != nil {
		return 0, err
	}
	return gone[len(gone)-1].Sub(h.calls(isDeletion)[0].at).Seconds(), p.end()
}

type restarted struct {
	took, sinceStart float64 // seconds
	routine          float64 // GETs per second, at most
}

// deleteSomeAndRestart has users delete some resources while no operator runs. What it takes is counted from the operator's first call
// about any connection: its caches are filled by then.
func (h *herd) deleteSomeAndRestart(ctx context.Context) (restarted, error) {
	var r restarted
	if err := h.grow(ctx, h.sized(victims), true); err != nil {
		return r, err
	}
	ends, err := h.follow(ctx)
	if err != nil {
		return r, err
	}
	defer ends.stop()
	if err := h.deleteOneByOne(ctx, h.takeVictims()); err != nil {
		return r, err
	}
	h.tally.reset()
	p, err := h.startOperator(ctx)
	if err != nil {
		return r, err
	}
	if err := ends.awaitAll(ctx, p, h.sized(victims)); err != nil {
		return r, err
	}
	if err := pause(ctx, 15*time.Second); err != nil { // for routine look-ups
		return r, err
	}
	gone, err := ends.seen()
	if err != nil {
		return r, err
	}
	last := gone[len(gone)-1]
	r.took, r.sinceStart = last.Sub(h.calls(aboutConnection)[0].at).Seconds(), last.Sub(p.started).Seconds()
	r.routine = peakRate(timesOf(h.calls(isLookup)), 10)
	return r, p.end()
}
