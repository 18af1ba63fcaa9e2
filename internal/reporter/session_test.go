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
	loginPath = "/v1/login/oauth/access_token"
	secret    = "hunter2-hunter2"
)

// realm is a Reporter with the connection ledgerID of tenant acme, and the Access Manager before it that knows the client
// operator.
type realm struct {
	*reportertest.Reporter
	server        *reportertest.Server
	manager       *reportertest.AccessManager
	managerServer *reportertest.Server
}

func newRealm(t *testing.T) *realm {
	t.Helper()
	r := reportertest.New()
	r.Add(reportertest.Connection{ID: ledgerID, ConfigName: "ledger-db", Tenant: "acme"})
	manager := reportertest.NewAccessManager(r)
	manager.AddClient("operator", secret, "acme")
	return &realm{r, reportertest.Serve(t, r), manager, reportertest.Serve(t, manager)}
}

func (r *realm) config() reporter.Config {
	return reporter.Config{
		BaseURL:       r.server.URL,
		AccessManager: &reporter.AccessManager{URL: r.managerServer.URL, ClientID: "operator", ClientSecret: secret},
		Timeout:       10 * time.Second,
	}
}

func (r *realm) client(t *testing.T) *reporter.Client {
	t.Helper()
	return poolClient(t, newPool(), r.config())
}

// expectLogins checks how many tokens were issued, and that Reporter got requests with these of them, and no others.
func (r *realm) expectLogins(t *testing.T, logins int, used ...int) {
	t.Helper()
	if got := r.manager.Logins(); got != logins {
		t.Errorf("there were %d logins, not %d", got, logins)
	}
	tokens := r.manager.Tokens()
	got := []string{}
	for _, request := range r.Requests() {
		got = append(got, request.Header.Get("Authorization"))
	}
	want := []string{}
	for _, i := range used {
		want = append(want, "Bearer "+tokens[i])
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Reporter got the authorizations\n%q, not\n%q", got, want)
	}
}

// acme is the tenant of realm's client.
var acme = reporter.Tenant{ID: "acme", Readable: true}

// login is the call that needs a token and nothing else.
var login = call{"Login", "", "", "", func(ctx context.Context, c *reporter.Client) error {
	tenant, err := c.Login(ctx)
	if err != nil && tenant != (reporter.Tenant{}) {
		return errors.New("Login must return either a tenant or an error")
	}
	return err
}}

// What is sent to log in, to the last header, wherever the Access Manager is.
func TestLoginRequest(t *testing.T) {
	for _, test := range []struct{ name, path, sent, id, secret string }{
		{"no path", "", loginPath, "operator", secret},
		{"a slash", "/", loginPath, "operator", secret},
		{"a path", "/auth/api/", "/auth/api" + loginPath, "operator", secret},
		{"a path that needs escapes", "/my%20auth", "/my%20auth" + loginPath, "operator", secret},
		{"characters that need escapes", "", loginPath, `op"erator`, "h\"u\\n<t>&\u00e9=r\n2 "},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRealm(t)
			r.manager.AddClient(test.id, test.secret, "acme")
			var sent []string
			server := reportertest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				sent = append(sent, req.Method+" "+req.RequestURI)
				http.StripPrefix(strings.TrimSuffix(req.URL.Path, loginPath), r.manager).ServeHTTP(w, req)
			}))
			config := r.config()
			config.AccessManager = &reporter.AccessManager{URL: server.URL + test.path, ClientID: test.id, ClientSecret: test.secret}
			if tenant, err := poolClient(t, newPool(), config).Login(t.Context()); tenant != acme || err != nil {
				t.Fatalf("the tenant is %+v, %v", tenant, err)
			}
			if want := []string{"POST " + test.sent}; !reflect.DeepEqual(sent, want) {
				t.Errorf("sent %q, not %q", sent, want)
			}
			request := r.manager.Requests()[0]
			request.Header.Del("X-Request-ID") // see TestRequestsHaveIDs
			length := request.Header.Get("Content-Length")
			if want := (http.Header{
				"Accept": {"application/json"}, "Accept-Encoding": {"gzip"}, "User-Agent": {"reporter-operator"},
				"Content-Type": {"application/json"}, "Content-Length": {length},
			}); !reflect.DeepEqual(request.Header, want) {
				t.Errorf("the header is  %v\nit should be %v", request.Header, want)
			}
			var body map[string]any
			if err := json.Unmarshal(request.Body, &body); err != nil || length != fmt.Sprint(len(request.Body)) {
				t.Errorf("the body is %q of length %s, %v", request.Body, length, err)
			}
			if want := (map[string]any{"grantType": "client_credentials", "clientId": test.id, "clientSecret": test.secret}); !reflect.DeepEqual(body, want) {
				t.Errorf("the body is  %v\nit should be %v", body, want)
			}
			expectArrived(t, r.Reporter)
		})
	}
}

// One login serves all calls, and all clients of a pool for the same Reporter. Another base path is another Reporter.
func TestTokenIsKept(t *testing.T) {
	r := newRealm(t)
	pool := newPool()
	slower, deeper, both := r.config(), r.config(), r.config()
	slower.Timeout = 20 * time.Second
	deeper.BaseURL += "/reporter"
	both.Token = "token-b" // which is not for where one logs in
	for i, config := range []reporter.Config{r.config(), r.config(), slower, deeper} {
		err := poolClient(t, pool, config).Check(t.Context())
		if err != nil && (i != 3 || !reporter.IsWrongPath(err)) {
			t.Errorf("client %d: %v", i, err)
		}
		if tenant, err := poolClient(t, pool, config).Login(t.Context()); tenant != acme || err != nil {
			t.Errorf("client %d has the tenant %+v, %v", i, tenant, err)
		}
	}
	r.expectLogins(t, 2, 0, 0, 0, 1)
	if err := poolClient(t, pool, both).Delete(t.Context(), ledgerID, permitted); err != nil {
		t.Error(err)
	}
	r.expectLogins(t, 3, 0, 0, 0, 1, 2)
	if n := r.managerServer.Accepted(); n != 1 {
		t.Errorf("%d connections to the Access Manager were opened", n)
	}
}

// Who has other credentials, or would have them sent elsewhere, has a token of its own.
func TestLoginsAreNotShared(t *testing.T) {
	r := newRealm(t)
	r.manager.AddClient("other", secret, "globex")
	r.manager.AddClient("operato", "r"+secret, "globex") // the same, if the two were just put together
	elsewhere := newRealm(t)
	pool := newPool()
	for i, change := range []func(*reporter.Config){
		func(*reporter.Config) {},
		func(c *reporter.Config) { c.AccessManager.ClientID = "other" },
		func(c *reporter.Config) {
			c.AccessManager.ClientID, c.AccessManager.ClientSecret = "operato", "r"+secret
		},
		func(c *reporter.Config) { c.BaseURL = strings.Replace(c.BaseURL, "127.0.0.1", "localhost", 1) },
		func(c *reporter.Config) {
			c.AccessManager.URL = strings.Replace(c.AccessManager.URL, "127.0.0.1", "localhost", 1)
		},
		func(c *reporter.Config) { c.TLS.ServerName = "reporter.internal" },
	} {
		config := r.config()
		change(&config)
		if _, err := poolClient(t, pool, config).Login(t.Context()); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
		if got := r.manager.Logins(); got != i+1 {
			t.Errorf("with client %d there were %d logins, not %d", i, got, i+1)
		}
	}
	wrong := r.config()
	wrong.AccessManager.ClientSecret = "another"
	if _, err := poolClient(t, pool, wrong).Login(t.Context()); !reporter.IsUnauthorized(err) {
		t.Errorf("with a wrong secret, the login of the right one is shared: %v", err)
	}
	other := elsewhere.config()
	other.BaseURL = r.server.URL
	if _, err := poolClient(t, pool, other).Login(t.Context()); err != nil || elsewhere.manager.Logins() != 1 {
		t.Errorf("another Access Manager is not asked: %v", err)
	}
	if _, err := r.client(t).Login(t.Context()); err != nil || r.manager.Logins() != 7 {
		t.Errorf("another pool shares a login: %v", err)
	}
	if shown := fmt.Sprintf("%+v", pool); strings.Contains(shown, "hunter2") || strings.Contains(shown, "operator") {
		t.Errorf("the pool shows credentials: %s", shown)
	}
}

// Without an Access Manager there is nothing to log in to.
func TestLoginWithoutAccessManager(t *testing.T) {
	r, server := serve(t)
	for _, token := range []string{"", "token-a"} {
		if tenant, err := clientOf(t, server.URL, token).Login(t.Context()); tenant != (reporter.Tenant{Readable: token == ""}) || err != nil {
			t.Errorf("it gives %+v, %v", tenant, err)
		}
	}
	expectArrived(t, r)
}

// A token may be revoked before its end. One 401 is worth one other try, with a token of another login, if the call only reads.
func TestRefusedToken(t *testing.T) {
	for _, call := range calls[1:] {
		t.Run(call.name, func(t *testing.T) {
			r := newRealm(t)
			c := r.client(t)
			if _, err := c.Login(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.manager.RevokeTokens()
			if err := call.do(t.Context(), c); err != nil {
				t.Error(err)
			}
			r.expectLogins(t, 2, 0, 1)
			if err := c.Check(t.Context()); err != nil {
				t.Error(err)
			}
			r.expectLogins(t, 2, 0, 1, 1)
		})
	}
}

// A DELETE is not repeated: its permission was for one. What it says of the token lets who tries again do so at once, once.
func TestRefusedTokenOfADelete(t *testing.T) {
	r := newRealm(t)
	c := r.client(t)
	if _, err := c.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.manager.RevokeTokens()
	asked := 0
	permit := func(context.Context, reporter.Tenant) error {
		asked++
		return nil
	}
	err := c.Delete(t.Context(), ledgerID, permit)
	expectError(t, err, "Unauthorized", "DELETE "+ledgerPath+": 401 Unauthorized")
	if !reporter.IsTokenRefused(fmt.Errorf("deleting: %w", err)) || reporter.MayHaveActed(err) || asked != 1 {
		t.Errorf("it does not say that the token was refused, or permission was asked for %d times: %+v", asked, err)
	}
	r.expectLogins(t, 1, 0)

	remove := r.Inject(reportertest.Fault{Do: unauthorized})
	for range 2 {
		if err := c.Delete(t.Context(), ledgerID, permit); !reporter.IsUnauthorized(err) || reporter.IsTokenRefused(err) {
			t.Errorf("a new token that is refused as well gives %+v", err)
		}
	}
	remove()
	r.expectLogins(t, 3, 0, 1, 2)
	if _, err := c.Get(t.Context(), ledgerID); err != nil {
		t.Error(err)
	}
	r.manager.RevokeTokens()
	if err := c.Delete(t.Context(), ledgerID, permit); !reporter.IsTokenRefused(err) {
		t.Errorf("a token that was accepted before gives %+v", err)
	}
	if err := c.Delete(t.Context(), ledgerID, permit); err != nil || asked != 5 {
		t.Errorf("a new token gives %v, and permission was asked for %d times, not 5", err, asked)
	}
}

// unauthorized is Reporter's own way to refuse a token.
var unauthorized = reportertest.Answer(401, http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, "Unauthorized")

// A second 401 is not about the token, and is reported. The next call does not believe in that token either.
func TestRefusedTokens(t *testing.T) {
	for _, call := range calls[1:] {
		t.Run(call.name, func(t *testing.T) {
			r := newRealm(t)
			c := r.client(t)
			remove := r.Inject(reportertest.Fault{Do: unauthorized})
			err := call.do(t.Context(), c)
			expectError(t, err, "Unauthorized", call.method+" "+call.path+": 401 Unauthorized")
			expectLoginFailed(t, err, false)
			if reporter.IsTokenRefused(err) {
				t.Error("it says that a new login may help")
			}
			r.expectLogins(t, 2, 0, 1)
			remove()
			if err := c.Check(t.Context()); err != nil {
				t.Error(err)
			}
			r.expectLogins(t, 3, 0, 1, 2)
		})
	}
}

// The answer to the second try is the answer, and no answer to the login is that.
func TestAfterARefusedToken(t *testing.T) {
	for _, test := range []struct {
		status     int
		kind, text string
	}{
		{404, "NotFound", "404 Not Found: FET-1001: Entity Not Found: No such connection."},
		{403, "Forbidden", "403 Forbidden: FET-1001: Entity Not Found: No such connection."},
		{503, "Unavailable", "503 Service Unavailable: FET-1001: Entity Not Found: No such connection."},
	} {
		r := newRealm(t)
		r.Inject(reportertest.Fault{Times: 1, Do: unauthorized})
		r.Inject(reportertest.Fault{Do: jsonAnswer(test.status, absent)})
		_, err := r.client(t).Get(t.Context(), ledgerID)
		expectError(t, err, test.kind, "GET "+ledgerPath+": "+test.text)
		r.expectLogins(t, 2, 0, 1)
	}

	r := newRealm(t)
	r.Inject(reportertest.Fault{Do: unauthorized})
	c := r.client(t)
	if _, err := c.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.manager.Inject(reportertest.Fault{Do: jsonAnswer(404, absent)})
	_, err := c.Get(t.Context(), ledgerID)
	expectError(t, err, "", "POST "+loginPath+": 404 Not Found: FET-1001: Entity Not Found: No such connection.")
	expectLoginFailed(t, err, true)
	r.expectLogins(t, 1, 0)
}

// Nothing but 401 says that another token would do.
func TestTokenIsNotDropped(t *testing.T) {
	for _, status := range []int{200, 204, 302, 400, 403, 404, 407, 409, 429, 431, 500, 503} {
		r := newRealm(t)
		c := r.client(t)
		remove := r.Inject(reportertest.Fault{Do: reportertest.Answer(status, nil, "")})
		if _, err := c.Get(t.Context(), ledgerID); err == nil {
			t.Errorf("%d is taken for success", status)
		}
		remove()
		if _, err := c.Get(t.Context(), ledgerID); err != nil {
			t.Errorf("after %d: %v", status, err)
		}
		r.expectLogins(t, 1, 0, 0)
	}
}

// A token that was given cannot be replaced: it is sent once.
func TestGivenTokenIsNotRepeated(t *testing.T) {
	r, server := serve(t)
	r.AllowToken("right", "")
	c := clientOf(t, server.URL, "wrong")
	for _, call := range calls {
		r.ResetRequests()
		err := call.do(t.Context(), c)
		expectError(t, err, "Unauthorized", call.method+" "+call.path+": 401 Unauthorized")
		expectLoginFailed(t, err, false)
		if requests := r.Requests(); len(requests) != 1 || requests[0].Header.Get("Authorization") != "Bearer wrong" {
			t.Errorf("%s: Reporter got %v", call.name, requests)
		}
	}
}

// The real service has room for about 4 KB of header.
func TestTokenIsTooLong(t *testing.T) {
	r := newRealm(t)
	r.manager.AddClient("operator", secret, strings.Repeat("acme", 1000))
	err := r.client(t).Delete(t.Context(), ledgerID, permitted)
	expectError(t, err, "Unauthorized", "DELETE "+ledgerPath+": 431 Request Header Fields Too Large")
	expectLoginFailed(t, err, false)
	r.expectLogins(t, 1, 0)
}

// expectLoginFailed checks whether it was the login that failed.
func expectLoginFailed(t *testing.T, err error, want bool) {
	t.Helper()
	var e *reporter.Error
	if !errors.As(err, &e) || e.Login != want {
		t.Errorf("that the login failed is not %t: %+v", want, e)
	}
}

// What each answer to the login means: to everybody who needs a token the same, and never anything about a connection.
func TestLoginAnswers(t *testing.T) {
	const (
		json    = "application/json"
		html    = "text/html; charset=utf-8"
		plain   = "text/plain; charset=utf-8"
		page    = "<html><body>not here</body></html>"
		granted = `{"accessToken":"token-a","tokenType":"Bearer","expiresIn":3600}`
	)
	for _, test := range []struct {
		name              string
		status            int
		contentType, body string
		kind, text        string
	}{
		{"401", 401, json, `{"code":"AUT-0001","title":"Invalid Client","message":"No."}`, "Unauthorized", "401 Unauthorized: AUT-0001: Invalid Client: No."},
		{"401 as text", 401, plain, "Unauthorized", "Unauthorized", "401 Unauthorized"},
		{"400 as text", 400, plain, "invalid client\n", "Unauthorized", "400 Bad Request"},
		{"400 as OAuth writes it", 400, json, `{"error":"invalid_client","error_description":"No such client."}`, "Unauthorized", "400 Bad Request: invalid_client: No such client."},
		{"401 as OAuth writes it", 401, json, `{"error":"invalid_client"}`, "Unauthorized", "401 Unauthorized: invalid_client"},
		{"401 of a proxy", 401, html, page, "", "401 Unauthorized"},
		{"403 of a proxy", 403, html, page, "", "403 Forbidden"},
		{"400 of a proxy", 400, html, page, "", "400 Bad Request"},
		{"401 without a body", 401, "", "", "", "401 Unauthorized"},
		{"401 as a page without its type", 401, "", page, "", "401 Unauthorized"},
		{"401 as a page of the wrong type", 401, plain, page, "", "401 Unauthorized"},
		{"401 as a long text", 401, plain, strings.Repeat("no ", 30), "", "401 Unauthorized"},
		{"401 in lines", 401, plain, "no\nno", "", "401 Unauthorized"},
		{"401 as JSON without a code", 401, json, `{"message":"Unauthorized"}`, "", "401 Unauthorized"},
		{"401 with an error that is an object", 401, json, `{"error":{"code":7}}`, "", "401 Unauthorized"},
		{"401 with an error that is a number", 401, json, `{"error":401}`, "", "401 Unauthorized"},
		{"400", 400, json, `{"code":"AUT-0001"}`, "Unauthorized", "400 Bad Request: AUT-0001"},
		{"400 with the id's code", 400, json, `{"code":"FET-0404"}`, "Unauthorized", "400 Bad Request: FET-0404"},
		{"403", 403, json, `{"code":"AUT-0001"}`, "Unauthorized", "403 Forbidden: AUT-0001"},
		{"431", 431, html, page, "Unauthorized", "431 Request Header Fields Too Large"},

		{"404 of a proxy", 404, html, page, "", "404 Not Found"},
		{"404 with the path's code", 404, json, `{"code":404,"title":"request_failed"}`, "", "404 Not Found: 404: request_failed"},
		{"404 with a connection's code", 404, json, absent, "", "404 Not Found: FET-1001: Entity Not Found: No such connection."},
		{"409", 409, json, `{"code":"FET-1002"}`, "", "409 Conflict: FET-1002"},
		{"409 with a job's code", 409, json, `{"code":"FET-1021"}`, "", "409 Conflict: FET-1021"},
		{"405", 405, json, `{"code":405}`, "", "405 Method Not Allowed: 405"},
		{"410", 410, json, absent, "", "410 Gone: FET-1001: Entity Not Found: No such connection."},
		{"302", 302, html, page, "", "302 Found"},

		{"429", 429, json, `{"code":429}`, "RateLimited", "429 Too Many Requests: 429"},
		{"500", 500, json, `{"code":"AUT-0002"}`, "Unavailable", "500 Internal Server Error: AUT-0002"},
		{"502", 502, html, page, "Unavailable", "502 Bad Gateway"},
		{"503", 503, json, absent, "Unavailable", "503 Service Unavailable: FET-1001: Entity Not Found: No such connection."},

		{"a login page", 200, html, page, "", "200 OK"},
		{"a token as HTML", 200, html, granted, "", "200 OK"},
		{"no content type", 200, "", granted, "", "200 OK"},
		{"status 201", 201, json, granted, "", "201 Created"},
		{"status 204", 204, "", "", "", "204 No Content"},
		{"an empty body", 200, json, "", "", "200 OK"},
		{"an empty object", 200, json, "{}", "", "200 OK"},
		{"null", 200, json, "null", "", "200 OK"},
		{"an array", 200, json, "[" + granted + "]", "", "200 OK"},
		{"a cut object", 200, json, granted[:len(granted)-1], "", "200 OK"},
		{"two objects", 200, json, granted + granted, "", "200 OK"},
		{"more than 64 KiB", 200, json, granted + strings.Repeat(" ", 64<<10+1-len(granted)), "", "200 OK"},
		{"the names of OAuth", 200, json, `{"access_token":"token-a","token_type":"Bearer","expires_in":3600}`, "", "200 OK"},
		{"an empty token", 200, json, `{"accessToken":"","expiresIn":3600}`, "", "200 OK"},
		{"null as token", 200, json, `{"accessToken":null,"expiresIn":3600}`, "", "200 OK"},
		{"a number as token", 200, json, `{"accessToken":42,"expiresIn":3600}`, "", "200 OK"},
		{"an object as token", 200, json, `{"accessToken":{"value":"token-a"},"expiresIn":3600}`, "", "200 OK"},
		{"a token with a line end", 200, json, `{"accessToken":"token-a\r\nHost: elsewhere","expiresIn":3600}`, "", "200 OK"},
		{"a token with a zero byte", 200, json, `{"accessToken":"token-a\u0000","expiresIn":3600}`, "", "200 OK"},
		{"a token with DEL", 200, json, `{"accessToken":"token-a\u007f","expiresIn":3600}`, "", "200 OK"},
		{"a life that is a string", 200, json, `{"accessToken":"token-a","expiresIn":"3600"}`, "", "200 OK"},
		{"a life that is no whole number", 200, json, `{"accessToken":"token-a","expiresIn":0.5}`, "", "200 OK"},
		{"a life that overflows 64 bits", 200, json, `{"accessToken":"token-a","expiresIn":9223372036854775808}`, "", "200 OK"},
		{"an error of Reporter's", 200, json, absent, "", "200 OK"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRealm(t)
			r.AllowToken("token-a", "acme")
			c := r.client(t)
			target := newRealm(t)
			remove := r.manager.Inject(reportertest.Fault{Do: reportertest.Answer(test.status,
				http.Header{"Content-Type": {test.contentType}, "Location": {target.managerServer.URL + loginPath}}, test.body)})
			for _, call := range append(calls, login) {
				c := c
				if call.name == "Check" {
					c = r.client(t) // one of its own, as nothing is sent after a Check that gets no answer
				}
				r.manager.ResetRequests()
				err := call.do(t.Context(), c)
				expectError(t, err, test.kind, "POST "+loginPath+": "+test.text)
				expectLoginFailed(t, err, true)
				if n := len(r.manager.Requests()); n != 1 {
					t.Errorf("%s: the Access Manager got %d requests", call.name, n)
				}
			}
			expectArrived(t, r.Reporter)
			if n := target.managerServer.Accepted(); n != 0 {
				t.Errorf("the target of a redirect was connected to %d times", n)
			}
			remove()
			if err := c.Delete(t.Context(), ledgerID, permitted); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// Odd lives do not make a good token bad.
func TestTokenLives(t *testing.T) {
	for _, life := range []string{"1", "0", "-1", "-9223372036854775808", "9223372036854775807", "null", ""} {
		r := newRealm(t)
		r.AllowToken("token-a", "acme")
		body := `{"accessToken":"token-a"}`
		if life != "" {
			body = `{"accessToken":"token-a","expiresIn":` + life + `}`
		}
		r.manager.Inject(reportertest.Fault{Do: jsonAnswer(200, body)})
		c := r.client(t)
		for range 2 {
			if err := c.Check(t.Context()); err != nil {
				t.Errorf("%q: %v", life, err)
			}
		}
		if n := len(r.manager.Requests()); n != 1 {
			t.Errorf("%q: %d logins, not one", life, n)
		}
	}
}

func TestWrongCredentials(t *testing.T) {
	for _, credentials := range [][2]string{{"operator", "hunter3"}, {"operator", ""}, {"nobody", secret}, {"", ""}} {
		r := newRealm(t)
		config := r.config()
		config.AccessManager.ClientID, config.AccessManager.ClientSecret = credentials[0], credentials[1]
		c := poolClient(t, newPool(), config)
		for _, call := range append(calls, login) {
			err := call.do(t.Context(), c)
			expectError(t, err, "Unauthorized", "POST "+loginPath+": 401 Unauthorized: AUT-0003: Invalid Client: The client is not known, or its secret is another.")
			expectLoginFailed(t, err, true)
		}
		expectArrived(t, r.Reporter)
	}
}

// Without an answer to the login nothing is asked of Reporter. Where it came from and where it failed is told apart.
func TestNoAnswerToTheLogin(t *testing.T) {
	for _, test := range []struct {
		name    string
		manager func(*testing.T, *realm) (url string)
		timeout time.Duration
		text    string
	}{
		{"refused", func(_ *testing.T, r *realm) string {
			r.managerServer.Down()
			return r.managerServer.URL
		}, 10 * time.Second, "connection refused"},
		{"no such host", func(*testing.T, *realm) string { return "http://manager..internal/auth" }, 10 * time.Second, "host manager..internal not found"},
		{"reset", func(_ *testing.T, r *realm) string {
			r.manager.Inject(reportertest.Fault{Do: reportertest.Reset()})
			return r.managerServer.URL
		}, 10 * time.Second, "connection reset"},
		{"cut", func(_ *testing.T, r *realm) string {
			r.manager.Inject(reportertest.Fault{Do: reportertest.CutBody()})
			return r.managerServer.URL
		}, 10 * time.Second, "connection closed before the answer was complete"},
		{"hanging", func(_ *testing.T, r *realm) string {
			r.manager.Inject(reportertest.Fault{Do: reportertest.Hang()})
			return r.managerServer.URL
		}, 20 * time.Millisecond, "no answer within 20ms"},
		{"an unknown authority", func(t *testing.T, _ *realm) string { return serveTLS(t, nil) }, 10 * time.Second,
			"TLS: the certificate is signed by an authority that is not trusted: put the authority's certificate into spec.tls.caBundle"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRealm(t)
			config := r.config()
			config.AccessManager.URL, config.Timeout = test.manager(t, r), test.timeout
			path := loginPath
			if strings.HasSuffix(config.AccessManager.URL, "/auth") {
				path = "/auth" + loginPath
			}
			c := poolClient(t, newPool(), config)
			for _, call := range append(calls, login) {
				err := call.do(t.Context(), c)
				expectError(t, err, "Unavailable", "POST "+path+": "+test.text)
				expectLoginFailed(t, err, true)
				if shown := fmt.Sprintf("%#v %+v", err, errors.Unwrap(err)); strings.Contains(shown, "hunter2") {
					t.Errorf("it shows the secret: %s", shown)
				}
			}
			expectArrived(t, r.Reporter)
		})
	}
}

// An Access Manager that asks to be left alone is, but nobody else.
func TestLoginPause(t *testing.T) {
	for _, test := range []struct {
		status     int
		kind, text string
	}{
		{429, "RateLimited", "429 Too Many Requests: FET-0099: Busy: Come back later."},
		{503, "Unavailable", "503 Service Unavailable: FET-0099: Busy: Come back later."},
	} {
		r := newRealm(t)
		r.AllowToken("token-a", "acme")
		r.manager.AddClient("other", secret, "acme")
		r.manager.Inject(reportertest.Fault{Times: 1, Do: reportertest.Answer(test.status,
			http.Header{"Content-Type": {"application/json"}, "Retry-After": {"300"}},
			`{"code":"FET-0099","title":"Busy","message":"Come back later."}`)})
		pool := newPool()
		for range 3 {
			for _, call := range append(calls, login) {
				err := call.do(t.Context(), poolClient(t, pool, r.config()))
				expectError(t, err, test.kind, "POST "+loginPath+": "+test.text)
				expectLoginFailed(t, err, true)
				if wait := reporter.RetryAfter(err); !reporter.IsHeldBack(err) && (wait <= 0 || wait > 300*time.Second) {
					t.Errorf("it asks to wait %s, which is not what is left of 5m0s", wait)
				}
			}
		}
		if n := len(r.manager.Requests()); n != 1 {
			t.Errorf("the Access Manager got %d requests", n)
		}
		expectArrived(t, r.Reporter)

		other, given := r.config(), r.config()
		other.AccessManager.ClientID = "other"
		given.AccessManager, given.Token = nil, "token-a"
		for name, config := range map[string]reporter.Config{"another client": other, "a given token": given} {
			if err := poolClient(t, pool, config).Check(t.Context()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// Who refuses credentials likes to quote them. Neither secret nor token may be in an error, whatever the server does.
func TestCredentialsAreNotRepeated(t *testing.T) {
	hidden := strings.Join(strings.Split(secret, ""), `\u200b`)
	for _, test := range []struct{ name, body, text string }{
		{"in title and message", `{"code":"AUT-0003","title":"Bad %s","message":"The secret %s is not %s."}`, ": AUT-0003: Bad …: The secret … is not …."},
		{"as the code", `{"code":"%s","title":"Bad"}`, ""},
		{"in the code", `{"code":"AUT-%s","title":"Bad"}`, ""},
		{"at the end of what is shown", `{"code":"AUT-0003","title":"` + strings.Repeat("x", 250) + `%s"}`, ": AUT-0003: " + strings.Repeat("x", 250) + "…"},
		{"in pieces", `{"code":"AUT-0003","title":"` + hidden + `"}`, ": AUT-0003: …"},
		{"as the detail", `{"code":"AUT-0003","detail":"%s"}`, ": AUT-0003: …"},
		{"as another field", `{"code":"AUT-0003","error":"%s"}`, ": AUT-0003"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRealm(t)
			c := r.client(t)
			remove := r.manager.Inject(reportertest.Fault{Do: jsonAnswer(401, strings.ReplaceAll(test.body, "%s", secret))})
			err := login.do(t.Context(), c)
			expectError(t, err, "Unauthorized", "POST "+loginPath+": 401 Unauthorized"+test.text)
			if shown := fmt.Sprintf("%#v", err); strings.Contains(shown, "hunter2") {
				t.Errorf("the error shows the secret: %s", shown)
			}
			remove()

			r.Inject(reportertest.Fault{Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
				token := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
				body := strings.ReplaceAll(test.body, hidden, strings.Join(strings.Split(token, ""), `\u200b`))
				jsonAnswer(403, strings.ReplaceAll(body, "%s", token))(w, req, act)
			}})
			err = c.Check(t.Context())
			expectError(t, err, "Forbidden", "GET "+listPath+": 403 Forbidden"+test.text)
			if shown := fmt.Sprintf("%#v", err); strings.Contains(shown, r.manager.Tokens()[0]) {
				t.Errorf("the error shows the token: %s", shown)
			}
		})
	}
}

// A connection's texts go into a status too.
func TestConnectionsDoNotRepeatTheToken(t *testing.T) {
	r, server := serve(t)
	r.Inject(reportertest.Fault{Do: jsonAnswer(200, `{"id":"`+ledgerID+`","productName":"a-token-a-a","configName":"token-a","type":"token\u200b-a",`+
		`"host":"token-a.example.com","databaseName":"xtoken-ax"}`)})
	got, err := clientOf(t, server.URL, "token-a").Get(t.Context(), ledgerID)
	if err != nil {
		t.Fatal(err)
	}
	want := reporter.Connection{ID: ledgerID, ProductName: "a-…-a", ConfigName: "…", Type: "…", Host: "….example.com", DatabaseName: "x…x"}
	if shown := withoutSettings(got); !reflect.DeepEqual(shown, want) {
		t.Errorf("got  %+v\nwant %+v", shown, want)
	}
}

// A caller who has left already has nothing sent for him, and is not told of a login where none was needed.
func TestLoginOfACallerWhoLeft(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // as select may find both ready
		r := newRealm(t)
		for _, call := range append(calls, login) {
			err := call.do(ended, r.client(t))
			expectError(t, err, "Unavailable", "POST "+loginPath+": context canceled")
			expectLoginFailed(t, err, true)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v is not context.Canceled", err)
			}
		}
		if n := r.managerServer.Accepted() + r.server.Accepted(); n != 0 {
			t.Errorf("%d connections were opened", n)
		}
		for _, call := range calls {
			err := call.do(ended, clientOf(t, r.server.URL, "token-a"))
			expectError(t, err, "Unavailable", call.method+" "+call.path+": context canceled")
			expectLoginFailed(t, err, false)
		}
	}
}

// What is wrong with an Access Manager's URL is said like of Reporter's, and which of the two it is.
func TestAccessManagerURLIsChecked(t *testing.T) {
	for raw, want := range map[string]string{
		"":                             "the Access Manager: the URL must start with http:// or https://",
		"http://":                      "the Access Manager: the URL must name a host, as in http://reporter.internal:4006",
		"http://me:hunter2@manager":    "the Access Manager: the URL must not contain user info: put credentials into a Secret",
		"http://manager?key=hunter2":   "the Access Manager: the URL must not contain a query or a fragment",
		"http://me:hunter2@manager:x/": "the Access Manager: the URL cannot be parsed: write it like http://reporter.internal:4006",
	} {
		pool := newPool()
		for range 2 { // what was refused is not remembered as good
			_, err := pool.Client("endpoint", reporter.Config{BaseURL: "http://reporter", AccessManager: &reporter.AccessManager{URL: raw}, Timeout: time.Second})
			if err == nil || err.Error() != want {
				t.Errorf("%q gives %v, not %s", raw, err, want)
			}
		}
	}
}

// Printing a client or its pool, as a log or a panic may, shows nothing of what they keep secret.
func TestNothingPrintsCredentials(t *testing.T) {
	r := newRealm(t)
	pool := newPool()
	c := poolClient(t, pool, r.config())
	given := poolClient(t, pool, reporter.Config{BaseURL: r.server.URL, Token: secret, Timeout: time.Second})
	if _, err := c.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		for _, value := range []any{pool, c, *c, given, *given} {
			if shown := fmt.Sprintf(verb, value); strings.Contains(shown, "hunter2") || strings.Contains(shown, r.manager.Tokens()[0]) {
				t.Errorf("%s shows a secret: %s", verb, shown)
			}
		}
	}
}
