// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"strings"
	"testing"
	"time"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

func TestJudgeCreation(t *testing.T) {
	const waited = 80 * time.Second // proportionally: 10s
	tests := map[string]struct {
		outcome      Outcome
		mayHaveActed bool
		step         CreationStep
		reason       string
		says         string
		retryIn      time.Duration // not looked at of Creating
	}{
		"201": {outcome: done, step: CreationDone},

		"not sent":                      {outcome: Outcome{Reason: "ReporterUnavailable", Detail: "connection refused", Unanswered: true}, step: CreationRefused, reason: "ReporterUnavailable", says: "connection refused", retryIn: 10 * time.Second},
		"not sent, as it is down":       {outcome: Outcome{Reason: "ReporterUnavailable", HeldBack: true}, step: CreationRefused, reason: "ReporterUnavailable", retryIn: 10 * time.Minute},
		"not sent, as it is left alone": {outcome: Outcome{Reason: "RateLimited", RetryAfter: 42 * time.Second, Paced: true}, step: CreationRefused, reason: "RateLimited", retryIn: 42 * time.Second},
		"400":                           {outcome: Outcome{Reason: "InvalidConnection", Detail: "host, port"}, step: CreationRefused, reason: "InvalidConnection", says: "host, port", retryIn: 10 * time.Minute},
		"401":                           {outcome: Outcome{Reason: "Unauthorized", Detail: "401 Unauthorized"}, step: CreationRefused, reason: "Unauthorized", says: "401 Unauthorized", retryIn: 10 * time.Minute},
		"403":                           {outcome: Outcome{Reason: "Forbidden", Detail: "403 Forbidden"}, step: CreationRefused, reason: "Forbidden", says: "403 Forbidden", retryIn: 10 * time.Second},
		"404 with a number as code":     {outcome: Outcome{Reason: "UnexpectedResponse", Detail: "404 404"}, step: CreationRefused, reason: "UnexpectedResponse", says: "404 404", retryIn: 10 * time.Second},
		"409 FET-1002":                  {outcome: Outcome{Reason: "NameTaken"}, step: CreationNameTaken},
		"409 with another code":         {outcome: Outcome{Reason: "Conflict", Detail: "409 FET-1099"}, step: CreationRefused, reason: "Conflict", says: "409 FET-1099", retryIn: 10 * time.Second},
		"429":                           {outcome: Outcome{Reason: "RateLimited", Detail: "429", RetryAfter: 42 * time.Second}, step: CreationRefused, reason: "RateLimited", says: "429", retryIn: 42 * time.Second},

		"no answer":                   {outcome: Outcome{Reason: "ReporterUnavailable", Detail: "no answer within 10s", Unanswered: true}, mayHaveActed: true, step: CreationUnknown, reason: "Creating", says: "no answer within 10s"},
		"500":                         {outcome: Outcome{Reason: "ReporterUnavailable", Detail: "500"}, mayHaveActed: true, step: CreationUnknown, reason: "Creating", says: "500"},
		"503, to be asked later":      {outcome: Outcome{Reason: "ReporterUnavailable", RetryAfter: time.Hour}, mayHaveActed: true, step: CreationUnknown, reason: "Creating"},
		"201 with another body":       {outcome: Outcome{Detail: "201 with another body"}, mayHaveActed: true, step: CreationUnknown, reason: "Creating", says: "201 with another body"},
		"400 of a proxy":              {outcome: Outcome{Reason: "InvalidConnection"}, mayHaveActed: true, step: CreationUnknown, reason: "Creating"},
		"403 of a proxy":              {outcome: Outcome{Reason: "Forbidden"}, mayHaveActed: true, step: CreationUnknown, reason: "Creating"},
		"409 in a form not its own":   {outcome: Outcome{Reason: "NameTaken"}, mayHaveActed: true, step: CreationUnknown, reason: "Creating"},
		"a reason that is none known": {outcome: Outcome{Reason: "x", Detail: "x"}, mayHaveActed: true, step: CreationUnknown, reason: "Creating", says: "x"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			expectCreation(t, JudgeCreation(test.outcome, test.mayHaveActed, waited), test.step, test.reason, test.says, test.retryIn)
		})
	}
}

// expectCreation checks a verdict. Whoever says Creating looks again by himself; how soon is said where a time is given.
func expectCreation(t *testing.T, got CreationVerdict, step CreationStep, reason, says string, retryIn time.Duration) {
	t.Helper()
	if got.Step != step || got.Reason != reason || !strings.Contains(got.Message, says) {
		t.Errorf("step %d, %s (%s); want %d, %s (…%s…)", got.Step, got.Reason, got.Message, step, reason, says)
	}
	if retryIn == 0 && reason == "Creating" {
		if got.RetryIn <= 0 {
			t.Error("nothing looks again")
		}
		return
	}
	if got.RetryIn != retryIn {
		t.Errorf("again in %s, want %s", got.RetryIn, retryIn)
	}
}

func TestJudgeSearch(t *testing.T) {
	const (
		waited = 80 * time.Second // proportionally: 10s
		url    = "http://reporter.internal:4006"
	)
	due := created.Add(10*time.Second + 2*time.Minute) // the endpoint's timeout, and two minutes
	before, after := due.Add(-5*time.Second), due.Add(time.Second)
	tests := map[string]struct {
		search  Search
		step    CreationStep
		reason  string
		says    string
		retryIn time.Duration // not looked at of Creating if it is 0
	}{
		"at another place":                 {search: Search{Outcome: done, Began: before}, step: CreationUnknown, reason: "CreationUnverified", says: url, retryIn: 10 * time.Minute},
		"at another place, when it is due": {search: Search{Outcome: done, Began: after}, step: CreationUnknown, reason: "CreationUnverified", says: "reporter.lerian.studio/abandon", retryIn: 10 * time.Minute},
		"at another place, and found":      {search: Search{Outcome: done, Found: 1, Began: after}, step: CreationUnknown, reason: "CreationUnverified", says: url, retryIn: 10 * time.Minute},

		"found":                            {search: Search{Outcome: done, Found: 1, IsSamePlace: true, Began: before}, step: CreationDone},
		"found, when it is due":            {search: Search{Outcome: done, Found: 1, IsSamePlace: true, Began: after}, step: CreationDone},
		"found twice":                      {search: Search{Outcome: done, Found: 2, IsSamePlace: true, Began: before}, step: CreationDone},
		"absent, in a look begun in time":  {search: Search{Outcome: done, IsSamePlace: true, Began: after}, step: CreationLost, reason: "Creating"},
		"absent, earlier":                  {search: Search{Outcome: done, IsSamePlace: true, Began: before}, step: CreationUnknown, reason: "Creating", retryIn: 5 * time.Second},
		"absent, at once":                  {search: Search{Outcome: done, IsSamePlace: true, Began: created}, step: CreationUnknown, reason: "Creating"},
		"absent, just before it is due":    {search: Search{Outcome: done, IsSamePlace: true, Began: due.Add(-time.Second)}, step: CreationUnknown, reason: "Creating", retryIn: time.Second},
		"no answer":                        {search: Search{Outcome: Outcome{Reason: "ReporterUnavailable", Detail: "503"}, IsSamePlace: true, Began: after}, step: CreationUnknown, reason: "ReporterUnavailable", says: "503", retryIn: 10 * time.Second},
		"an answer that is not Reporter's": {search: Search{Outcome: Outcome{Detail: "200 with another body"}, IsSamePlace: true, Began: after}, step: CreationUnknown, reason: "UnexpectedResponse", says: "200 with another body", retryIn: 10 * time.Second},
		"nothing was asked":                {search: Search{IsSamePlace: true, Began: after}, step: CreationUnknown, reason: "UnexpectedResponse", retryIn: 10 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.search.URL, test.search.Due = url, due
			expectCreation(t, JudgeSearch(test.search, waited), test.step, test.reason, test.says, test.retryIn)
		})
	}

	// A deletion without an id, and without a record of a request, takes one look.
	for name, test := range map[string]struct {
		outcome Outcome
		found   int
		step    CreationStep
	}{
		"found":     {outcome: done, found: 1, step: CreationDone},
		"absent":    {outcome: done, step: CreationLost},
		"no answer": {outcome: Outcome{Reason: "ReporterUnavailable"}, step: CreationUnknown},
	} {
		if got := JudgeSearch(Search{Outcome: test.outcome, Found: test.found, IsSamePlace: true}, waited); got.Step != test.step {
			t.Errorf("%s without a record: step %d, want %d", name, got.Step, test.step)
		}
	}
	if LateBy != 2*time.Minute || OwedAfter != 10*time.Minute {
		t.Errorf("a request may be carried out %s late, and another look is due after %s", LateBy, OwedAfter)
	}
}

func TestJudgeNamesake(t *testing.T) {
	const id = "019996b8-f3d1-7d2b-a192-6e91464d82fc"
	const never, byName = v1alpha1.AdoptionPolicy("Never"), v1alpha1.AdoptionPolicy("ByName")
	tests := map[string]struct {
		namesake Namesake
		step     HoldingStep
		reason   string
		says     []string
		tellsID  bool
	}{
		"our mark":                               {namesake: Namesake{Owner: OwnedBySelf, Policy: never}, step: HoldingTakenOver},
		"our mark, and it is seen elsewhere":     {namesake: Namesake{Owner: OwnedBySelf, Policy: never, Elsewhere: "a ReporterConnection in another namespace"}, step: HoldingTakenOver},
		"our mark, of one that is gone":          {namesake: Namesake{Owner: OwnedByFormer, Policy: never}, step: HoldingTakenOver},
		"a sibling's":                            {namesake: Namesake{Owner: OwnedBySibling, Sibling: "older", Policy: never}, reason: "Duplicate", says: []string{"older"}},
		"a sibling's, by name":                   {namesake: Namesake{Owner: OwnedBySibling, Sibling: "older", Policy: byName}, reason: "Duplicate", says: []string{"older"}},
		"no mark, by name":                       {namesake: Namesake{Owner: OwnedByNobody, Policy: byName}, step: HoldingTakenOver},
		"another's, by name":                     {namesake: Namesake{Owner: OwnedByAnother, Policy: byName}, step: HoldingTakenOver},
		"no mark, by name, seen elsewhere":       {namesake: Namesake{Owner: OwnedByNobody, Policy: byName, Elsewhere: "a ReporterConnection in another namespace"}, reason: "NameTaken", says: []string{"ledger-db"}},
		"another's, by name, seen elsewhere":     {namesake: Namesake{Owner: OwnedByAnother, Policy: byName, Elsewhere: "a ReporterConnection in another namespace"}, reason: "NameTaken", says: []string{"ledger-db"}},
		"no mark":                                {namesake: Namesake{Owner: OwnedByNobody, Policy: never}, reason: "NameTaken", says: []string{"ledger-db", "adoptionPolicy", "ByName", "describe another name"}, tellsID: true},
		"no mark, without a policy":              {namesake: Namesake{Owner: OwnedByNobody}, reason: "NameTaken", says: []string{"ledger-db"}, tellsID: true},
		"another's":                              {namesake: Namesake{Owner: OwnedByAnother, Policy: never}, reason: "NameTaken", says: []string{"ledger-db", "adoptionPolicy", "ByName", "describe another name"}},
		"configured on the server, by name":      {namesake: Namesake{Owner: OwnedByNobody, Policy: byName, IsConfigured: true}, reason: "NameTaken", says: []string{"ledger-db", "on its server", "describe another name"}},
		"another's, without a policy":            {namesake: Namesake{Owner: OwnedByAnother}, reason: "NameTaken", says: []string{"ledger-db"}},
		"another's, by a policy that is unknown": {namesake: Namesake{Owner: OwnedByAnother, Policy: "Always"}, reason: "NameTaken"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.namesake.Found, test.namesake.ID, test.namesake.Name = true, id, "ledger-db"
			got := JudgeNamesake(test.namesake)
			if got.Step != test.step || got.Reason != test.reason {
				t.Errorf("step %d, %s; want %d, %s", got.Step, got.Reason, test.step, test.reason)
			}
			for _, text := range test.says {
				if !strings.Contains(got.Message, text) {
					t.Errorf("it says %q, and nothing of %q", got.Message, text)
				}
			}
			if got := strings.Contains(got.Message, id); got != test.tellsID {
				t.Errorf("the id is told: %t, want %t", got, test.tellsID)
			}
		})
	}
	// It may have gone since the name was taken.
	if got := JudgeNamesake(Namesake{Name: "ledger-db", Policy: byName}); got.Step != HoldingBlocked || got.Reason != "Creating" || got.RetryIn <= 0 {
		t.Errorf("of one that is not found: step %d, %s, again in %s", got.Step, got.Reason, got.RetryIn)
	}
}
