package authority

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"time"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// keepReplies is how long an idempotency key is good for.
const keepReplies = 24 * time.Hour

// reply is what an act answers.
type reply struct {
	Principal     *credential.Principal
	Issued        []Issued
	Authenticator *credential.Authenticator
	Warnings      []string
}

// keptReply is the form in which a reply is remembered.
type keptReply struct {
	Principal     *credential.Principal     `json:"principal,omitempty"`
	Issued        []keptIssued              `json:"issued,omitempty"`
	Authenticator *credential.Authenticator `json:"authenticator,omitempty"`
	Warnings      []string                  `json:"warnings,omitempty"`
	Hidden        []byte                    `json:"hidden,omitempty"` // as in [memo]
}

// keptIssued is [Issued] with its secrets in the clear. It is never seen but sealed.
type keptIssued struct {
	Credential    credential.Credential `json:"credential"`
	PrincipalName string                `json:"principal"`
	Token         string                `json:"token,omitempty"`
	Certificate   []byte                `json:"certificate,omitempty"`
	Key           string                `json:"key,omitempty"`
	PreviousEnds  time.Time             `json:"previous,omitzero"`
	OwnerName     string                `json:"owner,omitempty"`
	Admin         bool                  `json:"admin,omitempty"`
	Warnings      []string              `json:"warnings,omitempty"`
}

func keep(issued ...Issued) []keptIssued {
	out := make([]keptIssued, len(issued))
	for i, is := range issued {
		out[i] = keptIssued{
			is.Credential, is.PrincipalName, is.Secret.Reveal(), is.Certificate, is.PrivateKey.Reveal(), is.PreviousEnds, is.OwnerName, is.Admin, is.Warnings,
		}
	}
	return out
}

func (k *keptIssued) issued() Issued {
	return Issued{
		Credential: k.Credential, PrincipalName: k.PrincipalName,
		Secret: secret.NewText(k.Token), Certificate: k.Certificate, PrivateKey: secret.NewText(k.Key),
		PreviousEnds: k.PreviousEnds, OwnerName: k.OwnerName, Admin: k.Admin, Warnings: k.Warnings,
	}
}

func (r reply) bundle() Bundle {
	return Bundle{
		Principal: *r.Principal, Token: r.Issued[0], Certificate: r.Issued[1],
		Warnings: r.Warnings,
	}
}

// memo is an idempotency key of one caller with the request it came with. A nil
// memo is for requests without one.
type memo struct {
	org     string
	key     string
	request [sha256.Size]byte
	hidden  []byte // hash of the passwords and keys of the request; nil for none. It is only kept sealed
}

// newMemo binds a key to the caller's credential, so that nobody meets another's answers.
func newMemo(c Caller, act, key string, request any) (*memo, error) {
	if key == "" {
		return nil, nil
	}
	var p credential.Problems
	checkText(&p, "Idempotency-Key", key, maxKeyLen)
	if err := p.Err(); err != nil {
		return nil, err
	}
	text, err := json.Marshal([]any{act, request})
	if err != nil {
		return nil, &credential.Error{Kind: credential.Internal, Err: err}
	}
	who, err := json.Marshal([]string{c.Org, c.Actor.Principal, c.Actor.Credential, key})
	if err != nil {
		return nil, &credential.Error{Kind: credential.Internal, Err: err}
	}
	sum := sha256.Sum256(who)
	return &memo{org: c.Org, key: hex.EncodeToString(sum[:]), request: sha256.Sum256(text)}, nil
}

// hide adds to the request what must not be kept in the open, not even as a hash.
func (m *memo) hide(of ...material) {
	if m == nil {
		return
	}
	all, some := make([]byte, len(of)*sha256.Size), false
	for i := range of {
		some = copy(all[i*sha256.Size:], of[i].fingerprint()) > 0 || some
	}
	if some {
		sum := sha256.Sum256(all)
		m.hidden = sum[:]
	}
}

// hideBackend is hide for what an authenticator's service is shown.
func (m *memo) hideBackend(b *credential.Backend) error {
	if m == nil || b == nil {
		return nil
	}
	text, err := json.Marshal(b)
	if err != nil {
		return &credential.Error{Kind: credential.Internal, Err: err}
	}
	sum := sha256.Sum256(text)
	m.hidden = sum[:]
	return nil
}

// remember adds to the change that r answers the memo's request.
func (a *Authority) remember(ch *change, m *memo, r reply) error {
	if m == nil {
		return nil
	}
	text, err := json.Marshal(keptReply{r.Principal, keep(r.Issued...), r.Authenticator, r.Warnings, m.hidden})
	if err != nil {
		return &credential.Error{Kind: credential.Internal, Err: err}
	}
	sealed, err := a.ring.Seal(m.record(), text)
	if err != nil {
		return err
	}
	ch.also(credential.Remember{Key: m.key, Request: m.request[:], Sealed: sealed, Until: ch.at.Add(keepReplies)})
	return nil
}

func (m *memo) record() string { return "idempotency/" + m.key }

// recall returns what was answered to the memo's request; false if nothing was.
// Unprocessed if the key was used for another request.
func (a *Authority) recall(ctx context.Context, m *memo) (reply, bool, error) {
	kept, err := a.store.Reply(ctx, m.key)
	if credential.IsNotFound(err) {
		return reply{}, false, nil
	}
	if err != nil {
		return reply{}, false, err
	}
	if !a.now().Before(kept.Until) {
		return reply{}, false, nil
	}
	another := credential.Errorf(credential.Unprocessed, "the Idempotency-Key was used for another request: take a new one")
	if subtle.ConstantTimeCompare(kept.Request, m.request[:]) == 0 {
		return reply{}, false, another
	}
	text, err := a.ring.Open(m.record(), kept.Sealed)
	if err != nil {
		return reply{}, false, err
	}
	var was keptReply
	if err := json.Unmarshal(text, &was); err != nil {
		return reply{}, false, &credential.Error{Kind: credential.Internal, Err: err}
	}
	if subtle.ConstantTimeCompare(was.Hidden, m.hidden) == 0 {
		return reply{}, false, another
	}
	r := reply{Principal: was.Principal, Authenticator: was.Authenticator, Warnings: was.Warnings}
	for i := range was.Issued {
		r.Issued = append(r.Issued, was.Issued[i].issued())
	}
	a.settle(ctx, &r, m.org)
	return r, true, nil
}

// once acts, or returns what was answered before to the same request with the
// same key. Of two that come at once, one acts and the other gets its answer. Like
// [retry] it tries again when it is overtaken.
func (a *Authority) once(ctx context.Context, m *memo, act func() (reply, error)) (reply, error) {
	if m == nil {
		return retry(0, act)
	}
	return retry(0, func() (reply, error) {
		r, found, err := a.recall(ctx, m)
		if found || err != nil {
			return r, err
		}
		r, err = act()
		if k := credential.KindOf(err); err == nil || k != credential.Exists && k != credential.Conflict {
			return r, err
		}
		// What stands in the way may be what the other one has just made.
		if kept, found, again := a.recall(ctx, m); found || again != nil {
			return kept, again
		}
		return r, err
	})
}

// settle makes sure that the gate knows what an answer is about that somebody else's act has made, who may still be waiting for it.
func (a *Authority) settle(ctx context.Context, r *reply, org string) {
	var touched []credential.Touch
	for i := range r.Issued {
		about := aboutCredential(r.Issued[i].Credential.ID, r.Issued[i].PrincipalName)
		touched = append(touched, credential.Touch{Org: org, Subject: about})
	}
	if r.Authenticator != nil {
		touched = append(touched, credential.Touch{Org: org, Subject: aboutAuthenticator(r.Authenticator)})
	}
	a.tellGate(ctx, touched)
}
