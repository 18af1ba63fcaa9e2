package reportertest

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
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
	case interface {
		shown(status int, problemJSON bool) map[string]any
	}:
		if problemJSON {
			contentType = "application/problem+json"
		}
		a.body = body.shown(a.status, problemJSON)
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

func (p problem) shown(status int, problemJSON bool) map[string]any {
	if problemJSON {
		return map[string]any{"code": p.code, "title": p.title, "detail": p.message, "status": status}
	}
	return map[string]any{"code": p.code, "title": p.title, "message": p.message}
}

// fieldProblem is an error that says what is wrong with which fields of the body. The newer format lists them as errors, each
// with its location.
type fieldProblem struct {
	problem
	fields map[string]string
}

func (p fieldProblem) shown(status int, problemJSON bool) map[string]any {
	shown := p.problem.shown(status, problemJSON)
	if !problemJSON {
		shown["fields"] = p.fields
		return shown
	}
	list := []map[string]string{}
	for _, field := range slices.Sorted(maps.Keys(p.fields)) {
		list = append(list, map[string]string{"location": "body." + field, "message": p.fields[field]})
	}
	shown["errors"] = list
	return shown
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
	forbiddenHost = problem{"FET-0414", "Forbidden Host",
		"Host is not a valid external database endpoint"}
	entityNotFound = problem{"FET-1001", "Entity Not Found",
		"It was not possible to find the connection entity during the requested flow. Please review the data provided " +
			"in the request."}
	nameTaken = problem{"FET-1002", "Entity Conflict",
		"A connection with this configName exists already."}
	jobInProgress = problem{"FET-1021", "Job In Progress",
		"The operation cannot be completed because there are active jobs for this connection."}
	schemaInvalid = problem{"FET-1060", "Schema Validation Failed",
		"The schema of the data source could not be read."}
	noConnections = problem{"FET-1062", "No Connections Found",
		"No connections configured for the requested datasources"}

	noRoute        = problem{404, "request_failed", "Cannot find what was requested."}
	noMethod       = problem{405, "request_failed", "Method Not Allowed"}
	tooMany        = problem{429, "rate_limit_exceeded", "rate limit exceeded"}
	tooManyTests   = problem{429, "request_failed", "Too many tests of this connection. Please try again later."}
	noTestDatabase = problem{500, "request_failed", "The database of this connection cannot be reached."}
)
