// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// accessor turns a ReporterEndpoint and its Secret into a client. It is the only place that reads Secrets.
type accessor struct {
	// cached sees labelled Secrets only; live is asked, for metadata alone, why one is not among them.
	cached, live client.Reader
	pool         *reporter.Pool
	scope        Scope

	reads sharedReads
	mu    sync.Mutex
	// confirmed is what the API server last said of an endpoint, by namespace/name.
	confirmed map[string]confirmation
}

// sharedReads has all who want the same of the API server in the same moment share one request.
type sharedReads struct {
	group singleflight.Group
	// then is called by each of them before they go on, if it is not nil: the simulation lets them go one by one.
	then func(context.Context)
}

func (s *sharedReads) do(ctx context.Context, what string, read func() error) error {
	_, err, _ := s.group.Do(what, func() (any, error) { return nil, read() })
	if s.then != nil {
		s.then(ctx)
	}
	return err
}

type confirmation struct {
	uid        types.UID
	generation int64
	at         time.Time // before the API server was asked
}

// obstacle is an error for what keeps Reporter from being asked and that a user can mend.
type obstacle struct{ finding }

func (o *obstacle) Error() string { return o.detail }

// endpointFor returns the endpoint that a connection names, if it allows the connection's namespace. The error is an *obstacle
// where a user can mend it, and the same whether the endpoint is not there or not allowed: who may not use it learns nothing of it.
func (a *accessor) endpointFor(ctx context.Context, rc *v1alpha1.ReporterConnection) (*v1alpha1.ReporterEndpoint, error) {
	key := endpointKey(rc)
	if a.scope.includes(key.Namespace) {
		var endpoint v1alpha1.ReporterEndpoint
		err := a.cached.Get(ctx, key, &endpoint)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("reading ReporterEndpoint %s: %w", key, err)
		}
		allowed := false
		if err == nil {
			if allowed, err = a.allows(ctx, a.cached, &endpoint, rc.Namespace); err != nil {
				return nil, err
			}
		}
		if allowed {
			return &endpoint, nil
		}
	}
	detail := fmt.Sprintf("ReporterEndpoint %q does not exist in namespace %q. Create it, or name another in spec.endpointRef", key.Name, key.Namespace)
	if key.Namespace != rc.Namespace {
		detail = fmt.Sprintf("ReporterEndpoint %q does not exist in namespace %q, or does not allow namespace %q in its spec.allowedNamespaces. "+
			"Have it created or allowed, or name another in spec.endpointRef", key.Name, key.Namespace, rc.Namespace)
	}
	return nil, &obstacle{finding{answer: answerEndpointNotFound, detail: detail}}
}

// confirmTimeout bounds how long an API server that does not answer keeps a worker.
const confirmTimeout = 10 * time.Second

// forget drops what is known of an endpoint that is gone.
func (a *accessor) forget(endpoint client.ObjectKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.confirmed, endpoint.String())
}

// isCurrent says whether an endpoint from the cache is what the API server had at a time or later. All who ask in the same moment
// share one request.
func (a *accessor) isCurrent(ctx context.Context, endpoint *v1alpha1.ReporterEndpoint, notBefore time.Time) (bool, error) {
	key := client.ObjectKeyFromObject(endpoint)
	for {
		a.mu.Lock()
		known := a.confirmed[key.String()]
		a.mu.Unlock()
		if !known.at.Before(notBefore) {
			return known.uid == endpoint.UID && known.generation <= endpoint.Generation, nil
		}
		err := a.reads.do(ctx, "ReporterEndpoint "+key.String(), func() error {
			fresh := confirmation{at: time.Now()}
			var live v1alpha1.ReporterEndpoint
			ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
			defer cancel()
			if err := a.live.Get(ctx, key, &live); client.IgnoreNotFound(err) != nil {
				return fmt.Errorf("reading ReporterEndpoint %s: %w", key, err)
			}
			fresh.uid, fresh.generation = live.UID, live.Generation
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.confirmed == nil {
				a.confirmed = map[string]confirmation{}
			}
			a.confirmed[key.String()] = fresh
			return nil
		})
		if err != nil {
			return false, err
		}
	}
}

// allows says whether the resources of a namespace may use an endpoint.
func (a *accessor) allows(ctx context.Context, reader client.Reader, endpoint *v1alpha1.ReporterEndpoint, namespace string) (bool, error) {
	if namespace == endpoint.Namespace {
		return true, nil
	}
	switch endpoint.Spec.AllowedNamespaces.From {
	case v1alpha1.FromAll:
		return true, nil
	case v1alpha1.FromSelector:
		if a.scope.isNamespaced() {
			return false, nil // nobody would tell of other labels; the endpoint says so
		}
		selector, err := metav1.LabelSelectorAsSelector(endpoint.Spec.AllowedNamespaces.Selector)
		if err != nil {
			return false, nil //nolint:nilerr // an invalid selector matches nothing; the endpoint tells of it
		}
		metadata, err := namespaceMetadata(ctx, reader, namespace)
		return err == nil && selector.Matches(labels.Set(metadata.Labels)), client.IgnoreNotFound(err)
	default:
		return false, nil
	}
}

func namespaceMetadata(ctx context.Context, reader client.Reader, name string) (*metav1.PartialObjectMetadata, error) {
	metadata := &metav1.PartialObjectMetadata{}
	metadata.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return metadata, reader.Get(ctx, client.ObjectKey{Name: name}, metadata)
}

// isTerminating says whether a namespace is being deleted, or is gone. If it was a RoleBinding that allowed to read it, that is gone too.
func isTerminating(ctx context.Context, reader client.Reader, namespace string) (bool, error) {
	metadata, err := namespaceMetadata(ctx, reader, namespace)
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return true, nil
	}
	return err == nil && !metadata.DeletionTimestamp.IsZero(), err
}

// clientFor returns a client for the Reporter of an endpoint. The error is an *obstacle where a user can mend it.
func (a *accessor) clientFor(ctx context.Context, endpoint *v1alpha1.ReporterEndpoint) (*reporter.Client, error) {
	if a.scope.isNamespaced() && endpoint.Spec.AllowedNamespaces.From == v1alpha1.FromSelector {
		return nil, &obstacle{finding{answer: answerInvalidEndpoint, detail: fmt.Sprintf("spec.allowedNamespaces of ReporterEndpoint %q selects namespaces by their labels, "+
			"which an operator that is installed for some namespaces alone may not watch. Set from to Same, or to All, which means those namespaces", endpoint.Name)}}
	}
	if selector := endpoint.Spec.AllowedNamespaces.Selector; selector != nil {
		if _, err := metav1.LabelSelectorAsSelector(selector); err != nil {
			return nil, &obstacle{finding{answer: answerInvalidEndpoint, detail: fmt.Sprintf("spec.allowedNamespaces.selector of ReporterEndpoint %q is invalid: %s", endpoint.Name, err)}}
		}
	}
	config := reporter.Config{BaseURL: string(endpoint.Spec.URL), Timeout: endpoint.Spec.Timeout.Duration,
		TLS: reporter.TLS{CABundle: endpoint.Spec.TLS.CABundle, ServerName: endpoint.Spec.TLS.ServerName}}
	if auth := endpoint.Spec.Auth; auth != nil {
		var err error
		switch {
		case auth.BearerToken != nil:
			ref := auth.BearerToken.SecretRef
			err = a.readSecret(ctx, endpoint.Namespace, ref.Name, map[string]*string{ref.Key: &config.Token})
		case auth.AccessManager != nil:
			config.AccessManager = &reporter.AccessManager{URL: string(auth.AccessManager.URL)}
			err = a.readSecret(ctx, endpoint.Namespace, auth.AccessManager.SecretRef.Name, map[string]*string{
				"clientId": &config.AccessManager.ClientID, "clientSecret": &config.AccessManager.ClientSecret})
		}
		if err != nil {
			return nil, err
		}
	}
	c, err := a.pool.Client(config)
	if err != nil {
		return nil, &obstacle{finding{answer: answerInvalidEndpoint, detail: fmt.Sprintf("ReporterEndpoint %q cannot be used: %s", endpoint.Name, err)}}
	}
	return c, nil
}

// readSecret reads keys of a marked Secret, without the white space around them that editors and `echo` leave.
func (a *accessor) readSecret(ctx context.Context, namespace, name string, values map[string]*string) error {
	key := client.ObjectKey{Namespace: namespace, Name: name}
	var secret corev1.Secret
	err := a.cached.Get(ctx, key, &secret)
	if apierrors.IsNotFound(err) {
		return a.reads.do(ctx, "Secret "+key.String(), func() error { return a.explainMissing(ctx, key) }) // thousands may miss it
	}
	if err != nil {
		return fmt.Errorf("reading Secret %s: %w", key, err)
	}
	for _, k := range slices.Sorted(maps.Keys(values)) { // in order, so that the same one is told of each time
		if *values[k] = strings.TrimSpace(string(secret.Data[k])); *values[k] == "" {
			return &obstacle{finding{answer: answerSecretNotFound, detail: fmt.Sprintf("Secret %q has no key %q, or nothing in it. Put the credentials there", name, k)}}
		}
	}
	return nil
}

// explainMissing tells a Secret that does not exist from one that is not labelled, without reading its contents.
func (a *accessor) explainMissing(ctx context.Context, key client.ObjectKey) error {
	var metadata metav1.PartialObjectMetadata
	metadata.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := a.live.Get(ctx, key, &metadata)
	if apierrors.IsNotFound(err) {
		return &obstacle{finding{answer: answerSecretNotFound, detail: fmt.Sprintf("Secret %q does not exist. Create it, labelled %s=true", key.Name, v1alpha1.CredentialsLabel)}}
	}
	if err != nil {
		return fmt.Errorf("reading metadata of Secret %s: %w", key, err)
	}
	return &obstacle{finding{answer: answerSecretNotGranted, detail: fmt.Sprintf(
		"Secret %q is not marked for Reporter, so it is not read. Run: kubectl label secret --namespace %s %s %s=true",
		key.Name, key.Namespace, key.Name, v1alpha1.CredentialsLabel)}}
}
