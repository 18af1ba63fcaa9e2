// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// The scenes here attack what is promised of a resource that is renamed: the one that describes the same name in the same namespace, at the same
// endpoint, gets the connection of the one that is deleted, and nobody else does.

// renamed has two resources describe one connection, which the first has.
func (h *history) renamed(t *testing.T, alter func(rc *v1alpha1.ReporterConnection)) (first, second client.ObjectKey, id string) {
	t.Helper()
	first = h.describe("a", "first", "ledger-db")
	h.wait(time.Minute)
	id = h.statusOf(first).ConnectionID
	second = h.described("a", "second", "ledger-db", alter)
	h.wait(time.Minute)
	expect(t, "the second", h.reason(second), "Duplicate")
	return first, second, id
}

func asItIs(*v1alpha1.ReporterConnection) {}

// deletionsOf counts the DELETEs of a connection that were sent to the Reporter at home.
func (h *history) deletionsOf(id string) int {
	return len(slices.DeleteFunc(h.sentTo(homeHost, http.MethodDelete), func(r reportertest.Request) bool { return !strings.HasSuffix(r.Path, id) }))
}

// expectHandedOver expects that the connection of a resource that is gone is another's now, and that it is the same.
func (h *history) expectHandedOver(t *testing.T, first, second client.ObjectKey, id string) {
	t.Helper()
	expect(t, "the first", h.reason(first), "gone")
	expect(t, "DELETEs", h.deletionsOf(id), 0)
	h.expectOne(t, second, "ledger-db")
	expect(t, "the id", h.statusOf(second).ConnectionID, id)
	expect(t, "POSTs", h.creations(), 1)
}

// expectNoneLost expects that a connection lives if and only if a resource has it.
func (h *history) expectNoneLost(t *testing.T, id string) {
	t.Helper()
	var has []string
	for _, object := range h.api.list(connectionKind) {
		if rc := object.(*v1alpha1.ReporterConnection); idOf(rc) == id {
			has = append(has, rc.Name)
		}
	}
	if alive := h.homeReporter().Alive(id); alive != (len(has) > 0) {
		t.Errorf("the connection is alive %t, and %q have its id", alive, has)
	}
	if len(has) > 1 {
		t.Errorf("%q have one connection", has)
	}
}

// isConnectionPass says whether a call is a request of a pass about ReporterConnections, to Reporter or the API server.
func isConnectionPass(c *call) bool {
	return c.pass != nil && c.pass.controller.Name == "reporterconnection" && !c.local
}

// atEachCall plays a scene once for each request of a pass about connections that comes once do has been done: something happens to that request,
// or while it waits. It ends when there is no such request any more.
func atEachCall(t *testing.T, least int, do func(t *testing.T, h *history), happens func(t *testing.T, h *history, c *call), end func(t *testing.T, h *history)) {
	t.Helper()
	atEachCallWith(t, []int{}, least, do, happens, end)
}

// atEachCallWith is atEachCall in a world whose first choices are those of a tape.
func atEachCallWith(t *testing.T, tape []int, least int, do func(t *testing.T, h *history), happens func(t *testing.T, h *history, c *call), end func(t *testing.T, h *history)) {
	t.Helper()
	for n := range 60 {
		var held *call
		what := ""
		sceneWith(t, tape, func(t *testing.T, h *history) {
			calls, begun := 0, false
			seen := map[*call]bool{}
			h.hold = func(c *call) bool {
				if begun && isConnectionPass(c) && !seen[c] {
					seen[c] = true
					if calls++; calls == n+1 {
						held, what = c, c.what
					}
				}
				return c == held
			}
			do(t, h)
			begun = true
			h.wait(time.Second)
			if held == nil {
				return
			}
			h.say("--- it happens at call %d", n)
			happens(t, h, held)
			h.hold = nil
			h.wait(3 * time.Hour)
			end(t, h)
			if t.Failed() {
				t.Logf("it happened at call %d: %.150s", n, what)
			}
		})
		if held == nil || t.Failed() {
			if n < least {
				t.Errorf("%d calls", n)
			}
			return
		}
	}
}

// Promise: an heir by name gets the connection, whatever becomes of any single call: no DELETE, no second POST.
func TestHeirByNameThroughMisfortunes(t *testing.T) {
	for name, happens := range map[string]func(t *testing.T, h *history, c *call){
		"it fails before it takes effect": func(_ *testing.T, h *history, c *call) { h.refuse(c) },
		"its answer is lost": func(_ *testing.T, h *history, c *call) {
			c.acted = true
			c.value, c.err = c.act()
			h.lose(c)
		},
		"it is not answered, and carried out a minute later": func(_ *testing.T, h *history, c *call) {
			h.hold = func(other *call) bool { return other == c }
			h.wait(time.Minute)
			if !c.acted {
				h.carryOut(c)
			}
		},
		"the operator is killed, and what it has sent never arrives": func(_ *testing.T, h *history, _ *call) {
			h.kill(h.instances[0])
			h.calls = nil
			h.launch()
		},
		"the operator is killed, and what it has sent arrives late": func(_ *testing.T, h *history, _ *call) {
			h.kill(h.instances[0])
			calls := slices.Clone(h.calls)
			h.hold = func(c *call) bool { return slices.Contains(calls, c) }
			h.launch()
			h.wait(10 * time.Second)
			h.hold = nil
		},
		"the operator is killed after it has taken effect": func(_ *testing.T, h *history, c *call) {
			c.acted = true
			c.value, c.err = c.act()
			h.kill(h.instances[0])
			h.launch()
		},
		"the cache is behind": func(_ *testing.T, h *history, _ *call) {
			h.blind = connectionKind
			h.hold = nil
			h.wait(5 * time.Minute)
			h.blind = ""
		},
		"the operator is killed, and the cache of the next is behind": func(_ *testing.T, h *history, _ *call) {
			h.kill(h.instances[0])
			h.launch()
			h.blind = connectionKind
			h.hold = nil
			h.wait(5 * time.Minute)
			h.blind = ""
		},
		"another leads meanwhile, and the old one goes on after it": func(_ *testing.T, h *history, c *call) {
			old := h.instances[0]
			old.paused = true
			h.hold = func(other *call) bool { return other == c }
			h.sleep(15 * time.Second)
			h.launch()
			h.wait(5 * time.Minute)
			old.paused = false
			h.hold = nil
			h.wait(20 * time.Second)
			h.kill(old)
		},
		"another leads meanwhile, and the old one goes on beside it": func(_ *testing.T, h *history, c *call) {
			old := h.instances[0]
			old.paused = true
			h.hold = func(other *call) bool { return other == c }
			h.sleep(15 * time.Second)
			h.launch()
			old.paused = false
			h.hold = nil
			h.wait(20 * time.Second)
			h.kill(old)
		},
		"the watch breaks off": func(_ *testing.T, h *history, _ *call) { h.instances[0].relist(connectionKind) },
		"Reporter is down for an hour": func(_ *testing.T, h *history, _ *call) {
			h.reporters[homeHost].down = &response{503, http.Header{}, nil}
			h.hold = nil
			h.wait(time.Hour)
			h.reporters[homeHost].down = nil
		},
		"Reporter is in front of a login page for an hour": func(_ *testing.T, h *history, _ *call) {
			h.reporters[homeHost].down = &response{200, textHTML, []byte("<title>Sign in</title>")}
			h.hold = nil
			h.wait(time.Hour)
			h.reporters[homeHost].down = nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			var first, second client.ObjectKey
			var id string
			atEachCall(t, 4, func(t *testing.T, h *history) {
				first, second, id = h.renamed(t, asItIs)
				h.delete(first)
			}, happens, func(t *testing.T, h *history) { h.expectHandedOver(t, first, second, id) })
		})
	}
}

// Promise: the same, where the operator is killed twice.
func TestHeirByNameThroughTwoKills(t *testing.T) {
	for before := range 12 {
		t.Run(fmt.Sprint(before), func(t *testing.T) {
			var first, second client.ObjectKey
			var id string
			atEachCall(t, 0, func(t *testing.T, h *history) {
				first, second, id = h.renamed(t, asItIs)
				after := h.hold
				calls := 0
				seen := map[*call]bool{}
				h.hold = func(c *call) bool {
					if isConnectionPass(c) && !seen[c] {
						seen[c] = true
						calls++
					}
					return calls > before && seen[c]
				}
				h.delete(first)
				h.wait(time.Second)
				h.kill(h.instances[0])
				h.hold = after
				h.launch()
			}, func(_ *testing.T, h *history, _ *call) {
				h.kill(h.instances[0])
				h.launch()
			}, func(t *testing.T, h *history) { h.expectHandedOver(t, first, second, id) })
		})
	}
}

// Promise: whatever is done to the heir or the endpoint while the connection is handed over, it lives if and only if a resource has it.
func TestHeirThatChangesWhileItInherits(t *testing.T) {
	secondKey := client.ObjectKey{Namespace: "a", Name: "second"}
	handedOver := func(t *testing.T, h *history, first client.ObjectKey, id string) {
		h.expectHandedOver(t, first, secondKey, id)
	}
	for name, c := range map[string]struct {
		do  func(h *history)
		end func(t *testing.T, h *history, first client.ObjectKey, id string)
	}{
		"it is deleted too": {func(h *history) { h.delete(secondKey) }, func(t *testing.T, h *history, first client.ObjectKey, _ string) {
			expect(t, "the first", h.reason(first), "gone")
			expect(t, "the second", h.reason(secondKey), "gone")
			expect(t, "connections", len(h.named("ledger-db")), 0)
			expect(t, "POSTs", h.creations(), 1)
		}},
		"it is deleted too, and there is a third": {func(h *history) {
			h.described("a", "third", "ledger-db", asItIs)
			h.delete(secondKey)
		}, func(t *testing.T, h *history, first client.ObjectKey, _ string) {
			expect(t, "the first", h.reason(first), "gone")
			expect(t, "the second", h.reason(secondKey), "gone")
			h.expectOne(t, client.ObjectKey{Namespace: "a", Name: "third"}, "ledger-db")
		}},
		"it retains": {func(h *history) { h.changeConnection(secondKey, retainConnection) }, handedOver},
		"it is suspended for an hour": {func(h *history) {
			h.changeConnection(secondKey, suspended)
			h.hold = nil
			h.wait(20 * time.Second)
			h.blind = ""
			h.wait(time.Hour)
			h.changeConnection(secondKey, func(rc *v1alpha1.ReporterConnection) { rc.Spec.Suspend = false })
		}, handedOver},
		"it is protected": {func(h *history) { h.changeConnection(secondKey, protect) }, handedOver},
		"its endpoint is another, which leads elsewhere": {func(h *history) {
			other := h.endpoint("a", "other")
			other.Spec.URL = "http://" + otherHost
			h.must(h.api.create(other))
			h.changeConnection(secondKey, func(rc *v1alpha1.ReporterConnection) { rc.Spec.EndpointRef.Name = "other" })
		}, func(t *testing.T, h *history, first client.ObjectKey, id string) {
			expect(t, "the first", h.reason(first), "gone")
			h.expectNoneLost(t, id)
		}},
		"its endpoint is another, which is not there": {func(h *history) {
			h.changeConnection(secondKey, func(rc *v1alpha1.ReporterConnection) { rc.Spec.EndpointRef.Name = "missing" })
		}, func(t *testing.T, h *history, first client.ObjectKey, id string) {
			expect(t, "the first", h.reason(first), "gone")
			h.expectNoneLost(t, id)
		}},
		"its endpoint leads elsewhere for an hour": {func(h *history) {
			h.changeEndpoint(defaultEndpointOfA, leadTo(otherHost))
			h.hold = nil
			h.wait(20 * time.Second)
			h.blind = ""
			h.wait(time.Hour)
			h.changeEndpoint(defaultEndpointOfA, leadTo(homeHost))
		}, handedOver},
		"its endpoint leads elsewhere for an hour, and the caches do not know": {func(h *history) {
			h.blind = endpointKind
			h.changeEndpoint(defaultEndpointOfA, leadTo(otherHost))
			h.hold = nil
			h.wait(time.Minute)
			h.blind = ""
			h.wait(time.Hour)
			h.changeEndpoint(defaultEndpointOfA, leadTo(homeHost))
		}, handedOver},
		"its endpoint is DeleteOnly": {func(h *history) { h.changeEndpoint(defaultEndpointOfA, deleteOnly) }, func(t *testing.T, h *history, first client.ObjectKey, id string) {
			expect(t, "the first", h.reason(first), "gone")
			expect(t, "POSTs", h.creations(), 1)
			h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.ManagementPolicy = v1alpha1.ManagementPolicyFull })
			h.wait(20 * time.Minute)
			h.expectHandedOver(t, first, secondKey, id)
		}},
		"its endpoint is suspended for an hour": {func(h *history) {
			h.changeEndpoint(defaultEndpointOfA, suspend)
			h.hold = nil
			h.wait(20 * time.Second)
			h.blind = ""
			h.wait(time.Hour)
			h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.Suspend = false })
		}, handedOver},
		"it describes another host": {func(h *history) { h.changeConnection(secondKey, onHost("other.example.com")) }, handedOver},
		"its status is wiped": {func(h *history) { h.wipeStatus(secondKey) }, func(t *testing.T, h *history, first client.ObjectKey, id string) {
			expect(t, "the first", h.reason(first), "gone") // the name may have been asked for with a POST, which is refused
			h.expectOne(t, secondKey, "ledger-db")
			expect(t, "the id", h.statusOf(secondKey).ConnectionID, id)
		}},
		"its finalizer is stripped": {func(h *history) {
			h.changeConnection(secondKey, func(rc *v1alpha1.ReporterConnection) { rc.Finalizers = nil })
		}, handedOver},
		"it is replaced by another of its name, which describes something else": {func(h *history) {
			h.api.forceGone(connectionKind, secondKey)
			h.describe("a", "second", "other-db")
		}, func(t *testing.T, h *history, first client.ObjectKey, id string) {
			expect(t, "the first", h.reason(first), "gone")
			h.expectOne(t, secondKey, "other-db")
			expect(t, "it has another's", h.statusOf(secondKey).ConnectionID == id, false)
		}},
		"it is replaced by another of its name, which describes the same": {func(h *history) {
			h.api.forceGone(connectionKind, secondKey)
			h.describe("a", "second", "ledger-db")
		}, func(t *testing.T, h *history, first client.ObjectKey, _ string) {
			expect(t, "the first", h.reason(first), "gone")
			h.expectOne(t, secondKey, "ledger-db")
		}},
	} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, late caches %t", name, late), func(t *testing.T) {
				var first client.ObjectKey
				var id string
				atEachCall(t, 4, func(t *testing.T, h *history) {
					first, _, id = h.renamed(t, asItIs)
					h.delete(first)
				}, func(_ *testing.T, h *history, _ *call) {
					if late && h.blind == "" {
						h.blind = connectionKind
					}
					c.do(h)
					h.hold = nil
					h.wait(20 * time.Second)
					h.blind = ""
				}, func(t *testing.T, h *history) { c.end(t, h, first, id) })
			})
		}
	}
}

// Promise: an heir counts that is there before the DELETE is sent, also where the caches do not know it yet ("what the API server said after the
// deletion was seen").
func TestHeirThatComesWhileTheFirstIsDeleted(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("late caches %t", late), func(t *testing.T) {
			second := client.ObjectKey{Namespace: "a", Name: "second"}
			var first client.ObjectKey
			var id string
			isSent, isRead := false, false
			atEachCall(t, 2, func(_ *testing.T, h *history) {
				first = h.describe("a", "first", "ledger-db")
				h.wait(time.Hour)
				id = h.statusOf(first).ConnectionID
				isSent, isRead = false, false
				h.delete(first)
			}, func(_ *testing.T, h *history, held *call) {
				isSent = held.method == http.MethodDelete || h.deletionsOf(id) > 0
				if late {
					h.blind = connectionKind
				}
				h.described("a", "second", "ledger-db", asItIs)
				seen := map[*call]bool{held: true}
				h.hold = func(c *call) bool {
					if isConnectionPass(c) && !seen[c] {
						seen[c] = true
						isSent = isSent || c.method == http.MethodDelete
						isRead = isRead || !isSent && strings.HasPrefix(c.what, "list ReporterConnection")
					}
					return false
				}
				h.wait(20 * time.Second)
				h.blind = ""
			}, func(t *testing.T, h *history) {
				expect(t, "the first", h.reason(first), "gone")
				h.expectOne(t, second, "ledger-db")
				if isRead && !strings.HasPrefix(id, h.statusOf(second).ConnectionID) {
					t.Errorf("it was not handed over, though the heir was there when it was asked who claims it")
				}
			})
		})
	}
}

// Promise: a deletion that waits for a job hands over without waiting for it to end, and the heir waits with what it would change.
func TestHeirThatComesWhileAJobHoldsTheDeletion(t *testing.T) {
	for name, alter := range map[string]func(*v1alpha1.ReporterConnection){"the same": asItIs, "another port": onPort(6432), "retains": retainConnection} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				first := h.describe("a", "first", "ledger-db")
				h.wait(time.Minute)
				id := h.statusOf(first).ConnectionID
				end := h.homeReporter().StartTenantJob("ours", "ledger-db")
				h.delete(first)
				h.wait(20 * time.Minute)
				expect(t, "the first", h.reason(first), "JobInProgress")
				sent := h.deletionsOf(id)
				second := h.described("a", "second", "ledger-db", alter)
				h.wait(20 * time.Minute)
				expect(t, "the first", h.reason(first), "gone")
				expect(t, "DELETEs since the heir is there", h.deletionsOf(id)-sent, 0)
				expect(t, "the id", h.statusOf(second).ConnectionID, id)
				end()
				h.wait(30 * time.Minute)
				h.expectOne(t, second, "ledger-db")
				expect(t, "the id", h.statusOf(second).ConnectionID, id)
				expect(t, "the port", h.find(id).Port, int(h.connection(second).Spec.Connection.Port))
				expect(t, "POSTs", h.creations(), 1)
			})
		})
	}
}

// Promise: the job ends at any moment of the hand-over, and a DELETE goes out only while there is no heir.
func TestHeirThatComesAtTheVeryMomentTheJobEnds(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		first := h.describe("a", "first", "ledger-db")
		h.wait(time.Minute)
		id := h.statusOf(first).ConnectionID
		end := h.homeReporter().StartTenantJob("ours", "ledger-db")
		h.delete(first)
		h.wait(20 * time.Minute)
		h.blind = connectionKind // the operator hears of the heir later
		second := h.described("a", "second", "ledger-db", asItIs)
		end()
		h.wait(30 * time.Minute)
		h.blind = ""
		h.wait(30 * time.Minute)
		h.expectHandedOverAtLast(t, first, second, id)
	})
}

// expectHandedOverAtLast is expectHandedOver where DELETEs were sent before there was an heir.
func (h *history) expectHandedOverAtLast(t *testing.T, first, second client.ObjectKey, id string) {
	t.Helper()
	expect(t, "the first", h.reason(first), "gone")
	h.expectOne(t, second, "ledger-db")
	expect(t, "the id", h.statusOf(second).ConnectionID, id)
	expect(t, "POSTs", h.creations(), 1)
}

// Promise: of several heirs the eldest gets it, the others stay Duplicates, and it goes on from one to the next.
func TestHeirsInARow(t *testing.T) {
	for _, kill := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed at each call %t", kill), func(t *testing.T) {
			var keys []client.ObjectKey
			var id string
			begin := func(t *testing.T, h *history) {
				first, second, of := h.renamed(t, asItIs)
				h.wait(10 * time.Second)
				third := h.described("a", "a-third", "ledger-db", asItIs)
				h.wait(10 * time.Second)
				fourth := h.described("a", "a-fourth", "ledger-db", retainConnection)
				h.wait(10 * time.Second)
				keys, id = []client.ObjectKey{first, second, third, fourth}, of
			}
			end := func(t *testing.T, h *history) {
				h.expectHandedOver(t, keys[0], keys[1], id)
				expect(t, "the third", h.reason(keys[2]), "Duplicate")
				expect(t, "the fourth", h.reason(keys[3]), "Duplicate")
				h.delete(keys[1])
				h.wait(time.Hour)
				h.expectHandedOver(t, keys[1], keys[2], id)
				expect(t, "the fourth", h.reason(keys[3]), "Duplicate")
				h.delete(keys[2])
				h.wait(time.Hour)
				h.expectHandedOver(t, keys[2], keys[3], id)
				h.delete(keys[3])
				h.wait(time.Hour)
				expect(t, "the fourth", h.reason(keys[3]), "gone")
				expect(t, "the connection is alive", h.homeReporter().Alive(id), true)
			}
			if kill {
				killedAtEachCall(t, 4, begin, func(_ *testing.T, h *history) { h.delete(keys[0]) }, end)
				return
			}
			scene(t, func(t *testing.T, h *history) {
				begin(t, h)
				h.delete(keys[0])
				h.wait(20 * time.Minute)
				end(t, h)
			})
		})
	}
}

// Promise: who is deleted together with the first is no heir, in whatever order; the one that is left is.
func TestHeirOfTwoThatAreDeletedTogether(t *testing.T) {
	for _, order := range [][]string{{"first", "second"}, {"second", "first"}} {
		for _, third := range []bool{false, true} {
			t.Run(fmt.Sprintf("%q, a third %t", order, third), func(t *testing.T) {
				killedAtEachCall(t, 4, func(t *testing.T, h *history) {
					h.renamed(t, asItIs)
					if third {
						h.described("a", "third", "ledger-db", asItIs)
						h.wait(time.Minute)
					}
				}, func(_ *testing.T, h *history) {
					for _, name := range order {
						h.delete(client.ObjectKey{Namespace: "a", Name: name})
					}
				}, func(t *testing.T, h *history) {
					for _, name := range order {
						expect(t, name, h.reason(client.ObjectKey{Namespace: "a", Name: name}), "gone")
					}
					if third {
						h.expectOne(t, client.ObjectKey{Namespace: "a", Name: "third"}, "ledger-db")
						expect(t, "POSTs", h.creations(), 1)
						return
					}
					expect(t, "connections", len(h.named("ledger-db")), 0)
				})
			})
		}
	}
}

// Promise: live resources of one namespace hand over by name; those of others get nothing.
func TestHeirInAnotherNamespaceGetsNothing(t *testing.T) {
	for name, alter := range map[string]func(rc *v1alpha1.ReporterConnection){
		"an endpoint of its own":                asItIs,
		"an endpoint of its own, ByName":        byName,
		"the same endpoint":                     func(rc *v1alpha1.ReporterConnection) { rc.Spec.EndpointRef.Namespace = "a" },
		"the same endpoint, ByName":             func(rc *v1alpha1.ReporterConnection) { byName(rc); rc.Spec.EndpointRef.Namespace = "a" },
		"the same endpoint, and it retains":     func(rc *v1alpha1.ReporterConnection) { retainConnection(rc); rc.Spec.EndpointRef.Namespace = "a" },
		"the same endpoint, and the first name": func(rc *v1alpha1.ReporterConnection) { rc.Spec.EndpointRef.Namespace = "a" },
	} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) {
					spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{From: v1alpha1.FromAll}
				})
				first := h.describe("a", "first", "ledger-db")
				h.wait(time.Minute)
				id := h.statusOf(first).ConnectionID
				called := "second"
				if strings.HasSuffix(name, "first name") {
					called = "first"
				}
				second := h.described("b", called, "ledger-db", alter)
				h.wait(time.Hour)
				expect(t, "the second", h.reason(second), "NameTaken")
				expect(t, "the id of the second", h.statusOf(second).ConnectionID, "")
				expect(t, "PATCHes", h.changes(), 0)
				h.delete(first)
				h.wait(time.Minute)
				expect(t, "the first", h.reason(first), "gone")
				expect(t, "the connection is alive", h.homeReporter().Alive(id), false)
				h.wait(3 * time.Hour)
				h.expectOne(t, second, "ledger-db")
				expect(t, "it is the same", h.statusOf(second).ConnectionID == id, false)
			})
		})
	}
}

// Promise: two resources of one namespace hand over through the endpoint of another that lets them in, and a stranger there gets nothing.
func TestHeirThroughAnEndpointOfAnotherNamespace(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		h.changeEndpoint(defaultEndpointOfB, func(spec *v1alpha1.ReporterEndpointSpec) {
			spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{From: v1alpha1.FromAll}
		})
		through := func(rc *v1alpha1.ReporterConnection) { rc.Spec.EndpointRef.Namespace = "b" }
		first := h.described("a", "first", "ledger-db", through)
		h.wait(time.Minute)
		id := h.statusOf(first).ConnectionID
		stranger := h.described("b", "stranger", "ledger-db", byName)
		second := h.described("a", "second", "ledger-db", through)
		h.wait(time.Minute)
		h.delete(first)
		h.wait(time.Hour)
		expect(t, "the first", h.reason(first), "gone")
		h.expectOne(t, second, "ledger-db")
		expect(t, "the id", h.statusOf(second).ConnectionID, id)
		expect(t, "the stranger", h.reason(stranger), "NameTaken")
		expect(t, "DELETEs", h.deletionsOf(id), 0)
	})
}

// Promise: what does not fit is said (InvalidConnection), nothing is sent, nothing waits for ever, and no connection is lost.
func TestHeirThatDoesNotFit(t *testing.T) {
	for name, c := range map[string]struct {
		first, second func(rc *v1alpha1.ReporterConnection)
	}{
		"another product": {asItIs, func(rc *v1alpha1.ReporterConnection) { rc.Spec.Connection.ProductName = "other" }},
		"no ssl where there is some": {func(rc *v1alpha1.ReporterConnection) {
			rc.Spec.Connection.SSL = &v1alpha1.ConnectionSSL{Mode: "require", CABundle: "PEM"}
		}, asItIs},
	} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				first := h.described("a", "first", "ledger-db", c.first)
				h.wait(time.Minute)
				id := h.statusOf(first).ConnectionID
				second := h.described("a", "second", "ledger-db", c.second)
				h.wait(time.Minute)
				expect(t, "the second", h.reason(second), "Duplicate")
				h.delete(first)
				h.wait(3 * time.Hour)
				expect(t, "the first", h.reason(first), "gone")
				h.expectNoneLost(t, h.named("ledger-db")[0].ID)
				expect(t, "connections", len(h.named("ledger-db")), 1)
				if h.statusOf(second).ConnectionID == id {
					expect(t, "the second", h.reason(second), "InvalidConnection")
					expect(t, "PATCHes", h.changes(), 0)
				} else {
					h.expectOne(t, second, "ledger-db")
				}
				h.delete(second)
				h.wait(time.Hour)
				expect(t, "the second", h.reason(second), "gone")
				expect(t, "connections", len(h.named("ledger-db")), 0)
			})
		})
	}
	t.Run("other values, and ssl where there is none", func(t *testing.T) {
		scene(t, func(t *testing.T, h *history) {
			first, second, id := h.renamed(t, func(rc *v1alpha1.ReporterConnection) {
				rc.Spec.Connection.Type, rc.Spec.Connection.Port, rc.Spec.Connection.UserName, rc.Spec.Connection.Schema = "MYSQL", 3306, "another", "sales"
				rc.Spec.Connection.SSL = &v1alpha1.ConnectionSSL{Mode: "true", CABundle: "PEM"}
				rc.Spec.Connection.Host = "other.example.com"
			})
			h.delete(first)
			h.wait(time.Hour)
			h.expectHandedOver(t, first, second, id)
			expect(t, "the type", h.find(id).Type, "MYSQL")
			expect(t, "PATCHes", h.changes(), 1)
			expect(t, "the CA", h.homeReporter().Secrets(id).CA, "PEM")
		})
	})
}

// Promise: nobody turns another's stored password to a host of his, an heir that cannot read the Secret neither.
func TestHeirWithoutAPasswordTurnsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		secret string
		reason string
	}{"a Secret that is not there": {"missing", "SecretNotFound"}, "a Secret of another host": {"first-database", "HostNotAllowed"}} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				first := h.describe("a", "first", "ledger-db")
				h.changeSecret(secretOf(first), listing("db.example.com"))
				h.wait(time.Minute)
				id := h.statusOf(first).ConnectionID
				second := h.described("a", "second", "ledger-db", func(rc *v1alpha1.ReporterConnection) {
					rc.Spec.Connection.Host, rc.Spec.Connection.PasswordSecretRef.Name = "evil.example.com", c.secret
				})
				h.wait(time.Minute)
				h.delete(first)
				h.wait(3 * time.Hour)
				expect(t, "the first", h.reason(first), "gone")
				expect(t, "the second", h.reason(second), c.reason)
				expect(t, "the host", h.find(id).Host, "db.example.com")
				expect(t, "PATCHes", h.changes(), 0)
				h.delete(second)
				h.wait(time.Hour)
				expect(t, "the second", h.reason(second), "gone")
				expect(t, "connections", len(h.named("ledger-db")), 0)
			})
		})
	}
}

// restoredAfterTheHandOver hands a connection over, and has the API server be what it was at a moment before that.
func (h *history) restoredAfterTheHandOver(t *testing.T, before func(first client.ObjectKey)) (first, second client.ObjectKey, id string) {
	t.Helper()
	first, second, id = h.renamed(t, asItIs)
	before(first)
	taken := h.api.snapshot()
	h.hold = nil
	if h.connection(first).DeletionTimestamp.IsZero() {
		h.delete(first)
	}
	h.wait(30 * time.Minute)
	h.expectHandedOver(t, first, second, id)
	h.taken = &taken
	h.restore()
	h.kill(h.instances[0])
	h.launch()
	h.wait(3 * time.Hour)
	expect(t, "connections", len(h.named("ledger-db")), 1)
	expect(t, "the connection is alive", h.homeReporter().Alive(id), true)
	return first, second, id
}

// Promise: after a restore of the API server there is one connection, and the deletion hands it over again.
func TestHeirAfterTheAPIServerIsRestored(t *testing.T) {
	t.Run("to before the deletion, which is repeated", func(t *testing.T) {
		scene(t, func(t *testing.T, h *history) {
			first, second, id := h.restoredAfterTheHandOver(t, func(client.ObjectKey) {})
			h.delete(first)
			h.wait(30 * time.Minute)
			h.expectHandedOver(t, first, second, id)
		})
	})
	t.Run("to the deletion", func(t *testing.T) {
		scene(t, func(t *testing.T, h *history) {
			first, second, id := h.restoredAfterTheHandOver(t, func(first client.ObjectKey) {
				h.hold = isConnectionPass
				h.delete(first)
				h.settle()
			})
			h.expectHandedOver(t, first, second, id)
		})
	})
}

// Promise: what somebody else has taken over is nobody's to hand over: nothing of it is changed or deleted.
func TestHeirOfWhatWasTakenOverGetsNothing(t *testing.T) {
	for name, before := range map[string]func(t *testing.T, h *history, first client.ObjectKey, id string){
		"known": func(t *testing.T, h *history, first client.ObjectKey, id string) {
			h.mark(t, id, "another-cluster/ledger")
			h.wait(2 * time.Hour)
			expect(t, "the first", h.reason(first), "TakenOver")
		},
		"not known yet": func(t *testing.T, h *history, _ client.ObjectKey, id string) { h.mark(t, id, "another-cluster/ledger") },
		"and the mark is gone": func(t *testing.T, h *history, first client.ObjectKey, id string) {
			h.mark(t, id, "another-cluster/ledger")
			h.wait(2 * time.Hour)
			expect(t, "the first", h.reason(first), "TakenOver")
			expect(t, "a change by hand", h.byHand(http.MethodPatch, "/"+id, `{"metadata":{}}`), 200)
		},
	} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				first, second, id := h.renamed(t, asItIs)
				before(t, h, first, id)
				changes := h.changes()
				h.delete(first)
				h.wait(3 * time.Hour)
				expect(t, "the first", h.reason(first), "gone")
				expect(t, "the connection is alive", h.homeReporter().Alive(id), true)
				expect(t, "PATCHes", h.changes()-changes, 0)
				if h.statusOf(second).ConnectionID == "" {
					expect(t, "the second", h.reason(second), "NameTaken")
				} else { // it may take it back then
					expect(t, "the second", h.reason(second), "TakenOver")
				}
				h.delete(second)
				h.wait(time.Hour)
				expect(t, "the second", h.reason(second), "gone")
				expect(t, "the connection is alive", h.homeReporter().Alive(id), true)
			})
		})
	}
}

// Promise: a brake on the one that is deleted holds the hand-over as any deletion; one on the heir does not.
func TestHeirAndBrakes(t *testing.T) {
	unsuspend := func(spec *v1alpha1.ReporterEndpointSpec) { spec.Suspend = false }
	for name, c := range map[string]struct {
		pull   func(h *history, first client.ObjectKey)
		reason string
		lift   func(h *history, first client.ObjectKey)
	}{
		"the endpoint is suspended": {func(h *history, _ client.ObjectKey) { h.changeEndpoint(defaultEndpointOfA, suspend) }, "Suspended",
			func(h *history, _ client.ObjectKey) { h.changeEndpoint(defaultEndpointOfA, unsuspend) }},
		"the resource is suspended": {func(h *history, first client.ObjectKey) { h.changeConnection(first, suspended) }, "Suspended",
			func(h *history, first client.ObjectKey) {
				h.changeConnection(first, func(rc *v1alpha1.ReporterConnection) { rc.Spec.Suspend = false })
			}},
		"the endpoint delays it": {func(h *history, _ client.ObjectKey) { h.changeEndpoint(defaultEndpointOfA, delay(5*time.Hour)) }, "DeletionDelayed",
			func(h *history, _ client.ObjectKey) { h.changeEndpoint(defaultEndpointOfA, delay(0)) }},
		"the resource is protected": {func(h *history, first client.ObjectKey) {
			h.changeConnection(first, protect)
		}, "DeletionProtected", func(h *history, first client.ObjectKey) {
			h.changeConnection(first, func(rc *v1alpha1.ReporterConnection) { rc.Spec.DeletionProtection = false })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				first, second, id := h.renamed(t, asItIs)
				h.hold = isConnectionPass
				if c.reason != "DeletionProtected" {
					c.pull(h, first)
				}
				h.delete(first)
				if c.reason == "DeletionProtected" { // as by the deletion of its CustomResourceDefinition
					c.pull(h, first)
				}
				h.hold = nil
				h.wait(2 * time.Hour)
				expect(t, "the first", h.reason(first), c.reason)
				expect(t, "DELETEs", h.deletionsOf(id), 0)
				c.lift(h, first)
				h.wait(20 * time.Minute)
				h.expectHandedOver(t, first, second, id)
			})
		})
	}
}

// Promise: Retain leaves the connection, and one of the same name in the namespace gets it, as the mark is of nobody that is there.
func TestHeirOfWhatIsRetained(t *testing.T) {
	for name, c := range map[string]func(h *history, first client.ObjectKey){
		"by the resource": func(h *history, first client.ObjectKey) { h.changeConnection(first, retainConnection) },
		"by the endpoint": func(h *history, _ client.ObjectKey) { h.changeEndpoint(defaultEndpointOfA, retain) },
	} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				first, second, id := h.renamed(t, asItIs)
				c(h, first)
				h.delete(first)
				h.wait(3 * time.Hour)
				expect(t, "the first", h.reason(first), "gone")
				expect(t, "DELETEs", h.deletionsOf(id), 0)
				h.expectOne(t, second, "ledger-db")
				expect(t, "the id", h.statusOf(second).ConnectionID, id)
			})
		})
	}
}

// Promise: an heir by name has no id: one that names another connection is none, and one that only names an id describes no name.
func TestHeirThatNamesAnID(t *testing.T) {
	t.Run("the first was taken over by its id", func(t *testing.T) {
		scene(t, func(t *testing.T, h *history) {
			id := h.createByHand(t, "ledger-db", "")
			first := h.takingOver("a", "first", "ledger-db", id)
			h.wait(time.Minute)
			second := h.describe("a", "second", "ledger-db")
			h.wait(time.Minute)
			expect(t, "the second", h.reason(second), "Duplicate")
			h.delete(first)
			h.wait(time.Hour)
			h.expectHandedOver(t, first, second, id)
		})
	})
	t.Run("the second names the id", func(t *testing.T) {
		scene(t, func(t *testing.T, h *history) {
			first := h.describe("a", "first", "ledger-db")
			h.wait(time.Minute)
			id := h.statusOf(first).ConnectionID
			third := h.describe("a", "an-elder", "ledger-db") // which would be the heir by name
			h.wait(time.Minute)
			second := h.takingOver("a", "second", "ledger-db", id)
			h.wait(time.Minute)
			h.delete(first)
			h.wait(time.Hour)
			h.expectHandedOver(t, first, second, id)
			expect(t, "the third", h.reason(third), "Duplicate")
		})
	})
	t.Run("the second names another", func(t *testing.T) {
		scene(t, func(t *testing.T, h *history) {
			other := h.createByHand(t, "other-db", "")
			first := h.describe("a", "first", "ledger-db")
			h.wait(time.Minute)
			id := h.statusOf(first).ConnectionID
			second := h.takingOver("a", "second", "ledger-db", other)
			h.wait(time.Minute)
			h.delete(first)
			h.wait(time.Hour)
			expect(t, "the first", h.reason(first), "gone")
			expect(t, "the connection is alive", h.homeReporter().Alive(id), false)
			expect(t, "the other is alive", h.homeReporter().Alive(other), true)
			expect(t, "the second has it", h.statusOf(second).ConnectionID == id, false)
		})
	})
	t.Run("the first has its id alone", func(t *testing.T) {
		scene(t, func(t *testing.T, h *history) {
			id := h.createByHand(t, "ledger-db", "")
			first := h.claim("a", "first", id)
			h.wait(time.Minute)
			second := h.described("a", "second", "ledger-db", byName)
			h.wait(time.Minute)
			expect(t, "PATCHes", h.changes(), 0)
			h.delete(first)
			h.wait(3 * time.Hour)
			expect(t, "the first", h.reason(first), "gone")
			h.expectOne(t, second, "ledger-db")
		})
	})
}

// Promise: an heir with a record is waited for. What came of its own creation is found out first.
func TestHeirWithARecord(t *testing.T) {
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed %t", killed), func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				h.must(h.api.create(h.endpoint("a", "other")))
				first := h.describe("a", "first", "ledger-db")
				h.wait(time.Minute)
				id := h.statusOf(first).ConnectionID
				h.homeReporter().Inject(reportertest.Fault{Method: http.MethodPost, Times: 1, Do: reportertest.Answer(503, nil, "")})
				second := h.described("a", "second", "ledger-db", func(rc *v1alpha1.ReporterConnection) { rc.Spec.EndpointRef.Name = "other" })
				h.wait(time.Second)
				expect(t, "there is a record", h.statusOf(second).Creation != nil, true)
				h.changeConnection(second, func(rc *v1alpha1.ReporterConnection) { rc.Spec.EndpointRef.Name = "default" })
				h.delete(first)
				h.wait(10 * time.Second)
				expect(t, "there is a record", h.statusOf(second).Creation != nil, true)
				expect(t, "the first is gone", h.reason(first) == "gone", false)
				expect(t, "the connection is alive", h.homeReporter().Alive(id), true)
				if killed {
					h.kill(h.instances[0])
					h.launch()
				}
				h.wait(time.Hour)
				expect(t, "the first", h.reason(first), "gone")
				expect(t, "DELETEs", h.deletionsOf(id), 0)
				h.expectOne(t, second, "ledger-db")
				expect(t, "the id", h.statusOf(second).ConnectionID, id)
			})
		})
	}
}

// Promise: what a resource without an id may have created is found out, and handed over or created: one connection in the end.
func TestHeirOfWhatIsNotKnownToBeThere(t *testing.T) {
	for name, done := range map[string]reportertest.Behaviour{"carried out": reportertest.AfterActing(reportertest.Answer(503, nil, "")), "not carried out": reportertest.Answer(503, nil, "")} {
		t.Run(name, func(t *testing.T) {
			var first, second client.ObjectKey
			killedAtEachCall(t, 2, func(t *testing.T, h *history) {
				h.homeReporter().Inject(reportertest.Fault{Method: http.MethodPost, Times: 1, Do: done})
				first = h.describe("a", "first", "ledger-db")
				h.wait(time.Second)
				expect(t, "there is a record", h.statusOf(first).Creation != nil, true)
				second = h.describe("a", "second", "ledger-db")
				h.wait(time.Second)
				expect(t, "the second", h.reason(second), "Duplicate")
			}, func(_ *testing.T, h *history) {
				h.delete(first)
				h.wait(time.Second)
			}, func(t *testing.T, h *history) {
				expect(t, "the first", h.reason(first), "gone")
				h.expectOne(t, second, "ledger-db")
			})
		})
	}
}

// Promise: a rename is one status write to the heir before the old one's finalizer goes, and one PATCH with mark and password; no list, one event.
func TestHeirIsQuiet(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		first, second, id := h.renamed(t, asItIs)
		h.wait(time.Hour)
		lists, tests := h.lists(), h.tests()
		var writes []string
		seen := map[*call]bool{}
		h.hold = func(c *call) bool {
			if isConnectionPass(c) && c.write && !c.http && !seen[c] {
				seen[c] = true
				writes = append(writes, c.what)
			}
			return false
		}
		h.delete(first)
		h.wait(time.Minute)
		h.expectHandedOver(t, first, second, id)
		expect(t, "lists", h.lists()-lists, 0)
		expect(t, "PATCHes", h.changes(), 1)
		expect(t, "it carries the password", strings.Contains(string(h.sentTo(homeHost, http.MethodPatch)[0].Body), `"password":"hush-hush"`), true)
		expect(t, "tests", h.tests()-tests, 1)
		expect(t, "hand-overs", h.counts["event HandedOver"], 1)
		ofStatus := slices.IndexFunc(writes, func(what string) bool {
			return strings.HasPrefix(what, "patch the status of ReporterConnection a/second") && strings.Contains(what, id)
		})
		ofFinalizer := slices.IndexFunc(writes, func(what string) bool { return strings.HasPrefix(what, "patch ReporterConnection a/first") })
		if ofStatus < 0 || ofFinalizer < ofStatus {
			t.Errorf("the writes are %q", writes)
		}
		if ofStatus >= 0 {
			for _, part := range []string{"connectionID", "observedIn", `"connection":`} {
				expect(t, part+" is in the write", strings.Contains(writes[ofStatus], part), true)
			}
		}
		if len(writes) > 5 { // the heir's id, the finalizer, what was sent, the test; and whatever says that it is on its way
			t.Errorf("%d writes: %q", len(writes), writes)
		}
	})
}

// Promise: an heir inherits the place too: where the endpoint has led elsewhere since, absence there proves nothing, and nothing is created.
func TestHeirWhoseEndpointLeadsElsewhereLater(t *testing.T) {
	sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
		first, second, id := h.renamed(t, asItIs)
		h.holdFirst(func(c *call) bool { return isPatchOf(c, first) })
		h.delete(first)
		h.wait(time.Second)
		expect(t, "the id", h.statusOf(second).ConnectionID, id)
		h.changeEndpoint(defaultEndpointOfA, leadTo(otherHost))
		h.hold = nil
		h.wait(3 * time.Hour)
		expect(t, "the second", h.reason(second), "AbsenceUnverified")
		expect(t, "POSTs elsewhere", len(h.sentTo(otherHost, http.MethodPost)), 0)
		expect(t, "the connection is alive", h.homeReporter().Alive(id), true)
		h.changeEndpoint(defaultEndpointOfA, leadTo(homeHost))
		h.wait(time.Hour)
		h.expectHandedOver(t, first, second, id)
	})
}

// Promise: what was deleted by hand is not inherited: the heir creates one, and there is one.
func TestHeirOfWhatWasDeletedByHand(t *testing.T) {
	for name, when := range map[string]func(h *history, id string){
		"before": func(h *history, id string) { h.homeReporter().Delete(id) },
		"while it is looked at": func(h *history, id string) {
			h.homeReporter().Inject(reportertest.Fault{Method: http.MethodGet, ID: id, Times: 1, Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
				act(w, req)
				h.homeReporter().Delete(id)
			}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				first, second, id := h.renamed(t, asItIs)
				when(h, id)
				h.delete(first)
				h.wait(3 * time.Hour)
				expect(t, "the first", h.reason(first), "gone")
				h.expectOne(t, second, "ledger-db")
				expect(t, "it is the same", h.statusOf(second).ConnectionID == id, false)
				expect(t, "POSTs", h.creations(), 2)
			})
		})
	}
}

// Promise: a name that goes back and forth is one connection for ever.
func TestHeirsBackAndForth(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		names := []string{"first", "second"}
		old := h.describe("a", "first", "ledger-db")
		h.wait(time.Minute)
		id := h.statusOf(old).ConnectionID
		for n := range 12 {
			heir := h.described("a", names[(n+1)%2], "ledger-db", onPort(int32(6000+n)))
			h.wait(time.Duration(n%4) * 300 * time.Millisecond)
			h.delete(old)
			h.wait(time.Duration(1+n%3) * time.Second)
			if n%3 == 0 {
				h.kill(h.instances[0])
				h.launch()
			}
			h.wait(time.Duration(n) * 7 * time.Second)
			if h.reason(old) != "gone" {
				h.wait(10 * time.Minute)
			}
			expect(t, "the old one", h.reason(old), "gone")
			old = heir
		}
		h.wait(time.Hour)
		h.expectOne(t, old, "ledger-db")
		expect(t, "the id", h.statusOf(old).ConnectionID, id)
		expect(t, "the port", h.find(id).Port, 6011)
		expect(t, "DELETEs", h.deletionsOf(id), 0)
		expect(t, "POSTs", h.creations(), 1)
	})
}

// Promise: it is so in every world: with whatever tokens, without admission policies, where names are not unique, and for an heir that adopts.
func TestHeirByNameInOtherWorlds(t *testing.T) {
	for name, c := range map[string]struct {
		tape  []int
		begin func(h *history)
		alter func(rc *v1alpha1.ReporterConnection)
	}{
		"logins":                 {withAccessManager, func(*history) {}, asItIs},
		"opaque tokens":          {[]int{3}, func(*history) {}, asItIs},
		"no admission":           {bearerNoAdmission, func(*history) {}, asItIs},
		"multi-tenant":           {withBearerToken, func(h *history) { h.homeReporter().SetMultiTenant(true) }, asItIs},
		"ByName":                 {withBearerToken, func(*history) {}, byName},
		"ByName, another port":   {withBearerToken, func(*history) {}, func(rc *v1alpha1.ReporterConnection) { byName(rc); onPort(6432)(rc) }},
		"a Reporter that is new": {withBearerToken, func(h *history) { h.homeReporter().SetProblemJSON(true) }, asItIs},
		"clocks that differ": {withBearerToken, func(h *history) {
			h.homeReporter().Now = func() time.Time { return time.Now().Add(-7 * time.Hour) }
		}, asItIs},
	} {
		for how, happens := range map[string]func(h *history, c *call){
			"a kill": func(h *history, _ *call) { h.kill(h.instances[0]); h.launch() },
			"a lost answer": func(h *history, c *call) {
				c.acted = true
				c.value, c.err = c.act()
				h.lose(c)
			},
			"late caches": func(h *history, _ *call) {
				h.blind = connectionKind
				h.hold = nil
				h.wait(time.Minute)
				h.blind = ""
			},
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				var first, second client.ObjectKey
				var id string
				atEachCallWith(t, c.tape, 4, func(t *testing.T, h *history) {
					c.begin(h)
					first, second, id = h.renamed(t, c.alter)
					h.delete(first)
				}, func(_ *testing.T, h *history, c *call) { happens(h, c) }, func(t *testing.T, h *history) { h.expectHandedOver(t, first, second, id) })
			})
		}
	}
}

// Promise: where policies hold nothing, an heir is held before it inherits, though the caches do not know it yet.
func TestHeirThatIsNotHeldYet(t *testing.T) {
	second := client.ObjectKey{Namespace: "a", Name: "second"}
	var first client.ObjectKey
	atEachCallWith(t, bearerNoAdmission, 2, func(_ *testing.T, h *history) {
		first = h.describe("a", "first", "ledger-db")
		h.wait(time.Hour)
		h.delete(first)
	}, func(_ *testing.T, h *history, _ *call) {
		h.blind = connectionKind
		h.described("a", "second", "ledger-db", asItIs)
		h.hold = nil
		h.wait(20 * time.Second)
		h.blind = ""
	}, func(t *testing.T, h *history) {
		expect(t, "the first", h.reason(first), "gone")
		h.expectOne(t, second, "ledger-db")
	})
}

// Promise: a connection that cannot be looked at where the endpoint leads now is handed over with its place, or held; nothing is created elsewhere, and
// nothing is lost.
func TestHeirWhoseEndpointLeadsElsewhereBefore(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		first, second, id := h.renamed(t, asItIs)
		h.changeEndpoint(defaultEndpointOfA, leadTo(otherHost))
		h.delete(first)
		h.wait(3 * time.Hour)
		if h.reason(first) == "gone" {
			expect(t, "the second", h.reason(second), "AbsenceUnverified")
			expect(t, "the id", h.statusOf(second).ConnectionID, id)
		} else {
			expect(t, "the first", h.reason(first), "AbsenceUnverified")
			expect(t, "the second", h.reason(second), "Duplicate")
		}
		expect(t, "POSTs elsewhere", len(h.sentTo(otherHost, http.MethodPost)), 0)
		h.changeEndpoint(defaultEndpointOfA, leadTo(homeHost))
		h.wait(time.Hour)
		h.expectHandedOver(t, first, second, id)
	})
}

// Promise: an heir takes nothing over that somebody else took meanwhile: nothing is changed until takeBack.
func TestHeirOfWhatIsTakenOverMeanwhile(t *testing.T) {
	for name, meanwhile := range map[string]func(t *testing.T, h *history, first, second client.ObjectKey, id string){
		"between the hand-over and its first look": func(t *testing.T, h *history, first, second client.ObjectKey, id string) {
			h.hold = func(c *call) bool {
				return isConnectionPass(c) && c.http && c.pass.request.Name == second.Name && h.statusOf(second).ConnectionID != ""
			}
			h.delete(first)
			h.wait(2 * time.Second)
			h.mark(t, id, "another-cluster/ledger")
			h.hold = nil
		},
		"between the look and the hand-over": func(t *testing.T, h *history, first, _ client.ObjectKey, id string) {
			h.holdFirst(func(c *call) bool { return !c.http && c.write && c.pass != nil && c.pass.request.Name == first.Name })
			h.delete(first)
			h.wait(2 * time.Second)
			h.mark(t, id, "another-cluster/ledger")
			h.hold = nil
		},
		"while its endpoint leads elsewhere": func(t *testing.T, h *history, first, _ client.ObjectKey, id string) {
			h.changeEndpoint(defaultEndpointOfA, leadTo(otherHost))
			h.delete(first)
			h.wait(time.Hour)
			h.mark(t, id, "another-cluster/ledger")
			h.changeEndpoint(defaultEndpointOfA, leadTo(homeHost))
		},
	} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				first, second, id := h.renamed(t, onPort(6432))
				meanwhile(t, h, first, second, id)
				changes := h.changes()
				h.wait(2 * time.Hour)
				expect(t, "the first", h.reason(first), "gone")
				expect(t, "the mark", h.find(id).Metadata["reporterOperatorOwner"], any("another-cluster/ledger"))
				expect(t, "PATCHes", h.changes()-changes, 0)
				expect(t, "the connection is alive", h.homeReporter().Alive(id), true)
				if h.statusOf(second).ConnectionID == "" {
					expect(t, "the second", h.reason(second), "NameTaken")
				} else {
					expect(t, "the second", h.reason(second), "TakenOver")
				}
				h.delete(second)
				h.wait(20 * time.Minute)
				expect(t, "the second", h.reason(second), "gone")
				expect(t, "the connection is alive", h.homeReporter().Alive(id), true)
			})
		})
	}
}

// Promise: a DELETE without an answer that is carried out after the connection was handed over costs the connection, and another is created: one in
// the end, whatever it takes.
func TestHeirAfterADeleteThatIsCarriedOutLate(t *testing.T) {
	for _, late := range []time.Duration{15 * time.Second, time.Minute, 5 * time.Minute} {
		for name, alter := range map[string]func(*v1alpha1.ReporterConnection){"": asItIs, ", retains": retainConnection} {
			t.Run(late.String()+name, func(t *testing.T) {
				scene(t, func(t *testing.T, h *history) {
					first := h.describe("a", "first", "ledger-db")
					h.wait(time.Hour)
					isDelete := func(c *call) bool { return c.http && c.method == http.MethodDelete }
					h.holdFirst(isDelete)
					h.delete(first)
					h.wait(time.Second)
					orphan := h.waiting(t, isDelete)
					second := h.described("a", "second", "ledger-db", alter)
					h.wait(late)
					orphan.acted = true // by whoever sent it, though nobody waits for the answer
					h.homeReporter().Delete(h.named("ledger-db")[0].ID)
					h.hold = nil
					h.wait(3 * time.Hour)
					expect(t, "the first", h.reason(first), "gone")
					h.expectOne(t, second, "ledger-db")
				})
			})
		}
	}
}

// Promise: the mark of a name that comes back, before the heir could put its own there, makes nobody the owner of the heir's connection.
func TestHeirAndTheFirstThatComesBack(t *testing.T) {
	for name, c := range map[string]struct {
		held    bool // by a job, which keeps the heir's mark from being put there
		deleted bool
		late    bool
	}{
		"while a job runs, and it is deleted":              {held: true, deleted: true},
		"while a job runs, and it is deleted, late caches": {held: true, deleted: true, late: true},
		"at once": {}, "at once, and it is deleted": {deleted: true}, "at once, and it is deleted, late caches": {deleted: true, late: true},
	} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				first, second, id := h.renamed(t, asItIs)
				end := func() {}
				if c.held {
					end = h.homeReporter().StartTenantJob("ours", "ledger-db")
				}
				h.delete(first)
				h.wait(20 * time.Second)
				expect(t, "the first", h.reason(first), "gone")
				if c.late {
					h.blind = connectionKind
				}
				h.describe("a", "first", "ledger-db")
				if c.deleted {
					h.delete(first)
				}
				h.wait(20 * time.Second)
				h.blind = ""
				h.wait(20 * time.Minute)
				if c.deleted {
					expect(t, "the first", h.reason(first), "gone")
				} else {
					expect(t, "the first", h.reason(first), "Duplicate")
				}
				expect(t, "DELETEs", h.deletionsOf(id), 0)
				expect(t, "the id", h.statusOf(second).ConnectionID, id)
				end()
				h.wait(2 * time.Hour)
				h.expectOne(t, second, "ledger-db")
				expect(t, "the id", h.statusOf(second).ConnectionID, id)
				if !c.deleted {
					expect(t, "the first", h.reason(first), "Duplicate")
					h.delete(first)
					h.wait(20 * time.Minute)
					expect(t, "the first", h.reason(first), "gone")
				}
				expect(t, "DELETEs", h.deletionsOf(id), 0)
				expect(t, "POSTs", h.creations(), 1)
				h.expectOne(t, second, "ledger-db")
			})
		})
	}
}

// Promise: the same through kills, while the first that came back is deleted.
func TestHeirAndTheFirstThatComesBackThroughKills(t *testing.T) {
	var first, second client.ObjectKey
	var id string
	var end func()
	atEachCall(t, 2, func(t *testing.T, h *history) {
		first, second, id = h.renamed(t, asItIs)
		end = h.homeReporter().StartTenantJob("ours", "ledger-db")
		h.delete(first)
		h.wait(20 * time.Second)
		expect(t, "the first", h.reason(first), "gone")
		h.describe("a", "first", "ledger-db")
		h.wait(20 * time.Second)
		h.delete(first)
	}, func(_ *testing.T, h *history, _ *call) {
		h.kill(h.instances[0])
		h.launch()
		h.hold = nil
		h.wait(20 * time.Minute)
		end()
	}, func(t *testing.T, h *history) { h.expectHandedOver(t, first, second, id) })
}

// Promise: a deletion takes nothing over, and hands over nothing that was not taken: what is somebody else's stays as it is.
func TestHeirOfWhatWasNotTakenOverYet(t *testing.T) {
	for name, alter := range map[string]func(*v1alpha1.ReporterConnection){"Never": asItIs, "ByName": byName} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				id := h.createByHand(t, "ledger-db", "")
				end := h.homeReporter().StartTenantJob("ours", "ledger-db")
				first := h.described("a", "first", "ledger-db", byName)
				h.wait(time.Minute)
				expect(t, "the first", h.reason(first), "JobInProgress")
				second := h.described("a", "second", "ledger-db", alter)
				h.wait(time.Minute)
				h.delete(first)
				h.wait(20 * time.Minute)
				expect(t, "the first", h.reason(first), "gone")
				end()
				h.wait(3 * time.Hour)
				expect(t, "the connection is alive", h.homeReporter().Alive(id), true)
				if name == "Never" {
					expect(t, "the second", h.reason(second), "NameTaken")
					expect(t, "the host", h.find(id).Host, "theirs.example.com")
					return
				}
				h.expectOne(t, second, "ledger-db")
			})
		})
	}
}

// Promise: in histories, no DELETE is sent while there is an heir by name that was there all through the time that the pass may have read in.
func TestHeirsInHistories(t *testing.T) {
	*simulationTheme = "described connections"
	defer func() { *simulationTheme = "" }()
	seeds := uint64(60)
	if testing.Short() {
		seeds = 10
	}
	for seed := uint64(1_000_000); seed < 1_000_000+seeds; seed++ {
		h := simulateWithHeirs(t, seed)
		if h.failure != "" {
			t.Errorf("seed %d: %s", seed, h.failure)
			if testing.Verbose() {
				t.Log("\n" + strings.Join(h.trace[max(0, len(h.trace)-120):], "\n"))
			}
			return
		}
	}
}

// judgeHeirs checks, when a DELETE is sent, that no resource of the namespace that describes the same name at the same endpoint has been an heir
// all through the window. What is not there any more is nobody's to inherit.
func (h *history) judgeHeirs(c *call) {
	rc := c.pass.rc
	if rc == nil || rc.Spec.Connection == nil || rc.Status.Sent == "" || rc.Status.TakenOverBy != "" || !h.aliveAt(c.to, c.id) {
		return // there is nothing to inherit: it was never taken over, is lost, or gone
	}
	w := h.windowOf(c.pass, rc)
	isHeir := func(o client.Object) bool {
		heir, is := o.(*v1alpha1.ReporterConnection)
		return is && heir.UID != rc.UID && heir.DeletionTimestamp.IsZero() && heir.Spec.Connection != nil && heir.Spec.Connection.ConfigName == rc.Spec.Connection.ConfigName &&
			idOf(heir) == "" && heir.Status.Creation == nil && heir.EndpointKey() == rc.EndpointKey()
	}
	for _, object := range h.api.list(connectionKind) {
		key := client.ObjectKeyFromObject(object)
		if key.Namespace == rc.Namespace && isHeir(object) && w.throughout(connectionKind, key, isHeir) {
			h.fail("Heirs: %s deletes %s, and %s would inherit it", c.pass, c.id, key)
		}
	}
}

func simulateWithHeirs(t *testing.T, seed uint64) *history {
	h := &history{source: rand.New(rand.NewPCG(seed, 0)), tracing: testing.Verbose()}
	judged := map[*call]bool{}
	h.hold = func(c *call) bool {
		if c.http && c.method == http.MethodDelete && c.pass != nil && !c.acted && !judged[c] {
			judged[c] = true
			h.judgeHeirs(c)
		}
		return false
	}
	synctest.Test(t, func(*testing.T) { h.play() })
	return h
}
