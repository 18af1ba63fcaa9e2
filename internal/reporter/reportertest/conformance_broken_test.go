package reportertest_test

import (
	"bytes"
	"cmp"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// runConformance runs TestConformance in a process of its own, against a URL, and returns what it prints.
func runConformance(t *testing.T, url, token string) (output string, passed bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestConformance$", "-test.v")
	cmd.Env = append(os.Environ(), "REPORTER_URL="+url, "REPORTER_TOKEN="+token, "REPORTER_OTHER_TOKEN=")
	printed, err := cmd.CombinedOutput()
	return string(printed), err == nil
}

func TestAgainstURL(t *testing.T) {
	for _, mode := range []string{single, auth, multiTenant} {
		t.Run(mode, func(t *testing.T) {
			reporter, at := embedded(t, mode)
			reporter.Inject(reportertest.Fault{Times: 2, Do: reportertest.Answer(429, http.Header{"Retry-After": {"0"}}, "")})
			output, passed := runConformance(t, at.url+"/", at.token)
			if !passed {
				t.Errorf("the suite fails against the Reporter of this package:\n%s", output)
			}
			skipped := []string{
				"Jobs/DELETE waits: what a running job does, as no job can be started in a Reporter from outside.",
				"Races/two creations of one name: what requests do that overlap, as no request can be stopped half-way in a Reporter from outside.",
				"Test/success: what a successful test answers, as REPORTER_DATABASE_HOST, a database that Reporter can reach, is not set.",
				"Tenants/another tenant finds nothing: that tenants do not see each other's connections, as REPORTER_OTHER_TOKEN, a token of another tenant, is not set.",
			}
			if mode == single {
				skipped = append(skipped, "Tokens/none: what an unknown token or none gets, as REPORTER_TOKEN is not set: no Access Manager here.")
			}
			if mode != multiTenant {
				skipped = append(skipped, "Internal/on no other page: what internal connections look like, as they are listed in multi-tenant mode alone.")
			}
			for _, check := range skipped {
				if !slices.Contains(rows(output, "skipped"), check) {
					t.Errorf("the suite does not say that it skipped %q:\n%s", check, output)
				}
			}
			if failed, all := rows(output, "FAILED"), rows(output, "passed"); len(failed) > 0 || len(all) < 140 {
				t.Errorf("the table shows %d checks that failed, and %d that passed", len(failed), len(all))
			}
			if !strings.Contains(output, ", "+mode+": ") {
				t.Errorf("the suite does not say that it has checked %s:\n%s", mode, output)
			}
			if left := reporter.Connections(); len(left) > 0 {
				t.Errorf("the suite left %d connections behind", len(left))
			}
		})
	}
}

// rewrite changes answers, one at a time.
func rewrite(rewrite func(*httptest.ResponseRecorder)) reportertest.Behaviour {
	var mu sync.Mutex
	return func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
		answer := httptest.NewRecorder()
		act(answer, req)
		mu.Lock()
		rewrite(answer)
		mu.Unlock()
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = answer.Body.WriteTo(w)
	}
}

func replace(what, with string) reportertest.Behaviour {
	return rewrite(func(answer *httptest.ResponseRecorder) {
		answer.Body = bytes.NewBufferString(strings.ReplaceAll(answer.Body.String(), what, with))
	})
}

// replaceInBody changes what the server reads.
func replaceInBody(what, with string) reportertest.Behaviour {
	return func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
		body, _ := io.ReadAll(req.Body)
		req.Body = io.NopCloser(strings.NewReader(strings.ReplaceAll(string(body), what, with)))
		act(w, req)
	}
}

// changeQuery changes what the server is asked for.
func changeQuery(change func(url.Values)) reportertest.Behaviour {
	return func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
		query := req.URL.Query()
		change(query)
		req.URL.RawQuery = query.Encode()
		act(w, req)
	}
}

func onPath(suffix string) func(*http.Request) bool {
	return func(req *http.Request) bool { return strings.HasSuffix(req.URL.Path, suffix) }
}

// replay answers a key that was seen before with the answer of then.
func replay() reportertest.Behaviour {
	var mu sync.Mutex
	answers := map[string]*httptest.ResponseRecorder{}
	return func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
		mu.Lock()
		defer mu.Unlock()
		key := req.Header.Get("Idempotency-Key")
		if answers[key] == nil {
			answers[key] = httptest.NewRecorder()
			act(answers[key], req)
		}
		w.WriteHeader(answers[key].Code)
		_, _ = w.Write(answers[key].Body.Bytes())
	}
}

// A suite that passes everything proves nothing: each of these Reporters is wrong in one point, and fails exactly the checks that
// are about that point.
func TestAgainstBrokenReporters(t *testing.T) {
	for name, broken := range map[string]struct {
		fault reportertest.Fault
		fails []string
	}{
		"is not ready": {
			reportertest.Fault{Match: onPath("/readyz"), Do: reportertest.Answer(503, nil, `{"checks": {"mongodb": {}}}`)},
			[]string{"Probes/readyz needs no token"},
		},
		"shows the password": {
			reportertest.Fault{Do: replace(`"userName":"reader"`, `"userName":"reader","password":"not-to-be-seen"`)},
			[]string{"Create/secrets never come back", "Create/what is optional and not set is absent"},
		},
		"shows the CA": {
			reportertest.Fault{Method: "GET", Do: replace(`"mode":"require"`, `"mode":"require","ca":"not-to-be-seen"`)},
			[]string{"Create/secrets never come back"},
		},
		"shows empty metadata": {
			reportertest.Fault{Method: "GET", Do: replace(`Z"}`, `Z","metadata":{}}`)},
			[]string{"Create/empty metadata is absent when read", "Create/what is optional and not set is absent", "Update/empty metadata clears it"},
		},
		"says where it is": {
			reportertest.Fault{Method: "POST", Do: rewrite(func(answer *httptest.ResponseRecorder) {
				answer.Header().Set("Location", "/v1/management/connections/x")
			})},
			[]string{"Create/no Location, no ETag"},
		},
		"answers a POST with times in milliseconds": {
			reportertest.Fault{Method: "POST", Do: rewrite(func(answer *httptest.ResponseRecorder) {
				answer.Body = bytes.NewBuffer(regexp.MustCompile(`(\.\d{3})\d+Z`).ReplaceAll(answer.Body.Bytes(), []byte("${1}Z")))
			})},
			[]string{"Create/times in nanoseconds, and in milliseconds when read"},
		},
		"keeps the case of a product": {
			reportertest.Fault{Method: "POST", Do: replace(`"productName":"pp`, `"productName":"PP`)},
			[]string{"Create/a product of 1 to 100 letters, lower-cased"},
		},
		"takes the product of the body": {
			reportertest.Fault{Method: "POST", Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
				body, _ := io.ReadAll(req.Body)
				if strings.Contains(string(body), `"productName":"another"`) {
					req.Header.Set("X-Product-Name", "another")
				}
				req.Body = io.NopCloser(bytes.NewReader(body))
				act(w, req)
			}},
			[]string{"Create/unknown members, id and productName are ignored"},
		},
		"knows idempotency": {
			reportertest.Fault{Match: func(req *http.Request) bool { return req.Header.Get("Idempotency-Key") != "" }, Do: replay()},
			[]string{"Create/Idempotency-Key is ignored"},
		},
		"trims nothing": {
			reportertest.Fault{
				Match: func(req *http.Request) bool {
					body, _ := io.ReadAll(req.Body)
					return regexp.MustCompile(`:\s*" `).Match(body)
				},
				Do: reportertest.ErrorAnswer(400, "FET-0001", "Bad Request", "white space"),
			},
			[]string{"Create/outer white space of texts is trimmed", "Names/taken, but for white space", "Update/outer white space of texts is trimmed"},
		},
		"asks for no product": {
			reportertest.Fault{Method: "POST", Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
				req.Header.Set("X-Product-Name", cmp.Or(strings.TrimSpace(req.Header.Get("X-Product-Name")), "some"))
				act(w, req)
			}},
			[]string{"CreateRefusals/a blank product", "CreateRefusals/no product"},
		},
		"takes nothing for missing fields": {
			reportertest.Fault{Method: "POST", Do: rewrite(func(answer *httptest.ResponseRecorder) {
				answer.Body = bytes.NewBufferString(strings.Replace(answer.Body.String(), `"code":"FET-0001","message":"empty`, `"code":"FET-0402","message":"empty`, 1))
			})},
			[]string{"CreateRefusals/an empty object", "CreateRefusals/nothing", "CreateRefusals/only unknown members"},
		},
		"does not say which field": {
			reportertest.Fault{Method: "PATCH", Do: replace(`"fields"`, `"errors_by_field"`)},
			[]string{
				"Calls/Update that is refused", "Update/ssl is replaced whole", "UpdateRefusals/a name with a dot", "UpdateRefusals/a port above 65535", "UpdateRefusals/an odd host",
				"UpdateRefusals/an odd type", "UpdateRefusals/ssl of a mode of another type", "UpdateRefusals/the form, then the absence, then the values",
				"UpdateRefusals/the values before the name",
			},
		},
		"asks for no ca": {
			reportertest.Fault{Method: "POST", Do: replaceInBody(`"ssl":{"mode":"require"}`, `"ssl":{"mode":"require","ca":"a CA"}`)},
			[]string{"CreateRefusals/ssl without a ca"},
		},
		"takes the same name in another case": {
			reportertest.Fault{Method: "POST", Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
				body, _ := io.ReadAll(req.Body)
				req.Body = io.NopCloser(bytes.NewReader(bytes.ReplaceAll(body, []byte("CONFORMANCE-"), []byte("conformance-"))))
				if bytes.Contains(body, []byte("CONFORMANCE-")) {
					reportertest.ErrorAnswer(409, "FET-1002", "Conflict", "The name is taken.")(w, req, act)
					return
				}
				act(w, req)
			}},
			[]string{"Names/case matters"},
		},
		"says whose a name is": {
			reportertest.Fault{Method: "POST", Do: func() reportertest.Behaviour {
				var last string
				return rewrite(func(answer *httptest.ResponseRecorder) {
					if id := regexp.MustCompile(`"id":"([^"]*)"`).FindStringSubmatch(answer.Body.String()); id != nil {
						last = id[1]
					}
					if answer.Code == 409 {
						answer.Body = bytes.NewBufferString(strings.Replace(answer.Body.String(), `"message":"`, `"message":"`+last, 1))
					}
				})
			}()},
			[]string{"Names/taken"},
		},
		"leaves the message out": {
			reportertest.Fault{Method: "POST", Do: replace(`"message":"A connection`, `"text":"A connection`)},
			[]string{"Names/taken", "Names/taken, but for white space", "Names/taken, for another product", "Names/ten at the same time"},
		},
		"answers 200 to a deletion": {
			reportertest.Fault{Method: "DELETE", Do: rewrite(func(answer *httptest.ResponseRecorder) {
				if answer.Code == 204 {
					answer.Code = 200
				}
			})},
			[]string{
				"Calls/Delete, and Get finds nothing", "Delete/a bare 204", "SloppyIDs/braces", "SloppyIDs/no dashes", "SloppyIDs/stray characters",
				"SloppyIDs/upper case", "SloppyIDs/urn",
			},
		},
		"gives a bare 204 a type": {
			reportertest.Fault{Method: "DELETE", Do: rewrite(func(answer *httptest.ResponseRecorder) {
				answer.Header().Set("Content-Type", "application/json")
			})},
			[]string{"Delete/a bare 204"},
		},
		"writes the router's code as a string": {
			reportertest.Fault{Method: "GET", Do: replace(`"code":404`, `"code":"404"`)},
			[]string{"WrongPaths/GET another thing", "WrongPaths/GET another version", "WrongPaths/GET two slashes"},
		},
		"takes malformed ids for absent ones": {
			reportertest.Fault{Method: "DELETE", Do: replace(`FET-0404`, `FET-1001`)},
			[]string{"MalformedIDs/DELETE long", "MalformedIDs/DELETE number", "MalformedIDs/DELETE odd letter", "MalformedIDs/DELETE short", "MalformedIDs/DELETE word"},
		},
		"cleans paths": {
			reportertest.Fault{
				Match: func(req *http.Request) bool { return strings.HasPrefix(req.URL.Path, "//") },
				Do:    reportertest.Redirect(307, "/v1/management/connections"),
			},
			[]string{"WrongPaths/DELETE two slashes", "WrongPaths/GET two slashes"},
		},
		"takes null for a removal": {
			reportertest.Fault{Method: "PATCH", Do: replaceInBody(`"metadata": null`, `"metadata": {}`)},
			[]string{"Update/null is not given"},
		},
		"takes an empty schema for none": {
			reportertest.Fault{Method: "GET", Do: replace(`,"schema":""`, ``)},
			[]string{"Update/an empty schema is stored and shown"},
		},
		"merges metadata": {
			reportertest.Fault{Method: "PATCH", Do: replaceInBody(`"metadata": {"owner"`, `"metadata": {"team": "billing", "owner"`)},
			[]string{"Update/metadata is replaced whole"},
		},
		"clears no metadata": {
			reportertest.Fault{Method: "PATCH", Do: replaceInBody(`{"metadata": {}}`, `{"metadata": null, "port": 5432}`)},
			[]string{"Update/empty metadata clears it"},
		},
		"keeps the ca": {
			reportertest.Fault{Method: "PATCH", Do: replaceInBody(`"mode": "verify-full"}`, `"mode": "verify-full", "ca": "a CA"}`)},
			[]string{"Update/ssl is replaced whole"},
		},
		"refuses ssl without a mode": {
			reportertest.Fault{Method: "PATCH", Do: replaceInBody(`"ssl": {"ca": "another CA"}`, `"ssl": {"ca": "another CA", "mode": ""}`)},
			[]string{"Update/ssl without a mode is ignored"},
		},
		"looks for a connection first": {
			reportertest.Fault{Method: "PATCH", Do: rewrite(func(answer *httptest.ResponseRecorder) {
				if strings.Contains(answer.Body.String(), "empty request body") {
					answer.Code = 404
				}
			})},
			[]string{
				"UpdateRefusals/an empty object", "UpdateRefusals/nothing", "UpdateRefusals/only nulls", "UpdateRefusals/only unknown members",
				"UpdateRefusals/the form, then the absence, then the values",
			},
		},
		"heeds If-Match": {
			reportertest.Fault{Match: func(req *http.Request) bool { return req.Header.Get("If-Match") != "" }, Do: reportertest.Answer(412, nil, "")},
			[]string{"Update/If-Match is ignored"},
		},
		"lists more than asked for": {
			reportertest.Fault{Do: replace(`"limit":10,`, `"limit":50,`)},
			[]string{"List/ten on page 1 by default"},
		},
		"lists less than asked for": {
			reportertest.Fault{Do: replace(`"limit":20,`, `"limit":10,`)},
			[]string{"Calls/List by mark", "Calls/List by name", "Calls/List of pages of more than 64 KiB"},
		},
		"lists the oldest first": {
			reportertest.Fault{Method: "GET", Do: changeQuery(func(query url.Values) { query.Set("sortOrder", cmp.Or(query.Get("sortOrder"), "asc")) })},
			[]string{"List/by createdAt, in either order"},
		},
		"filters by the host": {
			reportertest.Fault{Match: func(req *http.Request) bool { return req.URL.Query().Get("host") != "" },
				Do: reportertest.Answer(200, nil, `{"items": [], "page": 1, "limit": 100, "total": 0}`)},
			[]string{"ListFilters/host filters nothing"},
		},
		"filters by no metadata": {
			reportertest.Fault{Method: "GET", Do: changeQuery(func(query url.Values) {
				maps.DeleteFunc(query, func(key string, _ []string) bool { return strings.HasPrefix(key, "metadata.") })
			})},
			[]string{
				"ListFilters/a dot in a name is not found", "ListFilters/a dot leads into an object", "ListFilters/booleans are not found", "ListFilters/metadata",
				"ListFilters/metadata is case-sensitive", "ListFilters/metadata is exact", "ListFilters/numbers are not found", "ListFilters/what is not there is not found",
			},
		},
		"lists whatever the dates": {
			reportertest.Fault{Method: "GET", Do: changeQuery(func(query url.Values) {
				query.Del("startDate")
				query.Del("endDate")
			})},
			[]string{
				"ListWindows/a long one is cut to the month before its end", "ListWindows/a past one", "ListWindows/a start after the end",
				"ListWindows/an end alone is without its day", "ListWindows/an odd date", "ListWindows/one to come",
				"ListWindows/the end's day is left out", "ListWindows/the start of the day before is another",
			},
		},
		"includes the end": {
			reportertest.Fault{Method: "GET", Do: changeQuery(func(query url.Values) {
				end, err := time.Parse(time.DateOnly, query.Get("endDate"))
				if err == nil && query.Get("startDate") != query.Get("endDate") {
					query.Set("endDate", end.AddDate(0, 0, 1).Format(time.DateOnly))
				}
			})},
			[]string{"ListWindows/a start after the end", "ListWindows/an end alone is without its day", "ListWindows/the end's day is left out"},
		},
		"always tests successfully": {
			reportertest.Fault{Match: onPath("/test"), Do: reportertest.Answer(200, nil, `{"status": "success", "message": "Connection successful", "latencyMs": 1}`)},
			[]string{
				"Calls/Test", "Delete/is final", "Test/429 with a number and no Retry-After from the eleventh on",
				"Test/500 with a number for a database that cannot be reached", "Test/none",
			},
		},
		"writes the code of a test as a string": {
			reportertest.Fault{Match: onPath("/test"), Do: replace(`"code":500`, `"code":"500"`)},
			[]string{"Calls/Test", "Test/429 with a number and no Retry-After from the eleventh on", "Test/500 with a number for a database that cannot be reached"},
		},
		"tests as often as it is asked": {
			reportertest.Fault{Match: onPath("/test"), Do: rewrite(func(answer *httptest.ResponseRecorder) {
				if answer.Code == 429 {
					answer.Code = 500
				}
			})},
			[]string{"Test/429 with a number and no Retry-After from the eleventh on"},
		},
		"does not look for names": {
			reportertest.Fault{Match: onPath("/validate-schema"), Do: reportertest.Answer(200, nil, `{"status": "success"}`)},
			[]string{"ValidateSchema/an unknown name", "ValidateSchema/the name of a deleted one"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each is a process of its own
			reporter, at := embedded(t, single)
			reporter.Inject(broken.fault)
			failsExactly(t, at, broken.fails)
		})
	}
}

func TestAgainstBrokenMultiTenantReporters(t *testing.T) {
	for name, broken := range map[string]struct {
		breakIt func(*reportertest.Reporter)
		fails   []string
	}{
		"lists the internal connections on every page": {
			func(reporter *reportertest.Reporter) {
				reporter.Inject(reportertest.Fault{Method: "GET", Do: changeQuery(func(query url.Values) { query.Del("page") })})
			},
			[]string{"Calls/List of pages of more than 64 KiB", "Internal/on no other page", "List/pages"},
		},
		"lists the internal connections by their dates": {
			func(reporter *reportertest.Reporter) {
				reporter.Inject(reportertest.Fault{Match: func(req *http.Request) bool { return req.URL.Query().Get("startDate") == "2001-02-03" },
					Do: reportertest.Answer(200, nil, `{"items": [], "page": 1, "limit": 10, "total": 0}`)})
			},
			[]string{"Internal/on top of page 1 of every list"},
		},
		"invents a host": {
			func(reporter *reportertest.Reporter) {
				reporter.Inject(reportertest.Fault{Method: "GET", Do: replace(`"host":"",`, `"host":"internal",`)})
			},
			[]string{"Internal/no host, no port, year 1"},
		},
		"pretends to delete internal connections": {
			func(reporter *reportertest.Reporter) {
				internal := `"FET-1001"`
				reporter.Inject(reportertest.Fault{
					Match: func(req *http.Request) bool {
						id, err := uuid.Parse(strings.TrimPrefix(req.URL.Path, connectionsPath+"/"))
						return err == nil && req.Method == "DELETE" && id.Version() == 5
					},
					Do: replace(internal, `"FET-1099"`),
				})
			},
			[]string{"Internal/GET shows it, DELETE does not find it"},
		},
		"takes private addresses": {
			func(reporter *reportertest.Reporter) {
				reporter.Inject(reportertest.Fault{Do: replace(`FET-0414`, `FET-0001`)})
			},
			[]string{
				"Hosts/name of a private address", "Hosts/private address 10.1.2.3", "Hosts/private address 127.0.0.1",
				"Hosts/private address 172.16.0.1", "Hosts/private address 192.168.1.1",
			},
		},
		"takes any token": {
			func(reporter *reportertest.Reporter) {
				reporter.Inject(reportertest.Fault{Do: rewrite(func(answer *httptest.ResponseRecorder) {
					if answer.Code == 401 {
						answer.Code = 404
					}
				})})
			},
			[]string{"Calls/Create without a token", "Tokens/none", "Tokens/unknown"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each is a process of its own
			reporter, at := embedded(t, multiTenant)
			broken.breakIt(reporter)
			failsExactly(t, at, broken.fails)
		})
	}
}

func failsExactly(t *testing.T, at target, want []string) {
	t.Helper()
	output, passed := runConformance(t, at.url, at.token)
	failed := rows(output, "FAILED")
	slices.Sort(failed)
	if passed || !slices.Equal(failed, want) {
		t.Errorf("%q fail, not %q:\n%s", failed, want, output)
	}
}

// What deletes nothing can be cleaned up after by nobody, and the suite says so.
func TestAgainstAReporterThatDeletesNothing(t *testing.T) {
	reporter, at := embedded(t, single)
	reporter.Inject(reportertest.Fault{Method: "DELETE", Do: reportertest.Answer(204, nil, "")})
	output, passed := runConformance(t, at.url, at.token)
	failed := rows(output, "FAILED")
	for _, check := range []string{"Create/201 with the whole object", "Delete/is final", "List/a deleted one is not listed", "Names/of a deleted connection is free at once"} {
		if passed || !slices.Contains(failed, check) {
			t.Errorf("%s does not fail:\n%s", check, output)
		}
	}
	if !strings.Contains(output, "is left behind: GET after DELETE answers 200") {
		t.Errorf("the suite does not say what it leaves behind:\n%s", output)
	}
}

// rows returns the checks of the table that have a result, with what it says of why.
func rows(output, result string) (checks []string) {
	for _, row := range regexp.MustCompile(`(?m)^ *`+result+`  +(\S.*?)(?:  +(\S.*))?$`).FindAllStringSubmatch(output, -1) {
		check := strings.TrimSpace(row[1])
		if row[2] != "" {
			check += ": " + strings.TrimSpace(row[2])
		}
		checks = append(checks, check)
	}
	return checks
}

func TestAgainstNoReporter(t *testing.T) {
	const nobody = "http://127.0.0.1:1" // a port that no other test can be given meanwhile
	guarded := reportertest.New()
	guarded.AllowToken("the token", "")
	page := reportertest.New()
	page.Inject(reportertest.Fault{Do: reportertest.LoginPage()})

	for name, test := range map[string]struct{ at, says string }{
		"nobody there":   {nobody, "no Reporter answers at " + nobody},
		"a token asked":  {reportertest.Serve(t, guarded).URL, `answers 401 "Missing Token": it wants a valid token in REPORTER_TOKEN`},
		"a login page":   {reportertest.Serve(t, page).URL, "is not Reporter's connections API: GET /v1/management/connections answers 200, text/html"},
		"a wrong path":   {reportertest.Serve(t, reportertest.New()).URL + "/reporter", "is not Reporter's connections API: GET /v1/management/connections answers 404"},
		"not even a URL": {"reporter", "no Reporter answers at reporter"},
	} {
		t.Run(name, func(t *testing.T) {
			output, passed := runConformance(t, test.at, "")
			if passed || !strings.Contains(output, test.says) {
				t.Errorf("the suite does not fail with %q:\n%s", test.says, output)
			}
		})
	}
}
