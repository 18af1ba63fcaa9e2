// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"context"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/pkg/ssa"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// flux does with Flux' resource manager what its kustomize-controller does for a Kustomization with `prune: true` and `wait: true`.
type flux struct {
	app       string
	manager   *ssa.ResourceManager
	inventory *ssa.ChangeSet
}

func newFlux(c *cluster, app string) engine {
	owner := ssa.Owner{Field: "kustomize-controller", Group: "kustomize.toolkit.fluxcd.io"}
	manager := ssa.NewResourceManager(c.Client, polling.NewStatusPoller(c.Client, c.RESTMapper(), polling.Options{}), owner)
	return &flux{app: app, manager: manager, inventory: ssa.NewChangeSet()}
}

var fluxWaits = ssa.WaitOptions{Interval: often, Timeout: patience}

func (f *flux) sync(ctx context.Context, declared []*unstructured.Unstructured) (different []string, err error) {
	f.manager.SetOwnerLabels(declared, f.app, "flux-system")
	options := ssa.DefaultApplyOptions()
	options.WaitInterval, options.WaitTimeout = often, patience
	applied, err := f.manager.ApplyAllStaged(ctx, declared, options)
	if err != nil {
		return nil, err
	}
	for _, entry := range applied.Entries {
		if entry.Action != ssa.UnchangedAction {
			different = append(different, entry.String())
		}
	}
	pruned, err := f.delete(ctx, f.staleAfter(applied))
	if err != nil {
		return nil, err
	}
	for _, entry := range pruned.Entries {
		different = append(different, entry.String())
	}
	f.inventory = applied
	if err := f.manager.WaitForSetWithContext(ctx, applied.ToObjMetadataSet(), fluxWaits); err != nil {
		return nil, err
	}
	return different, f.manager.WaitForSetTermination(pruned, fluxWaits)
}

func (f *flux) revert(ctx context.Context, before []*unstructured.Unstructured) error {
	_, err := f.sync(ctx, before)
	return err
}

func (f *flux) remove(ctx context.Context) error {
	deleted, err := f.delete(ctx, f.staleAfter(ssa.NewChangeSet()))
	if err != nil {
		return err
	}
	f.inventory = ssa.NewChangeSet()
	return f.manager.WaitForSetTermination(deleted, fluxWaits)
}

// staleAfter is what was applied before and has not been now.
func (f *flux) staleAfter(applied *ssa.ChangeSet) (stale []*unstructured.Unstructured) {
	kept := applied.ToObjMetadataSet()
	for _, entry := range f.inventory.Entries {
		if !kept.Contains(entry.ObjMetadata) {
			object := &unstructured.Unstructured{}
			object.SetGroupVersionKind(entry.ObjMetadata.GroupKind.WithVersion(entry.GroupVersion))
			object.SetNamespace(entry.ObjMetadata.Namespace)
			object.SetName(entry.ObjMetadata.Name)
			stale = append(stale, object)
		}
	}
	return stale
}

func (f *flux) delete(ctx context.Context, stale []*unstructured.Unstructured) (*ssa.ChangeSet, error) {
	options := ssa.DefaultDeleteOptions()
	options.Inclusions = f.manager.GetOwnerLabels(f.app, "flux-system")
	return f.manager.DeleteAll(ctx, stale, options)
}
