// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// databaseSecret is the name of the Secret in each namespace that holds the password of the databases there.
const databaseSecret = "database"

func passwordOf(namespace string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: databaseSecret, Labels: map[string]string{v1alpha1.CredentialsLabel: "database"}},
		Data: map[string][]byte{"password": []byte("hush-hush of " + namespace)}}
}

// createDescribed has somebody create a resource that describes its connection.
func (h *history) createDescribed(namespace string) string {
	configName := fmt.Sprintf("described-%s-%d", namespace, h.draw(3))
	if h.chance(10) {
		configName = "described-shared"
	}
	rc := &v1alpha1.ReporterConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("rc-%d", h.draw(h.theme.names))},
		Spec: v1alpha1.ReporterConnectionSpec{DeletionPolicy: v1alpha1.DeletionPolicyDelete, EndpointRef: v1alpha1.EndpointReference{Name: "default"},
			Connection: &v1alpha1.ConnectionDescription{ConfigName: configName, ProductName: "ledger", Type: "POSTGRESQL", Host: "db.example.com", Port: 5432,
				DatabaseName: "ledger", UserName: "reporter", PasswordSecretRef: v1alpha1.SecretKeyReference{Name: databaseSecret, Key: "password"}}},
	}
	if h.chance(15) {
		rc.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain
	}
	if all := h.homeReporter().Connections(); len(all) > 0 && h.chance(15) {
		rc.Spec.ConnectionID = all[h.draw(len(all))].ID
	}
	if h.chance(20) {
		rc.Spec.AdoptionPolicy = v1alpha1.AdoptionPolicyByName
	}
	return fmt.Sprintf("creates ReporterConnection %s/%s, which describes %s: %v", namespace, rc.Name, configName, h.api.create(rc))
}

// alterDescription has somebody change what a resource describes, or whether it is acted upon.
func (h *history) alterDescription(rc *v1alpha1.ReporterConnection) string {
	switch h.draw(4) {
	case 0:
		rc.Spec.Connection.Port = int32(5432 + h.draw(3))
		return fmt.Sprintf("port %d", rc.Spec.Connection.Port)
	case 1:
		rc.Spec.Connection.Host = []string{"db.example.com", "other.example.com"}[h.draw(2)]
		return "host " + rc.Spec.Connection.Host
	case 2:
		rc.Spec.Suspend = !rc.Spec.Suspend
		return fmt.Sprintf("suspend %t", rc.Spec.Suspend)
	default:
		rc.Spec.AdoptionPolicy = v1alpha1.AdoptionPolicyByName
		return "adoption by name"
	}
}

// console has somebody change a connection in Reporter by hand.
func (h *history) console() {
	created := slices.DeleteFunc(h.homeReporter().Connections(), func(c reportertest.Connection) bool { return !strings.HasPrefix(c.ConfigName, "described-") })
	if len(created) == 0 {
		return
	}
	c := created[h.draw(len(created))]
	switch h.draw(8) {
	case 0:
		h.say("somebody deletes %s in Reporter: %s", c.ID, c.ConfigName)
		h.homeReporter().Delete(c.ID)
	case 1, 5, 6:
		h.say("somebody changes %s in Reporter: %d", c.ID, h.byHand(http.MethodPatch, "/"+c.ID, `{"host":"mistaken.example.com"}`))
	case 2:
		h.say("somebody marks %s in Reporter: %d", c.ID, h.byHand(http.MethodPatch, "/"+c.ID, `{"metadata":{"reporterOperatorOwner":"another-cluster/ledger"}}`))
	case 3, 4:
		if end := h.endJob[c.ID]; end != nil {
			h.say("the job on %s ends", c.ConfigName)
			end()
			delete(h.endJob, c.ID)
			return
		}
		h.say("a job on %s starts", c.ConfigName)
		h.endJob[c.ID] = h.homeReporter().StartTenantJob(c.Tenant, c.ConfigName)
	default:
		h.say("somebody clears the metadata of %s in Reporter: %d", c.ID, h.byHand(http.MethodPatch, "/"+c.ID, `{"metadata":{}}`))
	}
}

// judgeChange checks Safety 3 when a connection is about to be created or changed: it is changed for a live resource that describes it, if it
// bears no mark or that of the resource, or of one that is gone; and nobody's password goes to another host, unless it is sent anew.
func (h *history) judgeChange(c *call) {
	rc := c.pass.rc
	if rc == nil || rc.Spec.Connection == nil || !rc.DeletionTimestamp.IsZero() {
		h.fail("Safety 3: %s sends a %s without a live description", c.pass, c.method)
		return
	}
	h.count(c.method + " sent")
	var body map[string]any
	if json.Unmarshal([]byte(c.body), &body) != nil {
		h.fail("Safety 3: %s sends a %s with the body %q", c.pass, c.method, c.body)
	}
	if c.method == http.MethodPost {
		if creation := h.recordOf(rc); creation == nil {
			h.fail("Safety 4: %s creates a connection without a record", c.pass)
		}
		return
	}
	_, hasHost := body["host"]
	_, hasPassword := body["password"]
	if hasHost && !hasPassword {
		h.fail("Safety 3: %s leads Reporter's password to another host", c.pass)
	}
}

// recordOf is the record of a creation that the API server has of a resource.
func (h *history) recordOf(rc *v1alpha1.ReporterConnection) *v1alpha1.CreationRecord {
	for _, v := range h.api.versions[connectionKind][client.ObjectKeyFromObject(rc)] {
		if now, is := v.object.(*v1alpha1.ReporterConnection); is && now.UID == rc.UID && now.Status.Creation != nil {
			return now.Status.Creation
		}
	}
	return nil
}

// isConverging says whether what is described may still become so.
func (h *history) isConverging(since time.Time) bool {
	return h.theme.described && time.Since(since) < 4*time.Hour
}

// judgeDescribed checks at the end that every live resource which is Ready has one connection, as it describes it, and that nothing bears the mark
// of a resource but its connection.
func (h *history) judgeDescribed() {
	marked := map[string]int{}
	for _, c := range h.living() {
		if mark, is := c.Metadata["reporterOperatorOwner"].(string); is {
			marked[mark+" "+c.ConfigName]++
		}
	}
	for _, object := range h.ours(connectionKind) {
		rc := object.(*v1alpha1.ReporterConnection)
		ready := apimeta.FindStatusCondition(rc.Status.Conditions, "Ready")
		if rc.Spec.Connection == nil || !rc.DeletionTimestamp.IsZero() {
			continue
		}
		key := client.ObjectKeyFromObject(rc)
		switch {
		case ready == nil:
			h.fail("Convergence: %s has no status", key)
		case ready.Status == metav1.ConditionTrue:
			h.judgeKept(rc, marked[h.markOf(rc)+" "+rc.Spec.Connection.ConfigName])
		case slices.Contains([]string{"Duplicate", "NameTaken", "ConnectionNotFound", "AbsenceUnverified", "CreationUnverified", "TakenOver", "EndpointNotFound", "SecretNotFound"}, ready.Reason),
			ready.Reason == "InvalidConnection" && rc.Spec.ConnectionID != "": // it names one of another product
			h.count("described, and at the end " + ready.Reason)
		default:
			h.fail("Convergence: %s says %s: %s", key, ready.Reason, ready.Message)
		}
	}
}

func (h *history) judgeKept(rc *v1alpha1.ReporterConnection, marked int) {
	key, described := client.ObjectKeyFromObject(rc), rc.Spec.Connection
	h.count("described, and kept")
	if marked != 1 {
		h.fail("Safety 4: %d connections bear the mark of %s", marked, key)
	}
	for _, c := range h.living() {
		if c.ID == idOf(rc) && c.Metadata["reporterOperatorOwner"] == h.markOf(rc) {
			if c.Host != described.Host || c.Port != int(described.Port) || c.ConfigName != described.ConfigName {
				h.fail("Convergence: %s describes %s:%d, and Reporter has %s:%d", key, described.Host, described.Port, c.Host, c.Port)
			}
			return
		}
	}
	h.fail("Convergence: %s is Ready, and its connection %s is not there", key, idOf(rc))
}

// countDescribed counts what resources that describe their connections have said in a history, and which events there were of them.
func (h *history) countDescribed() {
	for _, versions := range h.api.versions[connectionKind] {
		said := map[string]bool{}
		for _, v := range versions {
			if rc, is := v.object.(*v1alpha1.ReporterConnection); is && rc.Describes() {
				if ready := apimeta.FindStatusCondition(rc.Status.Conditions, "Ready"); ready != nil {
					said[ready.Reason] = true
				}
				if reachable := apimeta.FindStatusCondition(rc.Status.Conditions, "DatabaseReachable"); reachable != nil {
					said["tested: "+reachable.Reason] = true
				}
			}
		}
		for what := range said {
			h.count("described, and said " + what)
		}
	}
}

// TestDescribedHistories plays histories of described connections alone, and fails where they do not come to what they are played for.
func TestDescribedHistories(t *testing.T) {
	const theme = "described connections"
	histories, total := uint64(200/share), map[string]int{}
	var (
		next atomic.Uint64
		mu   sync.Mutex
		all  sync.WaitGroup
	)
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for seed := next.Add(1); seed <= histories && !t.Failed(); seed = next.Add(1) {
				h := &history{source: rand.New(rand.NewPCG(seed, 0)), themeName: theme}
				synctest.Test(t, func(*testing.T) { h.play() })
				h.countDescribed()
				mu.Lock()
				for what, n := range h.counts {
					total[what] += n
				}
				mu.Unlock()
				if h.failure != "" {
					t.Errorf("seed %d: %s\n\nPlay it again: go test ./controllers/simulation -run '^TestSimulation$' -simulation.theme '%s' -simulation.seed %d -v", seed, h.failure, theme, seed)
				}
			}
		})
	}
	all.Wait()
	if t.Failed() || share > 1 {
		return // a share of them need not come to everything
	}
	for _, what := range []string{"Available", "Creating", "Duplicate", "NameTaken", "TakenOver", "ConnectionNotFound", "AbsenceUnverified",
		"JobInProgress", "ReporterUnavailable", "tested: TestSucceeded"} {
		if total["described, and said "+what] == 0 {
			t.Errorf("in %d histories no resource came to say %s", histories, what)
		}
	}
	for _, what := range []string{"Created", "Recreated", "Adopted", "Changed", "HandedOver", "NeverCreated", "Moved"} {
		if total["event "+what] == 0 {
			t.Errorf("in %d histories there was no event %s", histories, what)
		}
	}
}
