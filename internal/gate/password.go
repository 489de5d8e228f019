package gate

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"sync/atomic"

	"golang.org/x/text/unicode/norm"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// passwordEntry is what a version of a user's password is proved by.
type passwordEntry struct {
	name string
	phc  string                   // "": it cannot be opened, and nobody knows it
	seen atomic.Pointer[[32]byte] // keyed hash of the password as it was last right, so that a client that sends it with each request costs no argon2 each time
}

// perPassword is the memory of a passwordEntry, about.
const perPassword = 256

// passwordKey is of this process alone: what is kept of passwords is worth nothing outside of it.
var passwordKey = func() (k [32]byte) {
	_, _ = rand.Read(k[:]) // never fails
	return k
}()

func keyedHash(password string) (sum [32]byte) {
	m := hmac.New(sha256.New, passwordKey[:])
	m.Write([]byte(password))
	m.Sum(sum[:0])
	return sum
}

// password returns what e is proved by; nil if it is of another kind.
func (e *entry) password() *passwordEntry {
	if x := e.cold.Load(); x != nil {
		return x.password
	}
	return nil
}

// unsealPassword opens the versions of a password. One that cannot be opened is never proved, and the log says so (K15).
func (g *Gate) unsealPassword(newest *entry, c *credential.Credential) {
	for e := newest; e != nil; e = e.older {
		for i := range c.Proofs {
			p := &c.Proofs[i]
			if p.N != e.made.Proof {
				continue
			}
			x := &passwordEntry{name: c.Username}
			plain, err := g.unwrap(credential.ProofSealedAs(c.ID, p.N), p.Sealed)
			if err != nil {
				g.log.Error("a password cannot be opened: nobody can log in with it", "credential", c.ID, "version", p.N, "error", err)
			}
			x.phc = string(plain)
			clear(plain)
			e.lukewarm().password = x // nobody else has e yet
			newest.size += perPassword
		}
	}
}

// Login answers who logs in with a user's name and password in an organisation. Unknown and wrong cost the same
// and are told the same (E02); wrong ones are counted by name and source, and never lock anybody out who comes from elsewhere (E01).
func (g *Gate) Login(ctx context.Context, org, username, password string, ev *Evidence) (*Identity, Outcome) {
	id, out := g.logIn(ctx, org, username, password, ev)
	if out.Reason == credential.UnknownUser {
		g.countGuess(org, username, ev)
		out = g.refuse(key{}, out.Reason, 0, ev)
	}
	return id, out
}

func (g *Gate) countGuess(org, username string, ev *Evidence) {
	k := nameKey(org, foldName(username))
	g.guesses.wrong(k, g.cache.hash(k), ev.Source, g.clock.Mono())
}

// foldName makes one name of those that look alike (E03). Names of users are of small letters.
func foldName(name string) string { return strings.ToLower(strings.TrimSpace(norm.NFKC.String(name))) }

// logIn is Login that leaves it to its caller to count that nobody knows the user: others may be asked.
func (g *Gate) logIn(ctx context.Context, org, username, password string, ev *Evidence) (*Identity, Outcome) {
	name := foldName(username)
	k := nameKey(org, name)
	h, mono := g.cache.hash(k), g.clock.Mono()
	if wait := g.guesses.wait(k, h, ev.Source, mono); wait > 0 {
		return nil, g.refuse(key{}, credential.TooManyAttempts, wait, ev)
	}
	if g.blind(mono) {
		return nil, g.refuse(key{}, credential.Unavailable, comeAgain, ev)
	}
	text, err := secret.PreparePassword(password)
	if err != nil {
		text = "" // no password is empty
	}
	for range maxRounds {
		var e *entry
		why := credential.UnknownUser
		if credential.CheckName(name) == "" {
			e, why = g.named(ctx, org, credential.Password, name)
		}
		if why == credential.Unavailable {
			return nil, g.refuse(key{}, why, comeAgain, ev)
		}
		ok, err := e.remembers(ctx, text)
		if err != nil {
			return nil, g.refuse(key{}, credential.Unavailable, comeAgain, ev)
		}
		if e == nil {
			return nil, Outcome{Reason: credential.UnknownUser}
		}
		if !ok {
			g.guesses.wrong(k, h, ev.Source, g.clock.Mono())
			return nil, g.refuse(e.key, credential.WrongSecret, 0, ev)
		}
		now := g.clock.nano()
		why = e.judge(now, ev.Source)
		if e.dead() {
			continue
		}
		if why != credential.OK {
			return nil, g.refuse(e.key, why, 0, ev)
		}
		g.guesses.right(k, h, ev.Source)
		out, again := g.meter(ctx, e, ev)
		if again {
			continue
		}
		if out.Reason != credential.OK {
			return nil, out
		}
		g.count(e, now, ev)
		return g.identity(e), out
	}
	return nil, g.refuse(key{}, credential.Unavailable, comeAgain, ev)
}

// remembers reports whether text is the password of e, which may be nil: that takes as long.
func (e *entry) remembers(ctx context.Context, text string) (bool, error) {
	phc := secret.NoHash()
	if e == nil {
		_, err := secret.VerifyHash(ctx, phc, text)
		return false, err
	}
	x, sum := e.password(), keyedHash(text)
	if seen := x.seen.Load(); seen != nil && subtle.ConstantTimeCompare(seen[:], sum[:]) == 1 {
		return true, nil
	}
	known := x.phc != "" && text != ""
	if known {
		phc = x.phc
	}
	ok, err := secret.VerifyHash(ctx, phc, text)
	if ok = ok && known; ok {
		x.seen.Store(&sum)
	}
	return ok, err
}
