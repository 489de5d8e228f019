package secret

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"cardea/internal/credential"
)

// slowVectors were made by others: the reference implementation of argon2 (its test.c), crypt_blowfish's and libxcrypt's bcrypt.
var slowVectors = []struct{ text, hash string }{
	{"password", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
	{"password", "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"},
	{"password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
	{"U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},
	{"U*U*", "$2b$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"},
	{"U*U*U", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"},
	{"", "$2b$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy"},
	{"ßüé-Καλημέρα", "$2y$05$abcdefghijklmnopqrstuuKGU0NUlp5k8VOjZLNien2Iy17xc2cn2"},
	{"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", "$2y$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui"},
}

func verify(t *testing.T, phc, text string) bool {
	t.Helper()
	ok, err := VerifyHash(t.Context(), phc, text)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func TestHashesOfOthersAreVerified(t *testing.T) {
	for _, v := range slowVectors {
		if err := CheckHash(v.hash); err != nil {
			t.Errorf("%.16s… %v", v.hash, err)
		}
		if !verify(t, v.hash, v.text) {
			t.Errorf("%.16s… is not the hash of %q", v.hash, v.text)
		}
		if verify(t, v.hash, v.text+"x") || verify(t, v.hash, "x"+v.text) {
			t.Errorf("%.16s… is the hash of more than %q", v.hash, v.text)
		}
	}
}

// What bcrypt does not see is not taken for right: the visible part of a long token may be public.
func TestBcryptSeesAllOrNothing(t *testing.T) {
	long := slowVectors[len(slowVectors)-1]
	for _, more := range []string{"c", "chars after 72 are ignored"} {
		if verify(t, long.hash, long.text+more) {
			t.Errorf("%d bytes match by their first 72", len(long.text+more))
		}
	}
}

func TestHashPassword(t *testing.T) {
	const text = "an uncommon pässphrase"
	a, err := HashPassword(t.Context(), text)
	if err != nil || CheckHash(a) != nil || !strings.HasPrefix(a, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("%v, %v", err, CheckHash(a))
	}
	b, err := HashPassword(t.Context(), text)
	if err != nil || a == b {
		t.Errorf("two hashes of one password are the same: it has no salt; %v", err)
	}
	if !verify(t, a, text) || verify(t, a, "another") || verify(t, a, "") {
		t.Error("the hash is not the password's alone")
	}
}

// An unknown user costs what a known one does: the same parameters, and never a yes.
func TestNoHash(t *testing.T) { // E02
	known, err := HashPassword(t.Context(), "anything")
	if err != nil {
		t.Fatal(err)
	}
	cut := func(s string) string { return strings.Join(strings.Split(s, "$")[:4], "$") }
	if cut(NoHash()) != cut(known) || len(NoHash()) != len(known) || CheckHash(NoHash()) != nil {
		t.Errorf("%s is another sort of hash than %s", cut(NoHash()), cut(known))
	}
	for _, text := range []string{"", "anything", NoHash()} {
		if verify(t, NoHash(), text) {
			t.Errorf("%q matches", text)
		}
	}
}

func TestCheckHashRefuses(t *testing.T) {
	const salt, key = "c29tZXNhbHQ", "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	argon := func(params, salt, key string) string { return "$argon2id$v=19$" + params + "$" + salt + "$" + key }
	const digits53 = "CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
	for phc, want := range map[string]string{
		"":       "neither argon2id",
		"secret": "neither argon2id",
		"$argon2i$v=19$m=256,t=2,p=1$" + salt + "$" + key:     "neither argon2id",
		"$2x$05$" + digits53:                                  "neither argon2id",
		"$2$05$" + digits53:                                   "neither argon2id",
		"$argon2id$m=256,t=2,p=1$" + salt + "$" + key:         "version 19",
		"$argon2id$v=16$m=256,t=2,p=1$" + salt + "$" + key:    "version 19",
		argon("m=256,t=2,p=1", salt, key) + "$":               "version 19",
		argon("t=2,m=256,p=1", salt, key):                     "other parameters",
		argon("m=256,t=2", salt, key):                         "other parameters",
		argon("m=256,t=2,p=1,data=x", salt, key):              "other parameters",
		argon("m=+256,t=2,p=1", salt, key):                    "other parameters",
		argon("m=0256,t=2,p=1", salt, key):                    "other parameters",
		argon("m=256,t=2,p=4294967297", salt, key):            "other parameters",
		argon("m=262145,t=2,p=1", salt, key):                  "m out of bounds",
		argon("m=7,t=2,p=1", salt, key):                       "m out of bounds",
		argon("m=15,t=2,p=2", salt, key):                      "m out of bounds",
		argon("m=256,t=0,p=1", salt, key):                     "t out of bounds",
		argon("m=256,t=17,p=1", salt, key):                    "t out of bounds",
		argon("m=256,t=2,p=0", salt, key):                     "p out of bounds",
		argon("m=256,t=2,p=17", salt, key):                    "p out of bounds",
		argon("m=256,t=2,p=257", salt, key):                   "p out of bounds", // 1 as a byte
		argon("m=256,t=2,p=1", "", key):                       "a salt that is not",
		argon("m=256,t=2,p=1", "c29tZXNhbA==", key):           "a salt that is not",
		argon("m=256,t=2,p=1", "c29tZXM", key):                "a salt that is not",
		argon("m=256,t=2,p=1", strings.Repeat("A", 90), key):  "a salt that is not",
		argon("m=256,t=2,p=1", "c29tZX\nNhbHQ", key):          "a salt that is not",
		argon("m=256,t=2,p=1", salt, key+"="):                 "a hash that is not",
		argon("m=256,t=2,p=1", salt, key[:42]+"5"):            "a hash that is not", // bits behind the last byte
		argon("m=256,t=2,p=1", salt, key[:20]):                "a hash that is not",
		argon("m=256,t=2,p=1", salt, strings.Repeat("A", 90)): "a hash that is not",
		strings.Repeat("$argon2id$", 60):                      "longer than",
		"$2b$15$" + digits53:                                  "cost of bcrypt out of bounds",
		"$2b$31$" + digits53:                                  "cost of bcrypt out of bounds",
		"$2b$03$" + digits53:                                  "cost of bcrypt out of bounds",
		"$2b$+5$" + digits53:                                  "cost of bcrypt out of bounds",
		"$2b$05$" + digits53[1:]:                              "is not bcrypt",
		"$2b$05$" + digits53 + "C":                            "is not bcrypt",
		"$2b$05$" + digits53[:20] + "+" + digits53[21:]:       "is not bcrypt",
		"$2b$055" + digits53:                                  "is not bcrypt",
	} {
		err := CheckHash(phc)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", phc, err, want)
		}
		if ok, err := VerifyHash(t.Context(), phc, "password"); ok || err == nil {
			t.Errorf("%q is computed", phc)
		}
	}
}

// Without random bytes there is no hash.
func TestHashWantsASalt(t *testing.T) { // K08
	broken := errors.New("no entropy")
	if phc, err := hashPassword(t.Context(), iotest.ErrReader(broken), "x"); !errors.Is(err, broken) || phc != "" {
		t.Errorf("%q, %v", phc, err)
	}
}

// A context that has ended is heeded before any work is done.
func TestHashHeedsTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, hashErr := HashPassword(ctx, "x")
	ok, verifyErr := VerifyHash(ctx, slowVectors[0].hash, slowVectors[0].text)
	for _, err := range []error{hashErr, verifyErr} {
		if !errors.Is(err, context.Canceled) || credential.KindOf(err) != credential.Down {
			t.Errorf("%v", err)
		}
	}
	if ok {
		t.Error("a password was accepted without being checked")
	}
}

// Two run, three wait, the sixth is refused; who gives up makes room.
func TestTurns(t *testing.T) { // E01
	synctest.Test(t, func(t *testing.T) {
		q := newTurns(2, 3)
		var running, most, done atomic.Int32
		gate := make(chan struct{})
		work := func() {
			most.Store(max(most.Load(), running.Add(1)))
			<-gate
			running.Add(-1)
			done.Add(1)
		}
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				if err := q.do(t.Context(), work); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error, 1)
		group.Go(func() { gaveUp <- q.do(ctx, work) })
		synctest.Wait()
		if err := q.do(t.Context(), work); credential.KindOf(err) != credential.Down || running.Load() != 2 {
			t.Errorf("the sixth gets %v, %d run", err, running.Load())
		}
		cancel()
		if err := <-gaveUp; !errors.Is(err, context.Canceled) || credential.KindOf(err) != credential.Down {
			t.Errorf("who gave up gets %v", err)
		}
		group.Go(func() {
			if err := q.do(t.Context(), work); err != nil {
				t.Errorf("there is room again: %v", err)
			}
		})
		synctest.Wait()
		close(gate)
		group.Wait()
		if most.Load() != 2 || done.Load() != 5 {
			t.Errorf("%d ran at once, %d in all", most.Load(), done.Load())
		}
	})
}

// FuzzCheckHash: what is taken has bounded costs, is written one way only, and its message never holds the input.
func FuzzCheckHash(f *testing.F) {
	for _, v := range slowVectors {
		f.Add(v.hash)
	}
	f.Add("$argon2id$v=19$m=4294967295,t=4294967295,p=255$AAAA$AAAA")
	f.Fuzz(func(t *testing.T, phc string) {
		h, err := parseHash(phc)
		if err != nil {
			if len(phc) > 60 && strings.Contains(err.Error(), phc) {
				t.Errorf("the message holds the hash: %v", err)
			}
			return
		}
		switch h := h.(type) {
		case argonHash:
			if h.String() != phc || h.memory > maxMemory || h.memory < 8*h.threads || h.time > maxTime || h.threads > maxThreads || h.time*h.threads == 0 {
				t.Errorf("%q is read as %v", phc, h)
			}
		case bcryptHash:
			if string(h) != phc || phc[4:6] > "14" || phc[4:6] < "04" {
				t.Errorf("%q is read as %v", phc, h)
			}
		}
	})
}
