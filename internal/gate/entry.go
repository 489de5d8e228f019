package gate

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/big"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

// key is a credential's id, 12 bytes, in a form that compares fast.
type key struct {
	hi uint64
	lo uint32
}

// keyOf reads an id; the zero key stands for what is not 12 bytes long.
func keyOf(id string) key {
	if len(id) != idLen {
		return key{}
	}
	b := unsafe.Slice(unsafe.StringData(id), idLen) // read only, and not kept
	return key{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:])}
}

// String returns the id.
func (k key) String() string {
	if k == (key{}) {
		return ""
	}
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, idLen), k.hi)
	return string(binary.LittleEndian.AppendUint32(b, k.lo))
}

const idLen = 12

// What keeps an entry from being accepted without a closer look.
const (
	isEnded       = 1 << iota // revoked or deleted, or its principal is
	isDisabled                // its principal is
	isBound                   // to networks
	isQuarantined             // the credential is: rights are those of the quarantine; nothing to judge
	isPending                 // nobody has approved it
	isDerived                 // it is a session: its parent is judged as well
	isSplit                   // its uses are counted by address and route; nothing to judge
	isMetered                 // it has limits; nothing to judge either
	isAccess                  // it is an access token; see access.go
)

// The marks of an entry.
const (
	markDead   = 1 << iota // it is no longer in the table
	markUsed               // since the hand of the clock came by
	markLocked             // last and source are being written or read together
)

// entry is one version of a credential, with all that is needed to judge it.
// What a hit reads is in the first hotLines cache lines. Everything but the atomics is
// written before the entry is in the table and never after, save the links,
// which belong to the lock that they name.
type entry struct {
	key      key // of the credential
	hash     [32]byte
	deadline int64  // ns since 1970
	form     uint32 // what sort of token it is a hash of; see formOf
	flags    uint32

	marks     atomic.Uint32
	size      int32         // bytes that it and its older versions count for; under the shard's lock
	did       atomic.Uint64 // which scopes have let it do something lately; see exercise.go
	notBefore int64         // ns since 1970
	rights    *rights
	ident     atomic.Pointer[Identity]
	count     atomic.Int64  // uses since the last flush
	last      atomic.Int64  // when, ns since 1970
	srcHi     atomic.Uint64 // from where
	srcLo     atomic.Uint64

	dirty *entry    // next in the list of those with uses; see ledger.go
	first int64     // first of the uses since the last flush; of whoever puts it into the list or takes it out
	older *entry    // the version before; nil for none
	nets  *networks // where it may come from; nil for anywhere. Shared
	made  Identity  // the first one; ident points to it until rights change

	revision int64
	next     *entry // of the same principal; under the lock of owners
	prev     *entry
	cold     atomic.Pointer[cold]
}

const (
	hotLines = 3
	lineSize = 64 // in bytes, of the processor's cache
)

// cold is what few entries have.
type cold struct {
	serial    *big.Int // certificates
	signing   atomic.Bool
	assertion atomic.Pointer[assertion]
	bound     atomic.Pointer[Identity] // the last one that was made with a certificate beside the token
	metering  *metering                // with isMetered; of all versions the same
	scram     *scramEntry
	password  *passwordEntry
	parent    parent // of a session
	access    *accessEntry
	client    *clientEntry
	federated *federated
	foreign   *foreignEntry
	split     atomic.Pointer[split]  // uses by address and route since the last flush
	places    atomic.Pointer[places] // where it was seen lately, if in more than one place
}

// formOf returns a token's kind as a number; 0 is no token.
func formOf(kind string) uint32 {
	if len(kind) != 3 {
		return 0
	}
	return uint32(kind[0]) | uint32(kind[1])<<8 | uint32(kind[2])<<16
}

// formFor returns the form of the tokens of a kind of credential, and the kind
// itself as the constant, so that no copy of it is kept.
func formFor(k credential.Kind) (uint32, credential.Kind) {
	switch k {
	case credential.DeviceToken:
		return formOf("dev"), credential.DeviceToken
	case credential.APIKey:
		return formOf("api"), credential.APIKey
	case credential.PAT:
		return formOf("pat"), credential.PAT
	case credential.AppKey:
		return formOf("app"), credential.AppKey
	case credential.SessionKey:
		return formOf("ses"), credential.SessionKey
	case credential.OAuthClient:
		return clientForm, credential.OAuthClient // its secret is good at the token endpoint alone
	case credential.Password:
		return math.MaxUint32, credential.Password
	case credential.Certificate:
		return 0, credential.Certificate
	case credential.SCRAM:
		return math.MaxUint32, credential.SCRAM // no token is one of these
	}
	return math.MaxUint32, k // never accepted
}

// newEntry compiles a record: the newest version, with the older ones behind it.
func newEntry(rec *credential.Record, r *rights, org string, nets *networks) *entry {
	c, p := &rec.Credential, &rec.Principal
	text := c.ID + p.ID + p.Name // one allocation for the three
	proto := entry{key: keyOf(c.ID), rights: r, nets: nets, revision: rec.Revision, notBefore: math.MinInt64}
	proto.form, c.Kind = formFor(c.Kind)
	if !c.NotBefore.IsZero() {
		proto.notBefore = nanos(c.NotBefore)
	}
	proto.flags = flagsOf(c, p)
	now := r.cur.Load()
	made := Identity{
		Org: org, Holder: policy.Holder{Principal: text[len(c.ID)+len(p.ID):], Attrs: p.Attrs}, PrincipalID: text[len(c.ID) : len(c.ID)+len(p.ID)],
		PrincipalKind: constantKind(p.Kind), Credential: text[:len(c.ID)], Kind: c.Kind,
		Scopes: now.names, compiled: now,
	}
	var newest, last *entry
	size := int64(len(text)+15) &^ 15
	m := meteringOf(rec, made.Credential, org)
	if m != nil {
		proto.flags |= isMetered
		size += int64(unsafe.Sizeof(*m))
	}
	for i := range c.Proofs {
		e := newVersion(&proto, &made, c, &c.Proofs[i])
		if m != nil {
			e.lukewarm().metering = m
		}
		size += e.ownSize()
		if newest == nil {
			newest = e
		} else {
			last.older = e
		}
		last = e
	}
	if newest != nil {
		newest.size = int32(min(size, math.MaxInt32))
	}
	return newest
}

func newVersion(proto *entry, made *Identity, c *credential.Credential, p *credential.Proof) *entry {
	e := &entry{
		key: proto.key, form: proto.form, flags: proto.flags, rights: proto.rights, nets: proto.nets,
		revision: proto.revision, notBefore: proto.notBefore, made: *made,
	}
	ends := c.Ends(p)
	e.deadline = nanos(ends)
	e.made.Proof, e.made.entry = p.N, e
	if e.deadline != never {
		e.made.Deadline = ends.UTC()
	}
	if p.Scheme != "" {
		e.form = foreignForm
	}
	if len(p.Hash) != len(e.hash) {
		e.form = math.MaxUint32 // nothing can be equal to it
	}
	copy(e.hash[:], p.Hash)
	e.ident.Store(&e.made)
	switch e.made.Kind {
	case credential.Certificate:
		x := &cold{}
		x.serial, _ = new(big.Int).SetString(p.Serial, 16)
		e.cold.Store(x)
	case credential.SessionKey:
		e.cold.Store(&cold{parent: parent{keyOf(c.Parent), c.ParentProof}})
	}
	return e
}

func flagsOf(c *credential.Credential, p *credential.Principal) uint32 {
	var f uint32
	if c.State.Ended() || !p.DeletedAt.IsZero() {
		f |= isEnded
	}
	if c.State == credential.StateQuarantined {
		f |= isQuarantined
	}
	if c.State == credential.StatePending {
		f |= isPending
	}
	switch c.Kind {
	case credential.SessionKey:
		f |= isDerived
	case credential.APIKey, credential.PAT, credential.AppKey, credential.OAuthClient:
		f |= isSplit
	}
	if p.Disabled {
		f |= isDisabled
	}
	if len(c.Networks) > 0 {
		f |= isBound
	}
	return f
}

func constantKind(k credential.PrincipalKind) credential.PrincipalKind {
	for _, c := range []credential.PrincipalKind{credential.User, credential.Service, credential.Device} {
		if k == c {
			return c
		}
	}
	return credential.PrincipalKind(strings.Clone(string(k)))
}

// perIndex is what the index of principals takes for an entry, about.
const perIndex = 40

// ownSize is the memory of one version without the text that versions share.
func (e *entry) ownSize() int64 {
	n := int64(unsafe.Sizeof(*e)) + perIndex
	if c := e.cold.Load(); c != nil {
		n += int64(unsafe.Sizeof(*c)) + 64
	}
	for k, v := range e.made.Attrs {
		n += int64(len(k)+len(v)) + 64
	}
	return n
}

// judge says whether e is accepted now from src, in the order of [credential.Reason].
func (e *entry) judge(now int64, src netip.Addr) credential.Reason {
	why := e.standing(now)
	if why == credential.OK && e.flags&isBound != 0 && !e.nets.allow(src) {
		return credential.NetworkRefused
	}
	return why
}

// standing is judge without networks.
func (e *entry) standing(now int64) credential.Reason {
	switch {
	case now < e.notBefore:
		return credential.NotYetValid
	case now >= e.deadline:
		return credential.Expired
	case e.flags&isEnded != 0:
		return credential.Revoked
	case e.flags&isDisabled != 0:
		return credential.PrincipalDisabled
	case e.flags&isPending != 0:
		return credential.PendingApproval
	case e.rights.cur.Load().closed:
		return credential.OrgDisabled
	}
	return credential.OK
}

// identity returns who e is, with the scopes as of now. It allocates only
// after rights have changed.
func (g *Gate) identity(e *entry) *Identity {
	id, now := e.ident.Load(), e.rights.cur.Load()
	if id.compiled == now {
		return id
	}
	fresh := *id
	fresh.compiled, fresh.Scopes = now, now.names
	if e.ident.Swap(&fresh) == &e.made {
		g.charge(e, int64(unsafe.Sizeof(fresh))) // from now on it has two
	}
	return &fresh
}

// may returns what id might when it was made.
func (id *Identity) may() policy.Rights { return id.compiled.of(&id.Holder) }

// mayNow returns what id may now.
func (id *Identity) mayNow() policy.Rights { return id.rights().cur.Load().of(&id.Holder) }

// version returns the version n of e's credential, or nil.
func (e *entry) version(n int, hash *[32]byte) *entry {
	for ; e != nil; e = e.older {
		if e.made.Proof == n && bytes.Equal(e.hash[:], hash[:]) { // both are stored hashes: nothing to learn from the time
			return e
		}
	}
	return nil
}

// lukewarm returns e's cold part, made if need be.
func (e *entry) lukewarm() *cold {
	if c := e.cold.Load(); c != nil {
		return c
	}
	e.cold.CompareAndSwap(nil, &cold{})
	return e.cold.Load()
}

// dead reports whether e is no longer in the table.
func (e *entry) dead() bool { return e.marks.Load()&markDead != 0 }

// use counts one use. first is whether it is the first since the last flush.
func (e *entry) use(now int64, hi, lo uint64) (first bool, how move) {
	last, hadHi, hadLo := e.last.Load(), e.srcHi.Load(), e.srcLo.Load()
	if now-last >= int64(time.Second) || hadLo != lo || hadHi != hi {
		e.note(now, hi, lo)
		switch had := networkOf(hadHi, hadLo); {
		case had != 0 && had != networkOf(hi, lo):
			how = strays
		case had == 0 || e.hour(last) != e.hour(now):
			how = lasts
		}
	}
	if e.marks.Load()&markUsed == 0 {
		e.marks.Or(markUsed)
	}
	if e.count.Add(1) != 1 {
		return false, how
	}
	e.first = now // nobody else's until it is in the list
	return true, how
}

// note writes when and from where e was last used. If somebody else is at it,
// theirs is as good as ours.
func (e *entry) note(now int64, hi, lo uint64) {
	if !e.lock() {
		return
	}
	if now > e.last.Load() {
		e.last.Store(now)
	}
	e.srcHi.Store(hi)
	e.srcLo.Store(lo)
	e.unlock()
}

// lock reports whether nobody else had the lock.
func (e *entry) lock() bool { return e.marks.Or(markLocked)&markLocked == 0 }

func (e *entry) unlock() { e.marks.And(^uint32(markLocked)) }

// words returns an address as an entry keeps it: two words, both 0 for one that is not known.
func words(a netip.Addr) (hi, lo uint64) {
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

// addrOf is the inverse of words.
func addrOf(hi, lo uint64) netip.Addr {
	if hi|lo == 0 {
		return netip.Addr{}
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	return netip.AddrFrom16(b).Unmap()
}
