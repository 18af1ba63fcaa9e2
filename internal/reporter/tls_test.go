// SPDX-License-Identifier: Apache-2.0

package reporter_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/reporter-operator/reporter-operator/internal/reporter"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// authority issues certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	bundle      string // its certificate as PEM
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "authority of a test"},
		NotBefore:             time.Now().AddDate(0, 0, -10),
		NotAfter:              time.Now().AddDate(0, 0, 10),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{certificate, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}, nil
}

func mustNewAuthority(t *testing.T) *authority {
	t.Helper()
	a, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// issue returns a certificate for a name or an address that is valid between two days from now.
func (a *authority) issue(t *testing.T, name string, from, to int) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		NotBefore:    time.Now().AddDate(0, 0, from),
		NotAfter:     time.Now().AddDate(0, 0, to),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// systemAuthority is one that the machine of the tests trusts: TestMain sees to it.
var systemAuthority *authority

const (
	untrusted = "TLS: the certificate is signed by an authority that is not trusted: put the authority's certificate into spec.tls.caBundle"
	wrongName = "TLS: the certificate is not valid for %s: put a name that it is for into spec.tls.serverName"
	notNow    = "TLS: the certificate has expired or is not valid yet"
)

// Whom a Reporter over TLS has to be, and how, before anything is sent to it.
func TestTLS(t *testing.T) {
	ours, other := mustNewAuthority(t), mustNewAuthority(t)
	mangled := strings.Replace(ours.bundle, "MII", "MIJ", 1)
	for _, test := range []struct {
		name   string
		server *tls.Config
		host   string
		client reporter.TLS
		text   string // "" for success
	}{
		{"trusted", &tls.Config{Certificates: []tls.Certificate{ours.issue(t, "127.0.0.1", -1, 1)}}, "127.0.0.1", reporter.TLS{CABundle: ours.bundle}, ""},
		{"trusted by a name", &tls.Config{Certificates: []tls.Certificate{ours.issue(t, "localhost", -1, 1)}}, "LocalHost", reporter.TLS{CABundle: ours.bundle}, ""},
		{"a bundle of many", &tls.Config{Certificates: []tls.Certificate{ours.issue(t, "127.0.0.1", -1, 1)}}, "127.0.0.1",
			reporter.TLS{CABundle: "# of last year\r\n" + strings.ReplaceAll(other.bundle, "\n", "\r\n") + "\n# of this year\n" + ours.bundle + "\n"}, ""},
		{"a bundle with one that is broken", &tls.Config{Certificates: []tls.Certificate{ours.issue(t, "127.0.0.1", -1, 1)}}, "127.0.0.1",
			reporter.TLS{CABundle: mangled + ours.bundle}, ""},
		{"TLS 1.2", &tls.Config{MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ours.issue(t, "127.0.0.1", -1, 1)}}, "127.0.0.1", reporter.TLS{CABundle: ours.bundle}, ""},
		{"another name than the URL's", &tls.Config{Certificates: []tls.Certificate{ours.issue(t, "reporter.internal", -1, 1)}}, "127.0.0.1",
			reporter.TLS{CABundle: ours.bundle, ServerName: "reporter.internal"}, ""},

		{"an unknown authority", &tls.Config{Certificates: []tls.Certificate{other.issue(t, "127.0.0.1", -1, 1)}}, "127.0.0.1", reporter.TLS{CABundle: ours.bundle}, untrusted},
		{"no bundle", &tls.Config{Certificates: []tls.Certificate{ours.issue(t, "127.0.0.1", -1, 1)}}, "127.0.0.1", reporter.TLS{}, untrusted},
		{"signed by itself", &tls.Config{Certificates: []tls.Certificate{certificate(t, -1, 1)}}, "127.0.0.1", reporter.TLS{CABundle: ours.bundle}, untrusted},
		{"for another name", &tls.Config{Certificates: []tls.Certificate{ours.issue(t, "reporter.internal", -1, 1)}}, "127.0.0.1",
			reporter.TLS{CABundle: ours.bundle}, strings.Replace(wrongName, "%s", "127.0.0.1", 1)},
		{"for the URL's name, where another is asked for", &tls.Config{Certificates: []tls.Certificate{ours.issue(t, "127.0.0.1", -1, 1)}}, "127.0.0.1",
			reporter.TLS{CABundle: ours.bundle, ServerName: "reporter.internal"}, strings.Replace(wrongName, "%s", "reporter.internal", 1)},
		{"expired", &tls.Config{Certificates: []tls.Certificate{ours.issue(t, "127.0.0.1", -2, -1)}}, "127.0.0.1", reporter.TLS{CABundle: ours.bundle}, notNow},
		{"of the future", &tls.Config{Certificates: []tls.Certificate{ours.issue(t, "127.0.0.1", 1, 2)}}, "127.0.0.1", reporter.TLS{CABundle: ours.bundle}, notNow},
		{"TLS 1.1", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11, Certificates: []tls.Certificate{ours.issue(t, "127.0.0.1", -1, 1)}}, "127.0.0.1",
			reporter.TLS{CABundle: ours.bundle}, "TLS: the server refused the handshake"},
	} {
		for _, call := range calls {
			t.Run(test.name+"/"+call.name, func(t *testing.T) {
				r := reportertest.New()
				r.Add(reportertest.Connection{ID: ledgerID})
				var protocol, name string
				url := serveOverTLS(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					protocol, name = req.Proto, req.TLS.ServerName
					r.ServeHTTP(w, req)
				}), test.server.Clone())
				c := poolClient(t, newPool(), reporter.Config{
					BaseURL: strings.Replace(url, "127.0.0.1", test.host, 1), Token: "token-a", TLS: test.client, Timeout: 10 * time.Second,
				})
				err := call.do(t.Context(), c)
				if test.text != "" {
					expectError(t, err, "Unavailable", call.method+" "+call.path+": "+test.text)
					expectArrived(t, r)
					return
				}
				if err != nil || len(r.Requests()) != 1 {
					t.Errorf("%v, Reporter got %q", err, arrived(r))
				}
				if protocol != "HTTP/2.0" {
					t.Errorf("it speaks %s, not HTTP/2.0", protocol)
				}
				want := test.client.ServerName
				if test.host == "LocalHost" {
					want = "localhost"
				}
				if name != want {
					t.Errorf("the server is asked to be %q, not %q", name, want)
				}
			})
		}
	}
}

// A name with a dot at its end is the same name, but a server knows itself without.
func TestTLSOfAnAbsoluteName(t *testing.T) {
	ours := mustNewAuthority(t)
	r := reportertest.New()
	var name string
	url := serveOverTLS(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		name = req.TLS.ServerName
		r.ServeHTTP(w, req)
	}), &tls.Config{Certificates: []tls.Certificate{ours.issue(t, "reporter.svc.cluster.local", -1, 1)}})
	theProxy.use(t, nil, strings.TrimPrefix(url, "https://")) // as no resolver of a test knows the name
	check := func(config reporter.TLS) error {
		pool := &reporter.Pool{Network: reporter.Network{ProxyFromEnvironment: true, AllowLoopback: true}}
		c := poolClient(t, pool, reporter.Config{BaseURL: "https://reporter.svc.cluster.local./", TLS: config, Timeout: 10 * time.Second})
		if got, want := c.URL(), "https://reporter.svc.cluster.local."; got != want {
			t.Errorf("the URL is %s, not %s", got, want)
		}
		return c.Check(t.Context())
	}
	if err := check(reporter.TLS{CABundle: ours.bundle}); err != nil || name != "reporter.svc.cluster.local" {
		t.Errorf("it gives %v, and the server was asked to be %q", err, name)
	}
	expectError(t, check(reporter.TLS{CABundle: ours.bundle, ServerName: "reporter.internal"}), "Unavailable",
		"GET "+listPath+": "+strings.Replace(wrongName, "%s", "reporter.internal", 1))
}

// The authorities of the machine are trusted where there is no bundle, and only there.
func TestSystemAuthorities(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the authorities of the machine can be chosen on Linux alone")
	}
	url := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{systemAuthority.issue(t, "127.0.0.1", -1, 1)}})
	if err := clientOf(t, url, "").Check(t.Context()); err != nil {
		t.Errorf("without a bundle: %v", err)
	}
	bundled := poolClient(t, newPool(), reporter.Config{BaseURL: url, TLS: reporter.TLS{CABundle: mustNewAuthority(t).bundle}, Timeout: 10 * time.Second})
	expectError(t, bundled.Check(t.Context()), "Unavailable", "GET "+listPath+": "+untrusted)
}

// A bundle that would leave nobody to trust is a mistake to tell, and is not taken for none.
func TestBundleWithoutACertificate(t *testing.T) {
	ours := mustNewAuthority(t)
	for name, bundle := range map[string]string{
		"text":                 "trust everybody",
		"white space":          "\n",
		"DER":                  string(ours.certificate.Raw),
		"another PEM":          strings.ReplaceAll(ours.bundle, "CERTIFICATE", "PUBLIC KEY"),
		"a cut PEM":            ours.bundle[:len(ours.bundle)/2],
		"base64 of the PEM":    "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==",
		"a broken certificate": strings.Replace(ours.bundle, "MII", "MIJ", 1),
	} {
		pool := newPool()
		for range 2 { // what was refused is not remembered as good
			_, err := pool.Client("endpoint", reporter.Config{BaseURL: "https://reporter.internal", TLS: reporter.TLS{CABundle: bundle}, Timeout: time.Second})
			if want := "the CA bundle holds no PEM certificate: it begins with -----BEGIN CERTIFICATE-----"; err == nil || err.Error() != want {
				t.Errorf("%s gives %v, not %s", name, err, want)
			}
		}
	}
}

// Whoever differs in whom to trust shares no connection, or one would ride on what the other found good.
func TestConnectionsAreNotSharedBetweenTrusts(t *testing.T) {
	ours, other := mustNewAuthority(t), mustNewAuthority(t)
	url := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{ours.issue(t, "127.0.0.1", -1, 1)}})
	pool := newPool()
	check := func(config reporter.TLS) error {
		return poolClient(t, pool, reporter.Config{BaseURL: url, TLS: config, Timeout: 10 * time.Second}).Check(t.Context())
	}
	for range 2 {
		if err := check(reporter.TLS{CABundle: ours.bundle}); err != nil {
			t.Errorf("the right bundle gives %v", err)
		}
		expectError(t, check(reporter.TLS{CABundle: other.bundle}), "Unavailable", "GET "+listPath+": "+untrusted)
		expectError(t, check(reporter.TLS{}), "Unavailable", "GET "+listPath+": "+untrusted)
		expectError(t, check(reporter.TLS{CABundle: ours.bundle, ServerName: "reporter.internal"}), "Unavailable",
			"GET "+listPath+": "+strings.Replace(wrongName, "%s", "reporter.internal", 1))
	}
}

// The bundle is whom to trust, of the Access Manager as well; the server name is Reporter's alone.
func TestTLSOfTheAccessManager(t *testing.T) {
	ours, other := mustNewAuthority(t), mustNewAuthority(t)
	for _, test := range []struct {
		name           string
		issuer         *authority
		host           string
		bundle, server string
		text           string // "" for success
	}{
		{"trusted", ours, "127.0.0.1", ours.bundle, "reporter.internal", ""},
		{"no bundle", ours, "127.0.0.1", "", "reporter.internal", untrusted},
		{"an unknown authority", other, "127.0.0.1", ours.bundle, "reporter.internal", untrusted},
		{"for Reporter's name", ours, "reporter.internal", ours.bundle, "reporter.internal", "TLS: the certificate is not valid for 127.0.0.1"},
		{"for another name", ours, "manager.internal", ours.bundle, "", "TLS: the certificate is not valid for 127.0.0.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRealm(t)
			config := r.config()
			config.TLS = reporter.TLS{CABundle: test.bundle, ServerName: test.server}
			config.BaseURL = serveOverTLS(t, r.Reporter, &tls.Config{Certificates: []tls.Certificate{ours.issue(t, "reporter.internal", -1, 1)}})
			config.AccessManager.URL = serveOverTLS(t, r.manager, &tls.Config{Certificates: []tls.Certificate{test.issuer.issue(t, test.host, -1, 1)}})
			err := poolClient(t, newPool(), config).Delete(t.Context(), ledgerID, permitted)
			if test.text != "" {
				expectError(t, err, "Unavailable", "POST "+loginPath+": "+test.text)
				expectLoginFailed(t, err, true)
				if n := len(r.manager.Requests()); n != 0 {
					t.Errorf("the Access Manager got %d requests", n)
				}
				expectArrived(t, r.Reporter)
				return
			}
			if err != nil {
				t.Error(err)
			}
			r.expectLogins(t, 1, 0)
		})
	}
}
