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
	// ByDescription has ReporterConnections by what they describe: see DescriptionKey.
	ByDescription = "spec.connection.configName"
	// ByDatabaseSecret has ReporterConnections by the namespace/name of the Secrets that they are described with.
	ByDatabaseSecret = "spec.connection.secret"
	// BySecret has ReporterEndpoints by the namespace/name of their Secrets.
	BySecret = "spec.auth.secret"
)

// Index has the cache fill the indexes.
func Index(ctx context.Context, indexer client.FieldIndexer) error {
	for _, index := range []struct {
		object client.Object
		name   string
	}{
		{&v1alpha1.ReporterConnection{}, ByEndpoint}, {&v1alpha1.ReporterConnection{}, ByConnectionID},
		{&v1alpha1.ReporterConnection{}, ByDescription}, {&v1alpha1.ReporterConnection{}, ByDatabaseSecret}, {&v1alpha1.ReporterEndpoint{}, BySecret},
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
		return connectionKeys(o, index)
	case *v1alpha1.ReporterEndpoint:
		return keysOf(o.Namespace, o.SecretNames())
	}
	return nil
}

func connectionKeys(rc *v1alpha1.ReporterConnection, index string) []string {
	switch {
	case index == ByEndpoint:
		return []string{rc.EndpointKey().String()}
	case index == ByConnectionID && rc.ConnectionID() != "":
		return []string{rc.ConnectionID()}
	case index == ByDescription && rc.Describes():
		return []string{DescriptionKey(rc)}
	case index == ByDatabaseSecret:
		return keysOf(rc.Namespace, rc.DatabaseSecretNames())
	default:
		return nil
	}
}

func keysOf(namespace string, names []string) []string {
	var keys []string
	for _, name := range names {
		keys = append(keys, client.ObjectKey{Namespace: namespace, Name: name}.String())
	}
	return keys
}

// DescriptionKey is the same for resources that describe the same connection: one name at one endpoint.
func DescriptionKey(rc *v1alpha1.ReporterConnection) string {
	return rc.EndpointKey().String() + " " + rc.Spec.Connection.ConfigName
}

// DescribedWith selects from the cache the connections that are described with a Secret.
func DescribedWith(secret client.Object) client.ListOption {
	return client.MatchingFields{ByDatabaseSecret: client.ObjectKeyFromObject(secret).String()}
}

// UsersOf selects from the cache the connections that name an endpoint.
func UsersOf(endpoint *v1alpha1.ReporterEndpoint) client.ListOption {
	return client.MatchingFields{ByEndpoint: client.ObjectKeyFromObject(endpoint).String()}
}
