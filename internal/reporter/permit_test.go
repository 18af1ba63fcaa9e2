// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

var errNotPermitted = errors.New("the endpoint is suspended")

// Without permission nothing is sent, and why is returned as it is. It counts as no request under way.
func TestDeleteWithoutPermission(t *testing.T) {
	r, _, c := newRealm(t)
	refusal := fmt.Errorf("asking: %w", errNotPermitted)
	for range 2 * maxConnections {
		err := c.Delete(t.Context(), ledgerID, func(context.Context, Tenant) error { return refusal })
		if err != refusal || !errors.Is(err, errNotPermitted) || MayHaveActed(err) || IsUnavailable(err) { //nolint:errorlint // this very one
			t.Fatalf("it gives %v", err)
		}
	}
	if n := len(r.Requests()); n != 0 || c.pace.allowance.underWay != 0 || len(c.slots) != 0 || c.Outage() != nil {
		t.Errorf("Reporter got %d requests, %d are counted as under way, %d hold a slot, the breaker says %v", n, c.pace.allowance.underWay, len(c.slots), c.Outage())
	}
	if err := c.Delete(t.Context(), "ledger-db", func(context.Context, Tenant) error { return refusal }); !IsInvalidID(err) {
		t.Errorf("permission is asked for what is never sent: %v", err)
	}
}

// Permission is asked for when there is nothing to wait for any more: the login is made, the pause is over, others have ended.
func TestPermissionIsTheLastThing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, manager, c := newRealm(t)
		login, endLogin := gate()
		manager.Inject(reportertest.Fault{Times: 1, Do: login})
		for range maxConnections {
			c.slots <- struct{}{}
		}
		var steps []string
		c.roundTripper = inPlace{roundTripFunc(func(request *http.Request) (*http.Response, error) {
			steps = append(steps, "sent")
			return direct{r}.RoundTrip(request)
		})}
		type key struct{}
		ctx := context.WithValue(t.Context(), key{}, "of the caller")
		var permitted time.Time
		deleted := make(chan error, 1)
		go func() {
			deleted <- c.Delete(ctx, ledgerID, func(ctx context.Context, _ Tenant) error {
				if ctx.Value(key{}) != "of the caller" {
					t.Error("permission is asked for with another context")
				}
				if _, limited := ctx.Deadline(); limited {
					t.Error("asking for permission takes from the time of the request")
				}
				expectLogins(t, manager, 1)
				steps = append(steps, "permitted")
				permitted = time.Now()
				return nil
			})
		}()
		synctest.Wait()
		<-time.After(time.Minute)
		if len(steps) > 0 {
			t.Errorf("%q before the login", steps)
		}
		endLogin()
		synctest.Wait()
		<-time.After(time.Minute)
		if len(steps) > 0 {
			t.Errorf("%q while as many requests are under way as may be", steps)
		}
		<-c.slots
		if err := <-deleted; err != nil || !slices.Equal(steps, []string{"permitted", "sent"}) || time.Since(permitted) != 0 {
			t.Errorf("it gives %v after %q, sent %s after permission", err, steps, time.Since(permitted))
		}
	})
}

// An API server that takes long to say whether a request may be sent leaves Reporter the whole of its time.
func TestPermissionTakesNoneOfTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, c := newRealm(t)
		c.timeout = 10 * time.Second
		err := c.Delete(t.Context(), ledgerID, func(context.Context, Tenant) error {
			<-time.After(time.Minute)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// What a pause, a limit or the breaker holds back is asked no permission for.
func TestNoPermissionForWhatIsHeld(t *testing.T) {
	for name, hold := range map[string]func(*Client){
		"a pause":     func(c *Client) { c.pace.others.begin(&Error{retryAfter: time.Minute}, time.Now()) },
		"a limit":     func(c *Client) { c.pace.allowance.left, c.pace.allowance.renewal = 0, time.Now().Add(time.Minute) },
		"the breaker": func(c *Client) { c.outage.begin(&Error{kind: kindUnavailable}, time.Now(), false) },
	} {
		_, _, c := newRealm(t)
		if _, err := c.Login(t.Context()); err != nil {
			t.Fatal(err)
		}
		hold(c)
		asked := 0
		permit := func(context.Context, Tenant) error {
			asked++
			return nil
		}
		if err := c.Delete(t.Context(), ledgerID, permit); err == nil || asked != 0 {
			t.Errorf("%s: it gives %v, and permission is asked for %d times", name, err, asked)
		}
		// Who is in a hurry is not held, but needs permission.
		if err := c.Delete(WithUrgency(t.Context()), ledgerID, func(context.Context, Tenant) error { return errNotPermitted }); !errors.Is(err, errNotPermitted) {
			t.Errorf("%s, with urgency, without permission: it gives %v", name, err)
		}
		if err := c.Delete(WithUrgency(t.Context()), ledgerID, permit); err != nil || asked != 1 {
			t.Errorf("%s, with urgency: it gives %v, and permission is asked for %d times", name, err, asked)
		}
		if _, err := c.Get(t.Context(), ledgerID); name != "the breaker" && IsNotFound(err) {
			t.Errorf("%s is over for all by the urgency of one", name)
		}
	}
}

// A login that an urgent request needs is made too, though the Access Manager asked to be left alone.
func TestUrgentLogin(t *testing.T) {
	_, manager, c := newRealm(t)
	manager.Inject(reportertest.Fault{Times: 1, Do: reportertest.Answer(429, http.Header{"Retry-After": {"300"}}, "")})
	for range 2 {
		if _, err := c.Login(t.Context()); !IsRateLimited(err) {
			t.Errorf("it gives %v", err)
		}
	}
	if _, err := c.Get(WithUrgency(t.Context()), ledgerID); err != nil {
		t.Errorf("with urgency: %v", err)
	}
	if n := len(manager.Requests()); n != 2 {
		t.Errorf("the Access Manager got %d requests, not 2", n)
	}
}

// A record of a creation names the tenant that it is made in: that of the very token that is sent, whoever has logged in meanwhile.
func TestPermissionOfACreateKnowsTheTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, manager, c := newRealm(t)
		manager.AddClient("operator", "hunter2", "acme")
		for range maxConnections {
			c.slots <- struct{}{}
		}
		var asked []Tenant
		created := make(chan error, 1)
		go func() {
			_, err := c.Create(t.Context(), "billing", Settings{}, func(_ context.Context, tenant Tenant) error {
				asked = append(asked, tenant)
				return errNotPermitted
			})
			created <- err
		}()
		synctest.Wait() // it has a token, and waits for its turn
		manager.AddClient("operator", "hunter2", "globex")
		c.session.drop(c.session.current())
		if tenant, err := c.Login(t.Context()); err != nil || tenant.ID != "globex" {
			t.Fatalf("the login gives %+v, %v", tenant, err)
		}
		<-c.slots
		if err := <-created; !errors.Is(err, errNotPermitted) || !slices.Equal(asked, []Tenant{{ID: "acme", Readable: true}}) {
			t.Errorf("it gives %v, asked with %+v", err, asked)
		}
	})
}

// What is permitted now is sent within ten seconds, or given up: whoever counts from then how late Reporter may carry it out has to be
// able to rely on that. Once it was sent, the timeout counts.
func TestCreateIsSentInTimeOrNotAtAll(t *testing.T) {
	untilGivenUp := func(request *http.Request) (*http.Response, error) {
		<-request.Context().Done()
		return nil, request.Context().Err()
	}
	for name, test := range map[string]struct {
		permit       time.Duration
		roundTrip    func(*http.Request, *httptrace.ClientTrace) (*http.Response, error)
		took         time.Duration
		text         string
		mayHaveActed bool
		attempts     int
	}{
		"permission takes long": {9 * time.Second, func(request *http.Request, trace *httptrace.ClientTrace) (*http.Response, error) {
			trace.GotConn(httptrace.GotConnInfo{})
			return untilGivenUp(request)
		}, 10 * time.Second, "the request could not be sent within 10s", true, 1},
		"permission takes too long": {10 * time.Second, func(request *http.Request, trace *httptrace.ClientTrace) (*http.Response, error) {
			trace.GotConn(httptrace.GotConnInfo{})
			return untilGivenUp(request)
		}, 10 * time.Second, "the request could not be sent within 10s", false, 1},
		"dialling hangs": {0, func(request *http.Request, _ *httptrace.ClientTrace) (*http.Response, error) {
			return untilGivenUp(request)
		}, time.Hour, "no answer within 1h0m0s", false, 1},
		"writing hangs": {0, func(request *http.Request, trace *httptrace.ClientTrace) (*http.Response, error) {
			trace.GotConn(httptrace.GotConnInfo{})
			return untilGivenUp(request)
		}, 10 * time.Second, "the request could not be sent within 10s", true, 1},
		"the answer hangs": {9 * time.Second, func(request *http.Request, trace *httptrace.ClientTrace) (*http.Response, error) {
			trace.GotConn(httptrace.GotConnInfo{})
			trace.WroteRequest(httptrace.WroteRequestInfo{})
			return untilGivenUp(request)
		}, 9*time.Second + time.Hour, "no answer within 1h0m0s", true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, _, c := newRealm(t)
				attempts := 0
				c.roundTripper = roundTripFunc(func(request *http.Request) (*http.Response, error) {
					attempts++
					return test.roundTrip(request, httptrace.ContextClientTrace(request.Context()))
				})
				began := time.Now()
				_, err := c.Create(t.Context(), "billing", Settings{}, func(context.Context, Tenant) error {
					<-time.After(test.permit)
					return nil
				})
				took := time.Since(began)
				var e *Error
				if !errors.As(err, &e) || !IsUnavailable(err) || e.Err == nil || e.Err.Error() != test.text || MayHaveActed(err) != test.mayHaveActed {
					t.Errorf("it gives %v, may have acted: %t", err, MayHaveActed(err))
				}
				if took != test.took || attempts != test.attempts {
					t.Errorf("it took %s and %d attempts", took, attempts)
				}
			})
		})
	}
}

// HTTP/2 lets a server say that it has not begun with a request, upon which Go's transport sends it again, later each time. What was
// permitted before is not.
func TestHTTP2RepeatsNothingThatActs(t *testing.T) {
	for name, act := range map[string]func(*Client) error{
		"DELETE": func(c *Client) error { return c.Delete(t.Context(), ledgerID, permitted) },
		"POST": func(c *Client) error {
			_, err := c.Create(t.Context(), "billing", Settings{}, permitted)
			return err
		},
		"PATCH": func(c *Client) error {
			_, err := c.Update(t.Context(), ledgerID, Settings{}, permitted)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			methods := make(chan string, 100)
			go serveRefusingStreams(listener, methods)

			pool := &Pool{Network: Network{AllowLoopback: true}}
			c, err := pool.Client("endpoint", Config{BaseURL: "http://" + listener.Addr().String(), Timeout: 10 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			c.roundTripper = &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, address string, _ *tls.Config) (net.Conn, error) { //nolint:staticcheck // the retries of HTTP/2 are its own
				return new(net.Dialer).DialContext(ctx, network, address)
			}}
			err = act(c)
			if !errors.Is(err, errNotBegun) || !IsUnavailable(err) || c.Outage() != nil {
				t.Errorf("it gives %v, and the breaker says %v", err, c.Outage())
			}
			if n := len(methods); n != 1 {
				t.Errorf("%d requests were sent", n)
			}
		})
	}
}

// serveRefusingStreams speaks HTTP/2 without TLS, and begins with no request. It reports the method of each.
func serveRefusingStreams(listener net.Listener, methods chan<- string) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			preface := make([]byte, len(http2.ClientPreface))
			if _, err := conn.Read(preface); err != nil {
				return
			}
			framer := http2.NewFramer(conn, conn)
			framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
			_ = framer.WriteSettings()
			for {
				frame, err := framer.ReadFrame()
				if err != nil {
					return
				}
				switch frame := frame.(type) {
				case *http2.SettingsFrame:
					if !frame.IsAck() {
						_ = framer.WriteSettingsAck()
					}
				case *http2.MetaHeadersFrame:
					methods <- frame.PseudoValue("method")
					_ = framer.WriteRSTStream(frame.StreamID, http2.ErrCodeRefusedStream)
				}
			}
		}()
	}
}

// newTLSTest returns a server that speaks HTTP/1 or HTTP/2, and whose handshakes wait for a function, and a client of it.
func newTLSTest(t *testing.T, overHTTP2 bool, handshake func(), handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = overHTTP2
	server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		handshake()
		return nil, nil //nolint:nilnil // the one there is
	}}
	server.StartTLS()
	t.Cleanup(server.Close)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	pool := &Pool{Network: Network{AllowLoopback: true}}
	c, err := pool.Client("endpoint", Config{BaseURL: server.URL, TLS: TLS{CABundle: string(authority)}, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Permission is asked for when there is a connection: a server may take its time for the handshake.
func TestPermissionIsAskedForAfterTheHandshake(t *testing.T) {
	for name, overHTTP2 := range map[string]bool{"HTTP/1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			var shaken atomic.Bool
			c := newTLSTest(t, overHTTP2, func() {
				<-time.After(100 * time.Millisecond) // in which there is time to ask
				shaken.Store(true)
			}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
			err := c.Delete(t.Context(), ledgerID, func(context.Context, Tenant) error {
				if !shaken.Load() {
					t.Error("permission is asked for before the handshake")
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// What is not permitted when the connection is there reaches no server, on a connection that is used for the first time or again, and
// others' requests on the same connection go on.
func TestNothingIsWrittenWithoutPermission(t *testing.T) {
	for name, overHTTP2 := range map[string]bool{"HTTP/1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			var deletions atomic.Int32
			var version atomic.Value
			started, goOn := make(chan struct{}), make(chan struct{})
			goesOn := sync.OnceFunc(func() { close(goOn) })
			defer goesOn() // else a server that is closed after a failure waits for its handler
			c := newTLSTest(t, overHTTP2, func() {}, func(w http.ResponseWriter, r *http.Request) {
				version.Store(r.Proto[:6])
				if r.Method == http.MethodDelete {
					deletions.Add(1)
					w.WriteHeader(http.StatusNoContent)
					return
				}
				close(started)
				<-goOn
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, `{"id":"`+ledgerID+`"}`)
			})
			got := make(chan error, 1)
			go func() {
				_, err := c.Get(t.Context(), ledgerID)
				got <- err
			}()
			<-started
			for range 100 {
				if err := c.Delete(t.Context(), ledgerID, func(context.Context, Tenant) error { return errNotPermitted }); !errors.Is(err, errNotPermitted) || MayHaveActed(err) {
					t.Fatalf("it gives %v", err)
				}
			}
			if n := deletions.Load(); n != 0 || c.Outage() != nil {
				t.Errorf("%d were sent, and the breaker says %v", n, c.Outage())
			}
			goesOn()
			if err := <-got; err != nil {
				t.Errorf("another's request on the connection: %v", err)
			}
			if err := c.Delete(t.Context(), ledgerID, permitted); err != nil || deletions.Load() != 1 || version.Load() != name {
				t.Errorf("with permission it gives %v over %v, and %d were sent", err, version.Load(), deletions.Load())
			}
		})
	}
}
