// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// RateLimiter has a pass that failed repeated by a schedule. The one that controller-runtime uses by default doubles the delay with each
// failure, up to 1000 seconds: what has ended an outage may be noticed as long after it as the outage took.
type RateLimiter struct {
	// Delay is how long to wait after passes have failed for so long already.
	Delay func(failing time.Duration) time.Duration

	mu       sync.Mutex
	failures map[reconcile.Request]failures
}

type failures struct {
	since time.Time
	count int
}

// When notes a failure, and returns how long to wait before the next pass.
func (l *RateLimiter) When(request reconcile.Request) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.failures[request]
	if f.count == 0 {
		f.since = time.Now()
	}
	f.count++
	if l.failures == nil {
		l.failures = map[reconcile.Request]failures{}
	}
	l.failures[request] = f
	return l.Delay(time.Since(f.since))
}

// NumRequeues returns how many passes in a row have failed.
func (l *RateLimiter) NumRequeues(request reconcile.Request) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failures[request].count
}

// Forget notes that a pass has not failed.
func (l *RateLimiter) Forget(request reconcile.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.failures, request)
}
