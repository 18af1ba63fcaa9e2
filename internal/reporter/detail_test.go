// SPDX-License-Identifier: Apache-2.0

package reporter_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/reporter-operator/reporter-operator/internal/reporter"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// detailOf returns what a person gets to see of an error, which must be fit for that.
func detailOf(t *testing.T, err error) string {
	t.Helper()
	var e *reporter.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, which is no *reporter.Error", err)
	}
	detail := e.Detail()
	if utf8.RuneCountInString(detail) > 256 || strings.ContainsFunc(detail, func(r rune) bool { return !unicode.IsPrint(r) }) || detail == "" {
		t.Errorf("the detail may not be shown: %q", detail)
	}
	if text := e.Error(); strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || len(text) > 4096 {
		t.Errorf("the error may not be shown: %q", text)
	}
	return detail
}

// What a person gets to see of an answer.
func TestDetailOfAnswers(t *testing.T) {
	const (
		json  = "application/json"
		html  = "text/html"
		plain = "text/plain"
		page  = "<html>"
	)
	for _, test := range []struct {
		status                         int
		contentType, body, want, login string
	}{
		{400, json, `{"code":"FET-0404","title":"Invalid Path Parameter","message":"Request 7f3a of 12:00:07."}`,
			"400 FET-0404 (Invalid Path Parameter)", ""},
		{404, json, absent, "404 FET-1001 (Entity Not Found)", ""},
		{404, json, `{"code":404,"title":"request_failed"}`, "404 (request_failed)", ""},
		{404, json, `{"code":404}`, "404 Not Found", ""},
		{404, json, `{"code":"404","title":"request_failed"}`, "404 (request_failed)", ""},
		{404, json, `{"code":"AUT-1001"}`, "404 AUT-1001", ""},
		{404, html, page, "404 Not Found", ""},
		{429, json, `{"code":429,"title":"rate_limit_exceeded"}`, "429 (rate_limit_exceeded)", ""},
		{429, json, `{"code":429}`, "429 Too Many Requests", ""},
		{400, json, `{"code":404,"title":"request_failed"}`, "400 404 (request_failed)", ""},
		{409, json, `{"code":"FET-1002","title":"Entity  Conflict\u200b"}`, "409 FET-1002 (Entity Conflict)", "409 FET-1002 (Entity Conflict)"},
		{401, plain, "Missing Token", "401 Unauthorized", ""},
		{401, json, `{"code":"AUT-0003","title":"Invalid Client"}`, "401 AUT-0003 (Invalid Client)", ""},
		{401, html, page, "401 Unauthorized, but not in the form of Reporter's: something else answers in Reporter's place",
			"401 Unauthorized, but not in the form of the Access Manager's: something else answers in the Access Manager's place"},
		{403, "", "", "403 Forbidden, but not in the form of Reporter's: something else answers in Reporter's place",
			"403 Forbidden, but not in the form of the Access Manager's: something else answers in the Access Manager's place"},
		{400, html, page, "400 Bad Request", "400 Bad Request, but not in the form of the Access Manager's: something else answers in the Access Manager's place"},
		{431, html, page, "431 Request Header Fields Too Large: the token is too long, Reporter takes about 4 KB", ""},
		{302, html, page, "302, a redirect, which is not followed", ""},
		{200, html, page, "200 with a body that is not the documented one", ""},
		{202, json, "{}", "202 Accepted", ""},
		{503, json, `{"code":"FET-0003","title":"Service Unavailable"}`, "deleting a connection: 503 FET-0003 (Service Unavailable)", "503 FET-0003 (Service Unavailable)"},
		{520, html, page, "deleting a connection: 520", "520"},
		{500, json, `{"code":"` + strings.Repeat("c", 256) + `","title":"t"}`, "deleting a connection: 500 " + strings.Repeat("c", 252-23), "500 " + strings.Repeat("c", 252-36)},
		{500, json, `{"code":"c","title":"` + strings.Repeat("\u65e5", 1000) + `"}`, "deleting a connection: 500 c (" + strings.Repeat("\u65e5", 249-23), "500 c (" + strings.Repeat("\u65e5", 249-36)},
	} {
		answer := reportertest.Answer(test.status, http.Header{"Content-Type": {test.contentType}}, test.body)
		r, server := serve(t)
		r.Inject(reportertest.Fault{Do: answer})
		if got := detailOf(t, clientOf(t, server.URL, "").Delete(t.Context(), ledgerID, permitted)); got != test.want {
			t.Errorf("%d %s gives\n%s, not\n%s", test.status, test.body, got, test.want)
		}
		login := test.login
		if login == "" {
			login = test.want
		}
		realm := newRealm(t)
		realm.manager.Inject(reportertest.Fault{Do: answer})
		_, err := realm.client(t).Login(t.Context())
		if got, want := detailOf(t, err), "logging in with the Access Manager: "+login; got != want {
			t.Errorf("%d %s to a login gives\n%s, not\n%s", test.status, test.body, got, want)
		}
	}
}

// Without an answer, the detail is why, however long what it names is.
func TestDetailOfNoAnswer(t *testing.T) {
	_, server := serve(t)
	server.Down()
	c := clientOf(t, server.URL+"/"+strings.Repeat("long", 1000), "")
	if got, want := detailOf(t, c.Delete(t.Context(), ledgerID, permitted)), "deleting a connection: connection refused"; got != want {
		t.Errorf("it gives %s, not %s", got, want)
	}
	if got, want := detailOf(t, c.Delete(t.Context(), "ledger-db", permitted)), "the id is not a canonical lower-case UUID; nothing was sent"; got != want {
		t.Errorf("a sloppy id gives %s, not %s", got, want)
	}

	host := strings.Repeat("long.", 200) + ".internal" // which no resolver is asked for
	shown := strings.Repeat("long.", 13)[:62] + "…"
	if got, want := detailOf(t, clientOf(t, "http://"+host, "").Check(t.Context())), "listing connections: host "+shown+" not found"; got != want {
		t.Errorf("a long host gives %s, not %s", got, want)
	}
	pool := &reporter.Pool{Network: reporter.Network{AllowedHosts: []string{"reporter"}}}
	_, err := pool.Client("endpoint", reporter.Config{BaseURL: "http://" + host, Timeout: time.Second})
	if want := "the operator is not allowed to speak to host " + shown + ": have it added to --allowed-endpoint-hosts"; err == nil || err.Error() != want {
		t.Errorf("a long host that is not allowed gives %v, not %s", err, want)
	}

	url := serveTLS(t, nil)
	name := poolClient(t, newPool(), reporter.Config{BaseURL: url, TLS: reporter.TLS{ServerName: strings.Repeat("n", 500) + "\n\u202e", CABundle: systemAuthority.bundle}, Timeout: 10 * time.Second})
	detailOf(t, name.Check(t.Context()))

	longest := &reporter.Pool{}
	refusedAddress := poolClient(t, longest, reporter.Config{BaseURL: server.URL, AccessManager: &reporter.AccessManager{URL: "http://127.0.0.1"}, Timeout: time.Second})
	_, err = refusedAddress.Login(t.Context())
	detailOf(t, err)
}

// The time until which Reporter is left alone is the same for all who are held because of it.
func TestUntil(t *testing.T) {
	for retryAfter, longest := range map[string]time.Duration{"60": time.Minute, "300": 5 * time.Minute, "86400": 10 * time.Minute} {
		r, server := serve(t)
		r.Inject(reportertest.Fault{Times: 1, Do: reportertest.Answer(429, http.Header{"Retry-After": {retryAfter}}, "")})
		c := clientOf(t, server.URL, "")
		before := time.Now()
		var until time.Time
		for range 3 {
			told := reporter.Until(c.Delete(t.Context(), ledgerID, permitted))
			if until.IsZero() {
				until = told
			}
			if !told.Equal(until) || until.Before(before.Add(longest)) || until.After(time.Now().Add(longest)) {
				t.Errorf("it is until %s, in %s, not %s", told, time.Until(told), longest)
			}
		}
	}
	for _, retryAfter := range []string{"", "59"} {
		r, server := serve(t)
		r.Inject(reportertest.Fault{Do: reportertest.Answer(429, http.Header{"Retry-After": {retryAfter}}, "")})
		if until := reporter.Until(clientOf(t, server.URL, "").Delete(t.Context(), ledgerID, permitted)); !until.IsZero() {
			t.Errorf("with Retry-After %q it is until %s", retryAfter, until)
		}
	}
}

// A date is by the clock of who says it.
func TestRetryAfterByTheServersClock(t *testing.T) {
	for _, test := range []struct {
		date, retryAfter string
		want             time.Duration
	}{
		{"Mon, 01 Jun 2026 12:00:00 GMT", "Mon, 01 Jun 2026 12:00:07 GMT", 7 * time.Second},
		{"Mon, 01 Jun 2020 12:00:00 GMT", "Mon, 01 Jun 2020 12:00:07 GMT", 7 * time.Second},
		{"Mon, 01 Jun 2026 12:00:00 GMT", "Mon, 01 Jun 2026 11:59:59 GMT", 0},
		{"Mon, 01 Jun 2026 12:00:00 GMT", "Wed, 03 Jun 2026 12:00:00 GMT", 0},
		{"Mon, 01 Jun 2026 12:00:00 GMT", "7", 7 * time.Second},
	} {
		r, server := serve(t)
		r.Inject(reportertest.Fault{Do: reportertest.Answer(429, http.Header{"Date": {test.date}, "Retry-After": {test.retryAfter}}, "")})
		err := clientOf(t, server.URL, "").Delete(t.Context(), ledgerID, permitted)
		if got := reporter.RetryAfter(err); got != test.want {
			t.Errorf("%s at %s asks to wait %s, not %s", test.retryAfter, test.date, got, test.want)
		}
	}
}
