// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reporter-operator/reporter-operator/hack/internal/words"
)

// When things happen, counted from the deletion.
const (
	settled = time.Second / 2 // deletions that need not wait are done, and printed
	outage  = 3 * time.Second // the second Reporter comes back
	job     = 5 * time.Second // the job ends
)

// patience is how long to wait for what should follow at once.
const patience = time.Minute

// tellStory deletes all resources and checks what becomes of them.
func (s *stage) tellStory(ctx context.Context) error {
	s.screen.title("What is in the way of their deletion")
	s.raiseObstacles(fmt.Sprintf(" until %.0f s after the deletion", job.Seconds()), fmt.Sprintf(" until %.0f s after the deletion", outage.Seconds()))
	writesBefore, err := s.writes()
	if err != nil {
		return err
	}

	s.screen.title("All of them are deleted")
	s.timeline.begin("SECONDS", func(at time.Time) string { return fmt.Sprintf("%.2f", s.timeline.sinceFirst(at).Seconds()) })
	if err := s.kubectl(ctx, "", "delete", "rconn", "--all", "--wait=false"); err != nil {
		return err
	}
	err = s.await(ctx, "neither gone nor held with a reason, %.0f s after the deletion", func(seen *account, a actor) bool {
		return !seen.gone.IsZero() || len(a.expected.held) > 0 && len(seen.held) > 0
	})
	if err != nil {
		return err
	}
	if err := s.timeline.waitUntil(ctx, settled); err != nil {
		return err
	}
	if err := s.kubectl(ctx, "", "get", "rconn"); err != nil {
		return err
	}
	if err := s.timeline.waitUntil(ctx, outage); err != nil {
		return err
	}
	s.timeline.note("rep/remote", "is up again at "+s.servers["remote"].URL)
	if err := s.servers["remote"].Up(); err != nil {
		return err
	}
	if err := s.timeline.waitUntil(ctx, job); err != nil {
		return err
	}
	s.timeline.note(busy.name, "the job that reads from busy-db ends")
	s.jobs.End(busy.configName())
	err = s.await(ctx, "still there, %.0f s after the last obstacle was out of the way", func(seen *account, _ actor) bool { return !seen.gone.IsZero() })
	if err != nil {
		return err
	}
	s.timeline.end()
	if err := s.kubectl(ctx, "", "get", "rconn"); err != nil {
		return err
	}
	return s.sumUp(writesBefore)
}

// raiseObstacles sets up what each deletion is to wait for.
func (s *stage) raiseObstacles(jobLasts, outageLasts string) {
	s.jobs.Start(busy.configName(), 0)
	s.reporters["default"].Delete(vanished.id)
	s.servers["remote"].Down()
	s.screen.table([][]string{
		{"idle", "nothing"},
		{"busy", "a job in Reporter, which reads from busy-db" + jobLasts},
		{"vanished", "nothing any more: somebody has just deleted vanished-db in Reporter, past Kubernetes"},
		{"remote", "its Reporter is down" + outageLasts},
	}, func(int) tone { return plain })
}

// stuck is what did not come in time.
type stuck struct {
	resources []string
	how       string
}

func (e *stuck) Error() string {
	return "waiting for " + strings.Join(e.resources, ", ") + ": " + e.how
}

// await waits, with patience, until something is true of all actors. How says what it is like if that does not come.
func (s *stage) await(ctx context.Context, how string, done func(*account, actor) bool) error {
	var missing []string
	errPatience := errors.New("patience is at its end")
	patient, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	err := s.timeline.await(patient, func() bool {
		missing = nil
		for _, a := range actors {
			if !done(s.timeline.account(a.id), a) {
				missing = append(missing, a.name)
			}
		}
		return len(missing) == 0
	})
	if errors.Is(err, errPatience) {
		return &stuck{missing, fmt.Sprintf(how, patience.Seconds())}
	}
	return err
}

// writes returns what the operator has written about each ReporterConnection so far.
func (s *stage) writes() (map[string]int, error) {
	calls, err := s.world.OperatorCalls("default")
	if err != nil {
		return nil, fmt.Errorf("reading what the operator wrote: %w", err)
	}
	writes := map[string]int{}
	for _, call := range calls {
		if call.IsWrite() && call.Status < 400 && strings.HasPrefix(call.Resource, "reporterconnections") {
			writes[call.Name]++
		}
	}
	return writes, nil
}

// expectation is the result that a deletion must have.
type expectation struct {
	held   []string       // the reasons it waits for
	calls  *regexp.Regexp // to Reporter, in words
	writes int            // to the API server
}

// outcome is the result that it had.
type outcome struct {
	held          []string
	calls         string
	writes        int
	alive         bool // in Reporter, now
	aliveWhenGone bool
}

// differences says what is not as expected, in words.
func (e expectation) differences(name string, o outcome) []string {
	var differences []string
	differ := func(format string, args ...any) {
		differences = append(differences, name+": "+fmt.Sprintf(format, args...))
	}
	if o.alive {
		differ("its connection is still alive in Reporter")
	}
	if o.aliveWhenGone {
		differ("the resource was gone before its connection was deleted in Reporter")
	}
	if !slices.Equal(e.held, o.held) {
		differ("it was held for %q, not %q", o.held, e.held)
	}
	if !e.calls.MatchString(o.calls) {
		differ("Reporter was asked %q, which does not match %s", o.calls, e.calls)
	}
	if e.writes != o.writes {
		differ("the operator wrote to the API server %s, not %d", words.Plural(o.writes, "time"), e.writes)
	}
	return differences
}

// sumUp compares what was seen with what was expected, and shows it.
func (s *stage) sumUp(writesBefore map[string]int) error {
	writes, err := s.writes()
	if err != nil {
		return err
	}
	rows := [][]string{{"RESOURCE", "HELD BY", "TOOK", "REPORTER WAS ASKED", "WRITES", "IN REPORTER"}}
	var differences []string
	tones := []tone{faint}
	for _, a := range actors {
		o, took := s.outcome(a, writes[a.name]-writesBefore[a.name])
		fate := "soft-deleted"
		if o.alive {
			fate = "ALIVE"
		}
		rows = append(rows, []string{a.name, cmp.Or(strings.Join(o.held, ", "), "–"), fmt.Sprintf("%.2fs", took.Seconds()),
			o.calls, strconv.Itoa(o.writes), fate})
		tones = append(tones, good)
		if different := a.expected.differences(a.name, o); len(different) > 0 {
			differences = append(differences, different...)
			tones[len(tones)-1] = bad
		}
	}
	if !s.alive(bystander.id) {
		differences = append(differences, "bystander-db, which no resource claims, was deleted in Reporter")
	}
	s.screen.title("In the end")
	s.screen.table(rows, func(row int) tone { return tones[row] })
	if len(differences) > 0 {
		return fmt.Errorf("comparing what happened with what should:\n  %s", strings.Join(differences, "\n  "))
	}
	s.screen.print(`
WRITES are the operator's to the API server: one to release a resource, one to say why it is held.
bystander-db, which is in Reporter but claimed by no resource, is still alive.

` + s.screen.paint(good, "All gone, and all as expected.") + "\n")
	return nil
}

func (s *stage) outcome(a actor, writes int) (o outcome, took time.Duration) {
	s.timeline.mu.Lock()
	defer s.timeline.mu.Unlock()
	seen := s.timeline.account(a.id)
	return outcome{
		held:          seen.held,
		calls:         callsInWords(seen),
		writes:        writes,
		alive:         s.alive(a.id),
		aliveWhenGone: seen.aliveWhenGone,
	}, s.timeline.sinceFirst(seen.gone)
}

// callsInWords counts calls in a row that got the same answer.
func callsInWords(a *account) string {
	var words []string
	for i := 0; i < len(a.calls); {
		same := i + 1
		for same < len(a.calls) && a.calls[same].Method == a.calls[i].Method && a.calls[same].Answer == a.calls[i].Answer {
			same++
		}
		word := a.calls[i].Method + " " + a.calls[i].Answer
		if same-i > 1 {
			word = fmt.Sprintf("%d × %s", same-i, word)
		}
		words, i = append(words, word), same
	}
	return strings.Join(words, ", ")
}
