// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"fmt"
	"time"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// Attempt is all that the decision about an attempt at a deletion looks at.
type Attempt struct {
	// Deletion is the outcome of DELETE, or of what failed on the way to it.
	Deletion Outcome
	// SecondLook is the outcome of the GET that follows a DELETE which found the connection absent.
	SecondLook Outcome
	// Seen says whether Reporter ever showed the connection to this resource; SeenHere, whether it did at the place where the attempt
	// was made.
	Seen, SeenHere bool
	// SentBefore says that an earlier DELETE may have been carried out although no answer said so.
	SentBefore bool
	// IsLeft says that the connection turned out to be somebody else's, so that nothing was sent; LeftTo names the resource of the same
	// namespace whose it is, empty if it is not one.
	IsLeft bool
	LeftTo string
	// ConfigName is the name by which jobs in Reporter know the connection, empty if it is not known.
	ConfigName string
}

// Release says how a deletion ends.
type Release int

// The zero value does not end it.
const (
	ReleaseNone Release = iota
	// ReleaseDeleted: the connection was soft-deleted by us.
	ReleaseDeleted
	// ReleaseAlreadyDeleted: somebody else had deleted it.
	ReleaseAlreadyDeleted
	// ReleaseNeverSeen: it is absent, and was never seen: perhaps the id is wrong.
	ReleaseNeverSeen
	// ReleaseToOther: it is somebody else's.
	ReleaseToOther
)

// Verdict is what follows from an attempt: the finalizer is released, or the deletion is blocked.
type Verdict struct {
	Release Release
	Block
}

// JudgeDeletion decides about the finalizer. Two outcomes release it: the connection was soft-deleted just now, or it is proven absent.
// Anything else blocks the deletion.
func JudgeDeletion(a Attempt, waited time.Duration) Verdict {
	switch {
	case a.IsLeft:
		return Verdict{Release: ReleaseToOther}
	case a.Deletion.IsDone():
		return Verdict{Release: ReleaseDeleted}
	case a.Deletion.Reason == v1alpha1.ReasonJobInProgress:
		a.Deletion.Detail = "the connection"
		if a.ConfigName != "" {
			a.Deletion.Detail = fmt.Sprintf("connection %q", a.ConfigName)
		}
		block := JudgeBlock(a.Deletion, waited)
		block.Message += ", or set spec.deletionPolicy to Retain"
		return Verdict{Block: block}
	case !a.Deletion.IsAbsent():
		return Verdict{Block: JudgeBlock(a.Deletion, waited)}
	case a.SecondLook.IsDone():
		return Verdict{Block: BlockFor(v1alpha1.ReasonNotDeletable, "", 0)}
	case !a.SecondLook.IsAbsent():
		return Verdict{Block: JudgeBlock(a.SecondLook, waited)}
	case a.Seen && !a.SeenHere:
		return Verdict{Block: BlockFor(v1alpha1.ReasonAbsenceUnverified, "", 0)}
	case !a.Seen:
		return Verdict{Release: ReleaseNeverSeen}
	case a.SentBefore:
		return Verdict{Release: ReleaseDeleted}
	default:
		return Verdict{Release: ReleaseAlreadyDeleted}
	}
}
