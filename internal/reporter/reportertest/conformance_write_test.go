package reportertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

func (s *suite) create(t *testing.T) {
	s.fact(t, "201 with the whole object", func(t *testing.T) {
		name := s.newName()
		resp := s.post(t, s.body("configName", name, "type", "MYSQL", "port", 3306, "schema", "public",
			"ssl", map[string]any{"mode": "preferred", "ca": "a CA"}, "metadata", map[string]any{"team": "billing", "deep": map[string]any{"n": 1}}))
		if resp.status != 201 {
			t.Fatalf("POST answers %d, not 201: %q", resp.status, resp.start())
		}
		created := resp.connection(t)
		if id, err := uuid.Parse(created.ID); err != nil || id.Version() != 7 || id.String() != created.ID {
			t.Errorf("the id %q is not a canonical UUID of version 7", created.ID)
		}
		if created.CreatedAt.IsZero() || created.UpdatedAt.Before(created.CreatedAt) {
			t.Errorf("createdAt is %s and updatedAt is %s", created.CreatedAt, created.UpdatedAt)
		}
		want := connection{
			ID: created.ID, CreatedAt: created.CreatedAt, UpdatedAt: created.UpdatedAt, ProductName: "conformance",
			ConfigName: name, Type: "MYSQL", Host: "db.example.com", Port: 3306, DatabaseName: "ledger", Schema: new("public"),
			UserName: "reader", SSL: &ssl{Mode: "preferred"}, Metadata: map[string]any{"team": "billing", "deep": map[string]any{"n": 1}},
		}
		same(t, "POST", created, want)
		same(t, "GET after POST", s.shown(t, created.ID), want)
	})
	s.fact(t, "no Location, no ETag", func(t *testing.T) {
		header := s.post(t, s.body()).header
		if location, tag := header.Get("Location"), header.Get("ETag"); location != "" || tag != "" {
			t.Errorf("POST answers with Location %q and ETag %q", location, tag)
		}
	})
	s.fact(t, "times in nanoseconds, and in milliseconds when read", func(t *testing.T) {
		c := s.created(t)
		got := s.shown(t, c.ID)
		if isMilliseconds(c.CreatedAt) && isMilliseconds(c.UpdatedAt) {
			t.Errorf("POST answers with the times %s and %s", c.CreatedAt, c.UpdatedAt)
		}
		if !got.CreatedAt.Equal(c.CreatedAt.Truncate(time.Millisecond)) || !got.UpdatedAt.Equal(c.UpdatedAt.Truncate(time.Millisecond)) {
			t.Errorf("GET shows the times %s and %s, after %s and %s", got.CreatedAt, got.UpdatedAt, c.CreatedAt, c.UpdatedAt)
		}
	})
	s.fact(t, "secrets never come back", func(t *testing.T) {
		sent := map[string]any{"mode": "require", "ca": "not-to-be-seen", "cert": "not-to-be-seen", "key": "not-to-be-seen"}
		posted := s.post(t, s.body("ssl", sent))
		c := posted.connection(t)
		for _, resp := range []response{posted, s.call(t, "GET", pathOf(c.ID), ""), s.patch(t, c.ID, `{"password": "not-to-be-seen"}`),
			s.call(t, "GET", connectionsPath+"?limit=100", "")} {
			if strings.Contains(string(resp.body), "not-to-be-seen") {
				t.Errorf("%s shows a secret", resp.to)
			}
		}
	})
	s.fact(t, "what is optional and not set is absent", func(t *testing.T) {
		posted := s.post(t, s.body())
		for _, resp := range []response{posted, s.call(t, "GET", pathOf(posted.connection(t).ID), "")} {
			keys := slices.Sorted(maps.Keys(resp.members(t)))
			if want := []string{"configName", "createdAt", "databaseName", "host", "id", "port", "productName", "type", "updatedAt", "userName"}; !slices.Equal(keys, want) {
				t.Errorf("%s shows %q, not %q", resp.to, keys, want)
			}
		}
	})
	s.fact(t, "empty metadata is absent when read", func(t *testing.T) {
		c := s.created(t, "metadata", map[string]any{})
		if metadata, shown := s.call(t, "GET", pathOf(c.ID), "").members(t)["metadata"]; shown {
			t.Errorf("GET shows the metadata %v", metadata)
		}
	})
	s.fact(t, "unknown members, id and productName are ignored", func(t *testing.T) {
		id := uuid.NewString()
		c := s.created(t, "id", id, "productName", "another", "description", "unknown", "createdAt", "2001-02-03T00:00:00Z")
		if c.ID == id || c.ProductName != "conformance" || c.CreatedAt.Year() == 2001 {
			t.Errorf("POST answers %+v", c)
		}
	})
	s.fact(t, "outer white space of texts is trimmed", func(t *testing.T) {
		name := s.newName()
		c := s.created(t, "configName", " "+name+"\t", "host", " db.example.com ", "databaseName", "\tledger ", "userName", " reader\n")
		got := s.shown(t, c.ID)
		if got.ConfigName != name || got.Host != "db.example.com" || got.DatabaseName != "ledger" || got.UserName != "reader" {
			t.Errorf("GET shows %+v", got)
		}
	})
	s.fact(t, "a product of 1 to 100 letters, lower-cased", func(t *testing.T) {
		for _, product := range []string{"p", strings.Repeat("P", 97) + "_-1"} {
			resp := s.post(t, s.body(), "X-Product-Name", product)
			if got := resp.connection(t).ProductName; resp.status != 201 || got != strings.ToLower(product) {
				t.Errorf("POST for %s answers %d and productName %q", product, resp.status, got)
			}
		}
	})
	s.fact(t, "a name of 100 letters", func(t *testing.T) {
		name := s.newName()
		name += strings.Repeat("_", 100-len(name))
		if c := s.created(t, "configName", name); c.ConfigName != name {
			t.Errorf("POST of %s answers %s", name, c.ConfigName)
		}
	})
	for kind, modes := range inOrder(map[string]string{
		"POSTGRESQL": "disable allow prefer require verify-ca verify-full",
		"MYSQL":      "true false skip-verify preferred",
		"ORACLE":     "enable disable true false skip-verify",
		"SQL_SERVER": "disable true false strict",
		"MONGODB":    "enable disable true false",
	}) {
		s.fact(t, "ssl modes of "+kind, func(t *testing.T) {
			for mode := range strings.FieldsSeq(modes) {
				c := s.created(t, "type", kind, "ssl", map[string]any{"mode": mode, "ca": "which is not parsed"})
				if c.SSL == nil || c.SSL.Mode != mode {
					t.Errorf("POST with the mode %s answers %v", mode, c.SSL)
				}
			}
		})
	}
	s.fact(t, "Idempotency-Key is ignored", func(t *testing.T) {
		key := uuid.NewString()
		first := s.post(t, s.body(), "Idempotency-Key", key, "X-Idempotency", key)
		second := s.post(t, s.body(), "Idempotency-Key", key, "X-Idempotency", key)
		if first.status != 201 || second.status != 201 || first.connection(t).ID == second.connection(t).ID {
			t.Errorf("two POSTs of one key answer %d %q and %d %q", first.status, first.start(), second.status, second.start())
		}
	})
}

func isMilliseconds(t time.Time) bool { return t.Equal(t.Truncate(time.Millisecond)) }

func (s *suite) createRefusals(t *testing.T) {
	for name, product := range inOrder(map[string]string{"no product": "", "a blank product": " ", "an odd product": "a product", "a product of 101 letters": strings.Repeat("p", 101)}) {
		s.fact(t, name, func(t *testing.T) {
			s.post(t, s.body(), "X-Product-Name", product).refuses(t, 400, "FET-0403")
		})
	}
	for name, body := range inOrder(map[string]string{"nothing": "", "an empty object": `{}`, "no JSON": `{`, "no object": `[]`, "only unknown members": `{"id": "x", "description": "y"}`}) {
		s.fact(t, name, func(t *testing.T) {
			s.post(t, body).refuses(t, 400, "FET-0001")
		})
	}
	for _, field := range []string{"configName", "type", "host", "port", "databaseName", "userName", "password"} {
		s.fact(t, "no "+field, func(t *testing.T) {
			s.post(t, s.body(field, nil)).refuses(t, 400, "FET-0402", field)
		})
	}
	tls := func(mode, ca any) map[string]any { return map[string]any{"mode": mode, "ca": ca} }
	for _, test := range []struct {
		name   string
		fields []any
		code   string
		key    string
	}{
		{"a name of 2 letters", []any{"configName", "ab"}, "FET-0001", "config_name"},
		{"a name of 101 letters", []any{"configName", strings.Repeat("n", 101)}, "FET-0001", "config_name"},
		{"a name with a dot", []any{"configName", s.prefix + "a.b"}, "FET-0402", "config_name"},
		{"a name with a space", []any{"configName", s.prefix + "a b"}, "FET-0402", "config_name"},
		{"an odd type", []any{"type", "CSV"}, "FET-0001", "type"},
		{"a port below 1", []any{"port", -1}, "FET-0001", "port"},
		{"a port above 65535", []any{"port", 65536}, "FET-0001", "port"},
		{"an odd host", []any{"host", "no host"}, "FET-0001", "host"},
		{"ssl without a ca", []any{"ssl", map[string]any{"mode": "require"}}, "FET-0402", "ssl.ca"},
		{"ssl that is off without a ca", []any{"ssl", tls("disable", "")}, "FET-0402", "ssl.ca"},
		{"ssl of a mode of another type", []any{"ssl", tls("preferred", "a CA")}, "FET-0001", "ssl.mode"},
		{"ssl without a mode", []any{"ssl", map[string]any{"ca": "a CA"}}, "FET-0402", "ssl.mode"},
		{"a port that is no number", []any{"port", "5432"}, "FET-0001", ""},
	} {
		s.fact(t, test.name, func(t *testing.T) {
			resp := s.post(t, s.body(test.fields...))
			if test.key == "" {
				resp.refuses(t, 400, test.code)
				return
			}
			resp.refuses(t, 400, test.code, test.key)
		})
	}
}

func (s *suite) uniqueNames(t *testing.T) {
	s.fact(t, "taken", func(t *testing.T) {
		c := s.created(t)
		resp := s.post(t, s.body("configName", c.ConfigName))
		resp.refuses(t, 409, "FET-1002")
		if strings.Contains(string(resp.body), c.ID) {
			t.Errorf("the refusal says whose the name is: %q", resp.start())
		}
	})
	s.fact(t, "taken, for another product", func(t *testing.T) {
		s.post(t, s.body("configName", s.created(t).ConfigName), "X-Product-Name", "other").refuses(t, 409, "FET-1002")
	})
	s.fact(t, "taken, but for white space", func(t *testing.T) {
		s.post(t, s.body("configName", " "+s.created(t).ConfigName+" ")).refuses(t, 409, "FET-1002")
	})
	s.fact(t, "case matters", func(t *testing.T) {
		c := s.created(t)
		if other := s.created(t, "configName", strings.ToUpper(c.ConfigName)); other.ID == c.ID {
			t.Errorf("two names have one id")
		}
	})
	s.fact(t, "of a deleted connection is free at once", func(t *testing.T) {
		c := s.created(t)
		s.call(t, "DELETE", pathOf(c.ID), "")
		next := s.created(t, "configName", c.ConfigName)
		if next.ID == c.ID {
			t.Errorf("the id %s came back", c.ID)
		}
		s.call(t, "DELETE", pathOf(c.ID), "").refuses(t, 404, "FET-1001")
		same(t, "GET after another DELETE of the old one", s.shown(t, next.ID), next)
	})
	s.fact(t, "ten at the same time", func(t *testing.T) {
		body := s.body()
		responses := make([]response, 10)
		var clients sync.WaitGroup
		for i := range responses {
			clients.Go(func() {
				resp, err := s.try("POST", connectionsPath, body, append(s.auth(), "X-Product-Name", "conformance")...)
				if err != nil {
					t.Errorf("Reporter does not answer: %v", err)
				}
				responses[i] = resp
			})
		}
		clients.Wait()
		created := 0
		for _, resp := range responses {
			s.deleteAtTheEnd(t, resp)
			if resp.status == 201 {
				created++
			} else {
				resp.refuses(t, 409, "FET-1002")
			}
		}
		if created == 0 || created > 1 && s.mode() != multiTenant {
			t.Errorf("%d of ten POSTs of one name got 201", created)
		}
	})
}

// hosts are checked in multi-tenant mode alone.
func (s *suite) hosts(t *testing.T) {
	for _, host := range []string{"10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1"} {
		s.fact(t, "private address "+host, func(t *testing.T) {
			if s.mode() != multiTenant {
				if c := s.created(t, "host", host); c.Host != host {
					t.Errorf("POST answers the host %s", c.Host)
				}
				return
			}
			s.post(t, s.body("host", host)).refuses(t, 400, "FET-0414")
			s.patch(t, s.created(t).ID, `{"host": "`+host+`"}`).refuses(t, 400, "FET-0414")
		})
	}
	s.fact(t, "name of a private address", func(t *testing.T) {
		c := s.created(t, "host", "localhost")
		if s.mode() == multiTenant {
			s.call(t, "POST", pathOf(c.ID)+"/test", "").refuses(t, 400, "FET-0414")
		}
	})
}

func (s *suite) get(t *testing.T) {
	s.fact(t, "one", func(t *testing.T) {
		c := s.created(t)
		same(t, "GET", s.shown(t, c.ID), c)
	})
	s.fact(t, "none", func(t *testing.T) {
		s.call(t, "GET", pathOf(uuid.NewString()), "").refuses(t, 404, "FET-1001")
	})
}

func (s *suite) delete(t *testing.T) {
	s.fact(t, "a bare 204", func(t *testing.T) {
		resp := s.call(t, "DELETE", pathOf(s.created(t).ID), "")
		if contentType := resp.header.Get("Content-Type"); resp.status != 204 || len(resp.body) > 0 || contentType != "" {
			t.Fatalf("DELETE answers %d, Content-Type %q: %q, not a bare 204", resp.status, contentType, resp.start())
		}
	})
	s.fact(t, "is final", func(t *testing.T) {
		c := s.created(t)
		s.call(t, "DELETE", pathOf(c.ID), "")
		s.call(t, "GET", pathOf(c.ID), "").refuses(t, 404, "FET-1001")
		s.call(t, "DELETE", pathOf(c.ID), "").refuses(t, 404, "FET-1001")
		s.patch(t, c.ID, `{"host": "db2.example.com"}`).refuses(t, 404, "FET-1001")
		s.call(t, "POST", pathOf(c.ID)+"/test", "").refuses(t, 404, "FET-1001")
	})
	s.fact(t, "none", func(t *testing.T) {
		s.call(t, "DELETE", pathOf(uuid.NewString()), "").refuses(t, 404, "FET-1001")
	})
}

func (s *suite) malformedIDs(t *testing.T) {
	id := uuid.NewString()
	for name, malformed := range inOrder(map[string]string{"word": "ledger-db", "number": "42", "short": id[1:], "long": id + "0", "odd letter": id[:35] + "g"}) {
		for _, method := range []string{"GET", "DELETE", "PATCH"} {
			s.fact(t, method+" "+name, func(t *testing.T) {
				s.call(t, method, pathOf(malformed), "").refuses(t, 400, "FET-0404")
			})
		}
	}
}

// sloppyIDs shows why a client must send nothing but canonical ids: others delete as well.
func (s *suite) sloppyIDs(t *testing.T) {
	for name, sloppy := range inOrder(map[string]func(id string) string{
		"upper case":       strings.ToUpper,
		"no dashes":        func(id string) string { return strings.ReplaceAll(id, "-", "") },
		"braces":           func(id string) string { return "%7B" + id + "%7D" },
		"urn":              func(id string) string { return "urn:uuid:" + id },
		"stray characters": func(id string) string { return "x" + id + "y" },
	}) {
		s.fact(t, name, func(t *testing.T) {
			c := s.created(t)
			id := sloppy(c.ID)
			if resp := s.call(t, "DELETE", pathOf(id), ""); resp.status != 204 {
				t.Errorf("DELETE of %s answers %d, not 204", id, resp.status)
			}
			s.call(t, "GET", pathOf(c.ID), "").refuses(t, 404, "FET-1001")
		})
	}
}

func (s *suite) wrongPaths(t *testing.T) {
	for name, path := range inOrder(map[string]func(id string) string{
		"two slashes":     func(id string) string { return "/" + pathOf(id) },
		"another thing":   func(string) string { return "/v1/management/nothing" },
		"another version": func(string) string { return "/v2/management/connections" },
	}) {
		for _, method := range []string{"GET", "DELETE"} {
			s.fact(t, method+" "+name, func(t *testing.T) {
				c := s.created(t)
				e := s.call(t, method, path(c.ID), "").refuses(t, 404, json.Number("404"))
				if e.Title != "request_failed" {
					t.Errorf("the title is %q, not request_failed", e.Title)
				}
				same(t, "GET after a request to a wrong path", s.shown(t, c.ID), c)
			})
		}
	}
}

func (s *suite) jobs(t *testing.T) {
	fact := func(name string, check func(t *testing.T, c connection)) {
		s.fact(t, name, func(t *testing.T) {
			if s.startJob == nil {
				s.skip(t, "what a running job does, as no job can be started in a Reporter from outside.")
			}
			c := s.created(t)
			end := s.startJob(c.ConfigName)
			t.Cleanup(end)
			check(t, c)
			end()
			if resp := s.call(t, "DELETE", pathOf(c.ID), ""); resp.status != 204 && resp.status != 404 {
				t.Errorf("DELETE after the job answers %d, not 204", resp.status)
			}
		})
	}
	fact("DELETE waits", func(t *testing.T, c connection) {
		if header := s.call(t, "DELETE", pathOf(c.ID), "").header; header.Get("Retry-After") != "" {
			t.Errorf("the answer has Retry-After %s", header.Get("Retry-After"))
		}
		s.call(t, "DELETE", pathOf(c.ID), "").refuses(t, 409, "FET-1021")
		same(t, "GET during a job", s.shown(t, c.ID), c)
	})
	fact("any change waits", func(t *testing.T, c connection) {
		for _, body := range []string{`{"host": "db2.example.com"}`, `{"metadata": {"team": "billing"}}`, fmt.Sprintf(`{"port": %d}`, c.Port),
			`{"configName": "` + s.newName() + `"}`, `{"password": "new"}`} {
			s.patch(t, c.ID, body).refuses(t, 409, "FET-1021")
		}
		same(t, "GET after refused changes", s.shown(t, c.ID), c)
	})
	fact("a change is refused for its form before, for its values after", func(t *testing.T, c connection) {
		s.patch(t, c.ID, `{}`).refuses(t, 400, "FET-0001")
		s.patch(t, c.ID, `{"type": "CSV"}`).refuses(t, 400, "FET-0001")
		s.patch(t, c.ID, `{"ssl": {"mode": "require"}}`).refuses(t, 409, "FET-1021")
		s.patch(t, c.ID, `{"configName": "`+s.created(t).ConfigName+`"}`).refuses(t, 409, "FET-1021")
	})
	fact("others do not wait", func(t *testing.T, _ connection) {
		other := s.created(t)
		s.patched(t, other.ID, `{"port": 6432}`)
		if resp := s.call(t, "DELETE", pathOf(other.ID), ""); resp.status != 204 {
			t.Errorf("DELETE of a connection that no job reads from answers %d, not 204", resp.status)
		}
	})
	fact("a test does not wait", func(t *testing.T, c connection) {
		if resp := s.call(t, "POST", pathOf(c.ID)+"/test", ""); resp.status != 200 && resp.status != 500 {
			t.Errorf("the test during a job answers %d, neither 200 nor 500", resp.status)
		}
	})
	s.fact(t, "the old name of a change counts", func(t *testing.T) {
		if s.startJob == nil {
			s.skip(t, "what a running job does, as no job can be started in a Reporter from outside.")
		}
		c, name := s.created(t), s.newName()
		end := s.startJob(name)
		t.Cleanup(end)
		s.patched(t, c.ID, `{"configName": "`+name+`"}`)
		s.call(t, "DELETE", pathOf(c.ID), "").refuses(t, 409, "FET-1021")
		s.patch(t, c.ID, `{"configName": "`+s.newName()+`"}`).refuses(t, 409, "FET-1021")
		end()
	})
}

func (s *suite) update(t *testing.T) {
	s.fact(t, "what is given changes, the rest stays", func(t *testing.T) {
		c := s.created(t, "schema", "public", "ssl", map[string]any{"mode": "require", "ca": "a CA"}, "metadata", map[string]any{"team": "billing"})
		want := c
		want.ConfigName, want.Type, want.Host, want.Port = s.newName(), "POSTGRESQL", "db2.example.com", 6432
		want.DatabaseName, want.Schema, want.UserName = "ledger2", new("audit"), "auditor"
		updated := s.patched(t, c.ID, fmt.Sprintf(`{"configName": %q, "type": "POSTGRESQL", "host": "db2.example.com", "port": 6432,
			"databaseName": "ledger2", "schema": "audit", "userName": "auditor", "password": "new"}`, want.ConfigName))
		want.UpdatedAt = updated.UpdatedAt
		same(t, "PATCH", updated, want)
		same(t, "GET after PATCH", s.shown(t, c.ID), want)

		want.Port = 7432
		updated = s.patched(t, c.ID, `{"port": 7432}`)
		want.UpdatedAt = updated.UpdatedAt
		same(t, "GET after PATCH of one field", s.shown(t, c.ID), want)
	})
	s.fact(t, "createdAt in milliseconds, updatedAt in nanoseconds", func(t *testing.T) {
		c := s.created(t)
		for range 3 { // one time in a million is whole by chance
			updated := s.patched(t, c.ID, `{"port": 6432}`)
			if !isMilliseconds(updated.CreatedAt) {
				t.Errorf("PATCH answers createdAt %s", updated.CreatedAt)
			}
			if got := s.shown(t, c.ID).UpdatedAt; !got.Equal(updated.UpdatedAt.Truncate(time.Millisecond)) {
				t.Errorf("PATCH answers updatedAt %s, GET %s", updated.UpdatedAt, got)
			}
			if !isMilliseconds(updated.UpdatedAt) {
				return
			}
		}
		t.Errorf("PATCH answers updatedAt in milliseconds")
	})
	s.fact(t, "what changes nothing moves updatedAt", func(t *testing.T) {
		c := s.created(t)
		if updated := s.patched(t, c.ID, `{"host": "db.example.com"}`); !updated.UpdatedAt.After(c.UpdatedAt) {
			t.Errorf("updatedAt goes from %s to %s", c.UpdatedAt, updated.UpdatedAt)
		}
	})
	s.fact(t, "null is not given", func(t *testing.T) {
		c := s.created(t, "schema", "public", "ssl", map[string]any{"mode": "require", "ca": "a CA"}, "metadata", map[string]any{"team": "billing"})
		updated := s.patched(t, c.ID, `{"configName": null, "type": null, "host": null, "databaseName": null, "schema": null, "userName": null,
			"password": null, "ssl": null, "metadata": null, "port": 6432}`)
		want := c
		want.Port, want.UpdatedAt = 6432, updated.UpdatedAt
		same(t, "GET after PATCH", s.shown(t, c.ID), want)
	})
	s.fact(t, "an empty schema is stored and shown", func(t *testing.T) {
		c := s.created(t, "schema", "public")
		s.patched(t, c.ID, `{"schema": ""}`)
		if schema := s.shown(t, c.ID).Schema; schema == nil || *schema != "" {
			t.Errorf("GET does not show an empty schema")
		}
	})
	s.fact(t, "metadata is replaced whole", func(t *testing.T) {
		c := s.created(t, "metadata", map[string]any{"team": "billing", "stage": "test"})
		s.patched(t, c.ID, `{"metadata": {"owner": "me"}}`)
		if got := s.shown(t, c.ID).Metadata; len(got) != 1 || got["owner"] != "me" {
			t.Errorf("GET shows the metadata %v", got)
		}
	})
	s.fact(t, "empty metadata clears it", func(t *testing.T) {
		c := s.created(t, "metadata", map[string]any{"team": "billing"})
		s.patched(t, c.ID, `{"metadata": {}}`)
		if got, shown := s.call(t, "GET", pathOf(c.ID), "").members(t)["metadata"]; shown {
			t.Errorf("GET shows the metadata %v", got)
		}
	})
	s.fact(t, "ssl is replaced whole", func(t *testing.T) {
		c := s.created(t, "ssl", map[string]any{"mode": "require", "ca": "a CA"})
		s.patch(t, c.ID, `{"ssl": {"mode": "verify-full"}}`).refuses(t, 400, "FET-0402", "ssl.ca")
		s.patched(t, c.ID, `{"ssl": {"mode": "verify-full", "ca": "another CA"}}`)
		if got := s.shown(t, c.ID).SSL; got == nil || got.Mode != "verify-full" {
			t.Errorf("GET shows ssl %v", got)
		}
	})
	s.fact(t, "ssl without a mode is ignored", func(t *testing.T) {
		c := s.created(t, "ssl", map[string]any{"mode": "require", "ca": "a CA"})
		updated := s.patched(t, c.ID, `{"ssl": {"ca": "another CA"}}`)
		want := c
		want.UpdatedAt = updated.UpdatedAt
		same(t, "GET after PATCH", s.shown(t, c.ID), want)
	})
	s.fact(t, "ssl cannot be removed", func(t *testing.T) {
		c := s.created(t, "ssl", map[string]any{"mode": "require", "ca": "a CA"})
		for _, ssl := range []string{`null`, `{}`, `{"mode": null, "ca": null}`} {
			s.patched(t, c.ID, `{"port": 6432, "ssl": `+ssl+`}`)
		}
		if got := s.shown(t, c.ID).SSL; got == nil || got.Mode != "require" {
			t.Errorf("GET shows ssl %v", got)
		}
	})
	s.fact(t, "an empty password is accepted", func(t *testing.T) {
		s.patched(t, s.created(t).ID, `{"password": ""}`)
	})
	s.fact(t, "productName and id are ignored", func(t *testing.T) {
		c := s.created(t)
		updated := s.patched(t, c.ID, `{"productName": "another", "id": "`+uuid.NewString()+`", "port": 6432}`, "X-Product-Name", "another")
		want := c
		want.Port, want.UpdatedAt = 6432, updated.UpdatedAt
		same(t, "GET after PATCH", s.shown(t, c.ID), want)
	})
	s.fact(t, "If-Match is ignored", func(t *testing.T) {
		s.patched(t, s.created(t).ID, `{"port": 6432}`, "If-Match", `"not this one"`)
	})
	s.fact(t, "outer white space of texts is trimmed", func(t *testing.T) {
		c := s.created(t)
		s.patched(t, c.ID, `{"host": " db2.example.com ", "databaseName": " ledger2\t", "userName": " auditor "}`)
		if got := s.shown(t, c.ID); got.Host != "db2.example.com" || got.DatabaseName != "ledger2" || got.UserName != "auditor" {
			t.Errorf("GET shows %+v", got)
		}
	})
	s.fact(t, "the old name is free at once", func(t *testing.T) {
		c := s.created(t)
		s.patched(t, c.ID, `{"configName": "`+s.newName()+`"}`)
		s.created(t, "configName", c.ConfigName)
	})
}

func (s *suite) updateRefusals(t *testing.T) {
	for name, body := range inOrder(map[string]string{
		"an empty object": `{}`, "only nulls": `{"host": null, "ssl": null}`, "only unknown members": `{"description": "x", "id": "y", "productName": "z"}`,
		"no JSON": `{`, "no object": `[]`, "nothing": "",
	}) {
		s.fact(t, name, func(t *testing.T) {
			c := s.created(t)
			s.patch(t, c.ID, body).refuses(t, 400, "FET-0001")
			same(t, "GET after a refused change", s.shown(t, c.ID), c)
		})
	}
	for name, test := range inOrder(map[string]struct {
		body, code string
		fields     []string
	}{
		"a name of 2 letters":           {`{"configName": "ab"}`, "FET-0001", nil},
		"a name with a dot":             {`{"configName": "conformance.db"}`, "FET-0402", []string{"config_name"}},
		"an odd type":                   {`{"type": "CSV"}`, "FET-0001", []string{"type"}},
		"a port above 65535":            {`{"port": 65536}`, "FET-0001", []string{"port"}},
		"an odd host":                   {`{"host": "no host"}`, "FET-0001", []string{"host"}},
		"ssl of a mode of another type": {`{"ssl": {"mode": "preferred", "ca": "a CA"}}`, "FET-0001", []string{"ssl.mode"}},
	}) {
		s.fact(t, name, func(t *testing.T) {
			c := s.created(t)
			s.patch(t, c.ID, test.body).refuses(t, 400, test.code, test.fields...)
			same(t, "GET after a refused change", s.shown(t, c.ID), c)
		})
	}
	s.fact(t, "a name that is taken", func(t *testing.T) {
		c, other := s.created(t), s.created(t)
		s.patch(t, c.ID, `{"configName": "`+other.ConfigName+`"}`).refuses(t, 409, "FET-1002")
		same(t, "GET after a refused change", s.shown(t, c.ID), c)
	})
	s.fact(t, "the values before the name", func(t *testing.T) {
		c, other := s.created(t), s.created(t)
		s.patch(t, c.ID, `{"configName": "`+other.ConfigName+`", "ssl": {"mode": "require"}}`).refuses(t, 400, "FET-0402", "ssl.ca")
	})
	s.fact(t, "the form, then the absence, then the values", func(t *testing.T) {
		nobody := uuid.NewString()
		s.patch(t, nobody, `{}`).refuses(t, 400, "FET-0001")
		s.patch(t, nobody, `{"type": "CSV"}`).refuses(t, 400, "FET-0001", "type")
		s.patch(t, nobody, `{"port": 6432}`).refuses(t, 404, "FET-1001")
		s.patch(t, nobody, `{"ssl": {"mode": "require"}}`).refuses(t, 404, "FET-1001")
	})
}

// races are what happens where two requests overlap in the worst way. Against a real Reporter that is left to chance, and so
// is not checked.
func (s *suite) races(t *testing.T) {
	fact := func(name string, check func(t *testing.T)) {
		s.fact(t, name, func(t *testing.T) {
			if s.holdWrite == nil {
				s.skip(t, "what requests do that overlap, as no request can be stopped half-way in a Reporter from outside.")
			}
			check(t)
		})
	}
	// late sends a request that reads now, and writes when the returned function is called.
	late := func(t *testing.T, method, path, body string) (finish func() response) {
		t.Helper()
		read, release := s.holdWrite(method)
		answered := make(chan response, 1)
		go func() {
			resp, err := s.try(method, path, body, append(s.auth(), "X-Product-Name", "conformance")...)
			if err != nil {
				t.Errorf("Reporter does not answer: %v", err)
			}
			answered <- resp
		}()
		<-read
		return func() response {
			release()
			return <-answered
		}
	}
	fact("of two changes at the same moment one is lost", func(t *testing.T) {
		c := s.created(t)
		finish := late(t, "PATCH", pathOf(c.ID), `{"port": 6432}`)
		s.patched(t, c.ID, `{"host": "db2.example.com", "userName": "auditor"}`)
		if resp := finish(); resp.status != http.StatusOK {
			t.Errorf("the later PATCH answers %d, not 200", resp.status)
		}
		if got := s.shown(t, c.ID); got.Port != 6432 || got.Host != c.Host || got.UserName != c.UserName {
			t.Errorf("GET shows %+v", got)
		}
	})
	fact("a late change brings back a password that is old", func(t *testing.T) {
		if s.database == nil {
			s.skip(t, "what a late change does to a password, as REPORTER_DATABASE_HOST, a database that Reporter can reach, is not set.")
		}
		c := s.created(t, append(slices.Clone(s.database), "password", "of before")...)
		finish := late(t, "PATCH", pathOf(c.ID), `{"metadata": {"team": "billing"}}`)
		s.patched(t, c.ID, `{"password": "`+s.databasePassword()+`"}`)
		if resp := s.call(t, "POST", pathOf(c.ID)+"/test", ""); resp.status != http.StatusOK {
			t.Errorf("the test with the right password answers %d: %q", resp.status, resp.start())
		}
		finish()
		s.call(t, "POST", pathOf(c.ID)+"/test", "").refuses(t, 500, json.Number("500"))
	})
	fact("a creation that its client has given up is carried out", func(t *testing.T) {
		name := s.newName()
		read, release := s.holdWrite("POST")
		ctx, giveUp := context.WithCancel(t.Context())
		givenUp := make(chan error, 1)
		go func() {
			_, err := s.tryWithin(ctx, "POST", connectionsPath, s.body("configName", name), append(s.auth(), "X-Product-Name", "conformance")...)
			givenUp <- err
		}()
		<-read
		giveUp()
		if err := <-givenUp; !errors.Is(err, context.Canceled) {
			t.Errorf("who gives up gets %v", err)
		}
		release()
		for range 1000 {
			p := s.listed(t, "?limit=100")
			if i := slices.IndexFunc(p.Items, func(c connection) bool { return c.ConfigName == name }); i >= 0 {
				s.deleteWhenDone(t, p.Items[i].ID, name)
				return
			}
		}
		t.Errorf("the connection is not created")
	})
	fact("a late change of a deleted connection does not bring it back", func(t *testing.T) {
		c := s.created(t)
		finish := late(t, "PATCH", pathOf(c.ID), `{"port": 6432}`)
		s.call(t, "DELETE", pathOf(c.ID), "")
		finish().refuses(t, 404, "FET-1001")
		s.call(t, "GET", pathOf(c.ID), "").refuses(t, 404, "FET-1001")
	})
	fact("two creations of one name", func(t *testing.T) {
		name := s.newName()
		finish := late(t, "POST", connectionsPath, s.body("configName", name))
		first := s.created(t, "configName", name)
		resp := finish()
		s.deleteAtTheEnd(t, resp)
		if s.mode() != multiTenant {
			resp.refuses(t, 409, "FET-1002")
			return
		}
		if second := resp.connection(t); resp.status != 201 || second.ConfigName != name || second.ID == first.ID {
			t.Errorf("the later POST answers %d %q, not 201 with another id", resp.status, resp.start())
		}
		same(t, "GET of the first", s.shown(t, first.ID), first)
	})
}
