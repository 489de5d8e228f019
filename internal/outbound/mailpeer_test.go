package outbound

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// mailServer is the other side of SMTP (RFC 5321), as far as a sender needs one. What it is to do wrong is said in its fields.
type mailServer struct {
	tls      *tls.Config // nil: no STARTTLS
	implicit bool        // TLS from the first byte
	auth     string      // mechanisms that are offered; "" for none
	says     map[string]string
	inject   string // sent in the clear behind the answer to STARTTLS
	silent   bool   // says nothing at all
	babble   bool   // begins a greeting that never ends

	mu    sync.Mutex
	mails []arrived
	lines []string // all that it was told, in order
}

// arrived is a mail, and how it came.
type arrived struct {
	from, to       string
	raw            string // without dots that were stuffed
	wire           string // with them
	secured        bool
	user, password string
}

// mailPeer starts a server that ends with the test.
func mailPeer(t *testing.T, s *mailServer) (addr string) {
	t.Helper()
	url := rawServer(t, func(_ int, conn net.Conn, _ *bufio.Reader) {
		if s.implicit {
			conn = tls.Server(conn, s.tls)
		}
		(&mailTalk{server: s, conn: conn, in: bufio.NewReader(conn), secured: s.implicit}).run()
	})
	return strings.TrimPrefix(url, "http://")
}

func (s *mailServer) took() []arrived {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mails
}

func (s *mailServer) told() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

// mailTalk is one conversation.
type mailTalk struct {
	server  *mailServer
	conn    net.Conn
	in      *bufio.Reader
	secured bool
	mail    arrived
}

func (c *mailTalk) run() {
	switch {
	case c.server.silent:
		drain(c.in)
		return
	case c.server.babble:
		for {
			if _, err := io.WriteString(c.conn, strings.Repeat("220-hello", 1000)); err != nil {
				return
			}
		}
	}
	c.say("greeting", "220 mail.example ESMTP")
	for {
		line, err := c.in.ReadString('\n')
		if err != nil || !c.answer(strings.TrimSuffix(line, "\r\n")) {
			return
		}
	}
}

// say answers to a command, unless it is to say something else; it reports whether it did as it should.
func (c *mailTalk) say(command, answer string) bool {
	other, is := c.server.says[command]
	if is {
		answer = other
	}
	_, err := io.WriteString(c.conn, answer+"\r\n")
	return err == nil && !is
}

func (c *mailTalk) answer(line string) (more bool) {
	c.server.mu.Lock()
	c.server.lines = append(c.server.lines, line)
	c.server.mu.Unlock()
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "EHLO":
		c.say(verb, c.greeting())
	case "STARTTLS":
		if c.server.tls == nil || c.secured {
			c.say(verb, "502 no")
			return true
		}
		if !c.say(verb, "220 go on"+c.server.inject) {
			return true
		}
		c.conn = tls.Server(c.conn, c.server.tls)
		c.in, c.secured = bufio.NewReader(c.conn), true
	case "AUTH":
		c.signIn(rest)
	case "MAIL":
		c.mail.from = path(rest, "FROM:")
		c.say(verb, "250 ok")
	case "RCPT":
		c.mail.to = path(rest, "TO:")
		c.say(verb, "250 ok")
	case "DATA":
		if c.say(verb, "354 go on") {
			return c.data()
		}
	case "QUIT":
		c.say(verb, "221 bye")
		return false
	default:
		c.say(verb, "500 what?")
	}
	return true
}

func (c *mailTalk) greeting() string {
	lines := []string{"mail.example", "8BITMIME", "ENHANCEDSTATUSCODES"}
	if c.server.tls != nil && !c.secured {
		lines = append(lines, "STARTTLS")
	}
	if c.server.auth != "" {
		lines = append(lines, "AUTH "+c.server.auth)
	}
	var b strings.Builder
	for i, l := range lines {
		sign := "-"
		if i == len(lines)-1 {
			sign = " "
		}
		fmt.Fprintf(&b, "250%s%s\r\n", sign, l)
	}
	return strings.TrimSuffix(b.String(), "\r\n")
}

func (c *mailTalk) signIn(how string) {
	mechanism, first, _ := strings.Cut(how, " ")
	switch mechanism {
	case "PLAIN":
		text, _ := base64.StdEncoding.DecodeString(first)
		if parts := strings.Split(string(text), "\x00"); len(parts) == 3 {
			c.mail.user, c.mail.password = parts[1], parts[2]
		}
	case "LOGIN":
		c.mail.user = c.question("Username:")
		c.mail.password = c.question("Password:")
	}
	if third, is := c.server.says["third"]; is {
		c.question(third)
	}
	c.say("AUTH", "235 2.7.0 welcome")
}

func (c *mailTalk) question(text string) string {
	_, _ = io.WriteString(c.conn, "334 "+base64.StdEncoding.EncodeToString([]byte(text))+"\r\n")
	line, _ := c.in.ReadString('\n')
	answer, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
	return string(answer)
}

// data reads a mail up to its dot (RFC 5321, 4.5.2).
func (c *mailTalk) data() (more bool) {
	var raw, wire strings.Builder
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		wire.WriteString(line)
		raw.WriteString(strings.TrimPrefix(line, "."))
	}
	if c.say("content", "250 2.0.0 taken") {
		c.mail.raw, c.mail.wire, c.mail.secured = raw.String(), wire.String(), c.secured
		c.server.mu.Lock()
		c.server.mails = append(c.server.mails, c.mail)
		c.server.mu.Unlock()
	}
	return true
}

func path(s, prefix string) string {
	s, _, _ = strings.Cut(strings.TrimPrefix(s, prefix), " ")
	return strings.Trim(s, "<>")
}

// mailIdentity is a certificate of a mail server, and who trusts it.
func mailIdentity(t *testing.T, name string) (*tls.Config, *x509.CertPool) {
	t.Helper()
	cert, key := identity(t, name)
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(cert))
	return &tls.Config{Certificates: []tls.Certificate{pair}}, roots
}
