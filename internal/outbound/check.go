package outbound

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"strings"
	"time"

	"cardea/internal/credential"
)

// fillIn sets what was left out to its default.
func fillIn(t credential.AuthenticatorType, b *credential.Backend) {
	set(&b.Method, "post")
	if t == credential.ByScramREST {
		set(&b.Algorithm, credential.SHA256)
		set(&b.IterationCount, credential.MinIterations)
	}
	set(&b.PoolSize, 8)
	set(&b.ConnectTimeout, 15*time.Second)
	set(&b.RequestTimeout, 5*time.Second)
	set(&b.Pipelining, 100)
	set(&b.MaxInactive, 10*time.Second)
}

func set[T comparable](field *T, to T) {
	var zero T
	if *field == zero {
		*field = to
	}
}

// plan is a backend made ready to be asked.
type plan struct {
	target         target
	tls            *tls.Config // nil for http
	request        request
	scram          bool // the answer has keys
	keyLen         int  // of the keys, in bytes
	iterations     int
	pool           int // connections
	pipelining     int // requests on one of them
	connectTimeout time.Duration
	requestTimeout time.Duration
	maxInactive    time.Duration
}

// compile checks a backend that [fillIn] has seen. The plan is whole only if nothing was added to p.
func (c *Client) compile(t credential.AuthenticatorType, b *credential.Backend, p *credential.Problems) *plan {
	to := &plan{
		scram:          t == credential.ByScramREST,
		iterations:     b.IterationCount,
		pool:           b.PoolSize,
		pipelining:     b.Pipelining,
		connectTimeout: b.ConnectTimeout,
		requestTimeout: b.RequestTimeout,
		maxInactive:    b.MaxInactive,
	}
	if !t.Remote() {
		p.Add("type", "must be scram_rest or http to have a service that is asked")
	}
	to.checkScram(b, p)
	inRange(p, "pool_size", b.PoolSize, 1, 1024)
	inRange(p, "enable_pipelining", b.Pipelining, 1, 10_000)
	inMinutes(p, "connect_timeout", b.ConnectTimeout, 5)
	inMinutes(p, "request_timeout", b.RequestTimeout, 5)
	inMinutes(p, "max_inactive", b.MaxInactive, 60)

	var path, query, why string
	if to.target, path, query, why = c.guard.parseURL(b.URL); why != "" {
		note(p, "url", why)
		path, query = "/", "" // the rest is looked at all the same
	}
	to.request.compile(&to.target, path, query, b, p)
	to.checkTLS(b, why == "", p)
	return to
}

func (to *plan) checkScram(b *credential.Backend, p *credential.Problems) {
	if !to.scram {
		if b.Algorithm != "" {
			p.Add("algorithm", "is for scram_rest only")
		}
		if b.IterationCount != 0 {
			p.Add("iteration_count", "is for scram_rest only")
		}
		return
	}
	switch b.Algorithm {
	case credential.SHA256:
		to.keyLen = 32
	case credential.SHA512:
		to.keyLen = 64
	default:
		p.Add("algorithm", "must be sha256 or sha512")
	}
	inRange(p, "iteration_count", b.IterationCount, credential.MinIterations, credential.MaxIterations)
}

// note adds the rule that a field breaks, if it does.
func note(p *credential.Problems, field, why string) {
	if why != "" {
		p.Add(field, "%s", why)
	}
}

func inRange(p *credential.Problems, field string, n, least, most int) {
	if n < least || n > most {
		p.Add(field, "must be from %d to %d", least, most)
	}
}

func inMinutes(p *credential.Problems, field string, d time.Duration, most int) {
	if d < time.Millisecond || d > time.Duration(most)*time.Minute {
		p.Add(field, "must be from 1ms to %dm", most)
	}
}

// checkTLS reads what the service is trusted by. hasURL is false if the URL is no use, so that it cannot be said whether TLS fits.
func (to *plan) checkTLS(b *credential.Backend, hasURL bool, p *credential.Problems) {
	s := &b.SSL
	switch {
	case !s.Enable && hasURL && to.target.secure:
		p.Add("ssl.enable", "must be true for an https URL")
	case s.Enable && hasURL && !to.target.secure:
		p.Add("ssl.enable", "must be false for an http URL, or the URL begin with https://")
	}
	if !s.Enable {
		return
	}
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{protoH2, "http/1.1"},
		ServerName:         s.ServerName,
		InsecureSkipVerify: !s.Verify, // the administrator's choice, false only where it is said
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}
	if s.ServerName == "" {
		config.ServerName = to.target.serverName()
	} else if why := checkServerName(s.ServerName); why != "" {
		note(p, "ssl.server_name", why)
	}
	if s.CA != "" {
		roots, why := parseRoots(s.CA)
		note(p, "ssl.cacert", why)
		config.RootCAs = roots
	}
	switch {
	case s.Cert == "" && s.Key == "":
	case s.Key == "":
		p.Add("ssl.key", "is needed with ssl.cert")
	case s.Cert == "":
		p.Add("ssl.cert", "is needed with ssl.key")
	default:
		to.checkPair(config, s, p)
	}
	to.tls = config
}

func (to *plan) checkPair(config *tls.Config, s *credential.BackendTLS, p *credential.Problems) {
	certs, why := parseCertificates(s.Cert)
	if why != "" {
		note(p, "ssl.cert", why)
		return
	}
	pair, err := tls.X509KeyPair([]byte(s.Cert), []byte(s.Key))
	if err != nil { // its text is not shown: it is about a key
		p.Add("ssl.key", "must be an unencrypted private key in PEM, and that of the certificate in ssl.cert")
		return
	}
	pair.Leaf = certs[0]
	config.Certificates = []tls.Certificate{pair}
}

func checkServerName(s string) string {
	if _, err := netip.ParseAddr(s); err == nil {
		return ""
	}
	if checkHost(strings.ToLower(s)) != "" {
		return "must be the name or address that is in the service's certificate"
	}
	return ""
}

func parseRoots(text string) (roots *x509.CertPool, why string) {
	certs, why := parseCertificates(text)
	if why != "" {
		return nil, why
	}
	roots = x509.NewCertPool()
	for _, c := range certs {
		roots.AddCert(c)
	}
	return roots, ""
}

// parseCertificates reads one certificate or more, and nothing else.
func parseCertificates(text string) (certs []*x509.Certificate, why string) {
	const rule = "must be one or more certificates in PEM"
	rest := []byte(text)
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, rule + ", without anything else"
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, rule + ": one of them cannot be read"
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, rule
	}
	return certs, ""
}
