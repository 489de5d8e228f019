package main

import (
	"context"

	"cardea/internal/credential"
	"cardea/internal/view"
)

// demoAppKey is the name of the demo's application key, and begins that of its file.
const demoAppKey = "demo-app"

// makeAppKey gives the demo's user an application key, unless there is one.
func (d *demo) makeAppKey(ctx context.Context) error {
	if exists(d.token(demoAppKey)) {
		return nil
	}
	var issued view.Issued
	n := view.NewCredential{Kind: string(credential.AppKey), Principal: demoUser, Name: demoAppKey, TTL: "365d"}
	if err := d.client.post(ctx, pathCredentials, n, &issued); err != nil {
		return err
	}
	return createExclusive(d.token(demoAppKey), 0o600, []byte(issued.Secret.Reveal()+"\n"))
}

// showAppKey shows how a client of ThingWorx would use it: with a session in a cookie from then on.
func (d *demo) showAppKey(curl, base, cardea string) {
	section(d.app.out, "HTTP: an application key, which acts as its user, and a session in a cookie instead of it",
		curl+` -c jar -H "appKey: $(cat `+d.token(demoAppKey)+`)" -H 'x-thingworx-session: true' '`+base+`/db/query?q=SELECT+1'`,
		curl+` -b jar '`+base+`/db/query?q=SELECT+1'`,
		cardea+" appkey list")
}
