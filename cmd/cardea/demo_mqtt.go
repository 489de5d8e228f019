package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"cardea/internal/view"
)

// demoMQTTS is where a demo serves MQTT over TLS if nobody says anything.
const demoMQTTS = "127.0.0.1:5657"

// makeIngest makes the credential of the sample service for the MQTT door: a token, and a certificate for a door
// that takes nothing else. It is not among those that are made first because older demos do not have it.
func (d *demo) makeIngest(ctx context.Context) error {
	if exists(d.token(demoIngest)) {
		return nil
	}
	var rules []view.Rule
	for _, t := range ingestTopics {
		rules = append(rules, view.Rule{Permission: "allow", Action: "mqtt:subscribe", Resource: string(t.Filter)})
	}
	scope := view.NewScope{Name: demoIngest, PutScope: view.PutScope{Description: "what the sample upstream subscribes to", Rules: rules}}
	if err := d.client.post(ctx, pathScopes, scope, nil); err != nil {
		return err
	}
	if err := d.client.post(ctx, pathRoles, view.NewRole{Name: demoIngest, PutRole: view.PutRole{Scopes: []string{demoIngest}}}, nil); err != nil {
		return err
	}
	if err := d.client.post(ctx, pathPrincipals, view.NewPrincipal{Kind: "service", Name: demoIngest, Roles: []string{demoIngest}}, nil); err != nil {
		return err
	}
	files, err := newKeyFiles(filepath.Join(d.files, demoIngest), true)
	if err != nil {
		return err
	}
	if err := files.reserve(); err != nil {
		return err
	}
	texts, err := d.issueIngest(ctx)
	if err != nil {
		files.discard()
		return err
	}
	return files.fill(texts...)
}

// issueIngest returns the certificate, its key and the token.
func (d *demo) issueIngest(ctx context.Context) ([]string, error) {
	var issued [2]view.Issued
	for i, kind := range []string{"certificate", "api_key"} {
		request := view.NewCredential{Kind: kind, Principal: demoIngest, Name: "demo"}
		if err := d.client.post(ctx, pathCredentials, request, &issued[i]); err != nil {
			return nil, err
		}
	}
	return []string{issued[0].CertificatePEM, issued[0].PrivateKey.Reveal(), issued[1].Secret.Reveal() + "\n"}, nil
}

// startIngest lets what is published arrive in the tables, if there is a listener through which it can.
func (d *demo) startIngest(ctx context.Context, n *node, up *upstream) error {
	bound := ingestListener(n.doors.mqttL)
	if bound == nil {
		if len(n.doors.mqttL) > 0 {
			n.log.Warn("what is published by MQTT does not reach the sample service: no listener takes a token or a certificate of its own")
		}
		return nil
	}
	in := &ingest{up: up, log: n.log}
	addr := localAddress(bound.Addr())
	in.dial = func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) }
	if bound.conf.Tokens {
		raw, err := os.ReadFile(d.token(demoIngest))
		if err != nil {
			return err
		}
		in.token = strings.TrimSpace(string(raw))
	}
	if bound.conf.TLS {
		c, err := d.ingestTLS()
		if err != nil {
			return err
		}
		in.dial = func(ctx context.Context) (net.Conn, error) {
			return (&tls.Dialer{Config: c}).DialContext(ctx, "tcp", addr)
		}
	}
	in.start(ctx)
	n.closers = append(n.closers, in)
	return nil
}

// ingestListener is the first one at which the sample service can show what it has.
func ingestListener(all []mqttBound) *mqttBound {
	for i := range all {
		c := &all[i].conf
		if (c.Tokens || c.Certificates != "") && len(c.proxies) == 0 {
			return &all[i]
		}
	}
	return nil
}

// localAddress is how this machine reaches one of its listeners.
func localAddress(a net.Addr) string {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil || !at.Addr().IsUnspecified() {
		return a.String()
	}
	ip := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if at.Addr().Is6() {
		ip = netip.IPv6Loopback()
	}
	return netip.AddrPortFrom(ip, at.Port()).String()
}

func (d *demo) ingestTLS() (*tls.Config, error) {
	prefix := filepath.Join(d.files, demoIngest)
	pair, err := tls.LoadX509KeyPair(prefix+"_cert.pem", prefix+"_key.pem")
	if err != nil {
		return nil, err
	}
	root, err := os.ReadFile(d.anchor())
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(root) {
		return nil, fmt.Errorf("%s holds no certificate", d.anchor())
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{pair}, ServerName: "localhost"}, nil
}

// showMQTT prints what to try with Debian's mosquitto-clients.
func (d *demo) showMQTT(n *node, query string) {
	r, w := n.addresses(), d.app.out
	device := filepath.Join(d.files, demoDevice)
	token := fmt.Sprintf(`--username "$(cat %s_token)"`, device)
	if plain := r.MQTT; plain != "" && plain != r.MQTTS && n.config.MQTTTokenAuth {
		at := hostPort(plain)
		section(w, "MQTT: a device with its token as the user name writes a value, and many from a file",
			fmt.Sprintf(`mosquitto_pub %s %s -t db/write/EXAMPLE -m "[ \"wave.pi\", $(date +%%s000000000), 3.1415]"`, at, token),
			fmt.Sprintf(`mosquitto_pub %s %s -q 1 -t db/append/EXAMPLE -f %s`, at, token, d.rows()),
			query)
		section(w, "MQTT: leave a value for who subscribes later, and be the one",
			fmt.Sprintf(`mosquitto_pub %s %s -t sensor/room -r -q 1 -m 21.5`, at, token),
			fmt.Sprintf(`mosquitto_sub %s %s -t 'sensor/#' -C 1 -W 10 -v`, at, token))
		section(w, "MQTT: a wrong token, and none: refused",
			fmt.Sprintf(`mosquitto_pub %s --username wrong -t db/write/EXAMPLE -m '[]'`, at),
			fmt.Sprintf(`mosquitto_pub %s -t db/write/EXAMPLE -m '[]'`, at))
	}
	if r.MQTTS != "" {
		section(w, "MQTT over TLS with a client certificate",
			fmt.Sprintf(`mosquitto_pub %s --cafile %s --cert %s_cert.pem --key %s_key.pem -t db/append/EXAMPLE -m '["wave.pi", "now", 3.14]'`,
				hostPort(r.MQTTS), d.anchor(), device, device))
	}
}

// hostPort is an address as mosquitto's clients want it.
func hostPort(addr string) string {
	host, port, _ := net.SplitHostPort(addr) // it is a listener's
	return "-h " + host + " -p " + port
}

// rows is a file with many values in one message.
func (d *demo) rows() string { return filepath.Join(d.files, "rows.json") }

// makeRows writes that file, which older demos do not have either.
func (d *demo) makeRows() error {
	if exists(d.rows()) {
		return nil
	}
	const text = `[
  ["wave.pi", "now", 3.1],
  ["wave.pi", "now", 3.14],
  ["wave.pi", "now", 3.141]
]
`
	return createExclusive(d.rows(), 0o644, []byte(text))
}
