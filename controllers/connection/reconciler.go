// SPDX-License-Identifier: Apache-2.0

// Package connection reconciles ReporterConnections with the connections that they claim in Reporter.
package connection

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/access"
	"github.com/reporter-operator/reporter-operator/controllers/admission"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// What the operator may do, and what for. Whatever it reads from its cache it has to list and watch; get is for the reads that
// must not be stale, where a finalizer is about to go.
//
// Claims are held by a finalizer, which config/admission has the patch change alone, and say in their status what they wait for:
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
// Events say what a resource that has gone no longer can. Each is sent once, so that none is ever patched into a series:
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create

const (
	// lookupInterval is the least time between two routine look-ups of connections in the same Reporter. It is more than a second, as a
	// pass may be late and the next one in time, and there is to be no more than one a second.
	lookupInterval = 1100 * time.Millisecond
	// attemptInterval is the least time between two attempts at the same Reporter that somebody has asked for: they go before all others,
	// and past what the Reporter has asked for.
	attemptInterval = time.Second
	// sharedWriteInterval is the least time between two writes that say of resources of the same endpoint what holds for all of them.
	sharedWriteInterval = 20 * time.Millisecond
)

// Reconciler keeps a ReporterConnection and the connection it claims in step.
type Reconciler struct {
	client.Client
	// Live reads from the API server what must not come from a cache.
	Live   client.Reader
	Access *access.Accessor
	Events events.EventRecorder
	// CheckInterval is how often a live connection is looked up again.
	CheckInterval time.Duration
	// RequestCheck has the Reporter of an endpoint checked that behaves otherwise than the endpoint's status says.
	RequestCheck func(*v1alpha1.ReporterEndpoint)
	// Abort ends the process: the API server has gone back in time, so that nothing in the caches may be believed.
	Abort func(reason error)
	// ServerTime is the time by the clock of the API server.
	ServerTime func() time.Time
	// Random returns a number from 0 up to 1.
	Random func() float64
	// GoOn, if it is not nil, is called by each of those who have shared a read, before they go on.
	GoOn func(context.Context)

	requests     *admission.Queues[reporter.Identity, reconcile.Request]
	tests        *admission.Queues[reporter.Identity, reconcile.Request]
	lookups      *admission.Pacer[lookupLane, reconcile.Request]
	attempts     *admission.Pacer[reporter.Identity, reconcile.Request]
	sharedWrites *admission.Pacer[client.ObjectKey, reconcile.Request]
	waits        []wait // all of these
	records      notes[record]
	memories     notes[memory]
	snapshots    kube.SharedReads[*snapshot]
	// urgent are the resources for which somebody has asked for an attempt now, with whether its turn has come.
	urgent sync.Map
}

// wait is where a resource waits for something until another pass is dispatched for it, and the priority of that.
type wait struct {
	priority int
	queue    interface {
		OnDispatch(dispatch admission.Dispatch[reconcile.Request])
		Begin(request reconcile.Request) (end func())
		Forget(request reconcile.Request)
	}
}

// Init makes a Reconciler ready for use.
func (r *Reconciler) Init() *Reconciler {
	r.requests = admission.NewQueues[reporter.Identity, reconcile.Request]()
	r.tests = admission.NewQueues[reporter.Identity, reconcile.Request]()
	r.lookups = admission.NewPacer[lookupLane, reconcile.Request](lookupInterval)
	r.snapshots.GoOn = r.GoOn
	if r.ServerTime == nil {
		r.ServerTime = time.Now
	}
	r.attempts = admission.NewPacer[reporter.Identity, reconcile.Request](attemptInterval)
	r.sharedWrites = admission.NewPacer[client.ObjectKey, reconcile.Request](sharedWriteInterval)
	r.waits = []wait{{kube.PriorityRoutine, r.sharedWrites}, {kube.PriorityRoutine, r.lookups}, {kube.PriorityGranted, r.attempts},
		{kube.PriorityRoutine, r.tests}, {kube.PriorityGranted, r.requests}}
	return r
}

// OnQueue gives the reconciler the queue of its controller before it is used: what waited for Reporter is dispatched into it.
func (r *Reconciler) OnQueue(q kube.Queue) {
	for _, wait := range r.waits {
		wait.queue.OnDispatch(func(request reconcile.Request, after time.Duration) { kube.Enqueue(q, request, wait.priority, after) })
	}
}

// Recovered lets requests through again to a Reporter that answers again.
func (r *Reconciler) Recovered(identity reporter.Identity) { r.requests.Unblock(identity) }

// Tried has one of those tried that wait for a Reporter to answer again, and says whether there is one.
func (r *Reconciler) Tried(identity reporter.Identity) bool { return r.requests.Try(identity) }

// begin begins a pass over a resource wherever it may have waited, and returns what ends it there.
func (r *Reconciler) begin(request reconcile.Request) (end func()) {
	var ends []func()
	for _, wait := range r.waits {
		ends = append(ends, wait.queue.Begin(request))
	}
	return func() {
		for _, end := range ends {
			end()
		}
	}
}

// Reconcile makes one pass over one resource.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	defer r.begin(req)()
	if ctx.Err() != nil {
		return ctrl.Result{}, nil // the process ends: nothing is begun
	}
	// Once a request is sent, its answer is read and acted upon, even while the process is told to end. The manager waits for longer than
	// a pass takes.
	ctx, cancel := kube.WithoutCancel(ctx)
	defer cancel()
	if r.requests.IsOnTrial(req) {
		ctx = reporter.OnTrial(ctx)
	}

	var rc v1alpha1.ReporterConnection
	if err := r.Get(ctx, req.NamespacedName, &rc); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(req)
			r.records.forgetGone(req.NamespacedName, hasTrail)
			r.memories.forgetGone(req.NamespacedName, func(memory) bool { return false }) // nothing of them outlives the resource
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if rc.Describes() {
		r.memories.begin(&rc, memory{})
	}
	reconcile, deleting := r.reconcileLive, !rc.DeletionTimestamp.IsZero()
	if deleting {
		reconcile = r.reconcileDeletion
	}
	result, err := reconcile(ctx, &rc)
	result.Priority = new(kube.PriorityOf(deleting))
	return result, err
}

// admit asks for a slot to send requests to a target, with the returned context. Without one there is the reason for which nothing is sent,
// or for how long the resource has waited. Where somebody has asked for an attempt that would have to wait, it goes before all others as soon
// as its turn comes.
func (r *Reconciler) admit(ctx context.Context, rc *v1alpha1.ReporterConnection, to access.Target) (in context.Context, release func(), waited time.Duration, held error) {
	request := kube.RequestFor(rc)
	isTurn, asked := r.urgent.LoadAndDelete(request)
	if !asked || !isTurn.(bool) {
		if held = reasonToWait(ctx, to); held == nil {
			release, waited = r.requestSlot(ctx, rc, to)
		}
		if !asked || release != nil {
			return ctx, release, waited, held
		}
		if !r.attempts.Take(to.Client.Identity(), request) {
			r.urgent.LoadOrStore(request, false)
			return ctx, nil, waited, held
		}
	}
	ctx = reporter.WithUrgency(ctx)
	release, waited = r.requestSlot(ctx, rc, to)
	return ctx, release, waited, nil
}

// requestSlot asks for a slot to send requests to a target. Without one it returns nil, and for how long the resource has waited: another
// pass is dispatched when it is granted. An attempt that somebody has asked for is the next one.
func (r *Reconciler) requestSlot(ctx context.Context, rc *v1alpha1.ReporterConnection, to access.Target) (release func(), waited time.Duration) {
	w := waiterFor(rc, to)
	if reporter.IsUrgent(ctx) {
		w.Preferred, w.AtOnce = true, true
	}
	release, waited = r.requests.Acquire(w)
	if release == nil && w.AtOnce {
		r.urgent.Store(w.Request, true) // for the pass that is dispatched
	}
	return release, waited
}

// reasonToWait is why nothing is sent to a target whose Reporter does not answer, unless it is to be tried whether it does, or has asked to be
// left alone.
func reasonToWait(ctx context.Context, to access.Target) error {
	if !reporter.PassesOutage(ctx) {
		if err := to.Client.Outage(); err != nil {
			return err
		}
	}
	return to.Client.Pause()
}

// waitForReporter has another pass dispatched when Reporter can be asked again, if it cannot be now: it does not answer, or nothing was
// sent as it has asked for that. It returns when to try again otherwise, and false if it can be asked again already.
func (r *Reconciler) waitForReporter(rc *v1alpha1.ReporterConnection, to access.Target, block decision.Block) (time.Duration, bool) {
	blockage := admission.Blockage{For: block.RetryIn}
	switch {
	case to.Client == nil:
		return block.RetryIn, true
	case block.Paced:
	case to.Client.Outage() == nil:
		return block.RetryIn, true
	default:
		blockage = admission.Blockage{IsDown: func() bool { return to.Client.Outage() != nil }}
	}
	if !r.requests.Block(waiterFor(rc, to), blockage) {
		return 0, false
	}
	to.Client.OfferTrial()
	r.lookups.Exempt(kube.RequestFor(rc)) // it waits in one queue, and not in the other after that
	return decision.MaxDelay, true
}

func waiterFor(rc *v1alpha1.ReporterConnection, to access.Target) admission.Waiter[reporter.Identity, reconcile.Request] {
	return admission.Waiter[reporter.Identity, reconcile.Request]{Request: kube.RequestFor(rc), Server: to.Client.Identity(),
		Limit: max(1, int(to.Endpoint.Spec.MaxInFlight)), Preferred: !rc.DeletionTimestamp.IsZero(), Now: time.Now()}
}

// logIn makes sure that there is a token, and returns the place that the target's client speaks to. Where the outcome is not done, there
// is none.
func (r *Reconciler) logIn(ctx context.Context, to access.Target) (v1alpha1.ObservedIn, decision.Outcome) {
	place, err := to.LogIn(ctx)
	if err != nil {
		return v1alpha1.ObservedIn{}, r.outcomeOf(to, err)
	}
	return place, access.OutcomeOf(nil)
}

// outcomeOf is what a request amounts to. It has the endpoint checked where that is not what the endpoint's status says, or nothing was
// sent because of what was found before: somebody may have asked for an attempt.
func (r *Reconciler) outcomeOf(to access.Target, err error) decision.Outcome {
	outcome := access.OutcomeOf(err)
	if outcome.Reason == v1alpha1.ReasonRateLimited || outcome.Paced {
		return outcome // it says nothing about the rest, or nothing new
	}
	if outcome.HeldBack || outcome.IsTroubled() == isReady(to.Endpoint) {
		r.RequestCheck(to.Endpoint)
	}
	return outcome
}

func (r *Reconciler) jitter(delay time.Duration) time.Duration {
	return decision.Jitter(delay, r.Random())
}
