// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

var _ = Describe("A Reporter that is down", func() {
	It("is held while Reporter hangs, and goes when it answers again", func(ctx context.Context) {
		s := newStage(ctx)
		endpoint := s.endpoint("default", s.server.URL)
		endpoint.Spec.Timeout = nil
		Expect(world.Create(ctx, endpoint)).To(Succeed())
		Expect(endpoint.Spec.Timeout).To(HaveValue(Equal(metav1.Duration{Duration: 10 * time.Second})), "the API server defaults it")
		s.patchEndpoint(ctx, `{"spec":{"timeout":"1s"}}`)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.created(ctx, "ledger", id)
		mend := s.reporter.Inject(reportertest.Fault{Method: http.MethodDelete, Do: reportertest.Hang()})

		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("ReporterUnavailable"))
		Expect(mustCondition(ctx, rc, "DeletionBlocked").Message).To(ContainSubstring("no answer within 1s"))
		mend()
		askNow(ctx, rc)
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("goes on at once when a Reporter that was down is back, and its endpoint tells of both", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		endpoint := s.endpoint("default", "")
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.created(ctx, "ledger", id)
		s.server.Down()

		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("ReporterUnavailable"))
		Expect(mustCondition(ctx, rc, "DeletionBlocked").Message).To(ContainSubstring("connection refused"))
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("ReporterUnavailable"))

		Eventually(ctx, s.server.Up).Should(Succeed())
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeFalse())
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("Available"))
	})

	It("are told once that their Reporter is down, leave it alone, and go when it is back", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		sibling := s.endpoint("sibling", s.server.URL)
		Expect(world.Create(ctx, sibling)).To(Succeed())
		Eventually(ctx, reasonOf(sibling, "Ready")).Should(Equal("Available")) // else a connection may say first that there is none
		ids := s.populate(ctx, s.namespace, 20, func(rc *v1alpha1.ReporterConnection) {
			if strings.HasSuffix(rc.Name, "5") {
				rc.Spec.EndpointRef.Name = "sibling"
			}
		})
		Eventually(ctx, seen(s.namespace)).Should(BeTrue())
		unavailable := s.reporter.Inject(reportertest.Fault{Do: reportertest.ErrorAnswer(503, "FET-0003", "Service Unavailable", "later")})
		askNow(ctx, sibling) // with one answer of 503, all who use it know
		Eventually(ctx, reasonOf(sibling, "Ready")).Should(Equal("ReporterUnavailable"))
		s.reporter.ResetRequests()

		start := time.Now()
		inVain := func() int { return 2 + int(time.Since(start)/time.Second) } // one is tried now and then, and no more than one a second
		s.deleteAll(ctx)
		Eventually(ctx, blockedReasons(s.namespace)).Should(And(HaveLen(20), HaveEach("ReporterUnavailable")))
		asked := func() (total int) {
			for _, id := range ids {
				total += s.asked(http.MethodDelete, id)
			}
			return total
		}
		Expect(asked()).To(BeNumerically("<=", inVain()))
		Expect(s.kubectl(ctx, "get", "rconn")).To(ContainSubstring("ReporterUnavailable"))

		unavailable()
		most := len(ids) + inVain()
		Eventually(ctx, s.connections).Should(BeEmpty())
		Expect(s.alive(ids)).To(BeEmpty())
		Expect(asked()).To(BeNumerically("<=", most)) // each once, but for those that were tried in vain
		for i := range ids {
			name := fmt.Sprintf("connection-%02d", i)
			Eventually(ctx, s.writesAbout(name)).Should(Equal([]string{
				"patch reporterconnections/status " + name, "patch reporterconnections/status " + name, "patch reporterconnections " + name}))
		}
		// Both endpoints notice, though one alone has asked.
		for _, endpoint := range []*v1alpha1.ReporterEndpoint{s.endpoint("default", ""), sibling} {
			Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("Available"))
		}
	})

	It("writes one status although a Reporter that is down answers differently each time, and does not call it twice as often", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.created(ctx, "ledger", id)
		mend := s.reporter.Inject(reportertest.Fault{Method: http.MethodDelete, Do: inTurn(
			reportertest.Answer(503, nil, ""), reportertest.Reset(), reportertest.Answer(502, nil, ""))})
		Expect(world.Delete(ctx, rc)).To(Succeed())
		for asked := 1; asked <= 9; asked++ {
			Eventually(ctx, func() int { return s.asked(http.MethodDelete, id) }).Should(BeNumerically(">=", asked))
			askNow(ctx, rc)
		}
		Eventually(ctx, func() int { return s.asked(http.MethodDelete, id) }).Should(BeNumerically(">=", 10))
		mend()
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Eventually(ctx, s.writes).Should(Equal([]string{
			"patch reporterendpoints/status default", "patch reporterconnections/status ledger",
			"patch reporterconnections/status ledger", "patch reporterconnections ledger"}))
		Expect(s.reporter.Requests()).To(HaveLen(s.asked(http.MethodDelete, id)+s.asked(http.MethodGet, id)+s.checks()), "nothing else was asked")
		Expect(s.checks()).To(BeNumerically("<", s.asked(http.MethodDelete, id)))
	})

	It("tells an endpoint that is asked to wait before it was ever checked", func(ctx context.Context) {
		s := newStage(ctx)
		s.reporter.Inject(reportertest.Fault{Times: 1, Do: reportertest.Answer(429, http.Header{"Retry-After": {"1"}}, "")})
		killOperator()
		endpoint := s.endpoint("default", s.server.URL)
		endpoint.Finalizers = []string{"reporter.lerian.studio/in-use"} // which no policy puts on before Kubernetes 1.36
		Expect(world.Create(ctx, endpoint)).To(Succeed())
		s.populate(ctx, s.namespace, 1, nil)
		Expect(world.Delete(ctx, endpoint)).To(Succeed())
		startOperator(ctx)
		Eventually(ctx, reasonOf(endpoint, "DeletionBlocked")).Should(Equal("InUse"))
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("Available"))
		Expect(operatorLog()).NotTo(ContainSubstring("panic"))
	})
})
