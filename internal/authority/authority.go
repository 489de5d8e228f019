package authority

import (
	"errors"
	"hash/maphash"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"cardea/internal/ca"
	"cardea/internal/credential"
	"cardea/internal/keyring"
)

// Store is what the authority needs of the database.
type Store interface {
	credential.Writer
	credential.Lookup
	credential.Catalog
	credential.Vault
	credential.Dumper
}

// Config is what an Authority is made of.
type Config struct {
	Store  Store
	Gate   credential.Gate
	Ring   *keyring.Ring
	CA     *ca.CA
	Now    func() time.Time // nil: time.Now
	Log    *slog.Logger
	Routes []credential.Route // static ones, from flags and file
	// Sources checks how REST services are asked. Nil: authenticators that ask one are refused.
	Sources credential.Sources
	// Notifier sends notices. Nil: webhooks are refused.
	Notifier credential.Notifier
	// Issuer is the iss of Cardea's access tokens, which is the audience of Cardea itself. "": there are none.
	Issuer string
	// SigningKeyAge is how long a key signs access tokens before another one does. 0: 90 days.
	SigningKeyAge time.Duration
	// KeySets checks where the keys of others are fetched from. Nil: clients and issuers that have them at a URL are refused.
	KeySets credential.KeySets
	// Listeners returns the names of this node's MQTT listeners, for warnings; nil: there are none to give.
	Listeners func() []string
}

// Authority issues, rotates, revokes and audits. It is safe for concurrent use.
type Authority struct {
	store  Store
	gate   credential.Gate
	ring   *keyring.Ring
	ca     *ca.CA
	log    *slog.Logger
	clock  clock
	watch  watch
	static []credential.Route

	sources   credential.Sources
	notifier  credential.Notifier
	issuer    string
	keySets   credential.KeySets
	keyAge    time.Duration
	listeners func() []string
	beginning turns         // of sessions
	deriving  chan struct{} // holds one for each password that keys are being made of
	drawing   sync.Mutex    // held while a picture is decoded
}

// New returns an Authority. Static routes that [CheckRoute] refuses are an error.
func New(c Config) (*Authority, error) {
	if c.Store == nil || c.Gate == nil || c.Ring == nil || c.CA == nil {
		return nil, errors.New("authority: store, gate, ring and CA are all needed")
	}
	for i, r := range c.Routes {
		if err := CheckRoute(r, c.Routes[:i]); err != nil {
			return nil, err
		}
	}
	a := &Authority{
		store: c.Store, gate: c.Gate, ring: c.Ring, ca: c.CA, log: c.Log,
		static: slices.Clone(c.Routes), sources: c.Sources, notifier: c.Notifier, issuer: c.Issuer, keySets: c.KeySets, keyAge: c.SigningKeyAge, listeners: c.Listeners,

		deriving: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
	a.beginning.seed = maphash.MakeSeed()
	a.clock.read = c.Now
	if c.Now == nil {
		a.clock.read = time.Now
	}
	if a.keyAge <= 0 {
		a.keyAge = defaultKeyAge
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	return a, nil
}

// TrustAnchor returns the root certificate in PEM. It is public.
func (a *Authority) TrustAnchor() []byte {
	return encodePEM("CERTIFICATE", a.ca.Root.Raw)
}
