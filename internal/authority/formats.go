package authority

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"

	"cardea/internal/audit"
	"cardea/internal/credential"
	"cardea/internal/secret"
)

// Bounds of a format of tokens.
const (
	maxFormats   = 32 // of an organisation: the gate looks at each of them for a token that is none of ours
	maxPrefix    = 64
	maxIDLen     = 128
	maxSeparator = 8
	minKeyBytes  = 16
	maxKeyBytes  = 1024
	maxBits      = 4096

	ourPrefix = "cardea_" // with which every token of ours begins
)

// NewFormat says how tokens look that were made elsewhere, and how they were hashed there.
type NewFormat struct {
	Name      string
	Scheme    string // as package secret names them
	Prefix    string
	IDLen     int
	Separator string
	Bits      int         // entropy of each token, as the caller vouches for
	Key       secret.Text `json:"-"` // hmac-sha256: hex or base64
	Version   int64       // 0: a new one
}

// importRight is what whoever imports must have, and sees formats and imports by.
const importRight, importObject = "credentials:import", "/credentials/*"

// Formats lists the formats of the organisation by name. Their keys are never among what is answered.
func (a *Authority) Formats(ctx context.Context, c Caller) ([]credential.TokenFormat, error) {
	if err := a.Authorize(c, importRight, importObject); err != nil {
		return nil, err
	}
	all, err := a.store.Policy(ctx)
	own := []credential.TokenFormat{}
	for _, f := range all.Formats {
		if f.Org == c.Org {
			f.Sealed = nil
			own = append(own, f)
		}
	}
	return own, err
}

// Format returns one.
func (a *Authority) Format(ctx context.Context, c Caller, name string) (credential.TokenFormat, error) {
	all, err := a.Formats(ctx, c)
	if err != nil {
		return credential.TokenFormat{}, err
	}
	for _, f := range all {
		if f.Name == name {
			return f, nil
		}
	}
	return credential.TokenFormat{}, notFound("format", name)
}

// PutFormat creates (Version 0; Exists if it is there) or updates (Version as read). Of one that exists only Bits can be changed: all
// else is what its tokens are found by. Errors: Invalid, Exists, NotFound, Conflict, NoRight.
func (a *Authority) PutFormat(ctx context.Context, c Caller, n NewFormat) (credential.TokenFormat, error) {
	return retry(n.Version, func() (credential.TokenFormat, error) {
		if err := a.Authorize(c, importRight, importObject); err != nil {
			return credential.TokenFormat{}, err
		}
		all, err := a.store.Policy(ctx)
		if err != nil {
			return credential.TokenFormat{}, err
		}
		if n.Version != 0 {
			return a.updateFormat(ctx, c, n, all.Formats)
		}
		return a.createFormat(ctx, c, n, all.Formats)
	})
}

func (a *Authority) createFormat(ctx context.Context, c Caller, n NewFormat, all []credential.TokenFormat) (credential.TokenFormat, error) {
	f, key, err := n.check(c.Org, all)
	if err != nil {
		return f, err
	}
	ch := a.begin(c)
	f.CreatedAt = ch.at
	if len(key) > 0 {
		if f.Sealed, err = a.ring.Seal(f.SealedAs(), key); err != nil {
			return f, err
		}
	}
	ch.do(credential.PutTokenFormat{TokenFormat: f}, "format.create", aboutFormat(f.Name), formatDetails(&f))
	if err := a.commit(ctx, ch); err != nil {
		return f, err
	}
	f.Version, f.Sealed = 1, nil
	return f, nil
}

func (a *Authority) updateFormat(ctx context.Context, c Caller, n NewFormat, all []credential.TokenFormat) (credential.TokenFormat, error) {
	var old credential.TokenFormat
	for _, f := range all {
		if f.Org == c.Org && f.Name == n.Name {
			old = f
		}
	}
	if old.Name == "" {
		return old, notFound("format", n.Name)
	}
	if err := checkVersion("format", n.Version, old.Version); err != nil {
		return old, err
	}
	sealed := old.Sealed
	old.Sealed = nil
	same := old
	same.Bits = n.Bits
	var p credential.Problems
	n.checkBits(&p)
	if n.Key.Reveal() != "" {
		key := n.checkKey(&p, secret.Scheme(old.Scheme))
		if err := p.Err(); err != nil {
			return old, err
		}
		has, err := a.ring.Open(old.SealedAs(), sealed)
		if err != nil {
			return old, err
		}
		if subtle.ConstantTimeCompare(key, has) == 0 {
			return old, formatFixed()
		}
	}
	if err := p.Err(); err != nil {
		return old, err
	}
	if n.form(c.Org) != fieldsOf(&same) {
		return old, formatFixed()
	}
	if old.Bits == n.Bits {
		return old, nil
	}
	ch := a.begin(c)
	d := details{}
	d.set("bits", strconv.Itoa(old.Bits), strconv.Itoa(n.Bits))
	put := same
	put.Sealed = sealed
	ch.do(credential.PutTokenFormat{TokenFormat: put}, "format.update", aboutFormat(n.Name), d)
	if err := a.commit(ctx, ch); err != nil {
		return old, err
	}
	same.Version++
	return same, nil
}

func formatFixed() error {
	return credential.Errorf(credential.Conflict, "only the bits of a format can be changed, since its tokens are found by all else: make another one")
}

// formFields are those of a format that tokens are found by, and its bits.
type formFields struct {
	org, name, scheme, prefix, separator string
	idLen, bits                          int
}

func fieldsOf(f *credential.TokenFormat) formFields {
	return formFields{f.Org, f.Name, f.Scheme, f.Prefix, f.Separator, f.IDLen, f.Bits}
}

func (n *NewFormat) form(org string) formFields {
	return formFields{org, n.Name, n.Scheme, n.Prefix, n.Separator, n.IDLen, n.Bits}
}

// DeleteFormat removes a format. Conflict while a credential that has not ended is of it.
func (a *Authority) DeleteFormat(ctx context.Context, c Caller, name string) error {
	_, err := retry(0, func() (none, error) {
		f, err := a.Format(ctx, c, name)
		if err != nil {
			return none{}, err
		}
		ch := a.begin(c)
		ch.do(credential.DeleteTokenFormat{Org: c.Org, Name: name, Version: f.Version}, "format.delete", aboutFormat(name), formatDetails(&f))
		return none{}, a.commit(ctx, ch)
	})
	return err
}

// check names all that is wrong with a new format, and returns it with its key.
func (n *NewFormat) check(org string, all []credential.TokenFormat) (credential.TokenFormat, []byte, error) {
	var p credential.Problems
	checkTag(&p, "name", n.Name)
	s := secret.Scheme(n.Scheme)
	if !s.Valid() {
		p.Add("scheme", "is none of %s", list(secret.Schemes(), func(s secret.Scheme) string { return string(s) }))
	}
	n.checkShape(&p, s)
	n.checkBits(&p)
	key := n.checkKey(&p, s)
	own := 0
	for i := range all {
		other := &all[i]
		if other.Org == org {
			own++
		}
		// Not named: it may be another organisation's (W07).
		slow := !secret.Scheme(other.Scheme).Fast()
		if s.Valid() && !s.Fast() && (slow || other.Org != org) && (other.Org != org || other.Name != n.Name) &&
			(strings.HasPrefix(n.Prefix, other.Prefix) || strings.HasPrefix(other.Prefix, n.Prefix)) {
			p.Add("prefix", "is that of another format, or begins like it: a token would belong to both")
			break
		}
	}
	if own >= maxFormats {
		p.Add("name", "is one too many: an organisation has at most %d formats", maxFormats)
	}
	f := credential.TokenFormat{
		Org: org, Name: n.Name, Scheme: n.Scheme, Prefix: n.Prefix, IDLen: n.IDLen, Separator: n.Separator, Bits: n.Bits,
	}
	return f, key, p.Err()
}

// checkShape holds a slow scheme to having a public part in its tokens, without which each request would cost a slow hash for every token there is.
func (n *NewFormat) checkShape(p *credential.Problems, s secret.Scheme) {
	checkPlain(p, "prefix", n.Prefix, maxPrefix)
	checkPlain(p, "separator", n.Separator, maxSeparator)
	if strings.HasPrefix(n.Prefix, ourPrefix) {
		p.Add("prefix", "is that of Cardea's own tokens")
	}
	if n.IDLen < 0 || n.IDLen > maxIDLen {
		p.Add("id_length", "must be 1 to %d, or 0 for none", maxIDLen)
	}
	switch {
	case !s.Valid():
	case s.Fast():
		if n.IDLen != 0 {
			p.Add("id_length", "is for slow schemes: a token with a fast hash is found by that")
		}
		if n.Separator != "" {
			p.Add("separator", "is for slow schemes: a token with a fast hash is found by that")
		}
	default:
		if n.Prefix == "" {
			p.Add("prefix", "is missing: a token with a slow hash is told by it from others")
		}
		if n.IDLen == 0 && n.Separator == "" {
			p.Add("id_length", "is missing, and so is separator: a token with a slow hash is found by the part between its prefix and there")
		}
	}
}

// checkBits holds a fast scheme to tokens that nobody can guess (E06).
func (n *NewFormat) checkBits(p *credential.Problems) {
	switch {
	case n.Bits < 0 || n.Bits > maxBits:
		p.Add("bits", "must be 0 to %d", maxBits)
	case secret.Scheme(n.Scheme).Fast() && n.Bits < secret.MinBits:
		p.Add("bits", "is less than %d: such tokens can be found from a fast hash by trying; import them with a hash by bcrypt or argon2id, or give their holders new ones", secret.MinBits)
	}
}

// checkKey reads the key of the other system. What is said of it does not repeat it.
func (n *NewFormat) checkKey(p *credential.Problems, s secret.Scheme) []byte {
	text := n.Key.Reveal()
	switch {
	case s != secret.HMACSHA256:
		if text != "" {
			p.Add("key", "is for %s only", secret.HMACSHA256)
		}
		return nil
	case text == "":
		p.Add("key", "is missing: %s needs that of the other system, as hex or base64", secret.HMACSHA256)
		return nil
	}
	key, err := hex.DecodeString(text)
	for _, form := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if err != nil && !strings.ContainsAny(text, "\r\n") {
			key, err = form.Strict().DecodeString(text)
		}
	}
	switch {
	case err != nil:
		p.Add("key", "is neither hex nor base64")
	case len(key) < minKeyBytes || len(key) > maxKeyBytes:
		p.Add("key", "has %d bytes: %d to %d are possible", len(key), minKeyBytes, maxKeyBytes)
	default:
		return key
	}
	return nil
}

// checkPlain holds for what stands in a token: visible characters of ASCII, since a token goes into headers and user names.
func checkPlain(p *credential.Problems, field, s string, most int) {
	switch {
	case len(s) > most:
		p.Add(field, "is longer than %d characters", most)
	case !isPlain(s):
		p.Add(field, "may contain only visible characters of ASCII")
	case audit.LooksSecret(s):
		p.Add(field, "contains a token: no secret belongs here")
	}
}

func isPlain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func formatDetails(f *credential.TokenFormat) details {
	d := details{"scheme": f.Scheme}
	d.put("prefix", f.Prefix)
	d.put("separator", f.Separator)
	if f.IDLen > 0 {
		d["id_length"] = strconv.Itoa(f.IDLen)
	}
	if f.Bits > 0 {
		d["bits"] = strconv.Itoa(f.Bits)
	}
	return d
}

func aboutFormat(name string) credential.Subject {
	return credential.Subject{Kind: "format", ID: name}
}
