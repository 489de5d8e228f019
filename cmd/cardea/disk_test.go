package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cardea/internal/testkit"
)

// smallDisk mounts a disk of 8 MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m,mode=0700"); err != nil {
		t.Skipf("this needs the right to mount a small disk, which root has: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A02, D05: on a full disk changes are refused with a clear word, nothing is
// half done, callers go on being let in, and the node says that it is not ready. When there is space
// again it recovers by itself, and the log is whole.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t)
	k := testkit.StartCardea(t, testkit.CardeaConfig{Bin: self(t), Data: filepath.Join(disk, "data")})
	dir := t.TempDir()
	if _, stderr, code := k.CLI("key", "gen", "before", "--output", filepath.Join(dir, "before")); code != 0 {
		t.Fatal(stderr)
	}
	token, err := os.ReadFile(filepath.Join(dir, "before_token"))
	if err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(disk, "filler")
	if err := os.WriteFile(filler, make([]byte, 16<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	_, stderr, code := k.CLI("key", "gen", "refused", "--output", filepath.Join(dir, "refused"))
	if code != 1 || !strings.Contains(stderr, "the disk is full") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "refused*")); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
	if got := get(http.DefaultClient, k.URL("/nowhere"), strings.TrimSpace(string(token))); got != http.StatusNotFound { // allowed, but no route
		t.Errorf("a good token on a full disk: %d", got)
	}
	eventually(t, "not ready", func() bool { return get(http.DefaultClient, k.URL("/readyz"), "") == http.StatusServiceUnavailable })
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready again", func() bool { return get(http.DefaultClient, k.URL("/readyz"), "") == http.StatusOK })
	if _, stderr, code := k.CLI("key", "gen", "refused", "--output", filepath.Join(dir, "refused")); code != 0 {
		t.Errorf("after there was space again: %s", stderr)
	}
	if out, stderr, code := k.CLI("audit", "verify"); code != 0 {
		t.Errorf("audit verify: %s%s", out, stderr)
	}
}

// A03, D12: the log is in the database. If that file is taken away or cut short under the
// process, no change is acknowledged any more and the node says so.
func TestDatabaseTakenAway(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(string) error{
		"removed":  os.Remove,
		"replaced": func(p string) error { return os.Rename(p, p+".old") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := testkit.StartCardea(t, testkit.CardeaConfig{Bin: self(t)})
			if err := do(filepath.Join(k.Data, "cardea.db")); err != nil {
				t.Fatal(err)
			}
			eventually(t, "not ready", func() bool { return get(http.DefaultClient, k.URL("/readyz"), "") == http.StatusServiceUnavailable })
			_, stderr, code := k.CLI("principal", "create", "x", "--kind", "service")
			if code != 1 || !strings.Contains(stderr, "database file") {
				t.Errorf("exit %d, %s", code, stderr)
			}
		})
	}
}
