package authority

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cardea/internal/credential"
	"cardea/internal/scram"
	"cardea/internal/secret"
)

// given is a wish with a password.
func given(principal, password string) NewCredential {
	return NewCredential{Kind: credential.SCRAM, Principal: principal, Password: secret.NewText(password)}
}

// imported is a wish with keys from elsewhere, of a password that only their maker knows.
func imported(t testing.TB, principal, algorithm string, salt []byte, iterations int) (NewCredential, string) {
	t.Helper()
	h, _ := scram.HashOf(algorithm)
	const password = "made elsewhere 4711"
	k, err := scram.Derive(h, password, salt, iterations)
	if err != nil {
		t.Fatal(err)
	}
	return NewCredential{
		Kind: credential.SCRAM, Principal: principal, Algorithm: algorithm,
		Salt: k.Salt, StoredKey: k.StoredKey, ServerKey: k.ServerKey, Iterations: k.Iterations,
	}, password
}

// login makes a SCRAM credential.
func (h *house) login(n NewCredential) Issued {
	h.t.Helper()
	is, err := h.CreateCredential(h.t.Context(), h.local, n)
	h.must(err)
	return is
}

// logsIn reports whether the stored version n of a credential is of a password, and returns its keys.
func (h *house) logsIn(id string, n int, password string) (bool, credential.ScramKeys) {
	h.t.Helper()
	rec, err := h.store.Credential(h.t.Context(), id)
	h.must(err)
	at := indexOf(rec.Credential.Proofs, n)
	if at < 0 {
		h.t.Fatalf("there is no version %d", n)
	}
	keys, err := h.scramKeys(id, &rec.Credential.Proofs[at])
	h.must(err)
	hash, _ := scram.HashOf(rec.Credential.Algorithm)
	return scram.Check(hash, &keys, password), keys
}

// A SCRAM credential has the principal's name, a password of Cardea's own that is shown once, and safe defaults.
func TestScramCredential(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Device, "pump-1")
	before := h.head()
	is := h.login(NewCredential{Kind: credential.SCRAM, Principal: "pump-1"})
	c := is.Credential
	if c.Username != "pump-1" || c.Algorithm != credential.SHA256 || c.Kind != credential.SCRAM || len(c.Proofs) != 1 {
		t.Errorf("made %+v", c)
	}
	password := is.Secret.Reveal()
	if len(password) != 24 || strings.Trim(password, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" { // K07
		t.Errorf("the password has %d characters", len(password))
	}
	ok, keys := h.logsIn(c.ID, 1, password)
	if !ok || len(keys.Salt) != 16 || keys.Iterations != 4096 {
		t.Errorf("%v, %d bytes of salt, %d iterations", ok, len(keys.Salt), keys.Iterations)
	}
	rec, err := h.store.Named(t.Context(), credential.DefaultOrg, credential.SCRAM, "pump-1")
	h.must(err)
	if rec.Credential.ID != c.ID || !bytes.Equal(rec.Credential.Proofs[0].Sealed, c.Proofs[0].Sealed) {
		t.Errorf("stored is %+v", rec.Credential)
	}
	e := h.events(before)
	want := fmt.Sprint(details{
		"kind": "scram", "username": "pump-1", "algorithm": "sha256", "iterations": "4096", "expires_at": stamp(h.clock.now().Add(1095 * day)),
	})
	if types(e) != "credential.create" || fmt.Sprint(details(e[0].Detail)) != want {
		t.Errorf("event %s %s, want %s", types(e), e[0].Detail, want)
	}
	other := h.login(NewCredential{Kind: credential.SCRAM, Principal: "pump-1", Username: "second", Algorithm: credential.SHA512, Iterations: 5000})
	ok, more := h.logsIn(other.Credential.ID, 1, other.Secret.Reveal())
	if !ok || more.Iterations != 5000 || len(more.StoredKey) != 64 || bytes.Equal(more.Salt, keys.Salt) || other.Secret.Reveal() == password {
		t.Errorf("the second one: %v, %d iterations, %d bytes", ok, more.Iterations, len(more.StoredKey))
	}
}

// Whoever brings a password or keys has them already: nothing is shown.
func TestScramCredentialsOfTheCallersOwn(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	h.principal(credential.User, "ada")
	for name, n := range map[string]NewCredential{
		"I\u00adX-\u2168-\u00aa12": given("svc", "I\u00adX-\u2168-\u00aa12"), // S09: the password "IX-IX-a12"
		"p, =\"\\päss":             given("ada", "p, =\"\\päss"),
	} {
		is := h.login(n)
		ok, _ := h.logsIn(is.Credential.ID, 1, name)
		if !ok || !is.Secret.IsZero() {
			t.Errorf("a given password: %v, shown %v", ok, !is.Secret.IsZero())
		}
		h.must(h.DeleteCredential(t.Context(), h.local, is.Credential.ID, ""))
	}
	for _, algorithm := range []string{credential.SHA256, credential.SHA512} {
		for _, salt := range []string{"s", "0123456789abcdef", strings.Repeat("hexhex", 10)} {
			n, password := imported(t, "svc", algorithm, []byte(salt), 4097)
			is := h.login(n)
			ok, keys := h.logsIn(is.Credential.ID, 1, password)
			if !ok || !is.Secret.IsZero() || string(keys.Salt) != salt || keys.Iterations != 4097 {
				t.Errorf("imported %s with salt %q: %v, %d iterations", algorithm, salt, ok, keys.Iterations)
			}
			h.must(h.DeleteCredential(t.Context(), h.local, is.Credential.ID, ""))
		}
	}
}

// S08, K11 and the form of what is given: each mistake is named by its field, and nothing is stored.
func TestBadScramCredentials(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	pass := secret.NewText("long enough")
	token := secret.NewText("cardea_api_" + strings.Repeat("a", 50))
	key := make([]byte, 32)
	scr := func(n NewCredential) NewCredential { n.Kind, n.Principal = credential.SCRAM, "svc"; return n }
	api := func(n NewCredential) NewCredential { n.Kind, n.Principal = credential.APIKey, "svc"; return n }
	before := h.head()
	for what, tc := range map[string]struct {
		fields string
		n      NewCredential
	}{
		"algorithm":            {"algorithm", scr(NewCredential{Algorithm: "sha1"})},
		"algorithm in capital": {"algorithm", scr(NewCredential{Algorithm: "SHA256"})},
		"few iterations":       {"iterations", scr(NewCredential{Iterations: 4095})},
		"negative iterations":  {"iterations", scr(NewCredential{Password: pass, Iterations: -1})},
		"too many iterations":  {"iterations", scr(NewCredential{Iterations: 10_000_001})},
		"10^9 iterations":      {"iterations", scr(NewCredential{Salt: key, StoredKey: key, ServerKey: key, Iterations: 1e9})},
		"password and keys":    {"password", scr(NewCredential{Password: pass, Salt: key, StoredKey: key, ServerKey: key, Iterations: 4096})},
		"salt alone":           {"iterations stored_key server_key", scr(NewCredential{Salt: key})},
		"stored key alone":     {"salt iterations server_key", scr(NewCredential{StoredKey: key})},
		"server key alone":     {"salt stored_key", scr(NewCredential{ServerKey: key, Iterations: 4096})},
		"no iterations":        {"iterations", scr(NewCredential{Salt: key, StoredKey: key, ServerKey: key})},
		"few with keys":        {"iterations", scr(NewCredential{Salt: key, StoredKey: key, ServerKey: key, Iterations: 1})},
		"keys of the other":    {"stored_key server_key", scr(NewCredential{Algorithm: "sha512", Salt: key, StoredKey: key, ServerKey: key, Iterations: 4096})},
		"keys too long":        {"stored_key", scr(NewCredential{Salt: key, StoredKey: make([]byte, 33), ServerKey: key, Iterations: 4096})},
		"long salt":            {"salt", scr(NewCredential{Salt: make([]byte, 1025), StoredKey: key, ServerKey: key, Iterations: 4096})},
		"short password":       {"password", scr(NewCredential{Password: secret.NewText("1234567")})},
		"short when prepared":  {"password", scr(NewCredential{Password: secret.NewText("1234\u00ad\u00ad\u00ad567")})},
		"long password":        {"password", scr(NewCredential{Password: secret.NewText(strings.Repeat("x", 257))})},
		"control character":    {"password", scr(NewCredential{Password: secret.NewText("long\tenough")})},
		"password not UTF-8":   {"password", scr(NewCredential{Password: secret.NewText("long enough\xff")})},
		"mixed directions":     {"password", scr(NewCredential{Password: secret.NewText("\u0627longenough1")})},
		"the user name":        {"password", scr(NewCredential{Username: "longenough", Password: secret.NewText("LongEnough")})},
		"a token":              {"password", scr(NewCredential{Password: token})},
		"token as user name":   {"username", scr(NewCredential{Username: "x" + token.Reveal()})},
		"user name for others": {"username", api(NewCredential{Username: "x"})},
		"everything for others": {
			"username algorithm password iterations stored_key server_key salt",
			api(NewCredential{Username: "x", Algorithm: "sha256", Password: pass, Iterations: 4096, Salt: key, StoredKey: key, ServerKey: key}),
		},
		"request": {"csr", scr(NewCredential{CSR: []byte("x")})},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := h.CreateCredential(t.Context(), h.local, tc.n)
			fails(t, err, credential.Invalid)
			if got := fields(err); got != tc.fields {
				t.Errorf("fields %q, want %q", got, tc.fields)
			}
			if p := tc.n.Password.Reveal(); p != "" && strings.Contains(fmt.Sprintf("%+v", err), p) { // K03
				t.Error("the error holds the password")
			}
			if strings.Contains(sprint(tc.n), "long") || strings.Contains(sprint(tc.n), "0 0 0") { // K03
				t.Errorf("the request prints as %v", tc.n)
			}
		})
	}
	if h.head() != before {
		t.Error("something was stored")
	}
}

// S09: a user name is kept as SASLprep has it, so that what a client sends finds it.
func TestUserNames(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	for name, want := range map[string]string{
		"plain": "plain", "A,b=c": "A,b=c", "=2C": "=2C", "a b": "a b", "Ünal": "Ünal", "pump/1+#?${x}": "pump/1+#?${x}",
		"I\u00adX": "IX", "\u2168": "IX", "\u00aa": "a", "a\u00a0b": "a b", // RFC 4013, 3
		strings.Repeat("x", 256): strings.Repeat("x", 256), "\u0627\u0628": "\u0627\u0628",
	} {
		is := h.login(NewCredential{Kind: credential.SCRAM, Principal: "svc", Username: name})
		if is.Credential.Username != want {
			t.Errorf("%q is kept as %q, want %q", name, is.Credential.Username, want)
		}
		h.must(h.DeleteCredential(t.Context(), h.local, is.Credential.ID, ""))
	}
	for what, name := range map[string]string{
		"a NUL": "a\x00b", "a line end": "a\nb", "a DEL": "a\x7f", "a control character": "a\u0085b", "escape": "\x1b[2J", // A09
		"too long": strings.Repeat("x", 257), "too long when prepared": strings.Repeat("\u33a8", 80), "not UTF-8": "a\xff",
		"nothing left": "\u00ad", "directions": "\u06271", "a direction mark": "a\u202eb", "unassigned": "a\U0001f600",
		"private": "a\ue000", "a surrogate": "\xed\xa0\x80",
	} {
		_, err := h.CreateCredential(t.Context(), h.local, NewCredential{Kind: credential.SCRAM, Principal: "svc", Username: name})
		if err == nil || fields(err) != "username" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// S09: what is kept is what every form of it that a client may send becomes.
func TestKeptUserNamesAreStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.String().Draw(t, "name")
		var p credential.Problems
		kept := checkUsername(&p, name)
		if len(p) > 0 {
			return
		}
		for _, sent := range []string{name, kept} {
			if got, err := scram.Prepare(sent); err != nil || got != kept {
				t.Fatalf("%q is kept as %q, but a login with %q looks for %q, %v", name, kept, sent, got, err)
			}
		}
	})
}

// A user name leads to one credential: the second one is refused, with the reason, until the first has ended.
func TestUserNamesAreUnique(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Device, "pump-1")
	h.principal(credential.Device, "pump-2")
	first := h.login(NewCredential{Kind: credential.SCRAM, Principal: "pump-1", Username: "press-1"})
	taken := NewCredential{Kind: credential.SCRAM, Principal: "pump-2", Username: "press\u00ad-1"}
	before := h.head()
	again := func() {
		t.Helper()
		for range 2 {
			_, err := h.CreateCredential(t.Context(), h.local, taken)
			fails(t, err, credential.Exists, `the user name "press-1" is taken in the organisation default`)
		}
		_, err := h.CreateCredentials(t.Context(), h.local, []NewCredential{{Kind: credential.DeviceToken, Principal: "pump-2"}, taken})
		fails(t, err, credential.Exists, `"press-1"`)
	}
	again()
	if h.head() != before {
		t.Error("something was stored")
	}
	_, err := h.Quarantine(t.Context(), h.local, first.Credential.ID, "")
	h.must(err)
	again()
	_, err = h.Revoke(t.Context(), h.local, first.Credential.ID, "")
	h.must(err)
	second := h.login(taken)
	h.must(h.DeletePrincipal(t.Context(), h.local, "pump-2", ""))
	if third := h.login(NewCredential{Kind: credential.SCRAM, Principal: "pump-1", Username: "press-1"}); third.Credential.Username != second.Credential.Username {
		t.Errorf("the user name is %q", third.Credential.Username)
	}
}

// Of several that want a user name at once one gets it, and the others are told why not.
func TestUserNameWantedAtOnce(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	var wg sync.WaitGroup
	var made [4]Issued
	var errs [4]error
	for i := range made {
		wg.Go(func() {
			made[i], errs[i] = h.CreateCredential(t.Context(), h.local, NewCredential{Kind: credential.SCRAM, Principal: "svc", Username: "one"})
		})
	}
	wg.Wait()
	n := 0
	for i, err := range errs {
		if err == nil {
			n++
			if ok, _ := h.logsIn(made[i].Credential.ID, 1, made[i].Secret.Reveal()); !ok {
				t.Error("the password that was shown is not that of the credential")
			}
			continue
		}
		fails(t, err, credential.Exists, `the user name "one" is taken`)
	}
	if n != 1 {
		t.Errorf("%d were made", n)
	}
}

// One request for many: a name twice and more work than one may ask for are refused before any work is done.
func TestManyScramCredentials(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	wish := func(name string, iterations int) NewCredential {
		return NewCredential{Kind: credential.SCRAM, Principal: "svc", Username: name, Iterations: iterations}
	}
	before := h.head()
	_, err := h.CreateCredentials(t.Context(), h.local, []NewCredential{wish("a", 0), wish("b", 0), wish("\u00aa", 0)})
	fails(t, err, credential.Invalid)
	if fields(err) != "credentials[2].username" {
		t.Errorf("fields %s", fields(err))
	}
	_, err = h.CreateCredentials(t.Context(), h.local, []NewCredential{wish("a", 9_999_000), wish("b", 0)})
	fails(t, err, credential.Invalid)
	if fields(err) != "credentials" || h.head() != before {
		t.Errorf("fields %s", fields(err))
	}
	keys, password := imported(t, "svc", credential.SHA512, []byte("salt"), 4096)
	all, err := h.CreateCredentials(t.Context(), h.local, []NewCredential{wish("a", 0), {Kind: credential.APIKey, Principal: "svc"}, wish("b", 4200), keys})
	h.must(err)
	for i, want := range []string{all[0].Secret.Reveal(), "", all[2].Secret.Reveal(), password} {
		if want != "" {
			if ok, _ := h.logsIn(all[i].Credential.ID, 1, want); !ok {
				t.Errorf("credential %d is of another password", i)
			}
		}
	}
}

// An attempt that is overtaken shows the password that is stored.
// How another principal is called is no user name: it is that one's own by default.
func TestScramUsernameOfAnother(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Device, "pump-1")
	h.principal(credential.Device, "pump-2")
	_, err := h.CreateCredential(t.Context(), h.local, NewCredential{Kind: credential.SCRAM, Principal: "pump-1", Username: "pump-2"})
	fails(t, err, credential.Exists, `the user name "pump-2" is the name of another principal`)
	_, err = h.CreateCredential(t.Context(), h.local, NewCredential{Kind: credential.SCRAM, Principal: "pump-2"})
	h.must(err)
}

func TestScramCreationOvertaken(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	turns := 0
	h.fault.set(func(credential.Change) error {
		if turns++; turns < 3 {
			return credential.Errorf(credential.Conflict, "somebody was faster")
		}
		return nil
	}, nil)
	is := h.login(NewCredential{Kind: credential.SCRAM, Principal: "svc"})
	if ok, _ := h.logsIn(is.Credential.ID, 1, is.Secret.Reveal()); !ok || turns != 3 {
		t.Errorf("%v after %d attempts", ok, turns)
	}
	turns = 0
	is, err := h.Rotate(t.Context(), h.local, is.Credential.ID, Rotation{Overlap: time.Hour})
	h.must(err)
	if ok, _ := h.logsIn(is.Credential.ID, 2, is.Secret.Reveal()); !ok || turns != 3 {
		t.Errorf("rotation: %v after %d attempts", ok, turns)
	}
}
