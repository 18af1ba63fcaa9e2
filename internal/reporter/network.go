// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Network is what an administrator allows of the network, whatever an endpoint says.
type Network struct {
	// AllowLoopback allows addresses of the machine itself.
	AllowLoopback bool
	// AllowedHosts are the host names that a URL may have, all if there are none. *.example.com allows every name below
	// example.com.
	AllowedHosts []string
	// ProxyFromEnvironment has the variables HTTP_PROXY, HTTPS_PROXY and NO_PROXY respected. A proxy looks names up by itself: its own
	// address is checked, but not where it leads, which AllowedHosts should say.
	ProxyFromEnvironment bool
	// InPlace is what requests are handed to in place of the network, if it is not nil: the simulation's.
	InPlace http.RoundTripper
	// GoOn, if it is not nil, is called by each of those who have waited for the same login, before they go on: the simulation lets them go
	// on one by one.
	GoOn func(context.Context)
}

// TLS says how to verify a Reporter that is spoken to over TLS. There is no way not to.
type TLS struct {
	// CABundle holds the PEM certificates of the authorities to trust; those of the system if it is empty.
	CABundle string
	// ServerName is the name that the certificate has to be for, that of the URL if it is empty.
	ServerName string
}

// checkHost returns an error that says what to do where the host of a URL is not allowed.
func (n *Network) checkHost(base *url.URL) error {
	host := base.Hostname()
	if len(n.AllowedHosts) == 0 || slices.ContainsFunc(n.AllowedHosts, func(allowed string) bool {
		allowed = strings.ToLower(allowed)
		domain, wildcard := strings.CutPrefix(allowed, "*.")
		below, found := strings.CutSuffix(host, "."+domain)
		return host == allowed || wildcard && domain != "" && found && below != ""
	}) {
		return nil
	}
	return fmt.Errorf("the operator is not allowed to speak to host %s: have it added to --allowed-endpoint-hosts", shortened(host))
}

// errAddressRefused is what dialling returns for an address that is never spoken to.
var errAddressRefused = errors.New("address refused")

// metadataAddresses are those of cloud providers' metadata services that are not link-local.
var metadataAddresses = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),      // AWS
	netip.MustParseAddr("fd00:ec2::23"),       // AWS, for pods
	netip.MustParseAddr("fd20:ce::254"),       // Google
	netip.MustParseAddr("168.63.129.16"),      // Azure
	netip.MustParseAddr("192.0.0.192"),        // Oracle
	netip.MustParseAddr("fd00:c1::a9fe:a9fe"), // Oracle
	netip.MustParseAddr("100.100.100.200"),    // Alibaba
	netip.MustParseAddr("fd00:100::100:200"),  // Alibaba
	netip.MustParseAddr("fd00:42::42"),        // Scaleway
	netip.MustParseAddr("fd00:a9fe:a9fe::1"),  // Akamai
}

// nat64 is the well-known prefix under which an IPv6 address stands for an IPv4 one (RFC 6052).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// translated are prefixes under which addresses of a network's own choosing stand for IPv4 ones (RFC 8215, RFC 7915).
var translated = []netip.Prefix{netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("::ffff:0:0:0/96")}

// control refuses addresses when they are dialled: after DNS, so that no name can lead there.
func (n *Network) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil || !n.allows(target.Addr()) {
		return errAddressRefused
	}
	return nil
}

func (n *Network) allows(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	if nat64.Contains(address) {
		embedded := address.As16()
		address = netip.AddrFrom4([4]byte(embedded[12:]))
	}
	switch {
	case address.IsUnspecified(), address.IsMulticast(), address.IsLinkLocalUnicast(),
		address == netip.AddrFrom4([4]byte{255, 255, 255, 255}), slices.Contains(metadataAddresses, address),
		slices.ContainsFunc(translated, func(prefix netip.Prefix) bool { return prefix.Contains(address) }):
		return false
	case address.IsLoopback():
		return n.AllowLoopback
	}
	return true
}

// maxConnections bounds the requests to one Reporter at a time, and so the connections to it.
const maxConnections = 64

// longestTimeout is the longest that an endpoint may set. Dialling for it must not end earlier, or an error would not be about the
// timeout that it names.
const longestTimeout = time.Minute

// roundTripper returns what speaks to servers. It differs from http.DefaultTransport where that would surprise: no proxy from
// the environment unless it is allowed, and as many idle connections kept as may be in use, so that a burst of requests does not dial for
// each.
func (n *Network) roundTripper(roots *x509.CertPool, serverName string) http.RoundTripper {
	if n.InPlace != nil {
		return inPlace{n.InPlace}
	}
	dialer := &net.Dialer{Timeout: longestTimeout, KeepAlive: 30 * time.Second, ControlContext: n.control}
	transport := &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName, RootCAs: roots},
		ForceAttemptHTTP2:      true,
		MaxConnsPerHost:        maxConnections,
		MaxIdleConnsPerHost:    maxConnections,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    longestTimeout,
		MaxResponseHeaderBytes: maxBody,
	}
	if n.ProxyFromEnvironment {
		transport.Proxy = http.ProxyFromEnvironment
	}
	return transport
}

// inPlace tells of a request what a transport does that dials, on behalf of one that does not.
type inPlace struct{ http.RoundTripper }

func (p inPlace) RoundTrip(request *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(request.Context())
	trace.GotConn(httptrace.GotConnInfo{})
	if err := request.Context().Err(); err != nil {
		return nil, err
	}
	trace.WroteHeaders()
	return p.RoundTripper.RoundTrip(request)
}
