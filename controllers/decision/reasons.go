// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"strings"
	"time"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// Traits are what follows from a reason, whatever the resource.
type Traits struct {
	// Shared: it holds for everything that uses the same Reporter, so thousands of resources may say it in the same moment.
	Shared bool
	// NotReportersDoing: a person blocks the deletion, it is not due, it is queued, or a claim is not looked up yet. How long that took says
	// nothing about how long Reporter will take.
	NotReportersDoing bool
	// Local: something in the cluster is missing or cannot be used. Its change wakes whoever waits for it.
	Local bool
	// InReporter: Reporter has answered, and what blocks is inside it. That it answers again changes nothing.
	InReporter bool
	// RefusesClaim: Reporter has answered a look-up, and did not show the connection to these credentials.
	RefusesClaim bool
	// ForPerson: it does not end by itself, so it is tried again after MaxDelay.
	ForPerson bool
	// Stalled: nothing in progress ends it. Whoever waits for the ReporterConnection need not wait any longer.
	Stalled bool
	// StallsEndpoint: the same of a ReporterEndpoint. A ReporterConnection that is told the reason is not stalled: its endpoint may be
	// corrected, or replaced, in the same sync.
	StallsEndpoint bool
	// Inconclusive: it says nothing about whether the connection is there.
	Inconclusive bool
}

// TraitsOf returns what follows from a reason; of one that is not in the table, nothing does.
func TraitsOf(reason string) Traits { return reasons[reason].Traits }

// row is what there is to know of a reason: its traits, and what a condition says about it.
type row struct {
	Traits
	// message is what a condition says, with the detail of the outcome in place of {detail}.
	message string
	// unstable says that the detail depends on how an attempt happened to fail.
	unstable bool
}

// reasons is the one table of them: every reason of the API has its row.
var reasons = map[string]row{
	v1alpha1.ReasonAvailable: {message: "Reporter shows the connection"},
	v1alpha1.ReasonDuplicate: {message: "{detail}"},

	v1alpha1.ReasonJobInProgress: {Traits: Traits{InReporter: true, Inconclusive: true},
		message: "Jobs in Reporter, pending or processing, read from {detail}. The operator goes on by itself when they have ended. " +
			"A job whose worker died has to be ended in Reporter"},
	v1alpha1.ReasonConflict: {Traits: Traits{InReporter: true, Inconclusive: true}, unstable: true,
		message: "Reporter refuses because of a conflict: {detail}"},
	v1alpha1.ReasonNotDeletable: {Traits: Traits{InReporter: true, ForPerson: true},
		message: "Reporter shows the connection but does not delete it, as it does with connections that are configured on its server. " +
			"Remove it there, or set spec.deletionPolicy to Retain"},
	v1alpha1.ReasonInvalidConnectionID: {Traits: Traits{InReporter: true, RefusesClaim: true, ForPerson: true},
		message: "Reporter does not accept spec.connectionID as an id, and it cannot be changed. " +
			"Set spec.deletionPolicy to Retain and delete this resource, then create one with the right id"},
	v1alpha1.ReasonConnectionNotFound: {Traits: Traits{RefusesClaim: true, ForPerson: true, Stalled: true},
		message: "Reporter has no such connection for these credentials. Soft deletion is final: " +
			"create a connection in Reporter, and a new resource with its id"},
	v1alpha1.ReasonAbsenceUnverified: {Traits: Traits{ForPerson: true, Stalled: true},
		message: "Reporter does not have the connection, but it was seen at another URL or in another tenant (status.observedIn), " +
			"so it may be alive there. Restore the endpoint's URL and credentials, or set spec.deletionPolicy to Retain"},
	v1alpha1.ReasonCreating: {Traits: Traits{Inconclusive: true}, unstable: true,
		message: "Reporter was asked to create the connection, and {detail}. The operator looks again by itself"},
	v1alpha1.ReasonNameTaken: {Traits: Traits{InReporter: true, ForPerson: true, Stalled: true},
		message: "Reporter has a connection {detail}"},
	v1alpha1.ReasonTakenOver: {Traits: Traits{InReporter: true, ForPerson: true, Stalled: true},
		message: "Somebody else has taken the connection over: status.takenOverBy has the mark. Nothing is changed. " +
			"Set the annotation reporter.lerian.studio/takeBack to a new value to take it back"},
	v1alpha1.ReasonInvalidConnection: {Traits: Traits{InReporter: true, ForPerson: true, Stalled: true},
		message: "The connection cannot be as it is described: {detail}. Correct spec.connection"},
	v1alpha1.ReasonNotApplied: {Traits: Traits{InReporter: true, ForPerson: true, Stalled: true},
		message: "Reporter accepted the change, and shows another value all the same of: {detail}"},
	v1alpha1.ReasonCreationUnverified: {Traits: Traits{ForPerson: true, Stalled: true},
		message: "It is not known what came of the request to create the connection at {detail}, and the endpoint leads elsewhere now, or has other credentials. " +
			"Restore them, or set the annotation reporter.lerian.studio/abandon to that URL"},
	v1alpha1.ReasonManagementForbidden: {Traits: Traits{Local: true, ForPerson: true, Stalled: true},
		message: "spec.managementPolicy of ReporterEndpoint {detail} is DeleteOnly, so the connection is neither created nor changed. Set it to Full, or name another endpoint"},
	v1alpha1.ReasonHostNotAllowed: {Traits: Traits{Local: true, ForPerson: true, Stalled: true}, message: "{detail}"},

	v1alpha1.ReasonTestSucceeded: {message: "Reporter has connected to the database"},
	v1alpha1.ReasonTestFailed: {Traits: Traits{InReporter: true, ForPerson: true},
		message: "Reporter could not connect to the database, or the database did not take the user name and the password. " +
			"Correct spec.connection or its Secret: it is tested again when they change, or when the annotation reporter.lerian.studio/requestedAt does"},

	v1alpha1.ReasonUnauthorized: {Traits: Traits{RefusesClaim: true, ForPerson: true, StallsEndpoint: true}, unstable: true,
		message: "Reporter does not accept the credentials: {detail}. Correct spec.auth of the ReporterEndpoint or the Secret it names"},
	v1alpha1.ReasonForbidden: {unstable: true,
		message: "Reporter denies the request: {detail}. Grant it to the credentials, or correct them"},

	v1alpha1.ReasonRateLimited: {Traits: Traits{Shared: true, Inconclusive: true}, unstable: true,
		message: "Reporter asks for fewer requests: {detail}"},
	v1alpha1.ReasonReporterUnavailable: {Traits: Traits{Shared: true, Inconclusive: true}, unstable: true,
		message: "Reporter is not available: {detail}"},
	v1alpha1.ReasonUnexpectedResponse: {Traits: Traits{Inconclusive: true}, unstable: true,
		message: "The response is not one of Reporter's: {detail}. Check spec.url of the ReporterEndpoint, and proxies in between"},

	v1alpha1.ReasonQueued: {Traits: Traits{Shared: true, NotReportersDoing: true, Inconclusive: true},
		message: "The deletion waits in the queue for this Reporter, which gets no more requests than {detail} and its own limit allow. " +
			"It goes on by itself"},
	v1alpha1.ReasonClaimUnverified: {Traits: Traits{NotReportersDoing: true},
		message: "A ReporterConnection in another namespace names the connection too, and has not been looked up yet. " +
			"The deletion goes on by itself when it has been, or after ten minutes in all"},
	v1alpha1.ReasonDeletionProtected: {Traits: Traits{NotReportersDoing: true, ForPerson: true},
		message: "spec.deletionProtection is true. Set it to false to let the deletion go on"},
	v1alpha1.ReasonSuspended: {Traits: Traits{NotReportersDoing: true, ForPerson: true},
		message: "spec.suspend{detail} is true. Set it to false to let the operator go on"},
	v1alpha1.ReasonDeletionDelayed: {Traits: Traits{NotReportersDoing: true},
		message: "The connection is deleted no earlier than {detail}, and not at all if another resource claims it by then: one of another name, " +
			"as this one holds its own until it is gone. To keep the connection, set spec.deletionPolicy to Retain"},

	v1alpha1.ReasonFinalizersRemaining: {Traits: Traits{NotReportersDoing: true, ForPerson: true},
		message: "The operator has done its part: {detail}. Each is for whoever put it there to remove"},
	v1alpha1.ReasonFinalizerRemovalFailed: {Traits: Traits{NotReportersDoing: true, ForPerson: true}, unstable: true,
		message: "The API server refuses to remove the operator's finalizer, although {detail}. " +
			"Exempt the operator's ServiceAccount from what refuses it"},

	v1alpha1.ReasonHandOverFailed: {Traits: Traits{NotReportersDoing: true, ForPerson: true}, unstable: true,
		message: "The connection stays with {detail}: it goes on claiming it, and the API server refuses the operator's finalizer on it. " +
			"Exempt the operator's ServiceAccount from what refuses it"},

	v1alpha1.ReasonEndpointNotFound: {Traits: Traits{Local: true, ForPerson: true}, message: "{detail}"},
	v1alpha1.ReasonInvalidEndpoint:  {Traits: Traits{Local: true, ForPerson: true, StallsEndpoint: true}, message: "{detail}"},
	v1alpha1.ReasonSecretNotFound:   {Traits: Traits{Local: true, ForPerson: true}, message: "{detail}"},
	v1alpha1.ReasonSecretNotGranted: {Traits: Traits{Local: true, ForPerson: true}, message: "{detail}"},
	v1alpha1.ReasonInUse: {Traits: Traits{Local: true, ForPerson: true},
		message: "{detail} need this endpoint for their deletion. It is released when they are gone, name another endpoint, or have spec.deletionPolicy Retain"},
}

// BlockFor is the block for a reason, with a detail for its message: after retryIn for what ends by itself, after MaxDelay otherwise.
func BlockFor(reason, detail string, retryIn time.Duration) Block {
	row := reasons[reason]
	if row.ForPerson {
		retryIn = MaxDelay
	}
	return Block{Reason: reason, Message: strings.ReplaceAll(row.message, "{detail}", fit(detail)), RetryIn: retryIn, Unstable: row.unstable}
}

// maxDetail bounds a detail, in runes. The API server takes no message of more than 32 KiB, and with it no status.
const maxDetail = 4096

// fit makes a detail fit for a message, whoever it comes from.
func fit(detail string) string {
	printable := []rune(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, detail))
	return string(printable[:min(len(printable), maxDetail)])
}

// JudgeBlock says what an outcome that is not the one hoped for means to whoever waits for it, and when to ask again after having
// waited so long already.
func JudgeBlock(o Outcome, waited time.Duration) Block {
	if _, known := reasons[o.Reason]; !known || o.IsDone() {
		o.Reason = v1alpha1.ReasonUnexpectedResponse
	}
	block := BlockFor(o.Reason, o.Detail, Proportional(waited))
	if TraitsOf(o.Reason).Shared {
		block.RetryIn, block.Paced = retryIn(o, waited), o.Paced
	}
	if !o.Until.IsZero() { // the same for all that the same answer blocks
		block.Message += askedToWait + o.Until.Add(time.Second-1).UTC().Truncate(time.Second).Format(time.RFC3339)
		block.Unstable = false
	}
	return block
}

// askedToWait goes before the time until which Reporter asked to be left alone.
const askedToWait = ". It asked to be left alone until "

// MessageOver is the message for a condition that is known to say something already. What is unstable is no news, unless the condition names
// a time that no longer holds.
func (b Block) MessageOver(known *metav1.Condition, generation int64) string {
	if b.Unstable && known != nil && known.Reason == b.Reason && known.ObservedGeneration == generation && !strings.Contains(known.Message, askedToWait) {
		return known.Message
	}
	return b.Message
}
