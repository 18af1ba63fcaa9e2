// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// A twin is another connection in Reporter that was created for the same resource: a request to create it was given up as lost, and carried out
// all the same, later than any was ever seen to be. Which of them reports name is not known, so neither is deleted unasked.

// twinsInterval is how often it is looked whether a twin is still there.
const twinsInterval = time.Hour

// owesLook says whether one more look is owed at a place, for a request that was given up as lost.
func owesLook(rc *v1alpha1.ReporterConnection, place v1alpha1.ObservedIn) bool {
	return rc.Status.LooksOwed != nil && rc.Status.LooksOwed.ObservedIn == place
}

// hasTwin says whether the resource was found to have twins.
func hasTwin(rc *v1alpha1.ReporterConnection) bool {
	return apimeta.IsStatusConditionTrue(rc.Status.Conditions, v1alpha1.ConditionDuplicateInReporter)
}

// lookForTwins looks for twins where one more look is due, or there were some.
func (k *keeper) lookForTwins(ctx context.Context) {
	isOwed := owesLook(k.rc, k.place) && !k.began.Before(k.rc.Status.LooksOwed.StartedAt.Time)
	isDue := hasTwin(k.rc) && k.began.Sub(k.memoryOf(k.rc).lookedForTwins) >= twinsInterval
	if !isOwed && !isDue {
		return
	}
	found, err := k.marked(ctx, k.rc, k.to.Client, k.place, k.mark, time.Time{})
	if !k.outcomeOf(k.to, err).IsDone() {
		return
	}
	if isOwed {
		k.rc.Status.LooksOwed = nil
	}
	k.sayTwins(found)
}

// sayTwins says which of the connections found are twins of the one that the resource has.
func (k *keeper) sayTwins(found []*reporter.Connection) {
	k.memories.update(k.rc, func(known *memory) { known.lookedForTwins = k.began })
	twins := twinsAmong(found, k.rc.ConnectionID())
	if len(twins) == 0 {
		apimeta.RemoveStatusCondition(&k.rc.Status.Conditions, v1alpha1.ConditionDuplicateInReporter)
		return
	}
	if !hasTwin(k.rc) {
		k.Events.Eventf(k.rc, nil, corev1.EventTypeWarning, v1alpha1.ReasonDuplicate, "Keep", "connection %s was created for this resource as well as %s",
			strings.Join(twins, ", "), k.rc.ConnectionID())
	}
	setCondition(k.rc, v1alpha1.ConditionDuplicateInReporter, metav1.ConditionTrue, decision.Block{Reason: v1alpha1.ReasonDuplicate,
		Message: fmt.Sprintf("Reporter has connection %s too, which was created for this resource as well. Delete it there", strings.Join(twins, ", "))})
}

// twinsAmong are the ids of those connections that are not the one of an id.
func twinsAmong(found []*reporter.Connection, id string) []string {
	var twins []string
	for _, c := range found {
		if c.ID != id {
			twins = append(twins, c.ID)
		}
	}
	return twins
}

// mayLeaveTwins says whether a deletion may leave twins behind that it has not looked for.
func (d *deletion) mayLeaveTwins() bool {
	return d.rc.Describes() && (d.rc.Status.LooksOwed != nil || hasTwin(d.rc)) && !d.recordOf(d.rc).hasLooked
}

// lookForTwins notes which twins a deletion leaves behind, and whether one may be that cannot be looked for. The outcome is not done where that is
// not known yet.
func (d *deletion) lookForTwins(ctx context.Context, place v1alpha1.ObservedIn) (decision.Outcome, error) {
	if !d.mayLeaveTwins() {
		return decision.Outcome{Reason: v1alpha1.ReasonAvailable}, nil
	}
	mark, err := d.markFor(ctx, d.rc)
	if err != nil {
		return decision.Outcome{}, err
	}
	found, err := d.marked(ctx, d.rc, d.to.Client, place, mark, time.Time{})
	outcome := d.outcomeOf(d.to, err)
	if outcome.IsDone() {
		var left []string
		for _, id := range twinsAmong(found, d.rc.ConnectionID()) {
			left = append(left, fmt.Sprintf("connection %s, which was created for this resource as well, stays in Reporter: delete it there", id))
		}
		if owed := d.rc.Status.LooksOwed; owed != nil && owed.ObservedIn != place {
			left = append(left, notLookedFor(owed))
		}
		d.records.update(d.rc, func(r *record) { r.twins, r.hasLooked = left, true })
	}
	return outcome, nil
}

// lookForTwinsFirst is a pass of a deletion that has no other business in Reporter than lookForTwins. What it rests on may have changed by the
// time of the answer, so all else is left to the next pass.
func (d *deletion) lookForTwinsFirst(ctx context.Context, release func()) (ctrl.Result, error) {
	defer release()
	place, outcome := d.logIn(ctx, d.to)
	if outcome.IsDone() {
		var err error
		if outcome, err = d.lookForTwins(ctx, place); err != nil {
			return ctrl.Result{}, err
		}
	}
	if !outcome.IsDone() {
		return d.block(ctx, decision.JudgeBlock(outcome, d.waited))
	}
	return ctrl.Result{RequeueAfter: decision.MinDelay}, nil
}

// twinsLeft are the twins that a deletion leaves behind, as far as is known: one that retains the connection does not ask Reporter.
func (r *Reconciler) twinsLeft(rc *v1alpha1.ReporterConnection) []string {
	known := r.recordOf(rc)
	if known.hasLooked || !rc.Describes() {
		return known.twins
	}
	var left []string
	if twins := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionDuplicateInReporter); twins != nil {
		left = append(left, twins.Message)
	}
	if owed := rc.Status.LooksOwed; owed != nil {
		left = append(left, notLookedFor(owed))
	}
	return left
}

func notLookedFor(owed *v1alpha1.CreationRecord) string {
	return fmt.Sprintf("a connection that may have been created for this resource at %s was not looked for: if it is there, delete it there", owed.URL)
}
