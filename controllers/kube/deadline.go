// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	// MaxTimeout is the most that one request to Reporter may take, as the schema of ReporterEndpoint has it.
	MaxTimeout = time.Minute
	// PassTimeout bounds a pass, whatever does not answer: three requests to Reporter of the longest timeout, such as a login, a DELETE and
	// the GET that confirms what it found, and what is asked of the API server. What a pass has no time for is left to the next.
	PassTimeout = 3*MaxTimeout + 30*time.Second
)

// Bounded is a reconciler whose passes end after PassTimeout.
type Bounded struct{ reconcile.Reconciler }

// Reconcile makes one pass.
func (b Bounded) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, PassTimeout)
	defer cancel()
	return b.Reconciler.Reconcile(ctx, req)
}

// WithoutCancel returns a context that ends at the deadline of the pass, and not with the process.
func WithoutCancel(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, found := ctx.Deadline()
	if !found {
		return context.WithCancel(context.WithoutCancel(ctx))
	}
	return context.WithDeadline(context.WithoutCancel(ctx), deadline)
}
