package reportertest

import (
	"net/http"
	"strconv"
	"time"
)

// limiter lets so many requests pass in each window, as the one of Lerian's common libraries does. A window is fixed: it begins
// with the first request after the end of the last one.
type limiter struct {
	limit  int
	window time.Duration
	ends   time.Time // of the current window
	seen   int       // in it
}

// SetRateLimit limits the requests to the API, not the probes, to so many in each window of time, as an administrator may; the
// vendor's chart has 500 in 60 s. A limit of 0 lifts it. A new limit begins a new window.
func (r *Reporter) SetRateLimit(limit int, window time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limiter = nil
	if limit > 0 {
		r.limiter = &limiter{limit: limit, window: window}
	}
}

// take counts a request and returns the headers that its answer gets, and whether it is one too many. Retry-After is rounded up to
// whole seconds, but X-RateLimit-Reset down: whoever comes at that time may be up to a second early.
func (l *limiter) take(now time.Time) (header http.Header, exceeded bool) {
	if !now.Before(l.ends) {
		l.ends, l.seen = now.Add(l.window), 0
	}
	l.seen++
	header = http.Header{}
	header.Set("X-Ratelimit-Limit", strconv.Itoa(l.limit))
	header.Set("X-Ratelimit-Remaining", strconv.Itoa(max(0, l.limit-l.seen)))
	header.Set("X-Ratelimit-Reset", strconv.FormatInt(l.ends.Unix(), 10))
	if l.seen > l.limit {
		seconds := (l.ends.Sub(now) + time.Second - 1) / time.Second
		header.Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
		return header, true
	}
	return header, false
}
