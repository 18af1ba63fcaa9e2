// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Exchange is a request that was sent, or that could not be sent for want of a connection, and what came of it. Nothing of its headers and
// bodies is in it.
type Exchange struct {
	// User is the one of the Pool for whom it was sent.
	User string
	// Operation is what it was for, one of Operations.
	Operation string
	// Outcome is what the answer means, one of Outcomes. OutcomeOK is the documented success.
	Outcome string
	Method  string
	Path    string
	// Status is the HTTP status, 0 where there was no answer.
	Status int
	// RequestID was sent in the header X-Request-Id.
	RequestID string
	// Took is the time from dialling to the last byte of the answer, without the time that permission took.
	Took time.Duration
}

// What requests are for.
const (
	OperationChange = "change"
	OperationCheck  = "check"
	OperationCreate = "create"
	OperationDelete = "delete"
	OperationGet    = "get"
	OperationList   = "list"
	OperationLogin  = "login"
	OperationTest   = "test"
)

// Operations are all there are.
var Operations = []string{OperationChange, OperationCheck, OperationCreate, OperationDelete, OperationGet, OperationList, OperationLogin, OperationTest}

func (r request) operation() string {
	switch {
	case r.probe:
		return OperationCheck
	case r.path == loginPath:
		return OperationLogin
	case r.method == http.MethodDelete:
		return OperationDelete
	case r.method == http.MethodPatch:
		return OperationChange
	case r.method == http.MethodPost && r.path == connectionsPath:
		return OperationCreate
	case r.method == http.MethodPost:
		return OperationTest
	case r.path == connectionsPath:
		return OperationList
	default:
		return OperationGet
	}
}

// success is the documented one.
func (r request) success() int {
	switch r.operation() {
	case OperationCreate:
		return http.StatusCreated
	case OperationDelete:
		return http.StatusNoContent
	default:
		return http.StatusOK
	}
}

// What comes of requests, beside the kinds of errors.
const (
	OutcomeOK       = "ok"
	outcomeNoAnswer = "no_answer"
)

// outcomes are the kinds of errors as outcomes. Only an answer is a server error: that there is none is another outcome.
var outcomes = map[kind]string{
	kindUnexpected:          "unexpected_response",
	kindNotFound:            "not_found",
	kindJobInProgress:       "job_in_progress",
	kindConflict:            "conflict",
	kindInvalidID:           "invalid_id",
	kindUnauthorized:        "unauthorized",
	kindForbidden:           "forbidden",
	kindRateLimited:         "rate_limited",
	kindUnavailable:         "server_error",
	kindWrongPath:           "wrong_path",
	kindNotAllowed:          "not_allowed",
	kindNameTaken:           "name_taken",
	kindInvalid:             "invalid",
	kindDatabaseUnreachable: "database_unreachable",
}

// Outcomes returns all there are.
func Outcomes() []string {
	all := []string{OutcomeOK, outcomeNoAnswer}
	for _, outcome := range outcomes {
		all = append(all, outcome)
	}
	return all
}

// outcomeOf is what an answer means, or that there is none.
func outcomeOf(r request, a *answer, err error) string {
	var e *Error
	operation := r.operation()
	switch {
	case a == nil && errors.As(err, &e) && e.kind != kindUnavailable:
		return outcomes[e.kind]
	case a == nil:
		return outcomeNoAnswer
	case a.status == r.success() && (operation == OperationDelete || a.isJSON()):
		return OutcomeOK
	case operation == OperationLogin:
		e = a.asLoginError()
	case operation == OperationTest:
		e = a.asTestError()
	default:
		e = a.asError()
	}
	return outcomes[e.kind]
}

// report says what came of a request, unless it was not permitted.
func (t *transport) report(ctx context.Context, d *delivery, e Exchange, a *answer, err error) {
	if t.exchanged == nil || d.refusal != nil {
		return
	}
	e.User, e.Operation, e.Outcome, e.Took = t.user, d.request.operation(), outcomeOf(d.request, a, err), time.Since(d.since)-d.permission
	if a != nil {
		e.Status = a.status
	}
	t.exchanged(ctx, e)
}
