// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"time"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// answer is what one request to Reporter amounts to, or why it could not be made. The zero value proves nothing and keeps
// everything.
type answer int

const (
	answerUnexpected answer = iota
	answerDone              // DELETE: soft-deleted just now. GET: shown. A check of the endpoint: all is well.
	answerAbsent            // 404 FET-1001
	answerJobInProgress
	answerConflict
	answerInvalidID
	answerUnauthorized
	answerForbidden
	answerRateLimited
	answerUnavailable
	answerWrongPath
	answerEndpointNotFound
	answerInvalidEndpoint
	answerSecretNotFound
	answerSecretNotGranted
)

// finding is an answer with what there is to tell about it.
type finding struct {
	answer answer
	// detail is bounded, and the same each time the same thing happens: it becomes part of a status.
	detail string
	// retryAfter is when to come back, if Reporter said so.
	retryAfter time.Duration
	// heldBack says that nothing was sent, as Reporter is known not to answer; paced, as it is to be left alone until retryAfter.
	heldBack, paced bool
}

// attempt is all that the decision about a deletion looks at.
type attempt struct {
	// deletion is the answer to DELETE.
	deletion finding
	// confirmation is the answer to the GET that follows a deletion which found the connection absent.
	confirmation finding
	// seen says whether Reporter ever showed the connection to this resource; seenHere, whether it was at the URL and in the
	// tenant that the attempt was made at.
	seen, seenHere bool
	// configName is the name by which jobs in Reporter know the connection, if it is known.
	configName string
}

// verdict is what follows from an attempt: the finalizer is released, or the deletion is held for a reason.
type verdict struct {
	release bool
	// neverSeen warns that what is released is absent in Reporter and was never seen there: perhaps the id is wrong.
	neverSeen bool

	hold
}

// hold is why something has to wait, and until when at the latest.
type hold struct {
	reason, message string
	comeBack        time.Duration
	// paced says that nothing was sent, as Reporter is to be left alone for comeBack.
	paced bool
	// fickle says that the message may be another the next time although nothing has changed.
	fickle bool
}

const (
	soonest = time.Second
	slowest = 10 * time.Minute
)

// proportional is how long to wait after having waited so long already: an eighth of it. The clock of whoever wrote the start
// of the wait down may be ahead of ours, so a wait may seem negative.
func proportional(waited time.Duration) time.Duration {
	return min(max(waited/8, soonest), slowest)
}

// judgeBrakes says whether a person holds the deletion, or it is not yet due.
func judgeBrakes(rc *v1alpha1.ReporterConnection, endpoint *v1alpha1.ReporterEndpoint, now time.Time) (hold, bool) {
	if rc.Spec.DeletionProtection {
		return held(v1alpha1.ReasonDeletionProtected, "spec.deletionProtection is true. Set it to false to let the deletion go on", slowest), true
	}
	if endpoint == nil {
		return hold{}, false
	}
	if endpoint.Spec.Suspend {
		return held(v1alpha1.ReasonSuspended, fmt.Sprintf("spec.suspend of ReporterEndpoint %q is true. Set it to false to let the deletions go on",
			endpoint.Name), slowest), true
	}
	if endpoint.Spec.DeletionDelay != nil {
		due := rc.DeletionTimestamp.Add(endpoint.Spec.DeletionDelay.Duration)
		if wait := due.Sub(now); wait > 0 {
			return held(v1alpha1.ReasonDeletionDelayed, fmt.Sprintf("the connection is deleted no earlier than %s (spec.deletionDelay of ReporterEndpoint %q), "+
				"and not at all if another resource claims it by then", due.UTC().Format(time.RFC3339), endpoint.Name), wait), true
		}
	}
	return hold{}, false
}

// judgeRelease decides about a deleted Secret or RoleBinding: whether it is released, with a warning if live resources will miss it,
// or when to look again.
func judgeRelease(use use, deletedFor time.Duration) (release, missed bool, comeBack time.Duration) {
	switch {
	case !use.needed:
		return true, false, 0
	case use.pending:
		return false, false, holdInterval
	case deletedFor < releaseGrace:
		return false, false, min(releaseGrace-deletedFor, holdInterval)
	default:
		return true, true, 0
	}
}

// use is what a Secret or a RoleBinding is needed for: needed, if the deletion of some connection will need it; pending, if one does
// now.
type use struct{ needed, pending bool }

const (
	// releaseGrace is how long what is deleted is held for live resources: whoever prunes deletes them within it, and whoever
	// rotates credentials by deleting and creating has to wait no longer than that.
	releaseGrace = time.Minute
	// holdInterval is how often it is looked at in case that no event came.
	holdInterval = 10 * time.Second
)

// judgeDeletion decides about the finalizer. Two answers release it: the connection was soft-deleted just now, or it is proven
// absent. Anything else holds the deletion.
func judgeDeletion(a attempt, waited time.Duration) verdict {
	if a.deletion.answer == answerDone {
		return verdict{release: true}
	}
	if a.deletion.answer != answerAbsent {
		return verdict{hold: judgeHold(a.deletion, a.configName, waited)}
	}
	switch {
	case a.confirmation.answer == answerDone:
		return verdict{hold: hold{
			reason: v1alpha1.ReasonNotDeletable,
			message: "Reporter shows the connection but does not delete it, as it does with connections that are configured on its " +
				"server. Remove it there, or set spec.deletionPolicy to Retain",
			comeBack: slowest,
		}}
	case a.confirmation.answer != answerAbsent:
		return verdict{hold: judgeHold(a.confirmation, a.configName, waited)}
	case a.seen && !a.seenHere:
		return verdict{hold: hold{
			reason: v1alpha1.ReasonAbsenceUnverified,
			message: "Reporter does not have the connection, but it was seen at another URL or in another tenant (status.observedIn), " +
				"so it may be alive there. Restore the endpoint's URL and credentials, or set spec.deletionPolicy to Retain",
			comeBack: slowest,
		}}
	default:
		return verdict{release: true, neverSeen: !a.seen}
	}
}

// judgeHold says what to tell about an answer that is not the one hoped for, and when to ask again.
func judgeHold(f finding, configName string, waited time.Duration) hold {
	switch f.answer {
	case answerJobInProgress:
		return held(v1alpha1.ReasonJobInProgress, fmt.Sprintf("Jobs in Reporter, pending or processing, read from connection %q. "+
			"The deletion goes on by itself when they have ended. A job whose worker died has to be ended in Reporter, or set spec.deletionPolicy to Retain", configName), proportional(waited))
	case answerConflict:
		return varying(v1alpha1.ReasonConflict, "Reporter refuses because of a conflict: "+f.detail, proportional(waited))
	case answerInvalidID:
		return held(v1alpha1.ReasonInvalidConnectionID, "Reporter does not take spec.connectionID for an id, and it cannot be changed. "+
			"Set spec.deletionPolicy to Retain and delete this resource, then create one with the right id", slowest)
	case answerUnauthorized:
		return varying(v1alpha1.ReasonUnauthorized, "Reporter does not accept the credentials: "+f.detail+
			". Correct spec.auth of the ReporterEndpoint or the Secret it names", slowest)
	case answerForbidden:
		return varying(v1alpha1.ReasonForbidden, "Reporter denies the request: "+f.detail+
			". Grant it to the credentials, or correct them", slowest)
	case answerRateLimited:
		return common(v1alpha1.ReasonRateLimited, "Reporter asks for fewer requests: "+f.detail, f, waited)
	case answerUnavailable:
		return common(v1alpha1.ReasonReporterUnavailable, "Reporter is not available: "+f.detail, f, waited)
	case answerWrongPath:
		return varying(v1alpha1.ReasonUnexpectedResponse, "this is not the connections API: "+f.detail+
			". Check spec.url of the ReporterEndpoint", proportional(waited))
	case answerAbsent:
		return held(v1alpha1.ReasonConnectionNotFound, "Reporter has no such connection for these credentials. Soft deletion is final: "+
			"create a connection in Reporter, and a new resource with its id", slowest)
	case answerEndpointNotFound:
		return held(v1alpha1.ReasonEndpointNotFound, f.detail, slowest)
	case answerInvalidEndpoint:
		return held(v1alpha1.ReasonInvalidEndpoint, f.detail, slowest)
	case answerSecretNotFound:
		return held(v1alpha1.ReasonSecretNotFound, f.detail, slowest)
	case answerSecretNotGranted:
		return held(v1alpha1.ReasonSecretNotGranted, f.detail, slowest)
	default:
		return varying(v1alpha1.ReasonUnexpectedResponse, "the answer is not one of Reporter's: "+f.detail+
			". Check spec.url of the ReporterEndpoint, and proxies in between", proportional(waited))
	}
}

func held(reason, message string, comeBack time.Duration) hold {
	return hold{reason: reason, message: message, comeBack: comeBack}
}

// varying is held for a message whose detail depends on how an attempt happened to fail.
func varying(reason, message string, comeBack time.Duration) hold {
	return hold{reason: reason, message: message, comeBack: comeBack, fickle: true}
}

// common is varying for what holds for all that use the same Reporter.
func common(reason, message string, f finding, waited time.Duration) hold {
	h := varying(reason, message, asTold(f, waited))
	h.paced = f.paced
	return h
}

// asTold comes back when Reporter said, within bounds, or else in proportion. Who is called when Reporter answers again need not look
// before.
func asTold(f finding, waited time.Duration) time.Duration {
	switch {
	case f.heldBack:
		return slowest
	case f.retryAfter == 0:
		return proportional(waited)
	default:
		return min(max(f.retryAfter, soonest), slowest)
	}
}
