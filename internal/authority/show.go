package authority

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// Credential returns a credential with its principal and, for each version, when and from where it was last used (R06).
func (a *Authority) Credential(ctx context.Context, c Caller, id string) (Detailed, error) {
	rec, err := a.credential(ctx, c, "read", id)
	if err != nil {
		return Detailed{}, err
	}
	used, err := a.usage(ctx, id)
	if err != nil {
		return Detailed{}, err
	}
	d := Detailed{Credential: rec.Credential, Principal: rec.Principal}
	for _, p := range rec.Credential.Proofs {
		d.Versions = append(d.Versions, VersionUse{Proof: p, Ends: rec.Credential.Ends(&p), Usage: used[p.N]})
	}
	return d, nil
}

// Credentials lists credentials, the newest first. The filter's Principal is an ID or a name.
func (a *Authority) Credentials(ctx context.Context, c Caller, f credential.CredentialFilter) ([]credential.Listed, string, error) {
	f.Org, f.Limit, f.Now = c.Org, clampLimit(f.Limit), a.now()
	if f.Principal == "" {
		if err := a.Authorize(c, "credentials:read", "/credentials/*"); err != nil {
			return nil, "", err
		}
		return a.store.Credentials(ctx, f)
	}
	p, err := a.principalOfList(ctx, c, "credentials", f.Principal)
	if err != nil {
		return nil, "", err
	}
	f.Principal = p.ID
	return a.store.Credentials(ctx, f)
}

// principalOfList finds the principal that a list is cut down to. Who may not
// read the noun of anybody is told so; who may not read this one's does not learn that it exists.
func (a *Authority) principalOfList(ctx context.Context, c Caller, noun, ref string) (credential.Principal, error) {
	hidden := notFound("principal", ref)
	if !plausibleRef(ref) {
		return credential.Principal{}, hidden
	}
	p, err := a.store.Principal(ctx, c.Org, ref)
	if credential.IsNotFound(err) {
		return p, hidden
	}
	if err != nil {
		return p, err
	}
	return p, a.permit(c, noun, "read", p.Name, hidden)
}

// credential finds one that is not deleted and asks for a right on it.
func (a *Authority) credential(ctx context.Context, c Caller, verb, id string) (credential.Record, error) {
	hidden := notFound("credential", id)
	if len(id) != secret.IDLen {
		return credential.Record{}, hidden
	}
	rec, err := a.store.Credential(ctx, id)
	if credential.IsNotFound(err) {
		return rec, hidden
	}
	if err != nil {
		return rec, err
	}
	if rec.Credential.Org != c.Org || rec.Credential.State == credential.StateDeleted {
		return credential.Record{}, hidden
	}
	if err := a.permit(c, "credentials", verb, rec.Principal.Name, hidden); err != nil {
		return credential.Record{}, err
	}
	return rec, nil
}

// usage returns what is known about the use of each version.
func (a *Authority) usage(ctx context.Context, id string) (map[int]credential.Usage, error) {
	all, err := a.store.Usage(ctx, id)
	if err != nil {
		return nil, err
	}
	used := make(map[int]credential.Usage, len(all))
	for _, u := range all {
		used[u.Proof] = u
	}
	return used, nil
}

// UpdateCredential changes descriptive fields, scopes and networks; never
// hash, owner, kind, state or end (K11). One that changes nothing leaves no event.
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
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return old, err
	}
	now := patch.apply(old)
	if err := patch.check(b); err != nil {
		return old, err
	}
	if patch.Scopes != nil {
		if err := b.mayRescope(c, rec.Principal.Roles, old.Scopes, now.Scopes); err != nil {
			return old, err
		}
	}
	if wider(old.Networks, now.Networks) {
		if err := b.mayIssue(c, rec.Principal.Roles, now.Scopes); err != nil {
			return old, err
		}
	}
	d := descriptiveDetails(&old, &now)
	if len(d) == 0 {
		return old, nil
	}
	ch := a.begin(c)
	ch.also(credential.Expect{Principal: rec.Principal.ID, Version: rec.Principal.Version})
	ch.do(credential.UpdateCredential{Credential: now}, "credential.update", aboutCredential(now.ID, rec.Principal.Name), d)
	if err := a.commit(ctx, ch); err != nil {
		return old, err
	}
	now.Version++
	return now, nil
}

func (patch *CredentialPatch) apply(c credential.Credential) credential.Credential {
	if patch.Name != nil {
		c.Name = *patch.Name
	}
	if patch.Description != nil {
		c.Description = *patch.Description
	}
	if patch.Project != nil {
		c.Project = *patch.Project
	}
	if patch.Scopes != nil {
		c.Scopes = slices.Clone(*patch.Scopes)
	}
	if patch.Tags != nil {
		c.Tags = slices.Clone(*patch.Tags)
	}
	if patch.Networks != nil {
		c.Networks = slices.Clone(*patch.Networks)
	}
	return c
}

// check looks only at what the patch gives: a scope of the credential that is
// gone meanwhile does not stand in the way of a new name.
func (patch *CredentialPatch) check(b *book) error {
	var p credential.Problems
	given := patch.apply(credential.Credential{})
	checkDescriptive(&p, &given, b)
	return p.Err()
}

func descriptiveDetails(old, now *credential.Credential) details {
	d := details{}
	d.set("name", old.Name, now.Name)
	d.set("description", old.Description, now.Description)
	d.set("project", old.Project, now.Project)
	d.set("scopes", names(old.Scopes), names(now.Scopes))
	d.set("tags", names(old.Tags), names(now.Tags))
	d.set("allowed_ips", networks(old.Networks), networks(now.Networks))
	return d
}

// wider reports whether some network of the new ones does not lie within one of the old. None stands for all.
func wider(old, now []netip.Prefix) bool {
	if len(old) == 0 || len(now) == 0 {
		return len(old) > 0
	}
	return slices.ContainsFunc(now, func(n netip.Prefix) bool {
		return !slices.ContainsFunc(old, func(o netip.Prefix) bool { return o.Bits() <= n.Bits() && o.Contains(n.Addr()) })
	})
}

func networks(nets []netip.Prefix) string { return list(nets, netip.Prefix.String) }

// ended is the Conflict of what is asked of a credential that was revoked.
func ended(c *credential.Credential) error {
	return credential.Errorf(credential.Conflict, "the credential %s was %s at %s, which is final: make a new one",
		c.ID, c.State, c.EndedAt.UTC().Format(time.RFC3339))
}
