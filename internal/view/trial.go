package view

import (
	"encoding/pem"
	"net/netip"
	"time"

	"cardea/internal/credential"
)

// Trial is a login that an authenticator is asked about. All of it may be left out.
type Trial struct {
	Username       string            `json:"username,omitempty" example:"pump-1"`
	Password       Secret            `json:"password,omitempty" example:"hunter2"`
	Token          Secret            `json:"token,omitempty" doc:"For an authenticator of type token or jwt"`
	ClientID       string            `json:"clientid,omitempty" example:"pump-1"`
	PeerHost       string            `json:"peerhost,omitempty" doc:"Address of the client; default 127.0.0.1"`
	PeerPort       uint16            `json:"peerport,omitempty"`
	Method         string            `json:"method,omitempty" doc:"Of enhanced authentication: SCRAM-SHA-256"`
	Listener       string            `json:"listener,omitempty" doc:"Kind and name, as in ssl:default; default tcp: and the name of the chain"`
	Protocol       string            `json:"proto_name,omitempty" enum:"MQTT,HTTP"`
	ClientAttrs    map[string]string `json:"client_attrs,omitempty"`
	CertSubject    string            `json:"cert_subject,omitempty"`
	CertCommonName string            `json:"cert_common_name,omitempty"`
	CertPEM        string            `json:"cert_pem,omitempty" doc:"The client's certificate"`
}

// Login converts, for the chain of a listener; what is wrong is added to p.
func (t *Trial) Login(listener, zone string, p *credential.Problems) *credential.Login {
	l := &credential.Login{
		Username: t.Username, Password: t.Password.Reveal(), ClientID: t.ClientID, Method: t.Method,
		Protocol: t.Protocol, Listener: t.Listener, Zone: zone, Attrs: t.ClientAttrs,
	}
	kind, protocol := "tcp:", "MQTT"
	if len(listener) > 0 && listener[0] == '/' {
		kind, protocol = "http:", "HTTP"
	}
	if l.Protocol == "" {
		l.Protocol = protocol
	}
	if l.Listener == "" {
		l.Listener = kind + listener
	}
	host := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if t.PeerHost != "" {
		var err error
		if host, err = netip.ParseAddr(t.PeerHost); err != nil || host.Zone() != "" {
			p.Add("peerhost", "is not an address such as 192.0.2.7")
		}
	}
	l.Peer = netip.AddrPortFrom(host.Unmap(), t.PeerPort)
	l.Cert = t.cert(p)
	return l
}

func (t *Trial) cert(p *credential.Problems) *credential.LoginCert {
	if t.CertSubject == "" && t.CertCommonName == "" && t.CertPEM == "" {
		return nil
	}
	c := &credential.LoginCert{Subject: t.CertSubject, CommonName: t.CertCommonName}
	if t.CertPEM == "" {
		return c
	}
	block, _ := pem.Decode([]byte(t.CertPEM))
	if block == nil || block.Type != "CERTIFICATE" {
		p.Add("cert_pem", "holds no certificate in PEM")
		return c
	}
	c.DER = block.Bytes
	return c
}

// TrialResult is what would become of a login.
type TrialResult struct {
	Result       string            `json:"result" enum:"accept,reject,ignore"`
	Why          string            `json:"why,omitempty"`
	Precondition string            `json:"precondition,omitempty" doc:"What it gave"`
	Principal    string            `json:"principal,omitempty"`
	Credential   string            `json:"credential,omitempty"`
	IsSuperuser  bool              `json:"is_superuser"`
	ClientAttrs  map[string]string `json:"client_attrs,omitempty"`
	ExpireAt     time.Time         `json:"expire_at,omitzero"`
	ACLRules     *int              `json:"acl_rules,omitempty" doc:"How many came; absent if there was no acl"`
	TookMS       float64           `json:"took_ms"`
}

// AuthenticatorMetrics are what an authenticator has done on this node since that was started.
type AuthenticatorMetrics struct {
	Total            int64          `json:"total" doc:"Logins; a handshake counts once"`
	Success          int64          `json:"success"`
	Failed           int64          `json:"failed"`
	Ignored          int64          `json:"ignored" doc:"Left to the next one; unknown users are among them"`
	SuperuserIgnored int64          `json:"superuser_ignored" doc:"is_superuser was said and is not allowed"`
	Latency          Latency        `json:"latency"`
	Source           *SourceMetrics `json:"source,omitempty" doc:"Of types that ask a REST service"`
}

// SourceMetrics are what a REST service was asked.
type SourceMetrics struct {
	Questions int64     `json:"questions"`
	Failures  int64     `json:"failures"`
	Circuit   string    `json:"circuit" enum:"closed,open" doc:"Open: it is not asked for now"`
	Latency   Latency   `json:"latency"`
	LastError string    `json:"last_error,omitempty"`
	LastAt    time.Time `json:"last_error_at,omitzero"`
}

// Latency sums up how long something took, in milliseconds.
type Latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// FromLatency converts.
func FromLatency(l credential.Latency) Latency {
	return Latency{Count: l.Count, P50: Milliseconds(l.P50), P99: Milliseconds(l.P99), Max: Milliseconds(l.Max)}
}

// Milliseconds is d with three decimals.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
