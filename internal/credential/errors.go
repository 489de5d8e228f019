package credential

import (
	"errors"
	"fmt"
	"strings"
)

// ErrorKind classes an [Error]. Each door and the API have one table from it
// to their protocol's codes.
type ErrorKind uint8

// The kinds of errors. The zero value is the one whose text never leaves.
const (
	Internal    ErrorKind = iota
	Invalid               // the request is wrong; Fields says where
	NotFound              // no such thing, or not for this caller to know
	Exists                // a thing of that name is there already
	Conflict              // it was changed meanwhile, or is not in a state that allows this
	NoRight               // the caller may not
	NeedsForce            // refused unless the caller insists; Message says why
	Down                  // the store, the keystore or a service that is called does not answer
	ReadOnly              // made by a flag or a file, or built in: cannot be changed here
	Unprocessed           // an idempotency key was used for another request
)

// Error is the one error type of Cardea. Message and Fields are for users and
// hold no secret; the wrapped cause is for the log only.
type Error struct {
	Kind    ErrorKind
	Message string // what was wrong and what to do, without a final stop
	Fields  []FieldError
	Err     error // cause; may be nil
}

// FieldError says what is wrong with one field of a request.
type FieldError struct {
	Field   string // as the API names it: "scopes[1]", "allowed_ips[0]"
	Message string // the rule that was broken
}

// Error returns the public text and the cause.
func (e *Error) Error() string {
	s := e.Public()
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Public returns what a user may see.
func (e *Error) Public() string {
	if e.Kind == Internal {
		return "internal error"
	}
	var b strings.Builder
	b.WriteString(e.Message)
	for i, f := range e.Fields {
		if i > 0 || e.Message != "" {
			b.WriteString("; ")
		}
		b.WriteString(f.Field + " " + f.Message)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an error of a kind with a public message.
func Errorf(kind ErrorKind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// KindOf returns the kind of the first [Error] in err's chain, or Internal.
func KindOf(err error) ErrorKind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// IsNotFound reports whether err says that something does not exist.
func IsNotFound(err error) bool { return err != nil && KindOf(err) == NotFound }

// Problems collects everything that is wrong with a request, so that a user
// sees all of it at once. The zero value is ready.
type Problems []FieldError

// Add notes that field breaks a rule; an empty message is ignored.
func (p *Problems) Add(field, format string, args ...any) {
	if format != "" {
		*p = append(*p, FieldError{field, fmt.Sprintf(format, args...)})
	}
}

// Err returns nil if nothing was added.
func (p Problems) Err() error {
	if len(p) == 0 {
		return nil
	}
	return &Error{Kind: Invalid, Fields: p}
}
