package authority

import (
	"context"
	"crypto/rand"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"cardea/internal/credential"
)

// maxAudiences is how many audiences an OAuth client, or the issuer that an authenticator trusts, may name.
const maxAudiences = 32

// actorOf finds the principal that is to act with the tokens of a client; nobody if the configuration names none.
func (a *Authority) actorOf(ctx context.Context, c Caller, config *credential.ClientConfig) (owner, error) {
	if config == nil || !plausibleRef(config.MayAct) {
		return owner{}, nil
	}
	p, err := a.store.Principal(ctx, c.Org, config.MayAct)
	if credential.IsNotFound(err) {
		return owner{}, nil
	}
	return owner{p, err == nil && p.DeletedAt.IsZero()}, err
}

// checkClient checks what a wish says of an OAuth client, and puts it into the draft.
func (n *NewCredential) checkClient(p *credential.Problems, d *draft, actor owner, b *book) {
	switch {
	case n.Kind != credential.OAuthClient && n.Client != nil:
		p.Add("client", "is for oauth_client only")
	case n.Kind != credential.OAuthClient:
	case n.Client == nil:
		p.Add("client", "is missing: an oauth_client needs one, which says how it proves itself")
	default:
		d.Client = b.client(p, n.Client, actor)
	}
}

// client checks how an OAuth client proves itself and what its tokens are, and returns it in the form that is stored.
func (b *book) client(p *credential.Problems, wanted *credential.ClientConfig, actor owner) *credential.ClientConfig {
	c := *wanted
	if c.Auth == "" {
		c.Auth = credential.SecretBasic
	}
	c.JWKS = sameJSON(c.JWKS)
	if !slices.Contains(credential.ClientAuthMethods(), c.Auth) {
		p.Add("client.auth_method", "is none of %s", strings.Join(credential.ClientAuthMethods(), ", "))
	} else {
		b.checkClientKeys(p, &c)
		checkClientSubject(p, &c)
	}
	c.Audiences = ownList(wanted.Audiences)
	b.checkAudiences(p, "client.audiences", c.Audiences)
	checkTokenLife(p, "client.token_life", c.TokenLife)
	switch c.Bound {
	case "", credential.BoundToDPoP, credential.BoundToTLS:
	default:
		p.Add("client.bound", "is neither %s nor %s; leave it out for tokens that are good for whoever holds them", credential.BoundToDPoP, credential.BoundToTLS)
	}
	switch {
	case c.MayAct == "":
	case !actor.found:
		p.Add("client.may_act", "names no principal that there is: %s", quote(c.MayAct))
	default:
		c.MayAct = actor.Name
	}
	return &c
}

// checkAudiences: those of APIs of the organisation, or Cardea itself.
func (b *book) checkAudiences(p *credential.Problems, field string, all []string) {
	if len(all) > maxAudiences {
		p.Add(field, "has more than %d entries", maxAudiences)
		return
	}
	for i, aud := range all {
		if aud != "" && (aud == b.issuer || b.hasAudience(aud)) {
			continue
		}
		us := ""
		if b.issuer != "" {
			us = ", nor that of Cardea, " + b.issuer
		}
		p.Add(item(field, i), "is the audience of no API of the organisation %s%s: %s", b.org.Name, us, quote(aud))
	}
	checkRepeats(p, field, all)
}

func (b *book) hasAudience(aud string) bool {
	return slices.ContainsFunc(b.apis(), func(x credential.API) bool { return x.Audience == aud })
}

// checkTokenLife is for how long access tokens live; 0 leaves it to something else.
func checkTokenLife(p *credential.Problems, field string, d time.Duration) {
	switch {
	case d == 0:
	case d < credential.MinTokenLife || d > credential.MaxTokenLife:
		p.Add(field, "must be from %s to %s", credential.FormatDuration(credential.MinTokenLife), credential.FormatDuration(credential.MaxTokenLife))
	case d%time.Second != 0:
		p.Add(field, "must be of whole seconds")
	}
}

// makeClient makes a secret for a client that proves itself by one. Any other has a version all the same, which its tokens die with; its hash is
// random, and no text fits it.
func (a *Authority) makeClient(ch *change, d *draft) (Issued, error) {
	if d.Client.HasSecret() {
		return a.makeToken(ch, d)
	}
	d.Proofs = []credential.Proof{keyless(1, ch.at)}
	d.create(ch)
	return Issued{Credential: d.Credential, PrincipalName: d.principal, OwnerName: d.owner, Warnings: d.warnings}, nil
}

// keyless is version n of what has no secret.
func keyless(n int, now time.Time) credential.Proof {
	p := credential.Proof{N: n, Hash: make([]byte, 32), CreatedAt: now}
	_, _ = rand.Read(p.Hash) // which never fails
	return p
}

// hasNoSecret refuses the rotation of a client without one, and says what to do instead.
func hasNoSecret(c *credential.Credential) error {
	if c.Kind != credential.OAuthClient || c.Client == nil || c.Client.HasSecret() {
		return nil
	}
	return credential.Errorf(credential.Conflict,
		"the client %s proves itself by %s and has no secret that could be rotated: change its keys or its subject instead, which ends its tokens", c.ID, c.Client.Auth)
}

// turnClient gives a client that proves itself in another way from now on a new version at once, so that the tokens die which were made for the
// former one. c is as the operation before it leaves it, and is moved on. A secret the new version has only after a rotation.
func turnClient(ch *change, c *credential.Credential, d details) {
	proof := keyless(c.Proofs[0].N+1, ch.at)
	c.Proofs = superseded(c, proof, 0, ch.at)
	d.put("version", strconv.Itoa(proof.N))
	ch.also(credential.SetProofs{ID: c.ID, Version: c.Version, Proofs: c.Proofs, ExpiresAt: c.ExpiresAt})
	c.Version++
}

// forgetName takes a principal that is deleted from the APIs and the clients that name it: whoever got its name later would introspect, and act
// with their tokens, in its place.
func (a *Authority) forgetName(ctx context.Context, ch *change, b *book, p *credential.Principal) error {
	for _, x := range b.apis() {
		if !slices.Contains(x.Introspectors, p.Name) {
			continue
		}
		now := ownAPI(x)
		now.Introspectors = slices.DeleteFunc(now.Introspectors, func(n string) bool { return n == p.Name })
		d := details{}
		d.set("introspectors", names(x.Introspectors), names(now.Introspectors))
		ch.do(credential.PutAPI{API: now}, "api.update", aboutAPI(x.Name), d)
	}
	return a.eachCredential(ctx, credential.CredentialFilter{Org: p.Org, Kind: credential.OAuthClient}, func(l credential.Listed) error {
		if l.Client == nil || l.Client.MayAct != p.Name || l.State.Ended() || l.Principal == p.ID {
			return nil
		}
		config := *l.Client
		config.MayAct, l.Client = "", &config
		d := details{}
		d.set("may_act", p.Name, "")
		ch.do(credential.UpdateCredential{Credential: l.Credential}, "credential.update", aboutCredential(l.ID, l.PrincipalName), d)
		return nil
	})
}

// sameClient reports whether two configurations, in the form that is stored, say the same.
func sameClient(x, y *credential.ClientConfig) bool { return reflect.DeepEqual(x, y) }

// clientDetails are how a client proves itself and what its tokens are, for an event. Keys are told by their thumbprints.
func clientDetails(c *credential.ClientConfig) map[string]string {
	if c == nil {
		return nil
	}
	d := map[string]string{
		"auth": c.Auth, "jwks": listed(keyNamesOf(c.JWKS)), "jwks_uri": "", "audiences": listed(c.Audiences),
		"token_life": "", "bound": c.Bound, "may_act": c.MayAct,
	}
	if c.JWKSURI != "" {
		d["jwks_uri"] = withoutQuery(c.JWKSURI)
	}
	if c.TokenLife > 0 {
		d["token_life"] = credential.FormatDuration(c.TokenLife)
	}
	for _, s := range subjectsOf(c) {
		d[s.field] = printable(s.value)
	}
	return d
}

// clientChanges notes what a change makes of a client. What is not shown in full may differ where it is not seen.
func clientChanges(d details, old, now *credential.ClientConfig) {
	if sameClient(old, now) {
		return
	}
	was, is, before := clientDetails(old), clientDetails(now), len(d)
	for field := range is {
		d.set(field, was[field], is[field])
	}
	if len(d) == before {
		d["client"] = "changed"
	}
}
