// SPDX-License-Identifier: Apache-2.0

// Package decision decides what to do about what was seen: pure functions from values to verdicts, without a client, a clock or a logger.
// Its table of reasons says what follows from each of them wherever it stands.
package decision

import (
	"time"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// Outcome is what one request to Reporter amounts to, or why it could not be made. The zero value proves nothing and keeps everything.
type Outcome struct {
	// Reason is that of the conditions: ReasonAvailable where DELETE deleted, GET showed the connection, or a check found all well;
	// ReasonConnectionNotFound where Reporter itself says that it has no such connection.
	Reason string
	// Detail is bounded, and the same each time the same thing happens: it becomes part of a status.
	Detail string
	// RetryAfter is when to try again, if Reporter said so; Until is that time, where messages name it.
	RetryAfter time.Duration
	Until      time.Time
	// Unanswered says that no answer came, be it that nothing was sent.
	Unanswered bool
	// HeldBack says that nothing was sent, as Reporter is known not to answer.
	HeldBack bool
	// Paced says that nothing was sent, as Reporter is to be left alone until RetryAfter.
	Paced bool
}

// IsDone says whether the request did what it was for.
func (o Outcome) IsDone() bool { return o.Reason == v1alpha1.ReasonAvailable }

// IsAbsent says whether Reporter has no such connection for these credentials.
func (o Outcome) IsAbsent() bool { return o.Reason == v1alpha1.ReasonConnectionNotFound }

// IsTroubled says whether an outcome speaks against the endpoint itself, and not only for or against one connection.
func (o Outcome) IsTroubled() bool {
	return !o.IsDone() && !o.IsAbsent() && !TraitsOf(o.Reason).InReporter
}

// Block is why something has to wait.
type Block struct {
	Reason, Message string
	// RetryIn is when to try again at the latest, 0 for the next routine check.
	RetryIn time.Duration
	// Unstable says that the message may be another the next time although nothing has changed.
	Unstable bool
	// Paced says that nothing was sent, as Reporter is to be left alone for RetryIn.
	Paced bool
}
