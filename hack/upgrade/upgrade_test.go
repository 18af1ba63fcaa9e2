// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/hack/internal/play"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
	"github.com/reporter-operator/reporter-operator/internal/testenv"
)

// cluster is one in which versions follow each other.
type cluster struct {
	*testenv.World
	t        *testing.T
	reporter *reportertest.Reporter
	url      string
	operator *testenv.Process

	mu    sync.Mutex
	calls []play.Exchange
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	world := testenv.StartFor(t, testenv.StartBare)
	world.StartControllersFor(t)
	c := &cluster{World: world, t: t, reporter: reportertest.New()}
	c.url = reportertest.Serve(t, play.Watched(c.reporter, func(e play.Exchange) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.calls = append(c.calls, e)
	})).URL
	return c
}

// called returns what Reporter was asked since the last time, by method and path.
func (c *cluster) called() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var calls []string
	for _, call := range c.calls {
		calls = append(calls, call.Method+" "+strings.TrimPrefix(call.URI, "/v1/management/connections"))
	}
	c.calls = nil
	return calls
}

func (c *cluster) kubectl(arguments ...string) string {
	c.t.Helper()
	output, err := c.Kubectl(c.t.Context(), "", arguments...)
	if err != nil {
		c.t.Fatal(err)
	}
	return output
}

func (c *cluster) apply(manifests string) {
	c.t.Helper()
	if _, err := c.Kubectl(c.t.Context(), manifests, "apply", "-f", "-"); err != nil {
		c.t.Fatal(err)
	}
}

// install applies what `make deploy` of a version applies.
func (c *cluster) install(v version) {
	c.t.Helper()
	c.apply(c.kubectl("kustomize", filepath.Join(v.dir, "config", "default")))
	c.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=1m")
	if err := c.AwaitPolicies(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

// start starts a replica of a version.
func (c *cluster) start(v version, arguments ...string) *testenv.Process {
	c.t.Helper()
	output, err := os.Create(filepath.Join(c.t.TempDir(), v.name+".log"))
	if err != nil {
		c.t.Fatal(err)
	}
	operator, err := c.StartAsOperator(c.t.Context(), output, v.manager, append(arguments, "--health-probe-bind-address=0", "--allow-loopback-endpoints")...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		operator.Kill()
		if text, err := os.ReadFile(output.Name()); c.t.Failed() && err == nil {
			c.t.Logf("%s logged\n%s", v.name, text)
		}
	})
	return operator
}

// stop ends the replica that works, as a roll-out does.
func (c *cluster) stop(operator *testenv.Process) {
	c.t.Helper()
	if err := operator.Stop(); err != nil {
		c.t.Error(err)
	}
}

// eventually waits until something holds.
func (c *cluster) eventually(what string, holds func() bool) {
	c.t.Helper()
	err := wait.PollUntilContextTimeout(c.t.Context(), 50*time.Millisecond, 2*time.Minute, true, func(context.Context) (bool, error) { return holds(), nil })
	if err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
}

// objects are those that an upgrade leaves as they are, by kind and name.
type objects map[string]map[string]any

// state is what people wrote, what holds an object, and what its status says, and since when.
func (c *cluster) state() objects {
	c.t.Helper()
	var list unstructured.UnstructuredList
	if err := list.UnmarshalJSON([]byte(c.kubectl("get", "rconn,rep,secrets", "--namespace=ledger", "--output=json"))); err != nil {
		c.t.Fatal(err)
	}
	state := objects{}
	for _, item := range list.Items {
		metadata := item.Object["metadata"].(map[string]any)
		delete(metadata, "resourceVersion")
		delete(metadata, "annotations") // kubectl's own
		conditions, _, err := unstructured.NestedSlice(item.Object, "status", "conditions")
		if err != nil {
			c.t.Fatal(err)
		}
		byType := map[string]any{}
		for _, condition := range conditions {
			condition := condition.(map[string]any)
			delete(condition, "message") // its words may be others
			byType[condition["type"].(string)] = condition
		}
		item.Object["status"] = byType
		state[item.GetKind()+" "+item.GetName()] = item.Object
	}
	return state
}

// keeps says whether a later value has all that an earlier one had. More may have been added to it, as defaults are.
func keeps(later, earlier any) bool {
	want, ok := earlier.(map[string]any)
	if !ok {
		return reflect.DeepEqual(later, earlier)
	}
	got, ok := later.(map[string]any)
	for key, value := range want {
		if !ok || !keeps(got[key], value) {
			return false
		}
	}
	return true
}

// areValid has the API server judge the stored resources by the definitions and policies of now, as if they were new: what a change leaves as it
// was, it would not look at.
func (c *cluster) areValid() {
	c.t.Helper()
	for _, kind := range []string{"ReporterConnectionList", "ReporterEndpointList"} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
		if err := c.List(c.t.Context(), list); err != nil {
			c.t.Fatal(err)
		}
		if len(list.Items) == 0 {
			c.t.Fatalf("there is no resource of %s", kind)
		}
		for i := range list.Items {
			stored := &list.Items[i]
			again := &unstructured.Unstructured{Object: map[string]any{"apiVersion": stored.GetAPIVersion(), "kind": stored.GetKind(), "spec": stored.Object["spec"]}}
			again.SetNamespace(stored.GetNamespace())
			again.SetGenerateName(stored.GetName() + "-")
			if err := c.Create(c.t.Context(), again, client.DryRunAll); err != nil {
				c.t.Errorf("%s %s is not valid any more: %v", stored.GetKind(), stored.GetName(), err)
			}
			if err := c.Update(c.t.Context(), stored, client.DryRunAll); err != nil {
				c.t.Errorf("%s %s cannot be changed any more: %v", stored.GetKind(), stored.GetName(), err)
			}
		}
	}
}

// upgrade has a version follow the one that works: its manifests first, then a replica that stands by as long as the old one leads.
func (c *cluster) upgrade(to version, leading bool) {
	c.t.Helper()
	before := c.state()
	if len(before) == 0 {
		c.t.Fatal("there is nothing to upgrade")
	}
	c.install(to)
	c.areValid()
	old := c.operator
	var lease *coordinationv1.Lease
	if leading {
		lease = c.lead()
		c.operator = c.start(to, "--leader-elect", "--leader-elect-resource-namespace="+lease.Namespace)
		c.awaitCandidate()
		c.goesOn() // the old one, under the new manifests, beside the new one
		c.stop(old)
		c.called()
		if err := c.Delete(c.t.Context(), lease); err != nil {
			c.t.Fatal(err)
		}
	} else {
		c.stop(old)
		c.called()
		c.operator = c.start(to)
	}
	calls := c.awaitLooks(before)
	after := c.state()
	expected := c.looks(before)
	for _, call := range append(calls, c.called()...) {
		if !strings.HasPrefix(call, "GET ") && !slices.Contains(expected, call) {
			c.t.Errorf("%s makes %s of Reporter, where all is as it was", to.name, call)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if !keeps(after[name], before[name]) {
			c.t.Errorf("%s changes %s from\n%v\nto\n%v", to.name, name, before[name], after[name])
		}
	}
}

// lead makes the Lease of the replica that works, which does not ask for one itself outside of a cluster.
func (c *cluster) lead() *coordinationv1.Lease {
	c.t.Helper()
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "reporter-operator-system", Name: "reporter-operator.reporter.lerian.studio"},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: new("the old replica"), LeaseDurationSeconds: new(int32(3600)),
			AcquireTime: new(metav1.NowMicro()), RenewTime: new(metav1.NowMicro())},
	}
	if err := c.Create(c.t.Context(), lease); err != nil {
		c.t.Fatal(err)
	}
	return lease
}

// awaitCandidate waits until the new replica has asked for the Lease, as the audit log has it, and stands by.
func (c *cluster) awaitCandidate() {
	c.t.Helper()
	c.eventually("the new replica asks who leads", func() bool {
		text, err := os.ReadFile(filepath.Join(c.Dir, "audit.log"))
		return err == nil && strings.Contains(string(text), "/leases/reporter-operator.reporter.lerian.studio")
	})
}

// goesOn sees that what is asked for now is done.
func (c *cluster) goesOn() {
	c.t.Helper()
	id := c.add("meanwhile", "")
	c.kubectl("wait", "--namespace=ledger", "--for=condition=Ready", "rconn/meanwhile", "--timeout=2m")
	c.kubectl("delete", "--namespace=ledger", "rconn/meanwhile", "--timeout=2m")
	if c.reporter.Alive(id) {
		c.t.Errorf("connection %s is alive, though its resource is gone", id)
	}
}

// awaitLooks waits until a new version has looked at each connection, and has tried each deletion that a job blocks: a version does so when it
// starts. It returns all that Reporter was asked.
func (c *cluster) awaitLooks(state objects) []string {
	c.t.Helper()
	expected := c.looks(state)
	var calls []string
	c.eventually(fmt.Sprintf("Reporter is asked %q", expected), func() bool {
		calls = append(calls, c.called()...)
		return !slices.ContainsFunc(expected, func(call string) bool { return !slices.Contains(calls, call) })
	})
	return calls
}

// looks are what Reporter is asked by an operator that has just started.
func (c *cluster) looks(state objects) []string {
	c.t.Helper()
	var expected []string
	for name, o := range state {
		if strings.HasPrefix(name, "ReporterConnection ") {
			expected = append(expected, c.look(o)...)
		}
	}
	return expected
}

// look is what Reporter is asked for a resource by an operator that has just started.
func (c *cluster) look(o map[string]any) []string {
	c.t.Helper()
	rc := &unstructured.Unstructured{Object: o}
	id := c.kubectl("get", "rconn", rc.GetName(), "--namespace=ledger", "--output=jsonpath={.spec.connectionID}")
	if id == "" {
		id = c.kubectl("get", "rconn", rc.GetName(), "--namespace=ledger", "--output=jsonpath={.status.connectionID}")
	}
	reason, _, err := unstructured.NestedString(o, "status", "DeletionBlocked", "reason")
	switch {
	case err != nil:
		c.t.Fatal(err)
	case rc.GetDeletionTimestamp() == nil:
		return []string{"GET /" + id}
	case reason == "JobInProgress":
		return []string{"DELETE /" + id}
	}
	return nil
}

// add creates a resource for a connection that is there, with some more lines of its spec, and returns the connection's id.
func (c *cluster) add(name, spec string) string {
	c.t.Helper()
	id := c.reporter.Add(reportertest.Connection{ConfigName: name}).ID
	c.apply(fmt.Sprintf(`{apiVersion: reporter.lerian.studio/v1alpha1, kind: ReporterConnection, metadata: {namespace: ledger, name: %s}, spec: {connectionID: %s %s}}`, name, id, spec))
	return id
}

// remove deletes a resource, and waits until its status says why that waits.
func (c *cluster) remove(resource, reason string) {
	c.t.Helper()
	c.kubectl("delete", "--namespace=ledger", resource, "--wait=false")
	if reason != "" {
		c.kubectl("wait", "--namespace=ledger", resource, "--timeout=2m", `--for=jsonpath={.status.conditions[?(@.type=="DeletionBlocked")].reason}=`+reason)
	}
}

// Versions follow each other on one control plane, each with resources of what it knows, and with deletions under way.
func TestUpgradeOnControlPlane(t *testing.T) {
	oldest := build(t, beforeDescribed)
	c := newCluster(t)
	c.install(oldest)
	c.kubectl("create", "namespace", "ledger")
	c.operator = c.start(oldest)
	c.apply(token)
	c.apply(strings.ReplaceAll(endpoints, "URL", c.url))
	jobs := c.addByID()
	beforeChart, current := build(t, beforeChart), build(t, current)
	c.upgrade(beforeChart, false)

	jobs = append(jobs, c.addDescribed()...)
	c.upgrade(current, true)
	c.upgrade(beforeChart, false) // a roll-back
	c.upgrade(current, false)
	c.storeAs("v1beta1")
	c.isFinished(jobs)
}

// storeAs adds a version to the kinds, has the API server store all resources as that one, and no others, as docs/install.md says. The operator
// goes on with the version that it knows.
func (c *cluster) storeAs(version string) {
	c.t.Helper()
	before := c.state()
	for _, name := range []string{"reporterconnections.reporter.lerian.studio", "reporterendpoints.reporter.lerian.studio"} {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := json.Unmarshal([]byte(c.kubectl("get", "crd", name, "--output=json")), &crd); err != nil {
			c.t.Fatal(err)
		}
		next := crd.Spec.Versions[0].DeepCopy()
		next.Name = version
		crd.Spec.Versions[0].Storage = false
		crd.Spec.Versions = append(crd.Spec.Versions, *next)
		text, err := json.Marshal(crd)
		if err != nil {
			c.t.Fatal(err)
		}
		if _, err := c.Kubectl(c.t.Context(), string(text), "replace", "-f", "-"); err != nil {
			c.t.Fatal(err)
		}
		kind, _, _ := strings.Cut(name, ".")
		c.eventually(version+" is served", func() bool {
			_, err := c.Kubectl(c.t.Context(), "", "get", kind+"."+version+".reporter.lerian.studio", "--all-namespaces")
			return err == nil
		})
		stored := c.kubectl("get", kind, "--all-namespaces", "--output=json")
		if _, err := c.Kubectl(c.t.Context(), stored, "replace", "-f", "-"); err != nil {
			c.t.Fatal(err)
		}
		c.kubectl("patch", "crd", name, "--subresource=status", "--type=merge", `--patch={"status":{"storedVersions":["`+version+`"]}}`)
	}
	after := c.state()
	for name := range before {
		before[name]["apiVersion"] = "reporter.lerian.studio/" + version // the one that kubectl shows now
		if strings.HasPrefix(name, "Secret") {
			before[name]["apiVersion"] = "v1"
		}
		if !keeps(after[name], before[name]) {
			c.t.Errorf("storing it as %s changes %s from\n%v\nto\n%v", version, name, before[name], after[name])
		}
	}
	c.goesOn()
}

const token = `{apiVersion: v1, kind: Secret, metadata: {namespace: ledger, name: token, labels: {reporter.lerian.studio/credentials: "true"}}, stringData: {token: a}}`

// endpoints are of several kinds.
const endpoints = `
{apiVersion: reporter.lerian.studio/v1alpha1, kind: ReporterEndpoint, metadata: {namespace: ledger, name: default},
 spec: {url: URL, auth: {bearerToken: {secretRef: {name: token, key: token}}}, timeout: 20s, allowedNamespaces: {from: All}}}
---
{apiVersion: reporter.lerian.studio/v1alpha1, kind: ReporterEndpoint, metadata: {namespace: ledger, name: delaying}, spec: {url: URL, deletionDelay: 24h}}
---
{apiVersion: reporter.lerian.studio/v1alpha1, kind: ReporterEndpoint, metadata: {namespace: ledger, name: suspending}, spec: {url: URL, suspend: true}}
---
{apiVersion: reporter.lerian.studio/v1alpha1, kind: ReporterEndpoint, metadata: {namespace: ledger, name: leaving}, spec: {url: URL}}
`

// addByID adds resources that name connections by their ids, in every state, and returns what ends the jobs.
func (c *cluster) addByID() (jobs []func()) {
	c.t.Helper()
	c.add("live", "")
	c.add("retained", ", deletionPolicy: Retain")
	c.add("protected", ", deletionProtection: true")
	c.add("suspended", ", endpointRef: {name: suspending}")
	c.add("delayed", ", endpointRef: {name: delaying}")
	c.add("blocked", "")
	c.add("last", ", endpointRef: {name: leaving}")
	for _, name := range []string{"live", "retained", "protected", "suspended", "delayed", "blocked", "last"} {
		c.kubectl("wait", "--namespace=ledger", "--for=condition=Ready", "rconn/"+name, "--timeout=2m")
	}
	jobs = []func(){c.reporter.StartJob("blocked"), c.reporter.StartJob("last")}
	c.remove("rconn/suspended", "Suspended")
	c.remove("rconn/delayed", "DeletionDelayed")
	c.remove("rconn/blocked", "JobInProgress")
	c.remove("rconn/last", "JobInProgress")
	c.remove("rep/leaving", "InUse")
	c.remove("secret/token", "")
	return jobs
}

// addDescribed adds resources that describe connections, and returns what ends the jobs.
func (c *cluster) addDescribed() (jobs []func()) {
	c.t.Helper()
	taken := c.reporter.Add(reportertest.Connection{ConfigName: "described-taken", ProductName: "ledger"}).ID
	c.apply(`{apiVersion: v1, kind: Secret, metadata: {namespace: ledger, name: database, labels: {reporter.lerian.studio/credentials: database}}, stringData: {password: b}}`)
	for name, id := range map[string]string{"described": "", "described-blocked": "", "described-retained": "", "described-taken": taken} {
		more := ""
		if id != "" {
			more = ", connectionID: " + id
		}
		if name == "described-retained" {
			more = ", deletionPolicy: Retain"
		}
		c.apply(fmt.Sprintf(`{apiVersion: reporter.lerian.studio/v1alpha1, kind: ReporterConnection, metadata: {namespace: ledger, name: %[1]s}, spec: {
			connection: {configName: %[1]s, productName: ledger, type: POSTGRESQL, host: db.example.com, port: 5432, databaseName: ledger, userName: reporter,
			passwordSecretRef: {name: database, key: password}} %[2]s}}`, name, more))
		c.kubectl("wait", "--namespace=ledger", "--for=condition=Ready", "rconn/"+name, "--timeout=2m")
	}
	end := c.reporter.StartJob("described-blocked")
	c.remove("rconn/described-blocked", "JobInProgress")
	return []func(){end}
}

// isFinished ends what the deletions wait for, deletes all, and sees what is left where.
func (c *cluster) isFinished(jobs []func()) {
	c.t.Helper()
	for _, end := range jobs {
		end()
	}
	c.kubectl("wait", "--namespace=ledger", "rconn/blocked", "rconn/last", "rconn/described-blocked", "rep/leaving", "--for=delete", "--timeout=3m")
	c.kubectl("patch", "rconn/protected", "--namespace=ledger", "--type=merge", `--patch={"spec":{"deletionProtection":false}}`)
	c.kubectl("patch", "rep/suspending", "--namespace=ledger", "--type=merge", `--patch={"spec":{"suspend":false}}`)
	c.kubectl("patch", "rep/delaying", "--namespace=ledger", "--type=merge", `--patch={"spec":{"deletionDelay":"0s"}}`)
	c.kubectl("wait", "--namespace=ledger", "secret/token", "--for=delete", "--timeout=3m")
	c.apply(token) // the live ones need it as well
	c.kubectl("delete", "namespace", "ledger", "--timeout=3m")
	var left []string
	for _, connection := range c.reporter.Connections() {
		left = append(left, connection.ConfigName)
	}
	slices.Sort(left)
	if want := []string{"described-retained", "retained"}; !slices.Equal(left, want) {
		c.t.Errorf("Reporter has %q in the end, want %q", left, want)
	}
}
