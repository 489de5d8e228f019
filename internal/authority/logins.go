package authority

import (
	"context"
	"hash/maphash"
	"strconv"
	"sync"
	"time"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

var _ credential.Sessions = (*Authority)(nil)

// turns let one at a time of this node begin a session of a credential, so that MaxSessions is exact there. Others of
// the cluster that begin one in the same moment may each go one beyond it.
type turns struct {
	seed  maphash.Seed
	locks [64]sync.Mutex
}

func (t *turns) of(id string) *sync.Mutex {
	return &t.locks[maphash.String(t.seed, id)%uint64(len(t.locks))]
}

// BeginSession implements [credential.Sessions]. No right is asked for: the caller has had the credential proven. NoRight for who came with an access token. Conflict also if the
// credential, its version or its principal is not good any more, or in quarantine.
func (a *Authority) BeginSession(ctx context.Context, of credential.SessionOf) (credential.Began, error) {
	if of.Token != "" {
		return credential.Began{}, credential.Errorf(credential.NoRight, "an access token makes nothing that lasts for whoever has it: there are no sessions of one")
	}
	if err := a.checkClock(ctx); err != nil {
		return credential.Began{}, err
	}
	turn := a.beginning.of(of.Credential)
	turn.Lock()
	defer turn.Unlock()
	return retry(0, func() (credential.Began, error) {
		rec, err := a.store.Credential(ctx, of.Credential)
		if credential.IsNotFound(err) || err == nil && rec.Credential.Org != of.Org {
			return credential.Began{}, credential.Errorf(credential.Conflict, "the credential has ended")
		}
		if err != nil {
			return credential.Began{}, err
		}
		return a.beginSession(ctx, &rec, of)
	})
}

func (a *Authority) beginSession(ctx context.Context, rec *credential.Record, of credential.SessionOf) (credential.Began, error) {
	parent, p := &rec.Credential, &rec.Principal
	pol, err := a.store.Policy(ctx)
	if err != nil {
		return credential.Began{}, err
	}
	ch := a.begin(Caller{Org: of.Org, Actor: credential.Actor{Principal: p.Name, Credential: parent.ID, Door: of.Door}})
	if of.Source.IsValid() {
		ch.caller.Actor.Source = of.Source.String()
	}
	rules := pol.OfKind(of.Org, parent.Kind)
	ends, err := mayBegin(rec, of.Proof, &rules, ch.at)
	if err != nil {
		return credential.Began{}, err
	}
	if err := a.roomForSession(ctx, parent, rules.MaxSessions, ch.at); err != nil {
		return credential.Began{}, err
	}
	id, err := secret.NewID(secret.IDLen)
	if err != nil {
		return credential.Began{}, err
	}
	proof, text, err := a.newToken(credential.SessionKey, id, 1, ch.at)
	if err != nil {
		return credential.Began{}, err
	}
	ch.also(credential.Expect{Principal: p.ID, Version: p.Version})
	ch.do(credential.CreateCredential{Credential: credential.Credential{
		ID: id, Org: of.Org, Kind: credential.SessionKey, Principal: p.ID, Parent: parent.ID, ParentProof: of.Proof,
		State: credential.StateActive, CreatedAt: ch.at, CreatedBy: p.Name, ExpiresAt: ends, Proofs: []credential.Proof{proof}, Version: 1,
	}}, "session.create", aboutCredential(id, p.Name), details{
		"parent": parent.ID, "parent_kind": string(parent.Kind), "parent_version": strconv.Itoa(of.Proof), "expires_at": stamp(ends),
	})
	if err := a.commit(ctx, ch); err != nil {
		return credential.Began{}, err
	}
	return credential.Began{ID: id, Token: text.Reveal(), ExpiresAt: ends, Home: parent.Home}, nil
}

// mayBegin says when a session ends that is made now of a version of a credential: with what its policy allows, and never after that version.
func mayBegin(rec *credential.Record, version int, rules *credential.KindPolicy, now time.Time) (time.Time, error) {
	c, p := &rec.Credential, &rec.Principal
	at := indexOf(aliveProofs(c, now), version)
	switch {
	case !hasSessions(c.Kind):
		return time.Time{}, credential.Errorf(credential.NoRight, "a credential of kind %s has no sessions", c.Kind)
	case c.State != credential.StateActive:
		return time.Time{}, credential.Errorf(credential.Conflict, "the credential %s is %s: there are no sessions of it", c.ID, c.State)
	case at < 0 || now.Before(c.NotBefore):
		return time.Time{}, credential.Errorf(credential.Conflict, "this version of the credential %s is not good", c.ID)
	case p.Disabled || !p.DeletedAt.IsZero():
		return time.Time{}, credential.Errorf(credential.Conflict, "the principal %s is disabled or deleted", p.Name)
	}
	life := rules.SessionLife
	if life <= 0 { // no session is for ever
		life = credential.DefaultKindPolicy(c.Org, c.Kind).SessionLife
	}
	ends := now.Add(life).Truncate(time.Microsecond)
	alive := aliveProofs(c, now)
	if end := c.Ends(&alive[at]); !end.IsZero() && end.Before(ends) {
		ends = end
	}
	return ends, nil
}

// roomForSession returns Conflict if a credential has as many living sessions as it may; 0 is no bound.
func (a *Authority) roomForSession(ctx context.Context, parent *credential.Credential, most int, now time.Time) error {
	if most <= 0 {
		return nil
	}
	live := 0
	f := credential.CredentialFilter{Org: parent.Org, Kind: credential.SessionKey, Parent: parent.ID, Status: "active", Now: now, Limit: min(most, maxLimit)}
	for {
		page, next, err := a.store.Credentials(ctx, f)
		if err != nil {
			return err
		}
		if live += len(page); live >= most {
			return credential.Errorf(credential.Conflict, "the credential %s has %d sessions, and its policy allows no more: end one of them", parent.ID, live)
		}
		if next == "" {
			return nil
		}
		f.Cursor = next
	}
}

// EndSession implements [credential.Sessions].
func (a *Authority) EndSession(ctx context.Context, org, id, reason string) error {
	return a.endOneSession(ctx, id, reason, func(rec *credential.Record) (Caller, bool) {
		actor := credential.Actor{Principal: rec.Principal.Name, Credential: id}
		return Caller{Org: org, Actor: actor}, rec.Credential.Org == org
	})
}

// Logout ends a session of the caller's own: the one that they have come with.
func (a *Authority) Logout(ctx context.Context, c Caller, id string) error {
	return a.endOneSession(ctx, id, "logout", func(rec *credential.Record) (Caller, bool) {
		return c, rec.Credential.Org == c.Org && rec.Principal.Name == c.Actor.Principal
	})
}

// endOneSession ends a session. by says who does it, and false if it is not theirs.
func (a *Authority) endOneSession(ctx context.Context, id, reason string, by func(*credential.Record) (Caller, bool)) error {
	_, err := retry(0, func() (none, error) {
		rec, err := a.store.Credential(ctx, id)
		if err != nil && !credential.IsNotFound(err) {
			return none{}, err
		}
		c, theirs := by(&rec)
		if err != nil || !theirs || rec.Credential.Kind != credential.SessionKey {
			return none{}, notFound("session", id)
		}
		if rec.Credential.State.Ended() {
			// Whoever ended it may still wait for the gate: this answer must not come earlier than that one.
			about := aboutCredential(id, rec.Principal.Name)
			a.tellGate(ctx, []credential.Touch{{Seq: rec.Revision, Org: c.Org, Subject: about}})
			return none{}, nil
		}
		ch := a.begin(c)
		endSession(ch, rec.Credential, rec.Principal.Name, reason)
		return none{}, a.commit(ctx, ch)
	})
	return err
}

// endSession adds to a change that a session ends and goes off the lists.
func endSession(ch *change, session credential.Credential, principal, reason string) {
	d := details{"parent": session.Parent}
	op := credential.EndCredential{ID: session.ID, State: credential.StateDeleted, At: ch.at, Reason: reason}
	ch.because(op, "session.end", aboutCredential(session.ID, principal), d, reason)
}

// endSessions adds to a change that ends a credential, or the version of it that they were made with, that its sessions end.
// The gate asks for the parent at each use, so this is for the lists to tell the truth.
func (a *Authority) endSessions(ctx context.Context, ch *change, parent *credential.Credential, principal, reason string) error {
	if !hasSessions(parent.Kind) {
		return nil
	}
	f := credential.CredentialFilter{Org: parent.Org, Kind: credential.SessionKey, Parent: parent.ID}
	return a.endAllSessions(ctx, ch, f, principal, reason)
}

// endSessionsOf adds to a change that all sessions of a principal end.
func (a *Authority) endSessionsOf(ctx context.Context, ch *change, p *credential.Principal, reason string) error {
	f := credential.CredentialFilter{Org: p.Org, Kind: credential.SessionKey, Principal: p.ID}
	return a.endAllSessions(ctx, ch, f, p.Name, reason)
}

func (a *Authority) endAllSessions(ctx context.Context, ch *change, f credential.CredentialFilter, principal, reason string) error {
	return a.eachCredential(ctx, f, func(l credential.Listed) error {
		if !l.State.Ended() {
			endSession(ch, l.Credential, principal, reason)
		}
		return nil
	})
}

// notOfASession refuses with Conflict what is not done to sessions.
func notOfASession(c *credential.Credential) error {
	if c.Kind != credential.SessionKey {
		return nil
	}
	return credential.Errorf(credential.Conflict, "%s is a session and is what the credential %s is: change that, or end the session", c.ID, c.Parent)
}

// notOfAPassword refuses with Conflict what is done to neither passwords nor sessions.
func notOfAPassword(c *credential.Credential) error {
	if c.Kind != credential.Password {
		return notOfASession(c)
	}
	return credential.Errorf(credential.Conflict, "%s is a password: set another one with /users/%s/password", c.ID, c.Username)
}
