// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/hack/bench/plain"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// drainBare compares how fast the operator drains a herd with how fast as many objects are drained that have nothing which they need not
// have. What ReporterConnections cost the API server more than those, no operator can make up for, so its time is told as well.
func drainBare(ctx context.Context, b *bench) (outcome, error) {
	if err := b.definePlain(ctx); err != nil {
		return outcome{}, fmt.Errorf("defining the kind Plain: %w", err)
	}
	rates, costs, left := map[string]series{}, map[string]series{}, 0
	for round := range b.runs {
		for _, who := range []contender{plainYardstick, httpYardstick, theOperator} {
			drain := b.drainPlain
			if who.name != plainYardstick.name {
				drain = func(ctx context.Context, size int) (drained, error) { return b.drainHerd(ctx, size, true, who) }
			}
			d, err := drain(ctx, 1000)
			if err != nil {
				return outcome{}, fmt.Errorf("draining with %s: %w", who.name, err)
			}
			rates[who.name], costs[who.name], left = append(rates[who.name], d.rate()), append(costs[who.name], d.apiServer), left+d.left
			b.progress(round, "%s drains %s/s, at %s ms of the API server's time each", who.name, number(d.rate()), number(d.apiServer))
		}
	}
	operator, http, bare := rates["operator"], rates["http"], rates["plain"]
	ratio := operator.median() / bare.median()
	return outcome{
		met: ratio >= 0.95 && left == 0,
		measured: fmt.Sprintf("operator %s, http %s, bare objects %s; the API server takes %s, %s and %s for each",
			operator.in("/s"), http.in("/s"), bare.in("/s"), costs["operator"].in(" ms"), costs["http"].in(" ms"), costs["plain"].in(" ms")),
		ratio: ratio,
		series: map[string]series{"operator drains/s": operator, "http drains/s": http, "bare drains/s": bare,
			"operator ms": costs["operator"], "http ms": costs["http"], "bare ms": costs["plain"]},
	}, nil
}

// definePlain has the API server know the kind, as the yardstick may use it.
func (b *bench) definePlain(ctx context.Context) error {
	if _, err := b.Kubectl(ctx, plain.Manifests, "apply", "-f", "-"); err != nil {
		return err
	}
	_, err := b.Kubectl(ctx, "", "wait", "--for=condition=Established", "crd", "plains.bench.example.com")
	return err
}

// drainPlain is drainHerd for plain objects.
func (b *bench) drainPlain(ctx context.Context, size int) (drained, error) {
	h, err := b.newEmptyHerd(ctx, plain.Kind)
	if err != nil {
		return drained{}, err
	}
	defer h.server.Close()
	for range b.sized(size) {
		h.claimed = append(h.claimed, h.reporter.Add(reportertest.Connection{}))
	}
	err = parallel(ctx, len(h.claimed), func(ctx context.Context, i int) error {
		return h.api.Create(ctx, plain.For(h.namespace, nameOf(h.claimed[i]), h.claimed[i].ID, v1alpha1.ConnectionFinalizer))
	})
	if err := errors.Join(err, h.markDeleted(ctx)); err != nil {
		return drained{}, err
	}
	d, p, err := h.drain(ctx, plainYardstick)
	if err != nil {
		return drained{}, err
	}
	return d, p.end()
}
