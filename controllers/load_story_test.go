// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

var _ = Describe("Many deletions", func() {
	It("ask a Reporter no more at the same time than spec.maxInFlight says, and hold up no other", func(ctx context.Context) {
		s := newStage(ctx)
		endpoint := s.endpoint("default", s.server.URL)
		endpoint.Spec.MaxInFlight = 2
		Expect(world.Create(ctx, endpoint)).To(Succeed())
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
		for i := range ids {
			name := fmt.Sprintf("connection-%02d", i)
			Eventually(ctx, s.writesAbout(name, 0)).Should(ContainElement("patch reporterconnections/status "+name), "the audit log has caught up")
		}
		before := len(s.writes())
		s.kubectl(ctx, "delete", "rconn", "--all", "--wait=false")
		Eventually(ctx, inside.Load).Should(BeEquivalentTo(2))

		other := newStage(ctx).withEndpoint(ctx)
		id := other.reporter.Add(reportertest.Connection{}).ID
		other.created(ctx, "ledger", id)
		other.kubectl(ctx, "delete", "rconn", "ledger")
		Expect(other.reporter.Alive(id)).To(BeFalse())
		Expect(inside.Load()).To(BeEquivalentTo(2))
		Expect(s.alive(ids)).To(HaveLen(12))

		close(open)
		Eventually(ctx, func() []string { return s.alive(ids) }).Should(BeEmpty())
		Eventually(ctx, func(ctx context.Context) (string, error) {
			return world.Kubectl(ctx, "", "--namespace", s.namespace, "get", "rconn")
		}).Should(BeEmpty())
		Expect(most.Load()).To(BeEquivalentTo(2))
		for i, id := range ids {
			Expect(s.asked(http.MethodDelete, id)).To(Equal(1))
			name := fmt.Sprintf("connection-%02d", i)
			Eventually(ctx, s.writesAbout(name, before)).Should(ConsistOf("patch reporterconnections " + name))
		}
	})

	It("are told once that their Reporter is down, leave it alone, and go when it is back", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		sibling := s.endpoint("sibling", s.server.URL)
		Expect(world.Create(ctx, sibling)).To(Succeed())
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
		before := len(s.writes())

		s.kubectl(ctx, "delete", "rconn", "--all", "--wait=false")
		Eventually(ctx, blockedReasons(s.namespace)).Should(And(HaveLen(20), HaveEach("ReporterUnavailable")))
		for _, id := range ids {
			Expect(s.asked(http.MethodDelete, id)).To(BeZero())
		}
		Expect(s.kubectl(ctx, "get", "rconn")).To(ContainSubstring("ReporterUnavailable"))

		unavailable()
		Eventually(ctx, func(ctx context.Context) (string, error) {
			return world.Kubectl(ctx, "", "--namespace", s.namespace, "get", "rconn")
		}).Should(BeEmpty())
		Expect(s.alive(ids)).To(BeEmpty())
		for _, id := range ids {
			Expect(s.asked(http.MethodDelete, id)).To(Equal(1))
		}
		for i := range ids {
			name := fmt.Sprintf("connection-%02d", i)
			Eventually(ctx, s.writesAbout(name, before)).Should(ConsistOf("patch reporterconnections/status "+name, "patch reporterconnections "+name))
		}
		// Both endpoints notice, though one alone has asked.
		for _, endpoint := range []*v1alpha1.ReporterEndpoint{s.endpoint("default", ""), sibling} {
			Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("Available"))
		}
	})
})

// blockedReasons polls for what the deletions of a namespace are held.
func blockedReasons(namespace string) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		var all v1alpha1.ReporterConnectionList
		err := world.List(ctx, &all, client.InNamespace(namespace))
		var reasons []string
		for i := range all.Items {
			for _, condition := range all.Items[i].Status.Conditions {
				if condition.Type == "DeletionBlocked" {
					reasons = append(reasons, condition.Reason)
				}
			}
		}
		return reasons, err
	}
}

// writesAbout polls the operator's writes to one resource after the first so many in the namespace.
func (s *stage) writesAbout(name string, before int) func() []string {
	return func() []string {
		var about []string
		for _, write := range s.writes()[before:] {
			if strings.HasSuffix(write, " "+name) {
				about = append(about, write)
			}
		}
		return about
	}
}
