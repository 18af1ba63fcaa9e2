// SPDX-License-Identifier: Apache-2.0

package reporter_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

func TestTenantID(t *testing.T) {
	// The parts of a JWT are base64url without padding (RFC 7515).
	jwt := func(claims string) string {
		encode := base64.RawURLEncoding.EncodeToString
		return encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("signature"))
	}
	of := func(id string) reporter.Tenant { return reporter.Tenant{ID: id, Readable: true} }
	none, unreadable := of(""), reporter.Tenant{}
	for _, test := range []struct {
		name, token string
		want        reporter.Tenant
	}{
		{"no token", "", none},
		{"a tenant", jwt(`{"sub":"operator","tenantId":"acme","exp":1780000000}`), of("acme")},
		{"one that takes base64url", jwt(`{"tenantId":"ÿþ?>acme"}`), of("ÿþ?>acme")},
		{"no tenant", jwt(`{"sub":"operator"}`), none},
		{"no claims", jwt(`{}`), none},
		{"the claim in another case", jwt(`{"tenantid":"acme"}`), none},
		{"an empty tenant", jwt(`{"tenantId":""}`), none},
		{"null", jwt(`{"tenantId":null}`), unreadable},
		{"a number", jwt(`{"tenantId":42}`), unreadable},
		{"an array", jwt(`{"tenantId":["acme"]}`), unreadable},
		{"a tenant deeper down", jwt(`{"claims":{"tenantId":"acme"}}`), none},
		{"no object", jwt(`["acme"]`), unreadable},
		{"no JSON", jwt(`tenantId=acme`), unreadable},
		{"cut JSON", jwt(`{"tenantId":"acme"`), unreadable},
		{"no JWT", "acme", unreadable},
		{"two parts", strings.Join(strings.Split(jwt(`{"tenantId":"acme"}`), ".")[:2], "."), unreadable},
		{"five parts", "e30." + jwt(`{"tenantId":"acme"}`) + ".e30", unreadable},
		{"an encrypted one", "eyJhbGciOiJSU0EtT0FFUCJ9.OKOawDo13gRp2ojaHV7LFpZcgV7T6DVZKTyKOMTYUmKoTCVJRgckCL9kiMT03JGe.48V1_ALb6US04U3b.5eym8TW_c8SuK0lt.XFBoMYUZodetZdvT", unreadable},
		{"no base64", "a.{}.b", unreadable},
		{"base64 and something after it", strings.Replace(jwt(`{"tenantId":"acme"  }`), ".c2ln", "!.c2ln", 1), unreadable},
		{"two tenants", jwt(`{"tenantId":"acme","tenantId":42}`), unreadable},
		{"two tenants, of which the last one is a text", jwt(`{"tenantId":42,"tenantId":"acme"}`), of("acme")},
		{"a tenant that is longer than what may be shown", jwt(`{"tenantId":"` + strings.Repeat("a", 257) + `"}`), unreadable},
		{"null in place of claims", jwt(`null`), unreadable},
		{"control characters", jwt(`{"tenantId":"ac\nme"}`), unreadable},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := clientOf(t, "http://reporter.internal", test.token).Login(t.Context())
			if got != test.want || err != nil {
				t.Errorf("the tenant is %+v, not %+v; %v", got, test.want, err)
			}
		})
	}
}
