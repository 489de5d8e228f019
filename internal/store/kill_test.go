package store_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"cardea/internal/credential"
	"cardea/internal/store"
)

func itoa(n int) string { return strconv.Itoa(n) }

// childVar tells a process that it is the one to be killed, and where its database is.
const childVar = "CARDEA_TEST_STORE_CHILD"

// D01: whatever was acknowledged before SIGKILL is there afterwards, nothing is
// there by halves, and the log is whole.
func TestKill(t *testing.T) {
	if url := os.Getenv(childVar); url != "" {
		writeUntilKilled(t, url)
		return
	}
	url := sqliteURL(t)
	journal := strings.TrimPrefix(url, "sqlite:") + ".revoked"
	acked := map[int]bool{}
	for round := range 5 {
		for _, n := range killed(t, url, 50+37*round, round*1_000_000) {
			acked[n] = true
		}
		s := open(t, store.Config{URL: url, Journal: journal})
		ended, err := store.ReadJournal(journal)
		noErr(t, err)
		for n := range acked {
			r, err := s.Credential(t.Context(), token(n, device(n)).ID)
			if err != nil || r.Credential.State != credential.StateRevoked {
				t.Fatalf("round %d: %d was acknowledged: %v, %q", round, n, err, r.Credential.State)
			}
			if _, ok := ended[r.Credential.ID]; !ok {
				t.Fatalf("round %d: the journal does not know %d", round, n)
			}
		}
		whole(t, s)
		noErr(t, s.Close())
	}
	if len(acked) < 5 {
		t.Fatalf("only %d changes were acknowledged: nothing was tested", len(acked))
	}
}

// whole checks that each device has its credential, and as many events as its changes.
func whole(t *testing.T, s *store.Store) {
	t.Helper()
	events := verified(t, s)
	var principals, credentials, revoked int
	noErr(t, s.Read().QueryRow("SELECT (SELECT count(*) FROM principals), count(*), coalesce(sum(CASE WHEN state = 'revoked' THEN 1 ELSE 0 END), 0) FROM credentials").Scan(&principals, &credentials, &revoked))
	if principals != credentials || len(events) != principals+credentials+revoked {
		t.Errorf("%d principals, %d credentials, %d revoked, %d events", principals, credentials, revoked, len(events))
	}
	var check string
	noErr(t, s.Read().QueryRow("PRAGMA integrity_check").Scan(&check))
	equal(t, "integrity", check, "ok")
}

// killed runs a writer, kills it after it has acknowledged some changes, and returns those.
func killed(t *testing.T, url string, after, from int) []int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), childVar+"="+url, childVar+"_FROM="+itoa(from))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	noErr(t, err)
	noErr(t, cmd.Start())
	var acked []int
	in := bufio.NewScanner(out)
	for in.Scan() {
		n, err := strconv.Atoi(strings.TrimPrefix(in.Text(), "acked "))
		if err != nil {
			t.Fatalf("the writer says %q", in.Text())
		}
		if acked = append(acked, n); len(acked) == after {
			noErr(t, cmd.Process.Signal(syscall.SIGKILL))
		}
	}
	if err := cmd.Wait(); err == nil || len(acked) < after {
		t.Fatalf("the writer ended by itself after %d: %v", len(acked), err)
	}
	return acked
}

// writeUntilKilled creates and revokes with four callers, and says what was acknowledged.
func writeUntilKilled(t *testing.T, url string) {
	s := open(t, store.Config{URL: url, Journal: strings.TrimPrefix(url, "sqlite:") + ".revoked"})
	from, err := strconv.Atoi(os.Getenv(childVar + "_FROM"))
	noErr(t, err)
	var n atomic.Int64
	n.Store(int64(from))
	var say sync.Mutex
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for {
				i := int(n.Add(1))
				p := device(i)
				ctx := context.Background()
				if _, err := s.Commit(ctx, change(credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: token(i, p)})); err != nil {
					t.Error(err)
					return
				}
				if _, err := s.Commit(ctx, change(credential.EndCredential{ID: token(i, p).ID, State: credential.StateRevoked, At: day})); err != nil {
					t.Error(err)
					return
				}
				say.Lock()
				fmt.Printf("acked %d\n", i)
				say.Unlock()
			}
		})
	}
	group.Wait()
}

// D06: after an error of writing or syncing nothing is written any more, however
// well the disk does later, until the database is opened again; reading goes on.
func TestAnErrorOfTheDisk(t *testing.T) {
	if url := os.Getenv(childVar); url != "" {
		failToWrite(t, url)
		return
	}
	url := sqliteURL(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAnErrorOfTheDisk$") // its limit is of the process, so it has one of its own
	cmd.Env = append(os.Environ(), childVar+"="+url)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := open(t, store.Config{URL: url})
	commit(t, s, credential.CreatePrincipal{Principal: device(1_000_000)})
	verified(t, s)
}

// failToWrite makes the kernel refuse to let files grow, which SQLite reports as SQLITE_IOERR_WRITE.
func failToWrite(t *testing.T, url string) {
	signal.Ignore(syscall.SIGXFSZ)
	s := open(t, store.Config{URL: url})
	commit(t, s, credential.CreatePrincipal{Principal: device(0)})
	var was syscall.Rlimit
	noErr(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was))
	limit := was
	info, err := os.Stat(strings.TrimPrefix(url, "sqlite:") + "-wal")
	noErr(t, err)
	limit.Cur = uint64(info.Size())
	noErr(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
	var failed error
	for i := 1; failed == nil && i < 10_000; i++ {
		_, failed = s.Commit(t.Context(), change(credential.CreatePrincipal{Principal: device(i)}))
	}
	noErr(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was))
	for range 3 {
		if credential.KindOf(failed) != credential.Down || failed == nil || !strings.Contains(failed.Error(), "disk") {
			t.Errorf("got %v", failed)
		}
		_, failed = s.Commit(t.Context(), change(credential.CreatePrincipal{Principal: device(20_000)}))
	}
	if !strings.Contains(failed.Error(), "nothing is written any more") {
		t.Errorf("got %v", failed)
	}
	_, err = s.Principal(t.Context(), "default", device(0).ID)
	noErr(t, err)
	_, _, err = s.Since(t.Context(), 0, 1)
	noErr(t, err)
}
