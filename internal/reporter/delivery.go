// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"context"
	"crypto/tls"
	"net"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// delivery is the way of one request to the server. What acts is permitted when there is a connection for it, right before it is written:
// to dial and to shake hands may take as long as the timeout, and nothing may come between the permission and the request.
type delivery struct {
	request request
	timeout time.Duration
	since   time.Time
	cancel  context.CancelFunc
	// clock ends the delivery when the timeout is over, which does not run while permission is asked for.
	clock *time.Timer
	// sending ends it when the request is not written in time, nil if it may take as long as it likes.
	sending *time.Timer

	// refusal is the error of permit.
	refusal error
	// permission is how long permit took.
	permission time.Duration
	// begun says that there was a connection to write to. What is written after a call has been given up, nothing tells.
	begun bool
	// repeated says that the request was to be written once more.
	repeated bool

	expired, late, headed, written atomic.Bool
}

// begin returns the context to send the request with.
func (d *delivery) begin(ctx context.Context) context.Context {
	d.since = time.Now()
	canceled, cancel := context.WithCancel(ctx)
	d.cancel = cancel
	d.clock = time.AfterFunc(d.timeout, func() {
		d.expired.Store(true)
		cancel()
	})
	return httptrace.WithClientTrace(canceled, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			if !d.mayBeWritten(ctx) {
				d.giveUp(info.Conn)
			}
		},
		WroteHeaders: func() { d.headed.Store(true) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				d.headed.Store(true)
				d.written.Store(true)
			}
		},
	})
}

// end lets go of what begin has taken.
func (d *delivery) end() {
	d.clock.Stop()
	if d.sending != nil {
		d.sending.Stop()
	}
	d.cancel()
}

// mayBeWritten asks for the permission of what acts. It is false also for what was written before: HTTP/2 sends a request again, later each
// time, that the server says it has not begun with.
func (d *delivery) mayBeWritten(ctx context.Context) bool {
	if d.request.permit == nil {
		return true
	}
	if d.repeated = d.headed.Load(); d.repeated {
		return false
	}
	if !d.clock.Stop() {
		d.expired.Store(true) // the clock is about to say so itself
		return false
	}
	used := time.Since(d.since)
	asked := time.Now()
	d.refusal = d.request.permit(ctx, tenantOf(d.request.token))
	if d.permission = time.Since(asked); d.refusal != nil {
		return false
	}
	if d.request.sendWithin > 0 {
		left := d.request.sendWithin - time.Since(asked)
		if left <= 0 { // the permission took all the time, which says nothing of the server
			d.refusal = &Error{Method: d.request.method, Path: d.request.path, kind: kindUnavailable, Err: errNotSent}
			return false
		}
		d.sending = time.AfterFunc(left, func() {
			if !d.written.Load() {
				d.late.Store(true)
				d.cancel()
			}
		})
	}
	d.begun = true
	d.clock.Reset(d.timeout - used)
	return true
}

// giveUp sees to it that nothing is written: HTTP/2 writes nothing of a request that was canceled, HTTP/1 may, and has the connection for
// itself.
func (d *delivery) giveUp(conn net.Conn) {
	d.cancel()
	if conn == nil {
		return
	}
	if secure, ok := conn.(*tls.Conn); ok && secure.ConnectionState().NegotiatedProtocol == "h2" {
		return
	}
	conn.Close() //nolint:errcheck // nothing was written to it
}
