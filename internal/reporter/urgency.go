// SPDX-License-Identifier: Apache-2.0

package reporter

import "context"

type urgencyKey struct{}

type trialKey struct{}

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

// OnTrial returns a context whose requests are sent although Reporter did not answer before. It is for one attempt when Pool.Tried says so.
func OnTrial(ctx context.Context) context.Context {
	return context.WithValue(ctx, trialKey{}, true)
}

// PassesOutage says whether the requests of a context are sent although Reporter did not answer before.
func PassesOutage(ctx context.Context) bool {
	onTrial, _ := ctx.Value(trialKey{}).(bool)
	return onTrial || IsUrgent(ctx)
}
