// SPDX-License-Identifier: Apache-2.0

// Package upgrade has the tests of an upgrade: earlier versions of the operator, built from this repository's history, work on a control plane, and
// later ones take over.
package upgrade
