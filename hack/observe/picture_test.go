// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

var picture = flag.String("picture", "", "`file` to draw the dashboard to, after a run of twelve minutes")

const (
	pictured       = 12 * time.Minute
	scrapeInterval = 5 * time.Second
)

// TestPicture draws the dashboard for docs/observability.md, if it is told where to:
//
//	go -C hack/observe test . -run TestPicture -picture ../../docs/dashboard.svg -timeout 30m
func TestPicture(t *testing.T) {
	if *picture == "" {
		t.Skip("-picture names no file to draw to")
	}
	c := newCluster(t)
	c.startReplica("replica-1")
	c.leads("replica-1")
	c.startReplica("replica-2")
	steps, begun := c.plan(), time.Now()
	for now := begun; now.Sub(begun) < pictured; now = c.scrape() {
		for len(steps) > 0 && now.Sub(begun) >= steps[0].after {
			steps[0].do()
			steps = steps[1:]
		}
		time.Sleep(scrapeInterval)
	}
	if len(steps) > 0 {
		t.Fatalf("%d steps were not made", len(steps))
	}
	if err := os.WriteFile(*picture, []byte(c.draw(begun, time.Now())), 0o644); err != nil {
		t.Fatal(err)
	}
}

// step is what happens at a time of the run.
type step struct {
	after time.Duration
	do    func()
}

// plan has something of everything that may happen.
func (c *cluster) plan() []step {
	claims := map[*place][]*v1alpha1.ReporterConnection{}
	populated := func(namespace string, latency time.Duration) *place {
		p := c.newPlace(namespace)
		p.reporter.SetLatency(latency)
		for i := range 24 {
			claims[p] = append(claims[p], c.claim(p, fmt.Sprintf("books-%02d", i)))
		}
		return p
	}
	billing, ledger := populated("billing", 20*time.Millisecond), populated("ledger", 60*time.Millisecond)
	remote, archive := populated("remote", 200*time.Millisecond), populated("archive", 5*time.Millisecond)
	remove := func(p *place, from, to int) func() {
		return func() {
			for _, rc := range claims[p][from:to] {
				if err := c.Delete(c.t.Context(), rc); err != nil {
					c.t.Fatal(err)
				}
			}
		}
	}
	var endJobs []func()
	return []step{
		{0, func() {
			for i := range 8 {
				endJobs = append(endJobs, ledger.reporter.StartJob(fmt.Sprintf("books-%02d-db", i)))
			}
		}},
		{60 * time.Second, remove(billing, 0, 12)},
		{90 * time.Second, func() {
			c.create(&v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "billing", Name: "mistaken"},
				Spec: v1alpha1.ReporterConnectionSpec{ConnectionID: "019996b9-174d-7a23-9f87-f7336d5ad98c"}})
		}},
		{120 * time.Second, remove(ledger, 0, 10)},
		{180 * time.Second, func() {
			archive.reporter.AllowToken("one that nobody has", "")
			remove(archive, 0, 3)()
		}},
		{240 * time.Second, func() { endJobs[7]() }},
		{270 * time.Second, remote.server.Down},
		{280 * time.Second, remove(remote, 0, 6)},
		{300 * time.Second, func() { endJobs[6](); endJobs[5]() }},
		{360 * time.Second, func() { c.set(claims[billing][23], `{"spec":{"deletionPolicy":"Retain"}}`); remove(billing, 22, 24)() }},
		{390 * time.Second, func() {
			if err := remote.server.Up(); err != nil {
				c.t.Fatal(err)
			}
		}},
		{420 * time.Second, func() { endJobs[4](); endJobs[3]() }},
		{450 * time.Second, c.replicas["replica-1"].Terminate},
		{480 * time.Second, func() { c.startReplica("replica-3") }},
		{500 * time.Second, func() {
			c.set(&v1alpha1.ReporterEndpoint{ObjectMeta: metav1.ObjectMeta{Namespace: "billing", Name: "default"}}, `{"spec":{"suspend":true}}`)
			remove(billing, 12, 16)()
		}},
		{560 * time.Second, remote.server.Down},
		{570 * time.Second, remove(remote, 6, 9)},
		{600 * time.Second, func() { endJobs[2]() }},
	}
}

func (c *cluster) set(object client.Object, patch string) {
	c.t.Helper()
	if err := c.Patch(c.t.Context(), object, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		c.t.Fatal(err)
	}
}
