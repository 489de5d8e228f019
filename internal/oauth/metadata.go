package oauth

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"

	"cardea/internal/credential"
	"cardea/internal/gate"
)

// metadata is RFC 8414 §2, with what RFC 8705 §3.3 and RFC 9449 §5.1 add. Only what works is in it (J10).
type metadata struct {
	Issuer        string   `json:"issuer"`
	Token         string   `json:"token_endpoint"`
	Introspection string   `json:"introspection_endpoint"`
	Revocation    string   `json:"revocation_endpoint"`
	JWKS          string   `json:"jwks_uri"`
	ResponseTypes []string `json:"response_types_supported"` // demanded; there is no authorization endpoint
	GrantTypes    []string `json:"grant_types_supported"`

	TokenAuth             []string `json:"token_endpoint_auth_methods_supported"`
	TokenAuthAlgs         []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	IntrospectionAuth     []string `json:"introspection_endpoint_auth_methods_supported"`
	IntrospectionAuthAlgs []string `json:"introspection_endpoint_auth_signing_alg_values_supported"`
	RevocationAuth        []string `json:"revocation_endpoint_auth_methods_supported"`
	RevocationAuthAlgs    []string `json:"revocation_endpoint_auth_signing_alg_values_supported"`

	DPoPAlgs  []string `json:"dpop_signing_alg_values_supported"`
	CertBound bool     `json:"tls_client_certificate_bound_access_tokens,omitempty"`
}

// describe answers with the metadata.
func (s *Server) describe(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header()["Allow"] = allowGet
		getOnly.write(w)
		return
	}
	methods, algs, tls := credential.ClientAuthMethods(), gate.CheckedAlgs(), r.TLS != nil
	if !tls { // nobody has a certificate then
		methods = slices.DeleteFunc(methods, func(m string) bool { return m == credential.TLSClient || m == credential.TLSSelfSigned })
	}
	b, err := json.Marshal(metadata{
		Issuer: s.issuer, Token: s.issuer + tokenPath, Introspection: s.issuer + introspectPath, Revocation: s.issuer + revokePath,
		JWKS: s.issuer + jwksPath, ResponseTypes: []string{}, GrantTypes: []string{clientCredentials, tokenExchange},
		TokenAuth: methods, TokenAuthAlgs: algs, IntrospectionAuth: methods, IntrospectionAuthAlgs: algs, RevocationAuth: methods, RevocationAuthAlgs: algs,
		DPoPAlgs: algs, CertBound: tls,
	})
	if err != nil {
		internal.write(w)
		return
	}
	h := w.Header()
	h["Content-Type"] = typeJSON
	h["Cache-Control"] = []string{"public, max-age=300"}
	h["X-Content-Type-Options"] = noSniff
	h["Content-Length"] = []string{strconv.Itoa(len(b))}
	_, _ = w.Write(b)
}
