// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// leftTo says that a connection is somebody else's, and whose if that is a resource of the same namespace.
type leftTo struct {
	is      bool
	sibling string
}

// lookBefore looks the connection up before it is deleted. What a resource describes may be somebody else's by now.
func (d *deletion) lookBefore(ctx context.Context, place v1alpha1.ObservedIn) (decision.Outcome, leftTo, error) {
	if !d.rc.Describes() {
		return d.lookUp(ctx, d.rc, d.to, place), leftTo{}, nil
	}
	shown, err := d.to.Client.Get(ctx, d.rc.ConnectionID())
	outcome := d.outcomeOf(d.to, err)
	if !outcome.IsDone() {
		return outcome, leftTo{}, nil
	}
	mark, err := d.markFor(ctx, d.rc)
	if err != nil {
		return outcome, leftTo{}, err
	}
	h, err := d.holdingOf(ctx, d.rc, mark, place, shown, outcome)
	if err != nil {
		return outcome, leftTo{}, err
	}
	sibling, is := h.IsOthers()
	observe(d.rc, shown, place)
	if sibling != "" {
		is, err = d.isHeldBy(ctx, sibling, shown.ID, h.Owner)
	}
	return outcome, leftTo{is, sibling}, err
}

// isHeldBy says whether another resource of the namespace certainly goes on with a connection, be it to delete it in its turn.
func (d *deletion) isHeldBy(ctx context.Context, sibling, id string, owner decision.Owner) (bool, error) {
	var live v1alpha1.ReporterConnection
	if err := d.Live.Get(ctx, client.ObjectKey{Namespace: d.rc.Namespace, Name: sibling}, &live); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	isStaying := live.DeletionTimestamp.IsZero() || controllerutil.ContainsFinalizer(&live, v1alpha1.ConnectionFinalizer)
	return isStaying && live.Describes() && (live.ConnectionID() == id || owner == decision.OwnedBySibling), nil
}

// leaveToOther releases a resource whose connection is somebody else's.
func (d *deletion) leaveToOther(ctx context.Context, sibling string) (ctrl.Result, error) {
	why := "its mark says that it is another's"
	if sibling != "" {
		why = fmt.Sprintf("ReporterConnection %q has it", sibling)
	}
	return d.leaveIfConfirmed(ctx, d.staying(causeHandedOver, why))
}

// findToDelete finds the connection of a resource that does not know its id, so that it can be deleted; or releases the resource, where there
// certainly is none.
func (d *deletion) findToDelete(ctx context.Context) (ctrl.Result, error) {
	place, outcome := d.logIn(ctx, d.to)
	if !outcome.IsDone() {
		return d.notFound(ctx, decision.JudgeBlock(outcome, d.waited))
	}
	mark, err := d.markFor(ctx, d.rc)
	if err != nil {
		return ctrl.Result{}, err
	}
	var verdict decision.CreationVerdict
	var found []*reporter.Connection
	if d.rc.Status.Creation != nil {
		verdict, found = d.searchFor(ctx, d.rc, mark, place, d.to, d.waited)
	} else {
		found, err = d.marked(ctx, d.rc, d.to.Client, place, mark, time.Time{})
		verdict = decision.JudgeSearch(decision.Search{Outcome: d.outcomeOf(d.to, err), Found: len(found), IsSamePlace: true}, d.waited)
	}
	switch verdict.Step {
	case decision.CreationDone:
		d.rc.Status.ConnectionID, d.rc.Status.Creation = found[0].ID, nil
		if len(found) > 1 {
			d.rc.Status.LooksOwed = &v1alpha1.CreationRecord{ObservedIn: place, StartedAt: new(metav1.NowMicro())} // the others are announced at the end
		}
		return d.patchStatus(ctx, d.base, d.rc, decision.MinDelay)
	case decision.CreationLost:
		return d.leaveIfConfirmed(ctx, trail{cause: causeNeverCreated, eventType: corev1.EventTypeNormal, note: "it was never created in Reporter"})
	default:
		return d.notFound(ctx, verdict.Block)
	}
}

// notFound blocks the deletion of a resource whose connection was not found, unless nothing can have been created for it, or somebody gives
// it up.
func (d *deletion) notFound(ctx context.Context, block decision.Block) (ctrl.Result, error) {
	record := d.rc.Status.Creation
	isGivenUp := record != nil && block.Reason == v1alpha1.ReasonCreationUnverified && d.rc.Annotations[v1alpha1.AbandonAnnotation] == record.URL
	// A status from before the deletion, without a record, says that nothing was asked for.
	isNothing := record == nil && apimeta.FindStatusCondition(d.rc.Status.Conditions, v1alpha1.ConditionReady) != nil &&
		apimeta.FindStatusCondition(d.rc.Status.Conditions, v1alpha1.ConditionDeletionBlocked) == nil
	if !isGivenUp && !isNothing {
		return d.block(ctx, block)
	}
	note := "nothing was recorded of a creation, and Reporter could not be asked: if it was created by hand, it is still there"
	if isGivenUp {
		note = "what may have come of the request to create it at " + record.URL + " is given up, as somebody asked for it: if it is there, delete it there"
	}
	return d.leaveIfConfirmed(ctx, trail{cause: eventLost, eventType: corev1.EventTypeWarning, note: note})
}

// bequeath gives an heir by name the id of the connection, and where it is, before the resource that has it goes.
func (d *deletion) bequeath(ctx context.Context, rc, heir *v1alpha1.ReporterConnection) error {
	base := heir.DeepCopy()
	heir.Status.ConnectionID, heir.Status.ObservedIn, heir.Status.Connection, heir.Status.TakenOverBy =
		rc.ConnectionID(), rc.Status.ObservedIn, rc.Status.Connection, rc.Status.TakenOverBy
	if late := d.memoryOf(rc).unanswered; !late.IsZero() {
		d.memories.begin(heir, memory{})
		d.memories.update(heir, func(known *memory) { known.unanswered = late })
	}
	return d.Status().Patch(ctx, heir, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
}
