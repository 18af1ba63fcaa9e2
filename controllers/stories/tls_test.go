// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"encoding/pem"
	"net/http/httptest"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

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
		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")
		Expect(s.reporter.Alive(id)).To(BeFalse())

		plain := s.endpoint("plain", strings.Replace(s.server.URL, "http://", "https://", 1))
		Expect(world.Create(ctx, plain)).To(Succeed())
		Eventually(ctx, reasonOf(plain, "Ready")).Should(Equal("ReporterUnavailable"))
		Expect(mustCondition(ctx, plain, "Ready").Message).To(ContainSubstring("does not speak TLS: try http://"))
	})
})
