package ca

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"
)

// Certificates as an authority that is not careful would sign them: CredentialID must not trust the issuer to be careful.
func TestOnlyAWellFormedClientCertificateCarriesACredential(t *testing.T) { // X16
	uri := func(s string) []*url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return []*url.URL{u}
	}
	raw := func(tag int, s string) []pkix.Extension {
		der, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(s)}})
		if err != nil {
			t.Fatal(err)
		}
		return []pkix.Extension{{Id: oidSubjectAltName, Value: der}}
	}
	good := "urn:cardea:credential:" + credID
	tests := []struct {
		name   string
		change func(*x509.Certificate)
		ok     bool
	}{
		{"as it should be", func(*x509.Certificate) {}, true},
		{"the same, written by hand", func(x *x509.Certificate) { x.URIs, x.ExtraExtensions = nil, raw(6, good) }, true},
		{"no URI", func(x *x509.Certificate) { x.URIs = nil }, false},
		{"another URI", func(x *x509.Certificate) { x.URIs = uri("spiffe://x/" + credID) }, false},
		{"two URIs", func(x *x509.Certificate) { x.URIs = append(x.URIs, uri(good)...) }, false},
		{"a DNS name beside it", func(x *x509.Certificate) { x.DNSNames = []string{"x"} }, false},
		{"an address beside it", func(x *x509.Certificate) { x.IPAddresses = []net.IP{{10, 0, 0, 1}} }, false},
		{"short id", func(x *x509.Certificate) { x.URIs = uri(good[:len(good)-1]) }, false},
		{"long id", func(x *x509.Certificate) { x.URIs = uri(good + "0") }, false},
		{"id with other characters", func(x *x509.Certificate) { x.URIs = uri(good[:len(good)-1] + "-") }, false},
		{"upper case", func(x *x509.Certificate) { x.URIs, x.ExtraExtensions = nil, raw(6, "URN:cardea:credential:"+credID) }, false},
		{"empty fragment", func(x *x509.Certificate) { x.URIs, x.ExtraExtensions = nil, raw(6, good[:len(good)-1]+"#") }, false},
		{"a DNS name of that form", func(x *x509.Certificate) { x.URIs, x.ExtraExtensions = nil, raw(2, good) }, false},
		{"for servers", func(x *x509.Certificate) { x.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, false},
		{"for both", func(x *x509.Certificate) { x.ExtKeyUsage = append(x.ExtKeyUsage, x509.ExtKeyUsageServerAuth) }, false},
		{"for any use", func(x *x509.Certificate) { x.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, false},
		{"for an unknown use too", func(x *x509.Certificate) { x.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}} }, false},
		{"for no stated use", func(x *x509.Certificate) { x.ExtKeyUsage = nil }, false},
		{"an authority", func(x *x509.Certificate) { x.IsCA, x.BasicConstraintsValid = true, true }, false},
		{"no name", func(x *x509.Certificate) { x.Subject = pkix.Name{} }, false},
		{"NUL in the name", func(x *x509.Certificate) { x.Subject.CommonName = "pump-1\x00x" }, false},
		{"line end in the name", func(x *x509.Certificate) { x.Subject.CommonName = "pump-1\r\nX: y" }, false},
		{"wildcard in the name", func(x *x509.Certificate) { x.Subject.CommonName = "pump/#" }, false},
		{"two names", func(x *x509.Certificate) { x.Subject.Organization = []string{"x"} }, false},
		{"NUL in a name of two octets a character", func(x *x509.Certificate) {
			x.Subject = pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: asn1.RawValue{Tag: asn1.TagBMPString, Bytes: []byte("\x00p\x00\x00\x00q")}}}}
		}, false},
	}
	key := newKey(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			x := &x509.Certificate{
				SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "pump-1"}, URIs: uri(good),
				NotBefore: noon, NotAfter: noon.Add(time.Hour),
				KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			}
			test.change(x)
			der, err := x509.CreateCertificate(rand.Reader, x, x, key.Public(), key)
			if err != nil {
				t.Fatal(err)
			}
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				if test.ok {
					t.Fatal(err)
				}
				return // it does not even get through the parser of TLS
			}
			if id, ok := CredentialID(cert); ok != test.ok || ok && id != credID {
				t.Errorf("CredentialID gives %q, %v", id, ok)
			}
		})
	}
}
