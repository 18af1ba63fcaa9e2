// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

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

// markFor is the mark of a resource.
func (r *Reconciler) markFor(ctx context.Context, rc *v1alpha1.ReporterConnection) (decision.Mark, error) {
	namespace, err := r.Access.Namespace(ctx, rc.Namespace)
	if err != nil {
		return decision.Mark{}, err
	}
	return decision.Mark{Namespace: namespace.UID, Name: rc.Name, Since: namespace.CreationTimestamp.Time}, nil
}

// holdingOf gathers what the decision about a connection looks at.
func (r *Reconciler) holdingOf(ctx context.Context, rc *v1alpha1.ReporterConnection, mark decision.Mark, place v1alpha1.ObservedIn,
	shown *reporter.Connection, outcome decision.Outcome) (decision.Holding, error) {
	seen := rc.Status.ObservedIn
	h := decision.Holding{Outcome: outcome, Named: rc.Spec.ConnectionID != "", Taken: rc.IsTaken(), TakenOver: rc.Status.TakenOverBy != "",
		TakeBack: isAskedFor(rc, v1alpha1.TakeBackAnnotation), Seen: seen != nil, SeenHere: seen != nil && *seen == place, IsYoung: r.isYoung(rc)}
	if !outcome.IsDone() {
		return h, nil
	}
	owner, sibling, err := r.ownerOf(ctx, rc, mark, shown)
	h.Owner, h.Unfit = owner, unfit(rc.Spec.Connection, shown)
	if err != nil {
		return h, err
	}
	if sibling != nil {
		h.Sibling, h.SiblingLost = sibling.Name, sibling.ConnectionID() != shown.ID && sibling.Status.Creation == nil
		return h, nil
	}
	h.Sibling, err = r.siblingWith(ctx, rc, shown.ID)
	return h, err
}

// isYoung says whether the connection was created so recently that a Reporter may not show it yet: as far as this process knows, or by Reporter's
// clock, which may be ahead.
func (r *Reconciler) isYoung(rc *v1alpha1.ReporterConnection) bool {
	known, now := r.memoryOf(rc), time.Now()
	if known.isYoung(now) {
		return true
	}
	shown := rc.Status.Connection
	return shown != nil && shown.CreatedAt != nil && now.Sub(shown.CreatedAt.Time).Abs() < decision.LateBy
}

// ownerOf says whose a connection is by its mark, and returns the resource of the same namespace whose it is, if it is another.
func (r *Reconciler) ownerOf(ctx context.Context, rc *v1alpha1.ReporterConnection, mark decision.Mark, shown *reporter.Connection) (decision.Owner, *v1alpha1.ReporterConnection, error) {
	text := markOf(shown)
	var known *v1alpha1.ReporterConnection
	if text != nil {
		if of := decision.ParseMark(*text); of.Namespace == mark.Namespace && of.Name != mark.Name {
			var sibling v1alpha1.ReporterConnection
			err := r.Live.Get(ctx, client.ObjectKey{Namespace: rc.Namespace, Name: of.Name}, &sibling)
			if client.IgnoreNotFound(err) != nil {
				return decision.OwnedByAnother, nil, fmt.Errorf("reading whose a connection is: %w", err)
			}
			if err == nil {
				known = &sibling
			}
		}
	}
	return decision.JudgeMark(text, mark, known != nil), known, nil
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
