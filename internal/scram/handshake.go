package scram

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"

	"cardea/internal/credential"
)

// Channel is the TLS connection that a client may bind its login to.
type Channel struct {
	Exporter []byte // keying material for "EXPORTER-Channel-Binding", 32 bytes without a context (RFC 9266, 2); nil for none
}

const exporterLen = 32

// bindable reports whether there is something to bind to. Less than all of it would bind to nothing.
func (c *Channel) bindable() bool { return c != nil && len(c.Exporter) == exporterLen }

// nonceLen is the length of a server's part of the nonce in random bytes: 144 bits.
const nonceLen = 18

// Handshake is one login: [Begin], then one of the challenges, then Finish, each once. It is not safe for use by
// several goroutines.
type Handshake struct {
	hash     Hash
	step     step
	unknown  bool // the keys are fake
	username string
	binding  []byte // what c= must be
	auth     []byte // client-first-bare, and with the challenge "," and server-first
	nonce    []byte // part of auth: the client's and the server's
	keys     []byte // copies of stored key and server key of each candidate; wiped at the end
}

type step uint8

const (
	begun step = iota
	challenged
	ended
)

// Format keeps the keys out of every kind of print.
func (Handshake) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "SCRAM handshake ***") }

// Begin reads a client-first message, of which it keeps nothing. The channel is that of the connection, also if the
// method is not one with "-PLUS"; it is nil where there is no TLS, or none that can be bound to.
func Begin(h Hash, plus bool, channel *Channel, msg []byte) (*Handshake, error) {
	f, err := parseFirst(msg)
	if err != nil {
		return nil, err
	}
	if err := f.checkBinding(plus, channel); err != nil {
		return nil, err
	}
	bound := f.gs2
	if f.flag == 'p' {
		bound = append(append(make([]byte, 0, len(f.gs2)+len(channel.Exporter)), f.gs2...), channel.Exporter...)
	}
	return &Handshake{
		hash:     h,
		username: f.username,
		binding:  base64.StdEncoding.AppendEncode(nil, bound),
		auth:     append(make([]byte, 0, len(f.bare)+len(f.nonce)+challengeRoom), f.bare...),
		nonce:    append([]byte(nil), f.nonce...),
	}, nil
}

// challengeRoom is what a usual challenge needs beside the client's nonce.
const challengeRoom = 96

// checkBinding judges the flag (RFC 5802, 6): who can bind, must not be kept from it by somebody between.
func (f *first) checkBinding(plus bool, channel *Channel) error {
	switch {
	case f.flag == 'y' && channel.bindable():
		return fail(ServerDoesSupportBinding, "the client could bind to the channel and believes that the server cannot")
	case f.flag == 'p' && !plus:
		return fail(ChannelBindingNotSupported, "the client binds to the channel by a method without -PLUS")
	case plus && f.flag != 'p':
		return fail(OtherError, "the client does not bind to the channel by a method with -PLUS")
	case f.flag == 'p' && f.binding != exporterBinding:
		return fail(UnsupportedChannelBindingType, "the client binds to the channel by another type than "+exporterBinding)
	case f.flag == 'p' && !channel.bindable():
		return fail(ChannelBindingNotSupported, "the client binds to a channel that cannot be bound to")
	}
	return nil
}

// Username is the name of who wants in, decoded and prepared ([Prepare]).
func (hs *Handshake) Username() string { return hs.username }

// Challenge returns the server-first message for a user with some keys, of which it keeps copies until [Handshake.Finish].
// There may be several while a password is changed; they must have the same salt and iterations. The error is about
// the keys, not about the client. What it returns must not be changed.
func (hs *Handshake) Challenge(candidates []credential.ScramKeys) ([]byte, error) {
	return hs.challenge(candidates, newNonce())
}

// ChallengeUnknown returns the server-first message for a user that does not exist, with the keys of [Fake]. Finish
// will refuse it. What it returns must not be changed.
func (hs *Handshake) ChallengeUnknown(key []byte, iterations int) ([]byte, error) {
	hs.unknown = true
	return hs.Challenge([]credential.ScramKeys{Fake(key, hs.hash, hs.username, iterations)})
}

func newNonce() []byte {
	var random [nonceLen]byte
	_, _ = rand.Read(random[:]) // it never fails
	return base64.StdEncoding.AppendEncode(nil, random[:])
}

func (hs *Handshake) challenge(candidates []credential.ScramKeys, nonce []byte) ([]byte, error) {
	if hs.step != begun {
		return nil, errors.New("scram: a handshake has one challenge")
	}
	if err := hs.keep(candidates); err != nil {
		return nil, err
	}
	hs.step = challenged
	start := len(hs.auth) + 1
	b := append(hs.auth, ",r="...)
	b = append(append(b, hs.nonce...), nonce...)
	end := len(b)
	b = append(b, ",s="...)
	b = base64.StdEncoding.AppendEncode(b, candidates[0].Salt)
	b = append(b, ",i="...)
	b = strconv.AppendInt(b, int64(candidates[0].Iterations), 10)
	hs.auth, hs.nonce = b, b[start+len("r="):end]
	return b[start:len(b):len(b)], nil
}

// keep takes copies of the keys.
func (hs *Handshake) keep(candidates []credential.ScramKeys) error {
	if len(candidates) == 0 {
		return errors.New("scram: a challenge needs keys")
	}
	keys := make([]byte, 0, len(candidates)*2*hs.hash.Size())
	for i := range candidates {
		k := &candidates[i]
		var p credential.Problems
		CheckKeys(hs.hash, k, &p)
		if err := p.Err(); err != nil {
			return fmt.Errorf("scram: the keys of version %d from the newest cannot be used: %w", i, err)
		}
		if k.Iterations != candidates[0].Iterations || string(k.Salt) != string(candidates[0].Salt) {
			return fmt.Errorf("scram: the keys of version %d from the newest have another salt or number of iterations than the newest", i)
		}
		keys = append(append(keys, k.StoredKey...), k.ServerKey...)
	}
	hs.keys = keys
	return nil
}

// Finish reads a client-final message. If it proves one of the candidates that were given to [Handshake.Challenge],
// it returns the server-final message and which one, the first if there are several. It forgets the keys.
func (hs *Handshake) Finish(msg []byte) (serverFinal []byte, which int, err error) {
	if hs.step != challenged {
		return nil, 0, errors.New("scram: a handshake has one end, after its challenge")
	}
	hs.step = ended
	defer func() {
		clear(hs.keys)
		hs.keys = nil
	}()
	f, err := parseFinal(msg)
	if err != nil {
		return nil, 0, err
	}
	var room [64]byte
	proof := room[:hs.hash.Size()]
	switch {
	case subtle.ConstantTimeCompare(f.binding, hs.binding) != 1:
		return nil, 0, fail(ChannelBindingsDontMatch, "client-final is bound to another channel, or to another GS2 header")
	case subtle.ConstantTimeCompare(f.nonce, hs.nonce) != 1:
		return nil, 0, fail(OtherError, "client-final has another nonce")
	case !decodeProof(proof, f.proof):
		return nil, 0, fail(InvalidEncoding, "the proof is not base64 of as many bytes as the hash has")
	}
	which, ok := hs.proves(proof, f.unproven)
	if !ok || hs.unknown {
		return nil, 0, fail(InvalidProof, "the proof does not fit")
	}
	size := hs.hash.Size()
	signature := mac(hs.hash, hs.keys[(2*which+1)*size:][:size], hs.auth, comma, f.unproven)
	return base64.StdEncoding.AppendEncode([]byte("v="), signature), which, nil
}

// proves looks which candidate a proof fits. It does as much for each, whatever came of those before.
func (hs *Handshake) proves(proof, unproven []byte) (which int, ok bool) {
	size, found := hs.hash.Size(), 0
	for i := range len(hs.keys) / (2 * size) {
		stored := hs.keys[2*i*size:][:size]
		clientKey := mac(hs.hash, stored, hs.auth, comma, unproven)
		subtle.XORBytes(clientKey, clientKey, proof)
		fits := subtle.ConstantTimeCompare(sum(hs.hash, clientKey), stored)
		which = subtle.ConstantTimeSelect(fits&^found, i, which)
		found |= fits
		clear(clientKey)
	}
	return which, found == 1
}
