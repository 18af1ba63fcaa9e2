// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Condition types.
const (
	// ConditionReady sums a resource up. On a ReporterEndpoint it is True while Reporter answers and accepts the
	// credentials. On a ReporterConnection it is True while Reporter shows the connection; while a deletion is blocked it is
	// False with the reason for that.
	ConditionReady = "Ready"

	// ConditionDeletionBlocked is on a deleted ReporterConnection, and True, for as long as its deletion is blocked. Its
	// reason and message say what it waits for, its lastTransitionTime since when. It never has to be removed by hand:
	// it goes away with the resource. A deleted ReporterEndpoint has it while ReporterConnections still need the endpoint.
	ConditionDeletionBlocked = "DeletionBlocked"

	// ConditionStalled is on a ReporterConnection or a ReporterEndpoint, and True, while Ready is False for a reason that only a person can end.
	// Tools that wait for resources tell failed from in progress by it.
	ConditionStalled = "Stalled"

	// ConditionDatabaseReachable says, on a ReporterConnection that describes its connection, whether Reporter could connect to the database
	// when that was last tested: after each change, and when somebody asks for it.
	ConditionDatabaseReachable = "DatabaseReachable"

	// ConditionDuplicateInReporter is on a ReporterConnection, and True, while Reporter has a second connection that was created for it. The
	// message names it: delete one of them there.
	ConditionDuplicateInReporter = "DuplicateInReporter"
)

// Reasons of the conditions Ready and DeletionBlocked: a closed set. Each says what the user can do about it.
//
// Every blocked deletion also goes on with spec.deletionPolicy: Retain on the deleted resource, which leaves the
// connection in Reporter, or with another spec.endpointRef.
const (
	// ReasonAvailable: all is well. On a ReporterConnection, Reporter shows the connection; on a ReporterEndpoint,
	// Reporter answers and accepts the credentials.
	ReasonAvailable = "Available"

	// ReasonDuplicate: Reporter shows the connection, and an older ReporterConnection claims it too. Nothing is wrong with that
	// while a resource moves: the connection is deleted with the last resource that claims it.
	ReasonDuplicate = "Duplicate"

	// ReasonConnectionNotFound: Reporter has no live connection of this id for the tenant of the credentials. Soft deletion
	// is final, so create a connection in Reporter and a new resource with its id; or correct the endpoint.
	ReasonConnectionNotFound = "ConnectionNotFound"

	// ReasonJobInProgress: jobs in Reporter, pending or processing, read from the connection. The deletion goes on by
	// itself when they have ended. A job whose worker died has to be ended in Reporter.
	ReasonJobInProgress = "JobInProgress"

	// ReasonConflict: Reporter refuses the deletion because of a conflict whose code the operator does not know. The message
	// names the code; the operator tries again by itself.
	ReasonConflict = "Conflict"

	// ReasonNotDeletable: Reporter shows the connection but does not delete it, as it does with connections that are
	// configured on its server. Remove it there, or set spec.deletionPolicy: Retain.
	ReasonNotDeletable = "NotDeletable"

	// ReasonAbsenceUnverified: the connection was seen in one Reporter or tenant, and is absent in the one that the endpoint
	// leads to now, which proves nothing. Restore the endpoint's URL and credentials (status.observedIn names them), or set
	// spec.deletionPolicy: Retain.
	ReasonAbsenceUnverified = "AbsenceUnverified"

	// ReasonInvalidConnectionID: Reporter does not accept spec.connectionID as an id. It cannot be changed: set
	// spec.deletionPolicy: Retain, delete the resource and create one with the right id.
	ReasonInvalidConnectionID = "InvalidConnectionID"

	// ReasonUnauthorized: Reporter does not accept the credentials (401), or asks for some where none are given. Correct the
	// Secret or spec.auth of the ReporterEndpoint; the new contents are tried at once.
	ReasonUnauthorized = "Unauthorized"

	// ReasonForbidden: Reporter accepts the credentials but denies the operation (403); it also says so while its Access
	// Manager fails. Grant it there, or correct the credentials.
	ReasonForbidden = "Forbidden"

	// ReasonRateLimited: Reporter asks for fewer requests (429). The operator tries again when Reporter said.
	ReasonRateLimited = "RateLimited"

	// ReasonReporterUnavailable: Reporter cannot be reached or answers with a server error. The operator tries again by
	// itself, and at once when the ReporterEndpoint is Ready again.
	ReasonReporterUnavailable = "ReporterUnavailable"

	// ReasonUnexpectedResponse: the response is not one that Reporter's connections API documents. Check spec.url of the
	// ReporterEndpoint, and proxies in between.
	ReasonUnexpectedResponse = "UnexpectedResponse"

	// ReasonCreating: it is not known yet what came of the request to create the connection, or it was created so recently that Reporter may
	// not show it yet. The operator looks again by itself.
	ReasonCreating = "Creating"

	// ReasonNameTaken: Reporter has a connection of the described name already, which is not of this resource. Set spec.adoptionPolicy to ByName
	// to take it over, or create a resource that describes another name.
	ReasonNameTaken = "NameTaken"

	// ReasonTakenOver: somebody else has taken the connection over: its mark names another. Nothing is changed any more. The annotation
	// reporter.lerian.studio/takeBack takes it back.
	ReasonTakenOver = "TakenOver"

	// ReasonInvalidConnection: Reporter refuses the connection as it is described. The message names the fields that Reporter names: correct
	// them in spec.connection.
	ReasonInvalidConnection = "InvalidConnection"

	// ReasonNotApplied: Reporter has accepted a change and shows another value all the same. The message names the fields.
	ReasonNotApplied = "NotApplied"

	// ReasonHostNotAllowed: an annotation of a Secret does not list the described host, or the endpoint, so what the Secret holds
	// is not sent. Add the host there, or correct spec.connection.host.
	ReasonHostNotAllowed = "HostNotAllowed"

	// ReasonManagementForbidden: spec.managementPolicy of the ReporterEndpoint is DeleteOnly, so the connection is neither created nor changed.
	ReasonManagementForbidden = "ManagementForbidden"

	// ReasonCreationUnverified: it is not known what came of a request to create the connection, and the endpoint leads elsewhere now.
	// Restore its URL and credentials (status.creation names them), or give the connection up with the annotation
	// reporter.lerian.studio/abandon.
	ReasonCreationUnverified = "CreationUnverified"

	// ReasonTestSucceeded: Reporter has connected to the database.
	ReasonTestSucceeded = "TestSucceeded"

	// ReasonTestFailed: Reporter could not connect to the database, or the database did not take the user name and the password; Reporter tells no
	// difference. Correct spec.connection or its Secret. It is tested again after each change, or on reporter.lerian.studio/requestedAt.
	ReasonTestFailed = "TestFailed"

	// ReasonDeletionProtected: spec.deletionProtection is true. Set it to false to let the deletion go on.
	ReasonDeletionProtected = "DeletionProtected"

	// ReasonSuspended: spec.suspend of the ReporterEndpoint is true. Set it to false to let the deletions go on.
	ReasonSuspended = "Suspended"

	// ReasonDeletionDelayed: spec.deletionDelay of the ReporterEndpoint is not over. The deletion goes on by itself, unless
	// another resource claims the connection by then.
	ReasonDeletionDelayed = "DeletionDelayed"

	// ReasonQueued: the deletion has waited for a minute and more in the queue for Reporter, which gets no more requests than
	// spec.maxInFlight of the ReporterEndpoint and its own limit allow. The deletion goes on by itself. Where it takes too long, see whether Reporter is
	// slow, or raise maxInFlight.
	ReasonQueued = "Queued"

	// ReasonClaimUnverified: a ReporterConnection in another namespace names the same connection, and the operator has not looked it
	// up yet, so it is not known whether Reporter shows it the connection. The deletion goes on by itself when it has been looked up, or
	// after ten minutes in all.
	ReasonClaimUnverified = "ClaimUnverified"

	// ReasonInUse: ReporterConnections whose deletion will need a deleted ReporterEndpoint still name it. The message
	// names them: delete them, let them name another endpoint, or set spec.deletionPolicy: Retain on them or on the endpoint.
	ReasonInUse = "InUse"

	// ReasonFinalizersRemaining: the operator has done its part, which the message says, and finalizers of others still hold the
	// deleted resource. The message names them: each is for whoever put it there to remove.
	ReasonFinalizersRemaining = "FinalizersRemaining"

	// ReasonFinalizerRemovalFailed: all is done but that the API server refuses to remove the operator's finalizer, as an admission
	// policy, a webhook or missing rights have it. The message says which: exempt the operator's ServiceAccount from it. The operator
	// tries again by itself.
	ReasonFinalizerRemovalFailed = "FinalizerRemovalFailed"

	// ReasonHandOverFailed: another resource goes on claiming the connection, and the API server refuses the operator's finalizer on it,
	// without which that one's own deletion could be missed. The message says why: exempt the operator's ServiceAccount from what refuses
	// it. The operator tries again by itself.
	ReasonHandOverFailed = "HandOverFailed"

	// ReasonEndpointNotFound: the ReporterEndpoint that spec.endpointRef names does not exist, or does not allow the namespace
	// of the resource. Create it, or name another.
	ReasonEndpointNotFound = "EndpointNotFound"

	// ReasonInvalidEndpoint: the spec of the ReporterEndpoint cannot be used. The message says what to write instead.
	ReasonInvalidEndpoint = "InvalidEndpoint"

	// ReasonSecretNotFound: the Secret that the ReporterEndpoint names does not exist, or its key is missing or empty. Create it.
	ReasonSecretNotFound = "SecretNotFound"

	// ReasonSecretNotGranted: the Secret exists but is not labelled reporter.lerian.studio/credentials=true, so the operator
	// does not read it. The message gives the kubectl command that labels it.
	ReasonSecretNotGranted = "SecretNotGranted"
)
