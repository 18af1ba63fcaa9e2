// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var _ = Describe("The API server", func() {
	const id = "019996b8-f3d1-7d2b-a192-6e91464d82fc"

	create := func(ctx context.Context, manifest string) error {
		object := &unstructured.Unstructured{}
		Expect(yaml.Unmarshal([]byte(manifest), &object.Object)).To(Succeed())
		return world.Create(ctx, object, client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict))
	}
	endpoint := func(spec string) string {
		return "apiVersion: reporter.lerian.studio/v1alpha1\nkind: ReporterEndpoint\nmetadata: {name: default, namespace: default}\nspec: " + spec
	}
	connection := func(spec string) string {
		return "apiVersion: reporter.lerian.studio/v1alpha1\nkind: ReporterConnection\nmetadata: {name: ledger, namespace: default}\nspec: " + spec
	}

	DescribeTable("takes a ReporterEndpoint", func(ctx context.Context, spec string) {
		Expect(create(ctx, endpoint(spec))).To(Succeed())
	},
		Entry("with a service's name and a port", `{url: "http://fetcher-manager.midaz-plugins.svc.cluster.local:4006"}`),
		Entry("with a dot behind the name, which spares the search list", `{url: "http://reporter.billing.svc.cluster.local.:4006"}`),
		Entry("over TLS", `{url: "https://reporter.sandbox.lerian.net"}`),
		Entry("with a path prefix", `{url: "https://gateway.example.com/apis/reporter_v2"}`),
		Entry("with a slash at the end", `{url: "http://reporter:4006/"}`),
		Entry("with an IPv4 address", `{url: "http://10.0.0.7:4006"}`),
		Entry("with an IPv6 address", `{url: "http://[fd00::7]:4006"}`),
		Entry("with a bearer token and a timeout", `{url: "http://reporter:4006", timeout: 1m0s, auth: {bearerToken: {secretRef: {name: token, key: token}}}}`),
	)

	DescribeTable("rejects a ReporterEndpoint and says what to write instead", func(ctx context.Context, spec, field, message string) {
		Expect(create(ctx, endpoint(spec))).To(MatchError(And(ContainSubstring(field), ContainSubstring(message))))
	},
		Entry("without a URL", `{}`, "spec.url", "Required value"),
		Entry("with an empty URL", `{url: ""}`, "spec.url", "should be at least 1 chars long"),
		Entry("without a scheme", `{url: "reporter:4006"}`, "spec.url", "must start with http:// or https://, for example http://fetcher-manager"),
		Entry("with another scheme", `{url: "ftp://reporter"}`, "spec.url", "must start with http:// or https://"),
		Entry("with user info", `{url: "http://admin:secret@reporter:4006"}`, "spec.url", "must not contain user info: leave out everything up to the @, and put credentials into a Secret that spec.auth names"),
		Entry("with a query", `{url: "http://reporter:4006?tenant=1"}`, "spec.url", "must not contain a query or a fragment: leave out the ? or #"),
		Entry("with a fragment", `{url: "http://reporter:4006#x"}`, "spec.url", "must not contain a query or a fragment"),
		Entry("with the path of the API", `{url: "http://reporter:4006/v1/management/connections"}`, "spec.url", "must be the base URL only: leave out /v1/management and what follows"),
		Entry("without a host", `{url: "http://:4006"}`, "spec.url", "must have a host name or address"),
		Entry("with an impossible port", `{url: "http://reporter:65536"}`, "spec.url", "a port from 1 to 65535"),
		Entry("with white space", `{url: "http://reporter :4006"}`, "spec.url", "must have a host name or address"),
		Entry("with an empty path segment", `{url: "http://reporter:4006//x"}`, "spec.url", "must have a plain path or none: no empty segment"),
		Entry("with a dotted path segment", `{url: "http://reporter:4006/a/../b"}`, "spec.url", "no segment that starts with a dot"),
		Entry("with an escaped path", `{url: "http://reporter:4006/a%2fb"}`, "spec.url", "must have a plain path or none"),
		Entry("with an endless URL", `{url: "http://reporter/`+strings.Repeat("a", 2048)+`"}`, "spec.url", "2048"),
		Entry("with too long a timeout", `{url: "http://reporter", timeout: 61s}`, "spec.timeout", "must be a duration from 1s to 60s, for example 10s"),
		Entry("with too short a timeout", `{url: "http://reporter", timeout: 999ms}`, "spec.timeout", "must be a duration from 1s to 60s"),
		Entry("with a timeout that is none", `{url: "http://reporter", timeout: soon}`, "spec.timeout", "must be a duration from 1s to 60s"),
		Entry("with an empty auth", `{url: "http://reporter", auth: {}}`, "spec.auth", "exactly one of the fields in [bearerToken accessManager] must be set"),
		Entry("with a Secret without a key", `{url: "http://reporter", auth: {bearerToken: {secretRef: {name: token}}}}`, "spec.auth.bearerToken.secretRef.key", "Required value"),
		Entry("with an unknown field", `{url: "http://reporter", insecureSkipVerify: true}`, "spec.insecureSkipVerify", "unknown field"),
	)

	DescribeTable("rejects a ReporterConnection and says what to write instead", func(ctx context.Context, spec, field, message string) {
		Expect(create(ctx, connection(spec))).To(MatchError(And(ContainSubstring(field), ContainSubstring(message))))
	},
		Entry("without an id", `{}`, "spec.connectionID", "Required value"),
		Entry("with an upper-case id", `{connectionID: 019996B8-F3D1-7D2B-A192-6E91464D82FC}`, "spec.connectionID", "must be in lower case: write "+id),
		Entry("with an id without dashes", `{connectionID: 019996b8f3d17d2ba1926e91464d82fc}`, "spec.connectionID", "must be the UUID that Reporter shows as the id of the connection, in lower case and with dashes, for example "+id),
		Entry("with an id in braces", `{connectionID: "{`+id+`}"}`, "spec.connectionID", "must be the UUID that Reporter shows"),
		Entry("with a URN", `{connectionID: "urn:uuid:`+id+`"}`, "spec.connectionID", "must be the UUID that Reporter shows"),
		Entry("with a configName", `{connectionID: ledger-db}`, "spec.connectionID", "must be the UUID that Reporter shows"),
		Entry("with a line break behind the id", `{connectionID: "`+id+`\n"}`, "spec.connectionID", "must be the UUID that Reporter shows"),
		Entry("with an unknown policy", `{connectionID: `+id+`, deletionPolicy: Orphan}`, "spec.deletionPolicy", `supported values: "Delete", "Retain"`),
		Entry("with an empty endpoint", `{connectionID: `+id+`, endpointRef: {name: ""}}`, "spec.endpointRef.name", "should be at least 1 chars long"),
	)

	It("keeps the id of a ReporterConnection as it is, and lets all else change", func(ctx context.Context) {
		s := newStage(ctx)
		Expect(world.Create(ctx, s.connection("ledger", id))).To(Succeed())
		patch := func(spec string) error {
			return world.Patch(ctx, s.connection("ledger", ""), client.RawPatch(types.MergePatchType, []byte(`{"spec":`+spec+`}`)))
		}
		Expect(patch(`{"connectionID":"019996b8-f3d1-7d2b-a192-6e91464d82fd"}`)).To(MatchError(
			ContainSubstring(`spec.connectionID: Invalid value: is immutable: create another ReporterConnection for another connection`)))
		Expect(patch(`{"endpointRef":{"name":"other"}}`)).To(Succeed())
		Expect(patch(`{"deletionPolicy":"Retain"}`)).To(Succeed())
	})

	It("takes finalizers that are null from server-side apply, and adds its own", func(ctx context.Context) {
		s := newStage(ctx)
		for kind, spec := range map[string]string{"ReporterConnection": `{connectionID: ` + id + `}`, "ReporterEndpoint": `{url: "http://reporter:4006"}`} {
			manifest := fmt.Sprintf("apiVersion: reporter.lerian.studio/v1alpha1\nkind: %s\nmetadata: {name: applied, namespace: %s, finalizers: null, labels: null}\nspec: %s", kind, s.namespace, spec)
			applied, err := world.Kubectl(ctx, manifest, "apply", "--server-side", "-f", "-", "-o", "jsonpath={.metadata.finalizers[*]}")
			Expect(err).NotTo(HaveOccurred())
			Expect(applied).To(HavePrefix("reporter.lerian.studio/"))
		}
	})

	It("says that a spec is missing", func(ctx context.Context) {
		Expect(create(ctx, "apiVersion: reporter.lerian.studio/v1alpha1\nkind: ReporterConnection\nmetadata: {name: empty, namespace: default}\n")).To(MatchError(ContainSubstring("spec: Required value")))
	})
})
