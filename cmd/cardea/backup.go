package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"
)

func (a *app) backupCommand() *cobra.Command {
	var recipients []string
	var passphrase string
	c := &cobra.Command{
		Use:     "backup FILE",
		Short:   "Write one encrypted file from which everything can be restored, while the server runs",
		Long:    "Write one encrypted file (age) with the database and the keystore.\nWithout --recipient or --passphrase-file a new key is made beside it, FILE.key: keep it elsewhere.",
		Example: "  cardea backup /backups/cardea-2026-11-22.age --recipient age1…",
		Args:    exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.backup(cmd.Context(), args[0], recipients, passphrase)
		},
	}
	c.Flags().StringArrayVar(&recipients, "recipient", nil, "age public key `age1…` that can open it (repeatable)")
	c.Flags().StringVar(&passphrase, "passphrase-file", "", "`FILE` whose first line opens it")
	c.MarkFlagsMutuallyExclusive("recipient", "passphrase-file")
	return c
}

func (a *app) backup(ctx context.Context, path string, recipients []string, passphrase string) error {
	if a.server != "" {
		return usagef("a backup holds the keystore of the data folder: make it on the server, with --data")
	}
	c, err := socketClient(a.dataFolder())
	if err != nil {
		return err
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s exists already, and files are never overwritten", path)
	}
	to, keyFile, err := backupRecipients(recipients, passphrase, path+".key")
	if err != nil {
		return err
	}
	if err := a.writeBackup(ctx, c, path, to); err != nil {
		keyFile.discard()
		return err
	}
	result := map[string]string{"file": path}
	if keyFile != nil {
		result["key"] = path + ".key"
	}
	return a.show(result, func(w io.Writer) error {
		fmt.Fprintf(w, "Save backup %s\n", path)
		if keyFile != nil {
			fmt.Fprintf(w, "Save key %s.key\n", path)
			fmt.Fprintln(a.err, "Whoever has both files has everything: keep the key apart from the backup. Without it the backup cannot be opened.")
		}
		return nil
	})
}

// backupRecipients returns who can open the backup. If nobody was named it makes an identity and its file.
func backupRecipients(recipients []string, passphrase, keyPath string) ([]age.Recipient, keyFiles, error) {
	switch {
	case passphrase != "":
		secret, err := firstLine(passphrase)
		if err != nil {
			return nil, nil, err
		}
		r, err := age.NewScryptRecipient(secret)
		return []age.Recipient{r}, nil, err
	case len(recipients) > 0:
		to, err := age.ParseRecipients(strings.NewReader(strings.Join(recipients, "\n") + "\n"))
		if err != nil {
			return nil, nil, usagef("--recipient must be an age public key, age1…: %w", err)
		}
		return to, nil, nil
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, nil, err
	}
	files := keyFiles{{label: "key", path: keyPath, mode: 0o600}}
	if err := files.reserve(); err != nil {
		return nil, nil, err
	}
	text := fmt.Sprintf("# opens the backup of this name\n# public key: %s\n%s\n", identity.Recipient(), identity)
	return []age.Recipient{identity.Recipient()}, files, files.fill(text)
}

func firstLine(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("--passphrase-file: %w", err)
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("--passphrase-file: the first line of %s is empty", path)
	}
	return line, nil
}

// writeBackup makes the file under another name first, so that a backup that is there is a whole one.
func (a *app) writeBackup(ctx context.Context, c *client, path string, to []age.Recipient) error {
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	defer temp.Close()
	sealed, err := age.Encrypt(temp, to...)
	if err != nil {
		return err
	}
	if err := archiveServer(ctx, c, a.dataFolder(), sealed); err != nil {
		return err
	}
	if err := errors.Join(sealed.Close(), temp.Sync()); err != nil {
		return err
	}
	if err := os.Link(temp.Name(), path); err != nil { // unlike a rename it never replaces
		return fmt.Errorf("the backup cannot get its name: %w", err)
	}
	return syncDir(dir)
}

// archiveServer writes what the server gives and the keystore beside it. If the
// keystore was rotated meanwhile the two may not belong together, and all is done again.
func archiveServer(ctx context.Context, c *client, data string, to io.Writer) error {
	before, err := readKeystore(data)
	if err != nil {
		return err
	}
	resp, err := c.do(ctx, http.MethodPost, pathBackup, http.NoBody)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	w := newArchive(to)
	if err := w.begin(manifest{Format: archiveFormat, CreatedAt: time.Now().UTC(), Version: version(), Password: before.password != nil}); err != nil {
		return err
	}
	if err := w.dump(resp.Body); err != nil {
		return c.lost(http.MethodGet, err)
	}
	after, err := readKeystore(data)
	if err != nil {
		return err
	}
	if !bytes.Equal(before.document, after.document) {
		return errors.New("the keystore was rotated while the backup was made: make it again")
	}
	return w.end(after)
}

// keystoreFiles are what the data folder holds of the keystore. The password is nil if it is elsewhere.
type keystoreFiles struct{ document, password []byte }

func readKeystore(data string) (k keystoreFiles, err error) {
	if k.document, err = os.ReadFile(filepath.Join(data, keystoreName)); err != nil {
		return k, fmt.Errorf("the keystore cannot be read: %w", err)
	}
	k.password, err = os.ReadFile(filepath.Join(data, passwordName))
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	return k, err
}

// Names of the keystore's files in the data folder.
const (
	keystoreName = "keystore.json"
	passwordName = "keystore-password"
)
