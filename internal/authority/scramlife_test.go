package authority

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cardea/internal/audit"
	"cardea/internal/credential"
	"cardea/internal/keyring"
	"cardea/internal/secret"
	"cardea/internal/store"
)

// R06: a rotation leaves salt, iterations and algorithm, so that one challenge serves both versions while they overlap.
func TestRotateScram(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Device, "pump-1")
	first := h.login(NewCredential{Kind: credential.SCRAM, Principal: "pump-1", Algorithm: credential.SHA512, Iterations: 4321})
	id := first.Credential.ID
	before := h.head()
	second, err := h.Rotate(t.Context(), h.local, id, Rotation{Overlap: time.Hour})
	h.must(err)
	ok, old := h.logsIn(id, 1, first.Secret.Reveal())
	also, now := h.logsIn(id, 2, second.Secret.Reveal())
	if !ok || !also || first.Secret.Reveal() == second.Secret.Reveal() {
		t.Errorf("the old one is good: %v, the new one: %v", ok, also)
	}
	if !bytes.Equal(old.Salt, now.Salt) || now.Iterations != 4321 || bytes.Equal(old.StoredKey, now.StoredKey) || second.Credential.Algorithm != credential.SHA512 {
		t.Errorf("%d iterations, %d", old.Iterations, now.Iterations)
	}
	if want := h.clock.now().Add(time.Hour); !second.PreviousEnds.Equal(want) || !second.Credential.ExpiresAt.Equal(h.clock.now().Add(1095*day)) {
		t.Errorf("the version before ends at %s, the credential at %s", second.PreviousEnds, second.Credential.ExpiresAt)
	}
	e := h.events(before)
	if d := e[0].Detail; types(e) != "credential.rotate" || d["username"] != "pump-1" || d["algorithm"] != "sha512" || d["iterations"] != "4321" || d["version"] != "2" {
		t.Errorf("event %s %s", types(e), d)
	}

	third, err := h.Rotate(t.Context(), h.local, id, Rotation{Overlap: time.Hour, Password: secret.NewText("of the caller's own")})
	h.must(err)
	if ok, k := h.logsIn(id, 3, "of the caller's own"); !ok || !third.Secret.IsZero() || !bytes.Equal(k.Salt, old.Salt) {
		t.Errorf("a given password: %v, shown: %v", ok, !third.Secret.IsZero())
	}
	h.clock.add(2 * time.Hour)
	_, err = h.Retire(t.Context(), h.local, id, 3, true)
	fails(t, err, credential.Conflict, "the only one")
	h.clock.add(1095 * day)
	fourth, err := h.Rotate(t.Context(), h.local, id, Rotation{Overlap: time.Hour}) // it has expired
	h.must(err)
	if alive := aliveProofs(&fourth.Credential, h.clock.now()); len(alive) != 1 || alive[0].N != 4 {
		t.Errorf("alive are %d versions", len(alive))
	}
}

// Imported keys take the place of a version: at once with what factors they like, with an overlap only with the same.
func TestRotateScramToImportedKeys(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	first := h.login(given("svc", "a password"))
	id := first.Credential.ID
	_, old := h.logsIn(id, 1, "")
	rotation := func(overlap time.Duration, algorithm string, salt []byte, iterations int) (Rotation, string) {
		n, password := imported(t, "svc", algorithm, salt, iterations)
		return Rotation{Overlap: overlap, Salt: n.Salt, StoredKey: n.StoredKey, ServerKey: n.ServerKey, Iterations: n.Iterations}, password
	}
	before := h.head()
	for _, tc := range []struct {
		overlap    time.Duration
		algorithm  string
		salt       []byte
		iterations int
		fields     string
	}{
		{time.Hour, credential.SHA256, []byte("another"), 4096, "salt"},
		{time.Hour, credential.SHA256, old.Salt, 5000, "iterations"},
		{time.Hour, credential.SHA256, []byte("another"), 5000, "iterations salt"},
		{0, credential.SHA512, old.Salt, 4096, "stored_key server_key"},
	} {
		r, _ := rotation(tc.overlap, tc.algorithm, tc.salt, tc.iterations)
		_, err := h.Rotate(t.Context(), h.local, id, r)
		fails(t, err, credential.Invalid)
		if fields(err) != tc.fields {
			t.Errorf("%+v: fields %s", tc, fields(err))
		}
	}
	for want, r := range map[string]Rotation{
		"iterations":                 {Iterations: 5000},
		"password":                   {Password: secret.NewText("SVC"), Overlap: time.Hour},
		"csr":                        {CSR: []byte("x")},
		"iterations server_key salt": {StoredKey: make([]byte, 32)},
	} {
		_, err := h.Rotate(t.Context(), h.local, id, r)
		fails(t, err, credential.Invalid)
		if got := fields(err); len(strings.Fields(got)) != len(strings.Fields(want)) || !strings.Contains(got, strings.Fields(want)[0]) {
			t.Errorf("fields %q, want %q", got, want)
		}
		if strings.Contains(sprint(r), "StoredKey") || strings.Contains(sprint(r), "SVC") { // K03
			t.Errorf("the request prints as %v", r)
		}
	}
	if h.head() != before {
		t.Fatal("something was stored")
	}
	r, password := rotation(time.Hour, credential.SHA256, old.Salt, 4096)
	is, err := h.Rotate(t.Context(), h.local, id, r)
	h.must(err)
	if ok, _ := h.logsIn(id, 2, password); !ok || !is.Secret.IsZero() {
		t.Errorf("with an overlap: %v, shown: %v", ok, !is.Secret.IsZero())
	}
	r, password = rotation(0, credential.SHA256, []byte("another"), 5000)
	is, err = h.Rotate(t.Context(), h.local, id, r)
	h.must(err)
	ok, k := h.logsIn(id, 3, password)
	if alive := aliveProofs(&is.Credential, h.clock.now()); !ok || k.Iterations != 5000 || len(alive) != 1 {
		t.Errorf("at once: %v, %d iterations, %d versions alive", ok, k.Iterations, len(alive))
	}
	other := h.apiKey("svc")
	_, err = h.Rotate(t.Context(), h.local, other.Credential.ID, r)
	fails(t, err, credential.Invalid)
	if fields(err) != "iterations stored_key server_key salt" {
		t.Errorf("an API key: fields %s", fields(err))
	}
}

// K11, O09, R10: whatever else is done to a SCRAM credential leaves user name, algorithm and keys alone.
func TestLifeOfAScramCredential(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	h.scope("s", allow("mqtt:publish", "a/#"))
	first := h.login(given("svc", "a password"))
	id := first.Credential.ID
	name, scopes := "other", []string{"s"}
	_, err := h.UpdateCredential(t.Context(), h.local, id, CredentialPatch{Name: &name, Scopes: &scopes})
	h.must(err)
	_, err = h.Extend(t.Context(), h.local, id, h.clock.now().Add(2000*day))
	h.must(err)
	_, err = h.Quarantine(t.Context(), h.local, id, "odd")
	h.must(err)
	_, err = h.Release(t.Context(), h.local, id, "not odd")
	h.must(err)
	rec, err := h.store.Named(t.Context(), credential.DefaultOrg, credential.SCRAM, "svc")
	h.must(err)
	c := rec.Credential
	if c.ID != id || c.Algorithm != credential.SHA256 || c.Name != "other" || len(c.Scopes) != 1 || !c.ExpiresAt.Equal(h.clock.now().Add(2000*day)) {
		t.Errorf("it is %+v", c)
	}
	if ok, _ := h.logsIn(id, 1, "a password"); !ok {
		t.Error("it is of another password")
	}
	_, err = h.Revoke(t.Context(), h.local, id, "lost")
	h.must(err)
	_, err = h.Rotate(t.Context(), h.local, id, Rotation{})
	fails(t, err, credential.Conflict, "final")
	if _, err := h.store.Named(t.Context(), credential.DefaultOrg, credential.SCRAM, "svc"); !credential.IsNotFound(err) {
		t.Errorf("the revoked one is found: %v", err)
	}
}

// J26: a SCRAM credential is issued and rotated by the same rights as any other.
func TestRightsOnScramCredentials(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc", credential.RoleAdmin)
	is := h.login(given("svc", "a password"))
	weak := h.caller("api:credentials:* /credentials/svc")
	_, err := h.CreateCredential(t.Context(), weak, NewCredential{Kind: credential.SCRAM, Principal: "svc", Username: "x"})
	fails(t, err, credential.NoRight)
	_, err = h.Rotate(t.Context(), weak, is.Credential.ID, Rotation{Password: secret.NewText("known to me"), Overlap: time.Hour})
	fails(t, err, credential.NoRight)
	_, err = h.CreateCredential(t.Context(), h.caller("api:credentials:create /credentials/other"), NewCredential{Kind: credential.SCRAM, Principal: "svc", Username: "svc"})
	fails(t, err, credential.NoRight) // and not that the user name is taken
}

// K01, K02, K03, A07: neither password nor keys are in the database, its log, a dump, an event or an answer that is read later.
func TestScramSecretsAreNowhere(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	made, err := h.CreateCredential(t.Context(), h.local, NewCredential{Kind: credential.SCRAM, Principal: "svc", Idempotency: "k1"})
	h.must(err)
	n := given("svc", "correct horse battery")
	n.Username, n.Idempotency = "given", "k2"
	own, err := h.CreateCredential(t.Context(), h.local, n)
	h.must(err)
	n, _ = imported(t, "svc", credential.SHA512, []byte("a salt from elsewhere"), 4096)
	n.Username, n.Idempotency = "imported", "k3"
	brought, err := h.CreateCredential(t.Context(), h.local, n)
	h.must(err)
	turned, err := h.Rotate(t.Context(), h.local, made.Credential.ID, Rotation{Overlap: day, Idempotency: "k4"})
	h.must(err)
	secrets := [][]byte{[]byte(made.Secret.Reveal()), []byte("correct horse battery"), []byte(turned.Secret.Reveal())}
	for _, of := range []struct {
		id string
		n  int
	}{{made.Credential.ID, 1}, {own.Credential.ID, 1}, {brought.Credential.ID, 1}, {made.Credential.ID, 2}} {
		_, k := h.logsIn(of.id, of.n, "")
		secrets = append(secrets, k.StoredKey, k.ServerKey, k.Salt)
	}
	fake, err := FakeSaltKey(h.ring, h.keys())
	h.must(err)
	secrets = append(secrets, fake)

	var all bytes.Buffer
	h.must(h.store.Dump(t.Context(), &all))
	files, err := filepath.Glob(filepath.Join(h.dir, "cardea.db*"))
	h.must(err)
	if len(files) < 2 {
		t.Fatalf("the database is %q, without a log", files)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		h.must(err)
		all.Write(b)
	}
	for _, e := range h.events(0) {
		line, err := audit.Line(&e)
		h.must(err)
		all.Write(line)
	}
	d, err := h.Credential(t.Context(), h.local, made.Credential.ID)
	h.must(err)
	listed, _, err := h.Credentials(t.Context(), h.local, credential.CredentialFilter{})
	h.must(err)
	text, err := json.Marshal([]any{d, listed})
	h.must(err)
	all.Write(text)
	all.WriteString(sprint(d, listed, made, own, brought, turned, n))
	if !bytes.Contains(all.Bytes(), made.Credential.Proofs[0].Hash[:8]) && !strings.Contains(all.String(), base64.StdEncoding.EncodeToString(made.Credential.Proofs[0].Hash)) {
		t.Fatal("what is stored is not in what is searched")
	}
	for i, s := range secrets {
		for form, text := range forms(s) {
			if strings.Contains(all.String(), text) {
				t.Errorf("secret %d is there in %s", i, form)
			}
		}
	}
}

// forms are the ways in which bytes may lie somewhere. In base64 they do so in three, by what stands before.
func forms(b []byte) map[string]string {
	out := map[string]string{
		"raw": string(b), "hex": hex.EncodeToString(b), "HEX": strings.ToUpper(hex.EncodeToString(b)), "JSON of bytes": strings.Trim(fmt.Sprint(b), "[]"),
	}
	for shift := range 3 {
		for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := enc.EncodeToString(append(make([]byte, shift), b...))
			out[fmt.Sprint(name, shift)] = text[4 : len(text)-4]
		}
	}
	return out
}

// keys are those of the database.
func (h *house) keys() []credential.Key {
	h.t.Helper()
	keys, err := h.store.Keys(h.t.Context())
	h.must(err)
	return keys
}

// An idempotency key gives the same answer to the same request, and another password is another request. What is kept of
// the request in the open does not tell passwords apart: it could be tried against (K01).
func TestScramIdempotency(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	create := func(key, username, password string) (Issued, error) {
		n := given("svc", password)
		n.Idempotency, n.Username = key, username
		return h.CreateCredential(t.Context(), h.local, n)
	}
	made, err := create("k1", "a", "")
	h.must(err)
	again, err := create("k1", "a", "")
	h.must(err)
	if made.Secret.Reveal() != again.Secret.Reveal() || made.Credential.ID != again.Credential.ID {
		t.Error("the second answer is another one")
	}
	_, err = create("k1", "a", "now with a password")
	fails(t, err, credential.Unprocessed)
	_, err = create("k2", "b", "a password")
	h.must(err)
	_, err = create("k2", "b", "a password")
	h.must(err)
	_, err = create("k2", "b", "b password")
	fails(t, err, credential.Unprocessed)
	is, err := h.Rotate(t.Context(), h.local, made.Credential.ID, Rotation{Overlap: day, Password: secret.NewText("a password"), Idempotency: "k3"})
	h.must(err)
	_, err = h.Rotate(t.Context(), h.local, is.Credential.ID, Rotation{Overlap: day, Password: secret.NewText("b password"), Idempotency: "k3"})
	fails(t, err, credential.Unprocessed)

	batch := func(first, second string) error {
		a, b := given("svc", first), given("svc", second)
		a.Idempotency, a.Username, b.Username = "k4", "c", "d"
		_, err := h.CreateCredentials(t.Context(), h.local, []NewCredential{a, b})
		return err
	}
	h.must(batch("a password", ""))
	h.must(batch("a password", ""))
	fails(t, batch("", "a password"), credential.Unprocessed) // whose it is counts

	one, err := newMemo(h.local, "x", "k", []any{given("svc", "one password")})
	h.must(err)
	two, err := newMemo(h.local, "x", "k", []any{given("svc", "two passwords")})
	h.must(err)
	if one.request != two.request {
		t.Error("the hash of the request depends on the password")
	}
}

// K15: keys that were moved to another record, or altered, open nowhere, and the others go on.
func TestMovedScramKeysDoNotOpen(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	a := h.login(NewCredential{Kind: credential.SCRAM, Principal: "svc", Username: "a"}).Credential
	b := h.login(NewCredential{Kind: credential.SCRAM, Principal: "svc", Username: "b"}).Credential
	h.sql("UPDATE credentials SET proofs = (SELECT proofs FROM credentials WHERE id = ?) WHERE id = ?", a.ID, b.ID)
	_, err := h.Rotate(t.Context(), h.local, b.ID, Rotation{Overlap: day})
	fails(t, err, credential.Internal)
	_, err = h.Rotate(t.Context(), h.local, a.ID, Rotation{Overlap: day})
	h.must(err)
	n, password := imported(t, "svc", credential.SHA256, []byte("salt"), 4096)
	_, err = h.Rotate(t.Context(), h.local, b.ID, Rotation{Salt: n.Salt, StoredKey: n.StoredKey, ServerKey: n.ServerKey, Iterations: 4096}) // which mends it
	h.must(err)
	if ok, _ := h.logsIn(b.ID, 2, password); !ok {
		t.Error("the new version is of another password")
	}
}

// S02: the secret for fake salts is the same after a restart, on another node, after a rotation of the master key and a restore.
func TestFakeSaltKeyStays(t *testing.T) {
	h := newHouse(t)
	key, err := FakeSaltKey(h.ring, h.keys())
	h.must(err)
	if len(key) != 32 || bytes.Equal(key, make([]byte, 32)) {
		t.Errorf("%d bytes", len(key))
	}
	same := func(when string) {
		t.Helper()
		again, err := FakeSaltKey(h.ring, h.keys())
		h.must(err)
		if !bytes.Equal(key, again) {
			t.Errorf("%s: it is another one", when)
		}
	}
	before := h.head()
	h.open()
	same("after a restart")
	if h.head() != before {
		t.Error("the second start made something")
	}
	h.must(RotateMaster(t.Context(), h.fault, h.ks, h.clock.now, nil))
	h.open()
	same("after a rotation of the master key")

	h.principal(credential.Service, "svc")
	is := h.login(given("svc", "a password"))
	var backup bytes.Buffer
	h.must(h.Backup(t.Context(), h.local, &backup))
	restored, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "cardea.db"), Now: h.clock.now})
	h.must(err)
	t.Cleanup(func() { restored.Close() })
	h.must(restored.Load(t.Context(), &backup, store.LoadConfig{}))
	h.store, h.fault = restored, &faulty{Store: restored}
	h.open()
	same("after a restore")
	if ok, _ := h.logsIn(is.Credential.ID, 1, "a password"); !ok {
		t.Error("after a restore the password is another one")
	}
}

// A database of a Cardea that knew no SCRAM gets the secret at the next start, and two houses have two.
func TestFakeSaltKeyIsMade(t *testing.T) {
	h := newHouse(t)
	first, err := FakeSaltKey(h.ring, h.keys())
	h.must(err)
	h.sql("DELETE FROM keys WHERE purpose = 'scram-fake'")
	_, err = FakeSaltKey(h.ring, h.keys())
	fails(t, err, credential.Down, "restart")
	before := h.head()
	h.open()
	second, err := FakeSaltKey(h.ring, h.keys())
	h.must(err)
	if e := h.events(before); types(e) != "key.create" || e[0].Subject.Name != "scram-fake" || bytes.Equal(first, second) {
		t.Errorf("events %s", types(e))
	}
	i := slices.IndexFunc(h.keys(), func(k credential.Key) bool { return k.Purpose == "scram-fake" })
	foreign, err := keyring.Open(keyring.Config{Dir: t.TempDir()}, false, "")
	h.must(err)
	data, err := foreign.NewDataKey(h.clock.now())
	h.must(err)
	ring, err := keyring.New(foreign, []credential.Key{data})
	h.must(err)
	_, err = FakeSaltKey(ring, h.keys()[i:i+1])
	fails(t, err, credential.Internal)
}
