// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	// maxBody bounds what is read of an answer. Reporter's own are below 4 KiB, but for its lists.
	maxBody = 64 << 10

	// maxText bounds a text that comes from outside, in runes.
	maxText = 256

	// requestIDHeader has an id of its own for each request, for the logs of both sides.
	requestIDHeader = "X-Request-ID"
)

// transport sends requests to one base URL and reads the answers, within what the server allows. It follows no redirects: those
// would carry credentials to where nobody meant them to go, and their targets prove nothing.
type transport struct {
	base         *url.URL
	timeout      time.Duration
	roundTripper http.RoundTripper
	pace         *pace
	// slots holds an element for each request under way, and so bounds them. Nil means no bound.
	slots chan struct{}
	// outage is the circuit breaker, nil where there is none.
	outage *outage
	// serverName is the name that the certificate has to be for, that of the base URL if it is empty.
	serverName string
	// exchanged, if it is not nil, is told of each request, with the user for whom it was sent.
	exchanged func(context.Context, Exchange)
	user      string
	// accessManager says that the URL is that of an Access Manager, to which spec.tls.serverName does not apply.
	accessManager bool
}

// request is a request before it has a URL.
type request struct {
	method, path string
	query        url.Values
	token        string   // sent as a bearer token
	productName  string   // sent in a header of Reporter's, unless it is empty
	body         []byte   // JSON
	secrets      []string // in the body, which no text of the answer may show
	maxBody      int64    // bounds what is read of the answer: maxBody if it is 0
	// probe says that the request is a Check's, and sent in an outage too, as it is to find out whether that has ended.
	probe bool
	// aside says that what comes of the request says nothing of whether the server answers, and how many requests it takes.
	aside bool
	// permit is nil for what does not act.
	permit Permit
	// sendWithin bounds the time from then to the last byte of the request, if it is not 0.
	sendWithin time.Duration
}

// answer is a response that was read to its end, or to one byte past its bound.
type answer struct {
	method, path string
	token        string   // what was sent as one
	secrets      []string // what was sent and must not be shown where the body repeats it
	acts         bool     // says that the request was one that acts
	maxBody      int64
	status       int
	header       http.Header
	body         []byte
	received     time.Time
	// tokenRefused says that the answer refuses a token that a new login may replace.
	tokenRefused bool
}

// at returns the URL of a path of the API. The base URL has no slash at its end, and its path is not escaped.
func (t *transport) at(path string) *url.URL {
	target := *t.base
	target.Path += path
	return &target
}

// send sends one request and reads the answer. The order of what comes before it matters: everything that may wait or refuse comes
// first, then the connection, then permit, and nothing between that and the request. The error is that of permit, or an *Error that says that
// there is no answer.
func (t *transport) send(ctx context.Context, r request) (*answer, error) {
	target := t.at(r.path)
	target.RawQuery = r.query.Encode()
	path := clean(target.EscapedPath())
	httpRequest, err := http.NewRequestWithContext(ctx, r.method, target.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, &Error{Method: r.method, Path: path, kind: kindUnavailable, Err: t.cause(err)}
	}
	httpRequest.Header.Set("Accept", "application/json")
	httpRequest.Header.Set("User-Agent", "reporter-operator")
	httpRequest.Header.Set(requestIDHeader, uuid.NewString())
	if r.token != "" {
		httpRequest.Header.Set("Authorization", "Bearer "+r.token)
	}
	if r.productName != "" {
		httpRequest.Header.Set("X-Product-Name", r.productName)
	}
	if r.body != nil {
		httpRequest.Header.Set("Content-Type", "application/json")
	}

	if err := t.acquireSlot(ctx); err != nil {
		return nil, &Error{Method: r.method, Path: path, kind: kindUnavailable, Err: err}
	}
	defer t.releaseSlot()
	urgent := IsUrgent(ctx)
	if !r.probe && !PassesOutage(ctx) {
		if held := t.outage.hold(r.method, path, t.timeout); held != nil {
			return nil, held
		}
	}
	admitted := time.Now()
	if held := t.pace.admit(r.method, path, admitted, urgent, r.probe); held != nil {
		return nil, held
	}
	var a *answer
	defer func() {
		if r.aside {
			a = nil
		}
		t.pace.observe(a, admitted, time.Now(), r.probe)
	}()
	a, err = t.exchange(ctx, r, httpRequest, path)
	return a, err
}

// exchange sends the request, reads the answer, and reports to the breaker whether there was one. The error is that of permit, or an *Error
// that says that there is no answer.
func (t *transport) exchange(ctx context.Context, r request, httpRequest *http.Request, path string) (a *answer, err error) {
	d := &delivery{request: r, timeout: t.timeout}
	traced := d.begin(ctx)
	defer d.end()
	defer func() {
		t.report(ctx, d, Exchange{Method: r.method, Path: path, RequestID: httpRequest.Header.Get(requestIDHeader)}, a, err)
	}()
	response, err := t.roundTripper.RoundTrip(httpRequest.WithContext(traced))
	if err != nil {
		return nil, t.noAnswer(ctx, d, path, err)
	}
	defer response.Body.Close()
	bound := cmp.Or(r.maxBody, maxBody)
	body, err := io.ReadAll(io.LimitReader(response.Body, bound+1))
	if err != nil {
		return nil, t.noAnswer(ctx, d, path, err)
	}
	switch {
	case response.StatusCode < http.StatusInternalServerError:
		t.breakerOf(r).end(time.Now(), r.probe)
	case !r.probe:
		t.breakerOf(r).fail()
	}
	return &answer{method: r.method, path: path, token: r.token, secrets: append([]string{r.token}, r.secrets...), acts: r.permit != nil, maxBody: bound,
		status: response.StatusCode, header: response.Header, body: body, received: time.Now()}, nil
}

// breakerOf returns the breaker that learns from a request, nil if none does.
func (t *transport) breakerOf(r request) *outage {
	if r.aside {
		return nil
	}
	return t.outage
}

// noAnswer returns why there is no answer, and reports it to the breaker if that says something of the server.
func (t *transport) noAnswer(ctx context.Context, d *delivery, path string, err error) error {
	if d.refusal != nil {
		return d.refusal
	}
	e := &Error{Method: d.request.method, Path: path, kind: kindUnavailable, mayHaveActed: d.begun}
	var timeout net.Error
	switch {
	case ctx.Err() != nil: // it was not given the time to answer
		e.Err = ctx.Err()
		return e
	case d.repeated:
		e.Err = errNotBegun
		return e
	case d.late.Load():
		e.within, e.Err = d.request.sendWithin, errNotSent
	case d.expired.Load():
		e.within, e.Err = t.timeout, t.cause(context.DeadlineExceeded)
	case errors.As(err, &timeout) && timeout.Timeout():
		e.within, e.Err = t.timeout, t.cause(err)
	case errors.Is(err, errAddressRefused):
		e.kind, e.Err = kindNotAllowed, t.cause(err)
		return e
	default:
		e.Err = t.cause(err)
	}
	t.breakerOf(d.request).begin(e, d.since, d.request.probe)
	return e
}

var (
	errAllInUse = errors.New("all connections to it are in use")
	errNotBegun = errors.New("the server did not begin with the request")
	errNotSent  = fmt.Errorf("the request could not be sent within %s", sendWithin)
)

// acquireSlot waits for one of the requests under way to end if there are as many as there may be.
func (t *transport) acquireSlot(ctx context.Context) error {
	if t.slots == nil {
		return nil
	}
	select {
	case t.slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(t.timeout)
	defer timer.Stop()
	select {
	case t.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return errAllInUse
	}
}

func (t *transport) releaseSlot() {
	if t.slots != nil {
		<-t.slots
	}
}

// decode reads a JSON body into value. It reports false for another status, another media type, a body that is too long or
// not JSON.
func (a *answer) decode(status int, value any) bool {
	return a.status == status && a.decodeBody(value)
}

func (a *answer) decodeBody(value any) bool {
	return a.isJSON() && int64(len(a.body)) <= a.maxBody && json.Unmarshal(a.body, value) == nil
}

func (a *answer) isJSON() bool {
	media := a.mediaType()
	return media == "application/json" || media == "application/problem+json"
}

// mediaType returns the media type of the body without its parameters, empty if there is none that can be read.
func (a *answer) mediaType() string {
	media, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return media
}

// parseBaseURL returns the URL in its one form, or an error that says what to write instead. Nothing of the URL is in it, as
// what is wrong may be a password.
func parseBaseURL(raw string) (*url.URL, error) {
	base, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("the URL cannot be parsed: write it like http://reporter.internal:4006")
	case base.Scheme != "http" && base.Scheme != "https":
		return nil, errors.New("the URL must start with http:// or https://")
	case strings.Trim(base.Hostname(), ".") == "":
		return nil, errors.New("the URL must name a host, as in http://reporter.internal:4006")
	case strings.ContainsFunc(base.Host, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, errors.New("the URL must name its host in ASCII: write an international name as xn--abc")
	case base.User != nil:
		return nil, errors.New("the URL must not contain user info: put credentials into a Secret")
	case base.RawQuery != "" || base.ForceQuery || base.Fragment != "":
		return nil, errors.New("the URL must not contain a query or a fragment")
	}
	// Equal places get equal URLs: host in lower case, no port where it is the scheme's, a clean path.
	port := map[string]string{"http": ":80", "https": ":443"}[base.Scheme]
	base.Host = strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(base.Host), port), ":")
	base.Path, base.RawPath = strings.TrimSuffix(path.Clean("/"+base.Path), "/"), ""
	return base, nil
}
