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
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
)

// Why a deleted resource was released without a deletion in Reporter: the reasons of its events, and the values of the
// metric's label.
const (
	causeRetained       = "Retained"
	causeHandedOver     = "HandedOver"
	causeAlreadyDeleted = "AlreadyDeleted"
	causeNeverCreated   = "NeverCreated"
)

// eventMoved is the reason of the event that a connection is shown in another place than before.
const eventMoved = "Moved"

// record is what this process knows of a deletion beside what is on the objects. Without it, as after a restart, a deletion costs a call
// more, or counts as one that somebody else made, and the time in which claims may be unverified begins anew.
type record struct {
	// since is when the deletion was first seen.
	since time.Time
	// sent says that a DELETE was sent which may have been carried out, although no answer said so; deleted, that one was.
	sent, deleted bool
	// seenIn is where Reporter was found to have the connection just before its deletion, and shown what it showed of it.
	seenIn *v1alpha1.ObservedIn
	shown  *v1alpha1.ObservedConnection
	// twins tell of other connections that were created for the resource, and stay, a sentence each; hasLooked says that it was looked for them.
	twins     []string
	hasLooked bool
	// blockedSince is when the deletion was first blocked by Reporter, zero while it is not: its status may say so much later, as such
	// writes are paced, and it must not be tried as often as at first until then.
	blockedSince time.Time
	// unverifiedSince is when the deletion was first held for a claim that was not looked up, zero if it never was.
	unverifiedSince time.Time
	// released says that the finalizer is gone, although the cache may show it for a moment longer.
	released bool
	// trail is what there is to say of the release once the watch shows it, nil if nothing is, or it is said.
	trail *trail
}

// isPatient says whether the deletion may still be held for claims that were not looked up.
func (r *record) isPatient(now time.Time) bool {
	return r.unverifiedSince.IsZero() || now.Sub(r.unverifiedSince) < claimPatience
}

// blocked notes whether Reporter blocks the deletion.
func (r *record) blocked(byReporter bool, now time.Time) {
	switch {
	case !byReporter:
		r.blockedSince = time.Time{}
	case r.blockedSince.IsZero():
		r.blockedSince = now
	}
}

// waited is how long the deletion has been blocked by Reporter.
func (r *record) waited(now time.Time) time.Duration {
	if r.blockedSince.IsZero() {
		return 0
	}
	return now.Sub(r.blockedSince)
}

func (r *record) unverified(now time.Time) {
	if r.unverifiedSince.IsZero() {
		r.unverifiedSince = now
	}
}

// beginRecord records when a deletion was first seen, by its event or by a pass that came before that.
func (r *Reconciler) beginRecord(rc *v1alpha1.ReporterConnection) record {
	return r.records.begin(rc, record{since: time.Now()})
}

// recordOf returns what is known of a deletion. One that is not known of was seen just now.
func (r *Reconciler) recordOf(rc *v1alpha1.ReporterConnection) record {
	if known, found := r.records.get(rc); found {
		return known
	}
	return record{since: time.Now()}
}

// hasTrail says whether there is still something to say of a deletion: the event of its end may be on its way, or may have come before a
// pass that did not know of it yet.
func hasTrail(known record) bool { return known.trail != nil }

// takeTrail returns what there is to say of a release, once.
func (r *Reconciler) takeTrail(rc *v1alpha1.ReporterConnection) (taken *trail) {
	r.records.update(rc, func(record *record) { taken, record.trail = record.trail, nil })
	return taken
}

// trail is what a release leaves behind: the resource itself can no longer say it. It is noted before the finalizer is dropped, and left
// when the watch shows that it is gone: so it is left once, whether or not the answer to the patch arrives, and whichever comes first.
type trail struct {
	// cause is empty where the connection was soft-deleted by us; note says what has become of it.
	cause, eventType, note string
	// twins tell of connections that were created for the resource as well, and stay in Reporter, a sentence each.
	twins []string
	// silent says that no event can be written, as the namespace is being deleted.
	silent bool
}

// finish releases a resource whose connection was soft-deleted by us.
func (r *Reconciler) finish(ctx context.Context, rc *v1alpha1.ReporterConnection) (ctrl.Result, error) {
	left := trail{note: "the connection is deleted in Reporter"}
	return ctrl.Result{}, r.drop(ctx, rc, left, func() (bool, error) {
		return kube.DropFinalizerRetrying(ctx, r.Client, r.Live, rc, v1alpha1.ConnectionFinalizer,
			func(current *v1alpha1.ReporterConnection) error { return r.sayWhoElseHolds(ctx, current, left) })
	})
}

// leaveBehind releases a resource without a deletion in Reporter. Where the resource has changed meanwhile, it is looked at again.
func (r *Reconciler) leaveBehind(ctx context.Context, rc *v1alpha1.ReporterConnection, left trail) (ctrl.Result, error) {
	var err error
	if left.silent, err = kube.IsTerminating(ctx, r, rc.Namespace); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.sayWhoElseHolds(ctx, rc, left); err != nil {
		return ctrl.Result{}, err
	}
	return kube.ResultOf(r.drop(ctx, rc, left, func() (bool, error) {
		return kube.DropFinalizer(ctx, r.Client, rc, v1alpha1.ConnectionFinalizer)
	}))
}

// sayWhoElseHolds says, before our finalizer goes, what has become of the connection and which finalizers of others hold the resource: for
// as long as they do, its status is read, and once ours is gone, a restart would not know any more what to say.
func (r *Reconciler) sayWhoElseHolds(ctx context.Context, rc *v1alpha1.ReporterConnection, left trail) error {
	block, held := decision.JudgeFinalizers(rc.Finalizers, v1alpha1.ConnectionFinalizer, left.note)
	if !held {
		return nil
	}
	err := r.say(ctx, rc, block)
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
		log.FromContext(ctx).Error(err, "Saying who else holds a resource") // no reason to hold it as well
		return nil
	}
	return err
}

// say writes a block into the status, and no other change. It does not where the resource has changed meanwhile.
func (r *Reconciler) say(ctx context.Context, rc *v1alpha1.ReporterConnection, block decision.Block) error {
	base := rc.DeepCopy()
	setBlocked(rc, block)
	_, err := r.patchStatus(ctx, base, rc, 0)
	return err
}

// drop notes the trail of a release before it drops the finalizer. Where the patch certainly had no effect, and none before it whose answer
// was lost can have had any, somebody else has released the resource. Where the API server refuses the patch, the status says so, unless
// finalizers of others hold the resource as well.
func (r *Reconciler) drop(ctx context.Context, rc *v1alpha1.ReporterConnection, left trail, drop func() (bool, error)) error {
	var before *trail
	left.twins = r.twinsLeft(rc)
	r.records.update(rc, func(record *record) {
		before, record.trail = record.trail, &left
	})
	dropped, err := drop()
	r.records.update(rc, func(record *record) {
		record.released = dropped
		if !dropped && (err == nil || apierrors.IsConflict(err)) {
			record.trail = before
		}
	})
	if refusal := kube.RefusalOf(err); refusal != "" {
		if _, held := decision.JudgeFinalizers(rc.Finalizers, v1alpha1.ConnectionFinalizer, left.note); !held {
			err = errors.Join(err, r.say(ctx, rc, decision.RefusedRelease(left.note, refusal)))
		}
	}
	return err
}

// leaveTrail counts, logs and announces a release that the watch shows. One of a resource that was to be retained needed no pass.
func (r *Reconciler) leaveTrail(ctx context.Context, rc *v1alpha1.ReporterConnection, gone bool) {
	released := r.recordOf(rc).released
	left := r.takeTrail(rc)
	if left == nil && gone && !released && rc.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain {
		left = &trail{cause: causeRetained, twins: r.twinsLeft(rc), silent: true}
	}
	if left == nil {
		return
	}
	logger := log.FromContext(ctx).WithValues("namespace", rc.Namespace, "name", rc.Name, "connectionID", rc.ConnectionID(), "configName", rc.ConfigName(),
		"endpoint", rc.EndpointKey().String(), "waited", rounded(sinceDeletion(rc)))
	for _, twin := range left.twins {
		connectionsLeftBehind.WithLabelValues(eventLost).Inc()
		logger.Info("Left a second connection behind", "note", twin)
		r.Events.Eventf(rc, nil, corev1.EventTypeWarning, eventLost, "Delete", "%s", twin)
	}
	if left.cause == "" {
		connectionsDeleted.Inc()
		logger.Info("Deleted connection in Reporter")
		return
	}
	connectionsLeftBehind.WithLabelValues(left.cause).Inc()
	logger.Info("Released resource without deleting in Reporter", "cause", left.cause)
	if !left.silent {
		r.Events.Eventf(rc, nil, left.eventType, left.cause, "Delete", "connection %s: %s", cmp.Or(rc.ConnectionID(), rc.ConfigName()), left.note)
	}
}

// describe names a place in an event.
func describe(place v1alpha1.ObservedIn) string {
	if place.TenantID == "" {
		return place.URL
	}
	return fmt.Sprintf("%s in tenant %s", place.URL, place.TenantID)
}
