// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/access"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
)

// memory is what this process knows of a connection that is described, beside what the status says. Without it, as after a restart, something
// is sent or looked for once more.
type memory struct {
	// requested is when the connection was last asked to be created, by the record of that; learned, when this process learned of it.
	requested, learned time.Time
	// unanswered is when a change was last sent that had no answer, zero if there is none that Reporter may still carry out.
	unanswered time.Time
	// unansweredSince is when the first of such changes was sent that no answer came to, and changeAgain, when the next may be.
	unansweredSince, changeAgain time.Time
	// sent stands for the contents of the Secrets that were last sent.
	sent [sha256.Size]byte
	// tested is what Reporter has answered to a test, and of which state of the connection, by status.sent.
	tested struct {
		sent    string
		verdict decision.TestVerdict
	}
	// refused is a description that Reporter has refused.
	refused refusal
	// lookedForTwins is when it was last looked for other connections that were created for the resource.
	lookedForTwins time.Time
	// nobodys is a connection that has the mark of the resource and another name, and was told of.
	nobodys string
}

// refusal is why a description was refused. It is not sent again until it, its Secrets or what is asked for change.
type refusal struct {
	key   string
	block decision.Block
}

func refusalKey(rc *v1alpha1.ReporterConnection, credentials access.DatabaseCredentials) string {
	return fmt.Sprint(rc.Generation, credentials.Version, rc.Annotations[v1alpha1.RequestedAtAnnotation])
}

// since is the later of when the connection was asked to be created and when this process learned of it: clocks differ.
func (m *memory) since() time.Time {
	if m.requested.After(m.learned) {
		return m.requested
	}
	return m.learned
}

// noteUnanswered notes that a change had no answer. Until the next, it takes an eighth of the time for which none had one.
func (m *memory) noteUnanswered(now time.Time) {
	m.unanswered = now
	if m.unansweredSince.IsZero() {
		m.unansweredSince = now
	}
	m.changeAgain = now.Add(decision.Proportional(now.Sub(m.unansweredSince)))
}

// isYoung says whether this process has asked for the connection so recently that a Reporter may not show it yet.
func (m *memory) isYoung(now time.Time) bool {
	return !m.learned.IsZero() && now.Sub(m.learned) < decision.LateBy
}

// memoryOf returns what is known of a resource.
func (r *Reconciler) memoryOf(rc *v1alpha1.ReporterConnection) memory {
	known, _ := r.memories.get(rc)
	return known
}

// noteRequest notes when the request to create a connection was made that a resource has a record of, and returns what is known then. What is
// forgotten already was learned of just now.
func (r *Reconciler) noteRequest(rc *v1alpha1.ReporterConnection) memory {
	noted := memory{requested: rc.Status.Creation.StartedAt.Time, learned: time.Now()}
	r.memories.update(rc, func(known *memory) {
		if !known.requested.Equal(noted.requested) {
			known.requested, known.learned = noted.requested, noted.learned
		}
		noted = *known
	})
	return noted
}
