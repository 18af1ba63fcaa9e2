// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// withAccessManager puts an Access Manager beside the stage's Reporter, and an endpoint `default` that logs in there.
func (s *stage) withAccessManager(ctx context.Context, secret string) (*reportertest.AccessManager, *v1alpha1.ReporterEndpoint) {
	GinkgoHelper()
	manager := reportertest.NewAccessManager(s.reporter)
	server := serve(manager)
	s.kubectl(ctx, "create", "secret", "generic", "m2m", "--from-literal=clientId=operator", "--from-literal=clientSecret="+secret)
	s.kubectl(ctx, "label", "secret", "m2m", "reporter.lerian.studio/credentials=true")
	endpoint := s.endpoint("default", s.server.URL)
	endpoint.Spec.Auth = &v1alpha1.EndpointAuth{AccessManager: &v1alpha1.AccessManagerAuth{
		URL: v1alpha1.BaseURL(server.URL), SecretRef: v1alpha1.SecretReference{Name: "m2m"}}}
	Expect(world.Create(ctx, endpoint)).To(Succeed())
	return manager, endpoint
}

var _ = Describe("A Reporter with an Access Manager", func() {
	It("is logged in to once for all, again when it refuses the token, and told by its tenant", func(ctx context.Context) {
		s := newStage(ctx)
		manager, endpoint := s.withAccessManager(ctx, "first-secret-value")
		manager.AddClient("operator", "first-secret-value", "acme")
		askNow(ctx, endpoint)
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("Available"))
		ids := make([]string, 10)
		for i := range ids {
			ids[i] = s.reporter.Add(reportertest.Connection{Tenant: "acme"}).ID
			Expect(world.Create(ctx, s.connection("connection-"+string(rune('a'+i)), ids[i]))).To(Succeed())
		}
		Eventually(ctx, seen(s.namespace)).Should(BeTrue())
		rc := s.connection("connection-a", ids[0])
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(rc.Status.ObservedIn).To(HaveValue(Equal(v1alpha1.ObservedIn{URL: s.server.URL, TenantID: "acme"})))
		Expect(manager.Logins()).To(Equal(1))

		manager.RevokeTokens()
		s.deleteAll(ctx)
		Eventually(ctx, s.connections).Should(BeEmpty())
		Expect(s.alive(ids)).To(BeEmpty())
		Expect(manager.Logins()).To(Equal(2))
	})

	It("refuses wrong credentials, which the endpoint and a deletion tell, and goes on at once with the right ones", func(ctx context.Context) {
		s := newStage(ctx)
		manager, endpoint := s.withAccessManager(ctx, "wrong-secret-value")
		manager.AddClient("operator", "right-secret-value", "")
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("Unauthorized"))
		Expect(mustCondition(ctx, endpoint, "Ready").Message).To(And(
			ContainSubstring("logging in with the Access Manager: 401"), ContainSubstring("Correct spec.auth of the ReporterEndpoint or the Secret it names")))
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.connection("ledger", id)
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, unheld(s.namespace)).Should(BeEmpty())
		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("Unauthorized"))

		s.patchSecret(ctx, "m2m", `{"stringData":{"clientSecret":"right-secret-value"}}`)
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("proves nothing by the absence of a connection in another tenant than it was seen in", func(ctx context.Context) {
		s := newStage(ctx)
		manager, endpoint := s.withAccessManager(ctx, "acme-secret-value")
		manager.AddClient("operator", "acme-secret-value", "acme")
		manager.AddClient("other", "other-secret-value", "other")
		askNow(ctx, endpoint)
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("Available"))
		id := s.reporter.Add(reportertest.Connection{Tenant: "acme"}).ID
		rc := s.created(ctx, "ledger", id)
		s.patchEndpoint(ctx, `{"spec":{"suspend":true}}`)
		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("Suspended"))

		logins := manager.Logins()
		s.patchSecret(ctx, "m2m", `{"stringData":{"clientId":"other","clientSecret":"other-secret-value"}}`)
		Eventually(ctx, manager.Logins).Should(BeNumerically(">", logins), "the operator has taken up the other credentials")
		s.patchEndpoint(ctx, `{"spec":{"suspend":false}}`)
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("AbsenceUnverified"))
		Expect(s.reporter.Alive(id)).To(BeTrue())
		s.patchSecret(ctx, "m2m", `{"stringData":{"clientId":"operator","clientSecret":"acme-secret-value"}}`)
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})
})
