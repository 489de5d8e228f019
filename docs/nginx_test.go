package docs_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The nginx configuration of forward-auth.md works as it stands there: who is
// let in reaches the service with their name and without their token (H20).
func TestNginxOfTheDocument(t *testing.T) {
	text, err := os.ReadFile("forward-auth.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```nginx\n(.*?)```").FindSubmatch(text)
	if block == nil {
		t.Fatal("there is no nginx block")
	}
	bin, dir := filepath.Join(t.TempDir(), "cardea"), t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin, "../cmd/cardea").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	ports := startServer(t, bin, dir, "serve", []string{"--trusted-proxy", "127.0.0.1/32"})
	if out, err := exec.Command(bin, "--data", filepath.Join(dir, "cardea-data"), "key", "gen", "pump", "--output", filepath.Join(dir, "pump")).CombinedOutput(); err != nil {
		t.Fatalf("key gen: %v\n%s", err, out)
	}
	token, err := os.ReadFile(filepath.Join(dir, "pump_token"))
	if err != nil {
		t.Fatal(err)
	}
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %q %s", r.Header.Get("X-Cardea-Principal"), r.Header.Get("Authorization"), r.RequestURI)
	}))
	t.Cleanup(service.Close)
	locations := strings.ReplaceAll(ports.Replace(string(block[1])), "127.0.0.1:8086", strings.TrimPrefix(service.URL, "http://"))
	url := "http://" + startNginx(t, dir, locations) + "/db/query?q=1"
	for header, want := range map[string]string{
		"Bearer " + strings.TrimSpace(string(token)): `200 pump "" /db/query?q=1`,
		"Bearer wrong": "401",
	} {
		if got := fetch(t, url, header); !strings.HasPrefix(got, want) {
			t.Errorf("answered %q, want %q", got, want)
		}
	}
}

// startNginx runs an nginx with these locations on a free port and returns its address.
func startNginx(t *testing.T, dir, locations string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	conf := fmt.Sprintf(`daemon off; pid %[1]s/pid; error_log %[1]s/error.log; events {}
http { access_log off; client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
server { listen %[2]s; %[3]s } }`, dir, addr, locations)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/sbin/nginx", "-p", dir, "-e", filepath.Join(dir, "error.log"), "-c", file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatalf("nginx is missing (make test installs it): %v", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() })
	for range 500 {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return addr
		}
		time.Sleep(10 * time.Millisecond)
	}
	log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
	t.Fatalf("nginx does not accept:\n%s", log)
	return ""
}

func fetch(t *testing.T, url, authorization string) string {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", authorization)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body [512]byte
	n, _ := resp.Body.Read(body[:])
	return fmt.Sprintf("%d %s", resp.StatusCode, body[:n])
}
