package authority

import (
	"net/url"
	"slices"
	"strings"

	"cardea/internal/audit"
	"cardea/internal/credential"
	"cardea/internal/policy"
)

// Bounds of limits, and of what only application keys have.
const (
	maxPerSecond     = 1_000_000
	maxPerMonth      = 1_000_000_000_000
	maxDocumentation = 4 << 10
	maxClientName    = 128
	maxHome          = 512
)

// checkResources checks what a credential is held to: it must lie within what its organisation and its project are.
func (b *book) checkResources(p *credential.Problems, c *credential.Credential) {
	before := len(*p)
	policy.CheckResources(p, "resources", c.Resources)
	for i, r := range c.Resources {
		if audit.LooksSecret(r) {
			p.Add(item("resources", i), "contains a token: no secret belongs here")
		}
	}
	if len(*p) > before {
		return
	}
	project := b.projects[c.Project].Resources
	for i := range c.Resources {
		one := c.Resources[i : i+1]
		switch {
		case len(policy.Outside(one, b.org.Resources, true)) > 0:
			p.Add(item("resources", i), "is outside of what the organisation %s is held to: %s", b.org.Name, few(b.org.Resources))
		case len(policy.Outside(one, project, true)) > 0:
			p.Add(item("resources", i), "is outside of what the project %s is held to: %s", c.Project, few(project))
		}
	}
}

// few is the form of a list in a message.
func few(items []string) string {
	const most = 5
	if len(items) > most {
		return strings.Join(items[:most], ", ") + " and others"
	}
	return strings.Join(items, ", ")
}

func checkLimits(p *credential.Problems, l credential.Limits) {
	for _, n := range [...]struct {
		field    string
		is, most int64
	}{
		{"limits.per_second", int64(l.PerSecond), maxPerSecond},
		{"limits.burst", int64(l.Burst), maxPerSecond},
		{"limits.per_month", l.PerMonth, maxPerMonth},
	} {
		switch {
		case n.is < 0:
			p.Add(n.field, "is negative")
		case n.is > n.most:
			p.Add(n.field, "is more than %d", n.most)
		}
	}
	if l.Burst > 0 && l.PerSecond == 0 {
		p.Add("limits.burst", "is given without per_second")
	}
}

// checkAppKey checks what only application keys have.
func checkAppKey(p *credential.Problems, c *credential.Credential) {
	if c.Kind != credential.AppKey {
		for _, f := range [...][2]string{{"documentation", c.Documentation}, {"client_name", c.ClientName}, {"home", c.Home}} {
			if f[1] != "" {
				p.Add(f[0], "is for app_key only")
			}
		}
		return
	}
	checkLines(p, "documentation", c.Documentation, maxDocumentation)
	checkText(p, "client_name", c.ClientName, maxClientName)
	checkHome(p, c.Home)
}

// checkLines is [checkText] for a text that may have several lines.
func checkLines(p *credential.Problems, field, s string, most int) {
	if len(s) > most { // before the lines, whose breaks count
		p.Add(field, "is longer than %d bytes", most)
		return
	}
	checkText(p, field, strings.NewReplacer("\r\n", " ", "\n", " ", "\t", " ").Replace(s), most)
}

// checkHome takes paths of this origin only: a browser is sent there. What browsers read in ways of their own, like
// "//host", "\" for "/" and line breaks that they leave out, is refused.
func checkHome(p *credential.Problems, home string) {
	if home == "" {
		return
	}
	switch {
	case len(home) > maxHome:
		p.Add("home", "is longer than %d bytes", maxHome)
		return
	case home[0] != '/' || strings.HasPrefix(home, "//"):
		p.Add("home", `must be a path on this server that begins with one "/"`)
		return
	case audit.LooksSecret(home):
		p.Add("home", "contains a token: no secret belongs here")
		return
	}
	for i := 0; i < len(home); i++ {
		if c := home[i]; c <= ' ' || c > '~' || c == '\\' {
			p.Add("home", "contains a character that belongs percent-encoded (0x%02X)", c)
			return
		}
	}
	if u, err := url.Parse(home); err != nil || u.Scheme != "" || u.Host != "" || u.User != nil {
		p.Add("home", "is not the path of a URL")
	}
}

// checkSubset names the scopes of a token of a user that allow what the user may not, with the rule that is too much. What a
// user has, their tokens may have; when the user loses it later, the tokens lose it by themselves.
func (b *book) checkSubset(p *credential.Problems, k credential.Kind, of *credential.Principal, scopes []string) error {
	if k != credential.PAT && k != credential.AppKey {
		return nil
	}
	rights, err := b.rightsOf(of.Roles)
	if err != nil {
		return err
	}
	own := b.ofRoles(of.Roles)
	has := ruleSet(own)
	for i, name := range scopes {
		rules := b.scopes[name].Rules
		for _, at := range rights.Covers(rules) {
			// A rule with variables is covered by none, but it is the user's if it stands there word for word.
			if r := rules[at]; !has[ruleKey(r)] {
				p.Add(item("scopes", i), "allows %s on %s, which %s may not", r.Action, r.Resource, of.Name)
				break
			}
		}
	}
	return nil
}

// looser reports whether a changed credential is held to less than before: by its resources, its project or its limits.
func (b *book) looser(old, now *credential.Credential) bool {
	return leaves(old.Resources, now.Resources, false) ||
		leaves(b.projects[old.Project].Resources, b.projects[now.Project].Resources, true) ||
		more(int64(old.Limits.PerSecond), int64(now.Limits.PerSecond)) ||
		now.Limits.PerSecond > 0 && more(burst(old.Limits), burst(now.Limits)) ||
		more(old.Limits.PerMonth, now.Limits.PerMonth)
}

// leaves reports whether a list of resources leaves another; an empty one bounds nothing.
func leaves(old, now []string, api bool) bool {
	if len(old) == 0 || slices.Equal(old, now) {
		return false
	}
	return len(now) == 0 || len(policy.Outside(now, old, api)) > 0
}

// more reports whether a limit was raised or taken away; 0 is none.
func more(old, now int64) bool { return old > 0 && (now == 0 || now > old) }

// burst is how many requests may come at once; 0 for no limit.
func burst(l credential.Limits) int64 {
	if l.PerSecond == 0 {
		return 0
	}
	if l.Burst == 0 {
		return int64(l.PerSecond)
	}
	return int64(l.Burst)
}
