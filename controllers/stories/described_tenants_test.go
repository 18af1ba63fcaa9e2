// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"net/http"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// In multi-tenant mode Reporter keeps no name unique, lists connections of its own with everybody's, and loses one of two changes that are made
// at the same moment.
var _ = Describe("A Reporter of many tenants", func() {
	tenants := func(ctx context.Context) *stage {
		GinkgoHelper()
		s := newStage(ctx)
		s.reporter.SetMultiTenant(true)
		s.reporter.AddInternal(reportertest.Connection{Tenant: "acme"})
		s.reporter.AddInternal(reportertest.Connection{Tenant: "acme", ConfigName: "ledger-db", ProductName: "ledger"})
		Expect(world.Create(ctx, s.database("hush"))).To(Succeed())
		manager, endpoint := s.withAccessManager(ctx, "operators-secret")
		manager.AddClient("operator", "operators-secret", "acme")
		askNow(ctx, endpoint)
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("Available"))
		s.reporter.AllowToken("by hand", "acme")
		return s
	}

	It("has a connection created in the tenant of the credentials, whatever it lists of its own", func(ctx context.Context) {
		s := tenants(ctx)
		s.reporter.Add(reportertest.Connection{Tenant: "other", ConfigName: "ledger-db"})
		rc := s.create(ctx, s.described("ledger"))
		Expect(rc.Status.ObservedIn).To(HaveValue(Equal(v1alpha1.ObservedIn{URL: s.server.URL, TenantID: "acme"})))
		Expect(s.reporter.Connections()).To(ConsistOf(HaveField("Tenant", "other"), And(s.asDescribed(ctx, "ledger"), HaveField("Tenant", "acme"))))
		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")
		Expect(s.reporter.Connections()).To(ConsistOf(HaveField("Tenant", "other")))
	})

	It("has one connection found that it created without an answer, among those of its own", func(ctx context.Context) {
		s := tenants(ctx)
		s.reporter.Inject(reportertest.Fault{Method: http.MethodPost, Match: isCreation, Times: 1, Do: reportertest.AfterActing(reportertest.Reset())})
		rc := s.create(ctx, s.described("ledger"))
		Expect(s.only()).To(s.asDescribed(ctx, "ledger"))
		Expect(rc.Status.ConnectionID).To(Equal(s.only().ID))
		Expect(s.creations()).To(Equal(1))
	})

	It("has one connection for each resource where both are created at the same moment under one name, and neither is fought for", func(ctx context.Context) {
		s := tenants(ctx)
		other := newStage(ctx)
		other.server, other.reporter = s.server, s.reporter
		Expect(world.Create(ctx, other.database("theirs"))).To(Succeed())
		s.patchEndpoint(ctx, `{"spec":{"allowedNamespaces":{"from":"All"}}}`)
		theirs := other.described("ledger")
		theirs.Spec.EndpointRef.Namespace = s.namespace
		ours := s.described("ledger")

		var both sync.WaitGroup
		both.Add(2)
		s.reporter.Inject(reportertest.Fault{Method: http.MethodPost, Match: isCreation, Times: 2, Do: reportertest.BetweenReadAndWrite(func() {
			both.Done()
			both.Wait()
		})})
		Expect(world.Create(ctx, ours)).To(Succeed())
		Expect(world.Create(ctx, theirs)).To(Succeed())
		Eventually(ctx, reasonOf(ours, "Ready")).Should(Equal("Available"))
		Eventually(ctx, reasonOf(theirs, "Ready")).Should(Equal("Available"))
		Expect(s.reporter.Connections()).To(ConsistOf(
			And(s.asDescribed(ctx, "ledger"), HaveField("ID", ours.Status.ConnectionID)), And(other.asDescribed(ctx, "ledger"), HaveField("ID", theirs.Status.ConnectionID))))

		// Reporter refuses a change now, of one as of the other.
		s.patchConnection(ctx, "ledger", `{"spec":{"connection":{"port":5433}}}`)
		Eventually(ctx, reasonOf(ours, "Ready")).Should(Equal("NameTaken"))
		Expect(s.reporter.Secrets(theirs.Status.ConnectionID).Password).To(Equal("theirs"))
		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")
		Expect(s.only()).To(other.asDescribed(ctx, "ledger"))
		Expect(mustCondition(ctx, theirs, "Ready").Status).To(BeEquivalentTo("True"))
	})

	It("has the mark put back, and all that was lost, where somebody's change was written over ours", func(ctx context.Context) {
		s := tenants(ctx)
		DeferCleanup(func(ctx context.Context) { restartOperator(ctx) })
		restartOperator(ctx, "--check-interval=1s")
		made := s.reporter.Add(reportertest.Connection{Tenant: "acme", ConfigName: "ledger-db", ProductName: "ledger", Host: "old.internal"})

		// Somebody's change has read the connection before ours, and is written after it.
		read, proceed, written := make(chan struct{}), make(chan struct{}), make(chan int)
		s.reporter.Inject(reportertest.Fault{Method: http.MethodPatch, Match: func(r *http.Request) bool { return r.Header.Get(byHand) != "" }, Times: 1,
			Do: reportertest.BetweenReadAndWrite(func() { close(read); <-proceed })})
		go func() {
			defer GinkgoRecover()
			written <- s.hand(ctx, http.MethodPatch, "/"+made.ID, `{"schema":"theirs"}`)
		}()
		Eventually(ctx, read).Should(BeClosed())
		rc := s.described("ledger")
		rc.Spec.ConnectionID = made.ID
		s.create(ctx, rc)
		Expect(s.only()).To(s.asDescribed(ctx, "ledger"))
		close(proceed)
		Eventually(ctx, written).Should(Receive(Equal(200)))

		Eventually(ctx, s.reporter.Connections).Should(ConsistOf(And(s.asDescribed(ctx, "ledger"), HaveField("ID", made.ID))))
		Expect(s.reporter.Secrets(made.ID).Password).To(Equal("hush"))
		Eventually(ctx, eventsAbout(rc)).Should(ContainElement(And(HaveField("Reason", "Corrected"), HaveField("Note", HaveSuffix(": host, schema, userName, credentials")))))
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		changes := len(s.bodies(http.MethodPatch))
		looked := s.asked(http.MethodGet, made.ID)
		Eventually(ctx, func() int { return s.asked(http.MethodGet, made.ID) }).Should(BeNumerically(">", looked+2))
		Expect(s.bodies(http.MethodPatch)).To(HaveLen(changes), "there is no fight")
	})

	It("has no connection of its own taken over", func(ctx context.Context) {
		s := tenants(ctx)
		configured := s.reporter.AddInternal(reportertest.Connection{Tenant: "acme", ConfigName: "books-db", ProductName: "ledger"})
		s.reporter.Inject(reportertest.Fault{Method: http.MethodPost, Match: isCreation, Do: reportertest.ErrorAnswer(409, "FET-1002", "Conflict", "the name is taken")})
		rc := s.described("books")
		rc.Spec.AdoptionPolicy = "ByName"
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("NameTaken"))
		Expect(mustCondition(ctx, rc, "Ready").Message).To(And(ContainSubstring("configured on its server"), Not(ContainSubstring(configured.ID))))
		Expect(s.bodies(http.MethodPatch)).To(BeEmpty())
	})
})
