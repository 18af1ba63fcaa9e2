// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"fmt"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// brake holds what a resource describes, or lets it go on.
type brake func(ctx context.Context, s *stage, rc *v1alpha1.ReporterConnection, on bool)

func suspendResource(ctx context.Context, s *stage, rc *v1alpha1.ReporterConnection, on bool) {
	GinkgoHelper()
	if rc.UID == "" {
		rc.Spec.Suspend = on
		return
	}
	s.patchConnection(ctx, rc.Name, fmt.Sprintf(`{"spec":{"suspend":%t}}`, on))
}

func suspendEndpoint(ctx context.Context, s *stage, _ *v1alpha1.ReporterConnection, on bool) {
	GinkgoHelper()
	s.patchEndpoint(ctx, fmt.Sprintf(`{"spec":{"suspend":%t}}`, on))
	Eventually(ctx, reasonOf(s.endpoint("default", ""), "Ready")).Should(Equal("Available"), "the operator has seen it")
}

func deleteOnly(ctx context.Context, s *stage, _ *v1alpha1.ReporterConnection, on bool) {
	GinkgoHelper()
	policy := map[bool]string{true: "DeleteOnly", false: "Full"}[on]
	s.patchEndpoint(ctx, `{"spec":{"managementPolicy":"`+policy+`"}}`)
	Eventually(ctx, reasonOf(s.endpoint("default", ""), "Ready")).Should(Equal("Available"), "the operator has seen it")
}

var _ = Describe("A brake on what is described", func() {
	const (
		suspended         = "spec.suspend is true. Set it to false to let the operator go on"
		endpointSuspended = `spec.suspend of ReporterEndpoint "default" is true. Set it to false to let the operator go on`
		forbidden         = `spec.managementPolicy of ReporterEndpoint "default" is DeleteOnly, so the connection is neither created nor changed. Set it to Full, or name another endpoint`
	)

	DescribeTable("has nothing created", func(ctx context.Context, hold brake, reason, message string) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.described("ledger")
		hold(ctx, s, rc, true)
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal(reason))
		Expect(mustCondition(ctx, rc, "Ready")).To(And(HaveField("Status", BeEquivalentTo("False")), HaveField("Message", message)))
		Expect(s.sent()).To(BeEmpty())
		hold(ctx, s, rc, false)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(s.only()).To(s.asDescribed(ctx, "ledger"))
	},
		Entry("while the resource is suspended", brake(suspendResource), "Suspended", suspended),
		Entry("while the endpoint is suspended", brake(suspendEndpoint), "Suspended", endpointSuspended),
		Entry("through an endpoint that is for deletions only", brake(deleteOnly), "ManagementForbidden", forbidden),
	)

	DescribeTable("has nothing changed, and lets it be looked at", func(ctx context.Context, hold brake, reason, message string) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		hold(ctx, s, rc, true)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"), "nothing differs")
		s.patchConnection(ctx, "ledger", `{"spec":{"connection":{"port":5433}}}`)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal(reason))
		Expect(mustCondition(ctx, rc, "Ready")).To(And(HaveField("Status", BeEquivalentTo("False")), HaveField("Message", message)))
		Expect(s.hand(ctx, http.MethodPatch, "/"+rc.Status.ConnectionID, `{"host":"theirs.internal"}`)).To(Equal(200))
		askNow(ctx, rc)
		Eventually(ctx, func(ctx context.Context) (string, error) {
			_, err := conditionOf(rc, "Ready")(ctx)
			return rc.Status.Connection.Host, err
		}).Should(Equal("theirs.internal"))
		Expect(s.bodies(http.MethodPatch)).To(BeEmpty())

		hold(ctx, s, rc, false)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(s.only()).To(And(HaveField("Host", "db.internal"), HaveField("Port", 5433)))
	},
		Entry("while the resource is suspended", brake(suspendResource), "Suspended", suspended),
		Entry("while the endpoint is suspended", brake(suspendEndpoint), "Suspended", endpointSuspended),
		Entry("through an endpoint that is for deletions only", brake(deleteOnly), "ManagementForbidden", forbidden),
	)

	It("tells failed from in progress: only an endpoint for deletions is for a person to mend", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.described("ledger")
		rc.Spec.Suspend = true
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Suspended"))
		Expect(conditionOf(rc, "Stalled")(ctx)).To(BeNil())
		deleteOnly(ctx, s, rc, true)
		suspendResource(ctx, s, rc, false)
		Eventually(ctx, reasonOf(rc, "Stalled")).Should(Equal("ManagementForbidden"))
		deleteOnly(ctx, s, rc, false)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(conditionOf(rc, "Stalled")(ctx)).To(BeNil())
	})

	It("on the resource holds its deletion", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		suspendResource(ctx, s, rc, true)
		s.deleteConnections(ctx, "ledger")
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("Suspended"))
		Expect(mustCondition(ctx, rc, "DeletionBlocked").Message).To(Equal(suspended))
		Expect(s.only()).To(s.asDescribed(ctx, "ledger"))
		suspendResource(ctx, s, rc, false)
		s.expectGone(ctx, "ledger")
		Expect(s.reporter.Connections()).To(BeEmpty())
	})

	It("for all but deletions holds none", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		deleteOnly(ctx, s, rc, true)
		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")
		Expect(s.reporter.Connections()).To(BeEmpty())
	})
})
