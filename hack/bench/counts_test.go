// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"testing"
	"time"

	"github.com/reporter-operator/reporter-operator/hack/internal/play"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
	"github.com/reporter-operator/reporter-operator/internal/testenv"
)

func TestAccount(t *testing.T) {
	claimed := []reportertest.Connection{{ID: "id-a", ConfigName: "a"}, {ID: "id-b", ConfigName: "b"}, {ID: "id-c", ConfigName: "c"}}
	calls := []testenv.Call{
		{Verb: "patch", Resource: "reporterconnections", Name: "a", Status: 409}, // counts: it was asked
		{Verb: "patch", Resource: "reporterconnections", Name: "a", Status: 200},
		{Verb: "patch", Resource: "reporterconnections", Name: "b", Status: 200},
		{Verb: "patch", Resource: "reporterconnections/status", Name: "b", Status: 200},
		{Verb: "get", Resource: "reporterendpoints", Name: "default", Status: 200},
		{Verb: "list", Resource: "reporterconnections", Status: 200},
		{Verb: "watch", Resource: "reporterconnections", Status: 200},
		{Verb: "create", Resource: "events", Name: "a.1", Status: 201},
	}
	a := accountFor(claimed, calls, []exchange{{id: "id-b"}, {id: "id-b"}, {id: "id-c"}})
	for name, test := range map[string]struct{ got, want series }{
		"writes of finalizers": {a.finalizers, series{2, 1, 0}},
		"writes of statuses":   {a.statuses, series{0, 1, 0}},
		"calls of Reporter":    {a.remote, series{0, 2, 1}},
		"writes":               {plus(a.finalizers, a.statuses), series{2, 2, 0}},
	} {
		if !slices.Equal(test.got, test.want) {
			t.Errorf("the %s are %v, not %v", name, test.got, test.want)
		}
	}
	if a.reads != 2 || !slices.Equal(a.others, []string{"create events"}) {
		t.Errorf("there are %d reads and other writes %q, not 2 and one event", a.reads, a.others)
	}
	if a.finalizers.each(1) || !(series{1, 1}).each(1) || (series{1, 1}).each(2) {
		t.Error("each does not look at each")
	}
}

func TestTally(t *testing.T) {
	var noted tally
	late := play.Exchange{Method: "DELETE", URI: "/v1/management/connections/a", Answer: "204", Took: time.Hour}
	noted.see(play.Exchange{Method: "GET", URI: "/v1/management/connections?page=1&limit=1", Answer: "200"})
	noted.see(play.Exchange{Method: "GET", URI: "/v1/management/connections/a", Answer: "200"})
	noted.see(play.Exchange{Method: "DELETE", URI: "/v1/management/connections/b", Answer: "429 429"})
	noted.see(play.Exchange{Method: "GET", URI: "/v1/management/connections?limit=20&metadata.owner=c&page=1", Answer: "200"})
	noted.see(play.Exchange{Method: "POST", URI: "/v1/management/connections", Answer: "201"})
	noted.see(play.Exchange{Method: "PATCH", URI: "/v1/management/connections/c", Answer: "200"})
	noted.see(play.Exchange{Method: "POST", URI: "/v1/management/connections/c/test", Answer: "500 500"})
	noted.see(late)
	for name, test := range map[string]struct {
		of   func(exchange) bool
		want string
	}{
		"any":               {anyCall, "a 204, 200, a 200, b 429 429, 200, 201, c 200, c 500 500"}, // in the order of the requests
		"about connections": {aboutConnection, "a 204, a 200, b 429 429, c 200, c 500 500"},
		"deletions":         {isDeletion, "a 204, b 429 429"},
		"deletions done":    {isDone, "a 204"},
		"lookups":           {isLookup, "a 200"},
		"too many":          {isTooMany, "b 429 429"},
		"searches":          {isSearch, "200"},
		"creations":         {isCreation, "201"},
		"changes":           {isChange, "c 200"},
		"tests":             {isTest, "c 500 500"},
	} {
		got := ""
		for _, e := range noted.calls(test.of) {
			if got != "" {
				got += ", "
			}
			if e.id != "" {
				got += e.id + " "
			}
			got += e.answer
		}
		if got != test.want {
			t.Errorf("%s: %q, not %q", name, got, test.want)
		}
	}
	noted.reset()
	if left := noted.calls(anyCall); len(left) > 0 {
		t.Errorf("after reset there are %v", left)
	}
}
