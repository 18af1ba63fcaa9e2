// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

var _ = Describe("A brake", func() {
	It("on the endpoint holds every deletion, and says so on each", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		one := s.created(ctx, "one", s.reporter.Add(reportertest.Connection{}).ID)
		two := s.created(ctx, "two", s.reporter.Add(reportertest.Connection{}).ID)
		s.patchEndpoint(ctx, `{"spec":{"suspend":true}}`)
		Eventually(ctx, reasonOf(s.endpoint("default", ""), "Ready")).Should(Equal("Available"), "the operator has seen it")
		s.deleteConnections(ctx, "one", "two")
		Eventually(ctx, reasonOf(one, "DeletionBlocked")).Should(Equal("Suspended"))
		Eventually(ctx, reasonOf(two, "DeletionBlocked")).Should(Equal("Suspended"))
		Expect(s.asked(http.MethodDelete, one.Spec.ConnectionID)).To(BeZero())

		s.patchEndpoint(ctx, `{"spec":{"suspend":false}}`)
		Eventually(ctx, gone(one)).Should(BeTrue())
		Eventually(ctx, gone(two)).Should(BeTrue())
	})

	It("on the resource has the API server refuse the deletion, with the command that lifts it", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		rc := s.created(ctx, "ledger", s.reporter.Add(reportertest.Connection{}).ID)
		s.patchConnection(ctx, "ledger", `{"spec":{"deletionProtection":true}}`)
		_, err := world.Kubectl(ctx, "", "--namespace", s.namespace, "delete", "rconn", "ledger")
		Expect(err).To(MatchError(ContainSubstring(`ReporterConnection "ledger" is protected from deletion. To delete it, and its connection in Reporter, run first: ` +
			`kubectl patch reporterconnection --namespace ` + s.namespace + ` ledger --type=merge -p '{"spec":{"deletionProtection":false}}'`)))

		s.patchConnection(ctx, "ledger", `{"spec":{"deletionProtection":false}}`)
		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")
		Expect(gone(rc)(ctx)).To(BeTrue())
	})

	It("on the resource is held to by the operator where the API server did not ask", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
		rc := s.created(ctx, "ledger", id)
		end := s.reporter.StartJob("ledger-db")
		s.deleteConnections(ctx, "ledger")
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("JobInProgress"))
		s.patchConnection(ctx, "ledger", `{"spec":{"deletionProtection":true}}`)
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("DeletionProtected"))
		end()
		askNow(ctx, rc)
		s.patchConnection(ctx, "ledger", `{"spec":{"deletionProtection":false}}`)
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("keeps our definitions from being deleted by mistake", func(ctx context.Context) {
		_, err := world.Kubectl(ctx, "", "delete", "crd", "reporterconnections.reporter.lerian.studio", "--dry-run=server")
		Expect(err).To(MatchError(And(ContainSubstring("deletes every ReporterConnection in the cluster"),
			ContainSubstring("kubectl label crd reporterconnections.reporter.lerian.studio reporter.lerian.studio/allow-deletion=true"))))
		_, err = world.Kubectl(ctx, "", "label", "crd", "reporterconnections.reporter.lerian.studio", "reporter.lerian.studio/allow-deletion=true")
		Expect(err).NotTo(HaveOccurred())
		_, err = world.Kubectl(ctx, "", "delete", "crd", "reporterconnections.reporter.lerian.studio", "--dry-run=server")
		Expect(err).NotTo(HaveOccurred())
		_, err = world.Kubectl(ctx, "", "label", "crd", "reporterconnections.reporter.lerian.studio", "reporter.lerian.studio/allow-deletion-")
		Expect(err).NotTo(HaveOccurred())
	})
})
