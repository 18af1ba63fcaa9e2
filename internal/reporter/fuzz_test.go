// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/oauth2"
)

// said answers every request with the same.
type said struct {
	status int
	header http.Header
	body   []byte
}

func (s said) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: s.status, Header: s.header, Body: io.NopCloser(bytes.NewReader(s.body))}, nil
}

func (s said) transport(t *testing.T) transport {
	t.Helper()
	base, err := parseBaseURL("http://reporter.internal")
	if err != nil {
		t.Fatal(err)
	}
	return transport{base: base, timeout: time.Minute, roundTripper: s, pace: &pace{}}
}

// isJSON is what may be believed: one of two media types, whatever their case and parameters.
func (s said) isJSON() bool {
	media, _, _ := strings.Cut(s.header.Get("Content-Type"), ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return len(s.body) <= 65536 && json.Valid(s.body) && (media == "application/json" || media == "application/problem+json")
}

// has says whether the body is an object that has the value in that field, be it one of several of the name.
func (s said) has(field string, value any) bool {
	decoder := json.NewDecoder(bytes.NewReader(s.body))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return false
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return false
		}
		var got any
		if err := decoder.Decode(&got); err != nil {
			return false
		}
		if name, _ := key.(string); strings.EqualFold(name, field) && got == value {
			return true
		}
	}
	return false
}

// fit says whether a text may be shown: it is printable, and of 256 runes at most.
func fit(text string) bool {
	return utf8.RuneCountInString(text) <= 256 && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == '\ufffd' })
}

func checkError(t *testing.T, err error, secret string) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *Error", err)
	}
	if !fit(e.Code) || !fit(e.Title) || !fit(e.Message) || !fit(e.Fields) || !fit(e.Detail()) || strings.Contains(e.Detail(), secret) {
		t.Errorf("it says what may not be shown: %q, %q, %q, %q", e.Code, e.Title, e.Message, e.Fields)
	}
	if text := e.Error(); strings.Contains(text, secret) || strings.ContainsFunc(text, unicode.IsControl) || len(text) > 4096 {
		t.Errorf("its text may not be shown: %q", text)
	}
	if e.retryAfter < 0 || e.retryAfter > 24*time.Hour {
		t.Errorf("it asks to wait %s", e.retryAfter)
	}
	return e
}

var answers = []struct {
	status                        int
	contentType, retryAfter, body string
}{
	{200, "application/json", "", `{"id":"019996b8-f3d1-7d2b-a192-6e91464d82fc","configName":"ledger-db","port":5432,"createdAt":"2026-06-01T12:00:00Z"}`},
	{200, "application/json; charset=utf-8", "", `{"items":[{}],"page":1,"limit":1,"total":1}`},
	{200, "application/json", "", `{"accessToken":"a.b.c","tokenType":"Bearer","expiresIn":3600}`},
	{200, "application/json", "", `{"accessToken":"a.b.c\n","expiresIn":9223372036854775807}`},
	{200, "text/html", "", `<form method=post>`},
	{204, "", "", ""},
	{404, "application/json", "", `{"code":"FET-1001","title":"Entity Not Found","message":"No such connection."}`},
	{404, "application/problem+json", "", `{"code":"FET-1001","detail":"secret-token \u001b[31m"}`},
	{404, "application/json", "", `{"code":404,"title":"request_failed"}`},
	{404, "application/json", "", `{"code":"FET-1001","CODE":"FET-1080"}`},
	{404, "application/json", "", `{"code":["FET-1001"]}`},
	{404, "application/json", "", "{\"code\":\"FET-1001\xff\"}"},
	{404, "text/plain", "", `{"code":"FET-1001"}`},
	{409, "application/json", "", `{"code":"FET-1021","title":"Job In Progress"}`},
	{400, "application/json", "", `{"code":"FET-0404"}`},
	{401, "text/plain; charset=utf-8", "", "Missing Token"},
	{403, "application/json", "", `{"code":"secret-token","title":"secret\u200b-token"}`},
	{429, "application/json", "7", `{"code":429,"title":"request_failed"}`},
	{503, "application/json", "Mon, 01 Jun 2026 12:00:07 GMT", `{"code":"FET-0003"}`},
	{302, "", "", ""},
	{431, "", "", ""},
	{201, "application/json", "", `{"id":"019996b8-f3d1-7d2b-a192-6e91464d82fc","configName":"ledger-db","metadata":{"owner":"secret-token"},"ssl":{"mode":"require"}}`},
	{200, "application/json", "", `{"items":[{"id":"019996b8-f3d1-7d2b-a192-6e91464d82fc","metadata":{"owner":"ours"}}],"page":1,"limit":20}`},
	{200, "application/json", "", `{"status":"success","message":"Connection successful","latencyMs":1}`},
	{409, "application/json", "", `{"code":"FET-1002","title":"Entity Conflict"}`},
	{400, "application/json", "", `{"code":"FET-0402","fields":{"ssl.ca":"secret-token is required","host":7}}`},
	{400, "application/problem+json", "", `{"code":"FET-0402","errors":[{"location":"body.port"},{"location":"body.secret-token\u0007"}]}`},
	{500, "application/json", "", `{"code":500,"title":"request_failed"}`},
}

// Whatever comes back, only the documented answers are successes, and only one means that a connection is not there.
func FuzzAnswer(f *testing.F) {
	for _, a := range answers {
		f.Add(a.status, a.contentType, a.retryAfter, []byte(a.body))
	}
	f.Fuzz(func(t *testing.T, status int, contentType, retryAfter string, body []byte) {
		answer := said{status, http.Header{"Content-Type": {contentType}, "Retry-After": {retryAfter}}, body}
		for _, method := range []string{"Get", "Delete", "Check", "Create", "Update", "List", "Test"} {
			c := &Client{transport: answer.transport(t), session: &session{token: &oauth2.Token{AccessToken: "secret-token"}}, tests: make(chan struct{}, 1)}
			c.outage = &outage{tried: func() bool { return false }}
			var err error
			success := status == 200 && answer.isJSON()
			var got *Connection
			acts, isChange := false, method == "Create" || method == "Update"
			settings := Settings{ConfigName: new("ledger-db"), Password: new(NewSecret("secret-token"))}
			switch method {
			case "Get":
				got, err = c.Get(t.Context(), ledgerID)
				success = success && answer.has("id", ledgerID)
			case "Update":
				got, err = c.Update(t.Context(), ledgerID, settings, permitted)
				success, acts = success && answer.has("id", ledgerID), true
			case "Create":
				got, err = c.Create(t.Context(), "billing", settings, func(context.Context, Tenant) error { return nil })
				success, acts = status == 201 && answer.isJSON() && answer.has("configName", "ledger-db"), true
			case "List":
				var found []*Connection
				found, err = c.List(t.Context(), Query{MetadataKey: "owner", MetadataValue: "ours"})
				for _, got = range found {
					if value := string(got.Settings.Metadata["owner"]); !canonicalUUID.MatchString(got.ID) || value == "" {
						t.Errorf("it finds %+v", got)
					}
				}
				success = status == 200 && answer.has("page", 1.0) && answer.has("limit", 20.0)
			case "Test":
				err = c.Test(t.Context(), ledgerID)
				success = success && answer.has("status", "success")
			case "Delete":
				err = c.Delete(t.Context(), ledgerID, permitted)
				success, acts = status == 204, true
			case "Check":
				err = c.Check(t.Context())
			}
			if got != nil {
				for _, text := range []string{got.ProductName, got.ConfigName, got.Type, got.Host, got.DatabaseName} {
					if !fit(text) || strings.Contains(text, "secret-token") {
						t.Errorf("the connection has what may not be shown: %q", text)
					}
				}
			}
			if err == nil {
				if !success {
					t.Errorf("%s takes %d %q for success", method, status, body)
				}
				continue
			}
			e := checkError(t, err, "secret-token")
			if isRefusal := status >= 400 && status < 500 && (method == "Delete" || status == 401 || status == 403 || answer.isJSON()); acts && !isRefusal && !MayHaveActed(err) {
				t.Errorf("%s takes %d %q for a refusal", method, status, body)
			}
			if e.Login || e.Status != status || e.Err != nil {
				t.Errorf("%s gives %+v", method, *e)
			}
			code := func(status int, code string) bool {
				return e.Status == status && answer.isJSON() && answer.has("code", code)
			}
			for kind, possible := range map[kind]bool{
				kindNotFound:            code(404, "FET-1001"),
				kindJobInProgress:       code(409, "FET-1021"),
				kindInvalidID:           code(400, "FET-0404"),
				kindConflict:            status == 409 && answer.isJSON(),
				kindNameTaken:           isChange && code(409, "FET-1002"),
				kindInvalid:             status == 400 && answer.isJSON() && (isChange || method == "Test"),
				kindDatabaseUnreachable: status == 500 && answer.isJSON() && method == "Test",
				kindWrongPath:           status == 404 && answer.isJSON(),
				kindUnauthorized:        status == 401 || status == 431,
				kindForbidden:           status == 403,
				kindRateLimited:         status == 429,
				kindUnavailable:         status >= 500,
				kindNotAllowed:          false,
			} {
				if e.kind == kind && !possible {
					t.Errorf("%s takes %d %q for what it is not: %d", method, status, body, kind)
				}
			}
		}
	})
}

// Whatever is in the metadata of a connection, it is written back as it was; and any text is sent as it is, or not at all.
func FuzzSettings(f *testing.F) {
	for _, seed := range [][2]string{{`{"owner":"ours","n":9007199254740993,"deep":{"html":"<&>\u2028","list":[1.0,null,true]}}`, "hunter2"}, {`{"a":1,"a":2}`, "h\"u\\n\n\x00"},
		{`{"":{}}`, "\xff"}, {`null`, ""}, {`[]`, "\xed\xa0\x80"}, {`{"a":1e400}`, "é"}, {"{\"\xff\":\"\xff\"}", "\u2028"}} {
		f.Add([]byte(seed[0]), seed[1])
	}
	f.Fuzz(func(t *testing.T, metadata []byte, text string) {
		shown := (&answer{}).connection(&object{Metadata: metadata}).Settings
		written := Settings{Metadata: shown.Metadata, UserName: &text, Password: new(NewSecret(text)), SSL: &SSL{CA: text, Key: new(NewSecret(text))}}
		body, refused := written.body()
		if (refused == "") != utf8.ValidString(text) {
			t.Fatalf("with %q, %q is refused", text, refused)
		}
		if refused != "" {
			return
		}
		var sent struct {
			UserName, Password string
			SSL                struct{ CA, Key string }
			Metadata           json.RawMessage
		}
		if err := json.Unmarshal(body, &sent); err != nil || sent.UserName != text || sent.Password != text || sent.SSL.CA != text || sent.SSL.Key != text {
			t.Errorf("%q is sent in %s, %v", text, body, err)
		}
		exactly := func(data []byte) (value any) {
			decoder := json.NewDecoder(bytes.NewReader(data))
			decoder.UseNumber()
			if err := decoder.Decode(&value); err != nil && len(data) > 0 {
				t.Fatalf("%q: %v", data, err)
			}
			return value
		}
		if shown.Metadata != nil && !reflect.DeepEqual(exactly(sent.Metadata), exactly(metadata)) {
			t.Errorf("the metadata %s is sent as %s", metadata, sent.Metadata)
		}
	})
}

// Whatever an Access Manager answers, what comes out is a token that can be sent, or an error that means nothing about connections.
func FuzzLogin(f *testing.F) {
	for _, a := range answers {
		f.Add(a.status, a.contentType, []byte(a.body))
	}
	f.Fuzz(func(t *testing.T, status int, contentType string, body []byte) {
		answer := said{status, http.Header{"Content-Type": {contentType}}, body}
		began := time.Now()
		login := &accessManagerLogin{transport: answer.transport(t), clientID: "operator", clientSecret: "secret-token"}
		token, err := login.obtain("", time.Minute, false)
		if err != nil {
			e := checkError(t, err, "secret-token")
			possible := []kind{kindUnexpected, kindUnauthorized, kindRateLimited, kindUnavailable}
			if !e.Login || e.Err != nil || e.Status != status || !slices.Contains(possible, e.kind) {
				t.Errorf("it gives %+v", *e)
			}
			return
		}
		if status != 200 || !answer.isJSON() || !answer.has("accessToken", token.AccessToken) {
			t.Errorf("it takes %d %q for a token", status, body)
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://reporter", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token.AccessToken)
		if err := request.Write(io.Discard); err != nil || token.AccessToken == "" || strings.ContainsAny(token.AccessToken, "\r\n\x00") {
			t.Errorf("the token %q cannot be sent: %v", token.AccessToken, err)
		}
		if !token.Expiry.IsZero() && (token.Expiry.Before(began) || token.Expiry.After(time.Now().Add(24*time.Hour))) {
			t.Errorf("it ends in %s", time.Until(token.Expiry))
		}
		if before := renewal(token); token.ExpiresIn > 0 && (before < 0 || before > time.Minute) {
			t.Errorf("it is renewed %s before its end", before)
		}
	})
}

var digits = regexp.MustCompile(`^[0-9]+$`)

// No header makes anybody wait for longer than a day, or for less than nothing.
func FuzzRetryAfter(f *testing.F) {
	for _, value := range []string{"", "0", "7", "007", "-7", "+7", "7.5", "1e3", "0x7", "86401", "9223372037", "99999999999999999999", "99999999999999999999s", "soon",
		"Mon, 01 Jun 2026 12:00:07 GMT", "Monday, 01-Jun-26 12:00:07 GMT", "Mon Jun  1 12:00:07 2026", "Thu, 01 Jan 0001 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got := parseRetryAfter(value, noon)
		if got < 0 || got > 24*time.Hour {
			t.Errorf("%q gives %s", value, got)
		}
		if digits.MatchString(value) {
			seconds, _ := new(big.Int).SetString(value, 10)
			want := 24 * time.Hour
			if seconds.Cmp(big.NewInt(86400)) < 0 {
				want = time.Duration(seconds.Int64()) * time.Second
			}
			if got != want {
				t.Errorf("%q gives %s, not %s", value, got, want)
			}
		} else if _, err := http.ParseTime(value); err != nil && got != 0 {
			t.Errorf("%q, which is neither seconds nor a date, gives %s", value, got)
		}
	})
}

// No header stops anybody for longer than what bounds a pause, nor has more sent than it says.
func FuzzRateLimit(f *testing.F) {
	for _, told := range [][3]string{{"0", "1748779260", "Sun, 01 Jun 2025 12:00:00 GMT"}, {"499", "9223372036854775807", ""}, {"-1", "60", "soon"},
		{"1e3", "0x7", ""}, {"99999999999999999999", "-9223372036854775808", "Fri, 31 Dec 9999 23:59:59 GMT"}, {"", "", ""}} {
		f.Add(told[0], told[1], told[2])
	}
	f.Fuzz(func(t *testing.T, remaining, reset, date string) {
		l := allowance{underWay: 1}
		l.giveBack(http.Header{"X-Ratelimit-Remaining": {remaining}, "X-Ratelimit-Reset": {reset}, "Date": {date}}, noon)
		held := l.take("GET", "/", noon)
		if held != nil && (held.kind != kindRateLimited || held.retryAfter <= 0 || held.retryAfter > 10*time.Minute+time.Second || strings.Trim(remaining, "+0") != "") {
			t.Errorf("%q until %q at %q: held with %+v", remaining, reset, date, *held)
		}
	})
}

// A URL that is taken has one form, which leads to the same place again, and holds nothing but a place.
func FuzzBaseURL(f *testing.F) {
	for _, raw := range []string{"", "http://reporter.internal:4006", "HTTPS://Gateway.EXAMPLE.com:443/a//b/./c/../d/", "http://me:hunter2@reporter",
		"http://reporter?key=hunter2", "http://reporter/#hunter2", "http://[FD00::A]:80/", "http://[fe80::1%25eth0]:80/", "http://reporter:", "http://:80",
		"http://a%20b", "http://%ff", "http://%E4%B8%96", "http://reporter/%2e%2e/%2F/a%3Fb%23c", "http://reporter/..", "http://reporter/a%00b", "http:///x",
		"http://reporter/my reporter", "http://reporter:80:80", "http://repörter", "http://reporter/%C3%28",
		"http://\u009c", "http://[fe80::1%25%01]"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		base, err := parseBaseURL(raw)
		if err != nil {
			if !slices.Contains([]string{
				"the URL cannot be parsed: write it like http://reporter.internal:4006",
				"the URL must start with http:// or https://",
				"the URL must name a host, as in http://reporter.internal:4006",
				"the URL must not contain user info: put credentials into a Secret",
				"the URL must not contain a query or a fragment",
				"the URL must name its host in ASCII: write an international name as xn--abc",
			}, err.Error()) {
				t.Errorf("%q is refused with %q", raw, err)
			}
			return
		}
		text := base.String()
		again, err := parseBaseURL(text)
		if err != nil || again.String() != text {
			t.Fatalf("%q becomes %q, and that %v, %v", raw, text, again, err)
		}
		if base.Scheme != "http" && base.Scheme != "https" || base.User != nil || base.RawQuery != "" || base.ForceQuery || base.Fragment != "" || base.Opaque != "" ||
			base.Host != strings.ToLower(base.Host) || strings.HasSuffix(text, "/") || strings.ContainsAny(text, "?#\\") || strings.Contains(base.Host, "@") {
			t.Errorf("%q becomes %+v", raw, *base)
		}
		if host := base.Hostname(); host == "" || printable(host) != host {
			t.Errorf("%q leads to a host that may not be shown: %q", raw, host)
		}
		c := transport{base: base}
		target := c.at("/v1/management/connections")
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target.String(), nil)
		if err != nil || request.URL.Host != base.Host || request.URL.Path != base.Path+"/v1/management/connections" || target.String() != text+"/v1/management/connections" {
			t.Errorf("%q is called at %v, %v", raw, target, err)
		}
		if strings.ContainsFunc(target.EscapedPath(), func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%q has a path that may not be shown: %q", raw, target.EscapedPath())
		}
	})
}

// Whatever a token is, the tenant read from it may be shown; and a tenant that is in one is found.
func FuzzTenant(f *testing.F) {
	for _, seed := range [][2]string{{"", ""}, {"a.b.c", "acme"}, {"eyJhbGciOiJub25lIn0.eyJ0ZW5hbnRJZCI6ImFjbWUifQ.", "a\nb"}, {"..", "\xff\u202e"}, {"a.e30.c", strings.Repeat("é", 300)}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, token, tenant string) {
		if got := tenantOf(token); !fit(got.ID) || got.ID != "" && !got.Readable {
			t.Errorf("the tenant of %q may not be shown: %+v", token, got)
		}
		claims, err := json.Marshal(map[string]any{"tenantId": tenant, "exp": 1780315200})
		if err != nil {
			t.Fatal(err)
		}
		encode := base64.RawURLEncoding.EncodeToString
		want := Tenant{}
		if fit(tenant) {
			want = Tenant{ID: tenant, Readable: true}
		}
		written := strings.ToValidUTF8(tenant, "\ufffd") // as JSON has it
		if got := tenantOf(encode([]byte(token)) + "." + encode(claims) + "."); got != want && fit(written) == fit(tenant) {
			t.Errorf("the tenant is %+v, not %+v", got, want)
		}
	})
}

// What was cleaned may be shown, stays as it is, and does not hold the secret.
func FuzzClean(f *testing.F) {
	for _, seed := range [][2]string{{"", ""}, {"Bad Bearer hunter2", "hunter2"}, {"hun\u200bter2", "hunter2"}, {"hun\nter2", "hun\nter2"}, {strings.Repeat("é", 300), "é"},
		{"\xff\xc3(\ufffd", "\xff"}, {"a\u202eb\x1b[31m", "b["}, {"aaa", "aa"}, {"\ufffd", "\x11"}, {strings.Repeat("x", 255) + "secret", "secret"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, secret string) {
		cleaned := clean(text)
		if !fit(cleaned) || clean(cleaned) != cleaned {
			t.Errorf("%q becomes %q", text, cleaned)
		}
		if fit(text) && cleaned != text {
			t.Errorf("%q, which may be shown, becomes %q", text, cleaned)
		}
		masked := (&answer{secrets: []string{secret}}).clean(text)
		if !fit(masked) {
			t.Errorf("%q becomes %q", text, masked)
		}
		if hidden := printable(secret); hidden != "" && !strings.Contains(hidden, "…") && strings.Contains(masked, hidden) {
			t.Errorf("%q is in %q", secret, masked)
		}
	})
}
