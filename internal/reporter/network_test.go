// SPDX-License-Identifier: Apache-2.0

package reporter_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// TestMain puts a proxy into the environment, and an authority among those of the machine. They must be there from the start,
// as the standard library looks only once.
func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		panic(err)
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	if systemAuthority, err = newAuthority(); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "reporter-test-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	bundle := filepath.Join(dir, "authorities.pem")
	if err := os.WriteFile(bundle, []byte(systemAuthority.bundle), 0o600); err != nil {
		return 0, err
	}
	server := httptest.NewServer(http.HandlerFunc(theProxy.serve))
	defer server.Close()
	for name, value := range map[string]string{
		"SSL_CERT_FILE": bundle, "HTTP_PROXY": server.URL, "HTTPS_PROXY": server.URL, "NO_PROXY": "direct..internal",
		"http_proxy": "", "https_proxy": "", "no_proxy": "",
	} {
		if err := os.Setenv(name, value); err != nil {
			return 0, err
		}
	}
	return m.Run(), nil
}

// theProxy is the one of the environment. It leads to wherever the test at hand says, whatever host is asked for.
var theProxy proxy

type proxy struct {
	mu    sync.Mutex
	lines []string     // of the requests that arrived
	plain http.Handler // answers what does not ask for a tunnel
	to    string       // the address at the end of each tunnel
}

func (p *proxy) serve(w http.ResponseWriter, req *http.Request) {
	p.mu.Lock()
	p.lines = append(p.lines, req.Method+" "+req.RequestURI)
	plain, to := p.plain, p.to
	p.mu.Unlock()
	if req.Method != http.MethodConnect {
		plain.ServeHTTP(w, req)
		return
	}
	here, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	there, err := net.Dial("tcp", to)
	if err != nil {
		_, _ = io.WriteString(here, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
		return
	}
	defer there.Close()
	_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		_, _ = io.Copy(there, buffered)
		_ = there.Close()
	}()
	_, _ = io.Copy(here, there)
}

// use has the proxy lead elsewhere until the test ends, and returns what it is asked for until then.
func (p *proxy) use(t *testing.T, plain http.Handler, to string) (lines func() []string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines, p.plain, p.to = nil, plain, to
	return func() []string {
		p.mu.Lock()
		defer p.mu.Unlock()
		return slices.Clone(p.lines)
	}
}

const refused = "host %s has an address that is not spoken to: a loopback one (but for --allow-loopback-endpoints), " +
	"a link-local or multicast one, or that of a cloud's metadata service"

// What an address is counts when it is dialled, whatever name led there. No server notices the attempt.
func TestAddressesAreRefused(t *testing.T) {
	r, server := serve(t)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(server.URL, "http://"))
	for _, test := range []struct {
		host     string
		loopback bool
	}{
		{"127.0.0.1", false},
		{"localhost", false},
		{"LOCALHOST", false},
		{"127.0.0.2", false},
		{"[::ffff:127.0.0.1]", false},
		{"[::ffff:7f00:1]", false},
		{"0.0.0.0", false},
		{"0.0.0.0", true},
		{"169.254.169.254", true},
		{"[::ffff:169.254.169.254]", true},
		{"224.0.0.1", true},
		{"255.255.255.255", true},
		{"100.100.100.200", true},
		{"168.63.129.16", true},
	} {
		for _, scheme := range []string{"http", "https"} {
			pool := &reporter.Pool{Network: reporter.Network{AllowLoopback: test.loopback}}
			c := poolClient(t, pool, reporter.Config{BaseURL: scheme + "://" + test.host + ":" + port, Token: "token-a", Timeout: 10 * time.Second})
			for _, call := range append(calls, calls...) {
				err := call.do(t.Context(), c)
				expectError(t, err, "NotAllowed", call.method+" "+call.path+": "+fmt.Sprintf(refused, strings.ToLower(strings.Trim(test.host, "[]"))))
			}
		}
	}
	// What looks like no address is no way around, if the resolver of the machine knows it for one.
	for _, host := range []string{"2130706433", "0x7f000001", "127.1", "0177.0.0.1", "127.0.0.1."} {
		pool := &reporter.Pool{}
		c := poolClient(t, pool, reporter.Config{BaseURL: "http://" + host + ":" + port, Timeout: 10 * time.Second})
		if err := c.Delete(t.Context(), ledgerID, permitted); kindOf(err) != "NotAllowed" && kindOf(err) != "Unavailable" {
			t.Errorf("%s gives %v", host, err)
		}
	}
	expectArrived(t, r)
	if n := server.Accepted(); n != 0 {
		t.Errorf("%d connections were opened", n)
	}
	if err := clientOf(t, server.URL, "").Check(t.Context()); err != nil {
		t.Errorf("if loopback is allowed: %v", err)
	}
}

// The Access Manager is no way around either: the secret is not sent there.
func TestAccessManagersAddressIsRefused(t *testing.T) {
	r := newRealm(t)
	c := poolClient(t, &reporter.Pool{}, r.config())
	for _, call := range append(calls, login) {
		err := call.do(t.Context(), c)
		expectError(t, err, "NotAllowed", "POST "+loginPath+": "+fmt.Sprintf(refused, "127.0.0.1"))
		expectLoginFailed(t, err, true)
	}
	if n := r.managerServer.Accepted() + r.server.Accepted(); n != 0 {
		t.Errorf("%d connections were opened", n)
	}
}

// The host list is about names, of both URLs, before anything is looked up.
func TestAllowedHosts(t *testing.T) {
	for _, test := range []struct {
		name    string
		allowed []string
		host    string
		want    bool
	}{
		{"no list", nil, "reporter.internal", true},
		{"an empty list", []string{}, "reporter.internal", true},
		{"the host", []string{"reporter.internal"}, "reporter.internal", true},
		{"one of many", []string{"a.example.com", "*.example.org", "reporter.internal"}, "reporter.internal", true},
		{"the host in another case", []string{"reporter.internal"}, "Reporter.INTERNAL", true},
		{"the list in another case", []string{"Reporter.INTERNAL"}, "reporter.internal", true},
		{"a wildcard", []string{"*.example.com"}, "reporter.example.com", true},
		{"a wildcard, deeper down", []string{"*.example.com"}, "a.b.example.com", true},
		{"a wildcard in another case", []string{"*.Example.COM"}, "reporter.eXample.com", true},
		{"an address", []string{"10.0.0.1"}, "10.0.0.1", true},
		{"an address of IPv6", []string{"fd00::a"}, "[FD00::A]", true},

		{"another host", []string{"reporter.internal"}, "reporter.example.com", false},
		{"none of many", []string{"a.example.com", "*.example.org", "reporter.internal"}, "example.org", false},
		{"below the host", []string{"reporter.internal"}, "a.reporter.internal", false},
		{"above the host", []string{"reporter.internal"}, "internal", false},
		{"the host with something before it", []string{"reporter.internal"}, "areporter.internal", false},
		{"the host with something after it", []string{"reporter.internal"}, "reporter.internal.example.com", false},
		{"the bare domain", []string{"*.example.com"}, "example.com", false},
		{"nothing before the dot", []string{"*.example.com"}, ".example.com", false},
		{"what looks like the domain", []string{"*.example.com"}, "reporter-example.com", false},
		{"what ends like the domain", []string{"*.example.com"}, "badexample.com", false},
		{"the domain in the middle", []string{"*.example.com"}, "reporter.example.com.evil.org", false},
		{"a dot at the end", []string{"*.example.com"}, "reporter.example.com.", false},
		{"a wildcard without a dot", []string{"*example.com"}, "badexample.com", false},
		{"a wildcard without a dot, and the domain", []string{"*example.com"}, "example.com", false},
		{"nothing but a wildcard", []string{"*"}, "reporter.internal", false},
		{"a wildcard of nothing", []string{"*."}, "reporter.internal.", false},
		{"a wildcard in the middle", []string{"reporter.*.example.com"}, "reporter.a.example.com", false},
		{"an empty name", []string{""}, "reporter.internal", false},
		{"the host and its port", []string{"reporter.internal:4006"}, "reporter.internal", false},
		{"another address", []string{"10.0.0.1"}, "10.0.0.11", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			pool := &reporter.Pool{Network: reporter.Network{AllowedHosts: test.allowed}}
			url := "https://" + test.host + ":4006/path"
			allowed := "10.0.0.9"
			if len(test.allowed) > 0 {
				pool.Network.AllowedHosts = append(slices.Clone(test.allowed), allowed)
			}
			for prefix, config := range map[string]reporter.Config{
				"":                     {BaseURL: url, Timeout: time.Second},
				"the Access Manager: ": {BaseURL: "http://" + allowed, AccessManager: &reporter.AccessManager{URL: url}, Timeout: time.Second},
			} {
				want := prefix + "the operator is not allowed to speak to host " + strings.ToLower(strings.Trim(test.host, "[]")) + ": have it added to --allowed-endpoint-hosts"
				_, err := pool.Client("endpoint", config)
				switch {
				case test.want && err != nil:
					t.Errorf("it is refused: %v", err)
				case !test.want && (err == nil || err.Error() != want):
					t.Errorf("it gives %v, not %s", err, want)
				}
			}
		})
	}
}

// That a host is allowed does not make its addresses so.
func TestAllowedHostsMustHaveAllowedAddresses(t *testing.T) {
	_, server := serve(t)
	pool := &reporter.Pool{Network: reporter.Network{AllowedHosts: []string{"127.0.0.1"}}}
	err := poolClient(t, pool, reporter.Config{BaseURL: server.URL, Timeout: 10 * time.Second}).Check(t.Context())
	expectError(t, err, "NotAllowed", "GET "+listPath+": "+fmt.Sprintf(refused, "127.0.0.1"))
	if n := server.Accepted(); n != 0 {
		t.Errorf("%d connections were opened", n)
	}
}

// The environment of the operator's pod has no say in where credentials go, unless the administrator gives it one.
func TestNoProxyFromTheEnvironment(t *testing.T) {
	lines := theProxy.use(t, nil, "")
	for _, scheme := range []string{"http", "https"} {
		for _, call := range calls {
			err := call.do(t.Context(), clientOf(t, scheme+"://reporter..internal", "secret"))
			expectError(t, err, "Unavailable", call.method+" "+call.path+": host reporter..internal not found")
		}
	}
	if got := lines(); len(got) > 0 {
		t.Errorf("the proxy got %q", got)
	}
}

func TestProxyFromTheEnvironment(t *testing.T) {
	r := newRealm(t)
	network := reporter.Network{ProxyFromEnvironment: true, AllowLoopback: true}
	client := func(config reporter.Config) *reporter.Client {
		return poolClient(t, &reporter.Pool{Network: network}, config)
	}
	ours := mustNewAuthority(t)
	secure := serveOverTLS(t, r.Reporter, &tls.Config{Certificates: []tls.Certificate{ours.issue(t, "reporter..internal", -1, 1)}})
	tunnel := strings.TrimPrefix(secure, "https://")

	t.Run("plain", func(t *testing.T) {
		lines := theProxy.use(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Host == "manager..internal" {
				r.manager.ServeHTTP(w, req)
			} else {
				r.ServeHTTP(w, req)
			}
		}), "")
		config := r.config()
		config.BaseURL, config.AccessManager.URL = "http://reporter..internal", "http://manager..internal"
		if err := client(config).Check(t.Context()); err != nil {
			t.Error(err)
		}
		want := []string{"POST http://manager..internal" + loginPath, "GET http://reporter..internal" + listPath + "?limit=1&page=1"}
		if got := lines(); !slices.Equal(got, want) {
			t.Errorf("the proxy got %q, not %q", got, want)
		}
	})
	t.Run("under TLS", func(t *testing.T) {
		lines := theProxy.use(t, nil, tunnel)
		r.AllowToken("token-a", "acme")
		config := reporter.Config{BaseURL: "https://reporter..internal", Token: "token-a", TLS: reporter.TLS{CABundle: ours.bundle}, Timeout: 10 * time.Second}
		if err := client(config).Check(t.Context()); err != nil {
			t.Error(err)
		}
		config.TLS.CABundle = mustNewAuthority(t).bundle
		expectError(t, client(config).Check(t.Context()), "Unavailable", "GET "+listPath+": "+untrusted)
		if got, want := lines(), []string{"CONNECT reporter..internal:443", "CONNECT reporter..internal:443"}; !slices.Equal(got, want) {
			t.Errorf("the proxy got %q, not %q", got, want)
		}
	})
	t.Run("without an end of the tunnel", func(t *testing.T) {
		theProxy.use(t, nil, "127.0.0.1:1")
		config := reporter.Config{BaseURL: "https://reporter..internal", Token: "token-a", Timeout: 10 * time.Second}
		expectError(t, client(config).Check(t.Context()), "Unavailable", "GET "+listPath+": the answer is not HTTP, or the connection failed")
	})
	t.Run("not for what it is not for", func(t *testing.T) {
		lines := theProxy.use(t, nil, "")
		err := client(reporter.Config{BaseURL: "http://direct..internal", Timeout: 10 * time.Second}).Check(t.Context())
		expectError(t, err, "Unavailable", "GET "+listPath+": host direct..internal not found")
		if got := lines(); len(got) > 0 {
			t.Errorf("the proxy got %q", got)
		}
	})
	t.Run("for allowed hosts alone", func(t *testing.T) {
		pool := &reporter.Pool{Network: reporter.Network{ProxyFromEnvironment: true, AllowedHosts: []string{"*.example.com"}}}
		_, err := pool.Client("endpoint", reporter.Config{BaseURL: "http://reporter..internal", Timeout: time.Second})
		if want := "the operator is not allowed to speak to host reporter..internal: have it added to --allowed-endpoint-hosts"; err == nil || err.Error() != want {
			t.Errorf("it gives %v, not %s", err, want)
		}
	})
	t.Run("and not around the addresses", func(t *testing.T) {
		lines := theProxy.use(t, nil, "")
		pool := &reporter.Pool{Network: reporter.Network{ProxyFromEnvironment: true}}
		accepted := r.server.Accepted()
		err := poolClient(t, pool, reporter.Config{BaseURL: r.server.URL, Timeout: 10 * time.Second}).Check(t.Context())
		expectError(t, err, "NotAllowed", "GET "+listPath+": "+fmt.Sprintf(refused, "127.0.0.1"))
		if n := r.server.Accepted() - accepted; n != 0 || len(lines()) > 0 {
			t.Errorf("%d connections were opened, the proxy got %q", n, lines())
		}
	})
}
