package reportertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// Fault makes Reporter or the Access Manager, or the network before it, misbehave for the requests it matches: those that have the method, are
// about the connection and satisfy Match, as far as each is given. Match may read the body. Of several faults for one request
// the first injected has it.
type Fault struct {
	Method string
	ID     string // canonical; of a connection
	Match  func(*http.Request) bool
	Every  int // of these, it is for one in so many: with 3, for the third, the sixth and so on; 0 means for each
	Times  int // how many requests it is for; 0 means all until it is removed
	Do     Behaviour
}

// Behaviour answers a request in place of the server. To carry it out, and write the server's own answer, is act's part,
// which a behaviour may call at most once.
type Behaviour func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc)

type injected struct {
	Fault
	seen    atomic.Int64 // of the requests it matches
	left    atomic.Int64
	removed context.Context // is done when the fault is
}

// Inject adds a fault. The function returned removes it again, and breaks off what still hangs by it. Inject panics when
// the fault could never match or does nothing: a mistake in the test.
func (s *front) Inject(f Fault) (remove func()) {
	switch {
	case f.ID != resolve(f.ID):
		panic(fmt.Sprintf("reportertest: injecting a fault: id %q is not a canonical lower-case UUID", f.ID))
	case f.Do == nil:
		panic("reportertest: injecting a fault: Do is missing")
	}
	removed, cancel := context.WithCancel(context.Background())
	added := &injected{Fault: f, removed: removed}
	added.left.Store(int64(f.Times))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(slices.Clip(s.faults), added)
	return func() {
		s.mu.Lock()
		s.faults = slices.DeleteFunc(slices.Clone(s.faults), func(f *injected) bool { return f == added })
		s.mu.Unlock()
		cancel()
	}
}

// fault returns the fault that has the request, if any. Match is called without the lock, so it may ask the server.
func (s *front) fault(req *http.Request, body []byte) *injected {
	s.mu.Lock()
	faults := s.faults
	s.mu.Unlock()
	for _, f := range faults {
		req.Body = io.NopCloser(bytes.NewReader(body))
		if f.matches(req) && f.take() {
			return f
		}
	}
	return nil
}

func (f *injected) matches(req *http.Request) bool {
	_, id := match(req.URL.Path)
	return (f.Method == "" || f.Method == req.Method) &&
		(f.ID == "" || f.ID == resolve(id)) &&
		(f.Match == nil || f.Match(req))
}

func (f *injected) take() bool {
	if f.Every > 0 && f.seen.Add(1)%int64(f.Every) != 0 {
		return false
	}
	return f.Times == 0 || f.left.Add(-1) >= 0
}

// AfterActing carries the request out, throws Reporter's answer away and misbehaves then: the connection is created, changed or
// deleted, but the client cannot know.
func AfterActing(do Behaviour) Behaviour {
	return func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
		a := carriedOut(act, req)
		do(w, req, a.ServeHTTP)
	}
}

// ActAfter carries the request out when wait has returned, whether or not the client is still there: Reporter has no timeout of
// its own, and carries out what its client has given up. Until then it has read nothing. The wait does not end when the fault is removed.
func ActAfter(wait func()) Behaviour {
	return func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
		wait()
		act(w, req)
	}
}

// BetweenReadAndWrite carries a POST or PATCH out, and waits between what it reads and checks and what it writes. The PATCH then
// writes the whole record that it has read, over the changes of others meanwhile; the POST, in multi-tenant mode, a name that
// another has taken meanwhile. Other requests do not wait. The wait does not end when the client leaves or the fault is removed.
func BetweenReadAndWrite(wait func()) Behaviour {
	return func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
		act(w, req.WithContext(context.WithValue(req.Context(), betweenReadAndWrite{}, wait)))
	}
}

// betweenReadAndWrite is the key of the wait in a request's context.
type betweenReadAndWrite struct{}

// Answer sends any status, headers (may be nil) and body.
func Answer(status int, header http.Header, body string) Behaviour {
	return func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
		maps.Copy(w.Header(), header)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// ErrorAnswer sends an error in the classic format of Reporter's; its code may be a string or a number.
func ErrorAnswer(status int, code any, title, message string) Behaviour {
	body, err := json.Marshal(map[string]any{"code": code, "title": title, "message": message})
	if err != nil {
		panic("reportertest: writing an error answer: " + err.Error())
	}
	return Answer(status, http.Header{"Content-Type": {"application/json"}}, string(body))
}

// LoginPage sends a page of HTML with status 200, as a proxy does that wants a person to log in.
func LoginPage() Behaviour {
	return Answer(200, http.Header{"Content-Type": {"text/html; charset=utf-8"}},
		"<!doctype html>\n<title>Sign in</title>\n<form method=post><input name=user><input name=password type=password></form>\n")
}

// Redirect sends the client elsewhere. A 307 or 308 makes one that follows repeat the same method there.
func Redirect(status int, to string) Behaviour {
	return Answer(status, http.Header{"Location": {to}}, "")
}

// Hang never answers: it waits until the client leaves, the fault is removed or the server closes.
func Hang() Behaviour {
	return func(_ http.ResponseWriter, req *http.Request, _ http.HandlerFunc) {
		<-req.Context().Done()
		panic(http.ErrAbortHandler)
	}
}

// Reset breaks the TCP connection with RST; where there is none to be had (HTTP/2), the stream.
func Reset() Behaviour {
	return func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
			conn = secure.NetConn() // closing the TLS layer would first say goodbye
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
}

// CutBody carries the request out, announces the whole answer and closes the connection after half of the body. From an
// answer that has no body, like 204, not even the status arrives.
func CutBody() Behaviour {
	return func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
		a := carriedOut(act, req)
		if half := len(a.body) / 2; half > 0 {
			a.writeHeader(w)
			_, _ = w.Write(a.body[:half])
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	}
}

// SlowBody carries the request out and sends the body of the answer byte by byte, with a pause before each.
func SlowBody(between time.Duration) Behaviour {
	return func(w http.ResponseWriter, req *http.Request, act http.HandlerFunc) {
		a := carriedOut(act, req)
		a.writeHeader(w)
		flush := http.NewResponseController(w).Flush
		if err := flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			panic(http.ErrAbortHandler)
		}
		for i := range a.body {
			pause(req.Context(), between)
			if req.Context().Err() != nil {
				panic(http.ErrAbortHandler)
			}
			_, _ = w.Write(a.body[i : i+1])
			_ = flush()
		}
	}
}

// recording is an answer that was not sent yet; as a handler it sends it.
type recording struct {
	header http.Header
	status int
	body   []byte
}

func carriedOut(act http.HandlerFunc, req *http.Request) *recording {
	a := &recording{header: http.Header{}, status: 200}
	act(a, req)
	return a
}

func (a *recording) Header() http.Header    { return a.header }
func (a *recording) WriteHeader(status int) { a.status = status }
func (a *recording) Write(p []byte) (int, error) {
	a.body = append(a.body, p...)
	return len(p), nil
}

func (a *recording) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	a.writeHeader(w)
	_, _ = w.Write(a.body)
}

func (a *recording) writeHeader(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.header)
	if len(a.body) > 0 {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
}
