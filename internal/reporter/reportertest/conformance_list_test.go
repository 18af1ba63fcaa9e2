package reportertest_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// listed is the list for a query, which must succeed.
func (s *suite) listed(t *testing.T, query string, header ...string) (p page) {
	t.Helper()
	resp := s.call(t, "GET", connectionsPath+query, "", header...)
	if resp.status != 200 {
		t.Fatalf("GET %s answers %d, not 200: %q", query, resp.status, resp.start())
	}
	if resp.decode(t, &p); p.Items == nil || p.Total == nil {
		t.Fatalf("GET %s shows no items or no total: %q", query, resp.start())
	}
	return p
}

// external leaves the internal connections out.
func (p page) external() page {
	p.Items = slices.DeleteFunc(slices.Clone(p.Items), connection.isInternal)
	return p
}

func (c connection) isInternal() bool {
	id, err := uuid.Parse(c.ID)
	return err == nil && id.Version() == 5
}

// marked is a query for the connections of this suite with a mark in their metadata.
func (s *suite) marked(mark string) string { return "?limit=100&metadata.suite=" + s.prefix + mark }

func (s *suite) mark(mark string) map[string]any { return map[string]any{"suite": s.prefix + mark} }

func (s *suite) list(t *testing.T) {
	mark := func() (query string, fields []any) {
		name := s.newName()
		return s.marked(name), []any{"metadata", s.mark(name)}
	}
	s.fact(t, "by createdAt, in either order", func(t *testing.T) {
		query, fields := mark()
		older, newer := s.created(t, fields...), s.created(t, fields...)
		for newer.CreatedAt.Truncate(time.Millisecond).Equal(older.CreatedAt.Truncate(time.Millisecond)) { // as it is by the millisecond
			s.call(t, "DELETE", pathOf(newer.ID), "")
			newer = s.created(t, fields...)
		}
		for order, want := range map[string][]string{
			"&sortOrder=asc": {older.ID, newer.ID}, "&sortOrder=desc": {newer.ID, older.ID}, "": {newer.ID, older.ID},
		} {
			if got := s.listed(t, query+order).external().ids(); !slices.Equal(got, want) {
				t.Errorf("with %q the list shows %q, not %q", order, got, want)
			}
		}
	})
	s.fact(t, "a row is what GET shows", func(t *testing.T) {
		query, fields := mark()
		c := s.created(t, append(fields, "schema", "public", "ssl", map[string]any{"mode": "require", "ca": "a CA"})...)
		p := s.listed(t, query).external()
		if len(p.Items) != 1 {
			t.Fatalf("the list shows %d connections, not 1", len(p.Items))
		}
		same(t, "the list", p.Items[0], c)
	})
	s.fact(t, "a deleted one is not listed", func(t *testing.T) {
		query, fields := mark()
		gone, stays := s.created(t, fields...), s.created(t, fields...)
		s.call(t, "DELETE", pathOf(gone.ID), "")
		if got := s.listed(t, query).external().ids(); !slices.Equal(got, []string{stays.ID}) {
			t.Errorf("the list shows %q, not only %s", got, stays.ID)
		}
	})
	s.fact(t, "pages", func(t *testing.T) {
		query, fields := mark()
		all := map[string]bool{}
		for range 3 {
			all[s.created(t, fields...).ID] = true
		}
		query = strings.Replace(query, "limit=100", "limit=2", 1)
		for number, items := range map[int]int{1: 2, 2: 1, 3: 0} {
			p := s.listed(t, fmt.Sprintf("%s&page=%d", query, number)).external()
			if len(p.Items) != items || p.Page != number || p.Limit != 2 {
				t.Errorf("page %d of three by two has %d items, and says page %d, limit %d", number, len(p.Items), p.Page, p.Limit)
			}
			for _, id := range p.ids() {
				delete(all, id)
			}
		}
		if len(all) > 0 {
			t.Errorf("%d of three connections are on no page", len(all))
		}
	})
	s.fact(t, "ten on page 1 by default", func(t *testing.T) {
		query, fields := mark()
		for range 11 {
			s.created(t, fields...)
		}
		if p := s.listed(t, strings.Replace(query, "limit=100&", "", 1)); len(p.external().Items) != 10 || p.Page != 1 || p.Limit != 10 {
			t.Errorf("by default the list has %d items, page %d and limit %d", len(p.external().Items), p.Page, p.Limit)
		}
	})
	s.fact(t, "limits of 1 to 100", func(t *testing.T) {
		for _, limit := range []int{1, 100} {
			if p := s.listed(t, fmt.Sprintf("?limit=%d", limit)); p.Limit != limit || len(p.external().Items) > limit {
				t.Errorf("with limit=%d the list has %d items, and says limit %d", limit, len(p.external().Items), p.Limit)
			}
		}
		for _, limit := range []string{"0", "101", "x"} {
			if resp := s.call(t, "GET", connectionsPath+"?limit="+limit, ""); resp.status != 400 {
				t.Errorf("limit=%s is answered %d, not 400", limit, resp.status)
			}
		}
	})
}

func (s *suite) listFilters(t *testing.T) {
	// Two connections of a mark, and which of them a query and a product find.
	fact := func(name string, query string, product string, wantPostgreSQL, wantMySQL bool) {
		s.fact(t, name, func(t *testing.T) {
			mark := s.newName()
			metadata := func(team string) map[string]any {
				return map[string]any{"suite": s.prefix + mark, "team": team, "n": 5, "flag": true, "owner": map[string]any{"name": team}, "a.b": "c"}
			}
			first := s.created(t, "metadata", metadata("Billing"))
			resp := s.post(t, s.body("type", "MYSQL", "host", "db2.example.com", "metadata", metadata("ledger")), "X-Product-Name", "conformance-2")
			second := resp.connection(t)
			var header []string
			if product != "" {
				header = []string{"X-Product-Name", product}
			}
			got := s.listed(t, s.marked(mark)+query, header...).external().ids()
			if slices.Contains(got, first.ID) != wantPostgreSQL || slices.Contains(got, second.ID) != wantMySQL {
				t.Errorf("the list shows %d connections, of two: the first %t, the second %t", len(got), slices.Contains(got, first.ID), slices.Contains(got, second.ID))
			}
		})
	}
	fact("none", "", "", true, true)
	fact("product", "", "Conformance-2", false, true)
	fact("type", "&type=POSTGRESQL", "", true, false)
	fact("metadata", "&metadata.team=ledger", "", false, true)
	fact("metadata is case-sensitive", "&metadata.team=billing", "", false, false)
	fact("metadata is exact", "&metadata.team=Bill", "", false, false)
	fact("a dot leads into an object", "&metadata.owner.name=Billing", "", true, false)
	fact("a dot in a name is not found", "&metadata.a.b=c", "", false, false)
	fact("numbers are not found", "&metadata.n=5", "", false, false)
	fact("booleans are not found", "&metadata.flag=true", "", false, false)
	fact("what is not there is not found", "&metadata.nothing=x", "", false, false)
	fact("configName filters nothing", "&configName=nothing", "", true, true)
	fact("host filters nothing", "&host=nothing", "", true, true)
	fact("databaseName filters nothing", "&databaseName=nothing", "", true, true)
}

// listWindows counts days from that of createdAt, in UTC.
func (s *suite) listWindows(t *testing.T) {
	for _, test := range []struct {
		name       string
		start, end int // in days from the one of the creation
		without    string
		listed     bool
	}{
		{"none is the last month", 0, 0, "startDate endDate", true},
		{"a start is one day", 0, 0, "endDate", true},
		{"the start of the day before is another", -1, 0, "endDate", false},
		{"the end's day is left out", -3, 0, "", false},
		{"the day before the end is in it", -3, 1, "", true},
		{"a start that is the end is one day", 0, 0, "", true},
		{"a long one is cut to the month before its end", 0, 60, "", false},
		{"a long one has the month before its end", -60, 1, "", true},
		{"a past one", -60, -30, "", false},
		{"one to come", 1, 20, "", false},
		{"an end alone has the month up to it", 0, 1, "startDate", true},
		{"an end alone is without its day", 0, 0, "startDate", false},
	} {
		s.fact(t, test.name, func(t *testing.T) {
			mark := s.newName()
			c := s.created(t, "metadata", s.mark(mark))
			day := func(days int) string { return c.CreatedAt.UTC().AddDate(0, 0, days).Format(time.DateOnly) }
			query := url.Values{}
			for parameter, value := range map[string]string{"startDate": day(test.start), "endDate": day(test.end)} {
				if !strings.Contains(test.without, parameter) {
					query.Set(parameter, value)
				}
			}
			got := s.listed(t, s.marked(mark)+"&"+query.Encode()).external().ids()
			if slices.Contains(got, c.ID) != test.listed {
				t.Errorf("with %s the connection of %s is listed: %t", query.Encode(), c.CreatedAt, !test.listed)
			}
		})
	}
	s.fact(t, "a start after the end", func(t *testing.T) {
		if resp := s.call(t, "GET", connectionsPath+"?startDate=2026-02-02&endDate=2026-02-01", ""); resp.status != 400 {
			t.Errorf("it is answered %d, not 400", resp.status)
		}
	})
	s.fact(t, "an odd date", func(t *testing.T) {
		if resp := s.call(t, "GET", connectionsPath+"?startDate=1.2.2026", ""); resp.status != 400 {
			t.Errorf("it is answered %d, not 400", resp.status)
		}
	})
}

// internal is about the connections that are configured on the server.
func (s *suite) internal(t *testing.T) {
	fact := func(name string, check func(t *testing.T, c connection)) {
		s.fact(t, name, func(t *testing.T) {
			if s.mode() != multiTenant {
				s.skip(t, "what internal connections look like, as they are listed in multi-tenant mode alone.")
			}
			p := s.listed(t, "?limit=1")
			first := slices.IndexFunc(p.Items, connection.isInternal)
			if first < 0 {
				s.skip(t, "what internal connections look like, as none is configured on the server.")
			}
			check(t, p.Items[first])
		})
	}
	fact("no host, no port, year 1", func(t *testing.T, c connection) {
		if c.Host != "" || c.Port != 0 || c.CreatedAt.Year() != 1 || c.UpdatedAt.Year() != 1 {
			t.Errorf("the internal connection is %+v", c)
		}
	})
	fact("on top of page 1 of every list", func(t *testing.T, c connection) {
		for _, query := range []string{"?limit=1", "?metadata.nothing=x", "?startDate=2001-02-03&endDate=2001-02-20", "?sortOrder=asc", "?sortOrder=desc"} {
			if p := s.listed(t, query, "X-Product-Name", "nobodys"); len(p.Items) == 0 || !p.Items[0].isInternal() || !slices.Contains(p.ids(), c.ID) {
				t.Errorf("with %s the list begins without internal connections", query)
			}
		}
	})
	fact("on no other page", func(t *testing.T, c connection) {
		if p := s.listed(t, "?page=2&limit=1"); slices.Contains(p.ids(), c.ID) {
			t.Errorf("an internal connection is on page 2")
		}
	})
	fact("GET shows it, DELETE does not find it", func(t *testing.T, c connection) {
		s.call(t, "DELETE", pathOf(c.ID), "").refuses(t, 404, "FET-1001")
		same(t, "GET after DELETE", s.shown(t, c.ID), c)
	})
}

func (s *suite) test(t *testing.T) {
	s.fact(t, "success", func(t *testing.T) {
		if s.database == nil {
			s.skip(t, "what a successful test answers, as REPORTER_DATABASE_HOST, a database that Reporter can reach, is not set.")
		}
		resp := s.call(t, "POST", pathOf(s.created(t, s.database...).ID)+"/test", "")
		var result struct {
			Status    string `json:"status"`
			Message   string `json:"message"`
			LatencyMs *int   `json:"latencyMs"`
		}
		resp.decode(t, &result)
		if resp.status != 200 || result.Status != "success" || result.Message == "" || result.LatencyMs == nil {
			t.Errorf("the test of a connection answers %d %q", resp.status, resp.start())
		}
	})
	s.fact(t, "500 with a number for a database that cannot be reached", func(t *testing.T) {
		c := s.created(t, "host", "db.invalid")
		s.call(t, "POST", pathOf(c.ID)+"/test", "").refuses(t, 500, json.Number("500"))
	})
	s.fact(t, "500 with a number for a wrong password", func(t *testing.T) {
		if s.database == nil {
			s.skip(t, "what a wrong password gets, as REPORTER_DATABASE_HOST, a database that Reporter can reach, is not set.")
		}
		c := s.created(t, s.database...)
		s.patched(t, c.ID, `{"password": ""}`)
		s.call(t, "POST", pathOf(c.ID)+"/test", "").refuses(t, 500, json.Number("500"))
	})
	s.fact(t, "white space around a password counts", func(t *testing.T) {
		if s.database == nil {
			s.skip(t, "what a wrong password gets, as REPORTER_DATABASE_HOST, a database that Reporter can reach, is not set.")
		}
		c := s.created(t, append(slices.Clone(s.database), "password", s.databasePassword()+" ")...)
		s.call(t, "POST", pathOf(c.ID)+"/test", "").refuses(t, 500, json.Number("500"))
	})
	s.fact(t, "429 with a number and no Retry-After from the eleventh on", func(t *testing.T) {
		c := s.created(t, "host", "db.invalid")
		for range 10 {
			s.call(t, "POST", pathOf(c.ID)+"/test", "").refuses(t, 500, json.Number("500"))
		}
		resp := s.call(t, "POST", pathOf(c.ID)+"/test", "")
		resp.refuses(t, 429, json.Number("429"))
		if wait := resp.header.Get("Retry-After"); wait != "" {
			t.Errorf("the eleventh test is answered with Retry-After %s", wait)
		}
	})
	s.fact(t, "none", func(t *testing.T) {
		s.call(t, "POST", pathOf(uuid.NewString())+"/test", "").refuses(t, 404, "FET-1001")
	})
}

func (s *suite) validateSchema(t *testing.T) {
	ask := func(t *testing.T, name string) response {
		t.Helper()
		return s.call(t, "POST", connectionsPath+"/validate-schema", `{"mappedFields": {"`+name+`": {}}}`)
	}
	s.fact(t, "an unknown name", func(t *testing.T) {
		ask(t, s.newName()).refuses(t, 400, "FET-1062")
	})
	s.fact(t, "a known name", func(t *testing.T) {
		if resp := ask(t, s.created(t, "host", "db.invalid").ConfigName); strings.Contains(string(resp.body), "FET-1062") {
			t.Errorf("it answers %d %q", resp.status, resp.start())
		}
	})
	s.fact(t, "the name of a deleted one", func(t *testing.T) {
		c := s.created(t)
		s.call(t, "DELETE", pathOf(c.ID), "")
		ask(t, c.ConfigName).refuses(t, 400, "FET-1062")
	})
}
