// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// Tenant is whose connections a token shows. It is comparable.
type Tenant struct {
	// ID is the tenantId claim of the token, empty where there are no credentials or the token names no tenant, as in single-tenant
	// installations.
	ID string
	// Readable says that ID is known. It is not where the token is no JWT, or has a tenantId that is no fit text: then nothing
	// tells whether two tokens are for the same tenant.
	Readable bool
}

// tenantOf reads the tenantId claim of a JWT (RFC 7519). The signature is not verified, as nothing is granted on it: the claim
// only tells whether a connection was seen in the same tenant as it is now absent from. A text that would have to be cleaned to be
// shown is not readable, as two of those could become the same.
func tenantOf(token string) Tenant {
	if token == "" {
		return Tenant{Readable: true}
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return Tenant{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return Tenant{}
	}
	var claims map[string]json.RawMessage // whose keys match in their case, as opposed to those of a struct
	if json.Unmarshal(payload, &claims) != nil || claims == nil {
		return Tenant{}
	}
	claim, found := claims["tenantId"]
	if !found {
		return Tenant{Readable: true}
	}
	var id *string
	if json.Unmarshal(claim, &id) != nil || id == nil || clean(*id) != *id {
		return Tenant{}
	}
	return Tenant{ID: *id, Readable: true}
}
