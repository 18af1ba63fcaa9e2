// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"encoding/json"
	"unicode/utf8"
)

// Settings are the fields of a connection that a client of Reporter chooses. In a request, nil leaves a field out: Create does without
// it, Update leaves it as it is. Of a Connection, nil was not shown, or is not of the documented type. A password is never shown.
type Settings struct {
	ConfigName   *string `json:"configName,omitzero"`
	Type         *string `json:"type,omitzero"`
	Host         *string `json:"host,omitzero"`
	Port         *int32  `json:"port,omitzero"`
	DatabaseName *string `json:"databaseName,omitzero"`
	Schema       *string `json:"schema,omitzero"`
	UserName     *string `json:"userName,omitzero"`
	Password     *Secret `json:"-"`
	// SSL is written as a whole: what is left out of it is lost.
	SSL *SSL `json:"ssl,omitzero"`
	// Metadata is written as a whole too. Its values are JSON as it was shown, so that what is not ours is written back as it was.
	Metadata map[string]json.RawMessage `json:"metadata,omitzero"`
}

// SSL says how Reporter speaks TLS to the database. Only the mode is ever shown.
type SSL struct {
	Mode        string  `json:"mode"`
	CA          string  `json:"ca,omitzero"`
	Certificate string  `json:"cert,omitzero"`
	Key         *Secret `json:"-"`
}

// secrets returns what no text may show that comes back.
func (s *Settings) secrets() []string {
	return []string{orEmpty(s.Password).text(), orEmpty(orEmpty(s.SSL).Key).text()}
}

// body returns the JSON to send. If it cannot be, it names the field that keeps it from being sent: JSON is UTF-8, and another text
// would be sent as a different one.
func (s *Settings) body() (body []byte, refused string) {
	type ssl struct {
		SSL
		Key string `json:"key,omitzero"`
	}
	out := struct {
		Settings
		Password *string `json:"password,omitzero"`
		SSL      *ssl    `json:"ssl,omitzero"`
	}{Settings: *s}
	if s.Password != nil {
		out.Password = new(s.Password.text())
	}
	if s.SSL != nil {
		out.SSL = &ssl{SSL: *s.SSL, Key: orEmpty(s.SSL.Key).text()}
	}
	for _, field := range []struct{ name, text string }{
		{"userName", orEmpty(s.UserName)}, {"password", orEmpty(out.Password)},
		{"ssl.ca", orEmpty(out.SSL).CA}, {"ssl.cert", orEmpty(out.SSL).Certificate}, {"ssl.key", orEmpty(out.SSL).Key},
	} {
		if !utf8.ValidString(field.text) {
			return nil, field.name
		}
	}
	body, err := json.Marshal(out) //nolint:gosec // the password goes to Reporter, and nowhere else
	if err != nil {                // the rest always can be
		return nil, "metadata"
	}
	return body, ""
}

func orEmpty[T any](pointer *T) T {
	if pointer == nil {
		return *new(T)
	}
	return *pointer
}
