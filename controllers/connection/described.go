// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/access"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
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
