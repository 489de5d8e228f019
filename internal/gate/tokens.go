package gate

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"
)

// tokenCache remembers access tokens whose signature was found to be good, by the hash of their text: checking one takes a hundred
// times as long as all the rest. It is bounded, and decides nothing: everything else about a token is judged at every hit.
type tokenCache struct {
	parts [shardCount]tokenPart
	turns atomic.Uint64 // how often it was cleared
}

type tokenPart struct {
	mu sync.RWMutex
	by map[tokenKey]*grant
	_  [32]byte
}

// tokenKey is half a SHA-256, which nobody finds a second text for who has not 2^64 tries; and all of them would have to be ours.
type tokenKey [16]byte

// maxTokens is how many a part remembers: 65,536 in all, at about 1 KiB each.
const maxTokens = 65536 / shardCount

func (c *tokenCache) init() {
	for i := range c.parts {
		c.parts[i].by = map[tokenKey]*grant{}
	}
}

func keyOfToken(text string) (k tokenKey) {
	sum := sha256.Sum256(unsafe.Slice(unsafe.StringData(text), len(text))) // read only, and not kept
	copy(k[:], sum[:])
	return k
}

func (c *tokenCache) part(k tokenKey) *tokenPart {
	return &c.parts[binary.LittleEndian.Uint64(k[:8])%shardCount]
}

// find returns what is remembered of a token, and the turn that put must be told.
func (c *tokenCache) find(k tokenKey) (*grant, uint64) {
	turn := c.turns.Load()
	p := c.part(k)
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.by[k], turn
}

// put remembers a token, unless all were forgotten since it was looked at. If there is no room, those that have ended go, or any.
func (c *tokenCache) put(k tokenKey, gr *grant, now int64, turn uint64) {
	p := c.part(k)
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.turns.Load() != turn {
		return
	}
	if len(p.by) >= maxTokens {
		for other, was := range p.by {
			if was.ends <= now {
				delete(p.by, other)
			}
		}
	}
	for other := range p.by {
		if len(p.by) < maxTokens {
			break
		}
		delete(p.by, other)
	}
	p.by[k] = gr
}

func (c *tokenCache) clear() {
	c.turns.Add(1)
	for i := range c.parts {
		p := &c.parts[i]
		p.mu.Lock()
		clear(p.by)
		p.mu.Unlock()
	}
}

// looksLikeJWT reports whether a text has the form of a signed JWT, as far as it costs nothing to see.
func looksLikeJWT(text string) bool {
	return len(text) <= maxJWT && strings.HasPrefix(text, "eyJ") && strings.Count(text, ".") == 2
}

// maxJWT is the longest JWT that is looked at, in bytes (J11).
const maxJWT = 8 << 10
