package keyring

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"cardea/internal/credential"
)

// The tests below run this binary again as a process that kills itself with SIGKILL before its n-th step.
const (
	envDie  = "KEYRING_TEST_DIE_AT" // n, and the folder
	envWhat = "KEYRING_TEST_WHAT"   // "start" or "rotate"
)

func TestMain(m *testing.M) {
	what := os.Getenv(envWhat)
	if what == "" {
		os.Exit(m.Run())
	}
	at, dir, _ := strings.Cut(os.Getenv(envDie), ":")
	n, err := strconv.Atoi(at)
	if err != nil {
		panic(err)
	}
	step := func(string) error {
		if n--; n == 0 {
			return errors.Join(syscall.Kill(os.Getpid(), syscall.SIGKILL), errors.New("still alive"))
		}
		return nil
	}
	f := files{dir: dir, link: os.Link, step: step}
	if what == "start" {
		_, err = open(config(dir), f, false, "")
	} else {
		err = rotate(dir, f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// dieAt runs a process that dies before step n, and reports whether it got to the end instead.
func dieAt(t *testing.T, what, dir string, n int) (finished bool) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), envWhat+"="+what, fmt.Sprintf("%s=%d:%s", envDie, n, dir))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return true
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the process did not die by kill: %v: %s", err, out)
	}
	return false
}

// rotate replaces the master key of a folder whose file "db" stands for the database: one row a data key, committed one by one.
func rotate(dir string, f files) error {
	k, err := open(config(dir), f, true, "")
	if err != nil {
		return err
	}
	keys, err := readDB(dir)
	if err != nil {
		return err
	}
	if err := k.AddMaster(); err != nil {
		return err
	}
	for i := range keys {
		if keys[i], err = k.Rewrap(keys[i]); err != nil {
			return err
		}
		b, err := json.Marshal(keys)
		if err != nil {
			return err
		}
		if _, err := f.replace("db", b); err != nil {
			return err
		}
	}
	return k.DropOld()
}

func readDB(dir string) ([]credential.Key, error) {
	b, err := os.ReadFile(filepath.Join(dir, "db"))
	if err != nil {
		return nil, err
	}
	var keys []credential.Key
	return keys, json.Unmarshal(b, &keys)
}

func TestAKillAtAnyStepOfTheFirstStartIsHealedByTheNext(t *testing.T) {
	for n := 1; ; n++ {
		dir := t.TempDir()
		finished := dieAt(t, "start", dir, n)
		k := mustOpen(t, config(dir), false, "")
		mustOpen(t, config(dir), true, k.Check())
		for name := range listing(t, dir) {
			if name != keystoreName && name != passwordName {
				t.Errorf("killed before step %d: %s is left", n, name)
			}
		}
		if finished {
			if n < 9 { // two files of four steps each
				t.Errorf("only %d steps were tried", n-1)
			}
			return
		}
	}
}

func TestAKillAtAnyStepOfARotationLosesNoKey(t *testing.T) { // K16
	for n := 1; ; n++ {
		dir := t.TempDir()
		k := mustOpen(t, config(dir), false, "")
		keys := []credential.Key{dataKey(t, k, noon), dataKey(t, k, noon)}
		record, err := ringOf(t, k, keys...).Seal("idempotency/1", []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(keys)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "db"), b, 0o600); err != nil {
			t.Fatal(err)
		}

		finished := dieAt(t, "rotate", dir, n)
		where := fmt.Sprintf("killed before step %d", n)
		after := mustOpen(t, config(dir), true, k.Check())
		opensWithOneMasterEach(t, where, dir, after)

		// The rotation goes on where it was, and ends.
		if err := rotate(dir, files{dir: dir, link: os.Link, step: func(string) error { return nil }}); err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		again := mustOpen(t, config(dir), true, k.Check())
		if m := again.Masters(); len(m) != 1 || m[0] == k.Masters()[0] {
			t.Errorf("%s: master keys are %v, was %v", where, m, k.Masters())
		}
		keys = opensWithOneMasterEach(t, where, dir, again)
		if _, err := ringOf(t, again, keys...).Open("idempotency/1", record); err != nil {
			t.Errorf("%s: a record is lost: %v", where, err)
		}
		if finished {
			if n < 13 { // four files of three steps each
				t.Errorf("only %d steps were tried", n-1)
			}
			return
		}
	}
}

// opensWithOneMasterEach tries every master key on every data key.
func opensWithOneMasterEach(t *testing.T, where, dir string, k *Keystore) []credential.Key {
	t.Helper()
	keys, err := readDB(dir)
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	for _, key := range keys {
		opens := 0
		for _, m := range k.masters {
			for _, named := range k.masters {
				if _, err := openBytes(m.key, dataKeyAAD(k.ID(), named.id, key.ID), key.Sealed); err == nil {
					opens++
				}
			}
		}
		if _, err := k.unwrap(key); err != nil || opens != 1 {
			t.Fatalf("%s: data key %s opens in %d ways, by its own name: %v", where, key.ID, opens, err)
		}
	}
	return keys
}

// If a write fails, the process goes on with the keys that are surely on the disk.
func TestAFailedWriteOfARotationChangesNothing(t *testing.T) { // K16
	for _, failing := range []string{"write " + keystoreName, "rename " + keystoreName, "sync folder for " + keystoreName} {
		t.Run(failing, func(t *testing.T) {
			dir := t.TempDir()
			check := mustOpen(t, config(dir), false, "").Check()
			broken := ""
			f := files{dir: dir, link: os.Link, step: func(name string) error {
				if name == broken {
					return syscall.EIO
				}
				return nil
			}}
			k, err := open(config(dir), f, true, check)
			if err != nil {
				t.Fatal(err)
			}
			old := k.Masters()
			broken = failing
			refuses(t, k.AddMaster(), credential.Down, keystoreName, "cannot be written")
			key := dataKey(t, k, noon)
			if m := k.Masters(); len(m) != 1 || m[0] != old[0] || key.Wrapper != old[0] {
				t.Errorf("masters are %v, the new data key is under %s, want %v", m, key.Wrapper, old)
			}
			broken = ""
			if err := k.AddMaster(); err != nil {
				t.Fatal(err)
			}
			broken = failing
			refuses(t, k.DropOld(), credential.Down, keystoreName)
			if len(k.Masters()) != 2 {
				t.Error("the old master was given up although the file may still need it")
			}
			broken = ""
			if key, err = k.Rewrap(key); err != nil {
				t.Fatal(err)
			}
			if err := k.DropOld(); err != nil {
				t.Fatal(err)
			}
			ringOf(t, mustOpen(t, config(dir), true, check), key)
		})
	}
}

func TestRewrapAndTheEndOfTheOldMaster(t *testing.T) {
	dir := t.TempDir()
	k := mustOpen(t, config(dir), false, "")
	check, old := k.Check(), k.Masters()[0]
	first, late := dataKey(t, k, noon), dataKey(t, k, noon)
	if same, err := k.Rewrap(first); err != nil || same.Wrapper != old || string(same.Sealed) != string(first.Sealed) {
		t.Errorf("without a rotation Rewrap changes the key: %v", err)
	}
	if err := k.AddMaster(); err != nil {
		t.Fatal(err)
	}
	if m := k.Masters(); len(m) != 2 || m[1] != old {
		t.Fatalf("masters are %v", m)
	}
	during := k.Masters()
	if err := k.AddMaster(); err != nil || !slices.Equal(k.Masters(), during) {
		t.Fatalf("AddMaster begins a second rotation: %v, was %v; %v", k.Masters(), during, err)
	}
	moved, err := k.Rewrap(first)
	if err != nil || moved.Wrapper != k.Masters()[0] || moved.ID != first.ID || !moved.CreatedAt.Equal(first.CreatedAt) {
		t.Fatalf("rewrapped key is %+v, %v", moved, err)
	}
	if err := k.DropOld(); err != nil {
		t.Fatal(err)
	}
	k = mustOpen(t, config(dir), true, check)
	ringOf(t, k, moved)
	_, err = New(k, []credential.Key{late})
	refuses(t, err, credential.Invalid, late.ID, old, keystoreName)
}

func TestAKeystoreThatSomebodyElseChangedIsNotOverwritten(t *testing.T) {
	dir := t.TempDir()
	one := mustOpen(t, config(dir), false, "")
	two := mustOpen(t, config(dir), true, one.Check())
	if err := one.AddMaster(); err != nil {
		t.Fatal(err)
	}
	refuses(t, two.AddMaster(), credential.Conflict, keystoreName, "restart")
	if got := mustOpen(t, config(dir), true, one.Check()).Masters(); len(got) != 2 || got[0] != one.Masters()[0] {
		t.Errorf("masters are %v, want %v", got, one.Masters())
	}
}
