// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/access"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// Reasons of the events of what is done to a connection that is described.
const (
	eventCreated   = "Created"
	eventRecreated = "Recreated"
	eventAdopted   = "Adopted"
	eventTakenBack = "TakenBack"
	eventCorrected = "Corrected"
	eventChanged   = "Changed"
	eventLost      = "LeftBehind"
)

// keeper is one pass over a live resource that describes its connection.
type keeper struct {
	*Reconciler
	// rc is the resource with what this pass adds to its status; base, without.
	rc, base *v1alpha1.ReporterConnection
	to       access.Target
	place    v1alpha1.ObservedIn
	mark     decision.Mark
	look     decision.Look
	// began is when the pass began to look.
	began time.Time
	// anew says that the connection is created in place of one that is gone.
	anew bool
	// tokenRefused says that a creation or a change was answered with 401.
	tokenRefused bool
}

// keep creates the connection that a live resource describes, and keeps it as described; after a change, it has Reporter test whether that
// reaches the database. It returns false where it has to wait for a slot. The error is that of the API server.
func (r *Reconciler) keep(ctx context.Context, rc, base *v1alpha1.ReporterConnection, to access.Target, look decision.Look) (decision.LiveVerdict, bool, error) {
	k := &keeper{Reconciler: r, rc: rc, base: base, to: to, look: look, began: time.Now()}
	handle(rc) // what is not asked for any more may be asked for again
	k.recallTest()
	if err := k.unsettle(ctx); err != nil {
		return decision.LiveVerdict{}, true, err
	}
	if to.Client == nil {
		return k.judge(to.Obstacle), true, nil
	}
	if r.tests.IsGranted(kube.RequestFor(rc)) && k.look.Settled && rc.Status.ObservedIn != nil {
		k.place = *rc.Status.ObservedIn
		if verdict := k.kept(); k.isTestDue(verdict) { // it was looked at when it began to wait for that
			verdict, err := k.test(ctx, verdict)
			return verdict, true, err
		}
	}
	ctx, release, _, held := r.admit(ctx, rc, to)
	if held != nil {
		return k.judge(r.outcomeOf(to, held)), true, nil
	}
	if release == nil {
		return decision.LiveVerdict{}, false, nil
	}
	verdict, err := k.keepInSlot(ctx, release)
	if err == nil && k.isTestDue(verdict) {
		verdict, err = k.test(ctx, verdict)
	}
	return verdict, true, err
}

// keepInSlot does what there is to do for the connection, and gives the slot back.
func (k *keeper) keepInSlot(ctx context.Context, release func()) (decision.LiveVerdict, error) {
	defer release()
	verdict, err := k.settle(ctx)
	if k.tokenRefused { // with a new one it may fare better
		k.tokenRefused = false
		verdict, err = k.settle(ctx)
	}
	var refused *notPermittedError
	if errors.As(err, &refused) || apierrors.IsConflict(err) { // what the pass rests on has changed: look again, and say nothing more
		*k.rc = *k.base.DeepCopy()
		return decision.LiveVerdict{Block: decision.Block{RetryIn: decision.MinDelay}}, nil
	}
	return verdict, err
}

// unsettle has Ready not stand any longer while Reporter cannot be asked, if Reporter does not have what is in the Secrets now.
func (k *keeper) unsettle(ctx context.Context) error {
	if !k.look.Settled {
		return nil
	}
	credentials, verdict, err := k.credentials(ctx)
	described, sent := k.rc.Spec.Connection, k.rc.Status.Sent
	k.look.Settled = verdict == nil && (sentIn(sent, described, credentials) == sent || k.hasSent(credentials))
	return err
}

// markFor is the mark of a resource.
func (r *Reconciler) markFor(ctx context.Context, rc *v1alpha1.ReporterConnection) (decision.Mark, error) {
	namespace, err := r.Access.Namespace(ctx, rc.Namespace)
	if err != nil {
		return decision.Mark{}, err
	}
	return decision.Mark{Namespace: namespace.UID, Name: rc.Name, Since: namespace.CreationTimestamp.Time}, nil
}

// judge is the verdict on an outcome that says nothing of whether the connection is as described.
func (k *keeper) judge(outcome decision.Outcome) decision.LiveVerdict {
	k.look.Outcome = outcome
	return decision.JudgeLive(k.look)
}

func isNot(block decision.Block) decision.LiveVerdict {
	status := metav1.ConditionFalse
	if decision.TraitsOf(block.Reason).Inconclusive {
		status = metav1.ConditionUnknown
	}
	return decision.LiveVerdict{Status: status, Block: block}
}

// settle finds out what came of a request to create the connection, if that is not known; then it keeps the connection that there is, or has it
// created.
func (k *keeper) settle(ctx context.Context) (decision.LiveVerdict, error) {
	var outcome decision.Outcome
	if k.place, outcome = k.logIn(ctx, k.to); !outcome.IsDone() {
		return k.judge(outcome), nil
	}
	var err error
	if k.mark, err = k.markFor(ctx, k.rc); err != nil {
		return decision.LiveVerdict{}, err
	}
	if err := k.abandon(ctx); err != nil {
		return decision.LiveVerdict{}, err
	}
	if k.rc.Status.Creation != nil {
		verdict, err := k.search(ctx)
		if err != nil || verdict.Step != decision.CreationDone {
			return isNot(verdict.Block), err
		}
	}
	if k.rc.ConnectionID() == "" {
		return k.create(ctx)
	}
	k.lookForTwins(ctx)
	shown, err := k.to.Client.Get(ctx, k.rc.ConnectionID())
	return k.hold(ctx, shown, k.outcomeOf(k.to, err))
}

// abandon gives up what the resource has in another place than the one that its endpoint leads to now, if somebody asks for that. It announces
// that once it is written.
func (k *keeper) abandon(ctx context.Context) error {
	url, status := k.rc.Annotations[v1alpha1.AbandonAnnotation], &k.rc.Status
	if url == "" || !isAskedFor(k.rc, v1alpha1.AbandonAnnotation) {
		return nil
	}
	var what string
	switch {
	case status.Creation != nil && status.Creation.URL == url && status.Creation.ObservedIn != k.place:
		what, status.Creation = "what may have come of the request to create the connection", nil
	case k.rc.Spec.ConnectionID == "" && status.ObservedIn != nil && status.ObservedIn.URL == url && *status.ObservedIn != k.place:
		what = "connection " + status.ConnectionID
		status.ConnectionID, status.ObservedIn, status.Connection, status.Sent, status.TakenOverBy = "", nil, nil, "", ""
	default:
		return nil
	}
	handle(k.rc, v1alpha1.AbandonAnnotation)
	if err := k.patch(ctx); err != nil {
		return err
	}
	connectionsLeftBehind.WithLabelValues(eventLost).Inc()
	k.Events.Eventf(k.rc, nil, corev1.EventTypeWarning, eventLost, "Keep", "%s at %s is given up, as somebody asked for it: if it is there, delete it there", what, url)
	return nil
}

// hold does what may be done with the connection whose id the resource has.
func (k *keeper) hold(ctx context.Context, shown *reporter.Connection, outcome decision.Outcome) (decision.LiveVerdict, error) {
	h, err := k.holdingOf(ctx, k.rc, k.mark, k.place, shown, outcome)
	if err != nil {
		return decision.LiveVerdict{}, err
	}
	if outcome.IsDone() {
		k.noteMove(k.rc.Status.ObservedIn)
		observe(k.rc, shown, k.place)
	}
	if !outcome.IsDone() && !outcome.IsAbsent() {
		return k.judge(outcome), nil
	}
	verdict := decision.JudgeHolding(h)
	switch verdict.Step {
	case decision.HoldingKept:
		return k.change(ctx, shown, h, false)
	case decision.HoldingTakenOver:
		return k.change(ctx, shown, h, true)
	case decision.HoldingCreatedAnew:
		k.anew = true
		return k.create(ctx)
	default:
		if verdict.Reason == v1alpha1.ReasonTakenOver && outcome.IsDone() && h.Owner == decision.OwnedByAnother {
			k.rc.Status.TakenOverBy = bounded(*markOf(shown))
		}
		return isNot(verdict.Block), nil
	}
}

// holdingOf gathers what the decision about a connection looks at.
func (r *Reconciler) holdingOf(ctx context.Context, rc *v1alpha1.ReporterConnection, mark decision.Mark, place v1alpha1.ObservedIn,
	shown *reporter.Connection, outcome decision.Outcome) (decision.Holding, error) {
	seen := rc.Status.ObservedIn
	h := decision.Holding{Outcome: outcome, Named: rc.Spec.ConnectionID != "", Taken: rc.IsTaken(), TakenOver: rc.Status.TakenOverBy != "",
		TakeBack: isAskedFor(rc, v1alpha1.TakeBackAnnotation), Seen: seen != nil, SeenHere: seen != nil && *seen == place, IsYoung: r.isYoung(rc)}
	if !outcome.IsDone() {
		return h, nil
	}
	owner, sibling, err := r.ownerOf(ctx, rc, mark, shown)
	h.Owner, h.Unfit = owner, unfit(rc.Spec.Connection, shown)
	if err != nil {
		return h, err
	}
	if sibling != nil {
		h.Sibling, h.SiblingLost = sibling.Name, sibling.ConnectionID() != shown.ID && sibling.Status.Creation == nil
		return h, nil
	}
	h.Sibling, err = r.siblingWith(ctx, rc, shown.ID)
	return h, err
}

// isYoung says whether the connection was created so recently that a Reporter may not show it yet: as far as this process knows, or by Reporter's
// clock, which may be ahead.
func (r *Reconciler) isYoung(rc *v1alpha1.ReporterConnection) bool {
	known, now := r.memories.get(rc), time.Now()
	if known.isYoung(now) {
		return true
	}
	shown := rc.Status.Connection
	return shown != nil && shown.CreatedAt != nil && now.Sub(shown.CreatedAt.Time).Abs() < decision.LateBy
}

// ownerOf says whose a connection is by its mark, and returns the resource of the same namespace whose it is, if it is another.
func (r *Reconciler) ownerOf(ctx context.Context, rc *v1alpha1.ReporterConnection, mark decision.Mark, shown *reporter.Connection) (decision.Owner, *v1alpha1.ReporterConnection, error) {
	text := markOf(shown)
	var known *v1alpha1.ReporterConnection
	if text != nil {
		if of := decision.ParseMark(*text); of.Namespace == mark.Namespace && of.Name != mark.Name {
			var sibling v1alpha1.ReporterConnection
			err := r.Live.Get(ctx, client.ObjectKey{Namespace: rc.Namespace, Name: of.Name}, &sibling)
			if client.IgnoreNotFound(err) != nil {
				return decision.OwnedByAnother, nil, fmt.Errorf("reading whose a connection is: %w", err)
			}
			if err == nil {
				known = &sibling
			}
		}
	}
	return decision.JudgeMark(text, mark, known != nil), known, nil
}

// siblingWith names the resource of the same namespace that has a connection: it has written to it, and is the eldest of those that have. It
// is empty if there is none, or it is the resource itself.
func (r *Reconciler) siblingWith(ctx context.Context, rc *v1alpha1.ReporterConnection, id string) (string, error) {
	var all v1alpha1.ReporterConnectionList
	if err := r.List(ctx, &all, client.InNamespace(rc.Namespace), client.MatchingFields{kube.ByConnectionID: id}); err != nil {
		return "", fmt.Errorf("listing the claims on a connection: %w", err)
	}
	var eldest *v1alpha1.ReporterConnection
	for i := range all.Items {
		other := &all.Items[i]
		if other.Describes() && other.IsTaken() && (eldest == nil || isOlder(other, eldest)) {
			eldest = other
		}
	}
	if eldest == nil || eldest.UID == rc.UID {
		return "", nil
	}
	return eldest.Name, nil
}

// noteMove announces that the connection is shown in another place than it was seen in before, if it was.
func (k *keeper) noteMove(before *v1alpha1.ObservedIn) {
	if before == nil || before.MayBe(k.place) {
		return
	}
	k.Events.Eventf(k.rc, nil, corev1.EventTypeNormal, eventMoved, "Keep", "connection %s was seen at %s before, and is shown at %s now",
		k.rc.ConnectionID(), describe(*before), describe(k.place))
}

// change has what differs from the description changed, or takes the connection over by a change of all that it has to have.
func (k *keeper) change(ctx context.Context, shown *reporter.Connection, h decision.Holding, takeOver bool) (decision.LiveVerdict, error) {
	described := k.rc.Spec.Connection
	credentials, verdict, err := k.credentials(ctx)
	if err != nil || verdict != nil {
		return orZero(verdict), err
	}
	differs := differenceOf(described, credentials, shown.Settings)
	if !takeOver && k.hasSent(credentials) {
		k.rc.Status.Sent = sentIn(k.rc.Status.Sent, described, credentials) // other Secrets with the same contents are only noted
	}
	isStale := k.rc.Status.Sent != sentFor(described, credentials, shown.UpdatedAt)
	sendsAll := takeOver || isStale || isAskedFor(k.rc, v1alpha1.RequestedAtAnnotation)
	isMarked := h.Owner == decision.OwnedBySelf
	if isMarked {
		k.rc.Status.TakenOverBy = ""
	}
	if !sendsAll && len(differs.fields) == 0 && isMarked {
		k.foundUnchanged()
		return k.kept(), nil
	}
	if block, forbidden := decision.JudgeManagement(k.rc, k.to.Endpoint); forbidden {
		if !takeOver && !isStale && len(differs.fields) == 0 {
			return k.kept(), nil
		}
		return isNot(block), nil
	}
	known := k.memories.get(k.rc)
	if known.refused.key == refusalKey(k.rc, credentials) {
		return isNot(known.refused.block), nil
	}
	if wait := known.changeAgain.Sub(k.began); wait > 0 && !isAskedFor(k.rc, v1alpha1.RequestedAtAnnotation) {
		return decision.LiveVerdict{Block: decision.Block{RetryIn: max(wait, decision.MinDelay)}}, nil
	}
	change := differs.settings(described, credentials, sendsAll)
	if !isMarked {
		change.Metadata = markedMetadata(shown.Settings.Metadata, k.mark)
	}
	updated, err := k.to.Client.Update(ctx, shown.ID, change, k.permitChange)
	var answer *reporter.Error
	if err != nil && !errors.As(err, &answer) {
		return decision.LiveVerdict{}, err
	}
	if err != nil {
		return k.notChanged(shown, credentials, err), nil
	}
	k.announceChange(ctx, h, updated.ID, differs.fields, takeOver, sendsAll)
	return k.changed(updated, credentials), nil
}

// changed is the verdict on a connection after Reporter has accepted a change.
func (k *keeper) changed(updated *reporter.Connection, credentials access.DatabaseCredentials) decision.LiveVerdict {
	described := k.rc.Spec.Connection
	k.rc.Status.ConnectionID, k.rc.Status.Sent, k.rc.Status.TakenOverBy = updated.ID, sentFor(described, credentials, updated.UpdatedAt), ""
	observe(k.rc, updated, k.place)
	handle(k.rc, v1alpha1.RequestedAtAnnotation, v1alpha1.TakeBackAnnotation)
	k.noteSent(credentials)
	if left := differenceOf(described, credentials, updated.Settings); len(left.fields) > 0 {
		return isNot(decision.BlockFor(v1alpha1.ReasonNotApplied, named(left.fields), 0))
	}
	return k.kept()
}

// kept is the verdict on a connection that needs no change. It is looked at again soon where a change may still be carried out that had no
// answer, or another look is due.
func (k *keeper) kept() decision.LiveVerdict {
	verdict := decision.LiveVerdict{Status: metav1.ConditionTrue, Block: decision.BlockFor(v1alpha1.ReasonAvailable, "", 0)}
	if known := k.memories.get(k.rc); !known.unanswered.IsZero() {
		verdict.RetryIn = lateChangeDelay
	}
	if owesLook(k.rc, k.place) {
		verdict.RetryIn = sooner(verdict.RetryIn, max(time.Until(k.rc.Status.LooksOwed.StartedAt.Time), decision.MinDelay))
	}
	return verdict
}

// foundUnchanged notes that a look has found nothing to do: if it began late enough, a change that had no answer is not carried out any more.
func (k *keeper) foundUnchanged() {
	if known := k.memories.get(k.rc); k.began.After(known.unanswered.Add(decision.LateBy)) {
		k.memories.update(k.rc, func(known *memory) { known.unanswered, known.unansweredSince = time.Time{}, time.Time{} })
	}
}

// lateChangeDelay is how soon it is looked again after a change that had no answer.
const lateChangeDelay = 15 * time.Second

// sooner is the earlier of two delays of which 0 means none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// hasSent says whether this process knows that Reporter was last sent just these credentials, be they in other versions of their Secrets.
func (k *keeper) hasSent(credentials access.DatabaseCredentials) bool {
	return k.memories.get(k.rc).sent == contentsOf(k.rc.Spec.Connection, credentials)
}

// noteSent notes what Reporter was sent, and that it accepts the description.
func (k *keeper) noteSent(credentials access.DatabaseCredentials) {
	k.memories.update(k.rc, func(known *memory) {
		known.sent, known.refused, known.changeAgain = contentsOf(k.rc.Spec.Connection, credentials), refusal{}, time.Time{}
	})
	apimeta.RemoveStatusCondition(&k.rc.Status.Conditions, v1alpha1.ConditionDatabaseReachable) // it says nothing of what there is now
}

func (k *keeper) noteRefusal(credentials access.DatabaseCredentials, why decision.Block) {
	k.memories.update(k.rc, func(known *memory) { known.refused = refusal{refusalKey(k.rc, credentials), why} })
	handle(k.rc, v1alpha1.RequestedAtAnnotation)
}

// notChanged is the verdict on a change that Reporter has refused, or not answered.
func (k *keeper) notChanged(shown *reporter.Connection, credentials access.DatabaseCredentials, err error) decision.LiveVerdict {
	outcome := k.outcomeOf(k.to, err)
	k.tokenRefused = reporter.IsTokenRefused(err)
	switch outcome.Reason {
	case v1alpha1.ReasonJobInProgress:
		outcome.Detail = fmt.Sprintf("connection %q", shown.ConfigName)
		return decision.LiveVerdict{Status: metav1.ConditionFalse, Block: decision.JudgeBlock(outcome, k.look.Waited)}
	case v1alpha1.ReasonNameTaken:
		outcome.Detail = fmt.Sprintf("%q already, so this one cannot be given that name", k.rc.Spec.Connection.ConfigName)
	case v1alpha1.ReasonInvalidConnection:
		k.noteRefusal(credentials, decision.JudgeBlock(outcome, k.look.Waited))
	}
	if reporter.MayHaveActed(err) {
		k.memories.update(k.rc, func(known *memory) { known.noteUnanswered(time.Now()) })
	}
	if decision.TraitsOf(outcome.Reason).Shared {
		return k.judge(outcome)
	}
	return isNot(decision.JudgeBlock(outcome, k.look.Waited))
}

// announceChange tells what was changed, by fields and never by values.
func (k *keeper) announceChange(ctx context.Context, h decision.Holding, id string, fields []string, takeOver, sendsAll bool) {
	reason, note := eventChanged, "connection %s is changed as described: %s"
	connectionsChanged.Inc()
	switch {
	case takeOver && h.TakeBack:
		reason, note = eventTakenBack, "connection %s is taken back: %s"
	case takeOver && !h.Taken && h.Owner != decision.OwnedBySelf:
		reason, note = eventAdopted, "connection %s is taken over, and kept as described: %s"
	case k.look.Settled && len(fields) > 0:
		reason, note = eventCorrected, "connection %s was not as described any more: %s"
	}
	if sendsAll {
		fields = append(slices.Clone(fields), "credentials")
	}
	if len(fields) == 0 {
		fields = []string{"its mark"}
	}
	k.Events.Eventf(k.rc, nil, corev1.EventTypeNormal, reason, "Keep", note, id, named(fields))
	log.FromContext(ctx).Info("Changed connection in Reporter", "connectionID", id, "reason", reason, "fields", fields)
}

// credentials reads what the description takes from Secrets. The verdict is there where a user has to mend something first.
func (k *keeper) credentials(ctx context.Context) (access.DatabaseCredentials, *decision.LiveVerdict, error) {
	credentials, err := k.Access.DatabaseCredentials(ctx, k.rc)
	var obstacle *access.ObstacleError
	if errors.As(err, &obstacle) {
		return credentials, new(isNot(decision.JudgeBlock(obstacle.Outcome, k.look.Waited))), nil
	}
	return credentials, nil, err
}

func orZero[T any](pointer *T) T {
	if pointer == nil {
		return *new(T)
	}
	return *pointer
}

// permitChange is asked right before the connection is changed, with the tenant of the token.
func (k *keeper) permitChange(ctx context.Context, tenant reporter.Tenant) error {
	live, err := k.readLive(ctx, client.ObjectKeyFromObject(k.rc), k.rc.UID)
	if err != nil {
		return err
	}
	if live == nil || !live.DeletionTimestamp.IsZero() || live.ResourceVersion != k.base.ResourceVersion {
		return &notPermittedError{}
	}
	return k.permit(ctx, tenant)
}

// permit confirms what a creation or a change rests on, beside the resource itself: its endpoint, that it allows the namespace and is to be
// used for more than deletions, and the labels of the Secrets.
func (k *keeper) permit(ctx context.Context, tenant reporter.Tenant) error {
	if k.to.Place(tenant) != k.place {
		return &notPermittedError{}
	}
	now := time.Now()
	to, err := k.Access.Confirm(ctx, k.rc, now)
	if err != nil {
		return err
	}
	if to.Client == nil || to.Client.URL() != k.to.Client.URL() || to.Client.Identity() != k.to.Client.Identity() {
		return &notPermittedError{}
	}
	if _, forbidden := decision.JudgeManagement(k.rc, to.Endpoint); forbidden {
		return &notPermittedError{}
	}
	var obstacle *access.ObstacleError
	if err := k.Access.ConfirmDatabaseSecrets(ctx, k.rc, now); errors.As(err, &obstacle) {
		return &notPermittedError{}
	} else if err != nil {
		return err
	}
	return nil
}

// setStalled says whether only a person can end what keeps a resource from being Ready.
func setStalled(rc *v1alpha1.ReporterConnection) {
	ready := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Status == metav1.ConditionTrue || !decision.TraitsOf(ready.Reason).Stalled {
		apimeta.RemoveStatusCondition(&rc.Status.Conditions, v1alpha1.ConditionStalled)
		return
	}
	setCondition(rc, v1alpha1.ConditionStalled, metav1.ConditionTrue, decision.Block{Reason: ready.Reason, Message: ready.Message})
}

// write writes what there is to say of the connection so far.
func (k *keeper) write(ctx context.Context, verdict decision.LiveVerdict) error {
	setCondition(k.rc, v1alpha1.ConditionReady, verdict.Status, verdict.Block)
	setStalled(k.rc)
	k.rc.Status.ObservedGeneration = k.rc.Generation
	return k.patch(ctx)
}

// patch writes the status, if it says anything new.
func (k *keeper) patch(ctx context.Context) error {
	if equality.Semantic.DeepEqual(k.base.Status, k.rc.Status) {
		return nil
	}
	if err := k.Status().Patch(ctx, k.rc, client.MergeFromWithOptions(k.base, client.MergeFromWithOptimisticLock{})); err != nil {
		return err
	}
	*k.base = *k.rc.DeepCopy()
	return nil
}
