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
func TestTraits(t *testing.T) {
	tests := map[string]Traits{
		"Available":           {},
		"Duplicate":           {},
		"JobInProgress":       {InReporter: true, Inconclusive: true},
		"Conflict":            {InReporter: true, Inconclusive: true},
		"NotDeletable":        {InReporter: true, ForPerson: true},
		"InvalidConnectionID": {InReporter: true, ForPerson: true, RefusesClaim: true},
		"ConnectionNotFound":  {ForPerson: true, RefusesClaim: true},
		"AbsenceUnverified":   {ForPerson: true},
		"Unauthorized":        {ForPerson: true, RefusesClaim: true},
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
		"InvalidEndpoint":     {Local: true, ForPerson: true},
		"SecretNotFound":      {Local: true, ForPerson: true},
		"SecretNotGranted":    {Local: true, ForPerson: true},
		"InUse":               {Local: true, ForPerson: true},

		"FinalizersRemaining":    {NotReportersDoing: true, ForPerson: true},
		"FinalizerRemovalFailed": {NotReportersDoing: true, ForPerson: true},
	}
	for _, reason := range reasonsOfTheAPI(t) {
		want, found := tests[reason]
		if got := TraitsOf(reason); !found || got != want {
			t.Errorf("%s: %+v, want %+v (%t)", reason, got, want, found)
		}
	}
}
