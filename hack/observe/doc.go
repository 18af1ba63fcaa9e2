// SPDX-License-Identifier: Apache-2.0

// Package observe has no code: its tests hold alerts, dashboard and health checks to what the operator really shows, with the libraries of
// those who read them. It is a module of its own, so that their dependencies never become the operator's.
package observe
