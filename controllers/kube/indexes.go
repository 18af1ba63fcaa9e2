// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// Indexes of the cache.
const (
	// ByEndpoint has ReporterConnections by the namespace/name of their endpoint.
	ByEndpoint = "spec.endpointRef"
	// ByConnectionID has ReporterConnections by the connection that they claim.
	ByConnectionID = "spec.connectionID"
	// BySecret has ReporterEndpoints by the namespace/name of their Secrets.
	BySecret = "spec.auth.secret"
)

// Index has the cache fill the indexes.
func Index(ctx context.Context, indexer client.FieldIndexer) error {
	for _, index := range []struct {
		object client.Object
		name   string
	}{
		{&v1alpha1.ReporterConnection{}, ByEndpoint}, {&v1alpha1.ReporterConnection{}, ByConnectionID}, {&v1alpha1.ReporterEndpoint{}, BySecret},
	} {
		if err := indexer.IndexField(ctx, index.object, index.name, func(object client.Object) []string { return IndexKeys(object, index.name) }); err != nil {
			return err
		}
	}
	return nil
}

// IndexKeys are the keys of an object in an index.
func IndexKeys(object client.Object, index string) []string {
	switch o := object.(type) {
	case *v1alpha1.ReporterConnection:
		if index == ByEndpoint {
			return []string{o.EndpointKey().String()}
		}
		return []string{o.ConnectionID()}
	case *v1alpha1.ReporterEndpoint:
		var keys []string
		for _, name := range o.SecretNames() {
			keys = append(keys, client.ObjectKey{Namespace: o.Namespace, Name: name}.String())
		}
		return keys
	}
	return nil
}

// UsersOf selects from the cache the connections that name an endpoint.
func UsersOf(endpoint *v1alpha1.ReporterEndpoint) client.ListOption {
	return client.MatchingFields{ByEndpoint: client.ObjectKeyFromObject(endpoint).String()}
}
