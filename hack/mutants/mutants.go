// SPDX-License-Identifier: Apache-2.0

package main

// The packages and types that mutants are in, and where their tests are.
const (
	reporterDir    = "internal/reporter"
	controllersDir = "controllers"

	reconciler  = controllersDir + ".connectionReconciler"
	memory      = controllersDir + ".deletionMemory"
	claims      = controllersDir
	decision    = controllersDir
	finalizers  = controllersDir
	access      = controllersDir + ".accessor"
	protection  = controllersDir
	endpointUse = controllersDir + ".endpointProtector"
	queues      = controllersDir + ".lines"

	simulationDir = controllersDir
	decisionDir   = controllersDir
)

// simulation are as many histories as there are in make test, from the same seeds.
var simulation = killer{"simulation", simulationDir, "^TestSimulation$", []string{"-simulation.shorten=false"}}

func scene(name string) killer { return killer{"scene", simulationDir, "^" + name + "$", nil} }

func tableTest(name string) killer { return killer{"table test", decisionDir, "^" + name + "$", nil} }

func clientTest(name string) killer {
	return killer{"client test", reporterDir, "^" + name + "$", nil}
}

var mutants = []mutant{
	// What counts as deleted
	{"any 404 counts as absent", reporterDir + ".answer.asError", always(`e.Code == "FET-1001"`), clientTest("TestAnswers")},
	{"any 2xx counts as deleted", reporterDir + ".Client.Delete", replace(`answer.status != http.StatusNoContent`, `answer.status/100 != 2`), simulation},
	{"any error of a DELETE counts as deleted", decision + ".judgeDeletion", replace(`a.deletion.answer == answerDone`, `a.deletion.answer == answerDone || a.deletion.answer == answerUnavailable`), simulation},
	{"absence is not confirmed by a GET", decision + ".judgeDeletion", remove(`case a.confirmation.answer != answerAbsent:`), tableTest("TestJudgeDeletion")},
	{"what GET shows counts as deleted", decision + ".judgeDeletion", remove(`case a.confirmation.answer == answerDone:`), tableTest("TestJudgeDeletion")},
	{"absence counts wherever it is", decision + ".judgeDeletion", remove(`case a.seen && !a.seenHere:`), simulation},
	{"the place is a URL without its tenant", reconciler + ".attemptDeletion", replace(`*seenIn == to.in`, `seenIn.URL == to.in.URL`), simulation},
	{"no warning of a wrong id", reconciler + ".reconcileDeletion", remove(`case v.release && v.neverSeen:`), simulation},
	{"a lost answer makes up for never having seen", reconciler + ".reconcileDeletion", always(`a.tried.seen`), simulation},
	{"the finalizer is dropped before the call", reconciler + ".askForDeletion", insertBefore(`tried := r.attemptDeletion(ctx, rc, to)`, `if _, err := dropFinalizer(ctx, r.Client, rc, v1alpha1.ConnectionFinalizer); err != nil { return asked{}, err }`), simulation},
	{"what is done is not remembered where the finalizer stays", reconciler + ".attemptDeletion", remove(`d.done = true`), scene("TestDeletionThatIsDoneIsNotRepeated")},

	// Claims
	{"claims are ignored", reconciler + ".askForDeletion", insertAfter(`heir, unclear, err := r.heirOf(ctx, rc, to)`, `heir = nil`), simulation},
	{"claims count while they are deleted", reconciler + ".otherClaims", never(`!other.DeletionTimestamp.IsZero()`), simulation},
	{"a claim elsewhere counts without being shown the connection", reconciler + ".prove", insertAfter(`by, err := r.reach(ctx, claim)`, `if err == nil && by.client != nil { return finding{answer: answerDone}, nil }`), simulation},
	{"claims elsewhere are ignored", reconciler + ".heirOf", insertBefore(`found, err := r.prove(proving, &claims[i], to)`, `continue`), simulation},
	{"a claim that got no answer counts as refused", claims + ".isRefused", insertAfter(`switch ready.Reason {…}`, `return true`), simulation},
	{"a login page refuses a claim", reconciler + ".prove", replace(`return found, nil`, `return absent, nil`), scene("TestClaimIsUnclearWhereSomethingElseAnswersForReporter")},
	{"an unclear claim does not hold", reconciler + ".askForDeletion", never(`unclear != nil`), simulation},
	{"a 403 refuses a claim", reconciler + ".prove", replace(`answerInvalidEndpoint`, `answerInvalidEndpoint, answerForbidden`), scene("TestClaimIsUnclearWhereSomethingElseAnswersForReporter")},
	{"patience begins with the deletion", memory + ".isPatient", replace(`since = now`, `since = d.since`), scene("TestPatienceWithAnUnclearClaimBeginsWhenItBecomesUnclear")},
	{"an heir is not held before it inherits", reconciler + ".handOver", never(`heir.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain`), simulation},

	// Brakes
	{"Retain of the resource is ignored", reconciler + ".reconcileDeletion", never(`rc.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain`), simulation},
	{"Retain of the endpoint is ignored", reconciler + ".reconcileDeletion", never(`to.endpoint != nil && to.endpoint.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain`), simulation},
	{"protection is ignored", decision + ".judgeBrakes", never(`rc.Spec.DeletionProtection`), simulation},
	{"suspend is ignored", decision + ".judgeBrakes", never(`endpoint.Spec.Suspend`), simulation},
	{"the delay is ignored", decision + ".judgeBrakes", replace(`wait > 0`, `wait > time.Hour`), simulation},
	{"the cache is believed about the endpoint's brakes", reconciler + ".reconcileDeletion", never(`!current`), simulation},
	{"what was once confirmed of an endpoint is believed for ever", access + ".isCurrent", replace(`!known.at.Before(notBefore)`, `!known.at.IsZero()`), simulation},
	{"no finalizer is put on", reconciler + ".ensureFinalizer", replace(`controllerutil.AddFinalizer(rc, v1alpha1.ConnectionFinalizer)`, `false`), simulation},

	// What a deletion needs
	{"a stale cache is believed for the release of an endpoint", endpointUse + ".Reconcile", remove(`users, err = r.access.usersOf(ctx, r.live, &endpoint, liveUsers(&endpoint)...)`), simulation},
	{"a stale cache is believed for the release of a Secret", protection + ".judgeHeld", replace(`[]func() (use, error){cached, live}`, `[]func() (use, error){cached}`), simulation},
	{"a Secret goes although a deletion waits", decision + ".judgeRelease", remove(`case use.pending:`), simulation},
	{"a Secret goes at once although resources use it", decision + ".judgeRelease", remove(`case deletedFor < releaseGrace:`), simulation},
	{"only live resources need an endpoint", access + ".usersOf", always(`!controllerutil.ContainsFinalizer(&rc, v1alpha1.ConnectionFinalizer)`), simulation},
	{"an endpoint goes although it has users", endpointUse + ".Reconcile", never(`len(users) > 0`), simulation},
	{"writes overwrite what others wrote", finalizers + ".patchMetadata", replace(`client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})`, `client.MergeFrom(base)`), simulation},

	// Progress
	{"a finalizer stays where its removal met a conflict", finalizers + ".dropFinalizerAnyway", insertAfter(`if dropped, err = dropFinalizer(ctx, c, current, finalizer); !apierrors.IsConflict(err) {…}`, `if err != nil { return nil }`), scene("TestDeletionThatIsDoneIsFinishedThroughAConflict")},
	{"nobody comes back to a deletion that is held", reconciler + ".heldBy", replace(`jitter(comeBack)`, `0*jitter(comeBack)`), simulation},
	{"the breaker never closes", reporterDir + ".outage.end", remove(`o.cause = nil`), simulation},
	{"the breaker opens for any answer", reporterDir + ".proofOf", replace(`default:`, `default: return proofOfSilence, e`), clientTest("TestOutage")},
	{"nobody is called when Reporter answers again", queues + ".recovered", remove(`l.advance(to)`), scene("TestDeletionsGoOnAtOnceWhenReporterAnswersAgain")},
	{"no room is made for the next in line", queues + ".leave", remove(`l.advance(to)`), scene("TestDeletionInLineThatWasNeverLookedAtWaits")},
	{"a call is kept by who does not enter", queues + ".begin", never(`turn != nil && l.called[request] == turn`), simulation},
	{"a pause never ends", reporterDir + ".pause.hold", replace(`!now.Before(p.until)`, `p.until.IsZero()`), simulation},
	{"a refused token is kept", reporterDir + ".session.drop", remove(`if s.token == refused {…}`), clientTest("TestRefusedToken")},
	{"no retry with a fresh token", reporterDir + ".Client.call", never(`c.session.drop(token)`), clientTest("TestRefusedToken")},
	{"an id that is not canonical is sent", reporterDir + ".Client.callConnection", replace(`!canonicalUUID.MatchString(id)`, `id == ""`), clientTest("TestOnlyCanonicalIDsAreSent")},
	{"another connection is taken for the one asked for", reporterDir + ".Client.Get", never(`object.ID != id`), clientTest("TestGetBelievesNoOtherBody")},
	{"a deletion that took another's place is not remembered", reconciler + ".connectionEvents", replace(`!e.ObjectNew.DeletionTimestamp.IsZero()`, `!e.ObjectNew.DeletionTimestamp.IsZero() && e.ObjectOld.DeletionTimestamp.IsZero()`), scene("TestDeletionIsRememberedOfAResourceThatTookAnothersPlace")},
}
