// SPDX-License-Identifier: Apache-2.0

package reporter

// Secret is a text that only a request to Reporter may hold, such as the password of a database. A closure keeps it: whatever prints,
// encodes or compares values, also those of fields that are not exported, finds no text in there.
type Secret struct {
	reveal func() string
}

// NewSecret keeps a text as a Secret.
func NewSecret(text string) Secret {
	return Secret{reveal: func() string { return text }}
}

// String says that there is something which is not shown.
func (Secret) String() string { return "…" }

// text returns the text of a secret, empty without one.
func (s Secret) text() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}
