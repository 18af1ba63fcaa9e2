// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/access"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

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
	known := k.memoryOf(k.rc)
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
	if known := k.memoryOf(k.rc); !known.unanswered.IsZero() {
		verdict.RetryIn = lateChangeDelay
	}
	if owesLook(k.rc, k.place) {
		verdict.RetryIn = sooner(verdict.RetryIn, max(time.Until(k.rc.Status.LooksOwed.StartedAt.Time), decision.MinDelay))
	}
	return verdict
}

// foundUnchanged notes that a look has found nothing to do: if it began late enough, a change that had no answer is not carried out any more.
func (k *keeper) foundUnchanged() {
	if known := k.memoryOf(k.rc); k.began.After(known.unanswered.Add(decision.LateBy)) {
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
	return k.memoryOf(k.rc).sent == contentsOf(k.rc.Spec.Connection, credentials)
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
