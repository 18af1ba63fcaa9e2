// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"context"
	"slices"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/kube"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericclioptions"
)

// helm does what `helm install`, `upgrade`, `rollback` and `uninstall` do with --wait.
type helm struct {
	*cluster
	release   string
	revisions []string // their manifests; none while it is not installed
}

func newHelm(c *cluster, app string) engine { return &helm{cluster: c, release: app} }

// configuration is how one command reaches the cluster: discovery is cached in it.
func (h *helm) configuration() (*action.Configuration, error) {
	flags := genericclioptions.NewConfigFlags(false)
	*flags.KubeConfig, *flags.Namespace = h.Kubeconfig, metav1.NamespaceDefault
	configuration := action.NewConfiguration()
	return configuration, configuration.Init(flags, metav1.NamespaceDefault, "secret")
}

func (h *helm) sync(ctx context.Context, declared []*unstructured.Unstructured) (different []string, err error) {
	configuration, err := h.configuration()
	if err != nil {
		return nil, err
	}
	template, err := text(declared)
	if err != nil {
		return nil, err
	}
	chart := &chartv2.Chart{
		Metadata:  &chartv2.Metadata{APIVersion: chartv2.APIVersionV2, Name: h.release, Version: "1.0.0"},
		Templates: []*common.File{{Name: "templates/all.yaml", Data: []byte(template)}},
	}
	h.revisions = append(h.revisions, template)
	if len(h.revisions) == 1 {
		install := action.NewInstall(configuration)
		install.ReleaseName, install.Namespace, install.WaitStrategy, install.Timeout = h.release, metav1.NamespaceDefault, kube.StatusWatcherStrategy, patience
		_, err := install.RunWithContext(ctx, chart, nil)
		return nil, err
	}
	upgrade := action.NewUpgrade(configuration)
	upgrade.Namespace, upgrade.WaitStrategy, upgrade.Timeout = metav1.NamespaceDefault, kube.StatusWatcherStrategy, patience
	_, err = upgrade.RunWithContext(ctx, h.release, chart, nil)
	return nil, err
}

func (h *helm) revert(_ context.Context, before []*unstructured.Unstructured) error {
	configuration, err := h.configuration()
	if err != nil {
		return err
	}
	template, err := text(before)
	if err != nil {
		return err
	}
	rollback := action.NewRollback(configuration)
	rollback.WaitStrategy, rollback.Timeout, rollback.Version = kube.StatusWatcherStrategy, patience, slices.Index(h.revisions, template)+1
	h.revisions = append(h.revisions, template)
	return rollback.Run(h.release)
}

func (h *helm) remove(context.Context) error {
	configuration, err := h.configuration()
	if err != nil {
		return err
	}
	uninstall := action.NewUninstall(configuration)
	uninstall.WaitStrategy, uninstall.Timeout = kube.StatusWatcherStrategy, patience
	h.revisions = nil
	_, err = uninstall.Run(h.release)
	return err
}
