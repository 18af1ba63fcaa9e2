package reportertest_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

const (
	loginPath   = "/v1/login/oauth/access_token"
	credentials = `{"grantType":"client_credentials","clientId":"operator","clientSecret":"hunter2"}`
)

// newRealm returns a Reporter with a connection of tenant acme, and the Access Manager before it that knows the client
// operator, at noon.
func newRealm() (reporter *reportertest.Reporter, manager *reportertest.AccessManager, advance func(time.Duration)) {
	reporter = reportertest.New()
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	reporter.Now = func() time.Time { return now }
	reporter.Add(reportertest.Connection{ID: ledgerID, Tenant: "acme"})
	manager = reportertest.NewAccessManager(reporter)
	manager.AddClient("operator", "hunter2", "acme")
	return reporter, manager, func(d time.Duration) { now = now.Add(d) }
}

// login returns the token of a login as operator.
func login(t *testing.T, manager *reportertest.AccessManager) string {
	t.Helper()
	answer := do(t, manager, "POST", loginPath, credentials, "Content-Type", "application/json")
	var granted struct{ AccessToken string }
	if err := json.Unmarshal(answer.Body.Bytes(), &granted); err != nil || answer.Code != 200 || granted.AccessToken == "" {
		t.Fatalf("the login answers %d %q, %v", answer.Code, answer.Body, err)
	}
	return granted.AccessToken
}

func TestLogin(t *testing.T) {
	_, manager, _ := newRealm()
	answer := do(t, manager, "POST", loginPath, credentials, "Content-Type", "application/json; charset=utf-8")
	if got := answer.Header().Get("Content-Type"); answer.Code != 200 || got != "application/json" {
		t.Errorf("it answers %d, %s", answer.Code, got)
	}
	var granted map[string]any
	if err := json.Unmarshal(answer.Body.Bytes(), &granted); err != nil {
		t.Fatal(err)
	}
	tokens := manager.Tokens()
	if len(tokens) != 1 || manager.Logins() != 1 || granted["accessToken"] != tokens[0] {
		t.Errorf("it grants %v, and tells of %q", granted, tokens)
	}
	if granted["tokenType"] != "Bearer" || granted["expiresIn"] != 3600.0 {
		t.Errorf("it grants %v", granted)
	}
	for _, field := range []string{"refreshToken", "idToken", "scope"} {
		if text, _ := granted[field].(string); text == "" {
			t.Errorf("%s is %v", field, granted[field])
		}
	}
}

// Its tokens are JWTs: of three parts in base64url, the second of them the claims.
func TestTokenClaims(t *testing.T) {
	_, manager, advance := newRealm()
	manager.AddClient("lonely", "hunter3", "")
	advance(30 * time.Second)
	manager.SetTokenLife(10 * time.Minute)
	for _, test := range []struct {
		body string
		want map[string]any
	}{
		{credentials, map[string]any{"sub": "operator", "tenantId": "acme", "iat": 1780315230.0, "exp": 1780315830.0}},
		{`{"grantType":"client_credentials","clientId":"lonely","clientSecret":"hunter3"}`,
			map[string]any{"sub": "lonely", "iat": 1780315230.0, "exp": 1780315830.0}},
	} {
		answers(t, do(t, manager, "POST", loginPath, test.body, "Content-Type", "application/json"), 200, `"expiresIn":600`)
		parts := strings.Split(manager.Tokens()[manager.Logins()-1], ".")
		if len(parts) != 3 {
			t.Fatalf("the token is %q", parts)
		}
		payload, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil {
			t.Fatal(err)
		}
		var claims map[string]any
		if err := json.Unmarshal(payload, &claims); err != nil || claims["jti"] == "" {
			t.Fatalf("the claims are %s, %v", payload, err)
		}
		delete(claims, "jti")
		if !reflect.DeepEqual(claims, test.want) {
			t.Errorf("the claims are  %v\nthey should be %v", claims, test.want)
		}
	}
}

// Reporter asks for a token as soon as there is an Access Manager, and takes what that issues, for its tenant.
func TestReporterTakesTheTokens(t *testing.T) {
	reporter, manager, _ := newRealm()
	answers(t, do(t, reporter, "GET", pathOf(ledgerID), ""), 401, "Missing Token")
	reporter.AllowToken("given", "acme")
	manager.AddClient("operator of globex", "hunter3", "globex")
	first, second := login(t, manager), login(t, manager)
	do(t, manager, "POST", loginPath, `{"grantType":"client_credentials","clientId":"operator of globex","clientSecret":"hunter3"}`, "Content-Type", "application/json")
	globex := manager.Tokens()[2]
	if first == second || first == globex {
		t.Errorf("two logins give the same token")
	}
	for _, token := range []string{first, second, "given"} {
		answers(t, do(t, reporter, "GET", pathOf(ledgerID), "", "Authorization", "Bearer "+token), 200, ledgerID)
	}
	answers(t, do(t, reporter, "GET", pathOf(ledgerID), "", "Authorization", "Bearer "+globex), 404, "FET-1001")

	manager.RevokeTokens()
	for _, token := range []string{first, second, globex} {
		answers(t, do(t, reporter, "GET", pathOf(ledgerID), "", "Authorization", "Bearer "+token), 401, "Unauthorized")
	}
	answers(t, do(t, reporter, "GET", pathOf(ledgerID), "", "Authorization", "Bearer given"), 200, ledgerID)
	answers(t, do(t, reporter, "GET", pathOf(ledgerID), "", "Authorization", "Bearer "+login(t, manager)), 200, ledgerID)
	if n := manager.Logins(); n != 4 {
		t.Errorf("there were %d logins, not 4", n)
	}
}

func TestTokensEnd(t *testing.T) {
	reporter, manager, advance := newRealm()
	reporter.AllowToken("given", "acme")
	long := login(t, manager)
	manager.SetTokenLife(time.Minute)
	short := login(t, manager)
	for _, step := range []struct {
		after       time.Duration
		short, long int
	}{{0, 200, 200}, {time.Minute - time.Second, 200, 200}, {time.Second, 401, 200}, {time.Hour - time.Minute - time.Second, 401, 200}, {time.Second, 401, 401}} {
		advance(step.after)
		answers(t, do(t, reporter, "GET", pathOf(ledgerID), "", "Authorization", "Bearer "+short), step.short, "")
		answers(t, do(t, reporter, "GET", pathOf(ledgerID), "", "Authorization", "Bearer "+long), step.long, "")
		answers(t, do(t, reporter, "GET", pathOf(ledgerID), "", "Authorization", "Bearer given"), 200, "")
	}
}

func TestLoginIsRefused(t *testing.T) {
	_, manager, _ := newRealm()
	manager.AddClient("renewed", "old", "acme")
	manager.AddClient("renewed", "new", "acme")
	for _, test := range []struct {
		name, method, path, contentType, body string
		status                                int
		part                                  string
	}{
		{"a wrong secret", "POST", loginPath, "application/json", strings.Replace(credentials, "hunter2", "hunter3", 1), 401, `"AUT-0003"`},
		{"no secret", "POST", loginPath, "application/json", `{"grantType":"client_credentials","clientId":"operator"}`, 401, `"AUT-0003"`},
		{"a secret of before", "POST", loginPath, "application/json", `{"grantType":"client_credentials","clientId":"renewed","clientSecret":"old"}`, 401, `"AUT-0003"`},
		{"an unknown client", "POST", loginPath, "application/json", strings.Replace(credentials, "operator", "nobody", 1), 401, `"AUT-0003"`},
		{"no client", "POST", loginPath, "application/json", `{"grantType":"client_credentials"}`, 401, `"AUT-0003"`},
		{"another grant", "POST", loginPath, "application/json", strings.Replace(credentials, "client_credentials", "password", 1), 400, `"AUT-0002"`},
		{"the names of OAuth", "POST", loginPath, "application/json", `{"grant_type":"client_credentials","client_id":"operator","client_secret":"hunter2"}`, 400, `"AUT-0002"`},
		{"no JSON", "POST", loginPath, "application/json", "operator:hunter2", 400, `"AUT-0001"`},
		{"a form", "POST", loginPath, "application/x-www-form-urlencoded", credentials, 400, `"AUT-0001"`},
		{"no content type", "POST", loginPath, "", credentials, 400, `"AUT-0001"`},
		{"another method", "GET", loginPath, "application/json", credentials, 405, `"code":405`},
		{"a slash too many", "POST", "/" + loginPath, "application/json", credentials, 404, `"code":404`},
		{"another path", "POST", "/v1/login", "application/json", credentials, 404, `"code":404`},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer := do(t, manager, test.method, test.path, test.body, "Content-Type", test.contentType)
			answers(t, answer, test.status, test.part)
			if strings.Contains(answer.Body.String(), "hunter2") {
				t.Errorf("it repeats the secret: %s", answer.Body)
			}
		})
	}
	if n := manager.Logins(); n != 0 {
		t.Errorf("there were %d logins", n)
	}
}

// It notes requests and misbehaves as Reporter does, and apart from it.
func TestAccessManagerFaults(t *testing.T) {
	reporter, manager, _ := newRealm()
	manager.Inject(reportertest.Fault{Method: "POST", Times: 1, Do: reportertest.AfterActing(reportertest.Answer(502, nil, "bad gateway"))})
	manager.Inject(reportertest.Fault{ID: ledgerID, Do: reportertest.Answer(500, nil, "")})
	remove := manager.Inject(reportertest.Fault{
		Match: func(req *http.Request) bool { return req.Header.Get("User-Agent") == "unlucky" },
		Do:    reportertest.Answer(503, nil, ""),
	})
	answers(t, do(t, manager, "POST", loginPath, credentials, "Content-Type", "application/json"), 502, "bad gateway")
	if n := manager.Logins(); n != 1 {
		t.Errorf("there were %d logins, not the one whose answer was lost", n)
	}
	answers(t, do(t, manager, "POST", loginPath, credentials, "Content-Type", "application/json", "User-Agent", "unlucky"), 503, "")
	remove()
	answers(t, do(t, manager, "POST", loginPath, credentials, "Content-Type", "application/json", "User-Agent", "unlucky"), 200, "")

	requests := manager.Requests()
	if len(requests) != 3 || requests[2].Method != "POST" || requests[2].Path != loginPath || string(requests[2].Body) != credentials {
		t.Errorf("it has noted %v", requests)
	}
	if n := len(reporter.Requests()); n != 0 {
		t.Errorf("Reporter has noted %d requests of the Access Manager's", n)
	}
	manager.ResetRequests()
	if n := len(manager.Requests()); n != 0 {
		t.Errorf("it has not forgotten %d requests", n)
	}
}

// Two of them may be before one Reporter, as while one is replaced.
func TestTwoAccessManagers(t *testing.T) {
	reporter, first, _ := newRealm()
	second := reportertest.NewAccessManager(reporter)
	second.AddClient("operator", "hunter2", "acme")
	tokens := []string{login(t, first), login(t, second)}
	for _, token := range tokens {
		answers(t, do(t, reporter, "GET", pathOf(ledgerID), "", "Authorization", "Bearer "+token), 200, ledgerID)
	}
	first.RevokeTokens()
	for i, status := range []int{401, 200} {
		answers(t, do(t, reporter, "GET", pathOf(ledgerID), "", "Authorization", "Bearer "+tokens[i]), status, "")
	}
	if !slices.Equal(first.Tokens(), tokens[:1]) || !slices.Equal(second.Tokens(), tokens[1:]) {
		t.Errorf("they tell of each other's tokens")
	}
}

// The time source may ask who it is the time of.
func TestNowMayAsk(t *testing.T) {
	reporter, manager, _ := newRealm()
	reporter.Now = func() time.Time { return time.Unix(int64(manager.Logins()), 0) }
	login(t, manager)
}

// A header of more than about 4 KB is refused, whoever's the token is.
func TestLongTokens(t *testing.T) {
	reporter := reportertest.New()
	reporter.Add(reportertest.Connection{ID: ledgerID})
	for length, status := range map[int]int{4096: 200, 4097: 431} {
		answers(t, do(t, reporter, "GET", pathOf(ledgerID), "", "Authorization", "Bearer "+strings.Repeat("x", length-len("Bearer "))), status, "")
	}
}
