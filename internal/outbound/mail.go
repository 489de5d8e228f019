package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"net/netip"
	"net/smtp"
	"time"

	"cardea/internal/credential"
)

// Bounds of a mail.
const (
	mailTimeout   = 30 * time.Second // from dialing to the server's word that it has the mail
	maxMailAnswer = 64 << 10         // bytes that the server may send in all, certificates among them
)

// Mailer hands mails to one mail server (RFC 5321, as a submission of RFC 6409). Its methods may be called from any goroutine.
type Mailer struct {
	server   target
	implicit bool // smtps: TLS from the first byte (RFC 8314, 3.3)
	local    bool // the server is on this machine
	user     string
	password string
	from     mail.Address
	tls      *tls.Config
	dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	now      func() time.Time
}

// Format keeps the password out of every kind of print.
func (Mailer) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "mailer ***") }

// Send hands over one mail of plain text. to is an address without a name, subject one line. On nil the server has
// the mail. Errors are of the kind Down if another attempt makes sense, and Invalid if this mail will never be taken; they hold
// neither the password nor the server's words, but its codes.
func (m *Mailer) Send(ctx context.Context, to, subject, text string) error {
	message, err := m.compose(to, subject, text)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	conn, err := m.connect(ctx)
	if err != nil {
		return notSent(ctx, "connecting", err)
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if step, err := m.submit(conn, to, message); err != nil {
		return notSent(ctx, step, err)
	}
	return nil
}

// connect returns a connection, with TLS if that is first, on which only so much is read.
func (m *Mailer) connect(ctx context.Context) (net.Conn, error) {
	conn, err := m.dial(ctx, "tcp", m.server.addr())
	if err != nil {
		return nil, err
	}
	if m.local && !isLocal(conn) {
		_ = conn.Close()
		return nil, errNotLocal
	}
	conn = &bounded{conn, meter{from: conn, left: maxMailAnswer}}
	if !m.implicit {
		return conn, nil
	}
	secured := tls.Client(conn, m.tls)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// errNotLocal is for a name of this machine that has become another's address: what may be said here in the clear is not said there.
var errNotLocal = errors.New("the mail server's name stands for this machine, but its address does not")

func isLocal(conn net.Conn) bool {
	at, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	return err == nil && at.Addr().IsLoopback()
}

// bounded is a connection on which only so much can be read.
type bounded struct {
	net.Conn
	meter meter
}

func (b *bounded) Read(p []byte) (int, error) { return b.meter.Read(p) }

// submit has the conversation. step says where it failed.
func (m *Mailer) submit(conn net.Conn, to string, message []byte) (step string, err error) {
	s, err := smtp.NewClient(conn, m.server.serverName())
	if err != nil {
		return "the greeting", err
	}
	if err := s.Hello(domainOf(m.from.Address)); err != nil {
		return "EHLO", err
	}
	if err := m.secure(s); err != nil {
		return "STARTTLS", err
	}
	if m.user != "" {
		if err := s.Auth(&mailAuth{user: m.user, password: m.password}); err != nil {
			return "AUTH", err
		}
	}
	if err := s.Mail(m.from.Address); err != nil {
		return "MAIL FROM", err
	}
	if err := s.Rcpt(to); err != nil {
		return stepRcpt, err
	}
	w, err := s.Data()
	if err != nil {
		return stepData, err
	}
	if _, err := w.Write(message); err != nil {
		return stepData, err
	}
	if err := w.Close(); err != nil {
		return stepData, err
	}
	_ = s.Quit() // the server has the mail, whatever it says now
	return "", nil
}

// The steps at which a server refuses this mail rather than this sender.
const (
	stepRcpt = "RCPT TO"
	stepData = "DATA"
)

var errNoStartTLS = errors.New("it does not offer STARTTLS, and without TLS nothing is sent beyond this machine")

// secure begins TLS where it has not begun. Beyond this machine there is no mail without it, whoever has removed the offer.
func (m *Mailer) secure(s *smtp.Client) error {
	if m.implicit {
		return nil
	}
	if offered, _ := s.Extension("STARTTLS"); offered {
		return s.StartTLS(m.tls)
	}
	if !m.local {
		return errNoStartTLS
	}
	return nil
}

// mailAuth signs in by what the server offers of PLAIN (RFC 4616) and LOGIN, which is all that some services have. It is used only
// where [Mailer.secure] has passed.
type mailAuth struct {
	user, password string
	asked          int // by LOGIN: the user name first
}

var errNoAuth = errors.New("it offers neither PLAIN nor LOGIN to sign in")

func (a *mailAuth) Start(s *smtp.ServerInfo) (mechanism string, first []byte, err error) {
	login := false
	for _, offered := range s.Auth {
		switch offered {
		case "PLAIN":
			return "PLAIN", []byte("\x00" + a.user + "\x00" + a.password), nil
		case "LOGIN":
			login = true
		}
	}
	if login {
		return "LOGIN", nil, nil
	}
	return "", nil, errNoAuth
}

func (a *mailAuth) Next(_ []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	a.asked++
	switch a.asked {
	case 1:
		return []byte(a.user), nil
	case 2:
		return []byte(a.password), nil
	}
	return nil, errBadAuth
}

var errBadAuth = errors.New("it asks for more than a user name and a password")

// notSent is the error of a step, in words that hold nothing secret.
func notSent(ctx context.Context, step string, err error) error {
	code, enhanced := mailCode(err)
	kind, again := credential.Down, ""
	if code >= 500 && (step == stepRcpt || step == stepData) {
		kind, again = credential.Invalid, "; this mail will not be taken"
	}
	if code != 0 {
		return credential.Errorf(kind, "the mail server answered %d%s at %s%s", code, enhanced, step, again)
	}
	return credential.Errorf(kind, "no mail could be sent, at %s: %s", step, whyNotSent(ctx, err))
}
