package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"cardea/internal/credential"
	"cardea/internal/view"
)

func (a *app) demoCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run a server with a sample upstream, and show what to try",
		Long: "Run a server with a sample upstream behind /db/ and behind the MQTT topics db/write/TABLE and db/append/TABLE,\n" +
			"make one credential of each kind, and print commands to paste. MQTT is served plain and over TLS at once.\n" +
			"Everything is in ./cardea-demo unless --data names another folder; remove the folder to begin anew. All options of serve can be given.",
		Example: "  cardea demo\n  cardea demo --http-tls --data ./cardea-demo",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.data == "" && a.getenv("CARDEA_DATA") == "" {
				a.data = "./cardea-demo"
			}
			c, err := a.loadConfig(cmd.Flags())
			if err != nil {
				return err
			}
			return a.demo(cmd.Context(), c)
		},
	}
	addOptions(c.Flags())
	presetOption(c.Flags(), "mqtt-tls-listen", demoMQTTS)
	return c
}

// demo runs the sample upstream and a server in front of it.
func (a *app) demo(ctx context.Context, c *config) error {
	if c.HTTPListen == "" {
		return usagef("the demo is about the HTTP door: --http-listen must not be off")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	route := credential.Route{Prefix: "/db/", Upstream: "http://" + l.Addr().String(), Source: "flag"}
	c.Routes = append(c.Routes, route)
	d := &demo{app: a, data: c.Data, files: filepath.Join(c.Data, "demo"), verifier: newIdentityVerifier()}
	return a.serve(ctx, c, hooks{
		ready: func(ctx context.Context, n *node) error {
			up, err := d.serveUpstream(ctx, n, l)
			if err != nil {
				return err
			}
			if err := d.make(ctx); err != nil {
				return err
			}
			return d.startIngest(ctx, n, up)
		},
		announced: d.show,
	})
}

// serveUpstream lets the sample upstream answer until the server ends.
func (d *demo) serveUpstream(ctx context.Context, n *node, l net.Listener) (*upstream, error) {
	d.verifier.jwks = func() []byte { return n.gate.JWKS(ctx) }
	up, err := newUpstream(ctx, filepath.Join(d.data, "upstream.db"), d.verifier.verify)
	if err != nil {
		return nil, err
	}
	server := n.server(up)
	n.closers = append(n.closers, up, server)
	n.behind.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			n.report(err)
		}
	})
	return up, nil
}

// demo is what `cardea demo` makes beside the server.
type demo struct {
	app      *app
	data     string
	files    string // folder of the credentials
	client   *client
	verifier *identityVerifier
	clientID string // of the OAuth client
}

// Names of what the demo makes.
const (
	demoDevice  = "demo-device"
	demoService = "demo-service"
	demoUser    = "demo-user"
	demoIngest  = "demo-ingest" // the sample upstream as a client of the MQTT door; also its scope and its role
	demoScope   = "demo:db"
	demoRole    = "demo"
)

// make makes one credential of each kind, at the first start in a folder. The
// administrator's token is made anew at each start: it lives for a day, and the
// first one ended when the first user was made.
func (d *demo) make(ctx context.Context) (err error) {
	if d.client, err = socketClient(d.data); err != nil {
		return err
	}
	if !exists(d.files) {
		if err := os.Mkdir(d.files, 0o700); err != nil {
			return err
		}
		if err := d.makeAll(ctx); err != nil {
			return err
		}
	}
	if !exists(d.token(demoUser)) { // the last thing that is made
		return fmt.Errorf("%s was left half made: remove %s to begin anew", d.files, d.data)
	}
	if err := d.makeIngest(ctx); err != nil {
		return fmt.Errorf("%s cannot be made; remove %s to begin anew: %w", demoIngest, d.data, err)
	}
	if err := d.makeScram(ctx); err != nil {
		return fmt.Errorf("the SCRAM credential of %s cannot be made; remove %s to begin anew: %w", demoService, d.data, err)
	}
	if err := d.makeAppKey(ctx); err != nil {
		return fmt.Errorf("the application key of %s cannot be made; remove %s to begin anew: %w", demoUser, d.data, err)
	}
	if err := d.makeClient(ctx); err != nil {
		return fmt.Errorf("the OAuth client of %s cannot be made; remove %s to begin anew: %w", demoService, d.data, err)
	}
	if err := d.makeRows(); err != nil {
		return err
	}
	return d.renewAdminToken(ctx)
}

func (d *demo) makeAll(ctx context.Context) error {
	if err := d.makePolicy(ctx); err != nil {
		return err
	}
	if err := d.makeDevice(ctx); err != nil {
		return err
	}
	if err := d.makeToken(ctx, "service", demoService, "api_key"); err != nil {
		return err
	}
	return d.makeToken(ctx, "user", demoUser, "pat")
}

func (d *demo) makePolicy(ctx context.Context) error {
	rules := []view.Rule{{Permission: "allow", Action: "http:*", Resource: "/db/**"}}
	scope := view.NewScope{Name: demoScope, PutScope: view.PutScope{Description: "all of the sample upstream", Rules: rules}}
	if err := d.client.post(ctx, pathScopes, scope, nil); err != nil {
		return err
	}
	return d.client.post(ctx, pathRoles, view.NewRole{Name: demoRole, PutRole: view.PutRole{Scopes: []string{demoScope}}}, nil)
}

func (d *demo) makeDevice(ctx context.Context) error {
	var bundle view.KeyBundle
	if err := d.client.post(ctx, pathKeys, view.NewKey{ID: demoDevice}, &bundle); err != nil {
		return err
	}
	files, err := newKeyFiles(filepath.Join(d.files, demoDevice), true)
	if err != nil {
		return err
	}
	if err := files.reserve(); err != nil {
		return err
	}
	err = files.fill(bundle.Certificate.CertificatePEM, bundle.Certificate.PrivateKey.Reveal(), bundle.Token.Secret.Reveal()+"\n")
	if err != nil {
		return err
	}
	var anchor view.TrustAnchor
	if err := d.client.get(ctx, pathRoot, &anchor); err != nil {
		return err
	}
	return createExclusive(d.anchor(), 0o644, []byte(anchor.Root))
}

func (d *demo) makeToken(ctx context.Context, kind, name, credentialKind string) error {
	err := d.client.post(ctx, pathPrincipals, view.NewPrincipal{Kind: kind, Name: name, Roles: []string{demoRole}}, nil)
	if err != nil {
		return err
	}
	var issued view.Issued
	if err := d.client.post(ctx, pathCredentials, view.NewCredential{Kind: credentialKind, Principal: name, Name: "demo"}, &issued); err != nil {
		return err
	}
	return createExclusive(d.token(name), 0o600, []byte(issued.Secret.Reveal()+"\n"))
}

func (d *demo) token(name string) string { return filepath.Join(d.files, name+"_token") }

// anchor is the certificate that clients must trust.
func (d *demo) anchor() string { return filepath.Join(d.files, "server.pem") }

func (d *demo) renewAdminToken(ctx context.Context) error {
	var made view.OneTime
	if err := d.client.post(ctx, pathAdminToken, nil, &made); err != nil {
		return err
	}
	return replaceFile(adminTokenPath(d.data), 0o600, []byte(made.Secret.Reveal()+"\n"))
}

// show prints what to try, ready to paste.
func (d *demo) show(n *node) {
	r := n.addresses()
	data, base := d.data, n.httpURL()
	curl, cardea := "curl", os.Args[0]+" --data "+data
	if n.config.HTTPTLS {
		curl += " --cacert " + d.anchor()
	}
	bearer := func(token string) string { return fmt.Sprintf(`-H "Authorization: Bearer $(cat %s)"`, token) }
	query := fmt.Sprintf("'%s/db/query?q=SELECT+*+FROM+EXAMPLE+LIMIT+3'", base)
	counts := fmt.Sprintf("'%s/db/query?q=SELECT+NAME,COUNT(*)+AS+N+FROM+EXAMPLE+GROUP+BY+NAME'", base)
	w := d.app.out
	fmt.Fprintf(w, "\nA sample upstream stands behind %s/db/. Try, in another terminal:\n", base)
	section(w, "a device with its token: read and write",
		curl+" "+bearer(d.token(demoDevice))+" "+query,
		fmt.Sprintf(`%s %s -d '["demo.temperature","now",21.5]' %s/db/write/EXAMPLE`, curl, bearer(d.token(demoDevice)), base))
	section(w, "a service with its API key, a person with a personal access token",
		curl+" -H \"X-API-Key: $(cat "+d.token(demoService)+")\" "+query,
		curl+" "+bearer(d.token(demoUser))+" "+query)
	section(w, "a wrong token, and none: refused",
		curl+" -i -H 'Authorization: Bearer wrong' "+query,
		curl+" -i "+query)
	d.showMQTT(n, curl+" "+bearer(d.token(demoDevice))+" "+counts)
	d.showScram(cardea)
	d.showAppKey(curl, base, cardea)
	d.showClient(curl, base, cardea)
	section(w, "a key of your own: make it, use it, see it, end it",
		cardea+" key gen myapp01 --output ./myapp01",
		curl+" -H \"Authorization: Bearer $(cat ./myapp01_token)\" "+query,
		cardea+" key list",
		cardea+" key del myapp01",
		curl+" -i -H \"Authorization: Bearer $(cat ./myapp01_token)\" "+query)
	section(w, "the certificate that clients must trust", cardea+" key server-cert --output ./server.pem")
	pair := filepath.Join(d.files, demoDevice)
	if n.config.HTTPTLS {
		section(w, "HTTPS with a client certificate instead of a token",
			fmt.Sprintf("%s --cert %s_cert.pem --key %s_key.pem %s", curl, pair, pair, query))
	}
	if r.GRPC != "" {
		section(w, "gRPC with a client certificate",
			fmt.Sprintf("grpcurl -cacert %s -cert %s_cert.pem -key %s_key.pem %s cardea.v1.Gate/WhoAmI", d.anchor(), pair, pair, r.GRPC))
	}
	section(w, "the API, as the administrator",
		fmt.Sprintf("%s %s %s/api/v1/principals", curl, bearer(adminTokenPath(data)), base),
		cardea+" audit list")
	fmt.Fprintf(w, "\nThe credentials are in %s. Ctrl-C ends the demo.\n", d.files)
}

func section(w io.Writer, title string, commands ...string) {
	fmt.Fprintf(w, "\n# %s\n", title)
	for _, c := range commands {
		fmt.Fprintln(w, c)
	}
}
