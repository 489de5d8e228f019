package gate

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cardea/internal/credential"
	"cardea/internal/jwt"
)

// Store is what the gate needs of the database.
type Store interface {
	credential.Lookup
	credential.Feed
	// Principal is that of [credential.Catalog].
	Principal(ctx context.Context, org, ref string) (credential.Principal, error)
	// Record and Meter are those of [credential.Writer].
	Record(ctx context.Context, r credential.Records) error
	Meter(ctx context.Context, node string, counted []credential.Metered) ([]credential.Share, error)
	// Once is that of [credential.Writer].
	Once(ctx context.Context, key string, until time.Time) (bool, error)
}

// Config is what a Gate is made of.
type Config struct {
	Store        Store
	Signer       *jwt.Signer        // signs assertions
	Keys         []crypto.PublicKey // that assertions may be signed with, the signer's included
	Issuer       string             // iss of assertions
	CacheBytes   int64              // budget of the cache; 0: 256 MiB
	Staleness    time.Duration      // after which a node that does not see the feed refuses; 0: 30 s
	FlushEvery   time.Duration      // how often uses are recorded; 0: 2 s
	StaticRoutes []credential.Route // from flags and file
	Log          *slog.Logger       // nil: none
	Clock        *Clock             // nil: the system's

	// Open opens what is sealed in records of the store; nil: nothing can be.
	Open func(record string, sealed []byte) ([]byte, error)
	// FakeSalt is the key of the salts that users are shown who do not exist; the same on every node (S02). Empty: one that lasts as long as this gate.
	FakeSalt []byte
	// Sources asks REST services; nil if that is not to be.
	Sources credential.Sources
	// TokenIssuer is the iss of access tokens, SigningKeys reads what signs them, and NonceKey is what nonces of DPoP are made with, the same
	// on every node. Without SigningKeys there are no access tokens.
	TokenIssuer string
	SigningKeys func(context.Context) (credential.SigningKeys, error)
	NonceKey    []byte
	// KeySets fetches the keys of others; nil if none are to be.
	KeySets credential.KeySets
	// Near is told when a credential has spent four fifths of the requests of a month, and when it has spent all. It may be told
	// again, by other nodes and after a restart, and is if it returns an error. It is called between flushes. Nil: nobody is told.
	Near func(context.Context, Quota) error
}

// Gate decides. See the package comment. Its methods may be called from any goroutine.
type Gate struct {
	// What a hit reads, and nobody writes but in passing.
	cache     cache
	clock     *Clock
	shut      atomic.Uint32 // bits; see follower.go
	seenUntil atomic.Int64  // monotonic, in ns: until when the feed counts as seen
	staleness time.Duration
	_         [64]byte

	limits   limiter
	guesses  limiter // of passwords, by user name
	meters   meters
	refusals refusals
	book     book
	networks networkBook
	names    names
	tokens   tokenCache
	denials  denials
	apis     atomic.Pointer[apiBook]
	turns    atomic.Uint64 // how often principals or the policy have changed
	proofs   proofs
	nonces   nonces
	keySets  keySets
	signing  signing
	formats  atomic.Pointer[[]format] // of imported tokens; nil: there are none
	chains   chains
	sessions sessions

	store      Store
	signer     *jwt.Signer
	issuer     string
	publics    []crypto.PublicKey
	jwks       []byte // of these
	flushEvery time.Duration
	unwrap     func(record string, sealed []byte) ([]byte, error)
	fakeSalt   []byte
	sources    credential.Sources
	near       func(context.Context, Quota) error
	node       string // another one on each node and after each start
	log        *slog.Logger

	floor     atomic.Int64 // a look-up that begins now must be of this revision
	applied   atomic.Int64 // the follower has come so far
	head      atomic.Int64 // the end of the feed as it was last seen
	lastSeen  atomic.Int64 // monotonic, in ns
	stepsSeen atomic.Int64 // the clock's steps by then
	feedDown  atomic.Bool
	failing   atomic.Bool // look-ups are
	draining  atomic.Bool

	lookups     chan struct{}
	reloading   sync.Mutex // of the policy
	reassessing [shardCount]sync.Mutex
	deadlines   deadlines
	ledger      ledger
	exercises   exercises
	sightings   sightings
	stats       counters

	ctx     context.Context //nolint:containedctx // the gate's own life, not a caller's
	cancel  context.CancelFunc
	flying  sync.WaitGroup
	running sync.WaitGroup
	closing sync.Mutex
}

var _ credential.Gate = (*Gate)(nil)

// New returns a Gate. It decides nothing until [Gate.Run] has seen the store.
func New(c Config) (*Gate, error) {
	if c.Store == nil || c.Signer == nil {
		return nil, errors.New("gate: a store and a signer are needed")
	}
	if c.Open == nil {
		c.Open = func(string, []byte) ([]byte, error) { return nil, errors.New("nothing can be opened") }
	}
	if len(c.FakeSalt) == 0 {
		c.FakeSalt = []byte(rand.Text())
	}
	jwks, err := jwt.Set(c.Keys...)
	if err != nil {
		return nil, err
	}
	g := &Gate{
		store: c.Store, signer: c.Signer, issuer: c.Issuer, jwks: jwks, clock: c.Clock, log: c.Log,
		staleness: orElse(c.Staleness, 30*time.Second), flushEvery: orElse(c.FlushEvery, 2*time.Second),
		lookups: make(chan struct{}, maxLookups), unwrap: c.Open, fakeSalt: c.FakeSalt, sources: c.Sources,
		near: c.Near, node: rand.Text()[:10], publics: slices.Clone(c.Keys),
	}
	g.signing.read, g.signing.issuer = c.SigningKeys, c.TokenIssuer
	if g.nonces.key = slices.Clone(c.NonceKey); len(g.nonces.key) == 0 {
		g.nonces.key = []byte(rand.Text())
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	if g.clock == nil {
		g.clock = NewClock(time.Time{}, nil, nil)
	}
	g.cache.init(orElse(c.CacheBytes, 256<<20))
	g.limits.init(g.cache.hash, attempts)
	g.guesses.init(g.cache.hash, guesses)
	g.meters.init()
	g.refusals.init(g.cache.hash)
	g.sessions.init(g.cache.hash, g.node)
	g.book.init(c.StaticRoutes, g.log)
	g.deadlines.init()
	g.names.init()
	g.tokens.init()
	g.denials.init()
	g.apis.Store(&apiBook{})
	g.chains.init()
	g.ledger.init()
	g.exercises.init(g.clock.Now())
	g.sightings.init()
	g.shut.Store(unstarted)
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.keySets = keySets{from: c.KeySets, now: g.clock.Now, ctx: g.ctx, by: map[keySetAt]*keySet{}}
	return g, nil
}

func orElse[T int64 | time.Duration](v, d T) T {
	if v > 0 {
		return v
	}
	return d
}

// Run follows the change feed, cuts sessions at their deadlines and records
// usage, until ctx ends or the gate is closed. It returns nil then. Call it once.
func (g *Gate) Run(ctx context.Context) error {
	g.closing.Lock()
	if g.shut.Load()&closed != 0 {
		g.closing.Unlock()
		return errors.New("gate: it was closed")
	}
	g.running.Add(1)
	g.closing.Unlock()
	defer g.running.Done()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.ctx, cancel)()
	var parts sync.WaitGroup
	parts.Go(func() { g.follow(ctx) })
	parts.Go(func() { g.keepTime(ctx) })
	parts.Go(func() { g.keepRecord(ctx) })
	parts.Wait()
	g.close(unstarted) // nobody follows the feed any more
	return nil
}

// keepRecord records usage until ctx ends.
func (g *Gate) keepRecord(ctx context.Context) {
	tick := time.NewTicker(g.flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = g.flush(ctx) // both log, and keep what they could not record
			_ = g.flushMeters(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// Close ends Run, refuses everything from then on and records the last uses;
// its error is that of the store. It cuts no session: see [Gate.CutAll].
func (g *Gate) Close() error {
	g.closing.Lock()
	again := g.shut.Or(closed)&closed != 0
	g.closing.Unlock()
	if again {
		return nil
	}
	g.cancel()
	g.running.Wait()
	g.waitFlights()
	g.closeChains()
	return errors.Join(g.flushAll(context.Background()), g.flushMeters(context.Background()))
}

// waitFlights waits for look-ups that are under way. None begins any more:
// those that have seen the gate open hold their shard's lock.
func (g *Gate) waitFlights() {
	for i := range g.cache.shards {
		g.cache.shards[i].mu.Lock()
		//lint:ignore SA2001 it is to see what was begun under the lock
		g.cache.shards[i].mu.Unlock()
	}
	for i := range g.meters.parts {
		g.meters.parts[i].mu.Lock()
		//lint:ignore SA2001 likewise
		g.meters.parts[i].mu.Unlock()
	}
	g.flying.Wait()
}

// Ready reports whether the gate may decide: the store was seen within the staleness bound.
func (g *Gate) Ready() bool { return !g.blind(g.clock.Mono()) }

// Await returns nil when the gate is ready, or the error of ctx.
func (g *Gate) Await(ctx context.Context) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !g.Ready() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Routes returns the gateway's routes as of now, static and stored, the longest prefix first. Do not write to it.
func (g *Gate) Routes() []credential.Route { return *g.book.routes.Load() }
