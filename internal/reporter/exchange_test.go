// SPDX-License-Identifier: Apache-2.0

package reporter_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/reporter-operator/reporter-operator/internal/reporter"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// exchanges are those that a pool has told of.
type exchanges struct {
	mu  sync.Mutex
	all []reporter.Exchange
}

func (e *exchanges) add(_ context.Context, one reporter.Exchange) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, one)
}

// take returns for whom each was sent, what for, and what came of it, and forgets them.
func (e *exchanges) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var told []string
	for _, one := range e.all {
		told = append(told, fmt.Sprintf("%s: %s %s, %s %d", one.User, one.Operation, one.Outcome, one.Method, one.Status))
	}
	e.all = nil
	return told
}

// Each request is told of, logins among them, with what it was for and what its answer means.
func TestExchangesAreTold(t *testing.T) {
	r := newRealm(t)
	pool, told := newPool(), &exchanges{}
	pool.Exchanged = told.add
	client, err := pool.Client("billing/default", r.config())
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	expect := func(what string, want ...string) {
		t.Helper()
		for i := range want {
			want[i] = "billing/default: " + want[i]
		}
		if got := told.take(); !slices.Equal(got, want) {
			t.Errorf("%s: told of %q, not of %q", what, got, want)
		}
	}
	get := func() { _, err = client.Get(ctx, ledgerID) }
	get()
	expect("the first request", "login ok, POST 200", "get ok, GET 200")
	err = client.Check(ctx)
	expect("a check", "check ok, GET 200")
	_, err = client.List(ctx, reporter.Query{Tenant: reporter.Tenant{ID: "acme", Readable: true}, Since: time.Now().AddDate(0, 1, 0)})
	got := told.take()
	if err != nil || len(got) == 0 || slices.ContainsFunc(got, func(one string) bool { return one != "billing/default: list ok, GET 200" }) {
		t.Errorf("a list: %v, told of %q", err, got)
	}
	created, err := client.Create(ctx, "billing", settings(), permitted)
	expect("a creation", "create ok, POST 201")
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Create(ctx, "billing", settings(), permitted)
	expect("a name that is taken", "create name_taken, POST 409")
	_, err = client.Update(ctx, created.ID, settings(), permitted)
	expect("a change", "change ok, PATCH 200")
	err = client.Test(ctx, created.ID)
	expect("a test", "test ok, POST 200")
	end := r.StartTenantJob("acme", "ledger-db")
	err = client.Delete(ctx, ledgerID, permitted)
	expect("a job", "delete job_in_progress, DELETE 409")
	end()
	err = client.Delete(ctx, ledgerID, permitted)
	expect("a deletion", "delete ok, DELETE 204")
	get()
	expect("what is gone", "get not_found, GET 404")

	for name, test := range map[string]struct {
		does reportertest.Behaviour
		want string
	}{
		"a login page":        {reportertest.Answer(200, http.Header{"Content-Type": {"text/html"}}, "<html>"), "get unexpected_response, GET 200"},
		"a redirect":          {reportertest.Answer(302, http.Header{"Location": {"/login"}}, ""), "get unexpected_response, GET 302"},
		"another 404":         {jsonAnswer(404, `{"code":404,"message":"Cannot GET"}`), "get wrong_path, GET 404"},
		"a refusal":           {reportertest.Answer(403, http.Header{"Content-Type": {"text/plain"}}, "Forbidden"), "get forbidden, GET 403"},
		"too many":            {reportertest.Answer(429, nil, ""), "get rate_limited, GET 429"},
		"an error":            {reportertest.Answer(503, nil, ""), "get server_error, GET 503"},
		"a connection reset":  {reportertest.Reset(), "get no_answer, GET 0"},
		"a token not allowed": {reportertest.Answer(401, http.Header{"Content-Type": {"text/plain"}}, "Unauthorized"), ""},
	} {
		remove := r.Inject(reportertest.Fault{Match: func(req *http.Request) bool { return req.URL.Path == ledgerPath }, Do: test.does})
		client, err = pool.Client("billing/"+name, r.config())
		if err != nil {
			t.Fatal(err)
		}
		_ = client.Check(ctx) // closes the breaker
		told.take()
		get()
		if name == "a token not allowed" { // the login after it is anew
			if got := told.take(); len(got) != 3 || got[0] != "billing/"+name+": get unauthorized, GET 401" || got[1] != "billing/"+name+": login ok, POST 200" {
				t.Errorf("%s: told of %q", name, got)
			}
		} else if got := told.take(); !slices.Equal(got, []string{"billing/" + name + ": " + test.want}) {
			t.Errorf("%s: told of %q, not of %q", name, got, test.want)
		}
		remove()
	}
}

// What was not sent is not told of: no permission, an outage, an id that is none. Nor does the time that permission took count.
func TestWhatWasNotSentIsNotTold(t *testing.T) {
	r, server := serve(t)
	pool, told := newPool(), &exchanges{}
	pool.Exchanged = told.add
	client := poolClient(t, pool, reporter.Config{BaseURL: server.URL, Timeout: 10 * time.Second})
	if err := client.Delete(t.Context(), ledgerID, func(context.Context, reporter.Tenant) error { return http.ErrAbortHandler }); err != http.ErrAbortHandler { //nolint:errorlint // as it is
		t.Fatal(err)
	}
	if err := client.Delete(t.Context(), "LEDGER", permitted); !reporter.IsInvalidID(err) {
		t.Fatal(err)
	}
	if got := told.take(); len(got) > 0 {
		t.Errorf("told of %q", got)
	}
	const asking = 300 * time.Millisecond
	r.StartJob("ledger-db")
	asked := time.Now()
	if err := client.Delete(t.Context(), ledgerID, func(context.Context, reporter.Tenant) error {
		<-time.After(asking)
		return nil
	}); !reporter.IsJobInProgress(err) {
		t.Fatal(err)
	}
	if whole := time.Since(asked); len(told.all) != 1 || told.all[0].Took <= 0 || told.all[0].Took > whole-asking {
		t.Errorf("told of %+v, of %s in all", told.all, whole)
	}
	server.Down()
	for range 2 {
		if _, err := client.Get(t.Context(), ledgerID); !reporter.IsUnanswered(err) {
			t.Fatal(err)
		}
	}
	if got := told.take()[1:]; len(got) != 1 {
		t.Errorf("of two requests in an outage, the second of which is held back, told of %q", got)
	}
}

// Each request has an id of its own, which both sides know.
func TestRequestsHaveIDs(t *testing.T) {
	r, server := serve(t)
	pool, told := newPool(), &exchanges{}
	pool.Exchanged = told.add
	client := poolClient(t, pool, reporter.Config{BaseURL: server.URL, Timeout: 10 * time.Second})
	for range 2 {
		if err := client.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	got := r.Requests()
	if len(got) != 2 || len(told.all) != 2 {
		t.Fatalf("%d requests, told of %d", len(got), len(told.all))
	}
	for i, request := range got {
		if id := request.Header.Get("X-Request-ID"); id == "" || id != told.all[i].RequestID {
			t.Errorf("request %d has the id %q, and is told of as %q", i, id, told.all[i].RequestID)
		}
	}
	if told.all[0].RequestID == told.all[1].RequestID {
		t.Error("two requests have the same id")
	}
}

// A pool says whose Reporter does not answer, for as long as it does not, and nothing of who is gone.
func TestOutagesOfUsers(t *testing.T) {
	_, server := serve(t)
	pool := newPool()
	client, err := pool.Client("billing/default", reporter.Config{BaseURL: server.URL, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(what string, want map[string]bool) {
		t.Helper()
		if got := pool.Outages(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, not %v", what, got, want)
		}
	}
	expect("at first", map[string]bool{"billing/default": false})
	server.Down()
	if err := client.Check(t.Context()); !reporter.IsUnanswered(err) {
		t.Fatal(err)
	}
	expect("while it is down", map[string]bool{"billing/default": true})
	if err := server.Up(); err != nil {
		t.Fatal(err)
	}
	for reporter.IsUnanswered(client.Check(t.Context())) { // one a second is sent
		<-time.After(100 * time.Millisecond)
	}
	expect("when it answers again", map[string]bool{"billing/default": false})
	pool.Release("billing/default")
	expect("when the user is gone", map[string]bool{})
}
