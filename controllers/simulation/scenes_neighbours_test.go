// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"container/list"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// addConnections gives the first Reporter more connections of our tenant, and claims them in a namespace.
func (h *history) addConnections(namespace string, endpoint client.ObjectKey, n int) []client.ObjectKey {
	tenant := "ours"
	if h.auth == "none" {
		tenant = ""
	}
	var keys []client.ObjectKey
	for i := range n {
		id := fmt.Sprintf("019996b8-f3d1-7d2b-a193-%012d", i)
		h.homeReporter().Add(reportertest.Connection{ID: id, ConfigName: fmt.Sprintf("more-%d", i), Tenant: tenant})
		h.home[id] = homeHost
		keys = append(keys, h.claimThrough(endpoint, v1alpha1.DeletionPolicyDelete, namespace, fmt.Sprintf("more-%04d", i), id))
	}
	return keys
}

func isListRequest(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/connections") }

func TestListThatFailsKeepsNoDeletionFromBeingTried(t *testing.T) {
	for name, status := range map[string]int{"an error": 500, "unavailable": 503} {
		t.Run(name, func(t *testing.T) {
			sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
				deleted := append(h.addConnections("a", defaultEndpointOfA, 20), h.claim("a", "deleted", h.ids[0]))
				h.wait(time.Minute)
				allFail := h.homeReporter().Inject(reportertest.Fault{Do: reportertest.Answer(status, nil, "")})
				h.askFor(endpointKind, defaultEndpointOfA)
				h.wait(time.Second)
				expect(t, "the endpoint is ready", h.isEndpointReady(defaultEndpointOfA), false)
				for _, key := range deleted {
					h.delete(key)
				}
				h.wait(5 * time.Minute)
				expect(t, "the resource", h.reason(deleted[0]), "ReporterUnavailable")
				if message := h.blockedMessage(deleted[0]); !strings.Contains(message, "listing connections: ") {
					t.Errorf("it does not say what was not answered: %s", message)
				}
				before := h.counts["DELETE sent"]
				h.wait(10 * time.Minute)
				if sent := h.counts["DELETE sent"] - before; sent < 5 || sent > 25 {
					t.Errorf("%d DELETEs were tried in ten minutes", sent)
				}
				allFail()
				h.homeReporter().Inject(reportertest.Fault{Match: isListRequest, Do: reportertest.Answer(status, nil, "")})
				h.wait(3 * time.Minute)
				for _, key := range deleted {
					expect(t, key.Name, h.reason(key), "gone")
				}
				expect(t, "the endpoint is ready", h.isEndpointReady(defaultEndpointOfA), false)
			})
		})
	}
}

func TestOutageOfAShortTimeoutHoldsNoEndpointWithALongerOne(t *testing.T) {
	sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
		impatient := h.endpoint("b", "impatient")
		impatient.Spec.Timeout = &metav1.Duration{Duration: time.Second}
		h.must(h.api.create(impatient))
		h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) {
			spec.Timeout, spec.MaxInFlight = &metav1.Duration{Duration: 30 * time.Second}, 1
		})
		theirs := h.claimThrough(client.ObjectKeyFromObject(impatient), v1alpha1.DeletionPolicyDelete, "b", "theirs", h.ids[1])
		ours := h.addConnections("a", defaultEndpointOfA, 6)
		h.wait(time.Minute)
		// Reporter takes five seconds for each answer, and has trouble with most.
		began := map[*call]time.Time{}
		h.hold = func(c *call) bool {
			if _, known := began[c]; !known {
				began[c] = time.Now()
			}
			return c.http && time.Since(began[c]) < 5*time.Second
		}
		mend := h.homeReporter().Inject(reportertest.Fault{Method: "DELETE", ID: "019996b8-f3d1-7d2b-a193-000000000000", Do: reportertest.Answer(500, nil, "")})
		h.delete(theirs)
		h.wait(10 * time.Second)
		for _, key := range ours {
			h.delete(key)
		}
		h.wait(80 * time.Second)
		expect(t, "the one of the impatient endpoint", h.reason(theirs), "ReporterUnavailable")
		for _, key := range ours[1:] {
			expect(t, key.Name, h.reason(key), "gone")
		}
		mend()
		h.hold = nil
		h.wait(10 * time.Minute)
		expect(t, "connections left", len(h.api.list(connectionKind)), 0)
	})
}

func TestStatusSaysUntilWhenReporterAskedToBeLeftAlone(t *testing.T) {
	for status, reason := range map[int]string{429: "RateLimited", 503: "ReporterUnavailable"} {
		t.Run(reason, func(t *testing.T) {
			sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
				deleted := h.addConnections("a", defaultEndpointOfA, 5)
				h.wait(time.Minute)
				h.homeReporter().Inject(reportertest.Fault{Method: "DELETE", Do: reportertest.Answer(status, http.Header{"Retry-After": {"300"}}, "")})
				writes := h.countCalls(func(c *call) bool { return strings.HasPrefix(c.what, "patch the status of ReporterConnection") })
				until := time.Now().Add(5 * time.Minute)
				for _, key := range deleted {
					h.delete(key)
				}
				h.wait(time.Minute)
				for _, key := range deleted {
					expect(t, key.Name, h.reason(key), reason)
					if message := h.blockedMessage(key); !strings.HasSuffix(message, "until "+until.Add(time.Second).UTC().Format(time.RFC3339)) {
						t.Errorf("it waits until %s, and says: %s", until, message)
					}
				}
				expect(t, "status writes", *writes, len(deleted))
				h.wait(59 * time.Minute)
				if *writes > 12*len(deleted) {
					t.Errorf("%d status writes in an hour, more than one for each deletion and pause", *writes)
				}
				if sent := h.counts["DELETE sent"]; sent > 13+len(deleted) {
					t.Errorf("%d DELETEs in an hour of pauses of five minutes", sent)
				}
			})
		})
	}
}

func TestPauseOfDeletionsLeavesTheEndpointReady(t *testing.T) {
	sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		h.homeReporter().Inject(reportertest.Fault{Method: "DELETE", Do: reportertest.Answer(503, http.Header{"Retry-After": {"600"}}, "")})
		writes := h.countCalls(func(c *call) bool { return strings.HasPrefix(c.what, "patch the status of ReporterEndpoint") })
		h.delete(deleted)
		for range 5 {
			h.wait(time.Minute)
			h.askFor(endpointKind, defaultEndpointOfA)
			h.wait(time.Second)
			expect(t, "the endpoint is ready", h.isEndpointReady(defaultEndpointOfA), true)
		}
		expect(t, "the resource", h.reason(deleted), "ReporterUnavailable")
		expect(t, "DELETEs", h.counts["DELETE sent"], 1)
		expect(t, "writes to the endpoint", *writes, 0)
	})
}

// A message of more than 32 KiB is refused by the API server, and with it the status.
func TestSelectorOfAnyLengthGetsAStatus(t *testing.T) {
	for name, value := range map[string]string{"long": strings.Repeat("x", 40_000), "of wide characters": strings.Repeat("\u65e5", 40_000), "unprintable": "\x1b[31m\u202e"} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) {
					spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{From: v1alpha1.FromSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": value}}}
				})
				key := h.claim("a", "claim", h.ids[0])
				h.wait(time.Minute)
				object, err := h.api.get(endpointKind, defaultEndpointOfA)
				h.must(err)
				for _, conditions := range [][]metav1.Condition{object.(*v1alpha1.ReporterEndpoint).Status.Conditions, h.connection(key).Status.Conditions} {
					ready := apimeta.FindStatusCondition(conditions, "Ready")
					if ready == nil || ready.Reason != "InvalidEndpoint" || len(ready.Message) > 32<<10 || strings.ContainsAny(ready.Message, "\x1b\u202e") {
						t.Errorf("Ready is %.300v", ready)
					}
				}
			})
		})
	}
}

func TestPassEndsThoughNothingAnswers(t *testing.T) {
	for name, silent := range map[string]func(c *call) bool{
		"Reporter":       func(c *call) bool { return c.http },
		"the API server": func(c *call) bool { return !c.http && !c.local },
		"both":           func(c *call) bool { return !c.local },
	} {
		t.Run(name, func(t *testing.T) {
			sceneWith(t, withAccessManager, func(t *testing.T, h *history) {
				deleted := append(h.addConnections("a", defaultEndpointOfA, 3), h.claim("b", "other", h.ids[1]))
				h.wait(time.Minute)
				h.hold = silent
				for _, key := range deleted {
					h.delete(key)
				}
				h.must(h.api.delete(endpointKind, defaultEndpointOfA))
				seen := map[*pass]time.Time{}
				for range 120 {
					h.wait(5 * time.Second)
					for _, c := range h.calls {
						if c.pass == nil || c.abandoned {
							continue
						}
						if seen[c.pass].IsZero() {
							seen[c.pass] = time.Now()
						}
						if took := time.Since(seen[c.pass]); took > 3*time.Minute+30*time.Second {
							t.Fatalf("%s has taken %s, and waits for %s", c.pass, took, c.what)
						}
					}
				}
				h.hold = nil
				h.wait(25 * time.Minute)
				expect(t, "connections left", len(h.api.list(connectionKind)), 0)
			})
		})
	}
}

func TestSlowReporterIsServedOverSeveralPasses(t *testing.T) {
	sceneWith(t, withAccessManager, func(t *testing.T, h *history) {
		h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.Timeout = &metav1.Duration{Duration: time.Minute} })
		began := map[*call]time.Time{}
		h.hold = func(c *call) bool {
			if _, known := began[c]; !known {
				began[c] = time.Now()
			}
			return c.http && time.Since(began[c]) < 58*time.Second
		}
		deleted := h.claim("a", "deleted", h.ids[0])
		absent := h.claim("a", "absent", h.ids[5])
		h.settle()
		h.delete(deleted)
		h.delete(absent)
		h.wait(30 * time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "the connection is alive", h.alive(h.ids[0]), false)
		expect(t, "the absent one", h.reason(absent), "gone")
	})
}

// hangingEndpoints creates endpoints in a namespace whose Reporters never answer.
func (h *history) hangingEndpoints(namespace string, n int) {
	h.hold = func(c *call) bool { return c.http && strings.Contains(c.what, ".hangs.test") }
	for i := range n {
		endpoint := h.endpoint(namespace, fmt.Sprintf("hangs-%03d", i))
		endpoint.Spec.URL = v1alpha1.BaseURL(fmt.Sprintf("http://r%03d.hangs.test", i))
		endpoint.Spec.Timeout = &metav1.Duration{Duration: time.Minute}
		h.must(h.api.create(endpoint))
	}
}

// untilReady lets time pass until an endpoint is Ready, and returns how much.
func (h *history) untilReady(endpoint client.ObjectKey, most time.Duration) time.Duration {
	began := time.Now()
	for !h.isEndpointReady(endpoint) && time.Since(began) < most {
		h.wait(100 * time.Millisecond)
	}
	return time.Since(began)
}

func TestEndpointsThatHangDelayNobodyElsesCheck(t *testing.T) {
	sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
		h.hangingEndpoints("b", 400)
		h.wait(3 * time.Minute)
		for name, event := range map[string]func(){
			"recovery": func() {
				h.reporters[homeHost].down = &response{503, http.Header{}, nil}
				h.askFor(endpointKind, defaultEndpointOfA)
				h.wait(16 * time.Second)
				h.reporters[homeHost].down = nil
			},
			"change": func() {
				h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.URL = "http://gone.test" })
				h.wait(16 * time.Second)
				h.changeEndpoint(defaultEndpointOfA, leadTo(homeHost))
			},
		} {
			event()
			if took := h.untilReady(defaultEndpointOfA, time.Minute); took > 3*time.Second {
				t.Errorf("a %s was noticed after %s", name, took)
			}
		}
		// In the same namespace, one that answered goes before those that did not.
		h.changeEndpoint(client.ObjectKey{Namespace: "b", Name: "default"}, func(spec *v1alpha1.ReporterEndpointSpec) { spec.MaxInFlight = 3 })
		h.wait(70 * time.Second)
		object, err := h.api.get(endpointKind, client.ObjectKey{Namespace: "b", Name: "default"})
		h.must(err)
		endpoint := object.(*v1alpha1.ReporterEndpoint)
		expect(t, "the check of a change", endpoint.Status.ObservedGeneration, endpoint.Generation)
	})
}

func TestAttemptThatSomebodyAsksForKeepsToTheLimit(t *testing.T) {
	sceneWith(t, []int{2}, func(t *testing.T, h *history) {
		deleted := h.addConnections("a", defaultEndpointOfA, 12)
		h.wait(time.Minute)
		h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.MaxInFlight = 2 })
		h.homeReporter().Inject(reportertest.Fault{Method: "DELETE", Times: 1, Do: reportertest.Answer(429, http.Header{"Retry-After": {"300"}}, "")})
		for _, key := range deleted {
			h.delete(key)
		}
		h.wait(time.Minute)
		h.hold = func(c *call) bool { return c.http && strings.HasPrefix(c.what, "DELETE") }
		for _, key := range deleted {
			h.askFor(connectionKind, key)
		}
		for round := range 6 { // what somebody asks for is sent in the pause, and no more of it at the same time than the limit
			h.wait(4 * time.Second)
			var sent []*call
			for _, c := range h.calls {
				if h.hold(c) {
					sent = append(sent, c)
				}
			}
			expect(t, fmt.Sprintf("requests under way in round %d", round), len(sent), 2)
			for _, c := range sent {
				h.advance(c)
			}
		}
		h.settle()
		expect(t, "connections left", len(h.api.list(connectionKind)), 0)
	})
}

// Whoever shares a Reporter with others can ask for attempts as often as he likes. They go before those of others, and past what the
// Reporter asked for: so there is one a second.
func TestAttemptsThatSomebodyAsksForAreOneASecond(t *testing.T) {
	sceneWith(t, []int{2}, func(t *testing.T, h *history) {
		h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) {
			spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{From: v1alpha1.FromAll}
		})
		asking := h.addConnections("b", defaultEndpointOfA, 30)
		deleted := h.claim("a", "deleted", h.ids[0])
		h.wait(2 * time.Minute)
		lift := h.homeReporter().Inject(reportertest.Fault{Do: reportertest.Answer(429, http.Header{"Retry-After": {"300"}}, "")})
		h.delete(deleted)
		h.wait(time.Minute)
		requests := h.countCalls(func(c *call) bool { return c.http })
		for n := range 60 {
			if n == 0 || n >= 30 {
				for _, key := range asking {
					h.askFor(connectionKind, key)
				}
			}
			h.wait(time.Second)
			if (n == 25 || n == 59) && (*requests < n-2 || *requests > n+3) {
				t.Errorf("%d requests in %d seconds of a pause", *requests, n+1)
			}
		}
		lift()
		h.wait(11 * time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
	})
}

// While nothing waits for a Reporter, a check that fails has nothing to try. What comes then need not wait for the next check, which the
// Reporter may have asked to be late.
func TestDeletionInAnOutageThatHeldNobodyIsTriedAtOnce(t *testing.T) {
	sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.wait(time.Minute)
		h.homeReporter().Inject(reportertest.Fault{Match: isListRequest, Do: reportertest.Answer(503, http.Header{"Retry-After": {"600"}}, "")})
		h.askFor(endpointKind, defaultEndpointOfA)
		h.wait(time.Minute)
		expect(t, "the endpoint is ready", h.isEndpointReady(defaultEndpointOfA), false)
		h.delete(deleted)
		h.wait(10 * time.Second)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "the connection is alive", h.alive(h.ids[0]), false)
	})
}

// A status that says since when a deletion waits may be written, or seen, much later: such writes are paced.
func TestDeletionWhoseStatusIsNotSeenAsksNoMoreOften(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		h.homeReporter().Inject(reportertest.Fault{Method: "DELETE", Do: reportertest.Answer(500, nil, "")})
		h.delete(deleted)
		for h.counts["DELETE sent"] == 0 {
			h.observe()
			h.machinery()
		}
		h.blind = connectionKind
		h.wait(10 * time.Minute)
		if sent := h.counts["DELETE sent"]; sent < 20 || sent > 60 {
			t.Errorf("%d DELETEs in ten minutes", sent)
		}
	})
}

// sizes sums up, by where they are, the lengths of all maps, lists and slices that a value leads to in the operator's own memory.
type sizes struct {
	found   map[string]int
	visited map[visit]bool
	held    locks
}

var operatorsOwn = regexp.MustCompile(`^github.com/reporter-operator/reporter-operator/(controllers|internal)(/|$)`)

func (s *sizes) add(where string, v reflect.Value) {
	switch v.Kind() { //nolint:exhaustive // the kinds that lead on
	case reflect.Pointer:
		if v.IsNil() || s.visited[visit{v.Pointer(), v.Type()}] {
			return
		}
		s.visited[visit{v.Pointer(), v.Type()}] = true
		s.add(where, v.Elem())
	case reflect.Interface:
		if !v.IsNil() {
			s.add(where, v.Elem())
		}
	case reflect.Struct:
		s.addStruct(where, v)
	case reflect.Map:
		s.found[where] += v.Len()
		for entries := v.MapRange(); entries.Next(); {
			s.add(where+"[]", entries.Value())
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			s.found[where] += v.Len()
		}
	}
}

func (s *sizes) addStruct(where string, v reflect.Value) {
	switch of := v.Type(); {
	case isLock(of):
		s.held.take(v)
	case of == reflect.TypeFor[sync.Map]():
		(*sync.Map)(v.Addr().UnsafePointer()).Range(func(any, any) bool {
			s.found[where]++
			return true
		})
	case of == reflect.TypeFor[list.List]():
		s.found[where] += (*list.List)(v.Addr().UnsafePointer()).Len()
	case of.PkgPath() == "golang.org/x/sync/singleflight" || operatorsOwn.MatchString(of.PkgPath()) && !strings.HasSuffix(of.PkgPath(), "/simulation"):
		for n := range v.NumField() {
			s.add(where+"."+of.Field(n).Name, v.Field(n))
		}
	}
}

// memory is what the operator holds in maps and lists, by where they are, once all has come to rest.
func (h *history) memory() map[string]int {
	h.wait(30 * time.Minute)
	h.delete(h.claim("a", "last", h.ids[5])) // what is left until others come goes
	h.wait(30 * time.Minute)
	return h.sizes()
}

func (h *history) sizes() map[string]int {
	s := sizes{found: map[string]int{}, visited: map[visit]bool{}}
	defer s.held.release()
	for _, c := range h.instances[0].controllers {
		s.add(c.Name, reflect.ValueOf(&c.Controller))
		s.found[c.Name+" queue"] = len(c.queue.items)
	}
	return s.found
}

// churn has users write and delete whatever they may, in namespaces that come and go, while much goes wrong.
func (h *history) churn(rounds int) {
	for round := range rounds {
		namespace := fmt.Sprintf("churn-%d", h.turn)
		h.must(h.api.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))
		h.must(h.api.create(h.secret(namespace, "ours")))
		var endpoints, claims []client.ObjectKey
		for n, host := range []string{homeHost, homeHost + "/base", otherHost, "gone.test", "busy.test", "manager.test"} {
			endpoint := h.endpoint(namespace, fmt.Sprintf("endpoint-%d", n))
			endpoint.Spec.URL = v1alpha1.BaseURL("http://" + host)
			endpoint.Spec.TLS.ServerName = namespace // so that each is a Reporter of its own
			endpoint.Spec.Timeout = &metav1.Duration{Duration: time.Duration(n+1) * time.Second}
			if n%2 == 1 {
				endpoint.Spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{From: v1alpha1.FromAll}
			}
			h.must(h.api.create(endpoint))
			endpoints = append(endpoints, client.ObjectKeyFromObject(endpoint))
		}
		for n := range 12 {
			policy := []v1alpha1.DeletionPolicy{v1alpha1.DeletionPolicyDelete, v1alpha1.DeletionPolicyRetain}[n/6]
			claims = append(claims, h.claimThrough(endpoints[n%6], policy, namespace, fmt.Sprintf("claim-%d", n), h.ids[5]))
		}
		h.jostle(200)
		for n, key := range claims {
			h.askFor(connectionKind, key)
			if n < len(endpoints) {
				h.askFor(endpointKind, endpoints[n])
			}
		}
		h.jostle(100)
		h.changeEndpoint(endpoints[round%6], func(spec *v1alpha1.ReporterEndpointSpec) { spec.URL += "/moved" })
		for _, key := range claims {
			h.delete(key)
		}
		h.jostle(300)
		for _, key := range claims {
			if h.exists(connectionKind, key) {
				h.changeConnection(key, retainConnection)
			}
		}
		h.jostle(100)
		h.must(h.api.delete(namespaceKind, client.ObjectKey{Name: namespace}))
		for h.exists(namespaceKind, client.ObjectKey{Name: namespace}) {
			h.collect()
			h.jostle(100)
		}
	}
}

// jostle lets many things happen, in any order and with faults.
func (h *history) jostle(steps int) {
	h.calm = false
	for n := range steps {
		h.observe()
		if n%20 == 19 || !h.machinery() {
			h.idle()
		}
	}
	h.calm = true
}

func TestNothingGrowsWithWhatUsersWrite(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { leavesNothingBehind(t, seed) })
	}
}

func TestReporterOfAnEndpointThatGoesIsNotBroughtBack(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		before := h.sizes()
		endpoint := h.endpoint("a", "passing")
		endpoint.Spec.TLS.ServerName = "passing" // so that it is a Reporter of its own
		h.must(h.api.create(endpoint))
		key := client.ObjectKeyFromObject(endpoint)
		claim := h.claimThrough(key, v1alpha1.DeletionPolicyRetain, "a", "claim", h.ids[0])
		h.settle()
		held := 0
		h.hold = func(c *call) bool {
			holds := c.pass != nil && c.pass.controller.Name == "reporterconnection" && strings.HasPrefix(c.what, "get Secret")
			if holds {
				held++
			}
			return holds
		}
		h.askFor(connectionKind, claim)
		h.wait(time.Second)
		h.must(h.api.delete(endpointKind, key))
		h.wait(2 * time.Second)
		expect(t, "the endpoint is gone", h.exists(endpointKind, key), false)
		expect(t, "a pass reads its Secret", held > 0, true)
		h.hold = nil
		h.must(h.api.delete(connectionKind, claim))
		h.wait(time.Second)
		for where, size := range h.sizes() {
			if strings.Contains(where, ".pool.") && size > before[where] {
				t.Errorf("%s has grown from %d to %d", where, before[where], size)
			}
		}
	})
}

var soakFor = flag.Duration("simulation.soak", 0, "have users write and delete for so long, and compare what the operator holds")

// forgetPast drops what the simulation itself remembers of the past.
func (h *history) forgetPast() {
	for _, kind := range simulatedKinds {
		h.api.changes[kind] = slices.Clone(h.api.changes[kind][h.instances[0].seen[kind]:])
		h.instances[0].seen[kind] = 0
		h.api.versions[kind] = map[client.ObjectKey][]version{}
		for key, object := range h.api.objects[kind] {
			h.api.versions[kind][key] = []version{{h.api.revision, time.Now(), object}}
		}
	}
	h.notes, h.drawn, h.refusedLogins, h.taken = nil, nil, nil, nil
	clear(h.events)
	clear(h.warned)
	clear(h.warningsOwed)
	clear(h.releases)
	clear(h.sightings)
	clear(h.refused)
	clear(h.deletedFor)
	clear(h.sentFor)
	clear(h.foundAbsent)
	clear(h.heldSince)
	clear(h.lines)
	clear(h.released)
	for _, r := range h.reporters {
		r.ResetRequests()
	}
	h.manager.ResetRequests()
}

// TestSoak has users write and delete for long, of real time, and compares the memory of the process, its goroutines, and the maps and lists of
// the operator at the end with those at the beginning.
func TestSoak(t *testing.T) {
	if *soakFor == 0 {
		t.Skip("no -simulation.soak is given")
	}
	const slack = 4 << 20 // of the heap
	var heap uint64
	var goroutines int
	measure := func(h *history) map[string]int {
		found := h.memory()
		h.forgetPast()
		runtime.GC()
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		heap, goroutines = stats.HeapAlloc, runtime.NumGoroutine()
		return found
	}
	ends := make(chan struct{})
	time.AfterFunc(*soakFor, func() { close(ends) })
	over := func() bool { // a channel of the bubble's outside would be for real time
		select {
		case <-ends:
			return true
		default:
			return false
		}
	}
	scene(t, func(t *testing.T, h *history) {
		h.source, h.tape, h.tracing = rand.New(rand.NewPCG(uint64(os.Getpid()), 0)), nil, false
		h.reporters["busy.test"] = &simulatedReporter{Reporter: h.homeReporter(), down: &response{503, http.Header{"Retry-After": {"600"}}, nil}}
		h.churn(20)
		before := measure(h)
		heapBefore, goroutinesBefore, rounds := heap, goroutines, 0
		for ; !over(); rounds++ {
			h.churn(1)
			h.settle() // what the watch has still to show is of the past as well
			h.forgetPast()
		}
		after := measure(h)
		t.Logf("after %d rounds the heap is %d bytes, and was %d; there are %d goroutines, and were %d", rounds, heap, heapBefore, goroutines, goroutinesBefore)
		if heap > heapBefore+slack || goroutines > goroutinesBefore {
			t.Error("memory or goroutines have grown")
		}
		for where, size := range after {
			if size > before[where] {
				t.Errorf("%s has grown from %d to %d", where, before[where], size)
			}
		}
	})
}

func leavesNothingBehind(t *testing.T, seed uint64) {
	scene(t, func(t *testing.T, h *history) {
		h.source, h.tape, h.tracing = rand.New(rand.NewPCG(seed, 0)), nil, false
		h.reporters["busy.test"] = &simulatedReporter{Reporter: h.homeReporter(), down: &response{503, http.Header{"Retry-After": {"600"}}, nil}}
		h.churn(1)
		before := h.memory()
		h.churn(10)
		after := h.memory()
		if len(before) < 20 {
			t.Errorf("only %d maps and lists were found", len(before))
		}
		for where, size := range after {
			if size > before[where] {
				t.Errorf("%s has grown from %d to %d", where, before[where], size)
			}
		}
	})
}

func TestManyOpenEndpointsOfASecretAreOneListOfEverything(t *testing.T) {
	sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
		for n := range 50 {
			endpoint := h.endpoint("b", fmt.Sprintf("open-%d", n))
			endpoint.Spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{From: v1alpha1.FromAll}
			h.must(h.api.create(endpoint))
		}
		user := h.claimThrough(client.ObjectKey{Namespace: "b", Name: "open-7"}, v1alpha1.DeletionPolicyDelete, "a", "user", h.ids[0])
		h.wait(time.Minute)
		lists := h.countCalls(func(c *call) bool { return !c.local && c.what == "list ReporterConnection" })
		h.must(h.api.delete(secretKind, client.ObjectKey{Namespace: "b", Name: "credentials"}))
		h.wait(30 * time.Second)
		expect(t, "the Secret is held", h.exists(secretKind, client.ObjectKey{Namespace: "b", Name: "credentials"}), true)
		h.delete(user)
		h.wait(time.Minute)
		expect(t, "the Secret is held", h.exists(secretKind, client.ObjectKey{Namespace: "b", Name: "credentials"}), false)
		if *lists > 5 {
			t.Errorf("%d lists of all connections", *lists)
		}
	})
}

// Many claims whose logins take long, and more whose Secrets are missing, hold a deletion as long as one of them would.
func TestManySlowClaimsHoldADeletionForTenMinutesInAll(t *testing.T) {
	sceneWith(t, withAccessManager, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		slow := h.neighbourBehind("slow.test")
		began := map[*call]time.Time{}
		h.hold = func(c *call) bool {
			if _, known := began[c]; !known {
				began[c] = time.Now()
			}
			return c.http && strings.Contains(c.what, "slow.test") && time.Since(began[c]) < 8*time.Second
		}
		for n := range 100 {
			h.claimThrough(slow, v1alpha1.DeletionPolicyRetain, "b", fmt.Sprintf("slow-%03d", n), h.ids[0])
		}
		without := h.endpoint("b", "without-secret")
		without.Spec.Auth.AccessManager.SecretRef.Name = "missing"
		h.must(h.api.create(without))
		for n := range 20 {
			h.claimThrough(client.ObjectKeyFromObject(without), v1alpha1.DeletionPolicyRetain, "b", fmt.Sprintf("without-%02d", n), h.ids[0])
		}
		h.wait(time.Second)
		h.delete(deleted)
		h.wait(10 * time.Second)
		expect(t, "the resource", h.reason(deleted), "ClaimUnverified")
		h.wait(12 * time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "the connection is alive", h.alive(h.ids[0]), false)
	})
}
