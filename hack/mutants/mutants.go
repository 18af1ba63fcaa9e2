// SPDX-License-Identifier: Apache-2.0

package main

// Where the safety of deletions is.
const (
	claims      = "controllers/claims.go"
	deletion    = "controllers/connection_deletion.go"
	connections = "controllers/connection_controller.go"
	decision    = "controllers/decision.go"
	access      = "controllers/access.go"
	protection  = "controllers/protection.go"
	finalizers  = "controllers/finalizer.go"
	watches     = "controllers/watches.go"
	lines       = "controllers/lines.go"
	endpoints   = "controllers/endpoint_controller.go"
	client      = "internal/reporter/client.go"
	errorsFile  = "internal/reporter/errors.go"
	session     = "internal/reporter/session.go"
	outage      = "internal/reporter/outage.go"
	pace        = "internal/reporter/pace.go"
	pool        = "internal/reporter/pool.go"
	tenant      = "internal/reporter/tenant.go"
	transport   = "internal/reporter/transport.go"
)

// What finds mutants: histories, as many as there are in make test and from the same seeds, or a test by its name.
var simulation = []string{"./controllers", "-run", "^TestSimulation$", "-simulation.shorten=false"}

func test(name string) []string { return []string{"./controllers", "-run", "^" + name + "$"} }

func clientTest(name string) []string {
	return []string{"./internal/reporter", "-run", "^" + name + "$"}
}

var mutants = []mutant{
	// What counts as deleted
	{"any 404 counts as absent", errorsFile, `a.status == http.StatusNotFound && e.Code == "FET-1001"`, `a.status == http.StatusNotFound`, clientTest("TestAnswers")},
	{"any 2xx counts as deleted", client, `answer.status != http.StatusNoContent`, `answer.status/100 != 2`, simulation},
	{"any error of a DELETE counts as deleted", decision, `if a.deletion.answer == answerDone {`, `if a.deletion.answer == answerDone || a.deletion.answer == answerUnavailable {`, simulation},
	{"absence is not confirmed by a GET", decision, `case a.confirmation.answer != answerAbsent:`, `case a.confirmation.answer != answerAbsent && false:`, test("TestJudgeDeletion")},
	{"what GET shows counts as deleted", decision, `case a.confirmation.answer == answerDone:`, `case a.confirmation.answer == answerDone && false:`, test("TestJudgeDeletion")},
	{"absence counts wherever it is", decision, `case a.seen && !a.seenHere:`, `case a.seen && !a.seenHere && false:`, simulation},
	{"the place is a URL without its tenant", deletion, `seenHere: seenIn != nil && *seenIn == to.in,`, `seenHere: seenIn != nil && seenIn.URL == to.in.URL,`, simulation},
	{"no warning of a wrong id", deletion, `case v.release && v.neverSeen:`, `case v.release && v.neverSeen && false:`, simulation},
	{"a lost answer makes up for never having seen", deletion, `(a.tried.seen && r.deletions.get(rc.UID).sent)`, `r.deletions.get(rc.UID).sent`, simulation},
	{"the finalizer is dropped before the call", deletion, "	tried := r.attemptDeletion(ctx, rc, to)\n",
		"	if _, err := dropFinalizer(ctx, r.Client, rc, v1alpha1.ConnectionFinalizer); err != nil {\n		return asked{}, err\n	}\n	tried := r.attemptDeletion(ctx, rc, to)\n", simulation},
	{"what is done is not remembered where the finalizer stays", deletion, `d.done = true`, `d.done = false`, test("TestDeletionThatIsDoneIsNotRepeated")},

	// Claims
	{"claims are ignored", deletion, "	heir, unclear, err := r.heirOf(ctx, rc, to)\n", "	heir, unclear, err := r.heirOf(ctx, rc, to)\n	heir = nil\n", simulation},
	{"claims count while they are deleted", claims, `return other.UID == rc.UID || !other.DeletionTimestamp.IsZero()`, `return other.UID == rc.UID`, simulation},
	{"a claim elsewhere counts without being shown the connection", claims, "	by, err := r.reach(ctx, claim)\n", "	by, err := r.reach(ctx, claim)\n	if err == nil && by.client != nil {\n		return finding{answer: answerDone}, nil\n	}\n", simulation},
	{"claims elsewhere are ignored", claims, "	for i := range claims {\n		found, err := r.prove(", "	for i := range claims[:0] {\n		found, err := r.prove(", simulation},
	{"a claim that got no answer counts as refused", claims, `return true
	}
	return false
}

// elderOf`, `return true
	}
	return true
}

// elderOf`, simulation},
	{"a login page refuses a claim", claims, "	default:\n		return found, nil\n", "	default:\n		return absent, nil\n", test("TestClaimIsUnclearWhereSomethingElseAnswersForReporter")},
	{"an unclear claim does not hold", deletion, `	case unclear != nil:`, `	case unclear != nil && false:`, simulation},
	{"a 403 refuses a claim", claims, `answerUnauthorized, answerInvalidEndpoint:`, `answerUnauthorized, answerForbidden, answerInvalidEndpoint:`, test("TestClaimIsUnclearWhereSomethingElseAnswersForReporter")},
	{"patience begins with the deletion", deletion, `				since = now
`, `				since = d.since
`, test("TestPatienceWithAnUnclearClaimBeginsWhenItBecomesUnclear")},
	{"an heir is not held before it inherits", deletion, `if heir.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain {`, `if heir.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain && false {`, simulation},

	// Brakes
	{"Retain of the resource is ignored", deletion, `if rc.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain {`, `if rc.Spec.DeletionPolicy == "x" {`, simulation},
	{"Retain of the endpoint is ignored", deletion, `retained := to.endpoint != nil && to.endpoint.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain`, `retained := false`, simulation},
	{"protection is ignored", decision, `if rc.Spec.DeletionProtection {`, `if rc.Spec.DeletionProtection && false {`, simulation},
	{"suspend is ignored", decision, `if endpoint.Spec.Suspend {`, `if endpoint.Spec.Suspend && false {`, simulation},
	{"the delay is ignored", decision, `if wait := due.Sub(now); wait > 0 {`, `if wait := due.Sub(now); wait > time.Hour {`, simulation},
	{"the cache is believed about the endpoint's brakes", deletion, "	if !current {\n", "	if !current && false {\n", simulation},
	{"what was once confirmed of an endpoint is believed for ever", access, `if !known.at.Before(notBefore) {`, `if !known.at.IsZero() {`, simulation},
	{"no finalizer is put on", connections, `changed = controllerutil.AddFinalizer(rc, v1alpha1.ConnectionFinalizer)`, `changed = false`, simulation},

	// What a deletion needs
	{"a stale cache is believed for the release of an endpoint", protection, `users, err = r.access.usersOf(ctx, r.live, &endpoint, liveUsers(&endpoint)...)`, `err = nil`, simulation},
	{"a stale cache is believed for the release of a Secret", protection, `range []func() (use, error){cached, live}`, `range []func() (use, error){cached}`, simulation},
	{"a Secret goes although a deletion waits", decision, "	case use.pending:\n", "	case use.pending && false:\n", simulation},
	{"a Secret goes at once although resources use it", decision, `case deletedFor < releaseGrace:`, `case deletedFor < 0:`, simulation},
	{"only live resources need an endpoint", protection, `!rc.DeletionTimestamp.IsZero() && !controllerutil.ContainsFinalizer(&rc, v1alpha1.ConnectionFinalizer),`, `!rc.DeletionTimestamp.IsZero(),`, simulation},
	{"writes overwrite what others wrote", finalizers, `client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})`, `client.MergeFrom(base)`, simulation},

	// Progress
	{"a finalizer stays where its removal met a conflict", finalizers, `if dropped, err = dropFinalizer(ctx, c, current, finalizer); !apierrors.IsConflict(err) {
			return err
		}`, `if dropped, err = dropFinalizer(ctx, c, current, finalizer); !apierrors.IsConflict(err) {
			return err
		}
		if err != nil {
			return nil
		}`, test("TestDeletionThatIsDoneIsFinishedThroughAConflict")},
	{"nobody comes back to a deletion that is held", deletion, "	tellHeld(rc, h)\n	return r.told(ctx, base, rc, jitter(comeBack))\n", "	tellHeld(rc, h)\n	_ = comeBack\n	return r.told(ctx, base, rc, 0)\n", simulation},
	{"an endpoint goes although it has users", protection, `	if len(users) > 0 {
		return r.tell(`, `	if len(users) > 100 {
		return r.tell(`, simulation},
	{"the breaker never closes", outage, `o.cause, o.answered = nil, now`, `o.answered = now`, simulation},
	{"the breaker closes for an error of the server's", transport, `if response.StatusCode < http.StatusInternalServerError {`, `if response.StatusCode < 600 {`, clientTest("TestProbes")},
	{"the breaker opens for old news", outage, `if o.answered.After(sent) || `, `if `, clientTest("TestOldSilence")},
	{"the breaker holds who has more patience", outage, ` || (o.cause.within > 0 && o.cause.within < timeout) {`, ` {`, clientTest("TestOutageOfATimeout")},
	{"the breaker opens for who gives up early", transport, `if ctx.Err() != nil { // `, `if false { // `, clientTest("TestNoOutage")},
	{"a DELETE is sent without asking for permission", transport, `if r.permit != nil {`, `if r.permit != nil && false {`, clientTest("TestDeleteWithoutPermission")},
	{"a DELETE is repeated with a fresh token", client, ` || !first || r.method != http.MethodGet {`, ` || !first {`, clientTest("TestRefusedTokenOfADelete")},
	{"HTTP/2 repeats a DELETE", transport, `if written.Load() && httpRequest.Method == http.MethodDelete {`, `if false {`, clientTest("TestDeleteIsNotRepeatedByHTTP2")},
	{"whoever answers 401 refuses the credentials", errorsFile, `case !isCode(body.Code) && !a.isShortText():`, `case false:`, clientTest("TestAnswers")},
	{"an unreadable tenant is none", tenant, `if json.Unmarshal(claim, &id) != nil || id == nil || clean(*id) != *id {
		return Tenant{}`, `if json.Unmarshal(claim, &id) != nil || id == nil || clean(*id) != *id {
		return Tenant{Readable: true}`, clientTest("TestTenantID")},
	{"what nobody uses is kept", pool, `if shared.users--; shared.users > 0 {`, `if shared.users--; shared.users >= 0 {`, clientTest("TestNothingGrowsWithChurn")},
	{"what a user used just before is forgotten", pool, `u.current, u.previous, u.changed = shared, u.current, now
	default:
		shared.users++
		p.release(u.previous)
		u.current, u.previous, u.changed = shared, u.current, now`, `u.current, u.previous, u.changed = shared, u.current, now
	default:
		shared.users++
		p.release(u.current)
		u.current = shared`, clientTest("TestOldAndNewVersionsDoNotThrash")},
	{"nobody is called when Reporter answers again", lines, "	l.line(to).down = false\n	l.advance(to)\n", "	l.line(to).down = false\n", test("TestDeletionsGoOnAtOnceWhenReporterAnswersAgain")},
	{"no room is made for the next in line", lines, "	l.line(to).underWay--\n	l.advance(to)\n", "	l.line(to).underWay--\n", test("TestDeletionInLineThatWasNeverLookedAtWaits")},
	{"a call is kept by who does not enter", lines, "if turn != nil && l.called[request] == turn {", "if turn != nil && l.called[request] == turn && false {", simulation},
	{"a pause never ends", pace, `if !now.Before(p.until) {`, `if p.until.IsZero() {`, simulation},
	{"a refused token is kept", session, "	if s.token == refused {\n		s.token = nil\n	}\n", "", clientTest("TestRefusedToken")},
	{"no retry with a fresh token", client, `if !a.tokenRefused || !first || `, `if !a.tokenRefused || first || `, clientTest("TestRefusedToken")},
	{"an id that is not canonical is sent", client, `if !canonicalUUID.MatchString(id) {`, `if id == "" {`, clientTest("TestOnlyCanonicalIDsAreSent")},
	{"another connection is taken for the one asked for", client, ` || valueOf[string](object.ID) != id`, ``, clientTest("TestGetBelievesNoOtherBody")},
	{"a deletion that took another's place is not remembered", watches, "			if !e.ObjectNew.DeletionTimestamp.IsZero() {\n				r.deletions.begin", "			if !e.ObjectNew.DeletionTimestamp.IsZero() && e.ObjectOld.DeletionTimestamp.IsZero() {\n				r.deletions.begin", test("TestDeletionIsRememberedOfAResourceThatTookAnothersPlace")},
}
