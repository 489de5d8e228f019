// Package mqttdoor is the MQTT door: listeners that read who a client is from a
// token or a client certificate, ask the gate, and let through to a broker
// what the rules allow. It is a filter in the client's own connection: packets are scanned
// in place, and what may pass goes on as it came. It decides nothing itself.
//
//	listener → limits → PROXY header → TLS → CONNECT (5 s, 64 KiB) → gate → client id, will
//	                                                                          │
//	   client ⇄ inbound: PUBLISH, SUBSCRIBE … ⇄ Session ⇄ outbound: deliveries ⇄ Upstream
//
// Behind it stands an [Upstream]: the [Embedded] broker, which is handed the filtered
// connection, or an [External] one. To the broker a session's client id is organisation,
// principal and client id, so nobody reaches another's session. Wills are held by the
// door and published by it after the rules were asked again.
//
//	door, err := mqttdoor.New(mqttdoor.Config{Gate: g, Upstream: mqttdoor.NewEmbedded(broker)})
//	go door.Serve(ctx, listener, &mqttdoor.Listener{Name: "default", Tokens: true, Scram: true})
//	…
//	door.Shutdown(ctx)
package mqttdoor

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/intake"
	"cardea/internal/mqtt"
)

const doorName = "mqtt"

// Config is what a Door is made of.
type Config struct {
	Gate     *gate.Gate
	Upstream Upstream
	Limits   Limits
	Log      *slog.Logger // nil: none
}

// Limits bound what clients can take. A zero field means its default.
type Limits struct {
	Connect       time.Duration // for the TLS handshake, and then again for the CONNECT: 5 s
	Packet        int           // length of the longest packet, in bytes: 1 MiB
	Levels        int           // of a topic: 128
	Subscriptions int           // of a session: 1,000
	KeepAlive     time.Duration // the longest that a client of MQTT 5.0 may choose: 60 s
	Connections   int           // open ones in total: 50,000
	PerSource     int           // open ones of one IPv4 address or IPv6 /64: 20,000
	Exchange      time.Duration // for an exchange of enhanced authentication as a whole: 10 s
	Pending       int           // exchanges of enhanced authentication that have not ended, of one listener: 10,000
	PendingSource int           // of those, from one source: 100
	Failures      int           // refused connections of one source at once: 200
	FailureTime   time.Duration // then one for each of these: 100 ms
}

func (l Limits) orDefault() Limits {
	set(&l.Connect, 5*time.Second)
	set(&l.Packet, 1<<20)
	set(&l.Levels, 128)
	set(&l.Subscriptions, 1000)
	set(&l.KeepAlive, time.Minute)
	set(&l.Connections, 50_000)
	set(&l.PerSource, 20_000)
	set(&l.Exchange, 10*time.Second)
	set(&l.Pending, 10_000)
	set(&l.PendingSource, 100)
	set(&l.Failures, 200)
	set(&l.FailureTime, 100*time.Millisecond)
	return l
}

func set[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// Door serves MQTT. Make one with [New].
type Door struct {
	gate     *gate.Gate
	upstream Upstream
	limits   Limits
	log      *slog.Logger

	seats    *intake.Seats
	failures *intake.Failures
	told     *intake.Sampler[refusal]
	owners   owners
	wills    wills
	shelf    shelf
	pending  sync.Map // *Listener to the *intake.Seats of its exchanges
	count    counters
	clock    atomic.Int64 // seconds since 1970, a little behind

	mu       sync.Mutex
	sessions map[*Session]struct{}
	ending   bool
	stopping context.Context //nolint:containedctx // ends when Shutdown begins
	stop     context.CancelFunc
	running  sync.WaitGroup
	ctx      context.Context //nolint:containedctx // the door's own life, not a caller's
	cancel   context.CancelFunc
	ticking  sync.WaitGroup
}

// New returns a Door. It does not listen yet.
func New(c Config) (*Door, error) {
	if c.Gate == nil || c.Upstream == nil {
		return nil, credential.Errorf(credential.Invalid, "the MQTT door needs a gate and a broker")
	}
	d := &Door{gate: c.Gate, upstream: c.Upstream, limits: c.Limits.orDefault(), log: c.Log, sessions: map[*Session]struct{}{}}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.seats = intake.NewSeats(d.limits.Connections, d.limits.PerSource)
	d.failures = intake.NewFailures(d.limits.Failures, d.limits.FailureTime, 65536)
	d.told = intake.NewSampler[refusal](time.Minute, 1024)
	d.owners.of = map[string]*owner{}
	d.wills.init(d)
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.stopping, d.stop = context.WithCancel(d.ctx)
	d.clock.Store(time.Now().Unix())
	d.ticking.Go(d.tick)
	return d, nil
}

// pendingAt are the seats of a listener's exchanges (S11).
func (d *Door) pendingAt(l *Listener) *intake.Seats {
	if v, ok := d.pending.Load(l); ok {
		return v.(*intake.Seats)
	}
	v, _ := d.pending.LoadOrStore(l, intake.NewSeats(d.limits.Pending, d.limits.PendingSource))
	return v.(*intake.Seats)
}

func (d *Door) now() int64 { return d.clock.Load() }

// tick keeps the door's clock, and ends sessions whose clients are silent for too long.
func (d *Door) tick() {
	t := time.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case now := <-t.C:
			d.clock.Store(now.Unix())
			d.endSilent(now)
		}
	}
}

// endSilent is instead of a deadline at every read, which would cost more than the rest of a message.
func (d *Door) endSilent(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for s := range d.sessions {
		if p := s.patience(); p > 0 && now.Sub(time.Unix(s.lastActive.Load(), 0)) > p+time.Second {
			s.finish(ending{how: silent, code: mqtt.KeepAliveTimeout})
		}
	}
}

// enter counts a session in; false if the door is closing.
func (d *Door) enter(s *Session) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ending {
		return false
	}
	d.sessions[s] = struct{}{}
	return true
}

func (d *Door) leave(s *Session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sessions, s)
}

// pause waits, unless the door is closed meanwhile.
func (d *Door) pause(t time.Duration) bool {
	select {
	case <-time.After(t):
		return true
	case <-d.ctx.Done():
		return false
	}
}

// Shutdown ends every session, telling the clients so, and returns when they are over or ctx is. Listeners
// must be closed already. Wills that wait for their delay are forgotten.
func (d *Door) Shutdown(ctx context.Context) error {
	d.stop()
	d.mu.Lock()
	d.ending = true
	for s := range d.sessions {
		s.finish(ending{how: cut, reason: credential.Draining, code: mqtt.ServerShuttingDown})
	}
	d.mu.Unlock()
	done := make(chan struct{})
	go func() {
		d.running.Wait()
		d.wills.close()
		if c, ok := d.upstream.(io.Closer); ok {
			_ = c.Close() // nobody needs it any more
		}
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	d.cancel()
	d.ticking.Wait()
	return err
}

// refusal is what makes two log lines similar.
type refusal struct {
	source netip.Prefix
	why    string
}

// tell logs what a client did wrong: one line a minute for each source and cause, never its payload or its secret.
func (d *Door) tell(source netip.Addr, what, why string, s *Session) {
	similar, tell := d.told.Sample(refusal{intake.Source(source), why})
	if !tell {
		return
	}
	args := []any{"why", why, "similar", similar}
	if source.IsValid() { // otherwise it was not the client's fault
		args = append([]any{"source", source.String()}, args...)
	}
	if s != nil {
		args = append(args, "principal", s.id.Load().Principal, "session", s.about())
	}
	d.log.Warn(what, args...)
}

// tellBroker logs that the broker refuses sessions.
func (d *Door) tellBroker(c mqtt.Code) {
	d.count.brokerRefused.Add(1)
	if similar, tell := d.told.Sample(refusal{why: "broker"}); tell {
		d.log.Error("the broker behind the MQTT door refuses sessions: look at what it knows of the door's user names, password or certificate",
			"code", int(c), "similar", similar)
	}
}

// refuse answers a CONNECT that is not accepted.
func (d *Door) refuse(s *Session, code mqtt.Code, err error) {
	d.count.refused.Add(1)
	if code == mqtt.NotAuthorized {
		d.failures.Note(s.source.Addr())
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		d.tell(s.source.Addr(), "an MQTT session could not begin", err.Error(), nil)
	}
	s.last(mqtt.AppendConnack(nil, s.version, &mqtt.Connack{Code: code}), lastWord)
}
