// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// IsTestDue says whether Reporter is to be asked to test if it reaches the database of a connection: nobody has asked since the connection was
// last changed, or Reporter gave no answer. What it has answered is not asked for again, as a database may lock an account that is tried with
// a wrong password.
func IsTestDue(conditions []metav1.Condition) bool {
	known := apimeta.FindStatusCondition(conditions, v1alpha1.ConditionDatabaseReachable)
	return known == nil || TraitsOf(known.Reason).Shared
}

// TestVerdict is what DatabaseReachable says, and when to test again; with a RetryIn of 0 it is not.
type TestVerdict struct {
	Status metav1.ConditionStatus
	Block
}

// JudgeTest decides what the outcome of a test says about the database. IsUnreachable says that Reporter could not connect to it.
func JudgeTest(o Outcome, isUnreachable bool, waited time.Duration) TestVerdict {
	switch {
	case o.IsDone():
		return TestVerdict{metav1.ConditionTrue, Block{Reason: v1alpha1.ReasonTestSucceeded, Message: reasons[v1alpha1.ReasonTestSucceeded].message}}
	case isUnreachable:
		return TestVerdict{metav1.ConditionFalse, Block{Reason: v1alpha1.ReasonTestFailed, Message: reasons[v1alpha1.ReasonTestFailed].message}}
	}
	block := JudgeBlock(o, waited)
	if !TraitsOf(block.Reason).Shared {
		block.RetryIn = 0
	}
	return TestVerdict{metav1.ConditionUnknown, block}
}
