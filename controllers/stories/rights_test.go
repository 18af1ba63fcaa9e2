// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// theOperator is the user that the operator is to the API server.
const theOperator = "system:serviceaccount:reporter-operator-system:reporter-operator-controller-manager"

// as runs kubectl in the stage's namespace as another user.
func (s *stage) as(ctx context.Context, user string, args ...string) error {
	_, err := world.Kubectl(ctx, "", append([]string{"--namespace", s.namespace, "--as", user}, args...)...)
	return err
}

// clientOf is a client that acts as another user.
func clientOf(user string) client.Client {
	GinkgoHelper()
	config := world.Config()
	config.Impersonate.UserName = user
	c, err := client.New(config, client.Options{Scheme: world.Scheme(), Mapper: world.RESTMapper()})
	Expect(err).NotTo(HaveOccurred())
	return c
}

// may polls whether a user is allowed to do something in the stage's namespace, as in "patch rolebindings/theirs" or "patch
// reporterconnections --subresource=status".
func (s *stage) may(user, what string) func(context.Context) (bool, error) {
	verb, resource, _ := strings.Cut(what, " ")
	resource, subresource, _ := strings.Cut(resource, " --subresource=")
	resource, name, _ := strings.Cut(resource, "/")
	group := ""
	switch resource {
	case "reporterconnections", "reporterendpoints":
		group = "reporter.lerian.studio"
	case "rolebindings":
		group = "rbac.authorization.k8s.io"
	}
	return allowed(authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: &authorizationv1.ResourceAttributes{
		Namespace: s.namespace, Verb: verb, Group: group, Version: "*", Resource: resource, Subresource: subresource, Name: name}})
}

// allowed polls whether the API server allows something.
func allowed(asked authorizationv1.SubjectAccessReviewSpec) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		review := &authorizationv1.SubjectAccessReview{Spec: asked}
		err := world.Create(ctx, review)
		return review.Status.Allowed, err
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
		finalizers := func(ctx context.Context) ([]string, error) {
			err := world.Get(ctx, client.ObjectKeyFromObject(secret), secret)
			return secret.Finalizers, err
		}
		Eventually(ctx, finalizers).Should(Equal([]string{"reporter.lerian.studio/in-use"}))
		s.kubectl(ctx, "patch", "secret", "token", "--type=json", "-p", `[{"op":"add","path":"/metadata/finalizers/0","value":"example.com/theirs"}]`)
		s.kubectl(ctx, "delete", "secret", "token", "--wait=false")
		Eventually(ctx, finalizers).Should(Equal([]string{"example.com/theirs"}))

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

	Describe("may not write", Ordered, ContinueOnFailure, func() {
		var s *stage
		var operators client.Client
		BeforeAll(func(ctx context.Context) {
			s = newStage(ctx).withSecuredEndpoint(ctx)
			s.created(ctx, "ledger", s.reporter.Add(reportertest.Connection{}).ID)
			s.kubectl(ctx, "create", "secret", "generic", "unmarked", "--from-literal=a=b")
			Expect(world.Create(ctx, s.database("hush"))).To(Succeed())
			s.create(ctx, s.described("books"))
			operators = clientOf(theOperator)
		})
		DescribeTable("what is not its own:", func(ctx context.Context, object client.Object, name, patch, message string) {
			try := func(c client.Client) error {
				tried := object.DeepCopyObject().(client.Object)
				tried.SetNamespace(s.namespace)
				tried.SetName(name)
				return c.Patch(ctx, tried, client.RawPatch(types.MergePatchType, []byte(patch)), client.DryRunAll)
			}
			Expect(try(operators)).To(MatchError(ContainSubstring(message)))
			if message != "field is immutable" {
				Expect(try(world)).To(Succeed(), "anybody else may who has the right to")
			}
		},
			Entry("the data of a Secret", &corev1.Secret{}, "token", `{"data":{"token":"dGhlaXJz"}}`, "nothing of a Secret but its finalizer reporter.lerian.studio/in-use"),
			Entry("more data into a Secret", &corev1.Secret{}, "token", `{"stringData":{"more":"theirs"}}`, "nothing of a Secret but its finalizer"),
			Entry("the data of a Secret away", &corev1.Secret{}, "token", `{"data":null}`, "nothing of a Secret but its finalizer"),
			Entry("the mark onto a Secret", &corev1.Secret{}, "unmarked", `{"metadata":{"labels":{"reporter.lerian.studio/credentials":"true"}}}`, "nothing of a Secret but its finalizer"),
			Entry("the mark off a Secret", &corev1.Secret{}, "token", `{"metadata":{"labels":null}}`, "nothing of a Secret but its finalizer"),
			Entry("an annotation of a Secret", &corev1.Secret{}, "unmarked", `{"metadata":{"annotations":{"a":"b"}}}`, "nothing of a Secret but its finalizer"),
			Entry("an owner of a Secret", &corev1.Secret{}, "token", `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"none","uid":"none"}]}}`, "nothing of a Secret but its finalizer"),
			Entry("another finalizer onto a Secret", &corev1.Secret{}, "token", `{"metadata":{"finalizers":["reporter.lerian.studio/in-use","example.com/theirs"]}}`, "nothing of a Secret but its finalizer"),
			Entry("a Secret so that nobody may", &corev1.Secret{}, "token", `{"immutable":true}`, "nothing of a Secret but its finalizer"),
			Entry("the type of a Secret", &corev1.Secret{}, "token", `{"type":"example.com/theirs"}`, "field is immutable"),
			Entry("the spec of a ReporterConnection", &v1alpha1.ReporterConnection{}, "ledger", `{"spec":{"deletionPolicy":"Retain"}}`, "nothing of a ReporterConnection but its finalizer reporter.lerian.studio/connection"),
			Entry("an annotation of a ReporterConnection", &v1alpha1.ReporterConnection{}, "ledger", `{"metadata":{"annotations":{"reporter.lerian.studio/requestedAt":"now"}}}`, "nothing of a ReporterConnection but its finalizer"),
			Entry("what a ReporterConnection describes", &v1alpha1.ReporterConnection{}, "books", `{"spec":{"connection":{"host":"theirs"}}}`, "nothing of a ReporterConnection but its finalizer"),
			Entry("that a connection is to be taken back", &v1alpha1.ReporterConnection{}, "books", `{"metadata":{"annotations":{"reporter.lerian.studio/takeBack":"now"}}}`, "nothing of a ReporterConnection but its finalizer"),
			Entry("the password of a database", &corev1.Secret{}, "database", `{"stringData":{"password":"theirs"}}`, "nothing of a Secret but its finalizer"),
			Entry("the hosts that a password may be sent with", &corev1.Secret{}, "database", `{"metadata":{"annotations":{"reporter.lerian.studio/hosts":"theirs"}}}`, "nothing of a Secret but its finalizer"),
			Entry("the mark of an endpoint's Secret onto a database's", &corev1.Secret{}, "database", `{"metadata":{"labels":{"reporter.lerian.studio/credentials":"true"}}}`, "nothing of a Secret but its finalizer"),
			Entry("what a ReporterEndpoint may be used for", &v1alpha1.ReporterEndpoint{}, "default", `{"spec":{"managementPolicy":"DeleteOnly"}}`, "nothing of a ReporterEndpoint but its finalizer"),
			Entry("the URL of a ReporterEndpoint", &v1alpha1.ReporterEndpoint{}, "default", `{"spec":{"url":"http://theirs"}}`, "nothing of a ReporterEndpoint but its finalizer reporter.lerian.studio/in-use"),
			Entry("another finalizer onto a ReporterEndpoint", &v1alpha1.ReporterEndpoint{}, "default", `{"metadata":{"finalizers":["reporter.lerian.studio/in-use","reporter.lerian.studio/connection"]}}`, "nothing of a ReporterEndpoint but its finalizer"),
		)
	})
})

// What people may do with our kinds.
var (
	reads = []string{"get reporterconnections", "list reporterconnections", "watch reporterconnections",
		"get reporterendpoints", "list reporterendpoints", "watch reporterendpoints"}
	writesConnections = []string{"create reporterconnections", "update reporterconnections", "patch reporterconnections", "delete reporterconnections",
		"deletecollection reporterconnections", "update reporterconnections --subresource=finalizers"}
	writesEndpoints = []string{"create reporterendpoints", "update reporterendpoints", "patch reporterendpoints", "delete reporterendpoints",
		"deletecollection reporterendpoints", "update reporterendpoints --subresource=finalizers"}
	nobody = []string{"patch reporterconnections --subresource=status", "patch reporterendpoints --subresource=status",
		"update reporterconnections --subresource=status"}
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
		Eventually(ctx, s.may("edit", "create reporterconnections")).Should(BeTrue())
		Eventually(ctx, s.may("edit", "delete reporterconnections")).Should(BeTrue())
		Expect(create("ReporterConnection", "ledger", "{connectionID: "+id+"}")).To(Succeed())
		Expect(s.as(ctx, "edit", "delete", "rconn", "ledger", "--timeout=30s")).To(Succeed())
		Expect(s.reporter.Alive(id)).To(BeFalse())

		Expect(create("ReporterEndpoint", "theirs", `{url: "http://theirs"}`)).To(MatchError(ContainSubstring(
			`User "edit" cannot create resource "reporterendpoints" in API group "reporter.lerian.studio" in the namespace "` + s.namespace + `"`)))
		Expect(s.as(ctx, "edit", "patch", "rep", "default", "--type=merge", "-p", `{"spec":{"suspend":true}}`)).To(MatchError(ContainSubstring(
			`User "edit" cannot patch resource "reporterendpoints" in API group "reporter.lerian.studio" in the namespace "` + s.namespace + `"`)))
	})

	It("let an editor describe a connection, and neither say where Reporter is, nor what an endpoint is for, nor what was found", func(ctx context.Context) {
		apply := func(object client.Object) error {
			_, err := world.Kubectl(ctx, manifestOf(object), "--as", "edit", "create", "-f", "-")
			return err
		}
		for _, what := range []string{"create reporterconnections", "patch reporterconnections", "delete reporterconnections", "create secrets"} {
			Eventually(ctx, s.may("edit", what)).Should(BeTrue(), what)
		}
		rc := s.described("ledger")
		Expect(apply(s.database("hush"))).To(Succeed())
		Expect(apply(rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(s.as(ctx, "edit", "annotate", "rconn", "ledger", "reporter.lerian.studio/takeBack=now")).To(Succeed())
		Expect(s.as(ctx, "edit", "patch", "rconn", "ledger", "--subresource=status", "--type=merge", "-p", `{"status":{"sent":"forged"}}`)).To(MatchError(
			ContainSubstring(`User "edit" cannot patch resource "reporterconnections/status"`)))
		Expect(s.as(ctx, "edit", "patch", "rep", "default", "--type=merge", "-p", `{"spec":{"managementPolicy":"Full"}}`)).To(MatchError(
			ContainSubstring(`User "edit" cannot patch resource "reporterendpoints"`)))
		Expect(s.as(ctx, "edit", "delete", "rconn", "ledger", "--timeout=30s")).To(Succeed())
		Expect(s.reporter.Connections()).To(BeEmpty())
	})

	It("let nobody who may write connections, and not read Secrets, have a password sent to a host that its Secret does not list", func(ctx context.Context) {
		for _, role := range []string{"view", "edit"} {
			s.kubectl(ctx, "create", "rolebinding", "writer-"+role, "--clusterrole=reporter-operator-"+role, "--user=writer")
		}
		Eventually(ctx, s.may("writer", "get reporterconnections")).Should(BeTrue())
		Eventually(ctx, s.may("writer", "patch reporterconnections")).Should(BeTrue())
		Expect(s.may("writer", "get secrets")(ctx)).To(BeFalse())
		secret := s.database("hush")
		secret.Annotations = map[string]string{"reporter.lerian.studio/hosts": "db.internal"}
		Expect(world.Create(ctx, secret)).To(Succeed())
		rc := s.create(ctx, s.described("ledger"))
		Expect(s.as(ctx, "writer", "patch", "rconn", "ledger", "--type=merge", "-p", `{"spec":{"connection":{"host":"theirs.example.com"}}}`)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("HostNotAllowed"))
		theirs := s.described("theirs")
		theirs.Spec.Connection.Host = "theirs.example.com"
		_, err := world.Kubectl(ctx, manifestOf(theirs), "--as", "writer", "create", "-f", "-")
		Expect(err).NotTo(HaveOccurred())
		Eventually(ctx, reasonOf(theirs, "Ready")).Should(Equal("HostNotAllowed"))
		Expect(s.only()).To(s.asDescribed(ctx, "ledger"))
		Expect(s.bodies(http.MethodPatch)).To(BeEmpty())
	})
})
