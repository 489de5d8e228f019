package store

import (
	"context"
	"time"

	"cardea/internal/credential"
)

func (t *tx) putAPI(a credential.API) error {
	if err := t.within(a.Org); err != nil {
		return err
	}
	if err := t.named("scopes", a.Org, a.Scopes); err != nil {
		return err
	}
	if a.Version != 0 {
		err := t.one("API", a.Name, `UPDATE apis SET audience = $4, description = $5, scopes = $6, token_life = $7, alg = $8, introspectors = $9, version = version + 1
			WHERE org = $1 AND name = $2 AND version = $3`,
			a.Org, a.Name, a.Version, a.Audience, a.Description, encode(a.Scopes), seconds(a.TokenLife), a.Alg, encode(a.Introspectors))
		return t.taken(err, "the audience", a.Audience)
	}
	err := t.insert("apis (org, name, audience, description, scopes, token_life, alg, introspectors, created_at, version)", 10, []any{
		a.Org, a.Name, a.Audience, a.Description, encode(a.Scopes), seconds(a.TokenLife), a.Alg, encode(a.Introspectors), micros(a.CreatedAt), int64(1),
	})
	return t.taken(err, "the name of the API or its audience", a.Name+", "+a.Audience)
}

func (t *tx) denyToken(d credential.DeniedToken) error {
	_, err := t.exec("INSERT INTO denied_tokens (id, org, credential, at, until) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id, org) DO UPDATE SET "+
		"until = CASE WHEN excluded.until > denied_tokens.until THEN excluded.until ELSE denied_tokens.until END",
		d.ID, d.Org, d.Credential, micros(d.At), micros(d.Until))
	return err
}

// Denied implements [credential.Lookup].
func (s *Store) Denied(ctx context.Context, now time.Time) ([]credential.DeniedToken, error) {
	return queryList(ctx, s, func(row scan, d *credential.DeniedToken) error {
		return row(&d.ID, &d.Org, &d.Credential, instant{&d.At}, instant{&d.Until})
	}, "SELECT id, org, credential, at, until FROM denied_tokens WHERE until > $1 ORDER BY id", micros(now))
}
