package variform

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// canonical makes one of the values that [Expr.Eval] names of what bindings or JSON hold.
func (r *run) canonical(v any, depth int) (any, *Error) {
	if depth > maxNested {
		return nil, fail(TooLarge, "has lists and maps that are nested more than %d times", maxNested)
	}
	switch v := v.(type) {
	case nil, bool, int64:
		return v, nil
	case string:
		return limited(v)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fail(BadArg, "is not a finite number")
		}
		return v, nil
	case json.Number:
		return number(v.String())
	case []byte:
		return limited(string(v))
	case []any:
		return canonicalList(r, v, depth)
	case []string:
		return canonicalList(r, v, depth)
	case map[string]any:
		return canonicalMap(r, v, depth)
	case Map:
		return canonicalMap(r, v, depth)
	case map[string]string:
		return canonicalMap(r, v, depth)
	}
	if n, ok := integer(v); ok {
		return n, nil
	}
	return nil, fail(BadArg, "has a value that is no text, number, boolean, list or map, but a %T", v)
}

func limited(s string) (any, *Error) {
	if len(s) > maxText {
		return nil, fail(TooLarge, "has a text longer than 1 MiB")
	}
	return s, nil
}

func canonicalList[T any](r *run, list []T, depth int) (any, *Error) {
	out := make([]any, 0, min(len(list), maxWork/costMember))
	for _, member := range list {
		v, err := r.member(member, depth)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func canonicalMap[T any](r *run, m map[string]T, depth int) (any, *Error) {
	out := make(map[string]any)
	for key, member := range m {
		v, err := r.member(member, depth)
		if err != nil {
			return nil, err
		}
		out[key] = v
	}
	return out, nil
}

func (r *run) member(v any, depth int) (any, *Error) {
	if err := r.spend(costMember); err != nil {
		return nil, fail(TooLarge, "has too many members")
	}
	return r.canonical(v, depth+1)
}

func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int:
		return int64(v), true
	case int32:
		return int64(v), true
	case int16:
		return int64(v), true
	case int8:
		return int64(v), true
	case uint8:
		return int64(v), true
	case uint16:
		return int64(v), true
	case uint32:
		return int64(v), true
	case uint:
		return int64(v), v <= math.MaxInt64
	case uint64:
		return int64(v), v <= math.MaxInt64
	}
	return 0, false
}

// number reads a number of JSON: an int64 if it has neither fraction nor exponent. One that is larger is refused and
// not rounded: two different ones must not become equal.
func number(s string) (any, *Error) {
	if !strings.ContainsAny(s, ".eE") {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return nil, fail(BadArg, "has an integer of more than 64 bits")
		}
		return n, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, fail(BadArg, "has a number that is too large")
	}
	return f, nil
}

// floatText writes at most ten decimals, and at least one: 2.2, 1.0.
func floatText(f float64) string {
	s := strings.TrimRight(strconv.FormatFloat(f, 'f', 10, 64), "0")
	if strings.HasSuffix(s, ".") {
		s += "0"
	}
	return s
}

// text makes a text of any value: null and the empty list are "", a list of character codes is those characters, other
// lists and maps are JSON.
func (r *run) text(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case []any:
		if s, ok := printable(v); ok {
			return s, nil
		}
		return r.json(v)
	case map[string]any:
		return r.json(v)
	}
	return scalarText(v), nil
}

// printable is the text that a list of character codes stands for, as in Erlang.
func printable(list []any) (string, bool) {
	var b strings.Builder
	for _, member := range list {
		n, ok := member.(int64)
		if !ok || n < 0 || n > unicode.MaxRune {
			return "", false
		}
		if c := rune(n); !unicode.IsPrint(c) && !strings.ContainsRune("\n\r\t\v\b\f\x1b", c) {
			return "", false
		}
		b.WriteRune(rune(n))
	}
	return b.String(), true
}
