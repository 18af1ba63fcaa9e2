// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

var _ = Describe("A live ReporterConnection", func() {
	It("has its finalizer before Reporter is asked, and shows what Reporter shows", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{
			ConfigName: "ledger-db", ProductName: "ledger", Type: "POSTGRESQL", Host: "db.internal", Port: 5432, DatabaseName: "ledger",
		}).ID
		rc := s.connection("ledger", id)
		finalizers := whenAsked(s, http.MethodGet, id, finalizersOf(s.connection("ledger", id)))

		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(finalizers()).To(Equal([]string{"reporter.lerian.studio/connection"}), "before Reporter is asked")
		Expect(rc.Spec.EndpointRef.Name).To(Equal("default"))
		Expect(rc.Spec.DeletionPolicy).To(BeEquivalentTo("Delete"))
		Expect(rc.Status.ObservedIn).To(HaveValue(Equal(v1alpha1.ObservedIn{URL: s.server.URL})))
		Expect(rc.Status.Connection).To(HaveValue(And(
			HaveField("ConfigName", "ledger-db"), HaveField("ProductName", "ledger"), HaveField("Type", "POSTGRESQL"),
			HaveField("Host", "db.internal"), HaveField("Port", int32(5432)), HaveField("DatabaseName", "ledger"),
			HaveField("CreatedAt", Not(BeNil())), HaveField("UpdatedAt", Not(BeNil())))))
		Expect(rc.Status.Conditions).To(HaveLen(1))
		Expect(rc.Status.ObservedGeneration).To(Equal(rc.Generation))

		Eventually(ctx, s.writes).Should(Equal([]string{
			"patch reporterendpoints/status default", "patch reporterconnections/status ledger"}))
		Expect(s.asked(http.MethodGet, id)).To(Equal(1), "its own writes do not wake it")
		Expect(s.kubectl(ctx, "get", "rconn", "-o", "wide")).To(MatchRegexp(
			`(?m)^NAME\s+CONNECTION\s+READY\s+STATUS\s+AGE\s+ID\s+ENDPOINT\s+TYPE\s+HOST\nledger\s+ledger-db\s+True\s+Available\s+\d+s\s+` + id + `\s+default\s+POSTGRESQL\s+db.internal$`))
		Expect(s.kubectl(ctx, "get", "reporter")).To(And(ContainSubstring("reporterconnection.reporter.lerian.studio/ledger"),
			ContainSubstring("reporterendpoint.reporter.lerian.studio/default")))
	})

	It("is looked up again when somebody asks, and tells that its connection is gone", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.created(ctx, "ledger", id)
		s.reporter.Delete(id)

		s.kubectl(ctx, "annotate", "rconn", "ledger", "reporter.lerian.studio/requestedAt=now")
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("ConnectionNotFound"))
		Expect(mustCondition(ctx, rc, "Ready").Message).To(ContainSubstring("Soft deletion is final"))
		Expect(rc.Status.ObservedIn).NotTo(BeNil(), "it is still known where it was seen")
	})

	It("gets its finalizer back when a replace strips it", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		rc := s.created(ctx, "ledger", s.reporter.Add(reportertest.Connection{}).ID)
		s.patchConnection(ctx, "ledger", `{"metadata":{"finalizers":null}}`)
		Eventually(ctx, finalizersOf(rc)).Should(Equal([]string{"reporter.lerian.studio/connection"}))
	})

	It("keeps its last Ready while Reporter is down, which the endpoint tells", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		endpoint := s.endpoint("default", "")
		rc := s.created(ctx, "ledger", s.reporter.Add(reportertest.Connection{}).ID)
		s.server.Down()

		askNow(ctx, rc)
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("ReporterUnavailable"))
		Expect(mustCondition(ctx, rc, "Ready").Reason).To(Equal("Available"))
		Eventually(ctx, s.server.Up).Should(Succeed())
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("Available"))
	})

	It("says what is missing, and finds it when it appears: an endpoint", func(ctx context.Context) {
		s := newStage(ctx)
		rc := s.connection("ledger", s.reporter.Add(reportertest.Connection{}).ID)
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("EndpointNotFound"))
		Expect(mustCondition(ctx, rc, "Ready").Message).To(Equal(`ReporterEndpoint "default" does not exist in namespace "` + s.namespace +
			`". Create it, or name another in spec.endpointRef`))
		s.withEndpoint(ctx)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
	})

	It("says what is missing, and finds it when it appears: a Secret, its label, a key, a token that is accepted", func(ctx context.Context) {
		s := newStage(ctx)
		s.reporter.AllowToken("right", "")
		endpoint := s.endpoint("default", s.server.URL)
		endpoint.Spec.Auth = &v1alpha1.EndpointAuth{BearerToken: &v1alpha1.BearerTokenAuth{SecretRef: v1alpha1.SecretKeyReference{Name: "token", Key: "token"}}}
		Expect(world.Create(ctx, endpoint)).To(Succeed())
		rc := s.connection("ledger", s.reporter.Add(reportertest.Connection{}).ID)
		Expect(world.Create(ctx, rc)).To(Succeed())

		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("SecretNotFound"))
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("SecretNotFound"))
		Expect(mustCondition(ctx, endpoint, "Ready").Message).To(Equal(`Secret "token" does not exist. Create it, labelled reporter.lerian.studio/credentials=true`))

		s.kubectl(ctx, "create", "secret", "generic", "token", "--from-literal=other=right")
		askNow(ctx, rc)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("SecretNotGranted"))
		Expect(mustCondition(ctx, rc, "Ready").Message).To(ContainSubstring(
			"kubectl label secret --namespace " + s.namespace + " token reporter.lerian.studio/credentials=true"))

		s.kubectl(ctx, "label", "secret", "token", "reporter.lerian.studio/credentials=true")
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("SecretNotFound"))
		Expect(mustCondition(ctx, rc, "Ready").Message).To(ContainSubstring(`has no key "token"`))

		s.patchSecret(ctx, "token", `{"stringData":{"token":"wrong\n"}}`)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Unauthorized"))
		s.patchSecret(ctx, "token", `{"stringData":{"token":"right\n"}}`)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("Available"))
	})

	It("says that what answers is not Reporter", func(ctx context.Context) {
		s := newStage(ctx)
		s.reporter.Inject(reportertest.Fault{Do: reportertest.LoginPage()})
		endpoint := s.endpoint("default", s.server.URL)
		Expect(world.Create(ctx, endpoint)).To(Succeed())
		rc := s.connection("ledger", s.reporter.Add(reportertest.Connection{}).ID)
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("UnexpectedResponse"))
		Expect(mustCondition(ctx, rc, "Ready").Status).To(BeEquivalentTo("Unknown"))
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("UnexpectedResponse"))
		Expect(mustCondition(ctx, endpoint, "Ready").Message).To(ContainSubstring("Check spec.url of the ReporterEndpoint"))
	})

	It("names the path where the base URL leads to another part of the service", func(ctx context.Context) {
		s := newStage(ctx)
		endpoint := s.endpoint("default", s.server.URL+"/elsewhere")
		Expect(world.Create(ctx, endpoint)).To(Succeed())
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("UnexpectedResponse"))
		Expect(mustCondition(ctx, endpoint, "Ready").Message).To(ContainSubstring("this is not the connections API"))
	})
})
