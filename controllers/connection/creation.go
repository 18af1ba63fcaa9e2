// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/access"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// tenantOf is the tenant that a place is of.
func tenantOf(place v1alpha1.ObservedIn) reporter.Tenant {
	return reporter.Tenant{ID: place.TenantID, Readable: place.Credentials == ""}
}

// clockSkew is how far Reporter's clock may be behind.
const clockSkew = 24 * time.Hour

// marked asks a Reporter for the connections that have the mark of a resource and the name that it describes, the eldest first. What has the mark
// and another name was left behind by an earlier resource, and is nobody's. Without a time to look from, it looks from when the mark may be.
func (r *Reconciler) marked(ctx context.Context, rc *v1alpha1.ReporterConnection, c *reporter.Client, place v1alpha1.ObservedIn, mark decision.Mark,
	since time.Time) ([]*reporter.Connection, error) {
	if since.IsZero() {
		since = mark.Since.Add(-clockSkew)
	}
	found, err := c.List(ctx, reporter.Query{Tenant: tenantOf(place), MetadataKey: v1alpha1.OwnerMetadata, MetadataValue: mark.String(), Since: since})
	isNobodys := func(c *reporter.Connection) bool { return c.ConfigName != rc.Spec.Connection.ConfigName }
	if i := slices.IndexFunc(found, isNobodys); i >= 0 {
		r.tellOfNobodys(rc, found[i])
	}
	found = slices.DeleteFunc(found, isNobodys)
	slices.SortStableFunc(found, func(a, b *reporter.Connection) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return found, err
}

// tellOfNobodys announces once a connection that has the mark of a resource which describes another name.
func (r *Reconciler) tellOfNobodys(rc *v1alpha1.ReporterConnection, left *reporter.Connection) {
	isNew := false
	r.memories.update(rc, func(known *memory) { isNew, known.nobodys = known.nobodys != left.ID, left.ID })
	if isNew {
		r.Events.Eventf(rc, nil, corev1.EventTypeWarning, eventLost, "Keep", "connection %s, %q, was left behind by an earlier resource of this name: it is not touched. "+
			"Delete it in Reporter, if nobody needs it", left.ID, left.ConfigName)
	}
}

// search looks for what came of a request to create the connection.
func (k *keeper) search(ctx context.Context) (decision.CreationVerdict, error) {
	record := k.rc.Status.Creation
	verdict, found := k.searchFor(ctx, k.rc, k.mark, k.place, k.to, k.look.Waited)
	switch verdict.Step {
	case decision.CreationDone:
		k.rc.Status.Creation = nil
		observe(k.rc, found[0], k.place)
		k.sayTwins(found)
		if err := k.patch(ctx); err != nil { // another pass may have found it before
			return verdict, err
		}
		k.announceCreated(ctx, found[0])
	case decision.CreationLost:
		k.rc.Status.Creation = nil
		k.rc.Status.LooksOwed = &v1alpha1.CreationRecord{ObservedIn: record.ObservedIn, StartedAt: new(metav1.NewMicroTime(time.Now().Add(decision.OwedAfter)))}
	default:
	}
	return verdict, nil
}

// searchFor looks for what came of the request that a resource has a record of.
func (r *Reconciler) searchFor(ctx context.Context, rc *v1alpha1.ReporterConnection, mark decision.Mark, place v1alpha1.ObservedIn, to access.Target,
	waited time.Duration) (decision.CreationVerdict, []*reporter.Connection) {
	record, known := rc.Status.Creation, r.noteRequest(rc)
	s := decision.Search{IsSamePlace: record.ObservedIn == place, URL: record.URL, Began: time.Now()}
	s.Due = known.since().Add(to.Endpoint.Spec.Timeout.Duration + decision.LateBy)
	var found []*reporter.Connection
	if s.IsSamePlace {
		var err error
		found, err = r.marked(ctx, rc, to.Client, place, mark, record.StartedAt.Add(-clockSkew))
		s.Outcome, s.Found = r.outcomeOf(to, err), len(found)
	}
	return decision.JudgeSearch(s, waited), found
}

// create has the connection created, unless another resource describes the same one or Reporter has it already.
func (k *keeper) create(ctx context.Context) (decision.LiveVerdict, error) {
	if block, forbidden := decision.JudgeManagement(k.rc, k.to.Endpoint); forbidden {
		return isNot(block), nil
	}
	credentials, verdict, err := k.credentials(ctx)
	if err != nil || verdict != nil {
		return orZero(verdict), err
	}
	if known := k.memoryOf(k.rc); known.refused.key == refusalKey(k.rc, credentials) {
		return isNot(known.refused.block), nil
	}
	other, err := k.claimantOf(ctx, k.rc)
	if err != nil || other != "" {
		return isNot(decision.DuplicateOf(other)), err
	}
	// What was created under this mark before, and is not known of any more, is found again. It also proves that lists are answered here.
	found, err := k.marked(ctx, k.rc, k.to.Client, k.place, k.mark, time.Time{})
	if outcome := k.outcomeOf(k.to, err); !outcome.IsDone() {
		return k.judge(outcome), nil
	}
	if len(found) > 0 && found[0].ID != k.rc.Status.ConnectionID {
		observe(k.rc, found[0], k.place)
		k.sayTwins(found)
		return k.hold(ctx, found[0], decision.Outcome{Reason: v1alpha1.ReasonAvailable})
	}
	settings := settingsFor(k.rc.Spec.Connection, credentials, k.mark)
	created, err := k.to.Client.Create(ctx, k.rc.Spec.Connection.ProductName, settings, k.permitCreation)
	var answer *reporter.Error
	if err != nil && !errors.As(err, &answer) {
		return decision.LiveVerdict{}, err
	}
	return k.created(ctx, created, credentials, err)
}

// created acts on the answer to the request to create the connection.
func (k *keeper) created(ctx context.Context, created *reporter.Connection, credentials access.DatabaseCredentials, err error) (decision.LiveVerdict, error) {
	outcome := k.outcomeOf(k.to, err)
	k.tokenRefused = reporter.IsTokenRefused(err)
	verdict := decision.JudgeCreation(outcome, reporter.MayHaveActed(err), k.look.Waited)
	if verdict.Step != decision.CreationUnknown && k.rc.Status.Creation == nil {
		return k.judge(outcome), nil // it was not permitted, or did not come to that
	}
	switch verdict.Step {
	case decision.CreationDone:
		err := k.recordCreated(ctx, created, credentials)
		return k.kept(), err
	case decision.CreationNameTaken:
		k.rc.Status.Creation = nil
		return k.namesake(ctx)
	case decision.CreationRefused:
		k.rc.Status.Creation = nil
		if outcome.Reason == v1alpha1.ReasonInvalidConnection {
			k.noteRefusal(credentials, verdict.Block)
		}
	default:
	}
	return isNot(verdict.Block), nil
}

// permitCreation is asked right before the request to create the connection is sent. It writes the record of it, unless the resource has
// changed: nothing else is created until it is known what came of this one.
func (k *keeper) permitCreation(ctx context.Context, tenant reporter.Tenant) error {
	permitted := time.Now()
	if err := k.permit(ctx, tenant); err != nil {
		return err
	}
	recorded := k.base.DeepCopy()
	recorded.Status.Creation = &v1alpha1.CreationRecord{ObservedIn: k.place, StartedAt: new(metav1.NowMicro())}
	recorded.Status.ConnectionID, recorded.Status.ObservedIn, recorded.Status.Connection, recorded.Status.Sent = "", nil, nil, ""
	status := metav1.ConditionUnknown
	if ready := apimeta.FindStatusCondition(recorded.Status.Conditions, v1alpha1.ConditionReady); ready != nil && ready.Status == metav1.ConditionFalse {
		status = ready.Status // a refusal that is repeated is waited for longer each time
	}
	setCondition(recorded, v1alpha1.ConditionReady, status, decision.BlockFor(v1alpha1.ReasonCreating, "has not answered yet", 0))
	recorded.Status.ObservedGeneration = recorded.Generation
	if err := k.Status().Patch(ctx, recorded, client.MergeFromWithOptions(k.base, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("writing down that a connection is about to be created: %w", err)
	}
	k.noteRequest(recorded)
	*k.base, *k.rc = *recorded, *recorded.DeepCopy()
	if time.Since(permitted) < permitLasts {
		return nil
	}
	if err := k.permit(ctx, tenant); err != nil { // the API server took its time, so it may not be so any more
		k.rc.Status.Creation = nil
		return errors.Join(err, k.patch(ctx))
	}
	return nil
}

// permitLasts is how long what was read may be believed while a record is written.
const permitLasts = time.Second

// recordCreated writes down what was created, in place of the record, past conflicts. Where the resource does not wait for it any more, it is
// left behind, and that is said.
func (k *keeper) recordCreated(ctx context.Context, created *reporter.Connection, credentials access.DatabaseCredentials) error {
	record := k.rc.Status.Creation
	for {
		k.rc.Status.ConnectionID, k.rc.Status.Creation = created.ID, nil
		k.rc.Status.Sent, k.rc.Status.TakenOverBy = sentFor(k.rc.Spec.Connection, credentials, created.UpdatedAt), ""
		observe(k.rc, created, k.place)
		handle(k.rc, v1alpha1.RequestedAtAnnotation)
		k.noteSent(credentials)
		setCondition(k.rc, v1alpha1.ConditionReady, metav1.ConditionTrue, decision.BlockFor(v1alpha1.ReasonAvailable, "", 0))
		setStalled(k.rc)
		err := k.patch(ctx)
		if err == nil {
			k.announceCreated(ctx, created)
			return nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return err // the record stands, and it is looked for
		}
		live, err := k.readLive(ctx, client.ObjectKeyFromObject(k.rc), k.rc.UID)
		if err != nil {
			return err
		}
		if live == nil || live.Status.Creation == nil || !live.Status.Creation.StartedAt.Equal(record.StartedAt) || live.ConnectionID() != "" {
			k.leftBehind(ctx, created)
			return nil
		}
		*k.base, *k.rc = *live.DeepCopy(), *live
	}
}

func (k *keeper) announceCreated(ctx context.Context, created *reporter.Connection) {
	connectionsCreated.Inc()
	reason := eventCreated
	if k.anew {
		reason = eventRecreated
	}
	k.Events.Eventf(k.rc, nil, corev1.EventTypeNormal, reason, "Keep", "connection %s is created in Reporter", created.ID)
	log.FromContext(ctx).Info("Created connection in Reporter", "connectionID", created.ID)
}

// leftBehind says that a connection was created which no resource has.
func (k *keeper) leftBehind(ctx context.Context, created *reporter.Connection) {
	connectionsLeftBehind.WithLabelValues(eventLost).Inc()
	log.FromContext(ctx).Info("Created a connection that the resource does not wait for any more", "connectionID", created.ID)
	k.Events.Eventf(k.rc, nil, corev1.EventTypeWarning, eventLost, "Keep",
		"connection %s was created in Reporter, and the resource does not wait for it any more: delete it there", created.ID)
}

// namesake decides about the connection that has the described name already.
func (k *keeper) namesake(ctx context.Context) (decision.LiveVerdict, error) {
	name := k.rc.Spec.Connection.ConfigName
	found, err := k.to.Client.List(ctx, reporter.Query{Tenant: tenantOf(k.place), ConfigName: name})
	if outcome := k.outcomeOf(k.to, err); !outcome.IsDone() {
		return k.judge(outcome), nil
	}
	n := decision.Namesake{Name: name, Policy: k.rc.Spec.AdoptionPolicy}
	if len(found) == 0 {
		return isNot(decision.JudgeNamesake(n).Block), nil
	}
	// One that is configured on the server has no address, and is none that anybody can take over.
	own := slices.DeleteFunc(slices.Clone(found), func(c *reporter.Connection) bool { return c.Host == "" && c.Port == 0 })
	if n.IsConfigured = len(own) == 0; !n.IsConfigured {
		found = own
	}
	n.Found, n.ID = true, found[0].ID
	owner, sibling, err := k.ownerOf(ctx, k.rc, k.mark, found[0])
	if err != nil {
		return decision.LiveVerdict{}, err
	}
	if n.Owner = owner; sibling != nil {
		n.Sibling = sibling.Name
	}
	var claims v1alpha1.ReporterConnectionList
	if err := k.List(ctx, &claims, client.MatchingFields{kube.ByConnectionID: n.ID}); err != nil {
		return decision.LiveVerdict{}, fmt.Errorf("listing the claims on a connection: %w", err)
	}
	if len(claims.Items) > 0 {
		n.Elsewhere = nameFor(k.rc, &claims.Items[0])
	}
	verdict := decision.JudgeNamesake(n)
	if why := unfit(k.rc.Spec.Connection, found[0]); verdict.Step == decision.HoldingTakenOver && why != "" {
		return isNot(decision.BlockFor(v1alpha1.ReasonInvalidConnection, why, 0)), nil
	}
	if verdict.Step != decision.HoldingTakenOver {
		return isNot(verdict.Block), nil
	}
	return k.change(ctx, found[0], decision.Holding{Owner: n.Owner}, true)
}

// claimantOf names the resource of the same namespace that describes the same connection and has the claim on it, if it is another: the one
// that has its id, or has asked for it, be it deleted; else the eldest.
func (r *Reconciler) claimantOf(ctx context.Context, rc *v1alpha1.ReporterConnection) (string, error) {
	var all v1alpha1.ReporterConnectionList
	if err := r.List(ctx, &all, client.InNamespace(rc.Namespace), client.MatchingFields{kube.ByDescription: kube.DescriptionKey(rc)}); err != nil {
		return "", fmt.Errorf("listing who describes a connection: %w", err)
	}
	claimant := rc
	has := func(rc *v1alpha1.ReporterConnection) bool {
		return rc.ConnectionID() != "" || rc.Status.Creation != nil
	}
	for i := range all.Items {
		other := &all.Items[i]
		switch {
		case other.UID == rc.UID:
		case has(other) && (!has(claimant) || isOlder(other, claimant)):
			claimant = other
		case !has(claimant) && other.DeletionTimestamp.IsZero() && isOlder(other, claimant):
			claimant = other
		}
	}
	if claimant == rc {
		return "", nil
	}
	return claimant.Name, nil
}
