package authority

import (
	"context"
	"maps"
	"slices"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// NameBootstrap is the service principal that the administrator's first token is of.
const NameBootstrap = "bootstrap"

// reservedName reports whether a name means something in the audit log, so that no principal may be called that.
func reservedName(name string) bool {
	return name == NameBootstrap || name == "local" || name == "system"
}

// CreatePrincipal makes a user, a service or a device. The first user ends the
// credentials of the principal "bootstrap". Errors: Invalid, Exists, NoRight.
func (a *Authority) CreatePrincipal(ctx context.Context, c Caller, n NewPrincipal) (credential.Principal, error) {
	if err := a.Authorize(c, "principals:create", "/principals/"+n.Name); err != nil {
		return credential.Principal{}, err
	}
	key := n.Idempotency
	n.Idempotency = ""
	m, err := newMemo(c, "CreatePrincipal", key, n)
	if err != nil {
		return credential.Principal{}, err
	}
	r, err := a.once(ctx, m, func() (r reply, err error) {
		if n.Kind != credential.User {
			return a.createPrincipal(ctx, c, n, m)
		}
		err = a.beforeAnyUser(ctx, c.Org, func(ctx context.Context) error {
			r, err = a.createPrincipal(ctx, c, n, m)
			return err
		})
		return r, err
	})
	if err != nil {
		return credential.Principal{}, err
	}
	return *r.Principal, nil
}

func (a *Authority) createPrincipal(ctx context.Context, c Caller, n NewPrincipal, m *memo) (reply, error) {
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return reply{}, err
	}
	if err := n.check(b); err != nil {
		return reply{}, err
	}
	if err := mayGrant(c, "the principal", granted(nil, b.ofRoles(n.Roles))); err != nil {
		return reply{}, err
	}
	if err := a.nameIsFree(ctx, c.Org, n.Name); err != nil {
		return reply{}, err
	}
	ch := a.begin(c)
	p, err := newPrincipal(ch, n)
	if err != nil {
		return reply{}, err
	}
	if n.Kind == credential.User {
		if err := a.endBootstrap(ctx, ch); err != nil {
			return reply{}, err
		}
	}
	r := reply{Principal: &p}
	if err := a.remember(ch, m, r); err != nil {
		return reply{}, err
	}
	return r, a.commit(ctx, ch)
}

// nameIsFree returns Exists if a living principal has the name.
func (a *Authority) nameIsFree(ctx context.Context, org, name string) error {
	_, err := a.store.Principal(ctx, org, name)
	switch {
	case credential.IsNotFound(err):
		return nil
	case err != nil:
		return err
	}
	return credential.Errorf(credential.Exists, "there is a principal %s already", quote(name))
}

func (n *NewPrincipal) check(b *book) error {
	var p credential.Problems
	if !n.Kind.Valid() {
		p.Add("kind", "is none of user, service, device")
	}
	checkNewName(&p, "name", n.Name)
	checkText(&p, "description", n.Description, maxDescriptionLen)
	checkPolicyNames(&p, "roles", n.Roles, maxRoles, b.hasRole)
	checkAttrs(&p, n.Attrs)
	return p.Err()
}

func newPrincipalID() (string, error) {
	id, err := secret.NewID(11)
	return "P" + id, err
}

// newPrincipal adds to the change that a principal is made.
func newPrincipal(ch *change, n NewPrincipal) (credential.Principal, error) {
	id, err := newPrincipalID()
	if err != nil {
		return credential.Principal{}, err
	}
	p := credential.Principal{
		ID: id, Org: ch.caller.Org, Kind: n.Kind, Name: n.Name, Description: n.Description,
		Roles: slices.Clone(n.Roles), Attrs: maps.Clone(n.Attrs), CreatedAt: ch.at, Version: 1,
	}
	d := details{"kind": string(p.Kind)}
	d.put("description", p.Description)
	d.put("roles", names(p.Roles))
	d.put("attrs", pairs(p.Attrs))
	ch.do(credential.CreatePrincipal{Principal: p}, "principal.create", aboutPrincipal(&p), d)
	return p, nil
}

// UpdatePrincipal changes the fields that are given. One that changes nothing
// leaves no event. Errors: Invalid, NotFound, Conflict if Version is given and old, NoRight.
func (a *Authority) UpdatePrincipal(ctx context.Context, c Caller, ref string, patch PrincipalPatch) (credential.Principal, error) {
	return retry(patch.Version, func() (credential.Principal, error) {
		p, err := a.livingPrincipal(ctx, c, "update", ref)
		if err != nil {
			return p, err
		}
		return a.updatePrincipal(ctx, c, p, patch)
	})
}

func (a *Authority) updatePrincipal(ctx context.Context, c Caller, old credential.Principal, patch PrincipalPatch) (credential.Principal, error) {
	if err := checkVersion("principal", patch.Version, old.Version); err != nil {
		return old, err
	}
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return old, err
	}
	p := patch.apply(old)
	if err := patch.check(&p, b); err != nil {
		return old, err
	}
	gain := granted(b.ofRoles(old.Roles), b.ofRoles(p.Roles))
	if old.Disabled && !p.Disabled || b.speaksOf(old.Attrs, p.Attrs) {
		gain = granted(nil, b.ofRoles(p.Roles))
	}
	if err := mayGrant(c, "the principal", gain); err != nil {
		return old, err
	}
	d := details{}
	d.set("description", old.Description, p.Description)
	d.set("roles", names(old.Roles), names(p.Roles))
	d.set("attrs", pairs(old.Attrs), pairs(p.Attrs))
	d.set("disabled", yesNo(old.Disabled), yesNo(p.Disabled))
	if len(d) == 0 {
		return old, nil
	}
	ch := a.begin(c)
	if err := a.keepOwner(ctx, ch, b, &old, &p); err != nil {
		return old, err
	}
	ch.do(credential.UpdatePrincipal{Principal: p}, "principal.update", aboutPrincipal(&p), d)
	if p.Disabled && !old.Disabled { // who is enabled again logs in again
		if err := a.endSessionsOf(ctx, ch, &p, "the principal was disabled"); err != nil {
			return old, err
		}
	}
	if err := a.commit(ctx, ch); err != nil {
		return old, err
	}
	p.Version++
	return p, nil
}

func (patch *PrincipalPatch) apply(p credential.Principal) credential.Principal {
	if patch.Description != nil {
		p.Description = *patch.Description
	}
	if patch.Roles != nil {
		p.Roles = slices.Clone(*patch.Roles)
	}
	if patch.Attrs != nil {
		p.Attrs = maps.Clone(*patch.Attrs)
	}
	if patch.Disabled != nil {
		p.Disabled = *patch.Disabled
	}
	return p
}

// check looks only at what the patch gives: what was there before may stay.
func (patch *PrincipalPatch) check(p *credential.Principal, b *book) error {
	var bad credential.Problems
	if patch.Description != nil {
		checkText(&bad, "description", p.Description, maxDescriptionLen)
	}
	if patch.Roles != nil {
		checkPolicyNames(&bad, "roles", p.Roles, maxRoles, b.hasRole)
	}
	if patch.Attrs != nil {
		checkAttrs(&bad, p.Attrs)
	}
	return bad.Err()
}

// DeletePrincipal ends a principal and all its credentials, for good.
func (a *Authority) DeletePrincipal(ctx context.Context, c Caller, ref, reason string) error {
	_, err := retry(0, func() (none, error) {
		p, err := a.livingPrincipal(ctx, c, "delete", ref)
		if err != nil {
			return none{}, err
		}
		var bad credential.Problems
		checkReason(&bad, reason)
		if err := bad.Err(); err != nil {
			return none{}, err
		}
		return none{}, a.deletePrincipal(ctx, c, p, reason)
	})
	return err
}

// deletePrincipal leaves an event for each credential that ends with it.
func (a *Authority) deletePrincipal(ctx context.Context, c Caller, p credential.Principal, reason string) error {
	b, err := a.book(ctx, p.Org)
	if err != nil {
		return err
	}
	ch := a.begin(c)
	if err := a.keepOwner(ctx, ch, b, &p, nil); err != nil {
		return err
	}
	if err := a.forgetName(ctx, ch, b, &p); err != nil {
		return err
	}
	gone := credential.DeletePrincipal{ID: p.ID, Version: p.Version, At: ch.at, Reason: reason}
	ch.because(nil, "principal.delete", aboutPrincipal(&p), details{"kind": string(p.Kind)}, reason)
	err = a.eachCredential(ctx, credential.CredentialFilter{Org: p.Org, Principal: p.ID}, func(l credential.Listed) error {
		d := details{"principal": "deleted"}
		d.set("state", string(l.State), string(credential.StateDeleted))
		ch.because(nil, "credential.delete", aboutCredential(l.ID, p.Name), d, reason)
		gone.Credentials = append(gone.Credentials, l.ID)
		if l.Avatar != "" {
			ch.also(credential.PutAvatar{Credential: l.ID})
		}
		return nil
	})
	if err != nil {
		return err
	}
	ch.also(gone)
	return a.commit(ctx, ch)
}

// Principal finds one by name or ID; by ID deleted ones too.
func (a *Authority) Principal(ctx context.Context, c Caller, ref string) (credential.Principal, error) {
	return a.principal(ctx, c, "read", ref)
}

// Principals lists principals by name. The second result is the cursor of the next page.
func (a *Authority) Principals(ctx context.Context, c Caller, f credential.PrincipalFilter) ([]credential.Principal, string, error) {
	if err := a.Authorize(c, "principals:read", "/principals/*"); err != nil {
		return nil, "", err
	}
	f.Org, f.Limit = c.Org, clampLimit(f.Limit)
	return a.store.Principals(ctx, f)
}

// principal finds one and asks for a right on it.
func (a *Authority) principal(ctx context.Context, c Caller, verb, ref string) (credential.Principal, error) {
	hidden := notFound("principal", ref)
	if !plausibleRef(ref) {
		return credential.Principal{}, hidden
	}
	p, err := a.store.Principal(ctx, c.Org, ref)
	if credential.IsNotFound(err) {
		return credential.Principal{}, hidden
	}
	if err != nil {
		return credential.Principal{}, err
	}
	if err := a.permit(c, "principals", verb, p.Name, hidden); err != nil {
		return credential.Principal{}, err
	}
	return p, nil
}

func (a *Authority) livingPrincipal(ctx context.Context, c Caller, verb, ref string) (credential.Principal, error) {
	p, err := a.principal(ctx, c, verb, ref)
	if err == nil && !p.DeletedAt.IsZero() {
		return p, notFound("principal", ref)
	}
	return p, err
}

// plausibleRef keeps what can be neither a name nor an ID from the store.
func plausibleRef(ref string) bool {
	return credential.CheckName(ref) == "" || len(ref) == 12 && ref[0] == 'P'
}

func checkVersion(what string, asked, is int64) error {
	if asked == 0 || asked == is {
		return nil
	}
	return credential.Errorf(credential.Conflict, "the %s was changed meanwhile: it is at version %d, not %d; read it again", what, is, asked)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// eachCredential calls fn for each credential that a filter selects, page by page.
func (a *Authority) eachCredential(ctx context.Context, f credential.CredentialFilter, fn func(credential.Listed) error) error {
	f.Limit, f.Now, f.Everything = maxLimit, a.now(), true
	for {
		page, next, err := a.store.Credentials(ctx, f)
		if err != nil {
			return err
		}
		for _, l := range page {
			if err := fn(l); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		f.Cursor = next
	}
}
