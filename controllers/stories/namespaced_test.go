// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

var (
	// namespaced says that the operator has its rights in single namespaces alone.
	namespaced bool
	// watched are the namespaces that it then is told to work in.
	watched []string
)

// watch has the operator work in the stage's namespace too.
func (s *stage) watch(ctx context.Context) {
	GinkgoHelper()
	s.kubectl(ctx, "apply", "-k", "../../config/watched-namespace")
	watched = append(watched, s.namespace)
	restartOperator(ctx)
}

func (s *stage) roleBinding() *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "reporter-operator"}}
}

// roleBindingFinalizers polls the finalizers of the RoleBinding.
func (s *stage) roleBindingFinalizers(ctx context.Context) ([]string, error) {
	binding := s.roleBinding()
	err := world.Get(ctx, client.ObjectKeyFromObject(binding), binding)
	return binding.Finalizers, err
}

// roleBindingDeleted says whether the RoleBinding is there, and deleted.
func (s *stage) roleBindingDeleted(ctx context.Context) (bool, error) {
	binding := s.roleBinding()
	err := world.Get(ctx, client.ObjectKeyFromObject(binding), binding)
	return !binding.DeletionTimestamp.IsZero(), err
}

// clusterRoles is what a kustomization gives the operator to do in the whole cluster.
func clusterRoles(ctx context.Context, kustomization string) string {
	GinkgoHelper()
	list := map[string]any{"apiVersion": "v1", "kind": "List"}
	var items []any
	for _, object := range kustomized(ctx, kustomization) {
		if strings.HasPrefix(object.GetKind(), "ClusterRole") {
			items = append(items, object.Object)
		}
	}
	list["items"] = items
	manifest, err := json.Marshal(list)
	Expect(err).NotTo(HaveOccurred())
	return string(manifest)
}

func apply(ctx context.Context, manifest string) {
	GinkgoHelper()
	_, err := world.Kubectl(ctx, manifest, "apply", "--server-side", "-f", "-")
	Expect(err).NotTo(HaveOccurred())
}

// namespacedKustomization installs an operator that works in some namespaces alone.
func namespacedKustomization(base string) string {
	return fmt.Sprintf(`
resources: [../../config/%s]
components: [../../config/namespaced]
patches:
- target: {kind: Deployment, name: controller-manager}
  patch: |-
    - {op: add, path: /spec/template/spec/containers/0/args/-, value: "--watch-namespaces=billing,ledger"}
`, base)
}

var _ = DescribeTable("The manifests for an operator in some namespaces alone fit together", func(ctx context.Context, base string) {
	objects := kustomized(ctx, namespacedKustomization(base))
	Expect(find[appsv1.Deployment](objects, "Deployment").Spec.Template.Spec.Containers[0].Args).To(ContainElement("--watch-namespaces=billing,ledger"))
	Expect(find[rbacv1.ClusterRoleBinding](objects, "ClusterRoleBinding").RoleRef.Name).To(Equal("reporter-operator-metrics-auth-role"), "the only one")
	account, role := find[corev1.ServiceAccount](objects, "ServiceAccount"), find[rbacv1.ClusterRole](objects, "ClusterRole", "reporter-operator-manager-role")

	binding := find[rbacv1.RoleBinding](kustomized(ctx, "resources: [../../config/watched-namespace]\nnamespace: billing"), "RoleBinding")
	Expect(binding.Namespace).To(Equal("billing"))
	Expect(binding.RoleRef).To(Equal(rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: role.Name}))
	Expect(binding.Subjects).To(Equal([]rbacv1.Subject{{Kind: "ServiceAccount", Namespace: account.Namespace, Name: account.Name}}))
	Expect(role.Rules).To(ContainElement(And(HaveField("Resources", []string{"rolebindings"}), HaveField("ResourceNames", []string{binding.Name}))))
},
	Entry("on a new Kubernetes", "default"),
	Entry("on an older one", "default-before-1.36"),
)

// takeRightsAway has the operator work in single namespaces alone, with rights in no others, until the stories of the container end.
func takeRightsAway(ctx context.Context) {
	GinkgoHelper()
	everywhere := clusterRoles(ctx, "resources: [../../config/default]")
	killOperator()
	namespaced, watched = true, nil
	DeferCleanup(func(ctx context.Context) {
		namespaced = false
		apply(ctx, everywhere)
		restartOperator(ctx)
	})
	apply(ctx, clusterRoles(ctx, namespacedKustomization("default")))
	_, err := world.Kubectl(ctx, "", "delete", "clusterrolebinding", "reporter-operator-manager-rolebinding")
	Expect(err).NotTo(HaveOccurred())
	Eventually(ctx, func(ctx context.Context) []string { return rightsIn(ctx, "default") }).ShouldNot(ContainElement("list secrets"))
}

// These two stand by themselves, so that the processes share them.
var _ = Describe("Where the operator has rights in some namespaces alone, what is deleted:", Ordered, ContinueOnFailure, func() {
	var (
		overdue      *stage
		overdueSince time.Time
	)
	BeforeAll(func(ctx context.Context) {
		takeRightsAway(ctx)
		// The minute for which this RoleBinding is held goes by while the other stories play; the last one sees it end.
		overdue = newStage(ctx).withEndpoint(ctx)
		overdue.created(ctx, "ledger", overdue.reporter.Add(reportertest.Connection{}).ID)
		Expect(world.Delete(ctx, overdue.roleBinding())).To(Succeed())
		binding := overdue.roleBinding()
		Expect(world.Get(ctx, client.ObjectKeyFromObject(binding), binding)).To(Succeed())
		overdueSince = binding.DeletionTimestamp.Time
	})
	BeforeEach(func() { watched = nil })
	Describe("a namespace", deletedNamespaces)

	It("a RoleBinding that live resources need is let go after a minute, with a warning", func(ctx context.Context) {
		Expect(overdue.roleBindingDeleted(ctx)).To(BeTrue(), "and held")
		watched = []string{overdue.namespace}
		restartOperator(ctx)
		Eventually(ctx, left(overdue.roleBinding())).Should(BeEmpty())
		Expect(time.Now()).To(BeTemporally(">=", overdueSince.Add(time.Minute)))
		Expect(overdue.kubectl(ctx, "get", "events", "--field-selector=reason=ReleasedInUse,type=Warning", "-o=jsonpath={.items[*].involvedObject.kind} {.items[*].message}")).To(
			HavePrefix("RoleBinding without this RoleBinding the operator works here no longer: until it is created again, live resources are not looked up"))
		Expect(overdue.kubectl(ctx, "get", "rconn,rep")).To(And(ContainSubstring("ledger"), ContainSubstring("default")))
	})
})

var _ = Describe("Where the operator has rights in some namespaces alone, objects deleted in random order", Ordered, ContinueOnFailure, func() {
	BeforeAll(takeRightsAway)
	BeforeEach(func() { watched = nil })
	randomHistories(min(rounds(), 4))
})

var _ = Describe("An operator with rights in some namespaces alone", Ordered, ContinueOnFailure, func() {
	BeforeAll(takeRightsAway)
	BeforeEach(func() { watched = nil })

	It("has these rights and no others", func(ctx context.Context) {
		s := newStage(ctx)
		everywhere := []string{"create tokenreviews.authentication.k8s.io", "create subjectaccessreviews.authorization.k8s.io"}
		Expect(rightsIn(ctx, "default")).To(ConsistOf(everywhere))
		Expect(rightsIn(ctx, s.namespace)).To(ConsistOf(append(everywhere,
			"get reporterconnections.reporter.lerian.studio", "list reporterconnections.reporter.lerian.studio",
			"watch reporterconnections.reporter.lerian.studio", "patch reporterconnections.reporter.lerian.studio",
			"patch reporterconnections/status.reporter.lerian.studio",
			"get reporterendpoints.reporter.lerian.studio", "list reporterendpoints.reporter.lerian.studio",
			"watch reporterendpoints.reporter.lerian.studio", "patch reporterendpoints.reporter.lerian.studio",
			"patch reporterendpoints/status.reporter.lerian.studio",
			"get secrets", "list secrets", "watch secrets", "patch secrets",
			"get namespaces",
			"create events.events.k8s.io",
			"get rolebindings.rbac.authorization.k8s.io reporter-operator", "list rolebindings.rbac.authorization.k8s.io reporter-operator",
			"watch rolebindings.rbac.authorization.k8s.io reporter-operator", "patch rolebindings.rbac.authorization.k8s.io reporter-operator",
		)))
	})

	Describe("may not write", func() {
		var s *stage
		BeforeAll(func(ctx context.Context) { s = newStage(ctx) })
		DescribeTable("more than it must:", func(ctx context.Context, patch, message string) {
			try := clientOf(theOperator).Patch(ctx, s.roleBinding(), client.RawPatch(types.MergePatchType, []byte(patch)), client.DryRunAll)
			Expect(try).To(MatchError(ContainSubstring(message)))
		},
			Entry("others into its RoleBinding", `{"subjects":[{"kind":"User","name":"theirs","apiGroup":"rbac.authorization.k8s.io"}]}`,
				"the operator may change nothing of a RoleBinding but its finalizer reporter.lerian.studio/in-use"),
			Entry("nobody into its RoleBinding", `{"subjects":null}`, "nothing of a RoleBinding but its finalizer"),
			Entry("a label of its RoleBinding", `{"metadata":{"labels":{"a":"b"}}}`, "nothing of a RoleBinding but its finalizer"),
			Entry("another finalizer onto its RoleBinding", `{"metadata":{"finalizers":["reporter.lerian.studio/in-use","example.com/theirs"]}}`, "nothing of a RoleBinding but its finalizer"),
			Entry("another role into its RoleBinding", `{"roleRef":{"name":"admin"}}`, "is attempting to grant RBAC permissions not currently held"),
		)
	})

	It("may not touch other RoleBindings, nor make or delete its own", func(ctx context.Context) {
		s := newStage(ctx)
		Expect(s.may(theOperator, "patch rolebindings/reporter-operator")(ctx)).To(BeTrue())
		for _, what := range []string{"patch rolebindings/theirs", "list rolebindings", "delete rolebindings/reporter-operator", "create rolebindings"} {
			Expect(s.may(theOperator, what)(ctx)).To(BeFalse(), what)
		}
		s.kubectl(ctx, "create", "rolebinding", "theirs", "--clusterrole=view", "--user=theirs")
		Expect(s.as(ctx, theOperator, "get", "rolebinding", "theirs")).To(MatchError(ContainSubstring(`User "` + theOperator + `" cannot get resource "rolebindings"`)))
	})

	It("lets go of its RoleBinding last", func(ctx context.Context) {
		s := newStage(ctx).withSecuredEndpoint(ctx)
		ids := s.populate(ctx, s.namespace, 5, nil)
		Eventually(ctx, seen(s.namespace)).Should(BeTrue())
		end := s.reporter.StartJob(s.namespace + "-connection-03")
		deleteNamespace(ctx, s.namespace)
		Eventually(ctx, func() []string { return s.alive(ids) }).Should(HaveLen(1))
		Eventually(ctx, s.roleBindingDeleted).Should(BeTrue(), "together with all the rest")
		asked := s.asked(http.MethodDelete, ids[3])
		Eventually(ctx, func() int { return s.asked(http.MethodDelete, ids[3]) }).Should(BeNumerically(">", asked+1))
		Expect(s.roleBindingDeleted(ctx)).To(BeTrue(), "and held")
		end()
		expectEmptied(ctx, s.namespace)
		Eventually(ctx, s.writes).Should(And(
			ContainElements("patch secrets token", "patch reporterendpoints default", "patch reporterconnections connection-03"),
			WithTransform(func(writes []string) string { return writes[len(writes)-1] }, Equal("patch rolebindings reporter-operator"))))
	})

	It("holds a deleted RoleBinding while a deletion waits", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
		rc := s.created(ctx, "ledger", id)
		end := s.reporter.StartJob("ledger-db")
		s.kubectl(ctx, "delete", "rconn/ledger", "rep/default", "rolebinding/reporter-operator", "--wait=false")
		Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("JobInProgress"))
		Eventually(ctx, func() int { return s.asked(http.MethodDelete, id) }).Should(BeNumerically(">=", 3))
		Expect(s.roleBindingDeleted(ctx)).To(BeTrue(), "and held")
		end()
		Eventually(ctx, left(s.roleBinding(), s.endpoint("default", ""), rc)).Should(BeEmpty())
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("works on where it can while a namespace is missing, and there when that gets its RoleBinding", func(ctx context.Context) {
		late := fmt.Sprintf("late-%d", GinkgoRandomSeed())
		watched = []string{late}
		s := newStage(ctx).withEndpoint(ctx)
		s.created(ctx, "ledger", s.reporter.Add(reportertest.Connection{}).ID)
		Eventually(ctx, operatorLog).Should(And(ContainSubstring("Not working in a namespace, as it has no RoleBinding for the operator, or does not exist"),
			ContainSubstring("kubectl create rolebinding reporter-operator --namespace "+late+" --clusterrole=reporter-operator-manager-role "+
				"--serviceaccount=reporter-operator-system:reporter-operator-controller-manager")))

		other := &stage{namespace: late, reporter: s.reporter, server: s.server}
		_, err := world.Kubectl(ctx, "", "create", "namespace", late)
		Expect(err).NotTo(HaveOccurred())
		other.kubectl(ctx, "create", "rolebinding", "reporter-operator", "--clusterrole=reporter-operator-manager-role",
			"--serviceaccount=reporter-operator-system:reporter-operator-controller-manager")
		other.withEndpoint(ctx).created(ctx, "ledger", s.reporter.Add(reportertest.Connection{}).ID)
		Eventually(ctx, other.roleBindingFinalizers).Should(Equal([]string{"reporter.lerian.studio/in-use"}))

		// And on without it when it is gone again.
		deleteNamespace(ctx, late)
		expectEmptied(ctx, late)
		Eventually(ctx, func() (int, error) {
			log, err := operatorLog()
			return strings.Count(log, `"msg":"Working in namespaces","namespaces":["`+s.namespace+`"]`), err
		}).Should(BeNumerically(">=", 2), "before and after")
		s.created(ctx, "another", s.reporter.Add(reportertest.Connection{}).ID)
	})

	It("refuses an endpoint that selects namespaces by labels, and says what to write instead", func(ctx context.Context) {
		s, other := newStage(ctx).withEndpoint(ctx), newStage(ctx)
		s.patchEndpoint(ctx, `{"spec":{"allowedNamespaces":{"from":"Selector","selector":{"matchLabels":{"kubernetes.io/metadata.name":"`+other.namespace+`"}}}}}`)
		endpoint := s.endpoint("default", "")
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("InvalidEndpoint"))
		Expect(mustCondition(ctx, endpoint, "Ready").Message).To(Equal(`spec.allowedNamespaces of ReporterEndpoint "default" selects namespaces by their labels, ` +
			`which an operator that is installed for some namespaces alone may not watch. Set from to Same, or to All, which means those namespaces`))

		rc := other.connection("ledger", s.reporter.Add(reportertest.Connection{}).ID)
		rc.Spec.EndpointRef.Namespace = s.namespace
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("EndpointNotFound"), "it learns nothing of it")
		s.patchEndpoint(ctx, `{"spec":{"allowedNamespaces":{"from":"All","selector":null}}}`)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		s.kubectl(ctx, "delete", "rep", "default", "--wait=false")
		Eventually(ctx, reasonOf(endpoint, "DeletionBlocked")).Should(Equal("InUse"))
		other.deleteConnections(ctx, "ledger")
		other.expectGone(ctx, "ledger")
		Eventually(ctx, gone(endpoint)).Should(BeTrue())
	})

	It("finds no endpoint in a namespace where it does not work, whether there is one or not", func(ctx context.Context) {
		unwatched := newStage(ctx)
		watched = nil
		Expect(world.Create(ctx, unwatched.endpoint("default", unwatched.server.URL))).To(Succeed())
		unwatched.patchEndpoint(ctx, `{"spec":{"allowedNamespaces":{"from":"All"}}}`)
		s := newStage(ctx)
		rc := s.connection("ledger", s.reporter.Add(reportertest.Connection{}).ID)
		rc.Spec.EndpointRef.Namespace = unwatched.namespace
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("EndpointNotFound"))
		Expect(mustCondition(ctx, rc, "Ready").Message).To(Equal(fmt.Sprintf(`ReporterEndpoint "default" does not exist in namespace %q, or does not allow namespace %q `+
			`in its spec.allowedNamespaces. Have it created or allowed, or name another in spec.endpointRef`, unwatched.namespace, s.namespace)))
		Expect(unwatched.asked(http.MethodGet, rc.Spec.ConnectionID)).To(BeZero())
	})

	It("has connections created, kept as described and deleted", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		Expect(s.only()).To(s.asDescribed(ctx, "ledger"))
		s.patchSecret(ctx, "database", `{"stringData":{"password":"changed"}}`)
		Eventually(ctx, func() string { return s.reporter.Secrets(rc.Status.ConnectionID).Password }).Should(Equal("changed"))
		s.patchConnection(ctx, "ledger", `{"spec":{"connection":{"port":5433}}}`)
		Eventually(ctx, s.reporter.Connections).Should(ConsistOf(HaveField("Port", 5433)))
		deleteNamespace(ctx, s.namespace)
		expectEmptied(ctx, s.namespace)
		Expect(s.reporter.Connections()).To(BeEmpty())
	})

	It("sees no claim in a namespace where it does not work", func(ctx context.Context) {
		unwatched := newStage(ctx)
		watched = nil
		s := newStage(ctx).withEndpoint(ctx)
		unwatched.server, unwatched.reporter = s.server, s.reporter
		Expect(world.Create(ctx, unwatched.endpoint("default", unwatched.server.URL))).To(Succeed())
		id := s.reporter.Add(reportertest.Connection{}).ID
		Expect(world.Create(ctx, unwatched.connection("ledger", id))).To(Succeed())
		s.created(ctx, "ledger", id)
		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})
})
