// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"fmt"
	"regexp"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// refuse matches the API server's refusal of a field. Older ones say in between what the rule was given.
func refuse(field, message string) OmegaMatcher {
	return MatchError(MatchRegexp(`\b%s: Invalid value: ("object": )?%s`, regexp.QuoteMeta(field), regexp.QuoteMeta(message)))
}

var _ = Describe("The API server, of a ReporterConnection that is there,", func() {
	const id, another = "019996b8-f3d1-7d2b-a192-6e91464d82fc", "019996b8-f3d1-7d2b-a192-6e91464d82fd"

	DescribeTable("refuses a change of its description", func(ctx context.Context, patch, field, message string) {
		s := newStage(ctx)
		rc := s.described("ledger")
		rc.Spec.Connection.SSL = &v1alpha1.ConnectionSSL{Mode: "require", CABundle: "PEM"}
		Expect(world.Create(ctx, rc)).To(Succeed())
		Expect(s.tryPatch(ctx, "ledger", patch)).To(refuse(field, message))
	},
		Entry("of the configName", `{"connection":{"configName":"other-db"}}`,
			"spec.connection.configName", "is immutable, as reports and jobs name the connection by it: create another ReporterConnection for another name"),
		Entry("of the productName", `{"connection":{"productName":"other"}}`,
			"spec.connection.productName", "is immutable, as Reporter cannot change it: create another ReporterConnection for another product"),
		Entry("that takes ssl away", `{"connection":{"ssl":null}}`,
			"spec.connection.ssl", "cannot be removed, as Reporter has no way to: set its mode to disable, or to false for MYSQL"),
		Entry("to a type that does not have the mode of ssl", `{"connection":{"type":"MYSQL"}}`,
			"spec.connection.ssl.mode", "for MYSQL must be one of: true, false, skip-verify, preferred"),
		Entry("that takes it away, where nothing else says which connection", `{"connection":null}`, "spec", "must have a connectionID"),
		Entry("to an id, before there is one", `{"connectionID":"`+id+`"}`,
			"spec.connectionID", "may not be added before the operator has created the connection: then status.connectionID has it"),
	)

	It("lets all else of its description change", func(ctx context.Context) {
		s := newStage(ctx)
		Expect(world.Create(ctx, s.described("ledger"))).To(Succeed())
		for _, patch := range []string{
			`{"host":"other.internal","port":5433,"databaseName":"other","schema":"other"}`, `{"schema":null}`,
			`{"userName":null,"userNameSecretRef":{"name":"database","key":"username"}}`, `{"passwordSecretRef":{"name":"other"}}`,
			`{"ssl":{"mode":"require","caBundle":"PEM"}}`, `{"ssl":{"mode":"disable"}}`, `{"type":"MYSQL","ssl":{"mode":"false"}}`,
		} {
			Expect(s.tryPatch(ctx, "ledger", `{"connection":`+patch+`}`)).To(Succeed(), patch)
		}
		Expect(s.tryPatch(ctx, "ledger", `{"adoptionPolicy":"ByName"}`)).To(Succeed())
	})

	It("lets a description be added to an id", func(ctx context.Context) {
		s := newStage(ctx)
		Expect(world.Create(ctx, s.connection("ledger", id))).To(Succeed())
		described := s.described("ledger")
		described.Spec.ConnectionID = id
		Expect(world.Patch(ctx, described, client.Merge)).To(Succeed())
	})

	It("lets the id of the status be added, and no other, and the description be taken away then", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		has := rc.Status.ConnectionID
		Expect(s.tryPatch(ctx, "ledger", `{"connection":null}`)).To(MatchError(ContainSubstring("must have a connectionID")))
		Expect(s.tryPatch(ctx, "ledger", `{"connectionID":"`+another+`"}`)).To(refuse(
			"spec.connectionID", "may only be added as status.connectionID has it: write "+has))
		Expect(s.tryPatch(ctx, "ledger", `{"connectionID":"`+has+`"}`)).To(Succeed())
		Expect(s.tryPatch(ctx, "ledger", `{"connectionID":null}`)).To(refuse("spec.connectionID", "is immutable"))
		Expect(s.tryPatch(ctx, "ledger", `{"connection":null}`)).To(Succeed())
		Expect(s.tryPatch(ctx, "ledger", `{"connectionID":null}`)).To(refuse("spec.connectionID", "is immutable"))
	})

	It("lets id and description be given up in one change for the id alone", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		Expect(s.tryPatch(ctx, "ledger", `{"connection":null,"connectionID":"`+rc.Status.ConnectionID+`"}`)).To(Succeed())
	})

	It("takes every status, whatever the id in it", func(ctx context.Context) {
		s := newStage(ctx)
		both := s.described("both")
		both.Spec.ConnectionID = id
		for _, rc := range []*v1alpha1.ReporterConnection{s.connection("named", id), s.described("described"), both} {
			Expect(world.Create(ctx, rc)).To(Succeed())
			for _, status := range []string{`{"connectionID":"` + id + `"}`, `{"connectionID":"` + another + `"}`, `{"connectionID":null}`, `null`} {
				Expect(world.Status().Patch(ctx, rc, client.RawPatch(types.MergePatchType, []byte(`{"status":`+status+`}`)), client.FieldOwner("test"))).To(
					Succeed(), "%s of %s", status, rc.Name)
			}
		}
	})

	DescribeTable("takes a null from server-side apply for what has a default, and names the field where it does not", func(ctx context.Context, spec string, refused ...string) {
		s := newStage(ctx)
		manifest := fmt.Sprintf("apiVersion: reporter.lerian.studio/v1alpha1\nkind: ReporterConnection\nmetadata: {name: applied, namespace: %s}\nspec: %s", s.namespace, spec)
		_, err := world.Kubectl(ctx, manifest, "apply", "--server-side", "-f", "-")
		if len(refused) == 0 {
			Expect(err).NotTo(HaveOccurred())
		}
		for _, field := range refused {
			Expect(err).To(MatchError(ContainSubstring(field)))
		}
	},
		Entry("the policies", `{connectionID: `+id+`, endpointRef: null, adoptionPolicy: null, deletionPolicy: null}`),
		Entry("the description", `{connectionID: `+id+`, connection: null}`, `spec.connection in body must be of type object: "null"`),
		Entry("the id", `{connectionID: null}`, `spec.connectionID in body must be of type string: "null"`),
		Entry("the brake", `{connectionID: `+id+`, suspend: null}`, `spec.suspend in body must be of type boolean: "null"`),
		Entry("what a description need not have", `{connection: {configName: ledger-db, productName: ledger, type: POSTGRESQL, host: db.internal, port: 5432, `+
			`databaseName: ledger, schema: null, userName: reporter, userNameSecretRef: null, passwordSecretRef: {name: database, key: password}, ssl: null}}`,
			"spec.connection.schema in body", "spec.connection.userNameSecretRef in body", "spec.connection.ssl in body"),
	)

	It("lets an object live on that an older version has stored, with an id alone", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		connection := s.reporter.Add(reportertest.Connection{}).ID
		restore := withoutDescriptions(ctx)
		rc := s.created(ctx, "ledger", connection)
		restore()

		stored := &unstructured.Unstructured{}
		stored.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("ReporterConnection"))
		Expect(world.Get(ctx, client.ObjectKeyFromObject(rc), stored)).To(Succeed())
		Expect(stored.Object["spec"]).To(HaveKeyWithValue("adoptionPolicy", "Never"), "what is new has its default")
		Expect(stored.Object["status"]).NotTo(HaveKey("connectionID"), "it is from before that")

		askNow(ctx, rc)
		Eventually(ctx, func(ctx context.Context) (string, error) {
			err := world.Get(ctx, client.ObjectKeyFromObject(rc), rc)
			return rc.Status.ConnectionID, err
		}).Should(Equal(connection), "the operator writes its status")
		s.patchConnection(ctx, "ledger", `{"metadata":{"finalizers":["example.com/theirs","reporter.lerian.studio/connection"]},"spec":{"suspend":true}}`)
		s.patchConnection(ctx, "ledger", `{"metadata":{"finalizers":["reporter.lerian.studio/connection"]},"spec":{"suspend":false}}`)
		Expect(s.tryPatch(ctx, "ledger", `{"connectionID":"`+another+`"}`)).To(MatchError(ContainSubstring("is immutable")))
		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")
		Expect(s.reporter.Alive(connection)).To(BeFalse())
	})
})

// withoutDescriptions has the API server store ReporterConnections as it did when they were ids alone, until it is to be as it is again.
func withoutDescriptions(ctx context.Context) (restore func()) {
	GinkgoHelper()
	crd := func(ctx context.Context) *unstructured.Unstructured {
		object := &unstructured.Unstructured{}
		object.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
		Expect(world.Get(ctx, client.ObjectKey{Name: "reporterconnections.reporter.lerian.studio"}, object)).To(Succeed())
		return object
	}
	takesDescriptions := func(ctx context.Context) bool {
		return world.Create(ctx, (&stage{namespace: "default"}).described("probe"), client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict)) == nil
	}
	set := func(ctx context.Context, spec any) {
		GinkgoHelper()
		Eventually(ctx, func(ctx context.Context) error { // the API server writes its status
			object := crd(ctx)
			object.Object["spec"] = spec
			return world.Update(ctx, object)
		}).Should(Succeed())
	}
	asItIs, older := crd(ctx).Object["spec"], crd(ctx)
	versions, _, err := unstructured.NestedSlice(older.Object, "spec", "versions")
	Expect(err).NotTo(HaveOccurred())
	version := versions[0].(map[string]any)
	for _, added := range [][]string{
		{"x-kubernetes-validations"}, {"properties", "spec", "x-kubernetes-validations"},
		{"properties", "spec", "properties", "connection"}, {"properties", "spec", "properties", "adoptionPolicy"}, {"properties", "spec", "properties", "suspend"},
		{"properties", "status", "properties", "connectionID"}, {"properties", "status", "properties", "creation"}, {"properties", "status", "properties", "looksOwed"},
		{"properties", "status", "properties", "sent"}, {"properties", "status", "properties", "takenOverBy"}, {"properties", "status", "properties", "handledRequest"},
	} {
		path := append([]string{"schema", "openAPIV3Schema"}, added...)
		_, found, err := unstructured.NestedFieldNoCopy(version, path...)
		Expect(err).NotTo(HaveOccurred())
		Expect(found).To(BeTrue(), "%v", added)
		unstructured.RemoveNestedField(version, path...)
	}
	Expect(unstructured.SetNestedSlice(older.Object, versions, "spec", "versions")).To(Succeed())
	restore = func() {
		GinkgoHelper()
		set(ctx, asItIs)
		Eventually(ctx, takesDescriptions).Should(BeTrue())
	}
	DeferCleanup(func(ctx context.Context) { set(ctx, asItIs) })
	set(ctx, older.Object["spec"])
	Eventually(ctx, takesDescriptions).Should(BeFalse())
	return restore
}
