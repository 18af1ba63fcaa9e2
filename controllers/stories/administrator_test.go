// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

var _ = Describe("An administrator", Ordered, func() {
	AfterAll(func(ctx context.Context) { restartOperator(ctx) })

	It("keeps endpoints from addresses of the machine itself, whatever name leads there", func(ctx context.Context) {
		restartOperator(ctx, "--allow-loopback-endpoints=false")
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
		restartOperator(ctx, "--allowed-endpoint-hosts=*.svc.cluster.local,127.0.0.1")
		s := newStage(ctx).withEndpoint(ctx)
		elsewhere := s.endpoint("elsewhere", "https://reporter.example.com")
		Expect(world.Create(ctx, elsewhere)).To(Succeed())
		Eventually(ctx, reasonOf(elsewhere, "Ready")).Should(Equal("InvalidEndpoint"))
		Expect(mustCondition(ctx, elsewhere, "Ready").Message).To(ContainSubstring(
			"the operator is not allowed to speak to host reporter.example.com: have it added to --allowed-endpoint-hosts"))
		s.credentials(ctx)
		login := s.endpoint("login", s.server.URL)
		login.Spec.Auth = &v1alpha1.EndpointAuth{AccessManager: &v1alpha1.AccessManagerAuth{URL: "https://login.example.com", SecretRef: v1alpha1.SecretReference{Name: "token"}}}
		s.patchSecret(ctx, "token", `{"stringData":{"clientId":"a","clientSecret":"b"}}`)
		Expect(world.Create(ctx, login)).To(Succeed())
		Eventually(ctx, reasonOf(login, "Ready")).Should(Equal("InvalidEndpoint"))
		Expect(mustCondition(ctx, login, "Ready").Message).To(ContainSubstring("the Access Manager: the operator is not allowed to speak to host login.example.com"))
	})

	It("is told what a flag is missing", func(ctx context.Context) {
		restartOperator(ctx, "--use-proxy-from-environment")
		ending = true
		Eventually(ctx, operator.Done()).Should(BeClosed())
		Expect(operatorLog()).To(ContainSubstring("--use-proxy-from-environment needs --allowed-endpoint-hosts"))
	})
})
