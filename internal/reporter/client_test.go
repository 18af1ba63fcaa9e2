// SPDX-License-Identifier: Apache-2.0

package reporter_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reporter-operator/reporter-operator/internal/reporter"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

const (
	ledgerID = "019996b8-f3d1-7d2b-a192-6e91464d82fc"
	otherID  = "019996b9-174d-7a23-9f87-f7336d5ad98c"

	listPath   = "/v1/management/connections"
	ledgerPath = "/v1/management/connections/019996b8-f3d1-7d2b-a192-6e91464d82fc"
)

// serve returns a Reporter with the connection ledgerID, and its server.
func serve(t *testing.T) (*reportertest.Reporter, *reportertest.Server) {
	t.Helper()
	r := reportertest.New()
	r.Add(reportertest.Connection{ID: ledgerID, ConfigName: "ledger-db"})
	return r, reportertest.Serve(t, r)
}

// newPool returns a pool that may speak to the servers of a test.
func newPool() *reporter.Pool {
	return &reporter.Pool{Network: reporter.Network{AllowLoopback: true}}
}

// users counts those that clients were made for, each of which has one client.
var users atomic.Int64

// permitted is the permission of a test that is about something else.
func permitted(context.Context, reporter.Tenant) error { return nil }

// clientOf returns a client that shares nothing with any other.
func clientOf(t *testing.T, url, token string) *reporter.Client {
	t.Helper()
	return poolClient(t, newPool(), reporter.Config{BaseURL: url, Token: token, Timeout: 10 * time.Second})
}

func poolClient(t *testing.T, pool *reporter.Pool, config reporter.Config) *reporter.Client {
	t.Helper()
	c, err := pool.Client(fmt.Sprintf("endpoint-%d", users.Add(1)), config)
	if err != nil {
		t.Fatalf("making a client for %s: %v", config.BaseURL, err)
	}
	return c
}

// call is one that a Client offers, about ledgerID where it is about a connection.
type call struct {
	name, method, path, query string
	do                        func(context.Context, *reporter.Client) error
}

var calls = []call{
	{"Delete", "DELETE", ledgerPath, "", func(ctx context.Context, c *reporter.Client) error {
		return c.Delete(ctx, ledgerID, permitted)
	}},
	{"Get", "GET", ledgerPath, "", func(ctx context.Context, c *reporter.Client) error {
		connection, err := c.Get(ctx, ledgerID)
		if (connection == nil) != (err != nil) {
			return errors.New("Get must return either a connection or an error")
		}
		return err
	}},
	{"Check", "GET", listPath, "limit=1&page=1", func(ctx context.Context, c *reporter.Client) error {
		return c.Check(ctx)
	}},
}

// arrived lists the requests that reached Reporter as method, path and query.
func arrived(r *reportertest.Reporter) []string {
	lines := []string{}
	for _, request := range r.Requests() {
		line := request.Method + " " + request.Path
		if request.Query != "" {
			line += "?" + request.Query
		}
		lines = append(lines, line)
	}
	return lines
}

func expectArrived(t *testing.T, r *reportertest.Reporter, want ...string) {
	t.Helper()
	if got := arrived(r); !slices.Equal(got, want) {
		t.Errorf("Reporter got %q, not %q", got, want)
	}
}

func jsonAnswer(status int, body string) reportertest.Behaviour {
	return reportertest.Answer(status, http.Header{"Content-Type": {"application/json"}}, body)
}

// withoutSettings is what is there to be shown of a connection, nothing for none.
func withoutSettings(c *reporter.Connection) reporter.Connection {
	if c == nil {
		return reporter.Connection{}
	}
	shown := *c
	shown.Settings = reporter.Settings{}
	return shown
}

func TestGet(t *testing.T) {
	r, server := serve(t)
	r.Add(reportertest.Connection{
		ID: otherID, ConfigName: "billing_db", ProductName: "billing", Type: "MONGODB", Host: "mongo.internal", Port: 27017,
		DatabaseName: "invoices", Schema: "public", UserName: "reader", SSL: &reportertest.SSL{Mode: "require"},
		Metadata:  map[string]any{"team": "billing"},
		CreatedAt: time.Date(2026, 6, 1, 12, 0, 0, 250e6, time.UTC),
		UpdatedAt: time.Date(2026, 6, 2, 13, 30, 0, 0, time.UTC),
	})
	got, err := clientOf(t, server.URL, "").Get(t.Context(), otherID)
	if err != nil {
		t.Fatal(err)
	}
	want := reporter.Connection{
		ID: otherID, ConfigName: "billing_db", ProductName: "billing", Type: "MONGODB", Host: "mongo.internal", Port: 27017,
		DatabaseName: "invoices",
		CreatedAt:    time.Date(2026, 6, 1, 12, 0, 0, 250e6, time.UTC),
		UpdatedAt:    time.Date(2026, 6, 2, 13, 30, 0, 0, time.UTC),
	}
	if shown := withoutSettings(got); !reflect.DeepEqual(shown, want) {
		t.Errorf("got  %+v\nwant %+v", shown, want)
	}
	expectArrived(t, r, "GET /v1/management/connections/"+otherID)
}

func TestGetCleansTexts(t *testing.T) {
	r, server := serve(t)
	r.Inject(reportertest.Fault{Do: jsonAnswer(200, `{"id":"`+ledgerID+`","productName":"a\u0000b","configName":"a\nb\u001b[31m",`+
		`"type":"`+strings.Repeat("é", 300)+`","host":"db\u202e.example.com","databaseName":"`+"x\xffy"+`"}`)})
	got, err := clientOf(t, server.URL, "").Get(t.Context(), ledgerID)
	if err != nil {
		t.Fatal(err)
	}
	want := reporter.Connection{
		ID: ledgerID, ProductName: "ab", ConfigName: "ab[31m", Type: strings.Repeat("é", 256), Host: "db.example.com", DatabaseName: "xy",
	}
	if shown := withoutSettings(got); !reflect.DeepEqual(shown, want) {
		t.Errorf("got  %+v\nwant %+v", shown, want)
	}
}

func TestDelete(t *testing.T) {
	r, server := serve(t)
	other := r.Add(reportertest.Connection{ID: otherID})
	c := clientOf(t, server.URL, "")
	if err := c.Delete(t.Context(), ledgerID, permitted); err != nil {
		t.Fatal(err)
	}
	if r.Alive(ledgerID) || !r.Alive(other.ID) {
		t.Errorf("alive: the deleted one %t, the other %t", r.Alive(ledgerID), r.Alive(other.ID))
	}
	expectArrived(t, r, "DELETE /v1/management/connections/"+ledgerID)

	if err := c.Delete(t.Context(), ledgerID, permitted); !reporter.IsNotFound(err) {
		t.Errorf("the second DELETE gives %v", err)
	}
	if _, err := c.Get(t.Context(), ledgerID); !reporter.IsNotFound(err) {
		t.Errorf("GET of the deleted connection gives %v", err)
	}
}

func TestDeleteWhileAJobRuns(t *testing.T) {
	r, server := serve(t)
	end := r.StartJob("ledger-db")
	c := clientOf(t, server.URL, "")
	if err := c.Delete(t.Context(), ledgerID, permitted); !reporter.IsJobInProgress(err) {
		t.Errorf("during a job, DELETE gives %v", err)
	}
	end()
	if err := c.Delete(t.Context(), ledgerID, permitted); err != nil {
		t.Errorf("after the job, DELETE gives %v", err)
	}
}

// An internal connection is one that DELETE says is not there, and GET shows.
func TestInternalConnection(t *testing.T) {
	r, server := serve(t)
	r.AddInternal(reportertest.Connection{ID: otherID})
	c := clientOf(t, server.URL, "")
	if err := c.Delete(t.Context(), otherID, permitted); !reporter.IsNotFound(err) {
		t.Errorf("DELETE gives %v", err)
	}
	if _, err := c.Get(t.Context(), otherID); err != nil {
		t.Errorf("GET gives %v", err)
	}
}

func TestCheck(t *testing.T) {
	r, server := serve(t)
	c := clientOf(t, server.URL, "")
	if err := c.Check(t.Context()); err != nil {
		t.Error(err)
	}
	expectArrived(t, r, "GET /v1/management/connections?limit=1&page=1")

	r.Delete(ledgerID)
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("without any connection: %v", err)
	}
	r.SetDatabaseDown(true)
	if err := c.Check(t.Context()); !reporter.IsUnavailable(err) {
		t.Errorf("without its database: %v", err)
	}
	r.SetDatabaseDown(false)
	r.AllowToken("right", "")
	if err := clientOf(t, server.URL, "wrong").Check(t.Context()); !reporter.IsUnauthorized(err) {
		t.Errorf("with a wrong token: %v", err)
	}
	if err := clientOf(t, server.URL, "right").Check(t.Context()); err != nil {
		t.Errorf("with a right token: %v", err)
	}
}

func TestTenants(t *testing.T) {
	r, server := serve(t)
	r.AllowToken("token-of-acme", "acme")
	r.AllowToken("token-of-nobody", "")
	if err := clientOf(t, server.URL, "token-of-acme").Delete(t.Context(), ledgerID, permitted); !reporter.IsNotFound(err) {
		t.Errorf("another tenant's DELETE gives %v", err)
	}
	if !r.Alive(ledgerID) {
		t.Errorf("another tenant deleted the connection")
	}
	if err := clientOf(t, server.URL, "token-of-nobody").Delete(t.Context(), ledgerID, permitted); err != nil {
		t.Errorf("its own tenant's DELETE gives %v", err)
	}
}

// What is sent, to the last header: nothing of it may tell more than it must.
func TestRequest(t *testing.T) {
	for _, test := range []struct {
		name, token string
		header      http.Header
	}{
		{"without a token", "", http.Header{
			"Accept": {"application/json"}, "Accept-Encoding": {"gzip"}, "User-Agent": {"reporter-operator"},
		}},
		{"with a token", "a.b-c_d~e+f/g==", http.Header{
			"Accept": {"application/json"}, "Accept-Encoding": {"gzip"}, "User-Agent": {"reporter-operator"},
			"Authorization": {"Bearer a.b-c_d~e+f/g=="},
		}},
	} {
		for _, call := range calls {
			t.Run(call.name+" "+test.name, func(t *testing.T) {
				r, server := serve(t)
				if err := call.do(t.Context(), clientOf(t, server.URL, test.token)); err != nil {
					t.Fatal(err)
				}
				requests := r.Requests()
				if len(requests) != 1 {
					t.Fatalf("Reporter got %q, not one request", arrived(r))
				}
				got := requests[0]
				if got.Method != call.method || got.Path != call.path || got.Query != call.query {
					t.Errorf("got %s %s?%s, want %s %s?%s", got.Method, got.Path, got.Query, call.method, call.path, call.query)
				}
				got.Header.Del("X-Request-ID") // see TestRequestsHaveIDs
				if !reflect.DeepEqual(got.Header, test.header) {
					t.Errorf("the header is  %v\nit should be %v", got.Header, test.header)
				}
				if len(got.Body) > 0 {
					t.Errorf("it has the body %q", got.Body)
				}
			})
		}
	}
}

// The base URL may have a path, as behind a gateway, and be written in many ways.
func TestBasePath(t *testing.T) {
	for _, test := range []struct{ name, before, after, sent string }{
		{"no path", "127.0.0.1", "", ledgerPath},
		{"a slash", "127.0.0.1", "/", ledgerPath},
		{"slashes", "127.0.0.1", "///", ledgerPath},
		{"a path", "127.0.0.1", "/reporter", "/reporter" + ledgerPath},
		{"a path and a slash", "127.0.0.1", "/reporter/api/", "/reporter/api" + ledgerPath},
		{"an unclean path", "127.0.0.1", "/x/..//reporter/./api", "/reporter/api" + ledgerPath},
		{"a path that needs escapes", "127.0.0.1", "/my%20reporter", "/my%20reporter" + ledgerPath},
		{"a host in upper case", "LOCALHOST", "/Reporter", "/Reporter" + ledgerPath},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := reportertest.New()
			r.Add(reportertest.Connection{ID: ledgerID})
			var sent, host string
			server := reportertest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				sent, host = req.Method+" "+req.RequestURI, req.Host
				http.StripPrefix(strings.TrimSuffix(req.URL.Path, ledgerPath), r).ServeHTTP(w, req)
			}))
			c := clientOf(t, strings.Replace(server.URL, "127.0.0.1", test.before, 1)+test.after, "")
			if err := c.Delete(t.Context(), ledgerID, permitted); err != nil {
				t.Fatal(err)
			}
			if want := "DELETE " + test.sent; sent != want {
				t.Errorf("sent %s, not %s", sent, want)
			}
			if want := strings.ToLower(strings.Replace(server.URL, "127.0.0.1", test.before, 1)); "http://"+host != want {
				t.Errorf("sent to host %s of %s", host, want)
			}

			err := c.Delete(t.Context(), ledgerID, permitted)
			if want := "DELETE " + test.sent + ": 404 Not Found: FET-1001: "; err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("the error is %v, not %s…", err, want)
			}
		})
	}
}

// A path that is not Reporter's is not absence.
func TestWrongBasePath(t *testing.T) {
	r, server := serve(t)
	for _, call := range calls {
		err := call.do(t.Context(), clientOf(t, server.URL+"/reporter", ""))
		if got := kindOf(err); got != "WrongPath" {
			t.Errorf("%s gives %q: %v", call.name, got, err)
		}
	}
	if !r.Alive(ledgerID) {
		t.Errorf("the connection was deleted")
	}
}

// Reporter deletes what a sloppy id resolves to, so none may ever leave the house.
func TestOnlyCanonicalIDsAreSent(t *testing.T) {
	for _, id := range []string{
		"",
		"ledger-db",
		"019996B8-F3D1-7D2B-A192-6E91464D82FC",
		"019996B8-f3d1-7d2b-a192-6e91464d82fc",
		"019996b8-F3d1-7d2b-a192-6e91464d82fc",
		"019996b8-f3d1-7D2b-a192-6e91464d82fc",
		"019996b8-f3d1-7d2b-A192-6e91464d82fc",
		"019996b8-f3d1-7d2b-a192-6e91464d82fC",
		"019996b8f3d17d2ba1926e91464d82fc",
		"{019996b8-f3d1-7d2b-a192-6e91464d82fc}",
		"urn:uuid:019996b8-f3d1-7d2b-a192-6e91464d82fc",
		"x019996b8-f3d1-7d2b-a192-6e91464d82fcx",
		"019996b8-f3d1-7d2b-a192-6e91464d82f",
		"019996b8-f3d1-7d2b-a192-6e91464d82fcc",
		"019996b8-f3d1-7d2b-a192-6e91464d82fg",
		"019996b8-f3d1-7d2b-a1926-e91464d82fc",
		"019996b8_f3d1_7d2b_a192_6e91464d82fc",
		"019996b8-f3d1-7d2b-a192-6e91464d82f\uff10",
		" 019996b8-f3d1-7d2b-a192-6e91464d82fc",
		"019996b8-f3d1-7d2b-a192-6e91464d82fc\n",
		"\n019996b8-f3d1-7d2b-a192-6e91464d82fc",
		"019996b8-f3d1-7d2b-a192-6e91464d82fc\x00",
		"019996b8-f3d1-7d2b-a192-6e91464d82fc/",
		"019996b8-f3d1-7d2b-a192-6e91464d82fc/test",
		"019996b8-f3d1-7d2b-a192-6e91464d82fc?force=true",
		"019996b8-f3d1-7d2b-a192-6e91464d82fc%20",
		"../connections/019996b8-f3d1-7d2b-a192-6e91464d82fc",
		".",
		"..",
	} {
		t.Run(id, func(t *testing.T) {
			r, server := serve(t)
			c := clientOf(t, server.URL, "")
			connection, getErr := c.Get(t.Context(), id)
			if connection != nil {
				t.Errorf("GET gives %+v", connection)
			}
			for method, err := range map[string]error{"DELETE": c.Delete(t.Context(), id, permitted), "GET": getErr} {
				if got := kindOf(err); got != "InvalidID" {
					t.Errorf("%s gives %q", method, got)
					continue
				}
				want := method + " /v1/management/connections: the id is not a canonical lower-case UUID; nothing was sent"
				if err.Error() != want {
					t.Errorf("%s gives the error %q, not %q", method, err, want)
				}
			}
			expectArrived(t, r)
			if n := server.Accepted(); n != 0 {
				t.Errorf("%d connections were opened", n)
			}
		})
	}
}

// A 200 proves only what its body says.
func TestGetBelievesNoOtherBody(t *testing.T) {
	const object = `{"id":"` + ledgerID + `","configName":"ledger-db","port":5432}`
	for _, test := range []struct {
		name        string
		status      int
		contentType []string
		body        string
		text        string
	}{
		{"another's id", 200, []string{"application/json"}, strings.Replace(object, ledgerID, otherID, 1), "200 OK"},
		{"the id in upper case", 200, []string{"application/json"}, strings.Replace(object, ledgerID, strings.ToUpper(ledgerID), 1), "200 OK"},
		{"no id", 200, []string{"application/json"}, `{"configName":"ledger-db"}`, "200 OK"},
		{"an id that is no string", 200, []string{"application/json"}, `{"id":["` + ledgerID + `"]}`, "200 OK"},
		{"a cut object", 200, []string{"application/json"}, object[:len(object)-1], "200 OK"},
		{"two objects", 200, []string{"application/json"}, object + object, "200 OK"},
		{"an empty body", 200, []string{"application/json"}, "", "200 OK"},
		{"an empty object", 200, []string{"application/json"}, "{}", "200 OK"},
		{"an array", 200, []string{"application/json"}, "[" + object + "]", "200 OK"},
		{"null", 200, []string{"application/json"}, "null", "200 OK"},
		{"a string", 200, []string{"application/json"}, `"` + ledgerID + `"`, "200 OK"},
		{"an error of Reporter's", 200, []string{"application/json"}, absent, "200 OK"},
		{"more than 64 KiB", 200, []string{"application/json"}, object + strings.Repeat(" ", 64<<10+1-len(object)), "200 OK"},
		{"HTML", 200, []string{"text/html"}, object, "200 OK"},
		{"plain text", 200, []string{"text/plain; charset=utf-8"}, object, "200 OK"},
		{"another kind of JSON", 200, []string{"application/vnd.api+json"}, object, "200 OK"},
		{"no content type", 200, nil, object, "200 OK"},
		{"an unreadable content type", 200, []string{"application/json; charset"}, object, "200 OK"},
		{"status 201", 201, []string{"application/json"}, object, "201 Created"},
		{"status 202", 202, []string{"application/json"}, object, "202 Accepted"},
		{"status 203", 203, []string{"application/json"}, object, "203 Non-Authoritative Information"},
		{"status 204", 204, nil, "", "204 No Content"},
		{"status 206", 206, []string{"application/json"}, object, "206 Partial Content"},
		{"status 404", 404, []string{"application/json"}, object, "404 Not Found"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, server := serve(t)
			r.Inject(reportertest.Fault{Do: reportertest.Answer(test.status, http.Header{"Content-Type": test.contentType}, test.body)})
			connection, err := clientOf(t, server.URL, "").Get(t.Context(), ledgerID)
			if connection != nil {
				t.Errorf("got the connection %+v", connection)
			}
			expectError(t, err, "", "GET "+ledgerPath+": "+test.text)
		})
	}
	for _, good := range []string{
		object,
		" \n" + object + "\n",
		object + strings.Repeat(" ", 64<<10-len(object)),
		`{"new":{"id":"x"},"id":"` + ledgerID + `"}`,
	} {
		r, server := serve(t)
		r.Inject(reportertest.Fault{Do: reportertest.Answer(200, http.Header{"Content-Type": {"Application/JSON; charset=utf-8"}}, good)})
		if _, err := clientOf(t, server.URL, "").Get(t.Context(), ledgerID); err != nil {
			t.Errorf("a good body of %d bytes gives %v", len(good), err)
		}
	}
}

func TestCheckBelievesNoOtherBody(t *testing.T) {
	for _, test := range []struct {
		name        string
		status      int
		contentType string
		body        string
		text        string
	}{
		{"an object", 200, "application/json", "{}", "200 OK"},
		{"items that are an object", 200, "application/json", `{"items":{}}`, "200 OK"},
		{"an array", 200, "application/json", "[]", "200 OK"},
		{"null", 200, "application/json", "null", "200 OK"},
		{"an empty body", 200, "application/json", "", "200 OK"},
		{"a cut list", 200, "application/json", `{"items":[]`, "200 OK"},
		{"HTML", 200, "text/html", `{"items":[]}`, "200 OK"},
		{"status 202", 202, "application/json", `{"items":[]}`, "202 Accepted"},
		{"status 204", 204, "application/json", "", "204 No Content"},
		{"items that are a number", 200, "application/json", `{"items":0}`, "200 OK"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, server := serve(t)
			r.Inject(reportertest.Fault{Do: reportertest.Answer(test.status, http.Header{"Content-Type": {test.contentType}}, test.body)})
			err := clientOf(t, server.URL, "").Check(t.Context())
			expectError(t, err, "", "GET "+listPath+": "+test.text)
		})
	}
	for _, list := range []string{`{"items":[]}`, `{"items":null}`, `{"items":[{"id":7}],"total":"many"}`} {
		r, server := serve(t)
		r.Inject(reportertest.Fault{Do: jsonAnswer(200, list)})
		if err := clientOf(t, server.URL, "").Check(t.Context()); err != nil {
			t.Errorf("the list %s gives %v", list, err)
		}
	}
}

// Status and id prove that a connection is there. What is only shown is left out where it is odd.
func TestGetLeavesOutOddFields(t *testing.T) {
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	whole := map[string]string{
		"id": `"` + ledgerID + `"`, "productName": `"billing"`, "configName": `"ledger-db"`, "type": `"MYSQL"`, "host": `"db.internal"`,
		"port": "3306", "databaseName": `"ledger"`, "createdAt": `"2026-06-01T12:00:00Z"`, "updatedAt": `"2026-06-01T12:00:00Z"`,
	}
	connection := reporter.Connection{ID: ledgerID, ProductName: "billing", ConfigName: "ledger-db", Type: "MYSQL", Host: "db.internal", Port: 3306,
		DatabaseName: "ledger", CreatedAt: at, UpdatedAt: at}
	for _, test := range []struct {
		field, value string
		leaveOut     func(*reporter.Connection)
	}{
		{"productName", "7", func(c *reporter.Connection) { c.ProductName = "" }},
		{"configName", `["ledger-db"]`, func(c *reporter.Connection) { c.ConfigName = "" }},
		{"type", `{}`, func(c *reporter.Connection) { c.Type = "" }},
		{"host", "true", func(c *reporter.Connection) { c.Host = "" }},
		{"host", "null", func(c *reporter.Connection) { c.Host = "" }},
		{"databaseName", "1e400", func(c *reporter.Connection) { c.DatabaseName = "" }},
		{"port", `"5432"`, func(c *reporter.Connection) { c.Port = 0 }},
		{"port", "5432.5", func(c *reporter.Connection) { c.Port = 0 }},
		{"port", "-1", func(c *reporter.Connection) { c.Port = 0 }},
		{"port", "65536", func(c *reporter.Connection) { c.Port = 0 }},
		{"port", "99999999999999999999", func(c *reporter.Connection) { c.Port = 0 }},
		{"port", "65535", func(c *reporter.Connection) { c.Port = 65535 }},
		{"createdAt", `"yesterday"`, func(c *reporter.Connection) { c.CreatedAt = time.Time{} }},
		{"createdAt", "1780315200", func(c *reporter.Connection) { c.CreatedAt = time.Time{} }},
		{"updatedAt", `"20260601"`, func(c *reporter.Connection) { c.UpdatedAt = time.Time{} }},
	} {
		t.Run(test.field+" "+test.value, func(t *testing.T) {
			odd := maps.Clone(whole)
			odd[test.field] = test.value
			var fields []string
			for field, value := range odd {
				fields = append(fields, fmt.Sprintf("%q:%s", field, value))
			}
			r, server := serve(t)
			r.Inject(reportertest.Fault{Do: jsonAnswer(200, "{"+strings.Join(fields, ",")+"}")})
			want := connection
			test.leaveOut(&want)
			got, err := clientOf(t, server.URL, "").Get(t.Context(), ledgerID)
			if shown := withoutSettings(got); err != nil || !reflect.DeepEqual(shown, want) {
				t.Errorf("got  %+v, %v\nwant %+v", shown, err, want)
			}
		})
	}
}

// Only 204 says that a connection was deleted; a 404 has a test of its own.
func TestDeleteBelievesNoOtherSuccess(t *testing.T) {
	for status, text := range map[int]string{
		200: "200 OK",
		201: "201 Created",
		202: "202 Accepted",
		203: "203 Non-Authoritative Information",
		205: "205 Reset Content",
		206: "206 Partial Content",
		207: "207 Multi-Status",
		226: "226 IM Used",
		299: "299",
		304: "304 Not Modified",
	} {
		for name, body := range map[string]string{"empty": "", "deleted": `{"deleted":true}`, "absent": absent} {
			t.Run(text+" "+name, func(t *testing.T) {
				r, server := serve(t)
				r.Inject(reportertest.Fault{Do: jsonAnswer(status, body)})
				err := clientOf(t, server.URL, "").Delete(t.Context(), ledgerID, permitted)
				expectError(t, err, "", "DELETE "+ledgerPath+": "+text)
			})
		}
	}
}

// A proxy before Reporter may compress. What counts is the size of what comes out.
func TestCompressedAnswers(t *testing.T) {
	compressed := func(status int, body string) reportertest.Behaviour {
		var buffer bytes.Buffer
		writer := gzip.NewWriter(&buffer)
		_, _ = writer.Write([]byte(body))
		_ = writer.Close()
		return reportertest.Answer(status, http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}, buffer.String())
	}
	r, server := serve(t)
	c := clientOf(t, server.URL, "")

	r.Inject(reportertest.Fault{Times: 1, Do: compressed(200, `{"id":"`+ledgerID+`","configName":"ledger-db"}`)})
	if connection, err := c.Get(t.Context(), ledgerID); err != nil || connection.ConfigName != "ledger-db" {
		t.Errorf("GET gives %+v, %v", connection, err)
	}
	r.Inject(reportertest.Fault{Times: 1, Do: compressed(404, absent)})
	if err := c.Delete(t.Context(), ledgerID, permitted); !reporter.IsNotFound(err) {
		t.Errorf("DELETE gives %v", err)
	}
	r.Inject(reportertest.Fault{Times: 1, Do: compressed(404, `{"code":"FET-1001","message":"`+strings.Repeat("0", 1<<20)+`"}`)})
	expectError(t, c.Delete(t.Context(), ledgerID, permitted), "", "DELETE "+ledgerPath+": 404 Not Found")
}

func TestURL(t *testing.T) {
	for raw, want := range map[string]string{
		"http://reporter.internal:4006":             "http://reporter.internal:4006",
		"http://reporter.internal:4006/":            "http://reporter.internal:4006",
		"http://reporter.internal:4006//":           "http://reporter.internal:4006",
		"http://reporter.internal:4006/#":           "http://reporter.internal:4006",
		"HTTP://Reporter.INTERNAL:4006/Path":        "http://reporter.internal:4006/Path",
		"https://gateway.example.com/reporter/api/": "https://gateway.example.com/reporter/api",
		"https://gateway.example.com/a//b/./c/../d": "https://gateway.example.com/a/b/d",
		"https://gateway.example.com/..":            "https://gateway.example.com",
		"https://gateway.example.com/%72eporter":    "https://gateway.example.com/reporter",
		"https://gateway.example.com/my%20reporter": "https://gateway.example.com/my%20reporter",
		"http://reporter.internal:80":               "http://reporter.internal",
		"http://reporter.internal:80/path":          "http://reporter.internal/path",
		"http://reporter.internal:":                 "http://reporter.internal",
		"https://reporter.internal:443":             "https://reporter.internal",
		"http://reporter.internal:443":              "http://reporter.internal:443",
		"https://reporter.internal:80":              "https://reporter.internal:80",
		"http://reporter.internal:8080":             "http://reporter.internal:8080",
		"http://Reporter.svc.cluster.local.:80/":    "http://reporter.svc.cluster.local.",
		"http://[FD00::A]:4006":                     "http://[fd00::a]:4006",
		"http://[fd00::80]":                         "http://[fd00::80]",
		"http://[fd00::80]:80/":                     "http://[fd00::80]",
		"http://XN--Reprter-D1A.internal":           "http://xn--reprter-d1a.internal",
		"http://gateway.example.com/%2e%2e/a/%2E/b": "http://gateway.example.com/a/b",
		"http://gateway.example.com/a%2F%2Fb%2F":    "http://gateway.example.com/a/b",
		"http://gateway.example.com/a%3Fb%23c":      "http://gateway.example.com/a%3Fb%23c",
	} {
		if got := clientOf(t, raw, "").URL(); got != want {
			t.Errorf("%s becomes %s, not %s", raw, got, want)
		}
	}
}

// Each message says what to write instead, and shows nothing of what was written.
func TestConfigIsChecked(t *testing.T) {
	const (
		unparsable  = "the URL cannot be parsed: write it like http://reporter.internal:4006"
		noScheme    = "the URL must start with http:// or https://"
		noHost      = "the URL must name a host, as in http://reporter.internal:4006"
		credentials = "the URL must not contain user info: put credentials into a Secret"
		query       = "the URL must not contain a query or a fragment"
		notASCII    = "the URL must name its host in ASCII: write an international name as xn--abc"
	)
	for raw, want := range map[string]string{
		"":                              noScheme,
		"reporter.internal":             noScheme,
		"reporter.internal:4006":        noScheme,
		"//reporter.internal:4006":      noScheme,
		"ftp://me:hunter2@reporter":     noScheme,
		"httpss://me:hunter2@reporter":  noScheme,
		"127.0.0.1:4006":                unparsable,
		" http://me:hunter2@reporter":   unparsable,
		"http://me:hunter2@reporter:x":  unparsable,
		"http://me:hunter2@re porter":   unparsable,
		"http://me:hunter2@[::1":        unparsable,
		"http://me:hunter2%@reporter":   unparsable,
		"http://reporter\nhunter2":      unparsable,
		"http:":                         noHost,
		"http://":                       noHost,
		"http:///hunter2":               noHost,
		"http://.":                      noHost,
		"http://..:4006":                noHost,
		"http://:4006":                  noHost,
		"http:reporter.internal":        noHost,
		"http://me:hunter2@":            noHost,
		"http://reporter.ex\u00e4mple":  notASCII,
		"http://reporter\u3002internal": notASCII, // a full stop to whoever looks it up
		"http://hunter2\u009c":          notASCII,
		"http://%ff":                    notASCII,
		"http://[fe80::1%25%01]":        unparsable,
		"http://me:hunter2@repörter":    notASCII,
		"http://me:hunter2@reporter":    credentials,
		"http://hunter2@reporter":       credentials,
		"http://:hunter2@reporter/path": credentials,
		"http://reporter?key=hunter2":   query,
		"http://reporter/?":             query,
		"http://reporter#hunter2":       query,
	} {
		_, err := new(reporter.Pool).Client("endpoint", reporter.Config{BaseURL: raw, Timeout: time.Second})
		if err == nil || err.Error() != want {
			t.Errorf("%q gives %v, not %s", raw, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the password of %q is in the message: %v", raw, err)
		}
	}

	for timeout, want := range map[time.Duration]string{
		0:            "the timeout must be positive, not 0s",
		-time.Second: "the timeout must be positive, not -1s",
	} {
		_, err := new(reporter.Pool).Client("endpoint", reporter.Config{BaseURL: "http://reporter", Timeout: timeout})
		if err == nil || err.Error() != want {
			t.Errorf("the timeout %s gives %v, not %s", timeout, err, want)
		}
	}
}
