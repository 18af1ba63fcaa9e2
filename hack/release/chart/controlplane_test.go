// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/action"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
	"github.com/reporter-operator/reporter-operator/internal/testenv"
)

const operatorNamespace = "reporter-operator-system"

// cluster is a control plane that helm installs the chart on.
type cluster struct {
	*testenv.World
	t *testing.T
}

func newCluster(t *testing.T, start func(context.Context) (*testenv.World, error)) *cluster {
	t.Helper()
	world := testenv.StartFor(t, start)
	c := &cluster{world, t}
	world.StartControllersFor(t)
	return c
}

// helm is how the SDK reaches the cluster. Each command of helm's has a configuration of its own, as discovery is cached in it.
func (c *cluster) helm() *action.Configuration {
	c.t.Helper()
	flags := genericclioptions.NewConfigFlags(false)
	*flags.KubeConfig, *flags.Namespace = c.Kubeconfig, operatorNamespace
	configuration := action.NewConfiguration()
	if err := configuration.Init(flags, operatorNamespace, "secret"); err != nil {
		c.t.Fatal(err)
	}
	return configuration
}

// install installs the chart. Nothing here runs pods, so nobody waits for them.
func (c *cluster) install(values string) error {
	c.t.Helper()
	return c.installWith(action.NewInstall(c.helm()), values)
}

func (c *cluster) installWith(install *action.Install, values string) error {
	c.t.Helper()
	install.ReleaseName, install.Namespace, install.CreateNamespace, install.WaitStrategy = "reporter-operator", operatorNamespace, true, kube.HookOnlyStrategy
	_, err := install.Run(load(c.t), parsed(c.t, anImage+values))
	return err
}

func (c *cluster) upgrade(to *chartv2.Chart, values string) error {
	c.t.Helper()
	upgrade := action.NewUpgrade(c.helm())
	upgrade.Namespace, upgrade.WaitStrategy, upgrade.ServerSideApply = operatorNamespace, kube.HookOnlyStrategy, "auto"
	_, err := upgrade.Run("reporter-operator", to, parsed(c.t, anImage+values))
	return err
}

func (c *cluster) uninstall() {
	c.t.Helper()
	uninstall := action.NewUninstall(c.helm())
	uninstall.WaitStrategy, uninstall.Timeout = kube.StatusWatcherStrategy, time.Minute
	if _, err := uninstall.Run("reporter-operator"); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) kubectl(arguments ...string) string {
	c.t.Helper()
	output, err := c.Kubectl(c.t.Context(), "", arguments...)
	if err != nil {
		c.t.Fatal(err)
	}
	return output
}

// eventually waits for what has to come.
func (c *cluster) eventually(what string, condition func(ctx context.Context) (bool, error)) {
	c.t.Helper()
	if err := wait.PollUntilContextTimeout(c.t.Context(), 50*time.Millisecond, 2*time.Minute, true, condition); err != nil {
		c.t.Fatalf("waiting until %s: %v", what, err)
	}
}

func (c *cluster) startOperator(arguments ...string) *testenv.Process {
	c.t.Helper()
	log, err := os.Create(filepath.Join(c.t.TempDir(), "operator.log"))
	if err != nil {
		c.t.Fatal(err)
	}
	operator, err := c.StartOperator(c.t.Context(), log, arguments...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		operator.Kill()
		if output, err := os.ReadFile(log.Name()); c.t.Failed() {
			c.t.Logf("%v: the operator's log ends with\n%s", err, output[max(0, len(output)-4<<10):])
		}
	})
	return operator
}

// deletion is one that waits, as a job reads from the connection.
type deletion struct {
	connection *v1alpha1.ReporterConnection
	reporter   *reportertest.Reporter
	endJob     func()
}

func (c *cluster) waitingDeletion(namespace string) deletion {
	c.t.Helper()
	reporter := reportertest.New()
	id := reporter.Add(reportertest.Connection{ConfigName: "ledger-db"}).ID
	meta := metav1.ObjectMeta{Namespace: namespace, Name: "default"}
	d := deletion{&v1alpha1.ReporterConnection{ObjectMeta: meta, Spec: v1alpha1.ReporterConnectionSpec{ConnectionID: id}}, reporter, reporter.StartJob("ledger-db")}
	endpoint := &v1alpha1.ReporterEndpoint{ObjectMeta: meta, Spec: v1alpha1.ReporterEndpointSpec{URL: v1alpha1.BaseURL(reportertest.Serve(c.t, reporter).URL)}}
	for _, object := range []client.Object{endpoint, d.connection} {
		if err := c.Create(c.t.Context(), object); err != nil {
			c.t.Fatal(err)
		}
	}
	c.kubectl("wait", "--namespace", namespace, "--for=condition=Ready", "rconn/default", "--timeout=2m")
	c.kubectl("delete", "--namespace", namespace, "rconn/default", "--wait=false")
	c.stillWaits(d)
	return d
}

// stillWaits sees that a deletion waits as it did.
func (c *cluster) stillWaits(d deletion) {
	c.t.Helper()
	c.eventually("the deletion waits", func(ctx context.Context) (bool, error) {
		now := &v1alpha1.ReporterConnection{}
		err := c.Get(ctx, client.ObjectKeyFromObject(d.connection), now)
		return now.UID == d.connection.UID && !now.DeletionTimestamp.IsZero() && slices.Equal(now.Finalizers, []string{v1alpha1.ConnectionFinalizer}) &&
			slices.ContainsFunc(now.Status.Conditions, func(c metav1.Condition) bool { return c.Type == "DeletionBlocked" && c.Reason == "JobInProgress" }), err
	})
}

func (c *cluster) ends(d deletion) {
	c.t.Helper()
	d.endJob()
	c.eventually("the deletion is done", func(ctx context.Context) (bool, error) {
		err := c.Get(ctx, client.ObjectKeyFromObject(d.connection), &v1alpha1.ReporterConnection{})
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
	if d.reporter.Alive(d.connection.Spec.ConnectionID) {
		c.t.Error("the connection is still there in Reporter")
	}
}

// newer is the chart as a later version would be: with a field more in a CRD.
func newer(t *testing.T) *chartv2.Chart {
	t.Helper()
	loaded := load(t)
	for _, file := range loaded.Files {
		if strings.HasSuffix(file.Name, "reporterconnections.yaml") {
			changed := bytes.Replace(file.Data, []byte("              connectionID:\n"), []byte("              newField:\n                type: string\n              connectionID:\n"), 1)
			if bytes.Equal(changed, file.Data) {
				t.Fatal("the CRD is not changed")
			}
			file.Data = changed
		}
	}
	loaded.Metadata.Version = "0.0.1"
	return loaded
}

func TestOnControlPlane(t *testing.T) {
	c := newCluster(t, testenv.StartBare)
	c.kubectl("create", "namespace", operatorNamespace)
	c.kubectl("label", "namespace", operatorNamespace, "pod-security.kubernetes.io/enforce=restricted")
	if err := c.install(""); err != nil {
		t.Fatal(err)
	}
	if err := c.JudgePods(t.Context()); err != nil {
		t.Error(err)
	}
	c.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=1m")
	if err := c.AwaitPolicies(t.Context()); err != nil {
		t.Fatal(err)
	}
	operator := c.startOperator()
	d := c.waitingDeletion("default")
	hasNewField := func() bool {
		return strings.Contains(c.kubectl("get", "crd", "reporterconnections.reporter.lerian.studio", "-o", "yaml"), "newField:")
	}
	if hasNewField() {
		t.Fatal("the CRD has the new field from the start")
	}

	if err := c.upgrade(newer(t), ""); err != nil {
		t.Fatal(err)
	}
	if !hasNewField() {
		t.Error("the upgrade has not upgraded the CRD")
	}
	c.stillWaits(d)
	rollback := action.NewRollback(c.helm())
	rollback.WaitStrategy, rollback.ServerSideApply = kube.HookOnlyStrategy, "auto"
	if err := rollback.Run("reporter-operator"); err != nil {
		t.Fatal(err)
	}
	if hasNewField() {
		t.Error("the rollback has not brought the CRD back")
	}
	c.stillWaits(d)

	operator.Kill()
	c.uninstall()
	kinds := "deployments,services,serviceaccounts,roles,rolebindings,poddisruptionbudgets,clusterroles,clusterrolebindings," +
		"validatingadmissionpolicies,validatingadmissionpolicybindings"
	if c.Mutates {
		kinds += ",mutatingadmissionpolicies,mutatingadmissionpolicybindings"
	}
	if left := c.kubectl("get", kinds, "--all-namespaces", "--selector=app.kubernetes.io/name=reporter-operator", "--output=name"); left != "" {
		t.Errorf("helm uninstall leaves\n%s", left)
	}
	c.stillWaits(d)
	if err := c.install(""); err != nil {
		t.Fatalf("installing it again: %v", err)
	}
	c.startOperator()
	c.ends(d)

	plugin := exec.CommandContext(t.Context(), "go", "-C", "../../../cmd/kubectl-reporter", "run", ".", "uninstall", "--keep-connections", "--kubeconfig="+c.Kubeconfig)
	output, err := plugin.CombinedOutput()
	if err != nil || !strings.Contains(string(output), "helm uninstall --namespace reporter-operator-system reporter-operator") {
		t.Fatalf("kubectl reporter uninstall: %v\n%s", err, output)
	}
	c.uninstall()
	if left := c.kubectl("get", kinds+",crds", "--all-namespaces", "--selector=app.kubernetes.io/name=reporter-operator", "--output=name"); left != "" {
		t.Errorf("both leave\n%s", left)
	}
	if definitions := c.kubectl("get", "crds", "--output=name"); definitions != "" {
		t.Errorf("both leave %s", definitions)
	}
}

func TestNamespacesOnControlPlane(t *testing.T) {
	c := newCluster(t, testenv.StartBare)
	for _, namespace := range []string{"billing", "ledger"} {
		c.kubectl("create", "namespace", namespace)
	}
	if err := c.install(""); err != nil {
		t.Fatal(err)
	}
	c.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=1m")
	if err := c.AwaitPolicies(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused := func(values, want string) {
		t.Helper()
		if err := c.upgrade(load(t), values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("upgrading with %s: %v, want %q", values, err, want)
		}
	}
	operator := c.startOperator()
	d := c.waitingDeletion("ledger")
	refused("watchNamespaces: [billing]", "holds objects in namespace ledger, which watchNamespaces leaves out")
	operator.Kill()
	if err := c.upgrade(load(t), "watchNamespaces: [billing, ledger]"); err != nil {
		t.Fatal(err)
	}
	operator = c.startOperator("--watch-namespaces=billing,ledger")
	c.stillWaits(d)
	refused("watchNamespaces: [ledger]", "works in namespace billing, which watchNamespaces leaves out")
	refused("", "which watchNamespaces leaves out. Have it release that one first, while it runs: kubectl delete rolebinding --namespace")

	operator.Kill()
	c.uninstall()
	if left := c.kubectl("get", "rolebindings", "--all-namespaces", "--field-selector=metadata.name=reporter-operator", "--output=jsonpath={.items[*].metadata.namespace}"); left != "billing ledger" {
		t.Errorf("after helm uninstall there are RoleBindings in %q", left)
	}
	if err := c.install("watchNamespaces: [billing, ledger]"); err != nil {
		t.Fatalf("installing it again: %v", err)
	}
	c.startOperator("--watch-namespaces=billing,ledger")
	c.ends(d)
	c.kubectl("delete", "rolebinding", "--namespace=billing", "reporter-operator", "--timeout=1m")
	if err := c.upgrade(load(t), "watchNamespaces: [ledger]"); err != nil {
		t.Error(err)
	}
}

func TestTakeOverOnControlPlane(t *testing.T) {
	c := newCluster(t, testenv.Start) // with what `make deploy` installs
	c.startOperator()
	d := c.waitingDeletion("default")
	if err := c.install(""); err == nil || !strings.Contains(err.Error(), "cannot be imported into the current release") {
		t.Errorf("without a word of taking it over: %v", err)
	}
	install := action.NewInstall(c.helm())
	install.TakeOwnership, install.ForceConflicts = true, true
	if err := c.installWith(install, ""); err != nil {
		t.Fatal(err)
	}
	c.stillWaits(d)
	c.ends(d)
}
