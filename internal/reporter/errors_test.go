// SPDX-License-Identifier: Apache-2.0

package reporter_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/reporter-operator/reporter-operator/internal/reporter"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// absent is the one body that, with status 404, says that a connection is not there.
const absent = `{"code":"FET-1001","title":"Entity Not Found","message":"No such connection."}`

// kinds are all that a caller can tell apart; an error that is none of them proves nothing.
var kinds = []struct {
	name string
	is   func(error) bool
}{
	{"NotFound", reporter.IsNotFound},
	{"JobInProgress", reporter.IsJobInProgress},
	{"Conflict", reporter.IsConflict},
	{"InvalidID", reporter.IsInvalidID},
	{"Unauthorized", reporter.IsUnauthorized},
	{"Forbidden", reporter.IsForbidden},
	{"RateLimited", reporter.IsRateLimited},
	{"Unavailable", reporter.IsUnavailable},
	{"WrongPath", reporter.IsWrongPath},
	{"NotAllowed", reporter.IsNotAllowed},
	{"NameTaken", reporter.IsNameTaken},
	{"Invalid", reporter.IsInvalid},
	{"DatabaseUnreachable", reporter.IsDatabaseUnreachable},
}

// kindOf names every kind that the error claims to be, which must be one at most.
func kindOf(err error) string {
	var names []string
	for _, kind := range kinds {
		if kind.is(err) {
			names = append(names, kind.name)
		}
	}
	return strings.Join(names, " and ")
}

// expectError checks for a *reporter.Error of exactly this kind, "" for none, and exactly this text.
func expectError(t *testing.T, err error, kind, text string) {
	t.Helper()
	var e *reporter.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, which is no *reporter.Error", err)
	}
	if got := kindOf(err); got != kind {
		t.Errorf("the error is of kind %q, not %q: %v", got, kind, err)
	}
	if err.Error() != text {
		t.Errorf("the error says\n%s\nnot\n%s", err, text)
	}
}

// What each answer means. It means the same whatever was asked, but for the documented successes, and for what TestAnswersToChanges and
// TestAnswersToTests have.
func TestAnswers(t *testing.T) {
	const (
		json    = "application/json"
		problem = "application/problem+json"
		html    = "text/html; charset=utf-8"
		plain   = "text/plain; charset=utf-8"
		page    = "<html><body>not here</body></html>"
	)
	for _, test := range []struct {
		name              string
		status            int
		contentType, body string
		kind, code, text  string
	}{
		{"absent", 404, json, absent, "NotFound", "FET-1001", "404 Not Found: FET-1001: Entity Not Found: No such connection."},
		{"absent, the code alone", 404, json, `{"code":"FET-1001"}`, "NotFound", "FET-1001", "404 Not Found: FET-1001"},
		{"absent, in status 400", 400, json, absent, "", "FET-1001", "400 Bad Request: FET-1001: Entity Not Found: No such connection."},
		{"absent, in status 410", 410, json, absent, "", "FET-1001", "410 Gone: FET-1001: Entity Not Found: No such connection."},
		{"absent, in status 409", 409, json, absent, "Conflict", "FET-1001", "409 Conflict: FET-1001: Entity Not Found: No such connection."},
		{"absent, in status 403", 403, json, absent, "Forbidden", "FET-1001", "403 Forbidden: FET-1001: Entity Not Found: No such connection."},
		{"absent, in status 500", 500, json, absent, "Unavailable", "FET-1001", "500 Internal Server Error: FET-1001: Entity Not Found: No such connection."},
		{"absent, as a number", 404, json, `{"code":1001,"title":"x","message":"y"}`, "WrongPath", "1001", "404 Not Found: 1001: x: y"},
		{"absent, in lower case", 404, json, `{"code":"fet-1001"}`, "", "fet-1001", "404 Not Found: fet-1001"},
		{"absent, with a space", 404, json, `{"code":"FET-1001 "}`, "", "FET-1001 ", "404 Not Found: FET-1001 "},
		{"absent, with a control character", 404, json, `{"code":"FET-1001\u0000","title":"x"}`, "", "", "404 Not Found"},
		{"absent, with an invisible character", 404, json, `{"code":"FET\u200b-1001","title":"x"}`, "", "", "404 Not Found"},
		{"absent, with invalid UTF-8", 404, json, "{\"code\":\"FET-1001\xff\",\"title\":\"x\"}", "", "", "404 Not Found"},
		{"absent, deeper down", 404, json, `{"error":` + absent + `}`, "", "", "404 Not Found"},
		{"absent, in an array", 404, json, `[` + absent + `]`, "", "", "404 Not Found"},
		{"absent, in the title", 404, json, `{"title":"FET-1001"}`, "", "", "404 Not Found"},
		{"absent, as a list of codes", 404, json, `{"code":["FET-1001"]}`, "", "", "404 Not Found"},
		{"absent, the last of two codes is another", 404, json, `{"code":"FET-1001","code":"FET-1080"}`, "", "FET-1080", "404 Not Found: FET-1080"},
		{"absent, cut", 404, json, absent[:len(absent)-1], "", "", "404 Not Found"},
		{"absent, with something after it", 404, json, absent + "x", "", "", "404 Not Found"},
		{"absent, after a byte order mark", 404, json, "\ufeff" + absent, "", "", "404 Not Found"},
		{"absent, as HTML", 404, html, absent, "", "", "404 Not Found"},
		{"absent, as plain text", 404, plain, absent, "", "", "404 Not Found"},
		{"absent, as any kind of JSON", 404, "application/hal+json", absent, "", "", "404 Not Found"},
		{"404 with the path's code", 404, json, `{"code":404,"title":"request_failed","message":"Cannot find what was requested."}`,
			"WrongPath", "404", "404 Not Found: 404: request_failed: Cannot find what was requested."},
		{"404 with the path's code, newer", 404, problem, `{"code":404,"title":"request_failed","detail":"Cannot find what was requested."}`,
			"WrongPath", "404", "404 Not Found: 404: request_failed: Cannot find what was requested."},
		{"404 with the path's code as a string", 404, json, `{"code":"404","title":"request_failed"}`, "", "404", "404 Not Found: 404: request_failed"},
		{"404 with a tenant's code", 404, json, `{"code":"FET-1080","title":"Tenant Not Found"}`, "", "FET-1080", "404 Not Found: FET-1080: Tenant Not Found"},
		{"404 with another family's code", 404, json, `{"code":"AUT-1001","title":"Not Found"}`, "", "AUT-1001", "404 Not Found: AUT-1001: Not Found"},
		{"404 with an empty code", 404, json, `{"code":"","title":"x","message":"y"}`, "", "", "404 Not Found"},
		{"404 with null as code", 404, json, `{"code":null,"title":"x","message":"y"}`, "", "", "404 Not Found"},
		{"404 with true as code", 404, json, `{"code":true,"title":"x","message":"y"}`, "", "", "404 Not Found"},
		{"404 with an object as code", 404, json, `{"code":{},"title":"x","message":"y"}`, "", "", "404 Not Found"},
		{"404 without code", 404, json, `{"title":"x","message":"y"}`, "", "", "404 Not Found"},
		{"404 with null", 404, json, "null", "", "", "404 Not Found"},
		{"404 with a number", 404, json, "404", "", "", "404 Not Found"},
		{"404 of a proxy", 404, html, page, "", "", "404 Not Found"},
		{"404 without a body", 404, json, "", "", "", "404 Not Found"},

		{"409 because of a job", 409, json, `{"code":"FET-1021","title":"Job In Progress","message":"There are active jobs."}`,
			"JobInProgress", "FET-1021", "409 Conflict: FET-1021: Job In Progress: There are active jobs."},
		{"409 because of a job, newer", 409, problem, `{"code":"FET-1021","title":"Job In Progress","detail":"There are active jobs."}`,
			"JobInProgress", "FET-1021", "409 Conflict: FET-1021: Job In Progress: There are active jobs."},
		{"a job's code in status 400", 400, json, `{"code":"FET-1021"}`, "", "FET-1021", "400 Bad Request: FET-1021"},
		{"a job's code in status 404", 404, json, `{"code":"FET-1021"}`, "", "FET-1021", "404 Not Found: FET-1021"},
		{"a job's code as a number", 409, json, `{"code":1021}`, "Conflict", "1021", "409 Conflict: 1021"},
		{"409 with another code", 409, json, `{"code":"FET-1002","title":"Entity Conflict"}`, "Conflict", "FET-1002", "409 Conflict: FET-1002: Entity Conflict"},
		{"409 without code", 409, json, `{"title":"Job In Progress"}`, "", "", "409 Conflict"},
		{"409 of a proxy", 409, html, page, "", "", "409 Conflict"},
		{"409 as plain text", 409, plain, "FET-1021", "", "", "409 Conflict"},

		{"400 because of the id", 400, json, `{"code":"FET-0404","title":"Invalid Path Parameter"}`,
			"InvalidID", "FET-0404", "400 Bad Request: FET-0404: Invalid Path Parameter"},
		{"400 with another code", 400, json, `{"code":"FET-0001","title":"Bad Request"}`, "", "FET-0001", "400 Bad Request: FET-0001: Bad Request"},
		{"400 with a number", 400, json, `{"code":404}`, "", "404", "400 Bad Request: 404"},
		{"400 of a proxy", 400, html, page, "", "", "400 Bad Request"},
		{"the id's code in status 404", 404, json, `{"code":"FET-0404"}`, "", "FET-0404", "404 Not Found: FET-0404"},
		{"the id's code in status 422", 422, json, `{"code":"FET-0404"}`, "", "FET-0404", "422 Unprocessable Entity: FET-0404"},

		{"401 as text", 401, plain, "Missing Token", "Unauthorized", "", "401 Unauthorized"},
		{"401 as JSON", 401, json, `{"code":"AUT-1004","title":"Token Expired","message":"Log in again."}`,
			"Unauthorized", "AUT-1004", "401 Unauthorized: AUT-1004: Token Expired: Log in again."},
		{"401 as text of the service", 401, plain, "Unauthorized", "Unauthorized", "", "401 Unauthorized"},
		{"401 as JSON, newer", 401, problem, `{"code":401,"title":"request_failed"}`, "Unauthorized", "401", "401 Unauthorized: 401: request_failed"},
		{"401 without a body", 401, json, "", "", "", "401 Unauthorized"},
		{"401 with nothing", 401, "", "", "", "", "401 Unauthorized"},
		{"401 as an empty text", 401, plain, " ", "", "", "401 Unauthorized"},
		{"401 of a proxy", 401, html, page, "", "", "401 Unauthorized"},
		{"401 as a page without its type", 401, "", page, "", "", "401 Unauthorized"},
		{"401 as a page of the wrong type", 401, plain, page, "", "", "401 Unauthorized"},
		{"401 as JSON of the wrong type", 401, plain, `{"code":"AUT-1004"}`, "", "", "401 Unauthorized"},
		{"401 as JSON without a code", 401, json, `{"message":"Unauthorized"}`, "", "", "401 Unauthorized"},
		{"401 as a long text", 401, plain, strings.Repeat("a", 65), "", "", "401 Unauthorized"},
		{"401 as another kind of text", 401, "text/markdown", "Unauthorized", "", "", "401 Unauthorized"},
		{"403 as text", 403, plain, "Forbidden", "Forbidden", "", "403 Forbidden"},
		{"403 as JSON", 403, json, `{"code":"AUT-1005","title":"No Permission"}`, "Forbidden", "AUT-1005", "403 Forbidden: AUT-1005: No Permission"},
		{"403 of a proxy", 403, html, page, "", "", "403 Forbidden"},
		{"403 with nothing", 403, "", "", "", "", "403 Forbidden"},
		{"403 in lines", 403, plain, "Access denied.\nPolicy 7", "", "", "403 Forbidden"},
		{"403 as JSON without a code", 403, json, `{"error":"forbidden"}`, "", "", "403 Forbidden"},
		{"407", 407, html, page, "", "", "407 Proxy Authentication Required"},

		{"429", 429, json, `{"code":429,"title":"request_failed","message":"Too many requests."}`,
			"RateLimited", "429", "429 Too Many Requests: 429: request_failed: Too many requests."},
		{"429 as text", 429, plain, "slow down", "RateLimited", "", "429 Too Many Requests"},
		{"429 of a proxy", 429, html, page, "RateLimited", "", "429 Too Many Requests"},

		{"500", 500, json, `{"code":"FET-0002","title":"Internal Server Error"}`, "Unavailable", "FET-0002", "500 Internal Server Error: FET-0002: Internal Server Error"},
		{"500 with a number", 500, json, `{"code":500,"title":"request_failed"}`, "Unavailable", "500", "500 Internal Server Error: 500: request_failed"},
		{"502 of a proxy", 502, html, page, "Unavailable", "", "502 Bad Gateway"},
		{"503", 503, json, `{"code":"FET-0003","title":"Service Unavailable"}`, "Unavailable", "FET-0003", "503 Service Unavailable: FET-0003: Service Unavailable"},
		{"503 of a proxy", 503, plain, "no healthy upstream", "Unavailable", "", "503 Service Unavailable"},
		{"504 of a proxy", 504, html, page, "Unavailable", "", "504 Gateway Timeout"},
		{"a status of Cloudflare's", 520, html, page, "Unavailable", "", "520"},

		{"405", 405, json, `{"code":405,"title":"request_failed","message":"Method Not Allowed"}`,
			"", "405", "405 Method Not Allowed: 405: request_failed: Method Not Allowed"},
		{"408", 408, plain, "", "", "", "408 Request Timeout"},
		{"418", 418, html, page, "", "", "418 I'm a teapot"},
		{"a login page", 200, html, page, "", "", "200 OK"},
		{"multiple choices", 300, html, page, "", "", "300 Multiple Choices"},
	} {
		for _, call := range calls {
			t.Run(test.name+"/"+call.name, func(t *testing.T) {
				r, server := serve(t)
				r.Inject(reportertest.Fault{Do: reportertest.Answer(test.status, http.Header{"Content-Type": {test.contentType}}, test.body)})
				err := call.do(t.Context(), clientOf(t, server.URL, ""))
				expectError(t, err, test.kind, call.method+" "+call.path+": "+test.text)

				var e *reporter.Error
				if errors.As(err, &e) && (e.Method != call.method || e.Path != call.path || e.Status != test.status || e.Code != test.code || e.Err != nil) {
					t.Errorf("its fields are %+v", *e)
				}
				if wait := reporter.RetryAfter(err); wait != 0 {
					t.Errorf("it asks to wait %s", wait)
				}
				if n := len(r.Requests()); n != 1 {
					t.Errorf("Reporter got %d requests", n)
				}
			})
		}
	}
}

// Newer versions of Reporter write their errors differently, and both may come with parameters.
func TestErrorFormats(t *testing.T) {
	for _, contentType := range []string{
		"application/json",
		"application/json; charset=utf-8",
		"application/json;charset=UTF-8",
		"Application/JSON",
		"application/problem+json",
		"application/problem+json; charset=utf-8",
		"APPLICATION/problem+json ; charset=\"utf-8\"",
	} {
		for _, text := range []string{"message", "detail"} {
			t.Run(contentType+" "+text, func(t *testing.T) {
				r, server := serve(t)
				r.Inject(reportertest.Fault{Do: reportertest.Answer(404, http.Header{"Content-Type": {contentType}},
					`{"type":"about:blank","status":404,"code":"FET-1001","title":"Entity Not Found","`+text+`":"No such connection."}`)})
				err := clientOf(t, server.URL, "").Delete(t.Context(), ledgerID, permitted)
				expectError(t, err, "NotFound", "DELETE "+ledgerPath+": 404 Not Found: FET-1001: Entity Not Found: No such connection.")
			})
		}
	}
}

// The errors that Reporter itself writes, in both of its formats, say the same.
func TestReportersOwnErrors(t *testing.T) {
	const message = "The operation cannot be completed because there are active jobs for this connection."
	for _, problemJSON := range []bool{false, true} {
		r, server := serve(t)
		r.SetProblemJSON(problemJSON)
		r.StartJob("ledger-db")
		err := clientOf(t, server.URL, "").Delete(t.Context(), ledgerID, permitted)
		expectError(t, err, "JobInProgress", "DELETE "+ledgerPath+": 409 Conflict: FET-1021: Job In Progress: "+message)
	}
}

func TestRetryAfter(t *testing.T) {
	for _, test := range []struct {
		name  string
		value []string
		want  time.Duration
	}{
		{"none", nil, 0},
		{"empty", []string{""}, 0},
		{"seconds", []string{"7"}, 7 * time.Second},
		{"seconds with white space", []string{" 7 "}, 7 * time.Second},
		{"seconds with zeros", []string{"007"}, 7 * time.Second},
		{"the first of two", []string{"7", "8"}, 7 * time.Second},
		{"two in one", []string{"7, 8"}, 0},
		{"zero", []string{"0"}, 0},
		{"negative", []string{"-7"}, 0},
		{"a sign", []string{"+7"}, 0},
		{"a fraction", []string{"7.5"}, 0},
		{"hexadecimal", []string{"0x7"}, 0},
		{"a unit", []string{"7s"}, 0},
		{"garbage", []string{"soon"}, 0},
		{"a day", []string{"86400"}, 24 * time.Hour},
		{"more than a day", []string{"86401"}, 24 * time.Hour},
		{"what overflows 32 bits", []string{"4294967296"}, 24 * time.Hour},
		{"what overflows a duration", []string{"9223372037"}, 24 * time.Hour},
		{"what overflows 64 bits", []string{"99999999999999999999"}, 24 * time.Hour},
		{"what overflows 64 bits, with a unit", []string{"99999999999999999999s"}, 0},
		{"a date beyond sense", []string{"Thu, 01 Jan 2099 00:00:00 GMT"}, 0},
		{"a date gone by", []string{"Fri, 01 Jan 2021 00:00:00 GMT"}, 0},
		{"an ISO date", []string{"2099-01-01T00:00:00Z"}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			for status, kind := range map[int]string{429: "RateLimited", 503: "Unavailable", 502: "Unavailable", 500: "Unavailable", 409: "", 404: "", 200: ""} {
				r, server := serve(t)
				r.Inject(reportertest.Fault{Do: reportertest.Answer(status, http.Header{"Retry-After": test.value}, "")})
				err := clientOf(t, server.URL, "").Delete(t.Context(), ledgerID, permitted)
				if got := kindOf(err); got != kind {
					t.Errorf("%d gives kind %q: %v", status, got, err)
				}
				if got := reporter.RetryAfter(fmt.Errorf("deleting: %w", err)); got != test.want {
					t.Errorf("%d asks to wait %s, not %s", status, got, test.want)
				}
			}
		})
	}
}

// A redirect is an answer like any other: what is at its target was never asked for, and must not see the credentials.
func TestRedirectsAreNotFollowed(t *testing.T) {
	for status, text := range map[int]string{
		301: "301 Moved Permanently",
		302: "302 Found",
		303: "303 See Other",
		307: "307 Temporary Redirect",
		308: "308 Permanent Redirect",
	} {
		for _, call := range calls {
			t.Run(call.name+" "+text, func(t *testing.T) {
				target, targetServer := serve(t)
				r, server := serve(t)
				for _, to := range []string{
					targetServer.URL + ledgerPath,
					strings.Replace(targetServer.URL, "http:", "https:", 1),
					"/login",
					server.URL + ledgerPath,
					"",
					"http://[::1", // which cannot be parsed
					"%zz",
				} {
					r.ResetRequests()
					remove := r.Inject(reportertest.Fault{Do: reportertest.Redirect(status, to)})
					err := call.do(t.Context(), clientOf(t, server.URL, "secret"))
					remove()
					expectError(t, err, "", call.method+" "+call.path+": "+text)
					if n := len(r.Requests()); n != 1 {
						t.Errorf("Reporter got %d requests", n)
					}
				}
				expectArrived(t, target)
				if n := targetServer.Accepted(); n != 0 {
					t.Errorf("the target was connected to %d times", n)
				}
				if !r.Alive(ledgerID) || !target.Alive(ledgerID) {
					t.Errorf("the connection was deleted")
				}
			})
		}
	}
}

// Reporter's errors are below 4 KiB. What is longer than 64 KiB is not read to its end, and nothing of it is believed.
func TestBodiesAreBounded(t *testing.T) {
	long := func(code string, length int) string {
		body := `{"code":"` + code + `","title":"Long","message":"`
		return body + strings.Repeat("m", length-len(body)-len(`"}`)) + `"}`
	}
	cut := ": Long: " + strings.Repeat("m", 256)
	for _, test := range []struct {
		name       string
		status     int
		body       string
		kind, text string
	}{
		{"absent in 64 KiB", 404, long("FET-1001", 65536), "NotFound", "404 Not Found: FET-1001" + cut},
		{"absent in a byte more", 404, long("FET-1001", 65537), "", "404 Not Found"},
		{"absent in 1 MiB", 404, long("FET-1001", 1<<20), "", "404 Not Found"},
		{"absent, then white space", 404, absent + strings.Repeat(" ", 65537), "", "404 Not Found"},
		{"a job in a byte more", 409, long("FET-1021", 65537), "", "409 Conflict"},
		{"an error in a byte more", 500, long("FET-0002", 65537), "Unavailable", "500 Internal Server Error"},
		{"a long success", 200, long("FET-0002", 1<<20), "", "200 OK"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, server := serve(t)
			r.Inject(reportertest.Fault{Do: jsonAnswer(test.status, test.body)})
			expectError(t, clientOf(t, server.URL, "").Delete(t.Context(), ledgerID, permitted), test.kind, "DELETE "+ledgerPath+": "+test.text)
		})
	}
}

// An endless body is left after 64 KiB, and no connection is kept on which the rest would come.
func TestEndlessBody(t *testing.T) {
	r, server := serve(t)
	r.Inject(reportertest.Fault{Times: 1, Do: func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		for {
			if _, err := w.Write([]byte(strings.Repeat(" ", 1024))); err != nil {
				return
			}
		}
	}})
	c := clientOf(t, server.URL, "")
	expectError(t, c.Delete(t.Context(), ledgerID, permitted), "", "DELETE "+ledgerPath+": 404 Not Found")
	if err := c.Delete(t.Context(), ledgerID, permitted); err != nil {
		t.Errorf("the next request gives %v", err)
	}
}

// What Reporter says may end up in a log or a status.
func TestTextsAreCleaned(t *testing.T) {
	for _, test := range []struct{ name, body, text string }{
		{"control characters", `{"code":"FET-0001","title":"a\u0000b\u001b[31m\u007f\u009f","message":"one\r\n\ttwo"}`, "FET-0001: ab[31m: onetwo"},
		{"what turns the writing around", `{"code":"FET-0001","title":"a\u202eb","message":"c\u2066d\u200be\ufefff"}`, "FET-0001: ab: cdef"},
		{"line ends of Unicode", `{"code":"FET-0001","title":"a\u2028b","message":"c\u0085d"}`, "FET-0001: ab: cd"},
		{"invalid UTF-8", "{\"code\":\"FET-0001\",\"title\":\"a\xffb\",\"message\":\"\xc3\x28\"}", "FET-0001: ab: ("},
		{"halves of surrogates", `{"code":"FET-0001","title":"a\ud800b","message":"\udc00"}`, "FET-0001: ab"},
		{"nothing printable", `{"code":"FET-0001","title":"\n","message":"ok"}`, "FET-0001: ok"},
		{"other languages", `{"code":"FET-0001","title":"Conexão não encontrada","message":"接続 🔌"}`, "FET-0001: Conexão não encontrada: 接続 🔌"},
		{"long texts", `{"code":"FET-0001","title":"` + strings.Repeat("t", 257) + `","message":"` + strings.Repeat("é", 1000) + `"}`,
			"FET-0001: " + strings.Repeat("t", 256) + ": " + strings.Repeat("é", 256)},
		{"a long code", `{"code":"` + strings.Repeat("c", 257) + `","title":"t","message":"m"}`, ""},
		{"a long number", `{"code":` + strings.Repeat("9", 257) + `,"title":"t","message":"m"}`, ""},
		{"a format", `{"code":"FET-0001","title":"%s%d","message":"%!"}`, "FET-0001: %s%d: %!"},
		{"a message that is no string", `{"code":"FET-0001","message":{"a":1}}`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, server := serve(t)
			r.Inject(reportertest.Fault{Do: jsonAnswer(422, test.body)})
			want := "DELETE " + ledgerPath + ": 422 Unprocessable Entity"
			if test.text != "" {
				want += ": " + test.text
			}
			expectError(t, clientOf(t, server.URL, "").Delete(t.Context(), ledgerID, permitted), "", want)
		})
	}
}

// Authentication layers like to quote the token that they refuse.
func TestTokenIsNotRepeated(t *testing.T) {
	const token = "eyJhbGciOiJub25lIn0.e30.c2VjcmV0"
	for _, call := range calls {
		r, server := serve(t)
		r.Inject(reportertest.Fault{Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
			got := req.Header.Get("Authorization")
			reportertest.ErrorAnswer(401, "AUT-1004", "Bad "+got, strings.Repeat("x", 240)+got)(w, req, act)
		}})
		err := call.do(t.Context(), clientOf(t, server.URL, token))
		expectError(t, err, "Unauthorized", call.method+" "+call.path+": 401 Unauthorized: AUT-1004: Bad Bearer …: "+strings.Repeat("x", 240)+"Bearer …")
		if shown := fmt.Sprintf("%#v", err); strings.Contains(shown, token) {
			t.Errorf("the error shows the token: %s", shown)
		}
	}
}

// Errors are recognised however they are wrapped, and nothing else is taken for one.
func TestKindsOfWrappedAndForeignErrors(t *testing.T) {
	r, server := serve(t)
	r.Inject(reportertest.Fault{Do: reportertest.Answer(429, http.Header{"Retry-After": {"7"}}, "")})
	limited := clientOf(t, server.URL, "").Delete(t.Context(), ledgerID, permitted)
	for _, err := range []error{
		limited,
		fmt.Errorf("deleting: %w", limited),
		fmt.Errorf("again: %w", fmt.Errorf("deleting: %w", limited)),
		errors.Join(errors.New("another"), limited),
	} {
		if got := kindOf(err); got != "RateLimited" {
			t.Errorf("%v is of kind %q", err, got)
		}
		if got := reporter.RetryAfter(err); got != 7*time.Second {
			t.Errorf("%v asks to wait %s", err, got)
		}
		var e *reporter.Error
		if !errors.As(err, &e) || e.Status != 429 {
			t.Errorf("%v is no *reporter.Error of status 429", err)
		}
	}

	for _, err := range []error{
		nil,
		errors.New("404 FET-1001"),
		fmt.Errorf("deleting: %v", limited), //nolint:errorlint // this is what must not be recognised
		context.Canceled,
		context.DeadlineExceeded,
		http.ErrHandlerTimeout,
		&reporter.Error{},
		&reporter.Error{Status: 404, Code: "FET-1001"}, // nobody but the client makes one that counts
	} {
		if got := kindOf(err); got != "" {
			t.Errorf("%v is of kind %q", err, got)
		}
		if got := reporter.RetryAfter(err); got != 0 {
			t.Errorf("%v asks to wait %s", err, got)
		}
	}
}
