package variform

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Expr is a compiled expression. It does not change, and may be rendered by many goroutines at once.
type Expr struct {
	src  string
	root node
}

// Compile reads an expression. The error is an [*Error] that says where the mistake is and what was
// expected. Functions that do not exist are found when they are called, as in EMQX; a regular
// expression that is written out is read here.
func Compile(src string) (*Expr, error) {
	if len(src) > maxSource {
		return nil, fail(TooLarge, "the expression is longer than 64 KiB")
	}
	p := parser{lexer: lexer{src: src}}
	root, err := p.program()
	if err != nil {
		return nil, err.locate(src)
	}
	return &Expr{src: src, root: root}, nil
}

// String returns the source of e.
func (e *Expr) String() string { return e.src }

type parser struct {
	lexer
	tok   token // the one that is looked at
	depth int
}

func (p *parser) program() (node, *Error) {
	if !utf8.ValidString(p.src) {
		return nil, failAt(firstInvalid(p.src), Syntax, "the expression is not valid UTF-8 from here on")
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	root, err := p.expr()
	if err != nil {
		return nil, err
	}
	if p.tok.kind != ofEnd {
		return nil, p.expected("the end of the expression")
	}
	return root, nil
}

func (p *parser) advance() (err *Error) {
	p.tok, err = p.next()
	return err
}

func (p *parser) expected(what string) *Error {
	return failAt(p.tok.at, Syntax, "expected %s, found %s", what, p.tok)
}

// expr = call | var | boolean | integer | float | string
func (p *parser) expr() (node, *Error) {
	t := p.tok
	switch t.kind {
	case ofName:
		if err := p.advance(); err != nil {
			return nil, err
		}
		if p.tok.is("(") {
			return p.call(t)
		}
		return &variable{path: strings.FieldsFunc(t.text, isDot), name: t.text, at: t.at}, nil
	case ofEnd, ofPunctuation:
		return nil, p.expected("a text, a number, a variable or a call")
	}
	value, err := literalOf(t)
	if err != nil {
		return nil, err
	}
	return literal{value}, p.advance()
}

func literalOf(t token) (any, *Error) {
	switch t.kind {
	case ofBoolean:
		return t.text == "true", nil
	case ofInteger:
		n, err := strconv.ParseInt(t.text, 10, 64)
		if err != nil {
			return nil, failAt(t.at, Syntax, "integers have 64 bits, found %s", t)
		}
		return n, nil
	case ofFloat:
		f, err := strconv.ParseFloat(t.text, 64)
		if err != nil {
			return nil, failAt(t.at, Syntax, "no number is as large as %s", t)
		}
		return f, nil
	}
	return t.text, nil
}

// call = name "(" [ args ] ")"; the name has been read.
func (p *parser) call(name token) (node, *Error) {
	if err := p.deeper(name.at); err != nil {
		return nil, err
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	var args []node
	if !p.tok.is(")") {
		var err *Error
		if args, err = p.args(")"); err != nil {
			return nil, err
		}
	}
	p.depth--
	if err := p.advance(); err != nil {
		return nil, err
	}
	return resolve(name, args)
}

// array = "[" args "]"
func (p *parser) array() (node, *Error) {
	if err := p.deeper(p.tok.at); err != nil {
		return nil, err
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.tok.is("]") {
		return nil, p.expected("a member: an array cannot be empty")
	}
	members, err := p.args("]")
	if err != nil {
		return nil, err
	}
	p.depth--
	return array(members), p.advance()
}

// args = arg { "," arg }, up to the closing sign, which is looked at in the end.
func (p *parser) args(closing string) ([]node, *Error) {
	var args []node
	for {
		arg := p.expr
		if p.tok.is("[") {
			arg = p.array
		}
		n, err := arg()
		if err != nil {
			return nil, err
		}
		args = append(args, n)
		if p.tok.is(closing) {
			return args, nil
		}
		if !p.tok.is(",") {
			return nil, p.expected(", or " + closing)
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
}

func (p *parser) deeper(at int) *Error {
	if p.depth++; p.depth > maxDepth {
		return failAt(at, TooLarge, "more than %d calls and arrays are within each other", maxDepth)
	}
	return nil
}

func isDot(r rune) bool { return r == '.' }

// describe names the first character of s, even one that is not to be seen.
func describe(s string) string {
	r, _ := utf8.DecodeRuneInString(s)
	return strconv.QuoteRune(r)
}

func firstInvalid(s string) int {
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD") {
			return i
		}
	}
	return len(s)
}
