// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// requestVerbosity is from which verbosity on each request is logged.
const requestVerbosity = 2

// LogExchange logs a request, with the id that Reporter got with it.
func LogExchange(ctx context.Context, e reporter.Exchange) {
	log.FromContext(ctx).V(requestVerbosity).Info("Request to Reporter", "endpoint", e.User, "operation", e.Operation, "outcome", e.Outcome,
		"method", e.Method, "path", e.Path, "status", e.Status, "requestID", e.RequestID, "took", e.Took.String())
}
