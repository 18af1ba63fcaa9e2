package reportertest_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/reporter-operator/reporter-operator/internal/reporter/reportertest"
)

func TestDownAndUp(t *testing.T) {
	s := newStand(t)
	url := s.server.URL
	if got := s.status(t, "GET", pathOf(ledgerID)); got != 200 {
		t.Fatalf("GET answers %d, not 200", got)
	}

	s.server.Down()
	s.server.Down()
	s.client.CloseIdleConnections()
	if _, _, err := s.do(t.Context(), "GET", pathOf(ledgerID)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("down, the client meets %v, not a refused connection", err)
	}

	for range 2 {
		if err := s.server.Up(); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.status(t, "GET", pathOf(ledgerID)); got != 200 || s.server.URL != url {
		t.Errorf("up again, GET answers %d at %s, not 200 at %s", got, s.server.URL, url)
	}
}

func TestDownCutsConnections(t *testing.T) {
	s := newStand(t)
	s.Inject(reportertest.Fault{Do: reportertest.Hang()})
	met := make(chan error)
	go func() {
		_, _, err := s.do(t.Context(), "DELETE", pathOf(ledgerID))
		met <- err
	}()
	<-s.arrived
	s.server.Down()
	if err := <-met; err == nil {
		t.Errorf("the client gets an answer from a server that is down")
	}
}

func TestAcceptedCountsConnections(t *testing.T) {
	s := newStand(t)
	for range 5 {
		s.status(t, "GET", pathOf(ledgerID))
	}
	if n := s.server.Accepted(); n != 1 {
		t.Errorf("a client that keeps its connection alive opened %d", n)
	}
	s.client.CloseIdleConnections()
	s.status(t, "GET", pathOf(ledgerID))
	if n := s.server.Accepted(); n != 2 {
		t.Errorf("after it closed its connection, it opened %d in all, not 2", n)
	}
	requests := s.Requests()
	if first, last := requests[0].RemoteAddr, requests[5].RemoteAddr; first != requests[4].RemoteAddr || first == last {
		t.Errorf("the remote addresses recorded are %s and %s", first, last)
	}
}

func TestStartSaysWhyNot(t *testing.T) {
	s := newStand(t)
	_, err := reportertest.Start(s, strings.TrimPrefix(s.server.URL, "http://"))
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.HasPrefix(err.Error(), "listening for Reporter's clients: listen tcp 127.0.0.1:") {
		t.Errorf("an address in use is refused with %v", err)
	}
}
