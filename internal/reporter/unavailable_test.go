// SPDX-License-Identifier: Apache-2.0

package reporter_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reporter-operator/reporter-operator/internal/reporter"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// serveTLS serves a Reporter with a certificate for 127.0.0.1 that nobody trusts, unless configured otherwise.
func serveTLS(t *testing.T, config *tls.Config) (url string) {
	t.Helper()
	return serveOverTLS(t, reportertest.New(), config)
}

func serveOverTLS(t *testing.T, handler http.Handler, config *tls.Config) (url string) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.TLS = config
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

// certificate returns one for 127.0.0.1 that is valid between two days from now.
func certificate(t *testing.T, from, to int) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    time.Now().AddDate(0, 0, from),
		NotAfter:     time.Now().AddDate(0, 0, to),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serveTCP lets answer speak on each connection, and closes it after that.
func serveTCP(t *testing.T, answer func(net.Conn)) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				answer(conn)
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

// say answers a request with a text, whatever that is.
func say(text string) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, text)
		}
	}
}

// inject returns the URL of a Reporter that misbehaves.
func inject(t *testing.T, do reportertest.Behaviour) (url string) {
	t.Helper()
	r, server := serve(t)
	r.Inject(reportertest.Fault{Do: do})
	return server.URL
}

// Without a complete answer nobody knows what happened. The text says why, the same way each time, as it goes into a status;
// it holds nothing that a server or an ephemeral port puts there.
func TestNoAnswer(t *testing.T) {
	const token = "eyJhbGciOiJub25lIn0.e30.c2VjcmV0"
	const closed = "connection closed before the answer was complete"
	const notHTTP = "the answer is not HTTP, or the connection failed"
	const long = 10 * time.Second
	for _, test := range []struct {
		name    string
		serve   func(*testing.T) (url string)
		timeout time.Duration
		text    string
	}{
		{"refused", func(t *testing.T) string {
			_, server := serve(t)
			server.Down()
			return server.URL
		}, long, "connection refused"},
		{"no such host", func(*testing.T) string { return "http://reporter..internal" }, long, "host reporter..internal not found"},
		{"reset", func(t *testing.T) string { return inject(t, reportertest.Reset()) }, long, "connection reset"},
		{"closed without an answer", func(t *testing.T) string { return serveTCP(t, say("")) }, long, closed},
		{"closed in the header", func(t *testing.T) string { return serveTCP(t, say("HTTP/1.1 204 No Con")) }, long, closed},
		{"closed after the status", func(t *testing.T) string { return serveTCP(t, say("HTTP/1.1 204 No Content\r\n")) }, long, closed},
		{"cut", func(t *testing.T) string {
			return serveTCP(t, say("HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"+absent))
		},
			long, closed},
		{"cut between chunks", func(t *testing.T) string {
			return serveTCP(t, say(fmt.Sprintf("HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n"+
				"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(absent), absent)))
		}, long, closed},
		{"bad chunks", func(t *testing.T) string {
			return serveTCP(t, say("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n"))
		}, long, notHTTP},
		{"bad compression", func(t *testing.T) string {
			return inject(t, reportertest.Answer(404, http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}, absent))
		}, long, notHTTP},
		{"another protocol", func(t *testing.T) string { return serveTCP(t, say("SSH-2.0-OpenSSH_9.9 secret\r\n")) }, long, notHTTP},
		{"a status that is none", func(t *testing.T) string { return serveTCP(t, say("HTTP/1.1 2O4 secret\r\n\r\n")) }, long, notHTTP},
		{"an endless header", func(t *testing.T) string {
			return serveTCP(t, say("HTTP/1.1 204 No Content\r\nX: "+strings.Repeat("secret", 100_000)+"\r\n\r\n"))
		}, long, notHTTP},
		{"hanging", func(t *testing.T) string { return inject(t, reportertest.Hang()) }, 20 * time.Millisecond, "no answer within 20ms"},
		{"hanging in the body", func(t *testing.T) string {
			return inject(t, func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
				reportertest.SlowBody(1<<60)(w, req, func(w http.ResponseWriter, req *http.Request) { jsonAnswer(404, absent)(w, req, act) })
			})
		}, 20 * time.Millisecond, "no answer within 20ms"},
		{"hanging before the TLS handshake", func(t *testing.T) string {
			return strings.Replace(serveTCP(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }), "http:", "https:", 1)
		}, 20 * time.Millisecond, "no answer within 20ms"},
		{"an unknown authority", func(t *testing.T) string { return serveTLS(t, nil) }, long, "TLS: the certificate is signed by an authority that is not trusted: put the authority's certificate into spec.tls.caBundle"},
		{"a certificate for another name", func(t *testing.T) string { return strings.Replace(serveTLS(t, nil), "127.0.0.1", "localhost", 1) },
			long, "TLS: the certificate is not valid for localhost: put a name that it is for into spec.tls.serverName"},
		{"an expired certificate", func(t *testing.T) string {
			return serveTLS(t, &tls.Config{Certificates: []tls.Certificate{certificate(t, -2, -1)}})
		}, long, "TLS: the certificate has expired or is not valid yet"},
		{"a certificate of the future", func(t *testing.T) string {
			return serveTLS(t, &tls.Config{Certificates: []tls.Certificate{certificate(t, 1, 2)}})
		}, long, "TLS: the certificate has expired or is not valid yet"},
		{"an old version of TLS", func(t *testing.T) string { return serveTLS(t, &tls.Config{MaxVersion: tls.VersionTLS11}) }, long, "TLS: the server refused the handshake"},
		{"plain HTTP instead of TLS", func(t *testing.T) string {
			_, server := serve(t)
			return strings.Replace(server.URL, "http:", "https:", 1)
		}, long, "the server does not speak TLS: try http:// in the URL"},
		{"anything instead of TLS", func(t *testing.T) string {
			return strings.Replace(serveTCP(t, func(conn net.Conn) {
				_, _ = io.WriteString(conn, "220 secret ESMTP\r\n")
				_, _ = io.Copy(io.Discard, conn)
			}), "http:", "https:", 1)
		}, long, "the server does not speak TLS: try http:// in the URL"},
		{"closed in the TLS handshake", func(t *testing.T) string {
			return strings.Replace(serveTCP(t, func(conn net.Conn) {
				if tcp, ok := conn.(*net.TCPConn); ok {
					_ = tcp.CloseWrite()
				}
				_, _ = io.Copy(io.Discard, conn) // closing what has not been read would reset the connection
			}), "http:", "https:", 1)
		}, long, closed},
	} {
		t.Run(test.name, func(t *testing.T) {
			url := test.serve(t)
			c := poolClient(t, newPool(), reporter.Config{BaseURL: url, Token: token, Timeout: test.timeout})
			for _, call := range append(slices.Clone(calls), calls...) { // the first finds out, and the others are held back because of it
				err := call.do(t.Context(), c)
				expectError(t, err, "Unavailable", call.method+" "+call.path+": "+test.text)

				var e *reporter.Error
				if errors.As(err, &e) && (e.Status != 0 || e.Code != "" || e.Err == nil || e.Err.Error() != test.text) {
					t.Errorf("its fields are %+v", *e)
				}
				if wait := reporter.RetryAfter(err); wait != 0 {
					t.Errorf("it asks to wait %s", wait)
				}
				if shown := fmt.Sprintf("%#v %+v", err, errors.Unwrap(err)); strings.Contains(shown, "secret") || strings.Contains(shown, token) {
					t.Errorf("it shows what it should not: %s", shown)
				}
			}
		})
	}
}

// A server that wants TLS answers plain HTTP with 400, which is an answer, but not Reporter's. The one of Go knows GET for HTTP,
// and hangs up on DELETE.
func TestPlainHTTPToTLS(t *testing.T) {
	c := clientOf(t, strings.Replace(serveTLS(t, nil), "https:", "http:", 1), "secret")
	for range 2 {
		expectError(t, c.Check(t.Context()), "", "GET "+listPath+": 400 Bad Request")
		expectError(t, c.Delete(t.Context(), ledgerID, permitted), "Unavailable", "DELETE "+ledgerPath+": connection closed before the answer was complete")
	}
}

// Where only the end of the connection ends a body, a cut one looks complete. It must not parse.
func TestCutWithoutALength(t *testing.T) {
	url := serveTCP(t, say("HTTP/1.0 404 Not Found\r\nContent-Type: application/json\r\n\r\n"+absent[:len(absent)-1]))
	expectError(t, clientOf(t, url, "").Delete(t.Context(), ledgerID, permitted), "", "DELETE "+ledgerPath+": 404 Not Found")
	url = serveTCP(t, say("HTTP/1.0 404 Not Found\r\nContent-Type: application/json\r\n\r\n"+absent))
	if err := clientOf(t, url, "").Delete(t.Context(), ledgerID, permitted); !reporter.IsNotFound(err) {
		t.Errorf("the whole body gives %v", err)
	}
}

// The worst of times to lose an answer: the connection is deleted, and nobody knows. Nothing is sent twice behind the caller's
// back; the caller's own second try then tells.
func TestLostAnswer(t *testing.T) {
	for _, reused := range []bool{false, true} {
		for name, test := range map[string]struct {
			do   reportertest.Behaviour
			text string
		}{
			"reset":  {reportertest.AfterActing(reportertest.Reset()), "connection reset"},
			"closed": {reportertest.CutBody(), "connection closed before the answer was complete"},
			"bad gateway": {reportertest.AfterActing(reportertest.Answer(502, nil, "")),
				"502 Bad Gateway"},
		} {
			t.Run(fmt.Sprintf("%s, on a connection used before: %t", name, reused), func(t *testing.T) {
				r, server := serve(t)
				c := clientOf(t, server.URL, "")
				if reused {
					if _, err := c.Get(t.Context(), ledgerID); err != nil {
						t.Fatal(err)
					}
					r.ResetRequests()
				}
				r.Inject(reportertest.Fault{Method: "DELETE", Times: 1, Do: test.do})
				expectError(t, c.Delete(t.Context(), ledgerID, permitted), "Unavailable", "DELETE "+ledgerPath+": "+test.text)
				expectArrived(t, r, "DELETE "+ledgerPath)
				if r.Alive(ledgerID) {
					t.Errorf("the connection was not deleted")
				}
				if err := c.Delete(reporter.WithUrgency(t.Context()), ledgerID, permitted); !reporter.IsNotFound(err) {
					t.Errorf("the second DELETE gives %v", err)
				}
			})
		}
	}
}

func TestDownAndUp(t *testing.T) {
	_, server := serve(t)
	c := clientOf(t, server.URL, "")
	for range 2 {
		if _, err := c.Get(t.Context(), ledgerID); err != nil {
			t.Errorf("while it is up: %v", err)
		}
		server.Down()
		if _, err := c.Get(t.Context(), ledgerID); !reporter.IsUnavailable(err) {
			t.Errorf("while it is down: %v", err)
		}
		if err := server.Up(); err != nil {
			t.Fatal(err)
		}
		if err := c.Check(t.Context()); err != nil {
			t.Errorf("when it is up again: %v", err)
		}
	}
}

// A caller who leaves says so himself, and is told so: it is not Reporter's fault.
func TestCanceled(t *testing.T) {
	r, server := serve(t)
	c := clientOf(t, server.URL, "")
	for _, call := range calls {
		ctx, cancel := context.WithCancel(t.Context())
		remove := r.Inject(reportertest.Fault{Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
			cancel()
			reportertest.Hang()(w, req, act)
		}})
		err := call.do(ctx, c)
		remove()
		expectError(t, err, "Unavailable", call.method+" "+call.path+": context canceled")
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v is not context.Canceled", err)
		}

		r.ResetRequests()
		if err := call.do(ctx, c); !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: %v", err)
		}
		expectArrived(t, r)
	}
}

// Who was told nothing, or nothing that a Reporter says, cannot know whether it acted. It did not where it was not asked, or refused.
func TestMayHaveActed(t *testing.T) {
	answering := func(status int) func(*testing.T, *realm, *reporter.Config) {
		return func(_ *testing.T, r *realm, _ *reporter.Config) {
			r.Inject(reportertest.Fault{Do: reportertest.Answer(status, nil, "")})
		}
	}
	misbehaving := func(do reportertest.Behaviour) func(*testing.T, *realm, *reporter.Config) {
		return func(_ *testing.T, r *realm, _ *reporter.Config) { r.Inject(reportertest.Fault{Do: do}) }
	}
	loggingIn := func(do reportertest.Behaviour) func(*testing.T, *realm, *reporter.Config) {
		return func(_ *testing.T, r *realm, _ *reporter.Config) { r.manager.Inject(reportertest.Fault{Do: do}) }
	}
	at := func(url func(*testing.T, *realm) string) func(*testing.T, *realm, *reporter.Config) {
		return func(t *testing.T, r *realm, config *reporter.Config) { config.BaseURL = url(t, r) }
	}
	for _, test := range []struct {
		name   string
		change func(*testing.T, *realm, *reporter.Config)
		want   bool
	}{
		{"200", answering(200), true},
		{"202", answering(202), true},
		{"a login page", misbehaving(reportertest.LoginPage()), true},
		{"302", answering(302), true},
		{"500", answering(500), true},
		{"502", answering(502), true},
		{"503", answering(503), true},
		{"504, and it did", misbehaving(reportertest.AfterActing(reportertest.Answer(504, nil, ""))), true},
		{"reset", misbehaving(reportertest.Reset()), true},
		{"reset, and it did", misbehaving(reportertest.AfterActing(reportertest.Reset())), true},
		{"cut", misbehaving(reportertest.CutBody()), true},
		{"not HTTP", at(func(t *testing.T, _ *realm) string { return serveTCP(t, say("SSH-2.0-OpenSSH_9.9\r\n")) }), true},
		{"reset over HTTP/2", func(t *testing.T, r *realm, config *reporter.Config) {
			ours := mustNewAuthority(t)
			config.TLS.CABundle = ours.bundle
			config.BaseURL = serveOverTLS(t, r.Reporter, &tls.Config{Certificates: []tls.Certificate{ours.issue(t, "127.0.0.1", -1, 1)}})
			r.Inject(reportertest.Fault{Do: reportertest.Reset()})
		}, true},

		{"400", answering(400), false},
		{"401", answering(401), false},
		{"403", answering(403), false},
		{"404", answering(404), false},
		{"absent", misbehaving(jsonAnswer(404, absent)), false},
		{"409", answering(409), false},
		{"429", answering(429), false},
		{"431", answering(431), false},
		{"refused", func(_ *testing.T, r *realm, _ *reporter.Config) { r.server.Down() }, false},
		{"no such host", at(func(*testing.T, *realm) string { return "http://reporter..internal" }), false},
		{"an address that is refused", at(func(_ *testing.T, r *realm) string { return strings.Replace(r.server.URL, "127.0.0.1", "0.0.0.0", 1) }), false},
		{"an unknown authority", at(func(t *testing.T, _ *realm) string { return serveTLS(t, nil) }), false},
		{"plain HTTP instead of TLS", at(func(_ *testing.T, r *realm) string { return strings.Replace(r.server.URL, "http:", "https:", 1) }), false},

		{"500 to the login", loggingIn(reportertest.Answer(500, nil, "")), false},
		{"a page to the login", loggingIn(reportertest.LoginPage()), false},
		{"reset at the login", loggingIn(reportertest.Reset()), false},
		{"no second login", func(_ *testing.T, r *realm, _ *reporter.Config) {
			r.Inject(reportertest.Fault{Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
				r.manager.Inject(reportertest.Fault{Do: reportertest.CutBody()})
				unauthorized(w, req, act)
			}})
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRealm(t)
			config := r.config()
			test.change(t, r, &config)
			err := poolClient(t, newPool(), config).Delete(t.Context(), ledgerID, permitted)
			if err == nil {
				t.Fatal("it is taken for success")
			}
			if got := reporter.MayHaveActed(fmt.Errorf("deleting: %w", err)); got != test.want {
				t.Errorf("Reporter may have acted: %t, not %t: %v", got, test.want, err)
			}
		})
	}

	r, server := serve(t)
	c := clientOf(t, server.URL, "")
	ctx, cancel := context.WithCancel(t.Context())
	remove := r.Inject(reportertest.Fault{Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
		cancel()
		reportertest.Hang()(w, req, act)
	}})
	if err := c.Delete(ctx, ledgerID, permitted); !reporter.MayHaveActed(err) {
		t.Errorf("who leaves while it acts is told that it did not: %v", err)
	}
	remove()
	r.Inject(reportertest.Fault{Times: 1, Do: reportertest.Answer(503, http.Header{"Retry-After": {"300"}}, "")})
	if err := c.Delete(t.Context(), ledgerID, permitted); !reporter.MayHaveActed(err) {
		t.Errorf("who is told 503 is told that it did not act: %v", err)
	}
	for name, err := range map[string]error{
		"who is held":          c.Delete(t.Context(), ledgerID, permitted),
		"who left before":      clientOf(t, server.URL, "").Delete(ctx, ledgerID, permitted),
		"who has a sloppy id":  c.Delete(t.Context(), strings.ToUpper(ledgerID), permitted),
		"who deleted":          nil,
		"who got nothing here": context.DeadlineExceeded,
	} {
		if reporter.MayHaveActed(err) {
			t.Errorf("%s is told that it may have acted: %v", name, err)
		}
	}
}
