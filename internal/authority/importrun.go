package authority

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"cardea/internal/credential"
)

// ImportRows takes rows of an import, the first of which has the number from. What becomes of them and how far the import has come is
// one change: after a crash what was answered is there, and what is there is counted. A row that cannot be taken does not stop the
// others. Rows that were dealt with before are looked at and answered by what is there, and nothing is made of them. Errors are about
// the request as a whole: Invalid, NotFound, NoRight, Down; Conflict if rows before from are missing, or the import is finished.
func (a *Authority) ImportRows(ctx context.Context, c Caller, id string, from int64, o ImportOptions, rows []ImportRow) (credential.Import, []RowResult, error) {
	run := &importing{a: a, c: c, o: o, id: id, from: from, rows: rows, hashes: map[int]string{}}
	return run.do(ctx)
}

// TryImport says what would become of rows, and makes nothing of them.
func (a *Authority) TryImport(ctx context.Context, c Caller, o ImportOptions, rows []ImportRow) ([]RowResult, error) {
	run := &importing{a: a, c: c, o: o, from: 1, rows: rows, hashes: map[int]string{}}
	_, results, err := run.do(ctx)
	return results, err
}

// importing takes some rows. What is below hashes is of one attempt.
type importing struct {
	a    *Authority
	c    Caller
	o    ImportOptions
	id   string // "" for a trial
	from int64
	rows []ImportRow

	hashes map[int]string // of tokens that were hashed slowly, by their place in rows

	im      credential.Import
	b       *book
	ch      *change
	w       *wishes
	formats map[string]*importFormat
	proofs  []proofOf
	faults  []credential.Problems
	found   map[string]string // credentials by what they are found by, in hex
	made    map[string]owner  // principals that are made, by name
	births  []credential.Principal
	drafts  []draft
	of      []int            // by draft: its row
	taken   map[[32]byte]int // rows that become drafts, by what they are found by
	sizes   map[crowd]int
	allowed map[string]error // answers about rights, by what was asked
	results []RowResult
}

func (r *importing) do(ctx context.Context) (credential.Import, []RowResult, error) {
	if err := r.a.Authorize(r.c, importRight, importObject); err != nil {
		return credential.Import{}, nil, err
	}
	if err := r.check(); err != nil {
		return credential.Import{}, nil, err
	}
	attempt := r.attempt
	if r.id != "" {
		attempt = r.locked(attempt)
	}
	_, err := retry(0, func() (none, error) { return none{}, attempt(ctx) })
	return r.im, r.results, err
}

func (r *importing) check() error {
	var p credential.Problems
	if n := len(r.rows); n == 0 || n > maxBatch {
		p.Add("rows", "has %d entries: 1 to %d are possible", n, maxBatch)
	}
	if r.from < 1 || r.from > maxRows {
		p.Add("from", "must be the number of the first row, from 1 on")
	}
	if k := r.o.PrincipalKind; k != "" && !k.Valid() {
		p.Add("options.principal_kind", "is none of user, service, device")
	}
	if !r.o.CreatePrincipals && (r.o.PrincipalKind != "" || len(r.o.Roles) > 0) {
		p.Add("options.create_principals", "is missing: principal_kind and roles are for principals that are made")
	}
	return p.Err()
}

// locked runs an attempt alone where what it counts must not change before it commits: users, if it may make the first one, and
// credentials whose number is bounded.
func (r *importing) locked(attempt func(context.Context) error) func(context.Context) error {
	number := func(ctx context.Context) error {
		b, err := r.a.book(ctx, r.c.Org)
		if err != nil {
			return err
		}
		bounded := slices.ContainsFunc(r.rows, func(row ImportRow) bool { return b.rules(row.Kind).MaxNumber > 0 })
		if !bounded {
			return attempt(ctx)
		}
		return r.a.store.Exclusive(ctx, numberLock+r.c.Org, attempt)
	}
	users := r.o.CreatePrincipals && slices.ContainsFunc(r.rows, func(row ImportRow) bool { return r.kindFor(row.Kind) == credential.User })
	if !users {
		return number
	}
	return func(ctx context.Context) error { return r.a.beforeAnyUser(ctx, r.c.Org, number) }
}

// kindFor is the kind of a principal that is made for a credential.
func (r *importing) kindFor(k credential.Kind) credential.PrincipalKind {
	if r.o.PrincipalKind != "" {
		return r.o.PrincipalKind
	}
	for _, p := range []credential.PrincipalKind{credential.User, credential.Service, credential.Device} {
		if k.For(p) {
			return p
		}
	}
	return ""
}

func (r *importing) attempt(ctx context.Context) error {
	if err := r.a.checkClock(ctx); err != nil {
		return err
	}
	if err := r.load(ctx); err != nil {
		return err
	}
	for i := range r.rows {
		if err := r.take(ctx, i); err != nil {
			return err
		}
	}
	if err := r.make(ctx); err != nil {
		return err
	}
	if r.id == "" {
		return nil
	}
	return r.commit(ctx)
}

// load reads all that the rows are judged by.
func (r *importing) load(ctx context.Context) (err error) {
	if r.id != "" {
		if err := r.loadImport(ctx); err != nil {
			return err
		}
	}
	if r.b, err = r.a.book(ctx, r.c.Org); err != nil {
		return err
	}
	var p credential.Problems
	checkPolicyNames(&p, "options.roles", r.o.Roles, maxRoles, r.b.hasRole)
	if err := p.Err(); err != nil {
		return err
	}
	if r.formats, err = r.a.importFormats(r.b.all.Formats, r.c.Org); err != nil {
		return err
	}
	n := len(r.rows)
	r.ch, r.proofs, r.faults, r.results = r.a.begin(r.c), make([]proofOf, n), make([]credential.Problems, n), make([]RowResult, n)
	r.made, r.births, r.drafts, r.of = map[string]owner{}, nil, nil, nil
	r.taken, r.sizes, r.allowed = map[[32]byte]int{}, map[crowd]int{}, map[string]error{}
	wanted := make([]NewCredential, n)
	var lookups [][]byte
	for i := range r.rows {
		row, p := &r.rows[i], &r.faults[i]
		*p = slices.Clone(row.Problems)
		if wanted[i] = row.NewCredential; len(*p) > 0 { // what could not be read is not looked at further
			continue
		}
		r.proofs[i] = row.proof(p, r.formats)
		if len(*p) == 0 {
			lookups = append(lookups, r.proofs[i].lookup[:])
		}
	}
	if r.found, err = r.a.store.Found(ctx, lookups); err != nil {
		return err
	}
	r.w = newWishes(r.a, r.c, wanted, nil)
	return r.w.load(ctx)
}

func (r *importing) loadImport(ctx context.Context) (err error) {
	if r.im, err = r.a.importByID(ctx, r.c, r.id); err != nil {
		return err
	}
	last := r.from + int64(len(r.rows)) - 1
	switch {
	case r.from > r.im.Done+1:
		return credential.Errorf(credential.Conflict, "the rows before %d are missing: go on with row %d", r.from, r.im.Done+1)
	case r.im.Total > 0 && last > r.im.Total:
		return credential.Errorf(credential.Conflict, "the import has %d rows, and there is none with the number %d", r.im.Total, last)
	case !r.im.FinishedAt.IsZero() && last > r.im.Done:
		return credential.Errorf(credential.Conflict, "the import is finished: begin another one")
	}
	return nil
}

// past reports whether a row was dealt with in an earlier request.
func (r *importing) past(i int) bool { return r.id != "" && r.from+int64(i) <= r.im.Done }

// make makes credentials of the drafts, with principals for those that need one.
func (r *importing) make(ctx context.Context) error {
	if err := giveIDs(r.drafts); err != nil {
		return err
	}
	for i := range r.drafts {
		r.results[r.of[i]].ID = r.drafts[i].ID
	}
	for i := range r.results { // rows that repeat one of these
		if at := &r.results[i]; at.Status == RowUnchanged && at.ID == "" && at.Note == "" {
			at.ID = r.results[r.taken[r.proofs[i].lookup]].ID
			at.Note = fmt.Sprintf("repeats row %d", r.results[r.taken[r.proofs[i].lookup]].Row)
		}
	}
	if r.id == "" {
		for i := range r.results { // of nothing that is there
			if r.results[i].Status == RowCreated || strings.HasPrefix(r.results[i].Note, "repeats") {
				r.results[i].ID = ""
			}
		}
		return nil
	}
	r.w.expect(r.ch)
	people := r.births
	for i := range people {
		p := &people[i]
		d := details{"kind": string(p.Kind)}
		d.put("roles", names(p.Roles))
		r.ch.do(credential.CreatePrincipal{Principal: *p}, "principal.create", aboutPrincipal(p), d)
	}
	if slices.ContainsFunc(people, func(p credential.Principal) bool { return p.Kind == credential.User }) {
		if err := r.a.endBootstrap(ctx, r.ch); err != nil {
			return err
		}
	}
	for i := range r.drafts {
		if err := r.create(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

func (r *importing) create(ctx context.Context, i int) error {
	d, at := &r.drafts[i], r.of[i]
	row, x := &r.rows[at], &r.proofs[at]
	if x.phc == "" {
		x.phc = r.hashes[at]
	}
	proof, err := x.stored(ctx, r.a, d.ID)
	if err != nil {
		return err
	}
	r.hashes[at] = x.phc
	proof.CreatedAt = d.CreatedAt
	d.Proofs = []credential.Proof{proof}
	about := createDetails(&d.Credential)
	about.put("owner", d.owner)
	about.put("format", row.Format)
	about.put("external_id", row.ExternalID)
	about["import"] = r.id
	if d.State == credential.StateRevoked {
		about["state"] = string(d.State)
	}
	r.ch.do(credential.CreateCredential{Credential: d.Credential}, "credential.import", aboutCredential(d.ID, d.principal), about)
	return nil
}

// commit writes what was made, and how far the import has come, in one change.
func (r *importing) commit(ctx context.Context) error {
	before := r.im.Done
	if r.past(len(r.rows) - 1) {
		return nil
	}
	for i := range r.results {
		if r.past(i) {
			continue
		}
		switch r.results[i].Status {
		case RowCreated:
			r.im.Created++
		case RowUnchanged:
			r.im.Unchanged++
		default:
			r.im.Failed++
		}
	}
	r.im.Done = r.from + int64(len(r.rows)) - 1
	r.im.UpdatedAt = r.ch.at
	r.ch.also(credential.PutImport{Import: r.im, Before: before})
	return r.a.commit(ctx, r.ch)
}

func hexOf(lookup [32]byte) string { return hex.EncodeToString(lookup[:]) }
