package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"cardea/internal/credential"
	"cardea/internal/mqtt"
	"cardea/internal/policy"
	"cardea/internal/view"
)

// mqttConfig is what the MQTT door can be told beside its addresses.
type mqttConfig struct {
	Upstream     string // tcp:// or tls:// URL; "" is the embedded broker
	PasswordFile string // what the door shows the upstream beside each user name
	CA           string // PEM file: who signs the upstream's certificate; "" is the system's authorities
	Cert, Key    string // PEM files: the door's certificate for the upstream
	ServerName   string // in the upstream's certificate; "" is the host of the URL
	Proxy        bool   // the upstream gets a PROXY header of version 2
	Version      mqtt.Version

	KeepAlive    time.Duration
	MaxPacket    int64
	Origins      []string // of web pages that may connect by WebSocket
	KeepRetained bool     // retained messages of a revoked publisher stay
	Listeners    []mqttListener
}

func mqttOptions() []option {
	return []option{
		{name: "mqtt-upstream", value: "URL", usage: "broker behind the MQTT door, tcp://host:1883 or tls://host:8883 (default: the embedded one)", set: setMQTTUpstream},
		{name: "mqtt-upstream-password-file", value: "FILE", usage: "file with the password that the door shows that broker beside each user name", set: text(func(c *config) *string { return &c.MQTT.PasswordFile })},
		{name: "mqtt-upstream-ca", value: "FILE", usage: "authorities of that broker's certificate, PEM (default: the system's)", set: text(func(c *config) *string { return &c.MQTT.CA })},
		{name: "mqtt-upstream-cert", value: "FILE", usage: "certificate that the door shows that broker, PEM", set: text(func(c *config) *string { return &c.MQTT.Cert })},
		{name: "mqtt-upstream-key", value: "FILE", usage: "its private key, PEM", set: text(func(c *config) *string { return &c.MQTT.Key })},
		{name: "mqtt-upstream-server-name", value: "NAME", usage: "name in that broker's certificate (default: the host of the URL)", set: text(func(c *config) *string { return &c.MQTT.ServerName })},
		{name: "mqtt-upstream-proxy-protocol", def: "false", boolean: true, usage: "tell that broker the clients' addresses by PROXY headers, version 2", set: boolean(func(c *config) *bool { return &c.MQTT.Proxy })},
		{name: "mqtt-upstream-version", value: "VERSION", def: "5.0", usage: "highest version that broker speaks, 5.0 or 3.1.1", set: setMQTTVersion},
		{name: "mqtt-max-keep-alive", value: "DURATION", def: "60s", usage: "longest keep alive that a client of MQTT 5.0 may choose", set: span(5*time.Second, 12*time.Hour, func(c *config) *time.Duration { return &c.MQTT.KeepAlive })},
		{name: "mqtt-max-packet", value: "BYTES", def: "1048576", usage: "longest MQTT packet", set: setMaxPacket},
		{name: "mqtt-websocket-origin", value: "ORIGIN", list: true, usage: "web pages that may connect to /mqtt by WebSocket beside the listener's own, as in https://app.example.com", set: setOrigin},
		{name: "mqtt-keep-retained-of-revoked", def: "false", boolean: true, usage: "retained messages stay when the credential that published them is revoked", set: boolean(func(c *config) *bool { return &c.MQTT.KeepRetained })},
	}
}

func setMQTTUpstream(c *config, v string) error {
	if u, err := url.Parse(v); v != "" && (err != nil || u.Scheme != "tcp" && u.Scheme != "tls" || u.Port() == "" || u.User != nil || u.Path != "" || u.RawQuery != "") {
		return fmt.Errorf("must be tcp://HOST:PORT or tls://HOST:PORT")
	}
	c.MQTT.Upstream = v
	return nil
}

func setMQTTVersion(c *config, v string) error {
	switch v {
	case "5.0", "5":
		c.MQTT.Version = mqtt.V5
	case "3.1.1":
		c.MQTT.Version = mqtt.V311
	default:
		return fmt.Errorf("must be 5.0 or 3.1.1, not %q", v)
	}
	return nil
}

func setMaxPacket(c *config, v string) error {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 1024 || n > mqtt.MaxLength {
		return fmt.Errorf("must be a number of bytes from 1024 to %d, not %q", mqtt.MaxLength, v)
	}
	c.MQTT.MaxPacket = n
	return nil
}

func setOrigin(c *config, v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("must be an origin such as https://app.example.com, not %q", v)
	}
	c.MQTT.Origins = append(c.MQTT.Origins, v)
	return nil
}

// mqttListener is one [[mqtt_listener]] table of the file: a further listener.
type mqttListener struct {
	Name   string `toml:"name"`
	Listen string `toml:"listen"`
	TLS    bool   `toml:"tls"`
	Tokens bool   `toml:"tokens"`
	Scram  bool   `toml:"scram"` // with Cardea's own credentials, and with those of REST services
	// Certificates is "", "optional" or "required".
	Certificates string `toml:"client_certificates"`
	// AllowAnonymous and AnonymousCredential together let in who shows nothing; either alone is an error (M24).
	AllowAnonymous      bool     `toml:"allow_anonymous"`
	AnonymousCredential string   `toml:"anonymous_credential"`
	Allow               []string `toml:"allow"` // rules that bind everybody here, beside their own
	Deny                []string `toml:"deny"`
	ProxyProtocolFrom   []string `toml:"proxy_protocol_from"` // CIDR
	RefusedFilter       string   `toml:"refused_filter"`      // "not_authorized" or "unspecified"
	RefusedFilters      []string `toml:"refused_filters"`     // by their very names, for conformance suites

	demand  bool // the certificate decides, beside what else is shown
	proxies []netip.Prefix
	rules   *policy.Set
	refused mqtt.Code
}

// readMQTTListeners reads the tables, strictly: half a listener is none (M24).
func readMQTTListeners(meta toml.MetaData, tree map[string]toml.Primitive, path string, file map[string]fileValue, problems *credential.Problems) {
	primitive, ok := tree["mqtt_listener"]
	if !ok {
		return
	}
	var tables []mqttListener
	if err := meta.PrimitiveDecode(primitive, &tables); err != nil {
		problems.Add(path+": mqtt_listener", "%s", err.Error())
		return
	}
	names := map[string]bool{"default": true, "tls": true, "websocket": true}
	for i := range tables {
		field := fmt.Sprintf("%s: mqtt_listener[%d]", path, i)
		tables[i].check(field, problems)
		if names[tables[i].Name] {
			problems.Add(field+".name", "is the name of another listener")
		}
		names[tables[i].Name] = true
	}
	file["mqtt_listener"] = fileValue{where: path + ": mqtt_listener", listeners: tables}
}

func (l *mqttListener) check(field string, problems *credential.Problems) {
	if why := credential.CheckName(l.Name); why != "" {
		problems.Add(field+".name", "%s", why)
	}
	if l.Name == credential.ListenerGRPC {
		problems.Add(field+".name", "is that of the gRPC listener's chain: choose another")
	}
	if host, port, err := net.SplitHostPort(l.Listen); err != nil || port == "" || strings.ContainsAny(host, " /@?#%") {
		problems.Add(field+".listen", "must be HOST:PORT, not %q", l.Listen)
	}
	switch l.Certificates {
	case "", "optional", "required":
	default:
		problems.Add(field+".client_certificates", `must be "optional" or "required", or be left out`)
	}
	switch {
	case l.Certificates != "" && !l.TLS:
		problems.Add(field+".client_certificates", "needs tls = true")
	case !l.Tokens && !l.Scram && l.Certificates == "" && !l.AllowAnonymous:
		problems.Add(field, "takes no proof, so that nobody could connect: tokens = true, scram = true or client_certificates")
	case l.AllowAnonymous != (l.AnonymousCredential != ""):
		problems.Add(field+".allow_anonymous", "and anonymous_credential belong together: the credential says what those who show nothing may do")
	case l.AllowAnonymous && l.Certificates == "required":
		problems.Add(field+".allow_anonymous", "contradicts client_certificates = \"required\"")
	}
	l.proxies = view.ParseNetworks(field+".proxy_protocol_from", l.ProxyProtocolFrom, problems)
	switch l.RefusedFilter {
	case "", "not_authorized":
		l.refused = mqtt.NotAuthorized
	case "unspecified":
		l.refused = mqtt.Unspecified
	default:
		problems.Add(field+".refused_filter", `must be "not_authorized" or "unspecified"`)
	}
	l.compile(field, problems)
}

// compile makes the listener's rules; none are no further ones.
func (l *mqttListener) compile(field string, problems *credential.Problems) {
	if len(l.Allow)+len(l.Deny) == 0 {
		return
	}
	allow := l.Allow
	if len(allow) == 0 {
		allow = []string{"mqtt:* *"}
	}
	views, err := rulesOf(allow, l.Deny, "")
	if err != nil {
		problems.Add(field+".allow", "%s", publicText(err))
		return
	}
	rules := view.Rules(field, views, problems)
	set, err := policy.Compile([]credential.Scope{{Name: "listener " + l.Name, Rules: rules}})
	if err != nil {
		problems.Add(field+".allow", "%s", publicText(err))
		return
	}
	l.rules = set
}

// checkMQTT adds what is wrong with the MQTT door's options together.
func (c *config) checkMQTT(problems *credential.Problems) {
	m := &c.MQTT
	if c.MQTTTLS && c.MQTTListen == "" {
		problems.Add("--mqtt-enable-tls", "has no effect with --mqtt-listen off")
	}
	if (m.Cert == "") != (m.Key == "") {
		problems.Add("--mqtt-upstream-cert", "and --mqtt-upstream-key must be given together")
	}
	secure := strings.HasPrefix(m.Upstream, "tls://")
	for flag, v := range map[string]string{"--mqtt-upstream-ca": m.CA, "--mqtt-upstream-cert": m.Cert, "--mqtt-upstream-server-name": m.ServerName} {
		if v != "" && !secure {
			problems.Add(flag, "has no effect without --mqtt-upstream tls://…")
		}
	}
	if m.Upstream == "" && (m.PasswordFile != "" || m.Proxy || m.Version == mqtt.V311) {
		problems.Add("--mqtt-upstream", "is missing, and options for it are given")
	}
	if m.PasswordFile != "" {
		if _, err := readPassword(m.PasswordFile); err != nil {
			problems.Add("--mqtt-upstream-password-file", "%s", err.Error())
		}
	}
}

// readPassword reads the door's password for the upstream: the first line of a file.
func readPassword(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	if line = strings.TrimRight(line, "\r"); line == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return line, nil
}
