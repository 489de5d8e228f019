package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cardea/internal/view"
)

// savedLogin is the session that `cardea login` has begun. It is kept in the user's own folder, mode 0600.
type savedLogin struct {
	Server    string      `json:"server"`
	Principal string      `json:"principal"`
	Org       string      `json:"org"`
	ExpiresAt time.Time   `json:"expires_at"`
	Token     view.Secret `json:"token"`
}

func savedPath() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("there is no place to keep the session: %w; use --print", err)
	}
	return filepath.Join(dir, "cardea", "login.json"), nil
}

// readLoginFile returns the session that was kept; nil if there is none.
func readLoginFile() (*savedLogin, error) {
	path, err := savedPath()
	if err != nil {
		return nil, nil //nolint:nilerr // nowhere to look is nothing found
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o, so others can read the session in it: chmod 0600 %s", path, mode, path)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var l savedLogin
	if err := json.Unmarshal(raw, &l); err != nil {
		return nil, fmt.Errorf("%s is damaged: log in again", path)
	}
	return &l, nil
}

// save keeps a session in place of the one before.
func (l *savedLogin) save() (string, error) {
	path, err := savedPath()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	raw, err := json.Marshal(l)
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".login-") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(raw)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return path, err
}

func forgetLogin() error {
	path, err := savedPath()
	if err != nil {
		return err
	}
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// networkServer is the URL of the server that people log in to: --server, CARDEA_SERVER, or where the server of the data folder listens.
func (a *app) networkServer(ctx context.Context) (string, error) {
	if a.server != "" {
		return a.server, nil
	}
	if s := a.getenv("CARDEA_SERVER"); s != "" && a.data == "" {
		return s, nil
	}
	c, err := socketClient(a.dataFolder())
	if err != nil {
		return "", err
	}
	var where localInfo
	if err := c.get(ctx, pathLocalInfo, &where); err != nil {
		return "", err
	}
	if where.HTTP == "" {
		return "", errors.New("the HTTP door is off: start the server with --http-listen")
	}
	return where.HTTP, nil
}

// visitorClient asks without a token.
func (a *app) visitorClient(ctx context.Context) (*client, error) {
	server, err := a.networkServer(ctx)
	if err != nil {
		return nil, err
	}
	return a.connect(server, "")
}

// ownClient asks as the user who has logged in, or whose token CARDEA_TOKEN is: never as the local administrator, who is no user.
func (a *app) ownClient(ctx context.Context) (*client, error) {
	saved, err := readLoginFile()
	if err != nil {
		return nil, err
	}
	token := strings.TrimSpace(a.getenv("CARDEA_TOKEN"))
	named := a.server != "" || a.data != "" || a.getenv("CARDEA_SERVER") != ""
	if token == "" && !named && saved != nil {
		return a.connect(saved.Server, saved.Token.Reveal())
	}
	server, err := a.networkServer(ctx)
	if err != nil {
		return nil, err
	}
	if token == "" && saved != nil && saved.Server == strings.TrimSuffix(server, "/") {
		token = saved.Token.Reveal()
	}
	if token == "" {
		return nil, fmt.Errorf("nobody has logged in at %s: use `cardea login NAME`, or a token in CARDEA_TOKEN", server)
	}
	return a.connect(server, token)
}
