// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"net/http"
	"sync/atomic"
	"time"
)

// Clock tells the time by the clock of the API server, which is the one that says when an object was deleted. Ours may be another. It is never
// ahead of the server's, and may be behind it by the second to which an answer tells the time, and by how long that took.
type Clock struct{ behind atomic.Int64 }

// Now is the time.
func (c *Clock) Now() time.Time { return time.Now().Add(-time.Duration(c.behind.Load())) }

// Wrap returns a transport to the API server that has the clock set by each answer.
func (c *Clock) Wrap(transport http.RoundTripper) http.RoundTripper { return clockSetter{transport, c} }

type clockSetter struct {
	http.RoundTripper
	clock *Clock
}

func (s clockSetter) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := s.RoundTripper.RoundTrip(request)
	if err == nil {
		if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
			s.clock.behind.Store(int64(time.Since(date)))
		}
	}
	return response, err
}

// WrappedRoundTripper lets client-go find what is inside, such as what cancels requests.
func (s clockSetter) WrappedRoundTripper() http.RoundTripper { return s.RoundTripper }
