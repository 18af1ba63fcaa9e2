// SPDX-License-Identifier: Apache-2.0

package stories_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// runAdvice runs the command that a message ends with, as the user would: in a shell, with a value in place of the dots.
func runAdvice(ctx context.Context, message, value string) {
	GinkgoHelper()
	_, command, found := strings.Cut(message, "un: ")
	Expect(found).To(BeTrue(), message)
	shell := exec.CommandContext(ctx, "sh", "-c", strings.ReplaceAll(command, "…", value))
	shell.Env = append(shell.Environ(), "KUBECONFIG="+world.Kubeconfig, "PATH="+os.Getenv("KUBEBUILDER_ASSETS")+":"+os.Getenv("PATH"))
	output, err := shell.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s\n%s", command, output)
}

var _ = Describe("The Secret of a database", func() {
	// waiting is a resource that does not get on for a Secret, and says why.
	waiting := func(ctx context.Context, s *stage, reason string) (*v1alpha1.ReporterConnection, string) {
		GinkgoHelper()
		rc := s.described("ledger")
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal(reason))
		Expect(s.sent()).To(BeEmpty())
		return rc, mustCondition(ctx, rc, "Ready").Message
	}
	isMended := func(ctx context.Context, s *stage, rc *v1alpha1.ReporterConnection) {
		GinkgoHelper()
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(s.reporter.Secrets(rc.Status.ConnectionID).Password).To(Equal("hush"))
		Expect(s.bodies(http.MethodPost)).To(HaveLen(1))
	}

	It("is missing, and is created by the command that the status has", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		rc, message := waiting(ctx, s, "SecretNotFound")
		Expect(message).To(ContainSubstring(`Secret "database" does not exist`))
		runAdvice(ctx, message, "hush")
		isMended(ctx, s, rc)
	})

	It("is not marked, and is by the command that the status has", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		s.kubectl(ctx, "create", "secret", "generic", "database", "--from-literal=password=hush")
		rc, message := waiting(ctx, s, "SecretNotGranted")
		Expect(message).To(Equal(`Secret "database" is not labelled for Reporter, so it is not read. Run: kubectl label secret --namespace ` + s.namespace +
			` database reporter.lerian.studio/credentials=database`))
		runAdvice(ctx, message, "")
		isMended(ctx, s, rc)
	})

	It("is marked for endpoints, and is for databases by the command that the status has", func(ctx context.Context) {
		s := newStage(ctx).withEndpoint(ctx)
		secret := s.database("hush")
		secret.Labels["reporter.lerian.studio/credentials"] = "true"
		Expect(world.Create(ctx, secret)).To(Succeed())
		rc, message := waiting(ctx, s, "SecretNotGranted")
		Expect(message).To(ContainSubstring(`is labelled reporter.lerian.studio/credentials=true, and is needed with the value database`))
		runAdvice(ctx, message, "")
		isMended(ctx, s, rc)
	})

	DescribeTable("has no password in it, and has by the command that the status has", func(ctx context.Context, data string) {
		s := newStage(ctx).withEndpoint(ctx)
		s.kubectl(ctx, "create", "secret", "generic", "database", "--from-literal="+data)
		s.kubectl(ctx, "label", "secret", "database", "reporter.lerian.studio/credentials=database")
		rc, message := waiting(ctx, s, "SecretNotFound")
		Expect(message).To(ContainSubstring(`Secret "database" has no key "password", or nothing in it`))
		runAdvice(ctx, message, "hush")
		isMended(ctx, s, rc)
	},
		Entry("under another key", "other=hush"),
		Entry("as it is empty", "password="),
		Entry("but white space", "password= \n"),
	)

	It("has its new password sent when that changes, and nothing when only its metadata does", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		DeferCleanup(func(ctx context.Context) { restartOperator(ctx) })
		restartOperator(ctx, "--check-interval=1s")
		rc := s.create(ctx, s.described("ledger"))
		other := s.create(ctx, s.described("other"))
		s.patchSecret(ctx, "database", `{"stringData":{"password":"changed"}}`)
		for _, changed := range []*v1alpha1.ReporterConnection{rc, other} {
			Eventually(ctx, func() string { return s.reporter.Secrets(changed.Status.ConnectionID).Password }).Should(Equal("changed"))
		}
		Expect(s.bodies(http.MethodPatch)).To(Equal([]map[string]any{{"password": "changed"}, {"password": "changed"}}))

		sent := func(ctx context.Context) (string, error) {
			err := world.Get(ctx, client.ObjectKeyFromObject(rc), rc)
			return rc.Status.Sent, err
		}
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		before := rc.Status.Sent
		s.kubectl(ctx, "annotate", "secret", "database", "example.com/note=x")
		Eventually(ctx, sent).ShouldNot(Equal(before), "it is noted at the next look")
		Expect(s.bodies(http.MethodPatch)).To(HaveLen(2))
	})

	It("has its new password sent that was changed while the operator was down", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		killOperator()
		s.patchSecret(ctx, "database", `{"stringData":{"password":"changed"}}`)
		startOperator(ctx)
		Eventually(ctx, func() string { return s.reporter.Secrets(rc.Status.ConnectionID).Password }).Should(Equal("changed"))
	})

	It("has its new password sent that was changed while Reporter was down", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		s.server.Down()
		s.patchSecret(ctx, "database", `{"stringData":{"password":"changed"}}`)
		Eventually(ctx, reasonOf(s.endpoint("default", ""), "Ready")).Should(Equal("ReporterUnavailable"))
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("ReporterUnavailable"), "it is not as described")
		Eventually(ctx, s.server.Up).Should(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(s.reporter.Secrets(rc.Status.ConnectionID).Password).To(Equal("changed"))
	})

	It("is taken as it was written: a user name without white space around it, a password without the line break of an editor", func(ctx context.Context) {
		s := newStage(ctx)
		secret := s.database("hush \n")
		secret.StringData["username"] = " reporter\n"
		Expect(world.Create(ctx, secret)).To(Succeed())
		s.withEndpoint(ctx)
		rc := s.described("ledger")
		rc.Spec.Connection.UserName, rc.Spec.Connection.UserNameSecretRef = "", &v1alpha1.SecretKeyReference{Name: "database", Key: "username"}
		s.create(ctx, rc)
		Expect(s.reporter.Secrets(rc.Status.ConnectionID)).To(And(HaveField("UserName", "reporter"), HaveField("Password", "hush ")))
	})

	It("has a certificate and a key, which are sent, and sent again when they are renewed", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		client := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "client", Labels: map[string]string{"reporter.lerian.studio/credentials": "database"}},
			Type:       corev1.SecretTypeTLS,
			StringData: map[string]string{"tls.crt": "its certificate", "tls.key": "its key"},
		}
		Expect(world.Create(ctx, client)).To(Succeed())
		rc := s.described("ledger")
		rc.Spec.Connection.SSL = &v1alpha1.ConnectionSSL{Mode: "verify-full", CABundle: "their authorities",
			ClientCertificateSecretRef: &v1alpha1.SecretReference{Name: "client"}}
		s.create(ctx, rc)
		has := func() reportertest.Secrets { return s.reporter.Secrets(rc.Status.ConnectionID) }
		Expect(has()).To(And(HaveField("CA", "their authorities"), HaveField("Cert", "its certificate"), HaveField("Key", "its key")))
		s.patchSecret(ctx, "client", `{"stringData":{"tls.crt":"a new certificate","tls.key":"a new key"}}`)
		Eventually(ctx, has).Should(And(HaveField("CA", "their authorities"), HaveField("Cert", "a new certificate"), HaveField("Key", "a new key"), HaveField("Password", "hush")))
		s.patchConnection(ctx, "ledger", `{"spec":{"connection":{"ssl":{"mode":"require"}}}}`)
		Eventually(ctx, func() string { return s.only().SSL.Mode }).Should(Equal("require"))
		Expect(has()).To(And(HaveField("CA", "their authorities"), HaveField("Key", "a new key")), "ssl is sent whole")
	})

	It("lists the hosts that its password may be sent with, and no other is", func(ctx context.Context) {
		s := newStage(ctx)
		secret := s.database("hush")
		secret.Annotations = map[string]string{"reporter.lerian.studio/hosts": "other.internal, DB.internal."}
		Expect(world.Create(ctx, secret)).To(Succeed())
		rc := s.withEndpoint(ctx).create(ctx, s.described("ledger"))
		s.patchConnection(ctx, "ledger", `{"spec":{"connection":{"host":"theirs.example.com"}}}`)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("HostNotAllowed"))
		Expect(mustCondition(ctx, rc, "Ready").Message).To(Equal(`The annotation reporter.lerian.studio/hosts of Secret "database" does not list "theirs.example.com", ` +
			`so what the Secret holds is not sent with that host. Add it there, or correct spec.connection.host`))
		Expect(mustCondition(ctx, rc, "Stalled").Reason).To(Equal("HostNotAllowed"))
		askNow(ctx, rc)
		s.create(ctx, s.described("other"))
		Expect(s.bodies(http.MethodPatch)).To(BeEmpty(), "the operator has gone on")
		Expect(s.reporter.Secrets(rc.Status.ConnectionID).Host).To(Equal("db.internal"))

		s.kubectl(ctx, "annotate", "--overwrite", "secret", "database", "reporter.lerian.studio/hosts=db.internal,theirs.example.com")
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(s.reporter.Secrets(rc.Status.ConnectionID)).To(And(HaveField("Host", "theirs.example.com"), HaveField("Password", "hush")))
	})

	It("is needed to lead Reporter to another host: Reporter's own password never goes there", func(ctx context.Context) {
		s := newStage(ctx).withDatabase(ctx)
		rc := s.create(ctx, s.described("ledger"))
		s.kubectl(ctx, "label", "secret", "database", "reporter.lerian.studio/credentials-")
		s.patchConnection(ctx, "ledger", `{"spec":{"connection":{"host":"theirs.example.com"}}}`)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("SecretNotGranted"))
		Expect(s.bodies(http.MethodPatch)).To(BeEmpty())
		Expect(s.reporter.Secrets(rc.Status.ConnectionID).Host).To(Equal("db.internal"))

		s.kubectl(ctx, "create", "secret", "generic", "theirs", "--from-literal=password=theirs")
		s.kubectl(ctx, "label", "secret", "theirs", "reporter.lerian.studio/credentials=database")
		s.patchConnection(ctx, "ledger", `{"spec":{"connection":{"passwordSecretRef":{"name":"theirs"}}}}`)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		Expect(s.reporter.Secrets(rc.Status.ConnectionID)).To(And(HaveField("Host", "theirs.example.com"), HaveField("Password", "theirs")))
		Expect(s.bodies(http.MethodPatch)).To(HaveEach(HaveKeyWithValue("password", "theirs")))
	})

	It("is none of an endpoint's, nor is an endpoint's a database's", func(ctx context.Context) {
		s := newStage(ctx)
		secret := s.credentials(ctx)
		s.kubectl(ctx, "label", "--overwrite", "secret", "token", "reporter.lerian.studio/credentials=database")
		endpoint := s.securedEndpoint()
		Expect(world.Create(ctx, endpoint)).To(Succeed())
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("SecretNotGranted"))
		Expect(mustCondition(ctx, endpoint, "Ready").Message).To(ContainSubstring("is labelled reporter.lerian.studio/credentials=database, and is needed with the value true"))
		runAdvice(ctx, mustCondition(ctx, endpoint, "Ready").Message, "")
		Eventually(ctx, reasonOf(endpoint, "Ready")).Should(Equal("Available"))

		rc := s.described("ledger")
		rc.Spec.Connection.PasswordSecretRef = v1alpha1.SecretKeyReference{Name: secret.Name, Key: "token"}
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("SecretNotGranted"))
		Expect(s.reporter.Connections()).To(BeEmpty())
	})

	It("is shown nowhere: not in a log at any verbosity, a metric, an event or a status, whatever fails", func(ctx context.Context) {
		const password, key = "a-password-that-nobody-may-see", "a-key-that-nobody-may-see"
		address := freeAddress(ctx)
		DeferCleanup(func(ctx context.Context) { restartOperator(ctx) })
		restartOperator(ctx, "--zap-log-level=10", "--metrics-bind-address="+address, "--metrics-secure=false")
		shown := func() string {
			GinkgoHelper()
			log, err := operatorLog()
			Expect(err).NotTo(HaveOccurred())
			objects, err := world.Kubectl(ctx, "", "get", "rconn,rep,events,leases", "--all-namespaces", "-o", "yaml")
			Expect(err).NotTo(HaveOccurred())
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
			Expect(err).NotTo(HaveOccurred())
			response, err := http.DefaultClient.Do(request)
			Expect(err).NotTo(HaveOccurred())
			defer response.Body.Close()
			metrics, err := io.ReadAll(response.Body)
			Expect(err).NotTo(HaveOccurred())
			Expect(string(metrics)).To(ContainSubstring("reporter_operator_"))
			return log + objects + string(metrics)
		}
		isHidden := func() {
			GinkgoHelper()
			all := shown()
			Expect(strings.Contains(all, `"level":"debug"`) || strings.Contains(all, `"level":"Level(-`)).To(BeTrue(), "it is verbose")
			Expect(strings.Contains(all, password)).To(BeFalse(), "the password")
			Expect(strings.Contains(all, key)).To(BeFalse(), "the key")
		}
		s := newStage(ctx)
		secret := s.database(password)
		secret.StringData["tls.crt"], secret.StringData["tls.key"] = "its certificate", key
		Expect(world.Create(ctx, secret)).To(Succeed())
		s.withEndpoint(ctx)
		rc := s.described("ledger")
		rc.Spec.Connection.SSL = &v1alpha1.ConnectionSSL{Mode: "require", CABundle: "PEM", ClientCertificateSecretRef: &v1alpha1.SecretReference{Name: "database"}}
		refuse := func(method string, status int) (mend func()) {
			return s.reporter.Inject(reportertest.Fault{Method: method, Match: func(r *http.Request) bool { return r.Method != http.MethodPost || isCreation(r) }, Do: reportertest.Answer(status, http.Header{"Content-Type": {"application/json"}},
				`{"code":"FET-0402","title":"`+password+`","message":"`+key+`","fields":{"host":"`+password+`","`+password+`":"`+key+`"}}`)})
		}
		mend := refuse(http.MethodPost, 400)
		Expect(world.Create(ctx, rc)).To(Succeed())
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("InvalidConnection"))
		isHidden()
		mend()
		mend = s.reporter.Inject(reportertest.Fault{Method: http.MethodPost, Match: isCreation, Do: reportertest.AfterActing(reportertest.Answer(201, nil, password+key))})
		askNow(ctx, rc)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"), "it is found")
		isHidden()
		mend()
		for _, status := range []int{400, 409, 500} {
			mend = refuse(http.MethodPatch, status)
			sent := len(s.bodies(http.MethodPatch))
			s.patchSecret(ctx, "database", `{"stringData":{"more":"`+http.StatusText(status)+`"}}`)
			askNow(ctx, rc)
			Eventually(ctx, func() int { return len(s.bodies(http.MethodPatch)) }).Should(BeNumerically(">", sent))
			isHidden()
			mend()
		}
		askNow(ctx, rc)
		Eventually(ctx, reasonOf(rc, "Ready")).Should(Equal("Available"))
		s.deleteConnections(ctx, "ledger")
		s.expectGone(ctx, "ledger")
		isHidden()
	})
})
