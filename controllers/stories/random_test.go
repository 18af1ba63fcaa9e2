// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// rounds is how many random histories are played; RANDOM_ROUNDS asks for more.
func rounds() int {
	if more, err := strconv.Atoi(os.Getenv("RANDOM_ROUNDS")); err == nil {
		return more
	}
	return 12
}

var _ = Describe("The objects of a namespace, deleted in random order", func() { randomHistories(rounds()) })

func randomHistories(rounds int) {
	for round := range rounds {
		It(fmt.Sprintf("leave nothing behind and take nothing along that is claimed elsewhere: history %d", round), func(ctx context.Context) {
			random := rand.New(rand.NewPCG(uint64(GinkgoRandomSeed()), uint64(round)))
			chance := func(percent int) bool { return random.IntN(100) < percent }
			s, other := newStage(ctx).withSecuredEndpoint(ctx), newStage(ctx)

			// Some of the resources have their connection claimed a second time: in the same namespace, where both are deleted, or
			// in another, through an endpoint of its own for the same Reporter, where the claim stays.
			other.server, other.reporter = s.server, s.reporter
			other.withSecuredEndpoint(ctx)
			objects := []client.Object{s.securedEndpoint(), &corev1.Secret{}}
			objects[1].SetName("token")
			objects[1].SetNamespace(s.namespace)
			if namespaced {
				objects = append(objects, s.roleBinding())
			}
			var ids []string
			claimed := map[string]bool{}
			var ends []func()
			for i := range 4 + random.IntN(8) {
				config := fmt.Sprintf("%s-%d", s.namespace, i)
				id := s.reporter.Add(reportertest.Connection{ConfigName: config}).ID
				ids = append(ids, id)
				rc := s.connection(fmt.Sprintf("connection-%d", i), id)
				objects = append(objects, rc)
				Expect(world.Create(ctx, rc)).To(Succeed())
				switch {
				case chance(20):
					second := s.connection(fmt.Sprintf("second-%d", i), id)
					objects = append(objects, second)
					Expect(world.Create(ctx, second)).To(Succeed())
				case chance(20):
					claimed[id] = true
					elsewhere := other.connection(fmt.Sprintf("elsewhere-%d", i), id)
					Expect(world.Create(ctx, elsewhere)).To(Succeed())
					Eventually(ctx, func(ctx context.Context) (*v1alpha1.ObservedIn, error) {
						err := world.Get(ctx, client.ObjectKeyFromObject(elsewhere), elsewhere)
						return elsewhere.Status.ObservedIn, err
					}).ShouldNot(BeNil())
				case chance(30):
					ends = append(ends, s.reporter.StartJob(config))
				}
			}
			if chance(50) {
				Eventually(ctx, seen(s.namespace)).Should(BeTrue())
			}
			Eventually(ctx, unheld(s.namespace)).Should(BeEmpty())

			behaviours := []reportertest.Behaviour{
				reportertest.Answer(500, nil, ""), reportertest.Answer(503, http.Header{"Retry-After": {"1"}}, ""),
				reportertest.Answer(429, http.Header{"Retry-After": {"1"}}, ""), reportertest.Reset(), reportertest.LoginPage(),
				reportertest.CutBody(), reportertest.AfterActing(reportertest.Reset()), reportertest.AfterActing(reportertest.LoginPage()),
				reportertest.ErrorAnswer(404, 404, "request_failed", ""), reportertest.Redirect(302, "http://127.0.0.1:1/"),
			}
			for range random.IntN(6) {
				s.reporter.Inject(reportertest.Fault{ID: ids[random.IntN(len(ids))], Times: 1 + random.IntN(2), Do: behaviours[random.IntN(len(behaviours))]})
			}
			random.Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
			for _, object := range objects {
				if chance(8) {
					killOperator()
					startOperator(ctx)
				}
				Expect(client.IgnoreNotFound(world.Delete(ctx, object))).To(Succeed())
			}
			for _, end := range ends {
				end()
			}

			Eventually(ctx, left(objects...)).Should(BeEmpty())
			for _, id := range ids {
				Expect(s.reporter.Alive(id)).To(Equal(claimed[id]), "connection %s, claimed elsewhere: %t", id, claimed[id])
			}
		})
	}
}
