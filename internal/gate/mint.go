package gate

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// Wanted is what an access token is to be.
type Wanted struct {
	Scopes    []string // none: as many as may be
	Audiences []string // none: the client's one audience, or Cardea itself
	JKT       string   // thumbprint of the key that it is bound to (RFC 9449); "" for none
	X5T       string   // of the certificate (RFC 8705)
	Client    *Client  // that has asked for it; nil for nobody but its holder
	Actor     *Identity
}

// Minted is an access token.
type Minted struct {
	Token     string
	ID        string // jti
	Type      string // "Bearer" or "DPoP"
	Scopes    []string
	Audiences []string
	ExpiresAt time.Time
	Life      time.Duration
}

// maxAncestors is how many times a token may be exchanged for another, and another for that.
const maxAncestors = 4

// Mint makes an access token for an identity. It is never wider than the identity is now, nor longer-lived, and dies with it. Nothing is
// stored. Errors: Invalid with the field "scope", "resource", "actor_token" or "subject_token".
func (g *Gate) Mint(id *Identity, w *Wanted) (Minted, error) {
	now, why := g.now(id, origin{anywhere: true})
	if why != credential.OK || g.shut.Load() != 0 {
		return Minted{}, fault("subject_token", "is not accepted any more")
	}
	e, x := now.entry, now.with.access()
	if !e.mints() || now.Session() != "" {
		return Minted{}, fault("subject_token", "is nothing that access tokens are made for")
	}
	var t token
	if err := t.inherit(e, x, w); err != nil {
		return Minted{}, err
	}
	apis, err := g.audiences(e, x, w, &t)
	if err != nil {
		return Minted{}, err
	}
	if t.scopes, err = wantedScopes(g.live(now, g.isAbroad(t.audiences)), w.Scopes, apis, slices.Contains(t.audiences, g.signing.issuer)); err != nil {
		return Minted{}, err
	}
	if err := t.act(now, w); err != nil {
		return Minted{}, err
	}
	return g.signToken(now, w, &t, apis)
}

func fault(field, format string, args ...any) error {
	var p credential.Problems
	p.Add(field, format, args...)
	return p.Err()
}

// mints reports whether access tokens are made for credentials of e's kind.
func (e *entry) mints() bool {
	switch e.made.Kind {
	case credential.OAuthClient, credential.APIKey, credential.PAT, credential.AppKey, credential.DeviceToken, credential.Certificate:
		return e.revision >= 0 // a guest is nobody's
	}
	return false
}

// isAbroad reports whether one of some audiences is another than Cardea itself.
func (g *Gate) isAbroad(audiences []string) bool {
	return slices.ContainsFunc(audiences, func(a string) bool { return a != g.signing.issuer })
}

// token is an access token in the making.
type token struct {
	scopes, audiences []string
	jkt, x5t          string
	ancestors         []string
	by                []string // bonds beside those of its subject and of who acts
	actor             json.RawMessage
	mayAct            string
}

// inherit takes over what a token has from the one that it is exchanged from, and from the client.
func (t *token) inherit(e *entry, x *accessEntry, w *Wanted) error {
	t.jkt, t.x5t = w.JKT, w.X5T
	if c := e.client(); c != nil {
		t.mayAct = c.config.MayAct
	}
	if c := w.Client; c != nil && c.Credential != e.made.Credential { // it has got the token, and the token dies with it as well
		t.by = append(t.by, bondText(c.Identity.entry))
	}
	if w.Actor != nil {
		if a := w.Actor.with.access(); a != nil {
			t.descend(a.grant)
		}
	}
	if x == nil {
		return t.checkBound(e, w)
	}
	gr := x.grant
	t.descend(gr)
	if len(t.ancestors) > maxAncestors {
		return fault("subject_token", "was exchanged too many times")
	}
	t.actor, t.mayAct = gr.actor, gr.mayAct
	// What only one holder could use stays so (J24).
	if gr.jkt != "" {
		t.jkt = gr.jkt
	}
	if gr.x5t != "" {
		t.x5t = gr.x5t
	}
	return t.checkBound(e, w)
}

// descend makes a token die with another one, and with all that the other dies with.
func (t *token) descend(gr *grant) {
	for _, a := range gr.ancestors {
		t.ancestors = append(t.ancestors, a.String())
	}
	t.ancestors = append(t.ancestors, gr.id.String())
	for _, b := range gr.bonds[gr.acting:] {
		t.by = append(t.by, b.key.String()+"."+strconv.Itoa(b.proof))
	}
}

// checkBound refuses a token that is bound to nothing where clients want theirs to be.
func (t *token) checkBound(e *entry, w *Wanted) error {
	for _, c := range []*clientEntry{e.client(), w.Client.entry()} {
		if c != nil && (c.config.Bound == credential.BoundToDPoP && t.jkt == "" || c.config.Bound == credential.BoundToTLS && t.x5t == "") {
			return fault("cnf", "tokens of this client are bound: show a DPoP proof, or a client certificate")
		}
	}
	return nil
}

// audiences fills in whom a token is for, and returns those of them that are APIs.
func (g *Gate) audiences(e *entry, x *accessEntry, w *Wanted, t *token) ([]*credential.API, error) {
	issuer := g.signing.issuer
	var allowed [][]string
	for _, c := range []*clientEntry{e.client(), w.Client.entry()} {
		if c != nil && len(c.config.Audiences) > 0 {
			allowed = append(allowed, c.config.Audiences)
		}
	}
	t.audiences = slices.Compact(slices.Sorted(slices.Values(w.Audiences)))
	if x != nil && w.Client == nil && w.Actor == nil { // whoever has got it as its audience must not become another one with it (J23)
		allowed = append([][]string{x.grant.audiences}, allowed...)
	}
	switch {
	case len(t.audiences) > 0:
	case x != nil:
		t.audiences = x.grant.audiences
	case len(allowed) > 0 && len(allowed[0]) == 1:
		t.audiences = allowed[0]
	default:
		t.audiences = []string{issuer}
	}
	var apis []*credential.API
	book := g.apis.Load()
	for _, aud := range t.audiences {
		a := book.by[name{e.made.Org, aud}]
		if a == nil && aud != issuer {
			return nil, fault("resource", "is not an API that is known here: %.200q", aud)
		}
		for _, list := range allowed {
			if !slices.Contains(list, aud) {
				return nil, fault("resource", "is not among the audiences of the client: %.200q", aud)
			}
		}
		if a != nil {
			apis = append(apis, a)
		}
	}
	return apis, nil
}

// wantedScopes returns the scopes of a token: all that were asked for, or none.
func wantedScopes(has, want []string, apis []*credential.API, forUs bool) ([]string, error) {
	behind := func(s string) bool {
		return forUs || slices.ContainsFunc(apis, func(a *credential.API) bool { return slices.Contains(a.Scopes, s) })
	}
	if len(want) == 0 {
		all := slices.DeleteFunc(slices.Clone(has), func(s string) bool { return !behind(s) })
		if len(all) == 0 {
			return nil, fault("scope", "is empty: there is no scope that the token could have")
		}
		return all, nil
	}
	var got []string
	for _, s := range want {
		switch {
		case !slices.Contains(has, s):
			return nil, fault("scope", "is more than may be: %.64q", s)
		case !behind(s):
			return nil, fault("scope", "is none of the resource's: %.64q", s)
		case !slices.Contains(got, s):
			got = append(got, s)
		}
	}
	slices.Sort(got) // the same set is the same rights, in whatever order it was asked for
	return got, nil
}

// act notes who acts with the token, if that is somebody else than its subject (RFC 8693 §4.1). Who does must have been named by may_act (J23).
func (t *token) act(subject *Identity, w *Wanted) error {
	if w.Client != nil && w.Client.Org != subject.Org {
		return fault("subject_token", "is of another organisation")
	}
	who := w.Actor
	if who == nil && w.Client != nil {
		who = w.Client.Identity
	}
	if who == nil || who.PrincipalID == subject.PrincipalID {
		return nil
	}
	if who.Org != subject.Org || t.mayAct == "" || who.Principal != t.mayAct || !who.entry.mints() {
		return fault("actor_token", "is of somebody who may not act for the subject")
	}
	act, err := json.Marshal(actorClaims{
		Subject: who.Principal, ClientID: who.Credential, Credential: bondText(who.entry), Before: t.actor,
	})
	t.actor, t.mayAct = act, ""
	return err
}

// life returns for how long a token is good, before its ends are looked at.
func life(e *entry, apis []*credential.API) time.Duration {
	d := time.Duration(0)
	if c := e.client(); c != nil {
		d = c.config.TokenLife
	}
	for _, a := range apis {
		if one := a.TokenLife; one > 0 && (d == 0 || one < d) {
			d = one
		}
	}
	if d == 0 {
		return credential.DefaultTokenLife
	}
	return d
}

// signToken signs a token that ends with what it is made for, and with who acts.
func (g *Gate) signToken(id *Identity, w *Wanted, t *token, apis []*credential.API) (Minted, error) {
	s := g.signingKeys(g.ctx)
	if s == nil {
		return Minted{}, credential.Errorf(credential.Down, "the signing keys cannot be read")
	}
	signer := s.sign[algOf(apis)]
	if signer == nil {
		return Minted{}, credential.Errorf(credential.Down, "there is no key for %s yet: it is made when the API is", algOf(apis))
	}
	now := g.clock.nano()
	issued := now / int64(time.Second)
	ends := min(now+int64(life(id.entry, apis)), deadlineOf(id))
	if w.Actor != nil {
		ends = min(ends, deadlineOf(w.Actor))
	}
	if w.Client != nil {
		ends = min(ends, deadlineOf(w.Client.Identity))
	}
	expires := ends / int64(time.Second)
	if expires <= issued {
		return Minted{}, fault("subject_token", "is at its end")
	}
	jti, err := secret.NewID(secret.IDLen)
	if err != nil {
		return Minted{}, err
	}
	m := Minted{
		ID: jti, Type: "Bearer", Scopes: t.scopes, Audiences: t.audiences, ExpiresAt: time.Unix(expires, 0).UTC(),
		Life: time.Duration(expires-issued) * time.Second,
	}
	if t.jkt != "" {
		m.Type = "DPoP"
	}
	client := id.Credential
	if w.Client != nil {
		client = w.Client.Credential
	}
	m.Token, err = signer.SignPayload(accessType, t.payload(g.signing.issuer, client, id, &m, issued, expires))
	return m, err
}

func algOf(apis []*credential.API) string {
	alg := ""
	for _, a := range apis {
		if alg != "" && a.Alg != alg { // the resource servers agree on none but the one that all know
			return credential.DefaultSigning
		}
		alg = a.Alg
	}
	if alg == "" {
		return credential.DefaultSigning
	}
	return alg
}

// payload writes the claims (RFC 9068 §2.2). It is written by hand: this is what a token costs beside its signature.
func (t *token) payload(issuer, client string, id *Identity, m *Minted, issued, expires int64) []byte {
	b := make([]byte, 0, 512)
	b = appendText(append(b, `{"iss":`...), issuer)
	b = appendText(append(b, `,"sub":`...), id.Principal)
	b = append(b, `,"aud":`...)
	if len(t.audiences) == 1 {
		b = appendText(b, t.audiences[0])
	} else {
		b = appendTexts(b, t.audiences)
	}
	b = strconv.AppendInt(append(b, `,"exp":`...), expires, 10)
	b = strconv.AppendInt(append(b, `,"iat":`...), issued, 10)
	b = appendText(append(b, `,"jti":`...), m.ID)
	b = appendText(append(b, `,"client_id":`...), client)
	b = append(b, `,"scope":"`...)
	for i, s := range t.scopes { // no name of a scope needs escaping
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, s...)
	}
	b = appendText(append(b, `","org":`...), id.Org)
	b = appendText(append(b, `,"kind":`...), string(id.PrincipalKind))
	b = append(append(b, `,"crd":"`...), id.entry.made.Credential...)
	b = strconv.AppendInt(append(b, '.'), int64(id.entry.made.Proof), 10)
	b = append(b, '"')
	if t.jkt != "" || t.x5t != "" {
		b = append(b, `,"cnf":{`...)
		if t.jkt != "" {
			b = appendText(append(b, `"jkt":`...), t.jkt)
		}
		if t.x5t != "" {
			if t.jkt != "" {
				b = append(b, ',')
			}
			b = appendText(append(b, `"x5t#S256":`...), t.x5t)
		}
		b = append(b, '}')
	}
	if t.actor != nil {
		b = append(append(b, `,"act":`...), t.actor...)
	}
	if t.mayAct != "" {
		b = append(appendText(append(b, `,"may_act":{"sub":`...), t.mayAct), '}')
	}
	if len(t.ancestors) > 0 {
		b = appendTexts(append(b, `,"anc":`...), t.ancestors)
	}
	if len(t.by) > 0 {
		b = appendTexts(append(b, `,"by":`...), slices.Compact(slices.Sorted(slices.Values(t.by))))
	}
	return append(b, '}')
}

func appendTexts(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, s)
	}
	return append(b, ']')
}

// appendText writes a JSON string (RFC 8259 §7).
func appendText(b []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
