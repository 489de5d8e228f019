package api

import (
	"context"
	"net/http"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/view"
)

type newKeyIn struct {
	OnceIn
	BodyIn[view.NewKey]
}

type bundleOut = reply[view.KeyBundle]

func (s *server) keys() {
	auth := s.api.Authority
	handle(s, op{
		id: "createKey", method: http.MethodPost, path: "/keys", summary: "Make a device with a token and a certificate; both are shown this once",
		right:  "principals:create on /principals/ID and credentials:create on /credentials/ID",
		status: http.StatusCreated, example: `{"id":"myapp01","valid":"1095d"}`,
	}, func(ctx context.Context, c *caller, in *newKeyIn) (*bundleOut, error) {
		var p credential.Problems
		n := authority.NewKey{
			ID: in.Body.ID, Valid: view.ParseTTL("valid", in.Body.Valid, &p), Scopes: in.Body.Scopes, CSR: []byte(in.Body.CSR), Idempotency: in.Key,
		}
		if err := p.Err(); err != nil {
			return nil, err
		}
		return s.bundle(auth.GenerateKey(ctx, c.Caller, n))
	})
	handle(s, op{
		id: "rotateKey", method: http.MethodPost, path: "/keys/{id}/rotate", summary: "Make new versions of a device's token and certificate",
		right: "credentials:rotate on /credentials/ID", example: `{"overlap":"1h"}`,
	}, func(ctx context.Context, c *caller, in *rotateIn) (*bundleOut, error) {
		r, err := rotation(in.Body, in.Key)
		if err != nil {
			return nil, err
		}
		return s.bundle(auth.RotateKey(ctx, c.Caller, in.ID, r))
	})
}

func (s *server) bundle(b authority.Bundle, err error) (*bundleOut, error) {
	if err != nil {
		return nil, err
	}
	return answer(view.KeyBundle{
		Principal: view.FromPrincipal(b.Principal), Token: s.issuedView(b.Token), Certificate: s.issuedView(b.Certificate), Warnings: b.Warnings,
	}).at("principals", b.Principal.Name), nil
}
