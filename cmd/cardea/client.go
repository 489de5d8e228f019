package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"cardea/internal/credential"
	"cardea/internal/view"
)

// maxAnswer bounds what the CLI reads of one answer; a backup is streamed.
const maxAnswer = 64 << 20

// client asks a running server: by the socket of its data folder as the local
// administrator, or by a URL with a token.
type client struct {
	http  *http.Client
	base  string
	token string
	org   string // to act in; "": the server's own choice
	where string // for messages: "the server of ./cardea-data"
}

// socketBase is what stands for the server in requests by the socket.
const socketBase = "http://cardea"

// client returns what --server, CARDEA_SERVER or the data folder say.
func (a *app) client() (*client, error) {
	c, err := a.anyClient()
	if err == nil {
		c.org = firstOf(a.org, a.getenv("CARDEA_ORG"))
	}
	return c, err
}

func (a *app) anyClient() (*client, error) {
	server := a.server
	if server == "" && a.data == "" {
		server = a.getenv("CARDEA_SERVER")
	}
	if server == "" {
		return socketClient(a.dataFolder())
	}
	return a.remoteClient(server)
}

func socketClient(data string) (*client, error) {
	path := socketPath(data)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, notRunning(data)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialSocket(ctx, path)
	}}
	return &client{http: &http.Client{Transport: transport}, base: socketBase, where: data}, nil
}

func notRunning(data string) error {
	return fmt.Errorf("no server is running on the data folder %s: start one with `cardea serve --data %s`, name another folder with --data, or a server with --server", data, data)
}

func (a *app) remoteClient(server string) (*client, error) {
	token := strings.TrimSpace(a.getenv("CARDEA_TOKEN"))
	if token == "" {
		saved, err := readLoginFile()
		if err != nil {
			return nil, err
		}
		if saved == nil || saved.Server != strings.TrimSuffix(server, "/") {
			if err := checkServer(server); err != nil {
				return nil, err
			}
			return nil, usagef("--server needs a token in the environment variable CARDEA_TOKEN, or a session: cardea login NAME")
		}
		token = saved.Token.Reveal()
	}
	return a.connect(server, token)
}

// checkServer refuses what is no URL of a server, and what would send a secret in the clear.
func checkServer(server string) error {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return usagef("--server must be an http:// or https:// URL without user information")
	}
	if u.Scheme == "http" && !isLoopback(net.JoinHostPort(u.Hostname(), "80")) {
		return usagef("--server %s would send the token in the clear: use https://", server)
	}
	return nil
}

// connect returns a client for a server on the network; token may be empty.
func (a *app) connect(server, token string) (*client, error) {
	if err := checkServer(server); err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = http.ProxyFromEnvironment
	if err := a.trust(transport); err != nil {
		return nil, err
	}
	refuse := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // a token is for one server
	return &client{
		http: &http.Client{Transport: transport, CheckRedirect: refuse},
		base: strings.TrimSuffix(server, "/"), token: token, where: server,
	}, nil
}

// trust makes --cacert the only anchor of a transport.
func (a *app) trust(transport *http.Transport) error {
	path := a.cacert
	if path == "" {
		path = a.getenv("CARDEA_CACERT")
	}
	if path == "" {
		return nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("--cacert: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("--cacert: %s holds no certificate in PEM", path)
	}
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return nil
}

func (c *client) get(ctx context.Context, path string, out any) error {
	return c.call(ctx, http.MethodGet, path, nil, out)
}

func (c *client) post(ctx context.Context, path string, in, out any) error {
	return c.call(ctx, http.MethodPost, path, in, out)
}

// call sends one request. in and out are JSON; either may be nil.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	return c.callOnce(ctx, method, path, "", in, out)
}

// callOnce is call with an Idempotency-Key, by which the request can be repeated; "" for none.
func (c *client) callOnce(ctx context.Context, method, path, key string, in, out any) error {
	body, err := encode(in)
	if err != nil {
		return err
	}
	resp, err := c.send(ctx, method, path, key, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return c.lost(method, err)
	case len(raw) > maxAnswer:
		return fmt.Errorf("%s answered with more than %d bytes", c.where, maxAnswer)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%s did not answer as a Cardea server does: %w", c.where, err)
	}
	return nil
}

func encode(in any) (io.Reader, error) {
	if in == nil {
		return http.NoBody, nil
	}
	raw, err := json.Marshal(in)
	return bytes.NewReader(raw), err
}

// do sends a request and returns the answer if it is a good one; the caller closes its body.
func (c *client) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	return c.send(ctx, method, path, "", body)
}

func (c *client) send(ctx context.Context, method, path, key string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if body != http.NoBody {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	if c.org != "" {
		req.Header.Set("X-Cardea-Org", c.org)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.lost(method, err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, problemOf(resp)
}

// lost says what it means that no answer came.
func (c *client) lost(method string, err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	switch {
	case errors.Is(err, context.Canceled) && method == http.MethodGet:
		return errors.New("interrupted")
	case errors.Is(err, syscall.ECONNREFUSED) && c.base == socketBase:
		return notRunning(c.where)
	case errors.Is(err, syscall.ECONNREFUSED) || method == http.MethodGet:
		return fmt.Errorf("%s does not answer: %w", c.where, err)
	}
	if _, ok := errors.AsType[*net.OpError](err); ok && errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("%s: only the user that runs the server, or root, may use its socket: %w", c.where, err)
	}
	return fmt.Errorf("%s did not answer, so it is not known whether the change was made; look before you repeat it: %w", c.where, err)
}

// problem is a problem document of the API, or the short form that the doors use.
type problem struct {
	view.Problem
	Reason string `json:"reason"`
}

// apiError is a refusal of the API. What it wraps is public.
type apiError struct {
	status int
	err    *credential.Error
}

func (e *apiError) Error() string { return e.err.Public() }
func (e *apiError) Unwrap() error { return e.err }

func problemOf(resp *http.Response) error {
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var p problem
	_ = json.Unmarshal(raw, &p) // what is no problem document has no text
	e := &credential.Error{Kind: credential.Invalid, Message: firstOf(p.Detail, p.Reason, p.Title)}
	if e.Message == "" {
		e.Message = "the server answered " + resp.Status
	}
	for _, f := range p.Errors {
		field := strings.TrimPrefix(strings.TrimPrefix(f.Location, "body."), "query.")
		e.Fields = append(e.Fields, credential.FieldError{Field: field, Message: f.Message})
	}
	return &apiError{status: resp.StatusCode, err: e}
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// isStatus reports whether err is an answer of the API with an HTTP status.
func isStatus(err error, status int) bool {
	e, ok := errors.AsType[*apiError](err)
	return ok && e.status == status
}

// all reads every page of a list.
func all[T any](ctx context.Context, c *client, path string, q url.Values) ([]T, error) {
	if q == nil {
		q = url.Values{}
	}
	items := []T{}
	for {
		var page view.Page[T]
		if err := c.get(ctx, path+"?"+q.Encode(), &page); err != nil {
			return nil, err
		}
		items = append(items, page.Items...)
		if page.NextCursor == "" {
			return items, nil
		}
		q.Set("cursor", page.NextCursor)
	}
}

// at puts names into a path.
func at(format string, names ...string) string {
	escaped := make([]any, len(names))
	for i, n := range names {
		escaped[i] = url.PathEscape(n)
	}
	return fmt.Sprintf(format, escaped...)
}
