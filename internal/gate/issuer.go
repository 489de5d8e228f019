package gate

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"cardea/internal/credential"
	"cardea/internal/jwt"
)

// askJWT judges a JWT that stands where a token may: one of ours, or one of the issuer that the authenticator trusts. Those of others
// are left to the next.
func (g *Gate) askJWT(ctx context.Context, m *member, in *Entrance) (*Identity, Outcome, verdict) {
	if !looksLikeJWT(in.Token) {
		return nil, Outcome{Reason: credential.NoCredential}, ignores
	}
	if m.Issuer == nil || m.Issuer.Issuer == "" {
		return g.askOwnToken(ctx, in)
	}
	u, err := jwt.Read(in.Token)
	if err != nil || u.Issuer != m.Issuer.Issuer {
		return nil, Outcome{Reason: credential.MalformedToken}, ignores
	}
	ev := &in.Evidence
	if g.blind(g.clock.Mono()) {
		return nil, g.refuse(keyOf(m.ID), credential.Unavailable, comeAgain, ev), rejects
	}
	why := foreignReason(g.checkForeign(ctx, m, &u))
	if why == credential.Unavailable {
		g.say(m, "the keys of the issuer cannot be fetched")
		return nil, g.refuse(keyOf(m.ID), why, comeAgain, ev), rejects
	}
	if why != credential.OK {
		return nil, g.refuse(keyOf(m.ID), why, 0, ev), rejects
	}
	id, why := g.federate(ctx, m, &u, in)
	if why == credential.OK && in.Certificate != nil { // whoever shows both is the same by both
		cert, out := g.certificate(ctx, ev, false)
		if out.Reason != credential.OK {
			return nil, out, rejects
		}
		if cert.made.PrincipalID != id.PrincipalID || cert.made.Org != id.Org {
			why = credential.Unbound
		}
	}
	if why != credential.OK {
		return nil, g.refuse(keyOf(m.ID), why, g.waitFor(why), ev), rejects
	}
	return id, Outcome{}, accepts
}

// askOwnToken judges an access token of ours, with the certificate that may be beside it.
func (g *Gate) askOwnToken(ctx context.Context, in *Entrance) (*Identity, Outcome, verdict) {
	if !g.isOwn(in.Token) {
		return nil, Outcome{Reason: credential.MalformedToken}, ignores
	}
	ev := in.Evidence
	id, out := g.Authenticate(ctx, &ev)
	if out.Reason != credential.OK {
		return nil, out, rejects
	}
	return id, out, accepts
}

// isOwn reports whether a text claims to be an access token of ours.
func (g *Gate) isOwn(text string) bool {
	if g.signing.read == nil || !looksLikeJWT(text) {
		return false
	}
	if gr, _ := g.tokens.find(keyOfToken(text)); gr != nil {
		return true
	}
	u, err := jwt.Read(text)
	return err == nil && u.Issuer == g.signing.issuer
}

// foreignLeeway is what the clock of another issuer may be off.
const foreignLeeway = 30 * time.Second

// unfetched is the error of keys that cannot be had.
type unfetched struct{ error }

// checkForeign checks signature and claims of a token of a trusted issuer. The error says what is wrong, and repeats nothing of the token.
func (g *Gate) checkForeign(ctx context.Context, m *member, u *jwt.Unverified) error {
	is := m.Issuer
	want := jwt.Want{Types: is.Types, Issuer: is.Issuer, Audiences: is.Audiences, Algs: is.Algorithms, Leeway: foreignLeeway}
	if len(want.Types) == 0 {
		want.Types = []string{accessType}
	}
	keys, now := m.keys, g.clock.Now()
	abroad := m.Org != credential.DefaultOrg
	if is.JWKSURI != "" {
		var err error
		if keys, err = g.keySets.of(ctx, is.JWKSURI, abroad, false); err != nil {
			return unfetched{err}
		}
	}
	err := u.Verify(keys, want, now)
	if errors.Is(err, jwt.ErrKey) && is.JWKSURI != "" { // it may sign with a new one
		if keys, err = g.keySets.of(ctx, is.JWKSURI, abroad, true); err != nil {
			return unfetched{err}
		}
		err = u.Verify(keys, want, now)
	}
	return err
}

// foreignReason is the reason of an error of checkForeign.
func foreignReason(err error) credential.Reason {
	if _, ok := errors.AsType[unfetched](err); ok {
		return credential.Unavailable
	}
	switch {
	case err == nil:
		return credential.OK
	case errors.Is(err, jwt.ErrSignature), errors.Is(err, jwt.ErrKey):
		return credential.BadSignature
	}
	return credential.WrongClaims
}

// holderOf returns the name that claims have for their holder, and what is wrong with them; "" if they are as the issuer's tokens must be.
func holderOf(is *credential.TrustedIssuer, claims map[string]any) (name, wrong string) {
	for _, path := range slices.Sorted(maps.Keys(is.Required)) {
		if got, ok := claimText(claims, path); !ok {
			return "", "it has no claim " + path
		} else if got != is.Required[path] {
			return "", "its claim " + path + " is another than the one that is required"
		}
	}
	name, ok := claimText(claims, is.Principal)
	if !ok {
		return "", "it has no claim " + is.Principal + " that says who it is"
	}
	if why := guestName(name); why != "" {
		return "", "its claim " + is.Principal + ": " + why
	}
	return name, ""
}

// federate returns who a token of a trusted issuer is: a principal of ours or, where the authenticator lets guests in, somebody who is not stored.
// It lives as long as the token, and is judged again when principals or rights change.
func (g *Gate) federate(ctx context.Context, m *member, u *jwt.Unverified, in *Entrance) (*Identity, credential.Reason) {
	var claims map[string]any
	if json.Unmarshal(u.Claims, &claims) != nil {
		return nil, credential.WrongClaims
	}
	is := m.Issuer
	name, wrong := holderOf(is, claims)
	if wrong != "" {
		return nil, credential.WrongClaims
	}
	scopes, why := claimScopes(claims, is.ScopeClaim)
	if why != credential.OK {
		return nil, why
	}
	exp, _ := claims["exp"].(float64)
	f := &federated{member: m, name: strings.Clone(name), scopes: scopes, narrow: is.ScopeClaim != "", ends: int64(min(exp, farAway)) * int64(time.Second)}
	if why := g.confirmed(ctx, claims["cnf"], in); why != credential.OK {
		return nil, why
	}
	if is.Guests {
		f.attrs = map[string]string{}
		for attr, path := range is.Attrs {
			if text, ok := claimText(claims, path); ok {
				f.attrs[attr] = strings.Clone(text)
			}
		}
	}
	return g.federatedNow(ctx, f)
}

// farAway is the last second that nanoseconds since 1970 can tell, and some more: nobody is let in for that long.
const farAway = math.MaxInt64/1e9 - 1e6

// federated is what a token of a trusted issuer says of its holder.
type federated struct {
	member *member
	name   string
	scopes []string
	narrow bool // to scopes
	attrs  map[string]string
	ends   int64         // ns since 1970
	turn   atomic.Uint64 // of principals and policy, when it was looked at last
}

// federatedNow makes the identity of a holder as of now.
func (g *Gate) federatedNow(ctx context.Context, f *federated) (*Identity, credential.Reason) {
	m, now, turn := f.member, g.clock.nano(), g.turns.Load()
	if now >= f.ends+int64(foreignLeeway) {
		return nil, credential.Expired
	}
	e := &entry{key: keyOf(m.ID), form: foreignForm, notBefore: math.MinInt64, deadline: f.ends + int64(foreignLeeway), revision: -1}
	e.made = Identity{entry: e, Org: m.Org, Credential: m.ID, Kind: credential.Kind(m.Type), Deadline: at(f.ends)}
	e.made.Principal = f.name
	allowed := m.Scopes
	if f.narrow {
		allowed = slices.DeleteFunc(slices.Clone(f.scopes), func(s string) bool { return len(m.Scopes) > 0 && !slices.Contains(m.Scopes, s) })
	}
	if m.Issuer.Guests {
		kind, err := g.bearer(ctx, m.Org, f.name)
		switch {
		case err != nil:
			return nil, credential.Unavailable
		case kind != "": // who has a credential of its own uses that
			return nil, credential.SourceDenied
		case strings.ContainsAny(f.name, "/+#"): // rules of scopes cannot speak of it
			return nil, credential.WrongClaims
		}
		if f.narrow {
			allowed = slices.DeleteFunc(allowed, func(s string) bool { return !slices.Contains(m.Scopes, s) })
		}
		e.rights = g.book.granted(m.Org, allowed)
		e.made.PrincipalID, e.made.PrincipalKind, e.made.Attrs = guestID(m.Org, f.name), credential.Service, f.attrs
	} else {
		p, err := g.store.Principal(ctx, m.Org, f.name)
		switch {
		case credential.IsNotFound(err):
			return nil, credential.UnknownCredential
		case err != nil:
			return nil, credential.Unavailable
		case p.Name != f.name || !p.DeletedAt.IsZero():
			return nil, credential.UnknownCredential
		case p.Disabled:
			return nil, credential.PrincipalDisabled
		}
		if e.rights = g.book.granted(m.Org, nil); len(allowed) > 0 || !f.narrow && len(m.Scopes) == 0 {
			e.rights = g.book.rights(m.Org, p.Roles, allowed, nil, "")
		}
		e.made.PrincipalID, e.made.PrincipalKind, e.made.Attrs = p.ID, constantKind(p.Kind), p.Attrs
	}
	e.made.compiled = e.rights.cur.Load()
	e.made.Scopes = e.made.compiled.names
	e.cold.Store(&cold{federated: f})
	e.ident.Store(&e.made)
	if why := e.standing(now); why != credential.OK {
		return nil, why
	}
	f.turn.Store(turn)
	return &e.made, credential.OK
}

// federated returns what e was made of, if it is the holder of a token of a trusted issuer.
func (e *entry) federated() *federated {
	if e.revision != -1 {
		return nil
	}
	if x := e.cold.Load(); x != nil {
		return x.federated
	}
	return nil
}

// renewFederated judges again the holder of a token of a trusted issuer.
func (g *Gate) renewFederated(ctx context.Context, id *Identity) (*Identity, credential.Reason) {
	f := id.entry.federated()
	now := g.chains.find(f.member.Org, f.member.ID)
	if now == nil || !now.Enabled || now.Version != f.member.Version { // nobody trusts the issuer any more, or not so
		return nil, credential.NoAuthenticator
	}
	fresh, why := g.federatedNow(ctx, f)
	if why != credential.OK {
		return nil, why
	}
	if was := &id.entry.made; id.entry.rights == fresh.entry.rights && sameHolder(was, fresh) && id.compiled == fresh.compiled {
		return id, credential.OK
	}
	return fresh, credential.OK
}

func sameHolder(a, b *Identity) bool {
	return a.PrincipalID == b.PrincipalID && a.Principal == b.Principal && maps.Equal(a.Attrs, b.Attrs)
}

// confirmed reports whether who comes in holds the key that a token is bound to (RFC 8705 §3.1, RFC 9449 §6.1), and shows no other. cnf is nil
// where it is bound to none.
func (g *Gate) confirmed(ctx context.Context, cnf any, in *Entrance) credential.Reason {
	m, _ := cnf.(map[string]any)
	x5t, _ := m["x5t#S256"].(string)
	jkt, _ := m["jkt"].(string)
	if cnf != nil && (len(m) != 1 || x5t == "" && jkt == "") { // bound to what this version does not know
		return credential.ProofMissing
	}
	return g.possessed(ctx, &grant{jkt: jkt, x5t: x5t}, &in.Evidence)
}

// claimText returns the claim at a path: "sub", "client.name". Numbers and truth values count as their text.
func claimText(claims map[string]any, path string) (string, bool) {
	switch v := claimAt(claims, path).(type) {
	case string:
		return v, true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// claimAt prefers a claim whose name is the whole path: names with dots are usual in some places.
func claimAt(claims map[string]any, path string) any {
	if v, ok := claims[path]; ok {
		return v
	}
	first, rest, more := strings.Cut(path, ".")
	inner, ok := claims[first].(map[string]any)
	if !more || !ok {
		return nil
	}
	return claimAt(inner, rest)
}

// claimScopes reads the scopes that a token names: a text with blanks between them, or a list.
func claimScopes(claims map[string]any, path string) ([]string, credential.Reason) {
	if path == "" {
		return nil, credential.OK
	}
	switch v := claimAt(claims, path).(type) {
	case nil:
		return nil, credential.OK
	case string:
		return strings.Fields(strings.Clone(v)), credential.OK
	case []any:
		var all []string
		for _, one := range v {
			s, ok := one.(string)
			if !ok {
				return nil, credential.WrongClaims
			}
			all = append(all, strings.Clone(s))
		}
		return all, credential.OK
	}
	return nil, credential.WrongClaims
}
