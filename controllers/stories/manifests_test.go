// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

var _ = Describe("The manifests", func() {
	It("run the operator in a pod that meets the restricted Pod Security Standard and cannot write to its file system", func(ctx context.Context) {
		deployment := find[appsv1.Deployment](kustomized(ctx, "resources: [../../config/default]"), "Deployment")
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

	It("have policies put finalizers on from Kubernetes 1.36 on", func(ctx context.Context) {
		version, err := world.Kubectl(ctx, "", "get", "--raw", "/version")
		Expect(err).NotTo(HaveOccurred())
		var served struct{ Major, Minor string }
		Expect(json.Unmarshal([]byte(version), &served)).To(Succeed())
		Expect(served.Major).To(Equal("1"))
		minor, err := strconv.Atoi(strings.TrimSuffix(served.Minor, "+"))
		Expect(err).NotTo(HaveOccurred())
		Expect(world.Mutates).To(Equal(minor >= 36), "so that no story is skipped there")
	})

	It("have samples of each kind, which work as they are but for the URL", func(ctx context.Context) {
		s := newStage(ctx)
		s.reporter.AllowToken("replace-with-a-token-for-Reporter", "")
		named := s.reporter.Add(reportertest.Connection{ID: "019996b8-f3d1-7d2b-a192-6e91464d82fc"})
		files, err := filepath.Glob("../../config/samples/*.yaml")
		Expect(err).NotTo(HaveOccurred())
		objects := kustomized(ctx, "resources: [../../config/samples]")
		Expect(objects).To(HaveLen(len(files)-1), "none is left out")

		s.kubectl(ctx, "apply", "--validate=strict", "-k", "../../config/samples")
		s.patchEndpoint(ctx, `{"spec":{"url":"`+s.server.URL+`"}}`)
		described := s.connection("ledger-db", "")
		Eventually(ctx, reasonOf(described, "Ready")).Should(Equal("Available"))
		Eventually(ctx, reasonOf(s.connection("books-db", ""), "Ready")).Should(Equal("Available"))
		Expect(s.reporter.Connections()).To(ConsistOf(HaveField("ID", named.ID), HaveField("ID", described.Status.ConnectionID)))
		Expect(s.reporter.Secrets(described.Status.ConnectionID)).To(Equal(reportertest.Secrets{
			Host: "ledger-rw.billing.svc.cluster.local", UserName: "reporter", Password: "replace-with-the-password-of-the-database"}))
		s.kubectl(ctx, "delete", "--timeout=30s", "-k", "../../config/samples")
		Expect(s.reporter.Connections()).To(BeEmpty())
	})

	DescribeTable("fit together with their components", func(ctx context.Context, more, namespace, prefix string) {
		objects := kustomized(ctx, "resources: [../../config/default]\ncomponents: [../../config/prometheus, ../../config/grafana, ../../config/network-policy]\n"+more)
		account := find[corev1.ServiceAccount](objects, "ServiceAccount")
		Expect([]string{account.Namespace, account.Name}).To(Equal([]string{namespace, prefix + "controller-manager"}))
		deployment := find[appsv1.Deployment](objects, "Deployment")
		Expect([]string{deployment.Namespace, deployment.Spec.Template.Spec.ServiceAccountName}).To(Equal([]string{account.Namespace, account.Name}))

		binding := find[admissionregistrationv1.ValidatingAdmissionPolicyBinding](objects, "ValidatingAdmissionPolicyBinding", prefix+"finalizers-only")
		find[admissionregistrationv1.ValidatingAdmissionPolicy](objects, "ValidatingAdmissionPolicy", binding.Spec.PolicyName)
		Expect([]string{binding.Spec.ParamRef.Namespace, binding.Spec.ParamRef.Name}).To(Equal([]string{account.Namespace, account.Name}), "whom it restrains")

		policy, monitor := find[networkingv1.NetworkPolicy](objects, "NetworkPolicy"), find[metav1.PartialObjectMetadata](objects, "ServiceMonitor")
		rule, dashboard := find[metav1.PartialObjectMetadata](objects, "PrometheusRule"), find[corev1.ConfigMap](objects, "ConfigMap", prefix+"dashboard")
		Expect([]string{policy.Namespace, monitor.Namespace, rule.Namespace, dashboard.Namespace}).To(HaveEach(namespace))
		Expect(dashboard.Labels).To(HaveKeyWithValue("grafana_dashboard", "1"))
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
	root, err := filepath.Abs("../..")
	Expect(err).NotTo(HaveOccurred())
	toRoot, err := filepath.Rel(dir, root)
	Expect(err).NotTo(HaveOccurred())
	kustomization = strings.ReplaceAll(kustomization, "../../config", filepath.Join(toRoot, "config"))
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
