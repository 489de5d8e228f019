package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"cardea/internal/credential"
	"cardea/internal/secret"
	"cardea/internal/view"
)

// demoClient is the name of the demo's OAuth client, and begins that of its file.
const demoClient = "demo-client"

func (d *demo) clientSecret() string { return filepath.Join(d.files, demoClient+"_secret") }

// makeClient gives the demo's service an OAuth client, unless there is one.
func (d *demo) makeClient(ctx context.Context) error {
	if exists(d.clientSecret()) {
		return d.readClientID()
	}
	var issued view.Issued
	n := view.NewCredential{
		Kind: string(credential.OAuthClient), Principal: demoService, Name: demoClient, Scopes: []string{demoScope}, TTL: "365d",
		Client: &view.Client{TokenLife: "5m"},
	}
	if err := d.client.post(ctx, pathCredentials, n, &issued); err != nil {
		return err
	}
	d.clientID = issued.ClientID
	return createExclusive(d.clientSecret(), 0o600, []byte(issued.Secret.Reveal()+"\n"))
}

// readClientID takes it from the secret, which begins with it.
func (d *demo) readClientID() error {
	raw, err := os.ReadFile(d.clientSecret())
	if err != nil {
		return err
	}
	token, ok := secret.Parse(strings.TrimSpace(string(raw)))
	if !ok {
		return fmt.Errorf("%s holds no secret", d.clientSecret())
	}
	d.clientID = token.ID()
	return nil
}

// showClient shows a token of five minutes, how it is got and used, and what it says.
func (d *demo) showClient(curl, base, cardea string) {
	if strings.Contains(curl, "--cacert") {
		cardea += " --cacert " + d.anchor()
	}
	fetch := cardea + " client token " + d.clientID + " --secret-file " + d.clientSecret()
	section(d.app.out, "OAuth 2: a client gets a token of five minutes, uses it, and looks at it",
		fmt.Sprintf(`%s -u "%s:$(cat %s)" -d grant_type=client_credentials %s/oauth2/token`, curl, d.clientID, d.clientSecret(), base),
		fmt.Sprintf(`%s -H "Authorization: Bearer $(%s)" '%s/db/query?q=SELECT+1'`, curl, fetch, base),
		fmt.Sprintf("%s client list; %s | %s client decode", cardea, fetch, cardea))
}
