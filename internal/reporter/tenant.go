// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// tenantOf reads the tenantId claim of a JWT (RFC 7519), empty if there is none. The signature is not verified, as nothing is
// granted on it: the claim only tells whether a connection was seen in the same tenant as it is now absent from.
func tenantOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		TenantID string `json:"tenantId"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return clean(claims.TenantID)
}
