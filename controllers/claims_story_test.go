// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
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

		s.kubectl(ctx, "delete", "rconn", "a-older")
		Expect(s.reporter.Alive(id)).To(BeTrue())
		Expect(s.asked(http.MethodDelete, id)).To(BeZero())
		Eventually(ctx, eventsAbout(older)).Should(ConsistOf(And(HaveField("Reason", "HandedOver"),
			HaveField("Note", ContainSubstring(`ReporterConnection "b-newer" claims it`)))))
		Eventually(ctx, reasonOf(newer, "Ready")).Should(Equal("Available"), "it is no duplicate any more")

		s.kubectl(ctx, "delete", "rconn", "b-newer")
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("survives a move to another namespace with the new resource first", func(ctx context.Context) {
		s, other := newStages(ctx)
		s.withEndpoint(ctx)
		s.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p", `{"spec":{"allowedNamespaces":{"from":"All"}}}`)
		id := s.reporter.Add(reportertest.Connection{}).ID
		older := s.created(ctx, "ledger", id)
		newer := other.connection("ledger", id)
		newer.Spec.EndpointRef.Namespace = s.namespace
		Expect(world.Create(ctx, newer)).To(Succeed())
		Eventually(ctx, reasonOf(newer, "Ready")).Should(Equal("Duplicate"))
		Expect(mustCondition(ctx, newer, "Ready").Message).To(And(
			ContainSubstring("a ReporterConnection in another namespace claims it too"), Not(ContainSubstring(s.namespace))))

		s.kubectl(ctx, "delete", "rconn", "ledger")
		Expect(gone(older)(ctx)).To(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeTrue())
		other.kubectl(ctx, "delete", "rconn", "ledger")
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("survives a delete-first move within deletionDelay", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		s.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p", `{"spec":{"deletionDelay":"5s"}}`)
		id := s.reporter.Add(reportertest.Connection{}).ID
		older := s.created(ctx, "older", id)
		s.kubectl(ctx, "delete", "rconn", "older", "--wait=false")
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
		s.kubectl(ctx, "delete", "rconn", "older")
		newer := s.connection("newer", id)
		Expect(world.Create(ctx, newer)).To(Succeed())
		Eventually(ctx, reasonOf(newer, "Ready")).Should(Equal("ConnectionNotFound"))

		s.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p", `{"spec":{"deletionDelay":"2s"}}`)
		id = s.reporter.Add(reportertest.Connection{}).ID
		delayed := s.created(ctx, "delayed", id)
		var asked time.Time
		s.reporter.Inject(reportertest.Fault{Method: http.MethodDelete, ID: id, Times: 1, Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
			asked = time.Now()
			act(w, req)
		}})
		s.kubectl(ctx, "delete", "rconn", "delayed", "--wait=false")
		Expect(world.Get(ctx, client.ObjectKeyFromObject(delayed), delayed)).To(Succeed())
		Eventually(ctx, gone(delayed)).Should(BeTrue())
		Expect(asked).To(BeTemporally(">=", delayed.DeletionTimestamp.Add(2*time.Second)), "never earlier")
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("is left alone when one that is left claims it with the policy Retain", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		s.created(ctx, "deleting", id)
		retaining := s.connection("retaining", id)
		retaining.Spec.DeletionPolicy = "Retain"
		Expect(world.Create(ctx, retaining)).To(Succeed())
		s.kubectl(ctx, "delete", "rconn", "deleting")
		s.kubectl(ctx, "delete", "rconn", "retaining")
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
		s.kubectl(ctx, "delete", "rconn", "ledger")
		Expect(s.reporter.Alive(id)).To(BeTrue())

		s.kubectl(ctx, "delete", "rconn", "heir", "--wait=false")
		Eventually(ctx, reasonOf(heir, "DeletionBlocked")).Should(Equal("Suspended"))
		s.kubectl(ctx, "patch", "rep", "suspended", "--type=merge", "-p", `{"spec":{"suspend":false}}`)
		Eventually(ctx, gone(heir)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("is deleted when both are deleted at the same time", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		s.created(ctx, "one", id)
		Expect(world.Create(ctx, s.connection("two", id))).To(Succeed())
		s.kubectl(ctx, "delete", "rconn", "one", "two")
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("is released at once by a new claim while its deletion waits for a job", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
		waiting := s.created(ctx, "waiting", id)
		s.reporter.StartJob("ledger-db")
		s.kubectl(ctx, "delete", "rconn", "waiting", "--wait=false")
		Eventually(ctx, reasonOf(waiting, "DeletionBlocked")).Should(Equal("JobInProgress"))
		Expect(world.Create(ctx, s.connection("heir", id))).To(Succeed())
		Eventually(ctx, gone(waiting)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeTrue())
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

		s.kubectl(ctx, "delete", "rconn", "ledger")
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("is claimed no more from another namespace whose grant was withdrawn", func(ctx context.Context) {
		s, other := newStages(ctx)
		s.withEndpoint(ctx)
		s.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p",
			`{"spec":{"allowedNamespaces":{"from":"Selector","selector":{"matchLabels":{"team":"ledger"}}}}}`)
		id := s.reporter.Add(reportertest.Connection{}).ID
		s.created(ctx, "ledger", id)
		guest := other.connection("guest", id)
		guest.Spec.EndpointRef.Namespace = s.namespace
		Expect(world.Create(ctx, guest)).To(Succeed())
		Eventually(ctx, reasonOf(guest, "Ready")).Should(Equal("EndpointNotFound"))
		label(ctx, other.namespace, `{"team":"ledger"}`)
		Eventually(ctx, reasonOf(guest, "Ready")).Should(Equal("Duplicate"))
		s.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p", `{"spec":{"allowedNamespaces":{"from":"Same","selector":null}}}`)
		Eventually(ctx, reasonOf(guest, "Ready")).Should(Equal("EndpointNotFound"))

		s.kubectl(ctx, "delete", "rconn", "ledger")
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})
})

var _ = Describe("A brake", func() {
	It("on the endpoint holds every deletion, and says so on each", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		one := s.created(ctx, "one", s.reporter.Add(reportertest.Connection{}).ID)
		two := s.created(ctx, "two", s.reporter.Add(reportertest.Connection{}).ID)
		s.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p", `{"spec":{"suspend":true}}`)
		Eventually(ctx, reasonOf(s.endpoint("default", ""), "Ready")).Should(Equal("Available"), "the operator has seen it")
		s.kubectl(ctx, "delete", "rconn", "one", "two", "--wait=false")
		Eventually(ctx, reasonOf(one, "DeletionBlocked")).Should(Equal("Suspended"))
		Eventually(ctx, reasonOf(two, "DeletionBlocked")).Should(Equal("Suspended"))
		Expect(s.asked(http.MethodDelete, one.Spec.ConnectionID)).To(BeZero())

		s.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p", `{"spec":{"suspend":false}}`)
		Eventually(ctx, gone(one)).Should(BeTrue())
		Eventually(ctx, gone(two)).Should(BeTrue())
	})

	It("on the resource has the API server refuse the deletion, with the command that lifts it", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		rc := s.created(ctx, "ledger", s.reporter.Add(reportertest.Connection{}).ID)
		s.kubectl(ctx, "patch", "rconn", "ledger", "--type=merge", "-p", `{"spec":{"deletionProtection":true}}`)
		_, err := world.Kubectl(ctx, "", "--namespace", s.namespace, "delete", "rconn", "ledger")
		Expect(err).To(MatchError(ContainSubstring(`ReporterConnection "ledger" is protected from deletion. To delete it, and its connection in Reporter, run first: ` +
			`kubectl patch reporterconnection --namespace ` + s.namespace + ` ledger --type=merge -p '{"spec":{"deletionProtection":false}}'`)))

		s.kubectl(ctx, "patch", "reporterconnection", "ledger", "--type=merge", "-p", `{"spec":{"deletionProtection":false}}`)
		s.kubectl(ctx, "delete", "rconn", "ledger")
		Expect(gone(rc)(ctx)).To(BeTrue())
	})

	It("on the resource is held to by the operator where the API server did not ask", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
		rc := s.created(ctx, "ledger", id)
		end := s.reporter.StartJob("ledger-db")
		s.kubectl(ctx, "delete", "rconn", "ledger", "--wait=false")
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("JobInProgress"))
		s.kubectl(ctx, "patch", "rconn", "ledger", "--type=merge", "-p", `{"spec":{"deletionProtection":true}}`)
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("DeletionProtected"))
		end()
		askNow(ctx, rc)
		s.kubectl(ctx, "patch", "rconn", "ledger", "--type=merge", "-p", `{"spec":{"deletionProtection":false}}`)
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("keeps our definitions from being deleted by mistake", func(ctx context.Context) {
		_, err := world.Kubectl(ctx, "", "delete", "crd", "reporterconnections.reporter.lerian.studio", "--dry-run=server")
		Expect(err).To(MatchError(And(ContainSubstring("deletes every ReporterConnection in the cluster"),
			ContainSubstring("kubectl label crd reporterconnections.reporter.lerian.studio reporter.lerian.studio/allow-deletion=true"))))
		_, err = world.Kubectl(ctx, "", "label", "crd", "reporterconnections.reporter.lerian.studio", "reporter.lerian.studio/allow-deletion=true")
		Expect(err).NotTo(HaveOccurred())
		_, err = world.Kubectl(ctx, "", "delete", "crd", "reporterconnections.reporter.lerian.studio", "--dry-run=server")
		Expect(err).NotTo(HaveOccurred())
		_, err = world.Kubectl(ctx, "", "label", "crd", "reporterconnections.reporter.lerian.studio", "reporter.lerian.studio/allow-deletion-")
		Expect(err).NotTo(HaveOccurred())
	})
})

var _ = Describe("The policy Retain of an endpoint", func() {
	It("lets every resource go and leaves Reporter alone, without credentials, also while a deletion waits", func(ctx context.Context) {
		s := newStage(ctx).withSecuredEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
		waiting := s.created(ctx, "waiting", id)
		s.reporter.StartJob("ledger-db")
		s.kubectl(ctx, "delete", "rconn", "waiting", "--wait=false")
		Eventually(ctx, reasonOf(waiting, "DeletionBlocked")).Should(Equal("JobInProgress"))

		s.reporter.RevokeToken("right")
		s.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p", `{"spec":{"deletionPolicy":"Retain"}}`)
		Eventually(ctx, gone(waiting)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeTrue())
		Eventually(ctx, eventsAbout(waiting)).Should(ConsistOf(And(HaveField("Reason", "Retained"),
			HaveField("Note", ContainSubstring(`as spec.deletionPolicy of ReporterEndpoint "default" says`)))))
		s.kubectl(ctx, "delete", "secret", "token", "--timeout=30s")
	})
})

// newStages are two, in the order of their names, which decides between what was created in the same second.
func newStages(ctx context.Context) (first, second *stage) {
	GinkgoHelper()
	first, second = newStage(ctx), newStage(ctx)
	if first.namespace > second.namespace {
		return second, first
	}
	return first, second
}

func label(ctx context.Context, namespace, labels string) {
	GinkgoHelper()
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":`+labels+`}}`))
	object := &corev1.Namespace{}
	object.Name = namespace
	Expect(world.Patch(ctx, object, patch)).To(Succeed())
}
