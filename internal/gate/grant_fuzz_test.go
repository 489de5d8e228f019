package gate

import (
	"testing"

	"cardea/internal/credential"
)

// Whatever claims we are made to sign, they are read as a whole or not at all.
func FuzzGrant(f *testing.F) {
	f.Add([]byte(`{"sub":"svc","aud":"https://cardea.test","exp":1893560645,"iat":1893559745,"jti":"abcdefghijkl","client_id":"abcdefghijkl","scope":"a b","org":"default","crd":"abcdefghijkl.1"}`))
	f.Add([]byte(`{"sub":"svc","aud":["a","b"],"exp":1e308,"jti":"abcdefghijkl","org":"default","crd":"abcdefghijkl.0","cnf":{"jkt":"x"},"act":{"sub":"b","crd":"abcdefghijkl.2","act":{"crd":"x"}},"anc":["abcdefghijkl"]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		gr := readGrant(raw)
		if gr == nil {
			return
		}
		if gr.ends == 0 || gr.org == "" || gr.subject == "" || gr.id == (key{}) || gr.of.key == (key{}) || gr.of.proof < 1 || len(gr.bonds) > 64 {
			t.Errorf("%s is %+v", raw, gr)
		}
	})
}

// Nobody who cannot sign is a client, whatever the assertion.
func FuzzAssertion(f *testing.F) {
	m := newMint(f)
	p := m.service("svc")
	_, c := m.client(p, credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: []byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`)})
	f.Add("eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q")
	f.Add(forged(f, newECKey(f), "ES256", nil, map[string]any{"iss": c.ID, "sub": c.ID, "aud": issuer, "exp": 1893560645, "jti": "1"}))
	f.Fuzz(func(t *testing.T, text string) {
		for _, id := range []string{"", c.ID} {
			if client, out := m.gate.Client(t.Context(), &ClientEvidence{ID: id, Assertion: text, Audiences: []string{issuer}, Source: here}); client != nil || out.Reason == credential.OK {
				t.Errorf("%q is a client", text)
			}
		}
	})
}
