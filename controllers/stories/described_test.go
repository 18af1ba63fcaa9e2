// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// What is asked of Reporter and written for a resource that describes its connection, once all is there: the creation, with a write of its
// record before and of what came of it, by which the resource is Ready; then the test of the database, with a write of what came of that.
var (
	sentToReady   = []string{"POST", "POST /test"}
	writesToReady = []string{"patch reporterconnections/status ledger", "patch reporterconnections/status ledger", "patch reporterconnections/status ledger"}
)

// asDescribed is what Reporter is to have for a resource that describes its connection as the stage does.
func (s *stage) asDescribed(ctx context.Context, name string) OmegaMatcher {
	GinkgoHelper()
	return And(HaveField("ConfigName", name+"-db"), HaveField("ProductName", "ledger"), HaveField("Type", "POSTGRESQL"),
		HaveField("Host", "db.internal"), HaveField("Port", 5432), HaveField("DatabaseName", "ledger"), HaveField("UserName", "reporter"),
		HaveField("Schema", ""), HaveField("SSL", BeNil()), HaveField("Metadata", HaveKeyWithValue("reporterOperatorOwner", s.mark(ctx, name))))
}

var _ = Describe("A described connection", func() {
	It("is created once, in whatever order the resource, its Secret and its endpoint are applied", func(ctx context.Context) {
		const secret, endpoint, connection = 0, 1, 2
		type applied struct {
			*stage
			rc    *v1alpha1.ReporterConnection
			order []int
		}
		var all []applied
		for _, order := range [][]int{
			{secret, endpoint, connection}, {secret, connection, endpoint},
			{endpoint, secret, connection}, {endpoint, connection, secret},
			{connection, secret, endpoint}, {connection, endpoint, secret},
		} {
			s := newStage(ctx)
			all = append(all, applied{s, s.described("ledger"), order})
		}
		for turn := range 3 {
			for _, a := range all {
				Expect(world.Create(ctx, []client.Object{a.database("hush"), a.endpoint("default", a.server.URL), a.rc}[a.order[turn]])).To(Succeed())
			}
			for _, a := range all {
				if turn < 2 && slices.Contains(a.order[:turn+1], connection) {
					Eventually(ctx, reasonOf(a.rc, "Ready")).Should(BeElementOf("EndpointNotFound", "SecretNotFound"), "%v", a.order)
				}
			}
		}
		for _, a := range all {
			Eventually(ctx, reasonOf(a.rc, "Ready")).Should(Equal("Available"), "%v", a.order)
			Expect(a.only()).To(a.asDescribed(ctx, "ledger"), "%v", a.order)
			Expect(a.reporter.Secrets(a.rc.Status.ConnectionID).Password).To(Equal("hush"), "%v", a.order)
			Expect(a.bodies(http.MethodPost)).To(HaveLen(1), "%v", a.order)
		}
	})

	It("takes one request and two writes to be Ready, and a test and its write after that, and shows what Reporter shows", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		Eventually(ctx, s.writesAbout("ledger")).Should(Equal(writesToReady))
		Eventually(ctx, s.sent).Should(Equal(sentToReady))

		has := s.only()
		Expect(rc.Status.ConnectionID).To(Equal(has.ID))
		Expect(rc.Status.ObservedIn).To(HaveValue(Equal(v1alpha1.ObservedIn{URL: s.server.URL})))
		Expect(rc.Status.Creation).To(BeNil())
		Expect(rc.Status.ObservedGeneration).To(Equal(rc.Generation))
		Expect(rc.Status.Connection).To(HaveValue(And(HaveField("ConfigName", "ledger-db"), HaveField("ProductName", "ledger"), HaveField("Host", "db.internal"))))
		Eventually(ctx, eventsAbout(rc)).Should(ConsistOf(And(HaveField("Reason", "Created"), HaveField("Type", "Normal"),
			HaveField("Note", "connection "+has.ID+" is created in Reporter"))))
		Expect(s.kubectl(ctx, "get", "rconn", "-o", "wide")).To(MatchRegexp(
			`(?m)^NAME\s+CONNECTION\s+READY\s+STATUS\s+AGE\s+ID\s+ENDPOINT\s+TYPE\s+HOST\nledger\s+ledger-db\s+True\s+Available\s+\d+s\s+` + has.ID + `\s+default\s+POSTGRESQL\s+db.internal$`))
		Eventually(ctx, func(ctx context.Context) string { return s.kubectl(ctx, "describe", "rconn", "ledger") }).Should(And(
			MatchRegexp(`Message:\s+Reporter shows the connection\n`), MatchRegexp(`Message:\s+Reporter has connected to the database\n`),
			MatchRegexp(`Connection ID:\s+`+has.ID+`\n`), MatchRegexp(`Normal\s+Created\s+\S+\s+reporter-operator\s+connection `+has.ID+` is created in Reporter\n`)))

		s.create(ctx, s.described("other"))
		Expect(s.writesAbout("ledger")()).To(Equal(writesToReady), "the operator has gone on, and nothing has followed")
	})

	It("is looked at with one GET and no write when nothing has changed", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		s.create(ctx, s.described("ledger"))
		Eventually(ctx, s.writesAbout("ledger")).Should(Equal(writesToReady))
		killOperator()
		s.reporter.ResetRequests()
		startOperator(ctx) // it looks at each resource, once
		Eventually(ctx, s.sent).Should(Equal([]string{"GET"}))
		other := newStage(ctx).withDatabase(ctx)
		other.create(ctx, other.described("other"))
		Expect(s.sent()).To(Equal([]string{"GET"}), "the operator has gone on")
		Expect(s.searches()).To(BeZero())

		DeferCleanup(func(ctx context.Context) { restartOperator(ctx) })
		restartOperator(ctx, "--check-interval=1s")
		Eventually(ctx, s.sent).Should(HaveLen(4))
		Expect(s.sent()).To(HaveEach("GET"))
		Expect(s.searches()).To(BeZero())
		Expect(s.writesAbout("ledger")()).To(Equal(writesToReady))
	})

	It("is deleted with one GET, one DELETE and one write", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		Eventually(ctx, s.sent).Should(Equal(sentToReady))
		Eventually(ctx, s.writesAbout("ledger")).Should(Equal(writesToReady))
		s.reporter.ResetRequests()
		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")
		Expect(s.reporter.Alive(rc.Status.ConnectionID)).To(BeFalse())
		Expect(s.sent()).To(Equal([]string{"GET", "DELETE"}))
		Eventually(ctx, s.writesAbout("ledger")).Should(Equal(append(slices.Clone(writesToReady), "patch reporterconnections ledger")))
		s.kubectl(ctx, "delete", "secret", "database", "--timeout=30s")
	})

	It("is changed as its description is, once no job reads from it any more, and with the password", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		end := s.reporter.StartJob("ledger-db")
		s.patchConnection(ctx, "ledger", `{"spec":{"connection":{"port":5433}}}`)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("JobInProgress"))
		Expect(mustCondition(ctx, rc, "Ready")).To(And(HaveField("Status", BeEquivalentTo("False")), HaveField("Message",
			`Jobs in Reporter, pending or processing, read from connection "ledger-db". The operator goes on by itself when they have ended. `+
				"A job whose worker died has to be ended in Reporter")))
		Expect(s.only().Port).To(Equal(5432))

		end()
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(s.only().Port).To(Equal(5433))
		Expect(s.bodies(http.MethodPatch)).To(HaveEach(Equal(map[string]any{"port": 5433.0, "password": "hush"})))
		Expect(rc.Status.Connection.Port).To(BeEquivalentTo(5433))
		Expect(s.only().ID).To(Equal(rc.Status.ConnectionID))
	})

	It("is changed to what Reporter takes, with the fields named that it does not", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		mend := s.reporter.Inject(reportertest.Fault{Method: http.MethodPatch, Do: reportertest.Answer(400, http.Header{"Content-Type": {"application/json"}},
			`{"code":"FET-0402","title":"Missing Fields","message":"no","fields":{"schema":"schema is odd"}}`)})
		s.patchConnection(ctx, "ledger", `{"spec":{"connection":{"schema":"odd"}}}`)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("InvalidConnection"))
		Expect(mustCondition(ctx, rc, "Ready").Message).To(Equal("The connection cannot be as it is described: 400 FET-0402 (Missing Fields): schema. Correct spec.connection"))
		Expect(mustCondition(ctx, rc, "Stalled")).To(HaveField("Reason", "InvalidConnection"))
		mend()
		s.patchConnection(ctx, "ledger", `{"spec":{"connection":{"schema":"public"}}}`)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(s.only().Schema).To(Equal("public"))
		Expect(s.bodies(http.MethodPatch)).To(Equal([]map[string]any{{"schema": "odd"}, {"schema": "public"}}), "the refused one is not sent again")
		s.patchConnection(ctx, "ledger", `{"spec":{"connection":{"schema":null}}}`)
		Eventually(ctx, func() string { return s.only().Schema }).Should(BeEmpty())
	})

	It("is told where Reporter accepts a change, and shows another value all the same", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		mend := s.reporter.Inject(reportertest.Fault{Method: http.MethodPatch, Do: func(w http.ResponseWriter, r *http.Request, act http.HandlerFunc) {
			r.Body = io.NopCloser(strings.NewReader(`{"port":5432}`))
			act(w, r)
		}})
		s.patchConnection(ctx, "ledger", `{"spec":{"connection":{"port":5433}}}`)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("NotApplied"))
		Expect(mustCondition(ctx, rc, "Ready").Message).To(Equal("Reporter accepted the change, and shows another value all the same of: port"))
		Expect(mustCondition(ctx, rc, "Stalled").Reason).To(Equal("NotApplied"))
		mend()
		askNow(ctx, rc)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(s.only().Port).To(Equal(5433))
	})

	It("is as it was described again at the next look, with an event that names the fields and no values", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		Expect(s.hand(ctx, http.MethodPatch, "/"+rc.Status.ConnectionID, `{"host":"theirs.internal","schema":"theirs","password":"theirs"}`)).To(Equal(200))
		DeferCleanup(func(ctx context.Context) { restartOperator(ctx) })
		restartOperator(ctx, "--check-interval=1s")
		Eventually(ctx, eventsAbout(rc)).Should(ContainElement(And(HaveField("Reason", "Corrected"),
			HaveField("Note", "connection "+rc.Status.ConnectionID+" was not as described any more: host, schema, credentials"))))
		Expect(s.only()).To(s.asDescribed(ctx, "ledger"))
		Expect(s.reporter.Secrets(rc.Status.ConnectionID).Password).To(Equal("hush"))
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
	})

	It("is given its password again where somebody has changed that alone", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		Expect(s.hand(ctx, http.MethodPatch, "/"+rc.Status.ConnectionID, `{"password":"theirs"}`)).To(Equal(200))
		killOperator()
		startOperator(ctx)
		Eventually(ctx, func() string { return s.reporter.Secrets(rc.Status.ConnectionID).Password }).Should(Equal("hush"))
	})

	It("is created anew where somebody has deleted it, with an event", func(ctx context.Context) {
		s := newStage(ctx)
		s.reporter.Now = func() time.Time { return time.Now().Add(-time.Hour) } // what is young it may just not show yet
		s.withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		before := rc.Status.ConnectionID
		killOperator() // it knows how young the connection is
		Expect(s.hand(ctx, http.MethodDelete, "/"+before, "")).To(Equal(204))
		startOperator(ctx)
		Eventually(ctx, s.reporter.Connections).Should(ConsistOf(s.asDescribed(ctx, "ledger")))
		Eventually(ctx, eventsAbout(rc)).Should(ContainElement(And(HaveField("Reason", "Recreated"), HaveField("Note", "connection "+s.only().ID+" is created in Reporter"))))
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(rc.Status.ConnectionID).To(Equal(s.only().ID))
		Expect(rc.Status.ConnectionID).NotTo(Equal(before))
	})

	It("is not created anew while Reporter may just not show it yet", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		mend := s.reporter.Inject(reportertest.Fault{Method: http.MethodGet, ID: rc.Status.ConnectionID,
			Do: reportertest.ErrorAnswer(404, "FET-1001", "Entity Not Found", "no connection")})
		s.patchConnection(ctx, "ledger", `{"spec":{"connection":{"port":5433}}}`)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Creating"))
		mend()
		askNow(ctx, rc)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(s.only().Port).To(Equal(5433))
		Expect(s.bodies(http.MethodPost)).To(HaveLen(1))
	})

	It("has its database tested when it was created or changed, and when somebody asks, which says nothing of whether it is as described", func(ctx context.Context) {
		s := newStage(ctx)
		s.reporter.SetDatabasePassword("db.internal", "right")
		rc := s.withDatabase(ctx).create(ctx, s.described("ledger"))
		Eventually(ctx, reasonOf(rc, "DatabaseReachable")).Should(Equal("TestFailed"))
		Expect(mustCondition(ctx, rc, "DatabaseReachable")).To(And(HaveField("Status", BeEquivalentTo("False")), HaveField("Message",
			HavePrefix("Reporter could not connect to the database, or the database did not take the user name and the password. Correct spec.connection or its Secret"))))
		Expect(mustCondition(ctx, rc, "Ready").Status).To(BeEquivalentTo("True"))
		killOperator()
		startOperator(ctx)
		Eventually(ctx, s.sent).Should(Equal(append(slices.Clone(sentToReady), "GET")), "a wrong password is not tried again")

		s.patchSecret(ctx, "database", `{"stringData":{"password":"right"}}`)
		Eventually(ctx, reasonOf(rc, "DatabaseReachable")).Should(Equal("TestSucceeded"))
		Expect(mustCondition(ctx, rc, "DatabaseReachable").Status).To(BeEquivalentTo("True"))
		s.reporter.SetDatabasePassword("db.internal", "other")
		askNow(ctx, rc)
		Eventually(ctx, reasonOf(rc, "DatabaseReachable")).Should(Equal("TestFailed"))
		Expect(mustCondition(ctx, rc, "Ready").Status).To(BeEquivalentTo("True"))
	})

	It("is let go and kept when it is named by its id and described no longer", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		id := rc.Status.ConnectionID
		s.patchConnection(ctx, "ledger", `{"spec":{"connectionID":"`+id+`"}}`)
		s.patchConnection(ctx, "ledger", `{"spec":{"connection":null}}`)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(s.hand(ctx, http.MethodPatch, "/"+id, `{"port":5433}`)).To(Equal(200))
		s.kubectl(ctx, "delete", "secret", "database", "--timeout=30s")
		askNow(ctx, rc)
		Eventually(ctx, func(ctx context.Context) (int32, error) {
			err := world.Get(ctx, client.ObjectKeyFromObject(rc), rc)
			return rc.Status.Connection.Port, err
		}).Should(BeEquivalentTo(5433), "it is looked at")
		Expect(s.only().Port).To(Equal(5433), "and left as somebody has made it")
		Expect(s.bodies(http.MethodPatch)).To(BeEmpty())
		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})
})
