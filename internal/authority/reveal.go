package authority

import (
	"context"
	"crypto/subtle"
	"fmt"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// Revealed is the secret of an application key, shown again.
type Revealed struct {
	Credential credential.Credential
	Version    int // [credential.Proof.N]
	Secret     secret.Text
}

// Reveal shows the newest good version of an application key again: ThingWorx's GetKeyID. It asks for a right of its own,
// which reading does not include, and, since whoever has the secret may all that the key may, for all of that (J26). What was
// shown is in the audit log before it is answered. Errors: NotFound; Conflict for other kinds, for a key that has ended or
// expired, and for a secret that cannot be opened, of which an event is left too (K15); NoRight, Down.
func (a *Authority) Reveal(ctx context.Context, c Caller, id string) (Revealed, error) {
	return retry(0, func() (Revealed, error) {
		rec, err := a.credential(ctx, c, "reveal", id)
		if err != nil {
			return Revealed{}, err
		}
		return a.reveal(ctx, c, &rec)
	})
}

func (a *Authority) reveal(ctx context.Context, c Caller, rec *credential.Record) (Revealed, error) {
	cred := &rec.Credential
	ch := a.begin(c)
	switch {
	case cred.Kind != credential.AppKey:
		return Revealed{}, credential.Errorf(credential.Conflict, "a secret of kind %s cannot be shown again, because only its hash is kept: rotate the credential %s", cred.Kind, cred.ID)
	case cred.State.Ended():
		return Revealed{}, ended(cred)
	}
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return Revealed{}, err
	}
	if err := b.mayIssue(c, rec.Principal.Roles, cred.Scopes); err != nil {
		return Revealed{}, err
	}
	alive := aliveProofs(cred, ch.at)
	if len(alive) == 0 {
		return Revealed{}, credential.Errorf(credential.Conflict, "the credential %s has expired: rotate it", cred.ID)
	}
	p := &alive[0]
	about, d := aboutCredential(cred.ID, rec.Principal.Name), details{"version": fmt.Sprint(p.N)}
	text, err := a.openToken(cred.ID, p)
	if err != nil {
		a.log.Error("the sealed secret of an application key cannot be opened", "credential", cred.ID, "version", p.N, "error", err)
		ch.do(nil, "credential.damaged", about, d)
		if err := a.commit(ctx, ch); err != nil {
			return Revealed{}, err
		}
		return Revealed{}, credential.Errorf(credential.Conflict,
			"the sealed secret of version %d of the credential %s was altered, or is another's: it cannot be shown; rotate the credential", p.N, cred.ID)
	}
	ch.also(credential.Expect{Principal: rec.Principal.ID, Version: rec.Principal.Version}) // its roles are what is given away
	ch.do(nil, "credential.reveal", about, d)
	if err := a.commit(ctx, ch); err != nil {
		return Revealed{}, err
	}
	return Revealed{Credential: *cred, Version: p.N, Secret: text}, nil
}

// sealToken keeps the text of an application key in a version of it.
func (a *Authority) sealToken(id string, p *credential.Proof, text secret.Text) (err error) {
	plain := []byte(text.Reveal())
	defer clear(plain)
	p.Sealed, err = a.ring.Seal(credential.ProofSealedAs(id, p.N), plain)
	return err
}

// openToken returns the text of a version of an application key, if it is that version's.
func (a *Authority) openToken(id string, p *credential.Proof) (secret.Text, error) {
	plain, err := a.ring.Open(credential.ProofSealedAs(id, p.N), p.Sealed)
	if err != nil {
		return secret.Text{}, err
	}
	defer clear(plain)
	text := string(plain)
	token, ok := secret.Parse(text)
	if !ok || token.ID() != id {
		return secret.Text{}, credential.Errorf(credential.Internal, "version %d of the credential %s holds no token of it", p.N, id)
	}
	if hash := token.Hash(); subtle.ConstantTimeCompare(hash[:], p.Hash) == 0 {
		return secret.Text{}, credential.Errorf(credential.Internal, "version %d of the credential %s holds a token that is not accepted", p.N, id)
	}
	return secret.NewText(text), nil
}
