// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds the API of group reporter.lerian.studio: where a Reporter is (ReporterEndpoint) and which of its
// database connections live and die with a resource of the cluster (ReporterConnection).
//
// +kubebuilder:object:generate=true
// +groupName=reporter.lerian.studio
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every kind in this package.
var GroupVersion = schema.GroupVersion{Group: "reporter.lerian.studio", Version: "v1alpha1"}

var schemeBuilder = runtime.NewSchemeBuilder(func(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&ReporterConnection{}, &ReporterConnectionList{},
		&ReporterEndpoint{}, &ReporterEndpointList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
})

// AddToScheme makes the kinds of this package known to a scheme.
var AddToScheme = schemeBuilder.AddToScheme
