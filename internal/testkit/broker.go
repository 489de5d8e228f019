package testkit

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Broker is a broker that others wrote, in a process of its own on a port of the loopback address.
type Broker struct {
	Addr string
	PID  int

	stop func()
}

// Stop ends it at once.
func (b *Broker) Stop() { b.stop() }

// portTries is how many free ports are tried before a broker is believed not to start.
const portTries = 5

// StartMosquitto starts Debian's Mosquitto with a listener for anybody. conf is added to its configuration; "{dir}" in it
// is a folder for files. It is stopped at the end of the test.
func StartMosquitto(t testing.TB, conf string) *Broker {
	t.Helper()
	bin := "/usr/sbin/mosquitto"
	if path, err := exec.LookPath("mosquitto"); err == nil {
		bin = path
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatal("Mosquitto is not installed: run the tests by `make test`, which installs what they need")
	}
	dir := t.TempDir()
	for range portTries {
		port, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n", port)
		if os.Getuid() == 0 {
			text += "user root\n" // it would become a user who may not read our files
		}
		text += strings.ReplaceAll(conf, "{dir}", dir) + "\n"
		file := filepath.Join(dir, "mosquitto.conf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := start(t, exec.Command(bin, "-c", file))
		if err != nil {
			t.Fatal(err)
		}
		b := &Broker{Addr: fmt.Sprintf("127.0.0.1:%d", port), PID: p.cmd.Process.Pid, stop: p.kill}
		ok, err := p.accepts(b.Addr)
		switch {
		case err != nil:
			t.Fatal(err)
		case ok:
			return b
		case !strings.Contains(p.said(), "Address already in use"):
			t.Fatalf("Mosquitto ended:\n%s", p.said())
		}
	}
	t.Fatal("no port is free for Mosquitto")
	return nil
}

// StartRabbitMQ starts Debian's RabbitMQ with its MQTT plugin, for a user and password "guest". It takes many seconds. Of
// Debian's version: it speaks 3.1.1 alone, and takes QoS 2 for QoS 1: a PUBLISH of QoS 2 gets a PUBACK.
func StartRabbitMQ(t testing.TB) *Broker {
	t.Helper()
	bin := "/usr/lib/rabbitmq/bin/rabbitmq-server"
	if _, err := os.Stat(bin); err != nil {
		t.Fatal("RabbitMQ is not installed: run this by `make soak`, which installs what it needs")
	}
	dir := t.TempDir()
	ports := make([]int, 4) // MQTT, AMQP, distribution, name server
	for i := range ports {
		port, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = port
	}
	for name, text := range map[string]string{
		"plugins": "[rabbitmq_mqtt].\n",
		"rabbitmq.conf": fmt.Sprintf("listeners.tcp.1 = 127.0.0.1:%d\nmqtt.listeners.tcp.1 = 127.0.0.1:%d\nmqtt.allow_anonymous = false\nlog.console = true\n",
			ports[1], ports[0]),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Erlang's name server would stay behind as a daemon if the node started it.
	names := exec.Command("epmd", "-port", fmt.Sprint(ports[3]), "-address", "127.0.0.1")
	if _, err := start(t, names); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir,
		fmt.Sprintf("RABBITMQ_NODENAME=test%d@localhost", ports[1]),
		"RABBITMQ_MNESIA_BASE="+filepath.Join(dir, "data"), "RABBITMQ_LOG_BASE="+filepath.Join(dir, "log"), "RABBITMQ_LOGS=-",
		"RABBITMQ_CONFIG_FILE="+filepath.Join(dir, "rabbitmq"), "RABBITMQ_ENABLED_PLUGINS_FILE="+filepath.Join(dir, "plugins"),
		fmt.Sprintf("RABBITMQ_DIST_PORT=%d", ports[2]), fmt.Sprintf("ERL_EPMD_PORT=%d", ports[3]), "ERL_EPMD_ADDRESS=127.0.0.1",
	)
	p, err := start(t, cmd)
	if err != nil {
		t.Fatal(err)
	}
	b := &Broker{Addr: fmt.Sprintf("127.0.0.1:%d", ports[0]), PID: p.cmd.Process.Pid, stop: p.kill}
	if ok, err := p.accepts(b.Addr); err != nil || !ok {
		t.Fatalf("RabbitMQ does not start (%v):\n%s", err, p.said())
	}
	return b
}
