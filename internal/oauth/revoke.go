package oauth

import (
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
)

// byHolder is the reason in the audit log.
const byHolder = "by its holder (RFC 7009)"

// revoke ends a token (RFC 7009): an access token alone, or the credential that an opaque token is of. What is not good any more, or
// not known here, is as dead as it can be: that is no error.
func (x *exchange) revoke() *refusal {
	by, bad := x.caller()
	if bad != nil {
		return bad
	}
	token := x.form.get("token")
	if token == "" {
		return noToken
	}
	said, why := x.Gate.Claims(x.r.Context(), token)
	switch {
	case why.Class() == credential.CannotKnow:
		bad = notNow.after(time.Second)
	case why == credential.OK:
		bad = x.revokeAccess(by, &said)
	default:
		bad = x.revokeOpaque(by, token)
	}
	if bad != nil {
		return bad
	}
	x.out = append(x.out[:0], `{}`...)
	x.answer()
	return nil
}

// revokeAccess ends an access token for whom it was made, by whom, or who may revoke what it was made for (J18).
func (x *exchange) revokeAccess(by *gate.Identity, said *gate.Claimed) *refusal {
	if said.Org != by.Org {
		return nil // to them it does not exist
	}
	return x.failed(x.Authority.RevokeToken(x.r.Context(), x.authorityCaller(by), credential.DeniedToken{
		ID: said.ID, Org: said.Org, Credential: said.Credential, Client: said.ClientID, Shown: true, Until: said.ExpiresAt,
	}, byHolder))
}

// revokeOpaque ends the credential whose secret was shown. It needs not be accepted now: what is good from tomorrow on is ended as well.
func (x *exchange) revokeOpaque(by *gate.Identity, token string) *refusal {
	v := x.Gate.Verify(x.r.Context(), by.Org, &gate.Evidence{Token: token, Source: x.source, Door: doorName}, nil, false)
	switch {
	case v.Reason.Class() == credential.CannotKnow:
		return notNow.after(time.Second)
	case v.Identity == nil, v.Reason == credential.Revoked, v.Reason == credential.Expired:
		return nil
	case v.Identity.PrincipalID != by.PrincipalID:
		return notYours
	case v.Identity.Session() != "", v.Identity.Kind == credential.OAuthClient, v.Identity.Kind == credential.SessionKey:
		return cannotEnd
	}
	_, err := x.Authority.RevokeShown(x.r.Context(), x.authorityCaller(by), v.Identity.Credential, byHolder)
	if credential.IsNotFound(err) { // deleted a moment ago
		return nil
	}
	return x.failed(err)
}

// failed answers an error of the authority.
func (x *exchange) failed(err error) *refusal {
	if err == nil {
		return nil
	}
	switch credential.KindOf(err) {
	case credential.NoRight, credential.NotFound:
		return notYours
	case credential.Down:
		return notNow.after(time.Second)
	}
	x.Log.Error("a token could not be revoked", "error", err)
	return internal
}
