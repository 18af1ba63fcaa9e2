// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
	"github.com/reporter-operator/reporter-operator/internal/testenv"
)

// stage is an installation, with a Reporter and the namespace `ledger` that uses it.
type stage struct {
	*testenv.World
	t        *testing.T
	reporter *reportertest.Reporter
	operator *testenv.Process
}

// newStage is one with the operator at work, as config/default installs it.
func newStage(t *testing.T) *stage {
	t.Helper()
	s := newBareStage(t, testenv.Start)
	s.startOperator()
	s.createEndpoint()
	return s
}

// newBareStage is one on a control plane as it is started, without an operator at work.
func newBareStage(t *testing.T, start func(context.Context) (*testenv.World, error)) *stage {
	t.Helper()
	log.SetLogger(logr.Discard())
	world, err := start(t.Context())
	t.Cleanup(func() {
		if err := world.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	namespaces, err := world.StartNamespaceController(io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(namespaces.Kill)
	s := &stage{World: world, t: t, reporter: reportertest.New()}
	s.kubectl("create", "namespace", "ledger")
	return s
}

// createEndpoint creates the endpoint `default`, with its Secret, and waits until both are held: before Kubernetes 1.36, no policy does that.
func (s *stage) createEndpoint() {
	s.t.Helper()
	s.create(
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "token", Labels: map[string]string{v1alpha1.CredentialsLabel: "true"}}, StringData: map[string]string{"token": "a"}},
		&v1alpha1.ReporterEndpoint{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v1alpha1.ReporterEndpointSpec{
			URL:  v1alpha1.BaseURL(reportertest.Serve(s.t, s.reporter).URL),
			Auth: &v1alpha1.EndpointAuth{BearerToken: &v1alpha1.BearerTokenAuth{SecretRef: v1alpha1.SecretKeyReference{Name: "token", Key: "token"}}},
		}})
	s.kubectl("wait", "--namespace=ledger", "--for=jsonpath={.metadata.finalizers[0]}="+v1alpha1.InUseFinalizer, "secret/token", "rep/default", "--timeout=2m")
}

func (s *stage) startOperator(arguments ...string) {
	s.t.Helper()
	output, err := os.Create(filepath.Join(s.t.TempDir(), "operator.log"))
	if err != nil {
		s.t.Fatal(err)
	}
	if s.operator, err = s.StartOperator(s.t.Context(), output, arguments...); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.operator.Kill)
}

func (s *stage) create(objects ...client.Object) {
	s.t.Helper()
	for _, object := range objects {
		object.SetNamespace("ledger")
		if err := s.Create(s.t.Context(), object); err != nil {
			s.t.Fatal(err)
		}
	}
}

// connection creates a resource for a connection of its name, and returns the connection's id.
func (s *stage) connection(name string) string {
	s.t.Helper()
	id := s.reporter.Add(reportertest.Connection{ConfigName: name}).ID
	s.create(&v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ReporterConnectionSpec{ConnectionID: id}})
	s.kubectl("wait", "--namespace=ledger", "--for=condition=Ready", "rconn/"+name, "--timeout=2m")
	return id
}

// blockedConnection is one whose deletion waits for a job.
func (s *stage) blockedConnection(name string) (id string, endJob func()) {
	s.t.Helper()
	id, endJob = s.connection(name), s.reporter.StartJob(name)
	s.kubectl("delete", "--namespace=ledger", "rconn/"+name, "--wait=false")
	s.kubectl("wait", "--namespace=ledger", "--for=condition=DeletionBlocked", "rconn/"+name, "--timeout=2m")
	return id, endJob
}

func (s *stage) kubectl(arguments ...string) string {
	s.t.Helper()
	output, err := s.Kubectl(s.t.Context(), "", arguments...)
	if err != nil {
		s.t.Fatal(err)
	}
	return output
}

// buffer is written to while it is read.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// run runs `kubectl reporter`. The error is what it would end with.
func (s *stage) run(output io.Writer, arguments ...string) error {
	command := newCommand(genericiooptions.IOStreams{In: strings.NewReader(""), Out: output, ErrOut: output})
	command.SetArgs(append(arguments, "--kubeconfig="+s.Kubeconfig))
	return command.ExecuteContext(s.t.Context())
}

// says runs a command that succeeds, and returns what it prints.
func (s *stage) says(arguments ...string) string {
	s.t.Helper()
	var output buffer
	if err := s.run(&output, arguments...); err != nil {
		s.t.Fatalf("%q: %v\n%s", arguments, err, output.String())
	}
	return output.String()
}

// refuses runs a command that fails with certain words.
func (s *stage) refuses(want string, arguments ...string) string {
	s.t.Helper()
	var output buffer
	if err := s.run(&output, arguments...); err == nil || !strings.Contains(err.Error(), want) {
		s.t.Errorf("%q: %v, want %q\n%s", arguments, err, want, output.String())
	}
	return output.String()
}

func has(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func (s *stage) isAlive(id string, want bool) {
	s.t.Helper()
	if s.reporter.Alive(id) != want {
		s.t.Errorf("connection %s is alive in Reporter: %t, want %t", id, !want, want)
	}
}

// isUninstalled sees that nothing of the operator is left, and nothing that it held.
func (s *stage) isUninstalled() {
	s.t.Helper()
	kinds := "deployments,services,serviceaccounts,roles,rolebindings,poddisruptionbudgets,clusterroles,clusterrolebindings," +
		"validatingadmissionpolicies,validatingadmissionpolicybindings,crds"
	if s.Mutates {
		kinds += ",mutatingadmissionpolicies,mutatingadmissionpolicybindings"
	}
	if left := s.kubectl("get", kinds, "--all-namespaces", "--selector=app.kubernetes.io/name=reporter-operator", "--output=name"); left != "" {
		s.t.Errorf("it leaves\n%s", left)
	}
	if finalizers := s.kubectl("get", "secret", "token", "--namespace=ledger", "--output=jsonpath={.metadata.finalizers}"); finalizers != "" {
		s.t.Errorf("the Secret has the finalizers %s", finalizers)
	}
	s.kubectl("delete", "namespace", "ledger", "--timeout=1m")
	s.kubectl("wait", "namespace", "reporter-operator-system", "--for=delete", "--timeout=1m")
}

func TestUninstallOnControlPlane(t *testing.T) {
	s := newStage(t)
	live := s.connection("live")
	blocked, endJob := s.blockedConnection("blocked")
	s.refuses("nobody has deleted these:\n  ReporterConnection ledger/live\nDelete them", "uninstall")
	s.kubectl("get", "rconn/live", "rep/default", "--namespace=ledger")

	s.kubectl("delete", "rconn/live", "--namespace=ledger")
	s.refuses("not done within 3s: run it again to go on", "uninstall", "--timeout=3s")
	var output buffer
	ended := make(chan error, 1)
	go func() { ended <- s.run(&output, "uninstall") }()
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		return strings.Contains(output.String(), "Waiting for deletions:\n  ReporterConnection ledger/blocked (JobInProgress since "), nil
	})
	if err != nil {
		t.Fatalf("it says\n%s", output.String())
	}
	s.isAlive(blocked, true)
	endJob()
	if err := <-ended; err != nil {
		t.Fatalf("%v\n%s", err, output.String())
	}
	s.isUninstalled()
	s.isAlive(live, false)
	s.isAlive(blocked, false)
}

func TestKeepConnectionsOnControlPlane(t *testing.T) {
	s := newStage(t)
	id := s.connection("protected")
	s.kubectl("patch", "rconn/protected", "--namespace=ledger", "--type=merge", `--patch={"spec":{"deletionProtection":true}}`)
	blocked, _ := s.blockedConnection("blocked")
	has(t, s.says("uninstall", "--keep-connections"), "ReporterConnection ledger/protected goes; connection "+id+" stays in Reporter.",
		"ReporterConnection ledger/blocked goes; connection "+blocked+" stays in Reporter.", "Secret ledger/token is released")
	s.isUninstalled()
	s.isAlive(id, true)
	s.isAlive(blocked, true)
}

// lead makes the lease of an operator in a pod, which none here is.
func (s *stage) lead() *coordinationv1.Lease {
	s.t.Helper()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "reporter-operator-system", Name: leaseName},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: new("pod-1"), RenewTime: &metav1.MicroTime{Time: time.Now().Add(time.Hour)}}}
	if err := s.Create(s.t.Context(), lease); err != nil {
		s.t.Fatal(err)
	}
	return lease
}

func TestOperatorIsGoneOnControlPlane(t *testing.T) {
	s := newStage(t)
	live := s.connection("live")
	blocked, _ := s.blockedConnection("blocked")
	s.operator.Kill()
	has(t, s.refuses("things are wrong", "doctor"), "WRONG  what is held: ReporterConnection ledger/blocked is deleted, and held by an operator that does not work",
		"kubectl reporter uninstall --keep-connections --operator-is-gone")
	s.refuses("--operator-is-gone needs --keep-connections", "uninstall", "--operator-is-gone")

	lease := s.lead()
	s.refuses("the operator is not gone: pod-1 works as its leader", "uninstall", "--operator-is-gone", "--keep-connections")
	lease.Spec.RenewTime.Time = time.Now().Add(-time.Hour)
	if err := s.Update(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	s.says("uninstall", "--operator-is-gone", "--keep-connections")
	s.isUninstalled()
	s.isAlive(live, true)
	s.isAlive(blocked, true)
}

// The targets of the Makefile, in the order of somebody who tries the operator out in one namespace, and then has it work in all.
func TestMakeOnControlPlane(t *testing.T) {
	s := newBareStage(t, testenv.StartBare)
	s.make("deploy", "CONFIG="+s.Kustomization(), "IMG=registry.example.com/reporter-operator:dev", "WATCH_NAMESPACES=ledger")
	s.awaitInstallation()
	if err := s.JudgePods(t.Context()); err != nil {
		t.Error(err)
	}
	s.startOperator("--watch-namespaces=ledger")
	s.createEndpoint()
	id := s.connection("live")
	if output, err := s.tryMake("deploy", "CONFIG="+s.Kustomization(), "WATCH_NAMESPACES=billing"); err == nil {
		t.Errorf("it can be installed without a namespace that it holds:\n%s", output)
	} else {
		has(t, output, "the operator works in namespace ledger, which --watch-namespaces leaves out")
	}

	has(t, s.make("undeploy"), "Waiting for RoleBindings", "Deleting Deployment reporter-operator-system/reporter-operator-controller-manager.")
	s.operator.Kill()
	s.kubectl("get", "rconn/live", "rep/default", "--namespace=ledger")
	s.isAlive(id, true)
	s.kubectl("wait", "namespace", "reporter-operator-system", "--for=delete", "--timeout=1m")

	s.make("deploy", "CONFIG="+s.Kustomization())
	s.awaitInstallation()
	s.startOperator()
	s.kubectl("delete", "rconn/live", "--namespace=ledger", "--timeout=2m")
	s.make("uninstall")
	s.isUninstalled()
	s.isAlive(id, false)
}

func (s *stage) awaitInstallation() {
	s.t.Helper()
	s.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=1m")
	if err := s.AwaitPolicies(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// make runs a target of the Makefile, and returns what it prints.
func (s *stage) make(arguments ...string) string {
	s.t.Helper()
	output, err := s.tryMake(arguments...)
	if err != nil {
		s.t.Fatalf("make %q: %v\n%s", arguments, err, output)
	}
	return output
}

func (s *stage) tryMake(arguments ...string) (string, error) {
	kubectl := "KUBECTL=" + filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl")
	command := exec.CommandContext(s.t.Context(), "make", append([]string{"-C", "../..", kubectl}, arguments...)...)
	command.Env = append(os.Environ(), "KUBECONFIG="+s.Kubeconfig, "MAKEFLAGS=", "MAKELEVEL=") // not those of a make that runs the test
	output, err := command.CombinedOutput()
	return string(output), err
}

func TestStatusAndDoctorOnControlPlane(t *testing.T) {
	s := newStage(t)
	s.refuses("holds Secret ledger/token, whose namespace --watch-namespaces leaves out", "preflight", "--watch-namespaces=billing")
	s.connection("live")
	s.blockedConnection("blocked")
	said := s.says("status", "--all-namespaces")
	has(t, said, "NAMESPACE   ENDPOINT   STATUS      SINCE", "ledger      default    Available", `blocked   `, "JobInProgress", "Jobs in Reporter, pending or processing, read from connection")
	if said := s.says("status", "--namespace=default"); said != "No endpoints.\n\nNo deletion waits.\n" {
		t.Errorf("where there is nothing, it says\n%s", said)
	}

	has(t, s.refuses("things are wrong", "doctor"), "WRONG  the operator: there is no Deployment reporter-operator-controller-manager in namespace reporter-operator-system")
	s.kubectl("create", "deployment", "--namespace=reporter-operator-system", "reporter-operator-controller-manager", "--image=operator")
	s.kubectl("label", "deployment", "--namespace=reporter-operator-system", "reporter-operator-controller-manager", "app.kubernetes.io/managed-by=Helm")
	s.kubectl("annotate", "deployment", "--namespace=reporter-operator-system", "reporter-operator-controller-manager", "meta.helm.sh/release-name=ours")
	lease := s.lead()
	if said := s.says("doctor"); strings.Count(said, "ok     ") != 7 || strings.Count(said, "\n") != 7 {
		t.Errorf("where all is well, it says\n%s", said)
	}
	s.breakInstallation()
	has(t, s.refuses("5 things are wrong", "doctor"),
		"the definitions of the kinds: CustomResourceDefinition reporterendpoints.reporter.lerian.studio is of another version",
		"the admission policies: ValidatingAdmissionPolicy reporter-operator-deletion-protection is missing",
		"the operator's rights: in the cluster, it may not get namespaces",
		"kubectl label secret --namespace ledger token reporter.lerian.studio/credentials=true",
		"ReporterEndpoint ledger/unused is used by nobody")

	if err := s.Delete(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	has(t, s.says("uninstall", "--keep-connections", "--operator-is-gone"), "helm uninstall --namespace reporter-operator-system ours")
	s.kubectl("get", "deployment", "--namespace=reporter-operator-system", "reporter-operator-controller-manager")
	if definitions := s.kubectl("get", "crds", "--output=name"); definitions != "" {
		t.Errorf("there are still %s", definitions)
	}
}

func (s *stage) breakInstallation() {
	s.t.Helper()
	s.kubectl("label", "secret/token", "--namespace=ledger", v1alpha1.CredentialsLabel+"-")
	s.kubectl("delete", "validatingadmissionpolicy", "reporter-operator-deletion-protection")
	s.kubectl("delete", "clusterrolebinding", "reporter-operator-manager-rolebinding")
	s.kubectl("patch", "crd", "reporterendpoints.reporter.lerian.studio", "--type=json", `--patch=[{"op":"remove","path":"/spec/names/shortNames"}]`)
	s.create(&v1alpha1.ReporterEndpoint{ObjectMeta: metav1.ObjectMeta{Name: "unused"}, Spec: v1alpha1.ReporterEndpointSpec{URL: "http://reporter"}})
}
