// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"encoding/json"
	"time"
)

// Connection is a database connection as Reporter shows it. Texts are bounded and free of control characters. Everything but the ID is
// there to be shown alone: what is not of the documented type is left out.
type Connection struct {
	ID           string
	ProductName  string
	ConfigName   string
	Type         string
	Host         string
	Port         int32
	DatabaseName string
	// CreatedAt and UpdatedAt are cut to milliseconds: the answer to a change is more precise than any later one.
	CreatedAt time.Time
	UpdatedAt time.Time
	// Settings are the fields as Reporter has them: there to be compared and written back, and not fit to be shown.
	Settings Settings
}

// object is a connection in an answer, whose fields may be anything.
type object struct {
	ID           json.RawMessage `json:"id"`
	ProductName  json.RawMessage `json:"productName"`
	ConfigName   json.RawMessage `json:"configName"`
	Type         json.RawMessage `json:"type"`
	Host         json.RawMessage `json:"host"`
	Port         json.RawMessage `json:"port"`
	DatabaseName json.RawMessage `json:"databaseName"`
	Schema       json.RawMessage `json:"schema"`
	UserName     json.RawMessage `json:"userName"`
	SSL          json.RawMessage `json:"ssl"`
	Metadata     json.RawMessage `json:"metadata"`
	CreatedAt    json.RawMessage `json:"createdAt"`
	UpdatedAt    json.RawMessage `json:"updatedAt"`
}

func (o *object) id() string { return valueOf[string](o.ID) }

// connection returns the connection that is in the answer as an object.
func (a *answer) connection(o *object) *Connection {
	text := func(raw json.RawMessage) string { return a.clean(valueOf[string](raw)) }
	moment := func(raw json.RawMessage) time.Time { return valueOf[time.Time](raw).Truncate(time.Millisecond) }
	c := &Connection{
		ID:           o.id(),
		ProductName:  text(o.ProductName),
		ConfigName:   text(o.ConfigName),
		Type:         text(o.Type),
		Host:         text(o.Host),
		Port:         int32(valueOf[uint16](o.Port)),
		DatabaseName: text(o.DatabaseName),
		CreatedAt:    moment(o.CreatedAt),
		UpdatedAt:    moment(o.UpdatedAt),
		Settings: Settings{
			ConfigName:   valueOf[*string](o.ConfigName),
			Type:         valueOf[*string](o.Type),
			Host:         valueOf[*string](o.Host),
			DatabaseName: valueOf[*string](o.DatabaseName),
			Schema:       valueOf[*string](o.Schema),
			UserName:     valueOf[*string](o.UserName),
			Metadata:     valueOf[map[string]json.RawMessage](o.Metadata),
		},
	}
	if port := valueOf[*uint16](o.Port); port != nil {
		c.Settings.Port = new(int32(*port))
	}
	var ssl struct {
		Mode *string `json:"mode"`
	}
	if json.Unmarshal(o.SSL, &ssl) == nil && ssl.Mode != nil {
		c.Settings.SSL = &SSL{Mode: *ssl.Mode}
	}
	return c
}

// valueOf reads a field of an answer, and returns the zero value where it is of another type.
func valueOf[T any](raw json.RawMessage) T {
	var value T
	if json.Unmarshal(raw, &value) != nil {
		return *new(T)
	}
	return value
}
