// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/hack/internal/words"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// writesOfCreation are the status writes of a creation: the record of the request, what came of it, and what the test of the database did.
const writesOfCreation = 3

// described counts what it takes to create the connections that new resources describe.
func described(ctx context.Context, b *bench) (outcome, error) {
	h, p, err := b.describedHerd(ctx, b.sized(200), latency)
	if err != nil {
		return outcome{}, err
	}
	a, err := h.account(p)
	if err != nil {
		return outcome{}, err
	}
	created, searches, lookups, tests := len(h.calls(isCreation)), len(h.calls(isSearch)), h.callsOf(isLookup), h.callsOf(isTest)
	events := slices.DeleteFunc(slices.Clone(a.others), func(what string) bool { return what != "create events" })
	size := len(h.claimed)
	return outcome{
		met: created == size && lookups.each(0) && tests.each(1) && a.statuses.each(writesOfCreation) && a.finalizers.each(0) && len(a.others) == len(events) && len(events) == size,
		measured: fmt.Sprintf("%s status writes, %s GETs and %s tests each; for all %d together %s, %s of connections by mark, %s and %s of the API server",
			a.statuses.in(""), lookups.in(""), tests.in(""), size, words.Plural(created, "POST"), words.Plural(searches, "list"), words.Plural(len(events), "event"), words.Plural(a.reads, "read")),
		series: map[string]series{"POSTs": {float64(created)}, "lists": {float64(searches)}, "events": {float64(len(events))}, "API reads": {float64(a.reads)}},
		each:   map[string]series{"status writes": a.statuses, "finalizer writes": a.finalizers, "GETs": lookups, "tests": tests},
	}, h.clear(ctx)
}

// change counts what it takes to change connections when their description changes.
func change(ctx context.Context, b *bench) (outcome, error) {
	h, p, err := b.describedHerd(ctx, b.sized(200), latency)
	if err != nil {
		return outcome{}, err
	}
	h.tally.reset()
	if err := h.skipCalls(); err != nil {
		return outcome{}, err
	}
	err = parallel(ctx, len(h.claimed), func(ctx context.Context, i int) error {
		rc := &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: nameOf(h.claimed[i])}}
		return h.api.Patch(ctx, rc, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"connection":{"port":5433}}}`)))
	})
	if err != nil {
		return outcome{}, err
	}
	const writes = 2 // what came of the change, and of the test of the database
	if err := h.awaitTested(ctx, p, writes); err != nil {
		return outcome{}, err
	}
	a, err := h.account(p)
	if err != nil {
		return outcome{}, err
	}
	lookups, changes, tests := h.callsOf(isLookup), h.callsOf(isChange), h.callsOf(isTest)
	return outcome{
		met: lookups.each(1) && changes.each(1) && tests.each(1) && a.remote.each(3) && a.statuses.each(writes) && a.finalizers.each(0),
		measured: fmt.Sprintf("%s GETs, %s PATCHes and %s tests each, and %s status writes; %s of the API server for all together",
			lookups.in(""), changes.in(""), tests.in(""), a.statuses.in(""), words.Plural(a.reads, "read")),
		series: map[string]series{"API reads": {float64(a.reads)}},
		each:   map[string]series{"GETs": lookups, "PATCHes": changes, "tests": tests, "status writes": a.statuses, "finalizer writes": a.finalizers},
	}, h.clear(ctx)
}

// checks watches the routine checks of 10,000 connections that are as described.
func checks(ctx context.Context, b *bench) (outcome, error) {
	size, start := b.sized(10000), time.Now()
	h, p, err := b.describedHerd(ctx, size, 0)
	if err != nil {
		return outcome{}, err
	}
	b.say(b.row, "%d connections were created and their database tested in %.0f s", size, time.Since(start).Seconds())
	if err := p.end(); err != nil {
		return outcome{}, err
	}
	h.reporter.SetLatency(latency)
	h.tally.reset()
	if err := h.skipCalls(); err != nil {
		return outcome{}, err
	}
	if p, err = b.startOperator(ctx); err != nil {
		return outcome{}, err
	}
	// The first checks come as soon as the caches are full.
	begun, err := poll(ctx, patience, func() (bool, error) { return len(h.calls(isLookup)) > 0, p.alive() })
	if err == nil && !begun {
		err = p.tell(fmt.Errorf("no connection was looked up within %s", patience))
	}
	if err != nil {
		return outcome{}, err
	}
	watched := b.shortened(time.Minute)
	if err := pause(ctx, watched); err != nil {
		return outcome{}, err
	}
	a, err := h.account(p)
	if err != nil {
		return outcome{}, err
	}
	lookups := h.calls(isLookup)
	others := len(h.calls(aboutConnection)) - len(lookups) + len(h.calls(isCreation)) + len(h.calls(isSearch))
	writes := len(a.others)
	for _, n := range plus(a.finalizers, a.statuses) {
		writes += int(n)
	}
	rate := peakRate(timesOf(lookups), 10)
	return outcome{
		// Two calls are never less than a second apart when they are sent, and may be when they arrive.
		met: others == 0 && writes == 0 && rate <= 1.05,
		measured: fmt.Sprintf("%s in %s, at most %s/s; %s of Reporter and %s of the API server beside them", words.Plural(len(lookups), "GET"), watched, number(rate),
			words.Plural(others, "other call"), words.Plural(writes, "write")),
		series: map[string]series{"GETs": {float64(len(lookups))}, "GETs/s": {rate}, "other calls": {float64(others)}, "writes": {float64(writes)}},
	}, h.clear(ctx)
}

// describedHerd starts the operator, which makes the connections that so many resources describe, with a Reporter that takes so long for
// each answer. It returns when all of that is done.
func (b *bench) describedHerd(ctx context.Context, size int, answersIn time.Duration) (*herd, *process, error) {
	p, err := b.startOperator(ctx)
	if err != nil {
		return nil, nil, err
	}
	h, err := b.newHerd(ctx, 0, false)
	if err != nil {
		return nil, nil, err
	}
	h.reporter.SetLatency(answersIn)
	password := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "database", Labels: map[string]string{
		v1alpha1.CredentialsLabel: v1alpha1.CredentialsOfDatabase}}, StringData: map[string]string{"password": "correct-horse"}}
	if err := h.api.Create(ctx, password); err != nil {
		return nil, nil, err
	}
	if err := pause(ctx, time.Second); err != nil { // the Secret is in the operator's cache then
		return nil, nil, err
	}
	for i := range size {
		h.claimed = append(h.claimed, reportertest.Connection{ConfigName: fmt.Sprintf("described-%05d", i)})
	}
	err = parallel(ctx, size, func(ctx context.Context, i int) error {
		return h.api.Create(ctx, &v1alpha1.ReporterConnection{
			ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: nameOf(h.claimed[i])},
			Spec: v1alpha1.ReporterConnectionSpec{Connection: &v1alpha1.ConnectionDescription{
				ConfigName: h.claimed[i].ConfigName, ProductName: "bench", Type: "POSTGRESQL", Host: "db.example.com", Port: 5432, DatabaseName: "bench",
				UserName: "reporter", PasswordSecretRef: v1alpha1.SecretKeyReference{Name: password.Name, Key: "password"}}},
		})
	})
	if err != nil {
		return nil, nil, err
	}
	if err := h.awaitTested(ctx, p, writesOfCreation); err != nil {
		return nil, nil, err
	}
	h.claimed = h.reporter.Connections()
	if len(h.claimed) != size {
		return nil, nil, fmt.Errorf("%d resources have %d connections in Reporter", size, len(h.claimed))
	}
	return h, p, nil
}

// awaitTested waits until the database of each connection was tested and the operator has written each status so often, and until the audit log
// has all of that.
func (h *herd) awaitTested(ctx context.Context, p *process, writes int) error {
	last, since := 0, time.Now()
	for {
		calls, err := h.apiCalls()
		if err != nil {
			return err
		}
		if err := p.alive(); err != nil {
			return err
		}
		done, tested := 0, len(h.calls(isTest))
		for _, n := range statusWrites(calls) {
			done += min(n, writes)
		}
		switch {
		case done >= writes*len(h.claimed) && tested >= len(h.claimed):
			return nil
		case done+tested > last:
			last, since = done+tested, time.Now()
		case time.Since(since) > patience:
			return p.tell(fmt.Errorf("of %d status writes there are %d and of %d tests %d, and none has come for %s", writes*len(h.claimed), done, len(h.claimed), tested, patience))
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// callsOf is how many calls of a kind were about each connection.
func (h *herd) callsOf(kind func(exchange) bool) series {
	counts := map[string]int{}
	for _, e := range h.calls(kind) {
		counts[e.id]++
	}
	var each series
	for _, c := range h.claimed {
		each = append(each, float64(counts[c.ID]))
	}
	return each
}
