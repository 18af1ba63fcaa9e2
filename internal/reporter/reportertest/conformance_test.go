package reportertest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// TestConformance is the contract of Reporter's connections API, as far as this project relies on it. It runs against
// the embedded Reporter, and with REPORTER_URL (and REPORTER_TOKEN, where Access Manager is on) against a real one, in
// which it creates connections of its own, named conformance-…, and deletes them again.
//
// REPORTER_OTHER_TOKEN, a token of another tenant, adds the check that tenants do not see each other's connections.
func TestConformance(t *testing.T) {
	if url := os.Getenv("REPORTER_URL"); url != "" {
		conform(t, target{
			url:        strings.TrimRight(url, "/"),
			token:      os.Getenv("REPORTER_TOKEN"),
			otherToken: os.Getenv("REPORTER_OTHER_TOKEN"),
		})
		return
	}

	for _, format := range []struct {
		name        string
		problemJSON bool
	}{
		{"classic errors", false},
		{"problem+json", true},
	} {
		t.Run(format.name, func(t *testing.T) {
			reporter := reportertest.New()
			reporter.SetProblemJSON(format.problemJSON)
			reporter.AllowToken("ours", "tenant-a")
			reporter.AllowToken("theirs", "tenant-b")
			conform(t, target{
				url:        reportertest.Serve(t, reporter).URL,
				token:      "ours",
				otherToken: "theirs",
				startJob: func(configName string) func() {
					return reporter.StartTenantJob("tenant-a", configName)
				},
			})
			if left := reporter.Connections(); len(left) > 0 {
				t.Errorf("the suite left %d connections behind, the first of them %s", len(left), left[0].ConfigName)
			}
		})
	}
}

// target is a Reporter to check, and what can be done to it beyond its API.
type target struct {
	url        string
	token      string                               // "" sends none
	otherToken string                               // of another tenant; "" if there is none
	startJob   func(configName string) (end func()) // nil if jobs cannot be started
}

// connection has the fields of the object, by their documented names.
type connection struct {
	ID           string         `json:"id"`
	ProductName  string         `json:"productName"`
	ConfigName   string         `json:"configName"`
	Type         string         `json:"type"`
	Host         string         `json:"host"`
	Port         int            `json:"port"`
	DatabaseName string         `json:"databaseName"`
	Schema       string         `json:"schema"`
	UserName     string         `json:"userName"`
	SSL          *ssl           `json:"ssl"`
	Metadata     map[string]any `json:"metadata"`
	CreatedAt    time.Time      `json:"createdAt"`
	UpdatedAt    time.Time      `json:"updatedAt"`
}

type ssl struct {
	Mode string `json:"mode"`
}

const connectionsPath = "/v1/management/connections"

func pathOf(id string) string { return connectionsPath + "/" + id }

func conform(t *testing.T, at target) {
	t.Helper()
	s := &suite{target: at, prefix: "conformance-" + uuid.NewString()[:8] + "-"}
	s.preflight(t)

	t.Run("Probes", s.probes)
	t.Run("Create", s.create)
	t.Run("CreateRefusals", s.createRefusals)
	t.Run("Get", s.get)
	t.Run("Delete", s.delete)
	t.Run("MalformedIDs", s.malformedIDs)
	t.Run("SloppyIDs", s.sloppyIDs)
	t.Run("WrongPaths", s.wrongPaths)
	t.Run("Jobs", s.jobs)
	t.Run("Update", s.update)
	t.Run("List", s.list)
	t.Run("Test", s.test)
	t.Run("Tokens", s.tokens)
	t.Run("Tenants", s.tenants)
}

type suite struct {
	target
	prefix string
	names  int
}

// preflight stops early, and clearly, where there is no Reporter to check.
func (s *suite) preflight(t *testing.T) {
	t.Helper()
	resp, err := s.try("GET", connectionsPath+"?limit=1", "", s.auth()...)
	if err != nil {
		t.Fatalf("no Reporter answers at %s: %v", s.url, err)
	}
	var list struct {
		Items *[]connection `json:"items"`
	}
	switch {
	case resp.status == 401 || resp.status == 403:
		t.Fatalf("Reporter at %s answers %d %q: it wants a valid token in REPORTER_TOKEN", s.url, resp.status, resp.start())
	case resp.status != 200 || json.Unmarshal(resp.body, &list) != nil || list.Items == nil:
		t.Fatalf("%s is not Reporter's connections API: GET %s answers %d, %s: %q",
			s.url, connectionsPath, resp.status, resp.header.Get("Content-Type"), resp.start())
	}
}

func (s *suite) probes(t *testing.T) {
	for _, path := range []string{"/health", "/readyz", "/version"} {
		if resp := s.send(t, "GET", path, ""); resp.status != 200 {
			t.Errorf("GET %s without a token answers %d, not 200", path, resp.status)
		}
	}
	var readiness struct {
		Checks map[string]any `json:"checks"`
	}
	s.send(t, "GET", "/readyz", "").decode(t, &readiness)
	if len(readiness.Checks) == 0 {
		t.Errorf("GET /readyz shows no checks of dependencies")
	}
}

func (s *suite) create(t *testing.T) {
	name := s.newName()
	resp := s.call(t, "POST", connectionsPath, `{
		"configName": "`+name+`", "type": "MYSQL", "host": "db.example.com", "port": 3306, "databaseName": "ledger",
		"schema": "public", "userName": "reader", "password": "not-to-be-seen", "ssl": {"mode": "require"},
		"metadata": {"team": "billing"}}`, "X-Product-Name", "Conformance_Suite-1")
	if resp.status != 201 {
		t.Fatalf("POST answers %d, not 201: %q", resp.status, resp.start())
	}
	var created connection
	resp.decode(t, &created)
	s.deleteAtTheEnd(t, created)

	if id, err := uuid.Parse(created.ID); err != nil || id.Version() != 7 || id.String() != created.ID {
		t.Errorf("the id %q is not a canonical UUID of version 7", created.ID)
	}
	if created.CreatedAt.IsZero() || created.UpdatedAt.Before(created.CreatedAt) {
		t.Errorf("createdAt is %s and updatedAt is %s", created.CreatedAt, created.UpdatedAt)
	}
	want := connection{
		ID: created.ID, CreatedAt: created.CreatedAt, UpdatedAt: created.UpdatedAt,
		ProductName: "conformance_suite-1", // lower-cased
		ConfigName:  name, Type: "MYSQL", Host: "db.example.com", Port: 3306, DatabaseName: "ledger", Schema: "public",
		UserName: "reader", SSL: &ssl{Mode: "require"}, Metadata: map[string]any{"team": "billing"},
	}
	same(t, "POST", created, want)
	shown := s.call(t, "GET", pathOf(created.ID), "")
	var got connection
	shown.decode(t, &got)
	same(t, "GET after POST", got, want)
	if strings.Contains(string(resp.body)+string(shown.body), "not-to-be-seen") {
		t.Errorf("the password comes back")
	}
}

func (s *suite) createRefusals(t *testing.T) {
	taken := s.newConnection(t)
	for _, test := range []struct {
		name, product, body string
		status              int
		code                string
	}{
		{"no product", "", s.body(s.newName()), 400, "FET-0403"},
		{"odd product", "a product", s.body(s.newName()), 400, "FET-0403"},
		{"long product", strings.Repeat("p", 101), s.body(s.newName()), 400, "FET-0403"},
		{"no field", "conformance", `{}`, 400, "FET-0402"},
		{"no JSON", "conformance", `{`, 400, "FET-0001"},
		{"odd type", "conformance", strings.Replace(s.body(s.newName()), "POSTGRESQL", "CSV", 1), 400, "FET-0001"},
		{"name taken", "conformance", s.body(taken.ConfigName), 409, "FET-1002"},
		{"name taken, for another product", "other", s.body(taken.ConfigName), 409, "FET-1002"},
	} {
		t.Run(test.name, func(t *testing.T) {
			resp := s.call(t, "POST", connectionsPath, test.body, "X-Product-Name", test.product)
			if resp.status == 201 {
				var created connection
				resp.decode(t, &created)
				s.deleteAtTheEnd(t, created)
			}
			resp.refuses(t, test.status, test.code)
		})
	}
}

func (s *suite) get(t *testing.T) {
	c := s.newConnection(t)
	var got connection
	s.call(t, "GET", pathOf(c.ID), "").decode(t, &got)
	same(t, "GET", got, c)
	s.call(t, "GET", pathOf(uuid.NewString()), "").refuses(t, 404, "FET-1001")
}

func (s *suite) delete(t *testing.T) {
	c := s.newConnection(t)
	resp := s.call(t, "DELETE", pathOf(c.ID), "")
	if contentType := resp.header.Get("Content-Type"); resp.status != 204 || len(resp.body) > 0 || contentType != "" {
		t.Fatalf("DELETE answers %d, Content-Type %q: %q, not a bare 204", resp.status, contentType, resp.start())
	}
	s.call(t, "GET", pathOf(c.ID), "").refuses(t, 404, "FET-1001")
	s.call(t, "DELETE", pathOf(c.ID), "").refuses(t, 404, "FET-1001")
	s.call(t, "PATCH", pathOf(c.ID), `{"host": "db2.example.com"}`).refuses(t, 404, "FET-1001")
	s.call(t, "DELETE", pathOf(uuid.NewString()), "").refuses(t, 404, "FET-1001")

	next := s.newConnection(t, c.ConfigName)
	if next.ID == c.ID {
		t.Errorf("the id %s came back", c.ID)
	}
	s.call(t, "DELETE", pathOf(c.ID), "").refuses(t, 404, "FET-1001")
	if resp := s.call(t, "GET", pathOf(next.ID), ""); resp.status != 200 {
		t.Errorf("GET of a connection whose configName was freed by a deletion answers %d, not 200", resp.status)
	}
}

func (s *suite) malformedIDs(t *testing.T) {
	id := uuid.NewString()
	for _, malformed := range []string{"ledger-db", "42", id[1:], id + "0", id[:35] + "g"} {
		for _, method := range []string{"GET", "DELETE"} {
			t.Run(method+" "+malformed, func(t *testing.T) {
				s.call(t, method, pathOf(malformed), "").refuses(t, 400, "FET-0404")
			})
		}
	}
}

// sloppyIDs shows why a client must send nothing but canonical ids: others delete as well.
func (s *suite) sloppyIDs(t *testing.T) {
	for name, sloppy := range map[string]func(id string) string{
		"upper case":       strings.ToUpper,
		"no dashes":        func(id string) string { return strings.ReplaceAll(id, "-", "") },
		"urn":              func(id string) string { return "urn:uuid:" + id },
		"stray characters": func(id string) string { return "x" + id + "y" },
	} {
		t.Run(name, func(t *testing.T) {
			c := s.newConnection(t)
			id := sloppy(c.ID)
			if resp := s.call(t, "DELETE", pathOf(id), ""); resp.status != 204 {
				t.Errorf("DELETE of %s answers %d, not 204", id, resp.status)
			}
			s.call(t, "GET", pathOf(c.ID), "").refuses(t, 404, "FET-1001")
		})
	}
}

func (s *suite) wrongPaths(t *testing.T) {
	c := s.newConnection(t)
	for _, path := range []string{"/" + pathOf(c.ID), "/v1/management/nothing", "/v2/management/connections"} {
		for _, method := range []string{"GET", "DELETE"} {
			t.Run(method+" "+path, func(t *testing.T) {
				e := s.call(t, method, path, "").refuses(t, 404, json.Number("404"))
				if e.Title != "request_failed" {
					t.Errorf("the title is %q, not request_failed", e.Title)
				}
			})
		}
	}
	if resp := s.call(t, "GET", pathOf(c.ID), ""); resp.status != 200 {
		t.Errorf("GET after requests to wrong paths answers %d, not 200", resp.status)
	}
}

func (s *suite) jobs(t *testing.T) {
	if s.startJob == nil {
		t.Skip("Not checked: what a running job does, as no job can be started in a Reporter from outside.")
	}
	c, other := s.newConnection(t), s.newConnection(t)
	end := s.startJob(c.ConfigName)
	t.Cleanup(end)

	s.call(t, "DELETE", pathOf(c.ID), "").refuses(t, 409, "FET-1021")
	s.call(t, "PATCH", pathOf(c.ID), `{"host": "db2.example.com"}`).refuses(t, 409, "FET-1021")
	if resp := s.call(t, "GET", pathOf(c.ID), ""); resp.status != 200 {
		t.Errorf("GET during a job answers %d, not 200", resp.status)
	}
	if resp := s.call(t, "DELETE", pathOf(other.ID), ""); resp.status != 204 {
		t.Errorf("DELETE of a connection that no job reads from answers %d, not 204", resp.status)
	}
	end()
	if resp := s.call(t, "DELETE", pathOf(c.ID), ""); resp.status != 204 {
		t.Errorf("DELETE after the job answers %d, not 204", resp.status)
	}
}

func (s *suite) update(t *testing.T) {
	c, other := s.newConnection(t), s.newConnection(t)
	renamed := s.newName()
	resp := s.call(t, "PATCH", pathOf(c.ID), `{"configName": "`+renamed+`", "port": 6432}`)
	if resp.status != 200 {
		t.Fatalf("PATCH answers %d, not 200: %q", resp.status, resp.start())
	}
	var updated connection
	resp.decode(t, &updated)
	if updated.UpdatedAt.Before(c.UpdatedAt) {
		t.Errorf("updatedAt goes back from %s to %s", c.UpdatedAt, updated.UpdatedAt)
	}
	want := c
	want.ConfigName, want.Port, want.UpdatedAt = renamed, 6432, updated.UpdatedAt
	same(t, "PATCH", updated, want)
	var got connection
	s.call(t, "GET", pathOf(c.ID), "").decode(t, &got)
	same(t, "GET after PATCH", got, want)

	s.call(t, "PATCH", pathOf(c.ID), `{"configName": "`+other.ConfigName+`"}`).refuses(t, 409, "FET-1002")
	s.call(t, "PATCH", pathOf(uuid.NewString()), `{"port": 6432}`).refuses(t, 404, "FET-1001")
}

// list takes it that fewer than 100 connections were created in this Reporter between the first of ours and the last.
func (s *suite) list(t *testing.T) {
	older, gone, newer := s.newConnection(t), s.newConnection(t), s.newConnection(t)
	s.call(t, "DELETE", pathOf(gone.ID), "")

	type page struct {
		Items []connection `json:"items"`
		Page  int          `json:"page"`
		Limit int          `json:"limit"`
		Total *int         `json:"total"`
	}
	show := func(query string) (p page) {
		t.Helper()
		resp := s.call(t, "GET", connectionsPath+query, "")
		if resp.status != 200 {
			t.Fatalf("GET %s answers %d, not 200: %q", query, resp.status, resp.start())
		}
		resp.decode(t, &p)
		return p
	}

	newest := show("?page=1&limit=100&sortOrder=desc")
	var ids []string
	for _, c := range newest.Items {
		ids = append(ids, c.ID)
	}
	if slices.Contains(ids, gone.ID) {
		t.Errorf("a deleted connection is listed")
	}
	first, second := slices.Index(ids, newer.ID), slices.Index(ids, older.ID)
	if first < 0 || second < 0 || second < first && newer.CreatedAt.After(older.CreatedAt) {
		t.Errorf("newest first, the newer connection is at %d and the older one at %d", first, second)
	}
	if newest.Page != 1 || newest.Limit != 100 || newest.Total == nil || len(newest.Items) > 100 {
		t.Errorf("the list answers page %d, limit %d, total %v and %d items", newest.Page, newest.Limit, newest.Total, len(newest.Items))
	}

	if p := show("?page=1&limit=1&sortOrder=asc"); len(p.Items) != 1 || p.Limit != 1 {
		t.Errorf("with limit=1 the list has %d items, and says limit %d", len(p.Items), p.Limit)
	}
	if p := show(""); len(p.Items) > 10 || p.Page != 1 || p.Limit != 10 {
		t.Errorf("by default the list has %d items, page %d and limit %d", len(p.Items), p.Page, p.Limit)
	}
	if p := show("?startDate=2001-02-03&endDate=2001-02-20"); p.Items == nil || len(p.Items) != 0 {
		t.Errorf("a window of the past has %d items", len(p.Items))
	}
	if resp := s.call(t, "GET", connectionsPath+"?limit=1000", ""); resp.status == 200 {
		var p page
		if resp.decode(t, &p); len(p.Items) > 100 {
			t.Errorf("with limit=1000 the list has %d items", len(p.Items))
		}
	}
}

func (s *suite) test(t *testing.T) {
	c := s.newConnection(t)
	resp := s.call(t, "POST", pathOf(c.ID)+"/test", "")
	switch resp.status {
	case 200:
		var result struct {
			Status    string `json:"status"`
			Message   string `json:"message"`
			LatencyMs *int   `json:"latencyMs"`
		}
		resp.decode(t, &result)
		if result.Status != "success" || result.Message == "" || result.LatencyMs == nil {
			t.Errorf("the test of a connection answers %q", resp.start())
		}
	case 500: // db.example.com cannot be reached from a real one
	default:
		t.Errorf("the test of a connection answers %d, neither 200 nor 500", resp.status)
	}
	s.call(t, "POST", pathOf(uuid.NewString())+"/test", "").refuses(t, 404, "FET-1001")
}

func (s *suite) tokens(t *testing.T) {
	if s.token == "" {
		t.Skip("Not checked: what an unknown token or none gets, as REPORTER_TOKEN is not set: no Access Manager here.")
	}
	c := s.newConnection(t)
	for name, header := range map[string][]string{
		"none":    nil,
		"unknown": {"Authorization", "Bearer nobody-knows-this-one"},
	} {
		t.Run(name, func(t *testing.T) {
			resp := s.send(t, "DELETE", pathOf(c.ID), "", header...)
			if resp.status != 401 && (name == "none" || resp.status != 403) {
				t.Errorf("DELETE answers %d, not 401: %q", resp.status, resp.start())
			}
		})
	}
	if resp := s.call(t, "GET", pathOf(c.ID), ""); resp.status != 200 {
		t.Errorf("GET after refused deletions answers %d, not 200", resp.status)
	}
}

func (s *suite) tenants(t *testing.T) {
	if s.otherToken == "" {
		t.Skip("Not checked: that tenants do not see each other's connections, as REPORTER_OTHER_TOKEN, a token of another tenant, is not set.")
	}
	c := s.newConnection(t)
	for _, method := range []string{"GET", "DELETE"} {
		s.send(t, method, pathOf(c.ID), "", "Authorization", "Bearer "+s.otherToken).refuses(t, 404, "FET-1001")
	}
	if resp := s.call(t, "GET", pathOf(c.ID), ""); resp.status != 200 {
		t.Errorf("GET after another tenant's DELETE answers %d, not 200", resp.status)
	}
}

func (s *suite) newName() string {
	s.names++
	return fmt.Sprintf("%s%d", s.prefix, s.names)
}

func (s *suite) body(configName string) string {
	return `{"configName": "` + configName + `", "type": "POSTGRESQL", "host": "db.example.com", "port": 5432,
		"databaseName": "ledger", "userName": "reader", "password": "secret"}`
}

// newConnection creates a connection, under a new name if none is given, and deletes it when the test ends.
func (s *suite) newConnection(t *testing.T, configName ...string) (c connection) {
	t.Helper()
	name := strings.Join(configName, "")
	if name == "" {
		name = s.newName()
	}
	resp := s.call(t, "POST", connectionsPath, s.body(name), "X-Product-Name", "conformance")
	if resp.status != 201 {
		t.Fatalf("POST of a connection to check with answers %d, not 201: %q", resp.status, resp.start())
	}
	resp.decode(t, &c)
	s.deleteAtTheEnd(t, c)
	return c
}

func (s *suite) deleteAtTheEnd(t *testing.T, c connection) {
	t.Cleanup(func() {
		s.call(t, "DELETE", pathOf(c.ID), "")
		if resp := s.call(t, "GET", pathOf(c.ID), ""); resp.status != 404 {
			t.Errorf("the connection %s (%s) is left behind: GET after DELETE answers %d", c.ID, c.ConfigName, resp.status)
		}
	})
}

func (s *suite) auth() []string {
	if s.token == "" {
		return nil
	}
	return []string{"Authorization", "Bearer " + s.token}
}

// call is send with the token.
func (s *suite) call(t *testing.T, method, path, body string, header ...string) response {
	t.Helper()
	return s.send(t, method, path, body, append(s.auth(), header...)...)
}

func (s *suite) send(t *testing.T, method, path, body string, header ...string) response {
	t.Helper()
	resp, err := s.try(method, path, body, header...)
	if err != nil {
		t.Fatalf("Reporter does not answer: %v", err)
	}
	return resp
}

// client follows no redirect: one would be an answer, and a wrong one.
var client = &http.Client{
	Timeout:       90 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// try waits and tries again where Reporter's rate limiter says so.
func (s *suite) try(method, path, body string, header ...string) (response, error) {
	for {
		req, err := http.NewRequestWithContext(context.Background(), method, s.url+path, strings.NewReader(body))
		if err != nil {
			return response{}, err
		}
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		for pair := range slices.Chunk(header, 2) {
			req.Header.Set(pair[0], pair[1])
		}
		resp, err := client.Do(req)
		if err != nil {
			return response{}, err
		}
		read, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		seconds, notTold := strconv.Atoi(resp.Header.Get("Retry-After"))
		if resp.StatusCode == 429 && notTold == nil {
			<-time.After(time.Duration(seconds) * time.Second)
			continue
		}
		return response{method + " " + path, resp.StatusCode, resp.Header, read}, err
	}
}

type response struct {
	to     string
	status int
	header http.Header
	body   []byte
}

// start is enough of the body to recognise it by.
func (r response) start() string {
	return string(r.body[:min(200, len(r.body))])
}

func (r response) decode(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal(r.body, into); err != nil {
		t.Fatalf("%s answers %d with a body that is not the JSON expected: %v: %q", r.to, r.status, err, r.start())
	}
}

// apiError is an error of either format; Code is a string or a json.Number.
type apiError struct {
	Code    any    `json:"code"`
	Title   string `json:"title"`
	Message string `json:"message"`
	Detail  string `json:"detail"`
	Status  int    `json:"status"`
}

// refuses checks that the response is an error of Reporter's, in one of its two formats, with that status and code.
func (r response) refuses(t *testing.T, status int, code any) (e apiError) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(r.body))
	decoder.UseNumber()
	if err := decoder.Decode(&e); err != nil || r.status != status || e.Code != code {
		t.Errorf("%s answers %d with code %#v, not %d with %#v: %q", r.to, r.status, e.Code, status, code, r.start())
		return e
	}
	text := map[string]string{"application/json": e.Message, "application/problem+json": e.Detail}
	mediaType, _, _ := mime.ParseMediaType(r.header.Get("Content-Type"))
	if e.Title == "" || text[mediaType] == "" {
		t.Errorf("%s answers an error of neither format: %s: %q", r.to, mediaType, r.start())
	}
	return e
}

// same compares by JSON, in which two times that are the same instant in UTC look the same.
func same(t *testing.T, what string, got, want connection) {
	t.Helper()
	gotJSON, _ := json.Marshal(got)
	wantJSON, _ := json.Marshal(want)
	if !bytes.Equal(gotJSON, wantJSON) {
		t.Errorf("%s shows\n     %s\nnot  %s", what, gotJSON, wantJSON)
	}
}
