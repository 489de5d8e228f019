package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cardea/internal/authority"
	"cardea/internal/credential"
)

func (a *app) keystoreCommand() *cobra.Command {
	return group("keystore", "The master key of this node", a.keystoreStatus(), a.keystoreRotate())
}

// keystoreState is what is known of the keystore; nothing of it is secret.
type keystoreState struct {
	ID      string   `json:"id"`
	Masters []string `json:"masters"` // ids; the current one first
}

func (a *app) keystoreStatus() *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Say which keystore the server uses and which master key is current",
		Example: "  cardea keystore status",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.keystoreAnswer(cmd, http.MethodGet, pathKeystoreStatus)
		},
	}
}

func (a *app) keystoreRotate() *cobra.Command {
	return &cobra.Command{
		Use:     "rotate",
		Short:   "Make a new master key and seal the data keys under it, while the server runs",
		Example: "  cardea keystore rotate",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.keystoreAnswer(cmd, http.MethodPost, pathKeystoreRotate)
		},
	}
}

func (a *app) keystoreAnswer(cmd *cobra.Command, method, path string) error {
	if a.server != "" {
		return usagef("the keystore is the server's own: use --data on its machine")
	}
	c, err := socketClient(a.dataFolder())
	if err != nil {
		return err
	}
	var state keystoreState
	if err := c.call(cmd.Context(), method, path, nil, &state); err != nil {
		return err
	}
	return a.show(state, func(w io.Writer) error {
		return details(w, "KEYSTORE", state.ID, "MASTER", state.Masters[0], "OLD", strings.Join(state.Masters[1:], " "))
	})
}

func (n *node) serveKeystore(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, keystoreState{ID: n.keystore.ID(), Masters: n.keystore.Masters()}, nil)
}

func (n *node) serveKeystoreRotate(w http.ResponseWriter, r *http.Request) {
	// Whoever asked may go away; the rotation goes on.
	err := authority.RotateMaster(context.WithoutCancel(r.Context()), n.store, n.keystore, time.Now, n.log)
	answerJSON(w, keystoreState{ID: n.keystore.ID(), Masters: n.keystore.Masters()}, err)
}

// answerJSON is the form of the answers that the socket gives beside the API's.
func answerJSON(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		v = map[string]string{"detail": publicText(err)}
	}
	_ = json.NewEncoder(w).Encode(v) // the peer may be gone
}

// keystorePassword returns what gives the keystore's password, or nil if that is the file in the data folder.
func (c *config) keystorePassword() func() ([]byte, error) {
	switch {
	case c.KeystorePasswordEnv != "":
		return func() ([]byte, error) {
			v := os.Getenv(c.KeystorePasswordEnv)
			if v == "" {
				return nil, credential.Errorf(credential.Invalid, "--keystore-password-env: the environment variable %s is empty", c.KeystorePasswordEnv)
			}
			return []byte(v), nil
		}
	case c.KeystorePasswordCommand != "":
		return func() ([]byte, error) { return commandOutput(c.KeystorePasswordCommand) }
	}
	return nil
}

const commandPatience = 30 * time.Second

// commandOutput runs a command line of the shell and returns its output without the line feed at the end.
func commandOutput(line string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", line)
	cmd.Env = withoutTokens(os.Environ())
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		text := err.Error()
		if e, ok := errors.AsType[*exec.ExitError](err); ok && len(e.Stderr) > 0 {
			text = fmt.Sprintf("%s: %.200s", text, bytes.TrimSpace(e.Stderr))
		}
		return nil, credential.Errorf(credential.Invalid, "--keystore-password-command failed: %s", printable(text))
	}
	if out = bytes.TrimRight(out, "\r\n"); len(out) == 0 {
		return nil, credential.Errorf(credential.Invalid, "--keystore-password-command printed nothing")
	}
	return out, nil
}

// withoutTokens keeps secrets of ours from children (C03).
func withoutTokens(env []string) []string {
	var kept []string
	for _, e := range env {
		if !strings.HasPrefix(e, "CARDEA_TOKEN=") && !strings.HasPrefix(e, "CARDEA_VERIFY_TOKEN=") {
			kept = append(kept, e)
		}
	}
	return kept
}
