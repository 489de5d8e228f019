package variform

import (
	"maps"
	"slices"
)

// mapFunctions are those of Erlang's module maps that texts are made with. They return new maps. Keys are texts.
var mapFunctions = map[string]function{
	"get":    {2, 3, mapGet},
	"is_key": {2, 2, mapIsKey},
	"keys":   {1, 1, onMap(mapKeys)},
	"merge":  {2, 2, mapMerge},
	"new":    {0, 0, func(*run, []any) (any, error) { return map[string]any{}, nil }},
	"put":    {3, 3, mapPut},
	"remove": {2, 2, mapRemove},
	"size":   {1, 1, onMap(func(m map[string]any) (any, error) { return int64(len(m)), nil })},
	"values": {1, 1, onMap(mapValues)},
}

// onMap makes a function of one map.
func onMap(f func(map[string]any) (any, error)) func(*run, []any) (any, error) {
	return func(_ *run, args []any) (any, error) {
		m, err := mapArg(args, 0)
		if err != nil {
			return nil, err
		}
		return f(m)
	}
}

func mapArg(args []any, i int) (map[string]any, error) {
	if m, ok := args[i].(map[string]any); ok {
		return m, nil
	}
	return nil, bad("argument %d must be a map, and is %s", i+1, typeOf(args[i]))
}

// keyAndMap are the first argument and the one that is said to be the map.
func keyAndMap(args []any, i int) (string, map[string]any, error) {
	key, err := textArg(args, 0)
	if err != nil {
		return "", nil, err
	}
	m, err := mapArg(args, i)
	return key, m, err
}

// mapGet is get(key, map[, default]). Without a default the key must be there.
func mapGet(_ *run, args []any) (any, error) {
	key, m, err := keyAndMap(args, 1)
	if err != nil {
		return nil, err
	}
	v, ok := m[key]
	switch {
	case ok:
		return v, nil
	case len(args) == 3:
		return args[2], nil
	}
	return nil, fail(BadKey, "the map has no such key")
}

func mapIsKey(_ *run, args []any) (any, error) {
	key, m, err := keyAndMap(args, 1)
	_, ok := m[key]
	return ok, err
}

// mapKeys is the keys in order.
func mapKeys(m map[string]any) (any, error) {
	list := make([]any, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		list = append(list, key)
	}
	return list, nil
}

// mapValues is the values in the order of their keys.
func mapValues(m map[string]any) (any, error) {
	list := make([]any, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		list = append(list, m[key])
	}
	return list, nil
}

// mapPut is put(key, value, map).
func mapPut(_ *run, args []any) (any, error) {
	key, m, err := keyAndMap(args, 2)
	if err != nil {
		return nil, err
	}
	out := maps.Clone(m)
	out[key] = args[1]
	return out, nil
}

func mapRemove(_ *run, args []any) (any, error) {
	key, m, err := keyAndMap(args, 1)
	if err != nil {
		return nil, err
	}
	out := maps.Clone(m)
	delete(out, key)
	return out, nil
}

// mapMerge is merge(map, map); of two members with the same key the second stays.
func mapMerge(_ *run, args []any) (any, error) {
	a, err := mapArg(args, 0)
	if err != nil {
		return nil, err
	}
	b, err := mapArg(args, 1)
	if err != nil {
		return nil, err
	}
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out, nil
}
