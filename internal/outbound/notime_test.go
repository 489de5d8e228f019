package outbound

import (
	"bufio"
	"context"
	"net"
	"testing"
	"time"

	"cardea/internal/credential"
)

// A service that does not answer in the time that a login has fails, also if its own timeout is longer.
func TestNoTime(t *testing.T) {
	url := rawServer(t, func(_ int, _ net.Conn, in *bufio.Reader) { drain(in) })
	s := open(t, credential.ByHTTP, get(url))
	for range circuitFailures {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		wantVerdict(t, s.Ask(ctx, someone), credential.Failed)
		cancel()
	}
	if st := s.Status(); st.Failures != circuitFailures || !st.Open {
		t.Errorf("%+v", st)
	}
}
