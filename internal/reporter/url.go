// SPDX-License-Identifier: Apache-2.0

package reporter

// CanonicalURL returns a base URL in the one form that compares, which is that of Client.URL; empty where it cannot be one.
func CanonicalURL(raw string) string {
	base, err := parseBaseURL(raw)
	if err != nil {
		return ""
	}
	return base.String()
}
