// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// Queue is the queue of a controller.
type Queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// Priorities of requests in a controller's queue.
const (
	// PriorityGranted is for what a limit has just let through: there is never more of it than the limits allow.
	PriorityGranted = 1
	// PriorityUrgent is for deletions, and for what somebody waits for.
	PriorityUrgent = 0
	// PriorityRoutine is for the rest, such as what is looked at because of a common cause.
	PriorityRoutine = handler.LowPriority
)

// PriorityOf is that of what is urgent, or of the rest.
func PriorityOf(urgent bool) int {
	if urgent {
		return PriorityUrgent
	}
	return PriorityRoutine
}

// Enqueue adds a request with a priority, after a time if that is not 0.
func Enqueue(q Queue, request reconcile.Request, priority int, after time.Duration) {
	if prioritised, ok := q.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		prioritised.AddWithOpts(priorityqueue.AddOpts{Priority: &priority, After: after}, request)
		return
	}
	q.AddAfter(request, after)
}

// RequestFor is the request to reconcile an object.
func RequestFor(object client.Object) reconcile.Request {
	return reconcile.Request{NamespacedName: client.ObjectKeyFromObject(object)}
}

// Changed says whether an object's spec has changed, or somebody asks for an attempt. A deletion counts: the API server gives it a
// generation of its own. So does another object of the same name, whose creation may be seen as an update.
func Changed(before, after client.Object) bool {
	return before.GetUID() != after.GetUID() || before.GetGeneration() != after.GetGeneration() || Requested(before, after)
}

// Wiped says whether somebody has taken the summary out of a status, from which alone it is known what an object is: nobody else writes it
// again.
func Wiped(before, after []metav1.Condition) bool {
	return apimeta.FindStatusCondition(before, v1alpha1.ConditionReady) != nil && apimeta.FindStatusCondition(after, v1alpha1.ConditionReady) == nil
}

// Requested says whether somebody has asked for an attempt, or to take a connection back or to give it up, by a new value of an annotation.
func Requested(before, after client.Object) bool {
	for _, annotation := range []string{v1alpha1.RequestedAtAnnotation, v1alpha1.TakeBackAnnotation, v1alpha1.AbandonAnnotation} {
		if before.GetAnnotations()[annotation] != after.GetAnnotations()[annotation] {
			return true
		}
	}
	return false
}
