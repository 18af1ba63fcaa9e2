// SPDX-License-Identifier: Apache-2.0

//go:build race

package simulation

// share is the share of the histories that is played under the race detector, which makes each of them ten times as slow. Races need no
// particular one; the promises are checked without it.
const share = 5
