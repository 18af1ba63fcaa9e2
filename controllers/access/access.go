// SPDX-License-Identifier: Apache-2.0

// Package access turns a ReporterEndpoint and its Secret into a client of Reporter. It alone uses what is in Secrets, and it confirms with
// the API server what a deletion rests on.
package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
	"github.com/reporter-operator/reporter-operator/controllers/scope"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// Accessor gives access to Reporters.
type Accessor struct {
	// cached sees labelled Secrets only; live is asked, for metadata alone, why one is not among them.
	cached, live client.Reader
	pool         *reporter.Pool
	scope        scope.Scope
	reads        kube.SharedReads[client.Object]
}

// New returns an Accessor that reads from a cache, and live what must not come from one. GoOn, if it is not nil, is called by each of those
// who have shared a read.
func New(cached, live client.Reader, pool *reporter.Pool, s scope.Scope, goOn func(context.Context)) *Accessor {
	return &Accessor{cached: cached, live: live, pool: pool, scope: s, reads: kube.SharedReads[client.Object]{GoOn: goOn}}
}

// liveSince reads what the API server had at a time or later.
func (a *Accessor) liveSince(notBefore time.Time) client.Reader {
	return confirmingReader{a.live, &a.reads, notBefore}
}

// ObstacleError is an error for what keeps Reporter from being asked and that a user can mend.
type ObstacleError struct{ decision.Outcome }

// Error is the detail of the outcome.
func (o *ObstacleError) Error() string { return o.Detail }

func obstacle(reason, format string, args ...any) error {
	return &ObstacleError{decision.Outcome{Reason: reason, Detail: fmt.Sprintf(format, args...)}}
}

// Target is how a connection is reached right now.
type Target struct {
	// Endpoint is the one that a connection names, nil where there is none, or none that it may use.
	Endpoint *v1alpha1.ReporterEndpoint
	// Client speaks to its Reporter, nil where there is an obstacle.
	Client *reporter.Client
	// Obstacle says why there is no client; its reason is Available where there is one.
	Obstacle decision.Outcome

	// credentials stand for those that the client was made with, empty without any.
	credentials string
}

// LogIn makes sure that there is a token, where one is needed, and returns the place that the client speaks to. The error is that of the
// client.
func (to Target) LogIn(ctx context.Context) (v1alpha1.ObservedIn, error) {
	tenant, err := to.Client.Login(ctx)
	return to.Place(tenant), err
}

// Place is where a request goes whose token is for a tenant.
func (to Target) Place(tenant reporter.Tenant) v1alpha1.ObservedIn {
	place := v1alpha1.ObservedIn{URL: to.Client.URL(), TenantID: tenant.ID}
	if !tenant.Readable {
		place.Credentials = to.credentials
	}
	return place
}

// Target returns how a connection is reached, as the caches have it.
func (a *Accessor) Target(ctx context.Context, rc *v1alpha1.ReporterConnection) (Target, error) {
	return a.target(ctx, a.cached, rc, "")
}

// confirming goes before the name of an endpoint in the pool while the endpoint is confirmed. The Reporter of one that the API server alone
// shows is forgotten after that: the event by which others are forgotten may never come for it.
const confirming = "confirming "

// Confirm is Target as the API server had it at a time or later: the endpoint, that it lets the resource in, and that the Secret is still
// marked. All who ask in the same moment share its reads. The contents of the Secret are those of the cache.
func (a *Accessor) Confirm(ctx context.Context, rc *v1alpha1.ReporterConnection, notBefore time.Time) (Target, error) {
	live := a.liveSince(notBefore)
	defer a.pool.Release(confirming + rc.EndpointKey().String())
	to, err := a.target(ctx, live, rc, confirming)
	if err != nil || to.Client == nil {
		return to, err
	}
	for _, name := range to.Endpoint.SecretNames() {
		var o *ObstacleError
		if err := a.checkMark(ctx, live, client.ObjectKey{Namespace: to.Endpoint.Namespace, Name: name}, v1alpha1.CredentialsOfEndpoint); errors.As(err, &o) {
			to.Client, to.Obstacle = nil, o.Outcome
		} else if err != nil {
			return to, err
		}
	}
	return to, nil
}

func (a *Accessor) target(ctx context.Context, reader client.Reader, rc *v1alpha1.ReporterConnection, purpose string) (Target, error) {
	to := Target{Obstacle: decision.Outcome{Reason: v1alpha1.ReasonAvailable}}
	var err error
	if to.Endpoint, err = a.endpointFor(ctx, reader, rc); err == nil {
		to.Client, to.credentials, err = a.clientFor(ctx, to.Endpoint, purpose)
	}
	if to.Client != nil && purpose == "" {
		err = a.releaseIfGone(ctx, rc.EndpointKey())
	}
	var o *ObstacleError
	if errors.As(err, &o) {
		to.Obstacle = o.Outcome
		return to, nil
	}
	return to, err
}

// LeadsTo returns the URL, in its one form, of the endpoint that a claim names and that lets it in; empty where there is none. The cache is
// believed where it shows that the endpoint leads here, which keeps the connection. Anything else is read live, so that no claim is
// dismissed because a cache is late.
func (a *Accessor) LeadsTo(ctx context.Context, claim *v1alpha1.ReporterConnection, here string, notBefore time.Time) (string, error) {
	var o *ObstacleError
	endpoint, err := a.endpointFor(ctx, a.cached, claim)
	if errors.As(err, &o) || err == nil && reporter.CanonicalURL(string(endpoint.Spec.URL)) != here {
		endpoint, err = a.endpointFor(ctx, a.liveSince(notBefore), claim)
	}
	switch {
	case errors.As(err, &o):
		return "", nil
	case err != nil:
		return "", err
	}
	return reporter.CanonicalURL(string(endpoint.Spec.URL)), nil
}

// endpointFor returns the endpoint that a connection names, if it allows the connection's namespace. The error is an *ObstacleError where a
// user can mend it, and the same whether the endpoint is not there or not allowed: who may not use it learns nothing of it.
func (a *Accessor) endpointFor(ctx context.Context, reader client.Reader, rc *v1alpha1.ReporterConnection) (*v1alpha1.ReporterEndpoint, error) {
	key := rc.EndpointKey()
	if a.scope.Includes(key.Namespace) {
		var endpoint v1alpha1.ReporterEndpoint
		err := reader.Get(ctx, key, &endpoint)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("reading ReporterEndpoint %s: %w", key, err)
		}
		allowed := false
		if err == nil {
			if allowed, err = a.Allows(ctx, reader, &endpoint, rc.Namespace); err != nil {
				return nil, err
			}
		}
		if allowed {
			return &endpoint, nil
		}
	}
	if key.Namespace != rc.Namespace {
		return nil, obstacle(v1alpha1.ReasonEndpointNotFound, "ReporterEndpoint %q does not exist in namespace %q, or does not allow namespace %q in its spec.allowedNamespaces. "+
			"Have it created or allowed, or name another in spec.endpointRef", key.Name, key.Namespace, rc.Namespace)
	}
	return nil, obstacle(v1alpha1.ReasonEndpointNotFound, "ReporterEndpoint %q does not exist in namespace %q. Create it, or name another in spec.endpointRef", key.Name, key.Namespace)
}

// Allows says whether the resources of a namespace may use an endpoint.
func (a *Accessor) Allows(ctx context.Context, reader client.Reader, endpoint *v1alpha1.ReporterEndpoint, namespace string) (bool, error) {
	if namespace == endpoint.Namespace {
		return true, nil
	}
	switch endpoint.Spec.AllowedNamespaces.From {
	case v1alpha1.FromAll:
		return true, nil
	case v1alpha1.FromSelector:
		if a.scope.IsNamespaced() {
			return false, nil // other labels would wake nobody; the endpoint says so
		}
		selector, err := metav1.LabelSelectorAsSelector(endpoint.Spec.AllowedNamespaces.Selector)
		if err != nil {
			return false, nil //nolint:nilerr // an invalid selector matches nothing; the endpoint says so
		}
		metadata, err := kube.NamespaceMetadata(ctx, reader, namespace)
		return err == nil && selector.Matches(labels.Set(metadata.Labels)), client.IgnoreNotFound(err)
	default:
		return false, nil
	}
}

// ClientFor returns a client for the Reporter of an endpoint. The error is an *ObstacleError where a user can mend it.
func (a *Accessor) ClientFor(ctx context.Context, endpoint *v1alpha1.ReporterEndpoint) (*reporter.Client, error) {
	c, _, err := a.clientFor(ctx, endpoint, "")
	return c, err
}

// Release forgets the Reporter of an endpoint that is gone.
func (a *Accessor) Release(endpoint client.ObjectKey) { a.pool.Release(endpoint.String()) }

// releaseIfGone forgets the Reporter of an endpoint that has gone while its Secret was read: whoever noticed that may have forgotten it
// before there was a client of it.
func (a *Accessor) releaseIfGone(ctx context.Context, endpoint client.ObjectKey) error {
	err := a.cached.Get(ctx, endpoint, &v1alpha1.ReporterEndpoint{})
	if apierrors.IsNotFound(err) {
		a.Release(endpoint)
	}
	return client.IgnoreNotFound(err)
}

func (a *Accessor) clientFor(ctx context.Context, endpoint *v1alpha1.ReporterEndpoint, purpose string) (c *reporter.Client, credentials string, err error) {
	if a.scope.IsNamespaced() && endpoint.Spec.AllowedNamespaces.From == v1alpha1.FromSelector {
		return nil, "", obstacle(v1alpha1.ReasonInvalidEndpoint, "spec.allowedNamespaces of ReporterEndpoint %q selects namespaces by their labels, "+
			"which an operator that is installed for some namespaces alone may not watch. Set from to Same, or to All, which means those namespaces", endpoint.Name)
	}
	if selector := endpoint.Spec.AllowedNamespaces.Selector; selector != nil {
		if _, err := metav1.LabelSelectorAsSelector(selector); err != nil {
			return nil, "", obstacle(v1alpha1.ReasonInvalidEndpoint, "spec.allowedNamespaces.selector of ReporterEndpoint %q is invalid: %s", endpoint.Name, err)
		}
	}
	config := reporter.Config{BaseURL: string(endpoint.Spec.URL), Timeout: endpoint.Spec.Timeout.Duration,
		TLS: reporter.TLS{CABundle: endpoint.Spec.TLS.CABundle, ServerName: endpoint.Spec.TLS.ServerName}}
	if auth := endpoint.Spec.Auth; auth != nil {
		switch {
		case auth.BearerToken != nil:
			ref := auth.BearerToken.SecretRef
			credentials, err = a.readSecret(ctx, endpoint.Namespace, ref.Name, map[string]*string{ref.Key: &config.Token})
		case auth.AccessManager != nil:
			config.AccessManager = &reporter.AccessManager{URL: string(auth.AccessManager.URL)}
			credentials, err = a.readSecret(ctx, endpoint.Namespace, auth.AccessManager.SecretRef.Name, map[string]*string{
				"clientId": &config.AccessManager.ClientID, "clientSecret": &config.AccessManager.ClientSecret})
		}
		if err != nil {
			return nil, "", err
		}
	}
	c, err = a.pool.Client(purpose+client.ObjectKeyFromObject(endpoint).String(), config)
	if err != nil {
		return nil, "", obstacle(v1alpha1.ReasonInvalidEndpoint, "ReporterEndpoint %q cannot be used: %s", endpoint.Name, err)
	}
	return c, credentials, nil
}

// readSecret reads keys of a marked Secret, without the white space around them that editors and `echo` leave. It returns what stands for
// what was read: a few bits of a digest, keyed with the Secret's UID, that differ where the credentials do and say nothing of them.
func (a *Accessor) readSecret(ctx context.Context, namespace, name string, values map[string]*string) (credentials string, err error) {
	key := client.ObjectKey{Namespace: namespace, Name: name}
	var secret corev1.Secret
	err = a.cached.Get(ctx, key, &secret)
	if apierrors.IsNotFound(err) || err == nil && secret.Labels[v1alpha1.CredentialsLabel] != v1alpha1.CredentialsOfEndpoint {
		if err := a.checkMark(ctx, a.liveSince(time.Now()), key, v1alpha1.CredentialsOfEndpoint); err != nil {
			return "", err
		}
		return "", obstacle(v1alpha1.ReasonSecretNotFound, "Secret %q has just been created or labelled, and is read in a moment", name)
	}
	if err != nil {
		return "", fmt.Errorf("reading Secret %s: %w", key, err)
	}
	digest := sha256.New()
	fmt.Fprintf(digest, "%s", secret.UID)
	for _, k := range slices.Sorted(maps.Keys(values)) { // in order, so that the same one is named each time
		if *values[k] = strings.TrimSpace(string(secret.Data[k])); *values[k] == "" {
			return "", obstacle(v1alpha1.ReasonSecretNotFound, "Secret %q has no key %q, or nothing in it. Put the credentials there", name, k)
		}
		fmt.Fprintf(digest, " %d:%s", len(*values[k]), *values[k])
	}
	return hex.EncodeToString(digest.Sum(nil)[:4]), nil
}

// checkMark returns an *ObstacleError where a Secret does not exist or is not marked with a value, without reading its contents.
func (a *Accessor) checkMark(ctx context.Context, reader client.Reader, key client.ObjectKey, value string) error {
	_, err := a.markedMetadata(ctx, reader, key, value)
	return err
}

// markedMetadata is checkMark, and returns the metadata.
func (a *Accessor) markedMetadata(ctx context.Context, reader client.Reader, key client.ObjectKey, value string) (*metav1.PartialObjectMetadata, error) {
	var metadata metav1.PartialObjectMetadata
	metadata.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := reader.Get(ctx, key, &metadata)
	switch {
	case apierrors.IsNotFound(err):
		return nil, obstacle(v1alpha1.ReasonSecretNotFound, "Secret %q does not exist. Create it, labelled %s=%s", key.Name, v1alpha1.CredentialsLabel, value)
	case err != nil:
		return nil, fmt.Errorf("reading metadata of Secret %s: %w", key, err)
	case metadata.Labels[v1alpha1.CredentialsLabel] == "":
		return nil, obstacle(v1alpha1.ReasonSecretNotGranted, "Secret %q is not labelled for Reporter, so it is not read. Run: kubectl label secret --namespace %s %s %s=%s",
			key.Name, key.Namespace, key.Name, v1alpha1.CredentialsLabel, value)
	case metadata.Labels[v1alpha1.CredentialsLabel] != value:
		return nil, obstacle(v1alpha1.ReasonSecretNotGranted, "Secret %q is labelled %s=%s, and is needed with the value %s: take another Secret, or run: "+
			"kubectl label --overwrite secret --namespace %s %s %s=%s", key.Name, v1alpha1.CredentialsLabel, metadata.Labels[v1alpha1.CredentialsLabel], value,
			key.Namespace, key.Name, v1alpha1.CredentialsLabel, value)
	}
	return &metadata, nil
}
