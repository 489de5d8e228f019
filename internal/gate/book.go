package gate

import (
	"cmp"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"weak"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

// rights are what a set of roles and a set of scopes allow, within the bounds of a credential, a project and an
// organisation. Credentials of the same ones share them, so a change of the policy compiles a few of
// these anew and touches no entry.
type rights struct {
	org           string
	roles, scopes []string
	resources     []string // what a credential is held to
	project       string
	quarantine    bool        // those of every credential of org that is in quarantine; no roles and scopes then
	acl           *policy.ACL // that a REST service has given to a guest; nothing else then
	everything    bool        // those of superusers of org; no roles and scopes then
	guests        bool        // scopes are what an authenticator gives to whom a REST service vouches for
	cur           atomic.Pointer[compiled]
}

// compiled is what rights are at the moment. It is replaced only when it changes.
type compiled struct {
	policy.Rights                             // without a holder: credentials of many principals share it
	names         []string                    // the effective scopes
	closed        bool                        // the organisation is disabled
	live          [2]atomic.Pointer[[]string] // see live.go; nil: nobody has asked
	exercisable
}

// of returns the rights of one holder.
func (c *compiled) of(h *policy.Holder) policy.Rights {
	r := c.Rights
	r.Holder = h
	return r
}

// book is the policy as of now and the rights made from it.
type book struct {
	static []credential.Route
	log    *slog.Logger
	routes atomic.Pointer[[]credential.Route]
	rev    atomic.Int64 // revision of the policy; -1 before the first

	mu    sync.Mutex
	now   *edition
	known map[string]weak.Pointer[rights] // by rightsKey; who holds one keeps it here
	sweep int                             // size of known at which what nobody holds is taken out

	everything *policy.Set // what superusers may
	lists      atomic.Uint64
	marked     uint32 // the last mark that was given to compiled rights
}

// edition is one state of the policy.
type edition struct {
	scopes   map[name]*credential.Scope
	roles    map[name]*credential.Role
	sets     map[string]set // by setKey
	orgs     map[string]*credential.Org
	projects map[name]*credential.Project
	bounds   map[string]*policy.Set // by their resources
}

type name struct{ org, name string }

// set is compiled scopes with what they were made of.
type set struct {
	*policy.Set
	from []*credential.Scope // nil for a name that there is not
	bad  bool                // could not be compiled: whoever has it may nothing
}

func (b *book) init(static []credential.Route, log *slog.Logger) {
	b.static, b.log = static, log
	b.known, b.sweep = map[string]weak.Pointer[rights]{}, 1024
	b.rev.Store(-1)
	b.now = &edition{sets: map[string]set{}, bounds: map[string]*policy.Set{}}
	b.turn(credential.Policy{Revision: -1})
	b.everything = everything()
}

// rightsOf returns the shared rights of a credential: those of its principal's roles and its own scopes or, in
// quarantine, those of the scope of that name, whatever the others are.
func (b *book) rightsOf(rec *credential.Record) *rights {
	c := &rec.Credential
	if c.State != credential.StateQuarantined {
		return b.rights(c.Org, rec.Principal.Roles, c.Scopes, c.Resources, c.Project)
	}
	return b.share(rightsKey(c.Org, nil, nil)+"\x00quarantine", func() *rights {
		return &rights{org: strings.Clone(c.Org), quarantine: true}
	})
}

// rights returns the shared rights of roles and scopes, held to resources and to those of a project.
func (b *book) rights(org string, roles, scopes, resources []string, project string) *rights {
	k := rightsKey(org, roles, scopes)
	if len(resources) > 0 || project != "" {
		k += "\x00" + project + "\x00" + strings.Join(resources, "\x01")
	}
	return b.share(k, func() *rights {
		return &rights{
			org: strings.Clone(org), roles: slices.Clone(roles), scopes: slices.Clone(scopes),
			resources: slices.Clone(resources), project: strings.Clone(project),
		}
	})
}

// granted returns the shared rights of those who may what scopes allow, without roles.
func (b *book) granted(org string, scopes []string) *rights {
	return b.share(rightsKey(org, nil, scopes)+"\x00guests", func() *rights {
		return &rights{org: strings.Clone(org), scopes: slices.Clone(scopes), guests: true}
	})
}

// listed returns the rights of an ACL, which are nobody else's.
func (b *book) listed(org string, acl *policy.ACL) *rights {
	k := rightsKey(org, nil, nil) + "\x00acl " + strconv.FormatUint(b.lists.Add(1), 10)
	return b.share(k, func() *rights { return &rights{org: strings.Clone(org), acl: acl} })
}

// share returns the rights of a key, made and compiled if nobody holds them.
func (b *book) share(k string, fresh func() *rights) *rights {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.known[k].Value(); r != nil {
		return r
	}
	r := fresh()
	r.cur.Store(b.compile(r))
	if len(b.known) >= b.sweep {
		b.forget()
		b.sweep = 2*len(b.known) + 1024
	}
	b.known[k] = weak.Make(r)
	return r
}

// lacks reports whether a record is newer than the policy and names a role or
// scope that the policy does not know. What a quarantined one names does not count, and the scope of the
// quarantine need not exist: until the feed tells of it, there is none.
func (b *book) lacks(rec *credential.Record) bool {
	if rec.Revision <= b.rev.Load() || rec.Credential.State == credential.StateQuarantined {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	org := rec.Credential.Org
	if org != credential.DefaultOrg && b.now.orgs[org] == nil {
		return true
	}
	if p := rec.Credential.Project; p != "" && b.now.projects[name{org, p}] == nil {
		return true // it may have been defined meanwhile, and bounds it then
	}
	return slices.ContainsFunc(rec.Principal.Roles, func(n string) bool { return b.now.roles[name{org, n}] == nil }) ||
		slices.ContainsFunc(rec.Credential.Scopes, func(n string) bool { return b.now.scopes[name{org, n}] == nil })
}

// turn makes p the policy and compiles what it changes.
func (b *book) turn(p credential.Policy) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.now
	b.now = b.edit(old, p)
	for k, w := range b.known {
		r := w.Value()
		if r == nil {
			delete(b.known, k)
			continue
		}
		if was, now := r.cur.Load(), b.compile(r); was.Rights != now.Rights || was.closed != now.closed || !slices.Equal(was.names, now.names) {
			r.cur.Store(now)
		}
	}
	routes := order(append(slices.Clone(b.static), p.Routes...))
	b.routes.Store(&routes)
	b.rev.Store(p.Revision)
}

// edit makes the edition of p. What is as it was in the old one stays the same
// pointer, so that what did not change is seen by comparing pointers.
func (b *book) edit(old *edition, p credential.Policy) *edition {
	e := &edition{
		scopes:   make(map[name]*credential.Scope, len(p.Scopes)),
		roles:    make(map[name]*credential.Role, len(p.Roles)),
		sets:     map[string]set{},
		orgs:     make(map[string]*credential.Org, len(p.Orgs)),
		projects: make(map[name]*credential.Project, len(p.Projects)),
		bounds:   old.bounds,
	}
	for _, o := range p.Orgs {
		e.orgs[o.Name] = &o
	}
	for _, o := range p.Projects {
		e.projects[name{o.Org, o.Name}] = &o
	}
	for _, s := range p.Scopes {
		n := name{s.Org, s.Name}
		if was := old.scopes[n]; was != nil && reflect.DeepEqual(was.Rules, s.Rules) {
			e.scopes[n] = was
			continue
		}
		e.scopes[n] = &s
	}
	for _, r := range p.Roles {
		e.roles[name{r.Org, r.Name}] = &r
	}
	for k, s := range old.sets {
		org, names := splitSetKey(k)
		if slices.Equal(s.from, e.find(org, names)) {
			e.sets[k] = s
		}
	}
	return e
}

func (e *edition) find(org string, names []string) []*credential.Scope {
	from := make([]*credential.Scope, len(names))
	for i, n := range names {
		from[i] = e.scopes[name{org, n}]
	}
	return from
}

// compile makes what r is at the moment. The book must be locked.
func (b *book) compile(r *rights) *compiled {
	c := b.allow(r)
	b.hold(r, c)
	c.learn()
	c.mark.Store(b.nextMark())
	return c
}

// allow makes what r is without its bounds.
func (b *book) allow(r *rights) *compiled {
	var all []string
	if r.quarantine {
		all = []string{credential.ScopeQuarantine}
	}
	for _, n := range r.roles {
		if role := b.now.roles[name{r.org, n}]; role != nil {
			all = append(all, role.Scopes...)
		}
	}
	if r.guests {
		all = append(all, r.scopes...)
	}
	if r.acl != nil {
		return &compiled{Rights: policy.Rights{ACL: r.acl}}
	}
	own := b.set(r.org, all)
	if r.everything {
		own.Set = b.everything
	}
	c := &compiled{Rights: policy.Rights{Principal: own.Set}, names: all}
	if len(r.scopes) > 0 && !r.guests {
		narrow := b.set(r.org, r.scopes)
		c.Credential, c.names = narrow.Set, slices.Clone(r.scopes)
		if narrow.bad {
			c.Rights = policy.Rights{}
		}
	}
	slices.Sort(c.names)
	c.names = slices.Clip(slices.Compact(c.names))
	return c
}

// hold puts bounds on what rights are compiled to. Those of the organisation are on everybody's, quarantine and guests included.
func (b *book) hold(r *rights, c *compiled) {
	var resources []string
	if o := b.now.orgs[r.org]; o != nil {
		resources, c.closed = o.Resources, o.Disabled
	} else if r.org != credential.DefaultOrg {
		c.closed = true // it is not there any more
	}
	c.Boundary = b.bound(resources, true)
	if p := b.now.projects[name{r.org, r.project}]; p != nil {
		c.Project = b.bound(p.Resources, true)
	}
	c.Selected = b.bound(r.resources, false)
}

// bound returns the compiled set of resources; nil for none, which bounds nothing. One that cannot be compiled allows nothing.
func (b *book) bound(resources []string, api bool) *policy.Set {
	if len(resources) == 0 {
		return nil
	}
	k := strings.Join(resources, "\x01")
	if api {
		k += "\x00api"
	}
	if s := b.now.bounds[k]; s != nil {
		return s
	}
	s, err := policy.CompileResources(resources, api)
	if err != nil {
		b.log.Error("resources could not be compiled: who is held to them may nothing", "error", err)
	}
	b.now.bounds[k] = s
	return s
}

// set returns the compiled scopes of these names. A name that there is not allows nothing.
func (b *book) set(org string, names []string) set {
	names = slices.Clone(names)
	slices.Sort(names)
	names = slices.Compact(names)
	k := setKey(org, names)
	if s, ok := b.now.sets[k]; ok {
		return s
	}
	s := set{from: b.now.find(org, names)}
	var scopes []credential.Scope
	for _, f := range s.from {
		if f != nil {
			scopes = append(scopes, *f)
		}
	}
	var err error
	if s.Set, err = policy.Compile(scopes); err != nil {
		b.log.Error("scopes could not be compiled: who has them may nothing", "org", org, "scopes", names, "error", err)
		s.Set, s.bad = nil, true
	}
	b.now.sets[k] = s
	return s
}

// forget takes out what nobody holds any more, and the sets of nobody's rights.
func (b *book) forget() {
	used := map[*policy.Set]bool{}
	for k, w := range b.known {
		r := w.Value()
		if r == nil {
			delete(b.known, k)
			continue
		}
		c := r.cur.Load()
		for _, s := range []*policy.Set{c.Principal, c.Credential, c.Selected, c.Project, c.Boundary} {
			used[s] = true
		}
	}
	for k, s := range b.now.bounds {
		if !used[s] {
			delete(b.now.bounds, k)
		}
	}
	for k, s := range b.now.sets {
		if !used[s.Set] {
			delete(b.now.sets, k)
		}
	}
}

// order sorts routes, the longest prefix first.
func order(routes []credential.Route) []credential.Route {
	slices.SortStableFunc(routes, func(a, b credential.Route) int {
		return cmp.Or(cmp.Compare(len(b.Prefix), len(a.Prefix)), cmp.Compare(a.Prefix, b.Prefix))
	})
	return routes
}

// Names have no control characters, so these separate them.
func rightsKey(org string, roles, scopes []string) string {
	return org + "\x00" + strings.Join(roles, "\x01") + "\x00" + strings.Join(scopes, "\x01")
}

func setKey(org string, names []string) string {
	return org + "\x00" + strings.Join(names, "\x01")
}

func splitSetKey(k string) (org string, names []string) {
	org, rest, _ := strings.Cut(k, "\x00")
	if rest == "" {
		return org, nil
	}
	return org, strings.Split(rest, "\x01")
}

// superuser returns the shared rights of whom a REST service says to be one: everything of an organisation on the data plane, and nothing of the API.
func (b *book) superuser(org string) *rights {
	return b.share(rightsKey(org, nil, nil)+"\x00superuser", func() *rights { return &rights{org: strings.Clone(org), everything: true} })
}

// everything is a set for that.
func everything() *policy.Set {
	set, err := policy.Compile([]credential.Scope{{Name: "superuser", Rules: []credential.Rule{
		{Permission: credential.Allow, Action: "mqtt:*", Resource: "*"},
		{Permission: credential.Allow, Action: "http:*", Resource: "*"},
		{Permission: credential.Allow, Action: "grpc:call", Resource: "*"},
	}}})
	if err != nil {
		panic(err) // they are written above
	}
	return set
}
