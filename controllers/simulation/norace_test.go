// SPDX-License-Identifier: Apache-2.0

//go:build !race

package simulation

// share is that of all histories.
const share = 1
