package keyring

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cardea/internal/credential"
)

func dataKey(t *testing.T, k *Keystore, at time.Time) credential.Key {
	t.Helper()
	key, err := k.NewDataKey(at)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ringOf(t *testing.T, k *Keystore, keys ...credential.Key) *Ring {
	t.Helper()
	r, err := New(k, keys)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newRing(t *testing.T, k *Keystore) *Ring {
	t.Helper()
	return ringOf(t, k, dataKey(t, k, noon))
}

func TestOnlyWhatWasSealedForARecordOpensThere(t *testing.T) { // K15
	k := mustOpen(t, config(t.TempDir()), false, "")
	r := newRing(t, k)
	witness, err := r.Seal("idempotency/witness", []byte("still here"))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		record := "idempotency/" + rapid.String().Draw(t, "record")
		plain := rapid.SliceOf(rapid.Byte()).Draw(t, "plain")
		sealed, err := r.Seal(record, plain)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.Open(record, sealed); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("Open gives %x, %v; want %x", got, err, plain)
		}
		fails := func(why, record string, sealed []byte) {
			_, err := r.Open(record, sealed)
			if err == nil {
				t.Fatalf("%s: it opens", why)
			}
			if credential.KindOf(err) != credential.Internal || !strings.Contains(err.Error(), record) {
				t.Fatalf("%s: error %q, want an internal one that names the record", why, err)
			}
			if len(plain) > 8 && strings.Contains(err.Error(), string(plain)) {
				t.Fatalf("%s: the error holds the secret", why)
			}
		}
		fails("other record", record+"x", sealed)
		flipped := bytes.Clone(sealed)
		flipped[rapid.IntRange(0, len(sealed)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		fails("flipped bit", record, flipped)
		fails("cut", record, sealed[:rapid.IntRange(0, len(sealed)-1).Draw(t, "length")])
		fails("swapped", record, witness)
		if _, err := r.Open("idempotency/witness", witness); err != nil {
			t.Fatalf("another record does not open any more: %v", err)
		}
	})
}

func TestWhatIsSealedIsNotReadable(t *testing.T) { // K01
	r := newRing(t, mustOpen(t, config(t.TempDir()), false, ""))
	secret := "a secret that must not be seen"
	sealed, err := r.Seal("idempotency/1", []byte(secret))
	if err != nil || bytes.Contains(sealed, []byte(secret[:8])) {
		t.Errorf("sealed form %q, %v", sealed, err)
	}
}

func TestNoSaltAndNonceIsUsedTwice(t *testing.T) { // K19
	k := mustOpen(t, config(t.TempDir()), false, "")
	r := newRing(t, k)
	const n = 20000
	seen := make(map[string]bool, n)
	for range n {
		sealed, err := r.Seal("idempotency/1", []byte("the same"))
		if err != nil {
			t.Fatal(err)
		}
		seen[string(sealed[2+12:][:saltLen])] = true // the salt alone, which makes the key, is unique
	}
	if len(seen) != n {
		t.Errorf("%d different salts in %d seals", len(seen), n)
	}
}

func TestTheNewestKeyThatIsNotRetiredSeals(t *testing.T) {
	k := mustOpen(t, config(t.TempDir()), false, "")
	old, mid, late := dataKey(t, k, noon), dataKey(t, k, noon.Add(time.Hour)), dataKey(t, k, noon.Add(2*time.Hour))
	late.RetiredAt = noon.Add(3 * time.Hour)
	other := credential.Key{ID: "x", Purpose: "identity", CreatedAt: noon.Add(9 * time.Hour)}
	r := ringOf(t, k, mid, other, late, old)
	sealed, err := r.Seal("idempotency/1", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(sealed[:14], []byte(mid.ID)) {
		t.Errorf("sealed under %q, want %s", sealed[2:14], mid.ID)
	}
	// A retired key opens what it sealed.
	unretired := late
	unretired.RetiredAt = time.Time{}
	if sealed, err = ringOf(t, k, unretired).Seal("idempotency/1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Open("idempotency/1", sealed); err != nil {
		t.Errorf("what a retired key sealed does not open: %v", err)
	}
	if _, err := ringOf(t, k, mid).Open("idempotency/1", sealed); err == nil || !strings.Contains(err.Error(), late.ID) {
		t.Errorf("without its data key: %v", err)
	}
	if _, err := ringOf(t, k, late).Seal("idempotency/1", nil); err == nil {
		t.Error("a retired key seals")
	}
}

func TestADamagedDataKeyIsNamed(t *testing.T) { // K15
	k := mustOpen(t, config(t.TempDir()), false, "")
	a, b := dataKey(t, k, noon), dataKey(t, k, noon)
	swapped := a
	swapped.Sealed = b.Sealed
	foreign := dataKey(t, mustOpen(t, config(t.TempDir()), false, ""), noon)
	for _, key := range []credential.Key{swapped, foreign} {
		_, err := New(k, []credential.Key{b, key})
		refuses(t, err, credential.Invalid, key.ID)
	}
}

func TestASignerSignsAndShowsNoPrivateKey(t *testing.T) {
	k := mustOpen(t, config(t.TempDir()), false, "")
	r := newRing(t, k)
	text, digest := []byte("x"), sha256.Sum256([]byte("x"))
	for alg, signs := range map[string]func(crypto.Signer, crypto.PublicKey) (bool, error){
		"ES256": func(s crypto.Signer, pub crypto.PublicKey) (bool, error) {
			sig, err := s.Sign(rand.Reader, digest[:], crypto.SHA256)
			return ecdsa.VerifyASN1(pub.(*ecdsa.PublicKey), digest[:], sig), err
		},
		"EdDSA": func(s crypto.Signer, pub crypto.PublicKey) (bool, error) {
			sig, err := s.Sign(rand.Reader, text, crypto.Hash(0))
			return ed25519.Verify(pub.(ed25519.PublicKey), text, sig), err
		},
		"RS256": func(s crypto.Signer, pub crypto.PublicKey) (bool, error) {
			sig, err := s.Sign(rand.Reader, digest[:], crypto.SHA256)
			return rsa.VerifyPKCS1v15(pub.(*rsa.PublicKey), crypto.SHA256, digest[:], sig) == nil, err
		},
	} {
		t.Run(alg, func(t *testing.T) {
			key, err := r.NewSigner("oauth", alg, noon)
			if err != nil {
				t.Fatal(err)
			}
			if key.Purpose != "oauth" || key.Alg != alg || !key.CreatedAt.Equal(noon) || key.Wrapper != r.current || !validID(key.ID) {
				t.Errorf("key is %+v", key)
			}
			s, err := r.Signer(key)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := s.(signer); !ok {
				t.Errorf("the signer is the private key itself: %T", s)
			}
			pub, err := x509.ParsePKIXPublicKey(key.Public)
			if err != nil {
				t.Fatal(err)
			}
			if ok, err := signs(s, pub); err != nil || !ok {
				t.Errorf("signature is wrong: %v", err)
			}

			// The caller may put a certificate of the key in the place of the public key.
			cert := &x509.Certificate{SerialNumber: big.NewInt(1)}
			if key.Public, err = x509.CreateCertificate(rand.Reader, cert, cert, s.Public(), s); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Signer(key); err != nil {
				t.Errorf("with a certificate: %v", err)
			}
		})
	}
	for _, alg := range []string{"", "none", "HS256", "ES384", "es256"} {
		if key, err := r.NewSigner("oauth", alg, noon); err == nil {
			t.Errorf("a key for %q: %+v", alg, key)
		}
	}
}

func TestASigningKeyCannotBeMadeAnother(t *testing.T) { // K15
	k := mustOpen(t, config(t.TempDir()), false, "")
	r := newRing(t, k)
	identity, err := r.NewSigner("identity", "ES256", noon)
	if err != nil {
		t.Fatal(err)
	}
	root, err := r.NewSigner("ca-root", "ES256", noon)
	if err != nil {
		t.Fatal(err)
	}
	edwards, err := r.NewSigner("ca-root", "EdDSA", noon)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*credential.Key){
		"sealed part of another": func(key *credential.Key) { key.Sealed = identity.Sealed },
		"other purpose":          func(key *credential.Key) { key.Purpose = "identity" },
		"other id":               func(key *credential.Key) { key.ID = identity.ID },
		"public part of another": func(key *credential.Key) { key.Public = identity.Public },
		"no public part":         func(key *credential.Key) { key.Public = nil },
		"public part of a kind":  func(key *credential.Key) { key.Public = edwards.Public },
		"other algorithm":        func(key *credential.Key) { key.Alg = "EdDSA" },
		"no algorithm":           func(key *credential.Key) { key.Alg = "" },
	} {
		key := root
		change(&key)
		if _, err := r.Signer(key); credential.KindOf(err) != credential.Internal || err == nil || !strings.Contains(err.Error(), key.ID) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.Signer(root); err != nil {
		t.Errorf("unchanged: %v", err)
	}
}

func TestAPrivateKeyDoesNotComeOutByOpen(t *testing.T) { // invariant 6
	k := mustOpen(t, config(t.TempDir()), false, "")
	r := newRing(t, k)
	key, err := r.NewSigner("identity", "ES256", noon)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Open(signerRecord(key), key.Sealed); err == nil {
		t.Error("Open gives out a private key")
	}
	if _, err := r.Seal(signerRecord(key), []byte("x")); err == nil {
		t.Error("Seal makes a signing key")
	}
}

// S02: what is derived from a secret is the same wherever the database is opened with its keystore, and nowhere else.
func TestASecretStaysTheSame(t *testing.T) {
	k := mustOpen(t, config(t.TempDir()), false, "")
	data := dataKey(t, k, noon)
	r := ringOf(t, k, data)
	key, err := r.NewSecret("scram-fake", noon)
	if err != nil {
		t.Fatal(err)
	}
	if key.Purpose != "scram-fake" || key.Wrapper != data.ID || !key.CreatedAt.Equal(noon) || !validID(key.ID) || key.Public != nil {
		t.Errorf("key is %+v", key)
	}
	one, err := r.Secret(key)
	if err != nil || len(one) != 32 || bytes.Contains(key.Sealed, one) { // K01
		t.Fatalf("%d bytes, %v", len(one), err)
	}
	if again, err := ringOf(t, k, data).Secret(key); err != nil || !bytes.Equal(again, one) {
		t.Errorf("another ring opens it as another: %v", err)
	}
	other, err := r.NewSecret("scram-fake", noon)
	if err != nil {
		t.Fatal(err)
	}
	if two, err := r.Secret(other); err != nil || bytes.Equal(one, two) {
		t.Errorf("two secrets are the same, or %v", err)
	}
}

// K15, invariant 6: a secret opens as itself alone, and neither Open nor Seal serves it.
func TestASecretCannotBeMadeAnother(t *testing.T) {
	r := newRing(t, mustOpen(t, config(t.TempDir()), false, ""))
	key, err := r.NewSecret("scram-fake", noon)
	if err != nil {
		t.Fatal(err)
	}
	signing, err := r.NewSigner("scram-fake", "ES256", noon)
	if err != nil {
		t.Fatal(err)
	}
	other, err := r.NewSecret("scram-fake", noon)
	if err != nil {
		t.Fatal(err)
	}
	short, err := r.seal(secretRecord(key), []byte("short"))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*credential.Key){
		"sealed part of another": func(k *credential.Key) { k.Sealed = other.Sealed },
		"a signing key":          func(k *credential.Key) { *k = signing },
		"other purpose":          func(k *credential.Key) { k.Purpose = "identity" },
		"other id":               func(k *credential.Key) { k.ID = other.ID },
		"flipped bit":            func(k *credential.Key) { k.Sealed = bytes.Clone(k.Sealed); k.Sealed[40] ^= 1 },
		"nothing":                func(k *credential.Key) { k.Sealed = nil },
		"too short":              func(k *credential.Key) { k.Sealed = short },
	} {
		bad := key
		change(&bad)
		if _, err := r.Secret(bad); err == nil || credential.KindOf(err) != credential.Internal || !strings.Contains(err.Error(), bad.ID) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.Signer(key); err == nil {
		t.Error("a secret is taken for a signing key")
	}
	if _, err := r.Open(secretRecord(key), key.Sealed); err == nil {
		t.Error("Open gives out a secret")
	}
	if _, err := r.Seal(secretRecord(key), make([]byte, 32)); err == nil {
		t.Error("Seal makes a secret")
	}
}
