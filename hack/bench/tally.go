// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/reporter-operator/reporter-operator/hack/internal/play"
)

// exchange is one call of a Reporter and what it answered.
type exchange struct {
	at     time.Time // of the request
	method string
	id     string // of the connection it was about, if it was about one
	test   bool   // it had Reporter test that
	search bool   // it was for the connections of a mark
	answer string // as in "409 FET-1021"
}

// tally notes all calls of a Reporter.
type tally struct {
	mu        sync.Mutex
	exchanges []exchange
}

func (t *tally) see(e play.Exchange) {
	id, about := strings.CutPrefix(e.URI, "/v1/management/connections/")
	if !about {
		id = ""
	}
	id, test := strings.CutSuffix(id, "/test")
	t.mu.Lock()
	defer t.mu.Unlock()
	t.exchanges = append(t.exchanges, exchange{time.Now().Add(-e.Took), e.Method, id, test, strings.Contains(e.URI, "?") && strings.Contains(e.URI, "metadata."), e.Answer})
}

// reset forgets what was noted so far.
func (t *tally) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.exchanges = nil
}

// calls returns what was noted and is of interest, in the order of the requests.
func (t *tally) calls(of func(exchange) bool) []exchange {
	t.mu.Lock()
	defer t.mu.Unlock()
	var calls []exchange
	for _, e := range t.exchanges {
		if of(e) {
			calls = append(calls, e)
		}
	}
	slices.SortStableFunc(calls, func(a, b exchange) int { return a.at.Compare(b.at) })
	return calls
}

func anyCall(exchange) bool           { return true }
func aboutConnection(e exchange) bool { return e.id != "" }
func isDeletion(e exchange) bool      { return e.method == "DELETE" }
func isLookup(e exchange) bool        { return e.method == "GET" && e.id != "" }
func isCreation(e exchange) bool      { return e.method == "POST" && e.id == "" }
func isChange(e exchange) bool        { return e.method == "PATCH" }
func isTest(e exchange) bool          { return e.test }
func isSearch(e exchange) bool        { return e.search }
func isDone(e exchange) bool          { return e.method == "DELETE" && e.answer == "204" }
func isTooMany(e exchange) bool       { return strings.HasPrefix(e.answer, "429") }

func timesOf(calls []exchange) []time.Time {
	times := make([]time.Time, len(calls))
	for i, e := range calls {
		times[i] = e.at
	}
	return times
}
