// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

var _ = Describe("A described connection whose endpoint leads elsewhere", func() {
	// lead has the endpoint of a stage lead to a server.
	lead := func(ctx context.Context, s *stage, to *reportertest.Server) {
		GinkgoHelper()
		s.patchEndpoint(ctx, `{"spec":{"url":"`+to.URL+`"}}`)
		Eventually(ctx, reasonOf(s.endpoint("default", ""), "Ready")).Should(Equal("Available"))
	}

	It("is kept where it moves with its Reporter, with an event", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		moved := serve(s.reporter)
		lead(ctx, s, moved)
		Eventually(ctx, eventsAbout(rc)).Should(ContainElement(And(HaveField("Reason", "Moved"), HaveField("Note",
			"connection "+rc.Status.ConnectionID+" was seen at "+s.server.URL+" before, and is shown at "+moved.URL+" now"))))
		s.patchConnection(ctx, "ledger", `{"spec":{"connection":{"port":5433}}}`)
		Eventually(ctx, s.reporter.Connections).Should(ConsistOf(HaveField("Port", 5433)))
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(rc.Status.ObservedIn).To(HaveValue(Equal(v1alpha1.ObservedIn{URL: moved.URL})))
	})

	It("is not created there, and is found again when it leads back", func(ctx context.Context) {
		s, other := newStage(ctx).withDatabase(ctx), newStage(ctx)
		rc := s.create(ctx, s.described("ledger"))
		lead(ctx, s, other.server)
		askNow(ctx, rc)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("AbsenceUnverified"))
		Expect(mustCondition(ctx, rc, "Stalled").Reason).To(Equal("AbsenceUnverified"))
		Expect(other.creations()).To(BeZero())
		lead(ctx, s, s.server)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(s.creations()).To(Equal(1))
	})

	It("is given up when somebody asks for it, and created there", func(ctx context.Context) {
		s, other := newStage(ctx).withDatabase(ctx), newStage(ctx)
		rc := s.create(ctx, s.described("ledger"))
		before := rc.Status.ConnectionID
		lead(ctx, s, other.server)
		askNow(ctx, rc)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("AbsenceUnverified"))
		s.kubectl(ctx, "annotate", "rconn", "ledger", "reporter.lerian.studio/abandon="+s.server.URL)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(other.reporter.Connections()).To(ConsistOf(And(s.asDescribed(ctx, "ledger"), HaveField("ID", rc.Status.ConnectionID))))
		Expect(s.only().ID).To(Equal(before))
		Eventually(ctx, eventsAbout(rc)).Should(ContainElement(And(HaveField("Reason", "LeftBehind"), HaveField("Type", "Warning"),
			HaveField("Note", "connection "+before+" at "+s.server.URL+" is given up, as somebody asked for it: if it is there, delete it there"))))
	})

	It("is not created there while it is not known what came of the request to create it, until that is given up", func(ctx context.Context) {
		s, other := newStage(ctx).withDatabase(ctx), newStage(ctx)
		proceed := s.hold()
		rc := s.described("ledger")
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, s.creations).Should(Equal(1))
		killOperator()
		s.patchEndpoint(ctx, `{"spec":{"url":"`+other.server.URL+`"}}`)
		startOperator(ctx)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("CreationUnverified"))
		Expect(mustCondition(ctx, rc, "Ready").Message).To(Equal("It is not known what came of the request to create the connection at " + s.server.URL +
			", and the endpoint leads elsewhere now, or has other credentials. Restore them, or set the annotation reporter.lerian.studio/abandon to that URL"))
		Expect(mustCondition(ctx, rc, "Stalled").Reason).To(Equal("CreationUnverified"))
		Expect(other.creations()).To(BeZero())
		proceed()

		s.kubectl(ctx, "annotate", "rconn", "ledger", "reporter.lerian.studio/abandon="+s.server.URL)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(other.reporter.Connections()).To(ConsistOf(HaveField("ID", rc.Status.ConnectionID)))
		Eventually(ctx, eventsAbout(rc)).Should(ContainElement(And(HaveField("Reason", "LeftBehind"), HaveField("Note",
			"what may have come of the request to create the connection at "+s.server.URL+" is given up, as somebody asked for it: if it is there, delete it there"))))
		killOperator()
		startOperator(ctx)
		Eventually(ctx, func() int { return other.asked(http.MethodGet, rc.Status.ConnectionID) }).Should(BeNumerically(">", 0))
		Expect(other.creations()).To(Equal(1), "it is given up once")
	})

	It("is held in deletion while it is not known what came of the request to create it, until that is given up", func(ctx context.Context) {
		s, other := newStage(ctx).withDatabase(ctx), newStage(ctx)
		proceed := s.hold()
		rc := s.described("ledger")
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, s.creations).Should(Equal(1))
		killOperator()
		proceed()
		s.patchEndpoint(ctx, `{"spec":{"url":"`+other.server.URL+`"}}`)
		s.deleteConnections(ctx, "ledger")
		startOperator(ctx)
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("CreationUnverified"))
		s.kubectl(ctx, "annotate", "rconn", "ledger", "reporter.lerian.studio/abandon="+s.server.URL)
		s.expectGone(ctx, "ledger")
		Eventually(ctx, eventsAbout(rc)).Should(ContainElement(HaveField("Reason", "LeftBehind")))
		Expect(s.only()).To(s.asDescribed(ctx, "ledger"))
	})
})
