package reportertest

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// answer is what Reporter says to a request: a string body is sent as plain text, nil not at all, the rest as JSON.
type answer struct {
	status int
	body   any
}

func (a answer) write(w http.ResponseWriter, problemJSON bool) {
	contentType := "application/json"
	switch body := a.body.(type) {
	case nil:
		w.WriteHeader(a.status)
		return
	case string:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, body)
		return
	case problem:
		shown := map[string]any{"code": body.code, "title": body.title, "message": body.message}
		if problemJSON {
			contentType = "application/problem+json"
			shown = map[string]any{"code": body.code, "title": body.title, "detail": body.message, "status": a.status}
		}
		a.body = shown
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.body)
}

// problem is the body of an error. Its code is a string where the API speaks ("FET-1001") and a number where the layers
// around it do: the router, limits and the test endpoint.
type problem struct {
	code           any
	title, message string
}

func (p problem) with(message string) problem {
	p.message = message
	return p
}

// The texts of FET-0404, FET-1001 and FET-1021 are those of the vendor's API reference.
var (
	badRequest = problem{"FET-0001", "Bad Request",
		"The request has invalid values. Please check them and try again."}
	unavailable = problem{"FET-0003", "Service Unavailable",
		"The service is temporarily unavailable. Please try again later."}
	missingFields = problem{"FET-0402", "Missing Fields in Request",
		"One or more required fields are missing."}
	invalidHeader = problem{"FET-0403", "Invalid Header Parameter",
		"Header X-Product-Name is required: 1 to 100 letters, digits, underscores and hyphens."}
	invalidPath = problem{"FET-0404", "Invalid Path Parameter",
		"Path parameters is in an incorrect format. Please check the following parameter 'id' and ensure they meet " +
			"the required format before trying again."}
	invalidQuery = problem{"FET-0405", "Invalid Query Parameter",
		"Query parameters are in an incorrect format."}
	limitExceeded = problem{"FET-0406", "Pagination Limit Exceeded",
		"The limit exceeds the maximum of 100 items."}
	invalidSortOrder = problem{"FET-0407", "Invalid Sort Order",
		"The sortOrder must be 'asc' or 'desc'."}
	invalidDate = problem{"FET-0408", "Invalid Date Format",
		"Dates must be written as yyyy-mm-dd."}
	invalidFinalDate = problem{"FET-0409", "Invalid Final Date",
		"The startDate must not be after the endDate."}
	entityNotFound = problem{"FET-1001", "Entity Not Found",
		"It was not possible to find the connection entity during the requested flow. Please review the data provided " +
			"in the request."}
	nameTaken = problem{"FET-1002", "Entity Conflict",
		"A connection with this configName exists already."}
	jobInProgress = problem{"FET-1021", "Job In Progress",
		"The operation cannot be completed because there are active jobs for this connection."}

	noRoute        = problem{404, "request_failed", "Cannot find what was requested."}
	noMethod       = problem{405, "request_failed", "Method Not Allowed"}
	tooMany        = problem{429, "rate_limit_exceeded", "rate limit exceeded"}
	tooManyTests   = problem{429, "request_failed", "Too many tests of this connection. Please try again later."}
	noTestDatabase = problem{500, "request_failed", "The database of this connection cannot be reached."}
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
	return r.answer(req), header, r.problemJSON
}

func (r *Reporter) answer(req *http.Request) answer {
	var endpoint func(tenant string, req *http.Request) answer
	pattern, id := match(req.URL.Path)
	switch req.Method + " " + pattern {
	case "GET /health":
		return answer{200, "healthy"}
	case "GET /readyz":
		return r.readiness()
	case "GET /version":
		return answer{200, map[string]any{"version": "reportertest", "requestDate": r.now()}}
	case "GET " + connectionsPath:
		endpoint = r.list
	case "POST " + connectionsPath:
		endpoint = r.create
	case "GET " + connectionPath:
		endpoint = r.on(id, show)
	case "PATCH " + connectionPath:
		endpoint = r.on(id, r.update)
	case "DELETE " + connectionPath:
		endpoint = r.on(id, r.remove)
	case "POST " + testPath:
		endpoint = r.on(id, r.test)
	default:
		if pattern == "" {
			return answer{404, noRoute}
		}
		return answer{405, noMethod}
	}

	tenant, refusal := r.authenticate(req)
	if refusal != nil {
		return *refusal
	}
	if r.databaseDown {
		return answer{503, unavailable}
	}
	return endpoint(tenant, req)
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
		canonical := resolve(id)
		if canonical == "" {
			return answer{400, invalidPath}
		}
		c := r.connections[canonical]
		if c == nil || c.deleted || c.Tenant != tenant {
			return answer{404, entityNotFound}
		}
		return endpoint(c, req)
	}
}

func show(c *record, _ *http.Request) answer {
	return answer{200, c.Connection}
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
	if strings.HasSuffix(c.Host, ".invalid") {
		return answer{500, noTestDatabase}
	}
	return answer{200, map[string]any{"status": "success", "message": "Connection successful", "latencyMs": 1}}
}

// input is the body of POST and PATCH. Password and TLS material are accepted and forgotten.
type input struct {
	ConfigName   *string
	Type         *string
	Host         *string
	Port         *int
	DatabaseName *string
	Schema       *string
	UserName     *string
	Password     *string
	SSL          *SSL
	Metadata     map[string]any
}

var (
	productNames = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)
	configNames  = regexp.MustCompile(`^[A-Za-z0-9_-]{3,100}$`)
	types        = []string{"ORACLE", "SQL_SERVER", "POSTGRESQL", "MONGODB", "MYSQL"}
)

// missing names the first field that POST asks for and did not get, "" if none.
func (in input) missing() string {
	required := []struct {
		field string
		value *string
	}{
		{"configName", in.ConfigName}, {"type", in.Type}, {"host", in.Host}, {"databaseName", in.DatabaseName},
		{"userName", in.UserName}, {"password", in.Password},
	}
	for _, r := range required {
		if r.value == nil || *r.value == "" {
			return r.field
		}
	}
	if in.Port == nil {
		return "port"
	}
	return ""
}

// invalid names the first field whose value cannot be, "" if none.
func (in input) invalid() string {
	switch {
	case in.ConfigName != nil && !configNames.MatchString(*in.ConfigName):
		return "configName"
	case in.Type != nil && !slices.Contains(types, *in.Type):
		return "type"
	case in.Port != nil && (*in.Port < 1 || *in.Port > 65535):
		return "port"
	}
	return ""
}

func (in input) applyTo(c *Connection) {
	set(&c.ConfigName, in.ConfigName)
	set(&c.Type, in.Type)
	set(&c.Host, in.Host)
	set(&c.Port, in.Port)
	set(&c.DatabaseName, in.DatabaseName)
	set(&c.Schema, in.Schema)
	set(&c.UserName, in.UserName)
	if in.SSL != nil {
		c.SSL = in.SSL
	}
	if in.Metadata != nil {
		c.Metadata = in.Metadata
	}
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

func (r *Reporter) create(tenant string, req *http.Request) answer {
	product := req.Header.Get("X-Product-Name")
	if !productNames.MatchString(product) {
		return answer{400, invalidHeader}
	}
	var in input
	if err := json.NewDecoder(req.Body).Decode(&in); err != nil {
		return answer{400, badRequest.with("The body is not the JSON that was expected.")}
	}
	if field := in.missing(); field != "" {
		return answer{400, missingFields.with("The required field " + field + " is missing.")}
	}
	if field := in.invalid(); field != "" {
		return answer{400, badRequest.with("The field " + field + " has an invalid value.")}
	}
	if r.names[name{tenant, *in.ConfigName}] != nil {
		return answer{409, nameTaken}
	}

	now := r.now()
	created := &record{Connection: Connection{
		ID:          newID(now),
		ProductName: strings.ToLower(product),
		CreatedAt:   now,
		UpdatedAt:   now,
		Tenant:      tenant,
	}}
	in.applyTo(&created.Connection)
	r.store(created)
	return answer{201, created.Connection}
}

func (r *Reporter) update(c *record, req *http.Request) answer {
	var in input
	if err := json.NewDecoder(req.Body).Decode(&in); err != nil {
		return answer{400, badRequest.with("The body is not the JSON that was expected.")}
	}
	if field := in.invalid(); field != "" {
		return answer{400, badRequest.with("The field " + field + " has an invalid value.")}
	}
	changed := c.Connection
	in.applyTo(&changed)
	changed.UpdatedAt = r.now()
	owner := r.names[name{c.Tenant, changed.ConfigName}]
	switch {
	case c.internal:
		return answer{404, entityNotFound}
	case r.jobs[c.name()] > 0:
		return answer{409, jobInProgress}
	case owner != nil && owner != c:
		return answer{409, nameTaken}
	}
	delete(r.names, c.name())
	c.Connection = changed
	r.store(c)
	return answer{200, c.Connection}
}
