// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// Error is any answer but the documented success, or none at all. It holds nothing of a request but its method and path, and
// of a response only what parsed as Reporter's error: bounded, and free of control characters.
type Error struct {
	Method string
	Path   string
	// Status is the HTTP status, 0 where there was no answer.
	Status int
	// Code is Reporter's, such as FET-1021; empty where the body was no error of Reporter's.
	Code    string
	Title   string
	Message string
	// Fields are the names of the fields of the body that Reporter refuses, in order, with commas in between.
	Fields string
	// Err says why there was no answer. Its text is the same each time the same thing happens.
	Err error
	// Login says that it was the login with the Access Manager that failed, and nothing was asked of Reporter.
	Login bool

	kind       kind
	retryAfter time.Duration
	// until is the time at which what the server asked for ends, zero where messages do not name it.
	until time.Time
	// within is the timeout that ran out without an answer, 0 if none did.
	within time.Duration
	// tokenRefused says that a token was refused that a new login may replace.
	tokenRefused bool
	// foreign says that the status means a refusal, but the answer has not the form that Reporter or the Access Manager give theirs.
	foreign bool
	// mayHaveActed says that what acts was sent, and nothing that came back says that it was refused.
	mayHaveActed bool
	// heldBack says that nothing was sent, as Reporter did not answer before; paced, as it has asked to be left alone for a while.
	heldBack, paced bool
	// failed says which operation that was, empty if it is this one.
	failed string
}

// kind is what an error means to the caller. The zero value is the careful one: an answer that proves nothing.
type kind int

const (
	kindUnexpected kind = iota
	kindNotFound
	kindJobInProgress
	kindConflict
	kindInvalidID
	kindUnauthorized
	kindForbidden
	kindRateLimited
	kindUnavailable
	kindWrongPath
	kindNotAllowed
	kindNameTaken
	kindInvalid
	kindDatabaseUnreachable
)

// Detail returns what a person in charge of Reporter can use of the error: at most 256 printable characters, the same each time
// the same thing happens. It says what was not answered, where that keeps others from being sent. Reporter's own message is left out, as
// it may name a request or a time.
func (e *Error) Detail() string {
	detail := e.reason()
	if e.Login || e.kind == kindUnavailable {
		detail = cmp.Or(e.failed, e.operation()) + ": " + detail
	}
	if e.Fields != "" {
		detail += ": " + e.Fields
	}
	return clean(detail)
}

// operation says what the request was for, and nothing of whose it was.
func (e *Error) operation() string {
	switch {
	case e.Login || strings.HasSuffix(e.Path, loginPath):
		return "logging in with the Access Manager"
	case e.Method == http.MethodDelete:
		return "deleting a connection"
	case e.Method == http.MethodPatch:
		return "changing a connection"
	case e.Method == http.MethodPost && strings.HasSuffix(e.Path, connectionsPath):
		return "creating a connection"
	case e.Method == http.MethodPost:
		return "testing a connection"
	case strings.HasSuffix(e.Path, connectionsPath):
		return "listing connections"
	default:
		return "looking up a connection"
	}
}

func (e *Error) reason() string {
	status := strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status)))
	code := e.Code
	if code == strconv.Itoa(e.Status) {
		code = "" // it is there already
	}
	switch {
	case e.Err != nil:
		return e.Err.Error()
	case e.Status == 0:
		return e.Message
	case e.Status >= 300 && e.Status < 400:
		return fmt.Sprintf("%d, a redirect, which is not followed", e.Status)
	case e.Status == http.StatusRequestHeaderFieldsTooLarge:
		return status + ": the token is too long, Reporter takes about 4 KB"
	case e.foreign && e.Login:
		return status + ", but not in the form of the Access Manager's: something else answers in the Access Manager's place"
	case e.foreign:
		return status + ", but not in the form of Reporter's: something else answers in Reporter's place"
	case e.Title != "":
		return strings.Join(strings.Fields(fmt.Sprintf("%d %s (%s)", e.Status, code, e.Title)), " ")
	case code != "":
		return fmt.Sprintf("%d %s", e.Status, code)
	case e.Status == http.StatusOK:
		return "200 with a body that is not the documented one"
	default:
		return status
	}
}

// Until returns the time until which the server asked to be left alone, at most ten minutes from its answer, or takes no more requests;
// zero if it did not say, or that is less than a minute. It stays the same for all errors because of the same answer.
func Until(err error) time.Time {
	var e *Error
	if errors.As(err, &e) {
		return e.until
	}
	return time.Time{}
}

// Error gives method, path and what came back.
func (e *Error) Error() string {
	parts := []string{e.Method + " " + e.Path}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	if e.Status != 0 {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status))))
	}
	for _, part := range []string{e.Code, e.Title, e.Message, e.Fields} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the reason why there was no answer, if there was none.
func (e *Error) Unwrap() error { return e.Err }

// IsNotFound reports 404 with the code FET-1001: Reporter has no live connection of that id for the tenant of the credentials,
// or, where the request was a DELETE, one that it does not delete. No other 404 is one of these.
func IsNotFound(err error) bool { return is(err, kindNotFound) }

// IsJobInProgress reports 409 with the code FET-1021: jobs pending or processing read from the connection.
func IsJobInProgress(err error) bool { return is(err, kindJobInProgress) }

// IsNameTaken reports 409 with the code FET-1002 to a Create or Update: the tenant has a live connection of that configName already, of
// whatever product.
func IsNameTaken(err error) bool { return is(err, kindNameTaken) }

// IsConflict reports a 409 of Reporter's with any other code.
func IsConflict(err error) bool { return is(err, kindConflict) }

// IsInvalidID reports 400 with the code FET-0404, or an id that was not sent because it is no canonical UUID.
func IsInvalidID(err error) bool { return is(err, kindInvalidID) }

// IsInvalid reports a 400 with any other code of Reporter's to a Create, Update or Test, or settings that were not sent as they cannot be.
// The Fields of the Error are the ones that it names, if it does.
func IsInvalid(err error) bool { return is(err, kindInvalid) }

// IsDatabaseUnreachable reports that Reporter answered to a Test that it cannot connect to the database: 500 with that number as code.
func IsDatabaseUnreachable(err error) bool { return is(err, kindDatabaseUnreachable) }

// IsUnauthorized reports a 401 in the form of Reporter's own, which is a short plain text or JSON with a code, and 431: the token is too
// long for Reporter, which takes about 4 KB. Of a login, it reports a 400, 401 or 403 in the form of the Access Manager's own, which is
// that of Reporter's or JSON with an error as in OAuth 2.0 (RFC 6749, section 5.2).
func IsUnauthorized(err error) bool { return is(err, kindUnauthorized) }

// IsTokenRefused reports an error that IsUnauthorized and may be about the one token alone, which came from the Access Manager and is
// forgotten now: a new call logs in anew. It is false where tokens have been refused again and again since one was accepted, so that
// a caller that tries again at once because of it does so once.
func IsTokenRefused(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.tokenRefused
}

// IsForbidden reports a 403 in the form of Reporter's own, which it also answers while its Access Manager fails.
func IsForbidden(err error) bool { return is(err, kindForbidden) }

// IsRateLimited reports 429. RetryAfter may say when to come back.
func IsRateLimited(err error) bool { return is(err, kindRateLimited) }

// IsUnavailable reports that there was no complete answer, or one with a status of 500 or above.
func IsUnavailable(err error) bool { return is(err, kindUnavailable) }

// IsWrongPath reports 404 with a number as code: the service answers, but has no such path.
func IsWrongPath(err error) bool { return is(err, kindWrongPath) }

// IsNotAllowed reports that the host has an address which is never spoken to, so that nothing was sent.
func IsNotAllowed(err error) bool { return is(err, kindNotAllowed) }

// MayHaveActed reports that Reporter may have carried a Delete, Create or Update out, or may yet, although the answer does not say so:
// there was none, or an odd one. Of a Create or Update, only a status from 400 to 499 in the form of Reporter's own is none.
func MayHaveActed(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.mayHaveActed
}

// IsUnanswered reports that no answer came, be it that nothing was sent.
func IsUnanswered(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.kind == kindUnavailable && e.Status == 0
}

// IsHeldBack reports that nothing was sent, as Reporter has not answered before. Pool.Recovered is called when it does again.
func IsHeldBack(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.heldBack
}

// IsPaced reports that nothing was sent, as the server asked to be left alone for a while, or takes no more requests for now. RetryAfter
// says for how long.
func IsPaced(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.paced
}

func is(err error, k kind) bool {
	var e *Error
	return errors.As(err, &e) && e.kind == k
}

// RetryAfter returns how long the answer asks to wait before another attempt (RFC 9110, section 10.2.3), counted from when the error
// was returned; 0 if it does not.
func RetryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.retryAfter
	}
	return 0
}

// asError turns an answer that is not the documented success into an Error. This is the one place where answers get a
// meaning.
func (a *answer) asError() *Error {
	e := &Error{Method: a.method, Path: a.path, Status: a.status}
	if e.retryAfter = parseRetryAfter(a.header.Get("Retry-After"), serverTime(a.header, a.received)); e.retryAfter >= namedWait {
		e.until = a.received.Add(min(e.retryAfter, maxPause))
	}
	var body struct {
		Code    json.RawMessage `json:"code"`
		Title   string          `json:"title"`
		Message string          `json:"message"`
		Detail  string          `json:"detail"` // in place of message in application/problem+json
	}
	numeric := false
	if a.status >= 400 && a.decodeBody(&body) {
		if e.Code, numeric = a.parseCode(body.Code); e.Code != "" {
			e.Title, e.Message = a.clean(body.Title), a.clean(body.Message+body.Detail)
		}
	}
	e.mayHaveActed = a.acts && (a.status < 400 || a.status >= 500 || a.isChange() && !a.isRefusal(body.Code))
	a.classify(e, body.Code, numeric)
	return e
}

// classify says of which kind an error is, by the status and the code that the body has.
func (a *answer) classify(e *Error, code json.RawMessage, numeric bool) {
	switch {
	case a.status == http.StatusNotFound && e.Code == "FET-1001":
		e.kind = kindNotFound
	case a.status == http.StatusNotFound && numeric:
		e.kind = kindWrongPath
	case a.status == http.StatusConflict && e.Code == "FET-1021":
		e.kind = kindJobInProgress
	case a.status == http.StatusConflict && e.Code == "FET-1002" && a.isChange():
		e.kind = kindNameTaken
	case a.status == http.StatusConflict && e.Code != "":
		e.kind = kindConflict
	case a.status == http.StatusBadRequest && e.Code == "FET-0404":
		e.kind = kindInvalidID
	case a.status == http.StatusBadRequest && isCode(code) && a.isChange():
		e.kind, e.Fields = kindInvalid, a.fields()
	case a.status == http.StatusRequestHeaderFieldsTooLarge:
		e.kind = kindUnauthorized
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden:
		switch {
		case !a.isRefusal(code):
			e.foreign = true
		case a.status == http.StatusForbidden:
			e.kind = kindForbidden
		default:
			e.kind, e.tokenRefused = kindUnauthorized, a.tokenRefused
		}
	case a.status == http.StatusTooManyRequests:
		e.kind = kindRateLimited
	case a.status >= 500:
		e.kind = kindUnavailable
	default:
		e.kind = kindUnexpected
	}
}

// isChange says whether a connection was to be created or changed.
func (a *answer) isChange() bool { return a.acts && a.method != http.MethodDelete }

// asLoginError is asError for the answer of an Access Manager. Whatever that has against the request, but for its rate, it has against the
// credentials; what it says of connections means nothing.
func (a *answer) asLoginError() *Error {
	e := a.asError()
	e.Login = true
	switch e.Status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		var body struct { // RFC 6749, section 5.2
			Code        json.RawMessage `json:"code"`
			Error       json.RawMessage `json:"error"`
			Description json.RawMessage `json:"error_description"`
		}
		_ = a.decodeBody(&body) // or nothing is in it
		isOAuth := valueOf[string](body.Error) != ""
		if !isCode(body.Code) && isOAuth {
			if e.Code, _ = a.parseCode(body.Error); e.Code != "" {
				e.Message = a.clean(valueOf[string](body.Description))
			}
		}
		e.kind, e.foreign = kindUnauthorized, false
		if !isCode(body.Code) && !isOAuth && !a.isShortText() {
			e.kind, e.foreign = kindUnexpected, true
		}
	case http.StatusNotFound, http.StatusConflict:
		e.kind = kindUnexpected
	}
	return e
}

// maxShortText bounds the texts that count as a refusal, such as Missing Token, Unauthorized and Forbidden.
const maxShortText = 64

// isShortText says whether the body is a line of plain text, as Reporter and its authentication layer send to refuse a request.
func (a *answer) isShortText() bool {
	text := strings.TrimSpace(string(a.body))
	return a.mediaType() == "text/plain" && text != "" && len(text) <= maxShortText && printable(text) == text && !strings.ContainsAny(text, "<>{}")
}

// isRefusal says whether an answer with a status from 400 to 499 is Reporter's own in form, by the code in it.
func (a *answer) isRefusal(code json.RawMessage) bool {
	isPlain := a.status == http.StatusUnauthorized || a.status == http.StatusForbidden
	return isCode(code) || isPlain && a.isShortText()
}

// fields returns the names of the fields that an error is about: the keys of fields, or in application/problem+json the locations of
// errors.
func (a *answer) fields() string {
	var body struct {
		Fields json.RawMessage `json:"fields"`
		Errors json.RawMessage `json:"errors"`
	}
	_ = a.decodeBody(&body) // or nothing is in it
	named := valueOf[map[string]json.RawMessage](body.Fields)
	names := slices.Collect(maps.Keys(named))
	for _, one := range valueOf[[]struct{ Location string }](body.Errors) {
		names = append(names, strings.TrimPrefix(one.Location, "body."))
	}
	slices.Sort(names)
	return a.clean(strings.Join(slices.Compact(names), ", "))
}

// isCode says whether a field holds what Reporter and the Access Manager send as a code, fit to be shown or not.
func isCode(raw json.RawMessage) bool {
	return valueOf[string](raw) != "" || valueOf[json.Number](raw) != ""
}

// parseCode reads a code, which Reporter sends as a string or, from its router and limits, as a number. One that would have to
// be cleaned is none of Reporter's: it must not become one by that.
func (a *answer) parseCode(raw json.RawMessage) (code string, numeric bool) {
	var number json.Number
	switch {
	case json.Unmarshal(raw, &code) == nil:
	case json.Unmarshal(raw, &number) == nil:
		code, numeric = number.String(), true
	}
	if a.clean(code) != code {
		return "", false
	}
	return code, numeric
}

// longestWait is the longest that a server can mean when it says when to come back.
const longestWait = 24 * time.Hour

// parseRetryAfter reads seconds, of which no more than a day's count, or an HTTP date by a clock that shows now. It returns 0 for anything
// else, for the past, and for a date that is more than a day away: the one or the other clock is wrong.
func parseRetryAfter(value string, now time.Time) time.Duration {
	if value != "" && strings.Trim(value, "0123456789") == "" {
		seconds, _ := strconv.ParseUint(value, 10, 64) //nolint:errcheck // the greatest that there is, if it overflows
		return time.Duration(min(seconds, uint64(longestWait/time.Second))) * time.Second
	}
	if when, err := http.ParseTime(value); err == nil {
		if wait := when.Sub(now); wait > 0 && wait <= longestWait {
			return wait
		}
	}
	return 0
}

// clean makes a text of the answer fit to be shown, also where an authentication layer quotes the token that it refuses.
func (a *answer) clean(text string) string {
	text = printable(text) // first, or what is in between hides a secret
	for _, secret := range a.secrets {
		if secret = printable(secret); secret != "" {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	return clean(text)
}

// clean makes a text of Reporter's fit for a status, an event or a log.
func clean(text string) string {
	text, runes := printable(text), 0
	for i := range text {
		if runes == maxText {
			return text[:i]
		}
		runes++
	}
	return text
}

func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			return r
		}
		return -1
	}, text)
}

// cause says why there was no answer, in words that are the same each time: the errors of package net name ephemeral ports,
// and those of a certificate hold what the server put there.
func (t *transport) cause(err error) error {
	var (
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		remote    *net.OpError
		timeout   net.Error
	)
	var text string
	host := shortened(t.base.Hostname())
	switch {
	case errors.Is(err, errAddressRefused):
		text = fmt.Sprintf("host %s has an address that is not spoken to: a loopback one (but for --allow-loopback-endpoints), "+
			"a link-local or multicast one, or that of a cloud's metadata service", host)
	case errors.As(err, &timeout) && timeout.Timeout():
		return noAnswerWithin(t.timeout)
	case errors.As(err, &dns) && dns.IsNotFound:
		text = fmt.Sprintf("host %s not found", host)
	case errors.As(err, &dns):
		text = fmt.Sprintf("looking up host %s failed", host)
	case errors.As(err, &authority):
		text = "TLS: the certificate is signed by an authority that is not trusted: put the authority's certificate into spec.tls.caBundle"
	case errors.As(err, &hostname) && t.accessManager:
		text = fmt.Sprintf("TLS: the certificate is not valid for %s", host)
	case errors.As(err, &hostname):
		text = fmt.Sprintf("TLS: the certificate is not valid for %s: put a name that it is for into spec.tls.serverName", shortened(cmp.Or(t.serverName, host)))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		text = "TLS: the certificate has expired or is not valid yet"
	case errors.As(err, &invalid):
		text = "TLS: the certificate is not valid"
	case errors.As(err, &record):
		text = "the server does not speak TLS: try http:// in the URL"
	case errors.As(err, &remote) && remote.Op == "remote error": // what crypto/tls calls an alert of the server
		text = "TLS: the server refused the handshake"
	case errors.Is(err, syscall.ECONNREFUSED):
		text = "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		text = "connection reset"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		text = "no route to the host"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		text = "connection closed before the answer was complete"
	default:
		text = "the answer is not HTTP, or the connection failed"
	}
	return errors.New(clean(text))
}

func noAnswerWithin(timeout time.Duration) error { return fmt.Errorf("no answer within %s", timeout) }

// maxHost bounds the host names in texts, so that what the text says after one is not cut off.
const maxHost = 63

// shortened makes a host name fit to be part of a text.
func shortened(host string) string {
	host = printable(host)
	if runes := []rune(host); len(runes) > maxHost {
		return string(runes[:maxHost-1]) + "…"
	}
	return host
}
