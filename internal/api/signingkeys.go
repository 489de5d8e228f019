package api

import (
	"cmp"
	"context"
	"net/http"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/view"
)

type revokeSigningKeyIn struct {
	KID string `path:"kid"`
	OptionalIn[view.RevokeSigningKey]
}

type (
	signingKeyOut  = reply[view.SigningKey]
	signingKeysOut = reply[view.Page[view.SigningKey]]
)

func (s *server) signingKeys() {
	auth := s.api.Authority
	shown := func(k authority.SigningKey, err error) (*signingKeyOut, error) { return answer(signingKey(k)), err }
	handle(s, op{
		id: "listSigningKeys", method: http.MethodGet, path: "/signing-keys", summary: "List the keys of access tokens, those that began last first",
		right: "signingkeys:read on /signingkeys/*",
	}, func(ctx context.Context, c *caller, _ *struct{}) (*signingKeysOut, error) {
		list, err := auth.SigningKeys(ctx, c.Caller)
		return answer(view.NewPage(list, "", signingKey)), err
	})
	handle(s, op{
		id: "rotateSigningKeys", method: http.MethodPost, path: "/signing-keys", summary: "Give an algorithm another key, which is published at once and signs an hour later",
		right: "signingkeys:rotate on /signingkeys/*", status: http.StatusCreated, example: `{"alg":"ES256"}`,
	}, func(ctx context.Context, c *caller, in *OptionalIn[view.RotateSigningKeys]) (*signingKeyOut, error) {
		var b view.RotateSigningKeys
		if in.Body != nil {
			b = *in.Body
		}
		return shown(auth.RotateSigningKeys(ctx, c.Caller, cmp.Or(b.Alg, credential.DefaultSigning), b.Now))
	})
	handle(s, op{
		id: "revokeSigningKey", method: http.MethodPost, path: "/signing-keys/{kid}/revoke",
		summary: "Believe nothing any more that a key has signed, because somebody else may have it; clients must ask for new tokens",
		right:   "signingkeys:revoke on /signingkeys/KID", example: `{"reason":"the backup was stolen"}`,
	}, func(ctx context.Context, c *caller, in *revokeSigningKeyIn) (*signingKeyOut, error) {
		reason := ""
		if in.Body != nil {
			reason = in.Body.Reason
		}
		return shown(auth.RevokeSigningKey(ctx, c.Caller, in.KID, reason))
	})
}

func signingKey(k authority.SigningKey) view.SigningKey {
	return view.SigningKey{
		KID: k.ID, Alg: k.Alg, State: k.State, CreatedAt: utc(k.CreatedAt), ActiveAt: utc(k.ActiveAt), RetiredAt: utc(k.RetiredAt), RevokedAt: utc(k.RevokedAt),
		BelievedUntil: utc(k.BelievedUntil),
	}
}
