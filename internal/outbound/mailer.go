package outbound

import (
	"crypto/tls"
	"net/mail"
	"net/url"
	"strings"
	"unicode"

	"cardea/internal/credential"
)

// Mailer makes a mailer of two settings: server is smtp://user:password@host:587, where TLS begins by STARTTLS and must, or
// smtps://user:password@host:465, where it is there from the start; from is an address, with a name if you like. What is special in user name
// and password is written as in any URL (%40 for @); without them nobody signs in. The default ports are 587 and 465.
//
// On this machine (localhost, 127.0.0.1, ::1) there may be no TLS, and if there is, any certificate is taken: who could show a wrong one
// could as well offer none. Elsewhere it is verified.
//
// The error names "smtp_url" and "smtp_from", and repeats nothing of the URL.
func (c *Client) Mailer(server, from string) (*Mailer, error) {
	m := &Mailer{now: c.now, dial: c.dialer().DialContext}
	var p credential.Problems
	note(&p, "smtp_url", m.parse(c.guard, server))
	note(&p, "smtp_from", m.parseFrom(from))
	if err := p.Err(); err != nil {
		return nil, err
	}
	m.local = isLoopback(m.server.host)
	m.tls = &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: m.server.serverName(), RootCAs: c.roots,
		InsecureSkipVerify: m.local, // see above
	}
	return m, nil
}

// parse reads the server's URL.
func (m *Mailer) parse(g guard, s string) (why string) {
	u, err := url.Parse(s)
	if err != nil { // its text has the password
		return "must be like smtp://user:password@host:587, with special characters in the password as %40 and the like"
	}
	switch u.Scheme {
	case "smtp":
		m.server.port = "587"
	case "smtps":
		m.server.port, m.implicit = "465", true
	default:
		return "must begin with smtp:// or smtps://"
	}
	if why := g.parseAuthority(&m.server, u.Host); why != "" {
		return why
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "" {
		return "must have nothing after the port"
	}
	if u.User == nil {
		return ""
	}
	m.user = u.User.Username()
	m.password, _ = u.User.Password()
	switch {
	case m.user == "" || m.password == "":
		return "must have both user and password, or neither"
	case strings.ContainsFunc(m.user+m.password, unicode.IsControl):
		return "must not have control characters in user or password"
	}
	return ""
}

// parseFrom reads the sender.
func (m *Mailer) parseFrom(s string) (why string) {
	const rule = "must be like cardea@example.com, or Cardea <cardea@example.com>"
	parsed, err := mail.ParseAddress(s)
	if err != nil || !isMailAddress(parsed.Address) || parsed.Name != "" && lineOf(parsed.Name, 100) != "" {
		return rule
	}
	m.from = *parsed
	return ""
}
