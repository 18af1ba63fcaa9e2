// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
	"github.com/reporter-operator/reporter-operator/internal/testenv"
)

// cluster is a control plane with replicas of the operator, whose metrics are scraped.
type cluster struct {
	*testenv.World
	*scraper
	replicas map[string]*testenv.Process
}

// place is a namespace's endpoint, and the Reporter that it leads to.
type place struct {
	namespace string
	reporter  *reportertest.Reporter
	server    *reportertest.Server
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	world := testenv.StartFor(t, testenv.Start)
	return &cluster{World: world, scraper: &scraper{t: t, targets: map[string]string{}, samples: map[string]*line{}}, replicas: map[string]*testenv.Process{}}
}

// startReplica starts the operator as its Deployment does, but for metrics that anybody may read.
func (c *cluster) startReplica(pod string) {
	c.t.Helper()
	listener, err := new(net.ListenConfig).Listen(c.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		c.t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(c.t.TempDir(), pod+".log"))
	if err != nil {
		c.t.Fatal(err)
	}
	replica, err := c.StartOperator(c.t.Context(), log, "--leader-elect", "--leader-elect-resource-namespace=reporter-operator-system",
		"--metrics-bind-address="+address, "--metrics-secure=false")
	if err != nil {
		c.t.Fatal(err)
	}
	c.replicas[pod], c.targets[pod] = replica, address
	c.t.Cleanup(func() {
		replica.Kill()
		if output, err := os.ReadFile(log.Name()); c.t.Failed() {
			c.t.Logf("%v: the log of %s ends with\n%s", err, pod, output[max(0, len(output)-4<<10):])
		}
	})
}

// leads waits until a replica leads.
func (c *cluster) leads(pod string) {
	c.t.Helper()
	c.eventually(pod+" leads", func(context.Context) (bool, error) {
		shown := c.ask(`sum(leader_election_master_status{name="reporter-operator.reporter.lerian.studio",pod="`+pod+`"})`, c.scrape())
		return len(shown) == 1 && shown[0].F == 1, nil
	})
}

func (c *cluster) eventually(what string, condition func(context.Context) (bool, error)) {
	c.t.Helper()
	if err := wait.PollUntilContextTimeout(c.t.Context(), 250*time.Millisecond, 2*time.Minute, true, condition); err != nil {
		c.t.Fatalf("waiting until %s: %v", what, err)
	}
}

func (c *cluster) create(objects ...client.Object) {
	c.t.Helper()
	for _, object := range objects {
		if err := c.Create(c.t.Context(), object); err != nil {
			c.t.Fatal(err)
		}
	}
}

// newPlace makes a namespace with an endpoint.
func (c *cluster) newPlace(namespace string) *place {
	c.t.Helper()
	p := &place{namespace: namespace, reporter: reportertest.New()}
	p.server = reportertest.Serve(c.t, p.reporter)
	if _, err := c.Kubectl(c.t.Context(), "", "create", "namespace", namespace); err != nil {
		c.t.Fatal(err)
	}
	c.create(&v1alpha1.ReporterEndpoint{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "default"},
		Spec: v1alpha1.ReporterEndpointSpec{URL: v1alpha1.BaseURL(p.server.URL), MaxInFlight: 4}})
	return p
}

// claim creates a connection and a resource that names it.
func (c *cluster) claim(p *place, name string) *v1alpha1.ReporterConnection {
	c.t.Helper()
	id := p.reporter.Add(reportertest.Connection{ConfigName: name + "-db"}).ID
	rc := &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Namespace: p.namespace, Name: name}, Spec: v1alpha1.ReporterConnectionSpec{ConnectionID: id}}
	c.create(rc)
	return rc
}

// says waits until the condition of a resource has a reason.
func (c *cluster) says(rc *v1alpha1.ReporterConnection, conditionType, reason string) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("%s says %s", rc.Name, reason), func(ctx context.Context) (bool, error) {
		err := c.Get(ctx, client.ObjectKeyFromObject(rc), rc)
		return slices.ContainsFunc(rc.Status.Conditions, func(c metav1.Condition) bool { return c.Type == conditionType && c.Reason == reason }), err
	})
}

// deleted deletes a resource, and waits until it says what its deletion waits for.
func (c *cluster) deleted(rc *v1alpha1.ReporterConnection, reason string) {
	c.t.Helper()
	if err := c.Delete(c.t.Context(), rc); err != nil {
		c.t.Fatal(err)
	}
	c.says(rc, v1alpha1.ConditionDeletionBlocked, reason)
}

// Two replicas run, of which one works: alerts and dashboard count what there is once, whichever it is.
func TestOnControlPlane(t *testing.T) {
	c, begun := newCluster(t), time.Now()
	c.startReplica("replica-1")
	c.leads("replica-1")
	c.startReplica("replica-2")
	ledger, remote := c.newPlace("ledger"), c.newPlace("remote")
	var deleted, lost []*v1alpha1.ReporterConnection
	for i := range 3 {
		deleted = append(deleted, c.claim(ledger, fmt.Sprintf("books-%d", i)))
		ledger.reporter.StartJob(deleted[i].Name + "-db")
	}
	for i := range 2 {
		lost = append(lost, c.claim(remote, fmt.Sprintf("far-%d", i)))
	}
	c.create(&v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "ledger", Name: "mistaken"},
		Spec: v1alpha1.ReporterConnectionSpec{ConnectionID: "019996b9-174d-7a23-9f87-f7336d5ad98c"}})
	c.claim(ledger, "alive")
	for _, rc := range append(slices.Clone(deleted), lost...) {
		c.says(rc, "Ready", "Available")
	}
	for _, rc := range deleted {
		c.deleted(rc, "JobInProgress")
	}
	remote.server.Down()
	for _, rc := range lost {
		c.deleted(rc, "ReporterUnavailable")
	}
	c.hasWaitedSince(deleted[1], time.Now().Add(-25*time.Hour))
	c.hasWaitedSince(lost[0], time.Now().Add(-2*time.Hour))
	c.countsOnce("replica-1", "replica-2")

	c.replicas["replica-1"].Terminate()
	c.leads("replica-2")
	c.startReplica("replica-1")
	c.countsOnce("replica-2", "replica-1")
	if drawn := c.draw(begun, time.Now()); !strings.Contains(drawn, ">books-1<") {
		t.Error("a picture of the dashboard does not name what has waited longest")
	}
}

// hasWaitedSince has a deletion say that it has waited for so long: nobody waits for a day here.
func (c *cluster) hasWaitedSince(rc *v1alpha1.ReporterConnection, since time.Time) {
	c.t.Helper()
	c.eventually("the wait is put back", func(ctx context.Context) (bool, error) {
		if err := c.Get(ctx, client.ObjectKeyFromObject(rc), rc); err != nil {
			return false, err
		}
		before := rc.DeepCopy()
		for i := range rc.Status.Conditions {
			if rc.Status.Conditions[i].Type == v1alpha1.ConditionDeletionBlocked {
				rc.Status.Conditions[i].LastTransitionTime = metav1.NewTime(since)
			}
		}
		err := c.Status().Patch(ctx, rc, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		if apierrors.IsConflict(err) { // the operator has written meanwhile
			return false, nil
		}
		return err == nil, err
	})
}

// countsOnce compares what alerts and dashboard make of two replicas with what there is.
func (c *cluster) countsOnce(leader, standby string) {
	c.t.Helper()
	now := c.scrape() // once before, as a rate is of two
	c.eventually("both are scraped, and the leader has seen that a Reporter is down", func(context.Context) (bool, error) {
		now = c.scrape()
		return len(c.ask(`leader_election_master_status{name="reporter-operator.reporter.lerian.studio",pod=~"`+leader+"|"+standby+`"}`, now)) == 2 &&
			len(c.ask("reporter_operator_endpoint_up == 0", now)) > 0, nil
	})
	dashboard, _ := readDashboard(c.t)
	for _, p := range dashboard.Panels {
		want, tested := map[string]string{
			"Deletions that wait":            "5",
			"Endpoints that are not Ready":   "1",
			"Leader":                         "1",
			"Memory":                         "of replica-1, of replica-2",
			"Deletions that wait, by reason": "2 of ReporterUnavailable, 3 of JobInProgress",
			"Deletions that have waited longest, by endpoint and reason": "ledger/books-1 as JobInProgress, remote/far-0 as ReporterUnavailable",
			"Endpoints": "0 of ReporterUnavailable, 1 of Available",
		}[p.Title]
		if got := c.summary(p, now); tested && got != want {
			c.t.Errorf("while %s leads, %q shows %s, not %s", leader, p.Title, got, want)
		}
		if p.Type != "row" && len(c.ask(p.Targets[0].Expr, now)) == 0 && p.Title != "Answers that are not a success" {
			c.t.Errorf("while %s leads, %q shows nothing", leader, p.Title)
		}
	}
	all, _ := rules(c.t)
	for _, one := range all {
		want := map[string]int{"ReporterDeletionBlockedByJob": 1, "ReporterEndpointDown": 1}[one.Alert]
		if got := c.ask(one.Expr, now); len(got) != want {
			c.t.Errorf("while %s leads, %s finds %s, not %d", leader, one.Alert, got, want)
		}
	}
}

// summary is what a panel shows, but for times.
func (c *cluster) summary(p panel, now time.Time) string {
	c.t.Helper()
	if p.Type == "row" {
		return ""
	}
	var shown []string
	for _, one := range c.ask(p.Targets[0].Expr, now) {
		switch its := one.Metric; {
		case its.Has("connection_name"):
			shown = append(shown, its.Get("connection_namespace")+"/"+its.Get("connection_name")+" as "+its.Get("reason"))
		case its.Has("pod"):
			shown = append(shown, "of "+its.Get("pod"))
		case its.Has("reason"):
			shown = append(shown, fmt.Sprintf("%g of %s", one.F, its.Get("reason")))
		default:
			shown = append(shown, fmt.Sprint(one.F))
		}
	}
	slices.Sort(shown)
	return strings.Join(shown, ", ")
}
