package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cardea/internal/variform"
)

// variformCommand tries an expression, as it would be asked for a login, without a server.
func (a *app) variformCommand() *cobra.Command {
	var binds []string
	var object string
	c := &cobra.Command{
		Use:     "variform EXPR",
		Short:   "Try an expression of preconditions: print its result, or exit 1 with what is wrong",
		Long:    "Evaluate a Variform expression on variables that you give, and print the text that it makes.\nNo server is needed. The language is described in docs/variform.md.",
		Example: "  cardea variform \"concat([client_attrs.site, '/', lower(username)])\" --bind username=Pump-1 --bind client_attrs.site=north",
		Args:    exactly("an expression"),
		RunE: func(_ *cobra.Command, args []string) error {
			vars, err := readBindings(object, binds)
			if err != nil {
				return err
			}
			e, err := variform.Compile(args[0])
			if err != nil {
				return err
			}
			text, err := e.Render(vars)
			if err != nil {
				return err
			}
			return a.show(map[string]string{"result": text}, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, text)
				return err
			})
		},
	}
	c.Flags().StringArrayVar(&binds, "bind", nil, "`NAME=TEXT`: a variable; a.b=c is member b of a (repeatable)")
	c.Flags().StringVar(&object, "bind-json", "", "`OBJECT` of JSON with variables of any type; --bind adds to it")
	return c
}

// shieldNumber lets the expression be a negative number, which would be read as flags: it goes to the end, behind "--".
func shieldNumber(args []string) []string {
	if !slices.Contains(args, "variform") || slices.Contains(args, "--") {
		return args
	}
	at := slices.IndexFunc(args, func(s string) bool { return len(s) > 1 && s[0] == '-' && s[1] >= '0' && s[1] <= '9' })
	if at < 0 || strings.HasPrefix(args[max(at-1, 0)], "--bind") { // the value of a flag
		return args
	}
	return append(slices.Delete(slices.Clone(args), at, at+1), "--", args[at])
}

// readBindings reads the object first, so that --bind can set a member of what is in it.
func readBindings(object string, binds []string) (variform.Map, error) {
	vars := map[string]any{}
	if object != "" {
		d := json.NewDecoder(strings.NewReader(object))
		d.UseNumber()
		if err := d.Decode(&vars); err != nil || vars == nil {
			return nil, usagef("--bind-json must be one JSON object, as in '{\"username\":\"pump-1\"}'")
		}
		if _, err := d.Token(); err != io.EOF {
			return nil, usagef("--bind-json must be one JSON object, and more follows it")
		}
	}
	for _, b := range binds {
		name, text, found := strings.Cut(b, "=")
		if !found || !variform.IsVariable(name) {
			return nil, usagef("--bind: %q must be NAME=TEXT, and a name begins with a letter and has letters, digits, . - and _", b)
		}
		if err := setMember(vars, strings.Split(name, "."), text); err != nil {
			return nil, usagef("--bind: %q: %w", b, err)
		}
	}
	return vars, nil
}

func setMember(vars map[string]any, path []string, text string) error {
	for ; len(path) > 1; path = path[1:] {
		inner, ok := vars[path[0]]
		if !ok {
			inner = map[string]any{}
			vars[path[0]] = inner
		}
		if vars, ok = inner.(map[string]any); !ok {
			return fmt.Errorf("%s has a value already that has no members", path[0])
		}
	}
	vars[path[0]] = text
	return nil
}
