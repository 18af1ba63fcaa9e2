// SPDX-License-Identifier: Apache-2.0

// Package config holds what is installed with the operator, for programs that compare a cluster with it.
package config

import "embed"

// Files are the definitions of the kinds, the admission policies, the roles and what runs, before kustomize gives them their names.
//
//go:embed crd/bases admission/*.yaml rbac/*.yaml manager/*.yaml
var Files embed.FS
