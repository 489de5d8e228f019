package authority

import (
	"context"
	"slices"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

// UpdateCredential changes what describes a credential and what it is held to: scopes, networks, resources, limits, who answers
// for it; never hash, principal, kind, state, parent or end (K11). One that changes nothing leaves no event. What the policy of
// the kind demands is asked of the fields that are given; what it came to demand later leaves the others alone (L02).
// How an OAuth client proves itself is for who may rotate it. If one of its proofs goes, it gets a new version at once, and the tokens that
// it has got die (J25); one that is to prove itself by a secret from now on has none before it is rotated.
func (a *Authority) UpdateCredential(ctx context.Context, c Caller, id string, patch CredentialPatch) (credential.Credential, error) {
	return retry(patch.Version, func() (credential.Credential, error) {
		rec, err := a.credential(ctx, c, "update", id)
		if err != nil {
			return credential.Credential{}, err
		}
		return a.updateCredential(ctx, c, rec, patch)
	})
}

func (a *Authority) updateCredential(ctx context.Context, c Caller, rec credential.Record, patch CredentialPatch) (credential.Credential, error) {
	old := rec.Credential
	if err := checkVersion("credential", patch.Version, old.Version); err != nil {
		return old, err
	}
	if old.State.Ended() {
		return old, ended(&old)
	}
	if err := notOfASession(&old); err != nil {
		return old, err
	}
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return old, err
	}
	user, err := a.newUser(ctx, c, &patch)
	if err != nil {
		return old, err
	}
	actor, err := a.actorOf(ctx, c, patch.Client)
	if err != nil {
		return old, err
	}
	now := patch.apply(old)
	if patch.Owner != nil {
		now.Owner = user.ID
	}
	if err := patch.check(b, &rec, &now, user, actor); err != nil {
		return old, err
	}
	if err := a.mayChange(c, b, &rec, &now); err != nil {
		return old, err
	}
	if err := a.renameAppKey(ctx, &old, &now); err != nil {
		return old, err
	}
	d := descriptiveDetails(&old, &now)
	if old.Owner != now.Owner {
		was, err := a.ownerName(ctx, &old)
		if err != nil {
			return old, err
		}
		d.set("owner", was, user.Name)
	}
	if len(d) == 0 {
		return old, nil
	}
	ch := a.begin(c)
	ch.also(credential.Expect{Principal: rec.Principal.ID, Version: rec.Principal.Version})
	if user.found && user.ID != rec.Principal.ID {
		ch.also(credential.Expect{Principal: user.ID, Version: user.Version})
	}
	ch.do(credential.UpdateCredential{Credential: now}, "credential.update", aboutCredential(now.ID, rec.Principal.Name), d)
	now.Version++
	if !keepsProof(old.Client, now.Client) {
		turnClient(ch, &now, d)
	}
	if err := a.commit(ctx, ch); err != nil {
		return old, err
	}
	return now, nil
}

// newUser finds the user who is to answer for the credential from now on; nobody if the patch does not say, or says nobody.
func (a *Authority) newUser(ctx context.Context, c Caller, patch *CredentialPatch) (owner, error) {
	if patch.Owner == nil || *patch.Owner == "" {
		return owner{}, nil
	}
	return a.responsible(ctx, c, *patch.Owner)
}

// mayChange refuses unless the caller has what the credential gains, and may approve it where that is demanded: what was
// approved, or is being looked at to be approved, is not made into something else by whoever asked for it.
func (a *Authority) mayChange(c Caller, b *book, rec *credential.Record, now *credential.Credential) error {
	old, roles := &rec.Credential, rec.Principal.Roles
	if err := b.mayRescope(c, roles, old.Scopes, now.Scopes); err != nil {
		return err
	}
	if !sameProof(old.Client, now.Client) { // who changes that can be the client
		if err := a.Authorize(c, "credentials:rotate", "/credentials/"+rec.Principal.Name); err != nil {
			return err
		}
		if err := notBootstrap(rec.Principal.Name); err != nil {
			return err
		}
	}
	free := wider(old.Networks, now.Networks) || b.looser(old, now) || !sameClient(old.Client, now.Client)
	if free {
		if err := b.mayIssue(c, roles, now.Scopes); err != nil {
			return err
		}
	}
	r := b.rules(old.Kind)
	if !r.Approval || !free && !b.rescoped(old.Scopes, now.Scopes) || a.approves(c, rec.Principal.Name) {
		return nil
	}
	return credential.Errorf(credential.NoRight,
		"%s demands that somebody else approves what the credential %s may, and this would be more: ask who has the right credentials:approve, or make a new one", r, old.ID)
}

// rescoped reports whether other scopes allow something that the ones before did not. None are all of the principal's.
func (b *book) rescoped(old, now []string) bool {
	if len(old) == 0 || len(now) == 0 {
		return len(old) > 0
	}
	return slices.ContainsFunc(granted(b.ofScopes(old), b.ofScopes(now)), func(r credential.Rule) bool { return r.Permission == credential.Allow })
}

// apply returns the credential as the patch has it; who answers for it is left to whoever knows the ID.
func (patch *CredentialPatch) apply(c credential.Credential) credential.Credential {
	set(&c.Name, patch.Name)
	set(&c.Description, patch.Description)
	set(&c.Project, patch.Project)
	setList(&c.Scopes, patch.Scopes)
	setList(&c.Tags, patch.Tags)
	setList(&c.Networks, patch.Networks)
	setList(&c.Resources, patch.Resources)
	set(&c.Limits, patch.Limits)
	set(&c.Documentation, patch.Documentation)
	set(&c.ClientName, patch.ClientName)
	set(&c.Home, patch.Home)
	return c
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func setList[T any](to, from *[]T) {
	if from != nil {
		*to = slices.Clone(*from)
	}
}

// check looks only at what the patch gives: a scope of the credential that is
// gone meanwhile does not stand in the way of a new name.
func (patch *CredentialPatch) check(b *book, rec *credential.Record, now *credential.Credential, user, actor owner) error {
	var p credential.Problems
	old, r := &rec.Credential, b.rules(rec.Credential.Kind)
	given := patch.apply(credential.Credential{Kind: old.Kind})
	checkDescriptive(&p, &given, b)
	if patch.Name != nil {
		r.checkName(&p, now.Name)
		if old.Kind == credential.AppKey {
			checkKeyName(&p, now.Name)
		}
	}
	if patch.Networks != nil {
		r.checkNetworks(&p, now.Networks)
	}
	switch {
	case patch.Resources != nil:
		b.checkResources(&p, now)
	case patch.Project != nil:
		b.checkProject(&p, now)
	}
	if patch.Owner != nil && *patch.Owner != "" {
		checkUser(&p, *patch.Owner, user)
	}
	switch {
	case patch.Client == nil:
	case old.Kind != credential.OAuthClient:
		p.Add("client", "is for oauth_client only")
	default:
		now.Client = b.client(&p, patch.Client, actor)
	}
	if patch.Scopes != nil {
		if err := b.checkAdded(&p, rec, now.Scopes); err != nil {
			return err
		}
	}
	return p.Err()
}

// checkAdded is [book.checkSubset] for the scopes that a credential did not have before.
func (b *book) checkAdded(p *credential.Problems, rec *credential.Record, scopes []string) error {
	var beyond credential.Problems
	if err := b.checkSubset(&beyond, rec.Credential.Kind, &rec.Principal, scopes); err != nil {
		return err
	}
	for _, f := range beyond {
		for i, name := range scopes {
			if f.Field == item("scopes", i) && !slices.Contains(rec.Credential.Scopes, name) {
				p.Add(f.Field, "%s", f.Message)
			}
		}
	}
	return nil
}

// checkProject refuses a project that what the credential is held to lies outside of.
func (b *book) checkProject(p *credential.Problems, c *credential.Credential) {
	held := b.projects[c.Project].Resources
	if out := policy.Outside(c.Resources, held, true); len(out) > 0 {
		p.Add("project", "is held to %s, and the credential to %s outside of that: change its resources too", few(held), c.Resources[out[0]])
	}
}

func descriptiveDetails(old, now *credential.Credential) details {
	d := details{}
	d.set("name", old.Name, now.Name)
	d.set("description", old.Description, now.Description)
	d.set("project", old.Project, now.Project)
	d.set("scopes", names(old.Scopes), names(now.Scopes))
	d.set("tags", names(old.Tags), names(now.Tags))
	d.set("allowed_ips", networks(old.Networks), networks(now.Networks))
	d.set("resources", names(old.Resources), names(now.Resources))
	d.set("limits", limitsText(old.Limits), limitsText(now.Limits))
	d.set("client_name", old.ClientName, now.ClientName)
	d.set("home", old.Home, now.Home)
	clientChanges(d, old.Client, now.Client)
	if old.Documentation != now.Documentation { // too long for an event
		d["documentation"] = "changed"
	}
	return d
}
