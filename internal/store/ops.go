package store

import (
	"cardea/internal/credential"
)

// change applies operations in order.
func (t *tx) change(ops []credential.Op) error {
	for len(ops) > 0 {
		n, err := t.next(ops)
		if err != nil {
			return err
		}
		ops = ops[n:]
	}
	return nil
}

// next applies the first operation, together with those like it that follow if that is cheaper, and returns how many.
func (t *tx) next(ops []credential.Op) (int, error) {
	switch ops[0].(type) {
	case credential.PutScope, credential.DeleteScope, credential.PutRole, credential.DeleteRole, credential.PutRoute, credential.DeleteRoute,
		credential.PutAuthenticator, credential.DeleteAuthenticator, credential.PutOrg, credential.DeleteOrg, credential.PutProject, credential.DeleteProject,
		credential.PutKindPolicy, credential.DeleteKindPolicy, credential.PutTokenFormat, credential.DeleteTokenFormat,
		credential.PutAPI, credential.DeleteAPI:
		t.touchPolicy()
	case credential.CreateCredential:
		run := runOf[credential.CreateCredential](ops)
		return len(run), t.createCredentials(run)
	case credential.Expect:
		run := runOf[credential.Expect](ops)
		return len(run), t.expect(run)
	}
	return 1, t.op(ops[0])
}

// runOf returns the operations of a type that ops begins with.
func runOf[T credential.Op](ops []credential.Op) []T {
	var run []T
	for _, op := range ops {
		o, ok := op.(T)
		if !ok {
			break
		}
		run = append(run, o)
	}
	return run
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
	case credential.SetQuarantine:
		return t.setQuarantine(op)
	case credential.EndCredential:
		return t.endCredential(op)
	case credential.Approve:
		return t.one("credential", op.ID, "UPDATE credentials SET state = 'active', version = version + 1 WHERE id = $1 AND version = $2 AND state = 'pending'", op.ID, op.Version)
	case credential.SetPrincipal:
		return t.setPrincipal(op)
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
	case credential.PutAuthenticator:
		return t.putAuthenticator(op.Authenticator)
	case credential.DeleteAuthenticator:
		return t.one("authenticator", op.ID, "DELETE FROM authenticators WHERE id = $1 AND version = $2", op.ID, op.Version)
	case credential.PutOrg, credential.DeleteOrg, credential.PutProject, credential.DeleteProject, credential.PutKindPolicy, credential.DeleteKindPolicy,
		credential.PutTokenFormat, credential.DeleteTokenFormat:
		return t.orgOp(op)
	case credential.PutAPI:
		return t.putAPI(op.API)
	case credential.DeleteAPI:
		return t.one("API", op.Name, "DELETE FROM apis WHERE org = $1 AND name = $2 AND version = $3", op.Org, op.Name, op.Version)
	case credential.DenyToken:
		return t.denyToken(op.DeniedToken)
	case credential.PutWebhook:
		return t.putWebhook(op.Webhook)
	case credential.DeleteWebhook:
		return t.deleteWebhook(op)
	case credential.PutAvatar:
		return t.putAvatar(op)
	case credential.PutImport:
		return t.putImport(op)
	case credential.PutKey:
		return t.putKey(op.Key)
	case credential.PutSetting:
		return t.putSetting(op)
	case credential.ReserveSerial:
		return t.reserveSerial(op.Serial)
	case credential.SettleSerial:
		return t.one("serial number", op.Serial, "UPDATE serials SET credential = $2, settled_at = $3 WHERE serial = $1 AND settled_at = 0",
			op.Serial, op.Credential, micros(op.At))
	case credential.Remember:
		return t.remember(op)
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
	if err := t.within(p.Org); err != nil {
		return err
	}
	if err := t.named("roles", p.Org, p.Roles); err != nil {
		return err
	}
	p.Version = 1
	if err := t.insert("principals ("+principalColumns+")", 11, principalArgs(&p)); err != nil {
		return t.taken(err, string(p.Kind), p.Name)
	}
	if p.DeletedAt.IsZero() {
		t.held.versions[p.ID] = p.Version
	}
	return nil
}

func (t *tx) updatePrincipal(p credential.Principal) error {
	if err := t.named("roles", p.Org, p.Roles); err != nil {
		return err
	}
	delete(t.held.versions, p.ID)
	return t.one("principal", p.Name, `UPDATE principals SET description = $3, roles = $4, attrs = $5, disabled = $6, version = version + 1
		WHERE id = $1 AND version = $2 AND deleted_at = 0 AND org = $7`,
		p.ID, p.Version, p.Description, encode(p.Roles), encodeMap(p.Attrs), number(p.Disabled), p.Org)
}

// deletePrincipal first changes the principal: whoever makes a credential for it has done so, or waits and is refused.
func (t *tx) deletePrincipal(op credential.DeletePrincipal) error {
	delete(t.held.versions, op.ID)
	err := t.one("principal", op.ID, "UPDATE principals SET deleted_at = $3, version = version + 1 WHERE id = $1 AND version = $2 AND deleted_at = 0",
		op.ID, op.Version, micros(op.At))
	if err != nil {
		return err
	}
	known := make(map[string]bool, len(op.Credentials))
	for _, id := range op.Credentials {
		known[id] = true
	}
	var unknown string
	gone := func(id string) {
		if !known[id] {
			unknown = id
		}
	}
	err = t.query(func(row scan) error {
		e := ending{at: micros(op.At)}
		err := row(&e.id)
		t.ended = append(t.ended, e)
		gone(e.id)
		return err
	}, `UPDATE credentials SET state = 'deleted', ended_at = $2, end_reason = $3, version = version + 1
		WHERE principal = $1 AND `+notEnded+` RETURNING id`, op.ID, micros(op.At), op.Reason)
	if err != nil {
		return err
	}
	err = t.query(func(row scan) error {
		var id string
		err := row(&id)
		gone(id)
		return err
	}, "UPDATE credentials SET state = 'deleted', version = version + 1 WHERE principal = $1 AND state = 'revoked' RETURNING id", op.ID)
	if err == nil && unknown != "" {
		err = credential.Errorf(credential.Conflict, "principal %q got the credential %q meanwhile: read it again", op.ID, unknown)
	}
	if err != nil {
		return err
	}
	return t.notMoved(op)
}

// notMoved refuses the deletion of a principal with a credential that somebody else has got meanwhile: the log would say
// that it was deleted, and it lives.
func (t *tx) notMoved(op credential.DeletePrincipal) error {
	var moved string
	err := t.in(op.Credentials, func(params string, ids []any) error {
		return t.query(func(row scan) error { return row(&moved) },
			"SELECT id FROM credentials WHERE id IN ("+params+") AND principal <> "+t.w.s.dialect.param(len(ids)+1)+" AND "+notEnded, append(ids, op.ID)...)
	})
	if err == nil && moved != "" {
		err = credential.Errorf(credential.Conflict, "the credential %q is not of principal %q any more: read it again", moved, op.ID)
	}
	return err
}

func (t *tx) expect(run []credential.Expect) error {
	ids := make([]string, len(run))
	for i := range run {
		ids[i] = run[i].Principal
	}
	if err := t.holdPrincipals(ids); err != nil {
		return err
	}
	for _, op := range run {
		if version, lives := t.held.versions[op.Principal]; !lives || version != op.Version {
			return credential.Errorf(credential.Conflict, "principal %q was changed or deleted meanwhile: read it again", op.Principal)
		}
	}
	return nil
}

// Policy.

func (t *tx) putScope(s credential.Scope) error {
	if s.Version != 0 {
		return t.one("scope", s.Name, "UPDATE scopes SET description = $4, rules = $5, built_in = $6, version = version + 1 WHERE org = $1 AND name = $2 AND version = $3",
			s.Org, s.Name, s.Version, s.Description, encode(s.Rules), number(s.BuiltIn))
	}
	if err := t.within(s.Org); err != nil {
		return err
	}
	_, err := t.exec("INSERT INTO scopes (org, name, description, rules, built_in, version) VALUES ($1, $2, $3, $4, $5, 1)",
		s.Org, s.Name, s.Description, encode(s.Rules), number(s.BuiltIn))
	return t.taken(err, "scope", s.Name)
}

// removing locks the row of a scope, a role, a project or a format before anybody looks for its users: who wants to
// name it has done so and is seen, or waits and finds it gone.
func (t *tx) removing(table, org, ref string, version int64) error {
	delete(t.held.names, name{table, org, ref})
	ok, err := t.any("SELECT 1 FROM "+table+" WHERE org = $1 AND name = $2 AND version = $3"+t.w.s.dialect.update(), org, ref, version)
	if err == nil && !ok {
		err = credential.Errorf(credential.Conflict, "the %s %q was changed or removed meanwhile: read it again", nouns[table], ref)
	}
	return err
}

func (t *tx) deleteScope(op credential.DeleteScope) error {
	if err := t.removing("scopes", op.Org, op.Name, op.Version); err != nil {
		return err
	}
	has := t.w.s.dialect.has
	used, err := t.any("SELECT 1 FROM roles WHERE org = $1 AND "+has("scopes", "$2")+" LIMIT 1", op.Org, op.Name)
	if err != nil {
		return err
	}
	if used {
		return credential.Errorf(credential.Conflict, "scope %q is named by a role: change the role first", op.Name)
	}
	used, err = t.any("SELECT 1 FROM credentials WHERE org = $1 AND "+notEnded+" AND scopes <> '[]' AND "+has("scopes", "$2")+" LIMIT 1", op.Org, op.Name)
	if err != nil {
		return err
	}
	if used {
		return credential.Errorf(credential.Conflict, "scope %q is named by a credential that is not ended: change or revoke it first", op.Name)
	}
	if used, err = t.any("SELECT 1 FROM authenticators WHERE org = $1 AND scopes <> '[]' AND "+has("scopes", "$2")+" LIMIT 1", op.Org, op.Name); err != nil {
		return err
	}
	if used {
		return credential.Errorf(credential.Conflict, "scope %q is named by an authenticator: change that first", op.Name)
	}
	if used, err = t.any("SELECT 1 FROM apis WHERE org = $1 AND "+has("scopes", "$2")+" LIMIT 1", op.Org, op.Name); err != nil {
		return err
	}
	if used {
		return credential.Errorf(credential.Conflict, "scope %q is named by an API: change that first", op.Name)
	}
	return t.one("scope", op.Name, "DELETE FROM scopes WHERE org = $1 AND name = $2 AND version = $3", op.Org, op.Name, op.Version)
}

func (t *tx) putRole(r credential.Role) error {
	if err := t.within(r.Org); err != nil {
		return err
	}
	if err := t.named("scopes", r.Org, r.Scopes); err != nil {
		return err
	}
	if r.Version != 0 {
		return t.one("role", r.Name, "UPDATE roles SET description = $4, scopes = $5, built_in = $6, version = version + 1 WHERE org = $1 AND name = $2 AND version = $3",
			r.Org, r.Name, r.Version, r.Description, encode(r.Scopes), number(r.BuiltIn))
	}
	_, err := t.exec("INSERT INTO roles (org, name, description, scopes, built_in, version) VALUES ($1, $2, $3, $4, $5, 1)",
		r.Org, r.Name, r.Description, encode(r.Scopes), number(r.BuiltIn))
	return t.taken(err, "role", r.Name)
}

func (t *tx) deleteRole(op credential.DeleteRole) error {
	if err := t.removing("roles", op.Org, op.Name, op.Version); err != nil {
		return err
	}
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
		return t.one("route", r.Prefix, "UPDATE routes SET upstream = $3, query_key = $4, version = version + 1 WHERE prefix = $1 AND version = $2",
			r.Prefix, r.Version, r.Upstream, number(r.QueryKey))
	}
	_, err := t.exec("INSERT INTO routes (prefix, upstream, created_at, version, query_key) VALUES ($1, $2, $3, 1, $4)",
		r.Prefix, r.Upstream, micros(r.CreatedAt), number(r.QueryKey))
	return t.taken(err, "route", r.Prefix)
}

// Keys, settings, serial numbers, answers.

func (t *tx) putSetting(s credential.PutSetting) error {
	if s.Value == "" {
		_, err := t.exec("DELETE FROM settings WHERE name = $1", s.Name)
		return err
	}
	_, err := t.exec("INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", s.Name, s.Value)
	return err
}

func (t *tx) putKey(k credential.Key) error {
	if len(k.Sealed) == 0 {
		return credential.Errorf(credential.Internal, "key %q has no sealed part", k.ID)
	}
	_, err := t.exec(`INSERT INTO keys (id, purpose, alg, wrapper, sealed, public, created_at, retired_at, active_at, revoked_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (id) DO UPDATE SET purpose = excluded.purpose, alg = excluded.alg, wrapper = excluded.wrapper, sealed = excluded.sealed,
		public = excluded.public, created_at = excluded.created_at, retired_at = excluded.retired_at,
		active_at = excluded.active_at, revoked_at = excluded.revoked_at`,
		k.ID, k.Purpose, k.Alg, k.Wrapper, k.Sealed, blob(k.Public), micros(k.CreatedAt), micros(k.RetiredAt), micros(k.ActiveAt), micros(k.RevokedAt))
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
