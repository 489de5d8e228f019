package gate

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

// maxGuestName bounds the name of somebody whom a REST service vouches for, in bytes.
const maxGuestName = 256

// guestName says what is wrong with a name that is to be shown in logs, headers and lists; "" if nothing is.
func guestName(name string) string {
	switch {
	case name == "":
		return "the user name is empty"
	case len(name) > maxGuestName:
		return "the user name is too long"
	case !utf8.ValidString(name):
		return "the user name is not valid UTF-8"
	}
	for _, r := range name {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return "the user name has a character that does not print"
		}
	}
	return ""
}

// guest returns the identity of somebody whom a REST service vouches for: a
// service that is not stored, and is bound to what the answer said. It lives as long as its sessions do, and ends with
// none of Cardea's credentials: sessions are listed under the authenticator. If the answer's ACL is not good, why says what is wrong.
func (g *Gate) guest(ctx context.Context, m *member, l *credential.Login, a *credential.Answer) (id *Identity, why string) {
	if why := guestName(l.Username); why != "" {
		return nil, why
	}
	switch kind, err := g.bearer(ctx, m.Org, l.Username); {
	case err != nil:
		return nil, "it cannot be looked up whether a principal has the user's name"
	case kind != "":
		return nil, "the user has the name of a principal of Cardea's, who logs in with a credential of its own"
	}
	r, why := g.guestRights(m, l, a)
	if why != "" {
		return nil, why
	}
	now, deadline := r.cur.Load(), nanos(a.ExpireAt)
	if late := g.clock.nano() - deadline; late >= 0 && late < int64(time.Second) {
		deadline += int64(time.Second) // it counts in seconds, and the one that runs is not in the past
	}
	e := &entry{key: keyOf(m.ID), form: math.MaxUint32, rights: r, notBefore: math.MinInt64, deadline: deadline, revision: -1}
	e.made = Identity{
		entry: e, compiled: now, Org: m.Org, Holder: policy.Holder{Principal: l.Username, Attrs: a.Attrs},
		PrincipalID: guestID(m.Org, l.Username), PrincipalKind: credential.Service,
		Credential: m.ID, Kind: credential.Kind(m.Type), Scopes: now.names,
	}
	if e.deadline != never {
		e.made.Deadline = a.ExpireAt.UTC()
	}
	e.ident.Store(&e.made)
	return &e.made, ""
}

// guestID stands for a name that no principal has: the ID of those begins with another letter and is shorter.
func guestID(org, name string) string {
	sum := sha256.Sum256([]byte(org + "\x00" + name))
	return "R" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// IsGuest reports whether an ID is that of somebody whom a REST service vouches for, and no store knows.
func IsGuest(principalID string) bool { return len(principalID) == 23 && principalID[0] == 'R' }

// guestRights are what the answer allows: everything on the data plane, its ACL, or the scopes of the authenticator.
func (g *Gate) guestRights(m *member, l *credential.Login, a *credential.Answer) (*rights, string) {
	if a.Superuser && !m.AllowSuperuser {
		m.stats.superuser.Add(1)
	}
	if a.Superuser && m.AllowSuperuser {
		return g.book.superuser(m.Org), ""
	}
	if a.ACL == nil && len(m.Scopes) > 0 && strings.ContainsAny(l.Username, "/+#") {
		return nil, "the user name has a / + or #, which rules of scopes cannot speak of: the service must answer with an ACL"
	}
	if a.ACL == nil {
		return m.grants, ""
	}
	who := policy.ACLContext{Username: l.Username, Zone: m.Org, Listener: l.Listener, Attrs: a.Attrs, Source: l.Peer.Addr()}
	if l.Cert != nil {
		who.CertCommonName = l.Cert.CommonName
	}
	acl, err := policy.CompileACL(a.ACL, who)
	if err != nil {
		return nil, "the answer's ACL is not good: " + err.Error()
	}
	return g.book.listed(m.Org, acl), ""
}
