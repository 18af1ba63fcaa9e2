package reportertest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

const ledgerID = "019996b8-f3d1-7d2b-a192-6e91464d82fc"

// do sends a request without a network.
func do(t *testing.T, r http.Handler, method, path, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	for pair := range slices.Chunk(header, 2) {
		req.Header.Set(pair[0], pair[1])
	}
	answer := httptest.NewRecorder()
	r.ServeHTTP(answer, req)
	return answer
}

// answers checks for the status, and for a part of the body.
func answers(t *testing.T, answer *httptest.ResponseRecorder, status int, part string) {
	t.Helper()
	if answer.Code != status || !strings.Contains(answer.Body.String(), part) {
		t.Errorf("got %d %q, want %d and %q in it", answer.Code, answer.Body, status, part)
	}
}

func panics(t *testing.T, with string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := recover(); got != with {
			t.Errorf("panics with %v, not with %s", got, with)
		}
	}()
	f()
}

func TestAddFillsIn(t *testing.T) {
	reporter := reportertest.New()
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	reporter.Now = func() time.Time { return noon }

	added := reporter.Add(reportertest.Connection{})
	id, err := uuid.Parse(added.ID)
	if err != nil || id.Version() != 7 {
		t.Fatalf("the id is %q, not a UUID of version 7", added.ID)
	}
	if seconds, _ := id.Time().UnixTime(); seconds != noon.Unix() {
		t.Errorf("the id is of second %d, not %d", seconds, noon.Unix())
	}
	if !added.CreatedAt.Equal(noon) || !added.UpdatedAt.Equal(noon) {
		t.Errorf("created at %s and updated at %s, not at noon", added.CreatedAt, added.UpdatedAt)
	}
	answers(t, do(t, reporter, "GET", pathOf(added.ID), ""), 200,
		`"productName":"reporter","configName":"`+added.ConfigName+`","type":"POSTGRESQL","host":"db.example.com","port":5432,`+
			`"databaseName":"ledger","userName":"reader","createdAt":"2026-06-01T12:00:00Z","updatedAt":"2026-06-01T12:00:00Z"}`)

	given := reportertest.Connection{ID: ledgerID, ConfigName: "ledger-db", Schema: "public", SSL: &reportertest.SSL{Mode: "require"}}
	reporter.Add(given)
	answers(t, do(t, reporter, "GET", pathOf(ledgerID), ""), 200, `"schema":"public"`)
	given.SSL.Mode = "changed by its owner"
	answers(t, do(t, reporter, "GET", pathOf(ledgerID), ""), 200, `"ssl":{"mode":"require"}`)
}

func TestAddRefusesMistakes(t *testing.T) {
	reporter := reportertest.New()
	reporter.Add(reportertest.Connection{ID: ledgerID, ConfigName: "ledger-db"})
	panics(t, "reportertest: adding a connection: id "+ledgerID+" was used before, and an id never comes back", func() {
		reporter.Add(reportertest.Connection{ID: ledgerID})
	})
	panics(t, `reportertest: adding a connection: configName "ledger-db" is taken`, func() {
		reporter.Add(reportertest.Connection{ConfigName: "ledger-db"})
	})
	for _, id := range []string{"ledger-db", strings.ToUpper(ledgerID)} {
		panics(t, `reportertest: adding a connection: id "`+id+`" is not a canonical lower-case UUID`, func() {
			reporter.Add(reportertest.Connection{ID: id})
		})
	}
	if n := len(reporter.Connections()); n != 1 {
		t.Errorf("there are %d connections, not 1", n)
	}
}

func TestSoftDelete(t *testing.T) {
	reporter := reportertest.New()
	reporter.Add(reportertest.Connection{ID: ledgerID, ConfigName: "ledger-db"})
	other := reporter.Add(reportertest.Connection{})
	if !reporter.Alive(ledgerID) {
		t.Errorf("a new connection is not alive")
	}

	answers(t, do(t, reporter, "DELETE", pathOf(ledgerID), ""), 204, "")
	if reporter.Alive(ledgerID) || !reporter.Alive(other.ID) || reporter.Alive(uuid.NewString()) {
		t.Errorf("alive are the deleted one: %t, the other: %t", reporter.Alive(ledgerID), reporter.Alive(other.ID))
	}
	if living := reporter.Connections(); len(living) != 1 || living[0].ID != other.ID {
		t.Errorf("living are %v, not only %s", living, other.ID)
	}
	panics(t, "reportertest: adding a connection: id "+ledgerID+" was used before, and an id never comes back", func() {
		reporter.Add(reportertest.Connection{ID: ledgerID})
	})
	reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}) // free again
	answers(t, do(t, reporter, "GET", pathOf(ledgerID), ""), 404, `"FET-1001"`)

	end := reporter.StartJob(other.ConfigName)
	defer end()
	reporter.Delete(other.ID)
	reporter.Delete(other.ID)
	reporter.Delete(uuid.NewString())
	answers(t, do(t, reporter, "DELETE", pathOf(other.ID), ""), 404, `"FET-1001"`)
}

func TestInternalConnections(t *testing.T) {
	reporter := reportertest.New()
	c := reporter.AddInternal(reportertest.Connection{})
	other := reporter.AddInternal(reportertest.Connection{Type: "MYSQL"})
	if id, err := uuid.Parse(c.ID); err != nil || id.Version() != 5 || other.ID == c.ID {
		t.Errorf("the ids are %s and %s, not two UUIDs of version 5", c.ID, other.ID)
	}
	answers(t, do(t, reporter, "DELETE", pathOf(c.ID), ""), 404, `"FET-1001"`)
	answers(t, do(t, reporter, "PATCH", pathOf(c.ID), `{"port": 1}`), 404, `"FET-1001"`)
	answers(t, do(t, reporter, "GET", pathOf(c.ID), ""), 200, `"host":"","port":0,`)
	answers(t, do(t, reporter, "GET", pathOf(c.ID), ""), 200, `"createdAt":"0001-01-01T00:00:00Z"`)
	if n := len(reporter.Connections()); n != 0 {
		t.Errorf("%d internal connections are shown with the others", n)
	}

	reporter.AddInternal(reportertest.Connection{Tenant: "another"})
	answers(t, do(t, reporter, "GET", connectionsPath, ""), 200, `{"items":[],"page":1,"limit":10,"total":0}`)
	reporter.SetMultiTenant(true)
	answers(t, do(t, reporter, "GET", connectionsPath+"?startDate=2001-01-01", ""), 200, `"total":2}`)
	answers(t, do(t, reporter, "GET", connectionsPath+"?type=mysql", ""), 200, `{"items":[{"id":"`+other.ID+`"`)
}

func TestJobs(t *testing.T) {
	reporter := reportertest.New()
	reporter.Add(reportertest.Connection{ID: ledgerID, ConfigName: "ledger-db"})

	end, endOther := reporter.StartJob("ledger-db"), reporter.StartJob("ledger-db")
	reporter.StartJob("another-db")
	reporter.StartTenantJob("acme", "ledger-db")
	answers(t, do(t, reporter, "DELETE", pathOf(ledgerID), ""), 409, `"FET-1021"`)
	answers(t, do(t, reporter, "PATCH", pathOf(ledgerID), `{"port": 1}`), 409, `"FET-1021"`)
	end()
	end() // does not end the other
	answers(t, do(t, reporter, "DELETE", pathOf(ledgerID), ""), 409, `"FET-1021"`)
	endOther()
	answers(t, do(t, reporter, "PATCH", pathOf(ledgerID), `{"configName": "another-db"}`), 200, `"configName":"another-db"`)

	// The job names the connection by its configName, which this one has now.
	answers(t, do(t, reporter, "DELETE", pathOf(ledgerID), ""), 409, `"FET-1021"`)
	if !reporter.Alive(ledgerID) {
		t.Errorf("a connection in use is gone")
	}
}

func TestTokens(t *testing.T) {
	reporter := reportertest.New()
	reporter.Add(reportertest.Connection{ID: ledgerID, ConfigName: "ledger-db", Tenant: "acme"})
	answers(t, do(t, reporter, "GET", pathOf(ledgerID), ""), 404, `"FET-1001"`) // no token asked for: the tenant is ""

	reporter.AllowToken("t1", "acme")
	reporter.AllowToken("t2", "")
	for _, test := range []struct {
		header []string
		says   string
	}{
		{nil, "Missing Token"},
		{[]string{"Authorization", "Bearer "}, "Missing Token"},
		{[]string{"Authorization", "Bearer t3"}, "Unauthorized"},
		{[]string{"Authorization", "Basic dDE6"}, "Unauthorized"},
	} {
		answer := do(t, reporter, "DELETE", pathOf(ledgerID), "", test.header...)
		contentType := answer.Header().Get("Content-Type")
		if answer.Code != 401 || answer.Body.String() != test.says || contentType != "text/plain; charset=utf-8" {
			t.Errorf("%q gets %d, %s: %q, not 401 %q", test.header, answer.Code, contentType, answer.Body, test.says)
		}
	}
	for _, probe := range []string{"/health", "/readyz", "/version"} {
		answers(t, do(t, reporter, "GET", probe, ""), 200, "")
	}

	ours, theirs := []string{"Authorization", "Bearer t1"}, []string{"Authorization", "Bearer t2"}
	for _, method := range []string{"GET", "DELETE", "PATCH"} {
		answers(t, do(t, reporter, method, pathOf(ledgerID), `{"port": 1}`, theirs...), 404, `"FET-1001"`)
	}
	answers(t, do(t, reporter, "GET", connectionsPath, "", theirs...), 200, `"total":0`)
	answers(t, do(t, reporter, "GET", connectionsPath, "", ours...), 200, `"total":1`)
	answers(t, do(t, reporter, "POST", connectionsPath, new(suite).body("configName", "ledger-db"), append(theirs, "X-Product-Name", "p")...), 201, "")
	answers(t, do(t, reporter, "DELETE", pathOf(ledgerID), "", ours...), 204, "")

	reporter.RevokeToken("t1")
	reporter.RevokeToken("t2")
	answers(t, do(t, reporter, "GET", pathOf(ledgerID), "", ours...), 401, "Unauthorized")
}

func TestErrorFormats(t *testing.T) {
	reporter := reportertest.New()
	path := pathOf(ledgerID)
	const text = "It was not possible to find the connection entity during the requested flow. Please review the data provided in the request."
	for _, test := range []struct {
		problemJSON       bool
		path, contentType string
		body              string
	}{
		{false, path, "application/json", `{"code":"FET-1001","message":"` + text + `","title":"Entity Not Found"}`},
		{true, path, "application/problem+json", `{"code":"FET-1001","detail":"` + text + `","status":404,"title":"Entity Not Found"}`},
		{false, "/v1", "application/json", `{"code":404,"message":"Cannot find what was requested.","title":"request_failed"}`},
		{true, "/v1", "application/problem+json", `{"code":404,"detail":"Cannot find what was requested.","status":404,"title":"request_failed"}`},
	} {
		reporter.SetProblemJSON(test.problemJSON)
		answer := do(t, reporter, "GET", test.path, "")
		got, contentType := strings.TrimSpace(answer.Body.String()), answer.Header().Get("Content-Type")
		if answer.Code != 404 || got != test.body || contentType != test.contentType {
			t.Errorf("got %d, %s\n %s\nwant 404, %s\n %s", answer.Code, contentType, got, test.contentType, test.body)
		}
	}
}

func TestIDs(t *testing.T) {
	compact := strings.ReplaceAll(ledgerID, "-", "")
	for _, id := range []string{
		ledgerID, strings.ToUpper(ledgerID), compact, "urn:uuid:" + ledgerID, "URN:UUID:" + ledgerID,
		"%7B" + ledgerID + "%7D", "x" + ledgerID + "%20",
	} {
		reporter := reportertest.New()
		reporter.Add(reportertest.Connection{ID: ledgerID})
		answers(t, do(t, reporter, "DELETE", pathOf(id), ""), 204, "")
		if reporter.Alive(ledgerID) {
			t.Errorf("DELETE of %s deletes nothing", id)
		}
	}
	for _, id := range []string{"test", ledgerID[1:], ledgerID + "0", "%7B" + compact + "%7D", "xx" + ledgerID, "%20"} {
		reporter := reportertest.New()
		reporter.Add(reportertest.Connection{ID: ledgerID})
		answers(t, do(t, reporter, "DELETE", pathOf(id), ""), 400, `"code":"FET-0404"`)
	}
}

func TestRoutes(t *testing.T) {
	reporter := reportertest.New()
	reporter.Add(reportertest.Connection{ID: ledgerID})
	path := pathOf(ledgerID)
	for _, request := range []string{
		"GET /", "GET //v1/management/connections", "DELETE /" + path, "GET /v1/management/connections/", "DELETE " + path + "/",
		"POST " + path + "/test/", "POST " + path + "/x", "DELETE " + path + "%2Ftest/x", "POST /v1/management/connections//test",
		"GET /v1/management/connectionsx", "GET /reporter/version",
	} {
		method, path, _ := strings.Cut(request, " ")
		answers(t, do(t, reporter, method, "http://reporter"+path, ""), 404, `{"code":404,`)
	}
	for _, request := range []string{
		"POST /readyz", "DELETE /v1/management/connections", "PUT " + path, "POST " + path, "DELETE " + path + "/test",
	} {
		method, path, _ := strings.Cut(request, " ")
		answers(t, do(t, reporter, method, path, ""), 405, `{"code":405,`)
	}
	if !reporter.Alive(ledgerID) {
		t.Errorf("a wrong path deletes")
	}
}

func TestBehindABasePath(t *testing.T) {
	reporter := reportertest.New()
	reporter.Add(reportertest.Connection{ID: ledgerID})
	based := http.StripPrefix("/reporter", reporter)
	answers(t, do(t, based, "GET", "/reporter"+pathOf(ledgerID), ""), 200, ledgerID)
	answers(t, do(t, based, "GET", "/reporter/"+pathOf(ledgerID), ""), 404, `{"code":404,`)
}

func TestListPages(t *testing.T) {
	reporter := reportertest.New()
	now := time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)
	reporter.Now = func() time.Time { now = now.Add(time.Second); return now }
	for i := range 12 {
		reporter.Add(reportertest.Connection{ConfigName: fmt.Sprintf("db-%02d", i), ProductName: "product-" + fmt.Sprint(i%2)})
	}

	var names []string
	for _, c := range reporter.Connections() {
		names = append(names, c.ConfigName)
	}
	if !slices.IsSorted(names) || len(names) != 12 {
		t.Errorf("the connections are %q, not the oldest first", names)
	}

	for _, test := range []struct {
		query, product     string
		page, limit, total int
		first, last        string
		items              int
	}{
		{"", "", 1, 10, 12, "db-11", "db-02", 10},
		{"?page=2", "", 2, 10, 12, "db-01", "db-00", 2},
		{"?page=3", "", 3, 10, 12, "", "", 0},
		{"?page=9223372036854775807", "", 9223372036854775807, 10, 12, "", "", 0},
		{"?limit=100&sortOrder=asc", "", 1, 100, 12, "db-00", "db-11", 12},
		{"?limit=5&page=3&sortOrder=ASC", "", 3, 5, 12, "db-10", "db-11", 2},
		{"?limit=4&page=3&sortOrder=desc", "", 3, 4, 12, "db-03", "db-00", 4},
		{"?unknown=1", "Product-1", 1, 10, 6, "db-11", "db-01", 6},
	} {
		t.Run(test.query, func(t *testing.T) {
			var got struct {
				Items              []connection
				Page, Limit, Total int
			}
			answer := do(t, reporter, "GET", connectionsPath+test.query, "", "X-Product-Name", test.product)
			if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || answer.Code != 200 {
				t.Fatalf("got %d %q, %v", answer.Code, answer.Body, err)
			}
			if got.Page != test.page || got.Limit != test.limit || got.Total != test.total || len(got.Items) != test.items {
				t.Fatalf("got page %d, limit %d, total %d and %d items, want %+v", got.Page, got.Limit, got.Total, len(got.Items), test)
			}
			if got.Items == nil {
				t.Errorf("items is null")
			}
			if n := len(got.Items); n > 0 && (got.Items[0].ConfigName != test.first || got.Items[n-1].ConfigName != test.last) {
				t.Errorf("got %s to %s, want %s to %s", got.Items[0].ConfigName, got.Items[n-1].ConfigName, test.first, test.last)
			}
		})
	}

	for query, code := range map[string]string{
		"?limit=101": "FET-0406", "?limit=0": "FET-0405", "?limit=x": "FET-0405", "?page=0": "FET-0405", "?page=x": "FET-0405",
		"?sortOrder=up": "FET-0407", "?startDate=15.6.2026": "FET-0408", "?endDate=soon": "FET-0408",
		"?startDate=2026-06-02&endDate=2026-06-01": "FET-0409",
	} {
		answers(t, do(t, reporter, "GET", connectionsPath+query, ""), 400, `"code":"`+code+`"`)
	}
}

func TestListWindows(t *testing.T) {
	reporter := reportertest.New()
	reporter.Now = func() time.Time { return time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC) }
	for _, day := range []string{"2026-01-10", "2026-02-10", "2026-03-10", "2026-05-15", "2026-05-16", "2026-06-14", "2026-06-15"} {
		created, _ := time.Parse(time.DateOnly, day)
		reporter.Add(reportertest.Connection{ConfigName: day, CreatedAt: created.Add(time.Hour)})
	}

	for query, want := range map[string]string{
		"": "2026-05-16 2026-06-14 2026-06-15",
		"&startDate=2026-02-01&endDate=2026-02-28": "2026-02-10",
		"&startDate=2026-01-01&endDate=2026-03-11": "2026-03-10", // cut to its last month
		"&startDate=2026-02-10&endDate=2026-03-10": "2026-02-10", // an end date is its first instant
		"&startDate=2026-02-10&endDate=2026-02-10": "2026-02-10",
		"&startDate=2026-03-10":                    "2026-03-10",
		"&endDate=2026-06-15":                      "2026-05-15 2026-05-16 2026-06-14",
		"&startDate=2001-01-01&endDate=2001-01-31": "",
	} {
		t.Run(query, func(t *testing.T) {
			var page struct{ Items []connection }
			answer := do(t, reporter, "GET", connectionsPath+"?sortOrder=asc"+query, "")
			if err := json.Unmarshal(answer.Body.Bytes(), &page); err != nil {
				t.Fatalf("got %d %q: %v", answer.Code, answer.Body, err)
			}
			var got []string
			for _, c := range page.Items {
				got = append(got, c.ConfigName)
			}
			if strings.Join(got, " ") != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestUpdateFreesTheName(t *testing.T) {
	reporter := reportertest.New()
	c := reporter.Add(reportertest.Connection{ConfigName: "old-name", Metadata: map[string]any{"team": "a"}})
	answers(t, do(t, reporter, "PATCH", pathOf(c.ID), `{"configName": "old-name", "userName": "auditor"}`), 200, `"userName":"auditor"`)
	answers(t, do(t, reporter, "PATCH", pathOf(c.ID), `{"configName": "new-name"}`), 200, `"metadata":{"team":"a"}`)
	reporter.Add(reportertest.Connection{ConfigName: "old-name"})
	answers(t, do(t, reporter, "PATCH", pathOf(c.ID), `{"configName": "old-name"}`), 409, `"FET-1002"`)
	answers(t, do(t, reporter, "PATCH", pathOf(c.ID), `{"configName": "x"}`), 400, `"FET-0001"`)
	answers(t, do(t, reporter, "PATCH", pathOf(c.ID), `{"port": 65536}`), 400, `"FET-0001"`)
	answers(t, do(t, reporter, "PATCH", pathOf(c.ID), `[]`), 400, `"FET-0001"`)
	answers(t, do(t, reporter, "GET", pathOf(c.ID), ""), 200, `"configName":"new-name"`)
}

func TestTestingAConnection(t *testing.T) {
	reporter := reportertest.New()
	now := time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)
	reporter.Now = func() time.Time { return now }
	c := reporter.Add(reportertest.Connection{})
	unreachable := reporter.Add(reportertest.Connection{Host: "db.invalid"})

	for range 10 {
		answers(t, do(t, reporter, "POST", pathOf(c.ID)+"/test", ""), 200, `"status":"success"`)
	}
	answers(t, do(t, reporter, "POST", pathOf(c.ID)+"/test", ""), 429, `{"code":429,`)
	answers(t, do(t, reporter, "POST", pathOf(unreachable.ID)+"/test", ""), 500, `{"code":500,`)
	reporter.SetDatabasePassword(c.Host, "changed")
	now = now.Add(time.Minute)
	answers(t, do(t, reporter, "POST", pathOf(c.ID)+"/test", ""), 500, `{"code":500,`)
	answers(t, do(t, reporter, "PATCH", pathOf(c.ID), `{"password": "changed"}`), 200, c.ID)
	answers(t, do(t, reporter, "POST", pathOf(c.ID)+"/test", ""), 200, `"status":"success"`)
}

func TestValidateSchema(t *testing.T) {
	reporter := reportertest.New()
	reporter.Add(reportertest.Connection{ConfigName: "ledger-db", Tenant: "acme"})
	reporter.Add(reportertest.Connection{ConfigName: "gone-db", Host: "db.invalid", Tenant: "acme"})
	reporter.AllowToken("ours", "acme")
	reporter.AllowToken("theirs", "globex")
	for _, test := range []struct {
		token, body string
		status      int
		part        string
	}{
		{"ours", `{"mappedFields": {"ledger-db": {}}}`, 200, `"status":"success"`},
		{"theirs", `{"mappedFields": {"ledger-db": {}}}`, 400, `"FET-1062"`},
		{"ours", `{"mappedFields": {"Ledger-DB": {}}}`, 400, `"FET-1062"`},
		{"ours", `{"mappedFields": {"gone-db": {}}}`, 422, `"FET-1060"`},
		{"ours", `{"mappedFields": {"ledger-db": {}, "another": {}}}`, 422, `"FET-1060"`},
		{"ours", `{}`, 400, `"fields":{"mappedFields":`},
		{"ours", `[]`, 400, `"FET-0001"`},
	} {
		answers(t, do(t, reporter, "POST", connectionsPath+"/validate-schema", test.body, "Authorization", "Bearer "+test.token), test.status, test.part)
	}
	answers(t, do(t, reporter, "GET", connectionsPath+"/validate-schema", "", "Authorization", "Bearer ours"), 400, `"FET-0404"`)
}

func TestSecrets(t *testing.T) {
	reporter := reportertest.New()
	if got := reporter.Secrets(ledgerID); got != (reportertest.Secrets{}) {
		t.Errorf("the secrets of no connection are %+v", got)
	}
	reporter.Add(reportertest.Connection{ID: ledgerID})
	expect := func(want reportertest.Secrets) {
		t.Helper()
		if got := reporter.Secrets(ledgerID); got != want {
			t.Errorf("the secrets are %+v, not %+v", got, want)
		}
	}
	want := reportertest.Secrets{Host: "db.example.com", UserName: "reader", Password: "secret"}
	expect(want)

	do(t, reporter, "PATCH", pathOf(ledgerID), `{"host": "db2.example.com", "ssl": {"mode": "require", "ca": "CA", "cert": "certificate", "key": "key"}}`)
	want.Host, want.CA, want.Cert, want.Key = "db2.example.com", "CA", "certificate", "key"
	expect(want)
	do(t, reporter, "PATCH", pathOf(ledgerID), `{"userName": "auditor", "password": " with spaces ", "ssl": {"cert": "ignored"}}`)
	want.UserName, want.Password = "auditor", " with spaces "
	expect(want)
	do(t, reporter, "PATCH", pathOf(ledgerID), `{"ssl": {"mode": "require", "ca": "CA 2"}, "port": 6432}`)
	want.CA, want.Cert, want.Key = "CA 2", "", ""
	expect(want)
	do(t, reporter, "PATCH", pathOf(ledgerID), `{"host": "refused.example.com", "password": "refused", "ssl": {"mode": "preferred", "ca": "CA"}}`)
	expect(want)
	do(t, reporter, "DELETE", pathOf(ledgerID), "")
	expect(want)

	created := do(t, reporter, "POST", connectionsPath, new(suite).body("configName", "created", "ssl", map[string]string{"mode": "disable", "ca": "CA", "key": "key"}), "X-Product-Name", "p")
	var c connection
	if err := json.Unmarshal(created.Body.Bytes(), &c); err != nil {
		t.Fatalf("POST answers %q: %v", created.Body, err)
	}
	if got, want := reporter.Secrets(c.ID), (reportertest.Secrets{Host: "db.example.com", UserName: "reader", Password: "not-to-be-seen", CA: "CA", Key: "key"}); got != want {
		t.Errorf("the secrets are %+v, not %+v", got, want)
	}
}

// What an answer shows is a copy: the store does not change with it, nor with what was given to Add.
func TestStoredValuesAreCopies(t *testing.T) {
	reporter := reportertest.New()
	given := reportertest.Connection{ID: ledgerID, Metadata: map[string]any{"team": "billing"}}
	reporter.Add(given)
	given.Metadata["team"] = "changed"
	reporter.Connections()[0].Metadata["team"] = "changed"
	answers(t, do(t, reporter, "GET", pathOf(ledgerID), ""), 200, `"metadata":{"team":"billing"}`)
}

// Empty values count as missing ones in a POST, and empty ssl as none at all.
func TestEmptyValues(t *testing.T) {
	reporter := reportertest.New()
	post := func(fields ...any) *httptest.ResponseRecorder {
		return do(t, reporter, "POST", connectionsPath, new(suite).body(append([]any{"configName", "ledger-db"}, fields...)...), "X-Product-Name", "p")
	}
	for _, field := range []string{"configName", "type", "host", "databaseName", "userName", "password"} {
		answers(t, post(field, ""), 400, `{"code":"FET-0402","fields":{"`+field+`":"`)
	}
	answers(t, post("port", 0), 400, `{"code":"FET-0402","fields":{"port":"`)
	answers(t, do(t, reporter, "POST", connectionsPath, `{"configName": "", "port": 0, "ssl": {}}`, "X-Product-Name", "p"), 400, "empty request body")

	answers(t, post("ssl", map[string]any{}, "schema", ""), 201, `"userName":"reader","createdAt":`)
	c := reporter.Connections()[0]
	if c.SSL != nil {
		t.Errorf("ssl is %v, not absent", c.SSL)
	}
	answers(t, do(t, reporter, "PATCH", pathOf(c.ID), `{"ssl": {}}`), 400, "empty request body")
	answers(t, do(t, reporter, "PATCH", pathOf(c.ID), `{"userName": " "}`), 400, `{"code":"FET-0402","fields":{"username":"`)
}

func TestMultiTenant(t *testing.T) {
	reporter := reportertest.New()
	reporter.SetMultiTenant(true)
	first := reporter.Add(reportertest.Connection{ConfigName: "ledger-db"})
	second := reporter.Add(reportertest.Connection{ConfigName: "ledger-db"})
	answers(t, do(t, reporter, "DELETE", pathOf(first.ID), ""), 204, "")
	answers(t, do(t, reporter, "GET", pathOf(second.ID), ""), 200, "ledger-db")
	answers(t, do(t, reporter, "POST", connectionsPath, new(suite).body("configName", "ledger-db"), "X-Product-Name", "p"), 409, "FET-1002")
	answers(t, do(t, reporter, "DELETE", pathOf(second.ID), ""), 204, "")
	for host, status := range map[string]int{
		"10.0.0.1": 400, "172.31.255.255": 400, "172.32.0.1": 201, "192.168.0.1": 400, "169.254.169.254": 400, "127.0.0.1": 400, "::1": 400,
		"fd00::1": 400, "::ffff:10.0.0.1": 400, "0.0.0.0": 400, " 10.0.0.1 ": 400, "8.8.8.8": 201, "2001:4860:4860::8888": 201, "10.example.com": 201,
	} {
		part := "FET-0414"
		if status == 201 {
			part = "host"
		}
		answers(t, do(t, reporter, "POST", connectionsPath, new(suite).body("host", host, "configName", fmt.Sprintf("host-%x", host)), "X-Product-Name", "p"), status, part)
	}
}

func TestDatabaseDown(t *testing.T) {
	reporter := reportertest.New()
	reporter.Add(reportertest.Connection{ID: ledgerID})
	reporter.SetDatabaseDown(true)
	answers(t, do(t, reporter, "DELETE", pathOf(ledgerID), ""), 503, `"FET-0003"`)
	answers(t, do(t, reporter, "GET", "/readyz", ""), 503, `"mongodb":{"status":"down"}`)
	answers(t, do(t, reporter, "GET", "/health", ""), 200, "")
	reporter.SetDatabaseDown(false)
	answers(t, do(t, reporter, "GET", "/readyz", ""), 200, `"mongodb":{"status":"up"}`)
	answers(t, do(t, reporter, "DELETE", pathOf(ledgerID), ""), 204, "")
}

func TestRequestsAreRecorded(t *testing.T) {
	reporter := reportertest.New()
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	reporter.Now = func() time.Time { return noon }
	do(t, reporter, "POST", connectionsPath+"?a=b", `{"port": 1}`, "X-Product-Name", "billing")
	do(t, reporter, "GET", "http://reporter//v1/%7Bx%7D", "")

	got := reporter.Requests()
	if len(got) != 2 {
		t.Fatalf("%d requests are recorded, not 2", len(got))
	}
	post, get := got[0], got[1]
	if post.Method != "POST" || post.Path != connectionsPath || post.Query != "a=b" || string(post.Body) != `{"port": 1}` ||
		post.Header.Get("X-Product-Name") != "billing" || post.RemoteAddr == "" || !post.Time.Equal(noon) {
		t.Errorf("the first is recorded as %+v", post)
	}
	if get.Path != "//v1/%7Bx%7D" {
		t.Errorf("the path of the second is recorded as %s", get.Path)
	}

	reporter.ResetRequests()
	if n := len(reporter.Requests()); n != 0 {
		t.Errorf("%d requests are recorded after a reset", n)
	}
	const many = 10_000
	for i := range many {
		do(t, reporter, "GET", fmt.Sprintf("/%d", i), "")
	}
	got = reporter.Requests()
	if n := len(got); n < 4096 || n > 8192 || got[n-1].Path != "/9999" || got[0].Path != fmt.Sprintf("/%d", many-n) {
		t.Errorf("of many requests %d are recorded, from %s to %s", n, got[0].Path, got[n-1].Path)
	}
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reporter := reportertest.New()
		reporter.Add(reportertest.Connection{ID: ledgerID})
		reporter.SetLatency(time.Hour)
		answered := make(chan *httptest.ResponseRecorder, 1)
		go func() { answered <- do(t, reporter, "DELETE", pathOf(ledgerID), "") }()
		synctest.Wait() // until only the clock can bring the answer
		if len(answered) > 0 || !reporter.Alive(ledgerID) {
			t.Errorf("the request is not delayed")
		}
		answers(t, <-answered, 204, "")
	})
}

func TestConcurrentUse(t *testing.T) {
	reporter := reportertest.New()
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 20 {
				c := reporter.Add(reportertest.Connection{Metadata: map[string]any{"a": "b"}})
				end := reporter.StartJob(c.ConfigName)
				remove := reporter.Inject(reportertest.Fault{Method: "DELETE", ID: c.ID, Times: 1, Do: reportertest.LoginPage()})
				answers(t, do(t, reporter, "DELETE", pathOf(c.ID), ""), 200, "<title>Sign in</title>")
				answers(t, do(t, reporter, "DELETE", pathOf(c.ID), ""), 409, `"FET-1021"`)
				answers(t, do(t, reporter, "GET", connectionsPath, ""), 200, `"items":[`)
				end()
				answers(t, do(t, reporter, "PATCH", pathOf(c.ID), `{"metadata": {"a": "c"}}`), 200, `"a":"c"`)
				answers(t, do(t, reporter, "DELETE", pathOf(c.ID), ""), 204, "")
				remove()
				reporter.Requests()
				reporter.Connections()
			}
		})
	}
	clients.Wait()
	if left := len(reporter.Connections()); left != 0 {
		t.Errorf("%d connections are left", left)
	}
}

func Example() {
	reporter := reportertest.New()
	reporter.Add(reportertest.Connection{ID: ledgerID, ConfigName: "ledger-db"})
	server, err := reportertest.Start(reporter, "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer server.Close()
	deleteIt := func() string {
		req, _ := http.NewRequestWithContext(context.Background(), http.MethodDelete, server.URL+"/v1/management/connections/"+ledgerID, nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return "no answer"
		}
		defer resp.Body.Close()
		return resp.Status
	}

	end := reporter.StartJob("ledger-db")
	fmt.Println(deleteIt())
	end()

	reporter.Inject(reportertest.Fault{Method: "DELETE", Times: 1, Do: reportertest.AfterActing(reportertest.Reset())})
	fmt.Println(deleteIt())
	fmt.Println(deleteIt())
	fmt.Println(len(reporter.Requests()), "requests; alive:", reporter.Alive(ledgerID))

	// Output:
	// 409 Conflict
	// no answer
	// 404 Not Found
	// 3 requests; alive: false
}
