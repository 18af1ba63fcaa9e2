// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"context"
	"flag"
	"slices"
	"strconv"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// engine makes the cluster what is declared, as a tool does it that people use.
type engine interface {
	// sync applies what is declared and prunes what is not declared any more. It waits for all of it to be ready and gone, as far as the tool
	// does that, and returns what the tool says it has found different; Helm says nothing about that.
	sync(ctx context.Context, declared []*unstructured.Unstructured) (different []string, err error)
	// revert makes the cluster what was declared before, which is given. For all but Helm that is one sync more.
	revert(ctx context.Context, before []*unstructured.Unstructured) error
	// remove deletes all that it has applied, and waits until it is gone.
	remove(ctx context.Context) error
}

// engines are all there are, by the name of the application that each of them looks after.
var engines = map[string]struct {
	start func(*cluster, string) engine
	// What an endpoint has to say for this engine.
	deletionDelay string
}{
	"argo-cd":            {start: newArgoCD, deletionDelay: "10s"}, // it prunes first
	"argo-cd-prune-last": {start: newArgoCDWithPruneLast},
	"flux":               {start: newFlux},
	"helm":               {start: newHelm},
	"kubectl":            {start: newApplySet},
}

// scenes are the life of an application, one after the other.
var scenes = []struct {
	name string
	play func(*story)
}{
	{"create", func(s *story) {
		s.create()
		s.isKept()
	}},
	{"change", func(s *story) {
		s.declared.Port, s.declared.Password, s.declared.MaxInFlight = 5433, "another", 8
		s.sync()
		s.isKept()
	}},
	{"rename", func(s *story) {
		s.declared.Described, s.declared.ByID = "ledger-renamed", "vault-renamed"
		s.sync()
		s.isKept()
	}},
	{"revert", func(s *story) {
		s.declared.Described, s.declared.ByID = "ledger", "vault"
		if err := s.engine.revert(s.t.Context(), s.declared.objects(s.t)); err != nil {
			s.t.Fatal(err)
		}
		s.isKept()
	}},
	{"move to another namespace", func(s *story) {
		s.declared.Namespace, s.declared.DescribedID = s.app+"-b", s.ids["ledger-db"]
		s.sync()
		s.isKept()
		s.isEmptied(s.app + "-a")
	}},
	{"delete while jobs run", func(s *story) {
		s.removedOnceJobsEnd()
		s.isEmptied(s.app + "-b")
	}},
	{"create again, with the namespace", func(s *story) {
		s.declared.Namespace, s.declared.WithNamespace, s.declared.DescribedID = s.app+"-c", true, ""
		s.create()
		s.isKept()
	}},
	{"move with the namespace", func(s *story) {
		s.declared.Namespace, s.declared.DescribedID = s.app+"-d", s.ids["ledger-db"]
		s.sync()
		s.isKept()
		s.isGone(s.app + "-c")
	}},
	{"delete the namespace while jobs run", func(s *story) {
		s.removedOnceJobsEnd()
		s.isGone(s.app + "-d")
	}},
}

// TestMain has all stories run at the same time: what they do most is wait.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(len(engines)+1)); err != nil {
		panic(err)
	}
	m.Run()
}

func TestGitOpsOnControlPlane(t *testing.T) {
	t.Setenv("KUBECTL_APPLYSET", "true")
	c := newCluster(t)
	for app, with := range engines {
		t.Run(app, func(t *testing.T) {
			t.Parallel()
			s := newStory(t, c, app, with.deletionDelay)
			s.engine = with.start(c, app)
			for _, scene := range scenes {
				if !t.Run(scene.name, func(t *testing.T) { s.t = t; scene.play(s) }) {
					t.FailNow() // the next one begins where this one has ended
				}
			}
		})
	}
	t.Run("argo-cd-replace", func(t *testing.T) {
		t.Parallel()
		replace(newStory(t, c, "argo-cd-replace", ""))
	})
}

// replace tells what Argo CD's other ways to change a resource do to its connection.
func replace(s *story) {
	s.engine = newArgoCD(s.cluster, s.app)
	s.create()
	s.declared.SyncOptions, s.declared.Port = "Replace=true", 5433
	s.sync()
	s.isKept()

	s.declared.SyncOptions, s.declared.DeletionPolicy = "", "Retain"
	s.sync()
	s.declared.SyncOptions = "Force=true,Replace=true"
	s.sync()
	s.areKept()

	s.declared.SyncOptions, s.declared.DeletionPolicy = "", ""
	s.sync()
	s.isKept()
	endJob := s.reporter.StartTenantJob(tenant, "ledger-db")
	s.declared.SyncOptions = "Force=true,Replace=true"
	declared, synced := s.declared.objects(s.t), make(chan error, 1)
	go func() {
		_, err := s.engine.sync(s.t.Context(), declared)
		synced <- err
	}()
	s.eventually("the deletion waits for the job", func(ctx context.Context) (bool, error) {
		found := &v1alpha1.ReporterConnection{}
		err := s.Get(ctx, client.ObjectKey{Namespace: s.declared.Namespace, Name: s.declared.Described}, found)
		return has(found, "DeletionBlocked", "JobInProgress"), err
	})
	endJob()
	if err := <-synced; err != nil {
		s.t.Fatal(err)
	}
	s.areReady()
	if id := s.idOf("ledger-db"); id == s.ids["ledger-db"] || s.reporter.Alive(s.ids["ledger-db"]) {
		s.t.Errorf("Force=true,Replace=true keeps connection %s", id)
	}
}

// create syncs for the first time, with a connection that Reporter has and one that it is to have.
func (s *story) create() {
	s.t.Helper()
	s.declared.ID = s.reporter.Add(reportertest.Connection{Tenant: tenant, ConfigName: "vault-db"}).ID
	if different := s.sync(); len(different) == 0 && s.app != "helm" {
		s.t.Error("where nothing is, the engine finds nothing different")
	}
	s.ids = map[string]string{"ledger-db": s.idOf("ledger-db"), "vault-db": s.declared.ID}
}

// isKept sees that both connections are the ones that they were, as they are declared, and that the engine is content with that.
func (s *story) isKept() {
	s.t.Helper()
	s.areKept()
	before := s.content()
	if different := s.sync(); len(different) > 0 {
		s.t.Errorf("syncing what is there already, the engine finds different: %q", different)
	}
	s.areKept()
	for name, content := range s.content() {
		if content != before[name] {
			s.t.Errorf("syncing it again has changed %s from\n%s\nto\n%s", name, before[name], content)
		}
	}
}

func (s *story) areKept() {
	s.t.Helper()
	s.areReady()
	for configName, id := range s.ids {
		if !s.reporter.Alive(id) {
			s.t.Errorf("connection %s has been deleted in Reporter", configName)
		}
	}
	connections := s.reporter.Connections()
	if len(connections) != len(s.ids) {
		s.t.Errorf("Reporter has %d connections, not %d: %v", len(connections), len(s.ids), connections)
	}
	described := s.ids["ledger-db"]
	if i := slices.IndexFunc(connections, func(c reportertest.Connection) bool { return c.ID == described }); i >= 0 && connections[i].Port != s.declared.Port {
		s.t.Errorf("the described connection has port %d, not %d", connections[i].Port, s.declared.Port)
	}
	if password := s.reporter.Secrets(described).Password; password != s.declared.Password {
		s.t.Errorf("the described connection has the password %q, not %q", password, s.declared.Password)
	}
}

// removedOnceJobsEnd removes all while jobs read from both connections, and sees that this waits for the jobs and for nothing else.
func (s *story) removedOnceJobsEnd() {
	s.t.Helper()
	var endJobs []func()
	for configName := range s.ids {
		endJobs = append(endJobs, s.reporter.StartTenantJob(tenant, configName))
	}
	ended := make(chan error, 1)
	go func() { ended <- s.engine.remove(s.t.Context()) }()
	s.deletionsWaitForJobs()
	select {
	case err := <-ended:
		s.t.Errorf("the engine does not wait for deletions: %v", err)
		ended <- nil
	default:
	}
	for configName, id := range s.ids {
		if !s.reporter.Alive(id) {
			s.t.Errorf("connection %s has been deleted in Reporter while a job read from it", configName)
		}
	}
	for _, end := range endJobs {
		end()
	}
	if err := <-ended; err != nil {
		s.t.Fatal(err)
	}
	if left := s.reporter.Connections(); len(left) > 0 {
		s.t.Errorf("Reporter still has %v", left)
	}
}
