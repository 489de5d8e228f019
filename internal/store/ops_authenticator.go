package store

import (
	"encoding/json"

	"cardea/internal/credential"
)

const authenticatorColumns = "id, org, type, listener, enabled, precondition, rank, scopes, allow_superuser, deny_on_failure, sealed, created_at, version, issuer"

func (t *tx) putAuthenticator(a credential.Authenticator) error {
	if err := t.within(a.Org); err != nil {
		return err
	}
	if err := t.named("scopes", a.Org, a.Scopes); err != nil {
		return err
	}
	if a.Version != 0 {
		return t.one("authenticator", a.ID, `UPDATE authenticators SET enabled = $3, precondition = $4, rank = $5, scopes = $6,
			allow_superuser = $7, deny_on_failure = $8, sealed = $9, issuer = $11, version = version + 1 WHERE id = $1 AND version = $2 AND org = $10`,
			a.ID, a.Version, number(a.Enabled), a.Precondition, a.Rank, encode(a.Scopes), number(a.AllowSuperuser), number(a.DenyOnFailure), blob(a.Sealed), a.Org, encodeIssuer(a.Issuer))
	}
	err := t.insert("authenticators ("+authenticatorColumns+")", 14, []any{
		a.ID, a.Org, string(a.Type), a.Listener, number(a.Enabled), a.Precondition, a.Rank, encode(a.Scopes),
		number(a.AllowSuperuser), number(a.DenyOnFailure), blob(a.Sealed), micros(a.CreatedAt), int64(1), encodeIssuer(a.Issuer),
	})
	return t.taken(err, "an authenticator of this type for", a.Listener)
}

func scanAuthenticator(row scan, a *credential.Authenticator) error {
	err := row(&a.ID, &a.Org, &a.Type, &a.Listener, &a.Enabled, &a.Precondition, &a.Rank, list[string]{&a.Scopes},
		&a.AllowSuperuser, &a.DenyOnFailure, &a.Sealed, instant{&a.CreatedAt}, &a.Version, issuerColumn{&a.Issuer})
	a.Sealed = some(a.Sealed)
	return err
}

// encodeIssuer writes an issuer as a column keeps it; "" for none.
func encodeIssuer(i *credential.TrustedIssuer) string {
	if i == nil {
		return ""
	}
	b, err := json.Marshal(i)
	if err != nil {
		panic("store: " + err.Error())
	}
	return string(b)
}

// issuerColumn scans what encodeIssuer has written.
type issuerColumn struct{ to **credential.TrustedIssuer }

func (c issuerColumn) Scan(v any) error { return unmarshal(v, "", c.to) }
