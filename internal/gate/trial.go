package gate

import (
	"cmp"
	"context"
	"time"

	"cardea/internal/credential"
	"cardea/internal/scram"
	"cardea/internal/secret"
)

// Trial is what would become of a login at one authenticator.
type Trial struct {
	Precondition string // what it gave: "" for none, "true", another value, or "error: …"
	Result       string // "accept", "reject" or "ignore"
	Why          string // in words; holds no secret
	Principal    string // with accept
	Credential   string // ID, of one of our own
	Superuser    bool
	Attrs        map[string]string
	ExpireAt     time.Time
	Rules        int           // of the ACL that came; -1 for none
	Took         time.Duration // of the question to a REST service
}

// AuthenticatorStatus is how an authenticator fares on this node, since that was started or the authenticator made.
type AuthenticatorStatus struct {
	Total, Success, Failed, Ignored int64 // logins; a handshake counts once
	SuperuserIgnored                int64 // is_superuser was said and is not allowed
	LastError                       string
	LastErrorAt                     time.Time
	Latency                         credential.Latency       // of a login at this authenticator
	Source                          *credential.SourceStatus // of types that ask a REST service
}

// AuthenticatorStatus returns the status of an authenticator; false if this node does not know it.
func (g *Gate) AuthenticatorStatus(org, id string) (AuthenticatorStatus, bool) {
	m := g.chains.find(org, id)
	if m == nil {
		return AuthenticatorStatus{}, false
	}
	return m.status(), true
}

// Try asks one authenticator about a login, whether it is enabled or not, and lets nobody in: nothing is counted,
// and nothing is limited. Token is what a client would show as one. NotFound if there is no such authenticator.
func (g *Gate) Try(ctx context.Context, org, id string, l *credential.Login, token string) (Trial, error) {
	m := g.chains.find(org, id)
	if m == nil {
		return Trial{}, credential.Errorf(credential.NotFound, "there is no authenticator %s, or this node has not heard of it yet: try again in a second", id)
	}
	t := Trial{Result: "ignore", Rules: -1}
	if m.broken != "" {
		if t.Why = m.broken; !m.leaves() {
			t.Result = "reject"
		}
		return t, nil
	}
	if !g.tryPrecondition(m, l, &t) {
		return t, nil
	}
	switch m.Type {
	case credential.ByToken:
		g.tryToken(ctx, org, l, cmp.Or(token, tokenOf(l)), &t)
	case credential.ByJWT:
		g.tryJWT(ctx, m, l, cmp.Or(token, tokenOf(l)), &t)
	case credential.ByCertificate:
		t.Why = "a certificate proves itself in the TLS handshake: there is nothing to try here"
	case credential.ByScram:
		g.tryScram(ctx, m, l, &t)
	case credential.ByPassword:
		g.tryPassword(ctx, m, l, &t)
	default:
		g.trySource(ctx, m, l, &t)
	}
	return t, nil
}

func (g *Gate) tryPrecondition(m *member, l *credential.Login, t *Trial) bool {
	if m.expr == nil {
		return true
	}
	l.Zone = m.Org
	text, err := m.expr.Render(speaking{l})
	switch {
	case err != nil:
		t.Precondition, t.Result, t.Why = "error: "+err.Error(), "reject", "the precondition could not be worked out"
		return false
	case text != "true":
		t.Precondition, t.Why = text, `the precondition is not "true"`
		return false
	}
	t.Precondition = text
	return true
}

func (t *Trial) accept(id *Identity) {
	t.Result, t.Principal, t.Attrs, t.ExpireAt = "accept", id.Principal, id.Attrs, id.Deadline
}

// tokenOf is the token that a client would show in its user name, without a password, or in its password.
func tokenOf(l *credential.Login) string { return cmp.Or(l.Password, l.Username) }

func (g *Gate) tryScram(ctx context.Context, m *member, l *credential.Login, t *Trial) {
	name, err := scram.Prepare(l.Username)
	if err != nil {
		t.Result, t.Why = "reject", "the user name has characters that SASLprep forbids"
		return
	}
	e, why := g.named(ctx, m.Org, credential.SCRAM, name)
	if e == nil {
		if t.Why = "there is no SCRAM credential with this user name"; why == credential.Unavailable {
			t.Result, t.Why = "reject", why.String()
		}
		return
	}
	t.Credential = e.made.Credential
	s := e.scram()
	switch why := e.judge(g.clock.nano(), l.Peer.Addr()); {
	case s.hash == 0:
		t.Result, t.Why = "reject", "the keys of the credential cannot be opened"
	case why != credential.OK:
		t.Result, t.Why = "reject", why.String()
	case l.Password == "":
		t.Why = "the user is known; give a password to see whether it is right"
	case !e.knows(l.Password, g.clock.nano()):
		t.Result, t.Why = "reject", "the password is wrong"
	default:
		t.accept(g.identity(e))
	}
}

// tryPassword judges a user's password without counting it.
func (g *Gate) tryPassword(ctx context.Context, m *member, l *credential.Login, t *Trial) {
	name := foldName(l.Username)
	if credential.CheckName(name) != "" {
		t.Why = "no user can have this name"
		return
	}
	e, why := g.named(ctx, m.Org, credential.Password, name)
	if e == nil {
		if t.Why = "there is no user with this name who has a password"; why == credential.Unavailable {
			t.Result, t.Why = "reject", why.String()
		}
		return
	}
	t.Credential = e.made.Credential
	if why := e.judge(g.clock.nano(), l.Peer.Addr()); why != credential.OK {
		t.Result, t.Why = "reject", why.String()
		return
	}
	if l.Password == "" {
		t.Why = "the user is known; give a password to see whether it is right"
		return
	}
	text, err := secret.PreparePassword(l.Password)
	if err == nil {
		var ok bool
		if ok, err = e.remembers(ctx, text); ok {
			t.accept(g.identity(e))
			return
		}
	}
	t.Result, t.Why = "reject", "the password is wrong"
	if credential.KindOf(err) == credential.Down {
		t.Why = "too many passwords are being checked: try again"
	}
}

// knows reports whether a password is that of a version that a login could prove now.
func (e *entry) knows(password string, now int64) bool {
	for _, v := range e.provable(e.scram().hash, now) {
		if s := v.scram(); scram.Check(s.hash, &s.keys, password) {
			return true
		}
	}
	return false
}

func (g *Gate) trySource(ctx context.Context, m *member, l *credential.Login, t *Trial) {
	began := time.Now()
	a := m.source.Ask(ctx, l)
	t.Took = time.Since(began)
	switch a.Verdict {
	case credential.Failed:
		if t.Why = a.Why; m.DenyOnFailure {
			t.Result = "reject"
		}
		return
	case credential.Unknown:
		t.Why = a.Why
		return
	case credential.Denied:
		t.Result, t.Why = "reject", a.Why
		return
	}
	id, why := g.guest(ctx, m, l, &a)
	if id == nil {
		t.Result, t.Why = "reject", why
		return
	}
	t.Superuser = a.Superuser && m.AllowSuperuser
	if acl := id.compiled.ACL; acl != nil {
		t.Rules = acl.Len()
	}
	if m.Type == credential.ByScramREST && l.Password == "" {
		t.Attrs, t.ExpireAt = id.Attrs, id.Deadline
		t.Why = "the service has sent keys; give a password to see whether it is right"
		return
	}
	if m.Type == credential.ByScramREST && !scram.Check(m.hash, &a.Keys, l.Password) {
		t.Result, t.Why = "reject", "the password is wrong"
		return
	}
	t.accept(id)
}

// Authenticator is an authenticator that this node knows, with how it fares.
type Authenticator struct {
	ID       string
	Type     credential.AuthenticatorType
	Listener string
	AuthenticatorStatus
}

// Authenticators returns all that this node knows, in no particular order.
func (g *Gate) Authenticators() []Authenticator {
	var all []Authenticator
	for _, chain := range g.chains.now.Load().by {
		for _, m := range chain {
			all = append(all, Authenticator{m.ID, m.Type, m.Listener, m.status()})
		}
	}
	return all
}
