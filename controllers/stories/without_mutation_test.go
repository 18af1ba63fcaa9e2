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

// takeMutationAway has no policy put finalizers on until the stories of the container end.
func takeMutationAway(ctx context.Context) {
	GinkgoHelper()
	bindings, err := world.Kubectl(ctx, "", "get", "mutatingadmissionpolicybinding", "-o", "yaml")
	Expect(err).NotTo(HaveOccurred())
	_, err = world.Kubectl(ctx, "", "delete", "mutatingadmissionpolicybinding", "--all")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func(ctx context.Context) {
		_, err := world.Kubectl(ctx, bindings, "create", "-f", "-")
		Expect(err).NotTo(HaveOccurred())
		Expect(world.AwaitPolicies(ctx)).To(Succeed())
	})
	probe := newStage(ctx)
	Eventually(ctx, func(ctx context.Context) ([]string, error) {
		tried := probe.endpoint("probe", "http://reporter")
		err := world.Create(ctx, tried, client.DryRunAll)
		return tried.Finalizers, err
	}).Should(BeEmpty())
}

var _ = Describe("A cluster without MutatingAdmissionPolicy", Ordered, func() {
	BeforeAll(func(ctx context.Context) {
		if world.Mutates {
			takeMutationAway(ctx)
		}
	})

	It("has what a deletion needs held by the operator's first look", func(ctx context.Context) {
		s := newStage(ctx).withSecuredEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
		rc := s.connection("ledger", id)
		finalizers := whenAsked(s, http.MethodGet, id, finalizersOf(s.connection("ledger", id)))
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(finalizers()).To(Equal([]string{"reporter.lerian.studio/connection"}), "before Reporter is asked")
		Eventually(ctx, s.allWrites).Should(ContainElements(
			"patch secrets token", "patch reporterendpoints default", "patch reporterconnections ledger", "patch reporterconnections/status ledger"))

		deleteNamespace(ctx, s.namespace)
		expectEmptied(ctx, s.namespace)
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("gets a finalizer back that a replace has stripped", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		rc := s.created(ctx, "ledger", s.reporter.Add(reportertest.Connection{}).ID)
		s.patchConnection(ctx, "ledger", `{"metadata":{"finalizers":null}}`)
		Eventually(ctx, finalizersOf(rc)).Should(Equal([]string{"reporter.lerian.studio/connection"}))
	})

	It("lets a Secret go that lost its mark", func(ctx context.Context) {
		s := newStage(ctx).withSecuredEndpoint(ctx)
		Eventually(ctx, s.allWrites).Should(ContainElement("patch secrets token"))
		s.kubectl(ctx, "label", "secret", "token", "reporter.lerian.studio/credentials-")
		s.kubectl(ctx, "delete", "secret", "token", "--timeout=30s")
	})

	It("lets a Secret go that has become a database's", func(ctx context.Context) {
		s := newStage(ctx).withSecuredEndpoint(ctx)
		Eventually(ctx, s.allWrites).Should(ContainElement("patch secrets token"))
		s.kubectl(ctx, "label", "--overwrite", "secret", "token", "reporter.lerian.studio/credentials=database")
		s.kubectl(ctx, "delete", "secret", "token", "--timeout=30s")
	})

	It("has a connection created whose resource is held before, and holds nothing of its database", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		Eventually(ctx, about("ledger", s.allWrites)).Should(Equal(append([]string{"patch reporterconnections ledger"}, writesToReady...)))
		Expect(about("database", s.allWrites)()).To(BeEmpty())
		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")
		Expect(s.reporter.Alive(rc.Status.ConnectionID)).To(BeFalse())
	})
})
