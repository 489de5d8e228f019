package oauth

import (
	"net/http"
	"slices"
	"testing"

	"cardea/internal/credential"
)

// J10: the issuer is exactly the one in tokens, and what is listed works.
func TestMetadata(t *testing.T) {
	for name, house := range map[string]*house{"plain": newHouse(t), "TLS": newHouse(t, withTLS)} {
		r := house.get(MetadataPath)
		r.is(t, 200, "")
		if r.get("issuer") != issuer || r.get("token_endpoint") != issuer+tokenPath || r.get("introspection_endpoint") != issuer+introspectPath ||
			r.get("revocation_endpoint") != issuer+revokePath || r.get("jwks_uri") != issuer+jwksPath {
			t.Errorf("%s: %s", name, r.text)
		}
		for _, absent := range []string{"authorization_endpoint", "registration_endpoint", "scopes_supported", "userinfo_endpoint"} {
			if _, there := r.body[absent]; there {
				t.Errorf("%s: %s does not work", name, absent)
			}
		}
		methods, _ := r.body["token_endpoint_auth_methods_supported"].([]any)
		if slices.Contains(methods, any(credential.TLSClient)) != (name == "TLS") {
			t.Errorf("%s: %v", name, methods)
		}
		for _, path := range []string{tokenPath, introspectPath, revokePath} {
			if r := house.post(path, ""); r.StatusCode == http.StatusNotFound {
				t.Errorf("%s: there is no %s", name, path)
			}
		}
		if r.Header.Get("Cache-Control") != "public, max-age=300" {
			t.Errorf("%s: %v", name, r.Header)
		}
		house.get(MetadataPath+"/x").is(t, 404, "not_found")
		house.post(MetadataPath, "").is(t, 405, "invalid_request")
	}
}
