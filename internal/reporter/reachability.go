// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// testTimeout is how long a Test may take, whatever the timeout of the client: Reporter gives a database 10 seconds.
const testTimeout = 15 * time.Second

// Test has Reporter connect to the database of a connection, and returns nil if that succeeded. IsDatabaseUnreachable says that it did
// not, or that the database did not take the password; Reporter tells no difference. One test of a Reporter is made at a time, and
// what comes of it says nothing of whether Reporter answers, nor of how much it takes.
func (c *Client) Test(ctx context.Context, id string) error {
	r := request{method: http.MethodPost, aside: true}
	path, err := c.connectionPath(r.method, id)
	if err != nil {
		return err
	}
	r.path = path + "/test"
	select {
	case c.tests <- struct{}{}:
		defer func() { <-c.tests }()
	case <-ctx.Done():
		return &Error{Method: r.method, Path: c.shownPath(r.path), kind: kindUnavailable, Err: ctx.Err()}
	}
	if held := c.held(ctx, r); held != nil {
		return held
	}
	patient := *c
	patient.timeout = testTimeout
	answer, err := patient.call(ctx, r)
	if err != nil {
		return err
	}
	var result struct {
		Status json.RawMessage `json:"status"`
	}
	if !answer.decode(http.StatusOK, &result) || valueOf[string](result.Status) != "success" {
		return answer.asTestError()
	}
	return nil
}

// asTestError is asError for the answer to a test. Its message is left out: the driver of a database may quote what it was given.
func (a *answer) asTestError() *Error {
	e := a.asError()
	e.Message = ""
	var body struct {
		Code json.RawMessage `json:"code"`
	}
	_ = a.decodeBody(&body) // or nothing is in it
	switch {
	case a.status == http.StatusInternalServerError && valueOf[int](body.Code) == http.StatusInternalServerError:
		e.kind = kindDatabaseUnreachable
	case a.status == http.StatusBadRequest && e.kind == kindUnexpected && isCode(body.Code):
		e.kind = kindInvalid
	}
	return e
}
