package outbound

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"

	"cardea/internal/credential"
)

// piece is text that is sent as it is, or a value of the login in an encoding.
type piece struct {
	of   placeholder
	text string // the text, or the name of the attribute
	as   encoding
}

type placeholder uint8

const (
	ofText placeholder = iota
	ofUsername
	ofClientID
	ofPassword
	ofPeerHost
	ofPeerPort
	ofCertSubject
	ofCertCommonName
	ofCertPEM
	ofZone
	ofListener
	ofAttr
)

var placeholders = map[string]placeholder{
	"username":         ofUsername,
	"clientid":         ofClientID,
	"password":         ofPassword,
	"peerhost":         ofPeerHost,
	"peerport":         ofPeerPort,
	"cert_subject":     ofCertSubject,
	"cert_common_name": ofCertCommonName,
	"cert_pem":         ofCertPEM,
	"zone":             ofZone,
	"listener":         ofListener,
}

const (
	opening   = "${"
	attrDot   = "client_attrs."
	thereAre  = "there are ${username}, ${clientid}, ${password}, ${peerhost}, ${peerport}, ${cert_subject}, ${cert_common_name}, ${cert_pem}, ${zone}, ${listener} and ${client_attrs.NAME}; ${$} is a dollar sign"
	dollarVar = "$"
)

// encoding is how a value stands in a request.
type encoding uint8

const (
	asIs encoding = iota // in headers; what cannot be sent is refused
	asForm
	asJSON // within a JSON string
)

// parse reads a template. why says what is wrong with its placeholders.
func parse(s string, as encoding) (pieces []piece, why string) {
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			pieces = append(pieces, piece{ofText, text.String(), as})
			text.Reset()
		}
	}
	for {
		before, rest, found := strings.Cut(s, opening)
		text.WriteString(before)
		if !found {
			flush()
			return pieces, ""
		}
		name, rest, closed := strings.Cut(rest, "}")
		if !closed {
			return nil, "has a ${ without a }: " + thereAre
		}
		s = rest
		if name == dollarVar {
			text.WriteByte('$')
			continue
		}
		of, attr := placeholders[name], ""
		if rest, ok := strings.CutPrefix(name, attrDot); ok && isAttrName(rest) {
			of, attr = ofAttr, rest
		}
		if of == ofText {
			return nil, "has a placeholder that there is not: " + thereAre
		}
		flush()
		pieces = append(pieces, piece{of, attr, as})
	}
}

// isAttrName reports whether s is ^[A-Za-z0-9]+[A-Za-z0-9-_]*$, as names of client_attrs are.
func isAttrName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && (i == 0 || c != '-' && c != '_') {
			return false
		}
	}
	return s != ""
}

// render appends pieces with the values of a login. A value that cannot be sent makes a login that cannot be asked about: why
// says so, without the value.
func render(to []byte, pieces []piece, l *credential.Login) (_ []byte, why string) {
	for i := range pieces {
		p := &pieces[i]
		if p.of == ofText {
			to = append(to, p.text...)
			continue
		}
		from := len(to)
		if to, why = p.as.append(to, p.value(l)); why != "" {
			return to[:from], why
		}
	}
	return to, ""
}

// value is the text of a placeholder; "" for what is not known.
func (p *piece) value(l *credential.Login) string {
	switch p.of {
	case ofUsername:
		return l.Username
	case ofClientID:
		return l.ClientID
	case ofPassword:
		return l.Password
	case ofZone:
		return l.Zone
	case ofListener:
		return l.Listener
	case ofAttr:
		return l.Attrs[p.text]
	}
	switch {
	case l.Peer.IsValid() && p.of == ofPeerHost:
		return l.Peer.Addr().Unmap().WithZone("").String()
	case l.Peer.IsValid() && p.of == ofPeerPort:
		return strconv.Itoa(int(l.Peer.Port()))
	case l.Cert == nil:
		return ""
	}
	switch p.of {
	case ofCertSubject:
		return l.Cert.Subject
	case ofCertCommonName:
		return l.Cert.CommonName
	case ofCertPEM:
		return base64.StdEncoding.EncodeToString(l.Cert.DER)
	}
	return ""
}

// append appends a value in the encoding.
func (e encoding) append(to []byte, s string) (_ []byte, why string) {
	switch e {
	case asForm:
		return appendForm(to, s), ""
	case asJSON:
		if !utf8.ValidString(s) {
			return to, "a value that is no UTF-8 cannot be sent in a JSON body"
		}
		return appendJSON(to, s), ""
	}
	if !isHeaderText(s) {
		return to, "a value with control characters, or with blanks around it, cannot be sent in a header"
	}
	return append(to, s...), ""
}

const hexDigits = "0123456789ABCDEF"

// appendForm appends s as application/x-www-form-urlencoded has it.
func appendForm(to []byte, s string) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case isAlnum(c), c == '-', c == '_', c == '.', c == '~':
			to = append(to, c)
		case c == ' ':
			to = append(to, '+')
		default:
			to = append(to, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return to
}

// appendJSON appends valid UTF-8 as the inside of a JSON string.
func appendJSON(to []byte, s string) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"', c == '\\':
			to = append(to, '\\', c)
		case c < ' ' || c == 0x7F:
			to = append(to, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			to = append(to, c)
		}
	}
	return to
}

// isHeaderText reports whether s can be in a header's value (RFC 9110, 5.5) and arrives as it is: blanks around a
// value are dropped on the way, which would make one name another.
func isHeaderText(s string) bool {
	if s != strings.Trim(s, " \t") {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7F {
			return false
		}
	}
	return true
}
