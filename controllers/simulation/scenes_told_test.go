// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// The scenes here are about what is said of a deletion whose part in Reporter is done, while something in Kubernetes still holds the object.

// foreground is the finalizer of Kubernetes' garbage collector for a deletion with --cascade=foreground.
const foreground = "foregroundDeletion"

// forbid has a policy refuse the writes that contain a text, until the returned function is called. It counts them.
func (h *history) forbid(text string) (refused *int, lift func()) {
	refused, seen := new(int), map[*call]bool{}
	h.hold = func(c *call) bool {
		if c.write && !c.http && !seen[c] && strings.Contains(c.what, text) {
			*refused++
			c.act = func() (any, error) {
				return nil, apierrors.NewForbidden(schema.GroupResource{Resource: "objects"}, "object", errors.New("policy 'guard' denies it"))
			}
		}
		seen[c] = true
		return false
	}
	return refused, func() { h.hold = nil }
}

// heldBy puts a finalizer on an object.
func (h *history) heldBy(kind string, key client.ObjectKey, finalizer string) {
	h.changeFinalizers(kind, key, func(finalizers []string) []string { return append(finalizers, finalizer) })
}

func (h *history) changeFinalizers(kind string, key client.ObjectKey, change func([]string) []string) {
	object, err := h.api.get(kind, key)
	h.must(err)
	h.must(h.api.update(object, func(o client.Object) { o.SetFinalizers(change(o.GetFinalizers())) }))
}

// told is what DeletionBlocked says of an object, as "reason: message"; "gone" once there is no such object.
func (h *history) told(kind string, key client.ObjectKey) string {
	object, err := h.api.get(kind, key)
	if err != nil {
		return "gone"
	}
	var conditions []metav1.Condition
	switch o := object.(type) {
	case *v1alpha1.ReporterConnection:
		conditions = o.Status.Conditions
	case *v1alpha1.ReporterEndpoint:
		conditions = o.Status.Conditions
	}
	if blocked := apimeta.FindStatusCondition(conditions, "DeletionBlocked"); blocked != nil {
		return blocked.Reason + ": " + blocked.Message
	}
	return ""
}

// expectParts expects a text to contain each of some parts.
func expectParts(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s: %q does not say %q", what, text, part)
		}
	}
}

func TestRefusedReleaseOfAConnectionIsTold(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		refused, lift := h.forbid("patch ReporterConnection a/deleted")
		h.delete(deleted)
		h.wait(10 * time.Minute)
		expect(t, "the connection is alive", h.alive(h.ids[0]), false)
		expect(t, "Ready", h.reason(deleted), "FinalizerRemovalFailed")
		expectParts(t, "the status", h.told(connectionKind, deleted), "FinalizerRemovalFailed: ", "the connection is deleted in Reporter", "policy 'guard' denies it", "Exempt the operator's ServiceAccount")
		expect(t, "DELETEs", h.counts["DELETE sent"], 1)
		if *refused < 5 {
			t.Errorf("it was tried %d times in ten minutes", *refused)
		}
		lift()
		h.wait(20 * time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "DELETEs", h.counts["DELETE sent"], 1)
	})
}

func TestRefusedReleaseOfWhatIsRetainedIsTold(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.changeEndpoint(defaultEndpointOfA, retain)
		h.settle()
		_, lift := h.forbid("patch ReporterConnection a/deleted")
		h.delete(deleted)
		h.wait(time.Second)
		expectParts(t, "the status", h.told(connectionKind, deleted), "FinalizerRemovalFailed: ", "the connection stays in Reporter", "policy 'guard' denies it")
		lift()
		h.wait(20 * time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "the connection is alive", h.alive(h.ids[0]), true)
		expect(t, "events", h.counts["event Retained"], 1)
	})
}

func TestRefusedReleaseOfWhatADeletionNeedsIsTold(t *testing.T) {
	sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
		_, lift := h.forbid(" a/")
		h.must(h.api.delete(endpointKind, defaultEndpointOfA))
		h.must(h.api.delete(secretKind, defaultSecretOfA))
		h.wait(time.Second)
		expect(t, "events about the Secret", h.counts["event FinalizerRemovalFailed"], 1)
		lift()
		_, lift = h.forbid("patch ReporterEndpoint a/")
		h.wait(5 * time.Minute)
		expect(t, "the Secret", h.told(secretKind, defaultSecretOfA), "gone")
		expectParts(t, "the endpoint", h.told(endpointKind, defaultEndpointOfA), "FinalizerRemovalFailed: ", "no ReporterConnection needs this endpoint", "policy 'guard' denies it")
		lift()
		h.wait(2 * time.Minute)
		expect(t, "the endpoint", h.told(endpointKind, defaultEndpointOfA), "gone")
		expect(t, "events about the Secret", h.counts["event FinalizerRemovalFailed"], 1)
	})
}

// A successor that cannot be held could be deleted unseen: the resource before it stays, and says why.
func TestRefusedFinalizerOfASuccessorIsTold(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		h.api.admission = false
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		refused, lift := h.forbid("patch ReporterConnection a/heir")
		h.claim("a", "heir", h.ids[0])
		h.delete(deleted)
		h.wait(time.Minute)
		version := h.connection(deleted).ResourceVersion
		h.wait(10 * time.Minute)
		expect(t, "the version of the resource", h.connection(deleted).ResourceVersion, version)
		if *refused < 5 {
			t.Errorf("it was tried %d times in eleven minutes", *refused)
		}
		expectParts(t, "the status", h.told(connectionKind, deleted), "HandOverFailed: ", `ReporterConnection "heir"`, "policy 'guard' denies it", "Exempt the operator's ServiceAccount")
		expect(t, "the connection is alive", h.alive(h.ids[0]), true)
		lift()
		h.wait(20 * time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "the connection is alive", h.alive(h.ids[0]), true)
	})
}

func TestConnectionThatMayBeDeletedIsNotToldToStay(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		h.homeReporter().Inject(reportertest.Fault{Method: "DELETE", Do: func(w http.ResponseWriter, r *http.Request, act http.HandlerFunc) {
			act(httptest.NewRecorder(), r)
			w.WriteHeader(http.StatusBadGateway)
		}})
		h.heldBy(connectionKind, deleted, foreground)
		h.delete(deleted)
		h.settle()
		h.changeEndpoint(defaultEndpointOfA, retain)
		h.wait(time.Hour)
		expectParts(t, "the status", h.told(connectionKind, deleted), "FinalizersRemaining: ", "is to stay in Reporter", "it may be deleted")
	})
}

// One Secret that cannot be released keeps none of the others.
func TestRefusedReleaseOfASecretKeepsNoOther(t *testing.T) {
	sceneWith(t, withBearerToken, func(t *testing.T, h *history) {
		h.settle()
		h.kill(h.instances[0])
		h.api.admission = false // it would take the finalizers off with the marks
		h.changeSecret(defaultSecretOfA, unmark)
		h.changeSecret(client.ObjectKey{Namespace: "b", Name: "credentials"}, unmark)
		for _, endpoint := range []client.ObjectKey{defaultEndpointOfA, defaultEndpointOfB} { // nothing but the sweep comes upon their Secrets
			h.changeFinalizers(endpointKind, endpoint, func([]string) []string { return nil })
			h.must(h.api.delete(endpointKind, endpoint))
		}
		other := func() int {
			return len(h.api.objects[secretKind][client.ObjectKey{Namespace: "b", Name: "credentials"}].GetFinalizers())
		}
		expect(t, "finalizers of the other", other(), 1)
		refused, lift := h.forbid("patch Secret a/credentials")
		defer lift()
		h.launch()
		h.wait(10 * time.Minute)
		if *refused == 0 {
			t.Error("nothing was refused")
		}
		expect(t, "finalizers of the other", other(), 0)
	})
}

func TestEachOutcomeIsToldWhileOthersHoldTheResource(t *testing.T) {
	for outcome, test := range map[string]struct {
		prepare func(h *history)
		said    string
		alive   bool
	}{
		"deleted":         {func(*history) {}, "the connection is deleted in Reporter", false},
		"retained":        {func(h *history) { h.changeEndpoint(defaultEndpointOfA, retain) }, "the connection stays in Reporter, as spec.deletionPolicy", true},
		"handed over":     {func(h *history) { h.claim("a", "heir", h.ids[0]) }, `the connection stays in Reporter, as ReporterConnection "heir" claims it`, true},
		"already deleted": {func(h *history) { h.homeReporter().Delete(h.ids[0]) }, "the connection was already deleted in Reporter", false},
	} {
		t.Run(outcome, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				deleted := h.claim("a", "deleted", h.ids[0])
				h.settle()
				test.prepare(h)
				h.settle()
				h.heldBy(connectionKind, deleted, foreground)
				h.settle()
				writes := h.countCalls(func(c *call) bool { return c.write && !c.http && strings.Contains(c.what, "a/deleted") })
				h.delete(deleted)
				h.wait(time.Hour)
				expectParts(t, "the status", h.told(connectionKind, deleted), "FinalizersRemaining: ", test.said, foreground)
				expect(t, "Ready", h.reason(deleted), "FinalizersRemaining")
				expect(t, "writes", *writes, 2)
				expect(t, "the connection is alive", h.alive(h.ids[0]), test.alive)
				h.changeFinalizers(connectionKind, deleted, func([]string) []string { return nil })
				expect(t, "the resource", h.reason(deleted), "gone")
			})
		})
	}
}

func TestDeletionThatNobodyElseHoldsIsOneWrite(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.settle()
		writes := h.countCalls(func(c *call) bool { return c.write && !c.http })
		h.delete(deleted)
		h.wait(time.Minute)
		expect(t, "the resource", h.reason(deleted), "gone")
		expect(t, "writes", *writes, 1)
	})
}

func TestOthersAreToldBeforeOursGoes(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.heldBy(connectionKind, deleted, foreground)
		h.settle()
		h.hold = func(c *call) bool { return strings.HasPrefix(c.what, "patch ReporterConnection a/deleted") }
		h.delete(deleted)
		h.wait(time.Second)
		h.kill(h.instances[0]) // nothing is lost with it
		h.hold = nil
		h.launch()
		h.wait(time.Minute)
		expectParts(t, "the status", h.told(connectionKind, deleted), "FinalizersRemaining: ", "deleted in Reporter", foreground)
	})
}

func TestPolicyThatRefusesTheStatusKeepsNothing(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		deleted := h.claim("a", "deleted", h.ids[0])
		h.heldBy(connectionKind, deleted, foreground)
		h.settle()
		h.forbid("patch the status of ReporterConnection a/deleted")
		h.delete(deleted)
		h.wait(time.Second)
		object, err := h.api.get(connectionKind, deleted)
		h.must(err)
		expect(t, "finalizers", strings.Join(object.GetFinalizers(), " "), foreground)
	})
}

func TestOthersThatHoldAnEndpointAreTold(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		user := h.claim("a", "user", h.ids[0])
		h.heldBy(endpointKind, defaultEndpointOfA, "gitops.example.com/resources")
		h.settle()
		h.must(h.api.delete(endpointKind, defaultEndpointOfA))
		h.wait(time.Second)
		expectParts(t, "the endpoint", h.told(endpointKind, defaultEndpointOfA), "InUse: ", "a/user")
		h.delete(user)
		h.wait(2 * time.Minute)
		expect(t, "the resource", h.reason(user), "gone")
		expectParts(t, "the endpoint", h.told(endpointKind, defaultEndpointOfA), "FinalizersRemaining: ", "no ReporterConnection needs this endpoint", "gitops.example.com/resources")
	})
}

func TestWipedStatusIsWrittenAgainAtOnce(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		live, deleted := h.claim("a", "live", h.ids[0]), h.claim("a", "deleted", h.ids[1])
		h.settle()
		h.homeReporter().StartTenantJob("ours", "db-1")
		h.delete(deleted)
		h.wait(time.Minute)
		expect(t, "the deleted resource", h.reason(deleted), "JobInProgress")
		h.changeConnection(live, func(rc *v1alpha1.ReporterConnection) { rc.Status = v1alpha1.ReporterConnectionStatus{} })
		h.changeConnection(deleted, func(rc *v1alpha1.ReporterConnection) { rc.Status = v1alpha1.ReporterConnectionStatus{} })
		endpoint, err := h.api.get(endpointKind, defaultEndpointOfA)
		h.must(err)
		h.must(h.api.update(endpoint, func(o client.Object) { o.(*v1alpha1.ReporterEndpoint).Status = v1alpha1.ReporterEndpointStatus{} }))
		h.settle()
		expect(t, "the live resource", h.reason(live), "Available")
		expect(t, "the deleted resource", h.reason(deleted), "JobInProgress")
		endpoint, err = h.api.get(endpointKind, defaultEndpointOfA)
		h.must(err)
		expect(t, "the endpoint is Ready", apimeta.IsStatusConditionTrue(endpoint.(*v1alpha1.ReporterEndpoint).Status.Conditions, "Ready"), true)
	})
}
