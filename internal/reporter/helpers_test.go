// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"crypto/x509"
	"net"
	"net/url"
	"os"
	"syscall"
	"testing"
	"time"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func TestParseRetryAfterDates(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"Mon, 01 Jun 2026 12:00:07 GMT":  7 * time.Second,
		"Monday, 01-Jun-26 12:00:07 GMT": 7 * time.Second,
		"Mon Jun  1 12:00:07 2026":       7 * time.Second,
		"Mon, 01 Jun 2026 12:00:00 GMT":  0,
		"Mon, 01 Jun 2026 11:59:59 GMT":  0,
		"Tue, 02 Jun 2026 12:00:00 GMT":  24 * time.Hour,
		"Tue, 02 Jun 2026 12:00:01 GMT":  0,
		"Mon, 01 Jun 2026 12:00:07":      0,
		"Mon, 01 Jun 2026 14:00:07 CEST": 0,
	} {
		if got := parseRetryAfter(value, noon); got != want {
			t.Errorf("%q gives %s, not %s", value, got, want)
		}
	}
}

// What no server of a test can bring about; the rest is in TestNoAnswer.
func TestCauses(t *testing.T) {
	c := &transport{base: &url.URL{Host: "reporter.internal:4006"}, timeout: 10 * time.Second}
	dialling := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 49152}, Err: os.NewSyscallError("connect", err)}
	}
	for _, test := range []struct {
		err  error
		text string
	}{
		{&net.DNSError{Err: "server misbehaving", Name: "reporter.internal", Server: "10.0.0.10:53", IsTemporary: true}, "looking up host reporter.internal failed"},
		{&net.DNSError{Err: "i/o timeout", Name: "reporter.internal", Server: "10.0.0.10:53", IsTimeout: true}, "no answer within 10s"},
		{dialling(syscall.EHOSTUNREACH), "no route to the host"},
		{dialling(syscall.ENETUNREACH), "no route to the host"},
		{dialling(syscall.ETIMEDOUT), "no answer within 10s"},
		{dialling(syscall.EACCES), "the answer is not HTTP, or the connection failed"},
		{&net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)}, "connection reset"},
		{x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign, Detail: "secret"}, "TLS: the certificate is not valid"},
	} {
		wrapped := &url.Error{Op: "Delete", URL: "http://reporter.internal:4006", Err: test.err}
		if got := c.cause(wrapped).Error(); got != test.text {
			t.Errorf("%v becomes %q, not %q", test.err, got, test.text)
		}
	}
}

// On whatever day, the windows of a list follow each other from tomorrow back to the day asked for, and none is longer than what Reporter
// takes for a month. A clock that is wrong leaves some to ask for: what was not asked for is not absent.
func TestMonths(t *testing.T) {
	service := time.Date(2025, 11, 1, 0, 0, 0, 0, time.UTC)
	for now := time.Date(2027, 1, 1, 23, 59, 59, 0, time.UTC); now.Year() < 2029; now = now.AddDate(0, 0, 1) {
		for since, want := range map[time.Time]time.Time{
			{}:                    service,
			now:                   now.AddDate(0, 0, -1),
			now.AddDate(0, 0, -7): now.AddDate(0, 0, -7),
			now.AddDate(0, 3, 0):  now.AddDate(0, 0, -1),
			now.AddDate(0, -1, 0).In(time.FixedZone("", -3600)): now.AddDate(0, -1, 0),
		} {
			var oldest, next time.Time
			for from, to := range (&Query{Since: since}).months(now) {
				if !from.Before(to) || from.Before(to.AddDate(0, -1, 0)) || !next.IsZero() && !to.Equal(next) || next.IsZero() && !to.After(now.AddDate(0, 0, 1)) {
					t.Fatalf("at %s, since %s: the window from %s to %s, before that of %s", now, since, from, to, next)
				}
				oldest, next = from, from
			}
			if !oldest.Equal(want.Truncate(24 * time.Hour)) {
				t.Fatalf("at %s, since %s: the oldest window begins %s, not %s", now, since, oldest, want)
			}
		}
	}
	epoch := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	windows := 0
	for range (&Query{}).months(epoch) {
		windows++
	}
	if windows != 13 {
		t.Errorf("with a clock at its beginning, there are %d windows, not 13", windows)
	}
}

// A Reporter that is to be left alone, minute by minute.
func TestPause(t *testing.T) {
	var p pause
	tell := func(at time.Duration, status int, retryAfter time.Duration) {
		p.begin(&Error{Method: "GET", Path: "/told", Status: status, Code: "FET-0099", kind: kindRateLimited, retryAfter: retryAfter, until: noon.Add(at + retryAfter)}, noon.Add(at))
	}
	left := func(at, want time.Duration, status int) {
		t.Helper()
		held := p.hold("DELETE", "/asked", noon.Add(at))
		switch {
		case want == 0 && held != nil:
			t.Errorf("at %s it is held: %+v", at, *held)
		case want == 0:
		case held == nil:
			t.Errorf("at %s it is not held", at)
		case held.until.IsZero() || *held != Error{Method: "DELETE", Path: "/asked", Status: status, Code: "FET-0099", kind: kindRateLimited, retryAfter: want, until: held.until, failed: "looking up a connection", paced: true}:
			t.Errorf("at %s it is held with %+v, not for %s", at, *held, want)
		}
	}

	left(0, 0, 0)
	tell(0, 429, 0) // without Retry-After
	left(0, 0, 0)

	tell(0, 429, time.Minute)
	left(0, time.Minute, 429)
	left(59*time.Second, time.Second, 429)
	left(time.Minute-1, 1, 429)
	left(time.Minute, 0, 0)
	left(-time.Second, time.Minute+time.Second, 429) // a clock that was set back

	// The newest word counts, as an answer that was under way may bring it; one that names no time takes nothing back.
	tell(30*time.Second, 503, time.Minute)
	left(60*time.Second, 30*time.Second, 503)
	tell(60*time.Second, 429, 0)
	left(60*time.Second, 30*time.Second, 503)
	tell(60*time.Second, 429, time.Second)
	left(60*time.Second, time.Second, 429)
	left(61*time.Second, 0, 0)

	// No word of Reporter's stops the operator for longer than 10 minutes.
	tell(time.Hour, 429, 24*time.Hour)
	left(time.Hour, 10*time.Minute, 429)
	left(time.Hour+10*time.Minute, 0, 0)
}

// What is held is a copy: whoever changes it changes nothing for the next.
func TestPauseHandsOutCopies(t *testing.T) {
	var p pause
	told := &Error{Status: 429, retryAfter: time.Minute}
	p.begin(told, noon)
	told.Status = 1
	p.hold("GET", "/", noon).Status = 2
	if got := p.hold("GET", "/", noon).Status; got != 429 {
		t.Errorf("the status is %d, not 429", got)
	}
}
