// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
	// anew says that the connection is created in place of one that is gone.
	anew bool
	// tokenRefused says that a creation or a change was answered with 401.
	tokenRefused bool
}

// keep creates the connection that a live resource describes, and keeps it as described. It returns false where it has to wait for a slot.
// The error is that of the API server.
func (r *Reconciler) keep(ctx context.Context, rc, base *v1alpha1.ReporterConnection, to access.Target, look decision.Look) (decision.LiveVerdict, bool, error) {
	k := &keeper{Reconciler: r, rc: rc, base: base, to: to, look: look}
	if to.Client == nil {
		return k.judge(to.Obstacle), true, nil
	}
	ctx, release, _, held := r.admit(ctx, rc, to)
	if held != nil {
		return k.judge(r.outcomeOf(to, held)), true, nil
	}
	if release == nil {
		return decision.LiveVerdict{}, false, nil
	}
	defer release()
	var outcome decision.Outcome
	if k.place, outcome = r.logIn(ctx, to); !outcome.IsDone() {
		return k.judge(outcome), true, nil
	}
	var err error
	if k.mark, err = r.markFor(ctx, rc); err != nil {
		return decision.LiveVerdict{}, true, err
	}
	verdict, err := k.settle(ctx)
	if k.tokenRefused { // with a new one it may fare better
		k.tokenRefused = false
		if k.place, outcome = r.logIn(ctx, to); !outcome.IsDone() {
			return k.judge(outcome), true, nil
		}
		verdict, err = k.settle(ctx)
	}
	var refused *notPermittedError
	if errors.As(err, &refused) || apierrors.IsConflict(err) { // what the pass rests on has changed: look again
		return decision.LiveVerdict{Block: decision.Block{RetryIn: decision.MinDelay}}, true, nil
	}
	return verdict, true, err
}

// markFor is the mark of a resource.
func (r *Reconciler) markFor(ctx context.Context, rc *v1alpha1.ReporterConnection) (decision.Mark, error) {
	uid, err := r.Access.NamespaceUID(ctx, rc.Namespace)
	return decision.Mark{Namespace: uid, Name: rc.Name}, err
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

func isKept() decision.LiveVerdict {
	return decision.LiveVerdict{Status: metav1.ConditionTrue, Block: decision.BlockFor(v1alpha1.ReasonAvailable, "", 0)}
}

// settle finds out what came of a request to create the connection, if that is not known; then it keeps the connection that there is, or has it
// created.
func (k *keeper) settle(ctx context.Context) (decision.LiveVerdict, error) {
	k.abandon()
	if k.rc.Status.Creation != nil {
		verdict, err := k.search(ctx)
		if err != nil || verdict.Step != decision.CreationDone {
			return isNot(verdict.Block), err
		}
	}
	if k.rc.ConnectionID() == "" {
		return k.create(ctx)
	}
	k.lookOwed(ctx)
	shown, err := k.to.Client.Get(ctx, k.rc.ConnectionID())
	return k.hold(ctx, shown, k.outcomeOf(k.to, err))
}

// abandon gives up what the resource has in another place than the one that its endpoint leads to now, if somebody asks for that.
func (k *keeper) abandon() {
	url, status := k.rc.Annotations[v1alpha1.AbandonAnnotation], &k.rc.Status
	if url == "" || !isAskedFor(k.rc, v1alpha1.AbandonAnnotation) {
		return
	}
	var what string
	switch {
	case status.Creation != nil && status.Creation.URL == url && status.Creation.ObservedIn != k.place:
		what, status.Creation = "what may have come of the request to create the connection", nil
	case k.rc.Spec.ConnectionID == "" && status.ObservedIn != nil && status.ObservedIn.URL == url && *status.ObservedIn != k.place:
		what = "connection " + status.ConnectionID
		status.ConnectionID, status.ObservedIn, status.Connection, status.Sent, status.TakenOverBy = "", nil, nil, "", ""
	default:
		return
	}
	handle(k.rc)
	connectionsLeftBehind.WithLabelValues(eventLost).Inc()
	k.Events.Eventf(k.rc, nil, corev1.EventTypeWarning, eventLost, "Keep", "%s at %s is given up, as somebody asked for it: if it is there, delete it there", what, url)
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
		TakeBack: isAskedFor(rc, v1alpha1.TakeBackAnnotation), Seen: seen != nil, SeenHere: seen != nil && *seen == place, IsYoung: r.creations.isYoung(rc.UID, time.Now())}
	if !outcome.IsDone() {
		return h, nil
	}
	var err error
	if h.Owner, h.Sibling, err = r.ownerOf(ctx, rc, mark, shown); err != nil || h.Sibling != "" {
		return h, err
	}
	h.Sibling, err = r.siblingWith(ctx, rc, shown.ID)
	h.Unfit = unfit(rc.Spec.Connection, shown)
	return h, err
}

// ownerOf says whose a connection is by its mark, and names the resource of the same namespace whose it is, if it is another.
func (r *Reconciler) ownerOf(ctx context.Context, rc *v1alpha1.ReporterConnection, mark decision.Mark, shown *reporter.Connection) (decision.Owner, string, error) {
	text := markOf(shown)
	isKnown := false
	if text != nil {
		if of := decision.ParseMark(*text); of.Namespace == mark.Namespace && of.Name != mark.Name {
			err := r.Live.Get(ctx, client.ObjectKey{Namespace: rc.Namespace, Name: of.Name}, &v1alpha1.ReporterConnection{})
			if client.IgnoreNotFound(err) != nil {
				return decision.OwnedByAnother, "", fmt.Errorf("reading whose a connection is: %w", err)
			}
			isKnown = err == nil
		}
	}
	owner := decision.JudgeMark(text, mark, isKnown)
	if owner == decision.OwnedBySibling {
		return owner, decision.ParseMark(*text).Name, nil
	}
	return owner, "", nil
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
	isStale := k.rc.Status.Sent != sentFor(described, credentials, shown.UpdatedAt)
	sendsAll := takeOver || isStale || isAskedFor(k.rc, v1alpha1.RequestedAtAnnotation)
	isMarked := h.Owner == decision.OwnedBySelf
	if isMarked {
		k.rc.Status.TakenOverBy = ""
	}
	if !sendsAll && len(differs.fields) == 0 && isMarked {
		return isKept(), nil
	}
	if block, forbidden := decision.JudgeManagement(k.rc, k.to.Endpoint); forbidden {
		if !takeOver && !isStale && len(differs.fields) == 0 {
			return isKept(), nil
		}
		return isNot(block), nil
	}
	if block := k.refusals.find(k.rc, credentials); block != nil {
		return isNot(*block), nil
	}
	change := differs.change
	if sendsAll || differs.needsPassword {
		change.Password = &credentials.Password
	}
	if sendsAll {
		change.SSL = sslFor(described, credentials)
	}
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
	k.announceChange(h, differs, takeOver)
	k.rc.Status.ConnectionID, k.rc.Status.Sent, k.rc.Status.TakenOverBy = updated.ID, sentFor(described, credentials, updated.UpdatedAt), ""
	observe(k.rc, updated, k.place)
	handle(k.rc)
	k.refusals.forget(k.rc)
	if left := differenceOf(described, credentials, updated.Settings); len(left.fields) > 0 {
		return isNot(decision.BlockFor(v1alpha1.ReasonNotApplied, named(left.fields), 0)), nil
	}
	return isKept(), nil
}

// notChanged is the verdict on a change that Reporter has refused, or not answered.
func (k *keeper) notChanged(shown *reporter.Connection, credentials access.DatabaseCredentials, err error) decision.LiveVerdict {
	outcome := k.outcomeOf(k.to, err)
	k.tokenRefused = reporter.IsTokenRefused(err)
	switch outcome.Reason {
	case v1alpha1.ReasonJobInProgress:
		outcome.Detail = fmt.Sprintf("connection %q", shown.ConfigName)
	case v1alpha1.ReasonNameTaken:
		outcome.Detail = fmt.Sprintf("%q", k.rc.Spec.Connection.ConfigName)
	case v1alpha1.ReasonInvalidConnection:
		k.refusals.note(k.rc, credentials, decision.JudgeBlock(outcome, k.look.Waited))
		handle(k.rc)
	}
	if decision.TraitsOf(outcome.Reason).Shared {
		return k.judge(outcome)
	}
	return isNot(decision.JudgeBlock(outcome, k.look.Waited))
}

func (k *keeper) announceChange(h decision.Holding, differs difference, takeOver bool) {
	connectionsChanged.Inc()
	id := k.rc.ConnectionID()
	switch {
	case takeOver && h.TakeBack:
		k.Events.Eventf(k.rc, nil, corev1.EventTypeNormal, eventTakenBack, "Keep", "connection %s is taken back", id)
	case takeOver && !h.Taken && h.Owner != decision.OwnedBySelf:
		k.Events.Eventf(k.rc, nil, corev1.EventTypeNormal, eventAdopted, "Keep", "connection %s is taken over, and kept as described", id)
	case k.look.Settled && len(differs.fields) > 0:
		k.Events.Eventf(k.rc, nil, corev1.EventTypeNormal, eventCorrected, "Keep", "connection %s was not as described any more: %s", id, named(differs.fields))
	}
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
	if live == nil || !live.DeletionTimestamp.IsZero() || live.Generation != k.rc.Generation {
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
