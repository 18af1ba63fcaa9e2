// SPDX-License-Identifier: Apache-2.0

package reporter_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reporter-operator/reporter-operator/internal/reporter"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// nobody is the tenant of no credentials.
var nobody = reporter.Tenant{Readable: true}

// marked is a query for the connections with a mark.
func marked(mark string) reporter.Query {
	return reporter.Query{Tenant: nobody, MetadataKey: "owner", MetadataValue: mark}
}

func idsOf(connections []*reporter.Connection) (ids []string) {
	for _, c := range connections {
		ids = append(ids, c.ID)
	}
	return ids
}

// Of each day since there are connections, one is found, the newest first, whatever the months' lengths, and none of another mark.
func TestListGoesThroughAllMonths(t *testing.T) {
	r := reportertest.New()
	r.SetMultiTenant(true)
	internal := r.AddInternal(reportertest.Connection{})
	server := reportertest.Serve(t, r)
	c := clientOf(t, server.URL, "")
	var want []string
	tomorrow := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 1)
	for day := time.Date(2025, 11, 1, 0, 0, 0, 0, time.UTC); !day.After(tomorrow); day = day.AddDate(0, 0, 1) {
		name := day.Format(time.DateOnly)
		want = append(want, r.Add(reportertest.Connection{ConfigName: name, CreatedAt: day, Metadata: map[string]any{"owner": "ours"}}).ID)
		r.Add(reportertest.Connection{ConfigName: "other-" + name, CreatedAt: day.Add(24*time.Hour - time.Millisecond), Metadata: map[string]any{"owner": "Ours"}})
	}
	slices.Reverse(want)
	found, err := c.List(t.Context(), marked("ours"))
	if err != nil || !slices.Equal(idsOf(found), want) {
		t.Errorf("%d of %d connections are found, %v", len(found), len(want), err)
	}
	if shown, err := c.Get(t.Context(), found[7].ID); err != nil || !reflect.DeepEqual(shown, found[7]) {
		t.Errorf("GET shows %+v, %v\nnot       %+v", shown, err, found[7])
	}

	for name, number := range map[string]int{"2025-11-01": 1, "other-2026-02-28": 1, internal.ConfigName: 1, "nobodys": 0, "2025": 0} {
		if found, err := c.List(t.Context(), reporter.Query{Tenant: nobody, ConfigName: name}); err != nil || len(found) != number || number == 1 && found[0].ConfigName != name {
			t.Errorf("by the name %s, %d connections are found, %v", name, len(found), err)
		}
	}
	both := marked("ours")
	both.ConfigName = "2026-01-31"
	if found, err := c.List(t.Context(), both); err != nil || len(found) != 1 || found[0].ConfigName != both.ConfigName {
		t.Errorf("by mark and name, %d connections are found, %v", len(found), err)
	}
}

// What is asked for is as much as a query is about, and each window is one that Reporter takes whole.
func TestListRequests(t *testing.T) {
	r, server := serve(t)
	now := time.Now().UTC()
	query := marked("3f2a/ledger db")
	for name, since := range map[string]time.Time{"all": {}, "since yesterday": now.AddDate(0, 0, -1), "since 40 days": now.AddDate(0, 0, -40), "since last year": now.AddDate(-1, 0, 0)} {
		query.Since = since
		r.ResetRequests()
		if _, err := clientOf(t, server.URL, "").List(t.Context(), query); err != nil {
			t.Fatal(err)
		}
		first := since.Truncate(24 * time.Hour)
		if since.IsZero() {
			first = time.Date(2025, 11, 1, 0, 0, 0, 0, time.UTC)
		}
		var next time.Time // the end of the next window
		for i, request := range r.Requests() {
			asked, err := url.ParseQuery(request.Query)
			if err != nil {
				t.Fatal(err)
			}
			from, errFrom := time.Parse(time.DateOnly, asked.Get("startDate"))
			to, errTo := time.Parse(time.DateOnly, asked.Get("endDate"))
			if errFrom != nil || errTo != nil || !from.Before(to) || to.AddDate(0, -1, 0).After(from) {
				t.Errorf("%s: it asks for the window %s", name, request.Query)
			}
			if i == 0 && to.Before(now.AddDate(0, 0, 1)) || i > 0 && !to.Equal(next) {
				t.Errorf("%s: it asks for %s before the one of %s", name, request.Query, next)
			}
			next = from
			for key := range asked {
				if !slices.Contains([]string{"startDate", "endDate", "limit", "page", "sortOrder", "metadata.owner"}, key) {
					t.Errorf("%s: it asks for %s", name, key)
				}
			}
			if asked.Get("metadata.owner") != "3f2a/ledger db" || asked.Get("limit") != "20" || asked.Get("page") != "1" || request.Path != listPath || request.Method != "GET" {
				t.Errorf("%s: it asks %s for %s", name, request.Path, request.Query)
			}
		}
		if !next.Equal(first) {
			t.Errorf("%s: the oldest window begins %s, not %s", name, next, first)
		}
	}
}

// listBody is the JSON of a page.
func listBody(page int, rows ...string) string {
	return fmt.Sprintf(`{"items":[%s],"page":%d,"limit":20,"total":%d}`, strings.Join(rows, ","), page, len(rows))
}

// One answer that is not Reporter's list, in whatever month, and nothing is known of what is not listed.
func TestListBelievesNoOtherPage(t *testing.T) {
	const row = `{"id":"` + ledgerID + `","metadata":{"owner":"ours"}}`
	const json = "application/json"
	for name, test := range map[string]struct {
		status            int
		contentType, body string
		kind              string
	}{
		"a login page":           {200, "text/html", "<form>", ""},
		"a list as text":         {200, "text/plain", listBody(1, row), ""},
		"another status":         {206, json, listBody(1, row), ""},
		"no items":               {200, json, `{"page":1,"limit":20}`, ""},
		"items of a number":      {200, json, `{"items":7,"page":1,"limit":20}`, ""},
		"another page":           {200, json, listBody(2, row), ""},
		"no page":                {200, json, `{"items":[],"limit":20}`, ""},
		"another limit":          {200, json, `{"items":[],"page":1,"limit":10}`, ""},
		"no limit":               {200, json, `{"items":[],"page":1}`, ""},
		"a row that is null":     {200, json, listBody(1, row, "null"), ""},
		"a row that is a text":   {200, json, listBody(1, `"`+ledgerID+`"`), ""},
		"a row without an id":    {200, json, listBody(1, `{"metadata":{"owner":"ours"}}`), ""},
		"a row with an odd id":   {200, json, listBody(1, strings.ToUpper(row)), ""},
		"cut":                    {200, json, listBody(1, row)[:20], ""},
		"more than 1 MiB":        {200, json, listBody(1, row) + strings.Repeat(" ", 1<<20), ""},
		"absent":                 {404, json, absent, "NotFound"},
		"a path that is wrong":   {404, json, `{"code":404}`, "WrongPath"},
		"an error of its own":    {400, json, `{"code":"FET-0408"}`, ""},
		"an error of a proxy":    {502, "", "", "Unavailable"},
		"a limit that is passed": {429, json, `{"code":429}`, "RateLimited"},
	} {
		for _, before := range []int{0, 1, 12} {
			t.Run(fmt.Sprintf("%s, after %d pages", name, before), func(t *testing.T) {
				r, server := serve(t)
				answered := 0
				r.Inject(reportertest.Fault{
					Match: func(*http.Request) bool {
						answered++
						return answered > before
					},
					Do: reportertest.Answer(test.status, http.Header{"Content-Type": {test.contentType}}, test.body),
				})
				found, err := clientOf(t, server.URL, "").List(t.Context(), marked("ours"))
				var e *reporter.Error
				if found != nil || !errors.As(err, &e) || kindOf(err) != test.kind || e.Path != listPath || e.Status != test.status {
					t.Errorf("got %+v, %v", found, err)
				}
				if n := len(r.Requests()); n != before+1 {
					t.Errorf("Reporter got %d requests", n)
				}
			})
		}
	}
}

// Reporter's filter, and its word for a row, are not relied on: it lists internal connections whatever it is asked for.
func TestListLooksAtEachRow(t *testing.T) {
	row := func(n int, metadata string) string {
		return fmt.Sprintf(`{"id":"019996b8-f3d1-7d2b-a192-%012d","configName":"ledger-db"%s}`, n, metadata)
	}
	rows := []string{row(1, `,"metadata":{"owner":"ours"}`), row(2, ""), row(3, `,"metadata":{"owner":"Ours"}`), row(4, `,"metadata":{"owner":["ours"]}`),
		row(5, `,"metadata":"ours"`), row(6, `,"metadata":{"Owner":"ours"}`), row(7, `,"metadata":{"owner":null}`), row(8, `,"metadata":{"owner":"ours","more":7}`)}
	r, server := serve(t)
	r.Inject(reportertest.Fault{Times: 1, Do: jsonAnswer(200, listBody(1, rows...))})
	found, err := clientOf(t, server.URL, "").List(t.Context(), marked("ours"))
	if want := []string{"019996b8-f3d1-7d2b-a192-000000000001", "019996b8-f3d1-7d2b-a192-000000000008"}; err != nil || !slices.Equal(idsOf(found), want) {
		t.Errorf("got %q, %v, not %q", idsOf(found), err, want)
	}
	r.Inject(reportertest.Fault{Times: 1, Do: jsonAnswer(200, `{"items":[`+row(1, `,"metadata":{"owner":""}`)+","+row(2, "")+`],"page":1,"limit":20}`)})
	if found, err := clientOf(t, server.URL, "").List(t.Context(), marked("")); err != nil || len(found) != 1 {
		t.Errorf("by an empty mark, got %q, %v", idsOf(found), err)
	}
}

// A page of a list may be longer than other answers, and comes to an end.
func TestListOfLongPages(t *testing.T) {
	r, server := serve(t)
	for range 40 {
		r.Add(reportertest.Connection{Metadata: map[string]any{"owner": "ours", "note": strings.Repeat("x", 40_000)}})
	}
	c := clientOf(t, server.URL, "")
	if found, err := c.List(t.Context(), marked("ours")); err != nil || len(found) != 40 {
		t.Errorf("%d of 40 connections are found, %v", len(found), err)
	}

	row := `{"id":"` + ledgerID + `"}`
	r.Inject(reportertest.Fault{Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
		page := 0
		_, _ = fmt.Sscan(req.URL.Query().Get("page"), &page)
		jsonAnswer(200, listBody(page, slices.Repeat([]string{row}, 20)...))(w, req, act)
	}})
	if _, err := c.List(t.Context(), marked("ours")); err == nil || !strings.HasSuffix(err.Error(), "the list does not come to an end") {
		t.Errorf("a list without an end gives %v", err)
	}
}

// All is of one tenant, or says nothing: credentials may change in between.
func TestListOfOneTenant(t *testing.T) {
	for logins := range 3 {
		r := newRealm(t)
		r.Add(reportertest.Connection{Tenant: "acme", Metadata: map[string]any{"owner": "ours"}})
		c := r.client(t)
		query := marked("ours")
		query.Tenant = acme
		pages := 0
		r.Inject(reportertest.Fault{Match: func(*http.Request) bool {
			pages++
			if pages == 3 && logins > 0 { // the token is revoked, and the next login is for the same tenant, or another one
				r.manager.AddClient("operator", secret, map[int]string{1: "acme", 2: "globex"}[logins])
				r.manager.RevokeTokens()
			}
			return false
		}, Do: unauthorized})
		found, err := c.List(t.Context(), query)
		if isWhole := err == nil && len(found) == 1; isWhole != (logins < 2) {
			t.Errorf("%d: got %d connections, %v", logins, len(found), err)
		}
		if logins == 2 && (kindOf(err) != "" || !strings.HasSuffix(err.Error(), "the credentials are for another tenant than before")) {
			t.Errorf("it gives %v", err)
		}
	}
	_, server := serve(t)
	if _, err := clientOf(t, server.URL, "").List(t.Context(), reporter.Query{Tenant: acme}); err == nil {
		t.Error("what no tenant lists is believed to be acme's")
	}
}

// The texts of what is listed are fit to be shown, and hold no token.
func TestListCleansTexts(t *testing.T) {
	r, server := serve(t)
	r.Inject(reportertest.Fault{Times: 1, Do: jsonAnswer(200, listBody(1, `{"id":"`+ledgerID+`","host":"x\u0000token-a"}`))})
	found, err := clientOf(t, server.URL, "token-a").List(t.Context(), reporter.Query{Tenant: reporter.Tenant{}})
	if err != nil || len(found) != 1 || found[0].Host != "x…" {
		t.Errorf("got %+v, %v", found, err)
	}
}

// A walk through the list is held back by an outage as any other request is, and told apart from one.
func TestListInAnOutage(t *testing.T) {
	r, server := serve(t)
	c := clientOf(t, server.URL, "")
	server.Down()
	for _, heldBack := range []bool{false, true} {
		if found, err := c.List(t.Context(), marked("ours")); found != nil || !reporter.IsUnavailable(err) || reporter.IsHeldBack(err) != heldBack {
			t.Errorf("it gives %v, %v", found, err)
		}
	}
	if err := server.Up(); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Inject(reportertest.Fault{Times: 1, Do: reportertest.Answer(503, http.Header{"Retry-After": {"60"}}, "")})
	for _, paced := range []bool{false, true} {
		if _, err := c.List(t.Context(), marked("ours")); !reporter.IsUnavailable(err) || reporter.IsPaced(err) != paced {
			t.Errorf("it gives %v", err)
		}
	}
}
