package gate

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cardea/internal/credential"
)

// Watched is a session under watch.
type Watched struct {
	gate     *Gate
	live     Live
	id       atomic.Pointer[Identity]
	deadline atomic.Int64 // ns since 1970
	state    atomic.Uint32
	reason   atomic.Uint32 // why it is to be refused, while it is not live yet
	n        uint64        // its number on this node
	since    int64         // ns since 1970
	own      link
	more     []*link // of the certificate beside a token, of an access token and all that it is bound to
}

// The states of a session, in the order in which they follow each other. Only
// Watch goes back, from retry to starting.
const (
	starting = iota // Watch is at it
	retry           // Watch is at it, and must look again
	living
	cutting // Cut is being called
	ended
)

// link is a session in the list of a credential. It is under the part's lock.
type link struct {
	key        key
	watched    *Watched
	next, prev *link
}

// sessions are the live ones, by credential.
type sessions struct {
	hash   func(key) uint64
	parts  [shardCount]sessionsPart
	last   atomic.Uint64 // number of the newest session
	prefix string        // of session ids; another one on each node and after each start

	cuts sync.Mutex
	done *sync.Cond // some Cut has returned
}

type sessionsPart struct {
	mu    sync.Mutex
	lists map[key]*link
	n     int
	_     [40]byte
}

func (s *sessions) init(hash func(key) uint64, prefix string) {
	s.hash, s.prefix = hash, prefix
	s.done = sync.NewCond(&s.cuts)
	for i := range s.parts {
		s.parts[i].lists = map[key]*link{}
	}
}

// Watch registers a live thing first and checks its identity again after, so
// that no revocation falls between (invariant 4). If the reason is not OK
// nothing is registered and Cut is not called.
func (g *Gate) Watch(ctx context.Context, id *Identity, l Live) (*Watched, credential.Reason) {
	if id == nil || l.Cut == nil {
		return nil, credential.NoCredential
	}
	w := &Watched{gate: g, live: l, n: g.sessions.last.Add(1), since: g.clock.nano()}
	w.id.Store(id)
	w.deadline.Store(deadlineOf(id))
	w.own.key, w.own.watched = id.entry.key, w
	g.sessions.add(&w.own)
	for _, k := range id.beside() {
		l := &link{key: k, watched: w}
		w.more = append(w.more, l)
		g.sessions.add(l)
	}
	for {
		why := g.admit(ctx, w)
		if why == credential.OK && w.state.CompareAndSwap(starting, living) {
			g.deadlines.expect(w)
			return w, credential.OK
		}
		if why != credential.OK {
			w.state.Store(ended)
			w.leave()
			return nil, why
		}
		w.state.Store(starting) // something has changed meanwhile
	}
}

// admit looks whether a session that is registered may live. Whoever changes
// something after it has looked finds the session and sets it to retry.
func (g *Gate) admit(ctx context.Context, w *Watched) credential.Reason {
	if why := credential.Reason(w.reason.Load()); why != credential.OK {
		return why
	}
	if g.draining.Load() {
		return credential.Draining
	}
	if g.shut.Load() != 0 {
		return credential.Unavailable
	}
	old := w.id.Load()
	id, why := g.renew(ctx, old, origin{addr: w.live.Source})
	if why != credential.OK {
		return why
	}
	if id != old {
		if a := w.live.Access; a != nil {
			if d := id.may().Decide(a); !d.Allowed() {
				return d.Reason
			}
		}
		w.id.Store(id)
		w.deadline.Store(deadlineOf(id))
	}
	return credential.OK
}

func deadlineOf(id *Identity) int64 {
	if id.with != nil {
		return min(id.entry.deadline, id.with.deadline)
	}
	return id.entry.deadline
}

// Close ends the watch. Idempotent. After it has returned Cut is not called any more, unless it is running.
func (w *Watched) Close() {
	if w.state.CompareAndSwap(living, ended) {
		w.leave()
	}
}

// cut ends a session and returns when its Cut has. It reports whether there was one to cut.
func (w *Watched) cut(why credential.Reason) bool {
	for {
		switch w.state.Load() {
		case starting:
			w.reason.Store(uint32(why))
			if w.state.CompareAndSwap(starting, retry) {
				return true
			}
		case retry:
			w.reason.Store(uint32(why))
			if w.state.Load() == retry {
				return true
			}
		case living:
			if w.state.CompareAndSwap(living, cutting) {
				w.call(why)
				return true
			}
		case cutting:
			w.await()
			return false
		default:
			return false
		}
	}
}

// call calls Cut. A door that panics must not keep others from being cut.
func (w *Watched) call(why credential.Reason) {
	s := &w.gate.sessions
	defer func() {
		if p := recover(); p != nil {
			w.gate.log.Error("a session could not be cut", "session", w.name(), "panic", p)
		}
		s.cuts.Lock()
		w.state.Store(ended)
		s.cuts.Unlock()
		s.done.Broadcast()
		w.leave()
	}()
	w.gate.stats.cuts.Add(1)
	w.live.Cut(why)
}

// await returns when another goroutine's Cut has.
func (w *Watched) await() {
	s := &w.gate.sessions
	s.cuts.Lock()
	defer s.cuts.Unlock()
	for w.state.Load() == cutting {
		s.done.Wait()
	}
}

func (w *Watched) leave() {
	s := &w.gate.sessions
	s.remove(&w.own)
	for _, l := range w.more {
		s.remove(l)
	}
}

// Identity returns whom the session is, as of the last look: Watch itself may have had to look again.
func (w *Watched) Identity() *Identity { return w.identity() }

func (w *Watched) identity() *Identity { return w.id.Load() }

func (w *Watched) name() string {
	return w.gate.sessions.prefix + "-" + strconv.FormatUint(w.n, 36)
}

func (s *sessions) part(k key) *sessionsPart { return &s.parts[s.hash(k)>>(64-shardBits)] }

func (s *sessions) add(l *link) {
	p := s.part(l.key)
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.next = p.lists[l.key]; l.next != nil {
		l.next.prev = l
	}
	p.lists[l.key] = l
	p.n++
}

func (s *sessions) remove(l *link) {
	p := s.part(l.key)
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.next != nil {
		l.next.prev = l.prev
	}
	switch {
	case l.prev != nil:
		l.prev.next = l.next
	case l.next != nil:
		p.lists[l.key] = l.next
	default:
		delete(p.lists, l.key)
	}
	l.next, l.prev = nil, nil
	p.n--
}

// of returns the sessions of a credential, those of which it is the certificate included.
func (s *sessions) of(k key) []*Watched {
	p := s.part(k)
	p.mu.Lock()
	defer p.mu.Unlock()
	var ws []*Watched
	for l := p.lists[k]; l != nil; l = l.next {
		ws = append(ws, l.watched)
	}
	return ws
}

// all returns every session once.
func (s *sessions) all() []*Watched {
	var ws []*Watched
	for i := range s.parts {
		p := &s.parts[i]
		p.mu.Lock()
		for _, l := range p.lists {
			for ; l != nil; l = l.next {
				if l == &l.watched.own {
					ws = append(ws, l.watched)
				}
			}
		}
		p.mu.Unlock()
	}
	return ws
}

// keysOf returns the credentials whose sessions hang on one of these principals: those that are theirs, and those in which they act. Sessions of several
// principals may be in the list of one key.
func (s *sessions) keysOf(principals map[string]int64) []key {
	found := map[key]bool{}
	for i := range s.parts {
		p := &s.parts[i]
		p.mu.Lock()
		for k, l := range p.lists {
			for ; l != nil && !found[k]; l = l.next {
				found[k] = l.watched.identity().hangsOn(principals)
			}
		}
		p.mu.Unlock()
	}
	ks := make([]key, 0, len(found))
	for k, hangs := range found {
		if hangs {
			ks = append(ks, k)
		}
	}
	return ks
}

func (id *Identity) hangsOn(principals map[string]int64) bool {
	if _, ok := principals[id.PrincipalID]; ok {
		return true
	}
	if a := id.with.access(); a != nil {
		return slices.ContainsFunc(a.others, func(o *entry) bool { _, ok := principals[o.made.PrincipalID]; return ok })
	}
	return false
}

func (s *sessions) count() int {
	n := 0
	for i := range s.parts {
		p := &s.parts[i]
		p.mu.Lock()
		n += p.n
		p.mu.Unlock()
	}
	return n
}

// briefly is how long a request lives before it is listed.
const briefly = time.Second

// Sessions lists live sessions, the oldest first; requests only if they have lasted for a second.
func (g *Gate) Sessions(f credential.SessionFilter) []credential.Session {
	var list []credential.Session
	now := g.clock.nano()
	for _, w := range g.sessions.all() {
		id := w.identity()
		if w.state.Load() != living || w.live.Kind == "request" && now-w.since < int64(briefly) ||
			differs(f.Org, id.Org) || differs(f.Principal, id.Principal) || differs(f.Credential, id.Credential) || differs(f.Door, w.live.Door) {
			continue
		}
		list = append(list, credential.Session{
			ID: w.name(), Org: id.Org, Door: w.live.Door, Kind: w.live.Kind, Principal: id.Principal, Credential: id.Credential,
			Source: w.live.Source, Since: time.Unix(0, w.since).UTC(), Until: id.Deadline, About: w.live.About, Traffic: w.traffic(),
		})
	}
	slices.SortFunc(list, func(a, b credential.Session) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID))
	})
	return list
}

func (w *Watched) traffic() *credential.Traffic {
	if w.live.Traffic == nil {
		return nil
	}
	t := w.live.Traffic()
	return &t
}

func differs(want, is string) bool { return want != "" && want != is }

// Kick cuts a live session and reports whether there was one.
func (g *Gate) Kick(org, id string) bool {
	text, ok := strings.CutPrefix(id, g.sessions.prefix+"-")
	n, err := strconv.ParseUint(text, 36, 64)
	if !ok || err != nil {
		return false
	}
	for _, w := range g.sessions.all() {
		if w.n == n && w.identity().Org == org && w.name() == id {
			return w.cut(credential.Kicked)
		}
	}
	return false
}

// CutAll cuts every live session, and with Draining lets no new one begin. It
// returns when all were cut.
func (g *Gate) CutAll(why credential.Reason) {
	if why == credential.Draining {
		g.draining.Store(true)
	}
	for _, w := range g.sessions.all() {
		w.cut(why)
	}
}
