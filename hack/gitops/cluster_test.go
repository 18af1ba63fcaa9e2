// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/cache"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
	"github.com/reporter-operator/reporter-operator/internal/testenv"
)

const (
	tenant = "acme"
	// How long anything may take until it counts as stuck, and how often it is looked at.
	patience, often = 3 * time.Minute, 100 * time.Millisecond
)

// cluster is a control plane with the operator at work, and with the controllers that deletions need: Argo CD deletes in the foreground, which
// the garbage collector ends.
type cluster struct {
	*testenv.World
	live cache.ClusterCache // what Argo CD knows of it
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	world := testenv.StartFor(t, testenv.Start)
	world.StartControllersFor(t, "garbage-collector-controller")
	output, err := os.Create(filepath.Join(t.TempDir(), "operator.log"))
	if err != nil {
		t.Fatal(err)
	}
	operator, err := world.StartOperator(t.Context(), output)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(operator.Kill)
	return &cluster{world, watchForArgoCD(t, world.Config())}
}

// story is what happens to one application, and to the Reporter that it uses.
type story struct {
	*cluster
	t        *testing.T
	app      string
	engine   engine
	reporter *reportertest.Reporter
	declared application
	ids      map[string]string // of the connections, by configName
}

func newStory(t *testing.T, c *cluster, app, deletionDelay string) *story {
	t.Helper()
	reporter := reportertest.New()
	access := reportertest.NewAccessManager(reporter)
	access.AddClient("operator", "s3cret", tenant)
	s := &story{cluster: c, t: t, app: app, reporter: reporter, declared: application{
		App: app, Namespace: app + "-a", Described: "ledger", ByID: "vault", Port: 5432, Password: "correct-horse", MaxInFlight: 16,
		URL: reportertest.Serve(t, reporter).URL, AccessURL: reportertest.Serve(t, access).URL, DeletionDelay: deletionDelay,
	}}
	for _, namespace := range []string{app + "-a", app + "-b"} {
		s.kubectl("create", "namespace", namespace)
	}
	return s
}

// application is what somebody declares in a repository.
type application struct {
	App, Namespace                string
	WithNamespace                 bool
	URL, AccessURL, DeletionDelay string
	MaxInFlight                   int
	Described, ByID               string // the names of the two resources
	ID                            string // of the connection that was there before
	DescribedID                   string // once the described connection is to move
	Port                          int
	Password                      string
	SyncOptions, DeletionPolicy   string // of the described one
}

var manifests = template.Must(template.New("").Parse(`
{{- if .WithNamespace}}
apiVersion: v1
kind: Namespace
metadata: {name: {{.Namespace}}}
{{- end}}
---
apiVersion: v1
kind: Secret
metadata: {name: reporter-m2m, namespace: {{.Namespace}}, labels: {reporter.lerian.studio/credentials: "true"}}
data: {clientId: b3BlcmF0b3I=, clientSecret: czNjcmV0}
---
apiVersion: v1
kind: Secret
metadata: {name: ledger-password, namespace: {{.Namespace}}, labels: {reporter.lerian.studio/credentials: database}}
data: {password: {{.EncodedPassword}}}
---
apiVersion: reporter.lerian.studio/v1alpha1
kind: ReporterEndpoint
metadata: {name: default, namespace: {{.Namespace}}}
spec:
  url: {{.URL}}
  auth: {accessManager: {url: "{{.AccessURL}}", secretRef: {name: reporter-m2m}}}
  maxInFlight: {{.MaxInFlight}}
  {{- if .DeletionDelay}}
  deletionDelay: {{.DeletionDelay}}
  {{- end}}
---
apiVersion: reporter.lerian.studio/v1alpha1
kind: ReporterConnection
metadata:
  name: {{.Described}}
  namespace: {{.Namespace}}
  {{- if .SyncOptions}}
  annotations: {argocd.argoproj.io/sync-options: "{{.SyncOptions}}"}
  {{- end}}
spec:
  {{- if .DescribedID}}
  connectionID: {{.DescribedID}}
  {{- end}}
  {{- if .DeletionPolicy}}
  deletionPolicy: {{.DeletionPolicy}}
  {{- end}}
  connection:
    configName: ledger-db
    productName: ledger
    type: POSTGRESQL
    host: ledger-rw.billing.svc.cluster.local
    port: {{.Port}}
    databaseName: ledger
    userName: reporter
    passwordSecretRef: {name: ledger-password, key: password}
---
apiVersion: reporter.lerian.studio/v1alpha1
kind: ReporterConnection
metadata: {name: {{.ByID}}, namespace: {{.Namespace}}}
spec:
  connectionID: {{.ID}}
`))

// EncodedPassword is the password as a Secret has it.
func (a application) EncodedPassword() (string, error) {
	encoded, err := json.Marshal([]byte(a.Password))
	return string(encoded), err
}

func (a application) objects(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	var text strings.Builder
	if err := manifests.Execute(&text, a); err != nil {
		t.Fatal(err)
	}
	var objects []*unstructured.Unstructured
	for _, document := range strings.Split(text.String(), "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if object.Object != nil {
			objects = append(objects, object)
		}
	}
	return objects
}

// text is how objects are handed to a tool that reads files.
func text(objects []*unstructured.Unstructured) (string, error) {
	var documents []string
	for _, object := range objects {
		document, err := yaml.Marshal(object)
		if err != nil {
			return "", err
		}
		documents = append(documents, string(document))
	}
	return strings.Join(documents, "---\n"), nil
}

func (s *story) kubectl(arguments ...string) string {
	s.t.Helper()
	output, err := s.Kubectl(s.t.Context(), "", arguments...)
	if err != nil {
		s.t.Fatal(err)
	}
	return output
}

func (s *story) sync() (different []string) {
	s.t.Helper()
	different, err := s.engine.sync(s.t.Context(), s.declared.objects(s.t))
	if err != nil {
		s.t.Fatal(err)
	}
	return different
}

// idOf is the id of a living connection.
func (s *story) idOf(configName string) string {
	s.t.Helper()
	var found string
	s.eventually("Reporter has "+configName, func(context.Context) (bool, error) {
		for _, connection := range s.reporter.Connections() {
			if connection.ConfigName == configName {
				found = connection.ID
			}
		}
		return found != "", nil
	})
	return found
}

// eventually waits for what has to come.
func (s *story) eventually(what string, condition wait.ConditionWithContextFunc) {
	s.t.Helper()
	if err := wait.PollUntilContextTimeout(s.t.Context(), often, patience, true, condition); err != nil {
		s.t.Fatalf("waiting until %s: %v\n%s", what, err, s.kubectl("get", "rconn,rep,secrets", "--all-namespaces", "-o", "wide"))
	}
}

func (s *story) connections(ctx context.Context, namespace string) ([]v1alpha1.ReporterConnection, error) {
	list := &v1alpha1.ReporterConnectionList{}
	err := s.List(ctx, list, client.InNamespace(namespace))
	return list.Items, err
}

// all reports whether the two connections alone are in their namespace, and the condition holds of each.
func (s *story) all(its func(*v1alpha1.ReporterConnection) bool) wait.ConditionWithContextFunc {
	return func(ctx context.Context) (bool, error) {
		found, err := s.connections(ctx, s.declared.Namespace)
		if err != nil || len(found) != 2 {
			return false, err
		}
		for i := range found {
			if name := found[i].Name; name != s.declared.Described && name != s.declared.ByID || !its(&found[i]) {
				return false, nil
			}
		}
		return true, nil
	}
}

func has(connection *v1alpha1.ReporterConnection, conditionType, reason string) bool {
	for _, condition := range connection.Status.Conditions {
		if condition.Type == conditionType {
			return condition.Status == metav1.ConditionTrue && condition.Reason == reason && condition.ObservedGeneration == connection.Generation
		}
	}
	return false
}

func (s *story) areReady() {
	s.t.Helper()
	s.eventually("both connections are ready, and no other is there", s.all(func(c *v1alpha1.ReporterConnection) bool {
		return c.DeletionTimestamp.IsZero() && has(c, "Ready", "Available")
	}))
}

func (s *story) deletionsWaitForJobs() {
	s.t.Helper()
	s.eventually("both deletions wait for the jobs", s.all(func(c *v1alpha1.ReporterConnection) bool {
		return has(c, "DeletionBlocked", "JobInProgress")
	}))
}

// isEmptied waits until nothing of the application is left in a namespace that is not its own. Helm does not wait for what an upgrade prunes.
func (s *story) isEmptied(namespace string) {
	s.t.Helper()
	s.isNone("rconn,rep,secrets", "--namespace", namespace)
}

func (s *story) isGone(namespace string) {
	s.t.Helper()
	s.isNone("namespace", namespace)
}

func (s *story) isNone(arguments ...string) {
	s.t.Helper()
	s.eventually("nothing is left of "+strings.Join(arguments, " "), func(ctx context.Context) (bool, error) {
		left, err := s.Kubectl(ctx, "", append([]string{"get", "--ignore-not-found", "-o", "name"}, arguments...)...)
		return left == "", err
	})
}

// content is what the objects of the application say, without what the operator, the API server and kubectl note about them.
func (s *story) content() map[string]string {
	s.t.Helper()
	content := map[string]string{}
	for _, object := range s.declared.objects(s.t) {
		if err := s.Get(s.t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			s.t.Fatal(err)
		}
		delete(object.Object, "status")
		object.SetManagedFields(nil)
		object.SetResourceVersion("")
		unstructured.RemoveNestedField(object.Object, "metadata", "annotations", corev1.LastAppliedConfigAnnotation)
		text, err := yaml.Marshal(object)
		if err != nil {
			s.t.Fatal(err)
		}
		content[fmt.Sprintf("%s %s", object.GetKind(), object.GetName())] = string(text)
	}
	return content
}
