package authority

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"cardea/internal/audit"
	"cardea/internal/credential"
	"cardea/internal/jwt"
)

// Bounds of what an OAuth client proves itself by.
const (
	maxKeySet    = 32 << 10 // bytes of a JWK set: every node has at hand those of all clients that it knows
	maxProofText = 1024     // bytes of a subject, or of the URL of a JWK set
)

// checkClientKeys: keys, or the URL of some, for whoever proves itself by them, and for nobody else.
func (b *book) checkClientKeys(p *credential.Problems, c *credential.ClientConfig) {
	if c.Auth != credential.PrivateKeyJWT && c.Auth != credential.TLSSelfSigned {
		const why = "is for " + credential.PrivateKeyJWT + " and " + credential.TLSSelfSigned + " only"
		if len(c.JWKS) > 0 {
			p.Add("client.jwks", why)
		}
		if c.JWKSURI != "" {
			p.Add("client.jwks_uri", why)
		}
		return
	}
	switch {
	case len(c.JWKS) > 0 && c.JWKSURI != "":
		p.Add("client.jwks_uri", "is given together with jwks: give one of them")
	case c.JWKSURI != "":
		b.checkKeySetURL(p, "client.jwks_uri", c.JWKSURI)
	case len(c.JWKS) == 0:
		p.Add("client.jwks", "is missing, and so is jwks_uri: %s needs the public keys of the client", c.Auth)
	default:
		checkKeySet(p, "client.", c.JWKS, c.Auth == credential.TLSSelfSigned)
	}
}

// checkKeySet takes public keys only; with certificates each must come with its own.
func checkKeySet(p *credential.Problems, prefix string, set []byte, certificates bool) {
	switch {
	case len(set) > maxKeySet:
		p.Add(prefix+"jwks", "is longer than %d bytes", maxKeySet)
		return
	case audit.LooksSecret(string(set)):
		p.Add(prefix+"jwks", "contains a token: no secret belongs here")
		return
	}
	keys, err := jwt.ParseClientSet(set)
	if err != nil {
		for _, f := range faultsOf(err, "jwks") {
			p.Add(prefix+f.Field, "%s", f.Message)
		}
		return
	}
	i := 0
	for k := range keys.All() {
		if certificates && len(k.Certs) == 0 {
			p.Add(prefix+item("jwks.keys", i)+".x5c", "is missing: a client with %s is known by its certificate", credential.TLSSelfSigned)
		}
		i++
	}
}

// faultsOf are the fields that an error names; one that names none is about field.
func faultsOf(err error, field string) credential.Problems {
	if e, ok := errors.AsType[*credential.Error](err); ok && len(e.Fields) > 0 {
		return e.Fields
	}
	return credential.Problems{{Field: field, Message: printable(err.Error())}}
}

// checkKeySetURL is for the URL of somebody's keys.
func (b *book) checkKeySetURL(p *credential.Problems, field, u string) {
	switch {
	case b.keySets == nil:
		p.Add(field, "is not possible here: this server fetches no keys; give them as jwks")
	case len(u) > maxProofText:
		p.Add(field, "is longer than %d bytes", maxProofText)
	case audit.LooksSecret(u):
		p.Add(field, "contains a token: no secret belongs here")
	default:
		b.keySets.CheckKeySetURL(u, abroad(b.org.Name), p, field)
	}
}

// sameJSON is a text of JSON in the form in which it is read from the store; as it is if it is none.
func sameJSON(text json.RawMessage) json.RawMessage {
	if len(text) == 0 || bytes.Equal(text, []byte("null")) {
		return nil
	}
	if same, err := json.Marshal(text); err == nil {
		return same
	}
	return text
}

// subject is one of the ways to say whose certificate it must be (RFC 8705 section 2.1.2).
type subject struct {
	field, value string
	check        func(string) string // says what is wrong with it
}

func subjectsOf(c *credential.ClientConfig) []subject {
	return []subject{
		{"tls_client_auth_subject_dn", c.SubjectDN, checkDN},
		{"tls_client_auth_san_dns", c.SANDNS, checkHostName},
		{"tls_client_auth_san_uri", c.SANURI, checkURI},
		{"tls_client_auth_san_ip", c.SANIP, checkIP},
		{"tls_client_auth_san_email", c.SANEmail, checkMailbox},
	}
}

// checkClientSubject: exactly one for a client that proves itself by a certificate of Cardea's CA, and none for any other.
func checkClientSubject(p *credential.Problems, c *credential.ClientConfig) {
	given := 0
	for _, s := range subjectsOf(c) {
		if s.value == "" {
			continue
		}
		field, had := "client."+s.field, len(*p)
		checkText(p, field, s.value, maxProofText)
		switch why := s.check(s.value); {
		case len(*p) > had:
		case c.Auth != credential.TLSClient:
			p.Add(field, "is for %s only", credential.TLSClient)
		case given > 0:
			p.Add(field, "is one subject too many: a certificate is known by exactly one")
		case why != "":
			p.Add(field, "%s", why)
		}
		given++
	}
	if given == 0 && c.Auth == credential.TLSClient {
		p.Add("client.tls_client_auth_subject_dn", "is missing, and so is every tls_client_auth_san_…: say what the client's certificate must have")
	}
}

// shortNames are the attributes that a certificate's subject has by a name when it is compared; any other stands there by its OID.
var shortNames = []string{"CN", "SERIALNUMBER", "C", "ST", "L", "STREET", "O", "OU", "POSTALCODE"}

// checkDN wants a distinguished name in the form in which those of certificates are compared: RFC 4514, without optional spaces.
func checkDN(dn string) string {
	for _, part := range splitDN(dn) {
		name, _, ok := strings.Cut(part, "=")
		switch {
		case !ok || name == "":
			return "is no distinguished name such as CN=meters,O=Example (RFC 4514)"
		case strings.TrimSpace(name) != name:
			return "has a space behind a comma: leave it out"
		case !slices.Contains(shortNames, name) && strings.Trim(name, "0123456789.") != "":
			return "has the attribute " + quote(name) + ": write it as one of " + strings.Join(shortNames, ", ") + ", or as an OID"
		}
	}
	return ""
}

// splitDN parts a distinguished name at each "," and "+" that is not escaped.
func splitDN(dn string) []string {
	var parts []string
	from := 0
	for i := 0; i < len(dn); i++ {
		switch dn[i] {
		case '\\':
			i++
		case ',', '+':
			parts, from = append(parts, dn[from:i]), i+1
		}
	}
	return append(parts, dn[from:])
}

func checkHostName(s string) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_*"
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, letters) != "" {
			return "is not the name of a host"
		}
	}
	return ""
}

func checkURI(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil || !u.IsAbs() || u.Host == "" && u.Opaque == "" && u.Path == "":
		return "is not an absolute URI"
	case strings.Contains(s, "#"):
		return "has a fragment, which is not possible here"
	case u.User != nil:
		return "has a user name or a password: no secret belongs here"
	}
	return ""
}

func checkIP(s string) string {
	if ip, err := netip.ParseAddr(s); err != nil || ip.Zone() != "" {
		return "is not an IP address"
	}
	return ""
}

func checkMailbox(s string) string {
	if name, host, ok := strings.Cut(s, "@"); !ok || name == "" || checkHostName(host) != "" {
		return "is not an e-mail address"
	}
	return ""
}

// sameProof reports whether whoever proved to be the client by the old configuration does so by the new one, and nobody else.
func sameProof(old, now *credential.ClientConfig) bool {
	if old == nil || now == nil {
		return old == now
	}
	if old.HasSecret() && now.HasSecret() {
		return true
	}
	return old.Auth == now.Auth && old.JWKSURI == now.JWKSURI && bytes.Equal(old.JWKS, now.JWKS) &&
		slices.EqualFunc(subjectsOf(old), subjectsOf(now), func(x, y subject) bool { return x.value == y.value })
}

// keepsProof reports whether whoever could prove to be the client still can. A key that comes beside others ends nothing, so that keys
// can be replaced one by one; that one goes ends what it has got.
func keepsProof(old, now *credential.ClientConfig) bool {
	if sameProof(old, now) {
		return true
	}
	if old == nil || now == nil || old.Auth != now.Auth || len(old.JWKS) == 0 || len(now.JWKS) == 0 {
		return false
	}
	has := keyNamesOf(now.JWKS)
	return !slices.ContainsFunc(keyNamesOf(old.JWKS), func(k string) bool { return !slices.Contains(has, k) })
}

// keyNamesOf names each key of a set by its thumbprint, and by that of the certificate that it is known by.
func keyNamesOf(set []byte) []string {
	keys, err := jwt.ParseSet(set)
	if err != nil {
		return nil
	}
	var all []string
	for k := range keys.All() {
		name, err := jwt.Thumbprint(k.Public)
		if err != nil {
			continue
		}
		if len(k.Certs) > 0 {
			name += "/" + jwt.CertThumbprint(k.Certs[0])
		}
		all = append(all, name)
	}
	return all
}
