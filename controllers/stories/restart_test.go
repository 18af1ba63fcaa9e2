// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// The operator is killed at the moments that are hard to get right: between a request and its answer, and between an answer
// and what follows from it.
var _ = Describe("An operator that is killed", func() {
	It("before Reporter acted on a DELETE, deletes after its restart", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.created(ctx, "ledger", id)
		mend := s.reporter.Inject(reportertest.Fault{Method: http.MethodDelete, Do: reportertest.Hang()})
		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, func() int { return s.asked(http.MethodDelete, id) }).Should(Equal(1))

		killOperator()
		mend()
		Expect(s.reporter.Alive(id)).To(BeTrue())
		Expect(gone(rc)(ctx)).To(BeFalse())
		startOperator(ctx)
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("after Reporter acted on a DELETE, finds out that it did, with one repeated call", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.created(ctx, "ledger", id)
		s.reporter.ResetRequests()
		mend := s.reporter.Inject(reportertest.Fault{Method: http.MethodDelete, Times: 1, Do: reportertest.AfterActing(reportertest.Hang())})
		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, func() bool { return s.reporter.Alive(id) }).Should(BeFalse())

		killOperator()
		mend()
		Expect(gone(rc)(ctx)).To(BeFalse())
		startOperator(ctx)
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.asked(http.MethodDelete, id)).To(Equal(2))
	})

	It("before it ever saw the connection, still soft-deletes it when the resource was deleted meanwhile", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		mend := s.reporter.Inject(reportertest.Fault{Method: http.MethodGet, ID: id, Do: reportertest.Hang()})
		rc := s.connection("ledger", id)
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, func() int { return s.asked(http.MethodGet, id) }).Should(Equal(1))

		killOperator()
		mend()
		Expect(world.Delete(ctx, rc)).To(Succeed())
		Expect(gone(rc)(ctx)).To(BeFalse())
		Expect(s.reporter.Alive(id)).To(BeTrue())
		startOperator(ctx)
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("while a deletion waits for a job, goes on waiting where it was", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
		rc := s.created(ctx, "ledger", id)
		endJob := s.reporter.StartJob("ledger-db")
		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("JobInProgress"))
		since := mustCondition(ctx, rc, "DeletionBlocked").LastTransitionTime

		killOperator()
		s.reporter.ResetRequests()
		startOperator(ctx)
		Eventually(ctx, func() int { return s.asked(http.MethodDelete, id) }).Should(BeNumerically(">=", 1))
		Expect(mustCondition(ctx, rc, "DeletionBlocked").LastTransitionTime).To(Equal(since))

		endJob()
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeFalse())
		Eventually(ctx, s.writes).Should(Equal([]string{
			"patch reporterendpoints/status default", "patch reporterconnections/status ledger",
			"patch reporterconnections/status ledger", "patch reporterconnections ledger"}), "nothing was written anew after the restart")
	})

	It("leaves what is created meanwhile in progress for tools that wait, and nothing in it that they would take for a change", func(ctx context.Context) {
		s := newStage(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		endpoint, rc := s.endpoint("default", s.server.URL), s.connection("ledger", id)
		kubectl := func(object client.Object, args ...string) string {
			GinkgoHelper()
			output, err := world.Kubectl(ctx, manifestOf(object), append(args, "-f", "-")...)
			Expect(err).NotTo(HaveOccurred())
			return output
		}

		killOperator()
		for object, side := range map[client.Object]string{endpoint: "--server-side=false", rc: "--server-side"} {
			kubectl(object, "apply", side)
			Expect(kubectl(object, "get", "-o", "jsonpath={.items[*].metadata.generation} {.items[*].status}")).To(Equal(`1 {"observedGeneration":-1}`))
			Expect(kubectl(object, "diff", side)).To(BeEmpty())
		}
		startOperator(ctx)
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("Available"))
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect([]int64{endpoint.Status.ObservedGeneration, rc.Status.ObservedGeneration}).To(Equal([]int64{1, 1}))
	})

	It("deletes nothing that was not asked for", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.created(ctx, "ledger", id)

		killOperator()
		s.reporter.ResetRequests()
		startOperator(ctx)
		Eventually(ctx, func() int { return s.asked(http.MethodGet, id) }).Should(BeNumerically(">=", 1), "it looks again")
		looked := s.asked(http.MethodGet, id)
		askNow(ctx, rc)
		Eventually(ctx, func() int { return s.asked(http.MethodGet, id) }).Should(BeNumerically(">", looked))
		Expect(s.asked(http.MethodDelete, id)).To(BeZero())
		Expect(s.reporter.Alive(id)).To(BeTrue())
	})
})

var _ = Describe("An operator that is told to end", func() {
	It("finishes the request under way and what follows from it", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.created(ctx, "ledger", id)
		proceed := make(chan struct{})
		s.reporter.Inject(reportertest.Fault{Method: http.MethodDelete, Times: 1, Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
			<-proceed
			act(w, req)
		}})
		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, func() int { return s.asked(http.MethodDelete, id) }).Should(Equal(1))

		DeferCleanup(func(ctx context.Context) { restartOperator(ctx) })
		ending = true
		operator.Terminate()
		Eventually(ctx, operatorLog).Should(ContainSubstring("Shutdown signal received, waiting for all workers to finish"))
		close(proceed)
		Eventually(ctx, operator.Done()).Should(BeClosed())
		Expect(operator.Stop()).To(Succeed(), "it ends without an error")
		Expect(gone(rc)(ctx)).To(BeTrue())
		Expect(s.asked(http.MethodDelete, id)).To(Equal(1))
	})
})
