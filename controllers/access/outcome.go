// SPDX-License-Identifier: Apache-2.0

package access

import (
	"errors"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// OutcomeOf turns what the client of Reporter returned into what the decisions look at.
func OutcomeOf(err error) decision.Outcome {
	if err == nil {
		return decision.Outcome{Reason: v1alpha1.ReasonAvailable}
	}
	return decision.Outcome{Reason: reasonOf(err), Detail: detailOf(err), RetryAfter: reporter.RetryAfter(err), Until: reporter.Until(err),
		Unanswered: reporter.IsUnanswered(err), HeldBack: reporter.IsHeldBack(err), Paced: reporter.IsPaced(err)}
}

func reasonOf(err error) string {
	switch {
	case reporter.IsNotFound(err):
		return v1alpha1.ReasonConnectionNotFound
	case reporter.IsJobInProgress(err):
		return v1alpha1.ReasonJobInProgress
	case reporter.IsNameTaken(err):
		return v1alpha1.ReasonNameTaken
	case reporter.IsInvalid(err):
		return v1alpha1.ReasonInvalidConnection
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

// detailOf is the part of an error that a user can use.
func detailOf(err error) string {
	var e *reporter.Error
	switch {
	case !errors.As(err, &e):
		return "the request failed"
	case reporter.IsWrongPath(err):
		return e.Detail() + ", so this is not the connections API"
	default:
		return e.Detail()
	}
}
