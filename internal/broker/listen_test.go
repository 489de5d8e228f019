package broker

import (
	"flag"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"testing"
)

var (
	listenOn = flag.String("listen", "", "serve on this address until interrupted, for clients that are run by hand")
	listenIn = flag.String("listendir", "", "the folder of that broker; none keeps nothing")
)

// TestListen lets the broker alone be tried with any client, such as Eclipse's conformance clients:
//
//	go test ./internal/broker -run TestListen -listen 127.0.0.1:1883 -timeout 0
func TestListen(t *testing.T) {
	if *listenOn == "" {
		t.Skip("without -listen")
	}
	b, err := New(Config{Dir: *listenIn, Limits: Limits{KeepAlive: 60}, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", *listenOn)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go serve(b, ln)
	<-stop
	ln.Close()
	t.Logf("%+v", b.Stats())
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// serve serves what comes to a listener until it is closed.
func serve(b *Broker, ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go b.Serve(c)
	}
}
