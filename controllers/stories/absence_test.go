// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

var _ = Describe("A connection that is gone from Reporter", func() {
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

	It("warns of a wrong id although the first try found nobody", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		s.server.Down()
		rc := s.connection("typo", "019996b8-f3d1-7d2b-a192-6e91464d82fc")
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("ReporterUnavailable"))
		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("ReporterUnavailable"))
		Eventually(ctx, s.server.Up).Should(Succeed())
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Eventually(ctx, eventsAbout(rc)).Should(ConsistOf(HaveField("Type", "Warning")))
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

	It("tells of its own deletion, whose answer was lost, as one", func(ctx context.Context) {
		s := newStage(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.connection("ledger", id)
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("EndpointNotFound"))
		Expect(world.Delete(ctx, rc)).To(Succeed())
		s.reporter.Inject(reportertest.Fault{Method: http.MethodDelete, ID: id, Times: 1, Do: reportertest.AfterActing(reportertest.Reset())})
		Expect(world.Create(ctx, s.endpoint("default", s.server.URL))).To(Succeed())
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.asked(http.MethodDelete, id)).To(Equal(2))
		Eventually(ctx, operatorLog).Should(MatchRegexp(`"Deleted connection in Reporter".*"connectionID":"`+id+`"`), "as soon as the operator's watch shows that it is gone")
		Expect(eventsAbout(rc)(ctx)).To(BeEmpty(), "no warning of a wrong id")
	})
})
