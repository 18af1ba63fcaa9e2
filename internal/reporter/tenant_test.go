// SPDX-License-Identifier: Apache-2.0

package reporter_test

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestTenantID(t *testing.T) {
	// The parts of a JWT are base64url without padding (RFC 7515).
	jwt := func(claims string) string {
		encode := base64.RawURLEncoding.EncodeToString
		return encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("signature"))
	}
	for _, test := range []struct{ name, token, want string }{
		{"no token", "", ""},
		{"a tenant", jwt(`{"sub":"operator","tenantId":"acme","exp":1780000000}`), "acme"},
		{"one that takes base64url", jwt(`{"tenantId":"ÿþ?>acme"}`), "ÿþ?>acme"},
		{"no tenant", jwt(`{"sub":"operator"}`), ""},
		{"an empty tenant", jwt(`{"tenantId":""}`), ""},
		{"null", jwt(`{"tenantId":null}`), ""},
		{"a number", jwt(`{"tenantId":42}`), ""},
		{"an array", jwt(`{"tenantId":["acme"]}`), ""},
		{"a tenant deeper down", jwt(`{"claims":{"tenantId":"acme"}}`), ""},
		{"no object", jwt(`["acme"]`), ""},
		{"no JSON", jwt(`tenantId=acme`), ""},
		{"cut JSON", jwt(`{"tenantId":"acme"`), ""},
		{"no JWT", "acme", ""},
		{"two parts", strings.Join(strings.Split(jwt(`{"tenantId":"acme"}`), ".")[:2], "."), ""},
		{"five parts", "e30." + jwt(`{"tenantId":"acme"}`) + ".e30", ""},
		{"an encrypted one", "eyJhbGciOiJSU0EtT0FFUCJ9.OKOawDo13gRp2ojaHV7LFpZcgV7T6DVZKTyKOMTYUmKoTCVJRgckCL9kiMT03JGe.48V1_ALb6US04U3b.5eym8TW_c8SuK0lt.XFBoMYUZodetZdvT", ""},
		{"no base64", "a.{}.b", ""},
		{"base64 and something after it", strings.Replace(jwt(`{"tenantId":"acme"  }`), ".c2ln", "!.c2ln", 1), ""},
		{"two tenants", jwt(`{"tenantId":"acme","tenantId":42}`), ""},
		{"control characters", jwt(`{"tenantId":"ac\nme"}`), "acme"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := clientOf(t, "http://reporter.internal", test.token).Login(t.Context())
			if got != test.want || err != nil {
				t.Errorf("the tenant is %q, not %q; %v", got, test.want, err)
			}
		})
	}
}
