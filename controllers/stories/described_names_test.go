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

// elsewhere is the mark of a resource in a namespace that is not of this cluster.
const elsewhere = "5f0c6f0e-3a0e-4c0e-9d5f-0d8f1c2b3a4d/ledger"

// byHandIn is a connection that somebody has made in Reporter under the name that the resource `ledger` describes, with a mark if there is one.
func byHandIn(s *stage, mark string) reportertest.Connection {
	made := reportertest.Connection{ConfigName: "ledger-db", ProductName: "ledger", Host: "old.internal", Metadata: map[string]any{"team": "billing"}}
	if mark != "" {
		made.Metadata["reporterOperatorOwner"] = mark
	}
	return s.reporter.Add(made)
}

var _ = Describe("A name that is taken in Reporter", func() {
	It("is told with the id, and nothing is done about it until it is free", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		made := byHandIn(s, "")
		rc := s.described("ledger")
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("NameTaken"))
		Expect(mustCondition(ctx, rc, "Ready")).To(And(HaveField("Status", BeEquivalentTo("False")), HaveField("Message",
			`Reporter has a connection "ledger-db" already, with the id `+made.ID+`. Set spec.adoptionPolicy to ByName to take it over, or describe another name in another resource`)))
		Expect(mustCondition(ctx, rc, "Stalled").Reason).To(Equal("NameTaken"))
		Expect(s.kubectl(ctx, "get", "rconn")).To(MatchRegexp(`(?m)^ledger\s+False\s+NameTaken\s+\d+s$`))
		Expect(rc.Status.ConnectionID).To(BeEmpty())
		Expect(rc.Status.Creation).To(BeNil())
		Expect(s.sent()).To(HaveEach("POST"))
		Expect(s.only()).To(Equal(made))

		s.reporter.Delete(made.ID)
		askNow(ctx, rc)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(s.only()).To(s.asDescribed(ctx, "ledger"))
		Expect(conditionOf(rc, "Stalled")(ctx)).To(BeNil())
	})

	It("is told without the id where it has the mark of somebody else", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		made := byHandIn(s, elsewhere)
		rc := s.described("ledger")
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("NameTaken"))
		Expect(s.kubectl(ctx, "get", "rconn,events", "-o", "yaml")).NotTo(ContainSubstring(made.ID))
		Expect(s.only()).To(Equal(made))
	})

	It("is released with its resource, and left alone", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		made := byHandIn(s, "")
		rc := s.described("ledger")
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("NameTaken"))
		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")
		Expect(s.only()).To(Equal(made))
		Eventually(ctx, eventsAbout(rc)).Should(ConsistOf(HaveField("Reason", "NeverCreated")))
	})

	DescribeTable("is taken over by the policy ByName, once, with all that it is to have,", func(ctx context.Context, mark string) {
		s := newStage(ctx).withDatabase(ctx)
		made := byHandIn(s, mark)
		rc := s.described("ledger")
		rc.Spec.AdoptionPolicy = "ByName"
		s.create(ctx, rc)
		Expect(rc.Status.ConnectionID).To(Equal(made.ID))
		Expect(s.only()).To(And(s.asDescribed(ctx, "ledger"), HaveField("ID", made.ID), HaveField("Metadata", HaveKeyWithValue("team", "billing"))))
		Expect(s.reporter.Secrets(made.ID).Password).To(Equal("hush"))
		Eventually(ctx, eventsAbout(rc)).Should(ConsistOf(And(HaveField("Reason", "Adopted"),
			HaveField("Note", "connection "+made.ID+" is taken over, and kept as described: host, userName, credentials"))))
		Expect(s.bodies(http.MethodPatch)).To(HaveLen(1))

		Expect(s.hand(ctx, http.MethodPatch, "/"+made.ID, `{"metadata":{"reporterOperatorOwner":"`+elsewhere+`"}}`)).To(Equal(200))
		s.patchConnection(ctx, "ledger", `{"spec":{"connection":{"port":5433}}}`)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("TakenOver"), "and not again")
		Expect(s.bodies(http.MethodPatch)).To(HaveLen(1))
	},
		Entry("from nobody", ""),
		Entry("from whom this operator does not see", elsewhere),
	)

	It("is not taken over from a resource that this operator sees in another namespace", func(ctx context.Context) {
		s, other := newStage(ctx).withDatabase(ctx), newStage(ctx)
		other.server, other.reporter = s.server, s.reporter
		other.withDatabase(ctx)
		theirs := other.create(ctx, other.described("ledger"))
		rc := s.described("ledger")
		rc.Spec.AdoptionPolicy = "ByName"
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("NameTaken"))
		Expect(s.only()).To(And(other.asDescribed(ctx, "ledger"), HaveField("ID", theirs.Status.ConnectionID)))
		Expect(s.bodies(http.MethodPatch)).To(BeEmpty())
		Expect(s.kubectl(ctx, "get", "rconn,events", "-o", "yaml")).NotTo(ContainSubstring(theirs.Status.ConnectionID))
	})

	It("is not taken over where Reporter cannot make of it what is described", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		made := s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db", ProductName: "theirs"})
		rc := s.described("ledger")
		rc.Spec.AdoptionPolicy = "ByName"
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("InvalidConnection"))
		Expect(mustCondition(ctx, rc, "Ready").Message).To(Equal(
			`The connection cannot be as it is described: its product in Reporter is "theirs", and Reporter cannot change that. Correct spec.connection`))
		Expect(s.only()).To(Equal(made))
	})

	It("is the connection of one of two resources that describe it in a namespace, and the other says whose", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		s.create(ctx, s.described("ledger"))
		twin := s.described("twin")
		twin.Spec.Connection.ConfigName = "ledger-db"
		Expect(world.Create(ctx, twin)).To(Succeed())
		Eventually(ctx, reasonOf(twin, "Ready")).Should(Equal("Duplicate"))
		Expect(mustCondition(ctx, twin, "Ready")).To(And(HaveField("Status", BeEquivalentTo("False")), HaveField("Message", ContainSubstring(`ReporterConnection "ledger"`))))
		Expect(conditionOf(twin, "Stalled")(ctx)).To(BeNil())
		Expect(s.bodies(http.MethodPost)).To(HaveLen(1))
		Expect(s.only()).To(s.asDescribed(ctx, "ledger"))

		s.deleteConnections(ctx, "twin")
		s.expectGone(ctx, "twin")
		Expect(s.only()).To(s.asDescribed(ctx, "ledger"))
	})

	renamed := func(s *stage) *v1alpha1.ReporterConnection {
		rc := s.described("renamed")
		rc.Spec.Connection.ConfigName = "ledger-db"
		return rc
	}
	isHandedOver := func(ctx context.Context, s *stage, from, to *v1alpha1.ReporterConnection) {
		GinkgoHelper()
		s.expectGone(ctx, from.Name)
		Eventually(ctx, reasonOf(to, "Ready")).Should(Equal("Available"))
		Expect(to.Status.ConnectionID).To(Equal(from.Status.ConnectionID))
		Eventually(ctx, s.reporter.Connections).Should(ConsistOf(And(HaveField("ID", from.Status.ConnectionID),
			HaveField("Metadata", HaveKeyWithValue("reporterOperatorOwner", s.mark(ctx, to.Name))))))
		Expect(s.asked(http.MethodDelete, from.Status.ConnectionID)).To(BeZero())
		Eventually(ctx, eventsAbout(from)).Should(ContainElement(HaveField("Reason", "HandedOver")))
		s.deleteConnections(ctx, to.Name)
		s.expectGone(ctx, to.Name)
		Expect(s.reporter.Connections()).To(BeEmpty())
	}

	It("goes over to the resource of another name that describes it too, when the one that has it is deleted", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		before, after := s.create(ctx, s.described("ledger")), renamed(s)
		Expect(world.Create(ctx, after)).To(Succeed())
		Eventually(ctx, reasonOf(after, "Ready")).Should(Equal("Duplicate"))
		s.deleteConnections(ctx, "ledger")
		isHandedOver(ctx, s, before, after)
	})

	It("goes over to a resource of another name that comes while the deletion of the one that has it waits for a job", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		before, after := s.create(ctx, s.described("ledger")), renamed(s)
		end := s.reporter.StartJob("ledger-db")
		s.deleteConnections(ctx, "ledger")
		Eventually(ctx, reasonOf(before, "DeletionBlocked")).Should(Equal("JobInProgress"))
		Expect(world.Create(ctx, after)).To(Succeed())
		s.expectGone(ctx, "ledger")
		Expect(s.only().ID).To(Equal(before.Status.ConnectionID))
		Eventually(ctx, reasonOf(after, "Ready")).Should(Equal("JobInProgress"))
		end()
		Eventually(ctx, reasonOf(after, "Ready")).Should(Equal("Available"))
		Expect(after.Status.ConnectionID).To(Equal(before.Status.ConnectionID))
		Expect(s.only()).To(HaveField("Metadata", HaveKeyWithValue("reporterOperatorOwner", s.mark(ctx, "renamed"))))
	})

	It("goes over to a resource of another name that comes while the deletion of the one that has it is delayed", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		before, after := s.create(ctx, s.described("ledger")), renamed(s)
		s.patchEndpoint(ctx, `{"spec":{"deletionDelay":"1h"}}`)
		Eventually(ctx, reasonOf(s.endpoint("default", ""), "Ready")).Should(Equal("Available"))
		s.deleteConnections(ctx, "ledger")
		Eventually(ctx, reasonOf(before, "DeletionBlocked")).Should(Equal("DeletionDelayed"))
		Expect(world.Create(ctx, after)).To(Succeed())
		Eventually(ctx, reasonOf(after, "Ready")).Should(Equal("Duplicate"))
		s.patchEndpoint(ctx, `{"spec":{"deletionDelay":"0s"}}`)
		isHandedOver(ctx, s, before, after)
	})
})

var _ = Describe("A connection that is named by its id and described", func() {
	describedAs := func(s *stage, id string) *v1alpha1.ReporterConnection {
		rc := s.described("ledger")
		rc.Spec.ConnectionID = id
		return rc
	}

	DescribeTable("is taken over, and kept as described,", func(ctx context.Context, mark string) {
		s := newStage(ctx).withDatabase(ctx)
		made := byHandIn(s, mark)
		rc := s.create(ctx, describedAs(s, made.ID))
		Expect(s.only()).To(And(s.asDescribed(ctx, "ledger"), HaveField("ID", made.ID), HaveField("Metadata", HaveKeyWithValue("team", "billing"))))
		Expect(s.reporter.Secrets(made.ID).Password).To(Equal("hush"))
		Eventually(ctx, eventsAbout(rc)).Should(ConsistOf(HaveField("Reason", "Adopted")))
		Expect(s.bodies(http.MethodPost)).To(BeEmpty())

		s.patchConnection(ctx, "ledger", `{"spec":{"connection":{"port":5433}}}`)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(s.only().Port).To(Equal(5433))
		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")
		Expect(s.reporter.Alive(made.ID)).To(BeFalse())
	},
		Entry("from nobody", ""),
		Entry("from somebody else", elsewhere),
	)

	It("is taken over when the description comes later", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		made := byHandIn(s, "")
		rc := s.created(ctx, "ledger", made.ID)
		_, err := world.Kubectl(ctx, manifestOf(describedAs(s, made.ID)), "apply", "--server-side", "-f", "-")
		Expect(err).NotTo(HaveOccurred())
		Eventually(ctx, s.reporter.Connections).Should(ConsistOf(s.asDescribed(ctx, "ledger")))
		Eventually(ctx, eventsAbout(rc)).Should(ConsistOf(HaveField("Reason", "Adopted")))
	})

	It("is not created where there is none", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := describedAs(s, "019996b8-f3d1-7d2b-a192-6e91464d82fc")
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("ConnectionNotFound"))
		Expect(mustCondition(ctx, rc, "Stalled").Reason).To(Equal("ConnectionNotFound"))
		Expect(s.sent()).To(HaveEach("GET"))
		Expect(s.reporter.Connections()).To(BeEmpty())
	})

	It("belongs to whoever has taken it over, until it is taken back", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		id := rc.Status.ConnectionID
		Expect(s.hand(ctx, http.MethodPatch, "/"+id, `{"host":"theirs.internal","metadata":{"reporterOperatorOwner":"`+elsewhere+`"}}`)).To(Equal(200))
		askNow(ctx, rc)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("TakenOver"))
		Expect(rc.Status.TakenOverBy).To(Equal(elsewhere))
		Expect(mustCondition(ctx, rc, "Stalled").Reason).To(Equal("TakenOver"))
		message := mustCondition(ctx, rc, "Ready").Message
		Expect(message).To(ContainSubstring("status.takenOverBy has the mark. Nothing is changed"))
		s.patchConnection(ctx, "ledger", `{"spec":{"connection":{"port":5433}}}`)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("TakenOver"))
		Expect(s.bodies(http.MethodPatch)).To(BeEmpty())
		Expect(s.only().Host).To(Equal("theirs.internal"))

		s.kubectl(ctx, "annotate", "rconn", "ledger", "reporter.lerian.studio/takeBack=now")
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(s.only()).To(And(HaveField("Host", "db.internal"), HaveField("Port", 5433), HaveField("Metadata", HaveKeyWithValue("reporterOperatorOwner", s.mark(ctx, "ledger")))))
		Expect(rc.Status.TakenOverBy).To(BeEmpty())
		Eventually(ctx, eventsAbout(rc)).Should(ContainElement(And(HaveField("Reason", "TakenBack"), HaveField("Note", "connection "+id+" is taken back: host, port, credentials"))))
	})

	It("stays in Reporter with whoever has taken it over, when its resource is deleted", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		Expect(s.hand(ctx, http.MethodPatch, "/"+rc.Status.ConnectionID, `{"metadata":{"reporterOperatorOwner":"`+elsewhere+`"}}`)).To(Equal(200))
		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")
		Expect(s.reporter.Alive(rc.Status.ConnectionID)).To(BeTrue())
		Eventually(ctx, eventsAbout(rc)).Should(ContainElement(HaveField("Reason", "HandedOver")))
	})

	It("has its mark put back where somebody has dropped that", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		Expect(s.hand(ctx, http.MethodPatch, "/"+rc.Status.ConnectionID, `{"metadata":{"team":"billing"}}`)).To(Equal(200))
		killOperator()
		startOperator(ctx)
		Eventually(ctx, s.reporter.Connections).Should(ConsistOf(And(s.asDescribed(ctx, "ledger"), HaveField("Metadata", HaveKeyWithValue("team", "billing")))))
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Eventually(ctx, eventsAbout(rc)).Should(ContainElement(And(HaveField("Reason", "Changed"), HaveField("Note", HaveSuffix(": credentials")))))
	})
})
