package reportertest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// Server gives a handler, as a rule a [Reporter], an address of its own over plain HTTP/1.1, and lets it go down and
// come up again there.
type Server struct {
	URL string // without a slash at its end

	handler  http.Handler
	address  string
	accepted atomic.Int64

	mu      sync.Mutex
	running *http.Server // nil while down
	done    chan struct{}
}

// Start serves the handler at an address like 127.0.0.1:4006, or 127.0.0.1:0 for any free port.
func Start(handler http.Handler, address string) (*Server, error) {
	s := &Server{handler: handler, address: address}
	if err := s.Up(); err != nil {
		return nil, err
	}
	s.URL = "http://" + s.address
	return s, nil
}

// TB is what Serve needs of a testing.TB, or of Ginkgo's GinkgoT().
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Serve serves the handler at a free port of 127.0.0.1 until the test ends.
func Serve(t TB, handler http.Handler) *Server {
	t.Helper()
	s, err := Start(handler, "127.0.0.1:0")
	if err != nil {
		t.Fatalf("serving Reporter: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// Up listens again, at the same address as before. It fails if somebody else has taken that meanwhile.
func (s *Server) Up() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		return nil
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", s.address)
	if err != nil {
		return fmt.Errorf("listening for Reporter's clients: %w", err)
	}
	s.address = listener.Addr().String()
	s.running = &http.Server{Handler: s.handler, ConnState: s.count}
	s.done = make(chan struct{})
	go func(server *http.Server, done chan struct{}) {
		defer close(done)
		_ = server.Serve(listener)
	}(s.running, s.done)
	return nil
}

// Down cuts all connections and refuses new ones, until Up.
func (s *Server) Down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return
	}
	_ = s.running.Close()
	<-s.done
	s.running = nil
}

// Close is Down for good.
func (s *Server) Close() {
	s.Down()
}

// Accepted returns how many TCP connections clients have opened so far: one, if they keep theirs alive.
func (s *Server) Accepted() int {
	return int(s.accepted.Load())
}

func (s *Server) count(_ net.Conn, state http.ConnState) {
	if state == http.StateNew {
		s.accepted.Add(1)
	}
}
