package policy

import (
	"strings"
	"unicode/utf8"
	"unsafe"
)

// Holder is whom the templates of rules speak of: the principal of an identity.
type Holder struct {
	Principal string // name
	Attrs     map[string]string
}

// template is a resource with variables. A variable is a part of one level or
// segment, and its value never becomes more than that.
type template struct {
	levels []level // those that have a variable
	rest   string  // what follows the last of them
}

// level is one level or segment with a variable, after the text in front of it.
type level struct {
	before string
	pieces []piece
}

// piece is a variable, or text between variables.
type piece struct {
	of   variable
	text string // the text, the value, or the name of the attribute
}

type variable uint8

const (
	ofText  variable = iota
	ofValue          // of a variable, that was known beforehand
	ofPrincipal
	ofClientID
	ofAttr
)

const (
	opening   = "${"
	attrDot   = "attr."
	variables = "${principal}, ${client_id} and ${attr.NAME}"
)

// parseTemplate reads a resource; nil if it has no variables. Otherwise why
// says what is wrong with them.
func parseTemplate(resource string) (t *template, why string) {
	return parseWith(resource, parseVariable, variables)
}

// parseWith is parseTemplate for the variables that parse knows, which known names.
func parseWith(resource string, parse func(name string) (piece, bool), known string) (t *template, why string) {
	if !strings.Contains(resource, opening) {
		return nil, ""
	}
	t = &template{}
	done := 0 // up to here it is in t
	for at := 0; at <= len(resource); {
		end := len(resource)
		if n := strings.IndexByte(resource[at:], '/'); n >= 0 {
			end = at + n
		}
		if strings.Contains(resource[at:end], opening) {
			pieces, why := parsePieces(resource[at:end], parse, known)
			if why != "" {
				return nil, why
			}
			t.levels = append(t.levels, level{resource[done:at], pieces})
			done = end
		}
		at = end + 1
	}
	t.rest = resource[done:]
	return t, ""
}

func parsePieces(s string, parse func(name string) (piece, bool), known string) (pieces []piece, why string) {
	for {
		text, rest, found := strings.Cut(s, opening)
		if text != "" {
			pieces = append(pieces, piece{ofText, text})
		}
		if !found {
			return pieces, ""
		}
		name, rest, closed := strings.Cut(rest, "}")
		if !closed {
			return nil, "has a ${ without a } in the same level: there are " + known
		}
		p, ok := parse(name)
		if !ok {
			return nil, "has a variable that there is not: there are " + known
		}
		pieces, s = append(pieces, p), rest
	}
}

func parseVariable(name string) (piece, bool) {
	switch name {
	case "principal":
		return piece{of: ofPrincipal}, true
	case "client_id":
		return piece{of: ofClientID}, true
	}
	attr, ok := strings.CutPrefix(name, attrDot)
	return piece{ofAttr, attr}, ok && isAttr(attr)
}

// isAttr reports whether s is a name that a variable can have for an attribute:
// letters, digits and, but for the first, . _ and -
func isAttr(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			return false
		}
	}
	return s != ""
}

// checkTemplate says what is wrong with the variables in the resource of a rule.
func checkTemplate(act action, s string) string {
	t, why := parseTemplate(s)
	switch {
	case t == nil:
		return why
	case act.proto != MQTT && t.has(ofClientID):
		return "has ${client_id}, which is for mqtt actions only"
	case t.first() && s[0] == '$' && t.levels[0].pieces[0].of == ofText:
		return "has a variable in a first level that begins with $"
	}
	return ""
}

func (t *template) has(v variable) bool {
	for _, l := range t.levels {
		for _, p := range l.pieces {
			if p.of == v {
				return true
			}
		}
	}
	return false
}

// first reports whether it begins with a level that has a variable. No path does.
func (t *template) first() bool { return t.levels[0].before == "" }

// widest is the resource with a wildcard for each level that has a variable.
func (t *template) widest(proto Proto) string {
	b, _ := t.expand(nil, proto, true, nil, &Access{})
	return string(b)
}

// expand appends the resource with the values that the variables have for a
// holder and an access. A level in which some value cannot be taken literally
// becomes a wildcard if wide, and otherwise there is no expansion.
func (t *template) expand(to []byte, proto Proto, wide bool, h *Holder, a *Access) ([]byte, bool) {
	for i := range t.levels {
		l := &t.levels[i]
		to = append(to, l.before...)
		start, ok := len(to), true
		for j := range l.pieces {
			p := &l.pieces[j]
			value := p.value(h, a)
			if p.of != ofText && (!isLiteral(value, proto) || len(to) == 0 && value[0] == '$') {
				ok = false
				break
			}
			to = append(to, value...)
		}
		switch {
		case ok:
		case !wide:
			return to, false
		case proto == MQTT:
			to = append(to[:start], '+')
		default:
			to = append(to[:start], '*')
		}
	}
	return append(to, t.rest...), true
}

// value is the text of a piece; "" for a variable without a value.
func (p *piece) value(h *Holder, a *Access) string {
	switch {
	case p.of == ofText, p.of == ofValue:
		return p.text
	case p.of == ofClientID:
		return a.ClientID
	case h == nil:
		return ""
	case p.of == ofPrincipal:
		return h.Principal
	}
	return h.Attrs[p.text]
}

// isLiteral reports whether a value can stand in a level or segment and mean
// nothing but itself: it is not empty, and has no separator, wildcard, control
// character or invalid UTF-8, nor in a path what no canonical path has.
func isLiteral(s string, proto Proto) bool {
	isPath := proto != MQTT
	if s == "" || isPath && (s == "." || s == "..") {
		return false
	}
	ascii := true
	for i := range len(s) {
		switch c := s[i]; {
		case c >= utf8.RuneSelf:
			ascii = false
		case c < ' ', c == 0x7F, c == '/', c == '+', c == '#':
			return false
		case isPath && (c == '*' || c == '%' || badByte[c]):
			return false
		}
	}
	return ascii || isPrintable(s)
}

// isPrintable reports whether s is UTF-8 without control characters beyond ASCII.
func isPrintable(s string) bool {
	for _, c := range s {
		if c >= 0x80 && c < 0xA0 {
			return false
		}
	}
	return utf8.ValidString(s)
}

// onTemplate is onResource for a rule with variables. An allow whose template
// has no expansion is about nothing; a deny is about all that the level could be.
func (m *matcher) onTemplate(op op, a *Access, h *Holder) bool {
	if op != opSubscribe && !strings.HasPrefix(a.Resource, m.prefix) {
		return false
	}
	var room [256]byte
	b, ok := m.template.expand(room[:0], m.action.proto, m.deny, h, a)
	switch {
	case !ok:
		return false
	case op == opSubscribe:
		return m.holdsFilter(a.Resource, string(b))
	}
	pattern := unsafe.String(unsafe.SliceData(b), len(b)) // read only, and not kept
	switch {
	case op != opPublish && op != opDeliver:
		return matchPattern(pattern, a.Resource)
	case m.isOpen(pattern):
		return matchLevels(pattern, a.Resource)
	}
	return matchFilter(pattern, a.Resource)
}

// holdsFilter reports whether the rule, as pattern, is about a subscription.
func (m *matcher) holdsFilter(filter, pattern string) bool {
	switch {
	case m.isOpen(pattern):
		return overlapLevels(filter, pattern)
	case m.deny:
		return Overlap(filter, pattern)
	}
	return Subset(filter, pattern)
}

// isOpen reports whether the first level of an expansion is the wildcard that
// stands for a value: no value is one itself. What is there could begin with $, too.
func (m *matcher) isOpen(pattern string) bool { return m.template.first() && pattern[0] == '+' }

// lacksValue reports whether the rule is an allow with a variable that has no usable value.
func (m *matcher) lacksValue(a *Access, h *Holder) bool {
	if m.shape != shapeTemplate || m.deny {
		return false
	}
	_, ok := m.template.expand(nil, m.action.proto, false, h, a)
	return !ok
}
