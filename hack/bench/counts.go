// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/hack/internal/words"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
	"github.com/reporter-operator/reporter-operator/internal/testenv"
)

// account is what something cost, for each of some resources and for all of them together.
type account struct {
	finalizers, statuses series   // writes of each resource
	remote               series   // calls of Reporter about each connection
	reads                int      // of the API server, of anything in the namespace
	others               []string // writes of something else in the namespace
}

// accountFor adds up what was asked about some connections and their resources.
func accountFor(claimed []reportertest.Connection, calls []testenv.Call, exchanges []exchange) account {
	var a account
	finalizers, statuses, remote := map[string]int{}, statusWrites(calls), map[string]int{}
	for _, call := range calls {
		switch {
		case call.Verb == "watch":
		case !call.IsWrite():
			a.reads++
		case call.Resource == "reporterconnections":
			finalizers[call.Name]++
		case call.Resource != "reporterconnections/status":
			a.others = append(a.others, call.Verb+" "+call.Resource)
		}
	}
	for _, e := range exchanges {
		remote[e.id]++
	}
	for _, c := range claimed {
		a.finalizers = append(a.finalizers, float64(finalizers[nameOf(c)]))
		a.statuses = append(a.statuses, float64(statuses[nameOf(c)]))
		a.remote = append(a.remote, float64(remote[c.ID]))
	}
	return a
}

// each says whether every value is the one expected.
func (s series) each(want float64) bool { return slices.Min(s) == want && slices.Max(s) == want }

// idle counts what the deletion of an idle connection takes.
func idle(ctx context.Context, b *bench) (outcome, error) {
	coming, comingFor, err := b.deleteAsTheyCome(ctx, b.sized(200))
	if err != nil {
		return outcome{}, err
	}
	marked, markedFor, err := b.deleteMarked(ctx, 200)
	if err != nil {
		return outcome{}, err
	}
	met := true
	for a, took := range map[*account]time.Duration{&coming: comingFor, &marked: markedFor} {
		// What is read is the endpoint: once a second, for all deletions of that second.
		met = met && a.finalizers.each(1) && a.statuses.each(0) && a.remote.each(1) && len(a.others) == 0 && float64(a.reads) <= took.Seconds()+2
	}
	inWords := func(a account) string {
		text := fmt.Sprintf("%s writes and %s calls of Reporter each, %s of the endpoint for all together", plus(a.finalizers, a.statuses).in(""), a.remote.in(""), words.Plural(a.reads, "read"))
		if len(a.others) > 0 {
			text += ", and " + strings.Join(a.others, ", ")
		}
		return text
	}
	return outcome{
		met:      met,
		measured: fmt.Sprintf("as they come %s; marked beforehand %s", inWords(coming), inWords(marked)),
		series:   map[string]series{"as they come: reads": {float64(coming.reads)}, "marked beforehand: reads": {float64(marked.reads)}},
		each: map[string]series{
			"as they come: finalizer writes": coming.finalizers, "as they come: status writes": coming.statuses, "as they come: calls of Reporter": coming.remote,
			"marked beforehand: finalizer writes": marked.finalizers, "marked beforehand: status writes": marked.statuses, "marked beforehand: calls of Reporter": marked.remote},
	}, nil
}

// plus adds two series value by value.
func plus(a, b series) series {
	sum := slices.Clone(a)
	for i := range sum {
		sum[i] += b[i]
	}
	return sum
}

// deleteAsTheyCome has users delete what the operator has made Ready. It also returns how long that took.
func (b *bench) deleteAsTheyCome(ctx context.Context, size int) (account, time.Duration, error) {
	h, p, err := b.readyHerd(ctx, size)
	if err != nil {
		return account{}, 0, err
	}
	ends, err := h.follow(ctx)
	if err != nil {
		return account{}, 0, err
	}
	defer ends.stop()
	start := time.Now()
	if err := h.deleteOneByOne(ctx, h.claimed); err != nil {
		return account{}, 0, err
	}
	if err := ends.awaitAll(ctx, p, size); err != nil {
		return account{}, 0, err
	}
	took := time.Since(start)
	a, err := h.account(p)
	if err != nil {
		return account{}, 0, err
	}
	return a, took, h.clear(ctx)
}

// deleteMarked has the operator find deletions when it starts.
func (b *bench) deleteMarked(ctx context.Context, size int) (account, time.Duration, error) {
	h, err := b.newMarkedHerd(ctx, size, true)
	if err != nil {
		return account{}, 0, err
	}
	if err := h.skipCalls(); err != nil {
		return account{}, 0, err
	}
	ends, err := h.follow(ctx)
	if err != nil {
		return account{}, 0, err
	}
	defer ends.stop()
	p, err := b.startOperator(ctx)
	if err != nil {
		return account{}, 0, err
	}
	if err := ends.awaitAll(ctx, p, len(h.claimed)); err != nil {
		return account{}, 0, err
	}
	took := time.Since(p.started)
	a, err := h.account(p)
	if err != nil {
		return account{}, 0, err
	}
	return a, took, h.clear(ctx)
}

// readyHerd starts the operator and makes a herd that it has made Ready by itself. The calls until then are skipped.
func (b *bench) readyHerd(ctx context.Context, size int) (*herd, *process, error) {
	p, err := b.startOperator(ctx)
	if err != nil {
		return nil, nil, err
	}
	h, err := b.newHerd(ctx, size, false)
	if err != nil {
		return nil, nil, err
	}
	if err := h.awaitReady(ctx, p); err != nil {
		return nil, nil, err
	}
	h.tally.reset()
	return h, p, h.skipCalls()
}

// awaitReady waits until the operator has written the status of every resource, and until the audit log has all of that.
func (h *herd) awaitReady(ctx context.Context, p *process) error {
	told, err := poll(ctx, patience, func() (bool, error) {
		calls, err := h.apiCalls()
		if alive := p.alive(); alive != nil {
			return false, alive
		}
		return len(statusWrites(calls)) >= len(h.claimed), err
	})
	if err == nil && !told {
		err = p.tell(fmt.Errorf("the resources are not Ready after %s", patience))
	}
	return err
}

// account ends the operator, so that it is known to have said all, and adds up what it has asked.
func (h *herd) account(p *process) (account, error) {
	if err := p.end(); err != nil {
		return account{}, err
	}
	calls, err := h.apiCalls()
	return accountFor(h.claimed, calls, h.calls(aboutConnection)), err
}

// waiting counts what deletions take that wait for a job, however long that is.
func waiting(ctx context.Context, b *bench) (outcome, error) {
	waits := []time.Duration{b.shortened(5 * time.Second), b.shortened(20 * time.Second), b.shortened(time.Minute)}
	h, p, err := b.readyHerd(ctx, b.sized(90)/len(waits)*len(waits))
	if err != nil {
		return outcome{}, err
	}
	jobs := make([]func(), len(h.claimed))
	for i, c := range h.claimed {
		jobs[i] = h.reporter.StartJob(c.ConfigName)
	}
	ends, err := h.follow(ctx)
	if err != nil {
		return outcome{}, err
	}
	defer ends.stop()
	start := time.Now()
	if err := h.markDeleted(ctx); err != nil {
		return outcome{}, err
	}
	each := len(jobs) / len(waits)
	ended := make([]time.Time, len(waits))
	for i, wait := range waits {
		b.say(b.row, "waiting for %s", wait)
		if err := pause(ctx, time.Until(start.Add(wait))); err != nil {
			return outcome{}, err
		}
		for _, end := range jobs[i*each : (i+1)*each] {
			end()
		}
		ended[i] = time.Now()
	}
	if err := ends.awaitAll(ctx, p, len(jobs)); err != nil {
		return outcome{}, err
	}
	a, err := h.account(p)
	if err != nil {
		return outcome{}, err
	}
	o := outcome{met: a.finalizers.each(1) && a.statuses.each(1) && len(a.others) == 0, each: map[string]series{}}
	texts := []string{fmt.Sprintf("%s API writes each, %s of the endpoint for all together", plus(a.finalizers, a.statuses).in(""), words.Plural(a.reads, "read"))}
	for i, wait := range waits {
		group, scheduled := series{}, [2]int{1 << 30, 0}
		for _, c := range h.claimed[i*each : (i+1)*each] {
			calls := h.calls(func(e exchange) bool { return e.id == c.ID })
			group = append(group, float64(len(calls)))
			least, most := scheduledCalls(ended[i].Sub(calls[0].at))
			scheduled = [2]int{min(scheduled[0], least), max(scheduled[1], most)}
			o.met = o.met && least <= len(calls) && len(calls) <= most
		}
		texts = append(texts, fmt.Sprintf("for %s %s calls, %d–%d scheduled", wait, group.in(""), scheduled[0], scheduled[1]))
		o.each[fmt.Sprintf("calls of Reporter in %s", wait)] = group
	}
	o.each["finalizer writes"], o.each["status writes"] = a.finalizers, a.statuses
	o.measured = strings.Join(texts, "; ")
	return o, h.clear(ctx)
}

// jobEnd measures how long it takes to notice that jobs have ended.
func jobEnd(ctx context.Context, b *bench) (outcome, error) {
	var p99, bounds, waits series
	for round := range b.runs {
		noticed, waited, err := b.endJobs(ctx, b.sized(1000), b.shortened(40*time.Second))
		if err != nil {
			return outcome{}, err
		}
		p99, waits = append(p99, noticed.percentile(99)), append(waits, waited)
		bounds = append(bounds, waited/8+1.5)
		b.progress(round, "after a wait of %s s, p99 %s s, median %s s", number(waited), number(p99[round]), number(noticed.median()))
	}
	return outcome{
		met:      p99.median() <= bounds.median(),
		measured: fmt.Sprintf("p99 %s after a wait of %s: the bound is %s", p99.in(" s"), waits.in(" s"), bounds.in(" s")),
		ratio:    p99.median() / bounds.median(),
		series:   map[string]series{"p99 in seconds": p99, "seconds waited": waits},
	}, nil
}

// endJobs has deletions wait for jobs and ends all of them in one moment. It returns how long each resource is there after that, and how
// long the last one that Reporter was asked for had waited by then, both in seconds.
func (b *bench) endJobs(ctx context.Context, size int, wait time.Duration) (noticed series, waited float64, err error) {
	h, p, err := b.readyHerd(ctx, size)
	if err != nil {
		return nil, 0, err
	}
	jobs := make([]func(), len(h.claimed))
	for i, c := range h.claimed {
		jobs[i] = h.reporter.StartJob(c.ConfigName)
	}
	ends, err := h.follow(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer ends.stop()
	if err := h.markDeleted(ctx); err != nil {
		return nil, 0, err
	}
	if err := pause(ctx, wait); err != nil {
		return nil, 0, err
	}
	first := map[string]time.Time{}
	for _, e := range h.calls(isDeletion) {
		if _, known := first[e.id]; !known {
			first[e.id] = e.at
		}
	}
	for _, end := range jobs {
		end()
	}
	ended := time.Now()
	waited = wait.Seconds()
	for _, at := range first {
		waited = min(waited, ended.Sub(at).Seconds())
	}
	if len(first) < size {
		return nil, 0, fmt.Errorf("%d of %d deletions were not sent to Reporter within %s", size-len(first), size, wait)
	}
	if err := ends.awaitAll(ctx, p, size); err != nil {
		return nil, 0, err
	}
	gone, err := ends.seen()
	if err != nil {
		return nil, 0, err
	}
	for _, t := range gone {
		noticed = append(noticed, t.Sub(ended).Seconds())
	}
	if err := p.end(); err != nil {
		return nil, 0, err
	}
	return noticed, waited, h.clear(ctx)
}

// creation counts what it takes until a new resource is Ready: with the admission policy that sets the finalizer, and without it, as on
// a Kubernetes that does not serve such policies.
func creation(ctx context.Context, b *bench) (outcome, error) {
	with, err := b.create(ctx, b.sized(200))
	if err != nil {
		return outcome{}, err
	}
	restore, err := b.withoutPolicy(ctx)
	if err != nil {
		return outcome{}, err
	}
	without, err := b.create(ctx, b.sized(200))
	if err != nil {
		return outcome{}, err
	}
	if err := restore(); err != nil {
		return outcome{}, err
	}
	return outcome{
		met: with.finalizers.each(0) && with.statuses.each(1) && without.finalizers.each(1) && without.statuses.each(1),
		measured: fmt.Sprintf("with the policy %s writes of the finalizer and %s of the status each, without it %s and %s",
			with.finalizers.in(""), with.statuses.in(""), without.finalizers.in(""), without.statuses.in("")),
		each: map[string]series{"with the policy: finalizer writes": with.finalizers, "with the policy: status writes": with.statuses,
			"without it: finalizer writes": without.finalizers, "without it: status writes": without.statuses},
	}, nil
}

func (b *bench) create(ctx context.Context, size int) (account, error) {
	p, err := b.startOperator(ctx)
	if err != nil {
		return account{}, err
	}
	h, err := b.newHerd(ctx, size, false)
	if err != nil {
		return account{}, err
	}
	if err := h.awaitReady(ctx, p); err != nil {
		return account{}, err
	}
	a, err := h.account(p)
	if err != nil {
		return account{}, err
	}
	return a, h.clear(ctx)
}

// withoutPolicy takes the binding of the policy away that sets the finalizer of ReporterConnections, until restore.
func (b *bench) withoutPolicy(ctx context.Context) (restore func() error, err error) {
	binding := &unstructured.Unstructured{}
	binding.SetGroupVersionKind(schema.GroupVersionKind{Group: "admissionregistration.k8s.io", Version: "v1", Kind: "MutatingAdmissionPolicyBinding"})
	if err := b.api.Get(ctx, client.ObjectKey{Name: "reporter-operator-hold-connections"}, binding); err != nil {
		return nil, err
	}
	if err := b.api.Delete(ctx, binding); err != nil {
		return nil, err
	}
	gone, err := poll(ctx, time.Minute, func() (bool, error) {
		tried := &v1alpha1.ReporterConnection{Spec: v1alpha1.ReporterConnectionSpec{ConnectionID: "00000000-0000-0000-0000-000000000000"}}
		tried.Name, tried.Namespace = "policy-check", "default"
		err := b.api.Create(ctx, tried, client.DryRunAll)
		return len(tried.Finalizers) == 0, err
	})
	if err == nil && !gone {
		err = fmt.Errorf("the admission policy is in force without its binding")
	}
	return func() error {
		binding.SetResourceVersion("")
		binding.SetUID("")
		if err := b.api.Create(ctx, binding); err != nil {
			return err
		}
		return b.AwaitPolicies(ctx)
	}, err
}
