package variform

import (
	"cmp"
	"maps"
	"math/big"
	"slices"
	"strings"
)

// compare orders values as Erlang does: numbers, then booleans and null, maps, lists, texts. It spends what it reads.
func (r *run) compare(a, b any) (int, error) {
	if err := r.spend(costCompare); err != nil {
		return 0, err
	}
	if c := cmp.Compare(rank(a), rank(b)); c != 0 {
		return c, nil
	}
	switch a := a.(type) {
	case string:
		b := b.(string)
		return strings.Compare(a, b), r.spend(min(len(a), len(b)))
	case []any:
		return r.compareLists(a, b.([]any))
	case map[string]any:
		return r.compareMaps(a, b.(map[string]any))
	case int64, float64:
		return compareNumbers(a, b), nil
	}
	return strings.Compare(atom(a), atom(b)), nil
}

func rank(v any) int {
	switch v.(type) {
	case int64, float64:
		return 0
	case map[string]any:
		return 2
	case []any:
		return 3
	case string:
		return 4
	}
	return 1
}

func atom(v any) string {
	if v == nil {
		return "null"
	}
	return scalarText(v)
}

func (r *run) compareLists(a, b []any) (int, error) {
	for i := range min(len(a), len(b)) {
		if c, err := r.compare(a[i], b[i]); c != 0 || err != nil {
			return c, err
		}
	}
	return cmp.Compare(len(a), len(b)), nil
}

func (r *run) compareMaps(a, b map[string]any) (int, error) {
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c, nil
	}
	for _, m := range []map[string]any{a, b} {
		if err := r.spendOn(m); err != nil {
			return 0, err
		}
	}
	keys := slices.Sorted(maps.Keys(a))
	if c := slices.Compare(keys, slices.Sorted(maps.Keys(b))); c != 0 {
		return c, nil
	}
	for _, key := range keys {
		if c, err := r.compare(a[key], b[key]); c != 0 || err != nil {
			return c, err
		}
	}
	return 0, nil
}

// compareNumbers compares exactly, an integer with a float too.
func compareNumbers(a, b any) int {
	x, integers := a.(int64)
	y, both := b.(int64)
	if integers && both {
		return cmp.Compare(x, y)
	}
	return exact(a).Cmp(exact(b))
}

func exact(v any) *big.Float {
	if n, ok := v.(int64); ok {
		return new(big.Float).SetInt64(n)
	}
	return big.NewFloat(v.(float64))
}
