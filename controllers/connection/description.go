// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/access"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
)

// settingsFor is all that a connection is to have as it is described, with its mark.
func settingsFor(described *v1alpha1.ConnectionDescription, credentials access.DatabaseCredentials, mark decision.Mark) reporter.Settings {
	settings := reporter.Settings{
		ConfigName: &described.ConfigName, Type: new(string(described.Type)), Host: &described.Host, Port: &described.Port,
		DatabaseName: &described.DatabaseName, UserName: &credentials.UserName, Password: &credentials.Password,
		SSL: sslFor(described, credentials), Metadata: markedMetadata(nil, mark),
	}
	if described.Schema != "" {
		settings.Schema = &described.Schema
	}
	return settings
}

func sslFor(described *v1alpha1.ConnectionDescription, credentials access.DatabaseCredentials) *reporter.SSL {
	if described.SSL == nil {
		return nil
	}
	ssl := &reporter.SSL{Mode: described.SSL.Mode, CA: described.SSL.CABundle, Certificate: credentials.Certificate}
	if credentials.Certificate != "" {
		ssl.Key = &credentials.Key
	}
	return ssl
}

// markedMetadata is metadata as it was shown, with a mark in it: Reporter replaces metadata as a whole.
func markedMetadata(shown map[string]json.RawMessage, mark decision.Mark) map[string]json.RawMessage {
	marked := maps.Clone(shown)
	if marked == nil {
		marked = map[string]json.RawMessage{}
	}
	quoted, err := json.Marshal(mark.String())
	if err != nil {
		panic(err) // a text always can be
	}
	marked[v1alpha1.OwnerMetadata] = quoted
	return marked
}

// markOf is the mark that a connection shows, nil if it has none. One that is no text is a mark as well, though none of ours.
func markOf(shown *reporter.Connection) *string {
	raw, has := shown.Settings.Metadata[v1alpha1.OwnerMetadata]
	if !has || string(raw) == "null" {
		return nil
	}
	var mark string
	if json.Unmarshal(raw, &mark) != nil {
		mark = ""
	}
	return &mark
}

// difference is what of a connection is not as described.
type difference struct {
	// fields are named as in the description, in order.
	fields []string
	// change has what is to be written so that they are as described, without credentials.
	change reporter.Settings
	// needsPassword says that Reporter is to be given the password with the change: it must not use the one it has in another place, or for
	// another user.
	needsPassword bool
}

// differenceOf compares what Reporter shows with the description. Of ssl Reporter shows the mode alone.
func differenceOf(described *v1alpha1.ConnectionDescription, credentials access.DatabaseCredentials, shown reporter.Settings) difference {
	var d difference
	text := func(name string, want string, has *string, change **string, needsPassword bool) {
		if has != nil && *has == want || has == nil && want == "" {
			return
		}
		d.fields = append(d.fields, name)
		d.needsPassword = d.needsPassword || needsPassword
		*change = &want
	}
	text("configName", described.ConfigName, shown.ConfigName, &d.change.ConfigName, false)
	text("type", string(described.Type), shown.Type, &d.change.Type, true)
	text("host", described.Host, shown.Host, &d.change.Host, true)
	if shown.Port == nil || *shown.Port != described.Port {
		d.fields, d.needsPassword, d.change.Port = append(d.fields, "port"), true, &described.Port
	}
	text("databaseName", described.DatabaseName, shown.DatabaseName, &d.change.DatabaseName, true)
	text("schema", described.Schema, shown.Schema, &d.change.Schema, false)
	text("userName", credentials.UserName, shown.UserName, &d.change.UserName, true)
	if ssl := sslFor(described, credentials); ssl != nil && (shown.SSL == nil || shown.SSL.Mode != ssl.Mode) {
		d.fields, d.needsPassword, d.change.SSL = append(d.fields, "ssl.mode"), true, ssl
	}
	return d
}

// settings are what is to be written so that a connection is as described, with the credentials that have to go with it, or with all.
func (d *difference) settings(described *v1alpha1.ConnectionDescription, credentials access.DatabaseCredentials, all bool) reporter.Settings {
	settings := d.change
	if all || d.needsPassword {
		settings.Password = &credentials.Password
	}
	if all {
		settings.SSL = sslFor(described, credentials)
	}
	return settings
}

// unfit says why Reporter cannot make a connection what is described, empty if it can.
func unfit(described *v1alpha1.ConnectionDescription, shown *reporter.Connection) string {
	switch {
	case shown.ProductName != described.ProductName:
		return fmt.Sprintf("its product in Reporter is %q, and Reporter cannot change that", shown.ProductName)
	case described.SSL == nil && shown.Settings.SSL != nil:
		return fmt.Sprintf("it has ssl in Reporter, with mode %q, and Reporter has no way to remove it: describe it in spec.connection.ssl, with the mode that turns it off if need be", shown.Settings.SSL.Mode)
	default:
		return ""
	}
}

// sentFor stands for the credentials that a connection was given, as their Secrets were, and for its state after that: who has changed it
// since, be it the password alone, has moved updatedAt.
func sentFor(described *v1alpha1.ConnectionDescription, credentials access.DatabaseCredentials, updatedAt time.Time) string {
	return sentIn(fmt.Sprintf("-%d", updatedAt.UnixMilli()), described, credentials)
}

// sentIn is what was sent before, with other credentials in it.
func sentIn(sent string, described *v1alpha1.ConnectionDescription, credentials access.DatabaseCredentials) string {
	_, state, _ := strings.Cut(sent, "-")
	digest := sha256.New()
	fmt.Fprintln(digest, credentials.Version)
	if described.SSL != nil {
		fmt.Fprint(digest, described.SSL.CABundle)
	}
	return hex.EncodeToString(digest.Sum(nil)[:16]) + "-" + state
}

// contentsOf stands for what of a description is sent to Reporter and not shown by it, whatever the versions of the Secrets. It never leaves
// the process.
func contentsOf(described *v1alpha1.ConnectionDescription, credentials access.DatabaseCredentials) [sha256.Size]byte {
	contents := credentials.Contents[:]
	if described.SSL != nil {
		contents = append(slices.Clone(contents), described.SSL.CABundle...)
	}
	return sha256.Sum256(contents)
}

// named lists fields in a sentence.
func named(fields []string) string { return strings.Join(fields, ", ") }
