package authority

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// CreateCredential issues a credential for a principal. Errors: Invalid,
// NoRight, Exists, Down; Unprocessed if the idempotency key was used for another request.
func (a *Authority) CreateCredential(ctx context.Context, c Caller, n NewCredential) (Issued, error) {
	issued, err := a.createCredentials(ctx, c, []NewCredential{n}, func(int) string { return "" })
	if err != nil {
		return Issued{}, err
	}
	return issued[0], nil
}

// CreateCredentials makes tokens, OAuth clients and SCRAM credentials (no certificates) in one transaction: all or none. At most 1000. The idempotency
// key is the first one's; fields are named "credentials[I].FIELD".
func (a *Authority) CreateCredentials(ctx context.Context, c Caller, n []NewCredential) ([]Issued, error) {
	var p credential.Problems
	if len(n) == 0 || len(n) > maxBatch {
		p.Add("credentials", "has %d entries: 1 to %d are possible", len(n), maxBatch)
	}
	for i := range n {
		if n[i].Kind == credential.Certificate {
			p.Add(item("credentials", i)+".kind", "is certificate: those are made one by one")
		}
		if i > 0 && n[i].Idempotency != "" && n[i].Idempotency != n[0].Idempotency {
			p.Add(item("credentials", i)+".idempotency", "is not that of the first entry")
		}
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	return a.createCredentials(ctx, c, n, func(i int) string { return item("credentials", i) + "." })
}

// createCredentials makes one or many; prefix says how the fields of the i-th are called.
func (a *Authority) createCredentials(ctx context.Context, c Caller, wanted []NewCredential, prefix func(int) string) ([]Issued, error) {
	w := newWishes(a, c, wanted, prefix)
	if err := w.authorize(ctx); err != nil {
		return nil, err
	}
	key := w.all[0].Idempotency
	for i := range w.all {
		w.all[i].Idempotency = ""
	}
	m, err := newMemo(c, "CreateCredentials", key, w.all)
	if err != nil {
		return nil, err
	}
	m.hide(w.materials()...)
	r, err := a.once(ctx, m, func() (reply, error) {
		if err := a.checkClock(ctx); err != nil {
			return reply{}, err
		}
		return w.grant(ctx, m)
	})
	if err != nil {
		return nil, err
	}
	return r.Issued, nil
}

// wishes are credentials that are asked for in one request.
type wishes struct {
	a      *Authority
	c      Caller
	all    []NewCredential
	prefix func(int) string
	owners map[string]owner // by how the request names them
	users  map[string]owner // who answers for them, by how the request names them; "" is the caller, if that is a user
	actors map[string]owner // who may act with the tokens of clients, by how the request names them
	logins map[int]*login   // of the SCRAM credentials, by their place in all; made by the first attempt that comes so far
	stale  bool
}

func newWishes(a *Authority, c Caller, wanted []NewCredential, prefix func(int) string) *wishes {
	return &wishes{a: a, c: c, all: slices.Clone(wanted), prefix: prefix, owners: map[string]owner{}, users: map[string]owner{}, actors: map[string]owner{}}
}

func (w *wishes) materials() []material {
	all := make([]material, len(w.all))
	for i := range w.all {
		all[i] = w.all[i].material()
	}
	return all
}

// owner is a principal that a credential is wished for; found is false if there is no such one.
type owner struct {
	credential.Principal
	found bool
}

// load reads the principals of all wishes, each once.
func (w *wishes) load(ctx context.Context) error {
	clear(w.owners)
	clear(w.users)
	clear(w.actors)
	for i := range w.all {
		if err := w.loadUser(ctx, w.all[i].Owner); err != nil {
			return err
		}
		if err := w.loadActor(ctx, w.all[i].Client); err != nil {
			return err
		}
		ref := w.all[i].Principal
		if _, done := w.owners[ref]; done || !plausibleRef(ref) {
			continue
		}
		p, err := w.a.store.Principal(ctx, w.c.Org, ref)
		if err != nil && !credential.IsNotFound(err) {
			return err
		}
		w.owners[ref] = owner{p, err == nil && p.DeletedAt.IsZero()}
	}
	return nil
}

// loadUser reads who answers for a credential, each once.
func (w *wishes) loadUser(ctx context.Context, ref string) (err error) {
	if _, done := w.users[ref]; !done {
		w.users[ref], err = w.a.responsible(ctx, w.c, ref)
	}
	return err
}

// loadActor reads who may act with the tokens of a client, each once.
func (w *wishes) loadActor(ctx context.Context, c *credential.ClientConfig) (err error) {
	if c == nil {
		return nil
	}
	if _, done := w.actors[c.MayAct]; !done {
		w.actors[c.MayAct], err = w.a.actorOf(ctx, w.c, c)
	}
	return err
}

// responsible finds the user who is to answer for a credential; the caller for "", if that is a user.
func (a *Authority) responsible(ctx context.Context, c Caller, ref string) (owner, error) {
	byDefault := ref == ""
	if byDefault && !c.Local {
		ref = c.Actor.Principal
	}
	if !plausibleRef(ref) {
		return owner{}, nil
	}
	p, err := a.store.Principal(ctx, c.Org, ref)
	if credential.IsNotFound(err) || err == nil && byDefault && p.Kind != credential.User {
		return owner{}, nil
	}
	return owner{p, err == nil && p.DeletedAt.IsZero()}, err
}

// authorize asks for the right on each principal. A refusal names the principal
// as the request did, so that it tells nothing about an ID.
func (w *wishes) authorize(ctx context.Context) error {
	if err := w.load(ctx); err != nil {
		return err
	}
	asked := map[string]bool{}
	for i := range w.all {
		ref := w.all[i].Principal
		if asked[ref] {
			continue
		}
		asked[ref] = true
		object := ref
		if o := w.owners[ref]; o.found {
			object = o.Name
		}
		if err := passing(w.c, "credentials:create", "/credentials/"+object); err != nil {
			return err
		}
		if w.a.Authorize(w.c, "credentials:create", "/credentials/"+object) != nil {
			return credential.Errorf(credential.NoRight, "the right credentials:create on %s is missing", quote("/credentials/"+ref))
		}
	}
	return nil
}

// grant makes all of the wishes in one change.
func (w *wishes) grant(ctx context.Context, m *memo) (reply, error) {
	if w.stale {
		if err := w.load(ctx); err != nil {
			return reply{}, err
		}
	}
	w.stale = true // a further attempt must look again
	b, err := w.a.book(ctx, w.c.Org)
	if err != nil {
		return reply{}, err
	}
	ch := w.a.begin(w.c)
	drafts, err := w.check(b, ch.at)
	if err != nil {
		return reply{}, err
	}
	w.expect(ch)
	ch.ops, ch.events = slices.Grow(ch.ops, len(drafts)), slices.Grow(ch.events, len(drafts))
	if err := w.makeLogins(ctx, drafts); err != nil {
		return reply{}, err
	}
	if err := w.keyNamesAreFree(ctx, drafts); err != nil {
		return reply{}, err
	}
	if err := giveIDs(drafts); err != nil {
		return reply{}, err
	}
	issued := make([]Issued, len(drafts))
	for i := range drafts {
		if issued[i], err = w.a.make(ctx, ch, &drafts[i]); err != nil {
			return reply{}, err
		}
	}
	r := reply{Issued: issued}
	if err := w.a.remember(ch, m, r); err != nil {
		return reply{}, err
	}
	return r, w.a.commitWithRoom(ctx, ch, b, b.crowdsOf(drafts))
}

// expect adds to the change that the principals, and those who answer, are still what they were.
func (w *wishes) expect(ch *change) {
	expected := map[string]bool{}
	for _, found := range []map[string]owner{w.owners, w.users} {
		for _, o := range found {
			if o.found && !expected[o.ID] {
				expected[o.ID] = true
				ch.also(credential.Expect{Principal: o.ID, Version: o.Version})
			}
		}
	}
}

// draft is a credential that was checked and may be made.
type draft struct {
	credential.Credential
	principal string // name
	owner     string // name of the user who answers for it
	key       *publicKey
	login     *login // scram
	admin     bool   // app_key: its user is an administrator
	warnings  []string
}

// check checks every wish and names all faults of all of them; then that the caller may grant them.
func (w *wishes) check(b *book, now time.Time) ([]draft, error) {
	var p, own credential.Problems
	drafts := make([]draft, len(w.all))
	for i := range w.all {
		own = own[:0]
		n, o := &w.all[i], w.owners[w.all[i].Principal]
		drafts[i] = n.draft(&own, o, w.users[n.Owner], b, now)
		n.checkClient(&own, &drafts[i], w.actors[n.mayAct()], b)
		if o.found {
			if err := b.checkSubset(&own, n.Kind, &o.Principal, n.Scopes); err != nil {
				return nil, err
			}
		}
		for _, f := range own {
			p.Add(w.prefix(i)+f.Field, "%s", f.Message)
		}
		drafts[i].Org, drafts[i].CreatedBy = w.c.Org, w.c.Actor.Principal
	}
	field := func(i int, name string) string { return w.prefix(i) + name }
	checkLogins(&p, w.all, drafts, field)
	checkKeyNames(&p, drafts, field)
	if err := p.Err(); err != nil {
		return nil, err
	}
	asked := map[string]bool{} // many wishes of a batch are alike: ask once
	for i := range drafts {
		if i > 0 && drafts[i].Principal == drafts[i-1].Principal && slices.Equal(drafts[i].Scopes, drafts[i-1].Scopes) {
			continue
		}
		roles := w.owners[w.all[i].Principal].Roles
		alike := fmt.Sprint(roles, drafts[i].Scopes)
		if asked[alike] {
			continue
		}
		if err := b.mayIssue(w.c, roles, drafts[i].Scopes); err != nil {
			return nil, err
		}
		asked[alike] = true
	}
	for i := range drafts {
		if err := notBootstrap(drafts[i].principal); err != nil {
			return nil, err
		}
		w.a.awaitApproval(w.c, b, &drafts[i])
	}
	return drafts, nil
}

// draft checks a wish and works out what it means.
func (n *NewCredential) draft(p *credential.Problems, o, user owner, b *book, now time.Time) draft {
	d := draft{
		Credential: credential.Credential{
			Kind: n.Kind, Principal: o.ID, Name: n.Name, Description: n.Description,
			Scopes: slices.Clone(n.Scopes), Networks: slices.Clone(n.Networks), Tags: slices.Clone(n.Tags), Project: n.Project,
			State: credential.StateActive, NotBefore: n.NotBefore.UTC().Truncate(time.Microsecond), CreatedAt: now, Version: 1,
		},
		principal: o.Name,
	}
	d.Resources, d.Limits = slices.Clone(n.Resources), n.Limits
	d.Documentation, d.ClientName, d.Home = n.Documentation, n.ClientName, n.Home
	*p = append(*p, n.Unread...)
	n.checkOwner(p, o)
	r := b.rules(n.Kind)
	checkDescriptive(p, &d.Credential, b)
	r.checkName(p, d.Name)
	r.checkNetworks(p, d.Networks)
	b.checkResources(p, &d.Credential)
	if n.Owner != "" {
		checkUser(p, n.Owner, user)
	}
	if user.found {
		d.Owner, d.owner = user.ID, user.Name
	}
	var note string
	if d.ExpiresAt, note = n.lifetime(p, r, now); note != "" {
		d.warnings = append(d.warnings, note)
	}
	if n.Kind == credential.Certificate {
		d.key = readCSR(p, "csr", n.CSR)
	} else if len(n.CSR) > 0 {
		p.Add("csr", "is for certificates only")
	}
	n.checkLogin(p, &d)
	if n.Kind == credential.SCRAM && b.org.Name != credential.DefaultOrg {
		d.warnings = append(d.warnings, "nobody can log in with it yet: the listeners look for SCRAM users in the organisation "+credential.DefaultOrg)
	}
	n.checkAppKey(p, &d, o, b)
	return d
}

// mayAct is who may act with the tokens of a client, as the request names them.
func (n *NewCredential) mayAct() string {
	if n.Client == nil {
		return ""
	}
	return n.Client.MayAct
}

func (n *NewCredential) checkOwner(p *credential.Problems, o owner) {
	switch {
	case n.Principal == "":
		p.Add("principal", "is empty")
	case !o.found:
		p.Add("principal", "does not exist: %s", quote(n.Principal))
	case o.Disabled:
		p.Add("principal", "is disabled: %s", o.Name)
	}
	switch {
	case !n.Kind.Valid():
		p.Add("kind", "is none of %s", list(credential.Kinds(), func(k credential.Kind) string { return string(k) }))
	case o.found && !n.Kind.For(o.Kind):
		p.Add("kind", "is %s, which is not for a principal of kind %s", n.Kind, o.Kind)
	}
}

// checkUser holds for who shall answer for a credential.
func checkUser(p *credential.Problems, ref string, user owner) {
	switch {
	case !user.found:
		p.Add("owner", "does not exist: %s", quote(ref))
	case user.Kind != credential.User:
		p.Add("owner", "is no user, but a %s: %s", user.Kind, user.Name)
	}
}

// giveIDs gives the drafts random IDs, in ascending order: the database keeps its indexes by them, and fills neighbouring
// pages faster than scattered ones.
func giveIDs(drafts []draft) (err error) {
	ids := make([]string, len(drafts))
	for i := range ids {
		if ids[i], err = secret.NewID(secret.IDLen); err != nil {
			return err
		}
	}
	slices.Sort(ids)
	for i := range drafts {
		drafts[i].ID = ids[i]
	}
	return nil
}

// make adds to the change that a draft becomes a credential, and returns what is shown once.
func (a *Authority) make(ctx context.Context, ch *change, d *draft) (Issued, error) {
	switch d.Kind {
	case credential.Certificate:
		return a.makeCertificate(ctx, ch, d)
	case credential.SCRAM:
		return a.makeScram(ch, d)
	case credential.OAuthClient:
		return a.makeClient(ch, d)
	}
	return a.makeToken(ch, d)
}

func (a *Authority) makeToken(ch *change, d *draft) (Issued, error) {
	proof, text, err := a.newToken(d.Kind, d.ID, 1, ch.at)
	if err != nil {
		return Issued{}, err
	}
	d.Proofs = []credential.Proof{proof}
	d.create(ch)
	return Issued{Credential: d.Credential, PrincipalName: d.principal, OwnerName: d.owner, Secret: text, Admin: d.admin, Warnings: d.warnings}, nil
}

func (a *Authority) makeCertificate(ctx context.Context, ch *change, d *draft) (Issued, error) {
	leaf, err := a.sign(ctx, ch, d.key, leafWish{principal: d.principal, credential: d.ID, notBefore: d.NotBefore, until: d.ExpiresAt})
	if err != nil {
		return Issued{}, err
	}
	return d.withLeaf(ch, &leaf), nil
}

// withLeaf makes the draft the credential of a certificate that was signed for it, and ends it when that ends.
func (d *draft) withLeaf(ch *change, l *leaf) Issued {
	d.ExpiresAt, d.Proofs = l.ends, []credential.Proof{l.proof(1, ch.at)}
	d.create(ch)
	ch.also(credential.SettleSerial{Serial: l.serial, Credential: d.ID, At: ch.at})
	is := Issued{Credential: d.Credential, PrincipalName: d.principal, OwnerName: d.owner, Warnings: d.warnings}
	l.into(&is)
	return is
}

func (d *draft) create(ch *change) {
	op := credential.CreateCredential{Credential: d.Credential}
	about := createDetails(&d.Credential)
	about.put("owner", d.owner)
	loginDetails(about, &d.Credential, d.login)
	if d.admin {
		about["admin"] = yesNo(true)
	}
	ch.do(op, "credential.create", aboutCredential(d.ID, d.principal), about)
}

// newToken makes version n of the token of a credential. That of an application key is kept too, sealed, to be revealed.
func (a *Authority) newToken(k credential.Kind, id string, n int, now time.Time) (credential.Proof, secret.Text, error) {
	text, hash, err := secret.New(tokenKind(k), id)
	if err != nil {
		return credential.Proof{}, secret.Text{}, err
	}
	p := credential.Proof{N: n, Hash: hash[:], CreatedAt: now}
	if k == credential.AppKey {
		err = a.sealToken(id, &p, text)
	}
	return p, text, err
}

// tokenKind is how a token of a kind begins.
func tokenKind(k credential.Kind) string {
	switch k {
	case credential.DeviceToken:
		return "dev"
	case credential.PAT:
		return "pat"
	case credential.AppKey:
		return "app"
	case credential.SessionKey:
		return "ses"
	case credential.OAuthClient:
		return "sec"
	default:
		return "api"
	}
}

func createDetails(c *credential.Credential) details {
	d := details{"kind": string(c.Kind)}
	d.put("name", c.Name)
	d.put("description", c.Description)
	d.put("scopes", names(c.Scopes))
	d.put("allowed_ips", networks(c.Networks))
	d.put("tags", names(c.Tags))
	d.put("project", c.Project)
	d.put("resources", names(c.Resources))
	d.put("limits", limitsText(c.Limits))
	d.put("client_name", c.ClientName)
	d.put("home", c.Home)
	if c.State == credential.StatePending {
		d.put("state", string(c.State))
	}
	d.put("not_before", stamp(c.NotBefore))
	d.put("expires_at", stamp(c.ExpiresAt))
	for field, value := range clientDetails(c.Client) {
		d.put(field, value)
	}
	proofDetails(d, &c.Proofs[0])
	return d
}

// limitsText is the form of limits in details.
func limitsText(l credential.Limits) string {
	var parts []string
	for _, n := range [...]struct {
		name string
		is   int64
	}{{"per_second", int64(l.PerSecond)}, {"burst", int64(l.Burst)}, {"per_month", l.PerMonth}} {
		if n.is != 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", n.name, n.is))
		}
	}
	return names(parts)
}

// proofDetails notes what tells a certificate from all others. The hash of a token stays out.
func proofDetails(d details, p *credential.Proof) {
	if p.Serial != "" {
		d["serial"], d["fingerprint"] = p.Serial, fmt.Sprintf("%x", p.Hash)
	}
}
