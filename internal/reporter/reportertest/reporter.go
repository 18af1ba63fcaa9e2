// Package reportertest is an in-memory Reporter: the connections API of Lerian's Reporter, answering as the vendor's
// API reference says and as was observed on a running service. It serves tests, demonstrations and benchmarks, and
// knows nothing about Kubernetes.
//
//	reporter := reportertest.New()
//	server := reportertest.Serve(t, reporter)
//	connection := reporter.Add(reportertest.Connection{ConfigName: "ledger-db"})
//	end := reporter.StartJob("ledger-db")          // DELETE now answers 409 FET-1021, until end()
//	reporter.Inject(reportertest.Fault{Method: "DELETE", Times: 1, Do: reportertest.AfterActing(reportertest.Reset())})
//
// A [Reporter] is an http.Handler. [Serve] and [Start] give it an address of its own, which can go down and come up
// again; under TLS or a base path it is served with httptest and http.StripPrefix like any other handler. So is an
// [AccessManager], whose tokens its Reporter then asks for.
//
// The contract itself is the test TestConformance of this package, which also runs against a real Reporter:
//
//	REPORTER_URL=http://127.0.0.1:4006 go test ./internal/reporter/reportertest -run TestConformance -count=1 -v
package reportertest

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Connection is a database connection as Reporter shows it. Passwords and TLS material never come back, so there is no
// field for them: see [Reporter.Secrets].
type Connection struct {
	ID           string         `json:"id"` // a canonical lower-case UUID; Reporter makes version 7
	ProductName  string         `json:"productName"`
	ConfigName   string         `json:"configName"` // unique among the living of a tenant; what jobs call the connection by
	Type         string         `json:"type"`       // ORACLE, SQL_SERVER, POSTGRESQL, MONGODB or MYSQL
	Host         string         `json:"host"`       // the test endpoint finds no database at a name that ends in .invalid
	Port         int            `json:"port"`
	DatabaseName string         `json:"databaseName"`
	Schema       string         `json:"schema,omitempty"`
	UserName     string         `json:"userName"`
	SSL          *SSL           `json:"ssl,omitempty"`
	Metadata     map[string]any `json:"metadata,omitempty"`
	CreatedAt    time.Time      `json:"createdAt"`
	UpdatedAt    time.Time      `json:"updatedAt"`

	// Tenant owns the connection; it is "" in a single-tenant installation. No answer shows it.
	Tenant string `json:"-"`
}

// SSL is what Reporter tells about a connection's TLS settings.
type SSL struct {
	Mode string `json:"mode"`
}

func (c Connection) clone() Connection {
	c.Metadata = maps.Clone(c.Metadata)
	if c.SSL != nil {
		c.SSL = new(*c.SSL)
	}
	return c
}

// Secrets is what the store holds of a connection to log in to its database with, part of which no answer shows.
type Secrets struct {
	Host, UserName, Password string
	CA, Cert, Key            string
}

// Reporter is an in-memory Reporter. It is safe for concurrent use, and starts no goroutine and no timer.
type Reporter struct {
	front

	// Now is the time source, time.Now if nil. It may be set until the first use of any method.
	Now func() time.Time
	// Random is where the ids of new connections come from, beside the time; without it, nobody can guess them. It may be set until the first
	// use of any method.
	Random io.Reader

	mu           sync.Mutex
	connections  map[string]*record // by id; the dead stay, as an id never comes back
	names        map[name][]*record // the living, but for the internal ones; several of one name only in multi-tenant mode
	internal     []*record
	jobs         map[name]int
	grants       map[string]grant // by token; nil while no token is asked for
	problemJSON  bool
	databaseDown bool
	multiTenant  bool
	passwords    map[string]string // that the databases want, by host; those not in it take any but the empty one
	limiter      *limiter          // nil while requests are not limited
}

// name is how jobs call a connection, and what must be unique.
type name struct{ tenant, configName string }

// grant is what a token gives.
type grant struct {
	tenant string
	ends   time.Time // never if zero
}

// stored is all that Reporter's database has of a connection. It is read and written as a whole.
type stored struct {
	Connection
	hasSchema bool // "" is shown if it was set by a PATCH
	password  string
	tls       tlsMaterial
}

type tlsMaterial struct{ ca, cert, key string }

// rounded is how the database keeps it: times in milliseconds.
func (c stored) rounded() stored {
	c.CreatedAt, c.UpdatedAt = c.CreatedAt.Truncate(time.Millisecond), c.UpdatedAt.Truncate(time.Millisecond)
	return c
}

// shown is the object of an answer. Empty metadata is in it only where it was just given.
func (c stored) shown(emptyMetadata bool) any {
	shown := struct {
		Connection
		Schema   *string         `json:"schema,omitempty"`
		Metadata *map[string]any `json:"metadata,omitempty"`
	}{Connection: c.Connection.clone()}
	if c.hasSchema {
		shown.Schema = &c.Schema
	}
	if len(c.Metadata) > 0 || emptyMetadata {
		shown.Metadata = &shown.Connection.Metadata
	}
	return shown
}

func (c stored) name() name { return name{c.Tenant, c.ConfigName} }

type record struct {
	stored
	internal bool
	deleted  bool
	tested   []time.Time
}

// New returns a Reporter without connections that asks for no token, as one without Access Manager does.
func New() *Reporter {
	return &Reporter{
		connections: map[string]*record{},
		names:       map[name][]*record{},
		jobs:        map[name]int{},
		passwords:   map[string]string{},
	}
}

// Add puts a connection in, as if it had been created earlier, and returns it with everything filled in that was left
// out. Its password is "secret". It panics when the id was used before, is not canonical, or the configName is taken: a
// mistake in the test.
func (r *Reporter) Add(c Connection) Connection {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	c.ID = cmp.Or(c.ID, r.newID(now))
	c.Host = cmp.Or(c.Host, "db.example.com")
	c.Port = cmp.Or(c.Port, 5432)
	if c.CreatedAt.IsZero() {
		c.CreatedAt = now
	}
	if c.UpdatedAt.IsZero() {
		c.UpdatedAt = c.CreatedAt
	}
	return r.add(c, false)
}

// AddInternal adds a connection that is configured on the server: GET shows it, but DELETE and PATCH answer
// 404 FET-1001. Unless they are given, its id is a UUID of version 5, and host, port and times are zero. In multi-tenant mode
// it is on top of page 1 of every list of its tenant.
func (r *Reporter) AddInternal(c Connection) Connection {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.ConfigName = cmp.Or(c.ConfigName, fmt.Sprintf("internal-%d", len(r.internal)+1))
	c.ID = cmp.Or(c.ID, uuid.NewSHA1(uuid.NameSpaceOID, []byte(c.Tenant+"/"+c.ConfigName)).String())
	return r.add(c, true)
}

func (r *Reporter) add(c Connection, internal bool) Connection {
	c.ProductName = cmp.Or(c.ProductName, "reporter")
	c.ConfigName = cmp.Or(c.ConfigName, "connection-"+c.ID[max(0, len(c.ID)-12):])
	c.Type = cmp.Or(c.Type, "POSTGRESQL")
	c.DatabaseName = cmp.Or(c.DatabaseName, "ledger")
	c.UserName = cmp.Or(c.UserName, "reader")

	added := &record{stored: stored{Connection: c.clone(), hasSchema: c.Schema != "", password: "secret"}, internal: internal}
	switch {
	case resolve(c.ID) != c.ID:
		panic(fmt.Sprintf("reportertest: adding a connection: id %q is not a canonical lower-case UUID", c.ID))
	case r.connections[c.ID] != nil:
		panic(fmt.Sprintf("reportertest: adding a connection: id %s was used before, and an id never comes back", c.ID))
	case !internal && !r.multiTenant && len(r.names[added.name()]) > 0:
		panic(fmt.Sprintf("reportertest: adding a connection: configName %q is taken", c.ConfigName))
	}
	r.store(added)
	return c
}

func (r *Reporter) store(c *record) {
	r.connections[c.ID] = c
	if c.internal {
		r.internal = append(r.internal, c)
		return
	}
	r.names[c.name()] = append(r.names[c.name()], c)
}

// forget makes the name of a connection free.
func (r *Reporter) forget(c *record) {
	others := slices.DeleteFunc(r.names[c.name()], func(other *record) bool { return other == c })
	if r.names[c.name()] = others; len(others) == 0 {
		delete(r.names, c.name())
	}
}

func (r *Reporter) delete(c *record) {
	c.deleted = true
	r.forget(c)
}

// Secrets returns what the store holds of a connection, deleted or not, to log in with; nothing if there never was one.
func (r *Reporter) Secrets(id string) Secrets {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.connections[id]
	if c == nil {
		return Secrets{}
	}
	return Secrets{c.Host, c.UserName, c.password, c.tls.ca, c.tls.cert, c.tls.key}
}

// SetDatabasePassword says which password the databases at a host want. The test of a connection to it that has another one
// answers 500. A host of which nothing was said takes any password but the empty one.
func (r *Reporter) SetDatabasePassword(host, password string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.passwords[host] = password
}

// SetMultiTenant chooses the multi-tenant mode, as against that of a single tenant: the database has no index that keeps names
// unique between the check of a POST and its write, no host may be a private IP address, and internal connections are listed.
// The tenants are those of the tokens: see AllowToken and [NewAccessManager].
func (r *Reporter) SetMultiTenant(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.multiTenant = on
}

// Delete soft-deletes a connection behind everybody's back, jobs or not, as an administrator would in the database.
func (r *Reporter) Delete(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.connections[id]; c != nil && !c.deleted {
		r.delete(c)
	}
}

// Alive reports whether the connection exists and was not deleted.
func (r *Reporter) Alive(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.connections[id]
	return c != nil && !c.deleted
}

// Connections returns the living connections of all tenants, oldest first, without the internal ones.
func (r *Reporter) Connections() []Connection {
	r.mu.Lock()
	defer r.mu.Unlock()
	living := []Connection{}
	for _, c := range r.living(func(*record) bool { return true }) {
		living = append(living, c.Connection.clone())
	}
	return living
}

// living returns the connections that are meant, oldest first, without the internal ones.
func (r *Reporter) living(isMeant func(*record) bool) []*record {
	found := []*record{}
	for _, named := range r.names {
		for _, c := range named {
			if isMeant(c) {
				found = append(found, c)
			}
		}
	}
	slices.SortFunc(found, oldestFirst)
	return found
}

func oldestFirst(a, b *record) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
}

// StartJob lets a job read from the connection of that configName, which need not exist, until end is called. Meanwhile
// DELETE and PATCH of the connection that bears the name answer 409 FET-1021. As in Reporter, jobs name connections by
// configName and not by id, any number of them may run, and nothing but end stops one.
func (r *Reporter) StartJob(configName string) (end func()) {
	return r.StartTenantJob("", configName)
}

// StartTenantJob is StartJob for a connection that belongs to a tenant.
func (r *Reporter) StartTenantJob(tenant, configName string) (end func()) {
	job := name{tenant, configName}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.jobs[job]++
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.jobs[job]--
	})
}

// AllowToken makes Reporter ask for a bearer token and accept this one, for the connections of the tenant. Without any,
// it answers 401 "Missing Token", and to an unknown one 401 "Unauthorized", both as plain text.
func (r *Reporter) AllowToken(token, tenant string) {
	r.allow(token, grant{tenant: tenant})
}

func (r *Reporter) allow(token string, g grant) {
	r.requireTokens()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.grants[token] = g
}

// requireTokens makes Reporter ask for a token, though it may know none.
func (r *Reporter) requireTokens() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.grants == nil {
		r.grants = map[string]grant{}
	}
}

// RevokeToken makes a token unknown. Reporter goes on asking for one.
func (r *Reporter) RevokeToken(token string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.grants, token)
}

// SetProblemJSON chooses the error format of newer versions: application/problem+json with detail in place of message.
func (r *Reporter) SetProblemJSON(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problemJSON = on
}

// SetDatabaseDown takes Reporter's own database away: /readyz and every call of the API answer 503, the latter with
// FET-0003. A real one takes 5 s for that: see SetLatency.
func (r *Reporter) SetDatabaseDown(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.databaseDown = down
}

// clock is in UTC, as precise as its source, and without a monotonic reading.
func (r *Reporter) clock() time.Time {
	now := time.Now
	if r.Now != nil {
		now = r.Now
	}
	return now().UTC().Round(0)
}

// now is in whole milliseconds, as Reporter stores times.
func (r *Reporter) now() time.Time { return r.clock().Truncate(time.Millisecond) }

// newID returns a version 7 UUID (RFC 9562) of the given time, which may not be that of the machine.
func (r *Reporter) newID(now time.Time) string {
	random := r.Random
	if random == nil {
		random = rand.Reader
	}
	id := uuid.Must(uuid.NewRandomFromReader(random))
	id[6] = id[6]&0x0f | 0x70
	var milliseconds [8]byte
	binary.BigEndian.PutUint64(milliseconds[:], uint64(now.UnixMilli()))
	copy(id[:6], milliseconds[2:])
	return id.String()
}

// resolve returns the canonical id that Reporter takes an id for, or "". Reporter is generous: upper case, no dashes,
// braces, urn:uuid: and even one stray character at each end were observed to work, which is what uuid.Parse accepts.
func resolve(id string) string {
	parsed, err := uuid.Parse(id)
	if err != nil {
		return ""
	}
	return parsed.String()
}
