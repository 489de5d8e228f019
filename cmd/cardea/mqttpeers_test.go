package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	paho311 "github.com/eclipse/paho.mqtt.golang"
	paho311packets "github.com/eclipse/paho.mqtt.golang/packets"
)

// login is what a client shows, and where.
type login struct {
	addr           string // host:port
	ws             string // host:port of the HTTP listener, for clients that speak WebSocket
	id             string // client id
	user, password string
	ca, cert, key  string // files; ca "" is no TLS
}

// refusedError is the code of a CONNACK that refuses.
type refusedError int

func (r refusedError) Error() string { return fmt.Sprintf("refused with %d", int(r)) }

// notAuthorized is what a client of a version is refused with.
func notAuthorized(version int) refusedError {
	if version == 5 {
		return 0x87
	}
	return 5
}

// mqttPeer is a client that nobody here wrote. echo connects, subscribes to a topic, publishes to it with each QoS
// and returns when all three are back, or why not.
type mqttPeer struct {
	name    string
	version int
	tls     bool // it can be told a CA and a certificate
	echo    func(ctx context.Context, l login, topic string) error
}

var mqttPeers = []mqttPeer{
	{"mosquitto_pub 3.1.1", 4, true, mosquittoEcho("mqttv311")},
	{"mosquitto_pub 5.0", 5, true, mosquittoEcho("mqttv5")},
	{"paho.mqtt.golang", 4, true, pahoEcho311},
	{"paho.golang", 5, true, pahoEcho5},
	{"MQTT.js 3.1.1 over WebSocket", 4, false, jsEcho(4)},
	{"MQTT.js 5.0 over WebSocket", 5, false, jsEcho(5)},
}

// args are those of mosquitto_pub and mosquitto_sub. Each connection has a client id of its own that the device may bear.
func (l login) args(version, suffix string) []string {
	host, port, _ := net.SplitHostPort(l.addr)
	args := []string{"-h", host, "-p", port, "-V", version, "-i", l.id + suffix}
	for flag, value := range map[string]string{"-u": l.user, "-P": l.password, "--cafile": l.ca, "--cert": l.cert, "--key": l.key} {
		if value != "" {
			args = append(args, flag, value)
		}
	}
	return args
}

func mosquittoEcho(version string) func(context.Context, login, string) error {
	return func(ctx context.Context, l login, topic string) error {
		sub := subscriber(ctx, append(l.args(version, ":sub"), "-t", topic, "-q", "2", "-C", "3", "-F", "%q %p")...)
		out, err := sub.StdoutPipe()
		if err != nil {
			return err
		}
		sub.Stderr = sub.Stdout
		if err := sub.Start(); err != nil {
			return err
		}
		var got []string
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "Subscribed (mid:") {
				err = mosquittoPublish(ctx, l, version, topic)
			}
			if strings.HasSuffix(lines.Text(), " from mosquitto") {
				got = append(got, lines.Text())
			}
		}
		if e := sub.Wait(); err == nil {
			err = exitCode(e)
		}
		if slices.Sort(got); err == nil && !slices.Equal(got, []string{"0 from mosquitto", "1 from mosquitto", "2 from mosquitto"}) {
			err = fmt.Errorf("mosquitto_sub got %q", got)
		}
		return err
	}
}

// subscriber is a mosquitto_sub that says at once what it does.
func subscriber(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "stdbuf", append([]string{"-oL", "mosquitto_sub", "-d"}, args...)...)
}

func mosquittoPublish(ctx context.Context, l login, version, topic string) error {
	for qos := range 3 {
		args := append(l.args(version, ":pub"), "-t", topic, "-q", strconv.Itoa(qos), "-m", "from mosquitto")
		if out, err := exec.CommandContext(ctx, "mosquitto_pub", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", exitCode(err), out)
		}
	}
	return nil
}

// exitCode is what mosquitto's programs end with: the code of the CONNACK.
func exitCode(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return refusedError(exit.ExitCode())
	}
	return err
}

// dial opens the connection of the Go client for 5.0, which wants to be given one.
func (l login) dial(ctx context.Context) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", l.addr)
	if err != nil || l.ca == "" {
		return conn, err
	}
	config, err := l.tls()
	if err != nil {
		return nil, err
	}
	return tls.Client(conn, config), nil
}

func (l login) tls() (*tls.Config, error) {
	pem, err := os.ReadFile(l.ca)
	if err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(l.addr)
	c := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: host}
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", l.ca)
	}
	if l.cert != "" {
		pair, err := tls.LoadX509KeyPair(l.cert, l.key)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// arrivals waits for one message of each QoS.
type arrivals struct {
	mu   sync.Mutex
	seen map[byte]bool
	all  chan struct{}
}

func newArrivals() *arrivals { return &arrivals{seen: map[byte]bool{}, all: make(chan struct{})} }

func (a *arrivals) note(qos byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen[qos] = true; len(a.seen) == 3 {
		close(a.all)
	}
}

func (a *arrivals) wait(ctx context.Context) error {
	select {
	case <-a.all:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("messages of %v came: %w", a.seen, ctx.Err())
	}
}

// connect5 connects Eclipse's client for 5.0. Whoever uses it closes the connection.
func (l login) connect5(ctx context.Context, conf paho.ClientConfig, props *paho.ConnectProperties) (*paho.Client, *paho.Connack, error) {
	conn, err := l.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	conf.Conn = packets.NewThreadSafeConn(conn) // over TLS its packets would else be torn: it writes a packet in pieces, from several goroutines
	client := paho.NewClient(conf)
	ack, err := client.Connect(ctx, &paho.Connect{
		ClientID: l.id, CleanStart: true, KeepAlive: 30, Properties: props,
		Username: l.user, UsernameFlag: l.user != "", Password: []byte(l.password), PasswordFlag: l.password != "",
	})
	if ack != nil && ack.ReasonCode >= 0x80 {
		return nil, nil, refusedError(ack.ReasonCode)
	}
	return client, ack, err
}

func pahoEcho5(ctx context.Context, l login, topic string) error {
	got := newArrivals()
	client, _, err := l.connect5(ctx, got.config(), nil)
	if err != nil {
		return err
	}
	defer client.Disconnect(&paho.Disconnect{})
	return got.echo(ctx, client, topic)
}

// config is that of a client whose messages are noted.
func (a *arrivals) config() paho.ClientConfig {
	return paho.ClientConfig{OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(p paho.PublishReceived) (bool, error) { a.note(p.Packet.QoS); return true, nil },
	}}
}

func (a *arrivals) echo(ctx context.Context, client *paho.Client, topic string) error {
	if _, err := client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: topic, QoS: 2}}}); err != nil {
		return err
	}
	for qos := range byte(3) {
		if _, err := client.Publish(ctx, &paho.Publish{Topic: topic, QoS: qos, Payload: []byte("from paho")}); err != nil {
			return err
		}
	}
	return a.wait(ctx)
}

// connect311 connects Eclipse's client for 3.1.1.
func (l login) connect311(ctx context.Context, o *paho311.ClientOptions) (paho311.Client, error) {
	scheme := "tcp://"
	if l.ca != "" {
		config, err := l.tls()
		if err != nil {
			return nil, err
		}
		o.SetTLSConfig(config)
		scheme = "ssl://"
	}
	o.AddBroker(scheme + l.addr).SetClientID(l.id).SetUsername(l.user).SetPassword(l.password).SetProtocolVersion(4).
		SetAutoReconnect(false).SetConnectRetry(false)
	client := paho311.NewClient(o)
	token := client.Connect()
	if err := await(ctx, token); err != nil {
		if connect, ok := token.(*paho311.ConnectToken); ok && connect.ReturnCode() != 0 && connect.ReturnCode() < paho311packets.ErrNetworkError {
			return nil, refusedError(connect.ReturnCode())
		}
		return nil, err
	}
	return client, nil
}

func await(ctx context.Context, t paho311.Token) error {
	select {
	case <-t.Done():
		return t.Error()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func pahoEcho311(ctx context.Context, l login, topic string) error {
	got := newArrivals()
	client, err := l.connect311(ctx, paho311.NewClientOptions())
	if err != nil {
		return err
	}
	defer client.Disconnect(0)
	if err := await(ctx, client.Subscribe(topic, 2, func(_ paho311.Client, m paho311.Message) { got.note(m.Qos()) })); err != nil {
		return err
	}
	for qos := range byte(3) {
		if err := await(ctx, client.Publish(topic, qos, false, "from paho")); err != nil {
			return err
		}
	}
	return got.wait(ctx)
}

// jsEvent is a line of testdata/mqtt.mjs.
type jsEvent struct {
	Event, Text, Payload string
	Code                 any // a number of MQTT's, or a word of Node's
	QoS                  int
}

func (e jsEvent) code() int {
	n, _ := e.Code.(float64)
	return int(n)
}

// runJS runs MQTT.js and returns what it said when it has ended. each, if any, is called for every event.
func runJS(ctx context.Context, options map[string]any, each func(jsEvent)) ([]jsEvent, error) {
	modules, err := filepath.Abs("../../bin/js")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(modules, "node_modules", "mqtt")); err != nil {
		return nil, errors.New("MQTT.js is not installed: run the tests by `make test`, which installs what they need")
	}
	raw, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "node", "testdata/mqtt.mjs", modules, string(raw))
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var all []jsEvent
	for in := json.NewDecoder(out); ; {
		var e jsEvent
		if err := in.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return all, err
		}
		if all = append(all, e); each != nil {
			each(e)
		}
	}
	if err := cmd.Wait(); err != nil {
		return all, fmt.Errorf("%w: %s", err, stderr.String())
	}
	return all, nil
}

// jsOptions are those of MQTT.js.
func (l login) jsOptions(version int) map[string]any {
	o := map[string]any{"url": "ws://" + cmp.Or(l.ws, l.addr) + "/mqtt", "protocolVersion": version, "clientId": l.id, "clean": true}
	if l.user != "" {
		o["username"] = l.user
	}
	if l.password != "" {
		o["password"] = l.password
	}
	return o
}

func jsEcho(version int) func(context.Context, login, string) error {
	return func(ctx context.Context, l login, topic string) error {
		o := l.jsOptions(version)
		o["topic"] = topic
		events, err := runJS(ctx, o, nil)
		if err != nil {
			return err
		}
		var got [3]bool
		for _, e := range events {
			switch e.Event {
			case "error", "refused":
				return fmt.Errorf("%s: %w", e.Text, refusedError(e.code()))
			case "message":
				got[e.QoS] = true
			}
		}
		if got != [3]bool{true, true, true} {
			return fmt.Errorf("MQTT.js said %+v", events)
		}
		return nil
	}
}

// wantRefused makes sure that a client is refused as one of its version is.
func wantRefused(t *testing.T, p mqttPeer, what string, err error) {
	t.Helper()
	if code, ok := errors.AsType[refusedError](err); !ok || code != notAuthorized(p.version) {
		t.Errorf("%s: %v, want %v", what, err, notAuthorized(p.version))
	}
}

// scan reads what a program says, tells when it has said begin, and returns when it says end or has ended.
func scan(out io.Reader, begin, end string, connected chan<- struct{}) error {
	var said []string
	begun := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = append(said, lines.Text())
		if !begun && strings.Contains(lines.Text(), begin) {
			begun = true
			close(connected)
		}
		if strings.Contains(lines.Text(), end) {
			return nil
		}
	}
	return fmt.Errorf("it ended and said %q", said)
}
