// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

// The neighbour is a namespace in which anything is written that may be, and whose servers answer anything. Nobody ever puts it right. All
// that it can have others see of it contains its name.
const (
	neighbourName = "hostile"
	hostileHost   = neighbourName + ".test"
)

func isNeighbours(object client.Object) bool {
	return object.GetNamespace() == neighbourName || object.GetName() == neighbourName
}

// ours lists what is not the neighbour's.
func (h *history) ours(kind string) []client.Object {
	return slices.DeleteFunc(h.api.list(kind), isNeighbours)
}

// settleNeighbour puts the neighbour up. Its credentials are those of another tenant, where there are any.
func (h *history) settleNeighbour() {
	h.must(h.api.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: neighbourName}}))
	h.must(h.api.create(h.secret(neighbourName, "theirs")))
	for n := range 3 {
		h.must(h.api.create(h.hostileEndpoint(n)))
	}
}

func (h *history) hostileEndpoint(n int) *v1alpha1.ReporterEndpoint {
	endpoint := h.endpoint(neighbourName, fmt.Sprintf("%s-%d", neighbourName, n))
	h.spoil(&endpoint.Spec)
	return endpoint
}

// spoil has an endpoint say anything.
func (h *history) spoil(spec *v1alpha1.ReporterEndpointSpec) {
	spec.URL = v1alpha1.BaseURL("http://" + []string{homeHost, homeHost, hostileHost, homeHost + "/staging", hostileHost + "/v1", managerHost}[h.draw(6)])
	spec.MaxInFlight = []int32{1, 64}[h.draw(2)]
	spec.Timeout = &metav1.Duration{Duration: []time.Duration{time.Minute, time.Second}[h.draw(2)]}
	spec.Suspend = h.draw(4) == 1
	spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{From: v1alpha1.FromAll}
	if h.draw(3) == 1 {
		spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{From: v1alpha1.FromSelector,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{neighbourName: strings.Repeat(neighbourName, 5000)}}}
	}
	switch {
	case h.draw(2) == 1:
		spec.Auth = &v1alpha1.EndpointAuth{AccessManager: &v1alpha1.AccessManagerAuth{URL: "http://" + hostileHost, SecretRef: v1alpha1.SecretReference{Name: "credentials"}}}
	case h.draw(4) == 1:
		spec.Auth = nil
	}
}

// neighbour does one thing, of any size.
func (h *history) neighbour() {
	h.count("thing that a hostile neighbour did")
	claims := slices.DeleteFunc(h.api.list(connectionKind), func(o client.Object) bool { return !isNeighbours(o) })
	switch h.draw(6) {
	case 0, 1:
		for range []int{1, 3, 10, 40}[h.draw(4)] {
			h.claimHostilely()
		}
		h.say("the neighbour claims, and now has %d claims", len(h.api.list(connectionKind))-len(h.ours(connectionKind)))
	case 2:
		for _, claim := range claims {
			_ = h.api.delete(connectionKind, client.ObjectKeyFromObject(claim)) // what is protected stays
			h.claimHostilely()
		}
		h.say("the neighbour makes its claims anew")
	case 3:
		endpoint := h.hostileEndpoint(h.draw(3))
		if h.api.create(endpoint) != nil {
			h.must(h.api.update(endpoint, func(o client.Object) { h.spoil(&o.(*v1alpha1.ReporterEndpoint).Spec) }))
		}
		h.say("the neighbour changes %s: %s", endpoint.Name, endpoint.Spec.URL)
	case 4:
		for _, kind := range []string{endpointKind, secretKind} {
			for _, object := range h.api.list(kind) {
				if isNeighbours(object) && h.draw(3) == 1 {
					_ = h.api.delete(kind, client.ObjectKeyFromObject(object)) // there is nothing that protects it
				}
			}
		}
		_ = h.api.create(h.secret(neighbourName, []string{"theirs", ""}[h.draw(2)])) // unless it is there still
		h.say("the neighbour deletes what its claims need, and makes some of it anew")
	default:
		for _, claim := range claims {
			h.must(h.api.update(claim, func(o client.Object) {
				o.SetAnnotations(map[string]string{v1alpha1.RequestedAtAnnotation: time.Now().String()})
				o.(*v1alpha1.ReporterConnection).Spec.DeletionProtection = h.draw(4) == 1
			}))
		}
		h.say("the neighbour asks for everything at once")
	}
}

// claimHostilely claims any connection, through any endpoint that it may name.
func (h *history) claimHostilely() {
	rc := claimOf(neighbourName, fmt.Sprintf("%s-%d", neighbourName, h.draw(40)), h.ids[h.draw(4)])
	rc.Spec.EndpointRef.Name = fmt.Sprintf("%s-%d", neighbourName, h.draw(3))
	if h.draw(4) == 1 {
		rc.Spec.EndpointRef = v1alpha1.EndpointReference{Namespace: simulatedNamespaces[h.draw(2)], Name: "default"}
	}
	rc.Spec.DeletionPolicy = []v1alpha1.DeletionPolicy{v1alpha1.DeletionPolicyDelete, v1alpha1.DeletionPolicyRetain}[h.draw(2)]
	_ = h.api.create(rc) // unless it is there already
}

// isHanging says whether a server of the neighbour's never answers.
func (h *history) isHanging(to place) bool {
	return strings.HasPrefix(to.base, "http://"+hostileHost) && h.draw(3) == 1
}

// hostileAnswer is what the neighbour's servers say.
func (h *history) hostileAnswer() *response {
	answer := *h.odd()
	switch h.draw(4) {
	case 0:
	case 1:
		answer = response{http.StatusTooManyRequests, http.Header{"Retry-After": {"86400"}, "Content-Type": {"application/json"}}, nil}
	case 2:
		answer = response{http.StatusOK, http.Header{"Content-Type": {"application/json"}, "X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"9999999999"}},
			[]byte(`{"id":"` + neighbourName + `","accessToken":"` + neighbourName + `","items":[]}`)}
	default:
		answer = response{http.StatusConflict, http.Header{"Content-Type": {"application/json"}},
			[]byte(`{"code":"FET-1021","title":"` + neighbourName + `","message":"` + strings.Repeat(neighbourName, 2000) + `"}`)}
	}
	return &answer
}

// judgeQuote checks that nothing of the neighbour's is told to others. That of its claims which an endpoint lets in may be named as in use.
func (h *history) judgeQuote(about client.Object, text string) {
	if !isNeighbours(about) && strings.Contains(text, neighbourName) && !strings.Contains(text, v1alpha1.ReasonInUse) {
		h.fail("Isolation: %s %s says %q", kindOf(about), client.ObjectKeyFromObject(about), text)
	}
}

// isHeldByNeighbour says whether an endpoint, or what that needs, is kept by claims of the neighbour that the endpoint lets in.
func (h *history) isHeldByNeighbour(object client.Object) bool {
	if _, is := object.(*v1alpha1.ReporterConnection); is {
		return false
	}
	return slices.ContainsFunc(h.api.list(connectionKind), func(o client.Object) bool {
		if !isNeighbours(o) {
			return false
		}
		endpoint, err := h.api.get(endpointKind, o.(*v1alpha1.ReporterConnection).EndpointKey())
		return err == nil && !isNeighbours(endpoint) && h.allows(endpoint.(*v1alpha1.ReporterEndpoint), neighbourName) &&
			(endpoint.GetNamespace() == object.GetNamespace() || endpoint.GetNamespace() == object.GetName())
	})
}
