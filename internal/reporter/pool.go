// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"crypto/sha256"
	"net"
	"net/http"
	"sync"
	"time"
)

// Pool makes Clients. Those for the same Reporter, which is an origin (scheme, host and port) and credentials, share one
// transport and so its connections, however many endpoints name it. The zero value is ready for use.
type Pool struct {
	mu        sync.Mutex
	reporters map[reporterKey]*sharedReporter
}

// reporterKey holds a digest of the credentials, so that no dump of the pool shows them.
type reporterKey struct {
	origin      string
	credentials [sha256.Size]byte
}

// sharedReporter is what the Clients for one Reporter have in common.
type sharedReporter struct {
	transport *http.Transport
	pause     pause
	lastUsed  time.Time
}

// unusedReporter is how long a Reporter is kept for which no Client is made any more: its credentials have changed, or its
// endpoint is gone.
const unusedReporter = time.Hour

// Client returns a client for the Reporter that config describes. The error says what to write instead.
func (p *Pool) Client(config Config) (*Client, error) {
	client, err := newClient(config)
	if err != nil {
		return nil, err
	}
	shared := p.reporter(reporterKey{
		origin:      client.base.Scheme + "://" + client.base.Host,
		credentials: sha256.Sum256([]byte(config.Token)),
	})
	client.client.Transport = shared.transport
	client.pause = &shared.pause
	return client, nil
}

func (p *Pool) reporter(key reporterKey) *sharedReporter {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	shared, found := p.reporters[key]
	if !found {
		for other, unused := range p.reporters {
			if now.Sub(unused.lastUsed) > unusedReporter {
				unused.transport.CloseIdleConnections()
				delete(p.reporters, other)
			}
		}
		if p.reporters == nil {
			p.reporters = make(map[reporterKey]*sharedReporter)
		}
		shared = &sharedReporter{transport: newTransport()}
		p.reporters[key] = shared
	}
	shared.lastUsed = now
	return shared
}

// pause holds back what would be sent to a Reporter that asked to be left alone for a while, whoever it was that it told.
type pause struct {
	mu    sync.Mutex
	until time.Time
	cause Error
}

// maxPause bounds what a Reporter can ask for.
const maxPause = 10 * time.Minute

func (p *pause) begin(answer *Error, now time.Time) {
	if answer.retryAfter == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until, p.cause = now.Add(min(answer.retryAfter, maxPause)), *answer
}

// hold returns the answer that began the pause, with the rest of it to wait, or nil if there is none.
func (p *pause) hold(method, path string, now time.Time) *Error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !now.Before(p.until) {
		return nil
	}
	held := p.cause
	held.Method, held.Path, held.retryAfter = method, path, p.until.Sub(now)
	return &held
}

// maxConnections bounds the connections to one Reporter.
const maxConnections = 64

// newTransport differs from http.DefaultTransport where that would surprise: no proxy from the environment, and as many idle
// connections kept as may be in use, so that a burst of requests does not dial for each.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		MaxConnsPerHost:        maxConnections,
		MaxIdleConnsPerHost:    maxConnections,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: maxBody,
	}
}
