package store

import (
	"strings"

	"cardea/internal/credential"
)

// credentialsFrom returns the credentials of the creations that ops begins with.
func credentialsFrom(ops []credential.Op) []credential.Credential {
	var run []credential.Credential
	for _, op := range ops {
		c, ok := op.(credential.CreateCredential)
		if !ok {
			break
		}
		run = append(run, c.Credential)
	}
	return run
}

// createCredentials inserts credentials whose principals live.
func (t *tx) createCredentials(run []credential.Credential) error {
	if err := t.living(run); err != nil {
		return err
	}
	args := make([]any, 0, len(run)*19)
	for i := range run {
		c := run[i]
		if err := checkProofs(c.ID, c.Proofs); err != nil {
			return err
		}
		c.Version = 1
		if c.State == "" {
			c.State = credential.StateActive
		}
		args = append(args, credentialArgs(&c)...)
	}
	err := t.insert("credentials ("+credentialColumns+")", 19, args)
	if len(run) == 1 {
		return t.taken(err, "credential", run[0].ID)
	}
	return t.taken(err, "a credential of the batch from", run[0].ID)
}

// living makes sure that the principals of the credentials live, and go on living until the transaction ends.
func (t *tx) living(run []credential.Credential) error {
	var ids []any
	asked := map[string]bool{}
	for i := range run {
		if id := run[i].Principal; !asked[id] && !t.born[id] {
			asked[id] = true
			ids = append(ids, id)
		}
	}
	for _, size := range [...]int{64, 8, 1} {
		for ; len(ids) >= size; ids = ids[size:] {
			err := t.query(func(row scan) error {
				var id string
				err := row(&id)
				delete(asked, id)
				return err
			}, "SELECT id FROM principals WHERE deleted_at = 0 AND id IN ("+joined(size, t.w.s.dialect.param)+") ORDER BY id"+t.w.s.dialect.share(), ids[:size]...)
			if err != nil {
				return err
			}
		}
	}
	for id := range asked {
		return credential.Errorf(credential.Conflict, "principal %q does not exist any more", id)
	}
	return nil
}

// joined returns n parameters, separated by commas.
func joined(n int, param func(int) string) string {
	list := make([]string, n)
	for i := range list {
		list[i] = param(i + 1)
	}
	return strings.Join(list, ", ")
}

// checkProofs guards what a gate compares with: a credential without a proof, or with a hash that is none, must not be (K10).
func checkProofs(id string, proofs []credential.Proof) error {
	if len(proofs) == 0 {
		return credential.Errorf(credential.Internal, "credential %q without a proof", id)
	}
	for _, p := range proofs {
		if len(p.Hash) != 32 || p.N < 1 {
			return credential.Errorf(credential.Internal, "credential %q: proof %d is not whole", id, p.N)
		}
	}
	return nil
}

func (t *tx) updateCredential(c credential.Credential) error {
	return t.one("credential", c.ID, `UPDATE credentials SET name = $3, description = $4, scopes = $5, networks = $6, tags = $7, project = $8, version = version + 1
		WHERE id = $1 AND version = $2 AND state = 'active'`,
		c.ID, c.Version, c.Name, c.Description, encode(c.Scopes), encode(c.Networks), encode(c.Tags), c.Project)
}

func (t *tx) setProofs(op credential.SetProofs) error {
	if err := checkProofs(op.ID, op.Proofs); err != nil {
		return err
	}
	return t.one("credential", op.ID, "UPDATE credentials SET proofs = $3, expires_at = $4, version = version + 1 WHERE id = $1 AND version = $2 AND state = 'active'",
		op.ID, op.Version, encodeProofs(op.Proofs), micros(op.ExpiresAt))
}

// endCredential ends an active credential, or takes a revoked one from the lists.
// When and why it ended stays what it was at the first of the two.
func (t *tx) endCredential(op credential.EndCredential) error {
	if op.State != credential.StateRevoked && op.State != credential.StateDeleted {
		return credential.Errorf(credential.Internal, "credential %q cannot end as %q", op.ID, op.State)
	}
	n, err := t.exec("UPDATE credentials SET state = $2, ended_at = $3, end_reason = $4, version = version + 1 WHERE id = $1 AND state = 'active'",
		op.ID, string(op.State), micros(op.At), op.Reason)
	if err != nil {
		return err
	}
	if n == 1 {
		t.ended = append(t.ended, ending{op.ID, micros(op.At)})
		return nil
	}
	if op.State == credential.StateDeleted {
		n, err = t.exec("UPDATE credentials SET state = 'deleted', version = version + 1 WHERE id = $1 AND state = 'revoked'", op.ID)
	}
	if err == nil && n != 1 {
		err = credential.Errorf(credential.Conflict, "credential %q has ended already", op.ID)
	}
	return err
}
