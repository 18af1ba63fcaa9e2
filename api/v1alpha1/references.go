// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"cmp"

	"k8s.io/apimachinery/pkg/types"
)

// EndpointKey names the ReporterEndpoint of a connection: spec.endpointRef, in the resource's own namespace if it says no other.
func (rc *ReporterConnection) EndpointKey() types.NamespacedName {
	return types.NamespacedName{Namespace: cmp.Or(rc.Spec.EndpointRef.Namespace, rc.Namespace), Name: rc.Spec.EndpointRef.Name}
}

// ConnectionID is the id in Reporter of the connection that a resource claims.
func (rc *ReporterConnection) ConnectionID() string { return rc.Spec.ConnectionID }

// ConfigName is the name of the connection as Reporter last showed it, empty if it never did.
func (rc *ReporterConnection) ConfigName() string {
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
