// SPDX-License-Identifier: Apache-2.0

package main

// The packages and types that mutants are in, and where their tests are.
const (
	reporterDir   = "internal/reporter"
	accessDir     = "controllers/access"
	admissionDir  = "controllers/admission"
	connectionDir = "controllers/connection"
	decisionDir   = "controllers/decision"
	endpointDir   = "controllers/endpoint"
	kubeDir       = "controllers/kube"
	protectionDir = "controllers/protection"
	scopeDir      = "controllers/scope"
	setupDir      = "controllers"
	simulationDir = "controllers/simulation"

	reconciler = connectionDir + ".Reconciler"
	deletion   = connectionDir + ".deletion"
	record     = connectionDir + ".record"
	accessor   = accessDir + ".Accessor"
	queues     = admissionDir + ".Queues"
	pacer      = admissionDir + ".Pacer"
	checker    = endpointDir + ".Reconciler"
	secrets    = protectionDir + ".SecretReconciler"
)

// simulation runs as many histories as make test, from the same seeds.
var simulation = killer{"simulation", simulationDir, "^TestSimulation$", []string{"-simulation.shorten=false"}}

func scene(name string) killer { return killer{"scene", simulationDir, "^" + name + "$", nil} }

func tableTest(name string) killer { return unitTest(decisionDir, name) }

func unitTest(dir, name string) killer { return killer{"unit test", dir, "^" + name + "$", nil} }

func clientTest(name string) killer {
	return killer{"client test", reporterDir, "^" + name + "$", nil}
}

var mutants = []mutant{
	// What counts as deleted
	{"any 404 counts as absent", reporterDir + ".answer.classify", always(`e.Code == "FET-1001"`), clientTest("TestAnswers")},
	{"any 2xx counts as deleted", reporterDir + ".Client.Delete", replace(`answer.status != http.StatusNoContent`, `answer.status/100 != 2`), clientTest("TestDeleteBelievesNoOtherSuccess")},
	{"an odd answer to a DELETE is taken for a refusal", reporterDir + ".answer.asError", replace(`a.status < 400`, `false`), clientTest("TestMayHaveActed")},
	{"another connection is taken for the one asked for", reporterDir + ".Client.Get", never(`shown.id() != id`), clientTest("TestGetBelievesNoOtherBody")},
	{"a body is believed that was cut off", reporterDir + ".answer.decodeBody", always(`int64(len(a.body)) <= a.maxBody`), clientTest("TestBodiesAreBounded")},
	{"a code counts once it is cleaned", reporterDir + ".answer.parseCode", replace(`if a.clean(code) != code {…}`, `code = a.clean(code)`), clientTest("TestAnswers")},
	{"any error of a DELETE counts as deleted", decisionDir + ".JudgeDeletion", replace(`a.Deletion.IsDone()`, `a.Deletion.IsDone() || a.Deletion.Reason == v1alpha1.ReasonReporterUnavailable`), tableTest("TestJudgeDeletion")},
	{"absence is not confirmed by a GET", decisionDir + ".JudgeDeletion", remove(`case !a.SecondLook.IsAbsent():`), tableTest("TestJudgeDeletion")},
	{"what GET shows counts as deleted", decisionDir + ".JudgeDeletion", remove(`case a.SecondLook.IsDone():`), tableTest("TestJudgeDeletion")},
	{"absence counts wherever it is", decisionDir + ".JudgeDeletion", remove(`case a.Seen && !a.SeenHere:`), tableTest("TestJudgeDeletion")},
	{"a lost answer makes up for never having seen", decisionDir + ".JudgeDeletion", replace(`!a.Seen`, `!a.Seen && !a.SentBefore`), tableTest("TestJudgeDeletion")},
	{"a DELETE is sent to another tenant than it was judged for", deletion + ".permit", never(`d.to.Place(tenant) != place`), scene("TestDeletionIsNotSentToAnotherTenantThanItWasJudgedFor")},
	{"the place is a URL without its tenant", deletion + ".attemptOnce", replace(`seenIn != nil && *seenIn != place`, `seenIn != nil && seenIn.URL != place.URL`), scene("TestConnectionOfAnotherTenantIsNotTakenForTheOneSeen")},
	{"what is absent at another place counts as absent", deletion + ".attemptOnce", remove(`case seenIn != nil && *seenIn != place:`), scene("TestConnectionOfAnotherTenantIsNotTakenForTheOneSeen")},
	{"the tenant is not looked at again after the confirming GET", deletion + ".lookAgain", always(`now == place`), scene("TestTenantIsLookedAtAgainAfterTheConfirmingGET")},
	{"no GET before the DELETE of what was never seen", deletion + ".attemptOnce", replace(`seenIn == nil || *seenIn != place`, `seenIn != nil && *seenIn != place`), scene("TestConnectionThatWasNeverSeenIsLookedUpBeforeItsDeletion")},
	{"no warning of a wrong id", deletion + ".deleteInReporter", replace(`corev1.EventTypeWarning`, `corev1.EventTypeNormal`), scene("TestWarningOfAWrongIDDoesNotDependOnALostAnswer")},
	{"the finalizer is dropped before the call", deletion + ".deleteInReporter", insertBefore(`attempt, err := d.attempt(ctx, release)`, `if _, err := kube.DropFinalizer(ctx, d.Client, d.rc, v1alpha1.ConnectionFinalizer); err != nil { return ctrl.Result{}, err }`), simulation},
	{"what is done is not remembered where the finalizer stays", deletion + ".attemptOnce", remove(`r.deleted = true`), scene("TestDeletionThatIsDoneIsNotRepeated")},

	// Permission
	{"permission is not asked", reporterDir + ".delivery.mayBeWritten", always(`d.request.permit == nil`), clientTest("TestDeleteWithoutPermission")},
	{"permission is asked before what waits", reporterDir + ".transport.send", insertBefore(`if err := t.acquireSlot(ctx); err != nil {…}`, `if r.permit != nil { if err := r.permit(ctx, Tenant{}); err != nil { return nil, err }; r.permit = nil }`), clientTest("TestPermissionIsTheLastThing")},
	{"the permit's verdict is ignored", deletion + ".permit", never(`confirmed.verdict.Step != decision.StepDelete`), scene("TestDeletionIsJudgedAnewAfterTheLoginThatFollowsARefusal")},
	{"a DELETE is repeated with a fresh token", reporterDir + ".Client.call", never(`r.method != http.MethodGet`), clientTest("TestRefusedTokenOfADelete")},
	{"what is not permitted is written", reporterDir + ".delivery.giveUp", remove(`conn.Close()`), clientTest("TestNothingIsWrittenWithoutPermission")},
	{"what is not permitted ends others' requests", reporterDir + ".delivery.giveUp", never(`ok && secure.ConnectionState().NegotiatedProtocol == "h2"`), clientTest("TestNothingIsWrittenWithoutPermission")},
	{"permission is asked before the handshake", reporterDir + ".transport.send", insertBefore(`a, err = t.exchange(ctx, r, httpRequest, path)`, `if r.permit != nil { if err := r.permit(ctx, Tenant{}); err != nil { return nil, err }; r.permit = nil }`), clientTest("TestPermissionIsAskedForAfterTheHandshake")},
	{"asking for permission takes from the time of the request", reporterDir + ".delivery.mayBeWritten", replace(`!d.clock.Stop()`, `false`), clientTest("TestPermissionTakesNoneOfTheTimeout")},
	{"HTTP/2 repeats what acts", reporterDir + ".delivery.mayBeWritten", replace(`d.headed.Load()`, `false`), clientTest("TestHTTP2RepeatsNothingThatActs")},
	{"the cache is believed about the resource", reconciler + ".current", always(`version == cached.ResourceVersion`), scene("TestDeletionIsJudgedAnewAfterTheLoginThatFollowsARefusal")},
	{"a resource that is newer than the list counts as read", reconciler + ".current", replace(`version == cached.ResourceVersion`, `version == cached.ResourceVersion || order > 0`), scene("TestResourceThatTheRestoredAPIServerDoesNotHaveIsNoGround")},
	{"claims that the cache does not show are ignored", deletion + ".currentClaims", remove(`for i := range s.newcomers {…}`), scene("TestClaimThatIsMadeWithinTheDelayCountsThoughTheCacheIsLate")},
	{"another resource of the same name is taken for the deleted one", reconciler + ".readLive", never(`live.UID != uid`), scene("TestAnotherDeletedResourceOfTheSameNameIsNoGround")},
	{"an endpoint from before the deletion is believed", deletion + ".confirm", replace(`d.Access.Confirm(ctx, rc, record.since)`, `d.Access.Confirm(ctx, rc, time.Time{})`), scene("TestWhatWasReadBeforeADeletionIsReadAgain")},
	{"what was once read is believed for ever", kubeDir + ".Moment", replace(`time.Second`, `time.Hour`), scene("TestDeletionIsJudgedAnewAfterTheLoginThatFollowsARefusal")},
	{"what is read counts from when it was answered", kubeDir + ".SharedReads.share", insertAfter(`value, err := read(ctx)`, `at = time.Now()`), unitTest(kubeDir, "TestSharedReads")},
	{"a change of the endpoint meanwhile is ignored", deletion + ".confirm", never(`!d.isTarget(to)`), scene("TestDeletionIsJudgedAnewAfterTheLoginThatFollowsARefusal")},
	{"a change of the credentials meanwhile is ignored", deletion + ".isTarget", always(`d.to.Client.Identity() == other.Client.Identity()`), scene("TestDeletionIsNotMadeWithCredentialsThatWereReplaced")},
	{"the cache is believed about a Secret's mark", accessor + ".Confirm", remove(`for _, name := range to.Endpoint.SecretNames() {…}`), scene("TestDeletionIsJudgedAnewAfterTheLoginThatFollowsARefusal")},
	{"a resource version that goes back is not noticed", reconciler + ".abortIfOlder", always(`order >= 0`), scene("TestStoreThatHasGoneBackEndsTheProcess")},

	// What came of a creation or a change
	{"what was begun to be sent counts as not sent", reporterDir + ".transport.noAnswer", replace(`d.begun`, `d.written.Load()`), clientTest("TestCreateIsSentInTimeOrNotAtAll")},
	{"the refusal of a proxy counts as Reporter's", reporterDir + ".answer.asError", never(`a.isChange() && !a.isRefusal(body.Code)`), clientTest("TestAnswersToChanges")},
	{"a creation is sent however late", reporterDir + ".delivery.mayBeWritten", never(`d.request.sendWithin > 0`), clientTest("TestCreateIsSentInTimeOrNotAtAll")},
	{"a creation is recorded for another tenant", reporterDir + ".delivery.mayBeWritten", replace(`tenantOf(d.request.token)`, `Tenant{}`), clientTest("TestPermissionOfACreateKnowsTheTenant")},
	{"the answer to another creation is believed", reporterDir + ".Client.Create", never(`valueOf[string](created.ConfigName) != orEmpty(settings.ConfigName)`), clientTest("TestCreateBelievesNoOtherBody")},
	{"the answer to another change is believed", reporterDir + ".Client.Update", never(`updated.id() != id`), clientTest("TestUpdateBelievesNoOtherBody")},
	{"a change without permission", reporterDir + ".Client.Update", replace(`request{method: http.MethodPatch, permit: permit}`, `request{method: http.MethodPatch, permit: func(context.Context, Tenant) error { return nil }}`), clientTest("TestChangesThatAreNotSent")},
	{"any conflict says that a name is taken", reporterDir + ".answer.classify", replace(`e.Code == "FET-1002"`, `e.Code != ""`), clientTest("TestAnswersToChanges")},
	{"a password is repeated in a text", reporterDir + ".Client.callWith", remove(`r.secrets = settings.secrets()`), clientTest("TestSecretsAreNeverShown")},
	{"a password is sent as another one", reporterDir + ".Settings.body", never(`!utf8.ValidString(field.text)`), clientTest("TestChangesThatAreNotSent")},
	{"what is compared is more precise than what is stored", reporterDir + ".answer.connection", replace(`valueOf[time.Time](raw).Truncate(time.Millisecond)`, `valueOf[time.Time](raw)`), clientTest("TestCreate")},
	{"what is compared is what is shown", reporterDir + ".answer.connection", replace(`valueOf[*string](o.Host)`, `new(text(o.Host))`), clientTest("TestSettingsAreRaw")},

	// What a list proves
	{"a list is believed that is none", reporterDir + ".Client.page", never(`json.Unmarshal(list.Items, &items) != nil`), clientTest("TestListBelievesNoOtherPage")},
	{"another page is believed", reporterDir + ".Client.page", never(`valueOf[int](list.Page) != page`), clientTest("TestListBelievesNoOtherPage")},
	{"a page of fewer rows is taken for the last", reporterDir + ".Client.page", never(`valueOf[int](list.Limit) != pageLimit`), clientTest("TestListBelievesNoOtherPage")},
	{"only first pages are looked at", reporterDir + ".Client.page", replace(`len(items) < pageLimit`, `true`), clientTest("TestListGoesThroughAllMonths")},
	{"a list of two tenants is believed", reporterDir + ".Client.page", never(`tenantOf(answer.token) != query.Tenant`), clientTest("TestListOfOneTenant")},
	{"the filter of the server is relied on", reporterDir + ".Query.matches", never(`value == nil || *value != q.MetadataValue`), clientTest("TestListLooksAtEachRow")},
	{"this month is left out of a list", reporterDir + ".Query.months", replace(`now.AddDate(0, 0, 1)`, `now.AddDate(0, -1, 0)`), clientTest("TestListGoesThroughAllMonths")},
	{"nothing is asked for by a clock that was set back", reporterDir + ".Query.months", replace(`earlier(since, now.AddDate(0, 0, -1)).UTC()`, `since.UTC()`), clientTest("TestMonths")},
	{"a list looks no further than a month back", reporterDir + ".Query.months", replace(`to.After(since)`, `to.After(since) && to.After(now)`), clientTest("TestListGoesThroughAllMonths")},
	{"a database that is down opens the breaker", reporterDir + ".transport.breakerOf", remove(`if r.aside {…}`), clientTest("TestTestSaysNothingOfReporter")},
	{"the answer to a test paces the rest", reporterDir + ".transport.send", remove(`if r.aside {…}`), clientTest("TestAnswersToTests")},
	{"all connections are tested at the same time", reporterDir + ".Pool.newReporter", replace(`make(chan struct{}, 1)`, `make(chan struct{}, maxConnections)`), clientTest("TestOneTestAtATime")},
	{"what a driver says of a database is shown", reporterDir + ".answer.asTestError", remove(`e.Message = ""`), clientTest("TestAnswersToTests")},

	// Whose a connection is
	{"the mark of another namespace is no mark", decisionDir + ".JudgeMark", replace(`return OwnedByAnother`, `return OwnedByNobody`), tableTest("TestJudgeMark")},
	{"the mark of another namespace is that of a resource that is gone", decisionDir + ".JudgeMark", remove(`case ParseMark(*mark).Namespace != ours.Namespace:`), tableTest("TestJudgeMark")},
	{"a sibling that lives is taken for gone", decisionDir + ".JudgeMark", never(`isKnown`), tableTest("TestJudgeMark")},
	{"another's connection is changed", decisionDir + ".JudgeHolding", never(`h.Owner == OwnedByAnother && (h.Taken || !h.Named)`), tableTest("TestJudgeHolding")},
	{"what somebody has taken over is changed once its mark is gone", decisionDir + ".JudgeHolding", never(`h.TakenOver && h.Owner != OwnedBySelf`), tableTest("TestJudgeHolding")},
	{"a sibling's connection is changed", decisionDir + ".JudgeHolding", never(`h.Sibling != ""`), tableTest("TestJudgeHolding")},
	{"what cannot be as described is changed", decisionDir + ".JudgeHolding", never(`h.Unfit != ""`), tableTest("TestJudgeHolding")},
	{"a connection is created in place of one that is elsewhere", decisionDir + ".judgeMissing", remove(`case h.Seen && !h.SeenHere:`), tableTest("TestJudgeHolding")},
	{"a connection is created in place of one that is named", decisionDir + ".judgeMissing", remove(`case h.Named:`), tableTest("TestJudgeHolding")},
	{"a connection is created in place of one that was taken over", decisionDir + ".judgeMissing", remove(`case h.TakenOver:`), tableTest("TestJudgeHolding")},
	{"a connection is created in place of a young one", decisionDir + ".judgeMissing", never(`h.IsYoung`), tableTest("TestJudgeHolding")},
	{"another's connection is deleted", decisionDir + ".Holding.IsOthers", never(`h.Owner == OwnedByAnother`), tableTest("TestJudgeHolding")},
	{"a resource that has a connection is an heir", decisionDir + ".IsHeir", never(`heir.ConnectionID() != ""`), tableTest("TestIsHeir")},
	{"whoever describes the same name is an heir", decisionDir + ".IsHeir", always(`is.ProductName == was.ProductName`), tableTest("TestIsHeir")},
	{"another product's connection is taken over", connectionDir + ".unfit", never(`shown.ProductName != described.ProductName`), unitTest(connectionDir, "TestUnfit")},
	{"what others have in the metadata is dropped", connectionDir + ".markedMetadata", replace(`maps.Clone(shown)`, `maps.Clone(map[string]json.RawMessage{})`), unitTest(connectionDir, "TestMarkedMetadata")},

	// One connection for each description
	{"what may have created a connection counts as refused", decisionDir + ".JudgeCreation", never(`mayHaveActed`), tableTest("TestJudgeCreation")},
	{"a search that failed proves that nothing was created", decisionDir + ".JudgeSearch", remove(`case !s.Outcome.IsDone():`), tableTest("TestJudgeSearch")},
	{"a search at another place proves that nothing was created", decisionDir + ".JudgeSearch", remove(`case !s.IsSamePlace:`), tableTest("TestJudgeSearch")},
	{"a creation is given up while it may still be carried out", decisionDir + ".JudgeSearch", never(`s.Began.Before(s.Due)`), tableTest("TestJudgeSearch")},
	{"what was created is not found again", decisionDir + ".JudgeSearch", never(`s.Found > 0`), tableTest("TestJudgeSearch")},
	{"a name that is taken is taken over unasked", decisionDir + ".JudgeNamesake", always(`n.Policy == v1alpha1.AdoptionPolicyByName`), tableTest("TestJudgeNamesake")},
	{"what another resource has is taken over by its name", decisionDir + ".JudgeNamesake", always(`n.Elsewhere == ""`), tableTest("TestJudgeNamesake")},
	{"what is configured on the server is taken over", decisionDir + ".JudgeNamesake", always(`!n.IsConfigured`), tableTest("TestJudgeNamesake")},
	{"a sibling's connection is taken over by its name", decisionDir + ".JudgeNamesake", never(`n.Sibling != ""`), tableTest("TestJudgeNamesake")},
	{"the id of what was created is not looked at", reporterDir + ".Client.Create", never(`!canonicalUUID.MatchString(created.id())`), clientTest("TestCreateBelievesNoOtherBody")},
	{"rows of a list without an id are believed", reporterDir + ".Client.page", never(`!canonicalUUID.MatchString(items[i].id())`), clientTest("TestListBelievesNoOtherPage")},
	{"DeleteOnly holds no creation", decisionDir + ".JudgeManagement", never(`endpoint.Spec.ManagementPolicy == v1alpha1.ManagementPolicyDeleteOnly`), tableTest("TestJudgeManagement")},
	{"suspend holds no creation", decisionDir + ".JudgeManagement", remove(`if block, suspended := judgeSuspension(rc, endpoint); suspended {…}`), tableTest("TestJudgeManagement")},
	{"what is asked for is done at each pass", connectionDir + ".isAskedFor", replace(`!strings.Contains(rc.Status.HandledRequest+" ", handled.letter+":"+digestOf(value)+" ")`, `true`), unitTest(connectionDir, "TestWhatIsAskedFor")},

	// What databases are reached with
	{"Reporter uses a password with another host", connectionDir + ".differenceOf", replace(`d.needsPassword || needsPassword`, `d.needsPassword`), unitTest(connectionDir, "TestDifferenceOf")},
	{"Reporter uses a password with another port", connectionDir + ".differenceOf", replace(`d.fields, d.needsPassword, d.change.Port = append(d.fields, "port"), true, &described.Port`, `d.fields, d.change.Port = append(d.fields, "port"), &described.Port`), unitTest(connectionDir, "TestDifferenceOf")},
	{"Reporter uses a password with another way to encrypt", connectionDir + ".differenceOf", replace(`d.fields, d.needsPassword, d.change.SSL = append(d.fields, "ssl.mode"), true, ssl`, `d.fields, d.change.SSL = append(d.fields, "ssl.mode"), ssl`), unitTest(connectionDir, "TestDifferenceOf")},
	{"a schema that is not described any more stays", connectionDir + ".differenceOf", replace(`has == nil && want == ""`, `want == ""`), unitTest(connectionDir, "TestDifferenceOf")},
	{"who has changed a password in Reporter is not noticed", connectionDir + ".sentFor", replace(`updatedAt.UnixMilli()`, `0`), unitTest(connectionDir, "TestSentFor")},
	{"a Secret is sent with hosts that it does not list", accessDir + ".checkUse", never(`isForHosts && !listsHost(hosts, host)`), scene("TestHostThatTheSecretDoesNotListIsNotSent")},
	{"a Secret is sent through endpoints that it does not list", accessDir + ".checkUse", never(`isForEndpoints && !listsEndpoint(endpoints, endpoint)`), unitTest(accessDir, "TestCheckUse")},
	{"a Secret that lists hosts is sent to anybody's Reporter", accessDir + ".checkUse", never(`isForHosts && !isForEndpoints && endpoint.Namespace != rc.Namespace`), unitTest(accessDir, "TestCheckUse")},
	{"hosts are compared letter by letter", accessDir + ".listsHost", replace(`inOneForm(listed) == inOneForm(host)`, `listed == inOneForm(host)`), scene("TestHostThatTheSecretDoesNotListIsNotSent")},
	{"the Secret of an endpoint is taken for one of a database", accessor + ".databaseSecret", never(`secret.Labels[v1alpha1.CredentialsLabel] != v1alpha1.CredentialsOfDatabase`), scene("TestAttackSecretsOfEndpointsAndDatabasesAreNotTakenForEachOther")},
	{"the Secret of a database is taken for one of an endpoint", accessor + ".readSecret", never(`secret.Labels[v1alpha1.CredentialsLabel] != v1alpha1.CredentialsOfEndpoint`), scene("TestAttackSecretsOfEndpointsAndDatabasesAreNotTakenForEachOther")},
	{"a password keeps the newline of an editor", accessDir + ".withoutNewline", replace(`strings.TrimSuffix(text, "\n")`, `text`), scene("TestAttackEndsOfPasswords")},
	{"a new password is not noticed", accessor + ".DatabaseCredentials", remove(`fmt.Fprintf(contents, "%q ", value)`), scene("TestRotatedPasswordIsSentAtOnce")},
	{"a Secret that is made anew is not noticed", accessor + ".DatabaseCredentials", remove(`fmt.Fprintf(version, "%s %s %s %s\n", secret.UID, secret.ResourceVersion, name, key)`), scene("TestRotatedPasswordIsSentAtOnce")},
	{"an account is tried until it is locked", decisionDir + ".IsTestDue", always(`TraitsOf(known.Reason).Shared`), tableTest("TestJudgeTest")},

	// Claims
	{"claims are ignored", decisionDir + ".successorOf", never(`claim.Standing == Successor`), tableTest("TestJudgeGrounds")},
	{"a Retain successor is preferred", decisionDir + ".successorOf", negate(`rc.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain`), tableTest("TestJudgeGrounds")},
	{"a claim elsewhere counts without being shown the connection", decisionDir + ".JudgeClaim", replace(`seen != nil && seen.MayBe(here)`, `seen == nil || seen.MayBe(here)`), tableTest("TestJudgeClaim")},
	{"it does not matter where a claim leads", decisionDir + ".JudgeClaim", remove(`case leadsTo == "" || leadsTo != here.URL:`), tableTest("TestJudgeClaim")},
	{"a claim that was never looked up counts for nothing", decisionDir + ".JudgeClaim", replace(`return Unverified`, `return ClaimsNothing`), tableTest("TestJudgeClaim")},
	{"a claim that was seen elsewhere is never looked up", decisionDir + ".JudgeClaim", always(`seen.URL == leadsTo`), tableTest("TestJudgeClaim")},
	{"a refusal under an earlier spec refuses a claim", decisionDir + ".JudgeClaim", always(`IsLookedUp(claim)`), tableTest("TestJudgeClaim")},
	{"a claim that is made after the deletion holds it", decisionDir + ".JudgeClaim", remove(`case deleted.DeletionTimestamp.Before(&claim.CreationTimestamp):`), tableTest("TestJudgeClaim")},
	{"a login page refuses a claim", decisionDir + ".TraitsOf", insertBefore(`return reasons[reason].Traits`, `if reason == v1alpha1.ReasonUnexpectedResponse { return Traits{Inconclusive: true, RefusesClaim: true} }`), scene("TestClaimIsUnverifiedWhereSomethingElseAnswersForReporter")},
	{"a 403 refuses a claim", decisionDir + ".TraitsOf", insertBefore(`return reasons[reason].Traits`, `if reason == v1alpha1.ReasonForbidden { return Traits{RefusesClaim: true} }`), tableTest("TestTraits")},
	{"an unverified claim does not hold", decisionDir + ".JudgeGrounds", never(`g.IsPatient`), tableTest("TestJudgeGrounds")},
	{"claims elsewhere are ignored", deletion + ".judgeClaims", never(`here != nil`), scene("TestClaimThatGotNoAnswerIsLookedUpBeforeADeletion")},
	{"claims count while they are deleted", decisionDir + ".IsClaim", always(`claim.DeletionTimestamp.IsZero()`), scene("TestHeirThatIsBeingDeletedIsNoHeir")},
	{"a claim counts for nothing where it is not known where it leads", deletion + ".judgeClaimElsewhere", replace(`return decision.Unverified`, `return decision.ClaimsNothing`), scene("TestClaimBehindManyOthersIsNotOverlooked")},
	{"the cache is believed about where a claim leads", accessor + ".LeadsTo", never(`errors.As(err, &o) || err == nil && reporter.CanonicalURL(string(endpoint.Spec.URL)) != here`), scene("TestClaimCountsThoughItsEndpointIsNotInTheCacheYet")},
	{"claims hold without a time limit", record + ".isPatient", always(`now.Sub(r.unverifiedSince) < claimPatience`), scene("TestUnverifiedClaimsHoldADeletionForTenMinutesInAll")},
	{"patience begins with the deletion", record + ".unverified", replace(`r.unverifiedSince = now`, `r.unverifiedSince = r.since`), scene("TestPatienceWithUnverifiedClaimsBeginsWithTheFirst")},
	{"there is patience with each claim by itself", record + ".unverified", always(`r.unverifiedSince.IsZero()`), scene("TestUnverifiedClaimsHoldADeletionForTenMinutesInAll")},
	{"a successor gets no finalizer before the hand-over", deletion + ".handOver", never(`successor.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain`), scene("TestHeirIsHeldBeforeItInherits")},

	// What histories alone are played for: what really came about, whatever the operator knows of it
	{"a hand-over is told as a Retain", deletion + ".handOver", replace(`causeHandedOver`, `causeRetained`), simulation},
	{"a release is not told where the watch is late", reconciler + ".connectionGone", replace(`r.leaveTrail(ctx, rc, true)`, `if !r.recordOf(rc).released { r.leaveTrail(ctx, rc, true) }`), simulation},
	{"everybody may use an endpoint", accessor + ".endpointFor", replace(`if allowed {…}`, `if allowed || err == nil { return &endpoint, nil }`), simulation},
	{"another namespace's claim is named", connectionDir + ".nameFor", never(`other.Namespace != reader.Namespace`), simulation},
	{"the path of a URL is left out", reporterDir + ".parseBaseURL", replace(`strings.TrimSuffix(path.Clean("/"+base.Path), "/")`, `strings.TrimSuffix(path.Clean("/"), "/")`), simulation},

	// Brakes
	{"Retain of the resource is ignored", decisionDir + ".JudgeGrounds", never(`rc.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain`), tableTest("TestJudgeGrounds")},
	{"Retain of the endpoint is ignored", decisionDir + ".JudgeGrounds", never(`endpoint.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain`), tableTest("TestJudgeGrounds")},
	{"suspend holds under a Retain endpoint", decisionDir + ".JudgeGrounds", insertBefore(`if endpoint != nil && endpoint.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain {…}`, `if endpoint != nil && endpoint.Spec.Suspend { return GroundsVerdict{} }`), tableTest("TestJudgeGrounds")},
	{"protection is ignored", decisionDir + ".judgeBrakes", never(`rc.Spec.DeletionProtection`), tableTest("TestJudgeGrounds")},
	{"suspend is ignored", decisionDir + ".judgeSuspension", never(`endpoint.Spec.Suspend`), tableTest("TestJudgeGrounds")},
	{"the delay is ignored", decisionDir + ".judgeBrakes", replace(`wait > 0`, `wait > time.Hour`), tableTest("TestJudgeGrounds")},
	{"no finalizer is put on", reconciler + ".ensureFinalizer", replace(`kube.EnsureFinalizer(ctx, r.Client, rc, v1alpha1.ConnectionFinalizer)`, `nil`), scene("TestStrippedFinalizerIsPutBackAtOnce")},
	{"Retain keeps the finalizer of a live resource", reconciler + ".ensureFinalizer", always(`!controllerutil.ContainsFinalizer(rc, v1alpha1.ConnectionFinalizer)`), scene("TestRetainTakesTheFinalizerOffALiveResource")},
	{"any namespace may use any endpoint", accessor + ".Allows", always(`namespace == endpoint.Namespace`), scene("TestNewLabelsOfANamespaceWakeItsConnections")},
	{"endpoints outside of the scope are read", accessor + ".endpointFor", always(`a.scope.Includes(key.Namespace)`), unitTest(accessDir, "TestEndpointsOutsideOfTheScopeAreNotRead")},
	{"who reads a Secret while an endpoint goes brings its Reporter back", accessor + ".target", remove(`if to.Client != nil && purpose == "" {…}`), scene("TestReporterOfAnEndpointThatGoesIsNotBroughtBack")},
	{"an unlabelled Secret is reported as missing", accessor + ".markedMetadata", replace(`apierrors.IsNotFound(err)`, `apierrors.IsNotFound(err) || metadata.Labels[v1alpha1.CredentialsLabel] == ""`), scene("TestUnmarkedSecretIsToldApartFromAMissingOne")},

	// What a deletion needs
	{"a stale cache is believed for the release of an endpoint", protectionDir + ".EndpointReconciler.Reconcile", replace(`users, err = usersOf(ctx, r.Access, r.Live, &endpoint, liveUsers(&endpoint))`, `users, err = usersOf(ctx, r.Access, r, &endpoint, cachedUsers(&endpoint))`), scene("TestNothingIsReleasedByAStaleCache")},
	{"a stale cache is believed for the release of a Secret", protectionDir + ".judgeHeld", replace(`[]func() (decision.Usage, error){cached, live}`, `[]func() (decision.Usage, error){cached}`), scene("TestNothingIsReleasedByAStaleCache")},
	{"an endpoint goes although it has users", protectionDir + ".EndpointReconciler.Reconcile", never(`len(users) > 0`), simulation},
	{"only live resources need an endpoint", protectionDir + ".needs", never(`controllerutil.ContainsFinalizer(rc, v1alpha1.ConnectionFinalizer)`), simulation},
	{"resources that retain hold an endpoint", protectionDir + ".needs", never(`rc.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain`), scene("TestUsersThatDoNotCountHoldNoEndpoint")},
	{"resources that an endpoint does not let in hold it", protectionDir + ".usersAmong", replace(`if allowed {…}`, `if allowed || true { users = append(users, rc) }`), scene("TestUsersThatDoNotCountHoldNoEndpoint")},
	{"resources that are newer than its deletion hold an endpoint", protectionDir + ".needs", always(`endpoint.DeletionTimestamp.IsZero()`), scene("TestUsersThatDoNotCountHoldNoEndpoint")},
	{"a Secret goes although a deletion waits", decisionDir + ".JudgeRelease", remove(`case usage.Pending:`), tableTest("TestJudgeRelease")},
	{"a Secret goes at once although resources use it", decisionDir + ".JudgeRelease", remove(`case deletedFor < releaseGrace:`), tableTest("TestJudgeRelease")},
	{"a Secret need not outlast its terminating namespace", protectionDir + ".usageIn", remove(`usage.Pending, err = kube.IsTerminating(ctx, reader, namespace)`), scene("TestSecretOutlastsItsTerminatingNamespace")},
	{"the Secret of a deleted endpoint is not pending", secrets + ".usageOf", never(`!endpoint.DeletionTimestamp.IsZero()`), scene("TestSecretOfADeletedEndpointStays")},
	{"an endpoint that retains needs its Secret", secrets + ".usageOf", never(`endpoint.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain`), scene("TestEndpointThatRetainsNeedsNoSecret")},
	{"Secrets that lost their label unseen are not swept", secrets + ".OnQueue", remove(`q.Add(sweep)`), scene("TestSecretThatLostItsMarkWhileTheOperatorWasDownCanBeDeleted")},
	{"a RoleBinding goes although something is held by it", protectionDir + ".RoleBindingReconciler.usageOf", replace(`usage.Needed = true`, `usage.Needed = false`), unitTest(protectionDir, "TestRoleBindingIsHeldForWhatIsHeld")},
	{"nobody is warned of the release of a RoleBinding", protectionDir + ".RoleBindingReconciler.Reconcile", remove(`if stillInUse {…}`), unitTest(protectionDir, "TestRoleBindingIsHeldForWhatIsHeld")},

	// Writes
	{"no delay is one by a clock that is behind", decisionDir + ".judgeBrakes", replace(`delay != nil && delay.Duration > 0`, `delay != nil`), tableTest("TestJudgeGrounds")},
	{"writes overwrite what others wrote", kubeDir + ".patchMetadata", replace(`client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})`, `client.MergeFrom(base)`), unitTest(kubeDir, "TestDropFinalizer")},
	{"a finalizer that was gone is counted as dropped", kubeDir + ".DropFinalizer", replace(`if !controllerutil.RemoveFinalizer(object, finalizer) {…}`, `if !controllerutil.RemoveFinalizer(object, finalizer) { return true, nil }`), unitTest(kubeDir, "TestDropFinalizer")},
	{"the release of what is gone is counted as ours", kubeDir + ".DropFinalizer", replace(`if apierrors.IsNotFound(err) {…}`, `if apierrors.IsNotFound(err) { return true, nil }`), unitTest(kubeDir, "TestDropFinalizer")},
	{"a finalizer stays where its removal met a conflict", kubeDir + ".DropFinalizerRetrying", insertAfter(`dropped, err = DropFinalizer(ctx, c, current, finalizer)`, `if err != nil { return nil }`), scene("TestDeletionThatIsDoneIsFinishedThroughAConflict")},
	{"what is done is not finished through more than one conflict", kubeDir + ".conflictBackoff", replace(`4`, `2`), unitTest(kubeDir, "TestDropFinalizerRetrying")},
	{"a release without an answer counts as the conflict before it", kubeDir + ".DropFinalizerRetrying", replace(`return dropped, err`, `return dropped, conflict`), unitTest(kubeDir, "TestDropFinalizerRetrying")},
	{"another object's finalizer is dropped after a conflict", kubeDir + ".DropFinalizerRetrying", never(`current.GetUID() != object.GetUID()`), unitTest(kubeDir, "TestDropFinalizerRetrying")},
	{"a conflict is an error", kubeDir + ".ResultOf", never(`apierrors.IsConflict(err)`), unitTest(kubeDir, "TestResultOf")},
	{"a namespace that is gone is not terminating", kubeDir + ".IsTerminating", never(`apierrors.IsNotFound(err) || apierrors.IsForbidden(err)`), unitTest(kubeDir, "TestIsTerminating")},
	{"the status is written to another resource of the same name", reconciler + ".patchStatus", replace(`client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})`, `client.MergeFrom(base)`), scene("TestStatusIsNotWrittenToAnotherResourceOfTheSameName")},
	{"the status is written by what a late cache shows", reconciler + ".patchStatus", replace(`client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})`, `client.MergeFrom(base)`), scene("TestStartOfAWaitIsKeptByALateCache")},
	{"what is noted ends with the first of its name", connectionDir + ".notes.forget", replace(`known.of == resource.GetUID()`, `true`), unitTest(connectionDir, "TestNotes")},
	{"notes are those of any resource of the name", connectionDir + ".notes.find", replace(`known[i].of == resource.GetUID()`, `true`), unitTest(connectionDir, "TestNotes")},
	{"what is still to be announced is forgotten", connectionDir + ".notes.forgetGone", replace(`!isNeeded(known.what)`, `true`), unitTest(connectionDir, "TestNotes")},
	{"what a late pass notes is kept", connectionDir + ".notes.drop", remove(`delete(n.known, name)`), unitTest(connectionDir, "TestNotes")},
	{"a trail is left twice", reconciler + ".takeTrail", replace(`taken, record.trail = record.trail, nil`, `taken = record.trail`), scene("TestReleaseIsToldOnce")},
	{"no trail is left", reconciler + ".drop", remove(`r.records.update(rc, func(record *record) { before, record.trail = record.trail, &left })`), scene("TestReleaseIsToldOnce")},
	{"a trail is lost with the answer to the release", reconciler + ".drop", always(`err == nil || apierrors.IsConflict(err)`), scene("TestWarningIsNotLostWithTheAnswerToTheRelease")},
	{"a trail is left of what somebody else released", reconciler + ".drop", never(`!dropped && (err == nil || apierrors.IsConflict(err))`), scene("TestReleaseBySomebodyElseIsNotTold")},

	{"a refused release of a connection is not told", reconciler + ".drop", never(`refusal != ""`), scene("TestRefusedReleaseOfAConnectionIsTold")},
	{"a refused release of an endpoint is not told", protectionDir + ".EndpointReconciler.release", never(`refusal != "" && !held`), scene("TestRefusedReleaseOfWhatADeletionNeedsIsTold")},
	{"a refused release of a Secret is told each time", secrets + ".release", always(`said != secret.GetUID()`), scene("TestRefusedReleaseOfWhatADeletionNeedsIsTold")},
	{"a refused release of a RoleBinding is not told", protectionDir + ".RoleBindingReconciler.Reconcile", never(`refusal != ""`), unitTest(protectionDir, "TestRefusedReleaseOfARoleBindingIsTold")},
	{"what was not looked up is deleted", deletion + ".attemptOnce", replace(`outcome.Unanswered`, `false`), scene("TestLookUpThatIsNotAnsweredIsNoLookUp")},
	{"a refused finalizer of a successor is not told", deletion + ".sayNotHeld", always(`refusal == ""`), scene("TestRefusedFinalizerOfASuccessorIsTold")},
	{"what may be deleted is told to stay", deletion + ".staying", never(`d.recordOf(d.rc).sent`), scene("TestConnectionThatMayBeDeletedIsNotToldToStay")},
	{"one Secret that is not released keeps the others", protectionDir + ".SecretReconciler.releaseAllUnmarked", insertAfter(`failed = append(failed, r.releaseUnmarked(ctx, client.ObjectKeyFromObject(secret)))`, `if errors.Join(failed...) != nil { break }`), scene("TestRefusedReleaseOfASecretKeepsNoOther")},
	{"a conflict is told as a refusal", kubeDir + ".RefusalOf", replace(`http.StatusBadRequest`, `http.StatusBadRequest, http.StatusConflict`), unitTest(kubeDir, "TestRefusalOf")},
	{"who else holds a resource is not told", reconciler + ".sayWhoElseHolds", always(`!held`), scene("TestEachOutcomeIsToldWhileOthersHoldTheResource")},
	{"who else holds a resource is not told before ours goes", kubeDir + ".DropFinalizerRetrying", remove(`if err := prepare(current); err != nil {…}`), scene("TestOthersAreToldBeforeOursGoes")},
	{"who else holds an endpoint is not told", protectionDir + ".EndpointReconciler.release", replace(`r.say(ctx, endpoint, others)`, `func(decision.Block) error { return nil }(others)`), scene("TestOthersThatHoldAnEndpointAreTold")},
	{"a policy on the status keeps a resource", reconciler + ".sayWhoElseHolds", never(`apierrors.IsForbidden(err) || apierrors.IsInvalid(err)`), scene("TestPolicyThatRefusesTheStatusKeepsNothing")},

	// What wakes whom
	{"errors are retried by the default schedule", setupDir + ".Controller.options", replace(`controller.Options{MaxConcurrentReconciles: c.Workers, RateLimiter: c.RateLimiter}`, `controller.Options{MaxConcurrentReconciles: c.Workers}`), unitTest(setupDir, "TestFailedPassesAreRepeatedInProportion")},
	{"an outage that is over counts for the next", kubeDir + ".RateLimiter.Forget", remove(`delete(l.failures, request)`), unitTest(setupDir, "TestFailedPassesAreRepeatedInProportion")},
	{"nobody comes back to a deletion that is held", deletion + ".block", replace(`d.jitter(retryIn)`, `0*d.jitter(retryIn)`), simulation},
	{"time in which a person held a deletion counts as waited for Reporter", decisionDir + ".WaitedForReporter", never(`TraitsOf(blocked.Reason).NotReportersDoing`), tableTest("TestWaitedForReporter")},
	{"a delay is counted by our clock", decisionDir + ".JudgeGrounds", replace(`judgeBrakes(rc, endpoint, g.ServerTime)`, `judgeBrakes(rc, endpoint, now)`), scene("TestDelayHoldsThoughTheClocksDiffer")},
	{"our clock is taken for the API server's", kubeDir + ".Clock.Now", replace(`time.Now().Add(-time.Duration(c.behind.Load()))`, `time.Now()`), unitTest(kubeDir, "TestClockIsTheAPIServers")},
	{"what waits for its status to be written asks as often as at first", record + ".waited", replace(`return now.Sub(r.blockedSince)`, `return 0`), scene("TestDeletionWhoseStatusIsNotSeenAsksNoMoreOften")},
	{"a message may be of any length", decisionDir + ".fit", replace(`maxDetail`, `1<<30`), scene("TestSelectorOfAnyLengthGetsAStatus")},
	{"waiting grows too fast", decisionDir + ".Proportional", replace(`waited / 8`, `waited / 2`), tableTest("TestProportional")},
	{"an outage replaces what was found", decisionDir + ".JudgeLive", never(`traits.Shared && l.Settled`), tableTest("TestJudgeLive")},
	{"another resource of the same name is no change", kubeDir + ".Changed", never(`before.GetUID() != after.GetUID()`), unitTest(kubeDir, "TestChanged")},
	{"a claim wakes deletions that it cannot release", decisionDir + ".MayRelease", always(`in.MayBe(*seen)`), tableTest("TestMayRelease")},
	{"a claim that goes wakes nobody who waits for it", decisionDir + ".MayRelease", remove(`if readyReason(deleted) == v1alpha1.ReasonClaimUnverified {…}`), tableTest("TestMayRelease")},
	{"a stripped finalizer wakes nobody", reconciler + ".connectionChanged", replace(`stripped || kube.Changed(before, after)`, `stripped && false || kube.Changed(before, after)`), scene("TestStrippedFinalizerIsPutBackAtOnce")},
	{"a status that is wiped wakes nobody", kubeDir + ".Wiped", replace(`apimeta.FindStatusCondition(before, v1alpha1.ConditionReady) != nil`, `false`), scene("TestWipedStatusIsWrittenAgainAtOnce")},
	{"new labels wake nobody", reconciler + ".NamespaceEvents", never(`!reflect.DeepEqual(e.ObjectOld.Labels, e.ObjectNew.Labels)`), scene("TestNewLabelsOfANamespaceWakeItsConnections")},
	{"new contents of a Secret wake nobody", accessDir + ".SecretEvents", never(`!reflect.DeepEqual(e.ObjectOld.Data, e.ObjectNew.Data)`), scene("TestNewContentsOfASecretWakeItsUsers")},
	{"a change of an endpoint wakes nobody", reconciler + ".EndpointEvents", never(`e.ObjectOld.Generation != e.ObjectNew.Generation`), scene("TestChangeOfAnEndpointWakesItsDeletions")},
	{"all that waits asks at once after a start", reconciler + ".ConnectionEvents", never(`e.IsInInitialList && decision.WaitsForReporter(e.Object)`), scene("TestWhatWaitsDoesNotAskAtOnceAfterAStart")},
	{"routine look-ups take no turn", reconciler + ".isTurnToLookUp", always(`to.Client == nil`), scene("TestRoutineLookUpsArePacedAfterAStart")},
	{"urgency is ignored for a connection", reconciler + ".admit", always(`!asked || release != nil`), scene("TestAttemptThatSomebodyAsksForIsMadeAtOnce")},
	{"who asks for attempts gets all of them", reconciler + ".admit", never(`!r.attempts.Take(to.Client.Identity(), request)`), scene("TestAttemptsThatSomebodyAsksForAreOneASecond")},
	{"that somebody asked is forgotten before its turn", reconciler + ".admit", remove(`r.urgent.LoadOrStore(request, false)`), scene("TestAttemptsThatSomebodyAsksForAreOneASecond")},
	{"urgency is ignored for an endpoint", checker + ".Reconcile", never(`r.takeUrgent(req.NamespacedName)`), scene("TestCheckThatSomebodyAsksForIsMadeAtOnce")},
	{"endpoints at the same Reporter are not woken", checker + ".EndpointEvents", remove(`if !isReady(e.ObjectOld) && isReady(e.ObjectNew) {…}`), scene("TestEndpointsOfOneReporterAreReadyTogether")},
	{"requested checks follow each other at once", checker + ".requestedCheckDelay", remove(`next = next.Add(requestedCheckInterval)`), unitTest(endpointDir, "TestRequestedCheckDelay")},
	{"being asked for fewer requests makes an endpoint unready", checker + ".setReady", never(`isCurrent && block.Reason == v1alpha1.ReasonRateLimited`), unitTest(endpointDir, "TestSetReady")},
	{"the probes of an endpoint become rare", checker + ".setReady", replace(`min(block.RetryIn, maxProbeInterval)`, `block.RetryIn`), unitTest(endpointDir, "TestSetReady")},
	{"each new text is a write", decisionDir + ".Block.MessageOver", never(`b.Unstable && known != nil && known.Reason == b.Reason && known.ObservedGeneration == generation && !strings.Contains(known.Message, askedToWait)`), tableTest("TestMessageOver")},
	{"a time is told that is over", decisionDir + ".Block.MessageOver", always(`!strings.Contains(known.Message, askedToWait)`), tableTest("TestMessageOver")},

	// Admission
	{"nobody is dispatched when Reporter answers again", queues + ".Unblock", remove(`q.grantNext(server)`), unitTest(admissionDir, "TestServerThatIsDown")},
	{"no slot is given to the next waiter", queues + ".release", remove(`q.grantNext(server)`), scene("TestDeletionInLineThatWasNeverLookedAtWaits")},
	{"a slot is not given back", queues + ".release", remove(`q.queue(server).inFlight--`), unitTest(admissionDir, "TestQueues")},
	{"a deletion keeps its slot", deletion + ".attempt", remove(`defer release()`), scene("TestApiServerThatIsSlowKeepsNobodyFromReporter")},
	{"a grant that was not used is not returned", queues + ".Begin", never(`grant != nil && q.granted[request] == grant`), unitTest(admissionDir, "TestQueues")},
	{"more is granted than the limit allows", queues + ".grantNext", never(`in.inFlight+in.granted >= w.Limit`), unitTest(admissionDir, "TestQueues")},
	{"who comes takes the slot that was granted to another", queues + ".Acquire", always(`in.inFlight+in.granted < w.Limit`), unitTest(admissionDir, "TestSlotIsKeptForWhatWasGranted")},
	{"who comes overtakes who waits", queues + ".Acquire", always(`in.slot.preferred.Len() == 0`), unitTest(admissionDir, "TestDifferentLimitsOfOneServer")},
	{"deletions wait behind look-ups", connectionDir + ".waiterFor", replace(`!rc.DeletionTimestamp.IsZero()`, `false`), scene("TestDeletionsGoBeforeLookUps")},
	{"a server is asked that is to be left alone", queues + ".Acquire", never(`w.Now.Before(in.until)`), unitTest(admissionDir, "TestServerThatIsLeftAlone")},
	{"what somebody asks for goes round the limit", reconciler + ".requestSlot", replace(`r.requests.Acquire(w)`, `func() (func(), time.Duration) { if w.AtOnce { return func() {}, 0 }; return r.requests.Acquire(w) }()`), scene("TestAttemptThatSomebodyAsksForKeepsToTheLimit")},
	{"what somebody asks for waits for the end of a pause", queues + ".Acquire", replace(`w.AtOnce || !w.Now.Before(in.until)`, `!w.Now.Before(in.until)`), unitTest(admissionDir, "TestServerThatIsLeftAlone")},
	{"that somebody asked is forgotten in line", reconciler + ".requestSlot", remove(`r.urgent.Store(w.Request, true)`), scene("TestAttemptThatSomebodyAsksForKeepsToTheLimit")},
	{"one namespace's endpoints are checked before all others", endpointDir + ".checksPerNamespace", replace(`16`, `4096`), scene("TestEndpointsThatHangDelayNobodyElsesCheck")},
	{"endpoints that hang are checked before those that answered", checker + ".Reconcile", never(`isHopeful(&endpoint) || r.isUrgent(req.NamespacedName)`), scene("TestEndpointsThatHangDelayNobodyElsesCheck")},
	{"turns come one right after the other", pacer + ".Take", remove(`p.lanes.pace(lane, p.interval)`), unitTest(admissionDir, "TestPacerGivesTurnsInOrder")},
	{"the turn before is forgotten where nobody waits", queues + ".pace", replace(`true`, `false`), unitTest(admissionDir, "TestPacerGivesTurnsInOrder")},
	{"lanes that nobody needs are kept", queues + ".pace", remove(`q.grantNext(server)`), unitTest(admissionDir, "TestPacerForgetsItsLanes")},
	{"a turn ends with the request that leaves", queues + ".passOn", remove(`q.grantNext(grant.Server)`), unitTest(admissionDir, "TestPacerLetsThroughWhatIsExempt")},
	{"the turn of who has left is kept", queues + ".Forget", never(`grant != nil`), unitTest(admissionDir, "TestPacerLeavesNoGapBehind")},
	{"what is exempt waits", pacer + ".Take", never(`p.endExemption(request)`), unitTest(admissionDir, "TestPacerLetsThroughWhatIsExempt")},
	{"an exemption lasts", pacer + ".endExemption", remove(`delete(p.exempt, request)`), unitTest(admissionDir, "TestPacerLetsThroughWhatIsExempt")},
	{"a request that is woken early loses its turn", queues + ".enqueue", never(`w.AtOnce || grant != nil && !grant.onTrial`), unitTest(admissionDir, "TestPacerGivesTurnsInOrder")},

	// Some namespaces alone
	{"a namespace is missing in a list of all", scopeDir + ".oneByOne.List", replace(`all = append(all, items...)`, `all = items`), unitTest(scopeDir, "TestOneByOne")},
	{"a list is as new as its last part", scopeDir + ".oneByOne.List", replace(`isOlder(part.GetResourceVersion(), oldest)`, `isOlder(oldest, part.GetResourceVersion())`), unitTest(scopeDir, "TestListOfAllIsAsOldAsItsFirstPart")},
	{"a right that was lost is not noticed", scopeDir + ".grants.check", always(`had && !all`), unitTest(scopeDir, "TestGrants")},
	{"not knowing is a reason to stop", scopeDir + ".grants.check", remove(`if had {…}`), unitTest(scopeDir, "TestGrants")},
	{"an API server that still starts is believed to refuse", scopeDir + ".refusalPatience", replace(`5 * time.Second`, `time.Duration(0)`), unitTest(scopeDir, "TestGrants")},
	{"many open endpoints are as many lists of everything", secrets + ".Reconcile", replace(`r.usageOf(ctx, r.Live, &secret, r.listLive)`, `r.usageOf(ctx, r.Live, &secret, func(ctx context.Context, all []v1alpha1.ReporterEndpoint) (found []v1alpha1.ReporterConnection, err error) { for i := range all { found, err = r.listLive(ctx, all[i:i+1]) }; return found, err })`), scene("TestManyOpenEndpointsOfASecretAreOneListOfEverything")},
	{"a namespace is worked in without a right", scopeDir + ".grants.check", always(`err == nil`), unitTest(scopeDir, "TestGrants")},

	// The end of a pass
	{"a pass takes as long as the API server", kubeDir + ".Bounded.Reconcile", replace(`PassTimeout`, `24*time.Hour`), scene("TestPassEndsThoughNothingAnswers")},
	{"the deadline of a pass goes with its end of the process", kubeDir + ".WithoutCancel", always(`!found`), scene("TestPassEndsThoughNothingAnswers")},

	// The client of Reporter
	{"the breaker never closes", reporterDir + ".outage.end", replace(`o.cause, o.answered, o.owed = nil, now, false`, `o.answered = now`), clientTest("TestDownAndUp")},
	{"the breaker closes for an error of the server's", reporterDir + ".transport.exchange", always(`response.StatusCode < http.StatusInternalServerError`), clientTest("TestProbes")},
	{"no deletion is tried in an outage", queues + ".Try", remove(`q.grant(at, 0)`), scene("TestListThatFailsKeepsNoDeletionFromBeingTried")},
	{"a trial that found nobody is spent", reporterDir + ".outage.sendOnTrial", never(`o.cause != nil`), scene("TestDeletionInAnOutageThatHeldNobodyIsTriedAtOnce")},
	{"whoever comes in an outage is not tried", reconciler + ".waitForReporter", remove(`to.Client.OfferTrial()`), scene("TestDeletionInAnOutageThatHeldNobodyIsTriedAtOnce")},
	{"whoever is tried in an outage is held by it", reconciler + ".Reconcile", never(`r.requests.IsOnTrial(req)`), scene("TestListThatFailsKeepsNoDeletionFromBeingTried")},
	{"a list that fails holds what is answered", reporterDir + ".outage.begin", replace(`o.alone = o.alone && check`, `o.alone = false`), clientTest("TestListAloneFails")},
	{"servers that hang are tried at each check", reporterDir + ".outage.try", never(`now.Before(o.trialDue)`), clientTest("TestTrialsOfAServerThatHangs")},
	{"whoever waits for an outage to end holds who does not", queues + ".Block", replace(`q.enqueue(w, b.IsDown != nil)`, `q.enqueue(w, false)`), unitTest(admissionDir, "TestServerThatIsDown")},
	{"the breaker opens for old news", reporterDir + ".outage.begin", never(`o.answered.After(sent)`), clientTest("TestOldSilence")},
	{"the breaker holds who has more patience", reporterDir + ".outage.held", never(`o.cause.within > 0 && o.cause.within < timeout`), clientTest("TestOutageOfATimeout")},
	{"the breaker names another's timeout", reporterDir + ".outage.held", never(`held.within > 0`), clientTest("TestOutageOfATimeout")},
	{"the breaker opens for who gives up early", reporterDir + ".transport.noAnswer", never(`ctx.Err() != nil`), clientTest("TestNoOutage")},
	{"a pause never ends", reporterDir + ".pause.hold", replace(`!now.Before(p.until)`, `p.until.IsZero()`), clientTest("TestPause")},
	{"what a server asked for about a DELETE holds checks", reporterDir + ".pace.unavailable", never(`check`), scene("TestPauseOfDeletionsLeavesTheEndpointReady")},
	{"a check that is answered early ends no pause", reporterDir + ".pace.observe", remove(`p.checks.end(sent)`), clientTest("TestUnavailableIsOneKindOfRequests")},
	{"nobody says until when a server is left alone", decisionDir + ".JudgeBlock", never(`!o.Until.IsZero()`), scene("TestStatusSaysUntilWhenReporterAskedToBeLeftAlone")},
	{"whoever waits for a pause to end says nothing of it", connectionDir + ".reasonToWait", replace(`return to.Client.Pause()`, `return nil`), scene("TestStatusSaysUntilWhenReporterAskedToBeLeftAlone")},
	{"more is sent than a server still takes", reporterDir + ".allowance.held", never(`now.Before(l.renewal) && l.left <= l.underWay`), clientTest("TestAllowance")},
	{"urgency is ignored for a request", reporterDir + ".transport.send", replace(`urgent := IsUrgent(ctx)`, `urgent := false`), clientTest("TestUrgentLogin")},
	{"whoever answers 401 refuses the credentials", reporterDir + ".answer.classify", remove(`case !a.isRefusal(code):`), clientTest("TestAnswers")},
	{"an unreadable tenant is none", reporterDir + ".tenantOf", replace(`if json.Unmarshal(claim, &id) != nil || id == nil || clean(*id) != *id {…}`, `if json.Unmarshal(claim, &id) != nil || id == nil || clean(*id) != *id { return Tenant{Readable: true} }`), clientTest("TestTenantID")},
	{"a refused token is kept", reporterDir + ".session.drop", remove(`if s.token == refused {…}`), clientTest("TestRefusedToken")},
	{"no retry with a fresh token", reporterDir + ".Client.call", always(`!a.tokenRefused`), clientTest("TestRefusedToken")},
	{"a token is used to its very end", reporterDir + ".session.current", replace(`time.Until(s.token.Expiry) < renewal(s.token)`, `time.Until(s.token.Expiry) < 0`), clientTest("TestTokenIsRenewed")},
	{"an id that is not canonical is sent", reporterDir + ".Client.connectionPath", replace(`!canonicalUUID.MatchString(id)`, `id == ""`), clientTest("TestOnlyCanonicalIDsAreSent")},
	{"a token is repeated in a text", reporterDir + ".answer.clean", remove(`for _, secret := range a.secrets {…}`), clientTest("TestTokenIsNotRepeated")},
	{"the operator speaks to its own machine", reporterDir + ".Network.allows", replace(`return n.AllowLoopback`, `return true`), clientTest("TestAddressesAreRefused")},
	{"the operator speaks to link-local addresses", reporterDir + ".Network.allows", never(`address.IsLinkLocalUnicast()`), clientTest("TestAddressesAreRefused")},
	{"what is asked for a confirmation is kept", accessor + ".Confirm", remove(`defer a.pool.Release(confirming + rc.EndpointKey().String())`), scene("TestNothingGrowsWithWhatUsersWrite")},
	{"answers that were shared for a moment are kept", kubeDir + ".SharedReads.share", remove(`time.AfterFunc(Moment, s.forgetOld)`), scene("TestNothingGrowsWithWhatUsersWrite")},
	{"what nobody uses is kept", reporterDir + ".Pool.release", always(`shared.users > 0`), clientTest("TestNothingGrowsWithChurn")},
	{"what a user used just before is forgotten", reporterDir + ".Pool.register", replace(`default:`, "default:\nshared.users++\np.release(u.current)\nu.current = shared"), clientTest("TestOldAndNewVersionsDoNotThrash")},
}
