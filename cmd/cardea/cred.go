package main

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

func (a *app) credCommand() *cobra.Command {
	return group("cred", "Credentials of every kind",
		a.credCreate(), a.credList(), a.credShow(), a.credUsage(), a.credExport(), a.credUpdate(), a.credRotate(), a.credRetire(), a.credExtend(),
		a.credApprove(), a.credDeny(), a.credQuarantine(), a.credRelease(), a.credRevoke(), a.credDel())
}

func (a *app) credCreate() *cobra.Command {
	var request view.NewCredential
	var output, csr, expires, notBefore string
	var login loginFlags
	var bounds boundFlags
	c := &cobra.Command{
		Use:   "create PRINCIPAL",
		Short: "Make a credential for a principal",
		Example: "  cardea cred create billing --kind api_key --ttl 90d --allowed-ip 10.1.0.0/16\n" +
			"  cardea cred create press-7 --kind scram --output ./press-7",
		Args: exactly("PRINCIPAL"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			request.Principal = args[0]
			if request.Kind == kindClient {
				return usagef("OAuth clients are made by `cardea client create NAME --service %s`, which asks how they prove themselves", args[0])
			}
			if err := checkTTL("--ttl", request.TTL); err != nil {
				return err
			}
			bounds.into(&request)
			if err := readCSR(csr, &request.CSR); err != nil {
				return err
			}
			if request.ExpiresAt, err = parseTime("--expires-at", expires); err != nil {
				return err
			}
			if request.NotBefore, err = parseTime("--not-before", notBefore); err != nil {
				return err
			}
			if request.Password, request.ScramKeys, err = a.readLogin(&login); err != nil {
				return err
			}
			return a.issue(cmd, pathCredentials, request, output, shown{request.Kind, request.CSR == "", login.given()})
		},
	}
	f := c.Flags()
	f.StringVar(&request.Kind, "kind", "", "device_token, certificate, scram, api_key, pat or app_key; for OAuth clients see cardea client")
	f.StringVar(&request.Name, "name", "", "`TEXT` to tell it from others")
	f.StringVar(&request.Description, "description", "", "`TEXT` for people")
	f.StringArrayVar(&request.Scopes, "scope", nil, "`NAME` of a scope it may use (repeatable; none: all of the principal's)")
	f.StringVar(&request.TTL, "ttl", "", "how long it is valid: a `DURATION` such as 90d, or never")
	f.StringVar(&expires, "expires-at", "", "until when it is valid: a `TIME` such as 2027-01-31T00:00:00Z")
	f.StringVar(&notBefore, "not-before", "", "from when it is valid: a `TIME`")
	f.StringArrayVar(&request.AllowedIPs, "allowed-ip", nil, "`CIDR` or address it may come from (repeatable; none: anywhere)")
	f.StringArrayVar(&request.Tags, "tag", nil, "`TEXT` to find it by (repeatable)")
	f.StringVar(&request.Project, "project", "", "`TEXT` to find it by")
	bounds.flags(c, " (repeatable; none: all that the rules allow)")
	f.StringVar(&csr, "csr", "", "certificate: PKCS#10 request in a `FILE`")
	f.StringVar(&request.Username, "username", "", "scram: `NAME` to log in with (default: the principal's)")
	f.StringVar(&request.Algorithm, "algorithm", "", "scram: sha256 or sha512 (default: sha256)")
	login.flags(c, "scram: `NUMBER` of iterations (default: 4096); with keys: those that they were made with")
	f.StringVarP(&output, "output", "o", "", "`PREFIX` of the files to write (default: standard output)")
	cobra.CheckErr(c.MarkFlagRequired("kind"))
	c.MarkFlagsMutuallyExclusive("ttl", "expires-at")
	return c
}

// parseTime reads an instant of RFC 3339, or a day.
func parseTime(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("%s must be a time such as 2027-01-31T00:00:00Z, not %q", flag, s)
}

// issue asks for a credential or a new version of one and keeps what is shown once.
func (a *app) issue(cmd *cobra.Command, path string, request any, output string, what shown) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	return a.issueBy(cmd, c, path, request, output, what, "cardea cred revoke")
}

// issueBy is issue by a client; undo is the command that ends what nobody has.
func (a *app) issueBy(cmd *cobra.Command, c *client, path string, request any, output string, what shown, undo string) error {
	files, err := credFiles(output, what)
	if err != nil {
		return err
	}
	if err := files.reserve(); err != nil {
		return err
	}
	var issued view.Issued
	if err := c.post(cmd.Context(), path, request, &issued); err != nil {
		files.discard()
		return err
	}
	if err := a.keepIssued(files, issued); err != nil {
		return fmt.Errorf("%w; credential %s was made and nobody has it: `%s %s`", err, issued.ID, undo, issued.ID)
	}
	return nil
}

// shown is what the answer to a request for a credential will show.
type shown struct {
	kind    string
	withKey bool // certificate: a private key too
	given   bool // scram, OAuth clients: nothing, because the caller has brought password or keys
}

// credFiles names the files that what is shown goes into.
func credFiles(prefix string, what shown) (keyFiles, error) {
	if prefix == "" {
		return nil, nil
	}
	if what.kind == kindClient {
		prefix, err := checkPrefix(prefix)
		if err == nil && what.given {
			err = usagef("--output has nothing to write: a client that proves itself by keys has no secret")
		}
		return keyFiles{{label: "secret", path: prefix + "_secret", mode: 0o600}}, err
	}
	if what.kind == kindScram {
		prefix, err := checkPrefix(prefix)
		if err == nil && what.given {
			err = usagef("--output has nothing to write: a password or keys that were given are not shown")
		}
		return keyFiles{{label: "password", path: prefix + "_password", mode: 0o600}}, err
	}
	files, err := newKeyFiles(prefix, what.withKey)
	if err != nil {
		return nil, err
	}
	if what.kind == "certificate" {
		return files[:len(files)-1], nil
	}
	return files[len(files)-1:], nil
}

func (a *app) keepIssued(files keyFiles, issued view.Issued) error {
	var texts []string
	for _, t := range []string{issued.CertificatePEM, issued.PrivateKey.Reveal(), issued.Secret.Reveal()} {
		if t != "" {
			texts = append(texts, strings.TrimSuffix(t, "\n")+"\n")
		}
	}
	a.warn(issued.Warnings)
	if files != nil {
		return a.saveIssued(files, texts, issued)
	}
	return a.show(issued, func(w io.Writer) error {
		if err := writeCredential(w, issued.CredentialView); err != nil {
			return err
		}
		if len(texts) == 0 {
			return nil
		}
		why := "This is the only chance to keep this text: it is not shown again."
		if issued.Kind == kindAppKey {
			why = "Keep this text. `cardea appkey reveal` shows it again, to those who may, and leaves that in the audit log."
		}
		_, err := fmt.Fprintf(w, "\n%s\n\n%s", why, strings.Join(texts, "\n"))
		return err
	})
}

func (a *app) saveIssued(files keyFiles, texts []string, issued view.Issued) error {
	if len(texts) != len(files) {
		files.discard()
		return fmt.Errorf("the server answered with %d texts where %d were expected", len(texts), len(files))
	}
	if err := files.fill(texts...); err != nil {
		return err
	}
	issued.Secret, issued.PrivateKey = "", ""
	return a.show(issued, func(w io.Writer) error {
		for _, f := range files {
			fmt.Fprintf(w, "Save %s %s\n", f.label, f.path)
		}
		if issued.ClientID != "" {
			fmt.Fprintf(w, "Client id %s\n", issued.ClientID)
		}
		return nil
	})
}

func writeCredential(w io.Writer, c view.CredentialView) error {
	pairs := []string{
		"ID", c.ID, "KIND", c.Kind, "PRINCIPAL", c.Principal, "USER NAME", c.Username, "ALGORITHM", c.Algorithm, "NAME", c.Name, "DESCRIPTION", c.Description,
		"OWNER", c.Owner, "STATUS", c.Status, "SCOPES", strings.Join(c.Scopes, " "), "ALLOWED IPS", strings.Join(c.AllowedIPs, " "),
		"RESOURCES", strings.Join(c.Resources, " "), "LIMITS", limitsText(c.Limits), "CLIENT NAME", c.ClientName, "HOME", c.Home, "DOCUMENTATION", c.Documentation,
		"TAGS", strings.Join(c.Tags, " "), "PROJECT", c.Project, "VALID FROM", when(c.NotBefore), "EXPIRE", never(c.ExpiresAt),
		"CREATED", when(c.CreatedAt), "BY", c.CreatedBy, "LAST USED", never(c.LastUsedAt), "QUARANTINED", when(c.QuarantinedAt), "REVOKED", when(c.RevokedAt), "REASON", cmp.Or(c.QuarantineReason, c.RevokeReason),
	}
	return details(w, append(pairs, clientPairs(c.Client)...)...)
}

func (a *app) credShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show ID",
		Short:   "Show a credential and the use of its versions",
		Example: "  cardea cred show 7Gq0bXv2LmNp",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.credAnswer(cmd, http.MethodGet, at(pathCredential, args[0]), nil)
		},
	}
}

// credAnswer sends a request whose answer is a credential, and shows it.
func (a *app) credAnswer(cmd *cobra.Command, method, path string, in any) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var v view.CredentialView
	if err := c.call(cmd.Context(), method, path, in, &v); err != nil {
		return err
	}
	return a.show(v, func(w io.Writer) error { return writeDetailed(w, v) })
}

func writeDetailed(w io.Writer, v view.CredentialView) error {
	if err := writeCredential(w, v); err != nil {
		return err
	}
	return writeVersions(w, []view.CredentialView{v})
}

func (a *app) credUpdate() *cobra.Command {
	var name, description, project string
	var scopes, tags, ips []string
	var bounds boundFlags
	c := &cobra.Command{
		Use:     "update ID",
		Short:   "Change what describes a credential and what it is held to: only what is said",
		Example: "  cardea cred update 7Gq0bXv2LmNp --allowed-ip 10.1.0.0/16",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var patch view.PatchCredential
			said := cmd.Flags().Changed
			patch.Name = ifSaid(said("name"), &name)
			patch.Description = ifSaid(said("description"), &description)
			patch.Project = ifSaid(said("project"), &project)
			patch.Scopes = ifSaidList(said("scope"), scopes)
			patch.Tags = ifSaidList(said("tag"), tags)
			patch.AllowedIPs = ifSaidList(said("allowed-ip"), ips)
			if err := a.patchBounds(cmd, args[0], &bounds, &patch); err != nil {
				return err
			}
			return a.credAnswer(cmd, http.MethodPatch, at(pathCredential, args[0]), patch)
		},
	}
	f := c.Flags()
	f.StringVar(&name, "name", "", "`TEXT` to tell it from others")
	f.StringVar(&description, "description", "", "`TEXT` for people")
	f.StringVar(&project, "project", "", "`TEXT` to find it by")
	f.StringArrayVar(&scopes, "scope", nil, "`NAME` of a scope; replaces all (repeatable)")
	f.StringArrayVar(&tags, "tag", nil, "`TEXT`; replaces all (repeatable)")
	f.StringArrayVar(&ips, "allowed-ip", nil, "`CIDR` or address; replaces all (repeatable)")
	bounds.flags(c, "; replaces all (repeatable)")
	return c
}

func ifSaid[T any](said bool, v *T) *T {
	if said {
		return v
	}
	return nil
}
