package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

func (a *app) authenticatorCommand() *cobra.Command {
	return group("authenticator", "Who is asked about clients, in which order",
		a.authList(), a.authShow(), a.authCreate(), a.authUpdate(), a.authSwitch("enable"), a.authSwitch("disable"),
		a.authMove(), a.authDelete(), a.authTest(), a.authMetrics())
}

func (a *app) authList() *cobra.Command {
	var listener string
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the authenticators of all chains, each chain in its order",
		Example: "  cardea authenticator list --listener default",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := all[view.Authenticator](cmd.Context(), c, pathAuths, query("listener", listener))
			if err != nil {
				return err
			}
			return a.show(list, func(w io.Writer) error {
				cells := make([][]string, len(list))
				for i, v := range list {
					url := ""
					switch {
					case v.Backend != nil:
						url = v.URL
					case v.Issuer != nil:
						url = v.Issuer.Issuer
					}
					cells[i] = []string{v.ID, v.Listener, v.Type, v.Status, url, v.Precondition}
				}
				return table(w, []string{"ID", "LISTENER", "TYPE", "STATUS", "URL", "PRECONDITION"}, cells)
			})
		},
	}
	c.Flags().StringVar(&listener, "listener", "", "only the chain of the listener or route `NAME`")
	return c
}

func (a *app) authShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show ID",
		Short:   "Show an authenticator and how it fares; secrets are ******",
		Example: "  cardea authenticator show 7Gq0bXv2LmNp --json",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var v view.Authenticator
			if err := c.get(cmd.Context(), at(pathAuth, args[0]), &v); err != nil {
				return err
			}
			return a.showAuthenticator(v)
		},
	}
}

func (a *app) showAuthenticator(v view.Authenticator) error {
	a.warn(v.Warnings)
	return a.show(v, func(w io.Writer) error {
		err := details(w, "ID", v.ID, "TYPE", v.Type, "LISTENER", v.Listener, "ENABLED", strconv.FormatBool(v.Enable), "PRECONDITION", v.Precondition,
			"STATUS", v.Status, "LAST ERROR", v.LastError, "AT", when(v.LastErrorAt), "CREATED", when(v.CreatedAt))
		if err != nil || v.Backend == nil && v.Issuer == nil {
			return err
		}
		fmt.Fprintln(w)
		return printJSON(w, struct {
			*view.Backend
			Issuer *view.TrustedIssuer `json:"issuer,omitempty"`
			Scopes []string            `json:"scopes"`
		}{v.Backend, v.Issuer, v.Scopes})
	})
}

func (a *app) authCreate() *cobra.Command {
	var kind, listener, file, precondition string
	var disable bool
	var issuer issuerFlags
	c := &cobra.Command{
		Use:   "create --type TYPE",
		Short: "Append an authenticator to a chain",
		Example: "  cardea authenticator create --type scram_rest --listener default --file users.json\n" +
			`  echo '{"url":"http://127.0.0.1:8000/login"}' | cardea authenticator create --type http --file -` + "\n" +
			"  cardea authenticator create --type jwt --issuer https://idp.example.com --jwks-uri https://idp.example.com/jwks.json --audience cardea",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			body, err := a.settings(file)
			if err != nil {
				return err
			}
			for flag, value := range map[string]any{"type": kind, "listener": listener, "precondition": precondition} {
				if cmd.Flags().Changed(flag) {
					body[flag] = value
				}
			}
			if body["type"] == nil {
				return usagef("--type is missing: token, certificate, scram, password, jwt, scram_rest or http")
			}
			if err := issuer.into(a, cmd.Flags().Changed, body); err != nil {
				return err
			}
			if disable {
				body["enable"] = false
			}
			return a.sendAuthenticator(cmd, http.MethodPost, pathAuths, body)
		},
	}
	c.Flags().StringVar(&kind, "type", "", "`TYPE`: token, certificate, scram, password, jwt, scram_rest or http")
	c.Flags().StringVar(&listener, "listener", "default", "`NAME` of the MQTT listener, or prefix of the HTTP route")
	c.Flags().StringVar(&file, "file", "", "JSON `FILE` with how the REST service is asked, or whom to trust; - is standard input")
	issuer.flags(c)
	c.Flags().StringVar(&precondition, "precondition", "", "Variform `EXPR`: it is asked only where that is true")
	c.Flags().BoolVar(&disable, "disable", false, "append it switched off")
	return c
}

func (a *app) authUpdate() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "update ID --file FILE",
		Short: "Replace an authenticator; what show --json has printed is accepted, and ****** is the secret that is stored",
		Example: "  cardea authenticator show 7Gq0bXv2LmNp --json > users.json\n" +
			"  cardea authenticator update 7Gq0bXv2LmNp --file users.json",
		Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if file == "" {
				return usagef("--file is missing; for example:\n%s", cmd.Example)
			}
			body, err := a.settings(file)
			if err != nil {
				return err
			}
			return a.sendAuthenticator(cmd, http.MethodPut, at(pathAuth, args[0]), body)
		},
	}
	c.Flags().StringVar(&file, "file", "", "JSON `FILE` with all of it; - is standard input")
	return c
}

// settings reads a JSON object. What only the server says of an authenticator is left out.
func (a *app) settings(file string) (map[string]any, error) {
	body := map[string]any{}
	if file == "" {
		return body, nil
	}
	raw, err := a.readFile(file)
	if err != nil {
		return nil, fmt.Errorf("--file: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&body); err != nil || body == nil {
		return nil, fmt.Errorf("--file %s must hold a JSON object", file)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("--file %s holds more than one JSON value", file)
	}
	for _, name := range []string{"id", "status", "last_error", "last_error_at", "created_at", "version", "warnings"} {
		delete(body, name)
	}
	return body, nil
}

// readFile reads a small file, or standard input for -.
func (a *app) readFile(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(io.LimitReader(a.in, 1<<20))
	}
	return os.ReadFile(path)
}

func (a *app) sendAuthenticator(cmd *cobra.Command, method, path string, body any) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var v view.Authenticator
	if err := c.call(cmd.Context(), method, path, body, &v); err != nil {
		return err
	}
	return a.showAuthenticator(v)
}

// authSwitch is enable and disable.
func (a *app) authSwitch(verb string) *cobra.Command {
	on := verb == "enable"
	return &cobra.Command{
		Use:     verb + " ID",
		Short:   map[bool]string{true: "Ask an authenticator again", false: "Ask an authenticator no more; who is connected stays"}[on],
		Example: "  cardea authenticator " + verb + " 7Gq0bXv2LmNp",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd, http.MethodPatch, at(pathAuth, args[0]), view.PatchAuthenticator{Enable: &on}, verb+"d")
		},
	}
}

func (a *app) authMove() *cobra.Command {
	return &cobra.Command{
		Use:     "move ID POSITION",
		Short:   "Give an authenticator another place in its chain: front, rear, before:ID or after:ID",
		Example: "  cardea authenticator move 7Gq0bXv2LmNp front",
		Args:    exactly("ID", "POSITION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd, http.MethodPost, at(pathAuthMove, args[0]), view.Move{Position: args[1]}, "moved")
		},
	}
}

func (a *app) authDelete() *cobra.Command {
	return &cobra.Command{
		Use:     "delete ID",
		Aliases: []string{"del"},
		Short:   "Take an authenticator out of its chain",
		Example: "  cardea authenticator delete 7Gq0bXv2LmNp",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd, http.MethodDelete, at(pathAuth, args[0]), nil, "deleted")
		},
	}
}
