// SPDX-License-Identifier: Apache-2.0

// Package scope says where the operator works, in the whole cluster or in some namespaces alone, and what follows for its cache, its
// clients and its rights.
package scope

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// Told to work in some namespaces alone, the operator has rights there and nowhere else, by a RoleBinding in each. None can allow to
// list or watch namespaces, or anything in all of them. And a namespace without one must not stop the work in the others: a manager
// that may not list what it is to watch gives up after a while. So it is given those alone where it may.

// RoleBindingName is the name of all these RoleBindings; config/namespaced allows to read and patch no other.
const RoleBindingName = "reporter-operator"

// Scope is where the operator works. The zero value is everywhere.
type Scope struct {
	// granted are the namespaces to work in, as it has its rights there; nil for all.
	granted []string
	// recheck has the rights looked at again, where there is reason to believe that they have changed.
	recheck func()
}

// IsNamespaced says whether the operator works in some namespaces alone.
func (s Scope) IsNamespaced() bool { return s.granted != nil }

// IsEmpty says whether there is nowhere to work: none of the namespaces has its RoleBinding.
func (s Scope) IsEmpty() bool { return s.IsNamespaced() && len(s.granted) == 0 }

// Includes says whether a namespace is one to work in.
func (s Scope) Includes(namespace string) bool {
	return !s.IsNamespaced() || slices.Contains(s.granted, namespace)
}

// markedSecrets selects the Secrets that the operator may read.
func markedSecrets() labels.Selector {
	marked, err := labels.NewRequirement(v1alpha1.CredentialsLabel, selection.In, []string{v1alpha1.CredentialsOfEndpoint, v1alpha1.CredentialsOfDatabase})
	if err != nil {
		panic(err) // a constant is wrong
	}
	return labels.NewSelector().Add(*marked)
}

// CacheOptions are those of the manager's cache: of all Secrets it holds the marked ones alone, and of all RoleBindings those that the
// operator has its rights by.
func (s Scope) CacheOptions() cache.Options {
	options := cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Label: markedSecrets()},
		},
	}
	if s.IsNamespaced() {
		options.ByObject[&rbacv1.RoleBinding{}] = cache.ByObject{Field: fields.OneTermEqualSelector("metadata.name", RoleBindingName)}
		options.DefaultNamespaces = map[string]cache.Config{}
		for _, namespace := range s.granted {
			options.DefaultNamespaces[namespace] = cache.Config{}
		}
		options.DefaultWatchErrorHandler = func(ctx context.Context, r *toolscache.Reflector, err error) {
			if apierrors.IsForbidden(err) {
				s.recheck()
			}
			toolscache.DefaultWatchErrorHandler(ctx, r, err)
		}
	}
	return options
}

// Recheck has the rights looked at again: something has shown that they may have changed.
func (s Scope) Recheck() { s.recheck() }

// ClientOptions are those of the manager's client: a RoleBinding allows to read its own namespace, but not to watch it.
func (s Scope) ClientOptions() client.Options {
	if !s.IsNamespaced() {
		return client.Options{}
	}
	return client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Namespace{}}}}
}

// Live is a reader for what must not come from the cache.
func (s Scope) Live(reader client.Reader) client.Reader {
	if !s.IsNamespaced() {
		return reader
	}
	return oneByOne{Reader: reader, namespaces: s.granted}
}

// oneByOne lists one namespace after the other where it is asked for all.
type oneByOne struct {
	client.Reader
	namespaces []string
}

func (r oneByOne) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	if new(client.ListOptions).ApplyOptions(options).Namespace != "" {
		return r.Reader.List(ctx, list, options...)
	}
	var all []runtime.Object
	oldest := "" // the list is as old as the first part of it
	for _, namespace := range r.namespaces {
		part := list.DeepCopyObject().(client.ObjectList) // a list that is used again overwrites what was taken from it
		if err := r.Reader.List(ctx, part, append(slices.Clone(options), client.InNamespace(namespace))...); err != nil {
			return err
		}
		items, err := apimeta.ExtractList(part)
		if err != nil {
			return err
		}
		all = append(all, items...)
		if oldest == "" || isOlder(part.GetResourceVersion(), oldest) {
			oldest = part.GetResourceVersion()
		}
	}
	list.SetResourceVersion(oldest)
	return apimeta.SetList(list, all)
}

func isOlder(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order < 0
}

// RunInNamespaces calls work for those of the namespaces in which the operator has its rights, until ctx is done or work fails. When
// they have become others, it ends work through its context and calls it anew, since no manager takes up another namespace. As
// at the end of the process, the requests under way are waited for, so that no resource is worked on twice at a time.
func RunInNamespaces(ctx context.Context, server client.Client, namespaces []string, work func(context.Context, Scope) error) error {
	namespaces = slices.Clone(namespaces)
	slices.Sort(namespaces) // one that is named twice would be listed twice
	g := grants{server: server, namespaces: slices.Compact(namespaces), recheck: make(chan struct{}, 1), logged: map[string]bool{}, refused: map[string]time.Time{}}
	for g.check(ctx, true); g.unsure; g.check(ctx, true) { // claims in a namespace that is taken for lost would not count
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
	for {
		ctrl.Log.Info("Working in namespaces", "namespaces", g.granted)
		scope := Scope{granted: g.granted, recheck: g.lookAgain}
		working, end := context.WithCancel(ctx)
		changed := make(chan struct{})
		go func() {
			defer close(changed)
			g.awaitChange(working)
			end()
		}()
		err := work(working, scope)
		end()
		<-changed
		if err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// grants knows in which namespaces the operator has its rights.
type grants struct {
	server     client.Client
	namespaces []string
	recheck    chan struct{}

	unsure  bool            // the last look at one of them gave no answer
	granted []string        // never nil, and never changed in place
	logged  map[string]bool // the others that the log has named
	// refused is since when the API server has refused to say.
	refused map[string]time.Time
}

// refusalPatience is for how long an API server that refuses to say may not know yet what is allowed: one that has just started still loads
// its RoleBindings, and refuses everything meanwhile.
const refusalPatience = 5 * time.Second

// grantInterval is how often namespaces without the rights are looked at again.
const grantInterval = 10 * time.Second

// awaitChange returns when the rights have changed, or ctx is done. The watches that had rights notice their loss.
func (g *grants) awaitChange(ctx context.Context) {
	poll := time.NewTicker(grantInterval)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.recheck:
			if g.check(ctx, true) {
				return
			}
			if g.unsure {
				time.AfterFunc(time.Second, g.lookAgain)
			}
		case <-poll.C:
			if g.check(ctx, false) {
				return
			}
		}
	}
}

// lookAgain has all namespaces looked at, in a moment.
func (g *grants) lookAgain() {
	select {
	case g.recheck <- struct{}{}:
	default: // it will be
	}
}

// check finds out in which namespaces the operator has its rights, and says whether that has changed. It looks at all of them, or at
// those alone in which it has none.
func (g *grants) check(ctx context.Context, all bool) bool {
	granted := []string{}
	g.unsure = false
	for _, namespace := range g.namespaces {
		had := slices.Contains(g.granted, namespace)
		if had && !all {
			granted = append(granted, namespace)
			continue
		}
		// It allows to read itself. Whatever else lets the operator read it does not make up for it: it could not be held.
		err := g.server.Get(ctx, client.ObjectKey{Namespace: namespace, Name: RoleBindingName}, &rbacv1.RoleBinding{})
		if !apierrors.IsForbidden(err) {
			delete(g.refused, namespace)
		} else if g.refused[namespace].IsZero() {
			g.refused[namespace] = time.Now()
		}
		switch {
		case err == nil:
			granted = append(granted, namespace)
			delete(g.logged, namespace)
		case apierrors.IsNotFound(err) || apierrors.IsForbidden(err) && (g.logged[namespace] || time.Since(g.refused[namespace]) >= refusalPatience):
			g.logMissing(ctx, namespace, err)
		default:
			g.unsure = true
			ctrl.Log.Error(err, "Finding out whether to work in a namespace", "namespace", namespace)
			if had {
				granted = append(granted, namespace) // not knowing is no reason to stop
			}
		}
	}
	changed := !slices.Equal(granted, g.granted)
	g.granted = granted
	return changed
}

// logMissing logs once that a namespace lacks its RoleBinding, and how to create it.
func (g *grants) logMissing(ctx context.Context, namespace string, reason error) {
	if g.logged[namespace] {
		return
	}
	g.logged[namespace] = true
	ctrl.Log.Info("Not working in a namespace, as it has no RoleBinding for the operator, or does not exist", "namespace", namespace,
		"reason", reason.Error(), "run", g.commandToGrant(ctx, namespace))
}

// commandToGrant is how to create the RoleBinding of a namespace. The ClusterRole and the ServiceAccount have the same prefix, whatever that
// is; where the API server does not say who the operator is, it is the one that config/default gives.
func (g *grants) commandToGrant(ctx context.Context, namespace string) string {
	const account, role = "controller-manager", "manager-role"
	home, prefix := "reporter-operator-system", "reporter-operator-"
	var review authenticationv1.SelfSubjectReview
	if err := g.server.Create(ctx, &review); err == nil {
		user, isAccount := strings.CutPrefix(review.Status.UserInfo.Username, "system:serviceaccount:")
		in, name, _ := strings.Cut(user, ":")
		if before, found := strings.CutSuffix(name, account); found && isAccount {
			home, prefix = in, before
		}
	}
	return fmt.Sprintf("kubectl create rolebinding %s --namespace %s --clusterrole=%s --serviceaccount=%s:%s", RoleBindingName, namespace, prefix+role, home, prefix+account)
}
