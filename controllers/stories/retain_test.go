// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"fmt"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

var _ = Describe("The policy Retain", func() {
	It("leaves the connection alone under the policy Retain, and needs nothing of Reporter for it", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.created(ctx, "ledger", id)
		s.patchConnection(ctx, "ledger", `{"spec":{"deletionPolicy":"Retain"}}`)
		Eventually(ctx, finalizersOf(rc)).Should(BeEmpty())

		Expect(world.Delete(ctx, rc)).To(Succeed())
		Expect(gone(rc)(ctx)).To(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeTrue())
		Expect(s.asked(http.MethodDelete, id)).To(BeZero())
	})

	It("keeps the connection through kubectl replace --force, if it was set first", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.created(ctx, "ledger", id)
		before := rc.UID
		s.patchConnection(ctx, "ledger", `{"spec":{"deletionPolicy":"Retain"}}`)
		manifest := fmt.Sprintf(`{"apiVersion":"reporter.lerian.studio/v1alpha1","kind":"ReporterConnection",`+
			`"metadata":{"name":"ledger","namespace":%q},"spec":{"connectionID":%q}}`, s.namespace, id)
		_, err := world.Kubectl(ctx, manifest, "replace", "--force", "--timeout=30s", "-f", "-")
		Expect(err).NotTo(HaveOccurred())
		replaced := s.connection("ledger", id)
		Eventually(ctx, reasonOf(replaced, "Ready")).Should(Equal("Available"))
		Expect(replaced.UID).NotTo(Equal(before))
		Expect(replaced.Spec.DeletionPolicy).To(BeEquivalentTo("Delete"))
		Expect(s.asked(http.MethodDelete, id)).To(BeZero())
	})

	It("gets out of any hold with the policy Retain, and leaves a trail", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
		rc := s.created(ctx, "ledger", id)
		s.reporter.StartJob("ledger-db")
		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("JobInProgress"))

		s.patchConnection(ctx, "ledger", `{"spec":{"deletionPolicy":"Retain"}}`)
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeTrue())
		Eventually(ctx, eventsAbout(rc)).Should(ConsistOf(HaveField("Reason", "Retained")))
	})

	It("lets every resource go and leaves Reporter alone, without credentials, also while a deletion waits", func(ctx context.Context) {
		s := newStage(ctx).withSecuredEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
		waiting := s.created(ctx, "waiting", id)
		s.reporter.StartJob("ledger-db")
		s.deleteConnections(ctx, "waiting")
		Eventually(ctx, reasonOf(waiting, "DeletionBlocked")).Should(Equal("JobInProgress"))

		s.reporter.RevokeToken("right")
		s.patchEndpoint(ctx, `{"spec":{"deletionPolicy":"Retain"}}`)
		Eventually(ctx, gone(waiting)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeTrue())
		Eventually(ctx, eventsAbout(waiting)).Should(ConsistOf(And(HaveField("Reason", "Retained"),
			HaveField("Note", ContainSubstring(`as spec.deletionPolicy of ReporterEndpoint "default" says`)))))
		s.kubectl(ctx, "delete", "secret", "token", "--timeout=30s")
	})

	It("empties a namespace whose endpoint retains, in any order", func(ctx context.Context) {
		s := newStage(ctx).withSecuredEndpoint(ctx)
		ids := s.populate(ctx, s.namespace, 3, nil)
		Eventually(ctx, seen(s.namespace)).Should(BeTrue())
		s.patchEndpoint(ctx, `{"spec":{"deletionPolicy":"Retain"}}`)
		s.kubectl(ctx, "delete", "--wait=false", "secret/token", "rep/default")
		s.deleteAll(ctx)
		Eventually(ctx, s.connections).Should(BeEmpty())
		Eventually(ctx, gone(s.endpoint("default", ""))).Should(BeTrue())
		Expect(s.alive(ids)).To(Equal(ids))
	})
})
