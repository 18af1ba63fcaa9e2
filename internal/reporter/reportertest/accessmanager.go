package reportertest

import (
	"encoding/base64"
	"encoding/json"
	"mime"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// AccessManager is an in-memory Access Manager: the login of Lerian's that goes with a Reporter, for machines alone. It is
// an http.Handler, misbehaves by the same faults as a [Reporter], and is safe for concurrent use.
//
//	manager := reportertest.NewAccessManager(reporter)
//	manager.AddClient("operator", "hunter2", "acme")
//	server := reportertest.Serve(t, manager)
type AccessManager struct {
	front
	reporter *Reporter

	mu      sync.Mutex
	clients map[string]client // by id
	life    time.Duration
	tokens  []string
}

// client is a machine that may log in.
type client struct{ secret, tenant string }

// NewAccessManager returns an Access Manager without clients. From now on the Reporter asks for a token: those that the
// Access Manager issues, for their life, and those of AllowToken.
func NewAccessManager(r *Reporter) *AccessManager {
	r.requireTokens()
	return &AccessManager{reporter: r, clients: map[string]client{}, life: time.Hour}
}

// AddClient lets a client log in, for the connections of the tenant. It replaces one of the same id, whose tokens go on
// being good.
func (m *AccessManager) AddClient(id, secret, tenant string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clients[id] = client{secret, tenant}
}

// SetTokenLife chooses how long the tokens to come are good, in whole seconds: an hour unless it is called.
func (m *AccessManager) SetTokenLife(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life = d
}

// RevokeTokens makes Reporter refuse all tokens issued so far, before their life has ended.
func (m *AccessManager) RevokeTokens() {
	for _, token := range m.Tokens() {
		m.reporter.RevokeToken(token)
	}
}

// Tokens returns the tokens issued so far, oldest first. No two are the same.
func (m *AccessManager) Tokens() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.tokens)
}

// Logins returns how often a token was issued.
func (m *AccessManager) Logins() int {
	return len(m.Tokens())
}

// What it says about errors is a guess; that authentication has a family of codes of its own was observed.
var (
	notJSON       = problem{"AUT-0001", "Bad Request", "The body is not the JSON that was expected."}
	unknownGrant  = problem{"AUT-0002", "Unsupported Grant Type", "The grantType must be client_credentials."}
	unknownClient = problem{"AUT-0003", "Invalid Client", "The client is not known, or its secret is another."}
)

const loginPath = "/v1/login/oauth/access_token"

// ServeHTTP notes the request, lets a fault have it if one was injected for it, and answers it otherwise.
func (m *AccessManager) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	m.serve(w, req, m.reporter.now(), func(w http.ResponseWriter, req *http.Request) { m.answer(req).write(w, false) })
}

func (m *AccessManager) answer(req *http.Request) answer {
	switch {
	case req.URL.Path != loginPath:
		return answer{404, noRoute}
	case req.Method != http.MethodPost:
		return answer{405, noMethod}
	}
	var in struct{ GrantType, ClientID, ClientSecret string }
	contentType, _, _ := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if contentType != "application/json" || json.NewDecoder(req.Body).Decode(&in) != nil {
		return answer{400, notJSON}
	}
	if in.GrantType != "client_credentials" {
		return answer{400, unknownGrant}
	}

	now := m.reporter.now() // without the lock, so that it may ask the Access Manager
	m.mu.Lock()
	defer m.mu.Unlock()
	c, known := m.clients[in.ClientID]
	if !known || c.secret != in.ClientSecret {
		return answer{401, unknownClient}
	}
	token := newToken(in.ClientID, c.tenant, now, now.Add(m.life))
	m.tokens = append(m.tokens, token)
	m.reporter.allow(token, grant{c.tenant, now.Add(m.life)})
	return answer{200, map[string]any{
		"accessToken":  token,
		"tokenType":    "Bearer",
		"expiresIn":    int(m.life.Seconds()),
		"refreshToken": uuid.NewString(),
		"idToken":      newToken(in.ClientID, c.tenant, now, now.Add(m.life)),
		"scope":        "openid profile",
	}}
}

// newToken returns a JWT that is not signed (RFC 7519, section 6). It names the tenant, if there is one.
func newToken(subject, tenant string, from, to time.Time) string {
	claims := map[string]any{"sub": subject, "jti": uuid.NewString(), "iat": from.Unix(), "exp": to.Unix()}
	if tenant != "" {
		claims["tenantId"] = tenant
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		panic("reportertest: writing a token: " + err.Error())
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + encode(payload) + "."
}
