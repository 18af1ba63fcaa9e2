// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// What the operator may do, and what for. Whatever it reads from its cache it has to list and watch; get is for the reads that
// must not be stale, where a finalizer is about to go.
//
// Claims are held by a finalizer, which config/admission has the patch change alone, and tell in their status what they wait for:
// +kubebuilder:rbac:groups=reporter.lerian.studio,resources=reporterconnections,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=reporter.lerian.studio,resources=reporterconnections/status,verbs=patch
//
// Endpoints say how Reporter is reached:
// +kubebuilder:rbac:groups=reporter.lerian.studio,resources=reporterendpoints,verbs=get;list;watch
//
// Only marked Secrets are listed and watched, but RBAC knows no labels. Of others no more than the metadata is read, and only where
// an endpoint names one, or one has lost its mark:
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch
//
// The metadata of namespaces alone: endpoints may select by labels who uses them, and what is being deleted takes no events:
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
//
// Events tell what a resource that has gone no longer can. Each is sent once, so that none is ever patched into a series:
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create

// connectionReconciler keeps a ReporterConnection and the connection it claims in step.
type connectionReconciler struct {
	client.Client
	live          client.Reader
	access        *accessor
	events        events.EventRecorder
	crew          crew
	lines         *lines
	routine       *pacer // of looks at what lives
	telling       *pacer // of writes that say the same of many
	checkInterval time.Duration
	deletions     deletionMemory
	// suspect has the Reporter of an endpoint checked that behaves otherwise than the endpoint's status says.
	suspect func(*v1alpha1.ReporterEndpoint)
}

// Reconcile makes one pass over one resource.
func (r *connectionReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	r.crew.join(ctx)
	defer r.crew.leave()
	defer r.lines.begin(req)()
	if ctx.Err() != nil {
		return ctrl.Result{}, nil // the process ends: nothing is begun
	}
	// Once a request is sent, its answer is read and acted upon, even while the process is told to end. Every request is
	// bounded by the endpoint's timeout, and the manager waits for longer than that.
	ctx = context.WithoutCancel(ctx)

	var rc v1alpha1.ReporterConnection
	if err := r.Get(ctx, req.NamespacedName, &rc); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	reconcile, deleting := r.reconcileLive, !rc.DeletionTimestamp.IsZero()
	if deleting {
		reconcile = r.reconcileDeletion
	}
	result, err := reconcile(ctx, &rc)
	result.Priority = new(priorityOf(deleting))
	return result, err
}

// ensureFinalizer makes the finalizer say what the deletion policy says, before anything is asked of Reporter: from then on
// the resource cannot go without its connection.
func (r *connectionReconciler) ensureFinalizer(ctx context.Context, rc *v1alpha1.ReporterConnection) error {
	base := rc.DeepCopy()
	var changed bool
	if rc.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain {
		changed = controllerutil.RemoveFinalizer(rc, v1alpha1.ConnectionFinalizer)
	} else {
		changed = controllerutil.AddFinalizer(rc, v1alpha1.ConnectionFinalizer)
	}
	if !changed {
		return nil
	}
	if err := patchMetadata(ctx, r.Client, rc, base); err != nil {
		return fmt.Errorf("setting the finalizer: %w", err)
	}
	return nil
}

// reconcileLive looks the connection up and tells what was found.
func (r *connectionReconciler) reconcileLive(ctx context.Context, rc *v1alpha1.ReporterConnection) (ctrl.Result, error) {
	if err := r.ensureFinalizer(ctx, rc); err != nil {
		return settle(err)
	}
	base := rc.DeepCopy()
	to, err := r.reach(ctx, rc)
	if err != nil {
		return ctrl.Result{}, err
	}
	if to.client != nil && isLookedUp(rc) {
		lane := to.client.Origin()
		if !isSettled(rc) {
			lane += " unsettled" // what waits to be found does not wait behind what was found
		}
		if wait := r.routine.wait(lane, rc.UID, time.Now()); wait > 0 {
			return ctrl.Result{RequeueAfter: wait}, nil
		}
	}
	var found finding
	ok, _ := r.inTurn(ctx, rc, to, func(to reach) { found = r.look(ctx, rc, to) })
	if !ok {
		r.routine.now(rc.UID) // its turn has come, and does not end before it has entered
		return ctrl.Result{RequeueAfter: jitter(slowest)}, nil
	}
	r.routine.forget(rc.UID)
	var elder *v1alpha1.ReporterConnection
	if found.answer == answerDone {
		if elder, err = r.elderOf(ctx, rc); err != nil {
			return ctrl.Result{}, err
		}
	}
	comeBack := r.tellLive(rc, found, elder)
	if !isSettled(rc) {
		if comeBack, ok = r.lineUp(rc, to, found.paced, comeBack); !ok {
			return ctrl.Result{RequeueAfter: soonest}, nil
		}
	}
	return r.told(ctx, base, rc, jitter(comeBack))
}

// look asks Reporter for the connection of a resource and notes what it shows.
func (r *connectionReconciler) look(ctx context.Context, rc *v1alpha1.ReporterConnection, to reach) finding {
	if to = r.login(ctx, to); to.client == nil {
		return to.obstacle
	}
	connection, err := to.client.Get(ctx, rc.Spec.ConnectionID)
	found := findingOf(err)
	r.compare(to.endpoint, found)
	if found.answer == answerDone {
		observe(rc, connection, to.in)
	}
	return found
}

// tellLive puts what was found into the conditions and returns when to look again.
func (r *connectionReconciler) tellLive(rc *v1alpha1.ReporterConnection, found finding, elder *v1alpha1.ReporterConnection) time.Duration {
	if found.answer == answerDone && elder != nil {
		setReady(rc, metav1.ConditionTrue, hold{reason: v1alpha1.ReasonDuplicate, message: fmt.Sprintf(
			"Reporter shows the connection, and %s claims it too, for longer. It is deleted with the last resource that claims it", nameFor(rc, elder))})
		return r.checkInterval
	}
	if found.answer == answerDone {
		setReady(rc, metav1.ConditionTrue, hold{reason: v1alpha1.ReasonAvailable, message: "Reporter shows the connection"})
		return r.checkInterval
	}
	waited := time.Duration(0)
	if !apimeta.IsStatusConditionTrue(rc.Status.Conditions, v1alpha1.ConditionReady) {
		waited = waitedSince(rc.Status.Conditions, v1alpha1.ConditionReady)
	}
	h := judgeHold(found, "", waited)
	switch found.answer {
	case answerUnavailable, answerRateLimited:
		if isSettled(rc) {
			return r.checkInterval // the endpoint tells of it; what is known of the connection stands
		}
		setReady(rc, metav1.ConditionUnknown, h)
	case answerUnexpected, answerWrongPath, answerConflict, answerJobInProgress:
		setReady(rc, metav1.ConditionUnknown, h)
	case answerAbsent:
		setReady(rc, metav1.ConditionFalse, h)
		return r.checkInterval
	default:
		setReady(rc, metav1.ConditionFalse, h)
	}
	return h.comeBack
}

// told writes the status, if it says anything new, and comes back after the given time. What Reporter says to all alike, or does not
// say, is written at a pace: there may be thousands to tell.
func (r *connectionReconciler) told(ctx context.Context, base, rc *v1alpha1.ReporterConnection, comeBack time.Duration) (ctrl.Result, error) {
	rc.Status.ObservedGeneration = rc.Generation
	if !equality.Semantic.DeepEqual(base.Status, rc.Status) {
		if isCommon(rc) && reflect.DeepEqual(base.Status.ObservedIn, rc.Status.ObservedIn) {
			if wait := r.telling.wait(endpointKey(rc).String(), rc.UID, time.Now()); wait > 0 {
				return ctrl.Result{RequeueAfter: min(wait, comeBack)}, nil
			}
		}
		base.UID = "" // so that the patch names the UID, and fails on another resource of the same name
		if err := r.Status().Patch(ctx, rc, client.MergeFrom(base)); err != nil {
			return settle(err)
		}
		ready := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionReady)
		log.FromContext(ctx).Info("Status changed", "ready", ready.Status, "reason", ready.Reason, "deleting", !rc.DeletionTimestamp.IsZero())
	}
	return ctrl.Result{RequeueAfter: comeBack}, nil
}

// isCommon says whether what is told of a resource holds for all that use the same Reporter.
func isCommon(rc *v1alpha1.ReporterConnection) bool {
	ready := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionReady)
	switch ready.Reason {
	case v1alpha1.ReasonReporterUnavailable, v1alpha1.ReasonRateLimited, v1alpha1.ReasonQueued:
		return true
	}
	return false
}

// reach is how a connection is reached right now. Without a client there is an obstacle, which a user can mend.
type reach struct {
	endpoint *v1alpha1.ReporterEndpoint // nil where there is none, or none that may be used
	client   *reporter.Client
	in       v1alpha1.ObservedIn // the place that the client speaks to, once it is logged in
	obstacle finding
}

func (r *connectionReconciler) reach(ctx context.Context, rc *v1alpha1.ReporterConnection) (reach, error) {
	endpoint, err := r.access.endpointFor(ctx, rc)
	if err != nil {
		return obstructed(nil, err)
	}
	c, err := r.access.clientFor(ctx, endpoint)
	if err != nil {
		return obstructed(endpoint, err)
	}
	return reach{endpoint: endpoint, client: c}, nil
}

// login logs the client in, if there is one. Where that fails, there is an obstacle in its place.
func (r *connectionReconciler) login(ctx context.Context, to reach) reach {
	if to.client == nil {
		return to
	}
	tenantID, err := to.client.Login(ctx)
	if err != nil {
		return r.obstructedBy(to.endpoint, err)
	}
	to.in = v1alpha1.ObservedIn{URL: to.client.URL(), TenantID: tenantID}
	return to
}

// place is where a resource stands in line for a Reporter.
func (to reach) place(rc *v1alpha1.ReporterConnection) place {
	return place{request: requestFor(rc), reporter: to.client.Identity(), room: max(1, int(to.endpoint.Spec.MaxInFlight)),
		deleting: !rc.DeletionTimestamp.IsZero(), since: time.Now()}
}

// inTurn calls ask if there is room for one more request to Reporter. Otherwise it returns false, and another pass is made when it is its
// turn; stood is how long it has waited for that. Where there is nobody to ask, or one who is known not to answer, ask is told so.
func (r *connectionReconciler) inTurn(ctx context.Context, rc *v1alpha1.ReporterConnection, to reach, ask func(reach)) (ok bool, stood time.Duration) {
	if to.client == nil {
		ask(to)
		return true, 0
	}
	if err := to.client.Outage(); err != nil {
		ask(r.obstructedBy(to.endpoint, err))
		return true, 0
	}
	at := to.place(rc)
	if ok, stood = r.lines.enter(at); ok {
		defer r.crew.join(ctx)
		defer r.lines.leave(at.reporter) // first: others need not wait until this one may work again
		r.crew.leave()
		ask(to)
	}
	return ok, stood
}

// lineUp has another pass made in turn when Reporter can be asked again, if it cannot now: it does not answer, or nothing was sent as it
// has asked for that. It returns when to come back otherwise, and false if it answers again already.
func (r *connectionReconciler) lineUp(rc *v1alpha1.ReporterConnection, to reach, paced bool, comeBack time.Duration) (time.Duration, bool) {
	switch {
	case to.client == nil:
		return comeBack, true
	case paced:
		r.lines.postpone(to.place(rc), comeBack)
	case to.client.Outage() == nil:
		return comeBack, true
	case !r.lines.await(to.place(rc), func() bool { return to.client.Outage() != nil }):
		return 0, false
	}
	r.routine.now(rc.UID) // who is called does not wait for another turn
	return slowest, true
}

// obstructedBy is how a connection is not reached because of an error of the client's.
func (r *connectionReconciler) obstructedBy(endpoint *v1alpha1.ReporterEndpoint, err error) reach {
	found := findingOf(err)
	r.compare(endpoint, found)
	return reach{endpoint: endpoint, obstacle: found}
}

func obstructed(endpoint *v1alpha1.ReporterEndpoint, err error) (reach, error) {
	var o *obstacle
	if errors.As(err, &o) {
		return reach{endpoint: endpoint, obstacle: o.finding}, nil
	}
	return reach{}, err
}

// compare has the endpoint looked at where what was just found of its Reporter is not what its status says, or nothing was sent
// because of what was found before: somebody may have asked for an attempt.
func (r *connectionReconciler) compare(endpoint *v1alpha1.ReporterEndpoint, found finding) {
	trouble := true
	switch found.answer {
	case answerDone, answerAbsent, answerJobInProgress, answerConflict, answerInvalidID:
		trouble = false
	case answerRateLimited:
		return // it says nothing about the rest
	default:
	}
	if found.heldBack || trouble == apimeta.IsStatusConditionTrue(endpoint.Status.Conditions, v1alpha1.ConditionReady) {
		r.suspect(endpoint)
	}
}

func setReady(rc *v1alpha1.ReporterConnection, status metav1.ConditionStatus, h hold) {
	setCondition(rc, v1alpha1.ConditionReady, status, h)
}

// setCondition keeps the message where it may be another from try to try although the reason is the same: each new text would be
// a new write.
func setCondition(rc *v1alpha1.ReporterConnection, conditionType string, status metav1.ConditionStatus, h hold) {
	message := h.message
	before := apimeta.FindStatusCondition(rc.Status.Conditions, conditionType)
	if h.fickle && before != nil && before.Reason == h.reason && before.ObservedGeneration == rc.Generation {
		message = before.Message
	}
	apimeta.SetStatusCondition(&rc.Status.Conditions, metav1.Condition{
		Type:               conditionType,
		Status:             status,
		Reason:             h.reason,
		Message:            message,
		ObservedGeneration: rc.Generation,
	})
}

// isLookedUp says whether what the status tells is of the spec as it is now, so that looking again is routine.
func isLookedUp(rc *v1alpha1.ReporterConnection) bool {
	ready := apimeta.FindStatusCondition(rc.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.ObservedGeneration == rc.Generation
}

// isSettled says whether the connection was found under the spec as it is now.
func isSettled(rc *v1alpha1.ReporterConnection) bool {
	return isLookedUp(rc) && apimeta.IsStatusConditionTrue(rc.Status.Conditions, v1alpha1.ConditionReady)
}

// waitedSince is how long a condition has been what it is.
func waitedSince(conditions []metav1.Condition, conditionType string) time.Duration {
	condition := apimeta.FindStatusCondition(conditions, conditionType)
	if condition == nil {
		return 0
	}
	return time.Since(condition.LastTransitionTime.Time)
}

func observe(rc *v1alpha1.ReporterConnection, connection *reporter.Connection, in v1alpha1.ObservedIn) {
	rc.Status.ObservedIn = &in
	rc.Status.Connection = &v1alpha1.ObservedConnection{
		ConfigName:   connection.ConfigName,
		ProductName:  connection.ProductName,
		Type:         connection.Type,
		Host:         connection.Host,
		Port:         connection.Port,
		DatabaseName: connection.DatabaseName,
		CreatedAt:    timeOrNil(connection.CreatedAt),
		UpdatedAt:    timeOrNil(connection.UpdatedAt),
	}
}

// timeOrNil drops what Kubernetes does not keep, so that the same time read twice is no change.
func timeOrNil(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	kept := metav1.NewTime(t).Rfc3339Copy()
	return &kept
}

func configName(rc *v1alpha1.ReporterConnection) string {
	if rc.Status.Connection == nil {
		return ""
	}
	return rc.Status.Connection.ConfigName
}

func endpointKey(rc *v1alpha1.ReporterConnection) client.ObjectKey {
	return client.ObjectKey{Namespace: cmp.Or(rc.Spec.EndpointRef.Namespace, rc.Namespace), Name: rc.Spec.EndpointRef.Name}
}

// jitter spreads by a tenth to either side what would otherwise come back together.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*random()))
}

// random is from 0 up to 1. The simulation puts one in its place that it can play again.
var random = rand.Float64
