// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/access"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
	"github.com/reporter-operator/reporter-operator/internal/reporter"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// ourMark is that of the resource whose connection is described.
var ourMark = decision.Mark{Namespace: "5f0c6f0e", Name: "ledger-db"}

// described is a connection without ssl.
func described() *v1alpha1.ConnectionDescription {
	return &v1alpha1.ConnectionDescription{ConfigName: "ledger-db", ProductName: "ledger", Type: "POSTGRESQL", Host: "ledger-rw", Port: 5432,
		DatabaseName: "ledger", Schema: "public", UserName: "reporter"}
}

// credentials are what the Secrets of a description hold.
func credentials() access.DatabaseCredentials {
	return access.DatabaseCredentials{UserName: "reporter", Password: reporter.NewSecret("pa55-w0rd"), Version: "1"}
}

// shown is what Reporter shows where all is as described.
func shown() reporter.Settings {
	return reporter.Settings{ConfigName: new("ledger-db"), Type: new("POSTGRESQL"), Host: new("ledger-rw"), Port: new(int32(5432)),
		DatabaseName: new("ledger"), Schema: new("public"), UserName: new("reporter")}
}

// addSSL describes ssl, without a certificate of the client.
func addSSL(d *v1alpha1.ConnectionDescription) {
	d.SSL = &v1alpha1.ConnectionSSL{Mode: "verify-full", CABundle: "the CA"}
}

// certified are credentials with a certificate of the client.
func certified() access.DatabaseCredentials {
	c := credentials()
	c.Certificate, c.Key = "the certificate", reporter.NewSecret("the key")
	return c
}

func TestDifferenceOf(t *testing.T) {
	type description = v1alpha1.ConnectionDescription
	tests := map[string]struct {
		described     func(*description)
		credentials   *access.DatabaseCredentials
		shown         func(*reporter.Settings)
		fields        []string
		change        string // as it is sent, but for secrets
		needsPassword bool
	}{
		"nothing differs":       {change: `{}`},
		"configName":            {shown: func(s *reporter.Settings) { s.ConfigName = new("ledger") }, fields: []string{"configName"}, change: `{"configName":"ledger-db"}`},
		"type":                  {shown: func(s *reporter.Settings) { s.Type = new("MYSQL") }, fields: []string{"type"}, change: `{"type":"POSTGRESQL"}`, needsPassword: true},
		"host":                  {shown: func(s *reporter.Settings) { s.Host = new("ledger-ro") }, fields: []string{"host"}, change: `{"host":"ledger-rw"}`, needsPassword: true},
		"port":                  {shown: func(s *reporter.Settings) { s.Port = new(int32(5433)) }, fields: []string{"port"}, change: `{"port":5432}`, needsPassword: true},
		"databaseName":          {shown: func(s *reporter.Settings) { s.DatabaseName = new("postgres") }, fields: []string{"databaseName"}, change: `{"databaseName":"ledger"}`, needsPassword: true},
		"schema":                {shown: func(s *reporter.Settings) { s.Schema = new("private") }, fields: []string{"schema"}, change: `{"schema":"public"}`},
		"userName":              {shown: func(s *reporter.Settings) { s.UserName = new("root") }, fields: []string{"userName"}, change: `{"userName":"reporter"}`, needsPassword: true},
		"userName of a Secret":  {described: func(d *description) { d.UserName = "" }, credentials: &access.DatabaseCredentials{UserName: "reader"}, fields: []string{"userName"}, change: `{"userName":"reader"}`, needsPassword: true},
		"what is in the spec":   {described: func(d *description) { d.Host, d.Port = "ledger-ro", 5433 }, fields: []string{"host", "port"}, change: `{"host":"ledger-ro","port":5433}`, needsPassword: true},
		"in white space alone":  {shown: func(s *reporter.Settings) { s.DatabaseName = new("ledger ") }, fields: []string{"databaseName"}, change: `{"databaseName":"ledger"}`, needsPassword: true},
		"in what no eye sees":   {shown: func(s *reporter.Settings) { s.Host = new("ledger-rw\u200b") }, fields: []string{"host"}, change: `{"host":"ledger-rw"}`, needsPassword: true},
		"in the case alone":     {shown: func(s *reporter.Settings) { s.UserName = new("Reporter") }, fields: []string{"userName"}, change: `{"userName":"reporter"}`, needsPassword: true},
		"a text is not shown":   {shown: func(s *reporter.Settings) { s.Host = nil }, fields: []string{"host"}, change: `{"host":"ledger-rw"}`, needsPassword: true},
		"the port is not shown": {shown: func(s *reporter.Settings) { s.Port = nil }, fields: []string{"port"}, change: `{"port":5432}`, needsPassword: true},
		"nothing is shown": {shown: func(s *reporter.Settings) { *s = reporter.Settings{} }, needsPassword: true,
			fields: []string{"configName", "type", "host", "port", "databaseName", "schema", "userName"},
			change: `{"configName":"ledger-db","type":"POSTGRESQL","host":"ledger-rw","port":5432,"databaseName":"ledger","schema":"public","userName":"reporter"}`},
		"metadata is not compared": {shown: func(s *reporter.Settings) { s.Metadata = map[string]json.RawMessage{"team": json.RawMessage(`"x"`)} }, change: `{}`},

		"no schema, and none shown":      {described: func(d *description) { d.Schema = "" }, shown: func(s *reporter.Settings) { s.Schema = nil }, change: `{}`},
		"no schema, and an empty one":    {described: func(d *description) { d.Schema = "" }, shown: func(s *reporter.Settings) { s.Schema = new("") }, change: `{}`},
		"the schema is removed":          {described: func(d *description) { d.Schema = "" }, fields: []string{"schema"}, change: `{"schema":""}`},
		"a schema, and none shown":       {shown: func(s *reporter.Settings) { s.Schema = nil }, fields: []string{"schema"}, change: `{"schema":"public"}`},
		"a schema, and an empty one":     {shown: func(s *reporter.Settings) { s.Schema = new("") }, fields: []string{"schema"}, change: `{"schema":"public"}`},
		"schema and host":                {shown: func(s *reporter.Settings) { s.Schema, s.Host = nil, nil }, fields: []string{"host", "schema"}, change: `{"host":"ledger-rw","schema":"public"}`, needsPassword: true},
		"configName and schema":          {shown: func(s *reporter.Settings) { s.Schema, s.ConfigName = nil, nil }, fields: []string{"configName", "schema"}, change: `{"configName":"ledger-db","schema":"public"}`},
		"ssl of the same mode":           {described: addSSL, credentials: new(certified()), shown: func(s *reporter.Settings) { s.SSL = &reporter.SSL{Mode: "verify-full"} }, change: `{}`},
		"ssl of another mode":            {described: addSSL, shown: func(s *reporter.Settings) { s.SSL = &reporter.SSL{Mode: "require"} }, fields: []string{"ssl.mode"}, change: `{"ssl":{"mode":"verify-full","ca":"the CA"}}`, needsPassword: true},
		"ssl where there is none":        {described: addSSL, fields: []string{"ssl.mode"}, change: `{"ssl":{"mode":"verify-full","ca":"the CA"}}`, needsPassword: true},
		"ssl, with a certificate":        {described: addSSL, credentials: new(certified()), fields: []string{"ssl.mode"}, change: `{"ssl":{"mode":"verify-full","ca":"the CA","cert":"the certificate"}}`, needsPassword: true},
		"no ssl where Reporter has some": {shown: func(s *reporter.Settings) { s.SSL = &reporter.SSL{Mode: "require"} }, change: `{}`}, // it is unfit
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d, c, s := described(), credentials(), shown()
			if test.described != nil {
				test.described(d)
			}
			if test.credentials != nil {
				c = *test.credentials
			}
			if test.shown != nil {
				test.shown(&s)
			}
			got := differenceOf(d, c, s)
			change, err := json.Marshal(got.change)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.fields, test.fields) || string(change) != test.change || got.needsPassword != test.needsPassword {
				t.Errorf("%v, %s, with the password: %t; want %v, %s, %t", got.fields, change, got.needsPassword, test.fields, test.change, test.needsPassword)
			}
			if got.change.Password != nil {
				t.Error("the password is in it: that is not for this to decide")
			}
		})
	}
}

// What arrives at Reporter, secrets and all.
func TestSettingsAreSentWhole(t *testing.T) {
	ctx := t.Context()
	permitted := func(context.Context, reporter.Tenant) error { return nil }
	const all = `{"configName":"ledger-db","type":"POSTGRESQL","host":"ledger-rw","port":5432,"databaseName":"ledger","schema":"public","userName":"reporter",` +
		`"password":"pa55-w0rd","metadata":{"reporterOperatorOwner":"5f0c6f0e/ledger-db"}}`
	for name, test := range map[string]struct {
		described   func(*v1alpha1.ConnectionDescription)
		credentials access.DatabaseCredentials
		body        string
	}{
		"all that is described": {func(*v1alpha1.ConnectionDescription) {}, credentials(), all},
		"no schema":             {func(d *v1alpha1.ConnectionDescription) { d.Schema = "" }, credentials(), strings.Replace(all, `"schema":"public",`, "", 1)},
		"a user of a Secret":    {func(d *v1alpha1.ConnectionDescription) { d.UserName = "" }, credentials(), all},
		"ssl":                   {addSSL, credentials(), strings.Replace(all, `"metadata"`, `"ssl":{"mode":"verify-full","ca":"the CA"},"metadata"`, 1)},
		"a certificate":         {addSSL, certified(), strings.Replace(all, `"metadata"`, `"ssl":{"mode":"verify-full","ca":"the CA","cert":"the certificate","key":"the key"},"metadata"`, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			r, c := aReporter(t)
			d := described()
			test.described(d)
			if _, err := c.Create(ctx, d.ProductName, settingsFor(d, test.credentials, ourMark), permitted); err != nil {
				t.Fatal(err)
			}
			expectSent(t, r, test.body)
		})
	}
	t.Run("a change of ssl", func(t *testing.T) {
		r, c := aReporter(t)
		const id = "019996b8-f3d1-7d2b-a192-6e91464d82fc"
		r.Add(reportertest.Connection{ID: id, ConfigName: "ledger-db"})
		d, s := described(), shown()
		addSSL(d)
		if _, err := c.Update(ctx, id, differenceOf(d, certified(), s).change, permitted); err != nil {
			t.Fatal(err)
		}
		expectSent(t, r, `{"ssl":{"mode":"verify-full","ca":"the CA","cert":"the certificate","key":"the key"}}`)
	})
}

// aReporter is one without connections, and a client for it.
func aReporter(t *testing.T) (*reportertest.Reporter, *reporter.Client) {
	t.Helper()
	r := reportertest.New()
	pool := &reporter.Pool{Network: reporter.Network{AllowLoopback: true}}
	c, err := pool.Client("endpoint", reporter.Config{BaseURL: reportertest.Serve(t, r).URL, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return r, c
}

// expectSent checks the JSON of the only request that arrived.
func expectSent(t *testing.T, r *reportertest.Reporter, want string) {
	t.Helper()
	requests := r.Requests()
	if len(requests) != 1 {
		t.Fatalf("%d requests arrived, not one", len(requests))
	}
	var gotJSON, wantJSON any
	if err := json.Unmarshal(requests[0].Body, &gotJSON); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &wantJSON); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(gotJSON, wantJSON) {
		t.Errorf("sent is %s\nwant    %s", requests[0].Body, want)
	}
}

func TestUnfit(t *testing.T) {
	tests := map[string]struct {
		product string
		ssl     *reporter.SSL
		spec    func(*v1alpha1.ConnectionDescription)
		says    []string
	}{
		"it fits":                      {product: "ledger"},
		"another product":              {product: "billing", says: []string{"product", `"billing"`, "cannot change"}},
		"no product":                   {says: []string{"product"}},
		"ssl, and none in the spec":    {product: "ledger", ssl: &reporter.SSL{Mode: "require"}, says: []string{`"require"`, "spec.connection.ssl", "no way to remove"}},
		"ssl that is off, and none":    {product: "ledger", ssl: &reporter.SSL{Mode: "disable"}, says: []string{`"disable"`, "spec.connection.ssl"}},
		"ssl in both":                  {product: "ledger", ssl: &reporter.SSL{Mode: "require"}, spec: addSSL},
		"ssl in the spec alone":        {product: "ledger", spec: addSSL},
		"another product, ssl in both": {product: "billing", ssl: &reporter.SSL{Mode: "require"}, spec: addSSL, says: []string{"product"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := described()
			if test.spec != nil {
				test.spec(d)
			}
			got := unfit(d, &reporter.Connection{ProductName: test.product, Settings: reporter.Settings{SSL: test.ssl}})
			if (got == "") != (test.says == nil) {
				t.Errorf("it says %q", got)
			}
			for _, text := range test.says {
				if !strings.Contains(got, text) {
					t.Errorf("it says %q, and nothing of %q", got, text)
				}
			}
		})
	}
}

func TestSentFor(t *testing.T) {
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	base := func(change func(*v1alpha1.ConnectionDescription)) string {
		d := described()
		addSSL(d)
		change(d)
		return sentFor(d, credentials(), noon)
	}
	unchanged := func(*v1alpha1.ConnectionDescription) {}
	sent := base(unchanged)
	if sent == "" || len(sent) > 64 {
		t.Errorf("it is %q: empty means that nothing was sent, and a status takes 64 characters", sent)
	}

	of := func(change func(*access.DatabaseCredentials), updatedAt time.Time) string {
		d, c := described(), credentials()
		addSSL(d)
		change(&c)
		return sentFor(d, c, updatedAt)
	}
	same := func(*access.DatabaseCredentials) {}
	for name, test := range map[string]struct {
		got       string
		isCurrent bool
	}{
		"nothing has changed":              {base(unchanged), true},
		"a Secret has changed":             {of(func(c *access.DatabaseCredentials) { c.Version = "2" }, noon), false},
		"the CA has changed":               {base(func(d *v1alpha1.ConnectionDescription) { d.SSL.CABundle = "another CA" }), false},
		"ssl has gone":                     {base(func(d *v1alpha1.ConnectionDescription) { d.SSL = nil }), false},
		"somebody has changed it":          {of(same, noon.Add(time.Millisecond)), false},
		"it was updated before":            {of(same, noon.Add(-time.Millisecond)), false},
		"it was never updated":             {of(same, time.Time{}), false},
		"what is less than a millisecond":  {of(same, noon.Add(999*time.Microsecond)), true},
		"the same time in another zone":    {of(same, noon.In(time.FixedZone("", 3600))), true},
		"the host, which Reporter shows":   {base(func(d *v1alpha1.ConnectionDescription) { d.Host = "ledger-ro" }), true},
		"the schema, which Reporter shows": {base(func(d *v1alpha1.ConnectionDescription) { d.Schema = "" }), true},
	} {
		if isCurrent := test.got == sent; isCurrent != test.isCurrent {
			t.Errorf("%s: what was sent is current: %t", name, isCurrent)
		}
	}
}

func TestMarkOf(t *testing.T) {
	tests := map[string]struct {
		metadata map[string]json.RawMessage
		isMarked bool
		owner    decision.Owner
	}{
		"no metadata":               {owner: decision.OwnedByNobody},
		"other metadata":            {metadata: map[string]json.RawMessage{"owner": json.RawMessage(`"5f0c6f0e/ledger-db"`)}, owner: decision.OwnedByNobody},
		"ours":                      {metadata: map[string]json.RawMessage{"reporterOperatorOwner": json.RawMessage(`"5f0c6f0e/ledger-db"`)}, isMarked: true, owner: decision.OwnedBySelf},
		"ours, written otherwise":   {metadata: map[string]json.RawMessage{"reporterOperatorOwner": json.RawMessage(`"5f0c6f0e\u002fledger-db"`)}, isMarked: true, owner: decision.OwnedBySelf},
		"another's":                 {metadata: map[string]json.RawMessage{"reporterOperatorOwner": json.RawMessage(`"0e5f0c6f/ledger-db"`)}, isMarked: true, owner: decision.OwnedByAnother},
		"an empty text":             {metadata: map[string]json.RawMessage{"reporterOperatorOwner": json.RawMessage(`""`)}, isMarked: true, owner: decision.OwnedByAnother},
		"a number":                  {metadata: map[string]json.RawMessage{"reporterOperatorOwner": json.RawMessage(`7`)}, isMarked: true, owner: decision.OwnedByAnother},
		"an object":                 {metadata: map[string]json.RawMessage{"reporterOperatorOwner": json.RawMessage(`{"name":"ledger-db"}`)}, isMarked: true, owner: decision.OwnedByAnother},
		"a list with ours":          {metadata: map[string]json.RawMessage{"reporterOperatorOwner": json.RawMessage(`["5f0c6f0e/ledger-db"]`)}, isMarked: true, owner: decision.OwnedByAnother},
		"under a key in lower case": {metadata: map[string]json.RawMessage{"reporteroperatorowner": json.RawMessage(`"0e5f0c6f/ledger-db"`)}, owner: decision.OwnedByNobody},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := markOf(&reporter.Connection{Settings: reporter.Settings{Metadata: test.metadata}})
			if owner := decision.JudgeMark(got, ourMark, false); (got != nil) != test.isMarked || owner != test.owner {
				t.Errorf("it is marked: %t, of %d; want %t, of %d", got != nil, owner, test.isMarked, test.owner)
			}
		})
	}
}

// Metadata is replaced as a whole: whatever else is in there is written back as it was shown, to the last digit.
func TestMarkedMetadata(t *testing.T) {
	const ours = `"reporterOperatorOwner":"5f0c6f0e/ledger-db"`
	for shown, want := range map[string]string{
		`null`:                              `{` + ours + `}`,
		`{}`:                                `{` + ours + `}`,
		`{"reporterOperatorOwner":"x/y"}`:   `{` + ours + `}`,
		`{"reporterOperatorOwner":{"a":7}}`: `{` + ours + `}`,
		`{"n":9007199254740993,"deep":{"b":[1.0,null]}}`: `{"deep":{"b":[1.0,null]},"n":9007199254740993,` + ours + `}`,
	} {
		var metadata map[string]json.RawMessage
		if err := json.Unmarshal([]byte(shown), &metadata); err != nil {
			t.Fatal(err)
		}
		before := asJSON(t, metadata)
		if got := asJSON(t, markedMetadata(metadata, ourMark)); got != want {
			t.Errorf("%s becomes %s, want %s", shown, got, want)
		}
		if after := asJSON(t, metadata); after != before {
			t.Errorf("what was shown was %s, and is %s", before, after)
		}
	}
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A connection is created anew only if this process did not ask for it within the last two minutes.
func TestIsYoung(t *testing.T) {
	var r Reconciler
	rc := &v1alpha1.ReporterConnection{Status: v1alpha1.ReporterConnectionStatus{Creation: &v1alpha1.CreationRecord{StartedAt: new(metav1.NowMicro())}}}
	if r.isYoung(rc) {
		t.Error("what nobody asked for is young")
	}
	r.memories.begin(rc, memory{})
	r.noteRequest(rc)
	for age, want := range map[time.Duration]bool{0: true, 119 * time.Second: true, 121 * time.Second: false, 24 * time.Hour: false} {
		asked := r.memoryOf(rc)
		if got := asked.isYoung(time.Now().Add(age)); got != want {
			t.Errorf("asked for %s ago, it is young: %t", age, got)
		}
	}
	// Another process may have asked for it. Reporter's clock may be ahead.
	for age, want := range map[time.Duration]bool{time.Minute: true, -time.Minute: true, 3 * time.Minute: false, -3 * time.Minute: false} {
		shown := &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{UID: "another"}, Status: v1alpha1.ReporterConnectionStatus{
			Connection: &v1alpha1.ObservedConnection{CreatedAt: new(metav1.NewTime(time.Now().Add(-age)))}}}
		if got := r.isYoung(shown); got != want {
			t.Errorf("created %s ago as Reporter has it, it is young: %t", age, got)
		}
	}
}

const (
	requestedAt = "reporter.lerian.studio/requestedAt"
	takeBack    = "reporter.lerian.studio/takeBack"
	abandon     = "reporter.lerian.studio/abandon"
)

// Each annotation is a word of its own, and acted upon once for each of its values.
func TestWhatIsAskedFor(t *testing.T) {
	const at, later, url = "2026-06-01T12:00:00Z", "2026-06-01T12:00:01Z", "http://reporter.internal:4006"
	tests := map[string]struct {
		handled map[string]string // the annotations at the time when all was acted upon, nil if it never was
		asked   map[string]string // those after that
		want    []string
	}{
		"nothing":                                  {},
		"to look":                                  {asked: map[string]string{requestedAt: at}, want: []string{requestedAt}},
		"to take it back":                          {asked: map[string]string{takeBack: at}, want: []string{takeBack}},
		"to give it up":                            {asked: map[string]string{abandon: url}, want: []string{abandon}},
		"all at once":                              {asked: map[string]string{requestedAt: at, takeBack: at, abandon: url}, want: []string{requestedAt, takeBack, abandon}},
		"an annotation without a value":            {asked: map[string]string{requestedAt: "", takeBack: ""}},
		"another annotation":                       {asked: map[string]string{"reporter.lerian.studio/hosts": at}},
		"nothing new":                              {handled: map[string]string{requestedAt: at, takeBack: at, abandon: url}, asked: map[string]string{requestedAt: at, takeBack: at, abandon: url}},
		"to look again":                            {handled: map[string]string{requestedAt: at, takeBack: at}, asked: map[string]string{requestedAt: later, takeBack: at}, want: []string{requestedAt}},
		"to take it back again":                    {handled: map[string]string{requestedAt: at, takeBack: at}, asked: map[string]string{requestedAt: at, takeBack: later}, want: []string{takeBack}},
		"to take it back, after a look":            {handled: map[string]string{requestedAt: at}, asked: map[string]string{requestedAt: at, takeBack: at}, want: []string{takeBack}},
		"to look, after it was taken back":         {handled: map[string]string{takeBack: at}, asked: map[string]string{requestedAt: at, takeBack: at}, want: []string{requestedAt}},
		"the annotation is gone":                   {handled: map[string]string{requestedAt: at}},
		"a value of which the other is but a part": {handled: map[string]string{requestedAt: at}, asked: map[string]string{requestedAt: at + "0"}, want: []string{requestedAt}},
		"a part of the value":                      {handled: map[string]string{requestedAt: at + "0"}, asked: map[string]string{requestedAt: at}, want: []string{requestedAt}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			rc := &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Annotations: test.handled}}
			if test.handled != nil {
				handle(rc, requestedAt, takeBack, abandon)
			}
			rc.Annotations = test.asked
			var got []string
			for _, annotation := range []string{requestedAt, takeBack, abandon, "reporter.lerian.studio/hosts"} {
				if isAskedFor(rc, annotation) {
					got = append(got, annotation)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("asked for is %v, want %v", got, test.want)
			}
		})
	}
}

// A status takes a bounded text, whatever the annotations hold.
func TestHandle(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	rc := &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{requestedAt: long, takeBack: long, abandon: long}}}
	handle(rc, requestedAt, takeBack, abandon)
	if got := rc.Status.HandledRequest; got == "" || len(got) > 1024 || strings.Contains(got, "xx") {
		t.Errorf("noted is %q", got)
	}
	rc.Annotations = nil
	handle(rc)
	if got := rc.Status.HandledRequest; got != "" {
		t.Errorf("noted is %q where nothing is asked for", got)
	}
}

// What is acted upon says nothing of what else is asked for, and who takes an annotation away may ask for the same again.
func TestHandleOneOfThem(t *testing.T) {
	rc := &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{requestedAt: "now", takeBack: "now", abandon: "http://a"}}}
	asked := func() string {
		return fmt.Sprint(isAskedFor(rc, requestedAt), isAskedFor(rc, takeBack), isAskedFor(rc, abandon))
	}
	for _, step := range []struct {
		handled []string
		want    string
	}{{nil, "true true true"}, {[]string{abandon}, "true true false"}, {[]string{requestedAt}, "false true false"}, {nil, "false true false"}, {[]string{takeBack}, "false false false"}} {
		if handle(rc, step.handled...); asked() != step.want {
			t.Errorf("after %v, asked for is %s, want %s", step.handled, asked(), step.want)
		}
	}
	delete(rc.Annotations, abandon)
	handle(rc)
	rc.Annotations[abandon] = "http://a"
	if !isAskedFor(rc, abandon) {
		t.Error("it cannot be asked for again")
	}
}

func TestBounded(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "",
		"5f0c6f0e/ledger-db":              "5f0c6f0e/ledger-db",
		"a\xffb":                          "ab",
		strings.Repeat("é", 512):          strings.Repeat("é", 512),
		strings.Repeat("é", 513):          strings.Repeat("é", 512),
		strings.Repeat("x", 9999):         strings.Repeat("x", 512),
		strings.Repeat("x", 512) + "\xff": strings.Repeat("x", 512),
	} {
		if got := bounded(text); got != want {
			t.Errorf("%.20q (%d bytes) becomes %.20q (%d bytes)", text, len(text), got, len(got))
		}
	}
}
