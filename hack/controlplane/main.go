// Command controlplane provides the Kubernetes control plane that the tests
// run against: etcd, kube-apiserver, kubectl and kube-controller-manager.
//
//	KUBEBUILDER_ASSETS=$(go -C hack/controlplane run .)
//
// It compiles the four from their Go modules, so all it needs is Go and a
// module proxy, and installs them into bin/controlplane/<version> of the
// repository. The first run takes minutes; after that what is there is used.
// Standard output gets one line, the directory of the binaries, and everything
// meant for people goes to standard error.
//
//   - K8S_VERSION=v1.36.1 picks another Kubernetes than the default one. The
//     build modules of the default and of the oldest Kubernetes that is
//     supported, with the checksums of all they compile, are committed in
//     build/; for any other version one is generated under bin/.
//   - KUBEBUILDER_ASSETS=<dir> uses the binaries of that directory instead and
//     builds nothing. The archives published for envtest have no
//     kube-controller-manager: -with-kcm builds the one that goes with the
//     directory's kube-apiserver into it.
//   - K8S_VERSION=v1.38.1 controlplane -pin writes the build module of that
//     version to build/, to be committed together with a new defaultVersion,
//     or a new OLDEST in the Makefile.
//
// To have something built again, delete it from bin/controlplane/<version>.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const defaultVersion version = "v1.37.2"

var errInterrupted = errors.New("interrupted: what is built stays, and the same command goes on from there")

func main() {
	log.SetFlags(0)
	log.SetPrefix("controlplane: ")

	withKCM := flag.Bool("with-kcm", false, "build a kube-controller-manager into KUBEBUILDER_ASSETS if it has none")
	pin := flag.Bool("pin", false, "only write the build module of K8S_VERSION to hack/controlplane/build")
	flag.Parse()

	dir, err := run(interruptible(), *withKCM, *pin)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(dir)
}

// run returns the directory in which it put, or found, what was asked for.
func run(ctx context.Context, withKCM, pin bool) (string, error) {
	root, err := findRepository()
	if err != nil {
		return "", err
	}
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" && !pin {
		return assets, root.useAssets(ctx, assets, withKCM)
	}
	v, err := parseVersion(cmp.Or(os.Getenv("K8S_VERSION"), string(defaultVersion)))
	if err != nil {
		return "", fmt.Errorf("reading K8S_VERSION: %w", err)
	}
	if pin {
		return root.pinned(v), generate(ctx, root, v, root.pinned(v))
	}
	dir := root.path("bin", "controlplane", string(v))
	return dir, root.provide(ctx, v, dir)
}

// repository is the top folder of the operator's repository.
type repository string

// findRepository walks up from the working directory, which lies somewhere in
// the repository, whether the program was started with go -C or not.
func findRepository() (repository, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the repository: %w", err)
	}
	for ; ; dir = filepath.Dir(dir) {
		root := repository(dir)
		if _, err := os.Stat(root.path("hack", "controlplane", "go.mod")); err == nil {
			return root, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("finding the repository: no folder from here upwards has hack/controlplane/go.mod; run this inside the repository")
		}
	}
}

func (r repository) path(elem ...string) string {
	return filepath.Join(append([]string{string(r)}, elem...)...)
}

// pinned is where the committed build module of a version is, if it has one.
func (r repository) pinned(v version) string {
	return r.path("hack", "controlplane", "build", string(v))
}

// interruptible returns a context that ends when the program should.
func interruptible() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup means it
		signals = append(signals, syscall.SIGHUP)
	}
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, signals...)
	// "go run" dies of SIGTERM without passing it on, which would leave the
	// compiler running on its own; losing the parent is the only trace of it.
	parent := os.Getppid()
	orphaned := time.NewTicker(time.Second)
	go func() {
		defer cancel(errInterrupted)
		for os.Getppid() == parent {
			select {
			case <-caught:
				return
			case <-orphaned.C:
			}
		}
	}()
	return ctx
}
