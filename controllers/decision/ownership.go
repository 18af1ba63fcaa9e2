// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// Mark says whose a connection in Reporter is: it stands in the connection's metadata.
type Mark struct {
	// Namespace is the UID of the resource's namespace, as a namespace of another cluster may have the same name.
	Namespace types.UID
	// Name is that of the resource.
	Name string
	// Since is when the namespace was created: no connection that has the mark is older.
	Since time.Time
}

// String is the mark as it stands in Reporter.
func (m Mark) String() string { return string(m.Namespace) + "/" + m.Name }

// ParseMark reads a mark; of what is none, the namespace is empty.
func ParseMark(text string) Mark {
	namespace, name, found := strings.Cut(text, "/")
	if !found || namespace == "" || name == "" || strings.Contains(name, "/") {
		return Mark{}
	}
	return Mark{Namespace: types.UID(namespace), Name: name}
}

// Owner is whose a connection is by its mark, as a resource sees it.
type Owner int

// The zero value is the careful one.
const (
	// OwnedByAnother: its mark is of another namespace or cluster, or is none that this operator writes.
	OwnedByAnother Owner = iota
	// OwnedBySibling: its mark is of another resource in the same namespace.
	OwnedBySibling
	// OwnedByNobody: it has no mark.
	OwnedByNobody
	// OwnedByFormer: its mark is of a resource in the same namespace that does not exist any more.
	OwnedByFormer
	// OwnedBySelf: its mark is that of the resource.
	OwnedBySelf
)

// JudgeMark decides whose a connection is. The mark is nil where it has none; isKnown says whether there is a resource of the name that it has.
func JudgeMark(mark *string, ours Mark, isKnown bool) Owner {
	switch {
	case mark == nil:
		return OwnedByNobody
	case *mark == ours.String():
		return OwnedBySelf
	case ParseMark(*mark).Namespace != ours.Namespace:
		return OwnedByAnother
	case isKnown:
		return OwnedBySibling
	default:
		return OwnedByFormer
	}
}

// Holding is all that the decision looks at about a connection that a resource describes and has an id of.
type Holding struct {
	// Outcome is that of the GET.
	Outcome Outcome
	// Owner is whose the connection is, where the GET showed it.
	Owner Owner
	// Sibling names another resource of the namespace that has the connection: it has its id and has written to it, or is the one that the mark
	// names. It is empty if there is none.
	Sibling string
	// SiblingLost says that the sibling that the mark names has neither the connection's id nor a record of a creation: it may have come and gone
	// under that name, or handed the connection over.
	SiblingLost bool
	// Named says whether the spec has the id, and not the status alone.
	Named bool
	// Taken says whether the connection was created for the resource or taken over; TakenOver, whether another's mark was met after that.
	Taken, TakenOver bool
	// TakeBack says whether somebody asks to take the connection back.
	TakeBack bool
	// Seen says whether Reporter ever showed the connection to the resource; SeenHere, whether it did in the place that was asked.
	Seen, SeenHere bool
	// IsYoung says whether the connection was created so recently that Reporter may not show it yet.
	IsYoung bool
	// Unfit says why what Reporter has cannot be made what is described, empty if it can.
	Unfit string
}

// HoldingStep is what may be done with the connection of a live resource.
type HoldingStep int

// The zero value does nothing.
const (
	// HoldingBlocked: nothing is sent.
	HoldingBlocked HoldingStep = iota
	// HoldingKept: what differs from the description is changed.
	HoldingKept
	// HoldingTakenOver: it becomes the resource's by a change of all that it has to have.
	HoldingTakenOver
	// HoldingCreatedAnew: it is gone, and another one is created in its place.
	HoldingCreatedAnew
)

// HoldingVerdict is what may be done with the connection, or why nothing is.
type HoldingVerdict struct {
	Step HoldingStep
	Block
}

// JudgeHolding decides about the connection of a live resource: nothing is changed, taken over or created in its place that is, or may be,
// somebody else's.
func JudgeHolding(h Holding) HoldingVerdict {
	block := func(reason, detail string) HoldingVerdict { return HoldingVerdict{Block: BlockFor(reason, detail, 0)} }
	switch {
	case h.Outcome.IsAbsent():
		return judgeMissing(h, block)
	case !h.Outcome.IsDone():
		return HoldingVerdict{Block: JudgeBlock(h.Outcome, 0)}
	case h.Sibling != "" && h.Owner != OwnedByAnother && (!h.SiblingLost || h.Named):
		return HoldingVerdict{Block: DuplicateOf(h.Sibling)}
	case !h.TakeBack && (h.TakenOver && h.Owner != OwnedBySelf || h.Owner == OwnedByAnother && (h.Taken || !h.Named)):
		return block(v1alpha1.ReasonTakenOver, "")
	case h.Unfit != "":
		return block(v1alpha1.ReasonInvalidConnection, h.Unfit)
	case h.TakeBack:
		return HoldingVerdict{Step: HoldingTakenOver}
	case h.Taken:
		return HoldingVerdict{Step: HoldingKept}
	default:
		return HoldingVerdict{Step: HoldingTakenOver}
	}
}

// DuplicateOf blocks a resource whose connection another one of its namespace has, or is to have.
func DuplicateOf(sibling string) Block {
	return BlockFor(v1alpha1.ReasonDuplicate, fmt.Sprintf("ReporterConnection %q describes the same connection, and has it or comes first, so nothing is sent to Reporter "+
		"for this one. It goes on by itself when that one is gone. To have both, describe another configName in another resource", sibling), 0)
}

func judgeMissing(h Holding, block func(reason, detail string) HoldingVerdict) HoldingVerdict {
	switch {
	case h.Seen && !h.SeenHere:
		return block(v1alpha1.ReasonAbsenceUnverified, "")
	case h.Named:
		return block(v1alpha1.ReasonConnectionNotFound, "")
	case h.TakenOver:
		return block(v1alpha1.ReasonTakenOver, "")
	case h.IsYoung:
		return HoldingVerdict{Block: BlockFor(v1alpha1.ReasonCreating, "does not show it yet", createdDelay)}
	default:
		return HoldingVerdict{Step: HoldingCreatedAnew}
	}
}

// IsOthers says whether the connection of a deleted resource that describes it is left to somebody else, and to whom: the name of a sibling, or
// empty for who is not known.
func (h Holding) IsOthers() (sibling string, is bool) {
	switch {
	case !h.Outcome.IsDone():
		return "", false
	case h.Owner == OwnedByAnother:
		return "", true
	case h.Sibling != "":
		return h.Sibling, true
	default:
		return "", h.TakenOver && h.Owner == OwnedByNobody
	}
}
