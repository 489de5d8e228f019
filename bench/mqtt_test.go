//go:build bench

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
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
	t.Run("scram", func(t *testing.T) { scramLines(t, &tab) })
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
	if _, err := c.auth.PutScope(ctx, local(), credential.Scope{Org: credential.DefaultOrg, Name: "bench", Rules: rules}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.auth.PutRole(ctx, local(), credential.Role{Org: credential.DefaultOrg, Name: "bench", Scopes: []string{"bench"}}); err != nil {
		t.Fatal(err)
	}
	var batch []authority.NewCredential
	for i := range mqttDevices {
		name := fmt.Sprintf("device-%d", i)
		if _, err := c.auth.CreatePrincipal(ctx, local(), authority.NewPrincipal{Kind: credential.Device, Name: name, Roles: []string{"bench"}}); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, name)
		batch = append(batch, authority.NewCredential{Kind: credential.DeviceToken, Principal: name, Name: "bench"})
	}
	for part := range slices.Chunk(batch, 500) {
		made, err := c.auth.CreateCredentials(ctx, local(), part)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range made {
			tokens, credentials = append(tokens, m.Secret.Reveal()), append(credentials, m.Credential.ID)
		}
	}
	return tokens, ids, credentials
}

// copyFolder copies the files of a data folder.
func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// socketClient speaks to the administrator's socket.
func socketClient(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
}

func revoke(c *http.Client, credential string) error {
	resp, err := c.Post("http://cardea/api/v1/credentials/"+credential+"/revoke", "application/json", strings.NewReader(`{"reason":"bench"}`))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("revoke: %s", resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// quick is a first look: MQTT_QUICK=1 with few rounds.
func mqttRounds() (n int, d time.Duration) {
	if os.Getenv("MQTT_QUICK") != "" {
		return 3, 2 * time.Second
	}
	return rounds, 3 * time.Second
}

// mqttLines are the lines of the table about MQTT. Every target is loaded by the same generator, in turns.
func mqttLines(t *testing.T, tab *table) {
	dir := filepath.Join(t.TempDir(), "data")
	c := newCore(t, dir, "")
	tokens, ids, credentials := c.fillDevices(t)
	c.close()

	alone := bare(t, "broker "+t.TempDir())
	mosquitto := testkit.StartMosquitto(t, "max_inflight_messages 100\nmax_queued_messages 100000\n")
	embedded := startMQTT(t, dir)
	second := filepath.Join(t.TempDir(), "data2")
	copyFolder(t, dir, second)
	third := filepath.Join(t.TempDir(), "data3")
	copyFolder(t, dir, third)
	front := startMQTT(t, second, "--mqtt-upstream", "tcp://"+mosquitto.Addr)

	bareBroker := &mqttTarget{name: "embedded broker alone", addr: alone.addr, pids: []int{alone.pid}}
	door := &mqttTarget{name: "door and embedded broker", addr: embedded.mqtt, pids: []int{embedded.pid}, tokens: tokens, ids: ids}
	through := &mqttTarget{name: "door in front of Mosquitto", addr: front.mqtt, pids: []int{front.pid, mosquitto.PID}, tokens: tokens, ids: ids}

	t.Run("connects", func(t *testing.T) { connectLine(t, tab, door, bareBroker) })
	t.Run("messages", func(t *testing.T) {
		for _, l := range []struct {
			what          string
			pairs, window int
			qos           byte
			target        float64
		}{
			{"QoS 0 messages, 50 pairs, batched", 50, 100, 0, 0.9},
			{"QoS 0 messages, 50 pairs, one at a time", 50, 1, 0, 0.9},
			{"QoS 1 messages, 50 pairs, batched", 50, 50, 1, 0.9},
			{"QoS 1 messages, 50 pairs, one at a time", 50, 1, 1, 0.9},
		} {
			messageLine(t, tab, l.what, l.pairs, l.window, l.qos, l.target, door, bareBroker)
		}
		messageLine(t, tab, "QoS 1 messages to sessions that last, 50 pairs, batched", 50, 50, 1, 0.9, door.lasts(), bareBroker.lasts())
	})
	t.Run("cpu", func(t *testing.T) { cpuLine(t, tab, through) })
	t.Run("idle", func(t *testing.T) { idleLines(t, tab, third, tokens, ids) })
	t.Run("check", func(t *testing.T) { checkLine(t, tab) })
	t.Run("revoke", func(t *testing.T) { revokeLine(t, tab, door, embedded.dir, credentials) })
}

func connectLine(t *testing.T, tab *table, door, alone *mqttTarget) {
	n, d := mqttRounds()
	var ours, bare series
	for range n {
		ours = append(ours, door.connects(t, 16, d))
		bare = append(bare, alone.connects(t, 16, d))
	}
	tab.ratio("MQTT: door with a token against the embedded broker alone", "connects a second", ours, bare, 0.8, false)
}

func messageLine(t *testing.T, tab *table, what string, pairs, window int, qos byte, target float64, door, alone *mqttTarget) {
	n, d := mqttRounds()
	var ours, bare, oursCPU, bareCPU series
	for range n {
		rate, cpu := door.messages(t, pairs, window, qos, d)
		ours, oursCPU = append(ours, rate), append(oursCPU, cpu)
		rate, cpu = alone.messages(t, pairs, window, qos, d)
		bare, bareCPU = append(bare, rate), append(bareCPU, cpu)
	}
	tab.ratio("MQTT: "+what+", door with 5 rules against the embedded broker alone", "a second", ours, bare, target, false)
	tab.ratio("MQTT: "+what+", door with 5 rules against the embedded broker alone", "server CPU µs a message", oursCPU, bareCPU, 0, true)
}

// pacedRates are the fixed rates of the lines about CPU, in messages a second. The first is about what the machine can do with
// the generator beside it; at the second, processes sleep between messages, and what waking them costs is most of it.
var pacedRates = []int{20_000, 5_000}

func cpuLine(t *testing.T, tab *table, through *mqttTarget) {
	n, d := mqttRounds()
	target := 1.3
	for _, perSecond := range pacedRates {
		var ours, bare, reached series
		for range n {
			cpu, rate := through.paced(t, 50, perSecond, 2*d)
			ours, bare, reached = append(ours, cpu[0]), append(bare, cpu[1]), append(reached, rate)
		}
		tab.ratio(fmt.Sprintf("MQTT: QoS 0 at %s messages a second (%s reached), the door's process against Mosquitto's behind it", figure(float64(perSecond)), figure(reached.median())),
			"CPU µs a message", ours, bare, target, true)
		target = 0
	}
}

// idleLines starts servers of its own: what others have done before them must not lend them memory.
func idleLines(t *testing.T, tab *table, data string, tokens, ids []string) {
	const connections = 5000
	start := func(args ...string) *mqttTarget {
		dir := filepath.Join(t.TempDir(), "data")
		copyFolder(t, data, dir)
		s := startMQTT(t, dir, args...)
		return &mqttTarget{name: "idle", addr: s.mqtt, pids: []int{s.pid}, tokens: tokens, ids: ids}
	}
	behind := testkit.StartMosquitto(t, "")
	kib := start("--mqtt-upstream", "tcp://"+behind.Addr).idle(t, connections)
	met := "met"
	if kib > 12 {
		met = "MISSED"
	}
	tab.plain(fmt.Sprintf("MQTT: memory of each of %d idle connections, door in front of Mosquitto, KiB", connections), figure(kib), "≤ 12", met)
	tab.plain("MQTT: the same, door and embedded broker, KiB", figure(start().idle(t, connections)), "reported", "")
	alone := testkit.StartMosquitto(t, "")
	tab.plain("MQTT: the same, Mosquitto alone, KiB", figure((&mqttTarget{addr: alone.Addr, pids: []int{alone.PID}}).idle(t, connections)), "reported", "")
}

// revokeLine ends credentials of connected sessions, one after the other, and waits until the client sees the end of its connection.
func revokeLine(t *testing.T, tab *table, door *mqttTarget, dir string, credentials []string) {
	const connections, revoked = 5000, 300
	conns := make([]*mqttConn, connections)
	for i := range conns {
		k, err := door.dial(i)
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = k
	}
	client := socketClient(filepath.Join(dir, "cardea.sock"))
	var took series
	for i := range revoked {
		n := i * (connections / revoked)
		ended := make(chan time.Time, 1)
		go func() {
			for {
				if _, _, err := conns[n].next(); err != nil {
					ended <- time.Now()
					return
				}
			}
		}()
		start := time.Now()
		if err := revoke(client, credentials[n]); err != nil {
			t.Fatal(err)
		}
		took = append(took, float64((<-ended).Sub(start).Microseconds())/1000)
	}
	for _, k := range conns {
		k.Close()
	}
	p99 := percentile(took, 0.99)
	met := "met"
	if p99 > 50 {
		met = "MISSED"
	}
	tab.plain(fmt.Sprintf("MQTT: from the request to revoke one of %d connected sessions to its closed socket, ms: p99", connections),
		fmt.Sprintf("%s (p50 %s, max %s)", figure(p99), figure(percentile(took, 0.5)), figure(percentile(took, 1))), "≤ 50", met)
}

// checkLine takes the time of checking one PUBLISH from the door's own benchmark, which reaches what no client does.
func checkLine(t *testing.T, tab *table) {
	n, _ := mqttRounds()
	cmd := exec.Command("go", "test", "-run", "^$", "-bench", "^BenchmarkPublish$", "-benchmem", "-count", fmt.Sprint(n), "../internal/mqttdoor")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var took, allocs series
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		for i := 2; i+1 < len(f) && strings.HasPrefix(f[0], "Benchmark"); i += 2 { // after the name and the count, pairs of value and unit
			value, err := strconv.ParseFloat(f[i], 64)
			switch {
			case err != nil:
				t.Fatalf("%v in %q", err, line)
			case f[i+1] == "ns/op":
				took = append(took, value)
			case f[i+1] == "allocs/op":
				allocs = append(allocs, value)
			}
		}
	}
	if len(took) == 0 || len(allocs) == 0 {
		t.Fatalf("no figures in\n%s", out)
	}
	met := "met"
	if took.median() > 300 || slices.Max(allocs) > 0 {
		met = "MISSED"
	}
	tab.plain("MQTT: checking one PUBLISH (scan, alias, 5 rules), ns; allocations", took.spread()+"; "+figure(slices.Max(allocs)), "≤ 300; 0", met)
}
