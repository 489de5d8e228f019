package authority

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

// What a user sees of their own under /me, and what they may renew of it.
var ownKinds = []credential.Kind{credential.PAT, credential.AppKey, credential.SessionKey}

// Self is what a principal may know about itself.
type Self struct {
	Principal  credential.Principal
	Selectable []credential.Scope    // scopes that its own tokens may be given: all rules of them it may itself
	Tokens     credential.KindPolicy // what the organisation demands of personal access tokens
}

// Me returns what the caller's principal is. It needs no right.
func (a *Authority) Me(ctx context.Context, c Caller) (Self, error) {
	if c.Local {
		return Self{}, noSelf()
	}
	p, err := a.store.Principal(ctx, c.Org, c.Actor.Principal)
	if credential.IsNotFound(err) {
		return Self{}, noSelf()
	}
	if err != nil {
		return Self{}, err
	}
	pol, err := a.store.Policy(ctx)
	if err != nil {
		return Self{}, err
	}
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return Self{}, err
	}
	selectable, err := b.within(p.Roles)
	return Self{Principal: p, Selectable: selectable, Tokens: pol.OfKind(c.Org, credential.PAT)}, err
}

func noSelf() error {
	return credential.Errorf(credential.Conflict, "the caller is no principal of its own: log in as a user")
}

// within returns the scopes whose rules are all allowed by roles, by name.
func (b *book) within(roles []string) ([]credential.Scope, error) {
	var own []credential.Scope
	for _, role := range roles {
		for _, name := range b.roles[role].Scopes {
			own = append(own, b.scopes[name])
		}
	}
	set, err := policy.Compile(own)
	if err != nil {
		return nil, &credential.Error{Kind: credential.Internal, Err: err}
	}
	rights := policy.Rights{Principal: set}
	var in []credential.Scope
	for _, s := range b.scopes {
		has := slices.ContainsFunc(own, func(o credential.Scope) bool { return o.Name == s.Name })
		if has || len(s.Rules) > 0 && len(rights.Covers(s.Rules)) == 0 {
			in = append(in, s)
		}
	}
	slices.SortFunc(in, func(x, y credential.Scope) int { return strings.Compare(x.Name, y.Name) })
	return in, nil
}

// OwnTokens lists the caller's own tokens, application keys and sessions.
func (a *Authority) OwnTokens(ctx context.Context, c Caller, f credential.CredentialFilter) ([]credential.Listed, string, error) {
	p, err := a.ownUser(ctx, c, "read", "/me/tokens")
	if err != nil {
		return nil, "", err
	}
	f.Org, f.Principal, f.Now, f.Limit = p.Org, p.ID, a.now(), clampLimit(f.Limit)
	if f.Kind == "" {
		f.Kinds = ownKinds
	} else if !slices.Contains(ownKinds, f.Kind) {
		return nil, "", nil
	}
	return a.store.Credentials(ctx, f)
}

// OwnToken shows one of the caller's own.
func (a *Authority) OwnToken(ctx context.Context, c Caller, id string) (Detailed, error) {
	c, _, err := a.ownToken(ctx, c, "read", id)
	if err != nil {
		return Detailed{}, err
	}
	return a.Credential(ctx, c, id)
}

// CreateOwnToken makes a personal access token of the caller's, without the right to make credentials: it may no more than its
// user, and no more than what they have come with.
func (a *Authority) CreateOwnToken(ctx context.Context, c Caller, n NewCredential) (Issued, error) {
	p, err := a.ownUser(ctx, c, "create", "/me/tokens")
	if err != nil {
		return Issued{}, err
	}
	c, with, err := a.cameWith(ctx, c, &p)
	if err != nil {
		return Issued{}, err
	}
	if err := beyondOwn(&with, n.Networks, n.Project); err != nil {
		return Issued{}, err
	}
	n.Kind, n.Principal, n.Owner = credential.PAT, p.Name, ""
	return a.CreateCredential(ctx, c, n)
}

// RenewOwnToken gives a personal access token of the caller's a later end: at most what its policy allows, from now on.
func (a *Authority) RenewOwnToken(ctx context.Context, c Caller, id string, until time.Time) (Extended, error) {
	c, _, err := a.ownPAT(ctx, c, id)
	if err != nil {
		return Extended{}, err
	}
	return a.ExtendCredential(ctx, c, id, until)
}

// RotateOwnToken gives a personal access token of the caller's a new version.
func (a *Authority) RotateOwnToken(ctx context.Context, c Caller, id string, r Rotation) (Issued, error) {
	c, _, err := a.ownPAT(ctx, c, id)
	if err != nil {
		return Issued{}, err
	}
	return a.Rotate(ctx, c, id, r)
}

// RevokeOwnToken ends one of the caller's own for good.
func (a *Authority) RevokeOwnToken(ctx context.Context, c Caller, id, reason string) (credential.Credential, error) {
	c, _, err := a.ownToken(ctx, c, "revoke", id)
	if err != nil {
		return credential.Credential{}, err
	}
	return a.Revoke(ctx, c, id, reason)
}

// ownUser returns the user that the caller is, and asks for a right of the noun me.
func (a *Authority) ownUser(ctx context.Context, c Caller, verb, object string) (credential.Principal, error) {
	if c.Local {
		return credential.Principal{}, noSelf()
	}
	if err := a.Authorize(c, "me:"+verb, object); err != nil {
		return credential.Principal{}, err
	}
	p, err := a.store.Principal(ctx, c.Org, c.Actor.Principal)
	if credential.IsNotFound(err) || err == nil && (p.Kind != credential.User || p.Name != c.Actor.Principal) {
		return p, noSelf()
	}
	return p, err
}

// ownToken finds one of the caller's own and returns the caller as somebody who may act on it. What is
// somebody else's does not exist here, whatever the caller may elsewhere.
func (a *Authority) ownToken(ctx context.Context, c Caller, verb, id string) (Caller, credential.Record, error) {
	p, err := a.ownUser(ctx, c, verb, "/me/tokens")
	if err != nil {
		return c, credential.Record{}, err
	}
	hidden := notFound("token", id)
	if len(id) != 12 {
		return c, credential.Record{}, hidden
	}
	rec, err := a.store.Credential(ctx, id)
	if err != nil && !credential.IsNotFound(err) {
		return c, credential.Record{}, err
	}
	cred := &rec.Credential
	if err != nil || cred.Org != c.Org || cred.Principal != p.ID || !slices.Contains(ownKinds, cred.Kind) || cred.State == credential.StateDeleted {
		return c, credential.Record{}, hidden
	}
	c.own = true
	return c, rec, nil
}

// ownPAT is ownToken for what makes a personal access token last, or shows its secret.
func (a *Authority) ownPAT(ctx context.Context, c Caller, id string) (Caller, credential.Record, error) {
	c, rec, err := a.ownToken(ctx, c, "renew", id)
	if err != nil {
		return c, rec, err
	}
	if rec.Credential.Kind != credential.PAT {
		return c, rec, credential.Errorf(credential.Conflict, "%s is no personal access token: an administrator renews it", id)
	}
	c, with, err := a.cameWith(ctx, c, &rec.Principal)
	if err == nil {
		err = beyondOwn(&with, rec.Credential.Networks, rec.Credential.Project)
	}
	return c, rec, err
}

// cameWith returns the caller as somebody who acts on what is their own, with the credential that they have come with. If nothing
// holds that back, they may give themself all that they may; otherwise what the credential covers (J26).
func (a *Authority) cameWith(ctx context.Context, c Caller, p *credential.Principal) (Caller, credential.Credential, error) {
	c.own = true
	rec, err := a.store.Credential(ctx, c.Actor.Credential)
	if credential.IsNotFound(err) {
		return c, rec.Credential, nil
	}
	with := rec.Credential
	c.free = err == nil && with.Principal == p.ID && with.State == credential.StateActive && len(with.Scopes)+len(with.Resources)+len(with.Networks) == 0
	return c, with, err
}

// beyondOwn refuses a token that would not be held to what the credential is held to that its user has come with: its networks, its
// project and its limits, which several tokens would not share.
func beyondOwn(with *credential.Credential, networks []netip.Prefix, project string) error {
	switch {
	case with.Limits != (credential.Limits{}):
		return credential.Errorf(credential.NoRight, "the credential that the caller has come with has limits, which the token would not share: come with one that has none")
	case with.Project != "" && with.Project != project:
		return credential.Errorf(credential.NoRight, "the token would not be held to the project %s, as the credential is that the caller has come with: name that project", with.Project)
	case wider(with.Networks, networks):
		return credential.Errorf(credential.NoRight, "the token would be good from networks that the caller's own credential is not good from: name allowed_ips within those")
	}
	return nil
}
