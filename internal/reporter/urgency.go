// SPDX-License-Identifier: Apache-2.0

package reporter

import "context"

type urgencyKey struct{}

// WithUrgency returns a context whose requests are sent although the server asked to be left alone for a while, takes no more requests
// for now, or did not answer before; a login that such a request needs as well. It is for the one attempt that a person asks for.
func WithUrgency(ctx context.Context) context.Context {
	return context.WithValue(ctx, urgencyKey{}, true)
}

// IsUrgent says whether a context is one of WithUrgency.
func IsUrgent(ctx context.Context) bool {
	urgent, _ := ctx.Value(urgencyKey{}).(bool)
	return urgent
}
