// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// standBy leaves the world standing, with a few resources in it, and shows what happens, until the context ends.
func (s *stage) standBy(ctx context.Context) error {
	// Without it, whoever tries what becomes of a deleted namespace would wait for ever. The control planes that are published
	// for tests lack it, and the rest of the playground can do without.
	s.namespaces, _ = s.world.StartControllers(io.Discard) //nolint:errcheck // see above
	if err := s.populate(ctx); err != nil {
		return err
	}
	s.screen.title("Yours to play with, in another terminal")
	s.screen.print("\nexport KUBECONFIG=" + s.world.Kubeconfig + "\n")
	if _, err := exec.LookPath("kubectl"); err != nil {
		s.screen.print("alias kubectl=" + kubectlPath() + "\n")
	}
	for _, try := range s.tries() {
		s.screen.print("\n" + s.screen.paint(faint, "# "+try.what) + "\n" + strings.Join(try.commands, "\n") + "\n")
	}
	s.screen.print("\nWhat happens is shown below. Ctrl-C ends everything and cleans up.\n\n")
	s.timeline.begin("TIME", func(at time.Time) string { return at.Format(time.TimeOnly) })
	<-ctx.Done()
	return context.Cause(ctx)
}

// populate makes the resources of the playground, and what is in the way of some of them.
func (s *stage) populate(ctx context.Context) error {
	if err := s.serveReporter("remote", remote); err != nil {
		return err
	}
	s.screen.title("Connections that are described, and one that is named by its id")
	manifests := documents(s.endpointManifest("default"), s.endpointManifest("remote"),
		secretManifest("ledger"), description("ledger", "ledger-db"),
		secretManifest("busy"), description("busy", "busy-db"),
		secretManifest("taken"), description("taken", bystander.ConfigName),
		fmt.Sprintf(`apiVersion: reporter.lerian.studio/v1alpha1
kind: ReporterConnection
metadata: {name: remote}
spec: {connectionID: %s, endpointRef: {name: remote}}
`, remote.ID))
	if err := s.kubectl(ctx, manifests, "apply", "-f", "-"); err != nil {
		return err
	}
	if output, err := s.run(ctx, "", "wait", "--for=condition=Ready", "rconn/ledger", "rconn/busy", "rconn/remote", "--timeout=60s"); err != nil {
		return fmt.Errorf("waiting for the resources to be Ready: %w\n%s", err, output)
	}
	if output, err := s.run(ctx, "", "wait", "--for=condition=Stalled", "rconn/taken", "--timeout=60s"); err != nil {
		return fmt.Errorf("waiting for what is refused: %w\n%s", err, output)
	}
	s.jobs.Start("busy-db", 0)
	s.servers["remote"].Down()
	s.screen.print("\nNow a job reads from busy-db, and the Reporter of remote goes down.\n")
	return s.kubectl(ctx, "", "get", "rconn")
}

// try is something to try in the playground.
type try struct {
	what     string
	commands []string
}

func (s *stage) tries() []try {
	reporter := s.servers["default"].URL
	return []try{
		{"change what is described, and Reporter's connection follows", []string{
			`kubectl patch rconn ledger --type=merge -p '{"spec":{"connection":{"port":5433}}}'; sleep 1; kubectl describe rconn ledger`,
		}},
		{"rotate its password", []string{
			`kubectl patch secret ledger-password -p '{"stringData":{"password":"` + secondPassword + `"}}'`,
		}},
		{"change it in Reporter, past Kubernetes, and have the operator look now: it corrects that", []string{
			"curl -X PATCH " + reporter + `/v1/management/connections/$(kubectl get rconn ledger -o jsonpath='{.status.connectionID}') -d '{"databaseName":"other"}'`,
			`kubectl annotate rconn ledger --overwrite reporter.lerian.studio/requestedAt="$(date -Is)"; kubectl get events`,
		}},
		{"taken describes a name that a connection has which somebody made by hand; take that over", []string{
			"kubectl describe rconn taken",
			`kubectl patch rconn taken --type=merge -p '{"spec":{"adoptionPolicy":"ByName"}}'`,
		}},
		{"delete ledger, and its connection goes at once", []string{
			"kubectl delete rconn ledger",
		}},
		{"busy waits for the job, and says so; end the job, and it goes", []string{
			"kubectl delete rconn busy --wait=false; kubectl get rconn; kubectl describe rconn busy",
			"curl -X DELETE " + reporter + "/_play/jobs/busy-db",
		}},
		{"remote waits for its Reporter, which stays down; the way out of any wait is to retain", []string{
			"kubectl delete rconn remote --wait=false; kubectl get rconn,rep",
			`kubectl patch rconn remote --type=merge -p '{"spec":{"deletionPolicy":"Retain"}}'`,
		}},
		{"start another job", []string{
			"curl " + reporter + `/_play/jobs -d '{"configName": "ledger-db", "for": "30s"}'`,
		}},
		{"what the operator says of it all", []string{
			"tail -f " + s.logPath(),
		}},
	}
}
