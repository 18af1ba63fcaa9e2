// SPDX-License-Identifier: Apache-2.0

// Command manager runs the operator: it soft-deletes a connection in Lerian's Reporter when its ReporterConnection is deleted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	uberzap "go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers"
	"github.com/reporter-operator/reporter-operator/controllers/kube"
	"github.com/reporter-operator/reporter-operator/controllers/scope"
)

// version is set by the linker: see hack/release.
var version = "(devel)"

// gracefulShutdown is longer than a pass, so that on SIGTERM what was sent is answered and acted upon. The pod's
// terminationGracePeriodSeconds is longer still.
const gracefulShutdown = kube.PassTimeout + 10*time.Second

func main() {
	if err := run(ctrl.SetupSignalHandler()); err != nil {
		fmt.Fprintln(os.Stderr, "manager:", err)
		os.Exit(1)
	}
}

// settings are what the flags say.
type settings struct {
	version      bool
	probeAddress string
	leaderElect  bool
	leaseIn      string // the pod's namespace, if it is empty
	metrics      metricsserver.Options
	namespaces   []string // all, if there are none
	options      controllers.Options
	log          zap.Options
}

func (s *settings) bind(flags *flag.FlagSet) {
	flags.BoolVar(&s.version, "version", false, "Print the version, and what it is built from, and end.")
	flags.StringVar(&s.metrics.BindAddress, "metrics-bind-address", "0", "Address to serve /metrics on; 0 turns them off.")
	flags.BoolVar(&s.metrics.SecureServing, "metrics-secure", true, "Serve metrics over TLS, and only to whom the API server knows and allows to get /metrics. "+
		"Otherwise anybody gets them, over plain HTTP.")
	flags.StringVar(&s.metrics.CertDir, "metrics-cert-path", "", "Directory of tls.crt and tls.key to serve metrics with, read again when they change. "+
		"Without it the certificate is self-signed, and made anew at each start.")
	flags.StringVar(&s.probeAddress, "health-probe-bind-address", ":8081", "Address to serve /healthz and /readyz on; 0 turns them off.")
	flags.BoolVar(&s.leaderElect, "leader-elect", false, "Elect a leader, so that more than one replica may run: one works, the others stand by.")
	flags.StringVar(&s.leaseIn, "leader-elect-resource-namespace", "", "Namespace of the lease that replicas elect the leader with: outside of a cluster there is no pod to have one.")
	flags.IntVar(&s.options.MaxConcurrentReconciles, "max-concurrent-reconciles", 256, "How many ReporterConnections to work on at once, those among them that wait for an answer of Reporter, "+
		"which spec.maxInFlight of their ReporterEndpoint bounds. Fewer spare the API server; with few, Reporters that hang keep others waiting.")
	flags.DurationVar(&s.options.CheckInterval, "check-interval", time.Hour, "How often to look up a live connection again, give or take a tenth; at most one per second and Reporter.")
	flags.Func("allowed-endpoint-hosts", "Host names, separated by commas, that the URLs of ReporterEndpoints may have, of Access Managers too; *.example.com stands for "+
		"every name below example.com. All are allowed if it is not set.", eachOf(func(host string) error {
		if host == "" {
			return errors.New("a host name is empty: write them like reporter.internal,*.svc.cluster.local")
		}
		s.options.Network.AllowedHosts = append(s.options.Network.AllowedHosts, host)
		return nil
	}))
	flags.BoolVar(&s.options.Network.AllowLoopback, "allow-loopback-endpoints", false, "Allow Reporters at addresses of the machine itself, as for development.")
	flags.BoolVar(&s.options.Network.ProxyFromEnvironment, "use-proxy-from-environment", false, "Respect HTTP_PROXY, HTTPS_PROXY and NO_PROXY on the way to Reporters. "+
		"A proxy looks names up by itself, so this needs --allowed-endpoint-hosts.")
	flags.Func("watch-namespaces", "Namespaces, separated by commas, to work in alone. The operator needs a RoleBinding in each, named reporter-operator, and no rights elsewhere. "+
		"All if it is not set.", eachOf(func(namespace string) error {
		if len(validation.IsDNS1123Label(namespace)) > 0 {
			return errors.New("a namespace is empty, or has a name that none can have: write them like billing,ledger")
		}
		s.namespaces = append(s.namespaces, namespace)
		return nil
	}))
	s.log.StacktraceLevel = zapcore.PanicLevel // an error of the API server is no reason for a stack trace
	s.log.EncoderConfigOptions = []zap.EncoderConfigOption{nameLevels}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		s.log.NewEncoder = readable
	}
	s.log.BindFlags(flags)
}

// newLogger logs every line. By default zap drops lines of the same message after the first hundred of a second, and among those may be the only
// one that a resource has left.
func newLogger(options *zap.Options) logr.Logger {
	var whole zapcore.Core
	keep := func(core zapcore.Core) zapcore.Core {
		whole = core
		return core
	}
	sampled := zap.NewRaw(zap.UseFlagOptions(options), zap.RawZapOpts(uberzap.WrapCore(keep)))
	return zapr.NewLogger(sampled.WithOptions(uberzap.WrapCore(func(zapcore.Core) zapcore.Core { return whole })))
}

// nameLevels has all verbosities called debug, as zap has names for the first one alone.
func nameLevels(config *zapcore.EncoderConfig) {
	encode := config.EncodeLevel
	config.EncodeLevel = func(level zapcore.Level, encoder zapcore.PrimitiveArrayEncoder) {
		encode(max(level, zapcore.DebugLevel), encoder)
	}
}

// readable is how logs look in a terminal. Elsewhere they are JSON.
func readable(options ...zap.EncoderConfigOption) zapcore.Encoder {
	config := uberzap.NewDevelopmentEncoderConfig()
	for _, option := range options {
		option(&config)
	}
	return zapcore.NewConsoleEncoder(config)
}

// check returns what is wrong with the settings, and with what follows the flags.
func (s *settings) check(arguments []string) error {
	switch {
	case len(arguments) > 0:
		return fmt.Errorf("unexpected argument %q: flags start with --", arguments[0])
	case s.options.CheckInterval <= 0 || s.options.MaxConcurrentReconciles <= 0:
		return errors.New("--check-interval and --max-concurrent-reconciles must be above 0")
	case s.options.Network.ProxyFromEnvironment && len(s.options.Network.AllowedHosts) == 0:
		return errors.New("--use-proxy-from-environment needs --allowed-endpoint-hosts, as a proxy may lead anywhere")
	}
	return nil
}

func (s *settings) managerOptions(scheme *apiruntime.Scheme) ctrl.Options {
	metrics := s.metrics
	if metrics.SecureServing {
		metrics.FilterProvider = filters.WithAuthenticationAndAuthorization
	}
	return ctrl.Options{
		Scheme:                        scheme,
		Controller:                    ctrlconfig.Controller{SkipNameValidation: new(true)}, // one manager may follow another
		Metrics:                       metrics,
		HealthProbeBindAddress:        s.probeAddress,
		LeaderElection:                s.leaderElect,
		LeaderElectionID:              "reporter-operator.reporter.lerian.studio",
		LeaderElectionNamespace:       s.leaseIn,
		LeaderElectionReleaseOnCancel: true, // nothing is done after the manager but to end the process, or to make another
		GracefulShutdownTimeout:       new(gracefulShutdown),
	}
}

func run(ctx context.Context) error {
	var s settings
	s.bind(flag.CommandLine)
	flag.Parse()
	if err := s.check(flag.Args()); err != nil {
		return err
	}
	if s.version {
		return printBuild(os.Stdout)
	}
	ctrl.SetLogger(newLogger(&s.log))
	scheme := apiruntime.NewScheme()
	for _, add := range []func(*apiruntime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return fmt.Errorf("building the scheme: %w", err)
		}
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the cluster: %w", err)
	}
	config.QPS = -1 // the API server has its own ways to be fair
	work := func(ctx context.Context, where scope.Scope) error {
		s.options.Scope = where
		return manage(ctx, config, s.managerOptions(scheme), s.options)
	}
	if len(s.namespaces) == 0 {
		return work(ctx, scope.Scope{})
	}
	server, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	return scope.RunInNamespaces(ctx, server, s.namespaces, work)
}

func manage(ctx context.Context, config *rest.Config, manager ctrl.Options, options controllers.Options) error {
	manager.Cache, manager.Client = options.Scope.CacheOptions(), options.Scope.ClientOptions()
	clock := &kube.Clock{}
	config = rest.CopyConfig(config)
	config.Wrap(clock.Wrap)
	mgr, err := ctrl.NewManager(config, manager)
	if err != nil {
		return fmt.Errorf("making the manager: %w", err)
	}
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	if err := controllers.Setup(ctx, mgr, options, clock, abort); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("adding the liveness probe: %w", err)
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("adding the readiness probe: %w", err)
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the manager: %w", err)
	}
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("ending, to begin anew with what is there: %w", err)
	}
	return nil
}

// printBuild tells the version, and the Go and the libraries that decide how the operator speaks to the API server.
func printBuild(w io.Writer) error {
	var lines strings.Builder
	fmt.Fprintf(&lines, "reporter-operator %s\n%s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "k8s.io/client-go" || module.Path == "sigs.k8s.io/controller-runtime" {
				fmt.Fprintln(&lines, module.Path, module.Version)
			}
		}
	}
	_, err := io.WriteString(w, lines.String())
	return err
}

// eachOf takes the value of a flag apart at its commas.
func eachOf(take func(string) error) func(string) error {
	return func(list string) error {
		for value := range strings.SplitSeq(list, ",") {
			if err := take(strings.TrimSpace(value)); err != nil {
				return err
			}
		}
		return nil
	}
}
