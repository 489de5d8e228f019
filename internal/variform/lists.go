package variform

import (
	"math"
	"slices"
)

// listFunctions are those of Erlang's module lists that texts are made with. They return new lists.
var listFunctions = map[string]function{
	"append":  {1, 2, listAppend},
	"delete":  {2, 2, listDelete},
	"flatten": {1, 1, onList(listFlatten)},
	"join":    {2, 2, listJoin},
	"last":    {1, 1, onList(listLast)},
	"max":     {1, 1, onList(func(r *run, list []any) (any, error) { return r.extreme(list, 1) })},
	"member":  {2, 2, listMember},
	"min":     {1, 1, onList(func(r *run, list []any) (any, error) { return r.extreme(list, -1) })},
	"nth":     {2, 2, listNth},
	"reverse": {1, 1, onList(listReverse)},
	"sort":    {1, 1, onList(func(r *run, list []any) (any, error) { return r.sorted(list, false) })},
	"sublist": {2, 3, listSublist},
	"sum":     {1, 1, onList(listSum)},
	"usort":   {1, 1, onList(func(r *run, list []any) (any, error) { return r.sorted(list, true) })},
}

// onList makes a function of one list.
func onList(f func(*run, []any) (any, error)) func(*run, []any) (any, error) {
	return func(r *run, args []any) (any, error) {
		list, err := listArg(args, 0)
		if err != nil {
			return nil, err
		}
		return f(r, list)
	}
}

func errEmptyList() *Error { return bad("the list is empty") }

// listAppend is append(list, list) or append(list of lists).
func listAppend(_ *run, args []any) (any, error) {
	lists := args
	if len(args) == 1 {
		var err error
		if lists, err = listArg(args, 0); err != nil {
			return nil, err
		}
	}
	out := []any{}
	for i := range lists {
		list, err := listArg(lists, i)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

// position is where list has v; -1 if it has not.
func (r *run) position(v any, list []any) (int, error) {
	for i, member := range list {
		c, err := r.compare(v, member)
		if err != nil {
			return 0, err
		}
		if c == 0 {
			return i, nil
		}
	}
	return -1, nil
}

func listMember(r *run, args []any) (any, error) {
	list, err := listArg(args, 1)
	if err != nil {
		return nil, err
	}
	at, err := r.position(args[0], list)
	return at >= 0, err
}

// listDelete is delete(member, list): without the first that is equal.
func listDelete(r *run, args []any) (any, error) {
	list, err := listArg(args, 1)
	if err != nil {
		return nil, err
	}
	at, err := r.position(args[0], list)
	if err != nil || at < 0 {
		return list, err
	}
	return slices.Concat(list[:at], list[at+1:]), nil
}

func listFlatten(_ *run, list []any) (any, error) { return flatten([]any{}, list), nil }

func flatten(out, list []any) []any {
	for _, member := range list {
		if inner, ok := member.([]any); ok {
			out = flatten(out, inner)
		} else {
			out = append(out, member)
		}
	}
	return out
}

// listJoin is join(separator, list): a list with the separator between the members. concat makes a text of it.
func listJoin(r *run, args []any) (any, error) {
	list, err := listArg(args, 1)
	if err != nil {
		return nil, err
	}
	out := make([]any, 0, 2*len(list))
	for i, member := range list {
		if i > 0 {
			out = append(out, args[0])
		}
		out = append(out, member)
	}
	// A separator that is a list is as large once more at each place.
	for range len(out) / 2 {
		if err := r.spendOn(args[0]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func listLast(_ *run, list []any) (any, error) {
	if len(list) == 0 {
		return nil, errEmptyList()
	}
	return list[len(list)-1], nil
}

func (r *run) extreme(list []any, sign int) (any, error) {
	if len(list) == 0 {
		return nil, errEmptyList()
	}
	best := list[0]
	for _, member := range list[1:] {
		c, err := r.compare(member, best)
		if err != nil {
			return nil, err
		}
		if c == sign {
			best = member
		}
	}
	return best, nil
}

// listNth is nth(n, list), where the nth must exist.
func listNth(_ *run, args []any) (any, error) {
	n, err := intArg(args, 0)
	if err != nil {
		return nil, err
	}
	list, err := listArg(args, 1)
	if err != nil {
		return nil, err
	}
	if n < 1 || n > int64(len(list)) {
		return nil, bad("the list has %d members", len(list))
	}
	return list[n-1], nil
}

func listReverse(_ *run, list []any) (any, error) {
	out := slices.Clone(list)
	slices.Reverse(out)
	return out, nil
}

// sorted orders list as Erlang does. A sort cannot be left half way, but from a failure on it compares nothing any more.
func (r *run) sorted(list []any, unique bool) (any, error) {
	out := slices.Clone(list)
	var failed error
	order := func(a, b any) int {
		if failed != nil {
			return 0
		}
		var c int
		c, failed = r.compare(a, b)
		return c
	}
	slices.SortStableFunc(out, order)
	if unique {
		out = slices.CompactFunc(out, func(a, b any) bool { return order(a, b) == 0 })
	}
	return out, failed
}

// listSublist is sublist(list, length) or sublist(list, start, length); start begins with 1.
func listSublist(_ *run, args []any) (any, error) {
	list, err := listArg(args, 0)
	if err != nil {
		return nil, err
	}
	length, err := intArg(args, len(args)-1)
	if err != nil {
		return nil, err
	}
	start := int64(1)
	if len(args) == 3 {
		if start, err = intArg(args, 1); err != nil {
			return nil, err
		}
	}
	if start < 1 || length < 0 {
		return nil, bad("the start must be 1 or more and the length not negative")
	}
	list = list[min(start-1, int64(len(list))):]
	return list[:min(length, int64(len(list)))], nil
}

func listSum(_ *run, list []any) (any, error) {
	var whole int64
	var float float64
	floats := false
	for i, member := range list {
		switch v := member.(type) {
		case int64:
			if sum := whole + v; (sum > whole) == (v > 0) {
				whole = sum
			} else {
				return nil, bad("the sum is larger than 64 bits")
			}
		case float64:
			float, floats = float+v, true
		default:
			return nil, bad("member %d must be a number, and is %s", i+1, typeOf(member))
		}
	}
	if !floats {
		return whole, nil
	}
	if float += float64(whole); math.IsInf(float, 0) || math.IsNaN(float) {
		return nil, bad("the sum is larger than a float can be")
	}
	return float, nil
}
