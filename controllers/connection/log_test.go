// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// A change of Ready is one line, with the connection, the endpoint, the reasons and the time in between. A status that says the same in other
// words is one for those who ask for more.
func TestLogTransition(t *testing.T) {
	const id = "019996b8-f3d1-7d2b-a192-6e91464d82fc"
	resource := func(status metav1.ConditionStatus, reason string, since time.Duration) *v1alpha1.ReporterConnection {
		rc := &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "billing"},
			Spec: v1alpha1.ReporterConnectionSpec{ConnectionID: id, EndpointRef: v1alpha1.EndpointReference{Name: "default"}}}
		if reason != "" {
			rc.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: status, Reason: reason, LastTransitionTime: metav1.NewTime(time.Now().Add(-since))}}
		}
		return rc
	}
	line := func(verbosity int, ready, reason, before, after string) string {
		return `"level"=` + string(rune('0'+verbosity)) + ` "msg"="Status changed" "connectionID"="` + id + `" "endpoint"="billing/default" "ready"="` + ready +
			`" "reason"="` + reason + `" "before"="` + before + `" "after"="` + after + `" "deleting"=false`
	}
	for name, test := range map[string]struct {
		base, now *v1alpha1.ReporterConnection
		want      string
	}{
		"at first":          {resource("", "", 0), resource("True", "Available", 0), line(0, "True", "Available", "", "0s")},
		"another reason":    {resource("False", "EndpointNotFound", 90*time.Minute), resource("False", "SecretNotFound", 0), line(0, "False", "SecretNotFound", "EndpointNotFound", "1h30m0s")},
		"Ready again":       {resource("Unknown", "Creating", 7*time.Second), resource("True", "Available", 0), line(0, "True", "Available", "Creating", "7s")},
		"the same as ever":  {resource("True", "Available", time.Hour), resource("True", "Available", 0), line(1, "True", "Available", "Available", "1h0m0s")},
		"Unknown, not sure": {resource("Unknown", "Conflict", time.Minute), resource("False", "Conflict", 0), line(0, "False", "Conflict", "Conflict", "1m0s")},
	} {
		var logged strings.Builder
		logger := funcr.New(func(_, line string) { logged.WriteString(line) }, funcr.Options{Verbosity: 1})
		logTransition(logr.NewContext(t.Context(), logger), test.base, test.now)
		if got := logged.String(); got != test.want {
			t.Errorf("%s: it is\n%s\nnot\n%s", name, got, test.want)
		}
	}
}
