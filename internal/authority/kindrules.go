package authority

import (
	"net/netip"
	"regexp"
	"slices"
	"time"

	"cardea/internal/credential"
)

// kindRules is the policy of a kind, ready to hold a credential to it. What it refuses it refuses by name, with what
// it allows; it changes nothing of a request.
type kindRules struct {
	credential.KindPolicy
	pattern *regexp.Regexp // nil: any name
}

// rules returns what the organisation demands of a kind.
func (b *book) rules(k credential.Kind) *kindRules {
	if r, known := b.policies[k]; known {
		return r
	}
	r := &kindRules{KindPolicy: b.all.OfKind(b.org.Name, k)}
	if r.NamePattern != "" {
		var err error
		if r.pattern, err = compileName(r.NamePattern); err != nil { // another version has stored it: nothing passes what cannot be read
			r.pattern = nothing
		}
	}
	b.policies[k] = r
	return r
}

// nothing is matched by no text.
var nothing = regexp.MustCompile(`\z.`)

// compileName compiles a pattern that a whole name must match.
func compileName(pattern string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(pattern); err != nil { // by itself first: "a)(b" is none, although it is one in brackets
		return nil, err
	}
	return regexp.Compile(`\A(?:` + pattern + `)\z`)
}

// String is how an error names the policy.
func (r *kindRules) String() string { return "the policy for " + string(r.Kind) + " of " + r.Org }

// longest is the longest life that a credential of the kind may have.
func (r *kindRules) longest() time.Duration {
	if r.MaxLifetime > 0 {
		return min(r.MaxLifetime, maxLifetime)
	}
	return maxLifetime
}

// most says what the policy allows at an instant: "at most 366d, until 2027-…".
func (r *kindRules) most(now time.Time) string {
	return "at most " + credential.FormatDuration(r.longest()) + ", until " + stamp(now.Add(r.longest()))
}

// checkEnd holds for the instant at which something shall end.
func (r *kindRules) checkEnd(p *credential.Problems, field string, end, now time.Time) {
	switch {
	case !end.After(now):
		p.Add(field, "is not in the future")
	case end.After(now.Add(r.longest())):
		p.Add(field, "is beyond what %s allows: %s", r, r.most(now))
	}
}

// checkNever holds for what shall have no end. The policy for certificates always demands one.
func (r *kindRules) checkNever(p *credential.Problems, field string, now time.Time) {
	if r.RequireExpiry {
		p.Add(field, "is never, but %s demands an end: %s", r, r.most(now))
	}
}

// byDefault is when a credential ends that asks for nothing, and what its maker is told of that (L01).
func (r *kindRules) byDefault(p *credential.Problems, now time.Time) (end time.Time, note string) {
	switch {
	case r.DefaultLifetime > 0:
		end = now.Add(r.DefaultLifetime)
		return end, "no lifetime was given: it ends after " + credential.FormatDuration(r.DefaultLifetime) + ", the default of " + r.String() + ", at " + stamp(end)
	case r.RequireExpiry:
		p.Add("expires_at", "is missing, and so is ttl: %s demands an end and has no default; it allows %s", r, r.most(now))
		return time.Time{}, ""
	}
	return time.Time{}, "no lifetime was given: it has no end, because " + r.String() + " has no default"
}

// renewed is when a version ends that begins now and lives as long as the newest was meant to, but no longer than the policy
// allows by now; the second result says so if that is why.
func (r *kindRules) renewed(c *credential.Credential, now time.Time) (end time.Time, note string) {
	if c.ExpiresAt.IsZero() {
		if !r.RequireExpiry {
			return time.Time{}, ""
		}
		end = now.Add(r.longest())
		return end, "it had no end, but " + r.String() + " demands one by now: it ends at " + stamp(end)
	}
	life := c.ExpiresAt.Sub(c.Proofs[0].CreatedAt)
	if life > 0 && life <= r.longest() {
		return now.Add(life), ""
	}
	end = now.Add(r.longest())
	return end, "it ends at " + stamp(end) + ": " + r.String() + " allows at most " + credential.FormatDuration(r.longest())
}

// checkName holds for the name of a credential.
func (r *kindRules) checkName(p *credential.Problems, name string) {
	if r.pattern != nil && !r.pattern.MatchString(name) {
		p.Add("name", "does not match %s, as %s demands", r.NamePattern, r)
	}
}

// checkNetworks holds for where a credential may come from.
func (r *kindRules) checkNetworks(p *credential.Problems, nets []netip.Prefix) {
	switch {
	case len(nets) == 0 && len(r.Networks) > 0:
		p.Add("allowed_ips", "is empty, which is anywhere: %s allows only %s", r, networks(r.Networks))
	case len(nets) == 0 && r.RequireNetworks:
		p.Add("allowed_ips", "is empty, which is anywhere: %s demands networks", r)
	case len(r.Networks) == 0:
		return
	}
	for i, n := range nets {
		if n.IsValid() && !within(n, r.Networks) {
			p.Add(item("allowed_ips", i), "is outside of what %s allows: %s", r, networks(r.Networks))
		}
	}
}

// within reports whether a network lies within one of some.
func within(n netip.Prefix, some []netip.Prefix) bool {
	return slices.ContainsFunc(some, func(o netip.Prefix) bool { return o.Bits() <= n.Bits() && o.Contains(n.Addr()) })
}
