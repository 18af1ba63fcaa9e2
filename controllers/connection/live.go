// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"fmt"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/access"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
)

// reconcileLive looks the connection up and says in the status what was found.
func (r *Reconciler) reconcileLive(ctx context.Context, rc *v1alpha1.ReporterConnection) (ctrl.Result, error) {
	if err := r.ensureFinalizer(ctx, rc); err != nil {
		return kube.ResultOf(err)
	}
	base := rc.DeepCopy()
	to, err := r.Access.Target(ctx, rc)
	if err != nil {
		return ctrl.Result{}, err
	}
	if !r.isTurnToLookUp(rc, to) {
		return ctrl.Result{RequeueAfter: r.CheckInterval}, nil
	}
	r.lookups.Forget(kube.RequestFor(rc))
	look := decision.Look{Settled: decision.IsSettled(base), Waited: decision.WaitedNotReady(rc.Status.Conditions, time.Now())}
	judge := r.lookAt
	if rc.Describes() {
		judge = r.keep
	} else {
		forgetDescription(rc)
	}
	verdict, asked, err := judge(ctx, rc, base, to, look)
	if err != nil {
		return ctrl.Result{}, err
	}
	if !asked {
		r.lookups.Exempt(kube.RequestFor(rc)) // its turn to be looked up has come, and lasts until it is looked up
		return ctrl.Result{RequeueAfter: r.jitter(decision.MaxDelay)}, nil
	}
	if verdict.Status != "" {
		setCondition(rc, v1alpha1.ConditionReady, verdict.Status, verdict.Block)
	}
	setStalled(rc)
	if apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionReady) == nil { // there is nothing to say yet
		return ctrl.Result{RequeueAfter: max(verdict.RetryIn, decision.MinDelay)}, nil
	}
	retryIn := verdict.RetryIn
	if verdict.Status == "" && !isWhereItLeads(base, to) {
		retryIn = unverifiedDelay
	}
	if !decision.IsSettled(rc) || !isWhereItLeads(rc, to) {
		var waiting bool
		block := verdict.Block
		block.RetryIn = retryIn
		if retryIn, waiting = r.waitForReporter(rc, to, block); !waiting {
			return ctrl.Result{RequeueAfter: decision.MinDelay}, nil
		}
	}
	if retryIn == 0 {
		retryIn = r.CheckInterval
	}
	return r.patchStatus(ctx, base, rc, r.jitter(retryIn))
}

// forgetDescription drops from the status what only a described connection has: somebody may have stopped to describe it.
func forgetDescription(rc *v1alpha1.ReporterConnection) {
	apimeta.RemoveStatusCondition(&rc.Status.Conditions, v1alpha1.ConditionDatabaseReachable)
	apimeta.RemoveStatusCondition(&rc.Status.Conditions, v1alpha1.ConditionDuplicateInReporter)
}

// lookAt looks the connection up that a resource names by its id alone. It returns false where it has to wait for a slot.
func (r *Reconciler) lookAt(ctx context.Context, rc, _ *v1alpha1.ReporterConnection, to access.Target, look decision.Look) (verdict decision.LiveVerdict, asked bool, err error) {
	if look.Outcome, asked = r.observeConnection(ctx, rc, to); !asked {
		return verdict, false, nil
	}
	if look.Outcome.IsDone() {
		look.OlderClaim, err = r.olderClaimOf(ctx, rc)
	}
	return decision.JudgeLive(look), true, err
}

// unverifiedDelay is how soon a connection is looked up again that was found elsewhere than its endpoint leads now, and could not be looked
// up there: its claim counts only when it was.
const unverifiedDelay = 10 * time.Second

// isWhereItLeads says whether the connection was last seen in the Reporter that the endpoint leads to now, as far as it leads anywhere.
func isWhereItLeads(rc *v1alpha1.ReporterConnection, to access.Target) bool {
	return to.Client == nil || rc.Status.ObservedIn == nil || rc.Status.ObservedIn.URL == to.Client.URL()
}

// ensureFinalizer makes the finalizer say what the deletion policy says, before anything is asked of Reporter: from then on
// the resource cannot go without its connection.
func (r *Reconciler) ensureFinalizer(ctx context.Context, rc *v1alpha1.ReporterConnection) error {
	if rc.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain {
		return kube.EnsureFinalizer(ctx, r.Client, rc, v1alpha1.ConnectionFinalizer)
	}
	if !controllerutil.ContainsFinalizer(rc, v1alpha1.ConnectionFinalizer) {
		return nil
	}
	_, err := kube.DropFinalizer(ctx, r.Client, rc, v1alpha1.ConnectionFinalizer)
	return err
}

// lookupLane is where routine look-ups wait for their turn: of the same Reporter, and what waits to be found apart from what was found.
type lookupLane struct {
	origin  string
	settled bool
}

// isTurnToLookUp says whether a resource may be looked up now. What its status does not describe yet need not wait.
func (r *Reconciler) isTurnToLookUp(rc *v1alpha1.ReporterConnection, to access.Target) bool {
	if to.Client == nil || !decision.IsLookedUp(rc) {
		return true
	}
	return r.lookups.Take(lookupLane{to.Client.Origin(), decision.IsSettled(rc)}, kube.RequestFor(rc))
}

// observeConnection asks Reporter for the connection of a resource and notes what it shows. It returns false where it has to wait for a
// slot.
func (r *Reconciler) observeConnection(ctx context.Context, rc *v1alpha1.ReporterConnection, to access.Target) (decision.Outcome, bool) {
	outcome, asked := to.Obstacle, true
	if to.Client != nil {
		outcome, asked = r.askForConnection(ctx, rc, to)
	}
	if asked && !outcome.IsDone() {
		noteNotShown(rc, to, outcome)
	}
	return outcome, asked
}

func (r *Reconciler) askForConnection(ctx context.Context, rc *v1alpha1.ReporterConnection, to access.Target) (decision.Outcome, bool) {
	ctx, release, _, held := r.admit(ctx, rc, to)
	if held != nil {
		return r.outcomeOf(to, held), true
	}
	if release == nil {
		return decision.Outcome{}, false
	}
	defer release()
	place, outcome := r.logIn(ctx, to)
	if outcome.IsDone() {
		outcome = r.lookUp(ctx, rc, to, place)
	}
	return outcome, true
}

// lookUp asks for the connection at a place and notes what it shows.
func (r *Reconciler) lookUp(ctx context.Context, rc *v1alpha1.ReporterConnection, to access.Target, place v1alpha1.ObservedIn) decision.Outcome {
	shown, err := to.Client.Get(ctx, rc.ConnectionID())
	outcome := r.outcomeOf(to, err)
	if outcome.IsDone() {
		observe(rc, shown, place)
	}
	return outcome
}

// noteNotShown notes whether Reporter has answered the look-up, and did not show the connection.
func noteNotShown(rc *v1alpha1.ReporterConnection, to access.Target, outcome decision.Outcome) {
	rc.Status.NotShownAt = ""
	if to.Client != nil && decision.TraitsOf(outcome.Reason).RefusesClaim {
		rc.Status.NotShownAt = to.Client.URL()
	}
}

// nameFor names a resource to the readers of another's status and events, who need not know what there is elsewhere.
func nameFor(reader, other *v1alpha1.ReporterConnection) string {
	if other.Namespace != reader.Namespace {
		return "a ReporterConnection in another namespace"
	}
	return fmt.Sprintf("ReporterConnection %q", other.Name)
}
