// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// Why a deleted resource was released without a deletion in Reporter: the reasons of its events, and the values of the
// metric's label.
const (
	causeRetained       = "Retained"
	causeHandedOver     = "HandedOver"
	causeAlreadyDeleted = "AlreadyDeleted"
)

// reconcileDeletion walks a deletion: it either ends with the finalizer gone, or is held with a reason and comes back.
func (r *connectionReconciler) reconcileDeletion(ctx context.Context, rc *v1alpha1.ReporterConnection) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(rc, v1alpha1.ConnectionFinalizer) || r.deletions.get(rc.UID).released {
		return ctrl.Result{}, nil
	}
	if r.deletions.get(rc.UID).done {
		return ctrl.Result{}, r.finish(ctx, rc) // all but the finalizer was done before
	}
	if rc.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain {
		return r.leaveBehind(ctx, rc, corev1.EventTypeNormal, causeRetained, "the connection stays in Reporter, as spec.deletionPolicy says")
	}
	to, err := r.reach(ctx, rc)
	if err != nil {
		return ctrl.Result{}, err
	}
	base := rc.DeepCopy()
	retained := to.endpoint != nil && to.endpoint.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain
	if h, held := judgeBrakes(rc, to.endpoint, time.Now()); held && !retained {
		return r.told(ctx, base, rc, tellHeld(rc, h))
	}
	current, err := r.isCurrent(ctx, rc, to.endpoint)
	if err != nil {
		return ctrl.Result{}, err
	}
	if !current {
		return ctrl.Result{RequeueAfter: soonest}, nil
	}
	if retained {
		return r.leaveBehind(ctx, rc, corev1.EventTypeNormal, causeRetained,
			fmt.Sprintf("the connection stays in Reporter, as spec.deletionPolicy of ReporterEndpoint %q says", to.endpoint.Name))
	}
	waited := waitedFor(rc)
	var a asked
	if ok, stood := r.inTurn(ctx, rc, to, func(to reach) { a, err = r.askForDeletion(ctx, rc, to) }); !ok {
		return r.queued(ctx, base, rc, to.endpoint, stood)
	}
	switch {
	case err != nil:
		return ctrl.Result{}, err
	case a.heir != nil:
		return r.handOver(ctx, rc, a.heir)
	case a.held != nil:
		return r.heldBy(ctx, base, rc, to, judgeHold(*a.held, "", waited))
	}

	v := judgeDeletion(a.tried, waited)
	switch {
	case v.release && (a.tried.deletion.answer == answerDone || (a.tried.seen && r.deletions.get(rc.UID).sent)):
		return ctrl.Result{}, r.finish(ctx, rc)
	case v.release && v.neverSeen:
		return r.leaveBehind(ctx, rc, corev1.EventTypeWarning, causeAlreadyDeleted,
			"Reporter has no such connection, and this resource never saw it: if spec.connectionID is wrong, the right connection is still there")
	case v.release:
		return r.leaveBehind(ctx, rc, corev1.EventTypeNormal, causeAlreadyDeleted, "the connection was already deleted in Reporter")
	default:
		return r.heldBy(ctx, base, rc, to, v.hold)
	}
}

// asked is what came of asking for a deletion: a claim that keeps the connection, something that holds the deletion before it is sent,
// or an attempt.
type asked struct {
	heir  *v1alpha1.ReporterConnection
	held  *finding
	tried attempt
}

// askForDeletion has the connection deleted in Reporter, unless another resource claims it.
func (r *connectionReconciler) askForDeletion(ctx context.Context, rc *v1alpha1.ReporterConnection, to reach) (asked, error) {
	to = r.login(ctx, to)
	if to.client != nil && rc.Status.ObservedIn == nil {
		// What was deleted before it was ever looked at is looked at now: should the answer to DELETE be lost, nothing else tells what
		// it has deleted from what never was here. Jobs name connections by the configName that this shows, too.
		if connection, err := to.client.Get(ctx, rc.Spec.ConnectionID); err == nil {
			observe(rc, connection, to.in)
			r.deletions.update(rc.UID, func(d *deletionRecord) { d.seenIn = rc.Status.ObservedIn }) // until the cache shows it
		}
	}
	heir, unclear, err := r.heirOf(ctx, rc, to)
	switch {
	case err != nil, heir != nil:
		return asked{heir: heir}, err
	case to.client == nil:
		return asked{held: &to.obstacle}, nil
	case unclear != nil:
		return asked{held: unclear}, nil
	}
	tried := r.attemptDeletion(ctx, rc, to)
	r.compare(to.endpoint, tried.deletion)
	return asked{tried: tried}, nil
}

// patience is how long a deletion stands in line for Reporter before it says so.
const patience = time.Minute

// queued leaves a deletion that stands in line, until it is called. If it has stood there for long, it says so, unless it tells already
// what it waits for in Reporter.
func (r *connectionReconciler) queued(ctx context.Context, base, rc *v1alpha1.ReporterConnection, endpoint *v1alpha1.ReporterEndpoint, stood time.Duration) (ctrl.Result, error) {
	blocked := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionDeletionBlocked)
	if stood < patience || (blocked != nil && !isApart(blocked.Reason)) {
		return ctrl.Result{RequeueAfter: jitter(patience)}, nil
	}
	return r.told(ctx, base, rc, jitter(tellHeld(rc, held(v1alpha1.ReasonQueued, fmt.Sprintf("others come first: this Reporter gets no more requests than "+
		"spec.maxInFlight of ReporterEndpoint %q (%d) and its own limit allow. The deletion goes on by itself when it is its turn", endpoint.Name, endpoint.Spec.MaxInFlight), slowest))))
}

// heldBy tells what holds a deletion, which is called when it can go on if that is a matter of when Reporter can be asked again.
func (r *connectionReconciler) heldBy(ctx context.Context, base, rc *v1alpha1.ReporterConnection, to reach, h hold) (ctrl.Result, error) {
	comeBack, ok := r.lineUp(rc, to, h.paced, h.comeBack)
	if !ok {
		return ctrl.Result{RequeueAfter: soonest}, nil
	}
	tellHeld(rc, h)
	return r.told(ctx, base, rc, jitter(comeBack))
}

// isCurrent says whether the endpoint in the cache is what the API server has. Nothing orders the caches of two kinds: a brake that
// was put on before the deletion may be seen after it. So the API server is asked, once for all deletions that were seen before.
func (r *connectionReconciler) isCurrent(ctx context.Context, rc *v1alpha1.ReporterConnection, endpoint *v1alpha1.ReporterEndpoint) (bool, error) {
	if endpoint == nil {
		return true, nil // nothing is done through it
	}
	notBefore := r.deletions.get(rc.UID).since
	if recently := time.Now().Add(-soonest); recently.After(notBefore) {
		notBefore = recently
	}
	return r.access.isCurrent(ctx, endpoint, notBefore)
}

// handOver releases a resource whose connection another one goes on claiming. If that one is to delete it in its turn, it is held
// first, so that its own deletion cannot be missed.
func (r *connectionReconciler) handOver(ctx context.Context, rc, heir *v1alpha1.ReporterConnection) (ctrl.Result, error) {
	if heir.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain {
		if err := r.ensureFinalizer(ctx, heir); err != nil {
			if client.IgnoreNotFound(err) == nil {
				return ctrl.Result{RequeueAfter: soonest}, nil // look again who claims the connection
			}
			return settle(err)
		}
	}
	return r.leaveBehind(ctx, rc, corev1.EventTypeNormal, causeHandedOver,
		fmt.Sprintf("the connection stays in Reporter, as %s claims it", nameFor(rc, heir)))
}

// attemptDeletion asks Reporter to delete, and where it does not find the connection, whether it really is not there.
func (r *connectionReconciler) attemptDeletion(ctx context.Context, rc *v1alpha1.ReporterConnection, to reach) attempt {
	seenIn := cmp.Or(rc.Status.ObservedIn, r.deletions.get(rc.UID).seenIn)
	deletion := to.client.Delete(ctx, rc.Spec.ConnectionID)
	a := attempt{
		deletion: findingOf(deletion),
		seen:     seenIn != nil,
		seenHere: seenIn != nil && *seenIn == to.in,
	}
	switch {
	case a.deletion.answer == answerDone:
		r.deletions.update(rc.UID, func(d *deletionRecord) { d.done = true })
	case reporter.MayHaveActed(deletion):
		r.deletions.update(rc.UID, func(d *deletionRecord) { d.sent = true })
	case a.deletion.answer == answerAbsent:
		_, err := to.client.Get(ctx, rc.Spec.ConnectionID)
		a.confirmation = findingOf(err)
		// The token may have been renewed meanwhile, for another tenant.
		tenantID, err := to.client.Login(ctx)
		if err != nil {
			a.confirmation = findingOf(err)
		}
		a.seenHere = a.seenHere && tenantID == to.in.TenantID
	}
	if rc.Status.Connection != nil {
		a.configName = rc.Status.Connection.ConfigName
	}
	return a
}

// finish releases a resource whose connection was soft-deleted by us.
func (r *connectionReconciler) finish(ctx context.Context, rc *v1alpha1.ReporterConnection) error {
	dropped, err := dropFinalizerAnyway(ctx, r.Client, r.live, rc, v1alpha1.ConnectionFinalizer)
	if err != nil || !dropped {
		return err
	}
	r.deletions.update(rc.UID, func(d *deletionRecord) { d.released = true })
	connectionsDeleted.Inc()
	log.FromContext(ctx).Info("Deleted connection in Reporter", "connectionID", rc.Spec.ConnectionID, "configName", configName(rc))
	return nil
}

// leaveBehind releases a resource without a deletion in Reporter, and leaves a trail of it: the resource can no longer tell. Where
// the resource has changed meanwhile, it is looked at again.
func (r *connectionReconciler) leaveBehind(ctx context.Context, rc *v1alpha1.ReporterConnection, eventType, cause, note string) (ctrl.Result, error) {
	terminating, err := isTerminating(ctx, r, rc.Namespace)
	if err != nil {
		return ctrl.Result{}, err
	}
	dropped, err := dropFinalizer(ctx, r.Client, rc, v1alpha1.ConnectionFinalizer)
	if err != nil || !dropped {
		return settle(err)
	}
	r.deletions.update(rc.UID, func(d *deletionRecord) { d.released = true })
	countLeftBehind(log.FromContext(ctx), rc, cause)
	if terminating {
		return ctrl.Result{}, nil // nothing can be created there any more
	}
	r.events.Eventf(rc, nil, eventType, cause, "Delete", "connection %s: %s", rc.Spec.ConnectionID, note)
	return ctrl.Result{}, nil
}

func countLeftBehind(logger logr.Logger, rc *v1alpha1.ReporterConnection, cause string) {
	connectionsLeftBehind.WithLabelValues(cause).Inc()
	logger.Info("Released resource without deleting in Reporter",
		"cause", cause, "connectionID", rc.Spec.ConnectionID, "configName", configName(rc))
}

// tellHeld puts a hold into the conditions and returns when to come back. DeletionBlocked keeps its lastTransitionTime through
// changes of reason, as it is the start of the wait, but where the wait so far says nothing about the one that follows.
func tellHeld(rc *v1alpha1.ReporterConnection, h hold) time.Duration {
	setReady(rc, metav1.ConditionFalse, h)
	before := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionDeletionBlocked)
	if before != nil && isApart(before.Reason) && !isApart(h.reason) {
		apimeta.RemoveStatusCondition(&rc.Status.Conditions, v1alpha1.ConditionDeletionBlocked)
	}
	setCondition(rc, v1alpha1.ConditionDeletionBlocked, metav1.ConditionTrue, h)
	return h.comeBack
}

// waitedFor is how long a deletion has been held by Reporter, or by what is in the way to it.
func waitedFor(rc *v1alpha1.ReporterConnection) time.Duration {
	blocked := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionDeletionBlocked)
	if blocked == nil || isApart(blocked.Reason) {
		return 0
	}
	return time.Since(blocked.LastTransitionTime.Time)
}

// isApart says whether a wait for a reason says nothing about one for Reporter: it is a person's doing, or there are too many others.
func isApart(reason string) bool {
	switch reason {
	case v1alpha1.ReasonDeletionProtected, v1alpha1.ReasonSuspended, v1alpha1.ReasonDeletionDelayed, v1alpha1.ReasonQueued:
		return true
	}
	return false
}

// deletionMemory is what this process knows of deletions beside what is on the objects. Without it, as after a restart, a deletion
// costs a call more, or is told as one that somebody else made, and the ten minutes in which a claim may be unclear begin anew.
type deletionMemory struct {
	mu    sync.Mutex
	known map[types.UID]deletionRecord
}

type deletionRecord struct {
	// since is when the deletion was first seen.
	since time.Time
	// sent says that a DELETE was sent which may have been carried out, although no answer said so; done, that one did.
	sent, done bool
	// seenIn is where Reporter was found to have the connection just before its deletion.
	seenIn *v1alpha1.ObservedIn
	// released says that the finalizer is gone, although the cache may show it for a moment longer.
	released bool
	// unclear is since when claims elsewhere cannot be looked up, by the claim.
	unclear map[types.UID]time.Time
}

// begin remembers when a deletion was first seen, until it is forgotten.
func (m *deletionMemory) begin(resource types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = map[types.UID]deletionRecord{}
	}
	if _, found := m.known[resource]; !found {
		m.known[resource] = deletionRecord{since: time.Now()}
	}
}

// get returns what is known of a deletion. One that is not known of was seen just now.
func (m *deletionMemory) get(resource types.UID) deletionRecord {
	m.mu.Lock()
	defer m.mu.Unlock()
	if record, found := m.known[resource]; found {
		return record
	}
	return deletionRecord{since: time.Now()}
}

// update changes what is known of a deletion, unless it is forgotten already: the event of an object's end may overtake the answer
// to the request that ended it.
func (m *deletionMemory) update(resource types.UID, change func(*deletionRecord)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if record, found := m.known[resource]; found {
		change(&record)
		m.known[resource] = record
	}
}

// isPatient says whether a deletion is to be held for claims that cannot be looked up now: for proofPatience since they became unclear,
// each by itself, however long it has waited for something else before.
func (m *deletionMemory) isPatient(resource types.UID, claims []types.UID, now time.Time) bool {
	patient := len(claims) > 0
	m.update(resource, func(d *deletionRecord) {
		before := d.unclear
		d.unclear, patient = map[types.UID]time.Time{}, false
		for _, claim := range claims {
			since, found := before[claim]
			if !found {
				since = now
			}
			d.unclear[claim] = since
			patient = patient || now.Sub(since) < proofPatience
		}
	})
	return patient
}

func (m *deletionMemory) forget(resource types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.known, resource)
}
