package gate

import (
	"context"
	"slices"

	"cardea/internal/credential"
)

// MethodJWT is the method by which somebody proves who they are with a JWT in one step: the data are its text, and nothing is answered. It is
// there wherever a chain takes JWTs.
const MethodJWT = "OAUTH2-JWT"

// takesJWT reports whether the chain of a listener has an enabled authenticator that looks at JWTs.
func (g *Gate) takesJWT(listener string) bool {
	return slices.ContainsFunc(g.chains.of(listener), func(m *member) bool { return m.Enabled && m.judgesJWT() })
}

func (m *member) judgesJWT() bool { return m.Type == credential.ByToken || m.Type == credential.ByJWT }

// bear takes the one step of MethodJWT. The user name, if one was said as well, must be the holder's, or the client id.
func (x *Exchange) bear(ctx context.Context, data []byte) (*Identity, credential.Reason) {
	in := *x.in
	in.Token, in.bearer = string(data), true
	if !looksLikeJWT(in.Token) {
		return nil, x.refuse(credential.MalformedToken)
	}
	id, out := x.gate.Enter(ctx, &in)
	if out.Reason != credential.OK {
		return nil, out.Reason
	}
	if said := in.Login.Username; said != "" && said != id.Principal && said != in.Login.ClientID {
		return nil, x.refuse(credential.Unbound)
	}
	return id, credential.OK
}
