package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cardea/internal/api"
	"cardea/internal/authority"
	"cardea/internal/broker"
	"cardea/internal/ca"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/jobs"
	"cardea/internal/keyring"
	"cardea/internal/mqttdoor"
	"cardea/internal/outbound"
	"cardea/internal/store"
)

// node is a running server: its parts, in the order in which they are opened.
// They are closed in the opposite one.
type node struct {
	config    *config
	log       *slog.Logger
	lock      *os.File // of the data folder, if the database does not lock it
	store     *store.Store
	keystore  *keyring.Keystore
	ca        *ca.CA
	gate      *gate.Gate
	outbound  *outbound.Client
	authority *authority.Authority
	api       *api.API
	doors     doors
	broker    *broker.Broker     // behind the MQTT door; nil if that is somebody else's
	external  *mqttdoor.External // that one, if so
	teller    *jobs.Teller       // tells webhooks and people of events
	emqx      *jobs.EMQX         // tells an EMQX cluster; nil if there is none
	closers   []io.Closer        // what a demo has put behind the doors

	serving atomic.Bool // all doors accept
	failed  chan error  // the first door that ended by itself
	behind  sync.WaitGroup
	stop    context.CancelFunc // ends what runs behind
}

// openNode opens everything up to the doors. On an error nothing is left open.
func openNode(ctx context.Context, c *config, log *slog.Logger) (n *node, err error) {
	n = &node{config: c, log: log, failed: make(chan error, 8), stop: func() {}}
	defer func() {
		if err != nil {
			n.close()
			n = nil
		}
	}()
	if err := n.openFolder(); err != nil {
		return n, err
	}
	if err := n.openStore(ctx); err != nil {
		return n, err
	}
	if err := n.doors.bind(c); err != nil { // before anything is made that a second try would find
		return n, err
	}
	if err := n.openCore(ctx); err != nil {
		return n, err
	}
	return n, n.makeDoors()
}

// openFolder makes the data folder, or checks the one that is there.
func (n *node) openFolder() error {
	dir := n.config.Data
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(dir)), 0o755); err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	err := os.Mkdir(dir, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("--data: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("--data: %s is not a folder", dir)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && !n.config.KeystoreAnyMode {
		return fmt.Errorf("--data: %s has mode %04o, so others can use what is in it: chmod 0700 %s", dir, mode, dir)
	}
	if n.config.DB != "" { // SQLite takes the lock itself
		n.lock, err = lockFolder(dir)
	}
	return err
}

func (n *node) openStore(ctx context.Context) (err error) {
	n.store, err = store.Open(ctx, store.Config{URL: n.config.databaseURL(), Journal: journalPath(n.config.Data), Log: n.log})
	return err
}

// databaseURL is --db, or the file in the data folder.
func (c *config) databaseURL() string {
	if c.DB != "" {
		return c.DB
	}
	return "sqlite:" + databasePath(c.Data)
}

func databasePath(data string) string { return filepath.Join(data, "cardea.db") }

// openCore opens the keystore and makes what decides and what writes.
func (n *node) openCore(ctx context.Context) (err error) {
	if n.keystore, err = openKeystore(ctx, n.config, n.store); err != nil {
		return err
	}
	ring, ca, err := authority.Bootstrap(ctx, n.store, n.keystore, time.Now, n.log)
	if err != nil {
		return err
	}
	n.ca = ca
	n.outbound = outbound.New(outbound.Config{Networks: n.config.BackendNetworks, Log: n.log})
	if n.gate, err = n.newGate(ctx, ring); err != nil {
		return err
	}
	by, err := n.makeNotifier()
	if err != nil {
		return err
	}
	n.authority, err = authority.New(authority.Config{
		Store: n.store, Gate: n.gate, Ring: ring, CA: ca, Log: n.log, Routes: n.config.Routes,
		Sources: n.outbound, Notifier: by, Listeners: n.doors.mqttNames, Issuer: n.issuer(), KeySets: n.outbound,
	})
	if err != nil {
		return err
	}
	if err := n.makeTeller(by); err != nil {
		return err
	}
	if err := n.authority.CheckRoutes(ctx); err != nil { // two upstreams for one path: which one was meant is not ours to guess
		return err
	}
	return n.startChains(ctx)
}

func (n *node) newGate(ctx context.Context, ring *keyring.Ring) (*gate.Gate, error) {
	keys, err := n.store.Keys(ctx)
	if err != nil {
		return nil, err
	}
	signer, err := authority.IdentitySigner(ring, keys)
	if err != nil {
		return nil, err
	}
	publics, err := authority.IdentityPublics(keys)
	if err != nil {
		return nil, err
	}
	fake, err := authority.FakeSaltKey(ring, keys)
	if err != nil {
		return nil, err
	}
	nonce, err := authority.NonceKey(ring, keys)
	if err != nil {
		return nil, err
	}
	instance, err := n.store.Setting(ctx, "instance")
	if err != nil {
		return nil, err
	}
	high, err := clockMark(ctx, n.store)
	if err != nil {
		return nil, err
	}
	c := gate.Config{
		Store: n.store, Signer: signer, Keys: publics, Issuer: "cardea:" + instance,
		CacheBytes: n.config.CacheBytes, Staleness: n.config.Staleness, StaticRoutes: n.config.Routes,
		Log: n.log, Clock: gate.NewClock(high, nil, nil),
		Open: ring.Open, FakeSalt: fake, Sources: n.outbound, Near: n.noteQuota,
		TokenIssuer: n.issuer(), NonceKey: nonce, KeySets: n.outbound,
	}
	if c.TokenIssuer != "" {
		c.SigningKeys = func(ctx context.Context) (credential.SigningKeys, error) {
			keys, err := n.store.Keys(ctx)
			if err != nil {
				return credential.SigningKeys{}, err
			}
			return authority.OAuthKeys(ring, keys, time.Now())
		}
	}
	return gate.New(c)
}

// noteQuota has the authority record what the gate has found. The gate counts only when everything is open.
func (n *node) noteQuota(ctx context.Context, q gate.Quota) error {
	return n.authority.NoteQuota(ctx, authority.QuotaNote{Org: q.Org, Credential: q.Credential, Month: q.Month, Used: q.Used, Limit: q.Limit})
}

// clockMark is the latest time at which a change is known to have been made: what had expired by
// then stays expired, whatever the clock of the machine says now (D09).
func clockMark(ctx context.Context, s *store.Store) (time.Time, error) {
	text, err := s.Setting(ctx, "clock.high")
	if err != nil || text == "" {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339Nano, text)
}

// openKeystore opens the keystore, or makes one if the database holds nothing sealed yet (K12, K14).
func openKeystore(ctx context.Context, c *config, s *store.Store) (*keyring.Keystore, error) {
	id, err := s.Setting(ctx, "keystore.id")
	if err != nil {
		return nil, err
	}
	check, err := s.Setting(ctx, "keystore.check")
	if err != nil {
		return nil, err
	}
	keys, err := s.Keys(ctx) // an older or torn database may hold keys and no id
	if err != nil {
		return nil, err
	}
	sealed := id != "" || len(keys) > 0
	return keyring.Open(keyring.Config{Dir: c.Data, Password: c.keystorePassword(), AnyMode: c.KeystoreAnyMode}, sealed, check)
}

// close ends everything that was opened.
func (n *node) close() {
	n.serving.Store(false)
	n.stop()
	n.doors.close()
	for _, c := range slices.Backward(n.closers) {
		_ = c.Close() // nobody needs it any more
	}
	if n.api != nil {
		n.api.Drain()
	}
	if n.broker != nil {
		if err := n.broker.Close(); err != nil {
			n.log.Error("the MQTT broker did not close well", "error", err)
		}
	}
	if n.gate != nil {
		if err := n.gate.Close(); err != nil {
			n.log.Error("what was counted last could not be recorded", "error", err)
		}
	}
	n.behind.Wait()
	if n.store != nil {
		if err := n.store.Close(); err != nil {
			n.log.Error("the database did not close well", "error", err)
		}
	}
	if n.lock != nil {
		n.lock.Close()
	}
}

// maxUnseen is how long the database may be silent before the node is not ready;
// the gate looks at it several times a second.
const maxUnseen = 3 * time.Second

// readiness is what /readyz asks: nil if every door accepts and the database answers.
func (n *node) readiness() error {
	if !n.serving.Load() {
		return credential.Errorf(credential.Down, "the doors do not accept")
	}
	stats := n.gate.Stats()
	if since := time.Since(stats.LastSeen) + stats.ClockBehind; since > maxUnseen {
		return credential.Errorf(credential.Down, "the database has not answered for %s", since.Round(time.Second))
	}
	ctx, cancel := context.WithTimeout(context.Background(), maxUnseen)
	defer cancel()
	return n.store.Writable(ctx)
}

// prune removes what is over, some of it at a time, so that changes go on meanwhile.
func (n *node) prune(ctx context.Context) error {
	for {
		removed, err := n.store.Prune(ctx, time.Now())
		if err != nil || removed == 0 {
			return err
		}
	}
}

// keepHouse forgets what is over, at the start and every hour.
func (n *node) keepHouse(ctx context.Context) {
	for {
		err := n.store.Exclusive(ctx, "house", func(ctx context.Context) error {
			err := n.prune(ctx)
			return errors.Join(err, n.authority.Sweep(ctx))
		})
		if err = errors.Join(err, n.authority.KeepSigningKeys(ctx)); err != nil && ctx.Err() == nil {
			n.log.Warn("housekeeping failed; it is tried again in an hour", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Hour):
		}
	}
}

// everyMinute does what is due by the clock; what is for one node at a time is done by one.
func (n *node) everyMinute(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for what, work := range map[string]func(context.Context) error{
			"sessions that are over": n.authority.SweepSessions,
			"notices":                func(ctx context.Context) error { return n.store.Exclusive(ctx, "notices", n.authority.Notices) },
			"uses of credentials":    func(ctx context.Context) error { return n.store.Exclusive(ctx, "use", n.authority.WatchUse) },
		} {
			if err := work(ctx); err != nil && ctx.Err() == nil {
				n.log.Warn("what is due each minute was not done; it is tried again in a minute", "work", what, "error", err)
			}
		}
	}
}

// local is the administrator on the socket.
func local() authority.Caller {
	return authority.Caller{
		Org: credential.DefaultOrg, Rights: authority.RightsOfLocal(), Local: true,
		Actor: credential.Actor{Principal: "local", Source: "socket", Door: "system"},
	}
}

// localHandler is what the socket serves: the API, and what only this command knows.
func (n *node) localHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathLocalInfo, n.serveInfo)
	mux.HandleFunc("GET "+pathLocalDoctor, n.serveDoctor)
	mux.HandleFunc("GET "+pathKeystoreStatus, n.serveKeystore)
	mux.HandleFunc("POST "+pathKeystoreRotate, n.serveKeystoreRotate)
	mux.Handle("/", n.api.LocalHandler())
	return mux
}
