// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"fmt"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

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
		expectEmptied(ctx, s.namespace)
		Expect(s.alive(ids)).To(BeEmpty())
	})

	It("empties itself although the operator is killed and restarted in the middle", func(ctx context.Context) {
		s := newStage(ctx).withSecuredEndpoint(ctx)
		ids := s.populate(ctx, s.namespace, 20, nil)
		Eventually(ctx, seen(s.namespace)).Should(BeTrue())
		end := s.reporter.StartJob(s.namespace + "-connection-07")
		deleteNamespace(ctx, s.namespace)
		Eventually(ctx, func() int { return len(s.alive(ids)) }).Should(BeNumerically("<", 15))

		killOperator()
		end()
		startOperator(ctx)
		expectEmptied(ctx, s.namespace)
		Expect(s.alive(ids)).To(BeEmpty())
	})

	It("empties itself although the operator was down when it all was created and deleted", func(ctx context.Context) {
		needsMutation()
		s := newStage(ctx)
		killOperator()
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
		expectEmptied(ctx, s.namespace)
		Expect(s.alive(ids)).To(BeEmpty())
	})

	It("empties itself with the endpoint in another namespace, which stays", func(ctx context.Context) {
		s, other := newStage(ctx).withSecuredEndpoint(ctx), newStage(ctx)
		s.patchEndpoint(ctx, `{"spec":{"allowedNamespaces":{"from":"All"}}}`)
		ids := s.populate(ctx, other.namespace, 10, func(rc *v1alpha1.ReporterConnection) { rc.Spec.EndpointRef.Namespace = s.namespace })
		Eventually(ctx, seen(other.namespace)).Should(BeTrue())

		deleteNamespace(ctx, other.namespace)
		expectEmptied(ctx, other.namespace)
		Expect(s.alive(ids)).To(BeEmpty())
		Expect(s.kubectl(ctx, "get", "rep", "default")).To(ContainSubstring("Available"))
	})

	It("empties itself together with the namespace of its endpoint", func(ctx context.Context) {
		s, other := newStage(ctx).withSecuredEndpoint(ctx), newStage(ctx)
		s.patchEndpoint(ctx, `{"spec":{"allowedNamespaces":{"from":"All"}}}`)
		ids := s.populate(ctx, other.namespace, 10, func(rc *v1alpha1.ReporterConnection) { rc.Spec.EndpointRef.Namespace = s.namespace })
		end := s.reporter.StartJob(other.namespace + "-connection-03")
		Eventually(ctx, seen(other.namespace)).Should(BeTrue())

		deleteNamespace(ctx, s.namespace)
		deleteNamespace(ctx, other.namespace)
		Eventually(ctx, func() []string { return s.alive(ids) }).Should(HaveLen(1))
		Expect(s.kubectl(ctx, "get", "secret")).To(ContainSubstring("token"))
		end()
		expectEmptied(ctx, other.namespace)
		expectEmptied(ctx, s.namespace)
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
		s.patchConnection(ctx, "connection-01", `{"spec":{"deletionProtection":false}}`)
		expectEmptied(ctx, s.namespace)
		Expect(s.alive(ids)).To(BeEmpty())
	})
}
