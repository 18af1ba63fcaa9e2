// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/oauth2"
)

// Pool makes Clients. Those for the same Reporter, which is an origin (scheme, host and port) and credentials, share one
// transport and so its connections, one login, what Reporter asked them to wait, and whether it answers at all, however many endpoints
// name it. The zero value is ready for use.
type Pool struct {
	// Network may be set until the first use.
	Network Network
	// Recovered, if it is set before the first use, is called when a Reporter answers a Check again that had not answered one.
	Recovered func(Identity)

	mu        sync.Mutex
	reporters map[Identity]*sharedReporter
}

// Identity tells Reporters apart. It is comparable, and holds a digest of the credentials, so that no dump shows them.
type Identity struct {
	origin      string
	credentials [sha256.Size]byte
}

// sharedReporter is what the Clients for one Reporter have in common.
type sharedReporter struct {
	transport http.RoundTripper
	pace      pace
	outage    *outage
	session   *session            // nil without credentials
	login     *accessManagerLogin // nil where there is none
	lastUsed  time.Time
}

// unusedReporter is how long a Reporter is kept for which no Client is made any more: its credentials have changed, or its
// endpoint is gone.
const unusedReporter = time.Hour

// Client returns a client for the Reporter that config describes. The error says what to write instead, and is the same each
// time.
func (p *Pool) Client(config Config) (*Client, error) {
	base, err := p.parse(config.BaseURL)
	if err != nil {
		return nil, err
	}
	if !httpguts.ValidHeaderFieldValue(config.Token) {
		return nil, errors.New("the token contains characters that no HTTP header may carry")
	}
	if config.Timeout <= 0 {
		return nil, fmt.Errorf("the timeout must be positive, not %s", config.Timeout)
	}
	identity := Identity{origin: base.Scheme + "://" + base.Host, credentials: digest(config)}
	shared, err := p.reporter(identity, func() (*sharedReporter, error) { return p.newReporter(identity, config) })
	if err != nil {
		return nil, err
	}
	if shared.login != nil {
		shared.login.within.Store(int64(config.Timeout)) // who changed it last waits for the next login
	}
	return &Client{
		caller:   caller{base: base, timeout: config.Timeout, transport: shared.transport, pace: &shared.pace, serverName: config.TLS.ServerName},
		identity: identity,
		session:  shared.session,
		outage:   shared.outage,
	}, nil
}

// parse is parseBaseURL for a host that the network allows.
func (p *Pool) parse(raw string) (*url.URL, error) {
	base, err := parseBaseURL(raw)
	if err != nil {
		return nil, err
	}
	return base, p.Network.checkHost(base)
}

// digest sums up all by which the Clients for one origin differ.
func digest(config Config) [sha256.Size]byte {
	manager := AccessManager{}
	if config.AccessManager != nil {
		manager = *config.AccessManager
	}
	hash := sha256.New()
	for _, part := range []string{config.Token, manager.URL, manager.ClientID, manager.ClientSecret, config.TLS.CABundle, config.TLS.ServerName} {
		fmt.Fprintf(hash, "%d:%s", len(part), part)
	}
	return [sha256.Size]byte(hash.Sum(nil))
}

func (p *Pool) newReporter(identity Identity, config Config) (*sharedReporter, error) {
	transport, err := p.Network.transport(config.TLS)
	if err != nil {
		return nil, err
	}
	shared := &sharedReporter{transport: transport, outage: &outage{ended: func() {
		if p.Recovered != nil {
			p.Recovered(identity)
		}
	}}}
	switch {
	case config.AccessManager != nil:
		base, err := p.parse(config.AccessManager.URL)
		if err != nil {
			return nil, fmt.Errorf("the Access Manager: %w", err)
		}
		transport, err := p.Network.transport(TLS{CABundle: config.TLS.CABundle})
		if err != nil {
			return nil, err
		}
		shared.login = &accessManagerLogin{
			caller:       caller{base: base, transport: transport, pace: &pace{}, accessManager: true},
			clientID:     config.AccessManager.ClientID,
			clientSecret: config.AccessManager.ClientSecret,
		}
		shared.session = &session{login: shared.login}
	case config.Token != "":
		shared.session = &session{token: &oauth2.Token{AccessToken: config.Token}}
	}
	return shared, nil
}

func (p *Pool) reporter(key Identity, create func() (*sharedReporter, error)) (*sharedReporter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	shared, found := p.reporters[key]
	if !found {
		for other, unused := range p.reporters {
			if now.Sub(unused.lastUsed) > unusedReporter {
				(&http.Client{Transport: unused.transport}).CloseIdleConnections()
				delete(p.reporters, other)
			}
		}
		if p.reporters == nil {
			p.reporters = map[Identity]*sharedReporter{}
		}
		var err error
		if shared, err = create(); err != nil {
			return nil, err
		}
		p.reporters[key] = shared
	}
	shared.lastUsed = now
	return shared, nil
}
