package outbound

import (
	"bufio"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"cardea/internal/credential"
)

// slowReader is a connection whose reader is slow: what it has read comes back late, when the connection was closed already. Its
// second request cannot be written.
type slowReader struct {
	net.Conn
	parts   chan string
	written int
}

func (c *slowReader) Read(b []byte) (int, error) {
	part, ok := <-c.parts
	if !ok {
		return 0, io.EOF
	}
	return copy(b, part), nil
}

func (c *slowReader) Write(b []byte) (int, error) {
	if c.written++; c.written > 1 {
		return 0, errors.New("broken pipe")
	}
	return len(b), nil
}

// A connection on which nothing can be written any more, while an answer is being read from it: the question is put again
// elsewhere, and what the first reader still reads must not get into the answer that its owner has, who may be the next login by then.
func TestReplyIsItsOwners(t *testing.T) {
	url := rawServer(t, func(_ int, c net.Conn, in *bufio.Reader) {
		for user := userOf(in); user != ""; user = userOf(in) {
			_, _ = io.WriteString(c, echo(user))
		}
	})
	b := get(url)
	b.PoolSize = 1
	s := open(t, credential.ByHTTP, b)
	p := s.pool
	here, there := net.Pipe()
	defer there.Close()
	conn := &slowReader{Conn: here, parts: make(chan string, 4)}
	l, err := newLine(t.Context(), p, conn)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.lines = append(p.lines, l)
	l.open()
	p.mu.Unlock()

	request := func(user string) *call {
		c := newCall()
		c.request, _, _ = s.plan.request.render(c.request, nil, &credential.Login{Username: user})
		c.deadline = time.Now().Add(20 * time.Second)
		return c
	}
	first, second := request("anna"), request("bert")
	done := make(chan error, 1)
	go func() { done <- p.do(t.Context(), first) }()
	whole := echo("anna")
	conn.parts <- whole[:len(whole)-10]
	until(t, "the answer is being read", func() bool { return len(conn.parts) == 0 })
	time.Sleep(50 * time.Millisecond)

	if err := p.do(t.Context(), second); err != nil { // it breaks the line
		t.Fatal(err)
	}
	var got string
	select {
	case err := <-done: // it was asked again, while the reader of the first connection is still at it
		if err != nil {
			t.Fatal(err)
		}
		got = string(first.reply.body)
	case <-time.After(200 * time.Millisecond): // or it waits for the reader
	}
	conn.parts <- whole[len(whole)-10:]
	close(conn.parts)
	if got == "" {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		got = string(first.reply.body)
	}
	time.Sleep(200 * time.Millisecond) // for the reader
	if now := string(first.reply.body); now != got {
		t.Errorf("the answer was %q, and became %q after its owner had it", got, now)
	}
}
