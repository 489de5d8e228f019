package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"strconv"
	"time"

	"cardea/internal/credential"
)

// lookedSetting is up to which event webhooks were thought of.
const lookedSetting = "outbox.looked"

const webhookColumns = "id, org, url, description, types, enabled, trouble, sealed, created_at, version"

func (t *tx) putWebhook(w credential.Webhook) error {
	if w.Version != 0 {
		return t.one("webhook", w.ID, `UPDATE webhooks SET url = $3, description = $4, types = $5, enabled = $6, trouble = $7, sealed = $8, version = version + 1
			WHERE id = $1 AND version = $2 AND org = $9`, w.ID, w.Version, w.URL, w.Description, encode(w.Types), number(w.Enabled), w.Trouble, blob(w.Sealed), w.Org)
	}
	if err := t.within(w.Org); err != nil {
		return err
	}
	return t.taken(t.insert("webhooks ("+webhookColumns+")", 10, []any{
		w.ID, w.Org, w.URL, w.Description, encode(w.Types), number(w.Enabled), w.Trouble, blob(w.Sealed), micros(w.CreatedAt), int64(1),
	}), "webhook", w.ID)
}

func (t *tx) deleteWebhook(op credential.DeleteWebhook) error {
	if err := t.one("webhook", op.ID, "DELETE FROM webhooks WHERE id = $1 AND version = $2", op.ID, op.Version); err != nil {
		return err
	}
	_, err := t.exec("DELETE FROM deliveries WHERE webhook = $1", op.ID)
	return err
}

// Webhooks implements [credential.Catalog].
func (s *Store) Webhooks(ctx context.Context, org string) ([]credential.Webhook, error) {
	return queryList(ctx, s, func(row scan, w *credential.Webhook) error {
		err := row(&w.ID, &w.Org, &w.URL, &w.Description, list[string]{&w.Types}, &w.Enabled, &w.Trouble, &w.Sealed, instant{&w.CreatedAt}, &w.Version)
		w.Sealed = some(w.Sealed)
		return err
	}, "SELECT "+webhookColumns+" FROM webhooks WHERE $1 = '' OR org = $1 ORDER BY org, created_at, id", org)
}

const deliveryColumns = "webhook, seq, state, attempts, next_at, trouble, created_at, done_at"

func scanDelivery(row scan, d *credential.Delivery) error {
	return row(&d.Webhook, &d.Seq, &d.State, &d.Attempts, instant{&d.NextAt}, &d.Trouble, instant{&d.CreatedAt}, instant{&d.DoneAt})
}

// Deliveries implements [credential.Catalog].
func (s *Store) Deliveries(ctx context.Context, webhook string, limit int) ([]credential.Delivery, error) {
	return queryList(ctx, s, scanDelivery, "SELECT "+deliveryColumns+" FROM deliveries WHERE webhook = $1 ORDER BY seq DESC LIMIT $2", webhook, page(limit))
}

// Enqueue implements [credential.Outbox]. What is there already stays as it is, and for a webhook that is gone there is nothing to do.
func (s *Store) Enqueue(ctx context.Context, ds []credential.Delivery, seq int64) error {
	return s.writer.do(&call{ctx: ctx, weight: len(ds) + 1, apply: func(t *tx) error {
		there, err := t.webhooksOf(ds)
		if err != nil {
			return err
		}
		for _, d := range ds {
			if !there[d.Webhook] {
				continue
			}
			_, err := t.exec("INSERT INTO deliveries ("+deliveryColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (webhook, seq) DO NOTHING",
				d.Webhook, d.Seq, d.State, d.Attempts, micros(d.NextAt), d.Trouble, micros(d.CreatedAt), micros(d.DoneAt))
			if err != nil {
				return err
			}
		}
		return t.putSetting(credential.PutSetting{Name: lookedSetting, Value: strconv.FormatInt(seq, 10)})
	}})
}

// webhooksOf returns which of the webhooks exist, and go on existing until the transaction ends.
func (t *tx) webhooksOf(ds []credential.Delivery) (map[string]bool, error) {
	ids := make([]string, len(ds))
	for i := range ds {
		ids[i] = ds[i].Webhook
	}
	there := map[string]bool{}
	err := t.in(ids, func(params string, ids []any) error {
		return t.query(func(row scan) error {
			var id string
			err := row(&id)
			there[id] = true
			return err
		}, "SELECT id FROM webhooks WHERE id IN ("+params+") ORDER BY id"+t.w.s.dialect.keep(), ids...)
	})
	return there, err
}

// Looked implements [credential.Outbox].
func (s *Store) Looked(ctx context.Context) (int64, error) {
	value, err := s.Setting(ctx, lookedSetting)
	if err != nil || value == "" {
		return 0, err
	}
	return strconv.ParseInt(value, 10, 64)
}

// Due implements [credential.Outbox]. Of one webhook it returns a few, so that one that does not answer holds up no other.
func (s *Store) Due(ctx context.Context, now time.Time, limit int) ([]credential.Delivery, error) {
	return queryList(ctx, s, scanDelivery, "SELECT "+deliveryColumns+" FROM (SELECT "+deliveryColumns+
		", row_number() OVER (PARTITION BY webhook ORDER BY next_at, seq) AS place FROM deliveries WHERE state = 'waiting' AND next_at <= $1) d"+
		" WHERE place <= $2 ORDER BY next_at, seq LIMIT $3", micros(now), dueOfOne, page(limit))
}

// dueOfOne is how many deliveries of one webhook are due at the same time.
const dueOfOne = 20

// Settle implements [credential.Outbox].
func (s *Store) Settle(ctx context.Context, d credential.Delivery) error {
	return s.writer.do(&call{ctx: ctx, weight: 1, apply: func(t *tx) error {
		_, err := t.exec("UPDATE deliveries SET state = $3, attempts = $4, next_at = $5, trouble = $6, done_at = $7 WHERE webhook = $1 AND seq = $2",
			d.Webhook, d.Seq, d.State, d.Attempts, micros(d.NextAt), d.Trouble, micros(d.DoneAt))
		return err
	}})
}

// Avatars and imports.

func (t *tx) putAvatar(op credential.PutAvatar) error {
	if len(op.PNG) == 0 {
		_, err := t.exec("DELETE FROM avatars WHERE credential = $1", op.Credential)
		return err
	}
	_, err := t.exec("INSERT INTO avatars (credential, png) VALUES ($1, $2) ON CONFLICT (credential) DO UPDATE SET png = excluded.png", op.Credential, op.PNG)
	return err
}

// Avatar implements [credential.Catalog].
func (s *Store) Avatar(ctx context.Context, id string) ([]byte, error) {
	var png []byte
	if plain([]any{id}) != nil {
		return nil, s.found(sql.ErrNoRows, "avatar", id)
	}
	err := s.read.QueryRowContext(ctx, "SELECT png FROM avatars WHERE credential = $1", id).Scan(&png)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, s.found(err, "avatar", id)
	}
	return png, s.fault(err)
}

const importColumns = "id, org, name, digest, total, done, created, unchanged, failed, started_at, updated_at, finished_at, made_by"

func (t *tx) putImport(op credential.PutImport) error {
	i := op.Import
	args := []any{
		i.ID, i.Org, i.Name, i.Digest, i.Total, i.Done, i.Created, i.Unchanged, i.Failed,
		micros(i.StartedAt), micros(i.UpdatedAt), micros(i.FinishedAt), i.By,
	}
	if op.Before == 0 {
		found, err := t.any("SELECT 1 FROM imports WHERE id = $1", i.ID)
		if err != nil {
			return err
		}
		if !found {
			if err := t.within(i.Org); err != nil {
				return err
			}
			return t.taken(t.insert("imports ("+importColumns+")", 13, args), "import", i.ID)
		}
	}
	return t.one("import", i.ID, `UPDATE imports SET total = $3, done = $4, created = $5, unchanged = $6, failed = $7, updated_at = $8, finished_at = $9
		WHERE id = $1 AND done = $2 AND org = $10`, i.ID, op.Before, i.Total, i.Done, i.Created, i.Unchanged, i.Failed, micros(i.UpdatedAt), micros(i.FinishedAt), i.Org)
}

func scanImport(row scan, i *credential.Import) error {
	return row(&i.ID, &i.Org, &i.Name, &i.Digest, &i.Total, &i.Done, &i.Created, &i.Unchanged, &i.Failed,
		instant{&i.StartedAt}, instant{&i.UpdatedAt}, instant{&i.FinishedAt}, &i.By)
}

// Import implements [credential.Catalog].
func (s *Store) Import(ctx context.Context, org, ref string) (credential.Import, error) {
	found, err := queryList(ctx, s, scanImport, "SELECT "+importColumns+" FROM imports WHERE org = $1 AND (id = $2 OR digest = $2) ORDER BY started_at DESC, id LIMIT 1", org, ref)
	if err == nil && len(found) == 0 {
		err = s.found(sql.ErrNoRows, "import", ref)
	}
	if err != nil {
		return credential.Import{}, err
	}
	return found[0], nil
}

// Imports implements [credential.Catalog], the newest first.
func (s *Store) Imports(ctx context.Context, org string, limit int) ([]credential.Import, error) {
	return queryList(ctx, s, scanImport, "SELECT "+importColumns+" FROM imports WHERE org = $1 ORDER BY started_at DESC, id LIMIT $2", org, page(limit))
}

// Found implements [credential.Catalog].
func (s *Store) Found(ctx context.Context, lookups [][]byte) (map[string]string, error) {
	all := make(map[string]string, len(lookups))
	for len(lookups) > 0 {
		const size = 256 // a statement of one shape: the rest is filled up with the last
		args := make([]any, size)
		for i := range args {
			args[i] = hex.EncodeToString(lookups[min(i, len(lookups)-1)])
		}
		found, err := queryList(ctx, s, func(row scan, pair *[2]string) error { return row(&pair[0], &pair[1]) },
			"SELECT lookup, credential FROM lookups WHERE lookup IN ("+joined(size, s.dialect.param)+")", args...)
		if err != nil {
			return nil, err
		}
		for _, pair := range found {
			all[pair[0]] = pair[1]
		}
		lookups = lookups[min(size, len(lookups)):]
	}
	return all, nil
}
