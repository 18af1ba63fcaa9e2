// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// A scene is a history in which nothing goes wrong but what it says. Those here were found by the simulation, or are too rare for it.
func scene(t *testing.T, play func(t *testing.T, h *history)) {
	t.Helper()
	sceneWith(t, []int{}, play)
}

// sceneWith is a scene in a world whose first choices are those of a tape.
func sceneWith(t *testing.T, tape []int, play func(t *testing.T, h *history)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &history{tape: tape, tracing: true, calm: true}
		h.began = time.Now()
		h.set()
		h.launch()
		h.settle()
		play(t, h)
		h.end()
		if h.failure != "" {
			t.Error(h.failure)
		}
		if t.Failed() {
			for _, line := range h.trace {
				t.Log(line)
			}
		}
	})
}

// settle lets everything happen that can without time passing.
func (h *history) settle() {
	for h.observe(); h.machinery(); {
		h.observe()
	}
}

// wait lets time pass, and what becomes due meanwhile happen.
func (h *history) wait(d time.Duration) {
	h.settle()
	for end := time.Now().Add(d); time.Now().Before(end); h.settle() {
		due, found := h.nextDue()
		if !found || due.After(end) {
			due = end
		}
		h.pass(max(time.Until(due), time.Millisecond))
	}
}

// claim creates a ReporterConnection.
func (h *history) claim(namespace, name, id string) client.ObjectKey {
	h.must(h.api.create(&v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.ReporterConnectionSpec{ConnectionID: id, DeletionPolicy: v1alpha1.DeletionPolicyDelete, EndpointRef: v1alpha1.EndpointReference{Name: "default"}}}))
	return client.ObjectKey{Namespace: namespace, Name: name}
}

// reason is that of a resource's Ready condition; "gone" once there is no such resource.
func (h *history) reason(key client.ObjectKey) string {
	object, err := h.api.get(connectionKind, key)
	if err != nil {
		return "gone"
	}
	ready := apimeta.FindStatusCondition(object.(*v1alpha1.ReporterConnection).Status.Conditions, "Ready")
	if ready == nil {
		return ""
	}
	return ready.Reason
}

func (h *history) homeReporter() *reportertest.Reporter { return h.reporters[homeHost].Reporter }

func expect[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestClaimThatGotNoAnswerIsLookedUpBeforeADeletion(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		mend := h.homeReporter().Inject(reportertest.Fault{Method: http.MethodGet, ID: h.ids[0], Do: reportertest.Answer(503, nil, "")})
		claim := h.claim("b", "claim", h.ids[0])
		h.settle()
		expect(t, "the claim", h.reason(claim), "ReporterUnavailable")
		h.must(h.api.delete(connectionKind, deleted))
		h.settle()
		expect(t, "the deleted resource", h.reason(deleted), "ClaimUnverified")
		mend()
		h.wait(2 * time.Second) // the claim is looked up in its own pass
		expect(t, "the deleted resource", h.reason(deleted), "gone")
		expect(t, "the connection is alive", h.alive(h.ids[0]), true)
	})
}

func TestClaimIsUnverifiedWhereSomethingElseAnswersForReporter(t *testing.T) {
	for reason, fault := range map[string]reportertest.Behaviour{
		"UnexpectedResponse": reportertest.LoginPage(),
		"Forbidden":          reportertest.Answer(403, http.Header{"Content-Type": {"text/plain"}}, "Forbidden"), // which Reporter sends also while its Access Manager fails
	} {
		t.Run(reason, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				deleted := h.claim("a", "deleted", h.ids[0])
				h.settle()
				mend := h.homeReporter().Inject(reportertest.Fault{Method: http.MethodGet, ID: h.ids[0], Do: fault})
				h.claim("b", "claim", h.ids[0])
				h.settle()
				h.must(h.api.delete(connectionKind, deleted))
				h.settle()
				expect(t, "the deleted resource", h.reason(deleted), "ClaimUnverified")
				mend()
				h.wait(12 * time.Minute)
				expect(t, "the deleted resource", h.reason(deleted), "gone")
				expect(t, "the connection is alive", h.alive(h.ids[0]), true)
			})
		})
	}
}

func TestUnverifiedClaimsHoldADeletionForTenMinutesInAll(t *testing.T) {
	sceneWith(t, []int{1}, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		hostile := h.endpoint("b", "hostile") // at the same Reporter, behind an Access Manager of its own that gives no answer
		hostile.Spec.Auth.AccessManager.URL = "http://hostile.test"
		h.must(h.api.create(hostile))
		claim := func(n int) client.ObjectKey {
			rc := &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "b", Name: fmt.Sprintf("hostile-%d", n)},
				Spec: v1alpha1.ReporterConnectionSpec{ConnectionID: h.ids[0], DeletionPolicy: "Retain", EndpointRef: v1alpha1.EndpointReference{Name: "hostile"}}}
			h.must(h.api.create(rc))
			return client.ObjectKeyFromObject(rc)
		}
		var claims []client.ObjectKey
		for n := range 12 {
			claims = append(claims, claim(n))
		}
		h.wait(time.Second)
		h.must(h.api.delete(connectionKind, deleted))
		for n := range 9 {
			h.wait(time.Minute)
			expect(t, "the deleted resource", h.reason(deleted), "ClaimUnverified")
			h.must(h.api.delete(connectionKind, claims[n])) // whatever others do
			h.must(h.api.update(h.endpoint("a", "default"), func(o client.Object) { o.(*v1alpha1.ReporterEndpoint).Spec.MaxInFlight++ }))
		}
		h.wait(3 * time.Minute)
		expect(t, "the deleted resource", h.reason(deleted), "gone")
		expect(t, "the connection is alive", h.alive(h.ids[0]), false)
	})
}

func TestWarningOfAWrongIDDoesNotDependOnALostAnswer(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		theirs := h.ids[3] // alive, but of another tenant
		h.homeReporter().Inject(reportertest.Fault{ID: theirs, Times: 3, Do: reportertest.Answer(503, nil, "")})
		deleted := h.claim("a", "deleted", theirs)
		object, _ := h.api.get(connectionKind, deleted)
		h.must(h.api.delete(connectionKind, deleted))
		h.wait(time.Minute)
		expect(t, "the deleted resource", h.reason(deleted), "gone")
		expect(t, "the connection is alive", h.alive(theirs), true)
		expect(t, "there is a warning", h.warned[object.GetUID()], true)
	})
}

func TestDeletionInLineThatWasNeverLookedAtWaits(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		h.must(h.api.update(h.endpoint("a", "default"), func(o client.Object) { o.(*v1alpha1.ReporterEndpoint).Spec.MaxInFlight = 1 }))
		h.settle()
		h.hold = func(c *call) bool { return strings.HasSuffix(c.what, h.ids[0]) }
		h.claim("a", "slow", h.ids[0])
		h.settle()
		deleted := h.claim("a", "deleted", h.ids[1])
		h.must(h.api.delete(connectionKind, deleted))
		h.settle()
		expect(t, "the deleted resource", h.reason(deleted), "")
		h.hold = nil
		h.settle()
		expect(t, "the deleted resource", h.reason(deleted), "gone")
		expect(t, "the connection is alive", h.alive(h.ids[1]), false)
	})
}

func TestDeletionsGoOnAtOnceWhenReporterAnswersAgain(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		keys := []client.ObjectKey{h.claim("a", "one", h.ids[0]), h.claim("a", "two", h.ids[1]), h.claim("b", "three", h.ids[2])}
		h.settle()
		h.reporters[homeHost].down = &response{503, http.Header{}, nil}
		for _, key := range keys {
			h.must(h.api.delete(connectionKind, key))
		}
		h.wait(83 * time.Minute)
		h.reporters[homeHost].down = nil
		h.wait(70 * time.Second) // a Check is made once a minute, give or take
		for n, key := range keys {
			expect(t, key.Name, h.reason(key), "gone")
			expect(t, "its connection is alive", h.alive(h.ids[n]), false)
		}
	})
}

func TestDeletionThatIsDoneIsNotRepeated(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		h.must(h.api.delete(connectionKind, deleted))
		h.hold = func(c *call) bool { return strings.HasPrefix(c.what, "patch ReporterConnection") }
		h.settle()
		expect(t, "the connection is alive", h.alive(h.ids[0]), false)
		for _, c := range h.calls {
			h.lose(c)
		}
		h.hold = nil
		h.wait(time.Minute)
		expect(t, "the deleted resource", h.reason(deleted), "gone")
		expect(t, "DELETEs", h.counts["DELETE sent"], 1)
	})
}

func TestDeletionThatIsDoneIsFinishedThroughAConflict(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		h.must(h.api.delete(connectionKind, deleted))
		h.hold = func(c *call) bool { return strings.HasPrefix(c.what, "patch ReporterConnection") }
		h.settle()
		for _, c := range h.calls { // somebody was faster, but changed nothing that would wake the operator
			h.resume(c, nil, apierrors.NewConflict(schema.GroupResource{}, "", nil))
		}
		h.hold = nil
		h.wait(time.Minute)
		expect(t, "the deleted resource", h.reason(deleted), "gone")
		expect(t, "DELETEs", h.counts["DELETE sent"], 1)
	})
}
