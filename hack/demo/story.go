// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/hack/internal/play"
	"github.com/reporter-operator/reporter-operator/hack/internal/words"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

const (
	// job is how long a job goes on, counted from the first thing seen.
	job = 3 * time.Second
	// settled is how long after an act its events are printed at the latest.
	settled = time.Second / 2
	// patience is how long to wait for what should follow at once.
	patience = time.Minute
)

// act is a part of the life of a connection.
type act struct {
	title string
	name  string // in the summary
	// play does what people do, and waits for what follows.
	play     func(*stage, context.Context) error
	expected expectation
}

var acts = []act{
	{"A connection is described, and the operator creates it", "created", (*stage).describe,
		expectation{said: `((EndpointNotFound|SecretNotFound), )*Creating, Available, TestSucceeded`, calls: `POST 201, test 200`}},
	{"The description changes while a job reads from the connection", "changed", (*stage).changeDuringJob,
		expectation{said: `JobInProgress, Available, TestSucceeded`, calls: `(\d+ × )?PATCH 409 FET-1021, PATCH 200, test 200`}},
	{"The password is rotated", "rotated", (*stage).rotatePassword,
		expectation{said: `TestSucceeded`, calls: `PATCH 200, test 200`, silent: 1}},
	{"Somebody changes the connection in Reporter, past Kubernetes", "corrected", (*stage).correct,
		expectation{said: `TestSucceeded`, calls: `PATCH 200, test 200`, silent: 1}},
	{"The resource is deleted while a job reads from the connection", "deleted", (*stage).deleteDuringJob,
		expectation{said: `JobInProgress`, calls: `(\d+ × )?DELETE 409 FET-1021, DELETE 204`, silent: 1}},
}

// tellStory plays all acts and checks what comes of each.
func (s *stage) tellStory(ctx context.Context) error {
	rows := [][]string{{"IT IS", "THE STATUS SAID", "REPORTER WAS ASKED", "WRITES"}}
	var differences []string
	tones := []tone{faint}
	for _, a := range acts {
		s.screen.title(a.title)
		before, err := s.writes()
		if err != nil {
			return err
		}
		s.timeline.begin("SECONDS", func(at time.Time) string { return fmt.Sprintf("%.2f", s.timeline.sinceFirst(at).Seconds()) })
		if err := a.play(s, ctx); err != nil {
			return err
		}
		if err := s.timeline.waitUntil(ctx, s.timeline.seenInScene().took+settled); err != nil {
			return err
		}
		s.timeline.end()
		expected := s.expects(a)
		o, err := s.outcome(ctx, before, expected)
		if err != nil {
			return err
		}
		rows = append(rows, []string{a.name, cmp.Or(strings.Join(o.said, ", "), "–"), o.calls, strconv.Itoa(o.writes)})
		tones = append(tones, good)
		if different := expected.differences(a.name, o); len(different) > 0 {
			differences = append(differences, different...)
			tones[len(tones)-1] = bad
		}
	}
	if now := s.reporters["default"].Connections(); len(now) != 1 || now[0].ID != bystander.ID || !now[0].UpdatedAt.Equal(now[0].CreatedAt) {
		differences = append(differences, "byhand-db, which no resource describes, is not as it was, or not alone: "+fmt.Sprint(now))
	}
	s.screen.title("In the end")
	s.screen.table(rows, func(row int) tone { return tones[row] })
	if len(differences) > 0 {
		return fmt.Errorf("comparing what happened with what should:\n  %s", strings.Join(differences, "\n  "))
	}
	s.screen.print(`
Looks at Reporter that change nothing are left out. WRITES are the operator's to the API server.
byhand-db, which is in Reporter but described by no resource, is as it was.

` + s.screen.paint(good, "Created, kept and deleted, and all as expected.") + "\n")
	return nil
}

// describe has the connection created.
func (s *stage) describe(ctx context.Context) error {
	s.reporters["default"].SetDatabasePassword(host, firstPassword)
	manifests := documents(s.endpointManifest("default"), secretManifest(hero), description(hero, heroConnection))
	if err := s.kubectl(ctx, manifests, "apply", "-f", "-"); err != nil {
		return err
	}
	if err := s.await(ctx, "Ready, with a database that Reporter reaches", isKept); err != nil {
		return err
	}
	return s.kubectl(ctx, "", "get", "rconn")
}

// changeDuringJob changes the description while Reporter refuses changes.
func (s *stage) changeDuringJob(ctx context.Context) error {
	s.startJob()
	if err := s.kubectl(ctx, "", "patch", "rconn", hero, "--type=merge", "-p", `{"spec":{"connection":{"port":5433}}}`); err != nil {
		return err
	}
	if err := s.endJob(ctx); err != nil {
		return err
	}
	return s.await(ctx, "changed in Reporter", func(rc *v1alpha1.ReporterConnection) bool { return isKept(rc) && s.connection().Port == 5433 })
}

// rotatePassword changes the password of the database, and that in the Secret.
func (s *stage) rotatePassword(ctx context.Context) error {
	before := s.timeline.resource(hero)
	s.reporters["default"].SetDatabasePassword(host, secondPassword)
	if err := s.kubectl(ctx, "", "patch", "secret", hero+"-password", "-p", `{"stringData":{"password":"`+secondPassword+`"}}`); err != nil {
		return err
	}
	return s.await(ctx, "given the new password in Reporter", func(rc *v1alpha1.ReporterConnection) bool {
		return isKept(rc) && rc.Status.Sent != before.Status.Sent && s.reporters["default"].Secrets(rc.ConnectionID()).Password == secondPassword
	})
}

// correct changes the connection in Reporter, and asks the operator to look now. It would by itself, within about an hour.
func (s *stage) correct(ctx context.Context) error {
	before := s.timeline.resource(hero)
	s.timeline.note(hero, "databaseName is changed to other")
	if err := s.changeInReporter(ctx, `{"databaseName":"other"}`); err != nil {
		return err
	}
	if err := s.kubectl(ctx, "", "annotate", "rconn", hero, "reporter.lerian.studio/requestedAt="+time.Now().Format(time.RFC3339)); err != nil {
		return err
	}
	return s.await(ctx, "corrected in Reporter", func(rc *v1alpha1.ReporterConnection) bool {
		return isKept(rc) && rc.Status.HandledRequest != before.Status.HandledRequest && s.connection().DatabaseName == "ledger"
	})
}

// changeInReporter changes the connection as one does in Reporter's console.
func (s *stage) changeInReporter(ctx context.Context, change string) error {
	answer := httptest.NewRecorder()
	path := "/v1/management/connections/" + s.connection().ID
	s.reporters["default"].ServeHTTP(answer, httptest.NewRequestWithContext(ctx, http.MethodPatch, path, strings.NewReader(change)))
	if answer.Code != http.StatusOK {
		return fmt.Errorf("changing the connection in Reporter: %d %s", answer.Code, answer.Body)
	}
	return nil
}

// deleteDuringJob deletes the resource while Reporter refuses to delete its connection.
func (s *stage) deleteDuringJob(ctx context.Context) error {
	s.startJob()
	if err := s.kubectl(ctx, "", "delete", "rconn", hero, "--wait=false"); err != nil {
		return err
	}
	if err := s.endJob(ctx); err != nil {
		return err
	}
	return s.await(ctx, "gone, with its connection", func(rc *v1alpha1.ReporterConnection) bool { return rc == nil && s.connection().ID == "" })
}

func (s *stage) startJob() {
	s.timeline.note(hero, fmt.Sprintf("a job reads from %s for %.0f s", heroConnection, job.Seconds()))
	s.jobs.Start(heroConnection, 0)
}

// endJob shows what the resource says meanwhile, and ends the job when its time has come.
func (s *stage) endJob(ctx context.Context) error {
	waits := func() bool { return slices.Contains(s.timeline.scene.said, v1alpha1.ReasonJobInProgress) }
	if err := s.await(ctx, "waiting for the job", func(*v1alpha1.ReporterConnection) bool { return waits() }); err != nil {
		return err
	}
	if err := s.kubectl(ctx, "", "get", "rconn"); err != nil {
		return err
	}
	if err := s.timeline.waitUntil(ctx, job); err != nil {
		return err
	}
	s.timeline.note(hero, "the job ends")
	s.jobs.End(heroConnection)
	return nil
}

// connection is the described one as Reporter has it, or the zero value.
func (s *stage) connection() reportertest.Connection {
	for _, c := range s.reporters["default"].Connections() {
		if c.ConfigName == heroConnection {
			return c
		}
	}
	return reportertest.Connection{}
}

// stuck is what did not come in time.
type stuck struct{ what string }

func (e *stuck) Error() string {
	return fmt.Sprintf("waiting for %s: it is not %s after %.0f s", hero, e.what, patience.Seconds())
}

// await waits, with patience, until something is true of the resource, which is nil while there is none.
func (s *stage) await(ctx context.Context, what string, done func(*v1alpha1.ReporterConnection) bool) error {
	errPatience := errors.New("patience is at its end")
	patient, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	err := s.timeline.await(patient, func() bool { return done(s.timeline.resources[hero]) })
	if errors.Is(err, errPatience) {
		return &stuck{what}
	}
	return err
}

// writes is how often the operator has written to the API server about the resource so far.
func (s *stage) writes() (int, error) {
	calls, err := s.world.OperatorCalls("default")
	if err != nil {
		return 0, fmt.Errorf("reading what the operator wrote: %w", err)
	}
	writes := 0
	for _, call := range calls {
		if call.IsWrite() && call.Status < 400 && strings.HasPrefix(call.Resource, "reporterconnections") && call.Name == hero {
			writes++
		}
	}
	return writes, nil
}

// expectation is what must come of an act. The texts are regular expressions.
type expectation struct {
	said   string // the reasons in the status
	calls  string // to Reporter, in words
	silent int    // writes to the API server beside those that say something new
}

// expects is what must come of an act on this Kubernetes: where no policy puts the finalizer on, the operator does.
func (s *stage) expects(a act) expectation {
	if a.name == "created" && !s.world.Mutates {
		a.expected.silent++
	}
	return a.expected
}

// outcome is what came of it.
type outcome struct {
	said   []string
	calls  string
	writes int
}

func (e expectation) writes(o outcome) int { return len(o.said) + e.silent }

// differences says what is not as expected, in words.
func (e expectation) differences(name string, o outcome) []string {
	var differences []string
	differ := func(format string, args ...any) {
		differences = append(differences, name+": "+fmt.Sprintf(format, args...))
	}
	matches := func(pattern, text string) bool { return regexp.MustCompile("^(" + pattern + ")$").MatchString(text) }
	if said := strings.Join(o.said, ", "); !matches(e.said, said) {
		differ("the status said %q, which does not match ^(%s)$", said, e.said)
	}
	if !matches(e.calls, o.calls) {
		differ("Reporter was asked %q, which does not match ^(%s)$", o.calls, e.calls)
	}
	if e.writes(o) != o.writes {
		differ("the operator wrote to the API server %s, not %d", words.Plural(o.writes, "time"), e.writes(o))
	}
	return differences
}

// outcome is what was seen since an act began. What was written may be logged a moment later than it is seen.
func (s *stage) outcome(ctx context.Context, writesBefore int, expected expectation) (outcome, error) {
	seen := s.timeline.seenInScene()
	o := outcome{said: seen.said, calls: callsInWords(seen.calls)}
	for range 20 {
		now, err := s.writes()
		if o.writes = now - writesBefore; err != nil || o.writes >= expected.writes(o) {
			return o, err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return o, context.Cause(ctx)
		}
	}
	return o, nil
}

// callsInWords counts calls in a row that got the same answer. Those that only look are left out.
func callsInWords(calls []play.Exchange) string {
	calls = slices.DeleteFunc(slices.Clone(calls), func(e play.Exchange) bool { return e.Method == http.MethodGet })
	var words []string
	for i := 0; i < len(calls); {
		same := i + 1
		for same < len(calls) && calls[same].Method == calls[i].Method && calls[same].Answer == calls[i].Answer && isTest(calls[same]) == isTest(calls[i]) {
			same++
		}
		word := calls[i].Method + " " + calls[i].Answer
		if isTest(calls[i]) {
			word = "test " + calls[i].Answer
		}
		if same-i > 1 {
			word = fmt.Sprintf("%d × %s", same-i, word)
		}
		words, i = append(words, word), same
	}
	return strings.Join(words, ", ")
}

// isTest says whether a call has Reporter test if it reaches a database.
func isTest(e play.Exchange) bool { return strings.HasSuffix(e.URI, "/test") }
