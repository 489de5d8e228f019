package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"cardea/internal/mqtt"
	"cardea/internal/testkit"
	"cardea/internal/view"
)

// device connects with the token of the demo's device.
func (b *bench) device() *testkit.MQTT {
	b.Helper()
	raw, err := os.ReadFile(filepath.Join(b.k.Data, "demo", demoDevice+"_token"))
	if err != nil {
		b.Fatal(err)
	}
	return testkit.ConnectMQTT(b, b.k.MQTT, testkit.MQTTConfig{ClientID: demoDevice, User: strings.TrimSpace(string(raw))})
}

// What is not good is told of with its topic and why, without what it holds, and keeps nothing else from arriving.
func TestIngestBadMessages(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m := b.device()
	for topic, payload := range map[string]string{
		"db/write/EXAMPLE":      `["hide-me", "hide-me", "hide-me"]`,
		"db/append/EXAMPLE":     "hide-me hide-me",
		"db/write/no table":     `["a", 1, 1]`,
		"db/write/sqlite_stat1": `["a", 1, 1]`,
		"db/write/":             `["a", 1, 1]`,
		"db/append/EMPTY":       `{"data":{"columns":["name","time","value"],"rows":[]}}`,
	} {
		if code := m.Publish(topic, payload, 1); code.Failed() {
			t.Errorf("%s: 0x%02X", topic, byte(code))
		}
	}
	for i := range 150 { // more tables than there may be, some in one transaction
		m.SendPublish(mqtt.Publish{Topic: fmt.Appendf(nil, "db/write/T%d", i), QoS: 0}, `["t", 1, 1]`)
	}
	m.Publish("db/append/EXAMPLE", `[["good", 1, 1], ["good", 2, 2]]`, 1)
	b.rows("SELECT COUNT(*) FROM EXAMPLE WHERE NAME = 'good'", "[[2]]")
	b.rows("SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table'", "[[100]]")
	b.rows("SELECT COUNT(*) FROM T98", "[[1]]")
	if log := b.k.Log(); !contains(log, "a message was not stored", "the table's name must be letters", "the body must be JSON", `"topic":"db/append/EMPTY"`, errTables.Error()) || strings.Contains(log, "hide-me") {
		t.Errorf("the log:\n%s", log)
	}
}

// With a broker of somebody else's: what it has taken while the demo was down or could not reach it arrives
// later, and what it keeps for newcomers is not stored again.
func TestIngestThroughAnotherBroker(t *testing.T) {
	t.Parallel()
	broker := testkit.StartMosquitto(t, "max_queued_messages 0")
	way := newRelay(t, broker.Addr)
	b := newBench(t, "--mqtt-upstream", "tcp://"+way.Addr().String())
	m := b.device()
	m.PublishWith(mqtt.Publish{Topic: []byte("db/write/EXAMPLE"), QoS: 1, Retain: true}, `["kept", 1, 1]`)
	b.rows("SELECT COUNT(*) FROM EXAMPLE WHERE NAME = 'kept'", "[[1]]")

	direct := testkit.ConnectMQTT(t, broker.Addr, testkit.MQTTConfig{ClientID: "operator"})
	way.cut()
	eventually(t, "the log says that nothing arrives", func() bool { return strings.Contains(b.k.Log(), "does not reach the sample service") })
	direct.Publish("db/append/EXAMPLE", `["cut", 1, 1]`, 1)
	way.mend()
	b.rows("SELECT COUNT(*) FROM EXAMPLE WHERE NAME = 'cut'", "[[1]]")

	b.k.Stop()
	for i := range 300 {
		direct.Publish("db/append/EXAMPLE", fmt.Sprintf(`["down", %d, 1]`, i), 1)
	}
	way.cut() // a demo whose broker is down is ready all the same
	if err := b.k.Start(); err != nil {
		t.Fatal(err)
	}
	way.mend()
	b.rows("SELECT COUNT(DISTINCT TIME) FROM EXAMPLE WHERE NAME = 'down'", "[[300]]")
	b.rows("SELECT COUNT(*) FROM EXAMPLE WHERE NAME = 'kept'", "[[1]]")
}

// relay is a network between two programs, which can be cut.
type relay struct {
	net.Listener
	to string

	mu   sync.Mutex
	off  bool
	open []net.Conn
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l, to: to}
	t.Cleanup(func() { l.Close(); r.cut() })
	go r.run()
	return r
}

func (r *relay) run() {
	for {
		c, err := r.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", r.to)
		r.mu.Lock()
		if err != nil || r.off {
			c.Close()
		} else {
			r.open = append(r.open, c, out)
			go func() { _, _ = io.Copy(out, c); out.Close() }()
			go func() { _, _ = io.Copy(c, out); c.Close() }()
		}
		r.mu.Unlock()
	}
}

func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.off = true
	for _, c := range r.open {
		c.Close()
	}
	r.open = nil
}

func (r *relay) mend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.off = false
}

// Where the listener takes certificates alone, the sample service comes with its own.
func TestIngestByCertificate(t *testing.T) {
	t.Parallel()
	b := newBench(t, "--mqtt-enable-tls", "--mqtt-tls-listen", "off")
	if b.k.MQTT != b.k.MQTTS {
		t.Errorf("MQTT at %q, over TLS at %q", b.k.MQTT, b.k.MQTTS)
	}
	pair := filepath.Join(b.k.Data, "demo", demoDevice)
	b.good(fmt.Sprintf(`mosquitto_pub -h localhost -p 5653 --cafile %s/demo/server.pem --cert %s_cert.pem --key %s_key.pem -t db/write/EXAMPLE -m '["tls", "now", 1]'`,
		b.k.Data, pair, pair), "")
	b.rows("SELECT COUNT(*) FROM EXAMPLE WHERE NAME = 'tls'", "[[1]]")
	if out, _, _ := b.k.CLI("session", "list", "--principal", demoIngest); !strings.Contains(out, demoIngest) {
		t.Errorf("no session of %s:\n%s", demoIngest, out)
	}
}

// A demo without MQTT is one, and one of an older version gets what it does not have.
func TestIngestInOlderDemo(t *testing.T) {
	t.Parallel()
	b := newBench(t, "--mqtt-listen", "off", "--mqtt-tls-listen", "off")
	if b.k.MQTT != "" || b.k.MQTTS != "" || strings.Contains(b.k.Log(), "mosquitto_pub") {
		t.Errorf("MQTT is served at %q and %q:\n%s", b.k.MQTT, b.k.MQTTS, b.k.Log())
	}
	for _, noun := range []string{"principal", "role", "scope"} { // older versions have none of them
		if _, text, code := b.k.CLI(noun, "del", demoIngest); code != 0 {
			t.Fatalf("%s: %s", noun, text)
		}
	}
	for _, name := range []string{"_token", "_cert.pem", "_key.pem"} {
		if err := os.Remove(filepath.Join(b.k.Data, "demo", demoIngest+name)); err != nil {
			t.Fatal(err)
		}
	}
	b.k.Stop()
	again := start(t, testkit.CardeaConfig{Command: "demo", Data: b.k.Data})
	b.k = again
	b.device().Publish("db/write/EXAMPLE", `["old", 1, 1]`, 1)
	b.rows("SELECT COUNT(*) FROM EXAMPLE WHERE NAME = 'old'", "[[1]]")
}

// The sample service may subscribe to its topics and do nothing else.
func TestIngestMayLittle(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	token := filepath.Join(b.k.Data, "demo", demoIngest+"_token")
	for access, code := range map[string]int{
		"mqtt:subscribe db/write/+": 0, "mqtt:subscribe db/append/+": 0,
		"mqtt:subscribe db/+/+": 1, "mqtt:subscribe #": 1, "mqtt:publish db/write/EXAMPLE": 1, "http:GET /db/query": 1, "api:principals:read /principals/x": 1,
	} {
		action, resource, _ := strings.Cut(access, " ")
		if _, text, got := b.k.CLI("verify", "--token-file", token, "--action", action, "--resource", resource); got != code {
			t.Errorf("%s: %d %s", access, got, text)
		}
	}
}

// Nothing is acknowledged that was not stored: it comes again when it can be.
func TestIngestAcknowledgesWhatIsStored(t *testing.T) {
	t.Parallel()
	k := start(t, testkit.CardeaConfig{})
	token := gen(t, k, view.NewKey{ID: "pump-1"}).Token.Secret.Reveal()
	client, err := socketClient(k.Data)
	if err != nil {
		t.Fatal(err)
	}
	d := &demo{data: k.Data, files: t.TempDir(), client: client}
	if err := d.makeIngest(t.Context()); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(d.token(demoIngest))
	if err != nil {
		t.Fatal(err)
	}
	var log testkit.Log
	run := func(u *upstream) *ingest {
		in := &ingest{up: u, token: strings.TrimSpace(string(raw)), log: slog.New(slog.NewTextHandler(&log, nil))}
		in.dial = func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", k.MQTT) }
		in.start(t.Context())
		return in
	}
	broken := newTestUpstream(t)
	first := run(broken)
	broken.write.Close() // the disk is gone, say
	m := testkit.ConnectMQTT(t, k.MQTT, testkit.MQTTConfig{ClientID: "pump-1", User: token})
	for i := range 200 {
		m.Publish("db/write/T", fmt.Sprintf(`["a", %d, 1]`, i), 1)
	}
	eventually(t, "it is said that nothing arrives", func() bool { return strings.Contains(log.String(), "does not reach") })
	first.Close()
	good := newTestUpstream(t)
	defer run(good).Close()
	eventually(t, "all rows, in the order in which they were published", func() bool {
		_, a := call(t, good, http.MethodGet, "/db/query?q=SELECT+group_concat(TIME,+'')+FROM+T", "", "")
		var want strings.Builder
		for i := range 200 {
			fmt.Fprint(&want, i)
		}
		return a.Data != nil && a.Data.Rows[0][0] == want.String()
	})
	if strings.Contains(log.String(), token) {
		t.Error("the log holds a token")
	}
}

// A demo that is killed loses nothing that was acknowledged to a publisher at QoS 1.
func TestDemoKilled(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const rounds, each = 3, 200
	for round := range rounds {
		m := b.device()
		for i := range each {
			if code := m.Publish("db/append/EXAMPLE", fmt.Sprintf(`["killed", %d, 1]`, round*each+i), 1); code.Failed() {
				t.Fatalf("0x%02X", byte(code))
			}
		}
		b.k.Kill()
		if err := b.k.Start(); err != nil {
			t.Fatal(err)
		}
	}
	b.rows("SELECT COUNT(DISTINCT TIME) FROM EXAMPLE WHERE NAME = 'killed'", fmt.Sprintf("[[%d]]", rounds*each))
}
