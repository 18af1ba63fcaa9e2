// SPDX-License-Identifier: Apache-2.0

package v1alpha1

const (
	// ConnectionFinalizer holds a deleted ReporterConnection until its connection is soft-deleted in Reporter.
	// The operator alone puts it on and takes it off.
	ConnectionFinalizer = "reporter.lerian.studio/connection"

	// InUseFinalizer holds a deleted ReporterEndpoint, or a deleted Secret that carries CredentialsLabel, for as long as the
	// deletion of a connection needs it. Where the operator works in some namespaces alone, it holds the operator's RoleBinding there too.
	InUseFinalizer = "reporter.lerian.studio/in-use"

	// CredentialsLabel, with the value "true", allows the operator to read a Secret and to send what it holds to the
	// Reporter of the ReporterEndpoints in its namespace that name it. Secrets without it are never read.
	CredentialsLabel = "reporter.lerian.studio/credentials"

	// CredentialsOfEndpoint is the value of CredentialsLabel for the credentials of an endpoint. They are not taken for those of a database.
	CredentialsOfEndpoint = "true"

	// CredentialsOfDatabase is the value of CredentialsLabel for the credentials of a database that a connection describes. They are not taken
	// for those of an endpoint.
	CredentialsOfDatabase = "database"

	// HostsAnnotation, on a Secret of a database, lists the hosts that its contents may be sent to Reporter with, separated by commas. Without
	// it, any may be described.
	HostsAnnotation = "reporter.lerian.studio/hosts"

	// EndpointsAnnotation, on a Secret of a database, lists the ReporterEndpoints that its contents may be sent through, as namespace/name and
	// separated by commas. Without it, that may be any of those that let the namespace in; if there is a HostsAnnotation, those of the Secret's
	// own namespace alone.
	EndpointsAnnotation = "reporter.lerian.studio/endpoints"

	// TakeBackAnnotation, on each new value, has the operator take a connection back that somebody else has taken over.
	TakeBackAnnotation = "reporter.lerian.studio/takeBack"

	// AbandonAnnotation, with the base URL that status.creation or status.observedIn has, has the operator give up what the resource has
	// there: the request to create a connection, or the connection. It may be left behind in Reporter.
	AbandonAnnotation = "reporter.lerian.studio/abandon"

	// OwnerMetadata is the key in the metadata of a connection in Reporter whose value marks whose it is: the UID of a namespace, a slash and
	// the name of the resource there.
	OwnerMetadata = "reporterOperatorOwner"

	// RequestedAtAnnotation asks for an attempt now: on each new value, usually a timestamp, the operator tries the
	// ReporterConnection or ReporterEndpoint that carries it at once, whatever it was waiting for.
	RequestedAtAnnotation = "reporter.lerian.studio/requestedAt"
)
