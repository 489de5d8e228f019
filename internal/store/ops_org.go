package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"net/netip"
	"time"

	"cardea/internal/credential"
)

// orgOp applies what is about an organisation as a whole.
func (t *tx) orgOp(op credential.Op) error {
	switch op := op.(type) {
	case credential.PutOrg:
		return t.putOrg(op.Org)
	case credential.DeleteOrg:
		return t.deleteOrg(op)
	case credential.PutProject:
		return t.putProject(op.Project)
	case credential.DeleteProject:
		return t.deleteProject(op)
	case credential.PutKindPolicy:
		return t.putKindPolicy(op.KindPolicy)
	case credential.DeleteKindPolicy:
		return t.one("policy", string(op.Kind), "DELETE FROM kind_policies WHERE org = $1 AND kind = $2 AND version = $3", op.Org, string(op.Kind), op.Version)
	case credential.PutTokenFormat:
		return t.putTokenFormat(op.TokenFormat)
	case credential.DeleteTokenFormat:
		return t.deleteTokenFormat(op)
	}
	return credential.Errorf(credential.Internal, "unknown operation %T", op)
}

func (t *tx) putOrg(o credential.Org) error {
	if o.Version != 0 {
		return t.one("organisation", o.Name, "UPDATE orgs SET description = $3, resources = $4, disabled = $5, version = version + 1 WHERE name = $1 AND version = $2",
			o.Name, o.Version, o.Description, encode(o.Resources), number(o.Disabled))
	}
	_, err := t.exec("INSERT INTO orgs (name, description, resources, disabled, created_at, version) VALUES ($1, $2, $3, $4, $5, 1)",
		o.Name, o.Description, encode(o.Resources), number(o.Disabled), micros(o.CreatedAt))
	return t.taken(err, "organisation", o.Name)
}

// deleteOrg leaves what is past: ended credentials and their principals stay for the audit log. It first locks the
// organisation: who wants to make something in it has done so and is seen, or waits and finds it gone.
func (t *tx) deleteOrg(op credential.DeleteOrg) error {
	t.held.forget()
	ok, err := t.any("SELECT 1 FROM orgs WHERE name = $1 AND version = $2"+t.w.s.dialect.update(), op.Name, op.Version)
	if err == nil && !ok {
		err = credential.Errorf(credential.Conflict, "organisation %q was changed or ended meanwhile: read it again", op.Name)
	}
	if err != nil {
		return err
	}
	used, err := t.any("SELECT 1 FROM principals WHERE org = $1 AND deleted_at = 0 LIMIT 1", op.Name)
	if err != nil {
		return err
	}
	if used {
		return credential.Errorf(credential.Conflict, "organisation %q has principals: delete them first", op.Name)
	}
	if err := t.one("organisation", op.Name, "DELETE FROM orgs WHERE name = $1 AND version = $2", op.Name, op.Version); err != nil {
		return err
	}
	for _, table := range []string{"roles", "scopes", "projects", "kind_policies", "token_formats", "apis", "authenticators", "imports"} {
		if _, err := t.exec("DELETE FROM "+table+" WHERE org = $1", op.Name); err != nil {
			return err
		}
	}
	var hooks []string
	err = t.query(func(row scan) error {
		var id string
		err := row(&id)
		hooks = append(hooks, id)
		return err
	}, "DELETE FROM webhooks WHERE org = $1 RETURNING id", op.Name)
	if err != nil {
		return err
	}
	return t.in(hooks, func(params string, ids []any) error {
		_, err := t.exec("DELETE FROM deliveries WHERE webhook IN ("+params+")", ids...)
		return err
	})
}

func (t *tx) putProject(p credential.Project) error {
	if p.Version != 0 {
		return t.one("project", p.Name, "UPDATE projects SET description = $4, resources = $5, version = version + 1 WHERE org = $1 AND name = $2 AND version = $3",
			p.Org, p.Name, p.Version, p.Description, encode(p.Resources))
	}
	if err := t.within(p.Org); err != nil {
		return err
	}
	_, err := t.exec("INSERT INTO projects (org, name, description, resources, created_at, version) VALUES ($1, $2, $3, $4, $5, 1)",
		p.Org, p.Name, p.Description, encode(p.Resources), micros(p.CreatedAt))
	return t.taken(err, "project", p.Name)
}

// deleteProject refuses while somebody is held to it: without it they could do more.
func (t *tx) deleteProject(op credential.DeleteProject) error {
	if err := t.removing("projects", op.Org, op.Name, op.Version); err != nil {
		return err
	}
	used, err := t.any("SELECT 1 FROM credentials WHERE org = $1 AND project = $2 AND project <> '' AND "+notEnded+" LIMIT 1", op.Org, op.Name)
	if err != nil {
		return err
	}
	if used {
		return credential.Errorf(credential.Conflict, "project %q is named by a credential that is not ended: change or revoke it first", op.Name)
	}
	return t.one("project", op.Name, "DELETE FROM projects WHERE org = $1 AND name = $2 AND version = $3", op.Org, op.Name, op.Version)
}

// kindRules is a [credential.KindPolicy] as a column keeps it; lengths of time are in seconds.
type kindRules struct {
	DefaultLifetime int64          `json:"default_lifetime"`
	MaxLifetime     int64          `json:"max_lifetime"`
	RequireExpiry   bool           `json:"require_expiry"`
	RequireNetworks bool           `json:"require_networks"`
	Networks        []netip.Prefix `json:"networks"`
	NamePattern     string         `json:"name_pattern"`
	Approval        bool           `json:"approval"`
	MaxNumber       int            `json:"max_number"`
	RotationAge     int64          `json:"rotation_age"`
	UnusedAfter     int64          `json:"unused_after"`
	UnusedAction    string         `json:"unused_action"`
	Notices         []int64        `json:"notices"`
	LeakAction      string         `json:"leak_action"`
	PurgeAfter      int64          `json:"purge_after"`
	MaxSessions     int            `json:"max_sessions"`
	SessionLife     int64          `json:"session_life"`
	SessionIdle     int64          `json:"session_idle"`
}

func seconds(d time.Duration) int64     { return int64(d / time.Second) }
func fromSeconds(n int64) time.Duration { return time.Duration(n) * time.Second }

func encodeKindPolicy(p *credential.KindPolicy) string {
	r := kindRules{
		DefaultLifetime: seconds(p.DefaultLifetime), MaxLifetime: seconds(p.MaxLifetime), RequireExpiry: p.RequireExpiry,
		RequireNetworks: p.RequireNetworks, Networks: p.Networks, NamePattern: p.NamePattern, Approval: p.Approval, MaxNumber: p.MaxNumber,
		RotationAge: seconds(p.RotationAge), UnusedAfter: seconds(p.UnusedAfter), UnusedAction: p.UnusedAction, LeakAction: p.LeakAction,
		PurgeAfter: seconds(p.PurgeAfter), MaxSessions: p.MaxSessions, SessionLife: seconds(p.SessionLife), SessionIdle: seconds(p.SessionIdle),
	}
	for _, n := range p.Notices {
		r.Notices = append(r.Notices, seconds(n))
	}
	b, err := json.Marshal(r)
	if err != nil {
		panic("store: " + err.Error())
	}
	return string(b)
}

// kindColumn scans what encodeKindPolicy has written.
type kindColumn struct{ to *credential.KindPolicy }

func (k kindColumn) Scan(v any) error {
	var r kindRules
	if err := unmarshal(v, "{}", &r); err != nil {
		return err
	}
	*k.to = credential.KindPolicy{
		Org: k.to.Org, Kind: k.to.Kind, Version: k.to.Version,
		DefaultLifetime: fromSeconds(r.DefaultLifetime), MaxLifetime: fromSeconds(r.MaxLifetime), RequireExpiry: r.RequireExpiry,
		RequireNetworks: r.RequireNetworks, Networks: r.Networks, NamePattern: r.NamePattern, Approval: r.Approval, MaxNumber: r.MaxNumber,
		RotationAge: fromSeconds(r.RotationAge), UnusedAfter: fromSeconds(r.UnusedAfter), UnusedAction: r.UnusedAction, LeakAction: r.LeakAction,
		PurgeAfter: fromSeconds(r.PurgeAfter), MaxSessions: r.MaxSessions, SessionLife: fromSeconds(r.SessionLife), SessionIdle: fromSeconds(r.SessionIdle),
	}
	for _, n := range r.Notices {
		k.to.Notices = append(k.to.Notices, fromSeconds(n))
	}
	return nil
}

func (t *tx) putKindPolicy(p credential.KindPolicy) error {
	if p.Version != 0 {
		return t.one("policy", string(p.Kind), "UPDATE kind_policies SET rules = $4, version = version + 1 WHERE org = $1 AND kind = $2 AND version = $3",
			p.Org, string(p.Kind), p.Version, encodeKindPolicy(&p))
	}
	if err := t.within(p.Org); err != nil {
		return err
	}
	_, err := t.exec("INSERT INTO kind_policies (org, kind, rules, version) VALUES ($1, $2, $3, 1)", p.Org, string(p.Kind), encodeKindPolicy(&p))
	return t.taken(err, "a policy for", string(p.Kind))
}

func (t *tx) putTokenFormat(f credential.TokenFormat) error {
	if f.Version != 0 {
		return t.one("format", f.Name, "UPDATE token_formats SET bits = $4, version = version + 1 WHERE org = $1 AND name = $2 AND version = $3",
			f.Org, f.Name, f.Version, f.Bits)
	}
	if err := t.within(f.Org); err != nil {
		return err
	}
	err := t.insert("token_formats (org, name, scheme, prefix, id_len, separator, bits, sealed, created_at, version)", 10,
		[]any{f.Org, f.Name, f.Scheme, f.Prefix, f.IDLen, f.Separator, f.Bits, blob(f.Sealed), micros(f.CreatedAt), int64(1)})
	return t.taken(err, "format", f.Name)
}

// deleteTokenFormat looks through all imported tokens if none of the format lives. An index for that would make every import
// slower by a fifth, and formats are hardly ever removed.
func (t *tx) deleteTokenFormat(op credential.DeleteTokenFormat) error {
	if err := t.removing("token_formats", op.Org, op.Name, op.Version); err != nil {
		return err
	}
	used, err := t.any("SELECT 1 FROM lookups l JOIN credentials c ON c.id = l.credential WHERE l.org = $1 AND l.format = $2 AND c."+notEnded+" LIMIT 1", op.Org, op.Name)
	if err != nil {
		return err
	}
	if used {
		return credential.Errorf(credential.Conflict, "format %q has credentials that are not ended: revoke them first", op.Name)
	}
	return t.one("format", op.Name, "DELETE FROM token_formats WHERE org = $1 AND name = $2 AND version = $3", op.Org, op.Name, op.Version)
}

// setPrincipal gives a credential to another principal of the organisation, whose scopes it keeps.
func (t *tx) setPrincipal(op credential.SetPrincipal) error {
	if err := t.holdPrincipals([]string{op.Principal}); err != nil {
		return err
	}
	if _, lives := t.held.versions[op.Principal]; !lives {
		return credential.Errorf(credential.Conflict, "principal %q does not exist any more", op.Principal)
	}
	return t.one("credential", op.ID, `UPDATE credentials SET principal = $3, version = version + 1 WHERE id = $1 AND version = $2 AND `+notEnded+`
		AND org = (SELECT p.org FROM principals p WHERE p.id = $3)`, op.ID, op.Version, op.Principal)
}

// readOrgs reads what is of organisations as a whole into a policy.
func readOrgs(ctx context.Context, tx *sql.Tx, p *credential.Policy) error {
	read := func(query string, each func(scan) error) error {
		rows, err := tx.QueryContext(ctx, query)
		if err != nil {
			return err
		}
		return scanAll(rows, each)
	}
	err := read("SELECT name, description, resources, disabled, created_at, version FROM orgs ORDER BY name", func(row scan) error {
		var o credential.Org
		err := row(&o.Name, &o.Description, list[string]{&o.Resources}, &o.Disabled, instant{&o.CreatedAt}, &o.Version)
		p.Orgs = append(p.Orgs, o)
		return err
	})
	if err != nil {
		return err
	}
	err = read("SELECT org, name, description, resources, created_at, version FROM projects ORDER BY org, name", func(row scan) error {
		var o credential.Project
		err := row(&o.Org, &o.Name, &o.Description, list[string]{&o.Resources}, instant{&o.CreatedAt}, &o.Version)
		p.Projects = append(p.Projects, o)
		return err
	})
	if err != nil {
		return err
	}
	err = read("SELECT org, kind, version, rules FROM kind_policies ORDER BY org, kind", func(row scan) error {
		var k credential.KindPolicy
		err := row(&k.Org, &k.Kind, &k.Version, kindColumn{&k})
		p.Kinds = append(p.Kinds, k)
		return err
	})
	if err != nil {
		return err
	}
	err = read("SELECT org, name, audience, description, scopes, token_life, alg, introspectors, created_at, version FROM apis ORDER BY org, name", func(row scan) error {
		var a credential.API
		var life int64
		err := row(&a.Org, &a.Name, &a.Audience, &a.Description, list[string]{&a.Scopes}, &life, &a.Alg, list[string]{&a.Introspectors}, instant{&a.CreatedAt}, &a.Version)
		a.TokenLife = fromSeconds(life)
		p.APIs = append(p.APIs, a)
		return err
	})
	if err != nil {
		return err
	}
	return read("SELECT org, name, scheme, prefix, id_len, separator, bits, sealed, created_at, version FROM token_formats ORDER BY org, name", func(row scan) error {
		var f credential.TokenFormat
		err := row(&f.Org, &f.Name, &f.Scheme, &f.Prefix, &f.IDLen, &f.Separator, &f.Bits, &f.Sealed, instant{&f.CreatedAt}, &f.Version)
		f.Sealed = some(f.Sealed)
		p.Formats = append(p.Formats, f)
		return err
	})
}
