// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// server is one whose behaviour a test changes between requests.
type server struct {
	answer func(*http.Request) (*http.Response, error)
	sent   []string // the methods of what arrived
	tried  int      // how often a request on trial was due
	nobody bool     // waits for one
}

func (s *server) RoundTrip(request *http.Request) (*http.Response, error) {
	s.sent = append(s.sent, request.Method)
	return s.answer(request)
}

func answering(status int, body string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

func refusing(*http.Request) (*http.Response, error) { return nil, io.EOF }

func hangingFor(d time.Duration, then func(*http.Request) (*http.Response, error)) func(*http.Request) (*http.Response, error) {
	return func(request *http.Request) (*http.Response, error) {
		select {
		case <-time.After(d):
			return then(request)
		case <-request.Context().Done():
			return nil, request.Context().Err()
		}
	}
}

const emptyList = `{"items":[]}`

// newOutageTest returns a server that answers, a client of it for each timeout, and how often it was said to have recovered.
func newOutageTest(t *testing.T, timeouts ...time.Duration) (s *server, clients []*Client, recovered *int) {
	t.Helper()
	s, recovered = &server{answer: answering(200, emptyList)}, new(int)
	pool := &Pool{Network: Network{InPlace: s}, Recovered: func(Identity) { *recovered++ }, Tried: func(Identity) bool { s.tried++; return !s.nobody }}
	for _, timeout := range timeouts {
		c, err := pool.Client(timeout.String(), Config{BaseURL: "http://reporter", Timeout: timeout})
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
	}
	return s, clients, recovered
}

// requests are those after which it is known whether Reporter answers.
var requests = map[string]func(context.Context, *Client) error{
	"Delete": func(ctx context.Context, c *Client) error { return c.Delete(ctx, ledgerID, permitted) },
	"Get": func(ctx context.Context, c *Client) error {
		_, err := c.Get(ctx, ledgerID)
		return err
	},
	"Check": func(ctx context.Context, c *Client) error { return c.Check(ctx) },
}

// No answer to any request opens the breaker, and an answer to any closes it, whatever it says.
func TestOutageOfAnyRequest(t *testing.T) {
	for opening, open := range requests {
		for closing, shut := range requests {
			for status, body := range map[int]string{200: emptyList, 204: "", 401: "", 403: "<html>", 404: `{"code":"FET-1001"}`, 429: ""} {
				synctest.Test(t, func(t *testing.T) {
					s, clients, recovered := newOutageTest(t, time.Minute)
					c := clients[0]
					s.answer = refusing
					if err := open(t.Context(), c); !IsUnavailable(err) || IsHeldBack(err) {
						t.Errorf("%s without an answer gives %v", opening, err)
					}
					if err := c.Outage(); !IsHeldBack(err) || !IsUnavailable(err) || MayHaveActed(err) {
						t.Errorf("after %s without an answer the breaker says %v", opening, err)
					}
					s.answer = answering(status, body)
					_ = shut(WithUrgency(t.Context()), c)
					if err := c.Outage(); err != nil || *recovered != 1 {
						t.Errorf("after %s was answered with %d, %d recoveries, and the breaker says %v", closing, status, *recovered, err)
					}
				})
			}
		}
	}
}

// What is held back is not sent, and says what it is about itself.
func TestHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, clients, _ := newOutageTest(t, time.Minute)
		c := clients[0]
		s.answer = refusing
		_, _ = c.Get(t.Context(), "019996b9-174d-7a23-9f87-f7336d5ad98c")
		s.sent = nil
		err := c.Delete(t.Context(), ledgerID, func(context.Context, Tenant) error {
			t.Error("permission is asked for what is held back")
			return nil
		})
		const want = "DELETE /v1/management/connections/019996b8-f3d1-7d2b-a192-6e91464d82fc: connection closed before the answer was complete"
		if !IsHeldBack(err) || err.Error() != want {
			t.Errorf("it gives %v, not %s", err, want)
		}
		if _, err := c.Login(t.Context()); !IsHeldBack(err) {
			t.Errorf("a login gives %v", err)
		}
		if len(s.sent) > 0 {
			t.Errorf("sent %q", s.sent)
		}
	})
}

// While the breaker is open, one Check a second is made, one at a time; errors of the server's do not close it.
func TestProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, clients, recovered := newOutageTest(t, time.Minute)
		c := clients[0]
		s.answer = answering(503, "")
		if err := c.Check(t.Context()); !IsUnavailable(err) || IsHeldBack(err) || c.Outage() == nil {
			t.Errorf("a Check that finds an error of the server's gives %v, and the breaker says %v", err, c.Outage())
		}
		if err := c.Check(t.Context()); !IsHeldBack(err) || len(s.sent) != 1 {
			t.Errorf("another one right after it gives %v", err)
		}
		<-time.After(time.Second)
		s.answer = hangingFor(2*time.Second, answering(500, ""))
		slow := make(chan error, 1)
		go func() { slow <- c.Check(t.Context()) }()
		synctest.Wait() // until it is sent
		<-time.After(1500 * time.Millisecond)
		if err := c.Check(t.Context()); !IsHeldBack(err) || len(s.sent) != 2 {
			t.Errorf("one while another is under way gives %v", err)
		}
		if err := <-slow; !IsUnavailable(err) || IsHeldBack(err) {
			t.Errorf("the one that is under way gives %v", err)
		}
		s.answer = answering(500, "")
		_, _ = c.Get(WithUrgency(t.Context()), ledgerID)
		if err := c.Outage(); err == nil || *recovered != 0 {
			t.Errorf("after an error of the server's, %d recoveries, and the breaker says %v", *recovered, err)
		}
		<-time.After(time.Second)
		s.answer = answering(200, emptyList)
		if err := c.Check(t.Context()); err != nil || c.Outage() != nil || *recovered != 1 {
			t.Errorf("a good Check gives %v, %d recoveries, and the breaker says %v", err, *recovered, c.Outage())
		}
	})
}

// A list that fails says little of a DELETE: one is tried now and then, and any answer to it ends the outage, which Checks that fail do not
// begin again.
func TestListAloneFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, clients, recovered := newOutageTest(t, time.Minute)
		c := clients[0]
		others := answering(500, "")
		s.answer = func(request *http.Request) (*http.Response, error) {
			if strings.HasSuffix(request.URL.Path, connectionsPath) {
				return answering(500, "")(request)
			}
			return others(request)
		}
		check := func(tried int, isOpen bool) {
			t.Helper()
			<-time.After(time.Second)
			if err := c.Check(t.Context()); !IsUnavailable(err) || s.tried != tried || (c.Outage() != nil) != isOpen {
				t.Errorf("a Check gives %v, there have been %d trials, not %d, and the breaker says %v", err, s.tried, tried, c.Outage())
			}
		}
		check(1, true)
		var held *Error
		if err := c.Delete(t.Context(), ledgerID, permitted); !errors.As(err, &held) || !held.heldBack || held.Detail() != "listing connections: 500 Internal Server Error" {
			t.Errorf("a DELETE that is not on trial gives %v", err)
		}
		if err := c.Delete(OnTrial(t.Context()), ledgerID, permitted); !IsUnavailable(err) || IsHeldBack(err) || c.Outage() == nil {
			t.Errorf("one on trial that fails gives %v", err)
		}
		check(2, true)
		others = answering(409, `{"code":"FET-1021"}`)
		if err := c.Delete(OnTrial(t.Context()), ledgerID, permitted); !IsJobInProgress(err) || c.Outage() != nil || *recovered != 1 {
			t.Errorf("one on trial that is answered gives %v, %d recoveries, and the breaker says %v", err, *recovered, c.Outage())
		}
		check(2, false)
		others = answering(503, "")
		_ = c.Delete(t.Context(), ledgerID, permitted)
		check(3, true) // now others fail as well
	})
}

// Requests on trial are rare where Checks take long.
func TestTrialsOfAServerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, clients, _ := newOutageTest(t, time.Minute)
		s.answer = hangingFor(time.Hour, refusing)
		for began := time.Now(); time.Since(began) < time.Hour; {
			_ = clients[0].Check(t.Context())
			<-time.After(time.Second)
		}
		if s.tried != 6 {
			t.Errorf("there have been %d trials in an hour", s.tried)
		}
	})
}

// A trial that found nobody waiting is kept for the first who does, and for no other.
func TestTrialIsKeptWhileNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, clients, _ := newOutageTest(t, time.Minute)
		c := clients[0]
		offer := func(tried int) {
			t.Helper()
			c.OfferTrial()
			if s.tried != tried {
				t.Errorf("there have been %d trials, not %d", s.tried, tried)
			}
		}
		offer(0) // Reporter answers
		s.answer, s.nobody = answering(500, ""), true
		_ = c.Check(t.Context())
		offer(2) // nobody waits yet
		s.nobody = false
		offer(3)
		offer(3)
		s.nobody = true
		<-time.After(time.Second)
		_ = c.Check(t.Context())
		s.answer = answering(200, emptyList)
		<-time.After(time.Second)
		if err := c.Check(t.Context()); err != nil {
			t.Error(err)
		}
		offer(4) // it answers again
	})
}

// An error of the server's for one connection says nothing of the others.
func TestServerErrorOfOneConnection(t *testing.T) {
	s, clients, _ := newOutageTest(t, time.Minute)
	s.answer = answering(500, "")
	for name, request := range requests {
		if name == "Check" {
			continue
		}
		if err := request(t.Context(), clients[0]); !IsUnavailable(err) || clients[0].Outage() != nil {
			t.Errorf("%s gives %v, and the breaker says %v", name, err, clients[0].Outage())
		}
	}
}

// What took so long that others have been answered meanwhile is old news.
func TestOldSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, clients, _ := newOutageTest(t, 10*time.Second)
		c := clients[0]
		s.answer = hangingFor(time.Hour, refusing)
		silent := make(chan error, 1)
		go func() { silent <- c.Delete(t.Context(), ledgerID, permitted) }()
		synctest.Wait() // until it is sent
		<-time.After(5 * time.Second)
		s.answer = answering(200, emptyList)
		if err := c.Check(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-silent; !IsUnavailable(err) {
			t.Errorf("it gives %v", err)
		}
		if err := c.Outage(); err != nil {
			t.Errorf("the breaker says %v", err)
		}
	})
}

// Who gives up a request early, or is not let through, learns nothing of Reporter.
func TestNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, clients, _ := newOutageTest(t, 10*time.Second)
		c := clients[0]
		s.answer = hangingFor(time.Hour, refusing)
		for name, request := range requests {
			short, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := request(short, c); !errors.Is(err, context.DeadlineExceeded) || c.Outage() != nil {
				t.Errorf("%s gives %v, and the breaker says %v", name, err, c.Outage())
			}
			cancel()
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			if err := request(ended, c); !errors.Is(err, context.Canceled) || c.Outage() != nil {
				t.Errorf("%s gives %v, and the breaker says %v", name, err, c.Outage())
			}
		}
		for range maxConnections { // all that may be under way
			c.slots <- struct{}{}
		}
		for name, request := range requests {
			began := time.Now()
			if err := request(t.Context(), c); !errors.Is(err, errAllInUse) || !IsUnavailable(err) || c.Outage() != nil || time.Since(began) != 10*time.Second {
				t.Errorf("%s among too many gives %v after %s, and the breaker says %v", name, err, time.Since(began), c.Outage())
			}
		}
	})
}

// Running out of a short timeout says nothing to who has more patience; running out of a long one says it to all.
func TestOutageOfATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, clients, recovered := newOutageTest(t, 5*time.Second, 20*time.Second, 60*time.Second)
		short, middle, long := clients[0], clients[1], clients[2]
		expect := func(what string, want ...bool) {
			t.Helper()
			for i, c := range []*Client{short, middle, long} {
				if held := c.Outage(); (held != nil) != want[i] {
					t.Errorf("%s: the client with %s is held by %v, not %t", what, c.timeout, held, want[i])
				}
			}
		}
		s.answer = hangingFor(10*time.Second, answering(200, emptyList))
		_ = short.Delete(t.Context(), ledgerID, permitted)
		expect("after 5 s", true, false, false)
		if text := short.Outage().Error(); !strings.HasSuffix(text, ": no answer within 5s") {
			t.Errorf("the reason is %s", text)
		}
		s.answer = hangingFor(time.Hour, refusing)
		_, _ = middle.Get(t.Context(), ledgerID)
		expect("after 20 s", true, true, false)
		if text := short.Outage().Error(); !strings.HasSuffix(text, ": no answer within 5s") {
			t.Errorf("the reason for whom 5 s are given is %s", text)
		}
		_ = short.Check(t.Context())
		expect("after 5 s again", true, true, false)
		s.answer = refusing
		_, _ = long.Get(t.Context(), ledgerID)
		expect("after no connection", true, true, true)
		<-time.After(time.Second)
		s.answer = hangingFor(10*time.Second, answering(200, emptyList))
		if err := long.Check(t.Context()); err != nil || *recovered != 1 {
			t.Errorf("a slow answer gives %v and %d recoveries", err, *recovered)
		}
		expect("after an answer", false, false, false)
	})
}

// A login that fails says nothing of Reporter, unless it is that of a Check, without which nothing can be sent.
func TestOutageOfTheLogin(t *testing.T) {
	s := &server{answer: refusing}
	pool := &Pool{Network: Network{InPlace: s}}
	c, err := pool.Client("endpoint", Config{BaseURL: "http://reporter", AccessManager: &AccessManager{URL: "http://manager"}, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Login(t.Context()); !IsUnavailable(err) || c.Outage() != nil {
		t.Errorf("a login gives %v, and the breaker says %v", err, c.Outage())
	}
	_ = c.Delete(t.Context(), ledgerID, permitted)
	if err := c.Outage(); err != nil {
		t.Errorf("after a DELETE without a login the breaker says %v", err)
	}
	_ = c.Check(t.Context())
	const want = "POST /v1/login/oauth/access_token: connection closed before the answer was complete"
	if err := c.Outage(); err == nil || err.Error() != want {
		t.Errorf("after a Check without a login the breaker says %v, not %s", err, want)
	}
}
