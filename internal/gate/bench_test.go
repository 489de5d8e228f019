package gate

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// fleet puts n credentials of n principals into a gate's cache and returns their tokens,
// one after the other in one string.
func fleet(b *testing.B, h *house, n int) (tokens string, length int) {
	b.Helper()
	var all strings.Builder
	h.scope("db:write", allow("http:POST", "/db/**"))
	h.role("writer", "db:write")
	for i := range n {
		id, err := secret.NewID(12)
		if err != nil {
			b.Fatal(err)
		}
		text, hash, err := secret.New("dev", id)
		if err != nil {
			b.Fatal(err)
		}
		rec := credential.Record{
			Credential: credential.Credential{
				ID: id, Org: h.org, Kind: credential.DeviceToken, State: credential.StateActive,
				Proofs: []credential.Proof{{N: 1, Hash: hash[:]}},
			},
			Principal: credential.Principal{ID: "P" + id[1:], Org: h.org, Kind: credential.Device, Name: fmt.Sprintf("pump-%d", i), Roles: []string{"writer"}},
			Revision:  h.gate.floor.Load(),
		}
		e, err := h.gate.compile(&rec)
		if err != nil {
			b.Fatal(err)
		}
		hash64 := h.gate.cache.hash(e.key)
		s := h.gate.cache.shard(hash64)
		s.mu.Lock()
		h.gate.cache.put(s, hash64, e)
		s.mu.Unlock()
		length = len(text.Reveal())
		all.WriteString(text.Reveal())
	}
	return all.String(), length
}

// BenchmarkHit is a whole hit: parse, look up, hash, compare, state, deadline, networks, one rule.
func BenchmarkHit(b *testing.B) {
	b.Run("sha256", func(b *testing.B) {
		var body [44]byte
		for i := 0; b.Loop(); i++ {
			binary.LittleEndian.PutUint64(body[:], uint64(i))
			sink = sha256.Sum256(body[:])
		}
	})
	for _, n := range []int{1, 1000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var before, after runtime.MemStats
			h := newHouse(b, func(c *Config) { c.CacheBytes = 1 << 30; c.Clock = nil })
			runtime.GC()
			runtime.ReadMemStats(&before)
			tokens, length := fleet(b, h, n)
			runtime.GC()
			runtime.ReadMemStats(&after)
			if st := h.gate.Stats(); st.Entries != int64(n) {
				b.Fatalf("%d entries, want %d", st.Entries, n)
			}
			ev := &Evidence{Source: here, Door: "http"}
			b.ReportAllocs()
			for b.Loop() {
				i := int(rand.Uint32N(uint32(n))) * length
				ev.Token = tokens[i : i+length]
				id, out := h.gate.Authenticate(b.Context(), ev)
				if out.Reason != credential.OK {
					b.Fatal(out.Reason)
				}
				if d := h.gate.Authorize(id, post); !d.Allowed() {
					b.Fatal(d.Reason)
				}
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc-uint64(len(tokens)))/float64(n), "B/entry")
			b.ReportMetric(float64(h.gate.Stats().Bytes)/float64(n), "counted-B/entry")
		})
	}
}

var sink [32]byte

func BenchmarkAuthenticate(b *testing.B) {
	h := newHouse(b, func(c *Config) { c.Clock = nil })
	h.writer()
	token, _ := h.token(h.device("pump-1", "writer"))
	ev := &Evidence{Token: token, Source: here, Door: "http"}
	for b.Loop() {
		if _, out := h.gate.Authenticate(b.Context(), ev); out.Reason != credential.OK {
			b.Fatal(out.Reason)
		}
	}
}

func BenchmarkParallel(b *testing.B) {
	h := newHouse(b, func(c *Config) { c.Clock = nil })
	h.writer()
	token, _ := h.token(h.device("pump-1", "writer"))
	b.RunParallel(func(p *testing.PB) {
		ev := &Evidence{Token: token, Source: here, Door: "http"}
		for p.Next() {
			if _, out := h.gate.Authenticate(b.Context(), ev); out.Reason != credential.OK {
				b.Error(out.Reason)
			}
		}
	})
}

// BenchmarkWatch is what the watch adds to a request.
func BenchmarkWatch(b *testing.B) {
	h := newHouse(b, func(c *Config) { c.Clock = nil })
	h.writer()
	token, _ := h.token(h.device("pump-1", "writer"))
	id := h.accepted(token)
	l := Live{Door: "http", Kind: "request", Source: here, About: "POST /db/write/a", Cut: func(credential.Reason) {}}
	b.ReportAllocs()
	for b.Loop() {
		w, why := h.gate.Watch(b.Context(), id, l)
		if why != credential.OK {
			b.Fatal(why)
		}
		w.Close()
	}
}

func BenchmarkRefusal(b *testing.B) {
	h := newHouse(b, func(c *Config) { c.Clock = nil })
	token, c := h.token(h.device("pump-1"))
	for name, text := range map[string]string{"malformed": token[:60] + "!", "wrong": wrongSecret(b, "dev", c.ID)} {
		b.Run(name, func(b *testing.B) {
			ev := &Evidence{Token: text, Source: here, Door: "http"}
			b.ReportAllocs()
			for b.Loop() {
				h.gate.Authenticate(b.Context(), ev)
			}
		})
	}
}

// BenchmarkWarm is a hit whose token was just read from a connection, and so is in the
// processor's cache: what differs between the sizes is the gate's own memory.
func BenchmarkWarm(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h := newHouse(b, func(c *Config) { c.CacheBytes = 1 << 30; c.Clock = nil })
			tokens, length := fleet(b, h, n)
			ev := &Evidence{Source: here, Door: "http"}
			var buffer [64][61]byte
			b.ResetTimer()
			var spent time.Duration
			for done := 0; done < b.N; done += len(buffer) {
				for i := range buffer {
					at := int(rand.Uint32N(uint32(n))) * length
					copy(buffer[i][:], tokens[at:at+length])
				}
				from := time.Now()
				for i := range buffer {
					ev.Token = unsafe.String(&buffer[i][0], length)
					id, out := h.gate.Authenticate(b.Context(), ev)
					if out.Reason != credential.OK {
						b.Fatal(out.Reason)
					}
					if d := h.gate.Authorize(id, post); !d.Allowed() {
						b.Fatal(d.Reason)
					}
				}
				spent += time.Since(from)
			}
			b.ReportMetric(float64(spent)/float64(b.N), "ns/hit")
		})
	}
}
