package authority

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"cardea/internal/credential"
)

// take decides what becomes of a row. The error is one that stops all of them.
func (r *importing) take(ctx context.Context, i int) error {
	row, p, out := &r.rows[i], &r.faults[i], &r.results[i]
	out.Row = r.from + int64(i)
	before := len(*p)
	checkText(p, "external_id", row.ExternalID, maxExternalID)
	if len(*p) == before {
		out.ExternalID = row.ExternalID
	}
	if len(*p) == 0 {
		known, err := r.known(ctx, i)
		if known || err != nil {
			return err
		}
		if err := r.judge(ctx, i); err != nil {
			return err
		}
	}
	if len(*p) > 0 {
		r.fail(i)
	}
	return nil
}

// fail notes what is wrong with a row. Messages name what was sent, but never what a token is proved by (K03).
func (r *importing) fail(i int) {
	row, out := &r.rows[i], &r.results[i]
	out.Status, out.ID, out.Note = RowFailed, "", ""
	for _, f := range r.faults[i] {
		for _, text := range []string{row.Token.Reveal(), row.Hash.Reveal()} {
			if len(text) > 3 {
				f.Message = strings.ReplaceAll(f.Message, text, "***")
			}
		}
		out.Errors = append(out.Errors, f)
	}
}

// known settles a row whose token is there already: of the same credential, which makes it no news, or of another one.
func (r *importing) known(ctx context.Context, i int) (bool, error) {
	if id, there := r.found[hexOf(r.proofs[i].lookup)]; there {
		rec, err := r.a.store.Credential(ctx, id)
		if err != nil {
			return true, err
		}
		return true, r.compare(ctx, i, &rec)
	}
	first, there := r.taken[r.proofs[i].lookup]
	if !there {
		return false, nil
	}
	a, b := &r.rows[first], &r.rows[i]
	if a.Kind != b.Kind || a.Principal != b.Principal || a.Name != b.Name || r.proofs[first].phc != r.proofs[i].phc || r.proofs[first].token != r.proofs[i].token {
		r.faults[i].Add(b.secretField(), "is that of row %d, which is of another credential", r.results[first].Row)
		r.fail(i)
		return true, nil
	}
	r.results[i].Status = RowUnchanged // see make
	return true, nil
}

// compare says whether a row is of the credential that its token is found by.
func (r *importing) compare(ctx context.Context, i int, rec *credential.Record) error {
	row, x, out, cred := &r.rows[i], &r.proofs[i], &r.results[i], &rec.Credential
	if cred.Org != r.c.Org { // of which nobody here may know (W07)
		r.faults[i].Add(row.secretField(), "is in use already")
		r.fail(i)
		return nil
	}
	same := true
	if !x.scheme.Fast() {
		at := slices.IndexFunc(cred.Proofs, func(p credential.Proof) bool { return string(p.Lookup) == string(x.lookup[:]) })
		if at < 0 {
			r.faults[i].Add("id", "was that of the credential %s, which has another secret now", cred.ID)
			r.fail(i)
			return nil
		}
		phc, err := r.a.ring.Open(credential.ProofSealedAs(cred.ID, cred.Proofs[at].N), cred.Proofs[at].Sealed)
		if err != nil {
			return err
		}
		if same, err = x.same(ctx, string(phc)); err != nil {
			return err
		}
	}
	switch {
	case !same:
		r.faults[i].Add("id", "is that of the credential %s, whose secret is another", cred.ID)
	case cred.Kind != row.Kind || cred.Name != row.Name || rec.Principal.Name != row.Principal && rec.Principal.ID != row.Principal:
		r.faults[i].Add(row.secretField(), "is that of the credential %s already, %s %s of %s", cred.ID, cred.Kind, quote(cred.Name), rec.Principal.Name)
	case !rec.Principal.DeletedAt.IsZero():
		r.faults[i].Add(row.secretField(), "was that of the credential %s of a principal that was deleted: it cannot come back", cred.ID)
	default:
		out.Status, out.ID = RowUnchanged, cred.ID
		if cred.State.Ended() && !row.Revoked {
			out.Note = "it was revoked here, and stays so"
		}
		return nil
	}
	r.fail(i)
	return nil
}

// secretField is the field of a row that its token is known by.
func (r *ImportRow) secretField() string {
	if r.Hash.Reveal() != "" {
		return "hash"
	}
	return "token"
}

// importKinds are the kinds that can be imported. An application key cannot, since it could never be shown; nor what is no token.
var importKinds = []credential.Kind{credential.APIKey, credential.PAT, credential.DeviceToken}

// judge holds a row to what single creation is held to, and makes a draft of it.
func (r *importing) judge(ctx context.Context, i int) error {
	row, p, now := &r.rows[i], &r.faults[i], r.ch.at
	ended := !row.ExpiresAt.IsZero() && !row.ExpiresAt.After(now)
	if ended && r.o.SkipExpired {
		r.results[i].Status, r.results[i].Note = RowUnchanged, "it ended at "+stamp(row.ExpiresAt)+": left out"
		return nil
	}
	if !slices.Contains(importKinds, row.Kind) {
		p.Add("kind", "is none of %s", list(importKinds, func(k credential.Kind) string { return string(k) }))
		return nil
	}
	if row.CreatedAt.After(now) {
		p.Add("created_at", "is in the future")
	}
	o := r.holder(i)
	if len(*p) > 0 {
		return nil
	}
	d := r.draft(i, o, ended)
	if err := r.b.checkSubset(p, row.Kind, &o.Principal, row.Scopes); err != nil {
		return err
	}
	r.mayGive(p, o, row.Scopes)
	if len(*p) > 0 {
		return nil
	}
	if r.past(i) {
		p.Add("row", "was not taken when it was dealt with, but could be now: import the file again after this import")
		return nil
	}
	r.a.awaitApproval(r.c, r.b, &d)
	if row.Revoked {
		d.State, d.EndedAt, d.EndReason = credential.StateRevoked, now, "revoked before it was imported"
	} else if full, err := r.crowded(ctx, p, &d, ended); full || err != nil {
		return err
	}
	r.keep(i, d, o)
	return nil
}

// keep notes that a draft becomes a credential.
func (r *importing) keep(i int, d draft, o owner) {
	if _, known := r.w.owners[d.principal]; known && !r.w.owners[d.principal].found {
		if _, born := r.made[o.Name]; !born {
			r.made[o.Name] = o
			r.births = append(r.births, o.Principal)
		}
	}
	d.Org, d.CreatedBy = r.c.Org, r.c.Actor.Principal
	r.drafts, r.of = append(r.drafts, d), append(r.of, i)
	r.taken[r.proofs[i].lookup] = i
	r.results[i].Status, r.results[i].Note = RowCreated, strings.Join(d.warnings, "; ")
}

// draft works out what a row means. The end of one that has ended already, and is kept as that, is held to nothing.
func (r *importing) draft(i int, o owner, ended bool) draft {
	row, now := &r.rows[i], r.ch.at
	var p credential.Problems
	d := row.NewCredential.draft(&p, o, r.w.users[row.Owner], r.b, now)
	if ended || row.Revoked {
		p = slices.DeleteFunc(p, func(f credential.FieldError) bool { return f.Field == "expires_at" || f.Field == "ttl" })
		d.ExpiresAt, d.warnings = instantOf(row.ExpiresAt), nil
	}
	if !row.CreatedAt.IsZero() {
		d.CreatedAt = instantOf(row.CreatedAt)
	}
	r.faults[i] = append(r.faults[i], p...)
	return d
}

// instantOf is an instant as the database keeps it.
func instantOf(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// holder is the principal that a row is for; one that does not exist is made, if that was asked for and the caller may.
func (r *importing) holder(i int) owner {
	row, p := &r.rows[i], &r.faults[i]
	name := row.Principal
	o := r.w.owners[name]
	if born, there := r.made[name]; there {
		o = born
	}
	switch {
	case o.found:
	case name == "":
		p.Add("principal", "is empty")
		return o
	case !r.o.CreatePrincipals:
		p.Add("principal", "does not exist: make it first, or import with create_principals")
		return o
	default:
		if o = r.birth(p, name, row.Kind); !o.found {
			return o
		}
	}
	if err := r.ask("import "+o.Name, func() error { return r.a.Authorize(r.c, importRight, "/credentials/"+o.Name) }); err != nil {
		p.Add("principal", "may not be given a credential by the caller: %s", publicText(err))
	}
	if err := notBootstrap(o.Name); err != nil {
		p.Add("principal", "may not be given a credential: %s", publicText(err))
	}
	return o
}

// birth makes a principal in the mind: nothing is written of it before a row for it is taken.
func (r *importing) birth(p *credential.Problems, name string, k credential.Kind) owner {
	before := len(*p)
	checkNewName(p, "principal", name)
	if len(*p) > before {
		return owner{}
	}
	if err := r.ask("create "+name, func() error { return r.a.Authorize(r.c, "principals:create", "/principals/"+name) }); err != nil {
		p.Add("principal", "does not exist, and may not be made by the caller: %s", publicText(err))
	}
	if err := r.ask("roles", func() error { return mayGrant(r.c, "the principal", granted(nil, r.b.ofRoles(r.o.Roles))) }); err != nil {
		p.Add("principal", "does not exist, and may not be made with these roles: %s", publicText(err))
	}
	id, err := newPrincipalID()
	if err != nil {
		p.Add("principal", "could not be made: the random source does not answer")
	}
	if len(*p) > before {
		return owner{}
	}
	return owner{credential.Principal{
		ID: id, Org: r.c.Org, Kind: r.kindFor(k), Name: name, Roles: slices.Clone(r.o.Roles), CreatedAt: r.ch.at, Version: 1,
	}, true}
}

// mayGive asks whether the caller may itself all that a credential of a principal may, once for all that are alike.
func (r *importing) mayGive(p *credential.Problems, o owner, scopes []string) {
	alike := "issue " + names(o.Roles) + "\n" + names(scopes)
	if err := r.ask(alike, func() error { return r.b.mayIssue(r.c, o.Roles, scopes) }); err != nil {
		field := "scopes"
		if len(scopes) == 0 {
			field = "principal"
		}
		p.Add(field, "may not be given away by the caller: %s", publicText(err))
	}
}

func (r *importing) ask(what string, question func() error) error {
	err, known := r.allowed[what]
	if !known {
		err = question()
		r.allowed[what] = err
	}
	return err
}

// crowded counts a credential among those of its principal, and reports whether there was no room for it.
func (r *importing) crowded(ctx context.Context, p *credential.Problems, d *draft, ended bool) (bool, error) {
	rules := r.b.rules(d.Kind)
	if rules.MaxNumber == 0 || ended {
		return false, nil
	}
	c := crowd{d.Principal, d.principal, d.Kind}
	if _, counted := r.sizes[c]; !counted {
		n, err := r.a.crowdSize(ctx, r.b, c)
		if err != nil {
			return false, err
		}
		r.sizes[c] = n
	}
	if r.sizes[c] >= rules.MaxNumber {
		p.Add("principal", "has %d: %s allows at most %d at the same time", r.sizes[c], rules, rules.MaxNumber)
		return true, nil
	}
	r.sizes[c]++
	return false, nil
}

func publicText(err error) string {
	if e, ok := errors.AsType[*credential.Error](err); ok {
		return e.Public()
	}
	return "it was refused"
}
