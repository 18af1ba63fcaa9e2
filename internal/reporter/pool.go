// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

// Pool makes Clients. Those for the same Reporter, which is a base URL, credentials and whom to trust, share one login, what Reporter
// asked them to wait, and whether it answers at all, however many endpoints name it. Those for the same origin (scheme, host and port)
// and with the same TLS settings share their TCP connections as well. The zero value is ready for use.
//
// What is shared lives as long as one of its users is registered, which Client does and Release ends. A Client goes on working after
// that: what it needs stays in memory for as long as the Client does.
type Pool struct {
	// Network may be set until the first use.
	Network Network
	// Recovered, if it is set before the first use, is called when a Reporter answers again that had not answered a request.
	Recovered func(Identity)
	// Tried, if it is set before the first use, is called when a request on trial is due to a Reporter that does not answer. It says whether
	// there is one to send.
	Tried func(Identity) bool

	// Exchanged, if it is set before the first use, is told of each request that was sent, and what came of it.
	Exchanged func(context.Context, Exchange)

	mu         sync.Mutex
	users      map[string]*user
	reporters  map[Identity]*sharedReporter
	transports map[transportKey]*sharedTransport
	bundles    map[[sha256.Size]byte]*sharedBundle
}

// Identity distinguishes Reporters. It is comparable, and holds a digest of the credentials, so that no dump shows them.
type Identity struct {
	baseURL     string
	credentials [sha256.Size]byte
}

// user is one that Reporters are kept for. It keeps the Reporter that it used before for a while: two parts of the operator may ask on
// behalf of the same endpoint with an older and a newer version of it, in any order, and must not make each other's Reporter anew.
type user struct {
	current, previous *sharedReporter
	changed           time.Time
}

// overlap is how long a user keeps the Reporter that it used before, at least. Caches are behind for much less.
const overlap = time.Minute

// sharedReporter is what the Clients for one Reporter have in common.
type sharedReporter struct {
	identity  Identity
	users     int
	transport *sharedTransport
	pace      pace
	outage    *outage
	slots     chan struct{}
	tests     chan struct{} // see Client
	session   *session      // nil without credentials
	// loginTransport leads to the Access Manager, nil where there is none.
	loginTransport *sharedTransport
}

// transportKey distinguishes transports. A connection that was verified for one key is never reused for another.
type transportKey struct {
	origin     string
	bundle     [sha256.Size]byte // zero if there is none
	serverName string
}

type sharedTransport struct {
	http.RoundTripper
	key    transportKey
	users  int
	bundle *sharedBundle // nil if there is none
}

// sharedBundle is a CA bundle that was parsed.
type sharedBundle struct {
	digest [sha256.Size]byte
	roots  *x509.CertPool
	users  int
}

// Client returns a client for the Reporter that config describes, and registers the user, such as the UID of an endpoint, as one for
// whom that Reporter is kept, in place of the one it used before. The error says what to write instead, is the same each time, and
// leaves the user with what it used before.
func (p *Pool) Client(userID string, config Config) (*Client, error) {
	if config.Timeout <= 0 {
		return nil, fmt.Errorf("the timeout must be positive, not %s", config.Timeout)
	}
	base, err := p.parse(config.BaseURL)
	if err != nil {
		return nil, err
	}
	if err := checkToken(config.Token); err != nil {
		return nil, err
	}
	var manager *url.URL
	if config.AccessManager != nil {
		if manager, err = p.parse(config.AccessManager.URL); err != nil {
			return nil, fmt.Errorf("the Access Manager: %w", err)
		}
		if err := checkClientCredentials(config.AccessManager); err != nil {
			return nil, err
		}
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	bundle, err := p.bundle(config.TLS.CABundle)
	if err != nil {
		return nil, err
	}
	identity := Identity{baseURL: base.String(), credentials: digest(config, bundle)}
	shared, found := p.reporters[identity]
	if !found {
		shared = p.newReporter(identity, config, base, manager, bundle)
	}
	p.register(userID, shared, time.Now())
	return &Client{
		transport: transport{base: base, timeout: config.Timeout, roundTripper: shared.transport.RoundTripper, pace: &shared.pace,
			slots: shared.slots, outage: shared.outage, serverName: config.TLS.ServerName, exchanged: p.Exchanged, user: userID},
		identity: identity,
		session:  shared.session,
		tests:    shared.tests,
	}, nil
}

// Release ends the registration of a user, such as that of an endpoint that is gone. Nothing happens if there is none.
func (p *Pool) Release(userID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u, found := p.users[userID]
	if !found {
		return
	}
	delete(p.users, userID)
	p.release(u.current)
	p.release(u.previous)
}

// Outages says of each user whether its Reporter is known not to answer.
func (p *Pool) Outages() map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	outages := make(map[string]bool, len(p.users))
	for userID, u := range p.users {
		outages[userID] = u.current.outage.isOpen()
	}
	return outages
}

// parse is parseBaseURL for a host that the network allows.
func (p *Pool) parse(raw string) (*url.URL, error) {
	base, err := parseBaseURL(raw)
	if err != nil {
		return nil, err
	}
	return base, p.Network.checkHost(base)
}

// digest sums up all by which the Clients for one base URL differ.
func digest(config Config, bundle *sharedBundle) [sha256.Size]byte {
	manager := AccessManager{}
	if config.AccessManager != nil {
		manager = *config.AccessManager
	}
	authorities := ""
	if bundle != nil {
		authorities = string(bundle.digest[:])
	}
	hash := sha256.New()
	for _, part := range []string{config.Token, manager.URL, manager.ClientID, manager.ClientSecret, authorities, config.TLS.ServerName} {
		fmt.Fprintf(hash, "%d:%s", len(part), part)
	}
	return [sha256.Size]byte(hash.Sum(nil))
}

// bundle returns the CA bundle that a text holds, nil for none. It is kept when a transport is made that uses it.
func (p *Pool) bundle(text string) (*sharedBundle, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // none is no error
	}
	sum := sha256.Sum256([]byte(text))
	if known, found := p.bundles[sum]; found {
		return known, nil
	}
	if err := checkBundle(text); err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(text)) {
		return nil, errors.New("the CA bundle holds no PEM certificate: it begins with -----BEGIN CERTIFICATE-----")
	}
	return &sharedBundle{digest: sum, roots: roots}, nil
}

func (p *Pool) newReporter(identity Identity, config Config, base, manager *url.URL, bundle *sharedBundle) *sharedReporter {
	recovered := func() {
		if p.Recovered != nil {
			p.Recovered(identity)
		}
	}
	tried := func() bool { return p.Tried != nil && p.Tried(identity) }
	shared := &sharedReporter{
		identity:  identity,
		transport: p.transport(base, bundle, config.TLS.ServerName),
		slots:     make(chan struct{}, maxConnections),
		tests:     make(chan struct{}, 1),
		outage:    &outage{recovered: recovered, tried: tried},
	}
	switch {
	case manager != nil:
		shared.loginTransport = p.transport(manager, bundle, "")
		shared.session = &session{goOn: p.Network.GoOn, login: &accessManagerLogin{
			transport:    transport{base: manager, roundTripper: shared.loginTransport.RoundTripper, pace: &pace{}, accessManager: true, exchanged: p.Exchanged},
			clientID:     config.AccessManager.ClientID,
			clientSecret: config.AccessManager.ClientSecret,
		}}
	case config.Token != "":
		shared.session = &session{token: &oauth2.Token{AccessToken: config.Token}}
	}
	if p.reporters == nil {
		p.reporters = map[Identity]*sharedReporter{}
	}
	p.reporters[identity] = shared
	return shared
}

// transport returns the transport to the origin of a URL, with one more user.
func (p *Pool) transport(base *url.URL, bundle *sharedBundle, serverName string) *sharedTransport {
	key := transportKey{origin: base.Scheme + "://" + base.Host, serverName: serverName}
	var roots *x509.CertPool
	if bundle != nil {
		key.bundle, roots = bundle.digest, bundle.roots
	}
	shared, found := p.transports[key]
	if !found {
		shared = &sharedTransport{RoundTripper: p.Network.roundTripper(roots, serverName), key: key, bundle: bundle}
		if p.transports == nil {
			p.transports = map[transportKey]*sharedTransport{}
		}
		p.transports[key] = shared
		if bundle != nil {
			if p.bundles == nil {
				p.bundles = map[[sha256.Size]byte]*sharedBundle{}
			}
			p.bundles[bundle.digest] = bundle
			bundle.users++
		}
	}
	shared.users++
	return shared
}

// register has a user use a Reporter from now on. Before the one that it does not use any more is released, so that they share what they
// can.
func (p *Pool) register(userID string, shared *sharedReporter, now time.Time) {
	u, found := p.users[userID]
	if !found {
		if p.users == nil {
			p.users = map[string]*user{}
		}
		u = &user{}
		p.users[userID] = u
	}
	switch shared {
	case u.current:
		if u.previous != nil && now.Sub(u.changed) >= overlap {
			p.release(u.previous)
			u.previous = nil
		}
	case u.previous:
		u.current, u.previous, u.changed = shared, u.current, now
	default:
		shared.users++
		p.release(u.previous)
		u.current, u.previous, u.changed = shared, u.current, now
	}
}

// release takes one user from a Reporter. Without any, it is forgotten, with the transports and the bundle that nothing else uses.
func (p *Pool) release(shared *sharedReporter) {
	if shared == nil {
		return
	}
	if shared.users--; shared.users > 0 {
		return
	}
	delete(p.reporters, shared.identity)
	for _, transport := range []*sharedTransport{shared.transport, shared.loginTransport} {
		if transport == nil {
			continue
		}
		if transport.users--; transport.users > 0 {
			continue
		}
		delete(p.transports, transport.key)
		(&http.Client{Transport: transport.RoundTripper}).CloseIdleConnections()
		if bundle := transport.bundle; bundle != nil {
			if bundle.users--; bundle.users == 0 {
				delete(p.bundles, bundle.digest)
			}
		}
	}
}
