package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

const kindScram = "scram"

// loginFlags are the flags that say what a SCRAM credential is made of. A password is never one of them: command lines are seen by others.
type loginFlags struct {
	passwordFile               string
	iterations                 int
	salt, storedKey, serverKey string
}

func (l *loginFlags) flags(c *cobra.Command, iterations string) {
	f := c.Flags()
	f.StringVar(&l.passwordFile, "password-file", "", "scram: `FILE` that holds the password; - is standard input (default: Cardea makes one)")
	f.IntVar(&l.iterations, "iterations", 0, iterations)
	f.StringVar(&l.storedKey, "stored-key", "", "scram: import the stored key, in `HEX`")
	f.StringVar(&l.serverKey, "server-key", "", "scram: import the server key, in `HEX`")
	f.StringVar(&l.salt, "salt", "", "scram: import the salt, in `HEX`")
	c.MarkFlagsRequiredTogether("stored-key", "server-key", "salt")
	c.MarkFlagsMutuallyExclusive("password-file", "stored-key")
}

// given reports whether the caller has brought the secret.
func (l *loginFlags) given() bool { return l.passwordFile != "" || l.storedKey != "" }

// readLogin reads the password, if there is one, and what else was said.
func (a *app) readLogin(l *loginFlags) (view.Secret, view.ScramKeys, error) {
	keys := view.ScramKeys{
		Iterations: l.iterations, Salt: l.salt, StoredKey: view.Secret(l.storedKey), ServerKey: view.Secret(l.serverKey),
	}
	if l.passwordFile == "" {
		return "", keys, nil
	}
	password, err := a.readPassword(l.passwordFile)
	return password, keys, err
}

// readPassword takes all of a file, but for one line end, which editors add. Spaces may belong to a password.
func (a *app) readPassword(path string) (view.Secret, error) {
	in := a.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("--password-file: %w", err)
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, 64<<10))
	if err != nil {
		return "", fmt.Errorf("--password-file: %w", err)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")
	if text == "" {
		return "", fmt.Errorf("--password-file: %s is empty", path)
	}
	return view.Secret(text), nil
}
