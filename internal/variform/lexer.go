package variform

import "strings"

type kind uint8

const (
	ofEnd kind = iota
	ofName
	ofBoolean
	ofInteger
	ofFloat
	ofText
	ofPunctuation // ( ) [ ] ,
)

// token is one word of an expression. Of a text it is what is between the quotes.
type token struct {
	kind kind
	text string
	at   int // offset of its first byte
}

func (t token) is(punctuation string) bool { return t.kind == ofPunctuation && t.text == punctuation }

// String is how a message names t.
func (t token) String() string {
	switch t.kind {
	case ofEnd:
		return "the end"
	case ofText:
		return "a text"
	case ofPunctuation:
		return t.text
	default:
		return shorten(t.text)
	}
}

// shorten keeps messages readable whatever an expression holds.
func shorten(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

type lexer struct {
	src string
	at  int
}

// next returns the token at the lexer's place and moves on.
func (l *lexer) next() (token, *Error) {
	for l.at < len(l.src) && strings.IndexByte(" \t\n", l.src[l.at]) >= 0 {
		l.at++
	}
	begin := l.at
	if begin == len(l.src) {
		return token{ofEnd, "", begin}, nil
	}
	switch c := l.src[begin]; {
	case strings.IndexByte("()[],", c) >= 0:
		l.at++
		return l.token(ofPunctuation, begin), nil
	case c == '\'' || c == '"':
		return l.quoted(c)
	case isLetter(c):
		l.skip(func(c byte) bool { return isLetter(c) || isDigit(c) || c == '-' || c == '_' || c == '.' })
		t := l.token(ofName, begin)
		if t.text == "true" || t.text == "false" {
			t.kind = ofBoolean
		}
		return t, nil
	case isDigit(c) || (c == '+' || c == '-') && l.digitAt(begin+1):
		return l.number(), nil
	}
	return token{}, failAt(begin, Syntax, "an expression cannot have %s outside of a text", describe(l.src[begin:]))
}

func (l *lexer) token(k kind, begin int) token { return token{k, l.src[begin:l.at], begin} }

func (l *lexer) skip(while func(byte) bool) {
	for l.at < len(l.src) && while(l.src[l.at]) {
		l.at++
	}
}

func (l *lexer) digitAt(at int) bool { return at < len(l.src) && isDigit(l.src[at]) }

// quoted reads a text: there are no escapes, and it may go over lines.
func (l *lexer) quoted(quote byte) (token, *Error) {
	begin := l.at
	n := strings.IndexByte(l.src[begin+1:], quote)
	if n < 0 {
		return token{}, failAt(begin, Syntax, "the text that begins here has no closing %c", quote)
	}
	l.at = begin + 1 + n + 1
	return token{ofText, l.src[begin+1 : l.at-1], begin}, nil
}

// number reads an integer, or a float: digits on both sides of a dot, then perhaps an exponent.
func (l *lexer) number() token {
	begin := l.at
	l.at++ // the sign, or the first digit
	l.skip(isDigit)
	if l.at == len(l.src) || l.src[l.at] != '.' || !l.digitAt(l.at+1) {
		return l.token(ofInteger, begin)
	}
	l.at++
	l.skip(isDigit)
	if exp := l.at; exp < len(l.src) && (l.src[exp] == 'e' || l.src[exp] == 'E') {
		digits := exp + 1
		if digits < len(l.src) && (l.src[digits] == '+' || l.src[digits] == '-') {
			digits++
		}
		if l.digitAt(digits) {
			l.at = digits
			l.skip(isDigit)
		}
	}
	return l.token(ofFloat, begin)
}

// IsVariable reports whether an expression can name a variable so, with a dot in front of each member.
func IsVariable(name string) bool {
	l := lexer{src: name}
	t, err := l.next()
	return err == nil && t.kind == ofName && t.text == name && !strings.Contains(name+".", "..")
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
