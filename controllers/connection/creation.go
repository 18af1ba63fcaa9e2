// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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

// markedIn asks a Reporter for the connections of a mark that have a name, the eldest first.
func markedIn(ctx context.Context, c *reporter.Client, place v1alpha1.ObservedIn, mark decision.Mark, configName string, since time.Time) ([]*reporter.Connection, error) {
	found, err := c.List(ctx, reporter.Query{Tenant: tenantOf(place), MetadataKey: v1alpha1.OwnerMetadata, MetadataValue: mark.String(), ConfigName: configName, Since: since})
	slices.SortStableFunc(found, func(a, b *reporter.Connection) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return found, err
}

// search looks for what came of a request to create the connection.
func (k *keeper) search(ctx context.Context) (decision.CreationVerdict, error) {
	record := k.rc.Status.Creation
	verdict, found := k.searchFor(ctx, k.rc, k.mark, k.place, k.to, k.look.Waited)
	switch verdict.Step {
	case decision.CreationDone:
		k.rc.Status.Creation = nil
		observe(k.rc, found[0], k.place)
		k.sayDuplicate(found)
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
	record := rc.Status.Creation
	s := decision.Search{IsSamePlace: record.ObservedIn == place, URL: record.URL, Began: time.Now()}
	s.Due = r.creations.since(rc).Add(to.Endpoint.Spec.Timeout.Duration + decision.LateBy)
	var found []*reporter.Connection
	if s.IsSamePlace {
		var err error
		found, err = markedIn(ctx, to.Client, place, mark, rc.Spec.Connection.ConfigName, record.StartedAt.Add(-24*time.Hour))
		s.Outcome, s.Found = r.outcomeOf(to, err), len(found)
	}
	return decision.JudgeSearch(s, waited), found
}

// lookOwed looks once more for what may have come of a request that was given up as lost.
func (k *keeper) lookOwed(ctx context.Context) {
	owed := k.rc.Status.LooksOwed
	if owed == nil || owed.ObservedIn != k.place || time.Now().Before(owed.StartedAt.Time) {
		return
	}
	found, err := markedIn(ctx, k.to.Client, k.place, k.mark, k.rc.Spec.Connection.ConfigName, owed.StartedAt.Add(-48*time.Hour))
	if !k.outcomeOf(k.to, err).IsDone() {
		return
	}
	k.rc.Status.LooksOwed = nil
	slices.SortStableFunc(found, func(a, b *reporter.Connection) int {
		return cmp.Compare(toInt(a.ID != k.rc.ConnectionID()), toInt(b.ID != k.rc.ConnectionID()))
	})
	k.sayDuplicate(found)
}

func toInt(is bool) int {
	if is {
		return 1
	}
	return 0
}

// sayDuplicate says that Reporter has more than one connection that was created for the resource.
func (k *keeper) sayDuplicate(found []*reporter.Connection) {
	if len(found) < 2 {
		return
	}
	setCondition(k.rc, v1alpha1.ConditionDuplicateInReporter, metav1.ConditionTrue, decision.Block{Reason: v1alpha1.ReasonDuplicate,
		Message: fmt.Sprintf("Reporter has connection %s too, which was created for this resource as well. Delete it there", found[1].ID)})
	k.Events.Eventf(k.rc, nil, corev1.EventTypeWarning, v1alpha1.ReasonDuplicate, "Keep", "connection %s was created for this resource as well as %s", found[1].ID, found[0].ID)
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
	if block := k.refusals.find(k.rc, credentials); block != nil {
		return isNot(*block), nil
	}
	other, err := k.claimantOf(ctx, k.rc)
	if err != nil || other != "" {
		return isNot(decision.BlockFor(v1alpha1.ReasonDuplicate, fmt.Sprintf("ReporterConnection %q", other), 0)), err
	}
	// What was created under this mark before, and is not known of any more, is found again. It also proves that lists are answered here.
	found, err := markedIn(ctx, k.to.Client, k.place, k.mark, k.rc.Spec.Connection.ConfigName, time.Time{})
	if outcome := k.outcomeOf(k.to, err); !outcome.IsDone() {
		return k.judge(outcome), nil
	}
	if len(found) > 0 && found[0].ID != k.rc.Status.ConnectionID {
		observe(k.rc, found[0], k.place)
		k.sayDuplicate(found)
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
		return isKept(), k.recordCreated(ctx, created, credentials)
	case decision.CreationNameTaken:
		k.rc.Status.Creation = nil
		return k.namesake(ctx)
	case decision.CreationRefused:
		k.rc.Status.Creation = nil
		handle(k.rc)
		if outcome.Reason == v1alpha1.ReasonInvalidConnection {
			k.refusals.note(k.rc, credentials, verdict.Block)
		}
	default:
	}
	return isNot(verdict.Block), nil
}

// permitCreation is asked right before the request to create the connection is sent. It writes the record of it, unless the resource has
// changed: nothing else is created until it is known what came of this one.
func (k *keeper) permitCreation(ctx context.Context, tenant reporter.Tenant) error {
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
	k.creations.note(recorded)
	*k.base, *k.rc = *recorded, *recorded.DeepCopy()
	return nil
}

// recordCreated writes down what was created, in place of the record, past conflicts. Where the resource does not wait for it any more, it is
// left behind, and that is said.
func (k *keeper) recordCreated(ctx context.Context, created *reporter.Connection, credentials access.DatabaseCredentials) error {
	record := k.rc.Status.Creation
	for {
		k.rc.Status.ConnectionID, k.rc.Status.Creation = created.ID, nil
		k.rc.Status.Sent, k.rc.Status.TakenOverBy = sentFor(k.rc.Spec.Connection, credentials, created.UpdatedAt), ""
		observe(k.rc, created, k.place)
		handle(k.rc)
		setCondition(k.rc, v1alpha1.ConditionReady, metav1.ConditionTrue, decision.BlockFor(v1alpha1.ReasonAvailable, "", 0))
		setStalled(k.rc)
		err := k.Status().Patch(ctx, k.rc, client.MergeFromWithOptions(k.base, client.MergeFromWithOptimisticLock{}))
		if err == nil {
			k.announceCreated(ctx, created)
			*k.base = *k.rc.DeepCopy()
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
	log.FromContext(ctx).Info("Created connection in Reporter", "namespace", k.rc.Namespace, "name", k.rc.Name, "connectionID", created.ID)
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
	if own := slices.DeleteFunc(slices.Clone(found), func(c *reporter.Connection) bool { return c.Host == "" && c.Port == 0 }); len(own) > 0 {
		found = own
	} else {
		n.Policy = v1alpha1.AdoptionPolicyNever
	}
	n.Found, n.ID = true, found[0].ID
	if n.Owner, n.Sibling, err = k.ownerOf(ctx, k.rc, k.mark, found[0]); err != nil {
		return decision.LiveVerdict{}, err
	}
	var claims v1alpha1.ReporterConnectionList
	if err := k.List(ctx, &claims, client.MatchingFields{kube.ByConnectionID: n.ID}); err != nil {
		return decision.LiveVerdict{}, fmt.Errorf("listing the claims on a connection: %w", err)
	}
	n.Elsewhere = len(claims.Items) > 0
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

// creations are when this process learned of requests to create connections.
type creations struct {
	mu    sync.Mutex
	known map[types.UID]creationSeen
}

type creationSeen struct {
	startedAt, seen time.Time
}

func (c *creations) note(rc *v1alpha1.ReporterConnection) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[types.UID]creationSeen{}
	}
	known, found := c.known[rc.UID]
	if startedAt := rc.Status.Creation.StartedAt.Time; !found || !known.startedAt.Equal(startedAt) {
		known = creationSeen{startedAt: startedAt, seen: time.Now()}
		c.known[rc.UID] = known
	}
	return known.seen
}

// since is the later of when a request was made and when this process learned of it: clocks differ.
func (c *creations) since(rc *v1alpha1.ReporterConnection) time.Time {
	seen := c.note(rc)
	if started := rc.Status.Creation.StartedAt.Time; started.After(seen) {
		return started
	}
	return seen
}

// isYoung says whether this process has asked for the connection so recently that a Reporter may not show it yet.
func (c *creations) isYoung(resource types.UID, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, found := c.known[resource]
	return found && now.Sub(known.seen) < decision.LateBy
}

func (c *creations) forget(resource types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, resource)
}
