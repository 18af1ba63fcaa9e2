// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

const (
	ourNamespace   = "5f0c6f0e-3a0e-4c0e-9d5f-0d8f1c2b3a4d"
	theirNamespace = "b3a4d5f0-0e3a-4c0e-9d5f-6f0e0d8f1c2b"
)

func TestMarks(t *testing.T) {
	for text, want := range map[string]Mark{
		ourNamespace + "/ledger-db": {Namespace: ourNamespace, Name: "ledger-db"},
		"":                          {},
		"ledger-db":                 {},
		"/ledger-db":                {},
		ourNamespace:                {},
		ourNamespace + "/":          {},
		ourNamespace + "/a/b":       {},
	} {
		if got := ParseMark(text); got != want {
			t.Errorf("%q is the mark %+v, want %+v", text, got, want)
		}
	}
	if got, want := (Mark{Namespace: ourNamespace, Name: "ledger-db"}).String(), ourNamespace+"/ledger-db"; got != want {
		t.Errorf("the mark is written as %q, want %q", got, want)
	}
}

func TestJudgeMark(t *testing.T) {
	ours := Mark{Namespace: ourNamespace, Name: "ledger-db"}
	tests := map[string]struct {
		mark    *string
		isKnown bool
		want    Owner
	}{
		"there is none":                           {want: OwnedByNobody},
		"it is exactly ours":                      {mark: new(ourNamespace + "/ledger-db"), isKnown: true, want: OwnedBySelf},
		"it is exactly ours, whoever is known":    {mark: new(ourNamespace + "/ledger-db"), want: OwnedBySelf},
		"of our namespace, and known":             {mark: new(ourNamespace + "/ledger"), isKnown: true, want: OwnedBySibling},
		"of our namespace, and not known":         {mark: new(ourNamespace + "/ledger"), want: OwnedByFormer},
		"of our namespace, with more behind":      {mark: new(ourNamespace + "/ledger-db-2"), isKnown: true, want: OwnedBySibling},
		"of another namespace, with our name":     {mark: new(theirNamespace + "/ledger-db"), want: OwnedByAnother},
		"of another namespace, with a known name": {mark: new(theirNamespace + "/ledger"), isKnown: true, want: OwnedByAnother},
		"of our namespace alone":                  {mark: new(ourNamespace), want: OwnedByAnother},
		"of our namespace, without a name":        {mark: new(ourNamespace + "/"), want: OwnedByAnother},
		"with our name alone":                     {mark: new("ledger-db"), want: OwnedByAnother},
		"with our name, without a namespace":      {mark: new("/ledger-db"), want: OwnedByAnother},
		"it is empty":                             {mark: new(""), want: OwnedByAnother},
		"it is nothing that the operator writes":  {mark: new("do not touch"), want: OwnedByAnother},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := JudgeMark(test.mark, ours, test.isKnown); got != test.want {
				t.Errorf("owner %d, want %d", got, test.want)
			}
		})
	}
}

// What GET shows of a connection that is described, and what follows for a live resource and for a deleted one.
func TestJudgeHolding(t *testing.T) {
	const (
		productDiffers = "its product in Reporter is another"
		unavailable    = "connection refused"
	)
	tests := map[string]struct {
		holding              Holding // of a connection that is shown, if it does not say otherwise
		elsewhere, neverSeen bool    // it was seen where it is looked for, if neither
		step                 HoldingStep
		reason               string
		says                 string
		isLeft               bool
		leftTo               string
	}{
		"our mark":                                 {holding: Holding{Owner: OwnedBySelf, Taken: true}, step: HoldingKept},
		"our mark, and the spec has the id":        {holding: Holding{Owner: OwnedBySelf, Taken: true, Named: true}, step: HoldingKept},
		"our mark, and it was found by it":         {holding: Holding{Owner: OwnedBySelf}, neverSeen: true, step: HoldingTakenOver},
		"our mark, and it is to be taken over":     {holding: Holding{Owner: OwnedBySelf, Named: true}, neverSeen: true, step: HoldingTakenOver},
		"our mark, of one that is gone":            {holding: Holding{Owner: OwnedByFormer, Taken: true}, step: HoldingKept},
		"our mark, of one that is gone, not taken": {holding: Holding{Owner: OwnedByFormer, Named: true}, step: HoldingTakenOver},
		"our exact mark, after it was taken over":  {holding: Holding{Owner: OwnedBySelf, Taken: true, TakenOver: true}, step: HoldingKept},

		"no mark, taken":                         {holding: Holding{Owner: OwnedByNobody, Taken: true}, step: HoldingKept},
		"no mark, taken, and the spec has it":    {holding: Holding{Owner: OwnedByNobody, Taken: true, Named: true}, step: HoldingKept},
		"no mark, not taken, the spec has it":    {holding: Holding{Owner: OwnedByNobody, Named: true}, step: HoldingTakenOver},
		"the same, and it was never looked up":   {holding: Holding{Owner: OwnedByNobody, Named: true}, neverSeen: true, step: HoldingTakenOver},
		"another's, not taken, the spec has it":  {holding: Holding{Owner: OwnedByAnother, Named: true}, step: HoldingTakenOver, isLeft: true},
		"the same, and a sibling has it as well": {holding: Holding{Owner: OwnedByAnother, Named: true, Sibling: "older"}, step: HoldingTakenOver, isLeft: true},

		"a sibling's":                         {holding: Holding{Owner: OwnedBySibling, Sibling: "older", Named: true}, reason: "Duplicate", says: "older", isLeft: true, leftTo: "older"},
		"a sibling's, taken":                  {holding: Holding{Owner: OwnedBySibling, Sibling: "older", Taken: true}, reason: "Duplicate", says: "older", isLeft: true, leftTo: "older"},
		"a sibling's that lost it, taken":     {holding: Holding{Owner: OwnedBySibling, Sibling: "older", SiblingLost: true, Taken: true}, step: HoldingKept, isLeft: true, leftTo: "older"},
		"a sibling's that lost it, inherited": {holding: Holding{Owner: OwnedBySibling, Sibling: "older", SiblingLost: true}, step: HoldingTakenOver, isLeft: true, leftTo: "older"},
		"a sibling's that lost it, named":     {holding: Holding{Owner: OwnedBySibling, Sibling: "older", SiblingLost: true, Named: true}, reason: "Duplicate", says: "older", isLeft: true, leftTo: "older"},
		"a sibling's, and it is asked for":    {holding: Holding{Owner: OwnedBySibling, Sibling: "older", Taken: true, TakenOver: true, TakeBack: true}, reason: "Duplicate", says: "older", isLeft: true, leftTo: "older"},
		"no mark, and a sibling has it":       {holding: Holding{Owner: OwnedByNobody, Sibling: "older", Named: true}, reason: "Duplicate", says: "older", isLeft: true, leftTo: "older"},
		"no mark, a sibling has it, taken":    {holding: Holding{Owner: OwnedByNobody, Sibling: "older", Taken: true}, reason: "Duplicate", says: "older", isLeft: true, leftTo: "older"},
		"our mark, and a sibling has it":      {holding: Holding{Owner: OwnedBySelf, Sibling: "older", Taken: true}, reason: "Duplicate", says: "older", isLeft: true, leftTo: "older"},
		"a former mark, and a sibling has it": {holding: Holding{Owner: OwnedByFormer, Sibling: "older", Named: true}, reason: "Duplicate", says: "older", isLeft: true, leftTo: "older"},

		"another's, taken":                       {holding: Holding{Owner: OwnedByAnother, Taken: true}, reason: "TakenOver", says: "status.takenOverBy", isLeft: true},
		"another's, taken, and the spec has it":  {holding: Holding{Owner: OwnedByAnother, Taken: true, Named: true}, reason: "TakenOver", isLeft: true},
		"another's still":                        {holding: Holding{Owner: OwnedByAnother, Taken: true, TakenOver: true}, reason: "TakenOver", isLeft: true},
		"another's, taken, and a sibling has it": {holding: Holding{Owner: OwnedByAnother, Taken: true, Sibling: "older"}, reason: "TakenOver", isLeft: true},
		"another's, and it is asked for":         {holding: Holding{Owner: OwnedByAnother, Taken: true, TakenOver: true, TakeBack: true}, step: HoldingTakenOver, isLeft: true},
		"another's at once, and it is asked for": {holding: Holding{Owner: OwnedByAnother, Taken: true, TakeBack: true}, step: HoldingTakenOver, isLeft: true},
		"no mark, after it was taken over":       {holding: Holding{Owner: OwnedByNobody, Taken: true, TakenOver: true}, reason: "TakenOver", says: "reporter.lerian.studio/takeBack", isLeft: true},
		"the same, and the spec has it":          {holding: Holding{Owner: OwnedByNobody, Taken: true, TakenOver: true, Named: true}, reason: "TakenOver", isLeft: true},
		"the same, and it is asked for":          {holding: Holding{Owner: OwnedByNobody, Taken: true, TakenOver: true, TakeBack: true}, step: HoldingTakenOver, isLeft: true},

		"absent, the spec has it":               {holding: Holding{Outcome: absent, Named: true, Taken: true}, reason: "ConnectionNotFound"},
		"absent, the spec has it, never seen":   {holding: Holding{Outcome: absent, Named: true}, neverSeen: true, reason: "ConnectionNotFound"},
		"absent":                                {holding: Holding{Outcome: absent, Taken: true}, step: HoldingCreatedAnew},
		"absent, after it was taken over":       {holding: Holding{Outcome: absent, Taken: true, TakenOver: true}, reason: "TakenOver"},
		"absent, and just created":              {holding: Holding{Outcome: absent, Taken: true, IsYoung: true}, reason: "Creating"},
		"absent elsewhere":                      {holding: Holding{Outcome: absent, Taken: true}, elsewhere: true, reason: "AbsenceUnverified", says: "status.observedIn"},
		"absent elsewhere, the spec has it":     {holding: Holding{Outcome: absent, Taken: true, Named: true}, elsewhere: true, reason: "AbsenceUnverified"},
		"absent elsewhere, and it is asked for": {holding: Holding{Outcome: absent, Taken: true, TakenOver: true, TakeBack: true}, elsewhere: true, reason: "AbsenceUnverified"},
		"shown elsewhere":                       {holding: Holding{Owner: OwnedBySelf, Taken: true}, elsewhere: true, step: HoldingKept},
		"shown elsewhere, without a mark":       {holding: Holding{Owner: OwnedByNobody, Taken: true}, elsewhere: true, step: HoldingKept},
		"shown elsewhere, and it is another's":  {holding: Holding{Owner: OwnedByAnother, Taken: true}, elsewhere: true, reason: "TakenOver", isLeft: true},

		"another product":                      {holding: Holding{Owner: OwnedBySelf, Taken: true, Unfit: productDiffers}, reason: "InvalidConnection", says: productDiffers},
		"another product, not taken":           {holding: Holding{Owner: OwnedByNobody, Named: true, Unfit: productDiffers}, reason: "InvalidConnection", says: productDiffers},
		"another product, and it is asked for": {holding: Holding{Owner: OwnedByNobody, Taken: true, TakeBack: true, Unfit: productDiffers}, reason: "InvalidConnection", says: productDiffers},

		"no answer":                               {holding: Holding{Outcome: Outcome{Reason: "ReporterUnavailable", Detail: unavailable}, Owner: OwnedBySelf, Taken: true}, reason: "ReporterUnavailable", says: unavailable},
		"no answer, and it is asked for":          {holding: Holding{Outcome: Outcome{Reason: "ReporterUnavailable"}, Taken: true, TakenOver: true, TakeBack: true}, reason: "ReporterUnavailable"},
		"forbidden":                               {holding: Holding{Outcome: Outcome{Reason: "Forbidden", Detail: "403"}, Taken: true}, reason: "Forbidden", says: "403"},
		"an answer that proves nothing":           {holding: Holding{Outcome: Outcome{Detail: "200 with another body"}, Taken: true}, reason: "UnexpectedResponse", says: "200 with another body"},
		"an answer that proves nothing, the same": {holding: Holding{Outcome: Outcome{Detail: "404 without a code"}, Sibling: "older", TakenOver: true}, reason: "UnexpectedResponse"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.holding.Outcome == (Outcome{}) {
				test.holding.Outcome = done
			}
			test.holding.Seen, test.holding.SeenHere = !test.neverSeen, !test.neverSeen && !test.elsewhere
			got := JudgeHolding(test.holding)
			if got.Step != test.step || got.Reason != test.reason || !strings.Contains(got.Message, test.says) {
				t.Errorf("live: step %d, %s (%s); want %d, %s (…%s…)", got.Step, got.Reason, got.Message, test.step, test.reason, test.says)
			}
			if got.Reason == "Creating" && got.RetryIn <= 0 {
				t.Error("live: nothing looks again soon")
			}
			leftTo, isLeft := test.holding.IsOthers()
			if isLeft != test.isLeft || leftTo != test.leftTo {
				t.Errorf("deleted: it is left: %t, to %q; want %t, %q", isLeft, leftTo, test.isLeft, test.leftTo)
			}
		})
	}
}

// What is somebody else's is never deleted, whatever else is known of it.
func TestJudgeDeletionOfWhatIsLeft(t *testing.T) {
	for name, attempt := range map[string]Attempt{
		"it is shown":              {Deletion: done},
		"it is a sibling's":        {Deletion: done, LeftTo: "older", Seen: true, SeenHere: true},
		"a DELETE was sent before": {Deletion: done, SentBefore: true},
		"it was seen elsewhere":    {Deletion: done, Seen: true},
		"nothing else is known":    {},
	} {
		attempt.IsLeft = true
		if got := JudgeDeletion(attempt, time.Hour); got != (Verdict{Release: ReleaseToOther}) {
			t.Errorf("%s: release %d, %s (%s)", name, got.Release, got.Reason, got.Message)
		}
	}
}

// An heir has no connection of its own, and describes the one that was created for another resource of its namespace.
func TestIsHeir(t *testing.T) {
	resource := func(uid types.UID) *v1alpha1.ReporterConnection {
		return &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "a", UID: uid}, Spec: v1alpha1.ReporterConnectionSpec{
			EndpointRef: v1alpha1.EndpointReference{Namespace: "shared", Name: "default"}, Connection: &v1alpha1.ConnectionDescription{ConfigName: "ledger-db", ProductName: "ledger"}}}
	}
	tests := map[string]struct {
		alter func(heir, of *v1alpha1.ReporterConnection)
		want  bool
	}{
		"it describes the same":         {func(_, _ *v1alpha1.ReporterConnection) {}, true},
		"it is the same":                {func(heir, of *v1alpha1.ReporterConnection) { heir.UID = of.UID }, false},
		"it is being deleted":           {func(heir, _ *v1alpha1.ReporterConnection) { heir.DeletionTimestamp = new(metav1.Now()) }, false},
		"it is in another namespace":    {func(heir, _ *v1alpha1.ReporterConnection) { heir.Namespace = "b" }, false},
		"it has a connection":           {func(heir, _ *v1alpha1.ReporterConnection) { heir.Status.ConnectionID = "another" }, false},
		"it names a connection":         {func(heir, _ *v1alpha1.ReporterConnection) { heir.Spec.ConnectionID = "another" }, false},
		"it describes nothing":          {func(heir, _ *v1alpha1.ReporterConnection) { heir.Spec.Connection = nil }, false},
		"another name":                  {func(heir, _ *v1alpha1.ReporterConnection) { heir.Spec.Connection.ConfigName = "other-db" }, false},
		"another product":               {func(heir, _ *v1alpha1.ReporterConnection) { heir.Spec.Connection.ProductName = "other" }, false},
		"at another endpoint":           {func(heir, _ *v1alpha1.ReporterConnection) { heir.Spec.EndpointRef.Name = "other" }, false},
		"of one without a connection":   {func(_, of *v1alpha1.ReporterConnection) { of.Status.ConnectionID = "" }, false},
		"of one that has lost it":       {func(_, of *v1alpha1.ReporterConnection) { of.Status.TakenOverBy = "another" }, false},
		"of one that never had it":      {func(_, of *v1alpha1.ReporterConnection) { of.Status.Sent = "" }, false},
		"of one that describes nothing": {func(_, of *v1alpha1.ReporterConnection) { of.Spec.Connection = nil }, false},
	}
	for name, test := range tests {
		heir, of := resource("new"), resource("old")
		of.Status.ConnectionID, of.Status.Sent = "theirs", "sent"
		test.alter(heir, of)
		if got := IsHeir(heir, of); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
		if got := IsClaim(heir, of); got != test.want {
			t.Errorf("%s, as a claim: %t", name, got)
		}
	}
}
