// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// withAccessManager puts an Access Manager beside the stage's Reporter, and an endpoint `default` that logs in there.
func (s *stage) withAccessManager(ctx context.Context, secret string) (*reportertest.AccessManager, *v1alpha1.ReporterEndpoint) {
	GinkgoHelper()
	manager := reportertest.NewAccessManager(s.reporter)
	server := reportertest.Serve(GinkgoT(), manager)
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
		s.kubectl(ctx, "delete", "rconn", "--all")
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
		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("Unauthorized"))

		s.kubectl(ctx, "patch", "secret", "m2m", "-p", `{"stringData":{"clientSecret":"right-secret-value"}}`)
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
		s.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p", `{"spec":{"suspend":true}}`)
		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("Suspended"))

		s.kubectl(ctx, "patch", "secret", "m2m", "-p", `{"stringData":{"clientId":"other","clientSecret":"other-secret-value"}}`)
		s.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p", `{"spec":{"suspend":false}}`)
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("AbsenceUnverified"))
		Expect(s.reporter.Alive(id)).To(BeTrue())
		s.kubectl(ctx, "patch", "secret", "m2m", "-p", `{"stringData":{"clientId":"operator","clientSecret":"acme-secret-value"}}`)
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})
})

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
		asked := s.asked(http.MethodGet, rc.Spec.ConnectionID)

		s.kubectl(ctx, "annotate", "secret", "token", "example.com/note=x")
		s.kubectl(ctx, "annotate", "rep", "default", "example.com/note=x")
		later := s.connection("later", s.reporter.Add(reportertest.Connection{}).ID)
		Expect(world.Create(ctx, later)).To(Succeed())
		Eventually(ctx, reasonOf(later, "Ready")).Should(Equal("Unauthorized"), "the operator has gone on")
		Expect(s.asked(http.MethodGet, rc.Spec.ConnectionID)).To(Equal(asked))

		s.reporter.AllowToken("other", "")
		s.kubectl(ctx, "patch", "secret", "token", "-p", `{"stringData":{"token":"other"}}`)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
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

var _ = Describe("A Reporter over TLS", func() {
	It("is verified with the authorities of its endpoint, and each failure has a message of its own", func(ctx context.Context) {
		s := newStage(ctx)
		server := httptest.NewTLSServer(s.reporter) // its certificate is for 127.0.0.1 and example.com
		DeferCleanup(server.Close)
		bundle := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
		endpoint := s.endpoint("default", server.URL)
		Expect(world.Create(ctx, endpoint)).To(Succeed())
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("ReporterUnavailable"))
		Expect(mustCondition(ctx, endpoint, "Ready").Message).To(ContainSubstring("signed by an authority that is not trusted"))

		endpoint.Spec.TLS = v1alpha1.EndpointTLS{CABundle: bundle, ServerName: "reporter.internal"}
		Expect(world.Update(ctx, endpoint)).To(Succeed())
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("ReporterUnavailable"))
		Expect(mustCondition(ctx, endpoint, "Ready").Message).To(ContainSubstring("the certificate is not valid for reporter.internal"))

		endpoint.Spec.TLS.ServerName = "example.com"
		Expect(world.Update(ctx, endpoint)).To(Succeed())
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("Available"))
		id := s.reporter.Add(reportertest.Connection{}).ID
		s.created(ctx, "ledger", id)
		s.kubectl(ctx, "delete", "rconn", "ledger")
		Expect(s.reporter.Alive(id)).To(BeFalse())

		plain := s.endpoint("plain", strings.Replace(s.server.URL, "http://", "https://", 1))
		Expect(world.Create(ctx, plain)).To(Succeed())
		Eventually(ctx, reasonOf(plain, "Ready")).Should(Equal("ReporterUnavailable"))
		Expect(mustCondition(ctx, plain, "Ready").Message).To(ContainSubstring("does not speak TLS: try http://"))
	})
})

var _ = Describe("An administrator", Serial, Ordered, func() {
	restartWith := func(ctx context.Context, args ...string) {
		GinkgoHelper()
		operator.Kill()
		var err error
		operator, err = world.StartOperator(ctx, logFile, args...)
		Expect(err).NotTo(HaveOccurred())
	}
	AfterAll(func(ctx context.Context) { restartWith(ctx) })

	It("keeps endpoints from addresses of the machine itself, whatever name leads there", func(ctx context.Context) {
		restartWith(ctx, "--allow-loopback-endpoints=false")
		s := newStage(ctx)
		for name, url := range map[string]string{"address": s.server.URL, "name": strings.Replace(s.server.URL, "127.0.0.1", "localhost", 1)} {
			endpoint := s.endpoint(name, url)
			Expect(world.Create(ctx, endpoint)).To(Succeed())
			Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("InvalidEndpoint"))
			Expect(mustCondition(ctx, endpoint, "Ready").Message).To(ContainSubstring("has an address that is not spoken to: a loopback one (but for --allow-loopback-endpoints)"))
		}
		Expect(s.server.Accepted()).To(BeZero())
	})

	It("names the hosts that endpoints may lead to, also for the login", func(ctx context.Context) {
		restartWith(ctx, "--allowed-endpoint-hosts=*.svc.cluster.local,127.0.0.1")
		s := newStage(ctx).withEndpoint(ctx)
		elsewhere := s.endpoint("elsewhere", "https://reporter.example.com")
		Expect(world.Create(ctx, elsewhere)).To(Succeed())
		Eventually(ctx, reasonOf(elsewhere, "Ready")).Should(Equal("InvalidEndpoint"))
		Expect(mustCondition(ctx, elsewhere, "Ready").Message).To(ContainSubstring(
			"the operator is not allowed to speak to host reporter.example.com: have it added to --allowed-endpoint-hosts"))
		s.credentials(ctx)
		login := s.endpoint("login", s.server.URL)
		login.Spec.Auth = &v1alpha1.EndpointAuth{AccessManager: &v1alpha1.AccessManagerAuth{URL: "https://login.example.com", SecretRef: v1alpha1.SecretReference{Name: "token"}}}
		s.kubectl(ctx, "patch", "secret", "token", "-p", `{"stringData":{"clientId":"a","clientSecret":"b"}}`)
		Expect(world.Create(ctx, login)).To(Succeed())
		Eventually(ctx, reasonOf(login, "Ready")).Should(Equal("InvalidEndpoint"))
		Expect(mustCondition(ctx, login, "Ready").Message).To(ContainSubstring("the Access Manager: the operator is not allowed to speak to host login.example.com"))
	})

	It("is told what a flag is missing", func(ctx context.Context) {
		operator.Kill()
		var err error
		operator, err = world.StartOperator(ctx, logFile, "--use-proxy-from-environment")
		Expect(err).NotTo(HaveOccurred())
		Eventually(ctx, operator.Done()).Should(BeClosed())
		Expect(operatorLog()).To(ContainSubstring("--use-proxy-from-environment needs --allowed-endpoint-hosts"))
	})
})
