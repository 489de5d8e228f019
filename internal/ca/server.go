package ca

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"cardea/internal/credential"
)

const (
	serverLife     = 90 * 24 * time.Hour
	serverBackdate = 5 * time.Minute
)

// Server issues a server certificate for names and addresses, for 90 days, backdated by 5 minutes.
// It ends with the issuing certificate at the latest, and is never good for a client (X15).
// Errors: Invalid if there is no name and no address, or one is not fit for a certificate; Conflict
// if the issuing certificate has ended.
func (c *CA) Server(pub crypto.PublicKey, names []string, addrs []netip.Addr, now time.Time) ([]byte, error) {
	names, ips, err := serverNames(names, addrs)
	if err != nil {
		return nil, err
	}
	if why := weakness(pub); why != "" {
		return nil, &credential.Error{Kind: credential.Invalid, Fields: []credential.FieldError{{Field: "public_key", Message: why}}}
	}
	id, err := keyID(pub)
	if err != nil {
		return nil, err
	}
	serial, err := NewSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: serverCN(names, ips)},
		DNSNames:              names,
		IPAddresses:           ips,
		SubjectKeyId:          id,
		NotBefore:             later(seconds(now.Add(-serverBackdate)), c.Issuing.NotBefore),
		NotAfter:              seconds(now.Add(serverLife)),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if t.NotAfter.After(c.Issuing.NotAfter) {
		t.NotAfter = c.Issuing.NotAfter
	}
	if !now.Before(t.NotAfter) {
		return nil, credential.Errorf(credential.Conflict, "the issuing certificate ended on %s: make a new one first", c.Issuing.NotAfter.Format(time.DateOnly))
	}
	return x509.CreateCertificate(rand.Reader, t, c.Issuing, pub, c.signer)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// serverNames checks names and addresses and brings them into the form of a certificate, each once.
func serverNames(names []string, addrs []netip.Addr) ([]string, []net.IP, error) {
	var p credential.Problems
	var dns []string
	for _, n := range names {
		n = strings.ToLower(strings.TrimSuffix(n, "."))
		if !validHost(n) {
			p.Add("names", "%.80q is not a host name", n)
		} else if !slices.Contains(dns, n) {
			dns = append(dns, n)
		}
	}
	var ips []net.IP
	for _, a := range addrs {
		a = a.Unmap()
		ip := net.IP(a.AsSlice()) // without its zone
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
			p.Add("addrs", "%v is not the address of a host", a)
		} else if !slices.ContainsFunc(ips, ip.Equal) {
			ips = append(ips, ip)
		}
	}
	if len(names) == 0 && len(addrs) == 0 {
		p.Add("names", "a server certificate needs a name or an address")
	}
	return dns, ips, p.Err()
}

// validHost takes what RFC 1123 section 2.1 does, and the underscore that container networks use. No wildcards.
func validHost(name string) bool {
	if len(name) > 253 {
		return false
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// serverCN is for people; clients look at the alternative names.
func serverCN(names []string, ips []net.IP) string {
	for _, n := range names {
		if len(n) <= maxCN {
			return n
		}
	}
	if len(ips) > 0 {
		return ips[0].String()
	}
	return "cardea"
}
