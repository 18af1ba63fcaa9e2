// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/cache"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/diff"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	argosync "github.com/argoproj/argo-cd/gitops-engine/pkg/sync"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/sync/common"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/kube"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/tracing"
	"github.com/go-logr/logr"
	lua "github.com/yuin/gopher-lua"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// argoCD does with Argo CD's engine what its application controller does for an Application.
type argoCD struct {
	*cluster
	app         string
	options     []argosync.SyncOpt
	diffOptions []diff.Option
	waves       map[string]string // by kind, if it is not 0
}

const (
	trackingID  = "argocd.argoproj.io/tracking-id"
	argoManager = "argocd-controller"
)

// newArgoCD is one that does as it does by itself.
func newArgoCD(c *cluster, app string) engine { return startArgoCD(c, app) }

// newArgoCDWithPruneLast is one as the docs advise it: it prunes last, and what a connection needs is in an earlier wave.
func newArgoCDWithPruneLast(c *cluster, app string) engine {
	a := startArgoCD(c, app, argosync.WithPruneLast(true), argosync.WithServerSideApply(true), argosync.WithServerSideApplyManager(argoManager))
	a.diffOptions = append(a.diffOptions, diff.WithStructuredMergeDiff(true), diff.WithGVKParser(c.live.GetGVKParser()), diff.WithManager(argoManager))
	a.waves = map[string]string{"Namespace": "-2", "Secret": "-1", "ReporterEndpoint": "-1"}
	return a
}

func startArgoCD(c *cluster, app string, options ...argosync.SyncOpt) *argoCD {
	return &argoCD{cluster: c, app: app, diffOptions: []diff.Option{diff.WithLogr(logr.Discard())}, options: append(options,
		argosync.WithPrune(true), argosync.WithSkipHooks(true), argosync.WithHealthOverride(luaHealth{}), argosync.WithLogr(logr.Discard()))}
}

var argoKubectl = &kube.KubectlCmd{Log: logr.Discard(), Tracer: tracing.NopTracer{}}

// watchForArgoCD starts Argo CD's cache of all that there is in the cluster, and stops it with the test.
func watchForArgoCD(t *testing.T, config *rest.Config) cache.ClusterCache {
	t.Helper()
	live := cache.NewClusterCache(config, cache.SetKubectl(argoKubectl), cache.SetLogr(logr.Discard()),
		cache.SetPopulateResourceInfoHandler(func(u *unstructured.Unstructured, _ bool) (info any, cacheManifest bool) {
			app, _, tracked := strings.Cut(u.GetAnnotations()[trackingID], ":")
			return app, tracked
		}))
	if err := live.EnsureSynced(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { live.Invalidate() })
	return live
}

func (a *argoCD) sync(ctx context.Context, declared []*unstructured.Unstructured) (different []string, err error) {
	for _, object := range declared {
		annotations := map[string]string{trackingID: fmt.Sprintf("%s:%s:%s/%s", a.app, object.GroupVersionKind().GroupKind(), object.GetNamespace(), object.GetName())}
		maps.Copy(annotations, object.GetAnnotations())
		if wave := a.waves[object.GetKind()]; wave != "" {
			annotations[common.AnnotationSyncWave] = wave
		}
		object.SetAnnotations(annotations)
	}
	different, _, err = a.compare(declared)
	if err != nil {
		return nil, err
	}
	if err := a.operate(ctx, declared); err != nil {
		return nil, err
	}
	return different, a.await(ctx, declared)
}

func (a *argoCD) revert(ctx context.Context, before []*unstructured.Unstructured) error {
	_, err := a.sync(ctx, before)
	return err
}

func (a *argoCD) remove(ctx context.Context) error {
	_, err := a.sync(ctx, nil)
	return err
}

// compare tells what is out of sync.
func (a *argoCD) compare(declared []*unstructured.Unstructured) (outOfSync []string, pairs argosync.ReconciliationResult, err error) {
	live, err := a.live.GetManagedLiveObjs(declared, func(r *cache.Resource) bool { return r.Info == a.app })
	if err != nil {
		return nil, pairs, err
	}
	pairs = argosync.Reconcile(declared, live, metav1.NamespaceDefault, a.live)
	differences, err := diff.DiffArray(pairs.Target, pairs.Live, a.diffOptions...)
	if err != nil {
		return nil, pairs, err
	}
	for i, difference := range differences.Diffs {
		switch target, live := pairs.Target[i], pairs.Live[i]; {
		case target == nil:
			outOfSync = append(outOfSync, live.GetKind()+" "+live.GetName()+" requires pruning")
		case live == nil:
			outOfSync = append(outOfSync, target.GetKind()+" "+target.GetName()+" is missing")
		case difference.Modified:
			outOfSync = append(outOfSync, fmt.Sprintf("%s %s: %s, not %s", target.GetKind(), target.GetName(), difference.NormalizedLive, difference.PredictedLive))
		}
	}
	return outOfSync, pairs, nil
}

// operate runs one sync operation to its end. As in Argo CD, each step of it begins with what is there then.
func (a *argoCD) operate(ctx context.Context, declared []*unstructured.Unstructured) error {
	phase, message, results, startedAt := common.OperationRunning, "", []common.ResourceSyncResult(nil), metav1.Now()
	err := wait.PollUntilContextTimeout(ctx, often, patience, true, func(context.Context) (bool, error) {
		_, pairs, err := a.compare(declared)
		if err != nil {
			return false, err
		}
		options := append(slices.Clone(a.options), argosync.WithInitialState(phase, message, results, startedAt))
		operation, cleanup, err := argosync.NewSyncContext("revision", pairs, a.Config(), a.Config(), argoKubectl, metav1.NamespaceDefault, options...)
		if err != nil {
			return false, err
		}
		defer cleanup()
		operation.Sync()
		phase, message, results = operation.GetState()
		return phase.Completed(), nil
	})
	if err == nil && !phase.Successful() {
		err = errors.New("the operation has failed")
	}
	if err != nil {
		return fmt.Errorf("Argo CD, %s: %s: %w: %v", phase, message, err, results)
	}
	return nil
}

// await waits until the Application is Synced and Healthy.
func (a *argoCD) await(ctx context.Context, declared []*unstructured.Unstructured) error {
	var waitsFor []string
	err := wait.PollUntilContextTimeout(ctx, often, patience, true, func(context.Context) (bool, error) {
		outOfSync, pairs, err := a.compare(declared)
		if err != nil {
			return false, err
		}
		waitsFor = outOfSync
		for _, live := range pairs.Live {
			if live == nil {
				continue
			}
			its, err := health.GetResourceHealth(live, luaHealth{})
			if err != nil {
				return false, err
			}
			if its != nil && its.Status != health.HealthStatusHealthy {
				waitsFor = append(waitsFor, fmt.Sprintf("%s %s is %s: %s", live.GetKind(), live.GetName(), its.Status, its.Message))
			}
		}
		return len(waitsFor) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for Argo CD: %w: %q", err, waitsFor)
	}
	return nil
}

// luaHealth has the health checks of config/argocd.
type luaHealth struct{}

var healthChecks = sync.OnceValues(func() (map[string]string, error) {
	manifest, err := os.ReadFile("../../config/argocd/argocd-cm.yaml")
	if err != nil {
		return nil, err
	}
	var patch struct{ Data map[string]string }
	err = yaml.Unmarshal(manifest, &patch)
	return patch.Data, err
})

// GetResourceHealth implements Argo CD's interface.
func (luaHealth) GetResourceHealth(u *unstructured.Unstructured) (*health.HealthStatus, error) {
	scripts, err := healthChecks()
	if err != nil {
		return nil, err
	}
	script := scripts["resource.customizations.health."+u.GroupVersionKind().Group+"_"+u.GetKind()]
	if script == "" {
		return nil, nil
	}
	l := lua.NewState()
	defer l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	l.SetContext(ctx)
	l.SetGlobal("obj", luaValue(l, u.Object))
	if err := l.DoString(script); err != nil {
		return nil, err
	}
	result, is := l.Get(-1).(*lua.LTable)
	if !is {
		return nil, fmt.Errorf("the health check returns %s", l.Get(-1))
	}
	return &health.HealthStatus{Status: health.HealthStatusCode(result.RawGetString("status").String()), Message: result.RawGetString("message").String()}, nil
}

func luaValue(l *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case map[string]any:
		table := l.NewTable()
		for key, field := range value {
			table.RawSetString(key, luaValue(l, field))
		}
		return table
	case []any:
		table := l.NewTable()
		for _, element := range value {
			table.Append(luaValue(l, element))
		}
		return table
	case string:
		return lua.LString(value)
	case bool:
		return lua.LBool(value)
	case int64:
		return lua.LNumber(value)
	default:
		return lua.LNil
	}
}
