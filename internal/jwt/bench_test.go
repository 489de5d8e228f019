package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"testing"
)

var example = []byte(`{"iss":"https://cardea.example.com","sub":"meter-gateway","aud":"https://db.example.com","exp":1772367300,"iat":1772365500,"jti":"0aZ3kQ9vLm2X",` +
	`"client_id":"7TnW4cB8sR1y","scope":"telemetry:write telemetry:read","org":"default","kind":"service","crd":"7TnW4cB8sR1y.1"}`)

// BenchmarkSignPayload is to be read beside BenchmarkBare: what the token costs over the signature alone.
func BenchmarkSignPayload(b *testing.B) {
	for _, key := range signingKeys(b) {
		s := newSigner(b, key)
		b.Run(s.Alg(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.SignPayload("at+jwt", example); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBare(b *testing.B) {
	sum := sha256.Sum256(example)
	for _, key := range signingKeys(b) {
		name, input, hash := newSigner(b, key).Alg(), sum[:], crypto.SHA256
		if name == "EdDSA" {
			input, hash = example, 0
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if ec, ok := key.(*ecdsa.PrivateKey); ok {
					_, err = ecdsa.SignASN1(rand.Reader, ec, input)
				} else {
					_, err = key.Sign(rand.Reader, input, hash)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, key := range signingKeys(b) {
		s, keys := newSigner(b, key), keysOf(b, key.Public())
		token := sign(b, s, "at+jwt", json.RawMessage(example))
		want := Want{Types: []string{"at+jwt"}, AnyAudience: true}
		b.Run(s.Alg(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Verify(token, keys, want, noon); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReadProof(b *testing.B) {
	proof := newProof(b, newKey(b)).text(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadProof(proof); err != nil {
			b.Fatal(err)
		}
	}
}
