// SPDX-License-Identifier: Apache-2.0

package access

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// What a Secret holds goes with the hosts and through the endpoints that it lists. One that lists hosts alone goes to no Reporter of another
// namespace: whoever may not read it could name an endpoint of his.
func TestCheckUse(t *testing.T) {
	const hosts, endpoints = "reporter.lerian.studio/hosts", "reporter.lerian.studio/endpoints"
	tests := map[string]struct {
		annotations map[string]string
		host        string
		elsewhere   bool // the endpoint is shared/default, and not one of the own namespace
		refused     string
	}{
		"no list":                                 {host: "db.example.com"},
		"no list, an endpoint elsewhere":          {host: "db.example.com", elsewhere: true},
		"the host is listed":                      {annotations: map[string]string{hosts: "other, DB.example.com."}, host: "db.example.com"},
		"the host is not listed":                  {annotations: map[string]string{hosts: "other"}, host: "db.example.com", refused: `"db.example.com"`},
		"a part of the host is listed":            {annotations: map[string]string{hosts: "db.example.co"}, host: "db.example.com", refused: `"db.example.com"`},
		"no host is listed":                       {annotations: map[string]string{hosts: ""}, host: "db.example.com", refused: `"db.example.com"`},
		"the host is listed, and no endpoint":     {annotations: map[string]string{hosts: "db.example.com"}, host: "db.example.com", elsewhere: true, refused: "kubectl annotate secret --namespace a password " + endpoints + "=shared/default"},
		"both are listed":                         {annotations: map[string]string{hosts: "db.example.com", endpoints: "a/default, shared/default"}, host: "db.example.com", elsewhere: true},
		"the endpoint alone is listed":            {annotations: map[string]string{endpoints: "shared/default"}, host: "db.example.com", elsewhere: true},
		"another endpoint is listed":              {annotations: map[string]string{endpoints: "a/default"}, host: "db.example.com", elsewhere: true, refused: `"shared/default"`},
		"an endpoint is listed by its name":       {annotations: map[string]string{endpoints: "default"}, host: "db.example.com", refused: `"a/default"`},
		"the endpoint is listed and not the host": {annotations: map[string]string{hosts: "other", endpoints: "shared/default"}, host: "db.example.com", elsewhere: true, refused: `"db.example.com"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			rc := &v1alpha1.ReporterConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "ledger"}, Spec: v1alpha1.ReporterConnectionSpec{
				EndpointRef: v1alpha1.EndpointReference{Name: "default"}, Connection: &v1alpha1.ConnectionDescription{Host: test.host}}}
			if test.elsewhere {
				rc.Spec.EndpointRef.Namespace = "shared"
			}
			err := checkUse(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "password", Annotations: test.annotations}}, rc)
			switch {
			case test.refused == "" && err != nil:
				t.Errorf("it is refused: %v", err)
			case test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)):
				t.Errorf("the error is %v, and says nothing of %s", err, test.refused)
			}
		})
	}
}
