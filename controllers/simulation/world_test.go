// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// history is one simulated history: a world, and a scheduler that decides all that happens in it by drawing numbers.
type history struct {
	source  *rand.Rand
	tape    []int // numbers to draw, in place of the source, if it is not nil
	drawn   []int
	tracing bool
	trace   []string
	began   time.Time
	counts  map[string]int
	failure string

	api       *apiServer
	instances []*instance
	launched  int
	latest    *pass
	turn      int
	calm      bool
	even      bool             // the operator draws no numbers
	hold      func(*call) bool // calls that a scene keeps waiting
	blind     string           // the kind whose changes a scene keeps from the caches
	notes     []string         // the events, as a reader sees them
	then      func(*history)   // what comes after a history that has finished

	mu              sync.Mutex
	calls           []*call
	finished        []finished
	requestedChecks []requestedCheck
	// events counts those of each resource's release; warned are those with a warning; warningsOwed, those that must get one.
	events       map[heldBy]int
	warned       map[types.UID]bool
	warningsOwed map[types.UID]*pass
	releases     map[types.UID]release
	// What has really come about, whatever is known of it: where each resource was shown its connection, and at which URLs it was refused that;
	// whose DELETE took effect; which processes have sent one, and for whom; which had Reporter's word that there is no such connection; the logins that were refused; and since
	// when a process holds a deletion for a claim that was not looked up.
	randomIDs     *rand.ChaCha8
	sightings     map[types.UID][]sighting
	refused       map[types.UID]map[string]bool
	deletedFor    map[types.UID]bool
	sentFor       map[heldBy]bool
	foundAbsent   map[heldBy]bool
	refusedLogins []string
	heldSince     map[heldBy]time.Time
	// lines are those of each process's log that tell of a release of that name; released, the releases of which it has to tell.
	lines, released map[namedBy]int

	taken    *snapshot // what the API server can be restored to, nil while there is nothing
	restores int

	auth      string // of the endpoints: none, bearer, login, or opaque where bearer tokens do not say which tenant they are for
	themeName string // of a theme, in place of one that is drawn
	theme     theme
	reporters map[string]*simulatedReporter
	manager   *reportertest.AccessManager
	clients   map[string]string // whose connections each client of the Access Manager sees
	ids       []string
	home      map[string]string // by connection: the host of the Reporter that has it
	endJob    map[string]func()
}

type simulatedReporter struct {
	*reportertest.Reporter
	down *response // what something else answers in its place, nil while nothing does
}

// requestedCheck is an endpoint that an instance is to check because of a connection.
type requestedCheck struct {
	i        *instance
	endpoint *v1alpha1.ReporterEndpoint
}

// The world: two namespaces, each with endpoints, and two Reporters.
const (
	homeHost    = "reporter.test"
	otherHost   = "other.test"
	managerHost = "manager.test"
)

var simulatedNamespaces = []string{"a", "b"}

// draw returns a number from 0 up to, and without, n. 0 is always the calm choice: nothing goes wrong.
func (h *history) draw(n int) int {
	if n <= 1 {
		return 0
	}
	var value int
	switch {
	case h.tape == nil:
		value = h.source.IntN(n)
	case len(h.drawn) < len(h.tape):
		value = h.tape[len(h.drawn)] % n
	}
	h.drawn = append(h.drawn, value)
	return value
}

// chance is true so many times of a hundred.
func (h *history) chance(percent int) bool { return h.draw(100) >= 100-percent }

func (h *history) count(what string) { h.counts[what]++ }

func (h *history) say(format string, args ...any) {
	if h.tracing {
		h.trace = append(h.trace, fmt.Sprintf("%4d %12s  ", len(h.trace)+1, time.Since(h.began))+fmt.Sprintf(format, args...))
	}
}

func (h *history) fail(format string, args ...any) {
	if h.failure == "" {
		h.failure = fmt.Sprintf(format, args...)
		h.say("VIOLATED: %s", h.failure)
	}
}

// play plays the history to its end.
func (h *history) play() {
	h.began = time.Now()
	h.sleep(time.Duration(h.draw(1000)) * time.Millisecond)
	h.set()
	h.enrich()
	h.launch()
	most := 100 + h.draw(700)
	if h.theme.hostile {
		most = min(most, 250)
	}
	if h.theme.described { // to look a mark up takes many calls
		most *= 3
		h.calm = true
		h.settle()
		h.calm = false
	}
	for steps := 0; steps < most && h.failure == ""; steps++ {
		h.step()
	}
	if h.failure == "" {
		h.finish()
	}
	if h.failure == "" && h.then != nil {
		h.then(h)
	}
	h.end()
}

// end leaves nobody behind, not even who sleeps.
func (h *history) end() {
	for len(h.instances) > 0 {
		h.kill(h.instances[0])
	}
	h.sleep(time.Minute)
}

// newReporter is a Reporter whose ids are the same each time that a history is played.
func (h *history) newReporter() *reportertest.Reporter {
	r := reportertest.New()
	r.Random = h.randomIDs
	return r
}

// set puts the world up.
func (h *history) set() {
	h.auth = []string{"bearer", "login", "none", "opaque"}[h.draw(4)]
	h.api = newAPIServer(!h.chance(20))
	h.api.released = h.judgeRelease
	h.events, h.warningsOwed, h.releases = map[heldBy]int{}, map[types.UID]*pass{}, map[types.UID]release{}
	h.sightings, h.refused, h.deletedFor = map[types.UID][]sighting{}, map[types.UID]map[string]bool{}, map[types.UID]bool{}
	h.lines, h.released = map[namedBy]int{}, map[namedBy]int{}
	h.sentFor, h.foundAbsent, h.heldSince = map[heldBy]bool{}, map[heldBy]bool{}, map[heldBy]time.Time{}
	h.counts, h.warned, h.endJob, h.home = map[string]int{}, map[types.UID]bool{}, map[string]func(){}, map[string]string{}
	h.randomIDs = rand.NewChaCha8([32]byte{})
	h.reporters = map[string]*simulatedReporter{homeHost: {Reporter: h.newReporter()}, otherHost: {Reporter: h.newReporter()}}
	h.manager = reportertest.NewAccessManager(h.reporters[homeHost].Reporter)
	tenants := []string{"ours", "ours", "ours", "theirs", "ours", "ours"}
	if h.auth == "none" {
		h.reporters[homeHost] = &simulatedReporter{Reporter: h.newReporter()}
		tenants = make([]string, 6)
	}
	if h.auth == "bearer" || h.auth == "opaque" {
		for _, r := range h.reporters {
			h.allowTokens(r)
		}
	}
	h.clients = maps.Clone(tenantsByClient)
	for client, tenant := range h.clients {
		h.manager.AddClient(client, "secret", tenant)
	}
	h.manager.SetTokenLife([]time.Duration{time.Hour, 2 * time.Minute}[h.draw(2)])
	for n, tenant := range tenants {
		id := fmt.Sprintf("019996b8-f3d1-7d2b-a192-%012d", n)
		host := homeHost
		if n == 4 {
			host = otherHost
		}
		if n < 5 { // the last one is nowhere
			h.reporters[host].Add(reportertest.Connection{ID: id, ConfigName: fmt.Sprintf("db-%d", n), Tenant: tenant, CreatedAt: h.began})
			h.home[id] = host
		}
		h.ids = append(h.ids, id)
	}
	for _, namespace := range simulatedNamespaces {
		h.must(h.api.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))
		h.must(h.api.create(h.secret(namespace, "ours")))
		h.must(h.api.create(h.endpoint(namespace, "default")))
	}
}

func (h *history) must(err error) {
	if err != nil {
		panic(err)
	}
}

// tenantsByClient are whose connections the clients of the Access Manager see at first, and the bearer tokens that are named after them.
var tenantsByClient = map[string]string{"ours": "ours", "ours-too": "ours", "theirs": "theirs"}

func (h *history) allowTokens(r *simulatedReporter) {
	for client, tenant := range tenantsByClient {
		r.AllowToken(h.tokenFor(client), tenant)
	}
}

// tokenFor returns an unsigned JWT, or one that cannot be read.
func (h *history) tokenFor(client string) string {
	if h.auth == "opaque" {
		return "opaque-" + client
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(`{"tenantId":"`+tenantsByClient[client]+`","sub":"`+client+`"}`)) + ".x"
}

// moveClient gives a client of the Access Manager to another tenant, and has its tokens no longer accepted.
func (h *history) moveClient(client, tenant string) {
	h.clients[client] = tenant
	h.manager.AddClient(client, "secret", tenant)
	h.manager.RevokeTokens()
}

// enrich makes the world one in which more can happen than in that of a scene: connections of the same id live behind another path of the
// same host, on another host and in another tenant; namespaces have a Secret more; and something happens more often than the rest.
func (h *history) enrich() {
	h.api.stride = 64
	h.theme = themes[h.draw(3*len(themes)-2)/3] // the last one is rare, as it takes long
	if named := slices.IndexFunc(themes, func(t theme) bool { return t.name == cmp.Or(h.themeName, *simulationTheme) }); named >= 0 {
		h.theme = themes[named]
	}
	h.api.admission = h.api.admission && !h.theme.noAdmission
	copies := map[string]map[int]string{homeHost + "/staging": {0: "ours", 1: "theirs", 2: "ours"}, otherHost: {1: "ours"}, homeHost + " theirs": {0: "theirs", 2: "theirs", 3: "theirs"}}
	for _, at := range slices.Sorted(maps.Keys(copies)) {
		if h.reporters[at] == nil {
			h.reporters[at] = &simulatedReporter{Reporter: h.newReporter()}
		}
		for n, tenant := range copies[at] {
			if h.auth == "none" {
				tenant = ""
			}
			h.reporters[at].Add(reportertest.Connection{ID: h.ids[n], ConfigName: fmt.Sprintf("db-%d", n), Tenant: tenant, CreatedAt: h.began})
		}
		if h.auth != "none" {
			h.allowTokens(h.reporters[at])
		}
	}
	if h.auth != "none" {
		h.home[h.ids[3]] = homeHost + " theirs"
	}
	if h.theme.hostile {
		h.settleNeighbour()
	}
	for _, namespace := range simulatedNamespaces {
		if h.theme.described {
			h.must(h.api.create(passwordOf(namespace)))
			h.createDescribed(namespace)
		}
		other := h.secret(namespace, []string{"ours", "ours-too", "theirs"}[h.draw(3)])
		other.Name = "other"
		h.must(h.api.create(other))
	}
}

// theme is what happens more often in a history than in others.
type theme struct {
	name string
	// noAdmission: no policy puts finalizers on, so that claims are made that nothing holds yet.
	noAdmission bool
	// names is how many resources there may be in a namespace.
	names int
	// often are what people do half of the time, by the choices of person.
	often []int
	// hasty is how often of a hundred somebody does something while a request is under way.
	hasty int
	// restored is how often of a hundred the API server is restored, or what it is restored to is taken, while a request is under way.
	restored int
	// hostile: there is a neighbour.
	hostile bool
	// described: connections are described as well.
	described bool
}

var themes = []theme{
	{name: "anything", names: 4},
	{name: "hand-over", names: 4, noAdmission: true, often: []int{0, 0, 5, 5, 5, 9}},
	{name: "marks and grants", names: 4, often: []int{5, 12, 15, 15, 17, 18}},
	{name: "in the middle of a call", names: 4, hasty: 25},
	{name: "a crowd", names: 10, often: []int{0, 0, 0, 0, 5}},
	{name: "an API server that is restored", names: 4, restored: 15},
	{name: "described connections", names: 4, described: true, often: []int{0, 0, 9, 9, 9, 5}},
	{name: "a hostile neighbour", names: 4, hostile: true},
}

func (h *history) secret(namespace, tenant string) *corev1.Secret {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "credentials", Labels: map[string]string{v1alpha1.CredentialsLabel: "true"}}}
	h.fill(secret, tenant)
	return secret
}

// fill puts the credentials of a tenant into a Secret, some that nobody accepts where there is none.
func (h *history) fill(secret *corev1.Secret, tenant string) {
	token, client, password := h.tokenFor(tenant), tenant, "secret"
	if tenant == "" {
		token, client, password = "wrong", "ours", "wrong"
	}
	secret.Data = map[string][]byte{"token": []byte(token), "clientId": []byte(client), "clientSecret": []byte(password)}
}

func (h *history) endpoint(namespace, name string) *v1alpha1.ReporterEndpoint {
	endpoint := &v1alpha1.ReporterEndpoint{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.ReporterEndpointSpec{URL: "http://" + homeHost, Timeout: &metav1.Duration{Duration: 10 * time.Second}, DeletionDelay: &metav1.Duration{}, MaxInFlight: []int32{16, 1, 2}[h.draw(3)],
			AllowedNamespaces: v1alpha1.AllowedNamespaces{From: v1alpha1.FromSame}, DeletionPolicy: v1alpha1.DeletionPolicyDelete},
	}
	switch h.auth {
	case "bearer", "opaque":
		endpoint.Spec.Auth = &v1alpha1.EndpointAuth{BearerToken: &v1alpha1.BearerTokenAuth{SecretRef: v1alpha1.SecretKeyReference{Name: "credentials", Key: "token"}}}
	case "login":
		endpoint.Spec.Auth = &v1alpha1.EndpointAuth{AccessManager: &v1alpha1.AccessManagerAuth{URL: "http://" + managerHost, SecretRef: v1alpha1.SecretReference{Name: "credentials"}}}
	}
	return endpoint
}

// launch starts an instance of the operator.
func (h *history) launch() *instance {
	h.launched++
	i := newInstance(h, fmt.Sprintf("operator-%d", h.launched))
	h.instances = append(h.instances, i)
	h.say("%s starts", i.name)
	return i
}

// kill ends an instance at once. What it has sent may still arrive.
func (h *history) kill(i *instance) {
	synctest.Wait() // for what has just begun
	i.dead = true
	h.mu.Lock()
	calls := slices.Clone(h.calls)
	h.mu.Unlock()
	for _, c := range calls {
		if c.i == i && !c.abandoned {
			orphan := *c
			orphan.abandoned = true
			h.resume(c, nil, errDead)
			synctest.Wait()
			h.calls = append(h.calls, &orphan)
		}
	}
	h.instances = slices.DeleteFunc(h.instances, func(other *instance) bool { return other == i })
	h.requestedChecks = slices.DeleteFunc(h.requestedChecks, func(s requestedCheck) bool { return s.i == i })
	synctest.Wait()
}

// random is chance as the operator has it: a matter of the virtual time, so that it is the same each time a history is played.
func (h *history) random() float64 {
	if h.even {
		return 0.5
	}
	x := uint64(time.Now().UnixNano()) * 0x9E3779B97F4A7C15
	x ^= x >> 29
	x *= 0xBF58476D1CE4E5B9
	return float64(x>>11) / (1 << 53)
}

// step lets one thing happen.
func (h *history) step() {
	h.observe()
	switch kind := h.draw(1000); {
	case h.theme.restored > 0 && h.isAsking() && h.chance(h.theme.restored):
		h.restore()
	case h.theme.hostile && h.chance(4):
		h.neighbour()
	case kind >= 925, h.theme.hasty > 0 && h.isAsking() && h.chance(h.theme.hasty):
		h.person()
	case kind >= 890:
		h.pass([]time.Duration{10 * time.Millisecond, 10 * time.Millisecond, time.Second, 2 * time.Second, 11 * time.Second, time.Minute, 7 * time.Minute, 20 * time.Minute}[h.draw(8)])
	case kind >= 870:
		h.weather()
	case kind >= 862:
		h.misfortune()
	default:
		if !h.machinery() {
			h.idle()
		}
	}
}

// isAsking says whether a request to the API server or a Reporter is under way.
func (h *history) isAsking() bool {
	return slices.ContainsFunc(h.calls, func(c *call) bool { return !c.local && !c.abandoned })
}

// sleep lets virtual time pass. Who wakes by it goes on by the clock alone: what the scheduler has done so far is handed over by the lock,
// which they take before they touch it.
func (h *history) sleep(d time.Duration) {
	h.mu.Lock()
	h.mu.Unlock() //nolint:staticcheck // there is nothing to do under it
	time.Sleep(d) //nolint:forbidigo // virtual time
}

// pass lets time pass.
func (h *history) pass(d time.Duration) {
	h.say("%s pass", d)
	h.sleep(d)
}

// idle lets time pass until something becomes due, a while at most.
func (h *history) idle() bool {
	due, found := h.nextDue()
	if !found {
		h.pass(time.Second)
		return false
	}
	h.pass(max(time.Until(due), time.Millisecond))
	return true
}

func (h *history) nextDue() (due time.Time, found bool) {
	for _, i := range h.instances {
		for _, c := range i.controllers {
			if !i.paused && c.busy > 0 {
				// It sleeps, or waits for another.
				if slices.ContainsFunc(h.calls, func(c *call) bool { return c.hangs }) {
					return time.Now().Add(time.Second), true
				}
				return time.Now().Add(10 * time.Millisecond), true
			}
			for _, item := range c.queue.items {
				if !i.paused && (!found || item.ready.Before(due)) {
					due, found = item.ready, true
				}
			}
		}
	}
	return due, found
}

// observe waits until all that runs has come to a halt, and looks at what it has done meanwhile. No two things happen at the same time.
func (h *history) observe() {
	h.sleep(time.Microsecond)
	synctest.Wait()
	h.turn++
	slices.SortStableFunc(h.finished, func(a, b finished) int { return cmp.Compare(a.pass.String(), b.pass.String()) })
	for _, f := range h.finished {
		if f.panicked != "" {
			h.fail("Panic: %s: %s", f.pass, f.panicked)
		}
		if !f.pass.controller.i.dead {
			h.say("%s ends: %v, %v", f.pass, f.result.RequeueAfter, f.err)
		}
		f.settle()
	}
	h.finished = nil
	h.restartAborted()
	h.calls = slices.DeleteFunc(h.calls, func(c *call) bool { return c.abandoned && (c.acted || !c.write) })
	fresh := slices.IndexFunc(h.calls, func(c *call) bool { return c.fresh })
	if fresh >= 0 { // those that came in the same moment, in an order that is always the same
		slices.SortStableFunc(h.calls[fresh:], func(a, b *call) int { return cmp.Compare(a.by()+a.what+a.body, b.by()+b.what+b.body) })
	}
	for _, c := range h.calls {
		if c.fresh {
			c.fresh = false
			switch {
			case !c.http || c.pass == nil:
			case c.write && c.method == http.MethodDelete:
				h.judgeSend(c)
			case c.write:
				h.judgeChange(c)
			default:
				h.judgeLook(c.pass)
			}
		}
	}
	slices.SortStableFunc(h.requestedChecks, func(a, b requestedCheck) int {
		return cmp.Compare(a.i.name+"/"+a.endpoint.Namespace+"/"+a.endpoint.Name, b.i.name+"/"+b.endpoint.Namespace+"/"+b.endpoint.Name)
	})
}

// restartAborted has an instance that asked to be ended begin anew, as its pod would.
func (h *history) restartAborted() {
	for _, i := range slices.Clone(h.instances) {
		if i.aborted != nil {
			h.say("%s ends: %v", i.name, i.aborted)
			h.count("operator ended itself")
			h.kill(i)
			h.launch()
		}
	}
}

// machinery lets the operator, the API server or the network do one thing, and says whether there was any to do.
func (h *history) machinery() bool {
	var possible []func()
	for _, c := range h.calls {
		if c.hangs || (c.i.paused || c.abandoned) && (c.acted || c.local) || h.hold != nil && h.hold(c) {
			continue
		}
		if c.pass != nil && c.pass == h.latest && !c.abandoned {
			possible = slices.Insert(possible, 0, func() { h.advance(c) })
			continue
		}
		possible = append(possible, func() { h.advance(c) })
	}
	for n, s := range h.requestedChecks {
		if !s.i.paused {
			possible = append(possible, func() { h.requestedChecks = slices.Delete(h.requestedChecks, n, n+1); h.deliver(s) })
			break
		}
	}
	for _, i := range h.instances {
		if i.paused {
			continue
		}
		for _, kind := range simulatedKinds {
			if i.cutOff[kind] {
				possible = append(possible, func() { h.say("%s lists every %s anew", i.name, kind); i.relist(kind) })
			} else if i.seen[kind] < len(h.api.changes[kind]) && kind != h.blind {
				possible = append(possible, func() { h.say("%s sees a change of a %s", i.name, kind); i.catchUp(kind) })
			}
		}
		for _, c := range i.controllers {
			for _, kind := range simulatedKinds {
				if len(c.untold[kind]) > 0 {
					possible = append(possible, func() {
						h.say("%s tells %s of a %s", i.name, c.Name, kind)
						tell := c.untold[kind][0]
						c.untold[kind] = c.untold[kind][1:]
						tell()
					})
				}
			}
		}
		for _, c := range i.controllers {
			if c.busy < c.Workers {
				for _, request := range c.queue.ready(time.Now()) {
					possible = append(possible, func() { h.say("%s starts %s %s", i.name, c.Name, request); c.start(request) })
				}
			}
		}
	}
	if len(possible) == 0 {
		return false
	}
	chosen := 0
	if !h.calm && h.draw(3) > 0 {
		chosen = h.draw(len(possible))
	}
	possible[chosen]()
	return true
}

func (h *history) deliver(s requestedCheck) {
	for _, c := range s.i.controllers {
		if c.Requested != nil && !s.i.dead {
			c.Requested.Generic(context.Background(), event.TypedGenericEvent[*v1alpha1.ReporterEndpoint]{Object: s.endpoint}, c.queue)
		}
	}
}

var (
	errRefused = fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
	errReset   = fmt.Errorf("read: %w", syscall.ECONNRESET)
)

// advance carries a call out, or answers it. Either may go wrong.
func (h *history) advance(c *call) {
	if c.pass != nil {
		h.latest = c.pass
	}
	switch {
	case c.local:
		c.value, c.err = c.act()
		h.resume(c, c.value, c.err)
	case c.acted && h.goesWrong(8):
		h.lose(c)
	case c.acted:
		h.resume(c, c.value, c.err)
	case c.abandoned && (h.goesWrong(50) || c.isTooLate()):
		c.acted = true // it never arrives
	case !c.abandoned && !c.i.paused && h.goesWrong(8):
		h.refuse(c)
	default:
		late := ""
		if c.abandoned {
			late = ", late"
			h.count("carried out after its caller had left")
		}
		c.acted = true
		if c.hangs = c.http && h.isHanging(c.to); c.hangs {
			return
		}
		c.value, c.err = c.act()
		h.say("%s: %s%s: %s", c.by(), c.what, late, c.outcome())
		if (h.calm || !h.chance(35)) && !c.abandoned && !c.i.paused {
			if h.goesWrong(8) {
				h.lose(c)
			} else {
				h.resume(c, c.value, c.err)
			}
		}
	}
}

// isTooLate says whether Reporter does not carry a creation or a change out any more that its client has given up: docs/limits.md has for how
// long it may.
func (c *call) isTooLate() bool {
	return c.write && c.method != "" && c.method != http.MethodDelete && time.Since(c.at) > 70*time.Second
}

func (c *call) by() string {
	if c.pass != nil {
		return c.pass.String()
	}
	return c.i.name
}

func (c *call) outcome() string {
	if answer, is := c.value.(*response); is {
		return fmt.Sprintf("%d %.80s", answer.status, answer.body)
	}
	if c.err != nil {
		return c.err.Error()
	}
	return "done"
}

func (h *history) resume(c *call, value any, err error) {
	c.value, c.err = value, err
	h.mu.Lock() // who was resumed before may be running still
	h.calls = slices.DeleteFunc(h.calls, func(other *call) bool { return other == c })
	h.mu.Unlock()
	close(c.resume)
}

func (h *history) goesWrong(percent int) bool { return !h.calm && h.chance(percent) }

// refuse has a call fail before it takes effect.
func (h *history) refuse(c *call) {
	var value any
	var err error
	switch {
	case c.http && h.draw(4) == 0:
		err = errReset
	case c.http && h.draw(2) == 0:
		value = h.odd()
	case c.http:
		err = errRefused
	case c.write && h.draw(2) == 0:
		err = apierrors.NewConflict(schema.GroupResource{}, "", errors.New("somebody was faster"))
	default:
		err = apierrors.NewInternalError(errors.New("etcd has no leader"))
	}
	h.count("failed before it took effect")
	h.say("%s: %s fails: %v", c.by(), c.what, err)
	h.resume(c, value, err)
}

// lose has the answer to a call lost.
func (h *history) lose(c *call) {
	var value any
	err := error(apierrors.NewTimeoutError("the answer was lost", 1))
	if c.http {
		err = errReset
		switch {
		case h.draw(2) == 0:
		case c.write && c.method != http.MethodDelete: // nobody refuses in Reporter's place what it has carried out
			value, err = &response{503, http.Header{}, nil}, nil
		default:
			value, err = h.odd(), nil
		}
	}
	h.count("answer lost after it took effect")
	h.say("%s: the answer to %s is lost: %v", c.by(), c.what, err)
	h.resume(c, value, err)
}

// odd is an answer that proves nothing.
func (h *history) odd() *response {
	asJSON, html := http.Header{"Content-Type": {"application/json"}}, http.Header{"Content-Type": {"text/html"}}
	plain := http.Header{"Content-Type": {"text/plain; charset=utf-8"}}
	wait := http.Header{"Content-Type": {"application/json"}, "Retry-After": {"7"}}
	all := []*response{
		{503, asJSON, []byte(`{"code":"FET-0003","title":"Service Unavailable","message":""}`)},
		{500, asJSON, []byte(`{"code":"FET-0002","title":"","message":""}`)},
		{503, wait, nil}, {429, wait, []byte(`{"code":429,"title":"request_failed","message":""}`)},
		{200, html, []byte("<title>Sign in</title>")}, {404, html, []byte("not found")},
		{404, asJSON, []byte(`{"code":404,"title":"request_failed","message":""}`)}, {404, asJSON, []byte(`{"code":"AUT-1001","title":"","message":""}`)},
		{302, http.Header{"Location": {"http://" + otherHost}}, nil}, {202, asJSON, []byte(`{}`)},
		{401, html, []byte("<h1>401</h1>")}, {403, html, []byte("<h1>403</h1>")},
		{401, plain, []byte("Unauthorized")}, {403, plain, []byte("Forbidden")}, {409, asJSON, []byte(`{"code":"FET-1002","title":"","message":""}`)},
	}
	return all[h.draw(len(all))]
}

// exchange has a Reporter or the Access Manager answer.
func (h *history) exchange(c *call, request *http.Request, body []byte) *response {
	received := request.Clone(context.Background())
	received.Body = http.NoBody
	if body != nil {
		received.Body = io.NopCloser(bytes.NewReader(body))
	}
	if request.URL.Host == hostileHost {
		return h.hostileAnswer()
	}
	var handler http.Handler = h.manager
	if request.URL.Host != managerHost {
		r := h.reporterAt(c.to)
		if r == nil {
			return &response{503, http.Header{}, nil}
		}
		if r.down != nil {
			return r.down
		}
		handler = r
		received.URL.Path = strings.TrimPrefix(received.URL.Path, strings.TrimPrefix(c.to.base, "http://"+request.URL.Host))
	}
	alive := h.aliveAt(c.to, c.id)
	recorded := httptest.NewRecorder()
	handler.ServeHTTP(recorded, received)
	if alive && !h.aliveAt(c.to, c.id) {
		h.count("connection deleted in Reporter")
		h.deletedFor[c.pass.rc.UID] = true
	}
	h.spread(recorded)
	return &response{recorded.Code, recorded.Header(), recorded.Body.Bytes()}
}

// spread has every Reporter but the first, which knows by itself, accept a token of the Access Manager.
func (h *history) spread(login *httptest.ResponseRecorder) {
	var answer struct{ AccessToken string }
	if h.auth != "login" || json.Unmarshal(login.Body.Bytes(), &answer) != nil || answer.AccessToken == "" {
		return
	}
	for at, r := range h.reporters {
		if at != homeHost {
			r.AllowToken(answer.AccessToken, h.tenantOf(answer.AccessToken))
		}
	}
}

// reporterAt is the Reporter that has the connections of a place, nil where there is none. That of a tenant goes before that of all.
func (h *history) reporterAt(where place) *simulatedReporter {
	base := strings.TrimPrefix(where.base, "http://")
	if r := h.reporters[base+" "+where.tenant]; r != nil {
		return r
	}
	return h.reporters[base]
}

// alive says whether a connection is alive where its home is.
func (h *history) alive(id string) bool {
	host, found := h.home[id]
	return found && h.reporters[host].Alive(id)
}

// aliveAt says whether a connection is alive in a place.
func (h *history) aliveAt(where place, id string) bool {
	r := h.reporterAt(where)
	return r != nil && slices.ContainsFunc(r.Connections(), func(c reportertest.Connection) bool { return c.ID == id && c.Tenant == where.tenant })
}

// tenantOf is whose connections a token shows, empty if nobody's.
func (h *history) tenantOf(token string) string {
	if opaque, is := strings.CutPrefix(token, "opaque-"); is {
		return strings.TrimSuffix(opaque, "-too")
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	var claims struct{ TenantID string }
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	h.must(err)
	return claims.TenantID
}

// misfortune befalls the operator itself.
func (h *history) misfortune() {
	switch h.draw(5) {
	case 4:
		h.restore()
	case 0:
		i := h.instances[h.draw(len(h.instances))]
		kind := simulatedKinds[h.draw(len(simulatedKinds))]
		h.say("%s lists every %s anew", i.name, kind)
		h.count("watch broken off")
		i.relist(kind)
	case 1, 2:
		h.say("the operator is killed")
		h.count("operator killed")
		for len(h.instances) > 0 {
			h.kill(h.instances[0])
		}
		h.launch()
	default:
		if len(h.instances) > 1 {
			old := h.instances[0]
			if old.paused {
				h.say("%s goes on, and does not know yet that it leads no more", old.name)
				old.paused = false
			} else {
				h.say("%s notices that it leads no more", old.name)
				h.kill(old)
			}
			return
		}
		h.say("%s stands still until its lease is over", h.instances[0].name)
		h.count("leader paused while another took over")
		h.instances[0].paused = true
		h.sleep(15 * time.Second)
		h.launch()
	}
}

// restore puts the API server back to what it had when it was last called. Nothing is known then of what the operator did since: what it told,
// it may have to tell again.
func (h *history) restore() {
	if h.taken == nil {
		taken := h.api.snapshot()
		h.taken = &taken
		h.say("a snapshot of the API server is taken")
		return
	}
	h.say("the API server is restored from revision %d to %d", h.api.revision, h.taken.revision)
	h.count("API server restored")
	h.api.restore(*h.taken)
	h.taken = nil
	h.restores++
	for _, i := range h.instances {
		for _, kind := range simulatedKinds {
			i.cutOff[kind] = true
		}
	}
	clear(h.warningsOwed)
	clear(h.released)
	for _, seen := range h.sightings {
		for n := range seen {
			seen[n].deleting = false
		}
	}
}

// weather is what Reporters and the jobs in them do.
func (h *history) weather() {
	id := h.ids[h.draw(4)]
	name := "db-" + strings.TrimLeft(id[len(id)-3:], "0")
	if name == "db-" {
		name = "db-0"
	}
	switch h.draw(6) {
	case 0, 1:
		if end := h.endJob[id]; end != nil {
			h.say("the job on %s ends", name)
			end()
			delete(h.endJob, id)
			return
		}
		h.say("a job on %s starts", name)
		h.count("job started")
		tenant := "ours"
		if h.auth == "none" {
			tenant = ""
		} else if id == h.ids[3] {
			tenant = "theirs"
		}
		h.endJob[id] = h.reporters[h.home[id]].StartTenantJob(tenant, name)
	case 2, 3:
		r := h.reporters[homeHost]
		if r.down != nil {
			r.down = nil
			h.say("Reporter answers again")
			return
		}
		r.down = h.odd()
		h.say("Reporter is down, and something else answers: %d %s", r.down.status, r.down.body)
		h.count("Reporter went down")
	case 4:
		h.say("all tokens are revoked")
		if h.auth == "login" {
			h.manager.RevokeTokens()
		}
	default:
		if h.theme.described && h.draw(2) == 1 {
			h.console()
			return
		}
		if h.draw(4) == 1 {
			h.say("somebody deletes %s in Reporter", name)
			h.reporters[h.home[id]].Delete(id)
		}
	}
}

// person is what people and their tools do.
func (h *history) person() {
	namespace := simulatedNamespaces[h.draw(2)]
	did := ""
	what := h.draw(20)
	if len(h.theme.often) > 0 && h.draw(2) == 1 {
		what = h.theme.often[h.draw(len(h.theme.often))]
	}
	switch what {
	case 0, 1, 2, 3, 4:
		did = h.createConnection(namespace)
	case 5, 6, 7, 8:
		if rc := pick(h, connectionKind); rc != nil {
			did = fmt.Sprintf("deletes ReporterConnection %s: %v", client.ObjectKeyFromObject(rc), h.api.delete(connectionKind, client.ObjectKeyFromObject(rc)))
			h.count("connection deleted by somebody")
		}
	case 9, 10, 11:
		did = h.alterConnection()
	case 12, 13, 14:
		did = h.alterEndpoint()
	case 15:
		did = h.alterSecret(namespace)
	case 16:
		kind := []string{secretKind, endpointKind}[h.draw(2)]
		if object := pick(h, kind); object != nil {
			did = fmt.Sprintf("deletes %s %s: %v", kind, client.ObjectKeyFromObject(object), h.api.delete(kind, client.ObjectKeyFromObject(object)))
		}
	case 17:
		kind := []string{secretKind, endpointKind}[h.draw(2)]
		did = fmt.Sprintf("creates %s %s/default anew: %v", kind, namespace, h.recreate(kind, namespace))
	case 18:
		object, err := h.api.get(namespaceKind, client.ObjectKey{Name: namespace})
		if err == nil {
			h.must(h.api.update(object, func(o client.Object) {
				if o.GetLabels()["team"] == "" {
					o.SetLabels(map[string]string{"team": "x"})
				} else {
					o.SetLabels(nil)
				}
			}))
			did = "labels namespace " + namespace + " differently"
		}
	default:
		did = h.namespaces(namespace)
	}
	if did != "" {
		h.say("somebody %s", did)
	}
}

func (h *history) recreate(kind, namespace string) error {
	if kind == secretKind {
		other := h.secret(namespace, "ours")
		other.Name = "other"
		_ = h.api.create(other)
		return h.api.create(h.secret(namespace, "ours"))
	}
	return h.api.create(h.endpoint(namespace, "default"))
}

// pick chooses one of the objects that are not the neighbour's.
func pick(h *history, kind string) client.Object {
	all := slices.DeleteFunc(h.api.list(kind), isNeighbours)
	if len(all) == 0 {
		return nil
	}
	return all[h.draw(len(all))]
}

func (h *history) createConnection(namespace string) string {
	if h.theme.described && h.draw(3) > 0 {
		return h.createDescribed(namespace)
	}
	rc := &v1alpha1.ReporterConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("rc-%d", h.draw(h.theme.names))},
		Spec: v1alpha1.ReporterConnectionSpec{ConnectionID: h.ids[h.draw(3)], DeletionPolicy: v1alpha1.DeletionPolicyDelete,
			EndpointRef: v1alpha1.EndpointReference{Name: "default"}},
	}
	if h.chance(15) {
		rc.Spec.ConnectionID = h.ids[h.draw(len(h.ids))]
	}
	if h.chance(15) {
		rc.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain
	}
	if h.chance(15) {
		rc.Spec.EndpointRef.Namespace = simulatedNamespaces[h.draw(2)]
	}
	return fmt.Sprintf("creates ReporterConnection %s/%s, %s, %s: %v", namespace, rc.Name, rc.Spec.ConnectionID, rc.Spec.DeletionPolicy, h.api.create(rc))
}

func (h *history) alterConnection() string {
	object := pick(h, connectionKind)
	if object == nil {
		return ""
	}
	what := ""
	err := h.api.update(object, func(o client.Object) {
		rc := o.(*v1alpha1.ReporterConnection)
		if rc.Spec.Connection != nil && h.draw(2) == 1 {
			what = h.alterDescription(rc)
			return
		}
		switch h.draw(7) {
		case 0, 1:
			rc.Spec.DeletionProtection = !rc.Spec.DeletionProtection
			what = fmt.Sprintf("protection %t", rc.Spec.DeletionProtection)
		case 2, 3:
			if rc.Spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete; h.draw(2) == 1 {
				rc.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain
			}
			what = "policy " + string(rc.Spec.DeletionPolicy)
		case 4:
			rc.Spec.EndpointRef.Namespace = simulatedNamespaces[h.draw(2)]
			what = "endpoint in " + rc.Spec.EndpointRef.Namespace
		case 5:
			rc.Finalizers = nil // a replace strips them
			if !rc.DeletionTimestamp.IsZero() {
				rc.Finalizers = object.GetFinalizers()
			}
			what = "no finalizers"
		default:
			rc.Annotations = map[string]string{v1alpha1.RequestedAtAnnotation: time.Now().String()}
			what = "requestedAt"
		}
	})
	return fmt.Sprintf("changes ReporterConnection %s: %s: %v", client.ObjectKeyFromObject(object), what, err)
}

func (h *history) alterEndpoint() string {
	object := pick(h, endpointKind)
	if object == nil {
		return ""
	}
	what := ""
	err := h.api.update(object, func(o client.Object) {
		endpoint := o.(*v1alpha1.ReporterEndpoint)
		spec := &endpoint.Spec
		switch h.draw(9) {
		case 0, 1:
			spec.Suspend = !spec.Suspend
			what = fmt.Sprintf("suspend %t", spec.Suspend)
		case 2:
			if spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete; h.draw(2) == 1 {
				spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain
			}
			what = "policy " + string(spec.DeletionPolicy)
		case 3, 4:
			spec.DeletionDelay = &metav1.Duration{Duration: []time.Duration{0, 30 * time.Second, 5 * time.Minute}[h.draw(3)]}
			what = "delay " + spec.DeletionDelay.Duration.String()
		case 5, 6:
			spec.AllowedNamespaces = []v1alpha1.AllowedNamespaces{{From: v1alpha1.FromAll}, {From: v1alpha1.FromSame},
				{From: v1alpha1.FromSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "x"}}}}[h.draw(3)]
			what = "allows " + string(spec.AllowedNamespaces.From)
		case 7:
			spec.URL = v1alpha1.BaseURL("http://" + []string{homeHost, otherHost, homeHost + "/staging", homeHost + "/"}[h.draw(4)])
			what = "URL " + string(spec.URL)
		case 8:
			name := []string{"credentials", "other"}[h.draw(2)]
			switch auth := spec.Auth; {
			case auth == nil:
			case auth.BearerToken != nil:
				spec.Auth = &v1alpha1.EndpointAuth{BearerToken: &v1alpha1.BearerTokenAuth{SecretRef: v1alpha1.SecretKeyReference{Name: name, Key: "token"}}}
			default:
				spec.Auth = &v1alpha1.EndpointAuth{AccessManager: &v1alpha1.AccessManagerAuth{URL: auth.AccessManager.URL, SecretRef: v1alpha1.SecretReference{Name: name}}}
			}
			what = "Secret " + name
		}
	})
	return fmt.Sprintf("changes ReporterEndpoint %s: %s: %v", client.ObjectKeyFromObject(object), what, err)
}

func (h *history) alterSecret(namespace string) string {
	object, err := h.api.get(secretKind, client.ObjectKey{Namespace: namespace, Name: []string{"credentials", "credentials", "other"}[h.draw(3)]})
	if err != nil {
		return ""
	}
	what := ""
	err = h.api.update(object, func(o client.Object) {
		switch n := h.draw(5); n {
		case 4:
			if o.GetLabels() == nil {
				o.SetLabels(map[string]string{v1alpha1.CredentialsLabel: "true"})
			} else {
				o.SetLabels(nil)
			}
			what = "mark"
		default:
			tenant := []string{"ours", "", "theirs", "ours-too"}[n]
			h.fill(o.(*corev1.Secret), tenant)
			what = "credentials of " + tenant
		}
	})
	return fmt.Sprintf("changes Secret %s: %s: %v", client.ObjectKeyFromObject(object), what, err)
}

// namespaces deletes a namespace now and then, and what is in one that is being deleted.
func (h *history) namespaces(name string) string {
	namespace, err := h.api.get(namespaceKind, client.ObjectKey{Name: name})
	switch {
	case err != nil:
		return fmt.Sprintf("creates namespace %s anew: %v", name, h.api.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	case namespace.GetDeletionTimestamp().IsZero():
		if h.draw(3) < 2 {
			return ""
		}
		h.count("namespace deleted")
		return fmt.Sprintf("deletes namespace %s: %v", name, h.api.delete(namespaceKind, client.ObjectKey{Name: name}))
	default:
		h.collect()
		return "goes on deleting namespace " + name
	}
}

// collect is one turn of the namespace controller: in each namespace that is being deleted it deletes all of one kind, of any.
func (h *history) collect() {
	for _, namespace := range h.api.list(namespaceKind) {
		if namespace.GetDeletionTimestamp().IsZero() {
			continue
		}
		within := map[string][]client.Object{}
		empty := true
		for _, kind := range simulatedKinds[:3] {
			for _, object := range h.api.list(kind) {
				if object.GetNamespace() != namespace.GetName() {
					continue
				}
				empty = false
				if object.GetDeletionTimestamp().IsZero() {
					within[kind] = append(within[kind], object)
				}
			}
		}
		if empty {
			h.api.endNamespace(client.ObjectKeyFromObject(namespace))
		}
		first := h.draw(3)
		for n := range 3 {
			kind := simulatedKinds[(first+n)%3]
			if len(within[kind]) == 0 {
				continue
			}
			for _, object := range within[kind] {
				_ = h.api.delete(kind, client.ObjectKeyFromObject(object)) // what is protected is tried again
			}
			break
		}
	}
}

// heal puts right all that only people and Reporter can.
func (h *history) heal() {
	h.say("all is put right")
	for len(h.instances) > 1 {
		h.kill(h.instances[0])
	}
	h.instances[0].paused = false
	if h.restores > 0 { // whoever restores an API server restarts what runs on it
		h.kill(h.instances[0])
		h.launch()
	}
	for _, id := range slices.Sorted(maps.Keys(h.endJob)) {
		h.endJob[id]()
	}
	for _, r := range h.reporters {
		r.down = nil
	}
	for _, namespace := range simulatedNamespaces {
		object, err := h.api.get(namespaceKind, client.ObjectKey{Name: namespace})
		if err != nil || !object.GetDeletionTimestamp().IsZero() {
			continue
		}
		_ = h.recreate(secretKind, namespace)
		_ = h.recreate(endpointKind, namespace)
		if h.theme.described {
			_ = h.api.create(passwordOf(namespace))
		}
	}
	for _, object := range h.ours(secretKind) {
		h.must(h.api.update(object, func(o client.Object) {
			if o.GetName() == databaseSecret {
				o.SetLabels(map[string]string{v1alpha1.CredentialsLabel: "database"})
				return
			}
			h.fill(o.(*corev1.Secret), "ours")
			if o.GetDeletionTimestamp().IsZero() || controllerutil.ContainsFinalizer(o, v1alpha1.InUseFinalizer) {
				o.SetLabels(map[string]string{v1alpha1.CredentialsLabel: "true"})
			}
		}))
	}
	for _, object := range h.ours(endpointKind) {
		h.must(h.api.update(object, func(o client.Object) {
			spec := &o.(*v1alpha1.ReporterEndpoint).Spec
			spec.URL, spec.Suspend, spec.ManagementPolicy = "http://"+homeHost, false, v1alpha1.ManagementPolicyFull
			for _, user := range h.ours(connectionKind) { // what is right already is left alone: a change would wake the operator
				if user.(*v1alpha1.ReporterConnection).EndpointKey() == client.ObjectKeyFromObject(o) && !h.allows(o.(*v1alpha1.ReporterEndpoint), user.GetNamespace()) {
					spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{From: v1alpha1.FromAll}
				}
			}
		}))
	}
	for _, object := range h.ours(connectionKind) {
		h.must(h.api.update(object, func(o client.Object) {
			o.(*v1alpha1.ReporterConnection).Spec.DeletionProtection, o.(*v1alpha1.ReporterConnection).Spec.Suspend = false, false
		}))
	}
	for range 2 * len(simulatedKinds) {
		h.collect()
	}
	for _, object := range h.ours(connectionKind) {
		// A live resource keeps its deleted endpoint for as long as it is there.
		endpoint, err := h.api.get(endpointKind, object.(*v1alpha1.ReporterConnection).EndpointKey())
		if err == nil && !endpoint.GetDeletionTimestamp().IsZero() {
			h.must(h.api.delete(connectionKind, client.ObjectKeyFromObject(object)))
		}
	}
}

// letGo takes the way out for whatever waits for a person.
func (h *history) letGo() {
	for _, object := range h.ours(connectionKind) {
		if rc := object.(*v1alpha1.ReporterConnection); h.leadsNowhere(rc) {
			h.say("somebody lets ReporterConnection %s go", client.ObjectKeyFromObject(rc))
			h.must(h.api.update(rc, func(o client.Object) {
				o.(*v1alpha1.ReporterConnection).Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain
			}))
		}
	}
}

// finish lets things go their way, and sees that everything that is being deleted goes.
func (h *history) finish() {
	h.heal()
	h.calm = true
	healed := time.Now()
	for h.failure == "" {
		h.observe()
		if h.machinery() {
			continue
		}
		left := h.deleting()
		if len(left) == 0 && h.isConverging(healed) {
			h.pass(10 * time.Minute)
			continue
		}
		if len(left) == 0 {
			h.judgeTrails()
			h.judgeDescribed()
			h.count(fmt.Sprintf("all gone within %2d minutes", int(time.Since(healed).Minutes())+1))
			return
		}
		if time.Since(healed) > progressBound {
			h.fail("Progress: %s after all was put right, there still are %s", time.Since(healed), strings.Join(left, ", "))
			return
		}
		revision := h.api.revision
		h.collect()
		h.letGo()
		if h.api.revision != revision {
			continue
		}
		if h.theme.hostile && h.chance(10) {
			h.neighbour()
			continue
		}
		due, found := h.nextDue()
		if !found {
			h.fail("Progress: nothing will wake the operator for %s", strings.Join(left, ", "))
			return
		}
		h.pass(max(time.Until(due), time.Millisecond))
	}
}

func (h *history) deleting() []string {
	var left []string
	for _, kind := range simulatedKinds {
		for _, object := range h.ours(kind) {
			if !object.GetDeletionTimestamp().IsZero() && !h.isHeldByNeighbour(object) {
				left = append(left, kind+" "+client.ObjectKeyFromObject(object).String())
			}
		}
	}
	return left
}
