package httpdoor

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"

	"cardea/internal/gate"
)

// logRequest writes the access log, at debug only: who, what, from where and
// what became of it. There is no query in it and no header, and so no token (K03).
func (d *Door) logRequest(r *http.Request, path string, status int, id *gate.Identity, source netip.Addr) {
	if !d.log.Enabled(r.Context(), slog.LevelDebug) {
		return
	}
	if tokenIn(path) || tokenInEscaped(path) {
		path = "***"
	}
	who, with := "", ""
	if id != nil {
		who, with = id.Principal, id.Credential
	}
	if !source.IsValid() {
		source = d.peerOf(r).addr
	}
	d.log.LogAttrs(r.Context(), slog.LevelDebug, "request",
		slog.String("method", r.Method), slog.String("path", path), slog.Int("status", status),
		slog.String("principal", who), slog.String("credential", with),
		slog.String("source", source.String()), slog.String("request", strconv.FormatUint(d.serial.Add(1), 10)))
}

// serverLog takes what net/http has to say: noise of the network for debugging, but for a
// handler that has panicked.
func (d *Door) serverLog() *log.Logger { return log.New(serverLog{d.log}, "", 0) }

type serverLog struct{ log *slog.Logger }

// Write logs one line.
func (l serverLog) Write(p []byte) (int, error) {
	level := slog.LevelDebug
	if bytes.HasPrefix(p, []byte("http: panic")) {
		level = slog.LevelError
	}
	l.log.Log(context.Background(), level, string(bytes.TrimSpace(p)))
	return len(p), nil
}

// warnUpstream tells of a failing upstream, at most once a second.
func (d *Door) warnUpstream(f *flight, err error) {
	now := d.now().Unix()
	if before := d.warned.Load(); before == now || !d.warned.CompareAndSwap(before, now) {
		return
	}
	d.log.Warn("upstream failed", "upstream", f.upstream.scheme+"://"+f.upstream.host, "route", f.upstream.prefix, "error", err)
}
