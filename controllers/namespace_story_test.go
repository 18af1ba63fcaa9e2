// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// credentials is a marked Secret with a token that the stage's Reporter accepts, and from then on demands.
func (s *stage) credentials(ctx context.Context) *corev1.Secret {
	GinkgoHelper()
	s.reporter.AllowToken("right", "")
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "token", Labels: map[string]string{"reporter.lerian.studio/credentials": "true"}},
		StringData: map[string]string{"token": "right"},
	}
	Expect(world.Create(ctx, secret)).To(Succeed())
	return secret
}

// withSecuredEndpoint creates the endpoint `default` with credentials and waits until it is Ready.
func (s *stage) withSecuredEndpoint(ctx context.Context) *stage {
	GinkgoHelper()
	s.credentials(ctx)
	endpoint := s.securedEndpoint()
	Expect(world.Create(ctx, endpoint)).To(Succeed())
	Eventually(ctx, reasonOf(endpoint, v1alpha1.ConditionReady)).Should(Equal("Available"))
	return s
}

func (s *stage) securedEndpoint() *v1alpha1.ReporterEndpoint {
	endpoint := s.endpoint("default", s.server.URL)
	endpoint.Spec.Auth = &v1alpha1.EndpointAuth{BearerToken: &v1alpha1.BearerTokenAuth{SecretRef: v1alpha1.SecretKeyReference{Name: "token", Key: "token"}}}
	return endpoint
}

// populate creates so many resources, each for a connection of its own in the stage's Reporter, and returns the ids.
func (s *stage) populate(ctx context.Context, in string, count int, adapt func(*v1alpha1.ReporterConnection)) []string {
	GinkgoHelper()
	var ids []string
	for i := range count {
		name := fmt.Sprintf("connection-%02d", i)
		id := s.reporter.Add(reportertest.Connection{ConfigName: in + "-" + name}).ID
		rc := s.connection(name, id)
		rc.Namespace = in
		if adapt != nil {
			adapt(rc)
		}
		Expect(world.Create(ctx, rc)).To(Succeed())
		ids = append(ids, id)
	}
	return ids
}

// seen polls whether the operator has seen every connection of a namespace.
func seen(namespace string) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		var all v1alpha1.ReporterConnectionList
		err := world.List(ctx, &all, client.InNamespace(namespace))
		return !slices.ContainsFunc(all.Items, func(rc v1alpha1.ReporterConnection) bool { return rc.Status.ObservedIn == nil }), err
	}
}

func (s *stage) alive(ids []string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !s.reporter.Alive(id) })
}

func namespaceGone(name string) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		err := world.Get(ctx, client.ObjectKey{Name: name}, &corev1.Namespace{})
		return err != nil, client.IgnoreNotFound(err)
	}
}

func deleteNamespace(ctx context.Context, name string) {
	GinkgoHelper()
	Expect(world.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})).To(Succeed())
}

var _ = Describe("A deleted namespace", deletedNamespaces)

// deletedNamespaces are emptied by the real namespace controller, in an order of its own.
func deletedNamespaces() {
	It("empties itself of 50 connections, some of them busy, their endpoint and its Secret", func(ctx context.Context) {
		s := newStage(ctx).withSecuredEndpoint(ctx)
		ids := s.populate(ctx, s.namespace, 50, nil)
		Eventually(ctx, seen(s.namespace)).Should(BeTrue())
		var ends []func()
		for i := range 5 {
			ends = append(ends, s.reporter.StartJob(fmt.Sprintf("%s-connection-%02d", s.namespace, i*10)))
		}

		deleteNamespace(ctx, s.namespace)
		Eventually(ctx, func() []string { return s.alive(ids) }).Should(HaveLen(5))
		Expect(s.kubectl(ctx, "get", "rconn")).To(ContainSubstring("JobInProgress"))
		Expect(s.kubectl(ctx, "get", "secret,rep")).To(And(ContainSubstring("secret/token"), ContainSubstring("/default")))
		for _, end := range ends {
			end()
		}
		Eventually(ctx, namespaceGone(s.namespace)).Should(BeTrue())
		Expect(s.alive(ids)).To(BeEmpty())
	})

	It("empties itself although the operator is killed and restarted in the middle", Serial, func(ctx context.Context) {
		s := newStage(ctx).withSecuredEndpoint(ctx)
		ids := s.populate(ctx, s.namespace, 20, nil)
		Eventually(ctx, seen(s.namespace)).Should(BeTrue())
		end := s.reporter.StartJob(s.namespace + "-connection-07")
		deleteNamespace(ctx, s.namespace)
		Eventually(ctx, func() int { return len(s.alive(ids)) }).Should(BeNumerically("<", 15))

		operator.Kill()
		end()
		startOperator(ctx)
		Eventually(ctx, namespaceGone(s.namespace)).Should(BeTrue())
		Expect(s.alive(ids)).To(BeEmpty())
	})

	It("empties itself although the operator was down when it all was created and deleted", Serial, func(ctx context.Context) {
		s := newStage(ctx)
		operator.Kill()
		s.credentials(ctx)
		Expect(world.Create(ctx, s.securedEndpoint())).To(Succeed())
		ids := s.populate(ctx, s.namespace, 10, nil)
		deleteNamespace(ctx, s.namespace)
		Eventually(ctx, func(ctx context.Context) (int, error) {
			var all v1alpha1.ReporterConnectionList
			err := world.List(ctx, &all, client.InNamespace(s.namespace))
			return len(slices.DeleteFunc(all.Items, func(rc v1alpha1.ReporterConnection) bool { return rc.DeletionTimestamp.IsZero() })), err
		}).Should(Equal(10), "every resource waits for the operator")
		Expect(s.alive(ids)).To(HaveLen(10))

		startOperator(ctx)
		Eventually(ctx, namespaceGone(s.namespace)).Should(BeTrue())
		Expect(s.alive(ids)).To(BeEmpty())
	})

	It("empties itself with the endpoint in another namespace, which stays", func(ctx context.Context) {
		s, other := newStage(ctx).withSecuredEndpoint(ctx), newStage(ctx)
		s.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p", `{"spec":{"allowedNamespaces":{"from":"All"}}}`)
		ids := s.populate(ctx, other.namespace, 10, func(rc *v1alpha1.ReporterConnection) { rc.Spec.EndpointRef.Namespace = s.namespace })
		Eventually(ctx, seen(other.namespace)).Should(BeTrue())

		deleteNamespace(ctx, other.namespace)
		Eventually(ctx, namespaceGone(other.namespace)).Should(BeTrue())
		Expect(s.alive(ids)).To(BeEmpty())
		Expect(s.kubectl(ctx, "get", "rep", "default")).To(ContainSubstring("Available"))
	})

	It("empties itself together with the namespace of its endpoint", func(ctx context.Context) {
		s, other := newStage(ctx).withSecuredEndpoint(ctx), newStage(ctx)
		s.kubectl(ctx, "patch", "rep", "default", "--type=merge", "-p", `{"spec":{"allowedNamespaces":{"from":"All"}}}`)
		ids := s.populate(ctx, other.namespace, 10, func(rc *v1alpha1.ReporterConnection) { rc.Spec.EndpointRef.Namespace = s.namespace })
		end := s.reporter.StartJob(other.namespace + "-connection-03")
		Eventually(ctx, seen(other.namespace)).Should(BeTrue())

		deleteNamespace(ctx, s.namespace)
		deleteNamespace(ctx, other.namespace)
		Eventually(ctx, func() []string { return s.alive(ids) }).Should(HaveLen(1))
		Expect(s.kubectl(ctx, "get", "secret")).To(ContainSubstring("token"))
		end()
		Eventually(ctx, namespaceGone(other.namespace)).Should(BeTrue())
		Eventually(ctx, namespaceGone(s.namespace)).Should(BeTrue())
		Expect(s.alive(ids)).To(BeEmpty())
	})

	It("waits for a protected resource, says so in its conditions, and goes on when that is unprotected", func(ctx context.Context) {
		s := newStage(ctx).withSecuredEndpoint(ctx)
		ids := s.populate(ctx, s.namespace, 3, func(rc *v1alpha1.ReporterConnection) { rc.Spec.DeletionProtection = rc.Name == "connection-01" })
		Eventually(ctx, seen(s.namespace)).Should(BeTrue())

		deleteNamespace(ctx, s.namespace)
		Eventually(ctx, func(ctx context.Context) (string, error) {
			return world.Kubectl(ctx, "", "get", "namespace", s.namespace, "-o", "jsonpath={.status.conditions[*].message}")
		}).Should(ContainSubstring(`ReporterConnection "connection-01" is protected from deletion`))
		Expect(s.reporter.Alive(ids[1])).To(BeTrue())
		s.kubectl(ctx, "patch", "rconn", "connection-01", "--type=merge", "-p", `{"spec":{"deletionProtection":false}}`)
		Eventually(ctx, namespaceGone(s.namespace)).Should(BeTrue())
		Expect(s.alive(ids)).To(BeEmpty())
	})
}

var _ = Describe("What a deletion needs", func() {
	It("stays until it is done, in every order of deletion", func(ctx context.Context) {
		for _, order := range [][]string{
			{"secret/token", "rep/default", "rconn/connection-00"},
			{"secret/token", "rconn/connection-00", "rep/default"},
			{"rep/default", "secret/token", "rconn/connection-00"},
			{"rep/default", "rconn/connection-00", "secret/token"},
			{"rconn/connection-00", "secret/token", "rep/default"},
			{"rconn/connection-00", "rep/default", "secret/token"},
		} {
			s := newStage(ctx).withSecuredEndpoint(ctx)
			ids := s.populate(ctx, s.namespace, 1, nil)
			Eventually(ctx, seen(s.namespace)).Should(BeTrue())
			end := s.reporter.StartJob(s.namespace + "-connection-00")
			s.kubectl(ctx, append([]string{"delete", "--wait=false"}, order...)...)
			rc := s.connection("connection-00", ids[0])
			Eventually(ctx, reasonOf(rc, "DeletionBlocked")).Should(Equal("JobInProgress"))
			Expect(s.kubectl(ctx, "get", "secret/token", "rep/default")).NotTo(BeEmpty())
			end()
			Eventually(ctx, func(ctx context.Context) (string, error) {
				return world.Kubectl(ctx, "", "--namespace", s.namespace, "get", "secret,rep,rconn")
			}).Should(BeEmpty(), "%v", order)
			Expect(s.alive(ids)).To(BeEmpty(), "%v", order)
		}
	})

	It("is listed where a deleted endpoint waits for live resources, and goes when they name another", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		Expect(world.Create(ctx, s.endpoint("other", s.server.URL))).To(Succeed())
		s.populate(ctx, s.namespace, 12, nil)
		Eventually(ctx, seen(s.namespace)).Should(BeTrue())
		endpoint := s.endpoint("default", "")

		s.kubectl(ctx, "delete", "rep", "default", "--wait=false")
		Eventually(ctx, reasonOf(endpoint, "DeletionBlocked")).Should(Equal("InUse"))
		Expect(mustCondition(ctx, endpoint, "DeletionBlocked").Message).To(And(
			ContainSubstring(s.namespace+"/connection-00, "+s.namespace+"/connection-01"), ContainSubstring("and 2 more")))
		Expect(mustCondition(ctx, endpoint, "Ready").Reason).To(Equal("Available"), "it still serves them")

		s.kubectl(ctx, "patch", "rconn", "--type=merge", "-p", `{"spec":{"endpointRef":{"name":"other"}}}`,
			"connection-00", "connection-01", "connection-02", "connection-03", "connection-04", "connection-05")
		Expect(gone(endpoint)(ctx)).To(BeFalse())
		for i := 6; i < 12; i++ {
			s.kubectl(ctx, "patch", "rconn", "--type=merge", "-p", `{"spec":{"endpointRef":{"name":"other"}}}`, fmt.Sprintf("connection-%02d", i))
		}
		Eventually(ctx, gone(endpoint)).Should(BeTrue())
	})

	It("is not held for resources that came after its deletion, or keep their connection", func(ctx context.Context) {
		s := newStage(ctx).withSecuredEndpoint(ctx)
		s.populate(ctx, s.namespace, 1, func(rc *v1alpha1.ReporterConnection) { rc.Spec.DeletionPolicy = "Retain" })
		Eventually(ctx, seen(s.namespace)).Should(BeTrue())
		s.kubectl(ctx, "delete", "secret/token", "rep/default", "--timeout=30s")
	})

	It("lets a Secret go that nothing needs, and one that lost its mark", func(ctx context.Context) {
		s := newStage(ctx)
		secret := s.credentials(ctx)
		Expect(secret.Finalizers).To(Equal([]string{"reporter.lerian.studio/in-use"}), "by the admission policy, at once")
		s.kubectl(ctx, "label", "secret", "token", "reporter.lerian.studio/credentials-")
		Expect(world.Get(ctx, client.ObjectKeyFromObject(secret), secret)).To(Succeed())
		Expect(secret.Finalizers).To(BeEmpty())
		s.kubectl(ctx, "label", "secret", "token", "reporter.lerian.studio/credentials=true")
		Expect(world.Get(ctx, client.ObjectKeyFromObject(secret), secret)).To(Succeed())
		Expect(secret.Finalizers).To(Equal([]string{"reporter.lerian.studio/in-use"}))
		s.kubectl(ctx, "delete", "secret", "token", "--timeout=30s")
	})

	It("leaves other Secrets alone", func(ctx context.Context) {
		s := newStage(ctx)
		s.kubectl(ctx, "create", "secret", "generic", "theirs", "--from-literal=a=b")
		secret := &corev1.Secret{}
		Expect(world.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "theirs"}, secret)).To(Succeed())
		Expect(secret.Finalizers).To(BeEmpty())
		s.kubectl(ctx, "delete", "secret", "theirs")
	})
})

var _ = Describe("A cluster without MutatingAdmissionPolicy", Serial, Ordered, func() {
	BeforeAll(func(ctx context.Context) {
		bindings, err := world.Kubectl(ctx, "", "get", "mutatingadmissionpolicybinding", "-o", "yaml")
		Expect(err).NotTo(HaveOccurred())
		_, err = world.Kubectl(ctx, "", "delete", "mutatingadmissionpolicybinding", "--all")
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func(ctx context.Context) {
			_, err := world.Kubectl(ctx, bindings, "create", "-f", "-")
			Expect(err).NotTo(HaveOccurred())
			Expect(world.AwaitPolicies(ctx)).To(Succeed())
		})
		probe := newStage(ctx)
		Eventually(ctx, func(ctx context.Context) ([]string, error) {
			tried := probe.endpoint("probe", "http://reporter")
			err := world.Create(ctx, tried, client.DryRunAll)
			return tried.Finalizers, err
		}).Should(BeEmpty())
	})

	It("has what a deletion needs held by the operator's first look", func(ctx context.Context) {
		s := newStage(ctx).withSecuredEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
		rc := s.connection("ledger", id)
		protected := make(chan []string, 1)
		s.reporter.Inject(reportertest.Fault{ID: id, Times: 1, Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
			var seen v1alpha1.ReporterConnection
			_ = world.Get(req.Context(), client.ObjectKeyFromObject(rc), &seen)
			protected <- seen.Finalizers
			act(w, req)
		}})
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(<-protected).To(Equal([]string{"reporter.lerian.studio/connection"}), "before Reporter is asked")
		Eventually(ctx, s.writes).Should(ContainElements(
			"patch secrets token", "patch reporterendpoints default", "patch reporterconnections ledger", "patch reporterconnections/status ledger"))

		deleteNamespace(ctx, s.namespace)
		Eventually(ctx, namespaceGone(s.namespace)).Should(BeTrue())
		Expect(s.reporter.Alive(id)).To(BeFalse())
	})

	It("gets a finalizer back that a replace has stripped", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		rc := s.created(ctx, "ledger", s.reporter.Add(reportertest.Connection{}).ID)
		s.kubectl(ctx, "patch", "rconn", "ledger", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
		Eventually(ctx, finalizersOf(rc)).Should(Equal([]string{"reporter.lerian.studio/connection"}))
	})

	It("lets a Secret go that lost its mark", func(ctx context.Context) {
		s := newStage(ctx).withSecuredEndpoint(ctx)
		Eventually(ctx, s.writes).Should(ContainElement("patch secrets token"))
		s.kubectl(ctx, "label", "secret", "token", "reporter.lerian.studio/credentials-")
		s.kubectl(ctx, "delete", "secret", "token", "--timeout=30s")
	})
})
