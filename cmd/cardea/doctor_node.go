package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"cardea/internal/broker"
)

const (
	clockSlack   = 5 * time.Minute     // how far behind the last change the clock may be
	soon         = 30 * 24 * time.Hour // a certificate that ends by then is worth a warning
	dialPatience = 2 * time.Second
)

// serveDoctor says what only the process itself knows.
func (n *node) serveDoctor(w http.ResponseWriter, r *http.Request) {
	var f findings
	high, err := clockMark(r.Context(), n.store)
	f.clock(time.Now(), high, err)
	f.certificate("ca-root", n.ca.Root.Raw, time.Now())
	f.certificate("ca-issuing", n.ca.Issuing.Raw, time.Now())
	if n.config.TLSCert != "" {
		f.certificateFile("--tls-cert", n.config.TLSCert, time.Now())
	}
	f.issuer(n.issuer(), n.config.HTTPListen)
	for _, route := range n.gate.Routes() {
		f.answers(r.Context(), "route "+route.Prefix, route.Upstream)
	}
	switch {
	case n.broker != nil:
		f.broker(n.broker.Stats())
	case n.external != nil:
		f.answers(r.Context(), brokerCheck, n.config.MQTT.Upstream)
	}
	answerJSON(w, f, nil)
}

// clock compares the machine's clock with the time of the newest change (D09).
func (f *findings) clock(now, high time.Time, err error) {
	switch {
	case err != nil:
		f.fail("clock", err)
	case now.Before(high.Add(-clockSlack)):
		f.fail("clock", fmt.Errorf("it says %s, but a change was recorded at %s: set the clock, or if it is right, run `cardea doctor --accept-clock` on the running server", when(now), when(high)))
	default:
		f.ok("clock", "%s", when(now))
	}
}

func (f *findings) certificate(name string, der []byte, now time.Time) {
	cert, err := x509.ParseCertificate(der)
	switch {
	case err != nil:
		f.fail(name, err)
	case !now.Before(cert.NotAfter):
		f.fail(name, fmt.Errorf("ended at %s", when(cert.NotAfter)))
	case now.Add(soon).After(cert.NotAfter):
		f.warn(name, "ends at %s", when(cert.NotAfter))
	default:
		f.ok(name, "until %s", when(cert.NotAfter))
	}
}

func (f *findings) certificateFile(name, path string, now time.Time) {
	raw, err := os.ReadFile(path)
	if err != nil {
		f.fail(name, err)
		return
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		f.fail(name, fmt.Errorf("%s holds no certificate in PEM", path))
		return
	}
	f.certificate(name, block.Bytes, now)
}

// answers tries whether somebody listens at a URL. That nobody does is not this server's fault, so it only warns.
func (f *findings) answers(ctx context.Context, name, upstream string) {
	u, err := url.Parse(upstream)
	if err != nil {
		f.fail(name, err)
		return
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	ctx, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		f.warn(name, "%s does not answer: %v", upstream, err)
		return
	}
	c.Close()
	f.ok(name, "%s answers", upstream)
}

const brokerCheck = "MQTT broker"

// broker says whether the embedded one can keep what it must.
func (f *findings) broker(s broker.Stats) {
	if s.Failing {
		f.fail(brokerCheck, errors.New("it cannot write to its folder, so messages that must be kept are refused: see the log, and make room"))
		return
	}
	f.ok(brokerCheck, "%d sessions, %d retained messages, %d waiting, %d KiB on disk", s.Sessions, s.Retained, s.Waiting, s.DiskBytes>>10)
}

// localInfo is what the CLI asks on the socket about the server.
type localInfo struct {
	HTTP    string `json:"http,omitempty"` // URL
	GRPC    string `json:"grpc,omitempty"` // address
	Console string `json:"console,omitempty"`
}

func (n *node) serveInfo(w http.ResponseWriter, _ *http.Request) {
	info, r := localInfo{}, n.addresses()
	if r.HTTP != "" {
		info.HTTP = n.httpURL()
	}
	if r.Console != "" {
		info.Console = n.consoleURL()
	}
	info.GRPC = r.GRPC
	answerJSON(w, info, nil)
}
