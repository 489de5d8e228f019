package mqttdoor

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cardea/internal/mqtt"
)

// tcpPair is a connection and its peer.
func tcpPair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close(); accepted.Close() })
	return accepted.(*net.TCPConn), dialled.(*net.TCPConn)
}

// newTestDuct is a duct on a loop of its own, before begin; client is the peer of the session's connection.
func newTestDuct(t *testing.T) (d *duct, client *net.TCPConn) {
	t.Helper()
	l, err := newLoop(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	near, client := tcpPair(t)
	broker, _ := tcpPair(t)
	s := &Session{conn: &end{conn: near}}
	s.w.conn = s.conn
	if d = newDuct(l, s, &link{s: s}, broker); d == nil {
		t.Fatal("the connections cannot be given to the loop")
	}
	return d, client
}

// settled returns when the loop has done what was posted before.
func (d *duct) settled() {
	done := make(chan struct{})
	d.loop.post(func() { close(done) })
	<-done
}

// What judges a session's packets beside the loop is done before the session has its connections back: nothing of it may
// come to a session that is taken apart, or write to a descriptor that is somebody else's by then.
func TestDuctWaitsForWhatIsAside(t *testing.T) {
	d, _ := newTestDuct(t)
	begun, goOn := make(chan struct{}), make(chan struct{})
	d.client.carry = func([]byte) error { close(begun); <-goOn; return nil }
	d.begin()
	d.loop.post(func() { d.aside(d.client, []byte("x")) })
	<-begun
	d.s.finish(ending{how: cut, code: mqtt.NotAuthorized})
	d.settled()
	select {
	case <-d.done:
		t.Error("the connections are given back while a packet is judged")
	default:
	}
	close(goOn)
	d.wait(time.Hour)
	d.s.conn.Close()
}

// From the moment at which a descriptor may be another connection's nothing is written to it.
func TestDuctWritesToNoForeignDescriptor(t *testing.T) {
	d, _ := newTestDuct(t)
	d.begin()
	d.s.finish(ending{how: cut, code: mqtt.NotAuthorized})
	<-d.done
	d.client.mu.Lock() // giveBack comes so far, and has closed the descriptor then
	given := make(chan struct{})
	go func() { defer close(given); d.wait(time.Hour) }()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if _, err := unix.FcntlInt(uintptr(d.client.fd), unix.F_GETFD, 0); err != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the descriptor is not closed")
		}
	}
	if _, err := d.send(d.client, []byte("x")); !errors.Is(err, errDead) {
		t.Errorf("a late packet: %v", err)
	}
	d.client.mu.Unlock()
	<-given
	d.s.conn.Close()
}

// A client that did not take all that was queued for it is not told a last word in the middle of a packet.
func TestDuctTearsWhatIsNotTaken(t *testing.T) {
	d, client := newTestDuct(t)
	if _, err := d.client.Write(make([]byte, 16<<20)); err != nil { // the client does not read, and it is more than the kernel takes
		t.Fatal(err)
	}
	d.begin()
	d.s.finish(ending{how: silent, code: mqtt.KeepAliveTimeout})
	d.wait(time.Hour)
	read := make(chan struct{})
	go func() { defer close(read); _, _ = io.Copy(io.Discard, client) }() // now it does
	if d.s.w.last([]byte("last"), patience) {
		t.Error("the last word is written behind a part of a packet")
	}
	sever(d.s.conn)
	<-read
}
