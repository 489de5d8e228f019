package gate

import (
	"encoding/binary"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unsafe"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// Where a credential is seen, client ids and networks, is noted when it is new, and again once an hour, so that the store
// knows what is still in use. One network is all that most credentials have: an entry knows it by its last source.

// places are what a credential with several was seen at: in each 48 bits of a hash, and 16 of the hour.
type places [8]atomic.Uint64

const (
	byClient  = "client"
	byNetwork = "network"

	maxSighted  = 50000 // credentials with sightings that wait for the flush
	maxPlaces   = 32    // sightings of each
	maxClientID = 256   // bytes of a client id that are kept
)

// networkOf stands for the network of an address: the /24 of IPv4, the /48 of IPv6. 0 is for none.
func networkOf(hi, lo uint64) uint64 {
	if hi == 0 && lo>>32 == 0xffff { // IPv4 in IPv6
		return lo >> 8
	}
	if hi|lo == 0 {
		return 0
	}
	return hi>>16 | 1<<63
}

// networkText is how a network is written.
func networkText(hi, lo uint64) string {
	a := addrOf(hi, lo)
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, _ := a.Prefix(bits) // its bits are right
	return p.String()
}

// hour counts hours as e does: each credential has its own beginning, so that not all are written at once.
func (e *entry) hour(ns int64) int64 { return (ns + int64(e.key.lo)*838) / int64(time.Hour) }

// move is how a use stands to the one before.
type move uint8

const (
	stays  move = iota // same network
	lasts              // same network, or the first, and worth noting
	strays             // another network
)

// saw notes where e was used: a network, unless it stays, and a client id, if there is one.
func (g *Gate) saw(e *entry, now int64, hi, lo uint64, how move, client string) {
	if e.flags&isDerived != 0 { // its parent was seen there as well
		return
	}
	s := &g.sightings
	if n := networkOf(hi, lo); how != stays && n != 0 {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], n)
		mark := e.placeMark(maphash.Bytes(s.seed, b[:]), now)
		if how == lasts || !e.wasAt(mark) {
			if s.add(e, byNetwork, networkText(hi, lo), now) && how == strays {
				g.keepPlace(e, mark)
			}
		}
	}
	if client == "" {
		return
	}
	if mark := e.placeMark(maphash.String(s.seed, client), now); !e.wasAt(mark) && s.add(e, byClient, clientText(client), now) {
		g.keepPlace(e, mark)
	}
}

// placeMark is what stands for a place and the hour in [places].
func (e *entry) placeMark(hash uint64, now int64) uint64 {
	return hash&^0xffff | uint64(e.hour(now))&0xffff //nolint:gosec // bits
}

// wasAt reports whether a place was noted in this hour.
func (e *entry) wasAt(mark uint64) bool {
	x := e.cold.Load()
	if x == nil {
		return false
	}
	p := x.places.Load()
	if p == nil {
		return false
	}
	for i := range p {
		if p[i].Load() == mark {
			return true
		}
	}
	return false
}

// keepPlace remembers that a place was noted, in the stead of the same one of another hour, of nothing, or of any other.
func (g *Gate) keepPlace(e *entry, mark uint64) {
	x := e.lukewarm()
	p := x.places.Load()
	if p == nil {
		p = new(places)
		if x.places.CompareAndSwap(nil, p) {
			g.charge(e, int64(unsafe.Sizeof(*p)+unsafe.Sizeof(*x)))
		} else {
			p = x.places.Load()
		}
	}
	at := int(mark >> 16 % uint64(len(p))) //nolint:gosec // a few
	for i := range p {
		if had := p[i].Load(); had == 0 || had>>16 == mark>>16 {
			at = i
			break
		}
	}
	p[at].Store(mark) // who stores there at the same time makes one of the two be noted once more
}

// sightings are those that wait for the flush.
type sightings struct {
	seed    maphash.Seed
	mu      sync.Mutex
	pending map[key][]credential.Sighting
}

func (s *sightings) init() {
	s.seed, s.pending = maphash.MakeSeed(), map[key][]credential.Sighting{}
}

// add reports whether there was room.
func (s *sightings) add(e *entry, by, value string, now int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, known := s.pending[e.key]
	for i := range list {
		if list[i].By == by && list[i].Value == value {
			list[i].LastAt = at(now)
			return true
		}
	}
	if len(list) >= maxPlaces || !known && len(s.pending) >= maxSighted {
		return false
	}
	s.pending[e.key] = append(list, credential.Sighting{Credential: e.key.String(), By: by, Value: value, FirstAt: at(now), LastAt: at(now)})
	return true
}

// take returns what waits.
func (s *sightings) take() []credential.Sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []credential.Sighting
	for _, list := range s.pending {
		all = append(all, list...)
	}
	clear(s.pending)
	return all
}

// clientText is a client id as it is kept: short, and without what looks like a token, which clients put in every field (K03).
func clientText(id string) string {
	id = secret.Redact(id)
	if len(id) > maxClientID {
		id = id[:maxClientID]
	}
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(id, ""))
}
