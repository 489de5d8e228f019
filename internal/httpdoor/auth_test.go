package httpdoor

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// H20: /auth answers trusted proxies that say in one way what is attempted; 200 with
// the identity headers, 401 or 403, as nginx needs it.
func TestForwardAuth(t *testing.T) {
	h := newHouse(t, nil, behind("127.0.0.1/32"))
	h.scope("reads", "allow http:GET /db/**")
	is, narrow := h.scoped("reader", "reads"), h.in("narrow", "198.51.100.0/24")
	token := bearer(is)
	const method, uri = "X-Original-Method: GET", "X-Original-URI: /db/x?q=1"
	for name, tc := range map[string]struct {
		headers []string
		want    int
	}{
		"nginx":                      {[]string{token, method, uri}, 200},
		"Traefik":                    {[]string{token, "X-Forwarded-Method: GET", "X-Forwarded-Uri: /db/x"}, 200},
		"no token":                   {[]string{method, uri}, 401},
		"wrong token":                {[]string{"Authorization: Bearer x", method, uri}, 401},
		"other method":               {[]string{token, "X-Original-Method: POST", uri}, 403},
		"other path":                 {[]string{token, method, "X-Original-URI: /other"}, 403},
		"no method":                  {[]string{token, uri}, 403},
		"no URI":                     {[]string{token, method}, 403},
		"neither":                    {[]string{token}, 403},
		"mixed":                      {[]string{token, method, "X-Forwarded-Uri: /db/x"}, 403},
		"both":                       {[]string{token, method, uri, "X-Forwarded-Method: GET", "X-Forwarded-Uri: /db/x"}, 403},
		"both, one half":             {[]string{token, method, uri, "X-Forwarded-Uri: /db/x"}, 403},
		"URI twice":                  {[]string{token, method, uri, uri}, 403},
		"method twice":               {[]string{token, method, method, uri}, 403},
		"underscores":                {[]string{token, "X_Original_Method: GET", "X_Original_URI: /db/x"}, 403},
		"absolute URI":               {[]string{token, method, "X-Original-URI: http://h/db/x"}, 403},
		"dots":                       {[]string{token, method, "X-Original-URI: /db/../x"}, 403},
		"escaped dots":               {[]string{token, method, "X-Original-URI: /db/%2e%2e/db/x"}, 403},
		"TRACE":                      {[]string{token, "X-Original-Method: TRACE", uri}, 403},
		"lower case":                 {[]string{token, "X-Original-Method: get", uri}, 403},
		"K04 token in the query":     {[]string{method, "X-Original-URI: /db/x?token=x"}, 403},
		"K05 token in the query too": {[]string{token, method, "X-Original-URI: /db/x?a=1&%61ppKey=x"}, 403},
		"two credentials":            {[]string{token, "X-API-Key: x", method, uri}, 403},
		"H11 network":                {[]string{bearer(narrow), method, uri, "X-Forwarded-For: 198.51.100.1"}, 200},
		"H11 other network":          {[]string{bearer(narrow), method, uri, "X-Forwarded-For: 198.51.100.1, 203.0.113.1"}, 401},
		"H11 garbage":                {[]string{token, method, uri, "X-Forwarded-For: x"}, 403},
	} {
		a := h.ask("GET", "/auth", tc.headers...)
		if a.StatusCode != tc.want {
			t.Errorf("%s: %d %s, want %d", name, a.StatusCode, a.text, tc.want)
		}
		if tc.want == 200 && (a.text != "" || a.Header.Get("X-Cardea-Principal") == "" || identityClaims(t, a.Header.Get("X-Cardea-Identity"))["org"] != "default") {
			t.Errorf("%s: %q %v", name, a.text, a.Header)
		}
		if tc.want != 200 && a.Header.Get("X-Cardea-Principal") != "" {
			t.Errorf("%s: a refusal with %v", name, a.Header)
		}
	}
	h.must(h.gate.Close()) // H14
	if a := h.ask("GET", "/auth", token, method, uri); a.StatusCode != 503 {
		t.Errorf("when the gate cannot know: %d", a.StatusCode)
	}
}

// H20: nobody else may ask, whatever the headers say.
func TestForwardAuthIsForTrustedProxies(t *testing.T) {
	h := newHouse(t, nil, behind("192.0.2.0/24"))
	is := h.token("pump")
	a := h.ask("GET", "/auth", bearer(is), "X-Original-Method: GET", "X-Original-URI: /db/x", "X-Forwarded-For: 192.0.2.1")
	if a.StatusCode != 403 || !strings.Contains(a.text, "trusted prox") {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
}

const nginxConf = `
daemon off; master_process off; worker_processes 1; pid %[1]s/nginx.pid; error_log stderr warn;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  server {
    listen %[2]s;
    location / {
      auth_request /cardea;
      auth_request_set $principal $upstream_http_x_cardea_principal;
      auth_request_set $identity $upstream_http_x_cardea_identity;
      proxy_set_header X-Cardea-Principal $principal;
      proxy_set_header X-Cardea-Identity $identity;
      proxy_set_header Authorization "";
      proxy_pass http://%[3]s;
    }
    location = /cardea {
      internal;
      proxy_pass http://%[4]s/auth;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_set_header X-Original-Method $request_method;
      proxy_set_header X-Original-URI $request_uri;
      proxy_set_header X-Forwarded-For $remote_addr;
    }
  }
}`

// A real nginx asks /auth before it forwards, and passes on who calls.
func TestNginxAuthRequest(t *testing.T) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		if nginx = "/usr/sbin/nginx"; !fileExists(nginx) {
			t.Fatal("nginx is needed for this test; `make test` installs it (Debian package nginx-light)")
		}
	}
	up := newUpstream(t, nil)
	h := newHouse(t, nil, behind("127.0.0.1/32"))
	h.scope("reads", "allow http:GET /db/**")
	is := h.scoped("reader", "reads")
	addr := freeAddr(t)
	startNginx(t, nginx, addr, strings.TrimPrefix(up.URL, "http://"), h.addr)

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func(method, path string, headers ...string) int {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+addr+path, nil)
		h.must(err)
		for _, line := range headers {
			name, value, _ := strings.Cut(line, ": ")
			req.Header.Add(name, value)
		}
		resp, err := client.Do(req)
		h.must(err)
		defer resp.Body.Close()
		io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	if got := ask("GET", "/db/x?q=1", bearer(is), "X-Cardea-Principal: admin"); got != 200 {
		t.Fatalf("a good token: %d", got)
	}
	s := up.got()
	if len(s) != 1 || s[0].uri != "/db/x?q=1" || s[0].header.Get("X-Cardea-Principal") != "reader" || len(s[0].header["X-Cardea-Principal"]) != 1 {
		t.Errorf("the upstream got %v", s)
	}
	if claims := identityClaims(t, s[0].header.Get("X-Cardea-Identity")); claims["sub"] != "reader" {
		t.Errorf("identity %v", claims)
	}
	for _, tc := range []struct {
		method, path string
		headers      []string
		want         int
	}{
		{"GET", "/db/x", nil, 401},
		{"GET", "/db/x", []string{"Authorization: Bearer x"}, 401},
		{"POST", "/db/x", []string{bearer(is)}, 403},
		{"GET", "/other", []string{bearer(is)}, 403},
		{"GET", "/db/%2e%2e/other", []string{bearer(is)}, 403},
		{"GET", "/db/x", []string{bearer(is), "X-Forwarded-Uri: /other"}, 403}, // H20: forged beside the real one
	} {
		if got := ask(tc.method, tc.path, tc.headers...); got != tc.want {
			t.Errorf("%s %s: %d, want %d", tc.method, tc.path, got, tc.want)
		}
	}
	h.revoke(is)
	if got := ask("GET", "/db/x", bearer(is)); got != 401 {
		t.Errorf("after the revocation: %d", got)
	}
	if s := up.got(); len(s) > 0 {
		t.Errorf("the upstream got %v", s)
	}
}

func fileExists(path string) bool { _, err := os.Stat(path); return err == nil }

func freeAddr(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// startNginx runs an own nginx in the foreground until the test is over.
func startNginx(t testing.TB, nginx, addr, upstream, door string) {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir, addr, upstream, door), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, nginx, "-p", dir, "-e", "stderr", "-c", conf)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { defer close(exited); cmd.Wait() }()
	t.Cleanup(func() { cancel(); <-exited })
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-exited:
			t.Fatalf("nginx has ended: %s", output.String())
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("nginx does not accept on %s", addr)
		}
	}
}
