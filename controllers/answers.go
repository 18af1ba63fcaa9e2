// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// findingOf turns what the client returned into what the decision looks at.
func findingOf(err error) finding {
	if err == nil {
		return finding{answer: answerDone}
	}
	return finding{answer: answerOf(err), detail: detailOf(err), retryAfter: reporter.RetryAfter(err), heldBack: reporter.IsHeldBack(err), paced: reporter.IsPaced(err)}
}

func answerOf(err error) answer {
	switch {
	case reporter.IsNotFound(err):
		return answerAbsent
	case reporter.IsJobInProgress(err):
		return answerJobInProgress
	case reporter.IsConflict(err):
		return answerConflict
	case reporter.IsInvalidID(err):
		return answerInvalidID
	case reporter.IsUnauthorized(err):
		return answerUnauthorized
	case reporter.IsForbidden(err):
		return answerForbidden
	case reporter.IsRateLimited(err):
		return answerRateLimited
	case reporter.IsUnavailable(err):
		return answerUnavailable
	case reporter.IsWrongPath(err):
		return answerWrongPath
	case reporter.IsNotAllowed(err):
		return answerInvalidEndpoint
	default:
		return answerUnexpected
	}
}

// detailOf is the part of an error that a user can use. Reporter's own message is left out: it may name a request or a time,
// and each new text would be a new write.
func detailOf(err error) string {
	var e *reporter.Error
	if !errors.As(err, &e) {
		return "the request failed"
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
