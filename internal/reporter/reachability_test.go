// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

const testPath = "/v1/management/connections/019996b8-f3d1-7d2b-a192-6e91464d82fc/test"

func TestTest(t *testing.T) {
	r, _, c := newRealm(t)
	if err := c.Test(t.Context(), ledgerID); err != nil {
		t.Errorf("it gives %v", err)
	}
	requests := r.Requests()
	if len(requests) != 1 || requests[0].Method != "POST" || requests[0].Path != testPath || len(requests[0].Body) > 0 {
		t.Errorf("Reporter got %+v", requests)
	}
	r.SetDatabasePassword("db.example.com", "another")
	if err := c.Test(t.Context(), ledgerID); !IsDatabaseUnreachable(err) || IsUnavailable(err) {
		t.Errorf("with a wrong password: %v", err)
	}
	end := r.StartJob("ledger-db")
	defer end()
	if err := c.Test(t.Context(), ledgerID); !IsDatabaseUnreachable(err) {
		t.Errorf("during a job: %v", err)
	}
	if err := c.Test(t.Context(), strings.ToUpper(ledgerID)); !IsInvalidID(err) {
		t.Errorf("of a sloppy id: %v", err)
	}
}

// What an answer to a test means. None of it says anything of Reporter itself, and none repeats what the driver of a database wrote.
func TestAnswersToTests(t *testing.T) {
	const (
		json = "application/json"
		text = `,"title":"request_failed","message":"dial postgres://reader:hunter3@db"}`
	)
	for name, test := range map[string]struct {
		status            int
		contentType, body string
		is                func(error) bool
	}{
		"unreachable":                      {500, json, `{"code":500` + text, IsDatabaseUnreachable},
		"unreachable, newer":               {500, "application/problem+json", `{"code":500,"title":"request_failed","detail":"hunter3"}`, IsDatabaseUnreachable},
		"500 with a text as code":          {500, json, `{"code":"500"` + text, IsUnavailable},
		"500 of its own":                   {500, json, `{"code":"FET-0002"` + text, IsUnavailable},
		"500 of a proxy":                   {500, "text/html", `{"code":500` + text, IsUnavailable},
		"502 with a number":                {502, json, `{"code":500` + text, IsUnavailable},
		"503":                              {503, json, `{"code":"FET-0003"` + text, IsUnavailable},
		"too many":                         {429, json, `{"code":429` + text, IsRateLimited},
		"absent":                           {404, json, `{"code":"FET-1001"` + text, IsNotFound},
		"a forbidden host":                 {400, json, `{"code":"FET-0414"` + text, IsInvalid},
		"forbidden":                        {403, "text/plain", "Forbidden", IsForbidden},
		"a failure with status 200":        {200, json, `{"status":"failed","message":"hunter3"}`, nil},
		"a status that is no text":         {200, json, `{"status":["success"]}`, nil},
		"a login page":                     {200, "text/html", `{"status":"success"}`, nil},
		"success with another status code": {201, json, `{"status":"success"}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r, _, c := newRealm(t)
			remove := r.Inject(reportertest.Fault{Do: reportertest.Answer(test.status, http.Header{"Content-Type": {test.contentType}, "Retry-After": {"60"},
				"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"4102444800"}}, test.body)})
			err := c.Test(t.Context(), ledgerID)
			var e *Error
			if !errors.As(err, &e) || test.is != nil && !test.is(err) || test.is == nil && e.kind != kindUnexpected || MayHaveActed(err) {
				t.Errorf("it gives %v", err)
			}
			if strings.Contains(err.Error()+e.Detail()+e.Message, "hunter3") {
				t.Errorf("it repeats the password: %v", err)
			}
			remove()
			if _, err := c.Get(t.Context(), ledgerID); err != nil || c.Outage() != nil {
				t.Errorf("a GET after that gives %v, and the breaker says %v", err, c.Outage())
			}
		})
	}
}

// A test that hangs is no outage, and one that is answered ends none. It has 15 seconds, whatever other requests have.
func TestTestSaysNothingOfReporter(t *testing.T) {
	for _, timeout := range []time.Duration{time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			r, _, c := newRealm(t)
			c.timeout = timeout
			answer := c.roundTripper
			c.roundTripper = roundTripFunc(func(request *http.Request) (*http.Response, error) {
				<-request.Context().Done()
				return nil, request.Context().Err()
			})
			if _, err := c.Login(t.Context()); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if err := c.Test(t.Context(), ledgerID); !IsUnavailable(err) || time.Since(began) != 15*time.Second || c.Outage() != nil {
				t.Errorf("it gives %v after %s, and the breaker says %v", err, time.Since(began), c.Outage())
			}
			c.roundTripper = answer
			c.outage.begin(&Error{kind: kindUnavailable}, time.Now(), false)
			if err := c.Test(t.Context(), ledgerID); !IsHeldBack(err) || len(r.Requests()) != 0 {
				t.Errorf("in an outage: %v, and Reporter got %d requests", err, len(r.Requests()))
			}
			if err := c.Test(WithUrgency(t.Context()), ledgerID); err != nil || c.Outage() == nil {
				t.Errorf("with urgency: %v, and the breaker says %v", err, c.Outage())
			}
		})
	}
}

// One test at a time, of all clients for a Reporter. Whoever leaves is waited for by nobody.
func TestOneTestAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, c := newRealm(t)
		do, open := gate()
		r.Inject(reportertest.Fault{Method: "POST", Do: do})
		ended := make(chan error, 3)
		for range 3 {
			go func() { ended <- c.Test(t.Context(), ledgerID) }()
		}
		synctest.Wait()
		if n := len(r.Requests()); n != 1 {
			t.Errorf("%d tests are under way", n)
		}
		left, leave := context.WithCancel(t.Context())
		leave()
		if err := c.Test(left, ledgerID); !errors.Is(err, context.Canceled) {
			t.Errorf("who leaves gets %v", err)
		}
		open()
		for range 3 {
			if err := <-ended; err != nil {
				t.Errorf("it gives %v", err)
			}
		}
	})
	pool := &Pool{}
	config := Config{BaseURL: "http://reporter", Timeout: time.Second}
	first, err := pool.Client("first", config)
	if err != nil {
		t.Fatal(err)
	}
	config.Timeout = time.Minute
	second, err := pool.Client("second", config)
	if err != nil || first.tests != second.tests {
		t.Errorf("two clients for one Reporter test at the same time, %v", err)
	}
}
