// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

var _ = Describe("A Secret", func() {
	It("wakes nobody when only its metadata changes", func(ctx context.Context) {
		s := newStage(ctx)
		s.credentials(ctx)
		endpoint := s.securedEndpoint()
		s.reporter.RevokeToken("right")
		Expect(world.Create(ctx, endpoint)).To(Succeed())
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("Unauthorized"))
		rc := s.connection("ledger", s.reporter.Add(reportertest.Connection{}).ID)
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Unauthorized"))
		Expect(mustCondition(ctx, endpoint, "Stalled").Reason).To(Equal("Unauthorized"), "tools need not wait for the endpoint")
		Expect(conditionOf(rc, "Stalled")(ctx)).To(BeNil(), "but for its connections, as somebody may correct the endpoint")
		asked := s.asked(http.MethodGet, rc.Spec.ConnectionID)

		s.kubectl(ctx, "annotate", "secret", "token", "example.com/note=x")
		s.kubectl(ctx, "annotate", "rep", "default", "example.com/note=x")
		later := s.connection("later", s.reporter.Add(reportertest.Connection{}).ID)
		Expect(world.Create(ctx, later)).To(Succeed())
		Eventually(ctx, reasonOf(later, "Ready")).Should(Equal("Unauthorized"), "the operator has gone on")
		Expect(s.asked(http.MethodGet, rc.Spec.ConnectionID)).To(Equal(asked))

		s.reporter.AllowToken("other", "")
		s.patchSecret(ctx, "token", `{"stringData":{"token":"other"}}`)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Eventually(ctx, conditionOf(endpoint, "Stalled")).Should(BeNil())
	})

	It("is shown nowhere: not in a log, an event or a status, whatever fails", func(ctx context.Context) {
		const token, clientSecret = "a-token-that-nobody-may-see", "a-secret-that-nobody-may-see"
		shown := func() string {
			GinkgoHelper()
			log, err := operatorLog()
			Expect(err).NotTo(HaveOccurred())
			objects, err := world.Kubectl(ctx, "", "get", "rconn,rep,events,leases", "--all-namespaces", "-o", "yaml")
			Expect(err).NotTo(HaveOccurred())
			return log + objects
		}
		s := newStage(ctx)
		s.reporter.AllowToken(token, "")
		s.kubectl(ctx, "create", "secret", "generic", "token", "--from-literal=token="+token)
		s.kubectl(ctx, "label", "secret", "token", "reporter.lerian.studio/credentials=true")
		Expect(world.Create(ctx, s.securedEndpoint())).To(Succeed())
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.created(ctx, "ledger", id)
		mend := s.reporter.Inject(reportertest.Fault{Do: reportertest.Answer(409, http.Header{"Content-Type": {"application/json"}},
			`{"code":"FET-1099","title":"`+token+`","message":"`+token+`"}`)})
		askNow(ctx, s.endpoint("default", ""))
		Eventually(ctx, reasonOf(s.endpoint("default", ""), "Ready")).Should(Equal("Conflict"))
		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("Conflict"))
		Expect(strings.Contains(shown(), "409 FET-1099 (…)")).To(BeTrue(), "the answer is shown")
		Expect(strings.Contains(shown(), token)).To(BeFalse(), "the token that it repeats is not")
		mend()

		other := newStage(ctx)
		manager, endpoint := other.withAccessManager(ctx, clientSecret)
		manager.AddClient("operator", "another", "")
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("Unauthorized"))
		Expect(strings.Contains(shown(), clientSecret)).To(BeFalse())
	})
})
