package scram

import (
	"bytes"
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// Bounds of what clients send, in bytes. A client-first is kept until the handshake ends.
const (
	maxFirst = 4 << 10
	maxFinal = 8 << 10
	maxNonce = 1 << 10
)

// exporterBinding is the type of channel binding of RFC 9266, the only one that is served.
const exporterBinding = "tls-exporter"

// first is a client-first message. Its slices are parts of the message.
type first struct {
	gs2      []byte // the header: flag, authzid and their commas
	bare     []byte // what follows it
	flag     byte   // 'n', 'y' or 'p'
	binding  string // with 'p': the type
	username string // decoded and prepared
	nonce    []byte
}

// parseFirst reads a client-first message (RFC 5802, 7):
//
//	(n|y|p=TYPE) "," [a=NAME] "," n=NAME "," r=NONCE *("," EXTENSION)
func parseFirst(msg []byte) (first, error) {
	if err := checkText("client-first", msg, maxFirst); err != nil {
		return first{}, err
	}
	flag, rest, _ := bytes.Cut(msg, comma)
	authz, bare, ok := bytes.Cut(rest, comma)
	if !ok {
		return first{}, fail(InvalidEncoding, "client-first has no GS2 header")
	}
	f := first{gs2: msg[:len(msg)-len(bare)], bare: bare}
	if err := f.parseFlag(flag); err != nil {
		return first{}, err
	}
	if err := f.parseBare(); err != nil {
		return first{}, err
	}
	return f, f.checkAuthz(authz)
}

func (f *first) parseFlag(flag []byte) error {
	if len(flag) == 1 && (flag[0] == 'n' || flag[0] == 'y') {
		f.flag = flag[0]
		return nil
	}
	binding, ok := value(flag, 'p')
	if !ok {
		return fail(InvalidEncoding, "client-first does not begin with a channel binding flag n, y or p=")
	}
	f.flag, f.binding = 'p', string(binding)
	return nil
}

func (f *first) parseBare() error {
	name, rest, _ := bytes.Cut(f.bare, comma)
	if _, ok := value(name, 'm'); ok {
		return fail(ExtensionsNotSupported, "client-first has a mandatory extension")
	}
	v, ok := value(name, 'n')
	if !ok {
		return fail(InvalidEncoding, "client-first has no user name where it must stand")
	}
	var err error
	if f.username, err = saslName(v); err != nil {
		return err
	}
	nonce, rest, more := bytes.Cut(rest, comma)
	if f.nonce, ok = value(nonce, 'r'); !ok || len(f.nonce) > maxNonce || !printable(f.nonce) {
		return fail(InvalidEncoding, "client-first has no nonce of printable characters where it must stand")
	}
	for more {
		var field []byte
		field, rest, more = bytes.Cut(rest, comma)
		if err := checkExtension("client-first", field); err != nil {
			return err
		}
	}
	return nil
}

// checkAuthz refuses to act as somebody else (S07).
func (f *first) checkAuthz(field []byte) error {
	if len(field) == 0 {
		return nil
	}
	v, ok := value(field, 'a')
	if !ok {
		return fail(InvalidEncoding, "client-first has something else in the place of an authorisation identity")
	}
	name, err := saslName(v)
	if err != nil {
		return err
	}
	if name != f.username {
		return fail(OtherError, "the authorisation identity is another one than the user")
	}
	return nil
}

// final is a client-final message. Its slices are parts of the message.
type final struct {
	unproven []byte // all that stands before ",p="
	binding  []byte // base64
	nonce    []byte
	proof    []byte // base64
}

// parseFinal reads a client-final message (RFC 5802, 7):
//
//	c=BASE64 "," r=NONCE *("," EXTENSION) "," p=BASE64
func parseFinal(msg []byte) (final, error) {
	if err := checkText("client-final", msg, maxFinal); err != nil {
		return final{}, err
	}
	binding, rest, _ := bytes.Cut(msg, comma)
	nonce, rest, more := bytes.Cut(rest, comma)
	var f final
	var ok bool
	if f.binding, ok = value(binding, 'c'); !ok {
		return final{}, fail(InvalidEncoding, "client-final has no channel binding where it must stand")
	}
	if f.nonce, ok = value(nonce, 'r'); !ok {
		return final{}, fail(InvalidEncoding, "client-final has no nonce where it must stand")
	}
	for more {
		var field []byte
		f.unproven = msg[:len(msg)-len(rest)-1]
		field, rest, more = bytes.Cut(rest, comma)
		if f.proof, ok = value(field, 'p'); ok && !more {
			return f, nil
		}
		if err := checkExtension("client-final", field); err != nil {
			return final{}, err
		}
	}
	return final{}, fail(InvalidEncoding, "client-final has no proof at its end")
}

var comma = []byte{','} //nolint:gochecknoglobals // a constant, were there such of slices

// value returns the value of an attribute, if field is that one and has one.
func value(field []byte, name byte) ([]byte, bool) {
	if len(field) < 3 || field[0] != name || field[1] != '=' {
		return nil, false
	}
	return field[2:], true
}

// checkText looks at what holds for every message.
func checkText(which string, msg []byte, limit int) error {
	switch {
	case len(msg) > limit:
		return fail(OtherError, which+" is too long")
	case !utf8.Valid(msg):
		return fail(InvalidEncoding, which+" is not UTF-8")
	case bytes.IndexByte(msg, 0) >= 0:
		return fail(InvalidEncoding, which+" has a NUL")
	}
	return nil
}

// checkExtension accepts what may be ignored: an attribute that no message of RFC 5802 has.
func checkExtension(which string, field []byte) error {
	if len(field) > 0 && field[0] == 'm' {
		return fail(ExtensionsNotSupported, which+" has a mandatory extension")
	}
	letter := len(field) >= 3 && field[1] == '=' && (field[0]|' ' >= 'a' && field[0]|' ' <= 'z')
	if !letter || strings.IndexByte("aceinprsv", field[0]) >= 0 {
		return fail(InvalidEncoding, which+" has something that is no extension where only extensions may stand")
	}
	return nil
}

// saslName decodes a name (RFC 5802, 5.1) and prepares it.
func saslName(v []byte) (string, error) {
	var b strings.Builder
	for rest := string(v); ; {
		plain, escape, found := strings.Cut(rest, "=")
		b.WriteString(plain)
		switch {
		case !found:
			name, err := Prepare(b.String())
			if err != nil {
				return "", fail(InvalidUsernameEncoding, "the user name "+err.Error())
			}
			return name, nil
		case strings.HasPrefix(escape, "2C"):
			b.WriteByte(',')
		case strings.HasPrefix(escape, "3D"):
			b.WriteByte('=')
		default:
			return "", fail(InvalidUsernameEncoding, "the user name has a = that is neither =2C nor =3D")
		}
		rest = escape[2:]
	}
}

// printable reports whether all of b is printable, as RFC 5802 has it. Commas are not in it.
func printable(b []byte) bool {
	for _, c := range b {
		if c < '!' || c > '~' {
			return false
		}
	}
	return true
}

// decodeProof decodes base64 of exactly len(into) bytes, in the one way it can be written.
func decodeProof(into, text []byte) bool {
	if len(text) != base64.StdEncoding.EncodedLen(len(into)) {
		return false
	}
	b := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(b, text)
	if err != nil || n != len(into) {
		return false
	}
	copy(into, b)
	return true
}
