// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/access"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// deletion is one pass over a deleted resource.
type deletion struct {
	*Reconciler
	// rc is the resource as the cache shows it, with what this pass adds to its status; base, without.
	rc, base *v1alpha1.ReporterConnection
	to       access.Target
	// waited is how long the deletion has been blocked by Reporter so far.
	waited time.Duration
}

// reconcileDeletion walks a deletion: it either ends with the finalizer gone, or is blocked for a reason and tried again. What the caches
// show may block it; before anything is done that cannot be undone, the API server is asked.
func (r *Reconciler) reconcileDeletion(ctx context.Context, rc *v1alpha1.ReporterConnection) (ctrl.Result, error) {
	r.lookups.Forget(kube.RequestFor(rc))
	record := r.beginRecord(rc)
	if !controllerutil.ContainsFinalizer(rc, v1alpha1.ConnectionFinalizer) || record.released {
		return ctrl.Result{}, nil
	}
	if record.deleted {
		return r.finish(ctx, rc) // all but the finalizer was done before
	}
	to, err := r.Access.Target(ctx, rc)
	if err != nil {
		return ctrl.Result{}, err
	}
	d := &deletion{Reconciler: r, rc: rc, base: rc.DeepCopy(), to: to, waited: max(decision.WaitedForReporter(rc, time.Now()), record.waited(time.Now()))}
	// An earlier pass may have seen it and written nothing.
	rc.Status.ObservedIn, rc.Status.Connection = cmp.Or(record.seenIn, rc.Status.ObservedIn), cmp.Or(record.shown, rc.Status.Connection)
	grounds, err := d.cachedGrounds(ctx)
	if err != nil {
		return ctrl.Result{}, err
	}
	switch verdict := decision.JudgeGrounds(grounds, time.Now()); verdict.Step {
	case decision.StepWait:
		return d.block(ctx, verdict.Block)
	case decision.StepDelete:
		return d.inSlot(ctx, d.deleteInReporter)
	default:
		return d.proceed(ctx, d.confirm(ctx, nil))
	}
}

// cachedGrounds are what the caches show that the deletion rests on. Claims elsewhere are judged once it is known where Reporter is asked.
func (d *deletion) cachedGrounds(ctx context.Context) (decision.Grounds, error) {
	claims, err := d.otherClaims(ctx, d.rc)
	return decision.Grounds{Connection: d.rc, Endpoint: d.to.Endpoint, Obstacle: d.to.Obstacle, Claims: d.judgeClaims(ctx, d.rc, claims, nil), ServerTime: d.ServerTime()}, err
}

// confirmation is what the API server said that a deletion rests on, and what follows.
type confirmation struct {
	connection *v1alpha1.ReporterConnection // nil if it is gone: then there is no step
	verdict    decision.GroundsVerdict
	err        error
}

// confirm asks the API server for all that the deletion rests on: the resource itself and the other claims on the connection, then the
// endpoint that it names now, with its grant and the mark of its Secret. Claims elsewhere count where it is known in which place Reporter
// is asked: here.
func (d *deletion) confirm(ctx context.Context, here *v1alpha1.ObservedIn) confirmation {
	record := d.recordOf(d.rc)
	now, err := d.snapshots.Get(ctx, "", record.since, d.readSnapshot)
	if err != nil {
		return confirmation{err: err}
	}
	rc, err := d.current(ctx, now, d.rc)
	if err != nil || rc == nil {
		return confirmation{err: err, verdict: decision.GroundsVerdict{Step: decision.StepNone}}
	}
	others, err := d.currentClaims(ctx, now, rc)
	if err != nil {
		return confirmation{err: err}
	}
	to, err := d.Access.Confirm(ctx, rc, record.since)
	if err != nil {
		return confirmation{err: err}
	}
	verdict := decision.JudgeGrounds(decision.Grounds{Connection: rc, Endpoint: to.Endpoint, Obstacle: to.Obstacle,
		Claims: d.judgeClaims(ctx, rc, others, here), ServerTime: d.ServerTime(), IsPatient: record.isPatient(time.Now())}, time.Now())
	if verdict.Step == decision.StepDelete && (!d.isTarget(to) || rc.ConnectionID() != d.rc.ConnectionID()) {
		verdict = decision.GroundsVerdict{Step: decision.StepNone} // the cache does not show the change of the endpoint, or of the id, yet
	}
	return confirmation{connection: rc, verdict: verdict}
}

// isTarget says whether another target leads where this pass's does, with the same credentials.
func (d *deletion) isTarget(other access.Target) bool {
	return d.to.Client != nil && d.to.Client.URL() == other.Client.URL() && d.to.Client.Identity() == other.Client.Identity()
}

// proceed does what the confirmed grounds of the deletion say, short of a DELETE.
func (d *deletion) proceed(ctx context.Context, confirmed confirmation) (ctrl.Result, error) {
	switch verdict := confirmed.verdict; {
	case confirmed.err != nil:
		return ctrl.Result{}, confirmed.err
	case verdict.Step == decision.StepWait:
		block := verdict.Block
		if block.Reason != v1alpha1.ReasonClaimUnverified {
			// The caches show nothing in the way, so they are late, or the answer of the API server is: it may be a moment old, and the
			// change that ended the block may have woken this very pass.
			block.RetryIn = min(block.RetryIn, decision.MinDelay)
		}
		return d.block(ctx, block)
	case verdict.Step == decision.StepRetain:
		return d.leaveBehind(ctx, confirmed.connection, d.staying(causeRetained, verdict.RetainedBy+" says"))
	case verdict.Step == decision.StepHandOver:
		return d.handOver(ctx, confirmed.connection, verdict.Successor)
	default: // the caches are late
		return ctrl.Result{RequeueAfter: decision.MinDelay}, nil
	}
}

// handOver releases a resource whose connection another one goes on claiming. If that one is to delete it in its turn, it is held
// first, so that its own deletion cannot be missed.
func (d *deletion) handOver(ctx context.Context, rc, successor *v1alpha1.ReporterConnection) (ctrl.Result, error) {
	if d.mayLeaveTwins() && d.to.Client != nil {
		return d.inSlot(ctx, d.lookForTwinsFirst)
	}
	if decision.IsHeir(successor, rc) {
		if err := d.bequeath(ctx, rc, successor); err != nil {
			return kube.ResultOf(err)
		}
	}
	if successor.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain {
		switch err := d.ensureFinalizer(ctx, successor); {
		case apierrors.IsNotFound(err):
			return ctrl.Result{RequeueAfter: decision.MinDelay}, nil // look again who claims the connection
		case err != nil:
			return kube.ResultOf(d.sayNotHeld(ctx, rc, successor, err))
		}
	}
	return d.leaveBehind(ctx, rc, d.staying(causeHandedOver, nameFor(rc, successor)+" claims it"))
}

// sayNotHeld says in the status that the API server refuses to have a successor held, if it does. Its words may name what is in another
// namespace.
func (d *deletion) sayNotHeld(ctx context.Context, rc, successor *v1alpha1.ReporterConnection, err error) error {
	refusal := kube.RefusalOf(err)
	if refusal == "" {
		return err
	}
	detail := nameFor(rc, successor)
	if successor.Namespace == rc.Namespace {
		detail += " (" + refusal + ")"
	}
	return errors.Join(err, d.say(ctx, rc, decision.BlockFor(v1alpha1.ReasonHandOverFailed, detail, 0)))
}

// leaveIfConfirmed releases a resource without a DELETE, if all that its deletion rests on is still so.
func (d *deletion) leaveIfConfirmed(ctx context.Context, left trail) (ctrl.Result, error) {
	confirmed := d.confirm(ctx, nil)
	if confirmed.err != nil || confirmed.verdict.Step != decision.StepDelete {
		return d.proceed(ctx, confirmed)
	}
	return d.leaveBehind(ctx, confirmed.connection, left)
}

// staying is the trail of a resource whose connection stays in Reporter, as far as is known.
func (d *deletion) staying(cause, why string) trail {
	if d.recordOf(d.rc).sent {
		return trail{cause: cause, eventType: corev1.EventTypeWarning,
			note: fmt.Sprintf("the connection is to stay in Reporter, as %s, but a DELETE was sent before whose answer did not come: it may be deleted", why)}
	}
	return trail{cause: cause, eventType: corev1.EventTypeNormal, note: "the connection stays in Reporter, as " + why}
}

// inSlot waits for a slot for requests to Reporter, and has something done in it, which gives the slot back.
func (d *deletion) inSlot(ctx context.Context, do func(ctx context.Context, release func()) (ctrl.Result, error)) (ctrl.Result, error) {
	ctx, release, queuedFor, held := d.admit(ctx, d.rc, d.to)
	switch {
	case held != nil:
		return d.block(ctx, decision.JudgeBlock(d.outcomeOf(d.to, held), d.waited))
	case release == nil:
		return d.waitInQueue(ctx, queuedFor)
	default:
		return do(ctx, release)
	}
}

// deleteInReporter has the connection deleted in Reporter, and acts on what came of it.
func (d *deletion) deleteInReporter(ctx context.Context, release func()) (ctrl.Result, error) {
	if d.rc.Describes() && (d.rc.ConnectionID() == "" || d.rc.Status.Creation != nil) {
		defer release()
		return d.findToDelete(ctx)
	}
	attempt, err := d.attempt(ctx, release)
	var refused *notPermittedError
	switch {
	case errors.As(err, &refused):
		return d.proceed(ctx, refused.confirmation)
	case err != nil:
		return ctrl.Result{}, err
	}
	switch verdict := decision.JudgeDeletion(attempt, d.waited); verdict.Release {
	case decision.ReleaseDeleted:
		return d.finish(ctx, d.rc)
	case decision.ReleaseNeverSeen:
		return d.leaveBehind(ctx, d.rc, trail{cause: causeAlreadyDeleted, eventType: corev1.EventTypeWarning,
			note: "Reporter has no such connection, and never showed it to this resource: if spec.connectionID is wrong, the right connection is still there"})
	case decision.ReleaseToOther:
		return d.leaveToOther(ctx, attempt.LeftTo)
	case decision.ReleaseAlreadyDeleted:
		return d.leaveBehind(ctx, d.rc, trail{cause: causeAlreadyDeleted, eventType: corev1.EventTypeNormal, note: "the connection was already deleted in Reporter"})
	default:
		return d.block(ctx, verdict.Block)
	}
}

// attempt logs in, looks first where the connection was not seen before, and has it deleted. A token that was refused is replaced once.
// Then the slot is free for others: what follows is the API server's to answer. The error is that of the API server, or a
// *notPermittedError.
func (d *deletion) attempt(ctx context.Context, release func()) (decision.Attempt, error) {
	defer release()
	attempt, tokenRefused, err := d.attemptOnce(ctx)
	if tokenRefused {
		attempt, _, err = d.attemptOnce(ctx)
	}
	return attempt, err
}

func (d *deletion) attemptOnce(ctx context.Context) (attempt decision.Attempt, tokenRefused bool, err error) {
	seenIn := d.rc.Status.ObservedIn
	place, outcome := d.logIn(ctx, d.to)
	if !outcome.IsDone() {
		return decision.Attempt{Deletion: outcome}, false, nil
	}
	if outcome, err = d.lookForTwins(ctx, place); err != nil || !outcome.IsDone() {
		return decision.Attempt{Deletion: outcome}, false, err
	}
	if seenIn == nil || *seenIn != place || d.rc.Describes() {
		// Should the answer to DELETE be lost, nothing else says what it has deleted from what never was here. And jobs name
		// connections by the configName that this shows.
		var left leftTo
		switch outcome, left, err = d.lookBefore(ctx, place); {
		case err != nil:
			return decision.Attempt{}, false, err
		case left.is:
			return decision.Attempt{Deletion: outcome, IsLeft: true, LeftTo: left.sibling}, false, nil
		case outcome.IsDone():
			d.noteMove(seenIn, place)
			seenIn = &place
		case outcome.Unanswered: // it was not looked up, perhaps as nothing was sent
			return decision.Attempt{Deletion: outcome}, false, nil
		case seenIn != nil && *seenIn != place: // it may live where it was seen, and what is here is not what was seen
			return decision.Attempt{Deletion: outcome, SecondLook: outcome, Seen: true}, false, nil
		}
	}
	attempt = decision.Attempt{Seen: seenIn != nil, SeenHere: seenIn != nil, SentBefore: d.recordOf(d.rc).sent, ConfigName: d.rc.ConfigName()}
	deleted := d.to.Client.Delete(ctx, d.rc.ConnectionID(), func(ctx context.Context, tenant reporter.Tenant) error { return d.permit(ctx, place, tenant) })
	var answer *reporter.Error
	if deleted != nil && !errors.As(deleted, &answer) {
		return attempt, false, deleted
	}
	attempt.Deletion = d.outcomeOf(d.to, deleted)
	switch {
	case attempt.Deletion.IsDone():
		d.records.update(d.rc, func(r *record) { r.deleted = true })
	case reporter.MayHaveActed(deleted):
		d.records.update(d.rc, func(r *record) { r.sent = true })
	case attempt.Deletion.IsAbsent():
		d.lookAgain(ctx, place, &attempt)
	}
	return attempt, reporter.IsTokenRefused(deleted), nil
}

// permit is asked right before a DELETE is sent to a place, with the tenant of its token. Its error is that of the API server, or a
// *notPermittedError.
func (d *deletion) permit(ctx context.Context, place v1alpha1.ObservedIn, tenant reporter.Tenant) error {
	if d.to.Place(tenant) != place { // the token was renewed after all else was judged, for another tenant
		return &notPermittedError{confirmation{verdict: decision.GroundsVerdict{Step: decision.StepNone}}}
	}
	confirmed := d.confirm(ctx, &place)
	switch {
	case confirmed.err != nil:
		return confirmed.err
	case confirmed.verdict.Step != decision.StepDelete:
		return &notPermittedError{confirmed}
	}
	return nil
}

// notPermittedError is the error of a DELETE that was not sent, as what the deletion rests on is no longer so.
type notPermittedError struct{ confirmation }

func (*notPermittedError) Error() string { return "what the deletion rests on has changed" }

// lookAgain asks whether the connection really is not there: Reporter answers the DELETE of what it does not delete in the same way,
// and the token may have been renewed meanwhile, for another tenant.
func (d *deletion) lookAgain(ctx context.Context, place v1alpha1.ObservedIn, attempt *decision.Attempt) {
	_, err := d.to.Client.Get(ctx, d.rc.ConnectionID())
	attempt.SecondLook = access.OutcomeOf(err)
	now, outcome := d.logIn(ctx, d.to)
	if !outcome.IsDone() {
		attempt.SecondLook = outcome
	}
	attempt.SeenHere = attempt.SeenHere && now == place
}

// noteMove notes that the connection is shown in another place than it was seen in before, if it was.
func (d *deletion) noteMove(before *v1alpha1.ObservedIn, place v1alpha1.ObservedIn) {
	d.records.update(d.rc, func(r *record) { r.seenIn, r.shown = &place, d.rc.Status.Connection }) // until the cache shows it
	if before == nil || before.MayBe(place) {
		return
	}
	d.Events.Eventf(d.rc, nil, corev1.EventTypeNormal, eventMoved, "Delete", "connection %s was seen at %s before, and is shown at %s now: it is deleted there",
		d.rc.ConnectionID(), describe(*before), describe(place))
}

// queuePatience is how long a deletion waits in the queue before its Reporter until its status says so.
const queuePatience = time.Minute

// waitInQueue leaves a deletion in the queue before its Reporter, until it is dispatched. If it has waited there for long, its status says
// so, unless that says already what it waits for in Reporter.
func (d *deletion) waitInQueue(ctx context.Context, waited time.Duration) (ctrl.Result, error) {
	blocked := apimeta.FindStatusCondition(d.rc.Status.Conditions, v1alpha1.ConditionDeletionBlocked)
	if waited < queuePatience || (blocked != nil && !decision.TraitsOf(blocked.Reason).NotReportersDoing) {
		return ctrl.Result{RequeueAfter: d.jitter(queuePatience)}, nil
	}
	block := decision.BlockFor(v1alpha1.ReasonQueued, fmt.Sprintf("spec.maxInFlight of ReporterEndpoint %q (%d)", d.to.Endpoint.Name, d.to.Endpoint.Spec.MaxInFlight), decision.MaxDelay)
	setBlocked(d.rc, block)
	return d.patchStatus(ctx, d.base, d.rc, d.jitter(block.RetryIn))
}

// block says in the status what the deletion waits for. It is dispatched when it can go on, if that is a matter of when Reporter can be
// asked again.
func (d *deletion) block(ctx context.Context, block decision.Block) (ctrl.Result, error) {
	retryIn := block.RetryIn
	byReporter := !decision.TraitsOf(block.Reason).NotReportersDoing
	d.records.update(d.rc, func(r *record) { r.blocked(byReporter, time.Now()) })
	if byReporter {
		var waiting bool
		if retryIn, waiting = d.waitForReporter(d.rc, d.to, block); !waiting {
			return ctrl.Result{RequeueAfter: decision.MinDelay}, nil
		}
	}
	if block.Reason == v1alpha1.ReasonClaimUnverified {
		d.records.update(d.rc, func(r *record) { r.unverified(time.Now()) })
	}
	setBlocked(d.rc, block)
	log.FromContext(ctx).V(1).Info("Deletion waits", "connectionID", d.rc.ConnectionID(), "reason", block.Reason, "retryIn", retryIn.String())
	if block.Reason == v1alpha1.ReasonDeletionDelayed {
		return d.patchStatus(ctx, d.base, d.rc, retryIn) // not before it is due
	}
	return d.patchStatus(ctx, d.base, d.rc, d.jitter(retryIn))
}
