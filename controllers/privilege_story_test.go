// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// theOperator is the user that the operator is to the API server.
const theOperator = "system:serviceaccount:reporter-operator-system:reporter-operator-controller-manager"

// as runs kubectl in the stage's namespace as another user.
func (s *stage) as(ctx context.Context, user string, args ...string) error {
	_, err := world.Kubectl(ctx, "", append([]string{"--namespace", s.namespace, "--as", user}, args...)...)
	return err
}

// may polls whether a user is allowed to do something in the stage's namespace, as in "create rconn".
func (s *stage) may(user, what string) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		answer, err := world.Kubectl(ctx, "", append([]string{"--namespace", s.namespace, "--as", user, "auth", "can-i"}, strings.Fields(what)...)...)
		if strings.TrimSpace(answer) == "no" {
			return false, nil // which kubectl also tells with its exit status
		}
		return strings.TrimSpace(answer) == "yes", err
	}
}

// rightsIn lists what the operator may do in a namespace and not everybody may, as "verb resource names".
func rightsIn(ctx context.Context, namespace string) []string {
	GinkgoHelper()
	rightsOf := func(user, namespace string) []string {
		review, err := world.Kubectl(ctx, fmt.Sprintf(`{apiVersion: authorization.k8s.io/v1, kind: SelfSubjectRulesReview, spec: {namespace: %s}}`, namespace),
			"--as", user, "create", "--validate=false", "-f", "-", "-o", "yaml")
		Expect(err).NotTo(HaveOccurred())
		var granted authorizationv1.SelfSubjectRulesReview
		Expect(yaml.Unmarshal([]byte(review), &granted)).To(Succeed())
		var rights []string
		for _, rule := range granted.Status.ResourceRules {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						right := append([]string{verb, strings.TrimSuffix(resource+"."+group, ".")}, rule.ResourceNames...)
						rights = append(rights, strings.Join(right, " "))
					}
				}
			}
		}
		return rights
	}
	everybodys := rightsOf("system:serviceaccount:default:nobody", "default")
	return slices.DeleteFunc(rightsOf(theOperator, namespace), func(right string) bool { return slices.Contains(everybodys, right) })
}

var _ = Describe("The operator's ServiceAccount", func() {
	It("has these rights and no others", func(ctx context.Context) {
		everywhere := []string{
			"get reporterconnections.reporter.lerian.studio", "list reporterconnections.reporter.lerian.studio",
			"watch reporterconnections.reporter.lerian.studio", "patch reporterconnections.reporter.lerian.studio",
			"patch reporterconnections/status.reporter.lerian.studio",
			"get reporterendpoints.reporter.lerian.studio", "list reporterendpoints.reporter.lerian.studio",
			"watch reporterendpoints.reporter.lerian.studio", "patch reporterendpoints.reporter.lerian.studio",
			"patch reporterendpoints/status.reporter.lerian.studio",
			"get secrets", "list secrets", "watch secrets", "patch secrets",
			"get namespaces", "list namespaces", "watch namespaces",
			"create events.events.k8s.io",
			"create tokenreviews.authentication.k8s.io", "create subjectaccessreviews.authorization.k8s.io",
		}
		Expect(rightsIn(ctx, "default")).To(ConsistOf(everywhere))
		Expect(rightsIn(ctx, "reporter-operator-system")).To(ConsistOf(append(everywhere,
			"create leases.coordination.k8s.io",
			"get leases.coordination.k8s.io reporter-operator.reporter.lerian.studio",
			"update leases.coordination.k8s.io reporter-operator.reporter.lerian.studio",
			"create events",
		)))
	})

	It("takes its own finalizer off a Secret, and no other", func(ctx context.Context) {
		s := newStage(ctx)
		secret := s.credentials(ctx)
		s.kubectl(ctx, "patch", "secret", "token", "--type=json", "-p", `[{"op":"add","path":"/metadata/finalizers/0","value":"example.com/theirs"}]`)
		s.kubectl(ctx, "delete", "secret", "token", "--wait=false")
		Eventually(ctx, func(ctx context.Context) ([]string, error) {
			err := world.Get(ctx, client.ObjectKeyFromObject(secret), secret)
			return secret.Finalizers, err
		}).Should(Equal([]string{"example.com/theirs"}))

		remove := []string{"patch", "secret", "token", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`}
		Expect(s.as(ctx, theOperator, remove...)).To(MatchError(
			ContainSubstring("the operator may change nothing of a Secret but its finalizer reporter.lerian.studio/in-use")))
		s.kubectl(ctx, remove...)
	})

	It("may not write more finalizers than the policy can look through", func(ctx context.Context) {
		s := newStage(ctx)
		s.credentials(ctx)
		patch := filepath.Join(GinkgoT().TempDir(), "patch.json")
		Expect(os.WriteFile(patch, []byte(`{"metadata":{"finalizers":["example.com/theirs"`+strings.Repeat(`,"a/a"`, 100_000)+`]}}`), 0o600)).To(Succeed())
		Expect(s.as(ctx, theOperator, "patch", "secret", "token", "--type=merge", "--dry-run=server", "--patch-file="+patch)).To(MatchError(
			ContainSubstring("the operator may change nothing of a Secret but its finalizer reporter.lerian.studio/in-use")))
	})

	DescribeTable("may not write", func(ctx context.Context, what, patch, message string) {
		s := newStage(ctx).withSecuredEndpoint(ctx)
		s.created(ctx, "ledger", s.reporter.Add(reportertest.Connection{}).ID)
		s.kubectl(ctx, "create", "secret", "generic", "unmarked", "--from-literal=a=b")
		try := append(append([]string{"patch"}, strings.Fields(what)...), "--type=merge", "--dry-run=server", "-p", patch)
		Expect(s.as(ctx, theOperator, try...)).To(MatchError(ContainSubstring(message)))
		if message != "field is immutable" {
			s.kubectl(ctx, try...) // anybody else may who has the right to
		}
	},
		Entry("the data of a Secret", "secret token", `{"data":{"token":"dGhlaXJz"}}`, "nothing of a Secret but its finalizer reporter.lerian.studio/in-use"),
		Entry("more data into a Secret", "secret token", `{"stringData":{"more":"theirs"}}`, "nothing of a Secret but its finalizer"),
		Entry("the data of a Secret away", "secret token", `{"data":null}`, "nothing of a Secret but its finalizer"),
		Entry("the mark onto a Secret", "secret unmarked", `{"metadata":{"labels":{"reporter.lerian.studio/credentials":"true"}}}`, "nothing of a Secret but its finalizer"),
		Entry("the mark off a Secret", "secret token", `{"metadata":{"labels":null}}`, "nothing of a Secret but its finalizer"),
		Entry("an annotation of a Secret", "secret unmarked", `{"metadata":{"annotations":{"a":"b"}}}`, "nothing of a Secret but its finalizer"),
		Entry("an owner of a Secret", "secret token", `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"none","uid":"none"}]}}`, "nothing of a Secret but its finalizer"),
		Entry("another finalizer onto a Secret", "secret token", `{"metadata":{"finalizers":["reporter.lerian.studio/in-use","example.com/theirs"]}}`, "nothing of a Secret but its finalizer"),
		Entry("a Secret so that nobody may", "secret token", `{"immutable":true}`, "nothing of a Secret but its finalizer"),
		Entry("the type of a Secret", "secret token", `{"type":"example.com/theirs"}`, "field is immutable"),
		Entry("the spec of a ReporterConnection", "rconn ledger", `{"spec":{"deletionPolicy":"Retain"}}`, "nothing of a ReporterConnection but its finalizer reporter.lerian.studio/connection"),
		Entry("an annotation of a ReporterConnection", "rconn ledger", `{"metadata":{"annotations":{"reporter.lerian.studio/requestedAt":"now"}}}`, "nothing of a ReporterConnection but its finalizer"),
		Entry("the URL of a ReporterEndpoint", "rep default", `{"spec":{"url":"http://theirs"}}`, "nothing of a ReporterEndpoint but its finalizer reporter.lerian.studio/in-use"),
		Entry("another finalizer onto a ReporterEndpoint", "rep default", `{"metadata":{"finalizers":["reporter.lerian.studio/in-use","reporter.lerian.studio/connection"]}}`, "nothing of a ReporterEndpoint but its finalizer"),
	)
})

// What people may do with our kinds, as `kubectl auth can-i` asks for it.
var (
	reads             = []string{"get rconn", "list rconn", "watch rconn", "get rep", "list rep", "watch rep"}
	writesConnections = []string{"create rconn", "update rconn", "patch rconn", "delete rconn"}
	writesEndpoints   = []string{"create rep", "update rep", "patch rep", "delete rep"}
	nobody            = []string{"patch rconn --subresource=status", "patch rep --subresource=status", "update rconn --subresource=status"}
)

var _ = Describe("The cluster's own roles", func() {
	var s *stage
	BeforeEach(func(ctx context.Context) {
		s = newStage(ctx).withEndpoint(ctx)
		for _, role := range []string{"view", "edit", "admin"} {
			s.kubectl(ctx, "create", "rolebinding", role, "--clusterrole="+role, "--user="+role)
		}
	})
	DescribeTable("have our kinds in them", func(ctx context.Context, user string, allowed, refused [][]string) {
		for _, list := range allowed {
			for _, what := range list {
				Eventually(ctx, s.may(user, what)).Should(BeTrue(), what)
			}
		}
		for _, list := range append(refused, nobody) {
			for _, what := range list {
				Expect(s.may(user, what)(ctx)).To(BeFalse(), what)
			}
		}
	},
		Entry("view reads them", "view", [][]string{reads}, [][]string{writesConnections, writesEndpoints}),
		Entry("edit writes connections", "edit", [][]string{reads, writesConnections}, [][]string{writesEndpoints}),
		Entry("admin writes endpoints too", "admin", [][]string{reads, writesConnections, writesEndpoints}, nil),
	)

	It("let an editor claim and delete a connection, and not say where Reporter is", func(ctx context.Context) {
		create := func(kind, name, spec string) error {
			_, err := world.Kubectl(ctx, fmt.Sprintf("apiVersion: reporter.lerian.studio/v1alpha1\nkind: %s\nmetadata: {name: %s, namespace: %s}\nspec: %s",
				kind, name, s.namespace, spec), "--as", "edit", "create", "-f", "-")
			return err
		}
		id := s.reporter.Add(reportertest.Connection{}).ID
		Eventually(ctx, s.may("edit", "create rconn")).Should(BeTrue())
		Eventually(ctx, s.may("edit", "delete rconn")).Should(BeTrue())
		Expect(create("ReporterConnection", "ledger", "{connectionID: "+id+"}")).To(Succeed())
		Expect(s.as(ctx, "edit", "delete", "rconn", "ledger", "--timeout=30s")).To(Succeed())
		Expect(s.reporter.Alive(id)).To(BeFalse())

		Expect(create("ReporterEndpoint", "theirs", `{url: "http://theirs"}`)).To(MatchError(ContainSubstring(
			`User "edit" cannot create resource "reporterendpoints" in API group "reporter.lerian.studio" in the namespace "` + s.namespace + `"`)))
		Expect(s.as(ctx, "edit", "patch", "rep", "default", "--type=merge", "-p", `{"spec":{"suspend":true}}`)).To(MatchError(ContainSubstring(
			`User "edit" cannot patch resource "reporterendpoints" in API group "reporter.lerian.studio" in the namespace "` + s.namespace + `"`)))
	})
})

var _ = Describe("Metrics", Serial, func() {
	It("are for those who may read them, over TLS", func(ctx context.Context) {
		s := newStage(ctx)
		token := func(account string) string {
			s.kubectl(ctx, "create", "serviceaccount", account)
			return strings.TrimSpace(s.kubectl(ctx, "create", "token", account))
		}
		prometheus, stranger := token("prometheus"), token("stranger")
		binding := s.namespace + "-metrics"
		s.kubectl(ctx, "create", "clusterrolebinding", binding, "--clusterrole=reporter-operator-metrics-reader", "--serviceaccount="+s.namespace+":prometheus")
		DeferCleanup(func(ctx context.Context) { s.kubectl(ctx, "delete", "clusterrolebinding", binding) })
		// Whom the operator has seen refused it refuses for a while.
		Eventually(ctx, s.may("system:serviceaccount:"+s.namespace+":prometheus", "get /metrics")).Should(BeTrue())

		s.withEndpoint(ctx).created(ctx, "ledger", s.reporter.Add(reportertest.Connection{}).ID)
		address := freeAddress(ctx)
		Expect(operator.Stop()).To(Succeed())
		var err error
		operator, err = world.StartOperator(ctx, logFile, "--metrics-bind-address="+address)
		Expect(err).NotTo(HaveOccurred())
		s.kubectl(ctx, "delete", "rconn", "ledger", "--timeout=30s")

		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		DeferCleanup(transport.CloseIdleConnections)
		scrape := func(scheme, token string) func(context.Context) (string, error) {
			return func(ctx context.Context) (string, error) {
				request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+"/metrics", nil)
				if err != nil {
					return "", err
				}
				if token != "" {
					request.Header.Set("Authorization", "Bearer "+token)
				}
				response, err := transport.RoundTrip(request)
				if err != nil {
					return "", err
				}
				defer response.Body.Close()
				body, err := io.ReadAll(response.Body)
				return fmt.Sprintf("%d %s", response.StatusCode, body), err
			}
		}
		Eventually(ctx, scrape("https", "")).Should(Equal("401 Unauthorized\n"))
		Expect(scrape("https", "made-up")(ctx)).To(HaveSuffix("Authentication failed\n"))
		Expect(scrape("https", stranger)(ctx)).To(Equal("403 Authorization denied for user system:serviceaccount:" + s.namespace + ":stranger\n"))
		Expect(scrape("https", prometheus)(ctx)).To(And(HavePrefix("200 "),
			ContainSubstring(`reporter_operator_connections_left_behind_total{cause="Retained"} `),
			ContainSubstring("reporter_operator_connections_deleted_total "), Not(ContainSubstring(s.namespace))))
		plain, _ := scrape("http", prometheus)(ctx) // an answer that says so, or a connection that is reset
		Expect(plain).NotTo(HavePrefix("200 "), "without TLS")
	})
})

// freeAddress is one on loopback that nobody listens on.
func freeAddress(ctx context.Context) string {
	GinkgoHelper()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	defer listener.Close()
	return listener.Addr().String()
}

var _ = Describe("The manifests", func() {
	It("run the operator in a pod that meets the restricted Pod Security Standard and cannot write to its file system", func(ctx context.Context) {
		deployment := find[appsv1.Deployment](kustomized(ctx, "resources: [../config/default]"), "Deployment")
		s := newStage(ctx)
		s.kubectl(ctx, "label", "namespace", s.namespace, "pod-security.kubernetes.io/enforce=restricted")
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "manager"}, Spec: deployment.Spec.Template.Spec}
		Expect(pod.Spec.Containers).To(HaveLen(1))
		Expect(pod.Spec.Containers[0].SecurityContext.ReadOnlyRootFilesystem).To(HaveValue(BeTrue()))
		Expect(pod.Spec.Volumes).To(BeEmpty(), "and nowhere else")

		laxer := pod.DeepCopy()
		laxer.Spec.SecurityContext.RunAsNonRoot = nil
		Eventually(ctx, func(ctx context.Context) error { return world.Create(ctx, laxer, client.DryRunAll) }).Should(MatchError(
			ContainSubstring(`violates PodSecurity "restricted:latest": runAsNonRoot != true`)))
		Expect(world.Create(ctx, pod, client.DryRunAll)).To(Succeed())
	})

	DescribeTable("fit together with their components", func(ctx context.Context, more, namespace, prefix string) {
		objects := kustomized(ctx, "resources: [../config/default]\ncomponents: [../config/prometheus, ../config/network-policy]\n"+more)
		account := find[corev1.ServiceAccount](objects, "ServiceAccount")
		Expect([]string{account.Namespace, account.Name}).To(Equal([]string{namespace, prefix + "controller-manager"}))
		deployment := find[appsv1.Deployment](objects, "Deployment")
		Expect([]string{deployment.Namespace, deployment.Spec.Template.Spec.ServiceAccountName}).To(Equal([]string{account.Namespace, account.Name}))

		binding := find[admissionregistrationv1.ValidatingAdmissionPolicyBinding](objects, "ValidatingAdmissionPolicyBinding", prefix+"finalizers-only")
		find[admissionregistrationv1.ValidatingAdmissionPolicy](objects, "ValidatingAdmissionPolicy", binding.Spec.PolicyName)
		Expect([]string{binding.Spec.ParamRef.Namespace, binding.Spec.ParamRef.Name}).To(Equal([]string{account.Namespace, account.Name}), "whom it restrains")

		policy, monitor := find[networkingv1.NetworkPolicy](objects, "NetworkPolicy"), find[metav1.PartialObjectMetadata](objects, "ServiceMonitor")
		Expect([]string{policy.Namespace, monitor.Namespace}).To(HaveEach(namespace))
		Expect(policy.Spec.PodSelector.MatchLabels).To(Equal(deployment.Spec.Template.Labels))
	},
		Entry("as they are", "", "reporter-operator-system", "reporter-operator-"),
		Entry("under a prefix and in a namespace of a user's own", "namePrefix: our-\nnamespace: ours", "ours", "our-reporter-operator-"),
	)
})

// kustomized builds a kustomization of a user's own, written as it would be next to config/.
func kustomized(ctx context.Context, kustomization string) []unstructured.Unstructured {
	GinkgoHelper()
	dir := GinkgoT().TempDir()
	root, err := filepath.Abs("..")
	Expect(err).NotTo(HaveOccurred())
	toRoot, err := filepath.Rel(dir, root)
	Expect(err).NotTo(HaveOccurred())
	kustomization = strings.ReplaceAll(kustomization, "../config", filepath.Join(toRoot, "config"))
	Expect(os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(kustomization), 0o600)).To(Succeed())
	manifests, err := world.Kubectl(ctx, "", "kustomize", dir)
	Expect(err).NotTo(HaveOccurred())
	var objects []unstructured.Unstructured
	for _, document := range strings.Split(manifests, "\n---\n") {
		var object unstructured.Unstructured
		Expect(yaml.Unmarshal([]byte(document), &object.Object)).To(Succeed())
		objects = append(objects, object)
	}
	return objects
}

// find decodes the one object of a kind, and of a name where that is given.
func find[T any](objects []unstructured.Unstructured, kind string, name ...string) *T {
	GinkgoHelper()
	var found []*T
	for _, object := range objects {
		if object.GetKind() == kind && (len(name) == 0 || object.GetName() == name[0]) {
			decoded := new(T)
			Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, decoded)).To(Succeed())
			found = append(found, decoded)
		}
	}
	Expect(found).To(HaveLen(1), kind)
	return found[0]
}
