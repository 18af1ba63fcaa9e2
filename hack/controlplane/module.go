package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

const (
	kubernetesModule = "k8s.io/kubernetes"
	etcdModule       = "go.etcd.io/etcd/server/v3"
	buildModule      = "github.com/reporter-operator/reporter-operator/hack/controlplane/build"
)

// buildModule returns the directory of the module that v is built in: the
// committed one, or else one generated under bin/.
func (r repository) buildModule(ctx context.Context, v version) (string, error) {
	if _, err := os.Stat(r.pinned(v)); err == nil {
		return r.pinned(v), nil
	}
	dir := r.path("bin", "controlplane", "build", string(v))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	return dir, generate(ctx, r, v, dir)
}

// generate writes the build module of v to dir, with the checksums of all that
// it needs.
func generate(ctx context.Context, r repository, v version, dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return fmt.Errorf("writing the build module of %s: %s is already there", v, dir)
	}
	log.Printf("writing the build module of Kubernetes %s to %s", v, dir)
	published, err := publishedModule(ctx, r, v)
	if err != nil {
		return err
	}
	text, err := buildModuleFile(v, published)
	if err != nil {
		return fmt.Errorf("writing the build module of %s: %w", v, err)
	}
	err = install(dir, func(partial string) error {
		if err := os.Mkdir(partial, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(partial, "go.mod"), text, 0o644); err != nil {
			return err
		}
		_, err := goCommand(ctx, partial, "resolving modules", "mod", "tidy")
		return err
	})
	if err != nil {
		return fmt.Errorf("writing the build module of %s: %w", v, err)
	}
	return nil
}

// publishedModule returns the go.mod file that Kubernetes v was released with.
func publishedModule(ctx context.Context, r repository, v version) ([]byte, error) {
	here := r.path("hack", "controlplane")
	path, err := goCommand(ctx, here, "looking up Kubernetes "+string(v), "list", "-m", "-f", "{{.GoMod}}", kubernetesModule+"@"+string(v))
	if err == nil {
		return os.ReadFile(strings.TrimSpace(path))
	}
	// Whether the version or the network is to blame, only the proxy knows.
	list, listErr := goCommand(ctx, here, "listing Kubernetes versions", "list", "-m", "-versions", "-f", `{{join .Versions " "}}`, kubernetesModule+"@latest")
	if listErr != nil {
		return nil, fmt.Errorf("looking up Kubernetes %s: %w", v, err)
	}
	return nil, fmt.Errorf("looking up Kubernetes %s: there is no such version to be had; write for example K8S_VERSION=%s\n%w",
		v, strings.Join(alternatives(v, strings.Fields(list)), " or K8S_VERSION="), err)
}

// buildModuleFile derives the go.mod file of the build module from that of
// Kubernetes, which cannot be built as a dependency as it is: it replaces its
// own libraries by folders of its source tree, and replacements only hold in
// the main module. So here, they are replaced by their published versions. The
// Go version and the godebug settings that Kubernetes is tested with stay.
func buildModuleFile(v version, kubernetes []byte) ([]byte, error) {
	file, err := modfile.Parse("k8s.io/kubernetes/go.mod", kubernetes, nil)
	if err != nil {
		return nil, err
	}
	etcd, err := requirement(file, etcdModule)
	if err != nil {
		return nil, err
	}

	errs := []error{file.AddModuleStmt(buildModule)}
	for _, r := range file.Replace {
		if r.New.Version == "" {
			errs = append(errs, file.AddReplace(r.Old.Path, r.Old.Version, r.Old.Path, v.staging()))
		}
	}
	file.SetRequire(nil) // they are the requirements of a requirement now
	errs = append(errs, file.AddRequire(etcdModule, etcd), file.AddRequire(kubernetesModule, string(v)))
	for _, p := range controlPlane {
		errs = append(errs, file.AddTool(p.pkg))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}

	file.Syntax.Stmt = slices.DeleteFunc(file.Syntax.Stmt, func(e modfile.Expr) bool {
		_, comment := e.(*modfile.CommentBlock) // addressed to those who work on Kubernetes
		return comment
	})
	file.Cleanup()
	text, err := file.Format()
	header := fmt.Sprintf("// Written by \"controlplane -pin\" from the go.mod file of Kubernetes %s.\n\n", v)
	return append([]byte(header), text...), err
}

// requirement is the version of a module that a go.mod file requires.
func requirement(f *modfile.File, path string) (string, error) {
	for _, r := range f.Require {
		if r.Mod.Path == path {
			return r.Mod.Version, nil
		}
	}
	return "", fmt.Errorf("reading %s: it does not require %s", f.Syntax.Name, path)
}
