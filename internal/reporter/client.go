// SPDX-License-Identifier: Apache-2.0

// Package reporter is a client of the connections API of Lerian's Reporter, for what an operator needs of it: look a
// connection up, soft-delete it, and see whether the service answers and accepts the credentials.
//
// Its errors are the point of it. Whoever deletes on somebody's behalf must know what an answer proves: every call returns
// nil for the one documented success and an *Error for anything else, which the IsX functions classify.
package reporter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

const (
	connectionsPath = "/v1/management/connections"

	// maxBody bounds what is read of an answer. Reporter's own are below 4 KiB.
	maxBody = 64 << 10

	// maxText bounds a text of Reporter's, in runes.
	maxText = 256
)

var canonicalUUID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// Config says where a Reporter is and how to speak to it.
type Config struct {
	// BaseURL is the http or https URL that the API's paths are appended to, without user info, query or fragment.
	BaseURL string
	// Token is sent as a bearer token; none if empty.
	Token string
	// Timeout bounds one request from dialling to the last byte of the answer.
	Timeout time.Duration
}

// Client speaks to one Reporter with one set of credentials. It is safe for concurrent use and cheap to make: Clients of
// one Pool that name the same Reporter share their connections.
type Client struct {
	base   *url.URL
	token  string
	client *http.Client
	pause  *pause
}

// Connection is a database connection as Reporter shows it. Texts are bounded and free of control characters.
type Connection struct {
	ID           string
	ProductName  string
	ConfigName   string
	Type         string
	Host         string
	Port         int32
	DatabaseName string
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// URL is the base URL in the one form that compares: without a trailing slash.
func (c *Client) URL() string { return c.base.String() }

// TenantID is the tenant that the credentials are for, empty where they name none.
func (c *Client) TenantID() string { return tenantOf(c.token) }

// Get looks a connection up. An error for which IsNotFound is true says that Reporter has no live connection of this id for
// the tenant of the credentials.
func (c *Client) Get(ctx context.Context, id string) (*Connection, error) {
	answer, err := c.callConnection(ctx, http.MethodGet, id)
	if err != nil {
		return nil, err
	}
	var object struct {
		ID           string    `json:"id"`
		ProductName  string    `json:"productName"`
		ConfigName   string    `json:"configName"`
		Type         string    `json:"type"`
		Host         string    `json:"host"`
		Port         int32     `json:"port"`
		DatabaseName string    `json:"databaseName"`
		CreatedAt    time.Time `json:"createdAt"`
		UpdatedAt    time.Time `json:"updatedAt"`
	}
	if !answer.decode(http.StatusOK, &object) || object.ID != id {
		return nil, answer.asError()
	}
	return &Connection{
		ID:           object.ID,
		ProductName:  clean(object.ProductName),
		ConfigName:   clean(object.ConfigName),
		Type:         clean(object.Type),
		Host:         clean(object.Host),
		Port:         object.Port,
		DatabaseName: clean(object.DatabaseName),
		CreatedAt:    object.CreatedAt,
		UpdatedAt:    object.UpdatedAt,
	}, nil
}

// Delete soft-deletes a connection, which is final. It returns nil for the answer 204 alone. Reporter answers IsNotFound also
// for what it keeps but will not delete: ask Get before believing it.
func (c *Client) Delete(ctx context.Context, id string) error {
	answer, err := c.callConnection(ctx, http.MethodDelete, id)
	if err != nil {
		return err
	}
	if answer.status != http.StatusNoContent {
		return answer.asError()
	}
	return nil
}

// Check returns nil if Reporter's connections API answers and accepts the credentials. It asks for a list of one, since the
// service's own probes never look at credentials.
func (c *Client) Check(ctx context.Context) error {
	answer, err := c.call(ctx, http.MethodGet, connectionsPath, url.Values{"page": {"1"}, "limit": {"1"}})
	if err != nil {
		return err
	}
	var list struct {
		Items *[]json.RawMessage `json:"items"`
	}
	if !answer.decode(http.StatusOK, &list) || list.Items == nil {
		return answer.asError()
	}
	return nil
}

// answer is a response that was read to its end, or to one byte past maxBody.
type answer struct {
	method, path string
	token        string // that was sent, so that it is not shown where the body repeats it
	status       int
	header       http.Header
	body         []byte
}

// callConnection is call for the path of one connection. Reporter deletes what a sloppy id resolves to, which may not be what
// was meant: such a one is never sent.
func (c *Client) callConnection(ctx context.Context, method, id string) (*answer, error) {
	if !canonicalUUID.MatchString(id) {
		return nil, &Error{Method: method, Path: c.at(connectionsPath).EscapedPath(), kind: kindInvalidID, Message: "the id is not a canonical lower-case UUID; nothing was sent"}
	}
	return c.call(ctx, method, connectionsPath+"/"+id, nil)
}

// at returns the URL of a path of the API. The base URL has no slash at its end, and its path is not escaped.
func (c *Client) at(path string) *url.URL {
	target := *c.base
	target.Path += path
	return &target
}

// call sends one request and reads the answer. The error, always an *Error, says that there is none.
func (c *Client) call(ctx context.Context, method, path string, query url.Values) (*answer, error) {
	target := c.at(path)
	target.RawQuery = query.Encode()
	path = target.EscapedPath()

	request, err := http.NewRequestWithContext(ctx, method, target.String(), nil)
	if err != nil {
		return nil, &Error{Method: method, Path: path, kind: kindUnavailable, Err: err}
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "reporter-operator")
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}

	if held := c.pause.hold(method, path, time.Now()); held != nil {
		return nil, held
	}
	response, err := c.client.Do(request)
	if err != nil {
		return nil, &Error{Method: method, Path: path, kind: kindUnavailable, Err: c.cause(err)}
	}
	defer response.Body.Close() //nolint:errcheck // what was needed of it has been read
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err != nil {
		return nil, &Error{Method: method, Path: path, kind: kindUnavailable, Err: c.cause(err)}
	}
	a := &answer{method: method, path: path, token: c.token, status: response.StatusCode, header: response.Header, body: body}
	if a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable {
		c.pause.begin(a.asError(), time.Now())
	}
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
	case base.User != nil:
		return nil, errors.New("the URL must not contain user info: put credentials into a Secret")
	case base.RawQuery != "" || base.ForceQuery || base.Fragment != "":
		return nil, errors.New("the URL must not contain a query or a fragment")
	}
	// Equal places get equal URLs: host in lower case, no port where it is the scheme's, a clean path.
	port := map[string]string{"http": ":80", "https": ":443"}[base.Scheme]
	base.Host = strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(base.Host), port), ":")
	base = base.JoinPath("/")
	base.Path = base.Path[:len(base.Path)-1]
	base.RawPath = ""
	return base, nil
}

func newClient(config Config) (*Client, error) {
	base, err := parseBaseURL(config.BaseURL)
	if err != nil {
		return nil, err
	}
	if !httpguts.ValidHeaderFieldValue(config.Token) {
		return nil, errors.New("the token contains characters that no HTTP header may carry")
	}
	if config.Timeout <= 0 {
		return nil, fmt.Errorf("the timeout must be positive, not %s", config.Timeout)
	}
	return &Client{
		base:  base,
		token: config.Token,
		client: &http.Client{
			Timeout: config.Timeout,
			// A redirect would carry the credentials to where nobody meant them to go, and its target proves nothing.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}
