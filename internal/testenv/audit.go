// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
)

const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Metadata
  users: ["` + operatorUser + `"]
- level: None
`

// Call is one request of the operator to the API server.
type Call struct {
	Verb      string
	Resource  string // with its subresource, as in reporterconnections/status
	Namespace string
	Name      string
	Status    int
}

// IsWrite reports whether the call changes anything.
func (c Call) IsWrite() bool {
	switch c.Verb {
	case "get", "list", "watch":
		return false
	}
	return true
}

// auditTrail is what was read of the audit log so far.
type auditTrail struct {
	mu    sync.Mutex
	next  int64             // where the log goes on
	calls map[string][]Call // by namespace
}

// OperatorCalls returns what the operator has asked of the API server about one namespace since the world began, in the order of the
// answers. Each part of the audit log is read once, so it may be polled. It is safe for concurrent use.
//
// The API server logs a call before its caller has the whole answer: of what one process asks one after the other nothing is missing
// before what is there. Others may see what a call has changed a moment before it is logged, so poll for the calls that are expected.
func (w *World) OperatorCalls(namespace string) ([]Call, error) {
	w.audit.mu.Lock()
	defer w.audit.mu.Unlock()
	added, next, err := w.OperatorCallsFrom(w.audit.next)
	if err != nil {
		return nil, err
	}
	if w.audit.calls == nil {
		w.audit.calls = map[string][]Call{}
	}
	for _, call := range added {
		w.audit.calls[call.Namespace] = append(w.audit.calls[call.Namespace], call)
	}
	w.audit.next = next
	return slices.Clone(w.audit.calls[namespace]), nil
}

// OperatorCallsFrom returns what the operator has asked about anything, from a place in the audit log on: 0 is its beginning. It also
// returns the place to go on from.
func (w *World) OperatorCallsFrom(place int64) (calls []Call, next int64, err error) {
	log, err := os.Open(w.path("audit.log"))
	if err != nil {
		return nil, place, err
	}
	defer log.Close() //nolint:errcheck // it was only read
	if _, err := log.Seek(place, io.SeekStart); err != nil {
		return nil, place, err
	}
	content, err := io.ReadAll(log)
	if err != nil {
		return nil, place, err
	}
	content = content[:bytes.LastIndexByte(content, '\n')+1] // the last line may be half written
	for line := range bytes.Lines(content) {
		var entry struct {
			Verb      string `json:"verb"`
			ObjectRef struct {
				Resource, Subresource, Namespace, Name string
			} `json:"objectRef"`
			ResponseStatus struct {
				Code int `json:"code"`
			} `json:"responseStatus"`
		}
		if err := json.Unmarshal(line, &entry); err != nil {
			return nil, place, fmt.Errorf("reading the audit log: %w", err)
		}
		resource := entry.ObjectRef.Resource
		if entry.ObjectRef.Subresource != "" {
			resource += "/" + entry.ObjectRef.Subresource
		}
		calls = append(calls, Call{entry.Verb, resource, entry.ObjectRef.Namespace, entry.ObjectRef.Name, entry.ResponseStatus.Code})
	}
	return calls, place + int64(len(content)), nil
}
