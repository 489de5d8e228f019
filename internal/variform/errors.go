package variform

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Code says what kind of mistake an [Error] is. Codes are stable: statuses and logs show them.
type Code string

// The codes. Of compiling are Syntax, BadRegex and TooLarge; the others, and TooLarge too, are of rendering.
const (
	Syntax        Code = "syntax_error"
	BadRegex      Code = "bad_regex" // not a regular expression of RE2, or too large a one
	TooLarge      Code = "too_large" // a limit was reached
	VarUnbound    Code = "var_unbound"
	UnknownFunc   Code = "unknown_function" // or not with this number of arguments
	UnknownModule Code = "unknown_module"
	BadReference  Code = "invalid_function_reference" // a.b.c(x)
	BadArg        Code = "badarg"
	BadKey        Code = "badkey"           // maps.get of a key that is not there
	BadIndex      Code = "invalid_argument" // nth of what is no number
	BadCoalesce   Code = "coalesce_badarg"
	BadReturn     Code = "bad_return" // the result is a list or a map
	UnknownHash   Code = "unknown_hash_algorithm"
	BadEscape     Code = "unrecognized_escape_sequence"
	BadJWT        Code = "invalid_jwt_token" // has not three parts
	BadJWTData    Code = "jwt_decode_error"
)

// Error is why an expression does not compile or cannot be rendered. It tells where in the
// expression, and never holds the value of a variable.
type Error struct {
	Code         Code
	Func         string // the function that failed, if one did
	Message      string // what was wrong
	Line, Column int    // where; both begin with 1, columns are characters

	at int // offset in the source; -1 until it is known
}

// Error returns the code, what was wrong and where.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(string(e.Code))
	b.WriteString(": ")
	if e.Func != "" {
		b.WriteString(e.Func)
		b.WriteString(": ")
	}
	b.WriteString(e.Message)
	if e.Line > 0 {
		fmt.Fprintf(&b, " (line %d, column %d)", e.Line, e.Column)
	}
	return b.String()
}

func fail(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), at: -1}
}

func failAt(at int, code Code, format string, args ...any) *Error {
	e := fail(code, format, args...)
	e.at = at
	return e
}

// locate gives e the line and column of its offset in src.
func (e *Error) locate(src string) *Error {
	if e.at >= 0 && e.at <= len(src) {
		before := src[:e.at]
		e.Line = 1 + strings.Count(before, "\n")
		e.Column = 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	}
	return e
}
