package authority

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// onlyPrefix begins the names of the roles that [Authority.GenerateKey] makes: each holds
// exactly the scopes that it is named after, and cannot be changed.
const onlyPrefix = "only:"

// GenerateKey makes a device with a token and a certificate, in one change; both stop at the same instant. Without scopes
// it gets the role device. Errors: Invalid, NoRight; Exists if the name is taken, with the way to rotate.
func (a *Authority) GenerateKey(ctx context.Context, c Caller, n NewKey) (Bundle, error) {
	if err := a.Authorize(c, "principals:create", "/principals/"+n.ID); err != nil {
		return Bundle{}, err
	}
	if err := a.Authorize(c, "credentials:create", "/credentials/"+n.ID); err != nil {
		return Bundle{}, err
	}
	key := n.Idempotency
	n.Idempotency = ""
	m, err := newMemo(c, "GenerateKey", key, n)
	if err != nil {
		return Bundle{}, err
	}
	g := &keygen{a: a, c: c, n: n}
	r, err := a.once(ctx, m, func() (reply, error) { return g.run(ctx, m) })
	if err != nil {
		return Bundle{}, err
	}
	return r.bundle(), nil
}

// keygen makes one key. Attempts that are overtaken, by another key that
// makes the same role, say, share one certificate.
type keygen struct {
	a    *Authority
	c    Caller
	n    NewKey
	user owner  // who answers for it
	id   string // of the certificate's credential; "" before it was signed
	leaf leaf
}

func (g *keygen) run(ctx context.Context, m *memo) (reply, error) {
	if err := g.a.checkClock(ctx); err != nil {
		return reply{}, err
	}
	b, err := g.a.book(ctx, g.c.Org)
	if err != nil {
		return reply{}, err
	}
	ch := g.a.begin(g.c)
	if g.user, err = g.a.responsible(ctx, g.c, ""); err != nil {
		return reply{}, err
	}
	pub, err := g.check(b, ch.at)
	if err != nil {
		return reply{}, err
	}
	if err := g.isFree(ctx); err != nil {
		return reply{}, err
	}
	role, err := g.role(ch, b)
	if err != nil {
		return reply{}, err
	}
	if err := g.sign(ctx, ch, pub, b); err != nil {
		return reply{}, err
	}
	r, err := g.build(ch, b, role)
	if err != nil {
		return reply{}, err
	}
	if err := g.a.remember(ch, m, r); err != nil {
		return reply{}, err
	}
	return r, g.a.commit(ctx, ch)
}

// check names the fields as the command line and the API do.
func (g *keygen) check(b *book, now time.Time) (*publicKey, error) {
	var p credential.Problems
	checkNewName(&p, "id", g.n.ID)
	switch {
	case g.n.Valid < 0:
		p.Add("valid", "is negative")
	case g.n.Valid > 0 && g.n.Valid < time.Second:
		p.Add("valid", "is less than a second")
	default:
		b.strictest().checkEnd(&p, "valid", now.Add(g.valid(b)), now)
	}
	for _, k := range keyKinds {
		b.rules(k).checkKey(&p, g.n.ID)
	}
	checkPolicyNames(&p, "scopes", g.n.Scopes, maxScopes, b.hasScope)
	pub := readCSR(&p, "csr", g.n.CSR)
	return pub, p.Err()
}

func (g *keygen) isFree(ctx context.Context) error {
	err := g.a.nameIsFree(ctx, g.c.Org, g.n.ID)
	if credential.KindOf(err) == credential.Exists && err != nil {
		return credential.Errorf(credential.Exists, "there is a principal %s already: to give it a new key use 'cardea key rotate %s'", g.n.ID, g.n.ID)
	}
	return err
}

// role returns the role that the device gets, and adds it to the change if it is missing. What its scopes
// allow, the caller must have; a right to make roles it does not need.
func (g *keygen) role(ch *change, b *book) (string, error) {
	if len(g.n.Scopes) == 0 {
		if !b.hasRole(credential.RoleDevice) {
			return "", credential.Errorf(credential.Conflict, "the organisation %s has no role %s: name the scopes of the key", g.c.Org, credential.RoleDevice)
		}
		return credential.RoleDevice, mayGrant(g.c, "the key", granted(nil, b.ofRoles([]string{credential.RoleDevice})))
	}
	if err := mayGrant(g.c, "the key", granted(nil, b.ofScopes(g.n.Scopes))); err != nil {
		return "", err
	}
	scopes := slices.Sorted(slices.Values(g.n.Scopes))
	name := onlyRole(scopes)
	if is, there := b.roles[name]; there {
		if !slices.Equal(slices.Sorted(slices.Values(is.Scopes)), scopes) {
			return "", credential.Errorf(credential.Conflict, "the role %s, which keys with these scopes get, has other scopes: delete it", name)
		}
		return name, nil
	}
	r := credential.Role{Org: g.c.Org, Name: name, Description: "Made by key gen for devices with exactly these scopes.", Scopes: scopes}
	ch.do(credential.PutRole{Role: r}, "role.create", aboutRole(name), details{"scopes": names(scopes)})
	return name, nil
}

// onlyRole is the name of the role that holds exactly these sorted scopes.
func onlyRole(scopes []string) string {
	if name := onlyPrefix + scopes[0]; len(scopes) == 1 && credential.CheckPolicyName(name) == "" {
		return name
	}
	sum := sha256.Sum256([]byte(strings.Join(scopes, "\n")))
	return onlyPrefix + hex.EncodeToString(sum[:])[:12]
}

func (g *keygen) sign(ctx context.Context, ch *change, pub *publicKey, b *book) error {
	if g.id != "" {
		return nil
	}
	id, err := secret.NewID(secret.IDLen)
	if err != nil {
		return err
	}
	if g.leaf, err = g.a.sign(ctx, ch, pub, leafWish{principal: g.n.ID, credential: id, until: ch.at.Add(g.valid(b))}); err != nil {
		return err
	}
	g.id = id
	return nil
}

// build adds device, token and certificate to the change. The end is that of the certificate, for both.
func (g *keygen) build(ch *change, b *book, role string) (reply, error) {
	p, err := newPrincipal(ch, NewPrincipal{Kind: credential.Device, Name: g.n.ID, Roles: []string{role}})
	if err != nil {
		return reply{}, err
	}
	tokenID, err := secret.NewID(secret.IDLen)
	if err != nil {
		return reply{}, err
	}
	cert := g.draft(ch, b, &p, credential.Certificate, g.id).withLeaf(ch, &g.leaf)
	token, err := g.a.makeToken(ch, g.draft(ch, b, &p, credential.DeviceToken, tokenID))
	if err != nil {
		return reply{}, err
	}
	r := reply{Principal: &p, Issued: []Issued{token, cert}}
	r.Warnings = append(r.Warnings, token.Warnings...)
	if role == credential.RoleDevice {
		r.Warnings = append(r.Warnings, fmt.Sprintf(
			"%s may use all topics that do not begin with $ and all gateway routes: narrow it with --scope NAME", p.Name))
	}
	if g.leaf.warning != "" {
		r.Warnings = append(r.Warnings, g.leaf.warning)
	}
	return r, nil
}

func (g *keygen) draft(ch *change, b *book, p *credential.Principal, k credential.Kind, id string) *draft {
	d := &draft{principal: p.Name, Credential: credential.Credential{
		ID: id, Org: p.Org, Kind: k, Principal: p.ID, Name: p.Name, State: credential.StateActive,
		ExpiresAt: g.leaf.ends, CreatedAt: ch.at, CreatedBy: g.c.Actor.Principal, Version: 1,
	}}
	if g.user.found {
		d.Owner, d.owner = g.user.ID, g.user.Name
	}
	g.a.awaitApproval(g.c, b, d)
	return d
}

// keyKinds are what a key is made of.
var keyKinds = []credential.Kind{credential.Certificate, credential.DeviceToken}

// valid is how long both halves of the key live.
func (g *keygen) valid(b *book) time.Duration {
	if g.n.Valid > 0 {
		return g.n.Valid
	}
	valid := b.rules(credential.Certificate).DefaultLifetime
	if other := b.rules(credential.DeviceToken).DefaultLifetime; other > 0 {
		valid = min(valid, other)
	}
	return min(valid, b.strictest().longest())
}

// strictest is the policy of the kinds of a key that lets it live less long.
func (b *book) strictest() *kindRules {
	cert, token := b.rules(credential.Certificate), b.rules(credential.DeviceToken)
	if token.longest() < cert.longest() {
		return token
	}
	return cert
}

// checkKey holds for what a key cannot say: its halves have the device's name, and come from anywhere.
func (r *kindRules) checkKey(p *credential.Problems, id string) {
	if r.pattern != nil && !r.pattern.MatchString(id) {
		p.Add("id", "does not match %s, as %s demands of names", r.NamePattern, r)
	}
	if r.RequireNetworks || len(r.Networks) > 0 {
		p.Add("id", "would get credentials that may come from anywhere, but %s demands networks: make the device and then each credential, with allowed_ips", r)
	}
}

// RotateKey rotates the newest token and certificate of a device that were not revoked, both in one change. They end at the same instant again.
func (a *Authority) RotateKey(ctx context.Context, c Caller, id string, r Rotation) (Bundle, error) {
	p, err := a.deviceFor(ctx, c, id)
	if err != nil {
		return Bundle{}, err
	}
	key := r.Idempotency
	r.Idempotency = ""
	m, err := newMemo(c, "RotateKey", key, []any{p.ID, r})
	if err != nil {
		return Bundle{}, err
	}
	from, err := r.check(&credential.Credential{Kind: credential.Certificate})
	if err != nil {
		return Bundle{}, err
	}
	kept, err := a.once(ctx, m, func() (reply, error) { return a.rotateKey(ctx, c, p, r, from, m) })
	if err != nil {
		return Bundle{}, err
	}
	return kept.bundle(), nil
}

// deviceFor finds the device whose credentials the caller may rotate.
func (a *Authority) deviceFor(ctx context.Context, c Caller, ref string) (credential.Principal, error) {
	hidden := notFound("key", ref)
	if !plausibleRef(ref) {
		return credential.Principal{}, hidden
	}
	p, err := a.store.Principal(ctx, c.Org, ref)
	if credential.IsNotFound(err) {
		return p, hidden
	}
	if err != nil {
		return p, err
	}
	if err := a.permit(c, "credentials", "rotate", p.Name, hidden); err != nil {
		return p, err
	}
	if !p.DeletedAt.IsZero() || p.Kind != credential.Device {
		return p, hidden
	}
	return p, nil
}

func (a *Authority) rotateKey(ctx context.Context, c Caller, p credential.Principal, r Rotation, from source, m *memo) (reply, error) {
	if err := a.checkClock(ctx); err != nil {
		return reply{}, err
	}
	token, cert, err := a.keyOf(ctx, &p)
	if err != nil {
		return reply{}, err
	}
	ch := a.begin(c)
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return reply{}, err
	}
	for _, rec := range []*credential.Record{&cert, &token} {
		if err := a.mayTurn(ctx, c, b, rec, r, ch.at); err != nil {
			return reply{}, err
		}
	}
	ch.also(credential.Expect{Principal: token.Principal.ID, Version: token.Principal.Version})
	ends, note := b.rules(credential.Certificate).renewed(&cert.Credential, ch.at)
	if most := ch.at.Add(b.rules(credential.DeviceToken).longest()); most.Before(ends) {
		ends, note = b.rules(credential.DeviceToken).renewed(&cert.Credential, ch.at)
	}
	c2, err := a.turn(ctx, ch, &cert, r, from, ends)
	if err != nil {
		return reply{}, err
	}
	if note != "" {
		c2.Warnings = append(c2.Warnings, note)
	}
	t2, err := a.turn(ctx, ch, &token, r, source{}, c2.Credential.ExpiresAt)
	if err != nil {
		return reply{}, err
	}
	kept := reply{Principal: &token.Principal, Issued: []Issued{t2, c2}, Warnings: c2.Warnings}
	if err := a.remember(ch, m, kept); err != nil {
		return reply{}, err
	}
	return kept, a.commitWithRoom(ctx, ch, b, b.revived(ch, &token, &cert))
}

// keyOf returns the newest token and the newest certificate of a device that
// were not revoked; ones that have expired can be rotated too.
func (a *Authority) keyOf(ctx context.Context, p *credential.Principal) (token, cert credential.Record, err error) {
	newest := map[credential.Kind]string{}
	err = a.eachCredential(ctx, credential.CredentialFilter{Org: p.Org, Principal: p.ID}, func(l credential.Listed) error {
		if _, newer := newest[l.Kind]; !newer && !l.State.Ended() {
			newest[l.Kind] = l.ID
		}
		return nil
	})
	if err != nil {
		return token, cert, err
	}
	for _, k := range []credential.Kind{credential.DeviceToken, credential.Certificate} {
		if newest[k] == "" {
			return token, cert, credential.Errorf(credential.Conflict, "the device %s has no %s that is not revoked: make one with 'cardea cred create'", p.Name, k)
		}
	}
	if token, err = a.store.Credential(ctx, newest[credential.DeviceToken]); err != nil {
		return token, cert, err
	}
	cert, err = a.store.Credential(ctx, newest[credential.Certificate])
	return token, cert, err
}
