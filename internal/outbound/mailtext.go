package outbound

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net/textproto"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"cardea/internal/credential"
)

// Bounds of what a mail has, in bytes.
const (
	maxMailAddress = 254 // RFC 5321, 4.5.3.1.3, without the brackets
	maxMailSubject = 255
	maxMailText    = 64 << 10
)

// compose is the mail as it is sent, with CRLF. Header fields are made of nothing but what was checked to be one line.
func (m *Mailer) compose(to, subject, text string) ([]byte, error) {
	var p credential.Problems
	CheckMailAddress("to", to, &p)
	if why := lineOf(subject, maxMailSubject); why != "" {
		p.Add("subject", "%s", why)
	}
	if !utf8.ValidString(text) || len(text) > maxMailText {
		p.Add("text", "must be UTF-8 of at most %d bytes", maxMailText)
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for _, field := range [][2]string{
		{"From", m.from.String()},
		{"To", "<" + to + ">"},
		{"Subject", mime.QEncoding.Encode("utf-8", subject)},
		{"Date", m.now().Format(time.RFC1123Z)},
		{"Message-ID", "<" + rand.Text() + "@" + domainOf(m.from.Address) + ">"},
		{"Auto-Submitted", "auto-generated"}, // RFC 3834: nobody's absence notice answers
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		b.WriteString(field[0] + ": " + field[1] + "\r\n")
	}
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	_, err := w.Write([]byte(text))
	if err == nil {
		err = w.Close()
	}
	return b.Bytes(), err
}

// CheckMailAddress adds to p what is wrong with an address that mails are to be sent to. It must be as user@example.com: plain ASCII, no
// name around it, nothing that needs quotes, so that nobody can read it as another one.
func CheckMailAddress(field, s string, p *credential.Problems) {
	if !isMailAddress(s) {
		p.Add(field, "must be an address like user@example.com")
	}
}

// isMailAddress is stricter than net/mail, which takes all that RFC 5322 has.
func isMailAddress(s string) bool {
	local, domain, found := strings.Cut(s, "@")
	if !found || len(s) > maxMailAddress || len(local) > 64 || strings.HasSuffix(domain, ".") || checkHost(strings.ToLower(domain)) != "" {
		return false
	}
	for part := range strings.SplitSeq(local, ".") {
		if !isAtom(part) {
			return false
		}
	}
	return true
}

// isAtom reports whether s is an atom of RFC 5322, 3.2.3.
func isAtom(s string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

func domainOf(address string) string {
	_, domain, _ := strings.Cut(address, "@")
	return domain
}

// lineOf says what is wrong with a text that must be one line.
func lineOf(s string, most int) string {
	if s == "" || len(s) > most || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Sprintf("must be one line of 1 to %d bytes in UTF-8, without control characters", most)
	}
	return ""
}

// mailCode returns the code of a server's answer, and " 5.7.1" if it has one of RFC 3463; 0 if err is none.
func mailCode(err error) (code int, enhanced string) {
	answer, ok := errors.AsType[*textproto.Error](err)
	if !ok {
		return 0, ""
	}
	first, _, _ := strings.Cut(answer.Msg, " ")
	parts := strings.Split(first, ".")
	if len(parts) != 3 || len(first) > 9 || strings.Trim(first, "0123456789.") != "" {
		return answer.Code, ""
	}
	return answer.Code, " " + first
}

// whyNotSent says why there was no answer.
func whyNotSent(ctx context.Context, err error) string {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return "it was given up"
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "it took too long"
	}
	for _, one := range []error{errNotLocal, errNoStartTLS, errNoAuth, errBadAuth} {
		if errors.Is(err, one) {
			return one.Error()
		}
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the mail server's certificate is of an authority that this machine does not trust"
	}
	if errors.Is(err, errTooLong) {
		return "the server says more than a mail server has to say"
	}
	return reason(err)
}
