package reportertest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// ServeHTTP notes the request, lets a fault have it if one was injected for it, and answers it otherwise.
func (r *Reporter) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.serve(w, req, r.now(), r.act)
}

// act carries the request out and writes Reporter's own answer.
func (r *Reporter) act(w http.ResponseWriter, req *http.Request) {
	a, header, problemJSON := r.carryOut(req)
	maps.Copy(w.Header(), header)
	a.write(w, problemJSON)
}

const (
	connectionsPath = "/v1/management/connections"
	connectionPath  = connectionsPath + "/{id}"
	testPath        = connectionPath + "/test"
	validatePath    = connectionsPath + "/validate-schema"
)

// match returns the pattern of the path, "" if Reporter serves no such path, and the id in it. By hand, as http.ServeMux
// would clean a path like //v1/management/connections with a redirect, where Reporter finds nothing.
func match(path string) (pattern, id string) {
	if isProbe(path) || path == connectionsPath {
		return path, ""
	}
	rest, found := strings.CutPrefix(path, connectionsPath+"/")
	id, isTest := strings.CutSuffix(rest, "/test")
	switch {
	case !found || id == "" || strings.Contains(id, "/"):
		return "", ""
	case isTest:
		return testPath, id
	}
	return connectionPath, id
}

func isProbe(path string) bool { return path == "/health" || path == "/readyz" || path == "/version" }

// carryOut does what is asked for and returns Reporter's answer, the headers to send with it, and which format an error is to have.
func (r *Reporter) carryOut(req *http.Request) (a answer, header http.Header, problemJSON bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limiter != nil && !isProbe(req.URL.Path) {
		var exceeded bool
		if header, exceeded = r.limiter.take(r.now()); exceeded {
			return answer{429, tooMany}, header, r.problemJSON
		}
	}
	a, write := r.answer(req)
	if write != nil {
		r.between(req)
		a = write()
	}
	return a, header, r.problemJSON
}

// write is what a request does after it has read and checked. It returns the answer.
type write func() answer

// between lets others in, if a fault says so, between what a request has read and what it writes.
func (r *Reporter) between(req *http.Request) {
	if wait, injected := req.Context().Value(betweenReadAndWrite{}).(func()); injected {
		r.mu.Unlock()
		defer r.mu.Lock()
		wait()
	}
}

// answer returns the answer, or in its place what is still to be written.
func (r *Reporter) answer(req *http.Request) (answer, write) {
	var endpoint func(tenant string, req *http.Request) (answer, write)
	pattern, id := match(req.URL.Path)
	if req.Method == http.MethodPost && req.URL.Path == validatePath {
		pattern = validatePath // for other methods it is a connection of an odd id
	}
	switch req.Method + " " + pattern {
	case "GET /health":
		return answer{200, "healthy"}, nil
	case "GET /readyz":
		return r.readiness(), nil
	case "GET /version":
		return answer{200, map[string]any{"version": "reportertest", "requestDate": r.now()}}, nil
	case "GET " + connectionsPath:
		endpoint = reading(r.list)
	case "POST " + connectionsPath:
		endpoint = r.create
	case "GET " + connectionPath:
		endpoint = reading(r.on(id, show))
	case "PATCH " + connectionPath:
		endpoint = r.update(id)
	case "DELETE " + connectionPath:
		endpoint = reading(r.on(id, r.remove))
	case "POST " + testPath:
		endpoint = reading(r.on(id, r.test))
	case "POST " + validatePath:
		endpoint = reading(r.validateSchema)
	default:
		if pattern == "" {
			return answer{404, noRoute}, nil
		}
		return answer{405, noMethod}, nil
	}

	tenant, refusal := r.authenticate(req)
	if refusal != nil {
		return *refusal, nil
	}
	if r.databaseDown {
		return answer{503, unavailable}, nil
	}
	return endpoint(tenant, req)
}

// reading makes an endpoint of what has nothing to write after its answer is known.
func reading(endpoint func(string, *http.Request) answer) func(string, *http.Request) (answer, write) {
	return func(tenant string, req *http.Request) (answer, write) { return endpoint(tenant, req), nil }
}

func (r *Reporter) readiness() answer {
	status, overall, database := 200, "healthy", "up"
	if r.databaseDown {
		status, overall, database = 503, "unhealthy", "down"
	}
	return answer{status, map[string]any{
		"status": overall,
		"checks": map[string]any{"mongodb": map[string]any{"status": database}},
	}}
}

// authenticate returns the tenant of the request's token, or the answer to a request without one. The real service has
// room for about 4 KiB of header, in front of everything else.
func (r *Reporter) authenticate(req *http.Request) (tenant string, refusal *answer) {
	header := req.Header.Get("Authorization")
	if len(header) > 4<<10 {
		return "", &answer{431, "Request Header Fields Too Large"}
	}
	if r.grants == nil {
		return "", nil
	}
	token, _ := strings.CutPrefix(header, "Bearer ")
	if token == "" {
		return "", &answer{401, "Missing Token"}
	}
	granted, known := r.grants[token]
	if !known || !granted.ends.IsZero() && !r.now().Before(granted.ends) {
		return "", &answer{401, "Unauthorized"}
	}
	return granted.tenant, nil
}

// on finds the connection that an endpoint is about. Another tenant's is as absent as a deleted one.
func (r *Reporter) on(id string, endpoint func(*record, *http.Request) answer) func(string, *http.Request) answer {
	return func(tenant string, req *http.Request) answer {
		if resolve(id) == "" {
			return answer{400, invalidPath}
		}
		c := r.find(tenant, id)
		if c == nil {
			return answer{404, entityNotFound}
		}
		return endpoint(c, req)
	}
}

func (r *Reporter) find(tenant, id string) *record {
	c := r.connections[resolve(id)]
	if c == nil || c.deleted || c.Tenant != tenant {
		return nil
	}
	return c
}

func show(c *record, _ *http.Request) answer {
	return answer{200, c.shown(false)}
}

func (r *Reporter) remove(c *record, _ *http.Request) answer {
	switch {
	case c.internal:
		return answer{404, entityNotFound}
	case r.jobs[c.name()] > 0:
		return answer{409, jobInProgress}
	}
	r.delete(c)
	return answer{204, nil}
}

// test is limited to ten a minute for each connection; that ten in a row pass was observed, the minute is a guess.
func (r *Reporter) test(c *record, _ *http.Request) answer {
	now := r.now()
	c.tested = slices.DeleteFunc(c.tested, func(t time.Time) bool { return now.Sub(t) >= time.Minute })
	if len(c.tested) >= 10 {
		return answer{429, tooManyTests}
	}
	c.tested = append(c.tested, now)
	switch {
	case r.multiTenant && c.Host == "localhost":
		return answer{400, forbiddenHost}
	case !r.reaches(c):
		return answer{500, noTestDatabase}
	}
	return answer{200, map[string]any{"status": "success", "message": "Connection successful", "latencyMs": 1}}
}

// reaches reports whether the database of a connection can be reached, and takes the password.
func (r *Reporter) reaches(c *record) bool {
	wanted, known := r.passwords[c.Host]
	return !strings.HasSuffix(c.Host, ".invalid") && (c.internal || c.password != "") && (!known || c.password == wanted)
}

// validateSchema says whether there is a connection of one of the names, whatever its age.
func (r *Reporter) validateSchema(tenant string, req *http.Request) answer {
	var in struct{ MappedFields map[string]any }
	if err := json.NewDecoder(req.Body).Decode(&in); err != nil {
		return answer{400, badRequest.with("unable to parse request body")}
	}
	if len(in.MappedFields) == 0 {
		return answer{400, fieldProblem{missingFields, map[string]string{"mappedFields": "mappedFields is a required field"}}}
	}
	var found []*record
	for configName := range in.MappedFields {
		found = append(found, r.names[name{tenant, configName}]...)
	}
	switch {
	case len(found) == 0:
		return answer{400, noConnections}
	case len(found) < len(in.MappedFields) || !slices.ContainsFunc(found, r.reaches):
		return answer{422, schemaInvalid}
	}
	return answer{200, map[string]any{"status": "success", "message": "Schema validation successful"}}
}
