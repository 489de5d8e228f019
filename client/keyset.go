package client

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	defaultStale = time.Hour
	refreshAfter = 5 * time.Minute  // so that a key which was withdrawn is not believed for long
	refreshPause = 10 * time.Second // between two fetches, whatever kid a token names (J03)
	maxKeys      = 100
)

// keySet holds the public keys of an issuer. Keys that are old are renewed beside, while what is held is used.
type keySet struct {
	address string // "" to find it in the metadata
	http    *http.Client
	server  *discovery
	stale   time.Duration
	now     func() time.Time
	rules   rules

	flights flights[struct{}, map[string][]publicKey]
	mu      sync.Mutex
	held    map[string][]publicKey // by kid
	asOf    time.Time              // when the server last gave them
	asked   time.Time              // when it was last asked
	failed  error                  // how that ended
}

type publicKey struct {
	alg string // "" for any that suits
	key crypto.PublicKey
}

func newKeySet(c VerifierConfig, h *http.Client, d *discovery) *keySet {
	if c.Stale <= 0 {
		c.Stale = defaultStale
	}
	return &keySet{
		address: c.JWKSURL, http: h, server: d, stale: c.Stale, now: c.Now,
		rules: rules{issuer: c.Issuer, audiences: c.Audiences, org: c.Org, leeway: c.Leeway, now: c.Now},
	}
}

// find returns the keys of a name for an algorithm. A name that is not known makes it ask the server, at most every 10 s.
func (s *keySet) find(ctx context.Context, kid, alg string) ([]crypto.PublicKey, error) {
	held, old, err := s.current()
	if err != nil || held[kid] == nil {
		f, err := s.flights.start(struct{}{}, callLimit, s.fetch).wait(ctx)
		if err != nil && ctx.Err() != nil {
			return nil, err
		}
		if err != nil { // the name may be that of a new key
			return nil, &UnavailableError{err}
		}
		held = f
	} else if old {
		s.flights.start(struct{}{}, callLimit, s.fetch)
	}
	var out []crypto.PublicKey
	for _, k := range held[kid] {
		if k.alg == "" || k.alg == alg {
			out = append(out, k.key)
		}
	}
	if out == nil {
		return nil, refuse("its key is not among those of the issuer")
	}
	return out, nil
}

// current returns the keys that may be used, and whether it is time to ask for them again.
func (s *keySet) current() (held map[string][]publicKey, old bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.held == nil || now.After(s.asOf.Add(s.stale)) {
		return nil, true, errors.New("the keys are too old")
	}
	return s.held, now.After(s.asOf.Add(min(refreshAfter, s.stale/2))) && !now.Before(s.asked.Add(refreshPause)), nil
}

func (s *keySet) fetch(ctx context.Context) (map[string][]publicKey, error) {
	s.mu.Lock()
	now := s.now()
	if !s.asked.IsZero() && now.Before(s.asked.Add(refreshPause)) {
		defer s.mu.Unlock()
		if s.failed == nil {
			return s.held, nil
		}
		return nil, s.failed
	}
	s.asked = now
	s.mu.Unlock()

	keys, err := s.read(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = err
	if err != nil {
		return nil, err
	}
	s.held, s.asOf = keys, now
	return keys, nil
}

func (s *keySet) read(ctx context.Context) (map[string][]publicKey, error) {
	address := s.address
	if address == "" {
		m, err := s.server.get(ctx)
		if err != nil {
			return nil, err
		}
		if address = m.JWKS; address == "" {
			return nil, fmt.Errorf("client: the metadata of %s name no jwks_uri", m.Issuer)
		}
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := get(ctx, s.http, address, &set); err != nil {
		return nil, err
	}
	keys := parseKeys(set.Keys)
	if len(keys) == 0 {
		return nil, fmt.Errorf("client: %s holds no key that could be used", address)
	}
	return keys, nil
}

// parseKeys leaves out what it does not know, as RFC 7517 section 5 has it, and what is no public key for signatures: algOf knows no others.
func parseKeys(list []json.RawMessage) map[string][]publicKey {
	keys := map[string][]publicKey{}
	for _, text := range list[:min(len(list), maxKeys)] {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(text) != nil || k.KeyID == "" || k.Use != "" && k.Use != "sig" {
			continue
		}
		if alg, err := algOf(k.Key); err != nil || k.Algorithm != "" && k.Algorithm != string(alg) {
			continue
		}
		keys[k.KeyID] = append(keys[k.KeyID], publicKey{k.Algorithm, k.Key})
	}
	return keys
}
