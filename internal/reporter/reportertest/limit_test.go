package reportertest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

func TestRateLimit(t *testing.T) {
	reporter := reportertest.New()
	start := time.Date(2026, 6, 1, 12, 0, 0, 400e6, time.UTC)
	now := start
	reporter.Now = func() time.Time { return now }
	reporter.Add(reportertest.Connection{ID: ledgerID})
	reporter.AllowToken("token", "")
	reporter.SetRateLimit(2, time.Minute)

	for _, step := range []struct {
		after                        time.Duration
		method, path                 string
		status                       int
		part                         string
		remaining, reset, retryAfter string
	}{
		// The window begins with the first request, and its end is told in whole seconds, rounded down.
		{5 * time.Second, "GET", pathOf(ledgerID), 200, ledgerID, "1", "1780315265", ""},
		{5 * time.Second, "GET", "/readyz", 200, "healthy", "", "", ""},
		{9 * time.Second, "DELETE", connectionsPath, 405, "request_failed", "0", "1780315265", ""},
		{9 * time.Second, "DELETE", pathOf(ledgerID), 429, `{"code":429,"message":"rate limit exceeded","title":"rate_limit_exceeded"}`, "0", "1780315265", "56"},
		{9 * time.Second, "GET", "/health", 200, "healthy", "", "", ""},
		{9 * time.Second, "GET", "/version", 200, "reportertest", "", "", ""},
		{65*time.Second - time.Millisecond, "GET", connectionsPath, 429, "rate_limit_exceeded", "0", "1780315265", "1"},
		{65 * time.Second, "DELETE", pathOf(ledgerID), 204, "", "1", "1780315325", ""},
		{500 * time.Second, "GET", pathOf(ledgerID), 404, "FET-1001", "1", "1780315760", ""},
	} {
		now = start.Add(step.after)
		answer := do(t, reporter, step.method, step.path, "", "Authorization", "Bearer token")
		answers(t, answer, step.status, step.part)
		limit := "2"
		if step.remaining == "" {
			limit = "" // probes are not limited
		}
		for header, want := range map[string]string{"X-RateLimit-Limit": limit, "X-RateLimit-Remaining": step.remaining,
			"X-RateLimit-Reset": step.reset, "Retry-After": step.retryAfter} {
			if got := answer.Header().Get(header); got != want {
				t.Errorf("after %s %s %s: %s is %q, not %q", step.after, step.method, step.path, header, got, want)
			}
		}
	}

	reporter.SetRateLimit(0, 0)
	for range 3 {
		answer := do(t, reporter, "GET", connectionsPath, "", "Authorization", "Bearer token")
		answers(t, answer, 200, `"total":0`)
		if got := answer.Header().Get("X-Ratelimit-Limit"); got != "" {
			t.Errorf("without a limit, X-RateLimit-Limit is %q", got)
		}
	}
}

// The limiter is in front of everything else: it neither looks at tokens nor needs the database. A fault is in front of it.
func TestRateLimitComesFirst(t *testing.T) {
	reporter := reportertest.New()
	reporter.AllowToken("token", "")
	reporter.SetDatabaseDown(true)
	reporter.SetRateLimit(2, time.Hour)
	reporter.Inject(reportertest.Fault{Times: 1, Do: reportertest.Answer(http.StatusTeapot, nil, "")})
	for _, want := range []int{418, 401, 401, 429} {
		answers(t, do(t, reporter, "GET", connectionsPath, ""), want, "")
	}
}
