// SPDX-License-Identifier: Apache-2.0

package decision

import "time"

// Usage is what a Secret or a RoleBinding is needed for: Needed, if the deletion of some connection will need it; Pending, if one does
// now.
type Usage struct{ Needed, Pending bool }

const (
	// releaseGrace is how long what is deleted is held for live resources: whoever prunes deletes them within it, and whoever
	// rotates credentials by deleting and creating has to wait no longer than that.
	releaseGrace = time.Minute
	// recheckInterval is how often it is looked at in case that no event came.
	recheckInterval = 10 * time.Second
)

// JudgeRelease decides about a deleted Secret or RoleBinding: whether it is released; whether live resources still use it, so that it is
// released with a warning; and otherwise when to look again.
func JudgeRelease(usage Usage, deletedFor time.Duration) (release, stillInUse bool, retryIn time.Duration) {
	switch {
	case !usage.Needed:
		return true, false, 0
	case usage.Pending:
		return false, false, recheckInterval
	case deletedFor < releaseGrace:
		return false, false, min(releaseGrace-deletedFor, recheckInterval)
	default:
		return true, true, 0
	}
}
