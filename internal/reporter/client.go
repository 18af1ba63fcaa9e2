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
	"net/http"
	"net/url"
	"regexp"
	"time"

	"golang.org/x/oauth2"
)

const connectionsPath = "/v1/management/connections"

var canonicalUUID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// Config says where a Reporter is and how to speak to it.
type Config struct {
	// BaseURL is the http or https URL that the API's paths are appended to, without user info, query or fragment.
	BaseURL string
	// Token is sent as a bearer token; none if empty. It is left out where AccessManager is given.
	Token string
	// AccessManager is where to log in for a token, nil if there is none.
	AccessManager *AccessManager
	TLS           TLS
	// Timeout bounds one request from dialling to the last byte of the answer.
	Timeout time.Duration
}

// Client speaks to one Reporter with one set of credentials. It is safe for concurrent use and cheap to make: Clients of
// one Pool that name the same Reporter share their connections and their login.
type Client struct {
	caller
	identity Identity
	session  *session // nil without credentials
	outage   *outage
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

// Origin is the scheme, host and port of the base URL.
func (c *Client) Origin() string { return c.base.Scheme + "://" + c.base.Host }

// Identity tells which Reporter it is, with which credentials. Clients with the same one are for the same Reporter.
func (c *Client) Identity() Identity { return c.identity }

// Outage returns what the last Check found if Reporter has not answered it, so that nothing but another Check is sent: an *Error for which
// IsHeldBack is true. Otherwise it returns nil, as it does when Pool.Recovered is called.
func (c *Client) Outage() error {
	if held := c.outage.hold(); held != nil {
		return held
	}
	return nil
}

// Login makes sure that there is a token, where one is needed, and returns the tenant that it is for: empty where it names none.
// The error is an *Error, as of any other call: IsUnauthorized where the Access Manager does not take the credentials, IsHeldBack
// where Reporter is known not to answer, whether or not there are credentials.
func (c *Client) Login(ctx context.Context) (tenantID string, err error) {
	if held := c.outage.hold(); held != nil {
		return "", held
	}
	token, err := c.token(ctx)
	if err != nil {
		return "", err
	}
	return tenantOf(token.AccessToken), nil
}

// token returns the token to send, an empty one without credentials.
func (c *Client) token(ctx context.Context) (*oauth2.Token, error) {
	if c.session == nil {
		return &oauth2.Token{}, nil
	}
	return c.session.get(ctx)
}

// Get looks a connection up. An error for which IsNotFound is true says that Reporter has no live connection of this id for
// the tenant of the credentials.
func (c *Client) Get(ctx context.Context, id string) (*Connection, error) {
	answer, err := c.callConnection(ctx, http.MethodGet, id, nil)
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
		ProductName:  answer.clean(object.ProductName),
		ConfigName:   answer.clean(object.ConfigName),
		Type:         answer.clean(object.Type),
		Host:         answer.clean(object.Host),
		Port:         object.Port,
		DatabaseName: answer.clean(object.DatabaseName),
		CreatedAt:    object.CreatedAt,
		UpdatedAt:    object.UpdatedAt,
	}, nil
}

// Delete soft-deletes a connection, which is final. It returns nil for the answer 204 alone. Reporter answers IsNotFound also
// for what it keeps but will not delete: ask Get before believing it.
//
// It asks permit right before the request is sent, and returns its error where that is not nil: nothing was sent then. It sends one
// request at most.
func (c *Client) Delete(ctx context.Context, id string, permit func(context.Context) error) error {
	answer, err := c.callConnection(ctx, http.MethodDelete, id, permit)
	if err != nil {
		return err
	}
	if answer.status != http.StatusNoContent {
		return answer.asError()
	}
	return nil
}

// Check returns nil if Reporter's connections API answers and accepts the credentials. It asks for a list of one, since the
// service's own probes never look at credentials. While Reporter does not answer, one Check a second is made, and nothing else is
// sent; an error that IsHeldBack says what the last one found.
func (c *Client) Check(ctx context.Context) error {
	return c.outage.probe(func() error { return c.check(ctx) })
}

func (c *Client) check(ctx context.Context) error {
	answer, err := c.call(ctx, http.MethodGet, connectionsPath, url.Values{"page": {"1"}, "limit": {"1"}}, nil)
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

// callConnection is call for the path of one connection, unless Reporter is known not to answer. Reporter deletes what a sloppy id
// resolves to, which may not be what was meant: such a one is never sent.
func (c *Client) callConnection(ctx context.Context, method, id string, permit func(context.Context) error) (*answer, error) {
	if !canonicalUUID.MatchString(id) {
		return nil, &Error{Method: method, Path: c.at(connectionsPath).EscapedPath(), kind: kindInvalidID, Message: "the id is not a canonical lower-case UUID; nothing was sent"}
	}
	if held := c.outage.hold(); held != nil {
		return nil, held
	}
	return c.call(ctx, method, connectionsPath+"/"+id, nil, permit)
}

// call sends one request and reads the answer. A token that is refused is dropped and, where there is a login, replaced once.
// The error, always an *Error, says that there is no answer.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, permit func(context.Context) error) (*answer, error) {
	for first := true; ; first = false {
		token, err := c.token(ctx)
		if err != nil {
			return nil, err
		}
		if permit != nil {
			if err := permit(ctx); err != nil {
				return nil, err
			}
		}
		a, err := c.send(ctx, message{method: method, path: path, query: query, token: token.AccessToken})
		if err == nil && a.status == http.StatusUnauthorized && c.session.drop(token) {
			a.tokenRefused = true
			if first && permit == nil {
				continue
			}
		}
		return a, err
	}
}
