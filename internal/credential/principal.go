package credential

import "time"

// DefaultOrg is the organisation that exists from the start.
const DefaultOrg = "default"

// PrincipalKind says what a principal is.
type PrincipalKind string

// The kinds of principals.
const (
	User    PrincipalKind = "user"
	Service PrincipalKind = "service"
	Device  PrincipalKind = "device"
)

// Valid reports whether k is one of the kinds above.
func (k PrincipalKind) Valid() bool { return k == User || k == Service || k == Device }

// Principal is who a credential speaks for.
type Principal struct {
	ID          string // "P" and 11 base62 characters; given once, never again
	Org         string
	Kind        PrincipalKind
	Name        string // by [CheckName]; unique in its organisation among those that are not deleted
	Description string
	Roles       []string          // names of roles of the same organisation
	Attrs       map[string]string // free attributes, for templates and headers of later doors
	Disabled    bool              // a disabled principal's credentials are all refused
	CreatedAt   time.Time
	DeletedAt   time.Time // zero while it lives; a deleted one is kept for the audit log
	Version     int64     // 1 at creation, one more at each change; compared and swapped by Commit
}

// CheckName tells what is wrong with a name of a principal, scope-less and
// role-less things included: "" means that it is fine. A name is never part of
// a file path, but it is part of topics, headers and certificates, so the
// alphabet is small: ^[a-z0-9][a-z0-9._@-]{0,63}$ without "..".
func CheckName(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > 64:
		return "is longer than 64 characters"
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '@' || c == '-'):
			if c == '.' && name[i-1] == '.' {
				return "contains \"..\""
			}
		case i == 0:
			return "must begin with a lower-case letter or a digit"
		default:
			return "may contain only lower-case letters, digits and . _ @ -"
		}
	}
	return ""
}

// CheckPolicyName is [CheckName] for scopes and roles, whose names may also
// contain ':' after the first character, as in "telemetry:write".
func CheckPolicyName(name string) string {
	b := []byte(name)
	for i := 1; i < len(b); i++ {
		if b[i] == ':' {
			b[i] = '-'
		}
	}
	if why := CheckName(string(b)); why != "" {
		if why == "may contain only lower-case letters, digits and . _ @ -" {
			return "may contain only lower-case letters, digits and . _ @ - :"
		}
		return why
	}
	return ""
}
