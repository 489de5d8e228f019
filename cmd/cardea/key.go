package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

func (a *app) keyCommand() *cobra.Command {
	return group("key", "Devices with their token and certificate",
		a.keyGen(), a.keyList(), a.keyShow(), a.keyRotate(), a.keyDel(), a.keyPrune(), a.keyServerCert())
}

func (a *app) keyGen() *cobra.Command {
	var output, valid, csr, from string
	var scopes []string
	c := &cobra.Command{
		Use:     "gen ID",
		Short:   "Make a device with a token and a certificate, or many from a list",
		Example: "  cardea key gen myapp01 --output ./myapp01\n  cardea key gen --from devices.csv --output keys.zip",
		Args: func(cmd *cobra.Command, args []string) error {
			if from != "" {
				return exactly()(cmd, args)
			}
			return exactly("ID")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkDuration("--valid", valid); err != nil {
				return err
			}
			if from != "" {
				return a.generateMany(cmd.Context(), from, output, valid, scopes)
			}
			request := view.NewKey{ID: args[0], Valid: valid, Scopes: scopes}
			if err := readCSR(csr, &request.CSR); err != nil {
				return err
			}
			return a.generate(cmd.Context(), output, request)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "`PREFIX` of the files: PREFIX_cert.pem, PREFIX_key.pem, PREFIX_token; with --from a folder, or a file that ends in .zip")
	c.Flags().StringVar(&from, "from", "", "`FILE` with the IDs of many devices: one a line, or the column id of a .csv")
	c.Flags().StringVar(&valid, "valid", "1095d", "how long both are valid: a `DURATION` such as 1095d or 12h")
	c.Flags().StringArrayVar(&scopes, "scope", nil, "`NAME` of a scope that it may use (repeatable; default: the role device)")
	c.Flags().StringVar(&csr, "csr", "", "PKCS#10 request in a `FILE`; then the private key never leaves the device")
	c.MarkFlagsMutuallyExclusive("from", "csr")
	return c
}

func checkDuration(flag, value string) error {
	if value == "" {
		return nil
	}
	if _, err := view.ParseDuration(value); err != nil {
		return usagef("%s: %w", flag, err)
	}
	return nil
}

// checkTTL is checkDuration for what may also be "never".
func checkTTL(flag, value string) error {
	if value == "never" {
		return nil
	}
	return checkDuration(flag, value)
}

func readCSR(path string, csr *string) error {
	if path == "" {
		return nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("--csr: %w", err)
	}
	*csr = string(raw)
	return nil
}

// generate makes the key and keeps it. If it cannot be kept it is deleted again: nothing half done.
func (a *app) generate(ctx context.Context, output string, request view.NewKey) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	files, err := a.reserveOutput(output, request.CSR == "")
	if err != nil {
		return err
	}
	var bundle view.KeyBundle
	if err := c.post(ctx, pathKeys, request, &bundle); err != nil {
		files.discard()
		return a.nameRotate(err, request.ID)
	}
	if err := a.keep(files, bundle); err != nil {
		undo := c.call(context.WithoutCancel(ctx), http.MethodDelete, at(pathPrincipal, bundle.Principal.Name), nil, nil)
		if undo != nil {
			return fmt.Errorf("%w; the key %s could not be deleted again: %w", err, request.ID, undo)
		}
		return fmt.Errorf("%w; the key %s was deleted again", err, request.ID)
	}
	return nil
}

// nameRotate adds to the refusal of an id that exists how to renew it.
func (a *app) nameRotate(err error, id string) error {
	if isStatus(err, http.StatusConflict) && !strings.Contains(err.Error(), "key rotate") {
		return fmt.Errorf("%w; `cardea key rotate %s` renews a key", err, id)
	}
	return err
}

func (a *app) reserveOutput(prefix string, withKey bool) (keyFiles, error) {
	if prefix == "" {
		return nil, nil
	}
	files, err := newKeyFiles(prefix, withKey)
	if err != nil {
		return nil, err
	}
	return files, files.reserve()
}

// keep writes a bundle to its files, or to standard output if there are none.
func (a *app) keep(files keyFiles, b view.KeyBundle) error {
	texts := []string{b.Certificate.CertificatePEM}
	if b.Certificate.PrivateKey != "" {
		texts = append(texts, b.Certificate.PrivateKey.Reveal())
	}
	texts = append(texts, b.Token.Secret.Reveal()+"\n")
	if files == nil {
		return a.showBundle(b, texts)
	}
	if len(texts) != len(files) {
		files.discard()
		return fmt.Errorf("the server answered with %d texts where %d were expected", len(texts), len(files))
	}
	if err := files.fill(texts...); err != nil {
		return err
	}
	a.warn(slices.Concat(b.Warnings, b.Token.Warnings, b.Certificate.Warnings))
	if a.json {
		return printJSON(a.out, savedView(files, b))
	}
	for _, f := range files {
		fmt.Fprintf(a.out, "Save %s %s\n", f.label, f.path)
	}
	return nil
}

// saved is what --json prints of a bundle that is in files: no secrets.
type saved struct {
	ID        string            `json:"id"`
	Files     map[string]string `json:"files"`
	ExpiresAt time.Time         `json:"expires_at,omitzero"`
}

func savedView(files keyFiles, b view.KeyBundle) saved {
	s := saved{ID: b.Principal.Name, ExpiresAt: b.Token.ExpiresAt, Files: map[string]string{}}
	for _, f := range files {
		s.Files[strings.ReplaceAll(f.label, " ", "_")] = f.path
	}
	return s
}

func (a *app) showBundle(b view.KeyBundle, texts []string) error {
	a.warn(slices.Concat(b.Warnings, b.Token.Warnings, b.Certificate.Warnings))
	if a.json {
		return printJSON(a.out, b)
	}
	_, err := fmt.Fprintf(a.out, "This is the only chance to keep these texts: they are not shown again.\n\n%s\n", strings.Join(texts, "\n"))
	return err
}

// warn writes each warning once, to standard error.
func (a *app) warn(warnings []string) {
	slices.Sort(warnings)
	for _, w := range slices.Compact(warnings) {
		fmt.Fprintf(a.err, "warning: %s\n", printable(w))
	}
}

func (a *app) keyRotate() *cobra.Command {
	var output, csr string
	var request view.Rotate
	c := &cobra.Command{
		Use:     "rotate ID",
		Short:   "Give a device a new token and certificate; the old ones go on for a while",
		Example: "  cardea key rotate myapp01 --output ./myapp01-new --overlap 24h",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkDuration("--overlap", request.Overlap); err != nil {
				return err
			}
			if err := readCSR(csr, &request.CSR); err != nil {
				return err
			}
			return a.rotate(cmd.Context(), args[0], output, request)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "`PREFIX` of the new files")
	c.Flags().StringVar(&request.Overlap, "overlap", "1h", "how long the old ones go on: a `DURATION`; 0s stops them now")
	c.Flags().BoolVar(&request.Force, "force", false, "stop the old ones even if they are in use")
	c.Flags().StringVar(&csr, "csr", "", "PKCS#10 request in a `FILE`")
	return c
}

func (a *app) rotate(ctx context.Context, id, output string, request view.Rotate) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	files, err := a.reserveOutput(output, request.CSR == "")
	if err != nil {
		return err
	}
	var bundle view.KeyBundle
	if err := c.post(ctx, at(pathKeyRotate, id), request, &bundle); err != nil {
		files.discard()
		return err
	}
	if err := a.keep(files, bundle); err != nil {
		return fmt.Errorf("%w; %s has a new version that nobody knows, and the old one goes on until %s: rotate again", err, id, never(bundle.Token.PreviousExpiresAt))
	}
	if !bundle.Token.PreviousExpiresAt.IsZero() {
		fmt.Fprintf(a.err, "the version before goes on until %s\n", when(bundle.Token.PreviousExpiresAt))
	}
	return nil
}

func (a *app) keyDel() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:     "del ID",
		Short:   "End a device and all its credentials, live connections too",
		Example: "  cardea key del myapp01",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if _, err := deviceOf(cmd.Context(), c, args[0]); err != nil {
				return err
			}
			return a.done("deleted", c.call(cmd.Context(), http.MethodDelete, at(pathPrincipal, args[0])+reasonQuery(reason), nil, nil))
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; `TEXT` for the audit log")
	return c
}

func reasonQuery(reason string) string {
	if reason == "" {
		return ""
	}
	return "?" + url.Values{"reason": {reason}}.Encode()
}

// done prints one word after an act that succeeded.
func (a *app) done(word string, err error) error {
	if err != nil {
		return err
	}
	return a.show(map[string]string{"result": word}, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, word)
		return err
	})
}

func deviceOf(ctx context.Context, c *client, id string) (view.PrincipalView, error) {
	var p view.PrincipalView
	if id == "" {
		return p, fmt.Errorf("the ID is empty")
	}
	if err := c.get(ctx, at(pathPrincipal, id), &p); err != nil {
		return p, err
	}
	if p.Kind != "device" {
		return p, fmt.Errorf("%s is a %s, not a device: see `cardea principal --help`", id, p.Kind)
	}
	return p, nil
}

func (a *app) keyServerCert() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:     "server-cert",
		Short:   "Save the certificate that clients must trust",
		Example: "  cardea key server-cert --output ./server.pem",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var anchor view.TrustAnchor
			if err := c.get(cmd.Context(), pathRoot, &anchor); err != nil {
				return err
			}
			if output == "" {
				_, err := io.WriteString(a.out, anchor.Root)
				return err
			}
			if err := createExclusive(output, 0o644, []byte(anchor.Root)); err != nil {
				return err
			}
			return a.show(map[string]string{"file": output}, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "Save certificate %s\n", output)
				return err
			})
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "`FILE` to write (default: standard output)")
	return c
}
