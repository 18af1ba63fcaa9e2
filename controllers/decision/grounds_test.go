// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

var (
	created = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	deleted = created.Add(time.Hour)
)

// deletedResource is one that was deleted and that nothing holds.
func deletedResource(change func(*v1alpha1.ReporterConnection)) *v1alpha1.ReporterConnection {
	rc := &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "billing", Name: "ledger", Finalizers: []string{"reporter.lerian.studio/connection"},
		CreationTimestamp: metav1.NewTime(created), DeletionTimestamp: new(metav1.NewTime(deleted))}}
	change(rc)
	return rc
}

func claimBy(standing Standing, name string, policy v1alpha1.DeletionPolicy) Claim {
	return Claim{Standing: standing, Connection: &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ReporterConnectionSpec{DeletionPolicy: policy}}}
}

// endpointWith is one whose spec is changed.
func endpointWith(change func(*v1alpha1.ReporterEndpointSpec)) *v1alpha1.ReporterEndpoint {
	e := &v1alpha1.ReporterEndpoint{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	change(&e.Spec)
	return e
}

func TestJudgeGrounds(t *testing.T) {
	unchanged := func(*v1alpha1.ReporterConnection) {}
	retain := func(rc *v1alpha1.ReporterConnection) { rc.Spec.DeletionPolicy = "Retain" }
	protect := func(rc *v1alpha1.ReporterConnection) { rc.Spec.DeletionProtection = true }
	suspend := func(rc *v1alpha1.ReporterConnection) { rc.Spec.Suspend = true }
	retainSuspended := func(rc *v1alpha1.ReporterConnection) { retain(rc); suspend(rc) }
	plain := endpointWith(func(*v1alpha1.ReporterEndpointSpec) {})
	suspended := endpointWith(func(spec *v1alpha1.ReporterEndpointSpec) { spec.Suspend = true })
	retains := endpointWith(func(spec *v1alpha1.ReporterEndpointSpec) { spec.DeletionPolicy = "Retain"; spec.Suspend = true })
	delays := endpointWith(func(spec *v1alpha1.ReporterEndpointSpec) {
		spec.DeletionDelay = &metav1.Duration{Duration: 30 * time.Second}
	})
	lent := endpointWith(func(spec *v1alpha1.ReporterEndpointSpec) { spec.ManagementPolicy = "DeleteOnly" })
	hurries := endpointWith(func(spec *v1alpha1.ReporterEndpointSpec) { spec.DeletionDelay = &metav1.Duration{} })
	missing := Outcome{Reason: "EndpointNotFound", Detail: "create it"}
	successor, other := claimBy(Successor, "heir", "Delete"), claimBy(ClaimsNothing, "other", "Delete")

	tests := map[string]struct {
		grounds Grounds
		change  func(*v1alpha1.ReporterConnection)
		after   time.Duration // since the deletion
		step    Step
		reason  string
		says    string
		retryIn time.Duration
	}{
		"nothing is in the way":               {grounds: Grounds{Endpoint: plain, Claims: []Claim{other}}, step: StepDelete},
		"it is not deleted":                   {grounds: Grounds{Endpoint: plain}, change: func(rc *v1alpha1.ReporterConnection) { rc.DeletionTimestamp = nil }, step: StepNone},
		"it is not ours to release":           {grounds: Grounds{Endpoint: plain}, change: func(rc *v1alpha1.ReporterConnection) { rc.Finalizers = []string{"other"} }, step: StepNone},
		"it is to be retained":                {grounds: Grounds{Endpoint: suspended}, change: retain, step: StepRetain, says: "spec.deletionPolicy"},
		"retained, without an endpoint":       {grounds: Grounds{Obstacle: missing}, change: retain, step: StepRetain, says: "spec.deletionPolicy"},
		"the endpoint retains":                {grounds: Grounds{Endpoint: retains}, step: StepRetain, says: `ReporterEndpoint "default"`},
		"the endpoint retains what is held":   {grounds: Grounds{Endpoint: retains}, change: protect, step: StepRetain, says: `ReporterEndpoint "default"`},
		"protected":                           {grounds: Grounds{Endpoint: plain}, change: protect, reason: "DeletionProtected", says: "spec.deletionProtection is true", retryIn: 10 * time.Minute},
		"protected, without an endpoint":      {grounds: Grounds{Obstacle: missing}, change: protect, reason: "DeletionProtected", says: "spec.deletionProtection is true", retryIn: 10 * time.Minute},
		"suspended":                           {grounds: Grounds{Endpoint: suspended, Claims: []Claim{successor}}, reason: "Suspended", says: `"default"`, retryIn: 10 * time.Minute},
		"suspended by itself":                 {grounds: Grounds{Endpoint: plain, Claims: []Claim{successor}}, change: suspend, reason: "Suspended", says: "spec.suspend is true", retryIn: 10 * time.Minute},
		"suspended by itself, no endpoint":    {grounds: Grounds{Obstacle: missing}, change: suspend, reason: "Suspended", says: "spec.suspend is true", retryIn: 10 * time.Minute},
		"suspended by itself, and retained":   {grounds: Grounds{Endpoint: plain}, change: retainSuspended, step: StepRetain, says: "spec.deletionPolicy"},
		"the endpoint is for deletions alone": {grounds: Grounds{Endpoint: lent}, step: StepDelete},
		"delayed":                             {grounds: Grounds{Endpoint: delays, Claims: []Claim{successor}}, after: 10 * time.Second, reason: "DeletionDelayed", says: "2026-01-01T13:00:30Z", retryIn: 20 * time.Second},
		"no longer delayed":                   {grounds: Grounds{Endpoint: delays}, after: 30 * time.Second, step: StepDelete},
		"not delayed, by a clock behind":      {grounds: Grounds{Endpoint: hurries}, after: -time.Second, step: StepDelete},
		"another claims it":                   {grounds: Grounds{Endpoint: plain, Claims: []Claim{other, successor}}, step: StepHandOver, says: "heir"},
		"another claims it, no endpoint":      {grounds: Grounds{Obstacle: missing, Claims: []Claim{successor}}, step: StepHandOver, says: "heir"},
		"one that deletes it is preferred":    {grounds: Grounds{Endpoint: plain, Claims: []Claim{claimBy(Successor, "keeps", "Retain"), successor, claimBy(Successor, "keeps too", "Retain")}}, step: StepHandOver, says: "heir"},
		"one that retains it claims it":       {grounds: Grounds{Endpoint: plain, Claims: []Claim{claimBy(Successor, "keeps", "Retain")}}, step: StepHandOver, says: "keeps"},
		"an obstacle":                         {grounds: Grounds{Endpoint: plain, Obstacle: missing, Claims: []Claim{claimBy(Unverified, "x", "Delete")}, IsPatient: true}, reason: "EndpointNotFound", says: "create it", retryIn: 10 * time.Minute},
		"a claim that is unverified":          {grounds: Grounds{Endpoint: plain, Claims: []Claim{claimBy(Unverified, "x", "Delete")}, IsPatient: true}, reason: "ClaimUnverified", says: "in another namespace", retryIn: time.Second},
		"a claim that is unverified for long": {grounds: Grounds{Endpoint: plain, Claims: []Claim{claimBy(Unverified, "x", "Delete")}}, step: StepDelete},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.change == nil {
				test.change = unchanged
			}
			test.grounds.Connection = deletedResource(test.change)
			if test.grounds.Obstacle == (Outcome{}) {
				test.grounds.Obstacle = done
			}
			test.grounds.ServerTime = deleted.Add(test.after)
			got := JudgeGrounds(test.grounds, deleted.Add(test.after))
			said := got.Message + got.RetainedBy
			if got.Successor != nil {
				said += got.Successor.Name
			}
			if got.Step != test.step || got.Reason != test.reason || !strings.Contains(said, test.says) || got.RetryIn != test.retryIn {
				t.Errorf("step %d, %s (%s), again in %s; want %d, %s (…%s…), %s", got.Step, got.Reason, said, got.RetryIn, test.step, test.reason, test.says, test.retryIn)
			}
		})
	}
	if got := JudgeGrounds(Grounds{Endpoint: plain, Obstacle: done}, deleted); got.Step != StepNone {
		t.Errorf("of a resource that is gone: step %d", got.Step)
	}
}

func TestJudgeManagement(t *testing.T) {
	tests := map[string]struct {
		endpoint func(*v1alpha1.ReporterEndpointSpec)
		suspend  bool
		reason   string
		says     string
		retryIn  time.Duration
	}{
		"nothing is said":           {},
		"full":                      {endpoint: func(spec *v1alpha1.ReporterEndpointSpec) { spec.ManagementPolicy = "Full" }},
		"for deletions alone":       {endpoint: func(spec *v1alpha1.ReporterEndpointSpec) { spec.ManagementPolicy = "DeleteOnly" }, reason: "ManagementForbidden", says: `ReporterEndpoint "default" is DeleteOnly`, retryIn: 10 * time.Minute},
		"the endpoint is suspended": {endpoint: func(spec *v1alpha1.ReporterEndpointSpec) { spec.Suspend = true }, reason: "Suspended", says: `spec.suspend of ReporterEndpoint "default" is true`, retryIn: 10 * time.Minute},
		"the resource is suspended": {suspend: true, reason: "Suspended", says: "spec.suspend is true", retryIn: 10 * time.Minute},
		"connections are retained":  {endpoint: func(spec *v1alpha1.ReporterEndpointSpec) { spec.DeletionPolicy = "Retain" }},
		"deletions are delayed":     {endpoint: func(spec *v1alpha1.ReporterEndpointSpec) { spec.DeletionDelay = &metav1.Duration{Duration: time.Hour} }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.endpoint == nil {
				test.endpoint = func(*v1alpha1.ReporterEndpointSpec) {}
			}
			rc := &v1alpha1.ReporterConnection{Spec: v1alpha1.ReporterConnectionSpec{Suspend: test.suspend}}
			got, forbidden := JudgeManagement(rc, endpointWith(test.endpoint))
			if forbidden != (test.reason != "") || got.Reason != test.reason || !strings.Contains(got.Message, test.says) || got.RetryIn != test.retryIn {
				t.Errorf("forbidden: %t, %s (%s), again in %s; want %s (…%s…), %s", forbidden, got.Reason, got.Message, got.RetryIn, test.reason, test.says, test.retryIn)
			}
		})
	}
}

func TestJudgeClaim(t *testing.T) {
	const here = "http://reporter"
	place := v1alpha1.ObservedIn{URL: here, TenantID: "ours"}
	seenIn := func(url, tenant string) func(*v1alpha1.ReporterConnection) {
		return func(rc *v1alpha1.ReporterConnection) {
			rc.Status.ObservedIn = &v1alpha1.ObservedIn{URL: url, TenantID: tenant}
		}
	}
	all := func(changes ...func(*v1alpha1.ReporterConnection)) func(*v1alpha1.ReporterConnection) {
		return func(rc *v1alpha1.ReporterConnection) {
			for _, change := range changes {
				change(rc)
			}
		}
	}
	settled := func(rc *v1alpha1.ReporterConnection) {
		rc.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: "True", ObservedGeneration: 3}}
	}
	notShownAt := func(url string, generation int64) func(*v1alpha1.ReporterConnection) {
		return func(rc *v1alpha1.ReporterConnection) {
			rc.Status.NotShownAt = url
			rc.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: "False", Reason: "ConnectionNotFound", ObservedGeneration: generation}}
		}
	}
	unanswered := func(rc *v1alpha1.ReporterConnection) { rc.Status.Conditions[0].Reason = "ReporterUnavailable" }
	later := func(rc *v1alpha1.ReporterConnection) { rc.CreationTimestamp = metav1.NewTime(deleted.Add(time.Second)) }
	tests := map[string]struct {
		namespace string
		claim     func(*v1alpha1.ReporterConnection)
		leadsTo   string
		want      Standing
	}{
		"in the same namespace, whatever it says": {namespace: "billing", claim: seenIn("http://other", ""), leadsTo: "", want: Successor},
		"shown here":                                     {claim: seenIn(here, "ours"), leadsTo: here, want: Successor},
		"shown here, made later":                         {claim: all(seenIn(here, "ours"), later), leadsTo: here, want: Successor},
		"shown here, and not let in any more":            {claim: seenIn(here, "ours"), leadsTo: "", want: ClaimsNothing},
		"shown here, and leads elsewhere now":            {claim: seenIn(here, "ours"), leadsTo: "http://other", want: ClaimsNothing},
		"shown in another tenant":                        {claim: all(seenIn(here, "theirs"), settled), leadsTo: here, want: ClaimsNothing},
		"shown in another tenant, under an earlier spec": {claim: seenIn(here, "theirs"), leadsTo: here, want: Unverified},
		"shown elsewhere, and leads here now":            {claim: all(seenIn("http://other", "ours"), settled), leadsTo: here, want: Unverified},
		"never looked up":                                {claim: all(), leadsTo: here, want: Unverified},
		"never looked up, and made later":                {claim: later, leadsTo: here, want: ClaimsNothing},
		"looked up, and not shown":                       {claim: notShownAt(here, 3), leadsTo: here, want: ClaimsNothing},
		"not shown, and not answered since":              {claim: all(notShownAt(here, 3), unanswered), leadsTo: here, want: Unverified},
		"not shown under an earlier spec":                {claim: notShownAt(here, 2), leadsTo: here, want: Unverified},
		"not shown elsewhere, and leads here now":        {claim: notShownAt("http://other", 3), leadsTo: here, want: Unverified},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			claim := &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "elsewhere", Generation: 3, CreationTimestamp: metav1.NewTime(deleted)}}
			if test.namespace != "" {
				claim.Namespace = test.namespace
			}
			test.claim(claim)
			if got := JudgeClaim(claim, deletedResource(func(*v1alpha1.ReporterConnection) {}), test.leadsTo, place); got != test.want {
				t.Errorf("%d, want %d", got, test.want)
			}
		})
	}
}

func TestMayRelease(t *testing.T) {
	here, elsewhere := &v1alpha1.ObservedIn{URL: "http://reporter"}, &v1alpha1.ObservedIn{URL: "http://other"}
	tests := map[string]struct {
		namespace string
		in        *v1alpha1.ObservedIn
		gone      bool
		waitsFor  string
		want      bool
	}{
		"a live claim in the namespace":                    {namespace: "billing", waitsFor: "JobInProgress", want: true},
		"one that goes":                                    {namespace: "billing", gone: true, waitsFor: "JobInProgress"},
		"one elsewhere that was shown the connection here": {namespace: "b", in: here, waitsFor: "JobInProgress", want: true},
		"one elsewhere that was shown it elsewhere":        {namespace: "b", in: elsewhere, waitsFor: "JobInProgress"},
		"one elsewhere that was never shown it":            {namespace: "b", waitsFor: "JobInProgress"},
		"one elsewhere that the deletion is unsure of":     {namespace: "b", waitsFor: "ClaimUnverified", want: true},
		"one elsewhere that it was unsure of, and is gone": {namespace: "b", gone: true, waitsFor: "ClaimUnverified", want: true},
	}
	for name, test := range tests {
		changed := &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Namespace: test.namespace}, Status: v1alpha1.ReporterConnectionStatus{ObservedIn: test.in}}
		waiting := deletedResource(func(rc *v1alpha1.ReporterConnection) {
			rc.Status.ObservedIn = here
			rc.Status.Conditions = []metav1.Condition{{Type: "Ready", Reason: test.waitsFor}}
		})
		if got := MayRelease(changed, test.gone, waiting); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
