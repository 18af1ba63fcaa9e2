// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/hack/internal/words"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
	"github.com/reporter-operator/reporter-operator/internal/testenv"
)

// drained is what one drain was like.
type drained struct {
	times      []time.Time // when the resources vanished
	left       int         // how many did not, though it was waited for long
	reconciles int         // of the operator
	apiServer  float64     // milliseconds of a core that the API server has used for each
}

// rate is how many resources vanished per second, from the first one to the last. How long a process takes to start is left out.
func (d drained) rate() float64 { return rateOf(d.times) }

func rateOf(times []time.Time) float64 {
	if len(times) < 2 {
		return 0
	}
	return float64(len(times)-1) / times[len(times)-1].Sub(times[0]).Seconds()
}

// drain compares how fast herds of a size are drained.
func drain(size int) func(context.Context, *bench) (outcome, error) {
	return func(ctx context.Context, b *bench) (outcome, error) {
		rates, left := map[string]series{}, 0
		for round := range b.runs {
			for _, who := range []contender{noopYardstick, httpYardstick, theOperator} {
				d, err := b.drainHerd(ctx, size, true, who)
				if err != nil {
					return outcome{}, fmt.Errorf("draining with %s: %w", who.name, err)
				}
				rates[who.name], left = append(rates[who.name], d.rate()), left+d.left
				b.progress(round, "%s drains %s/s", who.name, number(d.rate()))
			}
		}
		operator, limit := rates["operator"], rates["http"]
		return outcome{
			met:      keepsUp(operator, limit) && left == 0,
			measured: fmt.Sprintf("operator %s, http %s, noop %s", operator.in("/s"), limit.in("/s"), rates["noop"].in("/s")),
			ratio:    operator.median() / limit.median(),
			series:   map[string]series{"operator drains/s": operator, "http drains/s": limit, "noop drains/s": rates["noop"]},
		}, nil
	}
}

// drainHerd makes a herd, marks it deleted while nothing runs, and has it drained.
func (b *bench) drainHerd(ctx context.Context, size int, ready bool, who contender) (drained, error) {
	h, err := b.newMarkedHerd(ctx, size, ready)
	if err != nil {
		return drained{}, err
	}
	d, p, err := h.drain(ctx, who)
	if err != nil {
		return drained{}, err
	}
	if err := p.end(); err != nil {
		return drained{}, err
	}
	if ready && who.name == theOperator.name {
		b.drained[size] = append(b.drained[size], d)
	}
	return d, h.clear(ctx)
}

// drain has a herd that is marked deleted drained by a process, which goes on.
func (h *herd) drain(ctx context.Context, who contender) (d drained, p *process, err error) {
	ends, err := h.follow(ctx)
	if err != nil {
		return d, nil, err
	}
	defer ends.stop()
	before, err := apiServerCPU()
	if err != nil {
		return d, nil, err
	}
	if p, err = who.start(h.bench, ctx, h); err != nil {
		return d, nil, err
	}
	if d.times, err = ends.await(ctx, p, len(h.claimed)); err != nil {
		return d, nil, err
	}
	after, err := apiServerCPU()
	if err != nil {
		return d, nil, err
	}
	d.apiServer = (after - before).Seconds() * 1000 / float64(len(h.claimed))
	if d.left = len(h.claimed) - len(d.times); d.left > 0 {
		h.tellOfLeft(ctx, d.left)
	}
	if p.metrics != "" {
		d.reconciles, err = p.reconciles(ctx)
	}
	return d, p, err
}

// tellOfLeft shows one of the resources that should have vanished.
func (h *herd) tellOfLeft(ctx context.Context, n int) {
	var left v1alpha1.ReporterConnectionList
	text := ""
	if err := h.api.List(ctx, &left, client.InNamespace(h.namespace), client.Limit(1)); err == nil && len(left.Items) > 0 {
		one := left.Items[0]
		asked := h.calls(func(e exchange) bool { return e.id == one.Spec.ConnectionID })
		text = fmt.Sprintf(", such as %s, for which Reporter was asked %s: %+v", one.Name, words.Plural(len(asked), "time"), one.Status.Conditions)
	}
	h.say(h.row, "%s left, and none has gone for %s%s", words.Plural(n, "resource"), patience, text)
}

// operatorDrains returns what the operator's drains of a size were like: those of another row, if it was among those selected.
func (b *bench) operatorDrains(ctx context.Context, size int) ([]drained, error) {
	for round := len(b.drained[size]); round < b.runs; round++ {
		d, err := b.drainHerd(ctx, size, true, theOperator)
		if err != nil {
			return nil, err
		}
		b.progress(round, "the operator drains %s/s", number(d.rate()))
	}
	return b.drained[size], nil
}

// reconciles counts how often the queue hands out each deletion.
func reconciles(ctx context.Context, b *bench) (outcome, error) {
	drains, err := b.operatorDrains(ctx, 5000)
	if err != nil {
		return outcome{}, err
	}
	var each series
	for _, d := range drains {
		each = append(each, float64(d.reconciles)/float64(len(d.times)))
	}
	return outcome{met: slices.Max(each) <= 3, measured: each.in(" for each deletion"), series: map[string]series{"reconciles for each deletion": each}}, nil
}

// fairness compares the drain of a healthy Reporter's herd alone with its drain beside one whose Reporter never answers.
func fairness(ctx context.Context, b *bench) (outcome, error) {
	var alone, beside series
	left := 0
	for round := range b.runs {
		d, err := b.drainHerd(ctx, 1000, false, theOperator)
		if err != nil {
			return outcome{}, err
		}
		alone, left = append(alone, d.rate()), left+d.left
		b.progress(round, "alone, it drains %s/s", number(d.rate()))
		if d, err = b.drainBesideHanging(ctx); err != nil {
			return outcome{}, err
		}
		beside, left = append(beside, d.rate()), left+d.left
		b.progress(round, "beside a Reporter that never answers, %s/s", number(d.rate()))
	}
	ratio := beside.median() / alone.median()
	return outcome{
		met:      ratio >= 0.9 && left == 0,
		measured: fmt.Sprintf("%s beside it, %s alone", beside.in("/s"), alone.in("/s")),
		ratio:    ratio,
		series:   map[string]series{"beside/s": beside, "alone/s": alone},
	}, nil
}

func (b *bench) drainBesideHanging(ctx context.Context) (drained, error) {
	hanging, err := b.newMarkedHerd(ctx, 1000, false)
	if err != nil {
		return drained{}, err
	}
	answer := hanging.reporter.Inject(reportertest.Fault{Do: reportertest.Hang()})
	healthy, err := b.newMarkedHerd(ctx, 1000, false)
	if err != nil {
		return drained{}, err
	}
	d, p, err := healthy.drain(ctx, theOperator)
	if err != nil {
		return drained{}, err
	}
	answer() // or it takes as long as they hang to end the operator
	if err := p.end(); err != nil {
		return drained{}, err
	}
	if err := healthy.clear(ctx); err != nil {
		return drained{}, err
	}
	return d, hanging.clear(ctx)
}

// outage is what an operator did while a Reporter was down, and after that.
type outage struct {
	told      float64 // seconds until all deletions said that they are blocked
	writes    int     // the most status writes of one resource
	unsettled int     // how many resources had no status written
	requests  float64 // per second, once settled
	cpu       float64 // per cent of a core, once settled
	noticed   float64 // seconds from the recovery until the first resource is gone
	recovered drained
}

// down measures what an outage costs, and how fast the operator is after it.
func down(ctx context.Context, b *bench) (outcome, error) {
	var told, requests, cpu, noticed, rates, writes series
	unsettled, left := 0, 0
	for round := range b.runs {
		o, err := b.sitThroughOutage(ctx, round)
		if err != nil {
			return outcome{}, err
		}
		told, requests, cpu = append(told, o.told), append(requests, o.requests), append(cpu, o.cpu)
		noticed, rates, writes = append(noticed, o.noticed), append(rates, o.recovered.rate()), append(writes, float64(o.writes))
		unsettled, left = unsettled+o.unsettled, left+o.recovered.left
		b.progress(round, "all told in %s s; then %s requests/s and %s %% of a core; after it, %s/s", number(o.told), number(o.requests), number(o.cpu), number(o.recovered.rate()))
	}
	drains, err := b.operatorDrains(ctx, 5000)
	if err != nil {
		return outcome{}, err
	}
	var normal series
	for _, d := range drains {
		normal = append(normal, d.rate())
	}
	ratio := rates.median() / normal.median()
	return outcome{
		met: requests.median() <= 1 && cpu.median() < 5 && slices.Max(writes) == 1 && unsettled == 0 && left == 0 && ratio >= 0.9,
		measured: fmt.Sprintf("%s requests/s, %s of a core, at most %s, all told in %s; recovered, the first goes after %s, then %s, normally %s",
			requests.in(""), cpu.in(" %"), words.Plural(int(slices.Max(writes)), "status write"), told.in(" s"), noticed.in(" s"), rates.in("/s"), normal.in("/s")),
		ratio: ratio,
		series: map[string]series{"requests/s": requests, "CPU %": cpu, "most status writes": writes, "seconds until all are told": told,
			"seconds until the first goes": noticed, "recovered/s": rates, "normal/s": normal},
	}, nil
}

// sitThroughOutage has the operator meet a Reporter that answers 503, or in every other round one that breaks each connection.
func (b *bench) sitThroughOutage(ctx context.Context, round int) (outage, error) {
	var o outage
	h, err := b.newMarkedHerd(ctx, 5000, true)
	if err != nil {
		return o, err
	}
	h.reporter.SetDatabaseDown(round%2 == 0)
	endOutage := func() { h.reporter.SetDatabaseDown(false) }
	if round%2 != 0 {
		endOutage = h.reporter.Inject(reportertest.Fault{Do: reportertest.Reset()})
	}
	if err := h.skipCalls(); err != nil {
		return o, err
	}
	p, err := b.startOperator(ctx)
	if err != nil {
		return o, err
	}
	if err := h.settle(ctx, p, &o); err != nil {
		return o, err
	}
	ends, err := h.follow(ctx)
	if err != nil {
		return o, err
	}
	defer ends.stop()
	recovery := time.Now()
	endOutage()
	if o.recovered.times, err = ends.await(ctx, p, len(h.claimed)); err != nil {
		return o, err
	}
	if o.recovered.left = len(h.claimed) - len(o.recovered.times); o.recovered.left > 0 {
		h.tellOfLeft(ctx, o.recovered.left)
	}
	if len(o.recovered.times) > 0 {
		o.noticed = o.recovered.times[0].Sub(recovery).Seconds()
	}
	if err := p.end(); err != nil {
		return o, err
	}
	return o, h.clear(ctx)
}

// settle waits until the status of all deletions is written, and measures what goes on then.
func (h *herd) settle(ctx context.Context, p *process, o *outage) error {
	var writes map[string]int
	_, err := poll(ctx, time.Minute+time.Duration(len(h.claimed))*20*time.Millisecond, func() (bool, error) {
		calls, err := h.apiCalls()
		writes = statusWrites(calls)
		return len(writes) >= len(h.claimed), err
	})
	if err != nil {
		return err
	}
	o.told, o.unsettled = time.Since(p.started).Seconds(), len(h.claimed)-len(writes)
	if err := pause(ctx, 5*time.Second); err != nil {
		return err
	}
	h.tally.reset()
	before, err := p.cpu()
	if err != nil {
		return err
	}
	watched := h.shortened(20 * time.Second)
	if err := pause(ctx, watched); err != nil {
		return err
	}
	after, err := p.cpu()
	if err != nil {
		return err
	}
	o.requests = float64(len(h.calls(anyCall))) / watched.Seconds()
	o.cpu = 100 * (after - before).Seconds() / watched.Seconds()
	calls, err := h.apiCalls()
	for _, n := range statusWrites(calls) {
		o.writes = max(o.writes, n)
	}
	return err
}

// statusWrites counts the writes of the status of ReporterConnections, by name.
func statusWrites(calls []testenv.Call) map[string]int {
	writes := map[string]int{}
	for _, call := range calls {
		if call.IsWrite() && call.Resource == "reporterconnections/status" {
			writes[call.Name]++
		}
	}
	return writes
}
