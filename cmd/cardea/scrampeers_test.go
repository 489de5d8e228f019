package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/eclipse/paho.golang/paho"

	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

const (
	scram256 = "SCRAM-SHA-256"
	scram512 = "SCRAM-SHA-512"
)

// proof is what somebody knows: a user name of SCRAM and its password.
type proof struct{ name, password string }

// scramLogin is what a client shows that proves itself by a method.
type scramLogin struct {
	login
	method string
	proof  proof
	again  *proof // by which it proves itself once more, while its messages go on; nil: it does not
}

// cutError is the code of a DISCONNECT from the server.
type cutError int

func (c cutError) Error() string { return fmt.Sprintf("cut with %d", int(c)) }

var errImpostor = errors.New("the server does not prove that it knows the keys")

// scramPeer is a client that nobody here wrote, on a SCRAM that nobody here wrote or, where there is none, on one of another language.
// echo is that of [mqttPeer], without messages if there is no topic; stay connects, says so, and returns when the server has cut it, which must be by 0x87.
type scramPeer struct {
	name string
	echo func(ctx context.Context, l scramLogin, topic string) error
	stay func(ctx context.Context, t *testing.T, l scramLogin, connected chan<- struct{}) error
}

var scramPeers = []scramPeer{
	{"paho.golang", scramEchoPaho, scramStayPaho},
	{"MQTT.js", scramEchoJS, scramStayJS},
}

// pahoAuth implements paho.Auther for one connection.
type pahoAuth struct {
	method string

	mu     sync.Mutex
	client *testkit.ScramClient
	err    error
}

// begin returns the properties with which a login begins.
func (a *pahoAuth) begin(p proof) (first []byte, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.client, err = testkit.NewScramClient(a.method, p.name, p.password, nil); err != nil {
		return nil, err
	}
	return a.client.First(), nil
}

// Authenticate answers an AUTH of the server.
func (a *pahoAuth) Authenticate(p *paho.Auth) *paho.Auth {
	a.mu.Lock()
	defer a.mu.Unlock()
	var final []byte
	if final, a.err = a.client.Final(p.Properties.AuthData); p.Properties.AuthMethod != a.method {
		a.err = fmt.Errorf("the AUTH is of the method %q", p.Properties.AuthMethod)
	}
	return &paho.Auth{
		ReasonCode: byte(mqtt.ContinueAuthentication),
		Properties: &paho.AuthProperties{AuthMethod: a.method, AuthData: final},
	}
}

// Authenticated is told when it is over, and not what the server said; the CONNACK has it.
func (a *pahoAuth) Authenticated() {}

// end looks at the CONNACK.
func (a *pahoAuth) end(ack *paho.Connack) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil && (ack.Properties.AuthMethod != a.method || !a.client.Verify(ack.Properties.AuthData)) {
		a.err = errImpostor
	}
	return a.err
}

// connectPaho connects Eclipse's client for 5.0 by SCRAM.
func (l scramLogin) connectPaho(ctx context.Context, conf paho.ClientConfig) (*paho.Client, *pahoAuth, error) {
	a := &pahoAuth{method: l.method}
	first, err := a.begin(l.proof)
	if err != nil {
		return nil, nil, err
	}
	conf.AuthHandler = a
	client, ack, err := l.connect5(ctx, conf, &paho.ConnectProperties{AuthMethod: l.method, AuthData: first})
	if err != nil {
		return nil, nil, err
	}
	return client, a, a.end(ack)
}

func scramEchoPaho(ctx context.Context, l scramLogin, topic string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	got := newArrivals()
	conf := got.config()
	conf.OnClientError = func(err error) { cancel(err) }                                  // else it would wait for an AUTH on a connection that is lost
	conf.OnServerDisconnect = func(d *paho.Disconnect) { cancel(cutError(d.ReasonCode)) } // whichever of the two Authenticate hears of first
	client, a, err := l.connectPaho(ctx, conf)
	if err != nil {
		return err
	}
	defer client.Disconnect(&paho.Disconnect{})
	echoed := make(chan error, 1)
	if topic == "" {
		echoed <- nil
	} else {
		go func() { echoed <- got.echo(ctx, client, topic) }()
	}
	if l.again != nil {
		if err := a.renew(ctx, client, *l.again); err != nil {
			return err
		}
	}
	return <-echoed
}

// renew proves once more who it is. The server's own proof is there, but the client does not tell what it was.
func (a *pahoAuth) renew(ctx context.Context, client *paho.Client, p proof) error {
	first, err := a.begin(p)
	if err != nil {
		return err
	}
	said, err := client.Authenticate(ctx, &paho.Auth{
		ReasonCode: byte(mqtt.ReAuthenticate),
		Properties: &paho.AuthProperties{AuthMethod: a.method, AuthData: first},
	})
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	if !said.Success {
		return cutError(said.ReasonCode)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

func scramStayPaho(ctx context.Context, t *testing.T, l scramLogin, connected chan<- struct{}) error {
	return stayWith(ctx, t, connected, func(c paho.ClientConfig) error {
		_, _, err := l.connectPaho(ctx, c)
		return err
	})
}

// jsOptions are those of testdata/mqtt.mjs. Where no WebSocket is named it is plain TCP.
func (l scramLogin) jsOptions() map[string]any {
	o := l.login.jsOptions(5)
	if l.ws == "" {
		o["url"] = "mqtt://" + l.addr
	}
	o["scram"] = map[string]string{"method": l.method, "username": l.proof.name, "password": l.proof.password}
	if l.again != nil {
		o["again"] = map[string]string{"username": l.again.name, "password": l.again.password}
	}
	return o
}

func scramEchoJS(ctx context.Context, l scramLogin, topic string) error {
	o := l.jsOptions()
	want := map[string]int{"connect": 1, "close": 1}
	if topic != "" {
		o["topic"], want["subscribe"], want["message"] = topic, 1, 3
	}
	if l.again != nil {
		want["again"] = 1
	}
	events, err := runJS(ctx, o, nil)
	if err != nil {
		return err
	}
	got := map[string]int{}
	for _, e := range events {
		switch e.Event {
		case "error", "refused":
			return fmt.Errorf("%s: %w", e.Text, refusedError(e.code()))
		case "disconnect":
			return cutError(e.code())
		}
		if e.Text != "" { // of connect, or again
			return fmt.Errorf("%s: %w", e.Event, errImpostor)
		}
		got[e.Event]++
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("MQTT.js said %+v", events)
	}
	return nil
}

func scramStayJS(ctx context.Context, t *testing.T, l scramLogin, connected chan<- struct{}) error {
	return stayJSWith(ctx, t, l.jsOptions(), connected)
}
