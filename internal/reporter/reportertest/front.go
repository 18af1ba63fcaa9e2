package reportertest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Request is one request as it arrived, whatever became of it.
type Request struct {
	Method     string
	Path       string // escaped, as it was sent
	Query      string
	Header     http.Header
	Body       []byte
	RemoteAddr string // one value for each TCP connection
	Time       time.Time
}

// front is what each server of this package does before it answers: it notes the request, is slow, and lets a fault have
// it. Its lock is its own, so that what answers may hold another.
type front struct {
	mu       sync.Mutex
	faults   []*injected // copied on write
	requests []Request
	latency  time.Duration
}

// SetLatency delays everything the server does. A request whose client leaves meanwhile is carried out all the same, as
// Reporter does it.
func (s *front) SetLatency(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency = d
}

// recorded is how many requests are kept at least; bounded, so that a benchmark may send as many as it likes.
const recorded = 4096

// Requests returns the requests that arrived, oldest first: all of them up to some thousand, then the newest.
func (s *front) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// ResetRequests forgets the requests that arrived so far.
func (s *front) ResetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}

const maxBody = 1 << 20

// serve has act answer the request, unless a fault was injected for it.
func (s *front) serve(w http.ResponseWriter, req *http.Request, now time.Time, act http.HandlerFunc) {
	// Read to the end also so that net/http notices when the client leaves.
	body, err := io.ReadAll(io.LimitReader(req.Body, maxBody))
	if err != nil {
		panic(http.ErrAbortHandler) // the client left
	}
	latency := s.record(req, body, now)

	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	req = req.WithContext(ctx)
	pause(ctx, latency)

	f := s.fault(req, body)
	req.Body = io.NopCloser(bytes.NewReader(body))
	if f != nil {
		defer context.AfterFunc(f.removed, cancel)()
		f.Do(w, req, act)
		return
	}
	act(w, req)
}

func (s *front) record(req *http.Request, body []byte, now time.Time) (latency time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.requests) == 2*recorded {
		s.requests = slices.Clone(s.requests[recorded:])
	}
	s.requests = append(s.requests, Request{
		Method:     req.Method,
		Path:       req.URL.EscapedPath(),
		Query:      req.URL.RawQuery,
		Header:     req.Header.Clone(),
		Body:       body,
		RemoteAddr: req.RemoteAddr,
		Time:       now,
	})
	return s.latency
}

// pause returns after d, or as soon as the context ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
