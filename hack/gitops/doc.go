// SPDX-License-Identifier: Apache-2.0

// Package gitops has no code: its tests have the engines of Argo CD, Flux, Helm and kubectl apply, change, rename, move and delete what the
// operator looks after. It is a module of its own, so that their dependencies never become the operator's.
package gitops
