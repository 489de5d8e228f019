package store_test

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"cardea/internal/credential"
)

// strict is a policy of a kind with something in each of its fields.
func strict(k credential.Kind) credential.KindPolicy {
	return credential.KindPolicy{
		Org: "default", Kind: k, DefaultLifetime: time.Hour, MaxLifetime: 48 * time.Hour, RequireExpiry: true, RequireNetworks: true,
		Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, NamePattern: `[a-z"\\]+`, Approval: true, MaxNumber: 3, RotationAge: 90 * time.Second,
		UnusedAfter: 30 * 24 * time.Hour, UnusedAction: credential.ActionQuarantine, Notices: []time.Duration{72 * time.Hour, time.Second},
		LeakAction: credential.ActionRevoke, PurgeAfter: 10 * time.Minute, MaxSessions: 7, SessionLife: 2 * time.Hour, SessionIdle: time.Minute,
	}
}

// legacy is a format of imported tokens.
func legacy(name string) credential.TokenFormat {
	return credential.TokenFormat{
		Org: "default", Name: name, Scheme: "hmac-sha256", Prefix: name + "_", IDLen: 8, Separator: ".", Bits: 128, Sealed: []byte{0, 255, 'k'}, CreatedAt: day,
	}
}

// lookup is what the nth imported token is found by.
func lookup(n int) []byte {
	h := sha256.Sum256(fmt.Appendf(nil, "lookup %d", n))
	return h[:]
}

// imported is the nth credential with a token of a format.
func imported(n int, of credential.Principal, f credential.TokenFormat) credential.Credential {
	c := token(n, of)
	c.Proofs[0].Scheme, c.Proofs[0].Format, c.Proofs[0].Lookup = f.Scheme, f.Name, lookup(n)
	return c
}

// hook is the nth webhook.
func hook(n int) credential.Webhook {
	return credential.Webhook{
		ID: fmt.Sprintf("W%011d", n), Org: "default", URL: fmt.Sprintf("https://x.example/%d?a=ü", n), Description: "d", Types: []string{"credential.*", "org.create"},
		Enabled: true, Sealed: []byte{1, 0, 255}, CreatedAt: day.Add(time.Duration(n) * time.Second),
	}
}

// waiting is the delivery of an event to a webhook that is due at day.
func waiting(webhook string, seq int64) credential.Delivery {
	return credential.Delivery{Webhook: webhook, Seq: seq, State: credential.DeliveryWaiting, NextAt: day, CreatedAt: day}
}

// run is the nth import.
func run(n int) credential.Import {
	return credential.Import{
		ID: fmt.Sprintf("I%011d", n), Org: "default", Name: "devices ü.csv", Digest: strings.Repeat(fmt.Sprint(n%10), 64), Total: 100,
		StartedAt: day.Add(time.Duration(n) * time.Minute), UpdatedAt: day.Add(time.Duration(n) * time.Minute), By: "local",
	}
}
