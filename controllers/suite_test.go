// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
	"github.com/reporter-operator/reporter-operator/internal/testenv"
)

// The stories run on a real API server, with the operator as a process of its own under its own ServiceAccount: what they
// see is what a user would. Each has a namespace and a Reporter to itself.
func TestStories(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(time.Minute)
	SetDefaultEventuallyPollingInterval(20 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	RunSpecs(t, "ReporterConnections and ReporterEndpoints")
}

var (
	world    *testenv.World
	operator *testenv.Process
	logFile  *os.File
)

var _ = BeforeSuite(func(ctx context.Context) {
	var err error
	world, err = testenv.Start(ctx)
	DeferCleanup(world.Stop)
	Expect(err).NotTo(HaveOccurred())
	logFile, err = os.Create(filepath.Join(world.Dir, "operator.log"))
	Expect(err).NotTo(HaveOccurred())
	namespaces, err := world.StartNamespaceController(io.Discard)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(namespaces.Kill)
	startOperator(ctx)
	DeferCleanup(func() { operator.Kill() }) // that it ends well when it is told to has a story of its own; this one may have just begun
})

func startOperator(ctx context.Context) {
	GinkgoHelper()
	var args []string
	if namespaced {
		args = append(args, "--watch-namespaces="+strings.Join(watched, ","))
	}
	var err error
	operator, err = world.StartOperator(ctx, logFile, args...)
	Expect(err).NotTo(HaveOccurred())
}

func operatorLog() (string, error) {
	log, err := os.ReadFile(logFile.Name())
	return string(log), err
}

var _ = ReportAfterEach(func(report SpecReport) {
	if report.Failed() && logFile != nil {
		log, _ := operatorLog()
		fmt.Fprintf(GinkgoWriter, "The operator's log ends with:\n%s\n", log[max(0, len(log)-16<<10):])
	}
})

// stage is where one story plays: a namespace, and a Reporter that the endpoint `default` names.
type stage struct {
	namespace string
	reporter  *reportertest.Reporter
	server    *reportertest.Server
}

func newStage(ctx context.Context) *stage {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "story-"}}
	Expect(world.Create(ctx, namespace)).To(Succeed())
	s := &stage{namespace: namespace.Name, reporter: reportertest.New()}
	s.server = reportertest.Serve(GinkgoT(), s.reporter)
	if namespaced {
		s.watch(ctx)
	}
	return s
}

// withEndpoint creates the endpoint `default` and waits until it is Ready.
func (s *stage) withEndpoint(ctx context.Context) *stage {
	GinkgoHelper()
	endpoint := s.endpoint("default", s.server.URL)
	Expect(world.Create(ctx, endpoint)).To(Succeed())
	Eventually(ctx, reasonOf(endpoint, v1alpha1.ConditionReady)).Should(Equal("Available"))
	return s
}

func (s *stage) endpoint(name, url string) *v1alpha1.ReporterEndpoint {
	return &v1alpha1.ReporterEndpoint{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name},
		Spec:       v1alpha1.ReporterEndpointSpec{URL: v1alpha1.BaseURL(url)},
	}
}

// connection is a ReporterConnection, not created yet, that claims an id through the endpoint `default`.
func (s *stage) connection(name, id string) *v1alpha1.ReporterConnection {
	return &v1alpha1.ReporterConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name},
		Spec:       v1alpha1.ReporterConnectionSpec{ConnectionID: id},
	}
}

// created creates a ReporterConnection and waits until the operator has seen its connection.
func (s *stage) created(ctx context.Context, name, id string) *v1alpha1.ReporterConnection {
	GinkgoHelper()
	rc := s.connection(name, id)
	Expect(world.Create(ctx, rc)).To(Succeed())
	Eventually(ctx, reasonOf(rc, v1alpha1.ConditionReady)).Should(Equal("Available"))
	Eventually(ctx, s.writes).Should(ContainElement("patch reporterconnections/status "+name), "the audit log has caught up")
	return rc
}

func (s *stage) kubectl(ctx context.Context, args ...string) string {
	GinkgoHelper()
	output, err := world.Kubectl(ctx, "", append([]string{"--namespace", s.namespace}, args...)...)
	Expect(err).NotTo(HaveOccurred())
	return output
}

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

// writes lists the operator's writes in the stage's namespace, events included, as "verb resource name".
func (s *stage) writes() []string {
	GinkgoHelper()
	calls, err := world.OperatorCalls(s.namespace)
	Expect(err).NotTo(HaveOccurred())
	var writes []string
	for _, call := range calls {
		if call.IsWrite() {
			writes = append(writes, fmt.Sprintf("%s %s %s", call.Verb, call.Resource, call.Name))
		}
	}
	return writes
}

// writesSince polls the writes after the first so many.
func (s *stage) writesSince(before int) func() []string {
	return func() []string { return s.writes()[before:] }
}

// conditioned is a kind of ours.
type conditioned interface {
	*v1alpha1.ReporterConnection | *v1alpha1.ReporterEndpoint
	client.Object
}

func conditionsOf(object client.Object) []metav1.Condition {
	switch o := object.(type) {
	case *v1alpha1.ReporterConnection:
		return o.Status.Conditions
	case *v1alpha1.ReporterEndpoint:
		return o.Status.Conditions
	}
	return nil
}

// conditionOf polls a condition of an object, nil while there is none.
func conditionOf[T conditioned](object T, conditionType string) func(context.Context) (*metav1.Condition, error) {
	return func(ctx context.Context) (*metav1.Condition, error) {
		err := world.Get(ctx, client.ObjectKeyFromObject(object), object)
		return apimeta.FindStatusCondition(conditionsOf(object), conditionType), err
	}
}

// reasonOf polls the reason of a condition that describes the object as it is, "" while there is none.
func reasonOf[T conditioned](object T, conditionType string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		condition, err := conditionOf(object, conditionType)(ctx)
		if condition == nil || condition.ObservedGeneration != object.GetGeneration() {
			return "", err
		}
		return condition.Reason, err
	}
}

// finalizersOf polls the finalizers of an object.
func finalizersOf[T conditioned](object T) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		err := world.Get(ctx, client.ObjectKeyFromObject(object), object)
		return object.GetFinalizers(), err
	}
}

// gone polls whether an object has vanished.
func gone[T conditioned](object T) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		err := world.Get(ctx, client.ObjectKeyFromObject(object), object)
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	}
}

// askNow has the operator try again whatever it waits for.
func askNow[T conditioned](ctx context.Context, object T) {
	GinkgoHelper()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"reporter.lerian.studio/requestedAt":%q}}}`, time.Now().Format(time.RFC3339Nano))
	Expect(world.Patch(ctx, object, client.RawPatch("application/merge-patch+json", []byte(patch)))).To(Succeed())
}
