// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/access"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
)

// memory is what this process knows of a connection that is described, beside what the status says. Without it, as after a restart, something
// is sent or looked for once more.
type memory struct {
	// of is the resource: another may have had its name before.
	of types.UID
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

// memories are those of the resources that describe their connections, one for each name.
type memories struct {
	mu    sync.Mutex
	known map[client.ObjectKey]memory
}

// get returns what is known of a resource.
func (m *memories) get(rc *v1alpha1.ReporterConnection) memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.locked(rc)
}

// locked is get for who has the lock: of another resource of the same name, nothing is known.
func (m *memories) locked(rc *v1alpha1.ReporterConnection) memory {
	if known := m.known[client.ObjectKeyFromObject(rc)]; known.of == rc.UID {
		return known
	}
	return memory{of: rc.UID}
}

// update changes what is known of a resource, and returns it.
func (m *memories) update(rc *v1alpha1.ReporterConnection, change func(*memory)) memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = map[client.ObjectKey]memory{}
	}
	known := m.locked(rc)
	change(&known)
	m.known[client.ObjectKeyFromObject(rc)] = known
	return known
}

// noteRecord notes when the request to create a connection was made that a resource has a record of.
func (m *memories) noteRecord(rc *v1alpha1.ReporterConnection) memory {
	return m.update(rc, func(known *memory) {
		if startedAt := rc.Status.Creation.StartedAt.Time; !known.requested.Equal(startedAt) {
			known.requested, known.learned = startedAt, time.Now()
		}
	})
}

// forget forgets a resource that is gone, and not another of its name that came after it.
func (m *memories) forget(rc *v1alpha1.ReporterConnection) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if name := client.ObjectKeyFromObject(rc); m.known[name].of == rc.UID {
		delete(m.known, name)
	}
}

// forgetGone forgets what a pass has learned of a name that was gone meanwhile.
func (m *memories) forgetGone(name client.ObjectKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.known, name)
}
