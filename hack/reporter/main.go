// Command reporter serves an in-memory Reporter to play with, with a few connections in it:
//
//	go run ./hack/reporter                       # at http://127.0.0.1:4006, until Ctrl-C
//	go run ./hack/reporter --busy ledger-db=30s  # a job reads from ledger-db for the first 30 seconds
//	go run ./hack/reporter --lose 3              # every third change is made, and its answer lost
//
// It answers as a real one does (see internal/reporter/reportertest) and logs each request on a line. A real Reporter
// has no API to start jobs with, so what plays their part is apart from its API, below /_play/:
//
//	POST   /_play/jobs  {"configName": "ledger-db", "for": "10s"}    a job reads from ledger-db; without "for", until
//	DELETE /_play/jobs/ledger-db                                     its jobs end
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/reporter-operator/reporter-operator/hack/internal/play"
	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

func main() {
	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "reporter:", err)
		os.Exit(1)
	}
}

// run serves until the context ends.
func run(ctx context.Context, args []string, out io.Writer) error {
	reporter := reportertest.New()
	jobs := play.NewJobs(reporter)
	address, err := configure(reporter, jobs, args)
	if err != nil {
		return err
	}
	for _, c := range connections {
		reporter.Add(c)
	}
	logger := log.New(out, "", log.Ltime)
	handler := play.Watched(play.WithJobs(reporter, jobs), func(e play.Exchange) {
		logger.Println(strings.TrimSpace(fmt.Sprintf("%s %s %s (%s) %s", e.Method, e.URI, e.Answer, e.Took.Round(time.Millisecond), e.RequestID)))
	})
	server, err := reportertest.Start(handler, address)
	if err != nil {
		return err
	}
	defer server.Close()
	introduce(out, server.URL, reporter.Connections())
	<-ctx.Done()
	return nil
}

// configure has a Reporter be as the flags say, and returns the address to listen on.
func configure(reporter *reportertest.Reporter, jobs *play.Jobs, args []string) (address string, err error) {
	flags := flag.NewFlagSet("reporter", flag.ExitOnError)
	flags.StringVar(&address, "addr", "127.0.0.1:4006", "loopback `address` to listen on")
	flags.Func("busy", "let a job read from a connection, as `configName[=duration]`; repeatable", func(value string) error {
		configName, duration, _ := strings.Cut(value, "=")
		d, err := time.ParseDuration(cmp.Or(duration, "0s"))
		if err == nil {
			jobs.Start(configName, d)
		}
		return err
	})
	flags.Func("latency", "`duration` to delay every answer by", func(value string) error {
		d, err := time.ParseDuration(value)
		reporter.SetLatency(d)
		return err
	})
	flags.Func("lose", "carry out every `n`th creation, change and deletion, and lose the answer", func(value string) error {
		every, err := strconv.Atoi(value)
		if err == nil && every < 1 {
			err = strconv.ErrRange
		}
		if err == nil {
			reporter.Inject(reportertest.Fault{Match: acts, Every: every, Do: reportertest.AfterActing(reportertest.Reset())})
		}
		return err
	})
	flags.Func("token", "ask for this bearer `token`", func(value string) error {
		reporter.AllowToken(value, "")
		return nil
	})
	flags.BoolFunc("multi-tenant", "be in multi-tenant mode, with an internal connection", func(string) error {
		reporter.SetMultiTenant(true)
		reporter.AddInternal(reportertest.Connection{ConfigName: "internal-db", DatabaseName: "internal"})
		return nil
	})
	flags.BoolFunc("problem-json", "answer errors in the format of newer versions", func(string) error {
		reporter.SetProblemJSON(true)
		return nil
	})
	flags.Parse(args) //nolint:errcheck // exits on errors
	if flags.NArg() > 0 {
		return "", fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return address, checkLoopback(address)
}

// acts says whether a request changes something in Reporter.
func acts(req *http.Request) bool {
	return req.Method != http.MethodGet && !strings.HasSuffix(req.URL.Path, "/test") && !strings.HasSuffix(req.URL.Path, "/validate-schema")
}

// connections have ids that stay the same, so that manifests can name them.
var connections = []reportertest.Connection{
	{
		ID: "019996b8-f3d1-7d2b-a192-6e91464d82fc", ConfigName: "ledger-db", ProductName: "midaz",
		Type: "POSTGRESQL", Host: "ledger.example.com", DatabaseName: "ledger", Schema: "public",
		SSL: &reportertest.SSL{Mode: "require"},
	},
	{
		ID: "019996b9-174d-7a23-9f87-f7336d5ad98c", ConfigName: "onboarding-db", ProductName: "midaz",
		Type: "MONGODB", Host: "onboarding.example.com", Port: 27017, DatabaseName: "onboarding",
	},
	{
		ID: "019996b9-3b1e-7475-bb50-c81bbb553432", ConfigName: "billing-db", ProductName: "billing",
		Type: "MYSQL", Host: "billing.example.com", Port: 3306, DatabaseName: "billing",
	},
}

// checkLoopback keeps what asks nobody for a password from the network.
func checkLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("--addr: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("--addr %s is not a loopback address like 127.0.0.1:4006; this Reporter is for this machine only", address)
	}
	return nil
}

func introduce(out io.Writer, url string, connections []reportertest.Connection) {
	fmt.Fprintf(out, "Reporter is at %s\n\n", url)
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "ID\tCONFIGNAME\tPRODUCT\tTYPE\tHOST")
	for _, c := range connections {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", c.ID, c.ConfigName, c.ProductName, c.Type, c.Host)
	}
	table.Flush() //nolint:errcheck // where the terminal is gone, there is nobody to tell
	first := connections[0]
	fmt.Fprintf(out, `
Try:
  curl -i %[1]s/v1/management/connections
  curl -i %[1]s/v1/management/connections/%[2]s
  curl -i %[1]s/_play/jobs -d '{"configName": "%[3]s", "for": "30s"}'
  curl -i -X DELETE %[1]s/v1/management/connections/%[2]s
  curl -i -X DELETE %[1]s/_play/jobs/%[3]s

Ctrl-C ends it. Requests:
`, url, first.ID, first.ConfigName)
}
