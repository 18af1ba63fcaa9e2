// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

var _ = Describe("A deleted ReporterConnection", func() {
	It("soft-deletes its connection with one request to Reporter and one write to the API server", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
		rc := s.created(ctx, "ledger", id)
		s.reporter.ResetRequests()

		s.kubectl(ctx, "delete", "rconn", "ledger")

		Expect(gone(rc)(ctx)).To(BeTrue(), "kubectl delete returns when the resource is gone")
		Expect(s.reporter.Alive(id)).To(BeFalse())
		Expect(s.reporter.Requests()).To(HaveLen(1))
		Expect(s.asked(http.MethodDelete, id)).To(Equal(1))
		Eventually(ctx, s.writes).Should(Equal([]string{
			"patch reporterendpoints/status default", "patch reporterconnections/status ledger", "patch reporterconnections ledger"}))
	})

	It("waits for jobs, says so, and goes by itself when they have ended, with two writes however often it asked", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
		rc := s.created(ctx, "ledger", id)
		endJob := s.reporter.StartJob("ledger-db")

		s.deleteConnections(ctx, "ledger")
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
		Eventually(ctx, s.writes).Should(Equal([]string{
			"patch reporterendpoints/status default", "patch reporterconnections/status ledger",
			"patch reporterconnections/status ledger", "patch reporterconnections ledger"}))
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
})
