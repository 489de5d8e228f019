package gate

import (
	"crypto/x509"

	"cardea/internal/credential"
)

// speaking is a login as the variables of preconditions (EMQX's names). What a client without a certificate would
// have of one is not there.
type speaking struct{ *credential.Login }

// Lookup returns the value of a variable.
func (s speaking) Lookup(path []string) (any, bool) {
	if path[0] == "client_attrs" {
		return s.attr(path[1:])
	}
	if len(path) != 1 {
		return nil, false
	}
	switch path[0] {
	case "username":
		return s.Username, true
	case "clientid":
		return s.ClientID, true
	case "password":
		return s.Password, true
	case "peerhost":
		return s.Peer.Addr().String(), true
	case "peerport":
		return int64(s.Peer.Port()), true
	case "sockport":
		return int64(s.Local.Port()), true
	case "proto_name":
		return s.Protocol, true
	case "listener":
		return s.Listener, true
	case "zone":
		return s.Zone, true
	case "auth_method":
		return s.Method, true
	case "auth_data":
		return s.Data, true
	case "cert_common_name":
		return s.cert(func(c *credential.LoginCert) any { return c.CommonName })
	case "cert_subject":
		return s.cert(func(c *credential.LoginCert) any { return c.Subject })
	}
	return nil, false
}

func (s speaking) attr(path []string) (any, bool) {
	if len(path) != 1 {
		return nil, false
	}
	v, ok := s.Attrs[path[0]]
	return v, ok
}

func (s speaking) cert(of func(*credential.LoginCert) any) (any, bool) {
	if s.Cert == nil {
		return nil, false
	}
	return of(s.Cert), true
}

// loginCert is what a certificate says of whoever shows it.
func loginCert(leaf *x509.Certificate) *credential.LoginCert {
	if leaf == nil {
		return nil
	}
	return &credential.LoginCert{Subject: leaf.Subject.String(), CommonName: leaf.Subject.CommonName, DER: leaf.Raw}
}

// due reports whether a member is to be asked about a login. An error is that it cannot be known: then the login is rejected.
func (m *member) due(l *credential.Login) (bool, error) {
	if m.expr == nil {
		return true, nil
	}
	l.Zone = m.Org
	text, err := m.expr.Render(speaking{l})
	return text == "true", err
}
