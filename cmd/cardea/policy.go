package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

func (a *app) scopeCommand() *cobra.Command {
	return group("scope", "Named sets of rules",
		a.scopeList(), a.scopeShow(), a.scopePut("create"), a.scopePut("update"), a.namedDel("scope", pathScope))
}

func (a *app) scopeList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the scopes",
		Example: "  cardea scope list",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := all[view.Scope](cmd.Context(), c, pathScopes, nil)
			if err != nil {
				return err
			}
			return a.show(list, func(w io.Writer) error {
				cells := make([][]string, len(list))
				for i, s := range list {
					cells[i] = []string{s.Name, fmt.Sprint(len(s.Rules)), fmt.Sprint(s.BuiltIn), s.Description}
				}
				return table(w, []string{"NAME", "RULES", "BUILT IN", "DESCRIPTION"}, cells)
			})
		},
	}
}

func (a *app) scopeShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show NAME",
		Short:   "Show the rules of a scope",
		Example: "  cardea scope show device:default",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var s view.Scope
			if err := c.get(cmd.Context(), at(pathScope, args[0]), &s); err != nil {
				return err
			}
			return a.showScope(s)
		},
	}
}

func (a *app) showScope(s view.Scope) error {
	return a.show(s, func(w io.Writer) error {
		if err := details(w, "NAME", s.Name, "DESCRIPTION", s.Description, "BUILT IN", fmt.Sprint(s.BuiltIn)); err != nil {
			return err
		}
		cells := make([][]string, len(s.Rules))
		for i, r := range s.Rules {
			cells[i] = []string{r.Permission, r.Action, r.Resource, conditions(r)}
		}
		fmt.Fprintln(w)
		return table(w, []string{"PERMISSION", "ACTION", "RESOURCE", "ONLY IF"}, cells)
	})
}

func conditions(r view.Rule) string {
	var all []string
	if len(r.QoS) > 0 {
		all = append(all, "qos="+strings.Trim(strings.ReplaceAll(fmt.Sprint(r.QoS), " ", ","), "[]"))
	}
	if r.Retain != nil {
		all = append(all, fmt.Sprintf("retain=%t", *r.Retain))
	}
	if len(r.Networks) > 0 {
		all = append(all, "networks="+strings.Join(r.Networks, ","))
	}
	return strings.Join(all, " ")
}

// scopePut is create and update: they differ in what must be there before.
func (a *app) scopePut(verb string) *cobra.Command {
	var description, file string
	var allow, deny []string
	c := &cobra.Command{
		Use:     verb + " NAME",
		Short:   map[string]string{"create": "Make a scope", "update": "Replace the rules of a scope"}[verb],
		Example: fmt.Sprintf("  cardea scope %s telemetry:write --allow 'http:POST /db/write/*' --allow 'mqtt:publish db/append/#'\n  cardea scope %s telemetry:write --file rules.json", verb, verb),
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			rules, err := rulesOf(allow, deny, file)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var s view.Scope
			put := view.PutScope{Description: description, Rules: rules}
			if verb == "create" {
				err = c.post(cmd.Context(), pathScopes, view.NewScope{Name: args[0], PutScope: put}, &s)
			} else if err = c.get(cmd.Context(), at(pathScope, args[0]), &s); err == nil {
				if !cmd.Flags().Changed("description") {
					put.Description = s.Description
				}
				err = c.call(cmd.Context(), http.MethodPut, at(pathScope, args[0]), put, &s)
			}
			if err != nil {
				return err
			}
			return a.showScope(s)
		},
	}
	c.Flags().StringVar(&description, "description", "", "`TEXT` for people")
	c.Flags().StringArrayVar(&allow, "allow", nil, "`'ACTION RESOURCE'` that is allowed (repeatable)")
	c.Flags().StringArrayVar(&deny, "deny", nil, "`'ACTION RESOURCE'` that is refused, whatever is allowed (repeatable)")
	c.Flags().StringVar(&file, "file", "", "JSON `FILE` with an array of rules, for those with conditions")
	return c
}

// rulesOf puts the rules of the flags and of the file together.
func rulesOf(allow, deny []string, file string) ([]view.Rule, error) {
	var rules []view.Rule
	if file != "" {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("--file: %w", err)
		}
		if rules, err = decodeRules(raw); err != nil {
			return nil, fmt.Errorf("--file %s: %w", file, err)
		}
	}
	for _, side := range []struct {
		permission string
		texts      []string
	}{{"allow", allow}, {"deny", deny}} {
		for _, text := range side.texts {
			action, resource, ok := strings.Cut(strings.TrimSpace(text), " ")
			if !ok {
				return nil, usagef("--%s must be 'ACTION RESOURCE', as in 'http:GET /db/**', not %q", side.permission, text)
			}
			rules = append(rules, view.Rule{Permission: side.permission, Action: action, Resource: strings.TrimSpace(resource)})
		}
	}
	if len(rules) == 0 {
		return nil, usagef("a scope needs a rule: --allow 'ACTION RESOURCE', --deny or --file")
	}
	return rules, nil
}

// decodeRules reads an array of rules, or a scope that has them, strictly.
func decodeRules(raw []byte) ([]view.Rule, error) {
	var rules []view.Rule
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&rules); err != nil {
		return nil, fmt.Errorf("must be a JSON array of rules: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("holds more than one JSON value")
	}
	return rules, nil
}

// namedDel is `scope del` and `role del`.
func (a *app) namedDel(noun, path string) *cobra.Command {
	return &cobra.Command{
		Use:     "del NAME",
		Short:   fmt.Sprintf("Remove a %s that nobody uses", noun),
		Example: fmt.Sprintf("  cardea %s del old", noun),
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd, http.MethodDelete, at(path, args[0]), nil, "deleted")
		},
	}
}
