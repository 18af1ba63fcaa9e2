// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

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
	world := testenv.StartFor(t, start)
	world.StartControllersFor(t)
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

// eventually waits until something holds.
func (s *stage) eventually(what string, holds func() bool) {
	s.t.Helper()
	if err := wait.PollUntilContextTimeout(s.t.Context(), 20*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) { return holds(), nil }); err != nil {
		s.t.Fatalf("waiting until %s: %v", what, err)
	}
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
		"networkpolicies,configmaps,validatingadmissionpolicies,validatingadmissionpolicybindings,crds"
	if s.Mutates {
		kinds += ",mutatingadmissionpolicies,mutatingadmissionpolicybindings"
	}
	if left := s.kubectl("get", kinds, "--all-namespaces", "--selector=app.kubernetes.io/name=reporter-operator", "--output=name"); left != "" {
		s.t.Errorf("it leaves\n%s", left)
	}
	if has := s.kubectl("get", "secret", "token", "--namespace=ledger", "--output=jsonpath={.metadata.labels}{.metadata.finalizers}"); has != `{"reporter.lerian.studio/credentials":"true"}` {
		s.t.Errorf("the Secret has %s, want its label and no finalizer", has)
	}
	s.kubectl("delete", "namespace", "ledger", "--timeout=1m")
	s.kubectl("wait", "namespace", "reporter-operator-system", "--for=delete", "--timeout=1m")
}

func TestUninstallOnControlPlane(t *testing.T) {
	s := newStage(t)
	live := s.connection("live")
	blocked, endJob := s.blockedConnection("blocked")
	staging := s.secondInstallation()
	s.refuses("there is no operator in namespace reporter-operator-system, but elsewhere", "uninstall", "--keep-connections")
	s.kubectl("delete", "namespace", staging, "--timeout=1m")
	s.kubectl("delete", "clusterrole", "reporter-operator-staging-manager-role")
	s.refuses("nobody has deleted these:\n  ReporterConnection ledger/live\nDelete them", "uninstall")
	s.kubectl("get", "rconn/live", "rep/default", "--namespace=ledger")

	s.kubectl("delete", "rconn/live", "--namespace=ledger")
	s.refuses("not done within 3s: run it again to go on", "uninstall", "--timeout=3s")
	var output buffer
	ended := make(chan error, 1)
	go func() { ended <- s.run(&output, "uninstall") }()
	s.eventually("it says what it waits for", func() bool {
		return strings.Contains(output.String(), "Waiting for deletions:\n  ReporterConnection ledger/blocked (JobInProgress since ")
	})
	s.isAlive(blocked, true)
	endJob()
	if err := <-ended; err != nil {
		t.Fatalf("%v\n%s", err, output.String())
	}
	s.isUninstalled()
	s.isAlive(live, false)
	s.isAlive(blocked, false)
}

// The command dies at each of its requests to change something: one time after that is carried out, and the other time before the next one is.
func TestInterruptedUninstallOnControlPlane(t *testing.T) {
	s := newBareStage(t, testenv.StartBare)
	s.deploy()
	s.startOperator()
	s.createEndpoint()
	live, protected := s.connection("live"), s.connection("protected")
	s.kubectl("patch", "rconn/protected", "--namespace=ledger", "--type=merge", `--patch={"spec":{"deletionProtection":true}}`)
	died := errors.New("it died")
	var runs, asked int
	dying := func(act func() error) error {
		switch asked++; {
		case asked > 1:
			return died
		case runs%2 == 0:
			return errors.Join(act(), died)
		}
		return act()
	}
	u := uninstall{keepConnections: true, cluster: &cluster{operator: types.NamespacedName{Namespace: "reporter-operator-system", Name: "reporter-operator"},
		IOStreams: genericiooptions.NewTestIOStreamsDiscard()}}
	flags := genericclioptions.NewConfigFlags(true)
	flags.KubeConfig = &s.Kubeconfig
	if err := u.connect(flags); err != nil {
		t.Fatal(err)
	}
	u.Client = interceptor.NewClient(noWatch{u.Client}, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
			return dying(func() error { return c.Patch(ctx, object, patch, options...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.DeleteOption) error {
			return dying(func() error { return c.Delete(ctx, object, options...) })
		},
	})
	staging := s.secondInstallation()
	if err := u.run(t.Context()); err == nil || !strings.Contains(err.Error(), "the kinds are those of other installations, too") || asked > 0 {
		t.Fatalf("beside another installation: %v", err)
	}
	s.kubectl("delete", "namespace", staging, "--timeout=1m")
	for err := u.run(t.Context()); err != nil; err = u.run(t.Context()) {
		if !errors.Is(err, died) {
			t.Fatalf("run %d: %v", runs, err)
		}
		runs, asked = runs+1, 0
	}
	if runs < 10 {
		t.Errorf("it has died %d times alone", runs)
	}
	s.kubectl("delete", "clusterrole", "reporter-operator-staging-manager-role") // which is not ours
	s.isUninstalled()
	s.isAlive(live, true)
	s.isAlive(protected, true)
}

// secondInstallation is another one in the same cluster, whose names begin like those of the first one. It returns its namespace.
func (s *stage) secondInstallation() string {
	s.t.Helper()
	s.kubectl("create", "namespace", "staging")
	s.kubectl("create", "deployment", "--namespace=staging", "reporter-operator-staging-controller-manager", "--image=operator")
	s.kubectl("label", "deployment", "--namespace=staging", "--all", "app.kubernetes.io/name=reporter-operator", "control-plane=controller-manager")
	s.kubectl("create", "clusterrole", "reporter-operator-staging-manager-role", "--verb=get", "--resource=secrets")
	s.kubectl("label", "clusterrole", "reporter-operator-staging-manager-role", "app.kubernetes.io/name=reporter-operator")
	return "staging"
}

// The operator goes first, with its namespace, and then the kinds. Whoever installs it again finds all as it was left.
func TestGoneFirstOnControlPlane(t *testing.T) {
	s := newStage(t)
	live := s.connection("live")
	blocked, endJob := s.blockedConnection("blocked")
	s.operator.Kill()
	s.kubectl("delete", "namespace", "reporter-operator-system", "--timeout=2m")
	s.kubectl("delete", "rconn/live", "--namespace=ledger", "--wait=false")
	has(t, s.refuses("things are wrong", "doctor"), "there is no Deployment", "an operator that does not work holds these:", "ReporterConnection ledger/live", "Secret ledger/token")
	s.isAlive(live, true)

	s.deploy()
	s.startOperator()
	s.kubectl("wait", "rconn/live", "--namespace=ledger", "--for=delete", "--timeout=2m")
	s.isAlive(live, false)
	s.isAlive(blocked, true)

	id := s.connection("kept-by-nobody")
	s.operator.Kill()
	s.kubectl("label", "crd", "--all", "reporter.lerian.studio/allow-deletion=true")
	s.kubectl("delete", "crd", "--all", "--wait=false")
	s.startOperator()
	s.kubectl("wait", "rconn/kept-by-nobody", "--namespace=ledger", "--for=delete", "--timeout=2m")
	s.isAlive(id, false)
	s.isAlive(blocked, true)
	endJob()
	s.kubectl("wait", "crd", "--all", "--for=delete", "--timeout=2m")
	s.isAlive(blocked, false)

	s.deploy()
	s.kubectl("create", "secret", "generic", "token-2", "--namespace=ledger", "--from-literal=token=a")
	s.kubectl("label", "secret", "token-2", "--namespace=ledger", v1alpha1.CredentialsLabel+"=true")
	s.create(&v1alpha1.ReporterEndpoint{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v1alpha1.ReporterEndpointSpec{
		URL:  v1alpha1.BaseURL(reportertest.Serve(t, s.reporter).URL),
		Auth: &v1alpha1.EndpointAuth{BearerToken: &v1alpha1.BearerTokenAuth{SecretRef: v1alpha1.SecretKeyReference{Name: "token-2", Key: "token"}}},
	}})
	s.connection("new")
}

// deploy installs what `make deploy` does, with kubectl alone.
func (s *stage) deploy() {
	s.t.Helper()
	s.kubectl("apply", "-k", "../../"+s.Kustomization())
	s.awaitInstallation()
}

func TestKeepConnectionsOnControlPlane(t *testing.T) {
	s := newStage(t)
	id := s.connection("protected")
	s.kubectl("patch", "rconn/protected", "--namespace=ledger", "--type=merge", `--patch={"spec":{"deletionProtection":true}}`)
	blocked, _ := s.blockedConnection("blocked")
	s.operator.Kill()
	var output buffer
	ended := make(chan error, 1)
	go func() { ended <- s.run(&output, "uninstall", "--keep-connections") }()
	s.eventually("it waits", func() bool { return strings.Contains(output.String(), "Waiting for deletions:") })
	s.kubectl("patch", "rconn/protected", "--namespace=ledger", "--type=merge", `--patch={"spec":{"deletionPolicy":"Delete"}}`)
	s.eventually("the policy is set again", func() bool {
		return s.kubectl("get", "rconn/protected", "--namespace=ledger", "--output=jsonpath={.spec.deletionPolicy}") == "Retain"
	})
	s.startOperator()
	if err := <-ended; err != nil {
		t.Fatalf("%v\n%s", err, output.String())
	}
	has(t, output.String(), "ReporterConnection ledger/protected goes; connection "+id+" stays in Reporter.",
		"ReporterConnection ledger/blocked goes; connection "+blocked+" stays in Reporter, unless the deletion that was under way has just taken place.",
		"Releasing Secrets:\n  Secret ledger/token")
	s.isUninstalled()
	s.isAlive(id, true)
	s.isAlive(blocked, true)
}

// Somebody sets the policy back between the two requests with which a resource is deleted.
func TestDeleteRetainedOnControlPlane(t *testing.T) {
	s := newBareStage(t, testenv.Start)
	s.create(&v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Name: "contested", Finalizers: []string{"example.com/held"}}, Spec: v1alpha1.ReporterConnectionSpec{ConnectionID: "019996b8-f3d1-7d2b-a192-6e91464d82fc"}})
	rc := &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "ledger", Name: "contested"}}
	contested := false
	u := uninstall{cluster: &cluster{Client: interceptor.NewClient(noWatch{s.Client}, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
			err := c.Patch(ctx, object, patch, options...)
			if !contested {
				contested = true
				s.kubectl("patch", "rconn/contested", "--namespace=ledger", "--type=merge", `--patch={"spec":{"deletionPolicy":"Delete"}}`)
			}
			return err
		},
	})}}
	if gone, err := u.deleteRetained(t.Context(), rc); gone || err != nil || !contested {
		t.Fatal(gone, contested, err)
	}
	if policy := s.kubectl("get", "rconn/contested", "--namespace=ledger", "--output=jsonpath={.metadata.deletionTimestamp} {.spec.deletionPolicy}"); !strings.HasSuffix(policy, "Z Retain") {
		t.Errorf("it is deleted at, and with the policy, %q", policy)
	}
}

// noWatch is a client that is never asked to watch.
type noWatch struct{ client.Client }

func (noWatch) Watch(context.Context, client.ObjectList, ...client.ListOption) (watch.Interface, error) {
	return nil, errors.ErrUnsupported
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
	has(t, s.refuses("things are wrong", "doctor"), "an operator that does not work holds these:\n         ReporterConnection ledger/blocked (JobInProgress since ",
		"kubectl reporter uninstall --keep-connections --operator-is-gone")
	s.refuses("--operator-is-gone needs --keep-connections", "uninstall", "--operator-is-gone")
	s.kubectl("delete", "rconn/live", "--namespace=ledger", "--wait=false")
	has(t, s.refuses("not done within 1s", "uninstall", "--timeout=1s"), "No replica of the operator leads in namespace reporter-operator-system.")

	lease := s.lead()
	s.refuses("the operator is not gone: pod-1 works as its leader", "uninstall", "--operator-is-gone", "--keep-connections")
	lease.Spec.RenewTime.Time = time.Now().Add(-time.Hour)
	if err := s.Update(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	s.kubectl("apply", "-k", "../../config/watched-namespace", "--namespace=ledger")
	s.says("uninstall", "--operator-only", "--operator-is-gone")
	s.kubectl("wait", "rolebinding/reporter-operator", "--namespace=ledger", "--for=delete", "--timeout=1m")
	s.kubectl("get", "rconn/live", "rconn/blocked", "rep/default", "--namespace=ledger")
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

	s.kubectl("create", "configmap", "somebodys", "--namespace=reporter-operator-system")
	has(t, s.make("undeploy"), "Waiting for RoleBindings", "Namespace reporter-operator-system stays, as it has these:\n  ConfigMap reporter-operator-system/somebodys", "Deleting Deployment reporter-operator-system/reporter-operator-controller-manager.")
	s.operator.Kill()
	s.kubectl("get", "rconn/live", "rep/default", "--namespace=ledger")
	s.isAlive(id, true)
	s.kubectl("delete", "configmap", "somebodys", "--namespace=reporter-operator-system")

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
	s.kubectl("label", "deployment", "--namespace=reporter-operator-system", "reporter-operator-controller-manager", "app.kubernetes.io/managed-by=Helm",
		"app.kubernetes.io/name=reporter-operator", "control-plane=controller-manager")
	s.kubectl("annotate", "deployment", "--namespace=reporter-operator-system", "reporter-operator-controller-manager", "meta.helm.sh/release-name=ours")
	lease := s.lead()
	if said := s.says("doctor"); strings.Count(said, "ok     ") != 7 || strings.Count(said, "\n") != 7 {
		t.Errorf("where all is well, it says\n%s", said)
	}
	s.breakInstallation()
	has(t, s.says("preflight", "--watch-namespaces=billing"), " is held, and --watch-namespaces leaves its namespace out: nobody will release it.")
	has(t, s.refuses("7 things are wrong", "doctor"),
		"the definitions of the kinds: CustomResourceDefinition reporterendpoints.reporter.lerian.studio is of another version",
		"the admission policies: ValidatingAdmissionPolicy reporter-operator-deletion-protection is missing",
		"the operator's rights: in the cluster, it may not get namespaces",
		"kubectl label --overwrite secret --namespace ledger token reporter.lerian.studio/credentials=true",
		"ReporterConnection ledger/described needs Secret ledger-db, which does not exist\n       Create it, labelled reporter.lerian.studio/credentials=database.",
		"ReporterEndpoint ledger/unused is used by nobody",
		"in namespace ledger, where no operator works, objects are held: ")

	if err := s.Delete(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	has(t, s.says("uninstall", "--keep-connections", "--operator-is-gone"), "helm uninstall --namespace reporter-operator-system ours")
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
	s.create(&v1alpha1.ReporterEndpoint{ObjectMeta: metav1.ObjectMeta{Name: "unused"}, Spec: v1alpha1.ReporterEndpointSpec{URL: "http://reporter"}},
		&v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Name: "described"}, Spec: v1alpha1.ReporterConnectionSpec{Connection: &v1alpha1.ConnectionDescription{
			ConfigName: "described", ProductName: "reporter", Type: "POSTGRESQL", Host: "db.example.com", Port: 5432, DatabaseName: "ledger", UserName: "reporter",
			PasswordSecretRef: v1alpha1.SecretKeyReference{Name: "ledger-db", Key: "password"}}}})
}
