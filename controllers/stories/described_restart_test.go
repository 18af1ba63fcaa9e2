// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// creations counts the requests to create a connection.
func (s *stage) creations() int {
	return len(slices.DeleteFunc(s.sent(), func(sent string) bool { return sent != http.MethodPost }))
}

// hold has the next request to create a connection wait, and then be carried out, whoever is there to hear of it. It returns what lets it go on.
func (s *stage) hold() (proceed func()) {
	open := make(chan struct{})
	s.reporter.Inject(reportertest.Fault{Method: http.MethodPost, Match: isCreation, Times: 1, Do: reportertest.ActAfter(func() { <-open })})
	return func() { close(open) }
}

// recorded polls whether a resource has a record of a request to create its connection.
func recorded(rc *v1alpha1.ReporterConnection) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		err := world.Get(ctx, client.ObjectKeyFromObject(rc), rc)
		return rc.Status.Creation != nil, err
	}
}

var _ = Describe("An operator that is killed while it has a connection created", func() {
	It("before it asked for that, has it created after its restart", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		asked := make(chan struct{}, 100)
		mend := s.reporter.Inject(reportertest.Fault{Method: http.MethodGet, Match: func(r *http.Request) bool { return r.URL.Query().Has("metadata.reporterOperatorOwner") },
			Do: func(w http.ResponseWriter, r *http.Request, act http.HandlerFunc) {
				asked <- struct{}{}
				reportertest.Hang()(w, r, act)
			}})
		rc := s.described("ledger")
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, asked).Should(Receive())
		killOperator()
		mend()
		Expect(recorded(rc)(ctx)).To(BeFalse())
		startOperator(ctx)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(s.only()).To(s.asDescribed(ctx, "ledger"))
		Expect(s.creations()).To(Equal(1))
	})

	It("after Reporter created it, finds it after its restart, and gives it the password that it may lack", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		mend := s.reporter.Inject(reportertest.Fault{Method: http.MethodPost, Match: isCreation, Times: 1, Do: reportertest.AfterActing(reportertest.Hang())})
		rc := s.described("ledger")
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, s.reporter.Connections).Should(HaveLen(1))
		killOperator()
		mend()
		Expect(recorded(rc)(ctx)).To(BeTrue(), "it has been written down before")
		Expect(rc.Status.Creation.URL).To(Equal(s.server.URL))
		s.patchSecret(ctx, "database", `{"stringData":{"password":"changed"}}`)
		startOperator(ctx)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(s.only()).To(s.asDescribed(ctx, "ledger"))
		Expect(rc.Status.ConnectionID).To(Equal(s.only().ID))
		Expect(rc.Status.Creation).To(BeNil())
		Expect(s.reporter.Secrets(s.only().ID).Password).To(Equal("changed"))
		Expect(s.creations()).To(Equal(1))
	})

	It("before Reporter creates it, waits for that after its restart", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		proceed := s.hold()
		rc := s.described("ledger")
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, s.creations).Should(Equal(1))
		killOperator()
		searched := s.searches()
		startOperator(ctx)
		Eventually(ctx, s.searches).Should(BeNumerically(">", searched), "it looks for it")
		Expect(mustCondition(ctx, rc, "Ready")).To(And(HaveField("Status", BeEquivalentTo("Unknown")), HaveField("Reason", "Creating"),
			HaveField("Message", "Reporter was asked to create the connection, and has not answered yet. The operator looks again by itself")))
		proceed()
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(s.only()).To(s.asDescribed(ctx, "ledger"))
		Expect(s.creations()).To(Equal(1))
	})

	It("finds it after its restart and deletes it, where its resource was deleted meanwhile", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		mend := s.reporter.Inject(reportertest.Fault{Method: http.MethodPost, Match: isCreation, Times: 1, Do: reportertest.AfterActing(reportertest.Hang())})
		rc := s.described("ledger")
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, s.reporter.Connections).Should(HaveLen(1))
		killOperator()
		mend()
		s.deleteConnections(ctx, "ledger")
		Expect(gone(rc)(ctx)).To(BeFalse())
		startOperator(ctx)
		s.expectGone(ctx, "ledger")
		Expect(s.reporter.Connections()).To(BeEmpty())
		Expect(s.creations()).To(Equal(1))
	})

	It("holds its resource that was deleted meanwhile until it is known what came of it", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		proceed := s.hold()
		rc := s.described("ledger")
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, s.creations).Should(Equal(1))
		killOperator()
		s.deleteConnections(ctx, "ledger")
		startOperator(ctx)
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("Creating"))
		proceed()
		s.expectGone(ctx, "ledger")
		Expect(s.reporter.Connections()).To(BeEmpty())
		Expect(s.creations()).To(Equal(1))
	})
})

var _ = Describe("An operator that has a connection created", func() {
	It("writes down what came of it when it is told to end meanwhile", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		proceed := s.hold()
		rc := s.described("ledger")
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, s.creations).Should(Equal(1))

		DeferCleanup(func(ctx context.Context) { restartOperator(ctx) })
		ending = true
		operator.Terminate()
		Eventually(ctx, operatorLog).Should(ContainSubstring("Shutdown signal received, waiting for all workers to finish"))
		proceed()
		Eventually(ctx, operator.Done()).Should(BeClosed())
		Expect(operator.Stop()).To(Succeed(), "it ends without an error")
		Expect(reasonOf(rc, "Ready")(ctx)).To(Equal("Available"))
		Expect(rc.Status.ConnectionID).To(Equal(s.only().ID))
	})

	It("writes down what came of it past what others write meanwhile", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		proceed := s.hold()
		rc := s.described("ledger")
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, s.creations).Should(Equal(1))
		s.patchConnection(ctx, "ledger", `{"metadata":{"labels":{"a":"b"}},"spec":{"connection":{"port":5433}}}`)
		proceed()
		Eventually(ctx, s.reporter.Connections).Should(ConsistOf(HaveField("Port", 5433)))
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(rc.Status.ConnectionID).To(Equal(s.only().ID))
		Expect(s.creations()).To(Equal(1))
	})

	It("deletes it where its resource is deleted meanwhile", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		proceed := s.hold()
		rc := s.described("ledger")
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, s.creations).Should(Equal(1))
		s.deleteConnections(ctx, "ledger")
		proceed()
		s.expectGone(ctx, "ledger")
		Expect(s.reporter.Connections()).To(BeEmpty())
	})

	It("tells what is left behind where somebody has its resource gone meanwhile", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		proceed := s.hold()
		rc := s.described("ledger")
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, s.creations).Should(Equal(1))
		s.deleteConnections(ctx, "ledger")
		s.patchConnection(ctx, "ledger", `{"metadata":{"finalizers":null}}`)
		s.expectGone(ctx, "ledger")
		proceed()
		Eventually(ctx, eventsAbout(rc)).Should(ContainElement(And(HaveField("Reason", "LeftBehind"), HaveField("Type", "Warning"),
			HaveField("Note", ContainSubstring("was created in Reporter, and the resource does not wait for it any more: delete it there")))))
		Expect(eventsAbout(rc)(ctx)).To(ContainElement(HaveField("Note", ContainSubstring(s.only().ID))))
	})
})

// Of a request without an answer it is certain after two minutes and more that it is not carried out any more. These go by while the other story
// plays, which leaves the operator alone.
var _ = Describe("Many connections are created once each,", Ordered, func() {
	var killed *stage
	const many = 30
	populate := func(ctx context.Context, s *stage, count int) {
		GinkgoHelper()
		for i := range count {
			Expect(world.Create(ctx, s.described(fmt.Sprintf("connection-%02d", i)))).To(Succeed())
		}
	}
	ready := func(s *stage) func(context.Context) (int, error) {
		return func(ctx context.Context) (int, error) {
			var all v1alpha1.ReporterConnectionList
			err := world.List(ctx, &all, client.InNamespace(s.namespace))
			count := 0
			for i := range all.Items {
				for _, condition := range all.Items[i].Status.Conditions {
					if condition.Type == "Ready" && condition.Status == metav1.ConditionTrue {
						count++
					}
				}
			}
			return count, err
		}
	}
	isOneEach := func(ctx context.Context, s *stage, count int) {
		GinkgoHelper()
		var described []any
		for i := range count {
			described = append(described, s.asDescribed(ctx, fmt.Sprintf("connection-%02d", i)))
		}
		Expect(s.reporter.Connections()).To(ConsistOf(described...))
	}

	BeforeAll(func(ctx context.Context) {
		killed = newStage(ctx).withDatabase(ctx)
		killed.patchEndpoint(ctx, `{"spec":{"timeout":"5s"}}`)
		var turn atomic.Int64
		mend := killed.reporter.Inject(reportertest.Fault{Method: http.MethodPost, Match: isCreation, Do: func(w http.ResponseWriter, r *http.Request, act http.HandlerFunc) {
			switch turn.Add(1) % 3 {
			case 0:
				act(w, r)
			case 1:
				reportertest.AfterActing(reportertest.Hang())(w, r, act)
			default:
				reportertest.Hang()(w, r, act)
			}
		}})
		populate(ctx, killed, many)
		Eventually(ctx, killed.creations).Should(BeNumerically(">=", 12))
		killOperator()
		mend()
		startOperator(ctx)
	})

	It("though Reporter loses every third answer", func(ctx context.Context) {
		const count = 100
		s := newStage(ctx).withDatabase(ctx)
		s.reporter.Inject(reportertest.Fault{Every: 3, Do: reportertest.AfterActing(reportertest.Reset())})
		populate(ctx, s, count)
		Eventually(ctx, s.creations).Should(Equal(count))
		Eventually(ctx, ready(s)).WithTimeout(4 * time.Minute).Should(Equal(count)) //nolint:forbidigo // a Reporter that seems to be down is asked seldom
		isOneEach(ctx, s, count)
		Expect(s.creations()).To(Equal(count))
	})

	It("though the operator was killed while Reporter had not carried out some, and had carried out others", func(ctx context.Context) {
		Eventually(ctx, ready(killed)).WithTimeout(4 * time.Minute).Should(Equal(many)) //nolint:forbidigo // before two minutes nothing is certain
		isOneEach(ctx, killed, many)
		askedAgain := 0
		last := map[any]time.Time{}
		for _, request := range killed.reporter.Requests() {
			if request.Method != http.MethodPost || request.Path != "/v1/management/connections" {
				continue
			}
			var body map[string]any
			Expect(json.Unmarshal(request.Body, &body)).To(Succeed())
			if before, again := last[body["configName"]]; again {
				askedAgain++
				Expect(request.Time).To(BeTemporally(">=", before.Add(2*time.Minute)), "nothing is asked for again before it is certain")
			}
			last[body["configName"]] = request.Time
		}
		Expect(askedAgain).To(BeNumerically(">=", 3), "a third of about 12 requests was not carried out")
	})
})
