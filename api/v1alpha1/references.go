// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// EndpointKey names the ReporterEndpoint of a connection: spec.endpointRef, in the resource's own namespace if it says no other.
func (rc *ReporterConnection) EndpointKey() types.NamespacedName {
	return types.NamespacedName{Namespace: cmp.Or(rc.Spec.EndpointRef.Namespace, rc.Namespace), Name: rc.Spec.EndpointRef.Name}
}

// ConnectionID is the id in Reporter of the connection that a resource claims, empty while it describes one that is not created yet.
func (rc *ReporterConnection) ConnectionID() string {
	return cmp.Or(rc.Spec.ConnectionID, rc.Status.ConnectionID)
}

// Describes says whether the connection of a resource is to be created, and kept as described.
func (rc *ReporterConnection) Describes() bool { return rc.Spec.Connection != nil }

// IsTaken says whether the connection was created for the resource, or taken over.
func (rc *ReporterConnection) IsTaken() bool { return rc.Status.Sent != "" }

// DatabaseSecretNames are the Secrets with the credentials of the database, all in the resource's own namespace.
func (rc *ReporterConnection) DatabaseSecretNames() []string {
	if !rc.Describes() {
		return nil
	}
	described := rc.Spec.Connection
	names := []string{described.PasswordSecretRef.Name}
	if described.UserNameSecretRef != nil {
		names = append(names, described.UserNameSecretRef.Name)
	}
	if described.SSL != nil && described.SSL.ClientCertificateSecretRef != nil {
		names = append(names, described.SSL.ClientCertificateSecretRef.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ConfigName is the name of the connection as Reporter last showed it, or as it is described; empty if neither is known.
func (rc *ReporterConnection) ConfigName() string {
	if rc.Status.Connection == nil && rc.Describes() {
		return rc.Spec.Connection.ConfigName
	}
	if rc.Status.Connection == nil {
		return ""
	}
	return rc.Status.Connection.ConfigName
}

// SecretNames are the Secrets that an endpoint needs to speak to its Reporter, all in its own namespace.
func (e *ReporterEndpoint) SecretNames() []string {
	auth := e.Spec.Auth
	switch {
	case auth == nil:
		return nil
	case auth.BearerToken != nil:
		return []string{auth.BearerToken.SecretRef.Name}
	case auth.AccessManager != nil:
		return []string{auth.AccessManager.SecretRef.Name}
	}
	return nil
}
