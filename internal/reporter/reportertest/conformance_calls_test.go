package reportertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// calls are those of the client that the operator speaks to Reporter with: what it makes of the answers that the other checks look at.
func (s *suite) calls(t *testing.T) {
	pool := &reporter.Pool{Network: reporter.Network{AllowLoopback: true}}
	c, err := pool.Client("conformance", reporter.Config{BaseURL: s.url, Token: s.token, Timeout: time.Minute})
	if err != nil {
		t.Fatalf("making a client: %v", err)
	}
	tenant, err := c.Login(t.Context())
	if err != nil {
		t.Fatalf("reading the tenant of the token: %v", err)
	}
	permitted := func(context.Context, reporter.Tenant) error { return nil }
	create := func(t *testing.T, c *reporter.Client, settings reporter.Settings) (created *reporter.Connection, err error) {
		t.Helper()
		err = patiently(func() error {
			created, err = c.Create(t.Context(), "conformance", settings, func(context.Context, reporter.Tenant) error { return nil })
			return err
		})
		if created != nil {
			s.deleteWhenDone(t, created.ID, created.ConfigName)
		}
		return created, err
	}
	update := func(t *testing.T, id string, settings reporter.Settings) (updated *reporter.Connection, err error) {
		t.Helper()
		err = patiently(func() error {
			updated, err = c.Update(t.Context(), id, settings, permitted)
			return err
		})
		return updated, err
	}
	get := func(t *testing.T, id string) (shown *reporter.Connection, err error) {
		t.Helper()
		err = patiently(func() error {
			shown, err = c.Get(t.Context(), id)
			return err
		})
		return shown, err
	}
	remove := func(t *testing.T, id string) error {
		t.Helper()
		return patiently(func() error { return c.Delete(t.Context(), id, permitted) })
	}
	// refused checks what an error is, that it names those fields, and that nobody thinks that it may have been carried out.
	refused := func(t *testing.T, err error, is func(error) bool, fields string) {
		t.Helper()
		var e *reporter.Error
		if !errors.As(err, &e) || !is(err) || e.Fields != fields || reporter.MayHaveActed(err) {
			t.Errorf("it gives %v", err)
		}
	}

	s.fact(t, "Check", func(t *testing.T) {
		if err := patiently(func() error { return c.Check(t.Context()) }); err != nil {
			t.Error(err)
		}
	})
	s.fact(t, "Create, and Get shows the same", func(t *testing.T) {
		settings := s.settings()
		created, err := create(t, c, settings)
		if err != nil {
			t.Fatal(err)
		}
		shown, err := get(t, created.ID)
		if err != nil || !reflect.DeepEqual(shown, created) {
			t.Errorf("Get shows\n     %+v, %v\nnot  %+v", shown, err, created)
		}
		settings.Password, settings.SSL = nil, &reporter.SSL{Mode: settings.SSL.Mode}
		if !reflect.DeepEqual(created.Settings, settings) || created.ProductName != "conformance" {
			t.Errorf("it is created as %+v", created)
		}
	})
	s.fact(t, "Create of a name that is taken", func(t *testing.T) {
		settings := s.settings()
		settings.ConfigName = new(s.created(t).ConfigName)
		_, err := create(t, c, settings)
		refused(t, err, reporter.IsNameTaken, "")
	})
	s.fact(t, "Create of what is not valid", func(t *testing.T) {
		settings := s.settings()
		settings.Host, settings.Password = nil, nil
		_, err := create(t, c, settings)
		refused(t, err, reporter.IsInvalid, "host, password")
		settings = s.settings()
		settings.SSL.CA = ""
		_, err = create(t, c, settings)
		refused(t, err, reporter.IsInvalid, "ssl.ca")
	})
	s.fact(t, "Create without a token", func(t *testing.T) {
		if s.token == "" {
			s.skip(t, "what an unknown token or none gets, as REPORTER_TOKEN is not set: no Access Manager here.")
		}
		stranger, err := pool.Client("stranger", reporter.Config{BaseURL: s.url, Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		_, err = create(t, stranger, s.settings())
		refused(t, err, reporter.IsUnauthorized, "")
	})
	s.fact(t, "Update, and Get shows the same", func(t *testing.T) {
		before, err := get(t, s.created(t, "metadata", s.mark("before")).ID)
		if err != nil {
			t.Fatal(err)
		}
		updated, err := update(t, before.ID, reporter.Settings{Port: new(int32(6432)), Password: new(reporter.NewSecret("new"))})
		if err != nil {
			t.Fatal(err)
		}
		shown, err := get(t, before.ID)
		if err != nil || !reflect.DeepEqual(shown, updated) {
			t.Errorf("Get shows\n     %+v, %v\nnot  %+v", shown, err, updated)
		}
		before.Port, before.Settings.Port, before.UpdatedAt = 6432, new(int32(6432)), updated.UpdatedAt
		if !reflect.DeepEqual(updated, before) {
			t.Errorf("it is updated to %+v\nfrom             %+v", updated, before)
		}
	})
	s.fact(t, "Update that is refused", func(t *testing.T) {
		one, other := s.created(t), s.created(t)
		_, err := update(t, one.ID, reporter.Settings{ConfigName: &other.ConfigName})
		refused(t, err, reporter.IsNameTaken, "")
		_, err = update(t, one.ID, reporter.Settings{Host: new("no host")})
		refused(t, err, reporter.IsInvalid, "host")
		_, err = update(t, uuid.NewString(), reporter.Settings{Port: new(int32(6432))})
		refused(t, err, reporter.IsNotFound, "")
	})
	s.fact(t, "Update and Delete during a job", func(t *testing.T) {
		if s.startJob == nil {
			s.skip(t, "what a running job does, as no job can be started in a Reporter from outside.")
		}
		connection := s.created(t)
		defer s.startJob(connection.ConfigName)()
		_, err := update(t, connection.ID, reporter.Settings{Metadata: map[string]json.RawMessage{}})
		refused(t, err, reporter.IsJobInProgress, "")
		refused(t, remove(t, connection.ID), reporter.IsJobInProgress, "")
	})
	s.fact(t, "Delete, and Get finds nothing", func(t *testing.T) {
		connection := s.created(t)
		if err := remove(t, connection.ID); err != nil {
			t.Error(err)
		}
		_, err := get(t, connection.ID)
		refused(t, err, reporter.IsNotFound, "")
		refused(t, remove(t, connection.ID), reporter.IsNotFound, "")
	})

	list := func(t *testing.T, query reporter.Query) (ids []string) {
		t.Helper()
		query.Tenant = tenant
		var found []*reporter.Connection
		if err := patiently(func() (err error) {
			found, err = c.List(t.Context(), query)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		for _, one := range found {
			ids = append(ids, one.ID)
		}
		slices.Sort(ids)
		return ids
	}
	s.fact(t, "List by mark", func(t *testing.T) {
		mark := s.newName()
		want := []string{s.created(t, "metadata", s.mark(mark)).ID, s.created(t, "metadata", s.mark(mark)).ID}
		s.created(t, "metadata", s.mark(mark+"-other"))
		slices.Sort(want)
		for name, since := range map[string]time.Time{"all time": {}, "since yesterday": time.Now().AddDate(0, 0, -1)} {
			query := reporter.Query{MetadataKey: "suite", MetadataValue: s.prefix + mark, Since: since}
			if got := list(t, query); !slices.Equal(got, want) {
				t.Errorf("%s: it finds %q, not %q", name, got, want)
			}
		}
		if got := list(t, reporter.Query{MetadataKey: "suite", MetadataValue: s.prefix + s.newName()}); len(got) > 0 {
			t.Errorf("by a mark that is nobody's, it finds %q", got)
		}
	})
	s.fact(t, "List by name", func(t *testing.T) {
		connection := s.created(t)
		since := time.Now().AddDate(0, 0, -1)
		if got := list(t, reporter.Query{ConfigName: connection.ConfigName, Since: since}); !slices.Equal(got, []string{connection.ID}) {
			t.Errorf("it finds %q, not %q", got, connection.ID)
		}
		if got := list(t, reporter.Query{ConfigName: s.newName(), Since: since}); len(got) > 0 {
			t.Errorf("by a name that is nobody's, it finds %q", got)
		}
	})
	s.fact(t, "List of pages of more than 64 KiB", func(t *testing.T) {
		mark := s.newName()
		metadata := map[string]any{"suite": s.prefix + mark, "note": strings.Repeat("x", 4<<10)}
		for range 21 {
			s.created(t, "metadata", metadata)
		}
		query := reporter.Query{MetadataKey: "suite", MetadataValue: s.prefix + mark, Since: time.Now().AddDate(0, 0, -1)}
		if got := list(t, query); len(got) != 21 {
			t.Errorf("it finds %d of 21 connections", len(got))
		}
	})
	s.fact(t, "Test", func(t *testing.T) {
		refused(t, c.Test(t.Context(), s.created(t, "host", "db.invalid").ID), reporter.IsDatabaseUnreachable, "")
		refused(t, c.Test(t.Context(), uuid.NewString()), reporter.IsNotFound, "")
	})
	s.fact(t, "Test that succeeds", func(t *testing.T) {
		if s.database == nil {
			s.skip(t, "what a successful test answers, as REPORTER_DATABASE_HOST, a database that Reporter can reach, is not set.")
		}
		if err := c.Test(t.Context(), s.created(t, s.database...).ID); err != nil {
			t.Error(err)
		}
	})
}

// patiently calls again as long as Reporter's rate limiter asks to wait.
func patiently(call func() error) error {
	for {
		err := call()
		if !reporter.IsRateLimited(err) || reporter.RetryAfter(err) == 0 {
			return err
		}
		<-time.After(reporter.RetryAfter(err))
	}
}

// settings are those of a connection under a new name.
func (s *suite) settings() reporter.Settings {
	return reporter.Settings{
		ConfigName: new(s.newName()), Type: new("POSTGRESQL"), Host: new("db.example.com"), Port: new(int32(5432)), DatabaseName: new("ledger"),
		Schema: new("public"), UserName: new("reader"), Password: new(reporter.NewSecret("not-to-be-seen")),
		SSL:      &reporter.SSL{Mode: "require", CA: "a CA", Certificate: "a certificate", Key: new(reporter.NewSecret("a key"))},
		Metadata: map[string]json.RawMessage{"suite": json.RawMessage(`"calls"`)},
	}
}
