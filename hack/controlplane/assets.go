package main

import (
	"context"
	"fmt"
	"log"
	"os/exec"
	"path/filepath"
	"strings"
)

// useAssets checks that a directory given by KUBEBUILDER_ASSETS has what the
// tests cannot do without, and adds a kube-controller-manager if asked to.
func (r repository) useAssets(ctx context.Context, dir string, withKCM bool) error {
	lacksKCM, err := checkAssets(dir)
	switch {
	case err != nil || !lacksKCM:
		return err
	case !withKCM:
		log.Printf("no %s in KUBEBUILDER_ASSETS: the stories that need it are skipped (-with-kcm builds it)", controllerManager)
		return nil
	}
	v, err := assetsVersion(ctx, dir)
	if err != nil {
		return err
	}
	return r.provide(ctx, v, dir)
}

// checkAssets finds out whether a directory is usable, and if so, whether it
// lacks the one program that envtest's archives are without.
func checkAssets(dir string) (lacksKCM bool, err error) {
	if !filepath.IsAbs(dir) {
		return false, fmt.Errorf("using KUBEBUILDER_ASSETS=%s: it has to be an absolute path, as every test runs in a folder of its own", dir)
	}
	var names []string
	for _, p := range missing(dir) {
		if p.name == controllerManager {
			lacksKCM = true
			continue
		}
		names = append(names, p.name)
	}
	if len(names) > 0 {
		return false, fmt.Errorf("using KUBEBUILDER_ASSETS=%s: it has no executable %s; put it there, name another directory, or unset KUBEBUILDER_ASSETS to have the control plane built from Go modules",
			dir, strings.Join(names, ", "))
	}
	return lacksKCM, nil
}

// assetsVersion asks the kube-apiserver in dir for its version, because a
// controller manager may not be newer than its API server.
func assetsVersion(ctx context.Context, dir string) (version, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "kube-apiserver"), "--version").Output()
	if err != nil {
		return "", fmt.Errorf("asking the kube-apiserver in %s for its version: %w", dir, err)
	}
	v, err := parseVersion(strings.TrimPrefix(string(out), "Kubernetes "))
	if err != nil {
		return "", fmt.Errorf("asking the kube-apiserver in %s for its version: %w", dir, err)
	}
	return v, nil
}
