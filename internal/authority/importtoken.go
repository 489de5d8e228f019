package authority

import (
	"context"
	"fmt"
	"strings"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

const (
	maxForeignToken = 1024 // bytes; the gate looks at no longer one
	maxExternalID   = 128
)

// importFormat is a format with its key.
type importFormat struct {
	credential.TokenFormat
	scheme secret.Scheme
	key    []byte
}

// proofOf is what a row's token is known by.
type proofOf struct {
	format string
	scheme secret.Scheme
	lookup [32]byte // what it is found by, and for a fast scheme what it is compared with
	phc    string   // slow: the hash; "" for a token that was not hashed yet
	token  string   // slow: the token; "" for a hash
}

func (a *Authority) importFormats(all []credential.TokenFormat, org string) (map[string]*importFormat, error) {
	own := map[string]*importFormat{}
	for _, f := range all {
		if f.Org != org {
			continue
		}
		one := &importFormat{TokenFormat: f, scheme: secret.Scheme(f.Scheme)}
		if len(f.Sealed) > 0 {
			var err error
			if one.key, err = a.ring.Open(f.SealedAs(), f.Sealed); err != nil {
				return nil, err
			}
		}
		own[f.Name] = one
	}
	return own, nil
}

// proof works out what the token of a row is known by. What it says of it repeats neither the token nor its hash (K03).
func (r *ImportRow) proof(p *credential.Problems, formats map[string]*importFormat) proofOf {
	f := formats[r.Format]
	token, hash := r.Token.Reveal(), r.Hash.Reveal()
	switch {
	case r.Format == "":
		p.Add("format", "is missing: the name of a format that says how the tokens look")
	case f == nil:
		p.Add("format", "does not exist: make it with PUT /api/v1/formats/NAME or 'cardea format put'")
	}
	switch {
	case token == "" && hash == "":
		p.Add("hash", "is missing, and so is token: one of them is needed")
	case token != "" && hash != "":
		p.Add("hash", "is given together with token: give one of them")
	case f == nil:
	case token != "" && !f.checkToken(p, token):
	case f.scheme.Fast():
		return r.fastProof(p, f, token, hash)
	default:
		return r.slowProof(p, f, token, hash)
	}
	return proofOf{}
}

// checkToken holds a token that was made elsewhere to what can be presented and told from ours.
func (f *importFormat) checkToken(p *credential.Problems, token string) bool {
	before := len(*p)
	switch {
	case len(token) > maxForeignToken:
		p.Add("token", "is longer than %d characters", maxForeignToken)
	case !isPlain(token):
		p.Add("token", "holds something else than visible characters of ASCII, which no header can carry")
	case strings.HasPrefix(token, ourPrefix):
		p.Add("token", "is one of Cardea's own")
	case !strings.HasPrefix(token, f.Prefix):
		p.Add("token", "does not begin with the prefix of its format, %s", f.Prefix)
	}
	return len(*p) == before
}

func (r *ImportRow) fastProof(p *credential.Problems, f *importFormat, token, hash string) proofOf {
	if r.ID != "" {
		p.Add("id", "is for slow schemes: a token with a fast hash is found by that")
	}
	digest := f.scheme.Digest(f.key, token)
	if token == "" {
		var err error
		if digest, err = secret.ParseDigest(f.scheme, hash); err != nil {
			p.Add("hash", "%s", err)
		}
	} else if secret.Bits(strings.TrimPrefix(token, f.Prefix)) < secret.MinBits { // E06
		p.Add("token", "may be guessed, and a fast hash would not protect it: take a format with the scheme %s, or give its holder a new one", secret.Argon2id)
	}
	return proofOf{format: f.Name, scheme: f.scheme, lookup: secret.ForeignHash(f.scheme, digest)}
}

func (r *ImportRow) slowProof(p *credential.Problems, f *importFormat, token, hash string) proofOf {
	x := proofOf{format: f.Name, scheme: f.scheme, phc: hash, token: token}
	id := r.ID
	switch {
	case token != "":
		x.scheme = secret.Argon2id // as which it will be hashed, whatever the others of the format are
		part, ok := secret.IDPart(token, f.Prefix, f.IDLen, f.Separator)
		switch {
		case !ok:
			p.Add("token", "has no public part as its format says: %s", f.shape())
		case id != "" && id != part:
			p.Add("id", "is not the public part of the token")
		}
		id = part
	case id == "":
		p.Add("id", "is missing: the public part of the token, by which it is found")
	default:
		// The same as for a token: a part that none can have is never found.
		if part, ok := secret.IDPart(f.Prefix+id+f.Separator+"x", f.Prefix, f.IDLen, f.Separator); !ok || part != id || !isPlain(id) {
			p.Add("id", "cannot be the public part of a token of its format: %s", f.shape())
		}
	}
	if token == "" {
		if err := secret.CheckHash(hash); err != nil {
			p.Add("hash", "%s", err)
		} else if strings.HasPrefix(hash, "$argon2id$") != (f.scheme == secret.Argon2id) {
			p.Add("hash", "is not one of %s, which its format says", f.scheme)
		}
	}
	x.lookup = secret.IDHash(f.Org+"/"+f.Name, id)
	return x
}

// shape says where the public part of a token is.
func (f *importFormat) shape() string {
	text := "after " + f.Prefix
	if f.IDLen > 0 {
		text += fmt.Sprintf(" come %d characters", f.IDLen)
	}
	if f.Separator != "" {
		text += " up to " + f.Separator
	}
	return text + ", then the secret"
}

// stored is the proof as it is kept. One that was not hashed yet is hashed now, which takes its turn.
func (x *proofOf) stored(ctx context.Context, a *Authority, id string) (credential.Proof, error) {
	out := credential.Proof{N: 1, Scheme: string(x.scheme), Format: x.format, Lookup: x.lookup[:]}
	if x.scheme.Fast() {
		out.Hash = x.lookup[:]
		return out, nil
	}
	if x.phc == "" {
		phc, err := secret.HashPassword(ctx, x.token)
		if err != nil {
			return out, err
		}
		x.phc = phc
	}
	sealed, err := a.ring.Seal(credential.ProofSealedAs(id, 1), []byte(x.phc))
	if err != nil {
		return out, err
	}
	out.Sealed = sealed
	// Nothing has this hash: it is there because a proof has one.
	sum := secret.IDHash("nothing", id)
	out.Hash = sum[:]
	return out, nil
}

// same reports whether two proofs that are found by the same thing are of the same token.
func (x *proofOf) same(ctx context.Context, phc string) (bool, error) {
	switch {
	case x.scheme.Fast():
		return true, nil
	case x.token == "":
		return x.phc == phc, nil
	}
	return secret.VerifyHash(ctx, phc, x.token)
}
