// SPDX-License-Identifier: Apache-2.0

package reporter_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// What cannot be a token is not sent. The error says what to leave out, and shows nothing of it.
func TestTokensThatCannotBeRight(t *testing.T) {
	const (
		jwt     = "eyJhbGciOiJub25lIn0.eyJ0ZW5hbnRJZCI6ImFjbWUifQ.hunter2"
		bom     = "the token contains a byte order mark (BOM), which editors put at the beginning of a file: save it without"
		scheme  = `the token has "Bearer" or the name of a header in front of it: leave that out`
		quotes  = "the token is in quotes: leave them out"
		space   = "the token contains white space or a line end: leave it out"
		header  = "the token contains characters that no HTTP header may carry"
		encoded = "the token is encoded in base64 once more: leave that out, as with stringData in place of data in a Secret"
	)
	for _, test := range []struct{ name, token, want string }{
		{"a scheme", "Bearer " + jwt, scheme},
		{"a scheme in lower case", "bearer hunter2", scheme},
		{"a header", "Authorization: Bearer hunter2", scheme},
		{"a byte order mark", "\ufeff" + jwt, bom},
		{"a byte order mark in the middle", "hunter2\ufeffhunter2", bom},
		{"double quotes", `"` + jwt + `"`, quotes},
		{"single quotes", "'hunter2'", quotes},
		{"a quote at the end", `hunter2"`, quotes},
		{"a quote alone", `"`, quotes},
		{"a space", "hunter2 hunter2", space},
		{"a tab", "hunter2\thunter2", space},
		{"lines", "hunter2\nHost: elsewhere", space},
		{"a line end", "hunter2\r", space},
		{"a space of Unicode", "hunter2\u00a0hunter2", space},
		{"a zero byte", "hunter2\x00", header},
		{"DEL", "hunter2\x7f", header},
		{"letters outside of ASCII", "hünter2", header},
		{"invalid UTF-8", "hunter2\xff", header},
		{"base64 of a JWT", base64.StdEncoding.EncodeToString([]byte(jwt)), encoded},
		{"base64 of a JWT and a line end", base64.StdEncoding.EncodeToString([]byte(jwt + "\n")), encoded},
		{"base64 of a JWT without padding", base64.RawStdEncoding.EncodeToString([]byte(jwt)), encoded},
		{"base64url of a JWT", base64.URLEncoding.EncodeToString([]byte("eyJ~~~." + jwt[20:] + "??")), encoded},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := newPool().Client("endpoint", reporter.Config{BaseURL: "http://reporter", Token: test.token, Timeout: time.Second})
			if err == nil || err.Error() != test.want {
				t.Errorf("it gives %v, not %s", err, test.want)
			}
		})
	}
	for _, token := range []string{
		"", jwt, "hunter2", "a.b-c_d~e+f/g==", "eyJhbGciOiJub25lIn0", "bearer", "bearer-7", "a\"b", "lUFRYxpY0r.x",
		base64.StdEncoding.EncodeToString([]byte("hunter2.hunter2.hunter2")), base64.StdEncoding.EncodeToString([]byte("eyJ.hunter2")),
	} {
		if _, err := newPool().Client("endpoint", reporter.Config{BaseURL: "http://reporter", Token: token, Timeout: time.Second}); err != nil {
			t.Errorf("%q gives %v", token, err)
		}
	}
}

// Of what a login takes less is known, but no byte order mark belongs to it.
func TestClientCredentialsThatCannotBeRight(t *testing.T) {
	const want = "the client's id or secret contains a byte order mark (BOM), which editors put at the beginning of a file: save it without"
	for _, manager := range []reporter.AccessManager{{ClientID: "\ufeffoperator"}, {ClientSecret: "\ufeffhunter2"}} {
		manager.URL = "http://manager"
		_, err := newPool().Client("endpoint", reporter.Config{BaseURL: "http://reporter", AccessManager: &manager, Timeout: time.Second})
		if err == nil || err.Error() != want {
			t.Errorf("%+v gives %v, not %s", manager, err, want)
		}
	}
}

// What hides certificates of a bundle is named, also where others are seen.
func TestBundlesWithHiddenCertificates(t *testing.T) {
	const (
		bom      = "the CA bundle contains a byte order mark (BOM), which hides the certificate after it: save it without"
		indented = "the CA bundle has white space in front of -----BEGIN CERTIFICATE----- or -----END CERTIFICATE-----, which hides the certificate: leave the indentation out"
	)
	one, two := mustNewAuthority(t).bundle, mustNewAuthority(t).bundle
	indent := func(bundle string) string {
		return "  " + strings.ReplaceAll(strings.TrimSpace(bundle), "\n", "\n  ") + "\n"
	}
	for name, test := range map[string]struct{ bundle, want string }{
		"a byte order mark":            {"\ufeff" + one, bom},
		"one between two certificates": {one + "\ufeff" + two, bom},
		"indentation":                  {indent(one), indented},
		"tabs":                         {strings.ReplaceAll(indent(one), "  ", "\t"), indented},
		"indentation of the second":    {one + indent(two), indented},
		"indentation of the end":       {strings.Replace(one, "-----END", " -----END", 1), indented},
	} {
		pool := newPool()
		for range 2 { // what was refused is not remembered as good
			_, err := pool.Client("endpoint", reporter.Config{BaseURL: "https://reporter.internal", TLS: reporter.TLS{CABundle: test.bundle}, Timeout: time.Second})
			if err == nil || err.Error() != test.want {
				t.Errorf("%s gives %v, not %s", name, err, test.want)
			}
		}
	}
	for name, bundle := range map[string]string{"two": one + two, "a comment": "# authorities\n\n  of a test\n" + one, "line ends of Windows": strings.ReplaceAll(one, "\n", "\r\n")} {
		if _, err := newPool().Client("endpoint", reporter.Config{BaseURL: "https://reporter.internal", TLS: reporter.TLS{CABundle: bundle}, Timeout: time.Second}); err != nil {
			t.Errorf("%s gives %v", name, err)
		}
	}
}
