package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"cardea/internal/credential"
	"cardea/internal/view"
)

const kindClient = string(credential.OAuthClient)

func (a *app) clientCommand() *cobra.Command {
	return group("client", "OAuth clients: services and devices that get access tokens",
		a.clientCreate(), a.clientList(), a.clientShow(), a.clientUpdate(), a.clientRotate(), a.clientRevoke(), a.clientDelete(),
		a.clientToken(), a.clientDecode(), a.clientRevokeToken())
}

// clientFlags are how a client proves itself and what its tokens are.
type clientFlags struct {
	view.Client
	jwks string // file
}

func (o *clientFlags) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.AuthMethod, "auth-method", "", "how it proves itself: client_secret_basic, client_secret_post, private_key_jwt, tls_client_auth or self_signed_tls_client_auth (default: client_secret_basic)")
	f.StringVar(&o.jwks, "jwks", "", "`FILE` with the JWK set of its public keys; - is standard input")
	f.StringVar(&o.JWKSURI, "jwks-uri", "", "https `URL` of such a set")
	f.StringVar(&o.SubjectDN, "subject-dn", "", "tls_client_auth: `SUBJECT` of its certificate, as in CN=meters,O=Example")
	f.StringVar(&o.SANDNS, "san-dns", "", "tls_client_auth: DNS `NAME` in its certificate")
	f.StringVar(&o.SANURI, "san-uri", "", "tls_client_auth: `URI` in its certificate")
	f.StringVar(&o.SANIP, "san-ip", "", "tls_client_auth: `ADDRESS` in its certificate")
	f.StringVar(&o.SANEmail, "san-email", "", "tls_client_auth: mail `ADDRESS` in its certificate")
	f.StringArrayVar(&o.Audiences, "audience", nil, "`URI` that its tokens may be for (repeatable; none: all APIs, and Cardea itself)")
	f.StringVar(&o.TokenLife, "token-life", "", "how long its tokens live: a `DURATION` from 10s to 1d (default: what the API says, else 15m)")
	f.StringVar(&o.Bound, "bound", "", "dpop or tls: its tokens are for whoever holds a key, by a proof or a client certificate (default: for whoever holds them)")
	f.StringVar(&o.MayAct, "may-act", "", "`NAME` of the principal that may act with its tokens")
	c.MarkFlagsMutuallyExclusive("jwks", "jwks-uri")
	c.MarkFlagsMutuallyExclusive("subject-dn", "san-dns", "san-uri", "san-ip", "san-email")
}

// read checks what was said, and reads the keys.
func (o *clientFlags) read(a *app) error {
	if err := checkDuration("--token-life", o.TokenLife); err != nil {
		return err
	}
	if o.jwks == "" {
		return nil
	}
	raw, err := a.readFile(o.jwks)
	if err != nil {
		return fmt.Errorf("--jwks: %w", err)
	}
	if !json.Valid(raw) {
		return fmt.Errorf("--jwks: %s holds no JSON: a JWK set is {\"keys\":[…]}", o.jwks)
	}
	o.JWKS = raw
	return nil
}

// hasSecret reports whether a client that proves itself so has a secret.
func hasSecret(method string) bool {
	return method == "" || method == credential.SecretBasic || method == credential.SecretPost
}

func (a *app) clientCreate() *cobra.Command {
	request := view.NewCredential{Kind: kindClient}
	var device, output, expires string
	var config clientFlags
	var bounds boundFlags
	c := &cobra.Command{
		Use:   "create NAME --service SERVICE",
		Short: "Make an OAuth client; its secret is shown this once",
		Example: "  cardea client create meters --service billing --scope billing:read --audience https://billing.example.com --output ./meters\n" +
			"  cardea client create meters --service billing --auth-method private_key_jwt --jwks ./meters.jwks --bound dpop",
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			request.Name = args[0]
			if request.Principal == "" {
				request.Principal = device
			}
			if err := checkTTL("--ttl", request.TTL); err != nil {
				return err
			}
			if request.ExpiresAt, err = parseTime("--expires-at", expires); err != nil {
				return err
			}
			if err := config.read(a); err != nil {
				return err
			}
			bounds.into(&request)
			request.Client = &config.Client
			return a.issue(cmd, pathCredentials, request, output, shown{kind: kindClient, given: !hasSecret(config.AuthMethod)})
		},
	}
	f := c.Flags()
	f.StringVar(&request.Principal, "service", "", "`NAME` of the service that it speaks for")
	f.StringVar(&device, "device", "", "`NAME` of the device that it speaks for")
	f.StringVar(&request.Description, "description", "", "`TEXT` for people")
	f.StringArrayVar(&request.Scopes, "scope", nil, "`NAME` of a scope that its tokens may have (repeatable; none: all of the principal's)")
	f.StringVar(&request.TTL, "ttl", "", "how long it is valid: a `DURATION` such as 90d, or never")
	f.StringVar(&expires, "expires-at", "", "until when it is valid: a `TIME` such as 2027-01-31T00:00:00Z")
	f.StringArrayVar(&request.AllowedIPs, "allowed-ip", nil, "`CIDR` or address that it and its tokens may come from (repeatable; none: anywhere)")
	f.StringArrayVar(&request.Tags, "tag", nil, "`TEXT` to find it by (repeatable)")
	f.StringVar(&request.Project, "project", "", "`TEXT` to find it by")
	config.flags(c)
	bounds.flags(c, " (repeatable; none: all that the rules allow)")
	f.StringVarP(&output, "output", "o", "", "`PREFIX` of the file to write: PREFIX_secret (default: standard output)")
	c.MarkFlagsOneRequired("service", "device")
	c.MarkFlagsMutuallyExclusive("service", "device")
	c.MarkFlagsMutuallyExclusive("ttl", "expires-at")
	return c
}

func (a *app) clientList() *cobra.Command {
	var principal, status, tag, project string
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the OAuth clients, the newest first",
		Example: "  cardea client list --service billing",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			q := query("kind", kindClient, "principal", principal, "status", status, "tag", tag, "project", project)
			list, err := all[view.CredentialView](cmd.Context(), c, pathCredentials, q)
			if err != nil {
				return err
			}
			return a.show(list, func(w io.Writer) error {
				cells := make([][]string, len(list))
				for i, v := range list {
					o := clientOf(&v)
					cells[i] = []string{v.ID, v.Principal, v.Status, o.AuthMethod, strings.Join(o.Audiences, ","), o.Bound, never(v.ExpiresAt), never(v.LastUsedAt), v.Name}
				}
				return table(w, []string{"ID", "PRINCIPAL", "STATUS", "METHOD", "AUDIENCES", "BOUND", "EXPIRE", "LAST USED", "NAME"}, cells)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&principal, "service", "", "only those of the service or device `NAME`")
	f.StringVar(&status, "status", "", "active, quarantined, pending, expired or revoked")
	f.StringVar(&tag, "tag", "", "only those with the tag `TEXT`")
	f.StringVar(&project, "project", "", "only those of the project `TEXT`")
	return c
}

// clientOf is what a credential has as a client.
func clientOf(v *view.CredentialView) view.Client {
	if v.Client == nil {
		return view.Client{}
	}
	return *v.Client
}

// readClient reads a client before something is done with it.
func (a *app) readClient(cmd *cobra.Command, id string) (*client, view.CredentialView, error) {
	var v view.CredentialView
	c, err := a.client()
	if err != nil {
		return nil, v, err
	}
	if err := c.get(cmd.Context(), at(pathCredential, id), &v); err != nil {
		return nil, v, err
	}
	if v.Kind != kindClient {
		return nil, v, fmt.Errorf("%s is no OAuth client but a credential of kind %s: see cardea cred", id, v.Kind)
	}
	return c, v, nil
}

func (a *app) clientShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show ID",
		Short:   "Show an OAuth client and the use of its versions",
		Example: "  cardea client show 7Gq0bXv2LmNp",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, v, err := a.readClient(cmd, args[0])
			if err != nil {
				return err
			}
			return a.show(v, func(w io.Writer) error { return writeDetailed(w, v) })
		},
	}
}

func (a *app) clientRotate() *cobra.Command {
	var request view.Rotate
	var output string
	c := &cobra.Command{
		Use:     "rotate ID",
		Short:   "Give an OAuth client another secret; the old one goes on for a while, and so do its tokens",
		Example: "  cardea client rotate 7Gq0bXv2LmNp --overlap 24h --output ./meters-2",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkDuration("--overlap", request.Overlap); err != nil {
				return err
			}
			if _, _, err := a.readClient(cmd, args[0]); err != nil {
				return err
			}
			return a.issue(cmd, at(pathCredential, args[0])+"/rotate", request, output, shown{kind: kindClient})
		},
	}
	c.Flags().StringVar(&request.Overlap, "overlap", "1h", "how long the old secret goes on: a `DURATION`; 0s stops it now")
	c.Flags().BoolVar(&request.Force, "force", false, "stop the old secret even if it is in use")
	c.Flags().StringVarP(&output, "output", "o", "", "`PREFIX` of the file to write: PREFIX_secret (default: standard output)")
	return c
}

func (a *app) clientRevoke() *cobra.Command {
	var request view.Revoke
	c := &cobra.Command{
		Use:     "revoke ID",
		Short:   "End an OAuth client for good, with all its tokens and their connections",
		Example: "  cardea client revoke 7Gq0bXv2LmNp --reason 'the service is gone'",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, _, err := a.readClient(cmd, args[0])
			if err != nil {
				return err
			}
			return a.done("revoked", c.post(cmd.Context(), at(pathCredential, args[0])+"/revoke", request, nil))
		},
	}
	c.Flags().StringVar(&request.Reason, "reason", "", "why; `TEXT` for the audit log")
	return c
}

func (a *app) clientDelete() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:     "delete ID",
		Aliases: []string{"del"},
		Short:   "End an OAuth client and take it off the lists",
		Example: "  cardea client delete 7Gq0bXv2LmNp",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, _, err := a.readClient(cmd, args[0])
			if err != nil {
				return err
			}
			return a.done("deleted", c.call(cmd.Context(), http.MethodDelete, at(pathCredential, args[0])+reasonQuery(reason), nil, nil))
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; `TEXT` for the audit log")
	return c
}

// clientPairs is what a credential has as a client, for people; see [details].
func clientPairs(o *view.Client) []string {
	if o == nil {
		return nil
	}
	var set struct {
		Keys []struct {
			KID string `json:"kid"`
			Alg string `json:"alg"`
		} `json:"keys"`
	}
	_ = json.Unmarshal(o.JWKS, &set) // the server has made sure of it
	keys := make([]string, len(set.Keys))
	for i, k := range set.Keys {
		keys[i] = firstOf(k.KID, k.Alg, "one without a name")
	}
	return []string{
		"AUTH METHOD", o.AuthMethod, "KEYS", firstOf(strings.Join(keys, " "), o.JWKSURI),
		"SUBJECT", firstOf(o.SubjectDN, o.SANDNS, o.SANURI, o.SANIP, o.SANEmail), "AUDIENCES", strings.Join(o.Audiences, " "), "TOKEN LIFE", o.TokenLife,
		"BOUND", o.Bound, "MAY ACT", o.MayAct,
	}
}
