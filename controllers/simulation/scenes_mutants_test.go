// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	corev1 "k8s.io/api/core/v1"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// The scenes here are for faults that somebody could make, and that no history of the simulation is sure to show: hack/mutants makes them.

var (
	defaultEndpointOfB = client.ObjectKey{Namespace: "b", Name: "default"}
	defaultSecretOfB   = client.ObjectKey{Namespace: "b", Name: "credentials"}
)

func (h *history) exists(kind string, key client.ObjectKey) bool {
	_, err := h.api.get(kind, key)
	return err == nil
}

func (h *history) connection(key client.ObjectKey) *v1alpha1.ReporterConnection {
	object, err := h.api.get(connectionKind, key)
	h.must(err)
	return object.(*v1alpha1.ReporterConnection)
}

func (h *history) isEndpointReady(key client.ObjectKey) bool {
	object, err := h.api.get(endpointKind, key)
	h.must(err)
	return apimeta.IsStatusConditionTrue(object.(*v1alpha1.ReporterEndpoint).Status.Conditions, "Ready")
}

// restart has another process take the place of the one there is.
func (h *history) restart() {
	h.stop()
	h.launch()
}

func (h *history) stop() {
	for len(h.instances) > 0 {
		h.kill(h.instances[0])
	}
}

// askFor is what somebody does who wants an attempt now.
func (h *history) askFor(kind string, key client.ObjectKey) {
	object, err := h.api.get(kind, key)
	h.must(err)
	h.must(h.api.update(object, func(o client.Object) {
		o.SetAnnotations(map[string]string{v1alpha1.RequestedAtAnnotation: time.Now().String()})
	}))
}

// isPatchOf says whether a call writes to the metadata of a ReporterConnection.
func isPatchOf(c *call, key client.ObjectKey) bool {
	return strings.HasPrefix(c.what, "patch ReporterConnection "+key.String()+":")
}

func (h *history) giveTo(tenant string) func(*corev1.Secret) {
	return func(secret *corev1.Secret) { h.fill(secret, tenant) }
}

func TestConnectionOfAnotherTenantIsNotTakenForTheOneSeen(t *testing.T) {
	sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		h.changeSecret(defaultSecretOfA, h.giveTo("theirs"))
		h.settle()
		h.delete(deleted)
		h.wait(time.Minute)
		expect(t, "the resource", h.reason(deleted), "AbsenceUnverified")
		h.changeSecret(defaultSecretOfA, h.giveTo("ours"))
		h.wait(5 * time.Second)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "the connection is alive", h.alive(h.ids[0]), false)
	})
}

func TestTenantIsLookedAtAgainAfterTheConfirmingGET(t *testing.T) {
	sceneWith(t, withAccessManager, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		h.homeReporter().Inject(reportertest.Fault{Method: http.MethodDelete, ID: h.ids[0], // as of what Reporter shows, and does not delete
			Do: reportertest.Answer(404, http.Header{"Content-Type": {"application/json"}}, `{"code":"FET-1001","title":"Not Found","message":""}`)})
		h.hold = func(c *call) bool { return isCall(c, http.MethodGet, h.ids[0]) }
		h.delete(deleted)
		h.settle()
		expect(t, "DELETEs", h.counts["DELETE sent"], 1)
		h.moveClient("ours", "theirs") // the new token that the GET needs is for another tenant
		h.hold = nil
		h.wait(time.Minute)
		expect(t, "the resource", h.reason(deleted), "AbsenceUnverified")
		expect(t, "the connection is alive", h.alive(h.ids[0]), true)
	})
}

func TestDeletionIsNotSentToAnotherTenantThanItWasJudgedFor(t *testing.T) {
	sceneWith(t, withAccessManager, func(t *testing.T, h *history) {
		h.homeReporter().Add(reportertest.Connection{ID: h.ids[5], ConfigName: "db-5", Tenant: "theirs", CreatedAt: h.began})
		h.home[h.ids[5]] = homeHost
		h.changeSecret(defaultSecretOfB, h.giveTo("theirs"))
		heir := h.claim("b", "heir", h.ids[5])
		h.settle()
		expect(t, "the heir", h.reason(heir), "Available")
		h.hold = func(c *call) bool { return isCall(c, http.MethodGet, h.ids[5]) }
		deleted := h.claim("a", "deleted", h.ids[5])
		h.delete(deleted)
		h.settle() // it has logged in, and looks whether the connection is there
		h.moveClient("ours", "theirs")
		h.hold = nil
		h.wait(time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "the connection is alive", h.alive(h.ids[5]), true)
	})
}

func TestConnectionThatWasNeverSeenIsLookedUpBeforeItsDeletion(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		h.stop()
		deleted := h.claim("a", "deleted", h.ids[0])
		uid := h.connection(deleted).UID
		h.delete(deleted)
		isDelete := func(c *call) bool { return isCall(c, http.MethodDelete, h.ids[0]) }
		h.hold = isDelete
		h.launch()
		h.settle()
		for _, c := range h.calls {
			if isDelete(c) {
				c.acted = true
				c.value, c.err = c.act()
				h.lose(c)
			}
		}
		h.hold = nil
		h.wait(2 * time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "the connection is alive", h.alive(h.ids[0]), false)
		expect(t, "there is a warning of a wrong id", h.warned[uid], false)
	})
}

// An answer to others meanwhile says that Reporter is there, so that nothing holds the DELETE but the look-up that was none.
func TestLookUpThatIsNotAnsweredIsNoLookUp(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		h.stop()
		deleted := h.claim("a", "deleted", h.ids[0])
		h.delete(deleted)
		h.hold = func(c *call) bool { return isCall(c, http.MethodGet, h.ids[0]) }
		h.launch()
		h.wait(5 * time.Second)
		h.askFor(endpointKind, defaultEndpointOfA)
		h.wait(4 * time.Minute)
		expect(t, "DELETEs", h.counts["DELETE sent"], 0)
		h.hold = nil
		h.wait(10 * time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "the connection is alive", h.alive(h.ids[0]), false)
	})
}

func TestWhatWasReadBeforeADeletionIsReadAgain(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		first, second := h.claim("a", "first", h.ids[0]), h.claim("a", "second", h.ids[1])
		h.settle()
		h.delete(first)
		h.settle()
		expect(t, "the first resource", h.reason(first), "gone")
		h.blind = endpointKind
		h.changeEndpoint(defaultEndpointOfA, suspend)
		h.delete(second) // less than a second after the endpoint was read
		h.settle()
		expect(t, "the second connection is alive", h.alive(h.ids[1]), true)
		h.blind = ""
		h.wait(5 * time.Second)
		expect(t, "the second resource", h.reason(second), "Suspended")
		expect(t, "the second connection is alive", h.alive(h.ids[1]), true)
	})
}

func TestDeletionIsNotMadeWithCredentialsThatWereReplaced(t *testing.T) {
	sceneWith(t, withAccessManager, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		h.duringTheLoginForADelete(t, deleted, func() { h.changeSecret(defaultSecretOfA, h.giveTo("theirs")) })
		h.wait(time.Minute)
		expect(t, "the resource", h.reason(deleted), "AbsenceUnverified")
		expect(t, "the connection is alive", h.alive(h.ids[0]), true)
	})
}

func TestStoreThatHasGoneBackEndsTheProcess(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		claim := h.claim("a", "claim", h.ids[0])
		h.settle()
		expect(t, "processes that ended themselves", h.counts["operator ended itself"], 0)
		h.api.revision = 1 // as after a restore
		h.changeConnection(claim, protect)
		h.wait(time.Minute)
		expect(t, "processes that ended themselves", h.counts["operator ended itself"], 1)
	})
}

func TestClaimBehindManyOthersIsNotOverlooked(t *testing.T) {
	for what, lookedUp := range map[string]bool{"looked up": true, "not looked up yet": false} {
		t.Run(what, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				deleted := h.claim("a", "deleted", h.ids[0])
				for n := range 8 { // they claim nothing, as their endpoints lead elsewhere; that has to be found out of each
					endpoint := h.endpoint("b", fmt.Sprintf("other-%d", n))
					endpoint.Spec.URL = "http://" + otherHost
					h.must(h.api.create(endpoint))
					h.claimThrough(client.ObjectKeyFromObject(endpoint), v1alpha1.DeletionPolicyDelete, "b", fmt.Sprintf("claim-%d", n), h.ids[0])
				}
				h.settle()
				mend := func() {}
				if !lookedUp {
					mend = h.homeReporter().Inject(reportertest.Fault{Method: http.MethodGet, ID: h.ids[0], Do: reportertest.Answer(503, nil, "")})
				}
				h.claim("b", "claim-9", h.ids[0])
				h.wait(time.Minute)
				h.delete(deleted)
				h.wait(5 * time.Minute)
				if !lookedUp {
					expect(t, "the resource", h.reason(deleted), "ClaimUnverified")
				}
				mend()
				h.wait(2 * time.Minute)
				expect(t, "the resource", h.reason(deleted), "gone")
				expect(t, "hand-overs", h.counts["event HandedOver"], 1)
				expect(t, "the connection is alive", h.alive(h.ids[0]), true)
			})
		})
	}
}

func TestPatienceWithUnverifiedClaimsBeginsWithTheFirst(t *testing.T) {
	sceneWith(t, withAccessManager, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		h.claimThrough(h.neighbourBehind("silent.test"), v1alpha1.DeletionPolicyRetain, "b", "claim", h.ids[0])
		h.changeEndpoint(defaultEndpointOfA, suspend)
		h.wait(time.Second)
		h.delete(deleted)
		h.wait(15 * time.Minute)
		h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.Suspend = false })
		h.wait(9 * time.Minute)
		expect(t, "the resource", h.reason(deleted), "ClaimUnverified")
		expect(t, "the connection is alive", h.alive(h.ids[0]), true)
		h.wait(5 * time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "the connection is alive", h.alive(h.ids[0]), false)
	})
}

func TestHeirIsHeldBeforeItInherits(t *testing.T) {
	sceneWith(t, bearerNoAdmission, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		heir := h.claim("a", "heir", h.ids[0])
		h.hold = func(c *call) bool { return c.pass != nil && c.pass.request.NamespacedName == heir }
		h.delete(deleted)
		h.wait(2 * time.Second)
		expect(t, "the resource", h.reason(deleted), "gone")
		h.delete(heir) // which no pass of its own has held yet
		h.hold = nil
		h.wait(time.Minute)
		expect(t, "the heir", h.reason(heir), "gone")
		expect(t, "the connection is alive", h.alive(h.ids[0]), false)
	})
}

func TestHeirThatIsBeingDeletedIsNoHeir(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		heir := h.claimThrough(defaultEndpointOfA, v1alpha1.DeletionPolicyRetain, "a", "heir", h.ids[0])
		h.changeConnection(heir, func(rc *v1alpha1.ReporterConnection) { controllerutil.AddFinalizer(rc, "example.com/audit") })
		h.changeEndpoint(defaultEndpointOfA, suspend)
		h.settle()
		h.delete(deleted)
		h.wait(time.Second)
		h.blind = connectionKind
		h.delete(heir)
		h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.Suspend = false })
		h.wait(time.Minute)
		expect(t, "the resource", h.reason(deleted) != "gone", true)
		h.blind = ""
		h.wait(time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "the connection is alive", h.alive(h.ids[0]), false)
		h.changeConnection(heir, func(rc *v1alpha1.ReporterConnection) { rc.Finalizers = nil })
	})
}

func TestAnotherDeletedResourceOfTheSameNameIsNoGround(t *testing.T) {
	for _, second := range []int{0, 1} { // it has the same connection, or another
		anotherOfTheSameName(t, second)
	}
}

func anotherOfTheSameName(t *testing.T, second int) {
	scene(t, func(t *testing.T, h *history) {
		deleted := h.claim("a", "ledger", h.ids[0])
		h.changeEndpoint(defaultEndpointOfA, suspend)
		h.settle()
		h.delete(deleted)
		h.wait(10 * time.Second)
		h.blind = connectionKind
		h.changeConnection(deleted, func(rc *v1alpha1.ReporterConnection) { rc.Labels = map[string]string{"seen": "late"} })
		isRead := func(c *call) bool { return c.what == "get ReporterConnection a/ledger" && !c.local }
		h.hold = isRead
		h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.Suspend = false })
		h.settle()
		reads := 0
		for _, c := range h.calls {
			if isRead(c) {
				reads++
			}
		}
		expect(t, "the API server is asked", reads, 1)
		h.changeConnection(deleted, func(rc *v1alpha1.ReporterConnection) { rc.Finalizers = nil })
		h.claim("a", "ledger", h.ids[second])
		h.delete(deleted)
		h.hold = nil
		h.wait(5 * time.Second)
		h.blind = ""
		h.wait(time.Minute)
		expect(t, "the connection of the first is alive", h.alive(h.ids[0]), second != 0)
		expect(t, "the connection of the second is alive", h.alive(h.ids[second]), false)
		expect(t, "deletions by somebody else", h.counts["event AlreadyDeleted"], 0)
	})
}

func TestDeletionsGoBeforeLookUps(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.MaxInFlight = 1 })
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		isSlow := func(c *call) bool { return isCall(c, http.MethodGet, h.ids[1]) || isCall(c, http.MethodGet, h.ids[2]) }
		h.hold = isSlow
		h.claim("a", "first", h.ids[1])
		h.settle()
		h.claim("a", "second", h.ids[2])
		h.settle()
		h.delete(deleted)
		h.settle()
		expect(t, "the resource is there", h.exists(connectionKind, deleted), true)
		h.hold = func(c *call) bool { return isCall(c, http.MethodGet, h.ids[2]) }
		h.settle()
		expect(t, "the resource is there", h.exists(connectionKind, deleted), false)
		h.hold = nil
		h.wait(time.Minute)
	})
}

func TestApiServerThatIsSlowKeepsNobodyFromReporter(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.MaxInFlight = 1 })
		first, second := h.claim("a", "first", h.ids[0]), h.claim("a", "second", h.ids[1])
		h.settle()
		h.hold = func(c *call) bool { return isPatchOf(c, first) }
		h.delete(first)
		h.settle()
		h.delete(second)
		h.settle()
		expect(t, "the first is there", h.exists(connectionKind, first), true)
		expect(t, "the second is there", h.exists(connectionKind, second), false)
		h.hold = nil
		h.wait(time.Second)
		expect(t, "the first is there", h.exists(connectionKind, first), false)
	})
}

func TestStrippedFinalizerIsPutBackAtOnce(t *testing.T) {
	sceneWith(t, bearerNoAdmission, func(t *testing.T, h *history) {
		claim := h.claim("a", "claim", h.ids[0])
		h.settle()
		h.changeConnection(claim, func(rc *v1alpha1.ReporterConnection) { rc.Finalizers = nil }) // as kubectl replace does
		h.wait(2 * time.Second)
		expect(t, "it is held", controllerutil.ContainsFinalizer(h.connection(claim), "reporter.lerian.studio/connection"), true)
	})
}

func TestRetainTakesTheFinalizerOffALiveResource(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		claim := h.claim("a", "claim", h.ids[0])
		h.settle()
		h.changeConnection(claim, retainConnection)
		h.wait(2 * time.Second)
		expect(t, "it is held", controllerutil.ContainsFinalizer(h.connection(claim), "reporter.lerian.studio/connection"), false)
	})
}

func TestNewLabelsOfANamespaceWakeItsConnections(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.AllowedNamespaces = allowLabelledTeam })
		guest := h.claimThrough(defaultEndpointOfA, v1alpha1.DeletionPolicyDelete, "b", "guest", h.ids[0])
		h.wait(2 * time.Second)
		expect(t, "a resource that is not let in", h.reason(guest), "EndpointNotFound")
		h.labelNamespace("b", labelsOfAllowedTeam)
		h.wait(2 * time.Second)
		expect(t, "a resource that is let in now", h.reason(guest), "Available")
		h.labelNamespace("b", nil)
		h.wait(2 * time.Second)
		expect(t, "a resource that is let in no more", h.reason(guest), "EndpointNotFound")
	})
}

func TestUnmarkedSecretIsToldApartFromAMissingOne(t *testing.T) {
	sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
		h.changeSecret(defaultSecretOfA, unmark)
		h.settle()
		claim := h.claim("a", "claim", h.ids[0])
		h.settle()
		expect(t, "a resource without a mark on its Secret", h.reason(claim), "SecretNotGranted")
		h.must(h.api.delete(secretKind, defaultSecretOfA))
		h.wait(11 * time.Minute)
		expect(t, "a resource without a Secret", h.reason(claim), "SecretNotFound")
	})
}

func TestNothingIsReleasedByAStaleCache(t *testing.T) {
	for kind, key := range map[string]client.ObjectKey{endpointKind: defaultEndpointOfA, secretKind: defaultSecretOfA} {
		t.Run(kind, func(t *testing.T) {
			sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
				h.blind = connectionKind
				h.claim("a", "claim", h.ids[0])
				h.must(h.api.delete(kind, key))
				h.wait(30 * time.Second)
				expect(t, "it is there", h.exists(kind, key), true)
			})
		})
	}
}

func TestUsersThatDoNotCountHoldNoEndpoint(t *testing.T) {
	expectGone := func(t *testing.T, h *history) {
		t.Helper()
		h.wait(2 * time.Second)
		expect(t, "the endpoint is there", h.exists(endpointKind, defaultEndpointOfA), false)
	}
	t.Run("one that retains", func(t *testing.T) {
		scene(t, func(t *testing.T, h *history) {
			h.claimThrough(defaultEndpointOfA, v1alpha1.DeletionPolicyRetain, "a", "claim", h.ids[0])
			h.settle()
			h.must(h.api.delete(endpointKind, defaultEndpointOfA))
			expectGone(t, h)
		})
	})
	t.Run("one that is not let in", func(t *testing.T) {
		scene(t, func(t *testing.T, h *history) {
			h.claimThrough(defaultEndpointOfA, v1alpha1.DeletionPolicyDelete, "b", "claim", h.ids[0])
			h.settle()
			h.must(h.api.delete(endpointKind, defaultEndpointOfA))
			expectGone(t, h)
		})
	})
	t.Run("one that is newer than its deletion", func(t *testing.T) {
		scene(t, func(t *testing.T, h *history) {
			older := h.claim("a", "older", h.ids[0])
			h.settle()
			h.must(h.api.delete(endpointKind, defaultEndpointOfA))
			h.wait(2 * time.Second)
			expect(t, "the endpoint is there", h.exists(endpointKind, defaultEndpointOfA), true)
			h.claim("a", "newer", h.ids[1])
			h.settle()
			h.delete(older)
			expectGone(t, h)
		})
	})
}

func TestSecretOutlastsItsTerminatingNamespace(t *testing.T) {
	sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
		protected := h.claim("b", "protected", h.ids[0])
		h.changeConnection(protected, protect)
		h.settle()
		h.must(h.api.delete(namespaceKind, client.ObjectKey{Name: "b"}))
		h.must(h.api.delete(secretKind, defaultSecretOfB))
		h.wait(time.Hour)
		expect(t, "the Secret is there", h.exists(secretKind, defaultSecretOfB), true)
		h.changeConnection(protected, func(rc *v1alpha1.ReporterConnection) { rc.Spec.DeletionProtection = false })
		h.delete(protected)
		h.wait(time.Minute)
		expect(t, "the connection is alive", h.alive(h.ids[0]), false)
		expect(t, "the Secret is there", h.exists(secretKind, defaultSecretOfB), false)
	})
}

func TestSecretOfADeletedEndpointStays(t *testing.T) {
	sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
		claim := h.claim("a", "claim", h.ids[0])
		h.settle()
		h.must(h.api.delete(endpointKind, defaultEndpointOfA)) // which stays for the resource, and so does what it needs
		h.must(h.api.delete(secretKind, defaultSecretOfA))
		h.wait(time.Hour)
		expect(t, "the Secret is there", h.exists(secretKind, defaultSecretOfA), true)
		h.delete(claim)
		h.wait(time.Minute)
		expect(t, "the connection is alive", h.alive(h.ids[0]), false)
		expect(t, "the Secret is there", h.exists(secretKind, defaultSecretOfA), false)
	})
}

func TestEndpointThatRetainsNeedsNoSecret(t *testing.T) {
	sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
		h.claim("a", "claim", h.ids[0])
		h.changeEndpoint(defaultEndpointOfA, retain)
		h.settle()
		h.must(h.api.delete(secretKind, defaultSecretOfA))
		h.wait(2 * time.Second)
		expect(t, "the Secret is there", h.exists(secretKind, defaultSecretOfA), false)
	})
}

func TestStatusIsNotWrittenToAnotherResourceOfTheSameName(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		isStatus := func(c *call) bool { return strings.HasPrefix(c.what, "patch the status of ReporterConnection") }
		h.hold = isStatus
		key := h.claimThrough(defaultEndpointOfA, v1alpha1.DeletionPolicyRetain, "a", "ledger", h.ids[0])
		h.settle()
		h.delete(key)
		h.claimThrough(defaultEndpointOfA, v1alpha1.DeletionPolicyRetain, "a", "ledger", h.ids[5]) // which is nowhere
		written := 0
		for _, c := range h.calls {
			if isStatus(c) {
				c.acted = true
				c.value, c.err = c.act()
				h.resume(c, c.value, c.err)
				written++
			}
		}
		expect(t, "writes on their way", written, 1)
		h.hold = nil
		h.wait(5 * time.Second)
		expect(t, "the resource", h.reason(key), "ConnectionNotFound")
		expect(t, "it saw a connection", h.connection(key).Status.ObservedIn != nil, false)
	})
}

func TestStartOfAWaitIsKeptByALateCache(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		key := h.claim("a", "ledger", h.ids[0])
		h.settle()
		defer h.homeReporter().Inject(reportertest.Fault{Method: http.MethodDelete, Do: reportertest.Answer(403, nil, "")})()
		h.hold = func(c *call) bool { return strings.HasPrefix(c.what, "patch the status of ReporterConnection") }
		h.delete(key)
		h.settle()
		h.blind = connectionKind
		h.hold = nil
		h.settle()
		since := apimeta.FindStatusCondition(h.connection(key).Status.Conditions, v1alpha1.ConditionDeletionBlocked).LastTransitionTime
		h.wait(2 * time.Second)
		h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.MaxInFlight++ })
		h.wait(2 * time.Second)
		h.blind = ""
		h.wait(time.Minute)
		expect(t, "the start of the wait", apimeta.FindStatusCondition(h.connection(key).Status.Conditions, v1alpha1.ConditionDeletionBlocked).LastTransitionTime, since)
	})
}

func TestReleaseIsToldOnce(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.claim("a", "heir", h.ids[0])
		h.changeConnection(deleted, func(rc *v1alpha1.ReporterConnection) { controllerutil.AddFinalizer(rc, "example.com/audit") })
		h.settle()
		h.delete(deleted)
		h.wait(time.Second)
		expect(t, "hand-overs", h.counts["event HandedOver"], 1)
		h.changeConnection(deleted, func(rc *v1alpha1.ReporterConnection) { rc.Finalizers = nil })
		h.wait(time.Second)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "hand-overs", h.counts["event HandedOver"], 1)
	})
}

func TestReleaseBySomebodyElseIsNotTold(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.claim("a", "heir", h.ids[0])
		h.settle()
		h.hold = func(c *call) bool { return isPatchOf(c, deleted) }
		h.delete(deleted)
		h.settle()
		h.blind = connectionKind
		h.changeConnection(deleted, func(rc *v1alpha1.ReporterConnection) { rc.Finalizers = nil })
		h.hold = nil
		h.settle()
		h.blind = ""
		h.wait(time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "hand-overs", h.counts["event HandedOver"], 0)
	})
}

func TestAnotherResourceOfTheSameNameIsAChange(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		key := h.claimThrough(defaultEndpointOfA, v1alpha1.DeletionPolicyRetain, "a", "ledger", h.ids[0])
		h.settle()
		h.blind = connectionKind
		h.delete(key)
		h.claimThrough(defaultEndpointOfA, v1alpha1.DeletionPolicyRetain, "a", "ledger", h.ids[1])
		h.instances[0].relist(connectionKind) // the watch had broken off meanwhile
		h.blind = ""
		h.wait(2 * time.Second)
		expect(t, "the resource", h.reason(key), "Available")
		expect(t, "the connection", h.connection(key).ConfigName(), "db-1")
	})
}

func TestNewContentsOfASecretWakeItsUsers(t *testing.T) {
	sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
		h.changeSecret(defaultSecretOfA, h.giveTo(""))
		h.settle()
		claim := h.claim("a", "claim", h.ids[0])
		h.wait(2 * time.Second)
		expect(t, "the resource", h.reason(claim), "Unauthorized")
		h.changeSecret(defaultSecretOfA, h.giveTo("ours"))
		h.wait(2 * time.Second)
		expect(t, "the resource", h.reason(claim), "Available")
	})
}

func TestChangeOfAnEndpointWakesItsDeletions(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.changeEndpoint(defaultEndpointOfA, suspend)
		h.settle()
		h.delete(deleted)
		h.wait(time.Minute)
		expect(t, "the resource", h.reason(deleted), "Suspended")
		h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.Suspend = false })
		h.wait(2 * time.Second)
		expect(t, "the resource", h.reason(deleted), "gone")
	})
}

func TestWhatWaitsDoesNotAskAtOnceAfterAStart(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		for n := range 3 {
			h.homeReporter().StartTenantJob("ours", fmt.Sprintf("db-%d", n))
			deleted := h.claim("a", fmt.Sprintf("deleted-%d", n), h.ids[n])
			h.settle()
			h.delete(deleted)
		}
		h.wait(90 * time.Minute)
		asked := h.countCalls(func(c *call) bool { return c.http && strings.HasPrefix(c.what, "DELETE ") })
		h.restart()
		h.wait(time.Second)
		expect(t, "attempts in the first second", *asked, 0)
		h.wait(11 * time.Minute)
		expect(t, "all have asked", *asked >= 3, true)
	})
}

func TestRoutineLookUpsArePacedAfterAStart(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		for n := range 3 {
			h.claim("a", fmt.Sprintf("claim-%d", n), h.ids[n])
		}
		h.wait(time.Minute)
		asked := h.countCalls(func(c *call) bool { return c.http && strings.Contains(c.what, "/v1/management/connections/") })
		h.restart()
		h.wait(time.Second)
		expect(t, "look-ups in the first second", *asked, 1)
		h.wait(10 * time.Second)
		expect(t, "look-ups in all", *asked, 3)
	})
}

func TestAttemptThatSomebodyAsksForIsMadeAtOnce(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		h.reporters[homeHost].down = &response{503, http.Header{"Retry-After": {"600"}}, nil}
		h.delete(deleted)
		h.wait(2 * time.Minute)
		expect(t, "the resource", h.reason(deleted), "ReporterUnavailable")
		h.reporters[homeHost].down = nil
		h.askFor(connectionKind, deleted)
		h.settle()
		expect(t, "the resource", h.reason(deleted), "gone")
	})
}

func TestCheckThatSomebodyAsksForIsMadeAtOnce(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		h.reporters[homeHost].down = &response{503, http.Header{"Retry-After": {"600"}}, nil}
		h.wait(80 * time.Minute)
		expect(t, "the endpoint is ready", h.isEndpointReady(defaultEndpointOfA), false)
		h.reporters[homeHost].down = nil
		h.askFor(endpointKind, defaultEndpointOfA)
		h.settle()
		expect(t, "the endpoint is ready", h.isEndpointReady(defaultEndpointOfA), true)
	})
}

func TestEndpointsOfOneReporterAreReadyTogether(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		h.reporters[homeHost].down = &response{503, http.Header{}, nil}
		h.wait(80 * time.Minute)
		expect(t, "the endpoint is ready", h.isEndpointReady(defaultEndpointOfB), false)
		h.reporters[homeHost].down = nil
		h.askFor(endpointKind, defaultEndpointOfA)
		h.settle()
		expect(t, "the endpoint is ready", h.isEndpointReady(defaultEndpointOfA), true)
		expect(t, "the other one is ready", h.isEndpointReady(defaultEndpointOfB), true)
	})
}

func TestOwnWriteDoesNotEndTheProcess(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		end := h.homeReporter().StartTenantJob("ours", "db-0")
		h.delete(deleted)
		h.settle()
		expect(t, "the resource", h.reason(deleted), "JobInProgress")
		end()
		h.askFor(connectionKind, deleted) // less than a second after the first attempt
		h.settle()
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "processes that ended themselves", h.counts["operator ended itself"], 0)
	})
}
