package authority

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cardea/internal/credential"

	"github.com/google/go-cmp/cmp"
)

// The same request with the same key is answered as the first time, secrets included, and done once.
func TestIdempotencyKey(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.principal(credential.Service, "svc")
	id := h.apiKey("svc").Credential.ID
	wish := NewCredential{Kind: credential.APIKey, Principal: "svc", Name: "a", Idempotency: "k-create"}
	cases := map[string]func() (any, error){
		"principal": func() (any, error) {
			return h.CreatePrincipal(ctx, h.local, NewPrincipal{Kind: credential.Device, Name: "d", Attrs: map[string]string{"a": "b"}, Idempotency: "k1"})
		},
		"credential": func() (any, error) { is, err := h.CreateCredential(ctx, h.local, wish); return plain(is), err },
		"certificate": func() (any, error) {
			is, err := h.CreateCredential(ctx, h.local, NewCredential{Kind: credential.Certificate, Principal: "svc", Idempotency: "k2"})
			return plain(is), err
		},
		"batch": func() (any, error) {
			all, err := h.CreateCredentials(ctx, h.local, []NewCredential{{Kind: credential.APIKey, Principal: "svc", Idempotency: "k3"}, {Kind: credential.APIKey, Principal: "svc"}})
			return plain(all...), err
		},
		"rotate": func() (any, error) {
			is, err := h.Rotate(ctx, h.local, id, Rotation{Overlap: day, Idempotency: "k4"})
			return plain(is), err
		},
		"key": func() (any, error) {
			b, err := h.GenerateKey(ctx, h.local, NewKey{ID: "pump-1", Idempotency: "k5"})
			return []any{b.Principal, b.Warnings, plain(b.Token, b.Certificate)}, err
		},
	}
	for what, act := range cases {
		t.Run(what, func(t *testing.T) {
			first, err := act()
			h.must(err)
			before := h.head()
			h.clock.add(time.Minute)
			again, err := act()
			h.must(err)
			if d := cmp.Diff(first, again); d != "" {
				t.Error(d)
			}
			if h.head() != before {
				t.Error("it was done twice")
			}
		})
	}
	wish.Name = "b"
	_, err := h.CreateCredential(ctx, h.local, wish)
	fails(t, err, credential.Unprocessed)
	wish.Name, wish.Idempotency = "a", "k4" // of another act
	_, err = h.CreateCredential(ctx, h.local, wish)
	fails(t, err, credential.Unprocessed)
	wish.Idempotency = strings.Repeat("k", 256)
	_, err = h.CreateCredential(ctx, h.local, wish)
	fails(t, err, credential.Invalid)
}

// A key is its caller's own, is asked for with the right, and is forgotten after a day.
func TestIdempotencyKeysAreTheCallersOwn(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.principal(credential.Service, "svc")
	wish := NewCredential{Kind: credential.APIKey, Principal: "svc", Idempotency: "k"}
	mine, err := h.CreateCredential(ctx, h.local, wish)
	h.must(err)
	c := h.caller("api:credentials:create *")
	theirs, err := h.CreateCredential(ctx, c, wish)
	h.must(err)
	if mine.Secret.Reveal() == theirs.Secret.Reveal() {
		t.Error("one caller got the other's secret")
	}
	none := h.caller()
	_, err = h.CreateCredential(ctx, none, wish) // the same credential, but its right is gone
	fails(t, err, credential.NoRight)
	h.clock.add(24 * time.Hour)
	later, err := h.CreateCredential(ctx, h.local, wish)
	h.must(err)
	if later.Credential.ID == mine.Credential.ID {
		t.Error("an answer of yesterday")
	}
}

// Of many that come at once with one key, one is done and all get its answer; so it is when the answer to the first was lost.
func TestSameKeyAtOnce(t *testing.T) {
	h := newHouse(t)
	before := h.head()
	var wg sync.WaitGroup
	tokens := make([]string, 8)
	for i := range tokens {
		wg.Go(func() {
			b, err := h.GenerateKey(t.Context(), h.local, NewKey{ID: "pump-1", Idempotency: "k"})
			if err != nil {
				t.Error(err)
			}
			tokens[i] = b.Token.Secret.Reveal()
		})
	}
	wg.Wait()
	slices.Sort(tokens)
	if len(slices.Compact(tokens)) != 1 || types(h.events(before)) != "principal.create credential.create credential.create" {
		t.Errorf("events %s", types(h.events(before)))
	}

	h.fault.set(nil, func(c credential.Change) error {
		if len(c.Events) == 0 {
			return nil
		}
		return down() // the change was made, and nobody heard of it
	})
	_, err := h.GenerateKey(t.Context(), h.local, NewKey{ID: "pump-2", Idempotency: "k2"})
	fails(t, err, credential.Down)
	h.fault.set(nil, nil)
	b, err := h.GenerateKey(t.Context(), h.local, NewKey{ID: "pump-2", Idempotency: "k2"})
	h.must(err)
	if r := h.knock(b.Token.Secret.Reveal()); r != credential.OK {
		t.Errorf("the gate says %s", r)
	}
}

// plain is an answer with its secrets in the clear, for comparing.
func plain(all ...Issued) []keptIssued { return keep(all...) }
