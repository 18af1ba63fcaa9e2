package reportertest_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/google/uuid"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// TestConformance is the contract of Reporter's connections API, as far as this project relies on it, one fact a test. It runs
// against the embedded Reporter in each of its modes, and with REPORTER_URL against a real one, in which it creates connections
// of its own, named conformance-…, and deletes them again. Most facts are about the answers themselves, and those of Calls about what
// the operator's client makes of them. A table at the end says what was checked, and what was not and why.
//
// REPORTER_TOKEN is the token to send, where Access Manager is on; one that names a tenant (its claim tenantId) says that
// Reporter is in multi-tenant mode. REPORTER_OTHER_TOKEN, a token of another tenant, adds that tenants do not see each other's
// connections. REPORTER_DATABASE_HOST is a PostgreSQL server on port 5432 that Reporter can reach, and REPORTER_DATABASE_NAME,
// REPORTER_DATABASE_USER and REPORTER_DATABASE_PASSWORD let it in: they add what a successful test answers.
func TestConformance(t *testing.T) {
	if url := os.Getenv("REPORTER_URL"); url != "" {
		at := target{
			url:        strings.TrimRight(url, "/"),
			token:      os.Getenv("REPORTER_TOKEN"),
			otherToken: os.Getenv("REPORTER_OTHER_TOKEN"),
		}
		if host := os.Getenv("REPORTER_DATABASE_HOST"); host != "" {
			at.database = []any{"host", host, "databaseName", os.Getenv("REPORTER_DATABASE_NAME"),
				"userName", os.Getenv("REPORTER_DATABASE_USER"), "password", os.Getenv("REPORTER_DATABASE_PASSWORD")}
		}
		conform(t, at)
		return
	}

	for _, test := range []struct {
		name        string
		mode        string
		problemJSON bool
	}{
		{"single", single, false},
		{"single, problem+json", single, true},
		{"auth", auth, false},
		{"multi-tenant", multiTenant, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			reporter, at := embedded(t, test.mode)
			reporter.SetProblemJSON(test.problemJSON)
			conform(t, at)
			if left := reporter.Connections(); len(left) > 0 {
				t.Errorf("the suite left %d connections behind, the first of them %s", len(left), left[0].ConfigName)
			}
		})
	}
}

const (
	single      = "single tenant"
	auth        = "single tenant with tokens"
	multiTenant = "multi-tenant"
)

// embedded serves a Reporter of this package in a mode.
func embedded(t *testing.T, mode string) (*reportertest.Reporter, target) {
	t.Helper()
	reporter := reportertest.New()
	at := target{database: []any{"host", "db.example.com", "password", "not-to-be-seen"}}
	reporter.SetDatabasePassword("db.example.com", "not-to-be-seen")
	tenant := ""
	if mode == multiTenant {
		tenant = "tenant-a"
		reporter.SetMultiTenant(true)
		reporter.AddInternal(reportertest.Connection{Tenant: tenant})
	}
	if mode != single {
		manager := reportertest.NewAccessManager(reporter)
		manager.AddClient("operator", "hunter2", tenant)
		at.token = login(t, manager)
		if mode == multiTenant {
			manager.AddClient("operator", "hunter2", "tenant-b")
			at.otherToken = login(t, manager)
		}
	}
	at.url = reportertest.Serve(t, reporter).URL
	at.startJob = func(configName string) func() { return reporter.StartTenantJob(tenant, configName) }
	at.holdWrite = func(method string) (read <-chan struct{}, release func()) {
		reading, released := make(chan struct{}), make(chan struct{})
		reporter.Inject(reportertest.Fault{Method: method, Times: 1, Do: reportertest.BetweenReadAndWrite(func() {
			close(reading)
			<-released
		})})
		return reading, func() { close(released) }
	}
	return reporter, at
}

// target is a Reporter to check, and what can be done to it beyond its API.
type target struct {
	url        string
	token      string // "" sends none
	otherToken string // of another tenant; "" if there is none
	database   []any  // fields of a connection whose database can be reached, the password last; none if no such one is known

	startJob func(configName string) (end func()) // nil if jobs cannot be started
	// holdWrite stops the next request of a method between what it reads and what it writes, until release is called. It is nil
	// if that is left to chance.
	holdWrite func(method string) (read <-chan struct{}, release func())
}

// databasePassword is the one of the database that can be reached.
func (at target) databasePassword() string { return at.database[len(at.database)-1].(string) }

// mode is what the token says of it.
func (at target) mode() string {
	if at.token == "" {
		return single
	}
	var claims struct{ TenantID string }
	if parts := strings.Split(at.token, "."); len(parts) == 3 {
		if payload, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
			_ = json.Unmarshal(payload, &claims)
		}
	}
	if claims.TenantID != "" {
		return multiTenant
	}
	return auth
}

func conform(t *testing.T, at target) {
	t.Helper()
	s := &suite{target: at, prefix: "conformance-" + uuid.NewString()[:8] + "-"}
	s.preflight(t)
	defer s.report(t)

	for _, group := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"Probes", s.probes},
		{"Create", s.create},
		{"CreateRefusals", s.createRefusals},
		{"Names", s.uniqueNames},
		{"Hosts", s.hosts},
		{"Get", s.get},
		{"Delete", s.delete},
		{"MalformedIDs", s.malformedIDs},
		{"SloppyIDs", s.sloppyIDs},
		{"WrongPaths", s.wrongPaths},
		{"Jobs", s.jobs},
		{"Update", s.update},
		{"UpdateRefusals", s.updateRefusals},
		{"Races", s.races},
		{"List", s.list},
		{"ListFilters", s.listFilters},
		{"ListWindows", s.listWindows},
		{"Internal", s.internal},
		{"Test", s.test},
		{"ValidateSchema", s.validateSchema},
		{"Tokens", s.tokens},
		{"Tenants", s.tenants},
		{"Calls", s.calls},
	} {
		t.Run(group.name, group.run)
	}
}

// suite checks one Reporter; its target says which. Its checks run one after the other.
type suite struct {
	target
	prefix string
	names  int
	rows   []row
	why    string // of the skipped check that runs
}

// row is what the report says of one check.
type row struct{ check, result, why string }

// fact checks one fact, in a test of its own.
func (s *suite) fact(t *testing.T, name string, check func(t *testing.T)) {
	t.Helper()
	s.why = ""
	var ran *testing.T
	passed := t.Run(name, func(t *testing.T) {
		ran = t
		check(t)
	})
	if ran == nil {
		return // left out by -run
	}
	result := row{path.Base(t.Name()) + "/" + name, "passed", ""}
	switch {
	case !passed:
		result.result = "FAILED"
	case ran.Skipped():
		result.result, result.why = "skipped", s.why
	}
	s.rows = append(s.rows, result)
}

// skip ends a check that cannot be made here.
func (s *suite) skip(t *testing.T, why string) {
	t.Helper()
	s.why = why
	t.Skip("Not checked: " + why)
}

func (s *suite) report(t *testing.T) {
	t.Helper()
	counts := map[string]int{}
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "RESULT\tCHECK\tWHY")
	for _, r := range s.rows {
		counts[r.result]++
		fmt.Fprintf(table, "%s\t%s\t%s\n", r.result, r.check, r.why)
	}
	_ = table.Flush()
	t.Logf("Reporter at %s, %s: %d checks, of which %d passed, %d failed and %d were skipped.\n%s",
		s.url, s.mode(), len(s.rows), counts["passed"], counts["FAILED"], counts["skipped"], text.String())
}

// preflight stops early, and clearly, where there is no Reporter to check.
func (s *suite) preflight(t *testing.T) {
	t.Helper()
	resp, err := s.try("GET", connectionsPath+"?limit=1", "", s.auth()...)
	if err != nil {
		t.Fatalf("no Reporter answers at %s: %v", s.url, err)
	}
	var list struct {
		Items *[]connection `json:"items"`
	}
	switch {
	case resp.status == 401 || resp.status == 403:
		t.Fatalf("Reporter at %s answers %d %q: it wants a valid token in REPORTER_TOKEN", s.url, resp.status, resp.start())
	case resp.status != 200 || json.Unmarshal(resp.body, &list) != nil || list.Items == nil:
		t.Fatalf("%s is not Reporter's connections API: GET %s answers %d, %s: %q",
			s.url, connectionsPath, resp.status, resp.header.Get("Content-Type"), resp.start())
	}
}

func (s *suite) probes(t *testing.T) {
	for _, probe := range []string{"health", "readyz", "version"} {
		s.fact(t, probe+" needs no token", func(t *testing.T) {
			if resp := s.send(t, "GET", "/"+probe, ""); resp.status != 200 {
				t.Errorf("GET /%s without a token answers %d, not 200", probe, resp.status)
			}
		})
	}
	s.fact(t, "readyz shows its checks", func(t *testing.T) {
		var readiness struct {
			Checks map[string]any `json:"checks"`
		}
		s.send(t, "GET", "/readyz", "").decode(t, &readiness)
		if len(readiness.Checks) == 0 {
			t.Errorf("GET /readyz shows no checks of dependencies")
		}
	})
}

func (s *suite) tokens(t *testing.T) {
	for _, test := range []struct {
		name   string
		header []string
		want   []int
	}{
		{"none", nil, []int{401}},
		{"unknown", []string{"Authorization", "Bearer nobody-knows-this-one"}, []int{401, 403}},
	} {
		s.fact(t, test.name, func(t *testing.T) {
			if s.token == "" {
				s.skip(t, "what an unknown token or none gets, as REPORTER_TOKEN is not set: no Access Manager here.")
			}
			c := s.created(t)
			for _, method := range []string{"GET", "PATCH", "DELETE"} {
				resp := s.send(t, method, pathOf(c.ID), `{"port": 1}`, test.header...)
				if !slices.Contains(test.want, resp.status) {
					t.Errorf("%s answers %d, not %d: %q", method, resp.status, test.want, resp.start())
				}
			}
			same(t, "GET after what was refused", s.shown(t, c.ID), c)
		})
	}
}

func (s *suite) tenants(t *testing.T) {
	theirs := []string{"Authorization", "Bearer " + s.otherToken}
	fact := func(name string, check func(t *testing.T, c connection)) {
		s.fact(t, name, func(t *testing.T) {
			if s.otherToken == "" {
				s.skip(t, "that tenants do not see each other's connections, as REPORTER_OTHER_TOKEN, a token of another tenant, is not set.")
			}
			check(t, s.created(t))
		})
	}
	fact("another tenant finds nothing", func(t *testing.T, c connection) {
		for _, request := range [][2]string{{"GET", ""}, {"PATCH", ""}, {"DELETE", ""}, {"POST", "/test"}} {
			s.send(t, request[0], pathOf(c.ID)+request[1], `{"port": 1}`, theirs...).refuses(t, 404, "FET-1001")
		}
		same(t, "GET after another tenant's requests", s.shown(t, c.ID), c)
	})
	fact("another tenant's list is without it", func(t *testing.T, c connection) {
		var p page
		s.send(t, "GET", connectionsPath+"?limit=100", "", theirs...).decode(t, &p)
		if slices.Contains(p.ids(), c.ID) {
			t.Errorf("the connection %s is listed for another tenant", c.ID)
		}
	})
	fact("the name is free for another tenant", func(t *testing.T, c connection) {
		resp := s.send(t, "POST", connectionsPath, s.body("configName", c.ConfigName), append(theirs, "X-Product-Name", "conformance")...)
		if resp.status != http.StatusCreated {
			t.Fatalf("POST answers %d, not 201: %q", resp.status, resp.start())
		}
		var created connection
		resp.decode(t, &created)
		t.Cleanup(func() { s.send(t, "DELETE", pathOf(created.ID), "", theirs...) })
		same(t, "GET after the same name for another tenant", s.shown(t, c.ID), c)
	})
}
