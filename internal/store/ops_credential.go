package store

import (
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"

	"cardea/internal/credential"
)

// notEnded is the condition for what [credential.State.Ended] denies; hasEnded its opposite, in the words that
// the index of ended credentials is made with.
const (
	notEnded = "state IN ('active', 'quarantined', 'pending')"
	hasEnded = "state <> 'active' AND state <> 'quarantined' AND state <> 'pending'"
)

// createCredentials inserts credentials whose principals live and whose scopes exist.
func (t *tx) createCredentials(run []credential.CreateCredential) error {
	if err := t.living(run); err != nil {
		return err
	}
	if err := t.scoped(run); err != nil {
		return err
	}
	if err := t.bound(run); err != nil {
		return err
	}
	simple, full := make([]any, 0, len(run)*commonWidth), []any(nil)
	for i := range run {
		c := &run[i].Credential
		if err := checkProofs(c.ID, c.Proofs); err != nil {
			return err
		}
		c.Version = 1
		if c.State == "" {
			c.State = credential.StateActive
		}
		if common(c) {
			simple = appendCommon(simple, c)
		} else {
			full = appendCredential(full, c)
		}
	}
	err := t.insert("credentials ("+commonColumns+")", commonWidth, simple)
	if err == nil {
		err = t.insert("credentials ("+credentialColumns+")", credentialWidth, full)
	}
	if err == nil {
		return t.findable(run)
	}
	if len(run) == 1 {
		return t.taken(err, "credential", run[0].ID)
	}
	return t.taken(err, "a credential of the batch from", run[0].ID)
}

// findable notes what imported tokens are found by.
func (t *tx) findable(run []credential.CreateCredential) error {
	var args []any
	for i := range run {
		for _, p := range run[i].Proofs {
			if len(p.Lookup) > 0 {
				args = append(args, hex.EncodeToString(p.Lookup), run[i].ID, run[i].Org, p.Format)
			}
		}
	}
	if len(args) == 0 {
		return nil
	}
	return t.taken(t.insert("lookups (lookup, credential, org, format)", 4, args), "an imported token of", args[3].(string))
}

// living makes sure that the principals of the credentials live, and go on living until the transaction ends.
func (t *tx) living(run []credential.CreateCredential) error {
	var ids []string
	for i := range run {
		if id := run[i].Principal; i == 0 || id != run[i-1].Principal {
			ids = append(ids, id)
		}
	}
	if err := t.holdPrincipals(ids); err != nil {
		return err
	}
	for _, id := range ids {
		if _, lives := t.held.versions[id]; !lives {
			return credential.Errorf(credential.Conflict, "principal %q does not exist any more", id)
		}
	}
	return nil
}

// scoped makes sure that the scopes that the credentials name exist, with one look-up for each organisation.
func (t *tx) scoped(run []credential.CreateCredential) error {
	wanted := map[string][]string{}
	for i := range run {
		c := &run[i]
		if len(c.Scopes) > 0 && (i == 0 || c.Org != run[i-1].Org || !slices.Equal(c.Scopes, run[i-1].Scopes)) {
			wanted[c.Org] = append(wanted[c.Org], c.Scopes...)
		}
	}
	for _, org := range slices.Sorted(maps.Keys(wanted)) {
		if err := t.named("scopes", org, wanted[org]); err != nil {
			return err
		}
	}
	return nil
}

// bound keeps the projects that the credentials are held to, and makes sure that the formats of imported tokens exist.
func (t *tx) bound(run []credential.CreateCredential) error {
	for i := range run {
		c := &run[i]
		if c.Project != "" && (i == 0 || c.Org != run[i-1].Org || c.Project != run[i-1].Project) {
			if err := t.keepProjects(c.Org, c.Project); err != nil {
				return err
			}
		}
		for _, p := range c.Proofs {
			if p.Format == "" {
				continue
			}
			if err := t.named("token_formats", c.Org, []string{p.Format}); err != nil {
				return err
			}
		}
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
	if err := t.named("scopes", c.Org, c.Scopes); err != nil {
		return err
	}
	if err := t.keepProjects(c.Org, c.Project); err != nil {
		return err
	}
	err := t.one("credential", c.ID, `UPDATE credentials SET name = $3, description = $4, scopes = $5, networks = $6, tags = $7, project = $8,
		owner = $10, resources = $11, more = $12, username = CASE WHEN kind = 'app_key' THEN $13 ELSE username END, version = version + 1 WHERE id = $1 AND version = $2 AND `+notEnded+` AND org = $9`,
		c.ID, c.Version, c.Name, c.Description, encode(c.Scopes), encode(c.Networks), encode(c.Tags), c.Project, c.Org,
		c.Owner, encode(c.Resources), encodeMore(&c), c.Username)
	return t.taken(err, "the name of the credential", c.ID)
}

func (t *tx) setProofs(op credential.SetProofs) error {
	if err := checkProofs(op.ID, op.Proofs); err != nil {
		return err
	}
	return t.one("credential", op.ID, "UPDATE credentials SET proofs = $3, expires_at = $4, version = version + 1 WHERE id = $1 AND version = $2 AND "+notEnded,
		op.ID, op.Version, encodeProofs(op.Proofs), micros(op.ExpiresAt))
}

// setQuarantine notes since when and why it is in quarantine where otherwise its end is; release takes both away.
func (t *tx) setQuarantine(op credential.SetQuarantine) error {
	from, to := credential.StateActive, credential.StateQuarantined
	if !op.On {
		from, to, op.At, op.Reason = to, from, time.Time{}, ""
	}
	return t.one("credential", op.ID, `UPDATE credentials SET state = $4, ended_at = $5, end_reason = $6, version = version + 1
		WHERE id = $1 AND version = $2 AND state = $3`, op.ID, op.Version, string(from), string(to), micros(op.At), op.Reason)
}

// endCredential ends a credential that has not ended, or takes a revoked one from the lists.
// When and why it ended stays what it was at the first of the two.
func (t *tx) endCredential(op credential.EndCredential) error {
	if op.State != credential.StateRevoked && op.State != credential.StateDeleted {
		return credential.Errorf(credential.Internal, "credential %q cannot end as %q", op.ID, op.State)
	}
	n, err := t.exec("UPDATE credentials SET state = $2, ended_at = $3, end_reason = $4, version = version + 1 WHERE id = $1 AND (version = $5 OR $5 = 0) AND "+notEnded,
		op.ID, string(op.State), micros(op.At), op.Reason, op.Version)
	if err != nil {
		return err
	}
	if n == 1 {
		t.ended = append(t.ended, ending{op.ID, micros(op.At)})
		return nil
	}
	if op.State == credential.StateDeleted && op.Version == 0 {
		n, err = t.exec("UPDATE credentials SET state = 'deleted', version = version + 1 WHERE id = $1 AND state = 'revoked'", op.ID)
	}
	if err == nil && n != 1 {
		err = credential.Errorf(credential.Conflict, "credential %q has ended already, or was changed meanwhile", op.ID)
	}
	return err
}
