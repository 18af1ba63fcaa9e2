package reportertest

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// input is the body of POST and PATCH. A member that is null is one that was not given.
type input struct {
	ConfigName   *string
	Type         *string
	Host         *string
	Port         *int
	DatabaseName *string
	Schema       *string
	UserName     *string
	Password     *string
	SSL          *sslInput
	Metadata     *map[string]any
}

type sslInput struct{ Mode, CA, Cert, Key *string }

var (
	productNames = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)
	nameLetters  = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	hostNames    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)
	sslModes     = map[string][]string{ // by type
		"ORACLE":     {"enable", "disable", "true", "false", "skip-verify"},
		"SQL_SERVER": {"disable", "true", "false", "strict"},
		"POSTGRESQL": {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
		"MONGODB":    {"enable", "disable", "true", "false"},
		"MYSQL":      {"true", "false", "skip-verify", "preferred"},
	}
)

// readInput reads the body, and returns why it cannot be one if it says nothing that Reporter knows.
func readInput(req *http.Request, creating bool) (in input, refusal *answer) {
	err := json.NewDecoder(req.Body).Decode(&in)
	if err != nil && !errors.Is(err, io.EOF) {
		return in, &answer{400, badRequest.with("unable to parse request body")}
	}
	if in.SSL != nil && *in.SSL == (sslInput{}) {
		in.SSL = nil
	}
	if creating {
		in = in.withoutZeros()
	}
	if in == (input{}) {
		return in, &answer{400, badRequest.with("empty request body")}
	}
	return in, nil
}

// withoutZeros makes of empty values what was not given, as POST does not tell one from the other.
func (in input) withoutZeros() input {
	for _, text := range []**string{&in.ConfigName, &in.Type, &in.Host, &in.DatabaseName, &in.Schema, &in.UserName, &in.Password} {
		if *text != nil && **text == "" {
			*text = nil
		}
	}
	if in.Port != nil && *in.Port == 0 {
		in.Port = nil
	}
	return in
}

// missing refuses a POST that lacks fields. They are named as in the body.
func (in input) missing() *answer {
	fields := map[string]string{}
	for field, given := range map[string]bool{
		"configName": in.ConfigName != nil, "type": in.Type != nil, "host": in.Host != nil, "port": in.Port != nil,
		"databaseName": in.DatabaseName != nil, "userName": in.UserName != nil, "password": in.Password != nil,
	} {
		if !given {
			fields[field] = field + " is a required field"
		}
	}
	return refuseFields(missingFields, fields)
}

// malformed refuses values that are wrong whatever is stored: what Reporter looks at before it looks for the connection.
func (in input) malformed(creating bool) *answer {
	fields := map[string]string{}
	if in.ConfigName != nil && !creating && !isNameLength(*in.ConfigName) {
		fields["configName"] = "configName must be 3 to 100 characters long"
	}
	if in.Type != nil && sslModes[*in.Type] == nil {
		fields["type"] = "type must be one of " + strings.Join(slices.Sorted(maps.Keys(sslModes)), " ")
	}
	if in.Port != nil && (*in.Port < 1 || *in.Port > 65535) {
		fields["port"] = "port must be from 1 to 65535"
	}
	if in.Host != nil {
		host := strings.TrimSpace(*in.Host)
		if _, err := netip.ParseAddr(host); err != nil && !hostNames.MatchString(host) {
			fields["host"] = "host is neither a host name nor an IP address"
		}
	}
	return refuseFields(badRequest, fields)
}

func isNameLength(configName string) bool { return len(configName) >= 3 && len(configName) <= 100 }

// isPrivate reports an IP address, not a name, that multi-tenant Reporter does not connect to.
func isPrivate(host string) bool {
	address, err := netip.ParseAddr(strings.TrimSpace(host))
	if err != nil {
		return false
	}
	return address.IsPrivate() || address.IsLoopback() || address.IsLinkLocalUnicast() || address.IsMulticast() || address.IsUnspecified()
}

func refuseFields(p problem, fields map[string]string) *answer {
	if len(fields) == 0 {
		return nil
	}
	return &answer{400, fieldProblem{p, fields}}
}

// applyTo changes what was given. Both ssl and metadata are replaced whole; ssl without a mode changes nothing, but in a
// POST, which is then refused.
func (in input) applyTo(c *stored) {
	set(&c.ConfigName, in.ConfigName)
	set(&c.Type, in.Type)
	set(&c.Host, in.Host)
	set(&c.Port, in.Port)
	set(&c.DatabaseName, in.DatabaseName)
	set(&c.UserName, in.UserName)
	set(&c.password, in.Password)
	set(&c.Metadata, in.Metadata)
	if in.Schema != nil {
		c.Schema, c.hasSchema = *in.Schema, true
	}
	if in.SSL != nil && in.SSL.Mode != nil {
		c.SSL, c.tls = &SSL{}, tlsMaterial{}
		set(&c.SSL.Mode, in.SSL.Mode)
		set(&c.tls.ca, in.SSL.CA)
		set(&c.tls.cert, in.SSL.Cert)
		set(&c.tls.key, in.SSL.Key)
	}
	for _, text := range []*string{&c.ConfigName, &c.Host, &c.DatabaseName, &c.UserName} {
		*text = strings.TrimSpace(*text)
	}
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

// invalid refuses values that do not make a connection together. The names of the fields are those of the database, and
// letters that a configName cannot have count as a missing one, as was observed.
func (c stored) invalid() *answer {
	missing, wrong := map[string]string{}, map[string]string{}
	if !nameLetters.MatchString(c.ConfigName) {
		missing["config_name"] = "config name can only contain alphanumeric characters, underscores, and hyphens"
	} else if !isNameLength(c.ConfigName) {
		wrong["config_name"] = "config name must be between 3 and 100 characters"
	}
	for field, value := range map[string]string{"host": c.Host, "database_name": c.DatabaseName, "username": c.UserName} {
		if value == "" {
			missing[field] = field + " is required"
		}
	}
	if c.SSL != nil {
		if c.SSL.Mode == "" {
			missing["ssl.mode"] = "SSL mode is required"
		} else if !slices.Contains(sslModes[c.Type], c.SSL.Mode) {
			wrong["ssl.mode"] = "SSL mode is not one of " + c.Type
		}
		if c.tls.ca == "" {
			missing["ssl.ca"] = "SSL CA is required"
		}
	}
	if refusal := refuseFields(missingFields, missing); refusal != nil {
		return refusal
	}
	return refuseFields(badRequest, wrong)
}
