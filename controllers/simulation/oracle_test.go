// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// progressBound is how long anything may take to go once all is put right: the slowest that the operator comes back, a tenth more,
// for the connection; the same for a job or a claim that it learned of last; and what endpoint and Secret take after that.
const progressBound = 30 * time.Minute

// overlooked is how long before a DELETE something may have come that it overlooks: deletions that ask within that time share the answer.
const overlooked = time.Second

// patience is how long in all a deletion waits for claims elsewhere that have not been looked up.
const patience = 10 * time.Minute

// window is the time that a pass may have read in what it acts on: from a second before it last heard of Reporter or, if that was later, from
// when the deletion was requested, until now.
type window struct {
	h         *history
	from      time.Time
	requested version
}

func (h *history) windowOf(p *pass, rc *v1alpha1.ReporterConnection) window {
	return window{h, p.heard.Add(-overlooked), h.requested(rc)}
}

// states lists what there was under a name at any moment of the window, nil for nothing.
func (w window) states(kind string, key client.ObjectKey) []client.Object {
	since, during := w.h.api.sinceTime(kind, key, w.requested.since), w.h.api.during(kind, key, w.from)
	if len(during) < len(since) {
		return during
	}
	return since
}

// throughout says whether something was so at every moment of the window.
func (w window) throughout(kind string, key client.ObjectKey, is func(client.Object) bool) bool {
	return !slices.ContainsFunc(w.states(kind, key), func(object client.Object) bool { return !is(object) })
}

// judgeSend checks Safety 2, when a DELETE is sent: what it rests on was so according to the API server at some moment of the window, and
// no claim that counts has been there all through it.
func (h *history) judgeSend(c *call) {
	h.count("DELETE sent")
	rc := c.pass.rc
	if rc == nil || idOf(rc) != c.id || rc.DeletionTimestamp.IsZero() {
		h.fail("Safety 2: %s deletes %s, for which it has no deleted resource", c.pass, c.id)
		return
	}
	h.sentFor[heldBy{c.i, rc.UID}] = true
	w := h.windowOf(c.pass, rc)
	why := ""
	if !slices.ContainsFunc(w.states(connectionKind, client.ObjectKeyFromObject(rc)), func(object client.Object) bool {
		why = w.refusal(c, rc, object)
		return why == ""
	}) {
		h.fail("Safety 2: %s deletes %s at %s, and %s", c.pass, c.id, c.to.base, why)
		return
	}
	switch seen := h.sightingsOf(rc); {
	case rc.Status.ObservedIn != nil && !slices.ContainsFunc(seen, func(s sighting) bool { return s.place == c.to }):
		h.fail("Safety 2: %s deletes %s at %v, which never showed it the connection, and another place did", c.pass, c.id, c.to)
	case len(seen) == 0 && !c.pass.looked:
		h.fail("Safety 2: %s deletes %s, which was never looked up", c.pass, c.id)
	}
	for _, object := range h.api.list(connectionKind) {
		claim := object.(*v1alpha1.ReporterConnection)
		key := client.ObjectKeyFromObject(claim)
		if claim.UID == rc.UID || !w.throughout(connectionKind, key, func(o client.Object) bool { return isClaim(o, claim.UID, c.id) }) {
			continue
		}
		if claim.Namespace == rc.Namespace {
			h.fail("Safety 2: %s deletes %s, which %s claims as well", c.pass, c.id, claim.Name)
		} else if w.leads(claim, c.to.base) && (w.wasShown(claim, c.to) || w.isUnverified(claim, c)) {
			h.fail("Safety 2: %s deletes %s, which %s claims as well", c.pass, c.id, key)
		}
	}
}

// isClaim says whether an object is a live claim on a connection.
func isClaim(object client.Object, uid types.UID, id string) bool {
	claim, is := object.(*v1alpha1.ReporterConnection)
	return is && claim.UID == uid && id != "" && idOf(claim) == id && claim.DeletionTimestamp.IsZero()
}

// refusal is why a DELETE may not be sent for a resource as it was at a moment; empty if it may be.
func (w window) refusal(c *call, rc *v1alpha1.ReporterConnection, object client.Object) string {
	was, is := object.(*v1alpha1.ReporterConnection)
	switch {
	case !is || was.UID != rc.UID:
		return "its resource is gone"
	case was.DeletionTimestamp.IsZero():
		return "its resource is not deleted"
	case !controllerutil.ContainsFinalizer(was, v1alpha1.ConnectionFinalizer):
		return "its resource was released"
	case was.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain:
		return "its resource is to retain it"
	case was.Spec.DeletionProtection:
		return "its resource is protected"
	}
	why := ""
	for _, object := range w.states(endpointKind, was.EndpointKey()) {
		if why = w.refusalOfEndpoint(c, was, object); why == "" {
			return ""
		}
	}
	return why
}

func (w window) refusalOfEndpoint(c *call, rc *v1alpha1.ReporterConnection, object client.Object) string {
	endpoint, is := object.(*v1alpha1.ReporterEndpoint)
	if !is {
		return "its endpoint is not there"
	}
	delay := time.Duration(0)
	if endpoint.Spec.DeletionDelay != nil {
		delay = endpoint.Spec.DeletionDelay.Duration
	}
	switch {
	case endpoint.Spec.Suspend:
		return "its endpoint is suspended"
	case endpoint.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain:
		return "its endpoint retains it"
	case c.at.Before(rc.DeletionTimestamp.Add(delay)):
		return "its endpoint delays it"
	case canonical(endpoint.Spec.URL) != c.to.base:
		return "its endpoint leads elsewhere"
	case !slices.ContainsFunc(w.states(namespaceKind, client.ObjectKey{Name: rc.Namespace}), func(o client.Object) bool { return allows(endpoint, rc.Namespace, o) }):
		return "its endpoint does not allow the namespace"
	}
	for _, name := range secretsOf(endpoint) {
		if !slices.ContainsFunc(w.states(secretKind, client.ObjectKey{Namespace: endpoint.Namespace, Name: name}), isMarked) {
			return "its endpoint's Secret is not marked"
		}
	}
	return ""
}

// canonical is a base URL in its one form, as far as the simulation has others.
func canonical(url v1alpha1.BaseURL) string { return strings.TrimSuffix(string(url), "/") }

// secretsOf names the Secrets that an endpoint's credentials are in.
func secretsOf(endpoint *v1alpha1.ReporterEndpoint) []string {
	switch auth := endpoint.Spec.Auth; {
	case auth == nil:
		return nil
	case auth.BearerToken != nil:
		return []string{auth.BearerToken.SecretRef.Name}
	default:
		return []string{auth.AccessManager.SecretRef.Name}
	}
}

// leads says whether the endpoint of a claim has let it in and led to a place all through the window.
func (w window) leads(claim *v1alpha1.ReporterConnection, base string) bool {
	return w.throughout(connectionKind, client.ObjectKeyFromObject(claim), func(o client.Object) bool {
		return o.(*v1alpha1.ReporterConnection).EndpointKey() == claim.EndpointKey()
	}) && w.throughout(endpointKind, claim.EndpointKey(), func(o client.Object) bool {
		endpoint, is := o.(*v1alpha1.ReporterEndpoint)
		return is && canonical(endpoint.Spec.URL) == base && w.throughout(namespaceKind, client.ObjectKey{Name: claim.Namespace}, func(o client.Object) bool {
			return allows(endpoint, claim.Namespace, o)
		})
	})
}

// wasShown says whether a claim's status has told all through the window that it was shown the connection at a place, and all that it was
// shown there is of one tenant: that one.
func (w window) wasShown(claim *v1alpha1.ReporterConnection, to place) bool {
	there := w.h.seenAt(claim.UID, to.base)
	return len(there) > 0 && !slices.ContainsFunc(there, func(s sighting) bool { return s.place != to }) &&
		w.throughout(connectionKind, client.ObjectKeyFromObject(claim), func(o client.Object) bool {
			in := o.(*v1alpha1.ReporterConnection).Status.ObservedIn
			return in != nil && in.URL == to.base
		})
}

// isUnverified says whether a claim holds a deletion as it was made before that, and no Reporter or Access Manager has answered to its look-up
// since. It does so for ten minutes in all.
func (w window) isUnverified(claim *v1alpha1.ReporterConnection, c *call) bool {
	h := w.h
	if h.created(claim).since.After(h.deletedSince(c.pass.rc)) || h.refused[claim.UID][c.to.base] || len(h.seenAt(claim.UID, c.to.base)) > 0 || h.hasRefusedLogin(claim) {
		return false
	}
	began, held := h.heldSince[heldBy{c.i, c.pass.rc.UID}]
	if !held && saysUnverified(c.pass.rc) {
		began, held = c.i.began, true // the process before it has said so, and it counts anew
	}
	return !held || c.at.Sub(began) < patience
}

func saysUnverified(rc *v1alpha1.ReporterConnection) bool {
	return slices.ContainsFunc(rc.Status.Conditions, func(c metav1.Condition) bool { return c.Reason == "ClaimUnverified" })
}

// hasRefusedLogin says whether an Access Manager has refused any credentials that a claim's endpoint has had.
func (h *history) hasRefusedLogin(claim *v1alpha1.ReporterConnection) bool {
	for _, v := range h.api.versions[endpointKind][claim.EndpointKey()] {
		endpoint, is := v.object.(*v1alpha1.ReporterEndpoint)
		if !is || endpoint.Spec.Auth == nil || endpoint.Spec.Auth.AccessManager == nil {
			continue
		}
		for _, v := range h.api.versions[secretKind][client.ObjectKey{Namespace: endpoint.Namespace, Name: endpoint.Spec.Auth.AccessManager.SecretRef.Name}] {
			secret, is := v.object.(*corev1.Secret)
			if is && slices.ContainsFunc(h.refusedLogins, func(body string) bool {
				return strings.Contains(body, string(secret.Data["clientId"])) && strings.Contains(body, string(secret.Data["clientSecret"]))
			}) {
				return true
			}
		}
	}
	return false
}

// place is where a connection lives: a Reporter and, in it, a tenant.
type place struct{ base, tenant string }

// sighting is that a resource was shown its connection, and which process learned of it.
type sighting struct {
	place
	by       *instance
	deleting bool // while it was being deleted
}

// sightingsOf are those of a resource, and of those of its namespace that described the same connection and had it before: who is renamed has seen
// what it saw under its old name.
func (h *history) sightingsOf(rc *v1alpha1.ReporterConnection) []sighting {
	seen, known := slices.Clone(h.sightings[rc.UID]), map[types.UID]bool{rc.UID: true}
	for key, versions := range h.api.versions[connectionKind] {
		for _, v := range versions {
			was, is := v.object.(*v1alpha1.ReporterConnection)
			if is && key.Namespace == rc.Namespace && !known[was.UID] && was.Describes() && rc.Describes() && idOf(was) == idOf(rc) &&
				was.Spec.Connection.ConfigName == rc.Spec.Connection.ConfigName {
				known[was.UID] = true
				seen = append(seen, h.sightings[was.UID]...)
			}
		}
	}
	return seen
}

// noteHeld notes when a process says that a deletion waits for a claim that was not looked up, whatever becomes of the write.
func (h *history) noteHeld(i *instance, object client.Object) {
	rc, is := object.(*v1alpha1.ReporterConnection)
	if !is || rc.DeletionTimestamp.IsZero() || !saysUnverified(rc) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, found := h.heldSince[heldBy{i, rc.UID}]; !found {
		h.heldSince[heldBy{i, rc.UID}] = time.Now()
	}
}

// heldBy is a deletion as a process knows it.
type heldBy struct {
	i   *instance
	uid types.UID
}

func (h *history) seenAt(uid types.UID, base string) []sighting {
	return slices.DeleteFunc(slices.Clone(h.sightings[uid]), func(s sighting) bool { return s.base != base })
}

// learn notes what an answer tells a pass, when it has arrived.
func (h *history) learn(c *call, answer *response) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.id == "" {
		if answer.status == http.StatusUnauthorized && c.method == http.MethodPost {
			h.refusedLogins = append(h.refusedLogins, c.body)
		}
		if p := c.pass; answer.status == http.StatusCreated && p != nil && p.rc != nil {
			h.sightings[p.rc.UID] = append(h.sightings[p.rc.UID], sighting{c.to, c.i, false})
		}
		return
	}
	p := c.pass
	if p == nil || p.rc == nil || !answer.isOfReporter() {
		return
	}
	p.answers[c.method] = answer.status
	uid := p.rc.UID
	switch {
	case c.method == http.MethodGet && answer.status == http.StatusOK:
		h.sightings[uid] = append(h.sightings[uid], sighting{c.to, c.i, !p.rc.DeletionTimestamp.IsZero()})
	case c.method == http.MethodGet && slices.Contains([]int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound}, answer.status):
		if h.refused[uid] == nil {
			h.refused[uid] = map[string]bool{}
		}
		h.refused[uid][c.to.base] = true
	}
	if p.answers[http.MethodDelete] == http.StatusNotFound && p.answers[http.MethodGet] == http.StatusNotFound {
		h.foundAbsent[heldBy{c.i, uid}] = true
	}
}

// judgeLook checks that a resource that is to delete its connection is held before anything is asked of Reporter for it.
func (h *history) judgeLook(p *pass) {
	rc := p.rc
	if rc == nil || !rc.DeletionTimestamp.IsZero() || rc.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain || h.mayBeBehind(p) {
		return
	}
	if !slices.ContainsFunc(h.api.since(connectionKind, client.ObjectKeyFromObject(rc), revisionOf(rc)), func(object client.Object) bool {
		return object == nil || controllerutil.ContainsFinalizer(object, v1alpha1.ConnectionFinalizer)
	}) {
		h.fail("Safety 1: %s looks a connection up for a resource that is not held", p)
	}
}

func revisionOf(object client.Object) int64 {
	revision, err := strconv.ParseInt(object.GetResourceVersion(), 10, 64)
	if err != nil {
		panic(err)
	}
	return revision
}

// mayBeBehind says whether a pass acts on what was so before the API server was restored. Only what cannot be undone is asked for anew.
func (h *history) mayBeBehind(p *pass) bool {
	return p.cutOff || p.restores < h.restores || len(p.controller.i.cutOff) > 0
}

// isDeletion says whether an object is a resource with the very deletion that it has as a pass sees it: where an API server was restored to
// before that, it may be requested again.
func isDeletion(object client.Object, of *v1alpha1.ReporterConnection) bool {
	return object != nil && object.GetUID() == of.UID && object.GetDeletionTimestamp().Equal(of.DeletionTimestamp)
}

// requested is the moment from when on a resource has had its deletion, or has had it again, where a restored API server had forgotten it.
func (h *history) requested(rc *v1alpha1.ReporterConnection) version {
	var requested version
	had := false
	for _, v := range h.api.versions[connectionKind][client.ObjectKeyFromObject(rc)] {
		has := isDeletion(v.object, rc)
		if has && !had {
			requested = v
		}
		had = has
	}
	return requested
}

// deletedSince is when somebody asked for the deletion that a resource has. A restored API server that brings one back which was gone brings
// its deletion back too, which is as old as it was.
func (h *history) deletedSince(rc *v1alpha1.ReporterConnection) time.Time {
	for _, v := range h.api.versions[connectionKind][client.ObjectKeyFromObject(rc)] {
		if isDeletion(v.object, rc) {
			return v.since
		}
	}
	panic("it was never deleted")
}

func (h *history) created(rc *v1alpha1.ReporterConnection) version {
	for _, v := range h.api.versions[connectionKind][client.ObjectKeyFromObject(rc)] {
		if v.object != nil && v.object.GetUID() == rc.UID {
			return v
		}
	}
	panic("it was never created")
}

func (h *history) allows(endpoint *v1alpha1.ReporterEndpoint, namespace string) bool {
	return allows(endpoint, namespace, h.api.objects[namespaceKind][client.ObjectKey{Name: namespace}])
}

// allows says whether an endpoint lets in what is in a namespace, as that is labelled.
func allows(endpoint *v1alpha1.ReporterEndpoint, namespace string, labelled client.Object) bool {
	if endpoint.Namespace == namespace || endpoint.Spec.AllowedNamespaces.From == v1alpha1.FromAll {
		return true
	}
	if labelled == nil || endpoint.Spec.AllowedNamespaces.From != v1alpha1.FromSelector {
		return false
	}
	selector, err := metav1.LabelSelectorAsSelector(endpoint.Spec.AllowedNamespaces.Selector)
	return err == nil && selector.Matches(labels.Set(labelled.GetLabels()))
}

// judgeRelease checks what goes because the operator took its finalizer off: Safety 1, and that nothing goes that is needed.
func (h *history) judgeRelease(last client.Object, p *pass) {
	if rc, is := last.(*v1alpha1.ReporterConnection); is {
		h.judgeConnection(rc, p)
	}
	if p.restores < h.restores {
		return // who needs it was not there when the pass asked
	}
	switch last := last.(type) {
	case *v1alpha1.ReporterEndpoint:
		h.count("endpoint released")
		for _, object := range h.api.list(connectionKind) {
			rc := object.(*v1alpha1.ReporterConnection)
			if h.stillNeeds(p, rc, last) {
				h.fail("In use: %s lets ReporterEndpoint %s go, which %s/%s needs", p, last.Name, rc.Namespace, rc.Name)
			}
		}
	case *corev1.Secret:
		h.count("Secret released")
		if last.Labels[v1alpha1.CredentialsLabel] == "true" {
			h.judgeSecret(last, p)
		}
	}
}

// judgeConnection checks Safety 1: the resource, or its endpoint, retains the connection; or it is dead where the resource was shown it, or by
// a DELETE of this resource; or another claims it; or it was never shown, and absent.
func (h *history) judgeConnection(rc *v1alpha1.ReporterConnection, p *pass) {
	h.count("resource released")
	w := h.windowOf(p, rc)
	var causes []string
	may := func(cause, count string) {
		causes = append(causes, cause)
		h.count("resource released: " + count)
	}
	if rc.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain {
		may("Retained", "it retains")
	} else if w.endpointRetains(rc) {
		may("Retained", "its endpoint retains")
	}
	if h.deletedFor[rc.UID] || slices.ContainsFunc(h.sightingsOf(rc), func(s sighting) bool { return !h.aliveAt(s.place, idOf(rc)) }) {
		may("AlreadyDeleted", "the connection is deleted")
	}
	if w.isInherited(rc) {
		may("HandedOver", "another claims the connection")
	}
	if h.neverSaw(p.controller.i, rc) && p.answers[http.MethodDelete] == http.StatusNotFound && p.answers[http.MethodGet] == http.StatusNotFound {
		may("AlreadyDeleted", "never seen, and absent")
		if namespace, found := p.controller.i.cache[namespaceKind][client.ObjectKey{Name: rc.Namespace}]; found && namespace.GetDeletionTimestamp().IsZero() && len(causes) == 1 {
			h.warningsOwed[rc.UID] = p
		}
	}
	if rc.Spec.Connection != nil && w.isHeldBySibling(rc) {
		may("HandedOver", "a sibling that goes too has it")
	}
	if rc.Spec.Connection != nil && h.isMarkedByAnother(rc) {
		may("HandedOver", "its connection is another's by its mark")
	}
	if rc.Spec.Connection != nil && rc.Status.Creation != nil && rc.Annotations[v1alpha1.AbandonAnnotation] == rc.Status.Creation.URL {
		may("LeftBehind", "somebody has given up what may have been created")
	}
	if rc.Spec.Connection != nil && idOf(rc) == "" && !h.hasMark(rc) {
		may("NeverCreated", "no connection has its mark")
		may("LeftBehind", "and nothing was recorded of it")
	}
	if len(causes) == 0 {
		h.fail("Safety 1: %s lets %s go, and nothing says that its connection %s is deleted", p, client.ObjectKeyFromObject(rc), idOf(rc))
	}
	h.releases[rc.UID] = release{p.controller.i, causes}
	h.released[namedBy{p.controller.i, client.ObjectKeyFromObject(rc)}]++
}

// namedBy is a name as a process knows it.
type namedBy struct {
	i   *instance
	key client.ObjectKey
}

// judgeLine checks that no more is told of a name than there were resources of it, unless a restored API server brings some back. The metrics are
// counted where the line is written.
func (h *history) judgeLine(i *instance, key client.ObjectKey) {
	uids := map[types.UID]bool{}
	for _, v := range h.api.versions[connectionKind][key] {
		if v.object != nil {
			uids[v.object.GetUID()] = true
		}
	}
	if h.lines[namedBy{i, key}]++; h.lines[namedBy{i, key}] > len(uids) && h.restores == 0 {
		h.fail("Told once: %s tells %d times of the release of %s", i.name, h.lines[namedBy{i, key}], key)
	}
}

// release is who has released a resource, and all that it may say why.
type release struct {
	by     *instance
	causes []string
}

// neverSaw says whether a process knows of no place that has shown the connection to a resource which is being deleted.
func (h *history) neverSaw(i *instance, rc *v1alpha1.ReporterConnection) bool {
	return rc.Status.ObservedIn == nil && !slices.ContainsFunc(h.sightings[rc.UID], func(s sighting) bool { return s.by == i && s.deleting })
}

func (w window) endpointRetains(rc *v1alpha1.ReporterConnection) bool {
	for _, object := range w.states(connectionKind, client.ObjectKeyFromObject(rc)) {
		was, is := object.(*v1alpha1.ReporterConnection)
		if is && was.UID == rc.UID && slices.ContainsFunc(w.states(endpointKind, was.EndpointKey()), func(o client.Object) bool {
			endpoint, is := o.(*v1alpha1.ReporterEndpoint)
			return is && endpoint.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain
		}) {
			return true
		}
	}
	return false
}

// isInherited says whether another resource claimed the connection at a moment of the window, and was held then, or free to let it be.
func (w window) isInherited(rc *v1alpha1.ReporterConnection) bool {
	for key := range w.h.api.versions[connectionKind] {
		if slices.ContainsFunc(w.states(connectionKind, key), func(object client.Object) bool {
			claim, is := object.(*v1alpha1.ReporterConnection)
			return is && claim.UID != rc.UID && isClaim(claim, claim.UID, idOf(rc)) &&
				(claim.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain || controllerutil.ContainsFinalizer(claim, v1alpha1.ConnectionFinalizer)) &&
				(claim.Namespace == rc.Namespace || w.mayInherit(claim, rc))
		}) {
			return true
		}
	}
	return false
}

// isHeldBySibling says whether another resource of the namespace, which goes as well, had the connection and was held for it.
func (w window) isHeldBySibling(rc *v1alpha1.ReporterConnection) bool {
	for key := range w.h.api.versions[connectionKind] {
		if key.Namespace == rc.Namespace && slices.ContainsFunc(w.states(connectionKind, key), func(object client.Object) bool {
			sibling, is := object.(*v1alpha1.ReporterConnection)
			return is && sibling.UID != rc.UID && sibling.Describes() && idOf(sibling) == idOf(rc) && sibling.Status.Sent != "" &&
				controllerutil.ContainsFinalizer(sibling, v1alpha1.ConnectionFinalizer)
		}) {
			return true
		}
	}
	return false
}

// mayInherit says whether a claim elsewhere was shown the connection in a place to which both endpoints led, each at some moment of the window.
// Where tokens do not say which tenant they are for, it is that of the same URL.
func (w window) mayInherit(claim, rc *v1alpha1.ReporterConnection) bool {
	if claim.Status.ObservedIn == nil {
		return false
	}
	return slices.ContainsFunc(w.h.sightings[claim.UID], func(s sighting) bool {
		return w.led(claim, s.base) && w.led(rc, s.base) && (claim.Status.ObservedIn.Credentials != "" || w.h.auth == "opaque" || slices.Contains(w.h.tenantsOf(rc), s.tenant))
	})
}

func (w window) led(rc *v1alpha1.ReporterConnection, base string) bool {
	return slices.ContainsFunc(w.states(endpointKind, rc.EndpointKey()), func(o client.Object) bool {
		endpoint, is := o.(*v1alpha1.ReporterEndpoint)
		return is && canonical(endpoint.Spec.URL) == base && slices.ContainsFunc(w.states(namespaceKind, client.ObjectKey{Name: rc.Namespace}), func(o client.Object) bool {
			return allows(endpoint, rc.Namespace, o)
		})
	})
}

// tenantsOf lists those whose credentials a resource's endpoint has ever had: a token outlives the contents of its Secret.
func (h *history) tenantsOf(rc *v1alpha1.ReporterConnection) []string {
	tenants := []string{""}
	for _, v := range h.api.versions[endpointKind][rc.EndpointKey()] {
		endpoint, is := v.object.(*v1alpha1.ReporterEndpoint)
		if !is {
			continue
		}
		for _, name := range secretsOf(endpoint) {
			for _, v := range h.api.versions[secretKind][client.ObjectKey{Namespace: endpoint.Namespace, Name: name}] {
				if secret, is := v.object.(*corev1.Secret); is {
					tenants = append(tenants, h.clients[string(secret.Data["clientId"])], h.tenantOf(string(secret.Data["token"])))
				}
			}
		}
	}
	return tenants
}

// stillNeeds says whether the deletion of a connection will need an endpoint, and did when a pass began.
func (h *history) stillNeeds(p *pass, rc *v1alpha1.ReporterConnection, endpoint *v1alpha1.ReporterEndpoint) bool {
	for _, object := range h.api.since(connectionKind, client.ObjectKeyFromObject(rc), p.revision) {
		was, is := object.(*v1alpha1.ReporterConnection)
		if !is || was.UID != rc.UID || !needs(was, endpoint) {
			return false
		}
	}
	from := endpoint.Spec.AllowedNamespaces.From
	return rc.Namespace == endpoint.Namespace || from == v1alpha1.FromAll
}

func needs(rc *v1alpha1.ReporterConnection, endpoint *v1alpha1.ReporterEndpoint) bool {
	if rc.EndpointKey() != client.ObjectKeyFromObject(endpoint) || rc.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain {
		return false
	}
	if !rc.DeletionTimestamp.IsZero() {
		return controllerutil.ContainsFinalizer(rc, v1alpha1.ConnectionFinalizer)
	}
	return endpoint.DeletionTimestamp.IsZero() || !rc.CreationTimestamp.After(endpoint.DeletionTimestamp.Time)
}

// judgeSecret checks that no deletion needs a Secret that goes, and that live resources have had their time.
func (h *history) judgeSecret(secret *corev1.Secret, p *pass) {
	for _, object := range h.api.list(endpointKind) {
		endpoint := object.(*v1alpha1.ReporterEndpoint)
		if endpoint.Namespace != secret.Namespace || !slices.Contains(secretsOf(endpoint), secret.Name) || !h.unchangedSince(p, endpointKind, endpoint) ||
			endpoint.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain {
			continue
		}
		for _, object := range h.api.list(connectionKind) {
			rc := object.(*v1alpha1.ReporterConnection)
			pending := !rc.DeletionTimestamp.IsZero() && h.unchangedSince(p, connectionKind, rc)
			if h.stillNeeds(p, rc, endpoint) && (pending || time.Since(secret.DeletionTimestamp.Time) < time.Minute) {
				h.fail("In use: %s lets Secret %s/%s go, which %s/%s needs", p, secret.Namespace, secret.Name, rc.Namespace, rc.Name)
			}
		}
	}
}

// unchangedSince says whether an object is what it was when a pass began.
func (h *history) unchangedSince(p *pass, kind string, object client.Object) bool {
	return len(h.api.since(kind, client.ObjectKeyFromObject(object), p.revision)) == 1
}

// judgeEvent checks that each event is sent once, says what was so, and warns nobody of a wrong id to whom the connection was shown, or of a
// DELETE that was not sent. A process that leads no more, and whose patch got no answer, cannot know that it was another's that released the
// resource: each counts by itself.
func (h *history) judgeEvent(i *instance, rc *v1alpha1.ReporterConnection, eventType, reason string) {
	if slices.Contains([]string{"Moved", "Created", "Recreated", "Adopted", "TakenBack", "Corrected", "Changed", "LeftBehind", "Duplicate"}, reason) {
		return // it is no release
	}
	by := heldBy{i, rc.UID}
	if h.events[by]++; h.events[by] > 1 && h.restores == 0 {
		h.fail("Told once: there are %d events of the release of %s", h.events[by], client.ObjectKeyFromObject(rc))
	}
	if released, found := h.releases[rc.UID]; found && released.by == i && !slices.Contains(released.causes, reason) {
		h.fail("Told truly: %s is said of %s, and it was %v", reason, client.ObjectKeyFromObject(rc), released.causes)
	}
	switch isWarning := eventType == corev1.EventTypeWarning; {
	case reason != "AlreadyDeleted":
		if isWarning && !h.sentFor[by] {
			h.fail("Told truly: a warning that the connection of %s may be deleted, and %s has sent no DELETE", client.ObjectKeyFromObject(rc), i.name)
		}
	case isWarning:
		h.warned[rc.UID] = true
		if !h.foundAbsent[by] || !h.neverSaw(i, rc) {
			h.fail("Told truly: a warning of a wrong id for %s, which was not absent, or was seen", client.ObjectKeyFromObject(rc))
		}
	}
}

// judgeTrails checks, when everything has happened, that whatever was let go without having been seen has left its warning. A process that
// has ended writes none.
func (h *history) judgeTrails() {
	for by, releases := range h.released {
		if h.lines[by] < releases && !by.i.dead {
			h.fail("Told once: %s tells %d times of %d releases of %s", by.i.name, h.lines[by], releases, by.key)
		}
	}
	for uid, p := range h.warningsOwed {
		if !h.warned[uid] && !p.controller.i.dead {
			h.fail("Told once: %s let a resource go that was never seen, without a warning", p)
		}
	}
}

// leadsNowhere says whether a deleted resource waits for a person also when all else is right: its endpoint is gone for good, or
// its connection was seen, or may have been created, where nothing leads any more.
func (h *history) leadsNowhere(rc *v1alpha1.ReporterConnection) bool {
	if rc.DeletionTimestamp.IsZero() || rc.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain {
		return false
	}
	healed := place{"http://" + homeHost, "ours"}
	if h.auth == "none" {
		healed.tenant = ""
	}
	if in := rc.Status.ObservedIn; in != nil && (in.Credentials != "" || in.URL != healed.base || in.TenantID != healed.tenant) && !h.aliveAt(healed, idOf(rc)) {
		return true
	}
	if record := rc.Status.Creation; record != nil && (record.Credentials != "" || record.URL != healed.base || record.TenantID != healed.tenant) {
		return true
	}
	object, err := h.api.get(endpointKind, rc.EndpointKey())
	if err != nil {
		return true
	}
	return slices.ContainsFunc(secretsOf(object.(*v1alpha1.ReporterEndpoint)), func(name string) bool {
		_, err := h.api.get(secretKind, client.ObjectKey{Namespace: object.GetNamespace(), Name: name})
		return err != nil
	})
}

// markOf is the mark that the connections of a resource have in Reporter.
func (h *history) markOf(rc *v1alpha1.ReporterConnection) string {
	namespace := h.api.objects[namespaceKind][client.ObjectKey{Name: rc.Namespace}]
	return string(namespace.GetUID()) + "/" + rc.Name
}

// isMarkedByAnother says whether the connection of a resource has a mark that is not the resource's.
func (h *history) isMarkedByAnother(rc *v1alpha1.ReporterConnection) bool {
	return slices.ContainsFunc(h.living(), func(c reportertest.Connection) bool {
		mark, has := c.Metadata["reporterOperatorOwner"]
		return c.ID == idOf(rc) && (has && mark != h.markOf(rc) || !has && rc.Status.TakenOverBy != "")
	})
}

// hasMark says whether any Reporter has a connection of the described name with the mark of a resource.
func (h *history) hasMark(rc *v1alpha1.ReporterConnection) bool {
	return slices.ContainsFunc(h.living(), func(c reportertest.Connection) bool {
		return c.Metadata["reporterOperatorOwner"] == h.markOf(rc) && c.ConfigName == rc.Spec.Connection.ConfigName
	})
}

// living are the connections of all Reporters.
func (h *history) living() []reportertest.Connection {
	var all []reportertest.Connection
	for _, r := range h.reporters {
		all = append(all, r.Connections()...)
	}
	return all
}

// idOf is the id of the connection that a resource names, or that it was given.
func idOf(rc *v1alpha1.ReporterConnection) string {
	return cmp.Or(rc.Spec.ConnectionID, rc.Status.ConnectionID)
}

// isMarked says whether an object is a Secret with the credentials of an endpoint.
func isMarked(object client.Object) bool {
	return object != nil && object.GetLabels()[v1alpha1.CredentialsLabel] == "true"
}
