// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"fmt"
	"slices"
	"strings"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// JudgeFinalizers returns the block of a deleted resource whose finalizer of ours can go, as done says, while those of others hold it. It
// returns false where there are none.
func JudgeFinalizers(finalizers []string, ours, done string) (Block, bool) {
	const most = 5
	others := slices.DeleteFunc(slices.Clone(finalizers), func(finalizer string) bool { return finalizer == ours })
	if len(others) == 0 {
		return Block{}, false
	}
	more := ""
	if len(others) > most {
		more, others = fmt.Sprintf(" and %d more", len(others)-most), others[:most]
	}
	return BlockFor(v1alpha1.ReasonFinalizersRemaining,
		fmt.Sprintf("%s. Finalizers of others still hold this resource: %s%s", done, strings.Join(others, ", "), more), 0), true
}

// RefusedRelease is the block of a deleted resource whose finalizer of ours could go, as done says, and that the API server refuses to
// remove.
func RefusedRelease(done, refusal string) Block {
	return BlockFor(v1alpha1.ReasonFinalizerRemovalFailed, done+": "+refusal, 0)
}
