package mqttdoor

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// relay is a TCP address that leads to a broker, or not.
type relay struct {
	testing.TB
	addr string
	talk func(net.Conn) // to what comes; it is closed after

	mu    sync.Mutex
	ln    net.Listener
	conns map[net.Conn]struct{}
	done  sync.WaitGroup
}

func newRelay(t testing.TB, talk func(net.Conn)) *relay {
	t.Helper()
	r := &relay{TB: t, addr: "127.0.0.1:0", talk: talk, conns: map[net.Conn]struct{}{}}
	r.start()
	t.Cleanup(r.stop)
	return r
}

// to lets a relay lead to a broker.
func to(addr string) func(net.Conn) {
	return func(c net.Conn) {
		up, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		defer up.Close()
		go func() { io.Copy(up, c); up.Close() }()
		io.Copy(c, up)
	}
}

func (r *relay) start() {
	r.Helper()
	ln, err := net.Listen("tcp", r.addr)
	if err != nil {
		r.Fatal(err)
	}
	r.mu.Lock()
	r.addr, r.ln = ln.Addr().String(), ln
	r.mu.Unlock()
	r.done.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.conns[c] = struct{}{}
			r.mu.Unlock()
			r.done.Go(func() { defer c.Close(); r.talk(c) })
		}
	})
}

// stop refuses what comes and breaks what is there.
func (r *relay) stop() {
	r.mu.Lock()
	r.ln.Close()
	for c := range r.conns {
		c.Close()
	}
	clear(r.conns)
	r.mu.Unlock()
	r.done.Wait()
}

// behindRelay puts a relay behind the door.
func behindRelay(r *relay, changes ...func(*ExternalConfig)) func(*house, *Config) {
	return func(h *house, c *Config) {
		x := ExternalConfig{Address: r.addr, Dial: 2 * time.Second}
		for _, f := range changes {
			f(&x)
		}
		c.Upstream = h.external(x)
	}
}
