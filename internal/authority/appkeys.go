package authority

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// keyNames are names that no application key may have, because the API has something else at their path.
var keyNames = []string{"expiration-info"}

// foldName returns the form in which names of application keys are compared, so that none passes for another one:
// whatever Unicode takes for the same, without regard to case and to how many spaces there are (E03).
func foldName(name string) string {
	if len(name) > 4*maxNameLen { // no name; it is not worth the work
		return name
	}
	folded := norm.NFKC.String(cases.Fold().String(norm.NFKC.String(name)))
	return strings.Join(strings.Fields(folded), " ")
}

// checkKeyName is for the name of an application key, beside what every name must be. It is a part of paths.
func checkKeyName(p *credential.Problems, name string) {
	folded := foldName(name)
	switch {
	case folded == "":
		p.Add("name", "is empty: an application key needs one")
	case strings.ContainsAny(folded, `/\?#%`):
		p.Add("name", `may not contain / \ ? # %%`)
	case folded == "." || folded == "..":
		p.Add("name", "is a step in paths")
	case strings.Trim(name, " ") != name || strings.Contains(name, "  "):
		p.Add("name", "begins or ends with a space, or has two in a row")
	case slices.Contains(keyNames, folded):
		p.Add("name", "is reserved")
	}
}

// checkAppKey checks what a wish says of an application key, and puts into the draft what follows from it.
func (n *NewCredential) checkAppKey(p *credential.Problems, d *draft, o owner, b *book) {
	if n.Kind != credential.AppKey {
		if n.AllowAdmin {
			p.Add("allow_admin", "is for app_key only")
		}
		return
	}
	checkKeyName(p, n.Name)
	d.Username = foldName(n.Name)
	if d.admin = o.found && b.administers(o.Roles); !d.admin {
		return
	}
	if !n.AllowAdmin {
		p.Add("allow_admin", "%s", needsAllowAdmin(o.Name))
		return
	}
	d.warnings = append(d.warnings, isAdministrator(o.Name))
}

func needsAllowAdmin(user string) string {
	return "is needed: " + user + " is an administrator, and so is whoever holds the key; take another user, or say allow_admin: true"
}

func isAdministrator(user string) string {
	return user + " is an administrator: whoever holds this key may what an administrator may"
}

// checkKeyNames refuses a name twice in one request. field is as in [checkLogins].
func checkKeyNames(p *credential.Problems, drafts []draft, field func(i int, name string) string) {
	first := map[string]int{}
	for i := range drafts {
		if drafts[i].Kind != credential.AppKey || drafts[i].Username == "" {
			continue
		}
		if j, there := first[drafts[i].Username]; there {
			p.Add(field(i, "name"), "repeats %s", field(j, "name"))
			continue
		}
		first[drafts[i].Username] = i
	}
}

// keyNamesAreFree refuses names that other application keys have. Two at once may both pass; the store lets one of them in.
func (w *wishes) keyNamesAreFree(ctx context.Context, drafts []draft) error {
	for i := range drafts {
		if drafts[i].Kind != credential.AppKey {
			continue
		}
		if err := w.a.keyNameIsFree(ctx, &drafts[i].Credential); err != nil {
			return err
		}
	}
	return nil
}

func (a *Authority) keyNameIsFree(ctx context.Context, c *credential.Credential) error {
	_, err := a.store.Named(ctx, c.Org, credential.AppKey, c.Username)
	switch {
	case credential.IsNotFound(err):
		return nil
	case err != nil:
		return err
	}
	return credential.Errorf(credential.Exists, "there is an application key %s already: choose another name, or end that one", quote(c.Name))
}

// renameAppKey puts the form into an application key in which its new name is compared, if nobody has that.
func (a *Authority) renameAppKey(ctx context.Context, old, now *credential.Credential) error {
	if now.Kind != credential.AppKey || now.Name == old.Name {
		return nil
	}
	if now.Username = foldName(now.Name); now.Username == old.Username {
		return nil
	}
	return a.keyNameIsFree(ctx, now)
}

// AppKeyID returns the ID of the application key that somebody means by its ID or its name, in any spelling, and who
// has the right to a verb on it. For others it does not exist, as in [Authority.Credential].
func (a *Authority) AppKeyID(ctx context.Context, c Caller, verb, ref string) (string, error) {
	hidden := notFound("application key", ref)
	rec, err := a.findAppKey(ctx, c.Org, ref)
	if credential.IsNotFound(err) {
		return "", hidden
	}
	if err != nil {
		return "", err
	}
	if err := a.permit(c, "credentials", verb, rec.Principal.Name, hidden); err != nil {
		return "", err
	}
	return rec.Credential.ID, nil
}

// findAppKey prefers an ID: nobody hides another's key by calling theirs like its ID.
func (a *Authority) findAppKey(ctx context.Context, org, ref string) (credential.Record, error) {
	if len(ref) == secret.IDLen {
		rec, err := a.store.Credential(ctx, ref)
		c := &rec.Credential
		if err == nil && c.Org == org && c.Kind == credential.AppKey && c.State != credential.StateDeleted {
			return rec, nil
		}
		if err != nil && !credential.IsNotFound(err) {
			return rec, err
		}
	}
	name := foldName(ref)
	if name == "" || len(name) > 4*maxNameLen {
		return credential.Record{}, notFound("application key", ref)
	}
	return a.store.Named(ctx, org, credential.AppKey, name)
}

// onlyAppKey refuses what is for application keys alone.
func onlyAppKey(c *credential.Credential) error {
	if c.Kind == credential.AppKey {
		return nil
	}
	return credential.Errorf(credential.Conflict, "the credential %s is no application key but of kind %s", c.ID, c.Kind)
}
