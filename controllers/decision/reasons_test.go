// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// reasonsOfTheAPI are the values of the constants ReasonX.
func reasonsOfTheAPI(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../api/v1alpha1/condition_types.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	ast.Inspect(file, func(node ast.Node) bool {
		if spec, is := node.(*ast.ValueSpec); is && strings.HasPrefix(spec.Names[0].Name, "Reason") {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
		}
		return true
	})
	return values
}

func TestEveryReasonHasItsRowAndItsDocs(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	all := reasonsOfTheAPI(t)
	for _, reason := range all {
		if _, found := reasons[reason]; !found {
			t.Errorf("%s has no row in the table of reasons", reason)
		}
		if !strings.Contains(string(readme), "`"+reason+"`") {
			t.Errorf("README.md says nothing about %s", reason)
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		if !slices.Contains(all, reason) {
			t.Errorf("%s is in the table, and is no reason of the API", reason)
		}
	}
}

// What follows from each reason, one row each.
// A text that only tells how an attempt happened to fail is no news, a time is, and one that is over is no longer told.
func TestMessageOver(t *testing.T) {
	until := time.Date(2026, 6, 1, 12, 34, 55, 1, time.UTC)
	const told = "Reporter is not available: 503. It asked to be left alone until 2026-06-01T12:34:56Z"
	for name, test := range map[string]struct {
		outcome Outcome
		known   string
		want    string
	}{
		"at first":                {Outcome{Detail: "503"}, "", "Reporter is not available: 503"},
		"it fails in another way": {Outcome{Detail: "reset"}, "Reporter is not available: 503", "Reporter is not available: 503"},
		"it asks to wait":         {Outcome{Detail: "503", Until: until}, "Reporter is not available: 500", told},
		"the time is over":        {Outcome{Detail: "500"}, told, "Reporter is not available: 500"},
	} {
		test.outcome.Reason = "ReporterUnavailable"
		known := &metav1.Condition{Reason: "ReporterUnavailable", Message: test.known, ObservedGeneration: 1}
		if test.known == "" {
			known = nil
		}
		if got := JudgeBlock(test.outcome, 0).MessageOver(known, 1); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestTraits(t *testing.T) {
	tests := map[string]Traits{
		"Available":           {},
		"Duplicate":           {},
		"JobInProgress":       {InReporter: true, Inconclusive: true},
		"Conflict":            {InReporter: true, Inconclusive: true},
		"NotDeletable":        {InReporter: true, ForPerson: true},
		"InvalidConnectionID": {InReporter: true, ForPerson: true, RefusesClaim: true},
		"ConnectionNotFound":  {ForPerson: true, RefusesClaim: true, Stalled: true},
		"AbsenceUnverified":   {ForPerson: true, Stalled: true},
		"Unauthorized":        {ForPerson: true, RefusesClaim: true, StallsEndpoint: true},
		"Forbidden":           {}, // it refuses no claim: Reporter says so also while its Access Manager fails
		"RateLimited":         {Shared: true, Inconclusive: true},
		"ReporterUnavailable": {Shared: true, Inconclusive: true},
		"UnexpectedResponse":  {Inconclusive: true},
		"Queued":              {Shared: true, NotReportersDoing: true, Inconclusive: true},
		"ClaimUnverified":     {NotReportersDoing: true},
		"DeletionProtected":   {NotReportersDoing: true, ForPerson: true},
		"Suspended":           {NotReportersDoing: true, ForPerson: true},
		"DeletionDelayed":     {NotReportersDoing: true},
		"EndpointNotFound":    {Local: true, ForPerson: true},
		"InvalidEndpoint":     {Local: true, ForPerson: true, StallsEndpoint: true},
		"SecretNotFound":      {Local: true, ForPerson: true},
		"SecretNotGranted":    {Local: true, ForPerson: true},
		"InUse":               {Local: true, ForPerson: true},

		"Creating":            {Inconclusive: true},
		"NameTaken":           {InReporter: true, ForPerson: true, Stalled: true},
		"TakenOver":           {InReporter: true, ForPerson: true, Stalled: true},
		"InvalidConnection":   {InReporter: true, ForPerson: true, Stalled: true},
		"TestSucceeded":       {},
		"TestFailed":          {InReporter: true, ForPerson: true},
		"NotApplied":          {InReporter: true, ForPerson: true, Stalled: true},
		"CreationUnverified":  {ForPerson: true, Stalled: true},
		"ManagementForbidden": {Local: true, ForPerson: true, Stalled: true},
		"HostNotAllowed":      {Local: true, ForPerson: true, Stalled: true},

		"FinalizersRemaining":    {NotReportersDoing: true, ForPerson: true},
		"FinalizerRemovalFailed": {NotReportersDoing: true, ForPerson: true},
		"HandOverFailed":         {NotReportersDoing: true, ForPerson: true},
	}
	for _, reason := range reasonsOfTheAPI(t) {
		want, found := tests[reason]
		if got := TraitsOf(reason); !found || got != want {
			t.Errorf("%s: %+v, want %+v (%t)", reason, got, want, found)
		}
	}
}
