package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"cardea/internal/credential"
)

// Keys implements [credential.Vault], in the order in which they were made.
func (s *Store) Keys(ctx context.Context) ([]credential.Key, error) {
	return queryList(ctx, s, func(row scan, k *credential.Key) error {
		err := row(&k.ID, &k.Purpose, &k.Alg, &k.Wrapper, &k.Sealed, &k.Public, instant{&k.CreatedAt}, instant{&k.RetiredAt}, instant{&k.ActiveAt}, instant{&k.RevokedAt})
		k.Public = some(k.Public)
		return err
	}, "SELECT id, purpose, alg, wrapper, sealed, public, created_at, retired_at, active_at, revoked_at FROM keys ORDER BY created_at, id")
}

// Setting implements [credential.Vault].
func (s *Store) Setting(ctx context.Context, name string) (string, error) {
	var value string
	err := s.read.QueryRowContext(ctx, "SELECT value FROM settings WHERE name = $1", name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, s.fault(err)
}

// Settings implements [credential.Vault].
func (s *Store) Settings(ctx context.Context, prefix string) (map[string]string, error) {
	found, err := queryList(ctx, s, func(row scan, pair *[2]string) error { return row(&pair[0], &pair[1]) },
		"SELECT name, value FROM settings WHERE name >= $1 AND substr(name, 1, $2) = $1", prefix, len([]rune(prefix)))
	all := make(map[string]string, len(found))
	for _, pair := range found {
		all[pair[0]] = pair[1]
	}
	return all, err
}

// Serials implements [credential.Vault], the oldest first.
func (s *Store) Serials(ctx context.Context, before time.Time) ([]credential.Serial, error) {
	return queryList(ctx, s, func(row scan, n *credential.Serial) error {
		return row(&n.Serial, &n.For, instant{&n.ReservedAt})
	}, "SELECT serial, made_for, reserved_at FROM serials WHERE settled_at = 0 AND reserved_at < $1 ORDER BY reserved_at, serial", micros(before))
}
