// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/access"
	"github.com/reporter-operator/reporter-operator/controllers/admission"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// recallTest notes once more what Reporter has answered to a test, where the status does not say so: the cache is late, or a write went wrong.
func (k *keeper) recallTest() {
	known := k.memoryOf(k.rc).tested
	if k.rc.IsTaken() && known.sent == k.rc.Status.Sent && decision.IsTestDue(k.rc.Status.Conditions) {
		setCondition(k.rc, v1alpha1.ConditionDatabaseReachable, known.verdict.Status, known.verdict.Block)
	}
}

// isTestDue says whether Reporter is to test if it reaches the database of a connection on which there is a verdict.
func (k *keeper) isTestDue(verdict decision.LiveVerdict) bool {
	return verdict.Status == metav1.ConditionTrue && k.rc.IsTaken() && decision.IsTestDue(k.rc.Status.Conditions)
}

// test has Reporter test whether it reaches the database, and adds what comes of it to the verdict on the connection, which is written first:
// a test takes seconds. One test of a Reporter is made at a time, beside its other requests; where this one has to wait, a pass is dispatched
// when it need not any more.
func (k *keeper) test(ctx context.Context, verdict decision.LiveVerdict) (decision.LiveVerdict, error) {
	release, _ := k.tests.Acquire(admission.Waiter[reporter.Identity, reconcile.Request]{Request: kube.RequestFor(k.rc), Server: k.to.Client.Identity(), Limit: 1, Now: time.Now()})
	if release == nil {
		k.lookups.Exempt(kube.RequestFor(k.rc)) // it waits in one queue, and not in the other after that
		return verdict, nil
	}
	defer release()
	if err := k.write(ctx, verdict); apierrors.IsConflict(err) {
		return decision.LiveVerdict{Block: decision.Block{RetryIn: decision.MinDelay}}, nil
	} else if err != nil {
		return verdict, err
	}
	err := k.to.Client.Test(ctx, k.rc.ConnectionID())
	tested := decision.JudgeTest(access.OutcomeOf(err), reporter.IsDatabaseUnreachable(err), decision.WaitedSince(k.rc.Status.Conditions, v1alpha1.ConditionDatabaseReachable, time.Now()))
	if tested.RetryIn == 0 {
		k.memories.update(k.rc, func(known *memory) { known.tested.sent, known.tested.verdict = k.rc.Status.Sent, tested })
	}
	setCondition(k.rc, v1alpha1.ConditionDatabaseReachable, tested.Status, tested.Block)
	verdict.RetryIn = sooner(verdict.RetryIn, tested.RetryIn)
	return verdict, nil
}
