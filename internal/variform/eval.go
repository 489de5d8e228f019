package variform

import (
	"errors"
	"strconv"
)

// Bindings are the variables of an evaluation.
type Bindings interface {
	// Lookup returns the value that path leads to, for client_attrs.site ["client_attrs", "site"], and false if
	// there is none, or if it leads into something that has no members. It must not keep or change path. Values are
	// what encoding/json makes of any text (json.Number included), integers of Go, and slices and maps of strings;
	// nil is null, which is the empty text.
	Lookup(path []string) (value any, ok bool)
}

// Map is bindings in memory. Members may be maps themselves.
type Map map[string]any

// Lookup walks down from m.
func (m Map) Lookup(path []string) (any, bool) {
	var v any = map[string]any(m)
	for _, key := range path {
		var ok bool
		switch in := v.(type) {
		case map[string]any:
			v, ok = in[key]
		case Map:
			v, ok = in[key]
		case map[string]string:
			v, ok = in[key]
		}
		if !ok {
			return nil, false
		}
	}
	return v, true
}

// Render evaluates e to a text. Null, the empty text and the empty list are ""; a list or a map with members is an
// error, BadReturn. A condition holds if the text is "true", and does not if it is another or there is an error.
func (e *Expr) Render(b Bindings) (string, error) {
	v, err := e.Eval(b)
	if err != nil {
		return "", err
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case []any:
		if len(v) == 0 {
			return "", nil
		}
		return "", fail(BadReturn, "the result is a list, and only a text can be returned")
	case map[string]any:
		return "", fail(BadReturn, "the result is a map, and only a text can be returned")
	}
	return scalarText(v), nil
}

// Eval evaluates e. The value is nil, a bool, an int64, a float64, a string, a []any or a map[string]any of these; it
// must not be changed. A nil b has no variables.
func (e *Expr) Eval(b Bindings) (any, error) {
	if b == nil {
		b = Map(nil)
	}
	r := &run{bindings: b, left: maxWork}
	r.stack = r.room[:0]
	v, err := e.root.eval(r)
	if err != nil {
		if e2, ok := errors.AsType[*Error](err); ok {
			return nil, e2.locate(e.src)
		}
		return nil, err
	}
	return v, nil
}

// node is a part of an expression.
type node interface {
	eval(r *run) (any, error)
}

type literal struct{ value any }

func (n literal) eval(*run) (any, error) { return n.value, nil }

type variable struct {
	path []string
	name string
	at   int
}

func (n *variable) eval(r *run) (any, error) {
	v, ok := r.bindings.Lookup(n.path)
	if !ok {
		return nil, failAt(n.at, VarUnbound, "there is no variable %s", shorten(n.name))
	}
	if s, ok := v.(string); ok && len(s) <= maxText {
		return v, nil
	}
	v, err := r.canonical(v, 0)
	if err != nil {
		return nil, failAt(n.at, err.Code, "the variable %s %s", shorten(n.name), err.Message)
	}
	if isEmpty(v) {
		return "", nil
	}
	return v, nil
}

type array []node

func (n array) eval(r *run) (any, error) {
	list := make([]any, len(n))
	for i, member := range n {
		v, err := member.eval(r)
		if err != nil {
			return nil, err
		}
		list[i] = v
	}
	return list, nil
}

// call is a call of a function whose arguments are evaluated first, from left to right.
type call struct {
	name string
	fn   func(*run, []any) (any, error)
	args []node
	at   int
}

func (n *call) eval(r *run) (any, error) {
	base := len(r.stack)
	for _, arg := range n.args {
		v, err := arg.eval(r)
		if err != nil {
			r.stack = r.stack[:base]
			return nil, err
		}
		r.stack = append(r.stack, v)
	}
	v, err := n.apply(r, r.stack[base:])
	r.stack = r.stack[:base]
	if err != nil {
		return nil, n.blame(err)
	}
	return v, nil
}

func (n *call) apply(r *run, args []any) (any, error) {
	for _, arg := range args {
		if err := r.spendOn(arg); err != nil {
			return nil, err
		}
	}
	return n.fn(r, args)
}

// blame says which call an error of a function is of.
func (n *call) blame(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		e.Func, e.at = n.name, n.at
	}
	return err
}

// broken is a call that cannot be made. Whether it must be, only the evaluation knows.
type broken struct {
	code    Code
	message string
	at      int
}

func (n *broken) eval(*run) (any, error) { return nil, failAt(n.at, n.code, "%s", n.message) }

// iif takes one of two branches; the other is not evaluated.
type iif struct{ cond, then, otherwise node }

func (n *iif) eval(r *run) (any, error) {
	v, err := orEmpty(r, n.cond)
	if err != nil {
		return nil, err
	}
	if v == false || isEmpty(v) {
		return n.otherwise.eval(r)
	}
	return n.then.eval(r)
}

// coalesce is the first of its arguments that is not empty.
type coalesce struct {
	args []node
	list bool // there is one argument, which must yield the list
	at   int
}

func (n *coalesce) eval(r *run) (any, error) {
	if n.list {
		return n.fromList(r)
	}
	for _, arg := range n.args {
		v, err := orEmpty(r, arg)
		if err != nil || !isEmpty(v) {
			return v, err
		}
	}
	return "", nil
}

func (n *coalesce) fromList(r *run) (any, error) {
	v, err := orEmpty(r, n.args[0])
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok && !isEmpty(v) {
		return nil, failAt(n.at, BadCoalesce, "the only argument of coalesce must yield a list")
	}
	for _, member := range list {
		if !isEmpty(member) {
			return member, nil
		}
	}
	return "", nil
}

// emptiness is is_empty(x), for which a variable that there is not is empty.
type emptiness struct{ arg node }

func (n *emptiness) eval(r *run) (any, error) {
	v, err := orEmpty(r, n.arg)
	if err != nil {
		return nil, err
	}
	return isEmpty(v), nil
}

// orEmpty evaluates n, with the empty text for what needs a variable that there is not.
func orEmpty(r *run, n node) (any, error) {
	v, err := n.eval(r)
	if e, ok := err.(*Error); ok && e.Code == VarUnbound {
		return "", nil
	}
	return v, err
}

// isEmpty reports whether v is null, the empty text or the empty list.
func isEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	}
	return false
}

// scalarText is the text of what is neither a list nor a map.
func scalarText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return floatText(v)
	}
	return ""
}
