// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// progressBound is how long anything may take to go once all is put right: the slowest that the operator comes back, a tenth more,
// for the connection; the same for a job or a claim that it learned of last; and what endpoint and Secret take after that.
const progressBound = 30 * time.Minute

// judgeSend checks Safety 2, when a DELETE is sent. What the operator cannot know in that moment does not count: it knows the resource
// as its cache showed it when the pass began; the endpoint, as it was a second before that or, if that was later, when the deletion was
// requested; and in its own namespace every claim that was made before that.
func (h *history) judgeSend(p *pass, what string) {
	h.count("DELETE sent")
	id := what[strings.LastIndex(what, "/")+1:]
	p.sent = true
	rc := p.rc
	switch {
	case rc == nil || rc.Spec.ConnectionID != id:
		h.fail("Safety 2: %s deletes %s, which is not what its resource claims", p, id)
		return
	case rc.DeletionTimestamp.IsZero():
		h.fail("Safety 2: %s deletes %s, and its resource is not deleted", p, id)
		return
	case !controllerutil.ContainsFinalizer(rc, v1alpha1.ConnectionFinalizer):
		h.fail("Safety 2: %s deletes %s for a resource that it has released", p, id)
		return
	case rc.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain:
		h.fail("Safety 2: %s deletes %s, and its resource is to retain it", p, id)
		return
	case rc.Spec.DeletionProtection:
		h.fail("Safety 2: %s deletes %s, and its resource is protected", p, id)
		return
	}
	requested := h.requested(rc)
	permits := func(object client.Object) bool {
		endpoint, is := object.(*v1alpha1.ReporterEndpoint)
		if !is {
			return false
		}
		delay := time.Duration(0)
		if endpoint.Spec.DeletionDelay != nil {
			delay = endpoint.Spec.DeletionDelay.Duration
		}
		return !endpoint.Spec.Suspend && endpoint.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain &&
			!time.Now().Before(rc.DeletionTimestamp.Add(delay))
	}
	if !slices.ContainsFunc(h.known(p, rc, requested), permits) {
		h.fail("Safety 2: %s deletes %s, and its endpoint is suspended, retains or delays it, or is not there", p, id)
		return
	}
	for _, object := range h.api.list(connectionKind) {
		claim := object.(*v1alpha1.ReporterConnection)
		if claim.UID == rc.UID || claim.Spec.ConnectionID != id || !claim.DeletionTimestamp.IsZero() || h.created(claim).revision > requested.revision {
			continue
		}
		if claim.Namespace == rc.Namespace {
			h.fail("Safety 2: %s deletes %s, which %s claims as well", p, id, claim.Name)
		} else if h.holds(p, claim, rc) {
			h.fail("Safety 2: %s deletes %s, which %s/%s claims as well", p, id, claim.Namespace, claim.Name)
		}
	}
}

// judgeLook checks that a resource that is to delete its connection is held before anything is asked of Reporter for it.
func (h *history) judgeLook(p *pass) {
	rc := p.rc
	if rc == nil || !rc.DeletionTimestamp.IsZero() || rc.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain {
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

// known lists what an endpoint has been since the deletion was requested, and since a second before the pass began: the operator may
// take it for any of these.
func (h *history) known(p *pass, rc *v1alpha1.ReporterConnection, requested version) []client.Object {
	since := h.api.since(endpointKind, rc.EndpointKey(), requested.revision)
	during := h.api.during(endpointKind, rc.EndpointKey(), p.started.Add(-time.Second))
	if len(during) < len(since) {
		return during
	}
	return since
}

// requested is the moment when the deletion of a resource was requested.
func (h *history) requested(rc *v1alpha1.ReporterConnection) version {
	return h.first(rc, func(object client.Object) bool { return !object.GetDeletionTimestamp().IsZero() })
}

func (h *history) created(rc *v1alpha1.ReporterConnection) version {
	return h.first(rc, func(client.Object) bool { return true })
}

func (h *history) first(rc *v1alpha1.ReporterConnection, is func(client.Object) bool) version {
	return *h.firstOrNone(rc, is)
}

// firstOrNone returns the first moment at which a resource was something, nil if it never was.
func (h *history) firstOrNone(rc *v1alpha1.ReporterConnection, is func(client.Object) bool) *version {
	for _, v := range h.api.versions[connectionKind][client.ObjectKeyFromObject(rc)] {
		if v.object != nil && v.object.GetUID() == rc.UID && is(v.object) {
			return &v
		}
	}
	return nil
}

// holds says whether the operator can know that a claim in another namespace holds: nothing that it rests on has changed since before
// the pass began to see it, it leads to the same place, and it was shown the connection there or would be now.
func (h *history) holds(p *pass, claim, rc *v1alpha1.ReporterConnection) bool {
	ours, theirs := h.steady(p, rc), h.steady(p, claim)
	if ours == nil || theirs == nil || ours.url != theirs.url || ours.tenant != theirs.tenant || ours.tenant == "?" {
		return false
	}
	if !h.unchanged(p, connectionKind, client.ObjectKeyFromObject(claim)) {
		return false
	}
	if in := claim.Status.ObservedIn; in != nil && in.URL == ours.url && in.TenantID == ours.tenant {
		return true
	}
	if !h.showsTo(claim.Spec.ConnectionID, ours) || h.wasRefused(claim) {
		return false
	}
	// It was never looked up, or not since its endpoint leads here. That holds the deletion for ten minutes in all, which the operator may
	// have begun to count a moment before its status said so.
	held := h.firstOrNone(rc, func(object client.Object) bool {
		return slices.ContainsFunc(object.(*v1alpha1.ReporterConnection).Status.Conditions, func(c metav1.Condition) bool { return c.Reason == "ClaimUnverified" })
	})
	return held == nil || time.Since(held.since) < 9*time.Minute
}

// wasRefused says whether a claim's status tells that Reporter answered, and did not show it the connection.
func (h *history) wasRefused(claim *v1alpha1.ReporterConnection) bool {
	for _, c := range claim.Status.Conditions {
		if c.Type == "Ready" && c.ObservedGeneration == claim.Generation &&
			slices.Contains([]string{"ConnectionNotFound", "Unauthorized", "InvalidConnectionID"}, c.Reason) {
			return claim.Status.ObservedIn == nil
		}
	}
	return false
}

// way is where a resource's endpoint leads.
type way struct{ url, tenant string }

// steady returns where a resource's endpoint leads, if the operator knows all of it: nothing has changed that it has not seen.
func (h *history) steady(p *pass, rc *v1alpha1.ReporterConnection) *way {
	key := rc.EndpointKey()
	object, err := h.api.get(endpointKind, key)
	if err != nil || !h.unchanged(p, endpointKind, key) || !h.unchanged(p, namespaceKind, client.ObjectKey{Name: rc.Namespace}) {
		return nil
	}
	endpoint := object.(*v1alpha1.ReporterEndpoint)
	if !h.allows(endpoint, rc.Namespace) {
		return nil
	}
	w := &way{url: string(endpoint.Spec.URL)}
	if h.auth == "none" || w.url != "http://"+homeHost && h.auth == "login" {
		return w
	}
	secret := client.ObjectKey{Namespace: endpoint.Namespace, Name: "credentials"}
	found, err := h.api.get(secretKind, secret)
	if err != nil || !watched(secretKind, found) || !h.unchanged(p, secretKind, secret) {
		return nil
	}
	// A token lives on when its Secret has changed, until it is renewed: what it is for then is not looked at.
	w.tenant = string(found.(*corev1.Secret).Data["clientId"])
	if string(found.(*corev1.Secret).Data["clientSecret"]) == "wrong" {
		w.tenant = "?"
	}
	return w
}

func (h *history) allows(endpoint *v1alpha1.ReporterEndpoint, namespace string) bool {
	if endpoint.Namespace == namespace || endpoint.Spec.AllowedNamespaces.From == v1alpha1.FromAll {
		return true
	}
	object, err := h.api.get(namespaceKind, client.ObjectKey{Name: namespace})
	if err != nil || endpoint.Spec.AllowedNamespaces.From != v1alpha1.FromSelector {
		return false
	}
	selector, err := metav1.LabelSelectorAsSelector(endpoint.Spec.AllowedNamespaces.Selector)
	return err == nil && selector.Matches(labels.Set(object.GetLabels()))
}

// unchanged says whether a pass knew an object as it is now when it began.
func (h *history) unchanged(p *pass, kind string, key client.ObjectKey) bool {
	for _, c := range h.api.changes[kind][p.seen[kind]:] {
		for _, object := range []client.Object{c.before, c.after} {
			if object != nil && client.ObjectKeyFromObject(object) == key {
				return false
			}
		}
	}
	return true
}

// showsTo says whether Reporter would show a connection there, to those credentials.
func (h *history) showsTo(id string, w *way) bool {
	host, found := h.home[id]
	if !found || "http://"+host != w.url || !h.alive(id) {
		return false
	}
	for _, c := range h.reporters[host].Connections() {
		if c.ID == id {
			return c.Tenant == w.tenant
		}
	}
	return false
}

// judgeRelease checks what goes because the operator took its finalizer off: Safety 1, and that nothing goes that is needed.
func (h *history) judgeRelease(last client.Object, p *pass) {
	switch last := last.(type) {
	case *v1alpha1.ReporterConnection:
		h.judgeConnection(last, p)
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

// judgeConnection checks Safety 1.
func (h *history) judgeConnection(rc *v1alpha1.ReporterConnection, p *pass) {
	h.count("resource released")
	if !h.alive(rc.Spec.ConnectionID) || rc.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain {
		return
	}
	requested := h.requested(rc)
	if slices.ContainsFunc(h.known(p, rc, requested), func(object client.Object) bool {
		endpoint, is := object.(*v1alpha1.ReporterEndpoint)
		return is && endpoint.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain
	}) {
		h.count("resource released: its endpoint retains")
		return
	}
	if h.claimed(p, rc, requested) {
		h.count("resource released: another claims the connection")
		return
	}
	if rc.Status.ObservedIn == nil && p.answers[http.MethodDelete] == http.StatusNotFound && p.answers[http.MethodGet] == http.StatusNotFound {
		h.count("resource released: never seen, and absent")
		if namespace, found := p.controller.i.cache[namespaceKind][client.ObjectKey{Name: rc.Namespace}]; found && namespace.GetDeletionTimestamp().IsZero() {
			h.warningsOwed[rc.UID] = p
		}
		return
	}
	h.fail("Safety 1: %s lets %s go, and its connection %s is alive", p, client.ObjectKeyFromObject(rc), rc.Spec.ConnectionID)
}

// claimed says whether another resource has held a connection since a moment, and still does or had the right to let it be. One in
// another namespace has to have been shown the connection.
func (h *history) claimed(p *pass, rc *v1alpha1.ReporterConnection, since version) bool {
	for key, versions := range h.api.versions[connectionKind] {
		live := false
		shown := func(claim *v1alpha1.ReporterConnection) bool {
			return key.Namespace == rc.Namespace || claim.Status.ObservedIn != nil || p.answers[http.MethodGet] == http.StatusOK
		}
		for n, v := range versions {
			claim, is := v.object.(*v1alpha1.ReporterConnection)
			if n+1 < len(versions) && versions[n+1].revision < since.revision || !is || claim.UID == rc.UID || claim.Spec.ConnectionID != rc.Spec.ConnectionID {
				continue
			}
			if claim.DeletionTimestamp.IsZero() {
				live = true
			}
			if live && shown(claim) && claim.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain {
				return true
			}
		}
		now, is := h.api.objects[connectionKind][key].(*v1alpha1.ReporterConnection)
		if live && is && shown(now) && now.Spec.ConnectionID == rc.Spec.ConnectionID && now.UID != rc.UID &&
			(now.DeletionTimestamp.IsZero() || controllerutil.ContainsFinalizer(now, v1alpha1.ConnectionFinalizer)) {
			return true
		}
	}
	return false
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
		if endpoint.Namespace != secret.Namespace || endpoint.Spec.Auth == nil || !h.unchangedSince(p, endpointKind, endpoint) ||
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

// judgeEvent checks that each event is sent once, and that nobody is warned of a wrong id whose connection was seen. A process that leads no
// more, and whose patch got no answer, cannot know that it was another's that released the resource: each counts by itself.
func (h *history) judgeEvent(i *instance, rc *v1alpha1.ReporterConnection, eventType, reason string) {
	if reason == "Moved" {
		return
	}
	by := i.name + " " + string(rc.UID)
	if h.events[by]++; h.events[by] > 1 {
		h.fail("Told once: there are %d events of the release of %s", h.events[by], client.ObjectKeyFromObject(rc))
	}
	if eventType == corev1.EventTypeWarning {
		h.warned[rc.UID] = true
		if rc.Status.ObservedIn != nil {
			h.fail("Told truly: a warning of a wrong id for %s, whose connection was seen", client.ObjectKeyFromObject(rc))
		}
	}
}

// judgeTrails checks, when everything has happened, that whatever was let go without having been seen has left its warning. A process that
// has ended writes none.
func (h *history) judgeTrails() {
	for uid, p := range h.warningsOwed {
		if !h.warned[uid] && !p.controller.i.dead {
			h.fail("Told once: %s let a resource go that was never seen, without a warning", p)
		}
	}
}

// leadsNowhere says whether a deleted resource waits for a person also when all else is right: its endpoint is gone for good, or
// its connection was seen where nothing leads any more.
func (h *history) leadsNowhere(rc *v1alpha1.ReporterConnection) bool {
	if rc.DeletionTimestamp.IsZero() || rc.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain {
		return false
	}
	place := v1alpha1.ObservedIn{URL: "http://" + homeHost, TenantID: "ours"}
	if h.auth == "none" {
		place.TenantID = ""
	}
	if in := rc.Status.ObservedIn; in != nil && *in != place {
		return true
	}
	endpoint, err := h.api.get(endpointKind, rc.EndpointKey())
	if err != nil {
		return true
	}
	_, err = h.api.get(secretKind, client.ObjectKey{Namespace: endpoint.GetNamespace(), Name: "credentials"})
	return err != nil && h.auth != "none"
}
