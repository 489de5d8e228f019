package authority

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
)

// mint gets an access token for a client with a secret.
func (h *house) mint(is Issued, audiences ...string) (gate.Minted, error) {
	c, out := h.gate.Client(context.Background(), &gate.ClientEvidence{ID: is.Credential.ID, Secret: is.Secret.Reveal(), Door: "http"})
	if out.Reason != credential.OK {
		return gate.Minted{}, fmt.Errorf("the client is refused: %s", out.Reason)
	}
	return h.gate.Mint(c.Identity, &gate.Wanted{Audiences: audiences, Client: c})
}

func (h *house) mustMint(is Issued, audiences ...string) gate.Minted {
	h.t.Helper()
	m, err := h.mint(is, audiences...)
	h.must(err)
	return m
}

// shows asks the gate about a token.
func (h *house) shows(token string) credential.Reason {
	_, out := h.gate.Authenticate(context.Background(), &gate.Evidence{Token: token, Door: "http"})
	return out.Reason
}

// J25, R01, R05: whatever ends what an access token was made for ends it at this node's gate before it is answered.
func TestWhatEndsAccessTokens(t *testing.T) {
	for name, tc := range map[string]struct {
		act  func(*house, Issued, gate.Minted) error
		want credential.Reason
	}{
		"another way to prove itself": {func(h *house, is Issued, _ gate.Minted) error {
			_, err := h.reconfigure(is.Credential.ID, credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: keySet(h.t, 1)})
			return err
		}, credential.ParentEnded},
		"the secret rotated": {func(h *house, is Issued, _ gate.Minted) error {
			_, err := h.Rotate(h.t.Context(), h.local, is.Credential.ID, Rotation{Force: true})
			return err
		}, credential.ParentEnded},
		"the client revoked": {func(h *house, is Issued, _ gate.Minted) error {
			_, err := h.Revoke(h.t.Context(), h.local, is.Credential.ID, "")
			return err
		}, credential.ParentEnded},
		"the principal disabled": {func(h *house, _ Issued, _ gate.Minted) error {
			off := true
			_, err := h.UpdatePrincipal(h.t.Context(), h.local, "billing", PrincipalPatch{Disabled: &off})
			return err
		}, credential.ParentEnded},
		"the principal deleted": {func(h *house, _ Issued, _ gate.Minted) error {
			return h.DeletePrincipal(h.t.Context(), h.local, "billing", "")
		}, credential.ParentEnded},
		"the token revoked": {func(h *house, is Issued, m gate.Minted) error {
			return h.RevokeToken(h.t.Context(), h.local, credential.DeniedToken{ID: m.ID, Credential: is.Credential.ID, Until: m.ExpiresAt}, "")
		}, credential.TokenDenied},
		"the signing key revoked": {func(h *house, _ Issued, _ gate.Minted) error {
			keys, err := h.SigningKeys(h.t.Context(), h.local)
			if err == nil {
				_, err = h.RevokeSigningKey(h.t.Context(), h.local, keys[0].ID, "")
			}
			return err
		}, credential.BadSignature},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.scope("s", allow("http:GET", "/x"))
			h.role("r", "s")
			h.principal(credential.Service, "billing", "r")
			is := h.mustClient(credential.ClientConfig{})
			m := h.mustMint(is)
			if got := h.shows(m.Token); got != credential.OK {
				t.Fatalf("before: %s", got)
			}
			h.must(tc.act(h, is, m))
			if got := h.shows(m.Token); got == credential.OK || got != tc.want {
				t.Errorf("after: %s, want %s", got, tc.want)
			}
		})
	}
}

// R06: a rotation with an overlap leaves the tokens of the version before alone until that is over. What is no proof ends nothing.
func TestWhatLeavesAccessTokensAlone(t *testing.T) {
	h := newHouse(t)
	h.scope("s", allow("http:GET", "/x"))
	h.role("r", "s")
	h.principal(credential.Service, "billing", "r")
	is := h.mustClient(credential.ClientConfig{TokenLife: 2 * time.Hour})
	m := h.mustMint(is)
	_, err := h.reconfigure(is.Credential.ID, credential.ClientConfig{Auth: credential.SecretPost, TokenLife: 2 * time.Hour, Audiences: []string{testIssuer}})
	h.must(err)
	turned, err := h.Rotate(t.Context(), h.local, is.Credential.ID, Rotation{Overlap: time.Hour})
	h.must(err)
	h.clock.add(time.Hour - time.Second)
	if got := h.shows(m.Token); got != credential.OK {
		t.Errorf("within the overlap: %s", got)
	}
	h.clock.add(time.Second)
	if got := h.shows(m.Token); got == credential.OK {
		t.Error("after the overlap it is good")
	}
	if got := h.shows(h.mustMint(turned).Token); got != credential.OK {
		t.Errorf("of the new version: %s", got)
	}
}

// J13: while the keys are rotated, now or as planned, tokens are made without a pause, and none is refused that was made before.
func TestRotationOfSigningKeysUnderLoad(t *testing.T) {
	h := newHouse(t)
	h.scope("s", allow("http:GET", "/x"))
	h.role("r", "s")
	h.principal(credential.Service, "billing", "r")
	is := h.mustClient(credential.ClientConfig{TokenLife: 12 * time.Hour})
	var made atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			var mine []string
			for {
				m, err := h.mint(is)
				if err != nil {
					t.Error(err)
					return
				}
				made.Add(1)
				mine = append(mine, m.Token)
				for _, text := range mine[max(0, len(mine)-20):] {
					if got := h.shows(text); got != credential.OK {
						t.Errorf("a token is refused: %s", got)
						return
					}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for i := range 10 {
		next, err := h.RotateSigningKeys(t.Context(), h.local, "ES256", i%2 == 0)
		h.must(err)
		if next.State == KeyNext {
			h.clock.add(publishAhead)
			h.must(h.KeepSigningKeys(t.Context()))
		}
		for was := made.Load(); made.Load() < was+20 && !t.Failed(); {
			time.Sleep(time.Millisecond)
		}
	}
	close(stop)
	wg.Wait()
}

// J08: a token is for an API by what that is now: what it loses the token loses, and when it goes the token is for nobody.
func TestTokensFollowTheirAPI(t *testing.T) {
	h := newHouse(t)
	h.scope("a", allow("http:GET", "/a"))
	h.scope("b", allow("http:GET", "/b"))
	h.role("r", "a", "b")
	h.principal(credential.Service, "billing", "r")
	h.api(NewAPI{Name: "meters", Audience: "urn:m", Scopes: []string{"a", "b"}, TokenLife: time.Minute})
	is := h.mustClient(credential.ClientConfig{})
	m := h.mustMint(is, "urn:m")
	if len(m.Scopes) != 2 || m.Life != time.Minute {
		t.Errorf("made %v for %s", m.Scopes, m.Life)
	}
	less := []string{"a"}
	_, err := h.UpdateAPI(t.Context(), h.local, "meters", APIPatch{Scopes: &less})
	h.must(err)
	id, out := h.gate.Authenticate(t.Context(), &gate.Evidence{Token: m.Token, Door: "http"})
	if out.Reason != credential.OK || len(id.Scopes) != 1 || id.Scopes[0] != "a" {
		t.Errorf("%s with %v", out.Reason, id)
	}
	h.must(h.DeleteAPI(t.Context(), h.local, "meters"))
	if got := h.shows(m.Token); got == credential.OK {
		t.Error("it is for an API that is no more")
	}
}
