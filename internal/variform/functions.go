package variform

import (
	"fmt"
	"strings"
)

// builtinModule is what EMQX calls the module of the functions that need no module.
const builtinModule = "emqx_variform_bif"

// function is a function that is given its arguments evaluated. It must not keep the slice. Its error, if it is an
// [*Error], is completed by the call.
type function struct {
	min, max int // arguments
	run      func(*run, []any) (any, error)
}

// modules are the modules that expressions may use. Nothing changes them.
var modules = map[string]map[string]function{
	builtinModule: builtins,
	"lists":       listFunctions,
	"maps":        mapFunctions,
}

var builtins = map[string]function{
	"lower":          {1, 1, onText(lower)},
	"upper":          {1, 1, onText(upper)},
	"trim":           {1, 2, trim(true, true)},
	"ltrim":          {1, 2, trim(true, false)},
	"rtrim":          {1, 2, trim(false, true)},
	"reverse":        {1, 1, onText(reverse)},
	"strlen":         {1, 1, onText(strlen)},
	"substr":         {2, 3, substr},
	"rm_prefix":      {2, 2, onTexts(rmPrefix)},
	"split":          {2, 3, split},
	"tokens":         {2, 3, tokens},
	"concat":         {1, 2, concat},
	"sprintf_s":      {2, 2, sprintf},
	"pad":            {2, 4, pad},
	"replace":        {3, 4, replace},
	"regex_match":    {2, 2, regexMatch},
	"regex_replace":  {3, 3, regexReplace},
	"regex_extract":  {2, 2, regexExtract},
	"ascii":          {1, 1, onText(ascii)},
	"find":           {2, 3, find},
	"join_to_string": {1, 2, joinToString},
	"unescape":       {1, 1, onText(unescape)},
	"any_to_str":     {1, 1, anyToStr},
	"is_empty_val":   {1, 1, func(_ *run, args []any) (any, error) { return isEmpty(args[0]), nil }},
	"not":            {1, 1, not},
	"nth":            {2, 2, nth},
	"topic_join":     {1, 2, topicJoin},
	"topic_match":    {2, 2, topicMatch},
	"topic_split":    {1, 1, topicSplit},
	"rand_str":       {1, 1, randStr},
	"rand_int":       {1, 1, randInt},
	"bin2hexstr":     {1, 1, onText(bin2hexstr)},
	"int2hexstr":     {1, 1, int2hexstr},
	"hexstr2bin":     {1, 1, onText(hexstr2bin)},
	"base64_encode":  {1, 3, base64Encode},
	"base64_decode":  {1, 3, base64Decode},
	"json_value":     {2, 2, jsonValue},
	"jwt_value":      {2, 2, jwtValue},
	"hash":           {2, 2, hash},
	"hash_to_range":  {3, 3, hashToRange},
	"map_to_range":   {3, 3, mapToRange},
	"str_comp":       {2, 2, compareTexts(order)},
	"str_eq":         {2, 2, compareTexts(func(c int) any { return c == 0 })},
	"str_neq":        {2, 2, compareTexts(func(c int) any { return c != 0 })},
	"str_lt":         {2, 2, compareTexts(func(c int) any { return c < 0 })},
	"str_lte":        {2, 2, compareTexts(func(c int) any { return c <= 0 })},
	"str_gt":         {2, 2, compareTexts(func(c int) any { return c > 0 })},
	"str_gte":        {2, 2, compareTexts(func(c int) any { return c >= 0 })},
	"num_comp":       {2, 2, compareNums(order)},
	"num_eq":         {2, 2, compareNums(func(c int) any { return c == 0 })},
	"num_neq":        {2, 2, compareNums(func(c int) any { return c != 0 })},
	"num_lt":         {2, 2, compareNums(func(c int) any { return c < 0 })},
	"num_lte":        {2, 2, compareNums(func(c int) any { return c <= 0 })},
	"num_gt":         {2, 2, compareNums(func(c int) any { return c > 0 })},
	"num_gte":        {2, 2, compareNums(func(c int) any { return c >= 0 })},
	"getenv":         {1, 1, onText(getenv)},
	"timestamp_s":    {0, 0, timestampS},
	"timestamp_ms":   {0, 0, timestampMs},
}

// resolve makes the node of a call. What does not exist becomes an error of the evaluation.
func resolve(name token, args []node) (node, *Error) {
	module, fn := builtinModule, ""
	switch parts := strings.FieldsFunc(name.text, isDot); len(parts) {
	case 1:
		fn = parts[0]
	case 2:
		module, fn = parts[0], parts[1]
	default:
		return &broken{BadReference, fmt.Sprintf("%s is not a function or module.function", shorten(name.text)), name.at}, nil
	}
	functions, ok := modules[module]
	if !ok {
		return &broken{UnknownModule, fmt.Sprintf("there is no module %s; there are lists and maps", shorten(module)), name.at}, nil
	}
	if module == builtinModule {
		if special := specialForm(fn, args, name.at); special != nil {
			return special, nil
		}
	}
	f, ok := functions[fn]
	if !ok || len(args) < f.min || len(args) > f.max {
		return &broken{UnknownFunc, unknown(f, ok, name.text, len(args)), name.at}, nil
	}
	if err := compileRegex(fn, args, name.at); err != nil {
		return nil, err
	}
	return &call{name: shorten(name.text), fn: f.run, args: args, at: name.at}, nil
}

func unknown(f function, exists bool, name string, given int) string {
	name = shorten(name)
	switch {
	case !exists:
		return fmt.Sprintf("there is no function %s", name)
	case f.min == f.max && f.min == 1:
		return fmt.Sprintf("%s takes 1 argument, not %d", name, given)
	case f.min == f.max:
		return fmt.Sprintf("%s takes %d arguments, not %d", name, f.min, given)
	}
	return fmt.Sprintf("%s takes %d to %d arguments, not %d", name, f.min, f.max, given)
}

// specialForm makes the node of a form that decides which of its arguments are evaluated; nil if it is none.
func specialForm(name string, args []node, at int) node {
	switch name {
	case "iif":
		if len(args) != 3 {
			return &broken{UnknownFunc, unknown(function{min: 3, max: 3}, true, name, len(args)), at}
		}
		return &iif{args[0], args[1], args[2]}
	case "is_empty":
		if len(args) != 1 {
			return &broken{UnknownFunc, unknown(function{min: 1, max: 1}, true, name, len(args)), at}
		}
		return &emptiness{args[0]}
	case "coalesce":
		if len(args) != 1 {
			return &coalesce{args: args}
		}
		if members, ok := args[0].(array); ok {
			return &coalesce{args: members}
		}
		return &coalesce{args: args, list: true, at: at}
	}
	return nil
}

// bad is a badarg; the message goes on after the name of the function.
func bad(format string, args ...any) *Error { return fail(BadArg, format, args...) }

// onText makes a function of one text.
func onText(f func(*run, string) (any, error)) func(*run, []any) (any, error) {
	return func(r *run, args []any) (any, error) {
		s, err := textArg(args, 0)
		if err != nil {
			return nil, err
		}
		return f(r, s)
	}
}

// onTexts makes a function of two texts.
func onTexts(f func(*run, string, string) (any, error)) func(*run, []any) (any, error) {
	return func(r *run, args []any) (any, error) {
		s, t, err := textArgs(args)
		if err != nil {
			return nil, err
		}
		return f(r, s, t)
	}
}

// textArg is an argument that must be a text; a boolean stands for its name.
func textArg(args []any, i int) (string, error) {
	switch v := args[i].(type) {
	case string:
		return v, nil
	case bool:
		return scalarText(v), nil
	}
	return "", bad("argument %d must be a text, and is %s", i+1, typeOf(args[i]))
}

// textArgs are the first two arguments, which must be texts.
func textArgs(args []any) (s, t string, err error) {
	if s, err = textArg(args, 0); err != nil {
		return "", "", err
	}
	t, err = textArg(args, 1)
	return s, t, err
}

func intArg(args []any, i int) (int64, error) {
	if n, ok := args[i].(int64); ok {
		return n, nil
	}
	return 0, bad("argument %d must be an integer, and is %s", i+1, typeOf(args[i]))
}

// listArg is an argument that must be a list. The empty text is one without members, because that is what an
// empty list among the bindings becomes.
func listArg(args []any, i int) ([]any, error) {
	switch v := args[i].(type) {
	case []any:
		return v, nil
	case string:
		if v == "" {
			return nil, nil
		}
	}
	return nil, bad("argument %d must be a list, and is %s", i+1, typeOf(args[i]))
}

// optionArg is a text that must be one of those given; the first if there is no such argument.
func optionArg(args []any, i int, options ...string) (string, error) {
	if i >= len(args) {
		return options[0], nil
	}
	for _, option := range options {
		if args[i] == any(option) {
			return option, nil
		}
	}
	return "", bad("argument %d must be one of %s", i+1, strings.Join(options, ", "))
}

func typeOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case int64:
		return "an integer"
	case float64:
		return "a float"
	case []any:
		return "a list"
	case map[string]any:
		return "a map"
	}
	return "a text"
}
