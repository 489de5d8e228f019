//go:build bench

package bench

import (
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/keyring"
	"cardea/internal/policy"
	"cardea/internal/store"
)

// core is a Cardea without doors: real store, keystore, authority and gate.
type core struct {
	dir   string
	store *store.Store
	gate  *gate.Gate
	auth  *authority.Authority
	close func() // for who needs the folder before the test ends
}

func local() authority.Caller {
	return authority.Caller{
		Org: credential.DefaultOrg, Rights: authority.RightsOfLocal(), Local: true,
		Actor: credential.Actor{Principal: "local", Source: "socket", Door: "system"},
	}
}

// newCore opens one in dir; url "" is SQLite in dir.
func newCore(t *testing.T, dir, url string) *core {
	t.Helper()
	ctx := t.Context()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	if url == "" {
		url = "sqlite:" + filepath.Join(dir, "cardea.db")
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(dir, 0o700))
	s, err := store.Open(ctx, store.Config{URL: url, Journal: filepath.Join(dir, "revocations.log"), Log: log})
	must(err)
	ks, err := keyring.Open(keyring.Config{Dir: dir}, false, "")
	must(err)
	ring, ca, err := authority.Bootstrap(ctx, s, ks, time.Now, log)
	must(err)
	keys, err := s.Keys(ctx)
	must(err)
	signer, err := authority.IdentitySigner(ring, keys)
	must(err)
	publics, err := authority.IdentityPublics(keys)
	must(err)
	g, err := gate.New(gate.Config{Store: s, Signer: signer, Keys: publics, Issuer: "bench", CacheBytes: 4 << 30, Log: log})
	must(err)
	a, err := authority.New(authority.Config{Store: s, Gate: g, Ring: ring, CA: ca, Log: log})
	must(err)
	run, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = g.Run(run) }()
	c := &core{dir: dir, store: s, gate: g, auth: a}
	c.close = sync.OnceFunc(func() {
		cancel()
		<-done
		_ = g.Close()
		_ = s.Close()
	})
	t.Cleanup(c.close)
	_, err = a.PutScope(ctx, local(), credential.Scope{
		Org: credential.DefaultOrg, Name: "db:read",
		Rules: []credential.Rule{{Permission: credential.Allow, Action: "http:GET", Resource: "/db/**"}},
	})
	must(err)
	_, err = a.PutRole(ctx, local(), credential.Role{Org: credential.DefaultOrg, Name: "reader", Scopes: []string{"db:read"}})
	must(err)
	_, err = a.CreatePrincipal(ctx, local(), authority.NewPrincipal{Kind: credential.Service, Name: "reader", Roles: []string{"reader"}})
	must(err)
	return c
}

func newKey() authority.NewCredential {
	return authority.NewCredential{
		Kind: credential.APIKey, Principal: "reader", TTL: 24 * time.Hour,
		Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
}

// fill makes n API keys in batches of 500 and returns their tokens.
func (c *core) fill(t *testing.T, n int) []string {
	t.Helper()
	tokens := make([]string, 0, n)
	for len(tokens) < n {
		batch := make([]authority.NewCredential, min(500, n-len(tokens)))
		for i := range batch {
			batch[i] = newKey()
		}
		made, err := c.auth.CreateCredentials(t.Context(), local(), batch)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range made {
			tokens = append(tokens, m.Secret.Reveal())
		}
	}
	return tokens
}

// hit is what a door asks for one request: who, and may it.
func (c *core) hit(t *testing.T, token string) {
	ev := gate.Evidence{Token: token, Source: loopback, Door: "http"}
	id, out := c.gate.Authenticate(context.Background(), &ev)
	if out.Reason != credential.OK {
		t.Fatalf("refused: %s", out.Reason)
	}
	a := policy.Access{Proto: policy.HTTP, Verb: "GET", Resource: "/db/query", Source: loopback}
	if d := c.gate.Authorize(id, &a); !d.Allowed() {
		t.Fatalf("refused: %s", d.Reason)
	}
}

var loopback = netip.MustParseAddr("127.0.0.1")

// nanos times n calls of f, in nanoseconds a call.
func nanos(n int, f func(i int)) float64 {
	start := time.Now()
	for i := range n {
		f(i)
	}
	return float64(time.Since(start).Nanoseconds()) / float64(n)
}

// drawn times hits of keys drawn uniformly, in nanoseconds a hit. The text of a
// token comes from a request that was just read, so it is copied to a small buffer first,
// outside the time: what is measured is how the gate finds its own.
func (c *core) drawn(t *testing.T, tokens []string, calls int) float64 {
	const chunk = 200
	var hand [chunk]string
	var total time.Duration
	for done := 0; done < calls; done += chunk {
		for i := range hand {
			hand[i] = strings.Clone(tokens[rand.IntN(len(tokens))])
		}
		start := time.Now()
		for _, token := range hand {
			c.hit(t, token)
		}
		total += time.Since(start)
	}
	return float64(total.Nanoseconds()) / float64(calls)
}

// gateLines measures a hit in process: beside one SHA-256, and with many keys beside few.
func gateLines(t *testing.T, tab *table, c *core, tokens []string) {
	const calls = 300_000
	var hot, sha, few, many series
	secret := []byte(tokens[0][11:55])
	var sink byte
	c.hit(t, tokens[0])
	allocs := testing.AllocsPerRun(1000, func() { c.hit(t, tokens[0]) })
	for _, tok := range tokens { // all in the cache
		c.hit(t, tok)
	}
	runtime.GC()
	for range rounds {
		sha = append(sha, nanos(calls, func(int) { h := sha256.Sum256(secret); sink ^= h[0] }))
		hot = append(hot, nanos(calls, func(int) { c.hit(t, tokens[0]) }))
		few = append(few, c.drawn(t, tokens[:1000], calls))
		many = append(many, c.drawn(t, tokens, calls))
	}
	_ = sink
	tab.ratio("gate hit against one SHA-256 of the same secret, hot key", "ns", hot, sha, 4, true)
	met := "met"
	if allocs != 0 {
		met = "MISSED"
	}
	tab.plain("allocations of a gate hit", figure(allocs), "0", met)
	tab.ratio("gate hit, "+figure(float64(len(tokens)))+" cached keys drawn uniformly, against 1000", "ns", many, few, 2.5, true)
	st := c.gate.Stats()
	tab.plain("cache: bytes a credential", figure(float64(st.Bytes)/float64(max(1, st.Entries))), "reported", "")
}
