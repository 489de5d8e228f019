package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"cardea/internal/api"
	"cardea/internal/audit"
	"cardea/internal/console"
	"cardea/internal/credential"
	"cardea/internal/grpcdoor"
	"cardea/internal/httpdoor"
	"cardea/internal/mqttdoor"
	"cardea/internal/oauth"
)

// doors are the listeners of a node and what serves them.
type doors struct {
	httpL, grpcL, consoleL, socketL net.Listener
	mqttL                           []mqttBound // the plain one, the one with TLS, further ones

	http    *httpdoor.Door
	grpc    *grpcdoor.Door
	mqtt    *mqttdoor.Door // nil if nobody listens for it
	console *http.Server
	socket  *http.Server
}

// bind takes all ports, before anything is announced.
func (d *doors) bind(c *config) error {
	for _, l := range []struct {
		flag, addr string
		to         *net.Listener
	}{
		{"--http-listen", c.HTTPListen, &d.httpL},
		{"--grpc-listen", c.GRPCListen, &d.grpcL},
		{"--console-listen", c.ConsoleListen, &d.consoleL},
	} {
		if l.addr == "" {
			continue
		}
		bound, err := listenOn(l.flag, l.addr)
		if err != nil {
			return err
		}
		*l.to = bound
	}
	return d.bindMQTT(c)
}

// listenOn takes a port; an error names the option that asked for it.
func listenOn(option, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s: the address %s is in use by another program: stop it, or choose another address", option, addr)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", option, err)
	}
	return l, nil
}

// makeDoors makes what serves the listeners.
func (n *node) makeDoors() (err error) {
	d, c := &n.doors, n.config
	reserved := http.NewServeMux()
	tokens := oauth.New(oauth.Config{
		Gate: n.gate, Authority: n.authority, Log: n.log,
		Certificate: func(r *http.Request) (verified, presented *x509.Certificate) { return d.http.Certificate(r) },
		ClientAddr:  func(r *http.Request) netip.Addr { addr, _ := d.http.Source(r); return addr },
	})
	reserved.Handle("/oauth2/", tokens)
	reserved.Handle(oauth.MetadataPath, tokens)
	reserved.Handle(oauth.MetadataPath+"/", tokens)
	if n.doors.http, err = n.newHTTPDoor(reserved, tokens.Forms()); err != nil {
		return err
	}
	if err := n.makeMQTTDoor(reserved); err != nil {
		return err
	}
	if err := n.makeEMQX(); err != nil {
		return err
	}
	n.api, err = api.New(api.Config{
		Authority: n.authority, Gate: n.gate, EventLine: audit.Line, Log: n.log, Ready: n.readiness, Version: version(), Collectors: n.collectors(),
		ClientAddr:  func(r *http.Request) netip.Addr { addr, _ := d.http.Source(r); return addr },
		Certificate: d.http.Certificate, Proof: d.http.Proof,
	})
	if err != nil {
		return err
	}
	reserved.Handle("/api/", n.api.Handler())
	reserved.Handle("/backend/", n.api.Backend())
	reserved.Handle("/", n.api.Public())
	grpcTLS, err := n.internalTLS(c.GRPCListen)
	if err != nil {
		return err
	}
	if d.grpc, err = grpcdoor.New(grpcdoor.Config{Gate: n.gate, TLS: grpcTLS, Log: n.log}); err != nil {
		return err
	}
	pages := console.New(console.Config{Authority: n.authority, Secure: c.HTTPTLS, Log: n.log})
	d.console = n.server(pages)
	if c.HTTPTLS {
		if d.console.TLSConfig, err = n.httpsConfig(c.ConsoleListen); err != nil {
			return err
		}
		d.console.TLSConfig.ClientAuth, d.console.TLSConfig.ClientCAs = 0, nil // people come with a cookie
	}
	d.socket = n.server(n.localHandler())
	return nil
}

func (n *node) newHTTPDoor(reserved http.Handler, forms map[string]http.Handler) (*httpdoor.Door, error) {
	c := httpdoor.Config{
		Gate: n.gate, TokenAuth: n.config.HTTPTokenAuth, TrustedProxies: n.config.TrustedProxies, Origins: n.config.Origins,
		Reserved: reserved, Forms: forms, Log: n.log, QueryKeyUsed: n.noteQueryKey, Sessions: n.authority,
	}
	if n.config.HTTPTLS {
		var err error
		if c.TLS, err = n.httpsConfig(n.config.HTTPListen); err != nil {
			return nil, err
		}
	}
	return httpdoor.New(c)
}

// noteQueryKey is for the HTTP door.
func (n *node) noteQueryKey(org, id, principal, route string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.authority.NoteQueryKey(ctx, org, id, principal, route); err != nil {
		n.log.Warn("the audit log could not be told of a key in a query string", "credential", id, "error", err)
	}
}

// server is an http.Server with the limits that people and the CLI need.
func (n *node) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: log.New(serverLog{n.log}, "", 0),
	}
}

// start lets everything run. When it returns nil, every door accepts.
func (n *node) start(ctx context.Context) error {
	behind, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.stop = stop
	n.behind.Go(func() { n.report(n.gate.Run(behind)) })
	if err := n.gate.Await(ctx); err != nil {
		return err
	}
	err := n.writeAdminToken(ctx)
	if err != nil {
		return err
	}
	if n.doors.socketL, err = listenSocket(socketPath(n.config.Data)); err != nil {
		return err
	}
	n.behind.Go(func() { n.keepHouse(behind) })
	n.behind.Go(func() { n.everyMinute(behind) })
	d := &n.doors
	n.run("http", d.httpL, func(l net.Listener) error { return d.http.Serve(behind, l) })
	n.run("grpc", d.grpcL, d.grpc.Serve)
	n.startMQTT(behind)
	n.startEMQX(behind)
	n.behind.Go(func() { n.teller.Run(behind) })
	n.run("console", d.consoleL, func(l net.Listener) error {
		if d.console.TLSConfig != nil {
			return d.console.ServeTLS(l, "", "")
		}
		return d.console.Serve(l)
	})
	n.run("socket", d.socketL, d.socket.Serve)
	n.serving.Store(true)
	if n.doors.httpL != nil && n.config.HTTPTokenAuth {
		n.log.Info("HTTP token authentication enabled")
	}
	return nil
}

// run serves a listener, if there is one, and tells if that ends by itself.
func (n *node) run(name string, l net.Listener, serve func(net.Listener) error) {
	if l == nil {
		return
	}
	n.log.Info("listening", "door", name, "address", l.Addr().String())
	n.behind.Go(func() {
		if err := serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			n.report(fmt.Errorf("the door %s: %w", name, err))
		}
	})
}

// report tells serve that a part has ended by itself. While everything ends, that is as it should be.
func (n *node) report(err error) {
	if err == nil || !n.serving.Load() {
		return
	}
	select {
	case n.failed <- err:
	default: // it knows already
	}
}

// drain stops accepting and lets what runs finish (D17).
func (n *node) drain() {
	n.serving.Store(false)
	if n.config.ReadyFile != "" {
		removeReady(n.config.ReadyFile)
	}
	ctx, cancel := context.WithTimeout(context.Background(), n.config.DrainTimeout)
	defer cancel()
	var all sync.WaitGroup
	for _, shutdown := range []func(context.Context) error{
		n.doors.http.Shutdown, n.doors.grpc.Shutdown, n.doors.console.Shutdown, n.doors.socket.Shutdown, n.drainMQTT,
	} {
		all.Go(func() {
			if err := shutdown(ctx); err != nil {
				n.log.Warn("what had not finished was cut", "error", err)
			}
		})
	}
	all.Wait()
	n.gate.CutAll(credential.Draining)
	n.log.Info("stopped")
}

// close closes what is left open.
func (d *doors) close() {
	var open []io.Closer
	for _, l := range []net.Listener{d.httpL, d.grpcL, d.consoleL, d.socketL} {
		if l != nil {
			open = append(open, l)
		}
	}
	for _, b := range d.mqttL {
		open = append(open, b.Listener)
	}
	for _, s := range []*http.Server{d.console, d.socket} {
		if s != nil {
			open = append(open, s)
		}
	}
	for _, c := range open {
		_ = c.Close() // most are closed already
	}
}

// addresses are where the doors really listen.
func (n *node) addresses() ready {
	addr := func(l net.Listener) string {
		if l == nil {
			return ""
		}
		return l.Addr().String()
	}
	plain, secure := n.mqttAddresses()
	return ready{HTTP: addr(n.doors.httpL), MQTT: plain, MQTTS: secure, GRPC: addr(n.doors.grpcL), Console: addr(n.doors.consoleL), PID: os.Getpid()}
}

func (n *node) scheme() string {
	if n.config.HTTPTLS {
		return "https://"
	}
	return "http://"
}

func (n *node) httpURL() string    { return n.scheme() + n.addresses().HTTP }
func (n *node) consoleURL() string { return n.scheme() + n.addresses().Console }
