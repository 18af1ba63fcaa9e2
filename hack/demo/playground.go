// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"os/exec"
	"strings"
	"time"
)

// standBy leaves the world standing and shows what happens in it, until the context ends.
func (s *stage) standBy(ctx context.Context) error {
	// Without it, whoever tries what becomes of a deleted namespace would wait for ever. The control planes that are published
	// for tests lack it, and the rest of the playground can do without.
	s.namespaces, _ = s.world.StartNamespaceController(io.Discard) //nolint:errcheck // see above
	s.screen.title("What is in the way of their deletion")
	s.raiseObstacles("", "")
	s.screen.title("Yours to play with, in another terminal")
	s.screen.print("\nexport KUBECONFIG=" + s.world.Kubeconfig + "\n")
	if _, err := exec.LookPath("kubectl"); err != nil {
		s.screen.print("alias kubectl=" + kubectlPath() + "\n")
	}
	jobs := s.servers["default"].URL + "/_play/jobs"
	for _, try := range []struct {
		what     string
		commands []string
	}{
		{"idle goes at once", []string{
			"kubectl delete rconn idle",
		}},
		{"busy waits for the job, and says so; end the job, and it goes", []string{
			"kubectl delete rconn busy --wait=false; kubectl get rconn; kubectl describe rconn busy",
			"curl -X DELETE " + jobs + "/busy-db",
		}},
		{"remote waits for its Reporter, which stays down; the way out of any wait is to retain", []string{
			"kubectl delete rconn remote --wait=false; kubectl get rconn,rep",
			`kubectl patch rconn remote --type=merge -p '{"spec":{"deletionPolicy":"Retain"}}'`,
		}},
		{"start another job", []string{
			"curl " + jobs + ` -d '{"configName": "idle-db", "for": "30s"}'`,
		}},
		{"what the operator says of it all", []string{
			"tail -f " + s.logPath(),
		}},
	} {
		s.screen.print("\n" + s.screen.paint(faint, "# "+try.what) + "\n" + strings.Join(try.commands, "\n") + "\n")
	}
	s.screen.print("\nWhat happens is shown below. Ctrl-C ends everything and cleans up.\n\n")
	s.timeline.begin("TIME", func(at time.Time) string { return at.Format(time.TimeOnly) })
	<-ctx.Done()
	return context.Cause(ctx)
}
