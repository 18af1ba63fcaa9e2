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

	// RequestedAtAnnotation asks for an attempt now: on each new value, usually a timestamp, the operator tries the
	// ReporterConnection or ReporterEndpoint that carries it at once, whatever it was waiting for.
	RequestedAtAnnotation = "reporter.lerian.studio/requestedAt"
)
