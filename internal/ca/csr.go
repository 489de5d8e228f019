package ca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"slices"

	"cardea/internal/credential"
)

const maxCSR = 64 << 10 // bytes; one with an RSA key of 8192 bits has 5 KiB

var (
	oidSubjectKeyID     = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidExtKeyUsage      = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidClientAuth       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}
)

// ParseCSR reads a PKCS#10 request in PEM, checks its signature and its key, and returns the
// public key alone (X01, X02, X03). Errors are credential errors of kind Invalid on field "csr".
//
// The request's subject is ignored: it is customary to fill in something. Extensions are refused unless they say what
// the certificate will say anyway.
func ParseCSR(text []byte) (crypto.PublicKey, error) {
	pub, why := parseCSR(text)
	if why != "" {
		return nil, &credential.Error{Kind: credential.Invalid, Fields: []credential.FieldError{{Field: "csr", Message: why}}}
	}
	return pub, nil
}

func parseCSR(text []byte) (pub crypto.PublicKey, why string) {
	if len(text) > maxCSR {
		return nil, fmt.Sprintf("is longer than %d bytes", maxCSR)
	}
	block, rest := pem.Decode(text)
	switch {
	case block == nil:
		return nil, "must be a PKCS#10 certificate request in PEM"
	case block.Type != "CERTIFICATE REQUEST":
		return nil, fmt.Sprintf("must be a PEM block of type CERTIFICATE REQUEST, not %.40q", block.Type)
	case len(block.Headers) > 0:
		return nil, "must be a PEM block without headers"
	case len(bytes.TrimSpace(rest)) > 0 || bytes.Count(text, []byte("-----BEGIN")) != 1:
		return nil, "must be one PEM block, and nothing after it"
	}
	req, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, "is not a well-formed PKCS#10 certificate request"
	}
	if why := weakness(req.PublicKey); why != "" {
		return nil, why
	}
	if !slices.Contains(goodSignatures(), req.SignatureAlgorithm) {
		return nil, fmt.Sprintf("is signed with %v; sign with SHA-256 or better", req.SignatureAlgorithm)
	}
	if req.CheckSignature() != nil {
		return nil, "has a wrong signature: it was altered, or made without the private key"
	}
	for _, e := range req.Extensions {
		if why := refuseExtension(e); why != "" {
			return nil, why
		}
	}
	return req.PublicKey, ""
}

func goodSignatures() []x509.SignatureAlgorithm {
	return []x509.SignatureAlgorithm{
		x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519,
	}
}

// refuseExtension says why a request may not ask for an extension, "" if it says what the certificate will say (X01).
func refuseExtension(e pkix.Extension) string {
	switch {
	case e.Id.Equal(oidSubjectKeyID):
		return ""
	case e.Id.Equal(oidSubjectAltName):
		return "asks for alternative names; the certificate names the credential alone: leave subjectAltName out"
	case e.Id.Equal(oidBasicConstraints):
		var c struct {
			IsCA       bool `asn1:"optional"`
			MaxPathLen int  `asn1:"optional,default:-1"`
		}
		if rest, err := asn1.Unmarshal(e.Value, &c); err != nil || len(rest) > 0 || c.IsCA || c.MaxPathLen != -1 {
			return "asks for a certificate authority: leave basicConstraints out"
		}
		return ""
	case e.Id.Equal(oidExtKeyUsage):
		var uses []asn1.ObjectIdentifier
		if rest, err := asn1.Unmarshal(e.Value, &uses); err != nil || len(rest) > 0 || len(uses) != 1 || !uses[0].Equal(oidClientAuth) {
			return "asks for an extended key usage other than clientAuth: leave extendedKeyUsage out"
		}
		return ""
	case e.Id.Equal(oidKeyUsage):
		return refuseKeyUsage(e.Value)
	}
	return fmt.Sprintf("asks for the extension %v: leave it out", e.Id)
}

// refuseKeyUsage lets digitalSignature pass, and what programs add to it by habit: bits 0 to 4 of RFC 5280 section 4.2.1.3.
// Beyond lie keyCertSign and cRLSign.
func refuseKeyUsage(der []byte) string {
	var bits asn1.BitString
	rest, err := asn1.Unmarshal(der, &bits)
	if err != nil || len(rest) > 0 {
		return "has an ill-formed keyUsage: leave it out"
	}
	for i := 5; i < bits.BitLength; i++ {
		if bits.At(i) != 0 {
			return "asks for the key usage of a certificate authority, or an unknown one: leave keyUsage out"
		}
	}
	return ""
}
