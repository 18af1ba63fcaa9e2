// SPDX-License-Identifier: Apache-2.0

// Package testenv sets up the world that tests, demo and playground play in: a real Kubernetes control plane on loopback, with
// the operator installed from config/ as a user would install it and run as a process of its own, as its own ServiceAccount.
package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

const (
	operatorNamespace      = "reporter-operator-system"
	operatorServiceAccount = "reporter-operator-controller-manager"
	operatorUser           = "system:serviceaccount:" + operatorNamespace + ":" + operatorServiceAccount
)

// World is a running control plane with the operator's manifests applied.
type World struct {
	// Client acts as cluster administrator, without a cache.
	client.Client
	// Dir holds the world's files and goes with it.
	Dir string
	// Kubeconfig is the path of the administrator's kubeconfig.
	Kubeconfig string
	// Mutates says that the API server serves MutatingAdmissionPolicies, as it does from Kubernetes 1.36 on. Where it does not, the operator
	// puts on the finalizers that policies put on elsewhere.
	Mutates bool

	root      string
	control   envtest.Environment
	config    *rest.Config
	build     func() (string, error) // builds the operator, once, and waits for that; returns its path
	stopBuild context.CancelFunc
	audit     auditTrail
}

// Start starts etcd and the API server from the directory KUBEBUILDER_ASSETS and applies Kustomization to it. Stop must be called
// even after an error.
func Start(ctx context.Context) (*World, error) {
	w, err := StartBare(ctx)
	if err != nil {
		return w, err
	}
	return w, w.install(ctx)
}

// StartBare starts a control plane with nothing applied to it, for tests that install the operator themselves.
func StartBare(ctx context.Context) (*World, error) {
	w := &World{}
	return w, w.start(ctx)
}

func (w *World) start(ctx context.Context) (err error) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return errors.New("KUBEBUILDER_ASSETS does not say where the control plane's binaries are: use the make targets, or export KUBEBUILDER_ASSETS=$(make -s controlplane)")
	}
	if w.root, err = ProjectRoot(); err != nil {
		return err
	}
	if w.Dir, err = os.MkdirTemp("", "reporter-operator-"); err != nil {
		return err
	}
	building, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w.stopBuild, w.build = cancel, sync.OnceValues(func() (string, error) { return w.Build(building, "manager", ".") })
	go w.build() //nolint:errcheck // it takes as long as the control plane; StartOperator tells what came of it
	if err := os.WriteFile(w.path("audit-policy.yaml"), []byte(auditPolicy), 0o600); err != nil {
		return err
	}
	// Left to itself, envtest makes directories of its own, and more of them when it tries again, and does not remove them all.
	apiServer := w.control.ControlPlane.GetAPIServer()
	apiServer.CertDir, w.control.ControlPlane.Etcd = w.path("kube-apiserver"), &envtest.Etcd{DataDir: w.path("etcd")}
	for _, dir := range []string{apiServer.CertDir, w.control.ControlPlane.Etcd.DataDir} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	apiServer.Configure().
		Append("audit-policy-file", w.path("audit-policy.yaml")).
		Append("audit-log-path", w.path("audit.log")).
		Append("audit-log-maxsize", "100000") // MB; it must not begin anew while it is read
	// On a machine that compiles at the same time, 20 s are not enough.
	w.control.ControlPlaneStartTimeout, w.control.ControlPlaneStopTimeout = time.Minute, time.Minute
	if w.config, err = w.control.Start(); err != nil {
		return fmt.Errorf("starting the control plane: %w", err)
	}
	w.Kubeconfig = w.path("kubeconfig")
	if err := os.WriteFile(w.Kubeconfig, w.control.KubeConfig, 0o600); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	if w.Client, err = client.New(w.config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	_, err = w.RESTMapper().RESTMapping(schema.GroupKind{Group: "admissionregistration.k8s.io", Kind: "MutatingAdmissionPolicy"}, "v1")
	w.Mutates = err == nil
	if meta.IsNoMatchError(err) {
		return nil
	}
	return err
}

// Kustomization is the one, in the project's directory, of all of the operator for what the API server serves.
func (w *World) Kustomization() string {
	if w.Mutates {
		return "config/default"
	}
	return "config/default-before-1.36"
}

// install applies what a user would, but for the Deployment: nothing here runs pods, StartOperator takes its place.
func (w *World) install(ctx context.Context) error {
	manifests, err := w.Kubectl(ctx, "", "kustomize", filepath.Join(w.root, w.Kustomization()))
	if err != nil {
		return err
	}
	var kept []string
	for _, document := range strings.Split(manifests, "\n---\n") {
		if !strings.Contains("\n"+document, "\nkind: Deployment\n") {
			kept = append(kept, document)
		}
	}
	if _, err := w.Kubectl(ctx, strings.Join(kept, "\n---\n"), "apply", "--server-side", "-f", "-"); err != nil {
		return err
	}
	if _, err = w.Kubectl(ctx, "", "wait", "--for=condition=Established", "crd",
		"reporterconnections.reporter.lerian.studio", "reporterendpoints.reporter.lerian.studio"); err != nil {
		return err
	}
	return w.AwaitPolicies(ctx)
}

// Config is how to reach the API server as cluster administrator, for clients of another kind than World's own.
func (w *World) Config() *rest.Config { return rest.CopyConfig(w.config) }

// AwaitPolicies waits until the API server has taken up the admission policies, which it does a moment after they are made. They are tried
// out in ways that change nothing.
func (w *World) AwaitPolicies(ctx context.Context) error {
	endpoint := &v1alpha1.ReporterEndpoint{Spec: v1alpha1.ReporterEndpointSpec{URL: "http://reporter"}}
	connection := &v1alpha1.ReporterConnection{Spec: v1alpha1.ReporterConnectionSpec{ConnectionID: "00000000-0000-0000-0000-000000000000"}}
	secret := &corev1.Secret{}
	for _, object := range []client.Object{endpoint, connection, secret} {
		object.SetName("policy-check")
		object.SetNamespace(metav1.NamespaceDefault)
		object.SetLabels(map[string]string{v1alpha1.CredentialsLabel: "true"})
		err := await(ctx, func(ctx context.Context) (bool, error) {
			tried := object.DeepCopyObject().(client.Object)
			err := w.Create(ctx, tried, client.DryRunAll) // refused at first, as the policies do not know the schema of a new CRD yet
			return err == nil && len(tried.GetFinalizers()) > 0 == w.Mutates, err
		})
		if err != nil {
			return fmt.Errorf("waiting for the admission policies that put finalizers on: trying a %T: %w", object, err)
		}
	}
	definition := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "reporterconnections.reporter.lerian.studio"}}
	definition.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	err := await(ctx, func(ctx context.Context) (bool, error) {
		err := w.Delete(ctx, definition, client.DryRunAll)
		return apierrors.IsForbidden(err), err
	})
	if err != nil {
		return fmt.Errorf("waiting for the admission policies that refuse: trying to delete %s: %w", definition.Name, err)
	}
	return nil
}

// await waits until what is tried turns out as it should. The error holds what it ended with last.
func await(ctx context.Context, try func(context.Context) (bool, error)) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (done bool, _ error) {
		done, last = try(ctx)
		return done, nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}

// Stop ends the control plane and removes the world's files.
func (w *World) Stop() error {
	err := w.control.Stop()
	if w.Dir == "" {
		return err
	}
	w.stopBuild()
	w.build() //nolint:errcheck // it writes into Dir until it has ended, and fails as it was stopped
	return errors.Join(err, os.RemoveAll(w.Dir))
}

// Kubectl runs the control plane's own kubectl as administrator and returns what it prints. The error holds what it complains
// about.
func (w *World) Kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	path := filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl")
	command := exec.CommandContext(ctx, path, args...) //nolint:gosec // the user's own binary
	command.Env = append(os.Environ(), "KUBECONFIG="+w.Kubeconfig,
		// Nothing of the user's own settings, and nothing into the home directory.
		"KUBERC=off", "KUBECACHEDIR="+w.path("kubectl-cache"))
	command.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	stdout, err := command.Output()
	if err != nil {
		return string(stdout), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(stdout), nil
}

// OperatorKubeconfig writes a kubeconfig that authenticates as the operator's ServiceAccount, as a pod would, and returns its path.
func (w *World) OperatorKubeconfig(ctx context.Context) (string, error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: operatorServiceAccount}}
	day := int64(24 * 60 * 60)
	token := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &day}}
	if err := w.SubResource("token").Create(ctx, account, token); err != nil {
		return "", fmt.Errorf("requesting the operator's token: %w", err)
	}
	kubeconfig := clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"world": {Server: w.config.Host, CertificateAuthorityData: w.config.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"operator": {Token: token.Status.Token}},
		Contexts:       map[string]*clientcmdapi.Context{"operator": {Cluster: "world", AuthInfo: "operator"}},
		CurrentContext: "operator",
	}
	path := w.path("operator-kubeconfig")
	return path, clientcmd.WriteToFile(kubeconfig, path)
}

func (w *World) path(name string) string { return filepath.Join(w.Dir, name) }

// ProjectRoot is the directory of the operator's go.mod, here or above. Other modules of the project are below it.
func ProjectRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "PROJECT")); err == nil {
			return dir, nil
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		return "", errors.New("finding the file PROJECT: run this inside the project")
	}
}
