// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

var _ = Describe("Metrics", func() {
	It("are for those who may read them, over TLS", func(ctx context.Context) {
		s := newStage(ctx)
		token := func(account string) string {
			s.kubectl(ctx, "create", "serviceaccount", account)
			return strings.TrimSpace(s.kubectl(ctx, "create", "token", account))
		}
		prometheus, stranger := token("prometheus"), token("stranger")
		binding := s.namespace + "-metrics"
		s.kubectl(ctx, "create", "clusterrolebinding", binding, "--clusterrole=reporter-operator-metrics-reader", "--serviceaccount="+s.namespace+":prometheus")
		DeferCleanup(func(ctx context.Context) { s.kubectl(ctx, "delete", "clusterrolebinding", binding) })
		// Whom the operator has seen refused it refuses for a while.
		Eventually(ctx, allowed(authorizationv1.SubjectAccessReviewSpec{User: "system:serviceaccount:" + s.namespace + ":prometheus",
			NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: "/metrics", Verb: "get"}})).Should(BeTrue())

		s.withEndpoint(ctx).created(ctx, "ledger", s.reporter.Add(reportertest.Connection{}).ID)
		address := freeAddress(ctx)
		restartOperator(ctx, "--metrics-bind-address="+address)
		DeferCleanup(func(ctx context.Context) { restartOperator(ctx) })
		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")

		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		DeferCleanup(transport.CloseIdleConnections)
		scrape := func(scheme, token string) func(context.Context) (string, error) {
			return func(ctx context.Context) (string, error) {
				request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+"/metrics", nil)
				if err != nil {
					return "", err
				}
				if token != "" {
					request.Header.Set("Authorization", "Bearer "+token)
				}
				response, err := transport.RoundTrip(request)
				if err != nil {
					return "", err
				}
				defer response.Body.Close()
				body, err := io.ReadAll(response.Body)
				return fmt.Sprintf("%d %s", response.StatusCode, body), err
			}
		}
		Eventually(ctx, scrape("https", "")).Should(Equal("401 Unauthorized\n"))
		Expect(scrape("https", "made-up")(ctx)).To(HaveSuffix("Authentication failed\n"))
		Expect(scrape("https", stranger)(ctx)).To(Equal("403 Authorization denied for user system:serviceaccount:" + s.namespace + ":stranger\n"))
		Expect(scrape("https", prometheus)(ctx)).To(And(HavePrefix("200 "),
			ContainSubstring(`reporter_operator_connections_left_behind_total{cause="Retained"} `),
			ContainSubstring("reporter_operator_connections_deleted_total "),
			ContainSubstring(`reporter_operator_endpoint_up{endpoint_name="default",endpoint_namespace="`+s.namespace+`",reason="Available"} 1`),
			ContainSubstring(`reporter_operator_endpoint_breaker_open{endpoint_name="default",endpoint_namespace="`+s.namespace+`"} 0`),
			ContainSubstring(`reporter_operator_requests_total{endpoint_name="default",endpoint_namespace="`+s.namespace+`",operation="delete",outcome="ok"} 1`),
			Not(MatchRegexp(s.namespace+".*ledger"))), "only what waits for long is named, the first of an endpoint and a reason")
		plain, err := scrape("http", prometheus)(ctx)
		Expect(err).To(Or(Not(HaveOccurred()), MatchError(syscall.ECONNRESET), MatchError(io.EOF)), "without TLS it says no, or breaks off")
		Expect(plain).To(Or(BeEmpty(), HavePrefix("400 ")))
	})
})

// freeAddress is one on loopback that nobody listens on.
func freeAddress(ctx context.Context) string {
	GinkgoHelper()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	defer listener.Close()
	return listener.Addr().String()
}
