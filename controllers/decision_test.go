// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

func TestJudgeDeletion(t *testing.T) {
	const waited = 80 * time.Second // proportionally: 10s
	tests := map[string]struct {
		attempt  attempt
		release  bool
		unseen   bool
		reason   string
		message  string
		comeBack time.Duration
	}{
		"soft-deleted": {attempt: attempt{deletion: finding{answer: answerDone}}, release: true},
		"absent, and seen here before": {
			attempt: attempt{deletion: finding{answer: answerAbsent}, confirmation: finding{answer: answerAbsent}, seen: true, seenHere: true},
			release: true},
		"absent, and never seen": {
			attempt: attempt{deletion: finding{answer: answerAbsent}, confirmation: finding{answer: answerAbsent}},
			release: true, unseen: true},
		"absent, but seen elsewhere": {
			attempt: attempt{deletion: finding{answer: answerAbsent}, confirmation: finding{answer: answerAbsent}, seen: true},
			reason:  "AbsenceUnverified", message: "status.observedIn", comeBack: 10 * time.Minute},
		"absent for DELETE, shown by GET": {
			attempt: attempt{deletion: finding{answer: answerAbsent}, confirmation: finding{answer: answerDone}},
			reason:  "NotDeletable", message: "set spec.deletionPolicy to Retain", comeBack: 10 * time.Minute},
		"absent for DELETE, GET is forbidden": {
			attempt: attempt{deletion: finding{answer: answerAbsent}, confirmation: finding{answer: answerForbidden, detail: "403 Forbidden"}},
			reason:  "Forbidden", message: "403 Forbidden", comeBack: 10 * time.Minute},
		"absent for DELETE, GET proves nothing": {
			attempt: attempt{deletion: finding{answer: answerAbsent}, confirmation: finding{detail: "200 with a body that is not the documented one"}, seen: true, seenHere: true},
			reason:  "UnexpectedResponse", message: "200 with a body that is not the documented one", comeBack: 10 * time.Second},
		"a job in progress": {
			attempt: attempt{deletion: finding{answer: answerJobInProgress}, configName: "ledger-db"},
			reason:  "JobInProgress", message: `read from connection "ledger-db"`, comeBack: 10 * time.Second},
		"another conflict": {
			attempt: attempt{deletion: finding{answer: answerConflict, detail: "409 FET-1099"}},
			reason:  "Conflict", message: "409 FET-1099", comeBack: 10 * time.Second},
		"an invalid id": {
			attempt: attempt{deletion: finding{answer: answerInvalidID}},
			reason:  "InvalidConnectionID", message: "spec.connectionID", comeBack: 10 * time.Minute},
		"unauthorized": {
			attempt: attempt{deletion: finding{answer: answerUnauthorized, detail: "401 Unauthorized"}},
			reason:  "Unauthorized", message: "401 Unauthorized", comeBack: 10 * time.Minute},
		"forbidden": {
			attempt: attempt{deletion: finding{answer: answerForbidden, detail: "403 Forbidden"}},
			reason:  "Forbidden", message: "403 Forbidden", comeBack: 10 * time.Minute},
		"rate limited, told when": {
			attempt: attempt{deletion: finding{answer: answerRateLimited, detail: "429", retryAfter: 42 * time.Second}},
			reason:  "RateLimited", message: "429", comeBack: 42 * time.Second},
		"rate limited, not told when": {
			attempt: attempt{deletion: finding{answer: answerRateLimited, detail: "429"}},
			reason:  "RateLimited", message: "429", comeBack: 10 * time.Second},
		"rate limited, told nonsense": {
			attempt: attempt{deletion: finding{answer: answerRateLimited, detail: "429", retryAfter: 24 * time.Hour}},
			reason:  "RateLimited", message: "429", comeBack: 10 * time.Minute},
		"unavailable": {
			attempt: attempt{deletion: finding{answer: answerUnavailable, detail: "connection refused"}},
			reason:  "ReporterUnavailable", message: "connection refused", comeBack: 10 * time.Second},
		"unavailable, told when": {
			attempt: attempt{deletion: finding{answer: answerUnavailable, detail: "503", retryAfter: time.Millisecond}},
			reason:  "ReporterUnavailable", message: "503", comeBack: time.Second},
		"the wrong path": {
			attempt: attempt{deletion: finding{answer: answerWrongPath, detail: "404 404"}},
			reason:  "UnexpectedResponse", message: "this is not the connections API", comeBack: 10 * time.Second},
		"anything else": {
			attempt: attempt{deletion: finding{detail: "202 Accepted"}},
			reason:  "UnexpectedResponse", message: "202 Accepted", comeBack: 10 * time.Second},
		"an answer that nobody thought of": {
			attempt: attempt{deletion: finding{answer: 99, detail: "x"}},
			reason:  "UnexpectedResponse", message: "x", comeBack: 10 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := judgeDeletion(test.attempt, waited)
			if got.release != test.release || got.neverSeen != test.unseen {
				t.Errorf("release %t, never seen %t; want %t, %t", got.release, got.neverSeen, test.release, test.unseen)
			}
			if got.reason != test.reason || !strings.Contains(got.message, test.message) || got.comeBack != test.comeBack {
				t.Errorf("held as %s (%s) for %s; want %s (…%s…) for %s", got.reason, got.message, got.comeBack, test.reason, test.message, test.comeBack)
			}
		})
	}
}

func TestJudgeHoldOfObstacles(t *testing.T) {
	for answer, reason := range map[answer]string{
		answerEndpointNotFound: "EndpointNotFound",
		answerInvalidEndpoint:  "InvalidEndpoint",
		answerSecretNotFound:   "SecretNotFound",
		answerSecretNotGranted: "SecretNotGranted",
	} {
		want := hold{reason: reason, message: "what to do", comeBack: 10 * time.Minute}
		if got := judgeHold(finding{answer: answer, detail: "what to do"}, "", time.Hour); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
	if got := judgeHold(finding{answer: answerAbsent}, "", 0); got.reason != "ConnectionNotFound" || !strings.Contains(got.message, "Soft deletion is final") {
		t.Errorf("absence is told as %v", got)
	}
}

func TestJudgeRelease(t *testing.T) {
	for _, test := range []struct {
		use             use
		deletedFor      time.Duration
		release, missed bool
		comeBack        time.Duration
	}{
		{use{}, 0, true, false, 0},
		{use{needed: true, pending: true}, 24 * time.Hour, false, false, 10 * time.Second},
		{use{needed: true}, -time.Hour, false, false, 10 * time.Second}, // the API server's clock is ahead
		{use{needed: true}, 20 * time.Second, false, false, 10 * time.Second},
		{use{needed: true}, 55 * time.Second, false, false, 5 * time.Second},
		{use{needed: true}, time.Minute, true, true, 0},
	} {
		release, missed, comeBack := judgeRelease(test.use, test.deletedFor)
		if release != test.release || missed != test.missed || comeBack != test.comeBack {
			t.Errorf("%+v after %s: %t, %t, %s", test.use, test.deletedFor, release, missed, comeBack)
		}
	}
}

func TestProportional(t *testing.T) {
	for waited, want := range map[time.Duration]time.Duration{
		-time.Hour:       time.Second, // the clock of whoever wrote it is ahead
		0:                time.Second,
		8 * time.Second:  time.Second,
		16 * time.Second: 2 * time.Second,
		time.Hour:        7*time.Minute + 30*time.Second,
		80 * time.Minute: 10 * time.Minute,
		24 * time.Hour:   10 * time.Minute,
	} {
		if got := proportional(waited); got != want {
			t.Errorf("after %s: %s, want %s", waited, got, want)
		}
	}
}

func TestPacer(t *testing.T) {
	p, start := newPacer(time.Second), time.Unix(1000, 0)
	at := func(after time.Duration) time.Time { return start.Add(after) }
	wait := func(reporter, resource string, now time.Time, want time.Duration) {
		t.Helper()
		if got := p.wait(reporter, types.UID(resource), now); got != want {
			t.Errorf("%s waits %s at %s, want %s", resource, got, now.Sub(start), want)
		}
	}
	wait("r", "a", at(0), 0)
	wait("r", "b", at(0), time.Second)
	wait("r", "c", at(0), 2*time.Second)
	wait("other", "d", at(0), 0) // another Reporter has a pace of its own
	wait("r", "b", at(400*time.Millisecond), 600*time.Millisecond)
	wait("r", "b", at(time.Second), 0)             // its turn has come
	wait("r", "b", at(time.Second), 2*time.Second) // and is used up: behind c
	p.now(types.UID("c"))
	wait("r", "c", at(time.Second), 0) // somebody asked
	p.forget(types.UID("b"))
	wait("r", "b", at(time.Minute), 0)
}
