// SPDX-License-Identifier: Apache-2.0

// Package config holds what is installed with the operator, for programs that compare a cluster with it.
package config

import "embed"

// Files are the definitions of the kinds, the admission policies and the operator's role, before kustomize gives them their names.
//
//go:embed crd/bases admission/validating.yaml admission/mutating.yaml rbac/role.yaml
var Files embed.FS
