// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

var _ = Describe("Many deletions", func() {
	It("ask a Reporter no more at the same time than spec.maxInFlight says, and hold up no other", func(ctx context.Context) {
		s := newStage(ctx)
		endpoint := s.endpoint("default", s.server.URL)
		endpoint.Spec.MaxInFlight = 2
		Expect(world.Create(ctx, endpoint)).To(Succeed())
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("Available"))
		ids := s.populate(ctx, s.namespace, 12, nil)
		Eventually(ctx, seen(s.namespace)).Should(BeTrue())

		var inside, most atomic.Int32
		open := make(chan struct{})
		s.reporter.Inject(reportertest.Fault{Method: http.MethodDelete, Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
			now := inside.Add(1)
			defer inside.Add(-1)
			for before := most.Load(); now > before && !most.CompareAndSwap(before, now); before = most.Load() {
				continue
			}
			<-open
			act(w, req)
		}})
		s.deleteAll(ctx)
		Eventually(ctx, inside.Load).Should(BeEquivalentTo(2))

		other := newStage(ctx).withEndpoint(ctx)
		id := other.reporter.Add(reportertest.Connection{}).ID
		other.created(ctx, "ledger", id)
		other.deleteConnections(ctx, "ledger")
		other.expectGone(ctx, "ledger")
		Expect(other.reporter.Alive(id)).To(BeFalse())
		Expect(inside.Load()).To(BeEquivalentTo(2))
		Expect(s.alive(ids)).To(HaveLen(12))

		close(open)
		Eventually(ctx, func() []string { return s.alive(ids) }).Should(BeEmpty())
		Eventually(ctx, s.connections).Should(BeEmpty())
		Expect(most.Load()).To(BeEquivalentTo(2))
		for i, id := range ids {
			Expect(s.asked(http.MethodDelete, id)).To(Equal(1))
			name := fmt.Sprintf("connection-%02d", i)
			Eventually(ctx, s.writesAbout(name)).Should(Equal([]string{"patch reporterconnections/status " + name, "patch reporterconnections " + name}))
		}
	})
})
