//go:build bench

package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cardea/internal/authority"
	"cardea/internal/broker"
	"cardea/internal/credential"
	"cardea/internal/testkit"
)

// TestMQTT is the part of the table that is about MQTT: MQTT_ONLY=1 make bench.
func TestMQTT(t *testing.T) {
	var tab table
	defer tab.print()
	mqttLines(t, &tab)
}

// serveBroker is a role of this binary: the embedded broker alone, on a folder of its own, without a door.
func serveBroker(dir string) {
	b, err := broker.New(broker.Config{Dir: dir})
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			panic(err)
		}
		go func() { _ = b.Serve(c) }()
	}
}

// mqttServer is a Cardea with its MQTT door open.
type mqttServer struct {
	mqtt string
	pid  int
	dir  string
}

func startMQTT(t *testing.T, dir string, args ...string) mqttServer {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready")
	cmd := exec.Command("../bin/cardea", append([]string{
		"serve", "--data", dir, "--ready-file", ready, "--http-listen", "off", "--grpc-listen", "off", "--console-listen", "off",
		"--mqtt-listen", "127.0.0.1:0", "--log-level", "warn",
	}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() })
	var at struct{ MQTT string }
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if raw, err := os.ReadFile(ready); err == nil && json.Unmarshal(raw, &at) == nil && at.MQTT != "" {
			return mqttServer{at.MQTT, cmd.Process.Pid, dir}
		}
	}
	t.Fatalf("cardea did not become ready:\n%s", log.String())
	return mqttServer{}
}

// mqttDevices is how many devices the lines share.
const mqttDevices = 6000

// fillDevices makes devices that may do what five rules say.
func (c *core) fillDevices(t *testing.T) (tokens, ids []string, credentials []string) {
	t.Helper()
	ctx := t.Context()
	var rules []credential.Rule
	for _, resource := range []string{"config/#", "alarms/+/ack", "plant/line/#", "status", "bench/#"} {
		rules = append(rules, credential.Rule{Permission: credential.Allow, Action: "mqtt:*", Resource: resource})
	}
	if _, err := c.auth.CreateScope(ctx, local(), authority.NewScope{Name: "bench", Rules: rules}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.auth.CreateRole(ctx, local(), authority.NewRole{Name: "bench", Scopes: []string{"bench"}}); err != nil {
		t.Fatal(err)
	}
	for i := range mqttDevices {
		name := fmt.Sprintf("device-%d", i)
		p, err := c.auth.CreatePrincipal(ctx, local(), authority.NewPrincipal{Kind: credential.Device, Name: name, Roles: []string{"bench"}})
		if err != nil {
			t.Fatal(err)
		}
		made, err := c.auth.CreateCredential(ctx, local(), authority.NewCredential{Kind: credential.DeviceToken, Principal: p.Name, Name: "bench"})
		if err != nil {
			t.Fatal(err)
		}
		tokens, ids, credentials = append(tokens, made.Secret.Reveal()), append(ids, name), append(credentials, made.Credential.ID)
	}
	return tokens, ids, credentials
}
