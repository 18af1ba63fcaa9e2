// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"fmt"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

var _ = Describe("A deletion", func() {
	It("is held by an answer that proves nothing, and says why", func(ctx context.Context) {
		s := newStage(ctx)
		type row struct {
			answer          string
			fault           reportertest.Behaviour
			reason, message string
		}
		rows := []row{
			{"a conflict of an unknown code", reportertest.ErrorAnswer(409, "FET-1099", "Odd", "odd"), "Conflict", "409 FET-1099 (Odd)"},
			{"an id that Reporter does not take", reportertest.ErrorAnswer(400, "FET-0404", "Invalid Path Parameter", "x"), "InvalidConnectionID", "Set spec.deletionPolicy to Retain"},
			{"401", reportertest.Answer(401, nil, "Unauthorized"), "Unauthorized", "401 Unauthorized"},
			{"403", reportertest.Answer(403, nil, "Forbidden"), "Forbidden", "403 Forbidden"},
			{"429", reportertest.Answer(429, http.Header{"Retry-After": {"1"}}, ""), "RateLimited", "429 Too Many Requests"},
			{"503 with Retry-After", reportertest.Answer(503, http.Header{"Retry-After": {"1"}}, ""), "ReporterUnavailable", "503 Service Unavailable"},
			{"500", reportertest.ErrorAnswer(500, "FET-0002", "Internal", "x"), "ReporterUnavailable", "500 FET-0002 (Internal)"},
			{"a reset connection", reportertest.Reset(), "ReporterUnavailable", "connection reset"},
			{"a cut body", cutConflict, "ReporterUnavailable", "connection closed before the answer was complete"},
			{"404 with a number as code", reportertest.ErrorAnswer(404, 404, "request_failed", "x"), "UnexpectedResponse", "this is not the connections API"},
			{"404 of a proxy", reportertest.Answer(404, nil, "not found"), "UnexpectedResponse", "404 Not Found"},
			{"404 with another code", reportertest.ErrorAnswer(404, "FET-1080", "Tenant", "x"), "UnexpectedResponse", "404 FET-1080 (Tenant)"},
			{"a login page", reportertest.LoginPage(), "UnexpectedResponse", "200 with a body that is not the documented one"},
			{"an odd 2xx", reportertest.Answer(202, nil, ""), "UnexpectedResponse", "202 Accepted"},
			{"a redirect", reportertest.Redirect(302, "http://127.0.0.1:1/login"), "UnexpectedResponse", "302, a redirect, which is not followed"},
		}
		// Each has a Reporter to itself, as some of the answers concern all that is asked of one.
		type held struct {
			row
			reporter *reportertest.Reporter
			rc       *v1alpha1.ReporterConnection
			mend     func()
		}
		var all []held
		for i, row := range rows {
			h := held{row: row, reporter: reportertest.New(), rc: s.connection(fmt.Sprintf("ledger-%d", i), "")}
			h.rc.Spec.EndpointRef.Name = fmt.Sprintf("reporter-%d", i)
			h.rc.Spec.ConnectionID = h.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
			Expect(world.Create(ctx, s.endpoint(h.rc.Spec.EndpointRef.Name, serve(h.reporter).URL))).To(Succeed())
			Expect(world.Create(ctx, h.rc)).To(Succeed())
			h.mend = h.reporter.Inject(reportertest.Fault{Method: http.MethodDelete, Do: h.fault})
			all = append(all, h)
		}
		Eventually(ctx, seen(s.namespace)).Should(BeTrue())
		for _, h := range all {
			Expect(world.Delete(ctx, h.rc)).To(Succeed())
		}
		for _, h := range all {
			Eventually(ctx, reasonOf(h.rc, "DeletionBlocked")).Should(Equal(h.reason), h.answer)
			Expect(mustCondition(ctx, h.rc, "DeletionBlocked").Message).To(ContainSubstring(h.message), h.answer)
			Expect(mustCondition(ctx, h.rc, "Ready")).To(And(HaveField("Status", BeEquivalentTo("False")), HaveField("Reason", h.reason)), h.answer)
			Expect(h.rc.Finalizers).To(Equal([]string{"reporter.lerian.studio/connection"}), h.answer)
			Expect(h.reporter.Alive(h.rc.Spec.ConnectionID)).To(BeTrue(), h.answer)
			h.mend()
			askNow(ctx, h.rc)
		}
		for _, h := range all {
			Eventually(ctx, gone(h.rc)).Should(BeTrue(), h.answer)
			Expect(h.reporter.Alive(h.rc.Spec.ConnectionID)).To(BeFalse(), h.answer)
		}
	})

	It("is held where Reporter shows the connection but will not delete it", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.AddInternal(reportertest.Connection{}).ID
		rc := s.created(ctx, "internal", id)

		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("NotDeletable"))
		Expect(mustCondition(ctx, rc, "DeletionBlocked").Message).To(ContainSubstring("set spec.deletionPolicy to Retain"))
	})

	It("is held where the connection is absent, but was seen elsewhere", func(ctx context.Context) {
		s, other := newStage(ctx).withEndpoint(ctx), newStage(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.created(ctx, "ledger", id)
		s.patchEndpoint(ctx, `{"spec":{"url":"`+other.server.URL+`"}}`)

		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("AbsenceUnverified"))
		Expect(s.reporter.Alive(id)).To(BeTrue())

		s.patchEndpoint(ctx, `{"spec":{"url":"`+s.server.URL+`"}}`)
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("is held with the GET's reason where the confirming GET answers otherwise", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.created(ctx, "ledger", id)
		s.reporter.Delete(id)
		s.reporter.Inject(reportertest.Fault{Method: http.MethodGet, ID: id, Do: reportertest.Answer(403, nil, "Forbidden")})

		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("Forbidden"))
	})
})

// cutConflict breaks off in the middle of saying that a job is in progress.
func cutConflict(w http.ResponseWriter, req *http.Request, _ http.HandlerFunc) {
	reportertest.CutBody()(w, req, func(w http.ResponseWriter, req *http.Request) {
		reportertest.ErrorAnswer(409, "FET-1021", "Job In Progress", "x")(w, req, nil)
	})
}
