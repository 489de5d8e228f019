package gate

import (
	"context"

	"cardea/internal/credential"
)

// Found is whose a token is that somebody else has found.
type Found struct {
	Org        string
	Credential string // ID; of a session, the session's own
	Kind       credential.Kind
	Principal  string // name
	Proof      int    // version
	Reason     credential.Reason
}

// Whose returns whose token a text is, of any organisation, whether it is accepted or not; nil if it is nobody's. It counts as no use and as no
// wrong attempt. A text without a good checksum costs no look-up, unless it looks like one that was imported.
func (g *Gate) Whose(ctx context.Context, token string) *Found {
	e, parent, why := g.examineToken(ctx, &Evidence{Token: token})
	if e == nil {
		return nil
	}
	if parent != nil { // e is the session, parent what it was made with
		why = credential.OK
	}
	return &Found{
		Org: e.made.Org, Credential: e.made.Credential, Kind: e.made.Kind, Principal: e.made.Principal, Proof: e.made.Proof, Reason: why,
	}
}
