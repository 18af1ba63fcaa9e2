// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"
)

const loginPath = "/v1/login/oauth/access_token"

// AccessManager says where to log in, and as whom.
type AccessManager struct {
	// URL is the base URL of the Access Manager; the path of the login is appended.
	URL                    string
	ClientID, ClientSecret string
}

// session keeps the token that all calls to one Reporter share. There is one login at a time, whoever needs it.
type session struct {
	login oauth2.TokenSource // nil where the token is given
	group singleflight.Group

	mu    sync.Mutex
	token *oauth2.Token
}

// get returns the token in use, after a login if there is none that will last. An error of the login is an *Error.
func (s *session) get(ctx context.Context) (*oauth2.Token, error) {
	if token := s.current(); token != nil {
		return token, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, leaving(err)
	}
	select {
	case done := <-s.group.DoChan("", s.renew):
		if done.Err != nil {
			return nil, done.Err
		}
		return done.Val.(*oauth2.Token), nil
	case <-ctx.Done():
		return nil, leaving(ctx.Err())
	}
}

// leaving is the error of a caller who does not wait for the login.
func leaving(err error) *Error {
	return &Error{Method: http.MethodPost, Path: loginPath, Login: true, kind: kindUnavailable, Err: err}
}

// renew logs in, unless another login has ended since its caller looked.
func (s *session) renew() (any, error) {
	if token := s.current(); token != nil {
		return token, nil
	}
	token, err := s.login.Token()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
	return token, nil
}

// current returns the token if it is there and not about to end.
func (s *session) current() *oauth2.Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == nil || (!s.token.Expiry.IsZero() && time.Until(s.token.Expiry) < renewal(s.token)) {
		return nil
	}
	return s.token
}

// drop forgets a token that was refused, unless another has taken its place already, and says whether it makes sense to try
// again with a new one.
func (s *session) drop(refused *oauth2.Token) bool {
	if s == nil || s.login == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == refused {
		s.token = nil
	}
	return true
}

// renewal is how long before its end a token is renewed: a tenth of its life, a minute at most.
func renewal(token *oauth2.Token) time.Duration {
	return min(time.Duration(token.ExpiresIn)*time.Second/10, time.Minute)
}

// accessManagerLogin is the machine-to-machine login of Lerian's Access Manager. It is OAuth 2.0's client credentials grant in
// all but its wire format, which is JSON in camel case, so that the oauth2 package cannot make it.
type accessManagerLogin struct {
	caller
	clientID, clientSecret string
	// within is the timeout of a login, a time.Duration: it may be changed while the token stays.
	within atomic.Int64
}

// Token logs in. The error is an *Error: IsUnauthorized where the Access Manager does not take the credentials.
func (l *accessManagerLogin) Token() (*oauth2.Token, error) {
	body, err := json.Marshal(map[string]string{"grantType": "client_credentials", "clientId": l.clientID, "clientSecret": l.clientSecret})
	if err != nil {
		return nil, err
	}
	// It is for all who wait, so it does not end with the call that happened to need it first; the timeout bounds it.
	caller := l.caller
	caller.timeout = time.Duration(l.within.Load())
	answer, err := caller.send(context.Background(), message{method: http.MethodPost, path: loginPath, body: body, secret: l.clientSecret})
	if err != nil {
		return nil, asLogin(err)
	}
	var granted struct {
		AccessToken string `json:"accessToken"`
		ExpiresIn   int64  `json:"expiresIn"`
	}
	if !answer.decode(http.StatusOK, &granted) || granted.AccessToken == "" || !httpguts.ValidHeaderFieldValue(granted.AccessToken) {
		return nil, asLogin(answer.asError())
	}
	token := &oauth2.Token{AccessToken: granted.AccessToken, ExpiresIn: min(granted.ExpiresIn, maxTokenLife)}
	if token.ExpiresIn > 0 {
		token.Expiry = time.Now().Add(time.Duration(token.ExpiresIn) * time.Second)
	}
	return token, nil
}

// maxTokenLife bounds, in seconds, what is believed of a token's life.
const maxTokenLife = 24 * 60 * 60

// asLogin marks an error as one of the login. Whatever the Access Manager has against the request, but for its rate, it has
// against the credentials; what it says of connections means nothing.
func asLogin(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	e.Login, e.mayHaveActed = true, false // what was asked of Reporter was not asked
	switch e.Status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		e.kind = kindUnauthorized
	case http.StatusNotFound, http.StatusConflict:
		e.kind = kindUnexpected
	}
	return e
}
