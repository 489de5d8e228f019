package authority

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"cardea/internal/credential"
	"cardea/internal/scram"
	"cardea/internal/secret"
)

// login is what a SCRAM credential or a new version of one was made of. It is kept while a change is tried again,
// because the work is worth seconds if there are many iterations.
type login struct {
	keys  credential.ScramKeys
	shown secret.Text // the password that Cardea has made; empty if it came from the caller
}

// newLogin makes the keys. Salt and iterations are those of the version before, or nil and 0 for the first one.
func (a *Authority) newLogin(ctx context.Context, algorithm string, m material, salt []byte, iterations int) (*login, error) {
	if m.imports() {
		return &login{keys: m.keys()}, nil
	}
	if salt == nil {
		salt, iterations = make([]byte, scram.SaltLen), max(m.iterations, credential.MinIterations)
		if _, err := rand.Read(salt); err != nil {
			return nil, &credential.Error{Kind: credential.Internal, Err: err}
		}
	}
	made := &login{}
	password := m.password
	if password.IsZero() {
		text, err := secret.NewID(newPassword)
		if err != nil {
			return nil, err
		}
		password = secret.NewText(text)
		made.shown = password
	}
	h, _ := scram.HashOf(algorithm)
	var err error
	made.keys, err = a.derive(ctx, h, password, salt, iterations)
	return made, err
}

// derive makes keys of a password, for a few at once: the work must not keep the processor from those who log in.
func (a *Authority) derive(ctx context.Context, h scram.Hash, password secret.Text, salt []byte, iterations int) (credential.ScramKeys, error) {
	select {
	case a.deriving <- struct{}{}:
		defer func() { <-a.deriving }()
	case <-ctx.Done():
		return credential.ScramKeys{}, &credential.Error{
			Kind: credential.Down, Message: "the request was given up before the keys of its password were made", Err: ctx.Err(),
		}
	}
	return scram.Derive(h, password.Reveal(), salt, iterations)
}

// scramProof makes version n of a credential of its keys. The keys lie in it sealed; its hash is random, so that
// nothing that anybody could present has it.
func (a *Authority) scramProof(id string, n int, k *credential.ScramKeys, now time.Time) (credential.Proof, error) {
	text, err := json.Marshal(k)
	if err != nil {
		return credential.Proof{}, &credential.Error{Kind: credential.Internal, Err: err}
	}
	defer clear(text)
	p := credential.Proof{N: n, Hash: make([]byte, 32), CreatedAt: now}
	if _, err := rand.Read(p.Hash); err != nil {
		return credential.Proof{}, &credential.Error{Kind: credential.Internal, Err: err}
	}
	p.Sealed, err = a.ring.Seal(credential.ScramSealedAs(id, n), text)
	return p, err
}

// scramKeys opens the keys of a version of a credential.
func (a *Authority) scramKeys(id string, p *credential.Proof) (credential.ScramKeys, error) {
	var k credential.ScramKeys
	text, err := a.ring.Open(credential.ScramSealedAs(id, p.N), p.Sealed)
	if err != nil {
		return k, err
	}
	defer clear(text)
	if json.Unmarshal(text, &k) != nil {
		return k, credential.Errorf(credential.Internal, "version %d of the credential %s holds no keys", p.N, id) // the error could quote them
	}
	return k, nil
}

// namesAreFree refuses user names that others have. Two at once may both pass; the store lets one of them in.
func (w *wishes) namesAreFree(ctx context.Context, drafts []draft) error {
	for i := range drafts {
		if drafts[i].Kind != credential.SCRAM {
			continue
		}
		_, err := w.a.store.Named(ctx, w.c.Org, credential.SCRAM, drafts[i].Username)
		if err == nil {
			return credential.Errorf(credential.Exists,
				"the user name %s is taken in the organisation %s: choose another one, or end the scram credential that has it", quote(drafts[i].Username), w.c.Org)
		}
		if !credential.IsNotFound(err) {
			return err
		}
		if err := w.nameIsNobodys(ctx, &drafts[i]); err != nil {
			return err
		}
	}
	return nil
}

// nameIsNobodys refuses a user name that is how another principal is called: it is that one's by default, and what is
// logged of it would mislead.
func (w *wishes) nameIsNobodys(ctx context.Context, d *draft) error {
	if d.Username == d.principal || credential.CheckName(d.Username) != "" {
		return nil
	}
	other, err := w.a.store.Principal(ctx, w.c.Org, d.Username)
	if credential.IsNotFound(err) {
		return nil
	}
	if err == nil && other.Name == d.Username && other.DeletedAt.IsZero() {
		return credential.Errorf(credential.Exists, "the user name %s is the name of another principal: choose another one", quote(d.Username))
	}
	return err
}

// makeLogins makes the keys of the SCRAM credentials among the drafts, those that are not there from an attempt before.
func (w *wishes) makeLogins(ctx context.Context, drafts []draft) error {
	if err := w.namesAreFree(ctx, drafts); err != nil {
		return err
	}
	for i := range drafts {
		if drafts[i].Kind != credential.SCRAM {
			continue
		}
		if w.logins[i] == nil {
			made, err := w.a.newLogin(ctx, drafts[i].Algorithm, w.all[i].material(), nil, 0)
			if err != nil {
				return err
			}
			if w.logins == nil {
				w.logins = map[int]*login{}
			}
			w.logins[i] = made
		}
		drafts[i].login = w.logins[i]
	}
	return nil
}

func (a *Authority) makeScram(ch *change, d *draft) (Issued, error) {
	proof, err := a.scramProof(d.ID, 1, &d.login.keys, ch.at)
	if err != nil {
		return Issued{}, err
	}
	d.Proofs = []credential.Proof{proof}
	d.create(ch)
	return Issued{Credential: d.Credential, PrincipalName: d.principal, OwnerName: d.owner, Secret: d.login.shown, Warnings: d.warnings}, nil
}

// renewal is what the new version of a SCRAM credential is made of, through all attempts of one rotation.
type renewal struct {
	material
	login *login
	with  credential.ScramKeys // those of the version before that login was made by
}

// turn returns the new version's keys. A password takes salt and iterations of the version before it, because while
// both are good a client has one challenge for the two.
func (n *renewal) turn(ctx context.Context, a *Authority, c *credential.Credential, overlap time.Duration) (*login, error) {
	if n.imports() && overlap == 0 {
		return a.newLogin(ctx, c.Algorithm, n.material, nil, 0)
	}
	old, err := a.scramKeys(c.ID, &c.Proofs[0])
	if err != nil {
		return nil, err
	}
	if n.imports() {
		if err := n.sameFactors(&old); err != nil {
			return nil, err
		}
		return a.newLogin(ctx, c.Algorithm, n.material, nil, 0)
	}
	if n.login == nil || n.with.Iterations != old.Iterations || !bytes.Equal(n.with.Salt, old.Salt) {
		n.with = old
		if n.login, err = a.newLogin(ctx, c.Algorithm, n.material, old.Salt, old.Iterations); err != nil {
			return nil, err
		}
	}
	return n.login, nil
}

// sameFactors refuses imported keys that cannot be asked for in one challenge with those of the version before.
func (n *renewal) sameFactors(old *credential.ScramKeys) error {
	var p credential.Problems
	const way = "is not that of the version before, which goes on for the overlap: rotate without an overlap"
	if n.iterations != old.Iterations {
		p.Add("iterations", way)
	}
	if !bytes.Equal(n.salt, old.Salt) {
		p.Add("salt", way)
	}
	return p.Err()
}

// loginDetails notes what a SCRAM credential logs in with; never its keys.
func loginDetails(d details, c *credential.Credential, l *login) {
	if l == nil {
		return
	}
	d.put("username", c.Username)
	d.put("algorithm", c.Algorithm)
	d.put("iterations", fmt.Sprint(l.keys.Iterations))
}
