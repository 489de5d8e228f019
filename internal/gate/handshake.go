package gate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"cardea/internal/credential"
	"cardea/internal/scram"
)

// Exchange is one run of SCRAM (RFC 5802), or of [MethodJWT]: as many steps as somebody needs to prove who they are. It is used by
// one goroutine at a time.
type Exchange struct {
	gate *Gate
	in   *Entrance
	jwt  bool // MethodJWT; what follows is SCRAM's
	hash scram.Hash
	plus bool

	shake  *scram.Handshake // nil: the first step is to come
	member *member          // that has answered for the user; nil for nobody
	took   time.Duration    // by it, and by the steps since
	proofs []*entry         // of one of our own: versions, in the order in which their keys were given to shake
	guest  *Identity        // whom a REST service vouches for
	failed bool             // a REST service, so that it is not known whether it knows the user
	over   bool
}

// Exchange begins a run of a method with somebody at a listener. It is nil if nobody in the chain serves the method.
func (g *Gate) Exchange(in *Entrance, method string) *Exchange {
	if method == MethodJWT && !in.Demand && g.takesJWT(in.Listener) { // where certificates are demanded they alone decide
		in.Login.Method = method
		return &Exchange{gate: g, in: in, jwt: true}
	}
	hash, plus, ok := scram.ParseMethod(method)
	if !ok || plus && in.Exporter == nil {
		return nil
	}
	for _, m := range g.chains.of(in.Listener) {
		if m.serves(hash) {
			in.Login.Method = method
			return &Exchange{gate: g, in: in, hash: hash, plus: plus}
		}
	}
	return nil
}

// Step takes what was said and returns what is to be said. With an identity they have proved to be that; without
// one, and OK, they have to go on. Any other reason refuses them, and the exchange is over.
func (x *Exchange) Step(ctx context.Context, data []byte) (answer []byte, id *Identity, why credential.Reason) {
	switch {
	case x.over:
		why = credential.BadExchange
	case x.jwt:
		id, why = x.bear(ctx, data)
	case x.shake == nil:
		answer, why = x.first(ctx, data)
	default:
		began := time.Now()
		answer, id, why = x.final(ctx, data)
		x.took += time.Since(began)
	}
	if why != credential.OK || id != nil {
		x.over = true
		x.count(why)
	}
	return answer, id, why
}

// Abandon counts an exchange that will not go on.
func (x *Exchange) Abandon() {
	if !x.over {
		x.over = true
		x.count(credential.BadExchange)
	}
}

// count counts the handshake at the authenticator that it came to, once.
func (x *Exchange) count(why credential.Reason) {
	if x.member == nil {
		return
	}
	v := rejects
	if why == credential.OK {
		v = accepts
	}
	x.member.stats.count(v, x.took)
}

// first takes the client-first message and finds whose keys are asked for.
func (x *Exchange) first(ctx context.Context, data []byte) ([]byte, credential.Reason) {
	g, in := x.gate, x.in
	if in.Presented != nil { // as at [Gate.Enter]
		return nil, x.refuse(credential.UnknownCredential)
	}
	var channel *scram.Channel
	if in.Exporter != nil {
		channel = &scram.Channel{Exporter: in.Exporter}
	}
	shake, err := scram.Begin(x.hash, x.plus, channel, data)
	if err != nil {
		return nil, x.refuse(credential.BadExchange)
	}
	name := shake.Username()
	if said, err := scram.Prepare(in.Login.Username); in.Login.Username != "" && (err != nil || said != name) {
		return nil, x.refuse(credential.Unbound) // the CONNECT speaks of somebody else
	}
	in.Login.Username, in.Login.Password, in.Login.Data = name, "", string(data)
	mono := g.clock.Mono()
	k := nameKey(credential.DefaultOrg, name)
	if wait := g.guesses.wait(k, g.cache.hash(k), in.Source, mono); wait > 0 {
		return nil, x.refuse(credential.TooManyAttempts)
	}
	if g.blind(mono) {
		return nil, x.refuse(credential.Unavailable)
	}
	keys, rounds, why := x.find(ctx)
	if why != credential.OK {
		return nil, why
	}
	var answer []byte
	if len(keys) > 0 {
		answer, err = shake.Challenge(keys)
	} else { // a challenge that nothing answers (S01)
		answer, err = shake.ChallengeUnknown(g.fakeSalt, rounds)
	}
	if err != nil {
		return nil, x.refuse(credential.BadExchange)
	}
	x.shake = shake
	return answer, credential.OK
}

// find asks the chain for the keys of the user. There are none if nobody knows them; rounds are the iterations that are usual here.
func (x *Exchange) find(ctx context.Context) (keys []credential.ScramKeys, rounds int, why credential.Reason) {
	g, in := x.gate, x.in
	for _, m := range g.chains.of(in.Listener) {
		if !m.serves(x.hash) {
			continue
		}
		if rounds == 0 {
			rounds = max(m.rounds, credential.MinIterations)
		}
		began := time.Now()
		keys, why := x.ask(ctx, m)
		took := time.Since(began)
		switch {
		case len(keys) > 0:
			x.member, x.took = m, took // it is counted when it is over
			return keys, rounds, credential.OK
		case why != credential.OK:
			m.stats.count(rejects, took)
			return nil, rounds, why
		}
		m.stats.count(ignores, took)
	}
	if rounds == 0 { // all were taken out of the chain meanwhile
		return nil, 0, x.refuse(credential.NoAuthenticator)
	}
	return nil, rounds, credential.OK
}

// ask asks one authenticator for keys. Without any, OK is that it knows of none, and another reason ends the exchange.
func (x *Exchange) ask(ctx context.Context, m *member) ([]credential.ScramKeys, credential.Reason) {
	g := x.gate
	run, out := g.isDue(m, x.in)
	if out.Reason != credential.OK || !run {
		x.failed = x.failed || m.broken != ""
		return nil, out.Reason
	}
	if m.Type == credential.ByScramREST {
		return x.askREST(ctx, m)
	}
	e, why := g.named(ctx, m.Org, credential.SCRAM, x.in.Login.Username)
	if why == credential.Unavailable {
		return nil, x.refuse(why)
	}
	if e == nil {
		return nil, credential.OK
	}
	return x.take(e), credential.OK
}

// take takes the versions of a credential that may still be proved.
func (x *Exchange) take(newest *entry) (keys []credential.ScramKeys) {
	for _, e := range newest.provable(x.hash, x.gate.clock.nano()) {
		keys, x.proofs = append(keys, e.scram().keys), append(x.proofs, e)
	}
	return keys
}

// provable returns the versions of a SCRAM credential that may be proved: the newest, and those that have not ended and share its
// salt and iterations, because there is room for one in the challenge.
func (e *entry) provable(hash scram.Hash, now int64) (all []*entry) {
	var first *credential.ScramKeys
	for v := e; v != nil; v = v.older {
		s := v.scram()
		if s == nil || s.hash != hash || v != e && now >= v.deadline {
			continue
		}
		if first == nil {
			first = &s.keys
		}
		if bytes.Equal(s.keys.Salt, first.Salt) && s.keys.Iterations == first.Iterations {
			all = append(all, v)
		}
	}
	return all
}

func (x *Exchange) askREST(ctx context.Context, m *member) ([]credential.ScramKeys, credential.Reason) {
	g, l := x.gate, &x.in.Login
	a := m.source.Ask(ctx, l)
	switch a.Verdict {
	case credential.Known:
		var why string
		if x.guest, why = g.guest(ctx, m, l, &a); x.guest != nil {
			return []credential.ScramKeys{a.Keys}, credential.OK
		}
		m.stats.fault(why, g.clock.Now()) // what its ACL lacks is the service's failure
		a.Why = why
	case credential.Denied:
		return nil, x.refuse(credential.SourceDenied)
	case credential.Unknown:
		return nil, credential.OK
	}
	g.say(m, a.Why)
	if m.DenyOnFailure {
		return nil, x.refuse(credential.SourceFailed)
	}
	x.failed = true
	return nil, credential.OK
}

// final takes the client-final message. What was true at the first step is looked at again.
func (x *Exchange) final(ctx context.Context, data []byte) ([]byte, *Identity, credential.Reason) {
	answer, which, err := x.shake.Finish(data)
	if err != nil && x.member == nil && x.failed {
		return nil, nil, x.refuse(credential.SourceFailed) // nobody knows whether the proof was wrong, so that it does not count against the user
	}
	g, k := x.gate, nameKey(credential.DefaultOrg, x.in.Login.Username)
	if err != nil {
		return nil, nil, x.refuse(x.wrong(k, err))
	}
	id, why := x.admit(ctx, which)
	if why != credential.OK {
		return nil, nil, why
	}
	g.guesses.right(k, g.cache.hash(k), x.in.Source)
	return answer, id, credential.OK
}

// wrong says why a client-final message is refused, and counts it if it was a guess.
func (x *Exchange) wrong(k key, err error) credential.Reason {
	e, ok := errors.AsType[*scram.Error](err)
	if !ok || e.Code != scram.InvalidProof {
		return credential.BadExchange
	}
	g := x.gate
	g.guesses.wrong(k, g.cache.hash(k), x.in.Source, g.clock.Mono())
	if x.member == nil {
		return credential.UnknownUser
	}
	return credential.WrongSecret
}

// admit returns who has given the proof, if they may come in. A refusal was noted.
func (x *Exchange) admit(ctx context.Context, which int) (*Identity, credential.Reason) {
	g, ev := x.gate, &x.in.Evidence
	for range maxRounds {
		id, why := x.prove(ctx, which)
		if why == credential.OK && x.in.Demand {
			id, why = x.beside(ctx, id)
		}
		if why != credential.OK {
			return nil, x.refuse(why)
		}
		out, again := g.meter(ctx, id.entry, ev)
		if again {
			continue
		}
		if out.Reason != credential.OK {
			return nil, out.Reason
		}
		now := g.clock.nano()
		if x.guest == nil {
			g.count(id.entry, now, ev)
		}
		if id.with != nil {
			g.count(id.with, now, ev)
		}
		return id, credential.OK
	}
	return nil, x.refuse(credential.Unavailable)
}

// prove returns who has given the proof.
func (x *Exchange) prove(ctx context.Context, which int) (*Identity, credential.Reason) {
	g := x.gate
	if x.guest != nil {
		return x.guest, x.guest.entry.standing(g.clock.nano())
	}
	if which >= len(x.proofs) {
		return nil, credential.UnknownUser
	}
	e, why := g.successor(ctx, x.proofs[which], origin{addr: x.in.Source})
	if why != credential.OK {
		return nil, why
	}
	return g.identity(e), credential.OK
}

// beside holds whoever has proved something at a listener that demands certificates to be the principal of theirs.
func (x *Exchange) beside(ctx context.Context, id *Identity) (*Identity, credential.Reason) {
	g := x.gate
	if x.in.Certificate == nil {
		return nil, credential.NoCredential
	}
	cert, out := g.certificate(ctx, &x.in.Evidence, false)
	if out.Reason != credential.OK {
		return nil, out.Reason
	}
	if cert.made.Org != id.Org || cert.made.PrincipalID != id.PrincipalID {
		return nil, credential.Unbound
	}
	return g.bind(id.entry, cert), credential.OK
}

// refuse notes a refusal under the credential, or the authenticator, that it is about.
func (x *Exchange) refuse(why credential.Reason) credential.Reason {
	var k key
	switch {
	case len(x.proofs) > 0:
		k = x.proofs[0].key
	case x.member != nil:
		k = keyOf(x.member.ID)
	}
	return x.gate.refuse(k, why, 0, &x.in.Evidence).Reason
}

// nameKey stands for a user name where wrong attempts are counted, whether there is such a user or not.
func nameKey(org, name string) key {
	sum := sha256.Sum256([]byte("user\x00" + org + "\x00" + name))
	return key{binary.LittleEndian.Uint64(sum[:8]), binary.LittleEndian.Uint32(sum[8:12]) | 1} // never the zero key
}
