// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

var _ = Describe("What a deletion needs", func() {
	It("stays until it is done, in every order of deletion", func(ctx context.Context) {
		const secret, endpoint, connection = 0, 1, 2
		type held struct {
			*stage
			objects []client.Object // by the numbers above
			order   []int
			end     func()
		}
		var all []held
		for _, order := range [][]int{
			{secret, endpoint, connection}, {secret, connection, endpoint},
			{endpoint, secret, connection}, {endpoint, connection, secret},
			{connection, secret, endpoint}, {connection, endpoint, secret},
		} {
			s := newStage(ctx)
			token, rep := s.credentials(ctx), s.securedEndpoint()
			Expect(world.Create(ctx, rep)).To(Succeed())
			rc := s.connection("ledger", s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID)
			Expect(world.Create(ctx, rc)).To(Succeed())
			all = append(all, held{s, []client.Object{token, rep, rc}, order, s.reporter.StartJob("ledger-db")})
		}
		for _, h := range all {
			Eventually(ctx, seen(h.namespace)).Should(BeTrue())
			for _, i := range h.order {
				Expect(world.Delete(ctx, h.objects[i])).To(Succeed())
			}
		}
		for _, h := range all {
			Eventually(ctx, reasonOf(h.connection("ledger", ""), "DeletionBlocked")).Should(Equal("JobInProgress"), "%v", h.order)
			Expect(left(h.objects...)(ctx)).To(HaveLen(3), "%v", h.order)
			h.end()
		}
		for _, h := range all {
			Eventually(ctx, left(h.objects...)).Should(BeEmpty(), "%v", h.order)
			Expect(h.reporter.Alive(h.objects[connection].(*v1alpha1.ReporterConnection).Spec.ConnectionID)).To(BeFalse(), "%v", h.order)
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

		for i := range 12 {
			Expect(gone(endpoint)(ctx)).To(BeFalse(), "%d of them have gone over", i)
			s.patchConnection(ctx, fmt.Sprintf("connection-%02d", i), `{"spec":{"endpointRef":{"name":"other"}}}`)
		}
		Eventually(ctx, gone(endpoint)).Should(BeTrue())
	})

	It("is not held for resources that came after its deletion, or keep their connection", func(ctx context.Context) {
		s := newStage(ctx).withSecuredEndpoint(ctx)
		s.populate(ctx, s.namespace, 1, func(rc *v1alpha1.ReporterConnection) { rc.Spec.DeletionPolicy = "Retain" })
		Eventually(ctx, seen(s.namespace)).Should(BeTrue())
		s.kubectl(ctx, "delete", "secret/token", "rep/default", "--timeout=30s")
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

		s.deleteAll(ctx)
		Eventually(ctx, reasonOf(late, "DeletionBlocked")).Should(Equal("JobInProgress"))
		Eventually(ctx, func(ctx context.Context) string { return s.kubectl(ctx, "get", "rconn") }).ShouldNot(ContainSubstring("connection-00"))
		end()
		Eventually(ctx, gone(late)).Should(BeTrue())
		Expect(s.reporter.Alive(late.Spec.ConnectionID)).To(BeFalse())
		Eventually(ctx, gone(endpoint)).Should(BeTrue())
	})

	It("lets a Secret go that nothing needs, and one that lost its mark", func(ctx context.Context) {
		needsMutation()
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

	It("is no Secret of a database: one is never held, and a mark for databases lets go", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		secret := &corev1.Secret{}
		finalizers := func(ctx context.Context) ([]string, error) {
			err := world.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "database"}, secret)
			return secret.Finalizers, err
		}
		s.create(ctx, s.described("ledger"))
		Expect(finalizers(ctx)).To(BeEmpty())
		s.kubectl(ctx, "label", "--overwrite", "secret", "database", "reporter.lerian.studio/credentials=true")
		Eventually(ctx, finalizers).Should(Equal([]string{"reporter.lerian.studio/in-use"}))
		s.kubectl(ctx, "label", "--overwrite", "secret", "database", "reporter.lerian.studio/credentials=database")
		Eventually(ctx, finalizers).Should(BeEmpty())
		s.kubectl(ctx, "delete", "secret", "database", "--timeout=30s")
		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")
		Expect(s.reporter.Connections()).To(BeEmpty(), "no deletion needs it")
	})

	It("leaves other Secrets alone", func(ctx context.Context) {
		s := newStage(ctx)
		s.kubectl(ctx, "create", "secret", "generic", "theirs", "--from-literal=a=b")
		secret := &corev1.Secret{}
		Expect(world.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "theirs"}, secret)).To(Succeed())
		Expect(secret.Finalizers).To(BeEmpty())
		s.kubectl(ctx, "delete", "secret", "theirs")
	})

	It("lets a deleted Secret go that loses its mark while the operator is down", func(ctx context.Context) {
		s := newStage(ctx).withSecuredEndpoint(ctx)
		s.populate(ctx, s.namespace, 1, nil)
		Eventually(ctx, seen(s.namespace)).Should(BeTrue())
		s.kubectl(ctx, "delete", "secret", "token", "--wait=false")
		killOperator()
		s.kubectl(ctx, "label", "secret", "token", "reporter.lerian.studio/credentials-")
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "token"}}
		if world.Mutates {
			Expect(left(secret)(ctx)).To(BeEmpty(), "at once")
		}
		startOperator(ctx)
		Eventually(ctx, left(secret)).Should(BeEmpty())
	})
})
