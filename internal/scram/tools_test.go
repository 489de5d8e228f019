package scram_test

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"hash"
	"slices"
	"strings"
	"testing"

	"cardea/internal/credential"
	"cardea/internal/scram"
)

const (
	vectorSalt   = "W22ZaJ0SNY7soEsUEjb6gQ=="
	vectorClient = "rOprNGfwEbeRWgbNEkqO"
	vectorServer = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
)

var channel = &scram.Channel{Exporter: []byte("the exporter of this connection!")}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func salt(t testing.TB) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(vectorSalt)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// pencil returns the keys of the password of the vectors.
func pencil(t testing.TB, h scram.Hash) credential.ScramKeys {
	t.Helper()
	k, known := pencils[h]
	if !known {
		var err error
		if k, err = scram.Derive(h, "pencil", salt(t), 4096); err != nil {
			t.Fatal(err)
		}
		pencils[h] = k
	}
	k.Salt, k.StoredKey, k.ServerKey = slices.Clone(k.Salt), slices.Clone(k.StoredKey), slices.Clone(k.ServerKey)
	return k
}

// pencils and passwords are what tests have derived already: it is slow under the race detector.
var (
	pencils   = map[scram.Hash]credential.ScramKeys{}
	passwords = map[string][]byte{}
)

// begun returns a handshake with SHA-256 that is challenged with pencil, and its challenge.
func begun(t testing.TB, plus bool, on *scram.Channel, first string) (*scram.Handshake, string) {
	t.Helper()
	hs, err := scram.Begin(scram.SHA256, plus, on, []byte(first))
	if err != nil {
		t.Fatalf("%q is refused: %s", first, err)
	}
	challenge, err := hs.Challenge([]credential.ScramKeys{pencil(t, scram.SHA256)})
	if err != nil {
		t.Fatal(err)
	}
	return hs, string(challenge)
}

// nonceOf takes the nonce out of a challenge.
func nonceOf(challenge string) string {
	nonce, _, _ := strings.Cut(challenge[len("r="):], ",")
	return nonce
}

// prove is a client, written here once more from RFC 5802, 3 so that tests can send what no client sends: it adds to
// unproven the proof of a password, with the salt and the iterations of the vectors.
func prove(t testing.TB, h scram.Hash, password, bare, challenge, unproven string) string {
	t.Helper()
	n := map[scram.Hash]func() hash.Hash{scram.SHA256: sha256.New, scram.SHA512: sha512.New}[h]
	mac := func(key []byte, text string) []byte {
		m := hmac.New(n, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	salted, known := passwords[h.Algorithm()+password]
	if !known {
		var err error
		if salted, err = pbkdf2.Key(n, password, salt(t), 4096, n().Size()); err != nil {
			t.Fatal(err)
		}
		passwords[h.Algorithm()+password] = salted
	}
	client := mac(salted, "Client Key")
	stored := n()
	stored.Write(client)
	for i, b := range mac(stored.Sum(nil), bare+","+challenge+","+unproven) {
		client[i] ^= b
	}
	return unproven + ",p=" + base64.StdEncoding.EncodeToString(client)
}

func wantCode(t testing.TB, err error, want scram.Code) {
	t.Helper()
	e, ok := errors.AsType[*scram.Error](err)
	switch {
	case want == "" && err != nil:
		t.Errorf("refused: %s", err)
	case want != "" && err == nil:
		t.Errorf("accepted, want %s", want)
	case want != "" && (!ok || e.Code != want):
		t.Errorf("%v, want %s", err, want)
	}
}

// wantMisuse expects that Finish is no longer, or not yet, possible, which is nobody's fault but the caller's.
func wantMisuse(t testing.TB, hs *scram.Handshake, final string) {
	t.Helper()
	_, _, err := hs.Finish([]byte(final))
	if _, ofClient := errors.AsType[*scram.Error](err); err == nil || ofClient {
		t.Errorf("a handshake that cannot end does: %v", err)
	}
}
