package outbound

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"testing"

	"cardea/internal/credential"
)

// A service that sends a body where none may be: what is in it, which may be of a client's making, is not the answer to the next question.
func TestBodyWhereNoneMayBe(t *testing.T) {
	for _, head := range []string{"204 No Content", "304 Not Modified"} {
		evil := echo("evil")
		url := rawServer(t, func(_ int, c net.Conn, in *bufio.Reader) {
			for user := userOf(in); user != ""; user = userOf(in) {
				if user != "1" {
					_, _ = io.WriteString(c, echo(user))
					continue
				}
				second := userOf(in) // is on the connection already
				_, _ = fmt.Fprintf(c, "HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s%s", head, len(evil), evil, echo(second))
			}
		})
		b := get(url)
		b.PoolSize, b.Pipelining = 1, 2
		s := open(t, credential.ByHTTP, b)
		done := make(chan struct{})
		go func() { defer close(done); ask(t, s, &credential.Login{Username: "1"}) }()
		until(t, "the first is asked", func() bool {
			s.pool.mu.Lock()
			defer s.pool.mu.Unlock()
			return len(s.pool.lines) == 1 && s.pool.lines[0].load == 1
		})
		askFor(t, s, "2")
		<-done
	}
}
