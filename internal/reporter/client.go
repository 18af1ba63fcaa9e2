// SPDX-License-Identifier: Apache-2.0

// Package reporter is a client of the connections API of Lerian's Reporter, for what an operator needs of it: create a connection, look
// it up, find it, change, test and soft-delete it, and see whether the service answers and accepts the credentials.
//
// Its errors matter most: the operator must know what an answer proves before it releases a resource. Every call returns nil for the one
// documented success and an *Error for anything else, which the IsX functions classify. Delete returns the error of its permit as it is.
package reporter

import (
	"context"
	"encoding/json"
	"errors"
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
	transport
	identity Identity
	session  *session // nil without credentials
	// tests holds an element while a Test is under way.
	tests chan struct{}
}

// URL is the base URL in the one form that compares: without a trailing slash.
func (c *Client) URL() string { return c.base.String() }

// Origin is the scheme, host and port of the base URL.
func (c *Client) Origin() string { return c.base.Scheme + "://" + c.base.Host }

// Identity says which Reporter it is, with which credentials. Clients with the same one are for the same Reporter.
func (c *Client) Identity() Identity { return c.identity }

// Outage returns nil if requests of this client are sent, as far as it depends on whether Reporter answers. Otherwise Reporter did not
// answer a request, and nothing is sent until it does but a Check and what is on trial: then it returns why, an *Error for which IsHeldBack
// is true. Pool.Recovered is called when that has ended.
func (c *Client) Outage() error {
	if held := c.outage.hold(checkMethod, c.at(connectionsPath).EscapedPath(), c.timeout); held != nil {
		return held
	}
	return nil
}

// OfferTrial is to be called when somebody has begun to wait for Reporter to answer again: Pool.Tried is called if that found nothing to
// send when a request on trial was last due.
func (c *Client) OfferTrial() { c.outage.offerTrial() }

// Pause returns nil if requests about connections are sent, as far as Reporter has not asked to be left alone for a while: otherwise an
// *Error for which IsPaced is true.
func (c *Client) Pause() error {
	if held := c.pace.hold(http.MethodGet, clean(c.at(connectionsPath).EscapedPath()), time.Now(), false); held != nil {
		return held
	}
	return nil
}

// Login makes sure that there is a token, where one is needed, and returns the tenant that it is for. The error is an *Error, as of
// any other call: IsUnauthorized where the Access Manager does not take the credentials, IsHeldBack where Reporter is known not to
// answer, whether or not there are credentials.
func (c *Client) Login(ctx context.Context) (Tenant, error) {
	if err := c.Outage(); err != nil && !PassesOutage(ctx) {
		return Tenant{}, err
	}
	token, err := c.token(ctx)
	if err != nil {
		return Tenant{}, err
	}
	return tenantOf(token.AccessToken), nil
}

// token returns the token to send, an empty one without credentials.
func (c *Client) token(ctx context.Context) (*oauth2.Token, error) {
	if c.session == nil {
		return &oauth2.Token{}, nil
	}
	return c.session.get(ctx, c.user, c.timeout)
}

// Get looks a connection up. An error for which IsNotFound is true says that Reporter has no live connection of this id for
// the tenant of the credentials. The status and the id prove that it has one.
func (c *Client) Get(ctx context.Context, id string) (*Connection, error) {
	answer, err := c.callConnection(ctx, request{method: http.MethodGet}, id)
	if err != nil {
		return nil, err
	}
	var shown object
	if !answer.decode(http.StatusOK, &shown) || shown.id() != id {
		return nil, answer.asError()
	}
	return answer.connection(&shown), nil
}

// Permit says whether a request that acts may be sent, which is not repeated inside the call: what was permitted once may not be any more.
// It is called when nothing holds the request back and there is a connection for it, right before it is written, with the tenant of the
// very token that goes with it: others may have renewed that since a Login. If it returns an error, nothing is sent, and the call returns
// that error as it is.
type Permit func(context.Context, Tenant) error

// Delete soft-deletes a connection, which is final. It returns nil for the answer 204 alone. Reporter answers IsNotFound also
// for what it keeps but will not delete: ask Get before believing it. IsTokenRefused says that a new call, with a new token, may fare
// better.
func (c *Client) Delete(ctx context.Context, id string, permit Permit) error {
	answer, err := c.callConnection(ctx, request{method: http.MethodDelete, permit: permit}, id)
	if err != nil {
		return err
	}
	if answer.status != http.StatusNoContent {
		return answer.asError()
	}
	return nil
}

const checkMethod = http.MethodGet

// Check returns nil if Reporter's connections API answers and accepts the credentials. It asks for a list of one, since the
// service's own probes never look at credentials. While Reporter does not answer, one Check a second is made, and nothing else is sent but
// what is on trial; an error that IsHeldBack says why.
func (c *Client) Check(ctx context.Context) error {
	return c.outage.probe(c.timeout, IsUrgent(ctx), func() error {
		began := time.Now()
		err := c.check(ctx)
		var e *Error
		if !errors.As(err, &e) || e.kind != kindUnavailable || e.paced || ctx.Err() != nil {
			return err
		}
		// Where there was no answer, the transport has seen to the breaker. What is left is an error of the server's, and a login
		// without which nothing could be sent.
		if e.Status != 0 || e.Login {
			c.outage.begin(e, began, true)
		}
		if !e.Login {
			c.outage.try(time.Now(), time.Since(began))
		}
		return err
	})
}

func (c *Client) check(ctx context.Context) error {
	answer, err := c.call(ctx, request{method: checkMethod, path: connectionsPath, query: url.Values{"page": {"1"}, "limit": {"1"}}, probe: true})
	if err != nil {
		return err
	}
	var list struct {
		Items json.RawMessage `json:"items"`
	}
	var items []json.RawMessage // null is an empty list too
	if !answer.decode(http.StatusOK, &list) || json.Unmarshal(list.Items, &items) != nil {
		return answer.asError()
	}
	return nil
}

// callConnection is callUnlessOut for the path of one connection.
func (c *Client) callConnection(ctx context.Context, r request, id string) (*answer, error) {
	var err error
	if r.path, err = c.connectionPath(r.method, id); err != nil {
		return nil, err
	}
	return c.callUnlessOut(ctx, r)
}

// connectionPath returns the path of one connection. Reporter deletes what a sloppy id resolves to, which may not be what was meant:
// such a one is never sent.
func (c *Client) connectionPath(method, id string) (string, error) {
	if !canonicalUUID.MatchString(id) {
		return "", &Error{Method: method, Path: c.shownPath(connectionsPath), kind: kindInvalidID, Message: "the id is not a canonical lower-case UUID; nothing was sent"}
	}
	return connectionsPath + "/" + id, nil
}

// shownPath is a path of the API as an error shows it.
func (c *Client) shownPath(path string) string { return clean(c.at(path).EscapedPath()) }

// callUnlessOut is call, unless Reporter is known not to answer: then a login would be for nothing.
func (c *Client) callUnlessOut(ctx context.Context, r request) (*answer, error) {
	if held := c.held(ctx, r); held != nil {
		return nil, held
	}
	return c.call(ctx, r)
}

// held returns why a request is held back by an outage, nil if it is not.
func (c *Client) held(ctx context.Context, r request) error {
	if held := c.outage.hold(r.method, c.shownPath(r.path), c.timeout); held != nil && !PassesOutage(ctx) {
		return held
	}
	return nil
}

// call sends one request and reads the answer. A token that is refused is dropped, and what only reads is sent once more with the
// token of a new login if that may help. The error is that of the request's permit, or an *Error that says that there is no answer.
func (c *Client) call(ctx context.Context, r request) (*answer, error) {
	for first := true; ; first = false {
		token, err := c.token(ctx)
		if err != nil {
			return nil, err
		}
		r.token = token.AccessToken
		a, err := c.send(ctx, r)
		if err != nil {
			return nil, err
		}
		if a.status != http.StatusUnauthorized {
			if a.status < http.StatusInternalServerError {
				c.session.accept()
			}
			return a, nil
		}
		a.tokenRefused = c.session.drop(token)
		if !a.tokenRefused || !first || r.method != http.MethodGet {
			return a, nil
		}
	}
}
