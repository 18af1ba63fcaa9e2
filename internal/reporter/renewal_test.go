// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

const ledgerID = "019996b8-f3d1-7d2b-a192-6e91464d82fc"

// permitted is the permission of a test that is about something else.
func permitted(context.Context, Tenant) error { return nil }

// direct sends to a handler without a network, so that time can stand still meanwhile.
type direct struct{ http.Handler }

func (d direct) RoundTrip(request *http.Request) (*http.Response, error) {
	answer := httptest.NewRecorder()
	d.ServeHTTP(answer, request)
	return answer.Result(), nil
}

// newRealm returns a Reporter with the connection ledgerID, the Access Manager before it, and a client of both. It is for
// within a bubble of synctest's.
func newRealm(t *testing.T) (*reportertest.Reporter, *reportertest.AccessManager, *Client) {
	t.Helper()
	r := reportertest.New()
	r.Add(reportertest.Connection{ID: ledgerID})
	manager := reportertest.NewAccessManager(r)
	manager.AddClient("operator", "hunter2", "")
	c, err := new(Pool).Client("endpoint", Config{
		BaseURL:       "http://reporter",
		AccessManager: &AccessManager{URL: "http://manager", ClientID: "operator", ClientSecret: "hunter2"},
		Timeout:       time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.roundTripper = inPlace{direct{r}}
	c.session.login.roundTripper = inPlace{direct{manager}}
	return r, manager, c
}

func expectLogins(t *testing.T, manager *reportertest.AccessManager, want int) {
	t.Helper()
	if got := manager.Logins(); got != want {
		t.Errorf("there were %d logins, not %d", got, want)
	}
}

// gate keeps requests until it is opened.
func gate() (do reportertest.Behaviour, open func()) {
	opened := make(chan struct{})
	return func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
		<-opened
		act(w, req)
	}, func() { close(opened) }
}

// A token is used until a tenth of its life is left, or a minute, and not a moment longer.
func TestTokenIsRenewed(t *testing.T) {
	for _, test := range []struct{ life, used time.Duration }{
		{time.Hour, 59 * time.Minute},
		{11 * time.Minute, 10 * time.Minute},
		{10 * time.Minute, 9 * time.Minute},
		{5 * time.Minute, 4*time.Minute + 30*time.Second},
		{10 * time.Second, 9 * time.Second},
		{time.Second, 900 * time.Millisecond},
		{24 * time.Hour, 24*time.Hour - time.Minute},
		{25 * time.Hour, 24*time.Hour - time.Minute}, // no token is believed to be good for longer than a day
		{8760 * time.Hour, 24*time.Hour - time.Minute},
		{292 * 8760 * time.Hour, 24*time.Hour - time.Minute},
	} {
		t.Run(test.life.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, manager, c := newRealm(t)
				manager.SetTokenLife(test.life)
				for i := range 3 {
					for _, after := range []time.Duration{0, test.used / 2, test.used - test.used/2} {
						<-time.After(after)
						if err := c.Check(t.Context()); err != nil {
							t.Error(err)
						}
						expectLogins(t, manager, i+1)
					}
					<-time.After(1)
				}
				if n := len(r.Requests()); n != 9 {
					t.Errorf("Reporter got %d requests, not 9: tokens had ended", n)
				}
			})
		})
	}
}

// A life that is told to be longer than any number holds is one of a day too.
func TestTokenOfTheLongestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, life := range []string{"9223372037", "92233720369", "9223372036854775807"} {
			r, manager, c := newRealm(t)
			r.AllowToken("token-a", "")
			manager.Inject(reportertest.Fault{Do: reportertest.Answer(200, http.Header{"Content-Type": {"application/json"}},
				`{"accessToken":"token-a","expiresIn":`+life+`}`)})
			for _, step := range []struct {
				after  time.Duration
				logins int
			}{{0, 1}, {24*time.Hour - time.Minute, 1}, {1, 2}} {
				<-time.After(step.after)
				if err := c.Check(t.Context()); err != nil {
					t.Error(err)
				}
				if n := len(manager.Requests()); n != step.logins {
					t.Errorf("after %s, of a life of %s s, there were %d logins, not %d", step.after, life, n, step.logins)
				}
			}
		}
	})
}

// A token whose life is not told is used until it is refused.
func TestTokenOfUnknownLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, life := range []string{"0", "-3600", "null"} {
			r, manager, c := newRealm(t)
			r.AllowToken("token-a", "")
			manager.Inject(reportertest.Fault{Times: 1, Do: reportertest.Answer(200, http.Header{"Content-Type": {"application/json"}},
				`{"accessToken":"token-a","expiresIn":`+life+`}`)})
			for _, after := range []time.Duration{0, time.Hour, 8760 * time.Hour} {
				<-time.After(after)
				if err := c.Check(t.Context()); err != nil {
					t.Error(err)
				}
				expectLogins(t, manager, 0)
			}
			r.RevokeToken("token-a")
			if err := c.Check(t.Context()); err != nil {
				t.Error(err)
			}
			expectLogins(t, manager, 1)
		}
	})
}

// However many calls need a token at once, one login gets it for all of them.
func TestOneLoginForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, manager, c := newRealm(t)
		hold, open := gate()
		manager.Inject(reportertest.Fault{Do: hold})
		var group sync.WaitGroup
		for i := range 100 {
			group.Go(func() {
				if i%2 == 0 {
					if _, err := c.Login(t.Context()); err != nil {
						t.Error(err)
					}
				} else if err := c.Check(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // until all wait for the login
		open()
		group.Wait()
		expectLogins(t, manager, 1)
		if n := len(r.Requests()); n != 50 {
			t.Errorf("Reporter got %d requests, not 50", n)
		}
	})
}

// If the login fails, it fails for all who waited, and once.
func TestOneFailedLoginForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, manager, c := newRealm(t)
		hold, open := gate()
		manager.Inject(reportertest.Fault{Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
			hold(w, req, func(w http.ResponseWriter, req *http.Request) { reportertest.Answer(500, nil, "")(w, req, act) })
		}})
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				if err := c.Check(t.Context()); !IsUnavailable(err) {
					t.Errorf("it gives %v", err)
				}
			})
		}
		synctest.Wait()
		open()
		group.Wait()
		if n, m := len(manager.Requests()), len(r.Requests()); n != 1 || m != 0 {
			t.Errorf("the Access Manager got %d requests, Reporter %d", n, m)
		}
	})
}

// Who looked before a login ended and comes for one afterwards makes no other.
func TestLateForTheLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, manager, c := newRealm(t)
		for range 2 {
			if _, err := c.session.renew("", time.Hour, false); err != nil {
				t.Error(err)
			}
		}
		expectLogins(t, manager, 1)
	})
}

// A token that is refused to many at once is replaced once.
func TestOneNewLoginForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, manager, c := newRealm(t)
		if err := c.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		manager.RevokeTokens()
		r.ResetRequests()
		hold, open := gate()
		r.Inject(reportertest.Fault{Do: hold})
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				if err := c.Check(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // until all have sent the old token
		open()
		group.Wait()
		expectLogins(t, manager, 2)
		if n := len(r.Requests()); n != 200 {
			t.Errorf("Reporter got %d requests, not 200", n)
		}
	})
}

// Who is told late that the old token is refused takes the new one, and does not drop it.
func TestLateRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, manager, c := newRealm(t)
		if err := c.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		manager.RevokeTokens()
		hold, open := gate()
		r.Inject(reportertest.Fault{ID: ledgerID, Times: 1, Do: hold})
		late := make(chan error, 1)
		go func() {
			_, err := c.Get(t.Context(), ledgerID)
			late <- err
		}()
		synctest.Wait()
		if err := c.Check(t.Context()); err != nil {
			t.Error(err)
		}
		expectLogins(t, manager, 2)
		open()
		if err := <-late; err != nil {
			t.Error(err)
		}
		if err := c.Check(t.Context()); err != nil {
			t.Error(err)
		}
		expectLogins(t, manager, 2)
	})
}

// A caller who leaves takes nothing from the others who wait for the same login, and whoever began it.
func TestLeavingALogin(t *testing.T) {
	for _, why := range []error{context.Canceled, context.DeadlineExceeded} {
		t.Run(why.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, manager, c := newRealm(t)
				hold, open := gate()
				manager.Inject(reportertest.Fault{Do: hold})
				first, leave := context.WithCancel(t.Context())
				if why != context.Canceled { //nolint:errorlint // it is one of the two above
					first, leave = context.WithTimeout(t.Context(), time.Second)
				}
				defer leave()
				left, stayed := make(chan error, 1), make(chan error, 1)
				go func() { left <- c.Check(first) }()
				synctest.Wait()
				go func() { stayed <- c.Check(t.Context()) }()
				synctest.Wait()
				if why == context.Canceled { //nolint:errorlint // as above
					leave()
				}
				err := <-left
				var e *Error
				if !errors.As(err, &e) || !errors.Is(err, why) || !e.Login || !IsUnavailable(err) {
					t.Errorf("who leaves is told %+v", err)
				}
				if want := "POST /v1/login/oauth/access_token: " + why.Error(); err.Error() != want {
					t.Errorf("the error is %q, not %q", err, want)
				}
				if len(stayed) > 0 {
					t.Errorf("who stays does not wait any more: %v", <-stayed)
				}
				open()
				if err := <-stayed; err != nil {
					t.Errorf("who stays is told %v", err)
				}
				expectLogins(t, manager, 1)
				if n := len(r.Requests()); n != 1 {
					t.Errorf("Reporter got %d requests, not one", n)
				}
			})
		})
	}
}

// For a caller who has left already nobody logs in.
func TestLoginForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, manager, c := newRealm(t)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.Check(ended); !errors.Is(err, context.Canceled) || !IsUnavailable(err) {
			t.Errorf("it gives %v", err)
		}
		synctest.Wait()
		if n := len(manager.Requests()) + len(r.Requests()); n != 0 {
			t.Errorf("%d requests were sent", n)
		}
	})
}

// The timeout bounds the login as well: the newest, as it may be changed while the token stays.
func TestLoginTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pool Pool
		config := Config{BaseURL: "http://reporter", AccessManager: &AccessManager{URL: "http://manager"}}
		for _, timeout := range []time.Duration{time.Hour, 7 * time.Second, 20 * time.Second} {
			config.Timeout = timeout
			c, err := pool.Client("endpoint", config)
			if err != nil {
				t.Fatal(err)
			}
			c.session.login.roundTripper = hanging{}
			began := time.Now()
			_, err = c.Login(t.Context())
			if want := "POST /v1/login/oauth/access_token: no answer within " + timeout.String(); err == nil || err.Error() != want || !IsUnavailable(err) {
				t.Errorf("it gives %v, not %s", err, want)
			}
			if took := time.Since(began); took != timeout { // in the time of the bubble
				t.Errorf("it takes %s, not %s", took, timeout)
			}
		}
	})
}

// Of two clients of one Reporter, each waits for a login as long as its own timeout says, also where both wait at once.
func TestLoginsOfDifferentTimeouts(t *testing.T) {
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{answer: hangingFor(10*time.Second, answering(200, `{"accessToken":"token-a","expiresIn":3600}`))}
			clients := make([]*Client, 2)
			pool := &Pool{Network: Network{InPlace: s}}
			timeouts := []time.Duration{5 * time.Second, 20 * time.Second}
			for i, timeout := range timeouts {
				var err error
				clients[i], err = pool.Client(timeout.String(), Config{BaseURL: "http://reporter", AccessManager: &AccessManager{URL: "http://manager"}, Timeout: timeout})
				if err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			var took [2]time.Duration
			var found [2]error
			var group sync.WaitGroup
			for _, i := range order {
				group.Go(func() {
					_, found[i] = clients[i].Login(t.Context())
					took[i] = time.Since(began)
				})
				synctest.Wait()
			}
			group.Wait()
			if want := "POST /v1/login/oauth/access_token: no answer within 5s"; found[0] == nil || found[0].Error() != want || took[0] != 5*time.Second {
				t.Errorf("who waits for 5 s gets %v after %s, not %s", found[0], took[0], want)
			}
			if found[1] != nil || took[1] != 10*time.Second {
				t.Errorf("who waits for 20 s gets %v after %s", found[1], took[1])
			}
			if _, err := clients[0].Login(t.Context()); err != nil || len(s.sent) != 2 {
				t.Errorf("the token is not for both: %v, %d logins", err, len(s.sent))
			}
		})
	}
}

// hanging never answers.
type hanging struct{}

func (hanging) RoundTrip(request *http.Request) (*http.Response, error) {
	<-request.Context().Done()
	return nil, request.Context().Err()
}

// After the time that it asked for, the Access Manager is asked again.
func TestLoginPauseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, manager, c := newRealm(t)
		manager.Inject(reportertest.Fault{Times: 1, Do: reportertest.Answer(429, http.Header{"Retry-After": {"300"}}, "")})
		for _, step := range []struct {
			after, wait time.Duration
		}{{0, 300 * time.Second}, {100 * time.Second, 200 * time.Second}, {200*time.Second - 1, 1}} {
			<-time.After(step.after)
			if _, err := c.Login(t.Context()); !IsRateLimited(err) || RetryAfter(err) != step.wait {
				t.Errorf("%v asks to wait %s, not %s", err, RetryAfter(err), step.wait)
			}
		}
		<-time.After(1)
		if _, err := c.Login(t.Context()); err != nil {
			t.Errorf("after the pause: %v", err)
		}
		if n := len(manager.Requests()); n != 2 {
			t.Errorf("the Access Manager got %d requests, not 2", n)
		}
	})
}

// What Reporter asks for is not asked for by the Access Manager: a token may be got meanwhile.
func TestPauseIsNotTheLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, manager, c := newRealm(t)
		manager.SetTokenLife(time.Minute)
		r.Inject(reportertest.Fault{Times: 1, Do: reportertest.Answer(429, http.Header{"Retry-After": {"300"}}, "")})
		for _, step := range []struct {
			after  time.Duration
			logins int
		}{{0, 1}, {time.Minute, 2}} {
			<-time.After(step.after)
			err := c.Check(t.Context())
			var e *Error
			if !errors.As(err, &e) || !IsRateLimited(err) || e.Login || RetryAfter(err) != 300*time.Second-step.after {
				t.Errorf("after %s it gives %+v", step.after, err)
			}
			expectLogins(t, manager, step.logins)
		}
		if n := len(r.Requests()); n != 1 {
			t.Errorf("Reporter got %d requests, not one", n)
		}
	})
}
