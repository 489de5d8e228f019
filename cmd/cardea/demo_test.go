package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cardea/internal/testkit"
)

func contains(text string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}

// TestDemo pastes every command that the demo prints into a shell, in order, and looks at the answers.
func TestDemo(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"http": nil, "https": {"--http-tls"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := start(t, testkit.CardeaConfig{Command: "demo", Args: args})
			eventually(t, "the commands", func() bool { return strings.Contains(k.Log(), "Ctrl-C ends the demo") })
			work := t.TempDir()
			grpc, mosquitto := false, false
			for _, line := range strings.Split(k.Log(), "\n") {
				if strings.HasPrefix(line, "grpcurl ") {
					grpc = true // a Go client does the same in TestGRPCWithCertificates
					continue
				}
				mosquitto = mosquitto || strings.HasPrefix(line, "mosquitto_sub ")
				if strings.HasPrefix(line, "curl ") || strings.HasPrefix(line, "mosquitto_") || strings.HasPrefix(line, "cardea ") || strings.HasPrefix(line, k.Bin+" ") {
					paste(t, work, line)
				}
			}
			if !grpc || !mosquitto {
				t.Error("no command for gRPC, or none for MQTT")
			}
			forged(t, k)
			if code := k.Stop(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if err := k.Start(); err != nil { // what was made is kept
				t.Fatal(err)
			}
			for _, name := range []string{"admin.token", "demo/" + demoDevice + "_token", "demo/" + demoService + "_token", "demo/" + demoUser + "_token"} {
				if _, text, code := k.CLI("verify", "--token-file", filepath.Join(k.Data, name)); code != 0 {
					t.Errorf("%s after the second start: %s", name, text)
				}
			}
		})
	}
}

// paste runs one line and checks what it must give.
func paste(t *testing.T, dir, line string) {
	t.Helper()
	if strings.Contains(line, "COUNT(*)") { // what was published arrives a moment later
		eventually(t, "the rows of four messages", func() bool {
			out, err := shell(dir, line)
			return err == nil && contains(out, `["wave.pi",4],["wave.sin",10]`)
		})
		return
	}
	out, err := shell(dir, line)
	if strings.HasPrefix(line, "mosquitto_") {
		pasteMQTT(t, line, out, err)
		return
	}
	if err != nil {
		t.Errorf("%s\n%v\n%s", line, err, out)
		return
	}
	want := []string{`"success":true`, `"reason":"success`}
	_, deleted := os.Stat(filepath.Join(dir, "deleted"))
	switch {
	case strings.Contains(line, " key gen "):
		want = []string{"Save certificate ./myapp01_cert.pem", "Save private key ./myapp01_key.pem", "Save token ./myapp01_token"}
	case strings.Contains(line, " authenticator list"):
		want = []string{"default   token", "default   scram"}
	case strings.Contains(line, " authenticator test "):
		want = []string{"accept", demoService}
	case strings.Contains(line, " key list"):
		want = []string{"ROWNUM  ID", "myapp01"}
	case strings.Contains(line, " key del "):
		want = []string{"deleted"}
		_ = os.WriteFile(filepath.Join(dir, "deleted"), nil, 0o600)
	case strings.Contains(line, " key server-cert "):
		want = []string{"Save certificate ./server.pem"}
	case strings.Contains(line, "/oauth2/token"):
		want = []string{`"access_token":"ey`, `"expires_in":300,"scope":"demo:db"`}
	case strings.Contains(line, " client decode"):
		want = []string{demoClient, `"sub": "` + demoService + `"`, "ALLOWED:     true"}
	case strings.Contains(line, " appkey list"):
		want = []string{demoAppKey}
	case strings.Contains(line, " -b jar "): // the session of an application key
	case strings.Contains(line, " audit list"):
		want = []string{"credential.create"}
	case strings.Contains(line, "/api/v1/principals"):
		want = []string{`"name":"demo-user"`}
	case strings.Contains(line, "Bearer wrong"), strings.Contains(line, "myapp01_token") && deleted == nil, !strings.Contains(line, "-H ") && !strings.Contains(line, "--cert "):
		want = []string{" 401", `{"success":false,"reason":"invalid token"}`}
	}
	if !contains(out, want...) {
		t.Errorf("%s\nwants %q\n%s", line, want, out)
	}
}

// pasteMQTT checks what mosquitto's clients say.
func pasteMQTT(t *testing.T, line, out string, err error) {
	t.Helper()
	var want string
	refused := strings.Contains(line, "--username wrong") || !strings.Contains(line, "--username ") && !strings.Contains(line, "--cert ")
	switch {
	case refused:
		want = "Connection error: Connection Refused: not authorised.\n"
	case strings.HasPrefix(line, "mosquitto_sub "):
		want = "sensor/room 21.5\n"
	}
	if (err != nil) != refused || !strings.HasPrefix(out, want) || want == "" && out != "" {
		t.Errorf("%s\n%v\nwants %q\n%s", line, err, want, out)
	}
}

// shell runs a line in a folder and returns all that it says.
func shell(dir, line string) (string, error) {
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir = dir
	raw, err := cmd.CombinedOutput()
	return string(raw), err
}

// forged calls the upstream past Cardea, with no identity and with one that somebody else has made (H04).
func forged(t *testing.T, k *testkit.Cardea) {
	t.Helper()
	text, _, _ := k.CLI("route", "list", "--json")
	var routes []struct{ Upstream string }
	if err := json.Unmarshal([]byte(text), &routes); err != nil || len(routes) != 1 {
		t.Fatalf("%v: %s", err, text)
	}
	for _, identity := range []string{"", "e30.e30.e30", "eyJhbGciOiJub25lIiwidHlwIjoiY2FyZGVhLWlkZW50aXR5K2p3dCJ9.eyJzdWIiOiJ4IiwiZXhwIjo5OTk5OTk5OTk5fQ."} {
		raw, err := exec.Command("curl", "-s", "-H", "X-Cardea-Identity: "+identity, routes[0].Upstream+"/db/query?q=SELECT+1").Output()
		if err != nil || !contains(string(raw), `"success":false`, "through Cardea only") {
			t.Errorf("with identity %q: %v, %s", identity, err, raw)
		}
	}
}
