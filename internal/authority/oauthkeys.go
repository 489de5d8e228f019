package authority

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"slices"
	"time"

	"cardea/internal/credential"
	"cardea/internal/jwt"
	"cardea/internal/keyring"
)

const (
	purposeOAuth = "oauth"      // signs access tokens
	purposeNonce = "dpop-nonce" // nonces of proofs of possession are made with it, by all nodes

	// publishAhead is how long a key is published before it signs: longer than anybody is told to keep the set (J13).
	publishAhead = time.Hour
	// trustAfter is how long a key is believed that signs no more: as long as a token of it may live, and something for clocks that differ.
	trustAfter = credential.MaxTokenLife + 10*time.Minute
)

// Where a signing key is in its life.
const (
	KeyNext    = "next"    // published, signs from an instant on
	KeyCurrent = "current" // signs
	KeyRetired = "retired" // signs no more; what it has signed is believed while such a token may live
	KeyRevoked = "revoked" // nothing that it has signed is believed
)

// startOf is from when on a key signs.
func startOf(k *credential.Key) time.Time {
	if k.ActiveAt.IsZero() {
		return k.CreatedAt
	}
	return k.ActiveAt
}

// signsAt reports whether a key is one of those that could sign at an instant. Of several the one does that began last.
func signsAt(k *credential.Key, now time.Time) bool {
	return k.Purpose == purposeOAuth && k.RevokedAt.IsZero() && k.RetiredAt.IsZero() && !now.Before(startOf(k))
}

// waitsAt reports whether a key is published at an instant and does not sign yet.
func waitsAt(k *credential.Key, now time.Time) bool {
	return k.Purpose == purposeOAuth && k.RevokedAt.IsZero() && k.RetiredAt.IsZero() && now.Before(startOf(k))
}

// believedUntil is the instant from which on no token of a key can be good; zero if that is not known yet.
func believedUntil(k *credential.Key) time.Time {
	switch {
	case !k.RevokedAt.IsZero():
		return k.RevokedAt
	case k.RetiredAt.IsZero():
		return time.Time{}
	}
	return k.RetiredAt.Add(trustAfter)
}

// signingKey returns the key that signs by an algorithm at an instant.
func signingKey(keys []credential.Key, alg string, now time.Time) (credential.Key, bool) {
	return lastToStart(keys, func(k *credential.Key) bool { return k.Alg == alg && signsAt(k, now) })
}

// waitingKey returns the key that will sign by an algorithm.
func waitingKey(keys []credential.Key, alg string, now time.Time) (credential.Key, bool) {
	return lastToStart(keys, func(k *credential.Key) bool { return k.Alg == alg && waitsAt(k, now) })
}

func lastToStart(keys []credential.Key, is func(*credential.Key) bool) (best credential.Key, found bool) {
	for i := range keys {
		k := &keys[i]
		if is(k) && (!found || cmp.Or(startOf(k).Compare(startOf(&best)), cmp.Compare(k.ID, best.ID)) > 0) {
			best, found = *k, true
		}
	}
	return best, found
}

// OAuthKeys returns what access tokens are signed with and believed by at an instant, of all keys, which [Bootstrap] and [Authority.KeepSigningKeys] have
// made. Every node computes the same of the same keys, so a key begins to sign on all of them at once.
func OAuthKeys(ring *keyring.Ring, keys []credential.Key, now time.Time) (credential.SigningKeys, error) {
	out := credential.SigningKeys{Sign: map[string]crypto.Signer{}}
	turns := func(at time.Time) {
		if at.After(now) && (out.Next.IsZero() || at.Before(out.Next)) {
			out.Next = at
		}
	}
	for i := range keys {
		k := &keys[i]
		if k.Purpose != purposeOAuth || !k.RevokedAt.IsZero() { // whatever this node's clock says
			continue
		}
		if end := believedUntil(k); !end.IsZero() {
			if !now.Before(end) {
				continue
			}
			turns(end)
		}
		turns(startOf(k))
		pub, err := x509.ParsePKIXPublicKey(k.Public)
		if err != nil {
			return credential.SigningKeys{}, &credential.Error{Kind: credential.Internal, Err: err}
		}
		out.Trust = append(out.Trust, pub)
	}
	for _, alg := range credential.SigningAlgs() {
		k, found := signingKey(keys, alg, now)
		if !found {
			continue
		}
		s, err := ring.Signer(k)
		if err != nil {
			return credential.SigningKeys{}, err
		}
		out.Sign[alg] = s
	}
	return out, nil
}

// NonceKey returns the secret that nonces of proofs of possession are made with, from among keys, which [Bootstrap] has made.
func NonceKey(ring *keyring.Ring, keys []credential.Key) ([]byte, error) {
	key, found := current(keys, purposeNonce)
	if !found {
		return nil, credential.Errorf(credential.Down, "the database holds no secret for nonces: restart this node, which makes one")
	}
	return ring.Secret(key)
}

// SigningKey is a key of access tokens as callers see it.
type SigningKey struct {
	ID            string // kid: its RFC 7638 thumbprint
	Alg           string
	State         string // KeyNext, KeyCurrent, KeyRetired or KeyRevoked
	CreatedAt     time.Time
	ActiveAt      time.Time // from when on it signs
	RetiredAt     time.Time // since when it does no more; zero: it does, or will
	RevokedAt     time.Time
	BelievedUntil time.Time // zero: that is not known yet
}

// shownKeys are the keys of access tokens, those that began last first.
func shownKeys(keys []credential.Key, now time.Time) ([]SigningKey, error) {
	all := []SigningKey{}
	for i := range keys {
		if keys[i].Purpose != purposeOAuth {
			continue
		}
		k, err := shownKey(keys, &keys[i], now)
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	slices.SortStableFunc(all, func(x, y SigningKey) int {
		return cmp.Or(y.ActiveAt.Compare(x.ActiveAt), cmp.Compare(x.ID, y.ID))
	})
	return all, nil
}

func shownKey(keys []credential.Key, k *credential.Key, now time.Time) (SigningKey, error) {
	id, err := kidOf(k)
	out := SigningKey{
		ID: id, Alg: k.Alg, State: KeyRetired, CreatedAt: k.CreatedAt, ActiveAt: startOf(k), RetiredAt: k.RetiredAt, RevokedAt: k.RevokedAt, BelievedUntil: believedUntil(k),
	}
	signs, _ := signingKey(keys, k.Alg, now)
	switch {
	case !k.RevokedAt.IsZero():
		out.State = KeyRevoked
	case waitsAt(k, now):
		out.State = KeyNext
	case signs.ID == k.ID:
		out.State = KeyCurrent
	}
	return out, err
}

// kidOf is how tokens name a key.
func kidOf(k *credential.Key) (string, error) {
	pub, err := x509.ParsePKIXPublicKey(k.Public)
	if err != nil {
		return "", &credential.Error{Kind: credential.Internal, Err: err}
	}
	return jwt.Thumbprint(pub)
}
