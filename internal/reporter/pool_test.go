// SPDX-License-Identifier: Apache-2.0

package reporter_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reporter-operator/reporter-operator/internal/reporter"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// Clients share connections where they may: with the same origin, and the same idea of whom to trust.
func TestClientsShareConnections(t *testing.T) {
	r, server := serve(t)
	r.Inject(reportertest.Fault{Do: jsonAnswer(200, `{"items":[]}`)})
	pool := newPool()
	for _, test := range []struct {
		name   string
		config reporter.Config
		opened int // in all
	}{
		{"the first", reporter.Config{BaseURL: server.URL, Token: "token-a", Timeout: 10 * time.Second}, 1},
		{"the same again", reporter.Config{BaseURL: server.URL, Token: "token-a", Timeout: 10 * time.Second}, 1},
		{"another timeout", reporter.Config{BaseURL: server.URL, Token: "token-a", Timeout: 20 * time.Second}, 1},
		{"a slash", reporter.Config{BaseURL: server.URL + "/", Token: "token-a", Timeout: 10 * time.Second}, 1},
		{"another path", reporter.Config{BaseURL: server.URL + "/reporter", Token: "token-a", Timeout: 10 * time.Second}, 1},
		{"a scheme in upper case", reporter.Config{BaseURL: strings.Replace(server.URL, "http:", "HTTP:", 1), Token: "token-a", Timeout: 10 * time.Second}, 1},
		{"another token", reporter.Config{BaseURL: server.URL, Token: "token-b", Timeout: 10 * time.Second}, 1},
		{"no token", reporter.Config{BaseURL: server.URL, Timeout: 10 * time.Second}, 1},
		{"the first token again", reporter.Config{BaseURL: server.URL, Token: "token-a", Timeout: 10 * time.Second}, 1},
		{"another host", reporter.Config{BaseURL: strings.Replace(server.URL, "127.0.0.1", "localhost", 1), Token: "token-a", Timeout: 10 * time.Second}, 2},
		{"that host in upper case", reporter.Config{BaseURL: strings.Replace(server.URL, "127.0.0.1", "LocalHost", 1), Token: "token-a", Timeout: 10 * time.Second}, 2},
		{"another name to expect", reporter.Config{BaseURL: server.URL, Token: "token-a", TLS: reporter.TLS{ServerName: "reporter.internal"}, Timeout: 10 * time.Second}, 3},
		{"another authority", reporter.Config{BaseURL: server.URL, Token: "token-a", TLS: reporter.TLS{CABundle: systemAuthority.bundle}, Timeout: 10 * time.Second}, 4},
	} {
		if err := poolClient(t, pool, test.config).Check(t.Context()); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if got := server.Accepted(); got != test.opened {
			t.Errorf("%s: %d connections were opened so far, not %d", test.name, got, test.opened)
		}
	}
	if err := clientOf(t, server.URL, "token-a").Check(t.Context()); err != nil || server.Accepted() != 5 {
		t.Errorf("another pool: %v, %d connections, not 5", err, server.Accepted())
	}
	if shown := fmt.Sprintf("%+v", pool); strings.Contains(shown, "token") || !strings.Contains(shown, server.URL) {
		t.Errorf("the pool shows more than origins: %s", shown)
	}
}

// together carries requests out from when n of them are there at once.
func together(n int64) reportertest.Behaviour {
	var waiting atomic.Int64
	all := make(chan struct{})
	return func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
		if waiting.Add(1) == n {
			close(all)
		}
		select {
		case <-all:
			act(w, req)
		case <-req.Context().Done():
		}
	}
}

// deleteAtOnce deletes n connections, each with a client of its own, while Reporter answers none before it has got wait of
// them.
func deleteAtOnce(t *testing.T, pool *reporter.Pool, r *reportertest.Reporter, url string, n, wait int) {
	t.Helper()
	defer r.Inject(reportertest.Fault{Do: together(int64(wait))})()
	var group sync.WaitGroup
	for range n {
		id := r.Add(reportertest.Connection{}).ID
		group.Go(func() {
			c, err := pool.Client("endpoint", reporter.Config{BaseURL: url, Token: "token-a", Timeout: 10 * time.Second})
			if err == nil {
				err = c.Delete(t.Context(), id, permitted)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if living := r.Connections(); len(living) > 0 {
		t.Errorf("%d of %d connections are left", len(living), n)
	}
}

// A burst of deletions opens what it needs at once and the next one nothing: a connection for each would exhaust ports.
func TestConnectionsAreReused(t *testing.T) {
	r := reportertest.New()
	server := reportertest.Serve(t, r)
	pool := newPool()
	for burst, opened := range []int{8, 8, 8} {
		deleteAtOnce(t, pool, r, server.URL, 8, 8)
		if got := server.Accepted(); got != opened {
			t.Errorf("after burst %d, %d connections were opened in all, not %d", burst, got, opened)
		}
	}
}

// No burst opens more than 64 connections, nor loses one of them afterwards.
func TestConnectionsAreBounded(t *testing.T) {
	r := reportertest.New()
	server := reportertest.Serve(t, r)
	pool := newPool()
	for range 2 {
		deleteAtOnce(t, pool, r, server.URL, 150, 64)
		if got := server.Accepted(); got != 64 {
			t.Errorf("%d connections were opened, not 64", got)
		}
	}
}

// What Reporter asks one client for, all clients with the same credentials heed: the limit is on those, not on the one connection.
func TestPauseIsShared(t *testing.T) {
	for _, test := range []struct {
		status     int
		kind, text string
	}{
		{429, "RateLimited", "429 Too Many Requests: FET-0099: Busy: Come back later."},
		{503, "Unavailable", "503 Service Unavailable: FET-0099: Busy: Come back later."},
	} {
		for _, first := range calls {
			t.Run(fmt.Sprintf("%d to %s", test.status, first.name), func(t *testing.T) {
				r, server := serve(t)
				other, otherServer := serve(t)
				r.Inject(reportertest.Fault{Times: 1, Do: reportertest.Answer(test.status,
					http.Header{"Content-Type": {"application/json"}, "Retry-After": {"300"}},
					`{"code":"FET-0099","title":"Busy","message":"Come back later."}`)})
				pool := newPool()
				config := reporter.Config{BaseURL: server.URL, Token: "token-a", Timeout: 10 * time.Second}
				c := poolClient(t, pool, config)
				err := first.do(t.Context(), c)
				expectError(t, err, test.kind, first.method+" "+first.path+": "+test.text)
				if wait := reporter.RetryAfter(err); wait != 300*time.Second {
					t.Errorf("it asks to wait %s, not 5m0s", wait)
				}
				r.ResetRequests()

				slower := config
				slower.Timeout = 20 * time.Second
				for _, held := range []*reporter.Client{c, poolClient(t, pool, config), poolClient(t, pool, slower)} {
					for _, call := range calls {
						if test.status == 503 && first.name != "Check" && call.name == "Check" {
							continue // TestUnavailableIsOneKindOfRequests
						}
						err := call.do(t.Context(), held)
						expectError(t, err, test.kind, call.method+" "+call.path+": "+test.text)
						if test.status == 503 && first.name == "Check" {
							// A Check that finds Reporter unavailable holds back whatever comes until another one succeeds.
							if !reporter.IsHeldBack(err) {
								t.Errorf("it is not held back: %v", err)
							}
							continue
						}
						if wait := reporter.RetryAfter(err); wait <= 0 || wait > 300*time.Second {
							t.Errorf("it asks to wait %s, which is not what is left of 5m0s", wait)
						}
					}
				}
				expectArrived(t, r)
				if err := c.Delete(t.Context(), "ledger-db", permitted); kindOf(err) != "InvalidID" {
					t.Errorf("an invalid id gives %v", err)
				}

				another, none, elsewhere, deeper := config, config, config, config
				another.Token, none.Token, elsewhere.BaseURL = "token-b", "", otherServer.URL
				deeper.BaseURL += "/reporter/"
				for name, free := range map[string]*reporter.Client{
					"another token": poolClient(t, pool, another),
					"no token":      poolClient(t, pool, none),
					"another pool":  poolClient(t, newPool(), config),
				} {
					if err := free.Check(t.Context()); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
				expectArrived(t, r, "GET "+listPath+"?limit=1&page=1", "GET "+listPath+"?limit=1&page=1", "GET "+listPath+"?limit=1&page=1")
				if err := poolClient(t, pool, deeper).Check(t.Context()); !reporter.IsWrongPath(err) {
					t.Errorf("another base path: %v", err)
				}
				if err := poolClient(t, pool, elsewhere).Delete(t.Context(), ledgerID, permitted); err != nil {
					t.Errorf("another origin: %v", err)
				}
				expectArrived(t, other, "DELETE "+ledgerPath)
			})
		}
	}
}

// A 503 is about requests of its kind, and for Checks until one is answered all the same.
func TestUnavailableIsOneKindOfRequests(t *testing.T) {
	wait := http.Header{"Retry-After": {"300"}}
	r, server := serve(t)
	c := clientOf(t, server.URL, "")
	r.Inject(reportertest.Fault{Method: "DELETE", Times: 1, Do: reportertest.Answer(503, wait, "")})
	if err := c.Delete(t.Context(), ledgerID, permitted); !reporter.IsUnavailable(err) {
		t.Errorf("a DELETE gives %v", err)
	}
	for range 3 {
		if err := c.Check(t.Context()); err != nil {
			t.Errorf("a Check after a DELETE that is to wait gives %v", err)
		}
	}
	if err := c.Delete(t.Context(), ledgerID, permitted); !reporter.IsPaced(err) {
		t.Errorf("a DELETE after Checks that are answered gives %v", err)
	}
	r.Inject(reportertest.Fault{Times: 1, Do: reportertest.Answer(503, wait, "")})
	_ = c.Check(t.Context())
	if err := c.Check(reporter.WithUrgency(t.Context())); err != nil {
		t.Errorf("a Check that somebody asks for gives %v", err)
	}
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("the one after that gives %v", err)
	}
}

// Only who says 429 or 503, and for how long, is left alone.
func TestNoPause(t *testing.T) {
	for _, test := range []struct {
		status     int
		retryAfter string
	}{
		{429, ""}, {429, "0"}, {429, "-300"}, {429, "soon"}, {429, "Fri, 01 Jan 2021 00:00:00 GMT"},
		{503, ""}, {503, "0"},
		{200, "300"}, {301, "300"}, {401, "300"}, {403, "300"}, {404, "300"}, {409, "300"}, {500, "300"}, {502, "300"},
	} {
		r, server := serve(t)
		c := clientOf(t, server.URL, "")
		r.Inject(reportertest.Fault{Times: 1, Do: reportertest.Answer(test.status, http.Header{"Retry-After": {test.retryAfter}}, "")})
		if err := c.Delete(t.Context(), ledgerID, permitted); err == nil {
			t.Errorf("%d is taken for success", test.status)
		}
		if err := c.Delete(t.Context(), ledgerID, permitted); err != nil {
			t.Errorf("after %d with Retry-After %q: %v", test.status, test.retryAfter, err)
		}
	}
}
