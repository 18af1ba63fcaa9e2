// SPDX-License-Identifier: Apache-2.0

package play_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reporter-operator/reporter-operator/hack/internal/play"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// status sends a request straight to a handler.
func status(t *testing.T, handler http.Handler, method, path, body string) int {
	t.Helper()
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
	return answer.Code
}

func TestJobsToPlayWith(t *testing.T) {
	const ledger = "/v1/management/connections/019996b8-f3d1-7d2b-a192-6e91464d82fc"
	synctest.Test(t, func(t *testing.T) {
		reporter := reportertest.New()
		reporter.Add(reportertest.Connection{ID: "019996b8-f3d1-7d2b-a192-6e91464d82fc", ConfigName: "ledger-db"})
		handler := play.WithJobs(reporter, play.NewJobs(reporter))
		for _, step := range []struct {
			method, path, body string
			status             int
		}{
			{"POST", "/_play/jobs", `{"configName": "ledger-db"}`, 201},
			{"POST", "/_play/jobs", `{"configName": "ledger-db"}`, 201},
			{"DELETE", ledger, "", 409},
			{"DELETE", "/_play/jobs/other-db", "", 204},
			{"DELETE", ledger, "", 409},
			{"DELETE", "/_play/jobs/ledger-db", "", 204},
			{"DELETE", "/_play/jobs/ledger-db", "", 204},
			{"PATCH", ledger, `{"port": 6432}`, 200},
			{"POST", "/_play/jobs", `{"configName": "ledger-db", "for": "10s"}`, 201},
			{"DELETE", ledger, "", 409},
			{"POST", "/_play/jobs", `{"for": "10s"}`, 400},
			{"POST", "/_play/jobs", `{"configName": "ledger-db", "for": "soon"}`, 400},
			{"POST", "/_play/jobs", `{"configName": "ledger-db", "for": "-1s"}`, 400},
			{"POST", "/_play/jobs", ``, 400},
			{"GET", "/_play/jobs", "", 405},
			{"GET", "http://reporter//v1/management/connections", "", 404},
		} {
			if got := status(t, handler, step.method, step.path, step.body); got != step.status {
				t.Errorf("%s %s %s answers %d, not %d", step.method, step.path, step.body, got, step.status)
			}
		}

		<-time.After(10 * time.Second) // of the bubble's clock, as is the job's end
		synctest.Wait()
		if got := status(t, handler, "DELETE", ledger, ""); got != 204 {
			t.Errorf("after the job DELETE answers %d, not 204", got)
		}
	})
}

func TestWatched(t *testing.T) {
	reporter := reportertest.New()
	c := reporter.Add(reportertest.Connection{ConfigName: "ledger-db"})
	end := reporter.StartJob("ledger-db")
	var seen []string
	handler := play.Watched(reporter, func(e play.Exchange) {
		seen = append(seen, fmt.Sprintf("%s %s → %s %s", e.Method, strings.ReplaceAll(e.URI, c.ID, "{id}"), e.Answer, e.Title))
	})
	const connections = "/v1/management/connections"
	status(t, handler, "GET", connections+"?limit=1", "")
	status(t, handler, "DELETE", connections+"/"+c.ID, "")
	end()
	status(t, handler, "DELETE", connections+"/"+c.ID, "")
	status(t, handler, "GET", "/elsewhere", "")
	if want := []string{
		"GET /v1/management/connections?limit=1 → 200 ",
		"DELETE /v1/management/connections/{id} → 409 FET-1021 Job In Progress",
		"DELETE /v1/management/connections/{id} → 204 ",
		"GET /elsewhere → 404 404 request_failed",
	}; !slices.Equal(seen, want) {
		t.Errorf("seen are %q, not %q", seen, want)
	}
}
