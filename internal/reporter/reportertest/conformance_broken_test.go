package reportertest_test

import (
	"bytes"
	"cmp"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

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
	reporter := reportertest.New()
	reporter.Inject(reportertest.Fault{Times: 2, Do: reportertest.Answer(429, http.Header{"Retry-After": {"0"}}, "")})
	output, passed := runConformance(t, reportertest.Serve(t, reporter).URL+"/", "")
	if !passed {
		t.Errorf("the suite fails against the Reporter of this package:\n%s", output)
	}
	for _, skipped := range []string{
		"Not checked: what a running job does, as no job can be started in a Reporter from outside.",
		"Not checked: what an unknown token or none gets, as REPORTER_TOKEN is not set: no Access Manager here.",
		"Not checked: that tenants do not see each other's connections, as REPORTER_OTHER_TOKEN, a token of another tenant, is not set.",
	} {
		if !strings.Contains(output, skipped) {
			t.Errorf("the suite does not say %q:\n%s", skipped, output)
		}
	}
	if left := reporter.Connections(); len(left) > 0 {
		t.Errorf("the suite left %d connections behind", len(left))
	}
}

// A suite that passes everything proves nothing: each of these Reporters is wrong in one point, and fails what is about
// that point.
func TestAgainstBrokenReporters(t *testing.T) {
	rewrite := func(rewrite func(*httptest.ResponseRecorder)) reportertest.Behaviour {
		return func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
			answer := httptest.NewRecorder()
			act(answer, req)
			rewrite(answer)
			maps.Copy(w.Header(), answer.Header())
			w.WriteHeader(answer.Code)
			_, _ = answer.Body.WriteTo(w)
		}
	}
	replace := func(what, with string) reportertest.Behaviour {
		return rewrite(func(answer *httptest.ResponseRecorder) {
			answer.Body = bytes.NewBufferString(strings.ReplaceAll(answer.Body.String(), what, with))
		})
	}
	allThatCreate := []string{"Create", "CreateRefusals", "Delete", "Get", "List", "SloppyIDs", "Test", "Update", "WrongPaths"}

	for name, broken := range map[string]struct {
		fault reportertest.Fault
		fails []string
	}{
		"is not ready": {
			reportertest.Fault{
				Match: func(req *http.Request) bool { return req.URL.Path == "/readyz" },
				Do:    reportertest.Answer(503, nil, `{"checks": {"mongodb": {}}}`),
			},
			[]string{"Probes"},
		},
		"shows the password": {
			reportertest.Fault{Do: replace(`"userName":"reader"`, `"userName":"reader","password":"not-to-be-seen"`)},
			[]string{"Create"},
		},
		"asks for no product": {
			reportertest.Fault{Method: "POST", Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
				req.Header.Set("X-Product-Name", cmp.Or(req.Header.Get("X-Product-Name"), "some"))
				act(w, req)
			}},
			[]string{"CreateRefusals"},
		},
		"leaves the message out": {
			reportertest.Fault{Method: "POST", Do: replace(`"message":"A connection`, `"text":"A connection`)},
			[]string{"CreateRefusals"},
		},
		"deletes nothing": {
			reportertest.Fault{Method: "DELETE", Do: reportertest.Answer(204, nil, "")},
			append([]string{"MalformedIDs"}, allThatCreate...),
		},
		"answers 200 to a deletion": {
			reportertest.Fault{Method: "DELETE", Do: rewrite(func(answer *httptest.ResponseRecorder) {
				if answer.Code == 204 {
					answer.Code = 200
				}
			})},
			[]string{"Delete", "SloppyIDs"},
		},
		"gives a bare 204 a type": {
			reportertest.Fault{Method: "DELETE", Do: rewrite(func(answer *httptest.ResponseRecorder) {
				answer.Header().Set("Content-Type", "application/json")
			})},
			[]string{"Delete"},
		},
		"writes its codes as numbers": {
			reportertest.Fault{Do: replace(`"FET-1001"`, `1001`)},
			[]string{"Delete", "Get", "SloppyIDs", "Test", "Update"},
		},
		"writes the router's code as a string": {
			reportertest.Fault{Do: replace(`"code":404`, `"code":"404"`)},
			[]string{"WrongPaths"},
		},
		"takes malformed ids for absent ones": {
			reportertest.Fault{Do: replace(`FET-0404`, `FET-1001`)},
			[]string{"MalformedIDs"},
		},
		"cleans paths": {
			reportertest.Fault{
				Match: func(req *http.Request) bool { return strings.HasPrefix(req.URL.Path, "//") },
				Do:    reportertest.Redirect(307, "/v1/management/connections"),
			},
			[]string{"WrongPaths"},
		},
		"updates nothing": {
			reportertest.Fault{Method: "PATCH", Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
				req.Body = io.NopCloser(strings.NewReader(`{}`))
				act(w, req)
			}},
			[]string{"Update"},
		},
		"lists more than asked for": {
			reportertest.Fault{Do: replace(`"limit":10,`, `"limit":50,`)},
			[]string{"List"},
		},
		"always tests successfully": {
			reportertest.Fault{
				Match: func(req *http.Request) bool { return strings.HasSuffix(req.URL.Path, "/test") },
				Do:    reportertest.Answer(200, nil, `{"status": "success", "message": "Connection successful", "latencyMs": 1}`),
			},
			[]string{"Test"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			reporter := reportertest.New()
			reporter.Inject(broken.fault)
			output, passed := runConformance(t, reportertest.Serve(t, reporter).URL, "")
			slices.Sort(broken.fails)
			if failed := failures(output); passed || !slices.Equal(failed, broken.fails) {
				t.Errorf("%q fail, not %q:\n%s", failed, broken.fails, output)
			}
		})
	}
}

var failure = regexp.MustCompile(`(?m)^    --- FAIL: TestConformance/(\S+)`)

// failures returns the checks that failed, without those within them.
func failures(output string) (names []string) {
	for _, match := range failure.FindAllStringSubmatch(output, -1) {
		names = append(names, match[1])
	}
	slices.Sort(names)
	return names
}

func TestAgainstNoReporter(t *testing.T) {
	const nobody = "http://127.0.0.1:1" // a port that no other test can be given meanwhile
	guarded := reportertest.New()
	guarded.AllowToken("the token", "")
	page := reportertest.New()
	page.Inject(reportertest.Fault{Do: reportertest.LoginPage()})

	for name, test := range map[string]struct{ url, says string }{
		"nobody there":   {nobody, "no Reporter answers at " + nobody},
		"a token asked":  {reportertest.Serve(t, guarded).URL, `answers 401 "Missing Token": it wants a valid token in REPORTER_TOKEN`},
		"a login page":   {reportertest.Serve(t, page).URL, "is not Reporter's connections API: GET /v1/management/connections answers 200, text/html"},
		"a wrong path":   {reportertest.Serve(t, reportertest.New()).URL + "/reporter", "is not Reporter's connections API: GET /v1/management/connections answers 404"},
		"not even a URL": {"reporter", "no Reporter answers at reporter"},
	} {
		t.Run(name, func(t *testing.T) {
			output, passed := runConformance(t, test.url, "")
			if passed || !strings.Contains(output, test.says) {
				t.Errorf("the suite does not fail with %q:\n%s", test.says, output)
			}
		})
	}
}
