package broker

import (
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cardea/internal/mqtt"
)

// Broker is an MQTT broker. Its methods may be called at any time by any goroutine.
type Broker struct {
	limits Limits
	logger *slog.Logger
	clock  func() time.Time
	store  *store
	index  *index
	agenda agenda
	stats  counters

	retained  retained
	held      atomic.Int64 // bytes of the messages that wait or are retained
	waiting   atomic.Int64 // messages that wait in sessions
	lasting   atomic.Int64 // sessions that outlive their connections
	saidPanic atomic.Int64 // ns since 1970
	saidFull  atomic.Int64

	quit    chan struct{}
	clerks  sync.WaitGroup
	serving sync.WaitGroup

	mu          sync.Mutex
	closed      bool
	sessions    map[string]*session
	lastSession uint64 // number of the newest
}

// New reads what is on disk and returns a broker that is ready to serve.
func New(cfg Config) (*Broker, error) {
	if cfg.Dir == "" {
		return newBroker(cfg, nil)
	}
	d, err := openFolder(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	return newBroker(cfg, d)
}

// newBroker returns a broker that keeps on d what has to be kept, if d is not nil. tune may change the store before it is used.
func newBroker(cfg Config, d disk, tune ...func(*store)) (*Broker, error) {
	cfg.Limits.defaults()
	b := &Broker{
		limits: cfg.Limits, logger: cfg.Log, clock: cfg.Clock, index: newIndex(),
		quit: make(chan struct{}), sessions: map[string]*session{},
	}
	if b.logger == nil {
		b.logger = slog.New(slog.DiscardHandler)
	}
	if b.clock == nil {
		b.clock = time.Now
	}
	b.agenda.wake = make(chan struct{}, 1)
	if d != nil {
		b.store = newStore(b, d)
		for _, f := range tune {
			f(b.store)
		}
		if err := b.store.load(); err != nil {
			return nil, err
		}
		b.store.run()
	}
	b.clerks.Go(b.keepTime)
	b.clerks.Go(b.sweep)
	return b, nil
}

func (b *Broker) now() int64 { return b.clock().UnixNano() }

// enter counts somebody in whom Close waits for. It is false after Close.
func (b *Broker) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.serving.Add(1)
	return true
}

func (b *Broker) session(id string) *session {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sessions[id]
}

// Forget ends a session with everything that it holds, its will too, and cuts its connection. When it returns that is on disk,
// unless the disk fails. After Close it does nothing.
func (b *Broker) Forget(clientID string) {
	if !b.enter() {
		return
	}
	defer b.serving.Done()
	b.store.wait(b.forget(clientID).lsn)
}

// Sessions calls keep with the client id of each session, and ends those of which it is false, as Forget does.
func (b *Broker) Sessions(keep func(clientID string) bool) {
	b.mu.Lock()
	ids := slices.Collect(maps.Keys(b.sessions))
	b.mu.Unlock()
	for _, id := range ids {
		if !keep(id) {
			b.Forget(id)
		}
	}
}

func (b *Broker) forget(clientID string) (left leftover) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.sessions[clientID]; s != nil {
		return b.end(s, mqtt.AdministrativeAction)
	}
	return left
}

// Close closes the connections, and returns when nothing runs any more and everything is on disk.
func (b *Broker) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	for _, s := range b.sessions {
		s.mu.Lock()
		if s.conn != nil {
			s.conn.end(mqtt.ServerShuttingDown)
		}
		s.mu.Unlock()
	}
	b.mu.Unlock()
	b.serving.Wait()
	close(b.quit)
	b.clerks.Wait()
	return b.store.close()
}

// sweep removes retained messages that have expired, once a minute.
func (b *Broker) sweep() {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			b.retained.sweep(b, b.now())
		case <-b.quit:
			return
		}
	}
}

// sayPanic says that the broker has panicked, once a minute. The value may hold what a client has sent and is not said; the stack is.
func (b *Broker) sayPanic(p any, stack []byte) {
	b.stats.panics.Add(1)
	if !b.quietSince(&b.saidPanic) {
		return
	}
	b.logger.Error("serving a connection panicked; it was closed", "type", typeName(p), "stack", string(stack))
}

// quietSince reports whether something has not been said for a minute, and notes that it is said now.
func (b *Broker) quietSince(said *atomic.Int64) bool {
	now, last := b.now(), said.Load()
	return (last == 0 || now-last >= minute) && said.CompareAndSwap(last, now)
}

// recover ends a panic. It is to be deferred.
func (b *Broker) recover() {
	if p := recover(); p != nil {
		b.sayPanic(p, debug.Stack())
	}
}
