// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// Each of these was a fault once: found by reading, then seen.
var _ = Describe("What once went wrong", func() {
	const allowAll = `{"spec":{"allowedNamespaces":{"from":"All"}}}`

	It("keeps a connection that is claimed elsewhere although the endpoint has just been given another URL", func(ctx context.Context) {
		s, other := newStage(ctx).withEndpoint(ctx), newStage(ctx)
		s.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p", allowAll)
		ids := s.populate(ctx, s.namespace, 6, nil)
		for i, id := range ids {
			guest := other.connection(fmt.Sprintf("guest-%d", i), id)
			guest.Spec.EndpointRef.Namespace = s.namespace
			Expect(world.Create(ctx, guest)).To(Succeed())
		}
		Eventually(ctx, seen(s.namespace)).Should(BeTrue())
		Eventually(ctx, seen(other.namespace)).Should(BeTrue())

		s.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p", `{"spec":{"url":"`+strings.Replace(s.server.URL, "127.0.0.1", "localhost", 1)+`"}}`)
		s.kubectl(ctx, "delete", "rconn", "--all")
		Expect(s.alive(ids)).To(Equal(ids))
	})

	It("keeps a connection whose new claim elsewhere was made while the operator was down", Serial, func(ctx context.Context) {
		s, other := newStage(ctx).withEndpoint(ctx), newStage(ctx)
		s.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p", allowAll)
		ids := s.populate(ctx, s.namespace, 3, nil)
		Eventually(ctx, seen(s.namespace)).Should(BeTrue())
		operator.Kill()
		for i, id := range ids {
			moved := other.connection(fmt.Sprintf("moved-%d", i), id)
			moved.Spec.EndpointRef.Namespace = s.namespace
			Expect(world.Create(ctx, moved)).To(Succeed())
		}
		s.kubectl(ctx, "delete", "rconn", "--all", "--wait=false")
		startOperator(ctx)
		Eventually(ctx, func(ctx context.Context) string { return s.kubectl(ctx, "get", "rconn", "--ignore-not-found") }).Should(BeEmpty())
		Expect(s.alive(ids)).To(Equal(ids))
	})

	It("holds a deletion while it is unclear whether a claim elsewhere holds", func(ctx context.Context) {
		s, other := newStage(ctx).withEndpoint(ctx), newStage(ctx)
		s.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p", allowAll)
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
		s.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p", `{"spec":{"url":"`+strings.Replace(s.server.URL, "127.0.0.1", "localhost", 1)+`"}}`)

		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("ReporterUnavailable"))
		Expect(mustCondition(ctx, rc, "DeletionBlocked").Message).To(ContainSubstring("whether a ReporterConnection in another namespace is shown the connection as well"))
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
		other.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p", `{"spec":{"auth":{"bearerToken":{"secretRef":{"name":"missing","key":"token"}}}}}`)
		Eventually(ctx, reasonOf(heir, "Ready")).Should(Equal("SecretNotFound"))
		s.kubectl(ctx, "delete", "rconn", "ledger")
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
		s.kubectl(ctx, "delete", "rconn", "ledger")
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("empties a namespace whose endpoint retains, in any order", func(ctx context.Context) {
		s := newStage(ctx).withSecuredEndpoint(ctx)
		ids := s.populate(ctx, s.namespace, 3, nil)
		Eventually(ctx, seen(s.namespace)).Should(BeTrue())
		s.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p", `{"spec":{"deletionPolicy":"Retain"}}`)
		s.kubectl(ctx, "delete", "--wait=false", "secret/token", "rep/default")
		s.kubectl(ctx, "delete", "rconn", "--all")
		Eventually(ctx, gone(s.endpoint("default", ""))).Should(BeTrue())
		Expect(s.alive(ids)).To(Equal(ids))
	})

	It("warns of a wrong id although the first try found nobody", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		s.server.Down()
		rc := s.connection("typo", "019996b8-f3d1-7d2b-a192-6e91464d82fc")
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("ReporterUnavailable"))
		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("ReporterUnavailable"))
		Expect(s.server.Up()).To(Succeed())
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Eventually(ctx, eventsAbout(rc)).Should(ConsistOf(HaveField("Type", "Warning")))
	})

	It("takes no claim for one whose namespace has lost the label that its endpoint allows it by", func(ctx context.Context) {
		s, other := newStages(ctx)
		s.withEndpoint(ctx)
		s.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p",
			`{"spec":{"allowedNamespaces":{"from":"Selector","selector":{"matchLabels":{"team":"ledger"}}}}}`)
		label(ctx, other.namespace, `{"team":"ledger"}`)
		id := s.reporter.Add(reportertest.Connection{}).ID
		s.created(ctx, "ledger", id)
		guest := other.connection("guest", id)
		guest.Spec.EndpointRef.Namespace = s.namespace
		Expect(world.Create(ctx, guest)).To(Succeed())
		Eventually(ctx, reasonOf(guest, "Ready")).Should(Equal("Duplicate"))

		label(ctx, other.namespace, `{"team":null}`)
		Eventually(ctx, reasonOf(guest, "Ready")).Should(Equal("EndpointNotFound"))
		s.kubectl(ctx, "delete", "rconn", "ledger")
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("lets a connection have its deleted endpoint that came after the endpoint's deletion and is deleted itself", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		endpoint := s.endpoint("default", "")
		s.populate(ctx, s.namespace, 1, nil)
		Eventually(ctx, seen(s.namespace)).Should(BeTrue())
		s.kubectl(ctx, "delete", "rep", "default", "--wait=false")
		Eventually(ctx, reasonOf(endpoint, "DeletionBlocked")).Should(Equal("InUse"))
		late := s.connection("late", s.reporter.Add(reportertest.Connection{ConfigName: s.namespace + "-late"}).ID)
		Eventually(ctx, func(ctx context.Context) (bool, error) { // times have the resolution of a second
			tried := late.DeepCopy()
			err := world.Create(ctx, tried, client.DryRunAll)
			return tried.CreationTimestamp.After(endpoint.DeletionTimestamp.Time), err
		}).Should(BeTrue())
		Expect(world.Create(ctx, late)).To(Succeed())
		Eventually(ctx, reasonOf(late, "Ready")).Should(Equal("Available"))
		end := s.reporter.StartJob(s.namespace + "-late")

		s.kubectl(ctx, "delete", "rconn", "--all", "--wait=false")
		Eventually(ctx, reasonOf(late, "DeletionBlocked")).Should(Equal("JobInProgress"))
		Eventually(ctx, func(ctx context.Context) string { return s.kubectl(ctx, "get", "rconn") }).ShouldNot(ContainSubstring("connection-00"))
		end()
		Eventually(ctx, gone(late)).Should(BeTrue())
		Expect(s.reporter.Alive(late.Spec.ConnectionID)).To(BeFalse())
		Eventually(ctx, gone(endpoint)).Should(BeTrue())
	})

	It("lets a deleted Secret go that loses its mark while the operator is down", Serial, func(ctx context.Context) {
		s := newStage(ctx).withSecuredEndpoint(ctx)
		s.populate(ctx, s.namespace, 1, nil)
		Eventually(ctx, seen(s.namespace)).Should(BeTrue())
		s.kubectl(ctx, "delete", "secret", "token", "--wait=false")
		operator.Kill()
		s.kubectl(ctx, "label", "secret", "token", "reporter.lerian.studio/credentials-")
		err := world.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "token"}, &corev1.Secret{})
		Expect(err).To(MatchError(ContainSubstring(`"token" not found`)))
		startOperator(ctx)
	})

	It("writes one status although a Reporter that is down answers differently each time, and does not call it twice as often", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.created(ctx, "ledger", id)
		answers := []reportertest.Behaviour{reportertest.Answer(503, nil, ""), reportertest.Reset(), reportertest.Answer(502, nil, "")}
		turn := 0
		mend := s.reporter.Inject(reportertest.Fault{Method: http.MethodDelete, Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
			turn++ // one request at a time, for the one resource
			answers[turn%len(answers)](w, req, act)
		}})
		Expect(world.Delete(ctx, rc)).To(Succeed())
		for asked := 1; asked <= 9; asked++ {
			Eventually(ctx, func() int { return s.asked(http.MethodDelete, id) }).Should(BeNumerically(">=", asked))
			askNow(ctx, rc)
		}
		Eventually(ctx, func() int { return s.asked(http.MethodDelete, id) }).Should(BeNumerically(">=", 10))
		mend()
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Eventually(ctx, s.writes).Should(HaveExactElements(
			"patch reporterendpoints/status default", "patch reporterconnections/status ledger",
			"patch reporterconnections/status ledger", "patch reporterconnections ledger"))
		Expect(s.reporter.Requests()).To(HaveLen(s.asked(http.MethodDelete, id)+s.asked(http.MethodGet, id)+s.checks()), "nothing else was asked")
		Expect(s.checks()).To(BeNumerically("<", s.asked(http.MethodDelete, id)))
	})

	It("tells of its own deletion, whose answer was lost, as one", func(ctx context.Context) {
		s := newStage(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.connection("ledger", id)
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("EndpointNotFound"))
		Expect(world.Delete(ctx, rc)).To(Succeed())
		s.reporter.Inject(reportertest.Fault{Method: http.MethodDelete, ID: id, Times: 1, Do: reportertest.AfterActing(reportertest.Reset())})
		Expect(world.Create(ctx, s.endpoint("default", s.server.URL))).To(Succeed())
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.asked(http.MethodDelete, id)).To(Equal(2))
		Expect(operatorLog()).To(MatchRegexp(`"Deleted connection in Reporter".*"connectionID":"` + id + `"`))
		Expect(eventsAbout(rc)(ctx)).To(BeEmpty(), "no warning of a wrong id")
	})

	It("tells an endpoint that is asked to wait before it was ever checked", Serial, func(ctx context.Context) {
		s := newStage(ctx)
		s.reporter.Inject(reportertest.Fault{Times: 1, Do: reportertest.Answer(429, http.Header{"Retry-After": {"1"}}, "")})
		operator.Kill()
		endpoint := s.endpoint("default", s.server.URL)
		Expect(world.Create(ctx, endpoint)).To(Succeed())
		s.populate(ctx, s.namespace, 1, nil)
		Expect(world.Delete(ctx, endpoint)).To(Succeed())
		startOperator(ctx)
		Eventually(ctx, reasonOf(endpoint, "DeletionBlocked")).Should(Equal("InUse"))
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("Available"))
		Expect(operatorLog()).NotTo(ContainSubstring("panic"))
	})

	It("says that a spec is missing", func(ctx context.Context) {
		_, err := world.Kubectl(ctx, "apiVersion: reporter.lerian.studio/v1alpha1\nkind: ReporterConnection\nmetadata: {name: empty, namespace: default}\n",
			"apply", "--dry-run=server", "-f", "-")
		Expect(err).To(MatchError(ContainSubstring("spec: Required value")))
	})
})

// checks counts how often the operator has checked the Reporter of the stage's endpoint.
func (s *stage) checks() int {
	count := 0
	for _, request := range s.reporter.Requests() {
		if request.Path == "/v1/management/connections" {
			count++
		}
	}
	return count
}
