// SPDX-License-Identifier: Apache-2.0

// Package play adds to an in-memory Reporter what a real one's API does not have, for those who try one by hand: jobs
// that are started and ended over HTTP, and a callback for each request with its response.
package play

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

// Jobs plays the part of the jobs that read from connections.
type Jobs struct {
	reporter *reportertest.Reporter
	mu       sync.Mutex
	running  map[string][]func() // by configName: what ends them
}

// NewJobs returns the jobs of a Reporter, none of which runs yet.
func NewJobs(reporter *reportertest.Reporter) *Jobs {
	return &Jobs{reporter: reporter, running: map[string][]func(){}}
}

// Start lets a job read from a connection for a time, or until End if that is 0.
func (j *Jobs) Start(configName string, duration time.Duration) {
	end := j.reporter.StartJob(configName)
	if duration > 0 {
		time.AfterFunc(duration, end)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.running[configName] = append(j.running[configName], end)
}

// End ends all jobs that read from a connection.
func (j *Jobs) End(configName string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, end := range j.running[configName] {
		end()
	}
	delete(j.running, configName)
}

// WithJobs adds the controls of the jobs to a Reporter, below /_play/.
func WithJobs(reporter http.Handler, jobs *Jobs) http.Handler {
	play := http.NewServeMux()
	play.HandleFunc("POST /_play/jobs", func(w http.ResponseWriter, req *http.Request) {
		var job struct{ ConfigName, For string }
		err := json.NewDecoder(http.MaxBytesReader(w, req.Body, 4096)).Decode(&job)
		duration, badFor := time.ParseDuration(cmp.Or(job.For, "0s"))
		if err != nil || badFor != nil || job.ConfigName == "" || duration < 0 {
			http.Error(w, `Send {"configName": "ledger-db", "for": "10s"}; without "for" the job runs until `+
				"DELETE /_play/jobs/ledger-db.", http.StatusBadRequest)
			return
		}
		jobs.Start(job.ConfigName, duration)
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "A job reads from %s.\n", job.ConfigName)
	})
	play.HandleFunc("DELETE /_play/jobs/{configName}", func(w http.ResponseWriter, req *http.Request) {
		jobs.End(req.PathValue("configName"))
		w.WriteHeader(http.StatusNoContent)
	})
	// By hand, as http.ServeMux would redirect a path like //v1/management/connections, where Reporter answers 404.
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasPrefix(req.URL.Path, "/_play/") {
			play.ServeHTTP(w, req)
			return
		}
		reporter.ServeHTTP(w, req)
	})
}

// Exchange is one request with its answer.
type Exchange struct {
	Method string
	URI    string // path and query
	Agent  string // the client, as it names itself
	Answer string // the status and, of an error, its code, as in "409 FET-1021"
	Title  string // of an error, as in "Job In Progress"
	Took   time.Duration
	// RequestID is what the client sent as X-Request-Id.
	RequestID string
}

// Watched calls see for each request when it ends, before its response is sent, unless that is long.
func Watched(handler http.Handler, see func(Exchange)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		start := time.Now()
		seen := &onlooker{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			answer, title := seen.answer()
			see(Exchange{req.Method, req.URL.RequestURI(), req.UserAgent(), answer, title, time.Since(start), req.Header.Get("X-Request-ID")})
		}()
		handler.ServeHTTP(seen, req)
	})
}

// onlooker sees the status and, of an error, the body.
type onlooker struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (o *onlooker) Unwrap() http.ResponseWriter { return o.ResponseWriter }

func (o *onlooker) WriteHeader(status int) {
	o.status = status
	o.ResponseWriter.WriteHeader(status)
}

func (o *onlooker) Write(p []byte) (int, error) {
	if o.status >= 400 {
		o.body.Write(p)
	}
	return o.ResponseWriter.Write(p)
}

func (o *onlooker) answer() (answer, title string) {
	var problem struct {
		Code  any
		Title string
	}
	if json.Unmarshal(o.body.Bytes(), &problem) == nil && problem.Code != nil {
		return fmt.Sprintf("%d %v", o.status, problem.Code), problem.Title
	}
	return fmt.Sprint(o.status), ""
}
