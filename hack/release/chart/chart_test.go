// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const (
	root  = "../../.."
	chart = root + "/charts/reporter-operator"
)

// anImage is what the chart has to be told.
const anImage = "image: {repository: registry.example.com/operator, tag: v1}\n"

// objects by kind, namespace and name.
type objects map[string]map[string]any

// add takes the objects of a YAML stream up. What says who manages an object is left out: the two differ in that on purpose.
func (o objects) add(t *testing.T, stream string) {
	t.Helper()
	for _, document := range strings.Split("\n"+stream, "\n---") {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if object == nil || object["kind"] == "Namespace" { // helm makes it with --create-namespace
			continue
		}
		metadata := object["metadata"].(map[string]any)
		dropAll(metadata, "labels", "app.kubernetes.io/managed-by", "app.kubernetes.io/instance", "app.kubernetes.io/version", "helm.sh/chart")
		dropAll(metadata, "annotations", "helm.sh/resource-policy")
		if strings.HasPrefix(object["kind"].(string), "MutatingAdmissionPolicy") {
			delete(metadata, "namespace") // kustomize takes them for objects of a namespace; the API server does not mind
		}
		key := fmt.Sprintf("%v %v/%v", object["kind"], metadata["namespace"], metadata["name"])
		if _, twice := o[key]; twice {
			t.Errorf("%s is there twice", key)
		}
		o[key] = object
	}
}

func dropAll(metadata map[string]any, of string, keys ...string) {
	pairs, ok := metadata[of].(map[string]any)
	if !ok {
		return
	}
	for _, key := range keys {
		delete(pairs, key)
	}
	if len(pairs) == 0 {
		delete(metadata, of)
	}
}

// kustomized builds a kustomization of a user's own, next to config/.
func (o objects) kustomized(t *testing.T, kustomization string) {
	t.Helper()
	dir := t.TempDir()
	config, err := filepath.Abs(root + "/config")
	if err != nil {
		t.Fatal(err)
	}
	if config, err = filepath.Rel(dir, config); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(strings.ReplaceAll(kustomization, "config/", config+"/")), 0o600); err != nil {
		t.Fatal(err)
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	o.add(t, string(stream))
}

// load loads the chart.
func load(t *testing.T) *chartv2.Chart {
	t.Helper()
	loaded, err := loader.LoadDir(chart)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

func parsed(t *testing.T, values string) map[string]any {
	t.Helper()
	var parsed map[string]any
	if err := yaml.Unmarshal([]byte(values), &parsed); err != nil {
		t.Fatal(err)
	}
	return parsed
}

// release is how the chart is rendered.
type release struct {
	name, namespace string
	// versions are those of the API that the cluster serves.
	versions common.VersionSet
}

var today = release{"reporter-operator", "reporter-operator-system", common.VersionSet{"v1", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"}}

// render returns the templates' outcome.
func (r release) render(t *testing.T, values string) (string, error) {
	t.Helper()
	loaded := load(t)
	capabilities := common.DefaultCapabilities.Copy()
	capabilities.APIVersions = r.versions
	with, err := util.ToRenderValues(loaded, parsed(t, values), common.ReleaseOptions{Name: r.name, Namespace: r.namespace, IsInstall: true}, capabilities)
	if err != nil {
		return "", err
	}
	rendered, err := engine.Render(loaded, with)
	if err != nil {
		return "", err
	}
	var stream strings.Builder
	for _, file := range slices.Sorted(maps.Keys(rendered)) {
		if strings.HasSuffix(file, ".yaml") {
			stream.WriteString("\n---\n" + rendered[file])
		}
	}
	return stream.String(), nil
}

func TestChartHasTheObjectsOfConfig(t *testing.T) {
	const image = "images: [{name: controller, newName: registry.example.com/operator, newTag: v1}]\n"
	const allOfIt = "metrics: {serviceMonitor: {enabled: true}, prometheusRule: {enabled: true}, dashboard: {enabled: true}}\nnetworkPolicy: {enabled: true}"
	before136 := today
	before136.versions = common.VersionSet{"v1"}
	watch := func(namespaces string) string {
		return "patches:\n- target: {kind: Deployment, name: controller-manager}\n  patch: |-\n" +
			"    - {op: add, path: /spec/template/spec/containers/0/args/-, value: \"--watch-namespaces=" + namespaces + "\"}\n"
	}
	for mode, c := range map[string]struct {
		release
		values, kustomization string
		watched               []string
	}{
		"in all namespaces":         {release: today, kustomization: "resources: [config/default]\n"},
		"before Kubernetes 1.36":    {release: before136, kustomization: "resources: [config/default-before-1.36]\n"},
		"without metrics":           {release: today, values: "metrics: {enabled: false, serviceMonitor: {enabled: true}, prometheusRule: {enabled: true}, dashboard: {enabled: true}}", kustomization: "resources: [config/default]\ncomponents: [config/without-metrics]\n"},
		"with the other components": {release: today, values: allOfIt, kustomization: "resources: [config/default]\ncomponents: [config/prometheus, config/grafana, config/network-policy]\n"},
		"in some namespaces alone": {release: today, values: "watchNamespaces: [billing, ledger]", watched: []string{"billing", "ledger"},
			kustomization: "resources: [config/default]\ncomponents: [config/namespaced]\n" + watch("billing,ledger")},
		"in one namespace alone, before Kubernetes 1.36, without metrics": {release: before136, values: "watchNamespaces: [billing]\nmetrics: {enabled: false}", watched: []string{"billing"},
			kustomization: "resources: [config/default-before-1.36]\ncomponents: [config/namespaced, config/without-metrics]\n" + watch("billing")},
		"under another name": {release: release{"our", "ours", today.versions}, values: allOfIt,
			kustomization: "resources: [config/default]\ncomponents: [config/prometheus, config/grafana, config/network-policy]\nnamePrefix: our-\nnamespace: ours\n"},
	} {
		t.Run(mode, func(t *testing.T) {
			want, got := objects{}, objects{}
			want.kustomized(t, c.kustomization+image)
			for _, namespace := range c.watched {
				want.kustomized(t, "resources: [config/watched-namespace]\nnamespace: "+namespace)
			}
			stream, err := c.render(t, anImage+c.values)
			if err != nil {
				t.Fatal(err)
			}
			got.add(t, stream)
			for key := range maps.Keys(want) {
				if _, ok := got[key]; !ok {
					t.Errorf("the chart has no %s", key)
				}
			}
			for key, object := range got {
				if in, ok := want[key]; !ok {
					t.Errorf("config/ has no %s", key)
				} else if !reflect.DeepEqual(in, object) {
					t.Errorf("%s is in config/\n%s\nand in the chart\n%s", key, indented(t, in), indented(t, object))
				}
			}
		})
	}
}

func indented(t *testing.T, object any) string {
	t.Helper()
	text, err := json.MarshalIndent(object, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestValues(t *testing.T) {
	const digest = "sha256:0123456789012345678901234567890123456789012345678901234567890123"
	for values, want := range map[string]string{
		"image: {repository: r, digest: '" + digest + "', tag: v2}":                                           "image: r@" + digest + "\n",
		"image: {repository: r}":                                                                              "image: r:0.0.0\n",
		anImage + "imagePullSecrets: [{name: registry}]":                                                      "imagePullSecrets:\n        - name: registry\n",
		anImage + "fullnameOverride: ours":                                                                    "serviceAccountName: ours-controller-manager\n",
		anImage + "extraArgs: [--check-interval=2h]":                                                          "- --metrics-bind-address=:8443\n        - --check-interval=2h\n",
		anImage + "replicas: 1":                                                                               "replicas: 1\n",
		anImage + "resources: {requests: {memory: 1Gi}}":                                                      "memory: 1Gi\n",
		anImage + "nodeSelector: {a: b}":                                                                      "nodeSelector:\n        a: b\n",
		anImage + "tolerations: [{operator: Exists}]":                                                         "tolerations:\n        - operator: Exists\n",
		anImage + "affinity: {nodeAffinity: {}}":                                                              "affinity:\n        nodeAffinity: {}\n",
		anImage + "priorityClassName: high":                                                                   "priorityClassName: high\n",
		anImage + "podLabels: {a: b, control-plane: theirs}":                                                  "a: b\n        app.kubernetes.io/name: reporter-operator\n        control-plane: controller-manager\n",
		anImage + "podAnnotations: {a: b}":                                                                    "kubectl.kubernetes.io/default-container: manager\n        a: b\n",
		anImage + "serviceAccount: {annotations: {a: b}}":                                                     "annotations:\n    a: b\n",
		anImage + "metrics: {serviceMonitor: {enabled: true, labels: {prometheus: ours}}}":                    "prometheus: ours\n",
		anImage + "metrics: {prometheusRule: {enabled: true, labels: {prometheus: ours}}}":                    "prometheus: ours\n  name: reporter-operator\n",
		anImage + "metrics: {dashboard: {enabled: true, labels: {grafana_dashboard: null, grafana: ours}}}":   "grafana: ours\n    helm.sh/chart",
		anImage + "networkPolicy: {enabled: true, apiServerPorts: [16443], reporterPorts: [8080]}":            "  - ports:\n    - port: 16443\n  - ports:\n    - port: 8080\n",
		anImage + "networkPolicy: {enabled: true, metricsNamespaceLabels: {metrics: null, prometheus: ours}}": "matchLabels:\n          prometheus: ours\n",
		anImage + "topologySpreadConstraints: [{topologyKey: zone}]":                                          "topologySpreadConstraints:\n        - topologyKey: zone\n",
	} {
		if stream, err := today.render(t, values); err != nil || !strings.Contains(stream, want) {
			t.Errorf("%s renders no %q: %v\n%s", values, want, err, stream)
		}
	}
	for values, absent := range map[string]string{
		anImage + "podDisruptionBudget: {enabled: false}": "kind: PodDisruptionBudget",
		anImage + "aggregatedRoles: {enabled: false}":     "aggregate-to-",
		anImage + "crds: {install: false}":                "kind: CustomResourceDefinition",
		anImage + "admissionPolicies: {mutating: never}":  "kind: MutatingAdmissionPolicy",
	} {
		whole, err := today.render(t, anImage)
		if err != nil || !strings.Contains(whole, absent) {
			t.Errorf("the chart as it is renders no %q: %v", absent, err)
		}
		if stream, err := today.render(t, values); err != nil || strings.Contains(stream, absent) {
			t.Errorf("%s renders %q: %v", values, absent, err)
		}
	}
	old := today
	old.versions = nil
	if stream, err := old.render(t, anImage+"admissionPolicies: {mutating: always}"); err != nil || !strings.Contains(stream, "kind: MutatingAdmissionPolicy") {
		t.Errorf("no MutatingAdmissionPolicy where they are always to be: %v", err)
	}
}

func TestValuesThatCannotBeRight(t *testing.T) {
	for values, want := range map[string]string{
		"{}":                                           "image.repository says where the image is",
		anImage + "replica: 3":                         "'replica' not allowed",
		anImage + "watchNamespaces: billing":           "got string, want array",
		anImage + "watchNamespaces: [Billing]":         "'Billing' does not match pattern",
		anImage + "watchNamespaces: [a, a]":            "are equal",
		anImage + "extraArgs: [leader-elect]":          "does not match pattern",
		"image: {repository: r, digest: 0123}":         "digest",
		anImage + "admissionPolicies: {mutating: yes}": "mutating",
	} {
		if _, err := today.render(t, values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", values, err, want)
		}
	}
}

// Every value has a place in the schema, and the other way round: helm refuses what is not there, and nobody finds what is not here.
func TestSchemaHasTheValues(t *testing.T) {
	loaded := load(t)
	var schema map[string]any
	if err := json.Unmarshal(loaded.Schema, &schema); err != nil {
		t.Fatal(err)
	}
	properties := schema["properties"].(map[string]any)
	delete(properties, "global") // helm adds it to the values of every chart
	compareWithSchema(t, "", loaded.Values, properties)
}

func compareWithSchema(t *testing.T, prefix string, values, properties map[string]any) {
	t.Helper()
	if got, want := slices.Sorted(maps.Keys(properties)), slices.Sorted(maps.Keys(values)); prefix != "resources." && !slices.Equal(got, want) {
		t.Errorf("%s: the schema has %q, values.yaml %q", prefix, got, want)
	}
	for key, property := range properties {
		value, isMap := values[key].(map[string]any)
		if of, ok := property.(map[string]any)["properties"].(map[string]any); ok && isMap {
			compareWithSchema(t, prefix+key+".", value, of)
		}
	}
}

func TestLint(t *testing.T) {
	for _, message := range lint.RunAll(chart, parsed(t, anImage), "reporter-operator-system").Messages {
		if !strings.Contains(message.Error(), "icon is recommended") {
			t.Error(message)
		}
	}
}
