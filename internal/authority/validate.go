package authority

import (
	"fmt"
	"net/netip"
	"time"
	"unicode"
	"unicode/utf8"

	"cardea/internal/audit"
	"cardea/internal/credential"
)

// Bounds of what a request may hold.
const (
	maxNameLen        = 128  // of a credential
	maxDescriptionLen = 1024 // of anything
	maxReasonLen      = 256
	maxKeyLen         = 255 // Idempotency-Key
	maxScopes         = 64  // of a credential or a role
	maxRoles          = 64
	maxNetworks       = 64
	maxTags           = 16
	maxTagLen         = 64
	maxAttrs          = 32
	maxAttrLen        = 256
	maxRules          = 256
	maxRulesText      = 64 << 10 // bytes of all rules of a scope as JSON: an event holds those of before and after
	maxBatch          = 1000

	day         = 24 * time.Hour
	maxLifetime = 3650 * day
	maxOverlap  = 90 * day

	defaultLimit = 50
	maxLimit     = 500
)

// checkText refuses what is too long or would not print on one line (A09, W02).
func checkText(p *credential.Problems, field, s string, most int) {
	switch {
	case len(s) > most:
		p.Add(field, "is longer than %d bytes", most)
	case !utf8.ValidString(s):
		p.Add(field, "is not valid UTF-8")
	case audit.LooksSecret(s):
		p.Add(field, "contains a token: no secret belongs here")
	default:
		for _, r := range s {
			if !unicode.IsPrint(r) {
				p.Add(field, "contains a character that does not print (U+%04X)", r)
				return
			}
		}
	}
}

// checkNewName is for the name of a new principal.
func checkNewName(p *credential.Problems, field, name string) {
	switch why := credential.CheckName(name); {
	case why != "":
		p.Add(field, "%s", why)
	case reservedName(name):
		p.Add(field, "is reserved")
	case audit.LooksSecret(name):
		p.Add(field, "looks like a token")
	}
}

// checkTag holds tags and projects to ^[a-z0-9][a-z0-9._:@-]{0,63}$.
func checkTag(p *credential.Problems, field, s string) {
	switch {
	case s == "":
		p.Add(field, "is empty")
		return
	case len(s) > maxTagLen:
		p.Add(field, "is longer than %d characters", maxTagLen)
		return
	case audit.LooksSecret(s):
		p.Add(field, "contains a token: no secret belongs here")
		return
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
		case i == 0:
			p.Add(field, "must begin with a lower-case letter or a digit")
			return
		case c == '.' || c == '_' || c == ':' || c == '@' || c == '-':
		default:
			p.Add(field, "may contain only lower-case letters, digits and . _ : @ -")
			return
		}
	}
}

func checkTags(p *credential.Problems, field string, tags []string) {
	if len(tags) > maxTags {
		p.Add(field, "has more than %d entries", maxTags)
		return
	}
	for i, t := range tags {
		checkTag(p, item(field, i), t)
	}
	checkRepeats(p, field, tags)
}

func checkRepeats[T comparable](p *credential.Problems, field string, items []T) {
	if len(items) < 2 {
		return
	}
	first := make(map[T]int, len(items))
	for i, it := range items {
		if j, there := first[it]; there {
			p.Add(item(field, i), "repeats %s", item(field, j))
			continue
		}
		first[it] = i
	}
}

// checkNetworks takes networks as they are meant or not at all: garbage never means "anywhere" (H12).
func checkNetworks(p *credential.Problems, field string, nets []netip.Prefix) {
	if len(nets) > maxNetworks {
		p.Add(field, "has more than %d entries", maxNetworks)
		return
	}
	for i, n := range nets {
		switch {
		case !n.IsValid():
			p.Add(item(field, i), "is not a network such as 192.0.2.0/24 or 2001:db8::/32")
		case n.Addr().Is4In6():
			p.Add(item(field, i), "is an IPv4 network written as IPv6: write it as IPv4")
		case n.Masked() != n:
			p.Add(item(field, i), "has bits of a host: write %s", n.Masked())
		}
	}
	checkRepeats(p, field, nets)
}

// checkPolicyNames holds for lists of scopes and of roles. known reports which exist.
func checkPolicyNames(p *credential.Problems, field string, refs []string, most int, known func(string) bool) {
	if len(refs) > most {
		p.Add(field, "has more than %d entries", most)
		return
	}
	for i, name := range refs {
		if known(name) { // so its form is good
			continue
		}
		if why := credential.CheckPolicyName(name); why != "" {
			p.Add(item(field, i), "%s", why)
		} else {
			p.Add(item(field, i), "does not exist: %s", name)
		}
	}
	checkRepeats(p, field, refs)
}

func checkAttrs(p *credential.Problems, attrs map[string]string) {
	if len(attrs) > maxAttrs {
		p.Add("attrs", "has more than %d entries", maxAttrs)
		return
	}
	for k, v := range attrs {
		if why := credential.CheckName(k); why != "" {
			p.Add("attrs", "has a name that %s: %s", why, quote(k))
			continue
		}
		if audit.LooksSecret(k) {
			p.Add("attrs", "has a name that looks like a token: %s", quote(k))
			continue
		}
		checkText(p, "attrs."+k, v, maxAttrLen)
	}
}

// lifetime works out when a new credential ends; the zero time is never. If nothing was asked for the second result says what
// holds then (L01).
func (n *NewCredential) lifetime(p *credential.Problems, r *kindRules, now time.Time) (end time.Time, note string) {
	end = n.ExpiresAt.UTC().Truncate(time.Microsecond)
	switch {
	case n.TTL != 0 && (n.Never || !n.ExpiresAt.IsZero()) || n.Never && !n.ExpiresAt.IsZero():
		p.Add("ttl", "is given together with expires_at: give one of them")
		return end, ""
	case n.Never:
		r.checkNever(p, "ttl", now)
		return time.Time{}, ""
	case n.TTL < 0:
		p.Add("ttl", "is negative")
		return end, ""
	case n.TTL > 0:
		if end = now.Add(n.TTL).Truncate(time.Microsecond); end.Equal(now) {
			p.Add("ttl", "is less than a microsecond")
			break
		}
		r.checkEnd(p, "ttl", end, now)
	case n.ExpiresAt.IsZero():
		if !n.Kind.Valid() {
			return end, ""
		}
		end, note = r.byDefault(p, now)
	default:
		r.checkEnd(p, "expires_at", end, now)
	}
	if n.Kind == credential.Certificate && end.After(now) && end.Before(now.Add(time.Second)) {
		p.Add("ttl", "is less than a second")
	}
	if !n.NotBefore.IsZero() && !end.IsZero() && !n.NotBefore.Before(end) {
		p.Add("not_before", "is not before the end")
	}
	return end, note
}

// checkDescriptive checks what a new and a changed credential have in common.
func checkDescriptive(p *credential.Problems, c *credential.Credential, b *book) {
	checkText(p, "name", c.Name, maxNameLen)
	checkText(p, "description", c.Description, maxDescriptionLen)
	checkPolicyNames(p, "scopes", c.Scopes, maxScopes, b.hasScope)
	checkNetworks(p, "allowed_ips", c.Networks)
	checkTags(p, "tags", c.Tags)
	if c.Project != "" {
		checkTag(p, "project", c.Project)
	}
	checkLimits(p, c.Limits)
	checkAppKey(p, c)
}

func checkReason(p *credential.Problems, reason string) { checkText(p, "reason", reason, maxReasonLen) }

func item(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

// clampLimit gives lists a size: 50 unless told, 500 at most.
func clampLimit(n int) int {
	if n <= 0 {
		return defaultLimit
	}
	return min(n, maxLimit)
}
