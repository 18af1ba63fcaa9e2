// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"fmt"
	"time"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

const (
	// LateBy is how long after its client has given up Reporter may still carry a request out: 70 s were seen on the running service.
	LateBy = 2 * time.Minute
	// OwedAfter is how long after a request was given up as lost another look is due.
	OwedAfter = 10 * time.Minute
	// createdDelay is how soon it is looked again at what was just created.
	createdDelay = 10 * time.Second
)

// CreationStep is what follows from a request to create a connection.
type CreationStep int

// The zero value keeps the record of the request, and creates nothing.
const (
	// CreationUnknown: it is not known what came of it.
	CreationUnknown CreationStep = iota
	// CreationDone: the connection is there.
	CreationDone
	// CreationRefused: it was certainly not created. The record goes.
	CreationRefused
	// CreationLost: it was given up as lost. The record goes, and a look is owed.
	CreationLost
	// CreationNameTaken: it was certainly not created, as there is one of its name.
	CreationNameTaken
)

// CreationVerdict is what follows from a request to create a connection, with what there is to say about it.
type CreationVerdict struct {
	Step CreationStep
	Block
}

// JudgeCreation decides about the record of a request to create a connection by its answer. MayHaveActed says that the connection may be there
// all the same, or come to be.
func JudgeCreation(o Outcome, mayHaveActed bool, waited time.Duration) CreationVerdict {
	switch {
	case o.IsDone():
		return CreationVerdict{Step: CreationDone}
	case mayHaveActed:
		return CreationVerdict{Step: CreationUnknown, Block: BlockFor(v1alpha1.ReasonCreating, "it is not known yet what came of it ("+o.Detail+")", createdDelay)}
	case o.Reason == v1alpha1.ReasonNameTaken:
		return CreationVerdict{Step: CreationNameTaken}
	default:
		return CreationVerdict{Step: CreationRefused, Block: JudgeBlock(o, waited)}
	}
}

// Search is a look for what came of a request to create a connection.
type Search struct {
	// Outcome is that of the whole search; it proves absence only if it is done.
	Outcome Outcome
	// Found is how many connections were found that have the mark and the name.
	Found int
	// IsSamePlace says whether the place that was asked is that of the request. URL is where that went.
	IsSamePlace bool
	URL         string
	// Began is when the search began; Due, from when on one that finds nothing proves that nothing will come.
	Began, Due time.Time
}

// JudgeSearch decides about the record of a request by a search for what came of it.
func JudgeSearch(s Search, waited time.Duration) CreationVerdict {
	switch {
	case !s.IsSamePlace:
		return CreationVerdict{Block: BlockFor(v1alpha1.ReasonCreationUnverified, s.URL, 0)}
	case !s.Outcome.IsDone():
		return CreationVerdict{Block: JudgeBlock(s.Outcome, waited)}
	case s.Found > 0:
		return CreationVerdict{Step: CreationDone}
	case s.Began.Before(s.Due):
		return CreationVerdict{Block: BlockFor(v1alpha1.ReasonCreating, "does not show it yet", max(min(s.Due.Sub(s.Began), createdDelay), MinDelay))}
	default:
		return CreationVerdict{Step: CreationLost, Block: BlockFor(v1alpha1.ReasonCreating, "has not carried that out", MinDelay)}
	}
}

// Namesake is a connection that has the described name already.
type Namesake struct {
	// Found says whether it was found; it may have gone meanwhile.
	Found bool
	// Owner is whose it is by its mark; Sibling names the resource of the same namespace that has it.
	Owner   Owner
	Sibling string
	// IsConfigured says whether it is configured on Reporter's server, so that nobody can change it.
	IsConfigured bool
	// Elsewhere names a resource that has it, as far as this one may know of it; empty if there is none.
	Elsewhere string
	// ID is its id, and Name the described name.
	ID, Name string
	// Policy says what is to be done about it.
	Policy v1alpha1.AdoptionPolicy
}

// JudgeNamesake decides about a connection that has the described name already. HoldingBlocked leaves it alone.
func JudgeNamesake(n Namesake) HoldingVerdict {
	const another = "describe another name in another resource"
	detail := fmt.Sprintf("%q already, which is not this resource's. Set spec.adoptionPolicy to ByName to take it over, or %s", n.Name, another)
	switch {
	case !n.Found:
		return HoldingVerdict{Block: BlockFor(v1alpha1.ReasonCreating, "said that the name was taken, and shows none of that name", createdDelay)}
	case n.Owner == OwnedBySelf:
		return HoldingVerdict{Step: HoldingTakenOver}
	case n.Sibling != "":
		return HoldingVerdict{Block: DuplicateOf(n.Sibling)}
	case n.Owner == OwnedByFormer:
		return HoldingVerdict{Step: HoldingTakenOver}
	case n.Policy == v1alpha1.AdoptionPolicyByName && n.Elsewhere == "" && !n.IsConfigured:
		return HoldingVerdict{Step: HoldingTakenOver}
	case n.IsConfigured:
		detail = fmt.Sprintf("%q already, which is configured on its server, so it cannot be taken over: %s", n.Name, another)
	case n.Elsewhere != "":
		detail = fmt.Sprintf("%q already, which %s has, so it is not taken over: %s", n.Name, n.Elsewhere, another)
	case n.Owner == OwnedByNobody:
		detail = fmt.Sprintf("%q already, with the id %s. Set spec.adoptionPolicy to ByName to take it over, or %s", n.Name, n.ID, another)
	}
	block := BlockFor(v1alpha1.ReasonNameTaken, detail, 0)
	block.RetryIn = 0 // to ask again costs a request to create it
	return HoldingVerdict{Block: block}
}
