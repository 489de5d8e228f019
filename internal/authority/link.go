package authority

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"cardea/internal/credential"
	"cardea/internal/policy"
	"cardea/internal/secret"
)

const (
	linkLife   = 10 * time.Minute
	linkIDLen  = 8
	linkPrefix = "link/" // of the setting that keeps a link
	linkLen    = 32      // id and secret: 24 base62 characters are 142 bits
)

// AdminLink makes the one-time code of a link that opens the console in the caller's organisation, valid for 10 minutes; RedeemLink uses it up. Only for the
// local administrator. The store keeps its hash, so it outlives a restart and works on every node.
func (a *Authority) AdminLink(ctx context.Context, c Caller) (secret.Text, time.Time, error) {
	if err := onlyLocal(c, "a link to the console"); err != nil {
		return secret.Text{}, time.Time{}, err
	}
	if err := a.checkClock(ctx); err != nil {
		return secret.Text{}, time.Time{}, err
	}
	code, err := secret.NewID(linkLen)
	if err != nil {
		return secret.Text{}, time.Time{}, err
	}
	ch := a.begin(c)
	until := ch.at.Add(linkLife)
	ch.do(credential.PutSetting{Name: linkSetting(code), Value: linkValue(code, until, c.Org)},
		"system.link", aboutLink(code), details{"expires_at": stamp(until)})
	if err := a.commit(ctx, ch); err != nil {
		return secret.Text{}, time.Time{}, err
	}
	return secret.NewText(code), until, nil
}

// RedeemLink returns the caller that a one-time code stands for, to exactly one of those who present it, over all nodes (N04).
// Every other answer is the same NotFound.
func (a *Authority) RedeemLink(ctx context.Context, code string, from credential.Actor) (Caller, error) {
	refused := credential.Errorf(credential.NotFound, "the link has been used or has expired: make a new one with 'cardea admin link'")
	until, org, err := a.linkUntil(ctx, code)
	if err != nil {
		return Caller{}, err
	}
	if !a.now().Before(until) {
		return Caller{}, refused
	}
	rights, err := a.adminRights(ctx, org)
	if err != nil {
		return Caller{}, err
	}
	first, err := a.store.Once(ctx, linkSetting(code), until.Add(linkLife))
	if err != nil {
		return Caller{}, err
	}
	if !first {
		return Caller{}, refused
	}
	from.Principal, from.Credential = "local", "link:"+code[:linkIDLen]
	c := Caller{Org: org, Rights: rights, Actor: from}
	ch := a.begin(c)
	ch.do(credential.PutSetting{Name: linkSetting(code)}, "system.redeem", aboutLink(code), nil)
	if err := a.commit(ctx, ch); err != nil {
		return Caller{}, err
	}
	return c, nil
}

// linkUntil returns when a code ends, and the organisation that it opens; the zero time if there is no such code.
func (a *Authority) linkUntil(ctx context.Context, code string) (time.Time, string, error) {
	if len(code) != linkLen || strings.ContainsFunc(code, notBase62) {
		return time.Time{}, "", nil
	}
	value, err := a.store.Setting(ctx, linkSetting(code))
	if err != nil {
		return time.Time{}, "", err
	}
	until, org := linkEnd(value)
	if subtle.ConstantTimeCompare([]byte(value), []byte(linkValue(code, until, org))) == 0 {
		return time.Time{}, "", nil
	}
	return until, org, nil
}

func notBase62(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// linkEnd returns the end and the organisation that a stored value names; the zero time if it names no end.
func linkEnd(value string) (time.Time, string) {
	_, rest, _ := strings.Cut(value, " ")
	end, org, named := strings.Cut(rest, " ")
	micros, err := strconv.ParseInt(end, 10, 64)
	switch {
	case err != nil:
		return time.Time{}, ""
	case !named: // as it is for the organisation that is there from the start
		org = credential.DefaultOrg
	}
	return time.UnixMicro(micros).UTC(), org
}

// sweepLinks adds to the change that links which are over are forgotten.
func (a *Authority) sweepLinks(ctx context.Context, ch *change) error {
	links, err := a.store.Settings(ctx, linkPrefix)
	if err != nil {
		return err
	}
	for name, value := range links {
		if until, _ := linkEnd(value); !ch.at.Before(until) {
			ch.also(credential.PutSetting{Name: name})
		}
	}
	return nil
}

func linkSetting(code string) string { return linkPrefix + code[:linkIDLen] }

// linkValue is what is stored of a code: its hash, its end and the organisation that it opens.
func linkValue(code string, until time.Time, org string) string {
	sum := sha256.Sum256([]byte(code))
	value := hex.EncodeToString(sum[:]) + " " + strconv.FormatInt(until.UnixMicro(), 10)
	if org != credential.DefaultOrg {
		value += " " + org
	}
	return value
}

func aboutLink(code string) credential.Subject {
	return credential.Subject{Kind: "system", ID: linkSetting(code)}
}

// adminRights is what the role admin of an organisation allows.
func (a *Authority) adminRights(ctx context.Context, org string) (policy.Rights, error) {
	b, err := a.book(ctx, org)
	if err != nil {
		return policy.Rights{}, err
	}
	var scopes []credential.Scope
	for _, name := range b.roles[credential.RoleAdmin].Scopes {
		scopes = append(scopes, b.scopes[name])
	}
	set, err := policy.Compile(scopes)
	if err != nil {
		return policy.Rights{}, &credential.Error{Kind: credential.Internal, Err: err}
	}
	boundary, err := policy.CompileResources(b.org.Resources, true)
	if err != nil {
		return policy.Rights{}, &credential.Error{Kind: credential.Internal, Err: err}
	}
	return policy.Rights{Principal: set, Boundary: boundary}, nil
}
