// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var _ = Describe("The API server", func() {
	const id, another = "019996b8-f3d1-7d2b-a192-6e91464d82fc", "019996b8-f3d1-7d2b-a192-6e91464d82fd"

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
		Entry("with an unknown managementPolicy", `{url: "http://reporter", managementPolicy: ReadOnly}`, "spec.managementPolicy", `supported values: "Full", "DeleteOnly"`),
		Entry("with an empty auth", `{url: "http://reporter", auth: {}}`, "spec.auth", "exactly one of the fields in [bearerToken accessManager] must be set"),
		Entry("with a Secret without a key", `{url: "http://reporter", auth: {bearerToken: {secretRef: {name: token}}}}`, "spec.auth.bearerToken.secretRef.key", "Required value"),
		Entry("with an unknown field", `{url: "http://reporter", insecureSkipVerify: true}`, "spec.insecureSkipVerify", "unknown field"),
	)

	DescribeTable("rejects a ReporterConnection and says what to write instead", func(ctx context.Context, spec, field, message string) {
		Expect(create(ctx, connection(spec))).To(MatchError(And(ContainSubstring(field), ContainSubstring(message))))
	},
		Entry("with neither an id nor a description", `{}`, "spec", "must have a connectionID, which names a connection that Reporter has, or a connection, which describes one for the operator to create"),
		Entry("with an upper-case id", `{connectionID: 019996B8-F3D1-7D2B-A192-6E91464D82FC}`, "spec.connectionID", "must be in lower case: write "+id),
		Entry("with an id without dashes", `{connectionID: 019996b8f3d17d2ba1926e91464d82fc}`, "spec.connectionID", "must be the UUID that Reporter shows as the id of the connection, in lower case and with dashes, for example "+id),
		Entry("with an id in braces", `{connectionID: "{`+id+`}"}`, "spec.connectionID", "must be the UUID that Reporter shows"),
		Entry("with a URN", `{connectionID: "urn:uuid:`+id+`"}`, "spec.connectionID", "must be the UUID that Reporter shows"),
		Entry("with a configName", `{connectionID: ledger-db}`, "spec.connectionID", "must be the UUID that Reporter shows"),
		Entry("with a line break behind the id", `{connectionID: "`+id+`\n"}`, "spec.connectionID", "must be the UUID that Reporter shows"),
		Entry("with an empty id", `{connectionID: ""}`, "spec.connectionID", "should be at least 1 chars long"),
		Entry("with an unknown deletionPolicy", `{connectionID: `+id+`, deletionPolicy: Orphan}`, "spec.deletionPolicy", `supported values: "Delete", "Retain"`),
		Entry("with an unknown adoptionPolicy", `{connectionID: `+id+`, adoptionPolicy: Always}`, "spec.adoptionPolicy", `supported values: "Never", "ByName"`),
		Entry("with an empty endpoint", `{connectionID: `+id+`, endpointRef: {name: ""}}`, "spec.endpointRef.name", "should be at least 1 chars long"),
		Entry("with a description of nothing", `{connection: {}}`, "spec.connection.configName", "Required value"),
	)

	const certificate = `"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"`
	// described is a manifest that describes a connection, with other values for some of its fields; null takes one away.
	described := func(changes string) string {
		description, changed := map[string]any{}, map[string]any{}
		Expect(yaml.Unmarshal([]byte(`{configName: ledger-db, productName: ledger, type: POSTGRESQL, host: db.internal, port: 5432, databaseName: ledger,
			userName: reporter, passwordSecretRef: {name: database, key: password}}`), &description)).To(Succeed())
		Expect(yaml.Unmarshal([]byte(changes), &changed)).To(Succeed())
		for field, value := range changed {
			if description[field] = value; value == nil {
				delete(description, field)
			}
		}
		spec, err := json.Marshal(map[string]any{"connection": description})
		Expect(err).NotTo(HaveOccurred())
		return connection(string(spec))
	}
	ssl := func(databaseType, mode string) string {
		return fmt.Sprintf(`{type: %s, ssl: {mode: %q, caBundle: %s}}`, databaseType, mode, certificate)
	}

	DescribeTable("takes a description", func(ctx context.Context, changes string) {
		Expect(create(ctx, described(changes))).To(Succeed())
	},
		Entry("with all that it must have", `{}`),
		Entry("with the shortest configName", `{configName: a_1}`),
		Entry("with the longest configName", `{configName: `+strings.Repeat("Z", 100)+`}`),
		Entry("with the shortest productName", `{productName: "9"}`),
		Entry("with the longest productName", `{productName: `+strings.Repeat("a", 98)+`_-}`),
		Entry("with the lowest port", `{port: 1}`),
		Entry("with the highest port", `{port: 65535}`),
		Entry("with a host that is an IPv4 address", `{host: 10.0.0.7}`),
		Entry("with a host that is an IPv6 address", `{host: "fd00::7"}`),
		Entry("with the longest host", `{host: `+strings.Repeat("a", 255)+`}`),
		Entry("with white space within a name", `{databaseName: "the ledger", schema: "its schema", userName: "the reporter"}`),
		Entry("with an empty schema, which is as without one", `{schema: ""}`),
		Entry("with the user name in a Secret", `{userName: null, userNameSecretRef: {name: database, key: username}}`),
		Entry("with a client certificate", `{ssl: {mode: verify-full, caBundle: `+certificate+`, clientCertificateSecretRef: {name: client}}}`),
	)

	It("takes every ssl mode with the types of databases that have it, and with no other", func(ctx context.Context) {
		modes := map[string][]string{
			"POSTGRESQL": {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
			"MYSQL":      {"true", "false", "skip-verify", "preferred"},
			"ORACLE":     {"enable", "disable", "true", "false", "skip-verify"},
			"SQL_SERVER": {"disable", "true", "false", "strict"},
			"MONGODB":    {"enable", "disable", "true", "false"},
		}
		for databaseType, theirs := range modes {
			for _, mode := range slices.Concat(slices.Collect(maps.Values(modes))...) {
				if slices.Contains(theirs, mode) {
					Expect(create(ctx, described(ssl(databaseType, mode)))).To(Succeed(), "%s for %s", mode, databaseType)
				} else {
					Expect(create(ctx, described(ssl(databaseType, mode)))).To(refuse(
						"spec.connection.ssl.mode", "for "+databaseType+" must be one of: "+strings.Join(theirs, ", ")), "%s for %s", mode, databaseType)
				}
			}
		}
	})

	DescribeTable("rejects a description and says what to write instead", func(ctx context.Context, changes, field, message string) {
		Expect(create(ctx, described(changes))).To(MatchError(And(ContainSubstring("spec.connection"+field), ContainSubstring(message))))
	},
		Entry("without a configName", `{configName: null}`, ".configName", "Required value"),
		Entry("with too short a configName", `{configName: db}`, ".configName", "should be at least 3 chars long"),
		Entry("with too long a configName", `{configName: `+strings.Repeat("a", 101)+`}`, ".configName", "may not be more than 100"),
		Entry("with a dot in the configName", `{configName: ledger.db}`, ".configName", "must be of letters, digits, - and _ alone, for example ledger-db"),
		Entry("with a line break behind the configName", `{configName: "ledger-db\n"}`, ".configName", "must be of letters, digits, - and _ alone"),
		Entry("without a productName", `{productName: null}`, ".productName", "Required value"),
		Entry("with an empty productName", `{productName: ""}`, ".productName", "should be at least 1 chars long"),
		Entry("with too long a productName", `{productName: `+strings.Repeat("a", 101)+`}`, ".productName", "may not be more than 100"),
		Entry("with a productName that Reporter would lower-case", `{productName: Ledger}`, ".productName", "must be of lower-case letters, digits, - and _ alone, for example ledger"),
		Entry("without a type", `{type: null}`, ".type", "Required value"),
		Entry("with an unknown type", `{type: postgresql}`, ".type", `supported values: "ORACLE", "SQL_SERVER", "POSTGRESQL", "MONGODB", "MYSQL"`),
		Entry("without a host", `{host: null}`, ".host", "Required value"),
		Entry("with an empty host", `{host: ""}`, ".host", "should be at least 1 chars long"),
		Entry("with too long a host", `{host: `+strings.Repeat("a", 256)+`}`, ".host", "may not be more than 255"),
		Entry("with a user in the host", `{host: "reporter@db.internal"}`, ".host", "must be a host name or an address alone, without white space, user, port or path, for example ledger-rw.billing.svc.cluster.local"),
		Entry("with a path in the host", `{host: db.internal/ledger}`, ".host", "must be a host name or an address alone"),
		Entry("with a URL in place of the host", `{host: "postgresql://db.internal"}`, ".host", "must be a host name or an address alone"),
		Entry("with a port in the host", `{host: "db.internal:5432"}`, ".host", "must be a host name or an address alone"),
		Entry("with white space before the host", `{host: " db.internal"}`, ".host", "must be a host name or an address alone"),
		Entry("with a line break behind the host", `{host: "db.internal\n"}`, ".host", "must be a host name or an address alone"),
		Entry("without a port", `{port: null}`, ".port", "Required value"),
		Entry("with port 0", `{port: 0}`, ".port", "should be greater than or equal to 1"),
		Entry("with too high a port", `{port: 65536}`, ".port", "should be less than or equal to 65535"),
		Entry("without a databaseName", `{databaseName: null}`, ".databaseName", "Required value"),
		Entry("with an empty databaseName", `{databaseName: ""}`, ".databaseName", "should be at least 1 chars long"),
		Entry("with too long a databaseName", `{databaseName: `+strings.Repeat("a", 256)+`}`, ".databaseName", "may not be more than 255"),
		Entry("with white space before the databaseName", `{databaseName: " ledger"}`, ".databaseName", "must not begin or end with white space"),
		Entry("with white space behind the databaseName", `{databaseName: "ledger\n"}`, ".databaseName", "must not begin or end with white space"),
		Entry("with too long a schema", `{schema: `+strings.Repeat("a", 256)+`}`, ".schema", "may not be more than 255"),
		Entry("with white space behind the schema", `{schema: "public "}`, ".schema", "must not begin or end with white space"),
		Entry("without a user name", `{userName: null}`, "", "exactly one of the fields in [userName userNameSecretRef] must be set"),
		Entry("with two user names", `{userNameSecretRef: {name: database, key: username}}`, "", "exactly one of the fields in [userName userNameSecretRef] must be set"),
		Entry("with an empty user name", `{userName: ""}`, ".userName", "should be at least 1 chars long"),
		Entry("with too long a user name", `{userName: `+strings.Repeat("a", 256)+`}`, ".userName", "may not be more than 255"),
		Entry("with white space before the user name", `{userName: "\treporter"}`, ".userName", "must not begin or end with white space"),
		Entry("without a password", `{passwordSecretRef: null}`, ".passwordSecretRef", "Required value"),
		Entry("with a password in it", `{password: hush}`, ".password", "unknown field"),
		Entry("with a password's Secret without a key", `{passwordSecretRef: {name: database}}`, ".passwordSecretRef.key", "Required value"),
		Entry("with a password's Secret of another namespace", `{passwordSecretRef: {name: database, key: password, namespace: theirs}}`, ".passwordSecretRef.namespace", "unknown field"),
		Entry("with a user name's Secret without a key", `{userName: null, userNameSecretRef: {name: database}}`, ".userNameSecretRef.key", "Required value"),
		Entry("with ssl without a mode", `{ssl: {caBundle: `+certificate+`}}`, ".ssl.mode", "Required value"),
		Entry("with ssl without authorities, which Reporter wants whatever the mode", `{ssl: {mode: disable}}`, ".ssl.caBundle", "Required value"),
		Entry("with ssl with empty authorities", `{ssl: {mode: disable, caBundle: ""}}`, ".ssl.caBundle", "should be at least 1 chars long"),
		Entry("with endless authorities", `{ssl: {mode: disable, caBundle: `+strings.Repeat("a", 262145)+`}}`, ".ssl.caBundle", "may not be more than 262144"),
		Entry("with a client certificate of no Secret", `{ssl: {mode: disable, caBundle: `+certificate+`, clientCertificateSecretRef: {}}}`, ".ssl.clientCertificateSecretRef.name", "Required value"),
		Entry("with a key in it", `{ssl: {mode: disable, caBundle: `+certificate+`, key: hush}}`, ".ssl.key", "unknown field"),
	)

	It("keeps the id of a ReporterConnection as it is, and lets all else change", func(ctx context.Context) {
		s := newStage(ctx)
		Expect(world.Create(ctx, s.connection("ledger", id))).To(Succeed())
		Expect(s.tryPatch(ctx, "ledger", `{"connectionID":"`+another+`"}`)).To(refuse("spec.connectionID", "is immutable: create another ReporterConnection for another connection"))
		Expect(s.tryPatch(ctx, "ledger", `{"endpointRef":{"name":"other"}}`)).To(Succeed())
		Expect(s.tryPatch(ctx, "ledger", `{"deletionPolicy":"Retain"}`)).To(Succeed())
		Expect(s.tryPatch(ctx, "ledger", `{"suspend":true}`)).To(Succeed())
	})

	It("takes finalizers that are null from server-side apply, and adds its own", func(ctx context.Context) {
		needsMutation()
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
