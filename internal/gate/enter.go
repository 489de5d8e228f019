package gate

import (
	"context"
	"strings"
	"time"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// Entrance is somebody who wants to get in at a listener that has a chain.
type Entrance struct {
	Listener string // whose chain is asked
	// Evidence is what was shown that one of our own credentials may be. Token is whatever text stands where a
	// token may: that it is one is found out here.
	Evidence
	// Login is what was shown as expressions and REST services may know it. Zone and Cert are filled in.
	Login credential.Login
	// Demand says that the listener demands certificates: then they alone decide, and whoever proves something
	// else beside must be the same principal by it.
	Demand bool
	bearer bool // nobody is asked but who judges JWTs
	// Exporter is the tls-exporter binding of the connection (RFC 9266); nil where TLS has none.
	Exporter []byte
}

// verdict is what an authenticator makes of somebody.
type verdict uint8

const (
	ignores verdict = iota
	accepts
	rejects
)

// Enter asks the chain of a listener about somebody who speaks no SCRAM: see [Gate.Exchange] for that. The first
// authenticator that accepts or rejects decides. A chain that is empty or wholly disabled lets nobody in.
func (g *Gate) Enter(ctx context.Context, in *Entrance) (*Identity, Outcome) {
	if in.Presented != nil && !looksLikeJWT(in.Token) { // nothing else is bound to a certificate that proves nobody
		return nil, g.refuse(key{}, credential.UnknownCredential, 0, &in.Evidence)
	}
	last := credential.NoAuthenticator
	var unknown *member // that does not know the user
	for _, m := range g.chains.of(in.Listener) {
		if !m.Enabled || m.Type == credential.ByScram || m.Type == credential.ByScramREST || in.Demand && m.Type != credential.ByCertificate ||
			in.bearer && !m.judgesJWT() {
			continue
		}
		began := time.Now()
		id, out, v := g.ask(ctx, m, in)
		m.stats.count(v, time.Since(began))
		switch {
		case v != ignores:
			if m.Type != credential.ByHTTP && m.Type != credential.ByPassword { // which has judged the password itself; another proof is no leave to guess
				g.guessed(unknown, in)
			}
			return id, out
		case out.Reason == credential.UnknownUser:
			last, unknown = out.Reason, m
		case out.Reason != credential.OK:
			last = out.Reason
		}
	}
	g.guessed(unknown, in)
	return nil, g.refuse(key{}, last, 0, &in.Evidence)
}

// guessed counts a user name and a password that an authenticator did not know, and none behind it took; nil is that there was none.
func (g *Gate) guessed(m *member, in *Entrance) {
	if m != nil && m.Type == credential.ByPassword {
		g.countGuess(m.Org, in.Login.Username, &in.Evidence)
	} else if m != nil {
		k := nameKey(m.Org, in.Login.Username)
		g.guesses.wrong(k, g.cache.hash(k), in.Source, g.clock.Mono())
	}
}

// ask asks one authenticator. With ignores the reason is what may be said in the end, OK for nothing.
func (g *Gate) ask(ctx context.Context, m *member, in *Entrance) (*Identity, Outcome, verdict) {
	run, out := g.isDue(m, in)
	if out.Reason != credential.OK {
		return nil, out, rejects
	}
	if !run {
		return nil, Outcome{}, ignores
	}
	switch m.Type {
	case credential.ByToken, credential.ByCertificate:
		return g.askOurs(ctx, m, in)
	case credential.ByHTTP:
		return g.askPassword(ctx, m, in)
	case credential.ByPassword:
		return g.askUser(ctx, m, in)
	case credential.ByJWT:
		return g.askJWT(ctx, m, in)
	}
	return nil, Outcome{}, ignores
}

// isDue works out the precondition. A reason but OK rejects: the authenticator is broken, or the precondition fails.
func (g *Gate) isDue(m *member, in *Entrance) (bool, Outcome) {
	if m.expr == nil && m.broken == "" && !m.Type.Remote() {
		return true, Outcome{}
	}
	if in.Login.Cert == nil {
		in.Login.Cert = loginCert(in.Certificate)
	}
	in.Login.Zone = m.Org
	if m.broken != "" {
		g.notice(m, m.broken)
		if m.leaves() {
			return false, Outcome{}
		}
		return false, g.refuse(keyOf(m.ID), credential.SourceFailed, 0, &in.Evidence)
	}
	run, err := m.due(&in.Login)
	if err != nil {
		g.notice(m, "its precondition: "+err.Error())
		return false, g.refuse(keyOf(m.ID), credential.PreconditionFailed, 0, &in.Evidence)
	}
	return run, Outcome{}
}

// leaves reports whether a broken authenticator leaves clients to the next: its service cannot be asked, which is a failure like others,
// and its precondition, which might have kept somebody out, is not what is broken.
func (m *member) leaves() bool {
	return m.Type.Remote() && m.source == nil && !m.DenyOnFailure && (m.Precondition == "" || m.expr != nil)
}

// askOurs judges a token and a certificate. Whoever shows both, where the chain takes both, must be the same principal by both.
func (g *Gate) askOurs(ctx context.Context, m *member, in *Entrance) (*Identity, Outcome, verdict) {
	ev := in.Evidence
	both, out := g.takesBoth(m, in)
	switch {
	case out.Reason != credential.OK:
		return nil, out, rejects
	case both:
	case m.Type == credential.ByToken:
		if ev.Certificate != nil && g.isBoundToLeaf(ctx, ev.Token) {
			ev.Presented = ev.Certificate // it is nobody's here, but the token may be bound to it
		}
		ev.Certificate = nil
	default:
		ev.Token = ""
	}
	if ev.Certificate == nil { // a token alone
		if ev.Token == "" {
			return nil, Outcome{Reason: credential.NoCredential}, ignores
		}
		if _, ok := secret.Parse(ev.Token); !ok && !g.isOwn(ev.Token) {
			if ev.Presented != nil || ev.DPoP != nil { // no imported token is bound to anything
				return nil, Outcome{Reason: credential.MalformedToken}, ignores
			}
			return g.askImported(ctx, &ev)
		}
	}
	id, out := g.Authenticate(ctx, &ev)
	if out.Reason != credential.OK {
		return nil, out, rejects
	}
	return id, out, accepts
}

// isBoundToLeaf reports whether a text is an access token of ours that is bound to a certificate.
func (g *Gate) isBoundToLeaf(ctx context.Context, text string) bool {
	if !looksLikeJWT(text) {
		return false
	}
	gr, why := g.grantOf(ctx, text)
	return why == credential.OK && gr.x5t != ""
}

// askImported judges a text that stands where a token may. What is nobody's token may be somebody's password: it is left to the next.
func (g *Gate) askImported(ctx context.Context, ev *Evidence) (*Identity, Outcome, verdict) {
	if g.formats.Load() == nil {
		return nil, Outcome{Reason: credential.MalformedToken}, ignores
	}
	e, out := g.imported(ctx, ev, true)
	switch {
	case out.Reason == credential.OK:
		return g.identity(e), out, accepts
	case out.Reason == credential.MalformedToken, out.Reason == credential.UnknownCredential:
		return nil, out, ignores
	}
	return nil, out, rejects
}

// takesBoth reports whether a token and a certificate were shown and the chain takes the other one of the two as well.
func (g *Gate) takesBoth(m *member, in *Entrance) (bool, Outcome) {
	if in.Certificate == nil || in.Token == "" {
		return false, Outcome{}
	}
	other := credential.ByCertificate
	if m.Type == credential.ByCertificate {
		other = credential.ByToken
	}
	for _, n := range g.chains.of(in.Listener) {
		if n.Type == other && n.Enabled {
			return g.isDue(n, in)
		}
	}
	return false, Outcome{}
}

// tokenPrefix begins every token of ours that is no JWT. What begins so is shown to no REST service, whoever mistook it for a password.
const tokenPrefix = "cardea_"

// isToken reports whether a text that stands where a name or a password may is meant as a token of ours.
func (g *Gate) isToken(text string) bool {
	return strings.HasPrefix(text, tokenPrefix) || g.isOwn(text)
}

// askUser judges a user name and a password of a user of Cardea's.
func (g *Gate) askUser(ctx context.Context, m *member, in *Entrance) (*Identity, Outcome, verdict) {
	l := &in.Login
	if l.Username == "" || l.Password == "" {
		return nil, Outcome{Reason: credential.NoCredential}, ignores
	}
	if g.isToken(l.Username) || g.isToken(l.Password) {
		return nil, Outcome{Reason: credential.MalformedToken}, ignores
	}
	id, out := g.logIn(ctx, m.Org, l.Username, l.Password, &in.Evidence)
	switch out.Reason {
	case credential.OK:
		return id, out, accepts
	case credential.UnknownUser:
		return nil, out, ignores
	}
	return nil, out, rejects
}

// askPassword asks a REST service about a user name and a password.
func (g *Gate) askPassword(ctx context.Context, m *member, in *Entrance) (*Identity, Outcome, verdict) {
	l, ev := &in.Login, &in.Evidence
	if l.Username == "" && l.Password == "" {
		return nil, Outcome{Reason: credential.NoCredential}, ignores
	}
	if g.isToken(l.Username) || g.isToken(l.Password) {
		return nil, Outcome{Reason: credential.MalformedToken}, ignores
	}
	k := nameKey(m.Org, l.Username)
	h := g.cache.hash(k)
	mono := g.clock.Mono()
	if wait := g.guesses.wait(k, h, ev.Source, mono); wait > 0 {
		return nil, g.refuse(keyOf(m.ID), credential.TooManyAttempts, wait, ev), rejects
	}
	if g.blind(mono) {
		return nil, g.refuse(keyOf(m.ID), credential.Unavailable, comeAgain, ev), rejects
	}
	a := m.source.Ask(ctx, l)
	switch a.Verdict {
	case credential.Known:
		id, why := g.guest(ctx, m, l, &a)
		if why != "" {
			g.notice(m, why) // the service lets the user in, but not with rights that can be kept: nobody else is asked
			return nil, g.refuse(keyOf(m.ID), credential.SourceFailed, 0, ev), rejects
		}
		if why := id.entry.standing(g.clock.nano()); why != credential.OK {
			return nil, g.refuse(keyOf(m.ID), why, 0, ev), rejects
		}
		g.guesses.right(k, h, ev.Source)
		return id, Outcome{}, accepts
	case credential.Denied:
		if a.Bad {
			g.say(m, a.Why)
		} else {
			g.guesses.wrong(k, h, ev.Source, mono)
		}
		return nil, g.refuse(keyOf(m.ID), credential.SourceDenied, 0, ev), rejects
	case credential.Unknown: // if nobody else knows the user either, [Gate.Enter] counts it
		return nil, Outcome{Reason: credential.UnknownUser}, ignores
	}
	g.say(m, a.Why)
	if m.DenyOnFailure {
		return nil, g.refuse(keyOf(m.ID), credential.SourceFailed, 0, ev), rejects
	}
	return nil, Outcome{Reason: credential.SourceFailed}, ignores
}

// notice keeps what went wrong at an authenticator for its status, and logs it.
func (g *Gate) notice(m *member, why string) {
	m.stats.fault(why, g.clock.Now())
	g.say(m, why)
}

// say logs what went wrong at an authenticator: one line a minute for each cause. What a REST service did wrong is in the status of its source.
func (g *Gate) say(m *member, why string) {
	if m.stats.isNews(why, g.clock.Now()) {
		g.log.Warn("an authenticator could not do its work", "authenticator", m.ID, "type", string(m.Type), "listener", m.Listener, "why", why)
	}
}

// noticeEvery is how often the same cause is logged.
const noticeEvery = time.Minute
