package httpdoor

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/policy"
)

// flight is one forwarded request, from the gate's yes to the last byte of the
// answer. It is the request's context: cutting it cancels the round trip.
type flight struct {
	context.Context
	cancel context.CancelFunc

	door     *Door
	w        http.ResponseWriter
	peer     *peer
	source   netip.Addr
	chain    string // that has decided; "" for none
	id       *gate.Identity
	access   policy.Access
	left     *gate.Allowance // by the limits of the caller; nil for one without
	target   target
	query    string // for the upstream
	upstream *upstream
	intro    introduction
	body     *body // nil without one
	status   int

	mu     sync.Mutex
	watch  *gate.Watched
	reason credential.Reason // why it was cut; OK if it was not
	over   bool              // the handler has returned: w must not be touched
	listed bool              // in door.streams
	conn   net.Conn          // after it was hijacked
}

type flightKey struct{}

// Value finds the flight in contexts that the proxy derives from it.
func (f *flight) Value(key any) any {
	if key == (flightKey{}) {
		return f
	}
	return f.Context.Value(key)
}

func flightOf(ctx context.Context) *flight { return ctx.Value(flightKey{}).(*flight) }

// begin puts the flight under watch. If the answer is not OK it must not take off.
func (f *flight) begin(kind string) credential.Reason {
	w, reason := f.door.gate.Watch(f.Context, f.id, f.live(kind))
	if reason != credential.OK {
		return reason
	}
	f.mu.Lock()
	f.watch = w
	f.mu.Unlock()
	if kind != "request" {
		f.list()
	}
	return credential.OK
}

func (f *flight) live(kind string) gate.Live {
	return gate.Live{
		Door: doorName, Kind: kind, Source: f.source, About: f.access.Verb + " " + f.access.Resource,
		Access: &f.access, Cut: f.cut,
	}
}

var errCut = errors.New("cut by the gate")

// becomeStream tells the gate that the answer has no end of its own. The new
// watch begins before the old one ends, so that no revocation falls between.
func (f *flight) becomeStream() error {
	w, reason := f.door.gate.Watch(f.Context, f.id, f.live("stream"))
	if reason != credential.OK {
		f.cut(reason)
		return errCut
	}
	f.mu.Lock()
	old := f.watch
	f.watch = w
	f.mu.Unlock()
	old.Close()
	f.list()
	return nil
}

func (f *flight) list() {
	f.listed = true
	if !f.door.streams.add(f) {
		f.cut(credential.Draining)
	}
}

// end is for the handler before it returns, however it does.
func (f *flight) end() {
	f.mu.Lock()
	f.over = true
	w := f.watch
	f.mu.Unlock()
	w.Close()
	if f.listed {
		f.door.streams.remove(f)
	}
	if f.body != nil {
		f.body.finish()
	}
	f.cancel()
}

// cut ends the flight and returns at once, whatever the peer does: nothing is
// written and nothing waited for. An HTTP/1 connection is reset, which also wakes a
// handler that writes to a peer that does not read; an HTTP/2 stream is reset alone.
func (f *flight) cut(reason credential.Reason) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over || f.reason != credential.OK {
		return
	}
	f.reason = reason
	f.cancel()
	switch {
	case f.peer.guard != nil:
		f.peer.socket.cut()
	case f.conn != nil:
		f.conn.Close()
	default:
		past := time.Unix(1, 0)
		rc := http.NewResponseController(f.w)
		rc.SetReadDeadline(past)
		rc.SetWriteDeadline(past)
	}
}

func (f *flight) wasCut() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reason != credential.OK
}

// upgrader lets a flight follow its connection when it is switched to another
// protocol: the guard must then let everything through.
type upgrader struct {
	http.ResponseWriter
	flight *flight
}

// Unwrap is for http.ResponseController.
func (u *upgrader) Unwrap() http.ResponseWriter { return u.ResponseWriter }

// Hijack takes the connection over, unless the flight was cut before.
func (u *upgrader) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	f := u.flight
	if g := f.peer.guard; g != nil && g.violated() {
		return nil, nil, errCut // the client has sent something before it was answered
	}
	c, rw, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conn = c
	if f.reason != credential.OK {
		c.Close()
		return nil, nil, errCut
	}
	if f.peer.guard != nil {
		f.peer.guard.raw.Store(true)
	}
	return c, rw, nil
}

// rawOnHijack is for handlers of reserved paths that switch protocols.
type rawOnHijack struct {
	http.ResponseWriter
	guard *guard
}

// Unwrap is for http.ResponseController.
func (h *rawOnHijack) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// Hijack takes the connection over, and the guard off.
func (h *rawOnHijack) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if h.guard.violated() {
		return nil, nil, errCut
	}
	c, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err == nil {
		h.guard.raw.Store(true)
	}
	return c, rw, err
}

// streams are the flights that have no end of their own.
type streams struct {
	mu       sync.Mutex
	draining bool
	all      map[*flight]struct{}
}

// add reports whether there may be new ones.
func (s *streams) add(f *flight) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	if s.all == nil {
		s.all = make(map[*flight]struct{})
	}
	s.all[f] = struct{}{}
	return true
}

func (s *streams) remove(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, f)
}

// drain cuts all there are and lets no more in.
func (s *streams) drain(reason credential.Reason) {
	s.mu.Lock()
	s.draining = true
	all := make([]*flight, 0, len(s.all))
	for f := range s.all {
		all = append(all, f)
	}
	s.mu.Unlock()
	for _, f := range all {
		f.cut(reason)
	}
}
