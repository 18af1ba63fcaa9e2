// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"strings"
	"testing"
	"time"
)

// Outcomes as the client of Reporter gives them.
var (
	done   = Outcome{Reason: "Available"}
	absent = Outcome{Reason: "ConnectionNotFound"}
)

func TestJudgeDeletion(t *testing.T) {
	const waited = 80 * time.Second // proportionally: 10s
	tests := map[string]struct {
		attempt Attempt
		release Release
		reason  string
		message string
		retryIn time.Duration
	}{
		"soft-deleted":                          {attempt: Attempt{Deletion: done}, release: ReleaseDeleted},
		"absent, and seen here before":          {attempt: Attempt{Deletion: absent, SecondLook: absent, Seen: true, SeenHere: true}, release: ReleaseAlreadyDeleted},
		"absent after a DELETE without answer":  {attempt: Attempt{Deletion: absent, SecondLook: absent, Seen: true, SeenHere: true, SentBefore: true}, release: ReleaseDeleted},
		"absent, and never seen":                {attempt: Attempt{Deletion: absent, SecondLook: absent}, release: ReleaseNeverSeen},
		"never seen, after a DELETE was lost":   {attempt: Attempt{Deletion: absent, SecondLook: absent, SentBefore: true}, release: ReleaseNeverSeen},
		"absent, but seen elsewhere":            {attempt: Attempt{Deletion: absent, SecondLook: absent, Seen: true}, reason: "AbsenceUnverified", message: "status.observedIn", retryIn: 10 * time.Minute},
		"seen elsewhere, a DELETE was lost":     {attempt: Attempt{Deletion: absent, SecondLook: absent, Seen: true, SentBefore: true}, reason: "AbsenceUnverified", message: "status.observedIn", retryIn: 10 * time.Minute},
		"absent for DELETE, shown by GET":       {attempt: Attempt{Deletion: absent, SecondLook: done}, reason: "NotDeletable", message: "set spec.deletionPolicy to Retain", retryIn: 10 * time.Minute},
		"absent for DELETE, GET is forbidden":   {attempt: Attempt{Deletion: absent, SecondLook: Outcome{Reason: "Forbidden", Detail: "403 Forbidden"}}, reason: "Forbidden", message: "403 Forbidden", retryIn: 10 * time.Second},
		"absent for DELETE, GET proves nothing": {attempt: Attempt{Deletion: absent, SecondLook: Outcome{Detail: "200 with another body"}, Seen: true, SeenHere: true}, reason: "UnexpectedResponse", message: "200 with another body", retryIn: 10 * time.Second},
		"absent for DELETE, nothing was asked":  {attempt: Attempt{Deletion: absent, Seen: true, SeenHere: true}, reason: "UnexpectedResponse", retryIn: 10 * time.Second},
		"a job in progress":                     {attempt: Attempt{Deletion: Outcome{Reason: "JobInProgress"}, ConfigName: "ledger-db"}, reason: "JobInProgress", message: `read from connection "ledger-db". The`, retryIn: 10 * time.Second},
		"a job, and the name is not known":      {attempt: Attempt{Deletion: Outcome{Reason: "JobInProgress"}}, reason: "JobInProgress", message: "read from the connection. The", retryIn: 10 * time.Second},
		"another conflict":                      {attempt: Attempt{Deletion: Outcome{Reason: "Conflict", Detail: "409 FET-1099"}}, reason: "Conflict", message: "409 FET-1099", retryIn: 10 * time.Second},
		"an invalid id":                         {attempt: Attempt{Deletion: Outcome{Reason: "InvalidConnectionID"}}, reason: "InvalidConnectionID", message: "spec.connectionID", retryIn: 10 * time.Minute},
		"unauthorized":                          {attempt: Attempt{Deletion: Outcome{Reason: "Unauthorized", Detail: "401 Unauthorized"}}, reason: "Unauthorized", message: "401 Unauthorized", retryIn: 10 * time.Minute},
		"forbidden":                             {attempt: Attempt{Deletion: Outcome{Reason: "Forbidden", Detail: "403 Forbidden"}}, reason: "Forbidden", message: "403 Forbidden", retryIn: 10 * time.Second},
		"rate limited, until a time":            {attempt: Attempt{Deletion: Outcome{Reason: "RateLimited", Detail: "429", RetryAfter: 42 * time.Second}}, reason: "RateLimited", message: "429", retryIn: 42 * time.Second},
		"rate limited":                          {attempt: Attempt{Deletion: Outcome{Reason: "RateLimited", Detail: "429"}}, reason: "RateLimited", message: "429", retryIn: 10 * time.Second},
		"rate limited, for too long":            {attempt: Attempt{Deletion: Outcome{Reason: "RateLimited", Detail: "429", RetryAfter: 24 * time.Hour}}, reason: "RateLimited", message: "429", retryIn: 10 * time.Minute},
		"unavailable":                           {attempt: Attempt{Deletion: Outcome{Reason: "ReporterUnavailable", Detail: "connection refused"}}, reason: "ReporterUnavailable", message: "connection refused", retryIn: 10 * time.Second},
		"unavailable, for too short":            {attempt: Attempt{Deletion: Outcome{Reason: "ReporterUnavailable", Detail: "503", RetryAfter: time.Millisecond}}, reason: "ReporterUnavailable", message: "503", retryIn: time.Second},
		"known not to answer":                   {attempt: Attempt{Deletion: Outcome{Reason: "ReporterUnavailable", Detail: "refused", HeldBack: true}}, reason: "ReporterUnavailable", message: "refused", retryIn: 10 * time.Minute},
		"anything else":                         {attempt: Attempt{Deletion: Outcome{Detail: "202 Accepted"}}, reason: "UnexpectedResponse", message: "202 Accepted", retryIn: 10 * time.Second},
		"a reason that is not in the table":     {attempt: Attempt{Deletion: Outcome{Reason: "x", Detail: "x"}}, reason: "UnexpectedResponse", message: "x", retryIn: 10 * time.Second},
		"the endpoint is not there":             {attempt: Attempt{Deletion: Outcome{Reason: "EndpointNotFound", Detail: "create it"}}, reason: "EndpointNotFound", message: "create it", retryIn: 10 * time.Minute},
		"the Secret is not marked":              {attempt: Attempt{Deletion: Outcome{Reason: "SecretNotGranted", Detail: "label it"}}, reason: "SecretNotGranted", message: "label it", retryIn: 10 * time.Minute},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := JudgeDeletion(test.attempt, waited)
			if got.Release != test.release {
				t.Errorf("release %d, want %d", got.Release, test.release)
			}
			if got.Reason != test.reason || !strings.Contains(got.Message, test.message) || got.RetryIn != test.retryIn {
				t.Errorf("blocked as %s (%s) for %s; want %s (…%s…) for %s", got.Reason, got.Message, got.RetryIn, test.reason, test.message, test.retryIn)
			}
		})
	}
}

func TestBlockSaysWhetherItMayVaryAndThatReporterIsLeftAlone(t *testing.T) {
	for reason, want := range map[string]Block{
		"RateLimited":    {Unstable: true, Paced: true},
		"Conflict":       {Unstable: true},
		"SecretNotFound": {},
	} {
		got := JudgeBlock(Outcome{Reason: reason, Paced: true}, 0)
		if got.Unstable != want.Unstable || got.Paced != want.Paced {
			t.Errorf("%s: unstable %t, paced %t", reason, got.Unstable, got.Paced)
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
		if got := Proportional(waited); got != want {
			t.Errorf("after %s: %s, want %s", waited, got, want)
		}
	}
}

func TestJitter(t *testing.T) {
	for random, want := range map[float64]time.Duration{0: 9 * time.Second, 0.5: 10 * time.Second, 1: 11 * time.Second} {
		if got := Jitter(10*time.Second, random); got.Round(time.Millisecond) != want {
			t.Errorf("%v: %s, want %s", random, got, want)
		}
	}
}

func TestJudgeRelease(t *testing.T) {
	for _, test := range []struct {
		usage               Usage
		deletedFor          time.Duration
		release, stillInUse bool
		retryIn             time.Duration
	}{
		{Usage{}, 0, true, false, 0},
		{Usage{Needed: true, Pending: true}, 24 * time.Hour, false, false, 10 * time.Second},
		{Usage{Needed: true}, -time.Hour, false, false, 10 * time.Second}, // the API server's clock is ahead
		{Usage{Needed: true}, 20 * time.Second, false, false, 10 * time.Second},
		{Usage{Needed: true}, 55 * time.Second, false, false, 5 * time.Second},
		{Usage{Needed: true}, time.Minute, true, true, 0},
	} {
		release, stillInUse, retryIn := JudgeRelease(test.usage, test.deletedFor)
		if release != test.release || stillInUse != test.stillInUse || retryIn != test.retryIn {
			t.Errorf("%+v after %s: %t, %t, %s", test.usage, test.deletedFor, release, stillInUse, retryIn)
		}
	}
}
