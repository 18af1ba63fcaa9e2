// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// stage is where one story plays: a namespace, and a Reporter that the endpoint `default` names.
type stage struct {
	namespace string
	reporter  *reportertest.Reporter
	server    *reportertest.Server
}

// served are closed when the suite ends, and not with their stories: whatever listened at the same port later on, the operator would take for what
// the resources of the ended story lead to.
var served []*reportertest.Server

// serve serves a handler at a port of its own.
func serve(handler http.Handler) *reportertest.Server {
	GinkgoHelper()
	server, err := reportertest.Start(handler, "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	served = append(served, server)
	return server
}

func newStage(ctx context.Context) *stage {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "story-"}}
	Expect(world.Create(ctx, namespace)).To(Succeed())
	s := &stage{namespace: namespace.Name, reporter: reportertest.New()}
	s.server = serve(s.reporter)
	if namespaced {
		s.watch(ctx)
	}
	return s
}

// newStages are two, in the order of their names, which decides between what was created in the same second.
func newStages(ctx context.Context) (first, second *stage) {
	GinkgoHelper()
	first, second = newStage(ctx), newStage(ctx)
	if first.namespace > second.namespace {
		return second, first
	}
	return first, second
}

// endpoint is a ReporterEndpoint, not created yet. Its timeout is the longest there is: a slow machine must not look like a Reporter that is
// down, and a request that a story holds back must not be repeated.
func (s *stage) endpoint(name, url string) *v1alpha1.ReporterEndpoint {
	return &v1alpha1.ReporterEndpoint{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name},
		Spec:       v1alpha1.ReporterEndpointSpec{URL: v1alpha1.BaseURL(url), Timeout: &metav1.Duration{Duration: time.Minute}},
	}
}

// withEndpoint creates the endpoint `default` and waits until it is Ready.
func (s *stage) withEndpoint(ctx context.Context) *stage {
	GinkgoHelper()
	endpoint := s.endpoint("default", s.server.URL)
	Expect(world.Create(ctx, endpoint)).To(Succeed())
	Eventually(ctx, reasonOf(endpoint, v1alpha1.ConditionReady)).Should(Equal("Available"))
	Eventually(ctx, unheld(s.namespace)).Should(BeEmpty())
	return s
}

func (s *stage) securedEndpoint() *v1alpha1.ReporterEndpoint {
	endpoint := s.endpoint("default", s.server.URL)
	endpoint.Spec.Auth = &v1alpha1.EndpointAuth{BearerToken: &v1alpha1.BearerTokenAuth{SecretRef: v1alpha1.SecretKeyReference{Name: "token", Key: "token"}}}
	return endpoint
}

// credentials is a marked Secret with a token that the stage's Reporter accepts, and from then on demands.
func (s *stage) credentials(ctx context.Context) *corev1.Secret {
	GinkgoHelper()
	s.reporter.AllowToken("right", "")
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "token", Labels: map[string]string{"reporter.lerian.studio/credentials": "true"}},
		StringData: map[string]string{"token": "right"},
	}
	Expect(world.Create(ctx, secret)).To(Succeed())
	return secret
}

// withSecuredEndpoint creates the endpoint `default` with credentials and waits until it is Ready.
func (s *stage) withSecuredEndpoint(ctx context.Context) *stage {
	GinkgoHelper()
	s.credentials(ctx)
	endpoint := s.securedEndpoint()
	Expect(world.Create(ctx, endpoint)).To(Succeed())
	Eventually(ctx, reasonOf(endpoint, v1alpha1.ConditionReady)).Should(Equal("Available"))
	Eventually(ctx, unheld(s.namespace)).Should(BeEmpty())
	return s
}

// connection is a ReporterConnection, not created yet, that claims an id through the endpoint `default`.
func (s *stage) connection(name, id string) *v1alpha1.ReporterConnection {
	return &v1alpha1.ReporterConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name},
		Spec:       v1alpha1.ReporterConnectionSpec{ConnectionID: id},
	}
}

// described is a ReporterConnection, not created yet, that describes a connection NAME-db through the endpoint `default`, with the password in
// the Secret `database`.
func (s *stage) described(name string) *v1alpha1.ReporterConnection {
	return &v1alpha1.ReporterConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name},
		Spec: v1alpha1.ReporterConnectionSpec{Connection: &v1alpha1.ConnectionDescription{
			ConfigName: name + "-db", ProductName: "ledger", Type: "POSTGRESQL", Host: "db.internal", Port: 5432, DatabaseName: "ledger",
			UserName: "reporter", PasswordSecretRef: v1alpha1.SecretKeyReference{Name: "database", Key: "password"},
		}},
	}
}

// database is the marked Secret with a password, not created yet, that described resources name.
func (s *stage) database(password string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "database", Labels: map[string]string{"reporter.lerian.studio/credentials": "database"}},
		StringData: map[string]string{"password": password},
	}
}

// withDatabase creates the Secret `database`, and the endpoint after it.
func (s *stage) withDatabase(ctx context.Context) *stage {
	GinkgoHelper()
	Expect(world.Create(ctx, s.database("hush"))).To(Succeed())
	return s.withEndpoint(ctx)
}

// create creates a ReporterConnection and waits until it is Ready.
func (s *stage) create(ctx context.Context, rc *v1alpha1.ReporterConnection) *v1alpha1.ReporterConnection {
	GinkgoHelper()
	Expect(world.Create(ctx, rc)).To(Succeed())
	Eventually(ctx, reasonOf(rc, v1alpha1.ConditionReady)).Should(Equal("Available"))
	return rc
}

// created creates a ReporterConnection that claims an id, and waits until the operator has seen its connection.
func (s *stage) created(ctx context.Context, name, id string) *v1alpha1.ReporterConnection {
	GinkgoHelper()
	return s.create(ctx, s.connection(name, id))
}

// populate creates so many resources, each for a connection of its own in the stage's Reporter, and returns the ids.
func (s *stage) populate(ctx context.Context, in string, count int, adapt func(*v1alpha1.ReporterConnection)) []string {
	GinkgoHelper()
	var ids []string
	for i := range count {
		name := fmt.Sprintf("connection-%02d", i)
		id := s.reporter.Add(reportertest.Connection{ConfigName: in + "-" + name}).ID
		rc := s.connection(name, id)
		rc.Namespace = in
		if adapt != nil {
			adapt(rc)
		}
		Expect(world.Create(ctx, rc)).To(Succeed())
		ids = append(ids, id)
	}
	return ids
}

// patchEndpoint changes the endpoint `default`, by a JSON merge patch.
func (s *stage) patchEndpoint(ctx context.Context, patch string) {
	GinkgoHelper()
	s.patch(ctx, &v1alpha1.ReporterEndpoint{}, "default", patch)
}

// patchConnection changes a ReporterConnection, by a JSON merge patch.
func (s *stage) patchConnection(ctx context.Context, name, patch string) {
	GinkgoHelper()
	s.patch(ctx, &v1alpha1.ReporterConnection{}, name, patch)
}

// tryPatch changes the spec of a ReporterConnection, by a JSON merge patch, unless the API server refuses it.
func (s *stage) tryPatch(ctx context.Context, name, spec string) error {
	return world.Patch(ctx, s.connection(name, ""), client.RawPatch(types.MergePatchType, []byte(`{"spec":`+spec+`}`)))
}

// patchSecret changes a Secret, by a JSON merge patch.
func (s *stage) patchSecret(ctx context.Context, name, patch string) {
	GinkgoHelper()
	s.patch(ctx, &corev1.Secret{}, name, patch)
}

func (s *stage) patch(ctx context.Context, object client.Object, name, patch string) {
	GinkgoHelper()
	object.SetNamespace(s.namespace)
	object.SetName(name)
	Expect(world.Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}

// deleteConnections deletes ReporterConnections and does not wait for them to go.
func (s *stage) deleteConnections(ctx context.Context, names ...string) {
	GinkgoHelper()
	for _, name := range names {
		Expect(world.Delete(ctx, s.connection(name, ""))).To(Succeed())
	}
}

// deleteAll deletes the ReporterConnections of the namespace and does not wait for them to go.
func (s *stage) deleteAll(ctx context.Context) {
	GinkgoHelper()
	var all v1alpha1.ReporterConnectionList
	Expect(world.List(ctx, &all, client.InNamespace(s.namespace))).To(Succeed())
	for i := range all.Items {
		Expect(world.Delete(ctx, &all.Items[i])).To(Succeed())
	}
}

// expectGone waits until ReporterConnections have gone.
func (s *stage) expectGone(ctx context.Context, names ...string) {
	GinkgoHelper()
	for _, name := range names {
		Eventually(ctx, gone(s.connection(name, ""))).Should(BeTrue())
	}
}

func (s *stage) kubectl(ctx context.Context, args ...string) string {
	GinkgoHelper()
	output, err := world.Kubectl(ctx, "", append([]string{"--namespace", s.namespace}, args...)...)
	Expect(err).NotTo(HaveOccurred())
	return output
}

// manifestOf is what a user would apply to have an object.
func manifestOf(object client.Object) string {
	GinkgoHelper()
	kind, err := world.GroupVersionKindFor(object)
	Expect(err).NotTo(HaveOccurred())
	object = object.DeepCopyObject().(client.Object)
	object.GetObjectKind().SetGroupVersionKind(kind)
	manifest, err := json.Marshal(object)
	Expect(err).NotTo(HaveOccurred())
	return string(manifest)
}

func label(ctx context.Context, namespace, labels string) {
	GinkgoHelper()
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":`+labels+`}}`))
	object := &corev1.Namespace{}
	object.Name = namespace
	Expect(world.Patch(ctx, object, patch)).To(Succeed())
}

// askNow has the operator try again whatever it waits for, unless the object is gone: it may just have tried by itself.
func askNow[T conditioned](ctx context.Context, object T) {
	GinkgoHelper()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"reporter.lerian.studio/requestedAt":%q}}}`, time.Now().Format(time.RFC3339Nano))
	err := world.Patch(ctx, object, client.RawPatch("application/merge-patch+json", []byte(patch)))
	Expect(client.IgnoreNotFound(err)).To(Succeed())
}

func deleteNamespace(ctx context.Context, name string) {
	GinkgoHelper()
	Expect(world.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})).To(Succeed())
}

// whenAsked has look run right before Reporter deals with the next request with a method for a connection, and polls what look returned.
// It runs in a goroutine of Reporter's server: what look uses must be its own.
func whenAsked[T any](s *stage, method, id string, look func(context.Context) (T, error)) func() (T, error) {
	type result struct {
		value T
		err   error
	}
	looked := make(chan result, 1)
	s.reporter.Inject(reportertest.Fault{Method: method, ID: id, Times: 1, Do: func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
		value, err := look(req.Context())
		looked <- result{value, err}
		act(w, req)
	}})
	return func() (T, error) {
		select {
		case r := <-looked:
			looked <- r // for the next poll
			if r.err != nil {
				return r.value, StopTrying("looking when Reporter was asked").Wrap(r.err)
			}
			return r.value, nil
		default:
			var none T
			return none, errors.New("Reporter has not been asked")
		}
	}
}

// inTurn answers each request with the next of some behaviours, and begins anew after the last.
func inTurn(behaviours ...reportertest.Behaviour) reportertest.Behaviour {
	var turn atomic.Int64
	return func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
		behaviours[turn.Add(1)%int64(len(behaviours))](w, req, act)
	}
}

// vanishing are the namespaces that were deleted and have nothing left that the operator holds.
var vanishing []string

// expectEmptied waits until the namespace controller has deleted what is in a deleted namespace, and the operator has let go of it. That
// controller takes some seconds more to look again and let the namespace go, which the suite waits for at its end.
func expectEmptied(ctx context.Context, namespace string) {
	GinkgoHelper()
	Eventually(ctx, held(namespace)).Should(BeEmpty())
	vanishing = append(vanishing, namespace)
}

var _ = AfterSuite(func(ctx context.Context) {
	for _, namespace := range vanishing {
		Eventually(ctx, namespaceGone(namespace)).Should(BeTrue(), namespace)
	}
	for _, server := range served {
		server.Close()
	}
})

// asked counts the requests with a method for a connection that Reporter has got.
func (s *stage) asked(method, id string) int {
	count := 0
	for _, request := range s.reporter.Requests() {
		if request.Method == method && request.Path == "/v1/management/connections/"+id {
			count++
		}
	}
	return count
}

// checks counts how often the operator has checked the Reporter of the stage's endpoint.
func (s *stage) checks() int {
	count := 0
	for _, request := range s.reporter.Requests() {
		if request.Path == "/v1/management/connections" {
			count++
		}
	}
	return count
}

// byHand is the header of what somebody asks of Reporter past the operator.
const byHand = "By-Hand"

// hand asks Reporter for something past the operator, as somebody does in its console, and returns the status of the answer. Where Reporter wants
// a token, the story has it allow "by hand".
func (s *stage) hand(ctx context.Context, method, path, body string) int {
	GinkgoHelper()
	request, err := http.NewRequestWithContext(ctx, method, s.server.URL+"/v1/management/connections"+path, strings.NewReader(body))
	Expect(err).NotTo(HaveOccurred())
	request.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer by hand"}, byHand: {"yes"}}
	response, err := http.DefaultClient.Do(request)
	Expect(err).NotTo(HaveOccurred())
	Expect(response.Body.Close()).To(Succeed())
	return response.StatusCode
}

// sent are the requests of the operator about connections, but for lists, as the method and what of its path follows the id.
func (s *stage) sent() []string {
	var sent []string
	for _, request := range s.reporter.Requests() {
		_, path, about := strings.Cut(request.Path, "/v1/management/connections")
		isList := request.Method == http.MethodGet && path == ""
		if !about || isList || request.Header.Get(byHand) != "" {
			continue
		}
		_, of, isOf := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		if isOf {
			of = " /" + of
		}
		sent = append(sent, request.Method+of)
	}
	return sent
}

// searches counts the lists that the operator has asked for by a mark.
func (s *stage) searches() int {
	count := 0
	for _, request := range s.reporter.Requests() {
		if strings.Contains(request.Query, "metadata.reporterOperatorOwner") {
			count++
		}
	}
	return count
}

// bodies are those that the operator has sent with a method, oldest first.
func (s *stage) bodies(method string) []map[string]any {
	GinkgoHelper()
	var bodies []map[string]any
	for _, request := range s.reporter.Requests() {
		if request.Method == method && len(request.Body) > 0 && request.Header.Get(byHand) == "" {
			var body map[string]any
			Expect(json.Unmarshal(request.Body, &body)).To(Succeed())
			bodies = append(bodies, body)
		}
	}
	return bodies
}

// isCreation says whether a POST is to create a connection, and not to test one.
func isCreation(request *http.Request) bool { return request.URL.Path == "/v1/management/connections" }

// only is the one living connection of the stage's Reporter.
func (s *stage) only() reportertest.Connection {
	GinkgoHelper()
	all := s.reporter.Connections()
	Expect(all).To(HaveLen(1))
	return all[0]
}

// mark is that of a resource in the stage's namespace.
func (s *stage) mark(ctx context.Context, name string) string {
	GinkgoHelper()
	var namespace corev1.Namespace
	Expect(world.Get(ctx, client.ObjectKey{Name: s.namespace}, &namespace)).To(Succeed())
	return string(namespace.UID) + "/" + name
}

func (s *stage) alive(ids []string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !s.reporter.Alive(id) })
}

// writes polls what the operator has written in the stage's namespace since it was made, events included, as "verb resource name". What the
// API server refused is no write: it refuses one that somebody else has just overtaken, and the operator then tries again. Nor is it counted
// that the operator puts finalizers on where the API server serves no policies for that.
//
// Compare with all that is expected since the beginning: a place in between is not to be had, as a write is seen before it is logged.
func (s *stage) writes() ([]string, error) {
	all, err := s.allWrites()
	if world.Mutates {
		return all, err
	}
	held := map[string]bool{}
	return slices.DeleteFunc(all, func(write string) bool {
		verb, of, _ := strings.Cut(write, " ")
		resource, _, _ := strings.Cut(of, " ")
		if held[of] || verb != "patch" || !slices.Contains([]string{"reporterconnections", "reporterendpoints", "secrets"}, resource) {
			return false
		}
		held[of] = true
		return true
	}), err
}

// allWrites polls the writes and those that put finalizers on: the first patch of each object, but for those of its status.
func (s *stage) allWrites() ([]string, error) {
	calls, err := world.OperatorCalls(s.namespace)
	var writes []string
	for _, call := range calls {
		if call.IsWrite() && call.Status < http.StatusMultipleChoices {
			writes = append(writes, fmt.Sprintf("%s %s %s", call.Verb, call.Resource, call.Name))
		}
	}
	return writes, err
}

// writesAbout polls the writes to one resource.
func (s *stage) writesAbout(name string) func() ([]string, error) { return about(name, s.writes) }

// about polls those of some writes that are to one resource.
func about(name string, poll func() ([]string, error)) func() ([]string, error) {
	return func() ([]string, error) {
		writes, err := poll()
		return slices.DeleteFunc(writes, func(write string) bool { return !strings.HasSuffix(write, " "+name) }), err
	}
}

// needsMutation skips a story of the policies that put finalizers on, where the API server serves none.
func needsMutation() {
	GinkgoHelper()
	if !world.Mutates {
		Skip("this Kubernetes serves no MutatingAdmissionPolicy, so that the operator puts finalizers on, and no policy does")
	}
}
