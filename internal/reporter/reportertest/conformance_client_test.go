package reportertest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// connection has the fields of the object, by their documented names.
type connection struct {
	ID           string         `json:"id"`
	ProductName  string         `json:"productName"`
	ConfigName   string         `json:"configName"`
	Type         string         `json:"type"`
	Host         string         `json:"host"`
	Port         int            `json:"port"`
	DatabaseName string         `json:"databaseName"`
	Schema       *string        `json:"schema"`
	UserName     string         `json:"userName"`
	SSL          *ssl           `json:"ssl"`
	Metadata     map[string]any `json:"metadata,omitempty"`
	CreatedAt    time.Time      `json:"createdAt"`
	UpdatedAt    time.Time      `json:"updatedAt"`
}

type ssl struct {
	Mode string `json:"mode"`
}

// page is the answer of the list.
type page struct {
	Items []connection `json:"items"`
	Page  int          `json:"page"`
	Limit int          `json:"limit"`
	Total *int         `json:"total"`
}

func (p page) ids() (ids []string) {
	for _, c := range p.Items {
		ids = append(ids, c.ID)
	}
	return ids
}

const connectionsPath = "/v1/management/connections"

func pathOf(id string) string { return connectionsPath + "/" + id }

// inOrder goes through a map by its keys, so that the facts of every run come in one order.
func inOrder[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}

func (s *suite) newName() string {
	s.names++
	return fmt.Sprintf("%s%d", s.prefix, s.names)
}

// body is that of a POST under a new name, with other values for the fields that are given, in pairs of name and value. A nil
// leaves the field out.
func (s *suite) body(fields ...any) string {
	members := map[string]any{
		"configName": s.newName(), "type": "POSTGRESQL", "host": "db.example.com", "port": 5432,
		"databaseName": "ledger", "userName": "reader", "password": "not-to-be-seen",
	}
	for pair := range slices.Chunk(fields, 2) {
		members[pair[0].(string)] = pair[1]
		if pair[1] == nil {
			delete(members, pair[0].(string))
		}
	}
	body, _ := json.Marshal(members)
	return string(body)
}

// post sends a POST, and sees to it that what it creates is deleted when the test ends.
func (s *suite) post(t *testing.T, body string, header ...string) response {
	t.Helper()
	resp := s.call(t, "POST", connectionsPath, body, append([]string{"X-Product-Name", "conformance"}, header...)...)
	s.deleteAtTheEnd(t, resp)
	return resp
}

// created creates a connection, see body, and deletes it when the test ends.
func (s *suite) created(t *testing.T, fields ...any) connection {
	t.Helper()
	resp := s.post(t, s.body(fields...))
	if resp.status != 201 {
		t.Fatalf("POST of a connection to check with answers %d, not 201: %q", resp.status, resp.start())
	}
	return resp.connection(t)
}

func (s *suite) patch(t *testing.T, id, body string, header ...string) response {
	t.Helper()
	return s.call(t, "PATCH", pathOf(id), body, header...)
}

// patched sends a PATCH that must succeed.
func (s *suite) patched(t *testing.T, id, body string, header ...string) connection {
	t.Helper()
	resp := s.patch(t, id, body, header...)
	if resp.status != 200 {
		t.Fatalf("PATCH %s answers %d, not 200: %q", body, resp.status, resp.start())
	}
	return resp.connection(t)
}

// shown is what GET shows.
func (s *suite) shown(t *testing.T, id string) connection {
	t.Helper()
	resp := s.call(t, "GET", pathOf(id), "")
	if resp.status != 200 {
		t.Fatalf("GET answers %d, not 200: %q", resp.status, resp.start())
	}
	return resp.connection(t)
}

// deleteAtTheEnd also notices what could not be deleted.
func (s *suite) deleteAtTheEnd(t *testing.T, resp response) {
	t.Helper()
	if resp.status != 201 {
		return
	}
	c := resp.connection(t)
	s.deleteWhenDone(t, c.ID, c.ConfigName)
}

func (s *suite) deleteWhenDone(t *testing.T, id, configName string) {
	t.Helper()
	t.Cleanup(func() {
		s.call(t, "DELETE", pathOf(id), "")
		if resp := s.call(t, "GET", pathOf(id), ""); resp.status != 404 {
			t.Errorf("the connection %s (%s) is left behind: GET after DELETE answers %d", id, configName, resp.status)
		}
	})
}

func (s *suite) auth() []string {
	if s.token == "" {
		return nil
	}
	return []string{"Authorization", "Bearer " + s.token}
}

// call is send with the token.
func (s *suite) call(t *testing.T, method, path, body string, header ...string) response {
	t.Helper()
	return s.send(t, method, path, body, append(s.auth(), header...)...)
}

func (s *suite) send(t *testing.T, method, path, body string, header ...string) response {
	t.Helper()
	resp, err := s.try(method, path, body, header...)
	if err != nil {
		t.Fatalf("Reporter does not answer: %v", err)
	}
	return resp
}

// client follows no redirect: one would be an answer, and a wrong one.
var client = &http.Client{
	Timeout:       90 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// try waits and tries again where Reporter's rate limiter says so. Of two headers of one name the last is sent.
func (s *suite) try(method, path, body string, header ...string) (response, error) {
	return s.tryWithin(context.Background(), method, path, body, header...)
}

func (s *suite) tryWithin(ctx context.Context, method, path, body string, header ...string) (response, error) {
	for {
		req, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
		if err != nil {
			return response{}, err
		}
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		for pair := range slices.Chunk(header, 2) {
			req.Header.Set(pair[0], pair[1])
		}
		resp, err := client.Do(req)
		if err != nil {
			return response{}, err
		}
		read, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		seconds, notTold := strconv.Atoi(resp.Header.Get("Retry-After"))
		if resp.StatusCode == 429 && notTold == nil {
			<-time.After(time.Duration(seconds) * time.Second)
			continue
		}
		return response{method + " " + path, resp.StatusCode, resp.Header, read}, err
	}
}

type response struct {
	to     string
	status int
	header http.Header
	body   []byte
}

// start is enough of the body to recognise it by.
func (r response) start() string {
	return string(r.body[:min(200, len(r.body))])
}

func (r response) decode(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal(r.body, into); err != nil {
		t.Fatalf("%s answers %d with a body that is not the JSON expected: %v: %q", r.to, r.status, err, r.start())
	}
}

func (r response) connection(t *testing.T) (c connection) {
	t.Helper()
	r.decode(t, &c)
	return c
}

// members is the object as it was sent.
func (r response) members(t *testing.T) (members map[string]any) {
	t.Helper()
	r.decode(t, &members)
	return members
}

// apiError is an error of either format; Code is a string or a json.Number.
type apiError struct {
	Code    any               `json:"code"`
	Title   string            `json:"title"`
	Message string            `json:"message"`
	Detail  string            `json:"detail"`
	Status  int               `json:"status"`
	Fields  map[string]string `json:"fields"`
	Errors  []struct {
		Location string `json:"location"`
		Message  string `json:"message"`
	} `json:"errors"`
}

// names reports whether the error says something of a field.
func (e apiError) names(field string) bool {
	for _, one := range e.Errors {
		if one.Location == "body."+field && one.Message != "" {
			return true
		}
	}
	return e.Fields[field] != ""
}

// refuses checks that the response is an error of Reporter's, in one of its two formats, with that status and code, and that it
// names the fields.
func (r response) refuses(t *testing.T, status int, code any, fields ...string) (e apiError) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(r.body))
	decoder.UseNumber()
	if err := decoder.Decode(&e); err != nil || r.status != status || e.Code != code {
		t.Errorf("%s answers %d with code %#v, not %d with %#v: %q", r.to, r.status, e.Code, status, code, r.start())
		return e
	}
	text := map[string]string{"application/json": e.Message, "application/problem+json": e.Detail}
	mediaType, _, _ := mime.ParseMediaType(r.header.Get("Content-Type"))
	if e.Title == "" || text[mediaType] == "" {
		t.Errorf("%s answers an error of neither format: %s: %q", r.to, mediaType, r.start())
	}
	for _, field := range fields {
		if !e.names(field) {
			t.Errorf("%s answers an error that does not name the field %s: %q", r.to, field, r.start())
		}
	}
	return e
}

// same compares by JSON, and times in milliseconds: those of the answer to a POST or PATCH are more precise than what is stored.
func same(t *testing.T, what string, got, want connection) {
	t.Helper()
	for _, c := range []*connection{&got, &want} {
		c.CreatedAt, c.UpdatedAt = c.CreatedAt.Truncate(time.Millisecond), c.UpdatedAt.Truncate(time.Millisecond)
	}
	gotJSON, _ := json.Marshal(got)
	wantJSON, _ := json.Marshal(want)
	if !bytes.Equal(gotJSON, wantJSON) {
		t.Errorf("%s shows\n     %s\nnot  %s", what, gotJSON, wantJSON)
	}
}
