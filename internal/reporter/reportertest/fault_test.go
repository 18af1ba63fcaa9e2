package reportertest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// stand is a Reporter with one connection, on a server, and a client that follows nothing and repeats nothing.
type stand struct {
	*reportertest.Reporter
	server  *reportertest.Server
	client  *http.Client
	arrived chan struct{} // a value for each request, as far as it has room
}

func newStand(t *testing.T) *stand {
	t.Helper()
	reporter := reportertest.New()
	reporter.Add(reportertest.Connection{ID: ledgerID, ConfigName: "ledger-db"})
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	arrived := make(chan struct{}, 1)
	server := reportertest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		select {
		case arrived <- struct{}{}:
		default:
		}
		reporter.ServeHTTP(w, req)
	}))
	return &stand{reporter, server, &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, arrived}
}

// do returns the answer with its body, or the error that the client met, be it while reading the body.
func (s *stand) do(ctx context.Context, method, path string) (*http.Response, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.server.URL+path, nil)
	if err != nil {
		return nil, "", err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

func (s *stand) status(t *testing.T, method, path string) int {
	t.Helper()
	resp, _, err := s.do(t.Context(), method, path)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode
}

func TestFaultsMatch(t *testing.T) {
	const otherID = "019996b9-174d-7a23-9f87-f7336d5ad98c"
	for _, test := range []struct {
		name  string
		fault reportertest.Fault
		hits  string
	}{
		{"everything", reportertest.Fault{}, "GET list, GET ledger, DELETE ledger, DELETE ledger in upper case, DELETE other, POST test"},
		{"a method", reportertest.Fault{Method: "DELETE"}, "DELETE ledger, DELETE ledger in upper case, DELETE other"},
		{"an id", reportertest.Fault{ID: ledgerID}, "GET ledger, DELETE ledger, DELETE ledger in upper case, POST test"},
		{"a method and an id", reportertest.Fault{Method: "GET", ID: ledgerID}, "GET ledger"},
		{"a path", reportertest.Fault{Match: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/test") }}, "POST test"},
		{"all of them", reportertest.Fault{Method: "GET", ID: ledgerID, Match: func(*http.Request) bool { return false }}, ""},
		{"the first one", reportertest.Fault{Times: 1}, "GET list"},
		{"every third", reportertest.Fault{Every: 3}, "DELETE ledger, POST test"},
		{"every second deletion", reportertest.Fault{Method: "DELETE", Every: 2}, "DELETE ledger in upper case"},
		{"the first of every second", reportertest.Fault{Every: 2, Times: 1}, "GET ledger"},
		{"the first two deletions", reportertest.Fault{Method: "DELETE", Times: 2}, "DELETE ledger, DELETE ledger in upper case"},
	} {
		t.Run(test.name, func(t *testing.T) {
			reporter := reportertest.New()
			test.fault.Do = reportertest.Answer(418, nil, "")
			remove := reporter.Inject(test.fault)
			requests := []struct{ name, method, path string }{
				{"GET list", "GET", connectionsPath},
				{"GET ledger", "GET", pathOf(ledgerID)},
				{"DELETE ledger", "DELETE", pathOf(ledgerID)},
				{"DELETE ledger in upper case", "DELETE", pathOf(strings.ToUpper(ledgerID))},
				{"DELETE other", "DELETE", pathOf(otherID)},
				{"POST test", "POST", pathOf(ledgerID) + "/test"},
			}
			var hits []string
			for _, request := range requests {
				if do(t, reporter, request.method, request.path, "").Code == 418 {
					hits = append(hits, request.name)
				}
			}
			if got := strings.Join(hits, ", "); got != test.hits {
				t.Errorf("it hits %q, not %q", got, test.hits)
			}
			remove()
			remove()
			for _, request := range requests {
				if do(t, reporter, request.method, request.path, "").Code == 418 {
					t.Errorf("it hits %s after it was removed", request.name)
				}
			}
		})
	}
}

func TestFaultsTakeTurns(t *testing.T) {
	reporter := reportertest.New()
	reporter.Inject(reportertest.Fault{Times: 1, Do: reportertest.Answer(501, nil, "")})
	reporter.Inject(reportertest.Fault{Times: 1, Do: reportertest.Answer(502, nil, "")})
	for _, want := range []int{501, 502, 404} {
		answers(t, do(t, reporter, "GET", "/", ""), want, "")
	}
}

func TestInjectRefusesMistakes(t *testing.T) {
	panics(t, `reportertest: injecting a fault: id "ledger-db" is not a canonical lower-case UUID`, func() {
		reportertest.New().Inject(reportertest.Fault{ID: "ledger-db", Do: reportertest.Hang()})
	})
	panics(t, "reportertest: injecting a fault: Do is missing", func() {
		reportertest.New().Inject(reportertest.Fault{})
	})
}

func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		name   string
		do     reportertest.Behaviour
		status int
		header map[string]string
		body   string
	}{
		{"any", reportertest.Answer(429, http.Header{"Retry-After": {"7"}, "Content-Type": {"text/plain"}}, "slow down"),
			429, map[string]string{"Retry-After": "7", "Content-Type": "text/plain"}, "slow down"},
		{"a code that is a string", reportertest.ErrorAnswer(500, "FET-0002", "Internal Server Error", "Oops"),
			500, map[string]string{"Content-Type": "application/json"}, `{"code":"FET-0002","message":"Oops","title":"Internal Server Error"}`},
		{"a code that is a number", reportertest.ErrorAnswer(404, 404, "request_failed", "Oops"),
			404, map[string]string{"Content-Type": "application/json"}, `{"code":404,"message":"Oops","title":"request_failed"}`},
		{"a redirect", reportertest.Redirect(307, "https://login.example.com/"),
			307, map[string]string{"Location": "https://login.example.com/"}, ""},
		{"a login page", reportertest.LoginPage(),
			200, map[string]string{"Content-Type": "text/html; charset=utf-8"}, "<!doctype html>\n<title>Sign in</title>\n<form method=post><input name=user><input name=password type=password></form>\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStand(t)
			s.Inject(reportertest.Fault{Times: 1, Do: test.do})
			resp, body, err := s.do(t.Context(), "DELETE", pathOf(ledgerID))
			if err != nil || resp.StatusCode != test.status || body != test.body {
				t.Fatalf("got %v %q, %v", resp, body, err)
			}
			for key, want := range test.header {
				if got := resp.Header.Get(key); got != want {
					t.Errorf("the header %s is %q, not %q", key, got, want)
				}
			}
			if !s.Alive(ledgerID) {
				t.Errorf("the request was carried out")
			}
			if got := s.status(t, "DELETE", pathOf(ledgerID)); got != 204 {
				t.Errorf("the next request gets %d, not 204", got)
			}
		})
	}
}

func TestReset(t *testing.T) {
	s := newStand(t)
	s.Inject(reportertest.Fault{Method: "DELETE", Do: reportertest.Reset()})
	_, _, err := s.do(t.Context(), "DELETE", pathOf(ledgerID))
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client meets %v, not a reset connection", err)
	}
	if !s.Alive(ledgerID) {
		t.Errorf("the request was carried out")
	}
}

func TestResetUnderTLS(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		reporter := reportertest.New()
		reporter.Add(reportertest.Connection{ID: ledgerID})
		server := httptest.NewUnstartedServer(reporter)
		server.EnableHTTP2 = http2
		server.StartTLS()
		t.Cleanup(server.Close)
		resp, err := server.Client().Get(server.URL + pathOf(ledgerID))
		if err != nil || resp.StatusCode != 200 || (resp.ProtoMajor == 2) != http2 {
			t.Fatalf("over TLS the answer is %v, %v", resp, err)
		}
		_ = resp.Body.Close()

		reporter.Inject(reportertest.Fault{Method: "POST", Do: reportertest.Reset()})
		_, err = server.Client().Post(server.URL+connectionsPath, "application/json", strings.NewReader("{}"))
		if err == nil || !http2 && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("over TLS, HTTP/2: %t, the client meets %v", http2, err)
		}
	}
}

func TestAfterActing(t *testing.T) {
	for name, do := range map[string]reportertest.Behaviour{
		"reset":        reportertest.Reset(),
		"cut":          reportertest.CutBody(),
		"other answer": reportertest.Answer(502, nil, "bad gateway"),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			s.Inject(reportertest.Fault{Method: "DELETE", Times: 1, Do: reportertest.AfterActing(do)})
			resp, body, _ := s.do(t.Context(), "DELETE", pathOf(ledgerID))
			if resp != nil && (resp.StatusCode != 502 || body != "bad gateway") {
				t.Errorf("the client is answered %d %q", resp.StatusCode, body)
			}
			if s.Alive(ledgerID) {
				t.Errorf("the request was not carried out")
			}
			if got := s.status(t, "DELETE", pathOf(ledgerID)); got != 404 {
				t.Errorf("the second DELETE gets %d, not 404", got)
			}
		})
	}
}

func TestCutBody(t *testing.T) {
	s := newStand(t)
	_, whole, err := s.do(t.Context(), "GET", pathOf(ledgerID))
	if err != nil {
		t.Fatal(err)
	}
	s.Inject(reportertest.Fault{Do: reportertest.CutBody()})
	resp, body, err := s.do(t.Context(), "GET", pathOf(ledgerID))
	if !errors.Is(err, io.ErrUnexpectedEOF) || resp.StatusCode != 200 || body != whole[:len(whole)/2] {
		t.Errorf("the client meets %v and reads %q, not half of %q", err, body, whole)
	}
	if resp.ContentLength != int64(len(whole)) || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("the answer is of %d bytes, %s", resp.ContentLength, resp.Header.Get("Content-Type"))
	}
	if _, _, err := s.do(t.Context(), "DELETE", pathOf(ledgerID)); !errors.Is(err, io.EOF) {
		t.Errorf("instead of a cut 204 the client meets %v", err)
	}
	if s.Alive(ledgerID) {
		t.Errorf("the request was not carried out")
	}
}

func TestSlowBody(t *testing.T) {
	s := newStand(t)
	_, whole, err := s.do(t.Context(), "GET", pathOf(ledgerID))
	if err != nil {
		t.Fatal(err)
	}
	remove := s.Inject(reportertest.Fault{Do: reportertest.SlowBody(1)})
	resp, body, err := s.do(t.Context(), "GET", pathOf(ledgerID))
	if err != nil || resp.StatusCode != 200 || body != whole || resp.ContentLength != int64(len(whole)) {
		t.Errorf("the client meets %v and reads %q, not %q", err, body, whole)
	}
	if got := s.status(t, "DELETE", pathOf(ledgerID)); got != 204 {
		t.Errorf("DELETE gets %d, not 204", got)
	}
	remove()

	// The header comes at once, a body of this pace never.
	remove = s.Inject(reportertest.Fault{Do: reportertest.SlowBody(1 << 60)})
	resp, err = s.client.Get(s.server.URL + pathOf(ledgerID))
	if err != nil || resp.StatusCode != 404 {
		t.Fatalf("got %v, %v", resp, err)
	}
	defer resp.Body.Close()
	remove()
	if read, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) || len(read) > 0 {
		t.Errorf("after the fault the client meets %v and has read %q", err, read)
	}
}

func TestHangHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reporter := reportertest.New()
		remove := reporter.Inject(reportertest.Fault{Do: reportertest.Hang()})
		ended := make(chan any, 1)
		go func() {
			defer func() { ended <- recover() }()
			do(t, reporter, "GET", "/version", "")
		}()
		synctest.Wait() // until nothing moves any more
		if len(ended) > 0 {
			t.Errorf("the request ends by itself")
		}
		remove()
		if got := <-ended; got != any(http.ErrAbortHandler) {
			t.Errorf("the request ends with %v, not by breaking the connection", got)
		}
	})
}

// A hanging request ends with the client, with the fault or with the server, and is never carried out.
func TestHang(t *testing.T) {
	for name, end := range map[string]func(s *stand, leave, remove func()){
		"the client leaves":    func(_ *stand, leave, _ func()) { leave() },
		"the fault is removed": func(_ *stand, _, remove func()) { remove() },
		"the server closes":    func(s *stand, _, _ func()) { s.server.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			arrived, ended := make(chan struct{}), make(chan struct{})
			hang := reportertest.Hang()
			remove := s.Inject(reportertest.Fault{Method: "DELETE", Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
				close(arrived)
				defer close(ended)
				hang(w, req, act)
			}})
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			met := make(chan error)
			go func() {
				_, _, err := s.do(ctx, "DELETE", pathOf(ledgerID))
				met <- err
			}()
			<-arrived
			if n := len(s.Requests()); n != 1 {
				t.Errorf("%d requests are recorded while one hangs", n)
			}
			end(s, leave, remove)
			if err := <-met; err == nil {
				t.Errorf("the client gets an answer")
			}
			<-ended
			if !s.Alive(ledgerID) {
				t.Errorf("the request was carried out")
			}
		})
	}
}

// What a client has given up on is carried out all the same.
func TestLatencyOutlivesTheClient(t *testing.T) {
	s := newStand(t)
	s.SetLatency(1 << 60)
	ctx, leave := context.WithCancel(t.Context())
	acted := make(chan struct{})
	s.Inject(reportertest.Fault{Method: "DELETE", Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
		defer close(acted)
		act(w, req)
	}})
	met := make(chan error)
	go func() {
		_, _, err := s.do(ctx, "DELETE", pathOf(ledgerID))
		met <- err
	}()
	<-s.arrived
	leave()
	if err := <-met; !errors.Is(err, context.Canceled) {
		t.Errorf("the client meets %v", err)
	}
	<-acted
	if s.Alive(ledgerID) {
		t.Errorf("the request was not carried out")
	}
}

// Reporter may have created and changed what its client heard nothing of.
func TestLostAnswers(t *testing.T) {
	for name, lose := range map[string]reportertest.Behaviour{
		"reset": reportertest.AfterActing(reportertest.Reset()),
		"cut":   reportertest.CutBody(),
		"502":   reportertest.AfterActing(reportertest.Answer(502, nil, "bad gateway")),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			client := &suite{target: target{url: s.server.URL}}
			for _, method := range []string{"POST", "PATCH"} {
				s.Inject(reportertest.Fault{Method: method, Times: 1, Do: lose})
			}
			if resp, err := client.try("POST", connectionsPath, client.body("configName", "created"), "X-Product-Name", "p"); err == nil && resp.status != 502 {
				t.Errorf("POST answers %d %q", resp.status, resp.start())
			}
			if resp, err := client.try("PATCH", pathOf(ledgerID), `{"host": "db2.example.com"}`); err == nil && resp.status != 502 {
				t.Errorf("PATCH answers %d %q", resp.status, resp.start())
			}
			var got []string
			for _, c := range s.Connections() {
				got = append(got, c.ConfigName+" "+c.Host)
			}
			if want := []string{"ledger-db db2.example.com", "created db.example.com"}; !slices.Equal(got, want) {
				t.Errorf("the connections are %q, not %q", got, want)
			}
		})
	}
}

// A request that its client has given up is carried out later: anew, or with what it had read before.
func TestLateCommits(t *testing.T) {
	for name, test := range map[string]struct {
		late     func(wait func()) reportertest.Behaviour
		wantHost string // after another change meanwhile
	}{
		"read late":  {reportertest.ActAfter, "db2.example.com"},
		"read early": {reportertest.BetweenReadAndWrite, "db.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			client := &suite{target: target{url: s.server.URL}}
			arrived, release, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
			late := test.late(func() {
				close(arrived)
				<-release
			})
			remove := s.Inject(reportertest.Fault{Method: "PATCH", Times: 1, Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
				defer close(ended)
				late(w, req, act)
			}})
			ctx, leave := context.WithCancel(t.Context())
			met := make(chan error)
			go func() {
				req, err := http.NewRequestWithContext(ctx, "PATCH", s.server.URL+pathOf(ledgerID), strings.NewReader(`{"password": "late"}`))
				if err == nil {
					_, err = s.client.Do(req)
				}
				met <- err
			}()
			<-arrived
			leave()
			if err := <-met; !errors.Is(err, context.Canceled) {
				t.Errorf("the client meets %v", err)
			}
			remove()
			client.patched(t, ledgerID, `{"host": "db2.example.com", "password": "meanwhile"}`)
			if got := s.Secrets(ledgerID).Password; got != "meanwhile" {
				t.Errorf("before the late change the password is %s", got)
			}
			close(release)
			<-ended
			if got := s.Secrets(ledgerID); got.Password != "late" || got.Host != test.wantHost {
				t.Errorf("after the late change the password is %s and the host %s, not late and %s", got.Password, got.Host, test.wantHost)
			}
		})
	}
}

// A token that ends while a request waits between its read and its write does not stop the write.
func TestLateCommitsNeedNoToken(t *testing.T) {
	reporter := reportertest.New()
	reporter.Add(reportertest.Connection{ID: ledgerID})
	reporter.AllowToken("token", "")
	reporter.Inject(reportertest.Fault{Do: reportertest.BetweenReadAndWrite(func() { reporter.RevokeToken("token") })})
	answers(t, do(t, reporter, "PATCH", pathOf(ledgerID), `{"port": 6432}`, "Authorization", "Bearer token"), 200, `"port":6432`)
	answers(t, do(t, reporter, "PATCH", pathOf(ledgerID), `{"port": 6432}`, "Authorization", "Bearer token"), 401, "")
}

func TestFaultsMatchByBody(t *testing.T) {
	reporter := reportertest.New()
	for _, name := range []string{"first-db", "second-db"} {
		reporter.Inject(reportertest.Fault{
			Match: func(req *http.Request) bool {
				body, _ := io.ReadAll(req.Body)
				return strings.Contains(string(body), name)
			},
			Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
				w.Header().Set("X-Matched", name)
				act(w, req)
			},
		})
	}
	for _, name := range []string{"first-db", "second-db", "third-db"} {
		answer := do(t, reporter, "POST", connectionsPath, new(suite).body("configName", name), "X-Product-Name", "p")
		answers(t, answer, 201, name)
		want := name
		if name == "third-db" {
			want = ""
		}
		if got := answer.Header().Get("X-Matched"); got != want {
			t.Errorf("POST of %s is for the fault of %q", name, got)
		}
	}
}
