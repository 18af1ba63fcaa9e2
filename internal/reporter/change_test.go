// SPDX-License-Identifier: Apache-2.0

package reporter_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/reporter-operator/reporter-operator/internal/reporter"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

const (
	password   = "pa55-w0rd"
	privateKey = "-----BEGIN PRIVATE KEY-----"
)

// settings are all of a connection.
func settings() reporter.Settings {
	return reporter.Settings{
		ConfigName: new("billing-db"), Type: new("MYSQL"), Host: new("db.internal"), Port: new(int32(3306)), DatabaseName: new("invoices"),
		Schema: new("public"), UserName: new("reader"), Password: new(reporter.NewSecret(password)),
		SSL:      &reporter.SSL{Mode: "preferred", CA: "the CA", Certificate: "the certificate", Key: new(reporter.NewSecret(privateKey))},
		Metadata: map[string]json.RawMessage{"owner": json.RawMessage(`"billing/invoices"`)},
	}
}

// changes are the calls that change something, about ledgerID where they are about a connection that is there.
var changes = []call{
	{"Create", "POST", listPath, "", func(ctx context.Context, c *reporter.Client) error {
		connection, err := c.Create(ctx, "billing", settings(), permitted)
		if (connection == nil) != (err != nil) {
			return errors.New("Create must return either a connection or an error")
		}
		return err
	}},
	{"Update", "PATCH", ledgerPath, "", func(ctx context.Context, c *reporter.Client) error {
		connection, err := c.Update(ctx, ledgerID, settings(), permitted)
		if (connection == nil) != (err != nil) {
			return errors.New("Update must return either a connection or an error")
		}
		return err
	}},
}

// expectBody checks the JSON of the only request that arrived.
func expectBody(t *testing.T, r *reportertest.Reporter, want string) {
	t.Helper()
	requests := r.Requests()
	if len(requests) != 1 {
		t.Fatalf("Reporter got %q, not one request", arrived(r))
	}
	var gotJSON, wantJSON any
	if err := json.Unmarshal(requests[0].Body, &gotJSON); err != nil {
		t.Fatalf("the body is %q: %v", requests[0].Body, err)
	}
	if err := json.Unmarshal([]byte(want), &wantJSON); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(gotJSON, wantJSON) {
		t.Errorf("the body is  %s\nit should be %s", requests[0].Body, want)
	}
}

func TestCreate(t *testing.T) {
	r, server := serve(t)
	c := clientOf(t, server.URL, "a.b-c")
	r.AllowToken("a.b-c", "")
	created, err := c.Create(t.Context(), "Billing", settings(), permitted)
	if err != nil {
		t.Fatal(err)
	}
	expectArrived(t, r, "POST "+listPath)
	header := r.Requests()[0].Header
	header.Del("Content-Length")
	header.Del("X-Request-ID") // see TestRequestsHaveIDs
	if want := (http.Header{
		"Accept": {"application/json"}, "Accept-Encoding": {"gzip"}, "User-Agent": {"reporter-operator"}, "Authorization": {"Bearer a.b-c"},
		"Content-Type": {"application/json"}, "X-Product-Name": {"Billing"},
	}); !reflect.DeepEqual(header, want) {
		t.Errorf("the header is  %v\nit should be %v", header, want)
	}
	expectBody(t, r, `{"configName":"billing-db","type":"MYSQL","host":"db.internal","port":3306,"databaseName":"invoices","schema":"public",
		"userName":"reader","password":"pa55-w0rd","metadata":{"owner":"billing/invoices"},
		"ssl":{"mode":"preferred","ca":"the CA","cert":"the certificate","key":"-----BEGIN PRIVATE KEY-----"}}`)

	want := settings()
	want.Password, want.SSL = nil, &reporter.SSL{Mode: "preferred"}
	if !reflect.DeepEqual(created.Settings, want) {
		t.Errorf("it has the settings %+v, not %+v", created.Settings, want)
	}
	if shown := withoutSettings(created); !reflect.DeepEqual(shown, reporter.Connection{ID: created.ID, ProductName: "billing", ConfigName: "billing-db", Type: "MYSQL",
		Host: "db.internal", Port: 3306, DatabaseName: "invoices", CreatedAt: created.CreatedAt, UpdatedAt: created.UpdatedAt}) {
		t.Errorf("it shows %+v", shown)
	}
	// Whatever is compared later is the same: the times of the answer to a POST are more precise than those of a GET.
	if got, err := c.Get(t.Context(), created.ID); err != nil || !reflect.DeepEqual(got, created) {
		t.Errorf("GET shows %+v, %v\nnot       %+v", got, err, created)
	}
	stored := reportertest.Secrets{Host: "db.internal", UserName: "reader", Password: password, CA: "the CA", Cert: "the certificate", Key: privateKey}
	if got := r.Secrets(created.ID); got != stored {
		t.Errorf("Reporter has stored %+v", got)
	}
}

// What is not given stays, and what is given is sent, though it is empty or changes nothing.
func TestUpdate(t *testing.T) {
	const others = `{"n":9007199254740993,"html":"<&>","deep":{"b":[1.0,null]}}`
	for name, test := range map[string]struct {
		change reporter.Settings
		body   string
	}{
		"one field":         {reporter.Settings{Host: new("db2.internal")}, `{"host":"db2.internal"}`},
		"an empty schema":   {reporter.Settings{Schema: new("")}, `{"schema":""}`},
		"the password":      {reporter.Settings{Password: new(reporter.NewSecret(password))}, `{"password":"pa55-w0rd"}`},
		"an empty password": {reporter.Settings{Password: new(reporter.NewSecret(""))}, `{"password":""}`},
		"ssl":               {reporter.Settings{SSL: &reporter.SSL{Mode: "require", CA: "the CA"}}, `{"ssl":{"mode":"require","ca":"the CA"}}`},
		"no metadata":       {reporter.Settings{Metadata: map[string]json.RawMessage{}}, `{"metadata":{}}`},
		"the name":          {reporter.Settings{ConfigName: new("ledger-2")}, `{"configName":"ledger-2"}`},
	} {
		t.Run(name, func(t *testing.T) {
			r, server := serve(t)
			c := clientOf(t, server.URL, "")
			updated, err := c.Update(t.Context(), ledgerID, test.change, permitted)
			if err != nil {
				t.Fatal(err)
			}
			expectArrived(t, r, "PATCH "+ledgerPath)
			expectBody(t, r, test.body)
			if len(updated.Settings.Metadata) == 0 {
				updated.Settings.Metadata = nil // Reporter shows an empty one in its answer, and none later
			}
			if got, err := c.Get(t.Context(), ledgerID); err != nil || !reflect.DeepEqual(got, updated) {
				t.Errorf("GET shows %+v, %v\nnot       %+v", got, err, updated)
			}
		})
	}

	// What others wrote into the metadata is written back as it was, to the last digit.
	r, server := serve(t)
	c := clientOf(t, server.URL, "")
	r.Inject(reportertest.Fault{Method: "GET", Times: 1, Do: jsonAnswer(200, `{"id":"`+ledgerID+`","metadata":`+others+`}`)})
	seen, err := c.Get(t.Context(), ledgerID)
	if err != nil {
		t.Fatal(err)
	}
	r.ResetRequests()
	seen.Settings.Metadata["owner"] = json.RawMessage(`"us"`)
	if _, err := c.Update(t.Context(), ledgerID, reporter.Settings{Metadata: seen.Settings.Metadata}, permitted); err != nil {
		t.Fatal(err)
	}
	if body := string(r.Requests()[0].Body); !strings.Contains(body, `"n":9007199254740993`) || !strings.Contains(body, `"deep":{"b":[1.0,null]}`) {
		t.Errorf("the body is %s", body)
	}
	expectBody(t, r, `{"metadata":`+strings.Replace(others, "{", `{"owner":"us",`, 1)+`}`)
}

// To compare, texts are what Reporter has, to the last character, and what is odd is none.
func TestSettingsAreRaw(t *testing.T) {
	long := strings.Repeat("é", 300)
	for body, want := range map[string]reporter.Settings{
		`"configName":"ledger\u200b-db","host":"` + long + `","userName":"a\nb"`:                                                             {ConfigName: new("ledger\u200b-db"), Host: new(long), UserName: new("a\nb")},
		`"configName":7,"type":[],"host":null,"port":"5432","databaseName":{},"schema":false,"userName":1e400,"ssl":"require","metadata":[]`: {},
		`"port":5432,"schema":"","ssl":{"mode":"require","ca":"a CA"},"metadata":{}`:                                                         {Port: new(int32(5432)), Schema: new(""), SSL: &reporter.SSL{Mode: "require"}, Metadata: map[string]json.RawMessage{}},
		`"port":65536,"ssl":{"mode":7},"metadata":{"a":7,"b":{}}`:                                                                            {Metadata: map[string]json.RawMessage{"a": json.RawMessage("7"), "b": json.RawMessage("{}")}},
		`"port":0,"ssl":{},"password":"` + password + `"`:                                                                                    {Port: new(int32(0))},
	} {
		r, server := serve(t)
		r.Inject(reportertest.Fault{Do: jsonAnswer(200, `{"id":"`+ledgerID+`",`+body+`}`)})
		got, err := clientOf(t, server.URL, "").Get(t.Context(), ledgerID)
		if err != nil {
			t.Errorf("%s gives %v", body, err)
			continue
		}
		if !reflect.DeepEqual(got.Settings, want) {
			t.Errorf("%s gives %+v, not %+v", body, got.Settings, want)
		}
	}
}

// What an answer means to who changes something: whether it was refused, and by what, and whether it may have been done all the same.
func TestAnswersToChanges(t *testing.T) {
	const (
		json    = "application/json"
		problem = "application/problem+json"
		html    = "text/html"
		plain   = "text/plain; charset=utf-8"
		page    = "<html><body>not here</body></html>"
	)
	for _, test := range []struct {
		name              string
		status            int
		contentType, body string
		kind, fields      string
		mayHaveActed      bool
	}{
		{"name taken", 409, json, `{"code":"FET-1002","title":"Entity Conflict"}`, "NameTaken", "", false},
		{"name taken, newer", 409, problem, `{"code":"FET-1002","detail":"It is taken."}`, "NameTaken", "", false},
		{"name taken, as a number", 409, json, `{"code":1002}`, "Conflict", "", false},
		{"name taken, in status 400", 400, json, `{"code":"FET-1002"}`, "Invalid", "", false},
		{"name taken, as HTML", 409, html, `{"code":"FET-1002"}`, "", "", true},
		{"job", 409, json, `{"code":"FET-1021"}`, "JobInProgress", "", false},
		{"another conflict", 409, json, `{"code":"FET-1099"}`, "Conflict", "", false},
		{"409 without code", 409, json, `{}`, "", "", true},
		{"absent", 404, json, absent, "NotFound", "", false},
		{"wrong path", 404, json, `{"code":404,"title":"request_failed"}`, "WrongPath", "", false},
		{"another's code", 404, json, `{"code":"AUT-1001"}`, "", "", false},
		{"404 of a proxy", 404, html, page, "", "", true},
		{"missing fields", 400, json, `{"code":"FET-0402","fields":{"ssl.ca":"SSL CA is required","port":"x","host":"y"}}`, "Invalid", "host, port, ssl.ca", false},
		{"missing fields, newer", 400, problem, `{"code":"FET-0402","errors":[{"location":"body.port","message":"x"},{"location":"body.host"},{"location":"body.port"}]}`,
			"Invalid", "host, port", false},
		{"no fields", 400, json, `{"code":"FET-0001","fields":null}`, "Invalid", "", false},
		{"odd fields", 400, json, `{"code":"FET-0001","fields":["port"],"errors":{}}`, "Invalid", "", false},
		{"fields of odd types", 400, json, `{"code":"FET-0001","fields":{"port":7,"a\u001b[31m\nb":null}}`, "Invalid", "a[31mb, port", false},
		{"a forbidden host", 400, json, `{"code":"FET-0414"}`, "Invalid", "", false},
		{"400 with a number", 400, json, `{"code":400}`, "Invalid", "", false},
		{"a code of another id", 400, json, `{"code":"FET-0404"}`, "InvalidID", "", false},
		{"400 without code", 400, json, `{"fields":{"port":"x"}}`, "", "", true},
		{"400 of a proxy", 400, html, page, "", "", true},
		{"401 as text", 401, plain, "Missing Token", "Unauthorized", "", false},
		{"401 as JSON", 401, json, `{"code":401}`, "Unauthorized", "", false},
		{"401 of a proxy", 401, html, page, "", "", true},
		{"403 as text", 403, plain, "Forbidden", "Forbidden", "", false},
		{"403 of a proxy", 403, html, page, "", "", true},
		{"404 as text", 404, plain, "Not Found", "", "", true},
		{"405", 405, json, `{"code":405}`, "", "", false},
		{"408 of a proxy", 408, html, page, "", "", true},
		{"413 of a proxy", 413, html, page, "", "", true},
		{"422", 422, json, `{"code":"FET-1060"}`, "", "", false},
		{"429", 429, json, `{"code":429}`, "RateLimited", "", false},
		{"429 of a proxy", 429, plain, "slow down", "RateLimited", "", true},
		{"431", 431, plain, "Request Header Fields Too Large", "Unauthorized", "", true},
		{"500", 500, json, `{"code":"FET-0002"}`, "Unavailable", "", true},
		{"500 with a number", 500, json, `{"code":500}`, "Unavailable", "", true},
		{"502", 502, html, page, "Unavailable", "", true},
		{"503", 503, json, `{"code":"FET-0003"}`, "Unavailable", "", true},
		{"login page", 200, html, page, "", "", true},
		{"redirect", 307, "", "", "", "", true},
		{"202", 202, json, `{"id":"` + ledgerID + `","configName":"billing-db"}`, "", "", true},
		{"204", 204, "", "", "", "", true},
	} {
		for _, change := range changes {
			t.Run(test.name+"/"+change.name, func(t *testing.T) {
				r, server := serve(t)
				r.Inject(reportertest.Fault{Do: reportertest.Answer(test.status, http.Header{"Content-Type": {test.contentType}}, test.body)})
				err := change.do(t.Context(), clientOf(t, server.URL, ""))
				var e *reporter.Error
				if !errors.As(err, &e) || kindOf(err) != test.kind || e.Fields != test.fields || reporter.MayHaveActed(err) != test.mayHaveActed {
					t.Errorf("it gives %q, fields %q, may have acted: %t: %v", kindOf(err), e.Fields, reporter.MayHaveActed(err), err)
				}
				if !strings.HasSuffix(e.Error(), test.fields) || !strings.HasSuffix(e.Detail(), test.fields) {
					t.Errorf("it does not name the fields %q: %v: %s", test.fields, err, e.Detail())
				}
				if n := len(r.Requests()); n != 1 {
					t.Errorf("Reporter got %d requests", n)
				}
			})
		}
	}
}

// What Reporter itself refuses, in both of its formats.
func TestReportersRefusals(t *testing.T) {
	for _, problemJSON := range []bool{false, true} {
		r, server := serve(t)
		r.SetProblemJSON(problemJSON)
		c := clientOf(t, server.URL, "")
		taken, lacking, odd := settings(), settings(), settings()
		taken.ConfigName = new("ledger-db")
		lacking.Host, lacking.UserName = nil, nil
		odd.SSL = &reporter.SSL{Mode: "verify-full"}
		for want, refused := range map[string]reporter.Settings{"NameTaken ": taken, "Invalid host, userName": lacking, "Invalid ssl.ca": odd} {
			_, err := c.Create(t.Context(), "billing", refused, permitted)
			var e *reporter.Error
			if !errors.As(err, &e) || kindOf(err)+" "+e.Fields != want || reporter.MayHaveActed(err) {
				t.Errorf("problem+json %t: got %v, not %s", problemJSON, err, want)
			}
		}
		end := r.StartJob("ledger-db")
		if _, err := c.Update(t.Context(), ledgerID, reporter.Settings{Metadata: map[string]json.RawMessage{}}, permitted); kindOf(err) != "JobInProgress" {
			t.Errorf("during a job: %v", err)
		}
		end()
		if _, err := c.Update(t.Context(), otherID, reporter.Settings{Port: new(int32(1))}, permitted); kindOf(err) != "NotFound" {
			t.Errorf("of what is not there: %v", err)
		}
		r.Add(reportertest.Connection{ConfigName: "billing-db"})
		if _, err := c.Update(t.Context(), ledgerID, reporter.Settings{ConfigName: new("billing-db")}, permitted); kindOf(err) != "NameTaken" {
			t.Errorf("to a name that is taken: %v", err)
		}
	}
}

// Only the whole of a connection, of the name that was asked for, proves that it was created.
func TestCreateBelievesNoOtherBody(t *testing.T) {
	const object = `{"id":"` + ledgerID + `","configName":"billing-db"}`
	for name, test := range map[string]struct {
		status            int
		contentType, body string
	}{
		"another name":       {201, "application/json", strings.Replace(object, "billing-db", "billing-DB", 1)},
		"no name":            {201, "application/json", `{"id":"` + ledgerID + `"}`},
		"no id":              {201, "application/json", `{"configName":"billing-db"}`},
		"an odd id":          {201, "application/json", strings.Replace(object, ledgerID, strings.ToUpper(ledgerID), 1)},
		"an id of a path":    {201, "application/json", strings.Replace(object, ledgerID, ledgerID+"/test", 1)},
		"HTML":               {201, "text/html", object},
		"cut":                {201, "application/json", object[:len(object)-1]},
		"nothing":            {201, "application/json", ""},
		"more than 64 KiB":   {201, "application/json", object + strings.Repeat(" ", 64<<10)},
		"another status":     {200, "application/json", object},
		"a status of no one": {299, "application/json", object},
	} {
		r, server := serve(t)
		r.Inject(reportertest.Fault{Do: reportertest.Answer(test.status, http.Header{"Content-Type": {test.contentType}}, test.body)})
		created, err := clientOf(t, server.URL, "").Create(t.Context(), "billing", settings(), permitted)
		if created != nil || kindOf(err) != "" || !reporter.MayHaveActed(err) {
			t.Errorf("%s: got %+v, %v", name, created, err)
		}
	}
}

func TestUpdateBelievesNoOtherBody(t *testing.T) {
	for name, body := range map[string]string{"another's": `{"id":"` + otherID + `"}`, "none": `{}`, "null": `null`} {
		r, server := serve(t)
		r.Inject(reportertest.Fault{Do: jsonAnswer(200, body)})
		updated, err := clientOf(t, server.URL, "").Update(t.Context(), ledgerID, settings(), permitted)
		if updated != nil || kindOf(err) != "" || !reporter.MayHaveActed(err) {
			t.Errorf("%s: got %+v, %v", name, updated, err)
		}
	}
}

// Whoever gets no answer has to know whether anything was sent.
func TestChangeWithoutAnAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		breakIt      func(*testing.T, *realm, *reporter.Config)
		mayHaveActed bool
	}{
		"refused": {func(_ *testing.T, r *realm, _ *reporter.Config) { r.server.Down() }, false},
		"no such host": {func(_ *testing.T, _ *realm, config *reporter.Config) {
			config.BaseURL = "http://reporter..internal"
		}, false},
		"an unknown authority": {func(t *testing.T, _ *realm, config *reporter.Config) { config.BaseURL = serveTLS(t, nil) }, false},
		"no TLS": {func(_ *testing.T, r *realm, config *reporter.Config) {
			config.BaseURL = strings.Replace(r.server.URL, "http:", "https:", 1)
		}, false},
		"no login": {func(_ *testing.T, r *realm, _ *reporter.Config) {
			r.manager.Inject(reportertest.Fault{Do: reportertest.CutBody()})
		}, false},
		"a refused login": {func(_ *testing.T, r *realm, _ *reporter.Config) {
			r.manager.Inject(reportertest.Fault{Do: jsonAnswer(400, `{"code":"AUT-0001","fields":{"grantType":"x"}}`)})
		}, false},
		"a login that fails": {func(_ *testing.T, r *realm, _ *reporter.Config) {
			r.manager.Inject(reportertest.Fault{Do: reportertest.Answer(500, nil, "")})
		}, false},
		"reset": {func(_ *testing.T, r *realm, _ *reporter.Config) {
			r.Inject(reportertest.Fault{Do: reportertest.Reset()})
		}, true},
		"reset, and it did": {func(_ *testing.T, r *realm, _ *reporter.Config) {
			r.Inject(reportertest.Fault{Do: reportertest.AfterActing(reportertest.Reset())})
		}, true},
		"cut": {func(_ *testing.T, r *realm, _ *reporter.Config) {
			r.Inject(reportertest.Fault{Do: reportertest.CutBody()})
		}, true},
		"hanging": {func(_ *testing.T, r *realm, config *reporter.Config) {
			config.Timeout = 2 * time.Second // in which it is sent, on a busy machine as well
			r.Inject(reportertest.Fault{Do: reportertest.Hang()})
		}, true},
		"not HTTP": {func(t *testing.T, _ *realm, config *reporter.Config) {
			config.BaseURL = serveTCP(t, say("SSH-2.0-OpenSSH_9.9\r\n"))
		}, true},
	} {
		for _, change := range changes {
			t.Run(name+"/"+change.name, func(t *testing.T) {
				r := newRealm(t)
				config := r.config()
				test.breakIt(t, r, &config)
				err := change.do(t.Context(), poolClient(t, newPool(), config))
				var e *reporter.Error
				if !errors.As(err, &e) || reporter.MayHaveActed(fmt.Errorf("creating: %w", err)) != test.mayHaveActed {
					t.Errorf("may have acted: %t: %v", reporter.MayHaveActed(err), err)
				} else if e.Fields != "" {
					t.Errorf("a login names the fields %q", e.Fields)
				}
			})
		}
	}
}

// What Reporter carries out when its client has left already: nobody is told that it did not.
func TestLateCreation(t *testing.T) {
	r, server := serve(t)
	release := make(chan struct{})
	r.Inject(reportertest.Fault{Method: "POST", Do: reportertest.ActAfter(func() { <-release })})
	c := poolClient(t, newPool(), reporter.Config{BaseURL: server.URL, Timeout: 2 * time.Second})
	_, err := c.Create(t.Context(), "billing", settings(), permitted)
	if !reporter.IsUnavailable(err) || !reporter.MayHaveActed(err) || len(r.Connections()) != 1 {
		t.Errorf("it gives %v, with %d connections", err, len(r.Connections()))
	}
	close(release)
	server.Close() // waits for nobody, but what hangs ends
	for len(r.Connections()) != 2 {
		<-time.After(time.Millisecond)
	}
}

// Where every third answer is lost, each creation is either known, or known to be looked for, and found by its mark.
func TestLostCreationsAreFoundByTheirMark(t *testing.T) {
	r, server := serve(t)
	r.Inject(reportertest.Fault{Method: "POST", Every: 3, Do: reportertest.AfterActing(reportertest.Reset())})
	c := clientOf(t, server.URL, "")
	lost := 0
	for i := range 30 {
		mark := fmt.Sprintf("billing/%d", i)
		s := settings()
		s.ConfigName = new(fmt.Sprintf("billing-%d", i))
		s.Metadata["owner"] = json.RawMessage(`"` + mark + `"`)
		created, err := c.Create(t.Context(), "billing", s, permitted)
		if err != nil {
			lost++
			if created != nil || !reporter.MayHaveActed(err) {
				t.Errorf("a lost answer gives %+v, %v", created, err)
			}
			if err := c.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		found, err := c.List(t.Context(), marked(mark))
		if err != nil || len(found) != 1 || created != nil && !reflect.DeepEqual(found[0], created) {
			t.Errorf("by its mark, there is %+v, %v", found, err)
		}
	}
	if lost != 10 {
		t.Errorf("%d of 30 answers were lost", lost)
	}
}

// No change is sent twice inside a call, whatever comes back: what was permitted once may not be any more.
func TestChangesAreNotRepeated(t *testing.T) {
	for name, do := range map[string]reportertest.Behaviour{
		"a refused token": unauthorized, "a lost answer": reportertest.AfterActing(reportertest.Reset()), "reset": reportertest.Reset(),
		"busy": reportertest.Answer(503, http.Header{"Retry-After": {"0"}}, ""), "redirected": reportertest.Redirect(307, listPath),
	} {
		for _, change := range changes {
			r := newRealm(t)
			c := r.client(t)
			if err := c.Check(t.Context()); err != nil { // a connection that was used before is one on which Go may try again
				t.Fatal(err)
			}
			r.ResetRequests()
			r.Inject(reportertest.Fault{Method: change.method, Do: do})
			err := change.do(t.Context(), c)
			if err == nil || reporter.IsTokenRefused(err) != (name == "a refused token") {
				t.Errorf("%s of %s gives %v", name, change.name, err)
			}
			expectArrived(t, r.Reporter, change.method+" "+change.path)
		}
	}
}

// Nothing is sent without permission, nor what cannot be sent as it is. None of it looks like an outage.
func TestChangesThatAreNotSent(t *testing.T) {
	r, server := serve(t)
	c := clientOf(t, server.URL, "")
	refusal := errors.New("the endpoint is suspended")
	if _, err := c.Create(t.Context(), "billing", settings(), func(context.Context, reporter.Tenant) error { return refusal }); err != refusal { //nolint:errorlint // this very one
		t.Errorf("Create without permission gives %v", err)
	}
	if _, err := c.Update(t.Context(), ledgerID, settings(), func(context.Context, reporter.Tenant) error { return refusal }); err != refusal { //nolint:errorlint // likewise
		t.Errorf("Update without permission gives %v", err)
	}
	if _, err := c.Update(t.Context(), strings.ToUpper(ledgerID), settings(), permitted); kindOf(err) != "InvalidID" {
		t.Errorf("Update of a sloppy id gives %v", err)
	}
	for _, product := range []string{"", " ", "a b", "billing\r\nX-Evil: 1", "b\u00fcro", "a.b", strings.Repeat("p", 101)} {
		_, err := c.Create(t.Context(), product, settings(), permitted)
		expectError(t, err, "Invalid", "POST "+listPath+": the value cannot be sent; nothing was sent: productName")
	}
	for field, change := range map[string]func(*reporter.Settings){
		"password": func(s *reporter.Settings) { s.Password = new(reporter.NewSecret("p\xffw")) },
		"userName": func(s *reporter.Settings) { s.UserName = new("reader\xff") },
		"ssl.ca":   func(s *reporter.Settings) { s.SSL.CA = "\xff" },
		"ssl.cert": func(s *reporter.Settings) { s.SSL.Certificate = "\xff" },
		"ssl.key":  func(s *reporter.Settings) { s.SSL.Key = new(reporter.NewSecret("\xff")) },
		"metadata": func(s *reporter.Settings) { s.Metadata["owner"] = json.RawMessage("{") },
	} {
		odd := settings()
		change(&odd)
		_, err := c.Create(t.Context(), "billing", odd, permitted)
		expectError(t, err, "Invalid", "POST "+listPath+": the value cannot be sent; nothing was sent: "+field)
		_, err = c.Update(t.Context(), ledgerID, odd, permitted)
		expectError(t, err, "Invalid", "PATCH "+ledgerPath+": the value cannot be sent; nothing was sent: "+field)
		if reporter.MayHaveActed(err) {
			t.Errorf("%s may have acted", field)
		}
	}
	expectArrived(t, r)
	if err := c.Outage(); err != nil {
		t.Errorf("it looks like an outage: %v", err)
	}
}

// What is known to be down is asked for no change either.
func TestChangesInAnOutage(t *testing.T) {
	for _, change := range changes {
		_, server := serve(t)
		c := clientOf(t, server.URL, "")
		server.Down()
		if err := change.do(t.Context(), c); reporter.IsHeldBack(err) || !reporter.IsUnavailable(err) {
			t.Errorf("%s finds out with %v", change.name, err)
		}
		if err := change.do(t.Context(), c); !reporter.IsHeldBack(err) || reporter.MayHaveActed(err) {
			t.Errorf("%s is not held back: %v", change.name, err)
		}
		if err := server.Up(); err != nil {
			t.Fatal(err)
		}
		if err := change.do(reporter.WithUrgency(t.Context()), c); err != nil {
			t.Errorf("%s with urgency: %v", change.name, err)
		}
	}
}

// hidden is what keeps a secret out of reach of methods, as fields do that are not exported.
type hidden struct {
	secret   reporter.Secret
	pointer  *reporter.Secret
	settings reporter.Settings
	ssl      *reporter.SSL
}

// Whatever prints, logs or encodes a password, or what comes back where Reporter repeats it, shows nothing of it.
func TestSecretsAreNeverShown(t *testing.T) {
	s := settings()
	values := []any{*s.Password, s.Password, s, &s, *s.SSL, s.SSL, hidden{*s.Password, s.Password, s, s.SSL}, &hidden{*s.Password, s.Password, s, s.SSL},
		[]reporter.Secret{*s.Password}, map[string]*reporter.Secret{"password": s.Password}, []any{s}, errors.New(fmt.Sprint(*s.Password))}
	for _, body := range []string{
		`{"code":"FET-0001","title":"pa55-w0rd is bad","message":"no pa55-w0rd, nor -----BEGIN PRIVATE KEY-----","fields":{"pa55-w0rd":"pa55-w0rd"}}`,
		`{"code":"pa55-w0rd","title":"pa55\u200b-w0rd"}`,
		`{"id":"` + ledgerID + `","configName":"pa55-w0rd","host":"xpa55-w0rdx","type":"-----BEGIN PRIVATE KEY-----"}`,
	} {
		for _, status := range []int{200, 400, 409, 500} {
			for _, change := range changes {
				r, server := serve(t)
				r.Inject(reportertest.Fault{Do: jsonAnswer(status, body)})
				c := clientOf(t, server.URL, "")
				err := change.do(t.Context(), c)
				values = append(values, err)
				var e *reporter.Error
				if errors.As(err, &e) {
					values = append(values, e.Detail(), *e)
				}
				if updated, err := c.Update(t.Context(), ledgerID, settings(), permitted); err == nil {
					values = append(values, withoutSettings(updated))
				}
			}
		}
	}
	for _, value := range values {
		texts := []string{}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%T"} {
			texts = append(texts, fmt.Sprintf(verb, value))
		}
		if encoded, err := json.Marshal(value); err == nil {
			texts = append(texts, string(encoded))
		}
		for _, text := range texts {
			for _, secret := range []string{password, privateKey, fmt.Sprintf("%x", password), fmt.Sprintf("%X", password)} {
				if strings.Contains(text, secret) {
					t.Errorf("%T shows a secret: %s", value, text)
				}
			}
		}
	}
	if fmt.Sprint(*s.Password) != "…" {
		t.Errorf("a secret is written as %s", *s.Password)
	}
}
