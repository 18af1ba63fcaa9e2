// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"cmp"
	"hash/maphash"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// digester turns values into one number, the same for all that do not differ in what may matter later: times count by how far away they
// are, resource versions by how many there have been since of the same object.
type digester struct {
	now     time.Time
	newer   map[string]uint64
	visited map[visit]uint64
	sum     *maphash.Hash
	held    locks
}

// visit is a pointer that was followed.
type visit struct {
	at uintptr
	to reflect.Type
}

var digestSeed = maphash.MakeSeed()

func newDigester(s *apiServer) *digester {
	d := &digester{now: time.Now(), newer: map[string]uint64{}, visited: map[visit]uint64{}, sum: &maphash.Hash{}}
	d.sum.SetSeed(digestSeed)
	for _, versions := range s.versions {
		for _, all := range versions {
			for n, v := range all {
				d.newer[strconv.FormatInt(v.revision, 10)] = uint64(len(all) - n)
			}
		}
	}
	return d
}

// apart is the digest of some values by themselves, for what has no order.
func (d *digester) apart(values ...any) uint64 {
	outer := d.sum
	d.sum = &maphash.Hash{}
	d.sum.SetSeed(digestSeed)
	d.add(values...)
	sum := d.sum.Sum64()
	d.sum = outer
	return sum
}

func (d *digester) add(values ...any) {
	for _, v := range values {
		d.value(reflect.ValueOf(v))
	}
}

// unordered adds the digests of what has no order.
func (d *digester) unordered(sums []uint64) {
	slices.Sort(sums)
	d.add(sums)
}

func (d *digester) number(n uint64) { maphash.WriteComparable(d.sum, n) }

// sameEverywhere are the packages whose values say nothing of what a process knows, or are known otherwise: the simulation's own.
var sameEverywhere = regexp.MustCompile(`^(sync|context|net/http|crypto/.*|hash/.*|text/.*|regexp|github.com/go-logr/.*|.*/controllers/simulation)$`)

// skipped says by type whether its values are the same everywhere.
var skipped sync.Map

func isSkipped(of reflect.Type) bool {
	if known, found := skipped.Load(of); found {
		return known.(bool)
	}
	skip := of.Kind() == reflect.Struct && sameEverywhere.MatchString(of.PkgPath())
	skipped.Store(of, skip)
	return skip
}

var resourceVersion = regexp.MustCompile(`"resourceVersion":"(\d+)"`)

func (d *digester) value(v reflect.Value) {
	d.number(uint64(v.Kind()))
	if !v.IsValid() {
		return
	}
	switch of := v.Type(); {
	case of == reflect.TypeFor[time.Time]():
		d.time(timeIn(v))
		return
	case of == reflect.TypeFor[metav1.ObjectMeta]():
		d.metadata(v)
		return
	case isLock(of):
		d.held.take(v)
		return
	case isSkipped(of):
		return
	}
	switch v.Kind() { //nolint:exhaustive // the kinds that the operator's memory has; others have no contents to compare
	case reflect.Pointer:
		d.pointer(v)
	case reflect.Interface:
		if !v.IsNil() {
			d.sum.WriteString(v.Elem().Type().String())
			d.value(v.Elem())
		}
	case reflect.Struct:
		for _, field := range v.Fields() {
			d.value(field)
		}
	case reflect.Map:
		var sums [][2]uint64
		for entries := v.MapRange(); entries.Next(); {
			outer := d.sum
			sums = append(sums, [2]uint64{d.within(entries.Key()), d.within(entries.Value())})
			d.sum = outer
		}
		slices.SortFunc(sums, func(a, b [2]uint64) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
		d.number(uint64(len(sums)))
		for _, entry := range sums {
			d.number(entry[0])
			d.number(entry[1])
		}
	case reflect.Slice, reflect.Array:
		d.number(uint64(v.Len()))
		for n := range v.Len() {
			d.value(v.Index(n))
		}
	case reflect.Chan:
		d.number(uint64(v.Len()))
	case reflect.String:
		d.text(v.String())
	case reflect.Bool:
		maphash.WriteComparable(d.sum, v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		d.number(uint64(v.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		d.number(v.Uint())
	case reflect.Float32, reflect.Float64:
		maphash.WriteComparable(d.sum, v.Float())
	}
}

// locks are those of the operator's memory that is read by reflection. They are held until all is read, so that whoever is woken by the clock
// alone, and takes one before it writes, comes after that.
type locks []locker

type locker interface {
	TryLock() bool
	Unlock()
}

func isLock(of reflect.Type) bool {
	return of == reflect.TypeFor[sync.Mutex]() || of == reflect.TypeFor[sync.RWMutex]()
}

// take takes a lock, unless it was taken before.
func (l *locks) take(v reflect.Value) {
	if !v.CanAddr() {
		return
	}
	lock := reflect.NewAt(v.Type(), v.Addr().UnsafePointer()).Interface().(locker)
	if lock.TryLock() {
		*l = append(*l, lock)
	}
}

func (l *locks) release() {
	for _, lock := range *l {
		lock.Unlock()
	}
}

func (d *digester) within(v reflect.Value) uint64 {
	d.sum = &maphash.Hash{}
	d.sum.SetSeed(digestSeed)
	d.value(v)
	return d.sum.Sum64()
}

func (d *digester) pointer(v reflect.Value) {
	if v.IsNil() {
		return
	}
	// What is followed for the second time below itself is a ring. Elsewhere it is read again: the order of a map must not matter.
	at := visit{v.Pointer(), v.Type()}
	if depth, open := d.visited[at]; open {
		d.number(depth)
		return
	}
	d.visited[at] = uint64(len(d.visited))
	d.value(v.Elem())
	delete(d.visited, at)
}

func (d *digester) text(text string) {
	if strings.Contains(text, `"resourceVersion"`) {
		text = resourceVersion.ReplaceAllStringFunc(text, func(found string) string {
			return strconv.FormatUint(d.newer[resourceVersion.FindStringSubmatch(found)[1]], 10)
		})
	}
	d.number(uint64(len(text)))
	d.sum.WriteString(text)
}

func (d *digester) metadata(v reflect.Value) {
	for n := range v.NumField() {
		switch v.Type().Field(n).Name {
		case "ResourceVersion":
			d.number(d.newer[v.Field(n).String()])
		case "ManagedFields":
		default:
			d.value(v.Field(n))
		}
	}
}

// time adds how far away a moment is: to a second what is near, and roughly what is not.
func (d *digester) time(t time.Time) {
	if t.IsZero() {
		d.number(0)
		return
	}
	away := t.Sub(d.now).Round(time.Second)
	if away.Abs() > 90*time.Second {
		away = away.Round(5 * time.Minute)
	}
	d.number(1)
	d.number(uint64(away))
}

// timeIn reads a time.Time that is in a field which is not exported: no method can be called on it.
func timeIn(v reflect.Value) time.Time {
	const (
		hasMonotonic = 1 << 63
		nanoseconds  = 1<<30 - 1
		yearOne      = -62135596800 // in seconds of Unix
		year1885     = -2682288000
	)
	wall, ext := v.Field(0).Uint(), v.Field(1).Int()
	if wall&hasMonotonic != 0 {
		return time.Unix(year1885+int64(wall<<1>>31), int64(wall&nanoseconds))
	}
	if wall == 0 && ext == 0 {
		return time.Time{}
	}
	return time.Unix(yearOne+ext, int64(wall&nanoseconds))
}

// digest is that of all that decides what can happen from now on.
func (p *play) digest() uint64 {
	h := p.history
	d := newDigester(h.api)
	defer d.held.release()
	for _, kind := range simulatedKinds {
		d.add(h.api.list(kind))
	}
	d.add(p.happened, p.left, p.disturbed, h.warned, h.events, len(h.warningsOwed))
	for _, host := range []string{homeHost, otherHost} {
		d.add(h.reporters[host].Connections(), h.reporters[host].down != nil)
	}
	for _, i := range h.instances {
		d.add(i.paused, p.behind[i])
		for _, kind := range simulatedKinds {
			d.add(inOrder(i.cache[kind]))
			for _, c := range h.api.changes[kind][i.seen[kind]:] {
				d.add(c.before, c.after)
			}
		}
		for _, c := range i.controllers {
			d.add(c.Reconciler, c.RateLimiter, c.queue.busy)
			var queue []uint64
			for request, item := range c.queue.items {
				ready := item.ready
				if ready.Before(d.now) {
					ready = time.Time{}
				}
				queue = append(queue, d.apart(request, ready))
			}
			d.unordered(queue)
		}
	}
	d.add(len(h.requestedChecks))
	var calls, passes []uint64
	for _, c := range h.calls {
		calls = append(calls, d.apart(p.nameOf(c.i), requestOf(c), c.what, c.body, c.acted, c.abandoned, outcomeOf(c.value, c.err)))
	}
	d.unordered(calls)
	for running, trail := range p.trails {
		unseen := map[string]int{}
		for _, kind := range simulatedKinds {
			unseen[kind] = len(h.api.changes[kind]) - running.seen[kind]
		}
		passes = append(passes, d.apart(p.nameOf(running.controller.i), running.controller.Name, running.request, unseen, trail))
	}
	d.unordered(passes)
	return d.sum.Sum64()
}
