// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// maxBody bounds what is read of an answer. Reporter's own are below 4 KiB.
	maxBody = 64 << 10

	// maxText bounds a text of Reporter's, in runes.
	maxText = 256
)

// caller sends requests to one base URL and reads the answers. It follows no redirects: those would carry credentials to where
// nobody meant them to go, and their targets prove nothing.
type caller struct {
	base      *url.URL
	timeout   time.Duration
	transport http.RoundTripper
	pace      *pace
	// serverName is the name that the certificate has to be for, that of the base URL if it is empty.
	serverName string
	// accessManager says that the URL is that of one, to which spec.tls.serverName does not apply.
	accessManager bool
}

// message is a request before it has a URL.
type message struct {
	method, path string
	query        url.Values
	token        string // sent as a bearer token
	body         []byte // JSON
	secret       string // in the body
}

// answer is a response that was read to its end, or to one byte past maxBody.
type answer struct {
	method, path string
	secrets      []string // that were sent, so that they are not shown where the body repeats them
	status       int
	header       http.Header
	body         []byte
	tokenRefused bool // by Reporter, and another may be had from the Access Manager
}

// at returns the URL of a path of the API. The base URL has no slash at its end, and its path is not escaped.
func (c *caller) at(path string) *url.URL {
	target := *c.base
	target.Path += path
	return &target
}

// send sends one request and reads the answer. The error, always an *Error, says that there is none.
func (c *caller) send(ctx context.Context, m message) (*answer, error) {
	target := c.at(m.path)
	target.RawQuery = m.query.Encode()
	path := target.EscapedPath()
	var written atomic.Bool
	silence := func(err error) error {
		kind := kindUnavailable
		if errors.Is(err, errAddressRefused) {
			kind = kindNotAllowed
		}
		return &Error{Method: m.method, Path: path, kind: kind, Err: c.cause(err), mayHaveActed: written.Load()}
	}

	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(info httptrace.WroteRequestInfo) { written.Store(info.Err == nil) },
	})
	request, err := http.NewRequestWithContext(ctx, m.method, target.String(), bytes.NewReader(m.body))
	if err != nil {
		return nil, silence(err)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "reporter-operator")
	if m.token != "" {
		request.Header.Set("Authorization", "Bearer "+m.token)
	}
	if m.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}

	if held := c.pace.enter(m.method, path, time.Now()); held != nil {
		return nil, held
	}
	var a *answer
	defer func() { c.pace.leave(a, time.Now()) }()
	response, err := c.transport.RoundTrip(request)
	if err != nil {
		return nil, silence(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err != nil {
		return nil, silence(err)
	}
	a = &answer{method: m.method, path: path, secrets: []string{m.token, m.secret}, status: response.StatusCode, header: response.Header, body: body}
	return a, nil
}

// decode reads a JSON body into value. It reports false for another status, another media type, a body that is too long or
// not JSON.
func (a *answer) decode(status int, value any) bool {
	return a.status == status && a.decodeBody(value)
}

func (a *answer) decodeBody(value any) bool {
	media, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil || (media != "application/json" && media != "application/problem+json") {
		return false
	}
	return len(a.body) <= maxBody && json.Unmarshal(a.body, value) == nil
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
	case base.Hostname() == "":
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
