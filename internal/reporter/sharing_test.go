// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// sizes are how much a pool remembers.
type sizes struct{ users, reporters, transports, bundles int }

func (p *Pool) sizes() sizes {
	p.mu.Lock()
	defer p.mu.Unlock()
	return sizes{len(p.users), len(p.reporters), len(p.transports), len(p.bundles)}
}

func expectSizes(t *testing.T, what string, p *Pool, want sizes) {
	t.Helper()
	if got := p.sizes(); got != want {
		t.Errorf("%s, the pool remembers %+v, not %+v", what, got, want)
	}
}

func use(t *testing.T, p *Pool, userID string, config Config) *Client {
	t.Helper()
	config.Timeout = 10 * time.Second
	c, err := p.Client(userID, config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// bundleOf returns a CA bundle of at least so many bytes.
func bundleOf(t *testing.T, size int) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	one := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return strings.Repeat(one, size/len(one)+1)
}

// What is shared lives as long as somebody uses it.
func TestSharedStateLivesWithItsUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Pool{}
		bundle := bundleOf(t, 1)
		base := Config{BaseURL: "https://reporter/a", TLS: TLS{CABundle: bundle}, AccessManager: &AccessManager{URL: "https://manager"}}
		path, token := base, base
		path.BaseURL = "https://reporter/b"
		token.AccessManager, token.Token = nil, "token-a"

		one := use(t, p, "one", base)
		expectSizes(t, "with one user", p, sizes{1, 1, 2, 1})
		if two := use(t, p, "two", base); two.session != one.session || two.outage != one.outage || two.pace != one.pace || two.Identity() != one.Identity() {
			t.Error("two users of one Reporter do not share what it is about")
		}
		expectSizes(t, "with two users", p, sizes{2, 1, 2, 1})
		if three := use(t, p, "three", path); three.session == one.session || three.outage == one.outage || three.pace == one.pace || three.Identity() == one.Identity() ||
			three.roundTripper != one.roundTripper {
			t.Error("two base paths share more or less than their connections")
		}
		expectSizes(t, "with another base path", p, sizes{3, 2, 2, 1})
		if four := use(t, p, "four", token); four.Identity() == one.Identity() || four.roundTripper != one.roundTripper {
			t.Error("two sets of credentials share more or less than their connections")
		}
		expectSizes(t, "with other credentials", p, sizes{4, 3, 2, 1})

		p.Release("one")
		p.Release("one")
		p.Release("nobody")
		expectSizes(t, "without the first user", p, sizes{3, 3, 2, 1})
		p.Release("two")
		expectSizes(t, "without the second user", p, sizes{2, 2, 2, 1})
		p.Release("three")
		expectSizes(t, "without who logs in", p, sizes{1, 1, 1, 1})
		use(t, p, "four", Config{BaseURL: "http://elsewhere"})
		expectSizes(t, "when the last one has moved", p, sizes{1, 2, 2, 1})
		<-time.After(time.Minute)
		use(t, p, "four", Config{BaseURL: "http://elsewhere"})
		expectSizes(t, "a minute later", p, sizes{1, 1, 1, 0})
		p.Release("four")
		expectSizes(t, "without users", p, sizes{})
	})
}

// Equal bundles are parsed once, for as long as one of them is in use.
func TestBundlesAreParsedOnce(t *testing.T) {
	p := &Pool{}
	config := Config{BaseURL: "https://reporter", TLS: TLS{CABundle: bundleOf(t, 1)}}
	other := Config{BaseURL: "https://another", TLS: TLS{CABundle: strings.Clone(config.TLS.CABundle), ServerName: "reporter.internal"}}
	roots := func(c *Client) *x509.CertPool { return c.roundTripper.(*http.Transport).TLSClientConfig.RootCAs }
	one := use(t, p, "one", config)
	if two := use(t, p, "two", other); roots(one) == nil || roots(two) != roots(one) || two.roundTripper == one.roundTripper {
		t.Error("equal bundles are parsed twice")
	}
	expectSizes(t, "with two users", p, sizes{2, 2, 2, 1})
	p.Release("one")
	if three := use(t, p, "three", config); roots(three) != roots(one) {
		t.Error("a bundle in use is parsed again")
	}
}

// A configuration that cannot be used leaves the user with what it used, and nothing else behind.
func TestNothingIsKeptOfWhatIsWrong(t *testing.T) {
	p := &Pool{Network: Network{AllowedHosts: []string{"reporter"}}}
	before := use(t, p, "endpoint", Config{BaseURL: "https://reporter"})
	for _, config := range []Config{
		{BaseURL: "https://reporter", Timeout: 0},
		{BaseURL: "https://reporter?", Timeout: 1},
		{BaseURL: "https://elsewhere", Timeout: 1},
		{BaseURL: "https://reporter", Token: "a b", Timeout: 1},
		{BaseURL: "https://reporter", TLS: TLS{CABundle: "none"}, Timeout: 1},
		{BaseURL: "https://reporter", TLS: TLS{CABundle: bundleOf(t, 1)}, AccessManager: &AccessManager{URL: "http://elsewhere"}, Timeout: 1},
		{BaseURL: "https://reporter", AccessManager: &AccessManager{URL: "http://reporter", ClientID: "\ufeffa"}, Timeout: 1},
	} {
		for _, userID := range []string{"endpoint", "another"} {
			if c, err := p.Client(userID, config); err == nil || c != nil {
				t.Errorf("%+v gives %v", config, c)
			}
		}
	}
	expectSizes(t, "after what is wrong", p, sizes{1, 1, 1, 0})
	if after := use(t, p, "endpoint", Config{BaseURL: "https://reporter"}); after.outage != before.outage {
		t.Error("the user has lost what it used")
	}
}

// Two parts of the operator that see an older and a newer version of an endpoint, in any order, make nothing anew.
func TestOldAndNewVersionsDoNotThrash(t *testing.T) {
	r := reportertest.New()
	manager := reportertest.NewAccessManager(r)
	manager.AddClient("operator", "hunter2", "")
	server, managerServer := reportertest.Serve(t, r), reportertest.Serve(t, manager)
	p := &Pool{Network: Network{AllowLoopback: true}}
	older := Config{BaseURL: server.URL, AccessManager: &AccessManager{URL: managerServer.URL, ClientID: "operator", ClientSecret: "hunter2"}}
	newer := older
	newer.BaseURL += "/reporter"
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				if _, err := use(t, p, "endpoint", older).Login(t.Context()); err != nil {
					t.Error(err)
				}
				if _, err := use(t, p, "endpoint", newer).Login(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	expectLogins(t, manager, 2)
	if n := managerServer.Accepted(); n > 2 {
		t.Errorf("%d connections to the Access Manager were opened", n)
	}
	expectSizes(t, "with two versions", p, sizes{1, 2, 2, 0})
	p.Release("endpoint")
	expectSizes(t, "without users", p, sizes{})
}

// A request that is under way when its user moves on, or is gone, ends as if nothing had happened. So do those that follow it.
func TestClientsOutliveTheirRegistration(t *testing.T) {
	r := reportertest.New()
	first, second := r.Add(reportertest.Connection{}).ID, r.Add(reportertest.Connection{}).ID
	server := reportertest.Serve(t, r)
	p := &Pool{Network: Network{AllowLoopback: true}}
	c := use(t, p, "endpoint", Config{BaseURL: server.URL})
	arrived := make(chan struct{})
	hold, open := gate()
	r.Inject(reportertest.Fault{ID: first, Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
		close(arrived)
		hold(w, req, act)
	}})
	deleted := make(chan error, 1)
	go func() { deleted <- c.Delete(t.Context(), first, permitted) }()
	<-arrived
	for i := range 3 {
		use(t, p, "endpoint", Config{BaseURL: fmt.Sprintf("http://elsewhere-%d", i)})
	}
	p.Release("endpoint")
	expectSizes(t, "without users", p, sizes{})
	open()
	if err := <-deleted; err != nil {
		t.Errorf("the request that was under way gives %v", err)
	}
	if err := c.Delete(t.Context(), second, permitted); err != nil {
		t.Errorf("the next one gives %v", err)
	}
}

// The connections of a Reporter that nobody uses any more are closed.
func TestIdleConnectionsAreClosed(t *testing.T) {
	server := reportertest.Serve(t, reportertest.New())
	p := &Pool{Network: Network{AllowLoopback: true}}
	config := Config{BaseURL: server.URL}
	other := Config{BaseURL: server.URL, Token: "token-a"}
	c := use(t, p, "one", config)
	for range 2 {
		if err := c.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	use(t, p, "two", other)
	p.Release("one")
	if err := use(t, p, "two", other).Check(t.Context()); err != nil || server.Accepted() != 1 {
		t.Errorf("%v; %d connections were opened, though one is in use by another", err, server.Accepted())
	}
	p.Release("two")
	if err := c.Check(t.Context()); err != nil || server.Accepted() != 2 {
		t.Errorf("%v; %d connections were opened, so the idle one was not closed", err, server.Accepted())
	}
}

// However often an endpoint changes, no more is remembered of it than of two versions.
func TestNothingGrowsWithChurn(t *testing.T) {
	bundle := bundleOf(t, 240<<10)
	p := &Pool{}
	heap := func() uint64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	var before uint64
	for i := range 1500 {
		use(t, p, "endpoint", Config{
			BaseURL:       "https://reporter",
			Token:         fmt.Sprintf("token-%d", i/3),
			AccessManager: &AccessManager{URL: fmt.Sprintf("https://manager-%d", i/2)},
			TLS:           TLS{CABundle: strings.Clone(bundle), ServerName: fmt.Sprintf("reporter-%d", i)},
		})
		if i == 2 {
			before = heap()
		}
	}
	expectSizes(t, "after 1,500 changes", p, sizes{1, 2, 3, 1})
	if grown := int64(heap()) - int64(before); grown > 16<<20 {
		t.Errorf("the heap has grown by %d MB", grown>>20)
	}
	p.Release("endpoint")
	expectSizes(t, "without users", p, sizes{})
}
