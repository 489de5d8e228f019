package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"cardea/internal/audit"
	"cardea/internal/credential"
	"cardea/internal/store"
	"cardea/internal/view"
)

// finding is one thing that the doctor looked at.
type finding struct {
	Name   string `json:"name"`
	State  string `json:"state"` // ok, warn, fail
	Detail string `json:"detail,omitempty"`
}

// findings are what the doctor says.
type findings []finding

func (f *findings) ok(name, format string, args ...any) {
	*f = append(*f, finding{name, "ok", fmt.Sprintf(format, args...)})
}

func (f *findings) warn(name, format string, args ...any) {
	*f = append(*f, finding{name, "warn", fmt.Sprintf(format, args...)})
}

func (f *findings) fail(name string, err error) {
	*f = append(*f, finding{name, "fail", publicText(err)})
}

// judge is fail or ok.
func (f *findings) judge(name string, err error, format string, args ...any) {
	if err != nil {
		f.fail(name, err)
		return
	}
	f.ok(name, format, args...)
}

func (a *app) doctorCommand() *cobra.Command {
	var c config
	var acceptClock bool
	cmd := &cobra.Command{
		Use:     "doctor",
		Short:   "Look whether a server, or the data folder of a stopped one, is well; exit 1 if not",
		Example: "  cardea doctor --data ./cardea-data",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.server != "" {
				return usagef("the doctor looks at a data folder: use --data on the machine of the server")
			}
			c.Data = a.dataFolder()
			if acceptClock {
				return a.acceptClock(cmd.Context(), &c)
			}
			return a.doctor(cmd.Context(), &c)
		},
	}
	cmd.Flags().StringVar(&c.DB, "db", a.envDB(), "postgres:// `URL` of a stopped server's database (default CARDEA_DB, or SQLite in the data folder)")
	cmd.Flags().StringVar(&c.KeystorePasswordEnv, "keystore-password-env", "", "environment variable `NAME` that holds a stopped server's keystore password")
	cmd.Flags().StringVar(&c.KeystorePasswordCommand, "keystore-password-command", "", "`COMMAND` that prints it")
	cmd.Flags().BoolVar(&c.KeystoreAnyMode, "keystore-any-mode", false, "accept keystore files that others can read")
	cmd.Flags().BoolVar(&acceptClock, "accept-clock", false, "believe the machine's clock, although it was later before")
	cmd.Flags().Lookup("db").DefValue = "" // a URL may hold a password
	return cmd
}

func (a *app) envDB() string { return a.getenv("CARDEA_DB") }

func (a *app) acceptClock(ctx context.Context, c *config) error {
	client, err := socketClient(c.Data)
	if err != nil {
		return err
	}
	return a.done("accepted", client.post(ctx, pathAcceptClock, nil, nil))
}

func (a *app) doctor(ctx context.Context, c *config) error {
	var all findings
	all.folder(c)
	client, err := socketClient(c.Data)
	if err == nil {
		err = all.running(ctx, client)
	}
	if err != nil {
		all.warn("server", "not running: what follows is about its data")
		all.stopped(ctx, c)
	}
	err = a.show([]finding(all), func(w io.Writer) error {
		cells := make([][]string, len(all))
		for i, f := range all {
			cells[i] = []string{f.State, f.Name, f.Detail}
		}
		return table(w, []string{"STATE", "CHECK", "DETAIL"}, cells)
	})
	if err != nil {
		return err
	}
	for _, f := range all {
		if f.State == "fail" {
			return errors.New("something is wrong: see the lines with fail")
		}
	}
	return nil
}

// folder looks at files and modes (K13).
func (f *findings) folder(c *config) {
	info, err := os.Stat(c.Data)
	if err != nil {
		f.fail("data folder", err)
		return
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		f.fail("data folder", fmt.Errorf("%s has mode %04o, so others can use it: chmod 0700 %s", c.Data, mode, c.Data))
	} else {
		f.ok("data folder", "%s", c.Data)
	}
	for _, name := range []string{keystoreName, passwordName, "cardea.db", "admin.token", filepath.Base(journalPath(""))} {
		info, err := os.Lstat(filepath.Join(c.Data, name))
		if err != nil {
			continue // what must be there is found missing by what needs it
		}
		if mode := info.Mode(); !mode.IsRegular() || mode.Perm()&0o077 != 0 {
			f.fail(name, fmt.Errorf("has mode %s: it must be a plain file of mode 0600", mode))
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(c.Data, &fs); err == nil {
		free := int64(fs.Bavail) * fs.Bsize
		if free < minFree {
			f.warn("disk", "only %d MiB are free", free>>20)
		} else {
			f.ok("disk", "%d MiB are free", free>>20)
		}
	}
}

// minFree is the room on disk below which the doctor warns.
const minFree = 256 << 20

// running asks the server; an error means that there is none.
func (f *findings) running(ctx context.Context, c *client) error {
	var health view.Health
	if err := c.get(ctx, pathDoctor, &health); err != nil {
		return err
	}
	f.ok("server", "running, version %s", firstOf(health.Version, "unknown"))
	for _, check := range health.Checks {
		if check.OK {
			f.ok(check.Name, "%s", check.Detail)
		} else {
			f.fail(check.Name, errors.New(check.Detail))
		}
	}
	var more findings
	if err := c.get(ctx, pathLocalDoctor, &more); err != nil {
		return err
	}
	*f = append(*f, more...)
	return nil
}

// stopped opens what a server would open.
func (f *findings) stopped(ctx context.Context, c *config) {
	if c.DB == "" && !exists(databasePath(c.Data)) {
		f.fail("database", fmt.Errorf("there is none in %s", c.Data))
		return
	}
	s, err := store.Open(ctx, store.Config{URL: c.databaseURL()})
	f.judge("database", err, "opens")
	if err != nil {
		return
	}
	defer s.Close()
	f.judge("keystore", opens(ctx, c, s), "opens the keys of the database")
	events, err := verifyStored(ctx, s)
	f.judge("audit log", err, "%d events, unbroken", events)
	high, err := clockMark(ctx, s)
	f.clock(time.Now(), high, err)
	keys, err := s.Keys(ctx)
	if err != nil {
		f.fail("certificates", err)
		return
	}
	for _, k := range keys {
		if strings.HasPrefix(k.Purpose, "ca-") && k.RetiredAt.IsZero() {
			f.certificate(k.Purpose, k.Public, time.Now())
		}
	}
}

// verifyStored recomputes the chain of the log and returns how many events are good.
func verifyStored(ctx context.Context, s *store.Store) (int64, error) {
	var v audit.Verifier
	for {
		last, _ := v.Last()
		page, err := s.Events(ctx, credential.EventFilter{After: last, Limit: 1000})
		if err != nil || len(page) == 0 {
			return v.Count(), err
		}
		for i := range page {
			if err := v.Add(&page[i]); err != nil {
				return v.Count(), err
			}
		}
	}
}
