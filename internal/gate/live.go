package gate

import (
	"slices"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

// live returns those of an identity's scopes that hold in full now. At our doors it does not matter that a credential still names a scope which its
// principal has lost: both sides are asked. A resource server sees the name alone, so a token must not carry it any more. With abroad the token is
// for others than Cardea: then scopes that the credential's own resources or its project cut down are left out as well, as nobody else would heed those.
func (g *Gate) live(id *Identity, abroad bool) []string {
	r := id.rights()
	c := r.cur.Load()
	bounded := abroad && (c.Selected != nil || c.Project != nil)
	if len(r.scopes) == 0 && !bounded {
		return c.names
	}
	if known := c.live[number(bounded)].Load(); known != nil {
		return *known
	}
	b := &g.book
	b.mu.Lock()
	defer b.mu.Unlock()
	c = r.cur.Load()
	list := b.liveOf(r, c, bounded)
	c.live[number(bounded)].Store(&list)
	return list
}

// liveOf finds what live returns. The book must be locked.
func (b *book) liveOf(r *rights, c *compiled, bounded bool) []string {
	var has []string
	for _, n := range r.roles {
		if role := b.now.roles[name{r.org, n}]; role != nil {
			has = append(has, role.Scopes...)
		}
	}
	holds := func(s *credential.Scope) bool {
		if !slices.Contains(has, s.Name) && len(policy.Rights{Principal: c.Principal}.Covers(s.Rules)) > 0 {
			return false
		}
		return !bounded || len(policy.Rights{Principal: b.set(r.org, []string{s.Name}).Set, Selected: c.Selected, Project: c.Project}.Covers(s.Rules)) == 0
	}
	live := make([]string, 0, len(c.names))
	for _, n := range c.names {
		if s := b.now.scopes[name{r.org, n}]; s != nil && holds(s) {
			live = append(live, n)
		}
	}
	return live
}
