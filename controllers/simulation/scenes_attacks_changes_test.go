// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// The scenes here attack what is promised of twins in Reporter, of passwords that are rotated, of changes that are carried out late, of tests of
// databases, and of what somebody asks for with an annotation.

// --- Twins ---

// lateTwin has multi-tenant Reporter carry a creation out so long after it was given up and another made in its place, as no index keeps names
// unique there.
func (h *history) lateTwin(t *testing.T, after time.Duration) (key client.ObjectKey, id, twin string) {
	t.Helper()
	h.homeReporter().SetMultiTenant(true)
	h.holdFirst(isCreation)
	key = h.describe("a", "ledger", "ledger-db")
	h.wait(20 * time.Second)
	first := h.waiting(t, isCreation)
	for range 40 {
		if id = h.statusOf(key).ConnectionID; id != "" {
			break
		}
		h.wait(10 * time.Second)
	}
	h.wait(after)
	// Its check whether the name is taken came before the other's write, and its own write comes now.
	first.acted = true
	twin = h.homeReporter().Add(reportertest.Connection{ConfigName: "ledger-db", ProductName: "ledger", Tenant: "ours", Host: "db.example.com",
		Metadata: map[string]any{"reporterOperatorOwner": h.markOf(h.connection(key))}}).ID
	h.hold = nil
	h.settle()
	return key, id, twin
}

// isToldOf says whether the condition of a resource tells of a twin.
func (h *history) isToldOf(key client.ObjectKey, twin string) bool {
	duplicate := h.conditionOf(key, "DuplicateInReporter")
	return duplicate != nil && duplicate.Status == metav1.ConditionTrue && strings.Contains(duplicate.Message, twin)
}

// Promise: a look is owed 10 minutes after a creation was given up as lost. What was carried out until then is told, and nothing is deleted.
func TestTwinIsToldInTimeHoweverLate(t *testing.T) {
	for _, after := range []time.Duration{0, 2 * time.Minute, 5 * time.Minute, 9 * time.Minute} {
		for _, kills := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, killed every minute %t", after, kills), func(t *testing.T) {
				scene(t, func(t *testing.T, h *history) {
					key, id, twin := h.lateTwin(t, after)
					for range 13 {
						if kills {
							h.kill(h.instances[0])
							h.launch()
						}
						h.wait(time.Minute)
					}
					expect(t, "the twin is told", h.isToldOf(key, twin), true)
					expect(t, "the resource", h.reason(key), "Available")
					h.wait(5 * time.Hour)
					expect(t, "the twin is told still", h.isToldOf(key, twin), true)
					expect(t, "the id", h.statusOf(key).ConnectionID, id)
					expect(t, "connections", len(h.named("ledger-db")), 2)
					expect(t, "DELETEs", len(h.sentTo(homeHost, http.MethodDelete)), 0)
					expect(t, "an event tells it", h.isTold(twin), true)
					h.homeReporter().Delete(twin)
					h.annotate(key, v1alpha1.RequestedAtAnnotation, "now")
					h.wait(80 * time.Minute) // it is looked at hourly
					expect(t, "there is the condition", h.conditionOf(key, "DuplicateInReporter") != nil, false)
					h.expectOne(t, key, "ledger-db")
				})
			})
		}
	}
}

// Promise: a deletion makes the look that is owed, begun anew, and tells what it finds; the twin is never deleted unasked.
func TestTwinIsToldByADeletionThroughKills(t *testing.T) {
	for name, after := range map[string]time.Duration{"the look is owed": 0, "it is known": 30 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			var key client.ObjectKey
			var twin string
			isLast := false
			killedAtEachCall(t, 3, func(t *testing.T, h *history) {
				key, _, twin = h.lateTwin(t, time.Second)
				h.wait(after)
				h.notes = nil
			}, func(_ *testing.T, h *history) {
				isLast = false
				hold := h.hold
				h.hold = func(c *call) bool {
					held := hold(c)
					isLast = isLast || held && isPatchOf(c, key)
					return held
				}
				h.delete(key)
			}, func(t *testing.T, h *history) {
				expect(t, "the resource", h.reason(key), "gone")
				expect(t, "the twin is alive", h.homeReporter().Alive(twin), true)
				if !isLast { // a process that has ended tells nothing of what arrives after it
					expect(t, "an event tells it", h.isTold(twin), true)
				}
			})
		})
	}
}

// Promise: where the owed look cannot be made, a deletion waits or tells, and loses no twin untold.
func TestTwinIsToldByADeletionThroughAnOutage(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		key, _, twin := h.lateTwin(t, time.Second)
		mend := h.homeReporter().Inject(reportertest.Fault{Method: http.MethodGet, Match: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, connectionsEnd) }, Do: reportertest.Answer(503, nil, "")})
		h.delete(key)
		h.wait(time.Hour)
		mend()
		h.wait(time.Hour)
		expect(t, "the resource", h.reason(key), "gone")
		expect(t, "the twin is alive", h.homeReporter().Alive(twin), true)
		expect(t, "an event tells it", h.isTold(twin), true)
	})
}

// Promise: never two live connections for one resource untold, and none is lost: who deletes the one that the resource has, keeps the other.
func TestTwinThatIsLeftWhenTheOtherIsDeletedByHand(t *testing.T) {
	for name, known := range map[string]bool{"known": true, "not known yet": false} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				key, id, _ := h.lateTwin(t, time.Second)
				if known {
					h.wait(30 * time.Minute)
				}
				h.homeReporter().Delete(id)
				h.annotate(key, v1alpha1.RequestedAtAnnotation, "now")
				h.wait(3 * time.Hour)
				found := h.named("ledger-db")
				if len(found) == 1 {
					h.expectOne(t, key, "ledger-db")
					expect(t, "there is the condition", h.conditionOf(key, "DuplicateInReporter") != nil, false)
					return
				}
				expect(t, "connections", len(found), 2)
				for _, c := range found {
					if c.ID != h.statusOf(key).ConnectionID {
						expect(t, c.ID+" is told", h.isToldOf(key, c.ID), true)
					}
				}
			})
		})
	}
}

// --- Secrets ---

func holding(password string) func(*corev1.Secret) {
	return func(s *corev1.Secret) { s.Data = map[string][]byte{"password": []byte(password)} }
}

// passwordAt is what Reporter has as the password of a resource's connection.
func (h *history) passwordAt(key client.ObjectKey) string {
	return h.homeReporter().Secrets(h.statusOf(key).ConnectionID).Password
}

func (h *history) isReady(key client.ObjectKey) bool {
	ready := h.conditionOf(key, "Ready")
	return ready != nil && ready.Status == metav1.ConditionTrue
}

// Promise: a rotation is applied within a second of the change.
func TestRotationIsAppliedAtOnce(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		key := h.describe("a", "ledger", "ledger-db")
		h.wait(30 * time.Minute)
		for _, password := range []string{"one", "two\n", "three"} {
			h.changeSecret(secretOf(key), holding(password))
			h.wait(time.Second)
			expect(t, "the password", h.passwordAt(key), strings.TrimSpace(password))
			h.wait(10 * time.Second)
			expect(t, "the resource", h.reason(key), "Available")
		}
		expect(t, "PATCHes", h.changes(), 3)
		h.expectSecrecy(t, "three")
	})
}

// Promise: two rotations in quick succession end with the last, whatever the first was doing, through kills too.
func TestRotationTwiceQuickly(t *testing.T) {
	key := client.ObjectKey{Namespace: "a", Name: "ledger"}
	for name, happens := range map[string]func(t *testing.T, h *history, c *call){
		"": func(_ *testing.T, _ *history, _ *call) {},
		", and the operator is killed": func(_ *testing.T, h *history, _ *call) {
			h.kill(h.instances[0])
			h.launch()
		},
		", and the answer is lost": func(_ *testing.T, h *history, c *call) {
			c.acted = true
			c.value, c.err = c.act()
			h.lose(c)
		},
		", and the cache is behind": func(_ *testing.T, h *history, _ *call) {
			h.blind = secretKind
			h.hold = nil
			h.wait(10 * time.Second)
			h.blind = ""
		},
	} {
		t.Run("during each call"+name, func(t *testing.T) {
			atEachCall(t, 3, func(_ *testing.T, h *history) {
				h.describe("a", "ledger", "ledger-db")
				h.wait(30 * time.Minute)
				h.changeSecret(secretOf(key), holding("first"))
			}, func(t *testing.T, h *history, c *call) {
				h.changeSecret(secretOf(key), holding("hush-hush"))
				happens(t, h, c)
				h.hold = nil
				h.wait(10 * time.Minute)
				expect(t, "the password after ten minutes", h.passwordAt(key), "hush-hush")
			}, func(t *testing.T, h *history) { h.expectOne(t, key, "ledger-db") })
		})
	}
}

// Promise: Ready=True says that what was sent is current. While Reporter is down it is not, through a restart neither.
func TestRotationWhileReporterIsDown(t *testing.T) {
	for name, restarts := range map[string]bool{"the operator stays": false, "it restarts": true} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				key := h.describe("a", "ledger", "ledger-db")
				h.wait(time.Hour)
				h.reporters[homeHost].down = &response{503, http.Header{}, nil}
				h.wait(time.Minute)
				if restarts {
					h.kill(h.instances[0])
				}
				h.changeSecret(secretOf(key), holding("another"))
				if restarts {
					h.launch()
				}
				h.wait(5 * time.Minute)
				expect(t, "it is Ready", h.isReady(key), false)
				h.wait(3 * time.Hour)
				expect(t, "it is Ready", h.isReady(key), false)
				h.reporters[homeHost].down = nil
				h.wait(20 * time.Minute)
				expect(t, "the password", h.passwordAt(key), "another")
				expect(t, "it is Ready", h.isReady(key), true)
			})
		})
	}
}

// Promise: a new version with the same contents is only noted. A process that does not know what was sent sends once, and no more.
func TestRotationToTheSameContents(t *testing.T) {
	same := func(h *history, key client.ObjectKey) {
		h.changeSecret(secretOf(key), func(s *corev1.Secret) { s.Annotations = map[string]string{"team": time.Now().String()} })
	}
	anew := func(h *history, key client.ObjectKey) {
		object, err := h.api.get(secretKind, secretOf(key))
		h.must(err)
		h.must(h.api.delete(secretKind, secretOf(key)))
		secret := object.DeepCopyObject().(*corev1.Secret)
		secret.UID, secret.ResourceVersion = "", ""
		h.must(h.api.create(secret))
	}
	for name, touch := range map[string]func(h *history, key client.ObjectKey){"a new version": same, "a new Secret": anew} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				key := h.describe("a", "ledger", "ledger-db")
				h.wait(time.Hour)
				for range 5 {
					touch(h, key)
					h.wait(30 * time.Minute)
					expect(t, "it is Ready", h.isReady(key), true)
				}
				expect(t, "PATCHes", h.changes(), 0)
				tests := h.tests()
				h.kill(h.instances[0])
				touch(h, key)
				h.launch()
				h.wait(5 * time.Hour)
				if n := h.changes(); n > 1 {
					t.Errorf("%d PATCHes", n)
				}
				if n := h.tests() - tests; n > 1 {
					t.Errorf("%d tests", n)
				}
				h.expectOne(t, key, "ledger-db")
			})
		})
	}
}

// Promise: a Secret that is deleted is told; when it is made anew with another password, that is sent at once; a deletion needs it not.
func TestRotationByDeletionOfTheSecret(t *testing.T) {
	for name, meanwhile := range map[string]time.Duration{"at once": 0, "after an hour": time.Hour} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				key := h.describe("a", "ledger", "ledger-db")
				h.wait(30 * time.Minute)
				object, err := h.api.get(secretKind, secretOf(key))
				h.must(err)
				h.must(h.api.delete(secretKind, secretOf(key)))
				h.wait(meanwhile)
				if meanwhile > 0 {
					expect(t, "the resource", h.reason(key), "SecretNotFound")
				}
				secret := object.DeepCopyObject().(*corev1.Secret)
				secret.UID, secret.ResourceVersion = "", ""
				holding("another")(secret)
				h.must(h.api.create(secret))
				h.wait(2 * time.Second)
				expect(t, "the password", h.passwordAt(key), "another")
				h.wait(time.Minute)
				expect(t, "it is Ready", h.isReady(key), true)
			})
			scene(t, func(t *testing.T, h *history) {
				key := h.describe("a", "ledger", "ledger-db")
				h.wait(30 * time.Minute)
				h.must(h.api.delete(secretKind, secretOf(key)))
				h.wait(meanwhile)
				h.delete(key)
				h.wait(10 * time.Second)
				expect(t, "the resource", h.reason(key), "gone")
				expect(t, "connections", len(h.named("ledger-db")), 0)
			})
		})
	}
}

// Promise: a Secret without its label is not read, whatever is in it; labelled again, what is in it then is sent at once.
func TestRotationOfWhatIsNotLabelled(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		key := h.describe("a", "ledger", "ledger-db")
		h.wait(30 * time.Minute)
		h.changeSecret(secretOf(key), func(s *corev1.Secret) { s.Labels = nil })
		h.wait(2 * time.Hour)
		expect(t, "the resource", h.reason(key), "SecretNotGranted")
		h.changeSecret(secretOf(key), holding("another"))
		h.annotate(key, v1alpha1.RequestedAtAnnotation, "now")
		h.wait(time.Hour)
		expect(t, "PATCHes", h.changes(), 0)
		h.changeSecret(secretOf(key), func(s *corev1.Secret) { s.Labels = map[string]string{v1alpha1.CredentialsLabel: "database"} })
		h.wait(2 * time.Second)
		expect(t, "the password", h.passwordAt(key), "another")
		h.wait(time.Minute)
		expect(t, "it is Ready", h.isReady(key), true)
	})
}

// Promise: the hosts that a Secret lists are asked for right before a password is sent: one that is listed no more gets none, though caches are late.
func TestRotationAndHostsBetweenJudgingAndSending(t *testing.T) {
	key := client.ObjectKey{Namespace: "a", Name: "ledger"}
	for name, c := range map[string]struct {
		begin func(h *history)
		late  bool
	}{
		"a rotation":                 {func(h *history) { h.changeSecret(secretOf(key), holding("another")) }, false},
		"a rotation, late caches":    {func(h *history) { h.changeSecret(secretOf(key), holding("another")) }, true},
		"another host":               {func(h *history) { h.changeConnection(key, onHost("evil.example.com")) }, false},
		"another host, late caches":  {func(h *history) { h.changeConnection(key, onHost("evil.example.com")) }, true},
		"on request, late caches":    {func(h *history) { h.annotate(key, v1alpha1.RequestedAtAnnotation, "now") }, true},
		"another Secret and a host":  {func(h *history) { h.changeConnection(key, onHost("evil.example.com")) }, true},
		"another port, late caches":  {func(h *history) { h.changeConnection(key, onPort(6432)) }, true},
		"the first host, by the way": {func(h *history) { h.changeConnection(key, onHost("other.example.com")) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			sent, read, before := false, false, 0
			atEachCall(t, 3, func(_ *testing.T, h *history) {
				h.describe("a", "ledger", "ledger-db")
				h.wait(30 * time.Minute)
				before, sent, read = h.changes(), false, false
				c.begin(h)
			}, func(t *testing.T, h *history, held *call) {
				sent = isChange(held) || h.changes() > before
				if c.late {
					h.blind = secretKind
				}
				h.changeSecret(secretOf(key), listing("nowhere.example.com"))
				h.hold = func(other *call) bool {
					sent = sent || isChange(other) && other.pass == held.pass
					read = read || !sent && other != held && strings.HasPrefix(other.what, "get Secret a/ledger-database")
					return false
				}
				h.wait(10 * time.Second)
				if read {
					expect(t, "PATCHes", h.changes()-before, 0)
				}
				h.blind = ""
			}, func(t *testing.T, h *history) {
				expect(t, "the resource", h.reason(key), "HostNotAllowed")
			})
		})
	}
}

// Promise: a rotated user name or certificate is sent as a password is, with the password.
func TestRotationOfTheUserNameAndTheCertificate(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		extra := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "extra", Labels: map[string]string{v1alpha1.CredentialsLabel: "database"}},
			Data: map[string][]byte{"user": []byte("somebody"), "tls.crt": []byte("crt-1"), "tls.key": []byte("key-1")}}
		h.must(h.api.create(extra))
		key := h.described("a", "ledger", "ledger-db", func(rc *v1alpha1.ReporterConnection) {
			rc.Spec.Connection.UserName, rc.Spec.Connection.UserNameSecretRef = "", &v1alpha1.SecretKeyReference{Name: "extra", Key: "user"}
			rc.Spec.Connection.SSL = &v1alpha1.ConnectionSSL{Mode: "require", CABundle: "PEM", ClientCertificateSecretRef: &v1alpha1.SecretReference{Name: "extra"}}
		})
		h.wait(30 * time.Minute)
		h.changeSecret(client.ObjectKeyFromObject(extra), func(s *corev1.Secret) {
			s.Data = map[string][]byte{"user": []byte("somebody-else"), "tls.crt": []byte("crt-2"), "tls.key": []byte("key-2")}
		})
		h.wait(2 * time.Second)
		secrets := h.homeReporter().Secrets(h.statusOf(key).ConnectionID)
		expect(t, "the user name", secrets.UserName, "somebody-else")
		expect(t, "the certificate", secrets.Cert, "crt-2")
		expect(t, "the key", secrets.Key, "key-2")
		expect(t, "the CA", secrets.CA, "PEM")
		expect(t, "it carries the password", strings.Contains(string(h.sentTo(homeHost, http.MethodPatch)[0].Body), `"password":"hush-hush"`), true)
		h.wait(2 * time.Hour)
		expect(t, "PATCHes", h.changes(), 1)
		h.expectOne(t, key, "ledger-db")
		h.expectSecrecy(t, "key-2")
	})
}

// Promise: what somebody does to the password in Reporter by hand shows in updatedAt, and is put right at the routine check.
func TestRotationByHandInReporterIsPutRight(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		key := h.describe("a", "ledger", "ledger-db")
		h.wait(30 * time.Minute)
		expect(t, "a change by hand", h.byHand(http.MethodPatch, "/"+h.statusOf(key).ConnectionID, `{"password":"by hand"}`), 200)
		h.wait(2 * time.Hour)
		h.expectOne(t, key, "ledger-db")
		expect(t, "PATCHes", h.changes(), 2)
	})
}

// --- Changes that are carried out late ---

// Promise: after a PATCH without an answer looks go on until one that began 2 minutes after it finds nothing to do: what comes until then is mended
// within minutes, also if nothing was sent since.
func TestLateChangeIsMendedThoughNothingWasSentSince(t *testing.T) {
	for name, c := range map[string]struct {
		change, back func(h *history, key client.ObjectKey)
	}{
		"the port": {func(h *history, key client.ObjectKey) { h.changeConnection(key, onPort(6000)) }, func(h *history, key client.ObjectKey) { h.changeConnection(key, onPort(5432)) }},
		"the password": {func(h *history, key client.ObjectKey) { h.changeSecret(secretOf(key), holding("first")) },
			func(h *history, key client.ObjectKey) { h.changeSecret(secretOf(key), holding("hush-hush")) }},
	} {
		for _, late := range []time.Duration{15 * time.Second, time.Minute, 110 * time.Second} {
			t.Run(fmt.Sprintf("%s, after %s", name, late), func(t *testing.T) {
				scene(t, func(t *testing.T, h *history) {
					key := h.describe("a", "ledger", "ledger-db")
					h.wait(30 * time.Minute)
					h.holdFirst(isChange)
					c.change(h, key)
					h.wait(time.Second)
					orphan := h.waiting(t, isChange)
					c.back(h, key)
					h.wait(late - time.Second)
					h.carryOut(orphan)
					h.hold = nil
					h.wait(5 * time.Minute)
					h.expectOne(t, key, "ledger-db")
					expect(t, "the port", h.named("ledger-db")[0].Port, 5432)
				})
			})
		}
	}
}

// Promise: a change that is under way when its resource is deleted does not keep the connection, whatever it brings back.
func TestLateChangeThroughADeletion(t *testing.T) {
	for name, carry := range map[string]func(t *testing.T, h *history, orphan *call){
		"carried out before the DELETE": func(_ *testing.T, h *history, orphan *call) { h.carryOut(orphan) },
		"carried out after it": func(_ *testing.T, h *history, orphan *call) {
			h.hold = func(c *call) bool { return c == orphan }
			h.wait(time.Minute)
			h.carryOut(orphan)
		},
		"never": func(_ *testing.T, _ *history, orphan *call) { orphan.acted = true },
	} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				key := h.describe("a", "ledger", "ledger-db")
				h.wait(30 * time.Minute)
				h.holdFirst(isChange)
				h.changeConnection(key, onPort(6000))
				h.wait(time.Second)
				orphan := h.waiting(t, isChange)
				h.delete(key)
				h.wait(15 * time.Second)
				carry(t, h, orphan)
				h.hold = nil
				h.wait(10 * time.Minute)
				expect(t, "the resource", h.reason(key), "gone")
				expect(t, "connections", len(h.named("ledger-db")), 0)
			})
		})
	}
}

// Promise: an operator that was killed right after it sent a change mends what comes of it, at the routine check at the latest.
func TestLateChangeOfAKilledOperator(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		key := h.describe("a", "ledger", "ledger-db")
		h.wait(30 * time.Minute)
		h.holdFirst(isChange)
		h.changeConnection(key, onPort(6000))
		h.wait(time.Second)
		h.kill(h.instances[0])
		orphan := h.waiting(t, isChange)
		h.changeConnection(key, onPort(5432))
		h.hold = func(c *call) bool { return c == orphan }
		h.launch()
		h.wait(100 * time.Second)
		h.carryOut(orphan)
		h.hold = nil
		h.wait(2 * time.Hour)
		h.expectOne(t, key, "ledger-db")
		expect(t, "the port", h.named("ledger-db")[0].Port, 5432)
	})
}

// Promise: a take-over whose first change has no answer is carried out late, and is one take-over, of one password.
func TestLateChangeOfATakeOver(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		id := h.createByHand(t, "ledger-db", "")
		h.holdFirst(isChange)
		key := h.takingOver("a", "ledger", "ledger-db", id)
		h.wait(12 * time.Second)
		orphan := h.waiting(t, isChange)
		h.changeSecret(secretOf(key), holding("second"))
		h.wait(20 * time.Second)
		h.changeSecret(secretOf(key), holding("hush-hush"))
		h.wait(50 * time.Second)
		h.carryOut(orphan)
		h.hold = nil
		h.wait(10 * time.Minute)
		h.expectOne(t, key, "ledger-db")
		expect(t, "the id", h.statusOf(key).ConnectionID, id)
	})
}

// --- DatabaseReachable ---

func isTest(c *call) bool {
	return c.http && c.method == http.MethodPost && strings.HasSuffix(c.what, "/test")
}

// testing says what DatabaseReachable says.
func (h *history) reachable(key client.ObjectKey) string {
	c := h.conditionOf(key, "DatabaseReachable")
	if c == nil {
		return "nothing"
	}
	return string(c.Status) + " " + c.Reason
}

// ofTests matches the requests to test a database.
func ofTests(do reportertest.Behaviour) reportertest.Fault {
	return reportertest.Fault{Method: http.MethodPost, Match: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/test") }, Do: do}
}

// Promise: tests that hang hold up no creation, change or deletion of others.
func TestReachableTestsThatHangHoldUpNobody(t *testing.T) {
	for _, inFlight := range []int32{16, 2, 1} {
		t.Run(fmt.Sprintf("%d in flight", inFlight), func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.MaxInFlight = inFlight })
				old := h.describe("a", "old", "old-db")
				h.wait(time.Minute)
				h.hold = isTest
				var keys []client.ObjectKey
				for n := range 10 {
					keys = append(keys, h.describe("a", fmt.Sprintf("ledger-%d", n), fmt.Sprintf("ledger-%d", n)))
				}
				h.wait(10 * time.Second)
				for _, key := range keys {
					expect(t, key.Name, h.reason(key), "Available")
				}
				h.changeConnection(old, onPort(6432))
				h.wait(2 * time.Second)
				expect(t, "the port", h.named("old-db")[0].Port, 6432)
				last := h.describe("a", "last", "last-db")
				h.wait(3 * time.Second)
				expect(t, "the last", h.reason(last), "Available")
				h.wait(20 * time.Minute)
				claim := h.claim("a", "claim", h.ids[0])
				h.wait(3 * time.Second)
				expect(t, "the claim", h.reason(claim), "Available")
				h.delete(claim)
				h.wait(3 * time.Second)
				expect(t, "the claim", h.reason(claim), "gone")
				for _, key := range keys {
					h.delete(key)
				}
				h.wait(30 * time.Second)
				for _, key := range keys {
					expect(t, key.Name, h.reason(key), "gone")
				}
				expect(t, "the endpoint is Ready", h.isEndpointReady(defaultEndpointOfA), true)
			})
		})
	}
}

// Promise: one that hangs is given up after 15 s, is said not to be known, and is asked for again, ever more rarely, one at a time.
func TestReachableTestThatHangsIsAskedForAgain(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		asked := h.countCalls(isTest)
		count := h.hold
		h.hold = func(c *call) bool { return count(c) || isTest(c) }
		key := h.describe("a", "ledger", "ledger-db")
		h.wait(20 * time.Second)
		if !strings.HasPrefix(h.reachable(key), "Unknown") {
			t.Errorf("the database: %s", h.reachable(key))
		}
		h.wait(2 * time.Hour)
		if *asked < 3 || *asked > 60 {
			t.Errorf("%d tests within two hours", *asked)
		}
		expect(t, "the resource", h.reason(key), "Available")
		h.hold = nil
		h.wait(15 * time.Minute)
		expect(t, "the database", h.reachable(key), "True TestSucceeded")
	})
}

// Promise: whatever a test is answered feeds neither breaker nor pace, and nothing of it but the result is believed.
func TestReachableAnswersDoNoHarm(t *testing.T) {
	asJSON := http.Header{"Content-Type": {"application/json"}}
	for name, answer := range map[string]reportertest.Behaviour{
		"500":                     reportertest.ErrorAnswer(500, 500, "request_failed", "no"),
		"500 with Retry-After":    reportertest.Answer(500, http.Header{"Retry-After": {"86400"}}, "no"),
		"503 with Retry-After":    reportertest.Answer(503, http.Header{"Retry-After": {"86400"}, "Content-Type": {"application/json"}}, `{"code":"FET-0003","title":"x","message":"x"}`),
		"429 with Retry-After":    reportertest.Answer(429, http.Header{"Retry-After": {"86400"}, "Content-Type": {"application/json"}}, `{"code":429,"title":"request_failed","message":"x"}`),
		"429 with a limit":        reportertest.Answer(429, http.Header{"X-Ratelimit-Limit": {"1"}, "X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"9999999999"}}, ""),
		"200 with no more left":   reportertest.Answer(200, http.Header{"Content-Type": {"application/json"}, "X-Ratelimit-Limit": {"1"}, "X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"9999999999"}}, `{"status":"success","message":"ok","latencyMs":1}`),
		"a login page":            reportertest.LoginPage(),
		"401":                     reportertest.Answer(401, http.Header{"Content-Type": {"text/plain"}}, "Unauthorized"),
		"403":                     reportertest.Answer(403, http.Header{"Content-Type": {"text/plain"}}, "Forbidden"),
		"404":                     reportertest.ErrorAnswer(404, "FET-1001", "x", "x"),
		"404 of a proxy":          reportertest.Answer(404, textHTML, "not found"),
		"409":                     reportertest.ErrorAnswer(409, "FET-1021", "x", "x"),
		"a redirect":              reportertest.Redirect(307, "http://"+otherHost+"/test"),
		"200 of something else":   reportertest.Answer(200, asJSON, `{}`),
		"200 that says failure":   reportertest.Answer(200, asJSON, `{"status":"failure","message":"x","latencyMs":1}`),
		"204":                     reportertest.Answer(204, nil, ""),
		"500 that tells":          reportertest.ErrorAnswer(500, 500, "hush-hush", "password hush-hush is wrong"),
		"500 with an HTML page":   reportertest.Answer(500, textHTML, strings.Repeat("<h1>x</h1>", 10000)),
		"200 that tells":          reportertest.Answer(200, asJSON, `{"status":"success","message":"with hush-hush","latencyMs":1}`),
		"400":                     reportertest.ErrorAnswer(400, "FET-0414", "x", "x"),
		"422 with control bytes":  reportertest.ErrorAnswer(422, "FET-0422", "\x1b[31m", "\x00\x07"),
		"500 with a huge message": reportertest.ErrorAnswer(500, 500, "x", strings.Repeat("x", 60000)),
	} {
		t.Run(name, func(t *testing.T) {
			sceneWith(t, withAccessManager, func(t *testing.T, h *history) {
				h.homeReporter().Inject(ofTests(answer))
				var keys []client.ObjectKey
				for n := range 12 { // more than any breaker allows
					keys = append(keys, h.describe("a", fmt.Sprintf("ledger-%02d", n), fmt.Sprintf("ledger-%02d", n)))
				}
				h.wait(time.Minute)
				logins := h.manager.Logins()
				for _, key := range keys {
					expect(t, key.Name, h.reason(key), "Available")
				}
				if got := h.reachable(keys[0]); strings.HasPrefix(got, "True") != strings.HasPrefix(name, "200 with") && !strings.HasPrefix(name, "200 that tells") {
					t.Errorf("the database: %s", got)
				}
				expect(t, "the endpoint is Ready", h.isEndpointReady(defaultEndpointOfA), true)
				before := h.tests()
				h.wait(10 * time.Minute)
				last := h.describe("a", "last", "last-db")
				h.wait(2 * time.Second)
				expect(t, "the last", h.reason(last), "Available")
				h.changeConnection(last, onPort(6432))
				h.wait(2 * time.Second)
				expect(t, "the port", h.named("last-db")[0].Port, 6432)
				h.delete(keys[0])
				h.wait(2 * time.Second)
				expect(t, keys[0].Name, h.reason(keys[0]), "gone")
				h.wait(3 * time.Hour)
				expect(t, "requests elsewhere", len(h.reporters[otherHost].Requests())-len(h.sentTo(otherHost, http.MethodGet)), 0)
				if n := h.tests() - before; n > 12*60 {
					t.Errorf("%d tests within three hours", n)
				}
				if n := h.manager.Logins() - logins; n > 40 {
					t.Errorf("%d logins within three hours", n)
				}
				h.expectSecrecy(t, "hush-hush")
				h.delete(last)
				h.wait(2 * time.Second)
				expect(t, "the last", h.reason(last), "gone")
			})
		})
	}
}

// Promise: what was answered is not asked for again by itself: wrong passwords lock accounts. Not by a restart, a new leader, a late cache, a lost
// write or a routine check either. A kill costs one test at most.
func TestReachableIsAskedOnceForEachChange(t *testing.T) {
	key := client.ObjectKey{Namespace: "a", Name: "ledger"}
	begin := func(h *history) {
		h.homeReporter().SetDatabasePassword("db.example.com", "another")
		h.describe("a", "ledger", "ledger-db")
	}
	for name, happens := range map[string]func(t *testing.T, h *history, c *call){
		"the operator is killed": func(_ *testing.T, h *history, _ *call) { h.kill(h.instances[0]); h.launch() },
		"it fails":               func(_ *testing.T, h *history, c *call) { h.refuse(c) },
		"the answer is lost": func(_ *testing.T, h *history, c *call) {
			c.acted = true
			c.value, c.err = c.act()
			h.lose(c)
		},
		"the cache is behind": func(_ *testing.T, h *history, _ *call) {
			h.blind = connectionKind
			h.hold = nil
			h.wait(time.Minute)
			h.blind = ""
		},
		"another leads": func(_ *testing.T, h *history, c *call) {
			old := h.instances[0]
			old.paused = true
			h.hold = func(other *call) bool { return other == c }
			h.sleep(15 * time.Second)
			h.launch()
			h.wait(time.Minute)
			old.paused, h.hold = false, nil
			h.wait(10 * time.Second)
			h.kill(old)
		},
	} {
		t.Run(name, func(t *testing.T) {
			atEachCall(t, 5, func(_ *testing.T, h *history) { begin(h) }, happens, func(t *testing.T, h *history) {
				expect(t, "the database", h.reachable(key), "False TestFailed")
				if n := h.tests(); n < 1 || n > 2 {
					t.Errorf("%d tests", n)
				}
				n := h.tests()
				for range 5 {
					h.kill(h.instances[0])
					h.launch()
					h.wait(2 * time.Hour)
				}
				expect(t, "tests", h.tests(), n)
			})
		})
	}
}

// Promise: a change, a rotation and a request each ask for one test; drift that is mended is a change of ours.
func TestReachableAfterEachChange(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		key := h.describe("a", "ledger", "ledger-db")
		h.wait(30 * time.Minute)
		tests := h.tests()
		for n, change := range []func(){
			func() { h.changeConnection(key, onPort(6432)) },
			func() { h.changeSecret(secretOf(key), holding("another")) },
			func() { h.annotate(key, v1alpha1.RequestedAtAnnotation, "now") },
			func() {
				expect(t, "a change by hand", h.byHand(http.MethodPatch, "/"+h.statusOf(key).ConnectionID, `{"host":"mistaken.example.com"}`), 200)
			},
		} {
			change()
			h.wait(2 * time.Hour)
			expect(t, fmt.Sprintf("tests after change %d", n), h.tests()-tests, n+1)
			expect(t, "the database", h.reachable(key), "True TestSucceeded")
		}
	})
}

// Promise: one at a time per Reporter: those of another Reporter go on while one hangs.
func TestReachableOfAnotherReporterGoesOn(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		h.changeEndpoint(defaultEndpointOfB, leadTo(otherHost))
		h.settle()
		h.hold = func(c *call) bool { return isTest(c) && strings.Contains(c.what, homeHost) }
		for n := range 5 {
			h.describe("a", fmt.Sprintf("ledger-%d", n), fmt.Sprintf("ledger-%d", n))
		}
		h.wait(5 * time.Second)
		other := h.describe("b", "other", "other-db")
		h.wait(5 * time.Second)
		expect(t, "the database", h.reachable(other), "True TestSucceeded")
	})
}

// Promise: a test in line or under way does not keep its own resource from being deleted for longer than it may take.
func TestReachableTestDoesNotHoldItsOwnDeletion(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		h.hold = isTest
		var keys []client.ObjectKey
		for n := range 6 {
			keys = append(keys, h.describe("a", fmt.Sprintf("ledger-%d", n), fmt.Sprintf("ledger-%d", n)))
		}
		h.wait(2 * time.Second)
		for _, key := range keys {
			h.delete(key)
		}
		h.wait(17 * time.Second)
		for _, key := range keys {
			expect(t, key.Name, h.reason(key), "gone")
		}
	})
}

// --- What is asked for with annotations ---

// annotations sets several at once.
func (h *history) annotations(key client.ObjectKey, annotations map[string]string) {
	object, err := h.api.get(connectionKind, key)
	h.must(err)
	h.must(h.api.update(object, func(o client.Object) { o.SetAnnotations(annotations) }))
}

const (
	atNow    = v1alpha1.RequestedAtAnnotation
	takeBack = v1alpha1.TakeBackAnnotation
	abandon  = v1alpha1.AbandonAnnotation
)

// Promise: requestedAt is acted upon once; a kill costs one more change and one more test at most.
func TestAskedOnceThroughKills(t *testing.T) {
	key := client.ObjectKey{Namespace: "a", Name: "ledger"}
	killedAtEachCall(t, 3, func(_ *testing.T, h *history) {
		h.describe("a", "ledger", "ledger-db")
		h.wait(30 * time.Minute)
	}, func(_ *testing.T, h *history) { h.annotate(key, atNow, "now") }, func(t *testing.T, h *history) {
		h.expectOne(t, key, "ledger-db")
		if n := h.changes(); n < 1 || n > 2 {
			t.Errorf("%d PATCHes", n)
		}
		if n := h.tests(); n < 2 || n > 3 {
			t.Errorf("%d tests", n)
		}
		changes, tests := h.changes(), h.tests()
		for range 3 {
			h.kill(h.instances[0])
			h.launch()
			h.wait(2 * time.Hour)
		}
		expect(t, "PATCHes", h.changes(), changes)
		expect(t, "tests", h.tests(), tests)
	})
}

// Promise: takeBack is acted upon once, through kills; who takes it over again keeps it.
func TestAskedToTakeBackThroughKills(t *testing.T) {
	key := client.ObjectKey{Namespace: "a", Name: "ledger"}
	var id string
	for name, asked := range map[string]map[string]string{
		"alone":                                {takeBack: "please"},
		"beside requestedAt":                   {takeBack: "please", atNow: "now"},
		"beside requestedAt of the same value": {takeBack: "now", atNow: "now"},
	} {
		t.Run(name, func(t *testing.T) {
			killedAtEachCall(t, 3, func(t *testing.T, h *history) {
				h.describe("a", "ledger", "ledger-db")
				h.wait(time.Minute)
				id = h.statusOf(key).ConnectionID
				h.mark(t, id, "another-cluster/ledger")
				h.wait(2 * time.Hour)
				expect(t, "the resource", h.reason(key), "TakenOver")
			}, func(_ *testing.T, h *history) { h.annotations(key, asked) }, func(t *testing.T, h *history) {
				h.expectOne(t, key, "ledger-db")
				h.mark(t, id, "another-cluster/ledger")
				h.wait(2 * time.Hour)
				for range 2 {
					h.kill(h.instances[0])
					h.launch()
					h.wait(2 * time.Hour)
				}
				expect(t, "the resource", h.reason(key), "TakenOver")
				expect(t, "the mark", h.find(id).Metadata["reporterOperatorOwner"], any("another-cluster/ledger"))
			})
		})
	}
}

// Promise: abandon is acted upon once, through kills: one connection is created at the new place, and an event tells of the old one.
func TestAskedToAbandonThroughKills(t *testing.T) {
	key := client.ObjectKey{Namespace: "a", Name: "ledger"}
	var id string
	for name, asked := range map[string]map[string]string{
		"alone":                             {abandon: "http://" + homeHost},
		"beside requestedAt":                {abandon: "http://" + homeHost, atNow: "now"},
		"beside requestedAt and takeBack":   {abandon: "http://" + homeHost, atNow: "now", takeBack: "please"},
		"beside others with the same value": {abandon: "http://" + homeHost, atNow: "http://" + homeHost, takeBack: "http://" + homeHost},
	} {
		t.Run(name, func(t *testing.T) {
			killedAtEachCall(t, 5, func(t *testing.T, h *history) {
				h.describe("a", "ledger", "ledger-db")
				h.wait(30 * time.Minute)
				id = h.statusOf(key).ConnectionID
				h.changeEndpoint(defaultEndpointOfA, leadTo(otherHost))
				h.wait(2 * time.Hour)
				expect(t, "the resource", h.reason(key), "AbsenceUnverified")
			}, func(_ *testing.T, h *history) { h.annotations(key, asked) }, func(t *testing.T, h *history) {
				expect(t, "the resource", h.reason(key), "Available")
				elsewhere := slices.DeleteFunc(h.reporters[otherHost].Connections(), func(c reportertest.Connection) bool { return c.ConfigName != "ledger-db" })
				expect(t, "connections elsewhere", len(elsewhere), 1)
				expect(t, "the connection is alive", h.homeReporter().Alive(id), true)
				expect(t, "an event tells it", h.isTold(id), true)
			})
		})
	}
}

// Promise: abandon is acted upon once: left as it is, it drops nothing when the same URL is told of again.
func TestAskedToAbandonIsNotAskedAgainByTheSameURL(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprintf("removed and set anew %t", again), func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				key := h.describe("a", "ledger", "ledger-db")
				h.wait(30 * time.Minute)
				id := h.statusOf(key).ConnectionID
				h.changeEndpoint(defaultEndpointOfA, leadTo(otherHost))
				h.wait(2 * time.Hour)
				h.annotations(key, map[string]string{abandon: "http://" + homeHost})
				h.wait(2 * time.Hour)
				expect(t, "the resource", h.reason(key), "Available")
				expect(t, "it is another", h.statusOf(key).ConnectionID == id, false)
				h.changeEndpoint(defaultEndpointOfA, leadTo(homeHost))
				h.wait(2 * time.Hour)
				expect(t, "the resource", h.reason(key), "AbsenceUnverified")
				h.annotations(key, map[string]string{abandon: "http://" + otherHost})
				h.wait(2 * time.Hour)
				expect(t, "the resource", h.reason(key), "Available")
				expect(t, "the id", h.statusOf(key).ConnectionID, id) // it has its mark still
				// Now the first word comes back, while the connection is at home, where the endpoint leads: nothing is to be given up.
				h.annotations(key, map[string]string{abandon: "http://" + homeHost})
				h.wait(2 * time.Hour)
				expect(t, "the id", h.statusOf(key).ConnectionID, id)
				if again {
					h.annotations(key, nil)
					h.wait(time.Minute)
				}
				h.changeEndpoint(defaultEndpointOfA, leadTo(otherHost))
				h.wait(2 * time.Hour)
				if again {
					expect(t, "the resource", h.reason(key), "AbsenceUnverified")
					h.annotations(key, map[string]string{abandon: "http://" + homeHost})
					h.wait(2 * time.Hour)
					expect(t, "the resource", h.reason(key), "Available")
				}
			})
		})
	}
}

// Promise: each new value asks anew, so does the same value that was removed meanwhile; the same that stays does not.
func TestAskedAnew(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		key := h.describe("a", "ledger", "ledger-db")
		h.wait(30 * time.Minute)
		ask := func(annotations map[string]string, changes int) {
			t.Helper()
			h.annotations(key, annotations)
			h.wait(2 * time.Minute)
			expect(t, fmt.Sprintf("PATCHes after %v", annotations), h.changes(), changes)
		}
		ask(map[string]string{atNow: "1"}, 1)
		ask(map[string]string{atNow: "1", "team": "x"}, 1)
		ask(map[string]string{atNow: "2"}, 2)
		ask(nil, 2)
		ask(map[string]string{atNow: "2"}, 3)
		ask(map[string]string{atNow: "1"}, 4)
		ask(map[string]string{atNow: "2"}, 5)
		ask(map[string]string{atNow: ""}, 5) // which asks for nothing, or anything: it is not another time
		ask(map[string]string{atNow: "2"}, 6)
		h.kill(h.instances[0])
		h.launch()
		h.wait(3 * time.Hour)
		expect(t, "PATCHes", h.changes(), 6)
		h.kill(h.instances[0])
		h.annotations(key, nil)
		h.wait(time.Minute)
		h.launch()
		h.wait(time.Minute)
		ask(map[string]string{atNow: "2"}, 7)
	})
}

// Promise: takeBack that was removed and set anew takes back again; left, it does not.
func TestAskedToTakeBackAnew(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		key := h.describe("a", "ledger", "ledger-db")
		h.wait(time.Minute)
		id := h.statusOf(key).ConnectionID
		takeOver := func(want string) {
			t.Helper()
			h.mark(t, id, "another-cluster/ledger")
			h.wait(2 * time.Hour)
			expect(t, "the resource", h.reason(key), want)
		}
		takeOver("TakenOver")
		h.annotations(key, map[string]string{takeBack: "please"})
		h.wait(time.Minute)
		h.expectOne(t, key, "ledger-db")
		takeOver("TakenOver")
		h.annotations(key, map[string]string{takeBack: "please", atNow: "1"}) // another word between swallows nothing and repeats nothing
		h.wait(10 * time.Minute)
		expect(t, "the resource", h.reason(key), "TakenOver")
		h.annotations(key, map[string]string{atNow: "1"})
		h.wait(10 * time.Minute)
		h.annotations(key, map[string]string{takeBack: "please", atNow: "1"})
		h.wait(time.Minute)
		h.expectOne(t, key, "ledger-db")
		changes := h.changes()
		h.annotations(key, map[string]string{takeBack: "please", atNow: "2"})
		h.wait(time.Minute)
		expect(t, "PATCHes on request", h.changes()-changes, 1)
		h.wait(5 * time.Hour)
		expect(t, "PATCHes", h.changes()-changes, 1)
	})
}

// Promise: what is asked for during a pass is done after it: the last value is acted upon.
func TestAskedAgainDuringEachCall(t *testing.T) {
	key := client.ObjectKey{Namespace: "a", Name: "ledger"}
	sent := 0
	atEachCall(t, 3, func(_ *testing.T, h *history) {
		h.describe("a", "ledger", "ledger-db")
		h.wait(30 * time.Minute)
		h.annotate(key, atNow, "1")
	}, func(t *testing.T, h *history, c *call) {
		sent = h.changes()
		if isChange(c) {
			sent++
		}
		h.annotate(key, atNow, "2")
		h.hold = nil
		h.wait(2 * time.Minute)
		if n := h.changes() - sent; n < 1 || n > 2 {
			t.Errorf("%d PATCHes after it was asked for again", n)
		}
	}, func(t *testing.T, h *history) { h.expectOne(t, key, "ledger-db") })
}

// Promise: requestedAt takes nothing over and creates nothing twice, and is no way past a brake.
func TestAskedPastBrakes(t *testing.T) {
	for name, pull := range map[string]func(h *history, key client.ObjectKey){
		"suspended":            func(h *history, key client.ObjectKey) { h.changeConnection(key, suspended) },
		"a suspended endpoint": func(h *history, _ client.ObjectKey) { h.changeEndpoint(defaultEndpointOfA, suspend) },
		"DeleteOnly":           func(h *history, _ client.ObjectKey) { h.changeEndpoint(defaultEndpointOfA, deleteOnly) },
	} {
		for word, value := range map[string]string{atNow: "now", takeBack: "please"} {
			t.Run(name+", "+word, func(t *testing.T) {
				scene(t, func(t *testing.T, h *history) {
					key := h.describe("a", "ledger", "ledger-db")
					h.wait(30 * time.Minute)
					id := h.statusOf(key).ConnectionID
					if word == takeBack {
						h.mark(t, id, "another-cluster/ledger")
						h.wait(2 * time.Hour)
					}
					changes := h.changes()
					pull(h, key)
					h.annotate(key, word, value)
					h.wait(2 * time.Hour)
					expect(t, "PATCHes", h.changes()-changes, 0)
				})
			})
		}
	}
}
