// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DeletionPolicy says what the deletion of a resource does in Reporter.
// +kubebuilder:validation:Enum=Delete;Retain
type DeletionPolicy string

const (
	// DeletionPolicyDelete soft-deletes the connection in Reporter, which is final.
	DeletionPolicyDelete DeletionPolicy = "Delete"
	// DeletionPolicyRetain keeps the connection in Reporter: only the resource is deleted.
	DeletionPolicyRetain DeletionPolicy = "Retain"
)

// ReporterConnectionSpec claims one connection of a Reporter.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.connectionID) || (has(self.connectionID) && self.connectionID == oldSelf.connectionID)",fieldPath=".connectionID",message="is immutable: create another ReporterConnection for another connection"
type ReporterConnectionSpec struct {
	// endpointRef names the ReporterEndpoint to reach the connection through; it may be changed at any time.
	// +optional
	// +default={"name": "default"}
	EndpointRef EndpointReference `json:"endpointRef,omitzero"`

	// connectionID is the id of the connection in Reporter: a UUID in its canonical lower-case form. It cannot be changed.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$')",messageExpression="self.lowerAscii().matches('^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$') ? 'must be in lower case: write ' + self.lowerAscii() : 'must be the UUID that Reporter shows as the id of the connection, in lower case and with dashes, for example 019996b8-f3d1-7d2b-a192-6e91464d82fc'"
	ConnectionID string `json:"connectionID,omitempty"`

	// deletionPolicy says what the deletion of this resource does in Reporter: Delete soft-deletes the connection there, which
	// is final; Retain keeps it. It may be changed at any time, also while a deletion waits.
	// +optional
	// +default="Delete"
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// deletionProtection has the API server refuse to delete this resource while it is true. Where it is deleted all the same,
	// as by the deletion of its CustomResourceDefinition, the operator blocks the deletion until the protection is lifted.
	// +optional
	DeletionProtection bool `json:"deletionProtection,omitempty"`
}

// EndpointReference names a ReporterEndpoint.
type EndpointReference struct {
	// name of the ReporterEndpoint.
	// +optional
	// +default="default"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// namespace of the ReporterEndpoint, if it is another one. That endpoint has to allow it (spec.allowedNamespaces).
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
}

// ReporterConnectionStatus is what the operator last saw of the connection.
type ReporterConnectionStatus struct {
	// observedGeneration is the generation of the spec that this status describes.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// connection as Reporter last showed it.
	// +optional
	Connection *ObservedConnection `json:"connection,omitempty"`

	// observedIn says where the connection was last seen. Its absence anywhere else proves nothing.
	// +optional
	ObservedIn *ObservedIn `json:"observedIn,omitempty"`

	// notShownAt is the base URL at which Reporter answered the last look-up without showing the connection to these credentials. It is
	// empty where Reporter showed the connection or did not answer.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	NotShownAt string `json:"notShownAt,omitempty"`

	// conditions of the resource: Ready sums it up; DeletionBlocked is there while its deletion is blocked.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ObservedConnection is a connection as Reporter shows it. It holds no secrets: Reporter never sends any back.
type ObservedConnection struct {
	// configName is the name of the connection in Reporter, unique there per tenant. Jobs name connections by it.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	ConfigName string `json:"configName,omitempty"`

	// productName is the product that the connection belongs to.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	ProductName string `json:"productName,omitempty"`

	// type of the database, for example POSTGRESQL.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Type string `json:"type,omitempty"`

	// host of the database.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Host string `json:"host,omitempty"`

	// port of the database.
	// +optional
	Port int32 `json:"port,omitempty"`

	// databaseName is the name of the database on its host.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	DatabaseName string `json:"databaseName,omitempty"`

	// createdAt is when the connection was created in Reporter.
	// +optional
	CreatedAt *metav1.Time `json:"createdAt,omitempty"`

	// updatedAt is when the connection was last changed in Reporter.
	// +optional
	UpdatedAt *metav1.Time `json:"updatedAt,omitempty"`
}

// ObservedIn says in which Reporter, and which tenant of it, a connection was seen.
type ObservedIn struct {
	// url is the base URL of the Reporter.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	URL string `json:"url,omitempty"`

	// tenantID is the tenant of the credentials, empty where Reporter has only one.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	TenantID string `json:"tenantID,omitempty"`

	// credentials identifies those that the connection was seen with, where their token does not say which tenant it is for: with
	// others, absence proves nothing. It is a few bits of a digest, and reveals nothing of them.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Credentials string `json:"credentials,omitempty"`
}

// MayBe says whether both can be the same: the same Reporter, and the same tenant as far as that is known. A connection that is
// shown in both is then one and the same.
func (in *ObservedIn) MayBe(other ObservedIn) bool {
	return in.URL == other.URL && (in.TenantID == other.TenantID || in.Credentials != "" || other.Credentials != "")
}

// ReporterConnection claims one database connection in Reporter. Deleting the resource soft-deletes the connection, as soon
// as no job reads from it any more.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=rconn,categories=reporter
// +kubebuilder:printcolumn:name="Connection",type=string,JSONPath=`.status.connection.configName`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="ID",type=string,JSONPath=`.spec.connectionID`,priority=1
// +kubebuilder:printcolumn:name="Endpoint",type=string,JSONPath=`.spec.endpointRef.name`,priority=1
// +kubebuilder:printcolumn:name="Type",type=string,JSONPath=`.status.connection.type`,priority=1
// +kubebuilder:printcolumn:name="Host",type=string,JSONPath=`.status.connection.host`,priority=1
type ReporterConnection struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec claims the connection.
	// +required
	Spec ReporterConnectionSpec `json:"spec,omitzero"`

	// status is what the operator last saw.
	// +optional
	Status ReporterConnectionStatus `json:"status,omitempty"`
}

// ReporterConnectionList is a list of ReporterConnections.
//
// +kubebuilder:object:root=true
type ReporterConnectionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ReporterConnection `json:"items"`
}
