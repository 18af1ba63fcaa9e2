// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

var _ = Describe("A deleted ReporterConnection", func() {
	It("soft-deletes its connection with one request to Reporter and one write to the API server", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
		rc := s.created(ctx, "ledger", id)
		s.reporter.ResetRequests()
		before := len(s.writes())

		s.kubectl(ctx, "delete", "rconn", "ledger")

		Expect(gone(rc)(ctx)).To(BeTrue(), "kubectl delete returns when the resource is gone")
		Expect(s.reporter.Alive(id)).To(BeFalse())
		Expect(s.reporter.Requests()).To(HaveLen(1))
		Expect(s.asked(http.MethodDelete, id)).To(Equal(1))
		Eventually(ctx, s.writesSince(before)).Should(Equal([]string{"patch reporterconnections ledger"}))
	})

	It("waits for jobs, says so, and goes by itself when they have ended, with two writes however often it asked", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
		rc := s.created(ctx, "ledger", id)
		endJob := s.reporter.StartJob("ledger-db")
		before := len(s.writes())

		s.kubectl(ctx, "delete", "rconn", "ledger", "--wait=false")
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("JobInProgress"))
		Expect(s.kubectl(ctx, "get", "rconn", "ledger")).To(MatchRegexp(`(?m)^NAME\s+CONNECTION\s+READY\s+STATUS\s+AGE\nledger\s+ledger-db\s+False\s+JobInProgress\s+\d+s$`))
		Expect(s.kubectl(ctx, "describe", "rconn", "ledger")).To(ContainSubstring(`Jobs in Reporter, pending or processing, read from connection "ledger-db"`))
		since := mustCondition(ctx, rc, "DeletionBlocked").LastTransitionTime

		for asked := 2; asked <= 50; asked++ {
			askNow(ctx, rc)
			Eventually(ctx, func() int { return s.asked(http.MethodDelete, id) }).Should(BeNumerically(">=", asked))
		}
		Expect(mustCondition(ctx, rc, "DeletionBlocked").LastTransitionTime).To(Equal(since))
		Expect(s.reporter.Alive(id)).To(BeTrue())

		endJob()
		askNow(ctx, rc)
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeFalse())
		Eventually(ctx, s.writesSince(before)).Should(Equal([]string{"patch reporterconnections/status ledger", "patch reporterconnections ledger"}))
	})

	It("comes back by itself, without being asked, when a job has ended", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
		rc := s.created(ctx, "ledger", id)
		endJob := s.reporter.StartJob("ledger-db")
		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, func() int { return s.asked(http.MethodDelete, id) }).Should(BeNumerically(">=", 3))

		endJob()
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("learns the name that its jobs go by, when it was never looked at before", func(ctx context.Context) {
		s := newStage(ctx)
		id := s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
		s.reporter.StartJob("ledger-db")
		rc := s.connection("ledger", id)
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("EndpointNotFound"))
		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("EndpointNotFound"))

		s.withEndpoint(ctx)
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("JobInProgress"))
		Expect(mustCondition(ctx, rc, "DeletionBlocked").Message).To(ContainSubstring(`"ledger-db"`))
	})

	DescribeTable("is held by an answer that proves nothing, and says why",
		func(ctx context.Context, fault reportertest.Behaviour, reason, message string) {
			s := newStage(ctx).withEndpoint(ctx)
			id := s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
			rc := s.created(ctx, "ledger", id)
			mend := s.reporter.Inject(reportertest.Fault{Method: http.MethodDelete, ID: id, Do: fault})

			Expect(world.Delete(ctx, rc)).To(Succeed())
			Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal(reason))
			Expect(mustCondition(ctx, rc, "DeletionBlocked").Message).To(ContainSubstring(message))
			Expect(mustCondition(ctx, rc, "Ready")).To(And(HaveField("Status", BeEquivalentTo("False")), HaveField("Reason", reason)))
			Expect(rc.Finalizers).To(Equal([]string{"reporter.lerian.studio/connection"}))
			Expect(s.reporter.Alive(id)).To(BeTrue())

			mend()
			askNow(ctx, rc)
			Eventually(ctx, gone(rc)).Should(BeTrue())
			Expect(s.reporter.Alive(id)).To(BeFalse())
		},
		Entry("a conflict of an unknown code", reportertest.ErrorAnswer(409, "FET-1099", "Odd", "odd"), "Conflict", "409 FET-1099 (Odd)"),
		Entry("an id that Reporter does not take", reportertest.ErrorAnswer(400, "FET-0404", "Invalid Path Parameter", "x"), "InvalidConnectionID", "Set spec.deletionPolicy to Retain"),
		Entry("401", reportertest.Answer(401, nil, "Unauthorized"), "Unauthorized", "401 Unauthorized"),
		Entry("403", reportertest.Answer(403, nil, "Forbidden"), "Forbidden", "403 Forbidden"),
		Entry("429", reportertest.Answer(429, http.Header{"Retry-After": {"1"}}, ""), "RateLimited", "429 Too Many Requests"),
		Entry("503 with Retry-After", reportertest.Answer(503, http.Header{"Retry-After": {"1"}}, ""), "ReporterUnavailable", "503 Service Unavailable"),
		Entry("500", reportertest.ErrorAnswer(500, "FET-0002", "Internal", "x"), "ReporterUnavailable", "500 FET-0002 (Internal)"),
		Entry("a reset connection", reportertest.Reset(), "ReporterUnavailable", "connection reset"),
		Entry("a cut body", cutConflict, "ReporterUnavailable", "connection closed before the answer was complete"),
		Entry("404 with a number as code", reportertest.ErrorAnswer(404, 404, "request_failed", "x"), "UnexpectedResponse", "this is not the connections API"),
		Entry("404 of a proxy", reportertest.Answer(404, nil, "not found"), "UnexpectedResponse", "404 Not Found"),
		Entry("404 with another code", reportertest.ErrorAnswer(404, "FET-1080", "Tenant", "x"), "UnexpectedResponse", "404 FET-1080 (Tenant)"),
		Entry("a login page", reportertest.LoginPage(), "UnexpectedResponse", "200 with a body that is not the documented one"),
		Entry("an odd 2xx", reportertest.Answer(202, nil, ""), "UnexpectedResponse", "202 Accepted"),
		Entry("a redirect", reportertest.Redirect(302, "http://127.0.0.1:1/login"), "UnexpectedResponse", "302, a redirect, which is not followed"),
	)

	It("is held while Reporter hangs, and goes when it answers again", func(ctx context.Context) {
		s := newStage(ctx)
		endpoint := s.endpoint("default", s.server.URL)
		Expect(world.Create(ctx, endpoint)).To(Succeed())
		Expect(world.Get(ctx, client.ObjectKeyFromObject(endpoint), endpoint)).To(Succeed())
		Expect(endpoint.Spec.Timeout.Duration).To(Equal(10*time.Second), "the API server defaults it")
		s.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p", `{"spec":{"timeout":"1s"}}`)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.created(ctx, "ledger", id)
		mend := s.reporter.Inject(reportertest.Fault{Method: http.MethodDelete, Do: reportertest.Hang()})

		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("ReporterUnavailable"))
		Expect(mustCondition(ctx, rc, "DeletionBlocked").Message).To(ContainSubstring("no answer within 1s"))
		mend()
		askNow(ctx, rc)
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("goes on at once when a Reporter that was down is back, and its endpoint tells of both", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		endpoint := s.endpoint("default", "")
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.created(ctx, "ledger", id)
		s.server.Down()

		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("ReporterUnavailable"))
		Expect(mustCondition(ctx, rc, "DeletionBlocked").Message).To(ContainSubstring("connection refused"))
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("ReporterUnavailable"))

		Expect(s.server.Up()).To(Succeed())
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeFalse())
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("Available"))
	})

	It("believes in an answer that was lost once Reporter says that the connection is gone", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.created(ctx, "ledger", id)
		s.reporter.ResetRequests()
		s.reporter.Inject(reportertest.Fault{Method: http.MethodDelete, ID: id, Times: 1, Do: reportertest.AfterActing(reportertest.Reset())})

		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.asked(http.MethodDelete, id)).To(Equal(2))
		Expect(s.asked(http.MethodGet, id)).To(Equal(1), "absence is confirmed")
	})

	It("is released with a warning when Reporter never had such a connection", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		rc := s.connection("typo", "019996b8-f3d1-7d2b-a192-6e91464d82fc")
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("ConnectionNotFound"))

		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Eventually(ctx, eventsAbout(rc)).Should(ContainElement(And(
			HaveField("Type", "Warning"), HaveField("Reason", "AlreadyDeleted"),
			HaveField("Note", ContainSubstring("connection 019996b8-f3d1-7d2b-a192-6e91464d82fc: Reporter has no such connection")))))
	})

	It("is released without a warning when somebody else deleted the connection it had seen", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.created(ctx, "ledger", id)
		s.reporter.Delete(id)

		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Eventually(ctx, eventsAbout(rc)).Should(ConsistOf(And(HaveField("Type", "Normal"), HaveField("Reason", "AlreadyDeleted"))))
	})

	It("is held where Reporter shows the connection but will not delete it", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.AddInternal(reportertest.Connection{}).ID
		rc := s.created(ctx, "internal", id)

		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("NotDeletable"))
		Expect(mustCondition(ctx, rc, "DeletionBlocked").Message).To(ContainSubstring("set spec.deletionPolicy to Retain"))
	})

	It("is held where the connection is absent, but was seen elsewhere", func(ctx context.Context) {
		s, other := newStage(ctx).withEndpoint(ctx), newStage(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.created(ctx, "ledger", id)
		s.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p", `{"spec":{"url":"`+other.server.URL+`"}}`)

		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("AbsenceUnverified"))
		Expect(s.reporter.Alive(id)).To(BeTrue())

		s.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p", `{"spec":{"url":"`+s.server.URL+`"}}`)
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("is held with the GET's reason where the confirming GET answers otherwise", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.created(ctx, "ledger", id)
		s.reporter.Delete(id)
		s.reporter.Inject(reportertest.Fault{Method: http.MethodGet, ID: id, Do: reportertest.Answer(403, nil, "Forbidden")})

		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("Forbidden"))
	})

	It("leaves the connection alone under the policy Retain, and needs nothing of Reporter for it", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.created(ctx, "ledger", id)
		s.kubectl(ctx, "patch", "rconn", "ledger", "--type=merge", "-p", `{"spec":{"deletionPolicy":"Retain"}}`)
		Eventually(ctx, finalizersOf(rc)).Should(BeEmpty())

		Expect(world.Delete(ctx, rc)).To(Succeed())
		Expect(gone(rc)(ctx)).To(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeTrue())
		Expect(s.asked(http.MethodDelete, id)).To(BeZero())
	})

	It("gets out of any hold with the policy Retain, and leaves a trail", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
		rc := s.created(ctx, "ledger", id)
		s.reporter.StartJob("ledger-db")
		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("JobInProgress"))

		s.kubectl(ctx, "patch", "rconn", "ledger", "--type=merge", "-p", `{"spec":{"deletionPolicy":"Retain"}}`)
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeTrue())
		Eventually(ctx, eventsAbout(rc)).Should(ConsistOf(HaveField("Reason", "Retained")))
	})

	It("leaves the finalizers of others alone", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.connection("ledger", id)
		rc.Finalizers = []string{"example.com/theirs"}
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))

		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, finalizersOf(rc)).Should(Equal([]string{"example.com/theirs"}))
		Expect(s.reporter.Alive(id)).To(BeFalse())
		s.kubectl(ctx, "patch", "rconn", "ledger", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
		Expect(s.asked(http.MethodDelete, id)).To(Equal(1))
	})
})

// cutConflict breaks off in the middle of saying that a job is in progress.
func cutConflict(w http.ResponseWriter, req *http.Request, _ http.HandlerFunc) {
	reportertest.CutBody()(w, req, func(w http.ResponseWriter, req *http.Request) {
		reportertest.ErrorAnswer(409, "FET-1021", "Job In Progress", "x")(w, req, nil)
	})
}

// eventsAbout polls the events about an object.
func eventsAbout(object client.Object) func(context.Context) ([]eventsv1.Event, error) {
	return func(ctx context.Context) ([]eventsv1.Event, error) {
		var all eventsv1.EventList
		if err := world.List(ctx, &all, client.InNamespace(object.GetNamespace())); err != nil {
			return nil, err
		}
		var about []eventsv1.Event
		for _, event := range all.Items {
			if event.Regarding.UID == object.GetUID() {
				about = append(about, event)
			}
		}
		return about, nil
	}
}
