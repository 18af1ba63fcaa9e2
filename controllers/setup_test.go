// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/reporter-operator/reporter-operator/controllers/kube"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// A pass that fails is repeated after an eighth of the time that passes have failed for, whichever controller it is of, so that the end of
// an outage of the API server, or of a webhook, is noticed soon. A pass that does not fail ends that time.
func TestFailedPassesAreRepeatedInProportion(t *testing.T) {
	const outage = 400 * time.Second
	for _, c := range New(Environment{Pool: &reporter.Pool{}, Random: func() float64 { return 0.5 }}, Options{MaxConcurrentReconciles: 1}) {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var first, second []time.Duration // when passes were made, before and after one that did not fail
				c.Reconciler = reconcile.Func(func(context.Context, reconcile.Request) (reconcile.Result, error) {
					now := time.Since(began)
					if len(second) > 0 || (len(first) > 0 && first[len(first)-1] >= outage) {
						second = append(second, now)
					} else if first = append(first, now); now >= outage {
						return reconcile.Result{RequeueAfter: time.Hour}, nil
					}
					return reconcile.Result{}, errors.New("no webhook answers")
				})
				c.run(t, 2*time.Hour)
				if len(first) == 0 || first[len(first)-1] > outage*9/8+time.Second {
					t.Errorf("an outage of %s is noticed to be over at %v", outage, first)
				}
				if len(second) < 3 || second[1]-second[0] != time.Second || second[2]-second[1] != time.Second {
					t.Errorf("the next outage, an hour later, has passes at %v, want them a second apart at first", second)
				}
			})
		})
	}
}

// run runs the controller, as it is wired to be, for one request and so long.
func (c *Controller) run(t *testing.T, d time.Duration) {
	t.Helper()
	options := c.options()
	options.SkipNameValidation, options.Reconciler = new(true), c.Reconciler
	running, err := controller.NewUnmanaged(c.Name, options)
	if err != nil {
		t.Fatal(err)
	}
	err = running.Watch(source.Func(func(_ context.Context, q kube.Queue) error {
		q.Add(reconcile.Request{})
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- running.Start(ctx) }()
	time.Sleep(d) //nolint:forbidigo // virtual time
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
