package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"cardea/internal/mqtt"
	"cardea/internal/testkit"
	"cardea/internal/view"
)

// TestEclipseSuites runs Eclipse's own programs, 10 cases of 3.1.1 and 27 of 5.0, against a listener that lets in who shows
// nothing. It needs a copy of eclipse/paho.mqtt.testing: make conformance CONFORMANCE_DIR=….
func TestEclipseSuites(t *testing.T) {
	dir := os.Getenv("CONFORMANCE_DIR")
	if dir == "" {
		t.Skip("needs a copy of eclipse/paho.mqtt.testing in CONFORMANCE_DIR")
	}
	k := start(t, testkit.CardeaConfig{})
	id := tester(t, k).ID
	k.Stop()
	port := unused(t)
	file := filepath.Join(t.TempDir(), "cardea.toml")
	text := fmt.Sprintf("[[mqtt_listener]]\nname = \"suites\"\nlisten = \"127.0.0.1:%s\"\nallow_anonymous = true\nanonymous_credential = %q\nrefused_filter = \"unspecified\"\nrefused_filters = [\"test/nosubscribe\"]\n", port, id)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, testkit.CardeaConfig{Data: k.Data, Args: []string{"--config", file}})
	for _, suite := range []string{"client_test.py", "client_test5.py"} {
		t.Run(suite, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "python3", suite, "-p", port)
			cmd.Dir = filepath.Join(dir, "interoperability")
			if suite == "client_test.py" { // it gives unittest its own arguments, which that refuses
				cmd.Args = []string{"python3", "-c", launch, port}
			}
			out, err := cmd.CombinedOutput()
			t.Logf("%s", out)
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// launch starts the suite of 3.1.1 on another port than the usual one.
const launch = `import sys, unittest, client_test as suite
suite.host, suite.port = "localhost", int(sys.argv[1])
suite.topics = ("TopicA", "TopicA/B", "Topic/C", "TopicA/C", "/TopicA")
suite.wildtopics = ("TopicA/+", "+/C", "#", "/#", "/+", "+/+", "TopicA/#")
suite.nosubscribe_topics = ("test/nosubscribe",)
unittest.main(module=suite, argv=["client_test"])`

// tester makes a service that may do anything, but for what is denied.
func tester(t *testing.T, k *testkit.Cardea, deny ...string) view.Issued {
	t.Helper()
	scope := []string{"scope", "create", "any", "--allow", "mqtt:* #", "--allow", "mqtt:publish $TopicA/#"}
	for _, rule := range deny {
		scope = append(scope, "--deny", rule)
	}
	for _, line := range [][]string{
		scope,
		{"role", "create", "tester", "--scope", "any"},
		{"principal", "create", "suite", "--kind", "service", "--role", "tester"},
	} {
		if out, text, code := k.CLI(line...); code != 0 {
			t.Fatal(line, out, text)
		}
	}
	var key view.Issued
	if status, err := ask(k.Socket(), http.MethodPost, pathCredentials, view.NewCredential{Kind: "api_key", Principal: "suite"}, &key); status != http.StatusCreated {
		t.Fatal(status, err)
	}
	return key
}

// unused is a port that nobody listens on.
func unused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// RabbitMQ behind the door: 3.1.1 alone, so that clients of 5.0 are told (0x84), and no QoS 2.
func TestMQTTRabbitMQ(t *testing.T) {
	if os.Getenv("CARDEA_SOAK") == "" {
		t.Skip("starts too slowly for every run: make soak")
	}
	t.Parallel()
	b := testkit.StartRabbitMQ(t)
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("guest\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k := start(t, testkit.CardeaConfig{Args: []string{
		"--mqtt-upstream", "tcp://" + b.Addr, "--mqtt-upstream-version", "3.1.1", "--mqtt-upstream-password-file", password,
	}})
	token := string(gen(t, k, view.NewKey{ID: "guest"}).Token.Secret) // the user that RabbitMQ knows
	c := testkit.MQTTConfig{ClientID: "guest", User: token}
	if code := testkit.DialMQTT(t, k.MQTT, c).Connect(c); code != mqtt.UnsupportedVersion {
		t.Errorf("a client of 5.0: 0x%02X", byte(code))
	}
	c.Version = mqtt.V311
	m := testkit.ConnectMQTT(t, k.MQTT, c)
	m.Subscribe(testkit.Filter("a/#", 1))
	for qos := range byte(2) {
		m.Publish("a/b", "hello", qos)
		if p := m.Message(); p.Payload != "hello" || string(p.Publish.Topic) != "a/b" || p.Publish.QoS != qos {
			t.Errorf("%q on %q, QoS %d", p.Payload, p.Publish.Topic, p.Publish.QoS)
		}
	}
	for range 2000 { // more than may be unreleased: a PUBACK ends each
		m.SendPublish(mqtt.Publish{Topic: []byte("b"), QoS: 2}, "")
		m.Expect(mqtt.PUBACK)
	}
	if out, text, code := k.CLI("key", "del", "guest"); code != 0 {
		t.Fatal(out, text)
	}
	m.Closed()
}
