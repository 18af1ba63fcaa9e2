// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"net/http"
	"net/http/httptest"
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

// describe creates a ReporterConnection that describes its connection, with a Secret that holds its password.
func (h *history) describe(namespace, name, configName string) client.ObjectKey {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name + "-database", Labels: map[string]string{v1alpha1.CredentialsLabel: "database"}},
		Data: map[string][]byte{"password": []byte("hush-hush\n")}}
	if err := h.api.create(secret); err != nil && !strings.Contains(err.Error(), "already exists") {
		h.must(err)
	}
	h.must(h.api.create(&v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.ReporterConnectionSpec{DeletionPolicy: v1alpha1.DeletionPolicyDelete, EndpointRef: v1alpha1.EndpointReference{Name: "default"},
			Connection: &v1alpha1.ConnectionDescription{ConfigName: configName, ProductName: "ledger", Type: "POSTGRESQL", Host: "db.example.com", Port: 5432,
				DatabaseName: "ledger", UserName: "reporter", PasswordSecretRef: v1alpha1.SecretKeyReference{Name: secret.Name, Key: "password"}}}}))
	return client.ObjectKey{Namespace: namespace, Name: name}
}

// named are the live connections of a name in the Reporter that is at home.
func (h *history) named(configName string) []reportertest.Connection {
	var found []reportertest.Connection
	for _, c := range h.homeReporter().Connections() {
		if c.ConfigName == configName {
			found = append(found, c)
		}
	}
	return found
}

// requestsOf counts the requests of a method, without tests.
func (h *history) requestsOf(method string) int {
	n := 0
	for _, r := range h.homeReporter().Requests() {
		if r.Method == method && !strings.HasSuffix(r.Path, "/test") {
			n++
		}
	}
	return n
}

// tests counts the requests to test whether Reporter reaches a database.
func (h *history) tests() int {
	n := 0
	for _, r := range h.homeReporter().Requests() {
		if strings.HasSuffix(r.Path, "/test") {
			n++
		}
	}
	return n
}

func TestDescribedConnectionIsCreatedAndDeletedWithItsResource(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		writes := h.countCalls(func(c *call) bool { return strings.HasPrefix(c.what, "patch the status of ReporterConnection") })
		key := h.describe("a", "ledger", "ledger-db")
		h.wait(5 * time.Second)
		expect(t, "the resource", h.reason(key), "Available")
		expect(t, "connections", len(h.named("ledger-db")), 1)
		expect(t, "POSTs", h.requestsOf(http.MethodPost), 1)
		expect(t, "PATCHes", h.requestsOf(http.MethodPatch), 0)
		expect(t, "tests", h.tests(), 1)
		expect(t, "status writes, with that of the test", *writes, 3)
		h.wait(2 * time.Hour)
		expect(t, "status writes", *writes, 3)
		expect(t, "tests", h.tests(), 1)
		h.delete(key)
		h.wait(time.Minute)
		expect(t, "the resource", h.reason(key), "gone")
		expect(t, "connections", len(h.named("ledger-db")), 0)
	})
}

// A test says whether Reporter reaches the database; what it has answered is not asked for again, neither by a restart, and what it has not
// answered is.
func TestDatabaseIsTestedAgainWhereNoAnswerCameAndAfterAChange(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		reachable := func(key client.ObjectKey) string {
			c := h.conditionOf(key, "DatabaseReachable")
			if c == nil {
				return "nothing"
			}
			return string(c.Status) + " " + c.Reason
		}
		noAnswer := h.homeReporter().Inject(reportertest.Fault{Match: func(req *http.Request) bool { return strings.HasSuffix(req.URL.Path, "/test") }, Do: reportertest.Answer(429, nil, "")})
		key := h.describe("a", "ledger", "ledger-db")
		h.wait(time.Minute)
		expect(t, "the resource", h.reason(key), "Available")
		expect(t, "the database", reachable(key), "Unknown RateLimited")
		noAnswer()
		h.wait(30 * time.Minute)
		expect(t, "the database", reachable(key), "True TestSucceeded")
		tests := h.tests()
		h.kill(h.instances[0])
		h.launch()
		h.wait(3 * time.Hour)
		expect(t, "tests after a restart", h.tests(), tests)
		h.homeReporter().SetDatabasePassword("db.example.com", "another")
		h.changeConnection(key, onPort(6000))
		h.wait(time.Minute)
		expect(t, "the database", reachable(key), "False TestFailed")
		expect(t, "the resource", h.reason(key), "Available")
		expect(t, "tests after a change", h.tests(), tests+1)
		h.homeReporter().SetDatabasePassword("db.example.com", "hush-hush")
		h.annotate(key, v1alpha1.RequestedAtAnnotation, "now")
		h.wait(time.Minute)
		expect(t, "the database", reachable(key), "True TestSucceeded")
		expect(t, "tests on request", h.tests(), tests+2)
	})
}

// Twenty connections are tested one after the other, whatever else is done at the same time.
func TestOneDatabaseIsTestedAtATime(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		most := 0
		h.hold = func(*call) bool {
			under := 0
			for _, other := range h.calls {
				if strings.Contains(other.what, "/test") && !other.acted {
					under++
				}
			}
			most = max(most, under)
			return false
		}
		for i := range 20 {
			h.describe("a", fmt.Sprintf("ledger-%02d", i), fmt.Sprintf("ledger-%02d", i))
		}
		h.wait(5 * time.Minute)
		expect(t, "tests", h.tests(), 20)
		expect(t, "looks at single connections", len(h.sentTo(homeHost, http.MethodGet))-h.lists(), 0)
		expect(t, "tests at a time", most, 1)
	})
}

// byHand sends a request as a person with a token would.
func (h *history) byHand(method, path, body string) int {
	req := httptest.NewRequest(method, "http://"+homeHost+"/v1/management/connections"+path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+h.tokenFor("ours"))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Product-Name", "ledger")
	answer := httptest.NewRecorder()
	h.homeReporter().ServeHTTP(answer, req)
	return answer.Code
}

func (h *history) conditionOf(key client.ObjectKey, conditionType string) *metav1.Condition {
	object, err := h.api.get(connectionKind, key)
	h.must(err)
	return apimeta.FindStatusCondition(object.(*v1alpha1.ReporterConnection).Status.Conditions, conditionType)
}

func (h *history) statusOf(key client.ObjectKey) v1alpha1.ReporterConnectionStatus {
	object, err := h.api.get(connectionKind, key)
	h.must(err)
	return object.(*v1alpha1.ReporterConnection).Status
}

func TestCreationWhoseAnswerIsLostMakesOneConnection(t *testing.T) {
	for name, fault := range map[string]reportertest.Behaviour{
		"carried out":     reportertest.AfterActing(reportertest.Answer(503, nil, "")),
		"not carried out": reportertest.Answer(503, nil, ""),
	} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				h.homeReporter().Inject(reportertest.Fault{Method: http.MethodPost, Times: 1, Do: fault})
				key := h.describe("a", "ledger", "ledger-db")
				h.wait(time.Second)
				expect(t, "the resource", h.reason(key), "Creating")
				h.wait(time.Minute)
				expect(t, "POSTs in the first minute", h.requestsOf(http.MethodPost), 1)
				h.wait(20 * time.Minute)
				expect(t, "the resource", h.reason(key), "Available")
				expect(t, "connections", len(h.named("ledger-db")), 1)
				expect(t, "the password", h.homeReporter().Secrets(h.statusOf(key).ConnectionID).Password, "hush-hush")
				expect(t, "there is a record", h.statusOf(key).Creation != nil, false)
			})
		})
	}
}

func TestOperatorThatIsKilledWhileItCreatesMakesOneConnection(t *testing.T) {
	for n := 0; ; n++ {
		calls := 0
		scene(t, func(t *testing.T, h *history) {
			key := h.describe("a", "ledger", "ledger-db")
			seen := map[*call]bool{}
			h.hold = func(c *call) bool {
				if c.pass != nil && c.pass.controller.Name == "reporterconnection" && !c.local && !seen[c] {
					seen[c] = true
					calls++
				}
				return calls > n && seen[c]
			}
			h.wait(time.Second)
			h.kill(h.instances[0])
			h.hold = nil
			h.launch()
			h.wait(time.Hour)
			expect(t, "the resource", h.reason(key), "Available")
			expect(t, "connections", len(h.named("ledger-db")), 1)
		})
		if calls <= n {
			if n < 5 {
				t.Errorf("a creation took %d calls", calls)
			}
			return
		}
	}
}

func TestDriftIsCorrected(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		key := h.describe("a", "ledger", "ledger-db")
		h.wait(5 * time.Second)
		id := h.statusOf(key).ConnectionID
		h.wait(time.Hour)
		expect(t, "a change by hand", h.byHand(http.MethodPatch, "/"+id, `{"host":"evil.example.com","password":"mine"}`), 200)
		h.wait(2 * time.Hour)
		expect(t, "the host", h.named("ledger-db")[0].Host, "db.example.com")
		expect(t, "the password", h.homeReporter().Secrets(id).Password, "hush-hush")
		expect(t, "PATCHes", h.requestsOf(http.MethodPatch), 2)
	})
}

func TestChangeOfTheHostWithoutTheSecretIsNotSent(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		key := h.describe("a", "ledger", "ledger-db")
		h.wait(5 * time.Second)
		h.must(h.api.delete(secretKind, client.ObjectKey{Namespace: "a", Name: "ledger-database"}))
		h.wait(time.Second)
		h.changeConnection(key, func(rc *v1alpha1.ReporterConnection) { rc.Spec.Connection.Host = "evil.example.com" })
		h.wait(time.Hour)
		expect(t, "the resource", h.reason(key), "SecretNotFound")
		expect(t, "PATCHes", h.requestsOf(http.MethodPatch), 0)
		expect(t, "the host", h.named("ledger-db")[0].Host, "db.example.com")
	})
}

func TestHostThatTheSecretDoesNotListIsNotSent(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		key := h.describe("a", "ledger", "ledger-db")
		h.wait(5 * time.Second)
		secret, err := h.api.get(secretKind, client.ObjectKey{Namespace: "a", Name: "ledger-database"})
		h.must(err)
		h.must(h.api.update(secret, func(o client.Object) {
			o.SetAnnotations(map[string]string{"reporter.lerian.studio/hosts": "DB.example.com., other"})
		}))
		h.wait(time.Hour)
		expect(t, "the resource", h.reason(key), "Available")
		h.changeConnection(key, func(rc *v1alpha1.ReporterConnection) { rc.Spec.Connection.Host = "evil.example.com" })
		h.wait(time.Hour)
		expect(t, "the resource", h.reason(key), "HostNotAllowed")
		expect(t, "the host", h.named("ledger-db")[0].Host, "db.example.com")
		expect(t, "it is stalled", h.conditionOf(key, "Stalled") != nil, true)
	})
}

func TestChangeWaitsForJobs(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		key := h.describe("a", "ledger", "ledger-db")
		h.wait(5 * time.Second)
		end := h.homeReporter().StartTenantJob("ours", "ledger-db")
		h.changeConnection(key, func(rc *v1alpha1.ReporterConnection) { rc.Spec.Connection.Port = 6432 })
		h.wait(time.Minute)
		expect(t, "the resource", h.reason(key), "JobInProgress")
		end()
		h.wait(time.Minute)
		expect(t, "the resource", h.reason(key), "Available")
		expect(t, "the port", h.named("ledger-db")[0].Port, 6432)
	})
}

func TestRotatedPasswordIsSentAtOnce(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		key := h.describe("a", "ledger", "ledger-db")
		h.wait(time.Hour)
		secret, err := h.api.get(secretKind, client.ObjectKey{Namespace: "a", Name: "ledger-database"})
		h.must(err)
		h.must(h.api.update(secret, func(o client.Object) { o.(*corev1.Secret).Data = map[string][]byte{"password": []byte("another")} }))
		h.wait(time.Second)
		expect(t, "the password", h.homeReporter().Secrets(h.statusOf(key).ConnectionID).Password, "another")
	})
}

func TestNameThatIsTaken(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		expect(t, "a creation by hand", h.byHand(http.MethodPost, "",
			`{"configName":"ledger-db","type":"POSTGRESQL","host":"old.example.com","port":5432,"databaseName":"ledger","userName":"u","password":"p"}`), 201)
		id := h.named("ledger-db")[0].ID
		key := h.describe("a", "ledger", "ledger-db")
		h.wait(10 * time.Second)
		expect(t, "the resource", h.reason(key), "NameTaken")
		expect(t, "the message names it", strings.Contains(h.conditionOf(key, "Ready").Message, id), true)
		expect(t, "the host", h.named("ledger-db")[0].Host, "old.example.com")
		h.changeConnection(key, func(rc *v1alpha1.ReporterConnection) { rc.Spec.AdoptionPolicy = v1alpha1.AdoptionPolicyByName })
		h.wait(10 * time.Second)
		expect(t, "the resource", h.reason(key), "Available")
		expect(t, "the id", h.statusOf(key).ConnectionID, id)
		expect(t, "the host", h.named("ledger-db")[0].Host, "db.example.com")
		expect(t, "the password", h.homeReporter().Secrets(id).Password, "hush-hush")
	})
}

func TestConnectionThatIsTakenOverIsLeftAloneUntilItIsTakenBack(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		key := h.describe("a", "ledger", "ledger-db")
		h.wait(5 * time.Second)
		id := h.statusOf(key).ConnectionID
		expect(t, "a change by hand", h.byHand(http.MethodPatch, "/"+id, `{"host":"theirs.example.com","metadata":{"reporterOperatorOwner":"another-cluster/ledger"}}`), 200)
		h.wait(2 * time.Hour)
		expect(t, "the resource", h.reason(key), "TakenOver")
		expect(t, "the mark", h.statusOf(key).TakenOverBy, "another-cluster/ledger")
		expect(t, "the host", h.named("ledger-db")[0].Host, "theirs.example.com")
		object, err := h.api.get(connectionKind, key)
		h.must(err)
		h.must(h.api.update(object, func(o client.Object) { o.SetAnnotations(map[string]string{v1alpha1.TakeBackAnnotation: "please"}) }))
		h.wait(10 * time.Second)
		expect(t, "the resource", h.reason(key), "Available")
		expect(t, "the host", h.named("ledger-db")[0].Host, "db.example.com")
		expect(t, "a change by hand", h.byHand(http.MethodPatch, "/"+id, `{"metadata":{"reporterOperatorOwner":"another-cluster/ledger"}}`), 200)
		h.wait(2 * time.Hour)
		expect(t, "the resource", h.reason(key), "TakenOver") // what was asked for is done once
		h.delete(key)
		h.wait(time.Minute)
		expect(t, "the resource", h.reason(key), "gone")
		expect(t, "connections", len(h.named("ledger-db")), 1)
	})
}

func TestMarkThatIsDroppedIsPutBack(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		key := h.describe("a", "ledger", "ledger-db")
		h.wait(5 * time.Second)
		id := h.statusOf(key).ConnectionID
		mark := h.named("ledger-db")[0].Metadata["reporterOperatorOwner"]
		expect(t, "a change by hand", h.byHand(http.MethodPatch, "/"+id, `{"metadata":{"team":"blue"}}`), 200)
		h.wait(2 * time.Hour)
		expect(t, "the mark", h.named("ledger-db")[0].Metadata["reporterOperatorOwner"], mark)
		expect(t, "what else there is", h.named("ledger-db")[0].Metadata["team"], any("blue"))
	})
}

func TestConnectionThatIsDeletedByHandIsCreatedAnew(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		key := h.describe("a", "ledger", "ledger-db")
		h.wait(time.Hour)
		id := h.statusOf(key).ConnectionID
		h.homeReporter().Delete(id)
		h.wait(3 * time.Hour)
		expect(t, "the resource", h.reason(key), "Available")
		expect(t, "connections", len(h.named("ledger-db")), 1)
		expect(t, "it is another", h.statusOf(key).ConnectionID != id, true)
		h.delete(key)
		h.wait(time.Minute)
		expect(t, "connections", len(h.named("ledger-db")), 0)
	})
}

func TestDeletionWhileItIsNotKnownWhatCameOfTheCreation(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		h.homeReporter().Inject(reportertest.Fault{Method: http.MethodPost, Times: 1, Do: reportertest.AfterActing(reportertest.Answer(503, nil, ""))})
		key := h.describe("a", "ledger", "ledger-db")
		h.wait(time.Second)
		expect(t, "the resource", h.reason(key), "Creating")
		h.delete(key)
		h.wait(10 * time.Minute)
		expect(t, "the resource", h.reason(key), "gone")
		expect(t, "connections", len(h.named("ledger-db")), 0)
	})
}

func TestSecondDescriptionOfAConnectionIsADuplicate(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		first := h.describe("a", "ledger", "ledger-db")
		h.wait(2 * time.Second)
		second := h.describe("a", "other", "ledger-db")
		h.wait(time.Minute)
		expect(t, "the first", h.reason(first), "Available")
		expect(t, "the second", h.reason(second), "Duplicate")
		expect(t, "connections", len(h.named("ledger-db")), 1)
		h.delete(first)
		h.wait(2 * time.Hour)
		expect(t, "the second", h.reason(second), "Available")
		expect(t, "connections", len(h.named("ledger-db")), 1)
	})
}

func TestBrakesHoldCreationAndChange(t *testing.T) {
	for name, brake := range map[string]func(*history, client.ObjectKey){
		"ManagementForbidden": func(h *history, _ client.ObjectKey) {
			h.changeEndpoint(defaultEndpointOfA, func(spec *v1alpha1.ReporterEndpointSpec) { spec.ManagementPolicy = v1alpha1.ManagementPolicyDeleteOnly })
		},
		"Suspended": func(h *history, _ client.ObjectKey) { h.changeEndpoint(defaultEndpointOfA, suspend) },
	} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, h *history) {
				kept := h.describe("a", "kept", "kept-db")
				h.wait(2 * time.Second)
				brake(h, kept)
				created := h.describe("a", "ledger", "ledger-db")
				h.wait(2 * time.Hour)
				expect(t, "what is as described", h.reason(kept), "Available")
				expect(t, "what is not there", h.reason(created), name)
				expect(t, "connections", len(h.named("ledger-db")), 0)
				h.changeConnection(kept, func(rc *v1alpha1.ReporterConnection) { rc.Spec.Connection.Port = 6432 })
				h.wait(time.Minute)
				expect(t, "what is changed", h.reason(kept), name)
				expect(t, "PATCHes", h.requestsOf(http.MethodPatch), 0)
			})
		})
	}
}

// What Reporter has certainly not carried out is not waited for, however many are told so at the same time: when the endpoint leads elsewhere, all
// are created there.
func TestCreationsThatWereRefusedAreForgottenAtOnce(t *testing.T) {
	scene(t, func(t *testing.T, h *history) {
		tooMany := reportertest.Answer(429, http.Header{"Content-Type": {"application/json"}}, `{"code":429,"title":"request_failed","message":""}`)
		h.homeReporter().Inject(reportertest.Fault{Method: http.MethodPost, Do: tooMany})
		var keys []client.ObjectKey
		for n := range 5 {
			keys = append(keys, h.describe("a", fmt.Sprintf("ledger-%d", n), fmt.Sprintf("ledger-%d", n)))
		}
		h.settle()
		expect(t, "POSTs", h.creations() > 0, true)
		h.changeEndpoint(defaultEndpointOfA, leadTo(otherHost))
		h.wait(30 * time.Minute)
		for _, key := range keys {
			expect(t, key.Name, h.reason(key), "Available")
		}
		expect(t, "POSTs elsewhere", len(h.sentTo(otherHost, http.MethodPost)) > 0, true)
	})
}
