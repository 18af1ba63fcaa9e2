// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	lua "github.com/yuin/gopher-lua"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/config"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
)

// object is one with conditions, whose spec is of generation 2.
type object struct {
	kind               string
	observedGeneration int64
	deleted            bool
	conditions         []metav1.Condition
}

func (o object) unstructured(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	meta := metav1.ObjectMeta{Namespace: "billing", Name: "ledger", Generation: 2}
	if o.deleted {
		meta.DeletionTimestamp = new(metav1.Now())
	}
	var typed any = &v1alpha1.ReporterConnection{ObjectMeta: meta, Status: v1alpha1.ReporterConnectionStatus{ObservedGeneration: o.observedGeneration, Conditions: o.conditions}}
	if o.kind == "ReporterEndpoint" {
		typed = &v1alpha1.ReporterEndpoint{ObjectMeta: meta, Status: v1alpha1.ReporterEndpointStatus{ObservedGeneration: o.observedGeneration, Conditions: o.conditions}}
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	if err != nil {
		t.Fatal(err)
	}
	if len(o.conditions) == 0 {
		content["status"] = statusOfNew(t, o.kind)
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(o.kind))
	return u
}

// statusOfNew is what the API server gives an object for a status before anybody has written one, by the default in its CRD.
func statusOfNew(t *testing.T, kind string) any {
	t.Helper()
	manifest, err := config.Files.ReadFile("crd/bases/reporter.lerian.studio_" + strings.ToLower(kind) + "s.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(manifest, &crd); err != nil {
		t.Fatal(err)
	}
	standard := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["status"].Default
	if standard == nil {
		t.Fatalf("a %s has no status until somebody writes one", kind)
	}
	var status map[string]any
	if err := utiljson.Unmarshal(standard.Raw, &status); err != nil {
		t.Fatal(err)
	}
	return status
}

func condition(conditionType string, its metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{Type: conditionType, Status: its, Reason: reason, Message: "as it is", ObservedGeneration: 2, LastTransitionTime: metav1.Now()}
}

// live is a ReporterConnection that was looked up with this outcome, as the operator decides about it.
func live(reason string) object {
	verdict := decision.JudgeLive(decision.Look{Outcome: decision.Outcome{Reason: reason}})
	o := object{kind: "ReporterConnection", observedGeneration: 2, conditions: []metav1.Condition{condition("Ready", verdict.Status, verdict.Reason)}}
	if verdict.Status != metav1.ConditionTrue && decision.TraitsOf(reason).Stalled {
		o.conditions = append(o.conditions, condition("Stalled", metav1.ConditionTrue, reason))
	}
	return o
}

// blocked is one whose deletion is blocked.
func blocked(kind, reason string) object {
	return object{kind: kind, observedGeneration: 2, deleted: true, conditions: []metav1.Condition{
		condition("Ready", metav1.ConditionFalse, reason), condition("DeletionBlocked", metav1.ConditionTrue, reason)}}
}

// endpoint is a live ReporterEndpoint that says this, as the operator decides about it.
func endpoint(its metav1.ConditionStatus, reason string) object {
	o := object{kind: "ReporterEndpoint", observedGeneration: 2, conditions: []metav1.Condition{condition("Ready", its, reason)}}
	if decision.TraitsOf(reason).StallsEndpoint {
		o.conditions = append(o.conditions, condition("Stalled", metav1.ConditionTrue, reason))
	}
	return o
}

// states are all there are: what is said of them, and the objects that are in them.
func states(t *testing.T) []state {
	t.Helper()
	var waits, isNot, stalled, deleting []object
	for _, reason := range constantsOf(t, "../../api/v1alpha1/condition_types.go", "Reason") {
		if reason == v1alpha1.ReasonAvailable || reason == v1alpha1.ReasonDuplicate {
			continue
		}
		if reason != v1alpha1.ReasonSuspended && reason != v1alpha1.ReasonDeletionProtected {
			deleting = append(deleting, blocked("ReporterConnection", reason))
		}
		switch o := live(reason); {
		case reason == v1alpha1.ReasonSuspended:
		case len(o.conditions) > 1:
			stalled = append(stalled, o)
		case o.conditions[0].Status == metav1.ConditionUnknown:
			waits = append(waits, o)
		default:
			isNot = append(isNot, o)
		}
	}
	available := condition("Ready", metav1.ConditionTrue, "Available")
	return []state{
		{"connection, just created", []object{{kind: "ReporterConnection"}}},
		{"connection, changed, and not looked up yet", []object{{kind: "ReporterConnection", observedGeneration: 1, conditions: []metav1.Condition{available}}}},
		{"connection, Ready", []object{live("Available"), {kind: "ReporterConnection", observedGeneration: 2, conditions: []metav1.Condition{condition("Ready", metav1.ConditionTrue, "Duplicate")}}}},
		{"connection, Ready unknown", waits},
		{"connection, not Ready", isNot},
		{"connection, a Duplicate of one that is described", []object{live("Duplicate")}},
		{"connection, Stalled", stalled},
		{"connection, Suspended", []object{live("Suspended")}},
		{"connection, deleted, nothing said yet", []object{{kind: "ReporterConnection", observedGeneration: 2, deleted: true, conditions: []metav1.Condition{available}}}},
		{"connection, deletion blocked", deleting},
		{"connection, deletion held by a person", []object{blocked("ReporterConnection", "Suspended"), blocked("ReporterConnection", "DeletionProtected")}},
		{"endpoint, just created", []object{{kind: "ReporterEndpoint"}}},
		{"endpoint, Ready", []object{endpoint(metav1.ConditionTrue, "Available")}},
		{"endpoint, changed, and not checked yet", []object{{kind: "ReporterEndpoint", observedGeneration: 1, conditions: []metav1.Condition{available}}}},
		{"endpoint, not Ready", []object{endpoint(metav1.ConditionFalse, "ReporterUnavailable"), endpoint(metav1.ConditionFalse, "RateLimited"),
			endpoint(metav1.ConditionFalse, "SecretNotFound"), endpoint(metav1.ConditionFalse, "SecretNotGranted"),
			endpoint(metav1.ConditionFalse, "Forbidden"), endpoint(metav1.ConditionFalse, "UnexpectedResponse")}},
		{"endpoint, Stalled", []object{endpoint(metav1.ConditionFalse, "InvalidEndpoint"), endpoint(metav1.ConditionFalse, "Unauthorized")}},
		{"endpoint, deletion blocked", []object{blocked("ReporterEndpoint", "InUse")}},
	}
}

type state struct {
	name    string
	objects []object
}

// verdicts are what each tool says of an object, in the order of the table in the docs.
func verdicts(t *testing.T, o object) []string {
	t.Helper()
	u := o.unstructured(t)
	kstatus, err := status.Compute(u)
	if err != nil {
		t.Fatal(err)
	}
	argo, _ := argoHealth(t, u)
	return []string{kubectlWait(o), string(kstatus.Status), argo, fluxHealth(t, u)}
}

// kubectlWait is what `kubectl wait --for=condition=Ready` does.
func kubectlWait(o object) string {
	for _, c := range o.conditions {
		if c.Type == "Ready" && c.Status == metav1.ConditionTrue {
			return "returns"
		}
	}
	return "waits"
}

// argoHealth runs a health check of config/argocd as Argo CD does: with few of Lua's libraries, and for a second at most.
func argoHealth(t *testing.T, u *unstructured.Unstructured) (its, message string) {
	t.Helper()
	manifest, err := os.ReadFile("../../config/argocd/argocd-cm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var patch struct{ Data map[string]string }
	if err := yaml.Unmarshal(manifest, &patch); err != nil {
		t.Fatal(err)
	}
	script := patch.Data["resource.customizations.health."+u.GroupVersionKind().Group+"_"+u.GetKind()]
	if script == "" {
		t.Fatalf("there is no health check of %s", u.GetKind())
	}
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	for name, open := range map[string]lua.LGFunction{lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		if err := l.CallByParam(lua.P{Fn: l.NewFunction(open), NRet: 0, Protect: true}, lua.LString(name)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	l.SetContext(ctx)
	l.SetGlobal("obj", luaValue(l, u.Object))
	if err := l.DoString(script); err != nil {
		t.Fatal(err)
	}
	result, is := l.Get(-1).(*lua.LTable)
	if !is {
		t.Fatalf("the health check returns %s", l.Get(-1))
	}
	its, message = result.RawGetString("status").String(), result.RawGetString("message").String()
	if !slices.Contains([]string{"Healthy", "Progressing", "Degraded", "Suspended"}, its) || message == "" {
		t.Errorf("the health check returns the status %q and the message %q", its, message)
	}
	return its, message
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
	case float64:
		return lua.LNumber(value)
	default:
		return lua.LNil
	}
}

// fluxHealth evaluates the expressions of config/flux with Flux' own evaluator. An error counts as not known.
func fluxHealth(t *testing.T, u *unstructured.Unstructured) string {
	t.Helper()
	manifest, err := os.ReadFile("../../config/flux/health_checks.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var patch struct {
		Spec struct{ HealthCheckExprs []json.RawMessage }
	}
	if err := yaml.Unmarshal(manifest, &patch); err != nil {
		t.Fatal(err)
	}
	for _, raw := range patch.Spec.HealthCheckExprs {
		var check kustomize.CustomHealthCheck
		if err := json.Unmarshal(raw, &check); err != nil {
			t.Fatal(err)
		}
		if check.Kind != u.GetKind() || check.APIVersion != u.GetAPIVersion() {
			continue
		}
		evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
		if err != nil {
			t.Fatal(err)
		}
		result, err := evaluator.Evaluate(t.Context(), u)
		if err != nil {
			return "Unknown"
		}
		return string(result.Status)
	}
	t.Fatalf("there is no health check of %s", u.GetKind())
	return ""
}

// Every tool says of every state what the table in the docs says.
func TestHealthIsAsTheDocsSay(t *testing.T) {
	page, err := os.ReadFile("../../docs/gitops.md")
	if err != nil {
		t.Fatal(err)
	}
	var table []string
	for _, one := range states(t) {
		if len(one.objects) == 0 {
			t.Errorf("%s: no object is in that state", one.name)
		}
		var said []string
		for _, o := range one.objects {
			got := verdicts(t, o)
			if said == nil {
				said = got
			} else if !slices.Equal(said, got) {
				t.Errorf("%s: of %+v is said %q, and of the first one %q", one.name, o.conditions, got, said)
			}
		}
		table = append(table, fmt.Sprintf("| %s | %s |", one.name, strings.Join(said, " | ")))
	}
	if rows := strings.Join(table, "\n") + "\n"; !strings.Contains(string(page), rows) {
		t.Errorf("docs/gitops.md does not have these rows:\n%s", rows)
	}
}

// Argo CD says of a deleted resource what it waits for, and of a live one what is wrong.
func TestArgoSaysWhatIsWaitedFor(t *testing.T) {
	for name, test := range map[string]struct {
		object object
		want   string
	}{
		"a job":               {blocked("ReporterConnection", "JobInProgress"), "Deletion waits, JobInProgress: as it is"},
		"an endpoint in use":  {blocked("ReporterEndpoint", "InUse"), "Deletion waits, InUse: as it is"},
		"a live one":          {live("EndpointNotFound"), "EndpointNotFound: as it is"},
		"one that is stalled": {live("NameTaken"), "NameTaken: as it is"},
		"a new one":           {object{kind: "ReporterEndpoint"}, "The operator has not seen it yet"},
	} {
		if _, got := argoHealth(t, test.object.unstructured(t)); got != test.want {
			t.Errorf("%s: %q, not %q", name, got, test.want)
		}
	}
}
