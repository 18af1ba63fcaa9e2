// SPDX-License-Identifier: Apache-2.0

package access

import (
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"

	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// A request is one line for those who ask for requests, with the id that Reporter's log has too; for those who ask for waits, it is none.
func TestLogExchange(t *testing.T) {
	for verbosity, want := range map[int]string{
		1: "",
		2: `"level"=2 "msg"="Request to Reporter" "endpoint"="billing/default" "operation"="delete" "outcome"="job_in_progress" "method"="DELETE" ` +
			`"path"="/v1/management/connections/a" "status"=409 "requestID"="29cb3859" "took"="21ms"`,
	} {
		var logged strings.Builder
		logger := funcr.New(func(_, line string) { logged.WriteString(line) }, funcr.Options{Verbosity: verbosity})
		LogExchange(logr.NewContext(t.Context(), logger), reporter.Exchange{User: "billing/default", Operation: "delete", Outcome: "job_in_progress",
			Method: "DELETE", Path: "/v1/management/connections/a", Status: 409, RequestID: "29cb3859", Took: 21 * time.Millisecond})
		if got := logged.String(); got != want {
			t.Errorf("with verbosity %d it is\n%s\nnot\n%s", verbosity, got, want)
		}
	}
}
