// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

var _ = Describe("A connection that several resources claim", func() {
	It("survives a rename with the new resource first, and goes with the last one", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
		older := s.created(ctx, "a-older", id)
		newer := s.connection("b-newer", id)
		Expect(world.Create(ctx, newer)).To(Succeed())
		Eventually(ctx, reasonOf(newer, "Ready")).Should(Equal("Duplicate"))
		Expect(mustCondition(ctx, newer, "Ready")).To(And(HaveField("Status", BeEquivalentTo("True")),
			HaveField("Message", ContainSubstring(`ReporterConnection "a-older" claims it too`))))
		Expect(mustCondition(ctx, older, "Ready").Reason).To(Equal("Available"))

		s.deleteConnections(ctx, "a-older")
		s.expectGone(ctx, "a-older")
		Expect(s.reporter.Alive(id)).To(BeTrue())
		Expect(s.asked(http.MethodDelete, id)).To(BeZero())
		Eventually(ctx, eventsAbout(older)).Should(ConsistOf(And(HaveField("Reason", "HandedOver"),
			HaveField("Note", ContainSubstring(`ReporterConnection "b-newer" claims it`)))))
		Eventually(ctx, reasonOf(newer, "Ready")).Should(Equal("Available"), "it is no duplicate any more")

		s.deleteConnections(ctx, "b-newer")
		s.expectGone(ctx, "b-newer")
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("survives a delete-first move within deletionDelay", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		s.patchEndpoint(ctx, `{"spec":{"deletionDelay":"5s"}}`)
		id := s.reporter.Add(reportertest.Connection{}).ID
		older := s.created(ctx, "older", id)
		s.deleteConnections(ctx, "older")
		Eventually(ctx, reasonOf(older, "DeletionBlocked")).Should(Equal("DeletionDelayed"))
		Expect(mustCondition(ctx, older, "DeletionBlocked").Message).To(ContainSubstring(
			older.DeletionTimestamp.Add(5 * time.Second).UTC().Format(time.RFC3339)))

		newer := s.connection("newer", id)
		Expect(world.Create(ctx, newer)).To(Succeed())
		Eventually(ctx, gone(older)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeTrue())
		Expect(s.asked(http.MethodDelete, id)).To(BeZero())
		Eventually(ctx, reasonOf(newer, "Ready")).Should(Equal("Available"))
	})

	It("is deleted for good by a delete-first move without deletionDelay, and after one that is too late", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		s.created(ctx, "older", id)
		s.deleteConnections(ctx, "older")
		s.expectGone(ctx, "older")
		newer := s.connection("newer", id)
		Expect(world.Create(ctx, newer)).To(Succeed())
		Eventually(ctx, reasonOf(newer, "Ready")).Should(Equal("ConnectionNotFound"))

		s.patchEndpoint(ctx, `{"spec":{"deletionDelay":"2s"}}`)
		id = s.reporter.Add(reportertest.Connection{}).ID
		delayed := s.created(ctx, "delayed", id)
		asked := whenAsked(s, http.MethodDelete, id, func(context.Context) (time.Time, error) { return time.Now(), nil })
		s.deleteConnections(ctx, "delayed")
		Expect(world.Get(ctx, client.ObjectKeyFromObject(delayed), delayed)).To(Succeed())
		Eventually(ctx, gone(delayed)).Should(BeTrue())
		Expect(asked()).To(BeTemporally(">=", delayed.DeletionTimestamp.Add(2*time.Second)), "never earlier")
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("is left alone when one that is left claims it with the policy Retain", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		s.created(ctx, "deleting", id)
		retaining := s.connection("retaining", id)
		retaining.Spec.DeletionPolicy = "Retain"
		Expect(world.Create(ctx, retaining)).To(Succeed())
		s.deleteConnections(ctx, "deleting")
		s.expectGone(ctx, "deleting")
		s.deleteConnections(ctx, "retaining")
		s.expectGone(ctx, "retaining")
		Expect(s.reporter.Alive(id)).To(BeTrue())
		Expect(s.asked(http.MethodDelete, id)).To(BeZero())
	})

	It("is claimed also through a suspended endpoint", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		suspended := s.endpoint("suspended", s.server.URL)
		suspended.Spec.Suspend = true
		Expect(world.Create(ctx, suspended)).To(Succeed())
		id := s.reporter.Add(reportertest.Connection{}).ID
		s.created(ctx, "ledger", id)
		heir := s.connection("heir", id)
		heir.Spec.EndpointRef.Name = "suspended"
		Expect(world.Create(ctx, heir)).To(Succeed())
		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")
		Expect(s.reporter.Alive(id)).To(BeTrue())

		s.deleteConnections(ctx, "heir")
		Eventually(ctx, reasonOf(heir, "DeletionBlocked")).Should(Equal("Suspended"))
		s.patch(ctx, suspended, "suspended", `{"spec":{"suspend":false}}`)
		Eventually(ctx, gone(heir)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("is deleted when both are deleted at the same time", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		s.created(ctx, "one", id)
		Expect(world.Create(ctx, s.connection("two", id))).To(Succeed())
		s.deleteConnections(ctx, "one", "two")
		s.expectGone(ctx, "one", "two")
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("is released at once by a new claim while its deletion waits for a job", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
		waiting := s.created(ctx, "waiting", id)
		s.reporter.StartJob("ledger-db")
		s.deleteConnections(ctx, "waiting")
		Eventually(ctx, reasonOf(waiting, "DeletionBlocked")).Should(Equal("JobInProgress"))
		Expect(world.Create(ctx, s.connection("heir", id))).To(Succeed())
		Eventually(ctx, gone(waiting)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeTrue())
	})
})
