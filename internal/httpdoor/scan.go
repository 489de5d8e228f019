package httpdoor

// scanner is a strict reader of HTTP/1.x framing (RFC 9112) that sees the bytes
// of a connection in whatever pieces they come, keeps none of them and does
// not allocate. It says up to where they can be read in one way only.
//
// It is stricter than the RFC allows servers to be, and than net/http is:
// whatever two parsers are known to read differently is refused.
type scanner struct {
	state   state
	field   field  // which header field the current line is
	method  uint64 // the last 8 bytes of the method
	pos     int    // bytes of the version, field name or chunk size so far
	name    [fieldNameMax]byte
	lines   int   // header or trailer lines so far
	size    int   // bytes of the head or trailer so far
	ext     int   // bytes of chunk extensions so far
	length  int64 // Content-Length
	left    int64 // bytes of body or chunk that are still to come
	hosts   uint8
	lengths uint8
	codings uint8
	old     bool // HTTP/1.0
	connect bool
	trailer bool
	spaced  bool // white space has followed the value
}

type state uint8

const (
	inMethod state = iota // before the first byte of a request, too
	atTarget
	inTarget
	inVersion
	atVersionEnd // CR seen
	atLine       // at the first byte of a header or trailer line
	inName
	beforeValue
	inValue
	atLineEnd // CR seen
	atHeadEnd // CR of the empty line seen
	inBody
	inSize
	inExtension
	atSizeEnd // CR seen
	inChunk
	afterChunk
	atChunkEnd // CR seen
	closed     // nothing may follow
)

type field uint8

const (
	otherField field = iota
	hostField
	lengthField
	codingField
)

// verdict is what the scanner thinks of a byte.
type verdict uint8

const (
	pass verdict = iota
	malformed
	tooLarge // a head
)

const (
	fieldNameMax    = len("transfer-encoding")
	maxMethod       = 32
	maxHeaderLines  = 100
	maxHead         = 32 << 10
	maxExtension    = 1024 // bytes of chunk extensions in a body
	maxLengthDigits = 18
	maxSizeDigits   = 15
)

const (
	tokenByte  = 1 << iota // RFC 9110 §5.6.2
	targetByte             // visible ASCII without '#'
	valueByte              // HTAB, SP, visible ASCII, obs-text
)

// classes says what each byte may be part of.
var classes = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			t[c] = tokenByte
		}
		if c > ' ' && c < 0x7f && c != '#' {
			t[c] |= targetByte
		}
		if c == '\t' || c >= ' ' && c != 0x7f {
			t[c] |= valueByte
		}
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] |= tokenByte
	}
	return t
}()

// scan reads p and returns how much of it is good. If the verdict is not
// pass, the byte at that place is the first that must not go on.
func (s *scanner) scan(p []byte) (int, verdict) {
	for i := 0; i < len(p); {
		switch s.state {
		case inBody, inChunk:
			n := min(s.left, int64(len(p)-i))
			s.left -= n
			i += int(n)
			if s.left == 0 {
				s.bodyPieceDone()
			}
			continue
		case inTarget:
			i += s.run(p[i:], targetByte)
		case inVersion:
			i += s.wholeVersion(p[i:])
		case inName:
			i += s.nameRun(p[i:])
		case inValue:
			if s.field == otherField || s.field == hostField {
				i += s.run(p[i:], valueByte)
			}
		}
		if i == len(p) {
			break
		}
		if v := s.step(p[i]); v != pass {
			return i, v
		}
		i++
	}
	return len(p), pass
}

// fresh reports whether the next byte begins a request.
func (s *scanner) fresh() bool { return s.state == inMethod && s.pos == 0 }

// run returns how many bytes at the beginning of p are of a class and still
// fit into a head.
func (s *scanner) run(p []byte, class uint8) int {
	p = p[:min(len(p), maxHead-s.size)]
	for i, c := range p {
		if classes[c]&class == 0 {
			s.size += i
			return i
		}
	}
	s.size += len(p)
	return len(p)
}

// nameRun is run for field names, of which it notes the beginning.
func (s *scanner) nameRun(p []byte) int {
	p = p[:min(len(p), maxHead-s.size)]
	for i, c := range p {
		if classes[c]&tokenByte == 0 {
			s.size += i
			return i
		}
		s.noteName(c)
	}
	s.size += len(p)
	return len(p)
}

// wholeVersion takes the usual version in one go if all of it is there; if
// not, it takes nothing, and step goes byte by byte.
func (s *scanner) wholeVersion(p []byte) int {
	const usual = version + "1\r\n"
	if s.pos > 0 || len(p) < len(usual) || string(p[:len(usual)]) != usual || s.size+len(usual) > maxHead {
		return 0
	}
	s.state, s.size = atLine, s.size+len(usual)
	return len(usual)
}

func (s *scanner) bodyPieceDone() {
	if s.state == inChunk {
		s.state = afterChunk
		return
	}
	*s = scanner{}
}

// step takes one byte that is not inside a body.
func (s *scanner) step(c byte) verdict {
	switch s.state {
	case inSize, inExtension, atSizeEnd, afterChunk, atChunkEnd:
		return s.chunkLine(c)
	case closed:
		return malformed // nothing may follow a CONNECT
	}
	if s.size == maxHead {
		return s.tooLarge()
	}
	s.size++
	switch s.state {
	case inMethod, atTarget, inTarget, inVersion, atVersionEnd:
		return s.requestLine(c)
	}
	return s.headerLine(c)
}

const (
	connectWord = uint64('C')<<48 | uint64('O')<<40 | uint64('N')<<32 | uint64('N')<<24 | uint64('E')<<16 | uint64('C')<<8 | uint64('T')
	version     = "HTTP/1."
)

func (s *scanner) requestLine(c byte) verdict {
	switch s.state {
	case inMethod:
		if c == ' ' && s.pos > 0 {
			s.connect = s.method == connectWord && s.pos == len("CONNECT")
			s.state = atTarget
			return pass
		}
		if classes[c]&tokenByte == 0 || s.pos >= maxMethod {
			return malformed
		}
		s.method = s.method<<8 | uint64(c)
		s.pos++
	case atTarget: // origin-form; authority-form for CONNECT (RFC 9112 §3.2)
		if c != '/' && !s.connect || classes[c]&targetByte == 0 {
			return malformed
		}
		s.state = inTarget
	case inTarget: // scan has run over the target's bytes
		if c != ' ' {
			return malformed
		}
		s.state, s.pos = inVersion, 0
	case inVersion:
		return s.versionByte(c)
	case atVersionEnd:
		if c != '\n' {
			return malformed
		}
		s.state = atLine
	}
	return pass
}

func (s *scanner) versionByte(c byte) verdict {
	switch {
	case s.pos < len(version) && c == version[s.pos]:
	case s.pos == len(version) && (c == '0' || c == '1'):
		s.old = c == '0'
	case s.pos == len(version)+1 && c == '\r':
		s.state = atVersionEnd
	default:
		return malformed
	}
	s.pos++
	return pass
}

func (s *scanner) headerLine(c byte) verdict {
	switch s.state {
	case atLine:
		if c == '\r' {
			s.state = atHeadEnd
			return s.headVerdict()
		}
		if s.lines++; s.lines > maxHeaderLines {
			return s.tooLarge()
		}
		s.state, s.pos = inName, 0
		return s.nameByte(c)
	case inName:
		return s.nameByte(c)
	case beforeValue, inValue:
		return s.valueByte(c)
	case atLineEnd:
		if c != '\n' {
			return malformed
		}
		s.state = atLine
	case atHeadEnd:
		if c != '\n' {
			return malformed
		}
		s.headDone()
	}
	return pass
}

// tooLarge keeps the answer 431 for heads; a trailer comes too late for it.
func (s *scanner) tooLarge() verdict {
	if s.trailer {
		return malformed
	}
	return tooLarge
}

func (s *scanner) nameByte(c byte) verdict {
	if c == ':' && s.pos > 0 {
		return s.nameDone()
	}
	if classes[c]&tokenByte == 0 { // obs-fold and "Name :" end here
		return malformed
	}
	s.noteName(c)
	return pass
}

func (s *scanner) noteName(c byte) {
	if s.pos < len(s.name) {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		s.name[s.pos] = c
	}
	s.pos++
}

func (s *scanner) nameDone() verdict {
	s.field, s.spaced = otherField, false
	if s.pos <= len(s.name) {
		switch string(s.name[:s.pos]) {
		case "host":
			s.field = hostField
			s.hosts++
		case "content-length":
			s.field = lengthField
			s.lengths++
		case "transfer-encoding":
			s.field = codingField
			s.codings++
		}
	}
	if s.hosts > 1 || s.lengths+s.codings > 1 || s.trailer && s.field != otherField {
		return malformed
	}
	s.state, s.pos = beforeValue, 0
	return pass
}

func (s *scanner) valueByte(c byte) verdict {
	if c == '\r' {
		s.state = atLineEnd
		return s.valueDone()
	}
	if classes[c]&valueByte == 0 {
		return malformed
	}
	if c == ' ' || c == '\t' {
		s.spaced = s.state == inValue
		return pass
	}
	s.state = inValue
	switch s.field {
	case lengthField:
		return s.lengthByte(c)
	case codingField:
		const chunked = "chunked"
		if s.spaced || s.pos >= len(chunked) || c != chunked[s.pos] {
			return malformed
		}
		s.pos++
	}
	return pass
}

func (s *scanner) lengthByte(c byte) verdict {
	if s.spaced || c < '0' || c > '9' || s.pos >= maxLengthDigits {
		return malformed
	}
	s.length = s.length*10 + int64(c-'0')
	s.pos++
	return pass
}

func (s *scanner) valueDone() verdict {
	if s.field == lengthField && s.pos == 0 || s.field == codingField && s.pos != len("chunked") {
		return malformed
	}
	return pass
}

// headVerdict judges a head at its end, before the last line break goes on.
func (s *scanner) headVerdict() verdict {
	switch {
	case s.trailer:
		return pass
	case s.hosts == 0 && !s.old: // RFC 9112 §3.2
		return malformed
	case s.codings > 0 && (s.old || s.connect): // RFC 9112 §6.1
		return malformed
	case s.length > 0 && s.connect:
		return malformed
	}
	return pass
}

func (s *scanner) headDone() {
	switch {
	case s.trailer:
		*s = scanner{}
	case s.connect:
		s.state = closed
	case s.codings > 0:
		*s = scanner{state: inSize}
	case s.length > 0:
		*s = scanner{state: inBody, left: s.length}
	default:
		*s = scanner{}
	}
}

func (s *scanner) chunkLine(c byte) verdict {
	switch s.state {
	case inSize:
		return s.sizeByte(c)
	case inExtension:
		if c == '\r' {
			s.state = atSizeEnd
			return pass
		}
		if s.ext++; s.ext > maxExtension || classes[c]&valueByte == 0 {
			return malformed
		}
	case atSizeEnd:
		if c != '\n' {
			return malformed
		}
		s.sizeDone()
	case afterChunk:
		if c != '\r' {
			return malformed
		}
		s.state = atChunkEnd
	case atChunkEnd:
		if c != '\n' {
			return malformed
		}
		s.state, s.pos, s.left = inSize, 0, 0
	}
	return pass
}

func (s *scanner) sizeByte(c byte) verdict {
	var d byte
	switch {
	case c >= '0' && c <= '9':
		d = c - '0'
	case c >= 'a' && c <= 'f':
		d = c - 'a' + 10
	case c >= 'A' && c <= 'F':
		d = c - 'A' + 10
	case s.pos == 0:
		return malformed
	case c == ';':
		s.state = inExtension
		return pass
	case c == '\r':
		s.state = atSizeEnd
		return pass
	default:
		return malformed
	}
	if s.pos >= maxSizeDigits {
		return malformed
	}
	s.left = s.left<<4 | int64(d)
	s.pos++
	return pass
}

func (s *scanner) sizeDone() {
	if s.left > 0 {
		s.state = inChunk
		return
	}
	*s = scanner{state: atLine, trailer: true}
}
