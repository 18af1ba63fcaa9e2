// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ReporterEndpointSpec says where a Reporter is and how to speak to it.
type ReporterEndpointSpec struct {
	// url is the base URL of Reporter's API, for example http://fetcher-manager.midaz-plugins.svc.cluster.local:4006.
	// It has no user info, query or fragment; a path prefix is allowed, the path of the API itself is left out.
	// +required
	// +kubebuilder:validation:XValidation:rule="!self.contains('/v1/management')",message="must be the base URL only: leave out /v1/management and what follows, the operator appends it"
	URL BaseURL `json:"url,omitempty"`

	// auth says how to authenticate. Leave it out where Reporter runs without an Access Manager.
	// +optional
	Auth *EndpointAuth `json:"auth,omitempty"`

	// tls says how to verify a Reporter with an https URL, where the operator's system does not trust its authority.
	// Verification cannot be turned off.
	// +optional
	TLS EndpointTLS `json:"tls,omitzero"`

	// timeout bounds one request to Reporter, from 1s to 60s. A request that is cut off is repeated later; nothing is lost.
	// +optional
	// +default="10s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m))+$') && duration(self) >= duration('1s') && duration(self) <= duration('60s')",message="must be a duration from 1s to 60s, for example 10s"
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// maxInFlight is how many requests to Reporter about connections may be in flight at the same time, from 1 to 64. Those of
	// endpoints that name the same Reporter with the same credentials count together. Fewer spare a Reporter that is slow under load.
	// +optional
	// +default=16
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	MaxInFlight int32 `json:"maxInFlight,omitempty"`

	// allowedNamespaces says whose ReporterConnections may use this endpoint, and with it all that its credentials may do in
	// Reporter: by default those of its own namespace.
	// +optional
	// +default={"from": "Same"}
	AllowedNamespaces AllowedNamespaces `json:"allowedNamespaces,omitzero"`

	// deletionPolicy overrides, if it is Retain, that of every ReporterConnection that uses this endpoint: the resources are
	// deleted, and their connections stay. It may be changed at any time, also while deletions wait.
	// +optional
	// +default="Delete"
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// managementPolicy is Full for an endpoint through which connections are created and changed as they are described. DeleteOnly is for
	// credentials that are lent: connections are looked at and deleted through it, and neither created nor changed.
	// +optional
	// +default="Full"
	ManagementPolicy ManagementPolicy `json:"managementPolicy,omitempty"`

	// suspend blocks, while it is true, every creation, change and deletion through this endpoint. They go on at once when it is false.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// deletionDelay is how long after its resource a connection is deleted at the earliest, at most 168h. In that time another
	// resource may claim the connection. 30s is wise under Argo CD, which deletes before it creates.
	// +optional
	// +default="0s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) <= duration('168h')",message="must be a duration from 0s to 168h, for example 30s"
	DeletionDelay *metav1.Duration `json:"deletionDelay,omitempty"`
}

// ManagementPolicy says what may be done through an endpoint.
// +kubebuilder:validation:Enum=Full;DeleteOnly
type ManagementPolicy string

const (
	// ManagementPolicyFull allows to create, change and delete connections.
	ManagementPolicyFull ManagementPolicy = "Full"
	// ManagementPolicyDeleteOnly allows to delete connections, and neither to create nor to change any.
	ManagementPolicyDeleteOnly ManagementPolicy = "DeleteOnly"
)

// FromNamespaces says where something may come from.
// +kubebuilder:validation:Enum=Same;All;Selector
type FromNamespaces string

const (
	// FromSame allows the endpoint's own namespace.
	FromSame FromNamespaces = "Same"
	// FromAll allows every namespace.
	FromAll FromNamespaces = "All"
	// FromSelector allows the namespaces whose labels match the selector, and the endpoint's own.
	FromSelector FromNamespaces = "Selector"
)

// AllowedNamespaces says which namespaces may use an endpoint.
//
// +kubebuilder:validation:XValidation:rule="has(self.selector) == (has(self.from) && self.from == 'Selector')",message="selector goes with from: Selector, and from: Selector with a selector"
type AllowedNamespaces struct {
	// from is Same for the endpoint's own namespace, All for every one, Selector for its own and those that selector matches. For an
	// operator that is installed for some namespaces alone, All means those, and Selector is invalid.
	// +optional
	// +default="Same"
	From FromNamespaces `json:"from,omitempty"`

	// selector matches the labels of the namespaces that are allowed.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// BaseURL is an http or https URL that the paths of an API are appended to: without user info, query or fragment, with a path
// prefix if need be.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=2048
// +kubebuilder:validation:XValidation:rule="self.startsWith('http://') || self.startsWith('https://')",message="must start with http:// or https://, for example http://fetcher-manager.midaz-plugins.svc.cluster.local:4006"
// +kubebuilder:validation:XValidation:rule="!self.contains('@')",message="must not contain user info: leave out everything up to the @, and put credentials into a Secret that spec.auth names"
// +kubebuilder:validation:XValidation:rule="!self.contains('?') && !self.contains('#')",message="must not contain a query or a fragment: leave out the ? or # and what follows"
// +kubebuilder:validation:XValidation:rule="self.contains('@') || self.contains('?') || self.contains('#') || !self.matches('^https?://') || self.matches('^https?://([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?[.]?|\\\\[[0-9A-Fa-f:.]+\\\\])(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?(/.*)?$')",message="must have a host name or address and, optionally, a port from 1 to 65535, for example http://reporter.internal:4006"
// +kubebuilder:validation:XValidation:rule="self.contains('@') || self.contains('?') || self.contains('#') || !self.matches('^https?://[^/]+/') || self.matches('^https?://[^/]+(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?$')",message="must have a plain path or none: no empty segment, no segment that starts with a dot and nothing but letters, digits and ._~- in it, for example https://gateway.example.com/reporter"
type BaseURL string

// EndpointAuth says how to authenticate with Reporter. Exactly one member is set.
// +kubebuilder:validation:ExactlyOneOf=bearerToken;accessManager
type EndpointAuth struct {
	// bearerToken sends a token from a Secret with each request.
	// +optional
	BearerToken *BearerTokenAuth `json:"bearerToken,omitempty"`

	// accessManager logs in with Lerian's Access Manager, machine to machine, and sends the token that it grants.
	// +optional
	AccessManager *AccessManagerAuth `json:"accessManager,omitempty"`
}

// AccessManagerAuth says where to log in, and as whom.
type AccessManagerAuth struct {
	// url is the base URL of the Access Manager, for example http://plugin-access-manager-auth:4000, without the path of the
	// login.
	// +required
	// +kubebuilder:validation:XValidation:rule="!self.contains('/v1/login')",message="must be the base URL only: leave out /v1/login and what follows, the operator appends it"
	URL BaseURL `json:"url,omitempty"`

	// secretRef names a Secret in the namespace of the ReporterEndpoint with the keys clientId and clientSecret. It must be
	// labelled reporter.lerian.studio/credentials=true, which allows the operator to read it.
	// +required
	SecretRef SecretReference `json:"secretRef,omitzero"`
}

// SecretReference names a Secret in the same namespace.
type SecretReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
}

// EndpointTLS says how to verify a server.
// +kubebuilder:validation:MinProperties=1
type EndpointTLS struct {
	// caBundle holds the certificates of the authorities to trust, in PEM form, in place of those of the operator's system. It
	// also applies to the Access Manager.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=262144
	// +kubebuilder:validation:XValidation:rule="self.contains('-----BEGIN CERTIFICATE-----')",message="must hold certificates in PEM form, which begin with -----BEGIN CERTIFICATE-----"
	CABundle string `json:"caBundle,omitempty"`

	// serverName is the name that Reporter's certificate has to be for, in place of the host of the URL.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ServerName string `json:"serverName,omitempty"`
}

// BearerTokenAuth names the token to send as "Authorization: Bearer".
type BearerTokenAuth struct {
	// secretRef names a key of a Secret in the namespace of the ReporterEndpoint. The Secret must be labelled
	// reporter.lerian.studio/credentials=true, which allows the operator to read it.
	// +required
	SecretRef SecretKeyReference `json:"secretRef,omitzero"`
}

// SecretKeyReference names one key of a Secret in the same namespace.
type SecretKeyReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// key in the Secret's data.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key,omitempty"`
}

// ReporterEndpointStatus is what the operator last saw of the Reporter.
type ReporterEndpointStatus struct {
	// observedGeneration is the generation of the spec that this status describes, and -1 while there is none: so tools that wait for the
	// resource do not take it for one that is as it should be before the operator has seen it.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions of the endpoint: Ready is True while Reporter answers and accepts the credentials; DeletionBlocked is there
	// while ReporterConnections still need a deleted endpoint.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ReporterEndpoint says where a Reporter is, with which credentials to speak to it, and which namespaces' ReporterConnections
// may use it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=rep,categories=reporter
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.spec.url`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ReporterEndpoint struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says where the Reporter is.
	// +required
	Spec ReporterEndpointSpec `json:"spec,omitzero"`

	// status is what the operator last saw.
	// +optional
	// +default={"observedGeneration": -1}
	Status ReporterEndpointStatus `json:"status,omitzero"`
}

// ReporterEndpointList is a list of ReporterEndpoints.
//
// +kubebuilder:object:root=true
type ReporterEndpointList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ReporterEndpoint `json:"items"`
}
