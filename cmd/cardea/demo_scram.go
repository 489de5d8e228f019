package main

import (
	"context"
	"fmt"
	"path/filepath"

	"cardea/internal/credential"
	"cardea/internal/view"
)

// password is a file with the password of a principal for SCRAM.
func (d *demo) password(name string) string { return filepath.Join(d.files, name+"_password") }

// makeScram gives the demo's service a password for SCRAM, unless it has one.
func (d *demo) makeScram(ctx context.Context) error {
	if exists(d.password(demoService)) {
		return nil
	}
	var issued view.Issued
	n := view.NewCredential{Kind: string(credential.SCRAM), Principal: demoService, Name: "demo"}
	if err := d.client.post(ctx, pathCredentials, n, &issued); err != nil {
		return err
	}
	return createExclusive(d.password(demoService), 0o600, []byte(issued.Secret.Reveal()+"\n"))
}

// scram is the ID of the authenticator that knows that password; "" if it was taken away.
func (d *demo) scram(ctx context.Context) (string, error) {
	var list view.Authenticators
	if err := d.client.get(ctx, pathAuths+"?listener=default", &list); err != nil {
		return "", err
	}
	for _, a := range list.Items {
		if a.Type == string(credential.ByScram) {
			return a.ID, nil
		}
	}
	return "", nil
}

// showScram shows how to try the password: mosquitto's clients do not speak SCRAM.
func (d *demo) showScram(cardea string) {
	id, err := d.scram(context.Background())
	if err != nil || id == "" {
		return
	}
	section(d.app.out, "MQTT: the chain of the listener, and a password for SCRAM, which clients of MQTT 5.0 prove to have without sending it",
		cardea+" authenticator list --listener default",
		fmt.Sprintf("%s authenticator test %s --username %s --password-file %s", cardea, id, demoService, d.password(demoService)))
}
