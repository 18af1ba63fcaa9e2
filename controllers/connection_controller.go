// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
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
	// Once a request is sent, its answer is read and acted upon, even while the process is told to end. Every request is
	// bounded by the endpoint's timeout, and the manager waits for longer than that.
	ctx = context.WithoutCancel(ctx)

	r.crew.join(ctx)
	defer r.crew.leave()
	defer r.lines.passed(req)

	var rc v1alpha1.ReporterConnection
	if err := r.Get(ctx, req.NamespacedName, &rc); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !rc.DeletionTimestamp.IsZero() {
		return r.reconcileDeletion(ctx, &rc)
	}
	if err := r.ensureFinalizer(ctx, &rc); err != nil {
		return settle(err)
	}
	return r.reconcileLive(ctx, &rc)
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
			return ctrl.Result{RequeueAfter: wait, Priority: new(handler.LowPriority)}, nil
		}
	}
	var found finding
	look := func() { found = r.look(ctx, rc, to) }
	if to.isDown() {
		look() // nothing is sent
	} else if ok, _ := r.inTurn(ctx, rc, to, look); !ok {
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
	if !isSettled(rc) && !r.awaitAnswer(rc, to) {
		return ctrl.Result{RequeueAfter: soonest}, nil
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
		if isCommon(rc) {
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
	result := ctrl.Result{RequeueAfter: comeBack}
	if rc.DeletionTimestamp.IsZero() {
		result.Priority = new(handler.LowPriority)
	}
	return result, nil
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
		found := findingOf(err)
		r.compare(to.endpoint, found)
		return reach{endpoint: to.endpoint, obstacle: found}
	}
	to.in = v1alpha1.ObservedIn{URL: to.client.URL(), TenantID: tenantID}
	return to
}

// isDown says whether the Reporter is known not to answer.
func (to reach) isDown() bool { return to.client != nil && to.client.IsDown() }

// room is for how many requests there is at the same time.
func (to reach) room() int { return max(1, int(to.endpoint.Spec.MaxInFlight)) }

// awaitAnswer has another pass made when a Reporter that does not answer does again. It says false where that is the case already.
func (r *connectionReconciler) awaitAnswer(rc *v1alpha1.ReporterConnection, to reach) bool {
	return !to.isDown() || r.lines.await(to.client.Identity(), to.room(), to.isDown, requestFor(rc), !rc.DeletionTimestamp.IsZero(), time.Now())
}

// inTurn asks Reporter when there is room for one more request, and says false where there is none now: then another pass is made when
// it is its turn. stood is how long it has waited for that.
func (r *connectionReconciler) inTurn(ctx context.Context, rc *v1alpha1.ReporterConnection, to reach, ask func()) (ok bool, stood time.Duration) {
	if to.client == nil {
		ask() // there is nobody to ask
		return true, 0
	}
	reporter := to.client.Identity()
	ok, stood = r.lines.enter(reporter, to.room(), requestFor(rc), !rc.DeletionTimestamp.IsZero(), time.Now())
	if ok {
		defer r.lines.leave(reporter)
		r.crew.leave()
		defer r.crew.join(ctx)
		ask()
	}
	return ok, stood
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
