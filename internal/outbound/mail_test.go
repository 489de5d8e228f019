package outbound

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cardea/internal/credential"
)

const mailSecret = "p%40ss+w0rd-of-mail" // as in the URL

// mailer is a mailer whose server's name stands for the peer at addr, wherever the name would lead.
func mailer(t *testing.T, url, addr string, roots *x509.CertPool) *Mailer {
	t.Helper()
	m, err := New(Config{Roots: roots}).Mailer(url, "Cardea <cardea@sender.example>")
	if err != nil {
		t.Fatal(err)
	}
	dial := m.dial
	m.dial = func(ctx context.Context, network, _ string) (net.Conn, error) { return dial(ctx, network, addr) }
	return m
}

func sendTo(ctx context.Context, m *Mailer) error {
	return m.Send(ctx, "ann@example.com", "A subject", "A text.\n")
}

// A mail to a server beyond this machine goes by TLS and is whole: signed in, dots kept, characters too.
func TestMail(t *testing.T) {
	config, roots := mailIdentity(t, "mail.example")
	for name, one := range map[string]struct {
		url    string
		server *mailServer
	}{
		"STARTTLS, PLAIN":         {"smtp://user%40x:" + mailSecret + "@mail.example", &mailServer{tls: config, auth: "LOGIN PLAIN"}},
		"STARTTLS, LOGIN":         {"smtp://user%40x:" + mailSecret + "@mail.example:25", &mailServer{tls: config, auth: "XOAUTH2 LOGIN"}},
		"TLS from the start":      {"smtps://user%40x:" + mailSecret + "@mail.example", &mailServer{tls: config, implicit: true, auth: "PLAIN"}},
		"TLS, nobody to sign in":  {"smtps://MAIL.example.", &mailServer{tls: config, implicit: true, auth: "PLAIN"}},
		"a server that ends rude": {"smtps://mail.example", &mailServer{tls: config, implicit: true, says: map[string]string{"QUIT": "500 no"}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := one.server
			m := mailer(t, one.url, mailPeer(t, s), roots)
			text := ".\n..two\n.\r\nQUIT\nfrüh, 5€ = " + strings.Repeat("x", 2000) + "\n"
			if err := m.Send(t.Context(), "ann@example.com", "früh: credential \"x\"", text); err != nil {
				t.Fatal(err)
			}
			all := s.took()
			if len(all) != 1 || !all[0].secured || all[0].from != "cardea@sender.example" || all[0].to != "ann@example.com" {
				t.Fatalf("took %+v", all)
			}
			if strings.Contains(one.url, "@mail") && (all[0].user != "user@x" || all[0].password != "p@ss+w0rd-of-mail") {
				t.Errorf("signed in as %q %q", all[0].user, all[0].password)
			}
			wantMail(t, all[0], "früh: credential \"x\"", text)
			if !strings.Contains(all[0].wire, "\r\n...two") {
				t.Error("a dot at the start of a line was not doubled (RFC 5321, 4.5.2)")
			}
		})
	}
}

// wantMail reads a mail as its reader would.
func wantMail(t *testing.T, a arrived, subject, text string) {
	t.Helper()
	for line := range strings.SplitSeq(a.raw, "\r\n") {
		if len(line) > 998 || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("a line that RFC 5322 does not have: %q", line)
		}
	}
	m, err := mail.ReadMessage(strings.NewReader(a.raw))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil || got != subject {
		t.Errorf("subject %q %v", got, err)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if want := strings.NewReplacer("\r\n", "\n").Replace(text); err != nil || strings.ReplaceAll(string(body), "\r\n", "\n") != want {
		t.Errorf("text %q, want %q %v", body, want, err)
	}
	from, err := m.Header.AddressList("From")
	if err != nil || from[0].Address != "cardea@sender.example" || from[0].Name != "Cardea" {
		t.Errorf("from %v %v", from, err)
	}
	if date, err := m.Header.Date(); err != nil || time.Since(date).Abs() > time.Hour {
		t.Errorf("date %v %v", date, err)
	}
	if len(m.Header) != 9 || m.Header.Get("Auto-Submitted") != "auto-generated" || m.Header.Get("To") != "<ann@example.com>" ||
		m.Header.Get("Content-Type") != "text/plain; charset=utf-8" || !strings.HasSuffix(m.Header.Get("Message-ID"), "@sender.example>") {
		t.Errorf("header %v", m.Header)
	}
}

// Without TLS, or with one that is not the server's, nothing is said beyond this machine: not even who writes to whom.
func TestMailWantsTLS(t *testing.T) {
	config, roots := mailIdentity(t, "mail.example")
	other, _ := mailIdentity(t, "mail.example")
	const url = "smtp://user:" + mailSecret + "@mail.example"
	for name, one := range map[string]struct {
		url    string
		server *mailServer
		word   string
	}{
		"no STARTTLS":               {url, &mailServer{auth: "PLAIN"}, "STARTTLS"},
		"STARTTLS is refused":       {url, &mailServer{tls: config, auth: "PLAIN", says: map[string]string{"STARTTLS": "454 4.7.0 later"}}, "454 4.7.0 at STARTTLS"},
		"another authority":         {url, &mailServer{tls: other, auth: "PLAIN"}, "does not trust"},
		"another name":              {strings.Replace(url, "mail.example", "other.example", 1), &mailServer{tls: config, auth: "PLAIN"}, "another name"},
		"an answer before TLS":      {url, &mailServer{tls: config, auth: "PLAIN", inject: "\r\n250-mail.example\r\n250 AUTH PLAIN"}, ""},
		"smtps, another authority":  {strings.Replace(url, "smtp:", "smtps:", 1), &mailServer{tls: other, implicit: true, auth: "PLAIN"}, "does not trust"},
		"smtps to a plain one":      {strings.Replace(url, "smtp:", "smtps:", 1), &mailServer{tls: config, auth: "PLAIN"}, "TLS"},
		"smtp to one that is smtps": {url, &mailServer{silent: true}, "took too long"},
	} {
		t.Run(name, func(t *testing.T) {
			s := one.server
			m := mailer(t, one.url, mailPeer(t, s), roots)
			ctx := t.Context()
			if s.silent {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
				defer cancel()
			}
			err := sendTo(ctx, m)
			if s.inject != "" { // what came in the clear is dropped, and the mail goes its way by TLS
				if all := s.took(); err != nil || len(all) != 1 || !all[0].secured {
					t.Errorf("%v %+v", err, all)
				}
				return
			}
			wantMailError(t, err, credential.Down, one.word)
			if told := s.told(); strings.Contains(told, "AUTH ") || strings.Contains(told, "ann@") || strings.Contains(told, "cardea@") {
				t.Errorf("it was told %q", told)
			}
		})
	}
}

// wantMailError also looks for what must not be in an error (K03): the password, in any form.
func wantMailError(t *testing.T, err error, kind credential.ErrorKind, word string) {
	t.Helper()
	if err == nil || credential.KindOf(err) != kind || !strings.Contains(err.Error(), word) {
		t.Errorf("error %v (kind %d), want kind %d about %q", err, credential.KindOf(err), kind, word)
	}
	for _, s := range []string{"w0rd", "cDQw", "cEBzcyt3MHJk", "AHVzZX"} { // the last two: base64 of what is sent
		if err != nil && strings.Contains(fmt.Sprintf("%+v %s", err, err), s) {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

// On this machine there may be no TLS, and a certificate need not be anybody's.
func TestMailOnThisMachine(t *testing.T) {
	config, _ := mailIdentity(t, "whoever.example")
	for name, one := range map[string]struct {
		scheme string
		server *mailServer
	}{
		"plain":    {"smtp", &mailServer{auth: "PLAIN"}},
		"STARTTLS": {"smtp", &mailServer{tls: config, auth: "LOGIN"}},
		"smtps":    {"smtps", &mailServer{tls: config, implicit: true, auth: "PLAIN"}},
	} {
		for _, host := range []string{"127.0.0.1", "localhost"} {
			s := &mailServer{tls: one.server.tls, implicit: one.server.implicit, auth: one.server.auth}
			addr := mailPeer(t, s)
			_, port, _ := net.SplitHostPort(addr)
			m, err := New(Config{}).Mailer(one.scheme+"://user:"+mailSecret+"@"+host+":"+port, "cardea@sender.example")
			if err != nil {
				t.Fatal(err)
			}
			if err := sendTo(t.Context(), m); err != nil {
				t.Errorf("%s, %s: %v", name, host, err)
			}
			if all := s.took(); len(all) != 1 || all[0].password != "p@ss+w0rd-of-mail" || all[0].secured != (s.tls != nil) {
				t.Errorf("%s, %s: %+v", name, host, all)
			}
		}
	}
}

// elsewhere is a connection whose other end seems to be another machine.
type elsewhere struct{ net.Conn }

func (elsewhere) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:25"))
}

// "localhost" that has become another machine's address gets nothing.
func TestMailLocalhostElsewhere(t *testing.T) {
	s := &mailServer{auth: "PLAIN"}
	m := mailer(t, "smtp://user:"+mailSecret+"@localhost", mailPeer(t, s), nil)
	dial := m.dial
	m.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return elsewhere{conn}, err
	}
	wantMailError(t, sendTo(t.Context(), m), credential.Down, "this machine")
	if s.told() != "" {
		t.Errorf("it was told %q", s.told())
	}
}

// Refusals: which are about this mail, and which are worth another attempt. The server's words are its own; its codes are shown.
func TestMailRefused(t *testing.T) {
	const leak = " you said p@ss+w0rd-of-mail AHVzZXI"
	for name, one := range map[string]struct {
		says map[string]string
		auth string
		kind credential.ErrorKind
		word string
	}{
		"greeting":             {map[string]string{"greeting": "554 5.3.2 no" + leak}, "PLAIN", credential.Down, "554 5.3.2 at the greeting"},
		"greeting, later":      {map[string]string{"greeting": "421 later"}, "PLAIN", credential.Down, "421 at the greeting"},
		"no SMTP":              {map[string]string{"greeting": "HTTP/1.1 400" + leak}, "PLAIN", credential.Down, "the greeting"},
		"password":             {map[string]string{"AUTH": "535 5.7.8 wrong" + leak}, "PLAIN", credential.Down, "535 5.7.8 at AUTH"},
		"password, LOGIN":      {map[string]string{"AUTH": "535 5.7.8 wrong" + leak}, "LOGIN", credential.Down, "535 5.7.8 at AUTH"},
		"other mechanisms":     {nil, "CRAM-MD5 XOAUTH2", credential.Down, "PLAIN"},
		"no mechanism":         {nil, "", credential.Down, "AUTH"},
		"a third question":     {map[string]string{"third": "OTP:"}, "LOGIN", credential.Down, "more than"},
		"sender":               {map[string]string{"MAIL": "550 5.7.1 no" + leak}, "PLAIN", credential.Down, "550 5.7.1 at MAIL FROM"},
		"recipient":            {map[string]string{"RCPT": "550-5.1.1 nobody\r\n550 5.1.1 here" + leak}, "PLAIN", credential.Invalid, "550 5.1.1 at RCPT TO"},
		"recipient, greylist":  {map[string]string{"RCPT": "451 4.7.1 later" + leak}, "PLAIN", credential.Down, "451 4.7.1 at RCPT TO"},
		"data":                 {map[string]string{"DATA": "554 no" + leak}, "PLAIN", credential.Invalid, "554 at DATA"},
		"content":              {map[string]string{"content": "554 5.6.0 spam" + leak}, "PLAIN", credential.Invalid, "554 5.6.0 at DATA"},
		"content, later":       {map[string]string{"content": "452 4.2.2 full" + leak}, "PLAIN", credential.Down, "452 4.2.2 at DATA"},
		"no code of RFC 3463":  {map[string]string{"RCPT": "550 5.w0rd.1 x"}, "PLAIN", credential.Invalid, "550 at RCPT"},
		"code without meaning": {map[string]string{"RCPT": "550 5.1.1.9 x"}, "PLAIN", credential.Invalid, "550 at RCPT"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &mailServer{auth: one.auth, says: one.says}
			m := mailer(t, "smtp://user:"+mailSecret+"@localhost", mailPeer(t, s), nil)
			wantMailError(t, sendTo(t.Context(), m), one.kind, one.word)
			if len(s.took()) != 0 {
				t.Error("it was taken all the same")
			}
		})
	}
}

// A server that is not there, says nothing, or never stops talking.
func TestMailServerFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	wantMailError(t, sendTo(t.Context(), mailer(t, "smtp://localhost", l.Addr().String(), nil)), credential.Down, "refused")
	wantMailError(t, sendTo(t.Context(), mailer(t, "smtp://localhost", mailPeer(t, &mailServer{babble: true}), nil)), credential.Down, "says more")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	wantMailError(t, sendTo(ctx, mailer(t, "smtp://localhost", mailPeer(t, &mailServer{silent: true}), nil)), credential.Down, "given up")
}

// S15: the mail server is called through the guard as well.
func TestMailDialIsGuarded(t *testing.T) {
	s := &mailServer{}
	_, port, _ := net.SplitHostPort(mailPeer(t, s))
	m, err := New(Config{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}).Mailer("smtp://localhost:"+port, "a@b.example")
	if err != nil {
		t.Fatal(err)
	}
	wantMailError(t, sendTo(t.Context(), m), credential.Down, "backend_networks")
}

// What is no mail is refused before anybody is called, with every problem named.
func TestMailWants(t *testing.T) {
	m := mailer(t, "smtp://localhost", "127.0.0.1:1", nil)
	err := m.Send(t.Context(), "ann@example.com\r\nBcc: eve@example.com", "x\r\nBcc: eve@example.com", "\xff")
	for _, field := range []string{"to ", "subject ", "text "} {
		wantMailError(t, err, credential.Invalid, field)
	}
	for _, to := range []string{
		"", "ann", "ann@", "@example.com", "Ann <ann@example.com>", "<ann@example.com>", "ann@example.com, eve@example.com", `"a b"@example.com`, `"a@b"@example.com`,
		`"x>, <eve"@example.com`, "ann@example.com ", "a..b@example.com", ".a@example.com", "ann@exa mple.com", "ann@[127.0.0.1]", "ann@bücher.example", "änn@example.com",
		"ann@example.com\n", "ann@example..com", "ann@example.com.", "ann(x)@example.com", strings.Repeat("a", 65) + "@example.com", "a@" + strings.Repeat("abcdefg.", 32) + "com",
	} {
		wantMailError(t, m.Send(t.Context(), to, "x", "x"), credential.Invalid, "to ")
	}
	for _, to := range []string{"ann@example.com", "a.b+c_d-e=f@x.example", "root@localhost", "a@xn--bcher-kva.example"} {
		var p credential.Problems
		if CheckMailAddress("email", to, &p); len(p) > 0 {
			t.Errorf("%s: %v", to, p)
		}
	}
	for _, subject := range []string{"", "a\nb", "a\rb", "a\x00b", "a\u2028b", "a\u202eb", "\xff", strings.Repeat("x", 256)} {
		wantMailError(t, m.Send(t.Context(), "ann@example.com", subject, "x"), credential.Invalid, "subject ")
	}
	wantMailError(t, m.Send(t.Context(), "ann@example.com", "x", strings.Repeat("x", 64<<10+1)), credential.Invalid, "text ")
}

// Whatever subject and text are, a mail has the header fields that it should, and says what it was given.
func TestMailCannotBeInjected(t *testing.T) {
	m := mailer(t, "smtp://localhost", "", nil)
	rapid.Check(t, func(t *rapid.T) {
		subject, text := rapid.String().Draw(t, "subject"), rapid.String().Draw(t, "text")
		raw, err := m.compose("ann@example.com", subject, text)
		if err != nil {
			return
		}
		if lone := bytes.ReplaceAll(raw, []byte("\r\n"), nil); bytes.ContainsAny(lone, "\r\n") {
			t.Fatalf("line ends that are none: %q", raw)
		}
		got, err := mail.ReadMessage(bytes.NewReader(raw))
		if err != nil || len(got.Header) != 9 {
			t.Fatalf("%v %v", err, got)
		}
		decoded, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
		if err != nil || strings.Trim(decoded, " ") != strings.Trim(subject, " ") && !strings.Contains(subject, "=?") {
			t.Fatalf("%q became %q %v", subject, decoded, err)
		}
	})
}

// FuzzMailAddress: what is taken for an address is that address, and no other, for net/mail as well.
func FuzzMailAddress(f *testing.F) {
	for _, s := range []string{"ann@example.com", "a.b+c@x", "Ann <ann@example.com>", `"a b"@c`, "a@b, c@d", "a@[::1]", "a(b)@c", "a@b."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !isMailAddress(s) {
			return
		}
		all, err := mail.ParseAddressList("<" + s + ">")
		if err != nil || len(all) != 1 || all[0].Address != s {
			t.Fatalf("%q is %v %v", s, all, err)
		}
	})
}

func TestMailerSettings(t *testing.T) {
	c := New(Config{})
	for url, word := range map[string]string{
		"":                                 "smtp://",
		"mail.example:587":                 "smtp://",
		"http://mail.example":              "smtp://",
		"smtp://":                          "host",
		"smtp://user:" + mailSecret + "@":  "host",
		"smtp://user:w0rd%zz@mail.example": "%40",
		"smtp://user:w0rd/x@mail.example":  "%40",
		"smtp://user@mail.example":         "both",
		"smtp://:w0rd@mail.example":        "both",
		"smtp://user:w0rd%0d@mail.example": "control",
		"smtp://mail.example:0":            "port",
		"smtp://mail.example:99999":        "port",
		"smtp://mail.example/path":         "nothing after",
		"smtp://mail.example?tls=off":      "nothing after",
		"smtp://mail.example#x":            "nothing after",
		"smtp://169.254.169.254":           "link-local",
		"smtp://2130706433":                "number",
	} {
		_, err := c.Mailer(url, "a@b.example")
		wantMailError(t, err, credential.Invalid, word)
		if err != nil && !strings.HasPrefix(err.Error(), "smtp_url ") {
			t.Errorf("%v", err)
		}
	}
	for _, from := range []string{"", "x", "a@b\r\nBcc: c@d", "a@b.example, c@d.example", `"a b"@c.example`, "=?utf-8?q?a=0Ab?= <a@b.example>", strings.Repeat("x", 101) + " <a@b.example>"} {
		_, err := c.Mailer("smtp://mail.example", from)
		wantMailError(t, err, credential.Invalid, "smtp_from ")
	}
	_, err := c.Mailer("x", "x")
	wantMailError(t, err, credential.Invalid, "smtp_url must begin with smtp:// or smtps://; smtp_from ")
	for url, addr := range map[string]string{
		"smtp://mail.example": "mail.example:587", "SMTPS://Mail.example/": "mail.example:465", "smtp://[::1]:25": "[::1]:25", "smtps://u:p@10.0.0.1:1": "10.0.0.1:1",
	} {
		m, err := c.Mailer(url, "Ün Cardea <a@b.example>")
		if err != nil || m.server.addr() != addr {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// K03: a mailer does not print its password.
func TestMailerDoesNotPrint(t *testing.T) {
	m := mailer(t, "smtp://user:"+mailSecret+"@mail.example", "", nil)
	if s := fmt.Sprintf("%v %+v %#v %s", m, *m, m, m); strings.Contains(s, "w0rd") {
		t.Error(s)
	}
}
