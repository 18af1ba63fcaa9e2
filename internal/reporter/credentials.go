// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"encoding/base64"
	"errors"
	"regexp"
	"strings"
	"unicode"
)

// byteOrderMark is what some editors put at the beginning of a file.
const byteOrderMark = "\ufeff"

// checkToken returns an error for what cannot be a token, but a mistake that is made when one is put into a Secret. It says what to
// leave out, and shows nothing of it.
func checkToken(token string) error {
	lower := strings.ToLower(token)
	switch {
	case strings.Contains(token, byteOrderMark):
		return errors.New("the token contains a byte order mark (BOM), which editors put at the beginning of a file: save it without")
	case strings.HasPrefix(lower, "bearer ") || strings.HasPrefix(lower, "authorization:"):
		return errors.New("the token has \"Bearer\" or the name of a header in front of it: leave that out")
	case token != "" && strings.ContainsAny(token[:1]+token[len(token)-1:], "\"'`"):
		return errors.New("the token is in quotes: leave them out")
	case strings.ContainsFunc(token, unicode.IsSpace):
		return errors.New("the token contains white space or a line end: leave it out")
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("the token contains characters that no HTTP header may carry")
	case isEncodedJWT(token):
		return errors.New("the token is encoded in base64 once more: leave that out, as with stringData in place of data in a Secret")
	}
	return nil
}

// isEncodedJWT says whether a text is the base64 of a JWT. No JWT is: it has dots in it, which no base64 has.
func isEncodedJWT(token string) bool {
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		decoded, err := encoding.DecodeString(token)
		if err == nil && strings.HasPrefix(string(decoded), "eyJ") && strings.Count(string(decoded), ".") == 2 {
			return true
		}
	}
	return false
}

// checkClientCredentials is checkToken for those of a login, of which less is known: they may be any text.
func checkClientCredentials(manager *AccessManager) error {
	if strings.Contains(manager.ClientID+manager.ClientSecret, byteOrderMark) {
		return errors.New("the client's id or secret contains a byte order mark (BOM), which editors put at the beginning of a file: save it without")
	}
	return nil
}

// indentedPEM finds the lines of a PEM file that count only where a line begins with them.
var indentedPEM = regexp.MustCompile(`(?m)^[ \t]+-----(BEGIN|END) `)

// checkBundle returns an error for what keeps certificates of a bundle from being seen.
func checkBundle(bundle string) error {
	switch {
	case strings.Contains(bundle, byteOrderMark):
		return errors.New("the CA bundle contains a byte order mark (BOM), which hides the certificate after it: save it without")
	case indentedPEM.MatchString(bundle):
		return errors.New("the CA bundle has white space in front of -----BEGIN CERTIFICATE----- or -----END CERTIFICATE-----, " +
			"which hides the certificate: leave the indentation out")
	}
	return nil
}
