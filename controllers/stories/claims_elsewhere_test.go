// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

var _ = Describe("A connection that is claimed in another namespace", func() {
	const allowAll = `{"spec":{"allowedNamespaces":{"from":"All"}}}`

	It("survives a move to another namespace with the new resource first", func(ctx context.Context) {
		s, other := newStages(ctx)
		s.withEndpoint(ctx)
		s.patchEndpoint(ctx, `{"spec":{"allowedNamespaces":{"from":"All"}}}`)
		id := s.reporter.Add(reportertest.Connection{}).ID
		older := s.created(ctx, "ledger", id)
		newer := other.connection("ledger", id)
		newer.Spec.EndpointRef.Namespace = s.namespace
		Expect(world.Create(ctx, newer)).To(Succeed())
		Eventually(ctx, reasonOf(newer, "Ready")).Should(Equal("Duplicate"))
		Expect(mustCondition(ctx, newer, "Ready").Message).To(And(
			ContainSubstring("a ReporterConnection in another namespace claims it too"), Not(ContainSubstring(s.namespace))))

		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")
		Expect(gone(older)(ctx)).To(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeTrue())
		other.deleteConnections(ctx, "ledger")
		other.expectGone(ctx, "ledger")
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("hinders nobody in another namespace with a claim that was never proved", func(ctx context.Context) {
		s, other := newStage(ctx).withEndpoint(ctx), newStage(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		s.created(ctx, "ledger", id)
		notAllowed := other.connection("not-allowed", id)
		notAllowed.Spec.EndpointRef.Namespace = s.namespace
		Expect(world.Create(ctx, notAllowed)).To(Succeed())
		Eventually(ctx, reasonOf(notAllowed, "Ready")).Should(Equal("EndpointNotFound"))
		Expect(mustCondition(ctx, notAllowed, "Ready").Message).To(ContainSubstring(
			`does not exist in namespace "` + s.namespace + `", or does not allow namespace "` + other.namespace + `"`))
		other.withEndpoint(ctx)
		elsewhere := other.connection("elsewhere", id)
		Expect(world.Create(ctx, elsewhere)).To(Succeed())
		Eventually(ctx, reasonOf(elsewhere, "Ready")).Should(Equal("ConnectionNotFound"))

		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("is claimed no more from another namespace whose grant was withdrawn", func(ctx context.Context) {
		s, other := newStages(ctx)
		s.withEndpoint(ctx)
		s.patchEndpoint(ctx, `{"spec":{"allowedNamespaces":{"from":"Selector","selector":{"matchLabels":{"team":"ledger"}}}}}`)
		id := s.reporter.Add(reportertest.Connection{}).ID
		s.created(ctx, "ledger", id)
		guest := other.connection("guest", id)
		guest.Spec.EndpointRef.Namespace = s.namespace
		Expect(world.Create(ctx, guest)).To(Succeed())
		Eventually(ctx, reasonOf(guest, "Ready")).Should(Equal("EndpointNotFound"))
		label(ctx, other.namespace, `{"team":"ledger"}`)
		Eventually(ctx, reasonOf(guest, "Ready")).Should(Equal("Duplicate"))
		s.patchEndpoint(ctx, `{"spec":{"allowedNamespaces":{"from":"Same","selector":null}}}`)
		Eventually(ctx, reasonOf(guest, "Ready")).Should(Equal("EndpointNotFound"))

		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("takes no claim for one whose namespace has lost the label that its endpoint allows it by", func(ctx context.Context) {
		s, other := newStages(ctx)
		s.withEndpoint(ctx)
		s.patchEndpoint(ctx, `{"spec":{"allowedNamespaces":{"from":"Selector","selector":{"matchLabels":{"team":"ledger"}}}}}`)
		label(ctx, other.namespace, `{"team":"ledger"}`)
		id := s.reporter.Add(reportertest.Connection{}).ID
		s.created(ctx, "ledger", id)
		guest := other.connection("guest", id)
		guest.Spec.EndpointRef.Namespace = s.namespace
		Expect(world.Create(ctx, guest)).To(Succeed())
		Eventually(ctx, reasonOf(guest, "Ready")).Should(Equal("Duplicate"))

		label(ctx, other.namespace, `{"team":null}`)
		Eventually(ctx, reasonOf(guest, "Ready")).Should(Equal("EndpointNotFound"))
		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("keeps a connection that is claimed elsewhere although the endpoint has just been given another URL", func(ctx context.Context) {
		s, other := newStage(ctx).withEndpoint(ctx), newStage(ctx)
		s.patchEndpoint(ctx, allowAll)
		ids := s.populate(ctx, s.namespace, 6, nil)
		for i, id := range ids {
			guest := other.connection(fmt.Sprintf("guest-%d", i), id)
			guest.Spec.EndpointRef.Namespace = s.namespace
			Expect(world.Create(ctx, guest)).To(Succeed())
		}
		Eventually(ctx, seen(s.namespace)).Should(BeTrue())
		Eventually(ctx, seen(other.namespace)).Should(BeTrue())

		s.patchEndpoint(ctx, `{"spec":{"url":"`+strings.Replace(s.server.URL, "127.0.0.1", "localhost", 1)+`"}}`)
		s.deleteAll(ctx)
		Eventually(ctx, s.connections).Should(BeEmpty())
		Expect(s.alive(ids)).To(Equal(ids))
	})

	It("keeps a connection whose new claim elsewhere was made while the operator was down", func(ctx context.Context) {
		s, other := newStage(ctx).withEndpoint(ctx), newStage(ctx)
		s.patchEndpoint(ctx, allowAll)
		ids := s.populate(ctx, s.namespace, 3, nil)
		Eventually(ctx, seen(s.namespace)).Should(BeTrue())
		killOperator()
		for i, id := range ids {
			moved := other.connection(fmt.Sprintf("moved-%d", i), id)
			moved.Spec.EndpointRef.Namespace = s.namespace
			Expect(world.Create(ctx, moved)).To(Succeed())
		}
		s.deleteAll(ctx)
		startOperator(ctx)
		Eventually(ctx, s.connections).Should(BeEmpty())
		Expect(s.alive(ids)).To(Equal(ids))
	})

	It("holds a deletion while it is unclear whether a claim elsewhere holds", func(ctx context.Context) {
		s, other := newStage(ctx).withEndpoint(ctx), newStage(ctx)
		s.patchEndpoint(ctx, allowAll)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.created(ctx, "ledger", id)
		guest := other.connection("guest", id)
		guest.Spec.EndpointRef.Namespace = s.namespace
		Expect(world.Create(ctx, guest)).To(Succeed())
		Eventually(ctx, func(ctx context.Context) (*v1alpha1.ObservedIn, error) {
			err := world.Get(ctx, client.ObjectKeyFromObject(guest), guest)
			return guest.Status.ObservedIn, err
		}).ShouldNot(BeNil())
		mend := s.reporter.Inject(reportertest.Fault{Method: http.MethodGet, ID: id, Do: reportertest.Answer(500, nil, "")})
		s.patchEndpoint(ctx, `{"spec":{"url":"`+strings.Replace(s.server.URL, "127.0.0.1", "localhost", 1)+`"}}`)

		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("ReporterUnavailable"))
		Expect(mustCondition(ctx, rc, "DeletionBlocked").Message).NotTo(ContainSubstring("another namespace"), "it is its own look-up that failed")
		mend()
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeTrue())
	})

	It("keeps a connection that was shown to a claim elsewhere, although that one's credentials are missing at the moment", func(ctx context.Context) {
		s, other := newStage(ctx).withEndpoint(ctx), newStage(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		other.server, other.reporter = s.server, s.reporter
		s.created(ctx, "ledger", id)
		other.withEndpoint(ctx)
		heir := other.connection("heir", id)
		Expect(world.Create(ctx, heir)).To(Succeed())
		Eventually(ctx, seen(other.namespace)).Should(BeTrue())
		other.patchEndpoint(ctx, `{"spec":{"auth":{"bearerToken":{"secretRef":{"name":"missing","key":"token"}}}}}`)
		Eventually(ctx, reasonOf(heir, "Ready")).Should(Equal("SecretNotFound"))
		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")
		Expect(s.reporter.Alive(id)).To(BeTrue())
	})

	It("holds no deletion for a claim elsewhere that Reporter refuses", func(ctx context.Context) {
		s, other := newStage(ctx).withSecuredEndpoint(ctx), newStage(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		s.created(ctx, "ledger", id)
		other.kubectl(ctx, "create", "secret", "generic", "token", "--from-literal=token=forged")
		other.kubectl(ctx, "label", "secret", "token", "reporter.lerian.studio/credentials=true")
		other.server = s.server
		Expect(world.Create(ctx, other.securedEndpoint())).To(Succeed())
		forged := other.connection("forged", id)
		Expect(world.Create(ctx, forged)).To(Succeed())
		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})
})
