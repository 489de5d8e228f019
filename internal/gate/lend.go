package gate

import (
	"context"
	"net/netip"

	"cardea/internal/credential"
	"cardea/internal/scram"
)

// ScramKeys returns the keys of a user whose credential is accepted from src now, for a broker that does the
// handshake itself, and who that is. Of several versions they are the newest's. UnknownUser also stands for a credential of another algorithm.
func (g *Gate) ScramKeys(ctx context.Context, org, username, algorithm string, src netip.Addr) (credential.ScramKeys, *Identity, credential.Reason) {
	if g.blind(g.clock.Mono()) {
		return credential.ScramKeys{}, nil, credential.Unavailable
	}
	name, err := scram.Prepare(username)
	hash, ok := scram.HashOf(algorithm)
	if err != nil || !ok {
		return credential.ScramKeys{}, nil, credential.UnknownUser
	}
	for range maxRounds {
		e, why := g.named(ctx, org, credential.SCRAM, name)
		if e == nil {
			return credential.ScramKeys{}, nil, why
		}
		s, why := e.scram(), e.judge(g.clock.nano(), src)
		if e.dead() {
			continue
		}
		if why != credential.OK {
			return credential.ScramKeys{}, nil, why
		}
		if s.hash != hash {
			return credential.ScramKeys{}, nil, credential.UnknownUser
		}
		return s.keys, g.identity(e), credential.OK
	}
	return credential.ScramKeys{}, nil, credential.Unavailable
}
