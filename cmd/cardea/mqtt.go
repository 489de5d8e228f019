package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"

	"cardea/internal/broker"
	"cardea/internal/mqttdoor"
)

// mqttBound is a listener of the MQTT door with what clients of it may show.
type mqttBound struct {
	net.Listener
	name string
	conf mqttListener
}

// bindMQTT takes the ports of all MQTT listeners.
func (d *doors) bindMQTT(c *config) error {
	plain := mqttListener{Name: "default", Listen: c.MQTTListen, Tokens: true, Scram: true} // as far as its chain has them
	if c.MQTTTLS {                                                                          // then the certificate decides
		plain.TLS, plain.demand, plain.Certificates = true, true, "required"
	}
	secure := mqttListener{Name: "tls", Listen: c.MQTTTLSListen, TLS: true, Scram: true, demand: true, Certificates: "required"}
	for _, one := range []struct {
		option string
		conf   mqttListener
	}{{"--mqtt-listen", plain}, {"--mqtt-tls-listen", secure}} {
		if err := d.bindOneMQTT(one.option, one.conf); err != nil {
			return err
		}
	}
	for _, l := range c.MQTT.Listeners {
		if err := d.bindOneMQTT("mqtt_listener "+l.Name, l); err != nil {
			return err
		}
	}
	return nil
}

func (d *doors) bindOneMQTT(option string, l mqttListener) error {
	if l.Listen == "" {
		return nil
	}
	bound, err := listenOn(option, l.Listen)
	if err != nil {
		return err
	}
	d.mqttL = append(d.mqttL, mqttBound{bound, l.Name, l})
	return nil
}

// makeMQTTDoor makes the door and the broker behind it, and serves WebSocket at /mqtt of the HTTP door.
func (n *node) makeMQTTDoor(reserved *http.ServeMux) error {
	d, c := &n.doors, n.config
	if len(d.mqttL) == 0 {
		return nil
	}
	upstream, err := n.newUpstream()
	if err != nil {
		return err
	}
	d.mqtt, err = mqttdoor.New(mqttdoor.Config{
		Gate: n.gate, Upstream: upstream, Log: n.log,
		Limits: mqttdoor.Limits{Packet: int(c.MQTT.MaxPacket), KeepAlive: c.MQTT.KeepAlive},
	})
	if err != nil {
		return err
	}
	reserved.Handle("/mqtt", d.mqtt.WebSocket(
		&mqttdoor.Listener{Name: "websocket", Chain: "default", Tokens: true, Scram: true, Certificates: c.HTTPTLS, Origins: c.MQTT.Origins},
		func(r *http.Request) netip.Addr { addr, _ := d.http.Source(r); return addr }, d.http.Certificate))
	return nil
}

func (n *node) newUpstream() (mqttdoor.Upstream, error) {
	if n.config.MQTT.Upstream != "" {
		return n.newExternal()
	}
	b, err := broker.New(broker.Config{
		Dir: brokerPath(n.config.Data), Log: n.log, Limits: broker.Limits{Packet: int(n.config.MQTT.MaxPacket)},
	})
	if err != nil {
		return nil, fmt.Errorf("the embedded MQTT broker: %w", err)
	}
	n.broker = b
	return mqttdoor.NewEmbedded(b), nil
}

func (n *node) newExternal() (mqttdoor.Upstream, error) {
	m := &n.config.MQTT
	u, err := url.Parse(m.Upstream)
	if err != nil {
		return nil, fmt.Errorf("--mqtt-upstream: %w", err)
	}
	c := mqttdoor.ExternalConfig{Address: u.Host, Proxy: m.Proxy, Version: m.Version, Log: n.log}
	if m.PasswordFile != "" {
		if c.Password, err = readPassword(m.PasswordFile); err != nil {
			return nil, fmt.Errorf("--mqtt-upstream-password-file: %w", err)
		}
	}
	if u.Scheme == "tls" {
		if c.TLS, err = m.upstreamTLS(u.Hostname()); err != nil {
			return nil, err
		}
	}
	n.external, err = mqttdoor.NewExternal(c)
	return n.external, err
}

// upstreamTLS says whom the door believes to be the broker, and what it shows it.
func (m *mqttConfig) upstreamTLS(host string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if m.ServerName != "" {
		c.ServerName = m.ServerName
	}
	if m.CA != "" {
		pem, err := os.ReadFile(m.CA)
		if err != nil {
			return nil, fmt.Errorf("--mqtt-upstream-ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--mqtt-upstream-ca: %s holds no certificate", m.CA)
		}
	}
	if m.Cert != "" {
		files := &certFiles{cert: m.Cert, key: m.Key}
		if _, err := files.get(nil); err != nil {
			return nil, fmt.Errorf("--mqtt-upstream-cert: %w", err)
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return files.get(nil) }
	}
	return c, nil
}

// startMQTT serves the listeners.
func (n *node) startMQTT(ctx context.Context) {
	if n.broker != nil {
		k := &retainedKeeper{store: n.store, gate: n.gate, broker: n.broker, keep: n.config.MQTT.KeepRetained}
		n.behind.Go(func() {
			k.run(ctx, func(err error) {
				if ctx.Err() == nil {
					n.log.Warn("whose retained MQTT messages and sessions may stay cannot be found out for now", "error", err)
				}
			})
		})
	}
	for _, b := range n.doors.mqttL {
		l, err := n.mqttListener(b)
		if err != nil {
			n.report(err)
			continue
		}
		if l.TLS == nil && !isLoopback(b.Addr().String()) {
			n.log.Warn("MQTT without TLS on an address that is not loopback: tokens cross the network in the clear", "listener", b.name, "address", b.Addr().String())
		}
		n.run("mqtt "+b.name, b.Listener, func(ln net.Listener) error { return n.doors.mqtt.Serve(ctx, ln, l) })
	}
	switch plain := n.config.MQTTListen != "" && !n.config.MQTTTLS; {
	case plain && n.config.MQTTTokenAuth:
		n.log.Info("MQTT token authentication enabled")
	case plain:
		n.log.Info("MQTT token authentication disabled: `cardea authenticator list` shows what else gets in, and can enable it")
	}
}

// mqttListener makes what the door needs to know of a listener.
func (n *node) mqttListener(b mqttBound) (*mqttdoor.Listener, error) {
	conf := b.conf
	l := &mqttdoor.Listener{
		Name: conf.Name, Tokens: conf.Tokens, Certificates: conf.Certificates != "", Scram: conf.Scram, Demand: conf.demand,
		Anonymous: conf.AnonymousCredential,
		Rules:     conf.rules, Proxies: conf.proxies, RefusedFilter: conf.refused,
		RefusedFilters: conf.RefusedFilters,
	}
	if !conf.TLS {
		return l, nil
	}
	c, err := n.internalTLS(conf.Listen)
	if err != nil {
		return nil, err
	}
	l.TLS = n.doors.mqtt.TLS(c, conf.Certificates == "required")
	if conf.Certificates == "" {
		l.TLS.ClientAuth, l.TLS.ClientCAs = tls.NoClientCert, nil
	}
	return l, nil
}

// drainMQTT tells the clients that the server stops.
func (n *node) drainMQTT(ctx context.Context) error {
	for _, b := range n.doors.mqttL {
		_ = b.Close() // no new ones
	}
	if n.doors.mqtt == nil {
		return nil
	}
	return n.doors.mqtt.Shutdown(ctx)
}

// mqttAddresses are those of the listener without and with TLS, for the ready file.
func (n *node) mqttAddresses() (plain, secure string) {
	for _, b := range n.doors.mqttL {
		switch {
		case b.name == "default":
			plain = b.Addr().String()
			if b.conf.TLS && secure == "" {
				secure = plain
			}
		case b.name == "tls":
			secure = b.Addr().String()
		}
	}
	return plain, secure
}
