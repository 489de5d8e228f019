package gate

import (
	"cmp"
	"context"
	"crypto/subtle"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// Tokens that were made elsewhere and imported have no checksum and no id of ours in them. They are found by the hash
// that the other system kept of them or, where that is a slow one, by their public part. Where nothing was imported they cost nothing.

// foreignEntry is what a version of an imported token is proved by, beside the hash of its entry.
type foreignEntry struct {
	lookup string
	scheme secret.Scheme
	phc    string                   // slow schemes; "": it cannot be opened, and nothing proves it
	seen   atomic.Pointer[[32]byte] // slow schemes: as in [passwordEntry]
}

// perForeign is the memory of a foreignEntry, about.
const perForeign = 256

// foreignForm is the form of entries that no token of ours is compared with.
const foreignForm = math.MaxUint32

// format is a way in which imported tokens look.
type format struct {
	credential.TokenFormat
	scheme secret.Scheme
	key    []byte
}

// turnFormats makes the formats of a policy those that are looked at.
func (g *Gate) turnFormats(all []credential.TokenFormat) {
	if len(all) == 0 {
		g.formats.Store(nil)
		return
	}
	formats := make([]format, 0, len(all))
	for _, f := range all {
		one := format{TokenFormat: f, scheme: secret.Scheme(f.Scheme)}
		if len(f.Sealed) > 0 {
			key, err := g.unwrap(f.SealedAs(), f.Sealed)
			if err != nil {
				g.log.Error("the key of a token format cannot be opened: no token of it is accepted", "org", f.Org, "format", f.Name, "error", err)
				continue
			}
			one.key = key
		}
		formats = append(formats, one)
	}
	// What costs nothing comes first: a token that is found so is never tried as one of a slow format, which may be another organisation's.
	slices.SortStableFunc(formats, func(a, b format) int { return cmp.Compare(number(a.scheme.Fast()), number(b.scheme.Fast())) })
	g.formats.Store(&formats)
}

// unsealForeign opens what the versions of an imported token are proved by.
func (g *Gate) unsealForeign(newest *entry, c *credential.Credential) {
	for e := newest; e != nil; e = e.older {
		for i := range c.Proofs {
			p := &c.Proofs[i]
			if p.N != e.made.Proof || p.Scheme == "" {
				continue
			}
			x := &foreignEntry{lookup: string(p.Lookup), scheme: secret.Scheme(p.Scheme)}
			if !x.scheme.Fast() {
				plain, err := g.unwrap(credential.ProofSealedAs(c.ID, p.N), p.Sealed)
				if err != nil {
					g.log.Error("the hash of an imported token cannot be opened: nobody can use it", "credential", c.ID, "version", p.N, "error", err)
				}
				x.phc = string(plain)
				clear(plain)
			}
			e.lukewarm().foreign = x // nobody else has e yet
			newest.size += perForeign
		}
	}
}

func (e *entry) foreign() *foreignEntry {
	if x := e.cold.Load(); x != nil {
		return x.foreign
	}
	return nil
}

// IsImported reports whether a text begins as imported tokens do, so that where a token or something else may stand, it is a token.
func (g *Gate) IsImported(text string) bool {
	formats := g.formats.Load()
	if formats == nil {
		return false
	}
	for i := range *formats {
		if p := (*formats)[i].Prefix; len(p) >= telling && strings.HasPrefix(text, p) {
			return true
		}
	}
	return false
}

// telling is the least length in bytes of a prefix that tells a token from other texts.
const telling = 3

// maxForeign bounds an imported token in bytes.
const maxForeign = 1024

// imported judges a token that is none of ours, and counts its use if count is set. MalformedToken: it can be none that was imported.
func (g *Gate) imported(ctx context.Context, ev *Evidence, count bool) (*entry, Outcome) {
	formats := g.formats.Load()
	if formats == nil || ev.Token == "" || len(ev.Token) > maxForeign || strings.HasPrefix(ev.Token, tokenPrefix) {
		return nil, g.refuse(key{}, credential.MalformedToken, 0, ev)
	}
	if g.blind(g.clock.Mono()) {
		return nil, g.refuse(key{}, credential.Unavailable, comeAgain, ev)
	}
	for range maxRounds {
		v, why := g.findImported(ctx, *formats, ev, true)
		switch {
		case v == nil && why == credential.Unavailable, v == nil && why == credential.TooManyAttempts:
			return nil, g.refuse(key{}, why, comeAgain, ev)
		case v == nil:
			return nil, g.refuse(key{}, why, 0, ev)
		case why != credential.OK:
			return nil, g.refuse(v.key, why, 0, ev)
		case !count:
			return v, Outcome{}
		}
		out, again := g.meter(ctx, v, ev)
		if again {
			continue
		}
		if out.Reason == credential.OK {
			g.count(v, g.clock.nano(), ev)
			return v, out
		}
		return nil, out
	}
	return nil, g.refuse(key{}, credential.Unavailable, comeAgain, ev)
}

// findImported returns the version that a token is of. With one, the reason is what is to be said of it; without, why there is none.
// limited says that wrong attempts count, and that who has made many must wait.
func (g *Gate) findImported(ctx context.Context, formats []format, ev *Evidence, limited bool) (*entry, credential.Reason) {
	last := credential.MalformedToken
	for i := range formats {
		f := &formats[i]
		if !strings.HasPrefix(ev.Token, f.Prefix) || f.scheme.Fast() && isRepeat(formats[:i], f) {
			continue
		}
		var v *entry
		var why credential.Reason
		if f.scheme.Fast() {
			v, why = g.byHash(ctx, f, ev, limited)
		} else {
			v, why = g.byID(ctx, f, ev, limited)
		}
		if v != nil {
			return v, why
		}
		if why != credential.MalformedToken && last != credential.Unavailable && last != credential.TooManyAttempts {
			last = why
		}
	}
	return nil, last
}

// number sorts what is so before what is not.
func number(first bool) int {
	if first {
		return 0
	}
	return 1
}

// isRepeat reports whether a format hashes tokens as one before it does, which was asked for the same ones.
func isRepeat(before []format, f *format) bool {
	for i := range before {
		b := &before[i]
		if b.scheme == f.scheme && strings.HasPrefix(f.Prefix, b.Prefix) && subtle.ConstantTimeCompare(b.key, f.key) == 1 {
			return true
		}
	}
	return false
}

// byHash looks for a token with a fast hash.
func (g *Gate) byHash(ctx context.Context, f *format, ev *Evidence, limited bool) (*entry, credential.Reason) {
	sum := secret.ForeignHash(f.scheme, f.scheme.Digest(f.key, ev.Token))
	return g.amongForeign(ctx, sum, ev, limited, func(v *entry, x *foreignEntry) (bool, error) {
		return x.scheme == f.scheme && secret.Equal(sum, v.hash), nil
	})
}

// byID looks for a token with a slow hash.
func (g *Gate) byID(ctx context.Context, f *format, ev *Evidence, limited bool) (*entry, credential.Reason) {
	id, ok := secret.IDPart(ev.Token, f.Prefix, f.IDLen, f.Separator)
	if !ok {
		return nil, credential.MalformedToken
	}
	lookup := secret.IDHash(f.Org+"/"+f.Name, id)
	return g.amongForeign(ctx, lookup, ev, limited, func(v *entry, x *foreignEntry) (bool, error) {
		if x.phc == "" {
			return false, nil
		}
		sum := keyedHash(ev.Token)
		if seen := x.seen.Load(); seen != nil && subtle.ConstantTimeCompare(seen[:], sum[:]) == 1 {
			return true, nil
		}
		ok, err := secret.VerifyHash(ctx, x.phc, ev.Token)
		if ok {
			x.seen.Store(&sum)
		}
		return ok, err
	})
}

// foreignKind marks what imported tokens are found by among user names.
const foreignKind credential.Kind = "imported"

// amongForeign finds the credential that a token is looked up by, and the version that proves says it is of.
func (g *Gate) amongForeign(ctx context.Context, lookup [32]byte, ev *Evidence, limited bool, proves func(*entry, *foreignEntry) (bool, error)) (*entry, credential.Reason) {
	u := userName{kind: foreignKind, name: string(lookup[:])}
	for range maxRounds {
		e, why := g.foreignOf(ctx, u)
		if e == nil {
			return nil, why
		}
		h := g.cache.hash(e.key)
		if limited {
			if wait := g.limits.wait(e.key, h, ev.Source, g.clock.Mono()); wait > 0 {
				return nil, credential.TooManyAttempts
			}
		}
		var found *entry
		known := false
		for v := e; v != nil && found == nil; v = v.older {
			x := v.foreign()
			if x == nil || x.lookup != u.name {
				continue
			}
			known = true
			ok, err := proves(v, x)
			if err != nil {
				return nil, credential.Unavailable
			}
			if ok {
				found = v
			}
		}
		if !known { // it was read before it was found by this, or is no more
			g.names.drop(u)
			continue
		}
		if found == nil {
			if limited {
				g.limits.wrong(e.key, h, ev.Source, g.clock.Mono())
			}
			return nil, credential.WrongSecret
		}
		why = found.judge(g.clock.nano(), ev.Source)
		if found.dead() {
			continue
		}
		return found, why
	}
	return nil, credential.Unavailable
}

// foreignOf returns the entry of the credential that is found by u. Tokens that nobody has are looked up like ids that nobody has: a few at a
// time, and each once in a while. Nobody can guess one, so they are not counted against their source, behind which others may stand.
func (g *Gate) foreignOf(ctx context.Context, u userName) (*entry, credential.Reason) {
	k, none, changes := g.names.find(u, g.clock.Mono())
	if none {
		return nil, credential.UnknownCredential
	}
	if k == (key{}) {
		var why credential.Reason
		switch k, why = g.lookName(ctx, u, changes); why {
		case credential.OK:
		case credential.UnknownUser:
			return nil, credential.UnknownCredential
		default:
			return nil, why
		}
	}
	h := g.cache.hash(k)
	if e := g.cache.find(k, h); e != nil {
		return e, credential.OK
	}
	return g.load(ctx, k, h, k.String())
}
