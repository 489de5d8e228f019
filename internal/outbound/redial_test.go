package outbound

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/credential"
)

// A service that takes no second connection while it is slow on the first: what waits for room waits, and does not
// dial again and again as fast as the service refuses.
func TestRefusedWhileBusy(t *testing.T) {
	cert, key := identity(t, "localhost")
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepted atomic.Int64
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if accepted.Add(1) > 1 {
				c.Close()
				continue
			}
			all.Go(func() { drain(tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}})) })
		}
	})
	defer all.Wait()
	defer l.Close()
	b := credential.Backend{Method: "get", URL: "https://" + l.Addr().String(), Pipelining: 1, RequestTimeout: 2 * time.Second}
	b.SSL.Enable, b.SSL.CA, b.SSL.ServerName, b.SSL.Verify = true, cert, "localhost", true
	s := open(t, credential.ByHTTP, b)
	all.Go(func() { ask(t, s, someone) })
	until(t, "the first is asked", func() bool {
		s.pool.mu.Lock()
		defer s.pool.mu.Unlock()
		return len(s.pool.lines) == 1
	})
	ask(t, s, someone)
	s.Close()
	if n := accepted.Load(); n > 50 {
		t.Errorf("there were %d connections in two seconds for two questions", n)
	}
}
