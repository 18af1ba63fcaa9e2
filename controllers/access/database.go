// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// DatabaseCredentials are what the description of a connection takes from Secrets.
type DatabaseCredentials struct {
	UserName string
	Password reporter.Secret
	// Certificate and Key are those that Reporter shows to the database, empty without any.
	Certificate string
	Key         reporter.Secret
	// Version stands for the Secrets as they were read: it is another when one of them has changed. It says nothing of what is in them.
	Version string
	// Contents stands for what is in the Secrets, whatever their versions. It is a digest, which is not to leave the process.
	Contents [sha256.Size]byte
}

// DatabaseCredentials reads the Secrets that the description of a connection names, in the namespace of the resource. The error is an
// *ObstacleError where a user can mend it: one does not exist, is not labelled for databases, lacks a key, or does not list the host.
func (a *Accessor) DatabaseCredentials(ctx context.Context, rc *v1alpha1.ReporterConnection) (DatabaseCredentials, error) {
	described := rc.Spec.Connection
	credentials := DatabaseCredentials{UserName: described.UserName}
	version, contents := sha256.New(), sha256.New()
	read := func(name, key string) (string, error) {
		secret, err := a.databaseSecret(ctx, rc, name, key)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(version, "%s %s %s %s\n", secret.UID, secret.ResourceVersion, name, key)
		value := string(secret.Data[key])
		fmt.Fprintf(contents, "%q ", value)
		if strings.TrimSpace(value) == "" {
			return "", obstacle(v1alpha1.ReasonSecretNotFound, `Secret %q has no key %q, or nothing in it. Run: kubectl patch secret --namespace %s %s --type=merge -p '{"stringData":{%q:"…"}}'`,
				name, key, rc.Namespace, name, key)
		}
		return value, nil
	}
	password, err := read(described.PasswordSecretRef.Name, described.PasswordSecretRef.Key)
	if err != nil {
		return DatabaseCredentials{}, err
	}
	credentials.Password = reporter.NewSecret(withoutNewline(password))
	if ref := described.UserNameSecretRef; ref != nil {
		userName, err := read(ref.Name, ref.Key)
		if err != nil {
			return DatabaseCredentials{}, err
		}
		credentials.UserName = strings.TrimSpace(userName)
	}
	if described.SSL != nil && described.SSL.ClientCertificateSecretRef != nil {
		name := described.SSL.ClientCertificateSecretRef.Name
		if credentials.Certificate, err = read(name, corev1.TLSCertKey); err != nil {
			return DatabaseCredentials{}, err
		}
		key, err := read(name, corev1.TLSPrivateKeyKey)
		if err != nil {
			return DatabaseCredentials{}, err
		}
		credentials.Key = reporter.NewSecret(key)
	}
	credentials.Version, credentials.Contents = hex.EncodeToString(version.Sum(nil)), [sha256.Size]byte(contents.Sum(nil))
	return credentials, nil
}

// withoutNewline drops the newline that editors and `echo` leave.
func withoutNewline(text string) string {
	if before, found := strings.CutSuffix(text, "\r\n"); found {
		return before
	}
	return strings.TrimSuffix(text, "\n")
}

// databaseSecret reads a Secret that is labelled for databases and may be used for a resource. The field is what is needed of it.
func (a *Accessor) databaseSecret(ctx context.Context, rc *v1alpha1.ReporterConnection, name, field string) (*corev1.Secret, error) {
	key := client.ObjectKey{Namespace: rc.Namespace, Name: name}
	var secret corev1.Secret
	err := a.cached.Get(ctx, key, &secret)
	switch {
	case apierrors.IsNotFound(err), err == nil && secret.Labels[v1alpha1.CredentialsLabel] != v1alpha1.CredentialsOfDatabase:
		var known *ObstacleError
		if err := a.checkMark(ctx, a.liveSince(time.Now()), key, v1alpha1.CredentialsOfDatabase); errors.As(err, &known) && known.Outcome.Reason == v1alpha1.ReasonSecretNotFound {
			return nil, obstacle(v1alpha1.ReasonSecretNotFound, "Secret %q does not exist. Run: %s && kubectl label secret --namespace %s %s %s=%s",
				key.Name, commandToCreate(key, field), key.Namespace, key.Name, v1alpha1.CredentialsLabel, v1alpha1.CredentialsOfDatabase)
		} else if err != nil {
			return nil, err
		}
		return nil, obstacle(v1alpha1.ReasonSecretNotFound, "Secret %q has just been created or labelled, and is read in a moment", key.Name)
	case err != nil:
		return nil, fmt.Errorf("reading Secret %s: %w", key, err)
	}
	return &secret, checkUse(&secret, rc)
}

// commandToCreate is how to create a Secret that has a field.
func commandToCreate(key client.ObjectKey, field string) string {
	if field == corev1.TLSCertKey || field == corev1.TLSPrivateKeyKey {
		return fmt.Sprintf("kubectl create secret tls --namespace %s %s --cert=… --key=…", key.Namespace, key.Name)
	}
	return fmt.Sprintf("kubectl create secret generic --namespace %s %s --from-literal=%s=…", key.Namespace, key.Name, field)
}

// checkUse returns an *ObstacleError where a Secret lists hosts, and not the described one; or endpoints, and not the one that is named. A Secret that
// lists hosts and no endpoints is for those of its own namespace: whoever may not read it could have it sent to a Reporter of his otherwise.
func checkUse(secret client.Object, rc *v1alpha1.ReporterConnection) error {
	hosts, isForHosts := secret.GetAnnotations()[v1alpha1.HostsAnnotation]
	endpoints, isForEndpoints := secret.GetAnnotations()[v1alpha1.EndpointsAnnotation]
	host, endpoint := rc.Spec.Connection.Host, rc.EndpointKey()
	switch {
	case isForHosts && !listsHost(hosts, host):
		return obstacle(v1alpha1.ReasonHostNotAllowed, "The annotation %s of Secret %q does not list %q, so what the Secret holds is not sent with that host. "+
			"Add it there, or correct spec.connection.host", v1alpha1.HostsAnnotation, secret.GetName(), host)
	case isForEndpoints && !listsEndpoint(endpoints, endpoint):
		return obstacle(v1alpha1.ReasonHostNotAllowed, "The annotation %s of Secret %q does not list %q, so what the Secret holds is not sent through that endpoint. "+
			"Add it there, or correct spec.endpointRef", v1alpha1.EndpointsAnnotation, secret.GetName(), endpoint)
	case isForHosts && !isForEndpoints && endpoint.Namespace != rc.Namespace:
		return obstacle(v1alpha1.ReasonHostNotAllowed, "Secret %q has the annotation %s, so what it holds is sent through endpoints of its own namespace alone, unless it lists others. "+
			"Run: kubectl annotate secret --namespace %s %s %s=%s", secret.GetName(), v1alpha1.HostsAnnotation, rc.Namespace, secret.GetName(), v1alpha1.EndpointsAnnotation, endpoint)
	default:
		return nil
	}
}

// listsEndpoint says whether an endpoint is one of a list, as namespace/name, separated by commas.
func listsEndpoint(endpoints string, endpoint client.ObjectKey) bool {
	return slices.ContainsFunc(strings.Split(endpoints, ","), func(listed string) bool { return strings.TrimSpace(listed) == endpoint.String() })
}

// listsHost says whether a host is one of a list, separated by commas. Names are the same in any case, and with a dot behind them.
func listsHost(hosts, host string) bool {
	inOneForm := func(host string) string { return strings.ToLower(strings.TrimSuffix(strings.TrimSpace(host), ".")) }
	return slices.ContainsFunc(strings.Split(hosts, ","), func(listed string) bool { return inOneForm(listed) == inOneForm(host) })
}

// Namespace is the metadata of a namespace, as the API server has it. All who ask in the same moment share the read.
func (a *Accessor) Namespace(ctx context.Context, name string) (*metav1.PartialObjectMetadata, error) {
	metadata, err := kube.NamespaceMetadata(ctx, a.liveSince(time.Time{}), name)
	if err != nil {
		return nil, fmt.Errorf("reading namespace %s: %w", name, err)
	}
	return metadata, nil
}

// ConfirmDatabaseSecrets returns an *ObstacleError where a Secret that a description names is not labelled for databases any more, or lists other
// hosts or endpoints, as the API server had it at a time or later.
func (a *Accessor) ConfirmDatabaseSecrets(ctx context.Context, rc *v1alpha1.ReporterConnection, notBefore time.Time) error {
	for _, name := range rc.DatabaseSecretNames() {
		metadata, err := a.markedMetadata(ctx, a.liveSince(notBefore), client.ObjectKey{Namespace: rc.Namespace, Name: name}, v1alpha1.CredentialsOfDatabase)
		if err == nil {
			err = checkUse(metadata, rc)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
