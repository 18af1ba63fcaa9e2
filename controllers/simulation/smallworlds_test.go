// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"flag"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// Small worlds are played in all their interleavings. A history of one is a tape of choices, and every choice is made once in every state
// in which it can be: a history that comes to a state which another has reached before ends there.
var (
	simulationWorld  = flag.String("simulation.world", "", "explore this small world alone")
	simulationTape   = flag.String("simulation.tape", "", "play the one history of a small world that makes these choices, and print it")
	simulationStates = flag.Int("simulation.states", 300/share, "how many states of each small world to explore at most, 0 for all")
	simulationDeeper = flag.Bool("simulation.deeper", false, "have one more of each kind of misfortune befall small worlds")
)

// smallWorld is a world in which little happens, and everything of it in every order.
type smallWorld struct {
	name string
	// set chooses what kind of world it is, in place of a history's first choices.
	set []int
	// begin makes what there is before anything else happens, and lets it settle.
	begin func(*history)
	// events happen once each, at any moment.
	events []worldEvent
	// lags are the kinds whose changes a cache sees at any later moment. It sees those of the others at once.
	lags []string
	// alsoFocus are the controllers, beside that of ReporterConnections, whose calls anything may come between. The others do their work
	// at once.
	alsoFocus []string
	// both says that namespace b has its endpoint and Secret as well.
	both bool
	// mayLeave says that the connection may stay although nobody claims it any more: somebody wants that, or it never was held.
	mayLeave bool
	may      misfortunes
}

type worldEvent struct {
	name string
	do   func(*history) error
}

// misfortunes are how often each kind of them may still befall a world, at any moment.
type misfortunes struct {
	Kills     int // the operator ends and begins anew
	Relapses  int // and its new cache begins with what was true before
	Jumps     int // a watch breaks off, and what was in between is never seen
	Lost      int // an answer
	Refused   int // a call, before it takes effect
	Takeovers int // another instance begins while the first goes on
	Pauses    int // time passes until something is due, although there is more to happen
}

// play is one history of a small world.
type play struct {
	*history
	world    *smallWorld
	left     misfortunes
	happened []string // the events, in their order
	behind   map[*instance]bool
	trails   map[*pass][]any // what each pass that is under way has learned

	explored *exploration
	tape     []int
	points   []choicePoint
	ended    string
	// disturbed says that a look-up got no answer, or what a dead process had sent arrived late: a status may be wrong for a while.
	disturbed bool
	// unfinished says that something was still being deleted when nothing was left to happen.
	unfinished bool
}

// choicePoint is where a history had more than one way to go on.
type choicePoint struct {
	at, ways int // the choice is the one at that place of the tape
	state    uint64
}

type move struct {
	name string
	do   func()
}

func (w *smallWorld) isInFocus(c *call) bool {
	return c.pass == nil || w.hasInFocus(c.pass.controller)
}

func (w *smallWorld) hasInFocus(c *simulatedController) bool {
	return c.Name == "reporterconnection" || slices.Contains(w.alsoFocus, c.Name)
}

// playTape plays a history that makes the choices of a tape, and the first of all ways from then on, until it comes to a state that is
// known.
func playTape(t *testing.T, w *smallWorld, tape []int, explored *exploration, tracing bool, then func(*play)) *play {
	p := &play{history: &history{tape: append([]int{}, w.set...), tracing: tracing, calm: true, even: true}, world: w, explored: explored, tape: tape,
		behind: map[*instance]bool{}, trails: map[*pass][]any{}}
	p.left = p.allowed()
	synctest.Test(t, func(*testing.T) {
		h := p.history
		h.began = time.Now()
		h.set()
		if !w.both {
			for _, kind := range []string{endpointKind, secretKind} {
				maps.DeleteFunc(h.api.objects[kind], func(key client.ObjectKey, _ client.Object) bool { return key.Namespace == "b" })
			}
		}
		h.launch()
		h.settle()
		w.begin(h)
		h.settle()
		h.tape, h.drawn = tape, nil
		p.run()
		if p.ended == "" && h.failure == "" {
			then(p)
		}
		h.end()
	})
	return p
}

func (p *play) run() {
	for p.failure == "" {
		p.unfold()
		moves := p.moves()
		if len(moves) == 0 {
			return
		}
		chosen := 0
		if len(moves) > 1 {
			point := choicePoint{len(p.drawn), len(moves), 0}
			if point.at >= len(p.tape)-1 {
				point.state = p.digest()
			}
			if p.explored != nil && point.at >= len(p.tape) && !p.explored.isNew(point.state) {
				p.ended = "in a state that is known"
				return
			}
			p.points = append(p.points, point)
			chosen = p.draw(len(moves))
		}
		moves[chosen].do()
	}
}

// unfold lets everything happen of which the order does not matter in this world.
func (p *play) unfold() {
	h := p.history
	for h.failure == "" {
		if len(h.instances) > 1 {
			clear(h.events) // two processes that work at the same deletion may both tell of it
		}
		h.observe()
		maps.DeleteFunc(p.trails, func(running *pass, _ []any) bool { return running.controller.i.dead || running.isOver() })
		next := p.atOnce()
		if next == nil {
			return
		}
		next()
	}
}

func (p *play) atOnce() func() {
	h := p.history
	for _, i := range h.instances {
		for _, c := range i.controllers {
			for _, kind := range simulatedKinds {
				if len(c.untold[kind]) > 0 {
					return func() {
						tell := c.untold[kind][0]
						c.untold[kind] = c.untold[kind][1:]
						tell()
					}
				}
			}
		}
		caughtUp := true
		for _, kind := range simulatedKinds {
			if i.seen[kind] == len(h.api.changes[kind]) {
				continue
			}
			if !p.behind[i] && !slices.Contains(p.world.lags, kind) {
				return func() { i.catchUp(kind) }
			}
			caughtUp = false
		}
		if caughtUp {
			p.behind[i] = false
		}
	}
	if len(h.requestedChecks) > 0 {
		check := h.requestedChecks[0]
		return func() { h.requestedChecks = h.requestedChecks[1:]; h.deliver(check) }
	}
	for _, c := range h.calls {
		if !c.abandoned && (c.local || !p.world.isInFocus(c)) {
			return func() { p.carryOut(c) }
		}
	}
	for _, i := range h.instances {
		for _, c := range i.controllers {
			if ready := c.queue.ready(time.Now()); len(ready) > 0 && c.busy < c.Workers && !p.world.hasInFocus(c) {
				return func() { c.start(ready[0]) }
			}
		}
	}
	return nil
}

// carryOut carries a call out and answers it.
func (p *play) carryOut(c *call) {
	p.advance(c)
	p.learn(c)
}

func (p *play) learn(c *call) {
	if c.pass != nil && !c.abandoned && p.world.isInFocus(c) {
		p.trails[c.pass] = append(p.trails[c.pass], c.what, outcomeOf(c.value, c.err))
	}
}

// answerWith has the caller get that answer, whatever came of its call.
func (p *play) answerWith(c *call, err error) {
	p.say("%s: %s: the caller gets %v", c.by(), c.what, err)
	p.disturbed = true
	p.resume(c, nil, err)
	p.learn(c)
}

// outcomeOf is what a caller learns, as far as it may matter to it.
func outcomeOf(value any, err error) any {
	switch value := value.(type) {
	case *response:
		return fmt.Sprint(value.status, string(value.body))
	default:
		if err != nil {
			return err.Error()
		}
		return value
	}
}

// requestOf names the pass that makes a call, but for the instance.
func requestOf(c *call) string {
	if c.pass == nil {
		return ""
	}
	return c.pass.controller.Name + " " + c.pass.request.String()
}

// nameOf is the place of an instance among those that are left.
func (p *play) nameOf(i *instance) string { return strconv.Itoa(slices.Index(p.instances, i)) }

// isOver says whether a pass has come to its end.
func (p *pass) isOver() bool { return !p.controller.queue.busy[p.request] }

// compare compares the operator with a fresh one, when nothing is left to happen: soon, or after the next routine look-up where something
// went wrong that nothing but that puts right.
func (p *play) compare() {
	after := 10 * time.Second
	if p.disturbed {
		after = aRoutine
	}
	p.judgeFixpoint(after)
}

// conclude judges a history at its end. One in which nothing is being deleted any more is compared at once; the others are, too, if they are
// played once more.
func (p *play) conclude() {
	if len(p.deleting()) > 0 {
		p.finish()
		p.unfinished = true
		p.judgeLeft()
		return
	}
	p.judgeTrails()
	p.judgeLeft()
	p.compare()
}

// judgeLeft checks that the connection has gone with the last resource that claims it.
func (p *play) judgeLeft() {
	if len(p.api.list(connectionKind)) == 0 && p.alive(p.ids[0]) && !p.world.mayLeave {
		p.fail("Left behind: nobody claims %s any more, and it is alive", p.ids[0])
	}
}

// allowed are the misfortunes that may befall the world.
func (p *play) allowed() misfortunes {
	may := p.world.may
	if *simulationDeeper {
		for _, times := range []*int{&may.Kills, &may.Relapses, &may.Jumps, &may.Lost, &may.Refused, &may.Takeovers, &may.Pauses} {
			*times++
		}
	}
	return may
}

// moves are all that can happen next. The first is what happens if nothing comes in between.
func (p *play) moves() []move {
	h := p.history
	var machine, rest []move
	for _, c := range h.calls {
		switch {
		case c.abandoned:
			machine = append(machine, move{"arrives late", func() { p.disturbed = true; h.advance(c) }})
			rest = append(rest, move{"never arrives", func() {
				h.say("%s: %s never arrives", c.by(), c.what)
				c.acted = true
			}})
			continue
		case c.pass != nil && c.pass == h.latest:
			machine = slices.Insert(machine, 0, move{"goes on", func() { p.carryOut(c) }})
		default:
			machine = append(machine, move{"goes on", func() { p.carryOut(c) }})
		}
		rest = append(rest, p.faults(c)...)
	}
	for _, i := range h.instances {
		for _, c := range i.controllers {
			if !p.world.hasInFocus(c) {
				continue
			}
			for _, request := range c.queue.ready(time.Now()) {
				machine = append(machine, move{"starts", func() { h.say("%s starts %s %s", i.name, c.Name, request); c.start(request) }})
			}
		}
		for _, kind := range simulatedKinds {
			unseen := len(h.api.changes[kind]) - i.seen[kind]
			if unseen > 0 {
				machine = append(machine, move{"sees", func() { h.say("%s sees a change of a %s", i.name, kind); i.catchUp(kind) }})
			}
			if unseen > 1 && p.left.Jumps > 0 {
				rest = append(rest, move{"jumps", func() {
					p.left.Jumps--
					h.say("%s lists every %s anew", i.name, kind)
					i.relist(kind)
				}})
			}
		}
	}
	for _, event := range p.world.events {
		if !slices.Contains(p.happened, event.name) {
			rest = append(rest, move{event.name, func() {
				p.happened = append(p.happened, event.name)
				h.say("%s: %v", event.name, event.do(h))
			}})
		}
	}
	rest = append(rest, p.ends()...)
	if due, found := h.nextDue(); len(machine) == 0 && found && p.left.Pauses > 0 && time.Until(due) < 30*time.Minute {
		rest = append(rest, move{"time passes", func() { p.left.Pauses--; h.idle() }})
	}
	if len(machine) == 0 && len(p.happened) == len(p.world.events) && len(h.instances) == 1 && p.left.Pauses == 0 {
		return nil
	}
	return append(machine, rest...)
}

// faults are what can go wrong with a call.
func (p *play) faults(c *call) []move {
	var all []move
	lost, refused := error(apierrors.NewTimeoutError("the answer was lost", 1)), error(apierrors.NewInternalError(fmt.Errorf("etcd has no leader")))
	if c.http {
		lost, refused = errReset, errRefused
	}
	if p.left.Lost > 0 && (c.write || c.http) {
		all = append(all, move{"its answer is lost", func() {
			p.left.Lost--
			p.say("%s: %s", c.by(), c.what)
			_, _ = c.act()
			p.answerWith(c, lost)
		}})
	}
	if p.left.Refused > 0 {
		all = append(all, move{"it fails", func() { p.left.Refused--; p.answerWith(c, refused) }})
	}
	return all
}

// ends are what can befall the instances of the operator.
func (p *play) ends() []move {
	h := p.history
	var all []move
	killAll := func() {
		h.say("the operator is killed")
		for len(h.instances) > 0 {
			h.kill(h.instances[0])
		}
	}
	if p.left.Kills > 0 {
		all = append(all, move{"killed", func() { p.left.Kills--; killAll(); h.launch() }})
	}
	if p.left.Relapses > 0 {
		for _, revision := range p.past() {
			all = append(all, move{"killed and behind", func() { p.left.Relapses--; killAll(); p.launchAsOf(revision) }})
		}
	}
	if p.left.Takeovers > 0 && len(h.instances) == 1 {
		all = append(all, move{"taken over", func() { p.left.Takeovers--; h.say("another takes over"); h.launch() }})
	}
	if len(h.instances) > 1 {
		all = append(all, move{"notices", func() {
			h.say("%s notices that it leads no more", h.instances[0].name)
			h.kill(h.instances[0])
		}})
	}
	return all
}

// relapse is how many of the last changes an API server that is behind may not show yet.
const relapse = 3

// past are the latest revisions of which an API server that is behind may show the state.
func (p *play) past() []int64 {
	var revisions []int64
	for revision := p.api.revision - 1; revision > 0 && len(revisions) < relapse; revision-- {
		revisions = append(revisions, revision)
	}
	return revisions
}

// launchAsOf starts an instance whose informers list from an API server that is behind.
func (p *play) launchAsOf(revision int64) {
	h := p.history
	now := h.api
	h.api = now.asOf(revision)
	i := h.launch()
	h.say("and what it lists is as of revision %d of %d", revision, now.revision)
	h.api = now
	p.behind[i] = true
}

// asOf is the API server as it was.
func (s *apiServer) asOf(revision int64) *apiServer {
	was := newAPIServer(s.admission)
	was.revision = revision
	for kind, versions := range s.versions {
		seen := 0
		for key, all := range versions {
			for _, v := range all {
				if v.revision > revision {
					break
				}
				seen++
				if was.objects[kind][key] = v.object; v.object == nil {
					delete(was.objects[kind], key)
				}
			}
		}
		was.changes[kind] = s.changes[kind][:seen]
	}
	return was
}

// exploration is what is known of a world: the states that were seen, and the tapes still to play.
type exploration struct {
	known     map[uint64]bool
	most      int
	tapes     []branch
	histories int
	ended     int // histories that were played to their end
	bounded   bool
}

// branch is a tape, and the state in which it makes its last choice.
type branch struct {
	tape  []int
	state uint64
}

func (e *exploration) isNew(state uint64) bool {
	if e.known[state] {
		return false
	}
	if e.most > 0 && len(e.known) >= e.most {
		e.bounded = true
		return false
	}
	e.known[state] = true
	return true
}

// explore plays a world in all its interleavings. It returns the play that breaks a promise, nil if none does.
func (w *smallWorld) explore(t *testing.T, most int) (*exploration, *play) {
	e := &exploration{known: map[uint64]bool{}, most: most, tapes: []branch{{tape: []int{}}}}
	for len(e.tapes) > 0 {
		next := e.tapes[0]
		e.tapes = e.tapes[1:]
		p := playTape(t, w, next.tape, e, false, (*play).conclude)
		e.histories++
		if p.failure != "" {
			return e, p
		}
		if p.ended == "" {
			e.ended++
			if p.unfinished {
				if compared := playTape(t, w, p.chosen(), nil, false, (*play).compare); compared.failure != "" {
					return e, compared
				}
			}
		}
		for _, point := range p.points {
			if point.at == len(next.tape)-1 && point.state != next.state {
				p.failure = "a history is not the same when it is played again"
				return e, p
			}
			if point.at < len(next.tape) {
				continue
			}
			for way := 1; way < point.ways; way++ {
				e.tapes = append(e.tapes, branch{append(slices.Clone(p.drawn[:point.at]), way), point.state})
			}
		}
	}
	return e, nil
}

// chosen are the choices of a history that were among several.
func (p *play) chosen() []int {
	last := p.points[len(p.points)-1]
	return slices.Clone(p.drawn[:last.at+1])
}

func TestSmallWorlds(t *testing.T) {
	if *simulationTape != "" {
		for _, w := range smallWorlds {
			if w.name == *simulationWorld {
				w.retell(t)
			}
		}
		return
	}
	most := *simulationStates
	if testing.Short() {
		most = 50
	}
	var all sync.WaitGroup
	places := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, w := range smallWorlds {
		if *simulationWorld != "" && *simulationWorld != w.name {
			continue
		}
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			began := time.Now()
			e, broken := w.explore(t, most)
			note := ""
			if e.bounded {
				note = ", and there are more"
			}
			t.Logf("%-40s %6d states, %6d histories, of which %5d came to an end, in %.1fs%s", w.name, len(e.known), e.histories, e.ended, time.Since(began).Seconds(), note)
			if broken != nil {
				t.Errorf("%s: %s\n\nTold step by step: go test ./controllers/simulation -run '^TestSmallWorlds$' -simulation.world '%s' -simulation.tape %s -v",
					w.name, broken.failure, w.name, strings.Trim(strings.ReplaceAll(fmt.Sprint(broken.chosen()), " ", ","), "[]"))
			}
		})
	}
	all.Wait()
}

// retell plays one history, and prints it step by step: once to its end, and once until it is compared with that of a fresh operator.
func (w *smallWorld) retell(t *testing.T) {
	var tape []int
	for _, choice := range strings.Split(*simulationTape, ",") {
		n, err := strconv.Atoi(choice)
		if err != nil {
			t.Fatal(err)
		}
		tape = append(tape, n)
	}
	for _, then := range []func(*play){(*play).conclude, (*play).compare} {
		p := playTape(t, w, tape, nil, true, then)
		t.Log("\n" + strings.Join(p.trace, "\n"))
		if p.failure != "" {
			t.Error(p.failure)
		}
	}
}

func deletes(namespace, name string) worldEvent {
	return worldEvent{"somebody deletes " + namespace + "/" + name, func(h *history) error {
		return h.api.delete(connectionKind, client.ObjectKey{Namespace: namespace, Name: name})
	}}
}

func claims(namespace, name string) worldEvent {
	return worldEvent{"somebody creates " + namespace + "/" + name, func(h *history) error {
		return h.api.create(claimOf(namespace, name, h.ids[0]))
	}}
}

func changesConnection(what string, alter func(*v1alpha1.ReporterConnectionSpec)) worldEvent {
	return worldEvent{what, func(h *history) error {
		object, err := h.api.get(connectionKind, one)
		if err != nil {
			return err
		}
		return h.api.update(object, func(o client.Object) { alter(&o.(*v1alpha1.ReporterConnection).Spec) })
	}}
}

func changesEndpoint(what string, alter func(*v1alpha1.ReporterEndpointSpec)) worldEvent {
	return worldEvent{what, func(h *history) error {
		object, err := h.api.get(endpointKind, client.ObjectKey{Namespace: "a", Name: "default"})
		if err != nil {
			return err
		}
		return h.api.update(object, func(o client.Object) { alter(&o.(*v1alpha1.ReporterEndpoint).Spec) })
	}}
}

func changesSecret(tenant string) worldEvent {
	return worldEvent{"the Secret gets the credentials of " + tenant, func(h *history) error {
		return h.api.update(h.secret("a", tenant), func(o client.Object) { h.fill(o.(*corev1.Secret), tenant) })
	}}
}

func deletesOf(kind, name string) worldEvent {
	return worldEvent{"somebody deletes " + kind + " " + name, func(h *history) error {
		return h.api.delete(kind, client.ObjectKey{Namespace: "a", Name: name})
	}}
}

func claimOf(namespace, name, id string) *v1alpha1.ReporterConnection {
	return &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.ReporterConnectionSpec{ConnectionID: id, DeletionPolicy: v1alpha1.DeletionPolicyDelete, EndpointRef: v1alpha1.EndpointReference{Name: "default"}}}
}

// beginWith has resources that claim one connection.
func beginWith(keys ...client.ObjectKey) func(*history) {
	return func(h *history) {
		for _, key := range keys {
			h.claim(key.Namespace, key.Name, h.ids[0])
			h.settle()
		}
	}
}

func suspends(s *v1alpha1.ReporterEndpointSpec)   { s.Suspend = !s.Suspend }
func protects(s *v1alpha1.ReporterConnectionSpec) { s.DeletionProtection = !s.DeletionProtection }

var (
	one       = client.ObjectKey{Namespace: "a", Name: "one"}
	two       = client.ObjectKey{Namespace: "a", Name: "two"}
	elsewhere = client.ObjectKey{Namespace: "b", Name: "two"}

	protectors     = []string{"reporterendpoint-protection", "secret-protection"}
	connectionsLag = []string{connectionKind}
	endpointsLag   = []string{endpointKind}
	admissionOff   = []int{0, 99}
)

var smallWorlds = []*smallWorld{
	{
		name: "one resource, a kill", begin: beginWith(one), lags: connectionsLag,
		events: []worldEvent{deletes("a", "one")},
		may:    misfortunes{Kills: 1},
	},
	{
		name: "one resource, back in time", begin: beginWith(one), lags: connectionsLag,
		events: []worldEvent{deletes("a", "one")},
		may:    misfortunes{Relapses: 1},
	},
	{
		name: "one resource, a lost answer", begin: beginWith(one), lags: connectionsLag,
		events: []worldEvent{deletes("a", "one")},
		may:    misfortunes{Lost: 1, Pauses: 1},
	},
	{
		name: "one resource, an answer lost before a kill", begin: beginWith(one),
		events: []worldEvent{deletes("a", "one")},
		may:    misfortunes{Lost: 1, Refused: 1, Kills: 1, Pauses: 1},
	},
	{
		name: "one new resource, no admission", mayLeave: true, set: admissionOff, begin: func(*history) {}, lags: connectionsLag,
		events: []worldEvent{claims("a", "one"), deletes("a", "one")},
		may:    misfortunes{Kills: 1},
	},
	{
		name: "one of two in a namespace", begin: beginWith(one, two), lags: connectionsLag,
		events: []worldEvent{deletes("a", "one")},
		may:    misfortunes{Kills: 1},
	},
	{
		name: "two in a namespace", begin: beginWith(one, two), lags: connectionsLag,
		events: []worldEvent{deletes("a", "one"), deletes("a", "two")},
	},
	{
		name: "two in two namespaces", begin: beginWith(one, elsewhere), lags: connectionsLag, both: true,
		events: []worldEvent{deletes("a", "one"), deletes("b", "two")},
	},
	{
		name: "two in a namespace, a kill", begin: beginWith(one, two),
		events: []worldEvent{deletes("a", "one"), deletes("a", "two")},
		may:    misfortunes{Kills: 1},
	},
	{
		name: "two in a namespace, back in time", begin: beginWith(one, two),
		events: []worldEvent{deletes("a", "one"), deletes("a", "two")},
		may:    misfortunes{Relapses: 1},
	},
	{
		name: "a claim beside a deletion", begin: beginWith(one), lags: connectionsLag,
		events: []worldEvent{claims("a", "two"), deletes("a", "one")},
	},
	{
		name: "a claim beside a deletion, no admission", set: admissionOff, begin: beginWith(one),
		events: []worldEvent{claims("a", "two"), deletes("a", "one"), deletes("a", "two")},
	},
	{
		name: "a claim in another namespace", begin: beginWith(one), lags: connectionsLag, both: true,
		events: []worldEvent{claims("b", "two"), deletes("a", "one")},
	},
	{
		name: "a claim in another namespace, a lost answer", begin: beginWith(one), both: true,
		events: []worldEvent{claims("b", "two"), deletes("a", "one")},
		may:    misfortunes{Lost: 1, Kills: 1},
	},
	{
		name: "an endpoint is suspended", begin: beginWith(one), lags: endpointsLag,
		events: []worldEvent{deletes("a", "one"), changesEndpoint("somebody suspends the endpoint", suspends)},
		may:    misfortunes{Kills: 1},
	},
	{
		name: "an endpoint is suspended, back in time", begin: beginWith(one),
		events: []worldEvent{deletes("a", "one"), changesEndpoint("somebody suspends the endpoint", suspends)},
		may:    misfortunes{Relapses: 1},
	},
	{
		name: "an endpoint is suspended and goes on", begin: beginWith(one), lags: endpointsLag,
		events: []worldEvent{deletes("a", "one"), changesEndpoint("somebody suspends the endpoint, or lets it go on", suspends),
			changesEndpoint("somebody suspends the endpoint, or lets it go on again", suspends)},
		may: misfortunes{Jumps: 1},
	},
	{
		name: "an endpoint retains", mayLeave: true, begin: beginWith(one), lags: endpointsLag,
		events: []worldEvent{deletes("a", "one"), changesEndpoint("the endpoint retains", func(s *v1alpha1.ReporterEndpointSpec) { s.DeletionPolicy = v1alpha1.DeletionPolicyRetain })},
		may:    misfortunes{Kills: 1},
	},
	{
		name: "a resource retains", mayLeave: true, begin: beginWith(one), lags: connectionsLag,
		events: []worldEvent{deletes("a", "one"), changesConnection("the resource retains", func(s *v1alpha1.ReporterConnectionSpec) { s.DeletionPolicy = v1alpha1.DeletionPolicyRetain })},
		may:    misfortunes{Kills: 1},
	},
	{
		name: "a resource is protected", begin: beginWith(one), lags: connectionsLag,
		events: []worldEvent{deletes("a", "one"), changesConnection("the resource is protected, or not", protects),
			changesConnection("the resource is protected, or not, again", protects)},
		may: misfortunes{Jumps: 1},
	},
	{
		name: "a resource is protected, back in time", begin: beginWith(one),
		events: []worldEvent{deletes("a", "one"), changesConnection("the resource is protected", protects)},
		may:    misfortunes{Relapses: 1},
	},
	{
		name: "a Secret rotates", begin: beginWith(one), lags: []string{secretKind},
		events: []worldEvent{deletes("a", "one"), changesSecret("theirs"), changesSecret("ours")},
		may:    misfortunes{Jumps: 1},
	},
	{
		name: "a URL changes", begin: beginWith(one), lags: endpointsLag,
		events: []worldEvent{deletes("a", "one"), changesEndpoint("the URL is another", func(s *v1alpha1.ReporterEndpointSpec) { s.URL = "http://" + otherHost }),
			changesEndpoint("the URL is the first", func(s *v1alpha1.ReporterEndpointSpec) { s.URL = "http://" + homeHost })},
	},
	{
		name: "another of the same name", begin: beginWith(one), lags: connectionsLag,
		events: []worldEvent{deletes("a", "one"), claims("a", "one")},
		may:    misfortunes{Jumps: 1},
	},
	{
		name: "two leaders", begin: beginWith(one, two),
		events: []worldEvent{deletes("a", "one"), deletes("a", "two")},
		may:    misfortunes{Takeovers: 1},
	},
	{
		name: "an endpoint and a Secret go too", mayLeave: true, begin: beginWith(one), alsoFocus: protectors, lags: endpointsLag,
		events: []worldEvent{deletes("a", "one"), deletesOf(endpointKind, "default"), deletesOf(secretKind, "credentials")},
	},
}
