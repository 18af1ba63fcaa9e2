// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

func TestReadThatBeganBeforeAnotherDeletionAskedIsNotSharedWithIt(t *testing.T) {
	for name, change := range map[string]struct {
		blind, read string
		do          func(h *history)
		reason      string
	}{
		"list of claims": {connectionKind, "list " + connectionKind, func(h *history) { h.claim("a", "heir", h.ids[0]) }, "gone"},
		"resource":       {connectionKind, "get " + connectionKind, func(h *history) { h.changeConnection(client.ObjectKey{Namespace: "a", Name: "deleted"}, protect) }, "DeletionProtected"},
		"endpoint":       {endpointKind, "get " + endpointKind, func(h *history) { h.changeEndpoint(defaultEndpointOfA, suspend) }, "Suspended"},
		"Secret":         {secretKind, "get " + secretKind, func(h *history) { h.changeSecret(defaultSecretOfA, unmark) }, "SecretNotGranted"},
	} {
		t.Run(name, func(t *testing.T) {
			sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
				first := h.claim("a", "first", h.ids[1])
				deleted, end := h.waitingForAJob(t)
				isRead := func(c *call) bool { return !c.local && !c.http && strings.HasPrefix(c.what, change.read) }
				h.hold = isRead
				h.delete(first)
				h.settle()
				held := 0
				for _, c := range h.calls { // read, and on its way back for long
					if isRead(c) {
						c.acted = true
						c.value, c.err = c.act()
						held++
					}
				}
				if held == 0 {
					t.Logf("no such read is under way: %v", h.calls)
				}
				slow := map[*call]bool{}
				for _, c := range h.calls {
					slow[c] = true
				}
				h.hold = func(c *call) bool { return slow[c] }
				h.blind = change.blind
				change.do(h)
				end()
				h.wait(11 * time.Minute)
				h.hold = nil
				h.wait(time.Minute)
				expect(t, "the connection is alive", h.alive(h.ids[0]), true)
				h.blind = ""
				h.wait(11 * time.Minute)
				expect(t, "the connection is alive", h.alive(h.ids[0]), true)
				expect(t, "the resource", h.reason(deleted), change.reason)
			})
		})
	}
}

// loseAnswers has the answers to all calls that begin so be lost after they took effect, from now on.
func (h *history) loseAnswers(prefix string, times int) (lost *int) {
	lost = new(0)
	h.hold = func(c *call) bool { return *lost < times && strings.HasPrefix(c.what, prefix) }
	for range 30 {
		h.wait(time.Second)
		for _, c := range append([]*call{}, h.calls...) {
			if h.hold(c) && !c.acted {
				c.acted = true
				c.value, c.err = c.act()
				h.lose(c)
				*lost++
			}
		}
	}
	h.hold = nil
	return lost
}

func TestTrailIsLeftOnceThoughTheAnswersToItsWritesAreLost(t *testing.T) {
	for name, release := range map[string]struct {
		do    func(h *history, key client.ObjectKey)
		event string
	}{
		"handed over":              {func(h *history, key client.ObjectKey) { h.claim("a", "heir", h.ids[0]); h.delete(key) }, "HandedOver"},
		"retained":                 {func(h *history, key client.ObjectKey) { h.changeConnection(key, retainConnection); h.delete(key) }, "Retained"},
		"retained by the endpoint": {func(h *history, key client.ObjectKey) { h.changeEndpoint(defaultEndpointOfA, retain); h.delete(key) }, "Retained"},
		"already deleted":          {func(h *history, key client.ObjectKey) { h.homeReporter().Delete(h.ids[0]); h.delete(key) }, "AlreadyDeleted"},
	} {
		for _, times := range []int{1, 2, 3} {
			t.Run(fmt.Sprintf("%s, %d lost", name, times), func(t *testing.T) {
				scene(t, func(t *testing.T, h *history) {
					deleted := h.claim("a", "deleted", h.ids[0])
					h.settle()
					release.do(h, deleted)
					lost := h.loseAnswers("patch ReporterConnection a/deleted", times)
					h.wait(12 * time.Minute)
					t.Log("lost ", *lost)
					expect(t, "the resource", h.reason(deleted), "gone")
					expect(t, "events", h.counts["event "+release.event], 1)
				})
			})
		}
	}
}

func TestMoveIsToldOnceThoughTheAnswerToItsWriteIsLost(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %t", restart), func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				h.reporters[otherHost].Add(reportertest.Connection{ID: h.ids[0], ConfigName: "db-0", Tenant: "ours", CreatedAt: h.began})
				deleted, _ := h.waitingForAJob(t)
				end := h.reporters[otherHost].StartTenantJob("ours", "db-0")
				h.changeEndpoint(defaultEndpointOfA, leadTo(otherHost))
				h.loseAnswers("patch the status of ReporterConnection a/deleted", 1)
				h.wait(12 * time.Minute)
				if restart {
					h.kill(h.instances[0])
					h.launch()
				}
				h.wait(time.Hour)
				expect(t, "the resource", h.reason(deleted), "JobInProgress")
				h.home[h.ids[0]] = otherHost
				end()
				h.wait(12 * time.Minute)
				expect(t, "the resource", h.reason(deleted), "gone")
				expect(t, "moves", h.counts["event Moved"], 1)
			})
		})
	}
}

func TestManyUnverifiedClaimsHideNoneThatCounts(t *testing.T) {
	sceneWith(t, withAccessManager, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		claim := h.claim("b", "claim", h.ids[0])
		h.settle()
		expect(t, "the claim", h.reason(claim), "Duplicate")
		h.must(h.api.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "aa"}})) // listed before b
		h.must(h.api.create(h.secret("aa", "ours")))
		for n := range 12 {
			silent := h.endpoint("aa", fmt.Sprintf("silent-%02d", n))
			silent.Spec.Auth.AccessManager.URL = "http://silent.test"
			h.must(h.api.create(silent))
			h.claimThrough(client.ObjectKeyFromObject(silent), v1alpha1.DeletionPolicyRetain, "aa", fmt.Sprintf("claim-%02d", n), h.ids[0])
		}
		h.wait(time.Minute)
		h.delete(deleted)
		h.wait(time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		h.wait(30 * time.Minute)
		expect(t, "the connection is alive", h.alive(h.ids[0]), true)
	})
}

func TestDeletionDoesNotMoveToAPlaceThatDoesNotShowTheConnection(t *testing.T) {
	for name, place := range map[string]struct {
		answer *response
		reason string
	}{
		"absent":      {nil, "AbsenceUnverified"},
		"login page":  {&response{200, textHTML, []byte("<title>Sign in</title>")}, "UnexpectedResponse"},
		"204 to all":  {&response{204, http.Header{}, nil}, "UnexpectedResponse"},
		"200 with {}": {&response{200, http.Header{"Content-Type": {"application/json"}}, []byte("{}")}, "UnexpectedResponse"},
		"another connection": {&response{200, http.Header{"Content-Type": {"application/json"}},
			[]byte(`{"id":"019996b8-f3d1-7d2b-a192-000000000001","configName":"db-1","productName":"p","type":"POSTGRESQL","host":"h","port":1,"databaseName":"d","userName":"u","createdAt":"2026-01-01T00:00:00Z","updatedAt":"2026-01-01T00:00:00Z"}`)}, "UnexpectedResponse"},
	} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				deleted, end := h.waitingForAJob(t)
				h.reporters[otherHost].down = place.answer
				h.changeEndpoint(defaultEndpointOfA, leadTo(otherHost))
				end()
				h.wait(time.Hour)
				expect(t, "the resource", h.reason(deleted), place.reason)
				expect(t, "the connection is alive", h.alive(h.ids[0]), true)
				expect(t, "moves", h.counts["event Moved"], 0)
				h.changeEndpoint(defaultEndpointOfA, leadTo(homeHost))
				h.wait(time.Minute)
				expect(t, "the resource", h.reason(deleted), "gone")
				expect(t, "the connection is alive", h.alive(h.ids[0]), false)
			})
		})
	}
}

func TestOnlyStatusAndIDProveAConnection(t *testing.T) {
	json := http.Header{"Content-Type": {"application/json"}}
	for name, answer := range map[string]reportertest.Behaviour{
		"another id":   reportertest.Answer(200, json, `{"id":"019996b8-f3d1-7d2b-a192-000000000001","configName":"db-1"}`),
		"no id":        reportertest.Answer(200, json, `{"configName":"db-0"}`),
		"an odd 2xx":   reportertest.Answer(203, json, `{"id":"019996b8-f3d1-7d2b-a192-000000000000","configName":"db-0"}`),
		"an error 200": reportertest.Answer(200, json, `{"code":"FET-1001","title":"x"}`),
	} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				h.homeReporter().Inject(reportertest.Fault{Method: "GET", ID: h.ids[0], Do: answer})
				live := h.claim("a", "live", h.ids[0])
				h.wait(time.Hour)
				expect(t, "the resource", h.reason(live), "UnexpectedResponse")
			})
		})
	}
}

func TestClaimElsewhereCountsAsLongAsItsWayLeadsThere(t *testing.T) {
	other := client.ObjectKey{Namespace: "b", Name: "default"}
	for name, change := range map[string]struct {
		blind string
		do    func(h *history)
		alive bool
	}{
		"it leads there":               {"", func(h *history) {}, true},
		"its endpoint leads elsewhere": {endpointKind, func(h *history) { h.changeEndpoint(other, leadTo("elsewhere.test")) }, false},
		"its endpoint is gone":         {endpointKind, func(h *history) { h.api.forceGone(endpointKind, other) }, false},
		"its Secret lost its mark":     {secretKind, func(h *history) { h.changeSecret(client.ObjectKey{Namespace: "b", Name: "credentials"}, unmark) }, false},
		"its Secret is another tenant's": {secretKind, func(h *history) {
			h.changeSecret(client.ObjectKey{Namespace: "b", Name: "credentials"}, func(s *corev1.Secret) { h.fill(s, "theirs") })
		}, false},
		"it is being deleted": {connectionKind, func(h *history) { h.delete(client.ObjectKey{Namespace: "b", Name: "claim"}) }, false},
		"it names another endpoint": {connectionKind, func(h *history) {
			h.changeConnection(client.ObjectKey{Namespace: "b", Name: "claim"}, nameMissingEndpoint)
		}, false},
	} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, late cache %t", name, late), func(t *testing.T) {
				sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
					h.changeEndpoint(defaultEndpointOfA, suspend)
					deleted := h.claim("a", "deleted", h.ids[0])
					h.claim("b", "claim", h.ids[0])
					h.wait(time.Minute)
					h.delete(deleted)
					h.wait(time.Minute)
					if late {
						h.blind = change.blind
					}
					change.do(h)
					h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.Suspend = false })
					h.wait(10 * time.Second)
					h.blind = ""
					h.wait(25 * time.Minute)
					expect(t, "the resource", h.reason(deleted), "gone")
					expect(t, "the connection is alive", h.alive(h.ids[0]), change.alive)
				})
			})
		}
	}
}

func TestDelayHoldsThoughTheClocksDiffer(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		h.changeEndpoint(defaultEndpointOfA, delay(30*time.Second))
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		h.hold = func(c *call) bool { return true }
		h.delete(deleted)
		h.api.objects[connectionKind][deleted].GetDeletionTimestamp().Time = time.Now().Add(-time.Minute).Truncate(time.Second)
		h.hold = nil
		h.wait(5 * time.Second)
		expect(t, "the connection is alive", h.alive(h.ids[0]), true)
	})
}

func TestClaimCountsWhereItsEndpointLeadsNowThoughTheCacheIsLate(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		elsewhere := client.ObjectKey{Namespace: "b", Name: "default"}
		deleted := h.claim("a", "deleted", h.ids[0])
		h.claim("b", "claim", h.ids[0])
		h.settle()
		h.changeEndpoint(elsewhere, leadTo("elsewhere.test"))
		h.wait(time.Minute)
		h.blind = endpointKind
		h.changeEndpoint(elsewhere, leadTo(homeHost))
		h.delete(deleted)
		h.wait(time.Minute)
		expect(t, "the connection is alive", h.alive(h.ids[0]), true)
		h.blind = ""
		h.wait(11 * time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "the connection is alive", h.alive(h.ids[0]), true)
	})
}
