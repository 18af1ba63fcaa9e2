// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/connection"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// waitingForAJob claims a connection, deletes the claim while a job reads from it, and returns how to end the job.
func (h *history) waitingForAJob(t *testing.T) (deleted client.ObjectKey, end func()) {
	t.Helper()
	deleted = h.claim("a", "deleted", h.ids[0])
	h.settle()
	end = h.homeReporter().StartTenantJob("ours", "db-0")
	h.delete(deleted)
	h.wait(5 * time.Minute)
	expect(t, "the resource", h.reason(deleted), "JobInProgress")
	return deleted, end
}

func TestDeletionThatWaitedIsJudgedByWhatTheAPIServerSays(t *testing.T) {
	for name, change := range map[string]struct {
		blind  string
		do     func(h *history)
		reason string
	}{
		"a claim was made": {connectionKind, func(h *history) { h.claim("a", "heir", h.ids[0]) }, "gone"},
		"a claim was made elsewhere, and shown the connection": {connectionKind, func(h *history) {
			rc := &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "b", Name: "heir"}, Spec: v1alpha1.ReporterConnectionSpec{
				ConnectionID: h.ids[0], DeletionPolicy: v1alpha1.DeletionPolicyDelete, EndpointRef: v1alpha1.EndpointReference{Name: "default"}}}
			shown := place{"http://" + homeHost, "ours"}
			rc.Status.ObservedIn = &v1alpha1.ObservedIn{URL: shown.base, TenantID: shown.tenant}
			h.must(h.api.create(rc))
			uid := h.connection(client.ObjectKeyFromObject(rc)).UID
			h.sightings[uid] = append(h.sightings[uid], sighting{place: shown})
		}, "gone"},
		"a claim was made that retains": {connectionKind, func(h *history) {
			h.claimThrough(defaultEndpointOfA, v1alpha1.DeletionPolicyRetain, "a", "heir", h.ids[0])
		}, "gone"},
		"the resource retains": {connectionKind, func(h *history) {
			h.changeConnection(client.ObjectKey{Namespace: "a", Name: "deleted"}, retainConnection)
		}, "gone"},
		"the resource is protected": {connectionKind, func(h *history) { h.changeConnection(client.ObjectKey{Namespace: "a", Name: "deleted"}, protect) }, "DeletionProtected"},
		"the resource is made anew": {connectionKind, func(h *history) {
			key := client.ObjectKey{Namespace: "a", Name: "deleted"}
			h.api.forceGone(connectionKind, key)
			h.claim("a", "deleted", h.ids[0])
		}, "Available"},
		"the endpoint is suspended":    {endpointKind, func(h *history) { h.changeEndpoint(defaultEndpointOfA, suspend) }, "Suspended"},
		"the endpoint retains":         {endpointKind, func(h *history) { h.changeEndpoint(defaultEndpointOfA, retain) }, "gone"},
		"the endpoint delays":          {endpointKind, func(h *history) { h.changeEndpoint(defaultEndpointOfA, delay(24*time.Hour)) }, "DeletionDelayed"},
		"the endpoint leads elsewhere": {endpointKind, func(h *history) { h.changeEndpoint(defaultEndpointOfA, leadTo("gone.test")) }, "ReporterUnavailable"},
		"the endpoint is gone":         {endpointKind, func(h *history) { h.api.forceGone(endpointKind, defaultEndpointOfA) }, "EndpointNotFound"},
		"the endpoint is made anew": {endpointKind, func(h *history) {
			h.api.forceGone(endpointKind, defaultEndpointOfA)
			e := h.endpoint("a", "default")
			e.Spec.Suspend = true
			h.must(h.api.create(e))
		}, "Suspended"},
		"the Secret lost its mark": {secretKind, func(h *history) { h.changeSecret(defaultSecretOfA, unmark) }, "SecretNotGranted"},
		"the Secret is gone":       {secretKind, func(h *history) { h.api.forceGone(secretKind, defaultSecretOfA) }, "SecretNotFound"},
		"the Secret is made anew, unmarked": {secretKind, func(h *history) {
			h.api.forceGone(secretKind, defaultSecretOfA)
			s := h.secret("a", "ours")
			s.Labels = nil
			h.must(h.api.create(s))
		}, "SecretNotGranted"},
	} {
		for world, tape := range map[string][]int{"bearer": withBearerToken, "login": withAccessManager, "before 1.36": bearerNoAdmission} {
			t.Run(name+", "+world, func(t *testing.T) {
				sceneWith(t, tape, func(t *testing.T, h *history) {
					deleted, end := h.waitingForAJob(t)
					h.blind = change.blind
					change.do(h)
					end()
					h.wait(11 * time.Minute)
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

// snapshot is what the API server had at a revision.
type snapshot struct {
	revision, era int64
	objects       map[string]map[client.ObjectKey]client.Object
}

func (s *apiServer) snapshot() snapshot {
	taken := snapshot{s.revision, s.eras, map[string]map[client.ObjectKey]client.Object{}}
	for kind, objects := range s.objects {
		taken.objects[kind] = maps.Clone(objects)
	}
	return taken
}

// restore puts the API server back, as etcd does from a snapshot. No watch tells of it.
func (s *apiServer) restore(taken snapshot) {
	s.revision = taken.revision
	if s.stride > 1 {
		s.eras++
		s.revision += s.eras - taken.era
	}
	for kind := range s.objects {
		for key := range s.objects[kind] {
			if _, found := taken.objects[kind][key]; !found {
				s.versions[kind][key] = append(s.versions[kind][key], version{s.revision, time.Now(), nil})
			}
		}
		s.objects[kind] = maps.Clone(taken.objects[kind])
		for key, object := range s.objects[kind] {
			s.versions[kind][key] = append(s.versions[kind][key], version{s.revision, time.Now(), object})
		}
	}
}

func TestAPIServerThatIsRestoredEndsTheOperator(t *testing.T) {
	t.Run("to before the deletion", func(t *testing.T) {
		scene(t, func(t *testing.T, h *history) {
			deleted := h.claim("a", "deleted", h.ids[0])
			h.settle()
			taken := h.api.snapshot()
			end := h.homeReporter().StartTenantJob("ours", "db-0")
			h.delete(deleted)
			h.wait(5 * time.Minute)
			h.api.restore(taken)
			end()
			h.wait(22 * time.Minute)
			expect(t, "the connection is alive", h.alive(h.ids[0]), true)
			expect(t, "the resource", h.reason(deleted), "Available")
			expect(t, "the operator ended", h.counts["operator ended itself"] > 0, true)
		})
	})
	t.Run("to before another claim was deleted", func(t *testing.T) {
		scene(t, func(t *testing.T, h *history) {
			deleted, end := h.waitingForAJob(t)
			claim := h.claim("a", "claim", h.ids[0])
			h.hold = func(*call) bool { return true } // nothing is handed over meanwhile
			taken := h.api.snapshot()
			h.changeConnection(claim, func(rc *v1alpha1.ReporterConnection) {
				rc.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain
				rc.Finalizers = nil
			})
			h.delete(claim)
			h.settle()
			h.api.restore(taken)
			h.hold = nil
			end()
			h.wait(22 * time.Minute)
			expect(t, "the connection is alive", h.alive(h.ids[0]), true)
			expect(t, "the resource", h.reason(deleted), "gone")
		})
	})
	t.Run("to before the brake was lifted", func(t *testing.T) {
		scene(t, func(t *testing.T, h *history) {
			deleted, end := h.waitingForAJob(t)
			h.changeEndpoint(defaultEndpointOfA, suspend)
			h.settle()
			taken := h.api.snapshot()
			h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.Suspend = false })
			h.wait(time.Minute)
			h.api.restore(taken)
			end()
			h.wait(22 * time.Minute)
			expect(t, "the connection is alive", h.alive(h.ids[0]), true)
			expect(t, "the resource", h.reason(deleted), "Suspended")
			expect(t, "the operator ended", h.counts["operator ended itself"] > 0, true)
		})
	})
}

func TestResourceThatTheRestoredAPIServerDoesNotHaveIsNoGround(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		taken := h.api.snapshot()
		h.hold = func(c *call) bool { return isCall(c, http.MethodGet, h.ids[0]) }
		h.delete(h.claim("a", "deleted", h.ids[0]))
		h.settle() // it is never looked at before its deletion, which asks where it is
		h.api.restore(taken)
		h.instances[0].relist(connectionKind)
		h.hold = nil
		h.wait(time.Hour)
		expect(t, "DELETEs", h.counts["DELETE sent"], 0)
		expect(t, "the connection is alive", h.alive(h.ids[0]), true)
	})
}

func TestLeaderThatWasReplacedSendsNothing(t *testing.T) {
	sceneWith(t, withAccessManager, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		old := h.instances[0]
		h.manager.RevokeTokens()
		h.hold = func(c *call) bool { return c.i == old && strings.Contains(c.what, "login/oauth") }
		h.delete(deleted)
		h.wait(time.Second)
		old.paused = true
		h.claim("a", "heir", h.ids[0])
		h.wait(9 * time.Second)
		h.launch()
		h.wait(time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		old.paused, h.hold = false, nil
		h.wait(time.Minute)
		expect(t, "the connection is alive", h.alive(h.ids[0]), true)
		expect(t, "hand-overs", h.counts["event HandedOver"], 1)
	})
}

func TestNoDeletionWithoutTheAPIServersPermission(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		deleted, end := h.waitingForAJob(t)
		before := h.counts["DELETE sent"]
		h.hold = func(c *call) bool { return !c.http && !c.local }
		end()
		for range 200 { // whatever the operator reads or writes live fails
			h.wait(10 * time.Second)
			for _, c := range slices.Clone(h.calls) {
				if h.hold(c) {
					h.resume(c, nil, apierrors.NewInternalError(errors.New("etcd has no leader")))
				}
			}
		}
		expect(t, "DELETEs", h.counts["DELETE sent"]-before, 0)
		expect(t, "the connection is alive", h.alive(h.ids[0]), true)
		h.hold = nil
		h.wait(11 * time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "DELETEs", h.counts["DELETE sent"]-before, 1)
	})
}

func TestEveryLostAnswerToADeletionIsSettledByALook(t *testing.T) {
	for name, loss := range map[string]reportertest.Behaviour{
		"login page":   reportertest.LoginPage(),
		"proxy's 404":  reportertest.Answer(404, textHTML, "not found"),
		"server error": reportertest.Answer(502, nil, "bad gateway"),
		"odd 2xx":      reportertest.Answer(202, nil, ""),
		"unauthorized": reportertest.Answer(401, nil, "Unauthorized"),
		"too many":     reportertest.Answer(429, http.Header{"Retry-After": {"86400"}}, ""),
	} {
		t.Run(name, func(t *testing.T) {
			sceneWith(t, withAccessManager, func(t *testing.T, h *history) {
				deleted := h.claim("a", "deleted", h.ids[0])
				h.settle()
				h.homeReporter().Inject(reportertest.Fault{Method: "DELETE", ID: h.ids[0], Times: 1, Do: reportertest.AfterActing(loss)})
				h.delete(deleted)
				h.wait(12 * time.Minute)
				expect(t, "the resource", h.reason(deleted), "gone")
				expect(t, "the connection is alive", h.alive(h.ids[0]), false)
				expect(t, "warnings", len(h.warned), 0)
			})
		})
	}
}

func TestNothingButReportersOwnAnswerEndsADeletion(t *testing.T) {
	json := http.Header{"Content-Type": {"application/json"}}
	for name, answer := range map[string]reportertest.Behaviour{
		"a 404 of another code":           reportertest.Answer(404, json, `{"code":"FET-1002","title":"x","message":"x"}`),
		"a 404 with FET-1001 in the text": reportertest.Answer(404, json, `{"code":"AUT-1","title":"FET-1001","message":"FET-1001"}`),
		"a 404 with FET-1001 in HTML":     reportertest.Answer(404, textHTML, `<p>{"code":"FET-1001"}</p>`),
		"a 404 that is cut":               reportertest.Answer(404, json, `{"code":"FET-1001"`),
		"a 404 with a second document":    reportertest.Answer(404, json, `{"code":"FET-1001","title":"x","message":"x"}{}`),
		"a list":                          reportertest.Answer(404, json, `[{"code":"FET-1001"}]`),
		"two codes":                       reportertest.Answer(404, json, `{"code":404,"details":{"code":"FET-1001"}}`),
		"410":                             reportertest.Answer(410, json, `{"code":"FET-1001","title":"x","message":"x"}`),
		"200 with the code":               reportertest.Answer(200, json, `{"code":"FET-1001","title":"x","message":"x"}`),
		"403 with the code":               reportertest.Answer(403, json, `{"code":"FET-1001","title":"x","message":"x"}`),
		"205":                             reportertest.Answer(205, nil, ""),
		"203":                             reportertest.Answer(203, json, `{}`),
		"304":                             reportertest.Answer(304, nil, ""),
		"100-and-nothing":                 reportertest.Answer(418, nil, ""),
	} {
		for _, both := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, to every method %t", name, both), func(t *testing.T) {
				scene(t, func(t *testing.T, h *history) {
					deleted := h.claim("a", "deleted", h.ids[0])
					h.settle()
					method := "DELETE"
					if both {
						method = ""
					}
					mend := h.homeReporter().Inject(reportertest.Fault{Method: method, ID: h.ids[0], Do: answer})
					h.delete(deleted)
					h.wait(25 * time.Minute)
					expect(t, "the connection is alive", h.alive(h.ids[0]), true)
					expect(t, "the resource is gone", h.reason(deleted) == "gone", false)
					mend()
					h.wait(12 * time.Minute)
					expect(t, "the resource", h.reason(deleted), "gone")
					expect(t, "the connection is alive", h.alive(h.ids[0]), false)
				})
			})
		}
	}
}

func TestBlockedDeletionIsQuiet(t *testing.T) {
	for name, tape := range map[string][]int{"bearer": withBearerToken, "login": withAccessManager} {
		for what, answer := range map[string]reportertest.Behaviour{
			"JobInProgress":       nil,
			"Unauthorized":        reportertest.Answer(401, http.Header{"Content-Type": {"text/plain"}}, "Unauthorized"),
			"Forbidden":           reportertest.Answer(403, http.Header{"Content-Type": {"text/plain"}}, "Forbidden"),
			"ReporterUnavailable": reportertest.Answer(503, nil, ""),
		} {
			t.Run(what+", "+name, func(t *testing.T) {
				sceneWith(t, tape, func(t *testing.T, h *history) {
					deleted := h.claim("a", "deleted", h.ids[0])
					h.settle()
					if answer == nil {
						h.homeReporter().StartTenantJob("ours", "db-0")
					} else {
						h.homeReporter().Inject(reportertest.Fault{Method: "DELETE", ID: h.ids[0], Do: answer})
					}
					writes := h.countCalls(func(c *call) bool { return strings.Contains(c.what, "status of ReporterConnection a/deleted") })
					h.delete(deleted)
					h.wait(24 * time.Hour)
					expect(t, "the resource", h.reason(deleted), what)
					if sent := h.counts["DELETE sent"]; sent > 2*(24*6+60) {
						t.Errorf("%d DELETEs in a day", sent)
					}
					if *writes > 2 {
						t.Errorf("%d status writes in a day", *writes)
					}
				})
			})
		}
	}
}

func TestTwoClaimsThatAreDeletedTogetherLeaveNothingBehind(t *testing.T) {
	for step := range 40 {
		t.Run(fmt.Sprint(step), func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				one, two := h.claim("a", "one", h.ids[0]), h.claim("a", "two", h.ids[0])
				other := h.claim("b", "three", h.ids[0])
				h.wait(time.Minute)
				h.delete(one)
				for range step {
					h.observe()
					h.machinery()
				}
				h.blind = connectionKind
				h.delete(two)
				for range step {
					h.observe()
					h.machinery()
				}
				h.delete(other)
				h.wait(time.Second)
				h.blind = ""
				h.wait(12 * time.Minute)
				for _, key := range []client.ObjectKey{one, two, other} {
					expect(t, key.Name, h.reason(key), "gone")
				}
				expect(t, "the connection is alive", h.alive(h.ids[0]), false)
				expect(t, "warnings", len(h.warned), 0)
			})
		})
	}
}

func TestClaimWithoutFinalizerIsHeldBeforeItInherits(t *testing.T) {
	sceneWith(t, bearerNoAdmission, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		h.hold = func(c *call) bool { return strings.HasPrefix(c.what, "patch ReporterConnection a/heir") }
		heir := h.claim("a", "heir", h.ids[0])
		h.delete(deleted)
		h.wait(time.Second)
		h.delete(heir) // it has no finalizer yet: it is gone at once
		h.hold = nil
		h.wait(12 * time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "the heir", h.reason(heir), "gone")
		expect(t, "the connection is alive", h.alive(h.ids[0]), false)
	})
}

func TestResourceThatTookAnothersPlaceInheritsNothingOfIt(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		key := h.claim("a", "ledger", h.ids[0])
		h.settle()
		isRelease := func(c *call) bool { return strings.HasPrefix(c.what, "patch ReporterConnection a/ledger") }
		h.hold = isRelease
		h.delete(key)
		h.wait(time.Second)
		expect(t, "the connection is alive", h.alive(h.ids[0]), false)
		for _, c := range slices.Clone(h.calls) {
			if isRelease(c) {
				h.resume(c, nil, apierrors.NewInternalError(errors.New("etcd has no leader")))
			}
		}
		h.blind = connectionKind
		h.api.forceGone(connectionKind, key)
		h.claim("a", "ledger", h.ids[1])
		h.delete(key)
		h.hold = nil
		h.wait(time.Second)
		h.instances[0].relist(connectionKind)
		h.blind = ""
		h.wait(12 * time.Minute)
		expect(t, "the resource", h.reason(key), "gone")
		expect(t, "the second connection is alive", h.alive(h.ids[1]), false)
	})
}

func TestHangingReporterHoldsUpNoOther(t *testing.T) {
	sceneWith(t, []int{2}, func(t *testing.T, h *history) {
		// A pass that waits for an answer takes a worker, of which the simulation has eight.
		h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.MaxInFlight = 4 })
		other := h.endpoint("b", "other")
		other.Spec.URL = "http://" + otherHost
		h.must(h.api.create(other))
		theirs := h.claimThrough(client.ObjectKeyFromObject(other), v1alpha1.DeletionPolicyDelete, "b", "theirs", h.ids[4])
		h.settle()
		for n := range 60 {
			id := fmt.Sprintf("019996b8-f3d1-7d2b-a193-%012d", n)
			h.homeReporter().Add(reportertest.Connection{ID: id, ConfigName: fmt.Sprintf("more-%d", n)})
			h.home[id] = homeHost
			h.claim("a", fmt.Sprintf("rc-%02d", n), id)
		}
		h.wait(2 * time.Minute)
		h.hold = func(c *call) bool {
			return c.http && strings.Contains(c.what, homeHost) && strings.Contains(c.what, "a193")
		}
		for n := range 60 {
			h.delete(client.ObjectKey{Namespace: "a", Name: fmt.Sprintf("rc-%02d", n)})
		}
		h.wait(time.Second)
		h.delete(theirs)
		h.wait(2 * time.Second)
		expect(t, "the other's resource", h.reason(theirs), "gone")
		h.hold = nil
		h.wait(15 * time.Minute)
		expect(t, "connections left", len(h.api.list(connectionKind)), 0)
	})
}

func TestStrangersCannotHoldADeletionByTurns(t *testing.T) {
	for name, between := range map[string]func(h *history){
		"with restarts": func(h *history) {
			h.kill(h.instances[0])
			h.launch()
		},
		"with a job in between": func(h *history) {
			end := h.homeReporter().StartTenantJob("ours", "db-0")
			h.wait(time.Second)
			end()
		},
		"with a brake in between": func(h *history) {
			h.changeEndpoint(defaultEndpointOfA, suspend)
			h.wait(time.Second)
			h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.Suspend = false })
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "with restarts" {
				t.Skip("a restart of the operator begins the ten minutes anew, as docs/security.md says")
			}
			sceneWith(t, withAccessManager, func(t *testing.T, h *history) {
				deleted := h.claim("a", "deleted", h.ids[0])
				h.settle()
				neighbour := h.neighbourBehind("silent.test")
				for n := range 5 {
					h.claimThrough(neighbour, v1alpha1.DeletionPolicyRetain, "b", fmt.Sprintf("claim-%d", n), h.ids[0])
				}
				h.wait(time.Second)
				h.delete(deleted)
				for n := range 12 {
					h.wait(2 * time.Minute)
					if h.reason(deleted) == "gone" {
						break
					}
					between(h)
					if n >= 6 {
						t.Errorf("held for %s, %s", time.Duration(n+1)*2*time.Minute, h.reason(deleted))
					}
				}
				expect(t, "the resource", h.reason(deleted), "gone")
			})
		})
	}
}

func TestClaimWithAnOpaqueTokenCountsWhereItIsShownTheConnection(t *testing.T) {
	for theirToken, wantAlive := range map[string]bool{"opaque-ours-too": true, "opaque-ours": true, "opaque-theirs": false} {
		t.Run(theirToken, func(t *testing.T) {
			sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
				h.allowOpaqueTokens()
				h.rotate("opaque-ours")
				h.changeSecret(client.ObjectKey{Namespace: "b", Name: "credentials"}, func(s *corev1.Secret) { s.Data = map[string][]byte{"token": []byte(theirToken)} })
				h.settle()
				deleted := h.claim("a", "deleted", h.ids[0])
				h.claim("b", "claim", h.ids[0])
				h.wait(time.Minute)
				h.delete(deleted)
				h.wait(time.Hour)
				expect(t, "the connection is alive", h.alive(h.ids[0]), wantAlive)
				expect(t, "the resource", h.reason(deleted), "gone")
			})
		})
	}
}

func TestWaitsAreBoundedThoughTheClocksDiffer(t *testing.T) {
	for name, skew := range map[string]time.Duration{"an hour behind": -time.Hour, "a minute behind": -time.Minute} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				deleted := h.claim("a", "deleted", h.ids[0])
				h.settle()
				h.homeReporter().StartTenantJob("ours", "db-0")
				h.blind = connectionKind
				h.delete(deleted)
				object, _ := h.api.get(connectionKind, deleted)
				h.must(h.api.update(object, func(o client.Object) {
					at := metav1.NewTime(time.Now().Add(skew).Truncate(time.Second))
					o.SetDeletionTimestamp(&at)
				}))
				h.blind = ""
				h.wait(time.Hour)
				if sent := h.counts["DELETE sent"]; sent < 5 || sent > 100 {
					t.Errorf("%d DELETEs in an hour", sent)
				}
				expect(t, "the resource", h.reason(deleted), "JobInProgress")
			})
		})
	}
}

func TestRetainThatComesAndGoesLeavesTheConnectionAsItSaidLast(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		deleted, end := h.waitingForAJob(t)
		h.hold = func(c *call) bool { return strings.HasPrefix(c.what, "patch ReporterConnection a/deleted") }
		h.changeConnection(deleted, retainConnection)
		h.wait(time.Second)
		h.blind = connectionKind
		h.changeConnection(deleted, func(rc *v1alpha1.ReporterConnection) { rc.Spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete })
		h.hold = nil
		h.wait(time.Minute)
		h.blind = ""
		end()
		h.wait(12 * time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "the connection is alive", h.alive(h.ids[0]), false)
		expect(t, "events of a release", h.counts["event Retained"], 0)
	})
}

func TestEndpointThatRetainsNoMoreReleasesNothing(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		h.changeEndpoint(defaultEndpointOfA, retain)
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		h.blind = endpointKind
		h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) {
			spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete
		})
		h.delete(deleted)
		h.wait(time.Minute)
		h.blind = ""
		h.wait(12 * time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "the connection is alive", h.alive(h.ids[0]), false)
	})
}

func TestHeirThatNamesAnotherConnectionNowIsNone(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		deleted, end := h.waitingForAJob(t)
		h.hold = func(c *call) bool { return strings.HasPrefix(c.what, "patch ReporterConnection a/deleted") }
		heir := h.claim("a", "heir", h.ids[0])
		h.wait(time.Second)
		h.blind = connectionKind
		h.api.forceGone(connectionKind, heir)
		h.claim("a", "heir", h.ids[1])
		for _, c := range slices.Clone(h.calls) {
			if h.hold(c) {
				h.resume(c, nil, apierrors.NewInternalError(errors.New("etcd has no leader")))
			}
		}
		h.hold = nil
		end()
		h.wait(12 * time.Minute)
		h.blind = ""
		h.wait(12 * time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "the connection is alive", h.alive(h.ids[0]), false)
	})
}

func TestNamespaceThatIsMadeAnewHasNoneOfTheOldOnesGrants(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.AllowedNamespaces = allowLabelledTeam })
		h.must(h.api.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "c", Labels: labelsOfAllowedTeam}}))
		h.settle()
		h.blind = namespaceKind
		h.api.forceGone(namespaceKind, client.ObjectKey{Name: "c"})
		h.must(h.api.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "c"}}))
		guest := h.claimThrough(defaultEndpointOfA, v1alpha1.DeletionPolicyDelete, "c", "guest", h.ids[0])
		h.wait(time.Second)
		h.delete(guest)
		h.wait(11 * time.Minute)
		expect(t, "the connection is alive", h.alive(h.ids[0]), true)
		h.blind = ""
		h.wait(11 * time.Minute)
		expect(t, "the connection is alive", h.alive(h.ids[0]), true)
		expect(t, "the resource", h.reason(guest), "EndpointNotFound")
	})
}

func TestAbsenceInAnotherTenantProvesNothing(t *testing.T) {
	for name, tape := range map[string][]int{"bearer": withBearerToken, "login": withAccessManager} {
		t.Run(name, func(t *testing.T) {
			sceneWith(t, tape, func(t *testing.T, h *history) {
				deleted, end := h.waitingForAJob(t)
				h.blind = secretKind
				h.changeSecret(defaultSecretOfA, func(s *corev1.Secret) { h.fill(s, "theirs") })
				h.blind = ""
				end()
				h.wait(time.Second)
				if h.reason(deleted) != "gone" { // an old token may still do it
					h.wait(3 * time.Hour)
				}
				expect(t, "it is gone with its connection, or neither", h.reason(deleted) == "gone", !h.alive(h.ids[0]))
			})
		})
	}
}

func TestTryNowIsTriedOnceForEachValue(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		deleted, _ := h.waitingForAJob(t)
		h.wait(2 * time.Hour)
		before, writes := h.counts["DELETE sent"], h.countCalls(func(c *call) bool { return strings.Contains(c.what, "status of ReporterConnection a/deleted") })
		for n := range 20 {
			h.changeConnection(deleted, func(rc *v1alpha1.ReporterConnection) {
				rc.Annotations = map[string]string{v1alpha1.RequestedAtAnnotation: fmt.Sprint(n)}
			})
			h.wait(time.Second)
		}
		if sent := h.counts["DELETE sent"] - before; sent < 20 || sent > 21 {
			t.Errorf("%d DELETEs for 20 requests", sent)
		}
		expect(t, "status writes", *writes, 0)
	})
}

func TestDeletionIsNotStarvedByLiveResources(t *testing.T) {
	sceneWith(t, []int{2}, func(t *testing.T, h *history) {
		for n := range 400 {
			id := fmt.Sprintf("019996b8-f3d1-7d2b-a193-%012d", n)
			h.homeReporter().Add(reportertest.Connection{ID: id, ConfigName: fmt.Sprintf("more-%d", n)})
			h.home[id] = homeHost
			h.claim("a", fmt.Sprintf("rc-%03d", n), id)
		}
		deleted := client.ObjectKey{Namespace: "a", Name: "rc-399"}
		h.wait(time.Second)
		h.kill(h.instances[0])
		gets := h.countCalls(func(c *call) bool {
			return c.http && strings.HasPrefix(c.what, "GET") && strings.Contains(c.what, "a193")
		})
		h.launch()
		h.wait(time.Minute)
		if *gets > 150 {
			t.Errorf("%d requests in the minute after a start", *gets)
		}
		h.delete(deleted)
		h.wait(2 * time.Second)
		expect(t, "the resource", h.reason(deleted), "gone")
	})
}

func TestReadThatBeganBeforeAnotherDeletionAskedIsNotSharedWithIt(t *testing.T) {
	for name, change := range map[string]struct {
		blind, read string
		do          func(h *history)
		reason      string
	}{
		"list of claims": {connectionKind, "list " + connectionKind, func(h *history) { h.claim("a", "heir", h.ids[0]) }, "gone"},
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
				expect(t, "such a read is under way", held > 0, true)
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
		for _, c := range slices.Clone(h.calls) {
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
					expect(t, "lost answers", *lost > 0, true)
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
		"it leads there":               {"", func(*history) {}, true},
		"its endpoint leads elsewhere": {endpointKind, func(h *history) { h.changeEndpoint(other, leadTo("elsewhere.test")) }, false},
		"its endpoint is gone":         {endpointKind, func(h *history) { h.api.forceGone(endpointKind, other) }, false},
		"it is being deleted":          {connectionKind, func(h *history) { h.delete(client.ObjectKey{Namespace: "b", Name: "claim"}) }, false},
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
		for _, c := range h.instances[0].controllers { // whose clock is a minute ahead
			if r, is := c.Reconciler.(kube.Bounded).Reconciler.(*connection.Reconciler); is {
				r.ServerTime = func() time.Time { return time.Now().Add(-time.Minute) }
			}
		}
		h.changeEndpoint(defaultEndpointOfA, delay(30*time.Second))
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		h.hold = func(*call) bool { return true }
		h.delete(deleted)
		h.api.objects[connectionKind][deleted].GetDeletionTimestamp().Time = time.Now().Add(-time.Minute).Truncate(time.Second)
		h.hold = nil
		h.wait(25 * time.Second)
		expect(t, "the connection is alive", h.alive(h.ids[0]), true)
		h.wait(10 * time.Second)
		expect(t, "the resource", h.reason(deleted), "gone")
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
