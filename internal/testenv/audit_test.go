// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

func entry(verb, namespace, name string, status int) string {
	return fmt.Sprintf(`{"verb":%q,"objectRef":{"resource":"reporterconnections","subresource":"status","namespace":%q,"name":%q},"responseStatus":{"code":%d}}`+"\n",
		verb, namespace, name, status)
}

func TestOperatorCalls(t *testing.T) {
	w := &World{Dir: t.TempDir()}
	log, err := os.Create(w.path("audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	write := func(text string) {
		t.Helper()
		if _, err := log.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(namespace string, want ...Call) {
		t.Helper()
		if got, err := w.OperatorCalls(namespace); err != nil || !slices.Equal(got, want) {
			t.Errorf("the calls about namespace %s are %v, %v, not %v", namespace, got, err, want)
		}
	}
	const resource = "reporterconnections/status"
	first, second := Call{"patch", resource, "one", "first", 200}, Call{"get", resource, "one", "second", 404}

	expect("one")
	write(entry("patch", "one", "first", 200) + entry("patch", "two", "other", 409))
	expect("one", first)
	half := entry("get", "one", "second", 404)
	write(half[:40])
	expect("one", first)
	write(half[40:])
	expect("one", first, second)
	expect("two", Call{"patch", resource, "two", "other", 409})

	// What was read is not read again, however much of it there is.
	if err := os.WriteFile(w.path("audit.log"), []byte(strings.Repeat("x", int(w.audit.next))), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("one", first, second)
}

func TestOperatorCallsOfSeveralGoroutines(t *testing.T) {
	w := &World{Dir: t.TempDir()}
	const n = 200
	if err := os.WriteFile(w.path("audit.log"), []byte(strings.Repeat(entry("patch", "one", "first", 200), n)), 0o600); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if calls, err := w.OperatorCalls("one"); err != nil || len(calls) != n {
				t.Errorf("there are %d calls, %v, not %d", len(calls), err, n)
			}
		})
	}
	group.Wait()
}
