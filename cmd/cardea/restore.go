package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"cardea/internal/credential"
	"cardea/internal/keyring"
	"cardea/internal/store"
)

// restoring is what `cardea restore` was told.
type restoring struct {
	file, data, db       string
	identity, passphrase string
	journals             []string
	nothingRevoked       bool
	config               config // for the keystore's password
}

func (a *app) restoreCommand() *cobra.Command {
	var r restoring
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a data folder from a backup, without a server",
		Long: "Make a data folder from a backup. What exists is never overwritten.\n" +
			"The revocation journal (revocations.log of the old data folder) says what was revoked after the backup was made:\n" +
			"it is used if it lies in the new data folder, or if --journal names it. Without one, credentials that were revoked\n" +
			"since would be valid again, so --nothing-revoked must be said.",
		Example: "  cardea restore ./cardea.age --identity ./cardea.age.key --data ./cardea-data --journal ./old/revocations.log",
		Args:    exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.file, r.data = args[0], a.dataFolder()
			return a.restore(cmd.Context(), &r)
		},
	}
	f := c.Flags()
	f.StringVar(&r.identity, "identity", "", "`FILE` with the age key that opens the backup (default: FILE.key beside it)")
	f.StringVar(&r.passphrase, "passphrase-file", "", "`FILE` whose first line opens the backup")
	f.StringArrayVar(&r.journals, "journal", nil, "revocation journal, a `FILE` revocations.log (repeatable)")
	f.BoolVar(&r.nothingRevoked, "nothing-revoked", false, "there is no journal, and nothing was revoked since the backup")
	f.StringVar(&r.db, "db", "", "postgres:// `URL` of an empty database (default: SQLite in the data folder)")
	f.StringVar(&r.config.KeystorePasswordEnv, "keystore-password-env", "", "environment variable `NAME` that holds the keystore's password, if the backup has none")
	f.StringVar(&r.config.KeystorePasswordCommand, "keystore-password-command", "", "`COMMAND` that prints it")
	c.MarkFlagsMutuallyExclusive("identity", "passphrase-file")
	return c
}

// restore works in a folder within the data folder and gives things their
// names at the end, the database last: until then nothing has changed.
func (a *app) restore(ctx context.Context, r *restoring) error {
	if r.db != "" {
		if err := setDB(&config{}, r.db); err != nil {
			return usagef("--db %w", err)
		}
	}
	if err := r.checkFolder(); err != nil {
		return err
	}
	revoked, err := r.revoked()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.data, 0o700); err != nil {
		return err
	}
	lock, err := lockFolder(r.data)
	if err != nil {
		return err
	}
	defer lock.Close()
	work, err := os.MkdirTemp(r.data, ".restore-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	made, err := r.unpack(ctx, work, revoked)
	if err != nil {
		return err
	}
	if err := r.place(work); err != nil {
		return err
	}
	return a.show(map[string]any{"data": r.data, "backup_of": made.CreatedAt, "revocations": len(revoked)}, func(w io.Writer) error {
		if !made.Password && r.config.keystorePassword() == nil {
			fmt.Fprintln(a.err, "the keystore's password is not in the backup: give it to `cardea serve`, as before")
		}
		fmt.Fprintln(a.err, "note: rotations, disabled principals and narrower scopes of later than the backup are undone; do them again (`cardea audit export` of the old server lists them)")
		_, err := fmt.Fprintf(w, "restored the backup of %s into %s; %d known revocations hold\n", when(made.CreatedAt), r.data, len(revoked))
		return err
	})
}

// checkFolder refuses a data folder that holds anything of an installation but the journal.
func (r *restoring) checkFolder() error {
	names := []string{"cardea.db", "cardea.db-wal", "cardea.db-shm", keystoreName, passwordName}
	for _, name := range names {
		if path := filepath.Join(r.data, name); exists(path) {
			dir := strings.TrimSuffix(r.data, "/")
			return fmt.Errorf("%s exists, and nothing is overwritten: move the old data folder away, `mv %s %s.old`, and say `--journal %s.old/revocations.log`", path, dir, dir, dir)
		}
	}
	return nil
}

// revoked reads the journals (K17).
func (r *restoring) revoked() (map[string]time.Time, error) {
	journals := r.journals
	if own := journalPath(r.data); exists(own) {
		journals = append(journals, own)
	}
	if len(journals) == 0 {
		if !r.nothingRevoked {
			return nil, errors.New("there is no revocation journal: what was revoked after the backup would be valid again; name the revocations.log of the old data folder with --journal, or say --nothing-revoked")
		}
		return nil, nil
	}
	all := map[string]time.Time{}
	for _, path := range journals {
		if !exists(path) {
			return nil, fmt.Errorf("--journal: %s does not exist", path)
		}
		one, err := store.ReadJournal(path)
		if err != nil {
			return nil, fmt.Errorf("the journal %s: %w", path, err)
		}
		maps.Copy(all, one)
	}
	return all, nil
}

// identities are what may open the backup.
func (r *restoring) identities() ([]age.Identity, error) {
	if r.passphrase != "" {
		secret, err := firstLine(r.passphrase)
		if err != nil {
			return nil, err
		}
		id, err := age.NewScryptIdentity(secret)
		return []age.Identity{id}, err
	}
	path := r.identity
	if path == "" {
		path = r.file + ".key"
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the key of the backup: %w; name it with --identity, or use --passphrase-file", err)
	}
	defer f.Close()
	ids, err := age.ParseIdentities(f)
	if err != nil {
		return nil, fmt.Errorf("%s holds no age key: %w", path, err)
	}
	return ids, nil
}

// unpack decrypts, loads and checks everything in the work folder.
func (r *restoring) unpack(ctx context.Context, work string, revoked map[string]time.Time) (m manifest, err error) {
	f, err := os.Open(r.file)
	if err != nil {
		return m, err
	}
	defer f.Close()
	ids, err := r.identities()
	if err != nil {
		return m, err
	}
	plain, err := age.Decrypt(bufio.NewReader(f), ids...)
	if err != nil {
		return m, fmt.Errorf("the backup %s cannot be opened: %w", r.file, err)
	}
	in, m, err := openArchive(plain)
	if err != nil {
		return m, err
	}
	dump := filepath.Join(work, "dump")
	if err := copyDump(in, dump); err != nil {
		return m, err
	}
	keystore, err := in.end(m)
	if err != nil {
		return m, err
	}
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return m, fmt.Errorf("the backup is damaged: %w", err)
	}
	if err := writeKeystore(work, keystore); err != nil {
		return m, err
	}
	if err := writeJournal(journalPath(work), revoked); err != nil {
		return m, err
	}
	return m, r.load(ctx, work, dump, m, revoked)
}

// copyDump puts the parts together on disk: nothing is loaded before the archive was read to its end.
func copyDump(in *archiveReader, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(in.dump(f), f.Close())
}

func writeKeystore(dir string, k keystoreFiles) error {
	if k.password != nil {
		if err := createExclusive(filepath.Join(dir, passwordName), 0o600, k.password); err != nil {
			return err
		}
	}
	return createExclusive(filepath.Join(dir, keystoreName), 0o600, k.document)
}

// writeJournal carries the known revocations over, those of credentials that are not in the backup too.
func writeJournal(path string, revoked map[string]time.Time) error {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(revoked)) {
		fmt.Fprintf(&b, "%s %d\n", id, revoked[id].UnixMicro())
	}
	return createExclusive(path, 0o600, []byte(b.String()))
}

// load fills a database in the work folder, in which what was revoked is
// revoked again, and opens its keys with the keystore. PostgreSQL is filled only after that went well.
func (r *restoring) load(ctx context.Context, work, dump string, m manifest, revoked map[string]time.Time) error {
	err := loadInto(ctx, store.Config{URL: "sqlite:" + databasePath(work), Journal: journalPath(work)}, dump, revoked, func(s *store.Store) error {
		if !m.Password && r.config.keystorePassword() == nil {
			return nil // nothing here can open the keystore
		}
		c := r.config
		c.Data = work
		return opens(ctx, &c, s)
	})
	if err != nil || r.db == "" {
		return err
	}
	for _, name := range []string{"cardea.db", "cardea.db-wal", "cardea.db-shm"} {
		_ = os.Remove(filepath.Join(work, name)) // it was a rehearsal
	}
	return loadInto(ctx, store.Config{URL: r.db}, dump, revoked, func(*store.Store) error { return nil })
}

func loadInto(ctx context.Context, c store.Config, dump string, revoked map[string]time.Time, check func(*store.Store) error) error {
	s, err := store.Open(ctx, c)
	if err != nil {
		return err
	}
	defer s.Close()
	f, err := os.Open(dump)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := s.Load(ctx, f, store.LoadConfig{Revoked: revoked}); err != nil {
		return err
	}
	if err := check(s); err != nil {
		return err
	}
	return s.Close()
}

// opens checks that a keystore opens the keys of a database.
func opens(ctx context.Context, c *config, s *store.Store) error {
	ks, err := openKeystore(ctx, c, s)
	if err != nil {
		return err
	}
	keys, err := s.Keys(ctx)
	if err != nil {
		return err
	}
	if _, err := keyring.New(ks, keys); err != nil {
		return &credential.Error{Kind: credential.Invalid, Message: "the keystore does not open the keys of the database", Err: err}
	}
	return nil
}

// place gives the files their names. They were free when the command began, and nobody else has the folder's lock.
func (r *restoring) place(work string) error {
	if err := r.checkFolder(); err != nil {
		return err
	}
	for _, name := range []string{filepath.Base(journalPath("")), passwordName, keystoreName, "cardea.db-wal", "cardea.db"} {
		from := filepath.Join(work, name)
		if !exists(from) {
			continue
		}
		if err := os.Rename(from, filepath.Join(r.data, name)); err != nil {
			return err
		}
	}
	return syncDir(r.data)
}
