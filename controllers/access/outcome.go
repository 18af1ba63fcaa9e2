// SPDX-License-Identifier: Apache-2.0

package access

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// OutcomeOf turns what the client of Reporter returned into what the decisions look at.
func OutcomeOf(err error) decision.Outcome {
	if err == nil {
		return decision.Outcome{Reason: v1alpha1.ReasonAvailable}
	}
	return decision.Outcome{Reason: reasonOf(err), Detail: detailOf(err), RetryAfter: reporter.RetryAfter(err),
		HeldBack: reporter.IsHeldBack(err), Paced: reporter.IsPaced(err)}
}

func reasonOf(err error) string {
	switch {
	case reporter.IsNotFound(err):
		return v1alpha1.ReasonConnectionNotFound
	case reporter.IsJobInProgress(err):
		return v1alpha1.ReasonJobInProgress
	case reporter.IsConflict(err):
		return v1alpha1.ReasonConflict
	case reporter.IsInvalidID(err):
		return v1alpha1.ReasonInvalidConnectionID
	case reporter.IsUnauthorized(err):
		return v1alpha1.ReasonUnauthorized
	case reporter.IsForbidden(err):
		return v1alpha1.ReasonForbidden
	case reporter.IsRateLimited(err):
		return v1alpha1.ReasonRateLimited
	case reporter.IsUnavailable(err):
		return v1alpha1.ReasonReporterUnavailable
	case reporter.IsNotAllowed(err):
		return v1alpha1.ReasonInvalidEndpoint
	default:
		return v1alpha1.ReasonUnexpectedResponse
	}
}

// detailOf is the part of an error that a user can use. Reporter's own message is left out: it may name a request or a time,
// and each new text would be a new write.
func detailOf(err error) string {
	var e *reporter.Error
	if !errors.As(err, &e) {
		return "the request failed"
	}
	if reporter.IsWrongPath(err) {
		return textOf(e) + ", so this is not the connections API"
	}
	if e.Login {
		return "logging in with the Access Manager: " + textOf(e)
	}
	return textOf(e)
}

func textOf(e *reporter.Error) string {
	status := strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status)))
	switch {
	case e.Err != nil:
		return e.Err.Error()
	case e.Status >= 300 && e.Status < 400:
		return fmt.Sprintf("%d, a redirect, which is not followed", e.Status)
	case e.Status == http.StatusRequestHeaderFieldsTooLarge:
		return status + ": the token is too long, Reporter takes about 4 KB"
	case e.Code != "" && e.Title != "":
		return fmt.Sprintf("%d %s (%s)", e.Status, e.Code, e.Title)
	case e.Code != "":
		return fmt.Sprintf("%d %s", e.Status, e.Code)
	case e.Status == http.StatusOK:
		return "200 with a body that is not the documented one"
	default:
		return status
	}
}
