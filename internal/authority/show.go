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
	if d.OwnerName, err = a.ownerName(ctx, &rec.Credential); err != nil {
		return Detailed{}, err
	}
	if d.Kind == credential.AppKey {
		b, err := a.book(ctx, c.Org)
		if err != nil {
			return Detailed{}, err
		}
		d.Admin = b.administers(rec.Principal.Roles)
	}
	for _, p := range rec.Credential.Proofs {
		d.Versions = append(d.Versions, VersionUse{Proof: p, Ends: rec.Credential.Ends(&p), Usage: used[p.N]})
	}
	return d, nil
}

// ownerName returns the name of the user who answers for a credential, who may be deleted by now; "" for nobody.
func (a *Authority) ownerName(ctx context.Context, c *credential.Credential) (string, error) {
	if c.Owner == "" {
		return "", nil
	}
	p, err := a.store.Principal(ctx, c.Org, c.Owner)
	if credential.IsNotFound(err) {
		return "", nil
	}
	return p.Name, err
}

// Credentials lists credentials, the newest first. Principal and Owner of the filter are IDs or names.
func (a *Authority) Credentials(ctx context.Context, c Caller, f credential.CredentialFilter) ([]credential.Listed, string, error) {
	f.Org, f.Limit, f.Now = c.Org, clampLimit(f.Limit), a.now()
	if f.Principal == "" {
		if err := a.Authorize(c, "credentials:read", "/credentials/*"); err != nil {
			return nil, "", err
		}
		return a.listed(ctx, f)
	}
	p, err := a.principalOfList(ctx, c, "credentials", f.Principal)
	if err != nil {
		return nil, "", err
	}
	f.Principal = p.ID
	return a.listed(ctx, f)
}

// listed lists what a filter selects whose Owner may be a name.
func (a *Authority) listed(ctx context.Context, f credential.CredentialFilter) ([]credential.Listed, string, error) {
	if f.Owner != "" {
		hidden := notFound("principal", f.Owner)
		if !plausibleRef(f.Owner) {
			return nil, "", hidden
		}
		p, err := a.store.Principal(ctx, f.Org, f.Owner)
		if credential.IsNotFound(err) {
			return nil, "", hidden
		}
		if err != nil {
			return nil, "", err
		}
		f.Owner = p.ID
	}
	if !f.OverPrivileged.IsZero() {
		b, err := a.book(ctx, f.Org)
		if err != nil {
			return nil, "", err
		}
		f.Needed = b.needed()
	}
	list, next, err := a.store.Credentials(ctx, f)
	if err != nil {
		return nil, "", err
	}
	return list, next, a.markAdministrators(ctx, f.Org, list)
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
