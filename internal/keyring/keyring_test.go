package keyring

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cardea/internal/credential"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return noon }

func config(dir string) Config { return Config{Dir: dir, Now: clock} }

func mustOpen(t *testing.T, c Config, sealed bool, check string) *Keystore {
	t.Helper()
	k, err := Open(c, sealed, check)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return k
}

// refuses fails the test unless err is a credential error of the kind whose public text has all of the parts.
func refuses(t *testing.T, err error, kind credential.ErrorKind, parts ...string) {
	t.Helper()
	e, ok := errors.AsType[*credential.Error](err)
	if !ok {
		t.Fatalf("error is %v, want a credential.Error", err)
	}
	if e.Kind != kind {
		t.Errorf("kind of %q is %d, want %d", e, e.Kind, kind)
	}
	for _, p := range parts {
		if !strings.Contains(e.Error(), p) {
			t.Errorf("error %q does not say %q", e, p)
		}
	}
}

// listing is what a folder holds: names and contents.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

func edit(t *testing.T, path string, change func(string) string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(change(string(b))), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFirstStartMakesTwoClosedFiles(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0)) // C02: the modes do not depend on it
	dir := t.TempDir()
	k := mustOpen(t, config(dir), false, "")
	files := listing(t, dir)
	if len(files) != 2 {
		t.Fatalf("the folder holds %v", files)
	}
	for _, name := range []string{keystoreName, passwordName} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 {
			t.Errorf("mode of %s is %v", name, info.Mode())
		}
	}
	var doc map[string]any
	if err := json.Unmarshal([]byte(files[keystoreName]), &doc); err != nil {
		t.Fatal(err)
	}
	if doc["version"] != 1.0 || doc["id"] != k.ID() || doc["created_at"] != "2026-03-01T12:00:00Z" {
		t.Errorf("keystore.json is %v", doc)
	}
	// K01: nothing that opens anything stands in keystore.json.
	for _, secret := range [][]byte{k.kek, k.secret, k.masters[0].key, []byte(strings.TrimSpace(files[passwordName]))} {
		for _, form := range []string{string(secret), base64.StdEncoding.EncodeToString(secret), fmt.Sprintf("%x", secret)} {
			if strings.Contains(files[keystoreName], form) {
				t.Error("keystore.json holds a secret in the clear")
			}
		}
	}
}

func TestTheKeystoreIsTheSameAfterARestart(t *testing.T) {
	dir := t.TempDir()
	k := mustOpen(t, config(dir), false, "")
	key, err := k.NewDataKey(noon)
	if err != nil {
		t.Fatal(err)
	}
	before := listing(t, dir)
	again := mustOpen(t, config(dir), true, k.Check())
	if again.ID() != k.ID() || again.Check() != k.Check() || !slices.Equal(again.Masters(), k.Masters()) {
		t.Error("id, check value or master keys differ after a restart")
	}
	if _, err := New(again, []credential.Key{key}); err != nil {
		t.Errorf("a data key from before does not open: %v", err)
	}
	if diff := cmp.Diff(before, listing(t, dir)); diff != "" {
		t.Errorf("the restart changed the folder: %s", diff)
	}
	if len(k.Check()) != 64 {
		t.Errorf("check value %q", k.Check())
	}
}

func TestALostKeystoreIsNeverReplaced(t *testing.T) { // K12
	tests := []struct {
		name   string
		lose   []string
		sealed bool
		check  string
		says   string
	}{
		{"both files", []string{keystoreName, passwordName}, true, "", keystoreName},
		{"both files, the database has a check value", []string{keystoreName, passwordName}, false, "abc", keystoreName},
		{"keystore.json", []string{keystoreName}, true, "", keystoreName},
		{"the password", []string{passwordName}, true, "", passwordName},
		{"the password, new database", []string{passwordName}, false, "", passwordName},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			mustOpen(t, config(dir), false, "")
			for _, name := range test.lose {
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			before := listing(t, dir)
			_, err := Open(config(dir), test.sealed, test.check)
			refuses(t, err, credential.Down, filepath.Join(dir, test.says), "missing", "put it back", "nothing was written")
			if diff := cmp.Diff(before, listing(t, dir)); diff != "" {
				t.Errorf("something was written: %s", diff)
			}
		})
	}
}

func TestAForeignKeystoreIsRefused(t *testing.T) { // K14
	mine, theirs := t.TempDir(), t.TempDir()
	check := mustOpen(t, config(mine), false, "").Check()
	k := mustOpen(t, config(theirs), false, "")
	_, err := Open(config(theirs), true, check)
	refuses(t, err, credential.Invalid, filepath.Join(theirs, keystoreName), "another installation", k.ID())

	// One file of each: the password does not open the other's keystore.
	edit(t, filepath.Join(theirs, passwordName), func(string) string { return listing(t, mine)[passwordName] })
	_, err = Open(config(theirs), true, k.Check())
	refuses(t, err, credential.Invalid, filepath.Join(theirs, keystoreName), "password does not open", passwordName)
}

func TestAKeystoreThatCannotBeReadIsRefused(t *testing.T) {
	swap := func(old, new string) func(string) string {
		return func(s string) string {
			if !strings.Contains(s, old) {
				panic("the test expects " + old)
			}
			return strings.Replace(s, old, new, 1)
		}
	}
	tests := []struct {
		name   string
		change func(string) string
		says   string
	}{
		{"empty", func(string) string { return "" }, "damaged"},
		{"cut in the middle", func(s string) string { return s[:len(s)/2] }, "damaged"},
		{"something after it", func(s string) string { return s + "{}" }, "damaged"},
		{"unknown member", swap(`"id"`, `"extra": 1, "id"`), "damaged"},
		{"no version", swap(`"version": 1,`, ``), "damaged"},
		{"newer version", swap(`"version": 1`, `"version": 2, "more": {}`), "version 2"},
		{"unknown kdf", swap(kdfHKDF, "rot13"), "damaged"},
		{"kdf that would eat the machine", swap(`"`+kdfHKDF+`",`, `"argon2id","memory_kib":4294967295,"time":1,"threads":1,`), "damaged"},
		{"no master key", func(s string) string { return s[:strings.Index(s, `"masters"`)] + `"masters":[]}` }, "damaged"},
		{"too long", func(s string) string { return s + strings.Repeat(" ", maxFile) }, "longer than"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			mustOpen(t, config(dir), false, "")
			path := filepath.Join(dir, keystoreName)
			edit(t, path, test.change)
			before := listing(t, dir)
			for _, sealed := range []bool{true, false} {
				_, err := Open(config(dir), sealed, "")
				refuses(t, err, credential.Invalid, path, test.says)
			}
			if diff := cmp.Diff(before, listing(t, dir)); diff != "" {
				t.Errorf("something was written: %s", diff)
			}
		})
	}
}

// No single altered byte leads to other keys than those that were written.
func TestAnAlteredKeystoreOpensWithTheSameKeysOrNotAtAll(t *testing.T) { // K15
	dir := t.TempDir()
	k := mustOpen(t, config(dir), false, "")
	if err := k.AddMaster(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, keystoreName)
	good := listing(t, dir)[keystoreName]
	opened := 0
	for i := range good {
		for _, flip := range []byte{1, 32} {
			bad := []byte(good)
			bad[i] ^= flip
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := Open(config(dir), true, k.Check())
			if err != nil {
				refuses(t, err, credential.Invalid, path)
				continue
			}
			opened++
			if got.ID() != k.ID() || !bytes.Equal(got.masters[0].key, k.masters[0].key) || !bytes.Equal(got.masters[1].key, k.masters[1].key) {
				t.Fatalf("byte %d altered: other keys", i)
			}
		}
	}
	if opened > len(good)/2 {
		t.Errorf("%d of %d altered files were accepted: more than white space and the date can explain", opened, 2*len(good))
	}
}

func TestFilesThatOthersCanTouchAreRefused(t *testing.T) { // K13
	chmod := func(mode fs.FileMode) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	instead := func(make func(path string) error) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := errors.Join(os.Rename(path, path+".aside"), make(path)); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name    string
		do      func(*testing.T, string)
		says    string
		anyMode bool // what AnyMode accepts
	}{
		{"readable by all", chmod(0o644), "mode 0644", true},
		{"readable by the group", chmod(0o640), "mode 0640", true},
		{"writable by the group", chmod(0o620), "mode 0620", true},
		{"readable by others alone", chmod(0o604), "mode 0604", true},
		{"symbolic link", instead(func(p string) error { return os.Symlink(p+".aside", p) }), "symbolic link", false},
		{"folder", instead(func(p string) error { return os.Mkdir(p, 0o700) }), "not a regular file", false},
		{"pipe", instead(func(p string) error { return syscall.Mkfifo(p, 0o600) }), "not a regular file", false},
	}
	for _, test := range tests {
		for _, name := range []string{keystoreName, passwordName} {
			t.Run(test.name+"/"+name, func(t *testing.T) {
				dir := t.TempDir()
				check := mustOpen(t, config(dir), false, "").Check()
				path := filepath.Join(dir, name)
				test.do(t, path)
				_, err := Open(config(dir), true, check)
				refuses(t, err, credential.Invalid, path, test.says)
				c := config(dir)
				c.AnyMode = true
				if _, err = Open(c, true, check); (err == nil) != test.anyMode {
					t.Errorf("with AnyMode: %v", err)
				}
			})
		}
	}
}

func TestAFileOfAnotherUserIsRefused(t *testing.T) { // K13
	path := "/etc/passwd" // belongs to root
	if os.Geteuid() == 0 {
		path = filepath.Join(t.TempDir(), "file")
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chown(path, 1, 1)); err != nil {
			t.Fatal(err)
		}
	}
	f := files{dir: filepath.Dir(path)}
	_, err := f.read(filepath.Base(path))
	refuses(t, err, credential.Invalid, path, "belongs to user", "change the owner")
	f.anyMode = true
	if _, err := f.read(filepath.Base(path)); err != nil {
		t.Errorf("with AnyMode: %v", err)
	}
}

func TestAGivenPasswordIsStretched(t *testing.T) {
	dir := t.TempDir()
	c := config(dir)
	c.Password = func() ([]byte, error) { return []byte("pw\n"), nil }
	check := mustOpen(t, c, false, "").Check()
	text := listing(t, dir)
	if len(text) != 1 || !strings.Contains(text[keystoreName], `"argon2id"`) || !strings.Contains(text[keystoreName], `"memory_kib": 19456`) {
		t.Errorf("the folder holds %v", text)
	}
	c.Password = func() ([]byte, error) { return []byte("pw"), nil } // the line end was not part of it
	mustOpen(t, c, true, check)

	c.Password = func() ([]byte, error) { return []byte("wrong"), nil }
	_, err := Open(c, true, check)
	refuses(t, err, credential.Invalid, "password does not open")
	c.Password = nil
	_, err = Open(c, true, check)
	refuses(t, err, credential.Down, passwordName, "by environment or command")
	c.Password = func() ([]byte, error) { return []byte("\n"), nil }
	_, err = Open(c, true, check)
	refuses(t, err, credential.Invalid, "empty")
	c.Password = func() ([]byte, error) { return nil, errors.New("exit status 7") }
	_, err = Open(c, true, check)
	refuses(t, err, credential.Down, "not given", "exit status 7")
}

func TestThePasswordMayMoveFromTheFileToTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	check := mustOpen(t, config(dir), false, "").Check()
	path := filepath.Join(dir, passwordName)
	pw, err := os.ReadFile(path)
	if err := errors.Join(err, os.Remove(path)); err != nil {
		t.Fatal(err)
	}
	c := config(dir)
	c.Password = func() ([]byte, error) { return bytes.Clone(pw), nil }
	mustOpen(t, c, true, check)
}

func TestAPasswordLaidReadyIsTakenAtTheFirstStart(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, passwordName), []byte("my own words\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check := mustOpen(t, config(dir), false, "").Check()
	text := listing(t, dir)
	if text[passwordName] != "my own words\n" || !strings.Contains(text[keystoreName], kdfArgon) {
		t.Errorf("the folder holds %v", text)
	}
	mustOpen(t, config(dir), true, check)
}

func TestTheKeystoreIsMadeWhereThereAreNoHardLinks(t *testing.T) {
	dir := t.TempDir()
	f := files{dir: dir, link: func(_, to string) error { return &os.LinkError{Op: "link", New: to, Err: syscall.EPERM} }, step: func(string) error { return nil }}
	k, err := open(config(dir), f, false, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := listing(t, dir); len(got) != 2 {
		t.Errorf("the folder holds %v", got)
	}
	mustOpen(t, config(dir), true, k.Check())
	if err := f.create(keystoreName, []byte("x")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second create gives %v", err)
	}
}

func TestCreateNeverOverwrites(t *testing.T) {
	dir := t.TempDir()
	f := files{dir: dir, link: os.Link, step: func(string) error { return nil }}
	if err := f.create("a", []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := f.create("a", []byte("second")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second create gives %v", err)
	}
	if got := listing(t, dir)["a"]; got != "first" {
		t.Errorf("the file holds %q", got)
	}
}

func TestPrintsTellNoKey(t *testing.T) { // K03
	k := mustOpen(t, config(t.TempDir()), false, "")
	r := newRing(t, k)
	key, err := r.NewSigner("identity", "ES256", noon)
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Signer(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{k, r, *r, s, struct{ V any }{k}, []any{r, s}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			got := fmt.Sprintf(verb, v)
			if !strings.Contains(got, "***") || len(got) > 100 {
				t.Errorf("%T prints by %s as %q", v, verb, got)
			}
		}
	}
	if b, err := json.Marshal([]any{k, r, s}); err != nil || string(b) != "[{},{},{}]" {
		t.Errorf("as JSON: %s, %v", b, err)
	}
}

func TestTheKeystoreIsSafeForConcurrentUse(t *testing.T) {
	k := mustOpen(t, config(t.TempDir()), false, "")
	key, err := k.NewDataKey(noon)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				fresh, err := k.NewDataKey(noon)
				if err != nil {
					t.Error(err)
				}
				if _, err := k.Rewrap(fresh); err != nil {
					t.Error(err)
				}
				if _, err := New(k, []credential.Key{key}); err != nil {
					t.Error(err)
				}
				_ = k.Masters()
			}
		})
	}
	for range 5 {
		if err := k.AddMaster(); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}
