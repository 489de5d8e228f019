package authority

import (
	"context"
	"encoding/hex"
	"strconv"
	"time"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

const (
	maxFileName = 256
	maxRows     = 1_000_000_000
)

// NewImport asks for an import, or for the one of the same digest that has not been finished.
type NewImport struct {
	Name   string // of the file
	Digest string // SHA-256 in hex of what is imported and how it is read
	Total  int64  // rows; 0: not known
}

// ImportOptions say how rows are taken.
type ImportOptions struct {
	CreatePrincipals bool                     // those that rows name and that do not exist
	PrincipalKind    credential.PrincipalKind // of those; "": that which the row's kind is for
	Roles            []string                 // of those
	SkipExpired      bool                     // rows that have ended are left out; otherwise they are kept as expired
}

// ImportRow is a credential that was made elsewhere: what [NewCredential] says, and how its token is known. It prints without its secrets.
type ImportRow struct {
	NewCredential             // of it: Kind, Principal, Name, Description, Scopes, Networks, Tags, Project, NotBefore, ExpiresAt, Never, Owner, Resources, Limits
	ExternalID    string      // what the other system calls it
	Format        string      // name of a [credential.TokenFormat]
	Hash          secret.Text // either the hash that the other system has kept
	Token         secret.Text // or the token itself, of which a hash is kept
	ID            string      // the public part of the token, for a slow hash
	CreatedAt     time.Time   // zero: now
	Revoked       bool        // known, and never accepted
	Problems      credential.Problems
}

// RowStatus says what became of a row.
type RowStatus string

// The statuses of a row.
const (
	RowCreated   RowStatus = "created"
	RowUnchanged RowStatus = "unchanged" // it was there already, or is left out
	RowFailed    RowStatus = "failed"
)

// RowResult says what became of a row.
type RowResult struct {
	Row        int64 // from 1
	ExternalID string
	Status     RowStatus
	ID         string // of the credential
	Note       string
	Errors     []credential.FieldError
}

// Imports lists the newest imports of the organisation.
func (a *Authority) Imports(ctx context.Context, c Caller, limit int) ([]credential.Import, error) {
	if err := a.Authorize(c, importRight, importObject); err != nil {
		return nil, err
	}
	return a.store.Imports(ctx, c.Org, clampLimit(limit))
}

// Import returns one by ID.
func (a *Authority) Import(ctx context.Context, c Caller, id string) (credential.Import, error) {
	if err := a.Authorize(c, importRight, importObject); err != nil {
		return credential.Import{}, err
	}
	return a.importByID(ctx, c, id)
}

func (a *Authority) importByID(ctx context.Context, c Caller, id string) (credential.Import, error) {
	if len(id) != 1+11 { // nor is it found by its digest here
		return credential.Import{}, notFound("import", id)
	}
	im, err := a.store.Import(ctx, c.Org, id)
	if credential.IsNotFound(err) {
		err = notFound("import", id)
	}
	return im, err
}

// StartImport begins an import, or returns the unfinished one of the same digest to go on with. Errors: Invalid, NoRight.
func (a *Authority) StartImport(ctx context.Context, c Caller, n NewImport) (credential.Import, error) {
	if err := a.Authorize(c, importRight, importObject); err != nil {
		return credential.Import{}, err
	}
	if err := n.check(); err != nil {
		return credential.Import{}, err
	}
	// Of two that start with the same file one begins, and both go on with that.
	var im credential.Import
	err := a.store.Exclusive(ctx, "import/"+c.Org, func(ctx context.Context) (err error) {
		im, err = a.store.Import(ctx, c.Org, n.Digest)
		if err == nil && im.FinishedAt.IsZero() {
			if n.Total != im.Total {
				return credential.Errorf(credential.Conflict, "the import %s of this digest has %d rows, not %d", im.ID, im.Total, n.Total)
			}
			return nil
		}
		if err != nil && !credential.IsNotFound(err) {
			return err
		}
		im, err = a.startImport(ctx, c, n)
		return err
	})
	return im, err
}

func (n *NewImport) check() error {
	var p credential.Problems
	if n.Name == "" {
		p.Add("name", "is empty")
	}
	checkText(&p, "name", n.Name, maxFileName)
	if b, err := hex.DecodeString(n.Digest); err != nil || len(b) != 32 || hex.EncodeToString(b) != n.Digest {
		p.Add("digest", "is no SHA-256 in 64 digits of lower-case hex")
	}
	if n.Total < 0 || n.Total > maxRows {
		p.Add("total", "must be 1 to %d, or 0 if it is not known", maxRows)
	}
	return p.Err()
}

func (a *Authority) startImport(ctx context.Context, c Caller, n NewImport) (credential.Import, error) {
	id, err := secret.NewID(11)
	if err != nil {
		return credential.Import{}, err
	}
	ch := a.begin(c)
	im := credential.Import{
		ID: "I" + id, Org: c.Org, Name: n.Name, Digest: n.Digest, Total: n.Total,
		StartedAt: ch.at, UpdatedAt: ch.at, By: c.Actor.Principal,
	}
	d := details{"name": n.Name, "digest": n.Digest}
	if n.Total > 0 {
		d["total"] = strconv.FormatInt(n.Total, 10)
	}
	ch.do(credential.PutImport{Import: im}, "import.start", aboutImport(&im), d)
	return im, a.commit(ctx, ch)
}

// FinishImport ends an import whose rows have all been dealt with; a further one of the same file looks at every row again. One
// that is finished stays as it is. Conflict while rows are missing.
func (a *Authority) FinishImport(ctx context.Context, c Caller, id string) (credential.Import, error) {
	return retry(0, func() (credential.Import, error) {
		im, err := a.Import(ctx, c, id)
		if err != nil || !im.FinishedAt.IsZero() {
			return im, err
		}
		if im.Done < im.Total {
			return im, credential.Errorf(credential.Conflict, "the rows from %d to %d have not been dealt with yet", im.Done+1, im.Total)
		}
		ch := a.begin(c)
		im.FinishedAt, im.UpdatedAt = ch.at, ch.at
		d := details{}
		for _, n := range [...]struct {
			name  string
			count int64
		}{{"created", im.Created}, {"unchanged", im.Unchanged}, {"failed", im.Failed}} {
			d[n.name] = strconv.FormatInt(n.count, 10)
		}
		ch.do(credential.PutImport{Import: im, Before: im.Done}, "import.finish", aboutImport(&im), d)
		return im, a.commit(ctx, ch)
	})
}

func aboutImport(im *credential.Import) credential.Subject {
	return credential.Subject{Kind: "import", ID: im.ID, Name: im.Name}
}
