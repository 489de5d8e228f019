package store

import (
	"cardea/internal/credential"
)

// change applies operations in order.
func (t *tx) change(ops []credential.Op) error {
	t.born = nil
	for i := 0; i < len(ops); i++ {
		if _, ok := ops[i].(credential.CreateCredential); ok {
			run := credentialsFrom(ops[i:])
			if err := t.createCredentials(run); err != nil {
				return err
			}
			i += len(run) - 1
			continue
		}
		if err := t.op(ops[i]); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) op(op credential.Op) error {
	switch op := op.(type) {
	case credential.CreatePrincipal:
		return t.createPrincipal(op.Principal)
	case credential.UpdatePrincipal:
		return t.updatePrincipal(op.Principal)
	case credential.DeletePrincipal:
		return t.deletePrincipal(op)
	case credential.UpdateCredential:
		return t.updateCredential(op.Credential)
	case credential.SetProofs:
		return t.setProofs(op)
	case credential.EndCredential:
		return t.endCredential(op)
	case credential.PutScope:
		return t.putScope(op.Scope)
	case credential.DeleteScope:
		return t.deleteScope(op)
	case credential.PutRole:
		return t.putRole(op.Role)
	case credential.DeleteRole:
		return t.deleteRole(op)
	case credential.PutRoute:
		return t.putRoute(op.Route)
	case credential.DeleteRoute:
		return t.one("route", op.Prefix, "DELETE FROM routes WHERE prefix = $1 AND version = $2", op.Prefix, op.Version)
	case credential.PutKey:
		return t.putKey(op.Key)
	case credential.PutSetting:
		_, err := t.exec("INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", op.Name, op.Value)
		return err
	case credential.ReserveSerial:
		return t.reserveSerial(op.Serial)
	case credential.SettleSerial:
		return t.one("serial number", op.Serial, "UPDATE serials SET credential = $2, settled_at = $3 WHERE serial = $1 AND settled_at = 0",
			op.Serial, op.Credential, micros(op.At))
	case credential.Remember:
		return t.remember(op)
	case credential.Expect:
		return t.expect(op)
	}
	return credential.Errorf(credential.Internal, "unknown operation %T", op)
}

// one runs a statement that must change exactly one row; Conflict if the row is not as expected any more.
func (t *tx) one(what, ref, query string, args ...any) error {
	n, err := t.exec(query, args...)
	if err != nil {
		return err
	}
	if n != 1 {
		return credential.Errorf(credential.Conflict, "%s %q was changed or ended meanwhile: read it again", what, ref)
	}
	return nil
}

// taken turns the violation of a unique value into Exists with a name.
func (t *tx) taken(err error, what, ref string) error {
	if err != nil && t.w.s.classify(err).taken {
		return &credential.Error{Kind: credential.Exists, Message: what + ` "` + ref + `" exists already`, Err: err}
	}
	return err
}

// any reports whether a query has a row.
func (t *tx) any(query string, args ...any) (found bool, err error) {
	err = t.query(func(scan) error { found = true; return nil }, query, args...)
	return found, err
}

// Principals.

func (t *tx) createPrincipal(p credential.Principal) error {
	p.Version = 1
	if err := t.insert("principals ("+principalColumns+")", 11, principalArgs(&p)); err != nil {
		return t.taken(err, string(p.Kind), p.Name)
	}
	if t.born == nil {
		t.born = map[string]bool{}
	}
	t.born[p.ID] = true
	return nil
}

func (t *tx) updatePrincipal(p credential.Principal) error {
	return t.one("principal", p.Name, `UPDATE principals SET description = $3, roles = $4, attrs = $5, disabled = $6, version = version + 1
		WHERE id = $1 AND version = $2 AND deleted_at = 0`,
		p.ID, p.Version, p.Description, encode(p.Roles), encodeMap(p.Attrs), number(p.Disabled))
}

func (t *tx) deletePrincipal(op credential.DeletePrincipal) error {
	err := t.one("principal", op.ID, "UPDATE principals SET deleted_at = $3, version = version + 1 WHERE id = $1 AND version = $2 AND deleted_at = 0",
		op.ID, op.Version, micros(op.At))
	if err != nil {
		return err
	}
	delete(t.born, op.ID)
	err = t.query(func(row scan) error {
		e := ending{at: micros(op.At)}
		err := row(&e.id)
		t.ended = append(t.ended, e)
		return err
	}, `UPDATE credentials SET state = 'deleted', ended_at = $2, end_reason = $3, version = version + 1
		WHERE principal = $1 AND state = 'active' RETURNING id`, op.ID, micros(op.At), op.Reason)
	if err != nil {
		return err
	}
	_, err = t.exec("UPDATE credentials SET state = 'deleted', version = version + 1 WHERE principal = $1 AND state = 'revoked'", op.ID)
	return err
}

func (t *tx) expect(op credential.Expect) error {
	ok, err := t.any("SELECT 1 FROM principals WHERE id = $1 AND version = $2 AND deleted_at = 0"+t.w.s.dialect.share(), op.Principal, op.Version)
	if err == nil && !ok {
		err = credential.Errorf(credential.Conflict, "principal %q was changed or deleted meanwhile: read it again", op.Principal)
	}
	return err
}

// Policy.

func (t *tx) putScope(s credential.Scope) error {
	if s.Version != 0 {
		return t.one("scope", s.Name, "UPDATE scopes SET description = $4, rules = $5, built_in = $6, version = version + 1 WHERE org = $1 AND name = $2 AND version = $3",
			s.Org, s.Name, s.Version, s.Description, encode(s.Rules), number(s.BuiltIn))
	}
	_, err := t.exec("INSERT INTO scopes (org, name, description, rules, built_in, version) VALUES ($1, $2, $3, $4, $5, 1)",
		s.Org, s.Name, s.Description, encode(s.Rules), number(s.BuiltIn))
	return t.taken(err, "scope", s.Name)
}

func (t *tx) deleteScope(op credential.DeleteScope) error {
	has := t.w.s.dialect.has
	used, err := t.any("SELECT 1 FROM roles WHERE org = $1 AND "+has("scopes", "$2")+" LIMIT 1", op.Org, op.Name)
	if err != nil {
		return err
	}
	if used {
		return credential.Errorf(credential.Conflict, "scope %q is named by a role: change the role first", op.Name)
	}
	used, err = t.any("SELECT 1 FROM credentials WHERE org = $1 AND state = 'active' AND scopes <> '[]' AND "+has("scopes", "$2")+" LIMIT 1", op.Org, op.Name)
	if err != nil {
		return err
	}
	if used {
		return credential.Errorf(credential.Conflict, "scope %q is named by a credential that is not ended: change or revoke it first", op.Name)
	}
	return t.one("scope", op.Name, "DELETE FROM scopes WHERE org = $1 AND name = $2 AND version = $3", op.Org, op.Name, op.Version)
}

func (t *tx) putRole(r credential.Role) error {
	if r.Version != 0 {
		return t.one("role", r.Name, "UPDATE roles SET description = $4, scopes = $5, built_in = $6, version = version + 1 WHERE org = $1 AND name = $2 AND version = $3",
			r.Org, r.Name, r.Version, r.Description, encode(r.Scopes), number(r.BuiltIn))
	}
	_, err := t.exec("INSERT INTO roles (org, name, description, scopes, built_in, version) VALUES ($1, $2, $3, $4, $5, 1)",
		r.Org, r.Name, r.Description, encode(r.Scopes), number(r.BuiltIn))
	return t.taken(err, "role", r.Name)
}

func (t *tx) deleteRole(op credential.DeleteRole) error {
	used, err := t.any("SELECT 1 FROM principals WHERE org = $1 AND deleted_at = 0 AND roles <> '[]' AND "+t.w.s.dialect.has("roles", "$2")+" LIMIT 1", op.Org, op.Name)
	if err != nil {
		return err
	}
	if used {
		return credential.Errorf(credential.Conflict, "role %q is held by a principal: take it away first", op.Name)
	}
	return t.one("role", op.Name, "DELETE FROM roles WHERE org = $1 AND name = $2 AND version = $3", op.Org, op.Name, op.Version)
}

func (t *tx) putRoute(r credential.Route) error {
	if r.Version != 0 {
		return t.one("route", r.Prefix, "UPDATE routes SET upstream = $3, version = version + 1 WHERE prefix = $1 AND version = $2", r.Prefix, r.Version, r.Upstream)
	}
	_, err := t.exec("INSERT INTO routes (prefix, upstream, created_at, version) VALUES ($1, $2, $3, 1)", r.Prefix, r.Upstream, micros(r.CreatedAt))
	return t.taken(err, "route", r.Prefix)
}

// Keys, serial numbers, answers.

func (t *tx) putKey(k credential.Key) error {
	if len(k.Sealed) == 0 {
		return credential.Errorf(credential.Internal, "key %q has no sealed part", k.ID)
	}
	_, err := t.exec(`INSERT INTO keys (id, purpose, alg, wrapper, sealed, public, created_at, retired_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (id) DO UPDATE SET purpose = excluded.purpose, alg = excluded.alg, wrapper = excluded.wrapper, sealed = excluded.sealed,
		public = excluded.public, created_at = excluded.created_at, retired_at = excluded.retired_at`,
		k.ID, k.Purpose, k.Alg, k.Wrapper, k.Sealed, blob(k.Public), micros(k.CreatedAt), micros(k.RetiredAt))
	return err
}

func (t *tx) reserveSerial(s credential.Serial) error {
	_, err := t.exec("INSERT INTO serials (serial, made_for, reserved_at, credential, settled_at) VALUES ($1, $2, $3, '', 0)",
		s.Serial, s.For, micros(s.ReservedAt))
	return t.taken(err, "serial number", s.Serial)
}

func (t *tx) remember(r credential.Remember) error {
	if _, err := t.exec("DELETE FROM replies WHERE name = $1 AND expires_at <= $2", r.Key, micros(t.now)); err != nil {
		return err
	}
	_, err := t.exec("INSERT INTO replies (name, request, sealed, expires_at) VALUES ($1, $2, $3, $4)", r.Key, blob(r.Request), blob(r.Sealed), micros(r.Until))
	return t.taken(err, "an answer for the idempotency key", r.Key)
}
