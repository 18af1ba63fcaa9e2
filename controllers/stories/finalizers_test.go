// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"fmt"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// guardFinalizers has a policy of an administrator's refuse whatever takes a finalizer off in the stage's namespace. The returned function
// deletes it.
func (s *stage) guardFinalizers(ctx context.Context) (lift func(context.Context)) {
	GinkgoHelper()
	policy := fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: guard-%[1]s}
spec:
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
    resourceRules:
    - {apiGroups: ["", reporter.lerian.studio], apiVersions: ["*"], operations: [UPDATE], resources: [secrets, reporterconnections, reporterendpoints]}
  validations:
  - expression: size(object.metadata.?finalizers.orValue([])) >= size(oldObject.metadata.?finalizers.orValue([]))
    message: finalizers stay on
  - expression: "!('probe' in object.metadata.?labels.orValue({}))"
    message: it is in force
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: guard-%[1]s}
spec: {policyName: guard-%[1]s, validationActions: [Deny]}
`, s.namespace)
	_, err := world.Kubectl(ctx, policy, "create", "-f", "-")
	Expect(err).NotTo(HaveOccurred())
	lifted := false
	lift = func(ctx context.Context) {
		if !lifted {
			_, err := world.Kubectl(ctx, policy, "delete", "-f", "-")
			Expect(err).NotTo(HaveOccurred())
		}
		lifted = true
	}
	DeferCleanup(func(ctx context.Context) { lift(ctx) })
	endpoint := s.endpoint("default", "")
	Eventually(ctx, func(ctx context.Context) error {
		return world.Patch(ctx, endpoint, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"probe":""}}}`)), client.DryRunAll)
	}).Should(MatchError(ContainSubstring("it is in force")))
	return lift
}

var _ = Describe("A deletion whose part in Reporter is done", func() {
	It("says which policy refuses its release, and goes when that is lifted", func(ctx context.Context) {
		s := newStage(ctx).withSecuredEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
		rc := s.created(ctx, "ledger", id)
		endpoint, secret := s.endpoint("default", ""), &corev1.Secret{}
		Expect(world.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "token"}, secret)).To(Succeed())
		lift := s.guardFinalizers(ctx)

		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("FinalizerRemovalFailed"))
		message := mustCondition(ctx, rc, "DeletionBlocked").Message
		Expect(message).To(ContainSubstring("the connection is deleted in Reporter"))
		Expect(message).To(ContainSubstring("ValidatingAdmissionPolicy 'guard-" + s.namespace + "'"))
		Expect(message).To(HaveSuffix("finalizers stay on. Exempt the operator's ServiceAccount from what refuses it"))
		Expect(s.reporter.Alive(id)).To(BeFalse())

		lift(ctx)
		Eventually(ctx, gone(rc)).Should(BeTrue())
		Expect(s.asked(http.MethodDelete, id)).To(Equal(1))

		lift = s.guardFinalizers(ctx)
		Expect(world.Delete(ctx, endpoint)).To(Succeed())
		Expect(world.Delete(ctx, secret)).To(Succeed())
		Eventually(ctx, reasonOf(endpoint, "DeletionBlocked")).Should(Equal("FinalizerRemovalFailed"))
		Expect(mustCondition(ctx, endpoint, "DeletionBlocked").Message).To(ContainSubstring("although no ReporterConnection needs this endpoint: "))
		Eventually(ctx, eventsAbout(secret)).Should(ConsistOf(And(
			HaveField("Reason", "FinalizerRemovalFailed"), HaveField("Type", "Warning"), HaveField("Note", ContainSubstring("ValidatingAdmissionPolicy 'guard-"+s.namespace+"'")))))
		lift(ctx)
		Eventually(ctx, left(endpoint, secret)).Should(BeEmpty())
	})

	It("says which finalizers of others hold its resource, with one more write", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		id := s.reporter.Add(reportertest.Connection{}).ID
		rc := s.connection("ledger", id)
		rc.Finalizers = []string{"example.com/theirs"}
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))

		Expect(world.Delete(ctx, rc)).To(Succeed())
		Eventually(ctx, finalizersOf(rc)).Should(Equal([]string{"example.com/theirs"}))
		Expect(s.reporter.Alive(id)).To(BeFalse())
		Expect(mustCondition(ctx, rc, "Ready").Reason).To(Equal("FinalizersRemaining"))
		Expect(mustCondition(ctx, rc, "DeletionBlocked").Message).To(Equal("The operator has done its part: the connection is deleted in Reporter. " +
			"Finalizers of others still hold this resource: example.com/theirs. Each is for whoever put it there to remove"))
		s.patchConnection(ctx, "ledger", `{"metadata":{"finalizers":null}}`)
		Expect(s.asked(http.MethodDelete, id)).To(Equal(1))
		Eventually(ctx, s.writesAbout("ledger")).Should(Equal([]string{
			"patch reporterconnections/status ledger", "patch reporterconnections/status ledger", "patch reporterconnections ledger"}))
	})
})
