// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
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

// session keeps the token that all calls to one Reporter share. There is one login at a time for all of them; clients whose timeouts
// differ have one each, as a login that is too slow for one of them may not be for the other.
type session struct {
	login *accessManagerLogin // nil where the token is given
	goOn  func(context.Context)
	group singleflight.Group

	mu    sync.Mutex
	token *oauth2.Token
	// refused is the first of the tokens that were refused since one was accepted, nil if none was.
	refused *oauth2.Token
}

// get returns the token in use, after a login for a user and within a timeout if there is none that will last. An error of the login is an
// *Error.
func (s *session) get(ctx context.Context, user string, timeout time.Duration) (*oauth2.Token, error) {
	if token := s.current(); token != nil {
		return token, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, loginAbandoned(err)
	}
	urgent := IsUrgent(ctx)
	done := s.group.DoChan(fmt.Sprintf("%s %t", timeout, urgent), func() (any, error) { return s.renew(user, timeout, urgent) })
	token, err := s.await(ctx, done)
	if s.goOn != nil {
		s.goOn(ctx)
	}
	return token, err
}

func (s *session) await(ctx context.Context, done <-chan singleflight.Result) (*oauth2.Token, error) {
	select {
	case result := <-done:
		if result.Err != nil {
			return nil, result.Err
		}
		return result.Val.(*oauth2.Token), nil
	case <-ctx.Done():
		return nil, loginAbandoned(ctx.Err())
	}
}

// loginAbandoned is the error of a call whose context ends before the login does.
func loginAbandoned(err error) *Error {
	return &Error{Method: http.MethodPost, Path: loginPath, Login: true, kind: kindUnavailable, Err: err}
}

// renew logs in, unless another login has ended since the token was last looked at.
func (s *session) renew(user string, timeout time.Duration, urgent bool) (*oauth2.Token, error) {
	if token := s.current(); token != nil {
		return token, nil
	}
	token, err := s.login.obtain(user, timeout, urgent)
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

// drop forgets a token that was refused, unless another has taken its place already, and says whether a new login may help: the
// token came from one, and no other token has been refused since one was accepted.
func (s *session) drop(refused *oauth2.Token) bool {
	if s == nil || s.login == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == refused {
		s.token = nil
	}
	if s.refused == nil {
		s.refused = refused
	}
	return s.refused == refused
}

// accept takes note of a token that was not refused.
func (s *session) accept() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = nil
}

// renewal is how long before its end a token is renewed: a tenth of its life, a minute at most.
func renewal(token *oauth2.Token) time.Duration {
	return min(time.Duration(token.ExpiresIn)*time.Second/10, time.Minute)
}

// accessManagerLogin is the machine-to-machine login of Lerian's Access Manager. It is OAuth 2.0's client credentials grant in
// all but its wire format, which is JSON in camel case, so that the oauth2 package cannot make it.
type accessManagerLogin struct {
	transport
	clientID, clientSecret string
}

// obtain logs in. The error is an *Error: IsUnauthorized where the Access Manager does not take the credentials.
func (l *accessManagerLogin) obtain(user string, timeout time.Duration, urgent bool) (*oauth2.Token, error) {
	body, err := json.Marshal(map[string]string{"grantType": "client_credentials", "clientId": l.clientID, "clientSecret": l.clientSecret})
	if err != nil {
		return nil, err
	}
	// The login serves every waiting call, so it does not end with the context of the first one; the timeout bounds it.
	ctx := context.Background()
	if urgent {
		ctx = WithUrgency(ctx)
	}
	transport := l.transport
	transport.timeout, transport.user = timeout, user
	answer, err := transport.send(ctx, request{method: http.MethodPost, path: loginPath, body: body, secrets: []string{l.clientSecret}})
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			e.Login = true
		}
		return nil, err
	}
	var granted struct {
		AccessToken string `json:"accessToken"`
		ExpiresIn   int64  `json:"expiresIn"`
	}
	if !answer.decode(http.StatusOK, &granted) || granted.AccessToken == "" || !httpguts.ValidHeaderFieldValue(granted.AccessToken) {
		return nil, answer.asLoginError()
	}
	token := &oauth2.Token{AccessToken: granted.AccessToken, ExpiresIn: min(granted.ExpiresIn, maxTokenLife)}
	if token.ExpiresIn > 0 {
		token.Expiry = time.Now().Add(time.Duration(token.ExpiresIn) * time.Second)
	}
	return token, nil
}

// maxTokenLife bounds, in seconds, what is believed of a token's life.
const maxTokenLife = 24 * 60 * 60
