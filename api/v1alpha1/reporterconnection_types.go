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

// AdoptionPolicy says what is done about a connection that has the described name already.
// +kubebuilder:validation:Enum=Never;ByName
type AdoptionPolicy string

const (
	// AdoptionPolicyNever leaves it alone: the resource waits until the name is free.
	AdoptionPolicyNever AdoptionPolicy = "Never"
	// AdoptionPolicyByName takes it over, once, unless another resource has it: from then on it is kept as described, and deleted with the
	// resource.
	AdoptionPolicyByName AdoptionPolicy = "ByName"
)

// ReporterConnectionSpec claims one connection of a Reporter, which it names by its id, describes, or both.
//
// +kubebuilder:validation:XValidation:rule="has(self.connectionID) || has(self.connection)",message="must have a connectionID, which names a connection that Reporter has, or a connection, which describes one for the operator to create"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.connectionID) || (has(self.connectionID) && self.connectionID == oldSelf.connectionID)",fieldPath=".connectionID",message="is immutable: create another ReporterConnection for another connection"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.connection) || !has(self.connection) || self.connection.configName == oldSelf.connection.configName",fieldPath=".connection.configName",message="is immutable, as reports and jobs name the connection by it: create another ReporterConnection for another name"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.connection) || !has(self.connection) || self.connection.productName == oldSelf.connection.productName",fieldPath=".connection.productName",message="is immutable, as Reporter cannot change it: create another ReporterConnection for another product"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.connection) || !has(oldSelf.connection.ssl) || !has(self.connection) || has(self.connection.ssl)",fieldPath=".connection.ssl",message="cannot be removed, as Reporter has no way to: set its mode to disable, or to false for MYSQL"
type ReporterConnectionSpec struct {
	// endpointRef names the ReporterEndpoint to reach the connection through; it may be changed at any time.
	// +optional
	// +default={"name": "default"}
	EndpointRef EndpointReference `json:"endpointRef,omitzero"`

	// connectionID is the id of the connection in Reporter: a UUID in its canonical lower-case form. It cannot be changed. Without
	// spec.connection the connection is looked at and deleted with this resource, and not changed; with it, it is taken over and kept as
	// described. It may be added later if it is that of status.connectionID.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$')",messageExpression="self.lowerAscii().matches('^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$') ? 'must be in lower case: write ' + self.lowerAscii() : 'must be the UUID that Reporter shows as the id of the connection, in lower case and with dashes, for example 019996b8-f3d1-7d2b-a192-6e91464d82fc'"
	ConnectionID string `json:"connectionID,omitempty"`

	// connection describes what Reporter is to have. The operator creates it, unless connectionID names it, and keeps it so. To stop that
	// and keep the connection, add connectionID, and remove this then.
	// +optional
	Connection *ConnectionDescription `json:"connection,omitempty"`

	// adoptionPolicy says what is done if Reporter has a connection of the described name already: Never leaves it alone, ByName takes it
	// over.
	// +optional
	// +default="Never"
	AdoptionPolicy AdoptionPolicy `json:"adoptionPolicy,omitempty"`

	// suspend has the operator create, change and delete nothing in Reporter for this resource while it is true. Look-ups go on.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

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

// DatabaseType is one of the kinds of databases that Reporter reads from.
// +kubebuilder:validation:Enum=ORACLE;SQL_SERVER;POSTGRESQL;MONGODB;MYSQL
type DatabaseType string

// ConnectionDescription is what a connection in Reporter is to be.
//
// +kubebuilder:validation:ExactlyOneOf=userName;userNameSecretRef
// +kubebuilder:validation:XValidation:rule="!has(self.ssl) || self.ssl.mode in {'POSTGRESQL': ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'], 'MYSQL': ['true', 'false', 'skip-verify', 'preferred'], 'ORACLE': ['enable', 'disable', 'true', 'false', 'skip-verify'], 'SQL_SERVER': ['disable', 'true', 'false', 'strict'], 'MONGODB': ['enable', 'disable', 'true', 'false']}[self.type]",fieldPath=".ssl.mode",messageExpression="'for ' + self.type + ' must be one of: ' + {'POSTGRESQL': 'disable, allow, prefer, require, verify-ca, verify-full', 'MYSQL': 'true, false, skip-verify, preferred', 'ORACLE': 'enable, disable, true, false, skip-verify', 'SQL_SERVER': 'disable, true, false, strict', 'MONGODB': 'enable, disable, true, false'}[self.type]"
type ConnectionDescription struct {
	// configName is the name of the connection in Reporter, unique there per tenant: from 3 to 100 letters, digits, dashes and underscores.
	// Reports name the connection by it. It cannot be changed.
	// +required
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9_-]*$')",message="must be of letters, digits, - and _ alone, for example ledger-db"
	ConfigName string `json:"configName,omitempty"`

	// productName is the product that the connection belongs to: up to 100 lower-case letters, digits, dashes and underscores. It cannot be
	// changed.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9_-]*$')",message="must be of lower-case letters, digits, - and _ alone, for example ledger"
	ProductName string `json:"productName,omitempty"`

	// type of the database.
	// +required
	Type DatabaseType `json:"type,omitempty"`

	// host of the database, a name or an address.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="!self.matches('[\\\\s/@]|^[^:]*:[^:]*$')",message="must be a host name or an address alone, without white space, user, port or path, for example ledger-rw.billing.svc.cluster.local"
	Host string `json:"host,omitempty"`

	// port of the database.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`

	// databaseName is the name of the database on its host.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.trim() == self",message="must not begin or end with white space"
	DatabaseName string `json:"databaseName,omitempty"`

	// schema in the database. To be without one, leave it out.
	// +optional
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.trim() == self",message="must not begin or end with white space"
	Schema string `json:"schema,omitempty"`

	// userName that Reporter logs in to the database with. A Secret may hold it: userNameSecretRef.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.trim() == self",message="must not begin or end with white space"
	UserName string `json:"userName,omitempty"`

	// userNameSecretRef names the key of a Secret that holds the user name.
	// +optional
	UserNameSecretRef *SecretKeyReference `json:"userNameSecretRef,omitempty"`

	// passwordSecretRef names the key of a Secret that holds the password. As all Secrets of databases, it is in the namespace of this
	// resource and labelled reporter.lerian.studio/credentials=database, which allows the operator to read it and to send it to Reporter. Its
	// annotation reporter.lerian.studio/hosts, if it has one, lists the hosts that it may be sent with, and reporter.lerian.studio/endpoints the
	// endpoints, as namespace/name.
	// +required
	PasswordSecretRef SecretKeyReference `json:"passwordSecretRef,omitzero"`

	// ssl says how Reporter speaks TLS to the database. Once set, it can be changed and not removed.
	// +optional
	SSL *ConnectionSSL `json:"ssl,omitempty"`
}

// ConnectionSSL says how Reporter speaks TLS to a database.
type ConnectionSSL struct {
	// mode is one of those that the type of the database has.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=20
	Mode string `json:"mode,omitempty"`

	// caBundle has the certificates of the authorities that the database is verified with, in PEM. Reporter asks for it whatever the mode.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=262144
	CABundle string `json:"caBundle,omitempty"`

	// clientCertificateSecretRef names a Secret with the certificate and the key that Reporter shows to the database, as tls.crt and tls.key.
	// +optional
	ClientCertificateSecretRef *SecretReference `json:"clientCertificateSecretRef,omitempty"`
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
	// observedGeneration is the generation of the spec that this status describes, and -1 while there is none: so tools that wait for the
	// resource do not take it for one that is as it should be before the operator has seen it.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// connectionID is the id of the connection that the resource has in Reporter, empty while it has none.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	ConnectionID string `json:"connectionID,omitempty"`

	// creation is there while it is not known what came of a request to create the connection. Nothing else is created until it is.
	// +optional
	Creation *CreationRecord `json:"creation,omitempty"`

	// looksOwed is there after such a request was given up as lost, until one more look has shown that it was.
	// +optional
	LooksOwed *CreationRecord `json:"looksOwed,omitempty"`

	// sent stands for the credentials that Reporter was last sent, and for the state of the connection after that. It is opaque; it is empty
	// until the connection was created or taken over.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Sent string `json:"sent,omitempty"`

	// takenOverBy is the mark of whoever has taken the connection over from this resource.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	TakenOverBy string `json:"takenOverBy,omitempty"`

	// handledRequest is what was last asked for with an annotation, and acted upon.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	HandledRequest string `json:"handledRequest,omitempty"`

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

// CreationRecord is a request to create a connection.
type CreationRecord struct {
	// ObservedIn is the place that was asked.
	ObservedIn `json:",inline"`

	// startedAt is when it was asked at the earliest.
	// +optional
	StartedAt *metav1.MicroTime `json:"startedAt,omitempty"`
}

// MayBe says whether both can be the same: the same Reporter, and the same tenant as far as that is known. A connection that is
// shown in both is then one and the same.
func (in *ObservedIn) MayBe(other ObservedIn) bool {
	return in.URL == other.URL && (in.TenantID == other.TenantID || in.Credentials != "" || other.Credentials != "")
}

// ReporterConnection claims one database connection in Reporter, and creates and keeps it if it describes it. Deleting the resource
// soft-deletes the connection, as soon as no job reads from it any more.
//
// +kubebuilder:validation:XValidation:rule="has(oldSelf.spec.connectionID) || !has(self.spec.connectionID) || (has(oldSelf.status) && has(oldSelf.status.connectionID) && oldSelf.status.connectionID == self.spec.connectionID)",fieldPath=".spec.connectionID",messageExpression="has(oldSelf.status) && has(oldSelf.status.connectionID) ? 'may only be added as status.connectionID has it: write ' + oldSelf.status.connectionID : 'may not be added before the operator has created the connection: then status.connectionID has it'"
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=rconn,categories=reporter
// +kubebuilder:printcolumn:name="Connection",type=string,JSONPath=`.status.connection.configName`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="ID",type=string,JSONPath=`.status.connectionID`,priority=1
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
	// +default={"observedGeneration": -1}
	Status ReporterConnectionStatus `json:"status,omitzero"`
}

// ReporterConnectionList is a list of ReporterConnections.
//
// +kubebuilder:object:root=true
type ReporterConnectionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ReporterConnection `json:"items"`
}
