package client

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	proofTyp      = "dpop+jwt"
	maxProofAge   = time.Minute
	nonceLife     = 5 * time.Minute
	nonceMAC      = 16 // octets
	defaultReplay = 100_000
)

// DPoPConfig lets tokens in that are bound to a DPoP key (RFC 9449).
type DPoPConfig struct {
	// Origins are where clients find this server, as "https://api.example". They are not taken from the request, whose Host may name another server, for
	// which a stolen proof was made.
	Origins []string
	// Nonces demands a nonce of this server in each proof, so that none can be made in advance. NonceKey is what several servers
	// behind one address share, of at least 32 bytes; without it each process has its own.
	Nonces   bool
	NonceKey []byte
	// Replay bounds how many proofs of the last two minutes are remembered; 0: 100,000. Beyond it proofs are refused.
	Replay int
}

func (c *DPoPConfig) check(plainHTTP bool) error {
	var wrong []error
	if len(c.Origins) == 0 {
		wrong = append(wrong, errors.New("client: DPoP needs the Origins by which clients find this server"))
	}
	for _, o := range c.Origins {
		wrong = append(wrong, checkURL("the origin", o, plainHTTP))
		if u, err := url.Parse(o); err == nil && (u.Path != "" || u.RawQuery != "") {
			wrong = append(wrong, errors.New("client: an origin is a scheme and a host, and ends there"))
		}
	}
	if c.NonceKey != nil && len(c.NonceKey) < 32 {
		wrong = append(wrong, errors.New("client: the NonceKey needs at least 32 bytes"))
	}
	return errors.Join(wrong...)
}

// proofs checks DPoP proofs and lets each be used once.
type proofs struct {
	c      DPoPConfig
	algs   []jose.SignatureAlgorithm
	leeway time.Duration
	now    func() time.Time
	seen   *seen
}

func newProofs(c DPoPConfig, algs []jose.SignatureAlgorithm, leeway time.Duration, now func() time.Time) (*proofs, error) {
	if c.NonceKey == nil {
		c.NonceKey = make([]byte, 32)
		if _, err := rand.Read(c.NonceKey); err != nil {
			return nil, err
		}
	}
	if c.Replay <= 0 {
		c.Replay = defaultReplay
	}
	return &proofs{c: c, algs: algs, leeway: leeway, now: now, seen: &seen{limit: c.Replay, window: maxProofAge + 2*leeway}}, nil
}

func proofError(code, reason string) error {
	return &TokenError{Code: code, Reason: reason, proof: true}
}

type proofClaims struct {
	ID        string        `json:"jti"`
	Method    string        `json:"htm"`
	URL       string        `json:"htu"`
	IssuedAt  *instantClaim `json:"iat"`
	TokenHash string        `json:"ath"`
	Nonce     string        `json:"nonce"`
}

// check: RFC 9449 section 4.3, by its numbers. key is the thumbprint that the token is bound to.
func (p *proofs) check(at Presented, key string) error {
	if len(at.Proofs) != 1 { // 1
		return proofError(invalidProof, "there is not exactly one DPoP field")
	}
	c, thumb, err := parseProof(at.Proofs[0], p.algs)
	if err != nil {
		return err
	}
	now := p.now()
	switch {
	case thumb != key: // 12
		return proofError(invalidToken, "the proof is of another key than the token")
	case c.Method != at.Method: // 8
		return proofError(invalidProof, "the proof is for another method")
	case !p.isFor(c.URL, at.Target): // 9
		return proofError(invalidProof, "the proof is for another URL")
	case subtle.ConstantTimeCompare([]byte(c.TokenHash), []byte(hashOf(at.Token))) != 1: // 12
		return proofError(invalidProof, "the proof is for another token")
	case p.c.Nonces && !p.isNonce(c.Nonce, now): // 10
		return proofError(useNonce, "the proof has no nonce of this server, or an old one")
	}
	issued := c.IssuedAt.time()
	if now.Add(p.leeway).Before(issued) || !now.Before(issued.Add(maxProofAge+p.leeway)) { // 11
		return proofError(invalidProof, "the proof is too old, or from the future")
	}
	switch p.seen.add(sha256.Sum256([]byte(key+"\x00"+c.ID)), now) { // section 11.1
	case replayed:
		return proofError(invalidProof, "the proof was used before")
	case full:
		return &UnavailableError{errors.New("more DPoP proofs are in use than are remembered")}
	default:
		return nil
	}
}

// parseProof checks what does not depend on the request, and returns the thumbprint of the proof's key.
func parseProof(text string, algs []jose.SignatureAlgorithm) (proofClaims, string, error) {
	bad := func(reason string) (proofClaims, string, error) {
		return proofClaims{}, "", proofError(invalidProof, reason)
	}
	j, err := parseJWT(text, algs) // 2, 5
	if err != nil {
		return bad("the proof is no JWT that is accepted here")
	}
	if !strings.EqualFold(j.typ, proofTyp) { // 4
		return bad("the typ of the proof is not " + proofTyp)
	}
	var h struct {
		JWK json.RawMessage `json:"jwk"`
	}
	var k jose.JSONWebKey
	if json.Unmarshal(j.header, &h) != nil || h.JWK == nil || k.UnmarshalJSON(h.JWK) != nil || !k.IsPublic() { // 7
		return bad("the proof has no public key")
	}
	if !j.signedBy(k.Key) { // 6
		return bad("the signature of the proof is wrong")
	}
	var c proofClaims
	if object(j.payload, &c) != nil || c.ID == "" || len(c.ID) > 256 || c.Method == "" || c.URL == "" || c.IssuedAt == nil { // 3
		return bad("the proof misses one of jti, htm, htu and iat")
	}
	thumb, err := thumbprint(k.Key)
	if err != nil {
		return bad("the proof has no public key")
	}
	return c, thumb, nil
}

// isFor compares without query and fragment, and by the rules of RFC 3986 sections 6.2.2 and 6.2.3.
func (p *proofs) isFor(htu, target string) bool {
	got, ok := normalURL(htu)
	if !ok {
		return false
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return false
	}
	for _, o := range p.c.Origins {
		if want, ok := normalURL(o + u.EscapedPath()); ok && want == got {
			return true
		}
	}
	return false
}

func normalURL(raw string) (string, bool) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return "", false
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return strings.ToLower(origin(u)) + normalEscapes(path), true
}

// normalEscapes writes %7e and %7E as ~, which they mean, and hexadecimal letters large.
func normalEscapes(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] != '%' || i+2 >= len(path) {
			b.WriteByte(path[i])
			continue
		}
		c := unhex(path[i+1])<<4 | unhex(path[i+2])
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteString(strings.ToUpper(path[i : i+3]))
		}
		i += 2
	}
	return b.String()
}

func unhex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}

// nonce returns one that is good for five minutes. It is the time, signed: nothing is remembered.
func (p *proofs) nonce() string {
	stamp := binary.BigEndian.AppendUint64(nil, uint64(p.now().Unix()))
	return base64.RawURLEncoding.EncodeToString(append(stamp, p.mac(stamp)...))
}

func (p *proofs) isNonce(text string, now time.Time) bool {
	b, err := decode(text)
	if err != nil || len(b) != 8+nonceMAC || !hmac.Equal(b[8:], p.mac(b[:8])) {
		return false
	}
	made := time.Unix(int64(binary.BigEndian.Uint64(b)), 0)
	return now.Before(made.Add(nonceLife)) && !now.Add(maxLeeway).Before(made)
}

func (p *proofs) mac(stamp []byte) []byte {
	h := hmac.New(sha256.New, p.c.NonceKey)
	h.Write(stamp)
	return h.Sum(nil)[:nonceMAC]
}

// seen remembers hashes for at least a window, in two generations, and no more than a limit of them.
type seen struct {
	limit  int
	window time.Duration

	mu       sync.Mutex
	new, old map[[sha256.Size]byte]struct{}
	turned   time.Time
}

type verdict int

const (
	fresh verdict = iota
	replayed
	full
)

func (s *seen) add(hash [sha256.Size]byte, now time.Time) verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	if past := now.Sub(s.turned); s.new == nil || past >= 2*s.window {
		s.old, s.new, s.turned = nil, map[[sha256.Size]byte]struct{}{}, now
	} else if past >= s.window {
		s.old, s.new, s.turned = s.new, map[[sha256.Size]byte]struct{}{}, now
	}
	if _, ok := s.new[hash]; ok {
		return replayed
	}
	if _, ok := s.old[hash]; ok {
		return replayed
	}
	if len(s.new)+len(s.old) >= s.limit {
		return full
	}
	s.new[hash] = struct{}{}
	return fresh
}
