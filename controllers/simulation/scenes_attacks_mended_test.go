// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// Promise: a twin is told also where its resource is renamed: by the deletion, or by the heir.
func TestTwinIsToldThoughItsResourceIsRenamed(t *testing.T) {
	for name, after := range map[string]time.Duration{"the look is owed": 0, "it is known": 30 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				first, id, twin := h.lateTwin(t, time.Second)
				h.wait(after)
				second := h.describe("a", "second", "ledger-db")
				h.wait(time.Second)
				h.notes = nil
				h.delete(first)
				h.wait(time.Hour)
				expect(t, "the first", h.reason(first), "gone")
				expect(t, "the id", h.statusOf(second).ConnectionID, id)
				expect(t, "the twin is alive", h.homeReporter().Alive(twin), true)
				expect(t, "it is told", h.isTold(twin) || h.isToldOf(second, twin), true)
			})
		})
	}
}

// Promise: the same, where the connection was handed over meanwhile: the heir is not left with what the first had sent.
func TestLateChangeOfADeletedResourceDoesNotReachItsHeir(t *testing.T) {
	for _, late := range []time.Duration{15 * time.Second, 110 * time.Second} {
		t.Run(late.String(), func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				first, second, id := h.renamed(t, asItIs)
				h.wait(30 * time.Minute)
				h.holdFirst(isChange)
				h.changeSecret(secretOf(first), holding("first"))
				h.changeConnection(first, onPort(6000))
				h.wait(12 * time.Second)
				orphan := h.waiting(t, isChange)
				h.delete(first)
				h.wait(late - 12*time.Second)
				expect(t, "the first", h.reason(first), "gone")
				h.carryOut(orphan)
				h.hold = nil
				h.wait(10 * time.Minute)
				h.expectOne(t, second, "ledger-db")
				expect(t, "the id", h.statusOf(second).ConnectionID, id)
				expect(t, "the port", h.find(id).Port, 5432)
			})
		})
	}
}

// Promise: what is asked for while it cannot be done is done when it can, once.
func TestAskedWhileReporterIsDown(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %t", restart), func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				key := h.describe("a", "ledger", "ledger-db")
				h.wait(30 * time.Minute)
				h.reporters[homeHost].down = &response{503, http.Header{}, nil}
				h.annotate(key, atNow, "now")
				h.wait(time.Hour)
				if restart {
					h.kill(h.instances[0])
					h.launch()
					h.wait(time.Hour)
				}
				h.reporters[homeHost].down = nil
				h.wait(20 * time.Minute)
				expect(t, "PATCHes", h.changes(), 1)
				expect(t, "tests", h.tests(), 2)
				h.wait(3 * time.Hour)
				expect(t, "PATCHes", h.changes(), 1)
				h.expectOne(t, key, "ledger-db")
			})
		})
	}
}

// Promise: a Secret without its label is not read, whatever is in it; labelled again, what is in it then is sent at once.
func TestRotationOfWhatIsLabelledOtherwise(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		key := h.describe("a", "ledger", "ledger-db")
		h.wait(30 * time.Minute)
		h.changeSecret(secretOf(key), func(s *corev1.Secret) { s.Labels = map[string]string{v1alpha1.CredentialsLabel: "true"} })
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

// Promise: every live resource that describes ends with its connection, or another has it.
func TestHeirAndTheFirstThatComesBackWhileAJobRuns(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		first, second, id := h.renamed(t, asItIs)
		end := h.homeReporter().StartTenantJob("ours", "ledger-db")
		h.delete(first)
		h.wait(20 * time.Second)
		expect(t, "the first", h.reason(first), "gone")
		h.describe("a", "first", "ledger-db")
		h.wait(20 * time.Minute)
		end()
		h.wait(3 * time.Hour)
		h.expectOne(t, second, "ledger-db")
		expect(t, "the id", h.statusOf(second).ConnectionID, id)
		expect(t, "the first", h.reason(first), "Duplicate")
		if t.Failed() {
			t.Logf("the first: %s; the second: %s", h.message(first), h.message(second))
		}
	})
}

// Promise: every live resource that describes ends with its connection, or another has it, after a restore of the API server too.
func TestHeirAfterTheAPIServerIsRestoredToBeforeTheDeletion(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		first, second, id := h.restoredAfterTheHandOver(t, func(client.ObjectKey) {})
		expect(t, "the second", h.reason(second), "Duplicate")
		h.expectOne(t, first, "ledger-db")
		expect(t, "the id", h.statusOf(first).ConnectionID, id)
		if t.Failed() {
			t.Logf("the first: %s; the second: %s", h.message(first), h.message(second))
		}
	})
}

// Promise: a brake that is pulled while a hand-over waits for Reporter, as a look for a twin is owed, holds the hand-over.
func TestBrakeWhileAHandOverLooksForTwins(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		first, id, _ := h.lateTwin(t, time.Second)
		second := h.describe("a", "second", "ledger-db")
		h.wait(time.Second)
		h.holdFirst(func(c *call) bool {
			return c.http && c.pass != nil && c.pass.rc != nil && c.pass.rc.Name == first.Name && strings.HasSuffix(c.what, connectionsEnd)
		})
		h.delete(first)
		h.wait(3 * time.Second)
		h.blind = endpointKind
		h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.Suspend = true })
		h.hold = nil
		h.wait(10 * time.Minute)
		h.blind = ""
		h.wait(10 * time.Minute)
		expect(t, "the first", h.reason(first), "Suspended")
		expect(t, "the id of the second", h.statusOf(second).ConnectionID, "")
		h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.Suspend = false })
		h.wait(30 * time.Minute)
		expect(t, "the first", h.reason(first), "gone")
		expect(t, "the id of the second", h.statusOf(second).ConnectionID, id)
	})
}

// Promise: what is given up is announced once, also where the write of it goes wrong at first.
func TestAbandonIsAnnouncedOnce(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		key := h.describe("a", "ledger", "ledger-db")
		h.wait(30 * time.Minute)
		id := h.statusOf(key).ConnectionID
		h.changeEndpoint(defaultEndpointOfA, leadTo(otherHost))
		h.wait(time.Hour)
		isStatus := func(c *call) bool {
			return c.write && !c.http && strings.HasPrefix(c.what, "patch the status of ReporterConnection")
		}
		h.holdFirst(isStatus)
		h.annotate(key, v1alpha1.AbandonAnnotation, "http://"+homeHost)
		h.wait(time.Second)
		h.resume(h.waiting(t, isStatus), nil, apierrors.NewConflict(schema.GroupResource{}, "", errRefused))
		h.hold = nil
		h.wait(time.Hour)
		expect(t, "the resource", h.reason(key), "Available")
		told := 0
		for _, note := range h.notes {
			if strings.Contains(note, id+" at http://"+homeHost+" is given up") {
				told++
			}
		}
		expect(t, "events", told, 1)
	})
}
